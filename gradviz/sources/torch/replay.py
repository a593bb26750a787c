"""Values that nobody has kept, worked out again from those that somebody has: by functions that prove exact."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from gradviz.sources.torch.calls import filled, flattened
from gradviz.sources.torch.numbers import NAMES, NUMPY_KNOWS, dtype_name
from gradviz.sources.torch.walking import Spot, Walk

__all__ = ["alone", "replay", "same_bits"]

WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.int64}
SMALL = 1 << 17  # bytes that are copied faster than they are compared one by one


def replay(walk: Walk) -> set[str]:
    """Give every spot its value, where it can be known, and say how; return the rules that were found not to hold.

    A rule that does not give, to the bit, a value that was kept is used nowhere, nor are those that its operands were
    worked out by.
    """
    rejected: set[str] = set()
    with alone():
        while True:
            work = Replay(walk, rejected)
            work.run()
            found = work.refuted()
            if not found:
                break
            rejected |= found
    for spot, tensor in zip(walk.spots, work.tensors, strict=True):
        spot.origin = "saved" if spot.tensor is not None else "unknown" if tensor is None else "replayed"
        spot.value = tensor
    for whole, parts in walk.wholes.items():
        walk.spots[whole].origin = _of_all([walk.spots[part].origin for part in parts])
    return rejected


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Compute something that no mode of the program sees or changes, and that builds no graph."""
    with torch.no_grad(), torch._C.DisableTorchFunction(), torch._C._DisableAutocast(), _no_dispatch():
        yield


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Tell whether two tensors are equal to the bit (NaN equals NaN, -0.0 differs from 0.0).

    >>> same_bits(torch.tensor([0.0, torch.nan]), torch.tensor([0.0, torch.nan]))
    True
    >>> same_bits(torch.tensor([0.0]), torch.tensor([-0.0]))
    False
    """
    if one is other:
        return True
    if one.shape != other.shape or one.dtype != other.dtype or one.device != other.device:
        return False
    if one.layout is not torch.strided or other.layout is not torch.strided:
        return bool(torch.equal(one.to_dense(), other.to_dense()))
    if hasattr(one, "fake_mode"):
        return True
    if one.is_floating_point() and not (one.is_neg() or other.is_neg()):
        if one.data_ptr() == other.data_ptr() and one.stride() == other.stride():
            return True  # a view of the same memory
        if one.is_contiguous() and other.is_contiguous():
            if one.dtype in NUMPY_KNOWS and one.device.type == "cpu":
                return _same_memory(one.detach().numpy(), other.detach().numpy())
            words = WORDS[one.element_size()]
            return bool(torch.equal(one.view(words), other.view(words)))
    return bool(torch.equal(_words(one), _words(other)))


def _same_memory(one: np.ndarray, other: np.ndarray) -> bool:
    """Tell whether two arrays in row-major order are equal to the bit."""
    if one.nbytes <= SMALL:
        return one.tobytes() == other.tobytes()
    words = np.dtype(f"i{one.itemsize}")
    return bool((one.view(words) == other.view(words)).all())


class Replay:
    """One pass over all spots without the rules that were rejected."""

    def __init__(self, walk: Walk, rejected: set[str]) -> None:
        self.spots = walk.spots
        self.wholes = walk.wholes
        self.rejected = rejected
        self.tensors: list[Any] = [spot.tensor for spot in walk.spots]
        self.operands: list[Any] = [spot.tensor if spot.number is None else spot.number for spot in walk.spots]
        self.results: dict[int, list[Any]] = {}
        self.used: set[str] = set()  # rules that gave a value
        self.is_made = [False] * len(walk.spots)  # whether a value was worked out here

    def run(self) -> None:
        """Work out everything that is not known yet, in order."""
        tensors, wholes = self.tensors, self.wholes
        for i, spot in enumerate(self.spots):
            if tensors[i] is not None:
                continue
            if spot.index is not None:
                self._set(i, spot, self.results.get(spot.inputs[0], []), spot.index)
            elif i not in wholes:
                if self._set(i, spot, self._called(spot), 0):
                    self.used.add(spot.rule)
            elif any(tensors[part] is None for part in wholes[i]):
                found = self.results[i] = self._called(spot)
                if found:
                    self.used.add(spot.rule)

    def refuted(self) -> set[str]:
        """Return the rules that do not give a value that was kept; if it may have been their operands, those too."""
        certain: set[str] = set()
        suspected: set[str] = set()
        tensors, is_made, used = self.tensors, self.is_made, self.used
        for i, spot in enumerate(self.spots):
            if not spot.rule or is_made[i] or tensors[i] is None:
                continue
            if spot.rule in used or any(is_made[src] for src in spot.inputs):
                again = self._called(spot)
                if again and again[0].dtype == tensors[i].dtype and not same_bits(again[0], tensors[i]):
                    behind = self._behind(i)
                    suspected |= behind
                    certain |= behind if len(behind) == 1 else set()
        return certain or suspected

    def _behind(self, i: int) -> set[str]:
        """Return the rule of a spot, and those by which its operands were worked out from what was kept."""
        found = {self.spots[i].rule}
        ahead = [src for src in self.spots[i].inputs if self.is_made[src]]
        seen = set(ahead)
        while ahead:
            src = ahead.pop()
            found.add(self.spots[src].rule)
            new = [k for k in self.spots[src].inputs if k not in seen and (self.is_made[k] or k in self.results)]
            seen.update(new)
            ahead += new
        return found - {""}

    def _called(self, spot: Spot) -> list[Any]:
        """Return the results of a call that is made again; none if it cannot be."""
        func: Any = spot.func
        given: list[Any] = []
        if func is None or spot.rule in self.rejected:
            return []
        for src in spot.inputs:
            operand = self.operands[src]
            if operand is None:
                return []
            given.append(operand)
        if spot.op == "as_strided" and self.is_made[spot.inputs[0]]:
            return []  # the strides are those of the tensor that the program had
        try:
            if spot.is_plain:
                out = func(*given, **spot.kwargs) if spot.kwargs else func(*given)
            else:
                left = iter(given)
                out = func(*filled(tuple(spot.args), left), **filled(dict(spot.kwargs), left))
        except Exception:  # whatever the reason, the value is not known
            return []
        return [out] if isinstance(out, torch.Tensor) else flattened(out)

    def _set(self, i: int, spot: Spot, found: list[Any], nr: int) -> bool:
        """Take one of several results for a value if it looks like it, and tell whether it does."""
        if nr >= len(found):
            return False
        t = found[nr]
        if t.shape != spot.shape or (NAMES.get(t.dtype) or dtype_name(t)) != spot.dtype:
            return False
        self.tensors[i] = self.operands[i] = t
        self.is_made[i] = True
        return True


def _of_all(origins: list[str]) -> str:
    return next((origin for origin in ("unknown", "replayed") if origin in origins), "saved")


def _words(t: torch.Tensor) -> torch.Tensor:
    plain = t.resolve_conj().resolve_neg().contiguous().reshape(-1)
    if plain.is_complex():
        plain = torch.view_as_real(plain).reshape(-1)
    return plain.view(WORDS[plain.element_size()])


def _no_dispatch() -> contextlib.AbstractContextManager[Any]:
    """Return what keeps the program's dispatch modes from seeing ops, where there are any."""
    if not torch._C._len_torch_dispatch_stack():
        return contextlib.nullcontext()
    from torch.utils._python_dispatch import _disable_current_modes

    made: contextlib.AbstractContextManager[Any] = _disable_current_modes()
    return made
