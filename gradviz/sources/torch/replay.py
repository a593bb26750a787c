"""Values that nobody has kept, worked out again from those that somebody has: by functions that prove exact."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from gradviz.sources.torch.calls import filled, flattened
from gradviz.sources.torch.numbers import dtype_name
from gradviz.sources.torch.walking import Spot, Walk

__all__ = ["alone", "replay", "same_bits"]

WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.int64}


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
    for node in walk.kept:
        if (node, "all") in walk.places:
            spot = walk.spots[walk.places[node, "all"]]
            spot.origin = _of_all([walk.spots[walk.places[node, nr]].origin for nr in walk.results(node)])
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
            words = WORDS[one.element_size()]
            return bool(torch.equal(one.view(words), other.view(words)))
    return bool(torch.equal(_words(one), _words(other)))


class Replay:
    """One pass over all spots without the rules that were rejected."""

    def __init__(self, walk: Walk, rejected: set[str]) -> None:
        self.spots = walk.spots
        self.rejected = rejected
        self.tensors: list[Any] = [spot.tensor for spot in walk.spots]
        self.numbers = {i: spot.number for i, spot in enumerate(walk.spots) if spot.number is not None}
        self.results: dict[int, list[Any]] = {}
        self.used: set[str] = set()  # rules that gave a value
        self.is_made = [False] * len(walk.spots)  # whether a value was worked out here

    def run(self) -> None:
        """Work out everything that is not known yet, in order."""
        wanted = {
            spot.inputs[0] for i, spot in enumerate(self.spots) if self._is_part(spot) and self.tensors[i] is None
        }
        for i, spot in enumerate(self.spots):
            if self._is_part(spot):
                if self.tensors[i] is None:
                    self._set(i, spot, self.results.get(spot.inputs[0], []), spot.index or 0)
            elif i in wanted or (self.tensors[i] is None and not self._is_split(i)):
                found = self._called(spot)
                if i in wanted:
                    self.results[i] = found
                    self.used |= {spot.rule} if found else set()
                else:
                    self._set(i, spot, found, 0)
                    self.used |= {spot.rule} if self.is_made[i] else set()

    def refuted(self) -> set[str]:
        """Return the rules that do not give a value that was kept; if it may have been their operands, those too."""
        certain: set[str] = set()
        suspected: set[str] = set()
        for i, spot in enumerate(self.spots):
            kept = self.tensors[i]
            if spot.rule and kept is not None and not self.is_made[i] and self._is_worth_it(spot):
                again = self._called(spot)
                if again and again[0].dtype == kept.dtype and not same_bits(again[0], kept):
                    behind = self._behind(i)
                    suspected |= behind
                    certain |= behind if len(behind) == 1 else set()
        return certain or suspected

    def _is_worth_it(self, spot: Spot) -> bool:
        return spot.rule in self.used or any(self.is_made[src] for src in spot.inputs)

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
        if spot.func is None or spot.rule in self.rejected:
            return []
        operands = [self.numbers.get(src, self.tensors[src]) for src in spot.inputs]
        if any(operand is None for operand in operands):
            return []
        if spot.op == "as_strided" and self.is_made[spot.inputs[0]]:
            return []  # the strides are those of the tensor that the program had
        given = iter(operands)
        try:
            if spot.is_plain:
                out = spot.func(*operands, **spot.kwargs)
            else:
                out = spot.func(*filled(tuple(spot.args), given), **filled(dict(spot.kwargs), given))
        except Exception:  # whatever the reason, the value is not known
            return []
        return [out] if isinstance(out, torch.Tensor) else flattened(out)

    def _set(self, i: int, spot: Spot, found: list[Any], nr: int) -> None:
        if nr < len(found) and found[nr].shape == spot.shape and dtype_name(found[nr]) == spot.dtype:
            self.tensors[i] = found[nr]
            self.is_made[i] = True

    def _is_part(self, spot: Spot) -> bool:
        return spot.index is not None

    def _is_split(self, i: int) -> bool:
        key = self.spots[i].key
        return isinstance(key, tuple) and key[1] == "all"


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
