"""A graph in pieces, as another format holds it, put together again with everything checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gradviz.errors import GraphError
from gradviz.graphs import Edge, EdgeTable, Frame, Graph, Number
from gradviz.graphs.jsontext import (
    FORMAT,
    FRAME_FIELDS,
    NODES_LIMIT,
    brief,
    checked,
    mapping_from_json,
    nodes_from_rows,
)

__all__ = ["Parts", "assembled"]

HEAD_FIELDS = {key: FRAME_FIELDS[key] for key in ("format", "kind", "outputs", "step", "meta")}


@dataclass(slots=True)
class Parts:
    """Nodes as JSON rows by id, edges with their numbers (gradient, local derivative) if known."""

    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    edges: dict[Edge, tuple[Number | None, Number | None] | None] = field(default_factory=dict)
    values: dict[int, Number | None] = field(default_factory=dict)
    grads: dict[int, Number | None] = field(default_factory=dict)


def assembled(head: Mapping[str, Any], parts: Parts) -> Frame | Graph:
    """Build the graph, and the frame if it is one, checking that all pieces fit."""
    is_frame = head.get("kind") == "frame"
    required = ("format", "kind", "outputs", *(("step", "meta") if is_frame else ()))
    checked({key: head[key] for key in HEAD_FIELDS if key in head}, HEAD_FIELDS, required, "graph")
    if head["format"] != FORMAT or head["kind"] not in {"graph", "frame"}:
        raise GraphError(f"this is no gradviz graph of format {FORMAT}", hint="write it with gradviz")
    inputs = _inputs(parts)
    nodes = nodes_from_rows({**parts.rows[i], "id": i, "inputs": found} for i, found in enumerate(inputs))
    graph = Graph(nodes, tuple(head["outputs"])).check()
    if not is_frame:
        return graph
    values, grads = ([numbers.get(i) for i in range(len(nodes))] for numbers in (parts.values, parts.grads))
    meta = mapping_from_json(head["meta"], "meta")
    return Frame(graph, values, grads, _edge_table(parts), head["step"], meta)


def _edge_table(parts: Parts) -> EdgeTable | None:
    known = {edge: numbers for edge, numbers in parts.edges.items() if numbers is not None}
    if not known:
        return None
    grads, locals_ = ({edge: numbers[i] for edge, numbers in known.items()} for i in (0, 1))
    return EdgeTable(grads, locals_)


def _inputs(parts: Parts) -> list[list[int]]:
    """Return the inputs of every node in the order of the arguments."""
    count = len(parts.rows)
    if count > NODES_LIMIT:
        raise GraphError(f"the graph has {count} nodes; the limit is {NODES_LIMIT}")
    missing = next((i for i in range(count) if i not in parts.rows), None)
    if missing is not None:
        raise GraphError(f"node {missing} is missing", hint=f"{count} nodes have the ids 0 to {count - 1}")
    by_arg: list[dict[int, int]] = [{} for _ in range(count)]
    for src, dst, arg in parts.edges:
        if src not in parts.rows or dst not in parts.rows or type(arg) is not int or arg in by_arg[dst]:
            raise GraphError(f"edge {brief(src)} -> {brief(dst)} does not fit", hint="keys are argument positions")
        by_arg[dst][arg] = src
    for i, found in enumerate(by_arg):
        if set(found) != set(range(len(found))):
            raise GraphError(f"node {i}: its arguments are {sorted(found)}", hint="they are 0, 1, 2, ...")
    return [[found[arg] for arg in range(len(found))] for found in by_arg]
