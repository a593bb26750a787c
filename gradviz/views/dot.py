"""A frame as Graphviz DOT: our own ids, escaped text, sorted attributes, one element a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz import escape
from gradviz.collecting import uncollected
from gradviz.graphs import Frame, Graph, Node, Number
from gradviz.style import FONTS, THEMES, Options, wording
from gradviz.views.cards import Card, as_frame, cards, largest_gradient
from gradviz.views.dotlines import edge_line, node_line
from gradviz.views.looks import look_of
from gradviz.views.painting import card_width

if TYPE_CHECKING:
    import graphviz

__all__ = ["make_dot", "to_dot"]

TEXT_SIZE = 11
MANY = 30  # lines of the compact style; above, they stand closer
BIG = 300  # above this many nodes Graphviz is told not to polish


@uncollected()
def to_dot(frame: Frame | Graph, options: Options | None = None) -> str:
    """Return the DOT text of a frame, byte for byte the same for the same frame and options.

    Nodes are ``n0``, ``n1``, ... by id, and ``op0``, ... for the signs of ops where they are
    drawn apart (cards, circuit).
    Raises `UnknownNameError` for a highlighted name that is not there.

    >>> from gradviz.graphs import Graph, Node
    >>> print(to_dot(Graph((Node(0, "x", "input", "input"),)), Options(style="compact")).splitlines()[-2])
        n0 [label=x class="gv-input" ...]
    """
    chosen = options or Options()
    return str(look_of(chosen.style).writer(as_frame(frame), chosen).digraph().source)


def make_dot(
    var: Any,
    params: Mapping[str, Any] | None = None,
    show_attrs: bool = False,
    show_saved: bool = False,
    max_attr_chars: int = 50,
) -> graphviz.Digraph:
    """Return the graph of ``var`` as a graphviz.Digraph, with values and gradients: torchviz's signature.

    ``var`` is a Tensor, a torch.Tensor, a Frame or a Graph; ``params`` names leaves, as in
    torchviz. ``show_attrs`` adds the attributes of every op (an axis, an exponent), each cut
    at ``max_attr_chars``. ``show_saved`` marks what backward keeps: the operands (and the
    result, ``y``) that occur in an op's derivative formulas, so ``a*b`` keeps both and ``a+b``
    none, or those that PyTorch has really saved; such an edge starts with a dot. Write it with
    ``.save()`` or, where a ``dot`` program is installed, ``.render()``.

    >>> from gradviz.graphs import Frame, Graph, Node
    >>> x, y = Node(0, "x", "input", "input"), Node(1, "y", "sin", "op", (0,))
    >>> picture = make_dot(Frame(Graph((x, y), (1,)), [0.0, 0.0], [1.0, 1.0]))
    >>> type(picture).__name__, "n0 -> n1" in picture.source
    ('Digraph', True)
    """
    if isinstance(var, Frame | Graph):
        frame = as_frame(var)
    else:
        from gradviz import sources

        frame = sources.frame(var, params=params)
    writer = Writer(frame, Options(style="boxes", direction="TB"))
    if show_attrs:
        writer.extra_lines = {node.id: list(attribute_lines(node, max_attr_chars)) for node in frame.graph.nodes}
    writer.marks_saved = show_saved
    return writer.digraph()


def attribute_lines(node: Node, limit: int) -> Iterator[str]:
    """Yield the attributes of an op, one a line, by name."""
    for name in sorted(node.attrs.keys() - {"saved"}):
        yield f"{escape.clean(name, 40)}: {escape.clean(str(node.attrs[name]), max(1, limit))}"


def saved_inputs(node: Node) -> frozenset[int]:
    """Return the positions of the operands that were saved, or that the derivative formulas of an op mention.

    >>> sorted(saved_inputs(Node(2, "c", "mul", "op", (0, 1), formulas=("{1}", "{0}"))))
    [0, 1]
    """
    if "saved" in node.attrs:
        return frozenset(arg for arg in node.attrs["saved"] if arg != "y")
    mentioned = "".join(node.formulas)
    return frozenset(arg for arg in range(len(node.inputs)) if f"{{{arg}}}" in mentioned)


def saves_result(node: Node) -> bool:
    """Tell whether the result of an op was saved, or whether its derivative formulas mention it.

    >>> saves_result(Node(1, "y", "exp", "op", (0,), formulas=("{y}",)))
    True
    """
    return "y" in node.attrs["saved"] if "saved" in node.attrs else "{y}" in "".join(node.formulas)


class Writer:
    """Writes the DOT of one frame."""

    def __init__(self, frame: Frame, options: Options) -> None:
        self.frame = frame
        self.options = options
        self.theme = THEMES[options.theme]
        self.largest = largest_gradient(frame)
        self.drawn = look_of(options.style)
        self.cards = cards(frame, options)
        self.uses = [0] * len(self.cards)
        for src, _, _ in frame.graph.edges:
            self.uses[src] += 1
        self.extra_lines: dict[int, list[str]] = {}
        self.marks_saved = False
        self.widths: Sequence[float] = ()  # of the nodes, where they are to be wider than their cards

    def digraph(self) -> graphviz.Digraph:
        """Return the whole picture."""
        import graphviz

        dot = graphviz.Digraph(
            graph_attr=self.graph_attributes(), node_attr=self.node_attributes(), edge_attr=self.edge_attributes()
        )
        clusters = Clusters(dot, self)
        for card in self.cards:
            self.write_node(clusters.of(self.frame.graph.nodes[card.id]), card)
        clusters.close()
        with np.errstate(all="ignore"):  # numbers of edges are worked out when they are asked for
            for src, dst, arg in self.frame.graph.edges:
                self.write_edge(dot, src, dst, arg)
        for card in self.cards:
            self.write_carried(dot, card)
        return dot

    # -- the whole

    def graph_attributes(self) -> dict[str, str]:
        """Return the attributes of the graph."""
        with_signs = self.drawn.signs == "apart"
        chosen = {
            "bgcolor": "transparent",
            "fontcolor": self.theme.ink,
            "fontname": FONTS,
            "nodesep": "0.22" if with_signs else "0.28",
            "pad": "0.06",
            "rankdir": self.options.direction,
            "ranksep": "0.32" if with_signs else "0.42",
        }
        if self.options.style == "compact" and self.options.direction == "TB" and len(self.cards) > MANY:
            chosen |= {"nodesep": "0.2", "ranksep": "0.2"}  # so that a deep network still fits on a screen
        if len(self.cards) > BIG:
            chosen |= {"mclimit": "0.05", "nslimit": "0.02", "nslimit1": "0.02"}  # 0 leaves ranks that crash Graphviz
        if self.options.title:
            chosen |= {"fontsize": "15", "label": escape.for_dot(self.options.title), "labelloc": "t"}
        return chosen

    def node_attributes(self) -> dict[str, str]:
        """Return what holds for every node."""
        compact = self.drawn.one_line
        return {
            "color": self.theme.line,
            "fontcolor": self.theme.ink,
            "fontname": FONTS,
            "fontsize": str(TEXT_SIZE - compact),
            "height": "0.22" if compact else "0.3",
            "margin": "0.07,0.03" if compact else "0.13,0.07",
            "shape": "box",
            "style": "rounded,filled",
        }

    def edge_attributes(self) -> dict[str, str]:
        """Return what holds for every edge."""
        return {
            "arrowsize": "0.65",
            "color": self.theme.stroke(0),
            "fontcolor": self.theme.muted,
            "fontname": FONTS,
            "fontsize": "9.5",
        }

    def scope_attributes(self) -> dict[str, str]:
        """Return the look of the box of a scope."""
        return {
            "class": "gv-scope",
            "color": self.theme.scope_line,
            "fillcolor": self.theme.scope,
            "fontcolor": self.theme.muted,
            "fontsize": "11",
            "labeljust": "l",
            "margin": "10",
            "style": "rounded,filled",
        }

    # -- nodes

    def write_node(self, dot: graphviz.Digraph, card: Card) -> None:
        """Write the card of a node and, among cards, the sign of its op before it."""
        if self.has_sign(card.id):
            dot.body.append(node_line(f"op{card.id}", escape.for_dot(card.symbol), self.sign(card)))
            dot.body.append(edge_line(f"op{card.id}", f"n{card.id}", self.sign_edge(card)))
        dot.body.append(node_line(f"n{card.id}", self.label(card), self.look(card)))

    def has_sign(self, id: int) -> bool:
        """Tell whether the op of a node is drawn as a node of its own."""
        node = self.frame.graph.nodes[id]
        return self.drawn.signs == "apart" and node.kind == "op" and bool(node.inputs) and node.op != "scope"

    def end_of(self, id: int) -> str:
        """Return the DOT id that edges into a node lead to."""
        return f"op{id}" if self.has_sign(id) else f"n{id}"

    def label(self, card: Card) -> str:
        """Return the lines of a card as a DOT label."""
        if self.drawn.one_line:
            return escape.for_dot(compact_line(card)) or " "
        lines = [header(card, with_sign=self.drawn.signs == "card"), *(row.plain for row in card.rows)]
        lines += self.extra_lines.get(card.id, [])
        if self.marks_saved and saves_result(self.frame.graph.nodes[card.id]):
            lines.append("kept for backward")
        shown = [line for line in lines if line]
        if len(shown) <= 1:
            alone = card.rows[0].text if card.rows and not card.title and not card.note else "".join(shown)
            return escape.for_dot(alone) or " "
        return "".join(escape.for_dot(line) + r"\l" for line in shown)

    def look(self, card: Card) -> dict[str, str]:
        """Return the attributes that set a card apart."""
        found = {
            "class": " ".join(classes(card)),
            "color": self.theme.role_line(card.role),
            "fillcolor": self.theme.role_fill(card.role),
            "tooltip": escape.for_dot(card.tooltip),
        }
        if card.role == "output":
            found["penwidth"] = "1.8"
        if card.bad:
            found |= {"color": self.theme.alarm, "fillcolor": self.theme.alarm_fill, "penwidth": "2.2"}
        if card.pending:
            found |= {"color": self.theme.faint, "fontcolor": self.theme.faint, "style": "rounded,filled,dashed"}
            found["fillcolor"] = self.theme.paper
        if card.highlighted:
            found |= {"color": self.theme.highlight, "penwidth": "3.2"}
        return found | {"width": f"{self.width(card) / 72:.2f}"}

    def width(self, card: Card) -> float:
        """Return how wide the node of a card is, in points."""
        return self.widths[card.id] if self.widths else card_width(card, self.options.style)

    def sign(self, card: Card) -> dict[str, str]:
        """Return the look of the round node with the sign of an op."""
        pale = card.pending
        found = {
            "class": "gv-op gv-pending" if pale else "gv-op",
            "color": self.theme.faint if pale else self.theme.line,
            "fillcolor": self.theme.paper if pale else self.theme.card,
            "fontcolor": self.theme.faint if pale else self.theme.ink,
            "fontsize": "13",
            "margin": "0.09,0.02",
            "tooltip": escape.for_dot(card.symbol),
        }
        if len(card.symbol) <= 2:
            found |= {"fixedsize": "true", "height": "0.31", "shape": "circle", "width": "0.31"}
        else:
            found |= {"fontsize": "11", "height": "0.28", "width": "0.3"}
        return found

    def sign_edge(self, card: Card) -> dict[str, str]:
        """Return the look of the edge from the sign of an op to its result."""
        return self.stroke(card.level, card.pending) | {"weight": "4"}

    # -- edges

    def write_edge(self, dot: graphviz.Digraph, src: int, dst: int, arg: int) -> None:
        """Write one edge."""
        dot.body.append(edge_line(f"n{src}", self.end_of(dst), self.edge(src, dst, arg)))

    def edge(self, src: int, dst: int, arg: int) -> dict[str, str]:
        """Return the look of one edge: colour and width by its gradient, the derivative beside it."""
        pending = self.cards[src].pending or self.cards[dst].pending
        grad = self.edge_gradient(src, dst, arg)
        found = self.stroke(wording.level(wording.signed_size(grad), self.largest), pending)
        if wording.has_bad(grad):
            found |= {"color": self.theme.alarm, "penwidth": "3"}
        lines = list(self.edge_lines(src, dst, arg, grad))
        if lines:
            found["label"] = r"\n".join(f"  {escape.for_dot(line)}  " for line in lines)
        if self.marks_saved and arg in saved_inputs(self.frame.graph.nodes[dst]):
            found |= {"arrowtail": "dot", "dir": "both"}
        return found

    def edge_gradient(self, src: int, dst: int, arg: int) -> Number | None:
        """Return what an edge contributed; where one edge is the only use, that is the gradient itself."""
        if self.frame.graph.nodes[src].kind == "const":
            return None
        found = self.frame.edge_grad(src, dst, arg)
        return self.frame.grads[src] if found is None and self.uses[src] == 1 else found

    def edge_lines(self, src: int, dst: int, arg: int, grad: Number | None) -> Iterator[str]:
        """Yield the local derivative and, where several edges add up, the part of this one."""
        constant = self.frame.graph.nodes[src].kind == "const"
        if "local" not in self.options.show or self.cards[dst].pending or constant:
            return
        derivative = wording.derivative(self.frame, src, dst, arg, self.options.precision)
        if derivative:
            yield derivative
        if self.uses[src] > 1 and isinstance(grad, float) and "grad" in self.options.show:
            yield f"grad += {wording.format_number(grad, self.options.precision)}"

    def stroke(self, level: int, pending: bool) -> dict[str, str]:
        """Return colour and width of an edge for a gradient level."""
        if pending:
            return {"color": self.theme.faint, "style": "dashed"}
        found = {"color": self.theme.stroke(level), "penwidth": f"{1 + 0.4 * abs(level):.1f}"}
        if level < 0 and self.theme.dashed_negative:
            found["style"] = "dashed"
        return found if level else {}

    def write_carried(self, dot: graphviz.Digraph, card: Card) -> None:
        """Draw what a folded node takes over from the round before."""
        carried = self.frame.graph.nodes[card.id].attrs.get("carried", ())
        for src in carried:
            word = wording.handed_on(self.frame.graph, src, card.id)
            look = {"color": self.theme.muted, "constraint": "false", "label": word, "style": "dashed"}
            dot.body.append(edge_line(f"n{src}", self.end_of(card.id), look))


class Clusters:
    """Opens and closes the boxes of scopes while nodes are written in order."""

    def __init__(self, dot: graphviz.Digraph, writer: Writer) -> None:
        self.root = dot
        self.writer = writer
        self.boxes: dict[tuple[str, ...], graphviz.Digraph] = {(): dot}
        self.counts: dict[tuple[str, ...], int] = {}

    def at(self, scope: tuple[str, ...]) -> graphviz.Digraph:
        """Return the box of a scope, made with those around it when it is met first."""
        for depth in range(1, len(scope) + 1):
            if scope[:depth] not in self.boxes:
                self.boxes[scope[:depth]] = self.new_box(scope[:depth])
        return self.boxes[scope]

    def of(self, node: Node) -> graphviz.Digraph:
        """Return the box of a node; those that are folds say how many rounds they stand for."""
        for length, count in node.attrs.get("rounds", ()):
            self.counts.setdefault(node.scope[:length], count)
        return self.at(node.scope)

    def new_box(self, scope: tuple[str, ...]) -> graphviz.Digraph:
        """Return an empty cluster."""
        import graphviz

        count = self.counts.get(scope)
        label = scope[-1] if count is None else f"\u2002×{count:,}  {escape.clean(scope[-1], 60)}"
        attributes = self.writer.scope_attributes() | {"label": escape.for_dot(label, 80 if count else 60)}
        if count is not None:
            attributes["class"] = "gv-scope gv-fold"
        return graphviz.Digraph(f"cluster{len(self.boxes) - 1}", graph_attr=attributes)

    def close(self) -> None:
        """Put every box into the one around it, the innermost first."""
        for scope in sorted(self.boxes, key=len, reverse=True):
            if scope:
                self.boxes[scope[:-1]].subgraph(self.boxes[scope])


def header(card: Card, *, with_sign: bool) -> str:
    """Return the first line of a card as text."""
    sign = card.symbol if with_sign else ""
    return " ".join(filter(None, (card.title, sign, card.note)))


def compact_line(card: Card) -> str:
    """Return the one line of a card in the compact style."""
    value = next((row.text for row in card.rows if row.key == "value"), "")
    return " ".join(filter(None, (card.title, card.symbol, value, card.also, card.count)))


def classes(card: Card) -> Iterator[str]:
    """Yield the CSS classes of a card."""
    yield f"gv-{card.role}"
    for name in ("pending", "highlighted", "bad"):
        if getattr(card, name):
            yield f"gv-{name}"
