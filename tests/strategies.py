"""Random graphs and frames for hypothesis: lawful, but with every odd name, number and shape."""

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from gradviz.graphs import EdgeTable, Frame, Graph, Node, Source
from tests.hostile import HOSTILE

SHORT_HOSTILE = [name for name in HOSTILE if len(name) < 40]
OPS = [("add", "+"), ("mul", "*"), ("sin", "sin"), ("concatenate", ""), ("neg", "-")]
DTYPES = ["float64", "float32", "float16", "int64", "bool", "uint8", "complex128"]

texts = st.one_of(st.sampled_from(SHORT_HOSTILE), st.text(st.characters(), max_size=6))
floats = st.floats(allow_nan=True, allow_infinity=True)
small_floats = st.floats(-4, 4, allow_subnormal=False)
plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), floats, texts),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=6,
)
mappings = st.dictionaries(texts, plain, max_size=3)
sources = st.builds(
    Source,
    file=texts,
    line=st.integers(1, 99),
    column=st.none() | st.integers(0, 9),
    function=texts,
    text=texts,
    code=texts,
)


@dataclass(frozen=True)
class Edges:
    """Numbers of edges on demand; an edge without a local derivative passes nothing on."""

    derivatives: dict
    grads: tuple

    def local(self, src, dst, arg):
        return self.derivatives[src, dst, arg]

    def grad(self, src, dst, arg):
        derivative, upstream = self.derivatives[src, dst, arg], self.grads[dst]
        return None if derivative is None or upstream is None else derivative * upstream


@st.composite
def nodes(draw, position, name):
    """Draw a node that may stand at this position."""
    leaf = position == 0 or draw(st.integers(0, 3)) == 0
    kind = draw(st.sampled_from(["input", "param", "const"])) if leaf else "op"
    inputs = () if leaf else draw(st.lists(st.integers(0, position - 1), min_size=1, max_size=3).map(tuple))
    op, symbol = (kind, "") if leaf else draw(st.sampled_from(OPS))
    return Node(
        id=position,
        name=name,
        op=op,
        kind=kind,
        inputs=inputs,
        shape=draw(st.lists(st.integers(0, 4), max_size=2).map(tuple)),
        attrs=draw(mappings),
        scope=draw(st.lists(st.sampled_from(["encoder", "layer1", "a.b", ""]), max_size=2).map(tuple)),
        source=draw(st.none() | sources),
        symbol=symbol,
        formulas=("{1}", "{0}", "cos({y})") if draw(st.booleans()) else (),
    )


@st.composite
def graphs(draw, min_size=0, max_size=8):
    """Draw a lawful graph."""
    names = draw(st.lists(texts, min_size=min_size, max_size=max_size, unique=True))
    made = tuple(draw(nodes(position, name)) for position, name in enumerate(names))
    results = draw(st.lists(st.integers(0, len(made) - 1), max_size=2, unique=True)) if made else []
    return Graph(made, tuple(results))


def arrays():
    """Draw arrays of any dtype, shape and bits."""

    def build(dtype, shape, data):
        count = math.prod(shape) * np.dtype(dtype).itemsize
        raw = (data * (count // len(data) + 1))[:count]
        if dtype == "bool":
            raw = bytes(byte & 1 for byte in raw)
        return np.frombuffer(raw, dtype).reshape(shape)

    shapes = st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple)
    return st.builds(build, st.sampled_from(DTYPES), shapes, st.binary(min_size=1, max_size=16))


@st.composite
def frames(draw):
    """Draw a graph with any numbers at all."""
    graph = draw(graphs())
    numbers = st.lists(st.one_of(st.none(), floats, arrays()), min_size=len(graph), max_size=len(graph))
    step = draw(st.none() | st.integers(0, 10**6))
    return Frame(graph, draw(numbers), draw(numbers), None, step, draw(mappings))


@st.composite
def frames_with_edges(draw):
    """Draw a frame with any numbers at all, on its edges too."""
    frame = draw(frames())
    numbers = {edge: draw(st.one_of(st.none(), floats, arrays())) for edge in frame.graph.edges}
    table = EdgeTable(numbers, dict(reversed(numbers.items())))
    return Frame(frame.graph, frame.values, frame.grads, table, frame.step, frame.meta)


@st.composite
def computed_frames(draw):
    """Draw a frame whose gradients are what its edges add up to, in the order backward goes."""
    graph = draw(graphs(min_size=1, max_size=9))
    shape = draw(st.sampled_from([(), (2,), (2, 1)]))
    number = (
        small_floats
        if not shape
        else st.builds(lambda x, y: np.reshape([x, y], (2, *shape[1:])), small_floats, small_floats)
    )
    cuts = st.none() if draw(st.integers(0, 4)) == 0 else number
    derivatives = {edge: draw(st.one_of(number, number, cuts)) for edge in graph.edges}
    grads = [None] * len(graph)
    for result in graph.outputs:
        grads[result] = draw(number)
    for node in reversed(graph.nodes):
        for arg, src in enumerate(node.inputs if grads[node.id] is not None else ()):
            derivative = derivatives[src, node.id, arg]
            if derivative is not None:
                amount = derivative * grads[node.id]
                grads[src] = amount if grads[src] is None else grads[src] + amount
    values = [draw(number) for _ in graph.nodes]
    return Frame(graph, values, grads, Edges(derivatives, tuple(grads)))
