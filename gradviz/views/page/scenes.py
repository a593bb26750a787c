"""One structure of a run on the page: its nodes, its views, and the numbers of the steps that have it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

from gradviz import escape
from gradviz.errors import LayoutError
from gradviz.graphs import Frame, Graph, Node
from gradviz.graphs.listing import expression_text
from gradviz.graphs.nodes import Edge
from gradviz.style import Options, wording
from gradviz.views.cards import file_name
from gradviz.views.page.stage import RoomyCards, direction_of, exit_of, scale_of, shown_path, staged
from gradviz.views.page.story import Story
from gradviz.views.page.tracks import Plan, Recorder, tracks_of
from gradviz.views.page.views import View, views
from gradviz.views.text import NOTES

__all__ = ["Scene"]

NAME = 200  # characters
CODE = 400
BOXES = "boxes"
READABLE = 0.72  # pixels a point
LEAST = 4  # cards, fewer tell nothing


class Scene:
    """Takes the frames of one structure.

    ``first`` is the first of them, ``direction`` LR, TB or auto, ``whole`` how many nodes there are in all.
    """

    def __init__(self, first: Frame, options: Options, direction: str, story: Story, whole: int) -> None:
        self.graph: Graph = first.graph
        self.constants = {
            node.id: value
            for node in first.graph
            if node.kind == "const" and (value := first.values[node.id]) is not None
        }
        self.uses = [0] * len(first.graph)
        for src, _, _ in first.graph.edges:
            self.uses[src] += 1
        self.whole = whole
        self.views = views(first.graph)
        self.options = replace(options, style=BOXES)
        self.direction = direction
        known = story.known((*_without_value(first), *story.run.measured))
        self.plan = Plan(tracks_of(first.graph, known))
        self.laid = list(self._all_laid())
        self.shown = _first(self.laid)
        self.plan.arrange()
        self.recorder = Recorder(first.graph, self.plan, known)
        self.places: list[int] = []

    def add(self, frame: Frame, place: int, position: int) -> None:
        """Keep one frame, the ``place``-th step shown and the ``position``-th of the run."""
        self.recorder.add(frame, position)
        self.places.append(place)

    # -- views

    def _all_laid(self) -> Iterator[dict[str, Any]]:
        """Yield all views; one that Graphviz cannot lay out is left out while there are others."""
        failure = None
        count = 0
        for view in self.views:
            try:
                yield self._laid(view)
                count += 1
            except LayoutError as error:
                failure = error
        if failure and not count:
            raise failure

    def _laid(self, view: View) -> dict[str, Any]:
        """Return one view as data: where things are, and which numbers belong on them."""
        auto = self.direction == "auto"
        direction = direction_of(view, self.options, self.constants) if auto else self.direction
        laid = staged(view, replace(self.options, direction=direction), self.constants)
        cards = RoomyCards(view, self.options, self.constants)
        boxes = laid["nodes"]
        laid["nodes"] = [self._card(view, node, boxes[node.id], cards) for node in view.frame.graph]
        for edge in laid["edges"]:
            edge["size"] = self._size(view, *edge["ends"])
        opened = [shown_path(path) for path in view.opened]
        return laid | {"opened": opened, "folded": view.folded, "part": view.part, "places": view.places}

    def _card(self, view: View, node: Node, box: list[float], cards: RoomyCards) -> dict[str, Any]:
        members = view.members[node.id]
        card = cards.card(node)
        return {
            "box": box,
            "title": card.title,
            "sign": card.symbol if node.op != "scope" else "",
            "note": card.note,
            "role": card.role if node.op != "scope" else "scope",
            "rows": cards.kinds(node),
            "track": self._track(view, node),
            "node": members[0] if len(members) == 1 else None,
            "opens": shown_path(self._path(view, node)) if node.op == "scope" else None,
            "count": len(members),
        }

    def _path(self, view: View, node: Node) -> tuple[str, ...]:
        """Return which scope a closed one is; its name may have got a number to be the only one."""
        return self.graph.nodes[view.members[node.id][0]].scope[: len(node.scope) + 1]

    def _track(self, view: View, node: Node) -> int | None:
        """Return whose numbers a card shows."""
        members = view.members[node.id]
        if node.op == "scope":
            return exit_of(view, node.id)
        if len(members) == 1:
            return members[0]
        return self.plan.fold(members, self.graph)

    def _size(self, view: View, src: int, dst: int, arg: int) -> list[Any] | None:
        """Return which number says how large a gradient an edge carries: that of a track, or a column of its own."""
        if arg < 0 or view.frame.graph.nodes[src].kind == "const":
            return None
        old = view.old_edges(src, dst, arg)
        folded = "folded" in view.frame.graph.nodes[src].attrs
        track = self._track(view, view.frame.graph.nodes[src])
        if track is not None and self._is_only_use(old) and (len(old) == 1 or folded):
            return ["grad", track if folded or len(old) > 1 else old[0][0]]
        return ["edge", self.plan.edge(old, stacked=folded)]

    def _is_only_use(self, edges: tuple[Edge, ...]) -> bool:
        return all(self.uses[src] == 1 for src, _, _ in edges)

    # -- as data

    def data(self) -> dict[str, Any]:
        """Return the whole structure as data for the page."""
        lines, of_node = self._sources
        return {
            "nodes": [self._node(node, of_node[node.id]) for node in self.graph],
            "edges": self._edge_columns(),
            "outputs": list(self.graph.outputs),
            "whole": self.whole,
            "sources": lines,
            "views": self.laid,
            "shown": self.shown,
            "places": self.places,
            "numbers": self.recorder.data(),
        }

    def _node(self, node: Node, source: int) -> dict[str, Any]:
        return {
            "name": node.name[:NAME],
            "title": escape.clean(wording.display_name(node), NAME),
            "op": escape.clean(node.op, 60),
            "kind": node.kind,
            "text": escape.clean(expression_text(self.graph, _without_notes(node)), NAME),
            "inputs": list(node.inputs),
            "type": " ".join(filter(None, (wording.format_shape(node.shape), node.dtype))),
            "scope": [escape.clean(part, 60) for part in node.scope],
            "source": source,
            "formulas": [escape.clean(self.graph.formula(node, arg), NAME) for arg in range(len(node.formulas))],
        }

    def _edge_columns(self) -> dict[str, int]:
        """Return the columns of single edges, by ``src,dst,arg``."""
        columns = ((edges[0], place) for edges, (place, _) in self.plan.edges.items() if len(edges) == 1)
        return {",".join(map(str, edge)): place for edge, place in columns}

    @cached_property
    def _sources(self) -> tuple[list[dict[str, Any]], list[int]]:
        """Return the source lines that were recorded, and for every node which one made it (-1: not known)."""
        found: dict[tuple[Any, ...], int] = {}
        lines: list[dict[str, Any]] = []
        of_node = []
        for node in self.graph:
            source = node.source
            if source is None:
                of_node.append(-1)
                continue
            key = (source.file, source.line, source.column, source.end_column, source.text)
            if key not in found:
                found[key] = len(lines)
                place = {"file": escape.clean(file_name(source.file), 80), "line": source.line}
                code = escape.clean(source.code or source.text, CODE)
                words = {"function": escape.clean(source.function, 80), "text": escape.clean(source.text, CODE)}
                lines.append(place | words | {"code": code})
            of_node.append(found[key])
        return lines, of_node


def _without_notes(node: Node) -> Node:
    """Return a node without what transforms note in its attributes."""
    return replace(node, attrs={name: value for name, value in node.attrs.items() if name not in NOTES})


def _first(laid: list[dict[str, Any]]) -> int:
    """Return which view is shown first: the one with most cards that can be read without zooming."""
    scales = [scale_of(view["width"], view["height"]) for view in laid]
    readable = [place for place, view in enumerate(laid) if scales[place] >= READABLE and len(view["nodes"]) >= LEAST]
    if not readable:
        return max(range(len(laid)), key=lambda place: (scales[place], -place))
    return max(readable, key=lambda place: (len(laid[place]["nodes"]), -place))


def _without_value(frame: Frame) -> list[str]:
    """Return the names of the leaves that are arrays whose elements are not known."""
    leaves = (node for node in frame.graph if node.kind != "op" and node.shape)
    return [node.name for node in leaves if frame.values[node.id] is None]
