"""Whether a run has all the files and rows that it says it has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.tracing.ordering import Index
from gradviz.tracing.segments import Segment, ranges

if TYPE_CHECKING:
    from gradviz.tracing.opening import StructureRows
    from gradviz.tracing.records import Records

__all__ = ["missing_events", "missing_leaves", "wrong_index"]


def missing_leaves(folder: Path, records: Records, segments: Iterable[int]) -> Iterator[str]:
    """Yield what is wrong where a segment with a graph has no leaves: they are written before its line is."""
    for number in segments:
        record = records.get("segment", number) or {}
        path = folder / f"leaves-{number:04d}.npy"
        has_leaves = record.get("graph") is not None and record.get("columns") and not record.get("source")
        if has_leaves and not path.exists():
            yield f"{path.name}: missing; steps of segment {number} cannot be computed again"


def wrong_index(folder: Path, segments: Mapping[int, StructureRows]) -> Iterator[str]:
    """Yield what is wrong where the index has rows of a segment that is not there, or has other steps in its rows."""
    path = folder / "index.npy"
    if not path.exists():
        return
    entries = Index(path).entries_added()
    for number in np.unique(entries["segment"]).tolist():
        mine = entries[entries["segment"] == number]
        if number in segments:
            yield from _wrong_steps(segments[number].rows, mine)
        elif not (folder / f"seg-{number:04d}.npy").exists():
            yield f"seg-{number:04d}.npy: missing; the index has {len(mine)} rows of it"


def _wrong_steps(rows: Segment, entries: np.ndarray) -> Iterator[str]:
    there = entries[entries["row"] < rows.count]
    there = there[rows.intact[there["row"]]]
    wrong = there["row"][rows.head("step", there["row"].astype(np.int64)) != there["step"]]
    if len(wrong):
        yield f"{rows.path.name}: rows {ranges(np.unique(wrong))} have other steps than the index says of them"


def missing_events(events: Sequence[dict[str, Any]], count: int) -> Iterator[str]:
    """Yield what is wrong where there are no events, or the one that ends the run counts more rows than there are.

    >>> list(missing_events([{"kind": "end", "steps": 3}], 1)), list(missing_events([], 2))
    (['events.jsonl: the run was closed after 3 steps, the segments hold 1'], ['events.jsonl: nothing is left of it'])
    """
    if count > 1 and not events:  # the first step writes one, before the second begins
        yield "events.jsonl: nothing is left of it"
    written = [event.get("steps") for event in events if event.get("kind") == "end"]
    if written and type(written[-1]) is int and written[-1] != count:
        yield f"events.jsonl: the run was closed after {written[-1]} steps, the segments hold {count}"
