"""Graphs of groups: nodes put together, edges lifted, every number still found where it was.

A *partition* says which old node belongs to which group. `lift` makes a frame with one node
per group, in an order in which no edge leads backwards.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gradviz.graphs import Frame, Graph, Node, Number
from gradviz.graphs.nodes import Edge
from gradviz.graphs.plain import FrozenMapping

__all__ = ["OUT", "Group", "Lifted", "lift", "placed"]

OUT = -1  # the group of nodes that are left out
PLACE = re.compile(r"\{(\d+)\}")


@dataclass(slots=True)
class Group:
    """Some old nodes that become one: ``single`` as it was, ``folded`` rounds, or a ``scope``."""

    kind: str
    members: list[int] = field(default_factory=list)
    name: str = ""
    scope: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lifted:
    """The edge numbers of a lifted frame, looked up in the frame it was made from."""

    origin: Frame
    of: tuple[int, ...]  # old node -> new node or OUT
    edges: dict[tuple[int, int], tuple[Edge, ...]]  # (new dst, new arg) -> old edges
    kinds: tuple[str, ...]  # of the new nodes

    def grad(self, src: int, dst: int, arg: int) -> Number | None:
        """Return what the old edges contributed: one by one between rounds, else their sum."""
        found = [self.origin.edge_grad(*edge) for edge in self.edges[dst, arg]]
        if len(found) == 1:
            return found[0]
        return _stacked(found) if self.kinds[src] == "folded" else _summed(found)

    def local(self, src: int, dst: int, arg: int) -> Number | None:
        """Return the local derivative; a scope has none, folded rounds have one each."""
        found = [self.origin.local(*edge) for edge in self.edges[dst, arg]]
        if len(found) == 1:
            return found[0]
        return None if "scope" in (self.kinds[src], self.kinds[dst]) else _stacked(found)


def _stacked(numbers: Sequence[Number | None]) -> Number | None:
    """Return equal-shaped numbers as one array, the rounds first; None if one is missing."""
    arrays = [np.asarray(number) for number in numbers if number is not None]
    if len(arrays) < len(numbers) or len({array.shape for array in arrays}) != 1:
        return None
    return np.stack(arrays)


def _summed(numbers: Sequence[Number | None]) -> Number | None:
    arrays = [np.asarray(number) for number in numbers if number is not None]
    if len({array.shape for array in arrays}) != 1:
        return None
    with np.errstate(all="ignore"):
        total: np.ndarray = np.sum(np.stack(arrays), axis=0)
    return float(total) if total.ndim == 0 else total


def lift(frame: Frame, groups: Sequence[Group]) -> Frame:
    """Return the frame with one node per group.

    A folded node holds the values of its rounds as one array, the round first, and in
    ``attrs`` their number (``folded``) and the nodes it takes over from the round before
    (``carried``). A scope holds how many nodes are in it (``inside``) and, where only one
    of them is used outside, that one's numbers.
    """
    ordered, of = placed(frame.graph, groups)
    builder = Builder(frame, ordered, of)
    nodes = builder.nodes()
    values, grads = (builder.numbers(numbers) for numbers in (frame.values, frame.grads))
    outputs = tuple(dict.fromkeys(of[i] for i in frame.graph.outputs if of[i] != OUT))
    edges = Lifted(frame, tuple(of), builder.origins, tuple(group.kind for group in ordered))
    return Frame(Graph(nodes, outputs), values, grads, edges, frame.step, frame.meta)


def placed(graph: Graph, groups: Sequence[Group]) -> tuple[list[Group], list[int]]:
    """Return the groups in an order that edges follow, and the group of each old node.

    Where groups depend on each other in a circle, the one that starts first comes first, and
    some edges lead backwards.
    """
    of = membership(len(graph), groups)
    before: list[set[int]] = [set() for _ in groups]
    after: list[set[int]] = [set() for _ in groups]
    for src, dst, _ in graph.edges:
        if OUT not in (of[src], of[dst]) and of[src] != of[dst]:
            before[of[dst]].add(of[src])
            after[of[src]].add(of[dst])
    order = _order([group.members[0] for group in groups], [len(found) for found in before], after)
    rank = {group: position for position, group in enumerate(order)}
    return [groups[i] for i in order], [OUT if group == OUT else rank[group] for group in of]


def membership(count: int, groups: Sequence[Group]) -> list[int]:
    """Return the group of every old node."""
    of = [OUT] * count
    for number, group in enumerate(groups):
        for member in group.members:
            of[member] = number
    return of


def _order(firsts: list[int], waiting: list[int], after: list[set[int]]) -> list[int]:
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
    """Makes the nodes of a lifted graph and remembers where their edges came from."""

    def __init__(self, frame: Frame, groups: Sequence[Group], of: Sequence[int]) -> None:
        self.frame = frame
        self.graph = frame.graph
        self.groups = groups
        self.of = of
        self.origins: dict[tuple[int, int], tuple[Edge, ...]] = {}
        self.exits = self.find_exits()

    def find_exits(self) -> list[list[int]]:
        """Return for every group the members that are used outside it or are results."""
        exits: list[dict[int, None]] = [{} for _ in self.groups]
        for src, dst, _ in self.graph.edges:
            if self.of[src] not in (OUT, self.of[dst]):
                exits[self.of[src]][src] = None
        for output in self.graph.outputs:
            if self.of[output] != OUT:
                exits[self.of[output]][output] = None
        return [sorted(found) for found in exits]

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
        inputs, carried = self.inputs(number, group)
        first = self.graph.nodes[group.members[0]]
        carried = tuple(sorted({*carried, *self.carried_before(group)}))
        if group.kind == "scope":
            shape, dtype = self.shape_of(group, number)
            attrs = FrozenMapping(self.notes(group) | ({"carried": carried} if carried else {}))
            return Node(number, group.name, "scope", "op", inputs, shape, dtype, attrs, group.scope)
        formulas = self.formulas(first, number, len(inputs))
        changed = replace(first, id=number, inputs=inputs, formulas=formulas)
        if carried:
            changed = replace(changed, attrs=FrozenMapping({**first.attrs, "carried": carried}))
        if group.kind == "single":
            return changed
        count = len(group.members)
        attrs = FrozenMapping({**changed.attrs, "folded": count})
        return replace(changed, name=group.name, shape=(count, *first.shape), attrs=attrs, scope=group.scope)

    def carried_before(self, group: Group) -> Iterator[int]:
        """Yield what nodes that were folded before take over from the round before."""
        for member in group.members:
            yield from (
                self.of[src] for src in self.graph.nodes[member].attrs.get("carried", ()) if self.of[src] != OUT
            )

    def notes(self, group: Group) -> dict[str, int]:
        """Return how many nodes a scope holds, and how often, if all of it was folded into as many rounds."""
        counts = {self.graph.nodes[member].attrs.get("folded", 1) for member in group.members}
        count = counts.pop() if len(counts) == 1 else 1
        return {"inside": len(group.members)} | ({"folded": count} if count > 1 else {})

    def shape_of(self, group: Group, number: int) -> tuple[tuple[int, ...], str]:
        """Return shape and dtype of what comes out of a scope."""
        node = self.graph.nodes[(self.exits[number] or group.members)[-1]]
        return node.shape, node.dtype

    def inputs(self, number: int, group: Group) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the groups that lead here and, apart, those that lead back to here."""
        found: dict[tuple[int, int], list[Edge]] = {}
        carried: dict[int, None] = {}
        for dst in group.members:
            for arg, src in enumerate(self.graph.nodes[dst].inputs):
                source = self.of[src]
                if source == OUT or (source == number and group.kind != "folded"):
                    continue
                if source >= number:
                    carried[source] = None
                else:
                    found.setdefault(self.slot(group, source, src, arg), []).append((src, dst, arg))
        slots = sorted(found) if group.kind == "folded" else list(found)
        for new_arg, slot in enumerate(slots):
            self.origins[number, new_arg] = tuple(found[slot])
        return tuple(self.of[found[slot][0][0]] for slot in slots), tuple(sorted(carried))

    def slot(self, group: Group, source: int, src: int, arg: int) -> tuple[int, int]:
        """Return what makes two old edges one: the same operand, and for a scope the same value."""
        return (source, src) if group.kind == "scope" else (arg, source)

    def formulas(self, first: Node, number: int, count: int) -> tuple[str, ...]:
        """Return the formula of every new edge, its places renumbered or filled with names."""
        new_arg = {}
        for arg in range(count - 1, -1, -1):
            new_arg[self.origins[number, arg][0][2]] = arg
        found = []
        for arg in range(count):
            old = self.origins[number, arg][0][2]
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

        names = "".join(self.graph.nodes[src].name for src in first.inputs)
        return "" if "{" in names else PLACE.sub(place, template)

    def numbers(self, numbers: Sequence[Number | None]) -> list[Number | None]:
        """Return the values (or gradients) of the new nodes."""
        return [self.number(numbers, number, group) for number, group in enumerate(self.groups)]

    def number(self, numbers: Sequence[Number | None], number: int, group: Group) -> Number | None:
        """Return one of them."""
        if group.kind == "single":
            return numbers[group.members[0]]
        if group.kind == "folded":
            return _stacked([numbers[member] for member in group.members])
        exits = self.exits[number]
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
