"""`Tensor`: a value that remembers how it was made.

Three classes share one layout of eight slots:

* `Tensor` itself is a leaf that a gradient is wanted for;
* `Result` is what an op made of tensors, one of which wants a gradient;
* `Constant` wants none: a leaf, or the result of an op on constants.

``_op`` says how ``_a`` and ``_b`` are to be read. For a `Leaf` ``_a`` is None, and ``_b`` is None or a weak
reference to the array that was copied. For a `Form`
(an operator on two values, the hot path) they are the two operands. For an `Op` (everything
else) ``_a`` is the tuple of operands and ``_b`` the metadata. An operand is a Tensor, or the
number or array that the user wrote. ``_key`` is the creation number above 24 bits of
instruction offset, so creation order is a comparison and the source line costs one addition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import GradvizTypeError, ShapeError
from . import modes
from .admit import Number, admit, differentiable, number
from .conversions import Conversions
from .leaves import CONST, INPUT, PARAM, Exposed, Leaf, assign, next_key, value_of
from .methods import Methods
from .modes import Extra
from .sites import OFFSET_MASK, Place, caller, place, where


class Tensor(Conversions, Methods):
    """A number or array whose gradient can be asked for.

    ``data`` is a number, an array or a list of numbers; it is copied. Scalars are kept as
    Python floats, arrays keep their floating dtype, whole numbers and lists of them become float64.
    Complex, object, string and (when a gradient is required) integer arrays raise
    `GradvizTypeError`.

    >>> w = Tensor(3.0, name="w")
    >>> y = w * w + 1
    >>> y.backward()
    >>> y, w.grad
    (Tensor(10.0), 6.0)
    """

    __slots__ = ("_a", "_b", "_code", "_data", "_extra", "_grad", "_key", "_op")
    __hash__ = object.__hash__  # identity, although == compares values
    __array_priority__ = 1000.0

    _a: Any
    _b: Any
    _code: Any
    _data: Any
    _extra: Extra | None
    _grad: Any
    _key: int
    _op: Any
    _makes: ClassVar[Any]  # the class of what an op makes of it

    def __init__(self, data: Any, *, name: str | None = None, requires_grad: bool = True) -> None:
        value = admit(data.detach().data if isinstance(data, Tensor) else data, what=_named(name))
        self._data = differentiable(number(value), name) if requires_grad else value
        _init_leaf(self, PARAM if requires_grad else INPUT, name)

    # -- what it is -------------------------------------------------------------------------

    @property
    def data(self) -> Any:
        """The value: a float, or an array. Assign to a leaf's ``data`` to change it.

        A leaf hands out an array that may be written to until the next op uses the leaf; then
        the array is locked, and ``data`` has to be asked for again. A write through a view that
        was taken of it earlier counts as a new value too, at the next use of the leaf. What an
        op computed is read-only. Either way no recorded gradient can change unnoticed: it is
        that of the old value, or ``backward()`` raises `StaleValueError`. An assignment and an
        optimizer's step give the leaf another array, of which earlier views are none.
        """
        value = self._data
        if modes.active:
            self._look(modes.itself)
        if value.__class__ is float:
            return value
        if not self.is_leaf:
            value.setflags(write=False)
            return value
        if value.__class__ is not Exposed:
            value = self._data = Exposed(value.copy(), value)
        value.array.setflags(write=True)
        return value.array

    @data.setter
    def data(self, value: Any) -> None:
        if not self.is_leaf:
            raise GradvizTypeError(
                f"{self.label} is the result of {self.op}: only a leaf's data can be assigned", where=where()
            )
        assign(self, value)

    @property
    def grad(self) -> Any:
        """The gradient that the last ``backward()`` calls brought: None if none did.

        A leaf's gradient adds up over calls until ``zero_grad()``; a result keeps that of the last.
        """
        if modes.active:
            modes.told("refuse", "it reads a gradient")
        grad = self._grad
        if grad.__class__ is np.ndarray and not self.is_leaf:
            grad.setflags(write=False)
        return grad

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None and not isinstance(value, Tensor):
            value = admit(value, what=f"gradient of {self.label}")
            if np.shape(value) != self.shape:
                raise ShapeError(
                    f"gradient of shape {np.shape(value)} assigned to {self.label} of shape {self.shape}",
                    where=where(),
                )
            if value.__class__ is np.ndarray:
                value.setflags(write=True)
        self._grad = value

    @property
    def name(self) -> str | None:
        """The name given by hand, or None (pictures then use the variable's name)."""
        return self._extra.name if self._extra else None

    @name.setter
    def name(self, name: str | None) -> None:
        self._extra = (self._extra or Extra())._replace(name=None if name is None else str(name))

    @property
    def scope(self) -> tuple[str, ...]:
        """The scopes that were open when it was made, outermost first."""
        return self._extra.scope if self._extra else ()

    @property
    def op(self) -> str:
        """The name of the op that made it: ``"mul"``; ``"param"``, ``"input"``, ``"const"`` for a leaf."""
        return str(self._op.name)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors it was made of, in order, with repeats; numbers appear as constants."""
        return operands(self)

    @property
    def attrs(self) -> dict[str, Any]:
        """The metadata of its op, such as ``{"axis": 0}``."""
        return dict(self._b or {}) if self._a.__class__ is tuple else {}

    @property
    def is_leaf(self) -> bool:
        """Whether no op made it."""
        return self._op.__class__ is Leaf

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient is computed for it."""
        return not isinstance(self, Constant)

    @requires_grad.setter
    def requires_grad(self, requires_grad: bool) -> None:
        self.requires_grad_(requires_grad)

    @property
    def source(self) -> Place | None:
        """Where it was made: file, line, columns, function and the text of the expression."""
        code, offset = site(self)
        return place(code, offset) if code is not None else None

    @property
    def label(self) -> str:
        """What an error calls it: its name, else its op and shape."""
        return repr(self.name) if self.name else f"{self.op} of shape {self.shape}"

    # -- shape ------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape: ``()`` for a scalar."""
        return () if self._data.__class__ is float else value_of(self).shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype."""
        return np.dtype(np.float64) if self._data.__class__ is float else value_of(self).dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return 1 if self._data.__class__ is float else int(value_of(self).size)

    # -- copies ----------------------------------------------------------------------------

    def detach(self) -> Tensor:
        """Return the same value as a constant: no gradient flows back through it."""
        out = constant_of(value_of(self), self._extra)
        return modes.told("detached", self, out) if modes.active else out

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        return copy_leaf(self)

    def __copy__(self) -> Tensor:
        return copy_leaf(self)

    def __reduce__(self) -> Any:
        return rebuild, (np.array(value_of(self)), self.name, self.requires_grad)

    # -- gradients --------------------------------------------------------------------------

    def zero_grad(self) -> None:
        """Forget the gradient: ``grad`` is None again."""
        self._grad = None

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Switch a leaf's gradient on or off and return it."""
        if not self.is_leaf:
            raise GradvizTypeError(f"{self.label} is not a leaf: use detach()", where=where())
        if requires_grad:
            differentiable(value_of(self), self.name)
        self.__class__ = Tensor if requires_grad else Frozen
        self._op = PARAM if requires_grad else INPUT
        return self

    if TYPE_CHECKING:  # installed by backward.py and operators.py

        def backward(self, grad: Any = None, *, create_graph: bool = False) -> None: ...  # noqa: D102

        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __rmod__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __rfloordiv__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __pos__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...


class Result(Tensor):
    """What an op made of tensors, one of which at least requires a gradient."""

    __slots__ = ()
    __init__ = object.__init__  # made by ops alone, one slot at a time


class Constant(Tensor):
    """A tensor that requires no gradient: a leaf, or what an op made of such."""

    __slots__ = ()
    __init__ = object.__init__


class Frozen(Constant):
    """A leaf that wanted a gradient once: nodes made before may still send it one, which is let go."""

    __slots__ = ()


Result.__name__ = Constant.__name__ = Frozen.__name__ = "Tensor"
Tensor._makes = Result
Constant._makes = Constant


def tensor(data: Any, *, name: str | None = None, requires_grad: bool = True) -> Tensor:
    """Return ``Tensor(data, ...)``: the function PyTorch users look for.

    >>> tensor([1, 2]).dtype
    dtype('float64')
    """
    return Tensor(data, name=name, requires_grad=requires_grad)


def constant(data: Any, *, name: str | None = None) -> Tensor:
    """Return a tensor that requires no gradient; a big data array is copied here, once.

    >>> X = constant([[1.0, 2.0]], name="X")
    >>> X.requires_grad, X.op
    (False, 'const')
    """
    return constant_of(admit(data.detach().data if isinstance(data, Tensor) else data, what=_named(name)),
                       Extra(name=name) if name else None)  # fmt: skip


def constant_of(value: Any, extra: Extra | None = None) -> Tensor:
    """Make a constant leaf of a value the graph already owns."""
    out: Tensor = Constant()
    out._data = value
    _init_leaf(out, CONST, None)
    out._extra = extra
    return out


def _init_leaf(self: Tensor, op: Leaf, name: str | None) -> None:
    self._op = op
    self._a = self._b = self._grad = None
    frame = caller()
    self._code = frame.f_code
    self._key = next_key() + (frame.f_lasti & OFFSET_MASK)
    outer = modes.mode().extra if modes.active else None
    self._extra = (outer or Extra())._replace(name=str(name)) if name is not None else outer
    if op is INPUT:
        self.__class__ = Constant


def _named(name: str | None) -> str:
    return f"Tensor {name!r}" if name else "Tensor"


def site(t: Tensor) -> tuple[Any, int]:
    """Return the code object and offset that made ``t``."""
    if t._extra is not None and t._extra.site is not None:
        return t._extra.site
    return t._code, t._key & OFFSET_MASK


def operands(t: Tensor) -> tuple[Tensor, ...]:
    """Return the operands as Tensors; a number that stood in an expression becomes a constant."""
    op = t._op
    if op.__class__ is Leaf:
        return ()
    if t._a.__class__ is tuple:
        operands: tuple[Tensor, ...] = t._a
        return operands
    if t._b is None:
        return (t._a,)
    pair = (_operand(t._a, t), _operand(t._b, t))
    return pair[::-1] if op.swapped else pair


def _operand(value: Any, consumer: Tensor) -> Tensor:
    if isinstance(value, Tensor):
        return value
    out = constant_of(value)
    out._code, out._key = consumer._code, consumer._key
    return out


def copy_leaf(t: Tensor) -> Tensor:
    """Return a leaf of the same value, name and kind, without history (as ``copy.deepcopy`` gives)."""
    return rebuild(np.array(value_of(t)), t.name, t.requires_grad)


def rebuild(data: Any, name: str | None, requires_grad: bool) -> Tensor:
    """Make a leaf again from what a pickle holds."""
    return Tensor(data, name=name, requires_grad=requires_grad)


__all__ = ["Constant", "Exposed", "Leaf", "Number", "Result", "Tensor", "constant", "tensor"]
