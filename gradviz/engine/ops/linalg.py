"""Products of vectors and matrices, and linear algebra.

Reverse rules follow Giles, "Collected matrix derivative results for forward and reverse mode
algorithmic differentiation" (2008).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..registry import primitive
from .samples import cases


def _matmul_left(g: Any, out: Any, x: Any, y: Any) -> Any:
    if np.ndim(y) == 1:
        return np.expand_dims(g, -1) * y if np.ndim(x) > 1 else g * y
    if np.ndim(x) == 1:
        return np.sum(np.expand_dims(g, -2) * y, axis=(*range(np.ndim(y) - 2), -1))
    return np.matmul(g, np.swapaxes(y, -1, -2))


def _matmul_right(g: Any, out: Any, x: Any, y: Any) -> Any:
    if np.ndim(x) == 1:
        return np.expand_dims(x, -1) * np.expand_dims(g, -2) if np.ndim(y) > 1 else g * x
    if np.ndim(y) == 1:
        return np.sum(np.expand_dims(g, -1) * x, axis=tuple(range(np.ndim(x) - 1)))
    return np.matmul(np.swapaxes(x, -1, -2), g)


@primitive(
    _matmul_left, _matmul_right, symbol="@", formulas=("{1}ᵀ", "{0}ᵀ"), implements=(np.matmul,),
    samples=cases(
        (((2, 3), (3, 4)), {}), (((3,), (3,)), {}), (((3,), (3, 2)), {}), (((2, 3), (3,)), {}), (((5, 2, 3), (3, 4)), {}),
        (((5, 2, 3), (5, 3, 4)), {}), (((2, 3), (5, 3, 4)), {}), (((3,), (5, 3, 2)), {}), (((5, 2, 3), (3,)), {}),
        (((4, 1, 2, 3), (5, 3, 2)), {}), (((0, 3), (3, 2)), {}),
    ),
)  # fmt: skip
def matmul(x: Any, y: Any) -> Any:
    """Return the matrix product ``x @ y``, over stacks of matrices too.

    >>> from gradviz import Tensor
    >>> (Tensor([[1.0, 2.0]]) @ Tensor([[3.0], [4.0]])).item()
    11.0
    """
    return np.matmul(x, y)
