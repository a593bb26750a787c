"""Whether a number or an array is finite, as quickly as can be told: asked of every op that is watched."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["is_finite"]

LARGE = 4096  # elements; below that looking at each costs less than making sure that nothing warns


def is_finite(x: Any) -> bool:
    """Tell whether there is neither a NaN nor an infinity in a float, an array, or whatever is no number.

    The product of a large array with itself is finite only if every element is, and reads it once without
    writing; where it is not, because of an element or because it overflows, every element is looked at.

    >>> is_finite(1e300), is_finite(np.array([1.0, np.inf])), is_finite(np.full(5000, 1e200))
    (True, False, True)
    """
    if x.__class__ is float:
        return math.isfinite(x)
    kind = x.dtype.kind if isinstance(x, np.ndarray | np.generic) else ""
    if kind not in "fc" or not kind:
        return kind != "" or x is None or math.isfinite(x)
    if x.size > LARGE and kind == "f" and (x.flags.c_contiguous or x.flags.f_contiguous):
        flat = x.ravel(order="K")
        with np.errstate(all="ignore"):
            if math.isfinite(flat.dot(flat)):
                return True
    return bool(np.isfinite(x).all())
