"""Which of several processes this is, where it writes its part of a run, and which part of each parameter it holds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradviz.errors import GradvizTypeError, GradvizValueError, TraceError

if TYPE_CHECKING:
    from gradviz.tracing.reading import Run

__all__ = ["NOT_ALIKE", "empty_in", "layout_in", "layout_of", "place_of", "run_folder", "shard_of"]

NOT_ALIKE = ("none", "pipeline")  # layouts in which no two ranks have anything in common
WHOLE = ("", "ddp")  # those in which every rank has everything


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


# -- what each process holds ---------------------------------------------------------------------------


def layout_of(params: Mapping[str, Any] | None, model: Any = None) -> dict[str, Any]:
    """Return what ``run.json`` says of how a model is spread over the processes; empty if it says nothing of it.

    ``parallel`` is ``"ddp"`` (every process has everything) or ``"shards"``; ``placements`` has, for every parameter
    that is split, how it is placed along each dimension of the mesh of processes, where in it this one is, and which
    shape its own part has. It is read from the parameters themselves (PyTorch's DTensor); no process is asked.

    >>> from types import SimpleNamespace as Some
    >>> class Shard:
    ...     dim = 0
    >>> mesh = Some(get_coordinate=lambda: [1])
    >>> layout_of({"w": Some(placements=(Shard(),), device_mesh=mesh), "b": Some(data=1.0)})
    {'parallel': 'shards', 'placements': {'w': {'placements': ['Shard(0)'], 'at': [1]}}}
    """
    placed = {name: found for name, tensor in (params or {}).items() if (found := _placement(tensor)) is not None}
    if placed:
        return {"parallel": "shards", "placements": placed}
    is_copied = any(base.__name__ == "DistributedDataParallel" for base in type(model).__mro__)
    return {"parallel": "ddp"} if is_copied else {}


def _placement(tensor: Any) -> dict[str, Any] | None:
    """Return how a tensor that is spread over processes is placed; None for one that is not."""
    placements, mesh = getattr(tensor, "placements", None), getattr(tensor, "device_mesh", None)
    if placements is None or mesh is None:
        return None
    at = mesh.get_coordinate()
    own = {"shape": list(tensor.to_local().shape)} if hasattr(tensor, "to_local") else {}
    return {"placements": [_kind(one) for one in placements], "at": [] if at is None else [int(i) for i in at], **own}


def _kind(placement: Any) -> str:
    """Return the name of a placement: ``Shard(0)``, ``Replicate``, ``Partial``."""
    dim = getattr(placement, "dim", None)
    return type(placement).__name__ + ("" if dim is None else f"({dim})")


def layout_in(run: Run) -> str:
    """Return the layout of a run: what the user's ``meta`` says of ``parallel``, else what its parameters said."""
    said = run.meta.get("parallel", run.info.get("parallel", ""))
    return said.lower() if isinstance(said, str) else ""


def empty_in(run: Run) -> set[str]:
    """Return the parameters of which the process that wrote a run says it holds no element."""
    placements = run.info.get("placements")
    placed = placements.items() if isinstance(placements, dict) else ()
    shapes = {name: found.get("shape") for name, found in placed if isinstance(found, dict)}
    return {name for name, shape in shapes.items() if isinstance(shape, list) and 0 in shape}


def shard_of(run: Run, rank: int, name: str, layout: str) -> Any:
    """Return what tells the shard of a parameter that this rank holds from others, and is the same for its copies."""
    alone = ("rank", rank)
    if layout in NOT_ALIKE:
        return alone
    placements = run.info.get("placements")
    found = placements.get(name) if isinstance(placements, dict) else None
    if not isinstance(found, dict):
        return None if layout in WHOLE or placements else alone
    kinds, at = found.get("placements"), found.get("at")
    if not isinstance(kinds, list) or not isinstance(at, list) or len(kinds) != len(at):
        return alone
    if any("Partial" in str(kind) for kind in kinds):
        return alone
    return tuple(
        (place, i) for place, (kind, i) in enumerate(zip(kinds, at, strict=True)) if "Replicate" not in str(kind)
    )
