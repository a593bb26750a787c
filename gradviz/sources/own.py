"""The source for gradviz's own Tensors: the only place that sees both the engine and the graph.

A graph is read off the tensors after the fact, so recording knows nothing of it. Numbers are
copied: a later step of the optimizer cannot change a frame.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gradviz.engine.edges import RuleNumbers
from gradviz.engine.glances import Glance, written_glance
from gradviz.engine.inputs import Reader, Use, input_reader
from gradviz.engine.leaves import Leaf, value_of
from gradviz.engine.modes import gc_paused
from gradviz.engine.nodecheck import check_operand
from gradviz.engine.recognition import Structures
from gradviz.engine.recording import apply
from gradviz.engine.registry import OPS
from gradviz.engine.sites import assigned_name, place
from gradviz.engine.structure import leaves, numbers
from gradviz.engine.tensor import Tensor, constant_of
from gradviz.errors import GradvizTypeError, GraphError
from gradviz.graphs import Frame, Graph, Node, Number, Source
from gradviz.graphs.plain import FrozenMapping
from gradviz.sources.entries import Entry, Moment, collect
from gradviz.sources.naming import held_names, unique_names

NO_ATTRS: Mapping[str, Any] = FrozenMapping()  # one for all: a graph may have a million nodes


class HasSite(Protocol):
    """Anything that knows the code object (or None) and the offset of the expression that made it."""

    @property
    def site(self) -> tuple[Any, int]:
        """The code object and the offset."""


class Sites:
    """What is known of the places in a program where the nodes of one graph were made, looked up once each."""

    def __init__(self) -> None:
        self._here = Path.cwd()
        self._sources: dict[tuple[int, int], Source | None] = {(id(None), 0): None}
        self._assigned: dict[tuple[int, int], str | None] = {(id(None), 0): None}

    def source(self, e: HasSite) -> Source | None:
        """Return the expression that made the tensor, if it is known."""
        code, offset = e.site
        key = id(code), offset
        if key not in self._sources:
            at = place(code, offset) if code is not None and code.co_filename != __file__ else None
            self._sources[key] = at and Source(self._shown(at.file), *at[1:])
        return self._sources[key]

    def assigned(self, e: HasSite) -> str | None:
        """Return the variable the tensor was assigned to where it was made."""
        code, offset = e.site
        key = id(code), offset
        if key not in self._assigned:
            self._assigned[key] = assigned_name(code, offset) if code is not None else None
        return self._assigned[key]

    def _shown(self, file: str) -> str:
        """Return a path without anything private: inside the working folder relative to it, else the file's name."""
        path = Path(file)
        if not path.is_absolute():
            return file
        return path.relative_to(self._here).as_posix() if path.is_relative_to(self._here) else path.name


def graph(x: Tensor, params: Mapping[str, Any] | None = None) -> Graph:
    """Return the graph of a Tensor (the public text is at `gradviz.graph`)."""
    with gc_paused():  # it would look through all that is made here again and again, and find nothing
        return _graph(collect(_tensor(x)), x, params)


def frame(x: Tensor, params: Mapping[str, Any] | None = None, moment: Moment | None = None) -> Frame:
    """Return the frame of a Tensor (the public text is at `gradviz.frame`), at an earlier moment if one is given."""
    with gc_paused():
        entries = collect(_tensor(x), moment or {})
        made = _graph(entries, x, params)
        values = tuple([_copied(e.value) for e in entries])
        grads = tuple([_copied(e.grad) for e in entries])
        edges = RuleNumbers(made.nodes, values, grads, [e.op for e in entries], [e.attrs for e in entries])
        return Frame(made, values, grads, edges)


def names(root: Tensor, params: Mapping[str, Any] | None = None) -> dict[int, str]:
    """Return the name of every tensor in the graph of ``root``, by its id, as the variables of this moment say."""
    entries = collect(_tensor(root))
    return {id(e.tensor): name for e, name in zip(entries, _names(entries, params, Sites()), strict=True)}


def node_made(t: Tensor) -> Node:
    """Return the node that an op has just made, as far as is known of it alone: without inputs, under no number."""
    sites = Sites()
    entry = Entry(t, value_of(t), None, (0, 0))
    return _node(0, t.name or sites.assigned(entry) or t.op, entry, (), sites.source(entry))


def position(x: Tensor, t: Any) -> int | None:
    """Return the id of the node that ``t`` is in the graph of ``x``."""
    return next((i for i, e in enumerate(collect(_tensor(x))) if e.tensor is t), None)


def _tensor(x: Any) -> Tensor:
    if not isinstance(x, Tensor):
        raise GradvizTypeError(f"a gradviz Tensor is needed, not {type(x).__name__}")
    return x


