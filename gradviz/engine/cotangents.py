"""Cotangents on their way down: accumulate them, and bring them to the shape they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from sys import getrefcount
from typing import Any

import numpy as np

from ..errors import GradvizError, GradvizTypeError, GradvizValueError, ShapeError, StaleValueError
from .leaves import Exposed, Leaf, settle_leaf
from .sites import place
from .tensor import Constant, Result, Tensor, site

PENDING: Any = type("Pending", (), {"__repr__": lambda self: "<no gradient yet>"})()


IN_PLACE_SIZE = 16384  # elements; below that a new array costs less than finding out


def give(t: Tensor, c: Any) -> None:
    """Add the cotangent ``c``, already of the shape of ``t``, to its gradient.

    The first is kept by reference; a sum that nobody else holds is added to in place.
    """
    had = t._grad
    t._grad = c if had is PENDING else total(had, c)


def total(had: Any, c: Any) -> Any:
    """Return ``had + c``, in place if ``had`` is large and held by one gradient slot and the caller only."""
    if had.__class__ is float:
        return had + c
    if had.size < IN_PLACE_SIZE or getrefcount(had) > _SHARED or had.base is not None or not had.flags.writeable:
        added = had + c
        return added if added.__class__ is np.ndarray else np.asarray(added)
    return np.add(had, c, out=had)


def _holders(had: Any) -> int:
    return getrefcount(had)


def _count_shared() -> int:
    """Count the references `total` sees to an array that a gradient slot and its caller hold."""
    t = Tensor(0.0)
    t._grad = np.zeros(1)
    had = t._grad
    return _holders(had)


_SHARED = _count_shared()


def alone(t: Tensor) -> bool:
    """Tell whether nothing but ``t`` holds its gradient array."""
    return getrefcount(t._grad) <= _ALONE and t._grad.base is None and t._grad.flags.writeable


def _count_alone() -> int:
    t = Tensor(0.0)
    t._grad = np.zeros(1)
    return getrefcount(t._grad)


_ALONE = _count_alone()


def give_fit(t: Tensor, c: Any) -> None:
    """Add a cotangent that may still have a broadcast shape or another dtype."""
    x = t._data
    if c.__class__ is not np.ndarray or x.__class__ is not np.ndarray or c.shape != x.shape or c.dtype is not x.dtype:
        c = fit(c, x)
    had = t._grad
    t._grad = c if had is PENDING else total(had, c)


def fit(c: Any, x: Any) -> Any:
    """Bring a cotangent to the shape and dtype of the value ``x`` it belongs to."""
    if x.__class__ is float:
        if c.__class__ is float:
            return c
        return float(c) if np.ndim(c) == 0 else float(np.sum(c))
    if c.__class__ is not np.ndarray:
        c = np.asarray(c)
    if c.shape != x.shape:
        c = unbroadcast(c, x.shape)
    if c.dtype == x.dtype:
        return c
    if c.dtype.kind == "c":
        raise TypeError("a cotangent of complex numbers")
    return c.astype(x.dtype)


def unbroadcast(c: Any, shape: tuple[int, ...]) -> Any:
    """Sum over the axes along which a value of ``shape`` was broadcast; works on Tensors too."""
    extra = c.ndim - len(shape)
    if c.shape[extra:] == shape and c.__class__ is np.ndarray:  # a bias: only leading axes were added
        return np.add.reduce(c, axis=tuple(range(extra)))
    if extra < 0:
        return np.broadcast_to(c, shape)
    axes = (*range(extra), *(i + extra for i, n in enumerate(shape) if n == 1 and c.shape[i + extra] != 1))
    if axes and c.__class__ is np.ndarray:
        c = np.add.reduce(c, axis=axes, keepdims=True).reshape(shape)
    elif axes:
        c = np.reshape(np.sum(c, axis=axes), shape)
    return c if c.shape == shape else np.broadcast_to(c, shape)


def cotangent(op: Any, arg: int, g: Any, y: Any, values: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """Return what one edge sends back: the vjp of operand ``arg`` on plain values, or None."""
    rule = op.vjp(arg)
    return None if rule is None else fit(rule(g, y, *values, **attrs), values[arg])


def pull(op: Any, node: Tensor, g: Any) -> None:
    """Apply the vjp rules of a registry op to one node."""
    args = node._a
    attrs = node._b or {}
    values = [x._data if x.__class__ is Result else recorded_value(x, node) for x in args]
    y = node._data
    for i, x in enumerate(args):
        if x._makes is not Constant:
            rule = op.vjp(i)
            if rule is not None:
                try:
                    c = rule(g, y, *values, **attrs)
                except GradvizError:
                    raise
                except (TypeError, ValueError, IndexError) as error:
                    raise _broken(error, node, i) from error
                try:
                    c = fit(c, values[i])
                except (TypeError, ValueError) as error:
                    raise _misfit(c, node, i) from error
                give(x, c)


def _broken(error: Exception, node: Tensor, arg: int) -> GradvizError:
    """Build the error for a rule that raised."""
    kind = GradvizTypeError if isinstance(error, TypeError) else GradvizValueError
    return kind(
        f"the rule of {node.op} for operand {arg} raised {type(error).__name__}: {error}",
        where=_made_at(node),
        hint="a rule takes (g, y, *operands, **metadata); gradcheck shows which rules are wrong",
    )


def _made_at(node: Tensor) -> str:
    code, offset = site(node)
    at = place(code, offset) if code is not None else None
    return f"{at.file}:{at.line}" if at else ""


def _misfit(c: Any, node: Tensor, arg: int) -> ShapeError:
    """Build the error for a rule that gives something else than its operand's cotangent."""
    given = f"shape {np.shape(c)}" if isinstance(c, np.ndarray) else repr(c)[:60]
    return ShapeError(
        f"the rule of {node.op} for operand {arg} gave {given}, but the operand has shape {node._a[arg].shape}",
        where=_made_at(node),
        hint="gradcheck shows which rules are wrong",
    )


def recorded_value(x: Tensor, node: Tensor) -> Any:
    """Return the value a leaf had when ``node`` used it, or refuse."""
    value = settle_leaf(x) if x._data.__class__ is Exposed else x._data
    if x._op.__class__ is Leaf and x._op.assigned and x._key > node._key:
        raise stale(x, node)
    return value


def stale(leaf: Tensor, node: Tensor) -> StaleValueError:
    """Build the error for a leaf that was assigned after ``node`` had used its value."""
    return StaleValueError(
        f"{leaf.label} was assigned after {node.op} had used its old value: the gradient would be wrong",
        where=_made_at(node),
        hint="call backward() before changing the parameter, or compute the loss again",
    )
