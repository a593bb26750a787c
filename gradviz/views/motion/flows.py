"""Where things move: the paths of edges from node to node, through the signs of ops between them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise

from gradviz.views.painting import short
from gradviz.views.svg import SVG

__all__ = ["Paths", "Point", "point_on"]

Point = tuple[float, float]
PORT = re.compile(r":\w+")
NUMBERS = re.compile(r"-?\d+(?:\.\d+)?")
COMMANDS = re.compile(r"([MCL])([^MCL]*)")
PIECES = 12  # of a curve, to measure it


class Paths:
    """The drawn edges of a layout; ``drawn`` gives the path of an edge by the id that Graphviz has given it."""

    def __init__(self, laid_out: ET.Element, drawn: Mapping[str, str]) -> None:
        self.after: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        for group in laid_out.iter(f"{SVG}g"):
            tail, arrow, head = PORT.sub("", group.findtext(f"{SVG}title") or "").partition("->")
            if arrow and group.get("id") in drawn:
                self.after[tail.strip()].append((head.strip(), drawn[str(group.get("id"))]))

    def between(self, src: int, dst: int) -> list[str]:
        """Return the paths from one node to another, one an argument."""
        return list(dict.fromkeys(self._from(f"n{src}", src, dst, "")))

    def _from(self, start: str, src: int, dst: int, path: str) -> Iterator[str]:
        waiting = [(start, path)]
        while waiting:
            place, path = waiting.pop()
            for head, piece in self.after[place]:
                longer = f"{path} {piece.replace('M', 'L', 1)}" if path else piece
                if head == f"n{dst}":
                    yield longer
                elif head == f"op{dst}" or head.startswith(f"e{src}_{dst}_"):
                    waiting.append((head, longer))


def point_on(path: str, share: float) -> Point:
    """Return the point at a share of the length of a path.

    >>> point_on("M0,0L10,0L10,10", 0.75)
    (10.0, 5.0)
    """
    points = list(_corners(path))
    lengths = [((b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2) ** 0.5 for a, b in pairwise(points)]
    left = share * sum(lengths)
    for (a, b), length in zip(pairwise(points), lengths, strict=True):
        if left <= length and length:
            part = left / length
            return float(short(a[0] + (b[0] - a[0]) * part)), float(short(a[1] + (b[1] - a[1]) * part))
        left -= length
    return points[-1]


def _corners(path: str) -> Iterator[Point]:
    """Yield the points of a path, curves cut into pieces."""
    here = (0.0, 0.0)
    for command, text in COMMANDS.findall(path):
        numbers = [float(number) for number in NUMBERS.findall(text)]
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        if command != "C":
            yield from points
            here = points[-1]
            continue
        for start in range(0, len(points) - 2, 3):
            one, two, end = points[start : start + 3]
            yield from (_bezier((here, one, two, end), piece / PIECES) for piece in range(1, PIECES + 1))
            here = end


def _bezier(corners: tuple[Point, Point, Point, Point], t: float) -> Point:
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
    x, y = (sum(w * point[axis] for w, point in zip(weights, corners, strict=True)) for axis in (0, 1))
    return x, y
