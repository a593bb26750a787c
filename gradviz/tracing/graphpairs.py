"""Two graphs that should be one: the first node that differs, and in what."""

from __future__ import annotations

from itertools import zip_longest

from gradviz.escape import clean
from gradviz.graphs import Graph, Node

__all__ = ["first_node", "only_shapes_differ", "told_of"]


def first_node(a: Graph, b: Graph) -> Node | None:
    """Return the first node of ``b`` that ``a`` has not at its place; of a graph that ends early, the other's next.

    >>> x, y = Node(0, "x", "input", "input"), Node(1, "y", "sin", "op", (0,))
    >>> first_node(Graph((x,)), Graph((x, y))).name
    'y'
    """
    for one, other in zip_longest(a.nodes, b.nodes):
        if one is None or other is None:
            return other or one
        if _structure(one) != _structure(other):
            return other
    return None


def only_shapes_differ(a: Graph, b: Graph) -> bool:
    """Tell whether both are the same program on arrays of other shapes: a smaller batch, a longer sentence.

    >>> x, y = Node(0, "x", "input", "input", shape=(3,)), Node(0, "x", "input", "input", shape=(2,))
    >>> only_shapes_differ(Graph((x,)), Graph((y,)))
    True
    """
    if len(a) != len(b) or a.outputs != b.outputs:
        return False
    return all(_program(one) == _program(other) for one, other in zip(a.nodes, b.nodes, strict=True))


def told_of(a: Graph, b: Graph) -> str:
    """Return in words how the second graph differs: the first node, and how many are added, removed, changed."""
    node = first_node(a, b)
    before = a.nodes[node.id] if node is not None and node.id < len(a) else None
    if node is None:
        return "other results"
    name = clean(node.name, 80)
    if before is not None and _program(before) == _program(node):
        return f"{name} is {_sizes(node)}, there {_sizes(before)}"
    found = a.diff(b)
    counts = (("more", found.added), ("fewer", found.removed), ("changed", found.changed))
    told = ", ".join(f"{len(names)} {what}" for what, names in counts if names)
    beside = f" where that has {clean(before.name, 80)} ({clean(before.op, 40)})" if before is not None else ""
    return f"{name} ({clean(node.op, 40)}){beside} is the first of {told or 'other'} nodes"


def _structure(node: Node) -> tuple[object, ...]:
    return (*_program(node), node.shape, node.dtype, node.attrs)


def _program(node: Node) -> tuple[object, ...]:
    """Return what a node does, whatever the size of its arrays."""
    return node.op, node.kind, node.inputs, node.scope


def _sizes(node: Node) -> str:
    return f"{list(node.shape)} {node.dtype}"
