"""Faults that are finite: a wrong rule, a path that is cut, gradients that are 0, vanish or explode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradviz.debugger.births import Birth
from gradviz.debugger.check import check
from gradviz.debugger.positions import BACKWARD, FORWARD, Position
from gradviz.debugger.timeline import FrameTimeline, RunTimeline, Timeline
from gradviz.graphs import Frame
from gradviz.graphs.listing import expression_text
from gradviz.rules import Finding
from gradviz.rules import check as judge
from gradviz.rules.evidence import OneFrame

__all__ = ["RULES", "judged", "wrong"]

RULES = {
    "cut": ("cut", "no-gradient"),
    "zero": ("dead", "zero-gradient"),
    "vanish": ("vanishing", "saturated"),
    "explode": ("exploding", "diverging"),
}
CHECKED = 3  # iterations whose rules are checked: the first, the middle, the last
IDLE = "other starting weights or a smaller lr; leaky_relu in place of relu"


def wrong(timeline: Timeline) -> Iterator[Birth]:
    """Yield the ops whose rule is not their derivative, in the first, the middle and the last iteration."""
    iterations = timeline.iterations
    places = sorted({round(i * (len(iterations) - 1) / (CHECKED - 1)) for i in range(CHECKED)}) if iterations else []
    for place in places:
        steps = timeline.steps(iterations[place])
        for mismatch in check(steps.full):
            rank = steps.fold.rank.get(mismatch.node.id, 0)
            numbers = {"rule": mismatch.rule, "finite differences": mismatch.numerical}
            known = {name: number for name, number in numbers.items() if number is not None}
            where = Position(iterations[place], BACKWARD, rank)
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
    rank = steps.fold.rank.get(node.id)
    is_cut_off = rank is None or (kind == "cut" and node.kind != "op")
    where = Position(iteration, FORWARD, node.id) if is_cut_off else Position(iteration, BACKWARD, rank or 0)
    numbers = {key: float(x) for key, x in finding.numbers.items() if isinstance(x, int | float)}
    return Birth(kind, node, where, finding.message, (), numbers, advice=finding.advice)


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
