"""NumPy's own functions on Tensors: ``np.sin(t)``, ``np.sum(t, axis=0)``, ``np.where(c, t, u)``.

NumPy hands over a call that meets a Tensor (NEP 13 and NEP 18). Differentiable functions are
recorded by the op registered for them; questions about shapes and comparisons are answered on
the plain numbers; anything else is refused by name, never quietly done without a gradient.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from ..errors import GradvizTypeError, ShapeError, suggestion
from . import modes
from .leaves import value_of
from .registry import FUNCTIONS, OPS
from .sites import where
from .tensor import Tensor

# Functions whose answer carries no gradient by nature.
PLAIN: frozenset[Callable[..., Any]] = frozenset(
    {
        *(
            np.shape,
            np.ndim,
            np.size,
            np.argmax,
            np.argmin,
            np.argsort,
            np.argwhere,
            np.nonzero,
            np.flatnonzero,
        ),
        *(
            np.isclose,
            np.allclose,
            np.array_equal,
            np.array_equiv,
            np.any,
            np.all,
            np.count_nonzero,
            np.searchsorted,
        ),
        *(np.zeros_like, np.ones_like, np.empty_like, np.full_like, np.result_type, np.can_cast, np.digitize),
        *(
            np.array_repr,
            np.array_str,
            np.array2string,
            np.save,
            np.savetxt,
            np.histogram,
            np.iscomplexobj,
            np.isrealobj,
        ),
    }
)
# Those that depend on shapes and dtypes alone, or show numbers to people.
STRUCTURAL: frozenset[Callable[..., Any]] = frozenset(
    {
        *(np.shape, np.ndim, np.size, np.zeros_like, np.ones_like, np.empty_like, np.full_like),
        *(np.result_type, np.can_cast, np.iscomplexobj, np.isrealobj),
        *(np.array_repr, np.array_str, np.array2string, np.save, np.savetxt),
    }
)
PLAIN_UFUNCS: frozenset[np.ufunc] = frozenset(
    {
        *(
            np.greater,
            np.greater_equal,
            np.less,
            np.less_equal,
            np.equal,
            np.not_equal,
            np.isnan,
            np.isinf,
            np.isfinite,
        ),
        *(np.signbit, np.logical_and, np.logical_or, np.logical_not, np.logical_xor),
    }
)
# A ufunc's reduce is another function's name.
REDUCTIONS: dict[np.ufunc, Callable[..., Any]] = {
    np.add: np.sum,
    np.multiply: np.prod,
    np.maximum: np.max,
    np.minimum: np.min,
}
ACCUMULATIONS: dict[np.ufunc, Callable[..., Any]] = {np.add: np.cumsum, np.multiply: np.cumprod}
# Arguments that NumPy passes along even when nobody gave them, or that change no value.
IDLE: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("keepdims", "initial", "ddof", "mean", "correction"), (np._NoValue,)),
    **dict.fromkeys(("dtype", "device"), (None,)),
    "casting": ("same_kind",),
    "copy": (None, True),
    "kind": (None, "quicksort", "mergesort", "heapsort", "stable"),
    "mode": ("raise",),
    "order": (None, "C"),
    "out": (None, (None,)),
    "stable": (None, True, False),
    "subok": (True, False),
    "where": (True, np._NoValue),
}


def array_ufunc(self: Tensor, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """Answer for a ufunc that met a Tensor."""
    if method == "reduce" and ufunc in REDUCTIONS:
        return array_function(self, REDUCTIONS[ufunc], (), inputs, {"axis": 0, **kwargs})
    if method == "accumulate" and ufunc in ACCUMULATIONS:
        return array_function(self, ACCUMULATIONS[ufunc], (), inputs, {"axis": 0, **kwargs})
    if method == "__call__" and not (kwargs and _busy(kwargs)):
        ours = FUNCTIONS.get(ufunc)
        if ours is not None:
            return ours(*inputs)
        if ufunc in PLAIN_UFUNCS:
            return _answered(ufunc, inputs)
    name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    raise _unknown(name, _busy(kwargs))


def array_function(self: Tensor, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """Answer for a NumPy function that met a Tensor."""
    if function in PLAIN:
        answer = function(*(_plain(x) for x in args), **{k: _plain(v) for k, v in kwargs.items()})
        if not modes.active or function in STRUCTURAL:
            return answer
        if any(isinstance(v, Tensor) for v in kwargs.values()):
            modes.told("refuse", f"it calls {function.__name__} with a Tensor as keyword")
        return modes.told("answered", partial(function, **kwargs) if kwargs else function, tuple(args), answer)
    ours = FUNCTIONS.get(function)
    if ours is None:
        raise _unknown(function.__name__, "")
    args, kwargs = _translated(function, ours, args, kwargs)
    return ours(*args, **kwargs)


class Signatures(NamedTuple):
    """How the parameters of a NumPy function and of ours correspond."""

    leading: int  # so many can be passed on by position
    theirs: tuple[str, ...]  # the names of NumPy's positional parameters
    renamed: dict[str, str]  # where ours has another name at the same position
    accepted: frozenset[str]  # the names ours takes


@cache
def _signatures(function: Callable[..., Any], ours: Callable[..., Any]) -> Signatures | None:
    """Compare two signatures; None where NumPy's is not known or takes any number of arrays."""
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters.values()):
        return None
    theirs = tuple(name for name, p in parameters.items() if p.kind < p.VAR_POSITIONAL)
    own = tuple(inspect.signature(ours).parameters)
    pairs = list(zip(theirs, own, strict=False))
    renamed = {a: b for a, b in pairs if a not in own and b not in parameters}
    alike = [a == b or a in renamed for a, b in pairs]
    leading = (*alike, False).index(False)
    return Signatures(leading, theirs, renamed, frozenset(own))


