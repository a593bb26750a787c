"""What the debugger costs: watching every op of a training, and moving through what was recorded.

The targets are seconds, or for what is watched the ratio to the same step unwatched.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.harness import Effort, FrozenHeap

BATCH = 64
STEPS = 30  # of the classifier, in one block
OPS = 10_000
ITERATIONS = 10_000
REPEATS = 20


@dataclass(frozen=True)
class Cost:
    """One thing measured: seconds, or a ratio if it has no unit."""

    name: str
    found: float
    target: float | None
    unit: str = "s"


def costs(effort: Effort) -> Iterator[Cost]:
    """Measure everything."""
    import gradviz

    with tempfile.TemporaryDirectory() as folder:
        yield from watching(gradviz, effort)
        yield from moving(gradviz, Path(folder), effort)
        yield Cost(f"blame, {OPS:,} ops", blaming(gradviz, effort), 1.0)
        yield from searching(gradviz, Path(folder), effort)


# -- a training that is watched --------------------------------------------------------------------


def watching(gradviz: Any, effort: Effort) -> Iterator[Cost]:
    """Compare a step of the classifier unwatched, watched, and with a breakpoint in it that does not stop."""
    step = classifier(gradviz)
    quick = {"when": "loss > 1e9"}
    blocks = {
        "": lambda: timed(nullcontext(), step),
        "debugging, 784-256-10, batch 64": lambda: timed(gradviz.debugging(stop="raise"), step),
        "breakpoint(when=), nothing kept": lambda: timed(
            nullcontext(), lambda: gradviz.breakpoint(step(), keep=0, **quick)
        ),
        "breakpoint(when=), 64 MB kept": lambda: timed(nullcontext(), lambda: gradviz.breakpoint(step(), **quick)),
    }
    rounds = [{name: block() for name, block in blocks.items()} for _ in range(effort.rounds)]
    for name in list(blocks)[1:]:
        target = 1.1 if name.startswith("debugging") else None
        yield Cost(name, median(one[name] / one[""] for one in rounds), target, "")


def timed(context: Any, step: Callable[[], Any]) -> float:
    """Return the seconds of one step, a few to warm up first."""
    with FrozenHeap(), context:
        for count in range(-3, STEPS):
            if count == 0:
                start = time.process_time()
            step()
        return (time.process_time() - start) / STEPS


def classifier(gradviz: Any) -> Callable[[], Any]:
    """Return a training step of a classifier of 784 pixels: softmax cross-entropy, gradients, update."""
    rng = np.random.default_rng(0)
    x = gradviz.constant(rng.uniform(size=(BATCH, 784)))
    labels = gradviz.constant(np.eye(10)[np.arange(BATCH) % 10])
    shapes = {"W1": (784, 256), "b1": (256,), "W2": (256, 10), "b2": (10,)}
    params = {name: gradviz.Tensor(rng.uniform(-0.05, 0.05, shape), name=name) for name, shape in shapes.items()}
    optimizer = gradviz.optim.SGD(list(params.values()), lr=0.01)

    def step() -> Any:
        optimizer.zero_grad()
        hidden = gradviz.relu(x @ params["W1"] + params["b1"])
        scores = hidden @ params["W2"] + params["b2"]
        partition = gradviz.log(gradviz.sum(gradviz.exp(scores), axis=1))
        loss = gradviz.sum(partition - gradviz.sum(scores * labels, axis=1)) * (1.0 / BATCH)
        loss.backward()
        optimizer.step()
        return loss

    return step


# -- a recorded run --------------------------------------------------------------------------------


def moving(gradviz: Any, folder: Path, effort: Effort) -> Iterator[Cost]:
    """Step to and fro in an iteration of 10,000 ops, and go from one iteration to another."""
    debugger = gradviz.Debugger(recorded(gradviz, folder / "deep", 3, lambda w: chain(gradviz, w, OPS // 2)))
    debugger.seek(it=1, phase="b", op=OPS // 2)
    debugger.event.value  # noqa: B018 - the iteration is computed again when it is first looked at
    moves: dict[str, Callable[[], Any]] = {
        "step": debugger.step,
        "back": debugger.back,
        "seek": lambda: debugger.seek("1.f.5000" if debugger.where.phase == "backward" else "1.b.5000"),
        "step, with the frame of that moment": lambda: debugger.step() and debugger.frame,
    }
    for name, move in moves.items():
        yield Cost(f"{name}, {OPS:,} ops", median(spent(move) for _ in range(REPEATS * effort.rounds)), 0.005)
    cold = [spent(lambda: gradviz.Debugger(debugger.timeline.run).seek("2.b.5000")) for _ in range(effort.rounds)]
    yield Cost(f"first look into another iteration, {OPS:,} ops", median(cold), None)


def spent(act: Callable[[], Any]) -> float:
    """Return the seconds something takes."""
    start = time.process_time()
    act()
    return time.process_time() - start


def chain(gradviz: Any, w: Any, length: int) -> Any:
    """Return a number that twice as many ops have made."""
    x = w
    for _ in range(length):
        x = x * 0.9999 + 0.0001
    return x


def recorded(gradviz: Any, path: Path, steps: int, loss_of: Callable[[Any], Any]) -> Any:
    """Record a descent on one parameter."""
    w = gradviz.Tensor(1.5, name="w")
    with gradviz.trace(path, params={"w": w}) as trace:
        for _ in range(steps):
            loss = loss_of(w)
            loss.backward()
            trace.step(loss)
            w.data, w.grad = w.data - 0.01 * w.grad, None
    return gradviz.open_run(path)


def blaming(gradviz: Any, effort: Effort) -> float:
    """Blame a NaN whose birth is the first of 10,000 ops."""
    w = gradviz.Tensor(-1.0, name="w")
    with np.errstate(invalid="ignore"):
        loss = chain(gradviz, gradviz.log(w), OPS // 2)
    debugger = gradviz.Debugger(loss)

    def blame() -> None:
        if debugger.blame().node.op != "log":
            raise AssertionError("the birth was not found")

    return median(spent(blame) for _ in range(effort.rounds))


def searching(gradviz: Any, folder: Path, effort: Effort) -> Iterator[Cost]:
    """Ask a recorded run of 10,000 iterations when something held first."""
    run = recorded(gradviz, folder / "long", ITERATIONS, lambda w: (w - 1.0) ** 2)
    debugger = gradviz.Debugger(run)
    for condition in ("loss < 1e-30", "norm(w.grad) < 1e-12"):
        debugger.first(condition)
        found = median(spent(lambda: debugger.first(condition)) for _ in range(REPEATS * effort.rounds))  # noqa: B023
        yield Cost(f"first {condition}, {ITERATIONS:,} iterations", found, 0.005)
