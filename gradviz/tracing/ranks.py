"""Which of several processes this is, and where it writes its part of a run."""

from __future__ import annotations

import os
from pathlib import Path

from gradviz.errors import GradvizTypeError, GradvizValueError, TraceError

__all__ = ["place_of", "run_folder"]


def place_of(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Return the number of this process and how many there are; what is not given, a launcher such as torchrun says.

    >>> place_of(2, 8)
    (2, 8)
    """
    count = _environment_number("WORLD_SIZE", 1) if world_size is None else world_size
    number = _environment_number("RANK", 0) if rank is None else rank
    for name, value in (("rank", number), ("world_size", count)):
        if type(value) is not int:
            raise GradvizTypeError(f"{name}={str(value)[:80]!r} is no whole number")
    is_lonely = rank is None and count == 1  # a launcher that says only half of it
    if not (0 <= number < count or is_lonely):
        raise GradvizValueError(f"rank {number} of {count} processes", hint="ranks go from 0 to world_size - 1")
    return number, count


def run_folder(path: str | os.PathLike[str], rank: int, world_size: int) -> Path:
    """Return the directory of this process: ``path`` itself, or ``path/rank-NNN`` if there are several."""
    folder = Path(path)
    if world_size == 1:
        return folder
    if os.path.lexists(folder / "run.json"):
        raise TraceError(f"{folder} holds the run of a single process", hint="give several processes another directory")
    return folder / f"rank-{rank:03d}"


def _environment_number(name: str, default: int) -> int:
    """Return what a launcher says of this process."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else default
