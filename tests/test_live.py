"""Progress lines and runs that are watched, on a real pseudo-terminal and in pipes, with a real process that writes."""

import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from rich.console import Console

from gradviz.cli import main
from gradviz.tracing.progress import Moment, Progress
from gradviz.tracing.reading import open_run
from gradviz.tracing.recorder import trace
from gradviz.verbs.livetable import picture, sparkline
from gradviz.verbs.watching import Watched
from tests.params import Param
from tests.processes import run_python
from tests.terminals import Terminal

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"  # the cursor


def program(code):
    return "-c", textwrap.dedent(code)


LOOP = """
    import sys, time
    from gradviz.tracing.progress import Progress
    with Progress({total}) as progress:
        for i in range(40):
            progress.update(i, 1 / (i + 1) if i < 30 else float("nan"), lambda: 0.125)
            time.sleep(0.01)
            {more}
"""


# -- the progress line -------------------------------------------------------------------------


def test_a_line_is_written_over_on_a_terminal():
    with Terminal(*program(LOOP.format(total=40, more=""))) as terminal:
        assert terminal.wait() == 0
        text = terminal.text
    assert text.startswith(HIDE)
    assert text.endswith(SHOW)
    assert 3 < text.count("\r\x1b[2K") < 12  # ten times a second, and at the end
    assert text.count("\n") == 1
    last = text.rpartition("\x1b[2K")[2]
    assert "40/40" in last
    assert "gradient 0.125" in last
    assert re.search(r"\x1b\[[\d;]*31mloss NaN \(since 30\)\x1b", last)  # in alarm
    assert re.search(r"\dm?loss 0\.\d", text)


def test_without_a_total_there_is_no_bar_and_what_is_printed_stays_above():
    code = LOOP.format(total="", more="if i == 20: print('a line of [bold]mine[/bold]')")
    with Terminal(*program(code), columns=60) as terminal:
        assert terminal.wait() == 0
        text = terminal.text
    assert "step 39" in text
    assert "━" not in text
    assert "a line of [bold]mine[/bold]\r\n" in text


def test_a_narrow_terminal_gets_a_short_line():
    with Terminal(*program(LOOP.format(total=40, more="")), columns=30) as terminal:
        assert terminal.wait() == 0
        shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", terminal.text)
    assert all(len(line) <= 30 for line in re.split(r"[\r\n]+", shown))


def test_no_colour_where_none_is_wanted():
    with Terminal(*program(LOOP.format(total=40, more="")), NO_COLOR="1") as terminal:
        terminal.wait()
        assert not re.search(r"\x1b\[[\d;]*3\dm", terminal.text)
        assert "NaN" in terminal.text


@pytest.mark.parametrize("more", ["if i == 20: raise ValueError('mine')", "if i == 20: sys.exit(3)"])
def test_the_terminal_is_left_in_order_by_an_error(more):
    with Terminal(*program(LOOP.format(total=40, more=more))) as terminal:
        assert terminal.wait() in {1, 3}
        assert terminal.text.index(SHOW) > terminal.text.rindex("step/s" if "step/s" in terminal.text else "loss")
        assert "21/40" in terminal.text


def test_and_by_ctrl_c():
    with Terminal(*program(LOOP.format(total=40, more="time.sleep(0.1)"))) as terminal:
        terminal.read("3/40")
        assert terminal.interrupt() == -signal.SIGINT
        assert terminal.text.count(HIDE) == terminal.text.count(SHOW) == 1
        assert "KeyboardInterrupt" in terminal.text.rpartition(SHOW)[2]


def test_and_by_a_program_that_closes_nothing():
    code = """
        from gradviz.tracing.progress import Progress
        progress = Progress(3)
        progress.update(0, 1.0)
    """
    with Terminal(*program(code)) as terminal:
        assert terminal.wait() == 0
        assert terminal.text.count(SHOW) == 1


def test_stdout_in_a_file_stays_there(tmp_path):
    with (tmp_path / "out").open("w") as out:
        code = LOOP.format(total=40, more="print(i, file=sys.stdout)")
        with Terminal(*program(code), stdout=out) as terminal:
            terminal.wait()
            assert "40/40" in terminal.text
    assert (tmp_path / "out").read_text().split() == [str(i) for i in range(40)]


def test_a_dumb_terminal_is_a_log():
    with Terminal(*program(LOOP.format(total=40, more="")), TERM="dumb") as terminal:
        terminal.wait()
        assert "\x1b" not in terminal.text
        assert "40/40" in terminal.text


def test_the_child_of_a_fork_shows_nothing():
    code = """
        import os
        from gradviz.tracing.progress import Progress
        with Progress(3) as progress:
            progress.update(0, 1.0)
            child = os.fork()
            if not child:
                progress.update(1, 777.0)
                progress.close()
                raise SystemExit
            os.waitpid(child, 0)
    """
    with Terminal(*program(code)) as terminal:
        assert terminal.wait() == 0
        assert "777" not in terminal.text
        assert terminal.text.count(SHOW) == 1


