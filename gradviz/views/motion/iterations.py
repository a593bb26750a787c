"""The moments of a run: the same picture at some of its iterations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import GradvizValueError
from gradviz.graphs import Frame
from gradviz.style import Options, wording
from gradviz.views.arranging import Arrangement
from gradviz.views.motion.moments import Moment, Moments, check_size

if TYPE_CHECKING:
    from gradviz.tracing.reading import Run

__all__ = ["iterations"]

EACH, HOLD = 0.35, 3.0  # seconds


def iterations(run: Run, options: Options, most: int) -> Moments:
    """Return a run as moments: at most so many of its iterations, the first and the last among them.

    Only iterations of the structure of the last can share its picture. Raises `GradvizValueError` for an
    empty run.
    """
    still = run.still
    steps, losses = [int(step) for step in still.steps], [float(loss) for loss in still.loss]
    if not steps:
        raise GradvizValueError("the run is empty: there is no iteration to show")
    chosen = spread(len(steps), most)
    frames = list(still.frames([steps[place] for place in chosen]))
    kept = [(place, frame) for place, frame in zip(chosen, frames, strict=True) if alike(frame, frames[-1])]
    arranged = arranged_alike([frame for _, frame in kept], options)
    check_size(len(arranged[-1].graph), len(arranged))
    shown = []
    for number, ((place, _), frame) in enumerate(zip(kept, arranged, strict=True)):
        seconds = HOLD if number == len(kept) - 1 else EACH
        loss = wording.format_number(losses[place], options.precision)
        shown.append(Moment(frame, "iteration", (f"loss = {loss}",), seconds, count=f"{steps[place]:,}"))
    few = "" if len(shown) == len(steps) else f"{len(shown)} of "
    told = f"Animation of {few}{len(steps):,} iterations"
    history = tuple((steps[place], losses[place]) for place, _ in kept)
    return Moments(arranged[-1], shown, told, history)


def spread(count: int, most: int) -> list[int]:
    """Return at most so many places among ``count``, evenly spread, the first and the last among them.

    >>> spread(10, 4), spread(3, 10), spread(5, 1)
    ([0, 3, 6, 9], [0, 1, 2], [4])
    """
    if most == 1:
        return [count - 1]
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, most)).tolist()})


def alike(frame: Frame, last: Frame) -> bool:
    """Tell whether two frames can share a picture."""
    return frame.graph is last.graph or frame.graph.fingerprint() == last.graph.fingerprint()


def arranged_alike(frames: Sequence[Frame], options: Options) -> list[Frame]:
    """Return frames focused, closed and folded as the options say."""
    found: Iterable[tuple[Frame, Any]] = (Arrangement(frame, options).arranged() for frame in frames)
    return [frame for frame, _ in found]
