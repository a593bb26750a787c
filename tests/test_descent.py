"""`descend`: gradient descent, and what it says about how it went."""

import numpy as np
import pytest

import gradviz
from gradviz.errors import GradvizTypeError, GradvizValueError
from gradviz.tracing.descent import descend
from gradviz.tracing.recorder import trace

X = np.linspace(0.0, 1.0, 20)
Y = 3 * X + 1


def line(w, b):
    return ((w * X + b - Y) ** 2).sum() / len(X)


def by_hand(steps, lr):
    w, b, losses = 0.0, 0.0, []
    for _ in range(steps):
        error = w * X + b - Y
        losses.append((error**2).sum() / len(X))
        w, b = w - lr * 2 * (error * X).sum() / len(X), b - lr * 2 * error.sum() / len(X)
    return w, b, losses


def test_a_line_is_fitted():
    result = descend(line, {"w": 0.0, "b": 0.0}, lr=0.5, steps=300)
    w, b, losses = by_hand(300, 0.5)
    assert np.allclose(result.loss, losses, rtol=1e-10, atol=1e-25)
    assert result.params == {"w": pytest.approx(w), "b": pytest.approx(b)}
    assert result.is_finite
    assert result.run is None
    assert repr(result).startswith("Descent(w=3, b=1; loss 7.")


def test_every_step_is_traced(tmp_path):
    result = descend(line, {"w": 0.0, "b": 0.0}, lr=0.5, steps=30, trace=tmp_path / "run")
    assert len(result.run) == 30
    assert np.array_equal(result.run.loss, result.loss)
    assert result.run.names == ("w", "b")
    assert result.run["w"].value[0] == 0.0
    assert result.run.frame(29).meta["replay"] == "exact"


def test_an_open_trace_stays_open(tmp_path):
    w = gradviz.Tensor(0.0, name="w")
    with trace(tmp_path / "run", params={"w": w}) as t:
        descend(lambda w: (w - 3) ** 2, {"w": w}, lr=0.1, steps=5, trace=t)
        result = descend(lambda w: (w - 3) ** 2, {"w": w}, lr=0.2, steps=5, trace=t)
    assert len(result.run) == 10
    assert result.run["w"].value[5] == pytest.approx(3 - 3 * 0.8**5)


def test_a_list_is_passed_by_position():
    result = descend(lambda weights, bias: (weights * 2 + bias - 4).sum() ** 2, [np.zeros(1), 1.0], lr=0.05, steps=200)
    assert list(result.params) == ["weights", "bias"]
    assert 2 * result.params["weights"][0] + result.params["bias"] == pytest.approx(4.0)
    assert list(descend(lambda *all_: all_[0] ** 2, [1.0], steps=1).params) == ["p0"]


def test_tensors_are_changed_in_place_and_numbers_are_not():
    w, start = gradviz.Tensor(0.0), np.zeros(2)
    descend(lambda w, v: (w - 3) ** 2 + ((v - 1) ** 2).sum(), {"w": w, "v": start}, lr=0.25, steps=50)
    assert w.data == pytest.approx(3.0)
    assert (start == 0).all()


def test_gradients_do_not_add_up_over_steps_or_calls():
    w = gradviz.Tensor(1.0)
    (w * 100).backward()
    descend(lambda w: w * 2, {"w": w}, lr=1.0, steps=3)
    assert w.data == 1.0 - 3 * 2.0


def test_the_rate_may_depend_on_the_step():
    assert descend(lambda w: w * 1.0, {"w": 0.0}, lr=lambda step: 10.0**step, steps=3).params["w"] == -111.0


def test_an_unreached_parameter_is_left_alone(tmp_path):
    result = descend(lambda w, unused: w**2, {"w": 1.0, "unused": 5.0}, steps=3, trace=tmp_path / "run")
    assert result.params["unused"] == 5.0
    assert result.run["unused"].grad.mask.all()
    assert result.run["unused"].value.tolist() == [5.0] * 3


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
def test_a_loss_that_explodes_is_said():
    result = descend(lambda w: w**2, {"w": 1.0}, lr=1e100, steps=8)
    assert len(result.loss) == 8
    assert not result.is_finite
    assert "from step 2 on; a smaller lr usually helps" in result.message


def test_a_callback_sees_every_step_and_may_stop():
    seen = []
    result = descend(
        lambda w: w**2, {"w": 1.0}, steps=100, callback=lambda step, loss, params: seen.append(loss) or step == 4
    )
    assert seen == result.loss.tolist()
    assert len(seen) == 5
    assert "stopped by the callback after 5 steps" in result.message


def test_progress_shows_loss_and_gradient(capfd):
    descend(lambda w: (w - 3) ** 2, {"w": 0.0}, lr=0.5, steps=2, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "2/2" in err
    assert "loss 0" in err


def test_wrong_uses():
    with pytest.raises(GradvizTypeError, match="f returned float, which has no gradient"):
        descend(lambda w: 3.0, {"w": 1.0})
    with pytest.raises(GradvizValueError, match="must be one number"):
        descend(lambda w: w * np.ones(3), {"w": 1.0})
    with pytest.raises(GradvizValueError, match="steps=-1"):
        descend(line, {"w": 1.0, "b": 1.0}, steps=-1)
    with pytest.raises(GradvizValueError, match="NaN"):
        descend(line, {"w": 1.0, "b": 1.0}, lr=float("nan"))
    assert descend(line, {"w": 1.0, "b": 1.0}, steps=0).message == "no step was made"
