"""Reductions and running sums: NumPy's own calls on Tensors, and the points where a derivative is a choice."""

import numpy as np
import pytest

import gradviz
from gradviz import Tensor
from gradviz.errors import GradvizTypeError, GradvizValueError, ShapeError
from tests.slopes import agree, gradients, numbers

CALLS = [
    *(np.sum, lambda x: np.sum(x, 1), lambda x: x.sum(0), lambda x: x.sum(axis=(0, 2), keepdims=True)),
    *(lambda x: np.sum(a=x, axis=-1), lambda x: np.sum(x, 0, None, None, True), np.add.reduce),
    *(lambda x: np.sum(x, axis=()), lambda x: np.sum(x, axis=np.int64(1)), lambda x: np.add.reduce(x, axis=(0, 1))),
    *(np.mean, lambda x: x.mean(1), lambda x: np.mean(x, (0, -1)), lambda x: x.mean(axis=2, keepdims=True)),
    *(np.prod, lambda x: x.prod(0), lambda x: np.prod(x, axis=(1, 2)), np.multiply.reduce),
    *(np.max, lambda x: x.max(0), lambda x: np.amax(x, axis=(0, 2)), lambda x: np.maximum.reduce(x, 1)),
    *(np.min, lambda x: x.min(-1), lambda x: np.amin(x, 1, keepdims=True), np.minimum.reduce),
    *(np.var, lambda x: x.var(1), lambda x: np.var(x, 0, None, None, 1), lambda x: np.var(x, (0, 1), ddof=2)),
    *(np.std, lambda x: x.std(axis=1, ddof=1), lambda x: np.std(x, axis=(0, 2), keepdims=True)),
    *(np.ptp, lambda x: np.ptp(x, axis=1), lambda x: np.ptp(x, 0, keepdims=True)),
    *(np.cumsum, lambda x: x.cumsum(0), lambda x: np.cumsum(x, axis=-1), np.add.accumulate),
    *(lambda x: np.cumprod(x, 1), lambda x: x.cumprod(axis=2), np.multiply.accumulate),
    *(np.diff, lambda x: np.diff(x, 2, axis=-2), lambda x: np.diff(x, n=0), lambda x: np.diff(x, axis=1)),
    *(lambda x: np.diff(x, prepend=0.0), lambda x: np.diff(x, axis=0, append=np.ones((1, 3, 4)))),
    *(np.median, lambda x: np.median(x, 1), lambda x: np.median(x, axis=(0, 2), keepdims=True)),
    *(np.average, lambda x: np.average(x, axis=1), lambda x: np.average(x, 2, np.arange(1.0, 5.0))),
    *(lambda x: np.average(x, weights=np.arange(24.0).reshape(2, 3, 4), axis=(0, 1), keepdims=True),),
    *(lambda x: np.nansum(x, 0), lambda x: np.nanmean(x, axis=1)),
    np.trapezoid,
    *(lambda x: np.trapezoid(x, dx=0.5, axis=1), lambda x: np.trapezoid(x, np.arange(4.0) ** 2)),
    *(lambda x: np.trapezoid(x, np.arange(24.0).reshape(2, 3, 4) ** 2, axis=1),),
]


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_a_call_is_what_numpy_says(number):
    agree(CALLS[number], numbers(2, 3, 4))


@pytest.mark.parametrize("f", [np.sum, np.mean, np.prod, np.max, np.min, np.var, np.median, np.cumsum, np.cumprod])
def test_a_scalar_reduces_to_itself(f):
    agree(f, np.float64(1.5))
    assert isinstance(Tensor(1.5).sum().data, float)


@pytest.mark.parametrize(
    "f", [np.sum, np.mean, np.prod, np.max, np.var, np.std, np.cumsum, np.cumprod, gradviz.logsumexp]
)
def test_float32_keeps_its_dtype(f):
    x = Tensor(np.array([[1.0, 2.0], [3.0, 5.0]], np.float32))
    y = f(x, axis=0)
    np.sum(y).backward()
    assert y.dtype == np.float32
    assert x.grad.dtype == np.float32


def test_mean_of_an_empty_axis_gives_an_empty_gradient():
    (g,) = gradients(lambda x: np.sum(x, axis=0), np.zeros((0, 3)))
    assert g.shape == (0, 3)
    (g,) = gradients(lambda x: np.prod(x, axis=0), np.zeros((0, 3)))
    assert g.shape == (0, 3)


# -- extremes -----------------------------------------------------------------------------------


def test_ties_share_the_gradient_evenly():
    (g,) = gradients(np.max, [1.0, 4.0, 4.0, 4.0, 2.0])
    np.testing.assert_allclose(g, [0, 1 / 3, 1 / 3, 1 / 3, 0])
    (g,) = gradients(lambda x: x.min(axis=0), [[1.0, 2.0], [1.0, 3.0]])
    np.testing.assert_array_equal(g, [[0.5, 1.0], [0.5, 0.0]])


def test_nan_wins_and_keeps_its_gradient():
    nan = np.nan
    for f in (np.max, np.min):
        (g,) = gradients(f, [1.0, nan, 3.0, nan])
        np.testing.assert_array_equal(g, [0, 0.5, 0, 0.5])


def test_infinities_are_ordinary_extremes():
    (g,) = gradients(np.max, [-np.inf, np.inf, np.inf])
    np.testing.assert_array_equal(g, [0, 0.5, 0.5])


def test_the_maximum_of_nothing_names_the_operand():
    empty = Tensor(np.zeros((0,)), name="empty")
    with pytest.raises(ShapeError, match=r"max\(empty of shape \(0,\)\): zero-size"):
        empty.max()


