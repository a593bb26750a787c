"""``graphs.jsonl`` and ``events.jsonl``: lines that carry a checksum of themselves, read when they are asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gradviz.errors import GradvizError, TraceError
from gradviz.graphs import Graph
from gradviz.tracing.layout import Column, Layout, without_count
from gradviz.tracing.segments import MappedFile, Segment
from gradviz.tracing.store import unsealed

__all__ = ["EventLines", "Records", "SealedLines"]

GRAPHS_LIMIT = 1 << 31  # bytes of graphs.jsonl
EVENTS_LIMIT = 1 << 29  # bytes of events.jsonl
KEPT = 8  # records kept as they were read; a graph can be large
STAND_IN = re.compile(r"p\d+|(u?int|float|complex|bool)\d*")  # fields that may stand for other names
PLAIN = (
    {"value", "grad"},
    {"norm", "grad_norm"},
    {"norm", "digest", "grad_norm", "grad_digest"},
    {"stats", "exponents", "grad_stats", "grad_exponents"},
    {"input"},
)  # what a segment records of one name; anything else may be another name that ends like a part
SUBJECT = re.compile(rb'\{"(segment|checkpoints)": (\d{1,6})[,}]')

Span = tuple[int, int, int]  # number of the line, where it begins and where it ends in the file


class SealedLines:
    """The lines of a file that only grows."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path = path
        self._limit = limit
        self._file: MappedFile | None = None
        self._end = 0
        self._count = 0

    def added(self, *, is_live: bool) -> Iterator[Span]:
        """Yield the lines added since the last call; one without an end may still be under way if ``is_live``."""
        size = self._grown()
        while self._end < size:
            found = self._data.find(b"\n", self._end)
            if found < 0 and is_live:
                return
            start, self._end = self._end, found + 1 if found >= 0 else size
            self._count += 1
            yield self._count, start, self._end

    def text(self, span: Span) -> bytes:
        """Return one line."""
        line: bytes = self._data[span[1] : span[2]]
        return line

    def _grown(self) -> int:
        """Map the file if it is there and has grown, and return its size."""
        if not self.path.exists() and not self.path.is_symlink():
            return 0
        if self._file is None:
            self._file = MappedFile(self.path)
        elif self.path.stat().st_size != len(self._file):
            self._file.map_again(self._end)
        if len(self._file) > self._limit:
            raise TraceError(f"{self.path.name} has {len(self._file)} bytes: the limit is {self._limit}")
        return len(self._file)

    @property
    def _data(self) -> Any:
        return b"" if self._file is None else self._file.data


