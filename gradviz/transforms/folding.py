"""Groups for repeated structure: every loop drawn once, or opened to show some of its rounds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath, PureWindowsPath

import numpy as np

from gradviz.graphs import Frame, Graph, Node
from gradviz.transforms.blocks import common_name, label_of
from gradviz.transforms.hashing import Ints, cut, edge_arrays, mixed
from gradviz.transforms.lifting import Group
from gradviz.transforms.repeats import Repeats

__all__ = ["Loop", "Plan", "loops_of", "plan"]

ALL_SHOWN = 4  # rounds; of more than that the first two and the last are shown, the others stay folded
HEAD, TAIL = 2, 1

Path = tuple[str, ...]  # the names of the loops, and of the rounds of opened ones, that a fold is in


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop with its name: where in the scopes of its nodes it stands, and whether it replaces a scope."""

    name: str
    count: int
    parent: int
    at: int
    inside: tuple[str, ...]  # the scope around it
    scopes: tuple[str, ...] = ()  # the names of the scopes that are its rounds


@dataclass(slots=True)
class Plan:
    """What becomes one node, the edges that hand something on to the next round, and the folds there are."""

    groups: list[Group]
    handed_on: np.ndarray  # of every edge
    folds: dict[Path, int] = field(default_factory=dict)  # closed folds and their counts


def loops_of(graph: Graph, repeats: Repeats) -> list[Loop]:
    """Return the loops with names that are unique."""
    found: list[Loop] = []
    taken: set[str] = set()
    members = representatives(repeats)
    for number, loop in enumerate(repeats.found):
        nodes = [graph.nodes[id] for id in members[number]]
        if loop.run is not None:
            inside, scopes = loop.run.scopes[0][:-1], tuple(scope[-1] for scope in loop.run.scopes)
            name = ".".join([*inside, loop.run.label])
        else:
            ops = [node for node in nodes if node.kind == "op"] or nodes
            inside, scopes = ops[0].scope[: common_length([node.scope for node in ops])], ()
            name = lines_of(ops)
        name = unique(name, taken)
        found.append(Loop(name, loop.count, loop.parent, len(inside), inside, scopes))
    return found


def representatives(repeats: Repeats) -> list[list[int]]:
    """Return for every loop the first and the last node of each kind in it."""
    found: list[list[int]] = [[] for _ in repeats.found]
    _, firsts = np.unique(repeats.place, return_index=True)
    _, lasts = np.unique(repeats.place[::-1], return_index=True)
    ends = np.unique(np.append(firsts, len(repeats.place) - 1 - lasts))
    for loops in repeats.loops:
        for id, loop in zip(ends.tolist(), loops[ends].tolist(), strict=True):
            if loop >= 0:
                found[loop].append(id)
    return found


def unique(name: str, taken: set[str]) -> str:
    """Return a name that is not taken yet, and take it."""
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name} ({number})"
    taken.add(found)
    return found


def common_length(scopes: Sequence[tuple[str, ...]]) -> int:
    """Return how many names scopes have in common.

    >>> common_length([("net", "a"), ("net", "b"), ("net",)])
    1
    """
    low, high = min(scopes), max(scopes)
    pairs = zip(low, high, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(low), len(high)))


def lines_of(nodes: Sequence[Node]) -> str:
    """Return where the ops of a loop were made: the file, and the lines if they are in one; else what they are.

    >>> from gradviz.graphs import Source
    >>> lines_of([Node(0, "x", "sin", "op", source=Source("a/fit.py", 12)), Node(1, "y", "cos", "op")])
    'fit.py:12'
    """
    places = {(node.source.file, node.source.line) for node in nodes if node.source is not None}
    if not places:
        ops = list(dict.fromkeys(node.op for node in nodes))
        return "block of " + ", ".join(ops[:3]) + (" …" if len(ops) > 3 else "")
    file = min(places, key=lambda place: (-sum(place[0] == other for other, _ in places), place))[0]
    lines = sorted(line for name, line in places if name == file)
    short = PureWindowsPath(PurePath(file).name).name
    return f"{short}:{lines[0]}" + (f"-{lines[-1]}" if lines[-1] > lines[0] else "")


