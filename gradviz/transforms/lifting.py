"""Graphs of groups: nodes put together, edges lifted, every number still found where it was.

A *partition* says which old node belongs to which group. `lift` makes a frame with one node
per group, in an order in which no edge leads backwards.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gradviz.graphs import Frame, Graph, Node, Number
from gradviz.graphs.nodes import Edge
from gradviz.graphs.plain import FrozenMapping
from gradviz.transforms.slots import OUT, Origins, Slots, ordered_links, slots_of

__all__ = ["OUT", "Group", "Lifted", "lift", "membership", "placed"]

Stack = Callable[[Sequence[Number | None]], Number | None]
PLACE = re.compile(r"\{(\d+)\}")


@dataclass(slots=True)
class Group:
    """Some old nodes that become one: ``single`` as it was, ``folded`` rounds, or a ``scope``.

    ``scope`` is that of the new node, None for that of the old one; ``rounds`` says which of its names stand for how
    many rounds of a loop, as pairs of how many names lead there and the count, and ``fold`` is the path of the fold
    that it is in, by which that can be opened.
    """

    kind: str
    members: list[int] = field(default_factory=list)
    name: str = ""
    scope: tuple[str, ...] | None = None
    rounds: tuple[tuple[int, int], ...] = ()
    fold: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lifted:
    """The edge numbers of a lifted frame, looked up in the frame it was made from."""

    origin: Frame
    of: tuple[int, ...]  # old node -> new node or OUT
    edges: Mapping[tuple[int, int], tuple[Edge, ...]]  # (new dst, new arg) -> old edges
    kinds: tuple[str, ...]  # of the new nodes
    carried: Mapping[
        tuple[int, int], tuple[Edge, ...]
    ]  # (new src, new dst) -> old edges, from one round to a later one

    def grad(self, src: int, dst: int, arg: int) -> Number | None:
        """Return what the old edges contributed: one by one between rounds, else their sum."""
        found = [self.origin.edge_grad(*edge) for edge in self.edges[dst, arg]]
        if len(found) == 1:
            return found[0]
        return _reached(found) if self.kinds[src] == "folded" else _summed(found)

    def local(self, src: int, dst: int, arg: int) -> Number | None:
        """Return the local derivative; a scope has none, folded rounds have one each."""
        found = [self.origin.local(*edge) for edge in self.edges[dst, arg]]
        if len(found) == 1:
            return found[0]
        return None if "scope" in (self.kinds[src], self.kinds[dst]) else _stacked(found)

    def carried_grad(self, src: int, dst: int) -> Number | None:
        """Return what came back to a node from the rounds after, as one array, the rounds first."""
        return _reached([self.origin.edge_grad(*edge) for edge in self.carried.get((src, dst), ())])


def _stacked(numbers: Sequence[Number | None]) -> Number | None:
    """Return equal-shaped numbers as one array, the rounds first; None if one is missing."""
    kinds = set(map(type, numbers))
    if kinds == {float}:
        return np.array(numbers)
    arrays = [np.asarray(number) for number in numbers if number is not None]
    if not arrays or len(arrays) < len(numbers) or len({array.shape for array in arrays}) != 1:
        return None
    return np.stack(arrays)


def _reached(numbers: Sequence[Number | None]) -> Number | None:
    """Return the gradients of the rounds that have one as one array, the rounds first."""
    return _stacked([number for number in numbers if number is not None])


def _summed(numbers: Sequence[Number | None]) -> Number | None:
    arrays = [np.asarray(number) for number in numbers if number is not None]
    if len({array.shape for array in arrays}) != 1:
        return None
    with np.errstate(all="ignore"):
        total: np.ndarray = np.sum(np.stack(arrays), axis=0)
    return float(total) if total.ndim == 0 else total


def lift(frame: Frame, groups: Sequence[Group], handed_on: np.ndarray | None = None) -> Frame:
    """Return the frame with one node per group.

    A folded node holds the values of its rounds as one array, the round first, and in
    ``attrs`` their number (``folded``) and the nodes it takes over from the round before
    (``carried``); where a gradient has reached only some of them, how many (``reached``). A
    scope holds how many nodes are in it (``inside``) and, where only one of them is used
    outside, that one's numbers. ``rounds`` in ``attrs`` says which names of a scope stand for
    how many rounds of a loop. ``handed_on`` marks the edges, in the order of ``graph.edges``,
    that lead from one round of a loop to a later one.
    """
    ordered, of, slots = _arranged(frame.graph, groups, handed_on)
    builder = Builder(frame, ordered, of, slots)
    nodes = builder.nodes()
    values, grads = builder.numbers(frame.values, _stacked), builder.numbers(frame.grads, _reached)
    outputs = tuple(dict.fromkeys(int(of[i]) for i in frame.graph.outputs if of[i] != OUT))
    kinds = tuple(group.kind for group in ordered)
    edges = Lifted(frame, tuple(of.tolist()), slots.origins, kinds, slots.carried)
    return Frame(Graph(nodes, outputs), values, grads, edges, frame.step, frame.meta)


def _arranged(graph: Graph, groups: Sequence[Group], handed_on: np.ndarray | None) -> tuple[list[Group], Any, Slots]:
    of = np.array(membership(len(graph), groups), np.int64)
    before, after = ordered_links(graph, of, len(groups), handed_on)
    order = _order([group.members[0] for group in groups], before, after)
    rank = np.empty(len(groups) + 1, np.int64)
    rank[order] = np.arange(len(groups))
    rank[-1] = OUT
    ordered = [groups[i] for i in order]
    return ordered, rank[of], slots_of(graph, rank[of], [group.kind for group in ordered], handed_on)


def placed(graph: Graph, groups: Sequence[Group]) -> tuple[list[Group], list[int]]:
    """Return the groups in an order that edges follow, and the group of each old node.

    Where groups depend on each other in a circle, the one that starts first comes first, and
    some edges lead backwards.
    """
    ordered, of, _ = _arranged(graph, groups, None)
    return ordered, of.tolist()


def membership(count: int, groups: Sequence[Group]) -> list[int]:
    """Return the group of every old node."""
    of = [OUT] * count
    for number, group in enumerate(groups):
        for member in group.members:
            of[member] = number
    return of


def _order(firsts: list[int], waiting: list[int], after: list[list[int]]) -> list[int]:
    """Kahn's algorithm, earliest first; when a circle blocks it, the earliest of all goes next."""
    ready = [(first, group) for group, first in enumerate(firsts) if not waiting[group]]
    blocked = sorted((first, group) for group, first in enumerate(firsts))
    heapq.heapify(ready)
    done = [False] * len(firsts)
    order: list[int] = []
    position = 0
    while len(order) < len(firsts):
        while not ready:
            if not done[blocked[position][1]]:
                ready.append(blocked[position])
            position += 1
        group = heapq.heappop(ready)[1]
        if done[group]:
            continue
        done[group] = True
        order.append(group)
        for follower in after[group]:
            waiting[follower] -= 1
            if not waiting[follower] and not done[follower]:
                heapq.heappush(ready, (firsts[follower], follower))
    return order


