"""What is written beside a wire: the value above, the gradient below, derivative and share on a branch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from gradviz import escape
from gradviz.graphs import Frame, Node, Number
from gradviz.style import Options, wording
from gradviz.views.cards import Card, Row, brief
from gradviz.views.wires.plans import Label, Line, Plan, sign_of

__all__ = ["Labels"]

MINUS = re.compile(r"(?<![\w.])-(?=[\d.]|inf)")
NAME_LIMIT = 28
DERIVATIVE_LIMIT = 44
FEW = 3  # elements are written out on a wire
ROWS = 7  # of a matrix, at most


class Labels:
    """Writes the labels of one frame."""

    def __init__(self, frame: Frame, options: Options, plan: Plan) -> None:
        self.frame = frame
        self.options = options
        self.plan = plan
        self.show = frozenset(options.show)
        self.has_grads = any(grad is not None for grad in frame.grads)
        self.reached: list[bool] = []  # by a gradient, which a result that only handed it on may not have kept
        for node, grad in zip(frame.graph.nodes, frame.grads, strict=True):
            self.reached.append(grad is not None or any(self.reached[src] for src in node.inputs))

    def gate(self, card: Card) -> Label:
        """Return what stands in the gate of an op: its sign, or the name of a closed scope; how many it stands for."""
        node = self.frame.graph.nodes[card.id]
        inside = f"{node.attrs['inside']:,} nodes" if "inside" in node.attrs else ""
        inside = "1 node" if inside == "1 nodes" else inside
        sign = escape.clean(card.title, NAME_LIMIT) if node.op == "scope" else sign_of(card.symbol)
        count = card.count if self.plan.has_gates else ""
        return Label(core=tuple(filter(None, (sign or "…", inside, count))))

    def before(self, src: int) -> Label:
        """Return what stands for the result of the round before, where a folded node takes it over."""
        node = self.frame.graph.nodes[src]
        name = escape.clean(wording.display_name(node), NAME_LIMIT) if self.is_named(node) else sign_of(node.symbol)
        text = f"previous {escape.clean(name, NAME_LIMIT)}"
        return Label(head=text) if self.plan.has_gates else Label(core=(text,))

    def label(self, card: Card) -> Label:
        """Return what stands around a node: on its wire, or (in a plan without gates) around its sign."""
        node = self.frame.graph.nodes[card.id]
        above, below = self.numbers(card)
        is_op = node.kind == "op"
        name = escape.clean(card.title, NAME_LIMIT) if not is_op or self.is_named(node) else ""
        is_number = not is_op and not name and len(above) == 1
        if is_number:
            name, above = above[0].text, ()
        own = "" if not is_op or node.op == "scope" else name
        above = (*self.notes(node, card, own if len(above) != 1 else ""), *above)
        if own and above and above[-1].tone in {"value", "bad"} and not any(line.name for line in above):
            above = (*above[:-1], Line(above[-1].text, above[-1].tone, own))
        if self.plan.has_gates:
            return Label(above, below, head="" if is_op else name, is_number=is_number)
        core = self.gate(card).core if is_op else ((name,) if name else ("…",))
        return Label(above, below, core=core, is_number=is_number)

    def is_named(self, node: Node) -> bool:
        """Tell whether a result has a name that says more than its op; formulas need all names."""
        is_made = re.fullmatch(r"\d*", node.name.removeprefix(node.op).removeprefix("_"))
        return not is_made or ("local" in self.show and not node.name.isdecimal())

    def notes(self, node: Node, card: Card, name: str) -> Iterator[Line]:
        """Yield the line of small type: name where it stands alone, shape, how many nodes it stands for."""
        folded = "folded" in node.attrs
        shape = wording.format_shape(node.shape[1:] if folded else node.shape) if "shape" in self.show else ""
        is_told = node.kind == "op" and self.plan.has_gates
        text = " · ".join(filter(None, (shape, "" if is_told else card.count)))
        if name or text:
            yield Line(text and (f" {text}" if name else text), "small", name)

    def numbers(self, card: Card) -> tuple[tuple[Line, ...], tuple[Line, ...]]:
        """Return the lines above and below the wire."""
        start = next((place for place, row in enumerate(card.rows) if row.key == "grad"), None)
        places = [place for place, row in enumerate(card.rows) if row.tone == "source"]
        end = places[0] if places else len(card.rows)
        start = end if start is None else start
        value, grad = self.frame.values[card.id], self.frame.grads[card.id]
        above = tuple(self.lines(card.rows[:start], "value", value))
        is_lost = grad is None and self.reached[card.id]
        below = (
            self.lines(card.rows[start:end], "grad", grad) if self.has_grads and not (card.pending or is_lost) else ()
        )
        source = (Line(row.text, "small") for row in card.rows[end:])
        return above, (*below, *source)

    def lines(self, rows: tuple[Row, ...], tone: str, x: Number | None) -> Iterator[Line]:
        """Yield rows of a card as lines; what is not known yet leaves its place empty, and few digits are enough."""
        has_stats = "stats" in self.show
        is_long = x is not None and not isinstance(x, float) and FEW < x.size <= wording.FEW
        if x is not None and is_long and rows[:1]:
            text = minus(brief(x, self.options.precision))
            first, rest = rows[0], [row for row in rows[1:] if row.key]
            rows = (replace(first, text=f"! {text}" if first.tone == "bad" else text), *rest)
        for row in rows[:ROWS]:
            if row.strip or (row.key == "mean" and not has_stats) or (row.tone == "none" and tone == "value"):
                continue
            if row.tone == "none":
                yield Line("no grad", "none")
            elif row.key not in {"value", "grad", ""}:
                yield Line(f"{row.key} {minus(row.text)}", "small")
            else:
                mark = self.plan.mark if tone == "grad" and row.key == "grad" else ""
                yield Line(mark + minus(row.text), "bad" if row.tone == "bad" else tone)

    def halves(self, text: str) -> list[str]:
        """Return a derivative on one line, or on two where wires go down and room beside them is scarce."""
        name, equals, rest = text.partition(" = ")
        return [text] if self.options.direction == "LR" or not equals else [name, f"= {rest}"]

    def joint(self, src: int, dst: int, arg: int, share: Number | None, *, pending: bool) -> Label:
        """Return what stands on one branch: the local derivative above, what came back through it below."""
        above, below = [], []
        if "local" in self.show and self.frame.graph.nodes[src].kind != "const" and not pending:
            text = wording.derivative(self.frame, src, dst, arg, self.options.precision)
            if text:
                above += [Line(escape.clean(minus(part), DERIVATIVE_LIMIT), "small") for part in self.halves(text)]
        if share is not None and "grad" in self.show:
            bad = wording.has_bad(share)
            text = ("! " if bad else self.plan.mark) + minus(brief(share, self.options.precision))
            below.append(Line(text, "bad" if bad else "grad"))
        return Label(tuple(above), tuple(below))


def minus(text: str) -> str:
    """Return numbers with the sign that is as wide as a plus.

    >>> minus("-1 … 2e-9")
    '−1 … 2e-9'
    """
    return MINUS.sub("−", text)
