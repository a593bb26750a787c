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
from gradviz.views.openings import Opening, openings
from gradviz.views.svg import MOST, describe, fold_key, title_of
from gradviz.views.text import Cell, Lister, cell_text

if TYPE_CHECKING:
    from gradviz.views.drawing import Drawing

__all__ = ["page", "to_html"]

FOLDER = Path(__file__).parent
FULL = 17  # digits that give a number back exactly
WRITTEN_OUT = 64  # elements of an array in the details
LONG = 2000  # characters of one text in the details
LEAST_SHARE = 0.6  # of its size; a wider picture is scrolled
SCRIPTS = ("webpage.js", "folds.js")  # the second where there are folds to open
HEADS = ("Name", "Op", "Shape", "Value", "Gradient", "Source")
CHARTED = ("positive", "negative", "none", "bad")
CARD = re.compile(r'data-node="(\d+)"')
SIZE = re.compile(r'<svg [^>]*?id="(gv-\w+)"[^>]*? width="([\d.]+)"')
BODY = """\
<header><h1>{title}</h1><p>{about}</p></header>
<main>
{figures}
{tables}
</main>"""


def to_html(drawing: Drawing) -> str:
    """Return a page that shows the picture, a table of every value, and the details of the one that is picked.

    It is one file, refers to nothing outside and runs no script but its own (a content
    security policy with hashes says so to the browser); without scripts it can still be
    read. A click on what is folded shows it open (see `gradviz.views.openings` for how
    much). More than 2,000 nodes are drawn on a canvas (`gradviz.views.large.page`). Raises what the layout raises.

    >>> from gradviz.graphs import Graph, Node
    >>> from gradviz.views.drawing import draw
    >>> to_html(draw(Graph((Node(0, "<b>", "input", "input"),)))).count("<b>")
    0
    """
    if len(drawing.frame.graph) > MOST:
        from gradviz.views.large.page import large_page

        return large_page(drawing)
    found, left_out = openings(drawing)
    return page(drawing.frame, drawing.options, [("", drawing.svg)], found, left_out)


def page(
    frame: Frame,
    options: Options,
    figures: Sequence[tuple[str, str]],
    opened: Sequence[Opening] = (),
    left_out: int = 0,
) -> str:
    """Return a page for a frame with pictures of it, each a caption and an SVG; several are steps to go through.

    ``opened`` are pictures with folds open, shown when a fold is clicked; ``left_out`` is how many there are not.

    >>> from gradviz.graphs import Graph, Node
    >>> frame = Frame(Graph((Node(0, "x", "input", "input"),)), [1.0], [None])
    >>> page(frame, Options(), [("one", "<svg></svg>"), ("two", "<svg></svg>")]).count("<figure")
    2
    """
    writers = [Writer(frame, options)]
    for opening in opened:
        drawn = opening.drawing
        writers.append(Writer(drawn.frame, drawn.options, writers[-1].end, fold_key(opening.path)))
    title = title_of(frame, options)
    style = colours(options.theme) + widths(figures, opened) + (FOLDER / "webpage.css").read_text("utf-8")
    script = "".join((FOLDER / name).read_text("utf-8") for name in SCRIPTS[: 1 + bool(opened)])
    about = describe(frame, options)
    pictures = [figure(caption, svg) for caption, svg in figures]
    pictures += [writer.figure(opening.svg) for writer, opening in zip(writers[1:], opened, strict=True)]
    note = f"; {left_out:,} folds have no picture here (unfold= draws them)" if left_out else ""
    parts = {
        "title": escape.for_html(title),
        "about": escape.for_html(about + note, limit=None),
        "figures": "\n".join(pictures),
        "tables": "\n".join(line for writer in writers for line in writer.table()),
    }
    body = re.sub(r"\{(\w+)\}", lambda hit: parts[hit[1]], BODY)
    data = {"nodes": [writer.details(node) for writer in writers for node in writer.frame.graph]}
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


def widths(figures: Sequence[tuple[str, str]], opened: Sequence[Opening] = ()) -> str:
    """Return the rules that keep large pictures readable: they are scrolled before they get too small."""
    found = SIZE.search(figures[0][1])
    rules = [f"figure svg{{min-width:{LEAST_SHARE * float(found[2]):.0f}px}}"] if found else []
    sizes = filter(None, (SIZE.search(opening.svg) for opening in opened))
    rules += [f"figure #{hit[1]}{{min-width:{LEAST_SHARE * float(hit[2]):.0f}px}}" for hit in sizes]
    return "".join(rules)


def figure(caption: str, svg: str) -> str:
    """Return one picture with its caption."""
    if not caption:
        return f"<figure>\n{svg.strip()}\n</figure>"
    text = escape.for_html(caption, limit=LONG)
    return f'<figure aria-label="{text}"><figcaption>{text}</figcaption>\n{svg.strip()}\n</figure>'


class Writer:
    """Writes the table and the details of one frame; its nodes are numbered on the page from ``base`` on."""

    def __init__(self, frame: Frame, options: Options, base: int = 0, key: str = "") -> None:
        self.base = base
        self.end = base + len(frame.graph)
        self.key = key
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
        yield f'<div class="table"{self.mark()}>'
        yield "<table><caption>Every value of the picture, in the order of computation</caption>"
        yield f"<thead><tr>{heads}</tr></thead>"
        yield "<tbody>"
        for node in self.frame.graph:
            yield self.row(node)
        yield "</tbody></table>"
        yield "</div>"

    def mark(self) -> str:
        """Return the attribute that says which fold is open in this picture."""
        return f' data-open="{escape.for_html(self.key, limit=LONG)}"' if self.key else ""

    def figure(self, svg: str) -> str:
        """Return the picture with a fold open, its cards numbered as on the page."""
        moved = CARD.sub(lambda hit: f'data-node="{int(hit[1]) + self.base}"', svg.strip())
        caption = f"<figcaption>{escape.for_html(self.key, limit=LONG)}, opened</figcaption>"
        return f'<figure class="opened"{self.mark()}>{caption}\n{moved}\n</figure>'

    def row(self, node: Node) -> str:
        """Return one row of the table."""
        _, op, shape, value, grad, _ = self.lister.row(self.lister.graph.nodes[node.id])
        name = escape.for_html(wording.display_name(node), 80)
        cells = [td(op.text.removeprefix("= "), "op"), td(shape.text, "number")]
        cells += [td(cell.text, *looks(cell)) for cell in (value, grad)]
        cells.append(f'<td class="place">{place(node)}</td>')
        return f'<tr data-node="{node.id + self.base}"><th scope="row">{name}</th>{"".join(cells)}</tr>'

    # -- the details

    def details(self, node: Node) -> dict[str, Any]:
        """Return what is known of a node: a title and rows of key, text and look."""
        with np.errstate(all="ignore"):  # numbers of edges are worked out when they are asked for
            rows = [[key, escape.clean(text, LONG), *look] for key, text, *look in self.rows(node) if text]
        return {
            "name": node.name,
            "title": escape.clean(wording.display_name(node), LONG),
            "rows": rows,
            "inputs": [src + self.base for src in dict.fromkeys(node.inputs)],
            "users": [dst + self.base for dst in dict.fromkeys(dst for dst, _ in self.uses[node.id])],
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
