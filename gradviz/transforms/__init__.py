"""Smaller pictures of the same computation: a part of it, scopes closed, loops drawn once.

Every transform takes a frame and returns a frame that keeps the laws of graphs, in time
linear in the size of the graph (but for sorting groups), without recursion.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence

from gradviz.graphs import Frame, Graph, Node
from gradviz.graphs.walks import consumers_of_all
from gradviz.transforms.lifting import OUT, Group, Lifted, lift, membership
from gradviz.transforms.opening import Folded, Unfold

__all__ = ["Folded", "collapse", "focus", "fold", "fold_blocks", "images"]

FOLD_ABOVE = 60  # nodes; smaller graphs are drawn in full unless asked otherwise
FEWEST = 3  # rounds that are worth folding


def focus(frame: Frame, name: str | int | Node, hops: int | None = None) -> Frame:
    """Return the part of a frame that leads to a node or comes from it, up to ``hops`` edges away.

    Raises `UnknownNameError`, suggesting close names.

    >>> x, y, z = (Node(i, name, "sin" if i else "input", "op" if i else "input", (i - 1,) * (i > 0))
    ...            for i, name in enumerate("xyz"))
    >>> [node.name for node in focus(Frame(Graph((x, y, z), (2,)), [None] * 3, [None] * 3), "y", 0).graph]
    ['y']
    """
    graph = frame.graph
    start = graph.index(name)
    consumers = consumers_of_all(graph)
    kept = _reached(start, lambda place: graph.nodes[place].inputs, hops)
    kept |= _reached(start, lambda place: consumers[place], hops)
    part = lift(frame, [_single(graph.nodes[id]) for id in sorted(kept)])
    return part if part.graph.outputs else _with_outputs(part)


def _reached(start: int, neighbours: Callable[[int], Iterable[int]], hops: int | None) -> set[int]:
    seen, border, left = {start}, [start], hops
    while border and left != 0:
        border = [id for id in dict.fromkeys(n for id in border for n in neighbours(id)) if id not in seen]
        seen.update(border)
        left = None if left is None else left - 1
    return seen


def _with_outputs(frame: Frame) -> Frame:
    """Return the frame with the nodes nobody uses as its results."""
    used = {src for src, _, _ in frame.graph.edges}
    outputs = tuple(node.id for node in frame.graph.nodes if node.id not in used)
    return Frame(Graph(frame.graph.nodes, outputs), frame.values, frame.grads, frame.edges, frame.step, frame.meta)


def _single(node: Node) -> Group:
    return Group("single", [node.id], node.name)


def collapse(frame: Frame, depth: int, opened: Collection[tuple[str, ...]] = ()) -> Frame:
    """Return the frame with every scope deeper than ``depth`` closed into one node named after it.

    ``collapse(frame, 0)`` closes the outermost scopes, but for those in ``opened`` (such as
    ``("net", "layer1")``), in which the scopes one deeper are closed. Where a value leaves a
    scope and comes back, the scope becomes as many nodes as it takes for nothing to run in a circle.

    >>> x = Node(0, "x", "input", "input")
    >>> y, z = Node(1, "y", "sin", "op", (0,), scope=("net",)), Node(2, "z", "cos", "op", (1,), scope=("net",))
    >>> small = collapse(Frame(Graph((x, y, z), (2,)), [None] * 3, [None] * 3), 0)
    >>> [(node.name, node.op) for node in small.graph]
    [('x', 'input'), ('net', 'scope')]
    """
    closed = [_closed(node.scope, depth, opened) for node in frame.graph.nodes]
    keys: list[Hashable] = [scope or id for id, scope in enumerate(closed)]
    groups = _scopes(frame.graph, keys, closed)
    if all(group.kind == "single" for group in groups):
        return frame
    tangled = _tangled(frame.graph, groups, closed)
    if tangled:
        crossings = _crossings(frame.graph, keys, tangled)
        keys = [(key, crossings[id]) if key in tangled else key for id, key in enumerate(keys)]
        groups = _scopes(frame.graph, keys, closed)
    return lift(frame, groups)


def _closed(scope: tuple[str, ...], depth: int, opened: Collection[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the outermost closed scope around a node, empty if none is."""
    outer = (scope[:length] for length in range(depth + 1, len(scope) + 1))
    return next((part for part in outer if part not in opened), ())


def _scopes(graph: Graph, keys: Sequence[Hashable], closed: Sequence[tuple[str, ...]]) -> list[Group]:
    members: defaultdict[Hashable, list[int]] = defaultdict(list)
    for node in graph.nodes:
        members[keys[node.id]].append(node.id)
    found = []
    for ids in members.values():
        scope = closed[ids[0]]
        name = ".".join(scope) if scope and scope[-1][:1].isdecimal() else "".join(scope[-1:])  # "0" alone says little
        first = graph.nodes[ids[0]]
        rounds = [pair for pair in (first.attrs.get("rounds", ()) if first.attrs else ()) if pair[0] < len(scope)]
        found.append(Group("scope", ids, name, scope[:-1], tuple(rounds)) if scope else _single(first))
    return found


