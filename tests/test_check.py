"""``gradviz check``: what it prints, and its exit status."""

import json

import pytest

from gradviz import Tensor, trace
from gradviz.cli import main
from gradviz.rules import all_rules
from tests.hostile import HOSTILE
from tests.rules_examples import EXAMPLES


@pytest.fixture
def good(tmp_path):
    EXAMPLES["diverging"][0](tmp_path / "good")
    return str(tmp_path / "good")


@pytest.fixture
def bad(tmp_path):
    EXAMPLES["diverging"][1](tmp_path / "bad")
    return str(tmp_path / "bad")


def test_a_sound_run_is_0(good, capsys):
    assert main(["check", good]) == 0
    assert "nothing found" in capsys.readouterr().out


def test_findings_are_1_and_tell_what_where_and_what_helps(bad, capsys):
    assert main(["check", bad]) == 1
    out = capsys.readouterr().out
    assert "error diverging: the loss grows from" in out
    assert "rules_examples.py:" in out
    assert "largest stable lr 0.7334" in " ".join(out.split())
    assert "try: Make the learning rate smaller" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("names", "status"),
    [
        ("nan,vanishing", 0),
        ("nan,diverging", 1),
        ("note", 1),
        ("warning", 1),
        ("none", 0),
        ("error,cut", 1),
    ],
)
def test_only_these_make_it_1(bad, names, status):
    assert main(["check", bad, "--fail-on", names]) == status


def test_only_these_rules_are_asked(bad, capsys):
    assert main(["check", bad, "--rules", "nan,inf"]) == 0
    assert "nothing found" in capsys.readouterr().out
    assert main(["check", bad, "--rules", "large-step", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["rules"] == ["large-step"]


def test_json_holds_everything(bad, capsys):
    assert main(["check", bad, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["run"], report["steps"], report["ok"]) == (bad, 60, False)
    assert report["rules"] == list(all_rules())
    first = report["findings"][0]
    assert set(first) == {
        "rule", "severity", "message", "node", "step", "last_step", "source", "numbers", "advice",
    }  # fmt: skip
    assert first["source"]["line"] > 0


def test_the_list_of_rules(capsys):
    assert main(["check", "--list"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert all(name in out for name in all_rules())
    assert main(["check", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in listed] == list(all_rules())
    assert all(entry["summary"] and entry["because"] for entry in listed)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ([], "no run to check"),
        (["no/such/run"], "there is no run"),
        (["RUN", "--rules", "vanish"], "did you mean vanishing?"),
        (["RUN", "--fail-on", "nann"], "did you mean nan"),
    ],
)
def test_what_is_wrong_is_said_in_two_lines(good, line, said, capsys):
    assert main(["check", *(good if word == "RUN" else word for word in line)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_hostile_names_do_nothing_to_a_terminal(tmp_path, capsys):
    import numpy as np

    params = {name: Tensor(np.zeros(2)) for name in HOSTILE if name.isprintable() or name.isascii()}
    with trace(tmp_path / "run", params=params) as log:
        for _ in range(12):
            loss = sum(np.log(p).sum() for p in params.values())
            loss.backward()
            log.step(loss)
    assert main(["check", str(tmp_path / "run")]) == 1
    out = capsys.readouterr().out
    assert all(char.isprintable() or char == "\n" for char in out)
