"""The gradient checker: it passes what is right and names what is wrong, by op and line."""

import inspect

import numpy as np
import pytest

import gradviz
from gradviz import Tensor
from gradviz.engine.checking import gradcheck
from gradviz.engine.differences import numerical_grad
from gradviz.errors import GradientError, GradvizValueError, NonScalarError, ShapeError, UnknownNameError

X = np.linspace(-1, 1, 7)
Y = 2 * X + 1


def fit(w, b):
    return np.mean((w * X + b - Y) ** 2)


def by_hand(w, b):
    error = w * X + b - Y
    return np.mean(2 * error * X), np.mean(2 * error)


def test_three_ways_agree():
    report = gradcheck(fit, {"w": 0.5, "b": 0.1}, formula=by_hand)
    assert report
    assert report.ok
    w, b = report.rows[:2]
    assert (w.kind, w.name, w.shape) == ("input", "w", ())
    assert w.autograd == pytest.approx(w.numerical, rel=1e-8)
    assert b.autograd == pytest.approx(b.by_hand, rel=1e-12)
    assert {row.name for row in report.rows[2:]} >= {"mul", "add", "sub", "pow", "mean"}
    report.raise_if_wrong()


def test_the_table_shows_the_ways_side_by_side():
    text = str(gradcheck(fit, {"w": 0.5, "b": 0.1}, formula=by_hand))
    assert text.splitlines()[0].startswith("gradcheck of fit: all agree (2 inputs, ")
    assert text.splitlines()[2].split() == ["input", "autograd", "finite", "differences", "by", "hand", "difference"]
    assert "w * X" in text


def test_a_wrong_formula_is_found():
    report = gradcheck(fit, {"w": 0.5, "b": 0.1}, formula={"w": lambda w, b: 1.0})
    assert not report
    assert [row.name for row in report.wrong] == ["w"]
    assert "by hand 1" in str(report)
    with pytest.raises(GradientError, match="1 WRONG"):
        report.raise_if_wrong()
    with pytest.raises(AssertionError):
        report.raise_if_wrong()


def test_a_wrong_rule_is_named_with_its_line(own_op):
    @own_op(lambda g, y, x: g * 2 * x**2)
    def bad_cube(x):
        return x**3

    def f(x):
        return np.sin(bad_cube(x)).sum()

    report = gradcheck(f, np.array([1.0, 2.0]))
    wrong = [row for row in report.wrong if row.kind == "node"]
    assert [(row.name, row.arg, row.text) for row in wrong] == [("bad_cube", 0, "bad_cube(x)")]
    assert wrong[0].file == __file__
    assert wrong[0].line == inspect.getsourcelines(f)[1] + 1
    assert f"bad_cube for operand 0 in `bad_cube(x)` at {__file__}:{wrong[0].line}" in str(report)


def test_a_rule_of_one_operand_that_is_wrong_is_told_from_the_right_one(own_op):
    @own_op(lambda g, y, a, b: g * b, lambda g, y, a, b: g)
    def bad_product(a, b):
        return a * b

    report = gradcheck(bad_product, {"a": 2.0, "b": 3.0})
    assert [(row.name, row.arg) for row in report.wrong if row.kind == "node"] == [("bad_product", 1)]
    assert [row.name for row in report.wrong if row.kind == "input"] == ["b"]


def test_a_rule_that_raises_or_gives_nothing_is_wrong(own_op):
    @own_op(lambda g, y, x: g.no_such_thing)
    def raising(x):
        return x * 1

    @own_op(None)
    def silent(x):
        return x * 2

    report = gradcheck(raising, 2.0)
    assert "AttributeError" in report.wrong[0].note
    assert "the rule raised AttributeError" in report.wrong[-1].note
    assert not gradcheck(silent, 2.0)


def test_a_wrong_rule_far_from_the_output_of_a_long_program(own_op):
    @own_op(lambda g, y, x: g * np.cos(x) * 1.001)
    def almost_sine(x):
        return np.sin(x)

    def f(x):
        y = almost_sine(x)
        for _ in range(50):
            y = np.tanh(y * 1.1 + 0.01)
        return y

    report = gradcheck(f, 0.3)
    assert {row.name for row in report.wrong if row.kind == "node"} == {"almost_sine"}
    assert "×50" in str(report)


def test_kinks_are_told():
    assert "at a kink: slopes -1 and 1" in str(gradcheck(abs, 0.0))
    report = gradcheck(lambda x: np.maximum(x, 0.0).sum(), np.array([0.0, 1.0, -1.0]))
    assert report.ok
    assert "at a kink" in report.rows[0].note
    assert gradcheck(gradviz.relu, 0.0).ok
    assert "kink" not in str(gradcheck(abs, 1e-3))
    assert "kink" not in str(gradcheck(lambda x: np.tanh(1000 * x), 1e-4))


