"""The door: what may enter a graph, and in which form it is kept.

A scalar is kept as a Python float (30 times cheaper than a 0-d array), anything else as a
NumPy array of the graph's own. Arrays handed in are copied, so changing them afterwards
cannot change a gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import GradvizTypeError
from .sites import where

Number = float | np.ndarray
SCALARS = (float, int, bool)
REAL = frozenset("fiub")  # kinds of dtypes


def admit(value: Any, *, what: str = "operand") -> Any:
    """Return ``value`` as the graph keeps it: a Python float, or a read-only copy of an array.

    >>> admit(2), admit([1, 2])
    (2.0, array([1., 2.]))
    """
    if value.__class__ in SCALARS:
        return _as_float(value, what)
    if isinstance(value, np.ndarray | np.generic):
        if hasattr(value, "mask"):
            raise _refusal(what, "a masked array, whose mask would be lost")
        return _owned(np.array(value, copy=True, subok=False), what)
    if isinstance(value, int | float):
        return _as_float(value, what)
    return _owned(_from_sequence(value, what), what)


def _as_float(value: Any, what: str) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise GradvizTypeError(
            f"{what} {str(value)[:20]}... is an integer too large for float64", where=where()
        ) from error


def _from_sequence(value: Any, what: str) -> np.ndarray:
    """Turn a list (of lists) of numbers into float64, as ``torch.tensor`` users expect."""
    try:
        array = np.array(np.asarray(value) if hasattr(value, "__array__") else value)
    except GradvizTypeError:  # a list of Tensors, which says itself what to do
        raise
    except (ValueError, TypeError, RuntimeError) as error:
        raise _refusal(what, f"{type(value).__name__} that is not a regular array of numbers") from error
    if array.dtype.kind in "iu" and not hasattr(value, "__array__"):
        return array.astype(np.float64)
    return array


def _owned(array: np.ndarray, what: str) -> Any:
    if array.dtype.kind not in REAL:
        kind = "complex numbers" if array.dtype.kind == "c" else f"dtype {array.dtype}"
        raise _refusal(what, f"{kind}, value {_short(array)}", HINTS.get(array.dtype.kind, ""))
    if array.ndim == 0 and array.dtype == np.float64:
        return float(array)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    array.setflags(write=False)
    return array


def _short(array: np.ndarray) -> str:
    text = repr(array.item()) if array.ndim == 0 else f"of shape {array.shape}"
    return text[:60]


HINTS = {
    "c": "give a real array: .real and .imag",
    "O": "give an array of numbers, as .astype(float) makes it",
    "U": "give numbers: float(text), or .astype(float)",
    "S": "give numbers: float(text), or .astype(float)",
    "M": "give numbers: the difference to a date, divided by np.timedelta64(1, 's')",
    "m": "give numbers: divide by np.timedelta64(1, 's')",
}


def _refusal(what: str, found: str, hint: str = "") -> GradvizTypeError:
    return GradvizTypeError(
        f"{what} holds {found}; gradviz differentiates real numbers only",
        where=where(),
        hint=hint,
    )


def number(value: Any) -> Any:
    """Return a single whole number of NumPy as a float, as an int of Python is kept; the rest as it is."""
    whole = value.__class__ is np.ndarray and value.ndim == 0 and value.dtype.kind in "iub"
    return float(value) if whole else value


def differentiable(value: Any, name: str | None) -> Any:
    """Return ``value`` if a gradient can be taken by it, that is, if it is floating point.

    Raises `GradvizTypeError` for integer and boolean arrays.
    """
    if value.__class__ is float or value.dtype.kind == "f":
        return value
    shown = f"Tensor {name!r}" if name else "a Tensor"
    raise GradvizTypeError(
        f"{shown} of dtype {value.dtype} cannot require a gradient",
        where=where(),
        hint="use .astype(float), or Tensor(..., requires_grad=False) for labels and indices",
    )


def settle(data: Any) -> Any:
    """Return the result of an op as the graph keeps it: float64 scalars as Python floats."""
    if data.__class__ is float:
        return data
    array = np.asarray(data)
    if array.dtype.kind not in REAL:
        raise TypeError(f"the result holds {array.dtype}, not real numbers")
    return float(array) if array.ndim == 0 and array.dtype == np.float64 else array
