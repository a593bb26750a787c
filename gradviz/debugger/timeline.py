"""What a debugger walks through: iterations, each with its graph, its numbers and what the update made of them."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from gradviz.debugger.events import Steps
from gradviz.debugger.framing import whole_frame
from gradviz.debugger.tensors import named_params, plain_value
from gradviz.errors import GradvizTypeError, GradvizValueError, UnknownNameError
from gradviz.graphs import Frame, Graph, Number

if TYPE_CHECKING:
    from gradviz.tracing.reading import Run

__all__ = ["FrameTimeline", "RunTimeline", "Timeline", "timeline", "values_after"]

KEPT = 32  # iterations remembered: a walk to and fro computes none of them twice


@runtime_checkable
class Timeline(Protocol):
    """A history of iterations, in order, that can be opened anywhere."""

    @property
    def iterations(self) -> Sequence[int]:
        """The numbers of the iterations, ascending."""

    def steps(self, iteration: int) -> Steps:
        """Return the events of one iteration; raises UnknownNameError if there is none of that number."""

    def knows(self, name: str) -> bool:
        """Tell whether a node of that name is in any iteration, as far as that is known without a look at each."""

    def has_column(self, name: str) -> bool:
        """Tell whether anything of that name was recorded as one number per iteration."""

    def column(self, name: str, part: str) -> np.ndarray | None:
        """Return a recorded number of a parameter, one for each of `iterations`, or None if there is none such.

        ``part`` is ``value``, ``grad``, ``norm``, ``grad_norm``; ``name`` may also be ``loss`` (``value``).
        """


class FrameTimeline:
    """One frame, or several of successive iterations, held in memory.

    ``absent`` are values of parameters that were named but are not in the graph, by name.
    """

    def __init__(self, frames: Sequence[Frame], absent: Mapping[str, Number] | None = None) -> None:
        self.absent = dict(absent or {})
        named = [frame.step for frame in frames if frame.step is not None]
        are_numbered = named == sorted(set(named)) and len(named) == len(frames)
        self.iterations: Sequence[int] = named if are_numbered else range(len(frames))
        following = [*frames[1:], None]
        made = [
            Steps(frame, partial(values_after, frame, partial(_same, f)))
            for frame, f in zip(frames, following, strict=True)
        ]
        self._steps = dict(zip(self.iterations, made, strict=True))

    def steps(self, iteration: int) -> Steps:
        """Return the events of one iteration."""
        if iteration not in self._steps:
            raise _no_iteration(iteration, self.iterations)
        return self._steps[iteration]

    def knows(self, name: str) -> bool:
        """Tell whether a node of that name is in any of the frames."""
        return any(name in steps.full.graph for steps in self._steps.values())

    def has_column(self, name: str) -> bool:
        """Return False: frames have no columns."""
        return False

    def column(self, name: str, part: str) -> np.ndarray | None:
        """Return None: frames have no columns."""
        return None


class RunTimeline:
    """A recorded run: every iteration is read, or computed again, when it is first looked at.

    Of iterations that were recorded under one number the last counts. A run that is followed grows.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._numbers: list[int] = []
        self._rows = np.zeros(0, int)  # of each number the last row
        self._seen: np.ndarray | None = None
        self._known: OrderedDict[int, Steps] = OrderedDict()
        self._columns: dict[tuple[str, str], np.ndarray | None] = {}

    @property
    def iterations(self) -> Sequence[int]:
        """The numbers of the iterations, ascending."""
        steps = self.run.steps
        if steps is not self._seen:
            self._read_on(steps)
        return self._numbers

    def _read_on(self, steps: np.ndarray) -> None:
        """Take note of the rows there are now; what was read of those that are new or last is read again."""
        before = dict(zip(self._numbers[:-1], self._rows[:-1].tolist(), strict=True))
        self._columns.clear()
        numbers, from_end = np.unique(steps[::-1], return_index=True)
        self._numbers, self._rows, self._seen = numbers.tolist(), len(steps) - 1 - from_end, steps
        now = dict(zip(self._numbers, self._rows.tolist(), strict=True))
        for number in [number for number in self._known if before.get(number) != now.get(number)]:
            del self._known[number]

    def place(self, iteration: int) -> int:
        """Return the place of an iteration among `iterations`; raises UnknownNameError if there is none."""
        numbers = self.iterations
        place = bisect_left(numbers, iteration)
        if place == len(numbers) or numbers[place] != iteration:
            raise _no_iteration(iteration, numbers)
        return place

    def steps(self, iteration: int) -> Steps:
        """Return the events of one iteration, remembered for a while."""
        place = self.place(iteration)
        if iteration not in self._known:
            row = int(self._rows[place])
            frame = self.run[row : row + 1].frame(iteration)
            self._known[iteration] = Steps(frame, partial(values_after, frame, partial(self._following, iteration)))
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        self._known.move_to_end(iteration)
        return self._known[iteration]

    def _following(self, iteration: int) -> Frame | None:
        place = self.place(iteration) + 1
        return self.steps(self._numbers[place]).full if place < len(self._numbers) else None

    def knows(self, name: str) -> bool:
        """Tell whether a node of that name is in any of the graphs recorded."""
        return name in self.run.names or any(name in graph for graph in self.run.graphs)

    def has_column(self, name: str) -> bool:
        """Tell whether it is a parameter, or the loss (unless another node than the result has that name)."""
        if name in self.run.names:
            return True
        return name == "loss" and all(graph[name].id in graph.outputs for graph in self.run.graphs if name in graph)

    def column(self, name: str, part: str) -> np.ndarray | None:
        """Return a recorded number of a parameter, one for each of `iterations`, or None if there is none such."""
        numbers = self.iterations
        if (name, part) not in self._columns:
            rows = self._column(name, part)
            whole = rows is None or len(numbers) == len(rows)
            self._columns[name, part] = rows if whole or rows is None else rows[self._rows]
        return self._columns[name, part]

    def _column(self, name: str, part: str) -> np.ndarray | None:
        """Return a number of every row."""
        if not self.has_column(name):
            return None
        if name not in self.run.names:
            return self.run.loss if part == "value" else None
        if part not in {"norm", "grad_norm"} and not (part in {"value", "grad"} and self._is_scalar(name)):
            return None
        found: np.ndarray = getattr(self.run[name], part)
        return found

    def _is_scalar(self, name: str) -> bool:
        parts = (part.rows.columns.get((name, "value")) for part in self.run.structures)
        known = [column.is_scalar for column in parts if column is not None]
        return bool(known) and all(known)


