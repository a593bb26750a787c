"""Pictures for builders that know no SVG: PDF for LaTeX, PNG for others, made from the SVG when they are needed."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from gradviz.files import write_atomically
from gradviz.views.raster import to_pdf, to_png

if TYPE_CHECKING:
    from gradviz.views.drawing import Drawing

__all__ = ["ForBuilder"]

KINDS = {"application/pdf": (".pdf", to_pdf), "image/png": (".png", to_png)}


class ForBuilder(SphinxPostTransform):
    """Hands a builder the pictures in a format it knows."""

    default_priority = 90  # before Sphinx's own converters of images

    def run(self, **options: Any) -> None:
        """Exchange the pictures of one page."""
        known = getattr(self.env, "gradviz_formats", [])
        if not known or "image/svg+xml" in known:
            return
        kind = next((kind for kind in KINDS if kind in known), None)
        for image in self.document.findall(nodes.image):
            if "gradviz_theme" in image and kind is not None:
                self.exchange(image, *KINDS[kind])

    def exchange(self, image: nodes.image, suffix: str, convert: Any) -> None:
        """Give one image another file."""
        svg = Path(self.env.srcdir, image["candidates"]["*"])
        made = svg.with_suffix(suffix)
        if not made.is_file():
            still = svg.with_name(f"{svg.stem}-still.svg")  # of an animation, some moments of it
            text = (still if still.is_file() else svg).read_text("utf-8")
            stored = SimpleNamespace(svg=text, options=SimpleNamespace(theme=image["gradviz_theme"]))
            write_atomically(made, convert(cast("Drawing", stored)))
        uri = Path(os.path.relpath(made, self.env.srcdir)).as_posix()
        image["uri"], image["candidates"] = uri, {"*": uri}
        self.env.images.add_file(self.env.docname, uri)
