"""Reading a run while another process writes it: never a wrong value, nothing missed, and nobody disturbed."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import gradviz
from gradviz.errors import GradvizValueError, TraceError
from gradviz.tracing import opening
from gradviz.tracing.following import is_live
from gradviz.tracing.growing import Growing
from gradviz.tracing.reading import open_run
from gradviz.tracing.recorder import trace
from tests.params import Param

DEADLINE = 60  # seconds after which a test that hangs has failed

# what the other process writes: at step i the loss is i/7, and w and its gradient follow from i alone
WRITER = """
import sys, threading, time, itertools
import numpy as np
from gradviz.tracing.recorder import trace
from tests.params import Param
kind, path, steps, pause = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
until_told = sys.argv[5:] == ["until told"]
w = Param(None)
with trace(path, params={"w": w}, meta={"kind": kind}) as t:
    print("begun", flush=True)
    sys.stdin.readline()
    listener = threading.Thread(target=sys.stdin.readline, daemon=True)  # ends when the reader has seen enough
    if until_told:
        listener.start()
    for i in range(steps) if steps and not until_told else itertools.count():
        if until_told and i >= steps:  # slowly on, for a reader that was too slow
            if not listener.is_alive():
                break
            time.sleep(0.005)
        if kind == "scalars":
            w.data, w.grad = i / 3, -float(i)
        elif kind == "large":
            w.data, w.grad = np.arange(1200.0) + i, np.arange(1200.0) - i
        else:  # another shape, and so another segment, now and then
            w.data = np.full(1 + (i // 5) % 7, i / 3)
            w.grad = -np.full(1 + (i // 5) % 7, float(i))
        t.step(i / 7)
        if pause:
            time.sleep(pause)
print("ended", flush=True)
"""


def true_row(kind, i):
    """Return what the writer wrote at step ``i``."""
    if kind == "scalars":
        return i / 3, -float(i)
    if kind == "large":
        return np.arange(1200.0) + i, np.arange(1200.0) - i
    return np.full(1 + (i // 5) % 7, i / 3), -np.full(1 + (i // 5) % 7, float(i))


REWRITER = """
import itertools, sys
import numpy as np
from gradviz.tracing.recorder import trace
from tests.params import Param
w = Param(None)
for run in itertools.count(1):  # in every run another number is everywhere
    with trace(sys.argv[1], params={"w": w}, exist=sys.argv[2]) as t:
        for i in range(10 * run % 97 + 1):
            w.data = w.grad = np.full(1500 if run % 3 == 0 else 1 + (i // 7) % 3, float(run))
            t.step(run + i / 1024)
    if run == 20:
        print("begun", flush=True)
"""


class Writer:
    """A process that writes a run, and begins with its steps when told so."""

    def __init__(self, kind, path, steps, pause=0.0, how=()):
        self.kind = kind
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        line = [sys.executable, "-S", "-c", WRITER, kind, str(path), str(steps), str(pause), *how]
        self.process = subprocess.Popen(line, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        assert self.process.stdout.readline() == b"begun\n"
        return self

    def go(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def check_rows(kind, rows, first=0):
    """Compare rows that were read with what was written."""
    for i, row in enumerate(rows, first):
        value, grad = true_row(kind, i)
        assert (row["step"], row["loss"]) == (i, i / 7)
        assert np.array_equal(row["w"], value)
        assert np.array_equal(row["w.grad"], grad)


KINDS = ("scalars", "large", "changing")


@pytest.mark.parametrize("kind", KINDS)
def test_iterating_waits_for_more_until_the_writer_ends(tmp_path, kind):
    with Writer(kind, tmp_path / "run", 200, pause=0.002) as writer:
        run = open_run(tmp_path / "run", follow=True)
        assert run.is_live
        assert len(run) == 0
        threading.Timer(0.2, writer.go).start()
        rows = list(run)
        check_rows(kind, rows)
        assert len(rows) == len(run) == 200
        assert not run.is_live
        assert run.damage == []
        assert writer.process.stdout.readline() == b"ended\n"
        assert [row["step"] for row in open_run(tmp_path / "run")] == list(range(200))


@pytest.mark.parametrize("kind", KINDS)
def test_at_every_moment_everything_is_true(tmp_path, kind):
    """As fast as the writer can, looked at as often as the reader can."""
    lengths, steps = set(), 60_000 if kind == "scalars" else 3000
    with Writer(kind, tmp_path / "run", steps, how=["until told"]) as writer:
        run = open_run(tmp_path / "run", follow=True)
        writer.go()
        end = time.monotonic() + DEADLINE
        while run.is_live and time.monotonic() < end:
            now = run[:]
            if len(now) not in lengths and len(lengths) == 4:
                writer.go()  # it may end when it has written its steps
            lengths.add(len(now))
            assert np.array_equal(now.loss, np.arange(len(now)) / 7)
            assert np.array_equal(now.steps, np.arange(len(now)))
            check_rows(kind, now[-3:], max(0, len(now) - 3))
            opened = open_run(tmp_path / "run")
            assert len(opened) >= len(now)
            assert opened.damage == []
            assert np.array_equal(opened.loss, np.arange(len(opened)) / 7)
        assert not run.is_live
        assert len(run) >= steps
        assert run.damage == []
        assert len(lengths) >= 5


def test_a_followed_run_shows_what_is_there_now(tmp_path):
    w = Param(0.0, 1.0)
    with trace(tmp_path / "run", params={"w": w}) as t:
        run = open_run(tmp_path / "run", follow=True)
        still, history = open_run(tmp_path / "run"), run["w"]
        assert (len(run), len(still)) == (0, 0)
        for i in range(3):
            w.data = float(i)
            t.step(float(i))
            assert len(run) == len(history) == i + 1
            assert history.value.tolist() == list(range(i + 1))
            assert run.loss.tolist() == list(range(i + 1))
            assert run[-1:].frame(i).value("w") == i
            assert run.frame(-1).step == i
        assert len(still) == 0
        assert still.refresh()
        assert not still.refresh()
        assert still.loss.tolist() == [0.0, 1.0, 2.0]
        assert repr(run) == repr(still)
        part = run[1:]
        t.step(3.0)
        assert (len(part), part.refresh(), len(part)) == (2, False, 2)
    assert len(run) == 4


def test_only_added_rows_come_with_follow(tmp_path):
    w = Param(0.0, 1.0)
    with trace(tmp_path / "run", params={"w": w}) as t:
        t.step(0.0)
        rows = open_run(tmp_path / "run").follow(poll=0.01)
        t.step(1.0)
        assert next(rows)["loss"] == 1.0
        t.step(2.0)
        t.close()
        assert [row["loss"] for row in rows] == [2.0]
    assert list(open_run(tmp_path / "run").follow()) == []
    with pytest.raises(GradvizValueError, match="poll=0"):
        open_run(tmp_path / "run").follow(poll=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_writer_ends_the_waiting(tmp_path, kind):
    with Writer(kind, tmp_path / "run", 0) as writer:
        run = open_run(tmp_path / "run", follow=True)
        writer.go()
        rows = []
        for row in run:
            rows.append(row)
            if len(rows) == 20:
                os.kill(writer.process.pid, signal.SIGKILL)
        check_rows(kind, rows)
        again = open_run(tmp_path / "run")
        assert len(rows) == len(run) == len(again) >= 20
        assert again.damage == []
        assert run.damage == []


def test_a_run_that_is_not_there_yet_is_waited_for(tmp_path):
    with pytest.raises(TraceError, match="there is no run"):
        open_run(tmp_path / "run", follow=True, timeout=0.05)
    writer = Writer("scalars", tmp_path / "run", 5)
    try:
        run = open_run(tmp_path / "run", follow=True, timeout=DEADLINE)
        writer.go()
        check_rows("scalars", list(run))
    finally:
        writer.__exit__()


def test_asking_whether_a_run_is_live_disturbs_nobody(tmp_path):
    stop = threading.Event()

    def ask():
        while not stop.is_set():
            is_live(tmp_path / "run")

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for i in range(60):
            with trace(tmp_path / "run", params={"w": Param(1.0, 2.0)}, exist="overwrite") as t:
                assert is_live(tmp_path / "run")
                t.step(float(i))
            assert not is_live(tmp_path / "run")
    finally:
        stop.set()
        asking.join()


def test_what_is_no_lock_is_not_waited_for(tmp_path):
    assert not is_live(tmp_path)
    os.mkfifo(tmp_path / "writer.lock")
    assert not is_live(tmp_path)


@pytest.mark.parametrize("exist", ["overwrite", "number"])
def test_another_run_in_its_place_is_not_mixed_in(tmp_path, exist):
    w = Param(1.0, 2.0)
    with trace(tmp_path / "run", params={"w": w}) as t:
        for i in range(5):
            t.step(float(i))
        run = open_run(tmp_path / "run", follow=True)
        still = open_run(tmp_path / "run")
        assert len(run) == 5
    with trace(tmp_path / "run", params={"w": w}, exist=exist) as t:
        for i in range(9):
            t.step(-float(i))
            t.step(np.float64(-i), step=100 + i)
        for opened in (run, still):
            opened.refresh()
            assert opened.loss.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
            assert not opened.is_live
            assert "was replaced" in opened.damage[0]
            assert opened.frame(3).value("w") == 1.0
        assert len(open_run(tmp_path / "run")) == 18
        assert list(run.follow()) == []


@pytest.mark.parametrize("exist", ["overwrite", "number"])
def test_runs_that_take_the_place_of_each_other_are_never_mixed(tmp_path, exist):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    line = [sys.executable, "-S", "-c", REWRITER, str(tmp_path / "run"), exist]
    seen = set()
    with subprocess.Popen(line, env=env, stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"begun\n"
        end = time.monotonic() + 3
        while time.monotonic() < end:
            with contextlib.suppress(TraceError):  # in the moment between two runs there is none
                run = open_run(tmp_path / "run")
                rows = run.to_rows()
                number = int(rows[0]["loss"]) if rows else 0
                seen.add(number)
                assert [row["loss"] for row in rows] == [number + i / 1024 for i in range(len(rows))]
                assert all(np.all(row[key] == number) for row in rows for key in ("w", "w.grad"))
        writer.kill()
    assert len(seen) > 5


def test_new_structures_are_seen(tmp_path):
    w = gradviz.Tensor(2.0, name="w")
    with trace(tmp_path / "run", params={"w": w}) as t:
        run = open_run(tmp_path / "run", follow=True)
        for i in range(12):
            w.zero_grad()
            loss = w * 1.0
            for _ in range(i % 4):
                loss = loss * w
            loss.backward()
            t.step(loss)
            assert len(run) == i + 1
            assert len(run.graphs) == min(i + 1, 4)
            frame = run.frame(i)
            assert frame.meta["replay"] == "exact"
            assert len(frame.graph.find(op="mul")) == i % 4 + 1
    assert run.damage == []
    assert run.steps.tolist() == list(range(12))


def test_only_new_rows_are_checked(tmp_path, monkeypatch):
    w = Param(1.0, 2.0)
    checked = []
    real = opening.Segment._checked
    monkeypatch.setattr(
        opening.Segment, "_checked", lambda self, start, stop: checked.append(stop - start) or real(self, start, stop)
    )
    with trace(tmp_path / "run", params={"w": w}) as t:
        for i in range(1000):
            t.step(float(i))
        run = open_run(tmp_path / "run", follow=True)
        assert len(run) == sum(checked) == 1000
        checked.clear()
        for i in range(10):
            t.step(float(i))
            assert len(run) == 1001 + i
    assert sum(checked) == 10


def test_what_is_not_whole_yet_is_no_damage(tmp_path):
    """A file without its header, a line without its end, a row that is counted before it is there."""
    w = Param(1.0, 2.0)
    with trace(tmp_path / "run", params={"w": w}) as t:
        for i in range(3):
            t.step(float(i))
        (tmp_path / "run" / "seg-0001.npy").write_bytes(b"")
        with (tmp_path / "run" / "graphs.jsonl").open("a") as file:
            file.write('{"segment": 1, "colu')
        segment = tmp_path / "run" / "seg-0000.npy"
        with segment.open("r+b") as file:
            file.seek(32)
            file.write(b"%16d" % 4)
        run = open_run(tmp_path / "run")
        assert len(run) == 3
        assert run.damage == []
        t.step(3.0)
        run.refresh()
        assert run.loss.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_growing_arrays_stay_as_they_were_handed_out():
    numbers = Growing(np.zeros((0, 2), np.int64))
    seen = []
    for i in range(50):
        numbers.add(np.full((i % 3, 2), i))
        seen.append((numbers.array, numbers.array.copy()))
    assert all(np.array_equal(now, then) for now, then in seen)
    assert len(numbers) == len(seen[-1][1])


def test_a_run_of_many_structures_holds_few_files_open(tmp_path):
    w = Param(None)
    with trace(tmp_path / "run", params={"w": w}) as t:
        run = open_run(tmp_path / "run", follow=True)
        for i in range(120):
            w.data = np.full(i % 60 + 1, float(i))
            t.step(float(i))
            if i % 20 == 19:
                assert run.loss.tolist() == list(range(i + 1))
        assert len(run.structures) == 60
        assert run[-1:]["w"].value.tolist() == [[119.0] * 60]
        assert all(isinstance(part.rows._file.data, bytes) for part in run.structures)


def test_a_finished_run_is_not_live_when_another_takes_its_place(tmp_path):
    w = Param(1.0, 2.0)
    with trace(tmp_path / "run", params={"w": w}) as t:
        t.step(1.0)
    run = open_run(tmp_path / "run", follow=True)
    with trace(tmp_path / "run", params={"w": w}) as t:
        t.step(2.0)
        assert not run.is_live
        assert [row["loss"] for row in run] == [1.0]
