"""Parameters of a run that recorded its arrays at checkpoints only: their values there, and one step later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.tracing.statistics import norm

if TYPE_CHECKING:
    from gradviz.graphs import Number
    from gradviz.tracing.reading import Run

__all__ = ["checkpointed", "sampled_moves", "sampled_positions", "sampled_values"]

SAMPLES = 200  # steps that are computed again
USUAL = 50  # steps between two checkpoints, if run.json does not say


def checkpointed(run: Run) -> tuple[str, ...]:
    """Return the parameters whose values are known by checksum in some steps, and have to be computed again."""
    found = (name for part in run.structures for name, kind in part.rows.columns if kind == "digest")
    return tuple(name for name in dict.fromkeys(found) if name in run.names)


def sampled_positions(run: Run) -> list[int]:
    """Return every so manieth position, where checkpoints are, and the last one; 200 at most."""
    apart = run.info.get("checkpoint")
    apart = apart if isinstance(apart, int) and apart > 0 else USUAL
    apart *= max(1, -(-len(run) // (apart * SAMPLES)))
    return sorted({*range(0, len(run), apart), len(run) - 1}) if len(run) else []


def sampled_values(run: Run, names: tuple[str, ...], positions: list[int]) -> dict[str, list[Number | None]]:
    """Return the values of parameters at some positions, None where they could not be computed again.

    At a checkpoint this costs one step of training, elsewhere one for each step since then.
    """
    found: dict[str, list[Any]] = {name: [] for name in names}
    for frame in run.frames([int(run.steps[position]) for position in positions]):
        for name, values in found.items():
            values.append(frame.value(name) if name in frame.graph else None)
    return found


def sampled_moves(run: Run) -> dict[str, np.ma.MaskedArray[Any, Any]]:
    """Return how far the step after each checkpoint moved those parameters that have no values elsewhere."""
    names = checkpointed(run)
    starts = [position for position in sampled_positions(run) if position + 1 < len(run)] if names else []
    pairs = [place for start in starts for place in (start, start + 1)]
    values = sampled_values(run, names, pairs)
    return {name: _moves(len(run), starts, numbers) for name, numbers in values.items()}


def _moves(count: int, starts: list[int], numbers: list[Number | None]) -> np.ma.MaskedArray[Any, Any]:
    """Return the norms of the differences of every two numbers, at the positions where they start."""
    lengths, mask = np.full(count, np.nan), np.ones(count, bool)
    for start, before, after in zip(starts, numbers[::2], numbers[1::2], strict=True):
        if before is not None and after is not None and np.shape(before) == np.shape(after):
            with np.errstate(all="ignore"):
                lengths[start] = norm(np.asarray(after) - np.asarray(before))
            mask[start] = False
    return np.ma.array(lengths, mask=mask)
