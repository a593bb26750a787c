"""From the numbers of one iteration to one row of a file."""

from __future__ import annotations

import math
import struct
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any
from zlib import adler32

import numpy as np

from gradviz.tracing.columns import Numbers
from gradviz.tracing.layout import COUNT_AT, COUNT_END, FLOAT, INDEX, Column, Layout, digest
from gradviz.tracing.levels import measures
from gradviz.tracing.store import RowFile, SingleRow

__all__ = ["IndexRows", "Look", "Rows", "rows_for"]

FLOATS = frozenset((float, np.float64))
PACKED_CODES = {FLOAT: "d", np.dtype("u4").str: "I"}
KEPT = frozenset(("value", "grad", "input", "state"))  # parts that are the number itself

Look = Callable[[Any], tuple[Any, Any]]  # value and gradient of one parameter


class Rows:
    """Writes rows of one layout: any mixture of scalars and arrays."""

    is_checkpointed = False  # whether checkpoints are needed to compute the rest

    def __init__(
        self, number: int, names: tuple[str, ...], columns: Sequence[Column], file: RowFile | SingleRow
    ) -> None:
        self.number = number
        self.names = names
        self.file: Any = file
        self.layout = Layout(columns)
        self._inputs = sum(column.part == "input" for column in columns)
        position = {column: i for i, column in enumerate(columns)}
        bit = {column: 1 << i for column, i in self.layout.flag_bit.items()}
        self._scalars = [(position[c], bit.get(c, 0)) for c in self.layout.scalars]
        self._arrays = [(position[c], bit.get(c, 0), np.dtype(c.dtype), c.shape) for c in self.layout.arrays]
        self._shifts = range(0, 32 * self.layout.flag_words, 32)
        self._no_digests = [0] * self.layout.digest_words

    def write_from(
        self, step: int, loss: float, params: Mapping[str, Any], look: Look, inputs: Sequence[Any] = ()
    ) -> bool:
        """Write one row; False, and nothing is written, if parameters and inputs do not fit the layout."""
        if self.names != tuple(params):
            return False
        numbers: list[Any] = []
        for tensor in params.values():
            numbers += look(tensor)
        return self.write(step, loss, numbers, inputs)

    def write(self, step: int, loss: float, numbers: Numbers, inputs: Sequence[Any] = ()) -> bool:
        """Write one row; False, and nothing is written, if the numbers do not fit the layout."""
        return len(inputs) == self._inputs and self._write(step, loss, [*numbers, *inputs])

    def _write(self, step: int, loss: float, numbers: Numbers) -> bool:
        """Write one row of numbers that stand in the order of the columns."""
        flags = 0
        scalars: list[float] = []
        for i, bit in self._scalars:
            number = numbers[i]
            if number.__class__ in FLOATS:
                flags |= bit
                scalars.append(number)
            elif number is None and bit:
                scalars.append(math.nan)
            else:
                return False
        arrays: list[np.ndarray] = []
        for i, bit, dtype, shape in self._arrays:
            array = numbers[i]
            if array.__class__ is np.ndarray and array.dtype == dtype and array.shape == shape:
                flags |= bit
                arrays.append(np.ascontiguousarray(array).reshape(shape))
            elif array is None and bit:
                arrays.append(_missing(dtype, shape))
            else:
                return False
        self._store(
            (step, time.time(), *(flags >> shift & 0xFFFFFFFF for shift in self._shifts)), loss, scalars, arrays
        )
        return True

    def _store(self, start: tuple[Any, ...], loss: float, scalars: list[float], arrays: list[np.ndarray]) -> None:
        """Add the checksums and hand the row to the file."""
        layout = self.layout
        digests = self._no_digests.copy()
        if layout.is_large:
            digests[: len(arrays)] = map(digest, arrays)
        head = layout.head.pack(*start, 0, loss, *scalars, *digests)
        parts: list[Any] = [head, *(array for array in arrays), layout.padding]
        if layout.is_large:
            parts[0] = _with_checksum(head, layout, adler32(head, layout.seed))
            self.file.append_parts(parts)
        else:
            row = b"".join(parts)
            self.file.append(_with_checksum(row, layout, adler32(row, layout.seed)))


class ScalarRows(Rows):
    """Writes rows of floats only, as long as every gradient is there, by one call of `struct`.

    ``store(step, (loss, ...))`` does so with floats in the order of the columns, and asks nothing.
    """

    def __init__(self, number: int, names: tuple[str, ...], columns: Sequence[Column], file: RowFile) -> None:
        super().__init__(number, names, columns, file)
        self.store = _packed_store(self.layout, file)

    def write_from(
        self, step: int, loss: float, params: Mapping[str, Any], look: Look, inputs: Sequence[Any] = ()
    ) -> bool:
        """Write one row; False, and nothing is written, if parameters and inputs do not fit the layout."""
        numbers: list[Any] = []
        try:
            for name in self.names:
                numbers += look(params[name])
        except KeyError:
            return False
        if len(params) != len(self.names) or len(inputs) != self._inputs:
            return False
        numbers += inputs
        for number in numbers:
            if number.__class__ is not float:
                return super().write_from(step, loss, params, look, inputs)
        self.store(step, (loss, *numbers))
        return True


