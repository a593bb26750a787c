"""Several processes of one training beside each other: those that should be alike and are not, and those that fell.

Under data parallelism every rank has its own batch, loss, activations and local gradients. Alike are the parameters,
the gradients after they were reduced, and the structure. Where each rank holds a shard, only copies of one shard are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import numpy as np

from gradviz.escape import clean
from gradviz.graphs import Node
from gradviz.rules.births import infinite, not_a_number
from gradviz.rules.evidence import Evidence
from gradviz.rules.findings import Finding, Symptom, told_ranks
from gradviz.rules.registry import rule

__all__ = ["Apart", "Differs", "Ending", "OtherGraph", "Together"]


class Differs(Protocol):
    """How two numbers differ, as `gradviz.tracing.measuring.Difference` says it."""

    @property
    def told(self) -> str:
        """What differs and by how much, in words."""

    @property
    def relative(self) -> float | None:
        """The largest relative difference, None where it is not known."""

    @property
    def ulps(self) -> int | None:
        """How many floats lie between the two."""

    @property
    def elements(self) -> int:
        """How many elements differ."""


@dataclass(frozen=True, slots=True)
class Apart:
    """A value or gradient (``what``) that a rank should have like another, and has not, from ``step`` on."""

    rank: int
    other: int
    name: str
    what: str
    step: int
    difference: Differs
    is_first: bool  # in the first step that both have
    is_learned: bool  # a gradient has reached it
    before: tuple[int, bool] | None = None  # the step before, and whether the gradient was the same there


@dataclass(frozen=True, slots=True)
class OtherGraph:
    """A rank whose graph is not the one that another rank has in the same step."""

    rank: int
    other: int
    step: int
    node: Node | None  # the first that differs; None where one of the two has no graph
    told: str
    only_shapes: bool
    steps: int  # in so many of the steps in common


@dataclass(frozen=True, slots=True)
class Ending:
    """How the trace of a rank ends: ``live``, ``closed``, ``error`` or ``cut``, which is without a word."""

    rank: int
    steps: int
    last: int | None
    how: str
    error: str = ""
    time: float = 0.0

    def __str__(self) -> str:
        if self.how == "live":
            return f"rank {self.rank} is still running" + ("" if self.last is None else f", at step {self.last}")
        after = "before the first step" if self.last is None else f"after step {self.last}"
        words = {"closed": "ended", "error": f"ended by {self.error}", "cut": "stopped"}
        return f"rank {self.rank} {words[self.how]} {after}"


class Together(Protocol):
    """The ranks of one run, as the rules across ranks see them; `gradviz.tracing.acrossranks.Ranks` is one."""

    @property
    def world_size(self) -> int:
        """How many processes the run says it had."""

    @property
    def ranks(self) -> Sequence[int]:
        """Those that left a trace."""

    @property
    def absent(self) -> Sequence[int]:
        """Those that left none."""

    @property
    def strangers(self) -> Mapping[int, int]:
        """Ranks of a world of another size, left over from another run, with that size."""

    @property
    def endings(self) -> Sequence[Ending]:
        """How each of them ends."""

    @property
    def other_graphs(self) -> Sequence[OtherGraph]:
        """For each rank the first step in which its graph is another."""

    def apart(self, relative: float = 0.0) -> Sequence[Apart]:
        """Return the first difference of every number that should be alike, beyond this size, by step."""

    def evidence(self, rank: int) -> Evidence:
        """Return one rank as the rules of a single run see it."""


# -- numbers -------------------------------------------------------------------------------------------


@rule(
    "rank-diverges",
    severity="error",
    summary="a rank whose parameters are no longer those of the others",
    advice=(
        "Let every rank make the same update: no change of a parameter on one rank only (a condition on the rank, a"
        " draw from its own random numbers, weights loaded on one), no backward() outside of the wrapped model, the"
        " same optimizer and settings everywhere."
    ),
    because=(
        "DistributedDataParallel sends rank 0's parameters once, at the start, and afterwards only averages gradients:"
        " it never notices that a copy has parted"
    ),
    of="ranks",
)
def diverging_ranks(seen: Together, *, relative: float = 0.0) -> Iterator[Symptom]:
    """Find of every rank the first parameter that parts from the others'."""
    apart = seen.apart(relative)
    parted = {one.rank: one for one in reversed(apart) if one.what == "value" and one.is_learned}
    for _, group in groupby(sorted(parted.values(), key=lambda one: (_place(one), one.rank)), key=_place):
        yield _parted(list(group), apart)
    if not parted:
        yield from _local_gradients([one for one in apart if one.what == "gradient"])
    yield from _not_learned([one for one in apart if one.what == "value" and not one.is_learned])


