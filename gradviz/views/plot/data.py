"""Where in a graph the data, the targets and the prediction are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from gradviz.errors import GradvizValueError
from gradviz.graphs import Frame, Graph, Node

__all__ = ["Places", "found_places", "numbers_at"]

HINT = 'name the nodes: run.plot("fit", x="x", y="y", prediction="prediction"), or give arrays and a function'
COMPARED_BY_VALUE = {"input", "const"}


@dataclass(frozen=True)
class Places:
    """Ids of the nodes that hold x, y and the prediction; several where samples are computed one by one."""

    x: tuple[int, ...]
    y: tuple[int, ...]
    prediction: tuple[int, ...]


def found_places(graph: Graph) -> Places:
    """Return where data are compared with what the parameters make of them.

    A comparison is the first operation whose arguments are a leaf that is no parameter, the targets, and
    something of the same size that depends on parameters, the prediction. What that was computed from,
    beside parameters and single numbers, is x. Raises GradvizValueError where this finds none or several.
    """
    learned = _depending(graph)
    pairs = [pair for node in graph for pair in _compared(graph, node, learned)]
    if not pairs:
        raise GradvizValueError("no prediction was found in the graph: nothing compares it with data", hint=HINT)
    size = max(_size(graph, prediction) for prediction, _ in pairs)
    chosen = [pair for pair in pairs if _size(graph, pair[0]) == size]
    if size > 1 and len(chosen) > 1:
        names = ", ".join(repr(graph.nodes[prediction].name) for prediction, _ in chosen[:4])
        raise GradvizValueError(f"several nodes may be the prediction: {names}", hint=HINT)
    x = tuple(_data_of(graph, prediction, {target for _, target in chosen}) for prediction, _ in chosen)
    return Places(x, tuple(target for _, target in chosen), tuple(prediction for prediction, _ in chosen))


def _depending(graph: Graph) -> list[bool]:
    """Tell of every node whether a parameter is in it."""
    found: list[bool] = []
    for node in graph:
        found.append(node.kind == "param" or any(found[i] for i in node.inputs))
    return found


def _compared(graph: Graph, node: Node, learned: Sequence[bool]) -> list[tuple[int, int]]:
    """Return (prediction, target) if this node compares the two."""
    if len(node.inputs) != 2:
        return []
    one, other = node.inputs
    if learned[one] == learned[other]:
        return []
    prediction, target = (one, other) if learned[one] else (other, one)
    is_data = graph.nodes[target].kind in COMPARED_BY_VALUE and _size(graph, target) == _size(graph, prediction)
    is_op = graph.nodes[prediction].kind == "op"
    differs = node.op not in {"mul", "add", "div", "pow", "matmul"}
    return [(prediction, target)] if is_data and is_op and differs else []


def _size(graph: Graph, id: int) -> int:
    return prod(graph.nodes[id].shape)


def _data_of(graph: Graph, prediction: int, targets: set[int]) -> int:
    """Return the leaf that a prediction was computed from."""
    size = _size(graph, prediction)
    leaves = [graph.nodes[i] for i in graph.ancestors(prediction)]
    data = [node for node in leaves if node.kind in COMPARED_BY_VALUE and prod(node.shape) == size]
    data = [node for node in data if node.id not in targets] or data
    inputs = [node for node in data if node.kind == "input"] or data
    if len(inputs) != 1:
        what = "none" if not inputs else ", ".join(repr(node.name) for node in inputs[:4])
        raise GradvizValueError(
            f"which data {graph.nodes[prediction].name!r} was computed from is not clear: {what}", hint=HINT
        )
    return inputs[0].id


def numbers_at(frame: Frame, ids: Sequence[int]) -> np.ndarray:
    """Return the values of nodes as one row of numbers."""
    missing = [id for id in ids if frame.values[id] is None]
    if missing:
        why = frame.meta.get("replay", "it was not recorded")
        raise GradvizValueError(
            f"the value of {frame.graph.nodes[missing[0]].name!r} in step {frame.step} is not known: {why}", hint=HINT
        )
    return np.concatenate([np.asarray(frame.values[id], float).ravel() for id in ids])
