"""A recorded loss computed again with other parameters: at one point, or at many at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gradviz.errors import GradvizError
from gradviz.graphs import Frame, Graph, Node, Number

__all__ = ["is_scalar_only", "loss_at", "losses_at"]

PROBES = 5  # points at which computing many at once is compared with computing one
CLOSE = 1e-9  # relative: a library's power of an array may differ from that of a float in the last digits


def losses_at(frame: Frame, points: np.ndarray, parameters: Callable[[np.ndarray], dict[str, Number]]) -> np.ndarray:
    """Return the loss at many points (rows); ``parameters`` makes the parameters of one row, or of a table's columns.

    A graph of single numbers is computed once, with arrays in their place, if that gives what computing them one by one
    gives at some probes.
    """
    if is_scalar_only(frame.graph):
        found = _all_at_once(frame, parameters(points.T), len(points))
        probes = np.unique(np.linspace(0, len(points) - 1, PROBES).astype(int))
        wanted = np.array([loss_at(frame, parameters(points[i])) for i in probes.tolist()])
        if found is not None and np.allclose(found[probes], wanted, rtol=CLOSE, atol=0.0, equal_nan=True):
            return found
    return np.array([loss_at(frame, parameters(point)) for point in points])


def is_scalar_only(graph: Graph) -> bool:
    """Tell whether every node of a graph is a single number."""
    return all(node.shape == () for node in graph)


def loss_at(frame: Frame, parameters: Mapping[str, Number]) -> float:
    """Return what the loss of a frame would be with other parameters; NaN where it cannot be computed.

    All other leaves keep their values. Raises GraphError if one of them is not known.

    >>> import gradviz
    >>> w = gradviz.Tensor(2.0, name="w")
    >>> loss_at(gradviz.frame((w - 3) ** 2), {"w": 5.0})
    4.0
    """
    try:
        return float(np.real(_forward(frame, parameters)).reshape(()))
    except (ArithmeticError, np.linalg.LinAlgError):
        return float("nan")


def _all_at_once(frame: Frame, parameters: Mapping[str, Number], count: int) -> np.ndarray | None:
    """Return the losses where every parameter is a row of numbers; None if the operations do not allow that."""
    try:
        found = np.real(_forward(frame, parameters))
    except (GradvizError, ArithmeticError, ValueError, TypeError):
        return None
    return found.astype(float) if found.shape == (count,) else None


def _forward(frame: Frame, parameters: Mapping[str, Number]) -> np.ndarray:
    """Return the result of the graph."""
    from gradviz.sources import own

    leaves: dict[int, Number] = {}
    for node, value in zip(frame.graph, frame.values, strict=True):
        if node.kind != "op" and value is not None:
            leaves[node.id] = _like(value, parameters.get(node.name, value))
    forward = _without_gradients(frame.graph)
    with np.errstate(all="ignore"):
        values, _ = own.replay(forward, leaves)
    return np.asarray(values[forward.outputs[0]])


def _like(known: Number, value: Any) -> Number:
    """Return a number of the dtype that the parameter has."""
    return value if isinstance(known, float) else np.asarray(value, known.dtype)


def _without_gradients(graph: Graph) -> Graph:
    """Return the same computation without a way back: every parameter is an input."""
    return graph._cached("forward", lambda: Graph(tuple(map(_plain, graph.nodes)), graph.outputs))


def _plain(node: Node) -> Node:
    return replace(node, kind="input") if node.kind == "param" else node
