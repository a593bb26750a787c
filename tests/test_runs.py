"""Many runs beside each other: found by path, pattern and URL, in one table, the damaged ones named."""

import gc
import json
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

import fsspec
import numpy as np
import pytest

import gradviz
from gradviz.errors import GradvizError, GradvizTypeError, MissingExtraError, TraceError, UnknownNameError
from gradviz.tracing import fetching
from gradviz.tracing.fetching import Fetched, local_folder
from gradviz.tracing.many import open_runs
from gradviz.tracing.reading import open_run
from gradviz.tracing.recorder import trace
from tests.params import Param


def write(path, steps=3, factor=0.5, **meta):
    """Write a run whose loss shrinks by a factor."""
    w, W = Param(1.0, None), Param(np.array([3.0, 4.0]), np.array([0.0, 1.0]))
    with trace(path, params={"w": w, "W": W}, meta=meta) as t:
        for i in range(steps):
            w.data, w.grad = float(i), None if i == 0 else -float(i)
            t.step(factor**i)
    return path


@pytest.fixture
def sweep(tmp_path):
    for name in ("lr-10", "lr-9", "lr-1"):
        write(tmp_path / "runs" / name, lr=float(name.split("-")[1]))
    (tmp_path / "runs" / "notes.txt").write_text("no run")
    (tmp_path / "runs" / "empty").mkdir()
    return tmp_path / "runs"


# -- finding them ------------------------------------------------------------------------------


def test_a_pattern_a_folder_and_a_list_find_the_same_runs(sweep):
    expected = ("lr-1", "lr-9", "lr-10")
    for patterns in (
        f"{sweep}/*",
        sweep,
        str(sweep),
        sweep / "*",
        [f"{sweep}/lr-?", sweep / "lr-10"],
        (path for path in (sweep / "lr-1", sweep / "lr-9", sweep / "lr-10", sweep / "lr-1")),
    ):
        runs = open_runs(patterns)
        assert runs.names == expected
        assert len(runs) == 3
        assert [run.meta["lr"] for run in runs] == [1.0, 9.0, 10.0]
        assert runs.damage == []


def test_names_are_sorted_by_the_numbers_in_them(tmp_path):
    names = ["lr-1e-3", "lr-0.02", "lr-0.020", "lr-0.1", "lr-2", "lr-10", "lr-x"]
    for name in names:
        write(tmp_path / name)
    assert list(open_runs(tmp_path).names) == names


def test_one_run_is_a_sequence_of_one(sweep):
    assert open_runs(sweep / "lr-9").names == ("lr-9",)


def test_a_name_with_a_bracket_is_a_path_first(tmp_path):
    write(tmp_path / "lr[1]")
    assert open_runs(tmp_path / "lr[1]").names == ("lr[1]",)


def test_runs_of_one_name_are_told_apart(tmp_path):
    for path in ("a/x/run", "b/x/run", "b/y"):
        write(tmp_path / path)
    assert open_runs(f"{tmp_path}/**").names == ("a/x/run", "b/x/run", "y")
    assert open_runs([tmp_path / "b/x", tmp_path / "b/y"]).names == ("run", "y")


def test_ranks_are_runs_of_their_own(tmp_path):
    for rank in (0, 1, 10):
        write(tmp_path / "big" / f"rank-{rank:03d}", steps=rank + 1)
    write(tmp_path / "small")
    (tmp_path / "big" / "rank-002").symlink_to(tmp_path / "small")
    (tmp_path / "big" / "rank-x").mkdir()
    runs = open_runs(f"{tmp_path}/*")
    assert runs.names == ("big/rank-000", "big/rank-001", "big/rank-010", "small")
    assert [(m.run, m.rank) for m in runs.members] == [("big", 0), ("big", 1), ("big", 10), ("small", 0)]
    assert [len(run) for run in runs["big/*"]] == [1, 2, 11]
    assert open_runs(tmp_path / "big" / "rank-001").members[0].run == "big"
    table = runs.to_pandas()
    assert table.groupby(["run", "rank"]).size().to_dict() == {
        ("big", 0): 1, ("big", 1): 2, ("big", 10): 11, ("small", 0): 3,
    }  # fmt: skip


