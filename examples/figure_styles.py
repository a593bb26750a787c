"""The neuron of the lectures on backpropagation, as a lecturer draws it and as a journal prints it.

python examples/figure_styles.py [--out DIR]

f = 1 / (1 + exp(-(w0 x0 + w1 x1 + w2))): values above the wires, gradients below. Writes each style as SVG, PDF and
TikZ; the picture for print is as wide as it should be in the text, so a paper includes neuron-paper.pdf at its size.
"""

import argparse
import math
from pathlib import Path

import numpy as np

import gradviz
from gradviz import Tensor

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--out", default="out/figure_styles", help="where to write (default: out/figure_styles)")
out = Path(parser.parse_args().out)
out.mkdir(parents=True, exist_ok=True)

w0 = Tensor(2.0)
x0 = Tensor(-1.0)
w1 = Tensor(-3.0)
x1 = Tensor(-2.0)
w2 = Tensor(-3.0)
f = 1 / (1 + np.exp(-(w0 * x0 + w1 * x1 + w2)))
f.backward()

# The derivative of a sigmoid is f (1 - f), and what it hands on to w0 is that times x0.
value = 1 / (1 + math.exp(-1))
assert math.isclose(f.item(), value)
assert math.isclose(w0.grad, -value * (1 - value))

lecture = gradviz.draw(f, style="circuit", precision=2)
journal = gradviz.draw(f, style="paper", precision=2, theme="print")
for name, picture in (("neuron-circuit", lecture), ("neuron-paper", journal)):
    for suffix in (".svg", ".pdf", ".tex"):
        print("wrote", picture.save(out / f"{name}{suffix}").as_posix())
