"""What an expression may compute with: operators, a few functions by their usual names, and those of NumPy."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np

from gradviz.debugger.sizes import refuse_large
from gradviz.errors import GradvizTypeError, GradvizValueError, UnknownNameError

__all__ = ["KEYWORDS", "OPERATORS", "PLAIN_FUNCTIONS", "computed", "of_numpy", "read_only"]

LARGEST_POWER = 4096  # bits of a power of whole numbers, which have no bounds of their own
OPERATORS: Mapping[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.MatMult: operator.matmul,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Invert: operator.invert,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
PLAIN_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "all": np.all,
    "any": np.any,
    "float": float,
    "int": int,
    "isfinite": np.isfinite,
    "isinf": np.isinf,
    "isnan": np.isnan,
    "len": len,
    "max": lambda x, *more: reduce(np.maximum, more, x) if more else np.max(x),
    "mean": np.mean,
    "min": lambda x, *more: reduce(np.minimum, more, x) if more else np.min(x),
    "norm": lambda x: float(np.linalg.norm(np.asarray(x).ravel())),
    "round": np.round,
    "shape": np.shape,
    "std": np.std,
    "sum": np.sum,
}
# fmt: off
OF_NUMPY = frozenset((
    "abs", "all", "allclose", "any", "argmax", "argmin", "argsort", "arange", "array", "array_equal", "asarray",
    "average", "clip", "concatenate", "count_nonzero", "cumsum", "diag", "diff", "dot", "histogram", "inf",
    "inner", "linspace", "max", "mean", "median", "min", "nan", "nanmax", "nanmean", "nanmin", "nansum", "ndim",
    "newaxis", "nonzero", "ones", "outer", "percentile", "pi", "prod", "quantile", "ravel", "reshape", "round",
    "shape", "size", "sort", "squeeze", "stack", "std", "sum", "trace", "transpose", "unique", "var", "vdot", "where",
    "zeros",
))
KEYWORDS = frozenset((
    "a_max", "a_min", "atol", "axis", "axis1", "axis2", "bins", "ddof", "decimals", "density", "dtype", "endpoint",
    "equal_nan", "initial", "k", "keepdims", "max", "min", "n", "ndigits", "num", "offset", "ord", "q", "range",
    "return_counts", "rtol", "shape", "step", "weights",
))
# fmt: on


def computed(operation: Callable[..., Any], left: Any, right: Any) -> Any:
    """Return what an operator makes of two numbers or arrays; a single one divides and overflows as in arrays.

    >>> computed(operator.truediv, -1.0, 0), computed(operator.pow, 10.0, 400), computed(operator.pow, -8.0, 0.5)
    (-inf, inf, nan)
    """
    for x in (left, right):
        if not isinstance(x, bool | int | float | complex | np.generic | np.ndarray):
            raise GradvizTypeError(f"{type(x).__name__}: only numbers are computed with", hint="np.array([1, 2]) + w")
    refuse_large("matmul" if operation is operator.matmul else "the operation", [left, right], {})
    are_whole = isinstance(left, int) and isinstance(right, int)
    if operation is operator.pow and are_whole and right > 0 and left.bit_length() * right > LARGEST_POWER:
        raise GradvizValueError(f"the power {right} of {left} is too large")
    try:
        found = operation(left, right)
    except (ZeroDivisionError, OverflowError):
        with np.errstate(all="ignore"):
            found = float(operation(np.float64(left), np.float64(right)))
    is_new = isinstance(found, complex) and not any(isinstance(x, complex | np.ndarray) for x in (left, right))
    return np.nan if is_new else found


def read_only(x: Any) -> Any:
    """Return an array as something that nothing can write to.

    >>> read_only(np.zeros(2)).flags.writeable
    False
    """
    if not isinstance(x, np.ndarray):
        return x
    found = x.view()
    found.flags.writeable = False
    return found


def of_numpy(parts: list[str]) -> Any:
    """Return a function or constant of NumPy that only computes."""
    name = ".".join(parts)
    found = getattr(np, name, None) if len(parts) == 1 else None
    if parts == ["linalg", "norm"]:
        return np.linalg.norm
    if not isinstance(found, np.ufunc) and name not in OF_NUMPY:
        raise UnknownNameError(
            f"np.{name[:80]} cannot be used in an expression", hint="np has what computes: np.sum, np.exp"
        )
    return found
