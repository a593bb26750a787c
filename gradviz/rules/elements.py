"""Which elements of an operand belong to which elements of a result, and which of them are not finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradviz.graphs import Frame, Node
from gradviz.graphs.nodes import RuleEdges
from gradviz.graphs.projections import unpacked

__all__ = ["Mask", "Numbers", "first_element", "unbroadcast"]

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Test = Callable[[Any], Any]
CHOICES = frozenset({"masked_fill", "masked_fill_", "masked_scatter", "nan_to_num", "nan_to_num_", "where"})
FILLING = frozenset({"masked_fill", "masked_fill_"})


class Numbers:
    """The numbers of a frame, asked which of their elements are not finite and where they went.

    In ``frame`` every result of an op with several is an op of its own.
    """

    def __init__(self, frame: Frame) -> None:
        self.frame = unpacked(frame)
        edges = self.frame.edges
        self._edges = edges if isinstance(edges, RuleEdges) else None
        self.is_patient = hasattr(edges, "of_results")  # says None where a number is not known
        self._bad: dict[int, bool] = {}

    def is_bad(self, id: int) -> bool:
        """Tell whether there is anything not finite in the value of a node."""
        if id not in self._bad:
            self._bad[id] = not _is_finite(self.frame.values[id])
        return self._bad[id]

    def mask(self, id: int, test: Test) -> Mask:
        """Return where a test holds in the value of a node; nowhere if it is not known."""
        return _where(self.frame.values[id], test)

    def grad_mask(self, id: int, test: Test) -> Mask:
        """Return where a test holds in the gradient of a node."""
        return _where(self.frame.grads[id], test)

    def is_elementwise(self, id: int) -> bool:
        """Tell whether each element of a node depends on one element of each operand."""
        if self._edges is not None:
            return self._edges.is_elementwise(id)
        shapes = [_shape(self.frame.values[src]) for src in self.frame.graph.nodes[id].inputs]
        return all(shape == () for shape in (*shapes, _shape(self.frame.values[id])))

    def needed(self, id: int, arg: int, mask: Mask) -> Mask:
        """Return the elements of an operand that the masked elements of a node are computed from, at the least."""
        src = self.frame.graph.nodes[id].inputs[arg]
        shape = _shape(self.frame.values[src])
        if not mask.any():
            return np.zeros(shape, bool)
        is_elementwise, is_choice = self.is_elementwise(id), self.frame.graph.nodes[id].op in CHOICES
        if is_elementwise and not is_choice:
            return unbroadcast(mask, shape)
        found = self._edges.needed(id, arg, mask) if self._edges is not None else None
        if found is None or found.shape != shape:
            return np.ones(shape, bool)
        return found if is_choice or (found & self.mask(src, _bad)).any() else np.ones(shape, bool)

    def influenced(self, id: int, arg: int, mask: Mask) -> Mask:
        """Return the elements of a node that the masked elements of an operand go into, where that is known."""
        shape = _shape(self.frame.values[id])
        if not self.is_elementwise(id):
            return np.ones(shape, bool)
        return np.broadcast_to(mask, shape)

    def sent_if_finite(self, id: int, arg: int) -> Any:
        """Return what a rule would send if the gradient that came in were 1 wherever it is not finite."""
        grad = self.frame.grads[id]
        if self._edges is None or grad is None or self.frame.values[id] is None:
            return None
        if isinstance(grad, float):
            return self._edges.sent(id, arg, grad if math.isfinite(grad) else 1.0)
        return self._edges.sent(id, arg, np.where(np.isfinite(grad), grad, np.ones((), grad.dtype)))

    def meant(self) -> set[int]:
        """Return the nodes whose infinities are there on purpose: masks, and what is computed of nothing worse."""
        found: set[int] = set()
        for node in self.frame.graph.nodes:
            if not self.is_bad(node.id):
                continue
            bad = [src for src in node.inputs if self.is_bad(src)]
            is_passed_on = node.kind == "op" and bool(bad) and found.issuperset(bad) and self._only_passes(node, bad)
            is_written = node.op in FILLING and not bad and _fills_infinity(node)
            is_mask = node.kind in {"const", "input"} and _is_mask(self.frame.values[node.id])
            if is_passed_on or is_written or is_mask:
                found.add(node.id)
        return found

    def _only_passes(self, node: Node, bad: list[int]) -> bool:
        """Tell whether a node holds infinities only where an operand does, and no NaN."""
        if self.mask(node.id, np.isnan).any():
            return False
        mask = self.mask(node.id, np.isinf)
        if not self.is_elementwise(node.id):
            return True
        reached = np.zeros(mask.shape, bool)
        for src in bad:
            reached |= np.broadcast_to(self.mask(src, np.isinf), mask.shape)
        return not (mask & ~reached).any()

    def operands(self, node: Node, index: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
        """Yield the operands of a node by name, as they are at an element; of more than one the largest size."""
        if node.kind != "op":
            return
        mask: Mask = np.zeros(_shape(self.frame.values[node.id]), bool)
        mask[index] = True
        for arg, src in enumerate(node.inputs):
            value, name = self.frame.values[src], self.frame.graph.nodes[src].name
            if value is None or not np.size(value) or src in node.inputs[:arg]:
                continue
            numbers = np.asarray(value)[self._involved(node.id, arg, mask)]
            one = numbers.size == 1
            yield (name, numbers.item()) if one else (f"largest |{name}|", np.abs(numbers).max().item())

    def _involved(self, id: int, arg: int, mask: Mask) -> Mask:
        """Return the elements of an operand that the masked elements of a node are computed from; all if unknown."""
        shape = _shape(self.frame.values[self.frame.graph.nodes[id].inputs[arg]])
        if self.is_elementwise(id):
            return unbroadcast(mask, shape)
        found = self._edges.needed(id, arg, mask) if self._edges is not None else None
        return found if found is not None and found.shape == shape and found.any() else np.ones(shape, bool)


def unbroadcast(mask: Mask, shape: tuple[int, ...]) -> Mask:
    """Return which elements of an operand of this shape were broadcast to the masked elements.

    >>> unbroadcast(np.array([[True, False], [True, False]]), (2,)).tolist()
    [True, False]
    """
    extra = mask.ndim - len(shape)
    axes = (*range(extra), *(i + extra for i, n in enumerate(shape) if n == 1 and mask.shape[i + extra] != 1))
    found: Mask = np.asarray(mask.any(axis=axes, keepdims=True)).reshape(shape) if axes else mask
    return found


def first_element(mask: Mask) -> tuple[int, ...]:
    """Return the index of the first element of a mask.

    >>> first_element(np.array([[False, False], [False, True]]))
    (1, 1)
    """
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(mask)), mask.shape))


def _shape(x: Any) -> tuple[int, ...]:
    return () if x is None or isinstance(x, float) else np.shape(x)


def _bad(x: Any) -> Any:
    return ~np.isfinite(x)


def _is_finite(x: Any) -> bool:
    if x is None or isinstance(x, float):
        return x is None or math.isfinite(x)
    return x.dtype.kind in "biu" or bool(np.isfinite(x).all())


def _where(x: Any, test: Test) -> Mask:
    return np.zeros((), bool) if x is None else np.asarray(test(x))


def _fills_infinity(node: Node) -> bool:
    """Tell whether somebody wrote an infinity into the masked elements."""
    value = node.attrs.get("value")
    return isinstance(value, float) and math.isinf(value)


def _is_mask(x: Any) -> bool:
    """Tell a mask from data: nothing but zeros and infinities of one sign."""
    kinds = np.asarray(x)
    infinite = kinds[np.isinf(kinds)]
    rest = kinds[~np.isinf(kinds)]
    return bool(len(infinite)) and not np.any(rest) and len(np.unique(infinite)) == 1
