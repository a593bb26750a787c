"""Elementwise arithmetic, and comparisons that keep a gradient.

Where libraries disagree: ties of ``maximum`` and ``minimum`` share the gradient evenly, the
derivative of ``|x|`` at 0 is 0, ``x**0`` has derivative 0 also at 0.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..forms import power as float_power
from ..registry import primitive
from .rules import numbers
from .samples import binary, unary

__all__ = [
    "absolute",
    "add",
    "copysign",
    "divide",
    "fmax",
    "fmin",
    "fmod",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "positive",
    "power",
    "reciprocal",
    "remainder",
    "subtract",
]

elementwise = functools.partial(primitive, elementwise=True)


def _identity(g: Any, y: Any, *args: Any) -> Any:
    return g


def _negated(g: Any, y: Any, *args: Any) -> Any:
    return -g


# -- arithmetic -------------------------------------------------------------------------------


@elementwise(
    _identity,
    _identity,
    symbol="+",
    formulas=("1", "1"),
    samples=binary(),
    implements=(np.add,),
)
def add(x: Any, y: Any) -> Any:
    """Return ``x + y``, elementwise.

    >>> from gradviz import Tensor
    >>> float(Tensor(2.0) + 3)
    5.0
    """
    return np.add(x, y)


@elementwise(
    _identity, _negated, name="sub", symbol="-", formulas=("1", "-1"), samples=binary(),
    implements=(np.subtract,),
)  # fmt: skip
def subtract(x: Any, y: Any) -> Any:
    """Return ``x - y``, elementwise."""
    return np.subtract(x, y)


@elementwise(
    lambda g, out, x, y: g * y, lambda g, out, x, y: g * x, name="mul", symbol="*", formulas=("{1}", "{0}"),
    samples=binary(), implements=(np.multiply,),
)  # fmt: skip
def multiply(x: Any, y: Any) -> Any:
    """Return ``x * y``, elementwise."""
    return np.multiply(x, y)


@elementwise(
    lambda g, out, x, y: np.divide(g, y), lambda g, out, x, y: np.divide(-g * out, y), name="div", symbol="/",
    formulas=("1/{1}", "-{y}/{1}"), samples=binary(-2, 2, 0.5, 2), implements=(np.divide,),
)  # fmt: skip
def divide(x: Any, y: Any) -> Any:
    """Return ``x / y``, elementwise; by zero gives Inf or NaN with NumPy's warning."""
    return np.divide(x, y)


def _pow_base(g: Any, out: Any, x: Any, y: Any) -> Any:
    """d(x**y)/dx = y·x**(y-1), and 0 where y = 0, also at x = 0."""
    return g * np.where(np.equal(y, 0), 0.0, y * np.power(x, np.where(np.equal(y, 0), 1.0, y - 1)))


def _pow_exponent(g: Any, out: Any, x: Any, y: Any) -> Any:
    """d(x**y)/dy = x**y·log(x), and 0 at x = 0, where the limit for y > 0 is 0."""
    return g * out * np.log(np.where(np.equal(x, 0), 1.0, x))


@elementwise(
    _pow_base, _pow_exponent, name="pow", symbol="**", formulas=("{1}*{0}**({1}-1)", "{y}*log({0})"),
    samples=binary(0.5, 2, -2, 3), implements=(np.power, np.float_power), scalar=float_power,
)  # fmt: skip
def power(x: Any, y: Any) -> Any:
    """Return ``x ** y``, elementwise; a negative base with a fractional exponent gives NaN."""
    whole = x.__class__ is not float and np.result_type(x).kind in "iub"
    return np.power(np.asarray(x, dtype=float) if whole else x, y)


def _mod_divisor(g: Any, out: Any, x: Any, y: Any) -> Any:
    return -g * np.floor_divide(numbers(x), numbers(y))


