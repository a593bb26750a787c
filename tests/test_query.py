"""Questions in SQL: right answers, hostile names as they are, and no way out of the tables."""

import sys

import numpy as np
import pytest

from gradviz.errors import GradvizTypeError, GradvizValueError, MissingExtraError
from gradviz.tracing import warehouse
from gradviz.tracing.many import open_runs
from gradviz.tracing.reading import open_run
from gradviz.tracing.recorder import trace
from tests.hostile import HOSTILE
from tests.params import Param


@pytest.fixture
def sweep(tmp_path):
    """Write three runs of which one diverges."""
    for lr in (0.1, 0.5, 2.0):
        w, W = Param(1.0), Param(np.array([1.0, 2.0]))
        with trace(tmp_path / "runs" / f"lr-{lr}", params={"w": w, "W": W}, meta={"lr": lr, "data": "moons"}) as t:
            for i in range(4):
                w.data, w.grad = float(i), None if i == 0 else 0.0
                t.step(float("inf") if lr > 1 and i == 3 else lr**i)
    return open_runs(tmp_path / "runs")


def test_which_rate_is_best_and_which_diverged(sweep):
    answer = sweep.query("""
        SELECT lr, arg_max(loss, step) AS last, NOT bool_and(isfinite(loss)) AS diverged
        FROM runs GROUP BY lr ORDER BY diverged, last
    """)
    assert answer["lr"].tolist() == [0.1, 0.5, 2.0]
    assert answer["diverged"].tolist() == [False, False, True]
    assert answer["last"].tolist()[0] == 0.1**3


def test_a_row_for_every_run(sweep):
    meta = sweep.query("SELECT * FROM meta ORDER BY lr")
    assert list(meta.columns) == ["run", "rank", "name", "path", "steps", "started", "seconds", "lr", "data"]
    assert meta["steps"].tolist() == [4, 4, 4]
    assert meta["started"].tolist() == [run.times[0] for run in sweep]
    joined = sweep.query("SELECT count(*) AS n FROM runs JOIN meta USING (run, rank) WHERE meta.lr > 0.3")
    assert joined["n"].tolist() == [8]


def test_missing_is_null_and_nan_is_nan(tmp_path):
    w = Param(1.0)
    with trace(tmp_path / "run", params={"w": w}) as t:
        for grad in (None, float("nan"), 0.0, float("-inf"), -0.0):
            w.grad = grad
            t.step(1.0)
    for answer in (
        open_run(tmp_path / "run").query('SELECT step FROM run WHERE "w.grad" IS NULL'),
        open_runs(tmp_path).query('SELECT step FROM runs WHERE "w.grad" IS NULL'),
    ):
        assert answer["step"].tolist() == [0]
    run = open_run(tmp_path / "run")
    assert run.query('SELECT step FROM run WHERE isnan("w.grad")')["step"].tolist() == [1]
    assert run.query('SELECT step FROM run WHERE "w.grad" = 0')["step"].tolist() == [2, 4]
    assert np.signbit(run.query('SELECT "w.grad" AS g FROM run WHERE step = 4')["g"].to_numpy()).tolist() == [True]


def test_one_run_has_a_column_for_every_number(sweep):
    run = sweep[0]
    columns = list(run.query("SELECT * FROM run").columns)
    assert columns[:3] == ["step", "time", "loss"]
    assert columns[3:] == [
        "w", "w.grad", "W[0]", "W[1]", "W[0].grad", "W[1].grad", "W.norm", "W.grad.norm",
    ]  # fmt: skip
    assert run.query('SELECT "W[1]" / "W.norm" AS part FROM run')["part"].tolist() == [2 / np.sqrt(5)] * 4
    assert run.query("SELECT data FROM meta")["data"].tolist() == ["moons"]
    assert run[2:].query("SELECT min(step) AS first FROM run")["first"].tolist() == [2]


def test_of_large_runs_only_the_norms_are_columns(sweep, monkeypatch):
    monkeypatch.setattr(warehouse, "WIDTH_LIMIT", 3)
    columns = list(sweep[0].query("SELECT * FROM run").columns)
    assert columns == ["step", "time", "loss", "w", "w.grad", "W.norm", "W.grad.norm"]


def test_statistics_stay_columns_where_the_counts_are_too_many(tmp_path):
    params = {f"W{i}": Param(np.array([3.0, 4.0]), None) for i in range(9)}
    with trace(tmp_path / "run", params=params, level="stats") as t:
        t.step(1.0)
    run = open_run(tmp_path / "run")
    answer = run.query('SELECT "W8.stats.max" AS high, "W8.norm" AS norm, "W8.grad.norm" AS grad FROM run')
    assert answer.iloc[0].tolist()[:2] == [4.0, 5.0]
    assert answer["grad"].isna().all()
    assert "W8.exponents[0]" in run.select("W8").query("SELECT * FROM run").columns
    assert open_runs(tmp_path).query('SELECT "W8.norm" AS norm FROM runs')["norm"].tolist() == [5.0]


