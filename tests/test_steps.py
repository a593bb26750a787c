"""The steps of a computation: what they say is exactly what changes between their frames."""

import numpy as np
import pytest
from hypothesis import given

import gradviz
from gradviz import Tensor, draw
from gradviz.debugger.events import Steps, steps
from gradviz.errors import GradvizTypeError
from gradviz.escape import clean
from gradviz.graphs import EdgeTable, Frame, Graph, Node
from gradviz.graphs.plain import frozen_number, same_bits
from tests.strategies import computed_frames, frames


def article():
    """The frame of c = a * b; e = sin(c) at a = 2, b = 3, with the cosine rounded to 1."""
    nodes = (
        Node(0, "a", "param", "param"),
        Node(1, "b", "param", "param"),
        Node(2, "c", "mul", "op", (0, 1), symbol="*", formulas=("{1}", "{0}")),
        Node(3, "e", "sin", "op", (2,), symbol="sin", formulas=("cos({0})",)),
    )
    local = {(0, 2, 0): 3.0, (1, 2, 1): 2.0, (2, 3, 0): 1.0}
    return Frame(Graph(nodes, (3,)).check(), [2.0, 3.0, 6.0, 0.0], [3.0, 2.0, 1.0, 1.0], EdgeTable(local, local))


def test_lines_tell_the_story():
    assert str(steps(article())).splitlines() == [
        "forward 0: a = 2 (param)",
        "forward 1: b = 3 (param)",
        "forward 2: c = a * b = 6",
        "forward 3: e = sin(c) = 0",
        "backward 0: d/d(e) = 1 (seed); d/d(c) += d(e)/d(c) * d/d(e) = 1 * 1 = 1",
        "backward 1: d/d(a) += d(c)/d(a) * d/d(c) = 3 * 1 = 3; d/d(b) += d(c)/d(b) * d/d(c) = 2 * 1 = 2",
        "backward 2: d/d(b) = 2 (complete)",
        "backward 3: d/d(a) = 3 (complete)",
    ]


def test_a_tensor_steps_like_its_frame():
    a, b = gradviz.Tensor(2.0), gradviz.Tensor(3.0)
    c = a * b + a
    c.backward()
    walk = steps(c)
    assert walk[-1].frame == gradviz.frame(c)
    assert [part.amount for part in walk.backward[0].contributions] == [1.0, 1.0]
    assert [step.frame.grad("a") for step in walk.backward] == [1.0, 4.0, 4.0, 4.0]
    assert str(walk[2]) == "forward 2: mul_1 = a * b = 6"


def test_steps_of_arrays_add_up_too():
    w = gradviz.Tensor(np.arange(6.0).reshape(3, 2))
    loss = np.sum(np.tanh(np.ones((4, 3)) @ w) * w[0] + w[1])
    loss.backward()
    for step in steps(loss).backward:
        assert step.frame.grad(step.node) is step.grad
    sums = [part.amount for step in steps(loss).backward for part in step.contributions if part.src == 0]
    assert len(sums) == 3
    np.testing.assert_allclose(sum(sums), w.grad)


def test_fields_of_a_step():
    walk = steps(article())
    assert (len(walk), len(walk.forward), len(walk.backward)) == (8, 4, 4)
    product, back = walk[2], walk[5]
    assert (product.index, product.number, product.phase, product.value, product.grad) == (2, 2, "forward", 6.0, None)
    assert (back.index, back.number, back.phase, back.node.name, back.grad) == (5, 1, "backward", "c", 1.0)
    assert product.contributions == ()
    assert product.highlight == (2,)
    assert product.pending == (3,)
    first = back.contributions[0]
    assert (first.src, first.dst, first.arg, first.local, first.upstream, first.amount) == (0, 2, 0, 3.0, 1.0, 3.0)
    assert first.formula == "b"
    assert walk[4].pending == (0, 1)
    assert back.pending == ()
    assert repr(walk[2]) == "Step(forward 2: c = a * b = 6)"
    assert repr(walk) == "Steps(4 forward, 4 backward)"


