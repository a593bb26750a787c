"""Forms: the registry's operators, specialised for the operands that occur most.

The form is chosen while recording (two floats, a float and a number, two arrays of one shape,
...), so that the backward pass need not look again: ``pull`` of a form knows what it meets.
Everything that has no form takes the registry's own rules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .cotangents import PENDING, fit, give, give_fit, recorded_value, total

Pull = Callable[[Any, Any], None]


class Form:
    """An operator on particular operands: ``_a`` is a Tensor, ``_b`` a Tensor, a float or None.

    ``swapped`` says that the number stood on the left.
    """

    __slots__ = ("name", "op", "pull", "swapped")

    def __init__(self, name: str, pull: Pull, *, swapped: bool = False) -> None:
        self.name = name
        self.pull = pull
        self.swapped = swapped
        self.op: Any = None  # the registry's op of this name

    def vjp(self, arg: int) -> Any:
        """Return the registry's rule for operand ``arg``."""
        return self.op.vjp(arg)


def quotient(x: Any, y: Any) -> Any:
    """Divide as NumPy does: a float by zero gives Inf or NaN."""
    try:
        return x / y
    except ZeroDivisionError:
        return float(np.divide(x, y))


def power(x: Any, y: float) -> Any:
    """Raise as NumPy does: NaN for the root of a negative number, Inf on overflow."""
    if x.__class__ is not float:
        return x**y
    try:
        result = x**y
    except (OverflowError, ZeroDivisionError):
        result = None
    return result if result.__class__ is float else float(np.power(np.float64(x), y))


def slope_of_power(x: Any, n: float) -> Any:
    """Return d(x**n)/dx = n·x**(n-1), and 0 for n = 0 also at x = 0."""
    return 0.0 * x if n == 0.0 else n * power(x, n - 1.0)


# Each maker takes `give` (shapes agree) or `give_fit` (they may not) and returns a pull.


def _add(give: Pull) -> Pull:
    def pull(node: Any, g: Any) -> None:
        give(node._a, g)
        give(node._b, g)

    return pull


def _sub(give: Pull) -> Pull:
    def pull(node: Any, g: Any) -> None:
        give(node._a, g)
        give(node._b, -g)

    return pull


def _mul(give: Pull) -> Pull:
    def pull(node: Any, g: Any) -> None:
        a, b = node._a, node._b
        give(a, g * b._data)
        give(b, g * a._data)

    return pull


def _truediv(give: Pull) -> Pull:
    def pull(node: Any, g: Any) -> None:
        a, b = node._a, node._b
        y = b._data
        c = quotient(g, y)
        give(a, c)
        give(b, -c * node._data)

    return pull


def _add_number(node: Any, g: Any) -> None:
    a = node._a
    had = a._grad
    a._grad = g if had is PENDING else total(had, g)


def _negated(node: Any, g: Any) -> None:
    a = node._a
    had = a._grad
    a._grad = -g if had is PENDING else total(had, -g)


def _mul_number(node: Any, g: Any) -> None:
    give(node._a, g * node._b)


def _div_by_number(node: Any, g: Any) -> None:
    give(node._a, quotient(g, node._b))


def _number_div(node: Any, g: Any) -> None:
    a = node._a
    give(a, quotient(-g * node._data, a._data))


def _pow_number(node: Any, g: Any) -> None:
    a, n = node._a, node._b
    c = g * (2.0 * a._data if n == 2.0 else slope_of_power(a._data, n))
    had = a._grad
    a._grad = c if had is PENDING else total(had, c)


# One operand is a Constant, of any shape: only the other gets a gradient.


def _add_constant(node: Any, g: Any) -> None:
    give_fit(node._a, g)


def _negated_constant(node: Any, g: Any) -> None:
    give_fit(node._a, -g)


def _mul_constant(node: Any, g: Any) -> None:
    give_fit(node._a, g * recorded_value(node._b, node))


def _div_by_constant(node: Any, g: Any) -> None:
    give_fit(node._a, quotient(g, recorded_value(node._b, node)))


def _constant_div(node: Any, g: Any) -> None:
    a = node._a
    give_fit(a, quotient(-g * node._data, a._data))


def _matmul(node: Any, g: Any) -> None:
    a, b = node._a, node._b
    give(a, g @ b._data.T)
    give(b, a._data.T @ g)


def unary_pull(rule: Callable[..., Any] | None) -> Pull:
    """Return the pull of an elementwise op of one operand from its registry rule."""

    def pull(node: Any, g: Any) -> None:
        if rule is None:
            return
        a = node._a
        x = a._data
        c = rule(g, node._data, x)
        if x.__class__ is float:
            c = c if c.__class__ is float else float(c)
        elif c.dtype is not x.dtype:
            c = fit(c, x)
        if a._grad is PENDING:
            a._grad = c
        else:
            give(a, c)

    return pull


def _table(*rows: tuple[str, Pull], swapped: bool = False) -> dict[str, Form]:
    return {name: Form(name, pull, swapped=swapped) for name, pull in rows}


# Two floats or two arrays of one shape and dtype; arrays that broadcast or differ in dtype.
ALIKE = _table(("add", _add(give)), ("sub", _sub(give)), ("mul", _mul(give)), ("div", _truediv(give)))
BROADCAST = _table(
    ("add", _add(give_fit)), ("sub", _sub(give_fit)), ("mul", _mul(give_fit)), ("div", _truediv(give_fit))
)
# A number on the right or on the left.
NUMBER = _table(("add", _add_number), ("sub", _add_number), ("mul", _mul_number), ("div", _div_by_number))
SWAPPED = _table(("add", _add_number), ("sub", _negated), ("mul", _mul_number), ("div", _number_div), swapped=True)
# A Constant on the right or on the left.
CONSTANT = _table(("add", _add_constant), ("sub", _add_constant), ("mul", _mul_constant), ("div", _div_by_constant))
CONSTANT_LEFT = _table(
    ("add", _add_constant),
    ("sub", _negated_constant),
    ("mul", _mul_constant),
    ("div", _constant_div),
    swapped=True,
)
POW_NUMBER = Form("pow", _pow_number)
NEG = Form("neg", _negated)
MATMUL = Form("matmul", _matmul)

# The backward pass writes these out in its loop.
ADD, MUL = ALIKE["add"], ALIKE["mul"]
ADD_NUMBER, MUL_NUMBER = NUMBER["add"], NUMBER["mul"]

FORMS = (
    *(form for table in (ALIKE, BROADCAST, NUMBER, SWAPPED, CONSTANT, CONSTANT_LEFT) for form in table.values()),
    *(POW_NUMBER, NEG, MATMUL),
)
