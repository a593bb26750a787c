"""Statistics of one array: seven numbers and a histogram of magnitudes, in a few passes at the speed of memory.

The histogram counts powers of two. A float holds its power of two in a bit field of its own, so counting is one
integer pass, needs no range beforehand, and the histograms of different steps compare and add up bin by bin.
"""

from __future__ import annotations

import math
import sys
import timeit
from collections.abc import Iterator
from functools import cache, partial

import numpy as np

from gradviz.tracing.layout import EXPONENT_BINS

__all__ = ["exponents", "norm", "quiet_norm", "statistics"]

CHUNK = 1 << 18  # elements looked at together
SORTED = 1 << 14  # elements from which on counting by sorting may be quicker
BLOCK = 1 << 12  # elements of float32 whose squares are added up in float32
LOWEST = -128  # the power of two of the first bin
FIELDS = {"f8": ("i8", 52, 2047, 1023), "f4": ("i4", 23, 255, 127)}  # as integer, shift, all ones, power 0


def statistics(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return min, max, mean, norm and the numbers of zeros, NaNs and infinities, and the counts by power of two.

    Minimum, maximum and mean are those of the finite elements, NaN if there are none; the norm is `norm`. Of
    complex numbers the absolute values count. The second result is that of `exponents`.

    >>> numbers, counts = statistics(np.array([1.0, -3.0, 0.0, np.inf]))
    >>> numbers
    array([-3.        ,  1.        , -0.66666667,         inf,  1.        ,
            0.        ,  1.        ])
    >>> counts[128:131], int(counts.sum())
    (array([1, 1, 0], dtype=uint32), 2)
    """
    flat = _real(array)
    counts, zeros, nans, infs = _counted(flat)
    finite = flat[np.isfinite(flat)] if nans or infs else flat
    moments = (float(finite.min()), float(finite.max()), _mean(finite)) if finite.size else (math.nan,) * 3
    return np.array([*moments, norm(flat), zeros, nans, infs]), counts


def exponents(array: np.ndarray) -> np.ndarray:
    """Return how many elements have which power of two, as 256 counts.

    Bin ``i`` counts those with ``2**(i-128) <= abs(x) < 2**(i-127)``; the first also takes smaller ones and the
    last larger ones. Zeros, NaN and infinities are in no bin.

    >>> exponents(np.array([1.0, 1.5, 2.0]))[127:130]
    array([0, 2, 1], dtype=uint32)
    """
    return _counted(_real(array))[0]


def norm(array: np.ndarray) -> float:
    """Return the Euclidean norm, without overflow on the way.

    The squares are added up in float64; for float32 in float32 within blocks of 4096, then in float64.

    >>> norm(np.array([3e200, 0.0]))
    3e+200
    """
    with np.errstate(all="ignore"):
        return quiet_norm(array)


def quiet_norm(array: np.ndarray) -> float:
    """Return the `norm`, within ``numpy.errstate(all="ignore")``: for many arrays one such block is enough."""
    flat = array.reshape(-1)
    kind, size = flat.dtype.char, flat.size
    if kind == "f":
        square = float(np.dot(flat, flat)) if size < BLOCK else _square_of_float32(flat)
        smallest = 1e-30 * size
    else:
        flat = flat if kind == "d" else np.abs(flat).astype(float, copy=False)
        square, smallest = float(np.dot(flat, flat)), 1e-290
    if smallest < square < math.inf or math.isnan(square):
        return math.sqrt(square)
    return _scaled_norm(np.abs(flat).astype(float, copy=False))


def _scaled_norm(flat: np.ndarray) -> float:
    """Return the norm of elements whose squares are too large or too small."""
    largest = float(flat.max(initial=0.0))
    if largest == 0.0 or math.isinf(largest):
        return largest
    scaled = flat / largest
    return largest * math.sqrt(float(np.dot(scaled, scaled)))


def _square_of_float32(flat: np.ndarray) -> float:
    whole = flat.size // BLOCK * BLOCK
    blocks = flat[:whole].reshape(-1, BLOCK)
    return float(np.vecdot(blocks, blocks).sum(dtype=float)) + float(np.dot(flat[whole:], flat[whole:]))


def _real(array: np.ndarray) -> np.ndarray:
    """Return the elements as real floats: integers of 64 bits in the widest there is, lest they are rounded up."""
    flat = array.reshape(-1)
    if flat.dtype.kind == "c":
        flat = np.abs(flat)
    if flat.dtype.kind != "f":
        flat = flat.astype(np.longdouble if flat.dtype.itemsize == 8 else float)
    return flat if flat.dtype.isnative else flat.astype(flat.dtype.newbyteorder("="))


def _counted(flat: np.ndarray) -> tuple[np.ndarray, int, int, int]:
    """Return the counts by power of two, and the numbers of zeros, NaNs and infinities."""
    counts: np.ndarray = np.zeros(EXPONENT_BINS, np.int64)
    special = np.zeros(3, np.int64)
    fields = FIELDS.get(flat.dtype.str[1:])
    for chunk in _chunks(flat):
        special += _add_slowly(chunk, counts) if fields is None else _add_fields(chunk, counts, *fields)
    zeros, nans, infs = special.tolist()
    return counts.astype(np.uint32), zeros, nans, infs


def _chunks(flat: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, flat.size, CHUNK):
        yield flat[start : start + CHUNK]


def _add_fields(
    chunk: np.ndarray, counts: np.ndarray, integer: str, shift: int, most: int, bias: int
) -> tuple[int, int, int]:
    """Count the exponent fields of a chunk; those of 0 and of all ones need a second look, and are rare."""
    chunk = np.ascontiguousarray(chunk)
    is_sorted = chunk.size >= SORTED and _sorting_is_quicker()
    fields = (_fields_sorted if is_sorted else _fields_counted)(chunk, integer, shift, most)
    below = LOWEST + bias  # the field of the first bin
    normal = fields[1:most]
    if below > 0:
        counts[1:-1] += normal[below : below + EXPONENT_BINS - 2]
        counts[0] += normal[:below].sum()
        counts[-1] += normal[below + EXPONENT_BINS - 2 :].sum()
    else:
        counts[1 - below : 1 - below + normal.size] += normal
    special = (0, 0, 0)
    if fields[0]:
        zeros = chunk.size - int(np.count_nonzero(chunk))
        special = (zeros, 0, 0) if zeros == fields[0] else _add_slowly(_tiny(chunk), counts)
    if fields[most]:
        nans = int(np.count_nonzero(np.isnan(chunk)))
        special = (special[0], nans, int(fields[most]) - nans)
    return special


def _fields_counted(chunk: np.ndarray, integer: str, shift: int, most: int) -> np.ndarray:
    """Count the exponent fields one by one."""
    return np.bincount((chunk.view(integer) >> shift) & most, minlength=most + 1)


def _fields_sorted(chunk: np.ndarray, integer: str, shift: int, most: int) -> np.ndarray:
    """Count the exponent fields by sorting: they lie in the upper 16 bits, which some processors sort 16 at a time."""
    words = chunk.dtype.itemsize // 2
    shift -= 16 * (words - 1)
    upper = chunk.view(np.uint16)[words - 1 if sys.byteorder == "little" else 0 :: words] & (most << shift)
    upper.sort()
    ends = np.searchsorted(upper, np.arange(1, most + 1, dtype=np.uint16) << shift)
    return np.diff(ends, prepend=0, append=upper.size)


@cache
def _sorting_is_quicker() -> bool:
    """Find out, once, which way of counting is quicker on this processor; both give the same."""
    given = (np.sin(np.arange(SORTED, dtype=np.float32)), *FIELDS["f4"][:3])
    took = {
        way: min(timeit.repeat(partial(way, *given), number=1, repeat=5)) for way in (_fields_sorted, _fields_counted)
    }
    return took[_fields_sorted] < took[_fields_counted]


def _tiny(chunk: np.ndarray) -> np.ndarray:
    """Return the zeros and subnormal numbers of a chunk, as float64."""
    tiny: np.ndarray = chunk[np.abs(chunk) < np.finfo(chunk.dtype).smallest_normal]
    return tiny.astype(float)


def _add_slowly(chunk: np.ndarray, counts: np.ndarray) -> tuple[int, int, int]:
    """Count a chunk of any float, by `numpy.frexp`: ``x = m * 2**e`` with ``0.5 <= abs(m) < 1``."""
    finite = np.isfinite(chunk)
    nonzero = chunk[finite & (chunk != 0)]
    _, powers = np.frexp(nonzero)
    bins = np.clip(powers.astype(np.int64) - 1 - LOWEST, 0, EXPONENT_BINS - 1)
    counts += np.bincount(bins, minlength=EXPONENT_BINS)
    nans = int(np.count_nonzero(np.isnan(chunk)))
    infs = chunk.size - int(np.count_nonzero(finite)) - nans
    return chunk.size - nonzero.size - nans - infs, nans, infs


def _mean(finite: np.ndarray) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        total = _sum_of_float32(finite) if finite.dtype == np.float32 else float(finite.sum(dtype=_wide(finite)))
        mean = total / finite.size
        return mean if math.isfinite(mean) else float((finite / finite.size).sum())


def _sum_of_float32(flat: np.ndarray) -> float:
    whole = flat.size // BLOCK * BLOCK
    blocks = np.add.reduce(flat[:whole].reshape(-1, BLOCK), axis=1)
    return float(blocks.sum(dtype=float)) + float(flat[whole:].sum(dtype=float))


def _wide(array: np.ndarray) -> np.dtype:
    return np.result_type(array.dtype, float)
