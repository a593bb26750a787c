"""Which classes draw which style: one row a style."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pkgutil import resolve_name
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from gradviz.views.dot import Writer
    from gradviz.views.svg import Page
    from gradviz.views.tikz import Picture

__all__ = ["LOOKS", "Look", "look_of"]


@dataclass(frozen=True, slots=True)
class Look:
    """How a style is drawn: what writes its DOT, paints its SVG (also a step of many) and writes its TikZ."""

    dot: str
    svg: str
    step: str
    tex: str
    signs: str = ""  # where the sign of an op is: "apart", in a node of its own, or "card", beside the name
    one_line: bool = False  # a card is one line

    @property
    def writer(self) -> type[Writer]:
        """The class that writes DOT."""
        return cast("type[Writer]", resolve_name(self.dot))

    @property
    def page(self) -> type[Page]:
        """The class that paints SVG."""
        return cast("type[Page]", resolve_name(self.svg))

    @property
    def step_page(self) -> type[Page]:
        """The class that paints one step where all have been laid out."""
        return cast("type[Page]", resolve_name(self.step))

    @property
    def picture(self) -> type[Picture]:
        """The class that writes TikZ."""
        return cast("type[Picture]", resolve_name(self.tex))


CARDS = Look(
    signs="apart",
    dot="gradviz.views.dot:Writer",
    svg="gradviz.views.svg:Page",
    step="gradviz.views.slides:StepPage",
    tex="gradviz.views.tikz:Picture",
)
WIRES = Look(
    dot="gradviz.views.wires.dot:WireWriter",
    svg="gradviz.views.wires.page:WirePage",
    step="gradviz.views.wires.page:WirePage",
    tex="gradviz.views.wires.tikz:WirePicture",
)
LOOKS = {
    "cards": CARDS,
    "circuit": WIRES,
    "paper": WIRES,
    "boxes": replace(CARDS, signs="card"),
    "compact": replace(CARDS, signs="card", one_line=True),
}


def look_of(style: str) -> Look:
    """Return how a style is drawn.

    >>> look_of("cards").writer.__name__, look_of("circuit").writer.__name__
    ('Writer', 'WireWriter')
    """
    return LOOKS[style]
