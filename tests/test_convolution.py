"""Convolution and pooling: against PyTorch over strides, paddings and dilations."""

import numpy as np
import pytest
import torch
from torch.nn import functional

import gradviz
from gradviz import Tensor
from gradviz.errors import GradvizTypeError, GradvizValueError, ShapeError
from tests.beside_torch import beside_torch

RNG = np.random.default_rng(5)
IMAGES, FILTERS, BIAS = RNG.normal(size=(2, 3, 6, 7)), RNG.normal(size=(4, 3, 2, 3)), RNG.normal(size=4)
SIGNALS, TAPS = RNG.normal(size=(2, 3, 9)), RNG.normal(size=(4, 3, 3))
LAYOUTS = [
    *({}, {"stride": 2}, {"padding": 1}, {"dilation": 2}, {"stride": (2, 1), "padding": (0, 2), "dilation": (1, 2)}),
    *({"stride": 3, "padding": 2}, {"stride": 2, "padding": 1, "dilation": 2}),
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_conv2d_is_pytorchs(layout):
    beside_torch(
        lambda x, w, b: gradviz.conv2d(x, w, b, **layout),
        lambda x, w, b: functional.conv2d(x, w, b, **layout),
        *(IMAGES, FILTERS, BIAS),
    )


@pytest.mark.parametrize(
    "layout", [{}, {"stride": 2}, {"padding": 2, "dilation": 3}, {"stride": 3, "padding": 1}], ids=str
)
def test_conv1d_is_pytorchs(layout):
    beside_torch(
        lambda x, w: gradviz.conv1d(x, w, **layout), lambda x, w: functional.conv1d(x, w, **layout), *(SIGNALS, TAPS)
    )


POOLS = [(2, None, 0), (3, 1, 1), ((2, 3), (1, 2), (1, 0)), (3, 2, 1), (2, 3, 0)]


@pytest.mark.parametrize(("kernel", "stride", "padding"), POOLS)
def test_pools_of_images_are_pytorchs(kernel, stride, padding):
    for ours, theirs in (
        (gradviz.max_pool2d, functional.max_pool2d),
        (gradviz.avg_pool2d, functional.avg_pool2d),
    ):
        beside_torch(
            lambda x, f=ours: f(x * x, kernel, stride, padding),
            lambda x, f=theirs: f(x * x, kernel, stride, padding),
            IMAGES,
        )


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, None, 0), (3, 1, 1), (3, 2, 0)])
def test_pools_of_signals_are_pytorchs(kernel, stride, padding):
    for ours, theirs in (
        (gradviz.max_pool1d, functional.max_pool1d),
        (gradviz.avg_pool1d, functional.avg_pool1d),
    ):
        beside_torch(
            lambda x, f=ours: f(x * x, kernel, stride, padding),
            lambda x, f=theirs: f(x * x, kernel, stride, padding),
            SIGNALS,
        )


def test_the_first_of_equal_elements_gets_the_gradient():
    x = np.ones((1, 1, 4, 4))
    beside_torch(lambda x: gradviz.max_pool2d(x, 2), lambda x: functional.max_pool2d(x, 2), x)
    beside_torch(lambda x: gradviz.max_pool2d(x, 3, 2, 1), lambda x: functional.max_pool2d(x, 3, 2, 1), x)


def test_padding_never_wins_a_max_pool():
    x = -np.abs(IMAGES) - 1
    beside_torch(lambda x: gradviz.max_pool2d(x, 2, 2, 1), lambda x: functional.max_pool2d(x, 2, 2, 1), x)


def test_nan_wins_a_max_pool():
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    x[0, 0, 1, 1] = np.nan
    assert np.isnan(gradviz.max_pool2d(Tensor(x), 2).numpy()[0, 0, 0, 0])


def test_float32_stays_float32():
    beside_torch(*(gradviz.conv2d, functional.conv2d, IMAGES, FILTERS), rtol=2e-5, second=False, dtype=np.float32)
    beside_torch(
        lambda x: gradviz.max_pool2d(x, 2),
        lambda x: functional.max_pool2d(x, 2),
        IMAGES,
        second=False,
        dtype=np.float32,
    )


def test_a_small_network_is_pytorchs():
    head = RNG.normal(size=(16, 3))
    labels = np.array([0, 2])

    def ours(x, w, b, head):
        features = gradviz.max_pool2d(gradviz.tanh(gradviz.conv2d(x, w, b, padding=1)), 3, 4, 1)
        return gradviz.cross_entropy(gradviz.matmul(gradviz.reshape(features, (2, -1)), head), labels)

    def theirs(x, w, b, head):
        features = functional.max_pool2d(torch.tanh(functional.conv2d(x, w, b, padding=1)), 3, 4, 1)
        return functional.cross_entropy(features.reshape(2, -1) @ head, torch.tensor(labels))

    beside_torch(ours, theirs, IMAGES, FILTERS, BIAS, head)


def test_what_does_not_fit_is_explained():
    x, w = Tensor(IMAGES), Tensor(FILTERS)
    with pytest.raises(ShapeError, match=r"conv2d: x has shape \(2, 3, 6, 7\), the weight \(4, 2, 2, 3\)"):
        gradviz.conv2d(x, FILTERS[:, :2])
    with pytest.raises(ShapeError, match=r"\(N, C, H, W\)"):
        gradviz.conv2d(x[0], w)
    with pytest.raises(ShapeError, match=r"window of \(8, 2\) does not fit"):
        gradviz.conv2d(x, np.ones((1, 3, 8, 2)))
    with pytest.raises(ShapeError, match="bias"):
        gradviz.conv2d(x, w, BIAS[:2])
    with pytest.raises(ShapeError, match=r"max_pool2d: x has shape \(3, 6, 7\)"):
        gradviz.max_pool2d(x[0], 2)
    with pytest.raises(ShapeError, match="does not fit"):
        gradviz.avg_pool2d(x, 9)


@pytest.mark.parametrize(
    ("layout", "error"),
    [
        ({"stride": 0}, GradvizValueError),
        ({"padding": -1}, GradvizValueError),
        ({"dilation": (1, 2, 3)}, GradvizValueError),
        ({"stride": 1.5}, GradvizTypeError),
        ({"padding": "same"}, GradvizTypeError),
    ],
)
def test_layouts_out_of_range_are_refused(layout, error):
    with pytest.raises(error, match=f"conv2d: {next(iter(layout))} is"):
        gradviz.conv2d(Tensor(IMAGES), FILTERS, **layout)


def test_padding_over_half_a_pool_window_is_refused():
    with pytest.raises(GradvizValueError, match="half"):
        gradviz.max_pool2d(Tensor(IMAGES), 2, padding=2)
