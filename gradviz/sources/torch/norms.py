"""The norms of many tensors at once, computed on their own devices and fetched with one transfer for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from gradviz.sources.torch.numbers import NUMPY_KNOWS, number, plain, unseen

__all__ = ["norms", "unseen", "viewed"]

WIDE = (torch.float32, torch.float64)


def viewed(t: torch.Tensor | None) -> Any:
    """Return the `number` of a tensor of which a capture has made a copy, in the memory that it lies in.

    >>> t = torch.tensor([1.0, 2.0])
    >>> viewed(t), viewed(t).base is not None, viewed(None)
    (array([1., 2.], dtype=float32), True, None)
    """
    if t is None:
        return None
    if type(t) is torch.Tensor and t.ndim and t.dtype in NUMPY_KNOWS and not t.requires_grad:
        try:
            return t.numpy()
        except (RuntimeError, TypeError):  # on another device, or it stands for its conjugate
            pass
    return number(t)


def norms(tensors: Sequence[torch.Tensor | None]) -> list[float | None]:
    """Return the Euclidean norm of every tensor; a single real number is returned as it is, None for no tensor.

    >>> norms([torch.tensor([3.0, -4.0]), None, torch.tensor(-2.0), torch.tensor([1e30, 0.0])])
    [5.0, None, -2.0, 1.0000000150474662e+30]
    """
    found: list[float | None] = [None] * len(tensors)
    waiting: dict[torch.device, list[tuple[int, torch.Tensor, bool]]] = {}
    with torch.no_grad():
        for place, t in enumerate(tensors):
            numbers = None if t is None else plain(t)
            if numbers is not None:
                is_single = numbers.ndim == 0 and not numbers.is_complex()
                waiting.setdefault(numbers.device, []).append((place, numbers, is_single))
        for entries in waiting.values():
            for (place, numbers, is_single), size in zip(entries, _sizes(entries), strict=True):
                found[place] = size if is_single or math.isfinite(size) else _with_care(numbers)
    return found


def _sizes(entries: Sequence[tuple[int, torch.Tensor, bool]]) -> list[float]:
    """Return the norms of tensors of one device, or the numbers themselves."""
    arrays = [_floating(numbers) for _, numbers, is_single in entries if not is_single]
    sizes: Any = iter(torch._foreach_norm(arrays) if arrays else ())
    parts = [numbers.double() if is_single else next(sizes).double() for _, numbers, is_single in entries]
    found: list[float] = torch.stack(parts).tolist()
    return found


def _floating(numbers: torch.Tensor) -> torch.Tensor:
    if numbers.is_complex():
        numbers = torch.view_as_real(numbers.resolve_conj())
    return numbers if numbers.dtype in WIDE else numbers.float()


def _with_care(numbers: torch.Tensor) -> float:
    """Return the norm of numbers whose squares may be too large."""
    return float(torch.linalg.vector_norm(_floating(numbers).double()))
