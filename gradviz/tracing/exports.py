"""A run as a file that other programs read: a function per format, chosen by the suffix.

All formats hold the same table: ``step``, ``time`` (seconds since 1970, UTC), ``loss``, then every recorded
number under the label of `gradviz.tracing.fields`. A file is complete or not there at all. What was
not recorded at an iteration is empty (null), never 0; NaN and infinities stay apart from it:

=========== ===================================== ======================== ==============================
format      arrays                                missing                  not finite
=========== ===================================== ======================== ==============================
``.csv``    a column per element                  an empty cell            ``nan``, ``inf``, ``-inf``
``.jsonl``  nested lists                          ``null``                 "NaN", "Infinity", "-Infinity"
``.parquet`` flat lists, the shape in the schema  null                     as they are
``.sqlite`` a column per element                  ``NULL``                 `gradviz.tracing.database`
=========== ===================================== ======================== ==============================
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from gradviz.errors import GradvizValueError
from gradviz.files import replacing
from gradviz.tracing.columnar import pandas, write_parquet
from gradviz.tracing.database import write_sqlite
from gradviz.tracing.fields import (
    HEAD,
    Cells,
    by_iteration,
    cells,
    fields_of,
    flat_rows,
    pieces,
    refuse_if_larger,
    wide_labels,
)
from gradviz.tracing.store import trouble

if TYPE_CHECKING:
    from gradviz.tracing.reading import Run

__all__ = ["WRITERS", "export", "to_pandas"]


def export(run: Run, path: Path) -> Path:
    """Write the run in the format that the suffix names, and return the path.

    Raises GradvizValueError for another suffix or too large a table, MissingExtraError if a package is
    missing, and TraceError if the file cannot be written.
    """
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise GradvizValueError(
            f"cannot export to {str(path)[-80:]!r}", hint=f"choose a name that ends in {' '.join(WRITERS)}"
        )
    with trouble(f"cannot write {path.name}", path), replacing(path) as temporary:
        writer(run[:], temporary)  # as it is now, also if it is still being written
    return path


def write_csv(run: Run, path: Path) -> None:
    """Write one line per iteration and one column per number; floats as the shortest text that reads back."""
    fields = fields_of(run)
    refuse_if_larger(run, fields, "a CSV file")
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*HEAD, *wide_labels(fields)])
        for part, columns in pieces(run, fields):
            table.writerows(flat_rows(part, columns))


def write_jsonl(run: Run, path: Path) -> None:
    """Write one JSON object per iteration, nothing else in the file."""
    fields = fields_of(run, varying=True)
    keys = [*HEAD, *(field.label for field in fields)]
    with path.open("w", encoding="utf-8", newline="") as file:
        for part, columns in pieces(run, fields):
            _write_objects(file, keys, part, columns)


def _write_objects(file: TextIO, keys: list[str], run: Run, columns: list[Cells]) -> None:
    loss = _jsonable(Cells(run.loss, np.ones(len(run), bool)))
    for row in zip(run.steps.tolist(), run.times.tolist(), loss, *map(_jsonable, columns), strict=True):
        file.write(json.dumps(dict(zip(keys, row, strict=True)), allow_nan=False) + "\n")


def _jsonable(column: Cells) -> list[Any]:
    """Return the numbers of every iteration as JSON holds them.

    >>> _jsonable(Cells(np.array([1.5, np.nan, -np.inf, 0.0]), np.array([True, True, True, False])))
    [1.5, 'NaN', '-Infinity', None]
    """
    values = column.values
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        texts = values.astype(object)
        texts[np.isnan(values)] = "NaN"
        texts[np.isposinf(values)] = "Infinity"
        texts[np.isneginf(values)] = "-Infinity"
        values = texts
    numbers = values.tolist()
    return [number if there else None for number, there in zip(numbers, column.present.tolist(), strict=True)]


WRITERS: dict[str, Callable[[Run, Path], None]] = {
    ".csv": write_csv,
    ".jsonl": write_jsonl,
    ".parquet": write_parquet,
    ".sqlite": write_sqlite,
}


def to_pandas(run: Run) -> Any:
    """Return the run as a DataFrame indexed by step; see `Run.to_pandas`."""
    pd, run = pandas(), run[:]
    fields = fields_of(run)
    refuse_if_larger(run, fields, "a DataFrame")
    columns: list[Any] = [run.times, run.loss]
    for field in fields:
        columns += _series(pd, cells(run, field))
    index = pd.Index(run.steps, name="step")
    table = pd.concat([pd.Series(column, index) for column in columns], axis=1)
    return table.set_axis(["time", "loss", *wide_labels(fields)], axis=1)


def _series(pd: Any, column: Cells) -> list[Any]:
    """Return a column per element: floats with NaN, or integers that know what is missing."""
    flat = by_iteration(column.values)
    if column.present.all():
        return list(flat.T)
    if flat.dtype.kind == "f":
        return list(np.where(column.present[:, None], flat, np.nan).astype(flat.dtype).T)
    kind = {"b": pd.arrays.BooleanArray}.get(flat.dtype.kind, pd.arrays.IntegerArray)
    return [kind(np.ascontiguousarray(numbers), ~column.present) for numbers in flat.T]
