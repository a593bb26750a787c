"""Every step of a computation on one page: the picture stays where it is, numbers and gradients arrive in it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gradviz.errors import GradvizValueError
from gradviz.graphs import Frame
from gradviz.style import Options
from gradviz.views.cards import Card, largest_gradient
from gradviz.views.cards import Writer as CardWriter
from gradviz.views.looks import look_of
from gradviz.views.svg import Page, render_dot
from gradviz.views.webpage import page

if TYPE_CHECKING:
    from gradviz.debugger.events import Step, Steps

__all__ = ["slides"]

MOST = 20_000  # cards on all pictures together; a card takes about half a kilobyte


def slides(steps: Steps, options: Options | None = None) -> str:
    """Return a page to go through the steps of a computation, forward and backward, with keys or a slider.

    The whole graph is laid out once, so nothing moves. Raises `GradvizValueError` where all
    pictures together would hold more than 20,000 nodes, and what the layout raises.

    >>> from gradviz.debugger.events import steps
    >>> from gradviz.graphs import Graph, Node
    >>> slides(steps(Frame(Graph((Node(0, "x", "input", "input"),), (0,)), [3.0], [1.0]))).count("<figure")
    2
    """
    options = options or Options()
    nodes = len(steps.full.graph)
    if nodes * len(steps) > MOST:
        raise GradvizValueError(
            f"{len(steps):,} steps of {nodes:,} nodes are too many for one page",
            hint="draw single steps: draw(steps[3]).save('step.svg')",
        )
    return page(steps.full, options, Stage(steps, options).pictures())


class Stage:
    """The layout that all steps share."""

    def __init__(self, steps: Steps, options: Options) -> None:
        self.steps = steps
        self.options = options
        self.largest = largest_gradient(steps.full)
        self.cards = [self.cards_of(step) for step in steps]
        every = list(zip(*self.cards, strict=True))
        self.look = look_of(options.style)
        writer = self.look.writer(steps.full, options)
        writer.widths = [max(map(writer.width, cards)) for cards in every]
        self.dot = str(writer.digraph().source)
        self.laid_out = ET.fromstring(render_dot(self.dot, engine=options.engine, timeout=options.timeout))

    def cards_of(self, step: Step) -> list[Card]:
        """Return the cards of one step; colours mean the same in all of them, and a constant is always known."""
        frame = step.frame
        known = [
            self.steps.full.values[i] if node.kind == "const" else frame.values[i] for i, node in enumerate(step.graph)
        ]
        writer = CardWriter(Frame(frame.graph, known, frame.grads), self.options_of(step))
        writer.largest, writer.has_numbers = self.largest, True
        return [writer.card(node) for node in step.graph]

    def options_of(self, step: Step) -> Options:
        """Return how one step is drawn."""
        alt = self.options.alt or f"Step {step.index + 1} of {len(self.steps)}: {step}"
        return replace(self.options, highlight=step.highlight, pending=step.pending, alt=alt)

    def pictures(self) -> Sequence[tuple[str, str]]:
        """Return caption and SVG of every step."""
        return [(str(step), self.picture(step)) for step in self.steps]

    def picture(self, step: Step) -> str:
        """Return the SVG of one step."""
        options = self.options_of(step)
        found = self.look.step_page(step.frame, options, f"{step.index}\n{self.dot}", self.laid_out)
        found.cards = found.writer.cards = self.cards[step.index]
        found.writer.largest = self.largest
        return found.text()


class StepPage(Page):
    """Draws one step where the whole has been laid out; an edge shows its gradient once it has come."""

    def __init__(self, frame: Frame, options: Options, dot: str, laid_out: ET.Element) -> None:
        super().__init__(frame, options, dot, laid_out)
        self.waiting: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for src, dst, arg in reversed(frame.graph.edges):
            self.waiting[src, dst].append(arg)

    def sign(self, group: ET.Element, card: Card, id: str) -> ET.Element:
        """Return the sign of an op, pale while its result is to come."""
        found = super().sign(group, card, id)
        for part in found if card.pending else ():
            part.set("stroke" if part.tag != "text" else "fill", self.theme.faint)
        return found

    def edge(self, group: ET.Element) -> ET.Element:
        """Return an edge as it is at this step."""
        found = super().edge(group)
        tail, head = (end.strip() for end in (group.findtext("{*}title") or "").split("->"))
        src, dst = (int(end.lstrip("opn")) for end in (tail, head))
        if tail.startswith("op"):
            self.repaint(found, self.writer.sign_edge(self.cards[dst]), 0)
        elif self.waiting[src, dst]:  # not what a folded node carries over
            arg = self.waiting[src, dst].pop()
            lines = self.writer.edge_lines(src, dst, arg, self.writer.edge_gradient(src, dst, arg))
            self.repaint(found, self.writer.edge(src, dst, arg), len(list(lines)))
        return found

    def repaint(self, edge: ET.Element, look: dict[str, str], labels: int) -> None:
        """Give an edge its look at this step and leave as many labels as there are by now."""
        colour = look.get("color", self.theme.stroke(0))
        for line in edge.findall("path"):
            line.attrib.pop("stroke-dasharray", None)
            line.set("stroke", colour)
            line.set("stroke-width", look.get("penwidth", "1"))
            if look.get("style") == "dashed":
                line.set("stroke-dasharray", "4 3")
        for arrow in edge.findall("polygon"):
            arrow.set("fill", colour)
        for label in edge.findall("text")[labels:]:
            edge.remove(label)
