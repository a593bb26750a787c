"""The edges of a graph of groups: which old edges become one, in what order, and which lead to a later round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gradviz.graphs import Graph
from gradviz.graphs.nodes import Edge
from gradviz.transforms.hashing import Ints, cut, edge_arrays, mixed

__all__ = ["OUT", "Origins", "Slots", "ordered_links", "slots_of"]

OUT = -1  # the group of nodes that are left out
FAN = 3  # edges from different rounds to one node; where there are more, they are drawn as one


class Origins(Mapping[tuple[int, int], tuple[Edge, ...]]):
    """Old edges by two numbers that name the new one, made when they are asked for."""

    def __init__(self, keys: Sequence[tuple[int, int]], arrays: tuple[Ints, Ints, Ints], parts: Sequence[Ints]) -> None:
        self._arrays = arrays
        self._parts = dict(zip(keys, parts, strict=True))

    def __getitem__(self, key: tuple[int, int]) -> tuple[Edge, ...]:
        src, dst, arg = (array[self._parts[key]].tolist() for array in self._arrays)
        return tuple(zip(src, dst, arg, strict=True))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def first(self, dst: int, arg: int) -> Edge:
        """Return the first old edge of a new one."""
        at = self._parts[dst, arg][0]
        src, to, place = (int(array[at]) for array in self._arrays)
        return src, to, place


@dataclass(frozen=True, slots=True)
class Slots:
    """The edges of the new nodes."""

    inputs: list[tuple[int, ...]]
    origins: Origins
    taken_over: dict[int, tuple[int, ...]]  # node -> what it takes from the round before
    carried: Origins  # (new src, new dst) -> old edges
    exits: dict[int, list[int]]  # scope -> members used outside it or results


def ordered_links(
    graph: Graph, of: Ints, count: int, handed_on: np.ndarray | None
) -> tuple[list[int], list[list[int]]]:
    """Return how many groups each one waits for, and which ones wait for it."""
    src, dst, _ = edge_arrays(graph)
    start, end = of[src], of[dst]
    counts = (start != OUT) & (end != OUT) & (start != end)
    if handed_on is not None:
        counts &= ~handed_on
    pairs = np.unique(start[counts] * count + end[counts])
    waiting = np.bincount(pairs % count, minlength=count).tolist() if count else []
    after: list[list[int]] = [[] for _ in range(count)]
    for one, other in zip((pairs // max(1, count)).tolist(), (pairs % max(1, count)).tolist(), strict=True):
        after[one].append(other)
    return waiting, after


def slots_of(graph: Graph, of: Ints, kinds: Sequence[str], handed_on: np.ndarray | None) -> Slots:
    """Return the edges between groups, which are in the order that they have in the new graph."""
    src, dst, arg = edge_arrays(graph)
    start, end = of[src], of[dst]
    folded, scope = (np.array([kind == wanted for kind in kinds] + [False], bool) for wanted in ("folded", "scope"))
    kept = (start != OUT) & (end != OUT) & ((start != end) | folded[end])
    back = kept & (start >= end)
    if handed_on is not None:
        back |= kept & handed_on
    ahead = np.flatnonzero(kept & ~back)
    taken_over, carried = _carried(np.flatnonzero(back), (src, dst, arg), start, end)
    slot = np.where(
        scope[end[ahead]], src[ahead], _merged(src[ahead], dst[ahead], arg[ahead], folded[start[ahead]], start[ahead])
    )
    _, first, which, sizes = np.unique(
        mixed(end[ahead], start[ahead], slot), return_index=True, return_inverse=True, return_counts=True
    )
    at = ahead[first]
    turn = np.where(folded[end[at]], slot[first], first)  # a fold by argument, others in the order they come in
    order = np.lexsort((start[at], turn, end[at]))
    members = cut(ahead[np.argsort(which, kind="stable")], sizes)
    inputs: list[list[int]] = [[] for _ in kinds]
    keys, parts = [], []
    for number in order.tolist():
        node = int(end[at[number]])
        keys.append((node, len(inputs[node])))
        parts.append(members[number])
        inputs[node].append(int(start[at[number]]))
    origins = Origins(keys, (src, dst, arg), parts)
    exits = _exits(graph, src, start, end, of, scope)
    return Slots(list(map(tuple, inputs)), origins, taken_over, carried, exits)


def _merged(src: Ints, dst: Ints, arg: Ints, from_fold: np.ndarray, start: Ints) -> Ints:
    """Return what tells apart the edges into one node: the argument, but many rounds of one fold are one edge."""
    if not from_fold.any():
        return arg
    _, first, which, sizes = np.unique(mixed(dst, start), return_index=True, return_inverse=True, return_counts=True)
    wide = np.flatnonzero((sizes[which] > FAN) & from_fold)
    if not len(wide):
        return arg
    different = np.zeros(len(sizes), np.int64)
    _, once = np.unique(mixed(which[wide], src[wide]), return_index=True)
    np.add.at(different, which[wide][once], 1)
    merged = (different == sizes)[which] & (sizes > FAN)[which] & from_fold
    return np.where(merged, arg[first][which], arg)


def _carried(
    back: Ints, arrays: tuple[Ints, Ints, Ints], start: Ints, end: Ints
) -> tuple[dict[int, tuple[int, ...]], Origins]:
    """Return what every node takes over from the round before, and the old edges it comes over."""
    _, first, which, sizes = np.unique(
        mixed(end[back], start[back]), return_index=True, return_inverse=True, return_counts=True
    )
    parts = cut(back[np.argsort(which, kind="stable")], sizes)
    keys = list(zip(start[back[first]].tolist(), end[back[first]].tolist(), strict=True))
    found: dict[int, list[int]] = {}
    for one, other in sorted(keys):
        found.setdefault(other, []).append(one)
    return {node: tuple(taken) for node, taken in found.items()}, Origins(keys, arrays, parts)


def _exits(graph: Graph, src: Ints, start: Ints, end: Ints, of: Ints, scope: np.ndarray) -> dict[int, list[int]]:
    """Return for every scope the members that are used outside it or are results."""
    if not scope.any():
        return {}
    left = src[(start != end) & scope[start]]
    results = [output for output in graph.outputs if of[output] != OUT and scope[of[output]]]
    found: dict[int, list[int]] = {}
    for member in np.unique(np.append(left, np.array(results, np.int64))).tolist():
        found.setdefault(int(of[member]), []).append(member)
    return found
