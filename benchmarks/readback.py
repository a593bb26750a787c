"""Reading a finished log, beside TensorBoard's reader, and counting what a killed process leaves behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.contestants import Contestant, Gradviz
from benchmarks.harness import Effort
from benchmarks.sinks import Everything, Hdf5, JsonLines, Sink, TensorBoard
from benchmarks.traced import LineFit, Network

READING = "trace reading"
KILLING = "trace kill -9"
LONGEST_LIFE = 0.5  # seconds

Ask = Callable[[Any], Any]

# What a process does until it is killed: it says which step is done, after the log has returned.
VICTIM = """
import os, sys
from pathlib import Path
import benchmarks
from benchmarks import sinks
from benchmarks.contestants import Gradviz
from benchmarks.traced import LineFit
training = LineFit(lib := Gradviz())
log = getattr(sinks, sys.argv[1])(Path(sys.argv[2]), lib.gradviz, training.params)
def step(number, loss):
    log.step(number, loss)
    os.write(1, b".")
training.run(range(10**9), step)
"""


@dataclass
class Look:
    """One question to a log: the seconds each way to answer it took, by name."""

    question: str
    target: float
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def took(self, name: str) -> float | None:
        """Return the median of what a way took."""
        return median(self.seconds[name]) if self.seconds.get(name) else None


@dataclass
class Kill:
    """What was left of the steps that a log had acknowledged before its process was killed."""

    sink: str
    acknowledged: int = 0
    readable: int = 0
    kills: int = 0
    note: str = ""


def looks(contestants: Sequence[Contestant], effort: Effort, pattern: str = "*") -> list[Look]:
    """Ask finished logs for the history of a number, and for single steps."""
    ours = next((one for one in contestants if isinstance(one, Gradviz)), None)
    if ours is None or not fnmatch(READING, pattern):
        return []
    small, large = (10_000, 20) if effort.rounds > 1 else (500, 3)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(LineFit, ours, Everything, root / "line", small)
        write(Network, ours, Everything, root / "network", large)
        found = [*line_looks(ours.gradviz, root / "line/run", small, effort)]
        found += network_looks(ours.gradviz, root / "network/run", large, effort)
        if TensorBoard.is_installed():
            write(LineFit, ours, TensorBoard, root / "board", small)
            for look in found[:2]:  # it reads everything for either
                look.seconds["TensorBoard"] = timed(
                    lambda _: board(root / "board").Scalars("w"), effort.rounds // 3 or 1
                )
    return found


def write(kind: Any, lib: Gradviz, sink: type[Sink], folder: Path, steps: int) -> None:
    """Train and log."""
    folder.mkdir()
    training = kind(lib)
    log = sink(folder, lib.gradviz, training.params)
    training.run(range(steps), log.step)
    log.close()


def line_looks(gradviz: Any, path: Path, steps: int, effort: Effort) -> Iterator[Look]:
    """Ask a trace of single numbers."""
    plain = path / "seg-0000.npy"
    ways: dict[str, Ask] = {
        "gradviz": lambda run: run["w"].value,
        "opening included": lambda run: gradviz.open_run(path)["w"].value,
        "numpy.load": lambda run: np.array(np.load(plain, mmap_mode="r")["w"]),
    }
    yield asked(f"one value over {steps:,} steps", 1e-3, ways, gradviz, path, 20 * effort.rounds)
    yield asked("one step of 40 B", 0.3e-3, of_step(gradviz, path, steps // 2), gradviz, path, 20 * effort.rounds)


def network_looks(gradviz: Any, path: Path, steps: int, effort: Effort) -> Iterator[Look]:
    """Ask a trace of arrays."""
    yield asked("one step of 1.6 MB", 1.5e-3, of_step(gradviz, path, steps // 2), gradviz, path, 5 * effort.rounds)


def of_step(gradviz: Any, path: Path, step: int) -> dict[str, Ask]:
    """Return the ways to read one step."""
    plain = path / "seg-0000.npy"
    return {
        "gradviz": lambda run: next(iter(run[step : step + 1])),
        "opening included": lambda run: next(iter(gradviz.open_run(path)[step : step + 1])),
        "numpy.load": lambda run: np.array(np.load(plain, mmap_mode="r")[step]),
    }


def asked(question: str, target: float, ways: dict[str, Ask], gradviz: Any, path: Path, repeats: int) -> Look:
    """Ask in every way, of a run opened anew each time before the clock runs."""
    return Look(
        question, target, {name: timed(way, repeats, lambda: gradviz.open_run(path)) for name, way in ways.items()}
    )


def timed(work: Ask, repeats: int, before: Callable[[], Any] = lambda: None) -> list[float]:
    """Return the seconds of every run but the first."""
    found = []
    for _ in range(repeats + 1):
        given = before()
        start = time.perf_counter()
        work(given)
        found.append(time.perf_counter() - start)
    return found[1:]


def board(folder: Path) -> Any:
    """Read all event files of a folder as TensorBoard does, thinning nothing."""
    module = import_module("tensorboard.backend.event_processing.event_accumulator")
    events = module.EventAccumulator(str(folder), size_guidance={"scalars": 0})
    return events.Reload()


# -- kill -9 ---------------------------------------------------------------------------------


def kills(contestants: Sequence[Contestant], effort: Effort, pattern: str = "*") -> list[Kill]:
    """Kill processes that train and log, and count what can be read of the steps they had acknowledged."""
    if not fnmatch(KILLING, pattern) or not any(isinstance(one, Gradviz) for one in contestants):
        return []
    times = 10 if effort.rounds > 1 else 1
    rng = random.Random(1)
    return [killed(sink, left, times, rng) for sink, left in LEFT.items() if sink.is_installed()]


def killed(sink: type[Sink], left: Callable[[Path], int], times: int, rng: random.Random) -> Kill:
    """Kill a log some times at random moments."""
    found = Kill(sink.name)
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            acknowledged = kill(sink, Path(folder), rng.uniform(0.0, LONGEST_LIFE))
            found.kills += 1
            found.acknowledged += acknowledged
            try:
                found.readable += min(left(Path(folder)), acknowledged)
            except (OSError, ValueError) as error:
                found.note = f"cannot be opened: {type(error).__name__}"
    return found


def kill(sink: type[Sink], folder: Path, life: float) -> int:
    """Let a process train for so many seconds from its first step on; return how many steps it acknowledged."""
    line = [sys.executable, "-c", VICTIM, sink.__name__, str(folder)]
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), *sys.path]))}
    with subprocess.Popen(line, stdout=subprocess.PIPE, env=found) as process:
        assert process.stdout is not None
        steps = process.stdout.read(1)
        time.sleep(life)
        process.send_signal(signal.SIGKILL)
        return len(steps + process.stdout.read())


def rows_of_trace(folder: Path) -> int:
    """Count the rows that plain NumPy finds, the last of which must not be empty."""
    rows = np.load(folder / "run/seg-0000.npy", mmap_mode="r")
    return int(np.count_nonzero(rows["time"]))


def lines_of(folder: Path) -> int:
    """Count whole lines."""
    return (folder / "log.jsonl").read_bytes().count(b"\n")


def rows_of_hdf5(folder: Path) -> int:
    """Count the rows, if the file can be opened."""
    with import_module("h5py").File(folder / "log.h5", "r") as file:
        return len(file["log"])


def events_of(folder: Path) -> int:
    """Count the losses that TensorBoard's reader finds."""
    events = board(folder)
    return len(events.Scalars("loss")) if "loss" in events.Tags()["scalars"] else 0


LEFT: dict[type[Sink], Callable[[Path], int]] = {
    Everything: rows_of_trace,
    Hdf5: rows_of_hdf5,
    JsonLines: lines_of,
    TensorBoard: events_of,
}
