"""Exports give back exactly the numbers that were recorded, in every format, or say why they cannot."""

import csv
import json
import math
import os
import sqlite3
import sys
import tempfile
from contextlib import closing, nullcontext
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradviz import Tensor
from gradviz.errors import GradvizValueError, MissingExtraError, MissingFolderError, TraceError
from gradviz.tracing import fields as fields_module
from gradviz.tracing.exports import WRITERS
from gradviz.tracing.fields import unique
from gradviz.tracing.layout import STATS
from gradviz.tracing.reading import open_run
from gradviz.tracing.recorder import trace
from tests.hostile import HOSTILE
from tests.params import Param

FORMATS = sorted(WRITERS)
SPECIAL = [0.0, -0.0, 5e-324, -5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan, 0.1, 1 / 3]


def record(path, steps, **options):
    """Write a run; every step is (loss, {name: (value, gradient)})."""
    params = {name: Param(None) for name in steps[0][1]} if steps else {}
    with trace(path, params=params, **options) as t:
        for loss, numbers in steps:
            for name, (value, grad) in numbers.items():
                params[name].data, params[name].grad = value, grad
            t.step(loss)
    return open_run(path)


# -- reading the files back as another program would -----------------------------------------------


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        headings, *rows = csv.reader(file)
    return [{key: float(cell) if cell else None for key, cell in zip(headings, row, strict=True)} for row in rows]


def read_jsonl(path):
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [{key: from_json(number) for key, number in row.items()} for row in rows]


def from_json(number):
    if isinstance(number, list):
        return [from_json(inner) for inner in number]
    return None if number is None else float(number)


def read_parquet(path):
    return pq.read_table(path, page_checksum_verification=True).to_pylist()


def read_sqlite(path):
    with closing(sqlite3.connect(path)) as database:
        answer = database.execute("SELECT * FROM run ORDER BY rowid")
        names = [column[0] for column in answer.description]
        rows = [dict(zip(names, row, strict=True)) for row in answer]
        for row, name in database.execute('SELECT run, "column" FROM nan'):
            assert rows[row - 1][name] is None
            rows[row - 1][name] = math.nan
    return rows


READERS = {".csv": read_csv, ".jsonl": read_jsonl, ".parquet": read_parquet, ".sqlite": read_sqlite}


def numbers_of(row):
    """Return the numbers of a row in order, arrays taken apart, without the time."""
    return flat([number for key, number in row.items() if key != "time"])


def flat(number):
    return [inner for part in number for inner in flat(part)] if isinstance(number, list) else [number]


def same(one, other):
    """Whether two numbers are equal to the sign of zero; NaN equals NaN, and None only None."""
    if one is None or other is None:
        return one is other
    one, other = float(one), float(other)
    return (math.isnan(one) and math.isnan(other)) or (
        one == other and math.copysign(1, one) == math.copysign(1, other)
    )


def check(run, expected, folder):
    """Export in every format and compare with the numbers of each step; None stands for what was missing."""
    for suffix in FORMATS:
        rows = READERS[suffix](run.export(folder / f"x{suffix}"))
        assert [int(row["step"]) for row in rows] == run.steps.tolist(), suffix
        assert [row["time"] for row in rows] == run.times.tolist(), suffix
        for row, wanted in zip(rows, expected, strict=True):
            found = numbers_of(row)[1:]
            if len(found) != len(wanted):
                found = spread(row)
            assert len(found) == len(wanted), suffix
            assert all(map(same, found, wanted)), (suffix, found, wanted)


def spread(row):
    """Return the numbers of a row with a None for each of the two elements of an array that is not there."""
    missing = {key: [None, None] for key, number in row.items() if key.startswith("W") and number is None}
    assert missing
    return numbers_of(row | missing)[1:]


# -- every number ------------------------------------------------------------------------------

numbers = st.one_of(st.sampled_from(SPECIAL), st.floats())
steps_strategy = st.lists(st.tuples(numbers, numbers, st.none() | numbers, st.tuples(numbers, numbers), st.booleans()))


