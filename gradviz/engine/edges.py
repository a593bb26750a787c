"""What each edge of a recorded graph contributes, from the rules of the ops and the numbers of the nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .cotangents import cotangent
from .recording import apply, compute

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
        x = self._values[src]
        if (y.__class__ is float and x.__class__ is float) or (np.shape(y) == () and np.shape(x) == ()):
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

    def is_elementwise(self, dst: int) -> bool:
        """Tell whether each element of the result depends on one element of each operand."""
        return bool(getattr(self._ops[dst], "elementwise", False))

    def is_registered(self, dst: int) -> bool:
        """Tell whether a node's op was registered by somebody else than this package."""
        forward = getattr(self._ops[dst], "forward", None)
        return forward is not None and not str(forward.__module__).startswith(f"{__package__}.")

    def needed(self, dst: int, arg: int, mask: Any) -> Any:
        """Return which elements of an operand the elements of the result in ``mask`` are computed from.

        The rule is asked at ordinary numbers in place of the real ones, so that neither a zero nor an infinity hides
        anything. None where that cannot be told.
        """
        found: Any = None
        for is_even in (True, False):
            try:
                with np.errstate(all="ignore"):
                    reached = np.asarray(self._probed(dst, arg, mask, is_even))
            except Exception:  # an op of one's own may refuse other numbers than it was given, in any way
                continue
            there = np.isnan(reached) | (reached != 0)
            found = there if found is None else found | there
        return found

    def _probed(self, dst: int, arg: int, mask: Any, is_even: bool) -> Any:
        """Send a gradient that is 1 where the mask is, and 0 elsewhere, back through the op."""
        op, attrs = self._ops[dst], dict(self._attrs[dst])
        values = [
            value if op.vjp(place) is None else _ordinary(value, is_even, place)
            for place, value in enumerate(self._inputs(dst))
        ]
        y = compute(op, values, attrs)
        g: Any = float(np.any(mask)) if y.__class__ is float else np.asarray(mask).astype(np.asarray(y).dtype)
        return cotangent(op, arg, g, y, values, attrs)

    def recorded_again(self, dst: int, made: Mapping[int, Any]) -> Any:
        """Apply the op of a node once more, to Tensors and numbers in place of its operands, by their ids."""
        return apply(self._ops[dst], tuple(made[i] for i in self._nodes[dst].inputs), dict(self._attrs[dst]) or None)

    def having(self, grads: Sequence[Any]) -> RuleNumbers:
        """Return the numbers of the same graph with other gradients."""
        return RuleNumbers(self._nodes, self._values, grads, self._ops, self._attrs)

    def _inputs(self, dst: int) -> list[Any]:
        return [self._values[i] for i in self._nodes[dst].inputs]


def _ordinary(value: Any, is_even: bool, place: int) -> Any:
    """Return numbers that no op minds, all the same or all different; indices and conditions stay what they are."""
    if value.__class__ is float:
        return 1.0 if is_even else 1.25 + place / 8
    array = np.asarray(value)
    if array.dtype.kind != "f":
        return value
    numbers = np.ones(array.shape) if is_even else np.linspace(1.0, 2.0, array.size).reshape(array.shape) + place / 8
    return numbers.astype(array.dtype)