class Builder:
    """Makes the nodes of a lifted graph."""

    def __init__(self, frame: Frame, groups: Sequence[Group], of: Any, slots: Slots) -> None:
        self.frame = frame
        self.graph = frame.graph
        self.groups = groups
        self.of = of
        self.slots = slots
        self.origins: Origins = slots.origins
        self.exits = slots.exits
        self.has_folds = any(node.attrs and "folded" in node.attrs for node in self.graph.nodes)
        self.takes_over = {node.id for node in self.graph.nodes if node.attrs and "carried" in node.attrs}

    def nodes(self) -> tuple[Node, ...]:
        """Return the new nodes, their names unique."""
        taken: set[str] = {group.name for group in self.groups if group.kind == "single"}
        found = []
        for number, group in enumerate(self.groups):
            node = self.node(number, group)
            if group.kind != "single":
                node = replace(node, name=unused(node.name, taken))
            taken.add(node.name)
            found.append(node)
        return tuple(found)

    def node(self, number: int, group: Group) -> Node:
        """Return one new node."""
        inputs = self.slots.inputs[number]
        first = self.graph.nodes[group.members[0]]
        carried = tuple(sorted({*self.slots.taken_over.get(number, ()), *self.carried_before(group)}))
        extra: dict[str, Any] = {"carried": carried} if carried else {}
        if group.rounds:
            extra["rounds"] = group.rounds
        if group.fold:
            extra["fold"] = group.fold
        scope = first.scope if group.scope is None else group.scope
        if group.kind == "scope":
            shape, dtype = self.shape_of(group, number)
            attrs = FrozenMapping(self.notes(group) | extra)
            return Node(number, group.name, "scope", "op", inputs, shape, dtype, attrs, scope)
        formulas = self.formulas(first, number, len(inputs))
        if group.kind == "folded":
            extra["folded"] = self.count(group)
            reached = sum(self.frame.grads[member] is not None for member in group.members)
            if 0 < reached < len(group.members):
                extra["reached"] = reached
        kept = FrozenMapping({**first.attrs, **extra}) if extra else first.attrs
        changed = replace(first, id=number, inputs=inputs, formulas=formulas, attrs=kept, scope=scope)
        if group.kind == "single":
            return changed
        return replace(changed, name=group.name, shape=(len(group.members), *first.shape))

    def count(self, group: Group) -> int:
        """Return how many nodes a fold stands for; some may be folds themselves."""
        if not self.has_folds:
            return len(group.members)
        return sum(self.graph.nodes[member].attrs.get("folded", 1) for member in group.members)

    def carried_before(self, group: Group) -> Iterator[int]:
        """Yield what nodes that were folded before take over from the round before."""
        for member in group.members if self.takes_over else ():
            if member in self.takes_over:
                sources = (src for src in self.graph.nodes[member].attrs["carried"] if src < len(self.of))
                yield from (int(self.of[src]) for src in sources if self.of[src] != OUT)

    def notes(self, group: Group) -> dict[str, int]:
        """Return how many nodes a scope holds, and how often, if all of it was folded into as many rounds."""
        nodes = (self.graph.nodes[member] for member in group.members)
        counts = {node.attrs.get("folded", 1) if node.attrs else 1 for node in nodes}
        count = counts.pop() if len(counts) == 1 else 1
        return {"inside": len(group.members)} | ({"folded": count} if count > 1 else {})

    def shape_of(self, group: Group, number: int) -> tuple[tuple[int, ...], str]:
        """Return shape and dtype of what comes out of a scope."""
        node = self.graph.nodes[(self.exits.get(number) or group.members)[-1]]
        return node.shape, node.dtype

    def formulas(self, first: Node, number: int, count: int) -> tuple[str, ...]:
        """Return the formula of every new edge, its places renumbered or filled with names."""
        if not first.formulas:
            return ()
        old_args = [self.origins.first(number, arg)[2] for arg in range(count)]
        new_arg = {}
        for arg in range(count - 1, -1, -1):
            new_arg[old_args[arg]] = arg
        found = []
        for old in old_args:
            template = first.formulas[old] if old < len(first.formulas) else ""
            found.append(self.renumbered(template, first, new_arg))
        return tuple(found) if any(found) else ()

    def renumbered(self, template: str, first: Node, new_arg: dict[int, int]) -> str:
        """Return a formula for the operands that are left; a name that looks like a place spoils it."""

        def place(hit: re.Match[str]) -> str:
            old = int(hit[1])
            if old in new_arg or old >= len(first.inputs):
                return f"{{{new_arg.get(old, old)}}}"
            return self.graph.nodes[first.inputs[old]].name

        if "{" not in template:
            return template
        names = "".join(self.graph.nodes[src].name for src in first.inputs)
        return "" if "{" in names else PLACE.sub(place, template)

    def numbers(self, numbers: Sequence[Number | None], stack: Stack) -> list[Number | None]:
        """Return the values (or gradients) of the new nodes."""
        return [self.number(numbers, number, group, stack) for number, group in enumerate(self.groups)]

    def number(self, numbers: Sequence[Number | None], number: int, group: Group, stack: Stack) -> Number | None:
        """Return one of them."""
        if group.kind == "single":
            return numbers[group.members[0]]
        if group.kind == "folded":
            return stack([numbers[member] for member in group.members])
        exits = self.exits.get(number, ())
        return numbers[exits[0]] if len(exits) == 1 else None


def unused(name: str, taken: Iterable[str]) -> str:
    """Return the name, with a number after it if it is taken.

    >>> unused("layer", {"layer", "layer (2)"})
    'layer (3)'
    """
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name} ({number})"
    return found
