"""The files of a run: whole at every moment, one writer, and never a wrong value."""

import io
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradviz.errors import GradvizValueError, TraceBusyError, TraceError
from gradviz.tracing.layout import BLOCK, Column, Layout, digest
from gradviz.tracing.reading import open_run
from gradviz.tracing.recorder import trace
from gradviz.tracing.store import RowFile, RunDirectory, sealed, unsealed


def run_python(code, *args):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)], check=False, capture_output=True, text=True
    )


# -- layout ------------------------------------------------------------------------------------

dtypes = st.sampled_from(["<f8", "<f4", "<f2", "<i8", "<i4", "|i1", "|b1", "<c16", ">f8"])
shapes = st.lists(st.integers(0, 5), max_size=3).map(tuple)
columns = st.lists(
    st.builds(Column, st.text(max_size=6), st.sampled_from(["value", "grad"]), dtypes, shapes),
    max_size=12,
    unique_by=lambda c: (c.name, c.part),
)


@given(columns)
@settings(max_examples=60, deadline=None)
def test_plain_numpy_reads_every_header(columns):
    layout = Layout(columns)
    rows = np.load(io.BytesIO(layout.header), allow_pickle=False)
    assert rows.dtype == layout.dtype
    assert rows.dtype.itemsize == layout.itemsize
    assert layout.itemsize % 64 == 0
    assert rows.shape == (0,)


@given(columns)
@settings(max_examples=60, deadline=None)
def test_columns_do_not_overlap_and_are_aligned(columns):
    layout = Layout(columns)
    places = sorted((layout.offset[c], layout.offset[c] + c.nbytes) for c in layout.columns)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(places))
    assert all(layout.offset[c] % min(8, np.dtype(c.dtype).alignment) == 0 for c in layout.columns)
    assert not places or (places[0][0] >= layout.loss_at + 8 and places[-1][1] <= layout.itemsize)


def test_the_fields_have_the_parameters_names():
    layout = Layout([Column("w", "value"), Column("w", "grad"), Column("größe", "value"), Column("loss", "value")])
    assert layout.dtype.names == ("step", "time", "flags", "checksum", "loss", "w", "w.grad", "größe", "p2")
    assert layout.header[6] == 3  # names outside ASCII need format 3.0
    assert Layout([Column("w", "value")]).header[6] == 1


def test_names_that_cannot_be_fields_get_numbers():
    names = ["", "step", "a\nb", "x" * 100, "p1", "w", "w.grad", "'),('"]
    layout = Layout([Column(name, part) for name in names for part in ("value", "grad")])
    fields = np.load(io.BytesIO(layout.header)).dtype.names
    assert len(set(fields)) == len(fields) == 5 + 16
    assert {"p0", "p2", "p3", "p4", "w", "w.grad", "'),('"} <= set(fields)


def test_too_many_fields_for_a_header_are_grouped():
    many = [Column(f"layer{i}.weight", part) for i in range(400) for part in ("value", "grad")]
    arrays = [Column(f"m{i}", part, "<f4", (3, 2)) for i in range(200) for part in ("value", "grad")]
    layout = Layout(many + arrays)
    rows = np.load(io.BytesIO(layout.header))
    assert rows.dtype["scalars"].shape == (800,)
    assert rows.dtype["float32"].shape == (400 * 6,)
    assert len(layout.header) < 1000


def test_the_row_limit_is_stated():
    with pytest.raises(GradvizValueError, match="limit is 2147483584"):
        Layout([Column("w", "value", "<f8", (2**29,))])


