"""The files of rows in a run directory, begun as structures, levels and inputs ask for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradviz.graphs import Frame, Graph
from gradviz.tracing.columns import leaf_columns
from gradviz.tracing.layout import INDEX_DESCR, INDEX_DTYPE, Column, Layout, npy_header
from gradviz.tracing.rows import IndexRows, Rows, rows_for
from gradviz.tracing.store import FilePool, RowFile, RunDirectory, SingleRow

__all__ = ["Filing"]

GRAPHS = "graphs.jsonl"


class Filing:
    """Begins segments and checkpoint files, describes them in ``graphs.jsonl``, and keeps the order of the rows."""

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self.has_index = False  # there is more than one segment
        self._pool = FilePool()
        self._segments: list[Rows] = []
        self._checkpoints: dict[tuple[Column, ...], Rows] = {}
        self._index: IndexRows | None = None
        self._is_owing = False  # between the writing of a row and its entry in the index
        self._numbers = self._layouts = 0  # segments begun, and layouts of checkpoints

    def segment(self, names: tuple[str, ...], columns: tuple[Column, ...], form: str, frame: Frame | None) -> Rows:
        """Begin the segment of a structure, with its graph and the leaves of its first step."""
        record = self._record(columns) | {"fingerprint": None, "graph": None}
        if frame is not None:
            record["fingerprint"] = frame.graph.fingerprint()
            record["graph"] = json.loads(frame.graph.to_json())
            if form != "loss":
                self._write_leaves(record["segment"], frame, columns)
        return self._begun(record, names, columns, form)

    def continued(self, first: Rows, columns: tuple[Column, ...], form: str) -> Rows:
        """Begin a segment in which the structure of an earlier one goes on with more columns."""
        return self._begun(self._record(columns) | {"continues": first.number}, first.names, columns, form)

    def recorded(self, columns: tuple[Column, ...], graph: Graph, source: str, first: Rows | None) -> Rows:
        """Begin a segment of a structure that cannot be computed again: its rows hold all there is to be shown.

        ``first`` is the segment that has its graph already.
        """
        record = self._record(columns) | {"source": source}
        if first is not None:
            record["continues"] = first.number
        else:
            record |= {"fingerprint": graph.fingerprint(), "graph": json.loads(graph.to_json())}
        return self._begun(record, (), columns, "full")

    @property
    def folder(self) -> str:
        """Where the files are."""
        return str(self._directory.path)

    def _record(self, columns: tuple[Column, ...]) -> dict[str, Any]:
        self._numbers += 1
        return {"segment": self._numbers - 1, "columns": _listed(columns)}

    def _begun(self, record: dict[str, Any], names: tuple[str, ...], columns: tuple[Column, ...], form: str) -> Rows:
        number = record["segment"]
        self._directory.append_line(GRAPHS, record)
        if self._segments and self._index is None:
            self._index = self._new_index()  # complete before it is needed: a kill between the two leaves one segment
            self.has_index = self._is_owing = True
        rows = rows_for(number, names, columns, self._file(f"seg-{number:04d}.npy", Layout(columns)), form)
        self._segments.append(rows)
        return rows

    def checkpoints(self, columns: tuple[Column, ...]) -> Rows:
        """Return the file of checkpoints with these columns."""
        rows = self._checkpoints.get(columns)
        if rows is None:
            number = self._layouts
            self._layouts += 1  # also if what follows fails: no number is given twice
            name = f"ckpt-{number:04d}.npy" if number else "ckpt.npy"
            self._directory.append_line(GRAPHS, {"checkpoints": number, "columns": _listed(columns)})
            rows = Rows(number, (), columns, self._file(name, Layout(columns)))
            self._checkpoints[columns] = rows
        return rows

    def reserve(self) -> None:
        """Claim the room for one more entry of the index, so that a row that is written can be entered."""
        if self._index is not None:
            if self._is_owing:  # the last step was interrupted
                self._enter_missing(self._index)
            self._index.file.reserve()
            self._is_owing = True

    def enter(self, step: int, rows: Rows) -> None:
        """Enter the last row of a segment into the index."""
        if self._index is not None:
            self._index.write(step, rows.number, rows.file.count - 1)
            self._is_owing = False

    def _enter_missing(self, index: IndexRows) -> None:
        """Enter the rows that were written and not entered."""
        entered = np.load(index.file.path, mmap_mode="r")[: index.file.count]["segment"]
        for rows in self._segments:
            known = int((entered == rows.number).sum())
            written = np.load(rows.file.path, mmap_mode="r")["step"] if rows.file.count > known else ()
            for row in range(known, rows.file.count):
                index.write(int(written[row]), rows.number, row)
        self._is_owing = False

    def _write_leaves(self, number: int, frame: Frame, columns: tuple[Column, ...]) -> None:
        """Keep the inputs and constants of a structure's first step, so that it can be computed again."""
        leaves = leaf_columns(frame.graph, columns)
        values = [frame.values[node] for node in leaves]
        layout = Layout(leaves.values())
        file = SingleRow(self._directory.path / f"leaves-{number:04d}.npy", layout.header)
        Rows(number, (), tuple(leaves.values()), file).write(0, 0.0, values)

    def _new_index(self) -> IndexRows:
        """Begin ``index.npy`` with the rows of the one segment there was."""
        first = self._segments[0]
        path = self._directory.path / "index.npy"
        rows = IndexRows(RowFile(path, npy_header(INDEX_DESCR), INDEX_DTYPE.itemsize, pool=self._pool))
        written = np.load(first.file.path, mmap_mode="r")["step"]
        with rows.file.or_nothing():
            for row, step in enumerate(written.tolist()):
                rows.write(step, first.number, row)
        return rows

    def _file(self, name: str, layout: Layout) -> RowFile:
        path = self._directory.path / name
        return RowFile(path, layout.header, layout.itemsize, is_large=layout.is_large, pool=self._pool)

    def _files(self) -> list[RowFile]:
        files = [rows.file for rows in (*self._segments, *self._checkpoints.values())]
        return [*files, self._index.file] if self._index else files

    def close(self) -> None:
        """Give back the room not used."""
        if self._is_owing and self._index is not None:
            self._enter_missing(self._index)
        for file in self._files():
            file.close()
        self._pool.close()

    def abandon(self) -> None:
        """Let go of the files without touching them."""
        for file in self._files():
            file.abandon()

    def __len__(self) -> int:
        return sum(rows.file.count for rows in self._segments)


def _listed(columns: Sequence[Column]) -> list[list[Any]]:
    return [[c.name, c.part, c.dtype, list(c.shape)] for c in columns]
