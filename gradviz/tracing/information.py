"""What ``run.json`` says of a run beside its numbers: where it was made, and the user's notes."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from gradviz.errors import GradvizTypeError, GradvizValueError

__all__ = ["checked_meta", "plain_meta", "surroundings"]

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
META_ELEMENTS = 10_000  # of one array in the meta data
META_BYTES = 1 << 22  # of all of it, as JSON
META_DEPTH = 64
INTEGER_BITS = 10_000  # Python reads integers of up to 4,300 digits


def checked_meta(meta: Any) -> dict[str, Any]:
    """Return the meta data of a run as ``run.json`` can hold them.

    Raises GradvizTypeError for what is no mapping or cannot be written as JSON, GradvizValueError for more than 4 MB.

    >>> checked_meta([1, 2])
    Traceback (most recent call last):
        ...
    gradviz.errors.GradvizTypeError: meta is a list
      give a dict: meta={"lr": 0.1}
    """
    if meta is None:
        return {}
    if not isinstance(meta, Mapping):
        raise GradvizTypeError(f"meta is a {type(meta).__name__}", hint='give a dict: meta={"lr": 0.1}')
    plain: dict[str, Any] = plain_meta(meta)
    size = len(json.dumps(plain))
    if size > META_BYTES:
        hint = "keep what is large in a file of its own and note its name"
        raise GradvizValueError(f"meta has {size} bytes as JSON: the limit is {META_BYTES}", hint=hint)
    return plain


def plain_meta(value: Any, where: str = "meta", depth: int = 0) -> Any:
    """Return meta data as JSON can hold it; NaN and infinities become text.

    >>> plain_meta({"lr": np.float64(0.5), "seeds": (1, 2), "limit": float("inf")})
    {'lr': 0.5, 'seeds': [1, 2], 'limit': 'inf'}
    """
    if depth > META_DEPTH:
        raise GradvizValueError(f"{where[:80]}... is more than {META_DEPTH} levels deep, or contains itself")
    if isinstance(value, Mapping):
        return {str(key): plain_meta(item, f"{where}[{str(key)[:80]!r}]", depth + 1) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic) and value.size <= META_ELEMENTS and value.dtype.kind in "biufU":
        return plain_meta(value.tolist(), where, depth)
    if isinstance(value, list | tuple):
        return [plain_meta(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, int) and value.bit_length() > INTEGER_BITS:
        raise GradvizValueError(f"{where} is an integer of {value.bit_length()} bits", hint="write it as a text")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise GradvizTypeError(
        f"{where} is a {type(value).__name__}, which cannot be written as JSON",
        hint="use numbers, texts, lists and dicts",
    )


def surroundings() -> dict[str, Any]:
    """Return what replaying the run elsewhere would have to know."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        own_version = version("gradviz")
    except PackageNotFoundError:
        own_version = "unknown"
    return {
        "byteorder": sys.byteorder,
        "checksums": {"rows": "adler32", "digests": "crc32", "json": "crc32"},
        "versions": {"gradviz": own_version, "numpy": np.__version__, "python": platform.python_version()},
        "machine": platform.machine(),
        "system": platform.system(),
        "threads": {"cpus": os.cpu_count(), **{v: os.environ[v] for v in THREAD_VARIABLES if v in os.environ}},
        "pid": os.getpid(),
    }
