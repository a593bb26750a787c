"""The debugger's core property: each step back undoes the step before it, exactly, wherever the numbers come from."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import gradviz
from gradviz import Tensor
from gradviz.debugger.debugger import Debugger
from gradviz.debugger.folding import Fold
from gradviz.debugger.positions import BACKWARD, FORWARD, UPDATE
from gradviz.debugger.timeline import FrameTimeline, timeline
from gradviz.errors import GradvizError, GradvizTypeError, GradvizValueError
from gradviz.graphs import Frame, Graph, Node
from gradviz.graphs.plain import frozen_number, same_bits
from tests.runs import KINDS, recorded
from tests.strategies import computed_frames, frames, frames_with_edges


def moment(d):
    """Return everything that can be seen where the debugger stands."""
    shown = d.frame
    return d.where, d.event.node.name, d.event.value, d.event.grad, shown.values, shown.grads


def same(one, other):
    """Tell whether two moments are the same, to the last bit of every number."""
    return one[:2] == other[:2] and all(
        map(same_bits, (*one[2:4], *one[4], *one[5]), (*other[2:4], *other[4], *other[5]))
    )


def assert_undone(d):
    """Go to the end and back again, and compare."""
    there = [moment(d)]
    while not d.at_end:
        d.step()
        there.append(moment(d))
    back = [moment(d)]
    while not d.at_start:
        d.back()
        back.append(moment(d))
    assert len(there) == len(back)
    assert all(map(same, there, reversed(back)))
    assert [one[0] for one in there] == sorted({one[0] for one in there})
    return there


@given(computed_frames() | frames() | frames_with_edges())
def test_each_step_back_undoes_a_step(frame):
    assume(len(frame.graph))
    there = assert_undone(Debugger(frame))
    assert len(there) == len(frame.graph) + sum(grad is not None for grad in frame.grads)


@given(st.lists(computed_frames() | frames(), min_size=1, max_size=4))
def test_iterations_are_walked_through_like_one(several):
    assume(any(len(frame.graph) for frame in several))
    d = Debugger(several)
    there = assert_undone(d)
    for one in there:
        d.seek(one[0])
        assert same(moment(d), one)


@given(computed_frames(), st.lists(st.integers(-9, 9), max_size=8))
def test_steps_add_up(frame, hops):
    d, single = Debugger(frame), Debugger(frame)
    for n in hops:
        d.step(n)
        for _ in range(abs(n)):
            single.step() if n > 0 else single.back()
        assert d.where == single.where
        assert same(moment(d), moment(single))


@given(computed_frames())
def test_a_moment_is_the_fold_of_the_events_so_far(frame):
    values, grads = [None] * len(frame.graph), [None] * len(frame.graph)
    d = Debugger(frame)
    for event in d:
        if event.phase == FORWARD:
            values[event.node.id] = frame.values[event.node.id]
        elif event.is_seed:
            grads[event.node.id] = frame.grads[event.node.id]
        for part in event.contributions:
            old = grads[part.src]
            grads[part.src] = frozen_number(part.amount if old is None else np.add(old, part.amount))
        assert all(map(same_bits, d.frame.values, values))
        assert all(map(same_bits, d.frame.grads, grads))
        for node in frame.graph:
            assert same_bits(d[node.name].value, values[node.id])
            assert same_bits(d[node.name].grad, grads[node.id])
    if d.where.phase == BACKWARD:
        assert d.frame is d.full


@pytest.mark.parametrize("kind", KINDS)
def test_a_recorded_run_goes_back_as_it_came(kind, tmp_path):
    run = gradviz.open_run(recorded(kind, tmp_path / "run"))
    d = Debugger(run)
    there = assert_undone(d)
    assert {one[0].phase for one in there} == {FORWARD, BACKWARD, UPDATE}
    rng = np.random.default_rng(0)
    for place in rng.permutation(len(there))[:60]:
        d.seek(str(there[place][0]))
        assert same(moment(d), there[place])
    for step in run.steps.tolist():
        whole, frame = d.timeline.steps(step).backward[-1].frame, run.frame(step)
        assert whole == frame
        assert frame.meta["replay"] == "exact"


@pytest.mark.parametrize("kind", KINDS)
def test_an_update_leads_to_the_next_iteration(kind, tmp_path):
    run = gradviz.open_run(recorded(kind, tmp_path / "run"))
    d = Debugger(run)
    for step, following in zip(run.steps.tolist(), run.steps.tolist()[1:], strict=False):
        after = d.timeline.steps(step)[-1].frame
        for node in after.graph.find(kind="param"):
            if node.name in run.frame(following).graph:
                assert same_bits(after.value(node), run.frame(following).value(node.name))
    assert d.timeline.steps(run.steps.tolist()[-1]).updates == ()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["op:mul", "w", "17.b.1", "b.0", "structure", "loss < 0.5", "norm(w.grad) > 0.1"])
def test_running_back_stops_where_running_did(kind, where, tmp_path):
    d = Debugger(gradviz.open_run(recorded(kind, tmp_path / "run")))
    d.break_at(where)
    start, there, end = d.where, stops(d, d.run), d.where
    back = stops(d, d.run_back)
    assert [place for place in there if place != end] == [place for place in reversed(back) if place != start]


@pytest.mark.parametrize("text", ["w", "w.grad", "norm(w.grad)", "loss", "iteration", "phase"])
@pytest.mark.parametrize("kind", ["full", "structures"])
def test_a_watch_goes_back_over_the_same_changes(kind, text, tmp_path):
    d = Debugger(gradviz.open_run(recorded(kind, tmp_path / "run")))
    d.watch(text)
    there, end = stops(d, d.run), d.where
    back = stops(d, d.run_back)
    assert [place for place in there if place != end] == back[::-1]
    assert there
    for position in there:
        d.seek(position)
        assert d.last(text).position == position


def stops(d, move):
    """Return all the places where running stops."""
    found = []
    while True:
        move()
        if d.stop.breakpoint is None:
            return found
        found.append(d.where)


def test_iterations_without_events_are_passed_over():
    empty = Frame(Graph(()), [], [])
    x = Frame(Graph((Node(0, "x", "input", "input"),)), [3.0], [None])
    d = Debugger([empty, x, empty, empty, x, empty])
    assert str(d.where) == "1.f.0"
    assert str(d.step()) == "4.f.0"
    assert d.at_end
    assert str(d.back(5)) == "1.f.0"
    with pytest.raises(GradvizValueError, match="nothing to step through"):
        Debugger(empty)


def test_frames_are_numbered_by_their_steps_or_else_in_order():
    x = Frame(Graph((Node(0, "x", "input", "input"),)), [3.0], [None])
    numbered = [Frame(x.graph, x.values, x.grads, step=step) for step in (3, 8)]
    assert list(FrameTimeline(numbered).iterations) == [3, 8]
    assert list(FrameTimeline(numbered[::-1]).iterations) == [0, 1]
    assert list(FrameTimeline([x, x]).iterations) == [0, 1]


def test_a_tensor_is_stepped_through_before_backward_and_left_alone():
    w = Tensor(3.0)
    loss = w * w
    d = Debugger(loss, params={"w": w, "unused": Tensor([1.0, 2.0])})
    d.step(10)
    assert d["w"].grad == 6.0
    assert w.grad is None
    assert list(d.timeline.absent) == ["unused"]


@pytest.mark.parametrize("x", [Graph(()), [], [1, 2], "w", 3.0, None])
def test_what_has_no_numbers_is_refused(x):
    with pytest.raises((GradvizTypeError, GradvizError)):
        Debugger(x)


def test_updates_are_asked_for_when_they_are_reached():
    asked = []

    def after():
        asked.append(1)
        return {0: 5.0}

    fold = Fold(Frame(Graph((Node(0, "w", "param", "param"),), (0,)), [3.0], [1.0]), after)
    assert fold.value(FORWARD, 0, 0) == 3.0
    assert not asked
    assert fold.value(UPDATE, 0, 0) == 5.0
    assert (fold.frame(UPDATE, 0).values, fold.frame(BACKWARD, 0).values) == ((5.0,), (3.0,))
    assert asked == [1]


def test_timelines_know_names():
    d = Debugger(Tensor(2.0, name="w") * 3.0)
    assert d.timeline.knows("w")
    assert not d.timeline.knows("v")
    assert timeline(d.full).column("loss", "value") is None


def test_the_path_of_a_run_is_not_a_run(tmp_path):
    for path in (tmp_path / "run", "runs/line"):
        with pytest.raises(GradvizTypeError, match="is no history, only its name") as found:
            Debugger(path)
        assert found.value.hint == "give gradviz.open_run(path)"
