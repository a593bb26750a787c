"""Watching a run while it is written: what ``gradviz show RUN --follow`` does, in a terminal and in a pipe."""

from __future__ import annotations

import json
import math
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import TraceError
from gradviz.escape import clean
from gradviz.style.wording import format_number
from gradviz.terminal import is_live
from gradviz.verbs.output import console, say, write
from gradviz.verbs.sizes import plain, size_of

if TYPE_CHECKING:
    from gradviz.rules import Finding
    from gradviz.tracing.reading import Run

__all__ = ["Watched", "watch"]

PAUSE = 0.2  # seconds between two looks at the run
JUDGED_SHARE = 0.1  # of the time at most goes into judging the run
JUDGED_EVERY = 3.0  # seconds
ROWS_AT_ONCE = 1000  # rows turned into lines before they are written
FINE, FINDINGS = 0, 1


class Watched:
    """A run that grows: its losses so far, its last row, its events and findings, read a little at a time."""

    def __init__(self, run: Run, *, judges: bool = False) -> None:
        self.run = run
        self._judges = judges
        self.losses = array("d")
        self.last: dict[str, Any] = {}
        self.findings: list[Finding] = []
        self.is_live = True
        self._judge_at = 0.0
        self._judged = 0

    def look(self) -> bool:
        """Take in what has been written since; False once nobody writes any more."""
        self.is_live = self.run.is_live  # asked first: what is written until the end is then read below
        self.run.refresh()
        fresh = self.run[len(self.losses) :]
        if len(fresh):
            self.losses.frombytes(np.ascontiguousarray(fresh.loss, float).tobytes())
            self.last = next(iter(fresh[-1:]))
        if self._judges:
            self._judge()
        return self.is_live

    @property
    def loss(self) -> np.ndarray:
        """The losses so far."""
        return np.array(self.losses, float)

    @property
    def steps_per_second(self) -> float | None:
        """How fast the last rows came, by their own clock."""
        times = self.run[-1000:].times
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else None

    @property
    def gradient(self) -> float | None:
        """The Euclidean norm of all gradients of the last row together."""
        sizes = [size_of(self.last, name, ".grad") for name in self.run.names]
        known = [size for size in sizes if size is not None]
        return math.hypot(*known) if known else None

    @property
    def ending(self) -> str:
        """How the run ended, in words; empty if it lives, or was closed in order."""
        if self.is_live:
            return ""
        ends = [event for event in self.run.events if event.get("kind") == "end"]
        if not ends:
            return "its writer ended without closing it (killed?)"
        return str(ends[-1].get("text")) if ends[-1].get("error") else ""

    def _judge(self) -> None:
        """Apply the health rules now and then, for a small share of the time."""
        began = time.monotonic()
        if self._judged == len(self.losses) or (self.is_live and began < self._judge_at):
            return
        self._judged = len(self.losses)
        self.findings = self.run.findings()
        now = time.monotonic()
        self._judge_at = now + max(JUDGED_EVERY, (now - began) / JUDGED_SHARE)


def watch(path: str, *, as_json: bool = False) -> int:
    """Show a run while it grows, until it ends: a table on a terminal, a line per step in a pipe.

    Waits for a run that does not exist yet. Returns 1 if the run was not closed or is damaged.
    """
    from gradviz.tracing.reading import open_run

    run = open_run(_awaited(Path(path)))
    if not as_json and _takes_tables():
        watched = Watched(run, judges=True)
        _watch_table(watched)
    else:
        watched = Watched(run)
        _write_lines(watched, as_json=as_json)
    return _verdict(watched)


def _takes_tables() -> bool:
    """Tell whether stdout is a terminal that can be written over and knows the characters of a table."""
    return is_live(sys.stdout) and str(sys.stdout.encoding).lower().startswith("utf")


def _awaited(path: Path) -> Path:
    """Return the path once there is a run."""
    if not (path / "run.json").exists():
        _refuse_what_cannot_become_one(path)
        say(f"gradviz: waiting for a run in {path} (Ctrl-C to stop)")
    while not (path / "run.json").exists():
        time.sleep(PAUSE)
        _refuse_what_cannot_become_one(path)
    return path


def _refuse_what_cannot_become_one(path: Path) -> None:
    """Raise TraceError for a file, and for a run of several processes."""
    if path.exists() and not path.is_dir():
        raise TraceError(f"{path} is not a directory", hint="a run is a directory written by gradviz.trace")
    ranks = sorted(entry.parent for entry in path.glob("rank-*/run.json"))
    if ranks:
        raise TraceError(
            f"{path} holds the runs of {len(ranks)} processes",
            hint=f"follow one of them: gradviz show {ranks[0]} --follow",
        )


def _verdict(watched: Watched) -> int:
    """Say how it ended."""
    damage = watched.run.damage
    for note in damage:
        say(f"gradviz: damaged: {note}")
    if watched.ending:
        say(f"gradviz: {watched.run.path}: {watched.ending}; {len(watched.losses)} steps are complete")
    return FINDINGS if damage or watched.ending else FINE


def _watch_table(watched: Watched) -> None:
    """Write a table over and over."""
    from rich.live import Live

    from gradviz.verbs.livetable import picture

    screen = console()
    with Live(console=screen, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            goes_on = watched.look()
            live.update(picture(watched, screen.width, screen.height), refresh=True)
            if not goes_on:
                return
            time.sleep(PAUSE)


def _write_lines(watched: Watched, *, as_json: bool) -> None:
    """Write every row, and every event, as a line."""
    line = _json_line if as_json else _text_line
    rows, events = 0, 0
    while True:
        goes_on = watched.look()
        for batch in _batches(watched.run, rows):
            write("".join(line(row, watched.run) for row in batch))
            rows += len(batch)
        for event in watched.run.events[events:]:
            write(_json_event(event) if as_json else _text_event(event))
            events += 1
        if not goes_on:
            return
        time.sleep(PAUSE)


def _batches(run: Run, start: int) -> Iterator[list[dict[str, Any]]]:
    for first in range(start, len(run), ROWS_AT_ONCE):
        yield list(run[first : first + ROWS_AT_ONCE])


def _text_line(row: dict[str, Any], run: Run) -> str:
    """Return one step in words: the loss, then every scalar or the norm of every array with that of its gradient."""
    words = [f"step {row['step']}", f"loss {format_number(row['loss'], 6)}"]
    for name in run.names[:8]:
        value, grad = size_of(row, name, ""), size_of(row, name, ".grad")
        if value is not None:
            gradient = "" if grad is None else f" (gradient {format_number(grad)})"
            words.append(f"{clean(name, 40)} {format_number(value)}{gradient}")
    return "  ".join(words) + "\n"


def _text_event(event: dict[str, Any]) -> str:
    return f"# step {event.get('step')}: {clean(str(event.get('kind')))}: {clean(str(event.get('text', '')))}\n"


def _json_line(row: dict[str, Any], run: Run) -> str:
    """Return one step as JSON: scalars and norms as numbers, NaN and infinities as text."""
    record: dict[str, Any] = {"kind": "step", "step": row["step"], "time": row["time"], "loss": plain(row["loss"])}
    for name in run.names:
        for part in ("", ".grad"):
            size = size_of(row, name, part)
            is_array = size is not None and np.ndim(row.get(name + part, ())) > 0
            record[f"{name}{part}.norm" if is_array else name + part] = None if size is None else plain(size)
    return json.dumps(record, allow_nan=False) + "\n"


def _json_event(event: dict[str, Any]) -> str:
    return json.dumps(event, allow_nan=False) + "\n"