@given(steps_strategy)
def test_every_format_gives_back_the_numbers(steps):
    recorded, expected = [], []
    for loss, w, gradient, pair, has_gradient in steps:
        array = np.array(pair)
        recorded.append((loss, {"w": (w, gradient), "W": (array, array[::-1].copy() if has_gradient else None)}))
        expected.append([loss, w, gradient, *pair, *(pair[::-1] if has_gradient else (None, None))])
    with tempfile.TemporaryDirectory() as folder:
        run = record(Path(folder) / "run", recorded)
        check(run, expected, Path(folder))


@pytest.mark.parametrize("dtype", ["f2", "f4", "i1", "i8", "u8", "?", ">f8", ">i4"])
def test_every_dtype_is_exact(tmp_path, dtype):
    array = np.array([[0, 1], [2**63 - 1, 2**64 - 1]] if dtype == "u8" else [[0, 1], [1, 0]], dtype)
    if array.dtype.kind == "f":
        array[1, 1] = 1 / 3
    run = record(tmp_path / "run", [(1.0, {"W": (array, None)})])
    text = read_sqlite(run.export(tmp_path / "x.sqlite"))[0]
    assert [int(text[f"W[{i},{j}]"]) for i in (0, 1) for j in (0, 1)] == array.astype("u8").reshape(-1).tolist()
    lines = json.loads(run.export(tmp_path / "x.jsonl").read_text())
    assert lines["W"] == array.tolist()
    table = pq.read_table(run.export(tmp_path / "x.parquet"))
    assert table["W"].to_pylist() == [array.reshape(-1).tolist()]
    assert table.schema.field("W").type.value_type == pa.from_numpy_dtype(array.dtype.newbyteorder("="))
    assert "W[1,1]" in run.export(tmp_path / "x.csv").read_text()


def test_complex_numbers_are_pairs(tmp_path):
    z = np.array([1 + 2j, complex(math.nan, -0.0)])
    run = record(tmp_path / "run", [(1.0, {"z": (z, None), "c": (np.array(3 - 4j), None)})])
    row = read_csv(run.export(tmp_path / "x.csv"))[0]
    assert list(row)[3:7] == ["z[0].real", "z[0].imag", "z[1].real", "z[1].imag"]
    assert row["z[0].imag"] == 2
    assert same(row["z[1].imag"], -0.0)
    assert (row["c.real"], row["c.imag"]) == (3, -4)
    assert json.loads((run.export(tmp_path / "x.jsonl")).read_text())["z"] == [[1.0, 2.0], ["NaN", -0.0]]
    assert run.to_pandas()["c.imag"].tolist() == [-4]


@pytest.mark.skipif(np.dtype("longdouble").itemsize == 8, reason="no wider float on this machine")
def test_numbers_wider_than_the_formats_are_refused(tmp_path):
    run = record(tmp_path / "run", [(1.0, {"W": (np.ones(2, "longdouble"), None)})])
    with pytest.raises(GradvizValueError, match="no export holds exactly"):
        run.export(tmp_path / "x.csv")


def test_missing_is_null_and_never_zero(tmp_path):
    run = record(tmp_path / "run", [(1.0, {"w": (1.0, None)}), (1.0, {"w": (1.0, 0.0)}), (1.0, {"w": (1.0, math.nan)})])
    assert (tmp_path / run.export(tmp_path / "x.csv")).read_text().splitlines()[1].endswith(",1.0,")
    for suffix in FORMATS:
        first, second, third = READERS[suffix](run.export(tmp_path / f"x{suffix}"))
        assert first["w.grad"] is None
        assert second["w.grad"] == 0.0
        assert math.isnan(third["w.grad"])
    with closing(sqlite3.connect(tmp_path / "x.sqlite")) as database:
        assert database.execute('SELECT avg("w.grad"), count("w.grad") FROM run').fetchone() == (0.0, 1)
    gradient = run.to_pandas()["w.grad"]
    assert gradient.isna().tolist() == [True, False, True]


