"""Checkpoints, the rules of the updates, and changing inputs: what it takes to compute a step again."""

import itertools
import math

import numpy as np
import pytest

import gradviz
from gradviz.engine.optim import SGD, Adam, AdamW, RMSprop
from gradviz.errors import GradvizTypeError, GradvizValueError
from gradviz.graphs.plain import same_bits
from gradviz.sources.updates import updated
from gradviz.tracing.descent import descend
from gradviz.tracing.handwritten import rate_of, rates_of
from gradviz.tracing.layout import digest
from gradviz.tracing.reading import open_run
from gradviz.tracing.recorder import trace
from tests.params import Param
from tests.runfiles import events, lines

RNG = np.random.default_rng(3)
X = RNG.standard_normal((12, 90))
PLAIN = {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0}


def parameters(dtype="f8"):
    W = gradviz.Tensor((RNG.standard_normal((90, 120)) / 10).astype(dtype), name="W")
    b = gradviz.Tensor(np.zeros(120, dtype), name="b")
    s = gradviz.Tensor(1.0, name="s")
    return {"W": W, "b": b, "s": s}


def loss_of(W, b, s, x=X):
    return (np.tanh(x @ W + b) * s - 0.5).sum() ** 2 / 1000


def train(path, change, params=None, steps=8, before=None, **options):
    """Train by ``change(step, params)``; return the values before every update and the gradients."""
    params = params or parameters()
    seen = []
    with trace(path, **{"params": params, "checkpoint": 3, **options}) as t:
        for step in range(steps):
            for p in params.values():
                p.zero_grad()
            loss = loss_of(**params)
            loss.backward()
            t.step(loss)
            seen.append({name: (np.array(p.data), np.array(p.grad)) for name, p in params.items()})
            change(step, params)
    return seen


def by_hand(lr):
    def change(step, params):
        for p in params.values():
            p.data -= (lr(step) if callable(lr) else lr) * p.grad

    return change


def by(optimizer, schedule=None):
    def change(step, params):
        optimizer.step()
        if schedule is not None:
            optimizer.lr = schedule(step)

    return change


# -- the files ---------------------------------------------------------------------------------


def test_checkpoints_are_plain_rows(tmp_path):
    seen = train(tmp_path / "run", by_hand(0.01))
    rows = np.load(tmp_path / "run" / "ckpt.npy")
    assert rows["step"].tolist() == [0, 3, 6]
    assert rows.dtype.names == ("step", "time", "flags", "checksum", "loss", "s", "digests", "W", "b")
    for row in rows:
        for name in "Wbs":
            assert same_bits(np.array(row[name]), seen[row["step"]][name][0])
    assert rows["loss"].tolist() == open_run(tmp_path / "run").loss[::3].tolist()
    (line,) = [line for line in lines(tmp_path / "run") if "checkpoints" in line]
    assert line["checkpoints"] == 0
    assert line["columns"] == [
        ["W", "value", "<f8", [90, 120]], ["b", "value", "<f8", [120]], ["s", "value", "<f8", []],
    ]  # fmt: skip
    assert rows["digests"][0, 0] == digest(seen[0]["W"][0])


def test_the_state_of_an_optimizer_is_in_the_checkpoints(tmp_path):
    params = parameters()
    adam = Adam(params.values(), lr=0.01)
    states = []

    def change(step, params):
        states.append(adam.state_dict()["state"])
        adam.step()

    seen = train(tmp_path / "run", change, params)
    first, later = np.load(tmp_path / "run" / "ckpt.npy"), np.load(tmp_path / "run" / "ckpt-0001.npy")
    assert first["step"].tolist() == [0]  # Adam has no state before its first step
    assert later["step"].tolist() == [3, 6]
    for row in later:
        for i, name in enumerate("Wbs"):
            assert same_bits(np.array(row[name]), seen[row["step"]][name][0])
            state = states[row["step"]][i]
            assert row[f"{name}.step.state"] == state["step"] == row["step"]
            assert same_bits(np.array(row[f"{name}.mean.state"]), np.array(state["mean"]))
            assert same_bits(np.array(row[f"{name}.square.state"]), np.array(state["square"]))
    listed = [line["checkpoints"] for line in lines(tmp_path / "run") if "checkpoints" in line]
    assert listed == [0, 1]
    assert later.dtype["W.step.state"] == np.int64


