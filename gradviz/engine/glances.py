"""Everything the tracer wants of a small graph of scalars, in one written-out function.

At every step it asks: is this the structure of before, are the inputs that stood still the same, and what
are the numbers now? Asked one by one, the questions cost more than the numbers are worth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .inputs import Use, attribute
from .leaves import Exposed
from .recognition import Outline
from .structure import numbers, written_operands
from .tensor import Tensor

__all__ = ["Glance", "written_glance"]

Glance = Callable[[Any, Mapping[str, Any]], tuple[float, ...] | None]

COMPARED_LIMIT = 65_536  # bytes of an array; to compare a larger one this way takes too long


def written_glance(
    root: Tensor, params: Mapping[str, Any], fixed: Sequence[tuple[Use, Any]], varying: Sequence[Use]
) -> Glance | None:
    """Return a function that reads all numbers of another graph and its parameters, if they are floats.

    It returns the value of the root, the value and gradient of every parameter by turns, and the
    operands at ``varying``; None if the graph has another structure, if one of these is no float, or
    if an operand in ``fixed`` differs from the value beside it. None instead of a function means that
    this graph is too large or holds other things than floats already.

    >>> w = Tensor(3.0)
    >>> def loss(x):
    ...     w.grad = None
    ...     found = (w * x - 1.0) * 2.0
    ...     found.backward()
    ...     return found
    >>> first = loss(5.0)
    >>> shifted = first.inputs[0]
    >>> glance = written_glance(first, {"w": w}, [((first, 1), 2.0)], [((shifted.inputs[0]), 1)])
    >>> glance(loss(7.0), {"w": w}), glance(loss(w), {"w": w})
    ((40.0, 3.0, 14.0, 7.0), None)
    """
    kinds = [root._data, *(number for t in params.values() if isinstance(t, Tensor) for number in numbers(t))]
    if len(kinds) != 1 + 2 * len(params) or not all(x.__class__ is float for x in kinds):
        return None
    scalars = _Scalars(root, params)
    if not scalars.is_small:
        return None
    results = ["n0._data", *scalars.params(params)]
    try:
        for use, value in fixed:
            scalars.demand_value(use, value)
        results += [scalars.float_of(use) for use in varying]
    except LookupError:
        return None
    return scalars.function("glance(n0, params)", f"({', '.join(results)})", "None")  # type: ignore[no-any-return]


class _Scalars(Outline):
    """A structure, and what is to be so of the numbers in it."""

    def __init__(self, root: Tensor, params: Mapping[str, Any]) -> None:
        self._params = {id(t): f"p{i}" for i, t in enumerate(params.values())}
        super().__init__(root)

    def add_leaf(self, n: str, leaf: Tensor) -> None:
        """Demand of a parameter that it is that of this name, and of others what makes the structure."""
        if id(leaf) in self._params:
            self.demand(f"{n} is {self._params[id(leaf)]}", True)
            self.demand(f"{n}._op.name", leaf._op.name)
        else:
            super().add_leaf(n, leaf)

    def params(self, params: Mapping[str, Any]) -> list[str]:
        """Fetch the parameters by name; return where their values and gradients are found."""
        found = [f"p{i}.{slot}" for i in range(len(params)) for slot in ("_data", "_grad")]
        self.demand("len(params)", len(params))
        for i, name in enumerate(params):
            self.known[f"name{i}"] = name
            self.fetch(f"p{i}", f"params[name{i}]")
        for where in found:
            self.demand(f"type({where})", float)
        return found

    def demand_value(self, use: Use, value: Any) -> None:
        """Demand that a number or an array is the same, bit by bit (but any NaN is NaN)."""
        where = self._where(use)
        if value.__class__ is float:
            is_special = value == 0.0 or math.isnan(value)  # equal without being the same, or the reverse
            self.demand(f"{where}.hex()" if is_special else where, value.hex() if is_special else value)
            return
        if value.nbytes > COMPARED_LIMIT:
            raise LookupError
        kept = f"kept{len(self.known)}"
        self.known |= {kept: value, f"{kept}_bytes": value.tobytes()}
        self.demand(f"{where} is {kept} or {where}.tobytes() == {kept}_bytes", True)

    def float_of(self, use: Use) -> str:
        """Return where an operand is found, and demand that it is a float."""
        where = self._where(use)
        self.demand(f"type({where})", float)
        return where

    def _where(self, use: Use) -> str:
        """Return where the value of an operand is found.

        Raises LookupError for a leaf that was assigned before: it may be assigned again between its use and now.
        """
        user, position = use
        if user is None:
            raise LookupError
        x = written_operands(user)[position]
        if not isinstance(x, Tensor):
            return f"{self.names[user]}.{attribute(user, position)}"
        name = self.names[x]
        if x._op.assigned or x._data.__class__ is Exposed:
            raise LookupError
        self.known[f"op_{name}"] = x._op
        self.demand(f"{name}._op is op_{name}", True)
        return f"{name}._data"
