"""TikZ of a picture with wires: gates and labels are named nodes, and every look is a style at the top."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gradviz.views.cards import Card
from gradviz.views.looks import look_of
from gradviz.views.painting import Box, box_of, short
from gradviz.views.svg import SHAPES, SVG
from gradviz.views.tikz import Picture, tex
from gradviz.views.wires.dot import WireWriter
from gradviz.views.wires.page import BRANCH
from gradviz.views.wires.plans import LEAD, PLANS, Label, Line, runs
from gradviz.views.wires.routes import IDS, Entries, ends_of

if TYPE_CHECKING:
    from gradviz.views.drawing import Drawing

__all__ = ["WirePicture"]

OWN_COLOURS = {"gvcard": "card", "gvgrad": "grad", "gvpicked": "highlight", "gvvalue": "value"}
ANCHORS = {"e": "east", "w": "west", "n": "north", "s": "south", "": ""}
MACROS = {
    True: r"""\newcommand{\gvname}[1]{{\color{gvink}\bfseries #1}}
\newcommand{\gvvalue}[1]{{\color{gvvalue}#1}}
\newcommand{\gvgrad}[1]{{\color{gvgrad}\itshape #1}}""",
    False: r"""\newcommand{\gvname}[1]{{\color{gvink}\itshape #1}}
\newcommand{\gvvalue}[1]{{\color{gvink}#1}}
\newcommand{\gvgrad}[1]{{\color{gvink}\itshape #1}}""",
}
REST = r"""
\newcommand{\gvsmall}[1]{{\gvsmallsize\color{gvmuted}#1}}
\newcommand{\gvnone}[1]{{\gvsmallsize\color{gvmuted}\itshape #1}}
\newcommand{\gvbad}[1]{{\color{gvalarm}\bfseries #1}}"""


class WirePicture(Picture):
    """Writes the picture of one drawing."""

    kinds = ("cluster", "node", "edge")  # edges are drawn between nodes by name
    named_colours = Picture.named_colours | {
        "gvvalue": "value",
        "gvgrad": "grad",
        "gvpicked": "highlight",
        "gvcard": "card",
    }

    def __init__(self, drawing: Drawing, laid_out: ET.Element) -> None:
        super().__init__(drawing, laid_out)
        self.plan = PLANS[self.options.style]
        writer = look_of(self.options.style).writer(self.frame, self.options)
        assert isinstance(writer, WireWriter)
        self.writer = writer
        self.across = writer.across
        self.entries = Entries(laid_out, self.plan, across=self.across)
        size = f"{self.plan.small:g}"
        small = rf"\newcommand{{\gvsmallsize}}{{\fontsize{{{size}}}{{{size}}}\selectfont}}"
        self.macros = f"\\usetikzlibrary{{shapes.misc}}\n{MACROS[self.plan.has_colour]}\n{small}{REST}"

    def styles(self) -> Iterator[str]:
        """Yield the start of the picture, with every look that a reader may want to change."""
        plan, dark = self.plan, self.options.theme == "dark"
        family = r"\rmfamily" if plan.is_math else r"\sffamily"
        fill = "none" if not plan.has_gates else "gvcard" if dark else "white"
        font = [rf"{family}\fontsize{{{size:g}}}{{{size * 1.16:.3g}}}\selectfont" for size in self.sizes()]
        yield rf"{font[0]}\color{{gvink}}"
        yield r"\begin{tikzpicture}[x=1bp,y=-1bp,line join=round,line cap=round,"
        yield rf"  gv wire/.style={{draw=gvink,line width={plan.stroke:g}bp}},"
        tip = (4.5, 3.2) if plan.stroke > 1 else (3.2, 2.3)
        yield rf"  gv arrow/.style={{-{{Latex[length={tip[0]}bp,width={tip[1]}bp]}}}},"
        yield rf"  gv gate/.style={{circle,draw=gvink,fill={fill},line width={plan.stroke:g}bp,inner sep=0pt,"
        yield rf"    minimum size={plan.gate:g}bp,align=center,text=gvink,font={font[1]}}},"
        yield rf"  gv word/.style={{gv gate,rounded rectangle,font={font[0]}}},"
        yield rf"  gv scope/.style={{gv gate,rectangle,rounded corners=3bp,font={font[0]}}},"
        yield r"  gv on wire/.style={inner sep=0pt,outer sep=0pt},"
        yield rf"  gv text/.style={{inner sep=0pt,align=center,label distance={plan.clear:g}bp,font={font[0]}}},"
        yield rf"  gv head/.style={{inner sep=0pt,label distance=3bp,font={family}\fontsize{{{plan.name:g}}}{{12}}"
        yield r"    \selectfont},"
        yield r"  gv label/.style={anchor=base,inner sep=1pt,font=\gvsmallsize,text=gvmuted},"
        yield r"  gv pending/.style={draw=gvfaint,dash pattern=on 3bp off 2.5bp,text=gvfaint},"
        yield r"  gv dry/.style={draw=gvmuted,dash pattern=on 1bp off 2bp},"
        yield r"  gv previous/.style={draw=gvmuted,dash pattern=on 4bp off 2.5bp},"
        yield rf"  gv picked/.style={{draw=gvpicked,line width={2 * plan.stroke + 0.5:g}bp}},"
        yield rf"  gv bad/.style={{draw=gvalarm,line width={2 * plan.stroke + 0.5:g}bp}},"
        yield r"  gv frame/.style={draw=gvmuted,dash pattern=on 2.5bp off 2bp,line width=0.6bp,rounded corners=4bp}]"

    def sizes(self) -> tuple[float, float]:
        """Return the sizes of numbers and signs; the roman letters of TeX are wider than those of Times."""
        return self.plan.number - 0.9 * self.plan.is_math, self.plan.sign

    # -- the parts

    def scope(self, group: ET.Element) -> Iterator[str]:
        """Yield the frame of a scope and its name."""
        box = box_of(next(part for part in group.iter() if part.tag.removeprefix(SVG) in SHAPES))
        left, top, right, bottom = map(short, (box.left, box.top, box.right, box.bottom))
        yield rf"\path[gv frame] ({left},{top}) rectangle ({right},{bottom});"
        for text in group.findall(f".//{SVG}text"):
            yield self.text(text, "gv label")

    def node(self, group: ET.Element) -> Iterator[str]:
        """Yield a gate, the label of a node, or what is on a branch."""
        name = (group.findtext(f"{SVG}title") or "").strip()
        box = box_of(next(part for part in group.iter() if part.tag.removeprefix(SVG) in SHAPES))
        ids = [int(text) for text in IDS.findall(name)]
        if name.startswith("e"):
            src, dst, arg = ids
            yield from self.on_wire(name, self.writer.joint(src, dst, arg), box, self.wire(src, dst))
        elif name.startswith("p"):
            yield from self.before(name, self.writer.labels.before(ids[0]), box)
        elif name.startswith("op"):
            yield self.gate(name, self.cards[ids[0]], self.writer.labels.gate(self.cards[ids[0]]), box)
        else:
            yield from self.label_of(name, self.cards[ids[0]], box)

    def label_of(self, name: str, card: Card, box: Box) -> Iterator[str]:
        """Yield the node of a value: a piece of wire with its texts, or a sign with them around it."""
        label = self.writer.labels.label(card)
        looks = self.wire(card.id, card.id)
        is_end = not self.writer.uses[card.id] and self.frame.graph.nodes[card.id].kind == "op"
        if not label.core:
            yield from self.on_wire(name, label, box, [*looks, *(["gv arrow"] if is_end else [])], pale=card.pending)
            if self.writer.uses[card.id] > 1:
                colour = "gvfaint" if card.pending else "gvink"
                yield rf"\fill[{colour}] ({name}.{'east' if self.across else 'south'}) circle[radius={BRANCH:g}bp];"
            return
        yield self.gate(name, card, label, box)
        if is_end:
            end = (box.right, box.middle[1]) if self.across else (box.middle[0], box.bottom)
            side = "east" if self.across else "south"
            yield rf"\draw[{','.join([*looks, 'gv arrow'])}] ({name}.{side}) -- {_point(*end)};"

    def gate(self, name: str, card: Card, label: Label, box: Box) -> str:
        """Return a gate with its sign, and with the texts above and below it if it has any."""
        wide, high = self.plan.core_size(label.core)
        is_scope = self.frame.graph.nodes[card.id].op == "scope"
        look = ["gv scope" if is_scope else "gv gate" if math.isclose(wide, high) else "gv word"]
        if not math.isclose(wide, self.plan.gate):
            look += [f"minimum width={short(wide)}bp", f"minimum height={short(high)}bp"]
        if self.plan.sign_size(label.core[0], is_number=label.is_number) != self.plan.sign and look[0] == "gv gate":
            look += [r"font=\normalfont" + self.word_font()]
        look += ["draw=none"] if card.role == "const" else []
        look += [f"fill={self.colour(self.theme.const)}"] if card.role == "input" else []
        look += ["gv picked"] if card.highlighted else []
        look += ["gv bad"] if card.bad and not self.plan.has_gates else []
        look += ["gv pending"] if card.pending else []
        look += self.labels(label, pale=card.pending)
        lines = [tex(label.core[0])]
        if self.frame.graph.nodes[card.id].kind != "op":
            lines = [_words(label.core[0]) if label.is_number else self.named(label.core[0])]
        lines += [rf"\gvsmall{{{tex(text)}}}" for text in label.core[1:]]
        text = r"\\[-1bp]".join(lines)
        return rf"\node[{','.join(look)}] ({_id(name)}) at {_point(*box.middle)} {{{text}}};"

    def word_font(self) -> str:
        """Return the type of a word in a round gate."""
        family = r"\rmfamily" if self.plan.is_math else r"\sffamily"
        return rf"{family}\fontsize{{{self.sizes()[0]:g}}}{{{self.plan.number:g}}}\selectfont"

    def on_wire(self, name: str, label: Label, box: Box, looks: Sequence[str], *, pale: bool = False) -> Iterator[str]:
        """Yield a piece of wire with texts on both sides, and a name where it begins."""
        start = self.plan.head_width(label) if self.across else (self.plan.name * LEAD + 2) * bool(label.head)
        wire = Box(box.left + start, box.top, box.right, box.bottom)
        wire = wire if self.across else Box(box.left, box.top + start, box.right, box.bottom)
        long = wire.right - wire.left if self.across else wire.bottom - wire.top
        look = ["gv on wire", f"minimum {'width' if self.across else 'height'}={short(long)}bp"]
        look += self.labels(label, pale=pale)
        if label.head:
            text = rf"\gvvalue{{{_words(label.head)}}}" if label.is_number else self.named(label.head)
            look.append(rf"label={{[gv head]{'left' if self.across else 'above'}:{{{self.pale(text, pale=pale)}}}}}")
        yield rf"\node[{','.join(look)}] ({_id(name)}) at {_point(*wire.middle)} {{}};"
        sides = ("west", "east") if self.across else ("north", "south")
        yield rf"\draw[{','.join(looks)}] ({_id(name)}.{sides[0]}) -- ({_id(name)}.{sides[1]});"

    def before(self, name: str, label: Label, box: Box) -> Iterator[str]:
        """Yield the start of what comes from the round before."""
        text = rf"\gvsmall{{{tex(label.head or label.core[0])}}}"
        side = "east" if self.across else "south"
        yield rf"\node[gv on wire] ({_id(name)}) at {_point(*box.middle)} {{{text}}};"
        end = (box.right, box.middle[1]) if self.across else (box.middle[0], box.bottom)
        yield rf"\draw[gv wire,gv previous] ({_id(name)}.{side}) -- {_point(*end)};"

    def edge(self, group: ET.Element) -> Iterator[str]:
        """Yield a piece of a wire between two nodes."""
        src, dst, carried = ends_of(group)
        tail, head = (end.strip() for end in (group.findtext(f"{SVG}title") or "").split("->"))
        looks = ["gv wire", "gv previous"] if carried else self.wire(src, dst, apart=True)
        points = self.entries.points(group)
        middle = [_point(*point) for point in points[1:-1]]
        start, end = self.anchor(tail, points[0], group), self.anchor(head, points[-1], group, comes_in=True)
        curves = [f" .. controls {one} and {two} .. " for one, two in zip(middle[::3], middle[1::3], strict=True)]
        path = "".join(curve + via for curve, via in zip(curves, [*middle[2::3], end], strict=True))
        arrow = ["gv arrow"] if not self.plan.has_gates and head.startswith("n") else []
        yield rf"\draw[{','.join([*looks, *arrow])}] {start}{path};"

    def anchor(self, end: str, point: tuple[float, float], group: ET.Element, *, comes_in: bool = False) -> str:
        """Return the end of a wire as the anchor of a node, by way of the border of its box if it lies deeper in."""
        name, _, port = end.partition(":")
        if name.startswith("n") and not self.plan.has_gates:
            core = self.core_of(int(name[1:]))
            if comes_in:
                shift = self.entries.by_edge.get(group.get("id", ""), 0.0)
                return f"{_point(*point)} -- ({name}.{_angle(core, shift, across=self.across)})"
            return f"({name}.{ANCHORS[port]}) -- {_point(*point)}"
        if name.startswith("p"):
            return _point(*point)
        return f"({_id(name)}{'.' if port else ''}{ANCHORS[port]})"

    def core_of(self, id: int) -> tuple[float, float]:
        """Return the size of the sign of a node."""
        return self.plan.core_size(self.writer.labels.label(self.cards[id]).core)

    # -- looks and texts

    def wire(self, src: int, dst: int, *, apart: bool = False) -> list[str]:
        """Return the looks of a wire."""
        first, last = self.cards[src], self.cards[dst]
        if first.pending or last.pending:
            return ["gv wire", "gv pending"]
        if src == dst and not apart and self.plan.has_gates and (first.bad or first.highlighted):
            return ["gv wire", "gv bad" if first.bad else "gv picked"]
        return ["gv wire", "gv dry"] if self.writer.is_dry(src) else ["gv wire"]

    def labels(self, label: Label, *, pale: bool) -> list[str]:
        """Return the texts on both sides as labels of a node."""
        sides = ("above", "below") if self.across else ("left", "right")
        return [
            rf"label={{[gv text]{side}:{{{self.block(lines, pale=pale)}}}}}"
            for side, lines in zip(sides, (label.above, label.below), strict=True)
            if lines
        ]

    def block(self, lines: Sequence[Line], *, pale: bool) -> str:
        """Return lines under each other."""
        return r"\\".join(self.pale(self.line(line), pale=pale) for line in lines)

    def line(self, line: Line) -> str:
        """Return one line: a name, a text, or both."""
        text = rf"\gv{line.tone}{{{_words(line.text.strip())}}}" if line.text else ""
        between = "~" if line.tone == "small" else r"\,=\,"
        return between.join(filter(None, (self.named(line.name) if line.name else "", text)))

    def pale(self, text: str, *, pale: bool) -> str:
        """Return a text, pale if its number is still to come."""
        return rf"{{\colorlet{{gvink}}{{gvfaint}}\colorlet{{gvvalue}}{{gvfaint}}{text}}}" if pale else text

    def named(self, name: str) -> str:
        """Return a name: as mathematics with its index below, or in bold type."""
        if not self.plan.is_math:
            return rf"\gvname{{{tex(name)}}}"
        first, *rest = runs(name)
        low = "".join(rf"\textsubscript{{{tex(text)}}}" for text, _ in rest)
        return rf"\gvname{{{tex(first[0])}}}{low}"


def _words(text: str) -> str:
    return tex(text).replace(r" \ldots{} ", r"\,\ldots\,")


def _id(name: str) -> str:
    return name.replace("_", "-")


def _point(x: float, y: float) -> str:
    return f"({short(x)},{short(y)})"


def _angle(core: tuple[float, float], shift: float, *, across: bool) -> str:
    """Return at which angle a wire that comes in beside the middle of a sign meets its outline."""
    wide, high = core
    radius = high / 2
    if across:
        back = wide / 2 - radius + math.sqrt(max(0.0, radius**2 - shift**2))
        return f"{math.degrees(math.atan2(-shift, -back)) % 360:.0f}"
    beyond = max(0.0, abs(shift) - (wide / 2 - radius))
    return f"{math.degrees(math.atan2(math.sqrt(max(0.0, radius**2 - beyond**2)), shift)) % 360:.0f}"
