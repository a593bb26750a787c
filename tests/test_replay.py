"""Iterations between checkpoints, computed again bit for bit, or said why not."""

import json

import numpy as np
import pytest

import gradviz
from gradviz.engine.optim import SGD, Adam, AdamW, RMSprop
from gradviz.errors import GradvizValueError
from gradviz.graphs.plain import same_bits
from gradviz.sources import own
from gradviz.tracing.history import STATS_DTYPE
from gradviz.tracing.layout import digest
from gradviz.tracing.reading import open_run
from gradviz.tracing.recorder import trace
from gradviz.tracing.statistics import exponents, statistics
from gradviz.tracing.store import sealed

STEPS, EVERY = 26, 10


class Model:
    """A network of two layers whose rows are too large to be kept whole, fed with another batch at every step."""

    def __init__(self, dtype=np.float64, seed=0):
        self.rng = np.random.default_rng(seed)
        self.W = gradviz.Tensor((self.rng.standard_normal((40, 300)) / 7).astype(dtype), name="W")
        self.b = gradviz.Tensor(np.zeros(300, dtype), name="b")
        self.V = gradviz.Tensor((self.rng.standard_normal((300, 1)) / 17).astype(dtype), name="V")
        self.scale = gradviz.Tensor(1.0, name="scale")
        self.params = {"W": self.W, "b": self.b, "V": self.V, "scale": self.scale}
        self.dtype = dtype

    def loss(self, step=0):
        x = self.rng.standard_normal((6, 40)).astype(self.dtype)
        y = self.rng.standard_normal((6, 1)).astype(self.dtype)
        hidden = gradviz.tanh(x @ self.W + self.b)
        return gradviz.mean((hidden @ self.V * self.scale - y) ** 2) * (1.0 + step / 100)


def train(path, update, model=None, steps=STEPS, **options):
    """Train and trace; return the frame of every step as it was."""
    model = model or Model()
    frames = []
    with trace(path, params=model.params, **{"checkpoint": EVERY, **options}) as t:
        for step in range(steps):
            for p in model.params.values():
                p.zero_grad()
            loss = model.loss(step)
            loss.backward()
            t.step(loss)
            frames.append(own.frame(loss, params=model.params))
            update(model, step)
    return frames


def by_hand(model, step):
    for p in model.params.values():
        p.data = p.data - 0.05 * p.grad


def stepping(optimizer):
    """Return an update by an optimizer of the model that is trained, made at the first step."""
    made = []

    def update(model, step):
        if not made:
            made.append(optimizer(list(model.params.values())))
        made[0].step()

    return update


def check_frame(frame, truth):
    assert frame.meta["replay"] == "exact"
    assert frame.graph.fingerprint() == truth.graph.fingerprint()
    assert all(same_bits(a, b) for a, b in zip(frame.values, truth.values, strict=True))
    assert all(same_bits(a, b) for a, b in zip(frame.grads, truth.grads, strict=True))


@pytest.fixture
def replays(monkeypatch):
    """Count how often a graph is computed again."""
    counted = []
    real = own.replay
    monkeypatch.setattr(own, "replay", lambda *args: counted.append(1) or real(*args))
    return counted


