"""Norms of vectors and matrices: ``np.linalg.norm`` and its relatives.

The gradient of a norm at 0 is 0, as in PyTorch; elements that tie for the largest or smallest
share the gradient evenly.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import GradvizValueError
from ..registry import implements, primitive
from ..sites import where
from ..tensor import Tensor
from .axes import spread
from .elementwise import absolute
from .rules import numbers, shape_of
from .samples import cases

__all__ = [
    "matrix_norm",
    "norm",
    "vector_norm",
]


def _euclidean(g: Any, y: Any, x: Any) -> Any:
    zero = np.equal(numbers(y), 0)
    return np.where(zero, 0.0, np.divide(g, np.where(zero, 1.0, y))) * x


def _extreme(g: Any, y: Any, x: Any, axis: Any) -> Any:
    values = numbers(x)
    won = np.equal(np.abs(values), numbers(y)) | np.isnan(values)
    share = np.sign(values) * won / np.maximum(np.sum(won, axis=axis, keepdims=True), 1)
    return g * share.astype(np.result_type(values))


def _powered(g: Any, y: Any, x: Any, p: float) -> Any:
    values = numbers(x)
    zero = np.equal(values, 0) | np.equal(numbers(y), 0)
    ratio = np.divide(np.where(zero, 1.0, np.abs(x)), np.where(zero, 1.0, y))
    return np.where(zero, 0.0, g * np.sign(values) * ratio ** (p - 1.0))


def _norm_vjp(g: Any, y: Any, x: Any, ord: float = 2.0, axis: Any = None, keepdims: bool = False) -> Any:
    g, y = spread(g, x, axis, keepdims), spread(y, x, axis, keepdims)
    if ord == 2:
        return _euclidean(g, y, x)
    if math.isinf(ord):
        return _extreme(g, y, x, axis)
    if ord == 0:
        return np.zeros(np.shape(x))
    return g * np.sign(numbers(x)) if ord == 1 else _powered(g, y, x, ord)


ORDERS = (2.0, 1.0, 3.0, 1.5, 0.5, -1.0, math.inf, -math.inf)


@primitive(
    _norm_vjp, name="norm", symbol="‖ ‖", formulas=("{0}/{y}",),
    samples=cases(
        *((((4,),), {"ord": ord}) for ord in ORDERS), (((2, 3),), {}), (((2, 3),), {"axis": 1}), (((),), {}),
        (((2, 3),), {"axis": 0, "keepdims": True}), (((2, 3, 2),), {"axis": (0, 2), "ord": 3.0}),
    ),
)  # fmt: skip
def vector_norm(x: Any, ord: float = 2.0, axis: Any = None, keepdims: bool = False) -> Any:
    """Return ``sum(|x|**ord) ** (1/ord)`` over ``axis``; over all elements if it is None.

    ``ord`` may be ``inf`` or ``-inf`` for the largest or smallest ``|x|``, and 0 for the number of
    elements that are not 0.
    """
    return np.linalg.vector_norm(x, ord=ord, axis=axis, keepdims=keepdims)


# ``ord`` of a matrix norm that is the extreme of sums over rows (axis -1) or columns (axis -2).
SUMS = {1.0: (-2, "max"), -1.0: (-2, "min"), math.inf: (-1, "max"), -math.inf: (-1, "min")}


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Return a vector or matrix norm, as ``np.linalg.norm`` defines it; the gradient at 0 is 0.

    Vectors take any ``ord``; matrices take ``"fro"`` (the default), 1, -1, ``inf`` and ``-inf``,
    and raise `GradvizValueError` for the others, which need singular values.

    >>> import numpy as np
    >>> from gradviz import Tensor
    >>> x = Tensor([3.0, 4.0])
    >>> np.linalg.norm(x).backward()
    >>> x.grad
    array([0.6, 0.8])
    """
    axes = _axes(x, ord, axis)
    if ord is None or ord == "fro":
        return vector_norm(x, ord=2.0, axis=axes, keepdims=keepdims)  # type: ignore[no-any-return]
    if isinstance(ord, str) or (isinstance(axes, tuple) and len(axes) == 2 and ord not in SUMS):
        raise GradvizValueError(
            f"norm: ord={ord!r} of a matrix has no derivative rule",
            where=where(),
            hint='use "fro", 1, -1, inf or -inf, or the norm of a vector',
        )
    if isinstance(axes, tuple) and len(axes) == 2:
        return _extreme_sum(x, float(ord), axes, keepdims)
    return vector_norm(x, ord=float(ord), axis=axes, keepdims=keepdims)  # type: ignore[no-any-return]


def _axes(x: Any, ord: Any, axis: Any) -> Any:
    """Return the axes to reduce, counted from the front."""
    ndim = len(shape_of(x))
    if axis is None:
        if ord is not None and ndim not in {1, 2}:
            raise GradvizValueError(
                f"norm: ord={ord!r} needs one axis or two, x has {ndim}",
                where=where(),
                hint="say which with axis=",
            )
        return (0, 1) if ord is not None and ndim == 2 else None
    if isinstance(axis, tuple) and len(axis) > 2:
        raise GradvizValueError(f"norm: axis={axis} names more than two axes", where=where())
    if isinstance(axis, tuple):
        return tuple(int(a) % ndim for a in axis) if ndim else axis
    return axis


def _extreme_sum(x: Any, ord: float, axes: tuple[int, int], keepdims: bool) -> Tensor:
    from . import reductions

    summed, extreme = SUMS[ord]
    sums = reductions.sum(absolute(x), axis=axes[summed], keepdims=True)
    out: Tensor = getattr(reductions, extreme)(sums, axis=axes[-3 - summed], keepdims=True)
    if keepdims:
        return out
    from .shapes import reshape

    return reshape(out, shape=tuple(n for i, n in enumerate(out.shape) if i not in axes))  # type: ignore[no-any-return]


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Any, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """Return the norm of the matrices in the last two axes (see `norm`)."""
    return norm(x, ord=ord, axis=(-2, -1), keepdims=keepdims)  # type: ignore[no-any-return]


@implements(np.linalg.vector_norm)
def _vector_norm(x: Any, *, axis: Any = None, keepdims: bool = False, ord: float = 2.0) -> Tensor:
    return vector_norm(x, ord=float(ord), axis=axis, keepdims=keepdims)  # type: ignore[no-any-return]