def test_a_sequence_like_any_other():
    walk = steps(article())
    assert walk[-1].index == 7
    assert [step.index for step in walk[1:8:3]] == [1, 4, 7]
    assert [step.index for step in walk] == list(range(8))
    with pytest.raises(IndexError, match="no step 8"):
        walk[8]
    assert steps(walk) is walk
    assert steps(walk[2]).full == walk[2].frame


def test_gradients_build_up_edge_by_edge():
    nodes = (
        Node(0, "w", "param", "param"),
        Node(1, "p", "mul", "op", (0, 0)),
        Node(2, "q", "mul", "op", (0, 1)),
        Node(3, "s", "add", "op", (1, 2)),
    )
    table = {(0, 1, 0): 8.0, (0, 1, 1): 8.0, (0, 2, 0): 4.0, (1, 2, 1): 2.0, (1, 3, 0): 1.0, (2, 3, 1): 1.0}
    local = {(0, 1, 0): 2.0, (0, 1, 1): 2.0, (0, 2, 0): 4.0, (1, 2, 1): 2.0, (1, 3, 0): 1.0, (2, 3, 1): 1.0}
    frame = Frame(Graph(nodes, (3,)), [2.0, 4.0, 8.0, 12.0], [20.0, 3.0, 1.0, 1.0], EdgeTable(table, local))
    walk = steps(frame)
    assert [step.frame.grads for step in walk.backward] == [
        (None, 1.0, 1.0, 1.0),
        (4.0, 3.0, 1.0, 1.0),
        (20.0, 3.0, 1.0, 1.0),
        (20.0, 3.0, 1.0, 1.0),
    ]
    assert "(argument 0)" in str(walk[6])
    arrived = walk[5].frame
    assert arrived.edge_grad("w", "q", 0) == 4.0
    assert arrived.edge_grad("w", "p", 0) is None
    assert walk[0].frame.local("w", "p", 0) is None
    assert walk[1].frame.local("w", "p", 0) == 2.0


def test_a_frame_without_edge_numbers_still_steps():
    frame = article()
    walk = steps(Frame(frame.graph, frame.values, frame.grads))
    assert str(walk[4]) == "backward 0: d/d(e) = 1 (seed); d/d(c) += d(e)/d(c) * d/d(e)"
    assert walk[4].contributions[0].amount is None
    assert walk[4].frame.grads == (None, None, 1.0, 1.0)


def test_a_gradient_of_an_earlier_pass_is_said_to_be_one():
    frame = article()
    walk = steps(Frame(frame.graph, frame.values, [7.0, None, None, None], frame.edges))
    assert [str(step) for step in walk.backward] == ["backward 0: d/d(a) = 7 (from an earlier pass)"]


def test_no_gradient_no_backward_phase():
    frame = article()
    walk = steps(Frame(frame.graph, frame.values, [None] * 4))
    assert walk.backward == ()
    assert walk[-1].frame is walk.full


def test_what_has_no_numbers_is_refused():
    with pytest.raises(GradvizTypeError, match="no numbers"):
        steps(article().graph)


