"""The moments of an animation: what is known at each, what moves in it, and what is said about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from gradviz import escape
from gradviz.debugger.events import Contribution, Step, Steps
from gradviz.debugger.positions import BACKWARD, FORWARD
from gradviz.errors import GradvizValueError
from gradviz.graphs import Frame, Graph, Node, Number
from gradviz.graphs.listing import expression_text
from gradviz.style import Options, wording
from gradviz.views.cards import NOT_A_NAME, brief

__all__ = ["Flow", "Moment", "Moments", "backpropagation", "check_size"]

T = TypeVar("T")
MOVE, REST, GIVEN, HOLD = 0.7, 0.8, 1.3, 3.0  # seconds
MOST = 20_000  # nodes in all moments together; one takes about half a millisecond
MOST_SCENES = 40  # a phase with more operations takes several at a time
NAME_LIMIT = 40
OF_FOLDS = {"carried", "fold", "folded", "inside", "rounds"}  # attributes that are no arguments of an operation
NAMES = 4  # of several at a time that are told


@dataclass(frozen=True, slots=True)
class Flow:
    """What moves along the edge from ``src`` to ``dst``: a value, or a gradient back; ``level`` is its colour."""

    src: int
    dst: int
    back: bool = False
    level: int = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """One state of the picture, for so many ``seconds``; ``flows`` move while it lasts."""

    frame: Frame
    phase: str  # "given" | "forward" | "backward" | "done" | "iteration"
    lines: tuple[str, ...]
    seconds: float
    highlight: tuple[int, ...] = ()
    pending: tuple[int, ...] = ()
    flows: tuple[Flow, ...] = ()
    count: str = ""  # "2 of 5"


@dataclass(frozen=True)
class Moments:
    """All moments of an animation; ``full`` is the frame with all numbers that the layout is made for."""

    full: Frame
    shown: Sequence[Moment]
    told: str  # what kind of animation it is, for the alternative text
    losses: tuple[tuple[int, float], ...] = field(default=())  # of a run: iteration and loss

    def __len__(self) -> int:
        return len(self.shown)

    def __iter__(self) -> Iterator[Moment]:
        return iter(self.shown)

    @property
    def stops(self) -> list[int]:
        """The moments in which nothing moves."""
        return [number for number, moment in enumerate(self.shown) if not moment.flows]


def backpropagation(frame: Frame, options: Options, largest: float) -> Moments:
    """Return how values arrive forward and gradients flow back.

    >>> from gradviz.graphs import Graph
    >>> x, y = Node(0, "x", "param", "param"), Node(1, "y", "neg", "op", (0,), symbol="-")
    >>> found = backpropagation(Frame(Graph((x, y), (1,)), [3.0, -3.0], [-1.0, 1.0]), Options(), 1.0)
    >>> [(moment.phase, moment.lines[0]) for moment in found][::2]
    [('given', 'x = 3'), ('forward', 'y = -x = -3'), ('backward', 'grad x += ∂y/∂x × grad y')]
    """
    script = Script(frame, options, largest)
    check_size(len(frame.graph), 2 * len(chunks(script.ops)) + 2 * len(chunks(script.senders)) + 2)
    shown = [script.given(), *script.forward(), *script.backward(), script.done()]
    ops, reached = len(script.ops), len(script.senders)
    backward = f", then {reached} backward" if reached else ""
    return Moments(frame, shown, f"Animation of {ops} operation{'' if ops == 1 else 's'} forward{backward}")


class Script:
    """Writes the moments of one pass forward and backward."""

    def __init__(self, frame: Frame, options: Options, largest: float) -> None:
        self.full = frame
        self.options = options
        self.largest = largest
        self.steps = Steps(frame)
        nodes = frame.graph.nodes
        self.leaves = [node for node in nodes if not node.inputs]
        self.ops = [node.id for node in nodes if node.inputs]
        senders = (step for step in self.steps.backward if step.contributions)
        self.senders: list[Step] = list(senders)
        self.spoken = Graph(tuple(map(self.spoken_node, nodes)), frame.graph.outputs)

    def spoken_node(self, node: Node) -> Node:
        """Return a node by the name it has in a caption: a constant is its number."""
        value = self.full.values[node.id]
        if node.kind == "const" and isinstance(value, float) and NOT_A_NAME.fullmatch(node.name):
            return replace(node, name=self.number(value))
        plain = {name: value for name, value in node.attrs.items() if name not in OF_FOLDS}
        return replace(node, name=self.name(node.id), attrs=plain)

    def number(self, x: Number | None) -> str:
        """Return a number in words short enough for a caption."""
        return "?" if x is None else brief(x, self.options.precision)

    def name(self, id: int) -> str:
        """Return the name of a node for a caption."""
        return escape.clean(wording.display_name(self.full.graph.nodes[id]), NAME_LIMIT)

    # -- moments

    def given(self) -> Moment:
        """Return the moment before the first operation: only leaves are known."""
        said = [node for node in self.leaves if node.kind != "const"] or self.leaves
        texts = [self.told_value(node) for node in said[: 2 * NAMES]]
        more = [f"and {len(said) - len(texts):,} more"] if len(said) > len(texts) else []
        line = ", ".join([*texts, *more]) or "an empty graph"
        return Moment(self.known(frozenset()), "given", (line,), GIVEN, pending=tuple(self.ops))

    def told_value(self, node: Node) -> str:
        """Return a leaf with its value."""
        value = self.full.values[node.id]
        return self.name(node.id) if value is None else f"{self.name(node.id)} = {self.number(value)}"

    def known(self, done: frozenset[int]) -> Frame:
        """Return the frame in which the leaves and these operations have their values, and nothing a gradient."""
        full, none = self.full, (None,) * len(self.full.graph)
        missing = set(self.ops) - done
        values = tuple(None if i in missing else value for i, value in enumerate(full.values))
        return Frame(full.graph, values, none, None, full.step, full.meta)

    def forward(self) -> Iterator[Moment]:
        """Yield two moments an operation: its inputs move towards it, its value is there."""
        parts = chunks(self.ops)
        before = self.known(frozenset())
        for number, part in enumerate(parts, start=1):
            pending = tuple(id for id in self.ops if id >= part[0])
            flows = tuple(Flow(src, id) for id in part for src in self.full.graph.nodes[id].inputs)
            now = tuple(part)
            lines, count = self.forward_lines(part), f"{number} of {len(parts)}"
            yield Moment(before, FORWARD, lines, MOVE, now, pending, flows, count)
            before = self.known(frozenset(id for id in self.ops if id <= part[-1]))
            after = tuple(id for id in pending if id > part[-1])
            yield Moment(before, FORWARD, lines, REST, now, after, (), count)

    def forward_lines(self, part: list[int]) -> tuple[str, ...]:
        """Return what is said about operations that are computed."""
        if len(part) > 1:
            return (self.several(part),)
        node = self.full.graph.nodes[part[0]]
        text = f"{self.name(node.id)} = {expression_text(self.spoken, node)}"
        value = self.full.values[node.id]
        return (text if value is None else f"{text} = {self.number(value)}",)

    def several(self, part: list[int]) -> str:
        """Return the names of several nodes that have their turn at once."""
        names = ", ".join(self.name(id) for id in part[:NAMES])
        return f"{names} and {len(part) - NAMES} more" if len(part) > NAMES else names

    def backward(self) -> Iterator[Moment]:
        """Yield the seed, and two moments a node that passes its gradient on: it moves, it has arrived."""
        if not self.senders:
            return
        parts = chunks(self.senders)
        before = self.seeded()
        for number, part in enumerate(parts, start=1):
            now = tuple(step.node.id for step in part)
            sent = [amount for step in part for amount in step.contributions]
            flows = tuple(Flow(one.src, one.dst, True, self.level(one)) for one in sent)
            lines, count = self.backward_lines(part), f"{number} of {len(parts)}"
            yield Moment(before, BACKWARD, lines, MOVE, now, (), flows, count)
            before = self.steps.fold.frame(BACKWARD, now[-1])
            reached = tuple(dict.fromkeys(one.src for one in sent))
            yield Moment(before, BACKWARD, lines, REST, (*now, *reached) if len(part) == 1 else now, (), (), count)

    def seeded(self) -> Frame:
        """Return the frame before the first gradient is passed on: results have theirs."""
        full = self.full
        starts = {step.node.id for step in self.steps.backward if step.is_seed or step.is_unexplained}
        grads = tuple(grad if i in starts else None for i, grad in enumerate(full.grads))
        return Frame(full.graph, full.values, grads, None, full.step, full.meta)

    def level(self, one: Contribution) -> int:
        """Return the colour of what moves along an edge."""
        amount = one.amount if one.amount is not None else self.full.grads[one.src]
        return wording.level(wording.signed_size(amount), self.largest)

    def backward_lines(self, part: list[Step]) -> tuple[str, ...]:
        """Return what is said about nodes that pass their gradient on."""
        if len(part) > 1:
            return (f"from {self.several([step.node.id for step in part])}",)
        return tuple(map(self.told, part[0].contributions))

    def told(self, one: Contribution) -> str:
        """Return one contribution as a product."""
        src, dst = self.name(one.src), self.name(one.dst)
        text = f"grad {src} += ∂{dst}/∂{src} × grad {dst}"
        if one.amount is None:
            return text
        if one.local is None or one.upstream is None:
            return f"{text} = {self.number(one.amount)}"
        return f"{text} = {self.number(one.local)} × {self.number(one.upstream)} = {self.number(one.amount)}"

    def done(self) -> Moment:
        """Return the last moment: everything is there."""
        full = self.full
        names = [f"grad {self.name(node.id)} = {self.number(full.grads[node.id])}" for node in self.leaves
                 if full.grads[node.id] is not None]  # fmt: skip
        more = [f"and {len(names) - NAMES:,} more"] if len(names) > NAMES else []
        results = [self.told_value(full.graph.nodes[id]) for id in full.graph.outputs[:NAMES]]
        line = ", ".join([*names[:NAMES], *more] or results)
        return Moment(full, "done", (line,), HOLD)


def check_size(nodes: int, moments: int) -> None:
    """Raise `GradvizValueError` for so many nodes at so many moments that no file could hold them.

    >>> check_size(100, 100)
    """
    if nodes * moments > MOST:
        raise GradvizValueError(
            f"{nodes:,} nodes at {moments:,} moments are too many for one animation (at most {MOST:,})",
            hint="animate less: fold=True, collapse=1 (by scope), focus=name with hops=2; of a run, frames=8",
        )


def chunks(items: Sequence[T]) -> list[list[T]]:
    """Return a sequence in at most 40 parts of about the same length.

    >>> chunks([1, 2, 3]), len(chunks(list(range(1000))))
    ([[1], [2], [3]], 40)
    """
    size = -(-len(items) // MOST_SCENES) or 1
    return [list(items[start : start + size]) for start in range(0, len(items), size)]
