"""Losses: against PyTorch, with every reduction, at extreme logits, with labels that do not fit."""

import functools
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

import gradviz
from gradviz import Tensor
from gradviz.errors import GradvizValueError, ShapeError
from tests.beside_torch import beside_torch

RNG = np.random.default_rng(7)
P, T = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
LABELS = np.array([2, 0, 3])
REDUCTIONS = ("mean", "sum", "none")


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (gradviz.mse, functional.mse_loss),
        (gradviz.mae, functional.l1_loss),
        (gradviz.huber, functional.huber_loss),
        (functools.partial(gradviz.huber, delta=0.3), functools.partial(functional.huber_loss, delta=0.3)),
    ],
)
def test_regression_losses_are_pytorchs(ours, theirs, reduction):
    beside_torch(lambda p, t: ours(p, t, reduction=reduction), lambda p, t: theirs(p, t, reduction=reduction), P, T)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_losses_of_two_classes_are_pytorchs(reduction):
    probability = 1 / (1 + np.exp(-T))
    beside_torch(
        lambda x, t: gradviz.bce_with_logits(x, t, reduction=reduction),
        lambda x, t: functional.binary_cross_entropy_with_logits(x, t, reduction=reduction),
        *(P, probability),
    )
    fixed = torch.tensor(probability)
    beside_torch(
        lambda x: gradviz.binary_cross_entropy(gradviz.sigmoid(x), probability, reduction=reduction),
        lambda x: functional.binary_cross_entropy(torch.sigmoid(x), fixed, reduction=reduction),
        P,
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_losses_of_several_classes_are_pytorchs(reduction):
    labels = torch.tensor(LABELS)
    beside_torch(
        lambda x: gradviz.cross_entropy(x, LABELS, reduction=reduction),
        lambda x: functional.cross_entropy(x, labels, reduction=reduction),
        P,
    )
    beside_torch(
        lambda x: gradviz.nll(gradviz.log_softmax(x), LABELS, reduction=reduction),
        lambda x: functional.nll_loss(functional.log_softmax(x, -1), labels, reduction=reduction),
        P,
    )
    beside_torch(
        lambda x, t: gradviz.cross_entropy(x, gradviz.softmax(t), reduction=reduction),
        lambda x, t: functional.cross_entropy(x, functional.softmax(t, -1), reduction=reduction),
        *(P, T),
    )


def test_classes_may_lie_along_another_axis():
    x, labels = RNG.normal(size=(2, 3, 4, 5)), RNG.integers(0, 3, (2, 4, 5))
    beside_torch(
        lambda x: gradviz.cross_entropy(x, labels, axis=1),
        lambda x: functional.cross_entropy(x, torch.tensor(labels)),
        x,
    )


def test_one_vector_of_logits_takes_one_label():
    for label in (2, np.int64(2), np.array(2), Tensor(2.0, requires_grad=False)):
        x = Tensor([1.0, 2.0, 3.0])
        gradviz.cross_entropy(x, label).backward()
        assert x.grad[2] < 0 < x.grad[0]


@pytest.mark.parametrize("labels", [[2, 0, 3], LABELS, LABELS.astype(np.int32), gradviz.constant(LABELS)])
def test_labels_come_as_lists_arrays_and_tensors(labels):
    expected = functional.cross_entropy(torch.tensor(P), torch.tensor(LABELS)).item()
    assert gradviz.cross_entropy(Tensor(P), labels).item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("size", [1000.0, 1e6])
def test_extreme_logits_stay_finite_and_exact(size):
    x = np.array([[size, -size, 0.0], [-size, size, 0.0]])
    labels = np.array([1, 1])
    beside_torch(
        lambda x: gradviz.cross_entropy(x, labels),
        lambda x: functional.cross_entropy(x, torch.tensor(labels)),
        *(x,),
        second=False,
    )
    target = np.array([[0.0, 0.0, 1.0], [1.0, 1.0, 0.5]])
    beside_torch(
        lambda x: gradviz.bce_with_logits(x, target),
        lambda x: functional.binary_cross_entropy_with_logits(x, torch.tensor(target)),
        *(x,),
        second=False,
    )


def test_certain_probabilities_cost_a_hundred():
    p, t = np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0])
    x = Tensor(p)
    loss = gradviz.binary_cross_entropy(x, t)
    loss.backward()
    other = torch.tensor(p, requires_grad=True)
    functional.binary_cross_entropy(other, torch.tensor(t)).backward()
    assert loss.item() == pytest.approx(200 / 3)
    np.testing.assert_allclose(x.grad, other.grad.numpy())


def test_hinge():
    score = Tensor([0.5, 2.0, -1.0])
    loss = gradviz.hinge(score, [1.0, 1.0, 1.0], reduction="sum")
    loss.backward()
    assert loss.item() == 2.5
    assert score.grad.tolist() == [-1.0, 0.0, -1.0]


def test_a_scalar_loss_is_a_scalar():
    w = Tensor(3.0)
    loss = gradviz.mse(w, 1.0)
    loss.backward()
    assert isinstance(loss.data, float)
    assert (loss.item(), w.grad) == (4.0, 4.0)


def test_float32_stays_float32():
    x = Tensor(P.astype(np.float32))
    target = T.astype(np.float32)
    for loss in (gradviz.mse(x, target), gradviz.cross_entropy(x, LABELS), gradviz.huber(x, np.float32(0))):
        assert loss.dtype == np.float32
        loss.backward()
        assert x.grad.dtype == np.float32


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ShapeError, match=r"shape \(3, 1\), the target \(3,\)") as caught:
        gradviz.mse(Tensor(np.ones((3, 1))), np.ones(3))
    assert "test_losses.py" in str(caught.value)


@pytest.mark.parametrize("loss", [gradviz.mae, gradviz.huber, gradviz.bce_with_logits, gradviz.hinge])
def test_every_loss_refuses_other_shapes(loss):
    with pytest.raises(ShapeError, match=r"\(2,\), the target \(3,\)"):
        loss(Tensor([0.1, 0.2]), [1.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, 1], ShapeError, r"labels of shape \(2,\)"),
        ([0, 1, 4], GradvizValueError, "label 4.* among 4 classes"),
        ([0, -1, 2], GradvizValueError, "label -1"),
        ([0.5, 1, 2], GradvizValueError, "label 0.5"),
        ([[0], [1], [2]], ShapeError, r"labels of shape \(3, 1\)"),
        ([math.nan, 1, 2], GradvizValueError, "label nan"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, error, message):
    for loss in (gradviz.cross_entropy, gradviz.nll):
        with pytest.raises(error, match=message):
            loss(Tensor(P), labels)


def test_an_unknown_reduction_names_the_known_ones():
    with pytest.raises(GradvizValueError, match="'mean', 'sum', 'none'"):
        gradviz.mse(Tensor([1.0]), [1.0], reduction="avg")


def test_other_settings_out_of_range():
    with pytest.raises(GradvizValueError, match="delta is 0"):
        gradviz.huber(Tensor([1.0]), [1.0], delta=0.0)
    with pytest.raises(GradvizValueError, match="use bce_with_logits"):
        gradviz.binary_cross_entropy(Tensor([1.5]), [1.0])
    with pytest.raises(GradvizValueError, match="no axis 2"):
        gradviz.cross_entropy(Tensor(P), LABELS, axis=2)


def test_a_loss_is_one_node():
    loss = gradviz.cross_entropy(Tensor(P), LABELS)
    assert (loss.op, [x.op for x in loss.inputs]) == ("cross_entropy", ["param", "const"])
