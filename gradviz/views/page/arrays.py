"""An array in a few bytes: what sums it up, a coarse heat map, and how large its elements are."""

from __future__ import annotations

import math

import numpy as np

from gradviz.style import wording

__all__ = ["BAD", "BINS", "LEVELS", "SUMMED", "exponent_shares", "grid_shape", "heat", "summed"]

LEVELS = 32  # a heat map is in 32nds of its largest mean, either side of 0
BAD = -128  # a cell of a heat map that holds a NaN or an infinity
BINS = 256  # bin i counts elements with 2**(i-128) <= abs(x) < 2**(i-127)
SUMMED = ("low", "high", "mean", "norm", "zeros", "nans", "infs")
MOST_ACROSS = 64  # cells of a heat map of a vector


def summed(x: np.ndarray) -> list[float]:
    """Return low, high, mean (of the finite elements), norm and the counts of zeros, NaN and infinities.

    >>> summed(np.array([0.0, 3.0, np.nan])), summed(np.array([0.0, 3.0]))
    ([0.0, 3.0, 1.5, 3.0, 1, 1, 0], [0.0, 3.0, 1.5, 3.0, 1, 0, 0])
    """
    if x.size and x.dtype.kind == "f":
        flat = x.ravel().astype(np.float64, copy=False)
        with np.errstate(all="ignore"):
            low, high, norm = float(flat.min()), float(flat.max()), math.sqrt(float(np.einsum("i,i", flat, flat)))
        if math.isfinite(low) and math.isfinite(high) and math.isfinite(norm):
            return [low, high, float(flat.mean()), norm, flat.size - int(np.count_nonzero(flat)), 0, 0]
    found = wording.summary(x)
    return [found.low, found.high, found.mean, found.norm, int(np.count_nonzero(x == 0)), found.nans, found.infs]


def plane(x: np.ndarray) -> np.ndarray:
    """Return an array as rows and columns of float64; more than two axes are one below the other."""
    real = np.abs(x) if x.dtype.kind == "c" else x.astype(np.float64, copy=False)
    return real.reshape(1, -1) if real.ndim < 2 else real.reshape(-1, real.shape[-1])


def grid_shape(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """Return rows and columns of the heat map of an array, at most ``side`` each way (64 for a vector).

    >>> grid_shape((784, 10), 16), grid_shape((1000,), 16), grid_shape((0, 3), 16)
    ((16, 10), (1, 64), (0, 0))
    """
    if 0 in shape or side == 0:
        return 0, 0
    if len(shape) < 2:
        return 1, min(math.prod(shape), max(side, MOST_ACROSS if side >= 16 else side))
    return min(math.prod(shape[:-1]), side), min(shape[-1], side)


def heat(x: np.ndarray, rows: int, columns: int) -> tuple[float, np.ndarray]:
    """Return the largest mean of the cells and every cell in 32nds of it, row by row; `BAD` where not finite.

    >>> heat(np.array([[1.0, 3.0], [-4.0, np.inf]]), 2, 1)
    (2.0, array([  32, -128], dtype=int8))
    """
    full = plane(x)
    down, across = (_starts(size, parts) for size, parts in zip(full.shape, (rows, columns), strict=True))
    with np.errstate(all="ignore"):
        sums = np.add.reduceat(np.add.reduceat(full, down, axis=0), across, axis=1)
        sizes = np.outer(np.diff(np.append(down, full.shape[0])), np.diff(np.append(across, full.shape[1])))
        means = (sums / sizes).ravel()
    finite = np.isfinite(means)
    top = float(np.abs(means[finite]).max(initial=0.0))
    levels = np.full(means.shape, BAD, np.int8)
    with np.errstate(all="ignore"):
        levels[finite] = np.rint(means[finite] / (top or 1.0) * LEVELS)
    return top, levels


def _starts(size: int, parts: int) -> np.ndarray:
    return np.arange(parts) * size // parts


def exponent_shares(x: np.ndarray) -> np.ndarray:
    """Return how large the elements are: 256 bins by power of two, in 255ths of all elements, rounded up.

    >>> shares = exponent_shares(np.array([1.0, 1.5, 0.25, 0.0]))
    >>> {int(i) - 128: int(shares[i]) for i in np.flatnonzero(shares)}
    {-2: 64, 0: 128}
    """
    sizes = np.abs(x).astype(np.float64, copy=False).ravel()
    counted = sizes[np.isfinite(sizes) & (sizes > 0)]
    bins = np.clip(np.frexp(counted)[1] - 1 + BINS // 2, 0, BINS - 1)
    return shares_of(np.bincount(bins, minlength=BINS), sizes.size)


def shares_of(counts: np.ndarray, size: int) -> np.ndarray:
    """Return counts in 255ths of ``size``, rounded up so that one element among many still shows."""
    return np.ceil(counts / max(size, 1) * 255).clip(0, 255).astype(np.uint8)