def test_ranks_as_the_tracer_writes_them(tmp_path):
    for rank in (1, 0):
        with trace(tmp_path / "big", params={"w": Param(float(rank))}, rank=rank, world_size=2) as t:
            t.step(1.0)
    with pytest.raises(TraceError, match="open_runs"):
        open_run(tmp_path / "big")
    runs = open_runs(tmp_path / "big")
    assert runs.names == ("big/rank-000", "big/rank-001")
    assert [run.rank for run in runs] == [0, 1]
    assert runs.to_pandas()["w"].tolist() == [0.0, 1.0]


def test_choosing_some(sweep):
    runs = open_runs(sweep)
    assert runs[0].meta["lr"] == 1.0
    assert runs[-1].meta["lr"] == 10.0
    assert runs["lr-9"].meta["lr"] == 9.0
    assert runs[1:].names == ("lr-9", "lr-10")
    assert runs["lr-1*"].names == ("lr-1", "lr-10")
    with pytest.raises(UnknownNameError, match="no run is named 'lr-7'\n  did you mean lr-"):
        runs["lr-7"]
    with pytest.raises(IndexError, match="no run 3: there are 3"):
        runs[3]


def test_what_is_no_run(tmp_path):
    for patterns in (tmp_path, tmp_path / "missing", f"{tmp_path}/*", [], [tmp_path / "a", tmp_path / "b"]):
        with pytest.raises(TraceError, match="no run"):
            open_runs(patterns)
    with pytest.raises(GradvizTypeError, match="not int"):
        open_runs([3])


# -- damage ------------------------------------------------------------------------------------


def test_damaged_runs_do_not_stop_the_others(sweep):
    (sweep / "lr-9" / "run.json").write_text(json.dumps({"version": 1}))
    path = sweep / "lr-1" / "seg-0000.npy"
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    for file in (sweep / "lr-10").iterdir():
        if file.name.startswith("seg"):
            file.write_bytes(b"nothing")
    (sweep / "lr-10" / "graphs.jsonl").unlink()
    runs = open_runs([sweep, sweep / "missing"])
    assert runs.names == ("lr-1", "lr-9")
    notes = runs.damage
    assert any(note.startswith("lr-10: nothing in ") for note in notes)
    assert any(note.startswith("lr-9: run.json: damaged") for note in notes)
    assert any(re.match(r"lr-1: seg-0000.npy: rows 2 do not match", note) for note in notes)
    assert any("missing" in note for note in notes)
    assert "2 runs, 2 not read" in repr(runs)
    assert len(runs.to_pandas()) == 5
    assert "damage" in runs.summary()


def test_a_run_of_a_later_format_is_named(sweep):
    from gradviz.tracing.store import sealed

    info = json.loads((sweep / "lr-9" / "run.json").read_text())
    del info["checksum"]
    (sweep / "lr-9" / "run.json").write_text(json.dumps(sealed(info | {"version": 99})))
    runs = open_runs(sweep)
    assert runs.names == ("lr-1", "lr-10")
    assert "has format 99" in runs.damage[0]


