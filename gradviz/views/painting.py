"""Drawing the cards: Graphviz's boxes become titled cards with tinted rows and heat strips."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

from gradviz.style import Options, Theme
from gradviz.views.cards import Card, Row
from gradviz.views.looks import look_of

__all__ = ["Box", "box_of", "card_width", "paint_card", "shape", "text_width"]

TITLE, BODY, SMALL = 12.0, 11.0, 8.5
PAD = 7.5
BASELINE = 0.36  # of the text size, below the middle of a row
PRINTED = {"*": "×", "-": "−", "/": "÷"}  # signs as books print them
STACKED = 2.6  # how far the cards behind a folded one stick out
GAP = 9.0  # between what stands at the left and what stands at the right


class Widths(dict[str, float]):
    """How wide characters are, in ems; those that are not listed by what they are."""

    def __missing__(self, char: str) -> float:
        return 1.05 if ord(char) > 0x2E80 else 0.57


WIDTHS = Widths(
    dict.fromkeys(" !,./:;[]fijlt'|", 0.28)
    | dict.fromkeys("ABCDEGHKNOPQRSUVXYZ&+<=>~_…−×∂", 0.7)
    | dict.fromkeys("MWmw@%", 0.9)
)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


class Box:
    """A rectangle in the coordinates of the picture."""

    __slots__ = ("bottom", "left", "right", "top")

    def __init__(self, left: float, top: float, right: float, bottom: float) -> None:
        self.left, self.top, self.right, self.bottom = left, top, right, bottom

    @property
    def middle(self) -> tuple[float, float]:
        """The centre."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def inset(self, by: float) -> Box:
        """Return the box made smaller on the left and right."""
        return Box(self.left + by, self.top, self.right - by, self.bottom)


def box_of(element: ET.Element) -> Box:
    """Return the box around a path, polygon or ellipse.

    >>> box_of(ET.fromstring('<polygon points="1,2 5,2 5,9"/>')).middle
    (3.0, 5.5)
    """
    if element.get("rx"):
        x, y, half, high = (float(element.get(name, 0)) for name in ("cx", "cy", "rx", "ry"))
        return Box(x - half, y - high, x + half, y + high)
    numbers = [float(text) for text in NUMBER.findall(element.get("points") or element.get("d") or "")]
    across, down = numbers[::2], numbers[1::2]
    return Box(min(across), min(down), max(across), max(down))


def text_width(text: str, size: float) -> float:
    """Return about how wide a text is in a Helvetica of that size.

    >>> text_width("W", 10.0) > text_width("i", 10.0)
    True
    """
    return size * sum(map(WIDTHS.__getitem__, text))


def card_width(card: Card, style: str) -> float:
    """Return how wide a card must be, in points, for nothing on it to collide."""
    look = look_of(style)
    if look.one_line:
        value = next((row.text for row in card.rows if row.key == "value"), "")
        rest = f"  {card.symbol} {value} {card.count}" + (f" {card.also}" if card.also else "")
        return text_width(card.title, 10.8) + text_width(rest, 10.0) + 2 * PAD
    if not (card.title or card.note) and len(card.rows) <= 1:
        return max([14.0, *(text_width(row.text, BODY) for row in card.rows)]) + 2 * PAD
    sign = text_width(f" {card.symbol}", TITLE) if look.signs == "card" and card.symbol else 0.0
    note = GAP + text_width(card.note, SMALL) if card.note else 0.0
    header = text_width(card.title, TITLE * 1.07) + sign + note
    return max([header, 14.0, *map(row_width, card.rows)]) + 2 * PAD


def row_width(row: Row) -> float:
    """Return how wide a row of a card must be, in points."""
    size = {"source": SMALL, "bad": BODY * 1.07}.get(str(row.tone), BODY)
    return text_width(row.text, size) + (GAP + text_width(row.key, SMALL) if row.key else 0.0)


def shape(tag: str, text: str = "", /, **attributes: Any) -> ET.Element:
    """Return an SVG element; ``_`` in a name stands for ``-`` and numbers are written shortly.

    >>> ET.tostring(shape("rect", x=1.5, stroke_width=2.0), encoding="unicode")
    '<rect x="1.5" stroke-width="2" />'
    """
    element = ET.Element(tag)
    for name, value in attributes.items():
        element.set(name.rstrip("_").replace("_", "-"), value if isinstance(value, str) else short(value))
    element.text = text or None
    return element


