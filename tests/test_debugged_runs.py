"""Recorded runs under the debugger: growing, with steps of any number, damaged, not to be replayed, and large."""

import time
from contextlib import suppress

import numpy as np
import pytest

import gradviz
from gradviz import Tensor
from gradviz.debugger.debugger import Debugger
from gradviz.debugger.positions import Position
from gradviz.errors import GradvizError, GradvizValueError
from tests.runs import recorded


def training(path, steps, numbers=None):
    w = Tensor(1.0, name="w")
    with gradviz.trace(path, params={"w": w}) as t:
        for k in range(steps):
            w.grad = None
            loss = (w - 3.0) ** 2
            loss.backward()
            t.step(loss, step=None if numbers is None else numbers[k])
            w.data = w.data - 0.1 * w.grad
            yield


def test_a_run_that_is_being_written_goes_on(tmp_path):
    writer = training(tmp_path / "run", 6)
    next(writer), next(writer)
    d = Debugger(gradviz.open_run(tmp_path / "run", follow=True))
    assert str(d.step(1000)) == "1.b.2"
    assert d.first("w > 1.5") is None
    next(writer), next(writer)
    assert str(d.step()) == "1.u.0"
    assert d.event.value == d.timeline.steps(2).full.value("w")
    assert str(d.step(1000)) == "3.b.2"
    assert d.first("w > 1.5") == Position(2, "forward", 0)
    assert list(writer) == [None, None]
    assert str(d.run()) == "5.b.2"


def test_of_steps_recorded_twice_the_last_counts(tmp_path):
    list(training(tmp_path / "run", 6, [0, 1, 2, 1, 2, 3]))
    run = gradviz.open_run(tmp_path / "run")
    d = Debugger(run)
    assert list(d.timeline.iterations) == [0, 1, 2, 3]
    assert d.losses([0, 1, 2, 3]) == run.loss[[0, 3, 4, 5]].tolist()
    assert (
        d.first(f"loss == {float(run.loss[4])!r}")
        == d.first("iteration == 2 and loss > 0")
        == Position(2, "forward", 4)
    )
    assert [d.timeline.steps(k).full.value("w") for k in range(4)] == run["w"].value[[0, 3, 4, 5]].tolist()


@pytest.mark.parametrize("numbers", [[-3, -2, -1, 0, 1], [9, 4, 7, 1, 0], [5]])
def test_steps_of_any_number(numbers, tmp_path):
    list(training(tmp_path / "run", len(numbers), numbers))
    run = gradviz.open_run(tmp_path / "run")
    d = Debugger(run)
    assert list(d.timeline.iterations) == sorted(numbers)
    for number, value in zip(numbers, run["w"].value.tolist(), strict=True):
        assert d.evaluate(f"w@{number}") == value
    d.step(1000)
    assert str(d.where) == f"{max(numbers)}.b.2"


def test_an_empty_run_says_so(tmp_path):
    list(training(tmp_path / "run", 0))
    with pytest.raises(GradvizValueError, match="the run is empty"):
        Debugger(gradviz.open_run(tmp_path / "run"))


def every_verb(d):
    """Use all verbs where the debugger stands; what cannot be told is told as an error of ours."""
    verbs = [
        d.step,
        d.back,
        d.next,
        d.next_back,
        d.finish,
        d.finish_back,
        d.run,
        d.run_back,
        d.why,
        d.blame,
        d.check,
        d.draw,
    ]
    verbs += [
        lambda: d.seek("b"),
        lambda: d.it("+1"),
        lambda: d.phase("u"),
        lambda: d.last("w"),
        lambda: d.first("w > 1e9"),
    ]
    verbs += [
        lambda: d.first("loss < 0"),
        lambda: d.break_at("nan"),
        d.run,
        lambda: d.watch("w.grad"),
        d.run,
        d.run_back,
    ]
    verbs += [
        lambda: str(d.event),
        lambda: d.frame,
        lambda: d.event.pending,
        lambda: d["w"],
        lambda: d.evaluate("loss + 1"),
    ]
    for verb in verbs:
        with suppress(GradvizError):
            verb()


def test_frames_that_could_not_be_replayed(tmp_path):
    factor = Tensor(2.0, name="w")
    with gradviz.trace(tmp_path / "run", params={"w": factor}) as t:
        for k in range(4):
            factor.grad = None
            loss = factor * factor
            loss.backward()
            factor.grad = factor.grad * 0.5  # no longer what the graph gives
            t.step(loss if k != 2 else 7.0)
    run = gradviz.open_run(tmp_path / "run")
    assert run.frame(0).meta["replay"] != "exact"
    d = Debugger(run)
    there = [str(event) for event in d]
    assert len(there) == len([d.step(-k) for k, _ in enumerate(there)])
    for k in range(4):
        d.seek(it=k)
        every_verb(d)


def test_damaged_rows(tmp_path):
    path = recorded("full", tmp_path / "run", steps=8)
    rows = next(path.glob("*0.npy"))
    data = bytearray(rows.read_bytes())
    for place in range(len(data) // 2, len(data) // 2 + 60):
        data[place] ^= 0x55
    rows.write_bytes(bytes(data))
    d = Debugger(gradviz.open_run(path))
    for number in d.timeline.iterations:
        d.seek(it=number)
        every_verb(d)


def test_moves_take_milliseconds_at_ten_thousand_ops(tmp_path):
    w, b = Tensor(0.5, name="w"), Tensor(0.1, name="b")
    with gradviz.trace(tmp_path / "run", params={"w": w, "b": b}) as t:
        for _ in range(4):
            x = w
            for _ in range(3333):
                x = np.tanh(x * w + b)
            w.grad = b.grad = None
            x.backward()
            t.step(x)
            w.data = w.data - 0.01 * w.grad
    d = Debugger(gradviz.open_run(tmp_path / "run"))
    assert len(d.graph) > 9_999
    for k in range(4):
        d.it(k)
        d.phase("u") if k < 3 else d.phase("b")
    rng = np.random.default_rng(0)
    places = [Position(k % 4, ("forward", "backward")[k % 2], int(rng.integers(9_000))) for k in range(50)]
    for name, move in [
        ("step", d.step), ("back", d.back), ("step 1000", lambda: d.step(1000)), ("next", d.next),
        ("w.grad", lambda: d["w"]), ("seek", lambda: d.seek(places.pop())), ("event", lambda: str(d.event)),
        ("frame", lambda: d.frame),
    ]:  # fmt: skip
        d.seek("1.b.5000")
        move()
        began = time.process_time()
        for _ in range(20):
            move()
        taken = (time.process_time() - began) / 20
        print(f"{name} at {len(d.graph):,} nodes: {taken * 1e3:.3f} ms")


def test_first_over_ten_thousand_iterations_is_read_off_columns(tmp_path):
    list(training(tmp_path / "run", 10_000))
    d = Debugger(gradviz.open_run(tmp_path / "run"))
    for text in ("loss < 1e-9", "w > 2.9999", "norm(w.grad) < 1e-3", "w > 4", "loss < 1e-9 and iteration > 9000"):
        d.first(text)
        began = time.process_time()
        d.first(text)
        taken = time.process_time() - began
        print(f"first {text} over 10,000 iterations: {taken * 1e3:.2f} ms")
