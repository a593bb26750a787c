"""What the debugger says: events, nodes and numbers as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gradviz.debugger.events import Step
from gradviz.debugger.positions import BACKWARD, UPDATE
from gradviz.debugger.standing import NodeView, Standing
from gradviz.escape import clean
from gradviz.graphs import Node, Number
from gradviz.graphs.listing import expression_text, number_text, type_text

__all__ = ["brief", "columns", "described", "drawn_array", "event_line", "listing", "rows_of", "shown", "tree"]

BRANCHES = 200  # lines of a tree
BRIEF, DIGITS = 3, 4  # elements of an array, and digits, in a column
EXPRESSION, LINE, NAME = 60, 100, 40  # characters


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


def brief(value: Number | None) -> str:
    """Return a number in a column: four digits, of an array the first three elements.

    >>> brief(0.123456), brief(np.arange(5.0)), brief(None)
    ('0.1235', '[0, 1, 2, ...]', 'none')
    """
    if value is None or isinstance(value, float) or np.size(value) <= BRIEF:
        return number_text(value, DIGITS)
    return f"{number_text(np.ravel(value)[:BRIEF], DIGITS)[:-1]}, ...]"


def listing(d: Standing, first: int, last: int, looked_at: Node | None = None) -> list[str]:
    """Return the events ``first`` to ``last`` of this phase with their source lines.

    ``->`` is the event that has just happened, ``>>`` the event of a node that is looked at. A source line stands
    only where it is not the one that stands above.
    """
    count = len(d.cursor.steps.fold.order(d.where.phase))
    shown = range(max(0, first), min(count, last + 1))
    rows = [_event_row(d, number, looked_at) for number in shown]
    above = ["", ""]
    for row in rows:
        row[-2:], above = (["", ""] if row[-2:] == above else row[-2:]), (row[-2:] if row[-2] else above)
    return columns(rows) if rows else ["--- there are no more events in this phase ---"]


def _event_row(d: Standing, number: int, looked_at: Node | None) -> list[str]:
    """Return one event of a listing; the numbers of what is still to come are not shown."""
    step = d.cursor.steps.at(d.where.phase, number)
    node, name = step.node, clean(step.node.name, NAME)
    mark = "->" if number == d.where.op else ">>" if node is looked_at else "  "
    text = name if node.kind != "op" else f"{name} = {expression_text(d.graph, node)}"
    what = {BACKWARD: f"d/d({name})", UPDATE: name}.get(d.where.phase, clean(text, EXPRESSION))
    number_shown = _event_number(d, step) if number <= d.where.op else "..."
    return [f"{mark} {number}", what, number_shown, *_source_cells(node)]


def _event_number(d: Standing, step: Step) -> str:
    if step.phase == UPDATE:
        return f"{brief(d.full.values[step.node.id])} -> {brief(step.value)}"
    return brief(step.grad if step.phase == BACKWARD else step.value)


def _source_cells(node: Node) -> list[str]:
    source = node.source
    return ["", ""] if source is None else [clean(str(source)), clean(source.code or source.text, LINE)]


def event_line(d: Standing, node: Node) -> str:
    """Return a node as it is now on one line: how it is computed, value and gradient."""
    how = "" if node.kind != "op" else f" = {expression_text(d.graph, node)}"
    return f"{clean(node.name, NAME)}{clean(how, EXPRESSION)} = {numbers_text(d, d[node.name])}"


def numbers_text(d: Standing, view: NodeView) -> str:
    """Return value and gradient as far as they are known: ``...`` is still to come, of some there is no gradient."""
    value = brief(view.value) if view.value is not None or d.full.values[view.node.id] is None else "..."
    grad = d.full.grads[view.node.id]
    if grad is None:
        return f"{value}, no gradient"
    return f"{value}, gradient {brief(view.grad) if view.grad is not None else '...'}"


def rows_of(d: Standing, views: Sequence[NodeView]) -> list[str]:
    """Return nodes as a table: name, op, shape, value, gradient; ``...`` is still to come."""
    rows = [["name", "op", "type", "value", "gradient"]]
    for view in views:
        node, later = view.node, (d.full.values[view.node.id], d.full.grads[view.node.id])
        numbers = [
            "..." if now is None and then is not None else brief(now)
            for now, then in zip((view.value, view.grad), later, strict=True)
        ]
        rows.append([clean(node.name, NAME), clean(node.op), type_text(node), *numbers])
    return columns(rows)


def described(d: Standing, view: NodeView) -> list[str]:
    """Return everything about one node."""
    node, graph = view.node, d.graph
    rows = [["node", f"{clean(node.name)} (id {node.id})"], ["kind", node.kind]]
    if node.kind == "op":
        rows.append(["op", f"{node.op}: {expression_text(graph, node)}"])
        rows += [["", f"d/d({clean(graph.nodes[src].name)}) = {clean(graph.formula(node, arg))}"]
                 for arg, src in enumerate(node.inputs) if graph.formula(node, arg)]  # fmt: skip
    rows += [["type", type_text(node)]]
    both = (("value", view.value, d.full.values[node.id]), ("gradient", view.grad, d.full.grads[node.id]))
    rows += [[what, "still to come" if now is None and full is not None else shown(now)] for what, now, full in both]
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


def tree(d: Standing, start: Node, *, upward: bool, depth: int = 3) -> Iterator[str]:
    """Yield what a node was computed from, or what was computed from it, as an indented tree."""
    graph, waiting, lines = d.graph, [(start.id, 0)], 0
    while waiting and lines < BRANCHES:
        id, level = waiting.pop()
        view = d[graph.nodes[id].name]
        yield f"{'  ' * level}{clean(view.node.name, NAME)} = {numbers_text(d, view)}"
        lines += 1
        following = graph.consumers(id) if upward else tuple(dict.fromkeys(view.node.inputs))
        if level < depth:
            waiting += [(other, level + 1) for other in reversed(following)]
    if waiting:
        yield f"... (the first {BRANCHES} lines)"
