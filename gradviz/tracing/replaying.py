"""Replay: any iteration of a run again, from what was recorded of it or from the checkpoint before it.

Between two checkpoints a row holds of every array only its norm and its digest. To have iteration k, training goes on
from the last checkpoint: compute the graph, compare loss and gradients with what was recorded, make the update that the
events tell of, compare the new parameters with their digests, and so on to k. A number that does not prove itself in
this way is not shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gradviz.errors import GradvizError, TraceError
from gradviz.escape import clean
from gradviz.graphs import Frame, Graph
from gradviz.tracing.columns import leaf_columns
from gradviz.tracing.frames import (
    Computed,
    DisprovedError,
    Recorded,
    ReplayError,
    computed,
    digest_of,
    partial_frame,
    recorded_row,
    whole_frame,
)
from gradviz.tracing.information import surroundings
from gradviz.tracing.kept import is_kept, kept_frame
from gradviz.tracing.layout import Column, Layout
from gradviz.tracing.opening import RunFiles
from gradviz.tracing.restoring import Checkpoints, State, Updates
from gradviz.tracing.segments import Segment

__all__ = ["Replayer"]

STATES_LIMIT = 1 << 28  # bytes of parameters and optimizer states kept, so that going back is cheap too
ROWS_KEPT = 3
SURROUNDINGS = ("machine", "system", "threads")  # of run.json: what may change the last bit of a number
LEAVES_KEPT = 4  # structures whose first inputs and constants are kept

Numbers = dict[str, Any]  # by name
Leaves = dict[int, Any]  # by node


class Replayer:
    """Computes iterations of one run again, and keeps what the next one may need."""

    def __init__(self, files: RunFiles) -> None:
        self._files = files
        self._checkpoints = Checkpoints(files)
        self._updates = Updates(files)
        self._states: dict[int, State] = {}
        self._nbytes = 0
        self._failed: dict[int, ReplayError] = {}
        self._order: np.ndarray | None = None
        self._last: tuple[int, Computed] | None = None
        self._rows: dict[tuple[int, int], Recorded] = {}
        self._leaves: dict[int, Leaves] = {}

    def frame(self, number: int, row: int) -> Frame:
        """Return the frame of a row of a segment; ``meta["replay"]`` is ``"exact"``, or why only a part is known."""
        part = self._files.segments[number]
        if is_kept(self._files, part) and part.graph is not None:
            return kept_frame(self._files, part, row, part.graph)
        recorded = self._recorded(number, row)
        known: Numbers = {}
        try:
            known = self._known(recorded, number, row)
            return whole_frame(recorded, self._computed(recorded, number, row, known))
        except ReplayError as error:
            return partial_frame(recorded, known, str(error))

    def number(self, number: int, row: int, name: str, what: str) -> Any:
        """Return the value or gradient of a parameter that was not recorded in this row; None if it is not known."""
        recorded = self._recorded(number, row)
        try:
            known = self._known(recorded, number, row)
            if what == "value":
                return known.get(name)
            return self._computed(recorded, number, row, known).grads_by_name().get(name)
        except ReplayError:
            return None

    def check(self) -> list[str]:
        """Read all checkpoints and first inputs, and return what is wrong with them, in words."""
        if not self._files.is_in_place:
            return []
        paths = sorted(self._files.folder.glob("leaves-*.npy"))
        return [*self._checkpoints.check(), *(note for path in paths for note in _wrong_leaves(path))]

    @cached_property
    def _elsewhere(self) -> str:
        return _elsewhere(self._files.info)

    # -- the parameters ------------------------------------------------------------------------

    def _known(self, recorded: Recorded, number: int, row: int) -> Numbers:
        """Return the parameters that this row has only digests of."""
        if not recorded.digests:
            return {}
        values = self._state(self._files.position(number, row)).values
        return {name: values[name] for name in recorded.digests if name in values}

    def _state(self, position: int) -> State:
        """Return the parameters at a position, from the nearest position before it at which they are known."""
        self._forget_if_changed()
        if position in self._failed:
            raise self._failed[position]
        start = self._start(position)
        for at in range(start, position):
            try:
                self._keep(at + 1, self._next(at, self._states[at]))
            except ReplayError as error:
                self._failed[position] = error
                raise
        return self._states[position]

    def _start(self, position: int) -> int:
        """Return the nearest position up to this one whose state is kept, or was written as a checkpoint."""
        kept = max((at for at in self._states if at <= position), default=-1)
        reasons: list[str] = []
        for at, rows, row in self._checkpoints.before(position):
            if at <= kept:
                break
            state = self._checkpoints.read(rows, row)
            if state is not None and _fits(state.values, self._row(at)):
                self._keep(at, state)
                return at
            reasons.append(f"; that at step {self._row(at).step} is damaged")
        if kept >= 0:
            return kept
        step = self._row(position).step
        raise ReplayError(f"there is no checkpoint that step {step} can be computed from{''.join(reasons)}")

    def _next(self, at: int, state: State) -> State:
        """Return the parameters one step later: computed again, and proved by their digests."""
        number, row = self._files.order[at].tolist()
        recorded, later = self._row(at), self._row(at + 1)
        try:
            found = self._computed(recorded, number, row, state.values)
        except ReplayError as error:
            raise ReplayError(f"step {recorded.step} on the way from the last checkpoint: {error}") from error
        values = {**state.values, **{n: v for n, v in recorded.values.items() if n in recorded.grads}}
        rules, why = self._updates.after(at)
        candidates = [State(values, state.kept)]
        for rule in rules:
            try:
                with np.errstate(all="ignore"):
                    candidates.append(State(*rule(values, {**recorded.grads, **found.grads_by_name()}, state.kept)))
            except (GradvizError, ArithmeticError, AttributeError, TypeError, ValueError, LookupError) as error:
                why = f"{(str(error).splitlines() or [''])[0]}"
        return _proved(candidates[1:] + candidates[:1], later, f"the update after step {recorded.step}", why)

    # -- one step ------------------------------------------------------------------------------

    def _row(self, at: int) -> Recorded:
        number, row = self._files.order[at].tolist()
        return self._recorded(number, row)

    def _recorded(self, number: int, row: int) -> Recorded:
        """Read a row, unless it is one of the last that were read."""
        if (number, row) not in self._rows:
            self._rows[number, row] = recorded_row(self._files.segments[number], row)
            if len(self._rows) > ROWS_KEPT:
                del self._rows[next(iter(self._rows))]
        return self._rows[number, row]

    def _computed(self, recorded: Recorded, number: int, row: int, known: Numbers) -> Computed:
        """Compute a step again, unless it was the last one that was."""
        if not recorded.digests:
            return self._computed_anew(recorded, known)
        at = self._files.position(number, row)
        if self._last is None or self._last[0] != at:
            self._last = at, self._computed_anew(recorded, known)
        return self._last[1]

    def _computed_anew(self, recorded: Recorded, known: Numbers) -> Computed:
        try:
            return computed(recorded, self._first_leaves(recorded), known)
        except DisprovedError as error:
            told = (event for event in self._files.event_lines.events if event.get("kind") == "inputs")
            missing = next((str(event.get("text")) for event in told if event.get("too_large")), None)
            reasons = list(filter(None, (missing, self._elsewhere)))
            raise ReplayError(f"{error} ({'; '.join(reasons)})" if reasons else str(error)) from error

    def _first_leaves(self, recorded: Recorded) -> Leaves:
        """Return the inputs and constants of the structure's first step, by node."""
        graph = recorded.graph
        if graph is None:
            return {}
        base = self._files.records.base(recorded.part.number)
        if base not in self._leaves:
            self._leaves[base] = _read_leaves(self._files, base, graph)
            if len(self._leaves) > LEAVES_KEPT:
                del self._leaves[next(iter(self._leaves))]
        return self._leaves[base]

    # -- what is kept --------------------------------------------------------------------------

    def _keep(self, at: int, state: State) -> None:
        before = self._states.pop(at, None)
        self._states[at] = state
        self._nbytes += state.nbytes - (before.nbytes if before else 0)
        while self._nbytes > STATES_LIMIT and len(self._states) > 1:
            oldest = next(iter(self._states))
            self._nbytes -= self._states.pop(oldest).nbytes

    def _forget_if_changed(self) -> None:
        """Forget positions when they do not mean the same any more: iterations were added, or put in order."""
        before, now = self._order, self._files.order
        if before is now:
            return
        if before is None or not np.array_equal(now[: len(before)], before):
            self._states.clear()
            self._nbytes = 0
            self._last = None
        self._failed.clear()
        self._order = now


