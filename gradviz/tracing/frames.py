"""One recorded iteration as a frame: what was recorded, and the rest computed again and compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import GradvizError, TraceError
from gradviz.graphs import Frame, Graph, Node, Number
from gradviz.graphs.plain import frozen_number, same_bits
from gradviz.tracing.columns import leaf_columns
from gradviz.tracing.segments import Segment

if TYPE_CHECKING:
    from gradviz.tracing.opening import StructureRows

__all__ = ["frame_of"]

REPLAY_LIMIT = 1 << 29  # numbers in all values of a graph together


@dataclass
class Recorded:
    """What one row says: the loss, and by node the values and gradients (None: there was none)."""

    loss: float
    values: dict[int, Number | None] = field(default_factory=dict)
    grads: dict[int, Number | None] = field(default_factory=dict)
    damaged: bool = False


def frame_of(part: StructureRows, row: int) -> Frame:
    """Return the frame of one row."""
    rows = np.array([row])
    step, time, loss = (part.rows.head(name, rows)[0].item() for name in ("step", "time", "loss"))
    graph = part.graph or _stand_in(part)
    recorded = _recorded(part, graph, rows, loss)
    meta = {"time": time}
    if part.graph is None:
        return _frame(graph, recorded, step, meta | {"replay": "the loss had no graph, only numbers"})
    try:
        values, grads, edges = _replayed(part, graph, recorded)
    except ReplayError as error:
        return _frame(graph, recorded, step, meta | {"replay": str(error)})
    return Frame(graph, values, grads, edges=edges, step=step, meta=meta | {"replay": "exact"})


class ReplayError(Exception):
    """The numbers that were not recorded cannot be computed again."""


def _recorded(part: StructureRows, graph: Graph, rows: np.ndarray, loss: float) -> Recorded:
    """Read the row."""
    recorded = Recorded(loss)
    leaves = {node.name: node.id for node in graph.nodes if node.kind != "op"}
    for (name, kind), column in part.rows.columns.items():
        if name not in leaves or kind not in {"value", "grad"}:
            continue
        values, present = part.rows.read(column, rows)
        number = frozen_number(values[0]) if present[0] else None
        recorded.damaged |= number is None and kind == "value"
        (recorded.values if kind == "value" else recorded.grads)[leaves[name]] = number
    return recorded


def _frame(graph: Graph, recorded: Recorded, step: int, meta: dict[str, Any]) -> Frame:
    """Return a frame of nothing but what was recorded."""
    values = recorded.values | dict.fromkeys(graph.outputs[:1], recorded.loss)
    return Frame(
        graph,
        [values.get(node.id) for node in graph.nodes],
        [recorded.grads.get(node.id) for node in graph.nodes],
        step=step,
        meta=meta,
    )


def _replayed(part: StructureRows, graph: Graph, recorded: Recorded) -> tuple[Any, Any, Any]:
    """Compute the iteration again; raise ReplayError unless loss and gradients come out as recorded."""
    from gradviz.sources import own

    if recorded.damaged:
        raise ReplayError("a parameter is damaged in the trace")
    if sum(prod(node.shape) for node in graph.nodes) > REPLAY_LIMIT:
        raise ReplayError(f"the graph holds more than {REPLAY_LIMIT} numbers")
    leaves = {**_leaves(part, graph), **{i: value for i, value in recorded.values.items() if value is not None}}
    try:
        with np.errstate(all="ignore"):
            values, grads = own.replay(graph, leaves)
    except Exception as error:  # a trace may come from anywhere: whatever an op says of it is the reason
        raise ReplayError(f"the graph cannot be computed again: {str(error).splitlines()[:1]}") from error
    loss = np.asarray(values[graph.outputs[0]])
    if not same_bits(float(loss.reshape(())), recorded.loss):
        raise ReplayError(
            "computing again gives another loss: an input or constant changed since the structure was first seen,"
            " or the parameters changed between backward() and step()"
        )
    for node, grad in recorded.grads.items():
        if not same_bits(frozen_number(grads[node]), grad):
            raise ReplayError(
                f"computing again gives another gradient of {graph.nodes[node].name!r}:"
                " gradients of several backward() calls were added up, or changed by hand"
            )
    return values, grads, own.edge_numbers(graph, values, grads)


def _leaves(part: StructureRows, graph: Graph) -> dict[int, Number]:
    """Read the inputs and constants of the structure's first step."""
    columns = leaf_columns(graph, part.rows.layout.columns)
    if not columns:
        return {}
    path = part.rows.path
    try:
        segment = Segment(path.with_name(path.name.replace("seg", "leaves")), tuple(columns.values()))
    except TraceError as error:
        raise ReplayError(f"inputs and constants are not known: {error.message}") from error
    if segment.count != 1 or not segment.intact[0]:
        raise ReplayError("inputs and constants are damaged in the trace")
    leaves: dict[int, Number] = {}
    for node, column in columns.items():
        values, present = segment.read(column, np.array([0]))
        number = frozen_number(values[0]) if present[0] else None
        if number is None:
            raise ReplayError(f"the value of {graph.nodes[node].name!r} is damaged in the trace")
        leaves[node] = number
    return leaves


def _stand_in(part: StructureRows) -> Graph:
    """Return a graph for a run without one: the loss as an unknown function of its parameters."""
    nodes: list[Node] = []
    for name in part.names:
        column = part.rows.columns.get((name, "value"))
        shape, dtype = (column.shape, np.dtype(column.dtype).name) if column else ((), "float64")
        nodes.append(Node(len(nodes), name, "param", "param", (), shape, dtype))
    name = next(n for n in ("loss", *(f"loss_{i}" for i in range(len(nodes) + 1))) if n not in part.names)
    loss = Node(len(nodes), name, "function", "op", tuple(range(len(nodes))), symbol="f")
    try:
        return Graph((*nodes, loss), (loss.id,)).check()
    except GradvizError as error:
        raise TraceError(f"the parameters recorded make no graph: {error.message}") from error
