"""The planted faults: blame is exact on all of them, the table says what is so, the page is up to date."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradviz import Debugger, GradvizError, assert_finite, open_run
from gradviz.errors import GradientError

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "examples"))
try:
    import planted_faults as planted
finally:
    sys.path.pop(0)

HAS_JAX = importlib.util.find_spec("jax") is not None
FAULTS = {fault.program.__name__: fault for fault in planted.FAULTS}
NOT_FINITE = [name for name, fault in FAULTS.items() if fault.kind in {"nan", "inf"}]
PEERS = {  # what the others make of them (PyTorch 2.13, JAX 0.10)
    "log_of_a_negative": ("silent", "exact"),
    "overflow_then_inf_over_inf": ("late", "late"),
    "zero_times_infinity": ("exact", "exact"),
    "root_of_zero": ("late", "late"),
    "where_hides_an_overflow": ("exact", "exact"),
    "where_hides_a_log_of_zero": ("late", "late"),
    "twelve_sigmoids": ("silent", "silent"),
    "dead_relu": ("silent", "silent"),
    "detach_that_cuts": ("silent", "silent"),
    "wrong_rule": ("silent", "silent"),
    "born_in_one_iteration": ("late", "late"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_blame_is_exact(name, tmp_path):
    fault = FAULTS[name]
    birth = Debugger(planted.record(fault, tmp_path / "run")).blame()
    assert (birth.op, birth.iteration, birth.phase, birth.kind) == (
        fault.op, fault.iteration, fault.phase, fault.kind,
    )  # fmt: skip
    assert birth.source.line == fault.line
    assert birth.source.file.endswith("planted_faults.py")
    assert planted.judged(fault, birth) == "exact"


@pytest.mark.parametrize("name", FAULTS)
def test_the_line_that_is_to_blame_is_marked_once(name):
    lines, first = planted.inspect.getsourcelines(FAULTS[name].program)
    assert sum(line.rstrip().endswith("# born") for line in lines) == 1
    assert first < FAULTS[name].line < first + len(lines)


def test_the_iterations_that_are_true_are_those_of_plain_arithmetic():
    slope, k = 10.0, 0
    while slope > 0:
        slope, k = slope - 1.75 * np.mean(planted.Y - planted.Y / slope), k + 1
    assert k == FAULTS["log_of_a_negative"].iteration
    scale = 1.0 - (0.875 * 1.0 + 0.125 / np.sqrt(1.0))
    assert scale == 0.0
    assert FAULTS["born_in_one_iteration"].iteration == 1


def test_a_fault_that_surfaces_one_iteration_later_is_followed_back(tmp_path):
    run = planted.record(FAULTS["born_in_one_iteration"], tmp_path / "run")
    assert np.isnan(run.loss).tolist() == [False, False, True, True]
    births = [Debugger(run).blame(kind) for kind in (None, "nan", "inf")]
    assert {(str(birth.position), birth.op) for birth in births} == {("1.b.4", "sqrt")}


@pytest.mark.parametrize("name", NOT_FINITE)
def test_assert_finite_says_what_blame_says(name, tmp_path):
    run = planted.record(FAULTS[name], tmp_path / "run")
    with pytest.raises(GradientError) as caught:
        assert_finite(run)
    assert str(caught.value) == str(Debugger(run).blame())


@pytest.mark.parametrize("name", FAULTS)
def test_anomaly_mode_beside_it(name):
    assert planted.beside(planted.torch_report, FAULTS[name]) == PEERS[name][0]


@pytest.mark.parametrize("name", FAULTS)
def test_debug_nans_beside_it(name):
    assert planted.beside(planted.jax_report, FAULTS[name]) == (PEERS[name][1] if HAS_JAX else "not installed")


def test_a_peer_that_is_not_installed_says_so():
    def missing(fault):
        raise ImportError

    assert planted.beside(missing, planted.FAULTS[0]) == "not installed"


@pytest.mark.parametrize(
    ("said", "step", "judged"),
    [
        ('planted_faults.py", line {line}', 2, "exact"),
        ('planted_faults.py", line {line}', 3, "late"),
        ('planted_faults.py", line {before}', 2, "late"),
        ("somewhere else", 2, "late"),
        ("element 0 of tensors does not require grad", 2, "error"),
    ],
)
def test_the_verdict_about_a_report(said, step, judged):
    fault = FAULTS["log_of_a_negative"]
    text = said.format(line=fault.line, before=fault.line - 1)
    assert planted.verdict(fault, step, text) == judged


@pytest.mark.parametrize("level", ["scalars", "stats"])
def test_where_less_was_recorded_the_iteration_is_still_named(level, tmp_path):
    import gradviz
    from gradviz import Tensor

    w = Tensor([1.0, 2.0], name="w")
    with np.errstate(all="ignore"), gradviz.trace(tmp_path / "run", params={"w": w}, level=level) as log:
        for _ in range(6):
            w.zero_grad()
            loss = np.sum(np.log(w))
            loss.backward()
            log.step(loss)
            w.data = w.data - 0.7 * w.grad
    birth = Debugger(open_run(tmp_path / "run")).blame()
    assert birth.kind == "nan"
    assert birth.iteration == int(np.flatnonzero(np.isnan(open_run(tmp_path / "run").loss))[0])
    assert "shows it" in birth.message
    with pytest.raises(GradvizError):
        assert_finite(open_run(tmp_path / "run"))


def test_the_page_is_up_to_date(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "finding_faults.py", "--check"], cwd=tmp_path, capture_output=True, text=True,
        encoding="utf-8", timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_has_every_fault_and_the_table():
    page = (ROOT / "docs" / "finding-faults.md").read_text("utf-8")
    assert "internal error" not in page
    for fault in planted.FAULTS:
        assert f"### {fault.name.capitalize()}\n" in page
        assert f"| {fault.name} | {fault.op}, {fault.phase}, iteration {fault.iteration} | exact |" in page
