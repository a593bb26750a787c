"""Seven numbers of a tensor, computed on its own device, in place of a copy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from gradviz.sources.torch.numbers import (
    DISPATCH_MODES,
    FUNCTION_MODES,
    ORDINARY,
    STRIDED,
    address,
    has_numbers,
    plain,
    unseen,
)

__all__ = ["Unchanged", "fetched", "measured"]

COUNT = 7  # minimum, maximum, mean, norm; how many are zero, NaN, infinite
PIECE = 1 << 16  # elements
ONES = {code: np.ones(PIECE, code) for code in "fd"}
TINY = 1e-30  # a sum of squares below may have lost what is in it
QUICK = frozenset((torch.float32, torch.float64))


def measured(t: torch.Tensor) -> Any:
    """Return minimum, maximum and mean of the finite elements, the norm, and counts of zeros, NaNs and infinities.

    They stay on the device of the tensor until `fetched`; None of a tensor without elements.

    >>> [round(number, 4) for number in measured(torch.tensor([0.0, 3.0, -4.0]))]
    [-4.0, 3.0, -0.3333, 5.0, 1, 0, 0]
    """
    is_seen = FUNCTION_MODES() or DISPATCH_MODES()
    if t.dtype in QUICK and t.is_cpu and type(t) in ORDINARY and t.layout is STRIDED and not is_seen and has_numbers(t):
        with np.errstate(all="ignore"):
            quick = _measured_quickly(t.detach().numpy())
        if quick is not None:
            return quick
    with unseen() if is_seen else nullcontext(), torch.no_grad():
        found = plain(t)
        if found is None or found.numel() == 0:
            return None
        if found.is_complex():
            found = torch.view_as_real(found.resolve_conj())
        elif found.dtype not in QUICK:
            found = found.float()
        with np.errstate(all="ignore"):
            quick = _measured_quickly(found.numpy()) if found.device.type == "cpu" else None
        return _measured_with_care(found) if quick is None else quick


class Unchanged:
    """What was measured of the parameters, until they are written to: those that are frozen are measured once.

    PyTorch counts the writes to a tensor, but not those that go through ``.data``, NumPy or a bare address: of who asks
    for one of these, nothing is remembered.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[torch.Tensor, int, Any]] = {}

    def measured(self, t: torch.Tensor, version: int) -> Any:
        """Return what was measured of this version of a parameter."""
        known = self._known.get(id(t))
        if known is None or known[0] is not t or known[1] != version:
            known = self._known[id(t)] = t, version, measured(t)
        return known[2]

    def forget(self, place: int) -> None:
        """Take note that somebody may write to this address unseen."""
        for key in [key for key, (t, _, _) in self._known.items() if address(t) == place]:
            del self._known[key]


def _measured_quickly(array: np.ndarray) -> tuple[float, ...] | None:
    """Measure what is finite and neither very large nor very small, in pieces that stay in the processor's cache."""
    flat, ones = array.ravel(order="K"), ONES[array.dtype.char]
    squares = total = 0.0
    low, high, zeros = math.inf, -math.inf, 0
    for start in range(0, flat.size, PIECE):
        piece = flat[start : start + PIECE]
        squares += float(np.dot(piece, piece))
        if not squares < math.inf:
            return None
        total += float(np.dot(piece, ones[: piece.size]))  # twice as fast as sum()
        low, high = min(low, float(np.minimum.reduce(piece))), max(high, float(np.maximum.reduce(piece)))
        zeros += int(np.count_nonzero(piece == 0))
    if squares < TINY and zeros < flat.size:
        return None
    return low, high, total / flat.size, math.sqrt(squares), zeros, 0, 0


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
