"""Where things are in a view: Graphviz lays it out once, with cards wide enough for the numbers of every step."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from gradviz import escape
from gradviz.graphs import Graph, Node, Number
from gradviz.style import Options, wording
from gradviz.views.cards import NAME_LIMIT, NOT_A_NAME, Card, Row
from gradviz.views.cards import Writer as CardWriter
from gradviz.views.dot import Writer as DotWriter
from gradviz.views.page.views import Scope, View, scope_paths
from gradviz.views.painting import BODY, GAP, PAD, SMALL, box_of, card_width, short, text_width
from gradviz.views.svg import render_dot

__all__ = ["RoomyCards", "Stage", "direction_of", "exit_of", "scale_of", "shown_path", "staged"]

OPENER = 13.0  # the sign that a scope can be opened
KEY_WIDTH = text_width("value", SMALL) + GAP
ROOM = (1050.0, 510.0)  # pixels a picture has on a usual screen
NATURAL = 4 / 3  # pixels a point
TRY_BOTH = 120  # nodes; larger graphs are laid out in one direction only
SVG = "{http://www.w3.org/2000/svg}"
MOVES = re.compile(r"translate\(([-\d.]+)[ ,]+([-\d.]+)\)")
NUMBERS = re.compile(r"-?\d+(?:\.\d+)?")
Laid = dict[str, Any]


class Stage(DotWriter):
    """Writes the DOT of one view with room on every card."""

    def __init__(self, view: View, options: Options, constants: dict[int, Number]) -> None:
        super().__init__(view.frame, options)
        self.view = view
        writer = RoomyCards(view, options, constants)
        self.cards = [writer.card(node) for node in view.frame.graph]
        self.rows = [writer.kinds(node) for node in view.frame.graph]
        self.room = [writer.width(card, kinds) for card, kinds in zip(self.cards, self.rows, strict=True)]

    def look(self, card: Card) -> dict[str, str]:
        """Return the attributes that set a card apart."""
        return super().look(card) | {"width": f"{self.room[card.id] / 72:.2f}"}

    def graph_attributes(self) -> dict[str, str]:
        """Return the attributes of the graph: a little closer than a picture of its own."""
        return super().graph_attributes() | {"nodesep": "0.2", "ranksep": "0.3"}

    def laid_out(self) -> ET.Element:
        """Return what Graphviz makes of it."""
        dot = str(self.digraph().source)
        return ET.fromstring(render_dot(dot, engine=self.options.engine, timeout=self.options.timeout))


class RoomyCards(CardWriter):
    """Writes cards with a row for everything that may come to stand there."""

    def __init__(self, view: View, options: Options, constants: dict[int, Number]) -> None:
        super().__init__(view.frame, options)
        self.view = view
        self.constants = constants

    def title(self, node: Node) -> str:
        """Return the name, unless it is a constant whose number says more."""
        members = self.view.members[node.id]
        if len(members) == 1 and members[0] in self.constants and NOT_A_NAME.fullmatch(node.name):
            return ""
        return escape.clean(wording.display_name(node), NAME_LIMIT)

    def note(self, node: Node) -> str:
        """Return the small word beside the name."""
        return re.sub(r"\b1 nodes", "1 node", super().note(node))

    def value_rows(self, node: Node, value: Number | None) -> Iterator[Row]:
        """Yield a row for each line of numbers."""
        del value
        for kind, _ in self.kinds(node):
            yield Row(kind, "0") if "strip" not in kind else Row("", "", "plain", (0,) * 8)

    def grad_rows(self, node: Node, grad: Number | None) -> Iterator[Row]:
        """Yield nothing: `value_rows` has all of them."""
        del node, grad
        yield from ()

    def kinds(self, node: Node) -> list[tuple[str, int]]:
        """Return the rows of a card: value or grad with the line of a small matrix, or a strip."""
        if not self.shows_number(node):
            return []
        words = ("value",) if node.kind == "const" else ("value", "grad")
        return [row for word in words for row in _number_rows(word, node.shape)]

    def shows_number(self, node: Node) -> bool:
        """Tell whether a node has numbers of its own: a closed scope has those of its only result."""
        return node.op != "scope" or exit_of(self.view, node.id) is not None

    def width(self, card: Card, kinds: Sequence[tuple[str, int]]) -> float:
        """Return how wide a card must be for every step."""
        node = self.frame.graph.nodes[card.id]
        members = self.view.members[card.id]
        if len(members) == 1 and members[0] in self.constants and not node.shape:
            text = wording.format_number(self.constants[members[0]], self.options.precision)
            key = KEY_WIDTH if card.title else 0.0
            inner = text_width(text, BODY) + key
        else:
            inner = max([_row_width(kind, node.shape, self.options.precision) for kind, _ in kinds], default=0.0)
        header = card_width(card, "boxes") + (OPENER if node.op == "scope" else 0.0)
        return max(header, inner + 2 * PAD)


def _number_rows(word: str, shape: tuple[int, ...]) -> list[tuple[str, int]]:
    size = math.prod(shape)
    if not shape or 0 < size <= wording.FEW:
        lines = shape[0] if len(shape) == 2 else 1
        return [(word, line) for line in range(lines)]
    return [(word, 0), (f"{word} strip", 0)] if size else [(word, 0)]


def _row_width(kind: str, shape: tuple[int, ...], digits: int) -> float:
    """Return how much room a row gets; a number that needs more is written with fewer digits."""
    size = math.prod(shape)
    if "strip" in kind:
        return 0.0
    if not shape:
        return KEY_WIDTH + text_width("-0.000" + "1" * digits, BODY)
    if size > wording.FEW or not size:
        return KEY_WIDTH + text_width("-0.0" + "1" * digits + " … -0.0" + "1" * digits, BODY)
    across = shape[-1] if len(shape) == 2 else size
    return KEY_WIDTH + text_width("[]" * len(shape) + ("-0." + "1" * max(3, digits - 1) + ", ") * across, BODY)


def exit_of(view: View, id: int) -> int | None:
    """Return the node of the graph whose numbers a closed scope shows: the only one used outside it."""
    graph = view.origin.graph
    inside = set(view.members[id])
    used = {src for src, dst, _ in graph.edges if src in inside and dst not in inside}
    exits = used | (inside & set(graph.outputs))
    return next(iter(exits)) if len(exits) == 1 else None


# -- what Graphviz says, as plain data


def staged(view: View, options: Options, constants: dict[int, Number]) -> Laid:
    """Return a view as data for the page: size, cards, edges and the boxes of scopes, in pixels of the picture.

    ``options.direction`` holds; see `direction_of` for the better one.

    >>> from gradviz.graphs import Graph, Node
    >>> from gradviz.views.page.views import views
    >>> laid = staged(views(Graph((Node(0, "x", "input", "input"),)))[0], Options(), {})
    >>> sorted(laid), len(laid["nodes"])
    (['edges', 'height', 'nodes', 'scopes', 'width'], 1)
    """
    stage = Stage(view, options, constants)
    return Reading(stage, stage.laid_out()).data()


def direction_of(view: View, options: Options, constants: dict[int, Number]) -> str:
    """Return the direction, LR or TB, in which a view can be shown larger."""
    if len(view.frame.graph) > TRY_BOTH:
        return "TB"
    if len(view.frame.graph) < 2:
        return "LR"
    scales = {}
    for direction in ("LR", "TB"):
        root = Stage(view, replace(options, direction=direction), constants).laid_out()
        _, _, width, height = map(float, (root.get("viewBox") or "0 0 1 1").split())
        scales[direction] = scale_of(width, height)
    return max(scales, key=lambda direction: scales[direction])


def scale_of(width: float, height: float) -> float:
    """Return how large a picture can be shown on a usual screen, in pixels a point.

    >>> scale_of(100.0, 50.0) > 1, scale_of(10_500.0, 50.0)
    (True, 0.1)
    """
    return min(NATURAL, ROOM[0] / width, ROOM[1] / height)


class Reading:
    """Reads boxes and lines from Graphviz's SVG."""

    def __init__(self, stage: Stage, root: ET.Element) -> None:
        self.stage = stage
        self.graph: Graph = stage.frame.graph
        _, _, self.width, self.height = map(float, (root.get("viewBox") or "0 0 1 1").split())
        outer = root.find(f"{SVG}g")
        found = MOVES.search((outer.get("transform") or "") if outer is not None else "")
        self.moved = (float(found[1]), float(found[2])) if found else (0.0, 0.0)
        self.groups: defaultdict[str, list[ET.Element]] = defaultdict(list)
        for group in root.iter(f"{SVG}g"):
            self.groups[group.get("class", "").split(" ")[0]].append(group)
        self.waiting: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for src, dst, arg in reversed(self.graph.edges):
            self.waiting[src, dst].append(arg)

    def data(self) -> Laid:
        """Return everything."""
        nodes = {int(_title(group)[1:]): self.box(group) for group in self.groups["node"]}
        return {
            "width": round(self.width, 1),
            "height": round(self.height, 1),
            "nodes": [nodes[id] for id in range(len(self.graph))],
            "edges": [self.edge(group) for group in self.groups["edge"]],
            "scopes": [self.scope(group) for group in self.groups["cluster"]],
        }

    def box(self, group: ET.Element) -> list[float]:
        """Return left, top, width and height."""
        outline = next(element for element in group.iter() if element.tag in (f"{SVG}path", f"{SVG}polygon"))
        box = box_of(outline)
        left, top = box.left + self.moved[0], box.top + self.moved[1]
        return [round(number, 1) for number in (left, top, box.right - box.left, box.bottom - box.top)]

    def edge(self, group: ET.Element) -> dict[str, Any]:
        """Return the ends of an edge, which argument it is (-1: carried over) and its line and arrow."""
        src, dst = (int(end.strip()[1:]) for end in _title(group).split("->"))
        waiting = self.waiting[src, dst]
        arg = waiting.pop() if waiting else -1
        line, arrow = group.find(f"{SVG}path"), group.find(f"{SVG}polygon")
        return {
            "ends": [src, dst, arg],
            "line": self.shifted(line.get("d", "") if line is not None else ""),
            "arrow": self.shifted(arrow.get("points", "") if arrow is not None else ""),
        }

    def shifted(self, text: str) -> str:
        """Return a path or points in the coordinates of the picture."""
        place = iter(range(1 << 30))
        return NUMBERS.sub(lambda hit: short(float(hit[0]) + self.moved[next(place) % 2]), text)

    def scope(self, group: ET.Element) -> dict[str, Any]:
        """Return the box of a scope and which one it is."""
        paths: list[Scope] = scope_paths(self.graph)
        return {"scope": shown_path(paths[int(_title(group).removeprefix("cluster"))]), "box": self.box(group)}


def shown_path(scope: Scope) -> list[str]:
    """Return the names of a scope and those around it, fit to be shown."""
    return [escape.clean(part) for part in scope]


def _title(group: ET.Element) -> str:
    return group.findtext(f"{SVG}title") or ""
