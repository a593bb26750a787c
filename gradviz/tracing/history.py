"""One parameter over the iterations of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from gradviz.errors import GradvizValueError
from gradviz.escape import clean
from gradviz.tracing.layout import EXPONENT_BINS, STATS
from gradviz.tracing.statistics import exponents, norm, statistics

if TYPE_CHECKING:
    from gradviz.tracing.reading import Run

__all__ = ["STATS_DTYPE", "History"]

STATS_DTYPE = np.dtype([(name, np.float64) for name in STATS])
HISTORY_LIMIT = 1 << 33  # bytes of one history

NORM = STATS.index("norm")
WHOLE = {"value": ("value", "input", "node"), "grad": ("grad", "grad_node")}
Pieces = Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]  # positions, numbers, and of each whether it is there


class History:
    """One parameter (or an input that changes) over the iterations of a run.

    Every array has one entry per step along its first axis, and is masked where nothing is known: no gradient had
    reached the parameter, less was recorded, or the trace is damaged there.

    In a run that recorded arrays at every so manieth step only, ``value``, ``grad``, ``stats`` and ``exponents`` are
    computed again step by step, at the cost of training once more; ``norm`` and ``grad_norm`` are read.
    """

    def __init__(self, run: Run, name: str) -> None:
        self._run = run
        self.name = name

    @property
    def value(self) -> np.ndarray:
        """Its values: an array of shape ``(steps, *shape)``."""
        return self._full("value")

    @property
    def grad(self) -> np.ndarray:
        """Its gradients: an array of shape ``(steps, *shape)``."""
        return self._full("grad")

    @property
    def norm(self) -> np.ndarray:
        """The Euclidean norm of its value at every step."""
        return self._norms("value")

    @property
    def grad_norm(self) -> np.ndarray:
        """The Euclidean norm of its gradient at every step."""
        return self._norms("grad")

    @property
    def stats(self) -> np.ndarray:
        """Statistics of its value: a structured array with ``min max mean norm zeros nans infs`` (`statistics`)."""
        return self._stats("value")

    @property
    def grad_stats(self) -> np.ndarray:
        """Statistics of its gradient: a structured array with ``min max mean norm zeros nans infs``."""
        return self._stats("grad")

    @property
    def exponents(self) -> np.ndarray:
        """How many elements of its value have which power of two: ``(steps, 256)`` counts (`exponents`)."""
        return self._exponents("value")

    @property
    def grad_exponents(self) -> np.ndarray:
        """How many elements of its gradient have which power of two: ``(steps, 256)`` counts."""
        return self._exponents("grad")

    def _full(self, what: str) -> np.ndarray:
        run = self._run.now
        parts = {part for structure in run.structures for name, part in structure.rows.columns if name == self.name}
        whole = {*WHOLE[what], _part(what, "digest")}
        if parts & {*_parts(what, "stats")} and not whole & parts:
            raise self._only("statistics", _part(what, "stats"))
        if parts & {*_parts(what, "norm")} and not whole & parts:
            raise self._only("norm", _part(what, "norm"))
        return assembled(len(run), self._numbers(run, what), self.name)

    def _only(self, what: str, part: str) -> GradvizValueError:
        verb = "was" if what == "norm" else "were"
        return GradvizValueError(
            f"only the {what} of {self.name!r} {verb} recorded", hint=f"read .{part}, or trace with level='full'"
        )

    def _norms(self, what: str) -> np.ndarray:
        run = self._run.now
        stats = ((at, found[:, NORM], there) for at, found, there in self._recorded(run, *_parts(what, "stats")))
        measured = _each(self._numbers(run, what, replay=False), _norms_of)
        return assembled(len(run), chain(self._recorded(run, *_parts(what, "norm")), stats, measured), self.name)

    def _stats(self, what: str) -> np.ndarray:
        run = self._run.now
        pieces = chain(self._recorded(run, *_parts(what, "stats")), _each(self._numbers(run, what), _stats_of))
        found = np.full((len(run), len(STATS)), np.nan)
        mask = np.ones(found.shape, bool)
        for positions, norms, there in self._recorded(run, *_parts(what, "norm")):
            found[positions, NORM], mask[positions, NORM] = norms, ~there
        for positions, stats, there in pieces:
            found[positions[there]], mask[positions[there]] = stats[there], False
        stats = found.view(STATS_DTYPE)[:, 0]
        if not mask.any():
            return stats
        return np.ma.masked_array(stats, mask.view([(name, bool) for name in STATS])[:, 0])

    def _exponents(self, what: str) -> np.ndarray:
        run = self._run.now
        nothing = np.zeros(0, np.int64), np.zeros((0, EXPONENT_BINS), np.uint32), np.zeros(0, bool)
        counted = _each(self._numbers(run, what), _exponents_of)
        return assembled(len(run), chain([nothing], self._recorded(run, _part(what, "exponents")), counted), self.name)

    def _recorded(self, run: Run, *parts: str) -> Pieces:
        """Yield one of its columns as far as it was recorded."""
        for positions, structure, rows in run.pieces():
            column = next(filter(None, (structure.rows.columns.get((self.name, part)) for part in parts)), None)
            if column is not None:
                yield positions, *structure.rows.read(column, rows)

    def _numbers(self, run: Run, what: str, *, replay: bool = True) -> Pieces:
        """Yield its values or gradients; what was not recorded is computed again if that is wanted and possible."""
        yield from self._recorded(run, *WHOLE[what])
        if replay:
            positions = [at for at, _, _ in self._recorded(run, _part(what, "digest"))]
            yield from self._replayed(run, what, np.sort(np.concatenate([np.zeros(0, np.int64), *positions])))

    def _replayed(self, run: Run, what: str, positions: np.ndarray) -> Pieces:
        for position in positions.tolist():
            number = run.replayed_number(position, self.name, what)
            if number is not None:
                yield np.array([position]), np.asarray(number)[None], np.ones(1, bool)

    def __len__(self) -> int:
        return len(self._run)

    def __repr__(self) -> str:
        return f"History({clean(repr(self.name))}, {len(self)} steps)"


def _part(what: str, measure: str) -> str:
    """Return the name of the part that holds a measure of the value or the gradient."""
    return measure if what == "value" else f"grad_{measure}"


def _parts(what: str, measure: str) -> tuple[str, str]:
    """Return the names of the parts that hold a measure of a parameter, and of a node that is none."""
    return _part(what, measure), f"{'node' if what == 'value' else 'grad_node'}_{measure}"


def _each(pieces: Pieces, measure: Callable[[np.ndarray], np.ndarray]) -> Pieces:
    """Measure every number of the pieces by itself."""
    for positions, numbers, there in pieces:
        measured = measure(numbers[there])
        found = np.zeros((len(numbers), *measured.shape[1:]), measured.dtype)
        found[there] = measured
        yield positions, found, there


def _norms_of(numbers: np.ndarray) -> np.ndarray:
    if numbers.ndim == 1:
        sizes: np.ndarray = np.abs(numbers).astype(float)
        return sizes
    return np.fromiter(map(norm, numbers), float, len(numbers))


def _stats_of(numbers: np.ndarray) -> np.ndarray:
    if numbers.ndim > 1:
        return np.array([statistics(number)[0] for number in numbers]).reshape(-1, len(STATS))
    size = _norms_of(numbers)
    real = (size if numbers.dtype.kind == "c" else numbers).astype(float)
    finite = np.where(np.isfinite(real), real, np.nan)
    return np.stack([finite, finite, finite, size, real == 0, np.isnan(real), np.isinf(real)], axis=1)


def _exponents_of(numbers: np.ndarray) -> np.ndarray:
    return np.array([exponents(number) for number in numbers], np.uint32).reshape(-1, EXPONENT_BINS)


def assembled(length: int, pieces: Pieces, name: str) -> np.ndarray:
    """Put the pieces of a column together, masked where something is missing."""
    values = np.zeros(0)
    there: np.ndarray | None = None
    for positions, numbers, present in pieces:
        if there is None:
            if len(positions) == length and present.all():
                return numbers
            values, there = _empty(length, numbers, name), np.zeros(length, bool)
        if numbers.shape[1:] != values.shape[1:]:
            raise GradvizValueError(
                f"the shape of {name!r} changes during the run: {values.shape[1:]}, {numbers.shape[1:]}",
                hint="take a part of the run first: run[:100]",
            )
        values = values.astype(np.result_type(values, numbers), copy=False)
        values[positions[present]] = numbers[present]
        there[positions] = present
    if there is None:
        values, there = _empty(length, values, name), np.zeros(length, bool)
    if there.all():
        return values
    mask = np.broadcast_to(~there.reshape(-1, *(1 for _ in values.shape[1:])), values.shape)
    return np.ma.masked_array(values, mask.copy())


def _empty(length: int, numbers: np.ndarray, name: str) -> np.ndarray:
    """Return room for the history of such numbers."""
    size = length * prod(numbers.shape[1:]) * numbers.itemsize
    if size > HISTORY_LIMIT:
        raise GradvizValueError(
            f"the history of {name!r} has {size} bytes: the limit is {HISTORY_LIMIT}",
            hint="take a part of the run first: run[:100]",
        )
    return np.full((length, *numbers.shape[1:]), np.nan if numbers.dtype.kind in "fc" else 0, numbers.dtype)
