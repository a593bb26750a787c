"""Boxes in columns, each after all that lead to it; a long row of columns goes on below, as the lines of a text do."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["BETWEEN", "HEAD", "PAD", "Plan", "arranged"]

Floats = np.ndarray
Ints = np.ndarray

APART = 10.0  # points between boxes above one another
BETWEEN = 30.0  # points between columns, and between rows of them
PAD, HEAD = 8.0, 16.0  # inside a scope; its head holds the name
WIDTH_TO_HEIGHT = 1.6  # of a picture that is wrapped
FEW = 12  # columns, which are not wrapped
TALLEST = 12  # boxes above one another, in a column that is split
SORTED = 1500  # boxes; of more the order is left as it is
SWEEPS = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """Where boxes are, seen from the corner of what holds them; of each box its row, and the edges of its column."""

    corners: Floats  # left and top of each
    size: tuple[float, float]
    rows: Ints
    tops: Floats  # of the row of each
    lefts: Floats
    rights: Floats


def arranged(sizes: Floats, links: Ints, head: float) -> Plan:
    """Return places for boxes of these sizes, (boxes, 2), that pairs of ``links`` join, the first before the second.

    >>> plan = arranged(np.array([[20.0, 10.0], [30.0, 14.0]]), np.array([[0, 1]]), PAD)
    >>> plan.corners.tolist(), plan.size
    ([[8.0, 10.0], [58.0, 8.0]], (96.0, 30.0))
    """
    count = len(sizes)
    if not count:
        nothing = np.zeros(0)
        return Plan(np.zeros((0, 2)), (2 * PAD, head + PAD), nothing.astype(int), nothing, nothing, nothing)
    order, starts = _columns(_layers(count, links), links)
    widths, heights = sizes[order, 0], sizes[order, 1] + APART
    across = np.maximum.reduceat(widths, starts)
    down = np.add.reduceat(heights, starts) - APART
    row, left = _rows(across, down)
    row_starts = np.flatnonzero(np.diff(row, prepend=-1))
    tallest = np.maximum.reduceat(down, row_starts)
    top = head + np.cumsum(tallest + BETWEEN) - tallest - BETWEEN

    of = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, count)))  # the column of each box
    above = np.cumsum(heights) - heights
    corners = np.empty((count, 2))
    corners[order, 0] = left[of]
    corners[order, 1] = (top[row] + (tallest[row] - down) / 2 - above[starts])[of] + above
    back = np.empty(count, np.int64)
    back[order] = of
    size = (float((left + across).max()) + PAD, float(top[-1] + tallest[-1]) + PAD)
    return Plan(corners, size, row[back], top[row][back], left[back], (left + across)[back])


def _layers(count: int, links: Ints) -> Ints:
    """Return the layer of each box: after all that lead to it; what nothing leads to stands before its first use."""
    found = [0] * count
    for one, other in links.tolist():  # sorted by the second
        if found[one] >= found[other]:
            found[other] = found[one] + 1
    layers = np.array(found, np.int64)
    if not len(links):
        return layers
    used = np.full(count, count)
    np.minimum.at(used, links[:, 0], layers[links[:, 1]])
    starts_late = (layers == 0) & (used < count)
    layers[starts_late] = np.maximum(0, used[starts_late] - 1)
    return layers


def _columns(layers: Ints, links: Ints) -> tuple[Ints, Ints]:
    """Return the boxes column by column, and where each column starts; very many of one layer are several columns."""
    order = np.argsort(layers, kind="stable")
    if 2 < len(order) <= SORTED and len(links):
        order = _untangled(order, layers, links)
    starts = np.flatnonzero(np.diff(layers[order], prepend=-1))
    counts = np.diff(np.append(starts, len(order)))
    tall = np.maximum(TALLEST, np.sqrt(counts).astype(np.int64))
    parts = -(-counts // tall)
    first = np.repeat(np.cumsum(parts) - parts, parts)
    return order, np.repeat(starts, parts) + (np.arange(parts.sum()) - first) * np.repeat(tall, parts)


def _untangled(order: Ints, layers: Ints, links: Ints) -> Ints:
    """Return the boxes of every layer in the order of the middles of what they are joined with.

    The barycentre method: Sugiyama, Tagawa and Toda, Methods for visual understanding of hierarchical system
    structures (1981).
    """
    place = np.empty(len(order))
    for sweep in range(SWEEPS):
        near, far = (1, 0) if sweep % 2 == 0 else (0, 1)
        starts = np.flatnonzero(np.diff(layers[order], prepend=-1))
        counts = np.diff(np.append(starts, len(order)))
        place[order] = np.arange(len(order)) - np.repeat(starts + counts / 2, counts)
        total = np.bincount(links[:, near], place[links[:, far]], len(order))
        times = np.bincount(links[:, near], minlength=len(order))
        middle = np.where(times > 0, total / np.maximum(times, 1), place)
        order = np.lexsort((place, middle, layers))
    return order


def _rows(across: Floats, down: Floats) -> tuple[Ints, Floats]:
    """Return the row and the left edge of each column: of about the width that gives the whole the shape of a page."""
    area = float(((across + BETWEEN) * (down + BETWEEN)).sum())
    longest = math.sqrt(area * WIDTH_TO_HEIGHT) if len(across) > FEW else math.inf
    rows, lefts = [], []
    row, left = 0, 0.0
    for width in across.tolist():
        if left and left + width > longest:
            row, left = row + 1, 0.0
        rows.append(row)
        lefts.append(PAD + left)
        left += width + BETWEEN
    return np.array(rows), np.array(lefts)
