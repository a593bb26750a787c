"""The ranks of a run compared with each other, as `gradviz diff RUN --by rank` tells it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gradviz.escape import clean
from gradviz.rules.findings import told_ranks
from gradviz.rules.ranks import Apart, OtherGraph
from gradviz.tracing.acrossranks import Ranks
from gradviz.tracing.divergence import Divergence
from gradviz.tracing.measuring import Difference

__all__ = ["RanksDiff", "compare_ranks"]

SHOWN = 20
LESS = {"digest": "checksums", "stats": "statistics", "norm": "norms", None: "nothing"}  # than the numbers


@dataclass(frozen=True, slots=True)
class RanksDiff(Divergence):
    """How the ranks of one run differ in what they should have alike; it is true when they do.

    That is parameters, gradients and structure, and the number of steps. Losses and activations are each rank's own.
    """

    run: str
    steps: tuple[tuple[int, int], ...]  # rank and number of steps
    world_size: int
    apart: tuple[Apart, ...]
    graphs: tuple[OtherGraph, ...]
    forms: tuple[tuple[str, str | None], ...]  # of every parameter that is compared, in what
    names: int = 0
    layout: str = ""
    ranks: Ranks | None = field(default=None, repr=False, compare=False)

    @property
    def first(self) -> Apart | None:
        """The first number that differs."""
        return next(iter(self.apart), None)

    @property
    def step(self) -> int | None:
        """The step in which the ranks part, in numbers or in structure."""
        steps = [one.step for one in self.apart] + [one.step for one in self.graphs]
        return min(steps, default=None)

    @property
    def same(self) -> bool:
        """Whether all ranks have the same parameters, gradients, structures and steps."""
        return not (self.apart or self.graphs or len({count for _, count in self.steps}) > 1)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "same": self.same,
            "run": self.run,
            "world_size": self.world_size,
            "layout": self.layout,
            "ranks": [{"rank": rank, "steps": steps} for rank, steps in self.steps],
            "step": self.step,
            "compared": {"parameters": len(self.forms), "of": self.names, "less": self._less()},
            "apart": [_apart_dict(one) for one in self.apart],
            "structure": [_graph_dict(one) for one in self.graphs],
        }

    def _less(self) -> dict[str, int]:
        """Return how many parameters were compared in less than their numbers."""
        forms = [form for _, form in self.forms]
        return {words: forms.count(form) for form, words in LESS.items() if form in forms}

    def _lines(self) -> Iterator[str]:
        ranks = told_ranks(rank for rank, _ in self.steps)
        yield f"{clean(self.run)}: {ranks} {'differ' if self else 'are alike'}: {self._headline()}"
        if len({count for _, count in self.steps}) > 1:
            yield from _labelled("steps", [", ".join(f"rank {rank}: {count}" for rank, count in self.steps)])
        yield from _labelled("graphs", [_graph_line(one) for one in self.graphs])
        yield from _labelled("numbers", [_apart_line(one) for one in self.apart])
        if self.names > len(self.forms):
            left = self.names - len(self.forms)
            yield from _labelled(
                "about", [f"{left} parameters are not compared: every rank holds its own shard of them"]
            )

    def _headline(self) -> str:
        if self.step is not None:
            one = self.first
            is_number = one is not None and one.step == self.step
            by = f"{one.what} of {clean(one.name, 80)}" if one is not None and is_number else "their graphs"
            return f"they part in step {self.step}, by {by}"
        if not self.same:
            return "all that they have in common is the same"
        if not self.forms:
            return "the structure is the same, and no two of them have the same numbers to compare"
        less = ", ".join(f"of {count} {words}" for words, count in self._less().items())
        extent = "bit for bit" if not less else f"in all that was recorded ({less})"
        return f"{len(self.forms)} parameters, their gradients and the structure in {self.steps[0][1]} steps, {extent}"


def compare_ranks(ranks: Ranks) -> RanksDiff:
    """Return how the ranks of a run differ in what they should have alike."""
    compared = [name for name in ranks.names if ranks.alike(name)]
    return RanksDiff(
        run=ranks.name,
        steps=tuple((rank, len(run)) for rank, run in ranks.runs.items()),
        world_size=ranks.world_size,
        apart=ranks.apart(),
        graphs=ranks.other_graphs,
        forms=tuple((name, ranks.form(name)) for name in compared),
        names=len(ranks.names),
        layout=ranks.layout,
        ranks=ranks,
    )


def _apart_line(one: Apart) -> str:
    between = f"rank {one.other} | rank {one.rank}"
    return f"{between}: {one.what} of {clean(one.name, 80)} from step {one.step} on: {one.difference.told}"


def _graph_line(one: OtherGraph) -> str:
    shapes = "other shapes" if one.only_shapes else "another graph"
    return f"rank {one.rank} has {shapes} than rank {one.other} from step {one.step} on ({one.steps} steps): {one.told}"


def _apart_dict(one: Apart) -> dict[str, Any]:
    found = one.difference.to_dict() if isinstance(one.difference, Difference) else {}
    return {"rank": one.rank, "other": one.other, **found}


def _graph_dict(one: OtherGraph) -> dict[str, Any]:
    node = (
        None if one.node is None else {"name": one.node.name, "op": one.node.op, "source": str(one.node.source or "")}
    )
    return {"rank": one.rank, "other": one.other, "step": one.step, "steps": one.steps, "only_shapes": one.only_shapes,
            "node": node, "told": one.told}  # fmt: skip


def _labelled(label: str, lines: list[str]) -> Iterator[str]:
    """Yield lines with a label before the first, and say how many were left out."""
    left = len(lines) - SHOWN
    for i, line in enumerate([*lines[:SHOWN], *([f"... and {left} more"] if left > 0 else [])]):
        yield f"{'' if i else label:8} {line}"
