"""What it costs to write down every step of a descent: gradviz's levels, and other ways to keep a log.

Every block trains a model of its own into a folder of its own, right after an untraced block that it is compared
with. Time is processor time, that of the system and of writer threads included.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.arrays import draw, mlp_loss
from benchmarks.contestants import Contestant, Gradviz
from benchmarks.harness import Effort, FrozenHeap
from benchmarks.sinks import LINE_SINKS, NETWORK_SINKS, OWN_SINKS, Sink, Untraced

RATE = 0.05
WARM_UP = 5  # steps before the clock runs: the first one writes the graph

LAYERS = ("W1", "b1", "W2", "b2")

Log = Callable[[int, Any], None]


class LineFit:
    """The article's fit of a line to 100 points, as whole arrays."""

    name = "trace line fit"
    sinks = LINE_SINKS
    steps, few = 1_000, 50

    def __init__(self, lib: Gradviz) -> None:
        self._mean = lib.gradviz.mean
        self.params = {"w": lib.gradviz.Tensor(0.0, name="w"), "b": lib.gradviz.Tensor(0.0, name="b")}

    def run(self, steps: range, log: Log) -> None:
        """Descend, telling ``log`` of every step."""
        mean, (w, b) = self._mean, self.params.values()
        x = np.linspace(-1.0, 1.0, 100)
        y = 2.0 * x + 1.0
        for step in steps:
            w.zero_grad()
            b.zero_grad()
            loss = mean((y - (w * x + b)) ** 2)
            loss.backward()
            log(step, loss)
            w.data -= RATE * w.grad
            b.data -= RATE * b.grad


class Network:
    """A classifier of 784 pixels in float32: 1.6 MB of values and gradients."""

    name = "trace MLP, batch 64"
    sinks = NETWORK_SINKS
    batch, batches = 64, 1
    steps, few = 50, 5  # so many from one checkpoint to the next

    def __init__(self, lib: Gradviz) -> None:
        self._lib = lib
        gradviz = lib.gradviz
        values = [single(value) * 0.05 for value in draw((784, 256), (256,), (256, 10), (10,))]
        self.params = {name: gradviz.Tensor(v, name=name) for name, v in zip(LAYERS, values, strict=True)}
        self._optimizer = gradviz.optim.SGD(self.params.values(), lr=RATE)
        images = draw(*[(self.batch, 784)] * self.batches)
        self._images = [gradviz.constant(single(image), name="x") for image in images]
        self._labels = gradviz.constant(single(np.eye(10)[np.arange(self.batch) % 10]), name="labels")

    def run(self, steps: range, log: Log) -> None:
        """Descend, telling ``log`` of every step."""
        for step in steps:
            self._optimizer.zero_grad()
            images = self._images[step % self.batches]
            loss = mlp_loss(self._lib, [images, *self.params.values(), self._labels], None)
            loss.backward()
            log(step, loss)
            self._optimizer.step()


class LargeBatch(Network):
    """The same with 512 images."""

    name = "trace MLP, batch 512"
    batch = 512


class Minibatches(Network):
    """The same with other images at every step, which are to be recorded too."""

    name = "trace MLP, other 64 each step"
    sinks = OWN_SINKS
    batches = 8


TRAININGS: tuple[Any, ...] = (LineFit, Network, Minibatches, LargeBatch)


@dataclass
class Overhead:
    """One way to log one training: seconds a step in every round, untraced and logged."""

    training: str
    sink: str
    target: float | None  # of the speed kept
    plain: list[float] = field(default_factory=list)
    logged: list[float] = field(default_factory=list)
    status: str = "ok"

    @property
    def added(self) -> float:
        """The seconds that logging adds to a step."""
        return median(b - a for a, b in zip(self.plain, self.logged, strict=True)) if self.plain else math.nan

    @property
    def speed(self) -> float:
        """The speed that is left: the untraced time divided by the logged one."""
        return median(a / b for a, b in zip(self.plain, self.logged, strict=True)) if self.plain else math.nan


def overheads(contestants: Sequence[Contestant], effort: Effort, pattern: str = "*") -> Iterator[Overhead]:
    """Measure every way to log the trainings whose name matches, where gradviz takes part."""
    ours = next((one for one in contestants if one.name == "gradviz" and isinstance(one, Gradviz)), None)
    if ours is not None:
        for kind in TRAININGS:
            if fnmatch(kind.name, pattern):
                yield from raced(kind, ours, effort)


def raced(kind: Any, lib: Gradviz, effort: Effort) -> list[Overhead]:
    """Measure the ways to log one training in alternating blocks."""
    steps = kind.steps if effort.rounds > 1 else kind.few
    found = {sink: Overhead(kind.name, sink.name, sink.targets.get(kind.name)) for sink in kind.sinks}
    racing = []
    for sink, one in found.items():
        one.status = "ok" if sink.is_installed() else "not installed"
        if one.status == "ok":
            racing.append((sink, effort.rounds_for(block(kind, lib, sink, few(kind)) * steps)))
    for turn in range(max((rounds for _, rounds in racing), default=0)):
        shift = turn % len(racing)
        for sink, rounds in racing[shift:] + racing[:shift]:
            if turn < rounds:
                found[sink].plain.append(block(kind, lib, Untraced, steps))
                found[sink].logged.append(block(kind, lib, sink, steps))
    return list(found.values())


def few(kind: Any) -> int:
    """Return the number of steps of a first look."""
    return max(1, kind.few // 5)


def block(kind: Any, lib: Gradviz, sink: type[Sink], steps: int) -> float:
    """Return the seconds a step takes with this log, after a few to warm up."""
    with tempfile.TemporaryDirectory() as folder:
        training = kind(lib)
        touch(Path(folder) / "room", (WARM_UP + steps) * sum(2 * p.numpy().nbytes for p in training.params.values()))
        log = sink(Path(folder), lib.gradviz, training.params)
        try:
            training.run(range(WARM_UP), log.step)
            with FrozenHeap():
                start = time.process_time()
                training.run(range(WARM_UP, WARM_UP + steps), log.step)
                return (time.process_time() - start) / steps
        finally:
            log.close()


def single(array: Any) -> Any:
    """Return an array in single precision."""
    return array.astype(np.float32)


def touch(path: Path, size: int) -> None:
    """Write a file of so many bytes and delete it: a virtual machine gets the memory for it from its host only now."""
    piece = bytes(1 << 20)
    with path.open("wb", buffering=0) as file:
        for _ in range(-(-size // len(piece))):
            file.write(piece)
    path.unlink()
