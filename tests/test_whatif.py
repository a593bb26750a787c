"""What-if: a fork that changes nothing is the history to the last bit, another is what training would have given."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradviz
from gradviz import Tensor, nn, optim
from gradviz.debugger.whatif import assignments
from gradviz.errors import GradvizTypeError, GradvizValueError, ShapeError, UnknownNameError
from gradviz.graphs.plain import same_bits

X = np.linspace(-1, 1, 12)[:, None]
T = np.sin(3 * X)
OPTIMIZERS = {
    "sgd": lambda params, lr: optim.SGD(params, lr=lr),
    "momentum": lambda params, lr: optim.SGD(params, lr=lr, momentum=0.9, nesterov=True),
    "rmsprop": lambda params, lr: optim.RMSprop(params, lr=lr),
    "adam": lambda params, lr: optim.Adam(params, lr=lr, weight_decay=0.01),
}


def trained(path, kind, *, lr=0.05, rates=None, change=None, steps=12, **options):
    """Train a small network, record it, and return the run; ``change`` is done to the model before a step."""
    rng = np.random.default_rng(0)
    model = nn.MLP([1, 4, 1], "tanh", rng=0)
    params = dict(model.named_parameters())
    optimizer = OPTIMIZERS[kind](list(params.values()), lr)
    with gradviz.trace(path, params=params, **options) as log:
        for step in range(steps):
            if change and step == change[0]:
                for name, value in change[1].items():
                    params[name].data = value
            if rates and step in rates:
                optimizer.lr = rates[step]
            rows = rng.integers(0, len(X), 6)
            x = Tensor(X[rows], name="x", requires_grad=False)
            optimizer.zero_grad()
            loss = nn.mse(model(x), T[rows])
            loss.backward()
            log.step(loss)
            optimizer.step()
    return gradviz.open_run(path)


def debugger_at(run, iteration):
    d = gradviz.Debugger(run)
    d.seek(it=iteration)
    return d


@pytest.mark.parametrize("options", [{"level": "full"}, {"level": "auto"}], ids=str)
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_fork_that_changes_nothing_is_the_history(tmp_path, kind, options):
    run = trained(tmp_path / "run", kind, **options)
    d = debugger_at(run, 4)
    same = run.frame(4).value("layers.0.bias")
    found = d.whatif({"layers.0.bias": same}, count=6)
    assert list(found.iterations) == [4, 5, 6, 7, 8, 9, 10]
    assert not found.diff
    assert all(a == b for a, b in found.losses)
    for i in found.iterations:
        assert not gradviz.diff(found.fork.steps(i).full, run.frame(i))


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_another_rate_is_what_training_with_it_gives(tmp_path, kind):
    run = trained(tmp_path / "run", kind)
    other = trained(tmp_path / "other", kind, rates={5: 0.2})
    found = debugger_at(run, 5).whatif("lr = 0.2 for 6")
    assert [b for _, b in found.losses] == other.loss[5:12].tolist()
    assert [a for a, _ in found.losses] == run.loss[5:12].tolist()
    last, real = found.frame, other.frame(11)
    assert all(same_bits(last.value(n), real.value(n)) and same_bits(last.grad(n), real.grad(n)) for n in run.names)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_another_value_is_what_training_from_it_gives(tmp_path, kind):
    run = trained(tmp_path / "run", kind)
    bias = np.array([0.5, -0.5, 0.25, 0.0])
    other = trained(tmp_path / "other", kind, change=(3, {"layers.0.bias": bias}))
    found = debugger_at(run, 3).whatif({"layers.0.bias": bias}, count=8)
    assert [b for _, b in found.losses] == other.loss[3:12].tolist()


def test_options_of_the_optimizer(tmp_path):
    run = trained(tmp_path / "run", "adam")
    found = debugger_at(run, 2).whatif(weight_decay=0.0, lr=0.01, count=3)
    assert found.text == "weight_decay = 0, lr = 0.01"
    assert found.losses[0][0] == found.losses[0][1]
    assert found.losses[-1][0] != found.losses[-1][1]
    with pytest.raises(UnknownNameError, match="momentum"):
        debugger_at(run, 2).whatif(momentum=0.5)


def test_the_recorded_run_stays_as_it_is(tmp_path):
    run = trained(tmp_path / "run", "adam", level="auto", checkpoint=4)
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    d = debugger_at(run, 2)
    frame = run.frame(5)
    d.whatif("layers.0.bias = 0, lr = 3 for 9")
    assert str(d.where) == "2.f.0"
    assert not gradviz.diff(run.frame(5), frame)
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_the_end_of_the_run_is_said(tmp_path):
    run = trained(tmp_path / "run", "sgd")
    found = debugger_at(run, 9).whatif("lr = 0 for 50")
    assert list(found.iterations) == [9, 10, 11]
    assert str(found).endswith("the history ends there: 2 of 50 updates are known")


def test_a_fork_can_be_stepped_through(tmp_path):
    run = trained(tmp_path / "run", "sgd")
    fork = debugger_at(run, 3).whatif("lr = 1 for 4").debugger
    assert str(fork.where) == "3.f.0"
    assert str(fork.run()) == f"7.b.{len(fork.cursor.steps.fold.reached) - 1}"
    assert fork.first("loss >= 0") is not None
    assert str(fork.it(4)).startswith("4.")
    assert fork.blame("nan") is None


def test_clipped_gradients_are_named(tmp_path):
    w = Tensor([1.0, 2.0], name="w")
    rule = optim.SGD([w], lr=0.1)
    with gradviz.trace(tmp_path / "run", params={"w": w}) as log:
        for _ in range(4):
            rule.zero_grad()
            loss = (w * w).sum()
            loss.backward()
            log.step(loss)
            w.grad = w.grad * 0.01
            rule.step()
    with pytest.raises(GradvizValueError, match="update after iteration 0 cannot be made again") as found:
        gradviz.Debugger(gradviz.open_run(tmp_path / "run")).whatif("w = 1 for 2")
    assert "clipped" in found.value.hint


# -- one iteration, in memory ----------------------------------------------------------------------


def quadratic(w=3.0):
    w = Tensor(w, name="w")
    half = w * 0.5
    return (half - 1.0) ** 2 + w


def test_another_value_of_a_leaf():
    found = gradviz.Debugger(quadratic()).whatif(w=2.0)
    assert found.losses == ((3.25, 2.0),)
    assert found.frame.grad("w") == 1.0
    assert str(found).splitlines() == [
        "what if w = 2 in iteration 0:", "          recorded  what if", "  loss    3.25      2",
        "  w       3         2", "  w.grad  1.5       1",
    ]  # fmt: skip


def test_the_result_of_an_op_cuts_what_lies_behind():
    found = gradviz.Debugger(quadratic()).whatif(half=0.0)
    assert found.losses[0][1] == 4.0
    assert found.frame.grad("half") == -2.0
    assert found.frame.grad("w") == 1.0  # only by the way around
    assert found.diff.structure


def test_expressions_know_the_whole_iteration():
    d = gradviz.Debugger(quadratic())
    assert str(d.where) == "0.f.0"
    assert d.whatif("w = half * 2 + 1").frame.value("w") == 4.0
    assert str(d.where) == "0.f.0"


def test_one_number_fills_an_array_and_keeps_its_type():
    w = Tensor(np.array([1.0, 2.0], np.float32), name="w")
    found = gradviz.Debugger((w * w).sum()).whatif(w=3)
    assert found.frame.value("w").dtype == np.float32
    assert found.frame.value("w").tolist() == [3.0, 3.0]


def test_nan_can_be_cured_and_made():
    w = Tensor([1.0, -1.0], name="w")
    with np.errstate(invalid="ignore"):
        d = gradviz.Debugger(np.log(w).sum())
    assert np.isfinite(d.whatif("w = abs(w)").losses[0][1])
    assert np.isnan(gradviz.Debugger(quadratic()).whatif(w=float("nan")).losses[0][1])


def test_frames_tell_their_rate():
    w = Tensor(1.0, name="w")
    frames = []
    for _ in range(6):
        w.grad = None
        loss = (w - 3.0) ** 2
        loss.backward()
        frames.append(gradviz.frame(loss))
        w.data = w.data - 0.1 * w.grad
    d = gradviz.Debugger(frames)
    assert [b for _, b in d.whatif("lr = 0.5 for 3").losses] == [4.0, 0.0, 0.0, 0.0]
    assert not d.whatif(w=1.0, count=5).diff


def test_what_cannot_be_done():
    d = gradviz.Debugger(quadratic())
    with pytest.raises(GradvizValueError, match="nothing is to be different"):
        d.whatif()
    with pytest.raises(GradvizValueError, match="'lr' is no node, and how the parameters are updated is not known"):
        d.whatif(lr=0.1)
    with pytest.raises(ShapeError, match="has the shape"):
        d.whatif(w=[1.0, 2.0])
    with pytest.raises(GradvizTypeError):
        d.whatif(w="three")
    with pytest.raises(UnknownNameError):
        d.whatif(zzz=[1.0, 2.0])


@pytest.mark.parametrize("text", ["", "w", "= 3", "w == 3", "w = ", "w = 1,, b = 2", "3 = w", "w = 1 for x, b"])
def test_assignments_that_are_none(text):
    with pytest.raises(GradvizValueError, match="gives no name a value"):
        assignments(text)


def test_assignments():
    assert assignments("w = 2") == ({"w": "2"}, None)
    assert assignments("layers.0.weight=np.where(w > 0, w, 0), lr = 1e-3 for 7") == (
        {"layers.0.weight": "np.where(w > 0, w, 0)", "lr": "1e-3"}, 7,
    )  # fmt: skip
    assert assignments("`my w` = [1, 2]") == ({"my w": "[1, 2]"}, None)


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_a_changed_leaf_gives_what_the_program_would(before, after):
    def loss(x):
        w = Tensor(x, name="w")
        return np.sin(w * 2.0) + w * w

    real = loss(after)
    real.backward()
    found = gradviz.Debugger(loss(before)).whatif(w=after)
    assert same_bits(found.losses[0][1], real.item())
    assert same_bits(found.frame.grad("w"), gradviz.frame(real).grad("w"))


def test_many_parameters_are_counted():
    params = [Tensor(float(i), name=f"p{i}") for i in range(12)]
    text = str(gradviz.Debugger(sum(p * p for p in params)).whatif(p0=2.0))
    assert text.endswith("\n  and 4 parameters more")
    assert "p8" not in text


def test_no_update_follows_the_last_iteration(tmp_path):
    w = Tensor(3.0, name="w")
    with gradviz.trace(tmp_path / "run", params={"w": w}) as log:
        for _ in range(3):
            w.zero_grad()
            loss = (w - 1.0) ** 2
            loss.backward()
            log.step(loss)
            w.data = w.data - 0.1 * w.grad
    run = gradviz.open_run(tmp_path / "run")
    assert len(debugger_at(run, 1).whatif(lr=0.2).losses) == 2
    with pytest.raises(GradvizValueError, match="there is no next iteration to see it from") as found:
        debugger_at(run, 2).whatif(lr=0.2)
    assert found.value.hint == "go to an iteration that another one follows"
