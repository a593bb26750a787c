"""A training that does not learn, and a page that says why: half of the units are dead, and the step is too large.

The data are scikit-learn's diabetes patients. One line, `with gradviz.trace(...)`, is all that was added to the loop.

python examples/does_not_learn.py [--out DIR]          (needs: pip install scikit-learn)
"""

import argparse
import sys
from pathlib import Path

import numpy as np

import gradviz
from gradviz import Tensor, nn, optim

try:
    from sklearn.datasets import load_diabetes
except ImportError:
    raise SystemExit("this example needs scikit-learn: pip install scikit-learn") from None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out/does_not_learn", help="where to write (default: out/does_not_learn)")
    out = Path(parser.parse_args().out)

    patients, progress = load_diabetes(return_X_y=True)
    x = Tensor(patients / patients.std(axis=0), name="x", requires_grad=False)
    target = Tensor(((progress - progress.mean()) / progress.std())[:, None], name="target", requires_grad=False)

    model = nn.MLP([10, 16, 1], "relu", rng=0)
    params = dict(model.named_parameters())
    params["layers.0.bias"].data = np.where(
        np.arange(16) < 8, -20.0, 0.0
    )  # the mistake: eight units can never be above 0
    optimizer = optim.SGD(model.parameters(), lr=0.6)

    with gradviz.trace(out / "run", params=params, meta={"lr": 0.6}) as log:
        for _ in range(60):
            optimizer.zero_grad()
            loss = nn.mse(model(x), target)
            loss.backward()
            log.step(loss)
            optimizer.step()
    print("wrote", out / "run")

    run = gradviz.open_run(out / "run")
    print(f"the loss went from {run.loss[0]:.3g} to {run.loss[-1]:.3g}, and this is why:")
    for finding in run.findings():
        print(f"- {finding}\n  try: {finding.advice}")
    print("wrote", run.save(out / "report.html"))
    return 0 if {"dead", "large-step"} <= {finding.rule for finding in run.findings()} else 1


if __name__ == "__main__":
    sys.exit(main())
