"""Elementwise ops: arithmetic, powers, exponentials, trigonometry, rounding.

Every differentiable ufunc of NumPy has an entry. Derivatives are textbook calculus
(Abramowitz and Stegun, Handbook of Mathematical Functions, chapters 3 and 4).

Where libraries disagree: ties of ``maximum`` and ``minimum`` share the gradient evenly, the
derivative of ``|x|`` at 0 is 0, ``x**0`` has derivative 0 also at 0.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..forms import power as float_power
from ..registry import primitive
from .samples import binary, unary

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
    return np.asarray(x, dtype=float if np.result_type(x).kind in "iub" else None) ** y


def _mod_divisor(g: Any, out: Any, x: Any, y: Any) -> Any:
    return -g * np.floor_divide(_plain(x), _plain(y))


def _plain(x: Any) -> Any:
    """Return the numbers of a value that may be a Tensor: no gradient flows through them."""
    return x.numpy() if hasattr(x, "requires_grad") else x


@elementwise(
    _identity, _mod_divisor, name="mod", symbol="%", formulas=("1", "-floor({0}/{1})"),
    samples=binary(0.3, 0.9, 1, 2), implements=(np.remainder,),
)  # fmt: skip
def remainder(x: Any, y: Any) -> Any:
    """Return ``x % y`` with the sign of ``y``, elementwise."""
    return np.remainder(x, y)


@elementwise(
    _identity, lambda g, out, x, y: -g * np.trunc(np.divide(_plain(x), _plain(y))), formulas=("1", "-trunc({0}/{1})"),
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
    lambda g, y, x: g * np.sign(_plain(x)), name="abs", symbol="abs", formulas=("sign({0})",), samples=unary(),
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


# -- powers, exponentials, logarithms -----------------------------------------------------------


@elementwise(lambda g, y, x: g * (2.0 * x), formulas=("2*{0}",), samples=unary(), implements=(np.square,))
def square(x: Any) -> Any:
    """Return ``x * x``."""
    return np.multiply(x, x)


@elementwise(
    lambda g, y, x: np.divide(g, 2.0 * y), formulas=("1/(2*{y})",), samples=unary(0.5, 2), implements=(np.sqrt,),
    scalar=math.sqrt,
)  # fmt: skip
def sqrt(x: Any) -> Any:
    """Return the square root; the derivative at 0 is Inf, below 0 everything is NaN."""
    return np.sqrt(x)


@elementwise(
    lambda g, y, x: np.divide(g, 3.0 * y * y),
    formulas=("1/(3*{y}²)",),
    samples=unary(0.5, 2),
    implements=(np.cbrt,),
)
def cbrt(x: Any) -> Any:
    """Return the cube root, of negative numbers too."""
    return np.cbrt(x)


@elementwise(lambda g, y, x: g * y, formulas=("{y}",), samples=unary(), implements=(np.exp,), scalar=math.exp)
def exp(x: Any) -> Any:
    """Return ``e ** x``.

    >>> from gradviz import Tensor, exp
    >>> x = Tensor(0.0)
    >>> exp(x).backward()
    >>> x.grad
    1.0
    """
    return np.exp(x)


@elementwise(lambda g, y, x: g * y * math.log(2), formulas=("log(2)*{y}",), samples=unary(), implements=(np.exp2,))
def exp2(x: Any) -> Any:
    """Return ``2 ** x``."""
    return np.exp2(x)


@elementwise(
    lambda g, y, x: g * (y + 1.0),
    formulas=("{y} + 1",),
    samples=unary(),
    implements=(np.expm1,),
    scalar=math.expm1,
)
def expm1(x: Any) -> Any:
    """Return ``e ** x - 1``, accurate near 0."""
    return np.expm1(x)


@elementwise(
    lambda g, y, x: np.divide(g, x),
    formulas=("1/{0}",),
    samples=unary(0.5, 2),
    implements=(np.log,),
    scalar=math.log,
)
def log(x: Any) -> Any:
    """Return the natural logarithm; of 0 it is -Inf, below 0 it is NaN."""
    return np.log(x)


@elementwise(
    lambda g, y, x: np.divide(g, x * math.log(2)), formulas=("1/(log(2)*{0})",), samples=unary(0.5, 2),
    implements=(np.log2,),
)  # fmt: skip
def log2(x: Any) -> Any:
    """Return the logarithm to base 2."""
    return np.log2(x)


@elementwise(
    lambda g, y, x: np.divide(g, x * math.log(10)), formulas=("1/(log(10)*{0})",), samples=unary(0.5, 2),
    implements=(np.log10,),
)  # fmt: skip
def log10(x: Any) -> Any:
    """Return the logarithm to base 10."""
    return np.log10(x)


@elementwise(
    lambda g, y, x: np.divide(g, 1.0 + x), formulas=("1/(1 + {0})",), samples=unary(-0.5, 2), implements=(np.log1p,),
    scalar=math.log1p,
)  # fmt: skip
def log1p(x: Any) -> Any:
    """Return ``log(1 + x)``, accurate near 0."""
    return np.log1p(x)


@elementwise(
    lambda g, y, a, b: g * np.exp(a - y), lambda g, y, a, b: g * np.exp(b - y), formulas=("exp({0} - {y})", "exp({1} - {y})"),
    samples=binary(), implements=(np.logaddexp,),
)  # fmt: skip
def logaddexp(x: Any, y: Any) -> Any:
    """Return ``log(exp(x) + exp(y))`` without overflow."""
    return np.logaddexp(x, y)


@elementwise(
    lambda g, y, a, b: g * np.exp2(a - y), lambda g, y, a, b: g * np.exp2(b - y),
    formulas=("2**({0} - {y})", "2**({1} - {y})"), samples=binary(), implements=(np.logaddexp2,),
)  # fmt: skip
def logaddexp2(x: Any, y: Any) -> Any:
    """Return ``log2(2**x + 2**y)`` without overflow."""
    return np.logaddexp2(x, y)


# -- trigonometry -------------------------------------------------------------------------------


@elementwise(
    lambda g, y, x: g * np.cos(x),
    formulas=("cos({0})",),
    samples=unary(),
    implements=(np.sin,),
    scalar=math.sin,
)
def sin(x: Any) -> Any:
    """Return the sine of an angle in radians.

    >>> from gradviz import Tensor, sin
    >>> x = Tensor(0.0)
    >>> sin(x).backward()
    >>> x.grad
    1.0
    """
    return np.sin(x)


@elementwise(
    lambda g, y, x: -g * np.sin(x),
    formulas=("-sin({0})",),
    samples=unary(),
    implements=(np.cos,),
    scalar=math.cos,
)
def cos(x: Any) -> Any:
    """Return the cosine of an angle in radians."""
    return np.cos(x)


@elementwise(
    lambda g, y, x: g * (1.0 + y * y),
    formulas=("1 + {y}²",),
    samples=unary(-1, 1),
    implements=(np.tan,),
    scalar=math.tan,
)
def tan(x: Any) -> Any:
    """Return the tangent of an angle in radians."""
    return np.tan(x)


@elementwise(
    lambda g, y, x: np.divide(g, np.sqrt(1.0 - x * x)), formulas=("1/sqrt(1 - {0}²)",), samples=unary(-0.8, 0.8),
    implements=(np.arcsin,), scalar=math.asin,
)  # fmt: skip
def arcsin(x: Any) -> Any:
    """Return the inverse sine, in radians."""
    return np.arcsin(x)


@elementwise(
    lambda g, y, x: np.divide(-g, np.sqrt(1.0 - x * x)), formulas=("-1/sqrt(1 - {0}²)",), samples=unary(-0.8, 0.8),
    implements=(np.arccos,), scalar=math.acos,
)  # fmt: skip
def arccos(x: Any) -> Any:
    """Return the inverse cosine, in radians."""
    return np.arccos(x)


@elementwise(
    lambda g, y, x: np.divide(g, 1.0 + x * x), formulas=("1/(1 + {0}²)",), samples=unary(), implements=(np.arctan,),
    scalar=math.atan,
)  # fmt: skip
def arctan(x: Any) -> Any:
    """Return the inverse tangent, in radians."""
    return np.arctan(x)


@elementwise(
    lambda g, out, y, x: g * np.divide(x, x * x + y * y), lambda g, out, y, x: g * np.divide(-y, x * x + y * y),
    formulas=("{1}/({0}² + {1}²)", "-{0}/({0}² + {1}²)"), samples=binary(0.5, 2), implements=(np.arctan2,),
)  # fmt: skip
def arctan2(y: Any, x: Any) -> Any:
    """Return the angle of the point (x, y), in radians."""
    return np.arctan2(y, x)


@elementwise(
    lambda g, out, x, y: g * np.divide(x, out), lambda g, out, x, y: g * np.divide(y, out),
    formulas=("{0}/{y}", "{1}/{y}"), samples=binary(0.5, 2), implements=(np.hypot,),
)  # fmt: skip
def hypot(x: Any, y: Any) -> Any:
    """Return ``sqrt(x**2 + y**2)`` without overflow."""
    return np.hypot(x, y)


@elementwise(
    lambda g, y, x: g * np.cosh(x),
    formulas=("cosh({0})",),
    samples=unary(),
    implements=(np.sinh,),
    scalar=math.sinh,
)
def sinh(x: Any) -> Any:
    """Return the hyperbolic sine."""
    return np.sinh(x)


@elementwise(
    lambda g, y, x: g * np.sinh(x),
    formulas=("sinh({0})",),
    samples=unary(),
    implements=(np.cosh,),
    scalar=math.cosh,
)
def cosh(x: Any) -> Any:
    """Return the hyperbolic cosine."""
    return np.cosh(x)


@elementwise(
    lambda g, y, x: g * (1.0 - y * y),
    formulas=("1 - {y}²",),
    samples=unary(),
    implements=(np.tanh,),
    scalar=math.tanh,
)
def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent."""
    return np.tanh(x)


