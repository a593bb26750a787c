"""Who is to blame: the iteration, the op and the source line where a fault was born, with the numbers there.

Faults are ``nan``, ``inf`` (followed to their birth by `gradviz.debugger.births`, through the iterations if need be),
``wrong`` (an op whose rule is not its derivative), and ``zero``, ``vanish``, ``explode``, ``cut``, which the health
rules find.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradviz.debugger.births import Origin, origin
from gradviz.debugger.check import check
from gradviz.debugger.positions import BACKWARD, FORWARD, UPDATE, Position
from gradviz.debugger.timeline import RunTimeline, Timeline
from gradviz.errors import UnknownNameError
from gradviz.escape import clean
from gradviz.graphs import Frame, Node, Source
from gradviz.graphs.listing import expression_text, number_text
from gradviz.rules import Finding
from gradviz.rules import check as judge

__all__ = ["KINDS", "Birth", "blame"]

RULES = {
    "cut": ("cut", "no-gradient"),
    "zero": ("dead", "zero-gradient"),
    "vanish": ("vanishing", "saturated"),
    "explode": ("exploding", "diverging"),
}
KINDS = ("nan", "inf", "cut", "zero", "vanish", "explode", "wrong")
REWRITES: Mapping[str, str] = {
    "acos": "clip the argument: np.clip(x, -1 + eps, 1 - eps)",
    "asin": "clip the argument: np.clip(x, -1 + eps, 1 - eps)",
    "arccos": "clip the argument: np.clip(x, -1 + eps, 1 - eps)",
    "arcsin": "clip the argument: np.clip(x, -1 + eps, 1 - eps)",
    "div": "add a small number to the denominator, or choose it before dividing: x / np.where(ok, y, 1)",
    "exp": "subtract the largest first (log_softmax, logsumexp), or bound the argument: np.exp(np.minimum(x, 80))",
    "log": "np.log(x + eps); log_softmax or bce_with_logits in place of the log of a softmax or sigmoid",
    "norm": "np.sqrt(np.sum(x**2) + eps): the norm has no derivative at 0",
    "pow": "a base that cannot reach 0: (x + eps) ** p",
    "sqrt": "np.sqrt(x + eps): its derivative is infinite at 0",
}
MASKED = (
    "the where() hides it in the value, not in the gradient: choose the argument, np.log(np.where(ok, x, 1)), as well"
)


@dataclass(frozen=True)
class Birth:
    """Where a fault was born.

    ``position`` is the event, ``index`` the element of the node's value, ``operands`` the numbers there by name,
    ``made`` what came out, ``through`` the names of the nodes it went through. ``is_masked``: the value of the result
    does not show it, the gradient does. ``advice`` is the usual safe rewrite.
    """

    kind: str
    node: Node
    position: Position
    message: str
    index: tuple[int, ...] = ()
    operands: Mapping[str, float] = field(default_factory=dict)
    made: Any = None
    through: tuple[str, ...] = ()
    is_masked: bool = False
    advice: str = ""

    @property
    def iteration(self) -> int:
        """The iteration it was born in."""
        return self.position.iteration

    @property
    def phase(self) -> str:
        """The phase it was born in."""
        return self.position.phase

    @property
    def source(self) -> Source | None:
        """The line that made the node."""
        return self.node.source

    def __str__(self) -> str:
        lines = [f"{self.kind}: born at {self.position} ({self.phase}), {clean(self.message)}"]
        if self.source is not None:
            lines.append(f"  {clean(str(self.source))}  {clean(self.source.code or self.source.text)}")
        if self.operands:
            lines.append("  there: " + ", ".join(f"{clean(k)} = {number_text(v)}" for k, v in self.operands.items()))
        if self.through:
            shown = [clean(name) for name in self.through]
            lines.append(f"  and on through {', '.join(shown[:6])}{', ...' if len(shown) > 6 else ''}")
        return "\n".join([*lines, *([f"  usually helps: {self.advice}"] if self.advice else [])])


def blame(timeline: Timeline, kind: str | None = None) -> Birth | None:
    """Return where a fault was born; None if there is none of that kind, or without a kind none at all.

    Raises UnknownNameError for a kind that is not known.

    >>> import gradviz, numpy as np
    >>> from gradviz.debugger.timeline import timeline
    >>> x = gradviz.Tensor([4.0, 0.0], name="x")
    >>> found = blame(timeline(np.sum(np.sqrt(x))))
    >>> found.kind, found.node.op, found.phase, found.index
    ('inf', 'sqrt', 'backward', (1,))
    """
    if kind is not None and kind not in KINDS:
        raise UnknownNameError.among("kind of fault", kind, KINDS)
    for wanted in KINDS if kind is None else (kind,):
        found = _searched(timeline, wanted)
        if found is not None:
            return found
    return None


def _searched(timeline: Timeline, kind: str) -> Birth | None:
    if kind in {"nan", "inf"}:
        return _not_finite(timeline, kind)
    if kind == "wrong":
        return _wrong(timeline)
    return next(_judged(timeline, kind), None)


# -- what is not finite ----------------------------------------------------------------------------


def _not_finite(timeline: Timeline, kind: str) -> Birth | None:
    """Find the first iteration that shows such a number, and in it, or before it, the birth."""
    for iteration in _suspects(timeline, np.isnan if kind == "nan" else np.isinf):
        frame = timeline.steps(iteration).full
        found = origin(frame, kind)
        if found is not None:
            return _told(timeline, iteration, found, kind)
        if _is_unknown(frame):
            return _unexplained(iteration, frame, kind)
    return None


def _suspects(timeline: Timeline, test: Any) -> list[int]:
    """Return the iterations worth looking at: of a run the first whose row shows such a number."""
    if not isinstance(timeline, RunTimeline):
        return list(timeline.iterations)
    run = timeline.run
    columns = [run.loss, *(column for name in run.names for column in _norms(run[name]))]
    shown = np.any([np.ma.filled(np.ma.asarray(test(column)), False) for column in columns], axis=0)
    return [int(step) for step in run.steps[np.flatnonzero(shown)[:1]]]


def _norms(history: Any) -> tuple[Any, Any]:
    with np.errstate(all="ignore"):
        return history.norm, history.grad_norm


def _is_unknown(frame: Frame) -> bool:
    return any(node.kind == "op" and frame.values[node.id] is None for node in frame.graph)


def _told(timeline: Timeline, iteration: int, found: Origin, kind: str) -> Birth:
    """Return the birth, or where it is a parameter that came so, the update that made it."""
    if found.node.kind == "param" and found.phase == FORWARD:
        earlier = _from_before(timeline, iteration, found)
        if earlier is not None:
            return earlier
    steps = timeline.steps(iteration)
    op = steps.fold.rank[found.node.id] if found.phase == BACKWARD else found.node.id
    nodes = steps.full.graph.nodes
    return Birth(
        kind,
        found.node,
        Position(iteration, found.phase, op),
        _message(steps.full, found),
        found.index,
        found.operands,
        found.made,
        tuple(nodes[i].name for i in reversed(found.through)),
        found.is_masked,
        _advice(found),
    )


def _message(frame: Frame, found: Origin) -> str:
    node, at = found.node, f"[{', '.join(map(str, found.index))}]" if found.index else ""
    if node.kind != "op":
        return f"{node.name}{at} is {number_text(found.made)} to begin with"
    if found.phase == BACKWARD:
        to = "" if found.arg is None else f" to {frame.graph.nodes[node.inputs[found.arg]].name}{at}"
        return f"{node.name} = {expression_text(frame.graph, node)} sends {number_text(found.made)}{to}"
    masked = "; masked in the value, back in the gradient" if found.is_masked else ""
    made = f"{number_text(found.made)}{f' at {at}' if at else ''}"
    return f"{node.name} = {expression_text(frame.graph, node)} makes {made}{masked}"


def _advice(found: Origin) -> str:
    usual = REWRITES.get(found.node.op, "")
    return "; ".join(filter(None, (usual, MASKED if found.is_masked else "")))


def _from_before(timeline: Timeline, iteration: int, found: Origin) -> Birth | None:
    """Say of a parameter that came as it is what made it so: a gradient of the iteration before, or the update."""
    place = list(timeline.iterations).index(iteration)
    before = timeline.steps(timeline.iterations[place - 1]) if place else None
    if before is None or found.node.name not in before.full.graph:
        return None
    earlier = timeline.iterations[place - 1]
    node = before.full.graph[found.node.name]
    old, grad = (None if x is None else np.asarray(x) for x in _numbers(before.full, node.id))
    if old is None or not np.all(np.isfinite(old)) or (grad is not None and not np.all(np.isfinite(grad))):
        born = origin(before.full)
        kind = "nan" if born is None or np.isnan(born.made) else "inf"
        return None if born is None else _told(timeline, earlier, born, kind)
    if node.id not in before.fold.updated:
        return None
    operands = {
        name: float(x[found.index if x.shape else ()])
        for name, x in ((node.name, old), (f"d/d({node.name})", grad))
        if x is not None
    }
    kind = "nan" if np.isnan(found.made) else "inf"
    where = Position(earlier, UPDATE, before.fold.updated.index(node.id))
    message = f"the update makes {node.name} {number_text(found.made)} of finite numbers: it overflows"
    advice = "a smaller lr, or clip the gradient"
    return Birth(kind, node, where, message, found.index, operands, found.made, advice=advice)


def _unexplained(iteration: int, frame: Frame, kind: str) -> Birth:
    """Return what is known of an iteration whose values inside were not recorded."""
    bad = [n for n in frame.graph if any(x is not None and not np.all(np.isfinite(x)) for x in _numbers(frame, n.id))]
    node = bad[0] if bad else frame.graph.nodes[frame.graph.outputs[-1]]
    why = frame.meta.get("replay", "the values inside are not known")
    return Birth(kind, node, Position(iteration, FORWARD, node.id), f"{node.name} shows it first; {why}")


def _numbers(frame: Frame, id: int) -> tuple[Any, Any]:
    return frame.values[id], frame.grads[id]


# -- the other faults ------------------------------------------------------------------------------


def _wrong(timeline: Timeline) -> Birth | None:
    """Find the first op whose rule is not its derivative, in the first iteration."""
    iteration = timeline.iterations[0]
    steps = timeline.steps(iteration)
    for mismatch in check(steps.full):
        rank = steps.fold.rank.get(mismatch.node.id, 0)
        numbers = {"rule": mismatch.rule, "finite differences": mismatch.numerical}
        known = {name: number for name, number in numbers.items() if number is not None}
        where = Position(iteration, BACKWARD, rank)
        return Birth("wrong", mismatch.node, where, str(mismatch), (), known, advice="correct the rule of this op")
    return None


def _judged(timeline: Timeline, kind: str) -> Iterator[Birth]:
    """Yield what the health rules find of a kind: in a run as a whole, in frames one by one."""
    if isinstance(timeline, RunTimeline):
        judged: list[tuple[int | None, Any]] = [(None, timeline.run)]
    else:
        judged = [(i, timeline.steps(i).full) for i in timeline.iterations]
    for iteration, one in judged:
        found = (_from_finding(timeline, finding, kind, iteration) for finding in judge(one, RULES[kind]))
        yield from (birth for birth in found if birth is not None)
        if kind == "zero" and iteration is not None:
            yield from _zeroed(timeline, iteration)


def _zeroed(timeline: Timeline, iteration: int) -> Iterator[Birth]:
    """Yield the ops that send nothing but zeros although something comes in, where a parameter depends on it."""
    steps = timeline.steps(iteration)
    frame = steps.full
    idle = {node.id for node in frame.graph if node.kind == "param" and _is_zero(frame.grads[node.id])}
    for id in steps.fold.reached:
        if _is_zero(frame.grads[id]) or idle.isdisjoint(frame.graph.ancestors(id)):
            continue
        sent = [part.amount for part in steps.sent_by(frame.graph.nodes[id])]
        if sent and all(_is_zero(amount) for amount in sent):
            node = frame.graph.nodes[id]
            message = f"{node.name} = {expression_text(frame.graph, node)} sends nothing but zeros to its inputs"
            advice = "other starting weights or a smaller lr; leaky_relu in place of relu"
            yield Birth("zero", node, Position(iteration, BACKWARD, steps.fold.rank[id]), message, advice=advice)


def _is_zero(x: Any) -> bool:
    return x is not None and np.size(x) > 0 and not np.any(x)


def _from_finding(timeline: Timeline, finding: Finding, kind: str, iteration: int | None) -> Birth | None:
    iteration = finding.step if iteration is None else iteration
    if iteration is None or finding.severity == "note":
        return None
    steps = timeline.steps(iteration)
    if finding.node is None or finding.node not in steps.full.graph:
        return None
    node = steps.full.graph[finding.node]
    rank = steps.fold.rank.get(node.id)
    where = Position(iteration, FORWARD, node.id) if rank is None else Position(iteration, BACKWARD, rank)
    numbers = {key: float(x) for key, x in finding.numbers.items() if isinstance(x, int | float)}
    return Birth(kind, node, where, finding.message, (), numbers, advice=finding.advice)
