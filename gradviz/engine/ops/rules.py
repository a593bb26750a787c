"""What derivative rules share: they run on plain numbers, and on Tensors when gradients are recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..modes import itself
from ..tensor import Tensor


def numbers(x: Any) -> Any:
    """Return the numbers of a value that may be a Tensor: no gradient flows through them."""
    return x._look(itself) if isinstance(x, Tensor) else x


def shape_of(x: Any) -> tuple[int, ...]:
    """Return the shape of a value that may be a Tensor."""
    return x.shape if isinstance(x, Tensor) else np.shape(x)


def mixed(function: Callable[..., Any], *operands: Any, **attrs: Any) -> Any:
    """Run an op on plain numbers without recording, or record it if an operand is a Tensor."""
    if any(isinstance(x, Tensor) for x in operands):
        return function(*operands, **attrs)
    return function.op.forward(*operands, **attrs)  # type: ignore[attr-defined]


def masked(g: Any, kept: Any) -> Any:
    """Let a cotangent through where ``kept``: elsewhere it is 0, whatever it was."""
    return np.where(kept, g, 0.0)