def test_a_parameter_without_a_gradient_is_in_the_checkpoints(tmp_path):
    params = parameters() | {"unused": gradviz.Tensor(np.ones(5))}
    with trace(tmp_path / "run", params=params) as t:
        for _ in range(3):
            loss = loss_of(**{name: params[name] for name in "Wbs"})
            loss.backward()
            t.step(loss)
            for name in "Wbs":
                params[name].data -= 0.01 * params[name].grad
                params[name].zero_grad()
    assert np.load(tmp_path / "run" / "ckpt.npy")["unused"].tolist() == [[1.0] * 5]
    (update,) = events(tmp_path / "run", "update")
    assert update["rates"] == {"W": 0.01, "b": 0.01, "s": 0.01}
    assert open_run(tmp_path / "run").damage == []


# -- who changes the parameters ----------------------------------------------------------------

OPTIMIZERS = [
    lambda params: SGD(params, lr=0.05),
    lambda params: SGD(params, lr=0.05, momentum=0.9),
    lambda params: SGD(params, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    lambda params: RMSprop(params, lr=0.001),
    lambda params: RMSprop(params, lr=0.001, momentum=0.5, centered=True),
    lambda params: Adam(params, lr=0.01, betas=(0.8, 0.99)),
    lambda params: AdamW(params, lr=0.01),
]


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("make", OPTIMIZERS)
def test_optimizers_are_found_and_can_be_computed_again(tmp_path, make, dtype):
    params = parameters(dtype)
    optimizer = make(params.values())
    seen = train(tmp_path / "run", by(optimizer), params)
    (event,) = events(tmp_path / "run", "optimizer")
    assert event["step"] == 0
    assert event["optimizer"] == type(optimizer).__name__
    assert event["options"]["lr"] == optimizer.lr
    assert not events(tmp_path / "run", "update")
    state = {}
    for now, then in itertools.pairwise(seen):
        values = {name: _plain(value) for name, (value, _) in now.items()}
        grads = {name: _plain(grad) for name, (_, grad) in now.items()}
        values, state = updated(event["optimizer"], event["options"], state, values, grads)
        assert all(same_bits(values[name], _plain(then[name][0])) for name in "Wbs")


def _plain(value):
    return float(value) if value.ndim == 0 and value.dtype == np.float64 else value


def test_a_schedule_is_written_down_with_the_steps_it_was_used_for(tmp_path):
    params = parameters()
    train(tmp_path / "after", by(sgd := SGD(params.values(), lr=1.0), lambda step: 1.0 / (2 + step // 2)), params, 7)
    assert sgd.lr == 1 / 5
    found = [(event["step"], event["options"]["lr"]) for event in events(tmp_path / "after", "optimizer")]
    assert found == [(0, 1.0), (1, 1 / 2), (3, 1 / 3), (5, 1 / 4)]

    params = parameters()
    sgd = SGD(params.values(), lr=9.0)

    def change(step, params):
        sgd.lr = 1.0 / (1 + step // 2)
        sgd.step()

    train(tmp_path / "before", change, params, 6)
    found = [(event["step"], event["options"]["lr"]) for event in events(tmp_path / "before", "optimizer")]
    assert found == [(0, 1.0), (2, 1 / 2), (4, 1 / 3)]


def test_an_optimizer_of_small_parameters_is_told_too(tmp_path):
    w = gradviz.Tensor(3.0, name="w")
    sgd = SGD([w], lr=0.1)
    with trace(tmp_path / "run", params={"w": w}) as t:
        for _ in range(3):
            sgd.zero_grad()
            loss = w * w
            loss.backward()
            t.step(loss)
            sgd.step()
    (event,) = events(tmp_path / "run", "optimizer")
    assert (event["step"], event["optimizer"], event["options"]) == (0, "SGD", {"lr": 0.1, **PLAIN})


def test_an_optimizer_of_other_parameters_is_not_taken(tmp_path):
    v = gradviz.Tensor(1.0)
    other = SGD([v], lr=0.5)

    def change(step, params):
        (v * v).backward()
        other.step()
        by_hand(0.01)(step, params)

    train(tmp_path / "run", change)
    assert not events(tmp_path / "run", "optimizer")
    (event,) = events(tmp_path / "run", "update")
    assert event["rates"] == {"W": 0.01, "b": 0.01, "s": 0.01}


def test_two_optimizers_at_once_are_ambiguous(tmp_path):
    params = parameters()
    first, second = SGD([params["W"]], lr=0.1), Adam([params["b"], params["s"]], lr=0.1)

    def change(step, params):
        first.step()
        second.step()

    train(tmp_path / "run", change, params)
    (event,) = events(tmp_path / "run", "optimizer")
    assert event["optimizer"] is None
    assert "give trace(optimizer=...)" in event["text"]
    assert not [line for line in lines(tmp_path / "run") if "ckpt-0001" in str(line)]


def test_an_older_optimizer_of_the_same_parameters_does_not_disturb(tmp_path):
    params = parameters()
    old = SGD(params.values(), lr=7.0)
    loss_of(**params).backward()
    old.step()
    train(tmp_path / "run", by(SGD(params.values(), lr=0.1)), params)
    (event,) = events(tmp_path / "run", "optimizer")
    assert (event["step"], event["options"]["lr"]) == (0, 0.1)


def test_a_resumed_optimizer_has_its_state_in_the_first_checkpoint(tmp_path):
    params = parameters()
    saved = Adam(params.values(), lr=0.01)
    loss_of(**params).backward()
    saved.step()
    resumed = Adam(params.values(), lr=0.01)
    resumed.load_state_dict(saved.state_dict())
    del saved
    train(tmp_path / "run", by(resumed), params)
    assert np.load(tmp_path / "run" / "ckpt.npy")["W.step.state"].tolist() == [1, 4, 7]


def test_an_optimizer_can_be_given(tmp_path):
    class Halving:
        """Not of this package: its rule is not known, but its state is kept."""

        scale = 1.0

        def state_dict(self):
            return {"kind": "Halving", "options": {"scale": self.scale}, "state": [{"age": i} for i in range(3)]}

    rule = Halving()

    def change(step, params):
        for p in params.values():
            p.data = p.data * 0.5
        rule.scale = 2.0

    train(tmp_path / "run", change, optimizer=rule)
    found = [(event["step"], event["optimizer"], event["options"]) for event in events(tmp_path / "run", "optimizer")]
    assert found == [(0, "Halving", {"scale": 1.0}), (3, "Halving", {"scale": 2.0})]
    assert not events(tmp_path / "run", "update")
    rows = np.load(tmp_path / "run" / "ckpt.npy")
    assert [rows[f"{name}.age.state"][0] for name in "Wbs"] == [0, 1, 2]


def test_of_two_optimizers_the_one_given_counts(tmp_path):
    params = parameters()
    first, second = SGD([params["W"]], lr=0.1), SGD([params["b"], params["s"]], lr=0.2)

    def change(step, params):
        first.step()
        second.step()

    train(tmp_path / "run", change, params, optimizer=second)
    (event,) = events(tmp_path / "run", "optimizer")
    assert event["options"]["lr"] == 0.2


def test_descend_tells_its_rate(tmp_path):
    descend(lambda w: (w - 3) ** 2, {"w": 0.0}, lr=0.25, steps=3, trace=tmp_path / "same")
    (event,) = events(tmp_path / "same", "optimizer")
    assert (event["step"], event["optimizer"], event["options"]) == (0, "SGD", {"lr": 0.25, **PLAIN})
    descend(lambda w: (w - 3) ** 2, {"w": 0.0}, lr=lambda step: 1 / (1 + step), steps=3, trace=tmp_path / "falling")
    found = [(event["step"], event["options"]["lr"]) for event in events(tmp_path / "falling", "optimizer")]
    assert found == [(0, 1.0), (1, 0.5), (2, 1 / 3)]


# -- updates by hand ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("lr", [0.01, 1e-3, 1 / 3, 0.0123456789])
def test_an_update_by_hand_is_recognised(tmp_path, dtype, lr):
    params = parameters(dtype)
    seen = train(tmp_path / "run", by_hand(lr), params)
    (event,) = events(tmp_path / "run", "update")
    assert event["step"] == 0
    for now, then in itertools.pairwise(seen):
        for name, rate in event["rates"].items():
            assert same_bits(np.asarray(now[name][0] - rate * now[name][1]), then[name][0])


def test_a_rate_that_changes_is_written_down(tmp_path):
    train(tmp_path / "steps", by_hand(lambda step: 0.01 / 2 ** (step // 4)), steps=15, checkpoint=50)
    found = [(event["step"], event["rates"]["W"]) for event in events(tmp_path / "steps", "update")]
    assert found == [(0, 0.01), (4, 0.005), (8, 0.0025), (12, 0.00125)]
    run = open_run(tmp_path / "steps")
    assert all(run.frame(step).meta["replay"] == "exact" for step in range(15))


def test_a_rate_of_many_digits_is_followed(tmp_path):
    train(tmp_path / "run", by_hand(lambda step: 0.01 if step < 5 else 1 / 300), steps=12)
    found = [(event["step"], event["rates"]) for event in events(tmp_path / "run", "update")]
    assert found == [(0, dict.fromkeys("Wbs", 0.01)), (5, dict.fromkeys("Wbs", 1 / 300))]
    assert open_run(tmp_path / "run").frame(11).meta["replay"] == "exact"


SCHEDULES = {
    "exponential": lambda step: 1e-4 * 0.97**step,
    "cosine": lambda step: 1e-4 * (1 + math.cos(math.pi * step / 50)),
    "inverse": lambda step: 1e-4 / (1 + step / 7),
    "warm up": lambda step: 1e-4 * min(1, (step + 1) / 13),
}


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_steps_of_a_schedule_come_back_between_checkpoints(tmp_path, schedule, dtype):
    seen = train(tmp_path / "run", by_hand(SCHEDULES[schedule]), parameters(dtype), steps=30, checkpoint=20)
    run = open_run(tmp_path / "run")
    for step, numbers in enumerate(seen):
        frame = run.frame(step)
        assert frame.meta["replay"] == "exact"
        assert all(same_bits(np.asarray(frame.value(name)), numbers[name][0]) for name in "Wbs")


def test_a_rate_that_few_elements_told_wrongly_is_found_out(tmp_path, monkeypatch):
    monkeypatch.setattr("gradviz.tracing.handwritten.rate_of", lambda old, grad, new, known=(): 1 / 7)
    train(tmp_path / "run", by_hand(lambda step: 0.01 / (1 + step / 7)), steps=9, checkpoint=4)
    told = [open_run(tmp_path / "run").frame(step).meta["replay"] for step in range(9)]
    assert [step for step in range(9) if told[step] == "exact"] == [0, 4, 8]
    assert "cannot be made again" in told[3]


def test_rates_may_differ_by_parameter(tmp_path):
    def change(step, params):
        for p, lr in zip(params.values(), (0.01, 0.5, 0.25), strict=True):
            p.data -= lr * p.grad

    train(tmp_path / "run", change)
    (event,) = events(tmp_path / "run", "update")
    assert event["rates"] == {"W": 0.01, "b": 0.5, "s": 0.25}
    assert "3 learning rates (0.01, 0.25, 0.5)" in event["text"]


def test_an_update_of_another_kind_is_said_once(tmp_path):
    velocity = {}

    def change(step, params):
        for name, p in params.items():
            velocity[name] = 0.9 * velocity.get(name, 0.1) + p.grad
            p.data = p.data - 0.01 * velocity[name]

    train(tmp_path / "run", change, steps=12)
    (event,) = events(tmp_path / "run", "update")
    assert event["rates"] == {}
    assert "give trace(optimizer=...)" in event["text"]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_rates_are_told_to_the_last_bit(dtype):
    for lr in (0.1, 3e-4, 0.7071067811865476, 1e-12, 5.0):
        old = RNG.standard_normal(300).astype(dtype)
        grad = (RNG.standard_normal(300) * 10).astype(dtype)
        rate = rate_of(old, grad, old - lr * grad)
        assert rate is not None
        assert same_bits(old - rate * grad, old - lr * grad)
        if dtype == "f8" and lr > 1e-9:
            assert rate == lr
        assert lr < 1e-9 or rate_of(old, grad, old - lr * grad * grad) is None


def test_rates_of_special_cases():
    assert rates_of({"w": (1.0, None)}, {"w": 1.0}) == {}
    assert rates_of({"w": (1.0, None)}, {"w": 2.0}) is None
    assert rates_of({"w": (1.0, 0.0)}, {"w": 1.0}) == {"w": 0.0}
    zero = np.zeros(3)
    assert rates_of({"w": (zero, zero), "v": (1.0, 2.0)}, {"w": zero, "v": 0.8}) == {"w": 0.1, "v": 0.1}
    bad = np.array([1.0, np.nan, np.inf])
    assert rates_of({"w": (zero, bad)}, {"w": zero - 0.1 * bad}) == {"w": 0.1}
    assert rates_of({"w": (np.zeros((0, 2)), np.zeros((0, 2)))}, {"w": np.zeros((0, 2))}) == {"w": 0.0}
    assert rate_of(zero, np.ones(2), zero) is None
    assert rate_of(1.0, float("nan"), float("nan")) is not None


def test_a_hostile_optimizer_of_a_trace_is_refused():
    wrong = [
        ("Trace", {}, "no optimizer 'Trace' is known"),
        (3, {}, "no optimizer '3' is known"),
        ("SGD", {"__class__": 1}, "no option '__class__'"),
        ("SGD", {"lr": "0.1"}, "cannot have lr='0.1'"),
        ("Adam", {"betas": [0.9, [0.1]]}, "cannot have betas"),
    ]
    for kind, options, message in wrong:
        with pytest.raises(GradvizValueError, match=message):
            updated(kind, options, {}, {"w": 1.0}, {"w": 1.0})


def test_updates_of_plain_objects_are_recognised(tmp_path):
    w = Param(np.ones((100, 100)), None)
    with trace(tmp_path / "run", params={"w": w}) as t:
        for i in range(3):
            w.grad = np.full((100, 100), float(i + 1))
            t.step(1.0)
            w.data = w.data - 0.125 * w.grad
    (event,) = events(tmp_path / "run", "update")
    assert event["rates"] == {"w": 0.125}


def test_an_optimizer_needs_state_dict(tmp_path):
    with pytest.raises(GradvizTypeError, match="optimizer is a str"):
        trace(tmp_path / "run", optimizer="Adam")


# -- inputs that change ------------------------------------------------------------------------


def batches(path, make, steps=6, **options):
    """Train one number on batches; return what was fed in."""
    w = gradviz.Tensor(0.5, name="w")
    fed = []
    with trace(path, **{"params": {"w": w}, **options}) as t:
        for step in range(steps):
            w.zero_grad()
            x, y = make(step)
            loss = ((w * x - y) ** 2).sum() if np.ndim(x) else (w * x - y) ** 2
            loss.backward()
            t.step(loss)
            fed.append((x, y))
            w.data -= 0.01 * w.grad
    return fed


def inputs_of(path):
    """Return the input fields of every row by step; a leaf that is not there is as it was at first."""
    found = {}
    for file in sorted(path.glob("seg-*.npy")):
        rows = np.load(file)
        for row in rows:
            fields = [name for name in rows.dtype.names if name.endswith(".input")]
            found[int(row["step"])] = {name.removesuffix(".input"): np.array(row[name]) for name in fields}
    return found


def test_samples_are_recorded_as_numbers(tmp_path):
    fed = batches(tmp_path / "run", lambda step: (float(step), 1.0 + step % 2))
    found = inputs_of(tmp_path / "run")
    assert found[0] == {}
    assert [tuple(map(float, found[step].values())) for step in range(1, 6)] == fed[1:]
    described = [(line["segment"], line.get("continues"), "graph" in line) for line in lines(tmp_path / "run")]
    assert described == [(0, None, True), (1, 0, False)]
    assert "large" not in str(events(tmp_path / "run", "inputs"))
    assert open_run(tmp_path / "run").damage == []


def test_the_set_of_changing_inputs_only_grows(tmp_path):
    def make(step):
        return np.full(5, float(step > 1)), np.full(5, float(step > 3))

    batches(tmp_path / "run", make)
    found = inputs_of(tmp_path / "run")
    assert [len(found[step]) for step in range(6)] == [0, 0, 1, 1, 2, 2]
    assert [line.get("continues") for line in lines(tmp_path / "run")] == [None, 0, 0]
    assert [event["step"] for event in events(tmp_path / "run", "inputs")] == [2, 4]
    (first,) = [line for line in lines(tmp_path / "run") if "graph" in line]
    assert first["segment"] == 0


@pytest.mark.parametrize("size", [7, 100, 1000, 5000])
def test_batches_are_recorded_bit_by_bit(tmp_path, size):
    fed = batches(tmp_path / "run", lambda step: (RNG.standard_normal(size), np.arange(float(size))))
    found = inputs_of(tmp_path / "run")
    for step in range(1, 6):
        (x,) = found[step].values()
        assert same_bits(x, fed[step][0])


def test_inputs_that_stay_are_not_recorded_again(tmp_path):
    for size in (1, 100, 5000):
        batches(tmp_path / str(size), lambda step, size=size: (np.full(size, 2.0), np.full(size, 3.0)))
        assert not list((tmp_path / str(size)).glob("seg-0001*"))
        assert not events(tmp_path / str(size), "inputs")


def test_the_smallest_changes_are_noticed(tmp_path):
    changes = [
        lambda step: (0.0 if step < 3 else -0.0, 1.0),
        lambda step: (float("nan") if step < 3 else 0.0, 1.0),
        lambda step: (np.zeros(3) if step < 3 else -np.zeros(3), np.ones(3)),
    ]
    for i, make in enumerate(changes):
        batches(tmp_path / str(i), make)
        assert [event["step"] for event in events(tmp_path / str(i), "inputs")] == [3]


def test_a_shuffled_batch_is_noticed(tmp_path):
    """Blocks of 4096 bytes that change places have the same digest."""
    x = RNG.standard_normal((8, 512))
    batches(tmp_path / "run", lambda step: ((x if step < 2 else x[::-1].copy()), np.zeros((8, 512))))
    assert [event["step"] for event in events(tmp_path / "run", "inputs")] == [2]


def test_a_last_smaller_batch_is_a_structure_of_its_own(tmp_path):
    def make(step):
        size = 3 if step % 3 == 2 else 5
        return RNG.standard_normal(size), np.zeros(size)

    fed = batches(tmp_path / "run", make, steps=9)
    graphs = [line for line in lines(tmp_path / "run") if "graph" in line]
    assert len(graphs) == 2
    found = inputs_of(tmp_path / "run")
    for step in range(3, 9):
        (x,) = found[step].values()
        assert same_bits(x, fed[step][0])
    assert open_run(tmp_path / "run").damage == []
    index = np.load(tmp_path / "run" / "index.npy")
    assert len(set(index["segment"].tolist())) == 4


def test_large_inputs_are_left_out_and_that_is_said(tmp_path):
    size = 130_000  # more than a megabyte

    def make(step):
        return RNG.standard_normal(size), np.zeros(size)

    batches(tmp_path / "auto", make, steps=4)
    (event,) = events(tmp_path / "auto", "inputs")
    assert event["step"] == 1
    assert event["limit"] == 1_000_000
    assert "cannot be computed again" in event["text"]
    assert inputs_of(tmp_path / "auto")[3] == {}
    batches(tmp_path / "full", make, steps=3, level="full")
    assert len(inputs_of(tmp_path / "full")[2]) == 1


@pytest.mark.parametrize("level", ["stats", "scalars"])
def test_lower_levels_record_numbers_only(tmp_path, level):
    batches(tmp_path / "numbers", lambda step: (float(step), 1.0), level=level)
    assert len(inputs_of(tmp_path / "numbers")[5]) == 1
    batches(tmp_path / "arrays", lambda step: (np.full(3, float(step)), np.ones(3)), level=level)
    assert inputs_of(tmp_path / "arrays")[5] == {}


def test_inputs_in_the_checkpoint_form(tmp_path):
    params = parameters()
    fed = []
    with trace(tmp_path / "run", params=params, checkpoint=2) as t:
        for _ in range(5):
            for p in params.values():
                p.zero_grad()
            fed.append(RNG.standard_normal((12, 90)))
            loss = loss_of(**params, x=fed[-1])
            loss.backward()
            t.step(loss)
            for p in params.values():
                p.data = p.data - 0.01 * p.grad
    found = inputs_of(tmp_path / "run")
    for step in range(1, 5):
        (x,) = found[step].values()
        assert same_bits(x, fed[step])
    assert np.load(tmp_path / "run" / "ckpt.npy")["step"].tolist() == [0, 2, 4]
    assert open_run(tmp_path / "run").damage == []


def test_inputs_held_in_tensors(tmp_path):
    x = gradviz.Tensor(np.zeros(4), requires_grad=False, name="x")
    w = gradviz.Tensor(1.0, name="w")
    with trace(tmp_path / "run", params={"w": w}) as t:
        for step in range(4):
            w.zero_grad()
            x.data[:] = step // 2  # the same array, written to
            loss = (w * x).sum()
            loss.backward()
            t.step(loss)
    found = inputs_of(tmp_path / "run")
    assert [found[step].get("x", np.zeros(4)).tolist() for step in range(4)] == [[0.0] * 4] * 2 + [[1.0] * 4] * 2
