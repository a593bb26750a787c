"""Elementwise powers, exponentials, logarithms and trigonometry.

Derivatives are textbook calculus (Abramowitz and Stegun, Handbook of Mathematical Functions,
chapters 3 and 4).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .elementwise import elementwise
from .samples import binary, unary

__all__ = [
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "cbrt",
    "cos",
    "cosh",
    "deg2rad",
    "exp",
    "exp2",
    "expm1",
    "hypot",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logaddexp2",
    "rad2deg",
    "sin",
    "sinc",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "tanh",
]

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
    lambda g, y, a, b: g * np.exp(a - y), lambda g, y, a, b: g * np.exp(b - y),
    formulas=("exp({0} - {y})", "exp({1} - {y})"), samples=binary(), implements=(np.logaddexp,),
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
