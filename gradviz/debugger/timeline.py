"""What a debugger walks through: iterations, each with its graph, its numbers and what the update made of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gradviz.debugger.events import Steps
from gradviz.errors import GradvizTypeError, UnknownNameError
from gradviz.graphs import Frame, Graph, Number

if TYPE_CHECKING:
    from gradviz.tracing.reading import Run

__all__ = ["FrameTimeline", "RunTimeline", "Timeline", "timeline", "values_after"]

KEPT = 32  # iterations remembered: a walk to and fro computes none of them twice


class Timeline(Protocol):
    """A history of iterations, in order, that can be opened anywhere."""

    @property
    def iterations(self) -> Sequence[int]:
        """The numbers of the iterations, ascending."""

    def steps(self, iteration: int) -> Steps:
        """Return the events of one iteration; raises UnknownNameError if there is none of that number."""

    def has_column(self, name: str) -> bool:
        """Tell whether anything of that name was recorded as one number per iteration."""

    def column(self, name: str, part: str) -> np.ndarray | None:
        """Return a recorded number of a parameter over all iterations, or None if it was not recorded.

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

    def has_column(self, name: str) -> bool:
        """Return False: frames have no columns."""
        return False

    def column(self, name: str, part: str) -> np.ndarray | None:
        """Return None: frames have no columns."""
        return None


class RunTimeline:
    """A recorded run: every iteration is read, or computed again, when it is first looked at."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.iterations: Sequence[int] = sorted(set(run.steps.tolist()))
        self._place = {step: i for i, step in enumerate(self.iterations)}
        self._known: OrderedDict[int, Steps] = OrderedDict()

    def steps(self, iteration: int) -> Steps:
        """Return the events of one iteration, remembered for a while."""
        if iteration not in self._place:
            raise _no_iteration(iteration, self.iterations)
        if iteration not in self._known:
            frame = self.run.frame(iteration)
            self._known[iteration] = Steps(frame, partial(values_after, frame, partial(self._following, iteration)))
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        self._known.move_to_end(iteration)
        return self._known[iteration]

    def _following(self, iteration: int) -> Frame | None:
        place = self._place[iteration] + 1
        return self.steps(self.iterations[place]).full if place < len(self.iterations) else None

    def has_column(self, name: str) -> bool:
        """Tell whether it is a parameter, or the loss."""
        return name == "loss" or name in self.run.names

    def column(self, name: str, part: str) -> np.ndarray | None:
        """Return a recorded number of a parameter over all iterations, or None if it was not recorded."""
        if name == "loss" and part == "value" and name not in self.run.names:
            return self.run.loss
        if name not in self.run.names:
            return None
        found: np.ndarray = getattr(self.run[name], part)
        return found


def timeline(x: Any, *, params: Any = None) -> Timeline:
    """Return the history of a Tensor, a Frame, several Frames, or a Run.

    A Tensor that ``backward()`` was not called on shows the gradients it would give, and keeps none.
    Raises GradvizTypeError for anything that has no numbers.

    >>> import gradviz
    >>> timeline(gradviz.Tensor(2.0) * 3.0).steps(0).full.grads
    (3.0, None, 1.0)
    """
    from gradviz.tracing.reading import Run

    if isinstance(x, Run):
        return RunTimeline(x)
    if isinstance(x, Frame):
        return FrameTimeline([x])
    if isinstance(x, list | tuple) and x and all(isinstance(frame, Frame) for frame in x):
        return FrameTimeline(x)
    if isinstance(x, Graph | list | tuple):
        raise GradvizTypeError(
            f"a {type(x).__name__} has no numbers to step through", hint="give a Tensor, a Frame or a Run"
        )
    from gradviz.sources import frame
    from gradviz.sources.pullback import with_gradients

    whole = with_gradients(frame(x, params=params))
    return FrameTimeline([whole], {name: values for name, values in _values_of(params) if name not in whole.graph})


def _values_of(params: Any) -> Iterator[tuple[str, Number]]:
    """Yield the values of named parameters."""
    for name, tensor in (params or {}).items():
        value = np.array(getattr(tensor, "data", tensor), float)
        yield str(name), value.item() if value.shape == () else value


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
