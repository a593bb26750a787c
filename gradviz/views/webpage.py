"""One page of HTML for a drawing: the picture, every number, and what belongs to each node; it needs no network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz import escape
from gradviz.graphs import Frame, Node, Number
from gradviz.style import THEMES, Options, Theme, wording
from gradviz.views.cards import file_name
from gradviz.views.document import document
from gradviz.views.svg import describe, title_of
from gradviz.views.text import Cell, Lister, cell_text

if TYPE_CHECKING:
    from gradviz.views.drawing import Drawing

__all__ = ["page", "to_html"]

FOLDER = Path(__file__).parent
FULL = 17  # digits that give a number back exactly
WRITTEN_OUT = 64  # elements of an array in the details
LONG = 2000  # characters of one text in the details
LEAST_SHARE = 0.6  # of its size; a wider picture is scrolled
HEADS = ("Name", "Op", "Shape", "Value", "Gradient", "Source")
CHARTED = ("positive", "negative", "none", "bad")
BODY = """\
<header><h1>{title}</h1><p>{about}</p></header>
<main>
{figures}
<div class="table">
{table}
</div>
</main>"""


def to_html(drawing: Drawing) -> str:
    """Return a page that shows the picture, a table of every value, and the details of the one that is picked.

    It is one file, refers to nothing outside and runs no script but its own (a content
    security policy with hashes says so to the browser); without scripts it can still be
    read. Raises what the layout raises.

    >>> from gradviz.graphs import Graph, Node
    >>> from gradviz.views.drawing import draw
    >>> to_html(draw(Graph((Node(0, "<b>", "input", "input"),)))).count("<b>")
    0
    """
    return page(drawing.frame, drawing.options, [("", drawing.svg)])


def page(frame: Frame, options: Options, figures: Sequence[tuple[str, str]]) -> str:
    """Return a page for a frame with pictures of it, each a caption and an SVG; several are steps to go through.

    >>> from gradviz.graphs import Graph, Node
    >>> frame = Frame(Graph((Node(0, "x", "input", "input"),)), [1.0], [None])
    >>> page(frame, Options(), [("one", "<svg></svg>"), ("two", "<svg></svg>")]).count("<figure")
    2
    """
    writer = Writer(frame, options)
    title = title_of(frame, options)
    style = colours(options.theme) + widths(figures) + (FOLDER / "webpage.css").read_text("utf-8")
    script = (FOLDER / "webpage.js").read_text("utf-8")
    about = describe(frame, options)
    parts = {
        "title": escape.for_html(title),
        "about": escape.for_html(about, limit=None),
        "figures": "\n".join(figure(caption, svg) for caption, svg in figures),
        "table": "\n".join(writer.table()),
    }
    body = re.sub(r"\{(\w+)\}", lambda hit: parts[hit[1]], BODY)
    data = {"nodes": [writer.details(node) for node in frame.graph]}
    return document(title=title, about=about, theme=options.theme, styles=[style], body=body, data=data, script=script)


def colours(theme: str) -> str:
    """Return the colours of a theme as variables; auto follows the reader's system."""
    found = f":root{{{variables(THEMES[theme])}}}"
    if theme == "auto":
        found += f"@media (prefers-color-scheme:dark){{:root{{{variables(THEMES['dark'])}}}}}"
    return found


def variables(theme: Theme) -> str:
    """Return the colours of the page."""
    found = {
        "paper": theme.paper,
        "ink": theme.ink,
        "muted": theme.muted,
        "edge": theme.scope_line,
        "card": theme.card,
        "hover": theme.scope,
        "pick": theme.highlight,
        "alarm": theme.alarm,
        "positive": theme.stroke(3),
        "negative": theme.stroke(-3),
    }
    return ";".join(f"--{name}:{colour}" for name, colour in found.items())


def widths(figures: Sequence[tuple[str, str]]) -> str:
    """Return the rule that keeps a large picture readable: it is scrolled before it gets too small."""
    found = re.search(r'<svg [^>]*?width="([\d.]+)"', figures[0][1])
    return f"figure svg{{min-width:{LEAST_SHARE * float(found[1]):.0f}px}}" if found else ""


def figure(caption: str, svg: str) -> str:
    """Return one picture with its caption."""
    if not caption:
        return f"<figure>\n{svg.strip()}\n</figure>"
    text = escape.for_html(caption, limit=LONG)
    return f'<figure aria-label="{text}"><figcaption>{text}</figcaption>\n{svg.strip()}\n</figure>'


