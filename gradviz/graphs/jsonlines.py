"""Nodes and numbers of a graph as lines of JSON, quickly: what many nodes share is put into words once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any

from gradviz.graphs.jsonnumbers import number_to_json
from gradviz.graphs.plain import Number, frozen_number

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradviz.graphs import Frame, Node

    Encode = Callable[[Any], str]

__all__ = ["NodeLines", "edge_numbers", "number_text", "written"]

FIELDS = ("shape", "dtype", "scope", "symbol", "formulas")  # after the inputs, in this order


def written(lines: Iterable[str]) -> str:
    """Return lines as a JSON list, one item a line."""
    return "[\n" + ",\n".join(lines) + "\n]"


def number_text(number: Number | None, encode: Encode) -> str:
    """Return a number of a frame as JSON."""
    if number is None:
        return "null"
    if type(number) is float and math.isfinite(number):
        return float.__repr__(number)
    return encode(number_to_json(number))


def edge_numbers(frame: Frame) -> Iterator[tuple[Number | None, Number | None]]:
    """Yield the gradient and the local derivative of every edge, in the order of ``graph.edges``.

    >>> from gradviz.graphs import EdgeTable, Frame, Graph, Node
    >>> graph = Graph((Node(0, "x", "input", "input"), Node(1, "y", "neg", "op", (0,))))
    >>> list(edge_numbers(Frame(graph, [1.0, -1.0], [None, 1.0], EdgeTable({}, {(0, 1, 0): -1.0}))))
    [(None, -1.0)]
    """
    if frame.edges is not None:
        grad, local = frame.edges.grad, frame.edges.local
        for src, dst, arg in frame.graph.edges:
            yield frozen_number(grad(src, dst, arg)), frozen_number(local(src, dst, arg))


class NodeLines:
    """Writes nodes; ``rest`` returns the row of what is rarely there or shared by many: attributes, the source line."""

    def __init__(self, encode: Encode, rest: Callable[[Node], dict[str, Any]]) -> None:
        self.encode = encode
        self.rest = rest
        self.fields: dict[tuple[Any, ...], str] = {}
        self.ends: dict[tuple[int, int], str] = {}

    def line(self, node: Node) -> str:
        """Return a node as a JSON object; what is empty is left out."""
        inputs = f',"inputs":[{",".join(map(str, node.inputs))}]' if node.inputs else ""
        return f'{{"id":{node.id},{self.words(node)}{inputs}{self.rest_of(node)}}}'

    def words(self, node: Node) -> str:
        """Return what is each node's own: its name, its op and its kind."""
        name, op, kind = map(encode_basestring_ascii, (node.name, node.op, node.kind))
        return f'"name":{name},"op":{op},"kind":{kind}'

    def rest_of(self, node: Node) -> str:
        """Return what comes after the inputs."""
        known = (node.shape, node.dtype, node.scope, node.symbol, node.formulas)
        fields = self.fields.get(known)
        if fields is None:
            found = {name: value for name, value in zip(FIELDS, known, strict=True) if value}
            fields = self.fields[known] = self.tail(found)
        key = id(node.attrs), id(node.source)  # both live as long as the graph
        end = self.ends.get(key)
        if end is None:
            end = self.ends[key] = self.tail(self.rest(node))
        return fields + end

    def tail(self, row: dict[str, Any]) -> str:
        """Return the inside of an object, to be put after others."""
        return f",{self.encode(row)[1:-1]}" if row else ""
