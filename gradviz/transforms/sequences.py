"""What comes again and again in a sequence: loops in loops, found from the inside out by arrays, never pair by pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gradviz.transforms.hashing import Hashes, Ints, mixed, ranges, total

__all__ = ["Levels", "Wires", "find_loops"]

GRAMS = (1, 2, 4, 8, 16, 32, 64)  # how many symbols in a row are looked at to guess how long a round is
GUESSES = 16  # lengths of a round tried for each
SMALLEST = 6  # ops in a loop that no source line vouches for


@dataclass(frozen=True, slots=True)
class Wires:
    """The edges that end in a sequence of ops: where they start (-1: outside), where they end, and what is there."""

    src: Ints  # position in the sequence, or -1
    dst: Ints
    arg: Ints
    outside: Hashes  # what the source is, by its label


class Levels:
    """Which round of which loops every position of a sequence is in, the innermost loop first.

    ``place`` is equal for positions that are the same thing in different rounds. The sequence is cut into *items*,
    single positions at first; a loop is one item, whatever number of rounds it has.
    """

    def __init__(self, symbols: Hashes) -> None:
        count = len(symbols)
        self.place = symbols.copy()
        self.depth = np.zeros(count, np.int64)
        self.rounds: list[Ints] = []  # level -> round of every position
        self.keys: list[Hashes] = []  # level -> loop of every position
        self.starts: Ints = np.arange(count + 1, dtype=np.int64)
        self.symbols = symbols.copy()
        self.joined = np.zeros(count, bool)  # items that are in one loop though they are not one item

    def wrap(self, covered: Ints, bodies: Hashes, columns: Ints, rounds: Ints) -> None:
        """Put a loop around items: for each its loop (a hash of the body), its place in the body, its round."""
        lengths = np.diff(self.starts)[covered]
        at, which, _ = ranges(self.starts[covered], lengths)
        body, column, turn = bodies[which], columns[which], rounds[which]
        self.place[at] = mixed(body, column, self.place[at])
        for level, keys in enumerate(self.keys):
            deep = self.depth[at] > level
            keys[at[deep]] = mixed(body[deep], column[deep], keys[at[deep]])
        deepest = int(self.depth[at].max(initial=0))
        while len(self.rounds) <= deepest:
            self.rounds.append(np.full(len(self.place), -1, np.int64))
            self.keys.append(np.zeros(len(self.place), np.uint64))
        for level in range(deepest + 1):
            new = self.depth[at] == level
            self.rounds[level][at[new]] = turn[new]
            self.keys[level][at[new]] = mixed(body[new], [7])
        self.depth[at] += 1

    def replace(self, firsts: Ints, counts: Ints, symbols: Hashes) -> None:
        """Make one item of ``counts`` items from each of ``firsts`` on."""
        gone = np.zeros(len(self.symbols), bool)
        inside, _, into = ranges(firsts, counts)
        gone[inside[into > 0]] = True
        made = self.symbols.copy()
        made[firsts] = symbols
        self.symbols = made[~gone]
        self.joined = self.joined[~gone]
        self.starts = np.append(self.starts[:-1][~gone], self.starts[-1])

    def items(self) -> Ints:
        """Return the item of every position."""
        return np.repeat(np.arange(len(self.symbols)), np.diff(self.starts))


def find_loops(levels: Levels, fewest: int, wires: Wires | None) -> None:
    """Fold what comes at least ``fewest`` times in a row, inner loops first, until nothing does.

    With ``wires``, rounds must also be wired alike: each op takes what it takes from the same place of its own round,
    of the same number of rounds before, or from outside. The first round may take from outside what the others take
    from the round before.
    """
    while any(_fold_one(levels, period, fewest, wires) for period in _periods(levels.symbols, fewest)):
        pass


def _periods(symbols: Hashes, fewest: int) -> Iterator[int]:
    """Yield likely lengths of a round: how far apart equal runs of symbols are."""
    tried: set[int] = set()
    found = symbols
    longest = len(symbols) // fewest
    for gram in GRAMS:
        if len(found) <= 1:
            return
        order = np.argsort(found, kind="stable")
        same = found[order][1:] == found[order][:-1]
        apart = np.diff(order)[same]
        values, counts = np.unique(apart[apart <= longest], return_counts=True)
        likely = np.sort(values[np.argsort(-counts, kind="stable")][:GUESSES]).tolist()
        yield from (period for period in likely if period not in tried)
        tried.update(likely)
        if len(found) <= gram:
            return
        found = mixed(found[:-gram], found[gram:])


def _fold_one(levels: Levels, period: int, fewest: int, wires: Wires | None) -> bool:
    """Fold every run with rounds of ``period`` items; tell whether there was one."""
    firsts, turns = _runs(levels.symbols, period, fewest)
    if wires is not None and len(firsts):
        firsts, turns = _wired_alike(levels, wires, period, fewest, firsts, turns)
    if not len(firsts):
        return False
    bodies = _bodies(levels.symbols, period, firsts)
    covered, run, into = ranges(firsts, turns * period)
    levels.wrap(covered, bodies[run], into % period, into // period)
    levels.replace(firsts, turns * period, mixed(bodies, [11]))
    return True


def _runs(symbols: Hashes, period: int, fewest: int) -> tuple[Ints, Ints]:
    """Return where runs begin that repeat after ``period`` items, and how many rounds each has."""
    equal = np.zeros(len(symbols) - period + 2, bool)
    equal[1:-1] = symbols[period:] == symbols[:-period]
    edges = np.flatnonzero(equal[1:] != equal[:-1])
    begins, lengths = edges[::2], edges[1::2] - edges[::2] + period
    long = lengths >= fewest * period
    found, turns, free = [], [], 0
    for begin, length in zip(begins[long].tolist(), lengths[long].tolist(), strict=True):
        first = max(begin, free)
        rounds = (begin + length - first) // period
        if rounds >= fewest:
            found.append(first)
            turns.append(rounds)
            free = first + rounds * period
    return np.array(found, np.int64), np.array(turns, np.int64)


def _bodies(symbols: Hashes, period: int, firsts: Ints) -> Hashes:
    found = mixed(np.full(len(firsts), period))
    for column in range(period):
        found = mixed(found, symbols[firsts + column])
    return found


def _wired_alike(
    levels: Levels, wires: Wires, period: int, fewest: int, firsts: Ints, turns: Ints
) -> tuple[Ints, Ints]:
    """Return the parts of runs in which every round is wired as the one before."""
    number = np.cumsum(turns) - turns  # of the first round of each run, counted through all runs
    covered, run, into = ranges(firsts, turns * period)
    at, which, _ = ranges(levels.starts[covered], np.diff(levels.starts)[covered])
    count = int(turns.sum())
    round_of = np.full(len(levels.place) + 1, -1, np.int64)  # the last one stands for outside
    run_of = round_of.copy()
    round_of[at] = (number[run] + into // period)[which]
    run_of[at] = run[which]
    places = np.append(levels.place, np.uint64(0))
    places[at] = mixed((into % period)[which], places[at])
    here = round_of[wires.dst] >= 0
    src, dst, arg, outside = (array[here] for array in (wires.src, wires.dst, wires.arg, wires.outside))
    inside = (run_of[src] == run_of[dst]) & (src >= 0)
    lag = np.where(inside, round_of[dst] - round_of[src], 0)
    slot = mixed(places[dst], arg)
    code = mixed(slot, inside, np.where(inside, places[src], outside), lag)
    handed_on = np.isin(slot, np.unique(slot[lag > 0]))
    _, once = np.unique(mixed(round_of[dst], code), return_index=True)
    every = total(code[once], round_of[dst][once], count)
    once = once[~handed_on[once]]
    own = total(code[once], round_of[dst][once], count)
    sizes = np.bincount(round_of[at], minlength=count)
    return _stretches(every, own, sizes, firsts, turns, period, fewest)


def _stretches(
    every: Hashes, own: Hashes, sizes: Ints, firsts: Ints, turns: Ints, period: int, fewest: int
) -> tuple[Ints, Ints]:
    """Return the stretches of rounds with equal wiring; the first round may differ in what is handed on."""
    alike, same = (np.append(codes[1:] == codes[:-1], False).tolist() for codes in (own, every))
    found, counts = [], []
    number = 0
    for first, rounds in zip(firsts.tolist(), turns.tolist(), strict=True):
        begin = 0
        for turn in range(rounds):
            now = number + turn
            if turn + 1 < rounds and alike[now] and (same[now] or turn == begin):
                continue
            length = turn + 1 - begin
            if length >= fewest and int(sizes[number + begin : now + 1].sum()) >= SMALLEST:
                found.append(first + begin * period)
                counts.append(length)
            begin = turn + 1
        number += rounds
    return np.array(found, np.int64), np.array(counts, np.int64)
