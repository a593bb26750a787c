"""The measures of the two styles with wires, and where the texts around a wire or a gate go."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gradviz.style import FONTS, SERIF_FONTS
from gradviz.views.painting import PRINTED, Box, text_width

__all__ = ["PLANS", "Label", "Line", "Placed", "Plan", "runs", "sign_of"]

GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa mu nu xi pi rho sigma tau phi chi psi omega"
LETTERS = dict(zip(GREEK.split(" "), "αβγδεζηθικμνξπρστφχψω", strict=True)) | {"lambda": "λ", "lam": "λ"}
INDEXED = re.compile(r"([^\W\d_]+)_?(\d{1,4})|([^\W\d_]+)_([^\W_]{1,12})")
SUBSCRIPT = 0.72  # of the size of the letter
LEAD = 1.16  # the height of a line, of its size
EQUALS = " = "


@dataclass(frozen=True, slots=True)
class Line:
    """One line beside a wire: a name, a text, or both with an equals sign between."""

    text: str
    tone: str  # "value" | "grad" | "small" | "none" | "bad"
    name: str = ""

    def __str__(self) -> str:
        return EQUALS.join(filter(None, (self.name, self.text)))


@dataclass(frozen=True, slots=True)
class Label:
    """What stands around a wire or a gate; ``head`` is the name where a wire begins, ``core`` what is in the gate."""

    above: tuple[Line, ...] = ()
    below: tuple[Line, ...] = ()
    head: str = ""
    core: tuple[str, ...] = ()
    is_number: bool = False  # the head or core is the number of a constant, no name

    def lines(self) -> Iterator[str]:
        """Yield everything as plain text, from top to bottom."""
        yield from map(str, self.above)
        yield from self.core or filter(None, [self.head])
        yield from map(str, self.below)


@dataclass(frozen=True, slots=True)
class Placed:
    """A text at its place: ``anchor`` is start, middle or end, and ``y`` the base of its letters."""

    line: Line
    x: float
    y: float
    anchor: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The measures of one style, in points."""

    fonts: str
    is_math: bool  # names are set as mathematics
    has_colour: bool  # values and gradients have colours of their own
    has_gates: bool  # a gate is a node of its own and its value is on the wire after it
    name: float  # sizes of type
    number: float
    small: float
    sign: float
    gate: float  # the diameter of a gate
    stroke: float
    between: float  # nodes of one rank
    ranks: float
    clear: float = 2.2  # from a wire to the text beside it
    shortest: float = 14.0  # wire
    mark: str = ""  # before a gradient

    def size(self, line: Line) -> float:
        """Return the size of type of a line."""
        return self.small if line.tone in {"small", "none"} else self.number

    def name_width(self, name: str, size: float) -> float:
        """Return how wide a name is, in points."""
        parts = runs(name) if self.is_math else ((name, False),)
        return sum(text_width(text, size * (SUBSCRIPT if low else 1.05)) for text, low in parts)

    def width(self, line: Line) -> float:
        """Return how wide a line is, in points."""
        size = self.size(line)
        equals = text_width(EQUALS, size) if line.name and line.text else 0.0
        return (self.name_width(line.name, size) if line.name else 0.0) + equals + text_width(line.text, size) * 1.02

    def block(self, lines: Sequence[Line]) -> tuple[float, float]:
        """Return width and height of some lines."""
        return max(map(self.width, lines), default=0.0), sum(self.size(line) * LEAD for line in lines)

    def core_size(self, core: Sequence[str]) -> tuple[float, float]:
        """Return width and height of a gate: a circle where its sign is short."""
        if not core:
            return 0.0, 0.0
        sign = self.name_width(core[0], self.sign_size(core[0]))
        across = max(sign, *(text_width(text, self.small) for text in core[1:]), 0.0)
        if len(core) == 1:
            return (self.gate if across <= self.gate - 3 else even(across + self.sign * 0.9)), self.gate
        down = self.sign * 1.05 + self.small * LEAD * (len(core) - 1) + 5
        side = even(max(down, across + 9))
        return side, even(down) if side > down * 1.35 else side

    def sign_size(self, text: str, *, is_number: bool = False) -> float:
        """Return the size of type of what stands in a gate: a word is smaller than a sign."""
        return self.number if len(text) > 1 or is_number else self.sign

    def label_size(self, label: Label, *, across: bool) -> tuple[float, float]:
        """Return the room of a label, ``across`` where wires go from left to right; the wire is in its middle."""
        blocks = [self.block(lines) for lines in (label.above, label.below)]
        wide, high = (max(block[axis] for block in blocks) for axis in (0, 1))
        core_wide, core_high = self.core_size(label.core)
        gap = self.clear if wide else 0.0
        stub = 2 * self.clear + 2 if label.core else 0.0
        if across:
            room = self.head_width(label) + max(wide + 2, core_wide + 2 * stub, self.shortest)
            return even(room), even(max(core_high + 2 * (high + gap), self.name * LEAD))
        head = self.name * LEAD + 2 if label.head else 0.0
        room = head + max(high, core_high + 2 * stub, self.shortest)
        return even(max(core_wide + 2 * (wide + gap) + 2, self.head_width(label), 6.0)), even(room)

    def head_width(self, label: Label) -> float:
        """Return the room of the name at the start of a wire."""
        return self.name_width(label.head, self.name) * 1.04 + 4 if label.head else 0.0

    def placed(self, label: Label, box: Box, *, across: bool) -> Iterator[Placed]:
        """Yield the lines of a label at their places in its box."""
        core_wide, core_high = self.core_size(label.core)
        x, y = box.middle
        if across:
            x += self.head_width(label) / 2
            top = y - core_high / 2 - self.clear - self.block(label.above)[1]
            yield from self.stacked(label.above, x, top, "middle")
            yield from self.stacked(label.below, x, y + core_high / 2 + self.clear, "middle")
            return
        y += (self.name * LEAD + 2) / 2 if label.head else 0.0
        for lines, side, anchor in ((label.above, -1, "end"), (label.below, 1, "start")):
            top = y - self.block(lines)[1] / 2
            yield from self.stacked(lines, x + side * (core_wide / 2 + self.clear), top, anchor)

    def stacked(self, lines: Sequence[Line], x: float, top: float, anchor: str) -> Iterator[Placed]:
        """Yield lines under each other."""
        for line in lines:
            size = self.size(line)
            yield Placed(line, x, top + size * 0.9, anchor)
            top += size * LEAD


