"""``gradviz debug``: runs, scripts, failures, files of commands, pipes and terminals."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gradviz.cli import main
from tests.terminals import Terminal

SCRIPT = """
import sys
import numpy as np
import gradviz
from gradviz import Tensor

lr = 0.5
a, b = Tensor(2.0), Tensor(3.0)
c = (a + b) * 2
e = np.sin(c)
e.backward()
print("script:", sys.argv[1:])
"""
FAILING = """
import numpy as np
from gradviz import Tensor

w = Tensor([1.0, 2.0], name="w")

def loss(scale):
    h = np.exp(w) * scale
    return (h @ Tensor([1.0, 2.0, 3.0])).sum()

loss(3.0)
"""
HIDDEN = """
import sys
from gradviz import Tensor

def main():
    w = Tensor(3.0, name="w")
    loss = w * w
    loss.backward()
    return {status}

sys.exit(main())
"""


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    import gradviz

    path = tmp_path_factory.mktemp("runs") / "line"
    gradviz.descend(lambda w: (w - 1.0) ** 2, {"w": 4.0}, lr=0.1, steps=8, trace=path)
    return str(path)


def script(tmp_path, text, name="script.py"):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return str(path)


def debug(capsys, *words):
    status = main(["debug", *words])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


def test_a_run(line, capsys):
    status, out, err = debug(capsys, line, "-c", "s", "-c", "p iteration")
    assert (status, err) == (0, "")
    assert out.startswith("> 0.f.0  forward 0: w = 4 (param)\n(gradviz 0.f.0) s\n> 0.f.1")
    assert out.endswith("p iteration\n0\n")


def test_a_place_in_a_run(line, capsys):
    assert debug(capsys, f"{line}:5.b.1", "-c", "when")[1].endswith("5.b.1\n")
    assert debug(capsys, f"{line}:5", "-c", "when")[1].endswith("5.f.0\n")
    status, _, err = debug(capsys, f"{line}:99", "-c", "when")
    assert status == 2
    assert "there is no iteration 99" in err


def test_a_command_that_fails_is_the_exit_status(line, capsys):
    status, out, err = debug(capsys, line, "-c", "p zzz", "-c", "when")
    assert status == 1
    assert "*** nothing is named 'zzz' here" in out
    assert out.endswith("0.f.0\n")
    assert err == ""


def test_files_of_commands_in_the_order_given(line, tmp_path, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("# a comment\n\nb w\ncommands\nsilent\np 11\nend\nc\n", "utf-8")
    second.write_text("p 33\n", "utf-8")
    status, out, _ = debug(capsys, line, "-x", str(first), "-c", "p 22", "-x", str(second))
    assert status == 0
    assert [row for row in out.splitlines() if row.isdigit()] == ["11", "22", "33"]
    assert "(gradviz 0.f.0) # a comment\n(gradviz 0.f.0) b w\n" in out


@pytest.mark.parametrize("name", ["no/such/file", ".", "binary"])
def test_a_file_of_commands_that_cannot_be_read(line, name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("binary").write_bytes(b"\xff\xfe\x00")
    status, out, err = debug(capsys, line, "-x", name)
    assert (status, out) == (2, "")
    assert "cannot be read" in err


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nowhere", "there is no run in nowhere"),
        ("nowhere.py", "there is no script 'nowhere.py'"),
        ("nowhere.py:e", "there is no script 'nowhere.py'"),
        ("nowhere:17", "there is no run in nowhere:17"),
        ("\x1b[31m", "there is no run in \\u001B[31m"),
    ],
)
def test_what_is_not_there(target, message, capsys):
    status, out, err = debug(capsys, target, "-c", "s")
    assert (status, out) == (2, "")
    assert message in err


def test_a_script(tmp_path, capsys):
    status, out, err = debug(capsys, script(tmp_path, SCRIPT), "-c", "ll", "-c", "p lr * 2", "--", "--fast", "1")
    assert (status, err) == (0, "")
    assert out.startswith("script: ['--fast', '1']\n> 0.f.0  forward 0: a = 2 (param)\n")
    assert "5  e = sin(c)" in out
    assert out.endswith("p lr * 2\n1\n")


def test_the_object_of_a_name(tmp_path, capsys):
    path = script(tmp_path, SCRIPT)
    out = debug(capsys, f"{path}:c", "-c", "ll")[1]
    assert "sin" not in out.partition("ll\n")[2]
    status, _, err = debug(capsys, f"{path}:zzz", "-c", "ll")
    assert status == 2
    assert "no variable of the script is named 'zzz'" in err
    status, _, err = debug(capsys, f"{path}:lr", "-c", "ll")
    assert status == 2
    assert "float" in err


@pytest.mark.parametrize(("ending", "said"), [("0", ""), ("3", "ended itself with status 3")])
def test_what_backward_was_called_on_in_a_function(tmp_path, capsys, ending, said):
    status, out, err = debug(capsys, script(tmp_path, HIDDEN.format(status=ending)), "-c", "p w")
    assert status == 0
    assert out.endswith("p w\n3\n")
    assert said in err


def test_a_script_without_a_tensor(tmp_path, capsys):
    status, _, err = debug(capsys, script(tmp_path, "x = 3\n"), "-c", "l")
    assert status == 2
    assert "the script has computed no scalar Tensor" in err
    assert "gradviz.breakpoint()" in err


def test_where_a_script_failed(tmp_path, capsys):
    status, out, _ = debug(capsys, script(tmp_path, FAILING), "-c", "ll", "-c", "p scale", "-c", "p norm(h) > 1")
    assert status == 1
    assert "ShapeError" in out.splitlines()[0]
    assert "in loss: return (h @ Tensor([1.0, 2.0, 3.0])).sum()" in out
    assert "gradviz/engine" not in out
    assert "-> 3  h = exp_1 * const_1" in out
    assert out.endswith("(gradviz 0.f.3) p scale\n3\n(gradviz 0.f.3) p norm(h) > 1\nTrue\n")


@pytest.mark.parametrize("text", ["raise ValueError('of all things')", "def f(:\n", "import nonexistent_module"])
def test_a_script_that_fails_without_a_tensor(tmp_path, capsys, text):
    status, out, err = debug(capsys, script(tmp_path, text), "-c", "l")
    assert (status, out) == (2, "")
    assert "script.py failed" in err
    assert "there is no Tensor to look at where it failed" in err


def test_quitting_a_breakpoint_of_the_script(tmp_path, capsys, monkeypatch):
    import io

    text = SCRIPT + "\ngradviz.breakpoint(e)\nprint('not reached')\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO("q\n"))
    status, out, _ = debug(capsys, script(tmp_path, text), "-c", "p 1")
    assert status == 0
    assert "not reached" not in out


def test_a_script_is_run_as_python_runs_it(tmp_path, capsys):
    (tmp_path / "beside.py").write_text("from gradviz import Tensor\nw = Tensor(2.0, name='w')\n", "utf-8")
    before = sys.argv, sys.path[:], sys.modules["__main__"]
    text = "from beside import w\nassert __name__ == '__main__'\nassert __file__\nloss = w * w\n"
    assert debug(capsys, script(tmp_path, text), "-c", "p w")[0] == 0
    assert (sys.argv, sys.path[:], sys.modules["__main__"]) == before
    sys.modules.pop("beside")


# -- a process of its own -------------------------------------------------------------------------


def piped(*words, commands="", **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, "-m", "gradviz", "debug", *words], input=commands, capture_output=True, text=True, timeout=60,
        check=False, env=environment, **options,
    )  # fmt: skip


def test_a_pipe(line):
    done = piped(line, commands="s\n\nwhen\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("when\n0.f.2\n")
    assert "\x1b" not in done.stdout
    failed = piped(line, commands="zzz\ns\n")
    assert failed.returncode == 1
    assert "*** 'zzz' is no command" in failed.stdout


def test_commands_leave_the_pipe_alone(line):
    assert "when" not in piped(line, "-c", "s", commands="when\n").stdout


def test_a_reader_that_leaves_early(line):
    words = [sys.executable, "-m", "gradviz", "debug", line, *["-c", "ll"] * 3000]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


def test_a_terminal(line):
    with Terminal("-m", "gradviz", "debug", line, "-c", "s", columns=60) as terminal:
        terminal.read("(gradviz 0.f.1) ")
        terminal.type("b nan\nb\nhelp w\n")
        terminal.read("names: where")
        terminal.type("zzz\n")
        terminal.read("***")
        terminal.type("q\n")
        assert terminal.wait() == 0  # what a person mistypes is no failure
    assert "breakpoint 1 at nan" in terminal.text


def test_a_terminal_without_colour(line):
    with Terminal("-m", "gradviz", "debug", line, NO_COLOR="1") as terminal:
        terminal.read("(gradviz 0.f.0) ")
        terminal.type("ll\nzzz\nq\n")
        assert terminal.wait() == 0
    assert "\x1b[1m" not in terminal.text
    assert "\x1b[31m" not in terminal.text