def test_an_empty_run(tmp_path):
    trace(tmp_path / "run", params={"w": Param(1.0)}).close()
    run = open_run(tmp_path / "run")
    for suffix in FORMATS:
        assert READERS[suffix](run.export(tmp_path / f"x{suffix}")) == []
    assert list(run.to_pandas().columns) == ["time", "loss"]
    assert len(run[:0].to_pandas()) == 0


def test_an_empty_array_has_no_columns(tmp_path):
    run = record(tmp_path / "run", [(1.0, {"W": (np.zeros((2, 0)), None)})])
    assert run.export(tmp_path / "x.csv").read_text().startswith("step,time,loss\n")
    assert json.loads(run.export(tmp_path / "x.jsonl").read_text())["W"] == [[], []]
    assert read_parquet(run.export(tmp_path / "x.parquet"))[0]["W"] == []
    assert list(read_sqlite(run.export(tmp_path / "x.sqlite"))[0]) == ["step", "time", "loss"]


def test_many_pieces_are_one_table(tmp_path, monkeypatch):
    monkeypatch.setattr(fields_module, "PIECE", 100)
    steps = [
        (i / 3, {"w": (float(i), None if i % 3 else -0.0), "W": (np.array([i, math.nan]), None)}) for i in range(50)
    ]
    run = record(tmp_path / "run", steps)
    check(run, [[loss, *p["w"], *p["W"][0], None, None] for loss, p in steps], tmp_path)
    assert pq.ParquetFile(tmp_path / "x.parquet").num_row_groups > 10


# -- structures that change --------------------------------------------------------------------


def changing_run(path, size=3):
    """Write a run in which a second parameter comes and goes, and W may have another shape."""
    w, v, W = Tensor(1.0, name="w"), Tensor(2.0, name="v"), Tensor(np.ones(2), name="W")
    with trace(path, params=None) as t:
        for i in range(6):
            loss = w * float(i)
            if i % 2:
                loss = loss + v
            if i == 3:
                W = Tensor(np.ones(size), name="W")
            loss = loss + W.sum()
            loss.backward()
            t.step(loss)
    return open_run(path)


def test_what_a_structure_does_not_have_is_missing(tmp_path):
    run = changing_run(tmp_path / "run", size=2)
    assert len(run.structures) > 1
    for suffix in FORMATS:
        rows = READERS[suffix](run.export(tmp_path / f"x{suffix}"))
        assert [row["v"] for row in rows] == [None, 2.0, None, 2.0, None, 2.0], suffix
        assert len({tuple(row) for row in rows}) == 1
    assert run.to_pandas()["v"].isna().tolist() == [True, False] * 3


def test_a_shape_that_changes_is_refused_but_in_jsonl(tmp_path):
    run = changing_run(tmp_path / "run")
    for suffix in (".csv", ".parquet", ".sqlite"):
        with pytest.raises(GradvizValueError, match=r"the shape of 'W' changes during the run: \(2,\), \(3,\)"):
            run.export(tmp_path / f"x{suffix}")
    with pytest.raises(GradvizValueError, match="changes"):
        run.to_pandas()
    rows = read_jsonl(run.export(tmp_path / "x.jsonl"))
    assert [len(row["W"]) for row in rows] == [2, 2, 2, 3, 3, 3]
    assert [path.name for path in tmp_path.iterdir() if path.name != "run"] == ["x.jsonl"]
    assert len(read_sqlite(run[:3].export(tmp_path / "x.sqlite"))) == 3


def test_the_levels_that_keep_norms(tmp_path):
    run = record(tmp_path / "run", [(1.0, {"W": (np.array([3.0, 4.0]), None)})], level="scalars")
    for suffix in FORMATS:
        row = READERS[suffix](run.export(tmp_path / f"x{suffix}"))[0]
        assert (row["W.norm"], row["W.grad.norm"]) == (5.0, None)


