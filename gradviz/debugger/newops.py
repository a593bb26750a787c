"""What `debugging` can stop for besides NaN and infinity: an op that was just made, told by itself and what it holds.

It has no place in a graph yet, and no name but that of the variable it is about to be assigned to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

import numpy as np

from gradviz.debugger.conditions import LINE, RISING, condition, in_scope
from gradviz.debugger.expressions import Expression
from gradviz.debugger.positions import FORWARD, TEXT
from gradviz.debugger.session import LiveDebugger
from gradviz.debugger.variables import Variables, part_of, user_frame
from gradviz.engine.elements import values_used
from gradviz.engine.leaves import value_of
from gradviz.engine.tensor import Tensor
from gradviz.errors import GradvizTypeError, GradvizValueError, UnknownNameError
from gradviz.sources import own

__all__ = ["Event", "NewOp", "Wanted", "read"]

OF_HISTORY = frozenset({"update", "param", "iteration", "phase", "op"})
Test = Callable[["Event"], bool]


class Event:
    """The forward event of an op that was just computed: what `Step` tells of it that can be known already.

    ``number`` counts the ops of the block.
    """

    phase = FORWARD
    grad = None
    contributions: tuple[Any, ...] = ()
    is_seed = False
    tensor: Any  # what the program holds
    op: str
    scope: tuple[str, ...]
    source: Any
    value: Any  # what it computed
    node: Any  # its name, op, scope, shape and source line, as a `Node`

    def __init__(self, number: int) -> None:
        self.number = self.index = number

    def operands(self) -> list[Any]:
        """Return the values it was computed from."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.number}: {self.node.name}, {self.op})"


class NewOp(Event):
    """An op of this package. ``node`` has no inputs: ids are given when the graph is read."""

    def __init__(self, made: Tensor, number: int) -> None:
        super().__init__(number)
        self.tensor = made
        self.op, self.scope = made.op, made.scope

    @property
    def value(self) -> Any:
        """What it computed."""
        return value_of(self.tensor)

    @cached_property
    def source(self) -> Any:
        """The line that made it."""
        return self.tensor.source

    @cached_property
    def node(self) -> Any:
        """Its name, op, scope, shape and source line, as a `Node`."""
        return own.node_made(self.tensor)

    def operands(self) -> list[Any]:
        """Return the values it was computed from."""
        return values_used(self.tensor)


@dataclass(frozen=True)
class Wanted:
    """Something to stop for: at an op if ``op_test`` holds, at an event of a backward pass if ``gradients`` does."""

    text: str
    op_test: Test | None = None
    gradients: Any = None  # a condition of the debugger

    def gradient_test(self, d: LiveDebugger) -> Any:
        """Return the test of one backward pass; None if what it names is not there."""
        try:
            return condition(self.gradients, d).test
        except UnknownNameError:
            return None


def read(wanted: Any) -> Wanted:
    """Return what a text or a function stands for.

    Raises GradvizError for a text that means nothing of a single op or backward pass.

    >>> read("op:log").gradients, read("norm(w.grad) > 10").op_test
    (None, None)
    """
    if callable(wanted):
        return Wanted(getattr(wanted, "__name__", "a function"), lambda event: bool(wanted(event)), wanted)
    if not isinstance(wanted, str) or not wanted.strip():
        raise GradvizTypeError(f"break_on has {str(wanted)[:80]!r}", hint='"nan", "op:log", "norm(h) > 10", a function')
    text = wanted.strip()
    if RISING.fullmatch(text) or text == "structure" or ("." in text and TEXT.fullmatch(text)):
        raise GradvizValueError(f"{text!r} is about several iterations", hint=f"gradviz.breakpoint(when={text!r})")
    prefix, _, rest = text.partition(":")
    if prefix in PREFIXED:
        return Wanted(text, PREFIXED[prefix](rest))
    if prefix == "zero":
        return Wanted(text, gradients=text) if rest.endswith(".grad") else Wanted(text, _zero(rest))
    if line := LINE.fullmatch(text):
        return Wanted(text, _line(line[1] or "", int(line[2])))
    return _named(text) if not any(c in text for c in "<>=()+ ") else _condition(text)


# -- one kind each ---------------------------------------------------------------------------------


def _op(pattern: str) -> Test:
    return lambda event: fnmatchcase(event.op, pattern)


def _scope(pattern: str) -> Test:
    return lambda event: in_scope(".".join(event.scope), pattern)


def _over(dtype: str) -> Test:
    try:
        limit = float(np.finfo(dtype).max)
    except (TypeError, ValueError):
        raise GradvizValueError(f"{dtype[:40]!r} is no dtype of floats", hint="over:float16") from None

    def is_over(x: Any) -> bool:
        return bool(np.any(np.abs(x) > limit))

    def test(event: Event) -> bool:
        if not is_over(event.value):
            return False
        return not any(map(is_over, event.operands()))

    return test


def _zero(name: str) -> Test:
    return lambda event: event.node.name == name and not np.any(event.value)


def _line(file: str, line: int) -> Test:
    def test(event: Event) -> bool:
        place = event.source
        return place is not None and place.line == line and (not file or f"/{place.file}".endswith(f"/{file}"))

    return test


PREFIXED: dict[str, Callable[[str], Test]] = {"op": _op, "scope": _scope, "over": _over}


def _named(text: str) -> Wanted:
    if text.endswith(".grad"):
        return Wanted(text, gradients=text)

    def test(event: Event) -> bool:
        name = event.node.name
        return fnmatchcase(name, text) or fnmatchcase(".".join((*event.node.scope, name)), text)

    return Wanted(text, test)


def _condition(text: str) -> Wanted:
    """Read an expression: on gradients it is asked of backward passes, else of the ops that it names."""
    wanted = Expression(text)
    if {parts[0] for parts in wanted.names} & OF_HISTORY:
        raise GradvizValueError(f"{text[:200]!r} is about an iteration", hint=f"gradviz.breakpoint(when={text!r})")
    if any(parts[-1] == "grad" for parts in wanted.names):
        return Wanted(text, gradients=text)
    firsts = {parts[0] for parts in wanted.names}

    def test(event: Event) -> bool:
        return event.node.name.split(".")[0] in firsts and wanted.holds(NewNames(event))

    return Wanted(text, test)


class NewNames:
    """What names mean when an op was just computed: the op itself, and the user's variables."""

    def __init__(self, event: Event) -> None:
        self._event = event
        self._variables = Variables.of(user_frame())

    def longest(self, parts: list[str]) -> int:
        """Return how many of the dotted parts name something; what is not there yet counts as no number."""
        name = self._event.node.name.split(".")
        return len(name) if parts[: len(name)] == name else max(1, self._variables.find(parts)[0])

    def look_up(self, name: str, attribute: str, iteration: int | None) -> Any:
        """Return ``value`` or another attribute of a name."""
        if iteration is not None:
            raise UnknownNameError(f"{name}@{iteration}: no iterations are kept here", hint="gradviz.breakpoint")
        found = self._event.tensor if name == self._event.node.name else self._variables.find(name.split("."))[1]
        return None if found is None else part_of(found, attribute)
