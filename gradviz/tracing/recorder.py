"""`trace`: write every iteration of a training loop while it runs."""

from __future__ import annotations

import json
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter, index
from types import TracebackType
from typing import Any

import numpy as np

from gradviz.errors import GradvizTypeError, GradvizValueError, TraceError
from gradviz.graphs import Frame
from gradviz.tracing.columns import columns_of, leaf_columns, normal, scalar_loss
from gradviz.tracing.information import plain_meta, surroundings
from gradviz.tracing.layout import INDEX_DESCR, INDEX_DTYPE, Column, Layout, npy_header
from gradviz.tracing.rows import IndexRows, Look, Rows, rows_for
from gradviz.tracing.store import FilePool, RowFile, RunDirectory

__all__ = ["LEVELS", "Trace", "trace"]

LEVELS = ("auto", "full", "scalars")

Params = Mapping[str, Any] | Sequence[Any]

_open_traces: weakref.WeakSet[Trace] = weakref.WeakSet()


def trace(
    path: str | os.PathLike[str],
    *,
    params: Params | None = None,
    meta: Mapping[str, Any] | None = None,
    level: str = "auto",
    exist: str = "number",
) -> Trace:
    """Open a run directory; call ``step(loss)`` on the result after every ``backward()``.

    Each step records the loss and, of every parameter, the value and the gradient, as one row
    that is complete on disk (though not yet safe from a power failure) when ``step`` returns.
    Read it with `open_run`, or with ``numpy.load(path + "/seg-0000.npy", mmap_mode="r")``.

    ``params`` maps names to objects with ``data`` and ``grad`` (Tensors, or your own): it is read
    anew at every step, so entries may be replaced. Without it, the parameters are those found in
    the graph of the loss. ``meta`` is anything JSON can hold and is kept in ``run.json``.
    ``level`` is ``"full"`` (everything), ``"scalars"`` (of arrays only the norm) or ``"auto"``
    (at present the same as full).

    If ``path`` already holds a run, ``exist`` decides: ``"number"`` renames the older run to
    ``path.1`` (or the next free number), so a script can be run again and nothing is lost;
    ``"overwrite"`` deletes it; ``"error"`` refuses. A directory with other files is never touched.

    Raises TraceBusyError while another trace writes there, and TraceError when the directory or, in
    ``step``, the row cannot be written; the earlier rows stay readable. After a fork, the
    child writes nothing.

    >>> import tempfile, types
    >>> from gradviz.tracing.reading import open_run
    >>> w = types.SimpleNamespace(data=1.0, grad=None)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with trace(folder + "/run", params={"w": w}) as t:
    ...         for _ in range(3):
    ...             loss, w.grad = (w.data - 3) ** 2, 2 * (w.data - 3)
    ...             t.step(loss)
    ...             w.data -= 0.25 * w.grad
    ...     open_run(folder + "/run").loss
    array([4.  , 1.  , 0.25])
    """
    return Trace(path, params=params, meta=meta, level=level, exist=exist)


