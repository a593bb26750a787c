"""A drawing as PNG and PDF, with fonts of our own: the same on every machine, also on one without fonts."""

from __future__ import annotations

import math
import os
import xml.etree.ElementTree as ET
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradviz.errors import GradvizValueError, LayoutError
from gradviz.style import FONTS, SERIF_FONTS, THEMES
from gradviz.views.pdf import pdf_of, pixels_of

if TYPE_CHECKING:
    from gradviz.views.drawing import Drawing

__all__ = ["to_pdf", "to_png"]

FAMILY = "Gradviz Sans"
OURS = {FONTS: FAMILY, SERIF_FONTS: "Gradviz Serif"}
FOLDER = Path(__file__).with_name("fonts")
AS_UTF8 = os.fsencode(FOLDER).decode("utf-8", "surrogateescape")  # its path, also in a locale that cannot spell it
COVERED = (range(0x20, 0x180), range(0x391, 0x3A2), range(0x3A3, 0x3CA), range(0x401, 0x460))  # characters in our fonts
SIGNS = frozenset("–—‘’“”†•…‰€™∂∆∏∑−√∞∫≈≠≤≥←↑→↓■▲▼○●█\n")
MOST_TRIED = 4096  # different characters
NO_BREAK = chr(0xA0)
SPACES = dict.fromkeys((*range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000), NO_BREAK)  # that our fonts do not have
ROW, CELL = 32, 48  # of the sheet on which characters are tried
WHITE = 255
UNITS = 96  # of the SVG, an inch
POINTS = 72
DPI = 300  # of the picture in a PDF made without typst
MOST_PIXELS = 120_000_000
MOST_IN_PDF = 25_000_000
LONGEST_SIDE = 14_400  # points, of a page of PDF
DRAWN = {
    "svg",
    "title",
    "desc",
    "style",
    "g",
    "path",
    "polygon",
    "polyline",
    "ellipse",
    "rect",
    "line",
    "text",
    "tspan",
}
PAGE = """
#let side(name) = float(sys.inputs.at(name)) * 1pt
#set document(title: sys.inputs.title, date: none)
#set page(width: side("width"), height: side("height"), margin: 0pt, fill: rgb(sys.inputs.paper))
#image(bytes(sys.inputs.svg), format: "svg", width: 100%, height: 100%, alt: sys.inputs.alt)
"""


def to_png(drawing: Drawing, scale: float = 2.0) -> bytes:
    """Return the picture as PNG, ``scale`` pixels a unit of the SVG, on white or on the dark paper.

    A picture that follows its reader's system (theme="auto") is light in a PNG. Raises
    `GradvizValueError` for a scale that is not positive or makes more than 120 million
    pixels, and what the layout raises.

    >>> from gradviz.graphs import Graph, Node
    >>> from gradviz.views.drawing import draw
    >>> to_png(draw(Graph((Node(0, "x", "input", "input"),))))[1:4]
    b'PNG'
    """
    sheet = Sheet(drawing)
    return sheet.png(sheet.checked(scale))


def to_pdf(drawing: Drawing) -> bytes:
    """Return the picture as a PDF of one page of its size, with its title.

    With typst installed (the extra ``pdf``) lines and text stay lines and text; without it
    the page holds the picture at 300 dots an inch, fewer where that would be too many.

    >>> from gradviz.graphs import Graph, Node
    >>> from gradviz.views.drawing import draw
    >>> to_pdf(draw(Graph((Node(0, "x", "input", "input"),))))[:5]
    b'%PDF-'
    """
    sheet = Sheet(drawing)
    try:
        import typst
    except ImportError:
        return _picture_pdf(sheet)
    return _vector_pdf(sheet, typst)


