"""`draw`: one picture of a graph, in any format."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from gradviz.errors import GradvizValueError
from gradviz.files import write_atomically
from gradviz.graphs import Frame, Graph
from gradviz.style import Options

__all__ = ["Drawing", "draw"]

SUFFIX = {
    ".svg": "gradviz.views.svg:to_svg",
    ".png": "gradviz.views.raster:to_png",
    ".pdf": "gradviz.views.raster:to_pdf",
    ".html": "gradviz.views.webpage:to_html",
    ".dot": "gradviz.views.drawing:dot_text",
    ".json": "gradviz.views.drawing:json_text",
    ".mmd": "gradviz.views.mermaid:to_mermaid",
    ".tex": "gradviz.views.tikz:to_tikz",
    ".graphml": "gradviz.views.networkx:to_graphml",
    ".txt": "gradviz.views.text:to_text",
}


@dataclass(frozen=True)
class Drawing:
    """A picture: the frame that is drawn (after focus, collapse and fold) and how it looks.

    ``options.highlight`` and ``options.pending`` are ids of nodes of ``frame``;
    ``origin`` is the frame as it was handed in.
    """

    frame: Frame
    options: Options = field(default_factory=Options)
    origin: Frame | None = None

    @cached_property
    def dot(self) -> str:
        """The picture as Graphviz DOT text."""
        from gradviz.views.dot import to_dot

        return to_dot(self.frame, self.options)

    @cached_property
    def svg(self) -> str:
        """The picture as SVG text."""
        from gradviz.views.svg import to_svg

        return to_svg(self)

    def png(self, scale: float = 2.0) -> bytes:
        """Return the picture as PNG, ``scale`` pixels a unit of the SVG."""
        from gradviz.views.raster import to_png

        return to_png(self, scale)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to ``path``; its suffix says in which format."""
        target = Path(path)
        return write_atomically(target, _writer(target.suffix.lower())(self))


def _writer(suffix: str) -> Callable[[Drawing], str | bytes]:
    if suffix not in SUFFIX:
        raise GradvizValueError(
            f"no picture format has the suffix {suffix[:40]!r}", hint=f"allowed: {' '.join(SUFFIX)}"
        )
    module, function = SUFFIX[suffix].split(":")
    return cast("Callable[[Drawing], str | bytes]", getattr(importlib.import_module(module), function))


def dot_text(drawing: Drawing) -> str:
    """Return the DOT text of a drawing."""
    return drawing.dot


def draw(x: Any, *, params: Any = None, **options: Any) -> Drawing:
    """Return the picture of a Tensor, Frame, Graph, Step or Run."""
    chosen = Options(**options)
    return Drawing(_frame(x, params), chosen)


def _frame(x: Any, params: Any) -> Frame:
    if isinstance(x, Frame):
        return x
    if isinstance(x, Graph):
        nothing = (None,) * len(x.nodes)
        return Frame(x, nothing, nothing)
    from gradviz import sources

    return cast("Frame", sources.frame(x, params=params))
