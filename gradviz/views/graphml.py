"""Frames as GraphML, which Gephi, yEd and networkx read, and back, exactly."""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol, cast
from xml.etree import ElementTree

from gradviz.collecting import uncollected
from gradviz.errors import GradvizTypeError, GraphError
from gradviz.escape import for_json_script, for_script, for_xml
from gradviz.graphs import Edge, Frame, Node, Number
from gradviz.graphs.jsonlines import edge_numbers, number_text
from gradviz.graphs.jsonnumbers import number_from_json
from gradviz.graphs.jsontext import FORMAT, TEXT_LIMIT, brief, encode, mapping_to_json, node_lines, parsed_json
from gradviz.views.parts import Parts, assembled

__all__ = ["from_graphml", "to_graphml"]

NODE_KEYS = ("name", "op", "kind", "shape", "dtype", "scope", "source", "value", "grad")
EDGE_KEYS = ("arg", "formula", "grad", "local")
NEEDED = ("exact", "arg")  # what is read again; the rest is for other programs
CHUNK = 1 << 16  # characters that are parsed at once
POSITION = re.compile(r"n(0|[1-9]\d{0,9})", re.ASCII)
ARGUMENT = re.compile(r"\d{1,9}", re.ASCII)
TYPES = {"value": "double", "grad": "double", "local": "double", "arg": "int"}


class Drawn(Protocol):
    """Anything that shows a frame: a drawing, a step."""

    @property
    def frame(self) -> Frame:
        """The frame that is shown."""


@uncollected()
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
    writer = Lines(frame)
    lines += map(writer.node, frame.graph.nodes, frame.values, frame.grads)
    numbers = edge_numbers(frame) if frame.edges is not None else itertools.repeat(None)
    lines += map(writer.edge, frame.graph.edges, numbers)
    return "\n".join([*lines, "</graph>", "</graphml>", ""])


def _keys() -> Iterator[tuple[str, str]]:
    yield "graph", "exact"
    yield from (("node", name) for name in (*NODE_KEYS, "exact"))
    yield from (("edge", name) for name in (*EDGE_KEYS, "exact"))


def _key_line(owner: str, name: str) -> str:
    kind = TYPES.get(name, "string")
    return f'<key id="{owner[0]}_{name}" for="{owner}" attr.name="{name}" attr.type="{kind}"/>'


class Lines:
    """Writes the nodes and edges of one frame; what many of them share is put into words once."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.exact = node_lines()
        self.shared: dict[tuple[Any, ...], str] = {}

    def node(self, node: Node, value: Number | None, grad: Number | None) -> str:
        """Return the line of a node."""
        key = (node.op, node.kind, node.dtype, node.shape, node.scope, node.source and id(node.source))
        shared = self.shared.get(key)
        if shared is None:
            source = "" if node.source is None else node.source.text or node.source.code
            words = {"op": node.op, "kind": node.kind, "dtype": node.dtype, "shape": ",".join(map(str, node.shape))}
            shared = _datas("n", {**words, "scope": ".".join(node.scope), "source": source})
            self.shared[key] = shared
        own, numbers = _datas("n", {"name": node.name}), _datas("n", _scalars(value=value, grad=grad))
        parts = f'"value":{number_text(value, encode)},"grad":{number_text(grad, encode)}'
        exact = for_script(f"{{{self.exact.words(node)}{self.exact.rest_of(node)},{parts}}}")
        return f'<node id="n{node.id}">{own}{shared}{numbers}<data key="n_exact">{exact}</data></node>'

    def edge(self, edge: Edge, numbers: tuple[Number | None, Number | None] | None) -> str:
        """Return the line of an edge."""
        src, dst, arg = edge
        shown = _datas("e", {"arg": str(arg), "formula": self.frame.graph.formula(dst, arg)})
        exact = "null"
        if numbers is not None:
            grad, local = numbers
            shown += _datas("e", _scalars(grad=grad, local=local))
            exact = for_script(f"[{number_text(grad, encode)},{number_text(local, encode)}]")
        return f'<edge source="n{src}" target="n{dst}">{shown}<data key="e_exact">{exact}</data></edge>'


def _scalars(**numbers: Number | None) -> dict[str, str]:
    words = {"inf": "INF", "-inf": "-INF", "nan": "NaN"}  # as XML Schema writes a double
    floats = {name: str(number) for name, number in numbers.items() if isinstance(number, float)}
    return {name: words.get(text, text) for name, text in floats.items()}


def _datas(owner: str, shown: Mapping[str, str]) -> str:
    return "".join([f'<data key="{owner}_{key}">{for_xml(text)}</data>' for key, text in shown.items() if text])


@uncollected()
def from_graphml(text: str) -> Frame:
    """Return the frame that `to_graphml` wrote, with every number bit for bit.

    Raises GraphError for text that is no such GraphML; document types and entities are refused unread.

    >>> from_graphml("<!DOCTYPE x []><x/>")
    Traceback (most recent call last):
        ...
    gradviz.errors.GraphError: this GraphML declares a document type or entities, which are refused
    """
    document = _read(text)
    if len(document.graphs) != 1:
        raise GraphError(f"this GraphML holds {len(document.graphs)} graphs, not one")
    read, names = document.graphs[0], document.names
    parts = Parts()
    while read.nodes:
        element = read.nodes.popleft()
        row = _exact(element, names, "a node")
        i = _position(element.known.get("id"))
        if i in parts.rows:
            raise GraphError(f"node {i} occurs twice")
        _add_graphml_node(parts, i, row)
    while read.edges:
        _add_graphml_edge(parts, read.edges.popleft(), names)
    head = _exact(read.itself, names, "the graph")
    built = assembled(head if isinstance(head, dict) else {}, parts)
    return built if isinstance(built, Frame) else Frame(built, [None] * len(built), [None] * len(built))


class Element(NamedTuple):
    """A node, an edge or a graph, as far as it is read: what its tag says, and its data by their keys."""

    known: Mapping[str, str]
    texts: list[tuple[str | None, str]]


class Contents:
    """A graph of the document; what has been looked at is taken out of it."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self.itself = Element(known, [])
        self.nodes: deque[Element] = deque()
        self.edges: deque[Element] = deque()


