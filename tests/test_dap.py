"""The debugger in an editor: a real client on a real ``gradviz dap``; see `tests.editors`."""

import json
import os
import runpy
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import gradviz
from gradviz import Tensor
from gradviz.cli import main
from gradviz.graphs import Node, Source
from tests.editors import Editor, Neighbour, RefusedError, framed, messages_in, surroundings
from tests.hostile import HOSTILE
from tests.terminals import Terminal

LINE = """\
import numpy as np

import gradviz
from gradviz import Tensor

x = np.array([0.5, 1.0, 2.0])
w, b = Tensor(2.0, name="w"), Tensor(1.0, name="b")


def predict(x):
    with gradviz.scope("model"):
        scaled = w * x
        return np.log(scaled + b)


with np.errstate(all="ignore"), gradviz.trace("run", params={"w": w, "b": b}) as log:
    for step in range(6):
        w.zero_grad()
        b.zero_grad()
        error = predict(x)
        loss = np.sum(error * error)
        loss.backward()
        log.step(loss)
        w.data -= 0.4 * w.grad
        b.data -= 0.4 * b.grad
"""
ROOT = Path(__file__).parent.parent
LOG, LOSS = 13, 21  # lines of it
BIRTH = "5.f.5"  # where its NaN is born


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Record a fit whose sixth iteration takes the logarithm of a negative number."""
    made = tmp_path_factory.mktemp("fit")
    (made / "line.py").write_text(LINE, "utf-8")
    before = Path.cwd()
    os.chdir(made)
    try:
        runpy.run_path(str(made / "line.py"))
    finally:
        os.chdir(before)
    return made


@pytest.fixture
def program(folder):
    """A client of a real ``gradviz dap``."""
    with Editor(cwd=folder) as made:
        yield made
        made.check()


@pytest.fixture
def editor(folder):
    """A client of a server that is quicker to start."""
    with Neighbour(folder) as made:
        yield made
        made.check()


def recorded(folder, params, loss_of, steps=3):
    """Record a run in which nothing is learned: the same loss of the same parameters in every step."""
    with np.errstate(all="ignore"), gradviz.trace(folder / "run", params=params) as log:
        for _ in range(steps):
            for tensor in params.values():
                tensor.zero_grad()
            loss = loss_of()
            loss.backward()
            log.step(loss)
    return folder / "run"


# -- beginning and end -----------------------------------------------------------------------------


def test_says_what_it_can(program):
    said = program.start(run="run")
    named = (
        "ConfigurationDoneRequest StepBack DataBreakpoints ConditionalBreakpoints HitConditionalBreakpoints LogPoints "
        "FunctionBreakpoints EvaluateForHovers GotoTargetsRequest ExceptionInfoRequest TerminateRequest RestartFrame "
        "CompletionsRequest DelayedStackTraceLoading LoadedSourcesRequest"
    )
    assert all(said[f"supports{name}"] is True for name in named.split())
    assert [given["filter"] for given in said["exceptionBreakpointFilters"]] == ["nan", "inf"]
    assert "supportsSetVariable" not in said


def test_leaves_quietly(program):
    assert program.begin(run="run")["reason"] == "entry"
    assert program.where == "0.f.0"
    assert program.leave() == (0, "")


def test_needs_somebody_to_talk_to(folder):
    command = [sys.executable, "-m", "gradviz", "dap", "run"]
    closed = ["sh", "-c", 'exec "$@" <&-', "sh", *command]
    done = subprocess.run(closed, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "an editor has to start this" in done.stderr


def test_terminates(program):
    program.begin(run="run")
    program.ask("terminate")
    assert program.event("exited")["exitCode"] == 0
    program.event("terminated")
    assert program.leave() == (0, "")


def test_the_run_can_be_given_on_the_command_line(folder):
    with Editor(folder / "run") as editor:
        assert editor.begin(position="4.b.2")["description"] == "Paused at 4.b.2"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"run": "nowhere"}, "there is no run in .*nowhere"),
        ({"program": "line.py"}, "is a file"),
        ({"run": 3}, "run is int, not a text"),
        ({"run": "run", "stepBack": "far"}, "no value of stepBack is named 'far'"),
        ({"run": "run", "position": "17.x"}, "is no position"),
        ({"run": "run", "position": "99"}, "there is no iteration 99"),
    ],
)
def test_a_launch_that_cannot_be(editor, given, said):
    with pytest.raises(RefusedError, match=said):
        editor.start(**given)
    assert editor.leave() == (0, "")


def test_a_launch_of_nothing(program):
    with pytest.raises(RefusedError, match="which run"):
        program.start()
    assert program.leave() == (0, "")


def test_nothing_is_asked_of_no_run(editor):
    for command in ("stackTrace", "scopes", "continue", "next", "stepBack", "setFunctionBreakpoints", "evaluate"):
        with pytest.raises(RefusedError, match="there is no run yet"):
            editor.ask(command, threadId=1, frameId=1, expression="w", breakpoints=[])
    assert editor.ask("threads")["threads"] == [{"id": 1, "name": "training"}]
    editor.start(run="run")
    with pytest.raises(RefusedError, match="there is a run already"):
        editor.ask("launch", run="run")


def test_what_is_not_known_is_refused(editor):
    editor.begin(run="run")
    with pytest.raises(RefusedError, match="does not answer 'readMemory'"):
        editor.ask("readMemory", memoryReference="x", count=1)
    for command in ("setVariable", "setExpression"):
        with pytest.raises(RefusedError, match="cannot be changed"):
            editor.ask(command, variablesReference=1, name="w", value="2", expression="w")


def test_at_a_terminal_it_says_what_to_do(tmp_path):
    with Terminal("-m", "gradviz", "dap", tmp_path) as terminal:
        assert terminal.wait() == 2
        assert "an editor has to start this" in terminal.text
    assert main(["dap", "--nonsense"]) == 2


# -- moving ----------------------------------------------------------------------------------------


def test_every_step_forward_can_be_undone(program):
    program.begin(run="run")
    forward = [program.where]
    while program.move("stepIn")["reason"] == "step":
        forward.append(program.where)
    assert len(forward) == len(set(forward)) > 6 * 15
    assert {place.split(".")[1] for place in forward} == {"f", "b", "u"}
    backward = [program.where]
    while program.move("stepBack")["reason"] == "step":
        backward.append(program.where)
    assert backward == forward[::-1]
    assert program.where == "0.f.0"


def test_numbers_are_as_they_were_after_going_back(editor):
    editor.begin(run="run", position="1.b.4")
    seen = [(v["name"], v["value"]) for v in editor.scope("All nodes").values()]
    for command in ("stepIn", "stepIn", "stepIn", "stepBack", "stepBack", "stepBack"):
        editor.move(command)
    assert [(v["name"], v["value"]) for v in editor.scope("All nodes").values()] == seen


def test_lines_scopes_and_phases(editor):
    editor.begin(run="run", position="0.f.3")
    assert editor.frames[0]["line"] == 12
    editor.move("next")
    assert (editor.where, editor.frames[0]["line"]) == ("0.f.4", LOG)
    editor.move("stepBack", granularity="line")
    assert (editor.where, editor.frames[0]["line"]) == ("0.f.3", 12)
    editor.move("stepOut")
    assert editor.where == "0.f.6"
    editor.move("next", granularity="instruction")
    assert editor.where == "0.f.7"
    editor.move("next")
    assert editor.where == "0.b.0"


def test_steps_back_by_lines_if_told_so(editor):
    editor.begin(run="run", position="0.f.5", stepBack="line")
    assert editor.frames[0]["line"] == LOG
    editor.move("stepBack")
    assert (editor.where, editor.frames[0]["line"]) == ("0.f.3", 12)
    editor.move("stepBack", granularity="instruction")
    assert editor.where == "0.f.2"


def test_the_history_has_ends(editor):
    editor.begin(run="run")
    assert editor.move("stepBack")["description"] == "Paused at the start of the history"
    assert editor.move("continue")["description"] == "Paused at the end of the history"
    assert editor.where.startswith("5.")
    assert editor.move("reverseContinue")["description"] == "Paused at the start of the history"
    assert editor.where == "0.f.0"


def test_goes_to_a_line(editor):
    editor.begin(run="run", position="2")
    source = editor.frames[0]["source"]
    targets = editor.ask("gotoTargets", source=source, line=LOG)["targets"]
    assert [target["label"][:9] for target in targets[:2]] == ["forward 4", "forward 5"]
    assert editor.move("goto", targetId=targets[1]["id"])["reason"] == "goto"
    assert editor.where == "2.f.5"
    with pytest.raises(RefusedError, match="there is no target"):
        editor.ask("goto", threadId=1, targetId=targets[1]["id"])
    assert editor.ask("gotoTargets", source=source, line=1)["targets"] == []


def test_frames_can_be_begun_again(editor):
    editor.begin(run="run", position="2.f.5")
    names = [frame["name"] for frame in editor.frames]
    assert names[0] == "2.f.5 error = log(add_1) in predict"
    assert names[1:3] == ["scope model", "forward, event 5 of 8"]
    assert names[3].startswith("iteration 2 of 0 to 5, loss ")
    assert set(editor.scope("Nodes of the scope", frame=2)) == {"scaled", "add_1", "error"}
    editor.move("restartFrame", frameId=2)
    assert editor.where == "2.f.3"
    editor.move("restartFrame", frameId=3)
    assert editor.where == "2.f.0"


def test_the_stack_comes_in_parts(editor):
    editor.begin(run="run", position="2.f.5")
    whole = editor.frames
    part = editor.ask("stackTrace", threadId=1, startFrame=1, levels=2)
    assert (part["stackFrames"], part["totalFrames"]) == (whole[1:3], 4)
    assert editor.ask("stackTrace", threadId=1, startFrame=99, levels=2)["stackFrames"] == []


def test_a_run_can_be_paused(tmp_path):
    w = Tensor(np.ones(4), name="w")

    def loss():
        y = w
        for _ in range(60):
            y = y * 1.0
        return np.sum(y)

    with Editor(recorded(tmp_path, {"w": w}, loss, steps=400)) as editor:
        editor.start()
        editor.ask("setFunctionBreakpoints", breakpoints=[{"name": "op:nothing*"}])
        editor.ask("configurationDone")
        editor.event("stopped")
        editor.ask("continue", threadId=1)
        editor.ask("pause", threadId=1)
        assert editor.event("stopped")["reason"] == "pause"
        where = editor.where
        assert where != "0.f.0"
        assert not where.startswith("399.u")
        assert editor.leave() == (0, "")


# -- breakpoints -----------------------------------------------------------------------------------


def test_nan_is_stopped_for_where_it_is_born(program):
    program.start(run="run")
    assert program.ask("setExceptionBreakpoints", filters=["nan"])["breakpoints"][0]["verified"]
    program.ask("configurationDone")
    program.event("stopped")
    stop = program.move("continue")
    assert (stop["reason"], stop["description"]) == ("exception", "Paused where NaN is born")
    assert "error = log(add_1)" in stop["text"]
    frame = program.frames[0]
    assert frame["name"].startswith(BIRTH)
    assert (frame["line"], frame["source"]["name"]) == (LOG, "line.py")
    info = program.ask("exceptionInfo", threadId=1)
    assert (info["exceptionId"], info["breakMode"]) == ("NaN", "always")
    assert "error = log(add_1) makes nan" in info["description"]
    assert "line.py:13" in info["details"]["stackTrace"]
    assert "np.log" in info["details"]["stackTrace"]
    assert program.move("continue")["description"] == "Paused at the end of the history"  # what follows passes it on
    with pytest.raises(RefusedError, match="nothing is born here"):
        program.ask("exceptionInfo", threadId=1)
    assert program.move("reverseContinue")["reason"] == "exception"
    assert program.where == BIRTH


def test_an_exception_filter_with_a_condition(editor):
    editor.start(run="run", stopOnEntry=False)
    options = [{"filterId": "nan", "condition": "iteration < 5"}, {"filterId": "zero"}]
    answer = editor.ask("setExceptionBreakpoints", filters=[], filterOptions=options)["breakpoints"]
    assert [one["verified"] for one in answer] == [True, False]
    assert "no filter is named 'zero'" in answer[1]["message"]
    editor.ask("configurationDone")
    assert editor.event("stopped")["description"] == "Paused at the end of the history"


def test_infinity_in_a_gradient(tmp_path):
    x = Tensor(np.array([4.0, 0.0]), name="x")
    recorded(tmp_path, {"x": x}, lambda: np.sum(np.sqrt(x)), steps=2)
    with Neighbour(tmp_path) as editor:
        editor.start()
        editor.ask("setExceptionBreakpoints", filters=["inf", "nan"])
        editor.ask("configurationDone")
        editor.event("stopped")
        assert editor.move("continue")["description"] == "Paused where Inf is born"
        assert editor.where == "0.b.1"
        assert "sends inf to x[1]" in editor.ask("exceptionInfo", threadId=1)["description"]
        editor.move("continue")
        assert editor.where == "1.b.1"


def test_a_line_stops_both_ways_at_the_same_places(program, folder):
    program.start(run="run")
    source = {"path": str(folder / "line.py")}
    answer = program.ask("setBreakpoints", source=source, breakpoints=[{"line": LOSS}, {"line": 3}])["breakpoints"]
    assert [one["verified"] for one in answer] == [True, False]
    assert answer[1]["message"] == "nothing was computed on this line; lines near are 7, 12, 13, 21"
    program.ask("configurationDone")
    program.event("stopped")
    ahead = []
    while (stop := program.move("continue"))["reason"] == "breakpoint":
        assert stop["hitBreakpointIds"] == [answer[0]["id"]]
        assert program.frames[0]["line"] == LOSS
        ahead.append(program.where)
    assert ahead[:3] == ["0.f.6", "0.b.0", "1.f.6"]
    assert len(ahead) == 12
    back = []
    while program.move("reverseContinue")["reason"] == "breakpoint":
        back.append(program.where)
    assert back == ahead[::-1]


def test_setting_breakpoints_replaces_those_before(editor, folder):
    editor.start(run="run")
    source = {"path": str(folder / "line.py")}
    editor.ask("setBreakpoints", source=source, breakpoints=[{"line": LOSS}])
    editor.ask("setFunctionBreakpoints", breakpoints=[{"name": "op:log"}])
    editor.ask("setBreakpoints", source=source, breakpoints=[])
    editor.ask("setBreakpoints", source={"path": "/elsewhere/other.py"}, breakpoints=[{"line": 1}])
    editor.ask("configurationDone")
    editor.event("stopped")
    assert editor.move("continue")["reason"] == "function breakpoint"
    assert editor.where == "0.f.5"


def test_another_file_is_not_taken_for_a_recorded_one(editor):
    editor.start(run="run")
    for path in ("/elsewhere/line.py", "/elsewhere/other.py"):
        answer = editor.ask("setBreakpoints", source={"path": path}, breakpoints=[{"line": LOSS}])
        assert not answer["breakpoints"][0]["verified"]
        assert "line.py" in answer["breakpoints"][0]["message"]


@pytest.mark.parametrize(
    ("wanted", "stops"),
    [
        ({"name": "op:log"}, ["0.f.5", "0.b.2", "1.f.5"]),
        ({"name": "sca*"}, ["0.f.3", "0.b.4", "1.f.3"]),
        ({"name": "op:log", "hitCondition": "3"}, ["1.f.5"]),
        ({"name": "op:log", "hitCondition": ">= 9"}, ["4.f.5", "4.b.2"]),
        ({"name": "op:log", "hitCondition": "% 4"}, ["1.b.2", "3.b.2"]),
        ({"name": "op:log", "condition": "iteration == 2"}, ["2.f.5", "2.b.2"]),
        ({"name": "abs(w.grad) > 1.5"}, ["0.b.6"]),
        ({"name": "3.b.2"}, ["3.b.2"]),
    ],
)
def test_function_breakpoints(editor, wanted, stops):
    editor.start(run="run")
    assert editor.ask("setFunctionBreakpoints", breakpoints=[wanted])["breakpoints"][0]["verified"]
    editor.ask("configurationDone")
    editor.event("stopped")
    found = []
    for _ in stops:
        assert editor.move("continue")["reason"] == "function breakpoint"
        found.append(editor.where)
    assert found == stops


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"name": "wieght"}, "no node is named 'wieght'"),
        ({"name": ""}, "nothing to stop for"),
        ({"name": "op:log", "condition": "import os"}, "is no expression"),
        ({"name": "op:log", "hitCondition": "often"}, "is no number of hits"),
        ({"name": "op:log", "hitCondition": "% 0"}, "is no number of hits"),
    ],
)
def test_breakpoints_that_are_not_understood(editor, wanted, said):
    editor.begin(run="run")
    answer = editor.ask("setFunctionBreakpoints", breakpoints=[wanted, {"name": "op:sum"}])["breakpoints"]
    assert (answer[0]["verified"], answer[1]["verified"]) == (False, True)
    assert said in answer[0]["message"]
    assert editor.evaluate("b", "repl").count("breakpoint") == 1


def test_a_condition_that_cannot_be_worked_out_says_so_and_does_not_stop(editor):
    editor.start(run="run", stopOnEntry=False)
    editor.ask("setFunctionBreakpoints", breakpoints=[{"name": "op:log", "condition": "nobody > 1"}])
    editor.ask("configurationDone")
    assert "nothing is named 'nobody'" in editor.event("output")["output"]
    assert editor.event("stopped")["description"] == "Paused at the end of the history"


def test_a_line_with_a_condition_stops_once_each_time_it_is_come_to(editor, folder):
    editor.start(run="run")
    wanted = [{"line": LOSS, "condition": "iteration > 1"}]
    editor.ask("setBreakpoints", source={"path": str(folder / "line.py")}, breakpoints=wanted)
    editor.ask("configurationDone")
    editor.event("stopped")
    ahead = []
    while editor.move("continue")["reason"] == "breakpoint":
        ahead.append(editor.where)
    assert ahead[:3] == ["2.f.6", "2.b.0", "3.f.6"]
    assert len(ahead) == 8
    back = []
    while editor.move("reverseContinue")["reason"] == "breakpoint":
        back.append(editor.where)
    assert back == ahead[::-1]


def test_log_points_write_and_do_not_stop(editor, folder):
    editor.start(run="run", stopOnEntry=False)
    wanted = [{"line": LOSS, "logMessage": "{iteration}: w is {w}, {nobody}", "condition": "phase == 'forward'"}]
    editor.ask("setBreakpoints", source={"path": str(folder / "line.py")}, breakpoints=wanted)
    editor.ask("configurationDone")
    assert editor.event("output")["output"] == "0: w is 2, (nothing is named 'nobody' here)\n"
    assert editor.event("stopped")["description"] == "Paused at the end of the history"


def test_a_gradient_can_be_watched(program, folder):
    program.begin(run="run")
    parameters = program.ask("scopes", frameId=1)["scopes"][2]
    w = program.inside(parameters)["w"]
    program.inside(w)
    info = program.ask("dataBreakpointInfo", variablesReference=w["variablesReference"], name="gradient")
    assert (info["dataId"], info["accessTypes"], info["canPersist"]) == ("w.grad", ["write"], True)
    answer = program.ask("setDataBreakpoints", breakpoints=[{"dataId": info["dataId"], "accessType": "write"}])
    assert answer["breakpoints"][0]["verified"]
    stops = []
    for _ in range(3):
        assert program.move("continue")["reason"] == "data breakpoint"
        stops.append((program.where, program.evaluate("w.grad")))
    assert [place for place, _ in stops] == ["0.b.4", "1.b.4", "2.b.4"]
    assert [float(text) for _, text in stops] == gradviz.open_run(folder / "run")["w"].grad[:3].tolist()
    program.move("stepIn")
    program.move("stepIn")  # past the watched event by hand: the next stop is the next change, not here
    assert program.move("continue")["reason"] == "data breakpoint"
    assert program.where == "3.b.4"


def test_data_breakpoints_with_conditions(editor):
    editor.begin(run="run")
    wanted = [
        {"dataId": "w", "condition": "w < 0"},
        {"dataId": "w", "accessType": "read"},
        {"dataId": "w +"},
    ]
    answer = editor.ask("setDataBreakpoints", breakpoints=wanted)["breakpoints"]
    assert [one["verified"] for one in answer] == [True, False, False]
    assert editor.move("continue")["reason"] == "data breakpoint"
    assert editor.where == "4.u.0"
    assert float(editor.evaluate("w")) < 0 < float(editor.evaluate("w@4"))


@pytest.mark.parametrize("name", ["nobody", "", "w +", "__import__('os')"])
def test_what_cannot_be_watched(editor, name):
    editor.begin(run="run")
    assert editor.ask("dataBreakpointInfo", name=name)["dataId"] is None


# -- numbers ---------------------------------------------------------------------------------------


def test_scopes_of_a_backward_event(program):
    program.begin(run="run", position="1.b.4")
    names = [scope["name"] for scope in program.ask("scopes", frameId=1)["scopes"]]
    assert names == ["Event", "Node", "Parameters", "All nodes", "Iteration"]
    event = program.scope("Event")
    sent = program.inside(event["contributions"])
    assert set(sent) == {"to w"}
    parts = program.inside(sent["to w"])
    local, upstream, amount = (parts[name] for name in ("local", "upstream", "amount"))
    assert local["value"] == "[0.5, 1, 2]"
    assert upstream["evaluateName"] == "scaled.grad"
    products = [
        float(program.inside(local)[f"[{i}]"]["value"]) * float(program.inside(upstream)[f"[{i}]"]["value"])
        for i in range(3)
    ]
    assert float(amount["value"]) == pytest.approx(sum(products))
    assert program.evaluate("w.grad") == amount["value"]
    node = program.scope("Node")
    assert node["op"]["value"] == "mul: w * x"
    assert list(program.inside(node["inputs"])) == ["w", "x"]
    assert list(program.inside(node["shares of the gradient"])) == ["from add_1"]
    iteration = program.scope("Iteration")
    assert (iteration["iteration"]["value"], iteration["phase"]["value"]) == ("1", "backward")


def test_scopes_of_an_update(editor):
    editor.begin(run="run", position="1.u.0")
    event = editor.scope("Event")
    old, new, update = (float(event[name]["value"]) for name in ("old value", "new value", "update"))
    assert update == new - old
    assert float(editor.evaluate("w@2")) == new


def test_arrays_come_page_by_page(tmp_path):
    numbers = np.arange(10_000.0) / 7
    w, m = Tensor(numbers, name="w"), Tensor(numbers.reshape(50, 200), name="m")
    recorded(tmp_path, {"w": w, "m": m}, lambda: np.sum(w) + np.sum(m))
    with Neighbour(tmp_path) as editor:
        editor.begin(position="0.b.0")
        value = editor.inside(editor.scope("Parameters")["w"])["value"]
        assert (value["indexedVariables"], value["type"]) == (10_000, "float64[10000]")
        page = editor.inside(value, filter="indexed", start=7_000, count=100)
        assert list(page) == [f"[{i}]" for i in range(7_000, 7_100)]
        assert all(float(page[f"[{i}]"]["value"]) == numbers[i] for i in range(7_000, 7_100))
        assert page["[7003]"]["evaluateName"] == "w[7003]"
        assert float(editor.evaluate("w[7003]")) == numbers[7003]
        assert editor.inside(value, filter="named") == {}
        groups = editor.inside(value)
        assert len(groups) == 100
        assert list(groups)[:2] == ["[0 to 99]", "[100 to 199]"]
        assert list(editor.inside(groups["[9900 to 9999]"]))[-1] == "[9999]"
        assert editor.inside(value, start=9_999, count=100).keys() == {"[9999]"}
        assert editor.inside(value, start=-5, count=-5).keys() == groups.keys()
        rows = editor.inside(editor.inside(editor.scope("Parameters")["m"])["value"])
        assert len(rows) == 50
        element = editor.inside(rows["[49]"])["[199]"]
        assert (element["evaluateName"], float(element["value"])) == ("m[49, 199]", numbers[-1])


def test_what_was_shown_is_gone_after_a_move(editor):
    editor.begin(run="run")
    scope = editor.ask("scopes", frameId=1)["scopes"][0]
    editor.move("stepIn")
    with pytest.raises(RefusedError, match="there are no variables with the reference"):
        editor.inside(scope)


def test_expressions(editor):
    editor.begin(run="run", position="2.b.4")
    assert editor.evaluate("w", "hover") == "0.547226, gradient -2.17985"
    assert editor.evaluate("norm(x)") == repr(float(np.linalg.norm([0.5, 1.0, 2.0])))
    assert editor.evaluate("w@0") == "2.0"
    assert editor.evaluate("error.shape") == "(3)"
    assert editor.evaluate("b.grad is None") == "False"
    found = editor.ask("evaluate", expression="error * 2", context="watch")
    assert found["indexedVariables"] == 3
    assert list(editor.inside(found)) == ["[0]", "[1]", "[2]"]
    for text in ("nobody", "__import__('os').system('true')", "().__class__", "", "w +", "x" * 10_000):
        with pytest.raises(RefusedError):
            editor.ask("evaluate", expression=text, context="hover")


def test_the_console_takes_the_commands_of_the_prompt(program):
    program.begin(run="run")
    assert program.evaluate("when", "repl") == "0.f.0"
    assert program.evaluate("w.value * 2", "repl") == "4.0"
    assert program.evaluate("alias pg p %1.grad\nseek 1.b.4\npg w", "repl").splitlines()[-1] == "1.2654"
    program.event("continued")
    assert program.event("stopped")["reason"] == "goto"
    assert program.where == "1.b.4"
    assert "error = log(add_1) makes nan" in program.evaluate("blame nan", "repl")
    program.event("stopped")
    assert program.where == BIRTH
    assert "***" in program.evaluate("seek 99", "repl")
    program.evaluate("q", "repl")
    program.event("terminated")
    assert program.leave() == (0, "")


def test_completions(editor):
    editor.begin(run="run")
    found = editor.ask("completions", text="p sca", column=6)["targets"]
    assert [(one["label"], one["start"], one["length"]) for one in found] == [("scaled", 3, 3), ("scaled.grad", 3, 3)]
    assert "blame" in {one["label"] for one in editor.ask("completions", text="bl", column=3)["targets"]}
    assert editor.ask("completions", text="", column=999, line=77)["targets"]


# -- sources ---------------------------------------------------------------------------------------


def test_a_source_that_is_there_is_given_by_its_path(editor, folder):
    editor.begin(run="run")
    assert editor.frames[0]["source"] == {"name": "line.py", "path": str(folder / "line.py")}
    assert editor.ask("loadedSources")["sources"] == [{"name": "line.py", "path": str(folder / "line.py")}]
    lines = editor.ask("breakpointLocations", source={"path": str(folder / "line.py")}, line=1, endLine=13)
    assert [one["line"] for one in lines["breakpoints"]] == [7, 12, 13]


@pytest.mark.parametrize("given", [{"cwd": "/"}, {"sources": "recorded"}])
def test_a_source_that_is_not_there_is_served_as_it_was_recorded(editor, folder, given):
    editor.begin(run=str(folder / "run"), **given)
    source = editor.frames[0]["source"]
    assert (source["name"], source["sourceReference"]) == ("line.py", 1)
    assert "path" not in source
    text = editor.ask("source", source=source, sourceReference=1)["content"].splitlines()
    wanted = LINE.splitlines()
    assert len(text) == LOSS
    assert [text[i - 1] for i in (7, 12, LOG, LOSS)] == [wanted[i - 1] for i in (7, 12, LOG, LOSS)]
    assert editor.ask("setBreakpoints", source=source, breakpoints=[{"line": LOG}])["breakpoints"][0]["verified"]
    with pytest.raises(RefusedError, match="no line of this source"):
        editor.ask("source", sourceReference=2)


def test_a_breakpoint_shows_where_the_editor_has_a_source(editor, folder):
    editor.begin(run=str(folder / "run"), cwd="/", position="0.f.4")
    answer = editor.ask("setBreakpoints", source={"path": "/my/copy/line.py"}, breakpoints=[{"line": LOG}])
    assert answer["breakpoints"][0]["verified"]
    assert editor.frames[0]["source"]["path"] == "/my/copy/line.py"


def test_lines_are_counted_as_the_client_does(folder):
    with Editor(cwd=folder) as editor:
        zero = {"linesStartAt1": False, "columnsStartAt1": False, "pathFormat": "uri"}
        editor.ask("initialize", adapterID="gradviz", **zero)
        editor.ask("launch", run="run", position="0.f.4")
        uri = (folder / "line.py").as_uri()
        answer = editor.ask("setBreakpoints", source={"path": uri}, breakpoints=[{"line": LOG - 1}])
        assert answer["breakpoints"][0]["verified"]
        frame = editor.frames[0]
        assert (frame["line"], frame["column"], frame["source"]["path"]) == (LOG - 1, 22, uri)


def test_files_that_a_trace_names_are_not_opened(tmp_path):
    from gradviz.debugger.dap.places import Places
    from gradviz.graphs import Graph

    secret = tmp_path / "secret.py"
    secret.write_text("password = 'hunter2'\n", "utf-8")
    names = [str(secret), "../secret.py", "//server/share/a.py", "\\\\server\\share\\a.py", "file:///a.py", "C:/a.py"]
    nodes = [
        Node(i, f"x{i}", "input", "input", source=Source(name, 10**9 if i == 1 else 1, text="x", code="x"))
        for i, name in enumerate(names)
    ]
    places = Places([Graph(tuple(nodes))])
    (tmp_path / "work").mkdir()
    places.look_in([str(tmp_path / "work")])
    for name in names:
        assert "path" not in places.described(name)
        assert "hunter2" not in places.content(name)
        assert places.content(name) in {"x\n", ""}


# -- what is written about it ----------------------------------------------------------------------


def contributed():
    """Return what the extension for VS Code brings."""
    manifest = json.loads((ROOT / "examples" / "vscode" / "package.json").read_text("utf-8"))
    return manifest["contributes"]["debuggers"][0]


@pytest.mark.parametrize("name", contributed()["configurationAttributes"]["launch"]["properties"])
def test_every_setting_is_read_and_told_of(editor, name):
    with pytest.raises(RefusedError, match=f"{name} is dict"):
        editor.start(**{"run": "run", name: {}})
    assert f"| `{name}`" in (ROOT / "docs" / "editors.md").read_text("utf-8")


def test_the_extension_starts_what_there_is(folder):
    found = contributed()
    assert [found["runtime"], *found["runtimeArgs"]] == ["gradviz", "dap"]
    text = (ROOT / "docs" / "editors.md").read_text("utf-8")
    written = json.loads(text.split("```json\n")[1].split("```")[0])["configurations"][0]
    assert written == found["initialConfigurations"][0]
    with Neighbour(folder) as editor:
        assert editor.begin(**{**written, "run": "run", "cwd": str(folder)})["reason"] == "entry"


# -- what a client can do wrong --------------------------------------------------------------------

NO_MESSAGES = {
    "no header": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no length": b"Content-Type: x\r\n\r\n",
    "two lengths": b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n",
    "negative": b"Content-Length: -3\r\n\r\n",
    "no number": b"Content-Length: many\r\n\r\n",
    "long header": b"x" * 20_000 + b"\r\n\r\n",
    "no JSON": framed(b"{nonsense"),
    "no UTF-8": framed(b"\xff\xfe{}"),
    "empty": framed(b""),
    "a list": framed([1, 2]),
    "a number": framed(3),
    "deep": framed(b"[" * 200_000),
    "digits": framed(b'{"seq": ' + b"9" * 10_000 + b"}"),
    "too long": b"Content-Length: 20000000\r\n\r\n" + b" " * 20_000_000,
    "no command": framed({"seq": 1, "type": "request"}),
    "no number of its own": framed({"seq": "one", "type": "request", "command": "threads"}),
    "arguments": framed({"seq": 1, "type": "request", "command": "next", "arguments": [1]}),
    "no type": framed({"seq": 1, "command": "threads"}),
}


@pytest.mark.parametrize("data", NO_MESSAGES.values(), ids=NO_MESSAGES.keys())
def test_what_is_no_message_is_told_and_passed_over(editor, data):
    editor.writer.write(data)
    editor.writer.flush()
    assert editor.event("output")["output"].startswith("gradviz: not understood: ")
    assert editor.begin(run="run")["reason"] == "entry"
    assert editor.leave() == (0, "")


def test_no_amount_of_nonsense_ends_the_program(program):
    for data in NO_MESSAGES.values():
        program.writer.write(data)
        program.writer.flush()
    assert program.begin(run="run")["reason"] == "entry"
    assert program.leave() == (0, "")


def test_many_messages_in_one_piece(folder):
    requests = [
        ("initialize", {"adapterID": "gradviz"}),
        ("launch", {"run": "run"}),
        ("configurationDone", None),
        *[("stepIn", {"threadId": 1})] * 5,
        ("stackTrace", {"threadId": 1}),
        ("disconnect", {}),
    ]
    bodies = [
        {"seq": i, "type": "request", "command": command} | ({} if given is None else {"arguments": given})
        for i, (command, given) in enumerate(requests, 1)
    ]
    program = [sys.executable, "-m", "gradviz", "dap"]
    process = subprocess.run(
        program, input=b"".join(map(framed, bodies)), capture_output=True, cwd=folder, timeout=60, check=False,
        env=surroundings(),
    )  # fmt: skip
    answers = messages_in(process.stdout)
    assert (process.returncode, process.stderr) == (0, b"")
    assert [one["seq"] for one in answers] == list(range(1, len(answers) + 1))
    done = {one["request_seq"]: one for one in answers if one["type"] == "response"}
    assert all(done[i]["success"] for i in range(1, 11))
    assert done[9]["body"]["stackFrames"][0]["name"].startswith("0.f.5 ")


def test_a_client_that_disappears_ends_the_server(folder):
    with Editor(cwd=folder) as editor:
        editor.begin(run="run")
        editor.process.stdin.close()
        assert editor.wait() == (0, "")


def test_a_client_that_disappears_in_a_message_ends_the_server(folder):
    with Editor(cwd=folder) as editor:
        editor.begin(run="run")
        editor.process.stdin.write(b'Content-Length: 100\r\n\r\n{"seq"')
        editor.process.stdin.close()
        assert editor.wait() == (0, "")


def test_a_client_that_reads_no_longer_ends_the_server(folder):
    pipe = subprocess.PIPE
    program = [sys.executable, "-m", "gradviz", "dap"]
    with subprocess.Popen(program, stdin=pipe, stdout=pipe, stderr=pipe, cwd=folder, env=surroundings()) as process:
        process.stdout.close()
        process.stdin.write(framed({"seq": 1, "type": "request", "command": "threads"}))
        process.stdin.flush()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


def test_hostile_names(tmp_path):
    names = [name for name in dict.fromkeys(HOSTILE) if name.strip()]
    params = {name: Tensor(float(i + 1), name=name) for i, name in enumerate(names)}
    recorded(tmp_path, params, lambda: sum(params.values(), start=0.0))
    with Neighbour(tmp_path) as editor:
        editor.begin(position="1.b.0")
        shown = editor.scope("Parameters")
        assert len(shown) == len(names)
        for variable in shown.values():
            editor.inside(variable)
            text = variable["name"] + variable["value"]
            assert text.isprintable()
            assert len(variable["name"]) <= 200
        for _ in range(len(names)):
            editor.move("stepIn")
            assert all(frame["name"].isprintable() for frame in editor.frames)
            editor.scope("Event")
            editor.scope("Node")
        for name in names:
            editor.ask("setFunctionBreakpoints", breakpoints=[{"name": name}])
            editor.ask("dataBreakpointInfo", name=name)
            editor.ask("completions", text=f"p {name}", column=3 + len(name))
        assert editor.leave() == (0, "")


# -- speed -----------------------------------------------------------------------------------------


def test_steps_among_ten_thousand_ops(tmp_path):
    w = Tensor(1.0, name="w")

    def loss():
        y = w
        for _ in range(10_000):
            y = y * 1.0001
        return y

    with Editor(recorded(tmp_path, {"w": w}, loss, steps=2)) as editor:
        editor.begin(position="0.b.5000")
        taken = {"stepIn": [], "stepBack": []}
        for command in [*taken] * 20:
            editor.frames
            editor.scope("Event")
            start = time.perf_counter()
            editor.move(command)
            taken[command].append(time.perf_counter() - start)
        print({command: f"{statistics.median(times) * 1e3:.2f} ms" for command, times in taken.items()})
        assert editor.frames[0]["name"]
