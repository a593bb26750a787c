"""Two runs read side by side, step by step: the first step in which a number differs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradviz.tracing.layout import Column, digest
from gradviz.tracing.measuring import Difference, measured
from gradviz.tracing.statistics import norm, statistics

if TYPE_CHECKING:
    from gradviz.tracing.opening import StructureRows
    from gradviz.tracing.reading import Run

__all__ = ["Side", "Size", "common_steps", "differences", "differing_rows", "first_difference", "least_form"]

BLOCK_BYTES = 1 << 24  # of rows read at once from each run
FORMS = ("exact", "digest", "stats", "norm")  # from the most telling to the least
PARTS = {
    "value": {"exact": "value", "digest": "digest", "stats": "stats", "norm": "norm"},
    "gradient": {"exact": "grad", "digest": "grad_digest", "stats": "grad_stats", "norm": "grad_norm"},
    "input": {"exact": "input"},
}
VALUES = ("value", "input")


class Size(NamedTuple):
    """A single number that stands for a parameter: its value, or its norm."""

    number: float | None
    is_norm: bool = False


class Side:
    """One of the two runs: where every iteration lies, and what was recorded of a parameter there."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.parts: dict[int, StructureRows] = {}
        self.segments = np.zeros(len(run), np.int64)
        self.rows = np.zeros(len(run), np.int64)
        for positions, part, rows in run.pieces():
            self.parts[part.number] = part
            self.segments[positions] = part.number
            self.rows[positions] = rows

    @cached_property
    def names(self) -> dict[str, None]:
        """Everything recorded beside the loss, parameters first."""
        return dict.fromkeys((*self.run.names, *self.run.inputs))

    def forms(self, segment: int, name: str, what: str) -> dict[str, Column]:
        """Return in which forms a number was recorded in one segment."""
        columns = self.parts[segment].rows.columns
        found = {form: columns.get((name, part)) for form, part in PARTS[what].items()}
        return {form: column for form, column in found.items() if column is not None}

    def read(self, segment: int, column: Column, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return a column at positions that lie in one segment, and of each whether it is there."""
        return self.parts[segment].rows.read(column, self.rows[positions])

    def size(self, positions: np.ndarray, name: str) -> Size:
        """Return the value of a scalar, or the norm of an array, at the first of some positions."""
        for position in positions[:1].tolist():
            segment = int(self.segments[position])
            forms = self.forms(segment, name, "value") or self.forms(segment, name, "input")
            exact = forms.get("exact")
            if exact is not None and exact.shape == ():
                numbers, there = self.read(segment, exact, positions[:1])
                return Size(_real(numbers[0]) if there[0] else None)
            if forms:
                wanted = name, "value" if self.forms(segment, name, "value") else "input", "norm"
                norms, there = _made(self, segment, positions[:1], wanted)
                return Size(float(norms[0]) if there[0] else None, is_norm=True)
        return Size(None)


def common_steps(a: Run, b: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the steps that both runs have, in their order; of a repeated step the last."""
    one, other = _last_positions(a), _last_positions(b)
    shared = [step for step in one if step in other]
    pairs = [(one[step], other[step]) for step in shared]
    found = np.array(pairs, np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _last_positions(run: Run) -> dict[int, int]:
    return {step: position for position, step in enumerate(run.steps.tolist())}


def first_difference(
    a: Side, b: Side, at: tuple[np.ndarray, np.ndarray], name: str, what: str
) -> tuple[int, Difference] | None:
    """Return the place in ``at``, and how it differs, of the first step in which a number is not the same in both.

    Compared is the most telling of what both have recorded; steps in which they have nothing in common are
    passed over.
    """
    return next(differences(a, b, at, name, what), None)


def differences(
    a: Side, b: Side, at: tuple[np.ndarray, np.ndarray], name: str, what: str
) -> Iterator[tuple[int, Difference]]:
    """Yield every place in ``at`` in which a number is not the same in both, and how it differs; read as it is asked.

    Of steps on end in which one of the two has not recorded the parameter at all, only the first is told.
    """
    for start, stop, segments in _stretches(a, b, at):
        shared = _shared_form(a.forms(segments[0], name, what), b.forms(segments[1], name, what))
        if shared is None:
            if what == "value" and _one_only(a, b, segments, name):
                yield start, Difference(what, name, int(a.run.steps[at[0][start]]), None, None)
            continue
        for begin, end in _blocks(start, stop, a, b, segments):
            found = _in_block(a, b, (at[0][begin:end], at[1][begin:end]), segments, (name, what, shared))
            yield from ((begin + i, difference) for i, difference in found)


def least_form(a: Side, b: Side, at: tuple[np.ndarray, np.ndarray], name: str) -> str | None:
    """Return the least telling form in which the value of a parameter is compared; None if in a step there is none.

    An input is recorded from the step on in which it has changed; that it had not before is no lack.
    """
    forms: set[str | None] = set()
    for _, _, segments in _stretches(a, b, at):
        found = (_shared_form(a.forms(segments[0], name, what), b.forms(segments[1], name, what)) for what in VALUES)
        forms.add(next(filter(None, found), None))
    if None in forms and name in a.run.names:
        return None
    return max(filter(None, forms), key=FORMS.index, default=None)


def _one_only(a: Side, b: Side, segments: tuple[int, int], name: str) -> bool:
    """Tell whether one run has a parameter in these segments that the other does not have among those it recorded."""
    parts = a.parts[segments[0]], b.parts[segments[1]]
    return all(part.names for part in parts) and (name in parts[0].names) is not (name in parts[1].names)


def _stretches(a: Side, b: Side, at: tuple[np.ndarray, np.ndarray]) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """Yield the pieces of the common steps that lie in one segment of each run."""
    pairs = np.stack([a.segments[at[0]], b.segments[at[1]]], axis=1)
    breaks = np.flatnonzero((np.diff(pairs, axis=0) != 0).any(axis=1)) + 1 if len(pairs) else np.zeros(0, int)
    for start, stop in zip([0, *breaks.tolist()], [*breaks.tolist(), len(pairs)], strict=True):
        if stop > start:
            yield start, stop, (int(pairs[start, 0]), int(pairs[start, 1]))


def _blocks(start: int, stop: int, a: Side, b: Side, segments: tuple[int, int]) -> Iterator[tuple[int, int]]:
    widest = max(side.parts[segment].rows.layout.itemsize for side, segment in zip((a, b), segments, strict=True))
    size = max(1, BLOCK_BYTES // widest)
    for begin in range(start, stop, size):
        yield begin, min(begin + size, stop)


def _shared_form(one: dict[str, Column], other: dict[str, Column]) -> str | None:
    """Return the most telling form that both have, or that can be made of what they have."""
    for form in FORMS:
        if all(_can_make(form, found) for found in (one, other)):
            return form
    return None


def _can_make(form: str, found: dict[str, Column]) -> bool:
    exact = found.get("exact")
    if form in found or (form == "norm" and "stats" in found):
        return True
    return exact is not None and (form != "digest" or not exact.is_scalar)


def _in_block(
    a: Side,
    b: Side,
    at: tuple[np.ndarray, np.ndarray],
    segments: tuple[int, int],
    wanted: tuple[str, str, str],
) -> Iterator[tuple[int, Difference]]:
    """Yield the differences in one block of steps."""
    name, what, form = wanted
    one, there = _made(a, segments[0], at[0], wanted)
    other, there_too = _made(b, segments[1], at[1], wanted)
    for i in differing_rows(one, there, other, there_too).tolist():
        first, second = one[i] if there[i] else None, other[i] if there_too[i] else None
        yield i, _told(a, b, (at[0][i], at[1][i]), segments, (name, what, form), (first, second))


def differing_rows(one: np.ndarray, there: np.ndarray, other: np.ndarray, there_too: np.ndarray) -> np.ndarray:
    """Return the rows in which two blocks of numbers are not the same, bit for bit."""
    if one.shape != other.shape or one.dtype != other.dtype:
        same = np.array([measured(x, y) is None for x, y in zip(one, other, strict=True)], bool)
    else:
        flat = [np.ascontiguousarray(numbers).reshape(len(numbers), -1).view(np.uint8) for numbers in (one, other)]
        same = (flat[0] == flat[1]).all(axis=1)
    return np.flatnonzero((there != there_too) | (there & there_too & ~same))


def _made(
    side: Side, segment: int, positions: np.ndarray, wanted: tuple[str, str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return a number at some positions in a certain form."""
    name, what, form = wanted
    forms = side.forms(segment, name, what)
    if form in forms:
        return side.read(segment, forms[form], positions)
    if form == "norm" and "stats" in forms:
        stats, there = side.read(segment, forms["stats"], positions)
        return stats[:, 3], there
    numbers, there = side.read(segment, forms["exact"], positions)
    measure: Any = {"digest": digest, "norm": norm, "stats": lambda number: statistics(number)[0]}[form]
    return np.array([measure(np.ascontiguousarray(number)) for number in numbers]), there


def _told(
    a: Side,
    b: Side,
    at: tuple[int, int],
    segments: tuple[int, int],
    wanted: tuple[str, str, str],
    pair: tuple[Any, Any],
) -> Difference:
    """Return what differs; where only checksums or statistics were compared, with the norms."""
    name, what, form = wanted
    step = int(a.run.steps[at[0]])
    if form in {"digest", "stats"}:
        norms = [_norm_at(side, segment, i, name, what) for side, segment, i in zip((a, b), segments, at, strict=True)]
        return Difference(what, name, step, norms[0], norms[1], form=form)
    found = measured(*(_number(number) for number in pair))
    assert found is not None
    made = found.of(what, name, step)
    return (
        made if form == "exact" else Difference(what, name, step, made.a, made.b, made.ulps, made.relative, form=form)
    )


def _norm_at(side: Side, segment: int, position: int, name: str, what: str) -> float | None:
    numbers, there = _made(side, segment, np.array([position]), (name, what, "norm"))
    return float(numbers[0]) if there[0] else None


def _real(number: Any) -> float:
    return float(abs(number) if np.iscomplexobj(number) else number)


def _number(number: Any) -> Any:
    """Return a single number as a float, an array as it is."""
    return number.item() if number is not None and np.ndim(number) == 0 else number
