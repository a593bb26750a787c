"""`open_run`: read what `trace` wrote."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np

from gradviz.errors import GradvizTypeError, TraceError, UnknownNameError
from gradviz.escape import clean
from gradviz.graphs import Frame, Graph
from gradviz.tracing.choosing import between, check_slice, is_pattern, matching
from gradviz.tracing.fetching import local_folder
from gradviz.tracing.following import Place, added_rows, wait_for_run
from gradviz.tracing.history import History, assembled
from gradviz.tracing.kept import KeptSteps
from gradviz.tracing.opening import RunFiles, StructureRows, heads_of, pieces_of
from gradviz.tracing.outputs import Outputs
from gradviz.tracing.replaying import Replayer

__all__ = ["Run", "open_run"]

ROWS_AT_ONCE = 1 << 24  # bytes read at once when iterating
ATTEMPTS, PAUSE = 100, 0.02  # to open a run that another one is taking the place of; seconds
Made = TypeVar("Made")


def open_run(path: str | os.PathLike[str], *, follow: bool = False, timeout: float = 10.0) -> Run:
    """Open a run directory that `trace` wrote, finished or not.

    Every row is compared with its checksum: a damaged one is skipped and named in ``run.damage``, and
    no number is ever shown that was not written. No file outside the directory is read.

    A run that is still being written is read as far as it has come; ``run.refresh()`` reads on. With ``follow``
    it is always read anew: ``len``, ``loss``, ``run["w"]`` and all else show what is on disk now, iterating waits for
    more until the writer ends, and a run that does not exist yet is waited for, up to ``timeout`` seconds.

    ``path`` may be an fsspec URL (``s3://bucket/run``, extra ``query``): the run is copied as it is then.

    Raises TraceError if there is no run, or nothing in it can be read.

    >>> open_run("no/such/run")
    Traceback (most recent call last):
        ...
    gradviz.errors.TraceError: there is no run in no/such/run
      a run is a directory written by gradviz.trace
    """
    folder = local_folder(path)
    if follow:
        wait_for_run(folder, timeout)
    if not (folder / "run.json").is_file():
        raise TraceError(f"there is no run in {folder}", hint=_advice(folder))
    files = _opened(folder)
    return Run(files, Replayer(files), follow=follow)


def _opened(folder: Path) -> RunFiles:
    """Read what is there; if another run is just taking its place, wait for that."""
    for _ in range(ATTEMPTS):
        place = Place(folder)
        try:
            files = RunFiles(folder)
        except OSError:
            if place.state != "gone":
                raise
        else:
            if not files.was_replaced:
                return files
        time.sleep(PAUSE)
    raise TraceError(f"another run is being written to {folder}", hint="try again when it has begun")


def _advice(folder: Path) -> str:
    """Say what may be meant by a directory that is no run."""
    ranks = sorted(entry.parent.name for entry in folder.glob("rank-*/run.json"))
    if not ranks:
        runs = sorted(str(entry.parent) for entry in folder.glob("*/run.json"))
        found = f"; there is one in {runs[0]}" if runs else ""
        return f"a run is a directory written by gradviz.trace{found}"
    one = folder / ranks[0]
    return f"it holds the runs of {len(ranks)} processes: gradviz.open_runs({str(folder)!r}), or open_run({str(one)!r})"


class Run(Outputs, KeptSteps):
    """The iterations of one run, in the order in which they happened; see `open_run`.

    ``len(run)`` counts them, ``run["w"]`` is the history of one parameter, ``run[10:20]`` and ``run["encoder.*"]``
    are parts of the run, ``run.frame(17)`` is one step with its graph, and iterating gives one dict per step.
    """

    def __init__(
        self,
        files: RunFiles,
        replayer: Replayer,
        order: np.ndarray | None = None,
        only: frozenset[str] | None = None,
        *,
        follow: bool = False,
    ) -> None:
        self._files = files
        self._replayer = replayer
        self._order = files.order if order is None else order  # (segment, row) of every iteration
        self._is_part = order is not None
        self._only = only  # the names of parameters and inputs in sight
        self._follow = follow
        self._cache: dict[str, Any] = {}

    @property
    def path(self) -> Path:
        """The directory."""
        return self._files.folder

    @property
    def info(self) -> dict[str, Any]:
        """What ``run.json`` says: versions, machine, seed, rank, level."""
        return self._files.info

    @property
    def meta(self) -> dict[str, Any]:
        """What the user wrote about the run."""
        meta = self.info.get("meta")
        return meta if isinstance(meta, dict) else {}

    @property
    def rank(self) -> int:
        """Which of the processes of a distributed training wrote it; 0 if there was one."""
        rank = self.info.get("rank")
        return rank if type(rank) is int else 0

    @property
    def events(self) -> list[dict[str, Any]]:
        """What happened beside the numbers: ``step, time, kind, text`` and what belongs to that kind, in order."""
        return list(self.now._files.event_lines.events)

    # -- while it is being written -------------------------------------------------------------

    @property
    def now(self) -> Run:
        """The run as it is on disk now, if it is followed; else the run itself."""
        if self._follow:
            self.refresh()
        return self

    @property
    def still(self) -> Run:
        """The run as it is on disk now, and stays from here on, if it is followed; else the run itself."""
        return self[:] if self._follow else self

    @property
    def is_live(self) -> bool:
        """Whether a process is writing the run."""
        return self._files.is_live

    def refresh(self) -> bool:
        """Read on; return whether there are more iterations or events. A part of a run stays as it is."""
        if self._is_part:
            return False
        events = len(self._files.event_lines.events)
        self._files.refresh()
        grown = self._order is not self._files.order
        self._order = self._files.order
        if grown:
            self._cache.clear()
        return grown or events != len(self._files.event_lines.events)

    def follow(self, poll: float = 0.1) -> Iterator[dict[str, Any]]:
        """Yield the rows that are added from now on, as they come, until the writer ends.

        ``poll`` is the time between two looks, in seconds.
        """
        return added_rows(self, len(self._order), poll)

    # -- what is in it -------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters."""
        run = self.now
        recorded = (name for part in run._files.segments.values() for name in part.names)
        return run._cached("names", lambda: run._in_sight([*run._files.listed, *recorded]))

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs and constants that change from step to step, and were recorded."""
        run = self.now
        recorded = (name for part in run._files.segments.values() for name in part.inputs)
        return run._cached("inputs", lambda: run._in_sight(recorded))

    def _in_sight(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(name for name in dict.fromkeys(names) if self._only is None or name in self._only)

    @property
    def steps(self) -> np.ndarray:
        """The number of every iteration."""
        return self.now._head("step")

    @property
    def times(self) -> np.ndarray:
        """When every iteration was recorded, in seconds since 1970 (UTC)."""
        return self.now._head("time")

    @property
    def loss(self) -> np.ndarray:
        """The loss of every iteration."""
        return self.now._head("loss")

    @property
    def structures(self) -> tuple[StructureRows, ...]:
        """The segments that occur in this part of the run, in the order of their first appearance."""
        numbers = dict.fromkeys(self.now._order[:, 0].tolist())
        return tuple(self._part(number) for number in numbers)

    def _part(self, number: int) -> StructureRows:
        part = self._files.segments[number]
        return part if self._only is None else part.having(self._only)

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """The distinct graphs, in the order of their first appearance."""
        graphs = (part.graph for part in self.structures)
        return tuple({graph.fingerprint(): graph for graph in graphs if graph is not None}.values())

    @property
    def graph(self) -> Graph | None:
        """The graph of the last iteration, or None if the losses were plain numbers."""
        order = self.now._order
        return self._part(int(order[-1, 0])).graph if len(order) else None

    @property
    def damage(self) -> list[str]:
        """Everything that is wrong with the files, in words. This reads all of them."""
        self.now._files.check()
        return [*self._files.damage, *self._replayer.check()]

    # -- one step ------------------------------------------------------------------------------

    def frame(self, step: int) -> Frame:
        """Return one iteration as a frame: its graph, every value and every gradient.

        ``step`` is the number of the iteration, or a negative position from the end. Loss, parameters and
        their gradients are as recorded. The rest is computed again from them, and shown only if that
        gives the recorded loss and gradients to the last bit; otherwise it is None and
        ``frame.meta["replay"]`` says why. Where arrays were recorded at every so manieth step only, training goes
        on from there to this step, and every step on the way is proved by its loss and checksums.
        """
        run = self.now
        return run._replayer.frame(*run._order[run._position(step)].tolist())

    def frames(self, steps: Iterable[int] | None = None) -> Iterator[Frame]:
        """Yield the frames of these steps (default: of all). One after the other costs one step of training each."""
        run = self.now
        positions = range(len(run._order)) if steps is None else map(run._position, steps)
        return (run._replayer.frame(*run._order[position].tolist()) for position in positions)

    def replayed_number(self, position: int, name: str, what: str) -> Any:
        """Return the value or gradient (``what``) of a parameter at a position, computed again; None if that fails."""
        number, row = self._order[position].tolist()
        return self._replayer.number(number, row, name, what)

    def _position(self, step: int) -> int:
        """Find the last row of that step."""
        if not isinstance(step, int | np.integer):
            raise GradvizTypeError(f"a step is a whole number, not {str(step)[:80]!r}")
        steps = self._head("step")
        if step < 0 and -step <= len(steps) and step not in steps[:1]:
            return len(steps) + int(step)
        found = np.flatnonzero(steps == step)
        if len(found):
            return int(found[-1])
        if not len(steps):
            raise UnknownNameError(f"there is no step {step}: the run is empty", where=str(self.path))
        hint = f"the run has {len(steps)} steps, from {steps.min()} to {steps.max()}"
        raise UnknownNameError(f"there is no step {step} in the run", hint=hint, where=str(self.path))

    # -- parts ---------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.now._order)

    @overload
    def __getitem__(self, key: slice) -> Run: ...
    @overload
    def __getitem__(self, key: str) -> Any: ...
    @overload
    def __getitem__(self, key: tuple[slice, str]) -> Any: ...
    def __getitem__(self, key: Any) -> Any:
        """Return the history of one parameter, or a part of the run: ``run["w"]``, ``run[10:20]``, ``run["enc.*"]``."""
        if isinstance(key, slice):
            check_slice(key)
            return Run(self._files, self._replayer, self.now._order[key], self._only)
        if isinstance(key, tuple) and len(key) == 2 and isinstance(key[0], slice) and isinstance(key[1], str):
            return self[key[0]][key[1]]
        if not isinstance(key, str):
            raise GradvizTypeError(
                f"a run is indexed by a name or a slice, not by {str(key)[:80]!r}",
                hint="run.frame(17) is one step, run.between(10, 20) some by their numbers",
            )
        known = (*self.names, *self.inputs, *self.nodes)
        if key in known:
            return History(self, key)
        if is_pattern(key):
            return self.select(key)
        raise UnknownNameError.among("parameter", key, known)

    def select(self, *patterns: str) -> Run:
        """Return the run with the matching parameters (and changing inputs) only: ``run.select("enc.*", "head.*")``.

        Raises UnknownNameError for a pattern that matches none.
        """
        only = frozenset(matching(patterns, (*self.names, *self.inputs, *self.nodes)))
        return Run(self._files, self._replayer, self._order if self._is_part else None, only, follow=self._follow)

    def between(self, first: int | None = None, last: int | None = None) -> Run:
        """Return the steps with numbers from ``first`` to ``last``, both included: ``run.between(100, 200)``."""
        run = self.now
        return Run(self._files, self._replayer, run._order[between(run._head("step"), first, last)], self._only)

    # -- rows ----------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return added_rows(self, 0, 0.1) if self._follow else self._rows()

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one dict per iteration: step, time, loss, every value and gradient (None: there was none)."""
        return list(self.now._rows())

    def _rows(self) -> Iterator[dict[str, Any]]:
        for part, rows in self._stretches():
            heads = [part.rows.head(name, rows).tolist() for name in ("step", "time", "loss")]
            columns = [(key, *part.rows.read(column, rows)) for key, column in part.labels]
            for i in range(len(rows)):
                head = dict(zip(("step", "time", "loss"), (head[i] for head in heads), strict=True))
                yield head | {key: _cell(values[i], there[i]) for key, values, there in columns}

    def _stretches(self) -> Iterator[tuple[StructureRows, np.ndarray]]:
        """Yield the iterations as pieces that lie in one segment and fit into memory."""
        for number, group in groupby(self._order.tolist(), key=lambda entry: entry[0]):
            part = self._part(number)
            rows = np.array([row for _, row in group], np.int64)
            size = max(1, ROWS_AT_ONCE // part.rows.layout.itemsize)
            for start in range(0, len(rows), size):
                yield part, rows[start : start + size]

    def pieces(self) -> Iterator[tuple[np.ndarray, StructureRows, np.ndarray]]:
        """Yield, of every segment, which iterations it holds and in which rows."""
        return ((positions, self._part(number), rows) for positions, number, rows in pieces_of(self._order))

    def column(self, name: str, kind: str) -> np.ndarray:
        """Return one column over all iterations; a masked array if it is not there in all of them."""
        run = self.now
        found = ((at, part.rows.columns.get((name, kind)), part, rows) for at, part, rows in run.pieces())
        read = ((at, *part.rows.read(column, rows)) for at, column, part, rows in found if column is not None)
        return assembled(len(run._order), read, name)

    def _head(self, name: str) -> np.ndarray:
        return self._cached(name, lambda: heads_of(self._files.segments, self._order, name))

    def _cached(self, name: str, make: Callable[[], Made]) -> Made:
        if name not in self._cache:
            self._cache[name] = make()
        found: Made = self._cache[name]
        return found

    def summary(self) -> str:
        """Return what is in the run, as a few lines of text."""
        from gradviz.tracing.table import summary

        return summary(self.still, self._files.damage)

    def __repr__(self) -> str:
        run = self.still
        if not len(run):
            return f"Run({str(self.path)!r}, empty)"
        shown = clean(", ".join(self.names[:8]))
        last = f"loss {run.loss[0]:.6g} to {run.loss[-1]:.6g}"
        return f"Run({str(self.path)!r}, {len(run)} steps, {last}, parameters {shown})"


def _cell(value: Any, there: bool) -> Any:
    """Return one number of a row: a float, an array, or None if it was not there."""
    if not there:
        return None
    return value if isinstance(value, np.ndarray) else value.item()
