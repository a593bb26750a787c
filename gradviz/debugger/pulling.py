"""A gradient followed down a graph by the ops' own rules, which are linear in what comes in."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np

from gradviz.errors import GradvizValueError
from gradviz.escape import clean
from gradviz.graphs import Frame

__all__ = ["Paths", "norm", "pulled", "seed_of", "sent"]

EXPANDED = 20_000  # partial paths followed before the rest becomes one line
# fmt: off
AT_MOST_ONE = frozenset((  # ops that move or choose elements, or weigh them with weights that are 1 together
    "concatenate", "copy", "diag", "diagonal", "expand_dims", "flip", "logsumexp", "max", "min", "moveaxis", "reshape",
    "roll", "rot90", "softmax", "sort", "squeeze", "stack", "swapaxes", "transpose", "tril", "triu",
))
# fmt: on
ALIKE = 9  # digits of the logarithm of a size: paths that differ by less are taken to be equally large


class Paths:
    """The paths from one node to the results, followed from the results down.

    They are counted without being followed. Of each edge a bound is known, by how much a gradient can grow on it,
    so the largest paths are found first; where an op gives no bound the order is a guess, and ``note`` says so.
    """

    def __init__(self, frame: Frame, target: int) -> None:
        self.frame = frame
        self.target = target
        self.note = ""
        self.counts = [0] * len(frame.graph)  # paths from here down to the target
        self.counts[target] = 1
        self.gains = [-math.inf] * len(frame.graph)  # log2 of how much larger a gradient from here can arrive
        self.gains[target] = 0.0
        for n in frame.graph.nodes[target + 1 :]:
            for arg, src in enumerate(n.inputs):
                if self.counts[src] and frame.grads[n.id] is not None and frame.grads[src] is not None:
                    self._add_edge(src, n.id, arg)

    def _add_edge(self, src: int, dst: int, arg: int) -> None:
        local = self.frame.local(src, dst, arg)
        if local is None and self.frame.edge_grad(src, dst, arg) is None:
            return
        gain, is_bound = _gain(self.frame, src, dst, arg, local)
        if not is_bound:
            self.note = "the order is a guess: not every op on the way says how much a gradient can grow in it"
        self.counts[dst] += self.counts[src]
        self.gains[dst] = max(self.gains[dst], _sum(_log(gain), self.gains[src]))

    @cached_property
    def seeds(self) -> dict[int, Any]:
        """The gradient that each result begins with, of those that the target leads to."""
        outputs = dict.fromkeys(self.frame.graph.outputs)
        found = {i: seed_of(self.frame, i) for i in outputs if self.counts[i]}
        return {i: seed for i, seed in found.items() if seed is not None}

    @property
    def total(self) -> int:
        """How many paths there are."""
        return sum(self.counts[i] for i in self.seeds)

    def everything(self) -> Any:
        """Return what all paths bring together; None if they bring nothing."""
        return pulled(self.frame, self.seeds, self.target)

    def largest(self, k: int) -> Iterator[tuple[Any, tuple[int, ...]]]:
        """Yield the ``k`` largest paths: what each brings, and the nodes from the target up."""
        newest = count(0, -1)  # of paths alike the one begun last goes on: it comes to an end
        waiting: list[Any] = []
        for output, seed in self.seeds.items():
            heapq.heappush(waiting, (self._size(seed, output), next(newest), output, seed, None))
        found = 0
        for _ in range(max(EXPANDED, 2 * k * len(self.counts))):
            if not waiting or found == k:
                return
            _, _, node, g, above = heapq.heappop(waiting)
            if node == self.target:
                found += 1
                yield g, _walked(node, above)
                continue
            for arg, src in enumerate(self.frame.graph.nodes[node].inputs):
                amount = sent(self.frame, node, arg, g) if self.counts[src] else None
                if amount is not None:
                    heapq.heappush(waiting, (self._size(amount, src), next(newest), src, amount, (node, above)))
        if waiting and found < k:
            self.note = f"the search ended after {EXPANDED:,} partial paths"

    def _size(self, amount: Any, node: int) -> float:
        """Return the logarithm of how much can arrive of this, negative: a heap gives the smallest first."""
        return -round(_sum(_log(norm(amount)), self.gains[node]), ALIKE)


def _walked(node: int, above: Any) -> tuple[int, ...]:
    path = [node]
    while above is not None:
        path.append(above[0])
        above = above[1]
    return tuple(path)


def _log(x: float) -> float:
    """Return log2; what is not a number could be anything."""
    return math.inf if math.isnan(x) else math.log2(x) if x > 0 else -math.inf


def _sum(a: float, b: float) -> float:
    return math.inf if math.inf in (a, b) else a + b


def _gain(frame: Frame, src: int, dst: int, arg: int, local: Any) -> tuple[float, bool]:
    """Return how much larger a gradient can be after an edge than before it, and whether that is certain."""
    size, made = (max(1, math.prod(frame.graph.nodes[i].shape)) for i in (src, dst))
    op = frame.graph.nodes[dst].op
    if local is not None:  # elementwise; where an operand is broadcast its gradient is summed
        return float(np.max(np.abs(local), initial=0.0)) * math.sqrt(max(1.0, made / size)), True
    if op in AT_MOST_ONE:
        return 1.0, True
    if op in {"broadcast_to", "tile"}:
        return math.sqrt(made / size), True
    if op in {"sum", "mean"}:
        return math.sqrt(size / made) / (size / made if op == "mean" else 1.0), True
    others = [frame.values[i] for place, i in enumerate(frame.graph.nodes[dst].inputs) if place != arg]
    if op in {"matmul", "dot", "inner", "outer"} and len(others) == 1 and others[0] is not None:
        return norm(others[0]), True
    amount, before = frame.edge_grad(src, dst, arg), norm(frame.grads[dst])
    return norm(amount) / before if before and amount is not None else 0.0, False


def pulled(frame: Frame, given: dict[int, Any], target: int) -> Any:
    """Return what of the gradients given at some nodes arrives at ``target``; None if nothing does."""
    grads: dict[int, Any] = {}
    wanted = {target, *frame.graph.descendants(target)}
    for id in range(max(given, default=-1), target, -1):
        arrived = _added(grads.pop(id, None), given.get(id))
        if arrived is None:
            continue
        for arg, src in enumerate(frame.graph.nodes[id].inputs):
            amount = sent(frame, id, arg, arrived) if src in wanted else None
            if amount is not None:
                grads[src] = _added(grads.get(src), amount)
    return _added(grads.get(target), given.get(target))


def _added(one: Any, other: Any) -> Any:
    return other if one is None else one if other is None else one + other


def seed_of(frame: Frame, node: int) -> Any:
    """Return the part of a gradient that came from no consumer: that of a result, as ``backward()`` was given it."""
    seed: Any = frame.grads[node]
    for dst in frame.graph.consumers(node):
        for arg, src in enumerate(frame.graph.nodes[dst].inputs):
            amount = frame.edge_grad(src, dst, arg) if src == node and frame.grads[dst] is not None else None
            if amount is not None:
                seed = seed - amount
    return seed


def sent(frame: Frame, dst: int, arg: int, g: Any) -> Any:
    """Return what a node sends to an argument when this gradient comes in; None if nothing flows there."""
    rule = getattr(frame.edges, "sent", None)
    src = frame.graph.nodes[dst].inputs[arg]
    if frame.grads[src] is None or frame.grads[dst] is None:
        return None
    if rule is not None:
        found = rule(dst, arg, g)
        if found is not None or frame.edge_grad(src, dst, arg) is None:
            return found
        raise _unknown(frame, dst)
    local = frame.local(src, dst, arg)
    if local is not None:
        return local * g
    if frame.edge_grad(src, dst, arg) is None:
        return None
    raise _unknown(frame, dst)


def _unknown(frame: Frame, dst: int) -> GradvizValueError:
    return GradvizValueError(f"the rule of {clean(frame.graph.nodes[dst].name)!r} is not known here", hint="by='edges'")


def norm(x: Any) -> float:
    """Return the Euclidean norm of all elements; that of large numbers too.

    >>> norm(np.array([3.0, 4.0])), norm(np.array([1e200, 0.0]))
    (5.0, 1e+200)
    """
    if isinstance(x, float):
        return abs(x)
    sizes = np.abs(np.asarray(x)).ravel().astype(float)
    largest = float(np.max(sizes, initial=0.0))
    return float(np.linalg.norm(sizes / largest)) * largest if 0 < largest < math.inf else largest
