"""Where a debugger stands, and everything as it is there."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradviz.debugger.events import Step, Steps
from gradviz.debugger.expressions import Expression
from gradviz.debugger.naming import NodeNames
from gradviz.debugger.positions import PHASES, Position
from gradviz.debugger.timeline import Timeline
from gradviz.errors import GradvizValueError
from gradviz.escape import clean
from gradviz.graphs import Frame, Graph, Node, Number
from gradviz.graphs.listing import number_text

__all__ = ["Cursor", "NodeView", "Standing", "is_replayed"]


class Cursor:
    """A place in a timeline, and what lies around it. It is moved by replacing its position.

    Iterations and phases without events are passed over.
    """

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        first = next(filter(None, (self._with_events(number, PHASES) for number in timeline.iterations)), None)
        if first is None:
            raise GradvizValueError("there is nothing to step through: the run is empty")
        self.position = Position(*first, 0)

    @property
    def steps(self) -> Steps:
        """The events of the iteration."""
        return self.timeline.steps(self.position.iteration)

    @property
    def event(self) -> Step:
        """The event that has just happened."""
        return self.steps.at(self.position.phase, self.position.op)

    def place(self, index: int) -> Position:
        """Return the position of an event of this iteration by its number within it."""
        step = self.steps[index]
        return Position(self.position.iteration, step.phase, step.number)

    def neighbour(self, direction: int) -> Position | None:
        """Return the next (1) or previous (-1) position; None at the end or the start of the history."""
        there = self.ahead(direction)
        return None if there == self.position else there

    def ahead(self, n: int) -> Position:
        """Return the position ``n`` events on, or back if ``n`` is negative; at most the last or the first one."""
        iteration, phase, op = self.position
        direction = 1 if n > 0 else -1
        while not 0 <= op + n < (count := self._count(iteration, phase)):
            beyond = self._beside(iteration, phase, direction)
            if beyond is None:
                return Position(iteration, phase, count - 1 if n > 0 else 0)
            n, op = (n + op - count, 0) if direction > 0 else (n + op + 1, self._count(*beyond) - 1)
            iteration, phase = beyond
        return Position(iteration, phase, op + n)

    def _count(self, iteration: int, phase: str) -> int:
        return len(self.timeline.steps(iteration).fold.order(phase))

    def _beside(self, iteration: int, phase: str, direction: int) -> tuple[int, str] | None:
        """Return the nearest phase with events after (1) or before (-1) one."""
        place, iterations = PHASES.index(phase), self.timeline.iterations
        found = self._with_events(iteration, PHASES[place + 1 :] if direction > 0 else PHASES[:place][::-1])
        there = bisect_left(iterations, iteration) + direction
        while found is None and 0 <= there < len(iterations):
            found = self._with_events(iterations[there], PHASES[::direction])
            there += direction
        return found

    def _with_events(self, iteration: int, phases: Sequence[str]) -> tuple[int, str] | None:
        return next(((iteration, phase) for phase in phases if self._count(iteration, phase)), None)


class Standing:
    """What can be read off a debugger without moving it."""

    def __init__(self, timeline: Timeline) -> None:
        self.cursor = Cursor(timeline)
        self.names = NodeNames(self)

    @property
    def timeline(self) -> Timeline:
        """The history that is stepped through."""
        return self.cursor.timeline

    @property
    def where(self) -> Position:
        """The position: the event there has just happened."""
        return self.cursor.position

    @property
    def event(self) -> Step:
        """The event that has just happened, with its node, value, gradient and contributions."""
        return self.cursor.event

    @property
    def graph(self) -> Graph:
        """The graph of this iteration."""
        return self.cursor.steps.full.graph

    @property
    def frame(self) -> Frame:
        """The graph with every number as it is at this moment: None for those still to come."""
        return self.event.frame

    @property
    def full(self) -> Frame:
        """The whole iteration: the frame after its last backward event."""
        return self.cursor.steps.full

    def evaluate(self, text: str) -> Any:
        """Return what an expression comes to where the debugger stands: ``norm(W.grad)``, ``w@17 - w``."""
        return Expression(text)(self.names)

    def __getitem__(self, name: str) -> NodeView:
        """Return a node by name as it is at this moment; raises UnknownNameError with what is near."""
        node, event, fold = self.graph.node(name), self.event, self.cursor.steps.fold
        value = fold.value(event.phase, event.node.id, node.id)
        return NodeView(node, value, fold.grad(event.phase, event.node.id, node.id))

    def losses(self, iterations: Sequence[int]) -> list[float]:
        """Return the loss of some iterations."""
        column = self.timeline.column("loss", "value")
        if column is not None:
            places = np.searchsorted(np.asarray(self.timeline.iterations), iterations)
            return [float(x) for x in np.asarray(column)[places]]
        frames = (self.timeline.steps(i).full for i in iterations)
        return [float(np.sum(np.asarray(frame.values[frame.graph.outputs[-1]], float))) for frame in frames]


def is_replayed(frame: Frame) -> bool:
    """Tell whether all numbers of a frame are known, and not only what was recorded of the parameters."""
    return bool(frame.meta.get("replay", "exact") == "exact")


@dataclass(frozen=True)
class NodeView:
    """One node as it is where the cursor stands: None for a number that is not there yet."""

    node: Node
    value: Number | None
    grad: Number | None

    def __repr__(self) -> str:
        return f"{clean(self.node.name)} = {number_text(self.value)}, gradient {number_text(self.grad)}"