def test_a_long_chain_steps_without_recursion():
    size = 20_000
    chain = [Node(0, "x", "input", "input")] + [Node(i, f"n{i}", "neg", "op", (i - 1,)) for i in range(1, size)]
    walk = steps(Frame(Graph(tuple(chain), (size - 1,)), [1.0] * size, [1.0] * size))
    middle = walk[size + size // 2].frame
    assert sum(grad is None for grad in middle.grads) == size - size // 2 - 2
    assert len(walk) == 2 * size
    assert walk[-1].frame is walk.full


@given(frames() | computed_frames())
def test_the_last_frame_is_the_whole_frame(frame):
    walk = steps(frame)
    assert len(walk) == len(frame.graph) + sum(grad is not None for grad in frame.grads)
    assert not walk or walk[-1].frame == frame


@given(frames() | computed_frames())
def test_every_step_is_one_printable_line_with_what_is_missing_pale(frame):
    for step in steps(frame):
        assert clean(str(step), None) == str(step)
        now, full = (step.frame.values, frame.values) if step.phase == "forward" else (step.frame.grads, frame.grads)
        hidden = {i for i in range(len(now)) if now[i] is None and full[i] is not None}
        assert hidden <= set(step.pending)
        assert step.phase == "forward" or hidden == set(step.pending)


@given(computed_frames())
def test_forward_steps_bring_one_value_each(frame):
    for step in steps(frame).forward[:-1]:
        shown = step.frame
        assert all(map(same_bits, shown.values[: step.index + 1], frame.values))
        assert set(shown.values[step.index + 1 :]) <= {None}
        assert set(shown.grads) == {None}


@given(computed_frames())
def test_contributions_add_up_to_the_gradient(frame):
    sums = [None] * len(frame.graph)
    for step in steps(frame).backward:
        for part in step.contributions:
            assert same_bits(part.amount, frame.edge_grad(part.src, part.dst, part.arg))
            assert same_bits(part.upstream, step.grad)
            sums[part.src] = part.amount if sums[part.src] is None else np.add(sums[part.src], part.amount)
    for i, grad in enumerate(frame.grads):
        if i not in frame.graph.outputs:
            assert same_bits(frozen_number(sums[i]), grad)


@given(computed_frames())
def test_each_backward_step_changes_exactly_what_it_says(frame):
    before = [None] * len(frame.graph)
    for step in steps(frame).backward:
        expected = list(before)
        if step.is_seed:
            expected[step.node.id] = frame.grads[step.node.id]
        for part in step.contributions:
            old = expected[part.src]
            expected[part.src] = frozen_number(part.amount if old is None else np.add(old, part.amount))
        assert all(map(same_bits, step.frame.grads, expected))
        before = expected
    assert all(map(same_bits, before, frame.grads))


@given(computed_frames())
def test_steps_come_in_topological_order_and_back(frame):
    walk = steps(frame)
    assert [step.node.id for step in walk.forward] == list(range(len(frame.graph)))
    back = [step.node.id for step in walk.backward]
    assert (
        back
        == sorted(back, reverse=True)
        == [i for i in reversed(range(len(frame.graph))) if frame.grad(i) is not None]
    )


@given(computed_frames())
def test_frames_do_not_depend_on_the_order_of_asking(frame):
    walk = steps(frame)
    there = [step.frame for step in walk]
    again = [step.frame for step in reversed(Steps(frame))]
    assert there == again[::-1]


def test_the_way_back_is_shown_before_backward_was_called():
    x, w = Tensor([1.0, 2.0], requires_grad=False), Tensor(3.0)
    loss = (np.sin(w * x) * w).sum()
    walk = steps(loss)
    assert (w.grad, loss.grad) == (None, None)
    loss.backward()
    done = steps(loss)
    assert [str(step) for step in walk] == [str(step) for step in done]
    assert walk.full.grad("w") == w.grad
    assert walk.full.grad("x") is None


def test_no_way_back_is_made_up():
    assert steps(Tensor([1.0, 2.0]) * 2).backward == ()
    assert steps(Tensor(2.0, requires_grad=False) * 2).backward == ()


def test_a_step_of_a_long_loop_is_folded_into_what_is_done_and_what_is_to_come():
    y = x = Tensor(0.5)
    for _ in range(1000):
        y = np.sin(y) + x
    step = steps(y)[1000]
    picture = draw(step)
    assert len(picture.frame.graph) < 10
    (here,) = picture.options.highlight
    assert picture.frame.graph.nodes[here].name == step.node.name
    assert picture.options.pending
