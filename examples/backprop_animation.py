"""Values go forward, gradients flow back, and a line is fitted: three animations and a strip for print.

python examples/backprop_animation.py [--out DIR]          (the GIF needs: pip install "gradviz[motion]")
"""

import argparse
from pathlib import Path

import numpy as np

import gradviz
from gradviz import Tensor
from gradviz.errors import MissingExtraError

X = np.array([0.0, 1.0, 2.0, 3.0])
Y = np.array([1.0, 3.0, 5.0, 7.0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out/backprop_animation", help="default: out/backprop_animation")
    out = Path(parser.parse_args().out)
    out.mkdir(parents=True, exist_ok=True)

    a, b = Tensor(2.0), Tensor(3.0)
    c = (a + b) * 2
    e = np.sin(c)
    animation = gradviz.animate(e, style="circuit")
    print(animation)
    print("wrote", animation.save(out / "backprop.svg"))
    print("wrote", animation.strip(4).save(out / "strip.svg"))
    try:
        print("wrote", animation.save(out / "backprop.gif"))
    except MissingExtraError as error:
        print(error)

    gradviz.descend(squared_error, {"w": 0.0, "b": 0.0}, lr=0.1, steps=60, trace=out / "run")
    print("wrote", out / "run")
    descent = gradviz.animate(out / "run", frames=30)
    print(descent)
    print("wrote", descent.save(out / "descent.svg"))


def squared_error(w: Tensor, b: Tensor) -> Tensor:
    error = w * X + b - Y
    return (error**2).mean()


if __name__ == "__main__":
    main()
