"""What all plots share: Axes to draw on, the look of lines, the legend, and the marks of what cannot be drawn."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import GradvizValueError, MissingExtraError
from gradviz.escape import clean
from gradviz.style.colours import BRIGHT, LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "ALARM",
    "Canvas",
    "Line",
    "Masked",
    "canvas",
    "colour_map",
    "look",
    "named",
    "spread",
    "within",
]

Masked = Any  # a masked array of floats: NumPy has no complete types for them
SIZE = (7.2, 4.3)  # inches
NAME_LENGTH = 32
LABELLED = 12  # lines that the legend names
FEW = 40  # points that are marked one by one
BEST_LIMIT = 20_000  # points up to which matplotlib may look for the best place of a legend
COLOURS = ("blue", "orange", "green", "purple", "vermillion", "sky blue")
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.4)), (0, (7, 2, 1.5, 2)))
MINOR = "#a3acb6"  # lines that the legend does not name
ALARM = BRIGHT["vermillion"]
HUGE, TINY = 1e200, 1e-200  # beyond these the arithmetic of an axis overflows
LOG_FROM = 100.0  # a range of so many times its least value is drawn on a log axis
SYMLOG_FROM = 1e4
PLACES: dict[str, dict[str, Any]] = {
    "beside": {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0},
    "below": {"loc": "upper center", "bbox_to_anchor": (0.5, -0.13), "borderaxespad": 0.0},
}
WINDOWLESS = {"agg", "cairo", "pdf", "pgf", "ps", "svg", "template"}
SCALES = ("auto", "linear", "log", "symlog")


@dataclass(frozen=True)
class Line:
    """One line: a number per step, masked where there is none; a NaN or infinity in it is shown as such.

    ``x`` are its own steps, if they are not those of the run.
    """

    label: str
    y: Masked
    x: np.ndarray | None = None


class Canvas:
    """Axes, and whether their figure is ours."""

    def __init__(self, ax: Axes, *, own: bool) -> None:
        self.ax = ax
        self.own = own
        self.entries: list[tuple[Any, str]] = []  # of the legend
        self.points = 0

    def label(self, *, title: str, x: str, y: str) -> None:
        """Write title and axis labels."""
        self.ax.set_title(title, loc="left")
        self.ax.set_xlabel(x)
        self.ax.set_ylabel(y)

    def say(self, text: str) -> Axes:
        """Write why there is nothing to see."""
        self.ax.text(0.5, 0.5, text, transform=self.ax.transAxes, ha="center", va="center", wrap=True)
        self.ax.set(xticks=[], yticks=[])
        return self.ax

    def count_steps(self) -> None:
        """Mark the x axis with whole numbers."""
        from matplotlib.ticker import MaxNLocator

        self.ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        self.ax.grid(True, color=LIGHT.faint, alpha=0.35, linewidth=0.6)
        self.ax.set_axisbelow(True)

    def legend(self, place: str = "beside") -> None:
        """Name the lines: beside or below the Axes if the figure is ours, else inside."""
        if not self.entries:
            return
        handles, labels = zip(*self.entries, strict=True)
        best = "best" if self.points <= BEST_LIMIT else "upper right"
        where = PLACES[place] | {"ncols": len(labels) if place == "below" else 1} if self.own else {"loc": best}
        made = self.ax.legend(handles, [f"{i}" for i in range(len(labels))], **where)
        made.get_frame().set_linewidth(0.0)
        for text, label in zip(made.get_texts(), labels, strict=True):  # set late: a leading _ would drop the entry
            text.set_text(label)

    def lines(self, x: np.ndarray, lines: Sequence[Line], scale: str) -> None:
        """Draw lines on an axis of this scale, name as many as a legend can hold, and mark what cannot be drawn."""
        kind = chosen_scale(scale, [line.y for line in lines])
        self.ax.set_yscale(kind, **(linear_part(lines) if kind == "symlog" else {}))
        chief = spread(len(lines), LABELLED)
        for i in (i for i in range(len(lines)) if i not in set(chief)):
            self._draw(x, lines[i], kind, {"color": MINOR, "linewidth": 0.7, "alpha": 0.7, "zorder": 1.5})
        for place, i in enumerate(chief):
            handle = self._draw(x, lines[i], kind, look(place))
            if len(lines) > 1:
                self.entries.append((handle, named(lines[i].label)))
        if len(lines) > len(chief):
            self._name_the_rest(len(lines) - len(chief))
        self._mark(x, lines, kind)

    def _draw(self, x: np.ndarray, line: Line, kind: str, looks: dict[str, Any]) -> Any:
        x, y = x if line.x is None else line.x, np.ma.filled(line.y, np.nan)
        drawable = within(y) & ((y > TINY) | (kind != "log"))
        self.points += len(x)
        shown = np.where(drawable, y, np.nan)
        lonely = _lonely(drawable) if len(x) > FEW else drawable
        marks: dict[str, Any] = {"marker": "o", "markersize": 3.0, "markevery": np.flatnonzero(lonely).tolist()}
        return self.ax.plot(x, shown, **looks, **(marks if lonely.any() else {}))[0]

    def _name_the_rest(self, count: int) -> None:
        from matplotlib.lines import Line2D

        self.entries.append((Line2D([], [], color=MINOR, linewidth=0.7), f"and {count} more"))

    def _mark(self, x: np.ndarray, lines: Sequence[Line], kind: str) -> None:
        """Mark steps that are not finite or too large at the top, and zeros of a log axis at the bottom."""
        rows = [(x if line.x is None else line.x, np.ma.filled(line.y, 1.0)) for line in lines]
        steps = len(np.unique(np.concatenate([at for at, _ in rows])))
        bad = _where(rows, lambda y: ~np.isfinite(y))
        huge = _where(rows, lambda y: np.isfinite(y) & ~within(y))
        low = _where(rows, lambda y: (y <= TINY) & (kind == "log"))
        self._edge(bad, 0.985, "x", ALARM, f"NaN or inf in {len(bad)} of {steps} steps")
        self._edge(huge, 0.985, "^", LIGHT.muted, f"beyond ±{HUGE:.0e}")
        self._edge(low, 0.015, "v", LIGHT.muted, "0 (below a log axis)")

    def _edge(self, x: np.ndarray, height: float, marker: str, colour: str, label: str) -> None:
        if not len(x):
            return
        handle = self.ax.plot(
            x,
            np.full(len(x), height),
            linestyle="none",
            marker=marker,
            markersize=5.0,
            color=colour,
            transform=self.ax.get_xaxis_transform(),
            clip_on=False,
            zorder=3,
        )[0]
        self.entries.append((handle, label))


def canvas(ax: Axes | None) -> Canvas:
    """Return Axes to draw on: those given, or new ones."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError.of("matplotlib", "plot") from error
    if ax is not None:
        return Canvas(ax, own=False)
    settings: dict[str, Any] = {"figsize": SIZE, "layout": "constrained"}
    if not would_be_shown():
        return Canvas(Figure(**settings).add_subplot(), own=True)
    from matplotlib import pyplot

    return Canvas(pyplot.figure(**settings).add_subplot(), own=True)


