"""Leaves: what no op made, and what happens when their values are changed.

A leaf's value may be assigned, or written to through the array that ``.data`` hands out. Both
count as a new value: the old one is kept beside it, and a node that was made of the old one can
tell (by creation numbers) that it is not current any more.

NumPy tells nobody of a write, and a view outlives every lock on its base. So while somebody holds
the array that was handed out, or a view of it (the count of references to the array says so), the
leaf stays `Exposed`, and every use of it compares the array with what it held before.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from sys import getrefcount
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ShapeError
from . import modes
from .admit import admit
from .modes import Extra
from .sites import OFFSET_BITS, OFFSET_MASK, where

if TYPE_CHECKING:
    from .tensor import Tensor

next_key: Callable[[], int] = itertools.count(1 << OFFSET_BITS, 1 << OFFSET_BITS).__next__


class Leaf:
    """The op of a node that no op made: a parameter, an input or a constant."""

    __slots__ = ("assigned", "name")

    def __init__(self, name: str, *, assigned: bool = False) -> None:
        self.name = name
        self.assigned = assigned  # its value was replaced at least once


PARAM, INPUT, CONST = Leaf("param"), Leaf("input"), Leaf("const")
ASSIGNED = {leaf.name: Leaf(leaf.name, assigned=True) for leaf in (PARAM, INPUT, CONST)}


class Exposed:
    """An array that was handed out for writing, and a copy of what it held: ops use the copy."""

    __slots__ = ("array", "before")

    def __init__(self, array: np.ndarray, before: np.ndarray) -> None:
        self.array = array
        self.before = before


def value_of(t: Any) -> Any:
    """Return the value without handing it out for writing."""
    value = t._data
    return value.array if value.__class__ is Exposed else value


def settle_leaf(t: Tensor) -> Any:
    """Return the value of a leaf that handed out its array, as an op may use it.

    The leaf owns its value again, unless somebody still holds the array or a view of it.
    """
    exposed: Exposed = t._data
    if not identical(exposed.array, exposed.before):
        value = exposed.array.copy()
        value.setflags(write=False)
        _mark_assigned(t, exposed.before)
        exposed.before = value
    exposed.array.setflags(write=False)  # the array itself refuses a late write; views of it do not
    if not held(exposed):
        t._data = exposed.before
    return exposed.before


def identical(a: np.ndarray, b: np.ndarray) -> bool:
    """Tell whether two arrays of one dtype hold the same numbers; -0.0 is another number than 0.0."""
    if not np.array_equal(a, b, equal_nan=True):
        return False
    return a.dtype.kind != "f" or bool(np.array_equal(np.signbit(a), np.signbit(b)))


def held(exposed: Exposed) -> bool:
    """Tell whether anybody else holds the array that was handed out, or a view of it."""
    return getrefcount(exposed.array) > _UNHELD


def _count_unheld() -> int:
    exposed = Exposed(np.zeros(1), np.zeros(1))
    return getrefcount(exposed.array)


_UNHELD = _count_unheld()


def assign(t: Tensor, value: Any) -> None:
    """Give a leaf a new value, copied; its shape and dtype stay."""
    if modes.active:
        modes.told("assigned", t)
    old = t._data
    if old.__class__ is Exposed and value is old.array:
        return  # w.data -= ...: it was changed in place
    before = old.before if old.__class__ is Exposed else old
    new = admit(plain_data(value), what=f"data of {t.label}")
    new = _like(new, before, t)
    t._data = new
    _mark_assigned(t, before)


def replace(t: Tensor, value: Any) -> None:
    """Give a leaf a new value of its shape and dtype that passes into its ownership: nothing is copied."""
    if modes.active:
        modes.told("assigned", t)
    before = settle_leaf(t) if t._data.__class__ is Exposed else t._data
    if before.__class__ is float:
        t._data = float(value)
    else:
        t._data = np.asarray(value, dtype=before.dtype)
        t._data.setflags(write=False)
    _mark_assigned(t, before)


def _like(new: Any, before: Any, t: Tensor) -> Any:
    if np.shape(new) != np.shape(before):
        raise ShapeError(
            f"data of shape {np.shape(new)} assigned to {t.label} of shape {np.shape(before)}",
            where=where(),
            hint="a leaf keeps its shape; make a new Tensor instead",
        )
    if before.__class__ is float or new.__class__ is float or new.dtype == before.dtype:
        return new
    new = new.astype(before.dtype)
    new.setflags(write=False)
    return new


def _mark_assigned(t: Tensor, before: Any) -> None:
    t._op = ASSIGNED[t._op.name]
    t._key = next_key() | (t._key & OFFSET_MASK)
    t._extra = (t._extra or Extra())._replace(was=(before, t._grad))


def plain_data(value: Any) -> Any:
    """Return the numbers of ``value``, which may be a Tensor."""
    return value.detach().data if hasattr(value, "detach") else value
