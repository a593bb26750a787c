"""Following one number through the history: where it changed last, and where something held first."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradviz.debugger.breaking import Breaking, Breakpoint
from gradviz.debugger.conditions import Condition, holds, read_expression
from gradviz.debugger.events import Step, Steps
from gradviz.debugger.expressions import Expression
from gradviz.debugger.positions import BACKWARD, FORWARD, UPDATE, Position
from gradviz.debugger.standing import Standing, is_replayed
from gradviz.debugger.vectorised import held_in
from gradviz.errors import GradvizError
from gradviz.graphs import Graph
from gradviz.graphs.plain import frozen_number, same_bits

__all__ = ["Change", "Watching"]


@dataclass(frozen=True)
class Change:
    """A number became another one at a position: ``old`` or ``new`` is None where there was none."""

    position: Position
    name: str
    old: Any
    new: Any


class Watching(Breaking):
    """The verbs about one number over time."""

    def watch(self, text: str, by: float = 0.0, *, arriving: bool = False) -> Breakpoint:
        """Stop whenever an expression changes, by more than ``by`` if that is given.

        With ``arriving`` the first number it ever has is a change as well.
        """
        test = _Changed(read_expression(text, self), by, arriving=arriving)
        return self.break_at(Condition(f"watch {text}", test))

    def last(self, text: str) -> Change | None:
        """Return the last change of an expression before here; None if it never changed. The cursor stays."""
        expression = read_expression(text, self)
        series, here = _Series(expression), self.where
        try:
            for iteration in reversed(
                self.timeline.iterations[: bisect_right(self.timeline.iterations, here.iteration)]
            ):
                for place in reversed(list(_changing(self.timeline.steps(iteration), expression))):
                    self.cursor.position = Position(iteration, *place)
                    change = series.change(self) if self.where <= here else None
                    if change is not None and change.old is not None:
                        return change
            return None
        finally:
            self.cursor.position = here

    def first(self, text: str) -> Position | None:
        """Return where a condition held first in the whole history; None if it never did. The cursor stays.

        Where the numbers it speaks of were recorded as columns (the loss, scalar parameters, norms), all
        iterations are compared at once; otherwise they are gone through one by one. Of an iteration that cannot be
        computed again, and of which the columns say that it holds, the last event is returned.
        """
        expression = read_expression(text, self)
        held = held_in(self.timeline, expression)
        numbers = self.timeline.iterations
        candidates = numbers if held is None else (numbers[place] for place in np.flatnonzero(held).tolist())
        told = self._settled if held is None else self._settled_or_recorded
        found = (told(iteration, expression) for iteration in candidates)
        return next((position for position in found if position is not None), None)

    def _settled_or_recorded(self, iteration: int, expression: Expression) -> Position | None:
        """Return where it settled; the end of an iteration of which nothing but the columns is known."""
        steps = self.timeline.steps(iteration)
        if is_replayed(steps.full):
            return self._settled(iteration, expression)
        return Position(iteration, FORWARD, len(steps.full.graph.nodes) - 1)

    def _settled(self, iteration: int, expression: Expression) -> Position | None:
        """Return the first event of an iteration that completes a number of the expression and makes it true."""
        start = self.where
        try:
            for place in _completing(self.timeline.steps(iteration), expression):
                self.cursor.position = Position(iteration, *place)
                if holds(self, expression):
                    return self.where
            return None
        finally:
            self.cursor.position = start


def _completing(steps: Steps, expression: Expression) -> Iterator[tuple[str, int]]:
    """Yield the events of an iteration that complete a number of the expression; all, if it is not one of nodes."""
    ids = _ids(steps.full.graph, expression)
    if ids is None:
        yield from ((step.phase, step.number) for step in steps)
        return
    yield from ((FORWARD, i) for i in ids)
    yield from ((BACKWARD, steps.fold.rank[i]) for i in reversed(ids) if i in steps.fold.rank)


def _changing(steps: Steps, expression: Expression) -> Iterator[tuple[str, int]]:
    """Yield the events of an iteration, in order, that can change the value of an expression."""
    fold, ids = steps.fold, _ids(steps.full.graph, expression)
    if ids is None:
        yield from ((step.phase, step.number) for step in steps)
        return
    yield from ((FORWARD, i) for i in ids)
    senders = {j for i in ids for j in (i, *fold.consumers[i])}
    yield from ((BACKWARD, number) for number in sorted(fold.rank[j] for j in senders if j in fold.rank))
    yield from ((UPDATE, number) for number, i in enumerate(fold.updated) if i in ids)


def _ids(graph: Graph, expression: Expression) -> list[int] | None:
    """Return the nodes that an expression is about; None if it is about something else as well."""
    found = [_id(graph, parts) for parts in expression.names]
    known = sorted({i for i in found if i is not None})
    return known if known and None not in found else None


def _id(graph: Graph, parts: Sequence[str]) -> int | None:
    """Return the node that a dotted name begins with; None if that is another word."""
    names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    found = next((graph.index(name) for name in names if name in graph), None)
    return graph.outputs[-1] if found is None and parts[0] == "loss" and graph.outputs else found


class _Series:
    """An expression over the events of a history. Where it has no number, what it was before still counts."""

    def __init__(self, expression: Expression) -> None:
        self._expression = expression
        self._known: dict[Position, Any] = {}  # of the last places asked about

    def forget(self) -> None:
        """Work everything out again."""
        self._known = {}

    def change(self, d: Standing) -> Change | None:
        """Return what changed where the debugger stands, if anything did; the cursor stays."""
        here, before = d.where, d.cursor.neighbour(-1)
        new = self._at(d, here)
        if new is None:
            if before in self._known:  # carried on, so that nobody has to look for it again
                self._known = {here: self._known[before]}
            return None
        old = None if before is None else self._latest(d, before)
        self._known = {here: new} if before is None else {here: new, before: old}
        return None if _same(old, new) else Change(here, self._expression.text, old, new)

    def _at(self, d: Standing, place: Position) -> Any:
        """Return what it comes to at a place; None if that is nothing there."""
        here = d.where
        d.cursor.position = place
        try:
            return _worked_out(d, self._expression)
        finally:
            d.cursor.position = here

    def _latest(self, d: Standing, place: Position | None) -> Any:
        """Return the last number it had at a place or before it."""
        here = d.where
        try:
            while place is not None:
                d.cursor.position = place
                found = self._known[place] if place in self._known else _worked_out(d, self._expression)
                if found is not None:
                    return found
                place = d.cursor.neighbour(-1)
            return None
        finally:
            d.cursor.position = here


class _Changed:
    """The test of a watch: another value than at the event before. The places are the same either way."""

    def __init__(self, expression: Expression, by: float, *, arriving: bool) -> None:
        self._series = _Series(expression)
        self._by = by
        self._arriving = arriving

    def arm(self, debugger: Standing) -> None:
        """Work out anew what it was."""
        self._series.forget()

    def __call__(self, debugger: Standing, event: Step) -> bool:
        change = self._series.change(debugger)
        if change is None or change.old is None:
            return change is not None and self._arriving
        return not self._by or _apart(change.old, change.new) > self._by


def _apart(old: Any, new: Any) -> float:
    """Return the largest difference; what cannot be subtracted, and what is not finite, is infinitely far off."""
    if np.shape(old) != np.shape(new) or not (_is_number(old) and _is_number(new)):
        return np.inf
    with np.errstate(all="ignore"):
        difference = np.abs(np.subtract(new, old, dtype=complex))
    return float(np.max(difference, initial=0.0)) if np.all(np.isfinite(difference)) else np.inf


def _worked_out(debugger: Standing, expression: Expression) -> Any:
    try:
        return expression(debugger.names)
    except GradvizError:  # the name is of an iteration with another graph
        return None


def _same(old: Any, new: Any) -> bool:
    if old is None or new is None:
        return old is new
    if _is_number(old) and _is_number(new):
        return same_bits(frozen_number(np.asarray(old)), frozen_number(np.asarray(new)))
    return bool(np.shape(old) == np.shape(new) and np.all(np.equal(old, new, dtype=object)))


def _is_number(x: Any) -> bool:
    return np.asarray(x).dtype.kind in "biufc"