# -- reading the graph off the tensors ---------------------------------------------------------


def _graph(entries: list[Entry], root: Tensor, params: Mapping[str, Any] | None) -> Graph:
    ids = {id(e): i for i, e in enumerate(entries)}
    sites = Sites()
    names = _names(entries, params, sites)
    nodes = [
        _node(i, name, e, tuple([ids[id(x)] for x in e.inputs]), sites.source(e))
        for i, (e, name) in enumerate(zip(entries, names, strict=True))
    ]
    output = next(i for i, e in enumerate(entries) if e.tensor is root)
    return Graph(tuple(nodes), outputs=(output,))


def _node(i: int, name: str, e: Entry, inputs: tuple[int, ...], source: Source | None) -> Node:
    t = e.tensor
    op = e.op
    leaf = op.__class__ is Leaf
    is_float = e.value.__class__ is float
    return Node(
        id=i,
        name=name,
        op=op.name,
        kind=e.kind,
        inputs=inputs,
        shape=() if is_float else np.shape(e.value),
        dtype="float64" if is_float else str(e.value.dtype),
        attrs=e.attrs or NO_ATTRS,
        scope=t.scope if t is not None else (),
        source=source,
        symbol="" if leaf else op.symbol,
        formulas=() if leaf else _formulas(op, len(inputs)),
    )


def look_of(op: str) -> tuple[str, tuple[str, ...], bool] | None:
    """Return the sign, the formulas and whether it is elementwise, of an op of the engine; None if there is none.

    >>> look_of("sin")
    ('sin', ('cos({0})',), True)
    """
    found = OPS.get(op)
    return None if found is None else (found.symbol, found.formulas, found.elementwise)


def _formulas(op: Any, count: int) -> tuple[str, ...]:
    made: tuple[str, ...] = op.formulas * count if op.variadic and len(op.formulas) == 1 else op.formulas[:count]
    return made


def _names(entries: list[Entry], params: Mapping[str, Any] | None, sites: Sites) -> list[str]:
    given = {id(t): str(name) for name, t in (params or {}).items()}
    # a number in an expression has no variable: id(None) must not find one
    held = held_names({id(e.held) for e in entries if e.held is not None and e.wish is None})
    assigned = [sites.assigned(e) if e.wish is None else None for e in entries]
    often = Counter(name for name in assigned if name)
    hands = [_by_hand(e, given) or held.get(id(e.held)) for e in entries]
    claimed = set(hands)
    wishes = [
        hand or (name if name and often[name] == 1 and name not in claimed else None)
        for hand, name in zip(hands, assigned, strict=True)
    ]
    return unique_names(wishes, [e.op.name for e in entries])


def _by_hand(e: Entry, given: Mapping[int, str]) -> str | None:
    named = None if e.tensor is None else given.get(id(e.tensor))
    return named or (None if e.held is None else given.get(id(e.held)) or e.wish)


def _copied(x: Any) -> Any:
    return value_of(x) if isinstance(x, Tensor) else x


# -- running a recorded graph again ------------------------------------------------------------

_OPERATORS: dict[str, Callable[..., Any]] = {
    **{name: getattr(operator, name) for name in ("add", "sub", "mul", "pow", "neg", "matmul")},
    "div": operator.truediv,
}


def replay(recorded: Graph, leaves: Mapping[int, Number]) -> tuple[list[Number | None], list[Number | None]]:
    """Compute every value and gradient of a recorded graph again from the values of its leaves.

    Bit for bit what the recording computed, for it takes the same path through the engine.
    Raises `GraphError` if a leaf's value or an op's metadata is not known.
    """
    made: list[Any] = []
    for node in recorded.nodes:
        made.append(_leaf_again(node, leaves) if node.kind != "op" else _op_again(node, made))
    output = made[recorded.outputs[0]]
    if isinstance(output, Tensor) and output.requires_grad and output.size == 1:
        output.backward()
    values = [value_of(t) if isinstance(t, Tensor) else t for t in made]
    grads = [t.grad if isinstance(t, Tensor) else None for t in made]
    return values, grads


def _leaf_again(node: Node, leaves: Mapping[int, Number]) -> Any:
    if node.id not in leaves:
        raise GraphError(f"the value of {node.name!r} is not known, so the graph cannot be computed again")
    value = leaves[node.id]
    if node.kind == "const":
        return value
    return Tensor(value, name=node.name, requires_grad=node.kind == "param")


