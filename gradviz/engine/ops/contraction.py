"""Contractions: sums of products over chosen axes, from ``dot`` to ``einsum``."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import GradvizTypeError, GradvizValueError
from ..cotangents import unbroadcast
from ..recording import apply
from ..registry import Sample, implements, primitive
from ..sites import where
from ..tensor import Tensor
from .elementwise import multiply
from .indexing import scatter
from .rules import mixed, shape_of
from .samples import cases, draw

__all__ = [
    "cross",
    "dot",
    "einsum",
    "inner",
    "kron",
    "outer",
    "tensordot",
    "vdot",
    "vecdot",
]

Axes = tuple[tuple[int, ...], tuple[int, ...]]


def _scalar(x: Any, y: Any) -> bool:
    return not (np.ndim(x) and np.ndim(y))


# -- tensordot --------------------------------------------------------------------------------


def _axes(x: Any, y: Any, axes: Any) -> Axes:
    """Return the contracted axes of both operands, counted from the front."""
    if isinstance(axes, int | np.integer):
        last = np.ndim(x)
        return tuple(range(last - int(axes), last)), tuple(range(int(axes)))
    left, right = ((a,) if isinstance(a, int | np.integer) else tuple(a) for a in axes)
    return tuple(int(a) % np.ndim(x) for a in left), tuple(int(a) % np.ndim(y) for a in right)


def _rest(x: Any, axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(a for a in range(np.ndim(x)) if a not in axes)


def _reorder(c: Any, order: Sequence[int]) -> Any:
    """Move axis i of ``c`` to the place ``order[i]``."""
    return np.transpose(c, tuple(int(a) for a in np.argsort(order)))


def _tensordot_left(g: Any, out: Any, x: Any, y: Any, axes: Any = 2) -> Any:
    left, right = _axes(x, y, axes)
    kept = _rest(x, left)
    c = np.tensordot(g, y, axes=(tuple(range(len(kept), np.ndim(g))), _rest(y, right)))
    return _reorder(c, (*kept, *(left[right.index(a)] for a in sorted(right))))


def _tensordot_right(g: Any, out: Any, x: Any, y: Any, axes: Any = 2) -> Any:
    left, right = _axes(x, y, axes)
    kept = _rest(x, left)
    c = np.tensordot(x, g, axes=(kept, tuple(range(len(kept)))))
    return _reorder(c, (*(right[left.index(a)] for a in sorted(left)), *_rest(y, right)))


@primitive(
    _tensordot_left, _tensordot_right, symbol="⊗", formulas=("g·{1}", "{0}·g"),
    implements=(np.tensordot, np.linalg.tensordot),
    samples=cases(
        (((2, 3, 4), (3, 4, 2)), {}), (((2, 3), (3, 4)), {"axes": 1}), (((2, 3), (4,)), {"axes": 0}),
        (((2, 3, 4), (4, 5, 2)), {"axes": ((2, 0), (0, 2))}), (((2, 3, 4), (5, 3)), {"axes": (1, 1)}),
        (((2, 3, 4), (4, 2)), {"axes": ((-1, 0), (0, -1))}),
    ),
)  # fmt: skip
def tensordot(x: Any, y: Any, axes: Any = 2) -> Any:
    """Return the sum of products over ``axes``: a number of axes, or the axes of each operand.

    >>> import numpy as np
    >>> from gradviz import Tensor
    >>> np.tensordot(Tensor(np.ones((2, 3))), np.ones((3, 2))).item()
    Traceback (most recent call last):
        ...
    gradviz.errors.ShapeError: tensordot(of shape (2, 3), of shape (3, 2)): shape-mismatch for sum
    ...
    """
    return np.tensordot(x, y, axes=axes)


# -- dot and its relatives --------------------------------------------------------------------


def _dot_left(g: Any, out: Any, x: Any, y: Any) -> Any:
    return g * y if _scalar(x, y) else _tensordot_left(g, out, x, y, (-1, max(np.ndim(y) - 2, 0)))


def _dot_right(g: Any, out: Any, x: Any, y: Any) -> Any:
    return g * x if _scalar(x, y) else _tensordot_right(g, out, x, y, (-1, max(np.ndim(y) - 2, 0)))


@primitive(
    _dot_left, _dot_right, symbol="·", formulas=("{1}ᵀ", "{0}ᵀ"), implements=(np.dot,),
    samples=cases(
        (((3,), (3,)), {}), (((2, 3), (3,)), {}), (((3,), (3, 2)), {}), (((2, 3), (3, 4)), {}), (((), (2, 3)), {}),
        (((2, 3), ()), {}), (((2, 3, 4), (5, 4, 2)), {}), (((), ()), {}),
    ),
)  # fmt: skip
def dot(x: Any, y: Any) -> Any:
    """Return the product as ``np.dot`` defines it: over the last axis of ``x`` and the last but one of ``y``.

    >>> from gradviz import Tensor
    >>> Tensor([1.0, 2.0]).dot([3.0, 4.0])
    Tensor(11.0)
    """
    return np.dot(x, y)


def _inner_left(g: Any, out: Any, x: Any, y: Any) -> Any:
    return g * y if _scalar(x, y) else _tensordot_left(g, out, x, y, (-1, -1))


def _inner_right(g: Any, out: Any, x: Any, y: Any) -> Any:
    return g * x if _scalar(x, y) else _tensordot_right(g, out, x, y, (-1, -1))


@primitive(
    _inner_left, _inner_right, symbol="·", formulas=("g·{1}", "gᵀ·{0}"), implements=(np.inner,),
    samples=cases((((3,), (3,)), {}), (((2, 3), (3,)), {}), (((2, 3), (4, 5, 3)), {}), (((), (2,)), {})),
)  # fmt: skip
def inner(x: Any, y: Any) -> Any:
    """Return the sum of products over the last axis of both."""
    return np.inner(x, y)


@primitive(
    lambda g, out, x, y: np.reshape(np.matmul(g, np.reshape(y, (-1,))), np.shape(x)),
    lambda g, out, x, y: np.reshape(np.matmul(np.reshape(x, (-1,)), g), np.shape(y)),
    symbol="⊗", formulas=("g·{1}", "gᵀ·{0}"), implements=(np.outer, np.linalg.outer),
    samples=cases((((3,), (2,)), {}), (((2, 2), (3,)), {}), (((), (3,)), {})),
)  # fmt: skip
def outer(x: Any, y: Any) -> Any:
    """Return the products of all pairs of elements: a matrix."""
    return np.outer(x, y)


@primitive(
    lambda g, out, x, y: g * np.reshape(y, np.shape(x)),
    lambda g, out, x, y: g * np.reshape(x, np.shape(y)),
    symbol="·",
    formulas=("{1}", "{0}"),
    implements=(np.vdot,),
    samples=cases((((3,), (3,)), {}), (((2, 3), (3, 2)), {})),
)
def vdot(x: Any, y: Any) -> Any:
    """Return the sum of products of all elements, whatever the shapes."""
    return np.vdot(x, y)


@implements(np.vecdot, np.linalg.vecdot)
def vecdot(x: Any, y: Any, axis: int = -1) -> Tensor:
    """Return the sum of products along one axis, over stacks of vectors."""
    from .reductions import sum

    return sum(multiply(x, y), axis=axis)  # type: ignore[no-any-return]


@implements(np.kron)
def kron(x: Any, y: Any) -> Tensor:
    """Return the Kronecker product: every element of ``x`` times all of ``y``.

    >>> from gradviz import Tensor
    >>> kron(Tensor([1.0, 2.0]), [1.0, 10.0])
    Tensor([ 1., 10.,  2., 20.])
    """
    from .shapes import reshape

    shapes = [shape_of(z) for z in (x, y)]
    ndim = max(map(len, shapes))
    left, right = ((1,) * (ndim - len(shape)) + shape for shape in shapes)
    parted = tuple(n for one in left for n in (one, 1)), tuple(n for one in right for n in (1, one))
    product = multiply(reshape(x, shape=parted[0]), reshape(y, shape=parted[1]))
    return reshape(product, shape=tuple(a * b for a, b in zip(left, right, strict=True)))  # type: ignore[no-any-return]


def _cross_left(g: Any, out: Any, x: Any, y: Any) -> Any:
    return np.cross(y, g)


def _cross_right(g: Any, out: Any, x: Any, y: Any) -> Any:
    return np.cross(g, x)


@primitive(
    _cross_left, _cross_right, name="cross", symbol="×", formulas=("{1} × g", "g × {0}"),
    samples=cases((((3,), (3,)), {}), (((2, 3), (3,)), {}), (((4, 1, 3), (2, 3)), {})),
)  # fmt: skip
def _cross(x: Any, y: Any) -> Any:
    """Return the cross product of vectors in the last axis."""
    return np.cross(x, y)


@implements(np.cross, np.linalg.cross)
def cross(x: Any, y: Any, axis: int = -1) -> Tensor:
    """Return the cross product of vectors of three elements along ``axis``.

    Raises `GradvizValueError` for vectors of another length.
    """
    from .shapes import swapaxes

    for z in (x, y):
        shape = shape_of(z)
        if not shape or shape[axis] != 3:
            raise GradvizValueError(
                f"cross: a vector has 3 elements; shape {shape} has another number along axis {axis}",
                where=where(),
            )
    if axis == -1:
        return _cross(x, y)  # type: ignore[no-any-return]
    moved = _cross(swapaxes(x, axis1=axis, axis2=-1), swapaxes(y, axis1=axis, axis2=-1))
    return swapaxes(moved, axis1=axis, axis2=-1)  # type: ignore[no-any-return]


# -- einsum -----------------------------------------------------------------------------------


def _labels(subscripts: str, ndims: Sequence[int]) -> tuple[list[str], str]:
    """Return the letters of each operand and of the result, with the ellipsis written out."""
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    named = {letter for letter in left if letter.isalpha()}
    free = [letter for letter in string.ascii_letters if letter not in named]
    hidden = [
        ndim - len(term.replace("...", "")) if "..." in term else 0 for term, ndim in zip(terms, ndims, strict=True)
    ]
    longest = max(hidden, default=0)
    dots = "".join(free[:longest])
    written = [term.replace("...", dots[longest - n :]) for term, n in zip(terms, hidden, strict=True)]
    if not arrow:
        once = sorted(letter for letter in named if left.count(letter) == 1)
        return written, dots + "".join(once)
    return written, right.replace("...", dots)


def _einsum_vjp(arg: int, g: Any, y: Any, *operands: Any, subscripts: str, optimize: Any = False) -> Any:
    terms, result = _labels(subscripts, [np.ndim(x) for x in operands])
    mine, shape = terms[arg], np.shape(operands[arg])
    others = [(term, x) for i, (term, x) in enumerate(zip(terms, operands, strict=True)) if i != arg]
    known = set(result).union(*(term for term, _ in others))
    unique = "".join(dict.fromkeys(mine))
    found = "".join(letter for letter in unique if letter in known)
    spelled = ",".join((result, *(term for term, _ in others))) + "->" + found
    c = np.einsum(spelled, g, *(x for _, x in others), optimize=optimize)
    missing = tuple(i for i, letter in enumerate(unique) if letter not in known)
    c = np.expand_dims(c, missing) if missing else c
    return c if unique == mine else _onto_diagonal(c, unique, mine, shape)


def _onto_diagonal(c: Any, unique: str, mine: str, shape: tuple[int, ...]) -> Any:
    """Put a cotangent with one axis for each letter where an operand that repeats letters was read."""
    sizes = tuple(shape[mine.index(letter)] for letter in unique)
    index = tuple(
        np.arange(n).reshape(tuple(n if other == letter else 1 for other in unique))
        for letter, n in zip(mine, shape, strict=True)
    )
    return mixed(scatter, unbroadcast(c, sizes), shape=shape, index=index)


def _einsum_samples(rng: np.random.Generator) -> Any:
    for subscripts, *shapes in (
        *(("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk", (2, 3), (3, 4)), ("ji", (2, 3)), ("ii", (3, 3)), ("ii->i", (3, 3))),
        *(("iij->j", (3, 3, 2)), ("iij,jk->ik", (3, 3, 2), (2, 4)), ("ij->", (2, 3)), ("i,j->ij", (2,), (3,))),
        *(("...ij,...jk->...ik", (2, 2, 3), (3, 4)), ("...i,i", (2, 3), (3,)), ("i...->...", (2, 3, 2))),
        *(("bij,bjk,kl->bil", (2, 2, 3), (2, 3, 2), (2, 4)), ("ij,ij->i", (1, 3), (2, 3)), (",i->i", (), (3,))),
        *(("ab...,b...", (2, 3, 4), (3, 1)), ("ijk,ij->j", (2, 3, 4), (2, 3)), ("i,i,i->", (3,), (3,), (3,))),
    ):
        yield Sample(tuple(draw(rng, shape, -2, 2) for shape in shapes), {"subscripts": subscripts})


@primitive(_einsum_vjp, name="einsum", formulas=("einsum(g, the others)",), samples=_einsum_samples, variadic=True)
def _einsum(*operands: Any, subscripts: str, optimize: Any = False) -> Any:
    """Return the sum of products that ``subscripts`` describe."""
    return np.array(np.einsum(subscripts, *operands, optimize=optimize))


@implements(np.einsum)
def einsum(subscripts: Any, *operands: Any, optimize: Any = False) -> Tensor:
    """Return the sum of products that ``subscripts`` describe, as ``np.einsum`` does.

    Repeated letters (diagonals), ``...`` and results left implicit all work, and so does NumPy's
    other form, ``einsum(x, [0, 1], y, [1, 2], [0, 2])``.

    >>> import numpy as np
    >>> from gradviz import Tensor
    >>> np.einsum("ii->i", Tensor([[1.0, 2.0], [3.0, 4.0]]))
    Tensor([1., 4.])
    """
    if not isinstance(subscripts, str):
        subscripts, operands = _spelled(subscripts, *operands)
    if not operands:
        raise GradvizTypeError(f"einsum({subscripts!r}) has no operands", where=where())
    attrs = {"subscripts": subscripts, **({"optimize": optimize} if optimize is not False else {})}
    return apply(_einsum.op, operands, attrs)


def _spelled(*arguments: Any) -> tuple[str, tuple[Any, ...]]:
    """Turn operands that alternate with lists of axis numbers into subscripts and operands."""
    pairs = len(arguments) // 2 * 2
    operands, lists = arguments[:pairs:2], arguments[1:pairs:2]
    terms = ",".join(map(_letters, lists))
    return (f"{terms}->{_letters(arguments[-1])}" if len(arguments) > pairs else terms), operands


def _letters(axes: Sequence[Any]) -> str:
    return "".join("..." if a is Ellipsis else string.ascii_letters[a] for a in axes)
