"""What if a number had been another one: this iteration, and those after it, computed once more.

The history is forked, never changed: the graph of every iteration is computed again from its recorded inputs and the
parameters of the fork, which are updated by the rule that the recorded training was updated by.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.debugger.events import Steps
from gradviz.debugger.telling import brief, columns
from gradviz.debugger.timeline import RunTimeline, Timeline, values_after
from gradviz.errors import GradvizTypeError, GradvizValueError, ShapeError, UnknownNameError
from gradviz.escape import clean
from gradviz.graphs import Frame, Graph, Node, Number
from gradviz.sources import own
from gradviz.sources.pullback import with_gradients
from gradviz.tracing.continuing import FrameRules, Rules, RunRules, changed, numbers_of, proved
from gradviz.tracing.framediff import FrameDiff, compare_frames
from gradviz.tracing.restoring import rule_of

if TYPE_CHECKING:
    from gradviz.debugger.debugger import Debugger

__all__ = ["Fork", "WhatIf", "assignments", "what_if"]

KEPT = 8  # frames of a fork that are remembered
LINES = 9  # iterations in a table
PARAMETERS = 8
FOR = re.compile(r"(.*\S)\s+for\s+(\d+)\s*", re.DOTALL)
ASSIGNED = re.compile(r"\s*(`[^`]+`|[^\W\d][\w.]*)\s*=(?!=)\s*(\S.*)", re.DOTALL)

OF_TORCH = "of PyTorch ask about one iteration: other values, no option such as lr, no 'for N'"

Numbers = dict[str, Any]
State = tuple[Numbers, dict[str, Numbers], dict[str, Numbers]]  # values; what the optimizer keeps, here and as recorded


class Fork:
    """A history that leaves the recorded one at an iteration: with other values of nodes, or options of updates.

    It is a timeline like any other, of ``count`` updates and the iterations between them.
    """

    def __init__(
        self, timeline: Timeline, start: int, values: Mapping[str, Number], options: Mapping[str, Any], count: int
    ) -> None:
        self._timeline = timeline
        self._first = list(timeline.iterations).index(start)
        self.iterations: Sequence[int] = list(timeline.iterations)[self._first : self._first + count + 1]
        self._options = dict(options)
        graph = timeline.steps(start).full.graph
        self._fixed = {name: value for name, value in values.items() if graph.node(name).kind != "param"}
        self._states: list[State] = [(dict(values), {}, {})]
        self._frames: OrderedDict[int, Steps] = OrderedDict()

    @cached_property
    def _rules(self) -> Rules:
        if isinstance(self._timeline, RunTimeline):
            return RunRules(self._timeline.run, list(self._timeline.iterations))
        iterations = self._timeline.iterations
        return FrameRules([self._timeline.steps(i).full for i in iterations], iterations)

    def steps(self, iteration: int) -> Steps:
        """Return the events of one iteration."""
        if iteration not in self.iterations:
            raise UnknownNameError(f"the fork has no iteration {iteration}")
        if iteration not in self._frames:
            frame = self._frame(self.iterations.index(iteration))
            self._frames[iteration] = Steps(frame, partial(values_after, frame, partial(self._following, iteration)))
            if len(self._frames) > KEPT:
                self._frames.popitem(last=False)
        self._frames.move_to_end(iteration)
        return self._frames[iteration]

    def knows(self, name: str) -> bool:
        """Tell whether a node of that name is in any iteration of the recorded history."""
        return self._timeline.knows(name)

    def has_column(self, name: str) -> bool:
        """Return False: nothing of a fork is recorded."""
        return False

    def column(self, name: str, part: str) -> np.ndarray | None:
        """Return None: nothing of a fork is recorded."""
        return None

    def _following(self, iteration: int) -> Frame | None:
        place = self.iterations.index(iteration) + 1
        return self.steps(self.iterations[place]).full if place < len(self.iterations) else None

    def _frame(self, place: int) -> Frame:
        """Compute the frame of an iteration; those before it are computed if they have not been."""
        while len(self._states) <= place:
            self._update(len(self._states) - 1)
        recorded = self._timeline.steps(self.iterations[place]).full
        return computed_with(recorded, {**self._fixed, **self._states[place][0]})

    def _update(self, place: int) -> None:
        """Make the update after an iteration, as it was made in the recorded history."""
        before, kept, recorded_kept = self._states[place]
        there = self._first + place
        if place == 0:
            kept = recorded_kept = self._rules.kept(there)
            before = {**self._rules.numbers(there)[0], **{n: v for n, v in before.items() if n not in self._fixed}}
        event, recorded_kept = self._proved(there, recorded_kept)
        _, grads = numbers_of(self.steps(self.iterations[place]).full)
        with np.errstate(all="ignore"):
            after, kept = rule_of(changed(event, self._options))(before, grads, kept)
        self._states.append((after, kept, recorded_kept))

    def _proved(self, there: int, kept: dict[str, Numbers]) -> Any:
        try:
            return proved(self._rules, there, kept)
        except GradvizValueError as error:
            if self._timeline.steps(self.iterations[0]).full.meta.get("source") != "torch":
                raise
            raise GradvizValueError(
                f"what the optimizer of PyTorch did cannot be done again here: {error.message}",
                hint=OF_TORCH,
            ) from error


@dataclass(frozen=True)
class WhatIf:
    """The answer to a what-if: the ``fork``, beside the ``recorded`` history; ``iterations`` are those of the fork.

    ``debugger`` steps through the fork, ``diff`` compares the last iteration of both.
    """

    text: str
    recorded: Timeline
    fork: Fork
    losses: tuple[tuple[float, float], ...]  # of every iteration, recorded and in the fork
    note: str = ""

    @property
    def iterations(self) -> Sequence[int]:
        """The iterations of the fork, from the one it leaves the recorded history at."""
        return self.fork.iterations

    @property
    def frame(self) -> Frame:
        """The last iteration of the fork."""
        return self.fork.steps(self.iterations[-1]).full

    @property
    def diff(self) -> FrameDiff:
        """How the last iteration of the fork differs from the recorded one."""
        return compare_frames(self.recorded.steps(self.iterations[-1]).full, self.frame)

    @property
    def debugger(self) -> Debugger:
        """A debugger that steps through the fork."""
        from gradviz.debugger.debugger import Debugger

        return Debugger(self.fork)

    def __str__(self) -> str:
        first, last = self.iterations[0], self.iterations[-1]
        span = f"in iteration {first}" if first == last else f"from iteration {first} to {last}"
        lines = [f"what if {clean(self.text)} {span}:", *columns(list(self._rows()))]
        return "\n".join([*lines, *([f"  {self.note}"] if self.note else [])])

    def _rows(self) -> Iterator[list[str]]:
        yield ["", "recorded", "what if"]
        many = len(self.iterations) > 1
        for place in _sample(len(self.iterations)):
            at = f" at {self.iterations[place]}" if many else ""
            yield [f"  loss{at}", *map(brief, self.losses[place])]
        before, after = self.recorded.steps(self.iterations[-1]).full, self.frame
        names = [node.name for node in after.graph if node.kind == "param" and node.name in before.graph]
        parts = [("", Frame.value), (".grad", Frame.grad)] if not many else [("", Frame.value)]
        for name in names[:PARAMETERS]:
            for suffix, number in parts:
                yield [f"  {clean(name, 40)}{suffix}", brief(number(before, name)), brief(number(after, name))]
        if len(names) > PARAMETERS:
            yield [f"  and {len(names) - PARAMETERS} parameters more", "", ""]


def what_if(debugger: Debugger, values: Mapping[str, Any], count: int | None = None) -> WhatIf:
    """Return what had happened with other values of nodes, or other options of the optimizer, from here on.

    A parameter has its other value in this iteration, and is updated from there; every other leaf keeps it, and the
    result of an op is replaced by it, so that no gradient goes past. Then ``count`` updates are made: without a
    number, none, and one for an option such as ``lr``. Raises UnknownNameError for a name that is neither,
    ShapeError for a value of another shape, GradvizValueError where the updates are not known.

    >>> import gradviz
    >>> w = gradviz.Tensor(3.0, name="w")
    >>> print(gradviz.Debugger((w - 1.0) ** 2).whatif(w=2.0))
    what if w = 2 in iteration 0:
            recorded  what if
      loss  4         1
      w     3         2
      w.grad  4  2
    """
    timeline, start = debugger.timeline, debugger.where.iteration
    graph = debugger.graph
    if not values:
        raise GradvizValueError("nothing is to be different", hint="whatif(w=0.5), whatif(lr=0.01, count=50)")
    nodes = {name: fitting(graph.node(name), value) for name, value in values.items() if name in graph}
    options = {name: number_for(name, value) for name, value in values.items() if name not in graph}
    wanted = count if count is not None else 1 if options else 0
    left = len(timeline.iterations) - list(timeline.iterations).index(start) - 1
    fork = Fork(timeline, start, nodes, options, min(wanted, left))
    if options:
        check_options(fork, options)
    forked = tuple(float(np.sum(np.asarray(_result(fork.steps(i).full), float))) for i in fork.iterations)
    losses = tuple(zip(debugger.losses(fork.iterations), forked, strict=True))
    note = f"the history ends there: {left} of {wanted} updates are known" if wanted > left else ""
    text = ", ".join(f"{name} = {brief(value)}" for name, value in {**nodes, **options}.items())
    return WhatIf(text, timeline, fork, losses, note)


def check_options(fork: Fork, options: Mapping[str, Any]) -> None:
    """Raise UnknownNameError or GradvizValueError unless the update after the first iteration has these options."""
    events, why = fork._rules.told(fork._first)
    if not events:
        is_last = fork._first + 1 >= len(fork._timeline.iterations)
        names = " and ".join(options)
        is_torch = fork._timeline.steps(fork.iterations[0]).full.meta.get("source") == "torch"
        other = "record with gradviz.trace(optimizer=...)"
        raise GradvizValueError(
            f"{names!r} is no node, and how the parameters are updated is not known: {why}",
            hint="go to an iteration that another one follows" if is_last else OF_TORCH if is_torch else other,
        )
    changed(events[0], options)


def computed_with(recorded: Frame, values: Mapping[str, Number]) -> Frame:
    """Return a frame computed again with other values of some nodes. Raises GradvizError where that fails."""
    graph = recorded.graph
    ops = {name for name in values if name in graph and graph.node(name).kind == "op"}
    if ops:
        graph = Graph(tuple(_cut(node) if node.name in ops else node for node in graph), graph.outputs)
    leaves = {n.id: values.get(n.name, recorded.values[n.id]) for n in graph if n.kind != "op"}
    known = {i: value for i, value in leaves.items() if value is not None}
    again = getattr(recorded.edges, "again", None)
    if again is not None:  # the calls of PyTorch are at hand
        then, edges = again(graph, {graph.index(name): value for name, value in values.items()})
        meta = {**recorded.meta, "fork": True}
        return with_gradients(Frame(graph, then, [None] * len(graph), edges, recorded.step, meta))
    if recorded.meta.get("source") == "torch":
        raise GradvizValueError(
            "a run of PyTorch cannot be computed again from its file: the functions are not in it",
            hint="ask where it was captured: gradviz.Debugger(cap).whatif(...), of gradviz.capture(model) as cap",
        )
    try:
        with np.errstate(all="ignore"):
            found, grads = own.replay(graph, known)
    except (ArithmeticError, np.linalg.LinAlgError) as error:
        raise GradvizValueError(f"with these values the graph cannot be computed: {error}") from error
    numbers = own.edge_numbers(graph, found, grads)
    return Frame(graph, found, grads, numbers, recorded.step, {"replay": "exact", "fork": True})


def _cut(node: Node) -> Node:
    """Return the node of an op whose result is given: a leaf."""
    return replace(node, op="param", kind="param", inputs=(), attrs={}, symbol="", formulas=())


def fitting(node: Node, value: Any) -> Number:
    """Return a value as the node keeps it: of its dtype, and one number in all elements of an array."""
    given = np.asarray(value)
    if given.dtype.kind not in "biufc":
        raise GradvizTypeError(f"{node.name!r} cannot be {str(value)[:80]!r}", hint="a number, or an array")
    if given.shape not in {(), node.shape}:
        raise ShapeError(f"{node.name!r} has the shape {node.shape}, the new value {given.shape}")
    dtype = node.dtype if node.dtype in np.sctypeDict else "float32"  # NumPy has no bfloat16
    filled = np.array(np.broadcast_to(given, node.shape), dtype)
    return float(filled) if node.shape == () and node.dtype == "float64" else filled


def number_for(name: str, value: Any) -> float:
    """Return the value of an option."""
    if np.shape(value) != () or np.asarray(value).dtype.kind not in "biuf":
        raise UnknownNameError(f"there is no node {name[:80]!r}, and an option has to be a number")
    return float(value)


def assignments(text: str) -> tuple[dict[str, str], int | None]:
    """Read ``w = 2 * w, lr = 0.1 for 50``: the expressions by name, and the number of updates.

    >>> assignments("w = max(w, 0), lr=0.1 for 50")
    ({'w': 'max(w, 0)', 'lr': '0.1'}, 50)
    """
    found = FOR.fullmatch(text)
    body, count = (found[1], int(found[2])) if found else (text, None)
    parts: dict[str, str] = {}
    for piece in _pieces(body):
        pair = ASSIGNED.fullmatch(piece)
        if pair is None:
            raise GradvizValueError(
                f"{clean(piece.strip(), 80)!r} gives no name a value", hint="whatif w=0.5, whatif lr=0.01 for 50"
            )
        parts[pair[1].strip("`")] = pair[2].strip()
    return parts, count


def _pieces(text: str) -> Iterator[str]:
    """Split at the commas outside of all brackets."""
    depth, start = 0, 0
    for i, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            yield text[start:i]
            start = i + 1
    yield text[start:]


def _sample(count: int) -> list[int]:
    """Return up to so many places, evenly, with the first and the last."""
    if count <= LINES:
        return list(range(count))
    return sorted({round(i * (count - 1) / (LINES - 1)) for i in range(LINES)})


def _result(frame: Frame) -> Number | None:
    return frame.values[frame.graph.outputs[-1]]
