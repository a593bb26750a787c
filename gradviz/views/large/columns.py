"""Boxes in columns, each after all that lead to it; a long row of columns goes on below, as the lines of a text do."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["Plan", "Spacing", "arranged"]

Floats = np.ndarray
Ints = np.ndarray

FEW, WIDE = 12, 1500.0  # columns and points; a row of no more is not wrapped
TALLEST = 12  # boxes above one another, in a column that is split
SORTED = 1500  # boxes; of more the order is left as it is
SWEEPS = 6
LANES = 4  # for each box, on average; more are none


@dataclass(frozen=True, slots=True)
class Spacing:
    """Points between boxes above one another, between columns and their rows, and inside a scope on each side."""

    apart: float = 10.0
    between: float = 30.0
    before: float = 8.0
    above: float = 8.0
    after: float = 8.0
    shape: float = 1.6  # width to height of a picture that is wrapped


@dataclass(frozen=True, slots=True)
class Plan:
    """Where boxes are, seen from the corner of what holds them.

    After the boxes come lanes, through which edges pass columns: of both there is the row, and the edges of the column.
    The lanes of a box begin at ``first_lane``, one for every column after its own; -1 says that there are none.
    """

    corners: Floats  # left and top of each
    size: tuple[float, float]
    columns: Ints
    first_lane: Ints
    rows: Ints
    tops: Floats  # of the row of each
    lefts: Floats  # of the column of each
    rights: Floats


def arranged(sizes: Floats, links: Ints, spacing: Spacing) -> Plan:
    """Return places for boxes of these sizes, (boxes, 2), that pairs of ``links`` join, the first before the second.

    >>> plan = arranged(np.array([[20.0, 10.0], [30.0, 14.0]]), np.array([[0, 1]]), Spacing())
    >>> plan.corners.tolist(), plan.size
    ([[8.0, 10.0], [58.0, 8.0]], (96.0, 30.0))
    """
    if not len(sizes):
        none, size = np.zeros(0, np.int64), (spacing.before + spacing.after, spacing.above + spacing.after)
        return Plan(np.zeros((0, 2)), size, none, none, none, *(np.zeros(0) for _ in range(3)))
    layers = _layers(len(sizes), links)
    first_lane, lane_layers, links = _lanes(layers, links)
    layers = np.append(layers, lane_layers)
    sizes = np.concatenate([sizes, np.zeros((len(lane_layers), 2))])
    order, starts = _columns(layers, links)
    widths, heights = sizes[order, 0], sizes[order, 1] + spacing.apart
    across = np.maximum.reduceat(widths, starts)
    down = np.add.reduceat(heights, starts) - spacing.apart
    row, left = _rows(across, down, spacing)
    row_starts = np.flatnonzero(np.diff(row, prepend=-1))
    tallest = np.maximum.reduceat(down, row_starts)
    top = spacing.above + np.cumsum(tallest + spacing.between) - tallest - spacing.between

    of = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(order))))  # the column of each box
    above = np.cumsum(heights) - heights
    corners = np.empty((len(order), 2))
    corners[order, 0] = left[of]
    corners[order, 1] = (top[row] + (tallest[row] - down) / 2 - above[starts])[of] + above
    back = np.empty(len(order), np.int64)
    back[order] = of
    size = (float((left + across).max()) + spacing.after, float(top[-1] + tallest[-1]) + spacing.after)
    return Plan(corners, size, layers, first_lane, row[back], top[row][back], left[back], (left + across)[back])


def _lanes(layers: Ints, links: Ints) -> tuple[Ints, Ints, Ints]:
    """Return the first lane of each box, the layers of the lanes, and the links led through them.

    All long links of a box share its lanes. Where that would be too many, there are none.
    """
    count = len(layers)
    none = np.full(count, -1)
    if count > SORTED or not len(links):
        return none, np.zeros(0, np.int64), links
    one, other = links.T
    reach = layers[other] - layers[one]
    lanes = np.zeros(count, np.int64)
    np.maximum.at(lanes, one, reach - 1)
    if not lanes.any() or lanes.sum() > LANES * count:
        return none, np.zeros(0, np.int64), links
    first = np.where(lanes > 0, count + np.cumsum(lanes) - lanes, -1)
    owner = np.repeat(np.arange(count), lanes)
    lane = count + np.arange(len(owner))
    into = lane - first[owner]
    along = np.stack([np.where(into > 0, lane - 1, owner), lane], axis=1)
    last = np.where(reach > 1, first[one] + reach - 2, one)
    return first, layers[owner] + 1 + into, np.concatenate([along, np.stack([last, other], axis=1)])


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


def _rows(across: Floats, down: Floats, spacing: Spacing) -> tuple[Ints, Floats]:
    """Return the row and the left edge of each column: of about the width that gives the whole the shape of a page."""
    area = float(((across + spacing.between) * (down + spacing.between)).sum())
    is_long = len(across) > FEW or float((across + spacing.between).sum()) > WIDE
    longest = math.sqrt(area * spacing.shape) if is_long else math.inf
    rows, lefts = [], []
    row, left = 0, 0.0
    for width in across.tolist():
        if left and left + width > longest:
            row, left = row + 1, 0.0
        rows.append(row)
        lefts.append(spacing.before + left)
        left += width + spacing.between
    return np.array(rows), np.array(lefts)
