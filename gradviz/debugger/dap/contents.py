"""What there is to unfold where the debugger stands: the event, its node, parameters, all nodes, the iteration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from gradviz.debugger.dap.variables import Child, Elements, Listed, element_text, typed
from gradviz.debugger.debugger import Debugger
from gradviz.debugger.events import Contribution
from gradviz.debugger.expressions import Expression
from gradviz.debugger.positions import BACKWARD, FORWARD, UPDATE
from gradviz.debugger.telling import shown
from gradviz.errors import GradvizError
from gradviz.escape import clean
from gradviz.graphs import Node, Number
from gradviz.graphs.listing import expression_text, number_text, type_text

__all__ = ["NodeList", "event_children", "iteration_children", "node_child", "node_children", "number_child", "result"]


class NodeList:
    """Some nodes of the graph, each with its numbers of this moment."""

    is_indexed = True
    is_counted = True

    def __init__(self, d: Debugger, ids: Sequence[int]) -> None:
        self._debugger = d
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    def children(self, start: int, stop: int) -> list[Child]:
        """Return some of them."""
        nodes = self._debugger.graph.nodes
        return [node_child(self._debugger, nodes[i]) for i in self._ids[start:stop]]


def result(d: Debugger, text: str, *, with_gradient: bool = False) -> Child:
    """Return what an expression comes to; a node by its name can be unfolded."""
    text = text.strip()
    if text in d.graph:
        node = node_child(d, d.graph[text])
        return node if with_gradient else replace(node, text=number_child(text, d[text].value).text)
    found = d.evaluate(text)
    if isinstance(found, np.ndarray | np.generic | float | int | complex):
        return number_child(text, found, text)
    return Child(text, shown(found), type(found).__name__)


def number_child(name: str, x: Any, expression: str = "") -> Child:
    """Return a number under a name; an array can be unfolded."""
    if x is None:
        return Child(name, "none", "", None, expression)
    if np.ndim(x):
        array = np.asarray(x)
        return Child(name, number_text(array), typed(array), Elements(array, expression), expression)
    return Child(name, element_text(x), typed(x), None, expression)


def node_child(d: Debugger, node: Node) -> Child:
    """Return a node with its value, and its gradient where there is one."""
    view = d[node.name]
    gradient = "" if view.grad is None else f", gradient {number_text(view.grad)}"
    inside = Listed(partial(node_children, d, node))
    return Child(node.name, f"{number_text(view.value)}{gradient}", type_text(node), inside, expression_of(node))


def expression_of(node: Node) -> str:
    """Return the expression that means a node; empty where its name cannot be written in one.

    >>> expression_of(Node(0, "enc.W", "param", "param")), expression_of(Node(0, "two words", "param", "param"))
    ('enc.W', '`two words`')
    """
    name = node.name
    if all(part.isidentifier() and part.isascii() for part in name.split(".")):
        return name
    return next((text for text in (name, f"`{name}`") if _means(text, name)), "")


def _means(text: str, name: str) -> bool:
    """Tell whether an expression is nothing but the name of a node."""
    try:
        references = Expression(text).names
    except GradvizError:
        return False
    return [".".join(reference) for reference in references] == [name] and clean(text, None) == text


def node_children(d: Debugger, node: Node) -> list[Child]:
    """Return everything about a node."""
    view, name = d[node.name], expression_of(node)
    about = [number_child("value", view.value, name), number_child("gradient", view.grad, name and f"{name}.grad")]
    if view.grad is not None:
        about.append(Child("shares of the gradient", "", "", Listed(partial(_arrived, d, node)), kind="virtual"))
    about.append(Child("kind", node.kind, kind="property"))
    if node.kind == "op":
        about.append(Child("op", f"{clean(node.op)}: {expression_text(d.graph, node)}", kind="property"))
        about.append(_nodes(d, "inputs", tuple(dict.fromkeys(node.inputs))))
    about.append(_nodes(d, "used by", d.graph.consumers(node.id)))
    about += [Child("attrs", _attributes(node), kind="property")] if node.attrs else []
    about += [Child("scope", clean(".".join(node.scope)), kind="property")] if node.scope else []
    about += [Child("source", _source(node), kind="property")] if node.source else []
    return about


def _nodes(d: Debugger, name: str, ids: Sequence[int]) -> Child:
    names = ", ".join(clean(d.graph.nodes[i].name, 40) for i in ids[:6])
    text = f"{names}{', ...' if len(ids) > 6 else ''}" or "nothing"
    return Child(name, text, "", NodeList(d, ids) if ids else None, kind="virtual")


def _attributes(node: Node) -> str:
    return clean(", ".join(f"{key}={value}" for key, value in node.attrs.items()))


def _source(node: Node) -> str:
    return f"{clean(str(node.source))}  {clean(node.source.code or node.source.text)}" if node.source else ""


def _arrived(d: Debugger, node: Node) -> list[Child]:
    """Return what has been sent to a node by now, the first to arrive first."""
    event, steps = d.event, d.cursor.steps
    senders = (i for i in reversed(d.graph.consumers(node.id)) if event.phase == UPDATE or i >= event.node.id)
    sent = (part for i in senders for part in steps.sent_by(d.graph.nodes[i]) if part.src == node.id)
    return _contributions(d, sent, "from {dst}")


def _contributions(d: Debugger, parts: Iterable[Contribution], title: str) -> list[Child]:
    return [_contribution(d, part, title) for part in parts]


def _contribution(d: Debugger, part: Contribution, title: str) -> Child:
    """Return one share of a gradient: local derivative, what came in, and what that makes."""
    src, dst = d.graph.nodes[part.src], d.graph.nodes[part.dst]
    repeated = f" (argument {part.arg})" if dst.inputs.count(part.src) > 1 else ""
    name = title.format(src=clean(src.name), dst=clean(dst.name)) + repeated
    product = "" if part.local is None else f"{number_text(part.local)} * {number_text(part.upstream)} = "
    return Child(name, f"{product}{number_text(part.amount)}", "", Listed(partial(_factors, part, src, dst)))


def _factors(part: Contribution, src: Node, dst: Node) -> list[Child]:
    upstream = f"{expression_of(dst)}.grad" if expression_of(dst) else ""
    children = [number_child("local", part.local), number_child("upstream", part.upstream, upstream)]
    children.append(number_child("amount", part.amount))
    formula = f"d({clean(dst.name)})/d({clean(src.name)}) = {clean(part.formula)}"
    return children + ([Child("formula", formula, kind="property")] if part.formula else [])


def event_children(d: Debugger) -> list[Child]:
    """Return what has just happened."""
    told = [("event", clean(str(d.event), 400)), ("position", str(d.where))]
    children = [Child(name, text, kind="property") for name, text in told]
    return [*children, node_child(d, d.event.node), *PARTS[d.event.phase](d)]


def _forward(d: Debugger) -> list[Child]:
    return [number_child("value", d.event.value, expression_of(d.event.node))]


def _backward(d: Debugger) -> list[Child]:
    event, name = d.event, expression_of(d.event.node)
    children = [number_child("gradient", event.grad, name and f"{name}.grad")]
    sent = Listed(lambda: _contributions(d, event.contributions, "to {src}"))
    return children + ([Child("contributions", "", "", sent, kind="virtual")] if event.node.inputs else [])


def _updated(d: Debugger) -> list[Child]:
    old: Number | None = d.full.values[d.event.node.id]
    new = number_child("new value", d.event.value, expression_of(d.event.node))
    return [number_child("old value", old), new, number_child("update", _word(d, "update"))]


def _word(d: Debugger, word: str) -> Any:
    try:
        return d.evaluate(word)
    except GradvizError:  # a node of that name has another meaning
        return None


PARTS = {FORWARD: _forward, BACKWARD: _backward, UPDATE: _updated}


def iteration_children(d: Debugger) -> list[Child]:
    """Return where in the history the debugger stands."""
    known, where = d.timeline.iterations, d.where
    order = d.cursor.steps.fold.order(where.phase)
    children = [
        Child("iteration", str(where.iteration), "int", None, "iteration"),
        Child("iterations", f"{len(known)}, from {known[0]} to {known[-1]}", kind="property"),
        Child("phase", where.phase, "str"),
        Child("event", f"{where.op} of {len(order)}", kind="property"),
        number_child("loss", float(d.losses([where.iteration])[0])),
        Child("nodes", str(len(d.graph)), kind="property"),
    ]
    why = d.full.meta.get("replay")
    return children + ([Child("replay", clean(str(why), 400), kind="property")] if why else [])
