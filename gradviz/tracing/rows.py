"""From the numbers of one iteration to one row of a file."""

from __future__ import annotations

import math
import struct
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zlib import adler32

import numpy as np

from ..errors import GradvizTypeError, GradvizValueError
from ..graphs import Graph
from .layout import COUNT_AT, COUNT_END, FLOAT, Column, Layout, digest
from .store import RowFile

__all__ = [
    "INDEX_DTYPE",
    "INDEX_HEADER_DESCR",
    "IndexRows",
    "Rows",
    "columns_of",
    "leaf_columns",
    "normal",
    "rows_for",
    "scalar_loss",
]

FLOATS = frozenset((float, np.float64))
EXACT_INT = 2**53  # larger integers are not all floats

Look = Callable[[Any], tuple[Any, Any]]  # value and gradient of one parameter
Numbers = Sequence[Any]  # value and gradient of the first parameter, of the second, ...


class Rows:
    """Writes rows of one layout: any mixture of scalars and arrays."""

    def __init__(self, number: int, names: tuple[str, ...], columns: Sequence[Column], file: RowFile) -> None:
        self.number = number
        self.names = names
        self.file = file
        self.layout = Layout(columns)
        position = {column: i for i, column in enumerate(columns)}
        bit = {column: 1 << i for column, i in self.layout.flag_bit.items()}
        self._scalars = [(position[c], bit.get(c, 0)) for c in self.layout.scalars]
        self._arrays = [(position[c], bit.get(c, 0), np.dtype(c.dtype), c.shape) for c in self.layout.arrays]
        self._shifts = range(0, 32 * self.layout.flag_words, 32)
        self._no_digests = [0] * self.layout.digest_words

    def write_from(self, step: int, loss: float, params: Mapping[str, Any], look: Look) -> bool:
        """Write one row; False, and nothing is written, if the parameters do not fit the layout."""
        if self.names != tuple(params):
            return False
        numbers: list[Any] = []
        for tensor in params.values():
            numbers += look(tensor)
        return self.write(step, loss, numbers)

    def write(self, step: int, loss: float, numbers: Numbers) -> bool:
        """Write one row; False, and nothing is written, if the numbers do not fit the layout."""
        flags = 0
        scalars: list[float] = []
        for i, bit in self._scalars:
            number = numbers[i]
            if number.__class__ in FLOATS:
                flags |= bit
                scalars.append(number)
            elif number is None and bit:
                scalars.append(math.nan)
            else:
                return False
        arrays: list[np.ndarray] = []
        for i, bit, dtype, shape in self._arrays:
            array = numbers[i]
            if array.__class__ is np.ndarray and array.dtype == dtype and array.shape == shape:
                flags |= bit
                arrays.append(np.ascontiguousarray(array).reshape(shape))
            elif array is None and bit:
                arrays.append(_missing(dtype, shape))
            else:
                return False
        self._store(
            (step, time.time(), *(flags >> shift & 0xFFFFFFFF for shift in self._shifts)), loss, scalars, arrays
        )
        return True

    def _store(self, start: tuple[Any, ...], loss: float, scalars: list[float], arrays: list[np.ndarray]) -> None:
        """Add the checksums and hand the row to the file."""
        layout = self.layout
        digests = self._no_digests.copy()
        if layout.is_large:
            digests[: len(arrays)] = map(digest, arrays)
        head = layout.head.pack(*start, 0, loss, *scalars, *digests)
        parts: list[Any] = [head, *(array for array in arrays), layout.padding]
        if layout.is_large:
            parts[0] = _with_checksum(head, layout, adler32(head, layout.seed))
            self.file.append_parts(parts)
        else:
            row = b"".join(parts)
            self.file.append(_with_checksum(row, layout, adler32(row, layout.seed)))


