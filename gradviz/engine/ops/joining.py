"""Joining arrays, taking them apart, and padding them."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ...errors import GradvizValueError, ShapeError
from ..registry import Sample, implements, primitive
from ..sites import where
from ..tensor import Tensor
from .indexing import getitem, scatter
from .rules import mixed, numbers
from .samples import draw
from .shapes import atleast_2d, atleast_3d, broadcast_to, reshape

__all__ = [
    "append",
    "array_split",
    "broadcast_arrays",
    "column_stack",
    "concatenate",
    "dstack",
    "hsplit",
    "hstack",
    "meshgrid",
    "pad",
    "split",
    "stack",
    "unstack",
    "vsplit",
    "vstack",
]

Arrays = Iterable[Any]


def _at(g: Any, index: Any) -> Any:
    return g[index] if isinstance(g, Tensor) else np.asarray(g)[index]


def _part(g: Any, axis: int, part: Any) -> Any:
    """Return ``g`` at one place along ``axis``."""
    return _at(g, (*(slice(None),) * axis, part))


def _several(*made: tuple[tuple[tuple[int, ...], ...], dict[str, Any]]) -> Any:
    def samples(rng: np.random.Generator) -> Any:
        for shapes, attrs in made:
            yield Sample(tuple(draw(rng, shape, -2, 2) for shape in shapes), attrs)
        yield Sample((draw(rng, (2, 3), -2, 2, np.float32), draw(rng, (2, 3), -2, 2, np.float32)))

    return samples


# -- joining ----------------------------------------------------------------------------------


def _concatenate_vjp(arg: int, g: Any, y: Any, *arrays: Any, axis: Any = 0) -> Any:
    along = 0 if axis is None else axis % np.ndim(y)
    lengths = [np.size(x) if axis is None else np.shape(x)[along] for x in arrays[: arg + 1]]
    before = sum(lengths[:-1])
    part = _part(g, along, slice(before, before + lengths[-1]))
    return np.reshape(part, np.shape(arrays[arg])) if axis is None else part


@primitive(
    _concatenate_vjp, variadic=True, formulas=("1",), implements=(np.concatenate,),
    samples=_several(
        (((2, 3), (1, 3)), {}), (((3,), (0,), (2,)), {}), (((2, 3), (2, 1), (2, 2)), {"axis": -1}),
        (((2, 3), (2,)), {"axis": None}),
    ),
)  # fmt: skip
def concatenate(*arrays: Any, axis: Any = 0) -> Any:
    """Return the arrays joined along an axis that they have; flattened first if that is None.

    >>> from gradviz import Tensor, concatenate
    >>> concatenate([Tensor([1.0, 2.0]), [3.0]])
    Tensor([1., 2., 3.])
    """
    return np.concatenate(arrays, axis=axis)


def _stack_vjp(arg: int, g: Any, y: Any, *arrays: Any, axis: int = 0) -> Any:
    return _part(g, axis % np.ndim(y), arg)


@primitive(
    _stack_vjp, variadic=True, formulas=("1",), implements=(np.stack,),
    samples=_several(
        (((), (), ()), {}), (((3,), (3,)), {}), (((2, 3), (2, 3)), {"axis": -1}),
        (((2, 3), (2, 3), (2, 3)), {"axis": 1}),
    ),
)  # fmt: skip
def stack(*arrays: Any, axis: int = 0) -> Any:
    """Return arrays of one shape joined along a new axis.

    >>> from gradviz import Tensor, stack
    >>> a, b = Tensor(1.0), Tensor(2.0)
    >>> stack([a, b, 3.0])
    Tensor([1., 2., 3.])
    """
    return np.stack(arrays, axis=axis)


@implements(np.vstack)
def vstack(arrays: Arrays) -> Any:
    """Return arrays joined as rows."""
    return concatenate([atleast_2d(x) for x in arrays], axis=0)


@implements(np.hstack)
def hstack(arrays: Arrays) -> Any:
    """Return arrays joined as columns, vectors end to end."""
    parts = [x if np.ndim(x) else reshape(x, (1,)) for x in arrays]
    return concatenate(parts, axis=0 if parts and np.ndim(parts[0]) == 1 else 1)


@implements(np.dstack)
def dstack(arrays: Arrays) -> Any:
    """Return arrays joined along the third axis."""
    return concatenate([atleast_3d(x) for x in arrays], axis=2)


@implements(np.column_stack)
def column_stack(arrays: Arrays) -> Any:
    """Return vectors, and matrices, joined as columns."""
    return concatenate([x if np.ndim(x) > 1 else reshape(x, (-1, 1)) for x in arrays], axis=1)


@implements(np.append)
def append(x: Any, values: Any, axis: Any = None) -> Any:
    """Return ``values`` joined to the end of ``x``, both flattened if ``axis`` is None."""
    return concatenate((x, values), axis=axis)


# -- taking apart -----------------------------------------------------------------------------


@implements(np.array_split)
def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """Return the parts of ``x`` along ``axis``: so many, or cut at the given indices; lengths may differ by one."""
    length = np.shape(x)[axis]
    cuts = numbers(indices_or_sections)
    if np.ndim(cuts):
        bounds = [0, *(operator.index(c) for c in cuts), length]
    else:
        sections = operator.index(cuts)
        if sections < 1:
            raise GradvizValueError(f"array_split into {sections} parts: give at least 1", where=where())
        each, longer = divmod(length, sections)
        bounds = [k * each + min(k, longer) for k in range(sections + 1)]
    lead = (slice(None),) * (axis % np.ndim(x))
    return [getitem(x, (*lead, slice(a, b))) for a, b in pairwise(bounds)]


@implements(np.split)
def split(x: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """Return the parts of ``x`` along ``axis``: so many of equal length, or cut at the given indices.

    >>> from gradviz import Tensor, split
    >>> split(Tensor([1.0, 2.0, 3.0, 4.0]), 2)
    [Tensor([1., 2.]), Tensor([3., 4.])]
    """
    cuts = numbers(indices_or_sections)
    if not np.ndim(cuts) and (cuts < 1 or np.shape(x)[axis] % cuts):
        raise ShapeError(
            f"split: length {np.shape(x)[axis]} of axis {axis} does not divide into {cuts} equal parts",
            where=where(),
            hint="use array_split, or give the indices to cut at",
        )
    return array_split(x, cuts, axis)


@implements(np.hsplit)
def hsplit(x: Any, indices_or_sections: Any) -> Any:
    """Return the parts of ``x`` along its columns (a vector's elements)."""
    return split(x, indices_or_sections, axis=min(1, np.ndim(x) - 1))


@implements(np.vsplit)
def vsplit(x: Any, indices_or_sections: Any) -> Any:
    """Return the parts of ``x`` along its rows."""
    return split(x, indices_or_sections, axis=0)


def unstack(x: Any, axis: int = 0) -> tuple[Any, ...]:
    """Return the slices of ``x`` along ``axis``, without it."""
    lead = (slice(None),) * (axis % np.ndim(x))
    return tuple(getitem(x, (*lead, k)) for k in range(np.shape(x)[axis]))


if hasattr(np, "unstack"):  # since NumPy 2.1
    implements(np.unstack)(unstack)


# -- padding ----------------------------------------------------------------------------------

MODES = ("constant", "edge", "reflect", "symmetric", "wrap")


def _widths(pad_width: Any, x: Any) -> list[tuple[int, int]]:
    pairs = np.broadcast_to(np.asarray(pad_width, np.intp), (np.ndim(x), 2))
    return [(int(before), int(after)) for before, after in pairs]


def _pad_vjp(g: Any, y: Any, x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Any:
    shape, widths = np.shape(x), _widths(pad_width, x)
    if mode == "constant":
        inside = tuple(slice(before, before + n) for n, (before, _) in zip(shape, widths, strict=True))
        return _at(g, inside)
    came_from = [np.pad(np.arange(n), width, mode) for n, width in zip(shape, widths, strict=True)]  # type: ignore[call-overload]
    return mixed(scatter, g, shape=shape, index=np.ix_(*came_from))


def _pad_samples(rng: np.random.Generator) -> Any:
    for mode in MODES:
        yield Sample((draw(rng, (4,), -2, 2),), {"pad_width": (2, 3), "mode": mode})
        yield Sample((draw(rng, (3, 4), -2, 2),), {"pad_width": ((1, 0), (2, 2)), "mode": mode})
    yield Sample((draw(rng, (2, 3), -2, 2),), {"pad_width": 1, "constant_values": 5.0})


@primitive(_pad_vjp, formulas=("1",), implements=(np.pad,), samples=_pad_samples)
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Any:
    """Return ``x`` with elements put around it: numbers, or its own ("edge", "reflect", "symmetric", "wrap").

    >>> from gradviz import Tensor, pad
    >>> pad(Tensor([1.0, 2.0]), 1, mode="edge")
    Tensor([1., 1., 2., 2.])
    """
    if mode not in MODES:
        raise GradvizValueError(
            f"pad: mode {mode!r} has no derivative rule", where=where(), hint=f"use one of {', '.join(MODES)}"
        )
    if mode == "constant":
        return np.pad(x, pad_width, constant_values=constant_values)
    return np.pad(x, pad_width, mode)  # type: ignore[call-overload]


# -- broadcasting several ---------------------------------------------------------------------


@implements(np.broadcast_arrays)
def broadcast_arrays(*arrays: Any) -> tuple[Any, ...]:
    """Return the arrays broadcast against each other."""
    shape = np.broadcast_shapes(*(np.shape(x) for x in arrays))
    return tuple(x if np.shape(x) == shape else broadcast_to(x, shape) for x in arrays)


@implements(np.meshgrid)
def meshgrid(*arrays: Any, sparse: bool = False, indexing: str = "xy") -> tuple[Any, ...]:
    """Return the coordinates of a grid from those of its axes, in Cartesian ("xy") or matrix ("ij") order."""
    if indexing not in ("xy", "ij"):
        raise GradvizValueError(f'meshgrid: indexing {indexing!r} is neither "xy" nor "ij"', where=where())
    places = list(range(len(arrays)))
    if indexing == "xy" and len(arrays) > 1:
        places[:2] = 1, 0
    lines = [_along(x, place, len(arrays)) for x, place in zip(arrays, places, strict=True)]
    return tuple(lines) if sparse else broadcast_arrays(*lines)


def _along(x: Any, axis: int, ndim: int) -> Any:
    shape: Sequence[int] = [-1 if a == axis else 1 for a in range(ndim)]
    return reshape(x, tuple(shape))
