"""A drawing as a TikZ picture that compiles by itself: places from Graphviz, text and lines in TeX."""

from __future__ import annotations

import re
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gradviz import escape
from gradviz.errors import GradvizValueError
from gradviz.style import THEMES
from gradviz.views.cards import Card, Row, cards
from gradviz.views.looks import look_of
from gradviz.views.painting import PRINTED, box_of, short
from gradviz.views.svg import MOST, render_dot, title_of

if TYPE_CHECKING:
    from gradviz.views.drawing import Drawing

__all__ = ["tex", "to_tikz"]

SVG = "{http://www.w3.org/2000/svg}"
OUTLINES = ("path", "polygon", "ellipse")
LONGEST = 14_000  # points; TeX knows no length over 16,383
PAD = 6.0  # points at the left and right of a card
POINT = re.compile(r"(-?[\d.]+),(-?[\d.]+)")
LIGATURE = re.compile(r"(?<=[-`',!?])(?=[-`',])")  # TeX would make one sign of two
PLAIN = re.compile(r"[^\x00-\x7f]")
MATHS = {  # what the fonts of a text may not have
    "∂": r"\partial",
    "∇": r"\nabla",
    "∑": r"\sum",
    "∏": r"\prod",
    "√": r"\surd",
    "∞": r"\infty",
    "×": r"\times",
    "÷": r"\div",
    "−": "-",
    "·": r"\cdot",
    "⊙": r"\odot",
    "⊗": r"\otimes",
    "≤": r"\leq",
    "≥": r"\geq",
    "≠": r"\neq",
    "≈": r"\approx",
    "∈": r"\in",
    "→": r"\to",
    "←": r"\leftarrow",
    "²": "^2",
    "³": "^3",
}
DASHES = {"…": r"\ldots{}", "–": "--", "—": "---", "\u00a0": "~"}
HEAD = r"""\documentclass[tikz,border=4pt]{standalone}
\usepackage[T1]{fontenc}
\usepackage{iftex}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usetikzlibrary{arrows.meta}
% A letter that this TeX has no glyph for is shown as its code.
\makeatletter
\newcommand{\gvletter}[2]{\ifPDFTeX\ifcsname u8:\detokenize{#1}\endcsname#1\else{\ttfamily U+#2}\fi\else#1\fi}
\makeatother
"""
MACROS = r"""\newcommand{\gvname}[1]{{\bfseries\fontsize{11}{12}\selectfont #1}}
\newcommand{\gvnote}[1]{{\fontsize{7.5}{9}\selectfont\color{gvmuted}#1}}
\newcommand{\gvhead}[3]{\multicolumn{2}{@{}l@{}}{\makebox[#1][s]{#2\hfill\gvnote{#3}}}\\}
\newcommand{\gvrow}[3][]{{}\gvnote{#2} & #1{#3}\\}
\newcommand{\gvnone}[1]{{\itshape\color{gvfaint}#1}}
\newcommand{\gvbad}[1]{{\bfseries\color{gvalarm}#1}}
\newcommand{\gvgrad}[2]{{\setlength{\fboxsep}{1.5pt}\colorbox{#1}{#2}}}
\newcommand{\gvcell}[1]{{\color{#1}\rule{4pt}{6pt}}}
"""


def to_tikz(drawing: Drawing) -> str:
    r"""Return a drawing as TeX source: a picture with named nodes, on a page of its size (class standalone).

    Only standard packages are used; pdfLaTeX, LuaLaTeX and XeLaTeX take it. Raises
    `GradvizValueError` for a picture larger than TeX can measure, and what the layout raises.

    >>> from gradviz.graphs import Frame, Graph, Node
    >>> from gradviz.views.drawing import draw
    >>> x = Node(0, "x_1", "input", "input")
    >>> print("\n".join(to_tikz(draw(Frame(Graph((x,)), [2.0], [None]))).splitlines()[-6:]))
      \gvhead{81.6bp}{\gvname{x\_1}}{input}
      \gvrow{value}{2}
      \gvrow[\gvnone]{grad}{-- no grad}
      \end{tabular*}};
    \end{tikzpicture}
    \end{document}
    """
    if len(drawing.frame.graph) > MOST:
        raise GradvizValueError(
            f"{len(drawing.frame.graph):,} nodes are too many for one picture (at most {MOST:,})",
            hint="draw less of it: fold=True, collapse=1 (by scope) or focus=name with hops=2",
        )
    svg = render_dot(drawing.dot, engine=drawing.options.engine, timeout=drawing.options.timeout)
    return "\n".join(look_of(drawing.options.style).picture(drawing, ET.fromstring(svg)).lines()) + "\n"


def tex(text: str) -> str:
    r"""Return text for TeX, with signs as mathematics and letters no font may have made visible.

    >>> tex("∂e/∂c = cos(c) -- 50%"), tex("日")
    ('\\ensuremath{\\partial}e/\\ensuremath{\\partial}c = cos(c) -{}- 50\\%', '\\gvletter{日}{65E5}')
    """
    escaped = LIGATURE.sub("{}", escape.for_tex(text)).replace("  ", r" \ ")
    return PLAIN.sub(lambda hit: _letter(hit[0]), escaped)


