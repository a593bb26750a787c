"""A drawing as a Mermaid flowchart, for READMEs and issues: values, gradients and scopes, in text."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gradviz import escape
from gradviz.errors import GradvizValueError
from gradviz.graphs import Node
from gradviz.style import THEMES, wording
from gradviz.views.cards import Card
from gradviz.views.dot import Writer
from gradviz.views.looks import look_of
from gradviz.views.painting import PRINTED

if TYPE_CHECKING:
    from gradviz.views.drawing import Drawing

__all__ = ["MOST_CHARACTERS", "MOST_EDGES", "to_mermaid"]

MOST_CHARACTERS, MOST_EDGES = 50_000, 500  # beyond these Mermaid itself refuses (maxTextSize, maxEdges)
SMALLER = "draw less of it: collapse=1 (by scope), fold=True or focus=name with hops=2; .svg has room for more"
SHAPES = {"input": ("([", "])"), "param": ("[", "]"), "const": ("(", ")"), "result": ("[", "]"), "output": ("[", "]")}
NO_TAGS = str.maketrans("<>", "‹›")  # a title knows no codes for them
LIST_MARK = re.compile(r"^(\d*)([.)+-])(?=\s)")  # Mermaid takes such a line for a Markdown list


def to_mermaid(drawing: Drawing) -> str:
    """Return a drawing as Mermaid text: one node a value, with its op, value and gradient.

    Edges are coloured as in the picture and, with local, carry the derivatives. Raises
    `GradvizValueError` for more than 500 edges or 50,000 characters, Mermaid's own limits.

    >>> from gradviz.graphs import Frame, Graph, Node
    >>> from gradviz.views.drawing import draw
    >>> x, y = Node(0, "x", "input", "input"), Node(1, "y", "sin", "op", (0,), symbol="sin")
    >>> print(to_mermaid(draw(Frame(Graph((x, y), (1,)), [0.0, 0.0], [1.0, 1.0]))))
    ---
    title: "Computation graph of y"
    ---
    flowchart LR
    ...
        n0(["<b>x</b> input<br/>value 0<br/>grad 1"]):::input
        n1["<b>y</b> sin output<br/>value 0<br/>grad 1"]:::output
        n0 --> n1
    ...
    """
    edges = len(drawing.frame.graph.edges)
    if edges > MOST_EDGES:
        raise GradvizValueError(f"{edges:,} edges are too many for Mermaid (at most {MOST_EDGES})", hint=SMALLER)
    text = "\n".join(Chart(drawing).lines()) + "\n"
    if len(text) > MOST_CHARACTERS:
        raise GradvizValueError(
            f"{len(text):,} characters are too many for Mermaid (at most {MOST_CHARACTERS:,})", hint=SMALLER
        )
    return text


class Chart:
    """Writes the flowchart of one drawing."""

    def __init__(self, drawing: Drawing) -> None:
        self.frame = drawing.frame
        self.options = drawing.options
        self.theme = THEMES[drawing.options.theme]
        self.writer = Writer(drawing.frame, drawing.options)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the chart."""
        from gradviz.views.svg import describe, title_of

        yield "---"
        title = title_of(self.frame, self.options).translate(NO_TAGS)
        yield f"title: {json.dumps(title)}"
        yield "---"
        yield f"flowchart {self.options.direction}"
        yield f"    accDescr: {escape.for_mermaid(describe(self.frame, self.options))}"
        yield from self.classes()
        yield from self.nodes()
        yield from self.edges()

    def classes(self) -> Iterator[str]:
        """Yield the look of every kind of card."""
        theme = self.theme
        for role in SHAPES:
            width = 2 if role == "output" else 1
            look = f"fill:{theme.role_fill(role)},stroke:{theme.role_line(role)},stroke-width:{width}px"
            yield f"    classDef {role} {look},color:{theme.ink}"
        yield f"    classDef bad fill:{theme.alarm_fill},stroke:{theme.alarm},stroke-width:2px,color:{theme.ink}"
        yield f"    classDef later fill:{theme.paper},stroke:{theme.faint},stroke-dasharray:3 3,color:{theme.faint}"
        yield f"    classDef scope fill:{theme.scope},stroke:{theme.scope_line},color:{theme.muted}"
        yield f"    classDef picked stroke:{theme.highlight},stroke-width:3px"

    def nodes(self) -> Iterator[str]:
        """Yield every node, inside the boxes of its scopes."""
        members: defaultdict[tuple[str, ...], list[Node]] = defaultdict(list)
        counts: dict[tuple[str, ...], str] = {}
        for node in self.frame.graph.nodes:
            members[node.scope].append(node)
            counts |= {node.scope[:length]: f"×{count:,} " for length, count in node.attrs.get("rounds", ())}
        paths = {scope[:depth] for scope in members for depth in range(len(scope) + 1)} | {()}
        depth = 0
        for number, scope in enumerate(sorted(paths)):
            while depth >= len(scope) > 0:
                yield f"{'    ' * depth}end"
                depth -= 1
            depth = len(scope)
            indent = "    " * depth
            if scope:
                name = scope[-1] if scope[-1].strip() else f'"{scope[-1]}"'
                yield f'{indent}subgraph s{number}["{line(counts.get(scope, "") + name, 60)}"]'
            for node in members[scope]:
                yield f"{indent}    {self.node(self.writer.cards[node.id])}"
        for level in range(depth, 0, -1):
            yield f"{'    ' * level}end"
        if len(paths) > 1:
            yield f"    class {','.join(f's{number}' for number in range(1, len(paths)))} scope"

    def node(self, card: Card) -> str:
        """Return one node: its id, its text in the shape of its kind, its classes."""
        opening, closing = SHAPES[card.role]
        kind = "later" if card.pending else "bad" if card.bad else card.role
        text = "<br/>".join(filter(None, self.texts(card))) or " "
        picked = f"\n    class n{card.id} picked" if card.highlighted else ""
        return f'n{card.id}{opening}"{text}"{closing}:::{kind}{picked}'

    def texts(self, card: Card) -> Iterator[str]:
        """Yield the lines of a card."""
        compact = look_of(self.options.style).one_line
        name = f"<b>{line(card.title)}</b>" if card.title else ""
        sign = line(PRINTED.get(card.symbol, card.symbol))
        yield " ".join(filter(None, (name, sign, "" if compact else line(card.note))))
        for row in card.rows:
            if not compact or row.key == "value":
                yield line(row.text if compact or not (card.title or card.note) else row.plain)

    def edges(self) -> Iterator[str]:
        """Yield every edge, then the look of those that carry a gradient."""
        looks: defaultdict[str, list[str]] = defaultdict(list)
        for number, (src, dst, arg) in enumerate(self.frame.graph.edges):
            found = self.writer.edge(src, dst, arg)
            grad = self.writer.edge_gradient(src, dst, arg)
            label = "<br/>".join(map(line, self.writer.edge_lines(src, dst, arg, grad)))
            arrow = "-.->" if found.get("style") == "dashed" else "-->"
            yield f"    n{src} {arrow}" + (f'|"{label}"|' if label else "") + f" n{dst}"
            if "color" in found:
                width = f",stroke-width:{found['penwidth']}px" if "penwidth" in found else ""
                looks[f"stroke:{found['color']}{width}"].append(str(number))
        for node in self.frame.graph.nodes:  # what a fold hands on to its next round
            for src in node.attrs.get("carried", ()):
                yield f'    n{src} -.->|"{wording.handed_on(self.frame.graph, src, node.id)}"| n{node.id}'
        for look, numbers in sorted(looks.items()):
            yield f"    linkStyle {','.join(numbers)} {look}"


def line(text: str, limit: int = escape.LIMIT) -> str:
    """Return a line of a label that Mermaid takes neither for a list nor, at a backslash and an n, for two lines.

    >>> line("1. first"), line("-0.5")
    ('1#46; first', '-0.5')
    """
    found = LIST_MARK.sub(lambda hit: f"{hit[1]}#{ord(hit[2])};", escape.for_mermaid(text, limit))
    return found.replace("#92;n", "#92;#8203;n")
