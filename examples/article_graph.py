"""The article's picture: c = (a + b) * 2, d = a * b, e = sin(c), with every value and gradient in it.

python examples/article_graph.py [--out DIR]
gradviz draw examples/article_graph.py:e -o e.svg
"""

import argparse
import math
from pathlib import Path

import numpy as np

import gradviz
from gradviz import Tensor

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--out", default="out/article_graph", help="where to write (default: out/article_graph)")
out = Path(parser.parse_args().out)
out.mkdir(parents=True, exist_ok=True)

# The computation. Nobody names anything: the variables' names are found by themselves.
a = Tensor(2.0)
b = Tensor(3.0)
c = (a + b) * 2
d = a * b
e = np.sin(c)

# The chain rule, from e back to a and b: de/da = de/dc * dc/da = cos(c) * 2.
e.backward()
by_hand = math.cos(10.0) * 2
print(f"e = sin(c) = {e.item():.6f}")
print(f"de/dc = {c.grad:.6f}, de/da = {a.grad:.6f}, de/db = {b.grad:.6f}; by hand cos(10) * 2 = {by_hand:.6f}")
print(f"d = a * b = {d.item():g} has no part in e: its gradient is {d.grad}, and it is not in the picture of e")

# torchviz's make_dot, by the same name: a graphviz.Digraph, whose .source is DOT text.
dot = gradviz.make_dot(e, params={"a": a, "b": b})
(out / "e.dot").write_text(dot.source, encoding="utf-8")

# The same graph drawn by gradviz; "local" writes the derivative on every edge.
picture = gradviz.draw(e, show=("name", "value", "grad", "local"), title="e = sin((a + b) * 2)")
files = [out / "e.dot", picture.save(out / "e.svg"), picture.save(out / "e.png")]

# Every step of the computation in words: forwards, then backwards.
for step in gradviz.steps(e):
    print(step)
for file in files:
    print("wrote", file)
