"""Seven numbers of a tensor, computed on its own device, in place of a copy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from gradviz.sources.torch.numbers import plain

__all__ = ["fetched", "measured"]

COUNT = 7  # minimum, maximum, mean, norm; how many are zero, NaN, infinite
NOTHING = (math.nan,) * 4 + (0.0,) * 3


def measured(t: torch.Tensor) -> torch.Tensor | None:
    """Return minimum, maximum and mean of the finite elements, the norm, and counts of zeros, NaNs and infinities.

    They stay on the device of the tensor until `fetched`.

    >>> measured(torch.tensor([0.0, 3.0, -4.0])).tolist()
    [-4.0, 3.0, -0.3333333432674408, 5.0, 1.0, 0.0, 0.0]
    """
    with torch.no_grad():
        found = plain(t)
        if found is None or found.numel() == 0:
            return None
        if found.dtype == torch.bool or not (found.is_floating_point() or found.is_complex()):
            found = found.float()
        elif found.is_complex():
            found = torch.view_as_real(found)
        low, high = torch.aminmax(found)
        norm = torch.linalg.vector_norm(found, dtype=torch.float32 if found.element_size() < 4 else None)
        if found.device.type == "cpu" and math.isfinite(norm.item()):
            zeros = found.numel() - torch.count_nonzero(found)
            mean = found.mean(dtype=norm.dtype)
            return torch.stack(
                [low.to(norm.dtype), high.to(norm.dtype), mean, norm, zeros.to(norm.dtype), *_none(norm)]
            )
        return _measured_with_care(found, norm)


def _none(norm: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    zero = torch.zeros((), dtype=norm.dtype, device=norm.device)
    return zero, zero


def _measured_with_care(found: torch.Tensor, norm: torch.Tensor) -> torch.Tensor:
    """Measure what may hold NaN or infinities: of the finite elements only, where that is meant."""
    nans, infs = torch.isnan(found), torch.isinf(found)
    good = ~(nans | infs)
    count = good.sum()
    wide = found.to(norm.dtype)
    zero = torch.zeros((), dtype=norm.dtype, device=norm.device)
    low = torch.where(good, wide, math.inf).amin()
    high = torch.where(good, wide, -math.inf).amax()
    mean = torch.where(good, wide, zero).sum() / count
    unknown = torch.full_like(zero, math.nan)
    parts = [
        torch.where(count > 0, low, unknown),
        torch.where(count > 0, high, unknown),
        mean,
        norm,
        (found == 0).sum().to(norm.dtype),
        nans.sum().to(norm.dtype),
        infs.sum().to(norm.dtype),
    ]
    return torch.stack(parts)


def fetched(all_measured: Sequence[torch.Tensor | None]) -> np.ndarray:
    """Return what was measured as an array of one row each, NaN where nothing was: one transfer for each device.

    >>> fetched([None, measured(torch.ones(2))])[:, 3].round(3).tolist()
    [nan, 1.414]
    """
    rows = np.full((len(all_measured), COUNT), math.nan)
    by_device: dict[torch.device, list[int]] = {}
    for place, t in enumerate(all_measured):
        if t is not None:
            by_device.setdefault(t.device, []).append(place)
    for places in by_device.values():
        with torch._C.DisableTorchFunction():  # somebody may be recording
            rows[places] = torch.stack([all_measured[i].double() for i in places]).cpu().numpy()  # type: ignore[union-attr]
    return rows
