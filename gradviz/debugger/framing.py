"""The frame of whatever the debugger is given, with gradients: what a capture knows of a tensor comes first."""

from __future__ import annotations

from typing import Any

from gradviz.debugger.tensors import is_torch, named_params
from gradviz.graphs import Frame
from gradviz.sources import frame
from gradviz.sources.pullback import with_gradients

__all__ = ["recorded_of", "whole_frame"]


def whole_frame(x: Any, params: Any = None) -> Frame:
    """Return the frame of a tensor with the gradients that ``backward()`` gave, or would give.

    >>> import gradviz
    >>> whole_frame(gradviz.Tensor(2.0) * 3.0).grads
    (3.0, None, 1.0)
    """
    found = recorded_of(x)
    if found is None:
        found = frame(x, params=named_params(params))
        if is_torch(x):  # it has all gradients that can be known
            return found
    return with_gradients(found)


def recorded_of(x: Any) -> Frame | None:
    """Return what a capture that is on has recorded of a tensor of PyTorch; None if none has."""
    if not is_torch(x):
        return None
    from gradviz.sources.torch.guarding import frame_of_tensor

    return frame_of_tensor(x)
