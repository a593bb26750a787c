"""Runs made by somebody who means harm: planted links, pipes, devices, absurd lengths, other versions, odd records."""

import json
import os
import signal
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from gradviz.errors import GradvizError, TraceError
from gradviz.tracing.reading import open_run
from gradviz.tracing.recorder import trace
from gradviz.tracing.store import sealed
from tests.kinds import KINDS, place, written

MEMORY = 60_000_000  # bytes at most, for a run of some kilobytes
SECONDS = 10


@pytest.fixture(autouse=True)
def alarm():
    """Fail what hangs."""
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS * 6)
    yield
    signal.alarm(0)


def _too_long(*ignored):
    raise TimeoutError("it hangs")


def names_of(kind, path):
    """Return the names of all files that a run of a kind consists of."""
    written(kind, path, 4)
    return sorted(file.name for file in place(kind, path).iterdir())


# -- links planted where we write --------------------------------------------------------------


@pytest.mark.parametrize("dangling", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_no_planted_link_is_followed_by_the_writer(tmp_path, kind, dangling):
    victim = tmp_path / "victim"
    content = None if dangling else b"precious" * 1000
    for name in names_of(kind, tmp_path / "first"):
        for planted in (name, f".{name}"):
            if content is not None:
                victim.write_bytes(content)
            path = tmp_path / f"run-{planted}"
            with pytest.raises(TraceError) if name == planted else _anyway():
                _write_with_planted(kind, path, planted, victim)
            assert (victim.read_bytes() if victim.exists() else None) == content, planted


class _anyway:  # noqa: N801
    """An error of ours or none."""

    def __enter__(self):
        return self

    def __exit__(self, error_type, error, place_):
        return error_type is None or issubclass(error_type, TraceError)


def _write_with_planted(kind, path, name, victim):
    """Write a run into whose directory a link is planted as soon as it exists, or just before."""
    params, options, loop = KINDS[kind]()
    folder = place(kind, path)
    if name.lstrip(".") in {"run.json", "writer.lock"}:
        folder.mkdir(parents=True)
        (folder / name).symlink_to(victim)
    with trace(path, params=params, **options) as t:
        if not (folder / name).is_symlink():
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(victim)
        for _ in zip(range(6), loop(t), strict=False):
            pass
    if name == "events.jsonl" or not name.startswith("."):
        t.close()


def test_no_planted_link_as_the_directory_is_followed(tmp_path):
    (tmp_path / "victim").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    with pytest.raises(TraceError, match="not a directory"):
        trace(tmp_path / "link")
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "rank-000").symlink_to(tmp_path / "victim")
    with pytest.raises(TraceError, match="not a directory"):
        trace(tmp_path / "many", rank=0, world_size=2)
    assert list((tmp_path / "victim").iterdir()) == []


# -- what is no file, where we read ------------------------------------------------------------


def _fifo(path):
    os.mkfifo(path)


def _device(path):
    path.symlink_to("/dev/zero")


def _passwords(path):
    path.symlink_to("/etc/passwd")


def _loop(path):
    path.symlink_to(path.name)


def _folder(path):
    path.mkdir()


@pytest.mark.parametrize("put", [_fifo, _device, _passwords, _loop, _folder])
@pytest.mark.parametrize("kind", ["dynamic", "checkpoints", "noted"])
def test_what_is_no_regular_file_is_not_read(tmp_path, kind, put):
    for name in names_of(kind, tmp_path / "run"):
        folder = place(kind, tmp_path / "run")
        (folder / name).rename(tmp_path / "aside")
        put(folder / name)
        assert "root:" not in told(folder)
        assert name == "writer.lock" or is_noticed(folder), name
        (folder / name).rmdir() if put is _folder else (folder / name).unlink()
        (tmp_path / "aside").rename(folder / name)


def told(path):
    """Return what a run says, or the error."""
    try:
        return read_everything(path)
    except TraceError as error:
        return str(error)


