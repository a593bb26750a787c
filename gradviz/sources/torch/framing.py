"""From calls to a Frame: which of them the result was made of, what they are called, and their numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradviz.graphs import Frame, Graph, Node
from gradviz.sources import own
from gradviz.sources.naming import unique_names
from gradviz.sources.torch.calls import Call
from gradviz.sources.torch.edges import CallNumbers
from gradviz.sources.torch.looks import attributes, look_at
from gradviz.sources.torch.numbers import numbers

__all__ = ["Structure", "frame_of", "needed", "structure_of"]


@dataclass(frozen=True, slots=True)
class Structure:
    """The graph of some calls, and which of them its nodes are."""

    graph: Graph
    places: tuple[int, ...]


def needed(calls: Sequence[Call], outputs: Iterable[int]) -> list[int]:
    """Return the positions of everything these outputs were made of, each leaf right before its first use.

    >>> needed([Call("a", "input"), Call("b", "input"), Call("neg", inputs=(1,)), Call("add", inputs=(2, 0))], [3])
    [1, 2, 0, 3]
    """
    found = set(outputs)
    for place in range(max(found, default=-1), -1, -1):
        if place in found:
            found.update(calls[place].inputs)
    order: dict[int, None] = {}
    for place in sorted(found):
        call = calls[place]
        if call.inputs:
            order.update(dict.fromkeys([*(i for i in call.inputs if not calls[i].inputs), place]))
    return (
        list(order) if len(order) == len(found) else [*order, *(place for place in sorted(found) if place not in order)]
    )


def structure_of(calls: Sequence[Call], outputs: Sequence[int]) -> Structure:
    """Return the graph of what these outputs were made of."""
    places = needed(calls, outputs)
    ids = {place: i for i, place in enumerate(places)}
    kept = [calls[place] for place in places]
    sites = own.Sites()
    names = _names(kept, sites)
    nodes = [_node(i, name, call, ids, sites) for i, (call, name) in enumerate(zip(kept, names, strict=True))]
    return Structure(Graph(tuple(nodes), tuple(ids[place] for place in outputs)), tuple(places))


def frame_of(
    calls: Sequence[Call], made: Structure, *, step: int | None = None, meta: Mapping[str, Any] | None = None
) -> Frame:
    """Return the frame of calls whose structure is known, with all their numbers copied."""
    kept = [calls[place] for place in made.places]
    values = numbers([call.value for call in kept])
    grads = numbers([call.grad for call in kept])
    edges = CallNumbers(made.graph, kept, values, grads)
    return Frame(made.graph, values, grads, edges, step, meta or {})


def _node(i: int, name: str, call: Call, ids: Mapping[int, int], sites: own.Sites) -> Node:
    symbol, formulas = look_at(call) if call.kind == "op" else ("", ())
    inputs = tuple([ids[place] for place in call.inputs])
    attrs = attributes(call) if call.kind == "op" else {}
    if call.origin:
        attrs = {**attrs, "origin": call.origin}
        if call.kind == "op":
            attrs["saved"] = getattr(call, "saved", ())
    return Node(
        id=i,
        name=name,
        op=call.op,
        kind=call.kind,
        inputs=inputs,
        shape=tuple(call.shape),
        dtype=call.dtype,
        attrs=attrs,
        scope=call.scope,
        source=sites.source(call),
        symbol=symbol,
        formulas=formulas[: len(inputs)],
    )


def _names(calls: Sequence[Call], sites: own.Sites) -> list[str]:
    """Name what has a name, what was assigned to a variable once, what a module does alone, then the rest by its op."""
    alone = Counter(call.scope for call in calls if call.kind == "op")
    assigned = [None if call.name or call.kind != "op" else sites.assigned(call) for call in calls]
    often = Counter(name for name in assigned if name)
    claimed = {call.name for call in calls if call.name}
    wishes = [
        call.name or (name if name and often[name] == 1 and name not in claimed else None)
        for call, name in zip(calls, assigned, strict=True)
    ]
    for place, call in enumerate(calls):
        if wishes[place] is None and call.kind == "op" and call.scope and alone[call.scope] == 1:
            wishes[place] = ".".join(call.scope)
    return unique_names(wishes, [call.op for call in calls])
