"""Numbers made small enough to stand in a page: rounded, told from the step before, shuffled, deflated, base64.

A browser undoes it with what it has: ``atob``, ``DecompressionStream`` and a loop.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable

import numpy as np

__all__ = ["packed_bytes", "packed_lines", "packed_numbers", "packed_whole", "rounded"]

MANTISSA = 52  # bits of a float64
LONG = 1 << 20  # bytes; more are deflated with less care


def rounded(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Return float64 numbers with ``bits`` bits of mantissa, to nearest; NaN, infinities and zeros stay.

    23 bits are about seven digits, and unlike float32 the range stays whole.

    >>> rounded(np.array([1 / 3, 1e300, np.inf]), 10)
    array([3.33251953e-001, 9.99961341e+299,             inf])
    """
    drop = np.uint64(MANTISSA - bits)
    raw = np.ascontiguousarray(numbers, np.float64).view(np.uint64)
    half = np.uint64(1) << (drop - np.uint64(1))
    near = ((raw + half) >> drop << drop).view(np.float64)
    return np.where(np.isfinite(numbers) & np.isfinite(near), near, numbers)


def packed_numbers(columns: np.ndarray) -> str:
    """Return float64 numbers (columns, steps) as base64 of deflated bytes.

    Each number is XORed with the one before it in its column; then the first bytes of all
    come first, then the second bytes, and so on: what repeats stands together.

    >>> len(packed_numbers(np.zeros((100, 100)))) < 200
    True
    """
    raw = np.ascontiguousarray(columns, np.float64).view(np.uint64)
    changed = raw.copy()
    changed[:, 1:] ^= raw[:, :-1]
    planes = changed.astype("<u8").reshape(-1).view(np.uint8).reshape(-1, 8).T
    return _deflated(np.ascontiguousarray(planes).tobytes())


def packed_bytes(columns: np.ndarray) -> str:
    """Return bytes (columns, steps) as base64 of deflated differences from step to step, modulo 256.

    >>> packed_bytes(np.array([[1, 1, 2]], np.uint8)) == packed_bytes(np.array([[1, 1, 2]], np.int8))
    True
    """
    raw = np.ascontiguousarray(columns).view(np.uint8)
    changed = raw.copy()
    changed[:, 1:] -= raw[:, :-1]
    return _deflated(changed.tobytes())


def packed_whole(numbers: np.ndarray) -> str:
    """Return whole numbers of at most 32 bits as base64 of deflated differences, first byte first.

    >>> len(packed_whole(np.arange(100_000))) < 1000
    True
    """
    changed = np.diff(np.asarray(numbers, np.int64), prepend=0).astype("<i4")
    return _deflated(np.ascontiguousarray(changed.view(np.uint8).reshape(-1, 4).T).tobytes())


def packed_lines(lines: Iterable[str]) -> str:
    r"""Return texts without line ends as base64 of one deflated text.

    >>> zlib.decompress(base64.b64decode(packed_lines(["a", "b"])))
    b'a\nb'
    """
    return _deflated("\n".join(lines).encode("utf-8", "replace"))


def _deflated(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 9 if len(data) < LONG else 6)).decode("ascii")
