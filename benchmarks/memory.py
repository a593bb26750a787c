"""Bytes a recorded node takes, on a chain of 50,000 ops, before and after backward.

Each contestant is measured in a fresh process: by ``tracemalloc``, or, where the nodes live outside
Python, by the growth of the resident set (Linux).
"""

from __future__ import annotations

import multiprocessing
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import scalar
from benchmarks.contestants import Contestant, installed
from benchmarks.harness import Workload

OPS = 50_000
TARGET = 160  # bytes, scalars


@dataclass(frozen=True)
class Footprint:
    """Bytes a node of one contestant took."""

    contestant: str
    kind: str
    recorded: float
    method: str


def square_start() -> list[Any]:
    return [np.full((8, 8), value) for value in scalar.chain_start()]


KINDS = {
    "scalar": Workload("", OPS, scalar.chain_start, scalar.chain_loss, scalar.chain_floor, (OPS,)),
    "8x8": Workload("", OPS, square_start, scalar.chain_loss, scalar.chain_floor, (OPS,), arrays=True),
}


def footprints(contestants: Sequence[Contestant]) -> list[Footprint]:
    """Measure every contestant, each in a process of its own."""
    pairs = [
        (contestant.name, kind)
        for kind, work in KINDS.items()
        for contestant in contestants
        if contestant.arrays or not work.arrays
    ]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        return list(pool.map(footprint, *zip(*pairs, strict=True)))


def footprint(name: str, kind: str) -> Footprint:
    """Record the chain and return how much memory grew, per op."""
    (contestant,), _ = installed([name])
    work = KINDS[kind]
    contestant.hold(shorter(work), work.leaves())  # what a first use allocates once is not a node's
    measure = resident if contestant.native else traced
    grown = measure(contestant, work)
    return Footprint(name, kind, grown / OPS, "RSS" if contestant.native else "tracemalloc")


def shorter(work: Workload) -> Workload:
    """Return the same chain with 100 ops."""
    return Workload("", 100, work.leaves, work.loss, work.floor, (100,))


def traced(contestant: Contestant, work: Workload) -> float:
    """Return the bytes Python allocated for the graph and still holds."""
    leaves = work.leaves()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        graph = contestant.hold(work, leaves)
        grown = tracemalloc.get_traced_memory()[0] - before
        del graph
        return grown
    finally:
        tracemalloc.stop()


def resident(contestant: Contestant, work: Workload) -> float:
    """Return the bytes by which the resident set grew; NaN where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    leaves = work.leaves()
    before = resident_bytes(status)
    graph = contestant.hold(work, leaves)
    grown = resident_bytes(status) - before
    del graph
    return grown


def resident_bytes(status: Path) -> int:
    """Return the resident set in bytes."""
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
