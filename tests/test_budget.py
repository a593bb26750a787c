"""What tracing may cost, what happens when it cannot write, and several processes."""

import errno
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest

import gradviz
from gradviz.errors import GradvizTypeError, TraceError
from gradviz.tracing import budget as budgets
from gradviz.tracing import store
from gradviz.tracing.budget import Budget
from gradviz.tracing.descent import descend
from gradviz.tracing.reading import open_run
from gradviz.tracing.recorder import trace
from tests.params import Param
from tests.runfiles import events

BIG = (100, 90)


class Clock:
    """A clock that moves only when told to, or by ``tick`` at every look."""

    def __init__(self, tick=0.0):
        self.now = 0.0
        self.tick = tick

    def __call__(self):
        self.now += self.tick
        return self.now


def record(path, monkeypatch, *, steps, cost, pause, shape=BIG, **options):
    """Record steps that each take ``pause`` seconds beside ``cost`` seconds of recording."""
    clock = Clock(tick=cost)
    monkeypatch.setattr(budgets, "perf_counter", clock)
    w = Param(np.ones(shape) if shape else 1.0, np.ones(shape) if shape else 1.0)
    with trace(path, params={"w": w}, **options) as t:
        for step in range(steps):
            clock.now += pause - cost
            t.step(float(step))
    return [(event["step"], event["from"], event["to"]) for event in events(path, "level")]


def test_the_level_is_lowered_rung_by_rung(tmp_path, monkeypatch):
    found = record(tmp_path / "run", monkeypatch, steps=100, cost=0.01, pause=0.03, budget=0.05, level="full")
    assert found == [(15, "full", "checkpoint"), (31, "checkpoint", "scalars"), (47, "scalars", "loss")]
    fields = [np.load(tmp_path / "run" / f"seg-000{i}.npy").dtype.names[5:] for i in range(4)]
    assert fields == [
        ("digests", "w", "w.grad"),
        ("w.norm", "w.grad.norm", "w.digest", "w.grad.digest"),
        ("w.norm", "w.grad.norm"),
        (),
    ]
    assert np.load(tmp_path / "run" / "ckpt.npy")["step"].tolist() == [16]
    run = open_run(tmp_path / "run")
    assert run.loss.tolist() == [float(i) for i in range(100)]
    assert run.damage == []


def test_the_event_says_what_it_cost(tmp_path, monkeypatch):
    record(tmp_path / "run", monkeypatch, steps=20, cost=0.01, pause=0.03, budget=0.05)
    event = events(tmp_path / "run", "level")[-1]
    assert event["reason"] == "budget"
    assert event["budget"] == 0.05
    assert event["cost"] == pytest.approx(16 / 61)
    assert "of the time, more than the budget of 5.0%" in event["text"]


def test_statistics_come_down_to_norms(tmp_path, monkeypatch):
    found = record(tmp_path / "run", monkeypatch, steps=40, cost=0.01, pause=0.03, budget=0.05, level="stats")
    assert found == [(15, "stats", "scalars"), (31, "scalars", "loss")]


def test_numbers_alone_come_down_to_the_loss(tmp_path, monkeypatch):
    found = record(tmp_path / "run", monkeypatch, steps=40, cost=0.01, pause=0.03, budget=0.05, shape=())
    assert found == [(15, "full", "scalars"), (31, "scalars", "loss")]
    assert open_run(tmp_path / "run").loss.tolist() == [float(i) for i in range(40)]


def test_within_the_budget_nothing_changes(tmp_path, monkeypatch):
    assert record(tmp_path / "run", monkeypatch, steps=200, cost=0.001, pause=0.03, budget=0.05, level="full") == []
    assert record(tmp_path / "more", monkeypatch, steps=200, cost=0.01, pause=0.03, budget=0.5, level="full") == []


def test_a_short_time_is_not_judged():
    clock = Clock(tick=0.001)
    budget = Budget(0.05, clock=clock)
    for _ in range(40):
        budget.begin()
        budget.end()
        assert not budget.is_exceeded()
    clock.now += 0.1
    budget.begin()
    budget.end()
    assert budget.is_exceeded()