@elementwise(
    _identity, _mod_divisor, name="mod", symbol="%", formulas=("1", "-floor({0}/{1})"),
    samples=binary(0.3, 0.9, 1, 2), implements=(np.remainder,),
)  # fmt: skip
def remainder(x: Any, y: Any) -> Any:
    """Return ``x % y`` with the sign of ``y``, elementwise."""
    return np.remainder(x, y)


@elementwise(
    _identity, lambda g, out, x, y: -g * np.trunc(np.divide(numbers(x), numbers(y))), formulas=("1", "-trunc({0}/{1})"),
    samples=binary(0.3, 0.9, 1, 2), implements=(np.fmod,),
)  # fmt: skip
def fmod(x: Any, y: Any) -> Any:
    """Return the remainder of ``x / y`` with the sign of ``x``, elementwise."""
    return np.fmod(x, y)


@elementwise(_negated, name="neg", symbol="-", formulas=("-1",), samples=unary(), implements=(np.negative,))
def negative(x: Any) -> Any:
    """Return ``-x``."""
    return np.negative(x)


@elementwise(_identity, name="pos", symbol="+", formulas=("1",), samples=unary(), implements=(np.positive,))
def positive(x: Any) -> Any:
    """Return ``+x``."""
    return np.positive(x)


@elementwise(
    lambda g, y, x: g * np.sign(numbers(x)), name="abs", symbol="abs", formulas=("sign({0})",), samples=unary(),
    implements=(np.absolute, np.fabs), scalar=abs,
)  # fmt: skip
def absolute(x: Any) -> Any:
    """Return ``|x|``; the derivative at 0 is 0.

    >>> from gradviz import Tensor
    >>> x = Tensor(0.0)
    >>> abs(x).backward()
    >>> x.grad
    0.0
    """
    return np.absolute(x)


@elementwise(
    lambda g, y, x: np.divide(-g * y, x),
    formulas=("-{y}/{0}",),
    samples=unary(0.5, 2),
    implements=(np.reciprocal,),
)
def reciprocal(x: Any) -> Any:
    """Return ``1 / x``."""
    return np.divide(1.0, x)


# -- comparisons that keep a gradient -----------------------------------------------------------


def _share(g: Any, out: Any, x: Any, other: Any) -> Any:
    """Give the gradient to the operand that won; to both, halved, in a tie; NaN stays NaN."""
    x, other, out = numbers(x), numbers(other), numbers(out)
    won = np.equal(x, out) | (np.isnan(x) & np.isnan(out))
    tied = won & (np.equal(other, out) | (np.isnan(other) & np.isnan(out)))
    return g * np.where(tied, 0.5, np.where(won, 1.0, 0.0))


def _ranked(ufunc: Any, sign: str, doc: str, *also: Any) -> Any:
    def forward(x: Any, y: Any) -> Any:
        return ufunc(x, y)

    forward.__name__, forward.__doc__ = ufunc.__name__, doc
    return elementwise(
        _share, lambda g, out, x, y: _share(g, out, y, x), symbol=ufunc.__name__[:3],
        formulas=(f"[{{0}} {sign} {{1}}]", f"[{{1}} {sign} {{0}}]"), samples=binary(), implements=(ufunc, *also),
    )(forward)  # fmt: skip


maximum = _ranked(np.maximum, ">", "Return the larger, elementwise; a tie shares the gradient evenly, NaN wins.")
minimum = _ranked(np.minimum, "<", "Return the smaller, elementwise; a tie shares the gradient evenly, NaN wins.")
fmax = _ranked(np.fmax, ">", "Return the larger, elementwise; NaN loses against a number.")
fmin = _ranked(np.fmin, "<", "Return the smaller, elementwise; NaN loses against a number.")


@elementwise(
    lambda g, y, x, s: g * np.where(np.signbit(numbers(x)) == np.signbit(numbers(s)), 1.0, -1.0),
    None, formulas=("±1", "0"), samples=binary(), implements=(np.copysign,),
)  # fmt: skip
def copysign(x: Any, y: Any) -> Any:
    """Return ``|x|`` with the sign of ``y``."""
    return np.copysign(x, y)