@elementwise(
    lambda g, y, x: np.divide(g, np.sqrt(x * x + 1.0)), formulas=("1/sqrt({0}² + 1)",), samples=unary(),
    implements=(np.arcsinh,), scalar=math.asinh,
)  # fmt: skip
def arcsinh(x: Any) -> Any:
    """Return the inverse hyperbolic sine."""
    return np.arcsinh(x)


@elementwise(
    lambda g, y, x: np.divide(g, np.sqrt(x * x - 1.0)), formulas=("1/sqrt({0}² - 1)",), samples=unary(1.2, 3),
    implements=(np.arccosh,), scalar=math.acosh,
)  # fmt: skip
def arccosh(x: Any) -> Any:
    """Return the inverse hyperbolic cosine."""
    return np.arccosh(x)


@elementwise(
    lambda g, y, x: np.divide(g, 1.0 - x * x), formulas=("1/(1 - {0}²)",), samples=unary(-0.8, 0.8),
    implements=(np.arctanh,), scalar=math.atanh,
)  # fmt: skip
def arctanh(x: Any) -> Any:
    """Return the inverse hyperbolic tangent."""
    return np.arctanh(x)


@elementwise(
    lambda g, y, x: g * (math.pi / 180),
    formulas=("pi/180",),
    samples=unary(),
    implements=(np.deg2rad, np.radians),
)
def deg2rad(x: Any) -> Any:
    """Return degrees as radians."""
    return np.deg2rad(x)