def _op_again(node: Node, made: Sequence[Any]) -> Any:
    args = tuple(made[i] for i in node.inputs)
    if not any(isinstance(x, Tensor) for x in args):
        args = tuple(constant_of(x) for x in args)
    if node.op in _OPERATORS and not node.attrs:
        return _OPERATORS[node.op](*args)
    op = OPS.get(node.op)
    if op is None:
        raise GraphError(f"op {node.op!r} of {node.name!r} is not registered here, so it cannot be computed again")
    return apply(op, args, metadata_again(node) or None)


def metadata_again(node: Node) -> dict[str, Any]:
    """Turn the plain metadata of a node back into what its op takes."""
    return {k: _metadata_again(v, node) for k, v in node.attrs.items()}


def _metadata_again(value: Any, node: Node) -> Any:
    """Turn the plain form of metadata back into what the op takes."""
    if isinstance(value, tuple):
        if value[:1] == ("slice",) and len(value) == 4:
            return slice(*value[1:])
        return tuple(_metadata_again(v, node) for v in value)
    if value == "...":
        return ...
    if isinstance(value, str) and value.startswith("array("):
        raise GraphError(f"{node.name!r} needs an index array that was not recorded: {value}")
    return value


def check_rules(of: Frame, id: int, rng: np.random.Generator, rtol: float, atol: float) -> list[tuple[int, Any]]:
    """Return the arguments of a node that a gradient goes to, each with a `Row`: its rule beside finite differences."""
    node, edges = of.graph.nodes[id], of.edges
    if any(of.values[src] is None for src in node.inputs):
        raise GraphError(f"an operand of {node.name!r} is not known, so its rule cannot be checked")
    wanted = [arg for arg, src in enumerate(node.inputs) if of.grads[src] is not None]
    if not wanted:
        return []
    made: Any = {i: _leaf_to_check(of, i) for i in node.inputs}
    tensor = edges.recorded_again(id, made) if isinstance(edges, RuleNumbers) else _op_again(node, made)
    return [(arg, check_operand(tensor, arg, rng, rtol, atol)) for arg in wanted]


def _leaf_to_check(of: Frame, id: int) -> Any:
    value = of.values[id]
    return value if of.grads[id] is None else Tensor(value, name=of.graph.nodes[id].name)


def parameter(value: Any, name: str) -> Tensor:
    """Make a parameter for `gradviz.descend`; a Tensor is taken as it is."""
    return value if isinstance(value, Tensor) else Tensor(value, name=name)


def parameters(root: Tensor) -> dict[str, Tensor]:
    """Return the parameters in the graph of ``root`` by name, in the order of `leaves`."""
    found = names(root)
    return {found[id(t)]: t for t in leaves(root)}


def leaf_reader(root: Tensor, made: Graph) -> tuple[list[int], Reader]:
    """Return the ids of the leaves in ``made``, the graph of ``root``, that are no parameters, and who reads them.

    Called with any root of this structure, the second lists their values as `input_reader` says: never changed later.
    """
    uses = _uses(root, made)
    return list(uses), input_reader(root, list(uses.values()))


def glance(
    root: Tensor, made: Graph, params: Mapping[str, Any], fixed: Mapping[int, Any], varying: Sequence[int]
) -> Glance | None:
    """Return a function that reads all numbers of a step at once, as `written_glance` says, or None.

    ``made`` is the graph of ``root``; ``fixed`` gives the value that a leaf has to have by its id, and ``varying`` the
    ids of leaves that are read.
    """
    uses = _uses(root, made)
    return written_glance(root, params, [(uses[i], value) for i, value in fixed.items()], [uses[i] for i in varying])


def _uses(root: Tensor, made: Graph) -> dict[int, Use]:
    """Return, for every leaf that is no parameter, by its id, which node uses it at which place."""
    entries = collect(_tensor(root))
    if len(entries) != len(made.nodes):
        raise GraphError("the graph is not that of this Tensor")
    users = {id(x): (e.tensor, at) for e in reversed(entries) for at, x in enumerate(e.inputs)}
    return {n.id: users.get(id(entries[n.id]), (None, 0)) for n in made.nodes if n.kind in {"input", "const"}}


def edge_numbers(recorded: Graph, values: Sequence[Any], grads: Sequence[Any]) -> RuleNumbers:
    """Return the numbers of the edges of a graph that was computed again."""
    ops = [OPS.get(node.op) for node in recorded.nodes]
    attrs = [metadata_again(node) for node in recorded.nodes]
    return RuleNumbers(recorded.nodes, values, grads, ops, attrs)


__all__ = [
    "RuleNumbers",
    "Sites",
    "Structures",
    "check_rules",
    "edge_numbers",
    "frame",
    "glance",
    "graph",
    "leaf_reader",
    "leaves",
    "look_of",
    "metadata_again",
    "names",
    "node_made",
    "numbers",
    "parameter",
    "parameters",
    "position",
    "replay",
]
