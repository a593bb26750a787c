"""Lines over the steps: loss, parameters, gradients, updates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import GradvizTypeError, GradvizValueError
from gradviz.style.colours import LIGHT
from gradviz.views.plot.canvas import Canvas, Line, canvas, named
from gradviz.views.plot.series import masked, parameter_lines, quantity_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gradviz.tracing.reading import Run

__all__ = ["gradients", "loss", "parameters", "updates"]

NO_STEPS = "the run has no steps yet"
ELEMENTS = 16  # of an array that is drawn element by element
MANY_LINES = 12
GUIDE = 1e-3  # an update of about a thousandth is the usual rule of thumb


def loss(run: Run, *, ax: Axes | None = None, scale: str = "auto", runs: Any = None, title: str | None = None) -> Axes:
    """Plot the loss of every step.

    ``runs`` are others to compare with: a list, a dict with their names, or those of `gradviz.open_runs`.
    ``scale`` is auto, linear, log or symlog; auto takes log where a loss above 0 falls a hundredfold or more.
    A step whose loss is NaN or infinite has a cross at the upper edge.
    """
    board = canvas(ax)
    every = [run, *_others(runs, run)]
    board.label(title=title or f"Loss of {named(run.path.name)}", x="step", y="loss")
    if not any(len(one) for one in every):
        return board.say(NO_STEPS)
    labels = told_apart([one.path.parts for one in every])
    lines = [Line(label, masked(one.loss), one.steps) for label, one in zip(labels, every, strict=True)]
    if isinstance(runs, Mapping):
        lines[1:] = [replace(line, label=str(name)) for line, name in zip(lines[1:], runs, strict=True)]
    board.lines(run.steps, lines, scale)
    return _finished(board)


def _others(runs: Any, run: Run) -> list[Run]:
    """Return the runs to compare with."""
    if runs is None:
        return []
    given = list(runs.values()) if isinstance(runs, Mapping) else [runs] if hasattr(runs, "steps") else runs
    try:
        found = [one[:] for one in given]
        kept = found if isinstance(runs, Mapping) else [one for one in found if not _is_same(one, run)]
    except (TypeError, AttributeError):
        raise GradvizTypeError(
            f"runs={str(runs)[:80]!r} is no list of runs", hint="give runs=[run_b] or runs={'b': run_b}"
        ) from None
    return kept


def _is_same(one: Run, other: Run) -> bool:
    """Tell whether two are the same steps of the same run."""
    return one.path == other.path and np.array_equal(one.steps, other.steps)


def told_apart(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """Return as much of the ends of paths as it takes to tell them apart; equal ones are numbered.

    >>> told_apart([("runs", "a"), ("runs", "b")]), told_apart([("x", "a"), ("y", "a"), ("y", "a")])
    (['a', 'b'], ['x/a', 'y/a', 'y/a (2)'])
    """
    longest = max(map(len, paths))
    length = next((n for n in range(1, longest) if len({path[-n:] for path in paths}) == len(set(paths))), longest)
    seen: Counter[str] = Counter()
    labels = []
    for path in paths:
        label = "/".join(path[-length:])
        seen[label] += 1
        labels.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return labels


def parameters(
    run: Run, *, ax: Axes | None = None, elements: int | None = None, scale: str = "auto", title: str | None = None
) -> Axes:
    """Plot every parameter over the steps: scalars and arrays of up to ``elements`` numbers by value.

    Of a larger array, or one of which only the norm was recorded, the norm is drawn and labelled ``‖W‖``.
    Left out, ``elements`` is 16, or 1 where that would make more than 12 lines.
    """
    if elements is not None and (not isinstance(elements, int) or elements < 0):
        raise GradvizValueError(f"elements={str(elements)[:80]!r} is not a number of elements")
    board = canvas(ax)
    board.label(title=title or f"Parameters of {named(run.path.name)}", x="step", y="value, or norm of ‖arrays‖")
    lines = _parameter_lines(run, elements) if len(run) else []
    if not any(line.label.startswith("‖") for line in lines):
        board.ax.set_ylabel("value" if len(lines) != 1 else named(lines[0].label))
    return _drawn(board, run, lines, scale, "the run has no parameters")


def _parameter_lines(run: Run, elements: int | None) -> list[Line]:
    """Return the lines to draw; where elements would be too many, only scalars have lines of their own."""
    lines = list(parameter_lines(run, run.names, ELEMENTS if elements is None else elements))
    if elements is None and len(lines) > MANY_LINES:
        lines = list(parameter_lines(run, run.names, 1))
    return lines


def gradients(
    run: Run, *, ax: Axes | None = None, by: str = "parameter", scale: str = "log", title: str | None = None
) -> Axes:
    """Plot the Euclidean norm of every gradient; ``by="layer"`` puts together what has the same name before a dot."""
    board = canvas(ax)
    label = "norm of the gradient"
    board.label(title=title or f"Gradients of {named(run.path.name)}", x="step", y=label)
    lines = quantity_lines(run, "grad_norm", by) if len(run) else []
    return _drawn(board, run, lines, scale, "the run has no parameters")


def updates(
    run: Run, *, ax: Axes | None = None, by: str = "parameter", scale: str = "log", title: str | None = None
) -> Axes:
    """Plot how far each step moves a parameter, ``‖new - old‖ / ‖old‖``; of a layer, the largest.

    The line at 1e-3 is a rule of thumb: far above it the steps are too large, far below it little is
    learned (A. Karpathy, "A Recipe for Training Neural Networks" and CS231n, "Neural Networks 3: ratio of
    weights:updates"). It needs values: of arrays that were recorded at checkpoints only it is known for the
    step after each (computed again, two steps of training for a point), of arrays with norms alone not at all.
    """
    board = canvas(ax)
    board.label(title=title or f"Updates of {named(run.path.name)}", x="step", y="‖update‖ / ‖parameter‖")
    lines = quantity_lines(run, "update", by) if len(run) > 1 else []
    known = [line for line in lines if not np.ma.getmaskarray(line.y).all()]
    if known:
        guide = board.ax.axhline(GUIDE, color=LIGHT.muted, linestyle=(0, (1, 2)), linewidth=1.2, zorder=1)
        board.entries.append((guide, "1e-3, a rule of thumb"))
    _drawn(board, run, known, scale, "no two values in a row were recorded")
    if known and len(known) < len(lines):
        board.ax.set_xlabel(f"step (of {len(lines) - len(known)} parameters only norms were recorded)")
    return board.ax


def _drawn(board: Canvas, run: Run, lines: list[Line], scale: str, otherwise: str) -> Axes:
    """Draw the lines, or say why there are none."""
    if not len(run):
        return board.say(NO_STEPS)
    if not lines:
        return board.say(otherwise)
    board.lines(run.steps, lines, scale)
    return _finished(board)


def _finished(board: Canvas) -> Axes:
    board.count_steps()
    board.legend()
    return board.ax