def _translated(
    function: Callable[..., Any], ours: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Turn a call of a NumPy function into one of ours: unused arguments go, others by their name."""
    known = _signatures(function, ours)
    if known is None:
        return args, {k: v for k, v in kwargs.items() if not _idle(k, v)}
    if len(args) > known.leading:
        kwargs = {**dict(zip(known.theirs[known.leading :], args[known.leading :], strict=False)), **kwargs}
        args = args[: known.leading]
    busy = {known.renamed.get(k, k): v for k, v in kwargs.items() if not _idle(k, v)}
    unknown = busy.keys() - known.accepted
    if unknown:
        raise _unknown(function.__name__, ", ".join(sorted(unknown)))
    return args, busy


def _plain(x: Any) -> Any:
    """Replace Tensors, also inside lists and tuples, by their numbers."""
    if isinstance(x, Tensor):
        return value_of(x)
    if isinstance(x, list | tuple) and any(isinstance(i, Tensor) for i in x):
        return type(x)(_plain(i) for i in x)
    return x


def _idle(key: str, value: Any) -> bool:
    return any(_same(value, idle) for idle in IDLE.get(key, ()))


def _same(value: Any, idle: Any) -> bool:
    if isinstance(value, tuple) and isinstance(idle, tuple):
        return len(value) == len(idle) and all(a is b for a, b in zip(value, idle, strict=True))
    return value is idle or (isinstance(value, str | bool) and bool(value == idle))


def _busy(kwargs: dict[str, Any]) -> str:
    return ", ".join(key for key, value in kwargs.items() if not _idle(key, value))


def _unknown(name: str, arguments: str) -> GradvizTypeError:
    if name in known_names() and arguments:
        return GradvizTypeError(
            f"np.{name} on a Tensor takes no {arguments}",
            where=where(),
            hint="leave it out, and use the result instead",
        )
    return GradvizTypeError(
        f"np.{name} has no derivative rule in gradviz",
        where=where(),
        hint=f"{suggestion(name, known_names())}; use .numpy() if no gradient is wanted, or register_op",
    )


def known_names() -> list[str]:
    """Return the names of the NumPy functions that work on Tensors."""
    return sorted({f.__name__ for f in FUNCTIONS} | set(OPS))


def _answered(ufunc: np.ufunc, inputs: tuple[Any, ...]) -> Any:
    """Answer a question about plain numbers, such as a comparison."""
    plain = [_plain(x) for x in inputs]
    try:
        answer = ufunc(*plain)
        return modes.told("answered", ufunc, inputs, answer) if modes.active else answer
    except ValueError as error:
        shapes = " and ".join(str(np.shape(x)) for x in plain)
        raise ShapeError(f"{ufunc.__name__} of shapes {shapes}, which do not broadcast", where=where()) from error


def _compare(ufunc: np.ufunc, compare: Callable[[Any, Any], Any]) -> Callable[[Tensor, Any], Any]:
    def method(self: Tensor, other: Any) -> Any:
        try:
            return _answered(ufunc, (self, other))
        except TypeError:  # no numbers: as Python compares the value with it
            return compare(value_of(self), other)

    method.__doc__ = f"Return ``{ufunc.__name__}(self, other)`` as plain booleans."
    return method


class NoMask:
    """What `numpy.ma` finds where it looks for the mask of a Tensor: it refuses to be combined with one."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.__array_ufunc__()

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> Any:
        raise GradvizTypeError(
            "a masked array met a Tensor: its mask would be lost, or the gradient",
            where=where(),
            hint="use np.where(mask, ..., ...), or .filled(...)",
        )


def install() -> None:
    """Give `Tensor` NumPy's protocols and the comparison operators."""
    methods: dict[str, Any] = {
        "_mask": NoMask(),
        "__array_ufunc__": array_ufunc,
        "__array_function__": array_function,
        **{
            f"__{name}__": _compare(ufunc, getattr(operator, name))
            for name, ufunc in {
                "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
                "eq": np.equal, "ne": np.not_equal,
            }.items()
        },
    }  # fmt: skip
    for name, method in methods.items():
        setattr(Tensor, name, method)


__all__ = ["array_function", "array_ufunc", "install", "known_names"]
