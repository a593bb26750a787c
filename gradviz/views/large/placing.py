"""Places for the nodes of a graph of any size: scope by scope, each distinct scope laid out once.

Edges count for the innermost scope that holds both ends. Scopes with boxes of the same sizes, joined alike, share
one plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradviz.views.large.columns import BETWEEN, HEAD, PAD, Plan, arranged
from gradviz.views.large.nesting import Nesting, Scope

__all__ = ["Placement", "Turns", "placed"]

Floats = np.ndarray
Ints = np.ndarray
OUT = 7.0  # points from a column to the vertical part of an edge that goes to another row


@dataclass(frozen=True, slots=True)
class Turns:
    """Edges that go on in a row further down: out of the column, along between the rows, and into the column."""

    edges: Ints  # which they are
    out: Floats  # x
    along: Floats  # y
    into: Floats  # x


@dataclass(frozen=True, slots=True)
class Placement:
    """Where everything is, in points: nodes by their left top corners, scopes by left, top, width and height."""

    nesting: Nesting
    corners: Floats
    boxes: Floats  # of the scopes; the root, which is the whole picture, is the first
    turns: Turns
    plans: int  # how many scopes were really laid out

    @property
    def size(self) -> tuple[float, float]:
        """How wide and high the whole is."""
        return float(self.boxes[0, 2]), float(self.boxes[0, 3])


def placed(scopes: Sequence[Scope], src: Ints, dst: Ints, sizes: Floats) -> Placement:
    """Return places for nodes in these scopes, of these sizes (nodes, 2); edges lead from ``src`` to ``dst``.

    >>> found = placed([(), ("net",)], np.array([0]), np.array([1]), np.full((2, 2), [20.0, 10.0]))
    >>> found.corners.tolist(), found.boxes[1].tolist()
    ([[8.0, 20.0], [66.0, 24.0]], [58.0, 8.0, 36.0, 34.0])
    """
    nesting = Nesting(scopes)
    one, other = nesting.lifted(src, dst)
    links, begins = nesting.links(one, other)
    inner = np.empty((len(nesting.order), 2))  # the size of every item, in order
    inner[nesting.position[: nesting.count]] = sizes
    plans: dict[tuple[bytes, bytes], Plan] = {}
    chosen: list[Plan] = [arranged(np.zeros((0, 2)), np.zeros((0, 2), np.int64), PAD)] * len(nesting.paths)
    starts, link_starts = nesting.starts.tolist(), begins.tolist()
    places = nesting.position[nesting.count :].tolist()
    for scope in np.argsort(-nesting.depths, kind="stable").tolist():
        boxes = inner[starts[scope] : starts[scope + 1]]
        pairs = links[link_starts[scope] : link_starts[scope + 1]]
        key = boxes.tobytes(), pairs.tobytes()
        plan = plans.get(key) if scope else None
        if plan is None:
            plan = plans[key] = arranged(boxes, pairs, HEAD if scope else PAD)
        chosen[scope] = plan
        if scope:
            inner[places[scope - 1]] = plan.size
    return _put(nesting, chosen, inner, (one, other), len(plans))


def _put(nesting: Nesting, chosen: list[Plan], inner: Floats, joined: tuple[Ints, Ints], plans: int) -> Placement:
    """Return the places in the whole picture, the scopes from the outside in."""
    own = np.concatenate([plan.corners for plan in chosen])  # of every item, in order, in its scope
    corners = np.empty((len(nesting.order), 2))
    boxes = np.zeros((len(nesting.paths), 4))
    boxes[0, 2:] = chosen[0].size
    depth = nesting.depths[nesting.holder[nesting.order]]
    by_depth = np.argsort(depth, kind="stable")
    ends = np.searchsorted(depth[by_depth], np.arange(int(nesting.depths.max()) + 2))
    for begin, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        at = by_depth[begin:end]
        item = nesting.order[at]
        corners[item] = own[at] + boxes[nesting.holder[item], :2]
        is_scope = item >= nesting.count
        scope = item[is_scope] - nesting.count + 1
        boxes[scope, :2] = corners[item[is_scope]]
        boxes[scope, 2:] = inner[at[is_scope]]
    turns = _turns(nesting, chosen, boxes, joined)
    return Placement(nesting, corners[: nesting.count], boxes, turns, plans)


def _turns(nesting: Nesting, chosen: list[Plan], boxes: Floats, joined: tuple[Ints, Ints]) -> Turns:
    """Return the edges between rows."""
    rows = np.concatenate([plan.rows for plan in chosen])
    one, other = (nesting.position[items] for items in joined)
    found = np.flatnonzero(rows[one] != rows[other])
    one, other = one[found], other[found]
    tops, lefts, rights = (
        np.concatenate([getattr(plan, name) for plan in chosen]) for name in ("tops", "lefts", "rights")
    )
    origin = boxes[nesting.holder[joined[0][found]]]
    return Turns(
        found,
        origin[:, 0] + rights[one] + OUT,
        origin[:, 1] + tops[other] - BETWEEN / 2,
        origin[:, 0] + lefts[other] - OUT,
    )
