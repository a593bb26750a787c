"""What a Tensor was made of, read off the tensors after the fact: one entry for every node to be, in order."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from gradviz.engine.leaves import CONST, Leaf, value_of
from gradviz.engine.structure import value_before, written_operands
from gradviz.engine.tensor import Tensor, site

__all__ = ["Entry", "Moment", "collect"]

Moment = Mapping[Any, tuple[Any, Any]]  # values and gradients that leaves had, by the id of the leaf
NOTHING: Mapping[Any, Any] = {}


class Entry:
    """One node to be: a tensor, or a number that stood in an expression, and its value at the time."""

    __slots__ = ("grad", "inputs", "key", "op", "tensor", "value")

    def __init__(self, tensor: Tensor | None, value: Any, grad: Any, key: tuple[int, int]) -> None:
        self.tensor = tensor
        self.value = value
        self.grad = grad
        self.key = key
        self.inputs: Sequence[Entry] = ()
        # the engine's op: a registry entry, or a Leaf
        self.op: Any = CONST if tensor is None else getattr(tensor._op, "op", tensor._op)

    @property
    def kind(self) -> str:
        """The kind of node."""
        return self.op.name if self.op.__class__ is Leaf else "op"

    @property
    def attrs(self) -> Mapping[str, Any]:
        """The metadata of its op."""
        return NOTHING if self.tensor is None or self.tensor._a.__class__ is not tuple else self.tensor.attrs

    @property
    def wish(self) -> str | None:
        """The name the tensor asks for itself."""
        return self.tensor.name if self.tensor is not None else None

    @property
    def held(self) -> Any:
        """What a variable of the caller may hold: the tensor, or the array it was copied from."""
        t = self.tensor
        if t is not None and t._op is CONST and t._b is not None:
            return t._b()
        return t

    @property
    def site(self) -> tuple[Any, int]:
        """The code object (or None) and the offset that made the tensor."""
        return (None, 0) if self.tensor is None else site(self.tensor)


def collect(root: Tensor, moment: Moment = NOTHING) -> list[Entry]:
    """Return an entry for everything ``root`` was made of, in the order it was made."""
    known: dict[Any, Entry] = {}
    found = [_entry(root, None, 0, known, moment)]
    for entry in found:  # grows while it is walked
        operands = written_operands(entry.tensor)
        if not operands:
            continue
        entry.inputs = inputs = []
        for position, operand in enumerate(operands):
            before = len(known)
            inputs.append(_entry(operand, entry, position, known, moment))
            if len(known) > before:
                found.append(inputs[-1])
    return sorted(found, key=lambda e: e.key)


def _entry(x: Any, consumer: Entry | None, position: int, known: dict[Any, Entry], moment: Moment) -> Entry:
    """Find or make the entry of an operand. A leaf that was assigned since counts as another node."""
    if not isinstance(x, Tensor):
        made = Entry(None, x, None, _below(consumer, position))
        return known.setdefault(id(made), made)
    was = moment.get(id(x)) or value_before(x, consumer.tensor if consumer else None)
    key = id(x) if was is None else (id(x), "before")
    below = _below(consumer, position)
    entry = known.get(key)
    if entry is None:
        value, grad = was or (value_of(x), x._grad)
        is_older = was is None and (consumer is None or x._key < consumer.key[0])
        entry = known[key] = Entry(x, value, grad, (x._key, 0) if is_older else below)
    entry.key = min(entry.key, below)  # the first of its consumers
    return entry


def _below(consumer: Entry | None, position: int) -> tuple[int, int]:
    """Return a place in the order right before the consumer."""
    return (sys.maxsize, 0) if consumer is None else (consumer.key[0], position - 1000)
