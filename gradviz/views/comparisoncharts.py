"""The curves of two runs over each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import GradvizValueError
from gradviz.escape import clean
from gradviz.style.wording import format_number
from gradviz.tracing.comparing import ParameterDiff, RunDiff
from gradviz.views.charts import Series, chart

if TYPE_CHECKING:
    from gradviz.tracing.reading import Run

__all__ = ["Chart", "charts_of", "thinned"]

POINTS = 600  # of one curve
CURVES = 24  # parameters that are drawn
LOG_FROM = 100.0
DIGITS = 8
NAME_LENGTH = 40


@dataclass(frozen=True)
class Chart:
    """One chart: what it shows, the picture, and its numbers for the cursor."""

    of: str
    caption: str
    svg: str
    data: list[dict[str, Any]]


def charts_of(found: RunDiff) -> list[Chart]:
    """Return the charts of a comparison: loss, how far the losses are apart, and parameters."""
    if found.runs is None:
        return []
    return [made for made in _charts(found, *found.runs) if made is not None]


def _charts(found: RunDiff, a: Run, b: Run) -> Iterator[Chart | None]:
    since = None if found.loss is None else found.loss.step
    yield made("loss", "Loss", (a.steps, a.loss), (b.steps, b.loss), since)
    if since is not None:
        yield _apart(a, b, since)
    chosen = sorted(found.parameters, key=lambda one: one.value is None and one.gradient is None)[:CURVES]
    for one in chosen:
        yield _curves(one, a, b)


def _curves(one: ParameterDiff, a: Run, b: Run) -> Chart | None:
    """Return the chart of one parameter: of a scalar its value, of an array its norm."""
    name = clean(one.name, NAME_LENGTH)
    caption = f"‖{name}‖, the norm" if one.is_norm else name
    since = None if one.value is None else one.value.step
    sides = [(run.steps, _numbers(run, one.name, is_norm=one.is_norm)) for run in (a, b)]
    return made("parameter", caption, sides[0], sides[1], since)


def _numbers(run: Run, name: str, *, is_norm: bool) -> np.ndarray:
    history = run[name]
    try:
        numbers = history.norm if is_norm else history.value
    except GradvizValueError:  # its shape changes during the run
        return np.full(len(run), np.nan)
    found = np.ma.filled(np.ma.asarray(numbers).astype(complex), np.nan)
    return np.asarray(np.abs(found) if np.iscomplexobj(numbers) else found.real)


def _apart(a: Run, b: Run, since: int) -> Chart | None:
    """Return how far the losses are apart, relative to their size."""
    steps, at_a, at_b = np.intersect1d(a.steps, b.steps, return_indices=True)
    one, other = a.loss[at_a], b.loss[at_b]
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(one), np.abs(other))
        apart = np.where(size == 0, 0.0, np.abs(one / size - other / size))  # NaN where one of them is not finite
    some = apart[apart > 0]
    kept = apart > 0 if len(some) and some.max() > LOG_FROM * some.min() else apart >= 0  # no 0 on a log axis
    label = "How far the losses are apart: |A - B| / max(|A|, |B|)"
    return _chart("loss", label, [("|A - B|", "after", steps[kept], apart[kept])], since)


def made(
    of: str, caption: str, a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray], since: int | None
) -> Chart | None:
    """Return a chart of the same number in both runs, None if there is nothing to show."""
    bad = [int((~np.isfinite(numbers)).sum()) for _, numbers in (a, b)]
    if any(bad):
        caption += f" (not finite in {bad[0]} | {bad[1]} steps)"
    return _chart(of, caption, [("A", "after", *a), ("B", "before", *b)], since)


def _chart(
    of: str, caption: str, curves: list[tuple[str, str, np.ndarray, np.ndarray]], since: int | None
) -> Chart | None:
    shown = [(name, role, *thinned(steps, numbers, since)) for name, role, steps, numbers in curves]
    numbers = np.concatenate([numbers for *_, numbers in shown])
    if not len(numbers):
        return None
    log = bool((numbers > 0).all() and numbers.max() > LOG_FROM * numbers.min())
    series = [Series(name, steps.tolist(), heights.tolist(), role) for name, role, steps, heights in shown]
    if since is not None:
        ends = [float(numbers.min()), float(numbers.max())]
        series.append(Series("they part", [float(since)] * 2, ends, "other"))
    svg = chart(series, title=caption, x_label="step", y_label="log scale" if log else "", log=log)
    return Chart(of, caption, svg, [_data(name, role, steps, heights) for name, role, steps, heights in shown])


def _data(name: str, role: str, steps: np.ndarray, numbers: np.ndarray) -> dict[str, Any]:
    """Return a curve's numbers for the cursor."""
    texts = [format_number(number, DIGITS) for number in numbers.tolist()]
    return {"name": name, "role": role, "steps": steps.astype(int).tolist(), "texts": texts}


def thinned(steps: np.ndarray, numbers: np.ndarray, keep: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return what is finite of a curve, in at most 600 points: of each bin the lowest and the highest.

    The first, the last and the step ``keep`` stay.

    >>> steps, numbers = thinned(np.arange(100_000), np.sin(np.arange(100_000.0)))
    >>> len(steps) <= 606, steps[[0, -1]]
    (True, array([    0, 99999]))
    """
    finite = np.abs(numbers) < 1e300
    steps, numbers = steps[finite], numbers[finite]
    if len(steps) <= POINTS:
        return steps, numbers
    starts = np.linspace(0, len(steps), POINTS // 2 + 1).astype(int)
    kept = {0, len(steps) - 1, *np.flatnonzero(steps == keep).tolist()}
    for start, stop in pairwise(starts.tolist()):
        kept |= {start + int(at(numbers[start:stop])) for at in (np.argmin, np.argmax)}
    places = sorted(kept)
    return steps[places], numbers[places]
