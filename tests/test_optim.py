"""Optimizers: step by step beside torch.optim, their state, and what they refuse."""

import json

import numpy as np
import pytest
import torch

import gradviz
from gradviz import Tensor
from gradviz.engine import optim
from gradviz.errors import GradvizTypeError, GradvizValueError, ShapeError, StaleValueError

CASES = {
    "SGD": (optim.SGD, torch.optim.SGD, {"lr": 0.01}),
    "momentum": (optim.SGD, torch.optim.SGD, {"lr": 0.005, "momentum": 0.9}),
    "Nesterov": (optim.SGD, torch.optim.SGD, {"lr": 0.005, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "RMSprop": (optim.RMSprop, torch.optim.RMSprop, {"lr": 0.01}),
    "RMSprop, all": (
        optim.RMSprop,
        torch.optim.RMSprop,
        {"lr": 0.01, "alpha": 0.9, "momentum": 0.8, "centered": True, "weight_decay": 0.1, "eps": 1e-6},
    ),
    "Adam": (optim.Adam, torch.optim.Adam, {"lr": 0.05}),
    "Adam, decay": (optim.Adam, torch.optim.Adam, {"lr": 0.05, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.2}),
    "AdamW": (optim.AdamW, torch.optim.AdamW, {"lr": 0.05, "weight_decay": 0.1}),
}
START = np.array([[1.0, -2.0, 0.5], [3.0, 0.1, -0.7]])


def loss_of(w, b):
    return ((w * w - b) ** 2).sum() + b**4


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-13), (np.float32, 2e-5)])
def test_twenty_steps_are_pytorchs(name, dtype, rtol):
    ours, theirs, options = CASES[name]
    w, b = Tensor(START.astype(dtype)), Tensor(dtype(0.3))
    v, c = torch.tensor(START.astype(dtype), requires_grad=True), torch.tensor(dtype(0.3), requires_grad=True)
    one, other = ours([w, b], **options), theirs([v, c], **options)
    for _ in range(20):
        for optimizer, loss in ((one, loss_of(w, b)), (other, loss_of(v, c))):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert w.dtype == dtype
    assert isinstance(b.data, float) or b.dtype == dtype
    np.testing.assert_allclose(w.numpy(), v.detach().numpy(), rtol=rtol)
    np.testing.assert_allclose(b.item(), c.item(), rtol=rtol)


@pytest.mark.parametrize("name", CASES)
def test_a_saved_state_goes_on_as_if_nothing_had_happened(name):
    ours, _, options = CASES[name]

    def steps(w, optimizer, count):
        for _ in range(count):
            optimizer.zero_grad()
            loss_of(w, 0.5).sum().backward()
            optimizer.step()

    w = Tensor(START)
    whole = ours([w], **options)
    steps(w, whole, 4)
    saved, value = whole.state_dict(), w.numpy()
    steps(w, whole, 4)
    again = Tensor(value)
    resumed = ours([again], lr=77.0)
    resumed.load_state_dict(saved)
    steps(again, resumed, 4)
    assert np.array_equal(again.numpy(), w.numpy())


def test_the_state_handed_out_is_a_copy():
    w = Tensor([1.0, 2.0])
    optimizer = optim.SGD([w], lr=0.1, momentum=0.9)
    (w * w).sum().backward()
    optimizer.step()
    saved = optimizer.state_dict()
    saved["state"][0]["velocity"][:] = 99.0
    assert optimizer.state_dict()["state"][0]["velocity"].tolist() == [2.0, 4.0]
    assert json.dumps(optimizer.state_dict()["options"])


def test_a_gradient_may_be_changed_before_the_step_and_is_not_kept():
    w = Tensor([1.0, 2.0])
    optimizer = optim.SGD([w], lr=1.0, momentum=0.5)
    (w * w).sum().backward()
    w.grad[:] = 1.0
    optimizer.step()
    w.grad[:] = 0.0
    optimizer.step()
    assert w.tolist() == [-0.5, 0.5]


