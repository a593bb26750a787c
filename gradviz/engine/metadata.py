"""Metadata of an op, such as ``axis=0`` or an index: kept as a copy that nobody can change.

The backward pass reads it again, so a list or array the user goes on using must not be it.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..errors import GradvizTypeError
from . import modes
from .leaves import value_of
from .sites import where
from .tensor import Tensor

ATOMS = frozenset({int, float, bool, str, type(None), type(Ellipsis)})


def plain(value: Any, owner: str, key: str) -> Any:
    """Return metadata as it is kept: arrays, also inside lists and tuples, are read-only copies.

    Raises `GradvizTypeError` for a Tensor, through which no gradient could flow; a Tensor of
    integers or booleans, which has none, counts as its numbers.
    """
    kind = value.__class__
    if kind in ATOMS:
        return value
    if isinstance(value, Tensor):
        return _numbers(value, owner, key)
    if isinstance(value, np.ndarray):
        return frozen(value)
    if kind is tuple or kind is list:
        return kind(plain(item, owner, key) for item in value)
    if kind is slice:
        return slice(*(_bound(part, owner, key) for part in (value.start, value.stop, value.step)))
    return value


def frozen(array: np.ndarray) -> np.ndarray:
    """Return a read-only copy."""
    array = np.array(array)
    array.setflags(write=False)
    return array


def shortened(value: Any) -> str:
    """Return metadata as an error shows it: an array by its shape, the rest cut short."""
    if isinstance(value, np.ndarray) and value.size > 6:
        return f"array of shape {value.shape}"
    if isinstance(value, tuple):
        rest = ", ..." if len(value) > 6 else "," if len(value) == 1 else ""
        return f"({', '.join(shortened(item) for item in value[:6])}{rest})"
    text = repr(value.tolist() if isinstance(value, np.ndarray | np.generic) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def _numbers(value: Tensor, owner: str, key: str) -> Any:
    if value.requires_grad or value.dtype.kind not in "iub":
        raise GradvizTypeError(
            f"{owner}: {key} cannot be {value.label}, a Tensor of {value.dtype}: no gradient flows through it",
            where=where(),
            hint="give numbers, or use .item(), .numpy() or .astype(int)",
        )
    numbers = frozen(np.asarray(value_of(value)))
    return modes.told("chosen_by", value, owner, numbers) if modes.active else numbers


def _bound(value: Any, owner: str, key: str) -> Any:
    """Return one bound of a slice as an int, where it is one in other clothes."""
    if value.__class__ in ATOMS:
        return value
    value = plain(value, owner, key)
    return operator.index(value) if hasattr(value, "__index__") else value