class ScalarRows(Rows):
    """Writes rows of floats only, as long as every gradient is there, by one call of `struct`."""

    def __init__(self, number: int, names: tuple[str, ...], columns: Sequence[Column], file: RowFile) -> None:
        super().__init__(number, names, columns, file)
        self.write_from = self._fast_writer()  # type: ignore[assignment, method-assign]

    def _fast_writer(self) -> Callable[[int, float, Mapping[str, Any], Look], bool]:
        """Return ``write_from`` with everything that never changes looked up once, and ``append`` written out."""
        names, seed, file, now = self.names, self.layout.seed, self.file, time.time
        row_format = struct.Struct(f"{self.layout.head.format} {len(self.layout.padding)}x")
        pack, size, begin = row_format.pack, row_format.size, file.start
        every = (1 << len(self.layout.flag_bit)) - 1
        flags = [every >> shift & 0xFFFFFFFF for shift in self._shifts]
        pack_checksum, checksum_at = struct.Struct("=I").pack_into, self.layout.checksum_at
        counted = slice(COUNT_AT, COUNT_END)
        count = len(names)
        slowly = super().write_from

        def write_from(step: int, loss: float, params: Mapping[str, Any], look: Look) -> bool:
            numbers: list[Any] = []
            try:
                for name in names:
                    pair = value, grad = look(params[name])
                    if value.__class__ is not float or grad.__class__ is not float:
                        return slowly(step, loss, params, look)
                    numbers += pair
            except KeyError:
                return False
            if len(params) != count:
                return False
            row = pack(step, now(), *flags, 0, loss, *numbers)
            rows = file.count
            start = begin + rows * size
            end = start + size
            if end > file.room:
                file.grow(end)
            store: Any = file.store
            store[start:end] = row
            pack_checksum(store, start + checksum_at, adler32(row, seed))
            rows += 1
            store[counted] = b"%16d" % rows
            file.count = rows
            return True

        return write_from


class NormRows(Rows):
    """Writes scalars as they are and of every array its norm."""

    def __init__(self, number: int, names: tuple[str, ...], columns: Sequence[Column], file: RowFile) -> None:
        super().__init__(number, names, columns, file)
        self._is_norm = [column.part in {"norm", "grad_norm"} for column in columns]

    def write(self, step: int, loss: float, numbers: Numbers) -> bool:
        """Write one row; False, and nothing is written, if the numbers do not fit the layout."""
        measured = []
        for number, is_norm in zip(numbers, self._is_norm, strict=True):
            if is_norm is not isinstance(number, np.ndarray) and number is not None:
                return False
            measured.append(norm(number) if is_norm and number is not None else number)
        return super().write(step, loss, measured)


class IndexRows:
    """Writes ``index.npy``: which row of which segment came when."""

    def __init__(self, file: RowFile) -> None:
        self.file = file

    def write(self, step: int, segment: int, row: int) -> None:
        """Add one entry."""
        checksum = adler32(INDEX.pack(step, segment, row, 0))
        self.file.append(INDEX.pack(step, segment, row, checksum))


INDEX = struct.Struct("=q I I I 12x")
INDEX_DTYPE = np.dtype(
    {
        "names": ["step", "segment", "row", "checksum"],
        "formats": ["i8", "u4", "u4", "u4"],
        "itemsize": INDEX.size,
    }
)
INDEX_HEADER_DESCR = repr(np.lib.format.dtype_to_descr(INDEX_DTYPE))


def rows_for(number: int, names: tuple[str, ...], columns: Sequence[Column], file: RowFile) -> Rows:
    """Choose the writer for these columns."""
    if any(column.part in {"norm", "grad_norm"} for column in columns):
        return NormRows(number, names, columns, file)
    layout = Layout(columns)
    kind = ScalarRows if not layout.arrays and not layout.is_large else Rows
    return kind(number, names, columns, file)


