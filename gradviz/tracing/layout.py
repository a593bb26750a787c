"""The layout of a row: which number stands where, the ``.npy`` header that says so, and its checksums.

A row is one iteration, padded to a multiple of 64 bytes::

    step i8 | time f8 | flags u4 ... | checksum u4 | loss f8 | scalars f8 ... | digests u4 ... | arrays ...

* ``time`` is in seconds since 1970 (UTC).
* Bit ``i`` of ``flags`` is set if the ``i``-th number of the row that can be missing (a gradient, in the order of
  the fields) was there. One that was not there is stored as NaN (as 0 if its dtype has no NaN).
* ``checksum`` is the Adler-32 of the row with the checksum itself set to 0. It starts from the Adler-32
  of the header's ``descr`` text, so rows read with a damaged header never match. (It finds every change of
  one or two bytes, and takes 40 ns for a small row where a CRC-32 takes 140.)
* A row longer than 4096 bytes has ``digests``: one CRC-32 per array. ``checksum`` then covers what stands
  before the first array. An array longer than 4096 bytes is folded first: its whole blocks of 4096 bytes
  are combined by exclusive or, which runs at the speed of memory, and the CRC-32 is that of the combined
  block and then of the rest.

What is recorded of parameter ``w`` are its parts, and the fields are named after them (``p0``, ``p1``, ...
if its name cannot be a field):

=================================== ================================================================
``w``, ``w.grad``                   its value and its gradient
``w.norm``, ``w.grad.norm``         f8: the Euclidean norm of an array (`statistics.norm`)
``w.digest``, ``w.grad.digest``     u4: the `digest` of an array, so that replay can prove itself
``w.stats``, ``w.grad.stats``       f8 (7,): min, max, mean of the finite elements (NaN if there are none), norm
                                    of all, and how many are zero, NaN, infinite
``w.exponents``,                    u4 (256,): bin i counts the elements with 2**(i-128) <= abs(x) < 2**(i-127),
``w.grad.exponents``                the first also smaller ones, the last larger ones; zeros, NaN and Inf are in none
``x.input``                         the value of a node ``x`` of the graph that is no parameter, where it changes
                                    from step to step
``w.velocity.state``                one number or array of the optimizer's state, in ``ckpt.npy`` only
``y.node``, ``y.node.grad``         where steps cannot be computed again (PyTorch): value and gradient of a node ``y``
                                    of the graph that is no parameter; either can be missing
``y.node.norm``, ``y.node.stats``,  what was measured of them, as of a parameter
``y.node.grad.norm``, ...
=================================== ================================================================

If the fields would not fit in the 10,000 characters that `numpy.load` accepts as a header, the scalars become
one field ``scalars`` and the arrays one field per dtype; ``graphs.jsonl`` lists the columns in order.
"""

from __future__ import annotations

import ast
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, count, groupby
from math import prod
from typing import Any

import numpy as np

from gradviz.errors import GradvizValueError

__all__ = [
    "BLOCK",
    "COUNT_AT",
    "COUNT_END",
    "EXPONENT_BINS",
    "HEADER_LIMIT",
    "INDEX",
    "INDEX_DESCR",
    "INDEX_DTYPE",
    "NODE_PARTS",
    "PARTS",
    "STATS",
    "SUFFIXES",
    "Column",
    "Layout",
    "digest",
    "npy_header",
    "without_count",
]

