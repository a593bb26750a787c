"""Keeping a computation for later: what is needed to make its frame when somebody asks, and what that holds in memory.

What ops compute is never written to again, so holding the Tensor is enough; the values and gradients of leaves are
about to change, so they are noted: values by reference, for an update makes new ones, gradients as copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradviz.engine.leaves import Exposed, Leaf, value_of
from gradviz.engine.structure import value_before, walked
from gradviz.engine.tensor import Tensor
from gradviz.sources import own
from gradviz.sources.pullback import with_gradients, without_gradients

__all__ = ["Kept", "keep"]

NODE = 300  # bytes of a node besides its numbers


class Kept:
    """One computation at one moment.

    ``names`` are those of its tensors in the order of `gradviz.engine.structure.walked`. ``size`` is in bytes; what
    ``before``, which is kept too, holds already is not counted.
    """

    __slots__ = ("_frame", "_moment", "_names", "_root", "is_pulled", "size", "values")

    def __init__(self, root: Tensor, found: Sequence[Tensor], names: Sequence[str], before: Kept | None) -> None:
        self._root = root
        self._names = names
        self._moment = {id(t): _numbers(t, root) for t in found if t._op.__class__ is Leaf}
        self._frame = own.frame(root, _given(found, names)) if _is_torn(found) else None
        self.is_pulled = root._grad is not None  # backward() had been called
        known: set[int] = set() if before is None else before.values
        self.values: set[int] = {id(t._data) for t in found}
        self.size = sum(_size(t, is_new=id(t._data) not in known) for t in found)

    def frame(self) -> Any:
        """Return the frame as it would have been made at that moment, with the gradients it would give if none was."""
        made = self._frame or own.frame(self._root, _given(walked(self._root), self._names), self._moment)
        return made if self.is_pulled else with_gradients(without_gradients(made))

    @property
    def loss(self) -> float:
        """The value of the result, the sum of its elements if there are several."""
        return float(np.sum(self._root._data))


def keep(root: Tensor, found: Sequence[Tensor], names: Sequence[str], before: Kept | None = None) -> Kept:
    """Return what is to be kept of the computation of ``root``, whose tensors were ``found`` by `walked`.

    >>> w = Tensor(3.0, name="w")
    >>> loss = w * w
    >>> loss.backward()
    >>> found = walked(loss)
    >>> kept = keep(loss, found, ["loss", "w"])
    >>> w.data, w.grad = 0.0, None
    >>> kept.frame().value("w"), kept.frame().grad("w"), kept.frame().value("loss")
    (3.0, 6.0, 9.0)
    """
    return Kept(root, found, names, before)


def _given(found: Sequence[Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    return dict(zip(names, found, strict=True))


def _numbers(leaf: Tensor, root: Tensor) -> tuple[Any, Any]:
    """Return the value a leaf had when the graph was made, and a copy of its gradient."""
    before = value_before(leaf, root)
    value, grad = before or (leaf._data, leaf._grad)
    value = value.before if value.__class__ is Exposed else value
    grad = value_of(grad) if isinstance(grad, Tensor) else grad
    return value, grad.copy() if isinstance(grad, np.ndarray) else grad


def _is_torn(found: Sequence[Tensor]) -> bool:
    """Tell whether a leaf got another value while the graph was made."""
    ops = [t._key for t in found if t._op.__class__ is not Leaf]
    first, last = min(ops, default=0), max(ops, default=0)
    return any(t._op.__class__ is Leaf and t._op.assigned and first < t._key < last for t in found)


def _size(t: Tensor, *, is_new: bool) -> int:
    """Return the bytes of a node and its numbers; a value that is not new costs nothing."""
    value, grad = t._data, t._grad
    total = NODE + (value.nbytes if is_new and value.__class__ is np.ndarray else 0)
    return total + (grad.nbytes if grad.__class__ is np.ndarray else 0)
