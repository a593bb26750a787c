"""Whether a gradient is right: one number against differences, and the table of all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .differences import Slope, slope

FINER = 1 / 32


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: an input of the function, or one operand of one node.

    ``autograd``, ``numerical`` and ``by_hand`` are floats, or arrays for an input that is one.
    ``difference`` is the largest between any two of them, found at ``index``.
    """

    kind: str  # "input" or "node"
    name: str  # of the input, or of the node's op
    arg: int | None = None  # the operand of a node
    shape: tuple[int, ...] = ()
    autograd: Any = None
    numerical: Any = None
    by_hand: Any = None
    difference: float = 0.0
    index: tuple[int, ...] = ()
    ok: bool = True
    note: str = ""
    file: str = ""
    line: int = 0
    text: str = ""  # the expression in the source

    def shown(self, which: str) -> str:
        """Return the number at ``index`` as text."""
        value = getattr(self, which)
        return "" if value is None else f"{float(np.asarray(value)[self.index]):.10g}"

    def complaint(self) -> str:
        """Return what is wrong in one line."""
        what = self.name if self.kind == "input" else f"the rule of {self.name} for operand {self.arg}"
        at = f" at {self.file}:{self.line}" if self.file else ""
        code = f" in `{self.text}`" if self.text else ""
        numbers = f": autograd {self.shown('autograd') or 'nothing'}, finite differences {self.shown('numerical')}"
        hand = f", by hand {self.shown('by_hand')}" if self.by_hand is not None else ""
        return f"  {what}{code}{at}{numbers}{hand}{f' ({self.note})' if self.note else ''}"


def compare(
    found: float, line: Callable[[float], float], x: float, h: float, middle: float, tolerance: float
) -> tuple[Slope, bool, str]:
    """Compare a derivative with differences of ``line`` at ``x``; return them, the verdict and a remark.

    Other steps are tried before a difference is believed: one may be too coarse for a steep
    function or too fine for a large one.
    """
    first = slope(line, x, h, middle)
    if _kinked(first, line, x, h, middle, tolerance):
        low, high = sorted((first.left, first.right))
        inside = low - tolerance - first.noise <= found <= high + tolerance + first.noise
        return first, inside, f"at a kink: slopes {first.left:.4g} and {first.right:.4g}"
    if agree(found, first.central, tolerance + first.noise):
        return first, True, ""
    finer, coarser = (slope(line, x, h * factor, middle) for factor in (FINER, 1 / FINER))
    if math.isinf(found) and abs(finer.central) > 2 * abs(first.central) and finer.central * found > 0:
        return first, True, "infinite slope"
    for other in (finer, coarser):
        if agree(found, other.central, tolerance + other.noise):
            return other, True, ""
    return first, False, ""


def agree(one: float, other: float, tolerance: float) -> bool:
    """Tell whether two numbers are as good as equal; so are two NaN, and two equal infinities."""
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return one == other or abs(one - other) <= tolerance


def _kinked(first: Slope, line: Callable[[float], float], x: float, h: float, middle: float, tolerance: float) -> bool:
    """Tell a jump of the slope from a strong curvature, whose jump shrinks with the step."""
    scale = max(abs(first.left), abs(first.right))
    if not math.isfinite(scale) or first.jump <= 1e-3 * scale + 10 * first.noise + tolerance:
        return False
    finer = slope(line, x, h * FINER, middle)
    return finer.jump > first.jump / 2 and finer.jump > 10 * finer.noise


# -- the table --------------------------------------------------------------------------------


def table(rows: Sequence[Row]) -> list[str]:
    """Return the lines of a table: inputs one by one, nodes by op and line of code."""
    by_hand = ["by hand"] if any(row.by_hand is not None for row in rows) else []
    head = ["input", "autograd", "finite differences", *by_hand, "difference", ""]
    inputs = [_cells(_element(row), row, bool(by_hand)) for row in rows if row.kind == "input"]
    nodes = [
        [*_cells(f"{row.name}, operand {row.arg}", row, False), row.text + (f"  ×{count}" if count > 1 else "")]
        for row, count in _grouped(rows)
    ]
    lines = _aligned([head, *inputs])
    if nodes:
        lines += ["", *_aligned([["node", "autograd", "finite differences", "difference", "", "code"], *nodes])]
    return lines


def _cells(title: str, row: Row, by_hand: bool) -> list[str]:
    verdict = ("ok" if row.ok else "WRONG") + (f", {row.note}" if row.note else "")
    hand = [row.shown("by_hand")] if by_hand else []
    return [title, row.shown("autograd"), row.shown("numerical"), *hand, f"{row.difference:.1e}", verdict]


def _element(row: Row) -> str:
    return f"{row.name}[{', '.join(map(str, row.index))}] of {row.shape}" if row.index else row.name


def _grouped(rows: Sequence[Row]) -> list[tuple[Row, int]]:
    """Return of the nodes made by the same code the one that differs most, and how many they are."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        if row.kind == "node":
            groups.setdefault((row.ok, row.name, row.arg, row.file, row.line, row.text, row.note), []).append(row)
    return [(max(group, key=lambda row: row.difference), len(group)) for group in groups.values()]


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
