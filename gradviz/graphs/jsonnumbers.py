"""The numbers of a frame in JSON, exact to the bit.

A finite float is a JSON number; ``"nan"``, ``"inf"`` and ``"-inf"`` are text; a NaN with other
bits is ``"nan:"`` and its sixteen hexadecimal digits. An array is an object with ``dtype``
(little-endian, from a fixed list), ``shape`` and ``data`` (base64 of its bytes in C order).
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from typing import Any

import numpy as np

from gradviz.errors import GraphError
from gradviz.graphs.plain import Number, frozen_array

DTYPE_SIZES = {"i": (2, 4, 8), "u": (2, 4, 8), "f": (2, 4, 8), "c": (8, 16)}  # all a frame can hold
ONE_BYTE = {"|b1", "|i1", "|u1"}
DTYPES = frozenset(f"<{kind}{size}" for kind, sizes in DTYPE_SIZES.items() for size in sizes) | ONE_BYTE
RANK_LIMIT = 64
SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
NAN_BITS = struct.pack(">d", math.nan)


def number_to_json(number: Number | None) -> Any:
    """Return a number of a frame as something ``json`` writes exactly.

    >>> number_to_json(0.5), number_to_json(float("-inf")), number_to_json(np.array([1.0]))["data"]
    (0.5, '-inf', 'AAAAAAAA8D8=')
    """
    if number is None or isinstance(number, float):
        return number if number is None or math.isfinite(number) else _special(number)
    raw = np.ascontiguousarray(number, dtype=number.dtype.newbyteorder("<"))
    data = base64.b64encode(raw.tobytes()).decode("ascii")
    return {"dtype": raw.dtype.str, "shape": list(number.shape), "data": data}


def _special(number: float) -> str:
    bits = struct.pack(">d", number)
    return str(number) if math.isinf(number) or bits == NAN_BITS else f"nan:{bits.hex()}"


def is_as_it_is(data: Any) -> bool:
    """Tell whether what JSON holds already is a number of a frame: a finite float, or none.

    >>> is_as_it_is(0.5), is_as_it_is(None), is_as_it_is(1), is_as_it_is(math.inf)
    (True, True, False, False)
    """
    return data is None or (data.__class__ is float and math.isfinite(data))


def number_from_json(data: Any, where: str) -> Number | None:
    """Return the number that `number_to_json` wrote; anything else raises GraphError, naming ``where``.

    >>> number_from_json("nan", "value 3"), number_from_json(None, "value 4")
    (nan, None)
    """
    if data is None:
        return None
    if isinstance(data, dict):
        return _array(data, where)
    if isinstance(data, float) and math.isfinite(data):
        return data
    if type(data) is int and data.bit_length() <= 1023:
        return float(data)
    if isinstance(data, str):
        found = SPECIAL.get(data)
        return _nan(data, where) if found is None else found
    raise GraphError(f"{where}: {type(data).__name__} is no number", hint="write NaN as the text nan")


def _nan(text: str, where: str) -> float:
    hit = re.fullmatch(r"nan:([0-9a-f]{16})", text)
    number: float = struct.unpack(">d", bytes.fromhex(hit[1]))[0] if hit else 0.0
    if math.isnan(number):
        return number
    raise GraphError(f"{where}: {text[:80]!r} is no number", hint="the texts allowed are nan, inf and -inf")


def _array(data: dict[str, Any], where: str) -> np.ndarray:
    if set(data) != {"dtype", "shape", "data"}:
        raise GraphError(f"{where}: an array has the fields dtype, shape and data")
    dtype, shape, text = data["dtype"], data["shape"], data["data"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise GraphError(f"{where}: {str(dtype)[:80]!r} is no dtype of a frame", hint=" ".join(sorted(DTYPES)))
    if not isinstance(shape, list) or len(shape) > RANK_LIMIT or not all(_is_size(n) for n in shape):
        raise GraphError(f"{where}: the shape of the array is not a list of at most {RANK_LIMIT} sizes")
    raw = _decoded(text, where)
    if len(raw) != math.prod(shape) * np.dtype(dtype).itemsize:
        raise GraphError(f"{where}: {len(raw)} bytes are not an array of shape {tuple(shape)} and dtype {dtype}")
    try:
        return frozen_array(np.ndarray(tuple(shape), np.dtype(dtype), buffer=raw))
    except ValueError as error:  # an empty array with other sizes beyond what NumPy can count
        raise GraphError(f"{where}: the shape {tuple(shape)} is too big: {error}") from None


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _decoded(text: object, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)  # type: ignore[arg-type]
    except (TypeError, ValueError, binascii.Error):
        raise GraphError(f"{where}: the data of the array are not base64") from None
