"""A run as an SQLite database.

=========== ================================================================================================
table       content
=========== ================================================================================================
``run``     a row per iteration in order (``rowid`` 1, 2, ...), a column per number
``nan``     ``(run, column)``: the cells of ``run`` that hold NaN, for which SQLite has no number
``columns`` of every column of ``run`` the parameter, part, dtype and shape, and which element it is
``meta``    key and value (JSON) of the user's ``meta``
``info``    key and value (JSON) of what else is known: the names, the versions, the seed, the rank
=========== ================================================================================================

A cell is NULL where nothing was recorded, and where the number was NaN, so that ``avg`` and ``max`` leave out
both; the table ``nan`` tells them apart. Infinities are REAL infinities. Columns of floats have no declared type:
SQLite would drop the sign of -0.0 from a REAL one. Histograms by exponent are JSON, 256 counts in one column.
Labels that differ only in case, which SQL does not tell apart, are numbered.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gradviz.errors import GradvizValueError, TraceError
from gradviz.tracing.fields import (
    HEAD,
    Cells,
    Field,
    about,
    by_iteration,
    element_labels,
    fields_of,
    flat_rows,
    pieces,
    refuse_if_larger,
    unique,
)

if TYPE_CHECKING:
    from gradviz.tracing.reading import Run

__all__ = ["quoted", "write_sqlite"]

LARGEST = 2**63 - 1  # what an INTEGER of SQLite holds; larger ones are written as text


@dataclass(frozen=True, slots=True)
class _Place:
    """A column of the table: one element of a field, or all of them as JSON."""

    field: Field
    label: str
    element: int | None


def quoted(name: str) -> str:
    """Return an SQL identifier.

    >>> quoted('a"b')
    '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def write_sqlite(run: Run, path: Path) -> None:
    """Write the run as a database; raises TraceError where SQLite fails, as on a full disk."""
    fields = fields_of(run)
    refuse_if_larger(run, fields, "an SQLite file")
    places = [place for field in fields for place in _places(field)]
    try:
        with closing(sqlite3.connect(path)) as database:
            _refuse_if_wider(database, len(places) + len(HEAD))
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("PRAGMA synchronous = OFF")  # the file is put in its place only when it is complete
            with database:
                _fill(database, run, fields, places)
    except sqlite3.Error as error:
        raise TraceError(f"SQLite cannot write the run: {error}", where=str(path.parent)) from error


def _places(field: Field) -> list[_Place]:
    if _is_json(field):
        return [_Place(field, field.label, None)]
    return [_Place(field, label, element) for element, label in enumerate(element_labels(field))]


def _is_json(field: Field) -> bool:
    return field.part.endswith("exponents")


def _refuse_if_wider(database: sqlite3.Connection, width: int) -> None:
    limit = database.getlimit(sqlite3.SQLITE_LIMIT_COLUMN)
    if width > limit:
        raise GradvizValueError(
            f"{width} columns: a table of SQLite takes {limit}",
            hint="choose .parquet or .jsonl, or export a part of the parameters",
        )


def _fill(database: sqlite3.Connection, run: Run, fields: list[Field], places: list[_Place]) -> None:
    labels = [*HEAD, *unique((place.label for place in places), HEAD, str.casefold)]
    types = ["INTEGER", "", "", *(_type(place) for place in places)]
    columns = ", ".join(f"{quoted(label)} {kind}" for label, kind in zip(labels, types, strict=True))
    database.execute(f"CREATE TABLE run ({columns})")
    database.execute('CREATE TABLE nan (run INTEGER, "column" TEXT)')
    insert = f"INSERT INTO run VALUES ({', '.join('?' * len(labels))})"
    start = 1
    for part, cells in pieces(run, fields):
        stored = [_stored(field, column) for field, column in zip(fields, cells, strict=True)]
        database.executemany(insert, flat_rows(part, stored))
        nans = _nans(part, stored, labels)
        database.executemany("INSERT INTO nan VALUES (?, ?)", ((start + row, label) for row, label in nans))
        start += len(part)
    _describe(database, run, zip(labels[len(HEAD) :], places, strict=True))


def _type(place: _Place) -> str:
    if place.element is None:
        return "TEXT"
    return "" if place.field.dtype.kind == "f" or place.field.dtype == np.uint64 else "INTEGER"


def _stored(field: Field, cells: Cells) -> Cells:
    """Return the numbers as SQLite holds them."""
    values = cells.values
    if _is_json(field):
        texts = [json.dumps(counts) for counts in values.tolist()]
        return Cells(np.array(texts, object), cells.present)
    if values.dtype == np.uint64 and (values > LARGEST).any():
        numbers = [number if number <= LARGEST else str(number) for number in values.reshape(-1).tolist()]
        return Cells(np.array(numbers, object).reshape(values.shape), cells.present)
    return cells


def _nans(run: Run, columns: list[Cells], labels: list[str]) -> Iterator[tuple[int, str]]:
    """Yield the row and the label of every NaN."""
    at = HEAD.index("loss")
    for values, present in [Cells(run.loss, np.ones(len(run), bool)), *columns]:
        flat = by_iteration(values)
        if flat.dtype.kind == "f":
            found = np.argwhere(np.isnan(flat) & present[:, None]).tolist()
            yield from ((row, labels[at + element]) for row, element in found)
        at += flat.shape[1]


def _describe(database: sqlite3.Connection, run: Run, places: Iterable[tuple[str, _Place]]) -> None:
    """Write what the columns are, and what is known of the run."""
    database.execute(
        'CREATE TABLE columns ("column" TEXT, parameter TEXT, part TEXT, dtype TEXT, shape TEXT, element INTEGER)'
    )
    rows = (
        (label, _text(p.field.name), p.field.part, p.field.dtype.name, json.dumps(p.field.shape), p.element)
        for label, p in places
    )
    database.executemany("INSERT INTO columns VALUES (?, ?, ?, ?, ?, ?)", rows)
    told = about(run)
    for table, pairs in (("meta", told.pop("meta")), ("info", told)):
        database.execute(f"CREATE TABLE {table} (key TEXT, value TEXT)")
        texts = [(_text(key), json.dumps(value)) for key, value in pairs.items()]
        database.executemany(f"INSERT INTO {table} VALUES (?, ?)", texts)


def _text(text: str) -> str:
    """Return the text with lone surrogates written out, which UTF-8 cannot hold."""
    return text.encode("utf-8", "backslashreplace").decode()