def test_a_layout_can_be_told_from_its_header():
    layout = Layout([Column("w", "value"), Column("w", "grad"), Column("W", "value", "<f4", (3, 2))])
    assert Layout.from_header(layout.header) == layout
    for i in range(len(layout.header)):
        damaged = bytearray(layout.header)
        damaged[i] ^= 4
        found = Layout.from_header(bytes(damaged))
        assert found is None or found != layout or 32 <= i < 48


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 1024, 5000])
def test_a_digest_notices_every_flipped_bit(size):
    array = np.random.default_rng(size).standard_normal(size)
    before = digest(array)
    for position in {0, size // 2, size - 1} if size else ():
        array.view(np.uint8)[8 * position + 3] ^= 16
        assert digest(array) != before
        array.view(np.uint8)[8 * position + 3] ^= 16
    assert digest(array) == before


# -- row files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("elements", [1, BLOCK])
def test_numpy_sees_every_row_while_the_file_is_open(tmp_path, elements):
    layout = Layout([Column("W", "value", "<f8", (elements, 1))])
    path = tmp_path / "seg-0000.npy"
    file = RowFile(path, layout.header, layout.itemsize, is_large=layout.is_large)
    for i in range(40):
        row = bytes([i]) * layout.itemsize
        file.append_parts([row]) if layout.is_large else file.append(row)
        for rows in (np.load(path, mmap_mode="r"), np.load(path)):
            assert rows.shape == (i + 1,)
            assert rows[i].tobytes() == row
    file.close()
    assert path.stat().st_size == len(layout.header) + 40 * layout.itemsize
    file.append_parts([b"\7" * layout.itemsize]) if layout.is_large else file.append(b"\7" * layout.itemsize)
    file.close()
    assert np.load(path).shape == (41,)


def test_json_seals():
    record = {"a": [1, None, "é\ud800"], "b": {"c": 1e300}}
    text = json.dumps(sealed(record))
    assert unsealed(text) == record
    assert all(unsealed(text[:i] + chr(ord(text[i]) ^ 1) + text[i + 1 :]) != record for i in range(len(text) - 13))
    assert unsealed("[" * 100_000) is None
    assert unsealed("[]") is unsealed("{}") is unsealed("") is None


# -- the directory -----------------------------------------------------------------------------


def one_run(path, losses=(1.0,), **options):
    with trace(path, params={}, **options) as t:
        for loss in losses:
            t.step(loss)


def test_an_older_run_is_kept_under_a_number(tmp_path):
    for loss in (1.0, 2.0, 3.0):
        one_run(tmp_path / "line", [loss])
    assert open_run(tmp_path / "line").loss.tolist() == [3.0]
    assert open_run(tmp_path / "line.1").loss.tolist() == [1.0]
    assert open_run(tmp_path / "line.2").loss.tolist() == [2.0]


def test_an_older_run_can_be_overwritten_or_refused(tmp_path):
    one_run(tmp_path / "line", [1.0])
    (tmp_path / "line" / "notes.txt").write_text("mine")
    one_run(tmp_path / "line", [2.0], exist="overwrite")
    assert open_run(tmp_path / "line").loss.tolist() == [2.0]
    assert (tmp_path / "line" / "notes.txt").read_text() == "mine"
    with pytest.raises(TraceError, match="already holds a run"):
        one_run(tmp_path / "line", exist="error")
    with pytest.raises(GradvizValueError, match="number, overwrite, error"):
        one_run(tmp_path / "line", exist="append")


def test_a_foreign_directory_is_never_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    for exist in ("number", "overwrite", "error"):
        with pytest.raises(TraceError, match=r"no run \(thesis.tex\)"):
            trace(tmp_path, exist=exist)
    (tmp_path / "run.json").symlink_to(tmp_path / "thesis.tex")
    with pytest.raises(TraceError, match="no run"):
        trace(tmp_path, exist="overwrite")
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_an_empty_directory_and_missing_parents_are_fine(tmp_path):
    (tmp_path / "empty").mkdir()
    one_run(tmp_path / "empty")
    one_run(tmp_path / "a" / "b" / "c")
    assert len(open_run(tmp_path / "a" / "b" / "c")) == 1


def test_planted_links_are_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (tmp_path / "link").symlink_to(victim)
    with pytest.raises(TraceError, match="not a directory"):
        trace(tmp_path / "link")
    target = tmp_path / "target.txt"
    target.write_text("precious")
    with trace(tmp_path / "run", params={}) as t:
        (tmp_path / "run" / "seg-0000.npy").symlink_to(target)
        with pytest.raises(TraceError, match="seg-0000"):
            t.step(1.0)
    assert target.read_text() == "precious"
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / "writer.lock").symlink_to(target)
    with pytest.raises(TraceError):
        trace(tmp_path / "locked")
    assert target.read_text() == "precious"


def test_a_file_in_the_way_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TraceError, match="not a directory"):
        trace(tmp_path / "file")
    with pytest.raises(TraceError, match="cannot make the run directory"):
        trace(tmp_path / "file" / "run")


def test_a_second_writer_is_refused(tmp_path):
    with trace(tmp_path / "run", params={}) as t:
        t.step(1.0)
        for exist in ("number", "overwrite"):
            with pytest.raises(TraceBusyError, match=f"process {os.getpid()} is writing"):
                trace(tmp_path / "run", exist=exist)
        other = run_python(
            "import sys; from gradviz.tracing.store import RunDirectory; RunDirectory(sys.argv[1])", tmp_path / "run"
        )
        assert other.returncode == 1
        assert f"process {os.getpid()} is writing" in other.stderr
        t.step(2.0)
    assert open_run(tmp_path / "run").loss.tolist() == [1.0, 2.0]
    RunDirectory(tmp_path / "run").close()


