"""The directive ``gradviz`` in short, for this site only: code that is run, and the picture of what it has left."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import gradviz

FOLDER = "gallery/drawings"
FOLDS = {"true": True, "false": False}
OPTIONS: dict[str, Callable[[str], Any]] = {
    "show": str.split,
    "style": str,
    "direction": str,
    "focus": str,
    "hops": int,
    "collapse": int,
    "fold": lambda text: FOLDS.get(text, text),
}


class Picture(SphinxDirective):
    """A picture of the last thing that can be drawn of those that the code has left."""

    has_content = True
    option_spec: ClassVar[Any] = {
        **dict.fromkeys(OPTIONS, directives.unchanged_required),
        "alt": directives.unchanged_required,
        "caption": directives.unchanged,
        "include-source": directives.flag,
    }

    def run(self) -> list[nodes.Node]:
        """Run the code and draw."""
        code = "\n".join(self.content)
        drawing = drawn(code, {name: OPTIONS[name](self.options[name]) for name in OPTIONS if name in self.options})
        name = hashlib.sha256(drawing.dot.encode()).hexdigest()[:16]
        path = Path(self.env.srcdir, FOLDER, f"{name}.svg")
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            drawing.save(path)
        figure = nodes.figure("", nodes.image(uri=f"/{FOLDER}/{name}.svg", alt=self.options["alt"]))
        if "caption" in self.options:
            figure += nodes.caption("", "", *self.parse_inline(self.options["caption"])[0])
        shown = [nodes.literal_block(code, code, language="python")] if "include-source" in self.options else []
        return [*shown, figure]


def drawn(code: str, options: dict[str, Any]) -> gradviz.Drawing:
    """Run code and draw the last Tensor, Frame, Run or Drawing that it has left under a name.

    >>> drawn("from gradviz import Tensor; x = Tensor(1.0, name='x'); y = x * 2", {})
    <Drawing of 3 values, 1 operation, y 2>
    """
    names: dict[str, Any] = {}
    exec(compile(code, "<page>", "exec"), names)
    kinds = (gradviz.Drawing, gradviz.Frame, gradviz.Tensor, gradviz.Run)
    last = [thing for thing in names.values() if isinstance(thing, kinds)][-1]
    if isinstance(last, gradviz.Drawing):
        return last
    names |= {"_draw": gradviz.draw, "_last": last, "_options": options}
    exec("_drawing = _draw(_last, **_options)", names)  # from there, so that the names of variables are seen
    drawing: gradviz.Drawing = names["_drawing"]
    return drawing


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx about it."""
    app.add_directive("gradviz", Picture)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
