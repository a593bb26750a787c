"""The benchmarks run, and everybody in them computes the same derivatives. Nothing here looks at times."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import (
    arrays,
    contestants,
    harness,
    memory,
    readback,
    report,
    scalar,
    scale,
    sinks,
    torch_capture,
    traced,
)
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


def test_tables_that_were_not_measured_again_stay_on_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Old\n\nOld machine.\n\n## Bytes a recorded node\n\n| kept |\n\nA note.\n\n## One\n\n| old |\n")
    tables = [report.Table("One", ["a"], [["new"]]), report.Table("Two", ["b"], [["c"]], "With a note.")]
    text = report.markdown(tables, {"numpy": "2"}, page.read_text())
    assert text.startswith(report.HEADING)
    assert "Old" not in text
    kept = "## Bytes a recorded node\n\n| kept |\n\nA note."
    added = "## One\n\n| a |\n| --- |\n| new |\n\n## Two\n\n| b |\n| --- |\n| c |\n\nWith a note.\n"
    assert text.endswith(f"{kept}\n\n{added}")


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


OURS = contestants.Gradviz()
SINKS = sorted({*sinks.LINE_SINKS, *sinks.NETWORK_SINKS} - {sinks.Hdf5, sinks.Hdf5Arrays}, key=lambda sink: sink.name)


@pytest.mark.parametrize("sink", SINKS, ids=lambda sink: sink.name)
def test_every_log_takes_every_training_it_is_measured_with(sink: Any, tmp_path: Path) -> None:
    for kind in (traced.LineFit, traced.Network):
        if sink in kind.sinks:
            folder = tmp_path / kind.__name__
            readback.write(kind, OURS, sink, folder, 3)
            if sink in readback.LEFT:
                assert readback.LEFT[sink](folder) == 3


def test_hdf5_takes_them_where_it_is_installed(tmp_path: Path) -> None:
    if not sinks.Hdf5.is_installed():  # it comes with the extra for benchmarks
        return
    h5py = importlib.import_module("h5py")
    readback.write(traced.LineFit, OURS, sinks.Hdf5, tmp_path / "line", sinks.FLUSH + 1)
    assert readback.rows_of_hdf5(tmp_path / "line") == sinks.FLUSH
    readback.write(traced.Network, OURS, sinks.Hdf5Arrays, tmp_path / "network", 2)
    with h5py.File(tmp_path / "network/log.h5") as file:
        assert file["W1/grad"].shape == (2, 784, 256)


def test_the_trainings_learn() -> None:
    for kind in traced.TRAININGS:
        losses: list[float] = []
        kind(OURS).run(range(12), lambda step, loss, losses=losses: losses.append(loss.item()))
        assert losses[-1] < losses[0]


def test_overheads_compare_with_untraced_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent(sinks.Untraced):
        name, package = "absent", "no_such_package"

    monkeypatch.setattr(traced.LineFit, "sinks", (sinks.Everything, sinks.Untraced, Absent))
    found = list(traced.overheads([OURS], ONCE, "trace line*"))
    assert [(one.sink, one.status, len(one.plain), len(one.logged)) for one in found] == [
        ("gradviz, full", "ok", 1, 1),
        ("untraced, once more", "ok", 1, 1),
        ("absent", "not installed", 0, 0),
    ]
    assert found[0].speed > 0.0
    table = report.overhead_table(found)
    assert [row[1:3] for row in table.rows][2] == ["absent", ""]
    assert list(traced.overheads([], ONCE)) == []
    assert list(traced.overheads([OURS], ONCE, "chain*")) == []


def test_logs_are_asked_and_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks.TensorBoard, "is_installed", classmethod(lambda cls: False))
    looks = readback.looks([OURS], ONCE)
    assert [look.question for look in looks] == ["one value over 500 steps", "one step of 40 B", "one step of 1.6 MB"]
    assert all(look.took("gradviz") for look in looks)
    assert len(report.reading_table(looks).rows) == 3
    monkeypatch.setattr(readback, "LEFT", {sinks.Everything: readback.rows_of_trace})
    monkeypatch.setattr(readback, "LONGEST_LIFE", 0.05)
    (kill,) = readback.kills([OURS], ONCE)
    assert kill.acknowledged > 0
    assert kill.readable == kill.acknowledged
    assert report.kill_table([kill]).rows[0][1] == "1"
    assert readback.looks([], ONCE) == readback.kills([], ONCE) == []


def test_the_costs_of_the_debugger_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--only", "debug*", "--against", "gradviz"]) == 0
    shown = capsys.readouterr().out
    assert all(row in shown for row in ("debugging, 784-256-10", "step, 10,000 ops", "blame", "first loss", "<= 1.10"))


def test_compiled_functions_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    options = ["--quick", "--only", "compiled [dl]i[an]*[0fs]*", "--against", "gradviz", "--json", str(figures)]
    assert main(options) == 0
    assert "Compiled replay" in capsys.readouterr().out
    found = {one["name"]: one["times"] for one in json.loads(figures.read_text())["replays"]}
    assert {"line fit, 100 graphs of 4 ops", "diamond of 30 levels"} <= found.keys()
    assert all(isinstance(times["gradviz, compiled"], float) for times in found.values())


def test_watching_pytorch_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent(torch_capture.Way):
        name, package = "absent", "no_such_package"

    class Failing(torch_capture.Way):
        name = "failing"

        def step(self) -> None:
            raise ValueError

    ways = (torch_capture.Recorded, torch_capture.Summaries, torch_capture.Way, Absent, Failing)
    monkeypatch.setattr(torch_capture, "WAYS", ways)
    found = list(torch_capture.watched(ONCE, "torch M*"))
    assert [(one.way, one.status, len(one.plain), one.seen) for one in found] == [
        ("gradviz, recorded", "ok", 1, (22, 20)),
        ("gradviz, summaries only", "ok", 1, (22, 20)),
        ("plain, once more", "ok", 1, None),
        ("absent", "not installed", 0, None),
        ("failing", "ValueError", 0, None),
    ]
    assert found[0].ratio > 0.0
    table = report.watching_table(found)
    assert table.rows[0][:2] == ["MLP", "gradviz, recorded"]
    assert [row[3] for row in table.rows[3:]] == ["not installed", "ValueError"]
    assert list(torch_capture.watched(ONCE, "chain*")) == []


@pytest.mark.parametrize("kind", torch_capture.WAYS, ids=lambda kind: kind.name)
def test_every_way_to_watch_leaves_the_gradients_alone(kind: Any) -> None:
    if not torch_capture.is_installed(kind):  # the peers come with the extra for benchmarks
        return
    network = torch_capture.SmallMLP()
    network.loss().backward()
    relu = network.torch.relu
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = torch_capture.Watched(network.name, kind.name, None)
        assert torch_capture.checked(kind, network, network.gradients(), one) == "ok"
    assert network.torch.relu is relu


def test_graphs_of_several_sizes_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "SIZES", (50, 120))
    monkeypatch.setattr(scale, "STAGE_SIZES", (60,))
    monkeypatch.setattr(scale, "FAMILIES", ("transformer",))
    monkeypatch.setattr(scale, "WAYS", {name: scale.WAYS[name] for name in ("gradviz, folded", "dot")})
    found = list(scale.sizes("scale*"))
    assert [(one.way, one.nodes) for one in found if one.way == "gradviz, folded"] == [
        ("gradviz, folded", 50),
        ("gradviz, folded", 120),
    ]
    assert {one.status for one in found} <= {"ok", "no dot"}
    assert all(one.seconds > 0 and one.megabytes > 10 for one in found if one.status == "ok")
    pictures, stages = report.scale_tables(found)
    assert pictures.header == ["graph", "drawn by", "50 nodes", "120 nodes"]
    assert "MB" in pictures.rows[0][2]
    assert [row[1] for row in stages.rows] == list(scale.STAGES)
    assert list(scale.sizes("chain*")) == []


def test_what_fails_or_takes_too_long_is_said_and_larger_graphs_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(table: str, family: str, way: str, nodes: int, patience: float) -> scale.Size:
        return scale.Size(table, family, way, nodes, status="RecursionError" if nodes > 100 else "ok", seconds=1.0)

    monkeypatch.setattr(scale, "size", failing)
    found = list(scale.grown("pictures", "scalar", "dot", scale.SIZES, 1.0))
    assert [one.status for one in found] == ["ok", "RecursionError"]
    ours = [one.nodes for one in scale.grown("stages", "scalar", "as SVG", scale.STAGE_SIZES, 1.0)]
    assert ours == [10_000]
    assert next(iter(report.scale_tables(found))).rows == [["scalar", "dot", "1.00 s, nan MB", "RecursionError"]]


@pytest.mark.parametrize("name", ["torchviz", "torchview"])
def test_the_models_have_about_as_many_nodes(name: str) -> None:
    if not (importlib.util.find_spec("torchviz") and importlib.util.find_spec("torchview")):
        return  # the peers come with the extra for benchmarks
    model, batch = scale.blocks(name, 1000)
    if name == "torchviz":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            drawn = importlib.import_module("torchviz")
            made = drawn.make_dot(model(batch).sum(), params=dict(model.named_parameters()))
    else:
        made = importlib.import_module("torchview").draw_graph(model, input_data=batch, expand_nested=True, depth=3)
        made = made.visual_graph
    nodes = sum("->" not in line and "[" in line for line in made.source.splitlines())
    assert 600 < nodes < 1600


def test_what_is_stopped_is_stopped_with_all_that_it_has_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = (
        "import subprocess as s, sys; p = s.Popen(['sleep', '600']); open(sys.argv[1], 'w').write(str(p.pid)); p.wait()"
    )
    assert scale.limited([sys.executable, "-c", code, str(note)], 5.0) is None
    pid = int(note.read_text())
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] == "Z":
            return
        time.sleep(0.05)
    raise AssertionError("the child of the stopped process is still there")


def test_the_memory_of_a_picture_is_not_that_of_the_process_that_asks_for_it() -> None:
    held = np.ones(40 << 20)  # 320 MB, which a forked process would start its own peak with
    found = scale.size("pictures", "transformer", "gradviz, every node", 100, 60.0)
    assert found.status == "ok"
    assert found.megabytes < held.nbytes / (1 << 20)