def test_the_level_that_keeps_statistics(tmp_path):
    W = np.array([[1.0, -3.0], [0.0, math.nan]])
    run = record(tmp_path / "run", [(1.0, {"W": (W, None)}), (1.0, {"W": (W, W)})], level="stats")
    numbers = [-3.0, 1.0, -2 / 3, math.nan, 1.0, 1.0, 0.0]
    row = read_csv(run.export(tmp_path / "x.csv"))[0]
    assert all(map(same, [row[f"W.stats.{what}"] for what in STATS], numbers))
    assert (row["W.exponents[128]"], row["W.exponents[129]"], row["W.exponents[0]"]) == (1, 1, 0)
    assert row["W.grad.exponents[3]"] is None
    for suffix in (".jsonl", ".parquet"):
        first, second = READERS[suffix](run.export(tmp_path / f"x{suffix}"))
        assert all(map(same, first["W.stats"], numbers))
        assert (sum(first["W.exponents"]), first["W.grad.exponents"]) == (2, None)
        assert sum(second["W.grad.exponents"]) == 2
    with closing(sqlite3.connect(run.export(tmp_path / "x.sqlite"))) as database:
        one, two = database.execute(
            """SELECT "W.stats.max", json_extract("W.exponents", '$[129]'), "W.grad.exponents" FROM run"""
        )
    assert one == (1.0, 1, None)
    assert len(json.loads(two[2])) == 256
    assert "from -3 to 1, mean -0.6667, norm nan, 1 zeros, 1 nans" in run.summary()


def test_the_form_with_checkpoints(tmp_path):
    W = np.arange(12_000.0).reshape(100, 120)
    run = record(tmp_path / "run", [(1.0, {"W": (W, None), "w": (0.5, 1.5)})] * 3)
    for suffix in FORMATS:
        row = READERS[suffix](run.export(tmp_path / f"x{suffix}"))[0]
        assert (row["W.norm"], row["W.grad.norm"], row["w"], row["w.grad"]) == (np.linalg.norm(W), None, 0.5, 1.5)


def test_inputs_that_change_and_a_part_of_the_parameters(tmp_path):
    w, x = Tensor(2.0, name="w"), Tensor(np.array([1.0, 2.0]), name="x", requires_grad=False)
    with trace(tmp_path / "run", params={"w": w}) as t:
        for i in range(4):
            x = Tensor(np.array([1.0, 2.0 + i]), name="x", requires_grad=False)
            loss = (w * x).sum()
            loss.backward()
            t.step(loss)
    run = open_run(tmp_path / "run")
    for suffix, label in ((".csv", "x[1].input"), (".sqlite", "x[1].input")):
        rows = READERS[suffix](run.export(tmp_path / f"x{suffix}"))
        assert [row[label] for row in rows][-1] == 5.0
    assert read_jsonl(run.export(tmp_path / "x.jsonl"))[-1]["x.input"] == [1.0, 5.0]
    assert list(run.select("w").to_pandas().columns) == ["time", "loss", "w", "w.grad"]


def test_a_run_that_is_still_written_is_exported_as_it_is(tmp_path):
    w = Param(1.0, 2.0)
    with trace(tmp_path / "run", params={"w": w}) as t:
        run = None
        for i in range(3):
            t.step(float(i))
            run = run or open_run(tmp_path / "run", follow=True)
            for suffix in FORMATS:
                rows = READERS[suffix](run.export(tmp_path / f"x{suffix}"))
                assert [row["loss"] for row in rows] == list(range(i + 1))
            assert run.to_pandas()["loss"].tolist() == list(range(i + 1))
            assert run.query("SELECT max(loss) AS m FROM run")["m"].tolist() == [i]


# -- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", FORMATS)
def test_hostile_names_are_only_names(tmp_path, suffix):
    names = list(HOSTILE)
    steps = [(0.5, {name: (float(i), -float(i)) for i, name in enumerate(names)})]
    row = READERS[suffix](record(tmp_path / "run", steps).export(tmp_path / f"x{suffix}"))[0]
    assert len(row) == 3 + 2 * len(names)
    values = list(row.values())[3:]
    assert values == [number for i in range(len(names)) for number in (float(i), -float(i))]
    quiet = [name for name in names if name and name.isprintable() and name.isascii()]
    assert set(quiet) <= set(row)


