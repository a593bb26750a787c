"""SVG of a picture with wires, painted where Graphviz has put gates and labels."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from typing import Any

from gradviz import escape
from gradviz.graphs import Frame
from gradviz.style import Options
from gradviz.views.cards import Card
from gradviz.views.painting import BASELINE, Box, box_of, shape, short
from gradviz.views.svg import SHAPES, SVG, Page
from gradviz.views.wires.dot import WireWriter
from gradviz.views.wires.plans import EQUALS, LEAD, PLANS, SUBSCRIPT, Label, Placed, runs
from gradviz.views.wires.routes import IDS, Entries, ends_of

__all__ = ["WirePage"]

DROP = 0.22  # of an index, of the size of its letter
BRANCH = 2.0  # the dot where a wire branches, as in plans of electric circuits
MARGIN = 1.5
OVER = 0.9  # points that a wire goes on into the next, where Graphviz leaves a gap
TIP = (5.2, 1.9)  # length and half the width of an arrow, for a stroke of 1


def area(box: Box) -> ET.Element:
    """Return what a pointer can hit of a node that is only letters and a line; a page outlines it when it is picked."""
    place = {"x": box.left - MARGIN, "y": box.top - MARGIN}
    size = {"width": box.right - box.left + 2 * MARGIN, "height": box.bottom - box.top + 2 * MARGIN}
    return shape("rect", **place, **size, rx=3.0, class_="gv-area", fill="none", pointer_events="all")


class WirePage(Page):
    """Turns Graphviz's SVG into wires with values above and gradients below."""

    writer: WireWriter

    def __init__(self, frame: Frame, options: Options, dot: str, laid_out: ET.Element) -> None:
        super().__init__(frame, options, dot, laid_out)
        self.plan = PLANS[options.style]
        self.entries = Entries(laid_out, self.plan, across=self.writer.across)

    def indent(self, root: ET.Element) -> None:
        """Put elements on lines of their own, but not the parts of a text, where a space would be seen."""
        super().indent(root)
        for text in root.iter("text"):
            text.text = text.text if not len(text) else None
            for part in text:
                part.tail = None

    def root(self) -> ET.Element:
        """Return the svg element, in the fonts of the style."""
        found = super().root()
        found.set("font-family", self.plan.fonts)
        if self.options.alt is None and {"value", "grad"} <= set(self.options.show) and self.writer.labels.has_grads:
            sides = "above and gradients below" if self.writer.across else "left and gradients right of"
            found[1].text = f"{found[1].text}; values {sides} the {'wires' if self.plan.has_gates else 'signs'}"
        return found

    # -- the parts

    def order(self, name: str) -> int:
        """Return where a node of the layout is read: what is on a branch goes with the end of the branch."""
        return int(IDS.findall(name)[1 if name.startswith("e") else 0])

    def scope(self, group: ET.Element) -> ET.Element:
        """Return the frame of a scope."""
        found = super().scope(group)
        for line in found:
            if line.tag == "path":
                line.set("stroke-dasharray", "2.5 2")
        return found

    def edge(self, group: ET.Element) -> ET.Element:
        """Return a piece of a wire; what is carried to the next round keeps its arrow and word."""
        src, dst, carried = ends_of(group)
        names = dict.fromkeys(self.name_of(f"n{end}") for end in (src, dst))
        found = shape("g", id=f"{self.id}-{group.get('id')}", class_="gv-edge")
        found.append(shape("title", escape.clean(" → ".join(names))))
        found.append(shape("path", d=self.entries.path(group), **self.stroke(src, dst, carried=carried)))
        return found

    def node(self, group: ET.Element) -> ET.Element:
        """Return a gate, the label of a node, or what is on a branch."""
        name = group.findtext(f"{SVG}title") or ""
        found = shape("g", id=f"{self.id}-{name}")
        if name.startswith("e"):
            src, dst, arg = map(int, IDS.findall(name))
            box = self.box(group)
            found.set("class", "gv-share")
            found.append(shape("title", escape.clean(f"{self.name_of(f'n{src}')} → {self.name_of(f'n{dst}')}")))
            self.through(found, box, self.stroke(src, dst))
            self.write(found, self.writer.joint(src, dst, arg), box, pale=self.cards[dst].pending)
            return found
        if name.startswith("p"):
            self.before(found, name, self.box(group))
            return found
        card = self.cards[int(IDS.findall(name)[0])]
        state = [f"gv-{word}" for word in ("pending", "highlighted", "bad") if getattr(card, word)]
        if name.startswith("op"):
            found.set("class", " ".join(["gv-op", *state[:2]]))
            found.append(shape("title", escape.clean(card.symbol or card.title)))
            self.core(found, card, self.writer.labels.gate(card), self.box(group))
            return found
        found.set("class", " ".join(["gv-node", f"gv-{card.role}", *state]))
        found.set("data-node", str(card.id))
        found.append(shape("title", card.tooltip))
        box = self.box(group)
        found.append(area(box))
        self.label(found, card, box)
        return found

    def box(self, group: ET.Element) -> Box:
        """Return the box that Graphviz has given to a node."""
        return box_of(next(part for part in group.iter() if part.tag.removeprefix(SVG) in SHAPES))

    # -- lines

    def stroke(self, src: int, dst: int, *, carried: bool = False) -> dict[str, Any]:
        """Return the look of a wire: dashed and pale before its value has come, dotted where no gradient did."""
        first, last, width = self.cards[src], self.cards[dst], self.plan.stroke
        look: dict[str, Any] = {"fill": "none", "stroke": self.theme.ink, "stroke_width": width}
        if carried:
            return look | {"stroke": self.theme.muted, "stroke_dasharray": "4 2.5"}
        if first.pending or last.pending:
            return look | {"stroke": self.theme.faint, "stroke_dasharray": "3 2.5"}
        if self.writer.is_bad(src) and src == dst:
            return look | {"stroke": self.theme.alarm, "stroke_width": 2 * width + 0.6}
        if first.highlighted and src == dst:
            return look | {"stroke": self.theme.highlight, "stroke_width": 2 * width + 0.4}
        if self.writer.is_dry(src):
            return look | {"stroke": self.theme.muted, "stroke_dasharray": "1 2"}
        return look

    def attributes(self, **look: Any) -> dict[str, str]:
        """Return a look as attributes of an element."""
        return dict(shape("path", **look).attrib)

    def through(self, found: ET.Element, box: Box, look: dict[str, Any], start: float = 0.0) -> None:
        """Draw the wire through a label, from the side where it comes in (or ``start`` points after it)."""
        x, y = box.middle
        if self.writer.across:
            self.line(found, (box.left + (start or -OVER), y), (box.right + OVER, y), look)
        else:
            self.line(found, (x, box.top + (start or -OVER)), (x, box.bottom + OVER), look)

    def line(self, found: ET.Element, start: tuple[float, float], end: tuple[float, float], look: Any) -> None:
        """Draw a straight line."""
        del_fill = {name: value for name, value in look.items() if name != "fill"}
        found.append(shape("line", x1=start[0], y1=start[1], x2=end[0], y2=end[1], **del_fill))

    def tip(self, found: ET.Element, end: tuple[float, float], colour: str) -> None:
        """Draw the tip of an arrow that ends at a point, in the direction of the picture."""
        long, half = (side * (0.55 + 0.45 * self.plan.stroke) for side in TIP)
        x, y = end
        back = [(x - long, y - half), (x - long, y + half)] if self.writer.across else []
        back = back or [(x - half, y - long), (x + half, y - long)]
        points = " ".join(f"{short(a)},{short(b)}" for a, b in (end, *back))
        found.append(shape("polygon", points=points, fill=colour, stroke="none"))

    # -- nodes

    def label(self, found: ET.Element, card: Card, box: Box) -> None:
        """Draw what stands around a node, with its piece of wire or, in a plan without gates, its sign."""
        label = self.writer.labels.label(card)
        look = self.stroke(card.id, card.id)
        node = self.frame.graph.nodes[card.id]
        is_end = not self.writer.uses[card.id]
        if label.core:
            self.stubs(found, card, label, box)
            self.core(found, card, label, box)
        elif not self.plan.has_gates or node.kind == "op":
            self.wire_with_end(found, box, look, is_end=is_end)
        else:
            self.leaf(found, card, label, box)
        if self.plan.has_gates and self.writer.uses[card.id] > 1:
            x, y = (box.right, box.middle[1]) if self.writer.across else (box.middle[0], box.bottom)
            dot = {"rx": BRANCH, "ry": BRANCH, "fill": self.theme.faint if card.pending else self.theme.ink}
            found.append(shape("ellipse", cx=x, cy=y, **dot))
        self.write(found, label, box, pale=card.pending)

    def wire_with_end(self, found: ET.Element, box: Box, look: dict[str, Any], *, is_end: bool) -> None:
        """Draw the wire of a result; where nothing uses it, it leaves the picture with an arrow."""
        x, y = box.middle
        end = (box.right, y) if self.writer.across else (x, box.bottom)
        if is_end:
            self.tip(found, end, look["stroke"])
            box = Box(box.left, box.top, box.right - 3 * self.writer.across, box.bottom - 3 * (not self.writer.across))
        self.through(found, box, look)

    def leaf(self, found: ET.Element, card: Card, label: Label, box: Box) -> None:
        """Draw the start of a wire: its name, or a dot where it has none."""
        start = self.plan.head_width(label) if self.writer.across else (self.plan.name * LEAD + 2) * bool(label.head)
        self.through(found, box, self.stroke(card.id, card.id), start)
        x, y = box.middle
        if not label.head:
            place = (box.left + 1.5, y) if self.writer.across else (x, box.top + 1.5)
            found.append(shape("ellipse", cx=place[0], cy=place[1], rx=1.5, ry=1.5, fill=self.theme.ink))
            return
        colour = self.ink(card, label)
        size = self.plan.number if label.is_number else self.plan.name
        place = (box.left, y + size * BASELINE) if self.writer.across else (x, box.top + self.plan.name * 0.9)
        anchor = "start" if self.writer.across else "middle"
        text = shape("text", x=place[0], y=place[1], font_size=size, fill=colour, text_anchor=anchor)
        self.name(text, label.head, size, is_number=label.is_number)
        found.append(text)

    def before(self, found: ET.Element, name: str, box: Box) -> None:
        """Draw the start of what comes from the round before."""
        src, dst = map(int, IDS.findall(name))
        label, look = self.writer.labels.before(src), self.stroke(src, dst, carried=True)
        text = label.head or label.core[0]
        found.set("class", "gv-previous")
        found.append(shape("title", escape.clean(text)))
        (x, y), size = box.middle, self.plan.small
        wide, high = self.plan.core_size(label.core)
        if self.writer.across:
            taken = self.plan.head_width(label) or (box.right - box.left + wide) / 2
            x = box.left + taken - 3 if label.head else x
        else:
            taken = self.plan.name * LEAD + 2 if label.head else (box.bottom - box.top + high) / 2
            y = box.top + taken / 2 if label.head else y
        self.through(found, box, look, taken)
        anchor = "end" if label.head and self.writer.across else "middle"
        look = {"font_size": size, "fill": self.theme.muted, "text_anchor": anchor}
        found.append(shape("text", text, x=x, y=y + size * BASELINE, **look))

    def stubs(self, found: ET.Element, card: Card, label: Label, box: Box) -> None:
        """Draw the ends of wires between the box of a node and its sign, with an arrow where they come in."""
        wide, high = self.plan.core_size(label.core)
        x, y = box.middle
        look = self.stroke(card.id, card.id) | {"stroke_width": self.plan.stroke}
        half = wide / 2 if self.writer.across else high / 2
        for shift in self.entries.shifts.get(f"n{card.id}", ()):
            start, end = self.entry(box, (wide, high), shift)
            self.line(found, start, end, look)
            self.tip(found, end, look["stroke"])
        over = OVER * bool(self.writer.uses[card.id])
        start, end = (x + half, y), (box.right + over, y)
        if not self.writer.across:
            start, end = (x, y + half), (x, box.bottom + over)
        if self.writer.uses[card.id] or card.role == "output":
            self.line(found, start, end, look)
        if card.role == "output" and not self.writer.uses[card.id]:
            self.tip(found, end, look["stroke"])

    def entry(self, box: Box, core: tuple[float, float], shift: float) -> tuple[tuple[float, float], ...]:
        """Return where a wire comes into the box of a node and where it meets its outline."""
        wide, high = core
        x, y = box.middle
        radius = high / 2
        if self.writer.across:
            back = wide / 2 - radius + math.sqrt(max(0.0, radius**2 - shift**2))
            return (box.left - OVER, y + shift), (x - back, y + shift)
        beyond = max(0.0, abs(shift) - (wide / 2 - radius))
        back = math.sqrt(max(0.0, radius**2 - beyond**2))
        return (x + shift, box.top - OVER), (x + shift, y - back)

    def core(self, found: ET.Element, card: Card, label: Label, box: Box) -> None:
        """Draw a gate with its sign; a parameter has an outline, an input is grey, a constant is bare."""
        wide, high = self.plan.core_size(label.core)
        x, y = box.middle
        look: dict[str, Any] = {"fill": "none", "stroke": self.theme.ink, "stroke_width": self.plan.stroke}
        if self.plan.has_gates:
            look["fill"] = self.theme.card
        if card.role == "input":
            look["fill"] = self.theme.const
        if card.highlighted:
            look |= {"stroke": self.theme.highlight, "stroke_width": 2 * self.plan.stroke + 0.6}
        if card.bad and not self.plan.has_gates:
            look |= {"stroke": self.theme.alarm, "stroke_width": 2 * self.plan.stroke + 0.6}
        if card.pending:
            look |= {"stroke": self.theme.faint, "stroke_dasharray": "3 2.5"}
        if card.role != "const":
            corner = {"rx": 3.0} if self.frame.graph.nodes[card.id].op == "scope" else {"rx": high / 2}
            outline = {"x": x - wide / 2, "y": y - high / 2, "width": wide, "height": high}
            found.append(shape("rect", **outline, **corner, **look))
        self.signs(found, card, label, box)

    def signs(self, found: ET.Element, card: Card, label: Label, box: Box) -> None:
        """Write the lines in a gate."""
        x, middle = box.middle
        colour = self.ink(card, label)
        rest = self.plan.small * LEAD * (len(label.core) - 1)
        for number, text in enumerate(label.core):
            size = self.plan.small if number else self.plan.sign_size(text, is_number=label.is_number)
            y = middle + size * BASELINE - rest / 2 + (self.plan.sign * 0.58 + self.plan.small * 0.5) * bool(number)
            y += self.plan.small * LEAD * max(0, number - 1)
            muted = colour if not number or card.pending else self.theme.muted
            element = shape("text", x=x, y=y, font_size=size, fill=muted, text_anchor="middle")
            if not number and self.frame.graph.nodes[card.id].kind != "op":
                self.name(element, text, size, is_number=label.is_number)
            else:
                element.text = text
            found.append(element)

    def ink(self, card: Card, label: Label) -> str:
        """Return the colour of a name or sign, or of a number that stands for a constant."""
        if card.pending:
            return self.theme.faint
        return str(self.tone("value")["fill"]) if label.is_number else self.theme.ink

    # -- texts

    def write(self, found: ET.Element, label: Label, box: Box, *, pale: bool) -> None:
        """Write the lines of a label."""
        for placed in self.plan.placed(label, box, across=self.writer.across):
            found.append(self.text_of(placed, pale=pale))

    def text_of(self, placed: Placed, *, pale: bool) -> ET.Element:
        """Return one line: values upright in one colour, gradients in italics in another."""
        line = placed.line
        size = self.plan.size(line)
        look = self.tone(line.tone)
        if pale:
            look["fill"] = self.theme.faint
        element = shape("text", x=placed.x, y=placed.y, font_size=size, text_anchor=placed.anchor, **look)
        if line.name:
            self.name(element, line.name, size, is_number=False)
            rest = f"{EQUALS}{line.text}" if line.tone != "small" else line.text
            rise = {"dy": -size * DROP} if element[-1].get("dy") else {}
            element.append(shape("tspan", rest, **rise))
        else:
            element.text = line.text
        return element

    def tone(self, tone: str) -> dict[str, Any]:
        """Return the look of a line: values and gradients differ in more than colour, and on paper not in colour."""
        theme, has_colour = self.theme, self.plan.has_colour
        if tone == "bad":
            return {"fill": theme.warning, "font_weight": "bold"}
        if tone == "value":
            return {"fill": theme.value if has_colour else theme.ink}
        if tone == "grad":
            return {"fill": theme.grad if has_colour else theme.ink, "font_style": "italic"}
        return {"fill": theme.muted} | ({"font_style": "italic"} if tone == "none" else {})

    def name(self, element: ET.Element, name: str, size: float, *, is_number: bool) -> None:
        """Write a name into a text: bold, or as mathematics in italics with its index below."""
        if is_number:
            element.text = name
            return
        colour = {} if element.get("fill") == self.theme.faint else {"fill": self.theme.ink}
        if not self.plan.is_math:
            element.append(shape("tspan", name, font_weight="bold", **colour))
            return
        for text, low in runs(name):
            look = {"dy": size * DROP, "font_size": size * SUBSCRIPT} if low else {}
            style = {} if low and (text.isdigit() or len(text) > 1) else {"font_style": "italic"}
            element.append(shape("tspan", text, **style, **colour, **look))
