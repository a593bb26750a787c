"""A line fitted by code that gradviz wrote: the loss recorded once, replayed 300 times, and printed to be read.

1. `compile` records the loss at the first step and runs straight-line code at every other
2. `to_python` writes the same computation down with names and derivatives: the equations nobody had to derive
3. the file that was written is run by itself, without gradviz, and goes to the same line

python examples/compiled_fit.py [--out DIR] [--seed N]
"""

import argparse
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np

import gradviz
from gradviz import Tensor

STEPS = 300
RATE = 0.08


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out/compiled_fit", help="where to write (default: out/compiled_fit)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    given = parser.parse_args()
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)

    x = np.linspace(-0.5, 0.5, 100)
    y = x + np.random.default_rng(given.seed).normal(0, 0.2, x.shape)

    def loss_of(slope: Any, intercept: Any) -> Any:
        error = slope * x + intercept - y
        return (error**2).mean()

    # 1. Numbers in, numbers out; recorded once.
    both = gradviz.value_and_grad(gradviz.compile(loss_of), (0, 1))
    slope, intercept = 0.1, 1.0
    for _ in range(STEPS):
        value, (by_slope, by_intercept) = both(slope, intercept)
        slope -= RATE * by_slope
        intercept -= RATE * by_intercept
    print(f"compiled, recorded {both.recordings} time: loss {value:.6f}, slope {slope:.6f}, intercept {intercept:.6f}")

    # 2. The same as a person would write it.
    start = Tensor(0.1, name="slope"), Tensor(1.0, name="intercept")
    error = start[0] * x + start[1] - y
    loss = (error**2).mean()
    listing = gradviz.to_python(loss)
    (out / "fit.py").write_text(listing, encoding="utf-8")
    print()
    print(listing[listing.index("def ") :])

    # 3. Without gradviz.
    written = runpy.run_path(str(out / "fit.py"))["value_and_grad"]
    mine = {"slope": 0.1, "intercept": 1.0}
    for _ in range(STEPS):
        value, grads = written(**mine)
        mine = {name: mine[name] - RATE * grads[name] for name in mine}
    print(f"the file alone:            loss {value:.6f}, slope {mine['slope']:.6f}, intercept {mine['intercept']:.6f}")
    print(f"wrote {out / 'fit.py'}")
    return 0 if np.isclose(mine["slope"], slope) else 1


if __name__ == "__main__":
    sys.exit(main())
