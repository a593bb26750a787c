"""Ctrl-C anywhere in `step`, exceptions, forks, clocks that go backwards, several writers at once."""

import dis
import gc
import os
import random
import sys
import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from gradviz.errors import TraceBusyError
from gradviz.tracing import store
from gradviz.tracing.reading import open_run
from gradviz.tracing.recorder import trace
from tests.kinds import KINDS, differences, place, truth
from tests.params import Param
from tests.processes import run_python

SEED = os.environ.get("GRADVIZ_SEED", "1")
OURS = str(Path(store.__file__).parent)
LOOKING = ("CALL", "RESUME", "JUMP_BACKWARD")
PLACES = 60  # where a step of each kind is interrupted
BEFORE, AFTER = 2, 3  # steps before and after


class Interrupted:
    """Raises KeyboardInterrupt at the n-th place in the tracer's own modules where Python looks for signals.

    That is after a call, at the beginning of a function and at the end of a loop's body.
    """

    def __init__(self, n):
        self.left = n
        self._is_place = {}

    def __enter__(self):
        sys.settrace(self._called)
        return self

    def __exit__(self, *error):
        sys.settrace(None)

    def _called(self, frame, event, argument):
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._opcode

    def _opcode(self, frame, event, argument):
        if event == "opcode":
            is_place = self._is_place.get(frame, True)
            self._is_place[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith(LOOKING)
            self.left -= is_place
            if is_place and self.left == -1:
                raise KeyboardInterrupt
        return self._opcode


class Interruptible:
    """A trace one of whose steps is interrupted, and whose user goes on."""

    def __init__(self, opened, at, place):
        self._trace, self._at = opened, at
        self.interrupted = Interrupted(place)
        self._number = 0

    def __getattr__(self, name):
        return getattr(self._trace, name)

    def step(self, loss):
        """Record a step, or be interrupted."""
        number, self._number = self._number, self._number + 1
        if number != self._at:
            self._trace.step(loss, step=number)
            return
        try:
            with self.interrupted:
                self._trace.step(loss, step=number)
        except KeyboardInterrupt:
            assert self.interrupted.left == -1


def interrupted_run(kind, path, place):
    """Write a run whose step after the first ones is interrupted; tell whether it was."""
    params, options, loop = KINDS[kind]()
    with trace(path, params=params, **options) as t:
        wrapped = Interruptible(t, BEFORE, place)
        list(islice(loop(wrapped), BEFORE + 1 + AFTER))
    return wrapped.interrupted.left < 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a file that was being opened
@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_anywhere_in_step(tmp_path, kind):
    steps = BEFORE + 1 + AFTER
    expected = truth(kind, steps)
    length = next(
        n for n in (100, 300, 1000, 3000, 10_000, 100_000) if not interrupted_run(kind, tmp_path / f"long{n}", n)
    )
    places = sorted({*range(20), *random.Random(SEED).sample(range(length), PLACES)})
    for where in places:
        path = tmp_path / f"run{where}"
        interrupted_run(kind, path, where)
        run = open_run(place(kind, path))
        assert run.damage == [], where
        assert [step for step in range(steps) if step not in run.steps] in ([], [BEFORE]), where
        assert np.all(np.diff(run.steps) > 0), where
        assert not any(differences(expected[row["step"]], row) for row in run), where
    gc.collect()


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(3), MemoryError()])
def test_an_exception_in_the_loop_is_passed_on_as_it_is(tmp_path, error):
    with pytest.raises(type(error)) as raised, trace(tmp_path / "run", params={}) as t:  # noqa: PT012
        t.step(1.0)
        raise error
    assert raised.value is error
    assert raised.value.__context__ is None
    assert open_run(tmp_path / "run").loss.tolist() == [1.0]


SIGNALLED = """
import json, signal, sys
import numpy as np
from gradviz.tracing.reading import open_run
from gradviz.tracing.recorder import trace
from tests.params import Param

def interrupt(*ignored):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
w, interrupted, i = Param(0.0, 1.0), [], 0
with trace(sys.argv[1], params={"w": w}) as t:
    while len(interrupted) < 200 and i < 200_000:
        w.data = float(i) if i % 7 else np.full(i % 5, float(i))
        try:
            signal.setitimer(signal.ITIMER_REAL, 1e-5 + (i % 89) * 1e-6)
            try:
                t.step(i / 2, step=i)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            interrupted.append(i)
        i += 1
run = open_run(sys.argv[1])
assert run.damage == [], run.damage
steps = run.steps.tolist()
assert steps == sorted(set(steps))
missing = set(range(i)) - set(steps)
assert missing <= set(interrupted), missing
assert (run.loss == run.steps / 2).all()
assert all((np.asarray(row["w"]) == row["step"]).all() for row in run)
print(len(interrupted), len(missing))
"""


def test_real_signals_at_random_moments(tmp_path):
    done = run_python("-c", SIGNALLED, tmp_path / "run", env=dict(os.environ))
    assert done.returncode == 0, done.stderr.decode()
    assert int(done.stdout.split()[0]) > 20


# -- forks -------------------------------------------------------------------------------------

