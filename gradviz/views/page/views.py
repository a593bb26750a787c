"""The few pictures of one graph that a page holds: scopes closed, opened one by one, loops drawn once or in full."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from gradviz import transforms
from gradviz.graphs import Frame, Graph
from gradviz.graphs.nodes import Edge
from gradviz.transforms.lifting import Lifted
from gradviz.views.cards import as_frame

__all__ = ["View", "first_shown", "of_a_size", "scope_paths", "views"]

READABLE = 60  # nodes; the first view shown has no more, if there is such a one
NODES = 4000  # of a graph; of a larger one a part is on the page
LARGEST = 400  # nodes of a view
WHOLE = 1600  # nodes of the view in which everything is open
VIEWS = 24
TRIED = 60  # openings: of very many scopes not all can be opened one by one
TOTAL = 4000  # nodes of all views together
FOLD_FROM = 12  # nodes; smaller graphs show every round
HOPS = 6

Scope = tuple[str, ...]


@dataclass(frozen=True)
class View:
    """One picture of a graph: which scopes are open, whether repeats are drawn once, and whether it is all of it."""

    opened: tuple[Scope, ...]
    folded: bool
    frame: Frame  # without numbers
    origin: Frame  # of the whole graph, without numbers
    part: bool = False  # only what is near the result

    @cached_property
    def places(self) -> list[int | None]:
        """The node of the view in which each node of the graph is."""
        return transforms.images(self.origin, self.frame)

    @cached_property
    def members(self) -> list[list[int]]:
        """The nodes of the graph in each node of the view."""
        found: list[list[int]] = [[] for _ in self.frame.graph]
        for id, place in enumerate(self.places):
            if place is not None:
                found[place].append(id)
        return found

    def old_edges(self, src: int, dst: int, arg: int) -> tuple[Edge, ...]:
        """Return the edges of the graph that are drawn as this edge of the view."""
        found: tuple[Edge, ...] = ((src, dst, arg),)
        numbers = self.frame.edges
        while isinstance(numbers, Lifted):
            found = tuple(old for _, dst, arg in found for old in numbers.edges[dst, arg])
            numbers = numbers.origin.edges
        return found


def views(graph: Graph) -> list[View]:
    """Return the views of a graph, the closed ones first; there is at least one.

    >>> from gradviz.graphs import Node
    >>> y, z = Node(1, "y", "sin", "op", (0,), scope=("net",)), Node(2, "z", "cos", "op", (1,), scope=("net",))
    >>> found = views(Graph((Node(0, "x", "input", "input"), y, z), (2,)))
    >>> [(view.opened, len(view.frame.graph)) for view in found]
    [((), 2), ((('net',),), 3)]
    """
    whole = as_frame(graph)
    found: list[View] = []
    for view in _candidates(whole):
        if len(found) == VIEWS:
            break
        nodes = len(view.frame.graph)
        fits = nodes <= (WHOLE if view.frame is whole else LARGEST)
        room = TOTAL - sum(len(kept.frame.graph) for kept in found)
        if fits and nodes <= room and not any(_same(view, kept) for kept in found):
            found.append(view)
    smallest = min(found or islice(_candidates(whole), 2), key=lambda view: len(view.frame.graph))
    if len(smallest.frame.graph) > READABLE:
        found.append(_near_result(smallest))
    return found


def _same(one: View, other: View) -> bool:
    return one.frame is other.frame or (one.places == other.places and len(one.frame.graph) == len(other.frame.graph))


def _candidates(whole: Frame) -> Iterator[View]:
    paths = scope_paths(whole.graph)
    openings: list[tuple[Scope, ...]] = [(), tuple(paths)] if paths else [()]
    openings += [tuple(path[:length] for length in range(1, len(path) + 1)) for path in paths]
    for opened in openings[:TRIED]:
        closed = transforms.collapse(whole, 0, frozenset(opened)) if paths else whole
        small = transforms.fold(closed) if len(closed.graph) > FOLD_FROM else closed
        if small is not closed:
            yield View(opened, True, small, whole)
        yield View(opened, False, closed, whole)


def scope_paths(graph: Graph) -> list[Scope]:
    """Return every scope of a graph and those around it, in the order in which they are met.

    >>> from gradviz.graphs import Node
    >>> scope_paths(Graph((Node(0, "x", "input", "input", scope=("a", "b")),)))
    [('a',), ('a', 'b')]
    """
    prefixes = (node.scope[:length] for node in graph.nodes for length in range(1, len(node.scope) + 1))
    return list(dict.fromkeys(prefixes))


def of_a_size(frame: Frame) -> Frame:
    """Return a frame with at most 4,000 nodes: repeats drawn once, and if need be only what is near the result.

    >>> from gradviz.graphs import Node
    >>> frame = as_frame(Graph((Node(0, "x", "input", "input"),)))
    >>> of_a_size(frame) is frame
    True
    """
    if len(frame.graph) <= NODES:
        return frame
    small = transforms.fold(frame)
    return small if len(small.graph) <= NODES else _near_result(View((), True, small, frame)).frame


def _near_result(view: View) -> View:
    """Return the part of a view from which the result is a few steps away."""
    graph = view.frame.graph
    last = graph.outputs[0] if graph.outputs else len(graph) - 1
    parts = (transforms.focus(view.frame, last, hops) for hops in range(HOPS, -1, -1))
    near = next(part for part in parts if len(part.graph) <= READABLE or len(part.graph) == 1)
    return View(view.opened, view.folded, near, view.origin, part=True)


def first_shown(found: list[View]) -> int:
    """Return which view is shown first: the one with most nodes that can still be read.

    >>> from gradviz.graphs import Node
    >>> first_shown(views(Graph((Node(0, "x", "input", "input"),))))
    0
    """
    sizes = [len(view.frame.graph) for view in found]
    readable = [number for number, size in enumerate(sizes) if size <= READABLE]
    if not readable:
        return sizes.index(min(sizes))
    return max(readable, key=lambda number: (sizes[number], -number))
