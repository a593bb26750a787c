"""Scopes for programs that have none: the rounds of their loops, found as for folding."""

from __future__ import annotations

import numpy as np

from gradviz import transforms
from gradviz.graphs import Frame
from gradviz.views.large.nesting import Scope

__all__ = ["scopes_of"]

MOST = 100_000  # nodes; in larger graphs loops are not looked for
LEAST = 3  # nodes of a round that is worth a box


def scopes_of(frame: Frame) -> list[Scope]:
    """Return the scope of every node; where no node has one, the loop it is in and its round, the outermost first.

    >>> from gradviz.graphs import Graph, Node
    >>> scopes_of(Frame(Graph((Node(0, "x", "input", "input", scope=("net",)),)), [1.0], [None]))
    [('net',)]
    """
    own = [node.scope for node in frame.graph.nodes]
    if any(own) or len(own) > MOST:
        return own
    folded = transforms.Folded(frame, transforms.FEWEST)
    found: list[Scope] = [()] * len(own)
    for loops, rounds in zip(folded.repeats.loops, folded.repeats.rounds, strict=True):
        members = np.bincount(loops[loops >= 0], minlength=len(folded.loops))
        boxed = [members[number] >= LEAST * loop.count for number, loop in enumerate(folded.loops)]
        known: dict[tuple[Scope, int, int], Scope] = {}
        for id in np.flatnonzero(loops >= 0).tolist():
            key = found[id], int(loops[id]), int(rounds[id])
            if boxed[key[1]]:
                if key not in known:
                    loop = folded.loops[key[1]]
                    known[key] = (*found[id], f"×{loop.count:,} {loop.name}", f"round {key[2] + 1}")
                found[id] = known[key]
    return found
