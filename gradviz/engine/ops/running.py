"""Running sums and products along an axis, differences, and the trapezoid rule."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ...errors import GradvizValueError
from ..registry import Sample, implements, primitive
from ..sites import where
from .reductions import Case, safe_to_divide
from .samples import cases, draw

__all__ = [
    "cumprod",
    "cumsum",
    "trapezoid",
]

ALONG: tuple[Case, ...] = (
    *((((4,),), {}), (((2, 3),), {}), (((2, 3),), {"axis": 0}), (((2, 3, 2),), {"axis": -1})),
    *((((1,),), {"axis": 0}), (((0, 3),), {"axis": 0}), (((),), {})),
)


def _from_the_end(g: Any, axis: Any) -> Any:
    return np.flip(np.cumsum(np.flip(g, axis), axis=axis), axis)


def _cumsum_vjp(g: Any, y: Any, x: Any, axis: Any = None) -> Any:
    return np.reshape(_from_the_end(g, 0 if axis is None else axis), np.shape(x))


@primitive(_cumsum_vjp, formulas=("1 from here on",), implements=(np.cumsum,), samples=cases(*ALONG))
def cumsum(x: Any, axis: Any = None) -> Any:
    """Return the running sum along ``axis``, of the flattened array if that is None.

    >>> from gradviz import Tensor
    >>> w = Tensor([1.0, 2.0, 3.0])
    >>> w.cumsum().sum().backward()
    >>> w.grad
    array([3., 2., 1.])
    """
    return np.cumsum(x, axis=axis)


def _cumprod_vjp(g: Any, y: Any, x: Any, axis: Any = None) -> Any:
    line = np.reshape(x, (-1,)) if axis is None else x
    along = 0 if axis is None else axis
    if safe_to_divide(y):
        found = np.divide(_from_the_end(g * y, along), line)
    else:
        found = np.moveaxis(_without_division(np.moveaxis(g, along, 0), np.moveaxis(line, along, 0)), 0, along)
    return np.reshape(found, np.shape(x))


def _without_division(g: Any, x: Any) -> Any:
    """Return, for each i, (product before i) · s[i], where s[i] = g[i] + x[i+1]·s[i+1] runs from the end."""
    n = np.shape(x)[0]
    later = [g[n - 1]]
    for i in range(n - 2, -1, -1):
        later.append(g[i] + x[i + 1] * later[-1])
    before = np.concatenate((np.ones((1, *np.shape(x)[1:])), np.cumprod(x[: n - 1], axis=0)))
    return before * np.stack(later[::-1])


def _cumprod_samples(rng: np.random.Generator) -> Any:
    yield from cases(*ALONG, low=0.5)(rng)
    for zeros in ([1], [0, 2]):
        x = draw(rng, (4, 3), 0.5, 2.0)
        x[zeros, 1] = 0.0
        yield from (Sample((x,), {"axis": 0}), Sample((x,), {}), Sample((x[zeros],), {"axis": -1}))


@primitive(_cumprod_vjp, formulas=("{y}/{0} from here on",), implements=(np.cumprod,), samples=_cumprod_samples)
def cumprod(x: Any, axis: Any = None) -> Any:
    """Return the running product along ``axis``; its derivative is right also where elements are 0."""
    return np.cumprod(x, axis=axis)


def along(x: Any, axis: int, part: slice) -> Any:
    """Return a slice along one axis."""
    return x[(*(slice(None),) * (axis % np.ndim(x)), part)]


@implements(np.diff)
def diff(x: Any, n: int = 1, axis: int = -1, prepend: Any = np._NoValue, append: Any = np._NoValue) -> Any:
    """Return the ``n``-th difference of neighbours along ``axis``."""
    if operator.index(n) < 0:
        raise GradvizValueError(f"diff of order {n}: the order cannot be negative", where=where())
    ends = [_end(prepend, x, axis), x, _end(append, x, axis)]
    parts = [part for part in ends if part is not None]
    x = np.concatenate(parts, axis=axis) if len(parts) > 1 else x
    for _ in range(n):
        x = along(x, axis, slice(1, None)) - along(x, axis, slice(None, -1))
    return x


def _end(value: Any, x: Any, axis: int) -> Any:
    """Return what is put before or after ``x``: a number stands for one slice of it."""
    if value is np._NoValue:
        return None
    if np.ndim(value):
        return value
    shape = list(np.shape(x))
    shape[axis] = 1
    return np.broadcast_to(value, tuple(shape))


@implements(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    """Return the integral of ``y`` along ``axis`` by the trapezoid rule, at the points ``x`` or ``dx`` apart.

    >>> from gradviz import Tensor, trapezoid
    >>> trapezoid(Tensor([1.0, 2.0, 3.0])).item()
    4.0
    """
    if x is None:
        width: Any = dx
    elif np.ndim(x) == 1:
        shape = [1] * np.ndim(y)
        shape[axis] = -1
        width = np.reshape(np.diff(x), shape)
    else:
        width = np.diff(x, axis=axis)
    heights = along(y, axis, slice(1, None)) + along(y, axis, slice(None, -1))
    return np.sum(heights * width / 2.0, axis=axis)
