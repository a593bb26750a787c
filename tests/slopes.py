"""One NumPy program, run on arrays and on Tensors: the same values, and gradients as differences give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradviz import Tensor

STEP = 1e-6


def several(y: Any) -> list[Any]:
    return list(y) if isinstance(y, list | tuple) else [y]


def gradients(f: Callable[..., Any], *values: Any, weights: Any = None) -> list[Any]:
    """Return the gradients of the sum of ``f(...)``, or of its sum with ``weights``."""
    tensors = [Tensor(v) for v in values]
    y = f(*tensors)
    total = np.sum(y if weights is None else y * np.asarray(weights))
    total.backward()
    return [np.zeros(t.shape) if t.grad is None else t.grad for t in tensors]


def agree(f: Callable[..., Any], *values: Any) -> None:
    """Compare ``f`` on Tensors with the same NumPy calls on arrays: values, shapes, dtypes and gradients."""
    arrays = [np.asarray(v, np.float64 if np.asarray(v).dtype.kind in "iu" else None) for v in values]
    tensors = [Tensor(a) for a in arrays]
    expected, found = several(f(*arrays)), several(f(*tensors))
    assert len(found) == len(expected)
    rng = np.random.default_rng(len(arrays))
    weights = [rng.uniform(0.5, 1.5, np.shape(e)) for e in expected]
    total: Any = 0.0
    for e, y, w in zip(expected, found, weights, strict=True):
        assert isinstance(y, Tensor)
        assert y.shape == np.shape(e)
        assert y.dtype == np.asarray(e).dtype
        np.testing.assert_allclose(y.numpy(), e, rtol=1e-13)
        total = total + np.sum(y * w)
    total.backward()

    def loss(*moved: Any) -> float:
        return float(sum(np.sum(e * w) for e, w in zip(several(f(*moved)), weights, strict=True)))

    for i, tensor in enumerate(tensors):
        slopes = differences(lambda x, i=i: loss(*arrays[:i], x, *arrays[i + 1 :]), arrays[i])
        grad = np.zeros(tensor.shape) if tensor.grad is None else np.asarray(tensor.grad)
        assert grad.shape == arrays[i].shape
        np.testing.assert_allclose(grad, slopes, rtol=1e-5, atol=1e-7)


def differences(loss: Callable[[np.ndarray], float], x: np.ndarray) -> np.ndarray:
    """Return central differences of ``loss`` by every element of ``x``."""
    slopes = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += STEP
        down[index] -= STEP
        slopes[index] = (loss(up) - loss(down)) / (2 * STEP)
    return slopes


def numbers(*shape: int, seed: int = 3) -> np.ndarray:
    """Return distinct numbers, none of them near 0 or near another."""
    count = int(np.prod(shape))
    values = np.random.default_rng(seed).permutation(np.arange(1, count + 1)) * 0.37
    values[::3] *= -1
    return values.reshape(shape)
