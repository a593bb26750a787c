"""A computation as events: every value as it is computed, every gradient as it flows back, every update.

The frame of a step is the fold of the events so far, made when it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np

from gradviz.debugger.folding import Fold
from gradviz.debugger.framing import whole_frame
from gradviz.debugger.positions import BACKWARD, FORWARD, PHASES, UPDATE
from gradviz.errors import GradvizIndexError, GradvizTypeError, GradvizValueError
from gradviz.escape import clean
from gradviz.files import write_atomically
from gradviz.graphs import Frame, Graph, Node, Number
from gradviz.graphs.listing import expression_text, number_text
from gradviz.graphs.projections import is_projection

__all__ = ["Contribution", "Step", "Steps", "steps"]

NumberText = Callable[[Number | None], str]


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one edge adds to a gradient: ``amount`` goes from ``dst`` to its argument ``src``.

    ``local`` is d(dst)/d(src) (None where it is not elementwise), ``upstream`` the gradient of
    ``dst``, ``formula`` the local derivative in the names of the graph. ``amount`` is None when
    the frame does not know the numbers of its edges.
    """

    src: int
    dst: int
    arg: int
    local: Number | None
    upstream: Number | None
    amount: Number | None
    formula: str = ""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Step:
    """One event: a node's value is computed, a node passes its gradient on to its inputs, or a parameter changes.

    >>> from gradviz.graphs import EdgeTable
    >>> x, y = Node(0, "x", "param", "param"), Node(1, "y", "neg", "op", (0,), symbol="-")
    >>> frame = Frame(Graph((x, y), (1,)), [3.0, -3.0], [-1.0, 1.0], EdgeTable({(0, 1, 0): -1.0}, {}))
    >>> step = steps(frame)[2]
    >>> step.phase, step.node.name, step.contributions[0].amount, step.frame.grad("x")
    ('backward', 'y', -1.0, -1.0)
    """

    index: int
    phase: str  # "forward" | "backward" | "update"
    node: Node
    number: int  # position within the phase
    _steps: Steps = field(repr=False)

    @property
    def value(self) -> Number | None:
        """The node's value: its new one in the update phase."""
        return self._steps.fold.value(self.phase, self.node.id, self.node.id)

    @property
    def grad(self) -> Number | None:
        """The node's gradient, complete by now; None in the forward phase."""
        return None if self.phase == FORWARD else self._steps.full.grads[self.node.id]

    @property
    def contributions(self) -> tuple[Contribution, ...]:
        """What the node sends to its inputs in this step; empty for leaves and outside of the backward phase."""
        return self._steps.sent_by(self.node) if self.phase == BACKWARD else ()

    @property
    def is_seed(self) -> bool:
        """Whether the gradient starts here: a result of the graph, in the backward phase."""
        return self.phase == BACKWARD and self.node.id in self._steps.full.graph.outputs

    @property
    def is_unexplained(self) -> bool:
        """Whether a gradient is here that no other step sent: one of an earlier backward pass."""
        alone = self.phase == BACKWARD and not self.is_seed and self.grad is not None
        return alone and self._steps.fold.last_sender(self.node.id) == self.node.id

    @property
    def graph(self) -> Graph:
        """The graph stepped through."""
        return self._steps.full.graph

    @property
    def frame(self) -> Frame:
        """The graph as it is after this step: None for every number that is still to come."""
        return self._steps.frame_after(self)

    @property
    def highlight(self) -> tuple[int, ...]:
        """The ids to draw highlighted: the node of this step."""
        return (self.node.id,)

    @property
    def pending(self) -> tuple[int, ...]:
        """The ids whose value (in the backward phase: gradient) is still to come, to be drawn pale."""
        full = self._steps.full
        if self.phase == FORWARD:
            return tuple(range(self.node.id + 1, len(full.graph)))
        if self.phase == UPDATE:
            return tuple(i for i in self._steps.fold.updated if i > self.node.id)
        now = self.frame.grads
        return tuple(i for i, grad in enumerate(full.grads) if grad is not None and now[i] is None)

    def __repr__(self) -> str:
        return f"Step({self})"

    def __str__(self) -> str:
        return self.told()

    def told(self, number: NumberText = number_text) -> str:
        """Return what happens in words; ``number`` says how numbers are written."""
        return f"{self.phase} {self.number}: {TEXTS[self.phase](self, number)}"


