"""The ranks of one run beside each other: what should be alike in all of them, compared bit for bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.rules.evidence import Evidence
from gradviz.rules.ranks import Apart, Ending, OtherGraph
from gradviz.tracing.graphpairs import first_node, only_shapes_differ, told_of
from gradviz.tracing.lockstep import Side, common_steps, differences, first_difference, least_form
from gradviz.tracing.measuring import Difference
from gradviz.tracing.ranks import NOT_ALIKE, empty_in, layout_in, shard_of

if TYPE_CHECKING:
    from gradviz.graphs import Graph
    from gradviz.tracing.many import Member

__all__ = ["Ranks", "groups_of"]

WHAT = ("value", "gradient")
FORMS = ("exact", "digest", "stats", "norm")
RANKS_LIMIT = 1_000_000
GRADIENTS = ("grad", "grad_norm", "grad_stats")
At = tuple[np.ndarray, np.ndarray]  # positions of the same steps in two runs


class Ranks:
    """The traces of the processes of one run; see `gradviz.rules.ranks.Together`.

    Compared are parameters, their gradients and the structure; never losses, inputs or activations, which are each
    rank's own. Where the ranks hold shards, only copies of the same shard are compared.
    """

    def __init__(self, name: str, members: Sequence[Member]) -> None:
        self.name = name
        runs = {member.rank: member.opened[:] for member in sorted(members, key=lambda member: member.rank)}
        told = {rank: run.info.get("world_size") for rank, run in runs.items()}
        sizes = {rank: size for rank, size in told.items() if type(size) is int and 1 < size <= RANKS_LIMIT}
        newest = max(sizes or runs, key=lambda rank: runs[rank].times[:1].max(initial=0.0))
        self.world_size = sizes.get(newest, max(runs) + 1)
        self.strangers = {rank: size for rank, size in sizes.items() if size != self.world_size}
        self.runs = {rank: run for rank, run in runs.items() if rank not in self.strangers}
        self.ranks = tuple(self.runs)
        self.absent = tuple(rank for rank in range(self.world_size) if rank not in self.runs)
        self.layout = layout_in(self.runs[newest])
        self._sides = {rank: Side(run) for rank, run in self.runs.items()}
        self._common: dict[tuple[int, int], At] = {}
        self._apart: dict[float, tuple[Apart, ...]] = {}
        self._evidence: dict[int, Evidence] = {}

    def evidence(self, rank: int) -> Evidence:
        """Return one rank as the rules of a single run see it."""
        if rank not in self._evidence:
            run, empty = self.runs[rank], self.empty(rank)
            some = [name for name in (*run.names, *run.inputs) if name not in empty]
            self._evidence[rank] = Evidence(run.select(*some) if empty else run)
        return self._evidence[rank]

    def empty(self, rank: int) -> set[str]:
        """Return the parameters of which a rank holds nothing: a shard of a small one may have no element."""
        parts = self._sides[rank].parts.values()
        columns = {column.name for part in parts for column in part.rows.layout.columns if 0 in column.shape}
        return columns | empty_in(self.runs[rank])

    def common(self, a: int, b: int) -> At:
        """Return the positions of the steps that two ranks both have."""
        if (a, b) not in self._common:
            self._common[a, b] = common_steps(self.runs[a], self.runs[b])
        return self._common[a, b]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every parameter that a rank has."""
        return tuple(dict.fromkeys(name for run in self.runs.values() for name in run.names))

    # -- numbers ---------------------------------------------------------------------------------

    def alike(self, name: str) -> list[tuple[int, ...]]:
        """Return the groups of ranks that should have the same numbers of a parameter; those of one rank left out."""
        groups: dict[Any, list[int]] = {}
        for rank, run in self.runs.items():
            if name in run.names:
                groups.setdefault(shard_of(run, rank, name, self.layout), []).append(rank)
        return [tuple(group) for group in groups.values() if len(group) > 1]

    def apart(self, relative: float = 0.0) -> tuple[Apart, ...]:
        """Return the first difference of every number that should be alike, by step; smaller ones are passed over."""
        if relative not in self._apart:
            found = [one for name in self.names for group in self.alike(name)
                     for one in self._apart_in(group, name, relative)]  # fmt: skip
            self._apart[relative] = tuple(sorted(found, key=lambda one: (one.step, WHAT.index(one.what))))
        return self._apart[relative]

    def _apart_in(self, group: tuple[int, ...], name: str, relative: float) -> list[Apart]:
        """Compare the ranks of a group with the first of them, or with another if it is the first that is odd."""
        found = self._compared(group[0], group[1:], name, relative)
        first = min((one.step for one in found), default=None)
        odd = sorted({one.rank for one in found if one.step == first})
        if 2 * len(odd) > len(group) and len(group) > 2:
            others = [rank for rank in group if rank != odd[0]]
            again = self._compared(odd[0], others, name, relative)
            if len({one.rank for one in again if one.step == first}) < len(odd):
                return again
        return found

    def _compared(self, other: int, ranks: Sequence[int], name: str, relative: float) -> list[Apart]:
        return [one for rank in ranks for what in WHAT for one in self._first(other, rank, name, what, relative)]

    def _first(self, other: int, rank: int, name: str, what: str, relative: float) -> Iterator[Apart]:
        """Yield the first difference of a number on two ranks that counts."""
        at, sides = self.common(other, rank), (self._sides[other], self._sides[rank])
        for place, found in differences(*sides, at, name, what):
            if not _counts(found, relative):
                continue
            before = None
            if what == "value" and place:
                then = at[0][place - 1 : place], at[1][place - 1 : place]
                same = first_difference(*sides, then, name, "gradient") is None
                before = int(self.runs[rank].steps[then[1][0]]), same
            step = int(self.runs[rank].steps[at[1][place]])
            is_learned = any(self._is_learned(name, r) for r in (other, rank))
            yield Apart(rank, other, name, what, step, found, place == 0, is_learned, before)
            return

    def _is_learned(self, name: str, rank: int) -> bool:
        """Tell whether a gradient ever reached a parameter on a rank."""
        side = self._sides[rank]
        for segment, part in side.parts.items():
            at = np.flatnonzero(side.segments == segment)
            columns = filter(None, (part.rows.columns.get((name, kind)) for kind in GRADIENTS))
            if any(side.read(segment, column, at)[1].any() for column in columns):
                return True
        return False

    def form(self, name: str) -> str | None:
        """Return the least telling form in which a parameter is compared: exact, digest, stats, norm or nothing."""
        forms = {
            least_form(self._sides[group[0]], self._sides[rank], self.common(group[0], rank), name)
            for group in self.alike(name)
            for rank in group[1:]
        }
        return None if None in forms else max(filter(None, forms), key=FORMS.index, default=None)

    # -- structure -------------------------------------------------------------------------------

    @cached_property
    def other_graphs(self) -> tuple[OtherGraph, ...]:
        """For each rank that computes another graph than the others, the first step in which it does."""
        if self.layout in NOT_ALIKE or len(self.ranks) < 2:
            return ()
        reference = self.ranks[0]
        found = self._graphs_beside(reference)
        if 2 * len(found) > len(self.ranks) > 2:
            again = self._graphs_beside(found[0].rank)
            found = again if len(again) < len(found) else found
        return tuple(found)

    def _graphs_beside(self, other: int) -> list[OtherGraph]:
        found = (self._other_graph(other, rank) for rank in self.ranks if rank != other)
        shards = self.layout not in {"", "ddp"}
        return [one for one in found if one is not None and not (shards and one.only_shapes)]

    def _other_graph(self, other: int, rank: int) -> OtherGraph | None:
        """Return the first step in which a rank has another graph, its first other node; None if there is none."""
        at, sides = self.common(other, rank), (self._sides[other], self._sides[rank])
        pairs = np.stack([side.segments[positions] for side, positions in zip(sides, at, strict=True)], axis=1)
        kinds, places, counts = np.unique(pairs, axis=0, return_index=True, return_counts=True)
        graphs = [(sides[0].parts[a].graph, sides[1].parts[b].graph) for a, b in kinds.tolist()]
        differing = [i for i, pair in enumerate(graphs) if _differ(*pair)]
        if not differing:
            return None
        first = min(differing, key=lambda i: places[i])
        a, b = graphs[first]
        step = int(self.runs[rank].steps[at[1][places[first]]])
        steps = int(sum(counts[i] for i in differing))
        if a is None or b is None:
            return OtherGraph(rank, other, step, None, "one of the two has none", only_shapes=False, steps=steps)
        shapes = only_shapes_differ(a, b)
        return OtherGraph(rank, other, step, first_node(a, b), told_of(a, b), shapes, steps)

    # -- the end ---------------------------------------------------------------------------------

    @cached_property
    def endings(self) -> tuple[Ending, ...]:
        """How each rank ends."""
        return tuple(self._ending(rank) for rank in self.ranks)

    def _ending(self, rank: int) -> Ending:
        run = self.runs[rank]
        said = next((event for event in reversed(run.events) if event.get("kind") == "end"), None)
        last = int(run.steps[-1]) if len(run) else None
        if said is None:
            time = float(run.times[-1]) if len(run) else 0.0
            return Ending(rank, len(run), last, "live" if run.is_live else "cut", time=time)
        error, time = said.get("error"), said.get("time")
        how = "error" if isinstance(error, str) else "closed"
        return Ending(rank, len(run), last, how, str(error or ""), time if isinstance(time, float) else 0.0)


def _counts(found: Difference, relative: float) -> bool:
    """Tell whether a difference is one: NaNs of other bits, and zeros of another sign, are none between ranks."""
    if found.relative is not None:
        return found.relative > relative
    both = [number for number in (found.a, found.b) if isinstance(number, float)]
    return not (found.form != "exact" and len(both) == 2 and bool(np.isnan(both).all()))


def _differ(a: Graph | None, b: Graph | None) -> bool:
    """Tell whether two graphs are not the same."""
    if a is None or b is None:
        return a is not b
    return a is not b and a.fingerprint() != b.fingerprint()


def groups_of(members: Sequence[Member]) -> dict[str, list[Member]]:
    """Return the members by run; a run of several is one of several processes, as is one of a rank's folder alone."""
    count = Counter(member.run for member in members)
    return {run: [member for member in members if member.run == run] for run in count}
