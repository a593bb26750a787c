"""Forms: the registry's operators, specialised for the operands that occur most.

The form is chosen while recording (two floats, a float and a number, two arrays of one shape,
...), so that the backward pass need not look again: ``pull`` of a form knows what it meets.
Everything that has no form takes the registry's own rules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .cotangents import PENDING, fit, give, give_fit

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
    if x.__class__ is float:
        if x > 0:
            try:
                return x**y
            except OverflowError:
                pass
        return float(np.power(np.float64(x), y))
    return x**y


def slope_of_power(x: Any, n: float) -> Any:
    """Return d(x**n)/dx = n·x**(n-1), and 0 for n = 0 also at x = 0."""
    if n == 2.0:
        return 2.0 * x
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
    give(node._a, g)


def _negated(node: Any, g: Any) -> None:
    give(node._a, -g)


def _mul_number(node: Any, g: Any) -> None:
    give(node._a, g * node._b)


def _div_by_number(node: Any, g: Any) -> None:
    give(node._a, quotient(g, node._b))


def _number_div(node: Any, g: Any) -> None:
    a = node._a
    give(a, quotient(-g * node._data, a._data))


def _pow_number(node: Any, g: Any) -> None:
    a = node._a
    give(a, g * slope_of_power(a._data, node._b))


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


# Two floats or two arrays of one shape and dtype; one of them and a number on its right or left.
ADD, SUB, MUL, DIV = (
    Form(name, maker(give)) for name, maker in (("add", _add), ("sub", _sub), ("mul", _mul), ("div", _truediv))
)
ADD_NUMBER, SUB_NUMBER = Form("add", _add_number), Form("sub", _add_number)
MUL_NUMBER, DIV_NUMBER = Form("mul", _mul_number), Form("div", _div_by_number)
NUMBER_ADD, NUMBER_SUB = Form("add", _add_number, swapped=True), Form("sub", _negated, swapped=True)
NUMBER_MUL, NUMBER_DIV = Form("mul", _mul_number, swapped=True), Form("div", _number_div, swapped=True)
POW_NUMBER = Form("pow", _pow_number)
NEG = Form("neg", _negated)
# Two arrays that broadcast or differ in dtype (alike ones take ADD, SUB, ...); two matrices.
BROADCAST = {
    form.name: form
    for form in (
        Form("add", _add(give_fit)),
        Form("sub", _sub(give_fit)),
        Form("mul", _mul(give_fit)),
        Form("div", _truediv(give_fit)),
    )
}
MATMUL = Form("matmul", _matmul)

FORMS = (
    *(ADD, SUB, MUL, DIV, ADD_NUMBER, SUB_NUMBER, MUL_NUMBER, DIV_NUMBER),
    *(NUMBER_ADD, NUMBER_SUB, NUMBER_MUL, NUMBER_DIV, POW_NUMBER, NEG, MATMUL),
    *BROADCAST.values(),
)
