"""Following one number through the history: where it changed last, and where something held first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradviz.debugger.breaking import Breaking, Breakpoint
from gradviz.debugger.conditions import Condition
from gradviz.debugger.events import Step, Steps
from gradviz.debugger.expressions import Expression
from gradviz.debugger.moving import Moving
from gradviz.debugger.positions import BACKWARD, FORWARD, Position
from gradviz.debugger.standing import Standing
from gradviz.debugger.vectorised import held_in
from gradviz.errors import GradvizError
from gradviz.graphs.plain import same_bits

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
        return self.break_at(Condition(f"watch {text}", _Changed(self, Expression(text), by, arriving=arriving)))

    def last(self, text: str) -> Change | None:
        """Return the last change of an expression before here; None if it never changed. The cursor stays."""
        expression = Expression(text)
        start = self.where
        try:
            return next(_changes_back(self, expression), None)
        finally:
            self.cursor.position = start

    def first(self, text: str) -> Position | None:
        """Return where a condition held first in the whole history; None if it never did. The cursor stays.

        Where the numbers it speaks of were recorded as columns (the loss, scalar parameters, norms), all
        iterations are compared at once; otherwise they are gone through one by one.
        """
        expression = Expression(text)
        held = held_in(self.timeline, expression)
        if held is not None:
            places = np.flatnonzero(held)
            place = int(self.timeline.iterations[places[0]]) if len(places) else None
            return None if place is None else self._settled(place, expression)
        start = self.where
        try:
            for iteration in self.timeline.iterations:
                found = self._settled(iteration, expression)
                if found is not None:
                    return found
            return None
        finally:
            self.cursor.position = start

    def _settled(self, iteration: int, expression: Expression) -> Position | None:
        """Return the first event of an iteration that completes a number of the expression and makes it true."""
        start = self.where
        try:
            for place in _completing(self.timeline.steps(iteration), expression):
                self.cursor.position = Position(iteration, *place)
                if expression.holds(self.names):
                    return self.where
            return None
        finally:
            self.cursor.position = start


def _completing(steps: Steps, expression: Expression) -> Iterator[tuple[str, int]]:
    """Yield the events of an iteration that complete a number of the expression."""
    graph = steps.full.graph
    parts = [".".join(reference) for reference in expression.names]
    about = {part.removesuffix(".grad") for part in parts} | set(parts)
    ids = [node.id for node in graph.nodes if node.name in about or ("loss" in about and node.id in graph.outputs)]
    yield from ((FORWARD, i) for i in ids)
    yield from ((BACKWARD, steps.fold.rank[i]) for i in reversed(ids) if i in steps.fold.rank)


class _Changed:
    """The test of a watch: another value than at the event before."""

    def __init__(self, debugger: Standing, expression: Expression, by: float, *, arriving: bool) -> None:
        self._expression = expression
        self._by = by
        self._arriving = arriving
        self._old = _worked_out(debugger, expression)

    def arm(self, debugger: Standing) -> None:
        """Wait for a change from what it is now; what is not there yet leaves what was known."""
        now = _worked_out(debugger, self._expression)
        self._old = self._old if now is None else now

    def __call__(self, debugger: Standing, event: Step) -> bool:
        new = _worked_out(debugger, self._expression)
        old = self._old
        if new is None or _same(old, new):
            return False
        self._old = new
        if old is None:
            return self._arriving
        if np.shape(old) != np.shape(new):
            return True
        return bool(np.any(np.abs(np.subtract(new, old)) > self._by) or not np.all(np.isfinite(new)))


def _worked_out(debugger: Standing, expression: Expression) -> Any:
    try:
        return expression(debugger.names)
    except GradvizError:  # the name is of an iteration with another graph
        return None


def _same(old: Any, new: Any) -> bool:
    if old is None or new is None:
        return old is new
    return same_bits(_number(old), _number(new))


def _number(x: Any) -> Any:
    array = np.asarray(x, float)
    return float(array) if array.shape == () else array


def _changes_back(debugger: Moving, expression: Expression) -> Iterator[Change]:
    """Yield the changes of an expression, the latest first; numbers that are not there yet are passed over."""
    new, at = _worked_out(debugger, expression), debugger.where
    while not debugger.at_start:
        debugger.back()
        old = _worked_out(debugger, expression)
        if old is None or _same(old, new):
            at = debugger.where if old is not None else at
            new = old if new is None else new
            continue
        if new is not None:
            yield Change(at, expression.text, old, new)
        new, at = old, debugger.where