def test_a_parameter_without_a_gradient_is_left_alone():
    w, unused = Tensor(1.0), Tensor(5.0)
    optimizer = optim.Adam([w, unused], lr=0.1, weight_decay=0.5)
    (w * 2).backward()
    optimizer.step()
    assert (w.item() < 1.0, unused.item()) == (True, 5.0)


def test_an_array_the_user_holds_is_never_changed():
    start = np.ones(3)
    w = Tensor(start)
    seen, copy = w.data, w.numpy()
    (w * 2).sum().backward()
    optim.SGD([w], lr=0.1).step()
    assert np.array_equal(seen, copy)
    assert np.array_equal(start, copy)
    assert w.tolist() == [0.8, 0.8, 0.8]
    assert w.data.flags.writeable


def test_values_written_through_data_count():
    w = Tensor([1.0, 2.0])
    w.data[:] = 5.0
    w.grad = [1.0, 1.0]
    optim.SGD([w], lr=1.0).step()
    assert w.tolist() == [4.0, 4.0]


def test_a_graph_made_before_the_step_refuses_to_differentiate():
    w = Tensor([1.0, 2.0])
    loss = (w * w).sum()
    loss.backward()
    optim.SGD([w], lr=0.1).step()
    with pytest.raises(StaleValueError):
        loss.backward()


def test_recorded_gradients_can_be_followed():
    w = Tensor(3.0)
    (w * w).backward(create_graph=True)
    optim.SGD([w], lr=0.5).step()
    assert w.item() == 0.0


def test_the_learning_rate_can_be_changed():
    w = Tensor(1.0)
    optimizer = optim.SGD([w], lr=0.1)
    w.grad = 1.0
    optimizer.lr = 0.5
    optimizer.step()
    assert w.item() == 0.5
    assert "lr=0.5" in repr(optimizer)


def test_a_scalar_gradient_that_is_not_finite_is_followed_without_an_error():
    w = Tensor(1.0)
    w.grad = float("nan")
    optim.Adam([w]).step()
    assert np.isnan(w.item())
    assert isinstance(w.data, float)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ([], GradvizValueError, "no parameters"),
        (Tensor(1.0, name="slope"), GradvizTypeError, r"\[slope\]"),
        ([1.0], GradvizTypeError, r"params\[0\] is a float"),
        ([Tensor(1.0) * 2], GradvizTypeError, "is no parameter"),
        ([gradviz.constant(1.0)], GradvizTypeError, "is no parameter"),
    ],
)
def test_what_is_no_parameter_is_refused(params, error, message):
    with pytest.raises(error, match=message):
        optim.SGD(params)


def test_a_parameter_given_twice_is_refused():
    w = Tensor(1.0)
    with pytest.raises(GradvizValueError, match="twice"):
        optim.SGD([w, w])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: optim.SGD(p, lr=-1.0), "lr is -1.0"),
        (lambda p: optim.SGD(p, lr=float("nan")), "lr is nan"),
        (lambda p: optim.SGD(p, nesterov=True), "nesterov needs a momentum"),
        (lambda p: optim.Adam(p, betas=(0.9, 1.0)), r"betas\[1\] is 1.0"),
        (lambda p: optim.RMSprop(p, eps=-1e-8), "eps is -1e-08"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(GradvizValueError, match=message):
        make([Tensor(1.0)])


def test_the_state_of_another_optimizer_is_refused():
    w = Tensor([1.0, 2.0])
    saved = optim.SGD([w]).state_dict()
    with pytest.raises(GradvizValueError, match="of SGD with 1 parameters, not of Adam with 1"):
        optim.Adam([w]).load_state_dict(saved)
    saved["state"][0]["velocity"] = np.zeros(3)
    with pytest.raises(ShapeError, match="saved velocity"):
        optim.SGD([w]).load_state_dict(saved)
