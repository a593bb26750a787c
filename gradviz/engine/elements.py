"""Whether an op has made a NaN or an infinity itself, element by element: asked where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np

from .leaves import Exposed
from .structure import written_operands
from .tensor import Tensor

__all__ = ["born", "values_used"]


def born(out: Tensor, kind: str) -> bool:
    """Tell whether an op made a NaN (``"nan"``) of operands without, or an infinity (``"inf"``) of finite ones.

    Where each element of the result belongs to one of each operand, only those count.

    >>> x = Tensor([1.0, 0.0])
    >>> with np.errstate(divide="ignore", invalid="ignore"):
    ...     y = np.log(x)
    ...     z = y - y
    >>> born(y, "inf"), born(y, "nan"), born(y * 2.0, "inf"), born(z, "nan")
    (True, False, False, True)
    """
    test, spoils = (np.isnan, np.isnan) if kind == "nan" else (np.isinf, _is_not_finite)
    found = np.asarray(test(out._data))
    if not found.any():
        return False
    op = getattr(out._op, "op", out._op)
    for x in values_used(out):
        spoiled = spoils(x)
        if not np.any(spoiled):
            continue
        if not op.elementwise or np.broadcast_shapes(np.shape(spoiled), found.shape) != found.shape:
            return False
        found = found & ~np.broadcast_to(spoiled, found.shape)
    return bool(found.any())


def values_used(out: Tensor) -> list[Any]:
    """Return the values of the operands of an op that has just been computed, as they were written."""
    values = [x._data if isinstance(x, Tensor) else x for x in written_operands(out)]
    return [value.before if value.__class__ is Exposed else value for value in values]


def _is_not_finite(x: Any) -> Any:
    return ~np.isfinite(x)
