"""``breakpoint(when=...)``: whether to stop in an iteration, told without its frame where that is possible."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, NamedTuple

from gradviz.debugger.conditions import LINE, RISING, condition
from gradviz.debugger.expressions import Expression
from gradviz.debugger.kept import KeptTimeline
from gradviz.debugger.positions import UPDATE, Position
from gradviz.debugger.session import LiveDebugger
from gradviz.debugger.tensors import grad_of, is_tensor, is_torch, number_of
from gradviz.debugger.variables import Variables, part_of
from gradviz.engine.finiteness import is_finite
from gradviz.errors import GradvizTypeError, UnknownNameError

__all__ = ["Passing", "When", "read"]

OF_EVENTS = frozenset({"op", "param", "phase", "update"})  # words that mean something at an event only


class Passing(NamedTuple):
    """One passing of a place in the program: the Tensor there, its graph by name, the user's frame."""

    root: Any
    number: int
    frame: FrameType
    tensors: Callable[[], Mapping[str, Any]]  # by name, worked out when asked for
    timeline: KeptTimeline


class When:
    """A condition on one iteration. ``needs_history``: it can only be told once the iteration is kept."""

    needs_history = False

    def may_hold(self, passing: Passing) -> bool:
        """Tell whether it holds, or could: then `place` says where."""
        raise NotImplementedError

    def place(self, debugger: LiveDebugger, number: int) -> Position | None:
        """Return the event at which it holds; None if it does not."""
        raise NotImplementedError


def read(when: Any) -> When:
    """Return what a text, or a function of the Tensor, stands for; see `gradviz.debugger.conditions`.

    Raises GradvizError for what means nothing.
    """
    if isinstance(when, str) and when.strip():
        text = when.strip()
        return OfNumbers(text) if _is_expression(text) else OfEvents(text)
    if callable(when):
        return OfFunction(when)
    raise GradvizTypeError(f"when is {str(when)[:80]!r}", hint='when="norm(w.grad) > 10", or a function of the loss')


def _is_expression(text: str) -> bool:
    if RISING.fullmatch(text) or LINE.fullmatch(text) or text.startswith(("op:", "scope:", "zero:", "over:")):
        return False
    return any(c in text for c in "<>=(") and not {parts[0] for parts in Expression(text).names} & OF_EVENTS


class OfFunction(When):
    """A function of the Tensor."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def may_hold(self, passing: Passing) -> bool:
        """Call it."""
        return bool(self._function(passing.root))

    def place(self, debugger: LiveDebugger, number: int) -> Position | None:
        """Return the end of what has been computed."""
        return last_position(debugger, number)


class OfNumbers(When):
    """An expression: worked out from the Tensors themselves, and the user's variables."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._expression = Expression(text)

    def may_hold(self, passing: Passing) -> bool:
        """Work it out."""
        return self._expression.holds(PassingNames(passing))

    def place(self, debugger: LiveDebugger, number: int) -> Position | None:
        """Return the event that makes it true, else the end of what has been computed."""
        test = condition(self.text, debugger).test
        return first_event(debugger, number, test, update=False) or last_position(debugger, number)


class OfEvents(When):
    """What can only be told of events: the frame of the iteration is made, unless nothing can be found in it."""

    needs_history = True

    def __init__(self, text: str) -> None:
        self.text = text

    def may_hold(self, passing: Passing) -> bool:
        """Tell whether there is anything to look for."""
        if self.text not in {"nan", "inf"}:
            return True
        found = passing.tensors().values()
        return not all(is_finite(number_of(t)) and is_finite(grad_of(t)) for t in found)

    def place(self, debugger: LiveDebugger, number: int) -> Position | None:
        """Return the first event that it holds at; a name that this graph has not holds nowhere."""
        debugger.cursor.position = Position(number, "forward", 0)
        try:
            test = condition(self.text, debugger).test
        except UnknownNameError:
            return None
        return first_event(debugger, number, test, update=True)


def first_event(d: LiveDebugger, number: int, test: Any, *, update: bool) -> Position | None:
    """Return the first event of an iteration that a test holds at, or of the update that led to it."""
    for position in _events(d, number, update=update):
        d.cursor.position = position
        if test(d, d.event):
            return position
    return None


def _events(d: LiveDebugger, number: int, *, update: bool) -> Iterator[Position]:
    numbers = list(d.timeline.iterations)
    place = numbers.index(number)
    if update and place:
        before = numbers[place - 1]
        yield from (Position(before, UPDATE, step.number) for step in d.timeline.steps(before).updates)
    yield from (Position(number, step.phase, step.number) for step in d.timeline.steps(number))


def last_position(d: LiveDebugger, number: int) -> Position:
    """Return the event that the program has come to: the last gradient, or before ``backward()`` the result."""
    steps = d.timeline.steps(number)
    timeline = d.timeline
    is_pulled = not isinstance(timeline, KeptTimeline) or timeline.is_pulled(number)
    step = steps[-1] if is_pulled else steps.forward[-1]
    return Position(number, step.phase, step.number)


class PassingNames:
    """What names mean while a place is passed: Tensors of the graph, the user's variables."""

    def __init__(self, passing: Passing) -> None:
        self._passing = passing
        self._variables = Variables(passing.frame.f_locals, passing.frame.f_globals)

    def longest(self, parts: list[str]) -> int:
        """Return how many of the dotted parts name something."""
        if self._held(parts[0]) is not None or parts[0] in {"iteration", "loss"}:
            return 1
        tensors = self._passing.tensors()
        counts = range(len(parts), 0, -1)
        return next((n for n in counts if ".".join(parts[:n]) in tensors), 0) or self._variables.find(parts)[0]

    def look_up(self, name: str, attribute: str, iteration: int | None) -> Any:
        """Return ``value``, ``grad``, ... of a name; of another iteration, if it is kept."""
        if iteration is not None:
            return self._earlier(name, attribute, iteration)
        held = self._held(name)
        if held is not None and not (attribute == "grad" and is_torch(held)):
            return part_of(held, attribute)
        tensors = self._passing.tensors() if name != "iteration" else {}
        if name in tensors:
            return part_of(tensors[name], attribute)
        if name == "loss":
            return part_of(self._passing.root, attribute)
        return self._passing.number if name == "iteration" else part_of(self._variable(name), attribute)

    def _held(self, name: str) -> Any:
        """Return the Tensor that a variable holds, if its node is called after the variable."""
        for variables in (self._variables.local, self._variables.other):
            if name in variables:
                found = variables[name]
                is_own = is_tensor(found) and (is_torch(found) or found.name in {None, name})
                return found if is_own else None
        return None

    def _variable(self, name: str) -> Any:
        return self._variables.find(name.split("."))[1]

    def _earlier(self, name: str, attribute: str, iteration: int) -> Any:
        if iteration == self._passing.number:
            return self.look_up(name, attribute, None)
        debugger = LiveDebugger(self._passing.timeline, self._variables)
        return debugger.names.look_up(name, attribute, iteration)
