"""What ``run.json`` says of a run beside its numbers: where it was made, and the user's notes."""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from gradviz.errors import GradvizTypeError

__all__ = ["plain_meta", "surroundings"]

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
META_ELEMENTS = 10_000  # of one array in the meta data


def plain_meta(value: Any, where: str = "meta") -> Any:
    """Return meta data as JSON can hold it; NaN and infinities become text.

    >>> plain_meta({"lr": np.float64(0.5), "seeds": (1, 2), "limit": float("inf")})
    {'lr': 0.5, 'seeds': [1, 2], 'limit': 'inf'}
    """
    if isinstance(value, Mapping):
        return {str(key): plain_meta(item, f"{where}[{str(key)[:80]!r}]") for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic) and value.size <= META_ELEMENTS and value.dtype.kind in "biufU":
        return plain_meta(value.tolist(), where)
    if isinstance(value, list | tuple):
        return [plain_meta(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
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