class Records:
    """What ``graphs.jsonl`` says of every segment and of every file of checkpoints.

    A line is found by its first characters and compared with its checksum when it is first needed: a run may have
    a thousand structures of a thousand nodes.
    """

    def __init__(self, folder: Path) -> None:
        self.notes: dict[str, None] = {}
        self._lines = SealedLines(folder / "graphs.jsonl", GRAPHS_LIMIT)
        self._spans: dict[tuple[str, int], list[Span]] = {}
        self._kept: dict[tuple[str, int], dict[str, Any]] = {}
        self._graphs: dict[int, Graph | None] = {}
        self._bases: dict[int, int] = {}
        self._sources: dict[int, str | None] = {}
        self._layouts: dict[bytes, Layout] = {}

    def refresh(self, *, is_live: bool) -> None:
        """Look for lines that have been added."""
        for span in self._lines.added(is_live=is_live):
            match = SUBJECT.match(self._lines.text(span)[:40])
            if match:
                self._spans.setdefault((match[1].decode(), int(match[2])), []).append(span)
            else:
                self._note_damaged(span)

    def get(self, kind: str, number: int) -> dict[str, Any] | None:
        """Return the record of a ``"segment"`` or of a file of ``"checkpoints"``; None if there is no intact one."""
        key = kind, number
        if key not in self._kept:
            found = next(filter(None, map(self._read, self._spans.get(key, ()))), None)
            if found is None:
                return None
            self._kept[key] = found
            if len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
        return self._kept[key]

    def rows(self, path: Path, kind: str, number: int, *, is_live: bool) -> Segment:
        """Open a file of rows. Its header mostly tells the columns; where it may not, the record does.

        Raises TraceError if neither can be read.
        """

        def listed(header: bytes | None) -> Layout | None:
            record = self.get(kind, number)
            if record is not None:
                return Layout([Column.checked(raw) for raw in record["columns"]])
            self.notes[f"{path.name}: graphs.jsonl does not list its columns: the names are those of its fields"] = None
            return Layout.from_header(header or b"")

        if kind != "segment":
            return Segment(path, listed, is_live=is_live)
        rows = Segment(path, lambda header: self._plain(header) or listed(header), is_live=is_live)
        if rows.count and not rows.intact.any() and self.get(kind, number):
            return Segment(path, listed, is_live=is_live)
        return rows

    def _plain(self, header: bytes | None) -> Layout | None:
        """Return the layout of a header that can be understood in one way only; it is remembered."""
        key = b"" if header is None else without_count(header)
        if key not in self._layouts:
            layout = Layout.from_header(key) if key else None
            if layout is None or not _is_plain(layout):
                return None
            self._layouts[key] = layout
        return self._layouts[key]

    def check(self, segments: Iterable[int]) -> None:
        """Compare every line with its checksum, and see whether there is one for each of the segments."""
        told = {key for key, spans in self._spans.items() for span in spans if self._read(span) is not None}
        for number in segments:
            if ("segment", number) not in told:
                self.notes[f"graphs.jsonl: no intact line tells of segment {number}"] = None

    def base(self, number: int) -> int:
        """Return the segment that has the graph and the first leaves of this one: mostly itself."""
        if number not in self._bases:
            continued = (self.get("segment", number) or {}).get("continues")
            self._bases[number] = continued if type(continued) is int else number
        return self._bases[number]

    def source(self, number: int) -> str | None:
        """Return where the steps of a segment come from, if they cannot be computed again: ``"torch"``."""
        if number not in self._sources:
            told = (self.get("segment", number) or {}).get("source")
            self._sources[number] = told if isinstance(told, str) else None
        return self._sources[number]

    def graph(self, number: int) -> Graph | None:
        """Return the graph of a segment, or None if there was none or it cannot be read."""
        base = self.base(number)
        if base not in self._graphs:
            self._graphs[base] = self._built(base)
        return self._graphs[base]

    def _built(self, number: int) -> Graph | None:
        record = self.get("segment", number)
        if record is None or record.get("graph") is None:
            return None
        try:
            return Graph.from_json(json.dumps(record["graph"]))
        except GradvizError as error:
            self.notes[f"graphs.jsonl: the graph of segment {number} cannot be read: {error.message}"] = None
            return None

    def _read(self, span: Span) -> dict[str, Any] | None:
        record = unsealed(self._lines.text(span).decode(errors="replace"))
        if record is None:
            self._note_damaged(span)
        return record

    def _note_damaged(self, span: Span) -> None:
        self.notes[f"graphs.jsonl: line {span[0]} is damaged"] = None


def _is_plain(layout: Layout) -> bool:
    parts: dict[str, set[str]] = {}
    for column in layout.columns:
        parts.setdefault(column.name, set()).add(column.part)
    return all(found in PLAIN and not STAND_IN.fullmatch(name) for name, found in parts.items())


class EventLines:
    """What ``events.jsonl`` says."""

    def __init__(self, folder: Path) -> None:
        self.notes: dict[str, None] = {}
        self.events: list[dict[str, Any]] = []
        self._lines = SealedLines(folder / "events.jsonl", EVENTS_LIMIT)

    def refresh(self, *, is_live: bool) -> None:
        """Read the lines that have been added."""
        for span in self._lines.added(is_live=is_live):
            event = unsealed(self._lines.text(span).decode(errors="replace"))
            if event is None:
                self.notes[f"events.jsonl: line {span[0]} is damaged"] = None
            else:
                self.events.append(event)