class Trace:
    """A run that is being written; see `trace`."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        params: Params | None = None,
        meta: Mapping[str, Any] | None = None,
        level: str = "auto",
        exist: str = "number",
    ) -> None:
        if level not in LEVELS:
            raise GradvizValueError(f"level={level!r}", hint=f"choose one of {', '.join(LEVELS)}")
        self._given = None if params is None else _readable(named(params))
        self._norms = level == "scalars"
        info = {**surroundings(), "level": level, "names": None if params is None else list(self._given or ())}
        info["meta"] = plain_meta(meta or {})
        self._directory = RunDirectory(path, exist=exist)
        try:
            self._directory.write_info(info)
        except BaseException:
            self._directory.close()
            raise
        self.path = self._directory.path
        self._mutex = threading.Lock()
        self._pool = FilePool()
        self._found_names: dict[int, tuple[str, ...]] = {}
        self._rows: dict[int | None, Rows] = {}  # by structure: the layout used last
        self._segments: dict[tuple[int | None, tuple[Column, ...]], Rows] = {}
        self._index: IndexRows | None = None
        self._look: Look = attrgetter("data", "grad")
        self._structure_of: Callable[[Any], int | None] = self._first_structure
        self._next_step = self._next_segment = 0
        self._state = "open"
        _open_traces.add(self)

    def step(self, loss: Any, *, step: int | None = None) -> None:
        """Record one iteration: the loss, and every parameter and gradient as they are now.

        Call it after ``loss.backward()`` and before the parameters change. ``loss`` is a scalar Tensor or
        a number; ``step`` is the number of the iteration (default: one more than the last, from 0).
        """
        with self._mutex:
            number = self._next_step if step is None else index(step)
            key: int | None = None
            value: Any = loss
            if not isinstance(loss, float):
                key, value = self._structure_of(loss), getattr(loss, "data", None)
            if not isinstance(value, float):
                value = scalar_loss(loss)
            params = self._found(loss, key) if self._given is None else self._given
            if self._index is not None:
                self._index.file.reserve()
            rows = self._rows.get(key)
            if rows is None or not rows.write_from(number, value, params, self._look):
                rows = self._write_first(key, number, loss, params)
            if self._index is not None:
                self._index.write(number, rows.number, rows.file.count - 1)
            self._next_step = number + 1

    def _write_first(self, key: int | None, step: int, loss: Any, params: Mapping[str, Any]) -> Rows:
        """Write a row whose layout differs from the last one of this structure."""
        self._refuse_if_closed()
        names = tuple(params)
        numbers = [number for name in names for number in self._look(params[name])]
        labels = [name for name in names for _ in (0, 1)]
        numbers = [normal(label, number, norms=self._norms) for label, number in zip(labels, numbers, strict=True)]
        columns = columns_of(names, numbers, norms=self._norms)
        rows = self._segments.get((key, columns))
        if rows is None:
            rows = self._new_segment(names, columns, step, loss)
            self._segments[key, columns] = rows
        rows.write(step, scalar_loss(loss), numbers)
        self._rows[key] = rows
        return rows

    def _new_segment(self, names: tuple[str, ...], columns: tuple[Column, ...], step: int, loss: Any) -> Rows:
        """Describe a new structure and begin its file."""
        number = self._next_segment
        self._next_segment += 1
        record: dict[str, Any] = {
            "segment": number,
            "columns": [[c.name, c.part, c.dtype, list(c.shape)] for c in columns],
            "fingerprint": None,
            "graph": None,
        }
        frame = self._frame(loss)
        if frame is not None:
            record["fingerprint"] = frame.graph.fingerprint()
            record["graph"] = json.loads(frame.graph.to_json())
            self._write_leaves(number, frame, columns)
        self._directory.append_line("graphs.jsonl", record)
        if self._segments and self._index is None:
            self._index = self._new_index()  # complete before it is needed: a kill between the two leaves one segment
        return rows_for(number, names, columns, self._file(f"seg-{number:04d}.npy", Layout(columns)))

    def _files(self) -> list[RowFile]:
        files = [rows.file for rows in self._segments.values()]
        return [*files, self._index.file] if self._index else files

    def _file(self, name: str, layout: Layout) -> RowFile:
        path = self.path / name
        return RowFile(path, layout.header, layout.itemsize, is_large=layout.is_large, pool=self._pool)

    def _frame(self, loss: Any) -> Frame | None:
        """Take the graph of the loss, if it has one."""
        if not _has_graph(loss):
            return None
        from gradviz import sources

        return sources.frame(loss, params=None if self._given is None else dict(self._given))

    def _write_leaves(self, number: int, frame: Frame, columns: tuple[Column, ...]) -> None:
        """Keep the inputs and constants of a structure's first step, so that it can be replayed."""
        leaves = leaf_columns(frame.graph, columns)
        values = [frame.values[node] for node in leaves]
        layout = Layout(leaves.values())
        file = self._file(f"leaves-{number:04d}.npy", layout)
        with file.or_nothing():
            Rows(number, (), tuple(leaves.values()), file).write(0, 0.0, values)
        file.close()

    def _new_index(self) -> IndexRows:
        """Begin ``index.npy`` with the rows of the one segment there is."""
        first = next(iter(self._segments.values()))
        path = self.path / "index.npy"
        rows = IndexRows(RowFile(path, npy_header(INDEX_DESCR), INDEX_DTYPE.itemsize, pool=self._pool))
        written = np.load(first.file.path, mmap_mode="r")["step"]
        with rows.file.or_nothing():
            for row, step in enumerate(written.tolist()):
                rows.write(step, first.number, row)
        return rows

    def _first_structure(self, loss: Any) -> int | None:
        """Find out, at the first loss that is no float, how to look at it."""
        if not _has_graph(loss):
            return None
        from gradviz.sources import own

        self._structure_of = own.Structures()
        if self._given is None or all(_has_graph(tensor) for tensor in self._given.values()):
            self._look = own.numbers
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

    def _refuse_if_closed(self) -> None:
        if self._state == "closed":
            raise TraceError(f"the trace {self.path} is closed", hint="call step() inside the with block")

    def close(self) -> None:
        """Give back the room not used and let others write here; a second call does nothing."""
        with self._mutex:
            if self._state != "open":
                return
            self._state = "closed"
            self._rows.clear()
            for file in self._files():
                file.close()
            self._directory.close()

    def _abandon(self) -> None:
        """Write nothing more, and touch nothing: this is the child of a fork."""
        self._mutex = threading.Lock()
        self._state = "abandoned"
        self._rows.clear()
        for file in self._files():
            file.abandon()
        self._directory.close()
        self.step = _silent  # type: ignore[method-assign]

    def __enter__(self) -> Trace:
        self._refuse_if_closed()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return sum(rows.file.count for rows in self._segments.values())

    def __repr__(self) -> str:
        return f"Trace({str(self.path)!r}, {len(self)} steps, {self._state})"


