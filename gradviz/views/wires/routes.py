"""Where Graphviz has led the wires, and where they meet the nodes."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import defaultdict

from gradviz.views.painting import short
from gradviz.views.svg import SVG
from gradviz.views.wires.plans import Plan

__all__ = ["IDS", "Entries", "ends_of"]

IDS = re.compile(r"\d+")
POINT = re.compile(r"(-?[\d.]+),(-?[\d.]+)")


def ends_of(group: ET.Element) -> tuple[int, int, bool]:
    """Return from which node of the graph to which a piece of a wire goes, and whether to the next round."""
    tail, head = (end.strip() for end in (group.findtext(f"{SVG}title") or "").split("->"))
    first, last = (IDS.findall(end) for end in (tail, head))
    if tail.startswith(("e", "p")):
        return int(first[0]), int(first[1]), tail.startswith("p")
    return int(first[0]), int(last[1] if head.startswith("e") else last[0]), False


class Entries:
    """Where wires meet a node in a plan without gates: side by side, in the order in which they come."""

    def __init__(self, laid_out: ET.Element, plan: Plan, *, across: bool) -> None:
        self.axis = 1 if across else 0
        self.shifts: defaultdict[str, list[float]] = defaultdict(list)
        self.by_edge: dict[str, float] = {}
        arriving: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
        for group in laid_out.iter(f"{SVG}g"):
            if group.get("class") == "edge" and not plan.has_gates:
                head = (group.findtext(f"{SVG}title") or "").split("->")[1].strip().split(":")[0]
                arriving[head].append((points_of(group)[-4][self.axis], group.get("id", "")))
        for head, found in arriving.items():
            reach = min(plan.gate * 0.3, 1.7 * (len(found) - 1)) if head.startswith("n") else 0.0
            for number, (_, id) in enumerate(sorted(found)):
                share = 2 * number / (len(found) - 1) - 1 if len(found) > 1 else 0.0
                self.by_edge[id] = reach * share
                self.shifts[head].append(reach * share)

    def points(self, group: ET.Element) -> list[tuple[float, float]]:
        """Return the points of an edge, its end moved to its own place."""
        found = points_of(group)
        shift = self.by_edge.get(group.get("id", ""), 0.0)
        for place in (-2, -1):
            x, y = found[place]
            found[place] = (x, y + shift) if self.axis else (x + shift, y)
        return self.calm(found) if self.by_edge and len(found) == 4 else found

    def calm(self, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        """Return one curve between ranks so that it never turns back: its controls lie between its ends."""
        along = 1 - self.axis
        low, high = sorted((points[0][along], points[3][along]))
        for place in (1, 2):
            kept = min(max(points[place][along], low), high)
            points[place] = (kept, points[place][1]) if self.axis else (points[place][0], kept)
        return points

    def path(self, group: ET.Element) -> str:
        """Return an edge as the path of SVG."""
        first, *rest = (f"{short(x)},{short(y)}" for x, y in self.points(group))
        return f"M{first}C{' '.join(rest)}"


def points_of(group: ET.Element) -> list[tuple[float, float]]:
    """Return the points of the curves of an edge."""
    path = group.find(f".//{SVG}path")
    text = path.get("d", "") if path is not None else ""
    return [(float(x), float(y)) for x, y in POINT.findall(text)]
