"""Ops that move, repeat or leave out elements without changing them: shapes, axes, diagonals, dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import GradvizTypeError
from ..cotangents import unbroadcast
from ..registry import Sample, implements, primitive
from ..sites import where
from ..tensor import constant_of
from .indexing import scatter
from .rules import mixed, numbers
from .samples import cases, draw, unary

__all__ = [
    "astype",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "broadcast_to",
    "expand_dims",
    "flip",
    "fliplr",
    "flipud",
    "moveaxis",
    "ravel",
    "repeat",
    "reshape",
    "roll",
    "rot90",
    "squeeze",
    "swapaxes",
    "tile",
    "transpose",
]


def _back(g: Any, y: Any, x: Any, *args: Any, **attrs: Any) -> Any:
    return np.reshape(g, np.shape(x))


# -- shapes -----------------------------------------------------------------------------------


@primitive(
    _back, formulas=("1",), implements=(np.reshape,),
    samples=cases((((2, 3),), {"shape": (3, 2)}), (((2, 3),), {"shape": -1}), (((),), {"shape": (1, 1)})),
)  # fmt: skip
def reshape(x: Any, shape: Any) -> Any:
    """Return the same elements in another shape; one length may be -1.

    >>> from gradviz import Tensor
    >>> Tensor([1.0, 2.0, 3.0, 4.0]).reshape(2, -1)
    Tensor([[1., 2.],
            [3., 4.]])
    """
    return np.reshape(x, shape)


@implements(np.ravel)
def ravel(x: Any) -> Any:
    """Return the elements along one axis."""
    return reshape(x, (-1,))


@primitive(
    _back, formulas=("1",), implements=(np.expand_dims,),
    samples=cases((((2, 3),), {"axis": 1}), (((2, 3),), {"axis": (0, -1)}), (((),), {"axis": 0})),
)  # fmt: skip
def expand_dims(x: Any, axis: Any) -> Any:
    """Return it with new axes of length 1."""
    return np.expand_dims(x, axis)


@primitive(
    _back, formulas=("1",), implements=(np.squeeze,),
    samples=cases((((2, 1, 3, 1),), {}), (((2, 1, 3, 1),), {"axis": -1}), (((1, 3, 1),), {"axis": (0, 2)})),
)  # fmt: skip
def squeeze(x: Any, axis: Any = None) -> Any:
    """Return it without axes of length 1: all of them, or those in ``axis``."""
    return np.squeeze(x, axis=axis)


def _broadcast_vjp(g: Any, y: Any, x: Any, shape: Any) -> Any:
    return g if np.shape(g) == np.shape(x) else unbroadcast(g, np.shape(x))


@primitive(
    _broadcast_vjp, formulas=("1",), implements=(np.broadcast_to,),
    samples=cases((((3,),), {"shape": (2, 3)}), (((2, 1),), {"shape": (4, 2, 3)}), (((),), {"shape": (2,)})),
)  # fmt: skip
def broadcast_to(x: Any, shape: Any) -> Any:
    """Return it repeated to a larger shape by NumPy's broadcasting."""
    return np.broadcast_to(x, shape)


def _least(ndim: int, x: Any) -> Any:
    shape = np.shape(x)
    if len(shape) >= ndim:
        return x
    if not shape:
        return np.reshape(x, (1,) * ndim)
    if ndim == 2 or len(shape) == 1:
        shape = (1, *shape)
    return np.reshape(x, shape if ndim == 2 else (*shape, 1))


def _least_of(ndim: int, arrays: tuple[Any, ...]) -> Any:
    found = tuple(_least(ndim, x) for x in arrays)
    return found[0] if len(found) == 1 else found


@implements(np.atleast_1d)
def atleast_1d(*arrays: Any) -> Any:
    """Return each with at least one axis: one result, or a tuple of several."""
    return _least_of(1, arrays)


@implements(np.atleast_2d)
def atleast_2d(*arrays: Any) -> Any:
    """Return each with at least two axes, new ones in front."""
    return _least_of(2, arrays)


