"""Activations: against PyTorch, at kinks, at extreme arguments."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

import gradviz
from gradviz import Tensor
from gradviz.errors import GradvizValueError
from tests.beside_torch import beside_torch

X = np.array([[-3.0, -1.0, -0.2, 0.0], [0.3, 1.0, 2.5, 6.5]])

PAIRS = {
    "relu": (gradviz.relu, functional.relu),
    "leaky_relu": (lambda x: gradviz.leaky_relu(x, 0.2), lambda x: functional.leaky_relu(x, 0.2)),
    "elu": (lambda x: gradviz.elu(x, alpha=1.5), lambda x: functional.elu(x, 1.5)),
    "selu": (gradviz.selu, functional.selu),
    "relu6": (gradviz.relu6, functional.relu6),
    "hardtanh": (gradviz.hardtanh, functional.hardtanh),
    "sigmoid": (gradviz.sigmoid, torch.sigmoid),
    "tanh": (gradviz.tanh, torch.tanh),
    "softplus": (gradviz.softplus, functional.softplus),
    "softplus, beta": (lambda x: gradviz.softplus(x, beta=2.0), lambda x: functional.softplus(x, beta=2.0)),
    "silu": (gradviz.silu, functional.silu),
    "gelu": (gradviz.gelu, functional.gelu),
    "gelu, tanh": (lambda x: gradviz.gelu(x, approximate="tanh"), lambda x: functional.gelu(x, approximate="tanh")),
    "mish": (gradviz.mish, functional.mish),
    "erf": (gradviz.erf, torch.erf),
    "softmax": (gradviz.softmax, lambda x: functional.softmax(x, -1)),
    "softmax, axis": (lambda x: gradviz.softmax(x, axis=0), lambda x: functional.softmax(x, 0)),
    "log_softmax": (gradviz.log_softmax, lambda x: functional.log_softmax(x, -1)),
    "layer_norm": (gradviz.layer_norm, lambda x: functional.layer_norm(x, (4,))),
    "layer_norm, two axes": (lambda x: gradviz.layer_norm(x, axis=(0, 1)), lambda x: functional.layer_norm(x, (2, 4))),
}


@pytest.mark.parametrize("name", PAIRS)
def test_values_and_two_derivatives_are_pytorchs(name):
    beside_torch(*PAIRS[name], np.where(X == 0, 0.1, X))
    beside_torch(*PAIRS[name], X, second=False)


@pytest.mark.parametrize("name", PAIRS)
def test_float32_stays_float32(name):
    beside_torch(*PAIRS[name], X, rtol=3e-6, second=False, dtype=np.float32)


@pytest.mark.parametrize("name", [n for n in PAIRS if "softmax" not in n and "layer" not in n])
@pytest.mark.parametrize("value", [-7.25, -0.5, 0.0, 0.75, 30.0, -30.0])
def test_a_scalar_is_computed_as_an_array_is(name, value):
    ours = PAIRS[name][0]
    one, many = Tensor(value), Tensor([value, 1.0])
    y, z = ours(one), ours(many)
    y.backward()
    z.backward(np.array([1.0, 0.0]))
    assert isinstance(y.data, float)
    assert y.data == pytest.approx(z.data[0], rel=1e-14, abs=1e-300)
    assert one.grad == pytest.approx(many.grad[0], rel=1e-9)


SATURATING = ("sigmoid", "softplus", "silu", "gelu", "mish", "elu", "selu", "softmax", "log_softmax")


@pytest.mark.parametrize("name", SATURATING)
def test_huge_arguments_neither_overflow_nor_turn_into_nan(name):
    beside_torch(*PAIRS[name], [-1000.0, -100.0, 100.0, 1000.0], rtol=1e-12, second=False)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "hardtanh", "sigmoid", "softplus", "erf"])
def test_nan_stays_nan(name):
    for x in (Tensor(math.nan), Tensor([math.nan, 1.0])):
        y = PAIRS[name][0](x)
        assert np.isnan(np.ravel(y.numpy())[0])


def test_relu_lets_a_gradient_through_where_its_argument_is_nan():
    for x, g in ((Tensor(math.nan), 2.0), (Tensor([math.nan]), np.array([2.0]))):
        x.relu().backward(g)
        assert np.all(x.grad == 2.0)


def test_relu_stops_every_gradient_below_zero():
    for x, g in ((Tensor(-1.0), math.inf), (Tensor([-1.0]), np.array([math.inf]))):
        x.relu().backward(g)
        assert np.all(x.grad == 0.0)


def test_relu_has_derivative_zero_at_zero():
    x, many = Tensor(0.0), Tensor([0.0, -0.0])
    x.relu().backward()
    many.relu().sum().backward()
    assert x.grad == 0.0
    assert many.grad.tolist() == [0.0, 0.0]


def test_erf_is_exact_to_the_last_digits():
    x = np.concatenate([np.linspace(-7, 7, 20001), [0.46875, 4.0, 1e-300, np.inf, -np.inf]])
    exact = np.array([math.erf(v) for v in x])
    np.testing.assert_allclose(gradviz.erf(Tensor(x)).numpy(), exact, rtol=1e-15, atol=1e-300)


def test_softmax_sums_to_one_and_ignores_a_common_shift():
    x = np.random.default_rng(0).normal(size=(5, 7)) * 20
    y = gradviz.softmax(Tensor(x)).numpy()
    np.testing.assert_allclose(y.sum(-1), 1.0, rtol=1e-14)
    np.testing.assert_allclose(gradviz.softmax(Tensor(x + 1e6)).numpy(), y, rtol=1e-9)


def test_a_masked_element_gets_no_probability_and_no_gradient():
    x = Tensor([1.0, -math.inf, 2.0])
    y = gradviz.softmax(x)
    y[0].backward()
    assert y.data[1] == 0.0
    assert x.grad[1] == 0.0


def test_layer_norm_scales_and_shifts():
    w, b = np.array([1.0, 2.0, 0.5, -1.0]), np.array([0.1, 0.2, 0.3, 0.4])
    beside_torch(gradviz.layer_norm, lambda x, w, b: functional.layer_norm(x, (4,), w, b), X, w, b)


def test_dropout_scales_what_it_keeps_and_records_the_mask():
    x = Tensor(np.ones(1000))
    y = gradviz.dropout(x, 0.25, rng=0)
    y.sum().backward()
    assert set(np.round(y.data, 12)) == {0.0, round(1 / 0.75, 12)}
    assert np.array_equal(x.grad, y.data)
    assert [i.requires_grad for i in y.inputs] == [True, False]
    assert y.attrs == {"p": 0.25}
    assert 0.2 < np.mean(y.data == 0) < 0.3


def test_dropout_repeats_with_its_seed_and_differs_with_its_generator():
    x, rng = Tensor(np.ones(100)), np.random.default_rng(0)
    assert np.array_equal(gradviz.dropout(x, rng=3).data, gradviz.dropout(x, rng=3).data)
    assert not np.array_equal(gradviz.dropout(x, rng=rng).data, gradviz.dropout(x, rng=rng).data)


def test_dropout_of_nothing_and_of_everything():
    x = Tensor([1.0, 2.0])
    assert gradviz.dropout(x, 0.0, rng=0).tolist() == [1.0, 2.0]
    assert gradviz.dropout(x, 1.0, rng=0).tolist() == [0.0, 0.0]
    assert gradviz.dropout(x, 0.9, rng=0, training=False).tolist() == [1.0, 2.0]
    assert gradviz.dropout(Tensor(np.ones(3, np.float32)), rng=0).dtype == np.float32


@pytest.mark.parametrize("p", [-0.1, 1.5, math.nan])
def test_dropout_refuses_what_is_no_probability(p):
    with pytest.raises(GradvizValueError, match="dropout: p is"):
        gradviz.dropout(Tensor([1.0]), p)


def test_gelu_refuses_an_unknown_approximation():
    with pytest.raises(GradvizValueError, match='"none" or "tanh"'):
        gradviz.gelu(Tensor([1.0]), approximate="fast")
