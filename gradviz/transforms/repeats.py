"""Repeated structure: which round of which loop every node of a graph belongs to, loops in loops.

Three things make a loop: sibling scopes with equal insides (`gradviz.transforms.blocks`), what the same source lines
made again and again, and, where no line is known, equal structure that comes in a row. A loop that is found once inside
a block holds for all its copies.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from gradviz.graphs import Frame, Graph
from gradviz.transforms.blocks import Run, scope_runs
from gradviz.transforms.branches import find_branching
from gradviz.transforms.hashing import Hashes, Ints, edge_arrays, labels, leaf_labels, mixed, total
from gradviz.transforms.sequences import Levels, Wires, find_loops

__all__ = ["Found", "Repeats", "find_repeats"]

CLEARER = 0.6  # of the size; a reading with branches must be that much smaller than one without
ANOTHER_ORDER = 60  # groups left in a graph without lines; above, the order of a walk from the results is tried


@dataclass(slots=True)
class Found:
    """A loop: how many rounds it has, the loop around it (or -1), and the run of scopes that it is, if it is one."""

    parent: int
    level: int
    count: int
    run: Run | None


@dataclass(slots=True)
class Repeats:
    """For every node its loops, the outermost first, its round in each, and its place.

    Nodes with equal ``place`` are the same thing in different rounds. ``depth`` is the number of loops around a node;
    ``loops[level][node]`` is -1 where there is none.
    """

    found: list[Found]
    place: Hashes
    depth: Ints
    loops: list[Ints]
    rounds: list[Ints]


def find_repeats(frame: Frame, fewest: int, keep: Collection[int] = (), *, scopes_only: bool = False) -> Repeats:
    """Return the repeated structure of a graph: what comes at least ``fewest`` times.

    A scope with a node to ``keep`` or a result in it is no copy of another. ``scopes_only`` leaves out what no scope
    says.

    >>> from gradviz.graphs import Node
    >>> nodes = [Node(0, "x", "input", "input")]
    >>> for i in range(1, 9, 2):
    ...     nodes += [Node(i, f"a{i}", "sin", "op", (i - 1,)), Node(i + 1, f"b{i}", "cos", "op", (i,))]
    >>> found = find_repeats(Frame(Graph(tuple(nodes), (8,)), [None] * 9, [None] * 9), 3)
    >>> [loop.count for loop in found.found], found.rounds[0].tolist()
    ([4], [0, 0, 0, 1, 1, 2, 2, 3, 3])
    """
    search = Search(frame, fewest, keep)
    jobs = [Job(np.arange(len(frame.graph))[None, :], 0)]
    while jobs:
        jobs += search.look(jobs.pop(), scopes_only=scopes_only)
    if not scopes_only:
        search.attach_leaves()
    return search.result()


@dataclass(frozen=True, slots=True)
class Job:
    """Copies of one block, a row each, and how many names of scopes its nodes have in common."""

    copies: Ints
    depth: int


@dataclass(slots=True)
class Search:
    """Finds loops from the outside in; what is known of every node so far."""

    frame: Frame
    fewest: int
    keep: Collection[int]
    place: Hashes = field(init=False)
    depth: Ints = field(init=False)
    keys: list[Hashes] = field(default_factory=list)
    rounds: list[Ints] = field(default_factory=list)
    runs: dict[int, Run] = field(default_factory=dict)
    count: int = 0

    def __post_init__(self) -> None:
        self.place = np.zeros(len(self.frame.graph), np.uint64)
        self.depth = np.zeros(len(self.frame.graph), np.int64)
        self.wiring = edge_arrays(self.frame.graph)
        self.is_op = np.array([node.kind == "op" for node in self.frame.graph.nodes], bool)
        self.leaves = leaf_labels(self.frame.graph)

    wiring: tuple[Ints, Ints, Ints] = field(init=False)
    is_op: np.ndarray = field(init=False)
    leaves: Hashes = field(init=False)

    def push(self, at: Ints, keys: Hashes, rounds: Ints) -> None:
        """Note one more loop around nodes, inside those known."""
        for level in np.unique(self.depth[at]).tolist():
            while len(self.keys) <= level:
                self.keys.append(np.zeros(len(self.place), np.uint64))
                self.rounds.append(np.full(len(self.place), -1, np.int64))
            here = self.depth[at] == level
            self.keys[level][at[here]] = keys[here]
            self.rounds[level][at[here]] = rounds[here]
        self.depth[at] += 1

    def look(self, job: Job, *, scopes_only: bool) -> list[Job]:
        """Note the loops in one block, for all its copies; return the blocks inside."""
        self.count += 1
        row = job.copies[0]
        columns = np.full(len(self.frame.graph), -1, np.int64)
        columns[row] = np.arange(len(row))
        free = np.ones(len(row), bool)
        inner: list[Job] = []
        for run in scope_runs(self.frame, row.tolist(), job.depth, self.fewest, self.keep):
            parts = columns[np.array(run.blocks, np.int64)]
            free[parts] = False
            copies = job.copies[:, parts]
            key = mixed([self.count], [len(inner)], [17])
            rounds = np.broadcast_to(np.arange(parts.shape[0])[None, :, None], copies.shape)
            self.runs[int(key[0])] = run
            self.push(copies.reshape(-1), np.repeat(key, copies.size), rounds.reshape(-1))
            inner.append(Job(copies.reshape(-1, parts.shape[1]), len(run.scopes[0])))
        rest = job.copies[:, free]
        self.place[rest] = mixed([self.count], np.arange(rest.shape[1]))[None, :]
        if not scopes_only:
            self.in_a_row(rest[:, self.is_op[rest[0]]])
        return inner

    def in_a_row(self, copies: Ints) -> None:
        """Note the loops in a sequence of ops."""
        if copies.shape[1] < self.fewest:
            return
        order, levels = best_reading(self, copies[0].tolist())
        ordered = copies[:, order]
        items = levels.items()
        top = np.where(levels.joined[items], 0, items + 1)
        looped = levels.depth > 0
        places = mixed([self.count], top, levels.place)
        self.place[ordered[:, looped]] = places[looped][None, :]
        for outer in range(len(levels.rounds)):
            level = levels.depth - 1 - outer
            at = np.flatnonzero(level >= 0)
            rounds, keys = np.stack(levels.rounds)[level[at], at], np.stack(levels.keys)[level[at], at]
            nodes = ordered[:, at]
            key = np.broadcast_to(mixed([self.count], top[at], keys)[None, :], nodes.shape)
            self.push(nodes.reshape(-1), key.reshape(-1), np.broadcast_to(rounds[None, :], nodes.shape).reshape(-1))

    def attach_leaves(self) -> None:
        """Put every leaf into the round that all its users are in."""
        src, dst, arg = self.wiring
        here = ~self.is_op[src]
        src, dst, arg = src[here], dst[here], arg[here]
        if not len(src):
            return
        order = np.argsort(src, kind="stable")
        src, dst, arg = src[order], dst[order], arg[order]
        starts = np.flatnonzero(np.r_[True, src[1:] != src[:-1]])
        nodes, users = src[starts], dst[starts]
        one = np.ones(len(nodes), bool)
        depth = np.zeros(len(nodes), np.int64)
        for keys, rounds in zip(self.keys, self.rounds, strict=True):
            for array in (keys, rounds):
                of = array[dst]
                one &= np.minimum.reduceat(of, starts) == np.maximum.reduceat(of, starts)
            one &= keys[users] != 0
            depth += one
        better = depth > self.depth[nodes]
        leaf = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(src)]))
        uses = total(mixed(self.place[dst], arg), leaf, len(starts))
        for level, (keys, rounds) in enumerate(zip(self.keys, self.rounds, strict=True)):
            at = better & (depth > level)
            keys[nodes[at]] = keys[users[at]]
            rounds[nodes[at]] = rounds[users[at]]
        self.place[nodes[better]] = mixed(uses, self.leaves[nodes], depth)[better]
        self.depth[nodes[better]] = depth[better]

    def result(self) -> Repeats:
        """Return what was found, the loops numbered in the order of their first nodes."""
        found: list[Found] = []
        loops: list[Ints] = []
        for level, (keys, rounds) in enumerate(zip(self.keys, self.rounds, strict=True)):
            names, firsts, of = np.unique(keys, return_index=True, return_inverse=True)
            counts = np.zeros(len(names), np.int64)
            np.maximum.at(counts, of, rounds + 1)
            number = np.full(len(names), -1, np.int64)
            for name in np.argsort(firsts, kind="stable").tolist():
                if names[name]:
                    number[name] = len(found)
                    parent = int(loops[level - 1][firsts[name]]) if level else -1
                    found.append(Found(parent, level, int(counts[name]), self.runs.get(int(names[name]))))
            loops.append(number[of])
        return Repeats(found, self.place, self.depth, loops, self.rounds)


def best_reading(search: Search, ids: Sequence[int]) -> tuple[Ints, Levels]:
    """Return the order of ops and the loops in it that leave fewest things to draw."""
    symbols, by_line = labels(search.frame.graph, ids)
    if by_line:
        return np.arange(len(ids)), by_lines(search, ids, symbols)
    levels = Levels(symbols)
    find_loops(levels, search.fewest, wires_of(search, ids))
    if size(levels, levels.place) > ANOTHER_ORDER:
        order = np.array(walk(search.frame.graph, ids), np.int64)
        other = Levels(symbols[order])
        find_loops(other, search.fewest, wires_of(search, np.array(ids)[order].tolist()))
        if size(other, other.place) < size(levels, levels.place):
            return order, other
    return np.arange(len(ids)), levels


def by_lines(search: Search, ids: Sequence[int], symbols: Hashes) -> Levels:
    """Return the loops in a sequence of lines; between those of equal lines, also those of equal structure."""
    levels = Levels(symbols)
    find_loops(levels, search.fewest, None)
    if len(levels.symbols) > search.fewest:
        single = levels.starts[:-1][levels.depth[levels.starts[:-1]] == 0]
        before, places = levels.symbols.copy(), levels.place.copy()
        structure = labels(search.frame.graph, ids, lines=False)[0][single]
        levels.symbols[levels.items()[single]] = levels.place[single] = structure
        find_loops(levels, search.fewest, wires_of(search, ids))
        if len(levels.symbols) == len(before):
            levels.symbols, levels.place = before, places
            find_branching(levels, search.fewest)
    if not stand_apart(levels, symbols):
        other = Levels(symbols)
        find_branching(other, search.fewest)
        if size(other, symbols) < CLEARER * size(levels, symbols):
            return other
    return levels


def stand_apart(levels: Levels, symbols: Hashes) -> bool:
    """Tell whether every loop in a row has a line of its own; else they may be pieces of one loop that branches."""
    items = levels.items()
    _, lines = np.unique(symbols, return_inverse=True)
    pairs = np.unique(np.stack([lines, items]), axis=1)
    only_one = np.bincount(pairs[0]) == 1
    own = np.zeros(len(levels.symbols), bool)
    own[pairs[1][only_one[pairs[0]]]] = True
    return bool(own[items[levels.depth > 0]].all()) and not bool(levels.joined.any())


def size(levels: Levels, symbols: Hashes) -> int:
    """Return how many different symbols there are, those of different loops counted apart."""
    items = levels.items()
    found = mixed(np.where(levels.joined[items], 0, items + 1), symbols)
    for level in range(len(levels.keys)):
        innermost = levels.depth > level
        found[innermost] = mixed(found[innermost], levels.keys[level][innermost])
    return len(np.unique(found))


def wires_of(search: Search, ids: Sequence[int]) -> Wires:
    """Return the edges that end in a sequence of ops."""
    src, dst, arg = search.wiring
    position = np.full(len(search.is_op), -1, np.int64)
    position[np.array(ids, np.int64)] = np.arange(len(ids))
    here = position[dst] >= 0
    return Wires(position[src[here]], position[dst[here]], arg[here], search.leaves[src[here]])


def walk(graph: Graph, ids: Sequence[int]) -> list[int]:
    """Return the positions of ops in the order in which a walk from the results back finishes them."""
    position = {id: number for number, id in enumerate(ids)}
    seen: set[int] = set()
    found: list[int] = []
    used = {src for id in ids for src in graph.nodes[id].inputs}
    for start in [id for id in ids if id not in used]:
        stack = [start]
        while stack:
            id = stack[-1]
            if id in seen:
                stack.pop()
                if id in position:
                    found.append(position.pop(id))
                continue
            seen.add(id)
            stack.extend(src for src in reversed(graph.nodes[id].inputs) if src in position and src not in seen)
    return found
