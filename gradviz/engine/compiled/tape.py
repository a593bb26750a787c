"""What was recorded, as plain lines in the order they were computed: a graph without its numbers.

The graph is walked once, without calling itself. A tensor that is older than the recording, a stand-in for
an argument or a parameter, is an input: its value is asked for at every call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import forms
from ..leaves import Exposed, Leaf, settle_leaf
from ..structure import written_operands
from ..tensor import Constant, Tensor

__all__ = ["ALIAS", "OPERAND", "Asked", "Hidden", "Line", "Tape", "taped", "value_now"]

OPERAND: Any = "operand"  # stands in a question for the value of a line
ALIAS: Any = "alias"  # the op of a tensor that has the value of another one and no gradient
Hidden = dict[
    int, tuple[Tensor, Any, Sequence[Any], Any]
]  # by id: a node whose record was dropped, op, operands, attrs

# How the operands of an operator were met, by its form.
_PATHS = {
    **{id(form): "pair" for table in (forms.ALIKE, forms.BROADCAST) for form in table.values()},
    **{id(form): "number" for table in (forms.NUMBER, forms.SWAPPED) for form in table.values()},
    **{id(form): "constant" for table in (forms.CONSTANT, forms.CONSTANT_LEFT) for form in table.values()},
    id(forms.POW_NUMBER): "number",
    id(forms.NEG): "pair",
    id(forms.MATMUL): "pair",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about numbers that was answered while recording: the program holds for this answer only."""

    key: int
    question: Callable[..., Any]
    operands: tuple[Any, ...]
    answer: Any
    where: str


@dataclass(slots=True)
class Line:
    """One value: an input, a constant, or what an op made of earlier lines.

    ``path`` is the form of an operator: "pair", "number" or "constant"; "" for a rule of the registry.
    """

    kind: str  # "input", "const", "op", "ask"
    op: Any = None
    path: str = ""
    args: tuple[int, ...] = ()
    attrs: dict[str, Any] | None = None
    data: Any = None  # of a constant; the `Asked` of a question
    shape: tuple[int, ...] = ()
    dtype: Any = None  # None for a Python float
    wants: bool = False
    index: tuple[int | None, ...] | None = None  # of a getitem: the lines that are parts of its index


@dataclass
class Tape:
    """Lines in order, the position of the result, and the tensors that are inputs with their positions."""

    lines: list[Line]
    root: int
    inputs: list[tuple[Tensor, int]]
    tensors: list[Tensor | None]


def value_now(t: Tensor) -> Any:
    """Return the value of a tensor as an op would use it now."""
    value = t._data
    return settle_leaf(t) if value.__class__ is Exposed else value


Indices = dict[int, tuple[np.ndarray, Tensor]]


def taped(
    root: Tensor,
    since: int,
    hidden: Hidden,
    asked: Sequence[Asked],
    stands: Sequence[Tensor] = (),
    indices: Indices | None = None,
) -> Tape:
    """Return the lines of what was recorded after creation number ``since``, and of what was asked.

    ``indices`` says which arrays among the metadata came from a Tensor.
    """
    standing = {id(t) for t in stands}
    indices = indices or {}
    roots = [root, *(x for q in asked for x in q.operands if isinstance(x, Tensor)), *(t for _, t in indices.values())]
    found = _found(roots, since, hidden, standing)
    entries: list[Any] = sorted(
        [*((t._key, 1, t, made) for t, made in found if made is not None), *((q.key, 0, q, None) for q in asked)],
        key=lambda entry: entry[:2],
    )
    lines: list[Line] = []
    tensors: list[Tensor | None] = []
    places: dict[int, int] = {}
    inputs = []
    for t, made in found:
        if made is None:
            places[id(t)] = len(lines)
            is_input = t._key <= since or id(t) in standing  # else the recorded code made it
            if is_input:
                inputs.append((t, len(lines)))
            lines.append(_leaf(t, is_input))
            tensors.append(t)
    for _, _, x, made in entries:
        operands = x.operands if made is None else made[1]
        args = []
        for operand in operands:
            if isinstance(operand, Tensor):
                args.append(places[id(operand)])
            else:
                args.append(len(lines))
                lines.append(_constant(operand))
                tensors.append(None)
        if made is None:
            lines.append(Line("ask", args=tuple(args), data=_without_tensors(x)))
            tensors.append(None)
        elif made[0] is ALIAS:
            places[id(x)] = args[0] if not lines[args[0]].wants else len(lines)
            if lines[args[0]].wants:
                lines.append(_op(x, ALIAS, tuple(args), None, False))
                tensors.append(x)
        else:
            places[id(x)] = len(lines)
            lines.append(_op(x, made[0], tuple(args), made[2], x._makes is not Constant))
            lines[-1].index = _index(made[2], indices, places)
            tensors.append(x)
    return Tape(lines, places[id(root)], inputs, tensors)


def _found(roots: Sequence[Tensor], since: int, hidden: Hidden, stands: set[int]) -> list[tuple[Tensor, Any]]:
    """Return every tensor behind the result and the questions; with (op, operands, attrs) if an op made it."""
    unique = list({id(t): t for t in roots}.values())
    seen = {id(t) for t in unique}
    found: list[tuple[Tensor, Any]] = []
    for t in unique:  # grows while it is walked
        made: Any = None
        if id(t) in hidden:
            made = hidden[id(t)][1:]
        elif t._op.__class__ is not Leaf and t._key > since and id(t) not in stands:
            made = (t._op, written_operands(t), t._b if t._a.__class__ is tuple else None)
        found.append((t, made))
        for x in made[1] if made is not None else ():
            if isinstance(x, Tensor) and id(x) not in seen:
                seen.add(id(x))
                unique.append(x)
    return found


def _without_tensors(asked: Asked) -> Asked:
    """Let go of the tensors, and of the graph behind them."""
    return replace(asked, operands=tuple(OPERAND if isinstance(x, Tensor) else x for x in asked.operands))


def _index(attrs: dict[str, Any] | None, indices: Indices, places: dict[int, int]) -> tuple[int | None, ...] | None:
    """Return which lines the parts of an index are, None for a part that stays; None if all of it does."""
    index = (attrs or {}).get("index")
    parts = index if isinstance(index, tuple) else (index,)
    found = tuple(places[id(indices[id(part)][1])] if id(part) in indices else None for part in parts)
    return None if all(place is None for place in found) else found


def _leaf(t: Tensor, is_input: bool) -> Line:
    value = value_now(t)
    if not is_input:
        return _constant(value)
    if value.__class__ is float:
        return Line("input", wants=t._makes is not Constant)
    return Line("input", shape=value.shape, dtype=value.dtype, wants=t._makes is not Constant)


def _constant(value: Any) -> Line:
    if value.__class__ is float:
        return Line("const", data=value)
    value = np.asarray(value)
    return Line("const", data=value, shape=value.shape, dtype=value.dtype)


def _op(t: Tensor, op: Any, args: tuple[int, ...], attrs: dict[str, Any] | None, wants: bool) -> Line:
    value = t._data
    shape, dtype = ((), None) if value.__class__ is float else (value.shape, value.dtype)
    path = _PATHS.get(id(op), "")
    return Line("op", getattr(op, "op", op), path, args, attrs, None, shape, dtype, wants)