def is_noticed(path):
    """Whether something is known to be wrong with a run."""
    try:
        run = open_run(path)
        return run.damage or any(run.frame(step).meta["replay"] != "exact" for step in run.steps.tolist())
    except TraceError:
        return True


def read_everything(path):
    """Ask a run for all it has."""
    run = open_run(path)
    rows = list(run)
    frames = [run.frame(step) for step in run.steps.tolist()[:3]]
    history = [(run[name].norm, run[name].grad_norm) for name in run.names]
    return repr((run.summary(), rows, [frame.meta for frame in frames], history, run.damage, run.events, run.meta))


# -- records with a right checksum and absurd content ------------------------------------------

ABSURD = [
    -1, 0, 10**30, 1.5, True, None, "", "x" * 10_000, "\ud800", "../../etc/passwd", [], [[]], [None],
    float("nan"), {"a": {"b": {}}}, [0] * 1000,
]  # fmt: skip
SHAPES = [[2**62], [2**31, 2**31], [-1], [1.5], [True], ["3"], [0] * 100, [1] * 65, "3", None, [2**29], [10**8]]
DTYPES = ["|O", "O", "<V8", "<U99999999", "|S2147483647", "<f3", "f8,i4", "<M8[s]", "", None, 8, ">f8", "<c16"]


def refuses_or_reads(path):
    """Read a run; an error of ours is an answer, memory and time are bounded."""
    tracemalloc.start()
    try:
        read_everything(path)
    except TraceError:
        pass
    except GradvizError as error:
        raise AssertionError("not a TraceError") from error
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < MEMORY


def replaced(path, name, change):
    """Change every line of a JSON file, seal it again, and read the run."""
    content = (path / name).read_text()
    lines = [content] if name == "run.json" else content.splitlines()
    changed = []
    for line in lines:
        record = json.loads(line)
        del record["checksum"]
        changed.append(json.dumps(sealed(change(record))))
    (path / name).write_text("\n".join(changed) + "\n", encoding="utf-8", errors="surrogatepass")
    refuses_or_reads(path)
    (path / name).write_text(content)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("small", "run.json"),
        ("noted", "events.jsonl"),
        ("checkpoints", "events.jsonl"),
        ("checkpoints", "graphs.jsonl"),
        ("dynamic", "graphs.jsonl"),
    ],
)
def test_any_field_may_be_absurd(tmp_path, kind, name):
    written(kind, tmp_path / "run", 4)
    path = place(kind, tmp_path / "run")
    content = (path / name).read_text()
    keys = {key for line in ([content] if name == "run.json" else content.splitlines()) for key in json.loads(line)}
    for key in sorted(keys - {"checksum"}):
        for value in ABSURD:
            replaced(path, name, lambda record, key=key, value=value: {**record, key: value})
        replaced(path, name, lambda record, key=key: {k: v for k, v in record.items() if k != key})


@pytest.mark.parametrize("kind", ["line", "large"])
def test_columns_of_any_shape_and_type(tmp_path, kind):
    written(kind, tmp_path / "run", 3)

    def with_column(record, **what):
        return {**record, "columns": [[*_column(column, what)] for column in record["columns"]]}

    for shape in SHAPES:
        replaced(tmp_path / "run", "graphs.jsonl", lambda record, shape=shape: with_column(record, shape=shape))
    for dtype in DTYPES:
        replaced(tmp_path / "run", "graphs.jsonl", lambda record, dtype=dtype: with_column(record, dtype=dtype))
    for value in ABSURD:
        replaced(tmp_path / "run", "graphs.jsonl", lambda record, value=value: {**record, "columns": [value] * 3})


def _column(column, what):
    name, part, dtype, shape = column
    return name, part, what.get("dtype", dtype), what.get("shape", shape)


