"""Ops with several results: the node of such an op has no number itself, each result is a ``getitem`` node of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from gradviz.graphs import Frame, Graph, Node

__all__ = ["is_projection", "operands", "projections", "unpacked"]


def is_projection(graph: Graph, node: Node) -> bool:
    """Tell whether a node is one of several results of its operand, rather than an element of an array.

    >>> x, y = Node(0, "x", "input", "input", shape=(4,)), Node(1, "y", "split", "op", (0,))
    >>> first = Node(2, "a", "getitem", "op", (1,), shape=(2,), attrs={"index": 0})
    >>> is_projection(Graph((x, y, first)), first)
    True
    """
    if node.op != "getitem" or len(node.inputs) != 1 or type(node.attrs.get("index")) is not int:
        return False
    whole = graph.nodes[node.inputs[0]]
    return whole.kind == "op" and not (whole.shape and whole.dtype)  # no single number has elements


def projections(graph: Graph) -> Mapping[int, tuple[int, ...]]:
    """Return the results of every op that has several, by its id."""
    found: dict[int, tuple[int, ...]] = {}
    for node in graph.nodes:
        if is_projection(graph, node):
            found[node.inputs[0]] = (*found.get(node.inputs[0], ()), node.id)
    return found


def operands(graph: Graph, node: Node) -> Iterable[int]:
    """Return what a node was computed from: a result of an op with several, the operands of the op."""
    return graph.nodes[node.inputs[0]].inputs if is_projection(graph, node) else node.inputs


def unpacked(frame: Frame) -> Frame:
    """Return a frame in which every result of an op with several stands for an op of its own; ids stay what they are.

    >>> x, y = Node(0, "x", "input", "input", shape=(4,)), Node(1, "y", "split", "op", (0,))
    >>> first = Node(2, "a", "getitem", "op", (1,), shape=(2,), attrs={"index": 0})
    >>> found = unpacked(Frame(Graph((x, y, first), (2,)), [None] * 3, [None] * 3))
    >>> found.graph["a"].op, found.graph["a"].inputs
    ('split', (0,))
    """
    graph = frame.graph
    wholes = {i: graph.nodes[whole] for whole, results in projections(graph).items() for i in results}
    if not wholes:
        return frame
    nodes = tuple([_alone(node, wholes[node.id]) if node.id in wholes else node for node in graph.nodes])
    made = Graph(nodes, graph.outputs)
    of_results = getattr(frame.edges, "of_results", None)
    edges = frame.edges if of_results is None else of_results(made)
    return Frame(made, frame.values, frame.grads, edges, frame.step, frame.meta)


def _alone(node: Node, whole: Node) -> Node:
    attrs = {**whole.attrs, **node.attrs}
    return replace(node, op=whole.op, inputs=whole.inputs, attrs=attrs, symbol=whole.symbol, formulas=whole.formulas)
