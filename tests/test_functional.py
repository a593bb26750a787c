"""Gradients of functions: nesting, forms of arguments, and nothing left behind."""

from collections import namedtuple

import numpy as np
import pytest

from gradviz import Tensor, constant, no_grad, scope
from gradviz.engine import modes
from gradviz.engine.functional import grad, hessian, jacobian, value_and_grad
from gradviz.errors import GradvizTypeError, GradvizValueError, NonScalarError

Line = namedtuple("Line", "w b")


def test_gradients_of_numbers_are_numbers():
    assert grad(lambda x: x**3)(2.0) == 12.0
    assert grad(lambda x: x**3)(2) == 12.0
    assert isinstance(grad(lambda x: x**3)(2), float)
    assert value_and_grad(lambda x: x * x)(3.0) == (9.0, 6.0)


def test_gradients_of_arrays_are_arrays_of_their_own():
    x = np.array([1.0, 2.0])
    value, g = value_and_grad(lambda x: (x * x).sum())(x)
    assert value == 5.0
    assert np.array_equal(g, [2.0, 4.0])
    g[0] = 100
    assert np.array_equal(x, [1.0, 2.0])
    both = grad(lambda a, b: (a + b).sum(), (0, 1))(x, x)
    both[0][0] = 7
    assert both[1][0] == 1.0


def test_float32_arguments_get_float32_gradients():
    assert grad(lambda x: (x * np.ones(3)).sum())(np.ones(3, np.float32)).dtype == np.float32


def test_derivatives_nest():
    f = lambda x: x**4
    assert grad(grad(f))(2.0) == 48.0
    assert grad(grad(grad(f)))(2.0) == 48.0
    assert grad(grad(grad(grad(f))))(2.0) == 24.0
    assert grad(np.sin)(0.5) == pytest.approx(np.cos(0.5))
    assert grad(grad(grad(np.sin)))(0.5) == pytest.approx(-np.cos(0.5))


def test_an_inner_gradient_sees_the_variable_of_the_outer_one():
    assert grad(lambda x: grad(lambda y: x * y * y)(2.0))(3.0) == 4.0
    assert grad(lambda x: x * grad(lambda y: x + y)(1.0))(1.0) == 1.0  # no confusion of the two variables
    assert grad(lambda x: grad(lambda x: x * x)(x) * x)(3.0) == 12.0


def test_a_gradient_of_a_function_that_closes_over_a_parameter_is_part_of_the_graph():
    w = Tensor(2.0)
    slope = grad(lambda x: w * x * x)(3.0)
    assert isinstance(slope, Tensor)
    assert slope.item() == 12.0
    assert w.grad is None
    (slope * slope).backward()
    assert w.grad == 2 * 12 * 6


def test_tensors_in_tensors_out():
    w = Tensor(2.0)
    g = grad(lambda x: x**3)(w)
    assert g.item() == 12.0
    assert w.grad is None
    g.backward()
    assert w.grad == 12.0
    assert grad(lambda x: x**3)(constant(2.0)) == 12.0


def test_no_gradient_of_anything_outside_is_touched():
    w, v = Tensor(2.0), Tensor([1.0, 2.0])
    used = w * 3
    used.backward()
    v.grad = np.array([5.0, 6.0])
    before = (w.grad, used.grad, v.grad)
    with no_grad():
        assert grad(lambda x: used * x * v.sum())(1.0) == 18.0
    grad(lambda x: used * x * v.sum())(1.0)
    jacobian(lambda x: v * x * used)(1.0)
    assert (w.grad, used.grad) == before[:2]
    assert v.grad is before[2]


def test_nothing_is_left_behind_when_the_function_raises():
    w = Tensor(2.0)

    def fails(x):
        y = w * x
        raise RuntimeError(str(y.item()))

    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"6\.0"):
            grad(fails)(3.0)
    assert modes.mode().recording
    assert modes.active == 0
    assert w.grad is None


def test_no_grad_outside_turns_the_result_into_numbers_but_not_into_zero():
    w = Tensor(2.0)
    with no_grad():
        assert grad(lambda x: w * x)(w) == 2.0
        assert not (w * 2).requires_grad
    assert (w * 2).requires_grad