def plan(
    frame: Frame,
    repeats: Repeats,
    loops: Sequence[Loop],
    keep: Collection[int] = (),
    is_open: Callable[[Path, int], Collection[int] | None] = lambda path, loop: None,
) -> Plan:
    """Return what becomes one node where every loop is drawn once, but for those that are open.

    ``is_open`` gets the path of a fold and the number of its loop, and returns the rounds to show besides the first
    and the last ones, or None where the fold stays closed.
    """
    planner = Planner(frame, repeats, loops, is_open)
    fixed = np.zeros(len(frame.graph), bool)
    fixed[[*keep, *frame.graph.outputs]] = True
    return planner.plan(fixed)


@dataclass(frozen=True, slots=True)
class Way:
    """The loops around a node from the outside in, for each what is shown of it: None for all rounds, or a part."""

    steps: tuple[tuple[int, tuple[int, int] | None], ...] = ()
    names: Path = ()
    fold: Path | None = None  # the outermost closed fold; empty for rounds that stay folded in an opened one


class Planner:
    """Decides which nodes become one."""

    def __init__(
        self,
        frame: Frame,
        repeats: Repeats,
        loops: Sequence[Loop],
        is_open: Callable[[Path, int], Collection[int] | None],
    ) -> None:
        self.frame = frame
        self.repeats = repeats
        self.loops = loops
        self.is_open = is_open
        self.ways = [Way()]
        self.way_of = np.zeros(len(frame.graph), np.int64)
        self.folds: dict[Path, int] = {}

    def plan(self, fixed: np.ndarray) -> Plan:
        """Return the plan; fixed nodes stand alone."""
        src, dst, _ = edge_arrays(self.frame.graph)
        handed_on = np.zeros(len(src), bool)
        together = np.ones(len(src), bool)
        for level in range(len(self.repeats.loops)):
            classes = self.step(level)
            loops, rounds = self.repeats.loops[level], self.repeats.rounds[level]
            together &= (loops[src] == loops[dst]) & (loops[src] >= 0) & (classes[src] == classes[dst])
            handed_on |= together & (rounds[src] != rounds[dst])
        handed_on &= ~(fixed[src] | fixed[dst])
        return Plan(self.groups(fixed), handed_on, self.folds)

    def step(self, level: int) -> Ints:
        """Go one loop further in; return which part of its rounds every node is in, -1 for all of them."""
        loops, rounds = self.repeats.loops[level], self.repeats.rounds[level]
        classes = np.full(len(loops), -1, np.int64)
        inside = np.flatnonzero(loops >= 0)
        pairs, which = np.unique(np.stack([self.way_of[inside], loops[inside]]), axis=1, return_inverse=True)
        for number, (way, loop) in enumerate(pairs.T.tolist()):
            at = inside[which.reshape(-1) == number]
            outer = self.ways[way]
            names = (*outer.names, self.loops[loop].name)
            wanted = self.is_open(names, loop)
            if wanted is None:
                self.folds[names] = self.loops[loop].count
                self.way_of[at] = len(self.ways)
                self.ways.append(Way((*outer.steps, (loop, None)), names, names if outer.fold is None else outer.fold))
                continue
            parts = shown(self.loops[loop].count, wanted)
            ends = np.array([last for _, last in parts])
            part = np.searchsorted(ends, rounds[at])
            classes[at] = part
            self.way_of[at] = len(self.ways) + part
            for first, last in parts:
                inner = (*names, part_name(self.loops[loop], first, last))
                if last > first:
                    self.folds[inner] = last - first + 1
                fold = () if last > first and outer.fold is None else outer.fold
                self.ways.append(Way((*outer.steps, (loop, (first, last))), inner, fold))
        return classes

    def groups(self, fixed: np.ndarray) -> list[Group]:
        """Return the nodes that become one, in the order of their first members."""
        graph, repeats = self.frame.graph, self.repeats
        state = np.array([value is None for value in self.frame.values], np.int64)
        key = mixed(repeats.place, self.way_of, state)
        alone = (repeats.depth == 0) | fixed
        key[alone] = mixed(np.flatnonzero(alone), [3])
        _, which, times = np.unique(repeats.place, return_inverse=True, return_counts=True)
        once = times[which] == 1  # what only one round has, such as the value that a loop starts with
        _, firsts, of, counts = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
        members = cut(np.argsort(of, kind="stable"), counts)
        boxed = self.boxed(firsts, alone)
        outside = fixed | (once & np.array([node.kind != "op" for node in graph.nodes], bool))
        order = np.argsort(firsts, kind="stable").tolist()
        return [self.group(members[number].tolist(), outside, boxed) for number in order]

    def boxed(self, firsts: Ints, alone: np.ndarray) -> set[tuple[tuple[int, tuple[int, int] | None], ...]]:
        """Return the loops, by the way to them, that hold more than one op and so are worth a box."""
        ops: dict[tuple[tuple[int, tuple[int, int] | None], ...], int] = {}
        for id in firsts.tolist():
            steps = self.ways[int(self.way_of[id])].steps
            for length in range(1, len(steps) + 1):
                known = ops.get(steps[:length], 0)
                ops[steps[:length]] = known + (self.frame.graph.nodes[id].kind == "op" and not alone[id])
        return {steps for steps, count in ops.items() if count > 1}

    def group(self, ids: list[int], outside: np.ndarray, boxed: Collection[object]) -> Group:
        """Return one group."""
        graph = self.frame.graph
        first = graph.nodes[ids[0]]
        way = self.ways[int(self.way_of[ids[0]])]
        if outside[ids[0]] or not way.steps:
            return Group("single", ids, first.name)
        scope, rounds = self.scope(first, way, boxed)
        if len(ids) == 1:
            return Group("single", ids, first.name, scope, rounds, way.fold or ())
        name = renamed(common_name([graph.nodes[id] for id in ids[:: max(1, len(ids) // 50)]]), first, scope)
        return Group("folded", ids, name, scope, rounds, way.fold or ())

    def scope(
        self, node: Node, way: Way, boxed: Collection[object]
    ) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
        """Return the scopes of a folded node with its loops among them, and which of them stand for how many rounds."""
        found: list[str] = []
        counts = []
        done = 0
        for length, (number, part) in enumerate(way.steps, start=1):
            loop = self.loops[number]
            found += node.scope[done : loop.at]
            done = loop.at + bool(loop.scopes)
            first, last = part or (0, loop.count - 1)
            if loop.scopes:
                found.append(label_of(loop.scopes[first : last + 1]) if last > first else loop.scopes[first])
            elif part:
                found += [loop.name, part_name(loop, first, last)]
            elif way.steps[:length] in boxed:
                found.append(loop.name)
            else:
                continue
            if last > first:
                counts.append((len(found), last - first + 1))
        return (*found, *node.scope[done:]), tuple(counts)


def renamed(name: str, node: Node, scope: tuple[str, ...]) -> str:
    """Return the name of a group whose nodes are named after their scope, with the new scope in it."""
    prefix = ".".join(node.scope)
    if prefix and (node.name == prefix or node.name.startswith(f"{prefix}.")):
        return ".".join(scope) + node.name[len(prefix) :]
    return name


def shown(count: int, wanted: Collection[int]) -> list[tuple[int, int]]:
    """Return the parts of an opened loop, each its first and its last round: those shown alone, the others together.

    >>> shown(100, []), shown(4, []), shown(100, [50])[2:5]
    ([(0, 0), (1, 1), (2, 98), (99, 99)], [(0, 0), (1, 1), (2, 2), (3, 3)], [(2, 49), (50, 50), (51, 98)])
    """
    alone = set(range(count)) if count <= ALL_SHOWN else {*range(HEAD), *range(count - TAIL, count), *wanted}
    parts: list[tuple[int, int]] = []
    free = 0
    for turn in sorted(turn for turn in alone if 0 <= turn < count):
        if turn > free:
            parts.append((free, turn - 1))
        parts.append((turn, turn))
        free = turn + 1
    return parts


def part_name(loop: Loop, first: int, last: int) -> str:
    """Return what a part of the rounds is called, counted from 1; scopes have names of their own."""
    if loop.scopes:
        return label_of(loop.scopes[first : last + 1]) if last > first else loop.scopes[first]
    return f"rounds {first + 1} … {last + 1}" if last > first else f"round {first + 1} of {loop.count}"
