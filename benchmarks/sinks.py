"""Ways to keep a log of a training: each takes the loss and all parameters at every step.

What the peers write is what they are made for: TensorBoard scalars and histograms, the others numbers or whole
arrays. They get the arrays without a copy. To add one, write its class here and list it below.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

COMMIT = 100  # rows in a transaction of SQLite
FLUSH = 256  # rows between two flushes of HDF5


class Sink:
    """Somewhere to write every step of a training to."""

    name: ClassVar[str]
    package: ClassVar[str] = "gradviz"
    targets: ClassVar[Mapping[str, float]] = {}  # the speed to keep, by training

    def __init__(self, folder: Path, gradviz: Any, params: Mapping[str, Any]) -> None:
        self.params = params
        self.numbers = import_module("gradviz.sources.own").numbers
        self.open(folder, gradviz)

    @classmethod
    def is_installed(cls) -> bool:
        """Tell whether it can be used here."""
        return all(find_spec(name) is not None for name in cls.package.split())

    def open(self, folder: Path, gradviz: Any) -> None:
        """Begin the log."""

    def step(self, step: int, loss: Any) -> None:
        """Write one step."""
        raise NotImplementedError

    def close(self) -> None:
        """End the log."""

    def named(self) -> Iterator[tuple[str, Any]]:
        """Yield the value and the gradient of every parameter with a name, as they lie in memory."""
        for name, tensor in self.params.items():
            value, grad = self.numbers(tensor)
            yield name, value
            yield f"{name}.grad", grad

    def norms(self) -> Iterator[tuple[str, float]]:
        """Yield numbers as they are, and the norms of arrays."""
        for name, number in self.named():
            yield name, float(np.linalg.norm(number)) if isinstance(number, np.ndarray) else number


class Untraced(Sink):
    """No log at all: what the others are compared with."""

    name = "untraced, once more"

    def step(self, step: int, loss: Any) -> None:
        """Write nothing."""


class Ours(Sink):
    """A trace of gradviz, at one of its levels."""

    level: ClassVar[str]

    def open(self, folder: Path, gradviz: Any) -> None:
        """Open the trace."""
        self.trace = gradviz.trace(folder / "run", params=self.params, level=self.level)

    def step(self, step: int, loss: Any) -> None:
        """Write one step."""
        self.trace.step(loss)

    def close(self) -> None:
        """Close the trace."""
        self.trace.close()


class Everything(Ours):
    """All values and gradients."""

    name, level = "gradviz, full", "full"
    targets: ClassVar[Mapping[str, float]] = {
        "trace line fit": 0.95,
        "trace MLP, batch 64": 0.65,
        "trace MLP, batch 512": 0.94,
    }


class Default(Ours):
    """Large arrays by norm and checksum, everything in checkpoints."""

    name, level = "gradviz, auto", "auto"
    targets: ClassVar[Mapping[str, float]] = {
        "trace line fit": 0.95,
        "trace MLP, batch 64": 0.88,
        "trace MLP, batch 512": 0.97,
    }


class Statistics(Ours):
    """Seven statistics and 256 counts of every array."""

    name, level = "gradviz, stats", "stats"


class Norms(Ours):
    """The norm of every array."""

    name, level = "gradviz, scalars", "scalars"


class Copies(Sink):
    """A copy of every array in memory: nobody who keeps everything can be quicker."""

    name = "copied in memory"

    def open(self, folder: Path, gradviz: Any) -> None:
        """Make room for the copies of ten steps."""
        shapes = [self.numbers(tensor)[0] for tensor in self.params.values() for _ in (0, 1)]
        self.ring = [[np.zeros_like(value) for value in shapes] for _ in range(10)]

    def step(self, step: int, loss: Any) -> None:
        """Copy everything."""
        for copy, (_, number) in zip(self.ring[step % 10], self.named(), strict=True):
            np.copyto(copy, number)


class Bytes(Sink):
    """The bytes of every array at the end of a file, and nothing else: nobody who keeps a file can be quicker."""

    name = "bytes in a file"

    def open(self, folder: Path, gradviz: Any) -> None:
        """Begin a file."""
        self.file = (folder / "log.bin").open("wb", buffering=0)

    def step(self, step: int, loss: Any) -> None:
        """Append everything in one call of the system."""
        os.writev(self.file.fileno(), [np.ascontiguousarray(number) for _, number in self.named()])

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class TensorBoard(Sink):
    """The event file of TensorBoard, by PyTorch's writer: numbers, and norms of arrays."""

    name, package = "TensorBoard, norms of arrays", "torch tensorboard"

    def open(self, folder: Path, gradviz: Any) -> None:
        """Begin an event file."""
        self.writer = import_module("torch.utils.tensorboard").SummaryWriter(str(folder))

    def step(self, step: int, loss: Any) -> None:
        """Write one tag for every number."""
        self.writer.add_scalar("loss", loss.item(), step)
        for name, number in self.norms():
            self.writer.add_scalar(name, number, step)

    def close(self) -> None:
        """Close the event file."""
        self.writer.close()