def test_a_gradient_outside_of_the_two_slopes_is_wrong(own_op):
    @own_op(lambda g, y, x: g * np.where(np.asarray(x) >= 0, 2.0, -1.0))
    def bent(x):
        return np.abs(x)

    report = gradcheck(bent, 0.0)
    assert not report.ok
    assert "at a kink" in report.rows[0].note


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (np.log, 1e-7),
        (np.log, 1e7),
        (np.exp, 20.0),
        (np.sqrt, 0.0),
        (lambda x: x * 1e12, 1.0),
        (lambda x: x + 1e9, 2.0),
        (lambda x: 1 / x, 1e-5),
        (lambda x: x**3, 1e4),
        (lambda x: np.sin(300 * x), 0.7),
        (np.tan, 1.57),
        (lambda x: x * 0, 5.0),
        (np.prod, np.array([0.0, 2.0, 3.0])),
        (lambda x: x, np.zeros((0, 2))),
        (lambda x: x[::-1], np.arange(4.0)),
    ],
)
def test_no_false_alarm(f, x):
    report = gradcheck(f, x)
    assert report.ok, str(report)


def test_forms_of_inputs():
    assert gradcheck(lambda x: x * x, 3).ok
    assert gradcheck(lambda x, y: x @ y, [np.ones((2, 3)), np.arange(3.0)]).ok
    t = Tensor([1.0, 2.0], name="t")
    t.grad = np.ones(2)
    report = gradcheck(lambda x: (x * x).sum(), t)
    assert report.rows[0].name == "t"
    assert np.array_equal(t.grad, [1, 1])
    labels = np.array([0, 1])
    report = gradcheck(lambda x, i: x[i].sum(), {"x": np.ones(3), "i": labels})
    assert [row.name for row in report.rows if row.kind == "input"] == ["x"]


def test_tensors_that_the_function_closes_over_are_left_alone():
    w = Tensor([1.0, 2.0])
    assert gradcheck(lambda x: (w * x * x).sum(), np.array([3.0, 4.0])).ok
    assert w.grad is None


def test_what_cannot_be_checked_is_said():
    rng = np.random.default_rng(0)
    with pytest.raises(GradvizValueError, match="for the same inputs"):
        gradcheck(lambda x: x * rng.normal(), 1.0)
    with pytest.raises(ShapeError, match="the formula for x"):
        gradcheck(lambda x: x.sum(), np.ones(3), formula=lambda x: 1.0)
    with pytest.raises(UnknownNameError, match="did you mean bias"):
        gradcheck(lambda weight, bias: weight * bias, [1.0, 1.0], formula={"bais": lambda w, b: 1.0})


def test_every_operator_form_is_checked_as_it_runs():
    """The rules of operators on floats, numbers and arrays are separate code: break one, and it is found."""
    from gradviz.engine import forms

    right = forms.POW_NUMBER.pull
    forms.POW_NUMBER.pull = lambda node, g: forms.give(node._a, g)
    try:
        report = gradcheck(lambda x: x**2, 3.0)
    finally:
        forms.POW_NUMBER.pull = right
    assert [row.name for row in report.wrong] == ["x", "pow"]
    assert gradcheck(lambda x: x**2, 3.0).ok


def test_numerical_grad():
    assert numerical_grad(lambda x: x**3, 2) == pytest.approx(12.0, rel=1e-9)
    assert numerical_grad(lambda x: np.sum(x**2), np.array([[1.0, 2.0]])) == pytest.approx(np.array([[2.0, 4.0]]))
    assert numerical_grad(lambda p: p["a"] * p["b"], {"a": 2.0, "b": 3.0}) == pytest.approx({"a": 3.0, "b": 2.0})
    assert numerical_grad(lambda t: t.relu().sum(), Tensor([1.0, -1.0])) == pytest.approx([1.0, 0.0])
    assert numerical_grad(np.log, 1e-8) == pytest.approx(1e8, rel=1e-5)
    assert numerical_grad(lambda x: x * x, 1e8) == pytest.approx(2e8, rel=1e-6)
    assert numerical_grad(lambda x: x * x, 3.0, eps=0.5) == pytest.approx(6.0)
    with pytest.raises(NonScalarError):
        numerical_grad(lambda x: x * 2, np.ones(2))


def test_numerical_grad_calls_with_copies():
    x = np.array([1.0, 2.0])

    def f(v):
        v[0] = 0
        return v.sum()

    assert numerical_grad(f, x) == pytest.approx([0.0, 1.0])
    assert np.array_equal(x, [1.0, 2.0])
