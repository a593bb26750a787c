"""Two runs, or two frames, side by side on one page of HTML that needs no network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gradviz import escape
from gradviz.errors import GradvizError
from gradviz.files import write_atomically
from gradviz.graphs import Frame, GraphDiff
from gradviz.style import wording
from gradviz.style.colours import BRIGHT
from gradviz.tracing.comparing import ParameterDiff, RunDiff, since
from gradviz.tracing.framediff import FrameDiff, NodeDifference
from gradviz.tracing.measuring import told_apart
from gradviz.views.comparisoncharts import Chart, charts_of
from gradviz.views.document import document
from gradviz.views.drawing import draw
from gradviz.views.webpage import FOLDER, colours, figure, td, widths

__all__ = ["page", "save"]

ROWS = 100  # of a table of nodes
PARAMETERS = 500  # rows of the table of parameters
NEAR = 60  # nodes; of a larger graph the surroundings of the first difference are drawn
HOPS = 3
LINKS = f":root{{--a:{BRIGHT['blue']};--b:{BRIGHT['orange']}}}"
DARK_LINKS = f"@media (prefers-color-scheme:dark){{:root{{--a:{BRIGHT['sky blue']};--b:{BRIGHT['orange']}}}}}"
BODY = """\
<header><h1>{title}</h1>
<ul class="key"><li class="a"><span></span>A: {a}</li><li class="b"><span></span>B: {b}</li></ul></header>
<main>
{sections}
</main>"""


Labels = tuple[str, str]


def save(found: RunDiff | FrameDiff, path: Path, labels: Labels | None = None) -> Path:
    """Write the page of a comparison and return its path."""
    return write_atomically(path, page(found, labels))


def page(found: RunDiff | FrameDiff, labels: Labels | None = None) -> str:
    """Return a comparison as a page: what differs and since when, curves of both, and the first node that differs.

    It refers to nothing outside, runs no script but its own (a content security policy with hashes says so to
    the browser), and can be read without scripts. ``labels`` say what A and B are.
    """
    charts = charts_of(found) if isinstance(found, RunDiff) else []
    sections = _run_sections(found, charts) if isinstance(found, RunDiff) else _frame_sections(found)
    body = "\n".join(sections)
    style = colours("auto") + LINKS + DARK_LINKS
    style += _widths(body) + "".join((FOLDER / name).read_text("utf-8") for name in ("webpage.css", "comparison.css"))
    script = (FOLDER / "comparison.js").read_text("utf-8")
    a, b = labels or _labels(found)
    title = _title(found)
    parts = {
        "title": escape.for_html(title),
        "a": escape.for_html(a),
        "b": escape.for_html(b),
        "sections": body,
    }
    whole = re.sub(r"\{(\w+)\}", lambda hit: parts[hit[1]], BODY)
    data = {"charts": [chart.data for chart in charts]}
    return document(title=title, styles=[style], body=whole, data=data, script=script)


def _widths(body: str) -> str:
    """Return the rule that keeps large graphs readable: they are scrolled before they get too small."""
    graphs = body.partition('<div class="graphs">')[2]
    return widths([("", graphs)]).replace("figure svg", ".graphs svg") if graphs else ""


def _title(found: RunDiff | FrameDiff) -> str:
    if found.same:
        return f"The same, {found.extent}" if isinstance(found, RunDiff) else "The same, bit for bit"
    if isinstance(found, RunDiff):
        return "Two runs that differ" if found.step is None else f"Two runs that part in step {found.step}"
    return "Two moments that differ"


def _labels(found: RunDiff | FrameDiff) -> Labels:
    if isinstance(found, RunDiff):
        return found.paths
    a, b = ("a frame" if step is None else f"step {step}" for step in found.steps)
    return a, b


# -- the parts of the page ---------------------------------------------------------------------


def _run_sections(found: RunDiff, charts: Sequence[Chart]) -> Iterator[str]:
    """Yield the sections about two runs."""
    yield section("What differs", _summary(found))
    yield section("About the runs", _facts(found))
    loss = [(i, chart) for i, chart in enumerate(charts) if chart.of == "loss"]
    if loss:
        yield section("Loss", [_chart_grid(loss)])
    if found.frames is not None:
        yield from _frame_sections(found.frames, found.step)
    if found.parameters:
        yield section("Parameters", _parameters(found, charts))


def section(title: str, parts: Sequence[str] | Iterator[str]) -> str:
    """Return a section of the page."""
    return "\n".join([f"<section><h2>{escape.for_html(title)}</h2>", *parts, "</section>"])


def _summary(found: RunDiff) -> Iterator[str]:
    """Yield in sentences what the comparison found."""
    lines = str(found).splitlines()
    yield f'<p class="verdict">{escape.for_html(lines[0], None)}</p>'
    if found.first is not None:
        yield f"<p>The first number that differs: {escape.for_html(since(found.first), None)}.</p>"
    for path, steps in zip("AB", found.only, strict=True):
        if steps:
            yield f"<p>Only {path} has {len(steps):,} steps, from {steps[0]} to {steps[-1]}.</p>"
    for path, names in zip("AB", found.names, strict=True):
        if names:
            yield f"<p>Only {path} has {escape.for_html(', '.join(names[:50]), 1000)}.</p>"
    a, b = told_apart(*found.final_loss)
    yield f"<p>Loss at the end: {a} in A (step {_step(found, 0)}), {b} in B (step {_step(found, 1)}).</p>"
    for path, notes in zip("AB", found.damage, strict=True):
        if notes:
            yield f"<p>{path} is damaged: {notes} notes. What is damaged was left out.</p>"


def _step(found: RunDiff, side: int) -> str:
    step = found.final_steps[side]
    return "none" if step is None else str(step)


def _facts(found: RunDiff) -> Iterator[str]:
    """Yield what is noted of the runs, as far as it differs."""
    if not found.facts:
        yield '<p class="note">Meta data, versions, seed and machine are the same.</p>'
        return
    rows = [[th(name), td(_fact(a), "text"), td(_fact(b), "text")] for name, a, b in found.facts[:PARAMETERS]]
    yield table("What is noted of the runs and differs", ("note", "A", "B"), rows)


def _fact(value: Any) -> str:
    return "none" if value is None else str(value)


def _chart_grid(charts: Sequence[tuple[int, Chart]]) -> str:
    figures = (figure(chart.caption, chart.svg).replace("<figure", f'<figure data-chart="{i}"') for i, chart in charts)
    return "\n".join(['<div class="charts">', *figures, "</div>"])


def _parameters(found: RunDiff, charts: Sequence[Chart]) -> Iterator[str]:
    """Yield the table of parameters and their curves."""
    heads = ("parameter", "value differs", "gradient differs", "first A", "first B", "last A", "last B")
    shown = sorted(found.parameters, key=_since)[:PARAMETERS]
    yield table("Parameters of both runs, those that differ first above", heads, [list(_row(one)) for one in shown])
    if len(found.parameters) > PARAMETERS:
        yield f'<p class="note">and {len(found.parameters) - PARAMETERS} more</p>'
    drawn = [(i, chart) for i, chart in enumerate(charts) if chart.of != "loss"]
    if drawn:
        yield _chart_grid(drawn)
    if len(drawn) < len(found.parameters):
        yield f'<p class="note">Curves of {len(drawn)} of {len(found.parameters)} parameters are drawn.</p>'


def _since(one: ParameterDiff) -> float:
    steps = [found.step for found in (one.value, one.gradient) if found is not None and found.step is not None]
    return min(steps, default=float("inf"))


def _row(one: ParameterDiff) -> Iterator[str]:
    """Yield the cells of one parameter."""
    yield th(f"‖{one.name}‖" if one.is_norm else one.name)
    for found in (one.value, one.gradient):
        yield td("" if found is None else f"from step {found.step} on, {found.brief}", "one")
    for pair in (one.first, one.last):
        yield from (td(text, "number") for text in told_apart(*pair))


# -- the graph of one step ---------------------------------------------------------------------


def _frame_sections(found: FrameDiff, step: int | None = None) -> Iterator[str]:
    """Yield the sections about two frames: structure, pictures, nodes."""
    where = "" if step is None else f" of step {step}"
    if found.structure:
        yield section(f"The graphs{where} are not the same", [_structure(found.structure)])
    if found.frames is not None:
        yield section(f"The graph{where}", _pictures(found))
    for what, nodes in (("value", found.forward), ("gradient", found.backward)):
        if nodes:
            way = "forward" if what == "value" else "backward"
            yield section(f"{what.capitalize()}s that differ, {way}", _nodes(what, nodes))
    if found.same:
        yield section("No difference", ["<p>Structure, values and gradients are the same, bit for bit.</p>"])


def _structure(found: GraphDiff) -> str:
    lines = (escape.for_html(line, 500) for line in str(found).splitlines())
    return '<pre tabindex="0">' + "\n".join(lines) + "</pre>"


def _pictures(found: FrameDiff) -> Iterator[str]:
    """Yield the graph with the numbers of both sides, the first node that differs outlined."""
    assert found.frames is not None
    first = found.first
    if first is not None:
        text = f"The outlined node is the first that differs: {first}"
        yield f"<p>{escape.for_html(text, None)}.</p>"
    nodes = (first.a.id, first.b.id) if first is not None else (None, None)
    yield '<div class="graphs">'
    for side, frame, node in zip("AB", found.frames, nodes, strict=True):
        yield _picture(frame, node, side if frame.step is None else f"{side}, step {frame.step}")
    yield "</div>"
    if first is not None and max(len(frame.graph) for frame in found.frames) > NEAR:
        yield f'<p class="note">The graph is large: what lies up to {HOPS} edges from that node is drawn.</p>'


def _picture(frame: Frame, node: int | None, caption: str) -> str:
    """Return one side's graph, or why it could not be drawn."""
    focus = node if len(frame.graph) > NEAR else None
    hops = None if focus is None else HOPS
    highlight = () if node is None else (node,)
    try:
        picture = draw(frame, highlight=highlight, focus=focus, hops=hops, alt=f"The graph of {caption}")
        return figure(caption, picture.svg).replace("<figure", '<figure tabindex="0"', 1)
    except GradvizError as error:
        return figure(caption, f'<p class="note">It could not be drawn: {escape.for_html(error.message)}</p>')