BLOCK = 4096  # bytes: longer rows are written with writev, longer arrays are folded before the CRC
HEADER_LIMIT = 10_000  # characters: what numpy.load accepts
COUNT_AT = 32  # where the 16 digits of the row count stand in the file
COUNT_END = 48
ROW_LIMIT = 2**31 - 64  # bytes: NumPy's own limit for a record
COLUMN_LIMIT = 1_000_000
FIELD_LENGTH = 64
FLOAT = np.dtype(float).str
SUFFIXES = {
    "value": "",
    "grad": ".grad",
    "norm": ".norm",
    "grad_norm": ".grad.norm",
    "digest": ".digest",
    "grad_digest": ".grad.digest",
    "stats": ".stats",
    "grad_stats": ".grad.stats",
    "exponents": ".exponents",
    "grad_exponents": ".grad.exponents",
    "input": ".input",
    "state": ".state",
    "node": ".node",
    "grad_node": ".node.grad",
    "node_norm": ".node.norm",
    "grad_node_norm": ".node.grad.norm",
    "node_stats": ".node.stats",
    "grad_node_stats": ".node.grad.stats",
}
PARTS = tuple(SUFFIXES)
NODE_PARTS = frozenset(part for part in PARTS if "node" in part)
STATS = ("min", "max", "mean", "norm", "zeros", "nans", "infs")
EXPONENT_BINS = 256
HEAD_FIELDS = ("step", "time", "flags", "checksum", "loss", "digests", "scalars")
DTYPES = re.compile(r"[<>|][biufc](1|2|4|8|16|32)")
INDEX = struct.Struct("=q I I I 12x")
INDEX_DTYPE = np.dtype(
    {
        "names": ["step", "segment", "row", "checksum"],
        "formats": ["i8", "u4", "u4", "u4"],
        "itemsize": INDEX.size,
    }
)
INDEX_DESCR = repr(np.lib.format.dtype_to_descr(INDEX_DTYPE))


@dataclass(frozen=True, slots=True)
class Column:
    """One recorded number or array: the value of a parameter, its gradient, or what was measured of one of them."""

    name: str
    part: str  # one of PARTS
    dtype: str = FLOAT
    shape: tuple[int, ...] = ()

    @property
    def is_scalar(self) -> bool:
        """Whether it is stored among the float64 scalars of the head."""
        return self.dtype == FLOAT and self.shape == ()

    @property
    def is_optional(self) -> bool:
        """Whether it can be missing: a gradient, a number of a node, or what was measured of one."""
        return self.part.startswith(("grad", "node"))

    @property
    def nbytes(self) -> int:
        """Return the size in bytes."""
        return np.dtype(self.dtype).itemsize * prod(self.shape)

    @classmethod
    def checked(cls, raw: Any) -> Column:
        """Build a column from what a trace says, refusing anything that this program does not write."""
        name, part, dtype, shape = raw
        known = isinstance(name, str) and part in PARTS and isinstance(dtype, str) and DTYPES.fullmatch(dtype)
        if not known or not all(type(n) is int and 0 <= n <= ROW_LIMIT for n in shape) or len(shape) > 64:
            raise GradvizValueError(f"not a column of a trace: {str(raw)[:200]}")
        return cls(name, part, dtype, tuple(shape))


