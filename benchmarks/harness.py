"""How everything is measured: workloads, outcomes, and interleaved rounds with a checked result.

All contestants run in one process, one block each per round, in an order that rotates. The
collector stays on; the heap that others left is frozen before each block, so that nobody pays
for a neighbour's garbage. Time is processor time: a second core is no advantage, and a busy machine
little harm. A ratio is the median of the ratios of the single rounds.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Protocol

import numpy as np

FLOOR = "floor"
TOLERANCE = 1e-9  # of a value, and of a gradient relative to the largest one

Result = tuple[float, Sequence[Any]]


@dataclass(frozen=True)
class Workload:
    """One thing to differentiate: the sum over ``items`` of ``loss(library, leaves, item)``."""

    name: str
    ops: int
    leaves: Callable[[], Sequence[Any]]
    loss: Callable[[Any, Sequence[Any], Any], Any]
    floor: Callable[[Sequence[Any], Sequence[Any]], Result]
    items: Sequence[Any] = (None,)
    series: str = ""  # workloads of one series differ in size only; smaller ones predict larger ones
    arrays: bool = False
    fresh: bool = False  # make the leaves anew in every timed run
    target: float | None = None  # largest ratio to the floor gradviz may have


class Runner(Protocol):
    """What the harness needs of a contestant."""

    name: str
    arrays: bool

    def prepare(self, leaves: Sequence[Any]) -> Sequence[Any]:
        """Return the leaves as ``run`` wants them."""

    def run(self, work: Workload, leaves: Sequence[Any]) -> Result:
        """Do one step of training, on leaves that may have gradients: return the value and the gradients."""


class Floor:
    """Derivatives written by hand, in Python floats or in NumPy."""

    name = FLOOR
    arrays = True

    def prepare(self, leaves: Sequence[Any]) -> Sequence[Any]:
        """Return the plain numbers or arrays."""
        return leaves

    def run(self, work: Workload, leaves: Sequence[Any]) -> Result:
        """Return the value and the gradient of every leaf."""
        return work.floor(leaves, work.items)


@dataclass
class Outcome:
    """What one contestant did with one workload: times, or the reason why there are none."""

    status: str = "ok"
    first: float = 0.0  # seconds of the checking run
    seconds: list[float] = field(default_factory=list)  # one run, a number per round

    @property
    def ok(self) -> bool:
        """Whether there is a time to show."""
        return self.status == "ok" and bool(self.seconds)

    def over(self, other: Outcome) -> float:
        """Return the median over the common rounds of this time divided by the other's."""
        if not (self.ok and other.ok):
            return math.nan
        return median(a / b for a, b in zip(self.seconds, other.seconds, strict=False))


@dataclass
class Row:
    """The outcomes of all contestants on one workload."""

    work: Workload
    outcomes: dict[str, Outcome]

    def ratio(self, name: str, to: str = FLOOR) -> float:
        """Return how many times longer than ``to`` the contestant ``name`` took."""
        return self.outcomes[name].over(self.outcomes[to])

    def per_op(self, name: str) -> float:
        """Return the seconds one op took."""
        outcome = self.outcomes[name]
        return median(outcome.seconds) / self.work.ops if outcome.ok else math.nan


@dataclass
class Effort:
    """How hard to measure."""

    rounds: int = 9
    block: float = 0.02  # seconds a block lasts at least
    patience: float = 3.0  # seconds above which a predicted run is not started

    def rounds_for(self, seconds: float) -> int:
        """Return how many rounds a run of so many seconds gets."""
        affordable = 9 if seconds < 0.15 else 5 if seconds < 1.0 else 3 if seconds < self.patience else 1
        return min(self.rounds, affordable)


def measure(work: Workload, runners: Sequence[Runner], effort: Effort, smaller: Row | None = None) -> Row:
    """Check every runner against the floor, then time all of them in interleaved rounds."""
    leaves = work.leaves()
    expected, first = timed(Floor(), work, leaves)
    outcomes = {FLOOR: Outcome(first=first)}
    for runner in runners:
        outcomes[runner.name] = foreseen(runner, work, effort, smaller) or checked(runner, work, leaves, expected)
    racing = [runner for runner in [Floor(), *runners] if outcomes[runner.name].status == "ok"]
    for turn in range(max(effort.rounds_for(outcomes[runner.name].first) for runner in racing)):
        shift = turn % len(racing)
        for runner in racing[shift:] + racing[:shift]:
            outcome = outcomes[runner.name]
            if runner.name == FLOOR or turn < effort.rounds_for(outcome.first):
                outcome.seconds.append(block(runner, work, leaves, outcome.first, effort))
    return Row(work, outcomes)


def checked(runner: Runner, work: Workload, leaves: Sequence[Any], expected: Result) -> Outcome:
    """Run once and compare with the floor; say so when it cannot do it or does it wrong."""
    try:
        result, first = timed(runner, work, leaves)
    except RecursionError:
        return Outcome("RecursionError")
    error = deviation(result, expected)
    return Outcome("ok" if error <= TOLERANCE else f"wrong by {error:.0e}", first)


def foreseen(runner: Runner, work: Workload, effort: Effort, smaller: Row | None) -> Outcome | None:
    """Return the outcome of a run that is not worth starting."""
    if work.arrays and not runner.arrays:
        return Outcome("scalars only")
    if smaller is None or runner.name not in smaller.outcomes:
        return None
    before = smaller.outcomes[runner.name]
    if before.status != "ok":
        return before
    predicted = before.first / smaller.work.ops * work.ops
    return Outcome(f"> {effort.patience:g} s") if predicted > effort.patience else None


def deviation(result: Result, expected: Result) -> float:
    """Return the largest error of the value and, against the largest gradient, of any gradient."""
    value = abs(result[0] - expected[0]) / max(abs(expected[0]), 1e-300)
    scale = max(float(np.max(np.abs(grad))) for grad in expected[1])
    pairs = zip(result[1], expected[1], strict=True)
    worst = max(float(np.max(np.abs(np.asarray(got) - wanted))) for got, wanted in pairs)
    return max(value, worst / scale)


def timed(runner: Runner, work: Workload, leaves: Sequence[Any]) -> tuple[Result, float]:
    """Return the result of one run and the seconds it took, the release of its graph included."""
    tensors = runner.prepare(leaves)
    with FrozenHeap():
        start = time.process_time()
        result = runner.run(work, tensors)
        return result, time.process_time() - start


def block(runner: Runner, work: Workload, leaves: Sequence[Any], first: float, effort: Effort) -> float:
    """Return the seconds of one run, averaged over as many as fill a block."""
    repeats = max(1, math.ceil(effort.block / max(first, 1e-7)))
    tensors = runner.prepare(leaves)
    with FrozenHeap():
        start = time.process_time()
        for _ in range(repeats):
            runner.run(work, runner.prepare(leaves) if work.fresh else tensors)
        return (time.process_time() - start) / repeats


class FrozenHeap:
    """Collect what is garbage and hide the rest from the collector, for one block."""

    def __enter__(self) -> None:
        gc.collect()
        gc.freeze()

    def __exit__(self, *_: object) -> None:
        gc.unfreeze()
