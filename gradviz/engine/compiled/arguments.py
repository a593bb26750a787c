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
COLLECTIONS = frozenset({list, tuple, dict})


def taken_apart(args: tuple[Any, ...], kwargs: dict[str, Any], chosen: frozenset[int] = frozenset()) -> Arguments:
    """Take arguments apart; those ``chosen`` by number are differentiated by, so their ints are numbers too.

    Raises `CannotCompileError` for a Tensor of another class.
    """
    if not kwargs and set(map(type, args)) == FLOATS:
        return Arguments(len(args), args, (None,) * len(args), None, ())
    taking = _Taking()
    for i, x in enumerate(args):
        taking.take(x, i in chosen)
    for name, x in kwargs.items():
        taking.key.append(name)
        taking.take(x, False)
    return Arguments(tuple(taking.key), taking.values, taking.tensors, taking.chosen, taking.others)


class _Taking:
    """What has been found so far."""

    __slots__ = ("chosen", "key", "known", "others", "tensors", "values")

    def __init__(self) -> None:
        self.key: list[Any] = []
        self.values: list[Any] = []
        self.tensors: list[Tensor | None] = []
        self.chosen: list[bool] = []
        self.others: list[Any] = []
        self.known: dict[int, int] = {}

    def take(self, x: Any, chosen: bool) -> None:
        """Take one argument, or a part of one."""
        kind = x.__class__
        if kind is float:
            self._keep(x, float, None, chosen)
        elif kind is np.ndarray and x.ndim and x.dtype.kind in "fiub" and x.dtype.isnative:
            self._keep(x.view(), (x.shape, x.dtype), None, chosen)  # an op may lock its operands
        elif kind in COLLECTIONS or isinstance(x, list | tuple | dict):
            self._take_all(x, chosen)
        elif isinstance(x, Tensor):
            self._take_tensor(x, chosen)
        elif isinstance(x, np.floating | np.ndarray) or (chosen and isinstance(x, int | np.integer | np.bool_)):
            value = admit(x)
            self._keep(value, float if value.__class__ is float else (value.shape, value.dtype), None, chosen)
        elif kind in ATOMS:
            self.key.append((kind, x))
        else:
            self.key.append(_Other(x))
            self.others.append(x)

    def _keep(self, value: Any, shape: Any, t: Tensor | None, chosen: bool) -> None:
        self.key.append(shape)
        self.values.append(value)
        self.tensors.append(t)
        self.chosen.append(chosen)

    def _take_all(self, x: Any, chosen: bool) -> None:
        is_dict = isinstance(x, dict)
        items = tuple(x.values()) if is_dict else x
        if set(map(type, items)) == FLOATS:
            count = len(items)
            self.key.append((x.__class__, tuple(x) if is_dict else count, float))
            self.values.extend(items)
            self.tensors.extend((None,) * count)
            self.chosen.extend((chosen,) * count)
            return
        self.key.append((x.__class__, tuple(x) if is_dict else len(x)))
        for item in items:
            self.take(item, chosen)

    def _take_tensor(self, x: Tensor, chosen: bool) -> None:
        """Take a Tensor; one that comes twice is one value, unless gradients by its places are wanted."""
        if x.__class__ not in TENSORS:
            raise CannotCompileError(f"an argument is a {type(x).__name__}, a Tensor of another class")
        first = None if chosen else self.known.setdefault(id(x), len(self.values))
        if first is not None and first < len(self.values):
            self.key.append(("again", first))
            return
        value = value_now(x)
        self.key.append(x._makes is Constant)
        self._keep(value, float if value.__class__ is float else (value.shape, value.dtype), x, chosen)


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