class MeasuredRows(Rows):
    """Writes scalars as they are, and of every array what is measured of it."""

    def __init__(
        self, number: int, names: tuple[str, ...], columns: Sequence[Column], file: RowFile, form: str
    ) -> None:
        super().__init__(number, names, columns, file)
        self.is_checkpointed = form == "checkpoint"
        self._measure, self._results = measures(form)
        self._is_measured = _grouped([column.part in KEPT for column in columns], self._results)
        self._store_packed = _packed_store(self.layout, file) if _is_packable(self.layout) else None
        self._in_order = itemgetter(*map(columns.index, self.layout.columns), 0)  # the 0 makes a tuple of one, too
        self._kinds = tuple(float if column.is_scalar else int for column in (*self.layout.columns, columns[0]))

    def write(self, step: int, loss: float, numbers: Numbers, inputs: Sequence[Any] = ()) -> bool:
        """Write one row; False, and nothing is written, if the numbers do not fit the layout."""
        if len(inputs) != self._inputs:
            return False
        measure: Any = self._measure
        measured: list[Any] = []
        with np.errstate(all="ignore"):
            for number, is_measured in zip(numbers, self._is_measured, strict=False):
                if not is_measured:
                    measured.append(number)
                elif number is None:
                    measured += [None] * self._results
                elif number.__class__ is np.ndarray:
                    measured += measure(number)
                else:
                    return False
        measured += inputs
        if self._store_packed is not None:
            cells = self._in_order(measured)
            if tuple(map(type, cells)) == self._kinds:
                self._store_packed(step, (loss, *cells[:-1]))
                return True
        return self._write(step, loss, [_as_array(number) for number in measured])


class IndexRows:
    """Writes ``index.npy``: which row of which segment came when."""

    def __init__(self, file: RowFile) -> None:
        self.file = file

    def write(self, step: int, segment: int, row: int) -> None:
        """Add one entry."""
        checksum = adler32(INDEX.pack(step, segment, row, 0))
        self.file.append(INDEX.pack(step, segment, row, checksum))


def rows_for(number: int, names: tuple[str, ...], columns: Sequence[Column], file: RowFile, form: str) -> Rows:
    """Choose the writer for these columns."""
    if form != "full" and any(column.part not in KEPT for column in columns):
        return MeasuredRows(number, names, columns, file, form)
    layout = Layout(columns)
    kind = ScalarRows if not layout.arrays and not layout.is_large else Rows
    return kind(number, names, columns, file)


def _is_packable(layout: Layout) -> bool:
    """Tell whether rows hold nothing but floats and digests."""
    return not layout.is_large and all(column.shape == () and column.dtype in PACKED_CODES for column in layout.columns)


def _packed_store(layout: Layout, file: RowFile) -> Callable[[int, Sequence[float]], None]:
    """Return a function that stores a row of numbers that are all there, in the order of the layout.

    Everything that never changes is looked up once, and `RowFile.append` is written out.
    """
    codes = "".join(PACKED_CODES[column.dtype] for column in layout.arrays)
    row_format = struct.Struct(f"{layout.head.format} {codes} {len(layout.padding)}x")
    pack, size, begin, seed, now = row_format.pack, row_format.size, file.start, layout.seed, time.time
    every = (1 << len(layout.flag_bit)) - 1
    flags = [every >> shift & 0xFFFFFFFF for shift in range(0, 32 * layout.flag_words, 32)]
    pack_checksum, checksum_at = struct.Struct("=I").pack_into, layout.checksum_at
    counted, last_digit = slice(COUNT_AT, COUNT_END), COUNT_END - 1

    def store(step: int, numbers: Sequence[float]) -> None:
        row = pack(step, now(), *flags, 0, *numbers)
        rows = file.count
        start = begin + rows * size
        end = start + size
        if end > file.room:
            file.grow(end)
        memory: Any = file.store
        memory[start:end] = row
        pack_checksum(memory, start + checksum_at, adler32(row, seed))
        rows += 1
        digit = rows % 10
        if digit:
            memory[last_digit] = 48 + digit
        else:
            memory[counted] = b"%16d" % rows
        file.count = rows

    return store


def _grouped(is_kept: Sequence[bool], results: int) -> list[bool]:
    """Return of every number whether it is measured, from what is said of its columns.

    >>> _grouped([True, False, False, True], 2)
    [False, True, False]
    """
    found: list[bool] = []
    at = 0
    while at < len(is_kept):
        found.append(not is_kept[at])
        at += 1 if is_kept[at] else results
    return found


def _as_array(number: Any) -> Any:
    """Return a digest as it is stored among arrays."""
    return np.array(number, np.uint32) if number.__class__ is int else number


def _missing(dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Return what is stored for a gradient that is not there."""
    return np.full(shape, math.nan if dtype.kind in "fc" else 0, dtype)


def _with_checksum(row: bytes, layout: Layout, checksum: int) -> bytes:
    at = layout.checksum_at
    return row[:at] + checksum.to_bytes(4, sys.byteorder) + row[at + 4 :]
