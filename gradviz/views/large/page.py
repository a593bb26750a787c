"""One page of HTML for a graph of any size: drawn on a canvas, and read without scripts as a summary."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import TYPE_CHECKING

from gradviz import escape, transforms
from gradviz.collecting import uncollected
from gradviz.graphs import Frame
from gradviz.style import Options
from gradviz.views.large.data import page_data
from gradviz.views.large.sheet import FAN, Sheet
from gradviz.views.page.shell import shell

if TYPE_CHECKING:
    from gradviz.views.drawing import Drawing

__all__ = ["large_page"]

HERE = files("gradviz.views.large")
SHARED = ("elements.js", "unpack.js")
OWN = ("model.js", "places.js", "tiles.js", "view.js", "panel.js", "main.js")
PLACES = re.compile(r"\{(title|about|note|still|stubs|tables)\}")
STUBS = f" · a node used more than {FAN} times shows its long lines when it is chosen"
STILL = 300  # nodes of the picture that is seen without scripts
DEEPEST = 8  # scopes, in it
TABLES = (("op", "By op"), ("scope", "By scope"), ("line", "By source line"))


@uncollected()
def large_page(drawing: Drawing) -> str:
    """Return a page on which a graph of any size can be looked around in: moved, zoomed, searched, scope by scope.

    It is one file and refers to nothing outside. Where scripts do not run it shows the outermost scopes as a picture,
    and what came of each op, scope and source line as tables.

    >>> from gradviz.graphs import Graph, Node
    >>> from gradviz.views.drawing import draw
    >>> large_page(draw(Graph((Node(0, "<b>", "input", "input"),)))).count("<b>")
    0
    """
    from gradviz.views.svg import describe, title_of

    frame, options = drawing.frame, drawing.options
    title, about = title_of(frame, options), describe(frame, options)
    still = overview(frame, options)
    sheet = Sheet(frame)
    parts = {
        "title": escape.for_html(title),
        "about": escape.for_html(about, limit=None),
        "note": f"Without scripts: {'the outermost scopes' if still else 'a summary'} of the graph.",
        "still": still,
        "stubs": STUBS if sheet.stubs.any() else "",
        "tables": "\n".join(tables(frame)),
    }
    return shell(
        title=title,
        about=about,
        theme=options.theme,
        styles=[HERE.joinpath("page.css").read_text("utf-8")],
        body=PLACES.sub(lambda hit: parts[hit[1]], HERE.joinpath("page.html").read_text("utf-8")),
        data=page_data(sheet, options.precision),
        script=script(),
    )


def script() -> str:
    """Return all scripts as one, in a function of their own."""
    shared = files("gradviz.views.page").joinpath("js")
    found = [shared.joinpath(name).read_text("utf-8") for name in SHARED]
    found += [HERE.joinpath("js", name).read_text("utf-8") for name in OWN]
    return '"use strict";\n(() => {\n' + "\n".join(found) + "})();\n"


def overview(frame: Frame, options: Options) -> str:
    """Return the outermost scopes as a picture, as deep as there is room for; nothing where that are too many."""
    from gradviz.views.drawing import Drawing
    from gradviz.views.large.svg import large_svg

    depth = fitting_depth(frame)
    if not depth:
        return ""
    return large_svg(Drawing(transforms.collapse(frame, depth - 1), options)).strip()


def fitting_depth(frame: Frame) -> int:
    """Return how many scopes may lie in each other in a picture of few nodes; 0 where even the outermost are too many.

    >>> from gradviz.graphs import Graph, Node
    >>> fitting_depth(Frame(Graph((Node(0, "x", "input", "input", scope=("net", "layer")),)), [1.0], [None]))
    2
    """
    scopes = [node.scope for node in frame.graph.nodes]
    found = 0
    for depth in range(1, 1 + min(DEEPEST, max(map(len, scopes), default=0))):
        open_nodes = sum(len(scope) < depth for scope in scopes)
        if open_nodes + len({scope[:depth] for scope in scopes if len(scope) >= depth}) > STILL:
            break
        found = depth
    return found


def tables(frame: Frame) -> Iterator[str]:
    """Yield the summaries there is something in, each closed until it is asked for."""
    known = {
        "scope": any(node.scope for node in frame.graph.nodes),
        "line": any(node.source for node in frame.graph.nodes),
    }
    for by, caption in TABLES:
        if known.get(by, True):
            text = "\n".join(escape.for_html(line, limit=None) for line in frame.summary(by).splitlines())
            yield f"<details><summary>{caption}</summary><pre>{text}</pre></details>"