def test_a_log_gets_few_lines(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("gradviz.tracing.progress.perf_counter", lambda: now[0])
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    calls = []
    with Progress(1000) as progress:
        for i in range(1000):
            progress.update(i, 1.0 if i != 500 else math.inf, lambda i=i: calls.append(i) or 0.5)
            now[0] += 0.25
    lines = sys.stderr.getvalue().splitlines()
    assert [int(line.split("/")[0]) for line in lines] == [
        1,
        5,
        13,
        29,
        61,
        125,
        245,
        365,
        485,
        501,
        621,
        741,
        861,
        981,
        1000,
    ]
    assert len(calls) == len(lines)
    assert lines[0] == "1/1000  loss 1  gradient 0.5  0:00:00"
    assert lines[9].startswith("501/1000  loss inf (since 500)  gradient 0.5  4 steps/s  0:02:04 left")
    assert lines[-1] == "1000/1000  loss 1 (not finite at step 500)  gradient 0.5  4 steps/s  0:04:09"


def test_a_stream_that_is_gone_ends_the_display_and_not_the_training(monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())
    with Progress(3) as progress:
        for i in range(3):
            progress.update(i, 1.0)
    monkeypatch.setattr(sys, "stderr", None)
    with Progress() as progress:
        progress.update(0, 1.0)


def test_slow_steps_are_counted_in_seconds():
    assert "4 s/step" in str(Moment(2, None, 1, 0.5, None, 0.25, 8.0))
    assert str(Moment(2, 10, 1, 0.5, None, 0.25, 8.0)).endswith("0:00:32 left")


def test_trace_and_descend_show_how_it_goes(tmp_path, capsys):
    import gradviz

    w = Param(1.0, 2.0)
    with gradviz.trace(tmp_path / "run", params={"w": w}, progress=True) as t:
        for i in range(3):
            t.step(1.0 / (i + 1))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("step 0  loss 1  gradient 2")
    assert lines[-1].startswith("step 2  loss 0.333333")
    gradviz.descend(lambda w: (w - 3) ** 2, {"w": 0.0}, lr=0.5, steps=2, progress=True, trace=tmp_path / "other")
    assert "2/2  loss 0  gradient 0" in capsys.readouterr().err
    assert len(open_run(tmp_path / "run")) == 3


# -- following ---------------------------------------------------------------------------------

WRITER = """
    import os, signal, sys, time
    import numpy as np
    import gradviz
    from gradviz.tracing.recorder import trace
    path, steps, end = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    w, v = gradviz.Tensor(0.0), gradviz.Tensor(np.ones((3, 2)))
    with trace(path, params={"w": w, "layer.v": v}) as t:
        for i in range(steps):
            w.grad = v.grad = None
            loss = (w - 3.0) ** 2 + (v * v).sum()
            loss.backward()
            t.step(loss)
            if i == 2:
                t.note("a [bold]note[/bold] \\x1b[31m")
            w.data, v.data = w.data - 0.1 * w.grad, v.data - 0.1 * v.grad
            time.sleep(0.02)
        if end == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if end == "raise":
            raise ValueError("mine")
        if end == "wait":
            time.sleep(60)
"""


@pytest.fixture
def writer(tmp_path):
    """Start a process that writes a run."""
    started = []

    def start(steps=30, end="close"):
        line = [sys.executable, *program(WRITER), tmp_path / "run", str(steps), end]
        started.append(subprocess.Popen(list(map(str, line)), stderr=subprocess.DEVNULL))
        return tmp_path / "run"

    yield start
    for process in started:
        process.kill()
        process.wait()


def followed(path, *options):
    return run_python("-m", "gradviz", "show", path, "--follow", *options, env=dict(os.environ))


def test_a_run_is_watched_on_a_terminal(writer, tmp_path):
    path = tmp_path / "run"
    with Terminal("-m", "gradviz", "show", path, "--follow", columns=110, rows=30) as terminal:
        terminal.read("Ctrl-C to stop)")
        writer()
        assert terminal.wait() == 0
        text = terminal.text
    assert f"waiting for a run in {path}" in text
    assert "live" in text
    assert text.count(HIDE) == text.count(SHOW) == 1
    last = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text).rpartition("ended")[2]
    for shown in (
        "30 steps",
        "step 29",
        "least",
        "layer.v",
        "3×2",
        "closed after 30 steps",
        "a [bold]note[/bold] \\u001B",
    ):
        assert shown in last
    assert re.search(r"w +scalar +2\.9", last)
    assert sparkline(np.array(open_run(path).loss)) in last


