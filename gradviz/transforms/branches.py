"""Loops whose rounds are not all alike: what the same lines made again and again, with an ``if`` or a first round.

The lines that ran are read like a trace: a line that can be reached from itself is in a loop, and a round begins
whenever the line runs again that was met first. What is left without that line are the loops inside.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gradviz.transforms.hashing import Hashes, Ints, mixed
from gradviz.transforms.sequences import Levels

__all__ = ["find_branching"]

DEEPEST = 8  # loops in loops
JOBS = 2000  # loops that are looked into


@dataclass(slots=True)
class Trace:
    """The symbols of a sequence and the loops found in it, the outermost first."""

    symbols: Hashes
    loops: list[Ints] = field(default_factory=list)  # level -> loop of every item, 0 for none
    rounds: list[Ints] = field(default_factory=list)
    inside: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # the innermost round of every item
    count: int = 0

    def push(self, level: int, at: Ints, rounds: Ints, inside: Ints) -> None:
        """Note a loop around the items at these positions."""
        while len(self.loops) <= level:
            self.loops.append(np.zeros(len(self.symbols), np.int64))
            self.rounds.append(np.full(len(self.symbols), -1, np.int64))
        self.count += 1
        self.loops[level][at] = self.count
        self.rounds[level][at] = rounds
        self.inside[at] = inside


@dataclass(frozen=True, slots=True)
class Job:
    """Items to look for loops in: their positions, the round each is in, and how deep that is."""

    at: Ints
    inside: Ints
    level: int
    depth: int


def find_branching(levels: Levels, fewest: int) -> None:
    """Fold what the same lines made at least ``fewest`` times, though not every round is alike."""
    trace = Trace(levels.symbols)
    count = len(trace.symbols)
    trace.inside = np.zeros(count, np.int64)
    numbered = 1
    jobs = [Job(np.arange(count), np.zeros(count, np.int64), 0, 0)]
    done = 0
    while jobs and done < JOBS:
        done += 1
        job = jobs.pop()
        for at in _circles(trace.symbols, job):
            inner, numbered = _rounds(trace, job, at, fewest, numbered)
            if inner is not None:
                jobs.append(inner)
    _wrap(levels, trace)


def _circles(symbols: Hashes, job: Job) -> list[Ints]:
    """Return the positions (in the job) of each set of lines that can be reached from one another."""
    import networkx as nx

    names, lines = np.unique(symbols[job.at], return_inverse=True)
    if len(names) == len(lines):  # nothing comes twice
        return []
    together = job.inside[1:] == job.inside[:-1]
    links = np.unique(np.stack([lines[:-1][together], lines[1:][together]]), axis=1).T.tolist()
    graph: nx.DiGraph = nx.DiGraph(map(tuple, links))
    circle = np.full(len(names), -1, np.int64)
    for number, members in enumerate(nx.strongly_connected_components(graph)):
        first = next(iter(members))
        if len(members) > 1 or graph.has_edge(first, first):
            circle[list(members)] = number
    of = circle[lines]
    _, firsts = np.unique(of, return_index=True)
    return [np.flatnonzero(of == of[first]) for first in np.sort(firsts).tolist() if of[first] >= 0]


def _rounds(trace: Trace, job: Job, at: Ints, fewest: int, numbered: int) -> tuple[Job | None, int]:
    """Cut the items of a loop into rounds and note them; return what is to be looked at inside."""
    items, inside = job.at[at], job.inside[at]
    begins = trace.symbols[items] == trace.symbols[items[0]]
    passed = np.cumsum(begins)
    _, first, which = np.unique(inside, return_index=True, return_inverse=True)
    rounds = np.maximum(passed - (passed - begins)[first][which] - 1, 0)
    _, rooms = np.unique(np.stack([which, rounds]), axis=1, return_inverse=True)
    rooms = rooms.reshape(-1) + numbered
    is_loop = int(rounds.max()) + 1 >= fewest
    if is_loop:
        trace.push(job.level, items, rounds, rooms)
    left = ~begins
    if not left.any() or job.depth >= DEEPEST:
        return None, int(rooms.max()) + 1
    return Job(items[left], rooms[left], job.level + is_loop, job.depth + 1), int(rooms.max()) + 1


def _wrap(levels: Levels, trace: Trace) -> None:
    """Put the loops around the items, the innermost first."""
    column = _occurrence(trace)
    for loops, rounds in reversed(list(zip(trace.loops, trace.rounds, strict=True))):
        covered = np.flatnonzero(loops)
        levels.wrap(covered, mixed(loops[covered], [13]), column[covered], rounds[covered])
        column = np.zeros_like(column)  # further out, the loop inside says it
        levels.joined[covered] = True


def _occurrence(trace: Trace) -> Ints:
    """Return how often the same line has run before in the same round."""
    order = np.lexsort((trace.symbols, trace.inside))
    symbols, inside = trace.symbols[order], trace.inside[order]
    new = np.r_[True, (symbols[1:] != symbols[:-1]) | (inside[1:] != inside[:-1])]
    begin = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))
    found = np.empty(len(order), np.int64)
    found[order] = np.arange(len(order)) - begin
    return found
