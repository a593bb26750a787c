"""A run in Arrow columns, and as a Parquet file; and the packages that this needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import MissingExtraError
from gradviz.tracing.fields import HEAD, Cells, Field, about, by_iteration, fields_of, pieces

if TYPE_CHECKING:
    from gradviz.tracing.reading import Run

__all__ = ["arrow", "column", "pandas", "write_parquet"]


def arrow() -> Any:
    """Return pyarrow, or raise MissingExtraError."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError.of("pyarrow", "query") from error
    return pyarrow


def pandas() -> Any:
    """Return pandas, or raise MissingExtraError."""
    try:
        import pandas
    except ImportError as error:
        raise MissingExtraError.of("pandas", "query") from error
    return pandas


def write_parquet(run: Run, path: Path) -> None:
    """Write one row per iteration, with a checksum of every page.

    An array is a flat list in C order; its name, part and shape are the metadata of its field, and what is
    known of the run is JSON under ``gradviz`` in the metadata of the schema.
    """
    pa = arrow()
    fields = fields_of(run)
    schema = _schema(pa, run, fields)
    options = {"write_page_checksum": True, "use_dictionary": False, "compression": "zstd"}
    with pa.parquet.ParquetWriter(path, schema, **options) as file:
        for part, columns in pieces(run, fields):
            heads = [pa.array(numbers) for numbers in (part.steps, part.times, part.loss)]
            arrays = [*heads, *(column(pa, cells) for cells in columns)]
            file.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _schema(pa: Any, run: Run, fields: list[Field]) -> Any:
    heads = [pa.field(label, kind) for label, kind in zip(HEAD, (pa.int64(), pa.float64(), pa.float64()), strict=True)]
    return pa.schema([*heads, *(_described(pa, field) for field in fields)], {"gradviz": json.dumps(about(run))})


def _described(pa: Any, field: Field) -> Any:
    """Return the Arrow field, with what `gradviz.tracing.fields` knows of it."""
    kind = pa.from_numpy_dtype(field.dtype)
    told = {"name": json.dumps(field.name), "part": field.part, "shape": json.dumps(field.shape)}
    told["complex"] = json.dumps(field.is_complex)
    return pa.field(field.label, kind if field.is_scalar else pa.list_(kind), metadata=told)


def column(pa: Any, cells: Cells) -> Any:
    """Return the numbers of one field as an Arrow array, null where they were not there."""
    values, present = cells
    if values.ndim == 1:
        return pa.array(values, mask=~present, from_pandas=False)
    flat = by_iteration(values)
    offsets = np.concatenate([[0], np.cumsum(present * flat.shape[1])]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(flat[present].reshape(-1)), mask=pa.array(~present))
