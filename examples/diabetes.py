"""Linear regression on real data by gradient descent, beside the solution in closed form.

The data are scikit-learn's bundled diabetes set: age, sex, body mass index, blood pressure and six serum
measurements of 442 patients, and how far the disease had gone a year later (Efron et al., "Least Angle
Regression", Annals of Statistics 32, 2004).

python examples/diabetes.py [--out DIR] [--steps N]          (needs: pip install scikit-learn)
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import gradviz
from gradviz import Tensor

try:
    from sklearn.datasets import load_diabetes
except ImportError:
    raise SystemExit("this example needs scikit-learn: pip install scikit-learn") from None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out/diabetes", help="where to write (default: out/diabetes)")
    parser.add_argument("--steps", type=int, default=6000, help="of the descent (default: 6000)")
    given = parser.parse_args()
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)

    data = load_diabetes()
    # Columns of mean 0 and variance 1: then one learning rate suits all of them.
    columns = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    X = Tensor(columns, name="X", requires_grad=False)
    y = Tensor(data.target, name="y", requires_grad=False)

    def loss(w: Any, b: Any) -> Any:
        return ((X @ w + b - y) ** 2).mean()

    # Two serum measurements nearly say the same thing, so the loss is a long narrow valley: 0.2 is close to
    # the largest learning rate that does not climb its walls, and the floor still takes thousands of steps.
    start = {"w": np.zeros(columns.shape[1]), "b": 0.0}
    found = gradviz.descend(loss, start, lr=0.2, steps=given.steps, trace=out / "run")
    print("wrote", out / "run")

    exact, *_ = np.linalg.lstsq(np.column_stack([columns, np.ones(len(columns))]), data.target)
    print_weights(data.feature_names, found.params, exact)

    spread = data.target.var()
    best = float(loss(exact[:-1], exact[-1]))
    reached = float(loss(**found.params))
    print(f"mean squared error: {found.loss[0]:.3f} at the start, {reached:.6f} after {given.steps} steps,")
    print(f"{best:.6f} in closed form; R² = {1 - reached / spread:.6f}, in closed form {1 - best / spread:.6f}")

    # The first iteration as a picture: X and y are data, w and b have gradients.
    first = found.run.frame(0)
    picture = gradviz.draw(first, title="The loss at the first step")
    for name in ("graph.svg", "graph.png"):
        print("wrote", picture.save(out / name))
    print("wrote", found.run.export(out / "log.csv"))
    farthest = float(np.abs(found.params["w"] - exact[:-1]).max())
    return 0 if farthest < 0.01 or given.steps < 6000 else 1


def print_weights(names: list[str], params: dict[str, Any], exact: np.ndarray) -> None:
    table = Table(title="Weights of the standardised columns")
    for heading in ("column", "descent", "closed form", "difference"):
        table.add_column(heading, justify="left" if heading == "column" else "right")
    reached = [*params["w"].tolist(), params["b"]]
    for name, here, there in zip([*names, "(intercept)"], reached, exact.tolist(), strict=True):
        table.add_row(name, f"{here:.6f}", f"{there:.6f}", f"{here - there:+.1e}")
    Console(width=80).print(table)


if __name__ == "__main__":
    sys.exit(main())
