"""Runs as tables that answer SQL: Arrow columns in memory, asked by DuckDB, which may touch no file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import GradvizTypeError, GradvizValueError, MissingExtraError
from gradviz.tracing.columnar import arrow, column, pandas
from gradviz.tracing.columns import norm
from gradviz.tracing.fields import (
    CELL_LIMIT,
    HEAD,
    Cells,
    Field,
    by_iteration,
    cells,
    element_labels,
    fields_of,
    pieces,
    unique,
)
from gradviz.tracing.layout import STATS

if TYPE_CHECKING:
    from gradviz.tracing.many import Member
    from gradviz.tracing.reading import Run

__all__ = ["ask", "long_table", "measures", "tables_of", "tables_of_run"]

FIXED = ("run", "rank", *HEAD)
ABOUT = ("name", "path", "steps", "started", "seconds")
WIDTH_LIMIT = 2000  # numbers of a step that become columns
SETTINGS = {  # no file, no network, no extension, no variable of the caller, and no way back
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
}
NOT_FINITE = ("nan", "inf", "-inf")  # how a trace writes such numbers in its meta

Key = tuple[str, str]  # a parameter, and what of it


def measures(run: Run) -> dict[Key, Cells]:
    """Return every scalar, and the norm of every array, over the iterations of the run, as float64."""
    found: dict[Key, Cells] = {}
    fields = fields_of(run, varying=True, exact=False)
    start = 0
    for part, columns in pieces(run, fields):
        place = slice(start, start + len(part))
        for field, numbers in zip(fields, columns, strict=True):
            if (key := _key(field)) is not None:
                whole = found.setdefault(key, _nothing(len(run)))
                whole.values[place][numbers.present] = _measured(field, numbers)[numbers.present]
                whole.present[place] |= numbers.present
        start += len(part)
    return found


def _nothing(length: int) -> Cells:
    return Cells(np.full(length, np.nan), np.zeros(length, bool))


def _key(field: Field) -> Key | None:
    """Return under which name a field is measured, or None if it is no measure."""
    if field.part.endswith(("digest", "exponents")):
        return None
    if field.is_scalar:
        return field.name, field.suffix
    return field.name, field.suffix.removesuffix(".stats") + ".norm"


def _measured(field: Field, numbers: Cells) -> np.ndarray:
    """Return one number per iteration."""
    if field.is_scalar:
        return numbers.values
    if field.part.endswith("stats"):
        return np.asarray(numbers.values[:, STATS.index("norm")])
    return norms(by_iteration(numbers.values))


def norms(rows: np.ndarray) -> np.ndarray:
    """Return the norm of every row, to the last bit that of `columns.norm`.

    >>> norms(np.array([[3.0, 4.0], [3e200, 4e200]]))
    array([5.e+000, 5.e+200])
    """
    if rows.dtype != np.float64:
        return np.array([norm(row) for row in rows], float)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares = np.vecdot(rows, rows)
        result: np.ndarray = np.sqrt(squares)
    for i in np.flatnonzero(~((squares > 1e-290) & (squares < np.inf))):
        result[i] = norm(rows[i])
    return result


def long_table(members: Sequence[Member]) -> Any:
    """Return a row for every iteration of every run, as a DataFrame."""
    pandas()
    return tables_of(members)["runs"].to_pandas()


def tables_of(members: Sequence[Member]) -> dict[str, Any]:
    """Return the tables ``runs`` and ``meta``."""
    pa = arrow()
    members = [replace(member, opened=member.opened[:]) for member in members]  # as they are now
    described = _meta_columns(pa, [member.opened.meta for member in members])
    return {"runs": _runs_table(pa, members, described), "meta": _meta_table(pa, members, described)}


def _runs_table(pa: Any, members: Sequence[Member], described: Mapping[str, Any]) -> Any:
    found = [measures(member.opened) for member in members]
    keys = list(dict.fromkeys(key for one in found for key in one))
    lengths = [len(member.opened) for member in members]
    of_row = np.repeat(np.arange(len(members)), lengths)
    columns = [_per_run(pa, members, what).take(of_row) for what in ("run", "rank")]
    columns += [pa.array(_joined([getattr(m.opened, what) for m in members])) for what in ("steps", "times", "loss")]
    columns += [array.take(of_row) for array in described.values()]
    columns += [column(pa, _stacked([one.get(key) for one in found], lengths)) for key in keys]
    names = unique(["".join(key) for key in keys], [*FIXED, *described], str.casefold)
    return pa.Table.from_arrays(columns, names=[*FIXED, *described, *names])


def _per_run(pa: Any, members: Sequence[Member], what: str) -> Any:
    values = [getattr(member, what) for member in members]
    return pa.array(values, pa.int64() if what == "rank" else pa.string())


def _joined(pieces: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(pieces)


def _stacked(found: Sequence[Cells | None], lengths: Sequence[int]) -> Cells:
    """Put the numbers of all runs below each other."""
    whole = [_nothing(length) if one is None else one for one, length in zip(found, lengths, strict=True)]
    return Cells(_joined([one.values for one in whole]), _joined([one.present for one in whole]))


def _meta_table(pa: Any, members: Sequence[Member], described: Mapping[str, Any]) -> Any:
    """Return one row per run: where it is, how long it is and took, and its meta."""
    runs = [member.opened for member in members]
    columns = [
        *(_per_run(pa, members, what) for what in ("run", "rank", "name")),
        pa.array([_text(str(run.path)) for run in runs], pa.string()),
        pa.array([len(run) for run in runs], pa.int64()),
        pa.array([float(run.times[0]) if len(run) else None for run in runs], pa.float64()),
        pa.array([float(run.times[-1] - run.times[0]) if len(run) else None for run in runs], pa.float64()),
    ]
    return pa.Table.from_arrays([*columns, *described.values()], names=["run", "rank", *ABOUT, *described])


def _meta_columns(pa: Any, metas: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return an array per key of the metas, by label; a key that is also a column of ours becomes ``meta.key``."""
    keys = list(dict.fromkeys(key for meta in metas for key in meta))
    taken = (*FIXED, *ABOUT)
    wanted = [f"meta.{key}" if key.casefold() in taken else key for key in keys]
    labels = unique(wanted, taken, str.casefold)
    return {label: _typed(pa, [meta.get(key) for meta in metas]) for label, key in zip(labels, keys, strict=True)}


