"""Reductions over axes: sums, means, extremes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..registry import primitive
from .samples import cases

AXES = (
    *((((3,),), {}), (((2, 3),), {}), (((2, 3),), {"axis": 0}), (((2, 3),), {"axis": -1, "keepdims": True})),
    *((((2, 3, 2),), {"axis": (0, 2)}), (((2, 3),), {"axis": (0, 1), "keepdims": True}), (((),), {})),
)


def spread(g: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """Give the gradient of a reduction back the reduced axes, without copying it yet."""
    shape = np.shape(x)
    if not shape or keepdims or axis is None:
        return g
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    return np.expand_dims(g, tuple(sorted(a % len(shape) for a in axes)))


@primitive(
    lambda g, y, x, axis=None, keepdims=False: np.broadcast_to(spread(g, x, axis, keepdims), np.shape(x)),
    symbol="sum", formulas=("1",), implements=(np.sum,), samples=cases(*AXES, (((0, 3),), {"axis": 0})),
)  # fmt: skip
def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the sum over ``axis``: an int, several, or None for all.

    >>> from gradviz import Tensor
    >>> w = Tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> w.sum(axis=0)
    Tensor([4., 6.])
    """
    return np.sum(x, axis=axis, keepdims=keepdims)