class Document:
    """What is of use in a GraphML text, gathered while it is parsed, so that its whole tree is never in memory."""

    def __init__(self) -> None:
        self.names: dict[str | None, str | None] = {}
        self.graphs: list[Contents] = []

    def close_part(self, element: ElementTree.Element) -> None:
        """Take in a child of the root."""
        if _tag(element) == "key":
            self.names[element.get("id")] = element.get("attr.name")

    def close_member(self, element: ElementTree.Element) -> None:
        """Take in a child of a graph."""
        kind, graph = _tag(element), self.graphs[-1]
        if kind == "data":
            graph.itself.texts.append((element.get("key"), element.text or ""))
        elif kind in {"node", "edge"}:
            members = graph.nodes if kind == "node" else graph.edges
            members.append(Element(dict(element.items()), [*self._texts(element)]))

    def _texts(self, element: ElementTree.Element) -> Iterator[tuple[str | None, str]]:
        for data in element:
            key = data.get("key")
            if self.names.get(key, "exact") in NEEDED and _tag(data) == "data":
                yield key, data.text or ""


def _tag(element: ElementTree.Element) -> str:
    """Return the tag without its namespace; that of a comment is nothing."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _read(text: str) -> Document:
    if not isinstance(text, str):
        raise GradvizTypeError(f"GraphML must be str, not {type(text).__name__}")
    if len(text) > TEXT_LIMIT:
        raise GraphError(f"the text has {len(text)} characters; the limit is {TEXT_LIMIT}")
    if re.search("<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise GraphError("this GraphML declares a document type or entities, which are refused")
    try:
        return _gathered(text)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise GraphError(f"this is not GraphML: {str(error)[:200]}") from None


def _events(text: str) -> Iterator[tuple[str, ElementTree.Element]]:
    parser: ElementTree.XMLPullParser[ElementTree.Element] = ElementTree.XMLPullParser(("start", "end"))
    for start in range(0, len(text), CHUNK):
        parser.feed(text[start : start + CHUNK])
        yield from cast("Iterator[tuple[str, ElementTree.Element]]", parser.read_events())
    parser.close()
    yield from cast("Iterator[tuple[str, ElementTree.Element]]", parser.read_events())


def _gathered(text: str) -> Document:
    document, depth = Document(), 0
    part: ElementTree.Element | None = None  # the child of the root that is open, if it is a graph
    for event, element in _events(text):
        if event == "start":
            depth += 1
            if depth == 2:
                part = element if _tag(element) == "graph" else None
                document.graphs += [Contents(dict(element.items()))] if part is not None else []
            continue
        depth -= 1
        if depth == 1:
            document.close_part(element)
        elif depth == 2 and part is not None:
            document.close_member(element)
            part.clear()  # of the children that have been taken in
    return document


def _exact(element: Element, names: Mapping[str | None, str | None], where: str) -> Any:
    for key, text in element.texts:
        if names.get(key) == "exact":
            return parsed_json(text, where)
    raise GraphError(f"{where} {brief(element.known.get('id'))} has no 'exact' data", hint="write it with gradviz")


def _position(name: str | None) -> int:
    hit = POSITION.fullmatch(name or "")
    if hit is None:
        raise GraphError(f"node {brief(name)} is no id", hint="nodes are n0, n1, n2, ...")
    return int(hit[1])


def _add_graphml_node(parts: Parts, i: int, row: Any) -> None:
    if not isinstance(row, dict):
        raise GraphError(f"node {i}: {brief(row)} is not an object")
    parts.values[i] = number_from_json(row.pop("value", None), f"node {i}: value")
    parts.grads[i] = number_from_json(row.pop("grad", None), f"node {i}: grad")
    parts.rows[i] = row


def _add_graphml_edge(parts: Parts, element: Element, names: Mapping[str | None, str | None]) -> None:
    src, dst = _position(element.known.get("source")), _position(element.known.get("target"))
    where = f"edge n{src} -> n{dst}"
    texts = {names.get(key): text for key, text in element.texts}
    if not ARGUMENT.fullmatch(texts.get("arg", "")):
        raise GraphError(f"{where}: its argument is {brief(texts.get('arg'))}")
    numbers = _exact(element, names, where)
    if numbers is not None and (not isinstance(numbers, list) or len(numbers) != 2):
        raise GraphError(f"{where}: {brief(numbers)} is not a pair of numbers")
    edge = (src, dst, int(texts["arg"]))
    if edge in parts.edges:
        raise GraphError(f"{where} occurs twice")
    pair = None if numbers is None else [number_from_json(number, where) for number in numbers]
    parts.edges[edge] = None if pair is None else (pair[0], pair[1])
