"""What the parameters of a run did, read once for all rules: sizes, gradients, how far each step went.

Of a long run of large parameters, stretches of consecutive steps are read, spread evenly over the run;
everything here is indexed by the positions in ``at``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gradviz.errors import GradvizValueError

__all__ = ["Moves", "RunLike", "Track", "blocks_of", "moves_between", "read"]

NUMBERS_LIMIT = 1 << 22  # numbers read of one run
STRETCHES = 16

Array = np.ndarray
Matrix = tuple[Array, Array]  # (steps, size) numbers, and in which of the steps they are there


class RunLike(Protocol):
    """The part of `gradviz.Run` that the rules use."""

    @property
    def steps(self) -> Array:
        """The number of every iteration."""

    @property
    def loss(self) -> Array:
        """The loss of every iteration."""

    @property
    def names(self) -> Sequence[str]:
        """The names of the parameters."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: Any) -> Any: ...
    def column(self, name: str, kind: str) -> Array:
        """Return one column over all iterations, masked where it is not there."""

    def frame(self, step: int) -> Any:
        """Return one iteration as a frame."""


@dataclass(eq=False)
class Track:
    """One parameter at the positions ``at`` of the run; a number that is not known is NaN."""

    name: str
    at: Array
    norm: Array  # of the value
    grad_norm: Array
    reached: Array  # whether a gradient was there
    bad: Array  # whether there is a NaN or an infinity in value or gradient
    moved: Array  # the norm of the change to the next step
    size: int  # number of elements, 0 if it is not known

    @property
    def rms_grad(self) -> Array:
        """The root mean square of the gradient's elements."""
        found: Array = self.grad_norm / np.sqrt(max(self.size, 1))
        return found


@dataclass(eq=False)
class Moves:
    """What all parameters together did between position ``at`` and the next, s being the step, g the gradient."""

    at: Array
    length: Array  # s·s
    bend: Array  # s·(g after - g before)
    slope: Array  # s·g before
    turn: Array  # the cosine between this step and the next one

    @property
    def overshoot(self) -> Array:
        """Return how far each step went, as a multiple of the way to the lowest point in its direction.

        On a quadratic the slope along the step changes evenly, so it is 0 after ``slope / -bend`` of it. Beyond
        2 the loss is higher than before: for gradient descent that is a learning rate above 2/curvature.
        """
        with np.errstate(all="ignore"):
            found: Array = np.where(self.slope < 0, -self.bend / self.slope, np.nan)
        return found

    @property
    def curvature(self) -> Array:
        """The curvature of the loss along each step: s·y / s·s, at most the largest eigenvalue of a quadratic."""
        with np.errstate(all="ignore"):
            found: Array = self.bend / self.length
        return found


class Sums:
    """Adds up over the parameters what `Moves` holds."""

    def __init__(self, count: int) -> None:
        self.length, self.bend, self.slope = np.zeros((3, max(count - 1, 0)))
        self.along = np.zeros(max(count - 2, 0))

    def add(self, values: Matrix, grads: Matrix) -> Array:
        """Add one parameter and return how far it moved; where its value is not known nothing is known."""
        (w, there), (g, reached) = values, grads
        g = np.where(reached[:, None], g, 0.0) if g.shape == w.shape else np.full(w.shape, np.nan)
        s = np.diff(np.where(there[:, None], w, np.nan), axis=0)
        squares = _dot(s, s)
        self.length += squares
        self.bend += _dot(s, np.diff(g, axis=0))
        self.slope += _dot(s, g[:-1])
        self.along += _dot(s[:-1], s[1:])
        moved: Array = np.sqrt(squares)
        return moved

    def moves(self, at: Array) -> Moves:
        """Return the sums for these positions."""
        turn = np.full(len(self.length), np.nan)
        turn[:-1] = self.along / np.sqrt(self.length[:-1] * self.length[1:])
        return Moves(at[:-1], self.length, self.bend, self.slope, turn)


