"""What runs below autograd while something is called: every aten operation, and where its gradient is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.graph import GradientEdge
from torch.utils._python_dispatch import TorchDispatchMode

from gradviz.sources.torch.calls import SLOT, Call, with_slots
from gradviz.sources.torch.numbers import copied, dtype_name

__all__ = ["Inside", "ViewWrite"]

CLONE = torch.ops.aten.clone.default
SEEDED = torch.Tag.nondeterministic_seeded


@dataclass(frozen=True, slots=True)
class ViewWrite:
    """An operation that wrote through a view: the gradient of its result is a part of that of the whole."""

    place: int
    sequence: int  # of the autograd node of the whole
    whole: tuple[tuple[int, ...], tuple[int, ...]]  # size and stride
    part: tuple[tuple[int, ...], tuple[int, ...], int]  # size, stride and offset in the whole

    def of(self, grad: Any) -> Any:
        """Return the part of a gradient of the whole."""
        laid = torch.empty_strided(*self.whole, dtype=grad.dtype, device=grad.device).copy_(grad)
        return laid.as_strided(*self.part)


class Inside(TorchDispatchMode):  # type: ignore[misc]
    """Writes down every operation as a call; the first calls are the operands, of which copies are computed with.

    A tensor is known again by its identity, the autograd node that made it, or where its numbers lie, in this order.
    While this looks, it holds every tensor it has seen read, and a second view of each that it has seen made.
    """

    def __init__(self, operands: Sequence[Any]) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.edges: dict[int, GradientEdge] = {}
        self.view_writes: list[ViewWrite] = []
        self._held: dict[int, tuple[Any, int]] = {}  # by identity: the tensor, its place
        self._made: dict[tuple[int, int], int] = {}  # by sequence number of the autograd node and number of the output
        self._lying: dict[tuple[Any, ...], int] = {}  # by where its numbers lie
        self._written: dict[int, int] = {}  # by storage: the place of the last operation that wrote there
        self._alive: list[Any] = []
        self._claimed = -1
        self._operands = {id(t): self._leaf(t, "input") for t in operands}

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        """Run one operation and write it down."""
        kwargs = kwargs or {}
        if func is CLONE and id(args[0]) in self._operands:
            copy = func(*args, **kwargs)
            self._held[id(copy)] = copy, self._operands[id(args[0])]
            return copy
        claim = self._claim()
        found: list[Any] = []
        slotted, named = with_slots((tuple(args), dict(kwargs)), found)
        inputs = tuple([self.place(t) for t in found])
        random = torch.get_rng_state() if SEEDED in func.tags else None
        out = func(*args, **kwargs)
        results = list(out) if isinstance(out, tuple | list) else [out]
        if any(isinstance(t, torch.Tensor) for t in results):
            call = Call(_name(func), inputs=inputs, func=func, args=slotted, kwargs=named)
            call.random = random
            self._write_down(call, out, results, claim)
            self._note_writes(func, args, claim)
        return out

    def place(self, t: Any) -> int:
        """Return the position of the call that made a tensor as it is now, and note where its gradient is found."""
        place = self._known(t)
        if place is None:
            return self._leaf(t, "const")
        last = self._written.get(_storage(t), -1)
        if last > place and not _same(self.calls[place].value, t):
            place = self._overwritten(t, place, last)
        self._held[id(t)] = t, place
        if t.grad_fn is not None and self.calls[place].kind == "op":
            self.edges[place] = GradientEdge(t.grad_fn, t.output_nr)
        return place

    # -- which call made it --------------------------------------------------------------------

    def _known(self, t: Any) -> int | None:
        held = self._held.get(id(t))
        if held is not None:
            return held[1]
        if t.grad_fn is not None:
            made = self._made.get((t.grad_fn._sequence_nr(), t.output_nr))
            if made is not None:
                return made
        return self._lying.get(_lies(t))

    def _claim(self) -> int:
        """Return the sequence number of the autograd node of the operation that is being run; -1 if it has none."""
        last = int(torch._C._autograd._get_sequence_nr()) - 1
        if not torch.is_grad_enabled() or last <= self._claimed:
            return -1
        self._claimed = last
        return last

    # -- writing down --------------------------------------------------------------------------

    def _leaf(self, t: Any, kind: str) -> int:
        call = Call(kind, kind, value=copied(t), shape=tuple(t.shape), dtype=dtype_name(t))
        self._add(call)
        self._held[id(t)] = t, len(self.calls) - 1
        return len(self.calls) - 1

    def _add(self, call: Call) -> int:
        self.calls.append(call)
        return len(self.calls) - 1

    def _write_down(self, call: Call, out: Any, results: Sequence[Any], claim: int) -> None:
        place = self._add(call)
        if isinstance(out, torch.Tensor):
            call.value, call.shape, call.dtype = copied(out), tuple(out.shape), dtype_name(out)
            self._bind(out, place, (claim, 0))
            return
        call.dtype = ""
        number = 0  # among the outputs of the autograd node: those that have a gradient
        for index, t in enumerate(results):
            if isinstance(t, torch.Tensor):
                part = Call("getitem", inputs=(place,), value=copied(t), shape=tuple(t.shape), dtype=dtype_name(t))
                part.index = index
                self._bind(t, self._add(part), (claim, number))
                number += t.is_floating_point() or t.is_complex()

    def _bind(self, t: Any, place: int, made: tuple[int, int]) -> None:
        """Note how a result will be known again; it is not held, for autograd makes a new tensor of a view that is."""
        if id(t) in self._held:  # changed in place
            self._held[id(t)] = t, place
        if made[0] >= 0:
            self._made[made] = place
        self._lying[_lies(t)] = place
        self._alive.append(t.detach())

    def _note_writes(self, func: Any, args: Sequence[Any], claim: int) -> None:
        for argument, t in zip(func._schema.arguments, args, strict=False):
            if argument.alias_info is None or not argument.alias_info.is_write or not isinstance(t, torch.Tensor):
                continue
            place = self._held[id(t)][1]
            self._written[_storage(t)] = place
            base = t._base
            if base is not None and claim >= 0:
                part = tuple(t.shape), t.stride(), t.storage_offset() - base.storage_offset()
                self.view_writes.append(ViewWrite(place, claim + 1, (tuple(base.shape), base.stride()), part))

    def _overwritten(self, t: Any, before: int, last: int) -> int:
        """Add the call that a tensor is after something else wrote into its storage."""
        call = Call("written", inputs=(before, last), value=copied(t), shape=tuple(t.shape), dtype=dtype_name(t))
        writer = next((write for write in self.view_writes if write.place == last), None)
        if writer is not None and writer.whole == (tuple(t.shape), t.stride()) and t.is_contiguous():
            call.op, call.func = "as_strided_scatter", torch.ops.aten.as_strided_scatter.default
            call.args = (SLOT, SLOT, *writer.part)
        return self._add(call)


def _name(func: Any) -> str:
    space, _, name = str(func._schema.name).rpartition("::")
    return name if space == "aten" else f"{space}.{name}"


def _storage(t: Any) -> int:
    return int(t.untyped_storage()._cdata)


def _lies(t: Any) -> tuple[Any, ...]:
    return _storage(t), t.storage_offset(), tuple(t.shape), t.stride(), t.dtype, t.is_conj(), t.is_neg()


def _same(before: Any, t: Any) -> bool:
    return before is not None and torch.equal(torch.nan_to_num(before), torch.nan_to_num(t.detach()))
