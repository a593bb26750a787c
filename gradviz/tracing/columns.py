"""What a parameter holds and what a loss is, as plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np

from gradviz.errors import GradvizTypeError, GradvizValueError
from gradviz.graphs import Graph
from gradviz.tracing.layout import FLOAT, Column
from gradviz.tracing.statistics import norm

__all__ = ["Numbers", "input_columns", "leaf_columns", "norm", "normal", "scalar_loss", "step_number"]

OF_VALUES = frozenset(("value", "norm", "digest", "stats", "exponents"))
EXACT_INT = 2**53  # larger integers are not all floats

Numbers = Sequence[Any]  # value and gradient of the first parameter, of the second, ...


def leaf_columns(graph: Graph, recorded: Sequence[Column]) -> dict[int, Column]:
    """Return a column for every leaf of the graph whose value is not recorded at every step, by node id."""
    known = {column.name for column in recorded if column.part in OF_VALUES}
    leaves = (node for node in graph.nodes if node.kind != "op" and node.name not in known)
    return {n.id: Column(f"n{n.id}", "value", np.dtype(n.dtype).str, n.shape) for n in leaves}


def input_columns(graph: Graph, ids: Sequence[int]) -> tuple[Column, ...]:
    """Return the columns for those leaves whose value is recorded at every step because it changes."""
    nodes = (graph.nodes[i] for i in ids)
    return tuple(Column(node.name, "input", np.dtype(node.dtype).str, node.shape) for node in nodes)


def normal(name: str, number: Any, *, norms: bool = False) -> float | np.ndarray | None:
    """Return a float, a plain array or None for what a parameter holds; with ``norms``, of every scalar a float.

    >>> normal("w", 2), normal("w", np.float32(0.5)), normal("w", None)
    (2.0, array(0.5, dtype=float32), None)
    """
    if number is None or type(number) is float:
        return number
    array = np.asarray(number)
    if array.dtype.kind not in "biufc":
        raise GradvizTypeError(f"parameter {name!r} holds {type(number).__name__} {str(number)[:80]!r}: no number")
    is_exact = type(number) is int and abs(number) <= EXACT_INT
    is_float = is_exact or array.dtype.str == FLOAT or (norms and array.dtype.kind in "biuf")
    return float(array) if array.shape == () and is_float else array


def scalar_loss(loss: Any) -> float:
    """Return the loss as a float; an array or anything else is refused."""
    value: Any = loss if isinstance(loss, np.generic | np.ndarray) else getattr(loss, "data", loss)
    if hasattr(value, "detach"):  # it may lie on another device, in a dtype that NumPy has not
        value = value.item() if value.numel() == 1 else np.zeros(value.shape)
    if value.__class__ is np.ndarray and value.shape == () and value.dtype.char in "fd":
        return value.item()  # type: ignore[no-any-return]
    value = np.asarray(value)
    if value.dtype.kind not in "biuf":
        raise GradvizTypeError(f"the loss must be a real number, not {type(loss).__name__} of dtype {value.dtype}")
    if value.size != 1:
        raise GradvizValueError(
            f"the loss must be one number, not an array of shape {value.shape}", hint="take its mean or sum"
        )
    return float(value.reshape(()))


def step_number(step: Any) -> int:
    """Return the number of an iteration as a row can hold it.

    >>> step_number("7")
    Traceback (most recent call last):
        ...
    gradviz.errors.GradvizTypeError: step='7' is no whole number
      give the number of the iteration, or leave it out to count from 0
    """
    try:
        number = index(step)
    except TypeError:
        hint = "give the number of the iteration, or leave it out to count from 0"
        raise GradvizTypeError(f"step={str(step)[:80]!r} is no whole number", hint=hint) from None
    if not -(2**63) <= number < 2**63:
        raise GradvizValueError(f"step is a number of {number.bit_length()} bits, which does not fit into 64")
    return number
