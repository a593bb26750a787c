"""One call of PyTorch opened: the aten operations inside it, each with its value and its gradient.

The call is made again with the values of the frame while a dispatch mode writes down what runs below autograd, and
autograd runs above it. One backward from the recorded gradient of the call then gives that of everything inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from gradviz.errors import GraphError
from gradviz.graphs import Frame, Graph, Node, Ref
from gradviz.sources.torch.calls import SLOT, Call
from gradviz.sources.torch.dispatching import Inside
from gradviz.sources.torch.edges import CallNumbers
from gradviz.sources.torch.framing import needed
from gradviz.sources.torch.looks import attributes, look_at
from gradviz.sources.torch.numbers import number

__all__ = ["expanded", "inside"]

CLOSE = {8: 1e-9, 4: 1e-3}  # by bytes of a real element: how near a value has to be to the one recorded, elsewhere 5 %


@dataclass(frozen=True, slots=True)
class _Opened:
    """What was found inside a call: calls, the first of them its operands; which is each result; what operands got."""

    calls: list[Call]
    results: list[int]
    sent: list[Any]


def expanded(frame: Frame, ref: Ref | None = None) -> Frame:
    """Return a frame of PyTorch calls in which a node is replaced by the aten operations inside it; None: every node.

    Its result keeps name, value and gradient. What else is inside is called ``linear_1.t`` and so on, in a scope named
    after the node. A node with one operation inside stays where it is. So does one that cannot be called again, unless
    it was asked for: then, and where the frame is not of PyTorch, this raises GraphError.

    >>> linear = torch.nn.functional.linear
    >>> x, w = (Call(n, "param", value=torch.ones(2, 2), shape=(2, 2), name=n) for n in "xw")
    >>> y = Call("linear", inputs=(0, 1), func=linear, args=(SLOT, SLOT), value=2 * x.value, shape=(2, 2), name="y")
    >>> from gradviz.sources.torch.framing import frame_of, structure_of
    >>> frame = expanded(frame_of([x, w, y], structure_of([x, w, y], [2])))
    >>> [(node.name, node.op, node.scope) for node in frame.graph][2:]
    [('y.t', 't', ('y',)), ('y', 'mm', ('y',))]
    """
    numbers = _numbers_of(frame)
    asked = None if ref is None else _owner(frame.graph, numbers, ref)
    rebuilt = _Rebuilt(frame, numbers)
    for node in frame.graph:
        if node.id in rebuilt.where:
            continue
        opened = None
        if asked == node.id or (asked is None and _can_open(node, numbers)):
            opened = _opened(frame, numbers, node.id, rebuilt.results[node.id], is_asked=ref is not None)
        if opened is None or not rebuilt.open(node, opened):
            rebuilt.keep(node)
    outputs = [rebuilt.where[output] for output in frame.graph.outputs]
    return rebuilt.frame(outputs, "all" if asked is None else frame.graph.nodes[asked].name)


def inside(frame: Frame, ref: Ref) -> Frame:
    """Return the frame of what is inside one node of PyTorch calls: its operands are leaves, its results the end.

    The gradient of an operand is what this node sends to it. Raises GraphError as `expanded` does.

    >>> x = Call("x", "param", value=torch.zeros(2), shape=(2,), name="x")
    >>> y = Call("softplus", inputs=(0,), func=torch.nn.functional.softsign, args=(SLOT,), value=x.value, name="y")
    >>> from gradviz.sources.torch.framing import frame_of, structure_of
    >>> [node.op for node in inside(frame_of([x, y], structure_of([x, y], [1])), "y").graph]
    ['param', 'abs', 'add', 'div']
    """
    numbers = _numbers_of(frame)
    node = frame.graph.nodes[_owner(frame.graph, numbers, ref)]
    rebuilt = _Rebuilt(frame, numbers)
    opened = _called_again(frame, numbers, node.id, rebuilt.results[node.id])
    for src in dict.fromkeys(node.inputs):
        sent = [g for g, other in zip(opened.sent, node.inputs, strict=True) if other == src and g is not None]
        rebuilt.leaf(frame.graph.nodes[src], number(sum(sent[1:], sent[0])) if sent else None)
    operands = len(rebuilt.nodes)
    if not rebuilt.open(node, opened):
        raise GraphError(f"nothing happens inside {node.name!r}: its result is its operand")
    results = [i for old, i in rebuilt.where.items() if i >= operands and old in {node.id, *rebuilt.results[node.id]}]
    return rebuilt.frame(results, node.name)


def _numbers_of(frame: Frame) -> CallNumbers:
    if isinstance(frame.edges, CallNumbers):
        return frame.edges
    raise GraphError(
        "only a frame that was read from PyTorch can be expanded", hint="expand it before it is folded or focused"
    )


def _owner(graph: Graph, numbers: CallNumbers, ref: Ref) -> int:
    """Return the node that was called: for one of several results, the call that gave them."""
    id = graph.index(ref)
    if graph.nodes[id].kind != "op":
        raise GraphError(f"{graph.nodes[id].name!r} is a leaf: there is nothing inside")
    return id if numbers.calls[id].index is None else graph.nodes[id].inputs[0]


def _can_open(node: Node, numbers: CallNumbers) -> bool:
    call = numbers.calls[node.id]
    return node.kind == "op" and call.func is not None and call.index is None


# -- calling it again --------------------------------------------------------------------------


def _opened(frame: Frame, numbers: CallNumbers, id: int, ends: Mapping[int, int], *, is_asked: bool) -> _Opened | None:
    """Return what is inside a node; None (or GraphError, if it was asked for) if it cannot be called again."""
    try:
        return _called_again(frame, numbers, id, ends)
    except GraphError:
        if is_asked:
            raise
        return None


def _called_again(frame: Frame, numbers: CallNumbers, id: int, ends: Mapping[int, int]) -> _Opened:
    """Call a node again; ``ends`` are the nodes that are its results, and which of them each is."""
    grads = [frame.grads[end] for end in ends]
    has_grad = any(g is not None for g in grads)
    wanted = [arg for arg, src in enumerate(frame.graph.nodes[id].inputs) if has_grad and frame.grads[src] is not None]
    operands = numbers.operands(id, wanted)
    look = Inside(operands)
    with torch.enable_grad(), look:
        results = numbers.called(id, operands)
    places = [look.place(t) for t in results]
    if any(index >= len(results) or not _agrees(frame.values[end], results[index]) for end, index in ends.items()):
        raise GraphError(f"{frame.graph.nodes[id].name!r} gives another value when it is called again")
    pairs = [(results[index], g) for index, g in zip(ends.values(), grads, strict=True) if g is not None]
    sent = _gradients(look, [(y, _like(g, y)) for y, g in pairs if y.requires_grad], operands)
    return _Opened(look.calls, places, sent)


def _gradients(look: Inside, pairs: Sequence[tuple[Any, Any]], operands: Sequence[Any]) -> list[Any]:
    """Give every call inside its gradient; return that of the operands."""
    leaves = [t for t in operands if t.requires_grad]
    if not pairs or not leaves:
        return [None] * len(operands)
    ys, gs = zip(*pairs, strict=True)
    writes = {write.place: node for write, node in _view_writes(look, ys)}
    edges = {**look.edges, **{place: torch.autograd.graph.GradientEdge(node, 0) for place, node in writes.items()}}
    try:
        found = torch.autograd.grad(ys, [*edges.values(), *leaves], gs, allow_unused=True)
    except RuntimeError as error:
        raise GraphError(f"the gradients inside cannot be had: {str(error).splitlines()[0]}") from error
    for place, g in zip(edges, found, strict=False):
        look.calls[place].grad = g
    for write in look.view_writes:
        if write.place in writes and look.calls[write.place].grad is not None:
            look.calls[write.place].grad = write.of(look.calls[write.place].grad)
    rest = iter(found[len(edges) :])
    return [next(rest) if t.requires_grad else None for t in operands]


def _view_writes(look: Inside, ys: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Return what wrote through a view, with the autograd node that put the part into the whole."""
    if not look.view_writes:
        return []
    nodes: dict[int, Any] = {}
    waiting = [y.grad_fn for y in ys if y.grad_fn is not None]
    while waiting:
        node = waiting.pop()
        if node not in nodes.values() and node is not None:
            nodes[node._sequence_nr()] = node
            waiting += [before for before, _ in node.next_functions]
    return [(write, nodes[write.sequence]) for write in look.view_writes if write.sequence in nodes]