class Steps(Sequence[Step]):
    """Every step of a computation in order; indexing, slicing and iterating give `Step`.

    >>> print(steps(Frame(Graph((Node(0, "x", "input", "input"),), (0,)), [3.0], [1.0])))
    forward 0: x = 3 (input)
    backward 0: d/d(x) = 1 (seed)
    """

    def __init__(self, full: Frame, find_after: Callable[[], Mapping[int, Number]] = dict) -> None:
        self.full = full
        self.fold = Fold(full, find_after)

    def __len__(self) -> int:
        return sum(len(self.fold.order(phase)) for phase in PHASES)

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Step, ...]: ...
    def __getitem__(self, index: int | slice) -> Step | tuple[Step, ...]:
        if isinstance(index, slice):
            return tuple(self._step(i) for i in range(*index.indices(len(self))))
        try:
            return self._step(range(len(self))[index])
        except IndexError:
            raise GradvizIndexError(
                f"there is no step {index}", hint=f"there are {len(self)}, from 0 to {len(self) - 1}"
            ) from None

    def _step(self, index: int) -> Step:
        number = index
        for phase in PHASES:
            order = self.fold.order(phase)
            if number < len(order):
                break
            number -= len(order)
        return Step(index, phase, self.full.graph.nodes[order[number]], number, self)

    def at(self, phase: str, number: int) -> Step:
        """Return a step by its number within a phase; raises GradvizIndexError if there is none.

        >>> steps(Frame(Graph((Node(0, "x", "input", "input"),), (0,)), [3.0], [1.0])).at("backward", 0).index
        1
        """
        order = self.fold.order(phase)
        if not 0 <= number < len(order):
            span = f"there are {len(order)}, from 0 to {len(order) - 1}" if order else "this iteration has none"
            raise GradvizIndexError(f"there is no {phase} step {number}", hint=span)
        before = sum(len(self.fold.order(earlier)) for earlier in PHASES[: PHASES.index(phase)])
        return Step(before + number, phase, self.full.graph.nodes[order[number]], number, self)

    def __repr__(self) -> str:
        updates = f", {len(self.fold.updated)} updates" if self.fold.updated else ""
        return f"Steps({len(self.full.graph)} forward, {len(self.fold.reached)} backward{updates})"

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    def save(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write a page to go through the steps with keys or a slider, and return its path.

        ``options`` are those of `draw` (``show``, ``style``, ``theme``, ...). Raises
        GradvizValueError for another suffix than .html and for more steps than a page can hold.

        >>> steps(Frame(Graph((Node(0, "x", "input", "input"),), (0,)), [3.0], [1.0])).save("steps.txt")
        Traceback (most recent call last):
            ...
        gradviz.errors.GradvizValueError: steps are saved as a page, not as '.txt'
          save("steps.html")
        """
        from gradviz.style import Options
        from gradviz.views.slides import slides

        target = Path(path)
        if target.suffix.lower() != ".html":
            raise GradvizValueError(
                f"steps are saved as a page, not as {target.suffix[:40]!r}", hint='save("steps.html")'
            )
        return write_atomically(target, slides(self, Options(**options)))

    @property
    def forward(self) -> tuple[Step, ...]:
        """The steps of the forward phase, one per node; step i computes node i."""
        return self[: len(self.full.graph)]

    @property
    def backward(self) -> tuple[Step, ...]:
        """The steps of the backward phase, one per node a gradient reached, the seed first."""
        return self[len(self.full.graph) : len(self.full.graph) + len(self.fold.reached)]

    @property
    def updates(self) -> tuple[Step, ...]:
        """The steps of the update phase, one per parameter whose new value is known."""
        return self[len(self) - len(self.fold.updated) :]

    def sent_by(self, node: Node) -> tuple[Contribution, ...]:
        """Return what a node sends to its inputs in its backward step."""
        frame, found = self.full, []
        for arg, src in enumerate(node.inputs):
            if frame.grads[src] is None:
                continue
            amount = frame.edge_grad(src, node.id, arg)
            if amount is not None or frame.edges is None:
                local, upstream = frame.local(src, node.id, arg), frame.grads[node.id]
                formula = frame.graph.formula(node, arg)
                found.append(Contribution(src, node.id, arg, local, upstream, amount, formula))
        return tuple(found)

    def frame_after(self, step: Step) -> Frame:
        """Return the frame as it is after a step; after the last of the backward phase it is the whole frame itself."""
        return self.fold.frame(step.phase, step.node.id)


def _forward_text(step: Step, number: NumberText) -> str:
    node, name = step.node, clean(step.node.name)
    value = number(step.value)
    if node.kind != "op":
        return f"{name} = {value} ({node.kind})"
    return f"{name} = {expression_text(step.graph, node)} = {value}"


def _backward_text(step: Step, number: NumberText) -> str:
    sent = step.contributions
    arrived = f"d/d({clean(step.node.name)}) = {number(step.grad)}"
    texts = [_contribution_text(step.graph, part, number) for part in sent]
    if is_projection(step.graph, step.node):
        whole = clean(step.graph.nodes[step.node.inputs[0]].name)
        return f"{arrived}, a result of {whole}"
    if step.is_seed:
        return "; ".join([f"{arrived} (seed)", *texts])
    if step.is_unexplained:
        return "; ".join([f"{arrived} (from an earlier pass)", *texts])
    return "; ".join(texts) or f"{arrived} (complete)"


def _contribution_text(graph: Graph, part: Contribution, number: NumberText) -> str:
    src, dst = clean(graph.nodes[part.src].name), clean(graph.nodes[part.dst].name)
    text = f"d/d({src}) += d({dst})/d({src}) * d/d({dst})"
    if part.local is not None and part.upstream is not None and part.amount is not None:
        product = f"{number(part.local)} * {number(part.upstream)}"
        text += f" = sum({product})" if np.size(part.amount) < np.size(part.upstream) else f" = {product}"
    if part.amount is not None:
        text += f" = {number(part.amount)}"
    repeated = graph.nodes[part.dst].inputs.count(part.src) > 1
    return f"{text} (argument {part.arg})" if repeated else text


def _update_text(step: Step, number: NumberText) -> str:
    name, old, new = clean(step.node.name), step._steps.full.values[step.node.id], step.value
    return f"{name} = {number(old)} -> {number(new)}; d/d({name}) = {number(step.grad)}"


TEXTS: Mapping[str, Callable[[Step, NumberText], str]] = {
    FORWARD: _forward_text,
    BACKWARD: _backward_text,
    UPDATE: _update_text,
}


def steps(x: Any, *, params: Any = None) -> Steps:
    """Return the computation of a Tensor or a Frame as a sequence of steps.

    First the forward phase: one step per node in order, leaves included (a teacher first says
    what is given), so step i brings the value of node i. Then the backward phase: one step per
    node a gradient reached, from the last to the first. The first brings the seed; each step
    sends the node's gradient to its inputs, and for a leaf says what its gradient has become.
    The frame of the last step is the frame itself. A Tensor that ``backward()`` was not called
    on shows the gradients it would give, and keeps none. ``params`` names parameters as in `frame`.

    >>> from gradviz.graphs import EdgeTable
    >>> x = Node(0, "x", "param", "param")
    >>> y = Node(1, "y", "mul", "op", (0, 0), symbol="*", formulas=("{1}", "{0}"))
    >>> table = {(0, 1, 0): 3.0, (0, 1, 1): 3.0}
    >>> for step in steps(Frame(Graph((x, y), (1,)), [3.0, 9.0], [6.0, 1.0], EdgeTable(table, table))):
    ...     print(step)
    forward 0: x = 3 (param)
    forward 1: y = x * x = 9
    backward 0: d/d(y) = 1 (seed); d/d(x) += d(y)/d(x) * d/d(y) = 3 * 1 = 3 (argument 0);
        d/d(x) += d(y)/d(x) * d/d(y) = 3 * 1 = 3 (argument 1)
    backward 1: d/d(x) = 6 (complete)
    """
    if isinstance(x, Steps):
        return x
    shown = x if isinstance(x, Frame) else getattr(x, "frame", None)
    if isinstance(shown, Frame):
        return Steps(shown)
    if isinstance(x, Graph):
        raise GradvizTypeError("a Graph has no numbers to step through", hint="give a Frame or a Tensor")
    return Steps(whole_frame(x, params))