def timeline(x: Any, *, params: Any = None) -> Timeline:
    """Return the history of a Tensor, a Frame, several Frames, a capture, or a Run.

    A Tensor that ``backward()`` was not called on shows the gradients it would give, and keeps none.
    Raises GradvizTypeError for anything that has no numbers.

    >>> import gradviz
    >>> timeline(gradviz.Tensor(2.0) * 3.0).steps(0).full.grads
    (3.0, None, 1.0)
    """
    from gradviz.tracing.reading import Run

    if isinstance(x, Run):
        return RunTimeline(x)
    if isinstance(x, Timeline):
        return x
    if isinstance(x, Frame):
        return FrameTimeline([x])
    if isinstance(x, list | tuple) and x and all(isinstance(frame, Frame) for frame in x):
        return FrameTimeline(x)
    if frames := _frames_of(x):
        return FrameTimeline(frames)
    if isinstance(x, Graph | list | tuple):
        raise GradvizTypeError(
            f"a {type(x).__name__} has no numbers to step through", hint="give a Tensor, a Frame or a Run"
        )
    if isinstance(x, str | PathLike):
        raise GradvizTypeError(f"{str(x)[:200]!r} is no history, only its name", hint="give gradviz.open_run(path)")
    whole = whole_frame(x, params)
    absent = {name: plain_value(x) for name, x in named_params(params).items() if name not in whole.graph}
    return FrameTimeline([whole], absent)


def _frames_of(x: Any) -> list[Frame]:
    """Return the frames that something has recorded, as a capture has; none if it is no such thing."""
    frames = getattr(x, "frames", None)
    are_frames = isinstance(frames, list) and all(isinstance(frame, Frame) for frame in frames)
    if are_frames and not frames:
        raise GradvizValueError(
            f"the {type(x).__name__} has recorded no step yet", hint="a step ends with loss.backward()"
        )
    return list(frames) if are_frames and frames else []


def values_after(frame: Frame, find_following: Callable[[], Frame | None]) -> dict[int, Number]:
    """Return the values that the parameters of a frame have in the next one, by id."""
    following = find_following()
    if following is None:
        return {}
    found: dict[int, Number] = {}
    for node in frame.graph.nodes:
        if node.kind == "param" and node.name in following.graph:
            new = following.graph[node.name]
            value = following.values[new.id]
            if new.kind == "param" and new.shape == node.shape and value is not None:
                found[node.id] = value
    return found


def _same(frame: Frame | None) -> Frame | None:
    return frame


def _no_iteration(iteration: int, known: Sequence[int]) -> UnknownNameError:
    span = f"there are {len(known)}, from {known[0]} to {known[-1]}" if known else "the run is empty"
    return UnknownNameError(f"there is no iteration {iteration}", hint=span)
