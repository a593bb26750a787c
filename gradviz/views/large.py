"""Pictures of graphs with more nodes than anybody reads at once: small boxes by scope, for looking around in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gradviz import escape
from gradviz.graphs import Frame, Node
from gradviz.style import FONTS, THEMES, Options, Theme, wording
from gradviz.views.cards import largest_gradient
from gradviz.views.layout import Placement, placed
from gradviz.views.painting import short, text_width

if TYPE_CHECKING:
    from gradviz.views.drawing import Drawing

__all__ = ["large_svg"]

HEIGHT, SIZE = 14.0, 8.0  # of a box, and of the letters in it, in points
SCOPE_SIZE = 9.0
STEP = 24.0  # boxes are this wide, or a multiple: so that more scopes are alike
LONGEST = 24  # letters
LETTERS = {"input": "i", "param": "p", "const": "c"}
LEVELS = range(-4, 5)
NOTE = "laid out by scope, for there are too many nodes for Graphviz"


def large_svg(drawing: Drawing) -> str:
    """Return the picture of a graph of any size as SVG: each node a small box with its name, in the box of its scope.

    Boxes of parameters, inputs and constants have their colours, those of ops that of the gradient. Light and dark as
    other pictures; numbers are left out, and the description says so.

    >>> from gradviz.graphs import Graph, Node
    >>> from gradviz.views.drawing import draw
    >>> large_svg(draw(Graph((Node(0, "x", "input", "input"),)))).count("<rect")
    1
    """
    return "\n".join(Sheet(drawing.frame, drawing.options).lines()) + "\n"


class Sheet:
    """Writes one large picture."""

    def __init__(self, frame: Frame, options: Options) -> None:
        self.frame = frame
        self.options = options
        self.names = [escape.clean(wording.display_name(node) or node.op, LONGEST) for node in frame.graph.nodes]
        self.widths = [STEP * (1 + (text_width(name, SIZE) + 6) // STEP) for name in self.names]
        self.placement: Placement = placed(frame.graph, [(width, HEIGHT) for width in self.widths])
        self.largest = largest_gradient(frame)

    def lines(self) -> Iterator[str]:
        """Yield the whole document."""
        from gradviz.views.svg import SCALE, describe, title_of

        body = [*self.scopes(), *self.edges(), *self.nodes()]
        digest = hashlib.sha256("\n".join([self.options.theme, *body]).encode("utf-8", "surrogatepass"))
        id = f"gv-{digest.hexdigest()[:12]}"
        width, height = self.placement.size
        title = escape.for_html(title_of(self.frame, self.options))
        about = escape.for_html(f"{describe(self.frame, self.options)}; {NOTE}", limit=None)
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" id="{id}" class="gradviz" role="img"'
            f' aria-labelledby="{id}-title {id}-desc" viewBox="0 0 {short(width)} {short(height)}"'
            f' width="{short(width * SCALE)}" height="{short(height * SCALE)}" font-family="{FONTS}">'
        )
        yield f'<title id="{id}-title">{title}</title>'
        yield f'<desc id="{id}-desc">{about}</desc>'
        yield f"<style>{''.join(self.rules(id))}</style>"
        yield from body
        yield "</svg>"

    def rules(self, id: str) -> Iterator[str]:
        """Yield the style sheet: colours by class, the dark ones too if the picture follows its reader's system."""
        yield f"#{id} text{{font-size:{SIZE:g}px}}#{id} .s{{font-size:{SCOPE_SIZE:g}px}}#{id} path{{fill:none}}"
        yield "".join(colours(id, THEMES[self.options.theme]))
        if self.options.theme == "auto":
            yield f"@media (prefers-color-scheme:dark){{{''.join(colours(id, THEMES['dark']))}}}"

    def scopes(self) -> Iterator[str]:
        """Yield the boxes of the scopes, the outer ones first."""
        for scope, (left, top, width, height) in self.placement.scopes.items():
            name = escape.for_html(scope[-1], LONGEST)
            place = f'x="{short(left)}" y="{short(top)}" width="{short(width)}" height="{short(height)}"'
            yield f'<rect class="f" {place} rx="4"/>'
            yield f'<text class="s" x="{short(left + 5)}" y="{short(top + 11)}">{name}</text>'

    def edges(self) -> Iterator[str]:
        """Yield the edges, those into one node as one path."""
        corners = self.placement.nodes
        for node in self.frame.graph.nodes:
            if node.inputs:
                x, y = corners[node.id][0], corners[node.id][1] + HEIGHT / 2
                parts = []
                for src in dict.fromkeys(node.inputs):
                    left, top = corners[src]
                    start, middle = left + self.widths[src], top + HEIGHT / 2
                    bend = max(8.0, abs(x - start) / 2)
                    curve = f"{start + bend:.0f},{middle:.0f} {x - bend:.0f},{y:.0f} {x:.0f},{y:.0f}"
                    parts.append(f"M{start:.0f},{middle:.0f}C{curve}")
                yield f'<path d="{"".join(parts)}"/>'

    def nodes(self) -> Iterator[str]:
        """Yield the boxes of the nodes with their names."""
        outputs = set(self.frame.graph.outputs)
        for node, (left, top), width, name in zip(
            self.frame.graph.nodes, self.placement.nodes, self.widths, self.names, strict=True
        ):
            kind = "o" if node.id in outputs else LETTERS.get(node.kind) or self.tone(node)
            yield f'<rect class="{kind}" x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{HEIGHT:.0f}"/>'
            yield f'<text x="{left + 3:.0f}" y="{top + 10:.0f}">{escape.for_html(name)}</text>'

    def tone(self, node: Node) -> str:
        """Return the class of an op's box: its gradient, or that something in it is not finite."""
        value, grad = self.frame.values[node.id], self.frame.grads[node.id]
        if wording.has_bad(value) or wording.has_bad(grad):
            return "x"
        return f"g{wording.level(wording.signed_size(grad), self.largest) + 4}"


def colours(id: str, theme: Theme) -> Iterator[str]:
    """Yield the colours of everything."""
    yield f"#{id} text{{fill:{theme.ink}}}#{id} .s{{fill:{theme.note}}}"
    yield f"#{id} path{{stroke:{theme.line};stroke-width:.6px;stroke-opacity:.6}}"
    yield f"#{id} rect{{stroke:{theme.line};stroke-width:.6px}}"
    yield f"#{id} .f{{fill:{theme.scope};stroke:{theme.scope_line}}}"
    for role, letter in LETTERS.items():
        yield f"#{id} .{letter}{{fill:{theme.role_fill(role)};stroke:{theme.role_line(role)}}}"
    yield f"#{id} .o{{fill:{theme.card};stroke:{theme.role_line('output')};stroke-width:1.6px}}"
    yield f"#{id} .x{{fill:{theme.alarm_fill};stroke:{theme.alarm};stroke-width:1.6px}}"
    for level in LEVELS:
        yield f"#{id} .g{level + 4}{{fill:{theme.fill(level)}}}"
