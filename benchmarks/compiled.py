"""`gradviz.compile` beside the hand-written floor, the engine, and micrograd: value and every gradient.

The compiled function is called with numbers, as ``value_and_grad(compile(f))`` is. It is made and checked before
the clock runs; what that takes is a column of its own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from benchmarks import arrays, scalar
from benchmarks.contestants import Contestant, Gradviz
from benchmarks.harness import FLOOR, Effort, Result, Workload, measure

PREFIX = "compiled "  # of the names that --only matches
FLOATS, ARRAYS = 1.5, 1.04  # times the floor that were wanted
FASTER_THAN_MICROGRAD = 100.0
TOO_LONG = 1_000_000  # ops; compiling so many takes a minute


class Compiled(Gradviz):
    """This library, its functions compiled."""

    name = "gradviz, compiled"

    def load(self) -> None:
        """Import the library and bind what the workloads call."""
        super().load()
        self.constant = float
        self._made: dict[str, Callable[..., Any]] = {}

    def prepare(self, leaves: Sequence[Any]) -> Sequence[Any]:
        """Return the plain numbers or arrays."""
        return leaves

    def function(self, work: Workload, count: int) -> Callable[..., Any]:
        """Return the compiled value and gradient of a workload; one that has items takes each as an argument."""
        made = self._made.get(work.name)
        if made is None:
            several = len(work.items) > 1

            def loss(*given: Any) -> Any:
                return work.loss(self, given[:count], given[count] if several else work.items[0])

            made = self.gradviz.value_and_grad(self.gradviz.compile(loss), tuple(range(count)))
            self._made[work.name] = made
        return made

    def run(self, work: Workload, leaves: Sequence[Any]) -> Result:
        """Return the value and the gradient of every leaf."""
        both = self.function(work, len(leaves))
        if len(work.items) == 1:
            value, grads = both(*leaves)
            return value, grads
        total, sums = 0.0, [0.0] * len(leaves)
        for item in work.items:
            value, grads = both(*leaves, item)
            total += value
            sums = [have + new for have, new in zip(sums, grads, strict=True)]
        return total, sums


@dataclass
class Replayed:
    """One workload: seconds of an op of the floor, ratios to the floor or a reason, seconds of the first call."""

    name: str
    floor: float
    times: dict[str, float | str]
    first: float
    target: float | None

    @property
    def ratio(self) -> float:
        """How many times longer than the floor the compiled function took."""
        found = self.times[Compiled.name]
        return found if isinstance(found, float) else math.nan


def replayed(contestants: Sequence[Contestant], effort: Effort, pattern: str) -> Iterator[Replayed]:
    """Measure the workloads whose name, with the prefix, matches, beside gradviz and micrograd if they take part."""
    chosen = [c for c in contestants if c.name in ("gradviz", "micrograd")]
    if not any(c.name == "gradviz" for c in chosen):
        return
    for module in (scalar, arrays):
        for work in module.workloads():
            if fnmatch(PREFIX + work.name, pattern) and work.ops < TOO_LONG and not work.fresh:
                yield one(work, chosen, effort)


def one(work: Workload, others: Sequence[Contestant], effort: Effort) -> Replayed:
    """Measure one workload."""
    ours = Compiled()
    start = time.process_time()
    ours.run(work, work.leaves())
    first = time.process_time() - start
    row = measure(work, [ours, *others], effort)
    times = {name: row.ratio(name) if found.ok else found.status for name, found in row.outcomes.items()}
    target = None if len(work.items) > 1 else ARRAYS if work.arrays else FLOATS  # many calls cost what calls cost
    return Replayed(work.name, row.per_op(FLOOR), times, first, target)
