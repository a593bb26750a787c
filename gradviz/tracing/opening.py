"""Opening a run directory: what it says about itself, its segments, and the order of its rows."""

from __future__ import annotations

import copy
import errno
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gradviz.errors import GradvizError, TraceError
from gradviz.graphs import Graph
from gradviz.tracing.completeness import missing_events, missing_leaves, wrong_index
from gradviz.tracing.following import Place
from gradviz.tracing.growing import Growing
from gradviz.tracing.layout import NODE_PARTS, PARTS, SUFFIXES, Column
from gradviz.tracing.ordering import Index, entries, keys, order_of_all
from gradviz.tracing.records import EventLines, Records
from gradviz.tracing.segments import Segment, read_text
from gradviz.tracing.store import VERSION, trouble, unsealed

__all__ = ["NO_MORE_FILES", "RunFiles", "StructureRows", "heads_of", "pieces_of"]

INFO_LIMIT = 1 << 24  # bytes of run.json
SEGMENT_LIMIT = 100_000
SEGMENT_NAME = re.compile(r"seg-(\d{4,6})\.npy")
INDEX = "index.npy"
NO_MORE_FILES = {errno.EMFILE, errno.ENFILE}  # then it is not the run that is damaged
PARAMETER_PARTS = frozenset(PARTS) - {"input", "state"} - NODE_PARTS
HIDDEN = frozenset(("digest", "grad_digest")) | NODE_PARTS  # they prove a replay, or are too many for a table


class StructureRows:
    """One segment of a run: rows of one structure with the same columns, and their graph."""

    def __init__(self, number: int, rows: Segment, records: Records, listed: Sequence[str]) -> None:
        self.number = number
        self.rows = rows
        self._records = records
        self._listed = listed
        self._only: frozenset[str] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters it records."""
        return self._names(PARAMETER_PARTS)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs and constants whose values it records at every step, because they change."""
        return self._names({"input"})

    @property
    def nodes(self) -> tuple[str, ...]:
        """The other nodes of its graph that it records, because they cannot be computed again."""
        return self._names(NODE_PARTS)

    def _names(self, parts: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(c.name for c in self._columns if c.part in parts))

    @cached_property
    def _columns(self) -> list[Column]:
        """Its columns by parameter, in the order in which the parameters are listed."""
        columns = self.rows.layout.columns
        place = {name: i for i, name in enumerate(dict.fromkeys([*self._listed, *(c.name for c in columns)]))}
        shown = (c for c in columns if self._only is None or c.name in self._only)
        last = {part: 2 if part in NODE_PARTS else part == "input" for part in PARTS}
        return sorted(shown, key=lambda c: (last[c.part], place[c.name], PARTS.index(c.part)))

    @property
    def labels(self) -> list[tuple[str, Column]]:
        """Its columns with the keys they have in a row of the run, by parameter."""
        return [(c.name + SUFFIXES[c.part], c) for c in self._columns if c.part not in HIDDEN]

    @property
    def graph(self) -> Graph | None:
        """Its graph, or None if there was none or it cannot be read."""
        return self._records.graph(self.number)

    @property
    def damage(self) -> list[str]:
        """What has been found wrong so far, in words."""
        return self.rows.damage

    def having(self, names: Iterable[str]) -> StructureRows:
        """Return the same rows with nothing but these parameters and inputs in sight."""
        part = copy.copy(self)
        part.__dict__.pop("_columns", None)
        part._only = frozenset(names)
        return part


