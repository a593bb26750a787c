"""`open_run`: read what `trace` wrote."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, overload

import numpy as np

from gradviz.errors import GradvizTypeError, GradvizValueError, TraceError, UnknownNameError
from gradviz.escape import clean
from gradviz.graphs import Frame, Graph
from gradviz.tracing.columns import norm
from gradviz.tracing.frames import frame_of
from gradviz.tracing.opening import StructureRows, read_info, read_order, read_records, read_segments
from gradviz.tracing.outputs import Outputs

__all__ = ["History", "Run", "open_run"]

ROWS_AT_ONCE = 1 << 24  # bytes read at once when iterating


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open a run directory that `trace` wrote, finished or not.

    Every row is compared with its checksum: a damaged one is skipped and named in ``run.damage``, and
    no number is ever shown that was not written. No file outside the directory is read.

    Raises TraceError if there is no run, or nothing in it can be read.

    >>> open_run("no/such/run")
    Traceback (most recent call last):
        ...
    gradviz.errors.TraceError: there is no run in no/such/run
      a run is a directory written by gradviz.trace
    """
    folder = Path(path)
    if not (folder / "run.json").is_file():
        raise TraceError(f"there is no run in {folder}", hint="a run is a directory written by gradviz.trace")
    notes: list[str] = []
    info = read_info(folder, notes)
    records = read_records(folder, notes)
    segments = read_segments(folder, records, notes)
    return Run(folder, info, segments, read_order(folder, segments, notes), notes)


