"""A gradient as a sum: whichever way it is taken apart, the terms add up, and the largest are the largest."""

import math
import time

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gradviz import Tensor
from gradviz.debugger.debugger import Debugger
from gradviz.debugger.why import WAYS, why
from gradviz.errors import GradvizError, GradvizTypeError, GradvizValueError, UnknownNameError
from gradviz.graphs import EdgeTable, Frame, Graph, Node
from gradviz.sources import own
from tests.strategies import computed_frames

UNARY = [np.sin, np.tanh, lambda x: x * x, lambda x: -x, lambda x: x * 0.3]
BINARY = [lambda x, y: x * y, lambda x, y: x + y, lambda x, y: x - y]


def paths_of(frame, target):
    """Return every path from a node to the results, edge by edge, by plain recursion, with what it brings."""
    found = []

    def go(node, path, weight):
        if node in frame.graph.outputs:
            found.append((path, weight))
        for dst in frame.graph.consumers(node):
            for arg, src in enumerate(frame.graph.nodes[dst].inputs):
                if src == node and frame.grads[dst] is not None and frame.local(src, dst, arg) is not None:
                    go(dst, (*path, dst), weight * frame.local(src, dst, arg))

    go(target, (target,), 1.0)
    return found


@st.composite
def scalar_frames(draw):
    """Draw the frame of a program of scalars, after backward()."""
    made = [Tensor(draw(st.floats(-2, 2, allow_subnormal=False)), name=f"p{i}") for i in range(2)]
    for _ in range(draw(st.integers(1, 8))):
        if draw(st.booleans()):
            made.append(draw(st.sampled_from(UNARY))(draw(st.sampled_from(made))))
        else:
            made.append(draw(st.sampled_from(BINARY))(draw(st.sampled_from(made)), draw(st.sampled_from(made))))
    made[-1].backward()
    return own.frame(made[-1])


