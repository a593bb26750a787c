"""`TensorValue`: the article's scalar class by its own names, on the engine of `Tensor`.

A script written for the class of "Mastering Gradient Descent: Math, Python, and the Magic
Behind Machine Learning" (Suraj Singh Bisht) runs unchanged and gets right gradients, also for
``5 - x``, ``1 / x``, ``2 ** x``, a subexpression used twice, and expressions of any length.

What differs on purpose: gradients of intermediate values are kept, a subtraction is one node
``-`` and not ``+`` of a product with -1, and a value that has been used cannot be replaced
before ``backward()`` without an error. Whole numbers stay whole up to 2**53.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import GradvizValueError
from .admit import admit
from .leaves import value_of
from .operators import SLOW, quick_methods
from .registry import OPS
from .sites import where
from .tensor import Tensor, constant_of, operands

SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "neg": "neg", "pow": "pow", "relu": "rl"}
OF_SYMBOL = {symbol: name for name, symbol in SYMBOLS.items()}
EXACT = 2.0**53
WHOLE_OPERATORS = (
    *("add", "radd", "sub", "rsub", "mul", "rmul", "mod", "rmod", "pow", "rpow"),
    *("neg", "pos", "abs"),
)


class TensorValue(Tensor):
    """A number that remembers how it was computed (the article's class).

    ``TensorValue(num)`` wraps a number, or an array. The other arguments are those of the
    article: the symbol of an operation and its operands, for a value computed elsewhere.

    >>> w, x = TensorValue(3), TensorValue(2)
    >>> loss = (5 - w * x) ** 2
    >>> loss.backward()
    >>> loss, w.grad, loss.ops, loss.left
    (TensorValue(1), 4.0, 'pow', TensorValue(-1))
    """

    __slots__ = ()

    def __init__(self, num: Any, ops: str | None = None, left: Any = None, right: Any = None) -> None:
        super().__init__(_floating(num))
        if ops is not None:
            _made_of(self, ops, [x for x in (left, right) if x is not None])
        if type(self) is TensorValue:
            self.__class__ = _Whole if ops is None and _whole(num, self) else _Value

    @property
    def num(self) -> Any:
        """The value: an int or float, or an array. It can be assigned to a leaf."""
        return self.data

    @num.setter
    def num(self, value: Any) -> None:
        self.data = value
        if type(self) in {_Value, _Whole}:
            self.__class__ = _Whole if _whole(value, self) else _Value

    @property
    def ops(self) -> str | None:
        """The symbol of the operation that made it (``+ - * / pow rl``, or its name), None for a leaf."""
        return None if self.is_leaf else SYMBOLS.get(self.op, self.op)

    @property
    def left(self) -> Any:
        """The first operand; the one that is no plain number in a sum or product."""
        return _sides(self)[0]

    @property
    def right(self) -> Any:
        """The second operand, if there is one: a tensor or a number."""
        return _sides(self)[1]

    @property
    def leaf(self) -> bool:
        """Whether no operation made it."""
        return self.is_leaf

    @property
    def grad(self) -> Any:
        """The gradient: 0.0 before any ``backward()``."""
        grad = Tensor.grad.fget(self)  # type: ignore[attr-defined]
        return 0.0 if grad is None else grad

    @grad.setter
    def grad(self, value: Any) -> None:
        Tensor.grad.fset(self, value)  # type: ignore[attr-defined]

    def flush_gradient(self) -> None:
        """Forget the gradients of everything it was made of except the leaves, as in the article."""
        found: list[Tensor] = [self]
        seen = {id(self)}
        for node in found:
            if not node.is_leaf:
                node._grad = None
            for x in operands(node):
                if x.requires_grad and id(x) not in seen:
                    seen.add(id(x))
                    found.append(x)

    def calculate_gradient_backward(self) -> None:
        """Send ``grad`` on to everything it was made of."""
        self.backward(self.grad)

    def relu(self) -> Tensor:
        """Return ``max(num, 0)``; NaN stays NaN."""
        return super().relu()

    def __repr__(self) -> str:
        value = value_of(self)
        return f"TensorValue({self.num if value.__class__ is float else value})"

    def __copy__(self) -> TensorValue:
        return _rebuilt(self.num, self.name)

    def __deepcopy__(self, memo: dict[int, Any]) -> TensorValue:
        return _rebuilt(self.num, self.name)

    def __reduce__(self) -> Any:
        return _rebuilt, (self.num, self.name)


class _Value(TensorValue):
    """A leaf that is no whole number, or a result."""

    __slots__ = ()
    __init__ = object.__init__  # made by the operators, one slot at a time


class _Whole(TensorValue):
    """A whole number, leaf or result: its operators look whether their result is one too."""

    __slots__ = ()
    __init__ = object.__init__

    @property
    def num(self) -> Any:
        """The value, an int."""
        return int(self._data)

    @num.setter
    def num(self, value: Any) -> None:
        TensorValue.num.fset(self, value)  # type: ignore[attr-defined]

    def relu(self) -> Tensor:
        """Return ``max(num, 0)``."""
        return _kept_whole(super().relu())


_Value.__name__ = _Whole.__name__ = "TensorValue"
_Value.__qualname__ = _Whole.__qualname__ = "TensorValue"
TensorValue._makes = _Value


def _floating(num: Any) -> Any:
    """Return whole numbers of NumPy as floats, for which a gradient exists."""
    whole = isinstance(num, np.generic | np.ndarray) and num.dtype.kind in "iub"
    return np.asarray(num, np.float64) if whole else num


def _whole(value: Any, t: Tensor) -> bool:
    """Tell whether ``t`` was given an integer that a float holds exactly."""
    return isinstance(value, int | np.integer) and t._data.__class__ is float and abs(t._data) <= EXACT


def _kept_whole(out: Tensor) -> Tensor:
    """Make a result of whole numbers whole, if a float holds it exactly."""
    if out.__class__ is _Value and out._data.is_integer() and abs(out._data) <= EXACT:
        out.__class__ = _Whole
    return out


def _whole_operator(name: str) -> Callable[..., Any]:
    slow = SLOW[name]

    def method(self: _Whole, *other: Any) -> Any:
        out = slow(self, *other)
        if not all(isinstance(x, int | np.integer | _Whole) for x in other):
            return out
        exponent = {"pow": other, "rpow": (self,)}.get(name, (0,))[0]
        return out if exponent < 0 else _kept_whole(out)

    return method


def _made_of(t: Tensor, ops: str, sides: list[Any]) -> None:
    """Make a leaf the result of an operation, as the article's constructor does."""
    op = OPS.get(OF_SYMBOL.get(ops, ops))
    if op is None or len(op.vjps) != len(sides):
        raise GradvizValueError(
            f"TensorValue(ops={ops!r}) with {len(sides)} operands is no operation",
            where=where(),
            hint=f"one of {' '.join(OF_SYMBOL)}, with its operands as left and right",
        )
    t._op, t._b = op, None
    t._a = tuple(x if isinstance(x, Tensor) else constant_of(admit(x)) for x in sides)


def _sides(t: Tensor) -> tuple[Any, Any]:
    """Return the operands as the article keeps them: numbers as numbers, on the right where order is free."""
    sides: list[Any] = [x.item() if x.op == "const" and not x.shape else x for x in operands(t)[:2]]
    if t.op in {"add", "mul"} and not isinstance(sides[0], Tensor):
        sides.reverse()
    left, right = (*sides, None, None)[:2]
    return left, right


def _rebuilt(num: Any, name: str | None) -> TensorValue:
    """Make a leaf again from what a pickle or a copy holds."""
    t = TensorValue(num)
    if name is not None:
        t.name = name
    return t


def _install() -> None:
    """Give the classes their operators."""
    for name, method in quick_methods(Result=_Value, Tensor=_Whole).items():
        method.__qualname__ = f"TensorValue.__{name}__"
        setattr(TensorValue, f"__{name}__", method)
    for name in WHOLE_OPERATORS:
        setattr(_Whole, f"__{name}__", _whole_operator(name))
    for name in ("truediv", "rtruediv"):
        setattr(_Whole, f"__{name}__", SLOW[name])


_install()
