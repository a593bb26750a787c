"""Places for the nodes of a graph of any size: scope by scope, each distinct scope laid out once.

The nodes and scopes in a scope are boxes in columns, by the longest way that leads to them; edges count for the
innermost scope that holds both ends. Scopes with boxes of the same sizes, joined alike, share one plan. Columns that
would make a picture too wide go on in the next row, as lines of a text do.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gradviz.graphs import Graph

__all__ = ["Placement", "placed"]

Scope = tuple[str, ...]
Size = tuple[float, float]
Item = int | Scope

APART = 10.0  # points between boxes above one another
BETWEEN = 30.0  # points between columns
PAD, HEAD = 8.0, 16.0  # inside a scope; its head holds the name
WIDTH_TO_HEIGHT = 1.6  # of a picture that is wrapped
FEW = 12  # columns, which are not wrapped
TALLEST = 12  # boxes above one another, in a column that is split


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the boxes of one kind of scope are, seen from its corner."""

    corners: tuple[tuple[float, float], ...]
    size: Size


@dataclass(frozen=True, slots=True)
class Placement:
    """Where everything is, in points: the left top corners of the nodes, and of each scope its corner and size."""

    nodes: tuple[tuple[float, float], ...]
    scopes: dict[Scope, tuple[float, float, float, float]]
    size: Size
    plans: int  # how many scopes were really laid out


def placed(graph: Graph, sizes: Sequence[Size]) -> Placement:
    """Return places for nodes of these sizes (width and height, in points), in time linear in the size of the graph.

    >>> from gradviz.graphs import Node
    >>> nodes = [Node(0, "x", "input", "input"), Node(1, "y", "sin", "op", (0,), scope=("net",))]
    >>> found = placed(Graph(tuple(nodes), (1,)), [(20.0, 10.0)] * 2)
    >>> found.scopes, found.nodes[1]
    ({('net',): (58.0, 8.0, 36.0, 34.0)}, (66.0, 24.0))
    """
    inside = Inside(graph)
    plans: dict[tuple[tuple[Size, ...], tuple[tuple[int, int], ...]], Plan] = {}
    chosen: dict[Scope, Plan] = {}
    for scope in sorted(inside.items, key=len, reverse=True):
        boxes = tuple(sizes[item] if isinstance(item, int) else chosen[item].size for item in inside.items[scope])
        links = tuple(inside.links[scope])
        if (boxes, links) not in plans:
            plans[boxes, links] = _arranged(boxes, links, HEAD if scope else PAD)
        chosen[scope] = plans[boxes, links]
    return _put(inside, chosen, len(graph), len(plans))


class Inside:
    """What lies in each scope, in the order of computation, and which of it leads to which."""

    def __init__(self, graph: Graph) -> None:
        self.items: defaultdict[Scope, list[Item]] = defaultdict(list)
        self.items[()] = []
        self.numbers: dict[Item, int] = {}  # of a node or a scope, among what lies in the same scope
        self.links: defaultdict[Scope, dict[tuple[int, int], None]] = defaultdict(dict)
        for node in graph.nodes:
            self._enter(node.scope, node.id)
        for node in graph.nodes:
            for src in node.inputs:
                self._join(graph.nodes[src].scope, src, node.scope, node.id)

    def _enter(self, scope: Scope, id: int) -> None:
        item: Item = id
        for length in range(len(scope), -1, -1):
            outer = scope[:length]
            is_new = item not in self.numbers
            if is_new:
                self.numbers[item] = len(self.items[outer])
                self.items[outer].append(item)
            if not is_new or not outer:
                return
            item = outer

    def _join(self, a: Scope, src: int, b: Scope, dst: int) -> None:
        depth = 0
        if a != b:
            least = min(len(a), len(b))
            while depth < least and a[depth] == b[depth]:
                depth += 1
        else:
            depth = len(a)
        one = self.numbers[src if len(a) == depth else a[: depth + 1]]
        other = self.numbers[dst if len(b) == depth else b[: depth + 1]]
        if one < other:  # what leads back, through another scope, is drawn and not counted
            self.links[a[:depth]][one, other] = None


def _arranged(boxes: Sequence[Size], links: Sequence[tuple[int, int]], head: float) -> Plan:
    """Return where boxes are: in columns, each in the middle of its row."""
    columns = [Column(found, boxes) for found in _columns(_layers(len(boxes), links))]
    corners: list[tuple[float, float]] = [(0.0, 0.0)] * len(boxes)
    top, widest = head, 0.0
    for row in _rows(columns):
        left, tallest = PAD, max(column.height for column in row)
        for column in row:
            y = top + (tallest - column.height) / 2
            for item in column.items:
                corners[item] = left, y
                y += boxes[item][1] + APART
            left += column.width + BETWEEN
        top += tallest + BETWEEN
        widest = max(widest, left - BETWEEN)
    return Plan(tuple(corners), (widest + PAD, max(top - BETWEEN, head) + PAD))


class Column:
    """Boxes above one another."""

    def __init__(self, items: list[int], boxes: Sequence[Size]) -> None:
        self.items = items
        self.width = max(boxes[item][0] for item in items)
        self.height = sum(boxes[item][1] + APART for item in items) - APART


def _rows(columns: Sequence[Column]) -> Iterator[list[Column]]:
    """Yield columns as rows of about the width that gives the whole the shape of a page; a few are one row."""
    area = sum((column.width + BETWEEN) * (column.height + BETWEEN) for column in columns)
    longest = math.sqrt(area * WIDTH_TO_HEIGHT) if len(columns) > FEW else math.inf
    row: list[Column] = []
    length = 0.0
    for column in columns:
        if row and length + column.width > longest:
            yield row
            row, length = [], 0.0
        row.append(column)
        length += column.width + BETWEEN
    if row:
        yield row


def _layers(count: int, links: Sequence[tuple[int, int]]) -> list[int]:
    """Return the column of each box: after all that lead to it; what nothing leads to stands before its first use."""
    found, fed, used = [0] * count, [False] * count, [count] * count
    for one, other in sorted(links, key=lambda link: (link[1], link[0])):
        found[other] = max(found[other], found[one] + 1)
        fed[other] = True
    for one, other in links:
        used[one] = min(used[one], found[other])
    return [found[i] if fed[i] or used[i] == count else max(0, used[i] - 1) for i in range(count)]


def _columns(layers: Sequence[int]) -> Iterator[list[int]]:
    """Yield the boxes of each column; of very many in one layer make several columns."""
    members: defaultdict[int, list[int]] = defaultdict(list)
    for item, layer in enumerate(layers):
        members[layer].append(item)
    for layer in sorted(members):
        found = members[layer]
        tall = max(TALLEST, math.isqrt(len(found)))
        for start in range(0, len(found), tall):
            yield found[start : start + tall]


def _put(inside: Inside, chosen: dict[Scope, Plan], count: int, plans: int) -> Placement:
    """Return the places in the whole picture of what lies in scopes, the outer ones first."""
    nodes: list[tuple[float, float]] = [(0.0, 0.0)] * count
    scopes: dict[Scope, tuple[float, float, float, float]] = {}
    waiting: list[tuple[Scope, float, float]] = [((), 0.0, 0.0)]
    for scope, left, top in waiting:  # grows while it is walked
        for item, (x, y) in zip(inside.items[scope], chosen[scope].corners, strict=True):
            if isinstance(item, int):
                nodes[item] = left + x, top + y
            else:
                scopes[item] = (left + x, top + y, *chosen[item].size)
                waiting.append((item, left + x, top + y))
    return Placement(tuple(nodes), scopes, chosen[()].size, plans)