def would_be_shown() -> bool:
    """Tell whether there is a window or a notebook in which pyplot would show a figure."""
    if not sys.modules.keys() & {"matplotlib.pyplot", "ipykernel"}:
        return False
    from matplotlib import pyplot

    return str(pyplot.get_backend()).lower() not in WINDOWLESS


def named(name: str) -> str:
    r"""Return a name as matplotlib shows it: on one line, not too long, and never read as a formula.

    >>> named("$x^2$\n")
    '\\$x^2\\$\\n'
    """
    shown = clean(name, NAME_LENGTH)
    return (shown if shown.strip() else f'"{shown}"').replace("$", r"\$")


def look(i: int) -> dict[str, Any]:
    """Return how line ``i`` looks: colours for the eye and dashes for print, both different from its neighbours'.

    >>> look(0)["color"], len({(look(i)["color"], str(look(i)["linestyle"])) for i in range(12)})
    ('#0072b2', 12)
    """
    return {"color": BRIGHT[COLOURS[i % len(COLOURS)]], "linestyle": DASHES[i % len(DASHES)], "linewidth": 1.6}


def spread(count: int, most: int) -> list[int]:
    """Return up to ``most`` of ``count`` positions, spread evenly, with the first and the last.

    >>> spread(3, 12), spread(100, 3)
    ([0, 1, 2], [0, 50, 99])
    """
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def chosen_scale(scale: str, numbers: Sequence[Masked]) -> str:
    """Return the scale of an axis: what was asked for, or log where the numbers span orders of magnitude.

    >>> chosen_scale("auto", [np.ma.array([1.0, 1e-6])]), chosen_scale("auto", [np.ma.array([-1.0, 1.0])])
    ('log', 'linear')
    """
    if scale not in SCALES:
        raise GradvizValueError(f"scale={str(scale)[:80]!r} is no scale", hint=f"allowed: {', '.join(SCALES)}")
    found = finite(numbers)
    if scale == "log" and not (found > 0).any():
        return "linear"
    if scale != "auto" or not found.size:
        return "linear" if scale == "auto" else scale
    sizes = np.abs(found[found != 0])
    if not sizes.size or sizes.max() < LOG_FROM * sizes.min():
        return "linear"
    if (found >= 0).all():
        return "log"
    return "symlog" if sizes.max() > SYMLOG_FROM * np.median(sizes) else "linear"


def linear_part(lines: Sequence[Line]) -> dict[str, float]:
    """Return below which size a symmetric log axis is linear, and how much room that has, so that its labels fit."""
    sizes = np.abs(finite([line.y for line in lines]))
    usual = max(float(np.median(sizes[sizes > 0])), TINY) if (sizes > 0).any() else 1.0
    decades = np.log10(max(float(sizes.max(initial=usual)) / usual, 1.0))
    return {"linthresh": usual, "linscale": max(1.0, float(decades) / 8)}


def within(numbers: np.ndarray) -> np.ndarray:
    """Tell which numbers an axis can hold: those that are finite and not so large that its arithmetic fails."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(numbers) <= HUGE)


def finite(numbers: Sequence[Masked]) -> np.ndarray:
    """Return all numbers that an axis can hold in one row."""
    flat = [np.ma.filled(y, np.nan).ravel() for y in numbers]
    every: np.ndarray = np.concatenate(flat) if flat else np.zeros(0)
    found: np.ndarray = every[within(every)]
    return found


def _where(rows: Sequence[tuple[np.ndarray, np.ndarray]], test: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the steps in which any of the lines passes a test."""
    return np.unique(np.concatenate([x[test(y)] for x, y in rows]))


def _lonely(drawable: np.ndarray) -> np.ndarray:
    """Tell which points have no neighbour that a line could join them to."""
    padded = np.concatenate([[False], drawable, [False]])
    found: np.ndarray = drawable & ~padded[:-2] & ~padded[2:]
    return found


def colour_map() -> Any:
    """Return the colours of a surface: from pale to dark, so that it also reads in grey.

    They run through the blues of Okabe and Ito, ever darker.
    """
    from matplotlib.colors import LinearSegmentedColormap

    stops = ["#f3f8fc", BRIGHT["sky blue"], BRIGHT["blue"], LIGHT.ink]
    return LinearSegmentedColormap.from_list("gradviz", stops)
