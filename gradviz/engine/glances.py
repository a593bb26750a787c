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
    outline = Outline(root)
    kinds = [root._data, *(number for t in params.values() if isinstance(t, Tensor) for number in numbers(t))]
    if not outline.is_small or len(kinds) != 1 + 2 * len(params) or not all(x.__class__ is float for x in kinds):
        return None
    results = ["n0._data", *_params(outline, params)]
    try:
        for use, value in fixed:
            _demand_value(outline, _value(outline, use), value)
        results += [_float(outline, _value(outline, use)) for use in varying]
    except LookupError:
        return None
    return outline.function("glance(n0, params)", f"({', '.join(results)})", "None")  # type: ignore[no-any-return]


def _params(outline: Outline, params: Mapping[str, Any]) -> list[str]:
    """Fetch the parameters by name; return where their values and gradients are found."""
    found = []
    outline.demand("len(params)", len(params))
    for i, name in enumerate(params):
        outline.known[f"name{i}"] = name
        outline.fetch(f"p{i}", f"params[name{i}]")
        found += [_float(outline, f"p{i}._data"), _float(outline, f"p{i}._grad")]
    return found


def _float(outline: Outline, where: str) -> str:
    """Demand that something is a float."""
    outline.demand(f"{where}.__class__", float)
    return where


def _value(outline: Outline, use: Use) -> str:
    """Return where the value of an operand is found.

    Raises LookupError for a leaf that was assigned before: it may be assigned again between its use and now.
    """
    user, position = use
    if user is None:
        raise LookupError
    x = written_operands(user)[position]
    if not isinstance(x, Tensor):
        return f"{outline.names[user]}.{attribute(user, position)}"
    name = outline.names[x]
    if x._op.assigned or x._data.__class__ is Exposed:
        raise LookupError
    outline.known[f"op_{name}"] = x._op
    outline.demand(f"{name}._op is op_{name}", True)
    return f"{name}._data"


def _demand_value(outline: Outline, where: str, value: Any) -> None:
    """Demand that a number or an array is the same, bit by bit (but any NaN is NaN)."""
    if value.__class__ is float:
        is_special = value == 0.0 or math.isnan(value)  # equal without being the same, or the reverse
        outline.demand(f"{where}.hex()" if is_special else where, value.hex() if is_special else value)
        return
    if value.nbytes > COMPARED_LIMIT:
        raise LookupError
    kept = f"kept{len(outline.known)}"
    outline.known |= {kept: value, f"{kept}_bytes": value.tobytes()}
    outline.demand(f"{where} is {kept} or {where}.tobytes() == {kept}_bytes", True)