def _place(one: Apart) -> tuple[int, str, int]:
    return one.step, one.name, one.other


def _parted(group: Sequence[Apart], apart: Sequence[Apart]) -> Symptom:
    """Say of one or more ranks where they part from the others."""
    first, ranks = group[0], tuple(one.rank for one in group)
    others = {one.name for one in apart if one.rank == first.rank and one.what == "value" and one.is_learned}
    same = {one.name for one in apart if one.rank == first.rank and (one.step, one.what) == (first.step, "value")}
    since = "at the start" if first.is_first else f"in step {first.step}"
    message = (
        f"{_part(ranks)} from rank {first.other} {since}: value of {clean(first.name, 80)}, {first.difference.told}"
    )
    if len(same) > 1:
        message += f"; {len(same) - 1} other parameters in the same step"
    if first.before is not None:
        step, alike = first.before
        said = "the same" if alike else "not the same: the ranks did not reduce it"
        message += f"; its gradient in step {step} was {said}"
    advice = (
        "Wrap the model in DistributedDataParallel, which sends rank 0's parameters to all, or seed and load alike on"
        " every rank. Ranks that are not meant to be alike say so: trace(meta={'parallel': 'none'})."
    )
    return Symptom(
        message,
        at=first.name,
        step=first.step,
        numbers=_sizes(first) | {"parameters": len(others)},
        advice=advice if first.is_first else "",
        ranks=ranks,
    )


def _part(ranks: Sequence[int]) -> str:
    return f"{told_ranks(ranks)} part{'s' if len(ranks) == 1 else ''}"


def _sizes(one: Apart) -> dict[str, Any]:
    """Return how much differs, as far as it is known."""
    found = {"relative": one.difference.relative, "ulps": one.difference.ulps, "elements": one.difference.elements}
    return {name: number for name, number in found.items() if number is not None}


def _local_gradients(apart: Sequence[Apart]) -> Iterator[Symptom]:
    """Note gradients that differ although the parameters never do: they were recorded before they were reduced."""
    for one in apart[:1]:
        ranks = tuple(sorted({other.rank for other in apart}))
        message = (
            f"the gradient of {clean(one.name, 80)} is not the same on {told_ranks(ranks)} and rank {one.other}:"
            f" {one.difference.told}; the parameters never differ, so it was reduced later"
        )
        advice = "This is as it should be under no_sync(): gradients are summed up on each rank and reduced at the end."
        yield Symptom(
            message, at=one.name, step=one.step, numbers=_sizes(one), severity="note", advice=advice, ranks=ranks
        )


def _not_learned(apart: Sequence[Apart]) -> Iterator[Symptom]:
    """Note numbers without a gradient that differ: running statistics are each rank's own between two forwards."""
    for one in apart[:1]:
        ranks = tuple(sorted({other.rank for other in apart}))
        names = {other.name for other in apart}
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        message = (
            f"{clean(one.name, 80)}{more}, which no gradient reaches, differ on {told_ranks(ranks)} and rank"
            f" {one.other}: {one.difference.told}"
        )
        advice = (
            "Running statistics (BatchNorm) are each rank's own until the next forward sends rank 0's; use"
            " SyncBatchNorm if they shall be of the whole batch. A frozen parameter has to be loaded alike everywhere."
        )
        yield Symptom(
            message, at=one.name, step=one.step, numbers=_sizes(one), severity="note", advice=advice, ranks=ranks
        )


