"""Data, and what the model made of them before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import GradvizTypeError, GradvizValueError
from gradviz.graphs import Frame
from gradviz.style.colours import BRIGHT, LIGHT
from gradviz.style.wording import format_number
from gradviz.views.plot.canvas import Canvas, canvas, named, within
from gradviz.views.plot.curves import NO_STEPS
from gradviz.views.plot.data import Places, found_places, numbers_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gradviz.tracing.reading import Run

__all__ = ["fit"]

SMOOTH = 200  # points of a line that a function draws


@dataclass(frozen=True)
class Curve:
    """The prediction at one step."""

    step: int
    loss: float
    x: np.ndarray
    y: np.ndarray


def fit(
    run: Run,
    *,
    ax: Axes | None = None,
    x: Any = None,
    y: Any = None,
    prediction: Any = None,
    title: str | None = None,
) -> Axes:
    """Plot the data and the prediction in the first and in the last step.

    ``x``, ``y`` and ``prediction`` are names of nodes, found by themselves where the graph compares one
    prediction with one set of data. ``x`` and ``y`` may also be arrays, and ``prediction`` a pair of
    arrays (before, after) or a function of x and the parameters: ``lambda x, w, b: w * x + b``.
    """
    board = canvas(ax)
    board.label(title=title or f"Fit of {named(run.path.name)}", x="x", y="y")
    if not len(run):
        return board.say(NO_STEPS)
    steps = [int(run.steps[0]), int(run.steps[-1])]
    sources = Sources(run, x, y, prediction)
    curves = [sources.curve(step, last=i == 1) for i, step in enumerate(steps)]
    _draw_data(board, *sources.data(steps[-1]))
    _draw_curve(board, curves[0], "before", {"color": BRIGHT["orange"], "linestyle": (0, (6, 2))})
    if len(run) > 1:
        _draw_curve(board, curves[1], "after", {"color": BRIGHT["blue"]})
    board.ax.set_xlabel(named(sources.name(sources.x, "x")))
    board.ax.set_ylabel(named(sources.name(sources.y, "y")))
    board.ax.grid(True, color=LIGHT.faint, alpha=0.35, linewidth=0.6)
    board.legend()
    return board.ax


class Sources:
    """Where x, y and the prediction come from: nodes of the graph, arrays, or a function."""

    def __init__(self, run: Run, x: Any, y: Any, prediction: Any) -> None:
        self.run = run
        self.x, self.y, self.prediction = x, y, prediction
        self._frames: dict[int, Frame] = {}
        self._places: Places | None = None

    def frame(self, step: int) -> Frame:
        """Return the frame of a step; a run has two that matter, and each is read once."""
        if step not in self._frames:
            self._frames[step] = self.run.frame(step)
        return self._frames[step]

    def numbers(self, given: Any, role: str, step: int) -> np.ndarray:
        """Return x or y at a step, in one row."""
        frame = self.frame(step) if given is None or isinstance(given, str) else None
        if isinstance(given, str):
            assert frame is not None
            return numbers_at(frame, [frame.graph.index(given)])
        if frame is not None:
            return numbers_at(frame, getattr(self.places(frame), role))
        return row_of(given, role)

    def places(self, frame: Frame) -> Places:
        """Return what was found in the graph."""
        if self._places is None:
            self._places = found_places(frame.graph)
        return self._places

    def data(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y at a step."""
        x, y = self.numbers(self.x, "x", step), self.numbers(self.y, "y", step)
        return paired(x, y, "y")

    def curve(self, step: int, *, last: bool) -> Curve:
        """Return the prediction at a step, ordered along x."""
        loss = float(self.run.loss[-1 if last else 0])
        x = self.numbers(self.x, "x", step)
        if callable(self.prediction):
            x = np.linspace(x.min(), x.max(), SMOOTH) if len(x) else x
            return Curve(step, loss, x, self._called(self.prediction, x, last=last))
        if self.prediction is None or isinstance(self.prediction, str):
            y = self.numbers(self.prediction, "prediction", step)
        else:
            y = row_of(_one_of(self.prediction, last=last), "prediction")
        x, y = paired(x, y, "the prediction")
        order = np.argsort(x, kind="stable")
        return Curve(step, loss, x[order], y[order])

    def _called(self, function: Callable[..., Any], x: np.ndarray, *, last: bool) -> np.ndarray:
        """Return what the user's function predicts with the parameters of the first or last step."""
        at = -1 if last else 0
        parameters = {name: self.run[at : at + 1 or None][name].value[0] for name in self.run.names}
        y = row_of(function(x, **parameters), "prediction")
        return paired(x, y, "the prediction")[1]

    def name(self, given: Any, role: str) -> str:
        """Return what to call an axis."""
        if isinstance(given, str):
            return given
        if given is None and self._places is not None:
            (first, *others) = getattr(self._places, role)
            graph = next(iter(self._frames.values())).graph
            return role if others else graph.nodes[first].name
        return role


def row_of(given: Any, role: str) -> np.ndarray:
    """Return numbers of the user's in one row."""
    try:
        return np.asarray(getattr(given, "data", given) if hasattr(given, "backward") else given, float).ravel()
    except (TypeError, ValueError):
        raise GradvizTypeError(f"{role} is {str(given)[:80]!r}, which holds no numbers") from None


def paired(x: np.ndarray, y: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Return two rows of the same length, or say that they are not."""
    if x.shape != y.shape:
        raise GradvizValueError(
            f"x has {len(x)} numbers and {what} {len(y)}", hint="a fit is drawn over one x for every prediction"
        )
    return x, y


def _one_of(given: Any, *, last: bool) -> Any:
    """Return the array before or after."""
    if not isinstance(given, Sequence) or len(given) != 2:
        raise GradvizTypeError(
            f"prediction={str(given)[:80]!r}",
            hint="give a node's name, a function, or a pair of arrays (before, after)",
        )
    return given[-1 if last else 0]


def _draw_data(board: Canvas, x: np.ndarray, y: np.ndarray) -> None:
    looks: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 4.2, "markeredgecolor": LIGHT.ink}
    handle = board.ax.plot(x, y, color=BRIGHT["sky blue"], markeredgewidth=0.4, **looks)[0]
    board.entries.append((handle, "data"))


def _draw_curve(board: Canvas, curve: Curve, when: str, looks: dict[str, Any]) -> None:
    finite = within(curve.y)
    handle = board.ax.plot(curve.x, np.where(finite, curve.y, np.nan), linewidth=2.0, zorder=3, **looks)[0]
    rest = "" if finite.all() else ", not finite"
    board.entries.append((handle, f"{when}: step {curve.step}, loss {format_number(curve.loss)}{rest}"))
