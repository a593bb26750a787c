"""Indexing: basic and advanced, with gradients that add up where an index repeats."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..registry import Sample, primitive


def _getitem_vjp(g: Any, y: Any, x: Any, index: Any) -> Any:
    return scatter(g, shape=np.shape(x), index=index)


def _samples(rng: np.random.Generator) -> Any:
    x = rng.normal(size=(4, 3))
    mask = rng.random((4, 3)) < 0.5
    for index in (
        *(1, slice(1, 3), (slice(None), 2), (Ellipsis, None), slice(None, None, -2)),
        *(np.array([0, 0, 2]), (np.array([1, 1, 3]), np.array([0, 0, 2])), mask),
    ):
        yield Sample((x,), {"index": index})


def basic(index: Any) -> bool:
    """Tell whether an index only slices, so that no element can occur twice."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is Ellipsis or isinstance(p, slice | int | np.integer) for p in parts)


@primitive(_getitem_vjp, symbol="[ ]", formulas=("1 at the index, else 0",), samples=_samples)
def getitem(x: Any, index: Any) -> Any:
    """Return ``x[index]`` with any index that NumPy takes; repeated indices add their gradients.

    >>> from gradviz import Tensor
    >>> x = Tensor([1.0, 2.0, 3.0])
    >>> x[[0, 0, 2]].sum().backward()
    >>> x.grad
    array([2., 0., 1.])
    """
    return np.array(np.asarray(x)[_frozen(index)])


def _frozen(index: Any) -> Any:
    return np.asarray(index) if isinstance(index, list) else index


def _scatter_samples(rng: np.random.Generator) -> Any:
    yield Sample((rng.normal(size=(3, 3)),), {"shape": (4, 3), "index": np.array([0, 0, 2])})


@primitive(
    lambda g, y, x, shape, index: getitem(g, index=index) if hasattr(g, "requires_grad") else g[_frozen(index)],
    symbol="scatter", formulas=("1",), samples=_scatter_samples,
)  # fmt: skip
def scatter(x: Any, shape: tuple[int, ...], index: Any) -> Any:
    """Return zeros of ``shape`` with ``x`` added at ``index``: the reverse of indexing."""
    out = np.zeros(shape, np.result_type(x))
    if basic(index):
        out[index] += x
    else:
        np.add.at(out, _frozen(index), x)
    return out