def even(size: float) -> float:
    """Return the next even number of points: Graphviz puts middles on whole points, so wires stay straight.

    >>> even(12.2), even(4.0)
    (14.0, 4.0)
    """
    return 2.0 * math.ceil(size / 2)


def runs(name: str) -> tuple[tuple[str, bool], ...]:
    """Return a name as letters and subscript, as mathematics has it: (text, whether it is low).

    >>> runs("w_1"), runs("theta"), runs("x_train"), runs("layer.0.weight")
    ((('w', False), ('1', True)), (('θ', False),), (('x', False), ('train', True)), (('layer.0.weight', False),))
    """
    found = INDEXED.fullmatch(name)
    if not found:
        return ((LETTERS.get(name, name), False),)
    letter, index = found[1] or found[3], found[2] or found[4]
    return (LETTERS.get(letter, letter), False), (LETTERS.get(index, index), True)


def sign_of(symbol: str) -> str:
    """Return a sign as books print it.

    >>> sign_of("*"), sign_of("**"), sign_of("sin")
    ('×', 'pow', 'sin')
    """
    return "pow" if symbol == "**" else PRINTED.get(symbol, symbol)


PLANS = {
    "circuit": Plan(
        fonts=FONTS,
        is_math=False,
        has_colour=True,
        has_gates=True,
        name=11.5,
        number=10.5,
        small=8.0,
        sign=13.0,
        gate=24.0,
        stroke=1.1,
        between=9.0,
        ranks=13.0,
        shortest=18.0,
    ),
    "paper": Plan(
        fonts=SERIF_FONTS,
        is_math=True,
        has_colour=False,
        has_gates=False,
        name=8.5,
        number=7.5,
        small=6.5,
        sign=9.0,
        gate=14.0,
        stroke=0.55,
        between=5.0,
        ranks=11.0,
        clear=1.4,
        shortest=8.0,
        mark="∂ ",
    ),
}
