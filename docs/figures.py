"""Makes every figure of the README and the docs, as DOT and as SVG, by gradviz itself.

python docs/figures.py            write docs/figures/*.dot and *.svg, and the pages that are made
python docs/figures.py --check    compare the DOT text with what is committed; exit 1 on a difference

The SVG is not compared: it is a product of the DOT and of the version of Graphviz. Of the plots (plot-*.svg), which
are products of the run and of the version of matplotlib, and of what moves (motion-*.svg), nothing is compared but that
they are there.
"""

import argparse
import dataclasses
import difflib
import re
import runpy
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import gradviz
from gradviz import Drawing, Frame, Graph, Run, Tensor, demo, nn
from gradviz.views.plot import save

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


def moving(style: str = "cards") -> gradviz.Animation:
    """Let the article's example go forward and back."""
    return gradviz.animate(article().origin, style=style)


def error_squared(style: str) -> Drawing:
    """Draw the squared error of one point on a line."""
    w, b = Tensor(2.0), Tensor(0.5)
    x, y = Tensor(3.0, requires_grad=False), Tensor(5.0, requires_grad=False)
    error = w * x + b - y
    loss = error**2
    loss.backward()
    return gradviz.draw(placeless(loss), style=style)


def neuron(style: str) -> Drawing:
    """Draw the neuron of the lectures on backpropagation."""
    names = {"w0": 2.0, "x0": -1.0, "w1": -3.0, "x1": -2.0, "w2": -3.0}
    w0, x0, w1, x1, w2 = (Tensor(number, name=name) for name, number in names.items())
    f = 1 / (1 + np.exp(-(w0 * x0 + w1 * x1 + w2)))
    f.backward()
    return gradviz.draw(placeless(f), style=style, precision=2)


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


def loop(*, unfold: bool) -> Drawing:
    """Draw the sum of the squared errors of 100 points, added up in a loop."""
    w, b, total = Tensor(0.5, name="w"), Tensor(0.1, name="b"), 0.0
    for i in range(100):
        error = w * (i / 100) + b - i / 50
        total = total + error**2
    total.backward()
    return gradviz.draw(placeless(total), unfold=unfold, style="boxes" if unfold else "cards")


FIGURES: dict[str, Callable[[], Drawing]] = {
    "article": article,
    "style-cards": lambda: error_squared("cards"),
    "style-circuit": lambda: neuron("circuit"),
    "style-paper": lambda: neuron("paper"),
    "style-boxes": lambda: error_squared("boxes"),
    "style-compact": lambda: error_squared("compact"),
    "step": backward_step,
    "line": fitted_line,
    "layers": layers,
    "fold": lambda: loop(unfold=False),
    "unfold": lambda: loop(unfold=True),
}


def forbes() -> Run:
    """Return the run of the demo: a line fitted to real data."""
    return traced("forbes", lambda path: demo.fit(path, steps=40).run)


def deep() -> Run:
    """Return the run of a deep network with sigmoids, whose first layers hardly learn."""
    return traced("deep", descended)


def descended(path: Path) -> Run:
    """Train a network on points that a circle separates, and return the run."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (60, 2))
    x = Tensor(points, requires_grad=False)
    target = Tensor((np.hypot(*points.T) < 0.7)[:, None] * 1.0, requires_grad=False)
    model = nn.MLP([2, 8, 8, 8, 8, 1], "sigmoid", rng=1)
    params = dict(model.named_parameters())
    with gradviz.trace(path, params=params) as log:
        for _ in range(150):
            for p in params.values():
                p.zero_grad()
            loss = nn.bce_with_logits(model(x), target)
            loss.backward()
            log.step(loss)
            for p in params.values():
                p.data = p.data - 0.5 * p.grad
    return gradviz.open_run(path)


def traced(name: str, make: Callable[[Path], Run]) -> Run:
    """Return a run, made once, in a folder that is removed at the end."""
    if name not in RUNS:
        RUNS[name] = make(Path(scratch().name) / name)
    return RUNS[name]


@cache
def scratch() -> tempfile.TemporaryDirectory[str]:
    """Return the folder of the runs."""
    return tempfile.TemporaryDirectory(prefix="figures-")


RUNS: dict[str, Run] = {}
PLOTS: dict[str, Callable[[], Any]] = {
    "plot-fit": lambda: forbes().plot("fit", title="Pressure by boiling point of water"),
    "plot-path": lambda: forbes().plot("path", points=41, title="The way down"),
    "plot-loss": lambda: forbes().plot("loss", title="Loss"),
    "plot-gradients": lambda: deep().plot("gradients", by="layer", title="Gradients by layer"),
    "plot-updates": lambda: deep().plot("updates", by="layer", title="Updates by layer"),
    "plot-heatmap": lambda: deep().plot("heatmap", title="Gradients of a deep network"),
}

MOTION: dict[str, Callable[[], Any]] = {
    "motion-backprop": moving,
    "motion-strip": lambda: moving("circuit").strip(4),
    "motion-run": lambda: gradviz.animate(forbes(), frames=12, direction="TB"),
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
    for name, plot in PLOTS.items():
        print("wrote", save(plot(), FOLDER / f"{name}.svg").relative_to(DOCS.parent).as_posix())
    for name, motion in MOTION.items():
        print("wrote", motion().save(FOLDER / f"{name}.svg").relative_to(DOCS.parent).as_posix())
    runpy.run_path(str(DOCS / "operations.py"), run_name="__main__")
    sys.argv[1:] = []
    runpy.run_path(str(DOCS / "finding_faults.py"), run_name="__main__")
    return 0


def check() -> int:
    """Print what is not as it should be; return 1 if anything is."""
    trouble = [line for name, figure in FIGURES.items() for line in differences(name, figure())]
    trouble += [f"{name}: not made yet" for name in (*PLOTS, *MOTION) if not is_picture(FOLDER / f"{name}.svg")]
    trouble += [f"{path.name}: nobody makes this figure" for path in strays()]
    trouble += [
        f"{place}: there is no figure {name}" for place, name in shown() if name not in {**FIGURES, **PLOTS, **MOTION}
    ]
    for line in trouble:
        print(line)
    print(
        "python docs/figures.py makes them anew"
        if trouble
        else f"{len(FIGURES) + len(PLOTS) + len(MOTION)} figures are up to date"
    )
    return 1 if trouble else 0


def differences(name: str, drawing: Drawing) -> list[str]:
    """Return the lines in which the committed DOT differs from the new one."""
    kept, picture = FOLDER / f"{name}.dot", FOLDER / f"{name}.svg"
    if not kept.is_file() or not picture.is_file():
        return [f"{name}: not made yet"]
    ET.parse(picture)
    old, new = kept.read_text("utf-8").splitlines(), drawing.dot.splitlines()
    return list(difflib.unified_diff(old, new, f"{name}.dot, committed", f"{name}.dot, now", lineterm="", n=0))


def is_picture(path: Path) -> bool:
    """Tell whether there is a picture that can be read."""
    return path.is_file() and ET.parse(path).getroot().tag.endswith("svg")


def strays() -> list[Path]:
    """Return the files that no figure accounts for."""
    known = {f"{name}{suffix}" for name in FIGURES for suffix in (".dot", ".svg")}
    known |= {f"{name}.svg" for name in (*PLOTS, *MOTION)}
    return sorted(path for path in FOLDER.iterdir() if path.name not in known)


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