FORKING = """
import multiprocessing, os, sys
from pathlib import Path
from gradviz.tracing.reading import open_run
from gradviz.tracing.recorder import trace
from tests.kinds import KINDS, place

params, options, loop = KINDS[sys.argv[2]]()

def in_child(steps):
    for _ in range(3):
        next(steps)
    t.close()
    assert not t._mutex.locked()
    with trace(sys.argv[1] + "-child", params={}, exist="overwrite") as own:
        own.step(5.0)

with trace(sys.argv[1], params=params, **options) as t:
    steps = loop(t)
    next(steps)
    child = os.fork()
    if not child:
        in_child(steps)
        sys.exit(7)  # with everything that runs at exit
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    next(steps)
    with t._mutex:  # as if another thread were in the middle of a step
        child = os.fork()
        if not child:
            t.step(99.0)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    process = multiprocessing.get_context("fork").Process(target=in_child, args=(steps,))
    process.start()
    process.join()
    assert process.exitcode == 0
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, range(-3, 0)) == [3, 2, 1]
    next(steps)
assert open_run(sys.argv[1] + "-child").loss.tolist() == [5.0]
run = open_run(place(sys.argv[2], Path(sys.argv[1])))
print(len(run), run.damage)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_forks(tmp_path, kind):
    """A child writes nothing to its parent's run, even if it was made in the middle of a step; it may begin its own."""
    done = run_python("-c", FORKING, tmp_path / "run", kind, env=dict(os.environ))
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode() == "3 []\n"
    expected = truth(kind, 3)
    assert not any(differences(expected[row["step"]], row) for row in open_run(place(kind, tmp_path / "run")))


# -- writers -----------------------------------------------------------------------------------

RACING = """
import os, sys, time
from gradviz.errors import TraceBusyError
from gradviz.tracing.recorder import trace
path, exist, start = sys.argv[1], sys.argv[2], time.time() + 0.05
children = []
for i in range(8):
    child = os.fork()
    if not child:
        while time.time() < start:
            pass
        try:
            with trace(path, params={}, exist=exist) as t:
                for _ in range(200):
                    t.step(float(i))
                time.sleep(0.1)
            os._exit(0)
        except TraceBusyError:
            os._exit(1)
        except TraceError:
            os._exit(2)
    children.append(child)
print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@pytest.mark.parametrize("exist", ["number", "overwrite"])
def test_of_several_writers_that_start_at_once_one_wins(tmp_path, exist):
    for attempt in range(2):
        path = tmp_path / f"run{attempt}"
        done = run_python("-c", RACING, path, exist, env=dict(os.environ))
        outcomes = done.stdout.decode().split()
        assert outcomes.count("0") >= 1, done.stderr
        assert set(outcomes) <= {"0", "1", "2"}
        runs = [open_run(found) for found in tmp_path.glob(f"run{attempt}*")]
        whole = sum(len(run) == 200 for run in runs)
        assert whole == (outcomes.count("0") if exist == "number" else 1)  # a late one overwrites what was finished
        assert all(run.damage == [] and len(set(run.loss.tolist())) == 1 for run in runs if len(run))


def test_a_directory_moved_aside_at_the_last_moment_is_not_taken(tmp_path, monkeypatch):
    """Another process renames the directory and begins anew between our opening and our locking of the lock."""
    (tmp_path / "run").mkdir()
    lock = store._lock_at_once

    def slowly(descriptor):
        monkeypatch.setattr(store, "_lock_at_once", lock)
        (tmp_path / "run").rename(tmp_path / "run.1")
        trace(tmp_path / "run", params={}).close()
        lock(descriptor)

    monkeypatch.setattr(store, "_lock_at_once", slowly)
    with pytest.raises(TraceBusyError):
        trace(tmp_path / "run")
    assert len(open_run(tmp_path / "run")) == 0
    assert not (tmp_path / "run.1" / "run.json").exists()


def test_threads_of_one_process(tmp_path):
    """One trace may be shared; a second one of the same directory is refused to threads as well."""
    refused = []

    def work(number):
        for _ in range(50):
            t.step(float(number))
        try:
            trace(tmp_path / "run")
        except TraceBusyError as error:
            refused.append(error)

    with trace(tmp_path / "run", params={"w": Param(1.0, 2.0)}) as t:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    run = open_run(tmp_path / "run")
    assert len(refused) == 4
    assert run.damage == []
    assert sorted(run.loss.tolist()) == sorted([0.0, 1.0, 2.0, 3.0] * 50)


# -- clocks and readers ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_clock_that_goes_backwards(tmp_path, monkeypatch, kind):
    expected = truth(kind, 7)
    moments = iter(range(10_000, 0, -1))
    monkeypatch.setattr(time, "time", lambda: float(next(moments)))
    params, options, loop = KINDS[kind]()
    with trace(tmp_path / "run", params=params, **options) as t:
        list(islice(loop(t), 7))
    run = open_run(place(kind, tmp_path / "run"))
    assert run.steps.tolist() == list(range(7))
    assert run.damage == []
    assert (np.diff(run.times) < 0).all()
    assert not any(differences(expected[row["step"]], row) for row in run)
    assert run.summary()


WRITING = """
import sys, time
from tests.kinds import written
steps = int(sys.argv[3])
written(sys.argv[2], sys.argv[1], steps, after=lambda row: time.sleep(0.6 / steps))
"""


@pytest.mark.parametrize("kind", KINDS)
def test_readers_while_it_is_written(tmp_path, kind):
    """Opened again and again while a process writes, a run is always whole."""
    steps = 3000 if kind in {"small", "large", "line", "dynamic", "norms"} else 600
    expected = truth(kind, steps)
    seen = []

    def read():
        path = place(kind, tmp_path / "run")
        while not seen or seen[-1] < steps:
            if not (path / "run.json").exists():
                time.sleep(0.001)
                continue
            run = open_run(path)
            assert run.damage == []
            rows = run[-20:].to_rows()
            assert run.steps.tolist() == list(range(len(run)))
            assert not any(differences(expected[row["step"]], row) for row in rows)
            assert not seen or len(run) >= seen[-1]
            seen.append(len(run))

    writer = threading.Thread(
        target=run_python, args=("-c", WRITING, tmp_path / "run", kind, str(steps)), kwargs={"env": dict(os.environ)}
    )
    writer.start()
    try:
        read()
    finally:
        writer.join()
    assert len(set(seen)) > 3