class TensorBoardHistograms(TensorBoard):
    """A histogram of every array."""

    name = "TensorBoard, histograms"

    def step(self, step: int, loss: Any) -> None:
        """Write one histogram for every array."""
        self.writer.add_scalar("loss", loss.item(), step)
        for name, number in self.named():
            self.writer.add_histogram(name, number, step)


class JsonLines(Sink):
    """A line of JSON for every step, flushed: numbers, and norms of arrays."""

    name = "JSONL, norms of arrays"

    def open(self, folder: Path, gradviz: Any) -> None:
        """Begin a file."""
        self.file = (folder / "log.jsonl").open("w")

    def step(self, step: int, loss: Any) -> None:
        """Write one line."""
        self.file.write(json.dumps({"step": step, "loss": loss.item(), **dict(self.norms())}) + "\n")
        self.file.flush()

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class Sqlite(Sink):
    """A row of SQLite for every step, with a write-ahead log; arrays as blobs."""

    name = "SQLite, full, a commit every 100"
    commit = COMMIT

    def open(self, folder: Path, gradviz: Any) -> None:
        """Make the table."""
        names = ", ".join(f"[{name}]" for name, _ in self.named())
        self.database = sqlite3.connect(folder / "log.sqlite", isolation_level=None)
        self.database.execute("pragma journal_mode = wal")
        self.database.execute("pragma synchronous = normal")
        self.database.execute(f"create table log (step integer primary key, loss, {names})")
        self.insert = f"insert into log values (?, ?{', ?' * (2 * len(self.params))})"
        self.database.execute("begin")

    def step(self, step: int, loss: Any) -> None:
        """Insert one row."""
        cells = [number.data if isinstance(number, np.ndarray) else number for _, number in self.named()]
        self.database.execute(self.insert, (step, loss.item(), *cells))
        if step % self.commit == 0:
            self.database.execute("commit")
            self.database.execute("begin")

    def close(self) -> None:
        """Close the database."""
        self.database.execute("commit")
        self.database.close()


class SqliteEach(Sqlite):
    """The same, safe from a kill at every step."""

    name, commit = "SQLite, full, a commit each", 1


class Hdf5(Sink):
    """A dataset of HDF5 with a row of numbers for every step, written and flushed 256 at a time."""

    name, package = "HDF5, a flush every 256", "h5py"

    def open(self, folder: Path, gradviz: Any) -> None:
        """Make the dataset."""
        self.file = import_module("h5py").File(folder / "log.h5", "w", libver="latest")
        width = 2 + 2 * len(self.params)
        self.rows = self.file.create_dataset("log", (0, width), "f8", maxshape=(None, width), chunks=(FLUSH, width))
        self.waiting: list[tuple[float, ...]] = []

    def step(self, step: int, loss: Any) -> None:
        """Take one row, and write them where there are enough."""
        self.waiting.append((step, loss.item(), *(number for _, number in self.named())))
        if len(self.waiting) == FLUSH:
            count = len(self.rows)
            self.rows.resize(count + FLUSH, axis=0)
            self.rows[count:] = self.waiting
            self.file.flush()
            self.waiting.clear()

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class Hdf5Arrays(Hdf5):
    """A dataset of HDF5 for every array, with a chunk for every step."""

    name = "HDF5, full"

    def open(self, folder: Path, gradviz: Any) -> None:
        """Make the datasets."""
        self.file = import_module("h5py").File(folder / "log.h5", "w", libver="latest")
        self.count = 0
        self.sets = []
        for name, tensor in self.params.items():
            for part in ("value", "grad"):
                full = (None, *tensor.shape)
                made = self.file.create_dataset(
                    f"{name}/{part}", (0, *tensor.shape), "f8", maxshape=full, chunks=(1, *tensor.shape)
                )
                self.sets.append(made)

    def step(self, step: int, loss: Any) -> None:
        """Write one row of every dataset."""
        for dataset, (_, number) in zip(self.sets, self.named(), strict=True):
            dataset.resize(self.count + 1, axis=0)
            dataset[self.count] = number
        self.count += 1


LINE_SINKS: tuple[type[Sink], ...] = (
    Everything,
    Default,
    Untraced,
    Hdf5,
    Sqlite,
    SqliteEach,
    JsonLines,
    TensorBoard,
)
NETWORK_SINKS: tuple[type[Sink], ...] = (
    Everything,
    Default,
    Statistics,
    Norms,
    Untraced,
    Copies,
    Bytes,
    Hdf5Arrays,
    Sqlite,
    JsonLines,
    TensorBoard,
    TensorBoardHistograms,
)

OWN_SINKS: tuple[type[Sink], ...] = (Everything, Default, Statistics, Norms, Untraced)


def versions() -> dict[str, str]:
    """Return the versions of the packages that log, where they are installed."""
    packages = dict.fromkeys(name for sink in (*LINE_SINKS, *NETWORK_SINKS) for name in sink.package.split())
    return {name: version(name) for name in packages if find_spec(name)} | {"sqlite": sqlite3.sqlite_version}
