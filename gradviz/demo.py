"""``gradviz demo``: fit a line to real data by gradient descent, and show everything that happens.

The data are James D. Forbes's: at what temperature water boils, and the pressure of the air, at
17 places in the Alps and in Scotland (Transactions of the Royal Society of Edinburgh 21, 1857,
pages 135-143; in the public domain). He wanted to tell heights from a thermometer.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

import numpy as np

from gradviz import sources
from gradviz.engine.tensor import Tensor
from gradviz.errors import GradvizValueError
from gradviz.escape import for_html
from gradviz.files import write_atomically
from gradviz.graphs import Frame
from gradviz.style.wording import format_number
from gradviz.tracing.reading import Run, open_run
from gradviz.tracing.recorder import trace
from gradviz.views.charts import Series, chart
from gradviz.views.drawing import Drawing, draw

__all__ = ["BOILING", "PRESSURE", "Fit", "demonstrate", "fit", "least_squares"]

# degrees Fahrenheit
BOILING = (
    194.5, 194.3, 197.9, 198.4, 199.4, 199.9, 200.9, 201.1, 201.4, 201.3, 203.6, 204.6, 209.5, 208.6, 210.7, 211.9,
    212.2,
)  # fmt: skip
# inches of mercury
PRESSURE = (
    20.79, 20.79, 22.40, 22.67, 23.15, 23.35, 23.89, 23.99, 24.02, 24.01, 25.14, 26.57, 28.49, 27.76, 29.04, 29.88,
    30.06,
)  # fmt: skip

STEPS = 60
LEARNING_RATE = 0.1


@dataclass(frozen=True)
class Fit:
    """What a descent gave: the run it wrote, its first and last frames, and the line on the data's own scale."""

    run: Run
    first: Frame
    last: Frame
    slope: float
    intercept: float

    @property
    def last_step(self) -> int:
        """The number of the last iteration."""
        return int(self.run.steps[-1])


def mean_squared_error(slope: float, intercept: float) -> float:
    """Return the mean squared error of a line on Forbes's data.

    >>> round(mean_squared_error(0.0, 0.0), 2)
    636.53
    """
    error = slope * np.asarray(BOILING) + intercept - np.asarray(PRESSURE)
    return float(np.mean(error**2))