def columns_of(names: Sequence[str], numbers: Numbers, *, norms: bool) -> tuple[Column, ...]:
    """Return the columns that hold these numbers; with ``norms``, arrays are to be measured only."""
    columns: list[Column] = []
    for name, value, grad in zip(names, numbers[::2], numbers[1::2], strict=True):
        if value is None:
            raise GradvizTypeError(f"parameter {name!r} has no value to record")
        columns.append(_column(name, "value", value, norms=norms))
        columns.append(_column(name, "grad", _expected_grad(value) if grad is None else grad, norms=norms))
    return tuple(columns)


def leaf_columns(graph: Graph, recorded: Sequence[Column]) -> dict[int, Column]:
    """Return a column for every leaf of the graph whose value is not recorded at every step, by node id."""
    known = {column.name for column in recorded if column.part in {"value", "norm"}}
    leaves = (node for node in graph.nodes if node.kind != "op" and node.name not in known)
    return {n.id: Column(f"n{n.id}", "value", np.dtype(n.dtype).str, n.shape) for n in leaves}


def _column(name: str, part: str, number: float | np.ndarray, *, norms: bool) -> Column:
    if not isinstance(number, np.ndarray):
        return Column(name, part)
    if norms:
        return Column(name, "norm" if part == "value" else "grad_norm")
    return Column(name, part, number.dtype.str, number.shape)


def _expected_grad(value: float | np.ndarray) -> float | np.ndarray:
    """Return something of the shape and dtype that a gradient of this value will probably have."""
    if not isinstance(value, np.ndarray):
        return 0.0
    return value if value.dtype.kind in "fc" else value.astype(float)


def normal(name: str, number: Any, *, norms: bool = False) -> float | np.ndarray | None:
    """Return a float, a plain array or None for what a parameter holds; with ``norms``, of every scalar a float.

    >>> normal("w", 2), normal("w", np.float32(0.5)), normal("w", None)
    (2.0, array(0.5, dtype=float32), None)
    """
    if number is None or type(number) is float:
        return number
    array = np.asarray(number)
    if array.dtype.kind not in "biufc":
        raise GradvizTypeError(f"parameter {name!r} holds {type(number).__name__} {str(number)[:80]!r}: no number")
    is_exact = type(number) is int and abs(number) <= EXACT_INT
    is_float = is_exact or array.dtype.str == FLOAT or (norms and array.dtype.kind in "biuf")
    return float(array) if array.shape == () and is_float else array


def norm(array: np.ndarray) -> float:
    """Return the Euclidean norm, in float64, without overflow on the way.

    >>> norm(np.array([3e200, 0.0]))
    3e+200
    """
    flat = np.abs(array.reshape(-1)).astype(float, copy=False)
    with np.errstate(over="ignore", under="ignore"):
        square = float(np.dot(flat, flat))
    if 1e-290 < square < math.inf or math.isnan(square):
        return math.sqrt(square)
    largest = float(flat.max(initial=0.0))
    if largest == 0.0 or math.isinf(largest):
        return largest
    scaled = flat / largest
    return largest * math.sqrt(float(np.dot(scaled, scaled)))


def _missing(dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Return what is stored for a gradient that is not there."""
    return np.full(shape, math.nan if dtype.kind in "fc" else 0, dtype)


def _with_checksum(row: bytes, layout: Layout, checksum: int) -> bytes:
    at = layout.checksum_at
    return row[:at] + checksum.to_bytes(4, sys.byteorder) + row[at + 4 :]


def scalar_loss(loss: Any) -> float:
    """Return the loss as a float; an array or anything else is refused."""
    value = np.asarray(getattr(loss, "data", loss) if not isinstance(loss, np.generic | np.ndarray) else loss)
    if value.dtype.kind not in "biuf":
        raise GradvizTypeError(f"the loss must be a real number, not {type(loss).__name__} of dtype {value.dtype}")
    if value.size != 1:
        raise GradvizValueError(
            f"the loss must be one number, not an array of shape {value.shape}", hint="take its mean or sum"
        )
    return float(value.reshape(()))
