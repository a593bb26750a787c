"""A graph of 30,000 nodes: a network of scalars on 300 handwritten digits, every multiplication a node.

Eight pixels of each picture go through four units; the loss is one sum over all pictures. The page can be looked around
in (drag, zoom, search, click), the SVG holds every node, the folded picture each loop once, the table what came of each
line. Nothing is left to Graphviz but the folded picture.

python examples/large_graph.py [--out DIR] [--pictures N]          (needs: pip install scikit-learn)
"""

import argparse
import sys
from pathlib import Path

import numpy as np

import gradviz
from gradviz import Tensor

try:
    from sklearn.datasets import load_digits
except ImportError:
    raise SystemExit("this example needs scikit-learn: pip install scikit-learn") from None

UNITS = 4
PIXELS = slice(18, 58, 5)  # eight of the 64


def network(pixels, weights, outer):
    """Return the answer for one picture, scalar by scalar."""
    answer = Tensor(0.0, requires_grad=False)
    for row, last in zip(weights, outer, strict=True):
        unit = Tensor(0.0, requires_grad=False)
        for weight, pixel in zip(row, pixels, strict=True):
            unit = unit + weight * pixel
        answer = answer + last * unit.tanh()
    return answer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out/large_graph", help="where to write (default: out/large_graph)")
    parser.add_argument("--pictures", type=int, default=300, help="how many digits (default: 300)")
    given = parser.parse_args()
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)

    digits = load_digits()
    rng = np.random.default_rng(0)
    weights = [[Tensor(w, name=f"w{i}{j}") for j, w in enumerate(row)] for i, row in enumerate(rng.normal(size=(4, 8)))]
    outer = [Tensor(w, name=f"v{i}") for i, w in enumerate(rng.normal(size=UNITS))]
    loss = Tensor(0.0, requires_grad=False)
    for image, label in zip(digits.data[: given.pictures, PIXELS] / 16, digits.target, strict=False):
        loss = loss + (network(image.tolist(), weights, outer) - float(label < 5)) ** 2
    loss.backward()

    frame = gradviz.frame(loss)
    print(f"{len(frame.graph):,} nodes")
    print(frame.summary("line"))
    whole = gradviz.draw(frame, fold=False, title="A network of scalars on handwritten digits")
    print(f"wrote {whole.save(out / 'network.html')}")
    print(f"wrote {whole.save(out / 'network.svg')}")
    print(f"wrote {gradviz.draw(frame).save(out / 'folded.svg')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
