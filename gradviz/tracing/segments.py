"""Reading one file of rows without believing it: limits first, then checksums, then numbers."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gradviz.errors import GradvizValueError, TraceError
from gradviz.tracing.adler import adler32_of_rows
from gradviz.tracing.growing import Growing
from gradviz.tracing.layout import BLOCK, COUNT_AT, COUNT_END, HEADER_LIMIT, Column, Layout, digest, without_count

__all__ = ["MappedFile", "Segment", "ranges", "read_text", "regular", "split_header"]

Told = Callable[[bytes | None], Layout | None]

CHUNK = 1 << 22  # bytes of rows checked at once
SMALL = 1 << 20  # bytes: a file up to this size is read, not mapped


class MappedFile:
    """A regular file mapped for reading, and mapped anew when it has grown.

    Nothing else (no link, device or pipe) is opened, and no other file that has taken its place. A small file is read
    instead: a map keeps the file open, and a system lets a process have some hundreds of them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data: mmap.mmap | bytes = b""
        self._identity: tuple[int, int] | None = None
        self.map_again()

    def look_again(self, known: int) -> None:
        """Let the beginning of the file be as it is now; what is mapped is so by itself."""
        if isinstance(self.data, bytes):
            self.map_again(known)

    def map_again(self, known: int = 0) -> None:
        """Map the file at its present size; the ``known`` bytes, but for the count of rows, must be as they were."""
        with regular(self.path) as descriptor:
            found = os.fstat(descriptor)
            identity = found.st_dev, found.st_ino
            if self._identity not in {None, identity}:
                raise TraceError(f"{self.path.name} was replaced by another file", where=str(self.path))
            self._identity = identity
            size = found.st_size
            data = self._mapped(descriptor, size) if size > SMALL else _content(descriptor, size)
        if isinstance(self.data, bytes) and not _begins_alike(self.data, data, known):  # the inode may be in use again
            raise TraceError(f"{self.path.name} was replaced by another file", where=str(self.path))
        self.data = data

    def _mapped(self, descriptor: int, size: int) -> mmap.mmap:
        try:
            return mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
        except OSError as error:  # among others: too many open files
            raise _refused("map", self.path, error) from error

    def __len__(self) -> int:
        return len(self.data)


