"""What the debugger says: events, nodes and numbers as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gradviz.debugger.positions import BACKWARD, UPDATE
from gradviz.debugger.standing import NodeView, Standing
from gradviz.escape import clean
from gradviz.graphs import Frame
from gradviz.graphs.listing import expression_text, number_text, type_text

__all__ = ["columns", "described", "drawn_array", "listing", "rows_of", "shown", "tree"]

AROUND = 5  # events before and after the cursor in a listing
BRANCHES = 200  # lines of a tree


def shown(value: Any) -> str:
    """Return a result of an expression as text.

    >>> shown((1.5, None, 2))
    '(1.5, none, 2)'
    """
    if value is None:
        return "none"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(shown, value))})"
    if isinstance(value, float | np.ndarray):
        return number_text(value)
    return clean(str(value))


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines whose cells stand under each other.

    >>> columns([["a", "1"], ["bcd", "22"]])
    ['a    1', 'bcd  22']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [line.rstrip() for line in lines]


def listing(d: Standing, around: int | None = AROUND) -> list[str]:
    """Return the events around the cursor, or of the whole phase, with an arrow and their source lines."""
    order = d.cursor.steps.fold.order(d.where.phase)
    first = 0 if around is None else max(0, d.where.op - around)
    last = len(order) if around is None else min(len(order), d.where.op + around + 1)
    rows = [_event_row(d, number) for number in range(first, last)]
    return columns(rows)


def _event_row(d: Standing, number: int) -> list[str]:
    """Return one event of a listing; the numbers of what is still to come are not shown."""
    step = d.cursor.steps.at(d.where.phase, number)
    node, fold, now = step.node, d.cursor.steps.fold, d.event.node.id
    mark = "->" if number == d.where.op else "  "
    known = fold.value(d.where.phase, now, node.id)
    if d.where.phase == BACKWARD:
        known = fold.grad(BACKWARD, now, node.id) if number <= d.where.op else None
    text = clean(node.name) if node.kind != "op" else f"{clean(node.name)} = {expression_text(d.graph, node)}"
    what = {BACKWARD: f"d/d({clean(node.name)})", UPDATE: clean(node.name)}.get(d.where.phase, text)
    is_known = number <= d.where.op and known is not None
    return [f"{mark} {number}", what, number_text(known) if is_known else "...", *_source_cells(node)]


def _source_cells(node: Any) -> list[str]:
    source = node.source
    return ["", ""] if source is None else [clean(str(source)), clean(source.code or source.text, 60)]


def rows_of(views: Sequence[NodeView]) -> list[str]:
    """Return nodes as a table: name, op, shape, value, gradient."""
    head = ["name", "op", "type", "value", "gradient"]
    rows = [[clean(v.node.name, 40), v.node.op, type_text(v.node), shown(v.value), shown(v.grad)] for v in views]
    return columns([head, *rows])


def described(d: Standing, view: NodeView) -> list[str]:
    """Return everything about one node."""
    node, graph = view.node, d.graph
    rows = [["node", f"{clean(node.name)} (id {node.id})"], ["kind", node.kind]]
    if node.kind == "op":
        rows.append(["op", f"{node.op}: {expression_text(graph, node)}"])
        rows += [["", f"d/d({clean(graph.nodes[src].name)}) = {clean(graph.formula(node, arg))}"]
                 for arg, src in enumerate(node.inputs) if graph.formula(node, arg)]  # fmt: skip
    rows += [["type", type_text(node)], ["value", shown(view.value)], ["gradient", shown(view.grad)]]
    rows += [["scope", clean(".".join(node.scope))]] if node.scope else []
    rows += [["attrs", clean(", ".join(f"{k}={v}" for k, v in node.attrs.items()))]] if node.attrs else []
    if node.source is not None:
        inside = f" in {clean(node.source.function)}" if node.source.function else ""
        rows.append(["source", f"{clean(str(node.source))}{inside}: {clean(node.source.code or node.source.text)}"])
    return columns(rows)


def drawn_array(value: Any, most: int = 12) -> list[str]:
    """Return an array with all its elements as NumPy writes it, the middle left out where it is long."""
    if value is None:
        return ["none"]
    array = np.asarray(value)
    text = np.array2string(array, precision=6, threshold=most**2, edgeitems=most // 4)
    return [f"{array.dtype} {array.shape}", *text.split("\n")]


def tree(frame: Frame, start: int, *, upward: bool, depth: int = 3) -> Iterator[str]:
    """Yield what a node was computed from, or what was computed from it, as an indented tree."""
    graph, waiting, lines = frame.graph, [(start, 0)], 0
    while waiting and lines < BRANCHES:
        id, level = waiting.pop()
        node = graph.nodes[id]
        numbers = f"{number_text(frame.values[id])}, gradient {number_text(frame.grads[id])}"
        yield f"{'  ' * level}{clean(node.name)} = {numbers}"
        lines += 1
        following = graph.consumers(id) if upward else tuple(dict.fromkeys(node.inputs))
        if level < depth:
            waiting += [(other, level + 1) for other in reversed(following)]
    if waiting:
        yield f"... (the first {BRANCHES} lines)"