def test_ctrl_c_ends_the_watching_and_not_the_run(writer):
    path = writer(steps=3, end="wait")
    with Terminal("-m", "gradviz", "show", path, "--follow") as terminal:
        terminal.read("3 steps")
        assert terminal.interrupt() == 130
        assert terminal.text.count(HIDE) == terminal.text.count(SHOW) == 1
        assert "interrupted" in terminal.text
        assert "Traceback" not in terminal.text
    assert open_run(path).is_live


def test_a_writer_that_is_silent_is_noticed(writer, monkeypatch):
    path = writer(steps=3, end="wait")
    with Terminal("-m", "gradviz", "show", path, "--follow") as terminal:
        terminal.read("no step for ")


@pytest.mark.parametrize(("end", "said"), [("kill", "ended without closing"), ("raise", "ended by ValueError after 5")])
def test_how_a_run_ended_is_said(writer, end, said, capsys):
    path = writer(steps=5, end=end)
    with Terminal("-m", "gradviz", "show", path, "--follow") as terminal:
        assert terminal.wait() == 1
        assert said in terminal.text
    assert main(["show", str(path), "--follow"]) == 1
    assert said in capsys.readouterr().err


def test_a_line_per_step_in_a_pipe(writer):
    done = followed(writer(steps=20))
    assert done.returncode == 0
    lines = done.stdout.decode().splitlines()
    steps = [line for line in lines if not line.startswith("#")]
    assert [line.split()[1] for line in steps] == [str(i) for i in range(20)]
    assert steps[0] == "step 0  loss 15  w 0 (gradient -6)  layer.v 2.449 (gradient 4.899)"
    assert "# step 2: note: a [bold]note[/bold] \\u001B[31m" in lines
    assert lines[-1].startswith("# step 19: end: closed after 20 steps")


def test_json_lines(writer):
    path = writer(steps=20)
    done = followed(path, "--json")
    assert done.returncode == 0
    records = [json.loads(line) for line in done.stdout.splitlines()]
    steps = [record for record in records if record["kind"] == "step"]
    run = open_run(path)
    assert [record["loss"] for record in steps] == run.loss.tolist()
    assert [record["w.grad"] for record in steps] == run["w"].grad.tolist()
    assert [record["layer.v.norm"] for record in steps] == pytest.approx(run["layer.v"].norm.tolist())
    assert [r for r in records if r["kind"] != "step"] == run.events


def test_what_is_not_finite_is_text_in_json(tmp_path, capsys):
    with trace(tmp_path / "run", params={"w": Param(math.inf, None)}) as t:
        t.step(math.nan)
    assert main(["show", str(tmp_path / "run"), "--follow", "--json"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (record["loss"], record["w"], record["w.grad"]) == ("nan", "inf", None)


@pytest.mark.parametrize("level", ["scalars", "stats", "full", "auto"])
def test_every_level_can_be_watched(tmp_path, level, capsys):
    W = Param(np.full((100, 100), 0.5), np.ones((100, 100), "f4"))
    with trace(tmp_path / "run", params={"W": W}, level=level) as t:
        t.step(1.0)
    run = open_run(tmp_path / "run")
    assert main(["show", str(run.path), "--follow"]) == 0
    assert capsys.readouterr().out.startswith("step 0  loss 1  W 50 (gradient 100)\n")
    watched = Watched(run)
    watched.look()
    console = Console(file=io.StringIO(), width=100)
    console.print(picture(watched, 100, 30))
    assert re.search(r"W .*norm +50 +100", console.file.getvalue())


def test_what_cannot_be_followed(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["show", str(tmp_path / "file"), "--follow"]) == 2
    assert "not a directory" in capsys.readouterr().err
    with trace(tmp_path / "many", params={}, rank=1, world_size=2) as t:
        t.step(1.0)
    assert main(["show", str(tmp_path / "many"), "--follow"]) == 2
    assert "gradviz show " + str(tmp_path / "many" / "rank-001") in capsys.readouterr().err
    assert main(["show", str(tmp_path / "many"), "--follow", "--csv"]) == 2


def test_a_reader_that_leaves_is_no_error(tmp_path):
    with trace(tmp_path / "run", params={}) as t:
        for _ in range(5000):
            t.step(1.0)
    line = f"{sys.executable} -m gradviz show {tmp_path / 'run'} --follow | head -1"
    done = subprocess.run(line, shell=True, capture_output=True, check=False)
    assert done.stdout == b"step 0  loss 1\n"
    assert done.stderr == b""


def test_a_sparkline_of_anything():
    assert sparkline(np.array([])) == ""
    assert sparkline(np.array([math.nan, math.inf])) == "!!"
    assert sparkline(np.zeros(3)) == "▁▁▁"
    assert len(sparkline(np.arange(1000.0))) == 40
    assert sparkline(np.array([-1e308, 1e308])) == "▁█"
