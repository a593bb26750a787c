"""Ops as text: how each is computed, and its derivative by each operand, in Python and NumPy.

An op without an entry here is computed by its entry in the registry; it needs none. In a formula ``a`` and
``b`` are the operands, ``y`` is the result and ``g`` the cotangent that arrives. The order of the arithmetic
is that of the registry's rules, so that not a bit differs; for single numbers ``math`` may round the last bit
of a cosine otherwise than NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["FORMULAS", "Formula", "formula_of", "power_formula"]


@dataclass(frozen=True, slots=True)
class Formula:
    """An op on floats (``number``) and on arrays (``array``); "" where the registry has to compute it."""

    number: str
    array: str
    slopes: tuple[str, ...]  # with {m}, the module of the functions: math or np
    pair_slopes: tuple[str, ...] = ()  # where an operator's form rounds otherwise than its rule


def _both(text: str, *slopes: str) -> Formula:
    return Formula(text.replace("{m}", "math"), text.replace("{m}", "np"), slopes)


FORMULAS: dict[str, Formula] = {
    "add": _both("a + b", "g", "g"),
    "sub": _both("a - b", "g", "-g"),
    "mul": _both("a * b", "g * b", "g * a"),
    "div": Formula("a / b", "a / b", ("g / b", "-g * y / b"), ("g / b", "-(g / b) * y")),
    "neg": _both("-a", "-g"),
    "pos": _both("a", "g"),
    "square": _both("a * a", "g * (2.0 * a)"),
    "sqrt": _both("{m}.sqrt(a)", "g / (2.0 * y)"),
    "exp": _both("{m}.exp(a)", "g * y"),
    "expm1": _both("{m}.expm1(a)", "g * (y + 1.0)"),
    "log": _both("{m}.log(a)", "g / a"),
    "log1p": _both("{m}.log1p(a)", "g / (1.0 + a)"),
    "sin": _both("{m}.sin(a)", "g * {m}.cos(a)"),
    "cos": _both("{m}.cos(a)", "-g * {m}.sin(a)"),
    "tan": _both("{m}.tan(a)", "g * (1.0 + y * y)"),
    "arctan": Formula("math.atan(a)", "np.arctan(a)", ("g / (1.0 + a * a)",)),
    "arcsin": Formula("math.asin(a)", "np.arcsin(a)", ("g / {m}.sqrt(1.0 - a * a)",)),
    "arccos": Formula("math.acos(a)", "np.arccos(a)", ("-g / {m}.sqrt(1.0 - a * a)",)),
    "sinh": _both("{m}.sinh(a)", "g * {m}.cosh(a)"),
    "cosh": _both("{m}.cosh(a)", "g * {m}.sinh(a)"),
    "tanh": _both("{m}.tanh(a)", "g * (1.0 - y * y)"),
    "reciprocal": _both("1.0 / a", "-g * y / a"),
    "relu": Formula(
        "0.0 if a <= 0.0 else a",
        "np.maximum(a, 0.0)",
        ("0.0 if a <= 0.0 else g", "np.where(np.less_equal(a, 0.0), 0.0, g)"),
    ),
    "where": Formula("", "np.where(a, b, c)", ("", "np.where(a, g, 0.0)", "np.where(a, 0.0, g)")),
}


def formula_of(name: str) -> Formula | None:
    """Return the entry of an op, if it has one."""
    return FORMULAS.get(name)


def power_formula(exponent: Any, is_float: bool) -> Formula | None:
    """Return the entry of ``a ** exponent`` for one number as exponent.

    >>> power_formula(2.0, True).slopes
    ('g * (2.0 * a)',)
    >>> power_formula(3.0, True).slopes
    ('g * (3.0 * a ** 2.0)',)
    """
    if is_float and not exponent.is_integer():
        return None  # the root of a negative number is to be NaN
    if exponent == 0.0:
        slope = "g * (0.0 * a)"
    elif exponent == 2.0:
        slope = "g * (2.0 * a)"
    else:
        slope = f"g * ({_signed(exponent)} * a ** {_signed(exponent - 1.0)})"
    text = f"a ** {_signed(exponent)}"
    return Formula(text, text, (slope,))


def _signed(value: float) -> str:
    return f"({value!r})" if value < 0 else repr(value)
