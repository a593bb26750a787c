"""Every op's rule beside finite differences: the wrong op is named, the right ones are left alone."""

import numpy as np
import pytest

import gradviz
from gradviz import Debugger, Mismatch, Tensor, nn, open_run
from gradviz.debugger.check import check
from gradviz.engine.registry import OPS
from gradviz.errors import GradvizValueError
from gradviz.graphs import Frame

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@gradviz.register_op(lambda g, y, x: g * 2.0 * x, name="check_wrong_square")
def wrong_square(x):
    return x**3


@gradviz.register_op(lambda g, y, a, b: g * b, lambda g, y, a, b: g * b, name="check_wrong_second")
def wrong_second(a, b):
    return a * b


@gradviz.register_op(lambda g, y, x: g.nothing, name="check_raising")
def raising(x):
    return x * 1.0


@gradviz.register_op(lambda g, y, x: g * np.where(x > 0, 1.0, 0.0), name="check_own_relu")
def own_relu(x):
    return np.maximum(x, 0)


def test_the_wrong_op_is_named_with_its_line_and_its_numbers():
    w = Tensor(2.0, name="w")
    (found,) = Debugger(np.sin(wrong_square(w)) * w).check()
    assert isinstance(found, Mismatch)
    assert (found.node.op, found.arg) == ("check_wrong_square", 0)
    assert (found.rule, found.numerical) == (pytest.approx(4.0), pytest.approx(12.0))
    assert found.source.text == "wrong_square(w)"
    assert str(found).startswith(
        "the rule of check_wrong_square for argument 0 of check_wrong_square_1: the rule says 4"
    )
    assert "test_check_rules.py:" in str(found)


def test_the_wrong_argument_is_named():
    a, b = Tensor([1.0, 2.0], name="a"), Tensor([3.0, 5.0], name="b")
    found = Debugger(np.sum(wrong_second(a, b) + a * b)).check()
    assert [(one.node.op, one.arg) for one in found] == [("check_wrong_second", 1)]


def test_an_operand_that_wants_no_gradient_is_not_checked():
    a, b = Tensor([1.0, 2.0], name="a"), Tensor([3.0, 5.0], requires_grad=False)
    assert Debugger(np.sum(wrong_second(a, b))).check() == []


def test_one_node_only():
    w = Tensor(2.0, name="w")
    bad = wrong_square(w)
    good = np.sin(bad)
    debugger = Debugger(good)
    assert debugger.check("good") == []
    assert [one.node.name for one in debugger.check("bad")] == ["bad"]
    with pytest.raises(GradvizValueError, match="'w' is a param: it has no rule"):
        debugger.check("w")


def test_a_rule_that_raises_is_wrong():
    w = Tensor(2.0, name="w")
    loss = raising(w)
    frame = gradviz.frame(loss)
    grads = [1.0, 1.0]
    (found,) = check(Frame(frame.graph, frame.values, grads, frame.edges.having(grads)))
    assert found.rule is None
    assert "the rule raised AttributeError" in found.note
    assert found.is_asked


def test_a_kink_is_no_error():
    x = Tensor([0.0, 1.0, -1.0], name="x")
    assert Debugger(np.sum(own_relu(x) + gradviz.relu(x) + np.abs(x))).check() == []


def test_where_something_is_not_finite_nothing_can_be_compared():
    x = Tensor([1.0, np.nan], name="x")
    assert Debugger(np.sum(wrong_square(x))).check() == []


def test_index_arrays_of_a_live_tensor_are_known_and_of_a_file_are_not():
    w = Tensor([1.0, 0.0, 2.0], name="w")
    loss = np.sum(w[np.array([0, 2])] * np.array([3, 4]))
    assert Debugger(loss).check() == []
    loss.backward()
    (found,) = check(Frame.from_json(gradviz.frame(loss).to_json()), "getitem_1")
    assert not found.is_asked
    assert "was not recorded" in str(found)
    gradviz.assert_grads(Frame.from_json(gradviz.frame(loss).to_json()))


def test_every_op_of_the_package_agrees_on_its_samples():
    rng = np.random.default_rng(0)
    wrong = []
    for op in OPS.values():
        if op.samples is None or not op.forward.__module__.startswith("gradviz."):
            continue
        sample = next(iter(op.samples(rng)))
        function = getattr(gradviz, op.name, None)
        if function is None or getattr(function, "op", None) is not op or op.variadic:
            continue
        args = [Tensor(a) if np.asarray(a).dtype.kind == "f" else a for a in sample.args]
        result = function(*args, **sample.attrs)
        if isinstance(result, Tensor) and result.requires_grad:
            wrong += [str(one) for one in Debugger(np.sum(result)).check()]
    assert wrong == []


def test_a_network_agrees():
    model = nn.MLP([8, 32, 32, 4], "gelu", rng=0)
    x = Tensor(np.random.default_rng(0).normal(size=(16, 8)), requires_grad=False)
    loss = nn.cross_entropy(model(x), np.arange(16) % 4)
    assert Debugger(loss).check(repeats=3) == []


def test_single_precision_has_its_own_tolerance():
    w = Tensor(np.array([0.5, 1.5], np.float32), name="w")
    assert Debugger(np.sum(np.exp(np.sin(w)))).check() == []
    assert Debugger(np.sum(wrong_square(w))).check() != []


def test_it_is_the_same_every_time():
    a, b = Tensor(np.linspace(1, 2, 5), name="a"), Tensor(np.linspace(3, 4, 5), name="b")
    debugger = Debugger(np.sum(wrong_second(a, b)))
    assert list(map(str, debugger.check())) == list(map(str, debugger.check()))


def test_the_iterations_of_a_run(tmp_path):
    w = Tensor(1.5, name="w")
    with gradviz.trace(tmp_path / "run", params={"w": w}) as log:
        for _ in range(5):
            w.zero_grad()
            loss = wrong_square(w) + w
            loss.backward()
            log.step(loss)
            w.data = w.data - 0.01 * w.grad
    found = Debugger(open_run(tmp_path / "run")).blame("wrong")
    assert (found.op, found.iteration, found.phase) == ("check_wrong_square", 0, "backward")
    assert set(found.operands) == {"rule", "finite differences"}
