"""The source for PyTorch: graphs and frames of its tensors, after the fact or recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradviz.graphs import Frame, Graph
from gradviz.sources.torch import after

__all__ = ["frame", "graph", "position"]


def graph(x: Any, params: Mapping[str, Any] | None = None) -> Graph:
    """Return the graph of a tensor, or of several (the public text is at `gradviz.graph`).

    >>> import torch
    >>> w = torch.tensor(3.0, requires_grad=True)
    >>> [node.name for node in graph((w * w).exp()).nodes]
    ['w', 'mul_1', 'exp_1']
    """
    return after.structure_after(x, params)[1].graph


def frame(x: Any, params: Mapping[str, Any] | None = None) -> Frame:
    """Return the frame of a tensor, or of several (the public text is at `gradviz.frame`).

    >>> import torch
    >>> w = torch.tensor(3.0, requires_grad=True)
    >>> found = frame(w * w)  # the result is at hand, so its value is as good as saved
    >>> found.value(1), found.grad("w"), w.grad, found.graph.nodes[1].attrs["origin"]
    (9.0, 6.0, None, 'saved')
    """
    return after.frame_after(x, params)


def position(x: Any, t: Any) -> int | None:
    """Return the id of the node that ``t`` is in the graph of ``x``."""
    return after.position_after(x, t)
