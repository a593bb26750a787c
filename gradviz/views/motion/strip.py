"""A strip of small multiples: chosen moments of an animation beside each other, for print."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gradviz.errors import GradvizValueError
from gradviz.files import write_atomically
from gradviz.style import Options
from gradviz.views.motion.captions import MOST_LINES, clipped
from gradviz.views.motion.film import Film
from gradviz.views.motion.iterations import spread
from gradviz.views.painting import shape, short
from gradviz.views.svg import SCALE

if TYPE_CHECKING:
    from gradviz.views.drawing import Drawing

__all__ = ["Strip", "chosen"]

SIZE, LEAD, GAP = 10.5, 14.0, 18.0
PAGE = 620.0  # points, that a row of the strip may be wide
MOST = 24
NARROWEST = 200.0


def chosen(film: Film, n: int) -> list[int]:
    """Return so many moments at which nothing moves, the first and the last among them; raises GradvizValueError."""
    stops = film.moments.stops
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MOST:
        raise GradvizValueError(f"n={str(n)[:80]} is no number of pictures", hint=f"allowed: 1 to {MOST}")
    return [stops[place] for place in spread(len(stops), n)]


class Strip:
    """Some moments of an animation as one picture that does not move.

    It has ``svg`` (text), ``png(scale)`` and ``save(path)`` for .svg, .png and .pdf, and shows itself in notebooks.
    """

    def __init__(self, film: Film, places: list[int], columns: int | None = None) -> None:
        self.film = film
        self.places = places
        width, height = film.stage.size
        self.width, self.lines = max(width, NARROWEST), self.count_lines()
        self.height = LEAD * (self.lines + 1) + 4 + height
        fitting = max(1, int((PAGE + GAP) // (self.width + GAP)))
        self.columns = min(len(places), columns or fitting)

    def count_lines(self) -> int:
        """Return how many lines the longest caption has."""
        return max(min(MOST_LINES, len(self.film.moments.shown[place].lines)) for place in self.places)

    @property
    def options(self) -> Options:
        """How it looks."""
        return self.film.options

    @cached_property
    def svg(self) -> str:
        """The strip as SVG text."""
        film, rows = self.film, -(-len(self.places) // self.columns)
        id = f"{film.id}-strip"
        root = film.root(id, film.options.alt or "; ".join(self.told(place) for place in self.places))
        wide = self.columns * self.width + (self.columns - 1) * GAP
        high = rows * self.height + (rows - 1) * GAP
        root.set("viewBox", f"0 0 {short(wide)} {short(high)}")
        root.set("width", short(wide * SCALE))
        root.set("height", short(high * SCALE))
        for number, place in enumerate(self.places):
            row, column = divmod(number, self.columns)
            x, y = column * (self.width + GAP), row * (self.height + GAP)
            panel = shape("g", transform=f"translate({short(x)} {short(y)})", class_="gv-panel")
            panel.extend(self.panel(number, place))
            root.append(panel)
        page = film.stage.pages[-1]
        page.id = id
        root[2].text = page.stylesheet(root)
        page.indent(root)
        return ET.tostring(root, "unicode", short_empty_elements=True) + "\n"

    def told(self, place: int) -> str:
        """Return what is said at a moment on one line."""
        moment = self.film.moments.shown[place]
        return f"{self.label(place)}: {'; '.join(moment.lines)}"

    def label(self, place: int) -> str:
        """Return the phase of a moment."""
        moment = self.film.moments.shown[place]
        return f"{moment.phase} {moment.count}".strip()

    def panel(self, number: int, place: int) -> list[ET.Element]:
        """Return one picture under its caption."""
        film = self.film
        ink = film.theme.ink
        label = shape("text", f"{number + 1}  {self.label(place)}", x=2.0, y=SIZE, font_size=SIZE, fill=ink)
        label.set("font-weight", "bold")
        found = [label]
        for line, text in enumerate(film.captions.said(film.moments.shown[place]), start=1):
            look = {"x": 2.0, "y": SIZE + line * LEAD, "font_size": SIZE, "fill": film.theme.muted}
            found.append(shape("text", clipped(text, self.width - 4, SIZE), **look))
        picture = film.shown(place)
        x, y = film.stage.shift
        left = x + (self.width - film.stage.size[0]) / 2
        picture.set("transform", f"translate({short(left)} {short(y + LEAD * (self.lines + 1) + 4)})")
        return [*found, picture]

    def png(self, scale: float = 2.0) -> bytes:
        """Return the strip as PNG, ``scale`` pixels a unit of the SVG."""
        from gradviz.views.raster import to_png

        return to_png(cast("Drawing", self), scale)

    def pdf(self) -> bytes:
        """Return the strip as a page of PDF of its size."""
        from gradviz.views.raster import to_pdf

        return to_pdf(cast("Drawing", self))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the strip as .svg, .png or .pdf and return the path; raises `GradvizValueError` for another suffix."""
        target = Path(path)
        makers: dict[str, Callable[[], Any]] = {".svg": lambda: self.svg, ".png": self.png, ".pdf": self.pdf}
        maker = makers.get(target.suffix.lower())
        if maker is None:
            raise GradvizValueError(f"no strip has the suffix {target.suffix[:40]!r}", hint="allowed: .svg .png .pdf")
        return write_atomically(target, maker())

    def __repr__(self) -> str:
        return f"<Strip of {len(self.places)} moments>"

    def _repr_html_(self) -> str:
        """Return the strip for a notebook."""
        from gradviz.views.inline import themed

        return themed(self.svg)
