"""Reductions over axes: sums, means, extremes, spreads.

``axis`` is an int, several, or None for all; ``keepdims`` leaves reduced axes with length 1.

Where libraries disagree: elements that tie for a maximum or minimum share its gradient evenly
(PyTorch's ``amax``), NaN ties with NaN; the derivative of a product is exact with any number
of zeros; a standard deviation of 0 has derivative 0, as in PyTorch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import GradvizTypeError, GradvizValueError
from ..registry import Sample, implements, primitive
from ..sites import where
from .axes import axes_of, count, lined, spread, stretched, unlined
from .rules import masked, numbers
from .samples import cases, draw

__all__ = [
    "average",
    "logsumexp",
    "max",
    "mean",
    "median",
    "min",
    "nanmean",
    "nansum",
    "prod",
    "ptp",
    "std",
    "sum",
    "var",
]

# What np.sum, np.prod, np.max and np.min come to, at half their cost for small arrays.
total: Any = np.add.reduce
product: Any = np.multiply.reduce
largest: Any = np.maximum.reduce
smallest: Any = np.minimum.reduce
PLAIN_FLOATS = (np.dtype(np.float64), np.dtype(np.float32))
Case = tuple[tuple[tuple[int, ...], ...], dict[str, Any]]
AXES: tuple[Case, ...] = (
    *((((3,),), {}), (((2, 3),), {}), (((2, 3),), {"axis": 0}), (((2, 3),), {"axis": -1, "keepdims": True})),
    *((((2, 3, 2),), {"axis": (0, 2)}), (((2, 3),), {"axis": (0, 1), "keepdims": True}), (((),), {})),
    *((((2, 3, 2),), {"axis": (-1, 0)}), (((1, 3),), {"axis": 0}), (((2, 0),), {"axis": 0})),
)
EMPTY: Case = (((0, 3),), {"axis": 0})
SPREADS: tuple[Case, ...] = (
    *((((4,),), {}), (((2, 3),), {"axis": 0}), (((2, 3),), {"axis": -1, "keepdims": True, "ddof": 1})),
    *((((2, 3, 2),), {"axis": (0, 2), "ddof": 2}), (((2, 3),), {"ddof": 0.5})),
)


@primitive(
    lambda g, y, x, axis=None, keepdims=False: stretched(spread(g, x, axis, keepdims), x),
    symbol="sum", formulas=("1",), implements=(np.sum,), samples=cases(*AXES, EMPTY),
)  # fmt: skip
def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the sum over ``axis``: an int, several, or None for all.

    >>> from gradviz import Tensor
    >>> w = Tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> w.sum(axis=0)
    Tensor([4., 6.])
    """
    return total(x, axis=axis, keepdims=keepdims)