class Writer:
    """Writes the table and the details of one frame."""

    def __init__(self, frame: Frame, options: Options) -> None:
        self.frame = frame
        self.options = options
        self.lister = Lister(frame, options.precision)
        self.uses: list[list[tuple[int, int]]] = [[] for _ in frame.graph]  # of each node: (consumer, argument)
        for src, dst, arg in frame.graph.edges:
            self.uses[src].append((dst, arg))

    # -- the table

    def table(self) -> Iterator[str]:
        """Yield the table, a row for each node."""
        heads = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
        yield "<table><caption>Every value of the picture, in the order of computation</caption>"
        yield f"<thead><tr>{heads}</tr></thead>"
        yield "<tbody>"
        for node in self.frame.graph:
            yield self.row(node)
        yield "</tbody></table>"

    def row(self, node: Node) -> str:
        """Return one row of the table."""
        _, op, shape, value, grad, _ = self.lister.row(self.lister.graph.nodes[node.id])
        name = escape.for_html(wording.display_name(node), 80)
        cells = [td(op.text.removeprefix("= "), "op"), td(shape.text, "number")]
        cells += [td(cell.text, *looks(cell)) for cell in (value, grad)]
        cells.append(f'<td class="place">{place(node)}</td>')
        return f'<tr data-node="{node.id}"><th scope="row">{name}</th>{"".join(cells)}</tr>'

    # -- the details

    def details(self, node: Node) -> dict[str, Any]:
        """Return what is known of a node: a title and rows of key, text and look."""
        with np.errstate(all="ignore"):  # numbers of edges are worked out when they are asked for
            rows = [[key, escape.clean(text, LONG), *look] for key, text, *look in self.rows(node) if text]
        return {
            "name": node.name,
            "title": escape.clean(wording.display_name(node), LONG),
            "rows": rows,
            "inputs": list(dict.fromkeys(node.inputs)),
            "users": list(dict.fromkeys(dst for dst, _ in self.uses[node.id])),
        }

    def rows(self, node: Node) -> Iterator[list[str]]:
        """Yield the rows of the details."""
        op = self.lister.row(self.lister.graph.nodes[node.id])[1]
        yield ["computed as" if node.kind == "op" else "kind", op.text.removeprefix("= ")]
        yield ["type", " ".join(filter(None, (wording.format_shape(node.shape), node.dtype)))]
        yield ["scope", " / ".join(node.scope)]
        yield from number_rows("value", self.frame.values[node.id])
        grad = self.frame.grads[node.id]
        if grad is None and node.kind != "const" and self.lister.has_numbers:
            yield ["gradient", "none: nothing has reached it", "none"]
        yield from number_rows("gradient", grad)
        for dst, arg in self.uses[node.id]:
            yield [f"through {self.short(dst)}", self.edge(node.id, dst, arg)]
        for arg, src in enumerate(node.inputs):
            yield [f"to {self.short(src)}", self.edge(src, node.id, arg)]
        yield from source_rows(node)

    def short(self, id: int) -> str:
        """Return a name for the left column."""
        return escape.clean(wording.display_name(self.frame.graph.nodes[id]), 24)

    def edge(self, src: int, dst: int, arg: int) -> str:
        """Return the local derivative of an edge and what it adds to the gradient of its source."""
        if self.frame.graph.nodes[src].kind == "const":
            return ""
        amount = self.frame.edge_grad(src, dst, arg)
        sent = "" if amount is None else f"gradient += {cell_text(amount, self.options.precision)}"
        derivative = wording.derivative(self.frame, src, dst, arg, self.options.precision)
        return ", ".join(filter(None, (derivative, sent)))


def number_rows(key: str, x: Number | None) -> Iterator[list[str]]:
    """Yield a number exactly; an array with what sums it up, and its elements if they are not many."""
    if x is None:
        return
    look = ["bad"] if wording.has_bad(x) else ["mono"]
    if isinstance(x, float):
        yield [key, wording.format_number(x, FULL), *look]
        return
    found = wording.summary(x)
    if 0 < x.size <= WRITTEN_OUT:
        yield [key, wording.format_array(x, 6), *look]
    yield [key if x.size > WRITTEN_OUT or not x.size else "", cell_text(x), *look[: wording.has_bad(x)]]
    if x.size > 1:
        measures = (("std", found.std), ("norm", found.norm))
        yield ["", ", ".join(f"{name} {wording.format_number(number)}" for name, number in measures)]


def source_rows(node: Node) -> Iterator[list[str]]:
    """Yield where a node was made; the line as it was when it ran, never read again."""
    if node.source is None:
        return
    inside = f" in {node.source.function}" if node.source.function else ""
    yield ["source", f"{file_name(node.source.file)}:{node.source.line}{inside}"]
    yield ["", node.source.code or node.source.text, "mono"]


def td(text: str, *kinds: str) -> str:
    """Return a cell of the table."""
    look = f' class="{" ".join(kinds)}"' if kinds else ""
    return f"<td{look}>{escape.for_html(text)}</td>"


def looks(cell: Cell) -> Iterator[str]:
    """Yield the classes of a number."""
    yield "number"
    if cell.look in CHARTED:
        yield cell.look


def place(node: Node) -> str:
    """Return where a node was made, as HTML."""
    if node.source is None:
        return ""
    code = f" <code>{escape.for_html(node.source.text, 60)}</code>" if node.source.text else ""
    return escape.for_html(f"{file_name(node.source.file)}:{node.source.line}", 60) + code
