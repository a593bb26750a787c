"""What notebooks show of our objects: pictures, tables, and a slider over steps that is a page in a frame.

Nothing here is imported from below: `attach` gives the classes their ``_repr_html_``, and what
that needs is loaded when something is first shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from gradviz.debugger.births import Birth
from gradviz.debugger.check import Mismatch
from gradviz.debugger.events import Step, Steps
from gradviz.engine import GradcheckReport
from gradviz.errors import GradvizError
from gradviz.escape import for_html
from gradviz.graphs import Frame, Graph, GraphDiff
from gradviz.rules.findings import Finding
from gradviz.tracing.comparing import RunDiff
from gradviz.tracing.descent import Descent
from gradviz.tracing.framediff import FrameDiff
from gradviz.tracing.many import Runs
from gradviz.tracing.reading import Run

__all__ = ["attach"]

NODES = 20_000  # of a graph that is arranged for a picture nobody has asked for
CARDS = 400  # in that picture
SLIDES = 4_000  # cards on all the pictures of a slider
RUN_STEPS = 300  # in the report of a run
PAGE = 8_000_000  # characters
SECONDS = 10.0
LINES = 200
WIDTH = 850  # pixels a notebook has beside the margins
SIZE = re.compile(r'<svg [^>]*?width="([\d.]+)" height="([\d.]+)"')
REPORT = 620  # pixels
COLOURS = {"error": "#d55e00", "warning": "#e69f00", "note": "#56b4e9"}


def attach() -> None:
    """Give everything public that is more than text its display."""
    makers: dict[type, Callable[[Any], str]] = {
        Graph: picture,
        Frame: picture,
        Step: picture,
        Steps: slider,
        Run: report,
        Descent: descent,
        GradcheckReport: gradcheck_table,
        Finding: finding,
        GraphDiff: listing,
        RunDiff: listing,
        FrameDiff: listing,
        Birth: listing,
        Mismatch: listing,
        Runs: overview,
    }
    for kind, make in makers.items():
        kind._repr_html_ = _careful(make)  # type: ignore[attr-defined]


def _careful(make: Callable[[Any], str]) -> Callable[[Any], str]:
    """Return a display that never raises: where there is nothing better it shows the text, and says why."""

    def _repr_html_(self: Any) -> str:
        """Return what a notebook shows. Never raises."""
        from gradviz.views.inline import preformatted

        try:
            return make(self)
        except Exception as error:  # a display that raises hides everything else
            reason = error.message if isinstance(error, GradvizError) else f"{type(error).__name__}: {error}"
            return preformatted(f"{_text(self)}\n(not drawn: {reason})")

    return _repr_html_


def _text(x: Any) -> str:
    try:
        return repr(x)
    except Exception as error:
        return f"<{type(x).__name__}> ({type(error).__name__})"


def picture(x: Any) -> str:
    """Return the picture of a graph, or a few words about one that is too large for it."""
    from gradviz.views.drawing import draw, frame_of
    from gradviz.views.inline import preformatted

    size = len(frame_of(x).graph)
    drawing = draw(x, timeout=SECONDS) if size <= NODES else None
    if drawing is None or len(drawing.frame.graph) > CARDS:
        hint = "draw(..., collapse=1), draw(..., focus=name, hops=2) or .save('graph.html') show more of it"
        return preformatted(f"{x!r}\n{size:,} nodes are many for one picture: {hint}")
    return drawing._repr_html_()


def slider(steps: Steps) -> str:
    """Return a slider over the steps; where they are too many, the picture of the whole."""
    from gradviz.views.inline import framed, preformatted
    from gradviz.views.slides import slides

    cards = len(steps.full.graph) * len(steps)
    if cards > SLIDES:
        hint = f"{len(steps):,} steps are many for a notebook: .save('steps.html') makes a page of them"
        return picture(steps.full) + preformatted(hint)
    page = slides(steps)
    return framed(page, _height(page), f"{len(steps)} steps, to go through with a slider")


def _height(page: str) -> int:
    """Return how many pixels a page with a picture in it wants to be high."""
    found = SIZE.search(page)
    width, height = (float(found[1]), float(found[2])) if found else (WIDTH, 300.0)
    return round(min(max(height * min(1.0, max(WIDTH / width, 0.6)), 80.0) + 300, 800))


def report(run: Run) -> str:
    """Return the report of a run in a frame: every step with a slider, loss, parameters, findings."""
    from gradviz.views.inline import framed, preformatted
    from gradviz.views.page.writer import to_html

    if not len(run):
        return preformatted(repr(run))
    page = to_html(run, steps=RUN_STEPS)
    if len(page) > PAGE:
        return preformatted(f"{run.summary()}\n.save('report.html') makes a page of it")
    return framed(page, REPORT, f"Report of the run {run.path.name}")


def descent(found: Descent) -> str:
    """Return the report of the run that a descent has written, if it has."""
    from gradviz.views.inline import preformatted

    text = preformatted(repr(found))
    return text if found.run is None else text + report(found.run)


def gradcheck_table(found: GradcheckReport) -> str:
    """Return what a check of gradients says, its table in one block."""
    colour = "#009e73" if found.ok else COLOURS["error"]
    return f'<div style="border-left:4px solid {colour};padding-left:8px">{listing(found)}</div>'


def finding(found: Finding) -> str:
    """Return one finding: what, where, and what usually helps."""
    return (
        f'<div style="border-left:4px solid {COLOURS[found.severity]};padding-left:8px">'
        f"{''.join(_finding_lines(found))}</div>"
    )


def _finding_lines(found: Finding) -> Iterator[str]:
    """Yield the lines of a finding as HTML."""
    yield f"<b>{for_html(found.rule)}</b> ({found.severity})<br>{for_html(found.message, 2000)}"
    places = ", ".join(found.places())
    yield f"<br>{for_html(places, 1000)}" if places else ""
    yield f"<br><i>{for_html(found.advice, 2000)}</i>" if found.advice else ""


def overview(runs: Runs) -> str:
    """Return a line for every run."""
    return listing(runs.summary())


def listing(x: Any) -> str:
    """Return what is said of something in words, the first lines of it."""
    from gradviz.views.inline import preformatted

    lines = str(x).splitlines()
    more = [f"... {len(lines) - LINES:,} more lines"] if len(lines) > LINES else []
    return preformatted("\n".join([*lines[:LINES], *more]))
