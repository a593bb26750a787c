"""The numbers of an iteration as they are in the middle of it: the fold of the events so far.

Gradients of one backward pass arrive from the consumer with the highest id down, so a node's own
backward event comes when its gradient is complete. Parameters change in the update, one after the other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gradviz.debugger.positions import BACKWARD, FORWARD, UPDATE
from gradviz.graphs import EdgeNumbers, Frame, Number
from gradviz.graphs.plain import frozen_number
from gradviz.graphs.projections import projections

__all__ = ["Fold"]

STRIDE = 64  # of the sums over many consumers every so manieth is kept


class Fold:
    """What is known of a whole iteration, and through it of every moment within.

    ``find_after`` is called when it is first asked what the update did; it returns the new values of the
    parameters by id. A moment is a phase and ``now``, the id of the node whose event came last.
    """

    def __init__(self, full: Frame, find_after: Callable[[], Mapping[int, Number]] = dict) -> None:
        self.full = full
        self._find_after = find_after
        self.results = projections(full.graph)  # of the ops with several, which have no gradient themselves
        self.reached = tuple(i for i in range(len(full.grads) - 1, -1, -1) if self._passes_on(i))
        self._last: dict[int, int] = {}
        self._sums: dict[tuple[int, int], Number | None] = {}

    def _passes_on(self, i: int) -> bool:
        return any(self.full.grads[j] is not None for j in (i, *self.results.get(i, ())))

    @cached_property
    def after(self) -> Mapping[int, Number]:
        """The values of the parameters after the update, by id; empty where they are not known."""
        return self._find_after()

    @cached_property
    def updated(self) -> tuple[int, ...]:
        """The parameters in the order of the update phase."""
        return tuple(sorted(self.after))

    def order(self, phase: str) -> Sequence[int]:
        """Return the ids of the nodes in the order of the events of a phase."""
        if phase == FORWARD:
            return range(len(self.full.graph))
        return self.reached if phase == BACKWARD else self.updated

    @cached_property
    def rank(self) -> Mapping[int, int]:
        """The number of the backward event of a node."""
        return {i: number for number, i in enumerate(self.reached)}

    def value(self, phase: str, now: int, i: int) -> Number | None:
        """Return the value of node ``i`` at a moment; None if it is still to come."""
        if phase == FORWARD:
            return self.full.values[i] if i <= now else None
        return self.after[i] if phase == UPDATE and i <= now and i in self.after else self.full.values[i]

    def grad(self, phase: str, now: int, i: int) -> Number | None:
        """Return what of the gradient of node ``i`` has arrived at a moment; None if nothing has."""
        full = self.full.grads[i]
        if phase == FORWARD or full is None:
            return None
        if phase == UPDATE or now <= i:
            return full
        consumers = self.consumers[i]
        if not consumers or consumers[-1] < now:
            return None
        return full if self.last_sender(i) >= now else self._partial(i, now)

    def frame(self, phase: str, now: int) -> Frame:
        """Return the frame of a moment."""
        full, size = self.full, range(len(self.full.graph))
        if phase == BACKWARD and now == self.reached[-1]:
            return full
        if phase == FORWARD and now == len(full.graph) - 1 and not self.reached:
            return full
        none = (None,) * len(size)
        values = full.values if phase == BACKWARD else (*full.values[: now + 1], *none[now + 1 :])
        if phase == UPDATE:
            values = tuple(self.value(phase, now, i) for i in size)
        grads = none if phase == FORWARD else full.grads
        if phase == BACKWARD:
            grads = tuple(self.grad(phase, now, i) for i in size)
        edges = None if full.edges is None else _ArrivedEdges(full.edges, phase, now)
        return Frame(full.graph, values, grads, edges, full.step, full.meta)

    @cached_property
    def consumers(self) -> list[list[int]]:
        """For every node the consumers that have a gradient, ascending, each once."""
        found: list[list[int]] = [[] for _ in self.full.graph.nodes]
        for dst in reversed(self.reached):
            for src in dict.fromkeys(self.full.graph.nodes[dst].inputs):
                found[src].append(dst)
        return found

    def last_sender(self, i: int) -> int:
        """Return the consumer whose share completes the gradient of ``i``.

        It is ``i`` itself for a seed, and where no event of this frame explains the gradient.
        """
        if i not in self._last:
            self._last[i] = i if i in self.full.graph.outputs else self._lowest_sender(i)
        return self._last[i]

    def _lowest_sender(self, i: int) -> int:
        consumers = self.consumers[i]
        if not consumers:
            return i
        surely = self.full.edges is None or (len(consumers) == 1 and self.full.graph.nodes[i].kind == "op")
        if surely:
            return consumers[0]
        return next((dst for dst in consumers if self._shares(i, dst)), i)

    def _shares(self, src: int, dst: int) -> list[Number]:
        """Return what ``dst`` sends to ``src``, by argument."""
        args = [arg for arg, given in enumerate(self.full.graph.nodes[dst].inputs) if given == src]
        amounts = (self.full.edge_grad(src, dst, arg) for arg in args)
        return [amount for amount in amounts if amount is not None]

    def _partial(self, i: int, now: int) -> Number | None:
        """Return the sum of what the consumers down to ``now`` have sent to a node."""
        consumers = self.consumers[i]
        arrived = len(consumers) - bisect_left(consumers, now)
        known = next((n for n in range(arrived - arrived % STRIDE, 0, -STRIDE) if (i, n) in self._sums), 0)
        total = self._sums.get((i, known))
        for n in range(known, arrived):
            for amount in self._shares(i, consumers[-1 - n]):
                with np.errstate(all="ignore"):
                    total = amount if total is None else np.add(total, amount)
            if (n + 1) % STRIDE == 0:
                self._sums[i, n + 1] = total
        return frozen_number(total)


@dataclass(frozen=True, slots=True)
class _ArrivedEdges:
    """The edge numbers of a moment: those of events still to come are None."""

    edges: EdgeNumbers
    phase: str
    now: int

    def grad(self, src: int, dst: int, arg: int) -> Number | None:
        arrived = self.phase == UPDATE or (self.phase == BACKWARD and dst >= self.now)
        return self.edges.grad(src, dst, arg) if arrived else None

    def local(self, src: int, dst: int, arg: int) -> Number | None:
        computed = self.phase != FORWARD or dst <= self.now
        return self.edges.local(src, dst, arg) if computed else None