def blocks_of(run: RunLike) -> list[tuple[int, int]]:
    """Return the stretches of the run that are read, as (start, stop)."""
    count = len(run)
    if not count:
        return []
    row = max(1, sum(np.size(cell) for cell in next(iter(run[:1])).values()))
    if row * count <= NUMBERS_LIMIT:
        return [(0, count)]
    length = max(2, NUMBERS_LIMIT // row // STRETCHES)
    starts = np.unique(np.linspace(0, count - length, STRETCHES).astype(int)).tolist()
    return [(start, min(start + length, count)) for start in starts]


def read(run: RunLike) -> tuple[dict[str, Track], Moves]:
    """Return what every parameter did, and what all of them did together."""
    tracks: dict[str, list[Track]] = {name: [] for name in run.names}
    moves: list[Moves] = []
    before = 0
    for first, stop in blocks_of(run):
        start, before = max(first, before), stop  # stretches of a short run may overlap
        if start >= stop:
            continue
        block, at = run[start:stop], np.arange(start, stop)
        sums = Sums(stop - start)
        with np.errstate(all="ignore"):
            for name in run.names:
                tracks[name].append(_track(block, name, at, sums))
            moves.append(sums.moves(at))
    return {name: _joined_track(name, parts) for name, parts in tracks.items() if parts}, joined_moves(moves)


def _track(block: Any, name: str, at: Array, sums: Sums) -> Track:
    """Read one parameter over one stretch."""
    values, grads = _matrix(block, name, "value"), _matrix(block, name, "grad")
    norm, value_there = _norms(block, name, "", values)
    grad_norm, reached = _norms(block, name, ".grad", grads)
    moved = np.full(len(at), np.nan)
    if values is None:
        sums.length += np.nan
    else:
        size = values[0].shape[1]
        moved[:-1] = sums.add(values, grads or (np.zeros((len(at), size)), np.zeros(len(at), bool)))
    bad = (value_there & _bad(values, norm)) | (reached & _bad(grads, grad_norm))
    size = max((matrix[0].shape[1] for matrix in (values, grads) if matrix), default=0)
    return Track(name, at, norm, grad_norm, reached, bad, moved, size)


def _matrix(block: Any, name: str, kind: str) -> Matrix | None:
    """Return a column as a matrix with one row per step; None if it is nowhere there or its shape changes."""
    try:
        column = block.column(name, kind)
    except GradvizValueError:
        return None
    there = np.asarray(~np.ma.getmaskarray(column).reshape(len(column), -1).any(axis=1))
    if not there.any():
        return None
    numbers = np.asarray(column)
    numbers = numbers.reshape(len(numbers), -1)
    if numbers.dtype.kind == "c":
        numbers = np.hstack([numbers.real, numbers.imag])
    return numbers.astype(np.float64, copy=False), there


def _norms(block: Any, name: str, suffix: str, matrix: Matrix | None) -> tuple[Array, Array]:
    """Return the norm at every step (NaN: not known) and at which steps it is there."""
    if matrix is not None and matrix[1].all():
        return norms(matrix[0]), matrix[1]
    try:
        history = block[name]
        recorded = history.grad_norm if suffix else history.norm
    except GradvizValueError:  # its shape changes: one row at a time
        return _norms_by_row(block, name + suffix)
    there = ~np.ma.getmaskarray(recorded)
    return np.where(there, np.ma.getdata(recorded).astype(float), np.nan), there


def _norms_by_row(block: Any, label: str) -> tuple[Array, Array]:
    cells = [row.get(label, row.get(f"{label}.norm")) for row in block]
    found = [np.nan if cell is None else float(norms(np.reshape(cell, (1, -1)))[0]) for cell in cells]
    return np.array(found, float), np.array([cell is not None for cell in cells], bool)


def norms(rows: Array) -> Array:
    """Return the Euclidean norm of every row, without overflow.

    >>> norms(np.array([[3.0, 4.0], [0.0, 1e200], [0.0, 0.0]])).tolist()
    [5.0, 1e+200, 0.0]
    """
    rows = np.abs(rows)
    top = rows.max(axis=1, initial=0.0)
    scale = np.where((top > 0) & np.isfinite(top), top, 1.0)
    scaled = rows / scale[:, None]
    found: Array = scale * np.sqrt(_dot(scaled, scaled))
    return found


def _bad(matrix: Matrix | None, norm: Array) -> Array:
    if matrix is None:
        return np.asarray(~np.isfinite(norm))
    numbers, there = matrix
    found: Array = np.where(there, ~np.isfinite(numbers).all(axis=1) | np.isinf(norm), ~np.isfinite(norm))
    return found


def _dot(a: Array, b: Array) -> Array:
    found: Array = np.einsum("ij,ij->i", a, b)
    return found


def _joined_track(name: str, parts: list[Track]) -> Track:
    fields = ("at", "norm", "grad_norm", "reached", "bad", "moved")
    at, norm, grad_norm, reached, bad, moved = (np.concatenate([getattr(part, f) for part in parts]) for f in fields)
    return Track(name, at, norm, grad_norm, reached, bad, moved, max(part.size for part in parts))


def joined_moves(parts: Iterable[Moves]) -> Moves:
    """Put the moves of several stretches one after the other."""
    known = list(parts)
    fields = ("at", "length", "bend", "slope", "turn")
    at, *sums = (np.concatenate([np.zeros(0), *(getattr(part, field) for part in known)]) for field in fields)
    return Moves(at.astype(int), *sums)


def moves_between(pairs: Iterable[tuple[int, Any, Any]]) -> Moves:
    """Return the moves from one frame to the next; each pair is (position, frame, frame after it)."""
    found = []
    for position, before, after in pairs:
        sums = Sums(2)
        with np.errstate(all="ignore"):
            for node in before.graph.nodes:
                if node.kind == "param":
                    values, grads = _pair(node, before, after)
                    sums.add(values, grads)
            found.append(sums.moves(np.array([position, position + 1])))
    return joined_moves(found)


def _pair(node: Any, before: Any, after: Any) -> tuple[Matrix, Matrix]:
    """Return value and gradient of a parameter in two frames as matrices of two rows."""
    same = node.name in after.graph
    made = []
    for now, later in ((before.value(node.id), after.value(node.name) if same else None),
                       (before.grad(node.id), after.grad(node.name) if same else None)):  # fmt: skip
        size = max(np.size(now) if now is not None else 1, 1)
        fits = [x is not None and np.size(x) == size for x in (now, later)]
        rows = [np.ravel(x).astype(float) if fit else np.zeros(size) for x, fit in zip((now, later), fits, strict=True)]
        made.append((np.array(rows), np.array(fits)))
    return made[0], made[1]
