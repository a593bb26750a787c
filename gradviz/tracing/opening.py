"""Opening a run directory: what it says about itself, its segments, and the order of its rows."""

from __future__ import annotations

import json
import re
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gradviz.errors import GradvizError, TraceError
from gradviz.graphs import Graph
from gradviz.tracing.layout import (
    COUNT_AT,
    COUNT_END,
    INDEX_DESCR,
    INDEX_DTYPE,
    SUFFIXES,
    Column,
    npy_header,
    without_count,
)
from gradviz.tracing.segments import Segment, mapped, ranges, read_text, split_header
from gradviz.tracing.store import VERSION, unsealed

__all__ = ["StructureRows", "read_info", "read_order", "read_records", "read_segments"]

INFO_LIMIT = 1 << 24  # bytes of run.json
GRAPHS_LIMIT = 1 << 29  # bytes of graphs.jsonl
SEGMENT_LIMIT = 100_000
SEGMENT_NAME = re.compile(r"seg-(\d{4,6})\.npy")


class StructureRows:
    """One structure of a run: its rows, its graph, and the leaves to replay it from."""

    def __init__(self, rows: Segment, record: dict[str, Any]) -> None:
        self.rows = rows
        self.notes: list[str] = []
        self._record = record

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters it records."""
        return tuple(dict.fromkeys(name for name, _ in self.rows.columns))

    @property
    def labels(self) -> list[tuple[str, Column]]:
        """Its columns with the keys they have in a row of the run, by parameter."""
        given = self._record.get("columns") or [(c.name, c.part) for c in self.rows.layout.columns]
        keys = [(entry[0], entry[1]) for entry in given]
        return [(name + SUFFIXES[part], self.rows.columns[name, part]) for name, part in keys]

    @cached_property
    def graph(self) -> Graph | None:
        """Its graph, or None if there was none or it cannot be read."""
        if self._record.get("graph") is None:
            return None
        try:
            return Graph.from_json(json.dumps(self._record["graph"]))
        except GradvizError as error:
            self.notes.append(f"graphs.jsonl: the graph of {self.rows.path.name} cannot be read: {error.message}")
            return None

    @property
    def damage(self) -> list[str]:
        """What has been found wrong so far, in words."""
        return [*self.notes, *self.rows.damage]


def read_info(folder: Path, notes: list[str]) -> dict[str, Any]:
    """Read ``run.json``."""
    info = unsealed(read_text(folder / "run.json", INFO_LIMIT))
    if info is None:
        notes.append("run.json: damaged; what it said is not shown")
        return {}
    if info.get("version") != VERSION:
        raise TraceError(
            f"the run in {folder} has format {info.get('version')!r}, this program reads {VERSION}",
            hint="update gradviz",
        )
    return info


def read_records(folder: Path, notes: list[str]) -> dict[int, dict[str, Any]]:
    """Read ``graphs.jsonl``: a record per segment."""
    records: dict[int, dict[str, Any]] = {}
    if not (folder / "graphs.jsonl").exists():
        return records
    for i, line in enumerate(read_text(folder / "graphs.jsonl", GRAPHS_LIMIT).splitlines(), 1):
        record = unsealed(line)
        if record is None or type(record.get("segment")) is not int:
            notes.append(f"graphs.jsonl: line {i} is damaged")
        else:
            records[record["segment"]] = record
    return records


def read_segments(folder: Path, records: dict[int, dict[str, Any]], notes: list[str]) -> dict[int, StructureRows]:
    """Open the segments, in order; one that cannot be read is named."""
    found = sorted((int(match[1]), path) for path in folder.iterdir() if (match := SEGMENT_NAME.fullmatch(path.name)))
    if len(found) > SEGMENT_LIMIT:
        raise TraceError(f"{len(found)} segments in {folder}: the limit is {SEGMENT_LIMIT}")
    segments: dict[int, StructureRows] = {}
    for number, path in found:
        record = records.get(number, {})
        try:
            columns = [Column.checked(raw) for raw in record["columns"]] if record else None
            segments[number] = StructureRows(Segment(path, columns), record)
        except (GradvizError, TypeError, ValueError, LookupError) as error:
            notes.append(f"{path.name}: cannot be read: {str(error).splitlines()[0]}")
    if found and not segments:
        raise TraceError(f"nothing in {folder} can be read", hint="; ".join(notes)[:500])
    return segments


def read_order(folder: Path, segments: dict[int, StructureRows], notes: list[str]) -> np.ndarray:
    """Return (segment, row) of every intact row in the order of writing."""
    pieces = [_entries(number, np.flatnonzero(part.rows.intact)) for number, part in segments.items()]
    rows = np.concatenate(pieces) if pieces else np.zeros((0, 2), np.int64)
    if len(segments) < 2:
        return rows
    indexed = _indexed(folder, notes)
    known = set(map(tuple, rows.tolist()))
    entries = list(dict.fromkeys(entry for entry in map(tuple, indexed.tolist()) if entry in known))
    missing = known.difference(entries)
    if len(missing) <= 1:  # the one that a killed process had not entered yet
        return np.array([*entries, *missing], np.int64).reshape(-1, 2)
    notes.append(f"index.npy: {len(missing)} rows are not in it; all rows are ordered by time")
    times = np.concatenate([part.rows.head("time", np.flatnonzero(part.rows.intact)) for part in segments.values()])
    return rows[np.argsort(times, kind="stable")]


def _entries(number: int, rows: np.ndarray) -> np.ndarray:
    return np.stack([np.full(len(rows), number, np.int64), rows], axis=1)


def _indexed(folder: Path, notes: list[str]) -> np.ndarray:
    """Read ``index.npy``: (segment, row) of its intact entries."""
    nothing = np.zeros((0, 2), np.int64)
    path = folder / "index.npy"
    if not path.exists():
        notes.append("index.npy: missing")
        return nothing
    data = mapped(path)
    header = split_header(data, path)
    if header is None or without_count(header) != npy_header(INDEX_DESCR):
        notes.append("index.npy: the header is damaged")
        return nothing
    digits = header[COUNT_AT:COUNT_END].strip()
    count = min(int(digits) if digits.isdigit() else 0, (len(data) - len(header)) // INDEX_DTYPE.itemsize)
    data_rows = np.frombuffer(data, np.uint8, count * INDEX_DTYPE.itemsize, len(header))
    raw = data_rows.reshape(count, INDEX_DTYPE.itemsize).copy()
    entries = raw.view(INDEX_DTYPE)[:, 0]
    stored = entries["checksum"].copy()
    entries["checksum"] = 0
    sums = np.array([zlib.adler32(entry.data) for entry in raw], np.uint32)
    if (sums != stored).any():
        notes.append(f"index.npy: entries {ranges(np.flatnonzero(sums != stored))} are damaged")
    entries = entries[sums == stored]
    return np.stack([entries["segment"], entries["row"]], axis=1).astype(np.int64)