def least_squares(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Return slope and intercept of the line with the least squared error, in closed form.

    >>> least_squares([0.0, 1.0, 2.0], [1.0, 3.0, 5.0])
    (2.0, 1.0)
    """
    across, up = np.asarray(x, float), np.asarray(y, float)
    centred = across - across.mean()
    slope = float(centred @ up / (centred @ centred))
    return slope, float(up.mean() - slope * across.mean())


def fit(path: str | os.PathLike[str], *, steps: int = STEPS, learning_rate: float = LEARNING_RATE) -> Fit:
    """Fit a line to Forbes's data by gradient descent, traced to a run directory at ``path``.

    The temperatures are standardised first (mean 0, variance 1): then one learning rate suits
    slope and intercept alike, and the error shrinks by the same factor in every step.
    """
    centre, spread = float(np.mean(BOILING)), float(np.std(BOILING))
    x = Tensor((np.array(BOILING) - centre) / spread, name="x", requires_grad=False)
    y = Tensor(PRESSURE, name="y", requires_grad=False)
    w, b = Tensor(0.0, name="w"), Tensor(0.0, name="b")
    frames = []
    meta = {"data": "Forbes 1857", "learning_rate": learning_rate, "x_mean": centre, "x_std": spread}
    with trace(path, params={"w": w, "b": b}, meta=meta) as log:
        for _ in range(steps):
            w.zero_grad()
            b.zero_grad()
            error = w * x + b - y
            loss = (error**2).mean()
            loss.backward()
            log.step(loss)
            frames.append(sources.frame(loss))
            w.data -= learning_rate * w.grad
            b.data -= learning_rate * b.grad
    slope = w.item() / spread
    return Fit(open_run(log.path), frames[0], frames[-1], slope, b.item() - slope * centre)


def demonstrate(folder: str | os.PathLike[str], *, steps: int = STEPS) -> tuple[Fit, list[Path]]:
    """Fit the line, write the run, its log, the graph and a page into ``folder``; return the fit and the files."""
    if steps < 1:
        raise GradvizValueError(f"steps={steps}: at least one is needed")
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    made = fit(target / "run", steps=steps)
    first = _picture(made.first, "Iteration 0: forward values and backward gradients")
    last = _picture(made.last, f"Iteration {made.last_step}: the gradients are nearly 0")
    written = [
        first.save(target / "graph.svg"),
        first.save(target / "graph.png"),
        last.save(target / "graph-last.svg"),
        made.run.export(target / "log.csv"),
        write_atomically(target / "index.html", page(made, first.svg, last.svg)),
    ]
    return made, [Path(made.run.path), *written]


def _picture(frame: Frame, title: str) -> Drawing:
    return draw(frame, show=("name", "shape", "value", "grad"), title=title)


# -- the page ------------------------------------------------------------------------------------


def page(made: Fit, first_graph: str, last_graph: str) -> str:
    """Return the demo's page: one HTML file that needs nothing else, light and dark."""
    slope, intercept = least_squares(BOILING, PRESSURE)
    return PAGE.substitute(
        style=STYLE,
        fit=_fit_chart(made),
        losses=_loss_chart(made),
        first=first_graph,
        last=last_graph,
        last_step=str(made.last_step),
        answer=_answer_rows(made, slope, intercept),
        rows=_iteration_rows(made.run),
        count=str(len(made.run)),
    )


def _fit_chart(made: Fit) -> str:
    ends = (min(BOILING), max(BOILING))
    after = [made.slope * x + made.intercept for x in ends]
    series = [
        Series("Forbes 1857", BOILING, PRESSURE, "data", dots=True),
        Series("before", ends, (0.0, 0.0), "before"),
        Series("after", ends, after, "after"),
    ]
    title = "Pressure of the air by the temperature at which water boils"
    return chart(series, title=title, x_label="water boils at, °F", y_label="pressure, inches of mercury")


def _loss_chart(made: Fit) -> str:
    steps = [float(step) for step in made.run.steps]
    best = mean_squared_error(*least_squares(BOILING, PRESSURE))
    series = [
        Series("descent", steps, made.run.loss.tolist(), "after"),
        Series("least squares", [steps[0], steps[-1]], [best, best], "other"),
    ]
    title = "Loss by iteration"
    return chart(series, title=title, x_label="iteration", y_label="mean squared error", log=True)


def _answer_rows(made: Fit, slope: float, intercept: float) -> str:
    lines = [
        ("before", 0.0, 0.0),
        (f"after {len(made.run)} steps of descent", made.slope, made.intercept),
        ("least squares, in closed form", slope, intercept),
    ]
    return "\n".join(
        _row([name, *(format_number(n, 6) for n in (mean_squared_error(a, b), a, b))]) for name, a, b in lines
    )


def _iteration_rows(run: Run) -> str:
    columns = (run.steps, run.loss, run["w"].value, run["w"].grad, run["b"].value, run["b"].grad)
    return "\n".join(
        _row([str(int(step)), *(format_number(float(n), 6) for n in numbers)])
        for step, *numbers in zip(*columns, strict=True)
    )


def _row(cells: Sequence[str]) -> str:
    head, *rest = map(for_html, cells)
    return f"<tr><th scope=row>{head}</th>" + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>"


STYLE = """\
:root { color-scheme: light dark; font: 16px/1.5 Helvetica, Arial, sans-serif }
body { max-width: 74rem; margin: 2rem auto; padding: 0 1rem; color: #1b2430; background: #fffffe }
h1 { line-height: 1.2 } h2 { margin-top: 2.5rem }
figure { margin: 1rem 0 } figcaption { color: #66717d }
svg { max-width: 100%; height: auto }
.charts { display: flex; flex-wrap: wrap; gap: 1rem } .charts figure { flex: 1 1 26rem }
.scroll { overflow: auto } .scroll svg { min-width: 60rem } .tall { max-height: 24rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .9rem; text-align: right; border-bottom: 1px solid #a3acb644 }
th { font-weight: 400 } thead th { font-weight: 700; position: sticky; top: 0; background: #fffffe }
@media (prefers-color-scheme: dark) {
  body, thead th { color: #e8edf2; background: #14191f } figcaption { color: #9aa7b4 }
}"""

PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>gradviz demo: a line fitted by gradient descent</title>
<style>
$style
</style>
</head>
<body>
<h1>A line fitted by gradient descent</h1>
<p>In 1857 James D. Forbes published at what temperature water boiled, and what the pressure of the air was, at
17 places in the Alps and in Scotland. A line <b>w·x + b</b> is fitted to his numbers; x is the temperature,
standardised to mean 0 and variance 1. Every iteration is recorded.</p>
<table>
<thead><tr><th></th><th>mean squared error</th><th>slope, inHg/°F</th><th>intercept, inHg</th></tr></thead>
<tbody>
$answer
</tbody>
</table>
<div class="charts">
<figure>$fit<figcaption>The line before and after.</figcaption></figure>
<figure>$losses<figcaption>The loss, on a logarithmic axis, comes down to that of least squares.</figcaption></figure>
</div>
<h2>The computation graph of the first iteration</h2>
<figure><div class="scroll">$first</div>
<figcaption>Each card holds a forward value and the gradient of the loss by it; blue is negative, orange
positive, and a wider arrow carries more. x and y are data, so no gradient is computed for them.</figcaption></figure>
<h2>The same graph in iteration $last_step</h2>
<figure><div class="scroll">$last</div>
<figcaption>At the minimum the gradients of w and b have all but vanished.</figcaption></figure>
<h2>All $count iterations</h2>
<div class="scroll tall" tabindex="0">
<table>
<thead><tr><th>step</th><th>loss</th><th>w</th><th>∂loss/∂w</th><th>b</th><th>∂loss/∂b</th></tr></thead>
<tbody>
$rows
</tbody>
</table>
</div>
<p>The same numbers are in <a href="log.csv">log.csv</a>, to the last bit in the folder <code>run</code>, and the
picture in <a href="graph.svg">graph.svg</a> and <a href="graph.png">graph.png</a>.</p>
</body>
</html>
""")