def test_graphs_of_any_content(tmp_path):
    written("line", tmp_path / "run", 3)

    def with_node(record, key, value):
        graph = record["graph"]
        return {**record, "graph": {**graph, "nodes": [{**node, key: value} for node in graph["nodes"]]}}

    record = json.loads((tmp_path / "run" / "graphs.jsonl").read_text())
    for key in record["graph"]["nodes"][0]:
        for value in [
            *ABSURD,
            [2**31, 2**31],
            [[2**40]],
            [10**6] * 3,
            "object",
            "O",
            "V8",
            "U9999999",
            "datetime64[s]",
        ]:
            replaced(
                tmp_path / "run",
                "graphs.jsonl",
                lambda record, key=key, value=value: with_node(record, key, value),
            )


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 100_000, "1" * 100_000, '"' + "\\u0000" * 50_000, "{" * 10])
def test_json_of_any_depth(tmp_path, text):
    for kind in ("line", "noted"):
        for name in ("run.json", "graphs.jsonl", "events.jsonl"):
            written(kind, tmp_path / f"{kind}-{name}", 3)
            path = place(kind, tmp_path / f"{kind}-{name}")
            (path / name).write_text(text)
            refuses_or_reads(path)


# -- headers -----------------------------------------------------------------------------------

HEADERS = [
    b"\x93NUMPY\x03\x00\xff\xff\xff\x7f",
    b"\x93NUMPY\x01\x00\xff\xff" + b"[" * 65535,
    b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
    b"\x93NUMPY\xff\xff",
    b"\x93NUMPY\x01\x00\xb6\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (3,)}".ljust(182),
    b"\x93NUMPY\x01\x00\xb6\x00" + b"{'descr': [('w', '<f8', (99999999999,))]}".ljust(182),
    b"\x93NUMPY\x01\x00\xb6\x00" + b"__import__('os').system('touch pwned')".ljust(182),
]


@pytest.mark.parametrize("kind", ["small", "large", "dynamic", "checkpoints", "batches"])
def test_headers_of_any_content(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(kind, tmp_path / "run", 4)
    for file in sorted((tmp_path / "run").glob("*.npy")):
        content = file.read_bytes()
        for header in HEADERS:
            file.write_bytes(header + content[len(header) :])
            refuses_or_reads(tmp_path / "run")
        for digits in (
            b"9999999999999999",
            b"-000000000000001",
            b"             1e9",
            b"        ________",
            b"\xff" * 16,
        ):
            file.write_bytes(content[:32] + digits + content[48:])
            refuses_or_reads(tmp_path / "run")
        file.write_bytes(content)
    assert not Path("pwned").exists()


def test_a_sparse_file_of_many_gigabytes(tmp_path):
    """Its size costs nothing: rows are believed only if their checksums hold, and only as many as are counted."""
    written("small", tmp_path / "run", 4)
    for name in ("seg-0000.npy", "run.json", "graphs.jsonl", "events.jsonl"):
        content = (tmp_path / "run" / name).read_bytes()
        os.truncate(tmp_path / "run" / name, 1 << 40)
        refuses_or_reads(tmp_path / "run")
        (tmp_path / "run" / name).write_bytes(content)


# -- versions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 2, 10**20, "1", 1.5, None, [1]])
def test_another_version_is_refused_and_named(tmp_path, version):
    written("small", tmp_path / "run", 2)
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    del info["checksum"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(sealed({**info, "version": version})))
    with pytest.raises(TraceError, match="has format") as raised:
        open_run(tmp_path / "run")
    assert "update gradviz" in str(raised.value)


def test_arrays_handed_out_cannot_change_the_run(tmp_path):
    written("small", tmp_path / "run", 4)
    run = open_run(tmp_path / "run")
    with pytest.raises(ValueError, match="read-only"):
        run.loss[0] = 5.0
    values = np.asarray(run["w"].value)
    if values.flags.writeable:
        values[0] = 5.0
    assert open_run(tmp_path / "run")["w"].value[0] == 0.0
    assert run["w"].value[0] == 0.0