@pytest.fixture
def few_files():
    """Let this process open ten files more than it has."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    gc.collect()
    free = sorted(set(range(1000)) - set(map(int, os.listdir("/dev/fd"))))  # noqa: PTH208
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[10], limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_more_runs_than_files_may_be_open(tmp_path, few_files, monkeypatch):
    for i in range(30):
        write(tmp_path / f"run-{i}")
    runs = open_runs(tmp_path)
    assert len(runs) == 30
    assert runs.damage == []
    monkeypatch.setattr("gradviz.tracing.segments.SMALL", 0)
    with pytest.raises(TraceError, match=r"after [1-9] runs the system gives this process no more open files"):
        open_runs(tmp_path)


def test_a_folder_that_cannot_be_looked_into_is_named(sweep, monkeypatch):
    is_file, iterdir = Path.is_file, Path.iterdir

    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_file", lambda path: (refused if path.parent.name == "lr-9" else is_file)(path))
        patch.setattr(Path, "iterdir", lambda path: (refused if path.name == "empty" else iterdir)(path))
        runs = open_runs(f"{sweep}/*")
    assert runs.names == ("lr-1", "lr-10")
    assert sorted(runs.damage) == [
        "empty: cannot be listed: Permission denied",
        "lr-9: cannot be looked into: Permission denied",
    ]


# -- as text -----------------------------------------------------------------------------------


def test_the_repr_and_the_summary(sweep):
    runs = open_runs(sweep)
    assert repr(runs) == "Runs(3 runs: lr-1, lr-9, lr-10)"
    lines = runs.summary().splitlines()
    assert lines[0].split() == ["run", "steps", "first", "loss", "last", "loss", "least", "lr"]
    assert lines[2].split() == ["lr-9", "3", "1", "0.25", "0.25", "9.0"]
    assert len(lines) == 4


def test_hostile_names_and_meta_do_not_reach_the_terminal(tmp_path):
    write(tmp_path / "\x1b[31mred", note="\x1b]0;gotcha\x07")
    trace(tmp_path / "none", params={}).close()
    runs = open_runs(tmp_path)
    for text in (repr(runs), runs.summary()):
        assert "\x1b" not in text
        assert "\x07" not in text
    assert len(runs.summary().splitlines()) == 3


# -- the table ---------------------------------------------------------------------------------


def test_one_long_table(sweep):
    runs = open_runs(sweep)
    table = runs.to_pandas()
    assert list(table.columns) == ["run", "rank", "step", "time", "loss", "lr", "w", "w.grad", "W.norm", "W.grad.norm"]
    assert len(table) == 9
    assert table["loss"].tolist() == [1.0, 0.5, 0.25] * 3
    assert table["time"].tolist() == [time for run in runs for time in run.times]
    assert table["lr"].tolist() == [1.0] * 3 + [9.0] * 3 + [10.0] * 3
    assert table["W.norm"].tolist() == [5.0] * 9
    assert table["w.grad"].isna().tolist() == [True, False, False] * 3


def test_runs_of_different_parameters_and_meta(tmp_path):
    write(tmp_path / "a", lr=1, tags=["x"], loss="mse", seed=None)
    trace(tmp_path / "b", params={}, meta={"lr": "inf", "good": True}).close()
    with trace(tmp_path / "c", params={"v": Param(2.0)}, meta={"lr": 0.5, "tags": {"y": 1}}) as t:
        t.step(1.0)
    table = open_runs(tmp_path).to_pandas()
    assert table["run"].tolist() == ["a", "a", "a", "c"]
    assert table["lr"].tolist() == [1.0, 1.0, 1.0, 0.5]
    assert table["tags"].tolist() == ['["x"]'] * 3 + ['{"y": 1}']
    assert table["meta.loss"].tolist()[:3] == ["mse"] * 3
    assert table["v"].tolist()[3] == 2.0
    assert table["w"].isna().tolist() == [False, False, False, True]


def test_shapes_that_change_do_not_matter(tmp_path):
    W = Param(None)
    with trace(tmp_path / "run", params={"W": W}) as t:
        W.data = np.full(4, 1.0)
        t.step(1.0)
        W.data = np.full(9, 1.0)
        t.step(1.0)
    assert open_runs(tmp_path).to_pandas()["W.norm"].tolist() == [2.0, 3.0]


def test_norms_are_those_of_the_history(tmp_path):
    values = np.random.default_rng(0).standard_normal((50, 7, 3)) * 10.0 ** np.arange(-160, 190, 7)[:50, None, None]
    values[3, 0, 0], values[4, 0, 0], values[5] = np.nan, np.inf, 0.0
    for name, dtype in (("f8", "f8"), ("f4", "f4"), ("c16", "c16")):
        W = Param(None)
        with trace(tmp_path / name, params={"W": W}) as t:
            for value in values:
                with np.errstate(over="ignore"):
                    W.data = value.astype(dtype)
                t.step(1.0)
    for run, member in zip(open_runs(tmp_path), open_runs(tmp_path).members, strict=True):
        table = open_runs(tmp_path / member.name).to_pandas()
        assert np.allclose(table["W.norm"], run["W"].norm, rtol=1e-14 if member.name == "c16" else 0, equal_nan=True)


# -- URLs --------------------------------------------------------------------------------------


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    yield system
    for path in system.ls("/", detail=False):
        system.rm(path, recursive=True)


def test_runs_in_memory(sweep, memory):
    memory.put(str(sweep), "/runs", recursive=True)
    memory.pipe("/runs/lr-1/../../evil", b"")
    memory.pipe("/runs/lr-1/passwd", b"secret")
    runs = open_runs("memory://runs/*")
    assert runs.names == ("lr-1", "lr-9", "lr-10")
    assert open_runs("memory://runs").names == runs.names
    assert open_runs(["memory://runs/lr-9", sweep / "lr-1"]).names == ("lr-9", "lr-1")
    assert runs.to_pandas().equals(open_runs(sweep).to_pandas())
    assert runs.damage == []
    one = open_run("memory://runs/lr-9")
    assert one.meta == {"lr": 9.0}
    copied = {path.name for path in runs[0].path.iterdir()}
    assert {"run.json", "graphs.jsonl", "seg-0000.npy"} <= copied
    assert not copied & {"passwd", "evil", "writer.lock"}


def test_runs_in_a_zip_file(sweep, tmp_path):
    shutil.move(sweep / "lr-9", sweep / "deep" / "rank-003")
    archive = shutil.make_archive(str(tmp_path / "runs"), "zip", sweep)
    for url in (f"zip://*::{archive}", f"zip://::{archive}"):
        runs = open_runs(url)
        assert runs.names == ("deep/rank-003", "lr-1", "lr-10")
        assert runs.members[0].rank == 3
        assert [len(run) for run in runs] == [3, 3, 3]
    alone = shutil.make_archive(str(tmp_path / "alone"), "zip", sweep / "lr-1")
    assert open_runs(f"zip://::{alone}").names == ("alone",)
    assert open_run(f"zip://lr-10::{archive}").meta == {"lr": 10.0}


def test_frames_of_a_fetched_run(tmp_path, memory):
    w = gradviz.Tensor(2.0, name="w")
    with trace(tmp_path / "run", params={"w": w}) as t:
        loss = (w * 3.0 - 1.0) ** 2
        loss.backward()
        t.step(loss)
    memory.put(str(tmp_path / "run"), "/one", recursive=True)
    frame = open_run("memory://one")[-1:].frame(0)
    assert frame.value("loss") == 25.0
    assert frame.grad("w") == 30.0


def test_the_copy_goes_with_the_run(sweep, memory):
    memory.put(str(sweep / "lr-1"), "/one", recursive=True)
    run = open_run("memory://one")
    part, folder = run[1:], Path(str(run.path))
    del run
    gc.collect()
    assert folder.exists()
    assert len(part.loss) == 2
    del part
    gc.collect()
    assert not folder.exists()


def test_more_bytes_than_stated_are_not_fetched(sweep, tmp_path, monkeypatch):
    (sweep / "lr-1" / "seg-0000.npy").write_bytes(bytes(1 << 24))
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in (sweep / "lr-1").iterdir():
            archive.write(file, f"lr-1/{file.name}")
    monkeypatch.setattr(fetching, "RUN_LIMIT", 1 << 20)
    made = []
    new = Fetched.new
    monkeypatch.setattr(Fetched, "new", lambda: made.append(new()) or made[-1])
    with pytest.raises(TraceError, match="has more than"):
        open_run(f"zip://lr-1::{tmp_path}/bomb.zip")
    assert sum(file.stat().st_size for file in made[0].iterdir()) < 1 << 21


def test_urls_that_lead_nowhere(tmp_path, memory):
    memory.pipe("/empty/file", b"")
    for url in ("memory://nothing/*", "memory://nothing", "memory://empty", f"zip://*::{tmp_path}/none.zip"):
        with pytest.raises(TraceError, match=re.escape(url)):
            open_runs(url)
        with pytest.raises(TraceError, match=re.escape(url)):
            open_run(url)
    with pytest.raises(GradvizError, match="cannot read nonsense://x: ValueError: Protocol not known"):
        open_runs("nonsense://x")


def test_a_missing_package_is_named_with_its_command(sweep, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "fsspec.core", None)
        for act in (open_run, open_runs):
            with pytest.raises(MissingExtraError, match=r'needs fsspec.*\n  pip install "gradviz\[query\]"'):
                act("memory://x")
    for package in ("pandas", "pyarrow"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(MissingExtraError, match=rf'needs {package}.*\n  pip install "gradviz\[query\]"'):
                open_runs(sweep).to_pandas()


def test_a_path_is_left_alone(tmp_path):
    assert local_folder(tmp_path) is tmp_path
    assert local_folder("a/b") == Path("a/b")