class RunFiles:
    """The files of one run, read as far as they have been written; several `gradviz.Run` may look at them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes: dict[str, None] = {}
        self._place = Place(folder)
        self.info = _read_info(folder, self.notes)
        self.records = Records(folder)
        self.event_lines = EventLines(folder)
        self.segments: dict[int, StructureRows] = {}
        self._index: Index | None = None
        self._rows_seen = 0  # of the first segment, before there was an index
        self._order = Growing(np.zeros((0, 2), np.int64))
        self._heads: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        nothing = np.zeros(0, np.int64)
        self._sorted = nothing, nothing, nothing
        self.is_settled = False  # nothing can be added any more
        self.was_replaced = False
        self._read()

    @property
    def is_in_place(self) -> bool:
        """Whether the directory still holds this run, and not another one that was written since."""
        return self._place.state != "gone"

    @property
    def order(self) -> np.ndarray:
        """(segment, row) of every iteration."""
        return self._order.array

    def head(self, name: str) -> np.ndarray:
        """Return ``step``, ``time`` or ``loss`` of every iteration."""
        order = self.order
        known = self._heads.get(name)
        if known is None or known[0] is not order:
            known = self._heads[name] = order, heads_of(self.segments, order, name)
        return known[1]

    def position(self, number: int, row: int) -> int:
        """Return where this row of this segment stands among all iterations."""
        order = self.order
        if self._sorted[0] is not order:
            joined = keys(order)
            places = np.argsort(joined, kind="stable")
            self._sorted = order, joined[places], places
        _, joined, places = self._sorted
        return int(places[np.searchsorted(joined, keys(np.array([[number, row]])))[0]])

    @property
    def listed(self) -> tuple[str, ...]:
        """The names of the parameters that run.json lists."""
        names = self.info.get("names")
        return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()

    @property
    def damage(self) -> list[str]:
        """What has been found wrong so far, in words."""
        parts = (note for part in self.segments.values() for note in part.damage)
        return [*self.notes, *self.records.notes, *self.event_lines.notes, *parts]

    def refresh(self) -> None:
        """Look for what has been added."""
        if not self.is_settled:
            self._read()

    def check(self) -> None:
        """Compare everything with its checksum that was not needed so far."""
        self.records.check(self.segments)
        for part in self.segments.values():
            part.rows.check_arrays()
        if self.is_settled and self.is_in_place:
            self._check_completeness()

    def _check_completeness(self) -> None:
        try:
            missing = list(self._missing())
        except OSError:
            if self.is_in_place:
                raise
            return
        if self.is_in_place:  # still
            self.notes |= dict.fromkeys(missing)

    def _missing(self) -> Iterator[str]:
        """Yield what the run says it has and has not."""
        yield from missing_leaves(self.folder, self.records, self.segments)
        yield from wrong_index(self.folder, self.segments)
        yield from missing_events(self.event_lines.events, sum(part.rows.count for part in self.segments.values()))

    @property
    def is_live(self) -> bool:
        """Whether somebody writes this run."""
        return not self.is_settled and self._place.state == "live"

    def _read(self) -> None:
        """Read what is new, unless another run has taken the place of this one."""
        is_live = self._place.state == "live"
        order, known, events, notes = self._order.array, set(self.segments), len(self.event_lines.events), [*self.notes]
        try:
            self.records.refresh(is_live=is_live)
            self.event_lines.refresh(is_live=is_live)
            self._read_more() if is_live else self._read_to_the_end()
        except OSError:
            if self.is_in_place:
                raise
        self.is_settled = not is_live
        if not self.is_in_place:
            self._order = Growing(order)
            self.segments = {n: part for n, part in self.segments.items() if n in known}
            del self.event_lines.events[events:]
            self.notes = dict.fromkeys(notes)
            self.notes["the run was replaced or removed while it was read: later steps are not known"] = None
            self.is_settled = self.was_replaced = True

    # -- while somebody writes -----------------------------------------------------------------

    def _read_more(self) -> None:
        """Read on. Rows are looked at before the index: once that is there, it alone tells the order."""
        if self._index is None:
            rows = self._more_of_the_first()
            index = Index(self.folder / INDEX) if (self.folder / INDEX).exists() else None
            if index is None or index.count < self._rows_seen:
                self._order.add(rows)  # an index that is shorter is being made from the rows of the first segment
                return
            self._index, self._order = index, Growing(np.zeros((0, 2), np.int64))
        self._order.add(self._there(self._index))

    def _more_of_the_first(self) -> np.ndarray:
        """Return the intact rows that were added to the only segment."""
        part = self._refreshed(0)
        if part is None:
            return np.zeros((0, 2), np.int64)
        start, self._rows_seen = self._rows_seen, part.rows.count
        return entries(0, start + np.flatnonzero(part.rows.intact[start:]))

    def _there(self, index: Index) -> np.ndarray:
        """Return the intact rows that were added to the index."""
        found = index.added()
        kept = np.zeros(len(found), bool)
        for number in np.unique(found[:, 0]).tolist():
            part = self._refreshed(number)
            if part is not None:
                mine = np.flatnonzero(found[:, 0] == number)
                mine = mine[found[mine, 1] < part.rows.count]
                kept[mine] = part.rows.intact[found[mine, 1]]
        return found[kept]

    def _refreshed(self, number: int) -> StructureRows | None:
        """Return a segment with the rows that it has now; None if it cannot be read, or not yet."""
        part = self.segments.get(number)
        if part is not None:
            part.rows.refresh(is_live=True)
            return part
        path = self.folder / f"seg-{number:04d}.npy"
        if not path.exists():
            return None
        return self._opened(number, path, is_live=True)

    # -- when nobody writes any more -----------------------------------------------------------

    def _read_to_the_end(self) -> None:
        found = _segment_paths(self.folder)
        for number, path in found:
            part = self.segments.get(number)
            if part is None:
                self._opened(number, path, is_live=False)
            else:
                part.rows.refresh(is_live=False)
        self.segments = dict(sorted(self.segments.items()))
        if found and not self.segments:
            raise TraceError(f"nothing in {self.folder} can be read", hint="; ".join(self.damage)[:500])
        order = order_of_all(self.folder, self.segments, self.notes)
        if not np.array_equal(order, self.order):
            self._order = Growing(order)

    def _opened(self, number: int, path: Path, *, is_live: bool) -> StructureRows | None:
        """Open one segment; if it cannot be read, that is noted, and while it is written tried again."""
        if is_live:
            self.records.refresh(is_live=True)  # its line was written before it
        try:
            rows = self.records.rows(path, "segment", number, is_live=is_live)
        except (GradvizError, TypeError, ValueError, LookupError) as error:
            if getattr(error, "errno", None) in NO_MORE_FILES:
                raise
            if not is_live:
                self.notes[f"{path.name}: cannot be read: {str(error).splitlines()[0]}"] = None
            return None
        self.segments[number] = StructureRows(number, rows, self.records, self.listed)
        return self.segments[number]


def heads_of(segments: Mapping[int, StructureRows], order: np.ndarray, name: str) -> np.ndarray:
    """Return ``step``, ``time`` or ``loss`` of the iterations in ``order``, in memory that cannot be written to."""
    values: np.ndarray = np.zeros(len(order), np.int64 if name == "step" else np.float64)
    for positions, number, rows in pieces_of(order):
        values[positions] = segments[number].rows.head(name, rows)
    values.flags.writeable = False
    return values


def pieces_of(order: np.ndarray) -> Iterator[tuple[np.ndarray, int, np.ndarray]]:
    """Yield, of every segment, which iterations it holds, its number, and in which rows."""
    places = np.argsort(order[:, 0], kind="stable")
    numbers = order[places, 0]
    ends = np.flatnonzero(np.diff(numbers)) + 1
    for positions in np.split(places, ends) if len(places) else ():
        yield positions, int(order[positions[0], 0]), order[positions, 1]


def _read_info(folder: Path, notes: dict[str, None]) -> dict[str, Any]:
    """Read ``run.json``."""
    info = unsealed(read_text(folder / "run.json", INFO_LIMIT))
    if info is None:
        notes["run.json: damaged; what it said is not shown"] = None
        return {}
    if info.get("version") != VERSION:
        raise TraceError(
            f"the run in {folder} has format {info.get('version')!r}, this program reads {VERSION}",
            hint="update gradviz",
        )
    return info


def _segment_paths(folder: Path) -> list[tuple[int, Path]]:
    """Return the numbers and paths of the segments, in order."""
    with trouble(f"cannot read {folder}", folder):
        paths = list(folder.iterdir())
    found = sorted((int(match[1]), path) for path in paths if (match := SEGMENT_NAME.fullmatch(path.name)))
    if len(found) > SEGMENT_LIMIT:
        raise TraceError(f"{len(found)} segments in {folder}: the limit is {SEGMENT_LIMIT}")
    return found