@rule(
    "rank-nan",
    severity="error",
    summary="a NaN or infinity born on some of the ranks, before the reduction gave it to all",
    advice=(
        "Look at the batch that this rank had in that step: a broken sample, an empty batch (the mean of nothing),"
        " labels out of range. The other ranks are only infected."
    ),
    because="a sum over ranks is NaN everywhere if one term is: only what each computed for itself tells whose it was",
    of="ranks",
)
def nan_on_a_rank(seen: Together) -> Iterator[Symptom]:
    """Find the ranks on which the first NaN or infinity was born while others had none."""
    bad = {rank: seen.evidence(rank) for rank in seen.ranks}
    steps = {rank: e.step(e.first_bad) for rank, e in bad.items() if e.first_bad is not None}
    if not steps:
        return
    step = min(steps.values())
    there = {rank: e for rank, e in bad.items() if step in e.steps}
    losses = {rank: float(e.loss[np.flatnonzero(e.steps == step)[-1]]) for rank, e in there.items()}
    births = {rank: _birth(there[rank], step) for rank in there if steps.get(rank) == step}
    local = [rank for rank, loss in losses.items() if not np.isfinite(loss)]
    local = local or [rank for rank, birth in births.items() if birth is not None and _is_local(there[rank], birth)]
    if local and len(local) < len(there):
        yield _born(there[local[0]], step, local, losses, births)


def _birth(seen: Evidence, step: int) -> Finding | None:
    """Return what the rules of a single run say of the first NaN or infinity, if they name a node of that step."""
    found = [*not_a_number(seen), *infinite(seen)]
    return next((one for one in found if one.step == step and one.node is not None and one.severity == "error"), None)


def _is_local(seen: Evidence, birth: Finding) -> bool:
    """Tell whether a rank computed it for itself: a parameter and its gradient are given by all."""
    node = _node(seen, birth)
    return node is not None and node.kind != "param"


def _node(seen: Evidence, birth: Finding | None) -> Node | None:
    """Return the node of a birth, which knows its line."""
    graph, name = seen.graph, birth.node if birth else None
    return graph[name] if graph is not None and name is not None and name in graph else None


def _born(
    seen: Evidence, step: int, local: list[int], losses: Mapping[int, float], births: Mapping[int, Finding | None]
) -> Symptom:
    """Say which ranks made the first NaN or infinity, and if it is known by which node."""
    birth = next((births[rank] for rank in local if births.get(rank) is not None), None)
    wrong, right = [losses[rank] for rank in local], sorted(set(losses) - set(local))
    if np.isfinite(wrong).all():
        said = f"{told_ranks(local)} alone"
    else:
        what = "NaN" if np.isnan(wrong).any() else "infinite"
        whose = "that" if len(right) == 1 else "those"
        said = f"the loss of {told_ranks(local)} is {what}, {whose} of {told_ranks(right)} finite"
    return Symptom(
        f"{said}{f': {birth.message}' if birth else '; the values inside of that step are not known'}",
        at=_node(seen, birth) or (birth.node if birth else "loss"),
        step=step,
        numbers={f"loss of rank {rank}": loss for rank, loss in list(losses.items())[:4]},
        ranks=tuple(local),
    )


# -- structure -----------------------------------------------------------------------------------------


@rule(
    "rank-structure",
    severity="warning",
    summary="a rank that computes another graph than the others in the same step",
    advice=(
        "Let every rank take the same branches, or have DistributedDataParallel(find_unused_parameters=True) if that is"
        " meant: a rank that leaves a parameter out, or uses another, lets the others wait for its gradient for ever."
    ),
    because="the reduction is one call per bucket of parameters, made by every rank in the same order",
    of="ranks",
)
def other_structure(seen: Together) -> Iterator[Symptom]:
    """Find of every rank the first step in which its graph is another."""
    for one in seen.other_graphs:
        message = f"rank {one.rank} computes another graph than rank {one.other}: {one.told}"
        if one.only_shapes:
            message = f"rank {one.rank} has other shapes than rank {one.other}: {one.told}"
        advice = (
            "A last batch that is smaller is common; average the loss over samples, not over ranks." * one.only_shapes
        )
        yield Symptom(
            message,
            at=one.node,
            step=one.step,
            numbers={"steps": one.steps},
            severity="note" if one.only_shapes else "",
            advice=advice,
            ranks=(one.rank,),
        )
