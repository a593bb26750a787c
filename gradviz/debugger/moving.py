"""Moving through the events of a history: step, next, finish, continue, and all of them backwards."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Any

from gradviz.debugger.events import Step
from gradviz.debugger.positions import FORWARD, LETTERS, Position
from gradviz.debugger.standing import Standing
from gradviz.errors import GradvizTypeError, GradvizValueError, UnknownNameError

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
        self.cursor.position = self.cursor.ahead(n)
        return self.where

    def back(self, n: int = 1) -> Position:
        """Go back by ``n`` events: `step` reversed, exactly."""
        return self.step(-n)

    def next(self) -> Position:
        """Go on to the next source line or module: what a line or an inner scope does counts as one."""
        return self._go_until(_Line(self.event).is_left, 1, within_phase=True)

    def next_back(self) -> Position:
        """Go back to the first event of the previous source line: `next` reversed, within a phase and a scope."""
        start = self.where
        self._go_until(_Line(self.event).is_left, -1, within_phase=True)
        if self.where != start:
            self._begin_line()
        return self.where

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
        now = self.where
        if to is None:
            name = phase or ("f" if it is not None else now.phase)
            to = Position(now.iteration if it is None else it, phase_name(name), op)
        elif isinstance(to, str):
            to = Position.parse(to, now.iteration)
        elif not isinstance(to, Position):
            raise GradvizTypeError(f"{str(to)[:80]!r} is no position", hint='seek("17.b.3"), seek(it=17)')
        self.timeline.steps(to.iteration).at(phase_name(to.phase), to.op)
        self.cursor.position = to
        return to

    def it(self, iteration: int | str) -> Position:
        """Go to the same phase of another iteration: a number, or ``"+1"``, ``"-10"`` from here."""
        now, target = self.where, self._iteration(iteration)
        known = self.timeline.iterations
        place = bisect_left(known, target)
        if place == len(known) or known[place] != target:
            nearest = known[min(place, len(known) - 1)]
            raise UnknownNameError(
                f"there is no iteration {target}", hint=f"from {known[0]} to {known[-1]}; the next one is {nearest}"
            )
        count = len(self.timeline.steps(target).fold.order(now.phase))
        return self.seek(Position(target, now.phase, min(now.op, count - 1)) if count else Position(target, FORWARD, 0))

    def _iteration(self, given: int | str) -> int:
        """Return the number of an iteration that is given as such, or from here."""
        try:
            number = int(given)
        except (TypeError, ValueError) as error:
            hint = 'it(17), it("+1"), it("-10")'
            raise GradvizValueError(f"{str(given)[:80]!r} is no iteration", hint=hint) from error
        return self.where.iteration + number if isinstance(given, str) and given.strip()[:1] in {"+", "-"} else number

    def phase(self, name: str) -> Position:
        """Go to the first event of a phase of this iteration: ``f``, ``b`` or ``u``, or the whole word."""
        return self.seek(Position(self.cursor.position.iteration, phase_name(name), 0))

    def __iter__(self) -> Iterator[Step]:
        """Go through every event from here on; the cursor goes along."""
        yield self.event
        while not self.at_end:
            self.step()
            yield self.event

    def _begin_line(self) -> None:
        """Go back to the first event of the line."""
        first, line = self.where, _Line(self.event)
        here = first
        while (there := self.cursor.neighbour(-1)) is not None and there[:2] == first[:2]:
            self.cursor.position = there
            if line.is_left(self.event):
                break
            here = there if line.has(self.event) else here
        self.cursor.position = here

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


class _Line:
    """The source line of an event, in its scope; what inner scopes do in it is a part of it, and so are constants."""

    def __init__(self, event: Step) -> None:
        self._node = event.node

    def has(self, event: Step) -> bool:
        """Tell whether an event is of the line itself."""
        node, mine = event.node, self._node
        return node.scope == mine.scope and node.source is not None and str(node.source) == str(mine.source)

    def is_left(self, event: Step) -> bool:
        """Tell whether an event is of another line."""
        node, scope = event.node, self._node.scope
        is_inner = len(node.scope) > len(scope) and node.scope[: len(scope)] == scope
        is_number = node.kind == "const" and node.source is None
        return not (self.has(event) or is_inner or is_number)


def _leaves_scope(start: Step) -> Wanted:
    scope = start.node.scope
    return lambda event: bool(scope) and event.node.scope[: len(scope)] != scope
