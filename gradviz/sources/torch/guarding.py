"""A capture that shows every op right after it was computed, and every backward pass right after it is over."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from gradviz.graphs import Frame, Source
from gradviz.sources import own
from gradviz.sources.torch.calls import Call
from gradviz.sources.torch.edges import is_elementwise_op
from gradviz.sources.torch.framing import Structure, frame_of
from gradviz.sources.torch.presence import _listening
from gradviz.sources.torch.recorder import Capture

__all__ = ["Guarded", "born", "frame_of_tensor", "is_finite", "source_of"]


class Guarded(Capture):
    """Calls ``seen(place)`` after every op, with its place in `calls`, and ``passed()`` after every backward pass.

    Nothing that these compute is recorded. What they raise goes on in the program.
    """

    def __init__(self, seen: Callable[[int], None], passed: Callable[[], None]) -> None:
        super().__init__(None, keep=1)
        self._seen = seen
        self._passed = passed

    @property
    def calls(self) -> Sequence[Call]:
        """What was computed since the last step."""
        return self._tape.calls

    @property
    def number(self) -> int:
        """The number of this step: how many were finished before."""
        return self._kept.count

    def frame_so_far(self, place: int | None = None) -> tuple[Frame, Structure]:
        """Return the frame of what an op was made of; without one, of what the backward pass began from."""
        return _frame_on_tape(self, self._roots if place is None else [place])

    def _recorded(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], site: Any) -> Any:
        before = self._tape, len(self._tape.calls)
        out = super()._recorded(func, args, kwargs, site)
        self._show(*before)
        return out

    def function_applied(self, cls: Any, args: Sequence[Any], kwargs: Mapping[str, Any], apply: Any) -> Any:
        """Make a call of a user's autograd.Function, and show it."""
        before = self._tape, len(self._tape.calls)
        out = super().function_applied(cls, args, kwargs, apply)
        self._show(*before)
        return out

    def _show(self, tape: Any, start: int) -> None:
        """Show the ops that were added to the tape, which may be a new one."""
        self._muted += 1
        try:
            for place in range(start if tape is self._tape else 0, len(self._tape.calls)):
                if self._tape.calls[place].kind == "op":
                    self._seen(place)
        finally:
            self._muted -= 1

    def _backward(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        out = super()._backward(func, args, kwargs)
        if self._is_done:
            self._muted += 1
            try:
                self._passed()
            finally:
                self._muted -= 1
        return out


def _frame_on_tape(capture: Capture, outputs: Sequence[int]) -> tuple[Frame, Structure]:
    structure = capture._structures.of(capture._tape, outputs)
    meta = {"source": "torch", "how": "recorded"}
    return frame_of(capture._tape.calls, structure, step=capture._kept.count, meta=meta), structure


def frame_of_tensor(t: Any) -> Frame | None:
    """Return the frame of a tensor as far as a capture that is on has recorded it; None if none has."""
    for capture in reversed(_listening()):
        place = capture._tape.find(t)
        if place is not None:
            return _frame_on_tape(capture, [place])[0]
        if capture._last_root() is t and len(capture):
            return capture.frame()
    return None


def is_finite(t: Any) -> bool:
    """Tell whether there is neither a NaN nor an infinity in a tensor: one sum, if there is none.

    >>> is_finite(torch.ones(2)), is_finite(torch.tensor([1.0, torch.inf])), is_finite(None)
    (True, False, True)
    """
    if t is None or not (t.is_floating_point() or t.is_complex()) or not t.numel():
        return True
    total = t.abs().sum() if t.is_complex() else t.sum(dtype=torch.promote_types(t.dtype, torch.float32))
    return math.isfinite(total.item()) or bool(torch.isfinite(t).all())


def born(calls: Sequence[Call], place: int, kind: str) -> bool:
    """Tell whether an op has made a NaN (``"nan"``) of operands without, or an infinity (``"inf"``) of finite ones.

    Where each element of the result belongs to one of each operand, only those count. An infinity that was written
    in the call, as in ``x.masked_fill(mask, -inf)``, is there on purpose.
    """
    call = calls[place]
    made = calls[call.inputs[0]] if call.index is not None else call
    if call.value is None or (kind == "inf" and _has_infinity(made)):
        return False
    found = torch.isnan(call.value) if kind == "nan" else torch.isinf(call.value)
    if not found.any():
        return False
    for value in (calls[i].value for i in made.inputs):
        if value is None or not (value.is_floating_point() or value.is_complex()):
            continue
        spoiled = torch.isnan(value) if kind == "nan" else ~torch.isfinite(value)
        if not spoiled.any():
            continue
        if not is_elementwise_op(made.op) or spoiled.shape != found.shape:
            return False
        found = found & ~spoiled
    return bool(found.any())


def _has_infinity(call: Call) -> bool:
    waiting = [*call.args, *call.kwargs.values()]
    for item in waiting:  # grows while it is walked
        waiting.extend(item if type(item) in {tuple, list} else ())
    return any(isinstance(item, float) and math.isinf(item) for item in waiting)


def source_of(call: Call) -> Source | None:
    """Return the line of the program that made a call."""
    return own.Sites().source(call)
