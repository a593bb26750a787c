"""What stands on the card of a node: a title, a note and rows of numbers, the same for every picture."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath, PureWindowsPath

import numpy as np

from gradviz import escape
from gradviz.graphs import Frame, Graph, Node, Number
from gradviz.style import Options, wording

__all__ = ["Card", "Row", "as_frame", "cards", "largest_gradient"]

NAME_LIMIT = 60
NAMED_ROLES = ("input", "param", "const", "output")
NOT_A_NAME = re.compile(r"(const|constant|c)?_?\d*( \(\d+\))?")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a card; ``tone`` is plain, none (no number yet), bad or a gradient level."""

    key: str
    text: str
    tone: str | int = "plain"
    strip: tuple[int | None, ...] = ()

    @property
    def plain(self) -> str:
        """The row as text."""
        if self.strip:
            return wording.blocks(self.strip)
        return f"{self.key} {self.text}" if self.key else self.text


@dataclass(frozen=True, slots=True)
class Card:
    """What is shown of one node; ``symbol`` is its op as drawn, empty for a leaf."""

    id: int
    role: str  # "input" | "param" | "const" | "result" | "output"
    title: str
    note: str
    count: str  # "×100" of a folded node, else empty
    also: str  # what the compact style says after the value, where nodes stand for several: the gradient
    rows: tuple[Row, ...]
    symbol: str
    tooltip: str
    level: int
    pending: bool
    highlighted: bool
    bad: bool


def as_frame(x: Frame | Graph) -> Frame:
    """Return a frame as it is and a graph as a frame without numbers.

    >>> as_frame(Graph((Node(0, "x", "input", "input"),))).values
    (None,)
    """
    if isinstance(x, Frame):
        return x
    nothing = (None,) * len(x.nodes)
    return Frame(x, nothing, nothing)


def largest_gradient(frame: Frame) -> float:
    """Return the size of the largest finite gradient in a frame, 0 if there is none.

    >>> largest_gradient(as_frame(Graph(())))
    0.0
    """
    sizes = (abs(wording.signed_size(grad) or 0.0) for grad in frame.grads)
    return max((size for size in sizes if np.isfinite(size)), default=0.0)


def cards(frame: Frame, options: Options) -> list[Card]:
    """Return the card of every node.

    >>> [card.title for card in cards(as_frame(Graph((Node(0, "x", "input", "input"),))), Options())]
    ['x']
    """
    writer = Writer(frame, options)
    return [writer.card(node) for node in frame.graph.nodes]