@st.composite
def array_frames(draw):
    """Draw the frame of a program of arrays, with broadcasting, products and sums, after backward()."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    x = rng.normal(size=(4, 3))
    made = [Tensor(rng.normal(size=shape), name=f"p{i}") for i, shape in enumerate([(3, 3), (3,), (), (1, 3)])]
    h = x @ made[0]
    for _ in range(draw(st.integers(0, 5))):
        other = draw(st.sampled_from([*made[1:], h]))
        h = draw(st.sampled_from(BINARY))(h, other) if draw(st.booleans()) else draw(st.sampled_from(UNARY))(h)
        h = h @ made[0] if draw(st.booleans()) else h
    loss = draw(st.sampled_from([np.sum, np.mean]))(h * h)
    loss.backward()
    return own.frame(loss)


def assert_sum(found):
    """Check the sum of a Why by hand: shown terms and the rest make the gradient."""
    assert found.adds_up, str(found)
    total = sum((term.value for term in found), np.zeros(np.shape(found.grad))) + found.rest
    np.testing.assert_allclose(total, found.grad, rtol=1e-9, atol=1e-9 * max([1.0, *(t.size for t in found)]))
    sizes = [term.size for term in found]
    assert sizes == sorted(sizes, reverse=True)


@given(scalar_frames() | array_frames(), st.sampled_from(["edges", "paths", "elements"]), st.integers(0, 6))
def test_terms_add_up(frame, by, k):
    for node in frame.graph:
        if frame.grad(node) is not None:
            found = why(frame, node.name, by, k)
            assert len(found) == min(k, found.count)
            assert_sum(found)


@given(computed_frames(), st.sampled_from(["edges", "paths", "elements"]))
def test_terms_of_any_graph_add_up_even_with_several_results(frame, by):
    for node in frame.graph:
        if frame.grad(node) is not None:
            assert why(frame, node.id, by, 100).adds_up


@given(array_frames())
def test_samples_add_up(frame):
    assert_sum(why(frame, "p0", "samples", 9))


@given(scalar_frames())
def test_paths_are_those_there_are_and_the_largest_come_first(frame):
    for node in frame.graph:
        if frame.grad(node) is None:
            continue
        wanted = paths_of(frame, node.id)
        found = why(frame, node.name, "paths", 4)
        assert found.count == len(wanted)
        sizes = sorted((abs(weight) for _, weight in wanted), reverse=True)[:4]
        np.testing.assert_allclose([term.size for term in found], sizes, rtol=1e-7, atol=1e-300)
        assert {term.nodes for term in found} <= {path for path, _ in wanted}
        assert not found.note


@settings(max_examples=30)
@given(array_frames())
def test_of_arrays_the_largest_come_first_too_unless_said_otherwise(frame):
    every = why(frame, "p0", "paths", 10_000)
    assume(every.count < 500)
    found = why(frame, "p0", "paths", 3)
    if not found.note:
        np.testing.assert_allclose([t.size for t in found], [t.size for t in every][: len(found)], rtol=1e-6)


def test_a_thousand_diamonds():
    w = Tensor(1.0, name="w")
    x = w
    for i in range(1000):
        x = x * 0.5 + x * (0.5 if i else 0.25)
    x.backward()
    frame = own.frame(x)
    began = time.process_time()
    found = why(frame, "w", "paths", 3)
    print(f"why by paths, 2**1000 of them in {len(frame.graph):,} nodes: {time.process_time() - began:.2f} s")
    assert found.count == 2**1000
    assert [term.value for term in found] == [0.5**1000] * 3
    assert "sum over about 10^301 paths" in str(found)
    assert len({term.nodes for term in found}) == 3
    assert found.adds_up


def test_more_paths_than_a_float_can_count():
    w = Tensor(1.0, name="w")
    x = w
    for _ in range(20_000 // 2):
        x = x + x
    frame = own.frame(x * 0.0)
    small = Frame(frame.graph, frame.values, [1.0] * len(frame.graph), frame.edges)
    found = why(small, "w", "paths", 1)
    assert found.count == 2**10_000
    assert "about 10^3010" in str(found)


@pytest.mark.parametrize("by", ["edges", "paths", "elements"])
def test_ten_thousand_ops(by):
    w, b = Tensor(0.5, name="w"), Tensor(0.1, name="b")
    x = w
    for _ in range(3333):
        x = np.tanh(x * w + b)
    x.backward()
    frame = own.frame(x)
    assert len(frame.graph) > 9_999
    began = time.process_time()
    found = why(frame, "w", by)
    taken = time.process_time() - began
    print(f"why by {by} at {len(frame.graph):,} nodes: {taken:.3f} s")
    assert found.adds_up
    assert found.count == {"edges": 3334, "paths": 3334, "elements": 3334}[by]


def test_the_article():
    x = Tensor(3.0, name="x")
    y = x * x
    y.backward()
    found = why(own.frame(y), "x")
    assert [term.value for term in found] == [3.0, 3.0]
    assert [term.value for term in why(own.frame(y), "x", "paths")] == [3.0, 3.0]
    assert str(why(own.frame(y), "y")).splitlines()[1:] == [
        "             1  the seed: this is the result itself", "  they add up exactly",
    ]  # fmt: skip


def test_samples_of_a_batch():
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(100, 3)), Tensor(rng.normal(size=3), name="w")
    loss = np.mean((x @ w - 1.0) ** 2)
    loss.backward()
    found = why(own.frame(loss), "w", "samples", 100)
    assert found.count == 100
    errors = x @ w.data - 1.0
    for term in found:
        np.testing.assert_allclose(term.value, 2 * errors[term.index[0]] * x[term.index[0]] / 100)
    assert "taken apart at" in found.note
    assert "they add up" in str(found)
    with pytest.raises(GradvizValueError, match="no reduction over a batch"):
        why(_backward(Tensor(2.0, name="v") * 2.0), "v", "samples")


def _backward(x):
    x.backward()
    return own.frame(x)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_gradients_that_are_not_finite_are_compared_where_they_are(value):
    w = Tensor([1.0, 2.0], name="w")
    frame = _backward(np.sum(w * np.array([value, 3.0])))
    for by in ("edges", "paths", "elements", "samples"):
        found = why(frame, "w", by)
        assert found.adds_up
        assert found.apart == 0.0


def test_a_wrong_sum_is_told():
    nodes = Node(0, "x", "param", "param"), Node(1, "y", "neg", "op", (0,))
    for grad in (-1.5, math.nan, -1.0 + 1e-6):
        frame = Frame(Graph(nodes, (1,)), [3.0, -3.0], [grad, 1.0], EdgeTable({(0, 1, 0): -1.0}, {(0, 1, 0): -1.0}))
        for by in ("edges", "paths", "elements"):
            found = why(frame, "x", by, 0)
            assert not found.adds_up
            assert "THEY DO NOT ADD UP" in str(found)
            assert "was there before" in found.note
    tiny = Frame(Graph(nodes, (1,)), [3.0, -3.0], [2e-30, 1e-30], EdgeTable({(0, 1, 0): 1e-30}, {(0, 1, 0): 1.0}))
    assert not why(tiny, "x").adds_up


def test_two_backward_passes():
    w = Tensor(2.0, name="w")
    (w * 3.0).backward()
    y = w * 5.0
    y.backward()
    found = why(own.frame(y), "w")
    assert (found.grad, found[0].value, found.adds_up) == (8.0, 5.0, False)
    assert "a gradient that was there before stays in the sum" in found.note


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_short_numbers_round_more(dtype):
    rng = np.random.default_rng(2)
    w = Tensor(rng.normal(size=(6, 6)).astype(dtype), name="w")
    frame = _backward(np.sum(np.tanh(w @ w) * w))
    for by in WAYS:
        assert why(frame, "w", by, 4).adds_up


def test_complex_gradients():
    nodes = Node(0, "x", "param", "param", (), (2,), "complex128"), Node(1, "y", "neg", "op", (0,), (2,), "complex128")
    slope, up = np.array([2j, 1.0]), np.array([1.0 + 1j, 1.0])
    table = {(0, 1, 0): slope}
    frame = Frame(Graph(nodes, (1,)), [slope, slope], [slope * up, up], EdgeTable({(0, 1, 0): slope * up}, table))
    for by in ("edges", "paths", "elements"):
        found = why(frame, "x", by)
        assert found.adds_up
        assert found[0].size == pytest.approx({"elements": math.sqrt(8)}.get(by, 3.0))


def test_where_there_is_nothing_to_say():
    w = Tensor(2.0, name="w")
    frame = _backward(w * Tensor(3.0, requires_grad=False, name="x"))
    with pytest.raises(GradvizValueError, match="no gradient has reached 'x'"):
        why(frame, "x")
    with pytest.raises(UnknownNameError, match="did you mean"):
        why(frame, "w", "path")
    with pytest.raises(UnknownNameError):
        why(frame, "v")
    with pytest.raises(GradvizValueError, match="what its edges contribute"):
        why(Frame(frame.graph, frame.values, frame.grads), "w")
    for k in (-1, 2.5):
        with pytest.raises(GradvizError, match="number of terms"):
            why(frame, "w", k=k)
    with pytest.raises(GradvizTypeError):
        why(frame, 1.5)


def test_an_edge_that_passes_nothing_is_no_path():
    w = Tensor(2.0, name="w")
    found = why(_backward(w * w.detach() + w), "w", "paths")
    assert (found.count, found.grad, found.adds_up) == (2, 3.0, True)


def test_at_the_prompt_of_the_debugger():
    a, b = Tensor(2.0, name="a"), Tensor(3.0, name="b")
    d = Debugger(a * b + a)
    assert [term.value for term in d.why("a")] == [3.0, 1.0]
    d.step(100)
    assert d.why().name == "a"
