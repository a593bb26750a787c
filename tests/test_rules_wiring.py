"""Faults that the structure alone shows, in the engine's own programs and in PyTorch's."""

import numpy as np
import pytest

import gradviz
from gradviz import Tensor
from gradviz.rules import check

torch = pytest.importorskip("torch")
F = torch.nn.functional
X, Y = torch.linspace(-1, 1, 15).reshape(5, 3), torch.arange(5.0)
CLASSES = torch.arange(5) % 4


def net(width):
    torch.manual_seed(0)
    return torch.nn.Linear(3, width)


def found(loss_of, width):
    """Return what the two rules say of a recorded step."""
    model = net(width)
    with gradviz.capture(model) as cap:
        loss_of(model(X)).backward()
    return check(cap.frame(), ["every-pair", "softmax-twice"])


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize(
    "loss_of",
    [lambda out: ((out - Y) ** 2).mean(), lambda out: ((Y - out) ** 2).mean(), lambda out: F.mse_loss(out, Y)],
)
def test_a_column_and_a_vector_are_compared_in_pairs(loss_of):
    (finding,) = found(loss_of, 1)
    assert (finding.rule, finding.severity) == ("every-pair", "error")
    assert finding.numbers == {"meant": 5, "computed": 25}
    assert finding.source is not None


@pytest.mark.parametrize(
    "loss_of",
    [
        lambda out: ((out.squeeze(1) - Y) ** 2).mean(),
        lambda out: F.mse_loss(out, Y[:, None]),
        lambda out: (out - out.squeeze(1)).abs().mean(),  # distances of all pairs
        lambda out: (out[:, None] - Y[None, :]).abs().mean(),
    ],
)
def test_pairs_that_are_meant_are_left_alone(loss_of):
    assert found(loss_of, 1) == []


@pytest.mark.parametrize(
    ("loss_of", "least"),
    [
        (lambda out: F.cross_entropy(out.softmax(-1), CLASSES), np.log1p(3 / np.e)),
        (lambda out: F.cross_entropy(F.softmax(out, dim=1).view(5, 4), CLASSES), np.log1p(3 / np.e)),
        (lambda out: F.nll_loss(out.log_softmax(-1).softmax(-1), CLASSES), None),
        (lambda out: F.binary_cross_entropy_with_logits(out.sigmoid()[:, 0], Y / 4), np.log1p(1 / np.e)),
    ],
)
def test_probabilities_into_a_loss_that_takes_logits(loss_of, least):
    (finding,) = found(loss_of, 4)
    assert (finding.rule, finding.severity) == ("softmax-twice", "warning")
    assert finding.numbers.get("least loss") == pytest.approx(least)


@pytest.mark.parametrize(
    "loss_of",
    [
        lambda out: F.cross_entropy(out, CLASSES),
        lambda out: F.nll_loss(out.log_softmax(-1), CLASSES),
        lambda out: F.cross_entropy(out.softmax(-1) @ torch.ones(4, 4), CLASSES),  # attention, then a layer
        lambda out: F.binary_cross_entropy(out.sigmoid()[:, 0], Y / 4),
    ],
)
def test_losses_that_are_right_are_left_alone(loss_of):
    assert found(loss_of, 4) == []


def test_after_the_fact_softmax_is_seen_too():
    loss = F.cross_entropy(net(4)(X).softmax(-1), CLASSES)
    assert [finding.rule for finding in check(gradviz.frame(loss))] == ["softmax-twice"]


def test_a_single_frame_of_the_engine():
    w = Tensor(np.ones((3, 1)), name="<b>w</b>")
    loss = ((X.numpy() @ w - Y.numpy()) ** 2).mean()
    (finding,) = check(gradviz.frame(loss), ["every-pair"])
    assert finding.numbers["computed"] == 25
