"""One function in gradviz and in PyTorch on the same arrays: values, gradients, gradients of gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import gradviz
from gradviz import Tensor


def same(found: Any, wanted: Any, rtol: float) -> None:
    wanted = wanted.numpy(force=True) if isinstance(wanted, torch.Tensor) else wanted
    found = found.numpy() if isinstance(found, Tensor) else np.asarray(found)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=rtol * (1 + np.nanmax(np.abs(wanted), initial=0)))


def beside_torch(
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    *arrays: Any,
    rtol: float = 1e-10,
    second: bool = True,
    dtype: Any = np.float64,
) -> None:
    """Compare values and first (and second) derivatives by every array."""
    arrays = tuple(np.asarray(a, dtype) for a in arrays)
    mine = [Tensor(a) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, z = ours(*mine), theirs(*other)
    same(y, z, rtol)
    rng = np.random.default_rng(0)
    weights = np.asarray(rng.normal(size=y.shape), dtype)
    y.backward(weights, create_graph=second)
    slopes = torch.autograd.grad(z, other, torch.tensor(weights), create_graph=second)
    for m, s in zip(mine, slopes, strict=True):
        same(m.grad, s, rtol)
        assert np.asarray(m.grad if not isinstance(m.grad, Tensor) else m.grad.data).dtype == dtype
    if second:
        _second(mine, other, slopes, rng, rtol)


def _second(mine: list[Tensor], other: list[Any], slopes: Any, rng: np.random.Generator, rtol: float) -> None:
    directions = [rng.normal(size=m.shape) for m in mine]
    ours: Any = gradviz.constant(0.0)
    for m, d in zip(mine, directions, strict=True):
        ours = ours + np.sum(m.grad * d)
        m.zero_grad()
    theirs = sum((s * torch.tensor(d)).sum() for s, d in zip(slopes, directions, strict=True))
    if not theirs.requires_grad:
        return
    found = torch.autograd.grad(theirs, other, allow_unused=True)
    if ours.requires_grad:
        ours.backward()
    for m, f in zip(mine, found, strict=True):
        same(
            np.zeros(m.shape) if m.grad is None else m.grad,
            np.zeros(m.shape) if f is None else f,
            rtol,
        )
