"""Where to stop: what stands after ``b`` and ``until``, and Python functions that do the same.

================================ ==============================================================
``h1``, ``enc.*.W``              an event of a node, by name (with its scope before it, or not)
``op:log``                       of an op
``scope:enc.*``                  of a scope and all within it
``file.py:12``, ``:12``          of a line of the source
``17.b.3``, ``b.3``              at a position
``nan``, ``inf``                 where such a number is born of others that are not
``zero:X.grad``                  of a number that is zero in every element
``over:float16``                 of a number that this dtype (or ``bf16``) cannot hold
``structure``                    at the start of an iteration whose graph is another one
``loss up 5``                    when the loss has risen five times in a row
``norm(X.grad) > 10``            of X, when this holds; see `gradviz.debugger.expressions`
``ratio(update / param) > 0.1``  of a parameter, when this holds for its update
``loss < 0.1``, ``op == 3``      of no node in particular: where this begins to hold
================================ ==============================================================

``nan``, ``inf``, ``structure`` and positions are these words even where a node is called so; everything else is first
of all the name of a node. Between backticks it always is: ```nan```, ```b.3```, ```f(x) > 1```. In a glob ``[0]`` also
means itself, as in ``layers[0].*``. A name that only another iteration has can be waited for.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.debugger.computing import of_numpy
from gradviz.debugger.events import Step
from gradviz.debugger.expressions import ATTRIBUTES, Expression
from gradviz.debugger.newborn import is_born, numbers_of
from gradviz.debugger.positions import BACKWARD, FORWARD, TEXT, UPDATE, Position
from gradviz.errors import GradvizTypeError, GradvizValueError, UnknownNameError

if TYPE_CHECKING:
    from gradviz.debugger.standing import Standing

__all__ = ["Condition", "condition", "holds", "in_scope", "numbers_of", "read_expression"]

Test = Callable[["Standing", Step], bool]
LINE = re.compile(r"([^:]*\.py)?:(\d{1,9})")
RISING = re.compile(r"loss up (\d{1,9})")
QUOTED = re.compile(r"`(.*)`", re.DOTALL)
BFLOAT16 = (2 - 2.0**-7) * 2.0**127  # its largest number
SHORT = {"fp16": "float16", "fp32": "float32", "fp64": "float64"}
SUGGESTED_FROM = 10_000  # nodes whose names are looked through for those near a wrong one


class Condition:
    """Something to stop for: its text, and the test that is made of every event."""

    def __init__(self, text: str, test: Test) -> None:
        self.text = text
        self.test = test

    def arm(self, debugger: Standing) -> None:
        """Begin a run here: what was worked out before is forgotten, for variables may have changed."""
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


def _exact(text: str, debugger: Standing) -> Test | None:
    """Read the name of a node as it is, or between backticks."""
    quoted = QUOTED.fullmatch(text)
    name = quoted[1] if quoted else text
    if not is_known(debugger, name):
        if quoted:
            raise _unknown(name, debugger)
        return None
    return lambda d, event: event.node.name == name


def _prefixed(text: str, debugger: Standing) -> Test | None:
    prefix, _, rest = text.partition(":")
    if prefix == "op":
        return lambda d, event: fnmatchcase(event.node.op, rest)
    if prefix == "scope":
        return lambda d, event: in_scope(".".join(event.node.scope), rest)
    if prefix == "zero":
        node, part = part_of(rest.strip("`"), debugger)
        return lambda d, event: _is_about(event, node, part) and _is_zero(event)
    if prefix == "over":
        limit = _largest(rest)
        return lambda d, event: any(bool(np.any(np.abs(x) > limit)) for x in numbers_of(event))
    return None


def _rising(text: str, debugger: Standing) -> Test | None:
    found = RISING.fullmatch(text)
    return None if not found else lambda d, event: _is_result(event) and _has_risen(d, int(found[1]))


def _node(text: str, debugger: Standing) -> Test | None:
    """Read a glob, a gradient, or a name with its scope before it; what has no operators must be one of them."""
    if any(c in text for c in "<>=()+ "):
        return None
    patterns = (text, text.replace("[", "[[]"))

    def matches(event: Step) -> bool:
        names = (event.node.name, full_name(event))
        return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)

    if any(c in text for c in "*?[") or any(map(matches, debugger.cursor.steps.forward)):
        return lambda d, event: matches(event)
    node, part = part_of(text, debugger)
    return lambda d, event: _is_about(event, node, part)


def _expression(text: str, debugger: Standing) -> Test | None:
    wanted = read_expression(text, debugger)
    names = [_known_part(debugger, parts) for parts in wanted.names]
    nodes = {found for found in names if found is not None}
    if not nodes and any(parts[0] in {"update", "param"} for parts in wanted.names):
        return lambda d, event: event.phase == UPDATE and holds(d, wanted)
    if not nodes:
        return _Edge(wanted)
    return lambda d, event: any(_is_about(event, *node) for node in nodes) and holds(d, wanted)


READERS = (_fixed, _position, _exact, _line, _prefixed, _rising, _node, _expression)


def read_expression(text: str, debugger: Standing) -> Expression:
    """Return an expression whose names mean something here, or in another iteration; else raise UnknownNameError."""
    wanted = Expression(text)
    for parts in wanted.names:
        _check_name(list(parts), debugger)
    for iteration in wanted.iterations:
        debugger.timeline.steps(iteration)
    return wanted


def _check_name(parts: list[str], debugger: Standing) -> None:
    known = debugger.names.longest(parts)
    if known and parts[known : known + 1] and parts[known] not in ATTRIBUTES:
        raise UnknownNameError.among("attribute", parts[known], ATTRIBUTES)
    if parts[0] == "np" and not known:
        of_numpy(parts[1:])
    elif not known and _known_part(debugger, parts) is None:
        raise _unknown(".".join(parts), debugger)


def holds(debugger: Standing, wanted: Expression) -> bool:
    """Tell whether an expression is true here; it is not where the graph has no node of one of its names."""
    try:
        return wanted.holds(debugger.names)
    except UnknownNameError:
        return False


class _Edge:
    """A condition on no node in particular: it stops where it begins to hold, not as long as it does.

    That is a property of the place, whichever way it is come to.
    """

    def __init__(self, wanted: Expression) -> None:
        self._wanted = wanted
        self._held: dict[Position, bool] = {}

    def arm(self, d: Standing) -> None:
        """Forget what held."""
        self._held = {}

    def __call__(self, d: Standing, event: Step) -> bool:
        here, before = d.where, d.cursor.neighbour(-1)
        now = self._holds_at(d, here)
        held = before is not None and self._holds_at(d, before)
        self._held = {place: self._held[place] for place in (here, before) if place is not None}
        return now and not held

    def _holds_at(self, d: Standing, place: Position) -> bool:
        if place not in self._held:
            here = d.where
            d.cursor.position = place
            try:
                self._held[place] = holds(d, self._wanted)
            finally:
                d.cursor.position = here
        return self._held[place]


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
    iterations = d.timeline.iterations
    place = bisect_left(iterations, d.where.iteration)
    before = d.timeline.steps(iterations[place - 1]).full.graph if place else event.graph
    return before.fingerprint() != event.graph.fingerprint()


def _is_result(event: Step) -> bool:
    return event.phase == FORWARD and event.node.id in event.graph.outputs


def _has_risen(d: Standing, times: int) -> bool:
    """Tell whether the loss was larger than the time before, this often in a row."""
    iterations = d.timeline.iterations
    place = bisect_left(iterations, d.where.iteration)
    if place < times:
        return False
    losses = d.losses(iterations[place - times : place + 1])
    return all(late > early for early, late in pairwise(losses))


def _is_about(event: Step, name: str, part: str) -> bool:
    """Tell whether an event completes this number: a value when it is computed or updated, a whole gradient."""
    phases = {BACKWARD} if part == "grad" else {FORWARD, UPDATE}
    return event.phase in phases and event.node.name == name


def _is_zero(event: Step) -> bool:
    """Tell whether the number that an event completes is zero in every element."""
    found = event.grad if event.phase == BACKWARD else event.value
    return found is not None and not np.any(found)


def is_known(debugger: Standing, name: str) -> bool:
    """Tell whether a node has this name, here or in another iteration."""
    return name in debugger.graph or debugger.timeline.knows(name)


def part_of(text: str, debugger: Standing) -> tuple[str, str]:
    """Split ``enc.W.grad`` into the node and the part asked for; raises UnknownNameError if there is no such node.

    >>> import gradviz
    >>> from gradviz.debugger.debugger import Debugger
    >>> d = Debugger(gradviz.Tensor(2.0, name="enc.W") * 3.0)
    >>> part_of("enc.W.grad", d), part_of("enc.W", d)
    (('enc.W', 'grad'), ('enc.W', 'value'))
    """
    found = _known_part(debugger, text.split("."))
    if found is None:
        raise _unknown(text, debugger)
    return found


def _known_part(debugger: Standing, parts: Iterable[str]) -> tuple[str, str] | None:
    """Return the node and the part that dotted parts name; None if there is no such node."""
    text = ".".join(parts)
    if is_known(debugger, text):
        return text, "value"
    name, _, last = text.rpartition(".")
    if last in ATTRIBUTES and name and is_known(debugger, name):
        return name, last
    return _known_part(debugger, name.split(".")) if last in ATTRIBUTES and name else None


def _unknown(name: str, debugger: Standing) -> UnknownNameError:
    names = [node.name for node in debugger.graph.nodes[:SUGGESTED_FROM]]
    before, _, last = name.rpartition(".")
    name = before if before and last in ATTRIBUTES else name
    found = UnknownNameError.among("node", name, names)
    is_op = any(node.op == name for node in debugger.graph)
    return UnknownNameError(found.message, hint=f"it is an op: op:{name}") if is_op else found


def _largest(dtype: str) -> float:
    try:
        return BFLOAT16 if dtype in {"bf16", "bfloat16"} else float(np.finfo(SHORT.get(dtype, dtype)).max)
    except (TypeError, ValueError):
        raise GradvizValueError(f"{dtype[:80]!r} is no floating-point dtype", hint="over:float16") from None