# -- products -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "expected"),
    [([2.0, 0.0, 3.0], [0, 6, 0]), ([0.0, 0.0, 3.0], [0, 0, 0]), ([0.0], [1]), ([4.0, 0.5], [0.5, 4])],
)
def test_a_product_with_zeros_is_exact(x, expected):
    np.testing.assert_array_equal(gradients(np.prod, x)[0], expected)


def test_a_product_that_underflows_keeps_its_gradient():
    (g,) = gradients(np.prod, [1e-200, 1e-200, 1e300])
    np.testing.assert_allclose(g, [1e100, 1e100, 0], rtol=1e-12)


def test_running_products_with_zeros_match_differences():
    for x in ([2.0, 0.0, 3.0, 4.0], [0.0, 0.0, 3.0], [[1.0, 0.0], [2.0, 5.0]]):
        agree(np.cumprod, x)
        agree(lambda t: np.cumprod(t, axis=-1), x)
        agree(np.prod, x)


def test_second_derivatives_of_products_with_zeros():
    x = Tensor([2.0, 0.0, 3.0, 5.0])
    x.prod().backward(create_graph=True)
    g = x.grad
    x.zero_grad()
    g[1].backward()  # 2·3·5, whose derivative by the others is 15, 10, 6
    np.testing.assert_allclose(x.grad, [15, 0, 10, 6])


# -- spreads ------------------------------------------------------------------------------------


def test_a_standard_deviation_of_zero_has_derivative_zero():
    np.testing.assert_array_equal(gradients(np.std, [2.0, 2.0, 2.0])[0], [0, 0, 0])
    (g,) = gradients(lambda x: np.std(x, axis=1), [[1.0, 1.0], [1.0, 3.0]])
    np.testing.assert_array_equal(g, [[0, 0], [-0.5, 0.5]])


@pytest.mark.filterwarnings("ignore:Degrees of freedom|invalid value:RuntimeWarning")
def test_no_degree_of_freedom_is_nan():
    (g,) = gradients(lambda x: np.var(x, ddof=1), [2.0])
    assert np.isnan(g).all()


def test_the_second_derivative_of_the_variance_is_constant():
    x = Tensor([1.0, 4.0, 6.0])
    x.var().backward(create_graph=True)
    g = x.grad
    x.zero_grad()
    g[0].backward()
    np.testing.assert_allclose(x.grad, [2 / 3 * 2 / 3, -2 / 9, -2 / 9])


# -- logsumexp ----------------------------------------------------------------------------------


def test_logsumexp_is_stable():
    x = Tensor([[1000.0, 1000.0], [-1000.0, -1001.0], [-np.inf, 3.0]])
    y = gradviz.logsumexp(x, axis=1)
    y.sum().backward()
    np.testing.assert_allclose(y.data, [1000 + np.log(2), -1000 + np.log1p(np.exp(-1)), 3.0])
    np.testing.assert_allclose(x.grad, [[0.5, 0.5], [1 / (1 + np.exp(-1)), 1 / (1 + np.e)], [0, 1]])


def test_logsumexp_of_minus_infinity_alone_is_minus_infinity():
    x = Tensor([-np.inf, -np.inf])
    y = x.logsumexp()
    y.backward()
    assert y.item() == -np.inf
    assert np.isnan(x.grad).all()  # as in PyTorch


def test_logsumexp_keeps_dims_and_takes_scalars():
    assert gradviz.logsumexp(Tensor(np.ones((2, 3))), axis=(0, 1), keepdims=True).shape == (1, 1)
    assert gradviz.logsumexp(Tensor(np.ones((2, 3, 4))), axis=(0, -1)).shape == (3,)
    assert gradviz.logsumexp(Tensor(2.0)).item() == 2.0


# -- the rest -----------------------------------------------------------------------------------


def test_nan_is_left_out_by_the_nan_functions():
    x = [1.0, np.nan, 3.0]
    np.testing.assert_array_equal(gradients(np.nansum, x)[0], [1, 0, 1])
    np.testing.assert_array_equal(gradients(np.nanmean, x)[0], [0.5, 0, 0.5])


def test_the_median_of_nan_is_nan_and_of_nothing_an_error():
    assert np.isnan(np.median(Tensor([1.0, np.nan, 0.0])).item())
    with pytest.raises(GradvizValueError, match="median of no elements"):
        np.median(Tensor(np.zeros(0)))


def test_weights_may_be_a_tensor():
    agree(lambda x, w: np.average(x, weights=w), [1.0, 5.0, 2.0], [0.2, 0.3, 0.7])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: np.sum(t, axis=3), r"sum\(t of shape \(2, 3\), axis=3\): axis 3 is out of bounds"),
        (lambda t: np.sum(t, axis=1.5), "'float' object cannot be interpreted"),
        (lambda t: np.mean(t, dtype=np.float32), "np.mean on a Tensor takes no dtype"),
        (lambda t: np.sum(t, 0, np.float32), "np.sum on a Tensor takes no dtype"),
        (lambda t: np.sum(t, out=np.zeros(())), "np.sum on a Tensor takes no out"),
        (lambda t: np.max(t, where=[True, False, True]), "takes no where"),
        (lambda t: np.average(t, returned=True), "leave out returned"),
        (lambda t: np.diff(t, -1), "order cannot be negative"),
        (lambda t: gradviz.sum([t, t]), "sum got a list that holds Tensors"),
        (lambda t: gradviz.sum(t, axes=1), "no argument 'axes'\n  did you mean axis"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(call, message):
    with pytest.raises((GradvizTypeError, GradvizValueError), match=message):
        call(Tensor(np.ones((2, 3)), name="t"))