def _tangled(graph: Graph, groups: list[Group], closed: Sequence[tuple[str, ...]]) -> set[Hashable]:
    """Return the keys of the scopes that depend on each other in a circle."""
    import networkx as nx

    of = membership(len(graph), groups)
    links: nx.DiGraph = nx.DiGraph((of[src], of[dst]) for src, dst, _ in graph.edges if of[src] != of[dst])
    circles = (circle for circle in nx.strongly_connected_components(links) if len(circle) > 1)
    firsts = (groups[number].members[0] for circle in circles for number in circle)
    return {closed[first] or first for first in firsts}


def _crossings(graph: Graph, keys: Sequence[Hashable], tangled: set[Hashable]) -> list[int]:
    """Return for every node the most borders of tangled scopes that a path to it crosses.

    A path that leaves a scope and comes back crosses two, so nodes of one scope with the
    same count never depend on each other through the outside.
    """
    found = [0] * len(graph)
    for src, dst, _ in graph.edges:
        crosses = keys[src] != keys[dst] and keys[src] in tangled and keys[dst] in tangled
        found[dst] = max(found[dst], found[src] + crosses)
    return found


def fold(frame: Frame, fewest: int = FEWEST, keep: Iterable[int] = (), unfold: Unfold = None) -> Frame:
    """Return the frame with every loop drawn once: what the same lines, or equal structure, made again and again.

    Loops are numbered sibling scopes with equal insides, ops made by the same expressions at least ``fewest`` times,
    and, where no line says it, equal blocks in a row; loops in loops too, and the leaves that only one round uses. A
    node of a loop has the numbers of all rounds, the round first; results and the nodes to ``keep`` are never folded
    away. In the frame of a step, rounds that are done and rounds to come are folded apart.

    ``unfold`` opens folds: True for all, or names: of a fold (``fit.py:12-14``), of a node in it, whose round is then
    shown, or of a scope around it. An opened fold shows its first two rounds and the last one,
    all of four. Raises `UnknownNameError` for what is no such name.

    >>> from gradviz.graphs import Source
    >>> line = Source("loop.py", 2, 4, 9, "f", "x * 2")
    >>> nodes = [Node(0, "x", "input", "input")]
    >>> nodes += [Node(i, f"x_{i}", "mul", "op", (i - 1,), source=line) for i in range(1, 10)]
    >>> frame = Frame(Graph(tuple(nodes), (9,)), [None] * 10, [None] * 10)
    >>> [(node.name, node.attrs.get("folded")) for node in fold(frame).graph]
    [('x', None), ('x (2)', 8), ('x_9', None)]
    >>> [(node.name, node.attrs.get("folded")) for node in fold(frame, unfold="loop.py:2").graph]
    [('x', None), ('x_1', None), ('x_2', None), ('x (2)', 6), ('x_9', None)]
    """
    return Folded(frame, fewest, keep).frame(unfold)


def fold_blocks(frame: Frame, fewest: int = FEWEST, keep: Iterable[int] = (), unfold: Unfold = None) -> Frame:
    """Return the frame with equal blocks in a row drawn once: the layers 0 to 11 of a network as ``0 … 11``.

    A block is a scope with a number at the end of its name; equal are those with the same graph inside. Its nodes are
    those of all blocks, as `fold` does it; results and the nodes to ``keep`` are never folded away.

    >>> nodes = [Node(0, "x", "input", "input")]
    >>> nodes += [Node(i, f"sin_{i}", "sin", "op", (i - 1,), scope=("net", f"{i}")) for i in range(1, 4)]
    >>> small = fold_blocks(Frame(Graph((*nodes, Node(4, "y", "sum", "op", (3,))), (4,)), [None] * 5, [None] * 5))
    >>> [(node.name, node.scope, node.attrs.get("folded")) for node in small.graph]
    [('x', (), None), ('sin', ('net', '1 … 3'), 3), ('y', (), None)]
    """
    return Folded(frame, fewest, keep, scopes_only=True).frame(unfold)


def images(before: Frame, after: Frame) -> list[int | None]:
    """Return for every node of ``before`` the node of ``after`` (a transform of it) that it is in.

    >>> frame = Frame(Graph((Node(0, "x", "input", "input"),)), [None], [None])
    >>> images(frame, frame)
    [0]
    """
    chain: list[tuple[int, ...]] = []
    while after is not before and isinstance(after.edges, Lifted):
        chain.append(after.edges.of)
        after = after.edges.origin
    places: list[int | None] = list(range(len(before.graph)))
    for of in reversed(chain):
        places = [None if place is None or of[place] == OUT else of[place] for place in places]
    return places
