"""What is said under an animated picture, how far it has come, and the loss of a run so far."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence

from gradviz.style import Theme
from gradviz.views.motion.moments import Moment, Moments
from gradviz.views.painting import shape, short, text_width

__all__ = ["Captions", "clipped"]

SIZE, LEAD, PAD = 11.5, 15.5, 10.0
LABEL = 118.0  # where the text begins, after the phase
NARROWEST = 400.0
WIDE, WIDEST = 560.0, 800.0
MOST_LINES = 3
TRACK = 2.4
CHART = (150.0, 46.0)


def clipped(text: str, room: float, size: float = SIZE) -> str:
    """Return a text that fits into so much room: the numbers of a long sum without its letters, or the start of it.

    >>> clipped("a = 1", 100.0), clipped("a" * 100, 30.0), clipped("grad a += ∂b/∂a × grad b = 2 × 3 = 6", 130.0)
    ('a = 1', 'aaa…', 'grad a += 2 × 3 = 6')
    """
    for form in (text, *shorter(text)):
        if text_width(form, size) <= room:
            return form
    kept = text
    while kept and text_width(f"{kept}…", size) > room:
        kept = kept[:-1]
    return f"{kept}…"


def shorter(text: str) -> Iterator[str]:
    """Yield a line that says what is added to a gradient without the letters, and without the product."""
    head, sign, rest = text.partition(" += ")
    *_, last = parts = rest.split(" = ")
    if len(parts) == 3:
        yield f"{head} += {parts[1]} = {last}"
    if sign and len(parts) > 1:
        yield f"{head} += {last}"


class Captions:
    """The strip under the picture; ``top`` is where it begins, ``width`` how wide the picture is at least."""

    def __init__(self, moments: Moments, theme: Theme, width: float, top: float) -> None:
        self.moments = moments
        self.theme = theme
        self.width = max(width, NARROWEST)
        self.unit = max(1.0, self.width / WIDEST)  # a wide picture is seen small, so its captions are large
        self.top = top
        self.is_stacked = self.width < WIDE  # the phase stands above what is said
        self.lines = self.is_stacked + max((min(len(moment.lines), MOST_LINES) for moment in moments), default=1)
        self.has_chart = sum(math.isfinite(loss) for _, loss in moments.losses) > 1

    @property
    def height(self) -> float:
        """How much room the strip takes."""
        rows = self.lines * self.unit * LEAD
        return (
            self.unit * PAD
            + max(rows, self.chart_size[1] if self.has_chart else rows)
            + self.unit * PAD
            + self.unit * TRACK
            + 4
        )

    def text(self, moment: Moment) -> ET.Element:
        """Return what is said at a moment."""
        found = shape("g", class_="gv-caption")
        label = moment.phase if not moment.count else f"{moment.phase} {moment.count}"
        y = self.top + self.unit * (PAD + SIZE)
        found.append(
            shape(
                "text",
                label,
                x=self.unit * PAD,
                y=y,
                font_size=self.unit * SIZE,
                fill=self.theme.ink,
                font_weight="bold",
            )
        )
        left = self.unit * PAD if self.is_stacked else self.unit * LABEL
        room = self.width - left - self.unit * PAD - (self.chart_size[0] + 60 * self.unit) * self.has_chart
        for number, line in enumerate(self.said(moment), start=int(self.is_stacked)):
            place = {"x": left, "y": y + number * self.unit * LEAD}
            found.append(
                shape(
                    "text",
                    clipped(line, room, self.unit * SIZE),
                    **place,
                    font_size=self.unit * SIZE,
                    fill=self.theme.ink,
                )
            )
        return found

    def said(self, moment: Moment) -> Sequence[str]:
        """Return the lines of a moment, the last telling how many did not find room."""
        if len(moment.lines) <= MOST_LINES:
            return moment.lines
        return (*moment.lines[: MOST_LINES - 1], f"and {len(moment.lines) - MOST_LINES + 1} more")

    def track(self) -> list[ET.Element]:
        """Return the line that fills while the animation goes on, and what it fills."""
        y = self.top + self.height - self.unit * TRACK - 1
        line = f"M{short(self.unit * PAD)},{short(y)}H{short(self.width - self.unit * PAD)}"
        look = {"fill": "none", "stroke_width": self.unit * TRACK, "stroke_linecap": "round"}
        ground = shape("path", d=line, stroke=self.theme.scope_line, **look)
        return [ground, shape("path", d=line, stroke=self.theme.muted, pathLength="100", **look)]

    # -- the loss of a run

    def chart(self, number: int) -> list[tuple[ET.Element, bool]]:
        """Return the piece of the curve that comes at a moment, and (True: only at this moment) its end."""
        points = self.points()
        here = points[number]
        if not self.has_chart or here is None:
            return []
        found = []
        before = next((points[n] for n in range(number - 1, -1, -1) if points[n] is not None), None)
        if before is not None:
            ends = dict(zip(("x1", "y1", "x2", "y2"), (*before, *here), strict=True))
            look = {"stroke": self.theme.input_line, "stroke_width": 1.8 * self.unit, "stroke_linecap": "round"}
            found.append((shape("line", **ends, **look), False))
        dot = shape(
            "ellipse", cx=here[0], cy=here[1], rx=3.2 * self.unit, ry=3.2 * self.unit, fill=self.theme.highlight
        )
        return [*found, (dot, True)]

    def axes(self) -> list[ET.Element]:
        """Return the frame of the curve."""
        left, top = self.corner()
        corner = f"M{short(left)},{short(top)}V{short(top + self.chart_size[1])}H{short(left + self.chart_size[0])}"
        label = {
            "x": left - 5 * self.unit,
            "y": top + 8 * self.unit,
            "font_size": 9.0 * self.unit,
            "text_anchor": "end",
            "fill": self.theme.muted,
        }
        line = shape("path", d=corner, fill="none", stroke=self.theme.scope_line, stroke_width=1.0)
        return [line, shape("text", "log loss" if self.is_log else "loss", **label)]

    @property
    def chart_size(self) -> tuple[float, float]:
        """Width and height of the curve."""
        return CHART[0] * self.unit, CHART[1] * self.unit

    def corner(self) -> tuple[float, float]:
        """Return the upper left corner of the chart."""
        return self.width - self.unit * PAD - self.chart_size[0], self.top + self.unit * PAD

    @property
    def is_log(self) -> bool:
        """Whether losses differ so much that their logarithms are drawn."""
        finite = [loss for _, loss in self.moments.losses if math.isfinite(loss)]
        return min(finite) > 0 and max(finite) > 50 * min(finite)

    def points(self) -> list[tuple[float, float] | None]:
        """Return where every loss is drawn; None where it is not finite."""
        finite = [(x, y) for x, y in self.moments.losses if math.isfinite(y)]
        if not finite:
            return [None] * len(self.moments.losses)
        (left, top), (first, last) = self.corner(), (self.moments.losses[0][0], self.moments.losses[-1][0])
        is_log = self.is_log
        up = [math.log(y) if is_log else y for _, y in finite]
        low, high = min(up), max(up)
        found: list[tuple[float, float] | None] = []
        for x, y in self.moments.losses:
            if not math.isfinite(y):
                found.append(None)
                continue
            share = ((math.log(y) if is_log else y) - low) / ((high - low) or 1.0)
            across = left + 5 + (x - first) / ((last - first) or 1) * (self.chart_size[0] - 10)
            found.append((across, top + self.chart_size[1] - 5 - share * (self.chart_size[1] - 10)))
        return found