def _like(g: Any, y: Any) -> Any:
    return torch.as_tensor(np.array(g)).to(dtype=y.dtype, device=y.device).expand(y.shape)


def _agrees(recorded: Any, again: Any) -> bool:
    """Tell whether a value came out as it was recorded, but for the last bits that another device may give."""
    if recorded is None:
        return True
    value = np.asarray(number(again))
    near = CLOSE.get(again.element_size() // (1 + again.is_complex()), 0.05)
    if value.shape != np.shape(recorded):
        return False
    scale = np.max(np.abs(value), initial=0.0, where=np.isfinite(value))
    return bool(np.allclose(value, recorded, rtol=near, atol=near * scale, equal_nan=True))


# -- the graph with it opened ------------------------------------------------------------------


class _Rebuilt:
    """A frame in the making, from nodes of an old one and from what is inside some of them."""

    def __init__(self, frame: Frame, numbers: CallNumbers) -> None:
        self.old = frame
        self.numbers = numbers
        self.nodes: list[Node] = []
        self.calls: list[Call] = []
        self.values: list[Any] = []
        self.grads: list[Any] = []
        self.where: dict[int, int] = {}  # old node -> new node
        self.taken = {node.name for node in frame.graph}
        self.results: dict[int, dict[int, int]] = {}  # old node -> the nodes that are results of it, and which
        for node, call in zip(frame.graph, numbers.calls, strict=True):
            if call.index is not None:
                self.results.setdefault(node.inputs[0], {})[node.id] = call.index
        for node in frame.graph:
            self.results.setdefault(node.id, {node.id: 0})

    def keep(self, node: Node) -> None:
        """Add an old node as it is."""
        self.where[node.id] = len(self.nodes)
        new = replace(node, id=len(self.nodes), inputs=tuple([self.where[src] for src in node.inputs]))
        self._add(new, self.numbers.calls[node.id], self.old.values[node.id], self.old.grads[node.id])

    def leaf(self, node: Node, grad: Any) -> None:
        """Add an old node as something that is given."""
        kind = "input" if node.kind == "op" else node.kind
        self.where[node.id] = len(self.nodes)
        leaf = Node(len(self.nodes), node.name, kind, kind, (), node.shape, node.dtype, source=node.source)
        self._add(leaf, Call(kind, kind), self.old.values[node.id], grad)

    def open(self, node: Node, opened: _Opened) -> bool:
        """Add what is inside an old node; return False, and add nothing, if nothing is."""
        ends = self.results[node.id]
        kept = needed(opened.calls, [opened.results[index] for index in ends.values()])
        steps = [place for place in kept if opened.calls[place].kind == "op" and opened.calls[place].index is None]
        if not steps or (len(ends) == 1 and opened.calls[opened.results[next(iter(ends.values()))]].kind != "op"):
            return False
        is_alone = len(steps) == 1 and (node.id not in ends or opened.results[0] == steps[0])
        scope = node.scope if is_alone or _names_scope(node) else (*node.scope, node.name)
        places: dict[int, int] = {place: self.where[src] for place, src in enumerate(node.inputs)}
        names = {opened.results[index]: old for old, index in reversed(ends.items())}
        names = {place: old for place, old in names.items() if opened.calls[place].kind == "op"}
        for place in kept:
            if place not in places:
                call, old = opened.calls[place], names.get(place)
                if old is None:
                    name = self._name(node, call, places, is_alone=is_alone)
                else:
                    name = self.old.graph.nodes[old].name
                places[place] = self._inner(name, call, [places[src] for src in call.inputs], node, scope)
                if old is not None:
                    self._as_recorded(old)
        for old, index in ends.items():
            if old not in self.where:
                self._alias(old, places[opened.results[index]])
        if is_alone:
            self.where.setdefault(node.id, places[steps[0]])
        return True

    def _name(self, node: Node, call: Call, places: Mapping[int, int], *, is_alone: bool) -> str:
        """Return a new name for something inside a node."""
        if is_alone and call.index is None and call.kind == "op":
            return node.name
        base = f"{node.name}.{call.op}"
        if call.index is not None:
            base = f"{self.nodes[places[call.inputs[0]]].name}[{call.index}]"
        name, count = base, 1
        while name in self.taken:
            count += 1
            name = f"{base}_{count}"
        self.taken.add(name)
        return name

    def _inner(self, name: str, call: Call, inputs: Sequence[int], node: Node, scope: tuple[str, ...]) -> int:
        symbol, formulas = look_at(call) if call.kind == "op" else ("", ())
        attrs = attributes(call) if call.kind == "op" else {}
        overload = getattr(call.func, "_overloadname", "default")
        if overload != "default":
            attrs = {**attrs, "overload": overload}
        made = Node(
            id=len(self.nodes),
            name=name,
            op=call.op,
            kind=call.kind,
            inputs=tuple(inputs),
            shape=call.shape,
            dtype=call.dtype,
            attrs=attrs,
            scope=scope,
            source=node.source,
            symbol=symbol,
            formulas=formulas[: len(inputs)],
        )
        return self._add(made, call, number(call.value), number(call.grad))

    def _as_recorded(self, old: int) -> None:
        """Give the node that was added last the numbers of an old node, which it is."""
        self.where[old] = len(self.nodes) - 1
        self.values[-1], self.grads[-1] = self.old.values[old], self.old.grads[old]

    def _alias(self, old: int, place: int) -> None:
        """Add a result that is the same tensor as another, or an operand."""
        node = self.old.graph.nodes[old]
        self.where[old] = len(self.nodes)
        same = replace(node, id=len(self.nodes), op="alias", symbol="alias", inputs=(place,), attrs={}, formulas=("1",))
        call = Call("alias", func=torch.ops.aten.alias.default, args=(SLOT,))
        self._add(same, call, self.old.values[old], self.old.grads[old])

    def _add(self, node: Node, call: Call, value: Any, grad: Any) -> int:
        self.nodes.append(node)
        self.calls.append(call)
        self.values.append(value)
        self.grads.append(grad)
        return node.id

    def frame(self, outputs: Sequence[int], opened: str) -> Frame:
        """Return the frame."""
        graph = Graph(tuple(self.nodes), tuple(dict.fromkeys(outputs)))
        edges = CallNumbers(graph, self.calls, self.values, self.grads)
        meta = {**self.old.meta, "expanded": opened}
        return Frame(graph, self.values, self.grads, edges, self.old.step, meta)


def _names_scope(node: Node) -> bool:
    """Tell whether a node is called as the scope it is in, as the only op of a module is."""
    return bool(node.scope) and node.name in {node.scope[-1], ".".join(node.scope)}
