"""A frame in a table as long as a program, not as its graph: what came of each op, scope or source line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from gradviz.errors import GradvizValueError
from gradviz.escape import clean
from gradviz.graphs.nodes import Node
from gradviz.graphs.plain import Number

if TYPE_CHECKING:
    from gradviz.graphs import Frame, Graph

ROWS_LIMIT = 40
HEADS = ("nodes", "least", "greatest", "gradient norm", "not finite")
GRAPH_HEADS = ("nodes", "elements")


def summary_text(whole: Frame | Graph, by: str) -> str:
    """Return one row for every op, scope or source line, the one with most nodes first, and a line with the totals.

    A graph without numbers has the elements of all its values in place of what the numbers are.

    >>> from gradviz.graphs import Frame, Graph
    >>> print(summary_text(Frame(Graph((Node(0, "x", "input", "input"),), (0,)), [3.0], [2.0]), "op"))
    op     nodes  least  greatest  gradient norm  not finite
    input      1  3      3         2              0
    1 node in 1 group
    """
    from gradviz.graphs import Frame

    frame, graph = (whole, whole.graph) if isinstance(whole, Frame) else (None, whole)
    groups: dict[str, list[int]] = {}
    for node in graph.nodes:
        groups.setdefault(_key(node, by), []).append(node.id)
    ranked = sorted(groups.items(), key=lambda group: -len(group[1]))
    rows = [[by, *(GRAPH_HEADS if frame is None else HEADS)]]
    for name, ids in ranked[:ROWS_LIMIT]:
        rows.append([name, *(_sizes(graph, ids) if frame is None else _cells(frame, ids))])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            text.rjust(w) if i == 1 else text.ljust(w) for i, (text, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    more = len(ranked) - ROWS_LIMIT
    rest = [f"... {more:,} more ..."] if more > 0 else []
    total = f"{_counted(len(graph), 'node')} in {_counted(len(groups), 'group')}"
    return "\n".join([*(line.rstrip() for line in lines), *rest, total])


def _key(node: Node, by: str) -> str:
    if by == "op":
        return clean(node.op)
    if by == "scope":
        return clean(".".join(node.scope)) or "(none)"
    if by == "line":
        return "(unknown)" if node.source is None else clean(str(node.source))
    raise GradvizValueError(f"a summary is by op, scope or line, not by {by!r}")


def _sizes(graph: Graph, ids: list[int]) -> list[str]:
    """Return the number of nodes, and of the elements of their values."""
    return [f"{len(ids):,}", f"{sum(math.prod(graph.nodes[i].shape) for i in ids):,}"]


def _cells(frame: Frame, ids: list[int]) -> list[str]:
    """Return the number of nodes, their least and greatest finite value, the norm of gradients, what is not finite."""
    values, grads = _together([frame.values[i] for i in ids]), _together([frame.grads[i] for i in ids])
    finite = values[np.isfinite(values)]
    ends = [f"{finite.min():.6g}", f"{finite.max():.6g}"] if finite.size else ["none", "none"]
    with np.errstate(all="ignore"):
        norm = f"{np.sqrt(np.sum(grads * grads)):.6g}" if grads.size else "none"
    bad = values.size - finite.size + np.count_nonzero(~np.isfinite(grads))
    return [f"{len(ids):,}", *ends, norm, f"{bad:,}"]


def _together(numbers: list[Number | None]) -> np.ndarray:
    """Return all elements of these numbers in one array; of complex ones the magnitudes."""
    floats = np.array([x for x in numbers if isinstance(x, float)], dtype=float)
    with np.errstate(all="ignore"):  # memory that nobody has written to can hold signalling NaNs
        return np.concatenate([floats, *(np.asarray(a, dtype=float).ravel() for a in _magnitudes(numbers))])


def _magnitudes(numbers: list[Number | None]) -> Iterator[np.ndarray]:
    for x in numbers:
        if x is not None and not isinstance(x, float):
            yield np.abs(x) if np.iscomplexobj(x) else x


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
