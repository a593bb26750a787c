"""Graphs and frames as JSON text, exact to the bit, and back with everything checked.

The text is ``{"format": 1, "kind": "graph", "outputs": [...], "nodes": [...]}``, one node a
line; a frame has ``step``, ``meta``, ``values``, ``grads`` and ``edges`` (the numbers of
``graph.edges`` in that order, or null) beside them. Metadata is JSON, with tuples as lists and
NaN and the infinities as ``{"float": "nan"}``; numbers are described at `gradviz.graphs.Frame`.
Reading runs no code, opens no file and checks its limits before it allocates.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from gradviz.collecting import uncollected
from gradviz.errors import GradvizTypeError, GraphError
from gradviz.graphs import EdgeTable, Frame, Graph
from gradviz.graphs.jsonlines import NodeLines, edge_numbers, number_text, written
from gradviz.graphs.jsonnodes import QuickNodes
from gradviz.graphs.jsonnumbers import is_as_it_is, number_from_json
from gradviz.graphs.nodes import Node, Source
from gradviz.graphs.plain import DEPTH_LIMIT, INT_BITS_LIMIT, Number, Plain

FORMAT = 1
TEXT_LIMIT = 1 << 30  # characters
NODES_LIMIT = 10_000_000
FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}

encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_decode = json.JSONDecoder(parse_constant=_refuse).decode


@uncollected()
def graph_to_json(graph: Graph) -> str:
    """Return a graph as JSON text."""
    head = encode({"format": FORMAT, "kind": "graph", "outputs": graph.outputs})
    return f'{head[:-1]},"nodes":{_nodes_text(graph)}}}\n'


@uncollected()
def frame_to_json(frame: Frame) -> str:
    """Return a frame, with its graph and the numbers of its edges, as JSON text."""
    head = {
        "format": FORMAT,
        "kind": "frame",
        "step": frame.step,
        "meta": mapping_to_json(frame.meta),
        "outputs": frame.graph.outputs,
    }
    edges = (f"[{_number_text(grad)},{_number_text(local)}]" for grad, local in edge_numbers(frame))
    return (
        f'{encode(head)[:-1]},"nodes":{_nodes_text(frame.graph)},'
        f'"values":{written(map(_number_text, frame.values))},'
        f'"grads":{written(map(_number_text, frame.grads))},'
        f'"edges":{"null" if frame.edges is None else written(edges)}}}\n'
    )


def _nodes_text(graph: Graph) -> str:
    return written(map(node_lines().line, graph.nodes))


def node_lines() -> NodeLines:
    """Return what writes the nodes of one graph, or their parts."""
    return NodeLines(encode, _rest_row)


def _number_text(number: Number | None) -> str:
    return number_text(number, encode)


def _rest_row(node: Node) -> dict[str, Any]:
    row: dict[str, Any] = {}
    if node.attrs:
        row["attrs"] = mapping_to_json(node.attrs)
    if node.source is not None:
        row["source"] = source_row(node.source)
    return row


def source_row(source: Source) -> dict[str, Any]:
    """Return a source line as a JSON object; what is empty is left out."""
    fields = {key: getattr(source, key) for key in SOURCE_FIELDS}
    return {k: v for k, v in fields.items() if v not in {None, ""} or k == "file"}


def mapping_to_json(attrs: Mapping[str, Plain]) -> dict[str, Any]:
    """Return attributes or meta as a JSON object."""
    return {key: _plain_to_json(value) for key, value in attrs.items()}


def _plain_to_json(value: Plain) -> Any:
    if isinstance(value, tuple):
        return [_plain_to_json(item) for item in value]
    return {"float": str(value)} if isinstance(value, float) and not math.isfinite(value) else value


@uncollected()
def graph_from_json(text: str) -> Graph:
    """Return the graph of a JSON text."""
    data = parsed(text, "graph")
    checked(data, GRAPH_FIELDS, tuple(GRAPH_FIELDS), "graph")
    return _graph(data)


@uncollected()
def frame_from_json(text: str) -> Frame:
    """Return the frame of a JSON text."""
    data = parsed(text, "frame")
    checked(data, FRAME_FIELDS, tuple(FRAME_FIELDS), "frame")
    graph = _graph(data)
    values, grads = (_numbers(data[key], key, len(graph)) for key in ("values", "grads"))
    edges = None if data["edges"] is None else _edge_table(graph, data["edges"])
    return Frame(graph, values, grads, edges, data["step"], mapping_from_json(data["meta"], "meta"))


def parsed(text: str, kind: str) -> dict[str, Any]:
    """Return the JSON object in ``text`` if it is a gradviz object of this kind and format."""
    data = parsed_json(text, f"a gradviz {kind}")
    if not isinstance(data, dict):
        article = "an" if type(data).__name__ == "int" else "a"
        raise GraphError(f"this is not a gradviz {kind}: the text holds {article} {type(data).__name__}, not an object")
    if data.get("kind") != kind:
        raise GraphError(f"this is not a gradviz {kind}: its kind is {brief(data.get('kind'))}")
    if type(data.get("format")) is not int or data["format"] != FORMAT:
        raise GraphError(
            f"the format of this {kind} is {brief(data.get('format'))}; this version reads format {FORMAT}"
        )
    return data


def parsed_json(text: str, what: str) -> Any:
    """Return what a JSON text holds; ``what`` names it in errors."""
    if not isinstance(text, str):
        raise GradvizTypeError(f"JSON text must be str, not {type(text).__name__}")
    if len(text) > TEXT_LIMIT:
        raise GraphError(f"the text has {len(text)} characters; the limit is {TEXT_LIMIT}")
    try:
        return _decode(text)
    except (ValueError, RecursionError) as error:
        raise GraphError(f"this is not the JSON of {what}: {str(error)[:200]}") from None


def _graph(data: Mapping[str, Any]) -> Graph:
    if len(data["nodes"]) > NODES_LIMIT:
        raise GraphError(f"the graph has {len(data['nodes'])} nodes; the limit is {NODES_LIMIT}")
    return Graph(nodes_from_rows(data["nodes"]), tuple(data["outputs"])).check()


def nodes_from_rows(rows: Iterable[object]) -> tuple[Node, ...]:
    """Return the nodes that JSON objects describe, each named by its number in errors."""
    quick = QuickNodes(NODE_FIELDS, lambda row: _source(row, "source"))
    return tuple([quick.node(row) or node_from_row(row, f"node {i}") for i, row in enumerate(rows)])


def node_from_row(row: object, where: str) -> Node:
    """Return the node a JSON object describes; ``where`` names it in errors."""
    fields = dict(checked(row, NODE_FIELDS, ("id", "name", "op", "kind"), where))
    fields.setdefault("dtype", "")
    if "attrs" in fields:
        fields["attrs"] = mapping_from_json(fields["attrs"], f"{where}: attrs")
    if "source" in fields:
        fields["source"] = _source(fields["source"], f"{where}: source")
    return Node(**fields)


def _source(row: object, where: str) -> Source:
    return Source(**checked(row, SOURCE_FIELDS, ("file", "line"), where))


def mapping_from_json(row: Mapping[str, Any], where: str) -> dict[str, Plain]:
    """Return the attributes or meta of a JSON object."""
    return {key: _plain_from_json(value, where, DEPTH_LIMIT) for key, value in row.items()}


def _plain_from_json(value: Any, where: str, depth: int) -> Plain:
    if isinstance(value, list) and depth:
        return tuple(_plain_from_json(item, where, depth - 1) for item in value)
    if isinstance(value, dict) and len(value) == 1 and value.get("float") in ("nan", "inf", "-inf"):
        return FLOATS[value["float"]]
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int) and value.bit_length() <= INT_BITS_LIMIT:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise GraphError(
        f"{where} holds {brief(value)}", hint='values are null, true, numbers, text, lists, {"float": "nan"}'
    )


def _numbers(rows: list[Any], where: str, expected: int) -> list[Any]:
    if len(rows) != expected:
        raise GraphError(f"{where}: there are {len(rows)} of them for {expected} nodes")
    return [row if is_as_it_is(row) else number_from_json(row, f"{where} {i}") for i, row in enumerate(rows)]


def _edge_table(graph: Graph, rows: list[Any]) -> EdgeTable:
    if len(rows) != len(graph.edges):
        raise GraphError(f"edges: there are {len(rows)} of them for {len(graph.edges)} edges")
    grads, locals_ = {}, {}
    for edge, row in zip(graph.edges, rows, strict=True):
        if not isinstance(row, list) or len(row) != 2:
            raise GraphError(f"edge {edge}: {brief(row)} is not a pair of numbers")
        grad, local = row
        grads[edge] = grad if is_as_it_is(grad) else number_from_json(grad, f"edge {edge}")
        locals_[edge] = local if is_as_it_is(local) else number_from_json(local, f"edge {edge}")
    return EdgeTable(grads, locals_)


def checked(row: object, fields: Mapping[str, Any], required: Iterable[str], where: str) -> dict[str, Any]:
    """Return ``row`` if it is an object with only these fields, each as its test demands."""
    if not isinstance(row, dict):
        raise GraphError(f"{where}: {brief(row)} is not an object")
    for key in required:
        if key not in row:
            raise GraphError(f"{where}: {key!r} is missing")
    for key, value in row.items():
        if key not in fields:
            raise GraphError(f"{where}: {brief(key)} is no field of it", hint=f"fields: {', '.join(fields)}")
        if not fields[key](value):
            raise GraphError(f"{where}: {key} cannot be {brief(value)}")
    return row


def brief(value: object) -> str:
    """Return a value for an error message; big ones by their type."""
    return repr(value)[:80] if isinstance(value, (str, float, bool, type(None))) else _brief_other(value)


def _brief_other(value: object) -> str:
    small = isinstance(value, int) and value.bit_length() < 100
    return repr(value) if small else f"this {type(value).__name__}"


def _text(value: object) -> bool:
    return isinstance(value, str)


def _size(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _whole(value: object) -> bool:
    return value is None or (type(value) is int and abs(value) < 1 << 62)


def _sizes(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_size, value))


def _texts(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_text, value))


def _list(value: object) -> bool:
    return isinstance(value, list)


def _list_or_null(value: object) -> bool:
    return value is None or isinstance(value, list)


def _object(value: object) -> bool:
    return isinstance(value, dict)


SOURCE_FIELDS = {
    "file": _text,
    "line": _size,
    "column": _whole,
    "end_column": _whole,
    "function": _text,
    "text": _text,
    "code": _text,
}
NODE_FIELDS = {
    "id": _size,
    "name": _text,
    "op": _text,
    "kind": _text,
    "inputs": _sizes,
    "shape": _sizes,
    "dtype": _text,
    "attrs": _object,
    "scope": _texts,
    "source": _object,
    "symbol": _text,
    "formulas": _texts,
}
GRAPH_FIELDS = {"format": _size, "kind": _text, "outputs": _sizes, "nodes": _list}
FRAME_FIELDS = {
    **GRAPH_FIELDS,
    "step": _whole,
    "meta": _object,
    "values": _list,
    "grads": _list,
    "edges": _list_or_null,
}
