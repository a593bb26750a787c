"""The directives ``curve`` and ``live``: a plot, or a page to try, by a function of ``curves_of_the_tutorial.py``.

The SVG that matplotlib writes is given colours that follow the theme of the page, and the page's font.
"""

import hashlib
import html
import importlib
import re
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from gradviz.views.plot import render

MODULE = "curves_of_the_tutorial"
FOLDER = "gallery/curves"
LIVE = "live"
DARK = {  # the colours of the plots, in a dark page
    "#1b2430": "#e3e7eb",
    "#66717d": "#9aa5b1",
    "#d5dae0": "#3a424b",
    "#0072b2": "#6cb6ff",
    "#d55e00": "#ff9a57",
    "#009e73": "#4fd1a5",
    "#cc79a7": "#e6a3c8",
}


class Curve(SphinxDirective):
    """The plot of a function, or an SVG that it returns, with the content as the caption."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[Any] = {"alt": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Draw it, and return the figure."""
        name = self.arguments[0]
        module = importlib.import_module(MODULE)
        self.env.note_dependency(module.__file__)
        path = Path(self.env.srcdir, FOLDER, f"{name}.svg")
        made = getattr(module, name)()
        drawn = made if isinstance(made, str) else themed(render(made).decode(), name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text("utf-8") != drawn:
            path.write_text(drawn, encoding="utf-8")
        figure = nodes.figure("", nodes.image(uri=f"/{FOLDER}/{name}.svg", alt=self.options["alt"]), classes=["curve"])
        caption, _ = self.parse_inline(" ".join(self.content))
        figure += nodes.caption("", "", *caption)
        self.set_source_info(figure)
        return [figure]


class Live(SphinxDirective):
    """A page of gradviz in a frame, for readers with scripts; the others get a link."""

    required_arguments = 1
    option_spec: ClassVar[Any] = {"title": directives.unchanged_required, "height": directives.nonnegative_int}

    def run(self) -> list[nodes.Node]:
        """Make the page, and return the frame."""
        name, title = self.arguments[0], html.escape(self.options["title"])
        module = importlib.import_module(MODULE)
        self.env.note_dependency(module.__file__)
        path = Path(self.env.app.outdir, LIVE, f"{name}.html")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(getattr(module, name)(), encoding="utf-8")
        place = "../" * self.env.docname.count("/") + f"{LIVE}/{name}.html"
        frame = f'<iframe class="live" src="{place}" title="{title}" loading="lazy" height="{self.options["height"]}">'
        link = f'<p><a href="{place}">{title}, as a page of its own</a></p>'
        return [nodes.raw("", f"{frame}</iframe>{link}", format="html")]


def themed(svg: str, name: str) -> str:
    """Return the SVG of a plot with its colours as variables that are others in a dark page.

    >>> themed('<svg a="b"><path style="fill: #0072b2"/></svg>', "x").count("var(--c0072b2)")
    1
    """
    for colour in DARK:
        svg = svg.replace(colour, f"var(--c{colour[1:]})")
    light = "".join(f"--c{colour[1:]}:{colour};" for colour in DARK)
    dark = "".join(f"--c{colour[1:]}:{new};" for colour, new in DARK.items())
    style = f"<style>:root{{{light}}}@media (prefers-color-scheme: dark){{:root{{{dark}}}}}</style>"
    salt = hashlib.sha256(name.encode()).hexdigest()[:6]
    svg = re.sub(r"(<svg\b[^>]*>)", lambda tag: tag[1] + style, svg, count=1)
    return re.sub(r'(id="|url\(#|href="#)', lambda found: found[1] + f"c{salt}-", svg)


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx about it."""
    app.add_directive("curve", Curve)
    app.add_directive("live", Live)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
