"""What can be read of a report without scripts: the picture of the last step, the loss, findings, parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gradviz import escape
from gradviz.errors import GradvizError
from gradviz.graphs import Frame
from gradviz.rules import Finding
from gradviz.style import Options, wording
from gradviz.views.charts import Series, chart
from gradviz.views.drawing import arranged
from gradviz.views.page.story import Curve, Story
from gradviz.views.page.views import LARGEST, READABLE, first_shown, of_a_size, views

__all__ = ["still"]

STYLE = re.compile(r"<style>([^<]*)</style>")
POINTS = 1000  # of the loss
ROWS = 200


def still(story: Story, last: Frame | None, options: Options) -> tuple[str, list[str]]:
    """Return the still part of the page as HTML, and the styles in it."""
    parts = [] if last is None else [section("The last step", picture(last, options))]
    if np.isfinite(story.loss).sum() > 0:
        parts.append(section("Loss", loss_chart(story)))
    parts.append(section("Findings", "\n".join(finding_list(story.findings))))
    parts.append(section("Parameters", "\n".join(parameter_table(story.curves))))
    text = "\n".join(parts)
    return text, STYLE.findall(text)


def section(title: str, content: str) -> str:
    """Return a part of the page under a heading."""
    return f"<section><h2>{title}</h2>\n{content}\n</section>"


def picture(frame: Frame, options: Options) -> str:
    """Return the SVG of a frame, folded and closed as far as it takes to be read."""
    frame = of_a_size(frame)
    found = views(frame.graph)
    view = found[first_shown(found)]
    closed = not view.opened and any(node.scope for node in frame.graph)
    collapse = 0 if closed and len(frame.graph) > READABLE else None
    chosen = replace(options, style="boxes", fold=view.folded or "auto", collapse=collapse, direction="TB")
    drawing = arranged(frame, chosen)
    if len(drawing.frame.graph) > LARGEST:
        return f"<p>{len(frame.graph):,} nodes are too many for one picture.</p>"
    try:
        return f"<figure>\n{drawing.svg.strip()}\n</figure>"
    except GradvizError as error:
        return f"<p>{escape.for_html(error.message)}</p>"


def loss_chart(story: Story) -> str:
    """Return the loss as a chart; logarithmic where it goes over more than two decades."""
    finite = np.flatnonzero(np.isfinite(story.loss))
    shown = finite[np.unique(np.linspace(0, len(finite) - 1, min(POINTS, len(finite))).astype(int))]
    losses = story.loss[shown]
    log = bool(losses.min() > 0 and losses.max() / losses.min() > 100)
    series = [Series("loss", story.steps[shown].tolist(), losses.tolist())]
    drawn = chart(series, title="The loss by step", x_label="step", y_label="loss", log=log)
    return f"<figure>\n{drawn.strip()}\n</figure>"


def finding_list(findings: list[Finding]) -> Iterator[str]:
    """Yield the findings as a list."""
    if not findings:
        yield "<p>None: the health rules have nothing to say.</p>"
        return
    yield "<ol>"
    for finding in findings:
        places = ", ".join(escape.for_html(place, 80) for place in finding.places())
        head = f"<strong>{finding.severity}: {escape.for_html(finding.rule)}</strong>"
        text = f"{head} {escape.for_html(finding.message, 1000)}"
        yield f"<li>{text}{f' ({places})' if places else ''} <em>{escape.for_html(finding.advice, 1000)}</em></li>"
    yield "</ol>"


def parameter_table(curves: list[Curve]) -> Iterator[str]:
    """Yield the parameters as a table: a number or the norm of an array, at the first and the last step."""
    heads = ("Parameter", "Shape", "First", "Last", "First gradient", "Last gradient")
    yield "<table><thead><tr>" + "".join(f'<th scope="col">{head}</th>' for head in heads) + "</tr></thead><tbody>"
    for curve in curves[:ROWS]:
        numbers = [(part[place] if len(part) else np.nan) for part in (curve.value, curve.grad) for place in (0, -1)]
        cells = "".join(f"<td>{_cell(number, norm=bool(curve.shape))}</td>" for number in numbers)
        shape = wording.format_shape(curve.shape) or "number"
        yield f'<tr><th scope="row">{escape.for_html(curve.name, 80)}</th><td>{shape}</td>{cells}</tr>'
    yield "</tbody></table>"


def _cell(number: float, *, norm: bool) -> str:
    if np.isnan(number):
        return "–"
    text = wording.format_number(number)
    return f"‖{text}‖" if norm else text