def test_forms_of_arguments_are_the_forms_of_gradients():
    g = grad(lambda p: p["w"] * p["more"][0] + p["more"][1])({"w": 2.0, "more": [3.0, 4]})
    assert g == {"w": 3.0, "more": [2.0, 1.0]}
    assert grad(lambda p: p.w * p.b)(Line(2.0, 3.0)) == Line(3.0, 2.0)
    assert grad(lambda p: p[0] * p[1])((2.0, 3.0)) == (3.0, 2.0)
    params = {"w": np.ones((2, 3)), "b": np.zeros(3)}
    g = grad(lambda p: (np.ones((4, 2)) @ p["w"] + p["b"]).sum())(params)
    assert np.array_equal(g["w"], np.full((2, 3), 4.0))
    assert np.array_equal(g["b"], np.full(3, 4.0))


def test_argument_numbers():
    f = lambda x, y: x * y * y
    assert grad(f, 1)(2.0, 3.0) == 12.0
    assert grad(f, -1)(2.0, 3.0) == 12.0
    assert grad(f, (0, 1))(2.0, 3.0) == (9.0, 12.0)
    with pytest.raises(GradvizValueError, match="argnum 2"):
        grad(f, 2)(2.0, 3.0)


def test_keyword_arguments_pass_through():
    assert grad(lambda x, *, factor: x * factor)(2.0, factor=5.0) == 5.0


def test_what_does_not_depend_has_gradient_zero():
    assert grad(lambda x: 3.0)(1.0) == 0.0
    assert grad(lambda x, y: y * 2)(1.0, 2.0) == 0.0
    assert np.array_equal(grad(lambda x: 1)(np.ones(2)), [0.0, 0.0])
    assert grad(grad(lambda x: 2 * x))(1.0) == 0.0
    assert grad(np.floor)(1.5) == 0.0


def test_results_that_have_no_gradient():
    with pytest.raises(NonScalarError, match=r"shape \(2,\)"):
        grad(lambda x: x * 2)(np.ones(2))
    with pytest.raises(GradvizTypeError, match="returned NoneType"):
        grad(lambda x: None)(1.0)
    with pytest.raises(GradvizTypeError):
        grad(lambda x: x)(np.array([1, 2]))
    with pytest.raises(GradvizTypeError):
        grad(lambda x: x)(1j)


def test_jacobian_shapes_and_values():
    x = np.array([1.0, 2.0, 3.0])
    m = np.arange(6.0).reshape(2, 3)
    assert np.array_equal(jacobian(lambda x: m @ x)(x), m)
    assert jacobian(lambda x: np.outer(x, x))(x).shape == (3, 3, 3)
    assert jacobian(lambda x: x**2)(3.0) == 6.0
    assert np.array_equal(jacobian(lambda s: s * x)(2.0), x)
    assert np.array_equal(jacobian(lambda x: (x * x).sum())(x), 2 * x)
    two = jacobian(lambda x, y: x * y, (0, 1))(x, x + 1)
    assert np.array_equal(two[0], np.diag(x + 1))
    assert np.array_equal(two[1], np.diag(x))
    assert np.array_equal(jacobian(lambda x: x[:0])(x), np.zeros((0, 3)))


def test_hessian_is_that_of_the_formula():
    x = np.array([0.5, -1.0, 2.0])

    def f(x):
        return (np.sin(x) * x).sum() + x[0] * x[1] * x[2]

    expected = np.diag(2 * np.cos(x) - x * np.sin(x)) + np.array([[0, x[2], x[1]], [x[2], 0, x[0]], [x[1], x[0], 0]])
    assert np.allclose(hessian(f)(x), expected, rtol=1e-12)
    assert hessian(lambda x: x**3)(2.0) == 12.0
    assert hessian(lambda m: (m * m).sum())(np.ones((2, 2))).shape == (2, 2, 2, 2)
    assert np.array_equal(hessian(lambda x: x.sum())(x), np.zeros((3, 3)))


def test_scopes_of_the_caller_hold_inside():
    def f(x):
        y = x * 2
        assert y.scope == ("outer",)
        return y

    with scope("outer"):
        assert grad(f)(1.0) == 2.0


def test_functions_keep_their_name():
    def loss(w):
        """Say what it is."""
        return w * w

    assert grad(loss).__name__ == "loss"
    assert grad(loss).__doc__ == "Say what it is."
