"""JSON that carries a checksum of itself."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

__all__ = ["sealed", "unsealed"]


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record with a checksum of itself.

    >>> sealed({"w": 1.5})
    {'w': 1.5, 'checksum': 1364720939}
    """
    return {**record, "checksum": _json_checksum(record)}


def unsealed(text: str) -> dict[str, Any] | None:
    """Return the record that `sealed` made, or None if it was damaged."""
    try:
        record = json.loads(text)
        checksum = record.pop("checksum")
        return record if checksum == _json_checksum(record) else None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def _json_checksum(record: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(record, sort_keys=True, separators=(",", ":")).encode())
