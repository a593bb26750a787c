"""One recorded iteration as a frame: what was recorded, and the rest computed again and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import GradvizError, TraceError
from gradviz.graphs import Frame, Graph, Node
from gradviz.tracing.layout import digest

if TYPE_CHECKING:
    from gradviz.tracing.opening import StructureRows

__all__ = [
    "Computed",
    "DisprovedError",
    "Recorded",
    "ReplayError",
    "computed",
    "digest_of",
    "partial_frame",
    "recorded_row",
    "whole_frame",
]

REPLAY_LIMIT = 1 << 29  # numbers in all values of a graph together
OF_VALUE = {"value": "values", "input": "values", "grad": "grads", "digest": "digests", "grad_digest": "grad_digests"}

Numbers = dict[str, Any]  # floats and arrays by name; None: there was none


class ReplayError(Exception):
    """The numbers that were not recorded cannot be computed again."""


class DisprovedError(ReplayError):
    """What was computed again is not what was recorded."""


@dataclass(eq=False)
class Recorded:
    """What one row says of a step: the numbers and checksums of parameters, and of inputs that change, by name."""

    part: StructureRows
    step: int
    time: float
    loss: float
    values: Numbers = field(default_factory=dict)
    grads: Numbers = field(default_factory=dict)
    digests: Numbers = field(default_factory=dict)
    grad_digests: Numbers = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)

    @property
    def graph(self) -> Graph | None:
        """The graph of the step, if it had one."""
        return self.part.graph


@dataclass(eq=False)
class Computed:
    """Every value and gradient of one step, by node, proved by what was recorded of it."""

    graph: Graph
    values: list[Any]
    grads: list[Any]

    def grads_by_name(self) -> Numbers:
        """Return the gradients of the parameters by name."""
        return {node.name: self.grads[node.id] for node in self.graph.nodes if node.kind == "param"}


def recorded_row(part: StructureRows, row: int) -> Recorded:
    """Read one row."""
    rows = np.array([row])
    step, time, loss = (part.rows.head(name, rows)[0].item() for name in ("step", "time", "loss"))
    recorded = Recorded(part, step, time, loss)
    for (name, what), column in part.rows.columns.items():
        if what not in OF_VALUE:
            continue
        numbers, there = part.rows.read(column, rows)
        number = numbers[0].item() if column.is_scalar or what.endswith("digest") else numbers[0, ...]
        getattr(recorded, OF_VALUE[what])[name] = number if there[0] else None
        if part.rows.is_damaged(column, row):
            recorded.damaged.append(name)
    return recorded


def computed(recorded: Recorded, leaves: Mapping[int, Any], known: Numbers) -> Computed:
    """Compute a step again from its leaves; ``known`` are values of parameters that were not recorded in this row.

    Raises ReplayError unless the loss and the gradients come out as recorded, to the last bit.
    """
    from gradviz.sources import own

    graph = recorded.graph
    if graph is None:
        raise ReplayError("the loss had no graph, only numbers")
    if recorded.damaged:
        raise ReplayError(f"{recorded.damaged[0]!r} is damaged in the trace")
    if sum(prod(node.shape) for node in graph.nodes) > REPLAY_LIMIT:
        raise ReplayError(f"the graph holds more than {REPLAY_LIMIT} numbers")
    given = {**known, **recorded.values}
    by_node = {node.id: given[node.name] for node in graph.nodes if node.kind != "op" and node.name in given}
    try:
        with np.errstate(all="ignore"):
            values, grads = own.replay(graph, {**leaves, **by_node})
    except Exception as error:  # a trace may come from anywhere: whatever an op says of it is the reason
        raise ReplayError(f"the graph cannot be computed again: {(str(error).splitlines() or [''])[0]}") from error
    _compare(recorded, graph, values, grads)
    return Computed(graph, values, grads)


def _compare(recorded: Recorded, graph: Graph, values: list[Any], grads: list[Any]) -> None:
    """Raise ReplayError unless loss and gradients are as recorded."""
    loss = float(np.asarray(values[graph.outputs[0]]).reshape(()))
    if not identical(loss, recorded.loss):
        raise DisprovedError(
            "computing again gives another loss: an input or constant changed that was not recorded,"
            " or the parameters changed between backward() and step()"
        )
    for node in graph.nodes:
        grad = grads[node.id]
        if node.kind == "op":
            continue
        same = identical(grad, recorded.grads[node.name]) if node.name in recorded.grads else True
        if node.name in recorded.grad_digests:
            same = (None if grad is None else digest_of(grad)) == recorded.grad_digests[node.name]
        if not same:
            raise DisprovedError(
                f"computing again gives another gradient of {node.name!r}:"
                " gradients of several backward() calls were added up, or changed by hand"
            )


def digest_of(number: Any) -> int:
    """Return the `digest` of an array in any order."""
    return digest(np.ascontiguousarray(number))


def identical(one: Any, other: Any) -> bool:
    """Tell whether two numbers have the same dtype, shape and bits; of single numbers the value counts alone."""
    if one is None or other is None:
        return one is other
    first, second = np.asarray(one), np.asarray(other)
    if first.shape == second.shape == () and first.dtype != second.dtype:
        first, second = first.astype(float), second.astype(float)
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


def whole_frame(recorded: Recorded, found: Computed) -> Frame:
    """Return the frame of a step that was computed again."""
    from gradviz.sources import own

    edges = own.edge_numbers(found.graph, found.values, found.grads)
    meta = {"time": recorded.time, "replay": "exact"}
    return Frame(found.graph, found.values, found.grads, edges=edges, step=recorded.step, meta=meta)


def partial_frame(recorded: Recorded, known: Numbers, reason: str) -> Frame:
    """Return a frame of what was recorded, and of the values that are ``known`` beyond."""
    graph = recorded.graph or _stand_in(recorded.part)
    values, grads = {**known, **recorded.values}, recorded.grads
    outputs = set(graph.outputs[:1])
    return Frame(
        graph,
        [recorded.loss if n.id in outputs else values.get(n.name) if n.kind != "op" else None for n in graph.nodes],
        [grads.get(node.name) if node.kind != "op" else None for node in graph.nodes],
        step=recorded.step,
        meta={"time": recorded.time, "replay": reason},
    )


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
