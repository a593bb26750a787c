"""Every example runs from anywhere, with warnings as errors, and its numbers are right."""

import csv
import json
import math
import os
import re
import runpy
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from gradviz.tracing.many import open_runs
from gradviz.tracing.reading import open_run

EXAMPLES = Path(__file__).parent.parent / "examples"
FILES = {
    "article_graph": {"e.dot", "e.svg", "e.png"},
    "article_gallery": {"gallery.json"},
    "backprop_animation": {"backprop.svg", "strip.svg", "backprop.gif", "run", "descent.svg"},
    "compiled_fit": {"fit.py"},
    "diabetes": {"run", "graph.svg", "graph.png", "log.csv"},
    "does_not_learn": {"run", "report.html"},
    "figure_styles": {f"neuron-{look}{suffix}" for look in ("circuit", "paper") for suffix in (".svg", ".pdf", ".tex")},
    "folding": {f"{name}.svg" for name in ("line_fit", "line_fit-unfolded", "recurrence", "epochs", "branching")}
    | {"line_fit.html"},
    "large_graph": {"network.html", "network.svg", "folded.svg"},
    "moons": {"run", "graph.svg", "layers.svg", "layers.png", "boundary.png"},
    "planted_faults": {"runs", "table.md"},
    "sin_and_slope": {"sin.png", "parabola.png"},
    "sweep_dask": {"runs", "answer.csv"},
    "sweep_joblib": {"runs", "answer.csv"},
    "torch_digits": {"run", "report.html", "step.svg", "step.png"},
    "torch_pictures": {"torch-resnet50.png", "torch-transformer.png"},
    "torchrun_ddp": {"runs"},
    "three_ways": {"run", "graph.svg", "graph.png", "losses.csv", "fit.png"},
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Run an example in an empty folder, once."""
    done = {}

    def run(name):
        if name not in done:
            folder = tmp_path_factory.mktemp(name)
            process = subprocess.run(
                [sys.executable, "-W", "error", EXAMPLES / f"{name}.py"],
                cwd=folder, env={**os.environ, "MPLBACKEND": "Agg", "PATH": ""}, capture_output=True, text=True,
                encoding="utf-8", timeout=120, check=False,
            )  # fmt: skip
            done[name] = folder / "out" / name, process
        return done[name]

    return run


def test_every_example_is_tested():
    assert set(FILES) == {path.stem for path in EXAMPLES.glob("*.py")}


@pytest.mark.parametrize("name", FILES)
def test_it_runs_and_says_what_it_wrote(ran, name):
    out, process = ran(name)
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stderr == ""
    assert {path.name for path in out.iterdir()} == FILES[name]
    told = set(re.findall(r"^wrote (.*)$", process.stdout, re.MULTILINE))
    assert told == {str(Path("out", name, file)) for file in FILES[name]}


@pytest.mark.parametrize("name", FILES)
def test_its_files_can_be_read(ran, name):
    out, _ = ran(name)
    for file in FILES[name]:
        if file.endswith(".svg"):
            assert ET.parse(out / file).getroot().tag.endswith("svg")
        elif file.endswith(".png"):
            assert (out / file).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        elif file == "run":
            assert open_run(out / file).damage == []
        elif file == "runs":
            assert open_runs(out / file).damage == []


@pytest.mark.parametrize("name", FILES)
def test_it_writes_where_it_is_told(name, tmp_path):
    text = (EXAMPLES / f"{name}.py").read_text("utf-8")
    assert '"--out"' in text
    assert f'default="out/{name}"' in text
    assert (text.startswith('"""')) is True


def test_the_articles_picture(ran):
    out, process = ran("article_graph")
    dot = (out / "e.dot").read_text("utf-8")
    assert dot.startswith("digraph")
    words = "".join(ET.parse(out / "e.svg").getroot().itertext())
    assert all(word in words for word in ("a", "b", "c", "e", "sin", "cos(c)"))
    assert f"{math.sin(10):.6f}" in process.stdout
    assert f"de/da = {2 * math.cos(10):.6f}" in process.stdout


def test_the_gallery_is_all_right(ran):
    out, process = ran("article_gallery")
    answers = json.loads((out / "gallery.json").read_text("utf-8"))
    assert [answer["number"] for answer in answers] == list(range(1, 17))
    assert all(answer["good"] for answer in answers)
    assert all(answer["article"] != answer["gradviz"] for answer in answers)
    assert "all 16 answers of gradviz are right" in process.stdout


def test_the_gallery_fails_when_an_answer_is_wrong(tmp_path):
    broken = (EXAMPLES / "article_gallery.py").read_text("utf-8").replace("(3, -1.0), rev", "(4, -1.0), rev")
    (tmp_path / "gallery.py").write_text(broken, "utf-8")
    process = subprocess.run(
        [sys.executable, tmp_path / "gallery.py"], cwd=tmp_path, capture_output=True, text=True, encoding="utf-8",
        timeout=60, check=False,
    )  # fmt: skip
    assert process.returncode == 1
    assert "wrong: [1]" in process.stdout


def test_the_compiled_fit_and_the_file_agree(ran):
    out, process = ran("compiled_fit")
    fits = re.findall(r"loss \S+, slope \S+, intercept \S+", process.stdout)
    assert len(fits) == 2
    assert fits[0] == fits[1]
    assert "recorded 1 time" in process.stdout
    assert "d_slope = np.sum(d_mul_1 * x)" in (out / "fit.py").read_text("utf-8")


def test_the_three_ways_agree(ran):
    out, process = ran("three_ways")
    with (out / "losses.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 301
    losses = {
        way: np.array([float(row[f"{way}: loss"]) for row in rows])
        for way in ("finite differences", "equations", "autograd")
    }
    np.testing.assert_allclose(losses["autograd"], losses["equations"], rtol=0, atol=1e-14)
    np.testing.assert_allclose(losses["finite differences"], losses["equations"], rtol=0, atol=3e-4)
    assert losses["finite differences"][-1] != losses["equations"][-1]
    run = open_run(out / "run")
    assert run.loss.tolist() == losses["autograd"][:-1].tolist()
    # the article's settings, by NumPy alone
    x = np.arange(-0.5, 0.5, 0.01)
    y = x + np.random.default_rng(0).normal(0, 0.2, x.shape)
    w, b = 0.1, 1.0
    for _ in range(300):
        error = y - (w * x + b)
        w, b = w + 0.08 * 2 * (x * error).mean(), b + 0.08 * 2 * error.mean()
    assert abs(float(rows[-1]["autograd: weight"]) - w) < 1e-12
    assert abs(float(rows[-1]["autograd: bias"]) - b) < 1e-12
    assert "all agree" in process.stdout
    assert "-h/2 = -5.0e-04" in process.stdout


def test_the_moons_are_told_apart(ran):
    out, process = ran("moons")
    run = open_run(out / "run")
    assert run.loss[0] > 0.6
    assert run.loss[-1] < 0.1
    assert run["layers.2.weight"].grad.shape == (301, 16, 16)
    unseen = re.findall(r"([\d.]+)% of the unseen", process.stdout)
    assert float(unseen[-1]) > 95


def test_the_diabetes_weights_are_those_of_least_squares(ran):
    from sklearn.datasets import load_diabetes

    out, _ = ran("diabetes")
    data = load_diabetes()
    columns = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    exact, *_ = np.linalg.lstsq(np.column_stack([columns, np.ones(len(columns))]), data.target)
    run = open_run(out / "run")
    np.testing.assert_allclose(run["w"].value[-1], exact[:-1], atol=1e-5)
    assert abs(run["b"].value[-1] - exact[-1]) < 1e-9


def test_the_digits_are_read_and_every_step_was_recorded(ran):
    out, process = ran("torch_digits")
    run = open_run(out / "run")
    assert len(run) == 12 * 14
    assert run.loss[0] > 2
    assert run.loss[-14:].max() < 0.5
    assert len(run.nodes) + len(run.names) == len(run.frame(0).graph)
    assert all(value is not None for value in run.frame(100).values)  # a step that was kept whole
    assert [event["kind"] for event in run.events].count("validation") == 12
    read = re.findall(r"([\d.]+)% of the unseen digits", process.stdout)
    assert float(read[-1]) > 85


def test_the_slopes_are_exact(ran):
    _, process = ran("sin_and_slope")
    assert [float(n) for n in re.findall(r"at most ([\d.e+-]+)", process.stdout)] == pytest.approx([0, 0], abs=1e-14)


@pytest.mark.parametrize(("name", "best", "diverged"), [
    ("sweep_joblib", 0.3, "1.0, 3.0"),
    ("sweep_dask", 1.0, "10.0"),
])  # fmt: skip
def test_the_sweeps_find_the_best_rate_and_those_that_diverge(ran, name, best, diverged):
    out, process = ran(name)
    assert f"best: lr = {best}; diverged: {diverged}\n" in process.stdout
    with (out / "answer.csv").open(newline="", encoding="utf-8") as file:
        answers = {float(row["lr"]): row for row in csv.DictReader(file)}
    runs = open_runs(f"{out}/runs/*")
    assert [run.meta["lr"] for run in runs] == sorted(answers)
    finals = {run.meta["lr"]: run.loss[-1] for run in runs}
    assert min(finals, key=lambda lr: finals[lr] if math.isfinite(finals[lr]) else math.inf) == best
    for run in runs:
        went_up = not math.isfinite(run.loss[-1]) or run.loss[-1] > run.loss[0]
        assert answers[run.meta["lr"]]["diverged"] == str(went_up)


@pytest.mark.parametrize("name", ["sweep_joblib", "sweep_dask"])
def test_beside_others_a_training_goes_as_alone(ran, name, tmp_path):
    out, _ = ran(name)
    module = runpy.run_path(str(EXAMPLES / f"{name}.py"))
    lr = module["RATES"][1]
    beside = open_runs(out / "runs")[f"lr-{lr}"]
    module["train"](lr, tmp_path / "alone", len(beside))
    assert open_run(tmp_path / "alone").loss.tobytes() == beside.loss.tobytes()


@pytest.mark.parametrize("name", ["diabetes", "moons"])
def test_without_scikit_learn_they_say_what_to_install(name, tmp_path):
    (tmp_path / "sklearn.py").write_text("raise ImportError")
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"], env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "this example needs scikit-learn: pip install scikit-learn\n"


@pytest.mark.parametrize(("name", "module"), [("sweep_joblib", "joblib"), ("sweep_dask", "dask")])
def test_without_their_scheduler_the_sweeps_say_what_to_install(name, module, tmp_path):
    (tmp_path / f"{module}.py").write_text("raise ImportError")
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"], env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"this example needs scikit-learn and \w+: pip install .*\n", done.stderr)


def test_figures_for_print_are_in_both_styles(ran):
    out, process = ran("figure_styles")
    assert process.stderr == ""
    assert "0.73" in (out / "neuron-circuit.svg").read_text("utf-8")
    assert (out / "neuron-paper.pdf").read_bytes()[:5] == b"%PDF-"
    assert r"\begin{tikzpicture}" in (out / "neuron-paper.tex").read_text("utf-8")


def test_a_large_graph_is_summed_up_and_drawn(ran):
    out, process = ran("large_graph")
    assert "35,437 nodes" in process.stdout
    assert "large_graph.py:35" in process.stdout
    assert "<canvas" in (out / "network.html").read_text("utf-8")
    assert "by scope" in (out / "network.svg").read_text("utf-8")


def test_loops_are_drawn_once(ran):
    out, process = ran("folding")
    assert "line_fit: <Drawing of 805 values drawn as 13" in process.stdout
    assert "×1,000" in (out / "recurrence.svg").read_text("utf-8")
    assert "rounds 3 … 99" in (out / "line_fit-unfolded.svg").read_text("utf-8")
