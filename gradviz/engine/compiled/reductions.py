"""Sums and means: computed with one call, their gradient kept as small as it is."""

from __future__ import annotations

import math

from ..ops.axes import axes_of
from .program import FLOAT, Kind, Program
from .tape import Line

__all__ = ["is_plain_reduction", "reduced", "spread"]

EXACT = ("float64", "float32")


def is_plain_reduction(line: Line, x: Line) -> bool:
    """Tell whether it is a sum or a mean of an array with axes and elements, by metadata that is plain."""
    if line.op.name not in ("sum", "mean") or (line.dtype is not None and not line.shape):
        return False
    if not x.shape or 0 in x.shape or x.dtype.name not in EXACT:
        return False
    axis, _ = _attrs(line)
    several = axis if axis.__class__ is tuple else (axis,)
    is_plain = axis is None or all(a.__class__ is int for a in several)
    return is_plain and (line.attrs or {}).keys() <= {"axis", "keepdims"}


def _attrs(line: Line) -> tuple[int | tuple[int, ...] | None, bool]:
    attrs = line.attrs or {}
    return attrs.get("axis"), bool(attrs.get("keepdims", False))


def reduced(program: Program, line: Line, x: int) -> int:
    """Return the name of a sum or a mean of ``x``."""
    axis, keepdims = _attrs(line)
    text = f"np.add.reduce({{}}, axis={axis!r}{', keepdims=True' if keepdims else ''})"
    if line.op.name == "mean":
        text += f" / {_count(program.kinds[x].shape, line.shape)}"
    if line.dtype is None:
        return program.step(f"float({text})", (x,), FLOAT)
    return program.step(text, (x,), Kind(line.shape, line.dtype), fresh=True)


def _count(shape: tuple[int, ...], reduced: tuple[int, ...]) -> int:
    return math.prod(shape) // math.prod(reduced)


def spread(program: Program, line: Line, g: int, x: Line) -> int:
    """Return the cotangent of ``x`` with the reduced axes at length 1: broadcasting does the rest."""
    if line.op.name == "mean":
        g = program.binary("/", g, program.literal(float(_count(x.shape, line.shape))))
    axis, keepdims = _attrs(line)
    if program.kinds[g].is_float or keepdims:
        return g
    axes = axes_of(axis, len(x.shape))
    shape = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
    return program.step(f"{{}}.reshape({shape})", (g,), Kind(shape, program.kinds[g].dtype), keeps=True)
