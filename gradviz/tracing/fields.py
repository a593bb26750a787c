"""The columns of a run as a table: what is recorded, under labels that are all different, piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, product
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradviz.errors import GradvizValueError
from gradviz.tracing.layout import STATS

if TYPE_CHECKING:
    from gradviz.tracing.reading import Run

__all__ = [
    "CELL_LIMIT",
    "HEAD",
    "Cells",
    "Field",
    "about",
    "by_iteration",
    "cells",
    "element_labels",
    "fields_of",
    "flat_rows",
    "heads",
    "pieces",
    "refuse_if_larger",
    "unique",
    "wide_labels",
]

HEAD = ("step", "time", "loss")
OWN_SHAPE = ("value", "grad", "input", "state")  # parts whose elements are those of the parameter
KEPT = ("versions", "seed", "rank", "world_size")  # of run.json
WRITTEN_OUT = {0: "\\x00", 13: "\\r"}  # what SQL or CSV would not give back
CELL_LIMIT = 20_000_000  # numbers in a table with a column for each
PIECE = 1 << 24  # bytes of numbers held at once


@dataclass(frozen=True, slots=True)
class Field:
    """One recorded number or array of a parameter, and its label in tables.

    ``shape`` is None if it changes during the run. Complex numbers are pairs of real ones: their
    ``shape`` ends in 2, and ``dtype`` is that of the parts.
    """

    label: str
    name: str
    part: str
    suffix: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...] | None
    is_complex: bool = False

    @property
    def size(self) -> int:
        """The count of its numbers."""
        return prod(self.shape or ())

    @property
    def is_scalar(self) -> bool:
        """Whether it is one real number."""
        return self.shape == ()


class Cells(NamedTuple):
    """The numbers of one field over some iterations, and of each iteration whether they were there."""

    values: np.ndarray
    present: np.ndarray


def fields_of(run: Run, *, varying: bool = False, exact: bool = True) -> list[Field]:
    """Return the fields of a run in the order of recording, the first of a label keeping it.

    Raises GradvizValueError for a shape that changes during the run (unless ``varying``), and for numbers
    wider than a float64, which no format for others holds (they are rounded unless ``exact``).
    """
    found: dict[tuple[str, str], Field] = {}
    for part in run.structures:
        for key, column in part.labels:
            field = _field(key, column, exact)
            known = found.get((column.name, column.part))
            found[column.name, column.part] = _merged(known, field, varying) if known else field
    labels = unique((field.label for field in found.values()), HEAD)
    return [replace(field, label=label) for field, label in zip(found.values(), labels, strict=True)]


def _merged(known: Field, field: Field, varying: bool) -> Field:
    """Return the field that takes the numbers of both."""
    if known.shape != field.shape and not varying:
        raise GradvizValueError(
            f"the shape of {field.label!r} changes during the run: {known.shape}, {field.shape}",
            hint="export a part of the run, run[:100], or choose a name that ends in .jsonl",
        )
    shape = known.shape if known.shape == field.shape else None
    return replace(known, dtype=np.result_type(known.dtype, field.dtype), shape=shape)


def _field(key: str, column: Any, exact: bool) -> Field:
    dtype = np.dtype(column.dtype).newbyteorder("=")
    is_complex = dtype.kind == "c"
    shape = (*column.shape, 2) if is_complex else tuple(column.shape)
    real = np.empty(0, dtype).real.dtype
    if real.itemsize > 8 and exact:
        raise GradvizValueError(
            f"{key!r} has dtype {dtype}, which no export holds exactly", hint="read it with NumPy: run[...].value"
        )
    real = real if real.itemsize <= 8 else np.dtype(float)
    return Field(key, column.name, column.part, key.removeprefix(column.name), real, shape, is_complex)


def pieces(run: Run, fields: list[Field]) -> Iterator[tuple[Run, list[Cells]]]:
    """Yield the run in parts that fit into memory, each with the numbers of every field.

    Where a shape changes during the run, every iteration is a part of its own.
    """
    width = sum(field.size * field.dtype.itemsize for field in fields) + 24
    at_once = 1 if any(field.shape is None for field in fields) else max(1, PIECE // width)
    for start in range(0, len(run), at_once):
        part = run[start : start + at_once]
        yield part, [cells(part, field) for field in fields]


def cells(run: Run, field: Field) -> Cells:
    """Return the numbers of one field at every iteration of the run."""
    column = run.column(field.name, field.part)
    present = np.logical_not(by_iteration(np.ma.getmaskarray(column)).any(axis=1))
    if not present.any() and field.shape is not None:
        return Cells(np.zeros((len(run), *field.shape), field.dtype), present)
    values = np.ascontiguousarray(np.ma.getdata(column))
    if values.dtype.kind == "c":
        values = values[..., None].view(np.empty(0, values.dtype).real.dtype)
    return Cells(values.astype(field.dtype, copy=False), present)


def element_labels(field: Field) -> list[str]:
    """Return a label per number of the field.

    >>> element_labels(Field("W.grad", "W", "grad", ".grad", np.dtype(float), (1, 2)))
    ['W[0,0].grad', 'W[0,1].grad']
    >>> element_labels(Field("W.stats", "W", "stats", ".stats", np.dtype(float), (7,)))[:2]
    ['W.stats.min', 'W.stats.max']
    """
    shape = field.shape or ()
    if field.part.endswith("stats") and shape == (len(STATS),):
        return [f"{field.label}.{name}" for name in STATS]
    if not field.is_complex:
        return _indexed(field, shape)
    return [f"{label}.{half}" for label in _indexed(field, shape[:-1]) for half in ("real", "imag")]


def _indexed(field: Field, shape: tuple[int, ...]) -> list[str]:
    """Return the label with every index, behind the name where the indices are those of the parameter."""
    if not shape:
        return [field.label]
    places = [",".join(map(str, place)) for place in product(*map(range, shape))]
    if field.part in OWN_SHAPE and field.label.endswith(field.suffix):
        stem = field.label.removesuffix(field.suffix)
        return [f"{stem}[{place}]{field.suffix}" for place in places]
    return [f"{field.label}[{place}]" for place in places]


def unique(
    labels: Iterable[str], taken: Iterable[str] = (), fold: Callable[[str], str] = lambda text: text
) -> list[str]:
    """Return the labels as every format can hold them, later ones numbered where one occurs again.

    Lone surrogates, NUL and carriage returns are written out, and a label without a character is ``unnamed``.
    Labels that ``fold`` makes equal count as one.

    >>> unique(["w", "W", "w", "loss"], taken=["loss"], fold=str.casefold)
    ['w', 'W_2', 'w_3', 'loss_2']
    """
    used = {fold(label): 1 for label in taken}
    return [_numbered(_writable(label), used, fold) for label in labels]


def _numbered(label: str, used: dict[str, int], fold: Callable[[str], str]) -> str:
    count = used.get(fold(label), 0) + 1
    chosen = label if count == 1 else f"{label}_{count}"
    while fold(chosen) in used:
        count += 1
        chosen = f"{label}_{count}"
    used[fold(label)] = count
    used.setdefault(fold(chosen), 1)
    return chosen


def _writable(label: str) -> str:
    return label.encode("utf-8", "backslashreplace").decode().translate(WRITTEN_OUT) or "unnamed"


def heads(run: Run) -> list[tuple[Any, ...]]:
    """Return ``(step, time, loss)`` of every iteration."""
    return list(zip(run.steps.tolist(), run.times.tolist(), run.loss.tolist(), strict=True))


def flat_rows(run: Run, columns: list[Cells]) -> Iterator[list[Any]]:
    """Yield the numbers of every iteration one after the other, with None for what was not there."""
    flat = [_flat(values, present) for values, present in columns]
    for head, *parts in zip(heads(run), *flat, strict=True):
        yield [*head, *chain.from_iterable(parts)]


def _flat(values: np.ndarray, present: np.ndarray) -> list[list[Any]]:
    """Return a list of numbers per iteration."""
    flat = by_iteration(values)
    rows: list[list[Any]] = flat.tolist()
    for i in np.flatnonzero(~present):
        rows[i] = [None] * flat.shape[1]
    return rows


def by_iteration(values: np.ndarray) -> np.ndarray:
    """Return the numbers of every iteration in one row.

    >>> by_iteration(np.zeros((5, 2, 3))).shape, by_iteration(np.zeros((0, 2))).shape
    ((5, 6), (0, 2))
    """
    return values.reshape(len(values), prod(values.shape[1:]))


def wide_labels(fields: list[Field]) -> list[str]:
    """Return the heading of every number, all different."""
    return unique((label for field in fields for label in element_labels(field)), HEAD)


def refuse_if_larger(run: Run, fields: Iterable[Field], what: str) -> None:
    """Raise GradvizValueError if a table with a column per number would be too large."""
    width = sum(field.size for field in fields)
    if width * len(run) > CELL_LIMIT:
        raise GradvizValueError(
            f"{len(run)} steps of {width} numbers: {what} takes {CELL_LIMIT}",
            hint="take a part of the run, run[:100], choose .parquet or .jsonl, or read the .npy files with NumPy",
        )


def about(run: Run) -> dict[str, Any]:
    """Return what a table keeps of a run beside its numbers: ``meta``, the names, and the versions that wrote it."""
    told: dict[str, Any] = {"run": run.path.name, "names": list(run.names), "meta": run.meta}
    return told | {key: run.info[key] for key in KEPT if key in run.info}