def test_sql_in_a_name_is_not_run(tmp_path):
    name = 'x"); DROP TABLE run; --'
    run = record(tmp_path / "run", [(1.0, {name: (2.0, 3.0)})])
    assert read_sqlite(run.export(tmp_path / "x.sqlite"))[0][name] == 2.0


def test_names_that_collide_are_numbered(tmp_path):
    names = ["w", "w.grad", "W", "loss", "step", "w_2"]
    run = record(tmp_path / "run", [(9.0, {name: (float(i), i + 0.5) for i, name in enumerate(names)})])
    labels = ["w", "w.grad", "w.grad_2", "w.grad.grad", "W", "W.grad", "loss_2", "loss.grad"]
    for suffix in (".csv", ".jsonl", ".parquet"):
        row = READERS[suffix](run.export(tmp_path / f"x{suffix}"))[0]
        assert list(row)[3:11] == labels
        assert (row["loss"], row["loss_2"], row["w.grad"], row["w.grad_2"]) == (9.0, 3.0, 0.5, 1.0)
    row = read_sqlite(run.export(tmp_path / "x.sqlite"))[0]
    assert (row["w"], row["W_2"], row["W.grad_3"]) == (0.0, 2.0, 2.5)
    with closing(sqlite3.connect(tmp_path / "x.sqlite")) as database:
        told = database.execute("""SELECT parameter, part FROM columns WHERE "column" = 'W.grad_3'""").fetchall()
    assert told == [("W", "grad")]


@given(st.lists(st.sampled_from(["a", "A", "a_2", "a_3", "A_2", ""])))
def test_unique_labels_are_unique(labels):
    for fold in (str, str.casefold):
        made = unique(labels, ["a"], fold)
        assert len({fold(label) for label in [*made, "a"]}) == len(labels) + 1


# -- what goes with the numbers ----------------------------------------------------------------


def test_meta_names_and_versions_go_along(tmp_path):
    meta = {"lr": 0.1, "note": "naïve", "deep": {"seeds": [1, 2]}, "names": "mine"}
    run = record(tmp_path / "run", [(1.0, {"W": (np.ones((2, 3)), None)})], meta=meta)
    schema = pq.read_schema(run.export(tmp_path / "x.parquet"))
    told = json.loads(schema.metadata[b"gradviz"])
    assert told["meta"] == meta
    assert told["names"] == ["W"]
    assert told["versions"]["numpy"] == np.__version__
    assert json.loads(schema.field("W").metadata[b"shape"]) == [2, 3]
    assert schema.field("W.grad").metadata[b"part"] == b"grad"
    with closing(sqlite3.connect(run.export(tmp_path / "x.sqlite"))) as database:
        kept = {key: json.loads(value) for key, value in database.execute("SELECT key, value FROM meta")}
        info = {key: json.loads(value) for key, value in database.execute("SELECT key, value FROM info")}
        columns = database.execute('SELECT "column", shape, element FROM columns LIMIT 2').fetchall()
    assert kept == meta
    assert info["names"] == ["W"]
    assert columns == [("W[0,0]", "[2, 3]", 0), ("W[0,1]", "[2, 3]", 1)]


def test_a_page_of_parquet_knows_its_checksum(tmp_path):
    W = np.random.default_rng(0).standard_normal(500)
    path = record(tmp_path / "run", [(1.0, {"W": (W, None)})]).export(tmp_path / "x.parquet")
    data = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(0).column(3).data_page_offset
    data[start + 300] ^= 1
    path.write_bytes(data)
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(path, page_checksum_verification=True)


# -- what cannot be ----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", FORMATS)
def test_nothing_is_left_of_a_failed_export(tmp_path, suffix, monkeypatch):
    run = record(tmp_path / "run", [(1.0, {"w": (1.0, 2.0)})] * 3)
    target = tmp_path / "out" / f"x{suffix}"
    target.parent.mkdir()
    target.write_text("older")

    def broken(self, name, part):
        raise GradvizValueError("broken off")

    with monkeypatch.context() as patch:
        patch.setattr(type(run), "column", broken)
        with pytest.raises(GradvizValueError, match="broken off"):
            run.export(target)
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert target.read_text() == "older"
    run.export(target)
    assert len(READERS[suffix](target)) == 3
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_full_disk_is_an_error_of_ours(tmp_path, suffix, monkeypatch):
    run = record(tmp_path / "run", [(1.0, {"w": (1.0, 2.0)})] * 3)
    monkeypatch.setattr("gradviz.tracing.exports.replacing", lambda path: nullcontext(Path("/dev/full")))
    with pytest.raises(TraceError, match="cannot write"):
        run.export(tmp_path / f"x{suffix}")


