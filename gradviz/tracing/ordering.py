"""In which order the rows of a run were written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gradviz.tracing.adler import adler32_of_rows
from gradviz.tracing.layout import COUNT_AT, COUNT_END, INDEX_DESCR, INDEX_DTYPE, npy_header, without_count
from gradviz.tracing.segments import MappedFile, ranges, split_header

if TYPE_CHECKING:
    from gradviz.tracing.opening import StructureRows

__all__ = ["Index", "entries", "keys", "order_of_all"]

HEADER = npy_header(INDEX_DESCR)
CHECKSUM_AT = INDEX_DTYPE.fields["checksum"][1] if INDEX_DTYPE.fields else 0


class Index:
    """``index.npy``, read as far as it has been written."""

    def __init__(self, path: Path) -> None:
        self.notes: dict[str, None] = {}
        self.seen = 0
        self._file = MappedFile(path)

    @property
    def count(self) -> int:
        """How many entries there are."""
        known = len(HEADER) + self.seen * INDEX_DTYPE.itemsize if self.seen else 0
        self._file.look_again(known)
        header = split_header(self._file.data)
        if header is None or without_count(header) != HEADER:
            return 0
        digits = header[COUNT_AT:COUNT_END].strip()
        counted = int(digits) if digits.isdigit() else 0
        if counted > self._room():
            self._file.map_again(known)
        return min(counted, self._room())

    def added(self) -> np.ndarray:
        """Return (segment, row) of the intact entries that have been added since the last call."""
        found = self.entries_added()
        return np.stack([found["segment"], found["row"]], axis=1).astype(np.int64)

    def entries_added(self) -> np.ndarray:
        """Return step, segment and row of the intact entries that have been added since the last call."""
        start, self.seen = self.seen, self.count
        if self.seen <= start:
            self._check_header()
            return np.zeros(0, INDEX_DTYPE)
        size = INDEX_DTYPE.itemsize
        raw = np.frombuffer(self._file.data, np.uint8, (self.seen - start) * size, len(HEADER) + start * size)
        found = raw.view(INDEX_DTYPE)
        intact = adler32_of_rows(raw.reshape(-1, size), 1, CHECKSUM_AT) == found["checksum"]
        if not intact.all():
            wrong = start + np.flatnonzero(~intact)
            self.notes[f"index.npy: entries {ranges(wrong)} are damaged"] = None
        kept: np.ndarray = found[intact]
        return kept

    def _check_header(self) -> None:
        header = split_header(self._file.data)
        if header is None or without_count(header) != HEADER:
            self.notes["index.npy: the header is damaged"] = None

    def _room(self) -> int:
        return max(0, (len(self._file) - len(HEADER)) // INDEX_DTYPE.itemsize)


def entries(number: int, rows: np.ndarray) -> np.ndarray:
    """Return (segment, row) of these rows of one segment."""
    return np.stack([np.full(len(rows), number, np.int64), rows], axis=1)


def keys(order: np.ndarray) -> np.ndarray:
    """Return one number per (segment, row), sorted as they are."""
    joined: np.ndarray = order[:, 0] << 40 | order[:, 1]
    return joined


def order_of_all(folder: Path, segments: Mapping[int, StructureRows], notes: dict[str, None]) -> np.ndarray:
    """Return (segment, row) of every intact row in the order of writing, of a run that nobody writes any more."""
    intact = {number: np.flatnonzero(part.rows.intact) for number, part in segments.items()}
    pieces = [entries(number, rows) for number, rows in intact.items()]
    rows = np.concatenate(pieces) if pieces else np.zeros((0, 2), np.int64)
    if sum(len(piece) > 0 for piece in pieces) < 2:
        return rows
    known = keys(rows)  # sorted, for the segments are
    indexed = keys(_indexed(folder, notes))
    indexed = indexed[np.isin(indexed, known)]
    _, first = np.unique(indexed, return_index=True)
    indexed = indexed[np.sort(first)]
    missing = np.setdiff1d(known, indexed)
    places = np.searchsorted(known, np.concatenate([indexed, missing]))
    times = np.concatenate([segments[number].rows.head("time", rows) for number, rows in intact.items()])
    is_last = len(missing) == 1 and times[places[-1]] >= times[places[:-1]].max(initial=-np.inf)
    if is_last or not len(missing):  # a killed process had not entered it yet
        return rows[places]
    notes[f"index.npy: {len(missing)} rows are not in it; all rows are ordered by time"] = None
    return rows[np.argsort(times, kind="stable")]


def _indexed(folder: Path, notes: dict[str, None]) -> np.ndarray:
    path = folder / "index.npy"
    if not path.exists():
        notes["index.npy: missing"] = None
        return np.zeros((0, 2), np.int64)
    index = Index(path)
    found = index.added()
    notes.update(index.notes)
    return found
