"""Plain, frozen values: what numbers and metadata become before they enter a graph.

Metadata (attributes of ops, notes of a run) has a *normal form*: ``None``, ``bool``, ``int``,
``float``, ``str`` and tuples of those. Everything else becomes the nearest of them or a short
text, so a graph can be written, compared and drawn without ever running foreign code:

===========================  ==========================================
list, tuple, set             tuple (a set is sorted)
dict                         tuple of ``(key, value)`` pairs
slice                        ``("slice", start, stop, step)``
``...``                      ``"..."``
NumPy scalar, 0-d array      the Python number
array                        ``"array((3, 4), int64)"``
dtype, type, function, enum  its name
complex, bytes               ``"(1+2j)"``, ``"bytes(3)"``
anything else                the name of its type
===========================  ==========================================
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gradviz.errors import GradvizTypeError, GraphError

Number = float | np.ndarray
Plain = None | bool | int | float | str | tuple["Plain", ...]

DEPTH_LIMIT = 16  # deeper metadata is cut to "..."
INT_BITS_LIMIT = 4096  # larger integers become a text
NARROWER = {"g": "float64", "G": "complex128"}  # long doubles differ from machine to machine


class FrozenMapping(Mapping[str, Any]):
    """A read-only, hashable mapping of names to plain values.

    >>> attrs = FrozenMapping({"axis": [0, 1], "keepdims": np.True_})
    >>> attrs["axis"], attrs == {"axis": (0, 1), "keepdims": True}
    ((0, 1), True)
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[Any, Any] | None = None) -> None:
        self._items = {_key(key): plain_value(value) for key, value in (items or {}).items()}

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: object) -> bool:
        return key in self._items  # what is inherited raises and catches an error where the key is not there

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenMapping, (self._items,)

    def __repr__(self) -> str:
        return repr(self._items)


def plain_value(value: Any, depth: int = DEPTH_LIMIT) -> Plain:
    """Return the normal form of a piece of metadata (the table above).

    >>> plain_value([np.float32(0.5), slice(0, None), np.zeros((3, 4))])
    (0.5, ('slice', 0, None, None), 'array((3, 4), float64)')
    """
    if value is None or value is True or value is False or type(value) is str:
        return value
    if depth == 0:
        return "..."
    for kinds, convert in _CONVERSIONS:
        if isinstance(value, kinds):
            return convert(value, depth - 1)
    return type(value).__name__


def _integer(value: Any, _: int) -> Plain:
    whole = int(value)
    return whole if whole.bit_length() <= INT_BITS_LIMIT else f"int({whole.bit_length()} bits)"


def _float(value: Any, _: int) -> Plain:
    number = float(value)
    return math.nan if math.isnan(number) else number  # one NaN object: equal attributes compare equal


def _array(value: np.ndarray, depth: int) -> Plain:
    if value.ndim == 0 and value.dtype.kind in "biufcU":
        return plain_value(value.item(), depth)
    return f"array({value.shape}, {value.dtype})"


def _sequence(value: Any, depth: int) -> Plain:
    return tuple(plain_value(item, depth) for item in value)


def _unordered(value: Any, depth: int) -> Plain:
    return tuple(sorted((plain_value(item, depth) for item in value), key=repr))


def _pairs(value: Any, depth: int) -> Plain:
    return tuple((_key(key), plain_value(item, depth)) for key, item in value.items())


def _slice(value: slice, depth: int) -> Plain:
    return ("slice", *(plain_value(part, depth) for part in (value.start, value.stop, value.step)))


def _key(key: Any) -> str:
    return str.__str__(key) if isinstance(key, str) else str(plain_value(key))


_CONVERSIONS: tuple[tuple[Any, Callable[[Any, int], Plain]], ...] = (
    (enum.Enum, lambda value, _: str(value.name)),
    ((bool, np.bool_), lambda value, _: bool(value)),
    (str, lambda value, _: str.__str__(value)),
    ((int, np.integer), _integer),
    ((float, np.floating), _float),
    ((complex, np.complexfloating), lambda value, _: str(complex(value))),
    (np.ndarray, _array),
    ((list, tuple), _sequence),
    ((set, frozenset), _unordered),
    (Mapping, _pairs),
    (slice, _slice),
    (type(...), lambda value, _: "..."),
    ((bytes, bytearray), lambda value, _: f"bytes({len(value)})"),
    (np.dtype, lambda value, _: str(value)),
    ((type, np.ufunc), lambda value, _: str(value.__name__)),
    (type(plain_value), lambda value, _: str(value.__name__)),
)


def frozen_number(value: object) -> Number | None:
    """Return ``value`` as a Python float, an array nobody can write to, or None.

    NumPy scalars and 0-d arrays become floats. An array is copied into immutable memory
    (C order, the machine's byte order; long doubles as float64) unless it already lies there.
    Raises GradvizTypeError for anything that is no number.

    >>> frozen_number(np.float32(0.5)), frozen_number(None)
    (0.5, None)
    >>> frozen_number(np.array([1, 2])).flags.writeable
    False
    """
    if value is None or type(value) is float:
        return value
    if isinstance(value, np.ndarray) and value.ndim:
        return frozen_array(value)
    if isinstance(value, (bool, int, float, complex, np.generic, np.ndarray)):
        scalar = np.asarray(value)
        return float(scalar) if scalar.dtype.kind in "biuf" else frozen_array(scalar)
    raise GradvizTypeError(
        f"a number of a frame must be a float, an array or None, not {type(value).__name__}",
        hint="convert it with numpy.asarray first",
    )


def frozen_numbers(numbers: Sequence[Any], count: int, name: str) -> tuple[Number | None, ...]:
    """Return the numbers of ``count`` nodes as `frozen_number` has them; ``name`` says in errors what they are.

    >>> frozen_numbers([1, None], 2, "values")
    (1.0, None)
    """
    if len(numbers) != count:
        raise GraphError(
            f"a frame of {count} nodes needs as many {name}, not {len(numbers)}",
            hint="use None where there is no number",
        )
    if type(numbers) is tuple and all(x is None or type(x) is float for x in numbers):
        return numbers
    return tuple([x if x is None or type(x) is float else frozen_number(x) for x in numbers])


def frozen_array(array: np.ndarray) -> np.ndarray:
    """Return the numbers of ``array`` in memory that can never be written to.

    Setting ``flags.writeable`` again is refused too, because the memory belongs to a bytes object.

    >>> frozen_array(np.arange(3.0)[::-1]).tolist()
    [2.0, 1.0, 0.0]
    """
    memory: object = array.base
    if type(array) is np.ndarray and isinstance(memory, bytes):
        return array
    if array.dtype.kind not in "biufc":
        raise GradvizTypeError(f"an array of dtype {array.dtype} holds no numbers a frame can show")
    dtype = np.dtype(NARROWER.get(array.dtype.char, array.dtype.newbyteorder("=")))
    return np.ndarray(array.shape, dtype, buffer=np.asarray(array, dtype=dtype).tobytes())


def same_bits(first: Number | None, second: Number | None) -> bool:
    """Tell whether two numbers of frames are equal bit for bit (NaN equals NaN, -0.0 differs from 0.0).

    >>> same_bits(float("nan"), float("nan")), same_bits(0.0, -0.0)
    (True, False)
    """
    if first is None or second is None or type(first) is not type(second):
        return first is second
    one, other = np.asarray(first), np.asarray(second)
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