@elementwise(
    lambda g, y, x: g * (180 / math.pi),
    formulas=("180/pi",),
    samples=unary(),
    implements=(np.rad2deg, np.degrees),
)
def rad2deg(x: Any) -> Any:
    """Return radians as degrees."""
    return np.rad2deg(x)


def _sinc_slope(g: Any, y: Any, x: Any) -> Any:
    """d/dx sin(πx)/(πx) = (cos(πx) - y)/x, and 0 at 0."""
    apart = np.where(np.equal(x, 0), 1.0, x)
    return g * np.where(np.equal(x, 0), 0.0, np.divide(np.cos(math.pi * x) - y, apart))


@elementwise(_sinc_slope, formulas=("(cos(pi*{0}) - {y})/{0}",), samples=unary(), implements=(np.sinc,))
def sinc(x: Any) -> Any:
    """Return ``sin(pi*x) / (pi*x)``, and 1 at 0."""
    return np.sinc(x)


# -- comparisons that keep a gradient -----------------------------------------------------------


def _share(g: Any, out: Any, x: Any, other: Any) -> Any:
    """Give the gradient to the operand that won; to both, halved, in a tie; NaN stays NaN."""
    x, other, out = _plain(x), _plain(other), _plain(out)
    won = np.equal(x, out) | (np.isnan(x) & np.isnan(out))
    tied = won & (np.equal(other, out) | (np.isnan(other) & np.isnan(out)))
    return g * np.where(tied, 0.5, np.where(won, 1.0, 0.0))


def _ranked(ufunc: Any, sign: str, doc: str, *also: Any) -> Any:
    def forward(x: Any, y: Any) -> Any:
        return ufunc(x, y)

    forward.__name__, forward.__doc__ = ufunc.__name__, doc
    return elementwise(
        lambda g, out, x, y: _share(g, out, x, y), lambda g, out, x, y: _share(g, out, y, x), symbol=ufunc.__name__[:3],
        formulas=(f"[{{0}} {sign} {{1}}]", f"[{{1}} {sign} {{0}}]"), samples=binary(), implements=(ufunc, *also),
    )(forward)  # fmt: skip


maximum = _ranked(np.maximum, ">", "Return the larger, elementwise; a tie shares the gradient evenly, NaN wins.")
minimum = _ranked(np.minimum, "<", "Return the smaller, elementwise; a tie shares the gradient evenly, NaN wins.")
fmax = _ranked(np.fmax, ">", "Return the larger, elementwise; NaN loses against a number.")
fmin = _ranked(np.fmin, "<", "Return the smaller, elementwise; NaN loses against a number.")


@elementwise(
    lambda g, y, x, s: g * np.where(np.signbit(_plain(x)) == np.signbit(_plain(s)), 1.0, -1.0),
    None, formulas=("±1", "0"), samples=binary(), implements=(np.copysign,),
)  # fmt: skip
def copysign(x: Any, y: Any) -> Any:
    """Return ``|x|`` with the sign of ``y``."""
    return np.copysign(x, y)
