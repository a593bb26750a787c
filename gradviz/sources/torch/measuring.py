"""Seven numbers of a tensor, computed on its own device, in place of a copy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gradviz.sources.torch.numbers import plain

__all__ = ["fetched", "measured"]

COUNT = 7  # minimum, maximum, mean, norm; how many are zero, NaN, infinite
TINY = 1e-30  # a sum of squares below may have lost what is in it
QUICK = frozenset((torch.float32, torch.float64))


def measured(t: torch.Tensor) -> Any:
    """Return minimum, maximum and mean of the finite elements, the norm, and counts of zeros, NaNs and infinities.

    They stay on the device of the tensor until `fetched`; None of a tensor without elements.

    >>> [round(number, 4) for number in measured(torch.tensor([0.0, 3.0, -4.0]))]
    [-4.0, 3.0, -0.3333, 5.0, 1, 0, 0]
    """
    with torch.no_grad():
        found = plain(t)
        if found is None or found.numel() == 0:
            return None
        if found.dtype in QUICK and found.device.type == "cpu":
            quick = _measured_quickly(found.numpy())
            if quick is not None:
                return quick
        if found.is_complex():
            found = torch.view_as_real(found.resolve_conj())
        elif not found.is_floating_point() or found.element_size() < 4:
            found = found.float()
        return _measured_with_care(found)


def _measured_quickly(array: np.ndarray) -> tuple[float, ...] | None:
    """Measure what is finite and neither very large nor very small: at the speed of memory."""
    flat = array.ravel(order="K")
    squares = float(np.dot(flat, flat))
    if not TINY < squares < math.inf:
        return None
    zeros = int(np.count_nonzero(flat == 0))
    return float(flat.min()), float(flat.max()), float(flat.sum()) / flat.size, math.sqrt(squares), zeros, 0, 0


def _measured_with_care(found: torch.Tensor) -> torch.Tensor:
    """Measure what may hold NaN or infinities, or be on another device: of the finite elements where that is meant."""
    nans, infs = torch.isnan(found), torch.isinf(found)
    good = ~(nans | infs)
    count = good.sum()
    wide = found.double() if found.device.type != "mps" else found
    unknown = torch.full((), math.nan, dtype=wide.dtype, device=wide.device)
    parts = [
        torch.where(count > 0, torch.where(good, wide, math.inf).amin(), unknown),
        torch.where(count > 0, torch.where(good, wide, -math.inf).amax(), unknown),
        torch.where(good, wide, 0.0).sum() / count,
        torch.linalg.vector_norm(wide),
        *((found == 0).sum(), nans.sum(), infs.sum()),
    ]
    return torch.stack([part.to(wide.dtype) for part in parts])


def fetched(all_measured: Sequence[Any]) -> np.ndarray:
    """Return what was measured as an array of one row each, NaN where nothing was: one transfer for each device.

    >>> fetched([None, measured(torch.ones(2))])[:, 3].round(3).tolist()
    [nan, 1.414]
    """
    rows = np.full((len(all_measured), COUNT), math.nan)
    by_device: dict[torch.device, list[int]] = {}
    for place, found in enumerate(all_measured):
        if isinstance(found, torch.Tensor):
            by_device.setdefault(found.device, []).append(place)
        elif found is not None:
            rows[place] = found
    with torch._C.DisableTorchFunction():  # somebody may be recording
        for places in by_device.values():
            rows[places] = torch.stack([all_measured[i] for i in places]).cpu().double().numpy()
    return rows
