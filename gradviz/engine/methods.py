"""The methods of `Tensor` that NumPy users expect: each calls the op of its name."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import GradvizTypeError
from .modes import itself
from .sites import where

if TYPE_CHECKING:
    from .tensor import Tensor


@cache
def _function(name: str) -> Any:
    from . import functions

    return getattr(functions, name)


def _call(name: str, *args: Any, **kwargs: Any) -> Any:
    return _function(name)(*args, **kwargs)


class Methods:
    """Reductions, shapes and elementwise functions as methods."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def ndim(self) -> int: ...  # noqa: D102

        @property
        def label(self) -> str: ...  # noqa: D102

        def _look(self, question: Any) -> Any: ...

    def __setitem__(self, index: Any, value: Any) -> None:
        raise GradvizTypeError(
            f"{self.label} cannot be changed in place: a gradient may need its old values",
            where=where(),
            hint="make a new one with np.where(mask, new, old) or np.concatenate; between steps, assign to .data",
        )

    @property
    def T(self) -> Tensor:  # noqa: N802 - NumPy's name
        """The transpose."""
        return _call("transpose", self)  # type: ignore[no-any-return]

    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """Return the sum over ``axis`` (all axes by default)."""
        return _call("sum", self, axis=axis, keepdims=keepdims)  # type: ignore[no-any-return]

    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """Return the mean over ``axis``."""
        return _call("mean", self, axis=axis, keepdims=keepdims)  # type: ignore[no-any-return]

    def prod(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """Return the product over ``axis``."""
        return _call("prod", self, axis=axis, keepdims=keepdims)  # type: ignore[no-any-return]

    def max(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """Return the maximum over ``axis``; ties share the gradient."""
        return _call("max", self, axis=axis, keepdims=keepdims)  # type: ignore[no-any-return]

    def min(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """Return the minimum over ``axis``; ties share the gradient."""
        return _call("min", self, axis=axis, keepdims=keepdims)  # type: ignore[no-any-return]

    def var(self, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Tensor:
        """Return the variance over ``axis``, with NumPy's ``ddof`` (0 by default)."""
        return _call("var", self, axis=axis, ddof=ddof, keepdims=keepdims)  # type: ignore[no-any-return]

    def std(self, axis: Any = None, ddof: float = 0, keepdims: bool = False) -> Tensor:
        """Return the standard deviation over ``axis``."""
        return _call("std", self, axis=axis, ddof=ddof, keepdims=keepdims)  # type: ignore[no-any-return]

    def cumsum(self, axis: Any = None) -> Tensor:
        """Return the running sum along ``axis``."""
        return _call("cumsum", self, axis=axis)  # type: ignore[no-any-return]

    def cumprod(self, axis: Any = None) -> Tensor:
        """Return the running product along ``axis``."""
        return _call("cumprod", self, axis=axis)  # type: ignore[no-any-return]

    def logsumexp(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """Return ``log(sum(exp(x)))`` over ``axis``, without overflow."""
        return _call("logsumexp", self, axis=axis, keepdims=keepdims)  # type: ignore[no-any-return]

    def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
        """Return the sum of the diagonal."""
        from .ops.diagonals import trace

        return trace(self, offset=offset, axis1=axis1, axis2=axis2)  # type: ignore[no-any-return]

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
        """Return the diagonal."""
        return _call("diagonal", self, offset=offset, axis1=axis1, axis2=axis2)  # type: ignore[no-any-return]

    def astype(self, dtype: Any) -> Tensor:
        """Return it in another dtype; a dtype that is not floating gives a constant."""
        return _call("astype", self, dtype)  # type: ignore[no-any-return]

    def copy(self) -> Tensor:
        """Return the same value as a node of its own; gradients flow through it."""
        from .ops.shapes import copy

        return copy(self)  # type: ignore[no-any-return]

    def reshape(self, *shape: Any) -> Tensor:
        """Return the same elements in another shape; one length may be -1."""
        return _call("reshape", self, shape=shape[0] if len(shape) == 1 else shape)  # type: ignore[no-any-return]

    def ravel(self) -> Tensor:
        """Return the elements along one axis."""
        return _call("reshape", self, shape=(-1,))  # type: ignore[no-any-return]

    flatten = ravel

    def transpose(self, *axes: Any) -> Tensor:
        """Return the axes reversed, or in the given order."""
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        return _call("transpose", self, axes=tuple(order) if order else None)  # type: ignore[no-any-return]

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        """Return two axes exchanged."""
        return _call("swapaxes", self, axis1=axis1, axis2=axis2)  # type: ignore[no-any-return]

    def squeeze(self, axis: Any = None) -> Tensor:
        """Return it without axes of length 1."""
        return _call("squeeze", self, axis=axis)  # type: ignore[no-any-return]

    def repeat(self, repeats: Any, axis: Any = None) -> Tensor:
        """Return every element repeated."""
        return _call("repeat", self, repeats=repeats, axis=axis)  # type: ignore[no-any-return]

    def take(self, indices: Any, axis: Any = None) -> Tensor:
        """Return the elements at ``indices`` along ``axis``."""
        return _call("take", self, indices, axis=axis)  # type: ignore[no-any-return]

    def dot(self, other: Any) -> Tensor:
        """Return the product as ``np.dot`` defines it."""
        return _call("dot", self, other)  # type: ignore[no-any-return]

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        """Return it limited to ``min`` and ``max``."""
        return _call("clip", self, min, max)  # type: ignore[no-any-return]

    def round(self, decimals: int = 0) -> Tensor:
        """Return it rounded to so many decimals."""
        return _call("round", self, decimals=decimals)  # type: ignore[no-any-return]

    def __round__(self, decimals: int | None = None) -> Tensor:
        return self.round(decimals or 0)

    def exp(self) -> Tensor:
        """Return ``e ** x``."""
        return _call("exp", self)  # type: ignore[no-any-return]

    def log(self) -> Tensor:
        """Return the natural logarithm."""
        return _call("log", self)  # type: ignore[no-any-return]

    def sqrt(self) -> Tensor:
        """Return the square root."""
        return _call("sqrt", self)  # type: ignore[no-any-return]

    def sin(self) -> Tensor:
        """Return the sine."""
        return _call("sin", self)  # type: ignore[no-any-return]

    def cos(self) -> Tensor:
        """Return the cosine."""
        return _call("cos", self)  # type: ignore[no-any-return]

    def tanh(self) -> Tensor:
        """Return the hyperbolic tangent."""
        return _call("tanh", self)  # type: ignore[no-any-return]

    def sigmoid(self) -> Tensor:
        """Return ``1 / (1 + exp(-x))``."""
        return _call("sigmoid", self)  # type: ignore[no-any-return]

    def relu(self) -> Tensor:
        """Return ``max(x, 0)``; its derivative at 0 is 0."""
        return _call("relu", self)  # type: ignore[no-any-return]

    def abs(self) -> Tensor:
        """Return ``|x|``."""
        return _call("absolute", self)  # type: ignore[no-any-return]

    def argmax(self, axis: Any = None) -> Any:
        """Return the index of the maximum, as plain NumPy."""
        return self._plain().argmax(axis=axis)

    def argmin(self, axis: Any = None) -> Any:
        """Return the index of the minimum, as plain NumPy."""
        return self._plain().argmin(axis=axis)

    def argsort(self, axis: Any = -1) -> Any:
        """Return the indices that sort it along ``axis``, as plain NumPy; equal elements keep their order."""
        return self._plain().argsort(axis=axis, kind="stable")

    def any(self, axis: Any = None) -> Any:
        """Return whether any element is not 0, as plain NumPy."""
        return self._plain().any(axis=axis)

    def all(self, axis: Any = None) -> Any:
        """Return whether no element is 0, as plain NumPy."""
        return self._plain().all(axis=axis)

    def nonzero(self) -> Any:
        """Return the indices of the elements that are not 0, as plain NumPy."""
        return self._plain().nonzero()

    def _plain(self) -> Any:
        import numpy as np

        return np.asarray(self._look(itself))


QUICK = ("cos", "exp", "log", "relu", "sigmoid", "sin", "sqrt", "tanh")


def install() -> None:
    """Make the methods of scalar programs the functions themselves: one call less."""
    from . import functions

    for name in QUICK:
        setattr(Methods, name, getattr(functions, name))
