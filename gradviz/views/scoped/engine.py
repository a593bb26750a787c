"""Places for the elements of a picture, and the SVG that Graphviz would have made of them."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence

import numpy as np

from gradviz.views.large.columns import Spacing
from gradviz.views.large.placing import Placement, placed
from gradviz.views.painting import shape, text_width
from gradviz.views.scoped.reading import Attributes, Box, Sheet, Wire, lines_of, read

__all__ = ["ENGINE", "render"]

ENGINE = "scope"
POINTS = 72.0  # an inch
LINE_HEIGHT = 1.2
SCOPE_ROOM = 10.0  # inside the box of a scope
HEAD = 20.0  # with its name
APART, BETWEEN = 14.0, 34.0
LABEL_ROOM = 12.0
MOST_BETWEEN = 240.0  # a longer label lies on the cards
MARGIN = 4.0
ROUND = 6.0
ARROW = (10.0, 3.5)  # length and half the width, for arrowsize 1
LOOP = 26.0  # how far an edge back to an earlier node swings out
Point = tuple[float, float]
Points = list[Point]


def render(dot: str) -> bytes:
    """Return the picture of DOT text that gradviz has written as SVG of Graphviz's form, laid out by scope.

    The root says ``data-engine="scope"``. Raises `LayoutError` for any other DOT.

    >>> from gradviz.graphs import Graph, Node
    >>> from gradviz.views.dot import to_dot
    >>> render(to_dot(Graph((Node(0, "x", "input", "input"),)))).count(b'class="node')
    1
    """
    return ET.tostring(Layout(read(dot)).root())


class Layout:
    """One picture; in pictures from top to bottom places are worked out as if it went from left to right."""

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet
        self.across = sheet.attributes.get("rankdir", "TB") == "LR"
        self.order = in_order(sheet)
        self.numbers = {name: number for number, name in enumerate(self.order)}
        self.sizes = [size_of(sheet.boxes[name]) for name in self.order]
        self.wires = [wire for wire in sheet.wires if wire.tail in self.numbers and wire.head in self.numbers]
        self.forward = [number for number, wire in enumerate(self.wires) if counts(wire)]
        self.placement = self.place()
        self.routes = self.led()

    def place(self) -> Placement:
        """Return where everything is."""
        between = BETWEEN
        if self.across:
            widths = [label_width(wire.attributes) for wire in self.wires]
            between = min(MOST_BETWEEN, max([BETWEEN, *(width + LABEL_ROOM for width in widths if width)]))
        title = self.title_height()
        whole = {"above": title} if self.across else {"before": title}
        inside = {"above": HEAD} if self.across else {"before": HEAD}
        room = {"apart": APART, "between": between, "shape": 1.6 if self.across else 1 / 1.6}
        ends = [self.wires[number] for number in self.forward]
        return placed(
            [self.sheet.boxes[name].scope for name in self.order],
            np.array([self.numbers[wire.tail] for wire in ends], np.int64),
            np.array([self.numbers[wire.head] for wire in ends], np.int64),
            np.array([size if self.across else size[::-1] for size in self.sizes], float).reshape(-1, 2),
            Spacing(**room, **({"above": 0.0, "before": 0.0, "after": 0.0} | whole)),
            Spacing(**room, **({"above": SCOPE_ROOM, "before": SCOPE_ROOM, "after": SCOPE_ROOM} | inside)),
        )

    def led(self) -> dict[int, Points]:
        """Return the points of the edges that are not one curve, by the number of the edge."""
        routes = self.placement.routes
        points = [(x, y) for x, y in routes.points.tolist()]
        return {
            self.forward[edge]: points[first:last]
            for edge, first, last in zip(routes.edges.tolist(), routes.starts[:-1], routes.starts[1:], strict=True)
        }

    def box(self, number: int) -> tuple[float, float, float, float]:
        """Return left, top, width and height of a node."""
        x, y = self.turned([tuple(self.placement.corners[number].tolist())])[0]
        return x, y, *self.sizes[number]

    def turned(self, points: Sequence[Point]) -> Points:
        """Return points where they are in the picture."""
        return [(x, y) if self.across else (y, x) for x, y in points]

    # -- the document

    def root(self) -> ET.Element:
        """Return the whole document."""
        width, height = self.turned([self.placement.size])[0]
        lines, size = self.title()
        width = max(width, *(text_width(line, size) for line in lines), 0.0)
        whole = f"0 0 {width + 2 * MARGIN:.2f} {height + 2 * MARGIN:.2f}"
        root = shape("svg", viewBox=whole, xmlns="http://www.w3.org/2000/svg")
        root.set("data-engine", ENGINE)
        group = shape("g", class_="graph", transform=f"translate({MARGIN:g} {MARGIN:g})")
        root.append(group)
        if lines:
            group.extend(texts(lines, (width / 2, size), size, self.sheet.attributes.get("fontcolor", "black")))
        group.extend(self.clusters())
        group.extend(self.node(number) for number in range(len(self.order)))
        group.extend(self.edge(number) for number in range(len(self.wires)))
        return root

    def title(self) -> tuple[list[str], float]:
        """Return the lines of the title and the size of their letters."""
        label = self.sheet.attributes.get("label", "")
        return lines_of(label) if label else [], float(self.sheet.attributes.get("fontsize", 14))

    def title_height(self) -> float:
        """Return the room above the picture."""
        lines, size = self.title()
        return (len(lines) * LINE_HEIGHT + 0.6) * size if lines else 0.0

    def clusters(self) -> Iterator[ET.Element]:
        """Yield the boxes of scopes with their names, the outer ones first."""
        nesting = self.placement.nesting
        for number, (path, box) in enumerate(zip(nesting.paths[1:], self.placement.boxes[1:].tolist(), strict=True)):
            look = self.sheet.scopes[path]
            (left, top), (width, height) = self.turned([(box[0], box[1]), (box[2], box[3])])
            size = float(look.get("fontsize", 11))
            group = shape("g", id=f"clust{number + 1}", class_=f"cluster {look.get('class', '')}".strip())
            group.append(shape("title", path[-1]))
            fill = look.get("fillcolor", "none")
            group.append(rounded(left, top, width, height, fill=fill, **stroke(look)))
            (name,) = lines_of(look.get("label", ""))[:1] or [""]
            anchor = "start" if text_width(name, size) + 12 > width or look.get("labeljust") == "l" else "middle"
            place = (left + 6 if anchor == "start" else left + width / 2, top + size + 2)
            group.extend(texts([name], place, size, look.get("fontcolor", "black"), anchor))
            yield group

    def node(self, number: int) -> ET.Element:
        """Return a node: its outline, and its text if it is one line."""
        box = self.sheet.boxes[self.order[number]]
        look = box.attributes
        left, top, width, height = self.box(number)
        group = shape("g", id=f"node{number + 1}", class_=f"node {look.get('class', '')}".strip())
        group.append(shape("title", box.name))
        colours = {"fill": look.get("fillcolor", "none"), **stroke(look)}
        x, y = left + width / 2, top + height / 2
        if look.get("shape") == "circle":
            group.append(shape("ellipse", cx=x, cy=y, rx=width / 2, ry=height / 2, **colours))
        else:
            group.append(rounded(left, top, width, height, **colours))
        lines = lines_of(look.get("label", ""))
        if len(lines) == 1 and lines[0]:
            size = float(look.get("fontsize", 14))
            group.extend(texts(lines, (x, y + 0.35 * size), size, look.get("fontcolor", "black")))
        return group

    def edge(self, number: int) -> ET.Element:
        """Return an edge: its curve, its arrow and its label."""
        wire = self.wires[number]
        look = wire.attributes
        points = self.curve(number)
        group = shape("g", id=f"edge{number + 1}", class_="edge")
        group.append(shape("title", f"{wire.tail}->{wire.head}"))
        has_arrow = look.get("arrowhead") != "none"
        length, half = (part * float(look.get("arrowsize", 1)) for part in ARROW)
        tip = points[-1]
        if has_arrow:
            points = shortened(points, length)
        path = "M{},{}C".format(*map(coordinate, points[0])) + " ".join(
            f"{coordinate(x)},{coordinate(y)}" for x, y in points[1:]
        )
        colours = stroke(look)
        group.append(shape("path", d=path, fill="none", **colours))
        if has_arrow:
            colours.pop("stroke_dasharray", None)
            group.append(shape("polygon", points=arrow(points[-1], tip, half), fill=look["color"], **colours))
        if look.get("label"):
            size = float(look.get("fontsize", 9.5))
            lines = lines_of(look["label"])
            x, y = middle(points)
            place = (x, y - 3 - (len(lines) - 1) * LINE_HEIGHT * size)
            group.extend(texts(lines, place, size, look.get("fontcolor", "black")))
        return group

    def curve(self, number: int) -> Points:
        """Return the points of the curves of an edge: three for each curve, after the start."""
        wire = self.wires[number]
        tail, head = (self.upright(self.numbers[name]) for name in (wire.tail, wire.head))
        start, end = (tail[0] + tail[2], tail[1] + tail[3] / 2), (head[0], head[1] + head[3] / 2)
        if not counts(wire) or (number not in self.routes and end[0] < start[0]):
            points = around(tail, head)
        else:
            points = curves([start, *self.routes.get(number, []), end])
        return self.turned(points)

    def upright(self, number: int) -> tuple[float, float, float, float]:
        """Return the box of a node as if the picture went from left to right."""
        width, height = self.sizes[number] if self.across else self.sizes[number][::-1]
        x, y = self.placement.corners[number].tolist()
        return x, y, width, height


def in_order(sheet: Sheet) -> list[str]:
    """Return the names of the nodes, each after all that lead to it; the order of the text where that is free."""
    waiting = dict.fromkeys(sheet.boxes, 0)
    after: dict[str, list[str]] = {name: [] for name in sheet.boxes}
    for wire in sheet.wires:
        if counts(wire) and wire.tail in after and wire.head in waiting:
            waiting[wire.head] += 1
            after[wire.tail].append(wire.head)
    found = [name for name, count in waiting.items() if not count]
    for name in found:  # grows while it is walked
        for other in after[name]:
            waiting[other] -= 1
            if not waiting[other]:
                found.append(other)
    return found + [name for name, count in waiting.items() if count]


def counts(wire: Wire) -> bool:
    """Tell whether an edge says where its ends stand."""
    return wire.attributes.get("constraint") != "false"


def size_of(box: Box) -> tuple[float, float]:
    """Return the width and the height of a node in points, as Graphviz works them out."""
    look = box.attributes
    width, height = (POINTS * float(look.get(name, 0.3)) for name in ("width", "height"))
    if look.get("fixedsize") == "true":
        return width, height
    size = float(look.get("fontsize", 14))
    lines = lines_of(look.get("label", ""))
    beside, above = (POINTS * float(part) for part in look.get("margin", "0.11,0.055").split(","))
    widest = max(text_width(line, size) for line in lines) if len(lines) == 1 else 0.0
    return max(width, widest + 2 * beside), max(height, len(lines) * LINE_HEIGHT * size + 2 * above)


def label_width(look: Attributes) -> float:
    """Return how wide the label of an edge is."""
    size = float(look.get("fontsize", 9.5))
    return max(text_width(line, size) for line in lines_of(look["label"])) if look.get("label") else 0.0


def stroke(look: Attributes) -> dict[str, str]:
    """Return the line of an element as attributes of SVG."""
    found = {"stroke": look.get("color", "black")}
    if "penwidth" in look:
        found["stroke_width"] = look["penwidth"]
    if "dashed" in look.get("style", "") and "rounded" not in look.get("style", ""):
        found["stroke_dasharray"] = "5,2"
    return found


def rounded(left: float, top: float, width: float, height: float, **look: str) -> ET.Element:
    """Return a box with round corners."""
    r = min(ROUND, width / 2, height / 2)
    right, bottom = left + width, top + height
    corners = (
        f"M{left + r:.2f},{top:.2f}C{left + r:.2f},{top:.2f} {right - r:.2f},{top:.2f} {right - r:.2f},{top:.2f} "
        f"{right:.2f},{top:.2f} {right:.2f},{top + r:.2f} {right:.2f},{top + r:.2f} "
        f"{right:.2f},{top + r:.2f} {right:.2f},{bottom - r:.2f} {right:.2f},{bottom - r:.2f} "
        f"{right:.2f},{bottom:.2f} {right - r:.2f},{bottom:.2f} {right - r:.2f},{bottom:.2f} "
        f"{right - r:.2f},{bottom:.2f} {left + r:.2f},{bottom:.2f} {left + r:.2f},{bottom:.2f} "
        f"{left:.2f},{bottom:.2f} {left:.2f},{bottom - r:.2f} {left:.2f},{bottom - r:.2f} "
        f"{left:.2f},{bottom - r:.2f} {left:.2f},{top + r:.2f} {left:.2f},{top + r:.2f} "
        f"{left:.2f},{top:.2f} {left + r:.2f},{top:.2f} {left + r:.2f},{top:.2f}"
    )
    return shape("path", d=corners, **look)


def texts(lines: Sequence[str], place: Point, size: float, colour: str, anchor: str = "middle") -> Iterator[ET.Element]:
    """Yield lines of text, the baseline of the first at a place."""
    for number, line in enumerate(lines):
        y = place[1] + number * LINE_HEIGHT * size
        yield shape("text", line, x=place[0], y=y, text_anchor=anchor, font_size=size, fill=colour)


def curves(stops: Points) -> Points:
    """Return a way through points as curves: straight along an axis, else starting and ending level."""
    points = stops[:1]
    for (ax, ay), (bx, by) in itertools.pairwise(stops):
        if ax == bx or ay == by:
            points += [(ax + (bx - ax) / 3, ay + (by - ay) / 3), (bx - (bx - ax) / 3, by - (by - ay) / 3), (bx, by)]
        else:
            points += [((ax + bx) / 2, ay), ((ax + bx) / 2, by), (bx, by)]
    return points


def around(tail: Sequence[float], head: Sequence[float]) -> Points:
    """Return a curve back to an earlier node, or to the same one: over both of them."""
    start, end = (tail[0] + 0.7 * tail[2], tail[1]), (head[0] + 0.3 * head[2], head[1])
    top = min(start[1], end[1]) - LOOP
    return [start, (start[0], top), (end[0], top), end]


def shortened(points: Points, length: float) -> Points:
    """Return a curve with room for an arrow of that length at its end."""
    (bx, by), (x, y) = points[-2], points[-1]
    far = max(np.hypot(x - bx, y - by), 1e-6)
    share = length / far
    moved = (x - (x - bx) * share, y - (y - by) * share)
    return [*points[:-1], (float(moved[0]), float(moved[1]))]


def arrow(base: Point, tip: Point, half: float) -> str:
    """Return the corners of an arrow."""
    dx, dy = tip[0] - base[0], tip[1] - base[1]
    far = max(float(np.hypot(dx, dy)), 1e-6)
    ax, ay = -dy / far * half, dx / far * half
    corners = [(base[0] + ax, base[1] + ay), tip, (base[0] - ax, base[1] - ay), (base[0] + ax, base[1] + ay)]
    return " ".join(f"{coordinate(x)},{coordinate(y)}" for x, y in corners)


def middle(points: Points) -> Point:
    """Return the middle of the last curve of an edge."""
    a, b, c, d = points[-4:]
    return (a[0] + 3 * b[0] + 3 * c[0] + d[0]) / 8, (a[1] + 3 * b[1] + 3 * c[1] + d[1]) / 8


def coordinate(x: float) -> str:
    """Return a coordinate in hundredths of a point."""
    return f"{x:.2f}"