class Layout:
    """Where each column of a row stands.

    >>> layout = Layout([Column("w", "value"), Column("w", "grad")])
    >>> layout.dtype.names, layout.itemsize
    (('step', 'time', 'flags', 'checksum', 'loss', 'w', 'w.grad'), 64)
    """

    def __init__(self, columns: Iterable[Column]) -> None:
        given = tuple(columns)
        if len(given) > COLUMN_LIMIT:
            raise GradvizValueError(f"{len(given)} columns in a row: the limit is {COLUMN_LIMIT}")
        self.scalars = tuple(column for column in given if column.is_scalar)
        self.arrays = tuple(sorted((c for c in given if not c.is_scalar), key=_by_alignment))
        self.columns = self.scalars + self.arrays
        self.digest_word = {column: place for place, column in enumerate(self.arrays)}
        gradients = [column for column in self.columns if column.is_optional]
        self.flag_bit = {column: bit for bit, column in enumerate(gradients)}
        self.flag_words = max(1, -(-len(gradients) // 32)) | 1  # odd, so that what follows is aligned
        self._place()

    def _place(self) -> None:
        """Give every column its offset, and the row its size."""
        self.loss_at = 20 + 4 * self.flag_words
        scalars_end = self.loss_at + 8 + 8 * len(self.scalars)
        array_bytes = sum(column.nbytes for column in self.arrays)
        self.is_large = scalars_end + array_bytes > BLOCK
        self.digest_words = (len(self.arrays) + 1) // 2 * 2 if self.is_large else 0
        self.head_size = scalars_end + 4 * self.digest_words
        self.itemsize = -(-(self.head_size + array_bytes) // 64) * 64
        if self.itemsize > ROW_LIMIT:
            raise GradvizValueError(
                f"a row of {self.itemsize} bytes: the limit is {ROW_LIMIT}",
                hint='record fewer parameters at once, or trace with level="scalars"',
            )
        self.offset = dict(zip(self.scalars, range(self.loss_at + 8, scalars_end, 8), strict=True))
        at = self.head_size
        for column in self.arrays:
            self.offset[column] = at
            at += column.nbytes
        self.padding = bytes(self.itemsize - at)
        words = f"{self.flag_words}I I d {len(self.scalars)}d {self.digest_words}I"
        self.head = struct.Struct(f"=q d {words}")
        self.checksum_at = self.loss_at - 4

    @cached_property
    def fields(self) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
        """The fields of the NumPy dtype: (name, dtype, shape)."""
        separate = tuple(self._fields(self._separate()))
        return separate if len(_descr(separate)) < HEADER_LIMIT - 300 else tuple(self._fields(self._grouped()))

    def _fields(self, columns: Iterator[tuple[str, str, tuple[int, ...]]]) -> Iterator[Any]:
        """Add the fields of the head, and the padding, to those of the columns."""
        yield "step", _native("i8"), ()
        yield "time", FLOAT, ()
        yield "flags", _native("u4"), () if self.flag_words == 1 else (self.flag_words,)
        yield "checksum", _native("u4"), ()
        yield "loss", FLOAT, ()
        waiting = self.digest_words
        for name, dtype, shape in columns:
            if waiting and name != "scalars" and not (dtype == FLOAT and shape == ()):
                yield "digests", _native("u4"), (waiting,)
                waiting = 0
            yield name, dtype, shape
        if self.padding:
            yield "", f"|V{len(self.padding)}", ()

    def _separate(self) -> Iterator[tuple[str, str, tuple[int, ...]]]:
        """One field per column."""
        names = _field_names(self.columns)
        for column in self.columns:
            yield names[column.name] + SUFFIXES[column.part], column.dtype, column.shape

    def _grouped(self) -> Iterator[tuple[str, str, tuple[int, ...]]]:
        """One field for the scalars and one per dtype for the arrays."""
        if self.scalars:
            yield "scalars", FLOAT, (len(self.scalars),)
        for dtype, group in groupby(self.arrays, key=lambda column: column.dtype):
            yield np.dtype(dtype).name, dtype, (sum(prod(column.shape) for column in group),)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of a row."""
        formats = [np.dtype((dtype, shape)) for _, dtype, shape in self.fields]
        starts = accumulate((format.itemsize for format in formats), initial=0)
        named = [(f[0], format, at) for f, format, at in zip(self.fields, formats, starts, strict=False) if f[0]]
        names, kept, offsets = zip(*named, strict=True)
        return np.dtype({"names": names, "formats": kept, "offsets": offsets, "itemsize": self.itemsize})

    @cached_property
    def header(self) -> bytes:
        """The header of the ``.npy`` file, for no rows yet."""
        return npy_header(_descr(self.fields))

    @cached_property
    def seed(self) -> int:
        """The number that the checksums of the rows start from."""
        return zlib.adler32(_descr(self.fields).encode())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and other.columns == self.columns

    def __hash__(self) -> int:
        return hash(self.columns)

    @classmethod
    def from_header(cls, header: bytes) -> Layout | None:
        """Return the layout that writes this header, if there is one: the columns are told by their names."""
        try:
            fields = _parsed_descr(header)
            layout = cls(_column_of(*field) for field in fields if field[0] and field[0] not in HEAD_FIELDS)
        except (ValueError, SyntaxError, TypeError, LookupError, MemoryError, RecursionError):
            return None
        return layout if layout.header == without_count(header) else None


def npy_header(descr: str) -> bytes:
    """Return a ``.npy`` header whose row count can be overwritten in place.

    The count is 16 characters wide and stands at byte 32. Names outside ASCII need format 3.0.
    """
    start = 10 if descr.isascii() else 12
    opening = "{'shape': ("
    rows = "0".rjust(COUNT_END - start - len(opening))
    text = f"{opening}{rows},), 'fortran_order': False, 'descr': {descr}}}".encode()
    text = text.ljust(-(-(start + len(text) + 1) // 64) * 64 - start - 1) + b"\n"
    if start == 10:
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
    return b"\x93NUMPY\x03\x00" + struct.pack("<I", len(text)) + text


def without_count(header: bytes) -> bytes:
    """Return the header as it was when the file had no rows."""
    return header[:COUNT_AT] + b"%16d" % 0 + header[COUNT_END:]


def digest(array: np.ndarray) -> int:
    """Return the CRC-32 of a contiguous array, folded first if it is longer than a block.

    >>> digest(np.arange(3.0)) == zlib.crc32(np.arange(3.0))
    True
    """
    size = array.nbytes
    if size < 2 * BLOCK:
        return zlib.crc32(array)  # type: ignore[arg-type]
    flat = array.reshape(-1).view(np.uint8)
    whole = size // BLOCK * BLOCK
    blocks = flat[:whole].view(np.uint64).reshape(-1, BLOCK // 8)
    folded = np.bitwise_xor.reduce(blocks, axis=0)
    return zlib.crc32(flat[whole:].data, zlib.crc32(folded.data))


def _native(code: str) -> str:
    return np.dtype(code).str


def _by_alignment(column: Column) -> tuple[int, str]:
    """Sort the widest first, so that every array is aligned, and equal dtypes together."""
    return -np.dtype(column.dtype).alignment, column.dtype


def _descr(fields: Sequence[tuple[str, str, tuple[int, ...]]]) -> str:
    return repr([(name, dtype, shape) if shape else (name, dtype) for name, dtype, shape in fields])


def _field_names(columns: Sequence[Column]) -> dict[str, str]:
    """Return a field name per parameter: its own name where that is possible."""
    names: dict[str, str] = {}
    taken = set(HEAD_FIELDS)
    for name in dict.fromkeys(column.name for column in columns):
        possible = name.isprintable() and 0 < len(name) <= FIELD_LENGTH
        candidates = chain([name] if possible else [], (f"p{i}" for i in count(len(names))))
        names[name] = next(c for c in candidates if not _with_suffixes(c) & taken)
        taken |= _with_suffixes(names[name])
    return names


def _with_suffixes(name: str) -> set[str]:
    return {name + suffix for suffix in SUFFIXES.values()}


def _parsed_descr(header: bytes) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return the fields that a header lists."""
    text = header[12 if header[6] == 3 else 10 :].decode()
    descr = ast.literal_eval(text)["descr"]
    return [(field[0], field[1], tuple(field[2]) if len(field) > 2 else ()) for field in descr]


def _column_of(field: str, dtype: str, shape: tuple[int, ...]) -> Column:
    """Tell parameter and part from the name of a field."""
    for part in sorted(PARTS[1:], key=lambda part: -len(SUFFIXES[part])):
        if field.endswith(SUFFIXES[part]) and field != SUFFIXES[part]:
            return Column.checked((field.removesuffix(SUFFIXES[part]), part, dtype, shape))
    return Column.checked((field, "value", dtype, shape))
