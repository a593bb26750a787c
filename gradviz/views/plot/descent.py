"""The way of a descent over the surface of the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.style.colours import BRIGHT, LIGHT
from gradviz.tracing.surfaces import Surface, before_divergence, surface
from gradviz.views.plot.canvas import Canvas, canvas, colour_map, named, within
from gradviz.views.plot.curves import NO_STEPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gradviz.tracing.reading import Run

__all__ = ["path"]

LEVELS = 16
LOG_FROM = 50.0  # a surface that spans more is coloured by orders of magnitude
DECADES = 8  # shown of it
WAY = BRIGHT["orange"]


def path(
    run: Run,
    *,
    ax: Axes | None = None,
    of: str | Sequence[str] | None = None,
    points: int | None = None,
    margin: float = 0.25,
    title: str | None = None,
) -> Axes:
    """Plot the way of the parameters over the loss: a curve for one, filled contours for two.

    ``of`` names one or two scalars or elements, ``("w", "b")`` or ``("W[0,1]", "b[0]")``. Without it a run
    of more than two numbers is seen in the plane in which its path is longest. The surface is the recorded
    graph computed again with other parameters, at the data of the last finite step: a forward pass per
    point, 201 of them or 61 x 61 (``points`` on each axis). Hatching is where the loss is not finite. Of a run
    that diverges the first steps are shown.
    """
    board = canvas(ax)
    board.label(title=title or f"The descent of {named(run.path.name)}", x="", y="")
    if not len(run):
        return board.say(NO_STEPS)
    found = surface(run, of, points=points, margin=margin)
    (_curve if len(found.axes) == 1 else _contours)(board, found)
    board.ax.set_xlabel(named(found.labels[0]) if len(found.axes) == 1 else _axis(found.labels[0]))
    if found.why:
        board.ax.text(0.5, 0.97, _broken(found.why), transform=board.ax.transAxes, ha="center", va="top", fontsize=8)
    board.legend("below")
    return board.ax


def _axis(label: str) -> str:
    """Return the label of an axis; one of ours is longer than a name may be."""
    return label if label.endswith("of the path)") else named(label)


def _broken(why: str) -> str:
    import textwrap

    return textwrap.fill(f"no surface: {why}".replace("$", r"\$"), 90)


def _curve(board: Canvas, found: Surface) -> None:
    """Draw the loss over one number, and the steps on it."""
    ax, way = board.ax, found.way[:, 0]
    shown = before_divergence(found.way_loss)
    heights = [found.way_loss[shown]] if found.loss is None else [found.way_loss[shown], found.loss]
    ax.set_ylabel("loss")
    if found.loss is not None:
        curve = np.where(within(found.loss), found.loss, np.nan)
        board.entries.append((ax.plot(found.axes[0], curve, color=BRIGHT["blue"], linewidth=1.8)[0], "loss"))
        _shade(board, found.axes[0], ~within(found.loss))
    if _spans(np.concatenate(heights)):
        ax.set_yscale("log")
    ax.grid(True, color=LIGHT.faint, alpha=0.35, linewidth=0.6)
    _draw_way(board, way, np.where(within(found.way_loss), found.way_loss, np.nan), shown)


def _spans(numbers: np.ndarray) -> bool:
    """Tell whether the numbers are positive and span many orders of magnitude."""
    finite = numbers[within(numbers)]
    return bool(len(finite) and (finite > 0).all() and finite.max() > 1e4 * finite.min())


def _shade(board: Canvas, x: np.ndarray, bad: np.ndarray) -> None:
    """Hatch where the loss of a curve is not finite."""
    if not bad.any():
        return
    looks: dict[str, Any] = {"facecolor": "none", "edgecolor": LIGHT.faint, "hatch": "////", "linewidth": 0.0}
    ax = board.ax
    handle = ax.fill_between(x, 0, 1, where=bad, step="mid", transform=ax.get_xaxis_transform(), zorder=0, **looks)
    board.entries.append((handle, "NaN or inf"))


def _contours(board: Canvas, found: Surface) -> None:
    """Draw the loss over two numbers as filled contours, and the path on them."""
    ax = board.ax
    ax.set_ylabel(_axis(found.labels[1]))
    ax.set_xlim(found.axes[0][0], found.axes[0][-1])
    ax.set_ylim(found.axes[1][0], found.axes[1][-1])
    if found.loss is not None:
        _hatch(board, within(found.loss))
    if found.loss is not None and within(found.loss).any():
        _fill(board, found)
    _draw_way(board, found.way[:, 0], found.way[:, 1], before_divergence(found.way_loss))


def _fill(board: Canvas, found: Surface) -> None:
    assert found.loss is not None
    finite = within(found.loss)
    levels, label = contour_levels(found.loss[finite])
    numbers = np.ma.array(np.clip(np.where(finite, found.loss, levels[0]), levels[0], levels[-1]), mask=~finite)
    shades = colour_map()(np.linspace(0.04, 0.92, len(levels) - 1))
    filled = board.ax.contourf(*found.axes, numbers, levels=levels, colors=shades)
    bar = board.ax.figure.colorbar(filled, ax=board.ax, pad=0.02, spacing="uniform")
    bar.set_label(label)
    shown = levels[:: max(1, len(levels) // 8)].tolist()
    bar.set_ticks(shown, labels=told_apart(shown))


def contour_levels(loss: np.ndarray) -> tuple[np.ndarray, str]:
    """Return the borders of the contours: by orders of magnitude if there are many, else closer near the minimum."""
    low, high = float(loss.min()), float(loss.max())
    if not high > low:
        return np.array([low - 0.5 * (abs(low) or 1.0), low + 0.5 * (abs(low) or 1.0)]), "loss"
    if low > 0 and high > LOG_FROM * low:
        return np.geomspace(max(low, high * 10.0**-DECADES), high, LEVELS), "loss (log scale)"
    return low + (high - low) * np.linspace(0.0, 1.0, LEVELS) ** 2, "loss"


def told_apart(numbers: Sequence[float]) -> list[str]:
    """Return numbers as text, with no more digits than it takes to tell them apart.

    >>> told_apart([0.5, 1.0]), told_apart([0.66789, 0.66801])
    (['0.5', '1'], ['0.6679', '0.668'])
    """
    for digits in range(3, 17):
        texts = [f"{number:.{digits}g}" for number in numbers]
        if len(set(texts)) == len(set(numbers)):
            break
    return texts


def _hatch(board: Canvas, finite: np.ndarray) -> None:
    """Hatch the ground, which is seen where the loss is not finite, if there is such a place."""
    from matplotlib.patches import Patch, Rectangle

    if finite.all():
        return

    looks: dict[str, Any] = {"facecolor": "#eceff1", "edgecolor": LIGHT.faint, "hatch": "////", "linewidth": 0.0}
    board.ax.add_patch(Rectangle((0, 0), 1, 1, transform=board.ax.transAxes, zorder=0, **looks))
    board.entries.append((Patch(**looks), "NaN or inf"))


def _draw_way(board: Canvas, x: np.ndarray, y: np.ndarray, shown: np.ndarray) -> None:
    """Draw the steps, with where they begin and where they end."""
    looks: dict[str, Any] = {"color": WAY, "zorder": 3, "markeredgecolor": LIGHT.ink, "markeredgewidth": 0.4}
    ax = board.ax
    sight = f"{seen} of {len(x)} steps" if (seen := int(shown.sum())) < len(x) else f"{len(x)} steps"
    handle = ax.plot(x[shown], y[shown], linewidth=1.2, marker="o", markersize=3.6 if len(x) <= 200 else 2.2, **looks)[
        0
    ]
    ends: dict[str, Any] = {"linestyle": "none", "markersize": 9.0, "markeredgecolor": LIGHT.ink, "zorder": 4}
    first = ax.plot(x[:1], y[:1], marker="s", markerfacecolor="white", **ends)[0]
    end = slice(-1, None) if shown[-1] else slice(0, 0)
    last = ax.plot(x[end], y[end], marker="*", markerfacecolor=BRIGHT["vermillion"], **ends | {"markersize": 13.0})[0]
    board.entries += [(handle, sight), (first, "first"), *([(last, "last")] if shown[-1] else [])]
