"""Loops drawn once: a fit over 100 samples, a recurrence of 1,000 steps, epochs of samples, a loop with an ``if``.

Each is an ordinary Python loop; its picture says how often it ran, the ranges of values and gradients over the rounds,
and what one round hands on to the next. In the pages a click on a stack of cards opens it.

python examples/folding.py [--out DIR]
"""

import argparse
import sys
from pathlib import Path

import numpy as np

import gradviz
from gradviz import Tensor


def line_fit(count=100):
    """Fit a line: an error for each sample, squared and added up."""
    rng = np.random.default_rng(0)
    w, b = Tensor(0.5, name="w"), Tensor(0.0, name="b")
    loss = 0.0
    for x in rng.uniform(-1, 1, count).tolist():
        y = 2 * x + 1
        error = w * x + b - y
        loss = loss + error**2
    return loss / count


def recurrence(count=1000, width=8):
    """Run a recurrent cell: its state goes from step to step."""
    rng = np.random.default_rng(0)
    w = Tensor(rng.normal(size=(width, width)) / 3, name="W")
    u = Tensor(rng.normal(size=(width, width)) / 3, name="U")
    h = gradviz.constant(np.zeros(width))
    for x in rng.normal(size=(count, width)):
        h = np.tanh(w @ h + u @ x)
    return (h**2).sum()


def epochs(count=10, samples=20):
    """Descend by hand: a loop over samples in a loop over epochs, differentiated through all of it."""
    w = Tensor(0.5, name="w")
    for _ in range(count):
        slope = 0.0
        for x in np.linspace(-1, 1, samples).tolist():
            slope = slope + (w * x - 2 * x) * x
        w = w - 0.1 * slope / samples
    return (w - 2) ** 2


def branching(count=60):
    """Take one of two ways in each round."""
    w, total = Tensor(0.5, name="w"), 0.0
    for i in range(count):
        y = w * np.sin(3.0 * i)
        total = total + (y**2 if y.data > 0.1 else np.exp(y))
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out/folding", help="where to write (default: out/folding)")
    out = Path(parser.parse_args().out)
    out.mkdir(parents=True, exist_ok=True)
    for make in (line_fit, recurrence, epochs, branching):
        loss = make()
        loss.backward()
        picture = gradviz.draw(loss, title=make.__doc__.splitlines()[0])
        print(f"{make.__name__}: {picture!r}")
        print(f"wrote {picture.save(out / f'{make.__name__}.svg')}")
    fit = line_fit()
    fit.backward()
    opened = gradviz.draw(fit, unfold=True, style="boxes")
    print(f"wrote {opened.save(out / 'line_fit-unfolded.svg')}")
    print(f"wrote {gradviz.draw(fit).save(out / 'line_fit.html')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
