"""Training in two processes (gloo): each rank traces for itself, and reading finds the one that went astray."""

import json
from pathlib import Path

import numpy as np
import pytest

from gradviz.cli import main
from gradviz.errors import TraceError
from gradviz.tracing.many import open_runs
from gradviz.tracing.reading import open_run
from tests.ranked import FAULT, STEPS, launch

pytest.importorskip("torch.distributed")

ACROSS = ("rank-diverges", "rank-nan", "rank-structure", "rank-died", "rank-steps", "rank-missing")
PLAIN = ("sound", "nudged", "poisoned", "short_batch", "alone", "uneven", "unwrapped", "accumulating", "normalised",
         "clashing", "digests", "norms", "statistics")  # fmt: skip
WATCHED = ("watched_sound", "watched_nudged", "watched_poisoned", "watched_branching", "watched_short_batch",
           "watched_alone")  # fmt: skip


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Return a function that runs a scenario, together with those like it, once; it gives the folder of the run."""
    done = {}

    def run(name, **options):
        group = next((group for group in (PLAIN, WATCHED) if name in group), (name,))
        if group not in done:
            folder = tmp_path_factory.mktemp("ranks") / "runs"
            done[group] = folder, *launch(folder, *group, **options)
        folder, codes, logs, late = done[group]
        if not options:
            assert (codes, late) == ([0, 0], []), logs
        return folder / name

    run.logs = lambda name: next(logs for group, (_, _, logs, _) in done.items() if name in group)
    return run


def across(path):
    """Return what the rules across ranks find."""
    return open_runs(path).findings(ACROSS)


# -- good ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sound", "watched_sound"])
def test_a_sound_training_gives_nothing(ran, name):
    path = ran(name)
    runs = open_runs(path)
    assert [run.rank for run in runs] == [0, 1]
    assert [run.info["world_size"] for run in runs] == [2, 2]
    assert [len(run) for run in runs] == [STEPS, STEPS]
    assert runs.damage == []
    assert across(path) == []
    found = runs.by_rank()
    assert found.same
    assert not found
    assert "4 parameters, their gradients and the structure in 12 steps, bit for bit" in str(found)
    assert not np.array_equal(runs[0].loss, runs[1].loss)  # which are each rank's own


def test_ranks_are_one_table(ran):
    table = open_runs(ran("sound")).query("""
        SELECT step, count(*) AS ranks, max("module.0.weight.norm") - min("module.0.weight.norm") AS apart
        FROM runs GROUP BY step ORDER BY step
    """)
    assert table["step"].tolist() == list(range(STEPS))
    assert set(table["ranks"]) == {2}
    assert set(table["apart"]) == {0.0}
    everything = open_runs(f"{ran('sound').parent}/*").query("SELECT run, rank, count(*) AS n FROM runs GROUP BY ALL")
    assert {(run, rank) for run, rank in zip(everything["run"], everything["rank"], strict=True)} >= {
        ("sound", 0),
        ("sound", 1),
    }


# -- divergence ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nudged", "watched_nudged"])
def test_the_step_and_the_parameter_in_which_ranks_part_are_named(ran, name):
    path = ran(name)
    (finding,) = across(path)
    assert (finding.rule, finding.severity, finding.node) == ("rank-diverges", "error", "module.2.weight")
    assert (finding.step, finding.ranks, finding.run) == (FAULT, (1,), name)
    assert finding.numbers["elements"] == 1
    before = open_runs(path)[0]["module.2.weight"].value[FAULT][0, 3]
    assert finding.numbers["relative"] == pytest.approx(1e-6 / abs(before), rel=0.2)
    assert "most at [0, 3]" in finding.message
    assert f"its gradient in step {FAULT - 1} was the same" in finding.message
    found = open_runs(path).by_rank()
    assert (found.step, found.first.name, found.first.rank) == (FAULT, "module.2.weight", 1)


@pytest.mark.parametrize(("name", "told"), [("digests", "checksums"), ("norms", "norms"), ("statistics", "statistics")])
def test_less_than_all_numbers_tells_it_too(ran, name, told):
    found = [finding for finding in across(ran(name)) if finding.rule == "rank-diverges"]
    assert [(one.node, one.step, one.ranks) for one in found] == [("module.2.weight", FAULT, (1,))]
    assert told in found[0].message


def test_ranks_that_never_were_alike(ran):
    (finding,) = across(ran("unwrapped"))
    assert (finding.rule, finding.node, finding.step) == ("rank-diverges", "0.weight", 0)
    assert "at the start" in finding.message
    assert "3 other parameters" in finding.message
    assert "DistributedDataParallel" in finding.advice


def test_gradients_that_are_reduced_later_are_only_noted(ran):
    (finding,) = across(ran("accumulating"))
    assert (finding.rule, finding.severity, finding.step) == ("rank-diverges", "note", 0)
    assert "the parameters never differ" in finding.message
    assert "no_sync" in finding.advice


def test_running_statistics_are_only_noted(ran):
    (finding,) = across(ran("normalised"))
    assert (finding.severity, finding.node) == ("note", "module.1.running_mean")
    assert "and 1 more" in finding.message


# -- NaN and structure -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["poisoned", "watched_poisoned"])
def test_the_rank_on_which_a_nan_was_born_is_named(ran, name):
    path = ran(name)
    assert [np.flatnonzero(np.isnan(run.loss))[0] for run in open_runs(path)] == [FAULT + 1, FAULT]
    found = across(path)
    assert [(one.rule, one.severity, one.step, one.ranks) for one in found] == [("rank-nan", "error", FAULT, (1,))]
    assert found[0].message.startswith("the loss of rank 1 is NaN, that of rank 0 finite")
    own = [one for one in open_runs(path).findings() if one.rule == "nan"]
    assert [one.ranks for one in own] == [(1,)]  # the other one is only infected


def test_with_the_values_of_all_nodes_it_is_traced_to_the_data(ran):
    (finding,) = across(ran("watched_poisoned"))
    assert finding.node == "x"
    assert "the input x holds NaN: 1 of 24 elements" in finding.message


def test_one_more_op_on_one_rank_is_named_with_its_line(ran):
    (finding,) = across(ran("watched_branching"))
    assert (finding.rule, finding.severity, finding.step, finding.ranks) == ("rank-structure", "warning", FAULT, (1,))
    assert finding.source.text == "out.sin()"
    assert finding.node == "out" or finding.node.startswith("sin")
    assert "1 more" in finding.message


def test_a_smaller_last_batch_is_only_noted(ran):
    (finding,) = across(ran("watched_short_batch"))
    assert (finding.rule, finding.severity, finding.step) == ("rank-structure", "note", STEPS - 1)
    assert "x is [2, 4] float32, there [6, 4] float32" in finding.message
    assert across(ran("short_batch")) == []


# -- ranks that fall, or are not there -------------------------------------------------------------


@pytest.mark.parametrize("name", ["killed", "watched_killed"])
def test_a_rank_that_was_killed_is_named_with_its_last_step(ran, name):
    path = ran(name, grace=6.0)
    (finding,) = across(path)
    assert (finding.rule, finding.severity, finding.ranks, finding.step) == ("rank-died", "error", (1,), FAULT - 1)
    assert finding.message.startswith(f"rank 1 stopped after step {FAULT - 1}, without a word; rank 0 ")
    assert len(open_run(path / "rank-001")) == FAULT  # nothing is lost


def test_a_rank_that_raised_is_named_and_not_the_one_that_lost_it(ran):
    (finding,) = across(ran("raising", grace=6.0))
    assert (finding.rule, finding.ranks, finding.step) == ("rank-died", (1,), FAULT - 1)
    assert "rank 1 ended by KeyError" in finding.message


def test_uneven_numbers_of_steps(ran):
    path = ran("uneven")
    (finding,) = across(path)
    assert (finding.rule, finding.severity, finding.ranks, finding.step) == ("rank-steps", "warning", (1,), STEPS - 5)
    assert f"rank 1 recorded {STEPS - 4} steps, rank 0 {STEPS}" in finding.message
    found = open_runs(path).by_rank()
    assert not found.same
    assert found.step is None
    assert "all that they have in common is the same" in str(found)


def test_fewer_batches_on_one_rank(ran):
    path = ran("shorter", grace=6.0)
    (finding,) = across(path)
    assert (finding.rule, finding.severity, finding.ranks, finding.step) == ("rank-steps", "error", (1,), STEPS - 5)
    assert "rank 0 ended by RuntimeError" in finding.message


@pytest.mark.parametrize("name", ["alone", "watched_alone"])
def test_a_trace_on_one_rank_only_does_not_hang_the_others(ran, name):
    path = ran(name)  # no collective is called: every process has ended by itself
    assert [entry.name for entry in path.iterdir()] == ["rank-000"]
    assert len(open_run(path / "rank-000")) == STEPS
    (finding,) = across(path)
    assert (finding.rule, finding.severity, finding.ranks) == ("rank-missing", "note", (1,))
    with pytest.raises(TraceError, match="rank 0 only"):
        open_runs(path).by_rank()


def test_two_ranks_in_one_folder_are_refused(ran):
    path = ran("clashing")
    assert "refused: process" in ran.logs("clashing")[1]
    assert open_run(path).loss.tolist() == [1.0]


# -- shards ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["sharded", "watched_sharded"])
def test_every_rank_records_its_own_shards(ran, scenario):
    path = ran(scenario)
    for rank, run in enumerate(open_runs(path)):
        notes = [event for event in run.events if event["kind"] == "note"]
        assert len(notes) == STEPS
        for name in run.names:
            value, grad = run[name].value, run[name].grad
            for step, note in enumerate(notes):
                np.testing.assert_array_equal(value[step], np.float32(note["shards"][name][0]).reshape(value.shape[1:]))
                np.testing.assert_array_equal(grad[step], np.float32(note["shards"][name][1]).reshape(grad.shape[1:]))
        assert run["0.weight"].value.shape == (STEPS, 4, 4)  # half of (8, 4)
        assert run["2.bias"].value.shape == (STEPS, 1 - rank)
        layout = notes[0]["layout"]
        assert layout["parallel"] == "shards"
        assert layout["placements"]["0.weight"] == {"placements": ["Shard(0)"], "at": [rank], "shape": [4, 4]}
        assert layout["placements"]["2.bias"]["shape"] == [1 - rank]


def test_watching_a_sharded_model_reads_no_freed_storage(ran):
    path = ran("watched_sharded")
    assert across(path) == []
    runs = open_runs(path)
    assert [len(run) for run in runs] == [STEPS, STEPS]
    assert runs.damage == []
    sharded = open_runs(ran("sharded"))
    for run, plain in zip(runs, sharded, strict=True):
        np.testing.assert_array_equal(run.loss, plain.loss)  # watching changes no bit of the training


def test_shards_are_not_compared(ran):
    path = ran("sharded")
    assert across(path) == []
    assert [one for one in open_runs(path).findings() if one.node in {"2.bias", "2.weight"}] == []
    assert "4 parameters are not compared: every rank holds its own shard of them" in str(open_runs(path).by_rank())


# -- the command line ------------------------------------------------------------------------------


def test_check_show_and_diff_take_the_folder_of_the_ranks(ran, capsys):
    path = str(ran("nudged"))
    assert main(["check", path, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["run"], report["steps"], report["ranks"], report["ok"]) == (path, STEPS, [0, 1], False)
    assert set(ACROSS) < set(report["rules"])
    assert (report["findings"][0]["rule"], report["findings"][0]["ranks"]) == ("rank-diverges", [1])
    assert main(["check", path]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "at: rank 1, module.2.weight, step 7" in out
    assert out.endswith(f"{Path(path)}: 2 ranks, 12 steps, 1 error")
    assert main(["check", path, "--fail-on", "rank-nan"]) == 0
    assert main(["check", path, "--rules", "rank-nan,nan"]) == 0
    capsys.readouterr()
    assert main(["diff", path, "--by", "rank"]) == main(["diff", path]) == 1
    assert "they part in step 7, by value of module.2.weight" in capsys.readouterr().out
    assert main(["show", path]) == 0
    assert "nudged: 2 ranks, 4 parameters" in capsys.readouterr().out
