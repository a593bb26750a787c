"""The article's line fit, its gradient found in three ways: the same data, the same steps, the same answer.

1. finite differences: move a parameter by h and see how much the loss changes
2. equations: the derivative worked out by hand with the chain rule
3. automatic differentiation: gradviz records the loss and goes back through its graph

python examples/three_ways.py [--out DIR] [--seed N]
"""

import argparse
import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import gradviz
from gradviz import Tensor

try:
    from matplotlib.figure import Figure
except ImportError:  # no pictures then
    Figure = None

EPOCHS = 300
LEARNING_RATE = 0.08
WEIGHT, BIAS = 0.1, 1.0  # where the descent starts
H = 0.001  # the step of the finite differences
Gradient = Callable[[float, float], tuple[float, float]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out/three_ways", help="where to write (default: out/three_ways)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    given = parser.parse_args()
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)

    # 100 points of the line y = x, with noise.
    x = np.arange(-0.5, 0.5, 0.01)
    y = x + np.random.default_rng(given.seed).normal(0, 0.2, x.shape)

    # The loss is written once. It takes numbers and Tensors alike.
    def loss(weight: Any, bias: Any, x: Any = x, y: Any = y) -> Any:
        error = y - (weight * x + bias)
        return (error * error).mean()

    def by_differences(weight: float, bias: float) -> tuple[float, float]:
        here = loss(weight, bias)
        return (loss(weight + H, bias) - here) / H, (loss(weight, bias + H) - here) / H

    def by_equations(weight: float, bias: float) -> tuple[float, float]:
        error = y - (weight * x + bias)
        return (-2 * x * error).mean(), (-2 * error).mean()

    # Before any step: the three gradients beside each other, and every op of the graph checked on its own.
    report = gradviz.gradcheck(loss, {"weight": WEIGHT, "bias": BIAS}, formula=by_equations)
    print(report)

    ways = {
        "finite differences": fitted(by_differences, loss),
        "equations": fitted(by_equations, loss),
        "autograd": traced(loss, out / "run"),
    }
    print_losses(ways)
    good = report.ok and explain(ways, x, y)

    weight, bias = Tensor(WEIGHT), Tensor(BIAS)
    start = loss(weight, bias, Tensor(x, name="x", requires_grad=False), Tensor(y, name="y", requires_grad=False))
    start.backward()
    picture = gradviz.draw(start, title="The loss before the first step")
    for name in ("graph.svg", "graph.png"):
        print("wrote", picture.save(out / name))
    print("wrote", write_log(out / "losses.csv", ways))
    plot(out / "fit.png", x, y, ways)
    return 0 if good else 1


def fitted(gradient: Gradient, loss: Callable[..., Any]) -> np.ndarray:
    """Descend with a gradient function; return a row (weight, bias, loss) per epoch and one for the end."""
    weight, bias = WEIGHT, BIAS
    rows = [(weight, bias, loss(weight, bias))]
    for _ in range(EPOCHS):
        slope_weight, slope_bias = gradient(weight, bias)
        weight -= LEARNING_RATE * slope_weight
        bias -= LEARNING_RATE * slope_bias
        rows.append((weight, bias, loss(weight, bias)))
    return np.array(rows, float)


def traced(loss: Callable[..., Any], path: Path) -> np.ndarray:
    """Descend by automatic differentiation, every epoch written to a run directory."""
    start = {"weight": WEIGHT, "bias": BIAS}
    done = gradviz.descend(loss, start, lr=LEARNING_RATE, steps=EPOCHS, trace=path)
    run = done.run
    print("wrote", path)
    history = np.column_stack([run["weight"].value, run["bias"].value, run.loss])
    end = done.params["weight"], done.params["bias"]
    return np.vstack([history, [*end, loss(*end)]])


def print_losses(ways: dict[str, np.ndarray]) -> None:
    table = Table(title="Loss (mean squared error) after so many epochs")
    table.add_column("epochs", justify="right")
    for name in ways:
        table.add_column(name, justify="right")
    for epoch in (0, 1, 10, 100, EPOCHS):
        table.add_row(str(epoch), *(f"{rows[epoch, 2]:.15f}" for rows in ways.values()))
    Console(width=100).print(table)


def explain(ways: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> bool:
    """Say how far the ways agree, and tell whether that is as it should be."""
    differences, equations, autograd = ways.values()
    apart = np.abs(autograd[:, 2] - equations[:, 2]).max()
    print(f"Equations and autograd: the losses of all {EPOCHS} epochs differ by at most {apart:.1e} (rounding).")

    # A forward difference of a parabola is its slope at the middle of the step, so it looks for the
    # minimum with everything moved by h/2, and stops that much short of it.
    weight_off, bias_off = differences[-1, :2] - autograd[-1, :2]
    print(f"Finite differences with h = {H:g} take the slope at the middle of each step, h/2 ahead: they arrive")
    print(f"{weight_off:+.2e} (weight) and {bias_off:+.2e} (bias) off, near -h/2 = {-H / 2:.1e}. Their loss is")
    print(f"{differences[-1, 2] - autograd[-1, 2]:+.1e} off. No smaller learning rate mends that; a smaller h does.")

    slope, intercept = np.polyfit(x, y, 1)
    print(f"After {EPOCHS} epochs: weight {autograd[-1, 0]:.6f}, bias {autograd[-1, 1]:.6f}.")
    print(f"Least squares:    weight {slope:.6f}, bias {intercept:.6f}: the weight is still on its way.")
    return bool(apart < 1e-12 and -H < weight_off < 0 and abs(bias_off + H / 2) < H / 10)


def write_log(path: Path, ways: dict[str, np.ndarray]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        log = csv.writer(file)
        log.writerow(["epoch", *(f"{name}: {what}" for name in ways for what in ("weight", "bias", "loss"))])
        log.writerows(
            [epoch, *np.concatenate(rows).tolist()] for epoch, rows in enumerate(zip(*ways.values(), strict=True))
        )
    return path


def plot(path: Path, x: np.ndarray, y: np.ndarray, ways: dict[str, np.ndarray]) -> None:
    if Figure is None:
        print(f'no {path}: pip install "gradviz[plot]"')
        return
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.scatter(x, y, s=14, color="#56b4e9", edgecolor="#1b2430", linewidth=0.4, label="data")
    left.plot(x, WEIGHT * x + BIAS, color="#e69f00", linestyle="--", label="before")
    styles = {"finite differences": "-", "equations": "--", "autograd": ":"}
    colours = {"finite differences": "#cc79a7", "equations": "#0072b2", "autograd": "#1b2430"}
    for width, (name, rows) in zip((5, 3, 2), ways.items(), strict=True):
        look = {"linestyle": styles[name], "color": colours[name], "linewidth": width, "label": name}
        left.plot(x, rows[-1, 0] * x + rows[-1, 1], **look)
        right.plot(rows[:, 2], **look)
    left.set(title=f"The line before and after {EPOCHS} epochs", xlabel="x", ylabel="y")
    right.set(title="The three descents are one", xlabel="epoch", ylabel="mean squared error", yscale="log")
    for axes in (left, right):
        axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    print("wrote", path)


if __name__ == "__main__":
    sys.exit(main())