def _fits(values: Numbers, recorded: Recorded) -> bool:
    """Tell whether these are the parameters of a row, by their digests."""
    return all(name in values and digest_of(values[name]) == known for name, known in recorded.digests.items())


def _proved(candidates: list[State], later: Recorded, what: str, why: str) -> State:
    """Choose, for every parameter, the candidate whose digest is the recorded one."""
    chosen = State({}, {})
    for name in dict.fromkeys([*later.digests, *candidates[0].values]):
        fitting = next((c for c in candidates if _is_proved(c.values, name, later)), None)
        if fitting is None:
            rule = f": {why}" if why else ", made again, gives other numbers"
            raise ReplayError(f"{what} cannot be made again: that of {name!r}{rule}")
        chosen.values[name] = fitting.values[name]
        if name in fitting.kept:
            chosen.kept[name] = fitting.kept[name]
    return chosen


def _is_proved(values: Numbers, name: str, later: Recorded) -> bool:
    """Tell whether a value is there, and has the digest that was recorded, if one was."""
    return name in values and (name not in later.digests or digest_of(values[name]) == later.digests[name])


def _elsewhere(info: dict[str, Any]) -> str:
    """Say in what the machine that recorded differs from this one, where that may change the last bit of a number."""
    here = surroundings()
    versions = info.get("versions")
    pairs = [(name, info.get(name), here.get(name)) for name in SURROUNDINGS]
    if isinstance(versions, dict):
        pairs.append(("NumPy", versions.get("numpy"), here["versions"]["numpy"]))
    other = [(name, was, now) for name, was, now in pairs if was is not None and was != now]
    told = "; ".join(f"{name} {clean(str(was)[:80])}, here {now}" for name, was, now in other)
    return f"it was recorded elsewhere: {told}" if told else ""


