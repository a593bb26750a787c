"""An animation as layers: every element of the picture with the moments at which it is seen."""

from __future__ import annotations

import hashlib
import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property

from gradviz import escape
from gradviz.style import THEMES, Options
from gradviz.views.motion.captions import Captions
from gradviz.views.motion.moments import Flow, Moments
from gradviz.views.motion.stage import Stage
from gradviz.views.painting import shape, short
from gradviz.views.svg import SCALE, describe

__all__ = ["Film", "Layer", "Mover"]

DOT = 6.5  # points across, of what moves along an edge


@dataclass(frozen=True, slots=True)
class Layer:
    """One element, the moments at which it is seen, and whether it lies in the picture or under it."""

    element: ET.Element
    moments: frozenset[int]
    is_inside: bool = True


@dataclass(frozen=True, slots=True)
class Mover:
    """What moves along a path during a moment."""

    path: str
    moment: int
    back: bool
    colour: str


class Film:
    """All that is seen at any moment of an animation."""

    def __init__(self, moments: Moments, options: Options, largest: float) -> None:
        self.moments = moments
        self.options = options
        self.theme = THEMES[options.theme]
        self.stage = Stage(moments, options, largest)
        self.captions = Captions(moments, self.theme, *self.stage.size)
        said = "\n".join("|".join(moment.lines) for moment in moments)
        identity = f"{options.theme}\n{options.alt}\n{self.stage.dot}\n{said}"
        self.id = "gv-" + hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:12]

    @cached_property
    def parts(self) -> list[dict[str, ET.Element]]:
        """The elements of the picture at every moment."""
        return [self.stage.parts(number) for number in range(len(self.moments))]

    @cached_property
    def layers(self) -> list[Layer]:
        """Every element from back to front; one that looks the same at several moments is there once."""
        found = [layer for name in self.parts[-1] for layer in self.versions([part[name] for part in self.parts])]
        always = frozenset(range(len(self.moments)))
        found += [Layer(element, always, is_inside=False) for element in self.chart_axes()]
        texts = [self.captions.text(moment) for moment in self.moments]
        found += [Layer(one.element, one.moments, is_inside=False) for one in self.versions(texts)]
        for number in range(len(self.moments.losses)):
            for element, only in self.captions.chart(number):
                seen = frozenset({number}) if only else frozenset(range(number, len(self.moments)))
                found.append(Layer(element, seen, is_inside=False))
        return found

    def chart_axes(self) -> list[ET.Element]:
        """Return the axes of the loss, where there is one to show."""
        return self.captions.axes() if self.captions.has_chart else []

    def versions(self, elements: list[ET.Element]) -> Iterator[Layer]:
        """Yield the different looks of one element, in parts where only some of its parts differ."""
        if not self.differ(elements):
            yield Layer(elements[-1], frozenset(range(len(elements))))
            return
        seen: dict[str, list[int]] = {}
        for number, element in enumerate(elements):
            seen.setdefault(ET.tostring(element, "unicode"), []).append(number)
        for numbers in seen.values():
            yield Layer(elements[numbers[0]], frozenset(numbers))

    def differ(self, elements: list[ET.Element]) -> bool:
        """Tell whether an element ever changes its look."""
        first = ET.tostring(elements[0], "unicode")
        return any(ET.tostring(element, "unicode") != first for element in elements[1:])

    @cached_property
    def movers(self) -> list[Mover]:
        """Everything that moves."""
        paths = self.stage.paths(self.parts[-1])
        return [
            Mover(path, number, flow.back, self.colour(flow))
            for number, moment in enumerate(self.moments)
            for flow in dict.fromkeys(moment.flows)
            for path in paths.between(flow.src, flow.dst)
        ]

    @property
    def dot(self) -> float:
        """How large what moves is, in points."""
        return DOT * math.sqrt(self.captions.unit)

    def colour(self, flow: Flow) -> str:
        """Return the colour of what moves."""
        return self.theme.stroke(flow.level) if flow.back and flow.level else self.theme.highlight

    # -- the document

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of everything, in points."""
        return self.captions.width, self.stage.size[1] + self.captions.height

    @property
    def offset(self) -> tuple[float, float]:
        """Where the picture lies: in the middle of what is at least as wide."""
        x, y = self.stage.shift
        return x + (self.captions.width - self.stage.size[0]) / 2, y

    def root(self, id: str, alt: str) -> ET.Element:
        """Return the svg element with its title, description and an empty style."""
        wide, high = self.size
        root = self.stage.pages[-1].root()
        root.set("id", id)
        root.set("aria-labelledby", f"{id}-title {id}-desc")
        root.set("viewBox", f"0 0 {short(wide)} {short(high)}")
        root.set("width", short(wide * SCALE))
        root.set("height", short(high * SCALE))
        root[0].set("id", f"{id}-title")
        root[1].set("id", f"{id}-desc")
        root[1].text = escape.clean(alt, 1000)
        return root

    def told(self) -> str:
        """Return the alternative text of the animation."""
        if self.options.alt is not None:
            return self.options.alt
        return f"{self.moments.told}; {describe(self.moments.full, self.options)}"

    def shown(self, number: int) -> ET.Element:
        """Return the picture of one moment, without what is under it."""
        x, y = self.stage.shift
        found = shape("g", transform=f"translate({short(x)} {short(y)})")
        found.extend(deepcopy(layer.element) for layer in self.layers if layer.is_inside and number in layer.moments)
        return found

    def still(self, number: int) -> str:
        """Return one moment as SVG that does not move."""
        moment = self.moments.shown[number]
        root = self.root(f"{self.id}-{number}", f"{moment.phase} {moment.count}: {'; '.join(moment.lines)}")
        group = self.shown(number)
        group.set("transform", "translate({} {})".format(*map(short, self.offset)))
        root.append(group)
        below = [layer for layer in self.layers if not layer.is_inside and number in layer.moments]
        root.extend(deepcopy(layer.element) for layer in below)
        page = self.stage.pages[-1]
        page.id = f"{self.id}-{number}"
        root[2].text = page.stylesheet(root)
        page.indent(root)
        return ET.tostring(root, "unicode", short_empty_elements=True) + "\n"