def test_a_lowered_level_keeps_graphs_and_names(tmp_path, monkeypatch):
    clock = Clock(tick=0.01)
    monkeypatch.setattr(budgets, "perf_counter", clock)
    w = gradviz.Tensor(np.ones(BIG), name="w")
    with trace(tmp_path / "run", budget=0.05, level="full") as t:
        for step in range(70):
            clock.now += 0.02
            w.zero_grad()
            loss = (w * float(step)).sum()
            loss.backward()
            t.step(loss)
    run = open_run(tmp_path / "run")
    assert len(run) == 70
    assert len(run.graphs) == 1
    assert run.damage == []


# -- a row that cannot be written --------------------------------------------------------------


def fail_after(monkeypatch, count):
    """Let the disk be full after so many rows."""
    left = [count]
    real = store.RowFile.append_parts

    def append_parts(self, parts):
        if not left[0]:
            raise_full(self.path)
        left[0] -= 1
        real(self, parts)

    monkeypatch.setattr(store.RowFile, "append_parts", append_parts)


def raise_full(path):
    with store.trouble("cannot write row 3", path):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_training_goes_on_without_its_trace_if_that_is_wanted(tmp_path, monkeypatch):
    fail_after(monkeypatch, 3)
    w = Param(np.ones(BIG), None)
    with trace(tmp_path / "run", params={"w": w}, level="full", on_error="warn") as t:
        for step in range(3):
            t.step(float(step))
        with pytest.warns(RuntimeWarning, match=r"(?s)incomplete, nothing more is written.*No space left") as caught:
            t.step(3.0)
        assert caught[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            t.step(4.0)
            t.note("nobody reads this")
            t.event("mine", "nor this")
        assert "failed" in repr(t)
    run = open_run(tmp_path / "run")
    assert run.loss.tolist() == [0.0, 1.0, 2.0]
    assert run.damage == []
    store.RunDirectory(tmp_path / "run").close()  # nobody holds the lock


def test_without_that_wish_it_is_an_error(tmp_path, monkeypatch):
    fail_after(monkeypatch, 2)
    w = Param(np.ones(BIG), None)
    with trace(tmp_path / "run", params={"w": w}, level="full") as t:
        t.step(0.0)
        t.step(1.0)
        with pytest.raises(TraceError, match="No space left"):
            t.step(2.0)
    assert open_run(tmp_path / "run").loss.tolist() == [0.0, 1.0]


def test_wrong_uses_are_errors_all_the_same(tmp_path):
    with trace(tmp_path / "run", params={"w": Param(1.0)}, on_error="warn") as t, pytest.raises(GradvizTypeError):
        t.step("0.5")
    with pytest.raises(TraceError, match="closed"):
        t.step(1.0)
    with pytest.raises(TraceError, match="closed"):
        t.note("too late")


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_checkpoint_that_fails_leaves_the_row_and_is_made_up_for(tmp_path, monkeypatch, error):
    from gradviz.tracing.filing import Filing

    real = Filing.checkpoints
    fails = [False]

    def checkpoints(self, columns):
        if fails[0]:
            raise error
        return real(self, columns)

    monkeypatch.setattr(Filing, "checkpoints", checkpoints)
    w = Param(np.ones(BIG), np.ones(BIG))
    with trace(tmp_path / "run", params={"w": w}, checkpoint=2) as t:
        t.step(0.0)
        t.step(1.0)
        fails[0] = True
        with pytest.raises(type(error)):
            t.step(2.0)
        fails[0] = False
        t.step(3.0)
        t.step(4.0)
    run = open_run(tmp_path / "run")
    assert run.loss.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert run.steps.tolist() == [0, 1, 2, 3, 4]
    assert np.load(tmp_path / "run" / "ckpt.npy")["step"].tolist() == [0, 3]
    assert run.damage == []


def test_an_event_is_whole_or_not_there(tmp_path, monkeypatch):
    real = store._write_all

    def half(descriptor, parts, start):
        if b"half" in bytes(parts[0]):
            real(descriptor, [bytes(parts[0])[:20]], start)
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor, parts, start)

    monkeypatch.setattr(store, "_write_all", half)
    with trace(tmp_path / "run", params={}) as t:
        t.note("whole")
        with pytest.raises(TraceError, match=r"cannot write events\.jsonl"):
            t.note("half of it")
        monkeypatch.setattr(store, "_write_all", real)
        t.step(1.0)
    assert [event["text"] for event in events(tmp_path / "run", "note")] in (["whole"], ["whole", "half of it"])


