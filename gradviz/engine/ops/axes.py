"""The axes of a reduction: in order, counted, given back to a result, or put together as one."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

SMALL = 16384  # elements that are written in less time than a view of them is made


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """Return the axes meant by an int, several or None (all) as increasing numbers from 0."""
    if axis is None:
        return tuple(range(ndim))
    if axis.__class__ is int and ndim:
        return (axis % ndim,)
    several = axis if isinstance(axis, tuple | list) else (axis,)
    return tuple(sorted(operator.index(a) % ndim if ndim else 0 for a in several))


def count(x: Any, axis: Any) -> int:
    """Return how many elements a reduction over ``axis`` takes together."""
    shape = np.shape(x)
    return math.prod(shape[a] for a in axes_of(axis, len(shape))) if shape else 1


def spread(g: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """Give the result of a reduction, or its gradient, back the reduced axes, without copying it yet."""
    if g.__class__ is float or keepdims or axis is None:
        return g
    shape = np.shape(x)
    axes = axes_of(axis, len(shape))
    return g.reshape(tuple(1 if a in axes else n for a, n in enumerate(shape))) if shape else g


def stretched(g: Any, x: Any) -> Any:
    """Return ``g`` broadcast to the shape of ``x``: a small array is filled, which is quicker, a large one is not."""
    if x.__class__ is np.ndarray and x.size <= SMALL:
        out = np.empty_like(x)
        out[...] = g
        return out
    return g if x.__class__ is float else np.broadcast_to(g, np.shape(x))


def lined(x: Any, axis: Any) -> Any:
    """Return ``x`` with the axes of a reduction put together as the last one."""
    shape = np.shape(x)
    axes = axes_of(axis, len(shape))
    kept = tuple(a for a in range(len(shape)) if a not in axes)
    moved = x if axes == tuple(range(len(kept), len(shape))) else np.transpose(x, kept + axes)
    return np.reshape(moved, (*(shape[a] for a in kept), count(x, axis)))


def unlined(line: Any, x: Any, axis: Any) -> Any:
    """Put what `lined` made of ``x`` back into its shape."""
    shape = np.shape(x)
    axes = axes_of(axis, len(shape))
    order = (*(a for a in range(len(shape)) if a not in axes), *axes)
    moved = np.reshape(line, tuple(shape[a] for a in order))
    return moved if order == tuple(range(len(shape))) else np.transpose(moved, tuple(map(int, np.argsort(order))))
