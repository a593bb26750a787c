"""What a trace of everything adds to a step: the article's fit of a line to 100 points."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.contestants import Contestant, Gradviz
from benchmarks.harness import Effort, FrozenHeap

STEPS = 2_000
RATE = 0.05


@dataclass(frozen=True)
class Overhead:
    """One descent with and without a trace, in seconds a step."""

    name: str
    plain: float
    added: float
    speed: float  # untraced time over traced time
    target: float


def overheads(contestants: Sequence[Contestant], effort: Effort) -> list[Overhead]:
    """Measure the fit untraced and traced, in alternating blocks, where gradviz takes part."""
    ours = [contestant for contestant in contestants if contestant.name == "gradviz"]
    return [overhead(contestant.gradviz, effort) for contestant in ours if isinstance(contestant, Gradviz)]


def overhead(gradviz: Any, effort: Effort) -> Overhead:
    """Return the medians of all rounds."""
    pairs = [(untraced(gradviz), traced(gradviz)) for _ in range(effort.rounds)]
    plain = median(a for a, _ in pairs)
    added = median(b - a for a, b in pairs)
    return Overhead("line fit, 100 points", plain, added, median(a / b for a, b in pairs), 1.5e-6)


def untraced(gradviz: Any) -> float:
    """Return the seconds a step takes without a trace."""
    w, b = gradviz.Tensor(0.0, name="w"), gradviz.Tensor(0.0, name="b")
    return descend(gradviz, w, b, lambda loss: None)


def traced(gradviz: Any) -> float:
    """Return the seconds a step takes when its loss, values and gradients are written down."""
    w, b = gradviz.Tensor(0.0, name="w"), gradviz.Tensor(0.0, name="b")
    with (
        tempfile.TemporaryDirectory() as folder,
        gradviz.trace(Path(folder) / "line", params={"w": w, "b": b}) as trace,
    ):
        return descend(gradviz, w, b, trace.step)


def descend(gradviz: Any, w: Any, b: Any, log: Callable[[Any], None]) -> float:
    """Fit the line; return the seconds a step took, after a few to warm up."""
    x = np.linspace(-1.0, 1.0, 100)
    y = 2.0 * x + 1.0
    with FrozenHeap():
        for step in range(-20, STEPS):
            if step == 0:
                start = time.process_time()
            w.zero_grad()
            b.zero_grad()
            loss = gradviz.mean((y - (w * x + b)) ** 2)
            loss.backward()
            log(loss)
            w.data -= RATE * w.grad
            b.data -= RATE * b.grad
        return (time.process_time() - start) / STEPS
