"""How large the result of a computation would be, told before it is made: a slip of the finger fills no memory."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil, prod
from typing import Any

import numpy as np

from gradviz.errors import GradvizTypeError, GradvizValueError

__all__ = ["LARGEST", "checked", "refuse_large"]

LARGEST = 1 << 26  # elements of an array made in an expression; half a gigabyte of float64
LARGEST_INTEGER = 4096  # bits
MOST_TIMES = 1000  # that np.diff takes differences
PLAIN = (bool, int, float, complex, str, tuple, list, slice, type(None), type(...), np.generic, np.ndarray, np.dtype)
NUMBERS = "biufc"


def checked(x: Any) -> Any:
    """Return a result if it is plain data; raises GradvizTypeError or GradvizValueError for anything else.

    >>> checked(np.array([{}]))
    Traceback (most recent call last):
        ...
    gradviz.errors.GradvizTypeError: an array of object cannot be used in an expression
    """
    if not isinstance(x, PLAIN):
        raise GradvizTypeError(f"a {type(x).__name__} cannot be used in an expression")
    if isinstance(x, np.ndarray) and x.dtype.kind not in NUMBERS:
        raise GradvizTypeError(f"an array of {x.dtype} cannot be used in an expression")
    if isinstance(x, int) and x.bit_length() > LARGEST_INTEGER:
        raise GradvizValueError(f"a whole number of {x.bit_length():,} bits: the limit is {LARGEST_INTEGER:,}")
    return x


def refuse_large(name: str, args: Sequence[Any], keywords: Mapping[str, Any]) -> None:
    """Raise GradvizValueError if a function would make an array that is too large, or of anything but numbers.

    >>> refuse_large("ones", [(10**6, 10**6)], {})
    Traceback (most recent call last):
        ...
    gradviz.errors.GradvizValueError: ones would make an array of 1,000,000,000,000 elements: the limit is 67,108,864
    """
    given = [*args, *keywords.values()]
    arrays = list(_arrays(given))
    size = max(_broadcast(arrays), sum(x.size for x in arrays), MADE.get(name, _nothing)(args, keywords))
    if size > LARGEST and size > 2 * max((x.size for x in arrays), default=0):
        raise GradvizValueError(f"{name} would make an array of {size:,} elements: the limit is {LARGEST:,}")
    for text in (x for x in given if isinstance(x, str)):
        if not _is_numeric(text):
            raise GradvizTypeError(f"{text[:80]!r} is no kind of number")


def _arrays(given: Sequence[Any]) -> Iterator[np.ndarray]:
    """Yield the arrays among the arguments, also those in lists."""
    for x in given:
        if isinstance(x, np.ndarray):
            yield x
        elif isinstance(x, list | tuple):
            yield from _arrays(x)


def _broadcast(arrays: Sequence[np.ndarray]) -> int:
    """Return the size of all arrays against each other; 0 if they do not fit."""
    shape: list[int] = []
    for array in arrays:
        longer, shorter = sorted((shape, list(array.shape)), key=len, reverse=True)
        padded = [1] * (len(longer) - len(shorter)) + shorter
        shape = [max(a, b) if a and b else 0 for a, b in zip(longer, padded, strict=True)]
    return prod(shape)


def _is_numeric(text: str) -> bool:
    """Tell whether a text, taken for a dtype, is one of numbers; a text that is no dtype means something else."""
    try:
        return np.dtype(text).kind in NUMBERS
    except (TypeError, ValueError, SyntaxError):
        return True


def _argument(place: int, name: str, otherwise: Any = 0) -> Callable[[Sequence[Any], Mapping[str, Any]], Any]:
    return lambda args, keywords: args[place] if len(args) > place else keywords.get(name, otherwise)


def _filled(args: Sequence[Any], keywords: Mapping[str, Any]) -> int:
    return prod(map(operator.index, np.atleast_1d(_argument(0, "shape")(args, keywords)).ravel().tolist()))


def _arange(args: Sequence[Any], keywords: Mapping[str, Any]) -> int:
    start, stop, step = (*args, keywords.get("step", 1))[:3] if len(args) > 1 else (0, args[0] if args else 0, 1)
    return max(0, ceil((stop - start) / step)) if step else 0


def _outer(args: Sequence[Any], keywords: Mapping[str, Any]) -> int:
    return prod(np.size(x) for x in args[:2])


def _product(args: Sequence[Any], keywords: Mapping[str, Any]) -> int:
    """Return the size of a matrix product, or a bound of it."""
    left, right = (np.shape(x) for x in (*args, (), ())[:2])
    return prod((*left[:-1], *right[:-2], *right[-1:]))


def _inner(args: Sequence[Any], keywords: Mapping[str, Any]) -> int:
    return prod(prod(np.shape(x)[:-1]) for x in args[:2])


def _diag(args: Sequence[Any], keywords: Mapping[str, Any]) -> int:
    off = abs(operator.index(_argument(1, "k")(args, keywords)))
    return (np.size(args[0]) + off) ** 2 if args and np.ndim(args[0]) == 1 else 0


def _diff(args: Sequence[Any], keywords: Mapping[str, Any]) -> int:
    if _argument(1, "n", 1)(args, keywords) > MOST_TIMES:
        raise GradvizValueError(f"differences are taken at most {MOST_TIMES:,} times")
    return 0


def _quantiles(args: Sequence[Any], keywords: Mapping[str, Any]) -> int:
    axis = _argument(2, "axis", None)(args, keywords)
    return _outer(args, keywords) if axis is not None else 0


def _bins(args: Sequence[Any], keywords: Mapping[str, Any]) -> int:
    bins = _argument(1, "bins", 10)(args, keywords)
    return bins if isinstance(bins, int) else 0


def _nothing(args: Sequence[Any], keywords: Mapping[str, Any]) -> int:
    return 0


MADE: Mapping[str, Callable[[Sequence[Any], Mapping[str, Any]], int]] = {
    "ones": _filled,
    "zeros": _filled,
    "arange": _arange,
    "linspace": lambda args, keywords: operator.index(_argument(2, "num", 50)(args, keywords)),
    "histogram": _bins,
    "outer": _outer,
    "dot": _product,
    "matmul": _product,
    "inner": _inner,
    "diag": _diag,
    "diff": _diff,
    "percentile": _quantiles,
    "quantile": _quantiles,
}
