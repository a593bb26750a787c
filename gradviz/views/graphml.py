"""Frames as GraphML, which Gephi, yEd and networkx read, and back, exactly."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol
from xml.etree import ElementTree

from gradviz.collecting import uncollected
from gradviz.errors import GradvizTypeError, GraphError
from gradviz.escape import for_json_script, for_xml
from gradviz.graphs import Edge, Frame, Node, Number
from gradviz.graphs.jsonlines import edge_numbers
from gradviz.graphs.jsonnumbers import number_from_json, number_to_json
from gradviz.graphs.jsontext import FORMAT, TEXT_LIMIT, brief, mapping_to_json, node_row, parsed_json
from gradviz.views.parts import LEFT_OUT, Parts, assembled

__all__ = ["from_graphml", "to_graphml"]

NODE_KEYS = ("name", "op", "kind", "shape", "dtype", "scope", "source", "value", "grad")
EDGE_KEYS = ("arg", "formula", "grad", "local")
TYPES = {"value": "double", "grad": "double", "local": "double", "arg": "int"}


class Drawn(Protocol):
    """Anything that shows a frame: a drawing, a step."""

    @property
    def frame(self) -> Frame:
        """The frame that is shown."""


def to_graphml(drawing: Drawn) -> str:
    """Return the frame of a drawing as GraphML, which Gephi, yEd and networkx read.

    What other programs show (name, op, value, ...) is plain text with unshowable characters made
    visible; one more key, ``exact``, holds the same as JSON for `from_graphml`.

    >>> from gradviz.graphs import Graph
    >>> class Shown:
    ...     frame = Frame(Graph((Node(0, "x", "input", "input"),), (0,)), [3.0], [None])
    >>> from_graphml(to_graphml(Shown())) == Shown.frame
    True
    """
    frame = drawing.frame
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">',
    ]
    lines += [_key_line(*key) for key in _keys()]
    head = {"format": FORMAT, "kind": "frame", "step": frame.step, "meta": mapping_to_json(frame.meta)}
    exact = for_json_script({**head, "outputs": frame.graph.outputs})
    lines += ['<graph id="G" edgedefault="directed">', f'<data key="g_exact">{exact}</data>']
    lines += map(_node_line, frame.graph.nodes, frame.values, frame.grads)
    with uncollected():
        numbers = edge_numbers(frame) if frame.edges is not None else itertools.repeat(None)
        lines += map(_edge_line, itertools.repeat(frame), frame.graph.edges, numbers)
    return "\n".join([*lines, "</graph>", "</graphml>", ""])


def _keys() -> Iterator[tuple[str, str]]:
    yield "graph", "exact"
    yield from (("node", name) for name in (*NODE_KEYS, "exact"))
    yield from (("edge", name) for name in (*EDGE_KEYS, "exact"))


def _key_line(owner: str, name: str) -> str:
    kind = TYPES.get(name, "string")
    return f'<key id="{owner[0]}_{name}" for="{owner}" attr.name="{name}" attr.type="{kind}"/>'


def _node_line(node: Node, value: Number | None, grad: Number | None) -> str:
    row = {key: item for key, item in node_row(node).items() if key not in LEFT_OUT}
    shown = {
        **{key: row[key] for key in ("name", "op", "kind", "dtype") if key in row},
        "shape": ",".join(map(str, node.shape)),
        "scope": ".".join(node.scope),
        "source": "" if node.source is None else node.source.text or node.source.code,
        **_scalars(value=value, grad=grad),
    }
    exact = {**row, "value": number_to_json(value), "grad": number_to_json(grad)}
    return f'<node id="n{node.id}">{_datas("n", shown, exact)}</node>'


def _edge_line(frame: Frame, edge: Edge, numbers: tuple[Number | None, Number | None] | None) -> str:
    src, dst, arg = edge
    exact: Any = None
    shown: dict[str, str] = {"arg": str(arg), "formula": frame.graph.formula(dst, arg)}
    if numbers is not None:
        grad, local = numbers
        shown |= _scalars(grad=grad, local=local)
        exact = [number_to_json(grad), number_to_json(local)]
    return f'<edge source="n{src}" target="n{dst}">{_datas("e", shown, exact)}</edge>'


def _scalars(**numbers: Number | None) -> dict[str, str]:
    words = {"inf": "INF", "-inf": "-INF", "nan": "NaN"}  # as XML Schema writes a double
    floats = {name: str(number) for name, number in numbers.items() if isinstance(number, float)}
    return {name: words.get(text, text) for name, text in floats.items()}


def _datas(owner: str, shown: Mapping[str, str], exact: Any) -> str:
    readable = (f'<data key="{owner}_{key}">{for_xml(text)}</data>' for key, text in shown.items() if text)
    return "".join(readable) + f'<data key="{owner}_exact">{for_json_script(exact)}</data>'


def from_graphml(text: str) -> Frame:
    """Return the frame that `to_graphml` wrote, with every number bit for bit.

    Raises GraphError for text that is no such GraphML; document types and entities are refused unread.

    >>> from_graphml("<!DOCTYPE x []><x/>")
    Traceback (most recent call last):
        ...
    gradviz.errors.GraphError: this GraphML declares a document type or entities, which are refused
    """
    root = _parsed_xml(text)
    names = {key.get("id"): key.get("attr.name") for key in _children(root, "key")}
    graphs = list(_children(root, "graph"))
    if len(graphs) != 1:
        raise GraphError(f"this GraphML holds {len(graphs)} graphs, not one")
    parts = Parts()
    for element in _children(graphs[0], "node"):
        row = _exact(element, names, "a node")
        i = _position(element.get("id"))
        if i in parts.rows:
            raise GraphError(f"node {i} occurs twice")
        _add_graphml_node(parts, i, row)
    for element in _children(graphs[0], "edge"):
        _add_graphml_edge(parts, element, names)
    head = _exact(graphs[0], names, "the graph")
    built = assembled(head if isinstance(head, dict) else {}, parts)
    return built if isinstance(built, Frame) else Frame(built, [None] * len(built), [None] * len(built))


def _parsed_xml(text: str) -> ElementTree.Element:
    if not isinstance(text, str):
        raise GradvizTypeError(f"GraphML must be str, not {type(text).__name__}")
    if len(text) > TEXT_LIMIT:
        raise GraphError(f"the text has {len(text)} characters; the limit is {TEXT_LIMIT}")
    if re.search("<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise GraphError("this GraphML declares a document type or entities, which are refused")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise GraphError(f"this is not GraphML: {str(error)[:200]}") from None


def _children(element: ElementTree.Element, tag: str) -> Iterable[ElementTree.Element]:
    return (child for child in element if isinstance(child.tag, str) and child.tag.rpartition("}")[2] == tag)


def _exact(element: ElementTree.Element, names: Mapping[str | None, str | None], where: str) -> Any:
    for data in _children(element, "data"):
        if names.get(data.get("key")) == "exact":
            return parsed_json(data.text or "", where)
    raise GraphError(f"{where} {brief(element.get('id'))} has no 'exact' data", hint="write it with gradviz")


def _position(name: str | None) -> int:
    hit = re.fullmatch(r"n(0|[1-9]\d{0,9})", name or "", re.ASCII)
    if hit is None:
        raise GraphError(f"node {brief(name)} is no id", hint="nodes are n0, n1, n2, ...")
    return int(hit[1])


def _add_graphml_node(parts: Parts, i: int, row: Any) -> None:
    if not isinstance(row, dict):
        raise GraphError(f"node {i}: {brief(row)} is not an object")
    parts.values[i] = number_from_json(row.pop("value", None), f"node {i}: value")
    parts.grads[i] = number_from_json(row.pop("grad", None), f"node {i}: grad")
    parts.rows[i] = row


def _add_graphml_edge(parts: Parts, element: ElementTree.Element, names: Mapping[str | None, str | None]) -> None:
    src, dst = _position(element.get("source")), _position(element.get("target"))
    where = f"edge n{src} -> n{dst}"
    texts = {names.get(data.get("key")): data.text or "" for data in _children(element, "data")}
    if not re.fullmatch(r"\d{1,9}", texts.get("arg", ""), re.ASCII):
        raise GraphError(f"{where}: its argument is {brief(texts.get('arg'))}")
    numbers = _exact(element, names, where)
    if numbers is not None and (not isinstance(numbers, list) or len(numbers) != 2):
        raise GraphError(f"{where}: {brief(numbers)} is not a pair of numbers")
    edge = (src, dst, int(texts["arg"]))
    if edge in parts.edges:
        raise GraphError(f"{where} occurs twice")
    pair = None if numbers is None else [number_from_json(number, where) for number in numbers]
    parts.edges[edge] = None if pair is None else (pair[0], pair[1])
