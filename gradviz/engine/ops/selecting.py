"""Ops that choose among elements: by condition, by order, by limits.

An element that was not chosen gets a gradient of 0, whatever comes from above. As in PyTorch and
NumPy that is 0 for the *branch*: a branch that is itself infinitely steep there still turns the
0 into NaN further down (``where(x > 0, log(x), 0)`` at 0), so guard the argument, not the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import GradvizTypeError, GradvizValueError
from ..registry import Sample, implements, primitive
from ..sites import where as place_of_call
from ..tensor import Tensor
from .indexing import take_along_axis
from .rules import masked, numbers
from .samples import PAIRS, cases, draw, unary

__all__ = [
    "choose",
    "clip",
    "nan_to_num",
    "partition",
    "select",
    "sort",
    "where",
]

# -- by condition -----------------------------------------------------------------------------


def _where_samples(rng: np.random.Generator) -> Any:
    for one, two in PAIRS:
        condition = rng.random(np.broadcast_shapes(one, two)) < 0.5
        yield Sample((condition, draw(rng, one, -2, 2), draw(rng, two, -2, 2)))
    yield Sample((np.array([[True], [False]]), draw(rng, (3,), -2, 2), draw(rng, (2, 1), -2, 2)))
    yield Sample((np.array([True, False]), draw(rng, (2,), -2, 2, np.float32), draw(rng, (2,), -2, 2, np.float32)))


@primitive(
    None, lambda g, out, c, x, y: masked(g, _holds(c)), lambda g, out, c, x, y: masked(g, ~_holds(c)),
    name="where", symbol="where", formulas=("0", "[{0}]", "[not {0}]"), samples=_where_samples, elementwise=True,
)  # fmt: skip
def _where(condition: Any, x: Any, y: Any) -> Any:
    """Return ``x`` where ``condition`` holds and ``y`` elsewhere."""
    return np.where(condition, x, y)


def _holds(condition: Any) -> Any:
    return np.asarray(numbers(condition), np.bool_)


@implements(np.where)
def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """Return ``x`` where ``condition`` holds and ``y`` elsewhere, elementwise with broadcasting.

    The gradient goes to the branch that was taken. With ``condition`` alone, return the plain
    indices where it holds, as NumPy does.

    >>> from gradviz import Tensor, where
    >>> w = Tensor([-1.0, 2.0])
    >>> where(w > 0, w, 0.1 * w).sum().backward()
    >>> w.grad
    array([0.1, 1. ])
    """
    if x is None and y is None:
        return np.nonzero(np.atleast_1d(numbers(condition)))
    if x is None or y is None:
        raise GradvizTypeError("where takes one or three arguments, got two", where=place_of_call())
    return _where(condition, x, y)


where.op = _where.op


@implements(np.select)
def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0.0) -> Any:
    """Return, elementwise, the choice of the first condition that holds, else ``default``."""
    if len(condlist) != len(choicelist) or not condlist:
        raise GradvizValueError(
            f"select: {len(condlist)} conditions for {len(choicelist)} choices", where=place_of_call()
        )
    chosen = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        chosen = where(condition, choice, chosen)
    return chosen


@implements(np.choose)
def choose(x: Any, choices: Sequence[Any], mode: str = "raise") -> Any:
    """Return, elementwise, the choice whose number the integers ``x`` give."""
    number = np.asarray(numbers(x))
    if mode != "raise" or number.dtype.kind not in "iub":
        raise GradvizTypeError("choose takes integers, and no mode", where=place_of_call())
    if number.size and not 0 <= number.min() <= number.max() < len(choices):
        raise GradvizValueError(f"choose: a number is not among the {len(choices)} choices", where=place_of_call())
    return select([number == k for k in range(len(choices))], choices)


# -- by order ---------------------------------------------------------------------------------


def _sort_vjp(g: Any, y: Any, x: Any, axis: Any = -1) -> Any:
    """Send each gradient back to where its element came from."""
    plain = np.asarray(numbers(x))
    line = plain.reshape(-1) if axis is None else plain
    along = 0 if axis is None else axis
    back = np.argsort(np.argsort(line, axis=along, kind="stable"), axis=along, kind="stable")
    return np.reshape(_picked(g, back, along), plain.shape)


def _picked(g: Any, indices: Any, axis: int) -> Any:
    return (take_along_axis if isinstance(g, Tensor) else np.take_along_axis)(g, indices, axis)


@primitive(
    _sort_vjp, formulas=("1 where it came from",), implements=(np.sort,),
    samples=cases(
        (((5,),), {}), (((4, 3),), {"axis": 0}), (((2, 3),), {"axis": None}), (((2, 3, 4),), {"axis": 1}),
        (((0,),), {}),
    ),
)  # fmt: skip
def sort(x: Any, axis: Any = -1) -> Any:
    """Return the elements in increasing order along ``axis``; equal ones keep their order, NaN comes last.

    >>> from gradviz import Tensor, sort
    >>> w = Tensor([3.0, 1.0, 2.0])
    >>> (sort(w) * [10.0, 20.0, 30.0]).sum().backward()
    >>> w.grad
    array([30., 10., 20.])
    """
    return np.sort(x, axis=axis, kind="stable")


@implements(np.partition)
def partition(x: Any, kth: Any, axis: Any = -1) -> Any:
    """Return the elements along ``axis`` so that element ``kth`` is where sorting would put it."""
    line = np.reshape(x, (-1,)) if axis is None else x
    along = -1 if axis is None else axis
    return take_along_axis(line, np.argpartition(numbers(line), kth, axis=along), axis=along)


# -- by limits --------------------------------------------------------------------------------


def _inside(g: Any, y: Any, x: Any, a_min: Any = None, a_max: Any = None) -> Any:
    """Let the gradient through where ``x`` was not cut off; at the limits too, as in PyTorch."""
    plain = numbers(x)
    below = False if a_min is None else np.less(plain, a_min)
    above = False if a_max is None else np.greater(plain, a_max)
    return masked(g, np.logical_not(np.logical_or(below, above)))


def _clip_samples(rng: np.random.Generator) -> Any:
    yield from unary()(rng)
    for limits in ({"a_min": -0.5}, {"a_max": 0.5}, {"a_min": -0.5, "a_max": 0.5}):
        yield Sample((np.array([-1.0, -0.3, 0.3, 1.0]),), limits)
    yield Sample((np.array([-1.0, 0.3]),), {"a_min": np.array([[-2.0], [0.0]]), "a_max": 0.2})


@primitive(_inside, name="clip", symbol="clip", formulas=("[{y} = {0}]",), samples=_clip_samples, elementwise=True)
def _clip(x: Any, a_min: Any = None, a_max: Any = None) -> Any:
    """Limit to ``a_min`` and ``a_max``."""
    return np.asarray(x) if a_min is None and a_max is None else np.clip(x, a_min, a_max)


@implements(np.clip)
def clip(x: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    """Limit to ``a_min`` and ``a_max`` (or ``min`` and ``max``): numbers, arrays or Tensors, None for no limit.

    What was cut off passes no gradient on; an element equal to a limit does. A limit that
    is a Tensor gets the gradient of what it cut off.

    >>> from gradviz import Tensor, clip
    >>> w = Tensor([-2.0, 0.5, 1.0])
    >>> clip(w, 0, 1).sum().backward()
    >>> w.grad
    array([0., 1., 1.])
    """
    low = min if _absent(a_min) else a_min
    high = max if _absent(a_max) else a_max
    low, high = (None if _absent(limit) else limit for limit in (low, high))
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        x = x if low is None else where(np.less(numbers(x), numbers(low)), low, x)
        return x if high is None else where(np.greater(numbers(x), numbers(high)), high, x)
    return _clip(x, a_min=low, a_max=high)


clip.op = _clip.op


def _absent(limit: Any) -> bool:
    return limit is None or limit is np._NoValue


@primitive(
    lambda g, y, x, nan=0.0, posinf=None, neginf=None: masked(g, np.isfinite(numbers(x))),
    formulas=("[{0} is finite]",), implements=(np.nan_to_num,), samples=unary(), elementwise=True,
)  # fmt: skip
def nan_to_num(x: Any, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """Return it with NaN, Inf and -Inf replaced by numbers; what was replaced passes no gradient on."""
    return np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)
