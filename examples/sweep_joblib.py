"""Which learning rate? Six trainings beside each other with joblib, and one SQL question about all of them.

Every job trains the same small network on scikit-learn's diabetes data with its own rate and writes its own
run. joblib does the distribution, DuckDB the reading; gradviz only writes and opens.

python examples/sweep_joblib.py [--out DIR] [--steps N]
(needs: pip install scikit-learn joblib "gradviz[query]")
"""

import argparse
import sys
from pathlib import Path

import numpy as np

import gradviz
from gradviz import Tensor, nn, optim

try:
    from joblib import Parallel, delayed
    from sklearn.datasets import load_diabetes
except ImportError:
    raise SystemExit("this example needs scikit-learn and joblib: pip install scikit-learn joblib") from None

RATES = (0.001, 0.01, 0.1, 0.3, 1.0, 3.0)

QUESTION = """
    SELECT lr,
           arg_max(loss, step) AS last,
           arg_max("layers.0.weight.grad.norm", step) AS gradient,
           NOT bool_and(isfinite(loss)) OR last > arg_min(loss, step) AS diverged
    FROM runs
    GROUP BY lr
    ORDER BY diverged, last
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out/sweep_joblib", help="where to write (default: out/sweep_joblib)")
    parser.add_argument("--steps", type=int, default=200, help="of each training (default: 200)")
    given = parser.parse_args()
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)

    Parallel(n_jobs=2)(delayed(train)(lr, out / "runs" / f"lr-{lr}", given.steps) for lr in RATES)
    print("wrote", out / "runs")

    runs = gradviz.open_runs(out / "runs" / "*")
    print(runs.summary())
    answer = runs.query(QUESTION)
    answer.to_csv(out / "answer.csv", index=False)
    print("wrote", out / "answer.csv")
    print(answer.to_string(index=False))
    best, bad = answer["lr"][0], sorted(answer["lr"][answer["diverged"]])
    print(f"best: lr = {best}; diverged: {', '.join(map(str, bad)) or 'none'}")
    return 1 if runs.damage else 0


def train(lr: float, path: Path, steps: int) -> None:
    """Train with one rate and write every step to ``path``."""
    data = load_diabetes()
    x = Tensor(standardised(data.data), name="x", requires_grad=False)
    y = Tensor(standardised(data.target)[:, None], name="y", requires_grad=False)
    model = nn.MLP([10, 16, 1], "relu", rng=0)
    optimizer = optim.SGD(model.parameters(), lr=lr)
    # Too large a rate ends in infinities. They are what is looked for, so NumPy need not warn of them.
    with (
        np.errstate(over="ignore", invalid="ignore"),
        gradviz.trace(path, params=dict(model.named_parameters()), meta={"lr": lr}) as log,
    ):
        for _ in range(steps):
            optimizer.zero_grad()
            loss = ((model(x) - y) ** 2).mean()
            loss.backward()
            log.step(loss)
            optimizer.step()


def standardised(columns: np.ndarray) -> np.ndarray:
    """Return columns of mean 0 and variance 1."""
    return (columns - columns.mean(axis=0)) / columns.std(axis=0)


if __name__ == "__main__":
    sys.exit(main())