def short(x: float) -> str:
    """Return a coordinate with at most two decimals.

    >>> short(2.0), short(-1.256), short(-0.001)
    ('2', '-1.26', '0')
    """
    text = f"{x:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def paint_card(parent: ET.Element, card: Card, box: Box, theme: Theme, options: Options) -> None:
    """Draw one card into ``parent`` where Graphviz has put its box."""
    painter = Painter(parent, card, box, theme)
    painter.outline()
    look = look_of(options.style)
    if look.one_line:
        painter.one_line()
    elif not (card.title or card.note) and len(card.rows) <= 1:
        painter.centred(card.rows[0].text if card.rows else "")
    else:
        painter.lines(with_sign=look.signs == "card")


class Painter:
    """Draws one card."""

    def __init__(self, parent: ET.Element, card: Card, box: Box, theme: Theme) -> None:
        self.parent = parent
        self.card = card
        self.box = box
        self.theme = theme
        self.ink = theme.faint if card.pending else theme.ink
        self.muted = theme.faint if card.pending else theme.note

    def add(self, tag: str, text: str = "", /, **attributes: Any) -> ET.Element:
        """Add one element to the picture."""
        element = shape(tag, text, **attributes)
        self.parent.append(element)
        return element

    def outline(self) -> None:
        """Draw the box of the card; highlight, alarm and result differ in width as well as in colour."""
        card, theme = self.card, self.theme
        width = 1.6 if card.role == "output" else 0.9
        fill, line = theme.role_fill(card.role), theme.role_line(card.role)
        if card.bad:
            fill, line, width = theme.alarm_fill, theme.alarm, 2.0
        if card.pending:
            fill, line, width = theme.paper, theme.faint, 0.9
        if card.highlighted:
            line, width = theme.highlight, 3.0
        look = {"stroke_dasharray": "3 2.5"} if card.pending else {}
        if card.count:
            self.stack(line)
        self.rectangle(self.box, 5, fill=fill, stroke=line, stroke_width=width, **look)

    def stack(self, line: str) -> None:
        """Draw the edges of two more cards behind this one."""
        box = self.box
        for by, opacity in ((STACKED * 2, 0.45), (STACKED, 0.75)):
            left, top, right, bottom = (
                short(x) for x in (box.left + by, box.top - by, box.right + by, box.bottom - by)
            )
            corner = f"Q{right},{top} {right},{short(box.top - by + 5)}"
            d = f"M{left},{short(box.top)}V{top}H{short(box.right + by - 5)}{corner}V{bottom}H{short(box.right)}"
            self.add("path", d=d, fill=self.theme.card, stroke=line, stroke_width=0.8, stroke_opacity=opacity)

    def rectangle(self, box: Box, radius: float, **look: Any) -> None:
        """Draw a rounded rectangle."""
        size = {"width": box.right - box.left, "height": box.bottom - box.top}
        self.add("rect", x=box.left, y=box.top, **size, rx=radius, **look)

    def centred(self, text: str) -> None:
        """Write one text into the middle."""
        x, y = self.box.middle
        self.add("text", text, x=x, y=y + BODY * BASELINE, text_anchor="middle", font_size=BODY, fill=self.ink)

    def one_line(self) -> None:
        """Write name, op and value on one line."""
        card = self.card
        x, y = self.box.middle
        line = self.add("text", x=x, y=y + 10 * BASELINE, text_anchor="middle", font_size=10.0, fill=self.ink)
        value = next((row for row in card.rows if row.key == "value"), None)
        parts: list[tuple[str, dict[str, Any]]] = [
            (card.title, {"font_weight": "bold"}),
            (PRINTED.get(card.symbol, card.symbol), {"fill": self.muted}),
        ]
        parts.append((value.text if value else "", self.tone(value) if value else {}))
        parts += [(card.also, {"fill": self.muted}), (card.count, {"fill": self.muted})]
        for text, look in parts:
            if text:
                line.append(shape("tspan", text, **look))
                line[-1].tail = "\u2002"
        if len(line):
            line[-1].tail = None

    def lines(self, *, with_sign: bool) -> None:
        """Write the header and the rows under it."""
        rows = self.card.rows
        sign = self.card.symbol if with_sign else ""
        has_header = bool(self.card.title or sign or self.card.note)
        top, bottom = self.box.top + 3.5, self.box.bottom - 3.5
        step = (bottom - top) / max(1, len(rows) + has_header)
        if has_header:
            self.header(top, step, sign)
        for number, row in enumerate(rows, start=int(has_header)):
            self.row(row, Box(self.box.left, top + number * step, self.box.right, top + (number + 1) * step))

    def header(self, top: float, step: float, sign: str) -> None:
        """Write the name at the left and what it is at the right."""
        inner = self.box.inset(PAD)
        y = top + step / 2 + TITLE * BASELINE - 1
        name = self.add("text", self.card.title, x=inner.left, y=y, font_size=TITLE, fill=self.ink)
        name.set("font-weight", "bold")
        if sign:
            name[:] = [
                shape(
                    "tspan",
                    ("\u2002" if self.card.title else "") + PRINTED.get(sign, sign),
                    fill=self.muted,
                    font_weight="normal",
                )
            ]
        if self.card.note:
            look = {"text_anchor": "end", "font_size": SMALL, "fill": self.muted}
            self.add("text", self.card.note, x=inner.right, y=y, **look)
        if self.card.rows:
            line_y = top + step - 0.5
            ends = {"x1": self.box.left, "x2": self.box.right, "y1": line_y, "y2": line_y}
            self.add("line", **ends, stroke=self.theme.role_line(self.card.role), stroke_width=0.6, stroke_opacity=0.45)

    def row(self, row: Row, box: Box) -> None:
        """Draw one row: its key, its number on the tint of its gradient, or its heat strip."""
        if row.strip:
            self.strip(row.strip, box)
            return
        inner = box.inset(PAD)
        middle = box.middle[1]
        is_tinted = isinstance(row.tone, int) and not self.card.pending and row.tone != 0
        if isinstance(row.tone, int) and is_tinted:
            chip = Box(inner.left - 3.5, box.top + 1, inner.right + 3.5, box.bottom - 0.4)
            self.rectangle(chip, 3, fill=self.theme.fill(row.tone))
        if row.key:
            fill = self.ink if is_tinted else self.muted
            self.add("text", row.key, x=inner.left, y=middle + SMALL * BASELINE, font_size=SMALL, fill=fill)
        if row.tone == "source":
            self.add("text", row.text, x=inner.left, y=middle + SMALL * BASELINE, **self.tone(row))
        else:
            look = {"font_size": BODY, **self.tone(row)}
            self.add("text", row.text, x=inner.right, y=middle + BODY * BASELINE, text_anchor="end", **look)

    def tone(self, row: Row) -> dict[str, Any]:
        """Return the look of the text of a row."""
        if self.card.pending:
            return {"fill": self.theme.faint}
        if row.tone == "bad":
            return {"fill": self.theme.warning, "font_weight": "bold"}
        if row.tone == "none":
            return {"fill": self.muted, "font_style": "italic", "font_size": 9.5}
        if row.tone == "source":
            return {"fill": self.muted, "font_size": SMALL}
        return {"fill": self.ink}

    def strip(self, levels: tuple[int | None, ...], box: Box) -> None:
        """Draw the heat strip of an array; a cell with a NaN or an infinity is crossed out."""
        inner = box.inset(PAD)
        top, height = box.top + (box.bottom - box.top) * 0.2, (box.bottom - box.top) * 0.6
        width = (inner.right - inner.left) / len(levels)
        for number, level in enumerate(levels):
            left = inner.left + number * width
            fill = self.theme.alarm_fill if level is None else self.theme.fill(level)
            self.add("rect", x=left, y=top, width=width, height=height, fill=fill)
            if level is None:
                right, bottom = short(left + width), short(top + height)
                across = f"M{short(left)},{short(top)}L{right},{bottom}M{right},{short(top)}L{short(left)},{bottom}"
                self.add("path", d=across, stroke=self.theme.alarm, stroke_width=1.2, fill="none")
        frame = {"fill": "none", "stroke": self.theme.faint, "stroke_width": 0.5}
        self.add("rect", x=inner.left, y=top, width=inner.right - inner.left, height=height, **frame)
