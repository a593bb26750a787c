"""The loss around the way a run took: its recorded graph, computed again with other parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import GradvizError, GradvizIndexError, GradvizValueError, UnknownNameError
from gradviz.graphs import Frame, Graph, Number
from gradviz.tracing.evaluating import is_scalar_only, losses_at
from gradviz.tracing.sampling import checkpointed, sampled_positions, sampled_values

if TYPE_CHECKING:
    from gradviz.tracing.reading import Run

__all__ = ["Surface", "before_divergence", "surface"]

MOST_NUMBERS = 5_000_000  # parameters times steps
POINTS = {1: 201, 2: 61}  # on each axis
MOST_POINTS = 1001
FEWEST, FEW_NODES = 21, 60  # points on an axis of a large graph, and what is not large
DIVERGED, OUT_OF_SIGHT = 1e6, 1e4  # times the first loss
ELEMENT = re.compile(r"(.+)\[([\d, ]+)\]", re.DOTALL)


@dataclass(frozen=True)
class Surface:
    """The loss over one or two directions in the space of the parameters, and the way the run took through it.

    ``axes`` holds the coordinates along each direction, ``loss`` the loss there (of two directions, the
    first across and the second down), ``way`` the coordinates of every step and ``way_loss`` its recorded
    loss. Where the graph could not be computed again, ``loss`` is None and ``why`` says why.
    """

    labels: tuple[str, ...]
    axes: tuple[np.ndarray, ...]
    loss: np.ndarray | None
    way: np.ndarray
    way_loss: np.ndarray
    step: int
    why: str = ""


@dataclass(frozen=True)
class Directions:
    """Directions (rows) in the space of all parameters, and the point they start from."""

    labels: tuple[str, ...]
    vectors: np.ndarray
    origin: np.ndarray


def surface(
    run: Run, of: str | Sequence[str] | None = None, *, points: int | None = None, margin: float = 0.25
) -> Surface:
    """Compute the loss over one or two parameters, or elements such as ``"W[0,1]"``, of a run.

    ``of=None`` takes the parameters if they are one or two scalars, and otherwise the two directions in
    which the path is longest, its principal components (H. Li et al., "Visualizing the Loss Landscape of
    Neural Nets", 2018, section 7). All that is not varied stays as it was in the last step with a finite
    loss, data included. The range is that of the path, and ``margin`` of it on each side; of a run that
    diverges, that of its beginning. Of a run that recorded its arrays at checkpoints only, the path is that
    of the checkpoints.

    It costs a forward pass per point: 201 of them in one dimension, 61 x 61 in two (down to 21 x 21 for a
    graph of more than 60 nodes), or ``points`` on each axis. A graph of single numbers is computed at all
    points at once. Raises GradvizValueError if the values of the parameters were not recorded.
    """
    layout = Flattened.of(run)
    if not len(run):
        raise GradvizValueError("the run has no steps yet")
    rows, matrix = layout.matrix(run)
    if not len(rows):
        raise GradvizValueError("no step of the run has all its parameters finite and recorded")
    found = _chosen(layout, matrix, of)
    way = (matrix - found.origin) @ found.vectors.T
    way_loss = np.asarray(run.loss)[rows]
    last = _last_finite(run, rows)
    frame = run.frame(int(run.steps[last]))
    count = _checked_points(points, len(found.labels), frame.graph)
    axes = tuple(_range(coordinates, count, margin) for coordinates in way[before_divergence(way_loss)].T)
    loss, why = _computed(frame, layout, found, axes)
    return Surface(found.labels, axes, loss, way, way_loss, int(run.steps[last]), why)


@dataclass(frozen=True)
class Flattened:
    """How the parameters of a run lie in one long row of numbers."""

    shapes: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, run: Run) -> Flattened:
        """Return the layout of the run's parameters; their shapes may not change."""
        shapes: dict[str, tuple[int, ...]] = {}
        for name, shape in _shapes(run):
            if shapes.setdefault(name, shape) != shape:
                raise GradvizValueError(
                    f"the shape of {name!r} changes during the run", hint="take a part of the run first: run[:100]"
                )
        missing = [name for name in run.names if name not in shapes]
        if missing and len(run):
            raise GradvizValueError(
                f"only the norm of {missing[0]!r} was recorded", hint="trace with level='full' to see the path"
            )
        return cls(shapes)

    @property
    def starts(self) -> dict[str, int]:
        """Where each parameter begins."""
        ends = np.cumsum([0, *(prod(shape) for shape in self.shapes.values())]).tolist()
        return dict(zip(self.shapes, ends, strict=False))

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return sum(prod(shape) for shape in self.shapes.values())

    def matrix(self, run: Run) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions of the steps whose parameters are all known and finite, and one row for each."""
        positions = sampled_positions(run) if checkpointed(run) else list(range(len(run)))
        if self.size * len(positions) > MOST_NUMBERS:
            raise GradvizValueError(
                f"{len(positions)} steps of {self.size} parameters are more than {MOST_NUMBERS:,} numbers",
                hint="take every tenth step, run[::10], or some of the parameters, run['encoder.*']",
            )
        columns = self._sampled(run, positions) if checkpointed(run) else self._recorded(run)
        numbers: np.ndarray = np.concatenate(columns, axis=1) if columns else np.zeros((len(run), 0))
        known = np.flatnonzero(np.isfinite(numbers).all(axis=1))
        return np.array(positions, np.int64)[known], numbers[known]

    def _recorded(self, run: Run) -> list[np.ndarray]:
        """Return a table of every parameter, a row for each step, NaN where it is not known."""
        columns = (np.ma.asarray(run[name].value).reshape(len(run), -1).astype(float) for name in self.shapes)
        return [np.ma.filled(column, np.nan) for column in columns]

    def _sampled(self, run: Run, positions: list[int]) -> list[np.ndarray]:
        """Return the same at some positions, by computing those steps again."""
        values = sampled_values(run, tuple(self.shapes), positions)
        nothing = {name: np.full(prod(shape), np.nan) for name, shape in self.shapes.items()}
        return [
            np.array([nothing[name] if number is None else np.ravel(number) for number in numbers], float)
            for name, numbers in values.items()
        ]

    def place(self, name: str) -> int:
        """Return where a scalar, or an element such as ``W[0,1]``, lies."""
        if name in self.shapes:
            if prod(self.shapes[name]) != 1:
                raise GradvizValueError(
                    f"{name!r} is an array of shape {self.shapes[name]}", hint=f'name one element: "{name}[0,0]"'
                )
            return self.starts[name]
        found = ELEMENT.fullmatch(name)
        if not found or found[1] not in self.shapes:
            raise UnknownNameError.among("parameter", name, self.shapes)
        return self._element(found[1], tuple(int(i) for i in found[2].split(",") if i.strip()))

    def _element(self, name: str, index: tuple[int, ...]) -> int:
        shape = self.shapes[name]
        if len(index) != len(shape) or any(i >= n for i, n in zip(index, shape, strict=True)):
            raise GradvizIndexError(f"{name!r} of shape {shape} has no element {list(index)}")
        return self.starts[name] + int(np.ravel_multi_index(index, shape)) if shape else self.starts[name]

    def parameters(self, row: np.ndarray) -> dict[str, Number]:
        """Return the parameters that a row holds: floats and arrays. Of a table's columns, each scalar is an array."""
        found: dict[str, Number] = {}
        for (name, shape), start in zip(self.shapes.items(), self.starts.values(), strict=True):
            found[name] = row[start : start + prod(shape)].reshape(shape) if shape else _single(row[start])
        return found


def _single(number: Any) -> Number:
    return number if np.ndim(number) else float(number)


def _shapes(run: Run) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the shapes of the parameters: those of recorded values, else those in the graph."""
    names = set(run.names)
    for part in run.structures:
        columns = part.rows.columns
        for (name, kind), column in columns.items():
            if kind == "value" and name in names:
                yield name, column.shape
            elif kind == "digest" and name in names and part.graph is not None and name in part.graph:
                yield name, part.graph[name].shape


def _chosen(layout: Flattened, matrix: np.ndarray, of: str | Sequence[str] | None) -> Directions:
    """Return the directions that were asked for."""
    if of is None and 1 <= layout.size <= 2:
        of = [_element_name(name, shape) for name, shape in layout.shapes.items()] if _all_single(layout) else None
    if of is None:
        return _principal(matrix)
    names = (of,) if isinstance(of, str) else tuple(of)
    if not 1 <= len(names) <= 2:
        raise GradvizValueError(f"of={list(names)[:4]!r}: a surface has one direction or two")
    places = [layout.place(name) for name in names]
    if len(set(places)) != len(places):
        raise GradvizValueError(f"of={list(names)!r} names one number twice")
    origin = matrix[-1].copy()
    origin[places] = 0.0
    return Directions(names, np.eye(layout.size)[places], origin)


def _all_single(layout: Flattened) -> bool:
    return all(prod(shape) == 1 for shape in layout.shapes.values())


def _element_name(name: str, shape: tuple[int, ...]) -> str:
    return name + (f"[{','.join('0' for _ in shape)}]" if shape else "")


def _principal(matrix: np.ndarray) -> Directions:
    """Return the two principal components of the path, seen from its end."""
    moved = matrix - matrix[-1]
    if moved.shape[1] < 2:
        raise GradvizValueError("a surface needs at least one parameter")
    _, sizes, vectors = np.linalg.svd(moved - moved.mean(axis=0), full_matrices=False)
    if len(vectors) < 2:
        raise GradvizValueError("one step has no direction", hint='name the parameters to vary: of=("w", "b")')
    shares = sizes**2 / (float(np.sum(sizes**2)) or 1.0)
    words = zip(("first", "second"), shares[:2].tolist(), strict=True)
    labels = tuple(f"{word} principal direction ({share:.1%} of the path)" for word, share in words)
    signs = np.where(np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], 1) < 0, -1.0, 1.0)
    return Directions(labels, (vectors * signs)[:2], matrix[-1])


def before_divergence(loss: np.ndarray) -> np.ndarray:
    """Tell which steps to show: all, or of a run that diverges those before its loss is ten thousand times the first.

    >>> before_divergence(np.array([1.0, 200.0, 4e4, 1e9])).tolist()
    [True, True, False, False]
    """
    sizes = np.abs(loss)
    if not sizes[0] > 0 or sizes[-1] <= DIVERGED * sizes[0]:
        return np.ones(len(loss), bool)
    left = np.flatnonzero(~(sizes <= OUT_OF_SIGHT * sizes[0]))
    return np.arange(len(loss)) < max(2, int(left[0]))


def _checked_points(points: int | None, dimensions: int, graph: Graph) -> int:
    if points is None and (dimensions == 1 or is_scalar_only(graph)):
        return POINTS[dimensions]
    if points is None:
        return max(FEWEST, min(POINTS[2], int(POINTS[2] * (FEW_NODES / len(graph)) ** 0.5)))
    if not isinstance(points, int) or not 2 <= points <= MOST_POINTS:
        raise GradvizValueError(f"points={str(points)[:80]!r} is out of range", hint=f"allowed: 2 to {MOST_POINTS}")
    return points


def _range(coordinates: np.ndarray, count: int, margin: float) -> np.ndarray:
    """Return evenly spaced coordinates over the path and a margin."""
    low, high = float(coordinates.min()), float(coordinates.max())
    wider = margin * (high - low) or 0.5 * abs(low) or 0.5
    return np.linspace(low - wider, high + wider, count)


def _last_finite(run: Run, rows: np.ndarray) -> int:
    """Return the position of the last step whose loss and parameters are finite."""
    good = [row for row in rows.tolist() if isfinite(run.loss[row])]
    return int(good[-1] if good else rows[-1])


def _computed(
    frame: Frame, layout: Flattened, found: Directions, axes: tuple[np.ndarray, ...]
) -> tuple[np.ndarray | None, str]:
    """Return the loss at every point of the grid, or None and why not."""
    grid = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, len(axes))
    try:
        losses = losses_at(frame, found.origin + grid @ found.vectors, layout.parameters)
    except GradvizError as error:
        said = frame.meta.get("replay", "exact")
        return None, error.message if said == "exact" else str(said)
    return losses.reshape(tuple(len(axis) for axis in reversed(axes))), ""
