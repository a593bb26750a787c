"""Steps by layers as a map of colours: where gradients vanish, and when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.style.colours import LIGHT
from gradviz.views.plot.canvas import ALARM, Canvas, Line, Masked, canvas, colour_map, named
from gradviz.views.plot.curves import NO_STEPS
from gradviz.views.plot.series import QUANTITIES, quantity_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gradviz.tracing.reading import Run

__all__ = ["heatmap"]

COLUMNS = 1200  # steps side by side; of more, the largest number of each bin is shown
NAMED_ROWS = 30
ZERO = "#d9dde1"


def heatmap(
    run: Run, *, ax: Axes | None = None, of: str = "grad_norm", by: str = "parameter", title: str | None = None
) -> Axes:
    """Colour steps (across) by parameters or layers (down) by the decimal logarithm of a quantity.

    ``of`` is grad_norm, norm or update. Grey is exactly 0, vermillion NaN or infinite, and white
    with hatching where nothing was recorded. Of more than 1,200 steps the largest number of each
    group of neighbours is shown.
    """
    board = canvas(ax)
    lines = quantity_lines(run, of, by) if len(run) else []
    board.label(title=title or f"{QUANTITIES[of].capitalize()}, {named(run.path.name)}", x="step", y="")
    if not lines:
        return board.say("the run has no parameters" if len(run) else NO_STEPS)
    steps, rows = binned(run.steps, lines)
    _painted(board, steps, rows, QUANTITIES[of])
    _name_rows(board, lines)
    board.legend("below")
    return board.ax


def binned(steps: np.ndarray, lines: Sequence[Line]) -> tuple[np.ndarray, Masked]:
    """Return the first step of every column and the numbers of every row; a bin shows what is largest or worst."""
    stacked = np.ma.stack([line.y for line in lines])
    size = -(-len(steps) // COLUMNS)
    if size == 1:
        return steps, stacked
    starts = np.arange(0, len(steps), size)
    with np.errstate(all="ignore"):
        numbers = np.maximum.reduceat(stacked.filled(-np.inf), starts, axis=1)
    missing = np.logical_and.reduceat(np.ma.getmaskarray(stacked), starts, axis=1)
    return steps[starts], np.ma.array(numbers, mask=missing)


def _painted(board: Canvas, steps: np.ndarray, rows: Masked, label: str) -> None:
    """Paint the map, with a layer of one colour for zeros and one for what is not finite."""
    ax = board.ax
    data, there = rows.filled(np.nan), ~np.ma.getmaskarray(rows)
    with np.errstate(all="ignore"):
        sizes = np.log10(np.abs(data))
    extent = {"edges": (_edges(steps), np.arange(len(rows) + 1) - 0.5)}
    usable = there & np.isfinite(sizes)
    if not there.all():
        _hatched(board)
    if usable.any():
        map = _cells(ax, extent["edges"], np.ma.array(sizes, mask=~usable), cmap=colour_map())
        ax.figure.colorbar(map, ax=ax, label=f"log₁₀ of the {label}", pad=0.02)
    for where, colour, text in (
        (there & (data == 0), ZERO, "exactly 0"),
        (there & ~np.isfinite(data), ALARM, "NaN or inf"),
    ):
        if where.any():
            _flat(board, extent["edges"], where, colour, text)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(extent["edges"][0][0], extent["edges"][0][-1])


def _cells(ax: Axes, edges: tuple[np.ndarray, np.ndarray], numbers: Masked, **looks: Any) -> Any:
    return ax.pcolormesh(*edges, numbers, rasterized=True, shading="flat", **looks)


def _edges(steps: np.ndarray) -> np.ndarray:
    """Return the borders between the columns, halfway between two steps; steps that do not ascend are numbered."""
    at = np.asarray(steps, float) if (np.diff(steps) > 0).all() else np.arange(len(steps), dtype=float)
    if len(at) == 1:
        return np.array([at[0] - 0.5, at[0] + 0.5])
    middle = (at[1:] + at[:-1]) / 2
    return np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])


def _flat(board: Canvas, edges: tuple[np.ndarray, np.ndarray], where: np.ndarray, colour: str, text: str) -> None:
    """Paint some cells in one colour, and say in the legend what it means."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    _cells(board.ax, edges, np.ma.array(np.ones(where.shape), mask=~where), cmap=ListedColormap([colour]))
    board.entries.append((Patch(facecolor=colour, edgecolor=LIGHT.muted, linewidth=0.5), text))


def _hatched(board: Canvas) -> None:
    """Hatch the ground, which is seen where no cell is painted."""
    from matplotlib.patches import Patch, Rectangle

    looks: dict[str, Any] = {"facecolor": "white", "edgecolor": LIGHT.faint, "hatch": "////", "linewidth": 0.0}
    board.ax.add_patch(Rectangle((0, 0), 1, 1, transform=board.ax.transAxes, zorder=0, **looks))
    board.entries.append((Patch(**looks), "not recorded"))


def _name_rows(board: Canvas, lines: Sequence[Line]) -> None:
    """Name the rows, every so many if there are more than fit."""
    apart = -(-len(lines) // NAMED_ROWS)
    places = range(0, len(lines), apart)
    board.ax.set_yticks(list(places), [named(lines[i].label) for i in places])
    board.ax.tick_params(axis="y", length=0)
