"""Full disks, calls that fail, read-only directories: an error in the caller's own step, and earlier rows whole."""

import errno
import os
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from gradviz.errors import TraceError
from gradviz.tracing import store
from gradviz.tracing.reading import open_run
from gradviz.tracing.recorder import trace
from tests.kinds import KINDS, differences, place, truth
from tests.processes import run_python

STEPS = 5
CALLS = ("open", "pwritev", "posix_fallocate")


class FailingSystem:
    """The operating system as the store sees it; the n-th of the calls that can fail does, once."""

    def __init__(self, n):
        self.left = n
        self.failed = False

    def __getattr__(self, name):
        found = getattr(os, name)
        return self._counted(found) if name in CALLS else found

    def _counted(self, call):
        def counted(*given):
            self.fail_perhaps()
            return call(*given)

        return counted

    def fail_perhaps(self):
        """Fail if it is time."""
        self.left -= 1
        if self.left == -1:
            self.failed = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class HalfWriting(FailingSystem):
    """The n-th write takes only the first bytes; the disk is full right after them."""

    def __getattr__(self, name):
        return self._half if name == "pwritev" else getattr(os, name)

    def _half(self, descriptor, parts, start):
        data = b"".join(parts)
        self.left -= 1
        if self.left == -1 and len(data) > 1:
            return os.pwrite(descriptor, data[: len(data) // 2], start)
        if self.left == -2:
            self.failed = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.pwrite(descriptor, data, start)


class Stubborn:
    """A trace whose user goes on after an error; ``failed`` are the steps that raised one."""

    def __init__(self, opened, expected):
        self._trace, self._expected = opened, expected
        self._number = 0
        self.failed = []
        self.errors = []

    def step(self, loss):
        """Record a step, or the error; what is on disk is right at once."""
        number, self._number = self._number, self._number + 1
        try:
            self._trace.step(loss, step=number)
        except TraceError as error:
            self.errors.append(error)
            self.failed.append(number)
            check(self._trace.path, number + 1, self.failed, self._expected)

    def note(self, *given, **data):
        """Write a remark, or take note of the error."""
        try:
            self._trace.note(*given, **data)
        except TraceError as error:
            self.errors.append(error)


def write_with_faults(kind, path, expected):
    """Write some steps; return the steps that failed, and the errors of them and of the closing."""
    params, options, loop = KINDS[kind]()
    opened = trace(path, params=params, exist="overwrite", **options)
    stubborn = Stubborn(opened, expected)
    list(islice(loop(stubborn), STEPS))
    try:
        opened.close()
    except TraceError as error:
        stubborn.errors.append(error)
    return stubborn.failed, stubborn.errors


def check(path, steps, failed, expected):
    """Compare what is on the disk with what was recorded; a step that failed may be there, but then it is right."""
    files = sorted(path.glob("seg-*.npy"))
    plain = sorted(step for file in files for step in np.load(file)["step"].tolist())
    assert [step for step in plain if step not in failed] == [step for step in range(steps) if step not in failed]
    run = open_run(path)
    assert run.steps.tolist() == plain
    assert run.damage == []
    assert not any(differences(expected[row["step"]], row) for row in run)


@pytest.mark.parametrize("system", [FailingSystem, HalfWriting])
@pytest.mark.parametrize("kind", KINDS)
def test_every_call_fails_once(tmp_path, monkeypatch, kind, system):
    expected = truth(kind, STEPS)
    for n in range(1000):
        faulty = system(n)
        monkeypatch.setattr(store, "os", faulty)
        path = tmp_path / f"run{n}"
        try:
            failed, errors = write_with_faults(kind, path, expected)
        except TraceError as error:  # the directory could not be made
            failed, errors = None, [error]
        finally:
            monkeypatch.setattr(store, "os", os)
        assert all(error.errno == errno.ENOSPC for error in errors)
        if failed is None:
            assert not list(path.rglob("*.npy"))
            continue
        assert len(errors) == faulty.failed
        check(place(kind, path), STEPS, failed, expected)
        if not faulty.failed:
            return
    pytest.fail("it never ended")


SMALL_DISK = """
import errno, os, resource, subprocess, sys
from pathlib import Path
from gradviz.errors import TraceError
from gradviz.tracing.reading import open_run
from tests.kinds import differences, place, truth, written

folder, kind = sys.argv[1:]
mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "none", folder]
if not {own_mounts} or subprocess.run(mount, capture_output=True).returncode:
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
expected, done = truth(kind, 2), []
try:
    written(kind, folder + "/run", None, after=done.append)
except TraceError as error:
    print(errno.errorcode[error.errno], len(done), str(error).splitlines()[0])
run = open_run(place(kind, Path(folder, "run")))
wrong = [row["step"] for row in run[: len(done)] if differences(done[row["step"]], row, all_known=False)]
print(len(run) - len(done), run.damage, len(wrong))
"""
UNSHARED = ("unshare", "--map-root-user", "--mount")  # mounts that nobody else sees, and that end with the process


def has_own_mounts():
    """Whether a process of this user may have file systems of its own."""
    try:
        return subprocess.run([*UNSHARED, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_is_really_full(tmp_path, kind):
    """On a file system of 600 KB if one may be mounted here, otherwise with a limit on the size of files."""
    own_mounts = has_own_mounts()
    code = SMALL_DISK.format(own_mounts=own_mounts)
    line = [*(UNSHARED if own_mounts else ()), sys.executable, "-c", code, tmp_path, kind]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    first, second = done.stdout.splitlines()
    code, rows, message = first.split(" ", 2)
    assert code in {"ENOSPC", "EFBIG"}, done.stderr
    assert "cannot" in message
    assert int(rows) > 5
    assert second in {"0 [] 0", "1 [] 0"}  # the row of the step that failed may be there


READ_ONLY = """
import os, sys
from pathlib import Path
import gradviz
from gradviz.errors import TraceError
from gradviz.tracing.reading import open_run
from gradviz.tracing.recorder import trace
from tests.params import Param
import numpy
from tests.kinds import written
written("line", sys.argv[1] + "/first", 2)  # everything is imported while this user may
w = Param(1.0)
if os.getuid() == 0:
    os.setuid(65534)
with trace(sys.argv[1] + "/run", params={"w": w}) as t:
    t.step(1.0)
    Path(sys.argv[1], "run").chmod(0o555)
    w.data = numpy.zeros(3)
    try:
        t.step(2.0)
    except TraceError as error:
        print(error.errno, error)
    w.data = 2.0
    t.step(3.0)
run = open_run(sys.argv[1] + "/run")
print(run.loss.tolist(), run.damage)
"""


def test_a_directory_that_becomes_read_only():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        done = run_python("-c", READ_ONLY, folder, env=dict(os.environ))
        assert done.returncode == 0, done.stderr
        lines = done.stdout.decode().splitlines()
        Path(folder, "run").chmod(0o755)
    assert lines[0].startswith(f"{errno.EACCES} cannot"), lines
    assert lines[-1] == "[1.0, 3.0] []"
