"""The graph and its numbers as plain frozen data: structure once, numbers per step.

A `Graph` is a tuple of `Node` records in topological order. A `Frame` is a graph with the
values and gradients of one moment. Nothing here knows how a graph is recorded or drawn.
Every walk is a loop over positions: a million nodes in a chain are as good as ten.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np

from gradviz.errors import GradvizTypeError, UnknownNameError
from gradviz.escape import clean
from gradviz.graphs import comparing, listing, summary, walks
from gradviz.graphs.comparing import GraphDiff
from gradviz.graphs.nodes import EMPTY, KINDS, Edge, EdgeNumbers, EdgeTable, Node, Ref, Source
from gradviz.graphs.plain import FrozenMapping, Number, frozen_number, frozen_numbers, same_bits

__all__ = [
    "KINDS",
    "Edge",
    "EdgeNumbers",
    "EdgeTable",
    "Frame",
    "Graph",
    "GraphDiff",
    "Node",
    "Number",
    "Ref",
    "Source",
]

SUGGESTION_POOL = 2000  # names looked through for "did you mean"
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, repr=False)
class Graph:
    """A computation graph: nodes in topological order, and which of them are results.

    ``graph["w"]`` finds a node by name, iterating goes through the nodes in order.

    >>> graph = Graph((Node(0, "x", "input", "input"), Node(1, "y", "mul", "op", (0, 0))), (1,)).check()
    >>> graph["y"].inputs, graph.edges
    ((0, 0), ((0, 1, 0), (0, 1, 1)))
    """

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...] = ()
    _cache: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.nodes))
        object.__setattr__(self, "outputs", tuple(self.outputs))

    def __reduce__(self) -> tuple[Any, ...]:
        return Graph, (self.nodes, self.outputs)

    def __deepcopy__(self, memo: object) -> Graph:
        return self

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __contains__(self, ref: object) -> bool:
        if isinstance(ref, Node):
            return 0 <= ref.id < len(self.nodes) and self.nodes[ref.id] == ref
        return ref in self._names

    def __getitem__(self, name: str) -> Node:
        if not isinstance(name, str):
            raise GradvizTypeError(f"graph[...] takes a node's name, not {name!r}", hint="use graph.node(id) for ids")
        return self.nodes[self.index(name)]

    def __repr__(self) -> str:
        results = ", ".join(clean(self.nodes[i].name) for i in self.outputs[:4])
        edges = sum(len(node.inputs) for node in self.nodes)
        return f"Graph({len(self.nodes)} nodes, {edges} edges, outputs: {results or 'none'})"

    def __str__(self) -> str:
        return listing.graph_listing(self)

    def _cached(self, name: str, make: Callable[[], Made]) -> Made:
        if name not in self._cache:
            self._cache[name] = make()
        return cast("Made", self._cache[name])

    @property
    def _names(self) -> dict[str, int]:
        return self._cached("names", lambda: {node.name: i for i, node in enumerate(self.nodes)})

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Every edge as ``(src, dst, arg)``, by dst and argument; ``x * x`` has two."""

        def make() -> tuple[Edge, ...]:
            return tuple((src, dst, arg) for dst, n in enumerate(self.nodes) for arg, src in enumerate(n.inputs))

        return self._cached("edges", make)

    def index(self, ref: Ref) -> int:
        """Return the id of the node with this id or name, or of this very node.

        Raises UnknownNameError, suggesting close names.

        >>> Graph((Node(0, "x", "input", "input"),)).index("x")
        0
        """
        if isinstance(ref, str):
            found = self._names.get(ref)
            if found is None:
                raise UnknownNameError.among("node", ref, list(self._names)[:SUGGESTION_POOL])
            return found
        if isinstance(ref, Node):
            if ref not in self:
                raise UnknownNameError(f"the node {ref.name[:200]!r} belongs to another graph")
            return ref.id
        if isinstance(ref, bool) or not isinstance(ref, (int, np.integer)):
            raise GradvizTypeError(f"a node is given by id, name or Node, not {type(ref).__name__}")
        if not 0 <= ref < len(self.nodes):
            raise UnknownNameError(f"no node has the id {ref}; this graph has {len(self.nodes)} nodes")
        return int(ref)

    def node(self, ref: Ref) -> Node:
        """Return the node with this id or name (or this node itself, if it is one of ours).

        >>> Graph((Node(0, "x", "input", "input"),)).node(0).name
        'x'
        """
        return self.nodes[self.index(ref)]

    def find(
        self,
        *,
        op: str | None = None,
        scope: str | None = None,
        source: str | None = None,
        kind: str | None = None,
        name: str | None = None,
    ) -> tuple[Node, ...]:
        """Return the nodes that match everything asked for, in order.

        ``op``, ``name`` and ``scope`` are globs (or exact); a scope such as ``"encoder.*"`` is
        matched against the dotted path and brings everything inside with it; ``source`` is
        ``"file.py:12"`` or ``"file.py"``, and any trailing part of the path will do.

        >>> graph = Graph((Node(0, "w1", "param", "param"), Node(1, "x", "input", "input")))
        >>> [node.name for node in graph.find(name="w*")]
        ['w1']
        """
        matches = walks.matcher(op=op, scope=scope, source=source, kind=kind, name=name)
        return tuple(node for node in self.nodes if matches(node))

    def ancestors(self, ref: Ref) -> tuple[int, ...]:
        """Return the ids of everything this node was computed from, ascending, without itself.

        >>> Graph((Node(0, "x", "input", "input"), Node(1, "y", "sin", "op", (0,)))).ancestors("y")
        (0,)
        """
        return walks.ancestors(self, self.index(ref))

    def descendants(self, ref: Ref) -> tuple[int, ...]:
        """Return the ids of everything computed from this node, ascending, without itself.

        >>> Graph((Node(0, "x", "input", "input"), Node(1, "y", "sin", "op", (0,)))).descendants("x")
        (1,)
        """
        return walks.descendants(self, self.index(ref))

    def consumers(self, ref: Ref) -> tuple[int, ...]:
        """Return the ids of the nodes that take this node as an argument, ascending, each once.

        >>> Graph((Node(0, "x", "input", "input"), Node(1, "y", "mul", "op", (0, 0)))).consumers("x")
        (1,)
        """
        found = self._cached("consumers", lambda: walks.consumers_of_all(self))[self.index(ref)]
        return tuple(dict.fromkeys(found))

    def formula(self, dst: Ref, arg: int) -> str:
        """Return d(dst)/d(its argument ``arg``) as a formula in the names of the graph, or ``""``.

        >>> a, b = Node(0, "a", "input", "input"), Node(1, "b", "input", "input")
        >>> Graph((a, b, Node(2, "c", "mul", "op", (0, 1), formulas=("{1}", "{0}")))).formula("c", 0)
        'b'
        """
        return walks.formula(self, self.node(dst), arg)

    def check(self) -> Graph:
        """Return this graph if it keeps the laws of graphs, else raise a GraphError naming the node.

        Ids are positions, inputs come before their node, names are unique, kinds are known,
        only ops have inputs, outputs exist.

        >>> Graph((Node(0, "y", "sin", "op", (1,)),)).check()
        Traceback (most recent call last):
            ...
        gradviz.errors.GraphError: node 0 ('y'): input 1 does not come before it
          a graph lists every node after the nodes it is computed from
        """
        walks.check(self)
        return self

    def fingerprint(self) -> str:
        """Return a SHA-256 of the structure: the same program has the same one on every machine.

        It covers op, kind, inputs, shape, dtype, attrs, scope and outputs; neither values, names
        nor source lines.

        >>> Graph((Node(0, "x", "input", "input"),)).fingerprint()[:12]
        'b2be92c3011b'
        """
        return self._cached("fingerprint", lambda: comparing.fingerprint(self))

    def summary(self, by: str = "op") -> str:
        """Return a table with one row for every ``"op"``, ``"scope"`` or ``"line"``; GradvizValueError for another.

        >>> Graph((Node(0, "x", "input", "input", shape=(3,)),)).summary().splitlines()[1]
        'input      1  3'
        """
        return summary.summary_text(self, by)

    def diff(self, other: Graph) -> GraphDiff:
        """Return what ``other`` has more, less or otherwise than this graph, node by name.

        >>> print(Graph((Node(0, "x", "input", "input"),)).diff(Graph(())))
        - x
        """
        return comparing.compare(self, other)

    def to_json(self) -> str:
        """Return the graph as JSON text, one node a line (format 1, read by `Graph.from_json`).

        >>> Graph.from_json(Graph((Node(0, "x", "input", "input"),)).to_json())["x"].kind
        'input'
        """
        from gradviz.graphs.jsontext import graph_to_json

        return graph_to_json(self)

    @staticmethod
    def from_json(text: str) -> Graph:
        """Return the graph written in ``text``; anything doubtful in it raises GraphError.

        >>> Graph.from_json('{"format": 1, "kind": "graph", "outputs": [], "nodes": []}')
        Graph(0 nodes, 0 edges, outputs: none)
        """
        from gradviz.graphs.jsontext import graph_from_json

        return graph_from_json(text)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Frame:
    """One graph with the numbers of one moment.

    ``values`` and ``grads`` hold one entry per node: a float, an array that cannot be written
    to (a copy), or None where there is no number (no gradient has reached it, which is not 0).
    Two frames are equal when graph, numbers (bit for bit), step and meta are.

    >>> graph = Graph((Node(0, "x", "input", "input"), Node(1, "y", "mul", "op", (0, 0))), (1,))
    >>> frame = Frame(graph, [3.0, 9.0], [6.0, 1.0])
    >>> frame.value("y"), frame.grad("x")
    (9.0, 6.0)
    """

    graph: Graph
    values: Sequence[Number | None]
    grads: Sequence[Number | None]
    edges: EdgeNumbers | None = None
    step: int | None = None
    meta: Mapping[str, Any] = EMPTY

    def __post_init__(self) -> None:
        for name in ("values", "grads"):
            object.__setattr__(self, name, frozen_numbers(getattr(self, name), len(self.graph.nodes), name))
        if self.step is not None:
            object.__setattr__(self, "step", operator.index(self.step))
        if type(self.meta) is not FrozenMapping:
            object.__setattr__(self, "meta", FrozenMapping(self.meta))

    def __reduce__(self) -> tuple[Any, ...]:
        return Frame, (self.graph, self.values, self.grads, self.edges, self.step, self.meta)

    def __deepcopy__(self, memo: object) -> Frame:
        return self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frame):
            return NotImplemented
        return (
            (self.step, self.meta, self.graph) == (other.step, other.meta, other.graph)
            and all(map(same_bits, self.values, other.values))
            and all(map(same_bits, self.grads, other.grads))
        )

    def __hash__(self) -> int:
        return hash((len(self.graph), self.step, self.meta))

    def __repr__(self) -> str:
        reached = sum(grad is not None for grad in self.grads)
        step = "" if self.step is None else f"step {self.step}, "
        return f"Frame({step}{repr(self.graph)[6:-1]}, {reached} gradients)"

    def __str__(self) -> str:
        return listing.frame_listing(self)

    def summary(self, by: str = "op") -> str:
        """Return a table with one row for every ``"op"``, ``"scope"`` or ``"line"``; GradvizValueError for another.

        >>> Frame(Graph((Node(0, "x", "input", "input"),)), [3.0], [None]).summary().splitlines()[-1]
        '1 node in 1 group'
        """
        return summary.summary_text(self, by)

    def value(self, ref: Ref) -> Number | None:
        """Return the forward value of a node given by id, name or Node; None if there is none.

        >>> Frame(Graph((Node(0, "x", "input", "input"),)), [3.0], [None]).value("x")
        3.0
        """
        return self.values[self.graph.index(ref)]

    def grad(self, ref: Ref) -> Number | None:
        """Return the gradient of a node given by id, name or Node; None if none has reached it.

        >>> Frame(Graph((Node(0, "x", "input", "input"),)), [3.0], [None]).grad("x") is None
        True
        """
        return self.grads[self.graph.index(ref)]

    def edge_grad(self, src: Ref, dst: Ref, arg: int | None = None) -> Number | None:
        """Return what the edge into argument ``arg`` of ``dst`` contributed to the gradient of ``src``.

        ``arg`` may be left out where only one edge joins the two. Raises GraphError for no such edge.

        >>> graph = Graph((Node(0, "x", "input", "input"), Node(1, "y", "mul", "op", (0, 0))), (1,))
        >>> frame = Frame(graph, [3.0, 9.0], [6.0, 1.0], EdgeTable({(0, 1, 0): 3.0}, {}))
        >>> frame.edge_grad("x", "y", 0)
        3.0
        """
        edge = self._edge(src, dst, arg)
        return None if self.edges is None else frozen_number(self.edges.grad(*edge))

    def local(self, src: Ref, dst: Ref, arg: int | None = None) -> Number | None:
        """Return the local derivative d(dst)/d(src) through argument ``arg``.

        It is None for what works on more than one element at a time (a sum, a matrix product).

        >>> graph = Graph((Node(0, "x", "input", "input"), Node(1, "y", "neg", "op", (0,))), (1,))
        >>> Frame(graph, [3.0, -3.0], [None, None], EdgeTable({}, {(0, 1, 0): -1.0})).local("x", "y")
        -1.0
        """
        edge = self._edge(src, dst, arg)
        return None if self.edges is None else frozen_number(self.edges.local(*edge))

    def _edge(self, src: Ref, dst: Ref, arg: int | None) -> Edge:
        return walks.the_edge(self.graph, self.graph.index(src), self.graph.index(dst), arg)

    def to_json(self) -> str:
        """Return graph and numbers as JSON text (format 1, read by `Frame.from_json`), exact to the bit.

        Numbers are JSON numbers, ``"nan"``, ``"inf"``, ``"-inf"``, or for arrays
        ``{"dtype": "<f8", "shape": [2], "data": base64 of the little-endian bytes in C order}``.

        >>> frame = Frame(Graph((Node(0, "x", "input", "input"),)), [-0.0], [float("nan")])
        >>> Frame.from_json(frame.to_json()) == frame
        True
        """
        from gradviz.graphs.jsontext import frame_to_json

        return frame_to_json(self)

    @staticmethod
    def from_json(text: str) -> Frame:
        """Return the frame written in ``text``; anything doubtful in it raises GraphError.

        >>> Frame.from_json("[]")
        Traceback (most recent call last):
            ...
        gradviz.errors.GraphError: this is not a gradviz frame: the text holds a list, not an object
        """
        from gradviz.graphs.jsontext import frame_from_json

        return frame_from_json(text)
