"""The pictures of a page in which one fold is open, with those around it: laid out when the page is written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gradviz.errors import LayoutError

if TYPE_CHECKING:
    from gradviz.views.drawing import Drawing

__all__ = ["Opening", "openings"]

MOST = 12  # pictures of opened folds
LARGEST = 250  # nodes of one
TOTAL = 1000  # nodes of all together
SCREEN = (1500.0, 850.0)  # pixels
LEGIBLE = 0.6
SIZE = re.compile(r'<svg [^>]*? width="([\d.]+)" height="([\d.]+)"')

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Opening:
    """One fold that is open: the path to it, and the picture."""

    path: Path
    drawing: Drawing
    svg: str


def openings(drawing: Drawing) -> tuple[list[Opening], int]:
    """Return the pictures in which a fold is open, outer folds first, and how many folds there was no room for.

    At most 12 pictures of at most 250 nodes, 1,000 nodes in all.

    >>> from gradviz.graphs import Graph, Node
    >>> from gradviz.views.drawing import draw
    >>> openings(draw(Graph((Node(0, "x", "input", "input"),))))
    ([], 0)
    """
    found: list[Opening] = []
    if drawing.opened is None:
        return found, 0
    waiting = list(closed_folds(drawing))
    seen = set(waiting)
    room, left_out = TOTAL, 0
    for path in waiting:  # grows while it is walked through
        opening = opened(drawing, path, min(LARGEST, room)) if len(found) < MOST else None
        if opening is None:
            left_out += 1
            continue
        found.append(opening)
        room -= len(opening.drawing.frame.graph)
        inner = [inner for inner in closed_folds(opening.drawing) if inner not in seen]
        waiting += inner
        seen.update(inner)
    return found, left_out


def opened(drawing: Drawing, path: Path, room: int) -> Opening | None:
    """Return the picture with one fold open, if it is not too large."""
    if drawing.opened is None:
        return None
    found = drawing.opened([path[:length] for length in range(1, len(path) + 1)])
    if len(found.frame.graph) > room:
        return None
    try:
        best = max(looks(found), key=scale)
    except LayoutError:  # too slow: the page does without it
        return None
    return Opening(path, best, best.svg)


def looks(drawing: Drawing) -> Iterator[Drawing]:
    """Yield the picture as it is and, where it is too large for a screen, on single lines, across and down."""
    yield drawing
    if scale(drawing) >= LEGIBLE or drawing.options.style not in {"cards", "boxes"}:
        return
    for direction in ("LR", "TB"):
        yield replace(drawing, options=replace(drawing.options, style="compact", direction=direction))


def scale(drawing: Drawing) -> float:
    """Return how large a picture can be on a screen, at most 1."""
    found = SIZE.search(drawing.svg)
    return min(1.0, *(room / float(size) for room, size in zip(SCREEN, found.groups(), strict=True))) if found else 1.0


def closed_folds(drawing: Drawing) -> Iterator[Path]:
    """Yield the paths of the folds that can be opened in a picture, in the order of the graph."""
    paths = (node.attrs["fold"] for node in drawing.frame.graph.nodes if node.attrs and "fold" in node.attrs)
    yield from dict.fromkeys(paths)
