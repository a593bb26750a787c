"""Graphs of any size in the shapes that programs have, with made-up numbers: the same ones every time."""

from __future__ import annotations

import random
from collections.abc import Callable

from gradviz.graphs import Frame, Graph, Node, Source

__all__ = ["FAMILIES", "chain", "forward_backward", "recurrence", "scalar", "star", "tangle", "transformer"]

FILE = "train.py"
SEED = 7
REACH = 300  # nodes back, in the tangle
HEADS, HIDDEN = 4, 8


class Writer:
    """Adds nodes one by one."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def __len__(self) -> int:
        return len(self.nodes)

    def add(self, op: str, line: int, *inputs: int, scope: tuple[str, ...] = (), shape: tuple[int, ...] = ()) -> int:
        """Add a leaf (named by its kind) or the result of an op and return its id."""
        id = len(self.nodes)
        kind = op if op in {"input", "param", "const"} else "op"
        source = Source(FILE, line, 4, 20, text=f"{op}(...)")
        self.nodes.append(Node(id, f"{op}_{id}", op, kind, inputs, shape, scope=scope, source=source))
        return id

    def frame(self) -> Frame:
        """Return all of it, the last node as the result."""
        count = len(self.nodes)
        values = tuple(float(id * 37 % 101) / 50 - 1 for id in range(count))
        grads = tuple(float(id * 53 % 97) / 48 - 1 for id in range(count))
        return Frame(Graph(tuple(self.nodes), (count - 1,) if count else ()).check(), values, grads)


def transformer(count: int) -> Frame:
    """Return layers of attention heads and a network, each in its scope, with residual edges.

    >>> frame = transformer(100)
    >>> len(frame.graph), max(len(node.scope) for node in frame.graph)
    (133, 4)
    """
    made = Writer()
    last = made.add("input", 1)
    layer = 0
    while len(made) < count:
        scope = ("net", f"layer{layer}")
        heads = []
        for head in range(HEADS):
            inside = (*scope, "attention", f"head{head}")
            q, k, v = (
                made.add("matmul", 2 + i, last, made.add("param", 2 + i, scope=inside), scope=inside) for i in range(3)
            )
            weights = made.add("softmax", 5, made.add("matmul", 5, q, k, scope=inside), scope=inside)
            heads.append(made.add("matmul", 6, weights, v, scope=inside))
        mixed = made.add("add", 8, made.add("concat", 7, *heads, scope=(*scope, "attention")), last, scope=scope)
        inside = (*scope, "mlp")
        hidden = made.add("matmul", 9, mixed, made.add("param", 9, scope=inside), scope=inside)
        hidden = made.add("relu", 9, hidden, scope=inside)
        out = made.add("matmul", 10, hidden, made.add("param", 10, scope=inside), scope=inside)
        last = made.add("add", 11, out, mixed, scope=scope)
        layer += 1
    return made.frame()


def scalar(count: int) -> Frame:
    """Return a network of scalars on one sample after the other: fan-in, fan-out, no scopes.

    >>> len(scalar(300).graph)
    379
    """
    made = Writer()
    weights = [[made.add("param", 1) for _ in range(3)] for _ in range(HIDDEN)]
    total = made.add("const", 2)
    while len(made) < count:
        inputs = [made.add("input", 4) for _ in range(2)]
        out = made.add("const", 5)
        for first, second, outer in weights:
            terms = [made.add("mul", 7, x, w) for x, w in zip(inputs, (first, second), strict=True)]
            hidden = made.add("tanh", 7, made.add("add", 7, *terms))
            out = made.add("add", 8, out, made.add("mul", 8, hidden, outer))
        total = made.add("add", 10, total, made.add("square", 9, made.add("sub", 9, out, made.add("input", 4))))
    return made.frame()


def recurrence(count: int) -> Frame:
    """Return the unrolled steps of a recurrent network: three parameters that every step uses.

    >>> len(recurrence(100).graph)
    102
    """
    made = Writer()
    w, u, b = (made.add("param", 1) for _ in range(3))
    state = made.add("const", 2)
    while len(made) < count:
        fed = made.add("mul", 4, made.add("input", 3), u)
        state = made.add("tanh", 5, made.add("add", 5, made.add("add", 5, made.add("mul", 5, state, w), fed), b))
        state = made.add("mul", 6, state, state)
    return made.frame()


def forward_backward(count: int) -> Frame:
    """Return a chain and the same backwards, each step of which uses one of the chain: long edges.

    >>> len(forward_backward(100).graph)
    100
    """
    made = Writer()
    way = [made.add("input", 1)]
    while len(made) < count // 2:
        way.append(made.add("sin", 2, way[-1]))
    last = way[-1]
    for id in reversed(way):
        last = made.add("mul", 3, last, id)
    return made.frame()


def chain(count: int) -> Frame:
    """Return one op after the other.

    >>> len(chain(50).graph)
    50
    """
    made = Writer()
    last = made.add("input", 1)
    while len(made) < count:
        last = made.add("sin" if len(made) % 2 else "cos", 2, last)
    return made.frame()


def star(count: int) -> Frame:
    """Return one op with all others as its operands.

    >>> len(star(50).graph)
    50
    """
    made = Writer()
    leaves = [made.add("param", 1) for _ in range(count - 1)]
    made.add("stack", 2, *leaves)
    return made.frame()


def tangle(count: int) -> Frame:
    """Return ops of any nodes not long before them: nothing repeats, and nothing is in a scope.

    >>> len(tangle(50).graph)
    50
    """
    made = Writer()
    chosen = random.Random(SEED)
    for _ in range(min(count, 10)):
        made.add("input", 1)
    while len(made) < count:
        near = range(max(0, len(made) - REACH), len(made))
        inputs = [chosen.choice(near) for _ in range(chosen.choice((1, 2, 2)))]
        made.add(chosen.choice(("add", "mul", "sin", "max")), len(made), *inputs)
    return made.frame()


FAMILIES: dict[str, Callable[[int], Frame]] = {
    make.__name__: make for make in (transformer, scalar, recurrence, forward_backward, chain, star, tangle)
}
