"""What each edge of a recorded graph contributes, from the rules of the ops and the numbers of the nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .cotangents import cotangent

__all__ = ["RuleNumbers"]


class RuleNumbers:
    """Edge numbers worked out, when asked for, by the ops' own rules from a frame's copied numbers.

    ``nodes`` are those of its graph: of each, ``kind`` and the ids of its ``inputs`` are read.
    """

    __slots__ = ("_attrs", "_grads", "_nodes", "_ops", "_values")

    def __init__(
        self,
        nodes: Sequence[Any],
        values: Sequence[Any],
        grads: Sequence[Any],
        ops: Sequence[Any],
        attrs: Sequence[Mapping[str, Any]],
    ) -> None:
        self._nodes = nodes
        self._values = values
        self._grads = grads
        self._ops = ops
        self._attrs = attrs

    def grad(self, src: int, dst: int, arg: int) -> Any:
        """Return what this edge contributed to the gradient of ``src``; None if nothing flows."""
        g = self._grads[dst]
        return None if g is None or self._grads[src] is None else self.sent(dst, arg, g)

    def local(self, src: int, dst: int, arg: int) -> Any:
        """Return d(dst)/d(src) by this argument, if both are scalars or the op is elementwise; None for a constant."""
        op = self._ops[dst]
        y = self._values[dst]
        if self._nodes[src].kind == "const":
            return None
        if np.shape(y) == () and np.shape(self._values[src]) == ():
            return self.sent(dst, arg, 1.0)
        if not op.elementwise or op.vjp(arg) is None:
            return None
        with np.errstate(all="ignore"):  # what it warns of was seen when it was recorded
            slope = op.vjp(arg)(np.ones(np.shape(y)), y, *self._inputs(dst), **self._attrs[dst])
        return np.broadcast_to(slope, np.shape(y))

    def sent(self, dst: int, arg: int, g: Any) -> Any:
        """Return what ``dst`` sends to this argument when its own gradient is ``g``."""
        op, attrs = self._ops[dst], self._attrs[dst]
        with np.errstate(all="ignore"):
            return cotangent(op, arg, g, self._values[dst], self._inputs(dst), dict(attrs))

    def having(self, grads: Sequence[Any]) -> RuleNumbers:
        """Return the numbers of the same graph with other gradients."""
        return RuleNumbers(self._nodes, self._values, grads, self._ops, self._attrs)

    def _inputs(self, dst: int) -> list[Any]:
        return [self._values[i] for i in self._nodes[dst].inputs]
