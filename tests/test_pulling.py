"""Gradients pulled down a graph: for every op of the engine the bounds hold and the terms add up."""

import numpy as np
import pytest

from gradviz import Tensor
from gradviz.debugger.debugger import Debugger
from gradviz.debugger.pulling import Paths, _gain, norm, pulled, seed_of, sent
from gradviz.debugger.why import why
from gradviz.engine.recording import apply
from gradviz.engine.tensor import constant_of
from gradviz.errors import GradvizValueError
from gradviz.graphs import Frame, Graph, Node
from gradviz.sources import own
from tests.sweeps import own_ops, samples_of


def frames_of(op):
    """Yield the frame of the sum of weighted results of an op, for each of its samples."""
    for number, sample in enumerate(samples_of(op)):
        rng = np.random.default_rng(number)
        real = [np.asarray(x).dtype.kind == "f" and op.vjp(i) is not None for i, x in enumerate(sample.args)]
        args = [Tensor(x, name=f"x{i}") if real[i] else constant_of(x) for i, x in enumerate(sample.args)]
        if not any(real):
            continue
        y = apply(op, tuple(args), sample.attrs or None)
        if np.asarray(y.data).dtype.kind != "f":
            continue
        loss = np.sum(y * rng.normal(size=y.shape))
        if loss.requires_grad:
            loss.backward()
            yield own.frame(loss)


@pytest.mark.parametrize("name", sorted(own_ops()))
def test_of_every_op_the_bounds_hold_and_the_terms_add_up(name):
    rng = np.random.default_rng(0)
    for frame in frames_of(own_ops()[name]):
        node = next(n for n in frame.graph if n.op == name)
        for arg, src in enumerate(node.inputs):
            if frame.grads[src] is None or sent(frame, node.id, arg, frame.grads[node.id]) is None:
                continue
            gain, is_bound = _gain(frame, src, node.id, arg, frame.local(src, node.id, arg))
            for _ in range(5 if is_bound else 0):
                g = rng.normal(size=node.shape).astype(node.dtype)
                given = float(g) if g.shape == () else g
                assert norm(sent(frame, node.id, arg, given)) <= gain * norm(given) * (1 + 1e-5)
        for leaf in (n for n in frame.graph if n.kind == "param" and frame.grads[n.id] is not None):
            for by in ("edges", "paths", "elements"):
                found = why(frame, leaf.id, by)
                assert found.adds_up, str(found)


@pytest.mark.parametrize("name", sorted(own_ops()))
def test_through_every_op_one_can_step_there_and_back(name):
    for frame in frames_of(own_ops()[name]):
        d = Debugger(frame)
        there = [(d.where, event.frame) for event in d]
        for position, shown in reversed(there):
            assert (d.where, d.frame) == (position, shown)
            d.back()
        assert there[-1][1] == frame


def test_what_arrives_of_a_gradient():
    x = Tensor([1.0, 2.0], name="x")
    y = x * 3.0
    loss = np.sum(y * y)
    loss.backward()
    frame = own.frame(loss)
    at = frame.graph.index
    half = pulled(frame, {at("y"): np.array([1.0, 0.0])}, at("x"))
    assert half.tolist() == [3.0, 0.0]
    assert pulled(frame, {at("y"): np.ones(2), at("x"): np.ones(2)}, at("x")).tolist() == [4.0, 4.0]
    assert pulled(frame, {}, at("x")) is None
    assert pulled(frame, {at("x"): 1.0}, at("y")) is None
    assert seed_of(frame, at("loss")) == 1.0
    assert np.array_equal(seed_of(frame, at("y")), np.zeros(2))


def test_a_rule_that_is_not_known():
    class Amounts:
        def local(self, src, dst, arg):
            return None

        def grad(self, src, dst, arg):
            return 5.0

    nodes = Node(0, "x", "param", "param"), Node(1, "y", "mystery", "op", (0,))
    frame = Frame(Graph(nodes, (1,)), [1.0, 2.0], [5.0, 1.0], Amounts())
    assert why(frame, "x").adds_up
    with pytest.raises(GradvizValueError, match="rule of 'y' is not known"):
        why(frame, "x", "paths")
    assert Paths(frame, 0).note


def test_norms():
    assert norm(-3.0) == 3.0
    assert norm(np.array([[3, 4j]])) == 5.0
    assert norm(np.zeros(0)) == norm(np.zeros(3)) == 0.0
    assert norm(np.full(4, 1e200)) == pytest.approx(2e200)
    assert norm(np.full(4, 1e-200)) == pytest.approx(2e-200)
    assert norm(np.array([1.0, np.inf])) == np.inf
    assert np.isnan(norm(np.array([1.0, np.nan])))
