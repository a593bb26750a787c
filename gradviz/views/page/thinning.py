"""Which steps of a long run a page shows: those where most changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

__all__ = ["chosen"]

EVEN = 0.3  # the share of steps given out evenly, so that a quiet stretch is not left out


def chosen(count: int, limit: int, curves: Sequence[np.ndarray], wanted: Iterable[int] = ()) -> np.ndarray:
    """Return at most ``limit`` of ``count`` positions, ascending: both ends, what is wanted, and where curves move.

    ``curves`` hold one number per step. Between two chosen positions about equal parts of
    the way lie that all curves go together, each measured beside its own range. Where a
    curve starts or stops being finite counts as its whole range. More than half of the
    places never go to what is wanted; of that the first are taken.

    >>> loss = np.concatenate([np.linspace(9, 1, 11), np.ones(89)])
    >>> [int((chosen(100, 12, [loss]) < 11).sum()), int(chosen(3, 12, [])[-1])]
    [8, 2]
    """
    if count <= limit:
        return np.arange(count)
    fixed = {0, count - 1}
    for position in wanted:
        if len(fixed) >= max(2, limit // 2):
            break
        fixed.add(min(max(int(position), 0), count - 1))
    way = np.concatenate([[0.0], np.cumsum(_shares(count, curves))])
    return _spread(way, fixed, limit)


def _shares(count: int, curves: Sequence[np.ndarray]) -> np.ndarray:
    """Return what part of all change happens between each position and the next; they add up to 1."""
    even: np.ndarray = np.full(count - 1, 1.0 / (count - 1))
    moves = [move for curve in curves if (move := _move(curve)).any()]
    if not moves:
        return even
    total: np.ndarray = np.sum(moves, axis=0)
    shares: np.ndarray = EVEN * even + (1 - EVEN) * total / total.sum()
    return shares


def _move(curve: np.ndarray) -> np.ndarray:
    """Return how far a curve goes in each step, in parts of the way that it goes in all."""
    values = np.ma.filled(np.ma.asarray(curve, np.float64), np.nan)
    finite = np.isfinite(values)
    with np.errstate(all="ignore"):
        scaled = np.sign(values) * np.log1p(np.abs(values) / _scale(values[finite]))
        steps = np.abs(np.diff(np.where(finite, scaled, 0.0)))
    jumps = finite[1:] != finite[:-1]
    steps[jumps | ~finite[1:]] = 0.0
    total = steps.sum()
    shares = steps / total if total > 0 else steps
    shares[jumps] = 1.0
    return shares


def _scale(finite: np.ndarray) -> float:
    """Return a size that is small in a curve, so that what shrinks a thousandfold still counts."""
    sizes = np.abs(finite[finite != 0])
    return float(np.quantile(sizes, 0.1)) if sizes.size else 1.0


def _spread(way: np.ndarray, fixed: set[int], limit: int) -> np.ndarray:
    """Return ``limit`` positions, the fixed ones and others at equal distances along the way."""
    kept = np.zeros(len(way), bool)
    kept[sorted(fixed)] = True
    low, high = 0, 2 * limit
    while low < high:  # the most places at equal distances that fit beside the fixed ones
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.sum(kept | _even(way, middle)) <= limit else (low, middle - 1)
    return np.flatnonzero(kept | _even(way, low))


def _even(way: np.ndarray, places: int) -> np.ndarray:
    found = np.zeros(len(way), bool)
    if places:
        found[np.searchsorted(way, np.linspace(0.0, way[-1], places)).clip(0, len(way) - 1)] = True
    return found