@implements(np.atleast_3d)
def atleast_3d(*arrays: Any) -> Any:
    """Return each with at least three axes, placed as ``np.atleast_3d`` does."""
    return _least_of(3, arrays)


# -- axes -------------------------------------------------------------------------------------


def _transpose_vjp(g: Any, y: Any, x: Any, axes: Any = None) -> Any:
    return np.transpose(g, None if axes is None else tuple(np.argsort(np.mod(axes, np.ndim(x))).tolist()))


@primitive(
    _transpose_vjp, symbol="T", formulas=("1",), implements=(np.transpose,),
    samples=cases(
        (((2, 3),), {}), (((2, 3, 4),), {"axes": (1, 2, 0)}), (((2, 3, 4),), {"axes": (-1, 0, 1)}), (((),), {})
    ),
)  # fmt: skip
def transpose(x: Any, axes: Any = None) -> Any:
    """Return the axes reversed, or in the given order.

    >>> from gradviz import Tensor
    >>> Tensor([[1.0, 2.0], [3.0, 4.0]]).T
    Tensor([[1., 3.],
            [2., 4.]])
    """
    return np.transpose(x, axes)


@primitive(
    lambda g, y, x, axis1, axis2: np.swapaxes(g, axis1, axis2), formulas=("1",), implements=(np.swapaxes,),
    samples=cases((((2, 3, 4),), {"axis1": 0, "axis2": -1})),
)  # fmt: skip
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Return two axes exchanged."""
    return np.swapaxes(x, axis1, axis2)


@primitive(
    lambda g, y, x, source, destination: np.moveaxis(g, destination, source),
    formulas=("1",), implements=(np.moveaxis,),
    samples=cases(
        (((2, 3, 4),), {"source": 0, "destination": -1}), (((2, 3, 4),), {"source": (0, 1), "destination": (-1, 0)})
    ),
)  # fmt: skip
def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """Return the axes ``source`` moved to ``destination``, the others in their order."""
    return np.moveaxis(x, source, destination)


@primitive(
    lambda g, y, x, axis=None: np.flip(g, axis), formulas=("1",), implements=(np.flip,),
    samples=cases((((2, 3),), {}), (((2, 3),), {"axis": -1}), (((2, 3, 2),), {"axis": (0, 2)})),
)  # fmt: skip
def flip(x: Any, axis: Any = None) -> Any:
    """Return the elements in reverse order along ``axis``, along all axes by default."""
    return np.flip(x, axis)


@implements(np.flipud)
def flipud(x: Any) -> Any:
    """Return the rows in reverse order."""
    return flip(x, axis=0)


@implements(np.fliplr)
def fliplr(x: Any) -> Any:
    """Return the columns in reverse order."""
    return flip(x, axis=1)


@primitive(
    lambda g, y, x, k=1, axes=(0, 1): np.rot90(g, -k, axes), formulas=("1",), implements=(np.rot90,),
    samples=cases((((2, 3),), {}), (((2, 3),), {"k": 3}), (((2, 3, 4),), {"k": -1, "axes": (2, 1)})),
)  # fmt: skip
def rot90(x: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    """Return the plane of ``axes`` turned by ``k`` quarter turns, from the first axis to the second."""
    return np.rot90(x, k, axes)


def _opposite(shift: Any) -> Any:
    return tuple(-s for s in shift) if np.ndim(shift) else -shift


@primitive(
    lambda g, y, x, shift, axis=None: np.roll(g, _opposite(shift), axis), formulas=("1",), implements=(np.roll,),
    samples=cases(
        (((5,),), {"shift": 2}), (((2, 3),), {"shift": -1}), (((2, 3),), {"shift": 1, "axis": -1}),
        (((2, 3),), {"shift": (1, 2), "axis": (0, 1)}), (((2, 3),), {"shift": (1, 1), "axis": 0}),
    ),
)  # fmt: skip
def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    """Return the elements moved on by ``shift`` along ``axis``; those that leave come in at the other end."""
    return np.roll(x, shift, axis)


# -- repeats ----------------------------------------------------------------------------------


def _tile_vjp(g: Any, y: Any, x: Any, reps: Any) -> Any:
    """Sum over the copies: each axis of the result is (copies, length)."""
    reps = tuple(reps) if np.ndim(reps) else (int(reps),)
    shape = (1,) * (len(reps) - np.ndim(x)) + np.shape(x)
    reps = (1,) * (len(shape) - len(reps)) + reps
    pairs = [n for pair in zip(reps, shape, strict=True) for n in pair]
    return np.reshape(np.sum(np.reshape(g, pairs), axis=tuple(range(0, len(pairs), 2))), np.shape(x))


@primitive(
    _tile_vjp, formulas=("1",), implements=(np.tile,),
    samples=cases(
        (((2, 3),), {"reps": 2}), (((3,),), {"reps": (2, 2)}), (((2, 3),), {"reps": (2, 1, 3)}), (((),), {"reps": 3})
    ),
)  # fmt: skip
def tile(x: Any, reps: Any) -> Any:
    """Return copies of the whole laid side by side, ``reps`` of them along each axis."""
    return np.tile(x, reps)


def _repeat_vjp(g: Any, y: Any, x: Any, repeats: Any, axis: Any = None) -> Any:
    along = 0 if axis is None else axis % np.ndim(x)
    line = (np.size(x),) if axis is None else np.shape(x)
    came_from = np.repeat(np.arange(line[along]), repeats)
    return np.reshape(mixed(scatter, g, shape=line, index=(*(slice(None),) * along, came_from)), np.shape(x))


@primitive(
    _repeat_vjp, formulas=("1",), implements=(np.repeat,),
    samples=cases(
        (((3,),), {"repeats": 2}), (((2, 3),), {"repeats": 2, "axis": -1}), (((2, 3),), {"repeats": (0, 3), "axis": 0}),
        (((),), {"repeats": 3}), (((2, 3),), {"repeats": (2,)}),
    ),
)  # fmt: skip
def repeat(x: Any, repeats: Any, axis: Any = None) -> Any:
    """Return every element ``repeats`` times in a row, along ``axis`` or flattened."""
    return np.repeat(x, repeats, axis)


# -- dtypes -----------------------------------------------------------------------------------


def _cast_samples(rng: np.random.Generator) -> Any:
    for dtype in (np.float64, np.float32):
        yield Sample((draw(rng, (2, 3), -2, 2, dtype),), {"dtype": "float64"})


@primitive(lambda g, y, x, dtype: g, name="astype", formulas=("1",), samples=_cast_samples, elementwise=True)
def _cast(x: Any, dtype: str) -> Any:
    """Return it in another floating dtype; the gradient comes back in the dtype of ``x``."""
    return np.asarray(x).astype(dtype)


def astype(x: Any, dtype: Any) -> Any:
    """Return ``x`` in another dtype; gradients flow through floating dtypes only, others give a constant.

    >>> from gradviz import Tensor
    >>> w = Tensor([1.5, 2.5])
    >>> w.astype("float32").dtype, w.astype(int).requires_grad
    (dtype('float32'), False)
    """
    try:
        wanted = np.dtype(dtype)
    except TypeError as error:
        raise GradvizTypeError(f"astype({str(dtype)[:60]!r}): not a dtype", where=where()) from error
    if wanted.kind == "f":
        return _cast(x, dtype=wanted.name)
    if wanted.kind not in "iub":
        raise GradvizTypeError(
            f"astype({wanted}): gradviz differentiates real numbers only",
            where=where(),
            hint="cast .numpy() instead if no gradient is wanted",
        )
    return constant_of(np.asarray(numbers(x)).astype(wanted))


if hasattr(np, "astype"):  # since NumPy 2.1
    implements(np.astype)(astype)


@primitive(lambda g, y, x: g, formulas=("1",), implements=(np.copy,), samples=unary(), elementwise=True)
def copy(x: Any) -> Any:
    """Return the same value as a node of its own."""
    return np.array(x)