class Writer:
    """Writes the cards of one frame."""

    def __init__(self, frame: Frame, options: Options) -> None:
        self.frame = frame
        self.options = options
        self.show = frozenset(options.show)
        self.largest = largest_gradient(frame)
        self.has_numbers = any(value is not None for value in frame.values)
        self.outputs = frozenset(frame.graph.outputs)
        self.highlight = {frame.graph.index(name) for name in options.highlight}
        self.pending = {frame.graph.index(name) for name in options.pending}
        self.is_summary = any("folded" in node.attrs or "inside" in node.attrs for node in frame.graph.nodes)

    def card(self, node: Node) -> Card:
        """Return the card of one node."""
        value, grad = self.frame.values[node.id], self.frame.grads[node.id]
        same = the_same(node, value)
        value = value if same is None else same
        pending = node.id in self.pending
        rows = (*self.value_rows(node, value), *self.grad_rows(node, grad), *self.source_rows(node))
        return Card(
            id=node.id,
            role=self.role(node),
            title=self.title(node),
            note=self.note(node) if same is None else "",
            count=f"×{node.attrs['folded']:,}" if "folded" in node.attrs and same is None else "",
            also=self.also(rows),
            rows=rows,
            symbol=escape.clean(node.symbol or node.op, 24) if node.kind == "op" and node.op != "scope" else "",
            tooltip=self.tooltip(node, value, grad),
            level=wording.level(wording.signed_size(grad), self.largest),
            pending=pending,
            highlighted=node.id in self.highlight,
            bad=wording.has_bad(value) or wording.has_bad(grad),
        )

    def also(self, rows: Sequence[Row]) -> str:
        """Return the gradient for the one line of the compact style, in a picture where nodes stand for several."""
        grads = (f"grad {row.text}" for row in rows if row.key == "grad" and row.tone != "none")
        return next(grads, "") if self.is_summary else ""

    def role(self, node: Node) -> str:
        """Return what part the node plays in the picture."""
        if node.id in self.outputs and node.kind == "op":
            return "output"
        return "result" if node.kind == "op" else node.kind

    def title(self, node: Node) -> str:
        """Return the name, unless it is a constant whose number says more."""
        if "name" not in self.show:
            return ""
        if node.kind == "const" and NOT_A_NAME.fullmatch(node.name) and self.frame.values[node.id] is not None:
            return ""
        return escape.clean(inner_name(node), NAME_LIMIT)

    def note(self, node: Node) -> str:
        """Return the small word beside the name: role, shape, count."""
        folded = node.attrs.get("folded")
        shape = wording.format_shape(node.shape[1:] if folded else node.shape) if "shape" in self.show else ""
        inside = f"{node.attrs['inside']:,} nodes" if "inside" in node.attrs else ""
        role = self.role(node) if self.role(node) in NAMED_ROLES and "name" in self.show else ""
        role = "" if role == "const" and not self.title(node) else role
        return " · ".join(filter(None, (role, shape, inside, f"×{folded:,}" if folded else "")))

    def value_rows(self, node: Node, value: Number | None) -> Iterator[Row]:
        """Yield the rows of the forward value."""
        if value is None:
            if "value" in self.show and self.has_numbers and "inside" not in node.attrs:
                yield Row("value", "not yet", "none")
            return
        if "value" in self.show:
            yield from self.number_rows("value", value, "plain")
        if "stats" in self.show and not isinstance(value, float):
            yield from self.stat_rows(value)

    def grad_rows(self, node: Node, grad: Number | None) -> Iterator[Row]:
        """Yield the rows of the gradient; a constant never gets one."""
        if "grad" not in self.show or not self.has_numbers:
            return
        if grad is not None:
            step = wording.level(wording.signed_size(grad), self.largest)
            yield from self.number_rows("grad", grad, step)
            if "reached" in node.attrs:
                yield Row("", f"in {node.attrs['reached']:,} of {node.attrs['folded']:,}", "none")
        elif node.kind != "const" and "inside" not in node.attrs:
            yield Row("grad", "– no grad", "none")

    def number_rows(self, key: str, x: Number, tone: str | int) -> Iterator[Row]:
        """Yield the digits of a number or small array, or range, mean and heat strip of a large one."""
        tone = "bad" if wording.has_bad(x) else tone
        mark = "! " if tone == "bad" else ""
        precision = self.options.precision
        if isinstance(x, float):
            yield Row(key, mark + wording.format_number(x, precision), tone)
        elif 0 < x.size <= wording.FEW:
            yield from self.matrix_rows(key, x, mark, tone)
        else:
            found = wording.summary(x)
            yield Row(key, mark + wording.format_range(found, precision), tone)
            if found.bad:
                yield Row("", f"! {found.bad}", "bad")
            if x.size and found.low != found.high:
                yield Row("mean", wording.format_number(found.mean, precision))
                yield Row("", "", "plain", wording.strip(x))

    def matrix_rows(self, key: str, x: np.ndarray, mark: str, tone: str | int) -> Iterator[Row]:
        """Yield a small array, a matrix line by line."""
        lines = list(x) if x.ndim == 2 else [x]
        for number, line in enumerate(lines):
            text = wording.format_array(np.asarray(line), self.options.precision)
            yield Row(key if number == 0 else "", (mark if number == 0 else "") + text, tone)

    def stat_rows(self, x: np.ndarray) -> Iterator[Row]:
        """Yield what show="stats" adds."""
        found = wording.summary(x)
        if found.size > wording.FEW and "value" in self.show:
            names: tuple[str, ...] = ("std", "norm")
        else:
            names = ("low", "high", "mean", "std", "norm")
        for name in names:
            yield Row({"low": "min", "high": "max"}.get(name, name), self.number(getattr(found, name)))

    def source_rows(self, node: Node) -> Iterator[Row]:
        """Yield where the node was made, as file:line and text."""
        if "source" in self.show and node.source is not None:
            yield Row("", escape.clean(f"{file_name(node.source.file)}:{node.source.line}", 60), "source")
            if node.source.text:
                yield Row("", escape.clean(node.source.text, 40), "source")

    def number(self, x: float) -> str:
        """Return a number in the precision asked for."""
        return wording.format_number(x, self.options.precision)

    def tooltip(self, node: Node, value: Number | None, grad: Number | None) -> str:
        """Return everything known about a node on one line, for the pointer that rests on it."""
        parts = [f"{wording.display_name(node)}: {node.op}"]
        if node.shape:
            parts.append(f"shape {wording.format_shape(node.shape)}")
        parts.append(node.dtype)
        numbers = (("value", value), ("grad", grad))
        parts += [f"{word} {brief(x, self.options.precision)}" for word, x in numbers if x is not None]
        if node.source is not None:
            parts.append(f"{file_name(node.source.file)}:{node.source.line}")
        return escape.clean(", ".join(parts))


def inner_name(node: Node) -> str:
    """Return the name without that of the scopes around it, whose boxes say it; a number alone is no name.

    >>> inner_name(Node(0, "net.layer.w", "param", "param", scope=("net", "layer")))
    'w'
    >>> inner_name(Node(0, "attention.mm", "mm", "op", scope=("net", "attention")))
    'mm'
    """
    if not node.scope:
        return wording.display_name(node)
    whole, inner = ".".join(node.scope), node.scope[-1]
    if node.name == whole:
        rest = inner
    elif node.name.startswith(f"{whole}."):
        rest = node.name[len(whole) + 1 :]
    else:
        rest = node.name.removeprefix(f"{inner}.")
    is_word = bool(whole) and rest.strip() and not rest[:1].isdecimal()
    return rest if is_word else wording.display_name(node)


def the_same(node: Node, value: Number | None) -> float | None:
    """Return the number of a folded constant that is the same in every round: there is nothing more to say of it.

    >>> the_same(Node(0, "const", "const", "const", attrs={"folded": 3}), np.full(3, 2.0))
    2.0
    """
    if node.kind != "const" or "folded" not in node.attrs or isinstance(value, float) or value is None:
        return None
    is_same = value.ndim == 1 and value.size and value.dtype == np.float64 and bool((value == value[0]).all())
    return float(value[0]) if is_same else None


def brief(x: Number, precision: int) -> str:
    """Return a number in a few words.

    >>> brief(0.5, 4), brief(np.array([1.0, 2.0]), 4)
    ('0.5', '1 … 2')
    """
    if isinstance(x, float):
        return wording.format_number(x, precision)
    return wording.format_range(wording.summary(x), precision)


@lru_cache(1024)
def file_name(path: str) -> str:
    r"""Return the last part of a path of any system, so that no folder of the user is shown.

    >>> file_name("/home/me/line.py"), file_name("C:\\me\\line.py")
    ('line.py', 'line.py')
    """
    return PureWindowsPath(PurePath(path).name).name
