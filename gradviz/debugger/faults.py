"""Faults that are finite: a wrong rule, a path that is cut, gradients that are 0, vanish or explode."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gradviz.debugger.births import Birth
from gradviz.debugger.check import Mismatch, check
from gradviz.debugger.positions import BACKWARD, FORWARD, Position
from gradviz.debugger.timeline import FrameTimeline, RunTimeline, Timeline
from gradviz.graphs import Frame, Node
from gradviz.graphs.listing import expression_text
from gradviz.rules import Finding
from gradviz.rules import check as judge
from gradviz.rules.evidence import OneFrame

__all__ = ["RULES", "judged", "mismatches", "wrong"]

RULES = {
    "cut": ("cut", "no-gradient"),
    "zero": ("dead", "zero-gradient"),
    "vanish": ("vanishing", "saturated"),
    "explode": ("exploding", "diverging"),
}
CHECKED = 3  # iterations whose rules are checked: the first, the middle, the last
IDLE = "other starting weights or a smaller lr; leaky_relu in place of relu"


def mismatches(timeline: Timeline, **options: Any) -> Iterator[tuple[int, Mismatch]]:
    """Yield the wrong rules of the first, the middle and the last iteration, with the iteration; each line once.

    ``options`` are those of `gradviz.debugger.check.check`.
    """
    iterations = timeline.iterations
    places = sorted({round(i * (len(iterations) - 1) / (CHECKED - 1)) for i in range(CHECKED)}) if iterations else []
    known = set()
    for place in places:
        for mismatch in check(timeline.steps(iterations[place]).full, **options):
            key = (mismatch.node.name, mismatch.arg, str(mismatch.source))
            if mismatch.is_asked and key not in known:
                known.add(key)
                yield iterations[place], mismatch


def wrong(timeline: Timeline, **options: Any) -> Iterator[Birth]:
    """Yield the ops whose rule is not their derivative; ``options`` are those of `gradviz.debugger.check.check`."""
    for iteration, mismatch in mismatches(timeline, **options):
        rank = timeline.steps(iteration).fold.rank.get(mismatch.node.id, 0)
        numbers = {"rule": mismatch.rule, "finite differences": mismatch.numerical}
        known = {name: number for name, number in numbers.items() if number is not None}
        where = Position(iteration, BACKWARD, rank)
        yield Birth("wrong", mismatch.node, where, mismatch.what, (), known, advice="correct the rule of this op")


def judged(timeline: Timeline, kind: str) -> Iterator[Birth]:
    """Yield what the health rules find of a kind: in a run as a whole, in frames one by one."""
    if isinstance(timeline, RunTimeline):
        yield from _told(timeline, timeline.run, kind, None)
        return
    absent = timeline.absent if isinstance(timeline, FrameTimeline) else {}
    for iteration in timeline.iterations:
        yield from _told(timeline, OneFrame(timeline.steps(iteration).full, absent), kind, iteration)
        if kind == "zero":
            yield from _zeroed(timeline, iteration)


def _told(timeline: Timeline, one: Any, kind: str, iteration: int | None) -> Iterator[Birth]:
    for finding in judge(one, RULES[kind]):
        at = finding.step if iteration is None else iteration
        if at is not None and finding.severity != "note":
            yield _from_finding(timeline, finding, kind, at)


def _from_finding(timeline: Timeline, finding: Finding, kind: str, iteration: int) -> Birth:
    steps = timeline.steps(iteration)
    graph = steps.full.graph
    result = graph.nodes[graph.outputs[-1]]
    node = graph[finding.node] if finding.node is not None and finding.node in graph else result
    ops = finding.numbers.get("ops")
    if ops:
        node = _steepest(steps.full, node, ops, 1 if kind == "explode" else -1)
    rank = steps.fold.rank.get(node.id)
    is_cut_off = rank is None or (kind == "cut" and node.kind != "op")
    where = Position(iteration, FORWARD, node.id) if is_cut_off else Position(iteration, BACKWARD, rank or 0)
    numbers = {key: float(x) for key, x in finding.numbers.items() if isinstance(x, int | float)}
    return Birth(kind, node, where, finding.message, (), numbers, advice=finding.advice)


def _steepest(frame: Frame, start: Node, ops: Mapping[str, Mapping[str, float]], sign: int) -> Node:
    """Return the op on the way to ``start`` at which most of a gradient is lost (-1) or won (1)."""
    worst = max(ops, key=lambda op: (sign * ops[op]["decades"], op))
    ids = [id for id in (start.id, *frame.graph.descendants(start)) if frame.graph.nodes[id].op == worst]
    found = [(sign * _decades(frame, id), id) for id in ids]
    return frame.graph.nodes[max(found, default=(0.0, start.id))[1]]


def _decades(frame: Frame, id: int) -> float:
    """Return by how many decades a gradient grows in an op, or -inf if it cannot be told."""
    came = _size(frame.grads[id])
    inputs = enumerate(frame.graph.nodes[id].inputs)
    sent = max((_size(frame.edge_grad(src, id, arg)) for arg, src in inputs), default=0.0)
    return math.log10(sent / came) if sent > 0 and came > 0 else -math.inf


def _size(grad: Any) -> float:
    with np.errstate(all="ignore"):
        return 0.0 if grad is None or not np.size(grad) else float(np.sqrt(np.mean(np.square(grad))))


def _zeroed(timeline: Timeline, iteration: int) -> Iterator[Birth]:
    """Yield the ops that send nothing but zeros although something comes in, where a parameter depends on it."""
    steps = timeline.steps(iteration)
    frame = steps.full
    idle = _fed_by(frame, {n.id for n in frame.graph if n.kind == "param" and _is_zero(frame.grads[n.id])})
    for id in steps.fold.reached:
        node = frame.graph.nodes[id]
        if id not in idle or node.kind != "op" or _is_zero(frame.grads[id]):
            continue
        sent = [part.amount for part in steps.sent_by(node)]
        if sent and all(_is_zero(amount) for amount in sent):
            message = f"{node.name} = {expression_text(frame.graph, node)} sends nothing but zeros to its inputs"
            yield Birth("zero", node, Position(iteration, BACKWARD, steps.fold.rank[id]), message, advice=IDLE)


def _fed_by(frame: Frame, starts: set[int]) -> set[int]:
    """Return everything computed from these nodes."""
    found = set(starts)
    for node in frame.graph:
        if not found.isdisjoint(node.inputs):
            found.add(node.id)
    return found


def _is_zero(x: Any) -> bool:
    return x is not None and np.size(x) > 0 and not np.any(x)
