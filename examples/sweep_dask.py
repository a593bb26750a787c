"""Which learning rate? A sweep with Dask: workers train on scikit-learn's digits, one SQL question compares them.

Every task writes its own run; what they share is a folder. Here the workers are threads of this process. On
a cluster only the address in ``Client(...)`` is another, and the folder one that all machines see.

python examples/sweep_dask.py [--out DIR] [--steps N]
(needs: pip install scikit-learn "dask[distributed]" "gradviz[query]")
"""

import argparse
import sys
from pathlib import Path

import numpy as np

import gradviz
from gradviz import Tensor, nn, optim

try:
    from dask.distributed import Client, as_completed
    from sklearn.datasets import load_digits
except ImportError:
    raise SystemExit('this example needs scikit-learn and Dask: pip install scikit-learn "dask[distributed]"') from None

RATES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)

QUESTION = """
    SELECT lr, min(loss) AS least, arg_min(step, loss) AS at_step,
           max("layers.0.weight.grad.norm") AS largest_gradient,
           arg_max(loss, step) > arg_min(loss, step) AS diverged
    FROM runs
    GROUP BY lr
    ORDER BY diverged, least
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out/sweep_dask", help="where to write (default: out/sweep_dask)")
    parser.add_argument("--steps", type=int, default=60, help="of each training (default: 60)")
    given = parser.parse_args()
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)

    with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None) as client:
        folders = [str(out / "runs" / f"lr-{lr}") for lr in RATES]
        tasks = client.map(train, RATES, folders, [given.steps] * len(RATES))
        for task, loss in as_completed(tasks, with_results=True):
            print(f"lr = {RATES[tasks.index(task)]}: loss {loss:.4f}")
    print("wrote", out / "runs")

    runs = gradviz.open_runs(out / "runs")
    answer = runs.query(QUESTION)
    answer.to_csv(out / "answer.csv", index=False)
    print("wrote", out / "answer.csv")
    print(answer.to_string(index=False))
    bad = sorted(answer["lr"][answer["diverged"]])
    print(f"best: lr = {answer['lr'][0]}; diverged: {', '.join(map(str, bad)) or 'none'}")
    return 1 if runs.damage else 0


def train(lr: float, path: str, steps: int) -> float:
    """Train with one rate, write every step to ``path``, and return the last loss."""
    images, digits = load_digits(return_X_y=True)
    x = Tensor(images[:500] / 16, name="x", requires_grad=False)
    answers = np.eye(10)[digits[:500]]
    model = nn.MLP([64, 16, 10], "tanh", rng=0)
    optimizer = optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    with gradviz.trace(path, params=dict(model.named_parameters()), meta={"lr": lr}) as log:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = nn.cross_entropy(model(x), answers)
            loss.backward()
            log.step(loss)
            optimizer.step()
    return loss.item()


if __name__ == "__main__":
    sys.exit(main())
