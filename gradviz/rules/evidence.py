"""What the rules look at: a run, or one frame, read once and shared by all of them.

A run may hold millions of numbers: the loss is read whole, the parameters as `gradviz.rules.histories` says,
and a bounded number of steps as frames, which are computed again from what was recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np

from gradviz.errors import GradvizError, GradvizTypeError
from gradviz.graphs import Frame, Graph
from gradviz.rules.histories import Moves, RunLike, Track, moves_between, read

__all__ = ["Evidence", "RunLike"]

FRAMES = 24
NODES_LIMIT = 50_000  # in all frames together
NUMBERS_LIMIT = 1 << 22
RATE_NAMES = ("lr", "learning_rate", "learning rate")


class Evidence:
    """A run as the rules see it; positions count its iterations from 0, whatever their numbers.

    >>> import gradviz
    >>> w = gradviz.Tensor(3.0, name="w")
    >>> loss = w * w
    >>> loss.backward()
    >>> seen = Evidence(gradviz.frame(loss))
    >>> seen.is_single, seen.loss.tolist(), seen.tracks["w"].grad_norm.tolist()
    (True, [9.0], [6.0])
    """

    def __init__(self, judged: RunLike | Frame) -> None:
        self.is_single = isinstance(judged, Frame | OneFrame)
        if not isinstance(judged, Frame) and not (hasattr(judged, "column") and hasattr(judged, "frame")):
            raise GradvizTypeError(
                f"only a Run or a Frame can be judged, not {type(judged).__name__}",
                hint="gradviz.open_run(path), or gradviz.frame(loss)",
            )
        self.run: RunLike = OneFrame(judged) if isinstance(judged, Frame) else judged
        self._frames: dict[int, Frame | None] = {}

    def __len__(self) -> int:
        return len(self.run)

    @cached_property
    def steps(self) -> np.ndarray:
        """The number of every iteration."""
        return np.asarray(self.run.steps)

    @cached_property
    def loss(self) -> np.ndarray:
        """The loss of every iteration."""
        return np.asarray(self.run.loss, float)

    def step(self, position: int | np.integer[Any]) -> int:
        """Return the number of the iteration at a position."""
        return int(self.steps[position])

    @cached_property
    def _read(self) -> tuple[dict[str, Track], Moves]:
        return read(self.run)

    @property
    def tracks(self) -> dict[str, Track]:
        """What every parameter did, by name."""
        return self._read[0]

    def sizes(self, positions: np.ndarray) -> np.ndarray:
        """Return the largest norm that all parameters together have had up to these positions."""
        squares, at = np.zeros(0), np.zeros(0, int)
        for track in self.tracks.values():
            with np.errstate(over="ignore"):
                own = np.square(np.nan_to_num(track.norm, nan=0.0, posinf=0.0))
            squares, at = (own if not len(at) else squares + own), track.at
        most = np.append(np.sqrt(np.maximum.accumulate(squares)), 0.0)
        found: np.ndarray = most[np.minimum(np.searchsorted(at, positions), len(most) - 1)]
        return found

    @cached_property
    def moves(self) -> Moves:
        """How far all parameters together went, where their values are known: if nowhere, from the frames."""
        moves = self._read[1]
        return moves if np.isfinite(moves.length).any() else moves_between(self._pairs())

    def _pairs(self) -> Iterator[tuple[int, Frame, Frame]]:
        known = dict(self.frames)
        for position, frame in known.items():
            if position + 1 in known:
                yield position, frame, known[position + 1]

    @cached_property
    def first_bad(self) -> int | None:
        """The position of the first NaN or infinity in the loss, a parameter or a gradient; None if there is none."""
        found = np.flatnonzero(~np.isfinite(self.loss))[:1].tolist()
        for track in self.tracks.values():
            bad = np.flatnonzero(track.bad)[:1]
            if len(bad):
                before = int(track.at[bad[0] - 1]) if bad[0] else -1
                found.append(self._first_between(track.name, before, int(track.at[bad[0]])))
        return min(found, default=None)

    def _first_between(self, name: str, good: int, bad: int) -> int:
        """Return where a fault that stays begins, by halving: steps between two stretches were not read."""
        while bad - good > 1:
            middle = (good + bad) // 2
            part = self.run[middle : middle + 1]
            history = part[name]
            sizes = [np.ma.filled(np.ma.asarray(norm), 0.0) for norm in (history.norm, history.grad_norm)]
            good, bad = (middle, bad) if np.isfinite(sizes).all() else (good, middle)
        return bad

    # -- frames ------------------------------------------------------------------------------------

    def frame(self, position: int) -> Frame | None:
        """Return the frame at a position; None if nothing of it can be read."""
        if position not in self._frames:
            try:
                self._frames[position] = self.run.frame(self.step(position))
            except GradvizError:
                self._frames[position] = None
        return self._frames[position]

    @cached_property
    def first(self) -> Frame | None:
        """The frame of the first iteration."""
        return self.frame(0) if len(self) else None

    @cached_property
    def frames(self) -> list[tuple[int, Frame]]:
        """Some iterations as (position, frame): the first, the last, and pairs of neighbours between them.

        Nothing after the first NaN or infinity is looked at: there is nothing to be learned from it.
        """
        found = ((position, self.frame(position)) for position in self._positions())
        return [(position, frame) for position, frame in found if frame is not None]

    @cached_property
    def whole(self) -> np.ndarray | None:
        """The positions of the steps that hold every number, if some do in a run that cannot be computed again."""
        ask = getattr(self.run, "whole_positions", None)
        found = ask() if ask is not None else None
        return found if found is not None and len(found) else None

    def norms(self, position: int) -> tuple[list[float | None], list[float | None]] | None:
        """Return the norms of value and gradient of every node where those are recorded, else None."""
        ask = getattr(self.run, "node_norms", None)
        return ask(position) if ask is not None else None

    def _positions(self) -> list[int]:
        last = len(self) - 1 if self.first_bad is None else self.first_bad
        if self.whole is not None:
            return self._some_of(self.whole[self.whole <= last].tolist())
        count, checkpoint = self._affordable(), self._checkpoint()
        if last < count:
            return list(range(last + 1))
        together = 2 if checkpoint == 1 else min(4, checkpoint)  # of a checkpoint a few steps are as cheap as one
        starts = np.linspace(0, last - 1, max(count // together, 1)).astype(int)
        starts[:-1] -= starts[:-1] % checkpoint
        chosen = {0, last, *(start + i for start in starts.tolist() for i in range(together))}
        return sorted(position for position in chosen if position <= last)

    def _some_of(self, whole: list[int]) -> list[int]:
        """Return some of the positions, spread evenly: the first, the last, and pairs of neighbours."""
        count = self._affordable()
        if len(whole) <= count:
            return whole
        starts = np.linspace(0, len(whole) - 2, max(count // 2, 1)).astype(int)
        chosen = {0, len(whole) - 1, *(start + i for start in starts.tolist() for i in (0, 1))}
        return [whole[i] for i in sorted(chosen)]

    def _affordable(self) -> int:
        """Return how many frames may be computed."""
        if self.first is None:
            return 1
        nodes = self.first.graph.nodes
        numbers = sum(int(np.prod(node.shape, dtype=float)) for node in nodes)
        return max(2, min(FRAMES, NODES_LIMIT // max(len(nodes), 1), NUMBERS_LIMIT // max(numbers, 1)))

    def _checkpoint(self) -> int:
        """Return the distance of steps that are cheap to compute again."""
        given = getattr(self.run, "info", {}).get("checkpoint")
        return given if isinstance(given, int) and given > 0 else 1

    @cached_property
    def graph(self) -> Graph | None:
        """The graph of the last iteration that was looked at."""
        return self.frames[-1][1].graph if self.frames else None

    # -- the learning rate ---------------------------------------------------------------------------

    @cached_property
    def _rates(self) -> list[tuple[int, str, float]]:
        """(step, who said so, learning rate) in the order of the run."""
        found = [rate for event in getattr(self.run, "events", ()) for rate in _rate_of(event)]
        meta: Mapping[str, Any] = getattr(self.run, "meta", {})
        given = next((meta[name] for name in RATE_NAMES if isinstance(meta.get(name), int | float)), None)
        return found or ([] if given is None else [(-1, "meta", float(given))])

    def rate(self, position: int) -> float | None:
        """Return the learning rate in force after the iteration at a position, if it was recorded."""
        step = self.step(position)
        return next((lr for since, _, lr in reversed(self._rates) if since <= step), None)

    @cached_property
    def optimizer(self) -> str:
        """The name of the optimizer, if one was recorded."""
        events: Sequence[Mapping[str, Any]] = getattr(self.run, "events", ())
        named = (event.get("optimizer") for event in events if event.get("kind") == "optimizer")
        return next((name for name in named if isinstance(name, str)), "")


def _rate_of(event: Mapping[str, Any]) -> Iterator[tuple[int, str, float]]:
    """Yield the learning rate an event tells of."""
    step, kind = event.get("step"), event.get("kind")
    options, rates = event.get("options"), event.get("rates")
    lr: Any = None
    if kind == "optimizer" and isinstance(options, Mapping):
        lr = options.get("lr")
    elif kind == "update" and isinstance(rates, Mapping) and rates:
        lr = max((rate for rate in rates.values() if isinstance(rate, int | float)), default=None)
    if isinstance(lr, int | float) and isinstance(step, int):
        yield step, str(kind), float(lr)


class OneFrame:
    """A single frame as a run of one step.

    ``absent`` are values of parameters that are not in its graph, by name.
    """

    info: Mapping[str, Any] = {}
    meta: Mapping[str, Any] = {}
    events: Sequence[Mapping[str, Any]] = ()

    def __init__(self, frame: Frame, absent: Mapping[str, Any] | None = None) -> None:
        self._frame = frame
        self._absent = absent or {}
        self.names = (*(node.name for node in frame.graph.nodes if node.kind == "param"), *self._absent)
        self.steps = np.array([0 if frame.step is None else frame.step])
        result = frame.values[frame.graph.outputs[-1]] if frame.graph.outputs else None
        is_bad = result is not None and not np.isfinite(result).all()
        shown = result if result is not None and np.size(result) == 1 else np.nan if is_bad else 0.0
        self.loss = np.array([np.real(shown)], float).reshape(1)

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield {name: self._absent[name] if name in self._absent else self._frame.value(name) for name in self.names}

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return self
        nothing = np.ma.masked_array([np.nan], [True])
        return SimpleNamespace(norm=nothing, grad_norm=nothing)

    def column(self, name: str, kind: str) -> np.ndarray:
        """Return value or gradient as a column of one row."""
        if name in self._absent:
            number = self._absent[name] if kind == "value" else None
        else:
            number = self._frame.value(name) if kind == "value" else self._frame.grad(name)
        return np.ma.masked_array([np.nan], [True]) if number is None else np.asarray(number)[None]

    def frame(self, step: int) -> Frame:
        """Return the frame."""
        return self._frame