class Sheet:
    """The SVG of a drawing made ready for programs that know no media and maybe no fonts."""

    def __init__(self, drawing: Drawing) -> None:
        root = ET.fromstring(drawing.svg)
        strange = {element.tag.rpartition("}")[2] for element in root.iter()} - DRAWN
        if strange:  # such as an image, which may name a file
            raise LayoutError(f"the picture holds what does not belong there: {', '.join(sorted(strange))}")
        svg = drawing.svg.translate(SPACES)
        for family, own in OURS.items():
            svg = svg.replace(f'font-family="{family}"', f'font-family="{own}"', 1)
        strangers = sorted(char for char in set(svg) if not _is_covered(char))[:MOST_TRIED]
        self.needs_more_fonts = bool(strangers)
        self.svg = svg.translate(_visible(strangers)) if strangers else svg
        self.title, self.alt = root[0].text or "", root[1].text or ""
        self.width, self.height = float(root.get("width", 1)), float(root.get("height", 1))  # in units
        theme = drawing.options.theme
        self.paper = THEMES["dark"].paper if theme == "dark" else "#ffffff"

    def png(self, scale: float) -> bytes:
        """Return the picture as PNG."""
        return _rendered(self.svg, scale, self.paper, system_fonts=self.needs_more_fonts)

    def points(self) -> tuple[float, float]:
        """Return the size of a page for it, in points, within what PDF allows."""
        width, height = self.width * POINTS / UNITS, self.height * POINTS / UNITS
        shrink = min(1.0, LONGEST_SIDE / max(width, height))
        return round(width * shrink, 1), round(height * shrink, 1)

    def checked(self, scale: Any) -> float:
        """Return a scale that makes a PNG of a sensible size."""
        size = math.nan if isinstance(scale, bool) or not isinstance(scale, Real) else float(scale)
        if not 0 < size < math.inf:
            raise GradvizValueError(f"scale={str(scale)[:80]} is not a scale", hint="give a number more than 0")
        if min(self.width, self.height) * size < 1:
            raise GradvizValueError(f"scale={size:g} leaves less than one pixel", hint="1 is the size on a screen")
        pixels = self.width * self.height * size**2
        if pixels > MOST_PIXELS:
            raise GradvizValueError(
                f"the picture would have {pixels / 1e6:,.0f} million pixels (at most {MOST_PIXELS / 1e6:.0f})",
                hint=f"a scale of {self.largest_scale(MOST_PIXELS):.2g} or less fits; .svg and .pdf have no such limit",
            )
        return size

    def largest_scale(self, pixels: float) -> float:
        """Return the scale at which the picture has so many pixels."""
        return math.sqrt(pixels / (self.width * self.height))


def _rendered(svg: str, scale: float, paper: str, *, system_fonts: bool) -> bytes:
    import resvg_py

    try:
        found = resvg_py.svg_to_bytes(
            svg_string=svg,
            zoom=scale,
            background=paper,
            font_dirs=[AS_UTF8],
            font_family=FAMILY,
            sans_serif_family=FAMILY,
            skip_system_fonts=not system_fonts,
        )
    except ValueError as error:
        raise LayoutError(f"the picture could not be turned into pixels: {error}") from error
    return bytes(found)


def _visible(chars: list[str]) -> dict[int, str]:
    """Return codes for the characters that no font of this machine can draw.

    Each is drawn once, alone: what leaves its place white cannot be drawn.
    """
    places = ((number, ord(char)) for number, char in enumerate(chars))
    texts = "".join(
        f'<text x="{number % ROW * CELL + 10}" y="{number // ROW * CELL + 30}">&#{code};</text>'
        for number, code in places
    )
    size = f'width="{ROW * CELL}" height="{(len(chars) // ROW + 1) * CELL}"'
    sheet = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="16">{texts}</svg>'
    pixels = pixels_of(_rendered(sheet, 1.0, "#ffffff", system_fonts=True))
    cells = pixels.reshape(-1, CELL, ROW, CELL, 3).min(axis=(1, 3, 4)).ravel()
    unseen = [ord(char) for char, darkest in zip(chars, cells.tolist(), strict=False) if darkest == WHITE]
    return {code: f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}" for code in unseen}


def _is_covered(char: str) -> bool:
    return char in SIGNS or any(ord(char) in part for part in COVERED)


def _picture_pdf(sheet: Sheet) -> bytes:
    scale = min(DPI / UNITS, sheet.largest_scale(MOST_IN_PDF))
    return pdf_of(sheet.png(scale), sheet.points(), sheet.title)


def _vector_pdf(sheet: Sheet, typst: Any) -> bytes:
    width, height = map(str, sheet.points())
    inputs = {"width": width, "height": height, "title": sheet.title, "alt": sheet.alt}
    try:
        found = typst.compile(
            PAGE.encode(),
            format="pdf",
            root=AS_UTF8,
            font_paths=[AS_UTF8],
            ignore_system_fonts=not sheet.needs_more_fonts,
            sys_inputs=inputs | {"svg": sheet.svg, "paper": sheet.paper},
        )
    except RuntimeError as error:
        raise LayoutError(f"typst could not write the PDF: {error}") from error
    return bytes(found)