class Run(Outputs):
    """The iterations of one run, in the order in which they happened; see `open_run`.

    ``len(run)`` counts them, ``run["w"]`` is the history of one parameter, ``run[10:20]`` a part of
    the run, ``run.frame(17)`` one step with its graph, and iterating gives one dict per step.
    """

    def __init__(
        self,
        path: Path,
        info: dict[str, Any],
        segments: dict[int, StructureRows],
        order: np.ndarray,
        notes: list[str],
    ) -> None:
        self.path = path
        self.info = info
        self._segments = segments
        self._order = order  # (segment, row) of every iteration
        self._notes = notes

    @property
    def meta(self) -> dict[str, Any]:
        """What the user wrote about the run."""
        meta = self.info.get("meta")
        return meta if isinstance(meta, dict) else {}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters."""
        listed = self.info.get("names") or []
        recorded = (name for part in self._segments.values() for name in part.names)
        return tuple(dict.fromkeys([*(name for name in listed if isinstance(name, str)), *recorded]))

    @cached_property
    def steps(self) -> np.ndarray:
        """The number of every iteration."""
        return self._head("step", np.int64)

    @cached_property
    def times(self) -> np.ndarray:
        """When every iteration was recorded, in seconds since 1970 (UTC)."""
        return self._head("time", np.float64)

    @cached_property
    def loss(self) -> np.ndarray:
        """The loss of every iteration."""
        return self._head("loss", np.float64)

    @property
    def structures(self) -> tuple[StructureRows, ...]:
        """The structures that occur in this part of the run, in the order of their first appearance."""
        return tuple(self._segments[number] for number in dict.fromkeys(self._order[:, 0].tolist()))

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """The distinct graphs, in the order of their first appearance."""
        graphs = (part.graph for part in self.structures)
        return tuple({graph.fingerprint(): graph for graph in graphs if graph is not None}.values())

    @property
    def graph(self) -> Graph | None:
        """The graph of the last iteration, or None if the losses were plain numbers."""
        return self._segments[int(self._order[-1, 0])].graph if len(self) else None

    @property
    def damage(self) -> list[str]:
        """Everything that is wrong with the files, in words. This reads all of them."""
        for part in self._segments.values():
            part.rows.check_arrays()
        return self._known_damage()

    def _known_damage(self) -> list[str]:
        return [*self._notes, *(note for part in self._segments.values() for note in part.damage)]

    def frame(self, step: int) -> Frame:
        """Return one iteration as a frame: its graph, every value and every gradient.

        ``step`` is the number of the iteration, or a negative position from the end. Loss, parameters and
        their gradients are as recorded. The rest is computed again from them, and shown only if that
        gives the recorded loss and gradients to the last bit; otherwise it is None and
        ``frame.meta["replay"]`` says why.
        """
        position = self._position(step)
        number, row = self._order[position].tolist()
        return frame_of(self._segments[number], row)

    def _position(self, step: int) -> int:
        """Find the last row of that step."""
        if not isinstance(step, int | np.integer):
            raise GradvizTypeError(f"a step is a whole number, not {str(step)[:80]!r}")
        if step < 0 and -step <= len(self) and step not in self.steps[:1]:
            return len(self) + step
        found = np.flatnonzero(self.steps == step)
        if len(found):
            return int(found[-1])
        if not len(self):
            raise UnknownNameError(f"there is no step {step}: the run is empty", where=str(self.path))
        hint = f"the run has {len(self)} steps, from {self.steps.min()} to {self.steps.max()}"
        raise UnknownNameError(f"there is no step {step} in the run", hint=hint, where=str(self.path))

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, key: str) -> History: ...
    @overload
    def __getitem__(self, key: slice) -> Run: ...
    def __getitem__(self, key: str | slice) -> History | Run:
        if isinstance(key, slice):
            return Run(self.path, self.info, self._segments, self._order[key], self._notes)
        if not isinstance(key, str):
            raise GradvizTypeError(
                f"a run is indexed by a name or a slice, not by {key!r}", hint="run.frame(17) is one step"
            )
        if key not in self.names:
            raise UnknownNameError.among("parameter", key, self.names)
        return History(self, key)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for part, rows in self._stretches():
            heads = [part.rows.head(name, rows).tolist() for name in ("step", "time", "loss")]
            columns = [(key, *part.rows.read(column, rows)) for key, column in part.labels]
            for i in range(len(rows)):
                head = dict(zip(("step", "time", "loss"), (head[i] for head in heads), strict=True))
                yield head | {key: _cell(values[i], there[i]) for key, values, there in columns}

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one dict per iteration: step, time, loss, every value and gradient (None: there was none)."""
        return list(self)

    def summary(self) -> str:
        """Return what is in the run, as a few lines of text."""
        from gradviz.tracing.table import summary

        return summary(self, self._known_damage())

    def __repr__(self) -> str:
        if not len(self):
            return f"Run({str(self.path)!r}, empty)"
        shown = clean(", ".join(self.names[:8]))
        last = f"loss {self.loss[0]:.6g} to {self.loss[-1]:.6g}"
        return f"Run({str(self.path)!r}, {len(self)} steps, {last}, parameters {shown})"

    def _stretches(self) -> Iterator[tuple[StructureRows, np.ndarray]]:
        """Yield the iterations as pieces that lie in one segment and fit into memory."""
        for number, group in groupby(self._order.tolist(), key=lambda entry: entry[0]):
            part = self._segments[number]
            rows = np.array([row for _, row in group], np.int64)
            size = max(1, ROWS_AT_ONCE // part.rows.layout.itemsize)
            for start in range(0, len(rows), size):
                yield part, rows[start : start + size]

    def _parts(self) -> Iterator[tuple[np.ndarray, StructureRows, np.ndarray]]:
        """Yield, of every segment, which iterations it holds and in which rows."""
        for number in np.unique(self._order[:, 0]):
            positions = np.flatnonzero(self._order[:, 0] == number)
            yield positions, self._segments[int(number)], self._order[positions, 1]

    def _head(self, name: str, dtype: type) -> np.ndarray:
        values: np.ndarray = np.zeros(len(self), dtype)
        for positions, part, rows in self._parts():
            values[positions] = part.rows.head(name, rows)
        values.flags.writeable = False
        return values

    def column(self, name: str, kind: str) -> np.ndarray:
        """Return one column over all iterations; a masked array if it is not there in all of them."""
        pieces: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for positions, part, rows in self._parts():
            column = part.rows.columns.get((name, kind))
            if column is not None:
                pieces.append((positions, *part.rows.read(column, rows)))
        shapes = {values.shape[1:] for _, values, _ in pieces}
        if len(shapes) > 1:
            raise GradvizValueError(
                f"the shape of {name!r} changes during the run: {', '.join(map(str, sorted(shapes)))}",
                hint="take a part of the run first: run[:100]",
            )
        dtype = np.result_type(*(values.dtype for _, values, _ in pieces)) if pieces else np.dtype(float)
        return _assembled(len(self), pieces, dtype, shapes.pop() if shapes else ())


class History:
    """One parameter over the iterations of a run."""

    def __init__(self, run: Run, name: str) -> None:
        self._run = run
        self.name = name

    @property
    def value(self) -> np.ndarray:
        """Its values, one per step along the first axis; masked where there was none."""
        return self._full("value", "norm")

    @property
    def grad(self) -> np.ndarray:
        """Its gradients, one per step along the first axis; masked where no gradient had reached it."""
        return self._full("grad", "grad_norm")

    @property
    def norm(self) -> np.ndarray:
        """The Euclidean norm of its value at every step."""
        return self._norm("value", "norm")

    @property
    def grad_norm(self) -> np.ndarray:
        """The Euclidean norm of its gradient at every step."""
        return self._norm("grad", "grad_norm")

    def _full(self, kind: str, norm_kind: str) -> np.ndarray:
        if self._has(norm_kind) and not self._has(kind):
            raise GradvizValueError(
                f"only the norm of {self.name!r} was recorded", hint=f"read .{norm_kind}, or trace with level='full'"
            )
        return self._run.column(self.name, kind)

    def _norm(self, kind: str, norm_kind: str) -> np.ndarray:
        if self._has(norm_kind):
            return self._run.column(self.name, norm_kind)
        values = self._run.column(self.name, kind)
        norms = np.array([norm(np.asarray(value)) for value in np.asarray(values)], float)
        mask = np.ma.getmaskarray(values).reshape(len(norms), -1).any(axis=1)
        return np.ma.masked_array(norms, mask) if mask.any() else norms

    def _has(self, kind: str) -> bool:
        return any((self.name, kind) in part.rows.columns for part in self._run.structures)

    def __len__(self) -> int:
        return len(self._run)

    def __repr__(self) -> str:
        return f"History({clean(repr(self.name))}, {len(self)} steps)"


def _cell(value: Any, there: bool) -> Any:
    """Return one number of a row: a float, an array, or None if it was not there."""
    if not there:
        return None
    return value if isinstance(value, np.ndarray) else value.item()


def _assembled(
    length: int,
    pieces: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
) -> np.ndarray:
    """Put the pieces of a column together, masked where something is missing."""
    there = np.zeros(length, bool)
    for positions, _, present in pieces:
        there[positions] = present
    if len(pieces) == 1 and there.all():
        return pieces[0][1]
    values = np.full((length, *shape), np.nan if dtype.kind in "fc" else 0, dtype)
    for positions, numbers, present in pieces:
        values[positions[present]] = numbers[present]
    if there.all():
        return values
    mask = np.broadcast_to(~there.reshape(-1, *(1 for _ in shape)), values.shape)
    return np.ma.masked_array(values, mask.copy())
