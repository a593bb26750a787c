"""Makes every figure of the README and the docs, as DOT and as SVG, by gradviz itself.

python docs/figures.py            write docs/figures/*.dot and *.svg, and docs/operations.md
python docs/figures.py --check    compare the DOT text with what is committed; exit 1 on a difference

The SVG is not compared: it is a product of the DOT and of the version of Graphviz.
"""

import argparse
import dataclasses
import difflib
import re
import runpy
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np

import gradviz
from gradviz import Drawing, Frame, Graph, Tensor, nn

DOCS = Path(__file__).resolve().parent
FOLDER = DOCS / "figures"


def placeless(_result: Tensor) -> Frame:
    """Return a frame without source lines, so that moving a line in this file changes no figure."""
    frame = gradviz.frame(_result)
    nodes = tuple(dataclasses.replace(node, source=None) for node in frame.graph)
    return dataclasses.replace(frame, graph=Graph(nodes, frame.graph.outputs))


def article() -> Drawing:
    """Draw the article's example, with the derivative on every edge."""
    a, b = Tensor(2.0), Tensor(3.0)
    c = (a + b) * 2
    e = np.sin(c)
    e.backward()
    return gradviz.draw(placeless(e), show=("name", "value", "grad", "local"))


def error_squared(style: str) -> Drawing:
    """Draw the squared error of one point on a line."""
    w, b = Tensor(2.0), Tensor(0.5)
    x, y = Tensor(3.0, requires_grad=False), Tensor(5.0, requires_grad=False)
    error = w * x + b - y
    loss = error**2
    loss.backward()
    return gradviz.draw(placeless(loss), style=style)


def backward_step() -> Drawing:
    """Draw one step of the way back: what has not happened yet is pale."""
    w, b = Tensor(2.0), Tensor(0.5)
    x, y = Tensor(3.0, requires_grad=False), Tensor(5.0, requires_grad=False)
    error = w * x + b - y
    loss = error**2
    loss.backward()
    return gradviz.draw(gradviz.steps(placeless(loss)).backward[1])


def fitted_line() -> Drawing:
    """Draw a loss over arrays: ranges, means and heat strips instead of digits."""
    x = Tensor(np.arange(-8.0, 9.0) / 8, requires_grad=False)
    y = Tensor(np.arange(-8.0, 9.0) / 16 + 0.25, requires_grad=False)
    w, b = Tensor(0.0), Tensor(0.0)
    loss = ((w * x + b - y) ** 2).mean()
    loss.backward()
    return gradviz.draw(placeless(loss))


def layers() -> Drawing:
    """Draw a network with every layer closed."""
    model = nn.MLP([2, 16, 16, 1], "tanh", rng=0)
    x = Tensor(np.linspace(-1.0, 1.0, 40).reshape(20, 2), requires_grad=False)
    target = Tensor((np.arange(20) % 2)[:, None], requires_grad=False)
    loss = nn.bce_with_logits(model(x), target)
    loss.backward()
    return gradviz.draw(placeless(loss), collapse=0, show=("name", "shape", "grad"))


FIGURES: dict[str, Callable[[], Drawing]] = {
    "article": article,
    "style-circuit": lambda: error_squared("circuit"),
    "style-boxes": lambda: error_squared("boxes"),
    "style-compact": lambda: error_squared("compact"),
    "step": backward_step,
    "line": fitted_line,
    "layers": layers,
}


def main() -> int:
    """Write or compare, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    return check() if parser.parse_args().check else write()


def write() -> int:
    """Write every figure, and the table of operations, anew."""
    FOLDER.mkdir(exist_ok=True)
    for name, figure in FIGURES.items():
        drawing = figure()
        for suffix in (".dot", ".svg"):
            print("wrote", drawing.save(FOLDER / f"{name}{suffix}").relative_to(DOCS.parent).as_posix())
    runpy.run_path(str(DOCS / "operations.py"), run_name="__main__")
    return 0


def check() -> int:
    """Print what is not as it should be; return 1 if anything is."""
    trouble = [line for name, figure in FIGURES.items() for line in differences(name, figure())]
    trouble += [f"{path.name}: nobody makes this figure" for path in strays()]
    trouble += [f"{place}: there is no figure {name}" for place, name in shown() if name not in FIGURES]
    for line in trouble:
        print(line)
    print("python docs/figures.py makes them anew" if trouble else f"{len(FIGURES)} figures are up to date")
    return 1 if trouble else 0


def differences(name: str, drawing: Drawing) -> list[str]:
    """Return the lines in which the committed DOT differs from the new one."""
    kept, picture = FOLDER / f"{name}.dot", FOLDER / f"{name}.svg"
    if not kept.is_file() or not picture.is_file():
        return [f"{name}: not made yet"]
    ET.parse(picture)
    old, new = kept.read_text("utf-8").splitlines(), drawing.dot.splitlines()
    return list(difflib.unified_diff(old, new, f"{name}.dot, committed", f"{name}.dot, now", lineterm="", n=0))


def strays() -> list[Path]:
    """Return the files that no figure accounts for."""
    return sorted(path for path in FOLDER.iterdir() if path.stem not in FIGURES or path.suffix not in {".dot", ".svg"})


def shown() -> list[tuple[str, str]]:
    """Return every figure that the README or a page of the docs shows: (page, name)."""
    pages = [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]
    return [
        (page.name, name)
        for page in pages
        if page.is_file()
        for name in re.findall(r"figures/([\w-]+)\.svg", page.read_text("utf-8"))
    ]


if __name__ == "__main__":
    sys.exit(main())
