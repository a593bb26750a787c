"""DOT of a picture with wires: gates, labels with the wire through their middle, and a node for what is on a branch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gradviz import escape
from gradviz.graphs import Frame, Node
from gradviz.style import Options, wording
from gradviz.views.cards import Card
from gradviz.views.dot import Writer, classes
from gradviz.views.painting import text_width
from gradviz.views.wires.labels import Labels
from gradviz.views.wires.plans import PLANS, Label

if TYPE_CHECKING:
    import graphviz

__all__ = ["WireWriter"]

POINTS = 72  # an inch
ROOM = 0.78  # of the room there is, for the letters that Graphviz measures: it warns of a text that does not fit
BIGGEST = 100.0


class WireWriter(Writer):
    """Writes DOT in which every text has a node of its own, so that nothing can lie on it."""

    def __init__(self, frame: Frame, options: Options) -> None:
        super().__init__(frame, options)
        self.plan = PLANS[options.style]
        self.labels = Labels(frame, options, self.plan)
        self.across = options.direction == "LR"
        self.branches: set[tuple[int, int, int]] = set()  # edges that something is written on
        self.ports = ("w", "e") if self.across else ("n", "s")

    # -- the whole

    def graph_attributes(self) -> dict[str, str]:
        """Return the attributes of the graph."""
        plan = self.plan
        own = {
            "fontname": plan.fonts,
            "nodesep": f"{plan.between / POINTS:.3f}",
            "ranksep": f"{plan.ranks / POINTS:.3f}",
            "pad": "0.04",
        }
        title = {"fontsize": f"{plan.name * 1.2:.1f}"} if self.options.title else {}
        return super().graph_attributes() | own | title

    def node_attributes(self) -> dict[str, str]:
        """Return what holds for every node."""
        return {
            "color": "none",
            "fixedsize": "true",
            "fontcolor": self.theme.ink,
            "fontname": self.plan.fonts,
            "fontsize": f"{self.plan.number:g}",
            "margin": "0",
            "penwidth": f"{self.plan.stroke:g}",
            "shape": "box",
        }

    def edge_attributes(self) -> dict[str, str]:
        """Return what holds for every edge."""
        return {
            "arrowhead": "none",
            "arrowsize": "0.5",
            "color": self.theme.ink,
            "fontcolor": self.theme.muted,
            "fontname": self.plan.fonts,
            "fontsize": f"{self.plan.small:g}",
            "penwidth": f"{self.plan.stroke:g}",
        }

    def scope_attributes(self) -> dict[str, str]:
        """Return the look of the frame of a scope: thin and dashed."""
        own = {"color": self.theme.muted, "fontname": self.plan.fonts, "fontsize": f"{self.plan.small:g}"}
        frame = {"margin": "7", "penwidth": "0.6", "style": "rounded,dashed"}
        found = super().scope_attributes() | own | frame
        del found["fillcolor"]
        return found

    # -- nodes

    def write_node(self, dot: graphviz.Digraph, card: Card) -> None:
        """Write the gate of an op, if it is a node of its own, and the label of its wire."""
        label = self.labels.label(card)
        if self.has_sign(card.id):
            dot.node(f"op{card.id}", **self.gate(card))
            dot.edge(f"op{card.id}", f"n{card.id}:{self.ports[0]}", weight="9")
        look = {"class": " ".join(classes(card)), "tooltip": escape.for_dot(card.tooltip)}
        size = self.label_size(label)
        if self.widths:
            size = (self.widths[card.id], size[1])
        dot.node(f"n{card.id}", **self.sized(label, size), **look)
        self.write_branches(dot, self.frame.graph.nodes[card.id])

    def write_branches(self, dot: graphviz.Digraph, node: Node) -> None:
        """Write what is on the wires into a node, in the scope of the node, and what it takes from the round before."""
        with np.errstate(all="ignore"):  # numbers of edges are worked out when they are asked for
            joints = [self.joint(src, node.id, arg) for arg, src in enumerate(node.inputs)]
        for arg, (src, label) in enumerate(zip(node.inputs, joints, strict=True)):
            if label.above or label.below:
                self.branches.add((src, node.id, arg))
                name = f"e{src}_{node.id}_{arg}"
                dot.node(name, **self.sized(label, self.label_size(label)), **{"class": "gv-share"})
        for src in self.carried(node):
            label = self.labels.before(src)
            name = f"p{src}_{node.id}"
            dot.node(name, **self.sized(label, self.label_size(label)), **{"class": "gv-previous"})

    def has_sign(self, id: int) -> bool:
        """Tell whether the gate of a node is a node of its own."""
        return self.plan.has_gates and self.frame.graph.nodes[id].kind == "op"

    def width(self, card: Card) -> float:
        """Return how wide the label of a card is, in points."""
        return self.label_size(self.labels.label(card))[0]

    def label_size(self, label: Label) -> tuple[float, float]:
        """Return width and height of a label, in points."""
        return self.plan.label_size(label, across=self.across)

    def gate(self, card: Card) -> dict[str, str]:
        """Return the look of a gate: round where its sign is short."""
        label = self.labels.gate(card)
        wide, high = self.plan.core_size(label.core)
        round_shape = {"shape": "circle"} if math.isclose(wide, high) else {"shape": "box", "style": "rounded"}
        pale = {"color": self.theme.ink}
        if card.pending:
            pale = {"color": self.theme.faint, "fontcolor": self.theme.faint}
        state = "gv-op gv-pending" if card.pending else "gv-op"
        return self.sized(label, (wide, high)) | round_shape | pale | {"class": state}

    def sized(self, label: Label, size: tuple[float, float]) -> dict[str, str]:
        """Return text and size of a node."""
        wide, high = size
        lines = list(label.lines())
        found = {
            "height": f"{high / POINTS:.3f}",
            "label": r"\n".join(map(escape.for_dot, lines)) or " ",
            "width": f"{wide / POINTS:.3f}",
        }
        room = min(high / len(lines), wide / max(text_width(line, 1.2) for line in lines)) if lines else BIGGEST
        return found | ({"fontsize": f"{max(1.0, ROOM * room):.1f}"} if ROOM * room < self.plan.number else {})

    # -- edges

    def write_edge(self, dot: graphviz.Digraph, src: int, dst: int, arg: int) -> None:
        """Write one wire, in two pieces where something is to be said on it."""
        tail = f"n{src}:{self.ports[1]}"
        head = self.entry(dst)
        if (src, dst, arg) not in self.branches:
            dot.edge(tail, head)
            return
        joint = f"e{src}_{dst}_{arg}"
        dot.edge(tail, f"{joint}:{self.ports[0]}")
        dot.edge(f"{joint}:{self.ports[1]}", head, weight="2")

    def write_carried(self, dot: graphviz.Digraph, card: Card) -> None:
        """Draw what a folded node takes over from the round before as a wire of its own."""
        for src in self.carried(self.frame.graph.nodes[card.id]):
            dot.edge(f"p{src}_{card.id}:{self.ports[1]}", self.entry(card.id))

    def carried(self, node: Node) -> list[int]:
        """Return what a node takes over from the round before, once for each name."""
        found = node.attrs.get("carried", ())
        return list({tuple(self.labels.before(src).lines()): src for src in reversed(found)}.values())[::-1]

    def entry(self, id: int) -> str:
        """Return where wires into a node end."""
        return self.end_of(id) if self.has_sign(id) else f"n{id}:{self.ports[0]}"

    def joint(self, src: int, dst: int, arg: int) -> Label:
        """Return what is on one branch: a share of the gradient only where several add up."""
        pending = self.cards[src].pending or self.cards[dst].pending
        share = self.edge_gradient(src, dst, arg) if self.uses[src] > 1 else None
        return self.labels.joint(src, dst, arg, share, pending=self.cards[dst].pending or pending)

    def is_dry(self, id: int) -> bool:
        """Tell whether no gradient came to a node although there are gradients and it might have one."""
        is_const = self.frame.graph.nodes[id].kind == "const"
        return self.labels.has_grads and not is_const and not self.labels.reached[id]

    def is_bad(self, id: int) -> bool:
        """Tell whether there is a NaN or an infinity in a node."""
        return wording.has_bad(self.frame.values[id]) or wording.has_bad(self.frame.grads[id])
