"""The command line: data on stdout, messages on stderr, exit statuses, and no traceback unasked."""

import csv
import io
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

import gradviz
from gradviz.cli import main
from gradviz.tracing.recorder import trace
from gradviz.verbs import all_verbs
from tests.processes import run_python

SCRIPT = """\
import sys
from gradviz import Tensor
print("hello from the script", *sys.argv[1:])
a = Tensor(2.0)
b = Tensor(3.0)
loss = (a * b) ** 2
loss.backward()
class Box: pass
box = Box()
box.inner = loss
number = 7
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture
def run(tmp_path):
    w = gradviz.Tensor(1.0, name="w")
    with trace(tmp_path / "run", params={"w": w}, meta={"lr": 0.25}) as log:
        for _ in range(4):
            w.zero_grad()
            loss = (w - 3) ** 2
            loss.backward()
            log.step(loss)
            w.data -= 0.25 * w.grad
    return tmp_path / "run"


def test_every_verb_has_help_with_examples(capsys):
    for verb in all_verbs():
        assert main([verb.name, "-h"]) == 0
        said = capsys.readouterr().out
        assert said.index("examples:") < said.index("options:")
        assert f"gradviz {verb.name}" in said


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"gradviz {gradviz.__version__}\n"


def test_no_verb_is_a_wrong_command_line(capsys):
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "usage: gradviz" in err


@pytest.mark.parametrize("line", [["dance"], ["draw"], ["draw", "x.py:y", "--style", "oil"], ["show"]])
def test_wrong_command_lines(line, capsys):
    assert main(line) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "usage:" in err


# -- draw ------------------------------------------------------------------------------------


def test_draw_without_out_is_text_on_stdout(script, capsys):
    assert main(["draw", "script.py:loss"]) == 0
    out, err = capsys.readouterr()
    assert "a" in out
    assert "36" in out
    assert "hello" not in out
    assert err.startswith("hello from the script")


def test_draw_to_a_file(script, tmp_path, capsys):
    assert main(["draw", "script.py:loss", "-o", "loss.svg", "--title", "A loss"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("wrote loss.svg\n")
    root = ET.parse(tmp_path / "loss.svg").getroot()
    texts = set("".join(root.itertext()).split())
    assert {"a", "b", "loss"} <= texts


def test_draw_names_what_nobody_named(script, capsysbinary):
    assert main(["draw", "script.py:loss", "-o", "-", "--format", "dot"]) == 0
    out = capsysbinary.readouterr().out.decode()
    assert out.startswith("digraph")
    assert all(f"{name}" in out for name in ("a", "b", "loss"))


def test_draw_svg_is_the_default_on_stdout(script, capsysbinary):
    assert main(["draw", "script.py:loss", "-o", "-"]) == 0
    assert ET.fromstring(capsysbinary.readouterr().out).tag.endswith("svg")


def test_draw_binary_to_a_pipe(script, capsysbinary):
    assert main(["draw", "script.py:loss", "-o", "-", "--format", "png"]) == 0
    assert capsysbinary.readouterr().out.startswith(b"\x89PNG")


def test_draw_folds_and_unfolds(tmp_path, monkeypatch, capsys):
    text = "from gradviz import Tensor\nw = Tensor(1.0)\nfor _ in range(9):\n    w = w * 2.0\n"
    (tmp_path / "loop.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    for options, lines in (([], 18), (["--fold", "yes"], 1), (["--unfold"], 5), (["--unfold", "loop.py:4"], 5)):
        assert main(["draw", "loop.py:w", *options, "-o", "-", "--format", "dot"]) == 0
        assert capsys.readouterr().out.count(" -> op") >= lines
    assert main(["draw", "loop.py:w", "--unfold", "nothing"]) == 2
    assert "no fold is named 'nothing'" in capsys.readouterr().err


def test_draw_an_attribute_and_script_arguments(script, capsys):
    assert main(["draw", "script.py:box.inner", "--show", "name,local", "--", "--epochs", "3"]) == 0
    assert "hello from the script --epochs 3" in capsys.readouterr().err


def test_draw_leaves_the_interpreter_as_it_was(script):
    before = sys.argv[:], sys.path[:], sys.modules["__main__"]
    assert main(["draw", "script.py:loss"]) == 0
    assert (sys.argv, sys.path, sys.modules["__main__"]) == before


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("script.py:los", [], "did you mean loss?"),
        ("script.py:box.outer", [], "no attribute 'outer'"),
        ("script.py:number", [], "no computation graph"),
        ("script.py", [], "script.py:name"),
        ("nothing.py:loss", [], "no script 'nothing.py'"),
        ("script.py:loss", ["-o", "loss.bmp"], "no picture format is called 'bmp'"),
        ("script.py:loss", ["-o", "picture"], "'picture' has no suffix"),
        ("script.py:zzz", [], "known: a,"),
        (".:loss", [], "'.' is a folder"),
        ("script.py:loss", ["-o", "x.svg", "--format", "dot"], "--format is for stdout"),
        ("script.py:loss", ["--show", "nmae"], "did you mean name?"),
        ("script.py:loss", ["--focus", "c"], "no node is named 'c'"),
        ("script.py:loss", ["-o", "no/such/folder/x.svg"], "there is no folder"),
    ],
)
def test_draw_says_what_was_wrong(script, capsys, target, options, words):
    assert main(["draw", target, *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "gradviz: error:" in err
    assert words in err
    assert "Traceback" not in err


def test_draw_a_failing_script(script, capsys):
    script.write_text("def f(x):\n    return 1 / x\n\nloss = f(0)\n")
    assert main(["draw", "script.py:loss"]) == 2
    err = capsys.readouterr().err
    assert "script.py failed: ZeroDivisionError: division by zero" in err
    assert "script.py:4 in <module>: loss = f(0)" in err
    assert "script.py:2 in f: return 1 / x" in err
    assert "Traceback" not in err
    assert "gradviz/verbs" not in err


def test_draw_a_script_with_a_syntax_error(script, capsys):
    script.write_text("loss = = 2\n")
    assert main(["draw", "script.py:loss"]) == 2
    assert "invalid syntax" in capsys.readouterr().err


@pytest.mark.parametrize(("code", "status"), [("0", 0), ("3", 2)])
def test_draw_a_script_that_ends_itself(script, capsys, code, status):
    script.write_text(f"{SCRIPT}\nsys.exit({code})\n")
    assert main(["draw", "script.py:loss"]) == status
    assert ("ended itself with status 3" in capsys.readouterr().err) == (status == 2)


@pytest.mark.parametrize("line", [["draw", "script.py:loss", "--debug"], ["--debug", "draw", "script.py:loss"]])
def test_debug_shows_the_traceback(script, capsys, line):
    script.write_text("loss = 1 / 0\n")
    assert main(line) == 2
    err = capsys.readouterr().err
    assert err.count("Traceback") == 2
    assert "ScriptError" in err


def test_an_error_of_our_own_is_said_in_two_lines(monkeypatch, capsys):
    from gradviz.verbs import checkup

    monkeypatch.setattr(checkup, "_extras", lambda: 1 / 0)
    assert main(["doctor"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "gradviz: internal error: ZeroDivisionError: division by zero",
        "  run it again with --debug to see where",
    ]


def test_hostile_names_do_not_reach_the_terminal(script, capsys):
    assert main(["draw", "script.py:\x1b[31mred"]) == 2
    assert "\x1b" not in capsys.readouterr().err


# -- show ------------------------------------------------------------------------------------


def test_show_a_table(run, capsys):
    assert main(["show", str(run)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "4 steps (0 to 3)" in out
    assert "0.0625" in out  # the last loss
    assert "lr = 0.25" in out
    assert "\x1b" not in out


def test_show_json(run, capsysbinary):
    assert main(["show", str(run), "--json"]) == 0
    found = json.loads(capsysbinary.readouterr().out)
    assert found["steps"] == 4
    assert found["loss"] == {"first": 4.0, "last": 0.0625, "min": 0.0625, "min_step": 3, "not_finite": 0}
    (w,) = found["parameters"]
    assert (w["name"], w["shape"], w["first"], w["first_grad"]) == ("w", [], 1.0, -4.0)
    assert found["meta"] == {"lr": 0.25}
    assert found["damage"] == []


def test_show_csv(run, capsysbinary):
    assert main(["show", str(run), "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsysbinary.readouterr().out.decode())))
    assert [float(row["loss"]) for row in rows] == [4.0, 1.0, 0.25, 0.0625]
    assert [float(row["w"]) for row in rows] == [1.0, 2.0, 2.5, 2.75]


def test_show_a_run_with_arrays_and_trouble(tmp_path, capsysbinary):
    w = gradviz.Tensor([3.0, 4.0], name="w")
    with trace(tmp_path / "run", params={"w": w}) as log:
        log.step(float("nan"))
    assert main(["show", str(tmp_path / "run"), "--json"]) == 0
    found = json.loads(capsysbinary.readouterr().out)
    assert found["loss"] == {"first": "nan", "last": "nan", "min": None, "min_step": None, "not_finite": 1}
    assert found["parameters"][0]["what"] == "norm"
    assert found["parameters"][0]["last"] == 5.0
    assert found["parameters"][0]["last_grad"] is None
    assert main(["show", str(tmp_path / "run")]) == 0


def test_a_damaged_run_is_a_finding(run, capsys):
    rows = run / "seg-0000.npy"
    data = bytearray(rows.read_bytes())
    data[-70] ^= 1  # in the row before the last
    rows.write_bytes(data)
    for form in ([], ["--json"], ["--csv"]):
        assert main(["show", str(run), *form]) == 1
        out, err = capsys.readouterr()
        assert out
        assert "damaged: seg-0000.npy" in err


def test_show_an_empty_run(tmp_path, capsys):
    with trace(tmp_path / "run", params={}):
        pass
    assert main(["show", str(tmp_path / "run")]) == 0
    assert "no steps yet" in capsys.readouterr().out


def test_show_something_else(tmp_path, capsys):
    assert main(["show", str(tmp_path)]) == 2
    assert "there is no run in" in capsys.readouterr().err


# -- doctor ----------------------------------------------------------------------------------


def test_doctor_finds_the_core_healthy(capsysbinary):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsysbinary.readouterr().out)
    assert found["ok"] is True
    assert {item["name"] for item in found["versions"]} >= {"Python", "gradviz", "numpy", "wasmtime", "rich"}
    embedded, system = found["engines"]
    assert embedded["ok"]
    assert "Graphviz" in embedded["said"]
    assert system["needed"] is False


def test_doctor_prints_a_table(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "embedded" in out
    assert "all is well" in out


def test_doctor_names_the_command_for_what_is_missing(monkeypatch, capsysbinary):
    from gradviz.verbs import checkup

    def version(name):
        if name == "matplotlib":
            raise checkup.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(checkup, "version", version)
    monkeypatch.setenv("PATH", "")
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsysbinary.readouterr().out)
    missing = [item for item in found["extras"] if not item["ok"]]
    assert [(item["name"], item["get"]) for item in missing] == [("plot: matplotlib", 'pip install "gradviz[plot]"')]
    system = found["engines"][1]
    assert not system["ok"]
    assert system["get"]


def test_doctor_reports_a_broken_core(monkeypatch, capsys):
    from gradviz.verbs import checkup

    def broken():
        raise RuntimeError("the moon\nis wrong")

    monkeypatch.setitem(checkup.TRIALS, "gradients", broken)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "RuntimeError: the moon" in out
    assert "gradviz cannot work like this" in out


# -- as a process ----------------------------------------------------------------------------


def gradviz_process(*line, cwd, **surroundings):
    """Run the command line in a process of its own."""
    return run_python("-W", "error", "-m", "gradviz", *line, cwd=cwd, env={**os.environ, **surroundings})


def test_it_works_in_the_plainest_surroundings(script, run, tmp_path):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TERM": "dumb"}
    for line in (["show", str(run)], ["doctor"], ["draw", "script.py:loss"]):
        done = gradviz_process(*line, cwd=tmp_path, **plain)
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr.decode()


def test_colour_is_asked_for(run, tmp_path):
    assert b"\x1b[" in gradviz_process("doctor", cwd=tmp_path, FORCE_COLOR="1", NO_COLOR="").stdout
    assert b"\x1b[" not in gradviz_process("doctor", cwd=tmp_path, NO_COLOR="1").stdout


def test_a_reader_that_leaves_is_no_trouble(run, tmp_path):
    command = [sys.executable, "-m", "gradviz", "show", str(run), "--csv"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(60) == 0
    assert said == b""


def test_draw_names_the_arrays_of_the_script(tmp_path, capsys):
    script = tmp_path / "line.py"
    script.write_text(
        "import numpy as np\nfrom gradviz import Tensor\nw = Tensor(2.0, name='weight')\n"
        "x, y = np.arange(3.0), np.ones(3)\nloss = ((w * x - y) ** 2).sum()\n"
    )
    assert main(["draw", f"{script}:loss"]) == 0
    out = capsys.readouterr().out
    assert "weight * x" in out
    assert "mul_1 - y" in out
