"""What an editor adds to a breakpoint: a condition, how often it must be hit, a message in place of a stop."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from gradviz.debugger.breaking import Breakpoint
from gradviz.debugger.conditions import Condition
from gradviz.debugger.dap.arguments import Arguments
from gradviz.debugger.events import Step
from gradviz.debugger.expressions import Expression
from gradviz.debugger.standing import Standing
from gradviz.debugger.telling import shown
from gradviz.errors import GradvizError, GradvizValueError

if TYPE_CHECKING:
    from gradviz.debugger.dap.session import Session

__all__ = ["AtLine", "hit_test", "refine", "refined"]

HITS = re.compile(r"\s*(==|=|>=|<=|>|<|%)?\s*(\d{1,12})\s*")
COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "==": operator.eq,
    "=": operator.eq,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "%": lambda hits, n: hits % n == 0,
}
EXPRESSION = re.compile(r"\{([^{}]*)\}")
GoesOn = Callable[[Standing, Step], bool]


class AtLine:
    """The events of a source line; with ``enters_only`` the first of those that follow each other."""

    def __init__(self, file: str, line: int, *, enters_only: bool) -> None:
        self._place = (file, line)
        self._enters_only = enters_only

    @property
    def condition(self) -> Condition:
        """The condition that stops there."""
        return Condition(":".join(map(str, self._place)), self._is_there)

    def goes_on(self, d: Standing, event: Step) -> bool:
        """Tell whether the event before is on the line as well."""
        return event.number > 0 and self._is_on(d.cursor.steps.at(event.phase, event.number - 1))

    def _is_there(self, d: Standing, event: Step) -> bool:
        if not self._is_on(event):
            return False
        return not (self._enters_only and self.goes_on(d, event))

    def _is_on(self, event: Step) -> bool:
        source = event.node.source
        return source is not None and (source.file, source.line) == self._place


def refined(session: Session, where: Condition, wanted: Arguments, goes_on: GoesOn | None = None) -> Breakpoint:
    """Set a breakpoint with what the client wants of it; raises GradvizError for what is not understood."""
    return refine(session, session.debugger.break_at(where), wanted, goes_on)


def refine(session: Session, made: Breakpoint, wanted: Arguments, goes_on: GoesOn | None = None) -> Breakpoint:
    """Add to a breakpoint what the client wants of it; if that is not understood there is none.

    Where ``goes_on`` tells that an event is of one place with that before it, one stop is enough for both.
    """
    try:
        text, hits, message = (wanted.text(name) for name in ("condition", "hitCondition", "logMessage"))
        if text:
            made.only_if = Expression(text)
        if text or hits or message:
            test = Refined(session, made.where, made.only_if, hit_test(hits), message, goes_on)
            made.where, made.only_if = test.condition, None
    except GradvizError:
        session.debugger.clear(made.number)
        raise
    return made


def hit_test(text: str) -> Callable[[int], bool]:
    """Return the test of how often a breakpoint was hit: ``5`` (the fifth time), ``>= 5``, ``% 5``.

    >>> [n for n in range(1, 10) if hit_test("% 3")(n)], hit_test("2")(3)
    ([3, 6, 9], False)
    """
    if not text.strip():
        return lambda hits: True
    found = HITS.fullmatch(text)
    if not found or (found[1] == "%" and int(found[2]) == 0):
        raise GradvizValueError(f"{text[:80]!r} is no number of hits", hint="5, >= 5, % 5")
    compare, number = COMPARISONS[found[1] or "=="], int(found[2])
    return lambda hits: compare(hits, number)


class Refined:
    """The test of a breakpoint with a condition, a number of hits, and a message to write in place of a stop."""

    def __init__(
        self,
        session: Session,
        where: Condition,
        only_if: Expression | None,
        enough: Callable[[int], bool],
        message: str,
        goes_on: GoesOn | None = None,
    ) -> None:
        self._session = session
        self._goes_on = goes_on
        self._where = where
        self._only_if = only_if
        self._enough = enough
        self._message = message
        self._hits = 0
        self._has_complained = False

    @property
    def condition(self) -> Condition:
        """The condition that is made of it."""
        text = self._where.text + (f" if {self._only_if.text}" if self._only_if else "")
        return Condition(text, self)

    def arm(self, d: Standing) -> None:
        """Begin a run here."""
        self._where.arm(d)

    def __call__(self, d: Standing, event: Step) -> bool:
        if not self._where.test(d, event) or not self._holds(d) or self._held_before(d, event):
            return False
        self._hits += 1
        if not self._enough(self._hits):
            return False
        if self._message:
            self._session.say(f"{EXPRESSION.sub(lambda found: _worked_out(d, found[1]), self._message)}\n")
        return not self._message

    def _held_before(self, d: Standing, event: Step) -> bool:
        """Tell whether the condition held at the event before, if that is of the same place."""
        if self._goes_on is None or not self._goes_on(d, event):
            return False
        here = d.where
        d.cursor.position = here._replace(op=here.op - 1)
        try:
            return self._holds(d)
        finally:
            d.cursor.position = here

    def _holds(self, d: Standing) -> bool:
        """Tell whether the condition holds; one that cannot be worked out does not, and says so once."""
        if self._only_if is None:
            return True
        try:
            return self._only_if.holds(d.names)
        except GradvizError as error:
            if not self._has_complained:
                self._session.say(f"gradviz: the condition of a breakpoint: {error}\n", "stderr")
            self._has_complained = True
            return False


def _worked_out(d: Standing, text: str) -> str:
    try:
        return shown(d.evaluate(text))
    except GradvizError as error:
        return f"({error.message})"
