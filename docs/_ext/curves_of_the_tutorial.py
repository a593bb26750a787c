"""The plots of the tutorial. Their numbers are computed by gradviz: slopes by `grad`, paths by `descend`."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import gradviz
from gradviz import Tensor, nn, optim

INK, SOFT, GRID = "#1b2430", "#66717d", "#d5dae0"
BLUE, ORANGE, GREEN, PINK = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
LOOK = {
    "axes.edgecolor": SOFT, "axes.labelcolor": INK, "axes.facecolor": "none", "axes.spines.right": False,
    "axes.spines.top": False, "axes.titlecolor": INK, "axes.titlesize": "medium", "figure.facecolor": "none",
    "font.size": 10, "grid.color": GRID, "legend.frameon": False, "legend.labelcolor": INK, "text.color": INK,
    "savefig.facecolor": "none", "xtick.color": SOFT, "ytick.color": SOFT, "xtick.labelcolor": INK,
    "ytick.labelcolor": INK, "lines.linewidth": 1.8, "axes.grid": True, "axes.axisbelow": True,
}  # fmt: skip
Plot = Callable[[], Axes]


def plot(rows: int = 1, columns: int = 1, height: float = 3.2) -> Callable[[Callable[..., None]], Plot]:
    """Let a function that draws on Axes return the first of them, of a figure of its own."""

    def decorate(draw: Callable[..., None]) -> Plot:
        def drawn() -> Axes:
            with rc_context(LOOK):
                figure = Figure(figsize=(7.0, height), layout="constrained")
                axes = np.atleast_1d(figure.subplots(rows, columns, sharex=rows > 1)).ravel()
                draw(*axes)
                figure.canvas.draw()
            return axes[0]

        return drawn

    return decorate


def parabola(x: Any) -> Any:
    """Return the function of the first chapter."""
    return x**2


def hill(x: Any) -> Any:
    """Return the hill of the second chapter, or its slope where Tensors are given."""
    return (x - 3) ** 2 + 1


@plot()
def tangent(axes: Axes) -> None:
    """Draw lines through two points of a parabola, and the tangent."""
    x = np.linspace(-0.5, 5, 100)
    axes.plot(x, parabola(x), color=INK, label="x²")
    for h, colour in ((1.5, PINK), (0.75, GREEN)):
        rise = (parabola(3 + h) - parabola(3)) / h
        axes.plot(x, 9 + rise * (x - 3), color=colour, linestyle="--", linewidth=1.2, label=f"h = {h}: {rise:g}")
        axes.plot(3 + h, parabola(3 + h), "o", color=colour)
    slope = gradviz.grad(parabola)(3.0)
    axes.plot(x, 9 + slope * (x - 3), color=ORANGE, label=f"the tangent: {slope:g}")
    axes.plot(3, 9, "o", color=INK)
    axes.set(ylim=(-3, 25), xlabel="x")
    axes.legend(title="slope", loc="upper left")


@plot(rows=2, height=4.2)
def signs(above: Axes, below: Axes) -> None:
    """Draw where a parabola falls and rises, over its slope."""
    for low, high, colour, words in ((-3, 0, BLUE, "falls"), (0, 3, ORANGE, "rises")):
        x = np.linspace(low, high, 50)
        above.plot(x, parabola(x), color=colour, label=f"x² {words}")
        slopes = np.array([gradviz.grad(parabola)(float(point)) for point in x])
        below.plot(x, slopes, color=colour)
        below.fill_between(x, slopes, color=colour, alpha=0.15, linewidth=0)
    for start in (-2.0, 0.0, 2.0):
        slope, width = gradviz.grad(parabola)(start), 0.6
        ends = np.array([start - width, start + width])
        above.plot(ends, parabola(start) + slope * (ends - start), color=INK, linewidth=1.2)
        above.annotate(
            f"{slope:g}", (start, parabola(start)), (8, -2 if start < 0 else -12), textcoords="offset points"
        )
    below.axhline(0, color=SOFT, linewidth=0.8)
    below.set(xlabel="x", ylabel="its slope")
    above.legend(loc="upper center")


@plot()
def waves(axes: Axes) -> None:
    """Draw a sine and its slope."""
    fine, points = np.linspace(-5, 5, 200), np.linspace(-5, 5, 25)
    axes.plot(fine, np.sin(fine), color=BLUE, label="sin(x)")
    axes.plot(fine, np.cos(fine), color=ORANGE, linestyle="--", linewidth=1.2, label="cos(x)")
    slope = gradviz.grad(np.sin)
    axes.plot(points, [slope(float(x)) for x in points], "o", color=ORANGE, markersize=4, label="slope of sin(x)")
    axes.axhline(0, color=SOFT, linewidth=0.8)
    axes.set(xlabel="x")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.17), ncols=3)


@plot()
def step_sizes(axes: Axes) -> None:
    """Draw the error of a finite difference over its step."""
    steps = np.logspace(-15, 0, 61)
    errors = np.array([abs((parabola(3 + h) - parabola(3)) / h - gradviz.grad(parabola)(3.0)) for h in steps])
    axes.loglog(steps, np.where(errors > 0, errors, np.nan), color=BLUE, marker="o", markersize=3)
    axes.set(xlabel="h", ylabel="error of the slope at 3")


@plot(columns=4, height=2.6)
def rates(*four: Axes) -> None:
    """Draw descents of a parabola with four rates."""
    x = np.linspace(-2.2, 8.2, 100)
    for axes, rate in zip(four, (0.02, 0.2, 0.9, 1.02), strict=True):
        path = [0.0]
        for _ in range(12):
            path.append(path[-1] - rate * gradviz.grad(hill)(path[-1]))
        axes.plot(x, hill(x), color=SOFT, linewidth=1.2)
        axes.plot(path, [hill(point) for point in path], "o-", color=BLUE, markersize=3, linewidth=0.9)
        axes.plot(path[-1], hill(path[-1]), "o", color=ORANGE, markersize=6)
        axes.set(title=f"rate {rate}", ylim=(0, 27), xticks=[0, 3, 6], yticks=[])


@plot()
def valley(axes: Axes) -> None:
    """Draw the path of a descent over a narrow valley."""
    across, along = np.meshgrid(np.linspace(-0.2, 1.15, 80), np.linspace(-1.15, 1.15, 80))
    axes.contour(
        across, along, across**2 + 20 * along**2, levels=np.logspace(-1.5, 1.4, 10), colors=SOFT, linewidths=0.7
    )
    slopes, point = gradviz.grad(lambda x, y: x**2 + 20 * y**2, (0, 1)), np.array([1.0, 1.0])
    path = [point]
    for _ in range(25):
        path.append(path[-1] - 0.045 * np.array(slopes(*map(float, path[-1]))))
    axes.plot(*np.array(path).T, "o-", color=BLUE, markersize=3.5, linewidth=1.0)
    axes.plot(*path[-1], "o", color=ORANGE, markersize=7)
    axes.set(xlabel="x", ylabel="y")
    axes.grid(visible=False)


def line_fit() -> tuple[np.ndarray, np.ndarray, Callable[[Any, Any], Any]]:
    """Return the points of the line fit, and its loss as a function of slope and intercept."""
    x = np.arange(-0.5, 0.5, 0.01)
    y = x + np.random.default_rng(0).normal(0, 0.2, x.shape)

    def loss(w: Any, b: Any) -> Any:
        error = y - (w * x + b)
        return (error * error).mean()

    return x, y, loss


@plot(columns=2)
def three_fits(left: Axes, right: Axes) -> None:
    """Draw the line that is fitted in three ways, and the losses on the way."""
    x, y, loss = line_fit()

    def by_differences(w: float, b: float, h: float = 0.001) -> tuple[float, float]:
        return (loss(w + h, b) - loss(w, b)) / h, (loss(w, b + h) - loss(w, b)) / h

    def by_equations(w: float, b: float) -> tuple[float, float]:
        error = y - (w * x + b)
        return (-2 * x * error).mean(), (-2 * error).mean()

    ways = {"differences": by_differences, "equations": by_equations, "autograd": gradviz.grad(loss, (0, 1))}
    left.plot(x, y, ".", color=SOFT, markersize=4)
    left.plot(x, 0.1 * x + 1.0, color=SOFT, linestyle="--", linewidth=1.2, label="before")
    for width, colour, style, (name, way) in zip(
        (5, 3, 2), (PINK, BLUE, INK), ("-", "--", ":"), ways.items(), strict=True
    ):
        w, b, losses = 0.1, 1.0, []
        for _ in range(300):
            losses.append(float(loss(w, b)))
            slope_w, slope_b = way(w, b)
            w, b = w - 0.08 * float(slope_w), b - 0.08 * float(slope_b)
        left.plot(x, w * x + b, color=colour, linestyle=style, linewidth=width, label=name)
        right.semilogy(losses, color=colour, linestyle=style, linewidth=width)
    left.set(title="the line")
    right.set(title="the loss", xlabel="step")
    left.legend(loc="lower right", fontsize="small")


@plot()
def path(axes: Axes) -> None:
    """Draw the path of the line fit over its loss."""
    _, _, loss = line_fit()
    with tempfile.TemporaryDirectory() as folder:
        gradviz.descend(loss, {"w": 0.1, "b": 1.0}, lr=0.08, steps=300, trace=f"{folder}/line")
        run = gradviz.open_run(f"{folder}/line")
        w, b = np.array(run["w"].value), np.array(run["b"].value)
    across, up = np.meshgrid(np.linspace(0, 1.3, 60), np.linspace(-0.15, 1.1, 60))
    height = np.vectorize(loss)(across, up)
    axes.contour(
        across, up, height, levels=np.geomspace(height.min() * 1.05, height.max(), 12), colors=SOFT, linewidths=0.7
    )
    axes.plot(w, b, "o-", color=BLUE, markersize=3, linewidth=1.0)
    axes.plot(w[17], b[17], "o", color=ORANGE, markersize=7)
    axes.annotate("iteration 17", (w[17], b[17]), (10, 14), textcoords="offset points")
    axes.set(xlabel="w", ylabel="b")
    axes.grid(visible=False)


@plot(height=3.6)
def moons(axes: Axes) -> None:
    """Draw two moons and the border between them that a network finds."""
    rng = np.random.default_rng(0)
    angle, lower = rng.uniform(0, np.pi, 200), np.arange(200) % 2
    side = 1 - 2 * lower
    points = np.column_stack([np.cos(angle) * side + lower, np.sin(angle) * side + lower / 2])
    points += rng.normal(0, 0.15, points.shape)
    x, target = Tensor(points, requires_grad=False), Tensor(lower[:, None] * 1.0, requires_grad=False)
    model = nn.MLP([2, 16, 16, 1], "tanh", rng=0)
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    for _ in range(201):
        optimizer.zero_grad()
        nn.bce_with_logits(model(x), target).backward()
        optimizer.step()
    across, up = np.meshgrid(np.linspace(-1.6, 2.6, 120), np.linspace(-1.1, 1.6, 90))
    with gradviz.no_grad():
        scores = model(np.column_stack([across.ravel(), up.ravel()])).numpy().reshape(across.shape)
    axes.contourf(across, up, scores, levels=[-1e9, 0, 1e9], colors=[BLUE, ORANGE], alpha=0.12)
    axes.contour(across, up, scores, levels=[0], colors=INK, linewidths=1.5)
    for which, marker, colour in ((0, "o", BLUE), (1, "s", ORANGE)):
        axes.plot(*points[lower == which].T, marker, color=colour, markersize=4)
    axes.set(aspect="equal")
    axes.grid(visible=False)


def backpropagation() -> str:
    """Return the article's example in motion."""
    a, b = Tensor(2.0, name="a"), Tensor(3.0, name="b")
    c = (a + b) * 2
    e = np.sin(c)
    e.backward()
    return gradviz.animate(e).svg


def steps_page() -> str:
    """Return the page that goes through the article's example, one operation at a time."""
    a, b = Tensor(2.0, name="a"), Tensor(3.0, name="b")
    c = (a + b) * 2
    e = np.sin(c)
    with tempfile.TemporaryDirectory() as folder:
        return gradviz.steps(e).save(Path(folder, "steps.html")).read_text("utf-8")


def report_page() -> str:
    """Return the report of the line fit."""
    _, _, loss = line_fit()
    with tempfile.TemporaryDirectory() as folder:
        gradviz.descend(loss, {"w": 0.1, "b": 1.0}, lr=0.08, steps=100, trace=f"{folder}/line")
        return Path(gradviz.open_run(f"{folder}/line").save(f"{folder}/line.html")).read_text("utf-8")
