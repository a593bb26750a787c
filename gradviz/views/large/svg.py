"""A graph of any size as SVG: small boxes with names, in the boxes of their scopes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradviz import escape
from gradviz.collecting import uncollected
from gradviz.style import FONTS, THEMES, Theme
from gradviz.views.large.sheet import FAN, HEIGHT, SIZE, TONES, Sheet
from gradviz.views.painting import short

if TYPE_CHECKING:
    from gradviz.views.drawing import Drawing

__all__ = ["large_svg"]

SCOPE_SIZE = 9.0
NAME_LIMIT = 24
LETTERS = {"input": "i", "param": "p", "const": "c"}
NOTE = "laid out by scope, for there are too many nodes for Graphviz"
STUBS = f"long edges of nodes used more than {FAN} times are drawn as short pieces"
BOX = f'<rect class="%s" x="%d" y="%d" width="%d" height="{HEIGHT:g}"/>\n<text x="%d" y="%d">%s</text>'
CURVE = '<path d="M%d,%dC%d,%d %d,%d %d,%d"/>'
STUB = '<path d="M%d,%dH%d"/>'
STUB_LENGTH = 8.0
SCOPE = '<rect class="f" x="%g" y="%g" width="%g" height="%g" rx="4"/>\n<text class="s" x="%g" y="%g">%s</text>'


@uncollected()
def large_svg(drawing: Drawing) -> str:
    """Return the picture of a graph of any size as SVG: each node a small box with its name, in the box of its scope.

    Boxes of parameters, inputs and constants have their colours, those of ops that of the gradient. Light and dark as
    other pictures; numbers are left out, and the description says so.

    >>> from gradviz.graphs import Graph, Node
    >>> from gradviz.views.drawing import draw
    >>> large_svg(draw(Graph((Node(0, "x", "input", "input"),)))).count("<rect")
    1
    """
    from gradviz.views.svg import SCALE, describe, title_of

    frame, options = drawing.frame, drawing.options
    sheet = Sheet(frame)
    body = "\n".join([*scopes(sheet), *edges(sheet), *nodes(sheet)])
    digest = hashlib.sha256(f"{options.theme}\n{body}".encode("utf-8", "surrogatepass"))
    id = f"gv-{digest.hexdigest()[:12]}"
    width, height = sheet.placement.size
    title = escape.for_html(title_of(frame, options))
    notes = [describe(frame, options), NOTE, *([STUBS] if sheet.stubs.any() else [])]
    about = escape.for_html("; ".join(notes), limit=None)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" id="{id}" class="gradviz" role="img"'
        f' aria-labelledby="{id}-title {id}-desc" viewBox="0 0 {short(width)} {short(height)}"'
        f' width="{short(width * SCALE)}" height="{short(height * SCALE)}" font-family="{FONTS}">\n'
        f'<title id="{id}-title">{title}</title>\n<desc id="{id}-desc">{about}</desc>\n'
        f"<style>{''.join(rules(id, options.theme))}</style>\n{body}\n</svg>\n"
    )


def scopes(sheet: Sheet) -> Iterator[str]:
    """Yield the boxes of the scopes, the outer ones first."""
    boxes = sheet.placement.boxes.tolist()
    for path, (left, top, width, height) in zip(sheet.placement.nesting.paths[1:], boxes[1:], strict=True):
        name = escape.for_html(path[-1], NAME_LIMIT)
        yield SCOPE % (left, top, width, height, left + 5, top + 11, name)


def edges(sheet: Sheet) -> Iterator[str]:
    """Yield the edges: curves, and those that are led past others, or on in another row, through their points."""
    placement = sheet.placement
    src, dst = sheet.src, sheet.dst
    start_x, start_y = placement.corners[src, 0] + sheet.widths[src], placement.corners[src, 1] + HEIGHT / 2
    end_x, end_y = placement.corners[dst, 0], placement.corners[dst, 1] + HEIGHT / 2
    bend = np.maximum(8.0, np.abs(end_x - start_x) / 2)
    routes = placement.routes
    is_curve = ~sheet.stubs
    is_curve[routes.edges] = False
    curves = (start_x, start_y, start_x + bend, start_y, end_x - bend, end_y, end_x, end_y)
    yield from map(CURVE.__mod__, rows(*(column[is_curve] for column in curves)))
    yield from map(STUB.__mod__, rows(end_x[sheet.stubs] - STUB_LENGTH, end_y[sheet.stubs], end_x[sheet.stubs]))
    whole = ~sheet.stubs[routes.edges]
    at = routes.edges[whole]
    ends = zip(*(np.rint(column[at]).tolist() for column in (start_x, start_y, end_x, end_y)), strict=True)
    points = np.rint(routes.points).tolist()
    for (x1, y1, x2, y2), first, last in zip(ends, routes.starts[:-1][whole], routes.starts[1:][whole], strict=True):
        yield f'<path d="{path([(x1, y1), *points[first:last], (x2, y2)])}"/>'


def path(points: Sequence[Sequence[float]]) -> str:
    """Return a way through points: straight along an axis, else a curve that starts and ends level.

    >>> path([(0, 0), (10, 0), (10, 5), (30, 9)])
    'M0,0H10V5C20,5 20,9 30,9'
    """
    (x, y), *rest = points
    found = f"M{x:g},{y:g}"
    for to_x, to_y in rest:
        if to_y == y:
            found += f"H{to_x:g}"
        elif to_x == x:
            found += f"V{to_y:g}"
        else:
            middle = (x + to_x) / 2
            found += f"C{middle:g},{y:g} {middle:g},{to_y:g} {to_x:g},{to_y:g}"
        x, y = to_x, to_y
    return found


def nodes(sheet: Sheet) -> Iterator[str]:
    """Yield the boxes of the nodes with their names."""
    left, top = sheet.placement.corners.T
    tones = [TONES[tone] for tone in sheet.tones.tolist()]
    numbers = rows(left, top, sheet.widths, left + 3, top + 10)
    names = [name if name.isidentifier() else escape.for_html(name) for name in sheet.labels]
    for tone, (x, y, width, text_x, text_y), name in zip(tones, numbers, names, strict=True):
        yield BOX % (tone, x, y, width, text_x, text_y, name)


def rows(*columns: np.ndarray) -> Iterator[tuple[int, ...]]:
    """Return the rows of a table of whole numbers."""
    return zip(*(np.rint(column).astype(np.int64).tolist() for column in columns), strict=True)


def rules(id: str, theme: str) -> Iterator[str]:
    """Yield the style sheet: colours by class, the dark ones too if the picture follows its reader's system."""
    yield f"#{id} text{{font-size:{SIZE:g}px}}#{id} .s{{font-size:{SCOPE_SIZE:g}px}}#{id} path{{fill:none}}"
    yield "".join(colours(id, THEMES[theme]))
    if theme == "auto":
        yield f"@media (prefers-color-scheme:dark){{{''.join(colours(id, THEMES['dark']))}}}"


def colours(id: str, theme: Theme) -> Iterator[str]:
    """Yield the colours of everything."""
    yield f"#{id} text{{fill:{theme.ink}}}#{id} .s{{fill:{theme.note}}}"
    yield f"#{id} path{{stroke:{theme.line};stroke-width:.6px;stroke-opacity:.6}}"
    yield f"#{id} rect{{stroke:{theme.line};stroke-width:.6px}}"
    yield f"#{id} .f{{fill:{theme.scope};stroke:{theme.scope_line}}}"
    for role, letter in LETTERS.items():
        yield f"#{id} .{letter}{{fill:{theme.role_fill(role)};stroke:{theme.role_line(role)}}}"
    yield f"#{id} .o{{fill:{theme.card};stroke:{theme.role_line('output')};stroke-width:1.6px}}"
    yield f"#{id} .x{{fill:{theme.alarm_fill};stroke:{theme.alarm};stroke-width:1.6px}}"
    for level in range(-4, 5):
        yield f"#{id} .g{level + 4}{{fill:{theme.fill(level)}}}"
