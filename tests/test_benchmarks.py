"""The benchmarks run, and everybody in them computes the same derivatives. Nothing here looks at times."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import arrays, contestants, harness, memory, report, scalar
from benchmarks.__main__ import main
from benchmarks.harness import Effort, Outcome, Workload

ONCE = Effort(rounds=1, block=0.0, patience=0.5)
CHEAP = [
    work
    for module in (scalar, arrays)
    for work in module.workloads()
    if work.ops <= 10_000 and not work.name.startswith(("matmul", "1e6"))
]
TESTED = ("gradviz", "gradviz, gc paused", "PyTorch")


@pytest.fixture(scope="module")
def ready() -> list[contestants.Contestant]:
    found, missing = contestants.installed(TESTED)
    assert missing == []
    return found


@pytest.mark.parametrize("work", CHEAP, ids=lambda work: work.name)
def test_everybody_agrees_with_the_derivative_written_by_hand(
    work: Workload, ready: Sequence[contestants.Contestant]
) -> None:
    row = harness.measure(work, ready, ONCE)
    assert {name: outcome.status for name, outcome in row.outcomes.items()} == dict.fromkeys(
        (harness.FLOOR, *TESTED), "ok"
    )


def test_the_command_prints_and_writes_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, figures = tmp_path / "page.md", tmp_path / "figures.json"
    options = ["--quick", "--only", "diamond of 30 levels", "--write", str(page), "--json", str(figures)]
    assert main([*options, "--against", "gradviz", "PyTorch"]) == 0
    assert "diamond of 30 levels" in capsys.readouterr().out
    assert "| diamond of 30 levels |" in page.read_text()
    found = json.loads(figures.read_text())["speed"]
    assert [(one["contestant"], one["status"], one["rounds"]) for one in found] == [
        (name, "ok", 1) for name in (harness.FLOOR, "gradviz", "PyTorch")
    ]


def test_a_wrong_gradient_is_reported_and_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        scalar, "workloads", lambda: [dataclasses.replace(CHEAP[0], floor=lambda *_: (1.0, [1.0, 1.0]))]
    )
    assert main(["--quick", "--only", CHEAP[0].name, "--against", "PyTorch"]) == 1
    assert "wrong by" in capsys.readouterr().out


def test_a_library_that_is_not_there_is_said_to_be_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Absent(contestants.Contestant):
        name = "absent"
        package = "absent"

        def load(self) -> None:
            raise ImportError

    monkeypatch.setattr("benchmarks.contestants.CONTESTANTS", (contestants.Torch, Absent))
    monkeypatch.setattr("benchmarks.__main__.CONTESTANTS", (contestants.Torch, Absent))
    assert main(["--quick", "--only", "diamond of 30 levels"]) == 0
    shown = capsys.readouterr()
    assert "absent: not installed" in shown.err
    assert "not installed" in shown.out


class Deep:
    """A contestant that recurses too far."""

    name = "deep"
    arrays = False

    def prepare(self, leaves: Sequence[Any]) -> Sequence[Any]:
        return leaves

    def run(self, work: Workload, leaves: Sequence[Any]) -> harness.Result:
        raise RecursionError


def test_who_fails_on_a_small_graph_is_not_asked_for_a_large_one() -> None:
    small, large = (work for work in scalar.workloads() if work.ops in {1_000, 10_000})
    row = harness.measure(small, [Deep()], ONCE)
    assert row.outcomes["deep"].status == "RecursionError"
    assert harness.foreseen(Deep(), large, ONCE, row) == Outcome("RecursionError")
    assert harness.foreseen(Deep(), CHEAP[-1], ONCE, None) == Outcome("scalars only")


def test_a_run_predicted_to_take_too_long_is_not_started() -> None:
    small, large = (work for work in scalar.workloads() if work.ops in {1_000, 10_000})
    row = harness.Row(small, {"deep": Outcome(first=0.06)})
    assert harness.foreseen(Deep(), large, ONCE, row) == Outcome("> 0.5 s")


def test_ratios_are_medians_of_the_ratios_of_rounds() -> None:
    assert Outcome(seconds=[2.0, 9.0, 40.0]).over(Outcome(seconds=[1.0, 3.0, 10.0, 99.0])) == 3.0
    assert np.isnan(Outcome("RecursionError").over(Outcome(seconds=[1.0])))


def test_a_graph_takes_memory_and_the_table_says_how_much() -> None:
    found = [memory.footprint("gradviz", kind) for kind in memory.KINDS]
    assert all(one.recorded > 0 for one in found)
    assert report.footprint_table(found).rows[0][0] == "gradviz"


def test_the_costs_of_the_debugger_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--only", "debug*", "--against", "gradviz"]) == 0
    shown = capsys.readouterr().out
    assert all(row in shown for row in ("debugging, 784-256-10", "step, 10,000 ops", "blame", "first loss", "<= 1.10"))