def _letter(char: str) -> str:
    if char in DASHES:
        return DASHES[char]
    if char in MATHS:
        return rf"\ensuremath{{{MATHS[char]}}}"
    words = unicodedata.name(char, "").split()
    if words[:3] == ["GREEK", "SMALL", "LETTER"] and len(words) == 4 and words[3] not in ("OMICRON", "LAMDA"):
        return rf"\ensuremath{{\{words[3].lower()}}}"
    return rf"\gvletter{{{char}}}{{{ord(char):04X}}}"


class Picture:
    """Writes the picture of one drawing."""

    macros = MACROS
    kinds: tuple[str, ...] = ("cluster", "edge", "node")  # in the order in which they are drawn
    named_colours = {"gvink": "ink", "gvmuted": "note", "gvfaint": "faint", "gvalarm": "warning"}  # noqa: RUF012

    def __init__(self, drawing: Drawing, laid_out: ET.Element) -> None:
        self.frame = drawing.frame
        self.options = drawing.options
        self.theme = THEMES[drawing.options.theme]
        self.cards = cards(drawing.frame, drawing.options)
        self.laid_out = laid_out
        self.colours: dict[str, str] = {}

    def lines(self) -> Iterator[str]:
        """Yield the whole document."""
        body = list(self.body())
        yield f"% {title_of(self.frame, self.options)}\n{HEAD.rstrip()}\n{self.macros.rstrip()}"
        for name, slot in self.named_colours.items():
            yield rf"\definecolor{{{name}}}{{HTML}}{{{getattr(self.theme, slot)[1:].upper()}}}"
        for colour, name in sorted(self.colours.items()):
            yield rf"\definecolor{{{name}}}{{HTML}}{{{colour[1:].upper()}}}"
        if self.options.theme == "dark":
            yield rf"\pagecolor[HTML]{{{self.theme.paper[1:].upper()}}}"
        yield r"\begin{document}"
        yield from self.styles()
        yield from body
        yield r"\end{tikzpicture}"
        yield r"\end{document}"

    def styles(self) -> Iterator[str]:
        """Yield the start of the picture, with every look that a reader may want to change."""
        yield r"\setlength{\tabcolsep}{2pt}\sffamily\fontsize{9.5}{12}\selectfont\color{gvink}"
        yield r"\begin{tikzpicture}[x=1bp,y=-1bp,line join=round,"
        yield r"  gv card/.style={rounded corners=4pt,inner xsep=0pt,inner ysep=3pt},"
        yield r"  gv op/.style={rounded corners=8pt,inner sep=0pt,font=\sffamily\fontsize{11}{12}\selectfont},"
        yield r"  gv label/.style={anchor=base,inner sep=1pt,font=\sffamily\fontsize{8}{9}\selectfont,text=gvmuted},"
        yield r"  gv edge/.style={-{Latex[length=5pt,width=4pt]}}]"

    def body(self) -> Iterator[str]:
        """Yield what is drawn: title, scopes, edges, then cards."""
        groups = list(self.laid_out.iter(f"{SVG}g"))
        self.check_size(self.laid_out.get("viewBox") or "0 0 1 1")
        for text in groups[0].findall(f"{SVG}text"):
            yield self.text(text, r"anchor=base,inner sep=1pt,font=\sffamily\large")
        makers = {"cluster": self.scope, "edge": self.edge, "node": self.node}
        for kind in self.kinds:
            for group in groups:
                if group.get("class", "").split()[:1] == [kind]:
                    yield from makers[kind](group)

    def check_size(self, view: str) -> None:
        """Raise GradvizValueError if TeX could not measure the picture."""
        size = max(map(float, view.split()[2:]))
        if size > LONGEST:
            raise GradvizValueError(
                f"the picture is {size:,.0f} points long, and TeX measures at most {LONGEST:,}",
                hint="draw less of it: fold=True, collapse=1 (by scope) or focus=name with hops=2",
            )

    def colour(self, colour: str) -> str:
        """Return the name of a colour."""
        return self.colours.setdefault(colour, f"gv{colour[1:].lower()}")

    def text(self, element: ET.Element, look: str) -> str:
        """Return one line of text that Graphviz has placed."""
        x, y = short(float(element.get("x", 0))), short(float(element.get("y", 0)))
        return rf"\node[{look}] at ({x},{y}) {{{tex((element.text or '').strip())}}};"

    def scope(self, group: ET.Element) -> Iterator[str]:
        """Yield the box of a scope and its name."""
        box = box_of(_outline(group))
        look = f"fill={self.colour(self.theme.scope)},draw={self.colour(self.theme.scope_line)},rounded corners=6pt"
        corners = (short(value) for value in (box.left, box.top, box.right, box.bottom))
        left, top, right, bottom = corners
        yield rf"\path[{look}] ({left},{top}) rectangle ({right},{bottom});"
        for text in group.findall(f".//{SVG}text"):
            yield self.text(text, "gv label")

    def edge(self, group: ET.Element) -> Iterator[str]:
        """Yield an edge with its labels."""
        path = group.find(f".//{SVG}path")
        if path is None:
            return
        look = ["gv edge", self.colour(path.get("stroke", "#000000")), f"line width={path.get('stroke-width', '1')}bp"]
        look += ["dashed"] if path.get("stroke-dasharray") else []
        points = [(float(x), float(y)) for x, y in POINT.findall(path.get("d", ""))]
        yield rf"\draw[{','.join(look)}] {_curve(points)}{_tip(group, points[-1])};"
        for text in group.findall(f".//{SVG}text"):
            yield self.text(text, "gv label")

    def node(self, group: ET.Element) -> Iterator[str]:
        """Yield a card, or the sign of an op."""
        name = (group.findtext(f"{SVG}title") or "").strip()
        card = self.cards[int(name.lstrip("opn"))]
        sign = name.startswith("op")
        outline = _outline(group)
        box = box_of(outline)
        across = box.right - box.left
        text = tex(PRINTED.get(card.symbol, card.symbol)) if sign else self.card(card, across - 2 * PAD)
        look = ["gv op" if sign else "gv card", *self.look(card, outline, sign=sign)]
        look += ["circle"] if outline.tag == f"{SVG}ellipse" else []
        look += [f"minimum width={short(across)}bp", f"minimum height={short(box.bottom - box.top)}bp"]
        x, y = map(short, box.middle)
        yield rf"\node[{','.join(look)}] ({name}) at ({x},{y}) {{{text}}};"

    def look(self, card: Card, outline: ET.Element, *, sign: bool) -> Iterator[str]:
        """Yield fill and line of a card or sign."""
        width = 2.4 if card.highlighted else 1.6 if card.bad or card.role == "output" else 0.7
        yield f"fill={self.colour(outline.get('fill', '#ffffff'))}"
        yield f"draw={self.colour(outline.get('stroke', '#000000'))}"
        yield f"line width={0.7 if sign else width}pt"
        if card.pending:
            yield "dashed"
        yield f"text={'gvfaint' if card.pending else 'gvink'}"

    def card(self, card: Card, width: float) -> str:
        """Return what stands on a card, as a table of two columns, ``width`` points wide."""
        look = look_of(self.options.style)
        sign = PRINTED.get(card.symbol, card.symbol) if look.signs == "card" else ""
        name = rf"\gvname{{{tex(card.title)}}}" if card.title else ""
        if look.one_line:
            value = next((tex(row.text) for row in card.rows if row.key == "value"), "")
            return r"\enspace ".join(filter(None, (name, tex(sign), value, tex(card.also), tex(card.count))))
        if not (name or card.note) and len(card.rows) <= 1:
            return tex(card.rows[0].text) if card.rows else ""
        head = " ".join(filter(None, (name, tex(sign))))
        lines = [rf"\gvhead{{{short(width)}bp}}{{{head}}}{{{tex(card.note)}}}", *map(self.row, card.rows)]
        columns = rf"\begin{{tabular*}}{{{short(width)}bp}}{{@{{}}l@{{\extracolsep{{\fill}}}}r@{{}}}}"
        return "\n  ".join((columns, *lines, r"\end{tabular*}"))

    def row(self, row: Row) -> str:
        """Return one row of a card."""
        if row.strip:
            fills = (self.theme.alarm if level is None else self.theme.fill(level) for level in row.strip)
            cells = "".join(rf"\gvcell{{{self.colour(fill)}}}" for fill in fills)
            return rf"\gvrow{{}}{{{cells}}}"
        look = {"none": r"[\gvnone]", "bad": r"[\gvbad]", "source": r"[\gvnote]"}.get(str(row.tone), "")
        if isinstance(row.tone, int) and row.tone:
            look = rf"[\gvgrad{{{self.colour(self.theme.fill(row.tone))}}}]"
        return rf"\gvrow{look}{{{tex(row.key)}}}{{{tex(row.text)}}}"


def _outline(group: ET.Element) -> ET.Element:
    return next(element for element in group.iter() if str(element.tag).removeprefix(SVG) in OUTLINES)


def _curve(points: list[tuple[float, float]]) -> str:
    """Return a path of Bézier curves: a start, then two controls and an end for each."""
    first, *rest = (f"({short(x)},{short(y)})" for x, y in points)
    curves = zip(rest[::3], rest[1::3], rest[2::3], strict=True)
    return first + "".join(f" .. controls {one} and {two} .. {end}" for one, two, end in curves)


def _tip(group: ET.Element, end: tuple[float, float]) -> str:
    """Return the last piece of an edge, to the point of its arrow."""
    arrow = group.find(f".//{SVG}polygon")
    if arrow is None:
        return ""
    corners = [(float(x), float(y)) for x, y in POINT.findall(arrow.get("points", ""))]
    x, y = max(corners, key=lambda corner: (corner[0] - end[0]) ** 2 + (corner[1] - end[1]) ** 2)
    return f" -- ({short(x)},{short(y)})"
