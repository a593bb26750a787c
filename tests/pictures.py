"""Frames to draw, made by hand: the article's graph, a loop over samples, a scoped network, every oddity."""

import math

import numpy as np

from gradviz.graphs import EdgeTable, Frame, Graph, Node, Source


def line(number: int, text: str) -> Source:
    return Source("/home/somebody/article.py", number, 4, 4 + len(text), "f", text, text)


def article(*, backward: bool = True) -> Frame:
    """The article's graph: c = (a + b) * 2; d = a * b; e = sin(c); f = d - e."""
    nodes = (
        Node(0, "a", "param", "param"),
        Node(1, "b", "param", "param"),
        Node(2, "add", "add", "op", (0, 1), symbol="+", formulas=("1", "1"), source=line(3, "a + b")),
        Node(3, "const_1", "const", "const"),
        Node(4, "c", "mul", "op", (2, 3), symbol="×", formulas=("{1}", "{0}"), source=line(3, "(a + b) * 2")),
        Node(5, "d", "mul", "op", (0, 1), symbol="×", formulas=("{1}", "{0}"), source=line(4, "a * b")),
        Node(6, "e", "sin", "op", (4,), symbol="sin", formulas=("cos({0})",), source=line(5, "np.sin(c)")),
        Node(7, "f", "sub", "op", (5, 6), symbol="-", formulas=("1", "-1"), source=line(6, "d - e")),
    )
    a, b = 2.0, 3.0
    c = (a + b) * 2
    values = [a, b, a + b, 2.0, c, a * b, math.sin(c), a * b - math.sin(c)]
    local = {(0, 2, 0): 1.0, (1, 2, 1): 1.0, (2, 4, 0): 2.0, (3, 4, 1): a + b, (0, 5, 0): b, (1, 5, 1): a}
    local |= {(4, 6, 0): math.cos(c), (5, 7, 0): 1.0, (6, 7, 1): -1.0}
    graph = Graph(nodes, (7,)).check()
    if not backward:
        return Frame(graph, values, [None] * 8, EdgeTable({}, local))
    grads, sent = [0.0] * 7 + [1.0], {}
    for src, dst, arg in sorted(graph.edges, key=lambda edge: -edge[1]):
        sent[src, dst, arg] = grads[dst] * local[src, dst, arg]
        grads[src] += sent[src, dst, arg]
    shown = [None if node.kind == "const" else grads[node.id] for node in nodes]
    return Frame(graph, values, shown, EdgeTable(sent, local))


def samples(count: int = 100, *, rnn: bool = False) -> Frame:
    """A loop over samples: loss = loss + (w * x + b - y) ** 2, or a state carried through it."""
    nodes: list[Node] = []
    values: list[float] = []

    def add(name, op, kind, inputs=(), source=None, value=0.0):
        nodes.append(Node(len(nodes), name, op, kind, inputs, source=source, symbol=op))
        values.append(value)
        return len(nodes) - 1

    w, b, loss = (
        add("w", "param", "param", value=1.5),
        add("b", "param", "param", value=0.5),
        add("start", "const", "const"),
    )
    for i in range(count):
        x = add(f"x_{i}", "input", "input", value=i / count)
        p = add(f"mul_{i}", "mul", "op", (w, x), line(3, "w * x"), values[w] * values[x])
        p = add(f"p_{i}", "add", "op", (p, loss if rnn else b), line(3, "w * x + b"), values[p] + values[b])
        e = add(f"e_{i}", "square", "op", (p,), line(4, "p ** 2"), values[p] ** 2)
        name = "loss" if i == count - 1 else f"add_{i}"
        loss = add(name, "add", "op", (loss, e), line(5, "loss + p ** 2"), values[loss] + values[e])
    return Frame(Graph(tuple(nodes), (loss,)).check(), values, [1.0] * len(nodes))


def network() -> Frame:
    """Arrays in nested scopes, with NaN, infinities, gradients of 0 and none, a matrix and a square."""
    rng = np.random.default_rng(0)
    inner, outer = ("encoder", "layer1"), ("encoder",)
    nodes = (
        Node(0, "x", "input", "input", shape=(4, 3)),
        Node(1, "W", "param", "param", shape=(3, 20), scope=inner),
        Node(2, "h", "matmul", "op", (0, 1), (4, 20), symbol="@", scope=inner, formulas=("{1}.T", "{0}.T")),
        Node(3, "M", "param", "param", shape=(2, 2), scope=inner),
        Node(4, "log_h", "log", "op", (2,), (4, 20), symbol="log", scope=outer),
        Node(5, "s", "sum", "op", (4,), (), symbol="sum", attrs={"axis": (0, 1), "keepdims": False}),
        Node(6, "t", "mul", "op", (5, 5), (), symbol="×", formulas=("{1}", "{0}")),
        Node(7, "v", "param", "param", shape=(3,)),
        Node(8, "q", "mul", "op", (6, 7), (3,), symbol="×", formulas=("{1}", "{0}")),
        Node(9, "nothing", "input", "input", shape=(0, 3)),
    )
    h = rng.integers(-9, 9, (4, 20)) / 4
    log_h = np.where(h > 0, h, np.nan)
    matrix, bad = np.array([[1, 2.5], [-3, 1e-9]]), np.array([np.nan, -np.inf, 1])
    values = [h[:, :3], h[:3], h, matrix, log_h, math.nan, math.inf, np.array([1, -2, 0.5]), bad, np.zeros((0, 3))]
    grads = [None, -h[:3], np.zeros((4, 20)), None, None, 0.0, -1.0, np.array([0.1, 0.2, -3]), np.ones(3), None]
    return Frame(Graph(nodes, (8,)).check(), values, grads)


def chain(names: tuple[str, ...]) -> Frame:
    """A chain of sines under the names given, each different from those before."""
    nodes = []
    for name in dict.fromkeys(names):
        i = len(nodes)
        nodes.append(
            Node(
                i,
                name,
                "sin" if i else "input",
                "op" if i else "input",
                (i - 1,) if i else (),
                symbol=name,
                attrs={"note": name},
                scope=(name,),
                source=Source(name, 1, text=name, code=name),
                formulas=("cos({0})",) if i else (),
            )
        )
    return Frame(Graph(tuple(nodes), (len(nodes) - 1,)), [0.5] * len(nodes), [1.0] * len(nodes))