def _typed(pa: Any, values: Sequence[Any]) -> Any:
    """Return an Arrow array of numbers or truth values if all are, or else of texts (lists and dicts as JSON)."""
    known = [value for value in values if value is not None]
    if all(isinstance(value, bool) for value in known):
        return pa.array(values, pa.bool_())
    if all(_is_number(value) or value in NOT_FINITE for value in known) and any(map(_is_number, known)):
        whole = all(type(value) is int and abs(value) < 2**63 for value in known)
        return pa.array([_number(value, whole) for value in values], pa.int64() if whole else pa.float64())
    return pa.array([value if value is None else _text(value) for value in values], pa.string())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any, whole: bool) -> Any:
    return value if whole or value is None else float(value)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "backslashreplace").decode()


def tables_of_run(run: Run) -> dict[str, Any]:
    """Return the tables ``run`` and ``meta`` of one run."""
    from gradviz.tracing.many import Member

    pa, run = arrow(), run[:]
    found = list(_numbers(run, fields_of(run, varying=True, exact=False)))
    labels = unique((label for label, _ in found), HEAD, str.casefold)
    heads = [pa.array(numbers) for numbers in (run.steps, run.times, run.loss)]
    table = pa.Table.from_arrays([*heads, *(column(pa, numbers) for _, numbers in found)], names=[*HEAD, *labels])
    name = _text(run.path.name)
    member = Member(name, name, run.rank, run)
    return {"run": table, "meta": _meta_table(pa, [member], _meta_columns(pa, [run.meta]))}


def _numbers(run: Run, fields: Sequence[Field]) -> Iterator[tuple[str, Cells]]:
    """Yield every number of the run with its label, and the norms of arrays; of too many numbers only the measures."""
    without_counts = [field for field in fields if not field.part.endswith("exponents")]
    wide = next((chosen for chosen in (fields, without_counts) if _fits(run, chosen)), [])
    for field in wide:
        values, present = cells(run, field)
        flat = by_iteration(values.astype(np.float32) if values.dtype == np.float16 else values)
        yield from ((label, Cells(flat[:, i], present)) for i, label in enumerate(element_labels(field)))
    told = {_key(field) for field in wide if field.is_scalar}
    yield from (("".join(key), numbers) for key, numbers in measures(run).items() if key not in told)


def _fits(run: Run, fields: Sequence[Field]) -> bool:
    """Tell whether every number can have a column."""
    width = sum(field.size for field in fields)
    is_small = width <= WIDTH_LIMIT and width * len(run) <= CELL_LIMIT
    return is_small and all(field.shape is not None for field in fields)


def ask(tables: Mapping[str, Any], sql: str) -> Any:
    """Return the answer of DuckDB to one SQL statement about these tables, as a DataFrame."""
    if not isinstance(sql, str):
        raise GradvizTypeError(f"SQL is a text, not {type(sql).__name__}")
    pandas()
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtraError.of("duckdb", "query") from error
    with duckdb.connect(":memory:", config=SETTINGS) as database:
        for name, table in tables.items():
            database.register(name, table)
        database.execute("SET lock_configuration = true")
        try:
            return _answer(database, sql)
        except duckdb.Error as error:
            raise GradvizValueError(f"DuckDB: {str(error)[:1000]}", hint=_columns(tables)) from error


def _answer(database: Any, sql: str) -> Any:
    statements = database.extract_statements(sql)
    if len(statements) != 1:
        raise GradvizValueError(f"{len(statements)} SQL statements: one question at a time")
    return database.execute(statements[0]).df()


def _columns(tables: Mapping[str, Any]) -> str:
    """Say which columns there are."""
    shown = {name: table.column_names for name, table in tables.items()}
    return "; ".join(f"{name}: {', '.join(names[:20])}{', ...' * (len(names) > 20)}" for name, names in shown.items())
