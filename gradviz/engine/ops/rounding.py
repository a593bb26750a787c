"""Step functions: signs and rounding. Their derivative is 0 wherever they have one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..registry import primitive
from .samples import binary, unary

__all__ = [
    "ceil",
    "floor",
    "floor_divide",
    "rint",
    "round",
    "sign",
    "trunc",
]


def _zero(g: Any, y: Any, *args: Any, **attrs: Any) -> Any:
    return g * 0.0


step = functools.partial(primitive, elementwise=True)


def _rounded(function: Callable[..., Any], doc: str, *also: Callable[..., Any]) -> Any:
    def forward(x: Any) -> Any:
        return function(x)

    forward.__name__, forward.__doc__ = function.__name__, doc
    return step(_zero, formulas=("0",), samples=unary(0.2, 0.4), implements=(function, *also))(forward)


sign = _rounded(np.sign, "Return -1, 0 or 1: the sign. Its derivative is 0.")
floor = _rounded(np.floor, "Round down. Its derivative is 0.")
ceil = _rounded(np.ceil, "Round up. Its derivative is 0.")
trunc = _rounded(np.trunc, "Round towards 0. Its derivative is 0.", np.fix)
rint = _rounded(np.rint, "Round to the nearest integer. Its derivative is 0.")


@step(_zero, formulas=("0",), samples=unary(0.2, 0.4), implements=(np.round, np.around))
def round(x: Any, decimals: int = 0) -> Any:
    """Round to so many ``decimals``, halves to even. Its derivative is 0."""
    return np.round(x, decimals)


@step(
    _zero, _zero, name="floordiv", symbol="//", formulas=("0", "0"), samples=binary(0.3, 0.9, 1, 2),
    implements=(np.floor_divide,),
)  # fmt: skip
def floor_divide(x: Any, y: Any) -> Any:
    """Return ``x / y`` rounded down. Its derivative is 0.

    >>> from gradviz import Tensor
    >>> Tensor(7.0) // 2
    Tensor(3.0)
    """
    return np.floor_divide(x, y)
