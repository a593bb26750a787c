"""What a replay starts from and goes by: checkpoints, and the rule of the updates after every step."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np

from gradviz.errors import GradvizError
from gradviz.tracing.opening import RunFiles
from gradviz.tracing.segments import Segment

__all__ = ["Checkpoints", "State", "Updates", "positions_of", "rule_of"]

CHECKPOINT_NAME = re.compile(r"ckpt(?:-(\d{4,6}))?\.npy")
RULES = ("optimizer", "update")

Numbers = dict[str, Any]
Rule = Callable[[Numbers, Numbers, dict[str, Numbers]], tuple[Numbers, dict[str, Numbers]]]


@dataclass(eq=False)
class State:
    """The parameters at a position before its update, and what the optimizer keeps of each, by name."""

    values: Numbers
    kept: dict[str, Numbers] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Return how many bytes its arrays take."""
        arrays = [*self.values.values(), *(number for kept in self.kept.values() for number in kept.values())]
        return sum(getattr(array, "nbytes", 32) for array in arrays)


class Checkpoints:
    """The rows of ``ckpt.npy``, ``ckpt-0001.npy``, ... and at which position of the run each was written."""

    def __init__(self, files: RunFiles) -> None:
        self._files = files
        self._notes: dict[str, None] = {}
        self._opened: dict[int, Segment] = {}
        self._order: np.ndarray | None = None
        self._places: list[tuple[int, Segment, int]] = []  # position, file, row

    def before(self, position: int) -> Iterator[tuple[int, Segment, int]]:
        """Yield position, file and row of the checkpoints up to a position, the last one first."""
        if self._order is not self._files.order:
            self.refresh()
        count = bisect_right(self._places, position, key=itemgetter(0))
        yield from reversed(self._places[:count])

    def refresh(self) -> None:
        """Look for checkpoints that have been added."""
        is_live = not self._files.is_settled
        for path in sorted(self._files.folder.iterdir()) if self._files.is_in_place else ():
            match = CHECKPOINT_NAME.fullmatch(path.name)
            if match is not None:
                self._look(int(match[1] or 0), path, is_live=is_live)
        self._order = self._files.order
        places: list[tuple[int, Segment, int]] = []
        for rows in self._opened.values():
            intact = np.flatnonzero(rows.intact)
            at = positions_of(self._files, rows.head("step", intact), rows.head("time", intact))
            places += [(int(p), rows, int(row)) for p, row in zip(at, intact, strict=True) if p >= 0]
        self._places = sorted(places, key=itemgetter(0))

    def _look(self, number: int, path: Any, *, is_live: bool) -> None:
        try:
            if number in self._opened:
                self._opened[number].refresh(is_live=is_live)
            else:
                self._opened[number] = self._files.records.rows(path, "checkpoints", number, is_live=is_live)
        except (GradvizError, TypeError, ValueError, LookupError) as error:
            self._notes[f"{path.name}: cannot be read: {str(error).splitlines()[0]}"] = None

    def check(self) -> list[str]:
        """Compare everything with its checksum, and return what is wrong, in words."""
        self.refresh()
        for rows in self._opened.values():
            rows.check_arrays()
        return [*self._notes, *(note for rows in self._opened.values() for note in rows.damage)]

    @staticmethod
    def read(rows: Segment, row: int) -> State | None:
        """Return what one row holds; None if any of it is damaged."""
        state = State({})
        owners: dict[str, Any] = {}
        for (name, part), column in rows.columns.items():
            numbers, there = rows.read(column, np.array([row]))
            if not there[0]:
                return None
            number = numbers[0].item() if column.is_scalar else numbers[0, ...]
            (state.values if part == "value" else owners)[name] = number
        for name, number in owners.items():
            parameter, key = _owner(name, state.values)
            state.kept.setdefault(parameter, {})[key] = number
        return state


def _owner(name: str, parameters: Mapping[str, Any]) -> tuple[str, str]:
    """Split ``w.velocity`` into the parameter and what is kept of it; the longest name of a parameter counts."""
    dots = [i for i, character in enumerate(name) if character == "."]
    at = next((i for i in reversed(dots) if name[:i] in parameters), 0)
    return name[:at], name[at + 1 :]


