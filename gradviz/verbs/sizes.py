"""The numbers of one row of a run in a form to be shown: arrays by their norms, NaN as JSON can hold it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["plain", "size_of"]


def size_of(row: dict[str, Any], name: str, part: str) -> float | None:
    """Return a recorded scalar, or the norm of an array, of one row.

    >>> size_of({"w": 2.5, "W.norm": 3.0, "V": np.array([3.0, 4.0])}, "w", "")
    2.5
    >>> size_of({"V.grad": np.array([3.0, 4.0])}, "V", ".grad")
    5.0
    """
    key = name + part
    number = row.get(key, row.get(f"{key}.norm"))
    stats = row.get(f"{key}.stats")
    if number is None and stats is not None:
        number = stats["norm"] if np.asarray(stats).dtype.names else stats[3]
    if number is None:
        return None
    return float(number) if np.ndim(number) == 0 else float(np.linalg.norm(np.asarray(number, float)))


def plain(number: Any) -> float | str:
    """Return a number as JSON can hold it, NaN and infinities as text."""
    value = float(number)
    return value if math.isfinite(value) else repr(value)
