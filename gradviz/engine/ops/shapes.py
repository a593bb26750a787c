"""Ops that move elements without changing them: shapes, axes, joining, repeating."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..registry import primitive
from .samples import cases


@primitive(
    lambda g, y, x, shape: np.reshape(g, np.shape(x)), formulas=("1",), implements=(np.reshape,),
    samples=cases((((2, 3),), {"shape": (3, 2)}), (((2, 3),), {"shape": (-1,)}), (((),), {"shape": (1, 1)})),
)  # fmt: skip
def reshape(x: Any, shape: Any) -> Any:
    """Return the same elements in another shape; one length may be -1."""
    return np.reshape(x, shape)


@primitive(
    lambda g, y, x, axes=None: np.transpose(g, None if axes is None else tuple(np.argsort(axes))), symbol="T",
    formulas=("1",), implements=(np.transpose,), samples=cases((((2, 3),), {}), (((2, 3, 4),), {"axes": (1, 2, 0)})),
)  # fmt: skip
def transpose(x: Any, axes: Any = None) -> Any:
    """Return the axes reversed, or in the given order."""
    return np.transpose(x, axes)


@primitive(
    lambda g, y, x, axis1, axis2: np.swapaxes(g, axis1, axis2), formulas=("1",), implements=(np.swapaxes,),
    samples=cases((((2, 3, 4),), {"axis1": 0, "axis2": -1})),
)  # fmt: skip
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Return two axes exchanged."""
    return np.swapaxes(x, axis1, axis2)


@primitive(
    lambda g, y, x, axis: np.reshape(g, np.shape(x)), formulas=("1",), implements=(np.expand_dims,),
    samples=cases((((2, 3),), {"axis": 1}), (((2, 3),), {"axis": (0, -1)})),
)  # fmt: skip
def expand_dims(x: Any, axis: Any) -> Any:
    """Return it with new axes of length 1."""
    return np.expand_dims(x, axis)


def _broadcast_vjp(g: Any, y: Any, x: Any, shape: Any) -> Any:
    from ..cotangents import unbroadcast

    return unbroadcast(g, np.shape(x))


@primitive(
    _broadcast_vjp, formulas=("1",), implements=(np.broadcast_to,),
    samples=cases((((3,),), {"shape": (2, 3)}), (((2, 1),), {"shape": (4, 2, 3)}), (((),), {"shape": (2,)})),
)  # fmt: skip
def broadcast_to(x: Any, shape: Any) -> Any:
    """Return it repeated to a larger shape by NumPy's broadcasting."""
    return np.array(np.broadcast_to(x, shape))
