"""A graph or a frame as lines of text: one value a line, as it would be written in a program."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from gradviz.escape import clean
from gradviz.graphs.nodes import Node, Source
from gradviz.graphs.plain import Number

if TYPE_CHECKING:
    from gradviz.graphs import Frame, Graph

T = TypeVar("T")

DIGITS = 6
ITEMS_SHOWN = 6
WIDEST = 48  # a longer definition does not widen the column for everybody
LINES_LIMIT = 1000  # a graph of more nodes is listed without its middle
ENDS_SHOWN = 50  # nodes at each end of such a listing


def number_text(number: Number | None, digits: int = DIGITS) -> str:
    """Return a number of a frame in a few characters; an array shows its first elements.

    >>> number_text(0.1 + 0.2), number_text(np.arange(10.0)), number_text(None)
    ('0.3', '[0, 1, 2, 3, 4, 5, ...]', 'none')
    """
    if number is None:
        return "none"
    if isinstance(number, float):
        return f"{number:.{digits}g}"
    return _items_text(number, digits) if number.size <= ITEMS_SHOWN else _first_items(number, digits)


def _items_text(array: np.ndarray, digits: int) -> str:
    if array.ndim == 0:
        item = array.item()
        return f"{item:.{digits}g}" if isinstance(item, (float, complex)) else str(int(item))
    return "[" + ", ".join(_items_text(np.asarray(row), digits) for row in array) + "]"


def _first_items(array: np.ndarray, digits: int) -> str:
    first = _items_text(np.asarray(array.flat[:ITEMS_SHOWN]), digits)
    return f"{first[:-1]}, ...]"


def type_text(node: Node) -> str:
    """Return dtype and shape of a node.

    >>> type_text(Node(0, "x", "input", "input", shape=(3, 4)))
    'float64[3,4]'
    """
    return clean(node.dtype) + (f"[{','.join(map(str, node.shape))}]" if node.shape else "")


MARKS = frozenset(("fold", "origin", "rounds", "saved"))  # what is known of a node, and no argument of its op


def expression_text(graph: Graph, node: Node) -> str:
    """Return how a node is computed, in the names of its inputs: ``a * b``, ``sum(x, axis=0)``.

    For a leaf it is the kind.

    >>> from gradviz.graphs import Graph
    >>> a, b = Node(0, "a", "input", "input"), Node(1, "b", "mul", "op", (0, 0), symbol="*")
    >>> expression_text(Graph((a, b)), b)
    'a * a'
    """
    if node.kind != "op":
        return node.kind
    names = [clean(graph.nodes[src].name) for src in node.inputs]
    attrs = {key: value for key, value in node.attrs.items() if key not in MARKS}
    if not attrs and node.symbol and not any(char.isalnum() for char in node.symbol):
        if len(names) == 2:
            return f"{names[0]} {clean(node.symbol)} {names[1]}"
        if len(names) == 1 and node.symbol in {"-", "+", "~"}:
            return f"{node.symbol}{names[0]}"
    options = [f"{clean(key)}={clean(_plain_text(value), 60)}" for key, value in attrs.items()]
    return f"{clean(node.op)}({', '.join(names + options)})"


def _plain_text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def graph_listing(graph: Graph) -> str:
    """Return the nodes of a graph, one a line; of more than 1,000 the first and the last 50.

    >>> from gradviz.graphs import Graph
    >>> print(graph_listing(Graph((Node(0, "x", "input", "input", shape=(3,)),), (0,))))
    x: input  float64[3]
    -> x
    """
    first, more, last = ends_of(graph.nodes)
    rows = [[_definition(graph, node), type_text(node), _where(node.source)] for node in (*first, *last)]
    return "\n".join([*_with_gap(list(_columns(rows)), more), _results(graph)])


def frame_listing(frame: Frame) -> str:
    """Return the nodes of a frame with value and gradient, one a line; of more than 1,000 the first and the last 50.

    >>> from gradviz.graphs import Frame, Graph
    >>> print(frame_listing(Frame(Graph((Node(0, "x", "input", "input"),), (0,)), [3.0], [None])))
    x: input  float64  = 3  grad none
    -> x
    """
    first, more, last = ends_of(range(len(frame.graph)))
    rows = [
        [_definition(frame.graph, node), type_text(node), *_numbers(value, grad), _where(node.source)]
        for node, value, grad in ((frame.graph.nodes[i], frame.values[i], frame.grads[i]) for i in (*first, *last))
    ]
    head = [] if frame.step is None else [f"step {frame.step}"]
    return "\n".join([*head, *_with_gap(list(_columns(rows)), more), _results(frame.graph)])


def ends_of(items: Sequence[T]) -> tuple[Sequence[T], int, Sequence[T]]:
    """Return what a listing shows first, how much it leaves out, and what it shows last.

    >>> ends_of("abc"), ends_of(range(2000))
    (('abc', 0, ''), (range(0, 50), 1900, range(1950, 2000)))
    """
    if len(items) <= LINES_LIMIT:
        return items, 0, items[:0]
    return items[:ENDS_SHOWN], len(items) - 2 * ENDS_SHOWN, items[-ENDS_SHOWN:]


def gap_text(more: int) -> str:
    """Return the line that stands for what a listing leaves out.

    >>> gap_text(1900)
    '... 1,900 more ...'
    """
    return f"... {more:,} more ..."


def _with_gap(lines: list[str], more: int) -> list[str]:
    return [*lines[:ENDS_SHOWN], gap_text(more), *lines[ENDS_SHOWN:]] if more else lines


def _definition(graph: Graph, node: Node) -> str:
    sign = " =" if node.kind == "op" else ":"
    return f"{clean(node.name)}{sign} {expression_text(graph, node)}"


def _numbers(value: Number | None, grad: Number | None) -> tuple[str, str]:
    return f"= {number_text(value)}", f"grad {number_text(grad)}"


def _where(source: Source | None) -> str:
    if source is None:
        return ""
    return clean(f"{source.file.replace(chr(92), '/').rsplit('/', 1)[-1]}:{source.line}")


def _results(graph: Graph) -> str:
    return "-> " + (", ".join(clean(graph.nodes[i].name) for i in graph.outputs) or "nothing")


def _columns(rows: list[list[str]]) -> Iterable[str]:
    widths = [max(min(len(text), WIDEST) for text in column) for column in zip(*rows, strict=True)]
    return ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
