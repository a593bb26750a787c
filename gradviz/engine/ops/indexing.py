"""Indexing: basic and advanced, with gradients that add up where an index repeats.

What `take`, `take_along_axis`, `compress` and `extract` select, they select by indexing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import GradvizValueError
from ..registry import Sample, implements, primitive
from ..sites import where
from .rules import mixed, numbers

__all__ = [
    "compress",
    "extract",
    "getitem",
    "scatter",
    "take",
    "take_along_axis",
]

INDICES: tuple[Any, ...] = (
    *(1, -1, slice(1, 3), (slice(None), 2), (Ellipsis, None), slice(None, None, -2), (), (None, Ellipsis, 0)),
    *(np.array([0, 0, 2]), np.array([[0, -1], [2, 2]]), (np.array([1, 1, 3]), np.array([0, 0, 2]))),
    *((slice(None), np.array([2, 0, 2])), (np.array([1, 1]), slice(None, None, -1)), (np.array([1, 1]), None, 0)),
    *(np.array([True, False, True, True]), (slice(0, 2), np.array([False, True, True])), (0, np.array([], np.intp))),
    *(np.ix_([0, 2], [1, 1]), np.int64(2), slice(2, 2)),
)


def _samples(rng: np.random.Generator) -> Any:
    x = rng.normal(size=(4, 3))
    for index in (*INDICES, rng.random((4, 3)) < 0.5):
        yield Sample((x,), {"index": index})
    yield Sample((2.0,), {"index": None})


def repeats(index: Any) -> bool:
    """Tell whether an element may occur more than once: slices and masks select none twice."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(p, np.ndarray | list) and np.asarray(p).dtype.kind != "b" for p in parts)


def _getitem_vjp(g: Any, y: Any, x: Any, index: Any) -> Any:
    return mixed(scatter, g, shape=np.shape(x), index=index)


@primitive(
    _getitem_vjp, name="getitem", symbol="[ ]",
    formulas=("1 at the index, else 0",), samples=_samples,
)  # fmt: skip
def _getitem(x: Any, index: Any) -> Any:
    """Return ``x[index]`` with any index that NumPy takes; repeated indices add their gradients."""
    return np.asarray(x)[index]


def getitem(x: Any, index: Any) -> Any:
    """Return ``x[index]`` with any index that NumPy takes; repeated indices add their gradients.

    Raises `GradvizIndexError` for an index outside of ``x``.

    >>> from gradviz import Tensor
    >>> x = Tensor([1.0, 2.0, 3.0])
    >>> x[[0, 0, 2]].sum().backward()
    >>> x.grad
    array([2., 0., 1.])
    """
    return _getitem(x, index=index if index.__class__ is int else _settled(index))


getitem.op = _getitem.op  # type: ignore[attr-defined]


def _settled(index: Any) -> Any:
    """Turn lists into the arrays that NumPy would make of them: so they are kept, and cannot change."""
    if isinstance(index, tuple):
        return tuple(_settled(part) for part in index)
    if isinstance(index, list | range):
        index = [numbers(part) for part in index]
        return np.asarray(index) if index else np.array([], np.intp)
    return index


def _scatter_samples(rng: np.random.Generator) -> Any:
    yield Sample((rng.normal(size=(3, 3)),), {"shape": (4, 3), "index": np.array([0, 0, 2])})
    yield Sample((rng.normal(size=(2, 3)),), {"shape": (4, 3), "index": slice(1, 3)})
    yield Sample((rng.normal(size=2),), {"shape": (3,), "index": np.array([True, False, True])})


@primitive(
    lambda g, y, x, shape, index: mixed(_getitem, g, index=index), symbol="scatter", formulas=("1",),
    samples=_scatter_samples,
)  # fmt: skip
def scatter(x: Any, shape: tuple[int, ...], index: Any) -> Any:
    """Return zeros of ``shape`` with ``x`` added at ``index``: the reverse of indexing."""
    out = np.zeros(shape, np.result_type(x))
    if repeats(index):
        np.add.at(out, index, x)
    else:
        out[index] += x
    return out


# -- NumPy's functions that index -------------------------------------------------------------


@implements(np.take)
def take(x: Any, indices: Any, axis: Any = None, mode: str = "raise") -> Any:
    """Return the elements at ``indices`` along ``axis``, of the flattened array by default.

    ``mode`` "wrap" counts on round the end, "clip" stops there, "raise" refuses.

    >>> from gradviz import Tensor, take
    >>> take(Tensor([[1.0, 2.0], [3.0, 4.0]]), [1, 1, 0], axis=1)
    Tensor([[2., 2., 1.],
            [4., 4., 3.]])
    """
    line = np.reshape(x, (-1,)) if axis is None else x
    along = 0 if axis is None else axis % np.ndim(x)
    return getitem(line, (*(slice(None),) * along, _moded(numbers(indices), np.shape(line)[along], mode)))


def _moded(indices: Any, length: int, mode: str) -> Any:
    indices = np.asarray(indices) if np.size(indices) else np.asarray(indices, np.intp)
    if mode == "wrap":
        return indices % length
    if mode == "clip":
        return np.clip(indices, 0, length - 1)
    if mode != "raise":
        raise GradvizValueError(
            f"take: mode {mode!r} is not known", where=where(), hint='use "raise", "wrap" or "clip"'
        )
    return indices if indices.ndim else indices[()]


@implements(np.take_along_axis)
def take_along_axis(x: Any, indices: Any, axis: Any = -1) -> Any:
    """Return, along ``axis``, the elements that ``indices`` (as from ``argsort``) name in each line."""
    indices = np.asarray(numbers(indices))
    if axis is None:
        return getitem(np.reshape(x, (-1,)), indices)
    ndim = np.ndim(x)
    if indices.ndim != ndim:
        raise GradvizValueError(
            f"take_along_axis: indices of {indices.ndim} dimensions for an array of {ndim}", where=where()
        )
    grid = [np.arange(n).reshape((-1,) + (1,) * (ndim - a - 1)) for a, n in enumerate(np.shape(x))]
    grid[axis % ndim] = indices
    return getitem(x, tuple(grid))


@implements(np.compress)
def compress(condition: Any, x: Any, axis: Any = None) -> Any:
    """Return the elements along ``axis`` for which ``condition`` holds."""
    return take(x, np.flatnonzero(numbers(condition)), axis=axis)


@implements(np.extract)
def extract(condition: Any, x: Any) -> Any:
    """Return the elements for which ``condition``, of the same size, holds."""
    return take(x, np.flatnonzero(numbers(condition)))
