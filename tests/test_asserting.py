"""The assertions for tests: what they let pass, and what their messages say."""

import numpy as np
import pytest

import gradviz
from gradviz import (
    Debugger,
    Tensor,
    assert_finite,
    assert_grads,
    assert_reaches,
    assert_same,
    nn,
    open_run,
)
from gradviz.errors import GradientError, GradvizTypeError, UnknownNameError
from tests.hostile import HOSTILE

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
pytest_plugins = "pytester"


@gradviz.register_op(lambda g, y, x: g * 3.0, name="assert_wrong_double")
def wrong_double(x):
    return 2.0 * x


@gradviz.register_op(None, name="assert_silent")
def silent_op(x):
    return x * 1.0


def roots(values):
    return np.sum(np.sqrt(Tensor(values, name="w")))


def record(path, loss, params, *, steps=3, lr=0.1):
    with gradviz.trace(path, params=params) as log:
        for _ in range(steps):
            for p in params.values():
                p.zero_grad()
            value = loss()
            value.backward()
            log.step(value)
            for p in params.values():
                p.data = p.data if p.grad is None else p.data - lr * p.grad
    return open_run(path)


def said(function, *args, **options):
    with pytest.raises(AssertionError) as caught:
        function(*args, **options)
    assert isinstance(caught.value, GradientError)
    return str(caught.value)


# -- finite --------------------------------------------------------------------------------------------


def test_what_is_finite_passes(tmp_path):
    w = Tensor([1.0, 4.0], name="w")
    loss = np.sum(np.sqrt(w))
    assert_finite(loss)
    assert w.grad is None
    loss.backward()
    assert_finite(gradviz.frame(loss))
    assert_finite([gradviz.frame(loss), gradviz.frame(loss)])
    assert_finite(Debugger(loss))
    v = Tensor(1.0, name="v")
    assert_finite(record(tmp_path / "run", lambda: (v - 3.0) ** 2, {"v": v}))


def test_the_message_is_the_blame(tmp_path):
    loss = roots([1.0, -4.0])
    message = said(assert_finite, loss)
    assert message.splitlines()[:3] == str(Debugger(loss).blame()).splitlines()[:3]
    assert "nan: born at 0.f.1 (forward), sqrt_1 = sqrt(w) makes nan at [1]" in message
    assert "test_asserting.py:" in message
    assert "there: w = -4" in message
    assert "np.sqrt(np.maximum(w, 0) + eps)" in message
    loss.backward()
    for x in (gradviz.frame(loss), Debugger(loss), [gradviz.frame(loss)]):
        assert said(assert_finite, x).splitlines()[:3] == message.splitlines()[:3]


def test_only_the_gradient_may_be_infinite():
    assert "inf: born at 0.b.1 (backward)" in said(assert_finite, roots([1.0, 0.0]))


def test_of_a_run_the_iteration_is_named(tmp_path):
    w = Tensor(1.0, name="w")
    run = record(tmp_path / "run", lambda: np.log(w), {"w": w}, lr=1.5)
    assert "born at 1.f" in said(assert_finite, run)
    assert "born at 1.f" in said(assert_finite, Debugger(run))


def test_finite_faults_are_no_matter_here():
    w, v = Tensor(np.ones(3), name="w"), Tensor(1.0, name="v")
    assert_finite(np.sum(w * 0.0) + v)
    assert_finite(np.sum(wrong_double(w)))


@pytest.mark.parametrize("x", [3, "run", None, np.ones(3)])
def test_anything_else_is_refused(x):
    with pytest.raises(GradvizTypeError):
        assert_finite(x)


def test_a_graph_has_no_numbers():
    with pytest.raises(GradvizTypeError, match="no numbers"):
        assert_finite(gradviz.graph(roots([1.0])))


def test_hostile_names_are_escaped():
    for name in HOSTILE:
        assert all(line.isprintable() for line in said(assert_finite, np.log(Tensor(-1.0, name=name))).splitlines())


# -- rules ---------------------------------------------------------------------------------------------


def test_right_rules_pass():
    model = nn.MLP([3, 8, 1], "tanh", rng=0)
    x = Tensor(np.linspace(-1, 1, 12).reshape(4, 3), requires_grad=False)
    assert_grads(np.mean(model(x) ** 2), repeats=2)


def test_the_wrong_rule_is_named():
    w = Tensor([1.0, 2.0], name="w")
    message = said(assert_grads, np.sum(np.sin(wrong_double(w))))
    assert "iteration 0: the rule of assert_wrong_double for argument 0" in message
    assert "test_asserting.py:" in message


def test_tolerances():
    w = Tensor(2.0, name="w")
    said(assert_grads, wrong_double(w))
    assert_grads(wrong_double(w), rtol=0.6)
    assert_grads(wrong_double(w), atol=1.5)


def test_many_wrong_rules_are_counted():
    w = Tensor(1.0, name="w")
    total = w
    for _ in range(9):
        total = total + wrong_double(w)
    assert "... and 4 more" in said(assert_grads, total)


def test_of_a_run_each_op_is_named_once(tmp_path):
    w = Tensor(1.0, name="w")
    run = record(tmp_path / "run", lambda: wrong_double(w) ** 2, {"w": w}, lr=0.01, steps=9)
    assert said(assert_grads, run).count("the rule says") == 1


# -- reaching ------------------------------------------------------------------------------------------


