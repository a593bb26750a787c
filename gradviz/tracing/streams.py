"""From a loss to a row: which structure it has, in which form its numbers are kept, and in which segment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gradviz.errors import GradvizTypeError, TraceError
from gradviz.graphs import Frame
from gradviz.tracing.columns import OF_VALUES, input_columns, scalar_loss
from gradviz.tracing.filing import Filing
from gradviz.tracing.layout import Column
from gradviz.tracing.levels import INPUT_LIMITS, columns_of, form_of, lower_forms, normal_numbers
from gradviz.tracing.parameters import has_graph, look_at
from gradviz.tracing.quick import Quick, quick_way
from gradviz.tracing.rows import Look, Rows
from gradviz.tracing.updates import Say
from gradviz.tracing.varying import Watch, shapes_of

__all__ = ["Streams"]

Written = tuple[Rows, float, Mapping[str, Any]]  # what wrote the row, its loss and its parameters

NONE: Mapping[str, Any] = {}
QUICK_LIMIT = 64  # structures for which a quick way is written out


class Stream:
    """What is known of one structure: who writes its rows at present, and which of its inputs vary."""

    __slots__ = ("bases", "continued", "quick", "rows", "seen", "watch")

    def __init__(self) -> None:
        self.rows: Rows | None = None
        self.quick: Quick | None = None  # who writes them at once
        self.seen = 0  # rows written by `rows` the long way
        self.watch: Watch | None = None
        self.bases: dict[tuple[Column, ...], Rows] = {}  # segments with the graph, by their columns
        self.continued: dict[tuple[Column, ...], Rows] = {}  # those with inputs as well


class Streams:
    """Writes the rows of a run, each into the segment of its structure."""

    missed = 0  # steps that were seen though none was recorded: here nothing is seen but what is handed over

    def __init__(self, filing: Filing, given: Mapping[str, Any] | None, level: str, say: Say) -> None:
        self.look: Look = look_at(given)
        self._filing = filing
        self._given = given
        self._recorded = given  # what is read at every step; None: what is found in the graph
        self._form = None if level == "auto" else level
        self._limit = INPUT_LIMITS[level]
        self._say = say
        self._streams: dict[Any, Stream] = {}
        self._found_names: dict[int, tuple[str, ...]] = {}
        self._structure_of: Callable[[Any], int | None] = self._first_structure
        self.quick: Quick | None = None  # to be tried before `write`: for the structure of the last row
        self._quick_ways = 0
        self._has_arrays = self._has_chosen = self._is_closed = False
        self.params: Mapping[str, Any] = given or NONE  # those of the last row

    def write(self, step: int, loss: Any) -> Written:
        """Write the row of one step, after finding out which structure it has, and whether it fits the segment."""
        key: int | None = None
        value: Any = loss
        if not isinstance(loss, float):
            key, value = self._structure_of(loss), getattr(loss, "data", None)
        if not isinstance(value, float):
            value = scalar_loss(loss)
        params = self._found(loss, key) if self._recorded is None else self._recorded
        filing = self._filing
        if filing.has_index:
            filing.reserve()
        stream = self._streams.get(key)
        if stream is not None:
            watch, rows = stream.watch, stream.rows
            inputs = () if watch is None else watch.inputs(loss)
            if inputs is not None and rows is not None and rows.write_from(step, value, params, self.look, inputs):
                if filing.has_index:
                    filing.enter(step, rows)
                self._repeated(stream, rows, loss, params)
                return rows, value, params
        rows = self._write_slowly(key, step, loss, value, params)
        self.params = params
        filing.enter(step, rows)
        return rows, value, params

    def _repeated(self, stream: Stream, rows: Rows, loss: Any, params: Mapping[str, Any]) -> None:
        """Look for a quicker way when the same has been written twice in a row."""
        stream.seen += 1
        if stream.seen == 2 and self._quick_ways < QUICK_LIMIT:
            stream.quick = quick_way(self._filing, rows, stream.watch, loss, params)
            self._quick_ways += stream.quick is not None
        self.quick = stream.quick

    # -- what happens rarely -------------------------------------------------------------------

    def _write_slowly(self, key: int | None, step: int, loss: Any, value: float, params: Mapping[str, Any]) -> Rows:
        """Write a row of a new structure, or one whose layout or inputs differ from the last."""
        if self._is_closed:
            raise TraceError("the trace is closed", hint="call step() inside the with block", where=self._filing.folder)
        stream = self._streams.setdefault(key, Stream())
        self.quick = stream.quick = None
        inputs: list[Any] = []
        if stream.watch is not None:
            stream, inputs = self._settled(key, stream, step, loss)
        rows = stream.rows
        if rows is None or not rows.write_from(step, value, params, self.look, inputs):
            rows = stream.rows = self._write_first(stream, step, loss, value, params, inputs)
        stream.seen, stream.quick = 0, None
        return rows

    def _settled(self, key: int | None, stream: Stream, step: int, loss: Any) -> tuple[Stream, list[Any]]:
        """Find out which inputs have changed; a batch of another shape makes another structure."""
        watch: Any = stream.watch
        shapes = shapes_of(watch.read(loss))
        if shapes != watch.shapes:
            stream = self._streams.setdefault((key, shapes), Stream())
            watch = stream.watch
            if watch is None:
                return stream, []
        values = watch.read(loss)
        stored, too_large = watch.settle(values)
        if stored:
            text = f"{_listed(stored)} changed: recorded at every step from now on"
            self._say(step, "inputs", text, {"varying": stored})
        if too_large:
            text = (
                f"{_listed(too_large)} changed, but is not recorded, for that would take more than {self._limit} bytes"
                ' a row; these steps cannot be computed again: trace with level="full" if they shall'
            )
            self._say(step, "inputs", text, {"too_large": too_large, "limit": self._limit})
        return stream, watch.kept(values)

    def _write_first(
        self, stream: Stream, step: int, loss: Any, value: float, params: Mapping[str, Any], inputs: list[Any]
    ) -> Rows:
        """Write a row with a layout that differs from the last one of its structure."""
        names = tuple(params)
        numbers = [number for name in names for number in self.look(params[name])]
        form = self._form or self._chosen(step, names, numbers)
        numbers = normal_numbers(names, numbers, form)
        columns = columns_of(names, numbers, form)
        self._has_arrays |= any(not column.is_scalar for column in columns)
        rows = stream.bases.get(columns)
        if rows is None:
            rows = self._begun(stream, step, loss, names, columns, form)
            inputs = []
        elif stream.watch is not None and stream.watch.stored:
            rows = self._continued(stream, rows, columns + stream.watch.stored, form)
        rows.write(step, value, numbers, inputs)
        return rows

    def _chosen(self, step: int, names: tuple[str, ...], numbers: list[Any]) -> str:
        """Choose the form of an automatic level, and say so if it is not everything."""
        full = columns_of(names, normal_numbers(names, numbers, "full"), "full")
        form = form_of("auto", full)
        if form != "full" and not self._has_chosen:
            self._has_chosen = True
            size = sum(column.nbytes for column in full)
            reason = f"a full row would take {size} bytes"
            text = f"{reason}: arrays are recorded by norm and checksum, and all parameters at every checkpoint"
            self._say(step, "level", text, {"from": "full", "to": form, "reason": reason, "cost": None, "budget": None})
        return form

    def _begun(
        self, stream: Stream, step: int, loss: Any, names: tuple[str, ...], columns: tuple[Column, ...], form: str
    ) -> Rows:
        """Begin the segment of a structure."""
        frame = self._frame(loss)
        rows = stream.bases[columns] = self._filing.segment(names, columns, form, frame)
        fingerprint = None
        text = f"segment {rows.number} begins: the losses are plain numbers"
        if frame is not None:
            if stream.watch is None and form != "loss":
                stream.watch = self._watching(loss, frame, columns)
            fingerprint = frame.graph.fingerprint()
            text = f"segment {rows.number} begins: a graph of {len(frame.graph.nodes)} nodes"
        self._say(step, "structure", text, {"segment": rows.number, "fingerprint": fingerprint})
        return rows

    def _continued(self, stream: Stream, base: Rows, columns: tuple[Column, ...], form: str) -> Rows:
        """Return the segment in which a structure goes on with its inputs."""
        rows = stream.continued.get(columns)
        if rows is None:
            rows = stream.continued[columns] = self._filing.continued(base, columns, form)
        return rows

    def _watching(self, loss: Any, frame: Frame, columns: tuple[Column, ...]) -> Watch:
        """Begin to watch the leaves that are not recorded as parameters."""
        from gradviz.sources import own

        ids, read = own.leaf_reader(loss, frame.graph)
        known = {column.name for column in columns if column.part in OF_VALUES}
        leaves = enumerate(input_columns(frame.graph, ids))
        watched = {position: column for position, column in leaves if column.name not in known}
        return Watch(read, read(loss), watched, self._limit)

    def _frame(self, loss: Any) -> Frame | None:
        """Take the graph of the loss, if it has one."""
        if not has_graph(loss):
            return None
        from gradviz import sources

        return sources.frame(loss, params=None if self._given is None else dict(self._given))

    def _first_structure(self, loss: Any) -> int | None:
        """Find out, at the first loss that is no float, how to look at it."""
        if not has_graph(loss):
            return None
        from gradviz.sources import own

        self._structure_of = own.Structures()
        if self._given is None or all(has_graph(tensor) for tensor in self._given.values()):
            self.look = own.numbers
        return self._structure_of(loss)

    def _found(self, loss: Any, key: int | None) -> Mapping[str, Any]:
        """Return the parameters in the graph of the loss, by name."""
        if key is None:
            raise GradvizTypeError(
                f"the loss is a {type(loss).__name__} without a graph, so its parameters cannot be found",
                hint='pass them: trace(path, params={"w": w})',
            )
        from gradviz.sources import own

        names = self._found_names.get(key)
        if names is None:
            found = own.parameters(loss)
            self._found_names[key] = tuple(found)
            return found
        return dict(zip(names, own.leaves(loss), strict=True))

    def lower(self) -> tuple[str, str] | None:
        """Go on in the next cheaper form; return the old one and the new one, None if there is none."""
        form = self._form or ("checkpoint" if self._has_chosen else "full")
        lower = lower_forms(form, has_arrays=self._has_arrays)
        if not lower:
            return None
        self._form = lower[0]
        self.quick = None
        for stream in self._streams.values():
            stream.rows = stream.quick = None
            if lower[0] == "loss":
                stream.watch = None
            elif stream.watch is not None and lower[0] == "scalars":
                stream.watch.only_numbers()
        if lower[0] == "loss":
            self._recorded = NONE
        elif lower[0] == "scalars":
            self._limit = 0
        return form, lower[0]

    def close(self) -> None:
        """Write nothing more."""
        self._streams.clear()
        self.quick = None
        self._is_closed = True


def _listed(names: list[str]) -> str:
    """Return names as a text.

    >>> _listed(["x", "y"]), _listed([f"x{i}" for i in range(9)])
    ("'x', 'y'", "'x0', 'x1', 'x2', 'x3', 'x4', 'x5' and 3 more")
    """
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(map(repr, names[:6])) + more
