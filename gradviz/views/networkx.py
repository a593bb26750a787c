"""Graphs and frames as networkx graphs, and back, exactly (GraphML: `gradviz.views.graphml`).

In networkx every node is its id (0 to n-1) and every edge key the argument position, so
``x * x`` keeps its two edges. Attributes are numbers, text, tuples, lists and dicts only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gradviz.collecting import uncollected
from gradviz.errors import GradvizTypeError, GraphError
from gradviz.graphs import Frame, Graph, Node, Number
from gradviz.graphs.jsonlines import edge_numbers
from gradviz.graphs.jsonnumbers import DTYPES, number_from_json, number_to_json
from gradviz.graphs.jsontext import FORMAT, brief, mapping_to_json, source_row
from gradviz.graphs.plain import FrozenMapping, frozen_array, same_bits
from gradviz.views.drawing import frame_of
from gradviz.views.graphml import from_graphml, to_graphml
from gradviz.views.parts import Parts, assembled

__all__ = ["from_graphml", "from_networkx", "to_graphml", "to_networkx"]


def to_networkx(x: Any) -> Any:
    """Return a ``networkx.MultiDiGraph`` of a Frame or a Graph (or of anything a frame is made from).

    Node attributes: name, op, kind, shape, dtype, attrs, scope, source, symbol, formulas, and of a
    frame value and grad (None where there is none; an array is nested lists, with
    ``value_dtype`` and ``value_shape`` beside it). Edge attributes of a frame: grad and local.

    >>> x, y = Node(0, "x", "input", "input"), Node(1, "y", "mul", "op", (0, 0))
    >>> g = to_networkx(Frame(Graph((x, y), (1,)), [3.0, 9.0], [6.0, 1.0]))
    >>> g.number_of_edges(), g.nodes[1]["value"], list(g.edges(keys=True))
    (2, 9.0, [(0, 1, 0), (0, 1, 1)])
    """
    import networkx as nx

    data = x if isinstance(x, Graph) else frame_of(x)
    graph = data.graph if isinstance(data, Frame) else data
    result = nx.MultiDiGraph(format=FORMAT, kind="graph", outputs=graph.outputs)
    with uncollected():
        if isinstance(data, Frame):
            result.graph.update(kind="frame", step=data.step, meta=dict(data.meta))
        result.add_nodes_from(_nodes(data, graph))
        if isinstance(data, Frame) and data.edges is not None:
            for edge, (grad, local) in zip(graph.edges, edge_numbers(data), strict=True):
                result.add_edge(*edge, **_number_attributes("grad", grad), **_number_attributes("local", local))
        else:
            result.add_edges_from((*edge, {}) for edge in graph.edges)
    return result


def _nodes(data: Frame | Graph, graph: Graph) -> Iterator[tuple[int, dict[str, Any]]]:
    sources: dict[int, dict[str, Any]] = {}  # by identity: nodes share them
    for node in graph.nodes:
        row = _node_attributes(node, sources)
        if isinstance(data, Frame):
            row |= _number_attributes("value", data.values[node.id])
            row |= _number_attributes("grad", data.grads[node.id])
        yield node.id, row


def _node_attributes(node: Node, sources: dict[int, dict[str, Any]]) -> dict[str, Any]:
    source = node.source
    if source is not None and id(source) not in sources:
        sources[id(source)] = source_row(source)
    return {
        "source": None if source is None else dict(sources[id(source)]),
        "symbol": node.symbol,
        "formulas": node.formulas,
        "shape": node.shape,
        "dtype": node.dtype,
        "scope": node.scope,
        "name": node.name,
        "op": node.op,
        "kind": node.kind,
        "attrs": dict(node.attrs) if node.attrs else {},
    }


def _number_attributes(name: str, number: Number | None) -> dict[str, Any]:
    if number is None or isinstance(number, float):
        return {name: number}
    items = number.tolist()
    faithful = number.dtype.kind != "c" and same_bits(_array(items, number.dtype, number.shape), number)
    if not faithful:  # complex numbers, signalling NaNs
        return {name: number_to_json(number)}
    return {name: items, f"{name}_dtype": str(number.dtype), f"{name}_shape": number.shape}


def _array(items: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
    return frozen_array(np.array(items, dtype).reshape(shape))


@uncollected()
def from_networkx(g: Any) -> Frame | Graph:
    """Return the Frame or Graph that `to_networkx` was given, with every number bit for bit.

    Raises GraphError, naming the node or edge, for a graph that no longer is one of those.

    >>> graph = Graph((Node(0, "x", "input", "input"), Node(1, "y", "mul", "op", (0, 0))), (1,))
    >>> from_networkx(to_networkx(graph)) == graph
    True
    """
    if not (hasattr(g, "is_multigraph") and g.is_multigraph() and g.is_directed()):
        raise GradvizTypeError(f"expected a networkx.MultiDiGraph, not {type(g).__name__}")
    parts = Parts()
    for key, attributes in g.nodes(data=True):
        _add_node(parts, _node_id(key), dict(attributes))
    for src, dst, key, attributes in g.edges(keys=True, data=True):
        known = "grad" in attributes or "local" in attributes
        parts.edges[src, dst, key] = _edge_numbers(src, dst, attributes) if known else None
    head = dict(g.graph)
    if isinstance(head.get("meta"), Mapping):
        head["meta"] = mapping_to_json(FrozenMapping(head["meta"]))
    return assembled(head, parts)


def _node_id(key: object) -> int:
    if isinstance(key, bool) or not isinstance(key, int):
        raise GraphError(f"node {brief(key)} is no id", hint="nodes are 0, 1, 2, ... as to_networkx makes them")
    return key


def _edge_numbers(src: object, dst: object, attributes: Mapping[str, Any]) -> tuple[Number | None, Number | None]:
    grad, local = attributes.get("grad"), attributes.get("local")
    if (grad is None or type(grad) is float) and (local is None or type(local) is float):
        return grad, local
    where = f"edge {brief(src)} -> {brief(dst)}"
    return _read_number(attributes, "grad", where), _read_number(attributes, "local", where)


def _add_node(parts: Parts, i: int, attributes: dict[str, Any]) -> None:
    for name, numbers in (("value", parts.values), ("grad", parts.grads)):
        numbers[i] = _read_number(attributes, name, f"node {i}")
        for key in (name, f"{name}_dtype", f"{name}_shape"):
            attributes.pop(key, None)
    if attributes.get("source") is None:
        attributes.pop("source", None)
    if isinstance(attributes.get("attrs"), Mapping):
        attributes["attrs"] = mapping_to_json(FrozenMapping(attributes["attrs"]))
        if not attributes["attrs"]:
            del attributes["attrs"]
    parts.rows[i] = attributes


def _read_number(attributes: Mapping[str, Any], name: str, where: str) -> Number | None:
    found = attributes.get(name)
    if isinstance(found, float):
        return float(found)
    if not isinstance(found, list):
        return number_from_json(found, f"{where}: {name}")
    dtype, shape = attributes.get(f"{name}_dtype", "float64"), attributes.get(f"{name}_shape")
    try:
        kind = np.dtype(dtype).newbyteorder("<")
        if kind.str in DTYPES:
            return _array(found, kind, np.shape(found) if shape is None else tuple(shape))
    except (TypeError, ValueError, OverflowError) as error:
        raise GraphError(f"{where}: {name} is no array: {str(error)[:200]}") from None
    raise GraphError(f"{where}: {name} has the dtype {brief(dtype)}, which no frame holds")
