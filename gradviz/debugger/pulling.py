"""A gradient followed down a graph by the ops' own rules, which are linear in what comes in."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np

from gradviz.errors import GradvizValueError
from gradviz.escape import clean
from gradviz.graphs import Frame

__all__ = ["Paths", "norm", "pulled", "sent"]

EXPANDED = 20_000  # partial paths followed before the rest becomes one line


class Paths:
    """The paths from one node to the results, followed from the results down."""

    def __init__(self, frame: Frame, target: int) -> None:
        self.frame = frame
        self.target = target
        self.note = ""
        graph = frame.graph
        self.useful = [False] * len(graph)  # whether the target is reached from here
        self.useful[target] = True
        self.counts = [0] * len(graph)
        self.counts[target] = 1
        self.gains = [0.0] * len(graph)  # how much of a gradient at this node can arrive, at most or about
        self.gains[target] = 1.0
        for n in graph.nodes[target + 1 :]:
            for arg, src in enumerate(n.inputs):
                if self.useful[src] and frame.grads[n.id] is not None:
                    self.useful[n.id] = True
                    self.counts[n.id] += self.counts[src]
                    self.gains[n.id] = max(self.gains[n.id], self.gain(src, n.id, arg) * self.gains[src])

    @property
    def total(self) -> int:
        """How many paths there are."""
        return sum(self.counts[i] for i in dict.fromkeys(self.frame.graph.outputs))

    def gain(self, src: int, dst: int, arg: int) -> float:
        """Return how much larger a gradient is after this edge than before it."""
        amount, before = self.frame.edge_grad(src, dst, arg), norm(self.frame.grads[dst])
        local = self.frame.local(src, dst, arg)
        if isinstance(local, float):
            return abs(local)
        return 0.0 if amount is None else norm(amount) / before if before else 0.0

    def largest(self, k: int) -> Iterator[tuple[Any, tuple[int, ...]]]:
        """Yield the ``k`` largest paths: what each brings, and the nodes from the target up."""
        graph, order = self.frame.graph, count()
        waiting: list[Any] = []
        for output in dict.fromkeys(graph.outputs):
            seed = self.frame.grads[output]
            if seed is not None and self.useful[output]:
                heapq.heappush(waiting, (-norm(seed) * self.gains[output], next(order), output, seed, (output,)))
        found = 0
        for _ in range(EXPANDED):
            if not waiting or found == k:
                return
            _, _, node, g, path = heapq.heappop(waiting)
            if node == self.target:
                found += 1
                yield g, path[::-1]
                continue
            for arg, src in enumerate(graph.nodes[node].inputs):
                amount = sent(self.frame, node, arg, g) if self.useful[src] else None
                if amount is not None:
                    bound = norm(amount) * self.gains[src]
                    heapq.heappush(waiting, (-bound, next(order), src, amount, (*path, src)))
        self.note = f"the search ended after {EXPANDED:,} partial paths"


def pulled(frame: Frame, start: int, target: int, g: Any) -> Any:
    """Return what of a gradient given at ``start`` arrives at ``target``."""
    grads: dict[int, Any] = {start: g}
    wanted = {target, *frame.graph.descendants(target)}
    for id in range(start, target, -1):
        arrived = grads.pop(id, None)
        if arrived is None:
            continue
        for arg, src in enumerate(frame.graph.nodes[id].inputs):
            amount = sent(frame, id, arg, arrived) if src in wanted else None
            if amount is not None:
                grads[src] = amount if src not in grads else grads[src] + amount
    return grads.get(target)


def sent(frame: Frame, dst: int, arg: int, g: Any) -> Any:
    """Return what a node sends to an argument when this gradient comes in."""
    rule = getattr(frame.edges, "sent", None)
    src = frame.graph.nodes[dst].inputs[arg]
    if frame.grads[src] is None:
        return None
    if rule is not None:
        return rule(dst, arg, g)
    local = frame.local(src, dst, arg)
    if local is None:
        raise GradvizValueError(
            f"the rule of {clean(frame.graph.nodes[dst].name)!r} is not known here", hint="by='edges'"
        )
    return local * g


def norm(x: Any) -> float:
    """Return the Euclidean norm of all elements.

    >>> norm(np.array([3.0, 4.0]))
    5.0
    """
    return abs(x) if isinstance(x, float) else float(np.linalg.norm(np.asarray(x, float).ravel()))
