"""The gradients of a frame that has none yet, worked out from its own numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradviz.graphs import Frame
from gradviz.graphs.nodes import RuleEdges
from gradviz.graphs.projections import projections

__all__ = ["with_gradients", "without_gradients"]


def with_gradients(before: Frame, seed: Any = None) -> Frame:
    """Return the frame of a scalar with the gradients that ``backward()`` would give; no tensor is touched.

    A frame that has the gradient of its result, or cannot have one, is returned as it is. With a ``seed``, the
    gradient of the result, it has those of this one backward pass, whatever it had before.

    >>> from gradviz.engine.tensor import Tensor
    >>> from gradviz.sources import own
    >>> x = Tensor(3.0)
    >>> with_gradients(own.frame(x * x)).grad(0), x.grad
    (6.0, None)
    """
    edges, result = before.edges, before.graph.outputs[-1] if before.graph.outputs else None
    if result is None or (seed is None and before.grads[result] is not None) or not isinstance(edges, RuleEdges):
        return before
    value, wanted = before.values[result], _wanted(before)
    if not wanted[result] or value is None or (seed is None and np.size(value) != 1):
        return before
    if seed is None:
        seed = 1.0 if isinstance(value, float) else np.ones_like(value)
    return _having(before, edges, _pulled_back(before, edges, wanted, seed))


def without_gradients(before: Frame) -> Frame:
    """Return the frame with values only: no backward pass has been there yet.

    >>> from gradviz.engine.tensor import Tensor
    >>> from gradviz.sources import own
    >>> x = Tensor(3.0)
    >>> y = x * x
    >>> y.backward()
    >>> without_gradients(own.frame(y)).grads
    (None, None)
    """
    edges = before.edges
    return _having(before, edges, [None] * len(before.graph)) if isinstance(edges, RuleEdges) else before


def _having(before: Frame, edges: RuleEdges, grads: list[Any]) -> Frame:
    return Frame(before.graph, before.values, grads, edges.having(grads), before.step, before.meta)


def _wanted(frame: Frame) -> list[bool]:
    """Return for every node whether a parameter leads to it."""
    found: list[bool] = []
    for node in frame.graph.nodes:
        found.append(node.kind == "param" or any(found[src] for src in node.inputs))
    return found


def _pulled_back(frame: Frame, edges: RuleEdges, wanted: list[bool], seed: Any) -> list[Any]:
    grads: list[Any] = [None] * len(wanted)
    grads[frame.graph.outputs[-1]] = seed
    now, several = edges.having(grads), projections(frame.graph)  # sees the gradients that are there by then
    for node in reversed(frame.graph.nodes):
        g = grads[node.id]
        if g is None and all(grads[i] is None for i in several.get(node.id, ())):
            continue
        for arg, src in enumerate(node.inputs):
            amount = now.sent(node.id, arg, g) if wanted[src] else None
            if amount is not None:
                with np.errstate(all="ignore"):
                    grads[src] = amount if grads[src] is None else grads[src] + amount
    return grads