OPTIMIZERS = {
    "sgd": lambda params: SGD(params, lr=0.05),
    "momentum": lambda params: SGD(params, lr=0.02, momentum=0.9, nesterov=True, weight_decay=0.01),
    "rmsprop": lambda params: RMSprop(params, lr=0.003, centered=True, momentum=0.5),
    "adam": lambda params: Adam(params, lr=0.01),
    "adamw": lambda params: AdamW(params, lr=0.01, weight_decay=0.1),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", [*OPTIMIZERS, "by hand"])
def test_every_step_comes_back_to_the_bit(tmp_path, name, dtype):
    update = by_hand if name == "by hand" else stepping(OPTIMIZERS[name])
    truth = train(tmp_path / "run", update, Model(dtype))
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert "ckpt.npy" in files
    assert sum(path.stat().st_size for path in (tmp_path / "run").glob("seg-*")) < 100_000
    run = open_run(tmp_path / "run")
    assert run.damage == []
    for step in (0, STEPS - 1, 7, 19, 20, 21, 3, 12):
        check_frame(run.frame(step), truth[step])
    for step, frame in enumerate(run.frames()):
        check_frame(frame, truth[step])


def test_one_step_after_the_other_costs_one_each(tmp_path, replays):
    truth = train(tmp_path / "run", stepping(OPTIMIZERS["adam"]))
    replays.clear()
    run = open_run(tmp_path / "run")
    for step, frame in enumerate(run.frames()):
        check_frame(frame, truth[step])
    assert len(replays) == STEPS
    replays.clear()
    for step in reversed(range(STEPS)):
        check_frame(run.frame(step), truth[step])
    assert len(replays) <= STEPS
    replays.clear()
    check_frame(open_run(tmp_path / "run").frame(19), truth[19])
    assert len(replays) == 10
    replays.clear()
    check_frame(open_run(tmp_path / "run").frame(20), truth[20])
    assert len(replays) == 1


def test_little_memory_makes_it_slower_only(tmp_path, monkeypatch):
    truth = train(tmp_path / "run", by_hand)
    monkeypatch.setattr("gradviz.tracing.replaying.STATES_LIMIT", 1)
    run = open_run(tmp_path / "run")
    for step in (5, 6, 4, 25, 0, 9):
        check_frame(run.frame(step), truth[step])


def test_histories_are_computed_again(tmp_path):
    truth = train(tmp_path / "run", stepping(OPTIMIZERS["momentum"]))
    run = open_run(tmp_path / "run")
    values = np.array([frame.value("W") for frame in truth])
    grads = np.array([frame.grad("W") for frame in truth])
    assert same_bits(run["W"].value, values)
    assert same_bits(run["W"].grad, grads)
    assert same_bits(run[8:23:3]["W"].value, values[8:23:3])
    assert run["scale"].value.tolist() == [frame.value("scale") for frame in truth]
    assert np.allclose(run["W"].norm, np.linalg.norm(values, axis=(1, 2)), rtol=1e-12)
    assert np.allclose(run["W"].grad_norm, np.linalg.norm(grads, axis=(1, 2)), rtol=1e-12)
    assert [tuple(row) for row in run["W"].stats] == [tuple(statistics(value)[0]) for value in values]
    assert [tuple(row) for row in run["W"].grad_stats] == [tuple(statistics(grad)[0]) for grad in grads]
    assert np.array_equal(run["W"].exponents, [exponents(value) for value in values])


def test_batches_and_numbers_that_change_are_recorded(tmp_path):
    truth = train(tmp_path / "run", by_hand)
    run = open_run(tmp_path / "run")
    assert set(run.inputs) <= {node.name for node in truth[0].graph.nodes}
    assert len(run.inputs) == 3
    name = next(name for name in run.inputs if truth[0].graph[name].shape == (6, 40))
    assert run.names == ("W", "b", "V", "scale")
    recorded = run[name].value
    assert recorded[1:].shape == (STEPS - 1, 6, 40)
    assert all(same_bits(np.asarray(recorded[step]), truth[step].value(name)) for step in range(1, STEPS))
    assert len(run.graphs) == 1
    with pytest.raises(KeyError, match="did you mean"):
        run[name[:-1] + "q"]


def test_samples_one_by_one(tmp_path):
    """Python floats in the expression, another pair at every step, everything recorded."""
    w, b = gradviz.Tensor(0.0, name="w"), gradviz.Tensor(0.0, name="b")
    truth = []
    with trace(tmp_path / "run", params={"w": w, "b": b}) as t:
        for x, y in [(1.0, 3.0), (2.0, 5.0), (2.0, 5.0), (-0.0, 7.0), (0.0, 7.0)]:
            w.zero_grad()
            b.zero_grad()
            loss = (w * x + b - y) ** 2
            loss.backward()
            t.step(loss)
            truth.append(own.frame(loss, params={"w": w, "b": b}))
            w.data, b.data = w.data - 0.1 * w.grad, b.data - 0.1 * b.grad
    run = open_run(tmp_path / "run")
    for step in range(5):
        check_frame(run.frame(step), truth[step])
    assert np.signbit(run.frame(3).value(run.inputs[0]))


def test_structures_may_change_on_the_way(tmp_path):
    model = Model()
    plain = model.loss

    def loss(step=0):
        found = plain()
        for _ in range((step * step) % 3):
            found = found + gradviz.mean(model.W**2) * 0.1
        return found

    model.loss = loss
    truth = train(tmp_path / "run", stepping(OPTIMIZERS["adam"]), model)
    run = open_run(tmp_path / "run")
    assert len(run.graphs) == 2
    for step in (17, 18, 2, 25, 11, 0):
        check_frame(run.frame(step), truth[step])


def test_learning_rates_may_change(tmp_path):
    descent = []

    def update(model, step):
        if not descent:
            descent.append(SGD(model.params.values(), lr=0.1))
        descent[0].lr = 0.1 / (1 + step // 3)
        descent[0].step()

    truth = train(tmp_path / "run", update)
    run = open_run(tmp_path / "run")
    for step in (9, 25, 16):
        check_frame(run.frame(step), truth[step])
    rates = [event["options"]["lr"] for event in run.events if event["kind"] == "optimizer"]
    assert rates == [0.1 / (1 + i) for i in range(len(rates))]
    assert len(rates) == 9


def test_a_rate_written_out_in_the_loop_may_change(tmp_path):
    def update(model, step):
        for p in model.params.values():
            p.data = p.data - (0.1 if step < 4 else 0.05 if step < 17 else 0.025) * p.grad

    truth = train(tmp_path / "run", update)
    run = open_run(tmp_path / "run")
    for step in (9, 25, 16, 5):
        check_frame(run.frame(step), truth[step])


def test_descend_tells_its_rule(tmp_path):
    model = Model(seed=3)
    start = {name: np.array(p.data) for name, p in model.params.items()}
    x, y = np.linspace(-1, 1, 240).reshape(6, 40), np.ones((6, 1))

    def f(W, b, V, scale):
        return gradviz.mean((gradviz.tanh(x @ W + b) @ V * scale - y) ** 2)

    options = {"lr": lambda step: 0.1 / (step + 1), "steps": 60}
    done = gradviz.descend(f, model.params, trace=tmp_path / "run", **options)
    values = done.run["V"].value
    assert not np.ma.isMaskedArray(values)
    assert same_bits(values[0], start["V"])
    seen = []
    again = {name: gradviz.Tensor(value, name=name) for name, value in start.items()}
    gradviz.descend(f, again, callback=lambda step, loss, params: seen.append(params["V"].data.copy()), **options)
    assert same_bits(values[1:], np.array(seen[:-1]))


def test_steps_without_an_update(tmp_path):
    """Several backward passes for one update, with the gradients cleared in between."""
    adam = stepping(OPTIMIZERS["adam"])
    truth = train(tmp_path / "run", lambda model, step: adam(model, step) if step % 3 == 2 else None)
    run = open_run(tmp_path / "run")
    for step in (25, 9, 14):
        check_frame(run.frame(step), truth[step])


def test_an_update_that_nobody_knows_is_said(tmp_path):
    def update(model, step):
        for p in model.params.values():
            p.data = p.data - 0.05 * np.tanh(p.grad)

    truth = train(tmp_path / "run", update)
    run = open_run(tmp_path / "run")
    for step in (0, 10, 20):
        check_frame(run.frame(step), truth[step])
    frame = run.frame(13)
    assert frame.meta["replay"].startswith("the update after step 10 cannot be made again: that of 'W': ")
    assert "not new = old - lr * gradient" in frame.meta["replay"]
    assert frame.value("W") is None
    assert frame.value("scale") == truth[13].value("scale")
    assert frame.value(frame.graph.outputs[0]) == run.loss[13]
    history = run["W"].value
    assert [step for step in range(STEPS) if not history.mask[step].any()] == [0, 10, 20]
    assert np.allclose(run["W"].norm, [np.linalg.norm(frame.value("W")) for frame in truth])
    stats = run["W"].stats
    assert stats["min"].mask.tolist() == [step % 10 != 0 for step in range(STEPS)]
    assert not stats["norm"].mask.any()


def test_an_update_that_was_tampered_with_is_noticed(tmp_path):
    adam = stepping(OPTIMIZERS["adam"])

    def update(model, step):
        adam(model, step)
        if step == 12:
            model.W.data[3, 4] += 1e-12

    truth = train(tmp_path / "run", update)
    run = open_run(tmp_path / "run")
    for step in (12, 9, 20, 25):
        check_frame(run.frame(step), truth[step])
    for step in (13, 19):
        reason = run.frame(step).meta["replay"]
        assert reason == "the update after step 12 cannot be made again: that of 'W', made again, gives other numbers"


def test_gradients_that_add_up_are_said(tmp_path):
    model = Model()
    with trace(tmp_path / "run", params=model.params, checkpoint=EVERY) as t:
        for _ in range(4):
            loss = model.loss()
            loss.backward()
            t.step(loss)
            by_hand(model, 0)
    run = open_run(tmp_path / "run")
    assert run.frame(0).meta["replay"] == "exact"
    assert run.frame(1).value("W") is not None
    assert "another gradient of 'W'" in run.frame(1).meta["replay"]
    assert "step 1 on the way from the last checkpoint: " in run.frame(3).meta["replay"]


def test_inputs_too_large_to_record_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr("gradviz.tracing.streams.INPUT_LIMITS", {"auto": 1000})
    train(tmp_path / "run", by_hand)
    run = open_run(tmp_path / "run")
    assert run.frame(0).meta["replay"] == "exact"
    frame = run.frame(1)
    assert "another loss" in frame.meta["replay"]
    assert 'trace with level="full"' in frame.meta["replay"]
    assert frame.value("W") is not None


def test_another_machine_is_a_reason(tmp_path):
    """What was recorded with another NumPy may differ in the last bit."""
    model = Model()
    with trace(tmp_path / "run", params=model.params) as t:
        for _ in range(2):  # gradients add up, so that the second step is not computed again
            loss = model.loss()
            loss.backward()
            t.step(loss)
    assert "elsewhere" not in open_run(tmp_path / "run").frame(1).meta["replay"]
    path = tmp_path / "run" / "run.json"
    info = json.loads(path.read_text())
    info["versions"]["numpy"] = "1.0"
    path.write_text(json.dumps(resealed(info)))
    reason = open_run(tmp_path / "run").frame(1).meta["replay"]
    assert f"it was recorded elsewhere: NumPy 1.0, here {np.__version__}" in reason


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(tmp_path, replays):
    truth = train(tmp_path / "run", by_hand)
    path = tmp_path / "run" / "ckpt.npy"
    data = bytearray(path.read_bytes())
    data[data.index(truth[10].value("W").tobytes()) + 99] ^= 4
    path.write_bytes(data)
    run = open_run(tmp_path / "run")
    replays.clear()
    check_frame(run.frame(15), truth[15])
    assert len(replays) == 16
    check_frame(run.frame(22), truth[22])
    assert run.damage == ["ckpt.npy: value of 'W' in row 1 does not match its checksum"]
    path.unlink()
    run = open_run(tmp_path / "run")
    assert run.frame(15).meta["replay"] == "there is no checkpoint that step 15 can be computed from"
    assert run["W"].value.mask.all()


@pytest.mark.parametrize("name", ["ckpt.npy", "events.jsonl", "graphs.jsonl"])
def test_no_damage_gives_a_wrong_number(tmp_path, name):
    truth = train(tmp_path / "run", stepping(OPTIMIZERS["adam"]), steps=13, checkpoint=5)
    path = tmp_path / "run" / name
    whole = path.read_bytes()
    random_ = np.random.default_rng(0)
    cuts = [at for at in range(len(whole)) if name.endswith("jsonl") and b"\n" in whole[at - 1 : at + 1]]  # whole lines
    for position in [*random_.integers(0, len(whole), 25), 3, 40, 200, *cuts]:
        damaged = bytearray(whole)
        if position % 2 and position not in cuts:
            damaged[position] ^= 1 << random_.integers(8)
        else:
            del damaged[position:]
        path.write_bytes(damaged)
        run = open_run(tmp_path / "run")
        frames = [run.frame(step) for step in (12, 7)]
        for frame, true in zip(frames, (truth[12], truth[7]), strict=True):
            known = {node.name: value for node, value in zip(frame.graph.nodes, frame.values, strict=True)}
            assert all(v is None or n not in true.graph or same_bits(v, true.value(n)) for n, v in known.items())
        told = run.damage or all(frame.meta["replay"] == "exact" for frame in frames)
        assert told or (position in cuts and was_killed(run)), position
    path.write_bytes(whole)
    assert open_run(tmp_path / "run").damage == []


def was_killed(run):
    """Tell whether a run looks as one whose process was killed after an event: whole lines, but no end."""
    return "end" not in [event["kind"] for event in run.events]


def resealed(event):
    return sealed({key: value for key, value in event.items() if key != "checksum"})


def test_a_number_is_shown_only_if_it_proves_itself(tmp_path):
    """Events that were changed and sealed again cannot make up a number."""
    truth = train(tmp_path / "run", stepping(OPTIMIZERS["sgd"]))
    path = tmp_path / "run" / "events.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    for wrong in ({"lr": 0.06}, {"lr": "x"}, {"lr": None}, {"nothing": 1}, []):
        lines = [dict(event, options=wrong) if event["kind"] == "optimizer" else event for event in events]
        path.write_text("".join(json.dumps(resealed(event)) + "\n" for event in lines))
        frame = open_run(tmp_path / "run").frame(12)
        assert "cannot be made again" in frame.meta["replay"]
        assert frame.value("W") is None
        check_frame(open_run(tmp_path / "run").frame(20), truth[20])


def test_step_numbers_may_come_again(tmp_path):
    """Steps counted from 0 in every epoch."""
    model = Model()
    frames = []
    with trace(tmp_path / "run", params=model.params, checkpoint=4) as t:
        for step in range(18):
            for p in model.params.values():
                p.zero_grad()
            loss = model.loss()
            loss.backward()
            t.step(loss, step=step % 6)
            frames.append(own.frame(loss, params=model.params))
            by_hand(model, step)
    run = open_run(tmp_path / "run")
    for step in range(6):
        check_frame(run.frame(step), frames[12 + step])
    for position, frame in enumerate(run.frames(range(-18, 0))):
        check_frame(frame, frames[position])


def test_replay_while_it_is_written(tmp_path):
    model = Model()
    with trace(tmp_path / "run", params=model.params, checkpoint=4) as t:
        run = open_run(tmp_path / "run", follow=True)
        for step in range(14):
            for p in model.params.values():
                p.zero_grad()
            loss = model.loss(step)
            loss.backward()
            t.step(loss)
            truth = own.frame(loss, params=model.params)
            frame = run.frame(step)
            if frame.meta["replay"] == "exact":
                check_frame(frame, truth)
            else:
                assert step <= 1, frame.meta["replay"]
            by_hand(model, step)


def test_levels_without_values_say_so(tmp_path):
    for level, what in (("stats", "statistics"), ("scalars", "norm")):
        truth = train(tmp_path / level, by_hand, level=level)
        run = open_run(tmp_path / level)
        with pytest.raises(GradvizValueError, match=f"only the {what} of 'W'"):
            run["W"].value
        assert "not known" in run.frame(3).meta["replay"]
        assert run.frame(3).value("scale") == truth[3].value("scale")
        assert np.allclose(run["W"].grad_norm, [np.linalg.norm(frame.grad("W")) for frame in truth])


def test_statistics_at_every_level(tmp_path):
    known = {}
    for level in ("full", "stats", "auto", "scalars"):
        train(tmp_path / level, by_hand, level=level)
        run = open_run(tmp_path / level)
        known[level] = [run[name] for name in ("W", "scale")]
    for full, stats, auto, norms in zip(*known.values(), strict=True):
        for what in ("stats", "grad_stats", "exponents", "grad_exponents"):
            assert same_bits(getattr(full, what), getattr(stats, what))
            assert same_bits(getattr(full, what), getattr(auto, what))
        assert full.stats.dtype == STATS_DTYPE
        assert same_bits(np.asarray(norms.stats["norm"]), full.stats["norm"])
    W, scale = known["scalars"]
    assert W.stats["min"].mask.all()
    assert W.exponents.mask.all()
    assert not np.ma.isMaskedArray(scale.stats)


def test_a_run_of_others_has_its_checkpoints(tmp_path):
    """Without a graph nothing is computed again, but what is in a checkpoint is shown."""
    from tests.params import Param

    W = Param(None)
    with trace(tmp_path / "run", params={"W": W}, checkpoint=3) as t:
        for i in range(8):
            W.data, W.grad = np.full((90, 90), float(i)), np.ones((90, 90))
            t.step(float(i))
    run = open_run(tmp_path / "run")
    assert run.frame(3).value("W")[0, 0] == 3.0
    assert run.frame(4).value("W") is None
    assert "the loss had no graph" in run.frame(4).meta["replay"]
    history = run["W"].value
    assert history.mask[:, 0, 0].tolist() == [i % 3 != 0 for i in range(8)]
    assert history[6, 5, 5] == 6.0
    assert [row["W.norm"] for row in run] == [90.0 * i for i in range(8)]
    assert "W.digest" not in run.to_rows()[0]
    assert digest(np.full((90, 90), 6.0)) == run.column("W", "digest")[6]