def _read_leaves(files: RunFiles, base: int, graph: Graph) -> Leaves:
    """Read the inputs and constants of the first step of a structure, by node."""
    part = files.segments.get(base)
    listed = part.rows.layout.columns if part else _listed(files, base)
    columns, layout = _leaf_layout(graph, listed)
    if not columns:
        return {}
    if not files.is_in_place:
        raise ReplayError("inputs and constants are not known: another run was written to the directory")
    try:
        rows = Segment(files.folder / f"leaves-{base:04d}.npy", lambda header: layout)
    except TraceError as error:
        raise ReplayError(f"inputs and constants are not known: {error.message}") from error
    if rows.count != 1 or not rows.intact[0]:
        raise ReplayError("inputs and constants are damaged in the trace")
    leaves: Leaves = {}
    for node, column in columns.items():
        values, there = rows.read(column, np.array([0]))
        if not there[0]:
            raise ReplayError(f"the value of {graph.nodes[node].name!r} is damaged in the trace")
        leaves[node] = values[0].item() if column.is_scalar else values[0, ...]
    return leaves


def _leaf_layout(graph: Graph, listed: Sequence[Column]) -> tuple[dict[int, Column], Layout]:
    """Return the columns of the leaves by node, and how they lie in a row; a graph may come from anywhere."""
    try:
        found = leaf_columns(graph, listed)
        columns = {node: Column.checked((c.name, c.part, c.dtype, c.shape)) for node, c in found.items()}
        return columns, Layout(columns.values())
    except (TypeError, ValueError) as error:
        raise ReplayError(f"inputs and constants are not known: {str(error).splitlines()[0]}") from error


def _wrong_leaves(path: Path) -> list[str]:
    """Return what is wrong with a file of first inputs and constants, in words."""
    try:
        rows = Segment(path, lambda header: Layout.from_header(header or b""))
    except TraceError as error:
        return [f"{path.name}: cannot be read: {error.message}"]
    rows.check_arrays()
    return [*rows.damage, *([] if rows.count else [f"{path.name}: nothing is in it"])]


def _listed(files: RunFiles, base: int) -> list[Column]:
    record = files.records.get("segment", base) or {}
    try:
        return [Column.checked(raw) for raw in record.get("columns", ())]
    except (GradvizError, TypeError, ValueError) as error:
        raise ReplayError(f"inputs and constants are not known: {error}") from error