def _nodes(what: str, nodes: Sequence[NodeDifference]) -> Iterator[str]:
    heads = ("node", "op", "A", "B", "by", "source")
    order = "computation" if what == "value" else "backpropagation"
    caption = (
        f"{len(nodes):,} {what}{'s' if len(nodes) > 1 else ''}, in the order of {order}; ▸ is where a difference begins"
    )
    yield table(caption, heads, [_node(one) for one in nodes[:ROWS]], [one.born for one in nodes[:ROWS]])
    if len(nodes) > ROWS:
        yield f'<p class="note">and {len(nodes) - ROWS:,} more</p>'


def _node(one: NodeDifference) -> list[str]:
    """Return the cells of one node."""
    a, b = told_apart(*one.found.pair)
    source = one.a.source
    place = f"{source.file.rpartition('/')[2]}:{source.line} {source.text}" if source else ""
    by = ", ".join(filter(None, (one.found.count, one.found.sizes)))
    name = th(wording.display_name(one.a))
    return [name, td(one.a.op, "op"), td(a, "number"), td(b, "number"), td(by, "one"), td(place, "place")]


def th(text: str) -> str:
    """Return the head of a row."""
    return f'<th scope="row">{escape.for_html(text, 80)}</th>'


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], born: Sequence[bool] = ()) -> str:
    """Return a table; rows that are ``born`` say that a difference begins there."""
    top = "".join(f'<th scope="col">{escape.for_html(head)}</th>' for head in heads)
    marks = [' class="born"' if mark else "" for mark in born] or [""] * len(rows)
    body = "\n".join(f"<tr{mark}>{''.join(row)}</tr>" for mark, row in zip(marks, rows, strict=True))
    return (
        f'<div class="table" tabindex="0" role="region" aria-label="{escape.for_html(caption)}"><table>'
        f"<caption>{escape.for_html(caption)}</caption>\n"
        f"<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )
