"""Numbers that stand for structure: equal for equal things, on every machine, a whole array at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from gradviz.graphs import Graph, Node

__all__ = ["Hashes", "Ints", "cut", "edge_arrays", "labels", "leaf_labels", "mixed", "ranges", "total"]

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

GOLDEN, FIRST, SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def mixed(*parts: Any) -> Hashes:
    """Return one number for each row of parts (the finaliser of SplitMix64 over them).

    >>> one, other = mixed([1, 2], [3, 4]), mixed([2, 1], [4, 3])
    >>> bool((one == other[::-1]).all()), bool((one == other).any())
    (True, False)
    """
    found = np.zeros(1, np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            found = (found ^ np.atleast_1d(np.asarray(part)).astype(np.uint64)) + GOLDEN
            found = (found ^ (found >> np.uint64(30))) * FIRST
            found = (found ^ (found >> np.uint64(27))) * SECOND
            found ^= found >> np.uint64(31)
    return found


def total(codes: Hashes, groups: Ints, count: int) -> Hashes:
    """Return the sum of the codes of each group, whatever their order.

    >>> total(np.array([1, 2, 4], np.uint64), np.array([1, 0, 1]), 2).tolist()
    [2, 5]
    """
    found = np.zeros(count, np.uint64)
    if not len(codes):
        return found
    order = np.argsort(groups, kind="stable")
    sorted_groups = groups[order]
    starts = np.flatnonzero(np.r_[True, sorted_groups[1:] != sorted_groups[:-1]])
    found[sorted_groups[starts]] = np.add.reduceat(codes[order], starts)
    return found


def cut(array: Ints, sizes: Ints) -> list[Ints]:
    """Return an array in pieces of these sizes.

    >>> [piece.tolist() for piece in cut(np.arange(3), np.array([1, 2]))]
    [[0], [1, 2]]
    """
    ends = np.cumsum(sizes)
    return [array[begin:end] for begin, end in zip((ends - sizes).tolist(), ends.tolist(), strict=True)]


def ranges(starts: Ints, lengths: Ints) -> tuple[Ints, Ints, Ints]:
    """Return the numbers of several ranges in a row, and for each which range it is of and how far into it.

    >>> [found.tolist() for found in ranges(np.array([3, 9]), np.array([2, 1]))]
    [[3, 4, 9], [0, 0, 1], [0, 1, 0]]
    """
    which = np.repeat(np.arange(len(starts)), lengths)
    into = np.arange(len(which)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return starts[which] + into, which, into


def edge_arrays(graph: Graph) -> tuple[Ints, Ints, Ints]:
    """Return the sources, the ends and the arguments of all edges, in the order of ``graph.edges``.

    >>> graph = Graph((Node(0, "x", "input", "input"), Node(1, "y", "mul", "op", (0, 0))))
    >>> [found.tolist() for found in edge_arrays(graph)]
    [[0, 0], [1, 1], [0, 1]]
    """
    counts = np.array([len(node.inputs) for node in graph.nodes], np.int64)
    src = np.array([src for node in graph.nodes for src in node.inputs], np.int64)
    dst = np.repeat(np.arange(len(counts)), counts)
    return src, dst, np.arange(len(dst)) - np.repeat(np.cumsum(counts) - counts, counts)


def labels(graph: Graph, ids: Iterable[int], *, lines: bool = True) -> tuple[Hashes, bool]:
    """Return what makes ops alike, as numbers, and whether that is the source line of most of them.

    Made by one expression with the same op, shape and scope is alike; so is, where no line is known, what has the
    same op, shape, metadata and scope.
    """
    known: dict[Any, int] = {}
    found = []
    known_lines = 0
    for id in ids:
        node = graph.nodes[id]
        source = node.source
        if node.op == "scope":  # closed scopes are alike by name: one line may have called them all
            key: Any = (node.name, node.shape, node.scope)
        elif source is None or not lines:
            key = (node.op, node.shape, node.dtype, node.attrs, node.scope)
        else:
            known_lines += 1
            key = (source.file, source.line, source.column, source.end_column, node.op, node.shape, node.scope)
        found.append(known.setdefault(key, len(known)))
    return mixed(np.array(found, np.uint64)), 2 * known_lines > len(found)


def leaf_labels(graph: Graph) -> Hashes:
    """Return what makes leaves alike, as one number a node: kind and shape, for an op its op and shape."""
    known: dict[Any, int] = {}

    def key(node: Node) -> Any:
        return node.kind, node.op if node.kind == "op" else "", node.shape, node.scope

    return mixed(np.array([known.setdefault(key(node), len(known)) for node in graph.nodes], np.uint64))