@pytest.mark.parametrize("dtype", ["f2", "f4", "i8", "u8", "?", "c8", ">f8"])
def test_every_dtype_can_be_asked_about(tmp_path, dtype):
    with trace(tmp_path / "run", params={"W": Param(np.array([0, 1], dtype))}) as t:
        t.step(1.0)
    name = "W[1].real" if dtype == "c8" else "W[1]"
    run = open_run(tmp_path / "run")
    assert run.query(f'SELECT CAST("{name}" AS DOUBLE) AS x FROM run')["x"].tolist() == [1.0]
    assert open_runs(tmp_path).query('SELECT "W.norm" FROM runs')["W.norm"].tolist() == [1.0]


def test_empty_runs(tmp_path):
    trace(tmp_path / "run", params={"w": Param(1.0)}).close()
    assert open_run(tmp_path / "run").query("SELECT * FROM run").empty
    assert open_runs(tmp_path).query("SELECT * FROM runs").empty
    assert open_runs(tmp_path).query("SELECT steps FROM meta")["steps"].tolist() == [0]
    assert open_runs(tmp_path).to_pandas().empty


def test_hostile_names_are_only_names(tmp_path):
    params = {name: Param(float(i), None) for i, name in enumerate(HOSTILE)}
    with trace(tmp_path / "a\x1b[31m'; DROP TABLE runs; --", params=params, meta={name: name for name in HOSTILE}) as t:
        t.step(1.0)
    run = open_runs(tmp_path)[0]
    table = run.query("SELECT * FROM run")
    assert table.iloc[0, 3::2].tolist() == [float(i) for i in range(len(HOSTILE))]
    assert len(set(map(str.casefold, table.columns))) == len(table.columns)
    name = 'say "hi"'.replace('"', '""')
    assert open_runs(tmp_path).query(f'SELECT "{name}_2" AS x FROM runs')["x"].tolist() == [0.0]
    assert open_runs(tmp_path).query("SELECT count(*) AS n FROM runs")["n"].tolist() == [1]


def test_names_that_differ_in_case_only(tmp_path):
    with trace(tmp_path / "run", params={"w": Param(1.0), "W": Param(2.0), "LOSS": Param(3.0)}, meta={"Step": 4}) as t:
        t.step(9.0)
    answer = open_runs(tmp_path).query('SELECT loss, w, "W_2", "LOSS_2", "meta.Step" FROM runs')
    assert answer.iloc[0].tolist() == [9.0, 1.0, 2.0, 3.0, 4.0]


WAYS_OUT = [
    "SELECT * FROM '{file}'",
    "SELECT * FROM read_csv('{file}')",
    "SELECT * FROM read_text('{file}')",
    "SELECT * FROM read_blob('{file}')",
    "SELECT * FROM glob('*')",
    "COPY runs TO '{file}'",
    "COPY runs FROM '{file}'",
    "EXPORT DATABASE '{file}.d'",
    "IMPORT DATABASE '{file}.d'",
    "ATTACH '{file}.db'",
    "INSTALL httpfs",
    "LOAD '{file}'",
    "SET enable_external_access = true",
    "RESET enable_external_access",
    "SET lock_configuration = false",
    "SET python_enable_replacements = true",
    "SET temp_directory = '/'",
    "SELECT * FROM secret_table",
    "SELECT 1; SELECT 2",
]


@pytest.mark.parametrize("sql", WAYS_OUT)
def test_there_is_no_way_out(sweep, tmp_path, sql):
    secret_table = sweep.to_pandas()
    file = tmp_path / "secret.csv"
    file.write_text("password\n")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(GradvizValueError):
        sweep.query(sql.format(file=file))
    assert sorted(tmp_path.iterdir()) == before
    assert file.read_text() == "password\n"
    assert len(secret_table) == 12


def test_mistakes_are_named(sweep):
    with pytest.raises(GradvizValueError, match=r"(?s)DuckDB: .*nope.*\n  runs: run, rank, step.*meta: run"):
        sweep.query("SELECT nope FROM runs")
    with pytest.raises(GradvizValueError, match="DuckDB: Parser Error"):
        sweep.query("SELEC 1")
    with pytest.raises(GradvizValueError, match="0 SQL statements"):
        sweep.query(" ")
    with pytest.raises(GradvizTypeError, match="SQL is a text, not int"):
        sweep.query(3)


@pytest.mark.parametrize("package", ["duckdb", "pandas", "pyarrow"])
def test_a_missing_package_is_named_with_its_command(sweep, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    for ask in (lambda: sweep.query("SELECT 1"), lambda: sweep[0].query("SELECT 1")):
        with pytest.raises(MissingExtraError, match=rf'needs {package}.*\n  pip install "gradviz\[query\]"'):
            ask()