def _silent(loss: Any, *, step: int | None = None) -> None:
    """Record nothing."""


def _abandon_all() -> None:
    for opened in list(_open_traces):
        opened._abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)


def named(params: Params) -> Mapping[str, Any]:
    """Return the parameters by name; those of a list are named by themselves, or ``p0``, ``p1``, ...

    >>> named([1.5, 2.5])
    {'p0': 1.5, 'p1': 2.5}
    """
    if isinstance(params, Mapping):
        wrong = [name for name in params if not isinstance(name, str)]
        if wrong:
            raise GradvizTypeError(f"a parameter's name must be a str, not {wrong[0]!r}")
        return params
    if not isinstance(params, Iterable):
        raise GradvizTypeError(f"params is a {type(params).__name__}", hint='give names to tensors: {"w": w}')
    names = [str(getattr(tensor, "name", None) or f"p{i}") for i, tensor in enumerate(params)]
    if len(set(names)) < len(names):
        raise GradvizValueError(f"two parameters have one name: {names}", hint="pass a dict of names to parameters")
    return dict(zip(names, params, strict=True))


def _readable(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters if none is a bare number, which has no ``data`` and ``grad`` to read at every step."""
    for name, tensor in params.items():
        if isinstance(tensor, int | float | str | np.ndarray | np.generic):
            raise GradvizTypeError(f"parameter {name[:80]!r} is a {type(tensor).__name__}", hint="give a Tensor")
    return params


def _has_graph(loss: Any) -> bool:
    """Tell whether the loss is a Tensor of this package (of others, only the numbers are recorded)."""
    return any(base.__module__.startswith("gradviz.engine") for base in type(loss).__mro__)
