"""Arguments taken apart: numbers that a program reads at every call, and all else, which it is made for."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np

from ..admit import admit
from ..tensor import Constant, Frozen, Result, Tensor
from .tape import value_now
from .watching import CannotCompileError

__all__ = ["Arguments", "placed", "taken_apart"]

TENSORS = (Tensor, Result, Constant, Frozen)


class Arguments(NamedTuple):
    """The values among the arguments in order, the Tensors they come from (or None), and what else they are."""

    key: Hashable
    values: Any
    tensors: Any
    chosen: Any  # whether the gradient by it is wanted; None: those whose number is
    others: Any


class _Other:
    """An object that a program is made for: the same one, not an equal one."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Other) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


ATOMS = frozenset({int, bool, str, bytes, type(None), complex})


FLOATS = {float}


def taken_apart(args: tuple[Any, ...], kwargs: dict[str, Any], chosen: frozenset[int] = frozenset()) -> Arguments:
    """Take arguments apart; those ``chosen`` by number are differentiated by, so their ints are numbers too.

    Raises `CannotCompileError` for a Tensor of another class.
    """
    if not kwargs and set(map(type, args)) == FLOATS:
        return Arguments(len(args), args, (None,) * len(args), None, ())
    key: list[Any] = []
    found = Arguments((), [], [], [], [])
    for i, x in enumerate(args):
        _take(x, key, found, i in chosen)
    for name, x in kwargs.items():
        key.append(name)
        _take(x, key, found, False)
    return found._replace(key=tuple(key))


def _take(x: Any, key: list[Any], found: Arguments, chosen: bool) -> None:
    kind = x.__class__
    if kind is float:
        _keep(x, float, None, chosen, key, found)
    elif kind is np.ndarray and x.ndim and x.dtype.kind in "fiub" and x.dtype.isnative:
        _keep(x.view(), (x.shape, x.dtype), None, chosen, key, found)  # an op may lock its operands
    elif kind in (list, tuple, dict) or isinstance(x, list | tuple | dict):
        key.append((kind, tuple(x) if isinstance(x, dict) else len(x)))
        for item in x.values() if isinstance(x, dict) else x:
            _take(item, key, found, chosen)
    elif isinstance(x, Tensor):
        _take_tensor(x, key, found, chosen)
    elif isinstance(x, np.floating | np.ndarray) or (chosen and isinstance(x, int | np.integer | np.bool_)):
        value = admit(x)
        _keep(value, float if value.__class__ is float else (value.shape, value.dtype), None, chosen, key, found)
    else:
        key.append((kind, x) if kind in ATOMS else _Other(x))
        if kind not in ATOMS:
            found.others.append(x)


def _keep(value: Any, shape: Any, t: Tensor | None, chosen: bool, key: list[Any], found: Arguments) -> None:
    key.append(shape)
    found.values.append(value)
    found.tensors.append(t)
    found.chosen.append(chosen)


def _take_tensor(x: Tensor, key: list[Any], found: Arguments, chosen: bool) -> None:
    if x.__class__ not in TENSORS:
        raise CannotCompileError(f"an argument is a {type(x).__name__}, a Tensor of another class")
    value = value_now(x)
    shape = float if value.__class__ is float else (value.shape, value.dtype)
    first = None if chosen else next((i for i, t in enumerate(found.tensors) if t is x and not found.chosen[i]), None)
    key.append((x._makes is Constant, first))
    if first is None:
        _keep(value, shape, x, chosen, key, found)


def placed(args: tuple[Any, ...], kwargs: dict[str, Any], chosen: frozenset[int], stands: list[Any]) -> Any:
    """Return the arguments with ``stands``, in order, in place of what `taken_apart` found."""
    supply = iter(stands)
    known: dict[int, Any] = {}

    def put(x: Any, chosen: bool) -> Any:
        if isinstance(x, dict):
            return {name: put(item, chosen) for name, item in x.items()}
        if isinstance(x, list | tuple):
            items = [put(item, chosen) for item in x]
            return items if isinstance(x, list) else type(x)(*items) if hasattr(x, "_fields") else tuple(items)
        if isinstance(x, Tensor):
            if chosen:
                return next(supply)
            if id(x) not in known:
                known[id(x)] = next(supply)
            return known[id(x)]
        is_number = isinstance(x, float | np.floating | np.ndarray)
        return next(supply) if is_number or (chosen and isinstance(x, int | np.integer | np.bool_)) else x

    return tuple(put(x, i in chosen) for i, x in enumerate(args)), {name: put(x, False) for name, x in kwargs.items()}
