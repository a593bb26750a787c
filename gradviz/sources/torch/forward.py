"""Forward functions in the form in which an autograd node knows their arguments."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["batch_norm", "cloned", "dropout", "layer_norm", "put", "selected", "taken", "turned", "written"]

EPSILONS = (1e-5, 1e-6, 1e-12, 1e-8, 1e-3, 1e-4, 1e-7, 0.0)


def cloned(x: Any) -> Any:
    """Return a copy in row-major order, as ``contiguous`` and ``reshape`` make it."""
    return x.clone(memory_format=torch.contiguous_format)


def turned(x: Any, dtype: Any = None) -> Any:
    """Return the same numbers in another dtype."""
    return x.to(dtype) if dtype is not None else x.clone()


def written(x: Any, shape: Any, dtype: Any = None) -> Any:
    """Return what a tensor holds after ``x`` was copied into it."""
    return turned(x, dtype).expand(shape)


def selected(x: Any, indices: Any) -> Any:
    """Return ``x[indices]``, where None is a whole axis."""
    return torch.ops.aten.index(x, indices)


def put(x: Any, values: Any, indices: Any, accumulate: bool = False) -> Any:
    """Return ``x`` after ``x[indices] = values``."""
    return torch.ops.aten.index_put(x, indices, values, accumulate)


def taken(x: Any, indices: Any, dim: int) -> Any:
    """Return the elements that were sorted out."""
    return x.gather(dim, indices) if x.dim() else x


def dropout(x: Any, result1: Any, p: float) -> Any:
    """Return what dropout leaves, by the mask it drew."""
    return x * result1 * (1 / (1 - p) if p < 1 else 0)


def batch_norm(x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool, eps: float) -> Any:
    """Return a batch normalised; the running statistics are left alone."""
    if training:
        return torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, eps)[0]
    return torch.native_batch_norm(x, weight, bias, running_mean, running_var, False, 0.0, eps)[0]


def layer_norm(x: Any, weight: Any, bias: Any, result2: Any, normalized_shape: Any) -> Any:
    """Return normalised rows: PyTorch keeps 1/sqrt(variance + epsilon), and no epsilon.

    Raises ValueError for an epsilon that nobody uses.
    """
    for eps in EPSILONS:
        y, _, scale = torch.native_layer_norm(x, normalized_shape, weight, bias, eps)
        if torch.equal(scale.detach(), result2):
            return y
    raise ValueError("no usual epsilon gives what was kept")
