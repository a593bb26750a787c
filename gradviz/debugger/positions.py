"""Where a debugger stands: an iteration, a phase, and the number of an event within it."""

from __future__ import annotations

import re
from typing import NamedTuple

from gradviz.errors import GradvizValueError

__all__ = ["BACKWARD", "FORWARD", "LETTERS", "PHASES", "UPDATE", "Position"]

FORWARD, BACKWARD, UPDATE = PHASES = ("forward", "backward", "update")
LETTERS = dict(zip("fbu", PHASES, strict=True))
TEXT = re.compile(r"(?:(-?\d{1,18})\.)?([fbu])(?:\.(\d{1,18}))?|(-?\d{1,18})", re.ASCII)


class Position(NamedTuple):
    """A place in the history of a training: event ``op`` of this phase of this iteration has just happened.

    Positions sort in the order of events, and ``str`` gives the text that `Position.parse` reads.

    >>> str(Position(17, "backward", 3)), Position.parse("17.b.3") > Position.parse("17.f.200")
    ('17.b.3', True)
    """

    iteration: int
    phase: str
    op: int

    def __str__(self) -> str:
        return f"{self.iteration}.{self.phase[:1]}.{self.op}"

    def __lt__(self, other: tuple[object, ...]) -> bool:
        return isinstance(other, Position) and self.order < other.order

    def __le__(self, other: tuple[object, ...]) -> bool:
        return isinstance(other, Position) and self.order <= other.order

    def __gt__(self, other: tuple[object, ...]) -> bool:
        return isinstance(other, Position) and self.order > other.order

    def __ge__(self, other: tuple[object, ...]) -> bool:
        return isinstance(other, Position) and self.order >= other.order

    @property
    def order(self) -> tuple[int, int, int]:
        """What positions are sorted by."""
        return self.iteration, PHASES.index(self.phase), self.op

    @classmethod
    def parse(cls, text: str, iteration: int = 0) -> Position:
        """Read ``17.b.3``, ``b.3`` (of the iteration given), ``17.b`` or ``17`` (the first event of it).

        Raises GradvizValueError for anything else.

        >>> Position.parse("b.3", 5), Position.parse("17")
        (Position(iteration=5, phase='backward', op=3), Position(iteration=17, phase='forward', op=0))
        """
        found = TEXT.fullmatch(text.strip())
        if not found:
            raise GradvizValueError(
                f"{text[:80]!r} is no position", hint="write 17.b.3: iteration, phase (f, b or u), number of the op"
            )
        if found[4]:
            return cls(int(found[4]), FORWARD, 0)
        return cls(int(found[1] or iteration), LETTERS[found[2]], int(found[3] or 0))