def _mean_vjp(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    n = x.size // (np.size(y) or 1) if x.__class__ is np.ndarray else count(x, axis)
    return stretched(spread(g / (n or 1), x, axis, keepdims), x)


@primitive(_mean_vjp, formulas=("1/n",), implements=(np.mean,), samples=cases(*AXES))
def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the mean over ``axis``.

    >>> from gradviz import Tensor
    >>> w = Tensor([1.0, 2.0, 6.0])
    >>> w.mean().backward()
    >>> w.grad
    array([0.33333333, 0.33333333, 0.33333333])
    """
    x = np.asarray(x)
    if not x.size or x.dtype not in PLAIN_FLOATS:
        return np.mean(x, axis=axis, keepdims=keepdims)
    added = total(x, axis=axis, keepdims=keepdims)
    return added / (x.size // added.size)


# -- products ---------------------------------------------------------------------------------


def safe_to_divide(y: Any) -> bool:
    """Tell whether a product can be divided by one of its factors: no zero, nothing lost to underflow or Inf."""
    size = np.abs(numbers(y))
    tiny = np.finfo(np.result_type(size)).tiny
    return bool(np.all((size > tiny) & (size < np.inf)))


def _others(x: Any, axis: Any) -> Any:
    """Return, for each element, the product of the others: what stands before it times what stands after."""
    line = lined(x, axis)
    ones = np.ones((*np.shape(line)[:-1], 1), np.result_type(numbers(x)))
    before = np.cumprod(np.concatenate((ones, line[..., :-1]), -1), -1)
    after = np.cumprod(np.concatenate((ones, np.flip(line, -1)[..., :-1]), -1), -1)
    return unlined(before * np.flip(after, -1), x, axis)


def _prod_vjp(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    if safe_to_divide(y):
        return np.divide(spread(g * y, x, axis, keepdims), x)
    return spread(g, x, axis, keepdims) * _others(x, axis)


def _prod_samples(rng: np.random.Generator) -> Any:
    yield from cases(*AXES, EMPTY, low=0.5)(rng)
    for zeros in ([1], [0, 2]):
        x = draw(rng, (4, 3), 0.5, 2.0)
        x[zeros, 1] = 0.0
        yield from (Sample((x,), {"axis": 0}), Sample((x,), {"keepdims": True}), Sample((x,), {"axis": (1, 0)}))


@primitive(_prod_vjp, symbol="∏", formulas=("{y}/{0}",), implements=(np.prod,), samples=_prod_samples)
def prod(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the product over ``axis``; its derivative is right also where elements are 0.

    >>> from gradviz import Tensor, prod
    >>> w = Tensor([2.0, 0.0, 3.0])
    >>> prod(w).backward()
    >>> w.grad
    array([0., 6., 0.])
    """
    return product(x, axis=axis, keepdims=keepdims)


# -- extremes ---------------------------------------------------------------------------------


def _extreme_vjp(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Share the gradient among the elements equal to the extreme."""
    plain, peak = numbers(x), spread(numbers(y), x, axis, keepdims)
    won = np.equal(plain, peak) | (np.isnan(plain) & np.isnan(peak))
    winners = np.sum(won, axis=None if axis is None else axes_of(axis, np.ndim(x)), keepdims=True)
    return spread(g, x, axis, keepdims) * np.divide(won, winners, dtype=np.result_type(plain))


@primitive(_extreme_vjp, formulas=("[{0} = {y}]/ties",), implements=(np.max, np.amax), samples=cases(*AXES))
def max(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the maximum over ``axis``; elements that tie share its gradient evenly, NaN wins.

    >>> from gradviz import Tensor
    >>> w = Tensor([1.0, 3.0, 3.0])
    >>> w.max().backward()
    >>> w.grad
    array([0. , 0.5, 0.5])
    """
    return largest(x, axis=axis, keepdims=keepdims)


@primitive(_extreme_vjp, formulas=("[{0} = {y}]/ties",), implements=(np.min, np.amin), samples=cases(*AXES))
def min(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the minimum over ``axis``; elements that tie share its gradient evenly, NaN wins."""
    return smallest(x, axis=axis, keepdims=keepdims)


@implements(np.ptp)
def ptp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the maximum less the minimum over ``axis``."""
    return max(x, axis=axis, keepdims=keepdims) - min(x, axis=axis, keepdims=keepdims)


# -- spreads ----------------------------------------------------------------------------------


def _deviation(x: Any, axis: Any, ddof: float) -> Any:
    """Return (x - mean)/(n - ddof); NaN where n - ddof leaves no degree of freedom."""
    freedom = count(x, axis) - ddof
    return (x - np.mean(x, axis=axis, keepdims=True)) * (1.0 / freedom if freedom > 0 else math.nan)


def _var_vjp(g: Any, y: Any, x: Any, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Any:
    return spread(g, x, axis, keepdims) * (2.0 * _deviation(x, axis, ddof))


@primitive(_var_vjp, formulas=("2*({0} - mean)/(n - ddof)",), implements=(np.var,), samples=cases(*SPREADS))
def var(x: Any, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Any:
    """Return the variance over ``axis``: squared deviations over ``n - ddof``, NumPy's ``ddof`` of 0.

    >>> from gradviz import Tensor
    >>> Tensor([1.0, 3.0]).var().item()
    1.0
    """
    return np.var(x, axis=axis, ddof=ddof, keepdims=keepdims)


def _std_vjp(g: Any, y: Any, x: Any, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Any:
    """Return g·(x - mean)/((n - ddof)·y), and 0 where y is 0, as PyTorch does."""
    still = np.equal(y, 0)
    slope = masked(np.divide(g, np.where(still, 1.0, y)), np.logical_not(still))
    return spread(slope, x, axis, keepdims) * _deviation(x, axis, ddof)


@primitive(_std_vjp, formulas=("({0} - mean)/((n - ddof)*{y})",), implements=(np.std,), samples=cases(*SPREADS))
def std(x: Any, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Any:
    """Return the standard deviation over ``axis``; where it is 0 its derivative is taken as 0."""
    return np.std(x, axis=axis, ddof=ddof, keepdims=keepdims)


# -- the rest ---------------------------------------------------------------------------------


def _logsumexp_vjp(g: Any, y: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    with np.errstate(invalid="ignore"):  # Inf - Inf is NaN, as in PyTorch
        return spread(g, x, axis, keepdims) * np.exp(x - spread(y, x, axis, keepdims))


@primitive(
    _logsumexp_vjp, formulas=("exp({0} - {y})",), samples=cases(*AXES), reference="the gradient of logsumexp is softmax"
)
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return ``log(sum(exp(x)))`` over ``axis`` without overflow; of -Inf alone it is -Inf (with derivative NaN).

    >>> from gradviz import Tensor, logsumexp
    >>> w = Tensor([1000.0, 1000.0])
    >>> logsumexp(w).backward()
    >>> w.grad
    array([0.5, 0.5])
    """
    peak = np.max(x, axis=axis, keepdims=True)
    shift = np.where(np.isfinite(peak), peak, 0.0)
    with np.errstate(divide="ignore"):  # log(0) = -Inf is the answer for -Inf alone
        found = np.log(np.sum(np.exp(np.asarray(x) - shift), axis=axis, keepdims=True)) + shift
    return found if keepdims else np.reshape(found, np.shape(np.sum(peak, axis=axis)))


@implements(np.average)
def average(x: Any, axis: Any = None, weights: Any = None, returned: bool = False, keepdims: bool = False) -> Any:
    """Return the mean over ``axis`` weighted by ``weights``: of the shape of ``x``, or one along ``axis``.

    >>> from gradviz import Tensor, average
    >>> average(Tensor([1.0, 4.0]), weights=[2, 1]).item()
    2.0
    """
    if returned:
        raise GradvizTypeError(
            "average on a Tensor returns the average alone", where=where(), hint="leave out returned"
        )
    if weights is None:
        return mean(x, axis=axis, keepdims=keepdims)
    weights = weights if hasattr(weights, "shape") else np.asarray(weights)
    if np.shape(weights) != np.shape(x):
        along = axes_of(axis, np.ndim(x))
        weights = np.reshape(weights, tuple(n if a in along else 1 for a, n in enumerate(np.shape(x))))
        weights = np.broadcast_to(weights, np.shape(x))
    return np.sum(x * weights, axis=axis, keepdims=keepdims) / np.sum(weights, axis=axis, keepdims=keepdims)


@implements(np.nansum)
def nansum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the sum over ``axis`` of what is not NaN."""
    return sum(np.where(np.isnan(x), 0.0, x), axis=axis, keepdims=keepdims)


@implements(np.nanmean)
def nanmean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the mean over ``axis`` of what is not NaN."""
    known = np.sum(~np.isnan(x), axis=axis, keepdims=keepdims)
    return nansum(x, axis=axis, keepdims=keepdims) / known


@implements(np.median)
def median(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the median over ``axis``: the middle element, or the mean of the middle two; NaN if any is NaN.

    >>> from gradviz import Tensor, median
    >>> w = Tensor([5.0, 1.0, 2.0])
    >>> median(w).backward()
    >>> w.grad
    array([0., 0., 1.])
    """
    n = count(x, axis)
    if n == 0:
        raise GradvizValueError(f"median of no elements: shape {np.shape(x)}, axis {axis}", where=where())
    ranked = np.sort(lined(x, axis), axis=-1)
    middle = ranked[..., n // 2] if n % 2 else (ranked[..., n // 2 - 1] + ranked[..., n // 2]) / 2
    last = ranked[..., -1]
    middle = np.where(np.isnan(last), last, middle)
    return np.expand_dims(middle, axes_of(axis, np.ndim(x))) if keepdims else middle
