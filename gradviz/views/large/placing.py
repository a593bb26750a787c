"""Places for the nodes of a graph of any size: scope by scope, each distinct scope laid out once.

Edges count for the innermost scope that holds both ends. Scopes with boxes of the same sizes, joined alike, share
one plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradviz.views.large.columns import Plan, Spacing, arranged
from gradviz.views.large.nesting import Nesting, Scope

__all__ = ["Placement", "Routes", "placed"]

Floats = np.ndarray
Ints = np.ndarray
Point = tuple[float, float]
OUT = 7.0  # points from a column to the vertical part of an edge that goes to another row
WHOLE = Spacing()
INSIDE = Spacing(above=16.0)  # the name of a scope stands in it


@dataclass(frozen=True, slots=True)
class Routes:
    """Edges that are not one curve: past the columns between their ends, and along between rows.

    The points of ``edges[i]``, without its ends, are those from ``starts[i]`` to ``starts[i + 1]``.
    """

    edges: Ints
    starts: Ints
    points: Floats  # (points, 2)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where everything is, in points: nodes by their left top corners, scopes by left, top, width and height."""

    nesting: Nesting
    corners: Floats
    boxes: Floats  # of the scopes; the root, which is the whole picture, is the first
    routes: Routes
    plans: int  # how many scopes were really laid out

    @property
    def size(self) -> tuple[float, float]:
        """How wide and high the whole is."""
        return float(self.boxes[0, 2]), float(self.boxes[0, 3])


def placed(
    scopes: Sequence[Scope], src: Ints, dst: Ints, sizes: Floats, whole: Spacing = WHOLE, inside: Spacing = INSIDE
) -> Placement:
    """Return places for nodes in these scopes, of these sizes (nodes, 2); edges lead from ``src`` to ``dst``.

    ``whole`` is the room around everything, ``inside`` that in scopes.

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
    chosen: list[Plan] = [arranged(np.zeros((0, 2)), np.zeros((0, 2), np.int64), whole)] * len(nesting.paths)
    starts, link_starts = nesting.starts.tolist(), begins.tolist()
    places = nesting.position[nesting.count :].tolist()
    for scope in np.argsort(-nesting.depths, kind="stable").tolist():
        boxes = inner[starts[scope] : starts[scope + 1]]
        pairs = links[link_starts[scope] : link_starts[scope + 1]]
        key = boxes.tobytes(), pairs.tobytes()
        plan = plans.get(key) if scope else None
        if plan is None:
            plan = plans[key] = arranged(boxes, pairs, inside if scope else whole)
        chosen[scope] = plan
        if scope:
            inner[places[scope - 1]] = plan.size
    corners, placed_scopes = _put(nesting, chosen, inner)
    middles = corners[:, 1] + sizes[:, 1] / 2
    ends = np.stack([middles[src], middles[dst]], axis=1)
    routes = Router(nesting, chosen, placed_scopes, (whole.between, inside.between)).routes(one, other, ends)
    return Placement(nesting, corners, placed_scopes, routes, len(plans))


def _put(nesting: Nesting, chosen: list[Plan], inner: Floats) -> tuple[Floats, Floats]:
    """Return the places of nodes and scopes in the whole picture, the scopes from the outside in."""
    own = np.concatenate(
        [plan.corners[: len(plan.first_lane)] for plan in chosen]
    )  # of every item, in order, in its scope
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
    return corners[: nesting.count], boxes


class Router:
    """Leads edges through lanes and between rows."""

    def __init__(self, nesting: Nesting, chosen: list[Plan], boxes: Floats, between: tuple[float, float]) -> None:
        self.nesting = nesting
        self.chosen = chosen
        self.boxes = boxes
        self.between = between

    def routes(self, one: Ints, other: Ints, ends: Floats) -> Routes:
        """Return the routes of the edges that join these items; ``ends`` are the heights of their ends."""
        rows, columns, lanes = (
            np.concatenate([getattr(plan, name)[: len(plan.first_lane)] for plan in self.chosen])
            for name in ("rows", "columns", "first_lane")
        )
        a, b = self.nesting.position[one], self.nesting.position[other]
        found = np.flatnonzero((rows[a] != rows[b]) | ((lanes[a] >= 0) & (columns[b] - columns[a] > 1)))
        holder = self.nesting.holder[one[found]]
        begin = self.nesting.starts[holder]
        origin = self.boxes[holder, :2]
        inside = ends[found] - origin[:, 1:]
        table = np.stack([holder, a[found] - begin, b[found] - begin], axis=1).tolist()
        starts, points = [0], []
        known: dict[
            tuple[int, int, int, float, float], list[Point]
        ] = {}  # scopes with the same plan have the same ways
        for (scope, first, last), (start, end) in zip(table, inside.tolist(), strict=True):
            key = id(self.chosen[scope]), first, last, start, end
            way = known.get(key)
            if way is None:
                way = known[key] = self.route(self.chosen[scope], first, last, (start, end), self.between[scope > 0])
            points += way
            starts.append(len(points))
        moved = np.array(points, float).reshape(-1, 2) + np.repeat(origin, np.diff(starts), axis=0)
        return Routes(found, np.array(starts), moved)

    def route(self, plan: Plan, first: int, last: int, ends: tuple[float, float], between: float) -> list[Point]:
        """Return the points between the ends of one edge, seen from the corner of its scope.

        ``first`` and ``last`` are boxes of the plan, ``ends`` the heights of the ends.
        """
        start, end = ends
        lane = int(plan.first_lane[first])
        passed = int(plan.columns[last] - plan.columns[first]) - 1 if lane >= 0 else 0
        points: list[Point] = []
        here, y = first, start
        for stop in (*range(lane, lane + passed), last):
            then = end if stop == last else float(plan.corners[stop, 1])
            if plan.rows[here] != plan.rows[stop]:
                out, into = float(plan.rights[here]) + OUT, float(plan.lefts[stop]) - OUT
                along = float(plan.tops[stop]) - between / 2
                points += [(out, y), (out, along), (into, along), (into, then)]
            if stop != last:
                points += [(float(plan.lefts[stop]), then), (float(plan.rights[stop]), then)]
            here, y = stop, then
        return points
