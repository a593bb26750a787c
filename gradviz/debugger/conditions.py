"""Where to stop: what stands after ``b`` and ``until``, and Python functions that do the same.

================================ ==============================================================
``h1``, ``enc.*.W``              an event of a node, by name (with its scope before it, or not)
``op:log``                       of an op
``scope:enc.*``                  of a scope and all within it
``file.py:12``, ``:12``          of a line of the source
``17.b.3``, ``b.3``              at a position
``nan``, ``inf``                 where such a number is born of others that are not
``zero:X.grad``                  of a number that is zero in every element
``over:float16``                 of a number that this dtype cannot hold
``structure``                    at the start of an iteration whose graph is another one
``loss up 5``                    when the loss has risen five times in a row
``norm(X.grad) > 10``            of X, when this holds; see `gradviz.debugger.expressions`
``ratio(update / param) > 0.1``  of a parameter, when this holds for its update
================================ ==============================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.debugger.events import Step
from gradviz.debugger.expressions import ATTRIBUTES, Expression
from gradviz.debugger.newborn import is_born, numbers_of
from gradviz.debugger.positions import BACKWARD, FORWARD, TEXT, UPDATE, Position
from gradviz.errors import GradvizTypeError, GradvizValueError, UnknownNameError

if TYPE_CHECKING:
    from gradviz.debugger.standing import Standing

__all__ = ["Condition", "condition", "numbers_of"]

Test = Callable[["Standing", Step], bool]
LINE = re.compile(r"([^:]*\.py)?:(\d+)")
RISING = re.compile(r"loss up (\d+)")


class Condition:
    """Something to stop for: its text, and the test that is made of every event."""

    def __init__(self, text: str, test: Test) -> None:
        self.text = text
        self.test = test

    def arm(self, debugger: Standing) -> None:
        """Begin a run here: what waits for a change waits for one from what is now."""
        arm = getattr(self.test, "arm", None)
        if arm is not None:
            arm(debugger)

    def __repr__(self) -> str:
        return f"Condition({self.text!r})"


def condition(wanted: Any, debugger: Standing) -> Condition:
    """Return the condition that a text, a Position or a function of one event stands for.

    Raises GradvizError for a text that means nothing here.
    """
    if isinstance(wanted, Condition):
        return wanted
    if isinstance(wanted, Position):
        return Condition(str(wanted), lambda d, event: d.where == wanted)
    if callable(wanted):
        return Condition(getattr(wanted, "__name__", "a function"), lambda d, event: bool(wanted(event)))
    if not isinstance(wanted, str) or not wanted.strip():
        raise GradvizTypeError(
            f"{str(wanted)[:80]!r} says nothing to stop for", hint="a node, op:log, nan, norm(X.grad) > 10"
        )
    text = wanted.strip()
    for reader in READERS:
        test = reader(text, debugger)
        if test is not None:
            return Condition(text, test)
    raise GradvizValueError(f"{text[:200]!r} is nothing to stop for")


# -- readers: each returns a test, or None for a text that is not its own


def _fixed(text: str, debugger: Standing) -> Test | None:
    found: Test | None = {"nan": _is_nan, "inf": _is_inf, "structure": _is_new_structure}.get(text)
    return found


def _position(text: str, debugger: Standing) -> Test | None:
    if not TEXT.fullmatch(text) or "." not in text:
        return None
    place = Position.parse(text)
    if re.match(r"-?\d", text):
        return lambda d, event: d.where == place
    return lambda d, event: (d.where.phase, d.where.op) == (place.phase, place.op)


def _line(text: str, debugger: Standing) -> Test | None:
    found = LINE.fullmatch(text)
    if not found:
        return None
    file, line = found[1] or "", int(found[2])

    def test(d: Standing, event: Step) -> bool:
        source = event.node.source
        return source is not None and source.line == line and (not file or f"/{source.file}".endswith(f"/{file}"))

    return test


def _prefixed(text: str, debugger: Standing) -> Test | None:
    prefix, _, rest = text.partition(":")
    if prefix == "op":
        return lambda d, event: fnmatchcase(event.node.op, rest)
    if prefix == "scope":
        return lambda d, event: in_scope(".".join(event.node.scope), rest)
    if prefix == "zero":
        node, part = _split(rest)
        return lambda d, event: _is_about(event, node, part) and not np.any(_number(event))
    if prefix == "over":
        limit = _largest(rest)
        return lambda d, event: any(bool(np.any(np.abs(x) > limit)) for x in numbers_of(event))
    return None


def _rising(text: str, debugger: Standing) -> Test | None:
    found = RISING.fullmatch(text)
    return None if not found else lambda d, event: _is_result(event) and _has_risen(d, int(found[1]))


def _node(text: str, debugger: Standing) -> Test | None:
    """Read the name of a node; a glob always is one."""
    if any(c in text for c in "<>=()+ ") and text not in debugger.graph:
        return None

    def matches(event: Step) -> bool:
        return fnmatchcase(event.node.name, text) or fnmatchcase(full_name(event), text)

    known = any(matches(step) for step in debugger.cursor.steps.forward)
    if not known and not any(c in text for c in "*?["):
        node, part = _split(text)
        if node in debugger.graph and part == "grad":
            return lambda d, event: _is_about(event, node, part)
        names = [node.name for node in debugger.graph][:10_000]
        raise UnknownNameError.among("node", text, names)
    return lambda d, event: matches(event)


def _expression(text: str, debugger: Standing) -> Test | None:
    wanted = Expression(text)
    about = [_split(".".join(parts)) for parts in wanted.names]
    nodes = {(name, part) for name, part in about if name in debugger.graph}
    if any(name in {"update", "param"} for name, _ in about):
        return lambda d, event: event.phase == UPDATE and wanted.holds(d.names)
    if not nodes:
        return _Edge(wanted)
    return lambda d, event: any(_is_about(event, *node) for node in nodes) and wanted.holds(d.names)


READERS = (_fixed, _position, _line, _prefixed, _rising, _node, _expression)


class _Edge:
    """A condition on no node in particular: it stops when it begins to hold, not as long as it does."""

    def __init__(self, wanted: Expression) -> None:
        self._wanted = wanted
        self._held = False

    def arm(self, d: Standing) -> None:
        """Take what holds now for known."""
        self._held = self._wanted.holds(d.names)

    def __call__(self, d: Standing, event: Step) -> bool:
        before, self._held = self._held, self._wanted.holds(d.names)
        return self._held and not before


# -- what is asked of events


def full_name(event: Step) -> str:
    """Return the name of the node with its scope before it."""
    return ".".join((*event.node.scope, event.node.name))


def in_scope(scope: str, pattern: str) -> bool:
    """Tell whether a dotted scope matches, or lies in one that does.

    >>> in_scope("enc.layer1", "enc"), in_scope("dec", "enc.*")
    (True, False)
    """
    parts = scope.split(".") if scope else []
    return any(fnmatchcase(".".join(parts[:i]), pattern) for i in range(1, len(parts) + 1))


def _is_nan(d: Standing, event: Step) -> bool:
    return is_born(d, event, np.isnan)


def _is_inf(d: Standing, event: Step) -> bool:
    return is_born(d, event, np.isinf)


def _is_new_structure(d: Standing, event: Step) -> bool:
    """Tell whether an iteration begins here with another graph than the one before it had."""
    if (event.phase, event.number) != (FORWARD, 0):
        return False
    iterations = list(d.timeline.iterations)
    place = iterations.index(d.where.iteration)
    before = d.timeline.steps(iterations[place - 1]).full.graph if place else event.graph
    return before.fingerprint() != event.graph.fingerprint()


def _is_result(event: Step) -> bool:
    return event.phase == FORWARD and event.node.id in event.graph.outputs


def _has_risen(d: Standing, times: int) -> bool:
    """Tell whether the loss was larger than the time before, this often in a row."""
    iterations = list(d.timeline.iterations)
    place = iterations.index(d.where.iteration)
    if place < times:
        return False
    losses = d.losses(iterations[place - times : place + 1])
    return all(late > early for early, late in pairwise(losses))


def _is_about(event: Step, name: str, part: str) -> bool:
    """Tell whether an event completes this number: a value when it is computed or updated, a whole gradient."""
    phases = {BACKWARD} if part == "grad" else {FORWARD, UPDATE}
    return event.phase in phases and event.node.name == name


def _number(event: Step) -> Any:
    """Return the number an event completes."""
    found = event.grad if event.phase == BACKWARD else event.value
    return 1.0 if found is None else found


def _split(text: str) -> tuple[str, str]:
    """Split ``enc.W.grad`` into the node and the part asked for.

    >>> _split("enc.W.grad"), _split("enc.W")
    (('enc.W', 'grad'), ('enc.W', 'value'))
    """
    name, _, last = text.rpartition(".")
    return (name, last) if name and last in ATTRIBUTES else (text, "value")


def _largest(dtype: str) -> float:
    try:
        return float(np.finfo(np.dtype({"fp16": "float16", "fp32": "float32"}.get(dtype, dtype))).max)
    except (TypeError, ValueError):
        raise GradvizValueError(f"{dtype[:80]!r} is no floating-point dtype", hint="over:float16") from None