def test_a_planted_link_is_not_followed(tmp_path):
    target = tmp_path / "target.txt"
    target.write_text("precious")
    for name in ("events.jsonl", "ckpt.npy"):
        with trace(tmp_path / name, params={"w": Param(np.ones(BIG))}) as t:
            (tmp_path / name / name).symlink_to(target)
            with pytest.raises(TraceError, match=name.replace(".", r"\.")):
                t.step(1.0)
            (tmp_path / name / name).unlink()
    assert target.read_text() == "precious"


def test_the_child_of_a_fork_writes_neither_events_nor_checkpoints(tmp_path):
    code = """
        import os, sys
        import numpy as np
        from types import SimpleNamespace
        from gradviz.tracing.recorder import trace
        w = SimpleNamespace(data=np.ones((100, 90)), grad=np.ones((100, 90)))
        with trace(sys.argv[1], params={"w": w}, checkpoint=1, budget=0.5) as t:
            t.step(1.0)
            child = os.fork()
            t.step(2.0 if child else 99.0)
            t.note("parent" if child else "child")
            t.event("mine", "parent" if child else "child")
            t.updates_by("SGD", {"lr": 1.0 if child else 2.0})
            if not child:
                t.close()
                os._exit(0)
            os.waitpid(child, 0)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "run")],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert open_run(tmp_path / "run").loss.tolist() == [1.0, 2.0]
    assert np.load(tmp_path / "run" / "ckpt.npy")["step"].tolist() == [0, 1]
    text = (tmp_path / "run" / "events.jsonl").read_text()
    assert "child" not in text
    assert '"lr": 2.0' not in text


# -- several processes -------------------------------------------------------------------------


def test_every_rank_writes_to_a_directory_of_its_own(tmp_path, monkeypatch):
    for rank in range(3):
        with trace(tmp_path / "run", params={}, rank=rank, world_size=3) as t:
            t.step(float(rank))
        assert t.path == tmp_path / "run" / f"rank-00{rank}"
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with trace(tmp_path / "launched", params={}) as t:
        t.step(1.0)
    assert sorted(path.name for path in (tmp_path / "launched").iterdir()) == ["rank-001"]
    info = open_run(tmp_path / "run" / "rank-002").info
    assert (info["rank"], info["world_size"]) == (2, 3)
    assert open_run(tmp_path / "run" / "rank-002").loss.tolist() == [2.0]


def test_ranks_do_not_mix_with_the_run_of_one_process(tmp_path):
    trace(tmp_path / "run", params={}).close()
    with pytest.raises(TraceError, match="holds the run of a single process"):
        trace(tmp_path / "run", params={}, rank=0, world_size=2)
    trace(tmp_path / "ranks", params={}, rank=0, world_size=2).close()
    with pytest.raises(TraceError, match="rank-000"):
        trace(tmp_path / "ranks", params={})


# -- progress ----------------------------------------------------------------------------------


def test_progress_shows_loss_and_gradient(tmp_path, capfd):
    with trace(tmp_path / "run", params={"w": Param(1.0, 2.0)}, progress=True, budget=0.5, on_error="warn") as t:
        t.step(0.125)
        t.step(0.0625, step=7)
    out, err = capfd.readouterr()
    assert out == ""
    assert "loss 0.125" in err
    assert "gradient 2" in err


def test_descend_keeps_its_own_line(tmp_path, capfd):
    descend(lambda w: (w - 3) ** 2, {"w": 0.0}, lr=0.5, steps=2, progress=True, trace=tmp_path / "run")
    assert "2/2" in capfd.readouterr().err