def test_where_it_cannot_be_written(tmp_path):
    run = record(tmp_path / "run", [(1.0, {})])
    with pytest.raises(TraceError, match=r"cannot write x\.jsonl") as caught:
        run.export(tmp_path / "missing" / "x.jsonl")
    assert isinstance(caught.value.__cause__, MissingFolderError)
    with pytest.raises(GradvizValueError, match=r"cannot export to '.*x\.xlsx'\n  choose .*\.csv \.jsonl"):
        run.export(tmp_path / "x.xlsx")
    assert os.listdir(tmp_path) == ["run"]  # noqa: PTH208


def test_tables_that_would_be_too_large(tmp_path, monkeypatch):
    run = record(tmp_path / "run", [(1.0, {"W": (np.ones((30, 40)), None)})])
    monkeypatch.setattr(fields_module, "CELL_LIMIT", 2000)
    for suffix in (".csv", ".sqlite"):
        with pytest.raises(GradvizValueError, match=r"1 steps of 2400 numbers: an? .* file takes 2000"):
            run.export(tmp_path / f"x{suffix}")
    with pytest.raises(GradvizValueError, match="a DataFrame takes 2000"):
        run.to_pandas()
    monkeypatch.undo()
    with pytest.raises(GradvizValueError, match="2403 columns: a table of SQLite takes 2000"):
        run.export(tmp_path / "x.sqlite")
    assert len(read_parquet(run.export(tmp_path / "x.parquet"))[0]["W"]) == 1200
    assert run.to_pandas().shape == (1, 2402)


@pytest.mark.parametrize(("package", "act"), [
    ("pyarrow", lambda run, path: run.export(path / "x.parquet")),
    ("pandas", lambda run, path: run.to_pandas()),
])  # fmt: skip
def test_a_missing_package_is_named_with_its_command(tmp_path, monkeypatch, package, act):
    run = record(tmp_path / "run", [(1.0, {"w": (1.0, 2.0)})])
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf'needs {package}.*\n  pip install "gradviz\[query\]"'):
        act(run, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


# -- pandas ------------------------------------------------------------------------------------


def test_a_data_frame_has_a_row_for_every_step(tmp_path):
    steps = [
        (1 / (i + 1), {"w": (float(i), None if i else 0.5), "W": (np.full((1, 2), i / 3, "f4"), None)})
        for i in range(4)
    ]
    run = record(tmp_path / "run", steps)
    table = run.to_pandas()
    assert table.index.name == "step"
    assert table.index.tolist() == [0, 1, 2, 3]
    assert list(table.columns) == ["time", "loss", "w", "w.grad", "W[0,0]", "W[0,1]", "W[0,0].grad", "W[0,1].grad"]
    assert table["loss"].tolist() == run.loss.tolist()
    assert table["W[0,1]"].dtype == np.float32
    assert table["W[0,1]"].tolist() == run["W"].value[:, 0, 1].tolist()
    assert table["w.grad"].isna().tolist() == [False, True, True, True]
    assert table["W[0,0].grad"].isna().all()


def test_integers_stay_integers_where_some_are_missing(tmp_path):
    n, big = Tensor(1.0, name="w"), 2**60 + 1
    extra = Param(np.array([big]), None)
    with trace(tmp_path / "run", params={"w": n, "k": extra}) as t:
        for i in range(2):
            extra.data = np.array([big + i])
            t.step(n * 1.0)
    table = open_run(tmp_path / "run").to_pandas()
    assert table["k[0]"].tolist() == [big, big + 1]
