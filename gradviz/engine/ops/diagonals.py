"""Diagonals and triangles of matrices and of stacks of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..registry import Sample, implements, primitive
from .indexing import scatter
from .rules import mixed
from .samples import cases, draw

__all__ = ["diag", "diagonal", "tril", "triu"]


def _on_diagonal(g: Any, x: Any, offset: int, axis1: int, axis2: int) -> Any:
    """Return zeros of the shape of ``x`` with ``g`` on the diagonal of the plane (axis1, axis2)."""
    moved = np.moveaxis(np.empty(np.shape(x), np.bool_), (axis1, axis2), (-2, -1)).shape
    length = np.shape(g)[-1]
    step = np.arange(length)
    index = (Ellipsis, step + max(-offset, 0), step + max(offset, 0))
    return np.moveaxis(mixed(scatter, g, shape=moved, index=index), (-2, -1), (axis1, axis2))


PLANES: tuple[dict[str, int], ...] = (
    {},
    {"offset": 1},
    {"offset": -2},
    {"offset": 1, "axis1": 2, "axis2": 0},
    {"offset": 9},
)


def _plane_samples(rng: np.random.Generator) -> Any:
    for attrs in PLANES:
        yield Sample((draw(rng, (3, 4) if "axis1" not in attrs else (2, 4, 3), -2, 2),), attrs)


@primitive(
    lambda g, y, x, offset=0, axis1=0, axis2=1: _on_diagonal(g, x, offset, axis1, axis2),
    formulas=("1 on the diagonal, else 0",), implements=(np.diagonal,), samples=_plane_samples,
)  # fmt: skip
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Return the diagonal of the plane (axis1, axis2), ``offset`` above it, as the last axis."""
    return np.diagonal(x, offset, axis1, axis2)


def _trace_vjp(g: Any, y: Any, x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    length = np.diagonal(np.empty(np.shape(x), np.bool_), offset, axis1, axis2).shape[-1]
    every = np.broadcast_to(np.expand_dims(g, -1), (*np.shape(g), length))
    return _on_diagonal(every, x, offset, axis1, axis2)


@primitive(
    _trace_vjp, symbol="tr", formulas=("1 on the diagonal, else 0",), implements=(np.trace,), samples=_plane_samples
)
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Return the sum of the diagonal of the plane (axis1, axis2), ``offset`` above it."""
    return np.trace(x, offset, axis1, axis2)


@primitive(
    lambda g, y, x, k=0: np.diagonal(g, k), formulas=("1 on the diagonal",),
    samples=cases((((3,),), {}), (((3,),), {"k": 1}), (((2,),), {"k": -2})), name="diag",
)  # fmt: skip
def _matrix_of_diagonal(x: Any, k: int = 0) -> Any:
    """Return the matrix with these elements on its diagonal."""
    return np.diag(x, k)


@implements(np.diag)
def diag(x: Any, k: int = 0) -> Any:
    """Return the ``k``-th diagonal of a matrix, or the matrix with a vector on it."""
    return diagonal(x, offset=k) if np.ndim(x) == 2 else _matrix_of_diagonal(x, k=k)


TRIANGLES = cases((((3, 4),), {}), (((3, 3),), {"k": 1}), (((2, 3, 3),), {"k": -1}))


@primitive(
    lambda g, y, x, k=0: np.tril(g, k),
    formulas=("1 below the diagonal, else 0",),
    implements=(np.tril,),
    samples=TRIANGLES,
)
def tril(x: Any, k: int = 0) -> Any:
    """Return it with zeros above the ``k``-th diagonal."""
    return np.tril(x, k)


@primitive(
    lambda g, y, x, k=0: np.triu(g, k),
    formulas=("1 above the diagonal, else 0",),
    implements=(np.triu,),
    samples=TRIANGLES,
)
def triu(x: Any, k: int = 0) -> Any:
    """Return it with zeros below the ``k``-th diagonal."""
    return np.triu(x, k)