def test_a_read_only_directory_is_a_clear_error():
    code = """
        import os, sys, tempfile
        from gradviz.errors import TraceError
        from gradviz.tracing.recorder import trace
        with tempfile.TemporaryDirectory() as folder:  # import everything while this user may
            trace(folder + "/run").close()
        if os.getuid() == 0:  # who may write everywhere
            os.setuid(65534)
        try:
            trace(sys.argv[1] + "/run")
        except TraceError as error:
            print(error.errno, error)
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        done = run_python(code, folder)
        Path(folder).chmod(0o755)
    assert "13 cannot make the run directory" in done.stdout, done.stderr


# -- faults ------------------------------------------------------------------------------------

WRITER = """
    import sys
    import numpy as np
    from types import SimpleNamespace
    from gradviz.tracing.recorder import trace
    shape = (int(sys.argv[2]),)
    w = SimpleNamespace(data=np.zeros(shape) if shape[0] else 0.0, grad=None)
    with trace(sys.argv[1], params={"w": w}, exist="overwrite") as t:
        i = 0
        while True:
            w.data = np.full(shape, float(i)) if shape[0] else float(i)
            w.grad = -w.data
            t.step(i / 2)
            i += 1
            print(i, flush=True)
"""


@pytest.mark.parametrize("elements", [0, 2000])
def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path, elements):
    for attempt in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), tmp_path / "run", str(elements)],
            stdout=subprocess.PIPE,
            text=True,
        )
        writer.stdout.readline()
        time.sleep(random.Random(attempt).uniform(0, 0.1))
        writer.send_signal(signal.SIGKILL)
        acknowledged = int(("1\n" + writer.communicate()[0]).rsplit("\n", 2)[-2])
        rows = np.load(tmp_path / "run" / "seg-0000.npy", mmap_mode="r")
        assert acknowledged <= len(rows) <= acknowledged + 1
        assert np.array_equal(rows["step"], np.arange(len(rows)))
        assert np.array_equal(rows["loss"], np.arange(len(rows)) / 2)
        run = open_run(tmp_path / "run")
        assert run.damage == []
        assert np.array_equal(run["w"].value.reshape(len(rows), -1)[:, 0], np.arange(len(rows)))


@pytest.mark.parametrize("elements", [0, 2000])
def test_a_full_disk_is_an_error_in_the_users_own_step(tmp_path, elements):
    code = """
        import resource, sys
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        from gradviz.errors import TraceError
        import builtins
        def shown(i, flush):
            pass
        print = shown
        try:
            exec(sys.argv[3])
        except TraceError as error:
            builtins.print(t.__len__(), error.errno, error)
    """
    done = run_python(code, tmp_path / "run", elements, textwrap.dedent(WRITER))
    written, errno, message = done.stdout.split(" ", 2)
    assert int(errno) in {27, 28}, done.stderr
    assert f"cannot write row {written}: " in message
    assert f"the {written} rows before it are intact" in message
    assert len(np.load(tmp_path / "run" / "seg-0000.npy")) == int(written) > 5
    run = open_run(tmp_path / "run")
    assert len(run) == int(written)
    assert run.damage == []


def test_the_child_of_a_fork_writes_nothing(tmp_path):
    code = """
        import os, sys
        from gradviz.tracing.recorder import trace
        with trace(sys.argv[1], params={}) as t:
            t.step(1.0)
            child = os.fork()
            t.step(2.0 if child else 99.0)
            if not child:
                t.step(98.0)
                t.close()
                os._exit(0)
            os.waitpid(child, 0)
            t.step(3.0)
    """
    done = run_python(code, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert open_run(tmp_path / "run").loss.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_in_the_loop_leaves_the_rows_and_closes(tmp_path, error):
    with pytest.raises(error), trace(tmp_path / "run", params={}) as t:  # noqa: PT012
        t.step(1.0)
        t.step(2.0)
        raise error
    assert open_run(tmp_path / "run").loss.tolist() == [1.0, 2.0]
    with pytest.raises(TraceError, match="closed"):
        t.step(3.0)
    t.close()
    RunDirectory(tmp_path / "run").close()  # nobody holds the lock
