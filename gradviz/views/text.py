"""A frame for the terminal: a listing with numbers and source lines, and a tree from the results down."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from gradviz.collecting import uncollected
from gradviz.escape import clean, for_terminal
from gradviz.graphs import Frame, Graph, Node, Number
from gradviz.graphs.listing import ends_of, expression_text, gap_text
from gradviz.style import wording
from gradviz.views.cards import NOT_A_NAME, as_frame, file_name

if TYPE_CHECKING:
    from gradviz.views.drawing import Drawing

__all__ = ["cell_text", "listing", "to_text", "tree"]

NAME_LIMIT = 40
SOURCE_LIMIT = 48
EXPRESSION_LIMIT = 56
WIDEST = 48  # cells; a longer text does not push the column out for everybody
GAP = "  "
HEADS = ("name", "", "shape", "value", "gradient", "source")
STYLES = {  # SGR codes of a terminal
    "param": "33",
    "input": "36",
    "const": "2",
    "op": "",
    "head": "2",
    "none": "2;3",
    "bad": "1;7;31",
    "positive": "33",
    "negative": "34",
    "plain": "",
    "shape": "2",
    "source": "2",
}
NOTES = frozenset(("fold", "folded", "carried", "inside", "reached", "rounds"))  # attributes that transforms add
NO_GRADIENT = "–"  # not 0: nothing has reached it


@dataclass(frozen=True, slots=True)
class Cell:
    """One text of the listing and its look."""

    text: str
    look: str = "plain"


@uncollected()
def to_text(drawing: Drawing, *, whole: bool = True) -> str:
    """Return a drawing as text: its title, what it is of, the listing and, with local, every derivative.

    Without ``whole`` a listing of more than 1,000 lines is its first and last 50, as ``str()`` of a frame is.

    >>> from gradviz.views.drawing import draw
    >>> print(to_text(draw(Frame(Graph((Node(0, "x", "input", "input"),), (0,)), [3.0], [None]))))
    1 value, 0 operations, x 3
    name         shape  value  gradient  source
    x     input         3      –
    -> x
    """
    from gradviz.views.svg import describe

    options = drawing.options
    head = [for_terminal(options.title)] if options.title else []
    lister = Lister(drawing.frame, options.precision, local="local" in options.show)
    lines = lister.lines(color=False, whole=whole)
    return "\n".join([*head, describe(drawing.frame, options), *lines]) + "\n"


def listing(frame: Frame | Graph, *, color: bool = False, precision: int = 4) -> str:
    """Return every value of a frame on a line of its own, in columns: how it is computed, and its numbers.

    A constant without a name stands where it is used. A gradient that has not arrived is
    ``–``, which is not 0, and what holds a NaN or an infinity starts with ``!``. ``color``
    adds the codes of a terminal.

    >>> x, y = Node(0, "x", "param", "param"), Node(1, "y", "mul", "op", (0, 0), symbol="*")
    >>> print(listing(Frame(Graph((x, y), (1,)), [3.0, 9.0], [6.0, 1.0])))
    name         shape  value  gradient  source
    x     param         3      6
    y     = x * x       9      1
    -> y
    """
    return "\n".join(Lister(as_frame(frame), precision).lines(color=color))


class Lister:
    """Lists one frame."""

    def __init__(self, frame: Frame, precision: int, *, local: bool = False) -> None:
        self.frame = frame
        self.precision = precision
        self.local = local
        self.hidden = {node.id for node in frame.graph if self.stands_inline(node)}
        self.graph = Graph(tuple(map(self.plain, frame.graph)), frame.graph.outputs)

    def plain(self, node: Node) -> Node:
        """Return a node as it is written: by its name in the listing and without the notes of transforms."""
        name, attrs = self.name(node), node.attrs
        if attrs and not NOTES.isdisjoint(attrs):
            attrs = {key: value for key, value in attrs.items() if key not in NOTES}
        elif name == node.name:
            return node
        return replace(node, name=name, attrs=attrs)

    def stands_inline(self, node: Node) -> bool:
        """Tell whether a constant is written where it is used: a number without a name of its own."""
        value = self.frame.values[node.id]
        alone = node.id not in self.frame.graph.outputs
        return node.kind == "const" and alone and isinstance(value, float) and bool(NOT_A_NAME.fullmatch(node.name))

    def name(self, node: Node) -> str:
        """Return what a node is called in the listing."""
        value = self.frame.values[node.id]
        if node.id in self.hidden and isinstance(value, float):
            return wording.format_number(value, self.precision)
        return for_terminal(wording.display_name(node), NAME_LIMIT)

    def lines(self, *, color: bool, whole: bool = True) -> Iterator[str]:
        """Yield the lines of the listing; without ``whole`` those in the middle of a long one are left out."""
        nodes = [node for node in self.graph if node.id not in self.hidden]
        first, more, last = (nodes, 0, []) if whole else ends_of(nodes)
        rows = [(node.id, self.row(node)) for node in (*first, *last)]
        head = [Cell(text, "head") for text in HEADS]
        widths = [max(map(_width, column)) for column in zip(head, *(row for _, row in rows), strict=True)]
        if self.frame.step is not None:
            yield f"step {self.frame.step}"
        yield _line(head, widths, color=color)
        for place, (id, row) in enumerate(rows):
            if more and place == len(first):
                yield gap_text(more)
            yield _line(row, widths, color=color)
            yield from (_shown(Cell(f"{GAP * 2}{text}", "source"), color=color) for text in self.derivatives(id))
        yield "-> " + (", ".join(self.graph.nodes[i].name for i in self.graph.outputs) or "nothing")

    def row(self, node: Node) -> list[Cell]:
        """Return the cells of one node."""
        value, grad = self.frame.values[node.id], self.frame.grads[node.id]
        text = clean(expression_text(self.graph, node), EXPRESSION_LIMIT) + count_text(self.frame.graph.nodes[node.id])
        return [
            Cell(node.name, node.kind),
            Cell(f"= {text}" if node.kind == "op" else text),
            Cell(wording.format_shape(node.shape), "shape"),
            Cell("not yet", "none") if value is None and self.has_numbers else self.number(value, "plain"),
            self.gradient(node, grad),
            Cell(source_text(node), "source"),
        ]

    @cached_property
    def has_numbers(self) -> bool:
        """Whether any value is known."""
        return any(value is not None for value in self.frame.values)

    def gradient(self, node: Node, grad: Number | None) -> Cell:
        """Return the cell of a gradient; a constant never gets one."""
        if grad is None:
            return Cell(NO_GRADIENT if self.has_numbers and node.kind != "const" else "", "none")
        size = wording.signed_size(grad) or 0.0
        return self.number(grad, "positive" if size > 0 else "negative" if size < 0 else "plain")

    def number(self, x: Number | None, look: str) -> Cell:
        """Return the cell of a number."""
        if x is None:
            return Cell("")
        return Cell(cell_text(x, self.precision), "bad" if wording.has_bad(x) else look)

    def derivatives(self, id: int) -> Iterator[str]:
        """Yield the local derivatives of an op and what each argument got from it."""
        if not self.local:
            return
        for arg, src in enumerate(self.frame.graph.nodes[id].inputs):
            if src in self.hidden:
                continue
            with np.errstate(all="ignore"):
                known = wording.derivative(self.frame, src, id, arg, self.precision)
                amount = self.frame.edge_grad(src, id, arg)
            sent = "" if amount is None else f"gradient of {self.graph.nodes[src].name} += "
            sent += "" if amount is None else cell_text(amount, self.precision)
            if known or sent:
                yield ", ".join(for_terminal(text, 200) for text in (known, sent) if text)


def cell_text(x: Number, precision: int = 4) -> str:
    """Return a number in a few words; an array that is not small as range, mean and a strip.

    >>> cell_text(float("nan")), cell_text(np.arange(8.0))
    ('! NaN', '0 … 7, mean 3.5 ▃▃▃▄▄▄▄▅')
    """
    mark = "! " if wording.has_bad(x) else ""
    if isinstance(x, float):
        return mark + wording.format_number(x, precision)
    if 0 < x.size <= wording.FEW:
        return mark + wording.format_array(x, precision)
    found = wording.summary(x)
    parts = [wording.format_range(found, precision)]
    parts += [f"mean {wording.format_number(found.mean, precision)}"] if found.low < found.high else []
    parts += [found.bad] if found.bad else []
    drawn = f" {wording.blocks(wording.strip(x, 8))}" if found.low < found.high else ""
    return mark + ", ".join(parts) + drawn


def count_text(node: Node) -> str:
    """Return how many values a folded or closed node stands for, if it is one.

    >>> count_text(Node(0, "x", "input", "input", attrs={"folded": 100}))
    '  ×100'
    """
    if "folded" in node.attrs:
        return f"{GAP}×{node.attrs['folded']:,}"
    return f"{GAP}{node.attrs['inside']:,} nodes" if "inside" in node.attrs else ""


def source_text(node: Node) -> str:
    """Return where a node was made and its expression, without the folder.

    >>> from gradviz.graphs import Source
    >>> source_text(Node(0, "x", "input", "input", source=Source("/home/me/line.py", 3, text="w * x")))
    'line.py:3  w * x'
    """
    if node.source is None:
        return ""
    place = f"{file_name(node.source.file)}:{node.source.line}"
    return GAP.join(filter(None, (clean(place, 60), clean(node.source.text, SOURCE_LIMIT)))).rstrip()


def _width(cell: Cell) -> int:
    return min(len(cell.text) if cell.text.isascii() else _cells_of(cell.text), WIDEST)


@lru_cache(4096)
def _cells_of(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _line(cells: Iterable[Cell], widths: list[int], *, color: bool) -> str:
    padded = [
        _shown(cell, color=color) + " " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=True)
    ]
    return GAP.join(padded).rstrip()


def _shown(cell: Cell, *, color: bool) -> str:
    code = STYLES[cell.look]
    return f"\x1b[{code}m{cell.text}\x1b[0m" if color and code and cell.text else cell.text


def tree(frame: Frame | Graph, *, precision: int = 4) -> str:
    """Return a frame as a tree: each result, and under it what it is computed from.

    A value that is used more than once is opened once; later it stands with ``(above)``.

    >>> x, y = Node(0, "x", "param", "param"), Node(1, "y", "mul", "op", (0, 0), symbol="*")
    >>> print(tree(Frame(Graph((x, y), (1,)), [3.0, 9.0], [6.0, 1.0])))
    y = x * x  9  gradient 1
    ├─ x: param  3  gradient 6
    └─ x (above)
    """
    lister = Lister(as_frame(frame), precision)
    lines: list[str] = []
    seen: set[int] = set()
    waiting = [(output, "", "") for output in reversed(lister.graph.outputs)]
    while waiting:
        id, before, below = waiting.pop()
        lines.append(before + (f"{lister.graph.nodes[id].name} (above)" if id in seen else _tree_text(lister, id)))
        if id in seen:
            continue
        seen.add(id)
        inputs = [src for src in lister.graph.nodes[id].inputs if src not in lister.hidden]
        ends = [*["├─ "] * (len(inputs) - 1), "└─ "][: len(inputs)]
        found = [
            (src, below + end, below + ("│  " if end[0] == "├" else "   "))
            for src, end in zip(inputs, ends, strict=True)
        ]
        waiting += reversed(found)
    return "\n".join(lines)


def _tree_text(lister: Lister, id: int) -> str:
    name, text, _, value, grad, _ = (cell.text for cell in lister.row(lister.graph.nodes[id]))
    joined = f"{name} {text}" if text.startswith("=") else f"{name}: {text}"
    return GAP.join(filter(None, (joined, value, f"gradient {grad}" if grad else "")))
