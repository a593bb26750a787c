"""Graphs that differ in nothing but numbers that the program has worked out itself: one structure.

PyTorch sees no Tensor in ``loss * factor`` but a number, which is a part of the call and so of the graph.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

from gradviz.graphs import Graph, Node

__all__ = ["CHANGES", "joined", "outline"]

CHANGES = "changes from step to step"


def outline(graph: Graph) -> Hashable:
    """Return what graphs that are alike have in common.

    >>> one, other = (Graph((Node(0, "x", "full", "op", attrs={"fill": number}),)) for number in (1.5, 2.5))
    >>> outline(one) == outline(other), outline(one) == outline(Graph((Node(0, "x", "full", "op"),)))
    (True, False)
    """
    return graph.outputs, tuple(map(_outline, graph.nodes))


def _outline(node: Node) -> Hashable:
    attrs = tuple((name, _blank(value)) for name, value in node.attrs.items())
    return node.op, node.kind, node.inputs, node.shape, node.dtype, node.scope, node.name, str(node.source), attrs


def _blank(value: Any) -> Hashable:
    """Return what is left of metadata when its numbers are taken out: those of a slice of the data, say."""
    if isinstance(value, tuple):
        return tuple(map(_blank, value))
    return "" if type(value) in {int, float} else repr(value)


def joined(a: Graph, b: Graph) -> Graph:
    """Return one graph for two that are alike; ``a`` itself if it will do.

    >>> one, other, two = (Graph((Node(0, "x", "full", "op", attrs={"fill": number}),)) for number in (1.5, 2.5, 2.0))
    >>> joined(one, other)["x"].attrs["fill"], joined(one, one) is one
    ('changes from step to step', True)
    >>> joined(joined(one, other), two) == joined(one, other)
    True
    """
    nodes = tuple(map(_joined, a.nodes, b.nodes))
    return a if all(new is old for new, old in zip(nodes, a.nodes, strict=True)) else Graph(nodes, a.outputs)


def _joined(a: Node, b: Node) -> Node:
    changed = {k: CHANGES for k, v in a.attrs.items() if v != CHANGES and b.attrs[k] != v}
    return replace(a, attrs={**a.attrs, **changed}) if changed else a
