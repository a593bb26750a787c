"""Levels: what a row holds of every parameter, from everything down to the loss alone.

=============== ====================================================================================
``full``        value and gradient
``checkpoint``  of arrays the norm and the digest; every so many steps a row with all parameters in ``ckpt.npy``
``stats``       of arrays seven statistics and the counts by power of two
``scalars``     of arrays the norm
``loss``        nothing: only the loss (what a `budget` may come down to)
=============== ====================================================================================

Scalars are recorded as they are in every form but the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradviz.errors import GradvizTypeError
from gradviz.tracing.columns import Numbers, normal
from gradviz.tracing.layout import EXPONENT_BINS, FLOAT, STATS, Column, Layout, digest
from gradviz.tracing.statistics import quiet_norm, statistics

__all__ = ["FULL_LIMIT", "INPUT_LIMITS", "LEVELS", "columns_of", "form_of", "lower_forms", "measures", "normal_numbers"]

LEVELS = ("auto", "full", "stats", "scalars")
FULL_LIMIT = 65_536  # bytes of a row up to which "auto" keeps everything
INPUT_LIMIT = 1_000_000  # bytes of changing inputs in one row
INPUT_LIMITS = {"full": None, "auto": INPUT_LIMIT, "stats": 0, "scalars": 0}  # beside numbers, which are always kept
LADDER = ("full", "checkpoint", "scalars", "loss")

Measure = Callable[[np.ndarray], tuple[Any, ...]]


def _checkpoint(array: np.ndarray) -> tuple[Any, ...]:
    return quiet_norm(array), digest(np.ascontiguousarray(array))


def _scalars(array: np.ndarray) -> tuple[Any, ...]:
    return (quiet_norm(array),)


# per form: how an array is measured, and the part, dtype and shape of every result
MEASURES: dict[str, tuple[Measure, tuple[tuple[str, str, tuple[int, ...]], ...]]] = {
    "checkpoint": (_checkpoint, (("norm", FLOAT, ()), ("digest", np.dtype("u4").str, ()))),
    "stats": (
        statistics,
        (("stats", FLOAT, (len(STATS),)), ("exponents", np.dtype("u4").str, (EXPONENT_BINS,))),
    ),
    "scalars": (_scalars, (("norm", FLOAT, ()),)),
}


def measures(form: str) -> tuple[Measure | None, int]:
    """Return how arrays are measured in this form, and how many results that gives; None if they are kept.

    Measure within ``numpy.errstate(all="ignore")``.
    """
    measure, parts = MEASURES.get(form, (None, ((),)))
    return measure, len(parts)


def lower_forms(form: str, *, has_arrays: bool) -> tuple[str, ...]:
    """Return the forms that cost less than this one, the dearest first.

    >>> lower_forms("full", has_arrays=True), lower_forms("full", has_arrays=False)
    (('checkpoint', 'scalars', 'loss'), ('scalars', 'loss'))
    """
    higher = LADDER.index("checkpoint" if form == "stats" else form)
    return LADDER[max(higher + 1, 0 if has_arrays else LADDER.index("scalars")) :]


def form_of(level: str, columns: Sequence[Column]) -> str:
    """Return the form that a level takes for what would be recorded in full."""
    if level != "auto":
        return level
    is_small = sum(column.nbytes for column in columns) <= FULL_LIMIT and Layout(columns).itemsize <= FULL_LIMIT
    return "full" if is_small else "checkpoint"


def normal_numbers(names: Sequence[str], numbers: Numbers, form: str) -> list[Any]:
    """Return floats, plain arrays and None for what the parameters hold."""
    labels = [name for name in names for _ in (0, 1)]
    is_measured = form in {"stats", "scalars"}
    return [normal(label, number, norms=is_measured) for label, number in zip(labels, numbers, strict=True)]


def columns_of(names: Sequence[str], numbers: Numbers, form: str) -> tuple[Column, ...]:
    """Return the columns that hold these numbers in this form."""
    columns: list[Column] = []
    for name, value, grad in zip(names, numbers[::2], numbers[1::2], strict=True):
        if value is None:
            raise GradvizTypeError(f"parameter {name!r} has no value to record")
        columns += _columns(name, "value", value, form)
        columns += _columns(name, "grad", _expected_grad(value) if grad is None else grad, form)
    return tuple(columns)


def is_measured(number: Any, form: str) -> bool:
    """Tell whether a number is measured and not kept in this form: arrays, in "checkpoint" all but single numbers."""
    return isinstance(number, np.ndarray) and form in MEASURES and (number.ndim > 0 or form != "checkpoint")


def _columns(name: str, part: str, number: float | np.ndarray, form: str) -> list[Column]:
    if not isinstance(number, np.ndarray):
        return [Column(name, part)]
    if not is_measured(number, form):
        return [Column(name, part, number.dtype.str, number.shape)]
    prefix = "grad_" if part == "grad" else ""
    return [Column(name, prefix + what, dtype, shape) for what, dtype, shape in MEASURES[form][1]]


def _expected_grad(value: float | np.ndarray) -> float | np.ndarray:
    """Return something of the shape and dtype that a gradient of this value will probably have."""
    if not isinstance(value, np.ndarray):
        return 0.0
    return value if value.dtype.kind in "fc" else value.astype(float)
