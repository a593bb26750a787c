"""The numbers of every node at every step that a page shows, as columns that can be packed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradviz.graphs import Frame, Graph, Node, Number
from gradviz.graphs.nodes import Edge
from gradviz.style import wording
from gradviz.views.page.arrays import BINS, SUMMED, exponent_shares, grid_shape, heat, shares_of, summed
from gradviz.views.page.packing import packed_bytes, packed_numbers, rounded

__all__ = ["Known", "Plan", "Recorder", "Track", "tracks_of", "weight"]

IN_FULL = 64  # elements of an array whose every element is kept
DIGITS, FEWER_DIGITS = 24, 14  # bits of mantissa: seven digits, and four for edges and large arrays
PRESENT, MISSING, SUMMED_ONLY = 0, 1, 2
SIDES = (16, 8, 4)  # of heat maps, the more of them the coarser
CELLS = 12_000  # bytes of heat maps a step
KINDS = ("value", "grad")


@dataclass(slots=True)
class Track:
    """Whose numbers are kept: a node of the graph, or the rounds of a folded one as one array."""

    members: tuple[int, ...]
    shape: tuple[int, ...]
    form: str  # "scalar" | "full" | "summary"
    stacked: bool = False
    start: int = 0  # its first column; those of the gradient follow
    cells: int = 0  # its first byte column
    grid: tuple[int, int] = (0, 0)

    @property
    def width(self) -> int:
        """How many columns value and gradient take each."""
        return {"scalar": 1, "full": math.prod(self.shape)}.get(self.form, len(SUMMED) + 1)

    @property
    def depth(self) -> int:
        """How many byte columns value and gradient take each: one that says what is there, and the heat map."""
        return 1 + self.grid[0] * self.grid[1]

    def number(self, numbers: Sequence[Number | None]) -> Number | None:
        """Return its number in one frame."""
        found = [numbers[member] for member in self.members]
        if not self.stacked:
            return found[0]
        arrays = [np.asarray(number) for number in found if number is not None]
        same = len(arrays) == len(found) and len({array.shape for array in arrays}) == 1
        return np.stack(arrays) if same else None


@dataclass(slots=True)
class Plan:
    """Which tracks and which edges a graph needs."""

    tracks: list[Track] = field(default_factory=list)
    edges: dict[tuple[Edge, ...], tuple[int, bool]] = field(default_factory=dict)  # place, stacked?

    def fold(self, members: Sequence[int], graph: Graph) -> int:
        """Return the track of the rounds of a folded node."""
        key = tuple(members)
        for number in range(len(graph), len(self.tracks)):
            if self.tracks[number].members == key:
                return number
        shape = (len(key), *graph.nodes[key[0]].shape)
        self.tracks.append(Track(key, shape, _form(shape, graph.nodes[key[0]].dtype), stacked=True))
        return len(self.tracks) - 1

    def edge(self, edges: tuple[Edge, ...], *, stacked: bool) -> int:
        """Return the column that holds how large a gradient these edges carry together."""
        return self.edges.setdefault(edges, (len(self.edges), stacked))[0]

    def arrange(self) -> None:
        """Give every track its columns."""
        side = next((side for side in SIDES if self._cells(side) <= CELLS), 0)
        start = cells = 0
        for track in self.tracks:
            track.start, track.cells = start, cells
            track.grid = grid_shape(track.shape, side) if track.form == "summary" else (0, 0)
            start += 2 * track.width
            cells += 2 * track.depth

    def _cells(self, side: int) -> int:
        shapes = (grid_shape(track.shape, side) for track in self.tracks if track.form == "summary")
        return sum(rows * columns for rows, columns in shapes)


def tracks_of(graph: Graph, known: Mapping[tuple[str, str], Known]) -> list[Track]:
    """Return one track for each node; an array of which only sums were recorded has no elements."""
    forms = ["summary" if _is_summed(node, known) else _form(node.shape, node.dtype) for node in graph]
    return [Track((node.id,), node.shape, form) for node, form in zip(graph, forms, strict=True)]


def _is_summed(node: Node, known: Mapping[tuple[str, str], Known]) -> bool:
    return bool(node.shape) and ((node.name, "value") in known or (node.name, "grad") in known)


def _form(shape: tuple[int, ...], dtype: str) -> str:
    if not shape:
        return "scalar"
    return "full" if 0 < math.prod(shape) <= IN_FULL and not dtype.startswith("complex") else "summary"


def weight(graph: Graph) -> float:
    """Return about how many numbers one step of a graph takes on a page.

    >>> from gradviz.graphs import Node
    >>> weight(Graph((Node(0, "x", "input", "input"), Node(1, "w", "param", "param", (), (9, 9)))))
    66.0
    """
    sizes = {"scalar": 2.0, "summary": 64.0}
    forms = ((node, _form(node.shape, node.dtype)) for node in graph)
    return sum((sizes.get(form, 2.0 * math.prod(node.shape)) for node, form in forms), 0.0)


@dataclass(slots=True)
class Known:
    """What a run recorded of an array besides its elements, one entry per step of the run; None: nothing."""

    norm: np.ndarray | None = None
    stats: np.ndarray | None = None  # (steps, 7): low, high, mean, norm, zeros, nans, infs
    exponents: np.ndarray | None = None  # (steps, 256) counts


class Recorder:
    """Takes frames one after the other and keeps of each what the plan asks for."""

    def __init__(self, graph: Graph, plan: Plan, known: Mapping[tuple[str, str], Known]) -> None:
        self.graph = graph
        self.plan = plan
        self.known = known
        self.numbers: list[np.ndarray] = []
        self.edges: list[np.ndarray] = []
        self.cells: list[np.ndarray] = []
        self.before: dict[tuple[int, str], Seen] = {}
        self.exponents: dict[tuple[int, str], dict[int, np.ndarray]] = {}
        self.wanted = dict.fromkeys(edge for edges in plan.edges for edge in edges)
        tracks = list(enumerate(plan.tracks))
        self.plain = [track for _, track in tracks if track.form == "scalar" and self._is_real(track)]
        self.columns = np.array([track.start for track in self.plain], int)
        self.places = np.array([track.cells for track in self.plain], int)
        plain = {id(track) for track in self.plain}
        self.others = [(place, track) for place, track in tracks if id(track) not in plain]

    def _is_real(self, track: Track) -> bool:
        return not self.graph.nodes[track.members[0]].dtype.startswith("complex")

    def add(self, frame: Frame, position: int) -> None:
        """Keep one frame; ``position`` is its place in the run."""
        numbers, cells = self._empty()
        with np.errstate(all="ignore"):
            for kind, source in zip(KINDS, (frame.values, frame.grads), strict=True):
                self._keep_plain(kind, source, numbers, cells)
                for place, track in self.others:
                    self._keep(Slot(place, track, kind, numbers, cells), track.number(source), position)
            self.edges.append(self._edges(frame))
        self.numbers.append(numbers)
        self.cells.append(cells)

    def _empty(self) -> tuple[np.ndarray, np.ndarray]:
        tracks = self.plan.tracks
        width, depth = (sum(2 * getattr(track, name) for track in tracks) for name in ("width", "depth"))
        return np.full(width, np.nan), np.zeros(depth, np.int8)

    def _keep_plain(self, kind: str, source: Sequence[Number | None], numbers: np.ndarray, cells: np.ndarray) -> None:
        """Keep the numbers of all scalars at once."""
        if not self.plain:
            return
        found = [source[track.members[0]] for track in self.plain]
        behind = kind == "grad"
        numbers[self.columns + behind] = [math.nan if number is None else number for number in found]
        cells[self.places + behind] = [MISSING if number is None else PRESENT for number in found]

    def _keep(self, slot: Slot, number: Number | None, position: int) -> None:
        if number is None:
            self._keep_known(slot, position)
        elif slot.track.form == "scalar":
            slot.put([float(np.real(np.asarray(number)))], PRESENT)
        elif slot.track.form == "full":
            slot.put(np.asarray(number, np.float64).ravel(), PRESENT)
        else:
            self._keep_array(slot, np.asarray(number))

    def _keep_array(self, slot: Slot, array: np.ndarray) -> None:
        key = (slot.place, slot.kind)
        if key not in self.before or self.before[key].array is not array:  # an input is often the same at every step
            grid = slot.track.grid
            top, levels = heat(array, *grid) if grid[0] else (math.nan, np.zeros(0, np.int8))
            self.before[key] = Seen(array, [*summed(array), top], levels, exponent_shares(array))
        seen = self.before[key]
        slot.put(seen.sums, PRESENT)
        slot.heat(seen.levels)
        self._put_exponents(slot, seen.shares)

    def _keep_known(self, slot: Slot, position: int) -> None:
        """Keep what the run recorded of an array without its elements."""
        name = self.graph.nodes[slot.track.members[0]].name
        known = self.known.get((name, slot.kind)) if not slot.track.stacked else None
        found = _summed_only(known, position)
        if found is None or slot.track.form != "summary":
            slot.put([], MISSING)
            return
        slot.put([*found, math.nan], SUMMED_ONLY)
        if known is not None and known.exponents is not None:
            self._put_exponents(slot, shares_of(known.exponents[position], math.prod(slot.track.shape)))

    def _put_exponents(self, slot: Slot, shares: np.ndarray) -> None:
        self.exponents.setdefault((slot.place, slot.kind), {})[len(self.numbers)] = shares

    def _edges(self, frame: Frame) -> np.ndarray:
        """Return how large a gradient each wanted edge carries, with its sign; NaN where none."""
        grads = {edge: frame.edge_grad(*edge) for edge in self.wanted} if frame.edges is not None else {}
        found = np.full(len(self.plan.edges), np.nan)
        for edges, (place, stacked) in self.plan.edges.items():
            if len(edges) == 1 and isinstance(only := grads.get(edges[0]), float):
                found[place] = only if math.isfinite(only) else math.inf
                continue
            parts = [np.asarray(grad) for edge in edges if (grad := grads.get(edge)) is not None]
            if len(parts) == len(edges) and len({part.shape for part in parts}) == 1:
                whole = np.stack(parts) if stacked else np.sum(parts, axis=0)
                size = wording.signed_size(np.asarray(whole, np.float64))
                found[place] = math.inf if wording.has_bad(whole) else (math.nan if size is None else size)
        return found

    # -- handing over

    def data(self) -> dict[str, Any]:
        """Return the packed columns and where in them each track is."""
        steps = len(self.numbers)
        columns = np.array(self.numbers).reshape(steps, -1).T
        coarse = np.concatenate([self._bits(track) for track in self.plan.tracks] or [np.zeros(0, bool)])
        columns = np.where(coarse[:, None], rounded(columns, FEWER_DIGITS), rounded(columns, DIGITS))
        edges = rounded(np.array(self.edges).reshape(steps, -1).T, FEWER_DIGITS)
        cells = np.array(self.cells).reshape(steps, -1).T
        shares, exponents = self._packed_exponents(steps, len(cells))
        return {
            "tracks": [self._described(track) for track in self.plan.tracks],
            "columns": len(columns),
            "edges": len(edges),
            "numbers": packed_numbers(np.concatenate([columns, edges])),
            "bytes": packed_bytes(np.concatenate([cells.view(np.uint8), *shares])),
            "exponents": exponents,
        }

    def _bits(self, track: Track) -> np.ndarray:
        return np.full(2 * track.width, track.form == "summary")

    def _described(self, track: Track) -> list[Any]:
        return [track.form, list(track.shape), track.start, track.cells, *track.grid, list(track.members)]

    def _packed_exponents(self, steps: int, start: int) -> tuple[list[np.ndarray], list[list[Any]]]:
        """Return the byte columns of all histograms, and for each: track, kind, first bin, bins, first column."""
        shares, described = [], []
        for (place, kind), by_step in sorted(self.exponents.items()):
            table = np.zeros((steps, BINS), np.uint8)
            for step, found in by_step.items():
                table[step] = found
            used = np.flatnonzero(table.any(axis=0))
            if used.size:
                low, high = int(used[0]), int(used[-1]) + 1
                described.append([place, kind, low - BINS // 2, high - low, start])
                shares.append(np.ascontiguousarray(table[:, low:high].T))
                start += high - low
        return shares, described


@dataclass(slots=True)
class Seen:
    """What an array came to."""

    array: np.ndarray
    sums: list[float]
    levels: np.ndarray
    shares: np.ndarray


@dataclass(slots=True)
class Slot:
    """Where the numbers of one track, value or gradient, go."""

    place: int
    track: Track
    kind: str
    numbers: np.ndarray
    cells: np.ndarray

    def put(self, numbers: Any, state: int) -> None:
        """Write numbers into the columns and what they are into the first byte."""
        start = self.track.start + (self.track.width if self.kind == "grad" else 0)
        self.numbers[start : start + len(numbers)] = numbers
        self.cells[self._first()] = state

    def heat(self, levels: np.ndarray) -> None:
        """Write a heat map into the bytes after the first."""
        start = self._first() + 1
        self.cells[start : start + len(levels)] = levels

    def _first(self) -> int:
        return self.track.cells + (self.track.depth if self.kind == "grad" else 0)


def _summed_only(known: Known | None, position: int) -> list[float] | None:
    if known is None:
        return None
    if known.stats is not None and not np.isnan(known.stats[position][-1]):
        return [float(number) for number in known.stats[position]]
    if known.norm is not None and not np.isnan(known.norm[position]):
        return [math.nan, math.nan, math.nan, float(known.norm[position]), math.nan, math.nan, math.nan]
    return None
