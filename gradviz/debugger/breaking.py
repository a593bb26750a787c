"""Breakpoints, and running until one of them is hit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gradviz.debugger.conditions import Condition, condition, holds, read_expression
from gradviz.debugger.events import Step
from gradviz.debugger.expressions import Expression
from gradviz.debugger.moving import Moving
from gradviz.debugger.positions import Position
from gradviz.debugger.timeline import Timeline
from gradviz.errors import UnknownNameError

__all__ = ["Breaking", "Breakpoint", "Stop", "listed"]


@dataclass(eq=False)
class Breakpoint:
    """A place to stop: numbered from 1 as in pdb; ``only_if`` must hold as well, ``ignore`` hits are let pass."""

    number: int
    where: Condition
    only_if: Expression | None = None
    is_temporary: bool = False
    is_enabled: bool = True
    ignore: int = 0
    hits: int = 0
    commands: list[str] = field(default_factory=list)

    def is_hit(self, debugger: Moving, event: Step) -> bool:
        """Count a hit and tell whether to stop for it."""
        if not self.is_enabled or not self.where.test(debugger, event):
            return False
        if self.only_if is not None and not holds(debugger, self.only_if):
            return False
        self.hits += 1
        if self.ignore:
            self.ignore -= 1
            return False
        return True

    def __str__(self) -> str:
        where = self.where.text
        kind = f"watchpoint {self.number} on" if where.startswith("watch ") else f"breakpoint {self.number} at"
        title = f"{'temporary ' if self.is_temporary else ''}{kind} {where.removeprefix('watch ')}"
        extra = [f"if {self.only_if.text}" if self.only_if else "", "" if self.is_enabled else "disabled"]
        extra += [f"ignoring {self.ignore} more" if self.ignore else "", _often(self.hits)]
        return ", ".join(filter(None, (title, *extra)))


def _often(hits: int) -> str:
    return f"hit {hits} times" if hits > 1 else "hit once" if hits else ""


@dataclass(frozen=True)
class Stop:
    """Why running stopped: at a breakpoint, where ``until`` held, or at an end of the history."""

    position: Position
    reason: str
    breakpoint: Breakpoint | None = None
    is_end: bool = False


class Breaking(Moving):
    """The verbs about breakpoints."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(timeline)
        self.breakpoints: dict[int, Breakpoint] = {}
        self.stop: Stop | None = None

    def break_at(self, where: Any, only_if: str | None = None, *, temporary: bool = False) -> Breakpoint:
        """Set a breakpoint: at a node, an op, a line, a condition, or wherever a function of the event is true.

        See `gradviz.debugger.conditions` for what ``where`` can be.
        """
        number = max(self.breakpoints, default=0) + 1
        test = None if only_if is None else read_expression(only_if, self)
        made = Breakpoint(number, condition(where, self), test, temporary)
        self.breakpoints[number] = made
        return made

    def breakpoint(self, number: int) -> Breakpoint:
        """Return a breakpoint by its number."""
        if number not in self.breakpoints:
            raise UnknownNameError.among("breakpoint", number, map(str, self.breakpoints))
        return self.breakpoints[number]

    def clear(self, number: int | None = None) -> None:
        """Delete a breakpoint, or all of them."""
        if number is None:
            self.breakpoints.clear()
        else:
            del self.breakpoints[self.breakpoint(number).number]

    def run(self, until: Any = None) -> Position:
        """Go on until a breakpoint is hit or ``until`` holds, else to the end; ``self.stop`` says which."""
        return self._run(until, 1)

    def run_back(self, until: Any = None) -> Position:
        """Go back until a breakpoint is hit or ``until`` holds, else to the start; ``self.stop`` says which."""
        return self._run(until, -1)

    def _run(self, until: Any, direction: int) -> Position:
        wanted = None if until is None else condition(until, self)
        for armed in [*(b.where for b in self.breakpoints.values()), *([wanted] if wanted else [])]:
            armed.arm(self)
        end = f"the {'end' if direction > 0 else 'start'} of the history"
        reason, hits = end, []
        while reason is end and (there := self.cursor.neighbour(direction)) is not None:
            self.cursor.position = there
            hits = self._hits(self.event)
            if hits:
                reason = str(hits[0])
            elif wanted is not None and wanted.test(self, self.event):
                reason = f"until {wanted.text}"
        for hit in hits:
            if hit.is_temporary:
                del self.breakpoints[hit.number]
        self.stop = Stop(self.where, reason, hits[0] if hits else None, reason is end)
        return self.where

    def _hits(self, event: Step) -> list[Breakpoint]:
        return [b for b in self.breakpoints.values() if b.is_hit(self, event)]


def listed(breakpoints: Sequence[Breakpoint]) -> str:
    """Return the breakpoints as lines of text."""
    return "\n".join(map(str, breakpoints)) or "no breakpoints"
