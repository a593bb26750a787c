"""The rules across ranks on small runs of plain numbers: who is odd, what counts, who fell, who is missing."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import gradviz
from gradviz.cli import main
from gradviz.errors import GradvizValueError, TraceError, UnknownNameError
from gradviz.rules import all_rules
from gradviz.rules.ranks import Ending
from gradviz.rules.registry import RANK_RULES, rule
from gradviz.rules.stopped import dead_rank
from gradviz.tracing import recorder
from gradviz.tracing.many import open_runs
from gradviz.tracing.ranks import layout_of
from gradviz.tracing.recorder import trace
from tests.params import Param

PAGE = (Path(__file__).parent.parent / "docs" / "health.md").read_text("utf-8")
ACROSS = tuple(all_rules("ranks"))


def write(path, ranks=2, steps=6, change=None, loss=None, world=None, close=True, **options):
    """Write the runs of ranks that train alike; ``change(rank, step, params)`` runs before a step is recorded."""
    for rank in range(ranks):
        rng = np.random.default_rng(0)
        params = {"W": Param(rng.normal(size=(3, 4))), "b": Param(1.0)}
        log = trace(path, params=params, rank=rank, world_size=world or ranks, **options)
        for step in range(steps[rank] if isinstance(steps, list) else steps):
            params["W"].grad, params["b"].grad = rng.normal(size=(3, 4)), float(rng.normal())
            if change is not None:
                change(rank, step, params)
            log.step(loss(rank, step) if loss else 1.0 / (rank + step + 1))
            for param in params.values():
                param.data = param.data - 0.1 * param.grad
        if close:
            log.close()
        else:
            log._let_go()
    return path


def across(path, rules=ACROSS):
    return open_runs(path).findings(rules)


def nudge(*odd, step=3, by=1e-6, name="W"):
    """Return a change of one number on some ranks."""

    def change(rank, at, params):
        if rank in odd and at == step:
            params[name].data = params[name].data + by

    return change


# -- divergence ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ranks", "odd", "other"), [(2, (1,), 0), (3, (0,), 1), (5, (1, 3), 0), (4, (0,), 1)])
def test_the_odd_ones_are_those_that_are_fewer(tmp_path, ranks, odd, other):
    (finding,) = across(write(tmp_path / "run", ranks, change=nudge(*odd)))
    assert (finding.ranks, finding.node, finding.step) == (odd, "W", 3)
    assert f"from rank {other} in step 3" in finding.message


def test_ranks_that_part_at_different_steps_are_told_apart(tmp_path):
    def change(rank, step, params):
        nudge(1, step=2, name="b")(rank, step, params)
        nudge(2, step=4)(rank, step, params)

    found = across(write(tmp_path / "run", 4, change=change))
    assert [(one.ranks, one.node, one.step) for one in found] == [((1,), "b", 2), ((2,), "W", 4)]


def test_a_gradient_that_was_not_reduced_is_said(tmp_path):
    def change(rank, step, params):
        if rank == 1 and step == 3:
            params["W"].grad = params["W"].grad * 2

    (finding,) = across(write(tmp_path / "run", change=change))
    assert (finding.step, finding.node) == (4, "W")
    assert "its gradient in step 3 was not the same: the ranks did not reduce it" in finding.message


def test_a_threshold_lets_small_differences_pass(tmp_path):
    path = write(tmp_path / "run", change=nudge(1))
    assert across(path, {"rank-diverges": {"relative": 1e-3}}) == []
    assert len(across(path, {"rank-diverges": {"relative": 1e-9}})) == 1
    with pytest.raises(GradvizValueError, match="no threshold"):
        across(path, {"rank-diverges": {"absolute": 1.0}})


def test_nans_of_other_bits_and_zeros_of_another_sign_are_no_difference(tmp_path):
    def change(rank, step, params):
        params["W"].data = np.array([0.0 if rank else -0.0, 1.0])
        params["W"].grad = np.array([-np.nan if rank else np.nan, 1.0])
        params["b"].data = params["b"].grad = -np.nan if rank else np.nan

    runs = open_runs(write(tmp_path / "run", change=change))
    assert runs.findings(["rank-diverges"]) == []
    assert runs.by_rank().same
    assert runs[0]["W"].grad.tobytes() != runs[1]["W"].grad.tobytes()


def test_a_nan_on_one_rank_is_a_difference(tmp_path):
    (finding,) = across(write(tmp_path / "run", change=nudge(1, by=np.nan)), ["rank-diverges"])
    assert (finding.node, finding.step) == ("W", 3)


def test_only_steps_that_both_have_are_compared(tmp_path):
    for rank, steps in enumerate([(0, 2, 4, 6), (0, 1, 2, 3, 4)]):
        with trace(tmp_path / "run", params={"w": Param(0.0, 1.0)}, rank=rank, world_size=2) as log:
            for step in steps:
                log._streams.params["w"].data = float(step)
                log.step(0.0, step=step)
    found = across(tmp_path / "run")
    assert [one.rule for one in found] == ["rank-steps"]


def test_a_run_that_is_being_written_is_judged_as_far_as_it_is(tmp_path):
    logs = [trace(tmp_path / "run", params={"w": Param(1.0, 1.0)}, rank=rank, world_size=2) for rank in (0, 1)]
    for log in logs:
        log.step(1.0)
    logs[0].step(1.0)
    assert across(tmp_path / "run") == []
    for log in logs:
        log.close()


def test_ranks_without_steps_say_nothing_wrong(tmp_path):
    path = write(tmp_path / "run", steps=0)
    assert across(path) == []
    assert open_runs(path).by_rank().same
    assert "0 steps" in str(open_runs(path).by_rank())


# -- what is not meant to be alike -----------------------------------------------------------------


@pytest.mark.parametrize("layout", ["none", "pipeline", "shards", "FSDP"])
def test_the_meta_of_a_run_can_say_that_ranks_are_not_alike(tmp_path, layout):
    path = write(tmp_path / "run", change=nudge(1, step=0), meta={"parallel": layout})
    assert across(path) == []
    assert "no two of them have the same numbers to compare" in str(open_runs(path).by_rank())


def test_copies_of_one_shard_are_compared(tmp_path, monkeypatch):
    """Four ranks in a mesh of 2 x 2: copied along the first dimension, split along the second."""

    class Replicate:
        pass

    class Shard:
        dim = 0

    for rank in range(4):
        mesh = SimpleNamespace(get_coordinate=lambda rank=rank: [rank // 2, rank % 2])
        spread = SimpleNamespace(placements=(Replicate(), Shard()), device_mesh=mesh)
        whole = SimpleNamespace(placements=(Replicate(), Replicate()), device_mesh=mesh)
        layout = layout_of({"W": spread, "b": whole})
        monkeypatch.setattr(recorder, "surroundings", lambda layout=layout: layout)
        shard = Param(np.full(3, float(rank % 2)), np.ones(3))
        with trace(tmp_path / "run", params={"W": shard, "b": Param(5.0, 1.0)}, rank=rank, world_size=4) as log:
            for step in range(3):
                if (rank, step) == (3, 2):
                    shard.data[1] += 0.5
                log.step(0.0)
    (finding,) = across(tmp_path / "run")
    assert (finding.ranks, finding.node, finding.step) == ((3,), "W", 2)
    assert "from rank 1 in step 2" in finding.message
    found = open_runs(tmp_path / "run").by_rank()
    assert (found.layout, len(found.forms), found.names) == ("shards", 2, 2)


def test_what_is_split_says_so_and_what_is_not_says_nothing():
    assert layout_of({"w": Param(1.0)}) == {}
    assert layout_of(None) == {}
    assert layout_of({}, type("DistributedDataParallel", (), {})()) == {"parallel": "ddp"}


# -- NaN -------------------------------------------------------------------------------------------


def test_a_nan_on_all_ranks_at_once_is_nobodys(tmp_path):
    path = write(tmp_path / "run", loss=lambda rank, step: np.nan if step > 2 else 1.0)
    assert across(path) == []
    assert [one.ranks for one in open_runs(path).findings(["nan"])] == [(0, 1)]


def test_an_infinite_loss_is_told_as_one(tmp_path):
    (finding,) = across(write(tmp_path / "run", 3, loss=lambda rank, step: np.inf if (rank, step) == (2, 4) else 1.0))
    assert (finding.rule, finding.ranks, finding.step) == ("rank-nan", (2,), 4)
    assert "the loss of rank 2 is infinite, those of ranks 0 and 1 finite" in finding.message


def test_one_born_on_the_way_back_is_found_where_the_values_are_known(tmp_path):
    for rank in range(2):
        w = gradviz.Tensor([1.0, 4.0 * (1 - rank)], name="w")
        with (
            np.errstate(all="ignore"),
            trace(tmp_path / "run", params={"w": w}, rank=rank, world_size=2, meta={"parallel": "none"}) as log,
        ):
            loss = np.sqrt(w).sum()
            loss.backward()
            w.grad = np.full(2, np.inf)  # as it would be after the reduction
            log.step(loss)
    found = across(tmp_path / "run")
    assert [one.rule for one in found if one.rule != "rank-nan"] == []


# -- structure -------------------------------------------------------------------------------------


def test_another_graph_is_told_by_its_first_node_and_line(tmp_path):
    for rank in range(4):
        w = gradviz.Tensor(2.0, name="w")
        with trace(tmp_path / "run", params={"w": w}, rank=rank, world_size=4) as log:
            for step in range(4):
                w.zero_grad()
                y = w * w
                if rank == 0 and step > 1:
                    y = np.sin(y)
                loss = y + 1.0
                loss.backward()
                w.grad = 1.0
                log.step(loss)
    (finding,) = across(tmp_path / "run")
    assert (finding.rule, finding.ranks, finding.step, finding.numbers) == ("rank-structure", (0,), 2, {"steps": 2})
    assert finding.source.text == "np.sin(y)"
    assert finding.message.startswith("rank 0 computes another graph than rank 1: ")
    found = open_runs(tmp_path / "run").by_rank()
    assert found.step == 2
    assert found.to_dict()["structure"][0]["node"]["op"] == "sin"
    assert "by their graphs" in str(found)


# -- ranks that fell -------------------------------------------------------------------------------


def fallen(*ends):
    """Return which ranks fell, from (how, error, steps) of each."""
    endings = [
        Ending(rank, steps, steps - 1 if steps else None, how, error, time=float(rank))
        for rank, (how, error, steps) in enumerate(ends)
    ]
    return [finding.ranks[0] for finding in dead_rank(SimpleNamespace(endings=endings))]


CLOSED, CUT, LIVE = ("closed", "", 9), ("cut", "", 5), ("live", "", 5)
LOST, RAISED = ("error", "RuntimeError", 5), ("error", "ValueError", 5)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([CLOSED, CLOSED], []),
        ([LIVE, LIVE], []),
        ([CLOSED, CUT], [1]),
        ([LIVE, CUT], [1]),  # the other one waits for it
        ([LOST, CUT], [1]),  # and lost the connection to it
        ([("error", "DistBackendError", 5), CUT], [1]),
        ([RAISED, CUT], [0]),  # the launcher ended the other one
        ([LOST, RAISED], [1]),
        ([RAISED, LOST, CUT], [0]),
        ([RAISED, RAISED], [0]),  # the first to end
        ([LOST, LOST, CLOSED], [0]),
        ([LOST, LOST], [0]),
        ([LOST, LIVE], [0]),
        ([LOST, ("closed", "", 5)], []),  # that had no more batches: see rank-steps
        ([("error", "SystemExit", 5), LOST], [0]),
        ([CUT, CUT], []),  # all of them killed, or never closed
        ([("cut", "", 5), ("cut", "", 4), ("cut", "", 5)], [1]),
        ([("error", "KeyboardInterrupt", 5), ("error", "KeyboardInterrupt", 5)], []),
        ([("cut", "", 0), CLOSED], [0]),
    ],
)
def test_who_fell_and_who_was_taken_along(ends, expected):
    assert fallen(*ends) == expected


def test_a_rank_that_had_fewer_batches_is_not_said_to_have_died(tmp_path):
    path = write(tmp_path / "run", steps=4)
    events = path / "rank-000" / "events.jsonl"
    events.unlink()
    with trace(path, params={"W": Param(1.0)}, rank=0, world_size=2, exist="overwrite") as log:
        for _ in range(4):
            log.step(1.0)
        log._close(RuntimeError)  # it lost the connection
    found = [one for one in across(path) if one.rule != "rank-diverges"]
    assert [(one.rule, one.severity, one.ranks, one.step) for one in found] == [("rank-steps", "error", (1,), 3)]
    assert "rank 1 ended after step 3, as it should; rank 0 ended by RuntimeError after step 3" in found[0].message


def test_a_rank_that_never_closed_its_trace_is_named(tmp_path):
    path = write(tmp_path / "run", steps=[6, 4])
    events = path / "rank-001" / "events.jsonl"
    lines = events.read_text("utf-8").splitlines(keepends=True)
    events.write_text("".join(line for line in lines if '"end"' not in line))
    (finding,) = across(path)
    assert str(finding) == (
        "error: rank-died: rank 1 stopped after step 3, without a word; rank 0 ended after step 5 (run, rank 1, step 3)"
    )


# -- ranks that are not there, or do not belong there ----------------------------------------------


def test_a_folder_that_is_missing(tmp_path):
    path = write(tmp_path / "run", 3, world=4)
    (finding,) = across(path)
    assert (finding.rule, finding.severity, finding.ranks) == ("rank-missing", "warning", (3,))
    assert "of 4 ranks, there is no trace that can be read of rank 3" in finding.message


def test_a_rank_that_is_damaged_does_not_stop_the_others(tmp_path):
    path = write(tmp_path / "run", 4)
    (path / "rank-001" / "run.json").write_text("{")
    (path / "rank-002" / "run.json").unlink()
    runs = open_runs(path)
    assert [one.ranks for one in runs.findings(["rank-missing"])] == [(2,)]
    assert any("rank-001" in note for note in runs.damage)
    assert runs.by_rank().same


def test_ranks_left_over_from_a_larger_run_are_told_and_not_compared(tmp_path):
    write(tmp_path / "run", 4, change=nudge(3))
    path = write(tmp_path / "run", 2, exist="overwrite")
    (finding,) = across(path)
    assert (finding.rule, finding.ranks) == ("rank-missing", (2, 3))
    assert "say there are 4 ranks, the others 2: left over from another run" in finding.message


# -- the runs of several ------------------------------------------------------------------------------


def test_what_is_found_on_several_ranks_is_said_once(tmp_path):
    path = write(tmp_path / "run", 3, steps=12, loss=lambda rank, step: 1.0 + rank)
    found = [one for one in open_runs(path).findings() if one.rule == "not-decreasing"]
    assert [(one.ranks, one.run) for one in found] == [((0, 1, 2), "run")]
    assert "(run, ranks 0 to 2, loss, steps 0 to 11)" in str(found[0])
    assert found[0].to_dict()["ranks"] == [0, 1, 2]


def test_a_sweep_of_single_runs_is_judged_one_by_one(tmp_path):
    for name in ("good", "bad"):
        with trace(tmp_path / name, params={}) as log:
            for step in range(20):
                log.step(1.0 / (step + 1) if name == "good" else 1.0)
    write(tmp_path / "big", change=nudge(1))
    runs = open_runs(tmp_path)
    assert {(one.run, one.rule) for one in runs.findings()} == {("bad", "not-decreasing"), ("big", "rank-diverges")}
    assert [one.run for one in runs["bad*"].findings("not-decreasing")] == ["bad"]
    with pytest.raises(UnknownNameError, match="rank-diverges"):
        runs.findings(["rank-diverge"])
    with pytest.raises(TraceError, match="not the ranks of one run"):
        runs.by_rank()


def test_a_rule_of_ones_own_across_ranks(tmp_path):
    from gradviz.rules import Symptom

    @rule("slow-rank", severity="note", summary="a rank", advice="none", because="a test", of="ranks")
    def slow(seen, *, share=2.0):
        yield from (Symptom(f"rank {rank}", ranks=(rank,)) for rank in seen.ranks if rank)

    try:
        found = open_runs(write(tmp_path / "run")).findings({"slow-rank": {"share": 1.5}})
        assert [(one.message, one.ranks) for one in found] == [("rank 1", (1,))]
        with pytest.raises(GradvizValueError, match="registered already"):
            rule("slow-rank", severity="note", summary="", advice="", because="")
    finally:
        del RANK_RULES["slow-rank"]
    assert not set(ACROSS) & set(all_rules())


# -- the command line ----------------------------------------------------------------------------------


def test_show_tells_how_each_rank_ended(tmp_path, capsys):
    path = write(tmp_path / "run", 3, world=4, steps=[6, 4, 0], meta={"lr": 0.1})
    assert main(["show", str(path)]) == 0
    out = capsys.readouterr().out
    assert "3 of 4 ranks, 2 parameters" in out
    assert "lr = 0.1" in out
    assert main(["show", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["steps"], one["end"], one["last_step"]) for one in told["ranks"]] == [
        (6, "closed", 5),
        (4, "closed", 3),
        (0, "closed", None),
    ]
    assert (told["absent"], told["parameters"]) == ([3], ["W", "b"])


def test_diff_tells_the_ranks_as_json(tmp_path, capsys):
    path = write(tmp_path / "run", change=nudge(1))
    assert main(["diff", str(path), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["same"], told["step"], told["ranks"][1]) == (False, 3, {"rank": 1, "steps": 6})
    assert (told["apart"][0]["rank"], told["apart"][0]["name"], told["apart"][0]["elements"]) == (1, "W", 12)
    assert main(["diff", str(write(tmp_path / "good"))]) == 0
    assert "are alike: 2 parameters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["diff", "SINGLE"], "holds no ranks"),
        (["diff", "RANKS", "RANKS", "--by", "rank"], "compares the ranks of one run"),
        (["diff", "RANKS", "-o", "x.html"], "a page shows two runs"),
        (["diff", "RANKS", "RANKS"], "open_runs"),
        (["show", "RANKS", "--csv"], "--csv is of one process"),
        (["check", "RANKS", "--rules", "rank-dies"], "did you mean rank-died"),
        (["check", "SINGLE", "--rules", "rank-died"], "rank-died"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, line, said, capsys):
    paths = {"RANKS": str(write(tmp_path / "ranks")), "SINGLE": str(tmp_path / "single")}
    trace(paths["SINGLE"], params={}).close()
    assert main([paths.get(word, word) for word in line]) == 2
    assert said in capsys.readouterr().err


def test_the_list_tells_the_rules_across_ranks_too(tmp_path, capsys):
    assert main(["check", "--list"]) == 0
    assert all(name in capsys.readouterr().out for name in ["rank-died"])
    assert main(["check", str(write(tmp_path / "run")), "--list", "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == [*ACROSS, *all_rules()]


# -- the page about them -------------------------------------------------------------------------------


def test_the_page_lists_every_rule_across_ranks_as_it_is():
    text = " ".join(PAGE.split())
    for found in all_rules("ranks").values():
        limits = ", ".join(f"`{name}={value:g}`" for name, value in found.thresholds.items()) or "none"
        assert f"| `{found.name}` | {found.severity} | {found.summary} | {limits} |" in PAGE, found.name
        assert f"**{found.name}**: {found.advice} *Why:* {found.because}." in text, found.name
