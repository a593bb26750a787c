"""What the names in an expression mean where the debugger stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.debugger.expressions import ATTRIBUTES
from gradviz.debugger.positions import UPDATE, Position
from gradviz.errors import UnknownNameError

if TYPE_CHECKING:
    from gradviz.debugger.standing import Standing

__all__ = ["NodeNames", "attribute_of"]

OWN = ("iteration", "loss", "op", "param", "phase", "update")  # known without being nodes


class NodeNames:
    """The nodes of the iteration by name, with their numbers of this moment; and a few words more.

    ``loss`` is the result, ``iteration``, ``phase`` and ``op`` are the position, ``update`` and ``param`` the
    change and the old value of the parameter whose update this is. A node of such a name comes first.
    """

    def __init__(self, debugger: Standing) -> None:
        self._debugger = debugger

    def longest(self, parts: list[str]) -> int:
        """Return how many of the dotted parts name a node, or a word known here."""
        graph = self._debugger.graph
        found = (count for count in range(len(parts), 0, -1) if ".".join(parts[:count]) in graph)
        return next(found, 1 if parts[0] in OWN else 0)

    def look_up(self, name: str, attribute: str, iteration: int | None) -> Any:
        """Return ``value``, ``grad``, ... of a name; of another iteration what it was at its end."""
        d = self._debugger
        if iteration is not None:
            steps = d.timeline.steps(iteration)
            result = steps.full.graph.outputs[-1] if name == "loss" and name not in steps.full.graph else name
            return _part(steps.full.graph.node(result), steps.full.value(result), steps.full.grad(result), attribute)
        if name not in d.graph and name != "loss":
            return attribute_of(self._word(name), attribute)
        view = d[name if name in d.graph else d.graph.nodes[d.graph.outputs[-1]].name]
        return _part(view.node, view.value, view.grad, attribute)

    def _word(self, name: str) -> Any:
        """Return what a word means that is no node."""
        where: Position = self._debugger.where
        if name in {"iteration", "phase", "op"}:
            return getattr(where, name)
        event = self._debugger.event
        if where.phase != UPDATE:
            return None
        old = self._debugger.full.values[event.node.id]
        if name == "param" or old is None or event.value is None:
            return old
        return np.subtract(event.value, old)


def _part(node: Any, value: Any, grad: Any, attribute: str) -> Any:
    """Return one thing of a node."""
    if attribute in {"value", "grad"}:
        return value if attribute == "value" else grad
    if attribute in {"shape", "dtype", "op", "kind", "scope"}:
        return getattr(node, attribute)
    return attribute_of(value, attribute)


def attribute_of(found: Any, attribute: str) -> Any:
    """Return an attribute of a number: its value, shape, dtype, ndim, size or T."""
    if attribute == "value":
        return found
    if attribute not in {"shape", "dtype", "ndim", "size", "T"}:
        raise UnknownNameError.among("attribute", attribute, ATTRIBUTES)
    return None if found is None else getattr(np.asarray(found), attribute)