def test_a_gradient_that_arrives():
    w, v = Tensor([1.5, 2.5], name="w"), Tensor(2.0, name="v")
    hidden = np.tanh(w)
    loss = np.sum(hidden * v)
    assert_reaches("w", "loss", loss)
    assert_reaches("w", "hidden", loss)
    assert_reaches("hidden", "loss", loss)
    assert_reaches("v", "loss", Debugger(loss))
    loss.backward()
    assert_reaches("w", "loss", gradviz.frame(loss))


def test_a_gradient_of_zero_arrives():
    w = Tensor([-1.0, -2.0], name="w")
    assert_reaches("w", "loss", np.sum(gradviz.relu(w)))


def test_one_open_path_is_enough():
    w = Tensor([1.5, 2.5], name="w")
    assert_reaches("w", "loss", np.sum(np.round(w) * w))


@pytest.mark.parametrize("step", [np.round, np.sign, np.floor])
def test_a_step_cuts(step):
    w, v = Tensor([1.5, 2.5], name="w"), Tensor(1.0, name="v")
    message = said(assert_reaches, "w", "loss", np.sum(step(w * 2.0)) * v)
    assert "no gradient flows from loss back to w: the derivative of" in message
    assert "step(w * 2.0)" in message


def test_a_node_it_is_not_computed_from():
    w, v = Tensor(1.0, name="w"), Tensor(2.0, name="v")
    left, right = np.sin(w), np.cos(v)
    message = said(assert_reaches, "w", "right", left * right)
    assert message.endswith("back to w: right is not computed from it")


def test_inputs_and_constants_want_none():
    x, w = Tensor(1.0, name="x", requires_grad=False), Tensor(2.0, name="w")
    assert "x is an input" in said(assert_reaches, "x", "loss", x * w)
    fixed = np.sin(w).detach()
    assert "fixed is a constant, made at" in said(assert_reaches, "fixed", "loss", fixed * w)


def test_a_detached_parameter_and_the_line_that_detaches():
    w, v = Tensor(np.ones(2), name="w"), Tensor(np.ones(2), name="v")
    hidden = np.tanh(w * 2.0)
    loss = np.sum(hidden.detach() * v)
    for options in ({}, {"params": {"w": w, "v": v}}):
        message = said(assert_reaches, "w", "loss", loss, **options)
        assert "hidden.detach() at" in message
    assert_reaches("v", "loss", loss)


def test_of_a_run_the_constant_is_found_by_its_value(tmp_path):
    w, v = Tensor(np.ones(2), name="w"), Tensor(np.ones(2), name="v")
    run = record(tmp_path / "run", lambda: np.sum(np.tanh(w).detach() * v * v), {"w": w, "v": v})
    assert "np.tanh(w).detach() at" in said(assert_reaches, "w", "loss", run)
    assert_reaches("v", "loss", run)


def test_an_op_that_sends_nothing():
    w, v = Tensor(1.0, name="w"), Tensor(2.0, name="v")
    loss = silent_op(w) * v
    assert "sends nothing back" in said(assert_reaches, "w", "loss", loss)


def test_names_that_are_not_there():
    w = Tensor(1.0, name="weight")
    loss = w * 2.0
    with pytest.raises(UnknownNameError, match="did you mean weight"):
        assert_reaches("weight", "wieght", loss)
    assert "wieght is not in the graph; did you mean weight?" in said(assert_reaches, "wieght", "loss", loss)
    assert said(assert_reaches, "q", "loss", loss, params={"q": Tensor(5.0)}).endswith("q is not in the graph")


# -- the same ------------------------------------------------------------------------------------------


def fitted(path, start=1.0):
    w = Tensor(start, name="w")
    return record(path, lambda: (w - 3.0) ** 2, {"w": w})


def test_the_same_runs_frames_and_graphs(tmp_path):
    a, b = fitted(tmp_path / "a"), fitted(tmp_path / "b")
    assert_same(a, b)
    assert_same(str(a.path), b)
    assert_same(Debugger(a), Debugger(b))
    assert_same(a.frame(1), b.frame(1))
    assert_same(a.graph, b.graph)
    assert_same(roots([1.0, 2.0]), roots([1.0, 2.0]))


def test_where_two_runs_part(tmp_path):
    a, b = fitted(tmp_path / "a"), fitted(tmp_path / "b", start=1.5)
    message = said(assert_same, a, b)
    assert "they part in step 0, by value of w" in message
    assert said(assert_same, Debugger(a), b) == message


def test_where_two_frames_and_two_graphs_part(tmp_path):
    a, b = fitted(tmp_path / "a"), fitted(tmp_path / "b", start=1.5)
    assert "the first forward is w (param" in said(assert_same, a.frame(0), b.frame(0))
    assert said(assert_same, a.graph, gradviz.graph(np.sin(Tensor(1.0, name="w"))))


def test_things_of_different_kinds(tmp_path):
    with pytest.raises(GradvizTypeError, match="cannot be compared"):
        assert_same(fitted(tmp_path / "a"), roots([1.0]))


# -- in pytest -----------------------------------------------------------------------------------------


def test_pytest_shows_the_message_and_not_our_lines(pytester):
    pytester.makepyfile(
        test_it="""
        import numpy as np
        from gradviz import Tensor, assert_finite

        def test_loss():
            with np.errstate(all="ignore"):
                assert_finite(np.log(Tensor(-1.0, name="w")))
    """
    )
    text = pytester.runpytest_subprocess("-p", "no:cacheprovider").stdout.str()
    assert "born at 0.f.1 (forward)" in text
    assert "asserting.py" not in text