class Updates:
    """By which rule the parameters change after every step, as ``events.jsonl`` tells."""

    def __init__(self, files: RunFiles) -> None:
        self._files = files
        self._count = -1
        self._order: np.ndarray | None = None
        self._told: list[tuple[int, dict[str, Any]]] = []  # from which position on, and the event
        self._rules: dict[str, list[tuple[int, int, dict[str, Any]]]] = {}  # by kind; position, place, event

    def after(self, position: int) -> tuple[list[Rule], str]:
        """Return the rules that may hold for the update after a position, the likeliest first, or why there are none.

        The last rule told counts; one of the other kind may still hold if that one says nothing.
        """
        found, why = self.told(position)
        return [rule_of(event) for event in found], why

    def told(self, position: int) -> tuple[list[dict[str, Any]], str]:
        """Return the events that tell of these rules, or why there are none."""
        self._refresh()
        latest = [_last_until(rules, position) for rules in self._rules.values()]
        found = sorted((place, event) for rules in latest for _, place, event in rules)
        if found:
            return [event for _, event in reversed(found)], ""
        texts = [str(event.get("text")) for _, event in _last_until(self._told, position)]
        return [], texts[0] if texts else "no optimizer is known that made it"

    def _refresh(self) -> None:
        events, order = self._files.event_lines.events, self._files.order
        if self._count == len(events) and self._order is order:
            return
        self._count, self._order = len(events), order
        told = [event for event in events if event.get("kind") in RULES]
        steps = np.array([_integer(event.get("step")) for event in told], np.int64)
        times = np.array([_float(event.get("time")) for event in told])
        at = positions_of(self._files, steps, times)
        at = np.where(at < 0, np.searchsorted(self._files.head("time"), times) - 1, at)  # its row was lost
        placed = [(max(int(p), 0), event) for p, event in zip(at, told, strict=True)]
        self._told = sorted(placed, key=itemgetter(0))
        rules = [(at, place, event) for place, (at, event) in enumerate(self._told) if _says(event)]
        self._rules = {kind: [rule for rule in rules if rule[2]["kind"] == kind] for kind in RULES}


def _last_until(rules: Sequence[Any], position: int) -> Sequence[Any]:
    """Return the last of what is sorted by position that does not lie behind this one, if any does not."""
    count = bisect_right(rules, position, key=itemgetter(0))
    return rules[max(count - 1, 0) : count]


def _says(event: Mapping[str, Any]) -> bool:
    """Tell whether an event names a rule, and not only that there is none."""
    return bool(event.get("optimizer")) if event["kind"] == "optimizer" else bool(event.get("rates"))


def rule_of(event: Mapping[str, Any]) -> Rule:
    """Return the function that makes the update an event tells of."""
    if event["kind"] == "update":
        return lambda values, grads, kept: (_subtracted(event["rates"], values, grads), kept)

    def stepped(values: Numbers, grads: Numbers, kept: dict[str, Numbers]) -> tuple[Numbers, dict[str, Numbers]]:
        from gradviz.sources.updates import updated

        return updated(event["optimizer"], event.get("options") or {}, kept, values, grads)

    return stepped


def _subtracted(rates: Mapping[str, Any], values: Numbers, grads: Numbers) -> Numbers:
    """Return ``old - rate * gradient`` for every parameter that has a rate."""
    moved = dict(values)
    for name, rate in rates.items():
        if isinstance(rate, int | float) and values.get(name) is not None and grads.get(name) is not None:
            new = values[name] - rate * grads[name]
            moved[name] = new if isinstance(new, float) else np.asarray(new, getattr(values[name], "dtype", None))
    return moved


def positions_of(files: RunFiles, steps: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return at which position each step number stands; of several that nearest in time, -1 for none."""
    known, moments = files.head("step"), files.head("time")
    order = np.argsort(known, kind="stable")
    first, last = (np.searchsorted(known[order], steps, side) for side in ("left", "right"))
    found = np.full(len(steps), -1, np.int64)
    found[last - first == 1] = order[first[last - first == 1]]
    for i in np.flatnonzero(last - first > 1):
        among = order[first[i] : last[i]]
        found[i] = among[np.argmin(np.abs(moments[among] - times[i]))]
    return found


def _integer(value: Any) -> int:
    return value if type(value) is int and abs(value) < 2**63 else -(2**63)


def _float(value: Any) -> float:
    return value if isinstance(value, float) else 0.0
