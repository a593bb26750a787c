"""The article's first figures: a function and its slope, the slope found by automatic differentiation.

python examples/sin_and_slope.py [--out DIR]          (the pictures need: pip install "gradviz[plot]")
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gradviz import Tensor

try:
    from matplotlib.figure import Figure
except ImportError:  # no pictures then
    Figure = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out/sin_and_slope", help="where to write (default: out/sin_and_slope)")
    out = Path(parser.parse_args().out)
    out.mkdir(parents=True, exist_ok=True)

    wave = np.arange(-5, 5, 0.4)
    value, slope = value_and_slope(np.sin, wave)
    print(f"sin(x):  the slope differs from cos(x) by at most {np.abs(slope - np.cos(wave)).max():.1e}")
    show(out / "sin.png", wave, value, slope, "sin(x)", "its slope: cos(x)")

    bowl = np.arange(-25.0, 25.0)
    value, slope = value_and_slope(parabola, bowl)
    h = 0.00001
    approximate = (parabola(bowl + h) - parabola(bowl)) / h
    print(f"2x²:     the slope differs from 4x by at most {np.abs(slope - 4 * bowl).max():.1e}")
    print(f"         (f(x + h) - f(x)) / h with h = {h:g} differs by up to {np.abs(approximate - 4 * bowl).max():.1e}")
    show(out / "parabola.png", bowl, value, slope, "2x²", "its slope: 4x")


def parabola(x: Any) -> Any:
    return 2 * x**2


def value_and_slope(f: Callable[[Any], Any], points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return f and its derivative at every point.

    Each element of f(x) depends on its own x only, so the gradient of the sum holds all slopes at once.
    """
    x = Tensor(points)
    y = f(x)
    y.sum().backward()
    return y.numpy(), x.grad


def show(path: Path, x: np.ndarray, y: np.ndarray, slope: np.ndarray, name: str, slope_name: str) -> None:
    if Figure is None:
        print(f'no {path}: pip install "gradviz[plot]"')
        return
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(x, y, color="#0072b2", marker="o", markersize=4, label=name)
    axes.plot(x, slope, color="#e69f00", marker="s", markersize=4, linestyle="--", label=slope_name)
    axes.axhline(0, color="#66717d", linewidth=0.8)
    axes.set(xlabel="x", title=f"{name} rises where its slope is positive")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    print("wrote", path)


if __name__ == "__main__":
    main()
