"""The iterations kept at one place of a running program, as a history to step through."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from gradviz.debugger.events import Steps
from gradviz.debugger.timeline import KEPT, values_after
from gradviz.errors import UnknownNameError
from gradviz.graphs import Frame
from gradviz.sources.keeping import Kept

__all__ = ["KeptFrame", "KeptTimeline"]

NODE = 300  # bytes of a node besides its numbers


class KeptFrame:
    """One iteration whose frame had to be made at once: the tensors of PyTorch change."""

    def __init__(self, frame: Frame, *, is_pulled: bool) -> None:
        self._frame = frame
        self.is_pulled = is_pulled  # backward() had been called
        self.values: set[int] = set()
        numbers = [x for x in (*frame.values, *frame.grads) if x is not None]
        self.size = NODE * len(frame.graph) + sum(x.nbytes for x in numbers if isinstance(x, np.ndarray))

    def frame(self) -> Frame:
        """Return the frame."""
        return self._frame

    @property
    def loss(self) -> float:
        """The value of the result, the sum of its elements if there are several; NaN if it is not known."""
        value = self._frame.values[self._frame.graph.outputs[-1]]
        return math.nan if value is None else float(np.sum(value))


class KeptTimeline:
    """Iterations that are added while the program runs. Their frames are made when they are looked at."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, Kept | KeptFrame] = OrderedDict()
        self._known: OrderedDict[int, Steps] = OrderedDict()
        self.size = 0  # bytes

    @property
    def iterations(self) -> Sequence[int]:
        """The numbers of the iterations kept, ascending."""
        return tuple(self._kept)

    @property
    def newest(self) -> Kept | KeptFrame | None:
        """The iteration kept last."""
        return next(reversed(self._kept.values()), None)

    def add(self, number: int, one: Kept | KeptFrame, most: int, memory: int) -> None:
        """Keep an iteration, and let the oldest go that are too many or together too large."""
        if self._kept:
            self._known.pop(next(reversed(self._kept)), None)  # what its update did is known now
        self._kept[number] = one
        self.size += one.size
        while len(self._kept) > 1 and (len(self._kept) > most or self.size > memory):
            oldest, gone = self._kept.popitem(last=False)
            self.size -= gone.size
            self._known.pop(oldest, None)

    def clear(self) -> None:
        """Let all of them go."""
        self._kept.clear()
        self._known.clear()
        self.size = 0

    def is_pulled(self, iteration: int) -> bool:
        """Tell whether ``backward()`` had been called in an iteration."""
        return self._kept[iteration].is_pulled

    def steps(self, iteration: int) -> Steps:
        """Return the events of one iteration; raises UnknownNameError if it is not kept."""
        if iteration not in self._kept:
            numbers = self.iterations
            raise UnknownNameError(f"iteration {iteration} is not kept", hint=f"from {numbers[0]} to {numbers[-1]}")
        if iteration not in self._known:
            frame = replace(self._kept[iteration].frame(), step=iteration)
            self._known[iteration] = Steps(frame, partial(values_after, frame, partial(self._following, iteration)))
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        self._known.move_to_end(iteration)
        return self._known[iteration]

    def _following(self, iteration: int) -> Any:
        numbers = self.iterations
        place = numbers.index(iteration) + 1
        return self.steps(numbers[place]).full if place < len(numbers) else None

    def knows(self, name: str) -> bool:
        """Tell whether a node of that name is in an iteration whose frame was made."""
        return any(name in steps.full.graph for steps in self._known.values())

    def has_column(self, name: str) -> bool:
        """Tell whether it is the loss."""
        return name == "loss"

    def column(self, name: str, part: str) -> np.ndarray | None:
        """Return the loss of every iteration; None for all else."""
        is_loss = name == "loss" and part == "value"
        return np.array([one.loss for one in self._kept.values()]) if is_loss else None
