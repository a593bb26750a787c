"""The stage of an animation: one layout for all moments, and the elements of the picture at each of them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

from gradviz.graphs import Frame
from gradviz.style import Options
from gradviz.views.cards import Card, Row
from gradviz.views.cards import Writer as CardWriter
from gradviz.views.looks import look_of
from gradviz.views.motion.flows import Paths
from gradviz.views.motion.moments import Moment, Moments
from gradviz.views.svg import SVG, Page, render_dot

__all__ = ["Stage"]

SHIFT = re.compile(r"translate\((-?[\d.]+)[ ,](-?[\d.]+)\)")


class Stage:
    """The layout that all moments share."""

    def __init__(self, moments: Moments, options: Options, largest: float) -> None:
        self.moments = moments
        self.options = options
        self.largest = largest
        self.look = look_of(options.style)
        self.has_numbers = any(value is not None for value in moments.full.values)
        self.cards = [self.cards_of(moment) for moment in moments]
        writer = self.look.writer(moments.full, options)
        writer.widths = self.widths()
        self.dot = str(writer.digraph().source)
        self.laid_out = ET.fromstring(render_dot(self.dot, engine=options.engine, timeout=options.timeout))
        self.pages = [self.page(moment, cards) for moment, cards in zip(moments, self.cards, strict=True)]

    def widths(self) -> list[float]:
        """Return how wide each node must be for what is on it at any moment."""
        found = []
        for moment, cards in zip(self.moments, self.cards, strict=True):
            writer = self.look.writer(moment.frame, self.options_of(moment))
            found.append([writer.width(card) for card in cards])
        return [max(widths) for widths in zip(*found, strict=True)]

    def options_of(self, moment: Moment) -> Options:
        """Return how one moment is drawn; derivatives are shown when they are used, on the way back."""
        show = tuple(word for word in self.options.show if word != "local" or moment.phase != "forward")
        highlight = (*self.options.highlight, *moment.highlight)
        return replace(self.options, show=show, highlight=highlight, pending=moment.pending)

    def cards_of(self, moment: Moment) -> list[Card]:
        """Return the cards of a moment: what is still to come leaves its place empty."""
        full = self.moments.full
        now, later = (self.writer(frame, moment) for frame in (moment.frame, full))
        return [replace(now.card(node), rows=self.rows(now, later, node.id)) for node in full.graph]

    def writer(self, frame: Frame, moment: Moment) -> CardWriter:
        """Return a writer of cards in which colours mean the same at every moment."""
        found = CardWriter(frame, self.options_of(moment))
        found.largest, found.has_numbers = self.largest, self.has_numbers
        return found

    def rows(self, now: CardWriter, later: CardWriter, id: int) -> tuple[Row, ...]:
        """Return the rows of a card, as many as there will be."""
        node = later.frame.graph.nodes[id]
        found: list[Row] = []
        for name, numbers in (("value_rows", "values"), ("grad_rows", "grads")):
            here, full = getattr(now.frame, numbers)[id], getattr(later.frame, numbers)[id]
            rows = list(getattr(later, name)(node, full))
            if here is None and full is not None:
                rows = [Row(row.key, "", "none") for row in rows]
            elif here is not full:
                rows = padded(list(getattr(now, name)(node, here)), len(rows))
            found += rows
        return (*found, *later.source_rows(node))

    def page(self, moment: Moment, cards: list[Card]) -> Page:
        """Return what paints one moment."""
        found = self.look.step_page(moment.frame, self.options_of(moment), self.dot, self.laid_out)
        found.cards = found.writer.cards = cards
        found.writer.largest = self.largest
        labels: Any = getattr(found.writer, "labels", None)
        if labels is not None:  # a wire is dotted where no gradient will come, not where none has come yet
            labels.reached = self.look.writer(self.moments.full, self.options).labels.reached  # type: ignore[attr-defined]
        return found

    def parts(self, number: int) -> dict[str, ET.Element]:
        """Return the elements of a moment by their ids, which are the same at every moment."""
        page = self.pages[number]
        graph = self.laid_out.find(f"{SVG}g")
        found: dict[str, ET.Element] = {}
        for place, element in enumerate(() if graph is None else page.graph(graph)):
            name = element.attrib.pop("id", f"{page.id}-text{place}")
            bare(element)
            found[name.removeprefix(f"{page.id}-")] = element
        return found

    @property
    def shift(self) -> tuple[float, float]:
        """How far Graphviz has moved its picture."""
        graph = self.laid_out.find(f"{SVG}g")
        found = SHIFT.search("" if graph is None else graph.get("transform", ""))
        return (float(found[1]), float(found[2])) if found else (0.0, 0.0)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the picture, in points."""
        box = [float(number) for number in (self.laid_out.get("viewBox") or "0 0 1 1").split()]
        return box[2], box[3]

    def paths(self, parts: dict[str, ET.Element]) -> Paths:
        """Return where things move."""
        lines = {name: element.find("path") for name, element in parts.items() if name.startswith("edge")}
        return Paths(self.laid_out, {name: line.get("d", "") for name, line in lines.items() if line is not None})


def padded(rows: list[Row], count: int) -> list[Row]:
    """Return rows with empty ones after them, so that there are so many."""
    return [*rows, *[Row("", "", "none")] * (count - len(rows))]


def bare(element: ET.Element) -> None:
    """Take out of an element what is only for pointers: titles, and areas to hit."""
    for title in element.findall("title"):
        element.remove(title)
    for area in [child for child in element if child.get("class") == "gv-area"]:
        element.remove(area)
    for child in list(element):
        if child.tag == "text" and not child.text and not len(child):
            element.remove(child)
