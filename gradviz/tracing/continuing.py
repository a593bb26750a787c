"""The updates of a training made once more with other numbers: how it would have gone on.

An update is only used for other numbers if it gives, of the recorded numbers, the recorded ones of the next iteration,
to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gradviz.errors import GradvizError, GradvizValueError, UnknownNameError
from gradviz.graphs import Frame
from gradviz.graphs.plain import same_bits
from gradviz.tracing.frames import recorded_row
from gradviz.tracing.handwritten import rates_of
from gradviz.tracing.restoring import Checkpoints, Updates, rule_of

if TYPE_CHECKING:
    from gradviz.tracing.reading import Run

__all__ = ["FrameRules", "Rules", "RunRules", "changed"]

Numbers = dict[str, Any]  # by the name of the parameter
Kept = dict[str, Numbers]  # what the optimizer keeps of each
Event = Mapping[str, Any]


class Rules(Protocol):
    """What was recorded of the updates: places are counted from 0, in the order of the iterations."""

    def iteration(self, place: int) -> int:
        """Return the number of an iteration."""

    def numbers(self, place: int) -> tuple[Numbers, Numbers]:
        """Return the values and the gradients of the parameters in an iteration."""

    def told(self, place: int) -> tuple[Sequence[Event], str]:
        """Return the rules that may hold for the update after an iteration, or why there are none."""

    def kept(self, place: int) -> Kept:
        """Return what the optimizer keeps before the update after an iteration."""


class RunRules:
    """The updates of a run, as its events and checkpoints tell."""

    def __init__(self, run: Run, iterations: Sequence[int]) -> None:
        self._run = run
        self._iterations = iterations
        self._files = run._files
        self._updates = Updates(run._files)
        self._checkpoints = Checkpoints(run._files)

    def iteration(self, place: int) -> int:
        """Return the number of an iteration."""
        return self._iterations[place]

    def numbers(self, place: int) -> tuple[Numbers, Numbers]:
        """Return what was recorded of the parameters, or is replayed."""
        recorded = recorded_row(self._files.segments[self._row(place)[0]], self._row(place)[1])
        if not recorded.digests:
            names = [name for name in recorded.grads if name in recorded.values]
            return {n: recorded.values[n] for n in names}, {n: recorded.grads[n] for n in names}
        return numbers_of(self._run.frame(self._iterations[place]))

    def told(self, place: int) -> tuple[Sequence[Event], str]:
        """Return the rules that the events tell of, or the rates that lead from this iteration to the next one."""
        events, why = self._updates.told(self._files.position(*self._row(place)))
        if events:
            return events, why
        if place + 1 >= len(self._iterations):
            return [], "there is no next iteration to see it from"
        found = recognised(self.numbers(place), self.numbers(place + 1))
        return ([found], "") if found else ([], why)

    def kept(self, place: int) -> Kept:
        """Return the state of the optimizer: from the checkpoint before, or from none at the first iteration, on."""
        start, kept = 0, Kept()
        for at, rows, row in self._checkpoints.before(self._files.position(*self._row(place))):
            state = self._checkpoints.read(rows, row)
            step = int(self._files.head("step")[at])
            if state is not None and step in self._iterations:
                start, kept = self._iterations.index(step), state.kept
                break
        for i in range(start, place):
            kept = proved(self, i, kept)[1]
        return kept

    def _row(self, place: int) -> tuple[int, int]:
        number, row = self._run._order[self._run._position(self._iterations[place])].tolist()
        return number, row


class FrameRules:
    """The updates between frames: subtracting a rate times the gradient is recognised, bit for bit."""

    def __init__(self, frames: Sequence[Frame], iterations: Sequence[int]) -> None:
        self._frames = frames
        self._iterations = iterations

    def iteration(self, place: int) -> int:
        """Return the number of an iteration."""
        return self._iterations[place]

    def numbers(self, place: int) -> tuple[Numbers, Numbers]:
        """Return the numbers of the parameters in a frame."""
        return numbers_of(self._frames[place])

    def told(self, place: int) -> tuple[Sequence[Event], str]:
        """Return the rates that lead from this frame to the next one."""
        if place + 1 >= len(self._frames):
            return [], "there is no next iteration to see it from"
        found = recognised(self.numbers(place), self.numbers(place + 1))
        return ([found], "") if found else ([], "it subtracts no rate times the gradient")

    def kept(self, place: int) -> Kept:
        """Return nothing: such an update needs no memory."""
        return {}


def recognised(now: tuple[Numbers, Numbers], then: tuple[Numbers, Numbers]) -> Event | None:
    """Return the rule by which a rate times the gradient was subtracted, if that is what happened, bit for bit."""
    (values, grads), (after, _) = now, then
    if values.keys() != after.keys():
        return None
    rates = rates_of({name: (value, grads[name]) for name, value in values.items()}, after)
    return {"kind": "update", "rates": rates} if rates else None


def numbers_of(frame: Frame) -> tuple[Numbers, Numbers]:
    """Return the values and the gradients of the parameters of a frame."""
    ids = {node.name: node.id for node in frame.graph if node.kind == "param" and frame.values[node.id] is not None}
    return {n: frame.values[i] for n, i in ids.items()}, {n: frame.grads[i] for n, i in ids.items()}


def proved(rules: Rules, place: int, kept: Kept) -> tuple[Event, Kept]:
    """Return the rule that leads from an iteration to the next, and what the optimizer keeps then.

    Raises GradvizValueError if none of those that were told does.
    """
    events, why = rules.told(place)
    values, grads = rules.numbers(place)
    wanted = rules.numbers(place + 1)[0]
    for event in events:
        try:
            with np.errstate(all="ignore"):
                after, now_kept = rule_of(event)(values, grads, kept)
        except (GradvizError, ArithmeticError, TypeError, ValueError, LookupError) as error:
            why = (str(error).splitlines() or [""])[0]
            continue
        if all(same_bits(number, wanted[name]) for name, number in after.items() if name in wanted):
            return event, now_kept
        why = "made again, it gives other numbers"
    raise GradvizValueError(
        f"the update after iteration {rules.iteration(place)} cannot be made again: {why}",
        hint="gradients that are clipped or changed by hand before the update are not recorded",
    )


def changed(event: Event, options: Mapping[str, Any]) -> Event:
    """Return a rule with other options: ``lr``, or what else the optimizer has. Raises UnknownNameError.

    >>> changed({"kind": "update", "rates": {"w": 0.1, "b": 0.2}}, {"lr": 0.5})["rates"]
    {'w': 0.5, 'b': 0.5}
    """
    known = ["lr"] if event["kind"] == "update" else list(event.get("options") or {})
    for name in options:
        if name not in known:
            raise UnknownNameError.among("node or option of the optimizer", name, known)
    if event["kind"] == "update":
        return {**event, "rates": dict.fromkeys(event["rates"], options["lr"]) if options else event["rates"]}
    return {**event, "options": {**event["options"], **options}}
