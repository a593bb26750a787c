"""Watching the inputs of a structure: which leaves that are no parameters change from step to step.

A batch, a sample, a noise: without them a step could not be computed again. A leaf that has never changed is compared
at every step with what it was at first, by its bytes if it is small and otherwise by digests of them; one that has
changed is recorded at every step from then on.
"""

from __future__ import annotations

import struct
import weakref
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradviz.tracing.layout import BLOCK, Column, digest

__all__ = ["Watch", "shapes_of"]

Reader = Callable[[Any], Sequence[Any]]

NOTHING: tuple[Any, ...] = ()
PRIME_WORDS = 509  # a fold of another width than that of `digest`, which does not see blocks change places


class Watch:
    """The leaves of one structure, read anew from the graph of every loss.

    ``read`` lists their values, of which those in ``columns``, by position, may have to be recorded; ``limit`` is
    the number of bytes to record in one row (None: any number; 0: single numbers only). ``inputs(loss)`` returns
    the values to be recorded with this step, or None if something has changed that had not before.
    """

    def __init__(self, read: Reader, values: Sequence[Any], columns: Mapping[int, Column], limit: int | None) -> None:
        self.read = read
        self.shapes = shapes_of(values)
        self._columns = columns
        self._limit = limit
        self._varying: list[int] = []
        self.inputs: Callable[[Any], Sequence[Any] | None]
        watched = [i for i, column in columns.items() if limit != 0 or column.is_scalar]
        self._marks = {i: mark(values[i]) for i in watched}
        self._references = {i: weakref.ref(values[i]) for i in watched if _is_large(values[i])}
        self._prepare()

    @property
    def stored(self) -> tuple[Column, ...]:
        """The columns of the leaves that are recorded at every step."""
        return tuple(self._columns[i] for i in self._varying)

    @property
    def watched(self) -> tuple[list[int], list[int]]:
        """The positions of the leaves that are compared, and of those that are recorded."""
        return list(self._marks), list(self._varying)

    def settle(self, values: Sequence[Any]) -> tuple[list[str], list[str]]:
        """Find out what has changed; return the names of what is recorded from now on, and of what is too large."""
        changed = [i for i, known in self._marks.items() if mark(values[i]) != known]
        room = None if self._limit is None else self._limit - sum(column.nbytes for column in self.stored)
        stored: list[int] = []
        for i in changed:
            del self._marks[i]
            if room is None or self._columns[i].is_scalar or self._columns[i].nbytes <= room:
                stored.append(i)
                room = None if room is None else room - self._columns[i].nbytes
        self._varying += stored
        self._prepare()
        too_large = [self._columns[i].name for i in changed if i not in stored]
        return [self._columns[i].name for i in stored], too_large

    def kept(self, values: Sequence[Any]) -> list[Any]:
        """Return those values that are recorded at every step."""
        return [values[i] for i in self._varying]

    def only_numbers(self) -> None:
        """Record and compare nothing but single numbers from now on."""
        self._limit = 0
        self._varying = [i for i in self._varying if self._columns[i].is_scalar]
        self._marks = {i: known for i, known in self._marks.items() if self._columns[i].is_scalar}
        self._prepare()

    def _prepare(self) -> None:
        """Look up what is compared at every step."""
        arrays = {i: known for i, known in self._marks.items() if not self._columns[i].is_scalar}
        floats = [i for i in self._marks if i not in arrays]
        small = tuple((i, known) for i, known in arrays.items() if i not in self._references)
        large = tuple((i, known, self._references[i]) for i, known in arrays.items() if i in self._references)
        self.inputs = _comparer(
            self.read, floats, b"".join(map(self._marks.__getitem__, floats)), small, large, self._varying
        )


def _comparer(
    read: Reader,
    floats: Sequence[int],
    packed: bytes,
    small: Sequence[tuple[int, bytes]],
    large: Sequence[tuple[int, bytes, Callable[[], Any]]],
    varying: Sequence[int],
) -> Callable[[Any], Sequence[Any] | None]:
    """Return a function that compares the leaves of a loss with what is known, with everything looked up once."""
    pack = struct.Struct(f"{len(floats)}d").pack
    one = floats[0] if len(floats) == 1 else None

    def inputs(loss: Any) -> Sequence[Any] | None:
        values = read(loss)
        try:
            if floats and packed != (pack(*[values[i] for i in floats]) if one is None else pack(values[one])):
                return None
            for i, known in small:
                if values[i].tobytes() != known:
                    return None
        except (AttributeError, struct.error):  # an array where a number was, or the other way round
            return None
        for i, known, reference in large:
            value = values[i]
            if value is not reference() and mark(value) != known:
                return None
        return [values[i] for i in varying] if varying else NOTHING

    return inputs


def shapes_of(values: Sequence[Any]) -> tuple[Any, ...]:
    """Return the dtype and shape of every value: None for a float.

    >>> shapes_of([1.0, np.zeros((2, 3))])
    (None, ('<f8', (2, 3)))
    """
    return tuple(None if value.__class__ is float else (value.dtype.str, value.shape) for value in values)


def mark(value: Any) -> bytes:
    """Return the bytes of a number or small array; of a large one two digests of them."""
    if value.__class__ is float:
        return struct.pack("d", value)
    if not _is_large(value):
        return bytes(value.tobytes())
    array = np.ascontiguousarray(value)
    octets = array.reshape(-1).view(np.uint8)
    whole = octets.size // (8 * PRIME_WORDS) * (8 * PRIME_WORDS)
    words = octets[:whole].view(np.uint64).reshape(-1, PRIME_WORDS)
    other = zlib.crc32(np.bitwise_xor.reduce(words, axis=0).data)
    return struct.pack("II", digest(array), other)


def _is_large(value: Any) -> bool:
    return value.__class__ is not float and value.nbytes > BLOCK