class Segment:
    """The rows of one ``.npy`` file; ``told`` gives the layout of a header (None: it cannot be read), if it is known.

    While a writer ``is_live``, only rows that the header counts are looked at (behind them the file may be cut at any
    moment), and rows at the end that do not match their checksums are not there yet. Otherwise the count is compared
    with what the file holds. Raises TraceError if no row can be told.
    """

    def __init__(self, path: Path, told: Told, *, is_live: bool = False) -> None:
        self.path = path
        self._notes: dict[str, None] = {}
        self._damaged: dict[tuple[Column, int], None] = {}
        self._file = MappedFile(path)
        header = split_header(self._file.data)
        self.layout = self._understood(header, told)
        self.columns = {(column.name, column.part): column for column in self.layout.columns}
        self._start = len(self.layout.header)
        self._intact = Growing(np.zeros(0, bool))
        self._look(is_live)

    @property
    def intact(self) -> np.ndarray:
        """Of every row whether its checksum holds."""
        return self._intact.array

    @property
    def count(self) -> int:
        """How many rows there are, intact or not."""
        return len(self._intact)

    def refresh(self, *, is_live: bool) -> None:
        """Look for rows that have been added, and check those."""
        if not is_live:
            self._file.map_again(self._known)
        self._look(is_live)

    @property
    def _known(self) -> int:
        """How many bytes will not change any more."""
        return self._start + self.count * self.layout.itemsize if self.count else 0

    def _look(self, is_live: bool) -> None:
        counted = self._counted_by_writer() if is_live else self._counted()
        if counted <= self.count:
            return
        checked = self._checked(self.count, counted)
        if is_live:
            held = np.flatnonzero(checked)
            checked = checked[: held[-1] + 1 if len(held) else 0]
        self._intact.add(checked)

    def _understood(self, header: bytes | None, told: Told) -> Layout:
        """Find the layout."""
        try:
            found = told(header)
        except GradvizValueError as error:
            raise TraceError(f"{self.path.name}: {error.message}", where=str(self.path)) from error
        if found is None:
            raise TraceError(f"{self.path.name} has no header that tells its columns", where=str(self.path))
        if header is None or without_count(header) != found.header:
            self._note("the header is damaged; the columns listed in graphs.jsonl were used")
        return found

    def _room(self) -> int:
        """Return how many rows the file, as it is mapped, has room for."""
        return max(0, (len(self._file) - self._start) // self.layout.itemsize)

    def _digits(self) -> bytes:
        return bytes(self._file.data[COUNT_AT:COUNT_END]).strip()

    def _counted_by_writer(self) -> int:
        """Return the number of rows that the header says, and see to it that they are mapped."""
        self._file.look_again(self._known)
        digits = self._digits()
        counted = int(digits) if digits.isdigit() else 0
        if counted > self._room():
            self._file.map_again(self._known)
        return min(counted, self._room())

    def _counted(self) -> int:
        """Return the number of rows: what the header says, corrected by what the file holds."""
        room, digits = self._room(), self._digits()
        counted = int(digits) if split_header(self._file.data) is not None and digits.isdigit() else 0
        if counted > room:
            self._note(f"the header counts {counted} rows, the file holds {room}")
            return room
        found = counted
        while found < room and self._checked(found, found + 1)[0]:
            found += 1
        if found <= counted + 1 and digits.isdigit():  # the one row that a killed process had not counted yet
            return counted
        self._note(f"the row count in the header is damaged: {found} rows were found")
        return found

    def _checked(self, start: int, stop: int) -> np.ndarray:
        """Tell of every row from ``start`` to ``stop`` whether its checksum holds."""
        length = self.layout.head_size if self.layout.is_large else self.layout.itemsize
        at = self.layout.checksum_at
        result = np.zeros(stop - start, bool)
        step = max(1, CHUNK // max(length, BLOCK // 64))
        heads = self._view(0, np.dtype(np.uint8), (length,))
        for first in range(start, stop, step):
            rows = heads[first : min(first + step, stop)]
            stored = rows[:, at : at + 4].copy().view(np.uint32)[:, 0]
            result[first - start :][: len(rows)] = adler32_of_rows(rows, self.layout.seed, at) == stored
        return result

    def _view(self, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...] = ()) -> np.ndarray:
        """Return what stands at ``offset`` in every row of the file, without copying."""
        room = self._room()
        if not room:
            return np.empty((0, *shape), dtype)
        inner = np.empty((0, *shape), dtype).strides[1:] if 0 in shape else _strides(dtype, shape)
        strides = (self.layout.itemsize, *inner)
        return np.ndarray((room, *shape), dtype, self._file.data, self._start + offset, strides)

    def head(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return ``step``, ``time`` or ``loss`` of the rows."""
        offset, code = {"step": (0, "i8"), "time": (8, "f8"), "loss": (self.layout.loss_at, "f8")}[name]
        values: np.ndarray = self._view(offset, np.dtype(code))[rows]
        return values

    def read(self, column: Column, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return a copy of one column of the rows, and of each whether it is there and undamaged."""
        values = self._view(self.layout.offset[column], np.dtype(column.dtype), column.shape)[rows]
        present = np.ones(len(rows), bool)
        if column in self.layout.flag_bit:
            word, bit = divmod(self.layout.flag_bit[column], 32)
            flags = self._view(16 + 4 * word, np.dtype(np.uint32))[rows]
            present = (flags >> bit & 1).astype(bool)
        if self.layout.is_large and not column.is_scalar:
            present &= self._matches(column, rows, values)
        return values, present

    def _matches(self, column: Column, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Compare arrays of large rows with their digests, and note those that differ."""
        place = self.layout.head_size - 4 * self.layout.digest_words + 4 * self.layout.digest_word[column]
        stored = self._view(place, np.dtype("u4"))[rows]
        matches = np.array([digest(value) == wanted for value, wanted in zip(values, stored, strict=True)], bool)
        for row in rows[~matches]:
            self._damaged[column, int(row)] = None
        return matches

    def is_damaged(self, column: Column, row: int) -> bool:
        """Tell whether this array was found not to match its checksum."""
        return (column, row) in self._damaged

    def check_arrays(self) -> None:
        """Compare every array of large rows with its digest."""
        if not self.layout.is_large:
            return
        for column in self.layout.arrays:
            for row in np.flatnonzero(self.intact):
                self.read(column, np.array([row]))

    @property
    def damage(self) -> list[str]:
        """What has been found wrong so far, in words."""
        wrong = np.flatnonzero(~self.intact)
        skipped = [f"{self.path.name}: rows {ranges(wrong)} do not match their checksums and are skipped"]
        arrays = [
            f"{self.path.name}: {column.part} of {column.name!r} in row {row} does not match its checksum"
            for column, row in sorted(self._damaged, key=lambda key: key[1])
        ]
        return [*self._notes, *(skipped if len(wrong) else ()), *arrays]

    def _note(self, text: str) -> None:
        self._notes[f"{self.path.name}: {text}"] = None


def read_text(path: Path, limit: int) -> str:
    """Return the text of a regular file that is not larger than ``limit`` bytes."""
    with regular(path) as descriptor:
        size = os.fstat(descriptor).st_size
        if size > limit:
            raise TraceError(f"{path.name} has {size} bytes: the limit is {limit}", where=str(path))
        return _content(descriptor, limit).decode(errors="replace")


def _begins_alike(before: bytes, now: mmap.mmap | bytes, known: int) -> bool:
    """Tell whether the first bytes are the same, but for those that count the rows."""
    same_head = before[: min(COUNT_AT, known)] == now[: min(COUNT_AT, known)]
    return same_head and before[COUNT_END:known] == now[COUNT_END:known]


def _refused(what: str, path: Path, error: OSError) -> TraceError:
    """Return the error for a file that the system does not give."""
    refused = TraceError(f"cannot {what} {path.name}: {error.strerror}", where=str(path))
    refused.errno = error.errno
    return refused


def _content(descriptor: int, limit: int) -> bytes:
    with open(descriptor, "rb", closefd=False) as file:
        return file.read(limit)


class regular:  # noqa: N801
    """Opens a regular file and closes it again."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> int:
        flags = os.O_RDONLY
        for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
            flags |= getattr(os, name, 0)
        try:
            self._descriptor = os.open(self._path, flags)
        except OSError as error:
            raise _refused("open", self._path, error) from error
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            os.close(self._descriptor)
            raise TraceError(f"{self._path.name} is not a regular file", where=str(self._path))
        return self._descriptor

    def __exit__(self, *error: object) -> None:
        os.close(self._descriptor)


def split_header(data: Any) -> bytes | None:
    """Return the header of a ``.npy`` file, or None if it has none; an absurd length is refused."""
    start = bytes(data[:12])
    if len(start) < 12 or start[:6] != b"\x93NUMPY" or start[6] not in {1, 3}:
        return None
    begin, width = (10, 2) if start[6] == 1 else (12, 4)
    length = int.from_bytes(start[8 : 8 + width], "little")
    if length > HEADER_LIMIT:
        return None
    return bytes(data[: begin + length])


def ranges(numbers: np.ndarray) -> str:
    """Return increasing numbers as text.

    >>> ranges(np.array([3, 5, 6, 7]))
    '3, 5-7'
    """
    breaks = np.flatnonzero(np.diff(numbers) > 1) + 1
    groups = [group for group in np.split(numbers, breaks) if len(group)]
    shown = [f"{g[0]}-{g[-1]}" if len(g) > 1 else f"{g[0]}" for g in groups[:10]]
    return ", ".join(shown) + (f", ... ({len(numbers)} in all)" if len(groups) > 10 else "")


def _strides(dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a contiguous array, without making one."""
    strides: list[int] = []
    step = dtype.itemsize
    for length in reversed(shape):
        strides.append(step)
        step *= length
    return tuple(reversed(strides))
