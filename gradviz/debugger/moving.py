"""Moving through the events of a history: step, next, finish, continue, and all of them backwards."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Any

from gradviz.debugger.events import Step
from gradviz.debugger.positions import LETTERS, PHASES, Position
from gradviz.debugger.standing import Standing
from gradviz.errors import GradvizValueError, UnknownNameError

__all__ = ["Moving"]

Wanted = Callable[[Step], bool]


class Moving(Standing):
    """The verbs that move the cursor. Each returns the `Position` it arrives at; at an end it stays there."""

    @property
    def at_end(self) -> bool:
        """Whether the history ends here."""
        return self.cursor.neighbour(1) is None

    @property
    def at_start(self) -> bool:
        """Whether the history begins here."""
        return self.cursor.neighbour(-1) is None

    def step(self, n: int = 1) -> Position:
        """Go on by ``n`` events, into the next phase and iteration where one ends."""
        return self._go(n, 1)

    def back(self, n: int = 1) -> Position:
        """Go back by ``n`` events: `step` reversed, exactly."""
        return self._go(n, -1)

    def next(self) -> Position:
        """Go on to the next source line or module: what a line or an inner scope does counts as one."""
        return self._go_until(_leaves_line(self.event), 1, within_phase=True)

    def next_back(self) -> Position:
        """Go back to the previous source line or module: `next` reversed."""
        return self._go_until(_leaves_line(self.event), -1, within_phase=True)

    def finish(self) -> Position:
        """Go on until the scope is left; outside of every scope, until the phase ends."""
        return self._go_until(_leaves_scope(self.event), 1, within_phase=True)

    def finish_back(self) -> Position:
        """Go back to what came before the scope; outside of every scope, before the phase."""
        return self._go_until(_leaves_scope(self.event), -1, within_phase=True)

    def seek(
        self, to: str | Position | None = None, *, it: int | None = None, phase: str | None = None, op: int = 0
    ) -> Position:
        """Go to a position: ``"17.b.3"``, ``seek(it=17, phase="b")``. It takes no time whatever lies between.

        Raises UnknownNameError for an iteration that was not recorded, GradvizIndexError for an event it has not.
        """
        now = self.cursor.position
        if to is None:
            to = Position(
                now.iteration if it is None else it, phase_name(phase or ("f" if it is not None else now.phase)), op
            )
        elif isinstance(to, str):
            to = Position.parse(to, now.iteration)
        steps = self.cursor.timeline.steps(to.iteration)
        steps.at(to.phase, to.op)
        self.cursor.position = to
        return to

    def it(self, iteration: int | str) -> Position:
        """Go to the same phase of another iteration: a number, or ``"+1"``, ``"-10"`` from here."""
        now = self.cursor.position
        target = now.iteration + int(iteration) if str(iteration)[:1] in {"+", "-"} else int(iteration)
        if isinstance(iteration, int):
            target = iteration
        known = self.cursor.timeline.iterations
        if target not in self.cursor.timeline.iterations:
            nearest = known[min(bisect_right(known, target), len(known) - 1)]
            raise UnknownNameError(
                f"there is no iteration {target}", hint=f"from {known[0]} to {known[-1]}; the next one is {nearest}"
            )
        order = self.cursor.timeline.steps(target).fold.order(now.phase)
        phase = now.phase if len(order) else PHASES[0]
        op = min(now.op, max(0, len(order) - 1)) if len(order) else 0
        return self.seek(Position(target, phase, op))

    def phase(self, name: str) -> Position:
        """Go to the first event of a phase of this iteration: ``f``, ``b`` or ``u``, or the whole word."""
        return self.seek(Position(self.cursor.position.iteration, phase_name(name), 0))

    def __iter__(self) -> Iterator[Step]:
        """Go through every event from here on; the cursor goes along."""
        yield self.event
        while not self.at_end:
            self.step()
            yield self.event

    def _go(self, n: int, direction: int) -> Position:
        if n < 0:
            return self._go(-n, -direction)
        for _ in range(n):
            there = self.cursor.neighbour(direction)
            if there is None:
                break
            self.cursor.position = there
        return self.cursor.position

    def _go_until(self, wanted: Wanted, direction: int, *, within_phase: bool = False) -> Position:
        """Go until an event is wanted; with ``within_phase`` the first event of another phase always is."""
        start = self.cursor.position
        while (there := self.cursor.neighbour(direction)) is not None:
            self.cursor.position = there
            left = (there.iteration, there.phase) != (start.iteration, start.phase)
            if (within_phase and left) or wanted(self.event):
                break
        return self.cursor.position


def phase_name(text: Any) -> str:
    """Return the whole word for a phase.

    >>> phase_name("b"), phase_name("update")
    ('backward', 'update')
    """
    found = LETTERS.get(str(text)[:1])
    if found is None or not found.startswith(str(text)):
        raise GradvizValueError(f"{str(text)[:80]!r} is no phase", hint="f (forward), b (backward) or u (update)")
    return found


def _leaves_line(start: Step) -> Wanted:
    """Return whether an event is of another line, and not of a scope within that of ``start``."""
    scope, line = start.node.scope, str(start.node.source)

    def wanted(event: Step) -> bool:
        deeper = len(event.node.scope) > len(scope) and event.node.scope[: len(scope)] == scope
        return not deeper and (str(event.node.source) != line or event.node.source is None)

    return wanted


def _leaves_scope(start: Step) -> Wanted:
    scope = start.node.scope
    return lambda event: bool(scope) and event.node.scope[: len(scope)] != scope
