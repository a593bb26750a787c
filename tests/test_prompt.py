"""The prompt: every command, pdb's habits, and that it works in a terminal, in a pipe and in a notebook."""

import builtins
import contextlib
import io
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import gradviz
from gradviz import Tensor
from gradviz.debugger import keyboard
from gradviz.debugger.commands import all_commands, command_named
from gradviz.debugger.completing import completions
from gradviz.debugger.prompt import Prompt
from gradviz.debugger.screen import Screen
from gradviz.errors import GradvizError, UnknownNameError
from tests.hostile import HOSTILE
from tests.terminals import Terminal

FREE = {"help", "h", "?"}


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """The run of a line that is fitted in ten steps."""
    x = np.linspace(-1, 1, 5)
    path = tmp_path_factory.mktemp("prompt") / "line"
    gradviz.descend(
        lambda w, b: ((w * x + b - (3 * x + 1)) ** 2).mean(), {"w": 0.0, "b": 0.0}, lr=0.4, steps=10, trace=path
    )
    return path


def session(target, *lines, **options):
    """Return the prompt after these commands, and everything it has said."""
    out = io.StringIO()
    target = target if isinstance(target, gradviz.Debugger) else gradviz.Debugger(target)
    return Prompt(target, lines, out, **options).run(), out.getvalue()


def said(target, *lines):
    """Return what the last of these commands has said."""
    text = session(target, *lines)[1]
    return re.split(r"^\((?:gradviz .*?|com)\) ", text, flags=re.MULTILINE)[-1].partition("\n")[2].rstrip("\n")


def run(path):
    return gradviz.open_run(path)


def article():
    a, b = Tensor(2.0, name="a"), Tensor(3.0, name="b")
    e = np.sin((a + b) * 2)
    e.backward()
    return e


def where(target, *lines):
    return str(session(target, *lines)[0].debugger.where)


# -- moving --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        (["s"], "0.f.1"),
        (["s 3"], "0.f.3"),
        (["step", "rs"], "0.f.0"),
        (["n"], "0.f.1"),
        (["phase b"], "0.b.0"),
        (["phase backward", "r"], "0.u.0"),
        (["phase b", "rf"], "0.f.9"),
        (["j 7.b.2"], "7.b.2"),
        (["seek 7"], "7.f.0"),
        (["jump 7", "j b.1"], "7.b.1"),
        (["it 3"], "3.f.0"),
        (["it 3", "it +4"], "7.f.0"),
        (["it 3", "it -2"], "1.f.0"),
        (["unt b.2"], "0.b.2"),
        (["until 4.u.1"], "4.u.1"),
        (["unt norm(w.grad) < 0.1", "when"], "7.b.6"),
        (["c"], "9.b.6"),
        (["c", "rc"], "0.f.0"),
        (["c", "rc w.grad < -1"], "2.b.6"),
        (["c", "rn"], "9.b.5"),
        (["first w > 2"], "3.f.0"),
        (["s;;s ;; s"], "0.f.3"),
        (["s", "", ""], "0.f.3"),
        (["s", "p w", ""], "0.f.1"),
        (["# a comment", "s # not one"], "0.f.0"),
    ],
)
def test_moving(line, lines, place):
    assert where(run(line), *lines) == place


def test_it_says_where_it_has_arrived(line):
    assert said(run(line), "s").splitlines() == ["> 0.f.1  forward 1: b = 0 (param)"]
    assert "test_prompt.py:" in said(run(line), "s 4")
    assert said(run(line), "when") == "0.f.0"


def test_ends_are_said(line):
    assert "--- start of the history ---" in said(run(line), "rs")
    assert "--- end of the history ---" in said(run(line), "c")
    assert "--- end of the history ---" in said(run(line), "c", "s")
    assert "--- here already ---" in said(run(line), "s", "j f.1")


# -- breakpoints ---------------------------------------------------------------------------------


def test_breakpoints(line):
    text = said(run(line), "b w if iteration > 3", "c")
    assert text.startswith("stopped: breakpoint 1 at w, if iteration > 3, hit once\n> 4.f.0")
    assert said(run(line), "b op:pow", "tbreak nan", "watch w", "disable 1", "ignore 3 2", "b").splitlines() == [
        "breakpoint 1 at op:pow, disabled",
        "temporary breakpoint 2 at nan",
        "watchpoint 3 on w, ignoring 2 more",
    ]
    assert said(run(line), "b w", "cl 1") == "deleted breakpoint 1 at w"
    assert said(run(line), "b w", "b b", "cl", "b") == "no breakpoints"
    assert said(run(line), "b w", "condition 1 iteration > 2", "condition 1") == "breakpoint 1 at w"
    assert said(run(line), "b w", "enable 1", "info b") == "breakpoint 1 at w"


def test_a_watchpoint_stops_at_every_update_of_a_parameter(line):
    assert where(run(line), "watch w", "c") == "0.u.0"
    assert where(run(line), "watch w", "c", "c") == "1.u.0"
    assert where(run(line), "watch w by 0.5", "c", "c", "rc") == "0.u.0"


def test_last(line):
    assert re.fullmatch(r"1\.u\.0: w went from [\d.]+ to [\d.]+", said(run(line), "it 2", "last w"))
    assert where(run(line), "it 2", "last w") == "2.f.0"
    assert said(run(line), "last w") == "w has not changed before here"


def test_first_that_never_holds(line):
    assert said(run(line), "first w > 100") == "w > 100 never holds"


def test_commands_of_a_breakpoint(line):
    text = said(run(line), "b b.6", "commands", "silent", "p iteration", "p norm(w.grad)", "end", "c")
    assert re.fullmatch(r"0\n[\d.]+", text)
    loud = said(run(line), "b b.6", "commands 1", "p iteration", "end", "c")
    assert loud.startswith("stopped: breakpoint 1 at b.6")
    assert loud.endswith("\n0")


def test_commands_that_go_on_are_the_last(line):
    text = said(run(line), "b b.6", "commands", "silent", "p iteration", "c", "p 77", "end", "c")
    assert re.findall(r"^\d+$", text, re.MULTILINE) == [*map(str, range(10))]


def test_commands_that_go_on_a_thousand_times():
    w = Tensor(1.0, name="w")
    frames = []
    for _ in range(1200):
        w.grad = None
        y = w * 2.0
        y.backward()
        frames.append(gradviz.frame(y))
    prompt, text = session(frames, "b f.0", "commands", "silent", "c", "end", "s", "c")
    assert prompt.debugger.breakpoints[1].hits == 1199
    assert not prompt.failed, text[-300:]


def test_what_waits_after_a_stop_comes_after_its_commands(line):
    text = said(run(line), "b b.6", "commands", "silent", "p 11", "end", "c ;; p 22")
    assert text.splitlines() == ["11", "22"]


# -- reading -------------------------------------------------------------------------------------


def test_list_shows_what_has_happened_and_where():
    rows = said(article(), "s 2", "ll").splitlines()
    assert rows[0].split()[:3] == ["0", "a", "2"]
    assert rows[2].startswith("-> 2  add_1 = a + b ")
    assert rows[3].split() == ["3", "const_1", "..."]
    assert rows[2:] == said(article(), "s 2", "l 2, 9").splitlines()


def test_list_goes_on_and_comes_back(line):
    def numbers(*lines):
        return [int(found) for found in re.findall(r"^(?:->|  ) (\d+)", said(run(line), *lines), re.MULTILINE)]

    assert numbers("j f.0", "l") == [0, 1, 2, 3, 4, 5]
    assert numbers("l", "l") == numbers("l", "") == [6, 7, 8, 9]
    assert numbers("l", "l", "l .") == [0, 1, 2, 3, 4, 5]
    assert numbers("l 8") == [3, 4, 5, 6, 7, 8, 9]
    assert numbers("l 2, 4") == [2, 3, 4]
    assert numbers("l", "s", "l") == [0, 1, 2, 3, 4, 5, 6]
    assert said(run(line), "l 90") == "--- there are no more events in this phase ---"


def test_list_in_every_phase(line):
    backward = said(run(line), "j b.2", "ll").splitlines()
    assert backward[2].startswith("-> 2  d/d(sub_1)")
    assert backward[3].split()[2] == "..."
    update = said(run(line), "j u.0", "ll").splitlines()
    assert re.match(r"-> 0  w  0 -> 1\.2 *$", update[0])
    assert update[1].split() == ["1", "b", "..."]


def test_a_source_line_stands_once():
    rows = said(article(), "c", "ll").splitlines()
    assert ["e = np.sin" in row for row in rows] == [True, False, False, False, False]
    assert ["a, b = Tensor" in row for row in rows] == [False, False, False, True, False]


def test_up_and_down_look_elsewhere_until_it_moves():
    d = gradviz.Debugger(article())
    prompt, _ = session(d, "s 2", "u")
    assert prompt.node.name != d.event.node.name
    assert str(d.where) == "0.f.2"
    assert said(d, "d").startswith(">> a = 2")
    assert "inputs: it has no" not in said(d, "d")
    assert said(d, "d b").startswith(">> b = 3")
    assert said(d, "d", "d") == "*** 'a' is a leaf: it has no inputs"
    assert said(d, "d zzz").startswith("*** no input of 'add_1' is named 'zzz'")
    assert ">>" in said(d, "d", "ll")
    assert said(d, "d", "i").startswith("node      a (id 0)")
    assert said(d, "d", "s", "i").startswith("node      const_1")
    assert said(article(), "s 2", "d", "w").endswith("(looked at)")
    assert said(article(), "u 2").startswith(">> c = add_1 * const_1") or said(article(), "u 2").startswith(">> mul_1")
    assert said(article(), "s 2", "d 1", "d") == "*** 'a' is a leaf: it has no inputs"


def test_where_tells_iteration_phase_scope_and_line(line):
    text = said(run(line), "j 3.b.2", "w")
    assert text.startswith("iteration 3 of 0 to 9, backward, event 2 of 0 to 6\n  in function ")


def test_where_says_what_is_not_known(tmp_path):
    w = Tensor(2.0, name="w")
    with gradviz.trace(tmp_path / "run", params={"w": w}) as log:
        log.step(1.5)
    assert "only what was recorded is known" in said(run(tmp_path / "run"), "w")


def test_printing(line):
    assert said(run(line), "s 9", "p w") == "0"
    assert said(run(line), "p w@3 - w@2") == said(run(line), "w@3 - w@2")
    assert said(run(line), "p loss") == "none"
    assert said(run(line), "j b.6", "p").startswith("w = 0, gradient -3")
    assert said(run(line), "s 2", "pp x").splitlines()[0] == "float64 (5,)"
    assert said(run(line), "s 2", "pp") == said(run(line), "s 2", "pt x")
    assert said(run(line), "s 2", "pp x[1:3]").splitlines()[1] == "[-0.5  0. ]"
    assert said(run(line), "s 2", "whatis x") == "array of float64, shape (5,)"
    assert said(run(line), "whatis loss") == "nothing is there yet"


def test_names_with_numbers_and_unusual_ones():
    model = gradviz.nn.MLP([2, 3, 1], "tanh", rng=0)
    loss = (model(Tensor([[1.0, 2.0]], requires_grad=False)) ** 2).sum()
    loss.name = "my loss"
    d = gradviz.Debugger(loss)
    assert said(d, "phase b", "whatis layers.0.weight") == "array of float64, shape (2, 3)"
    assert said(d, "first norm(layers.0.weight.grad) >= 0", "when").startswith("0.b.")
    assert said(d, "phase b", "p `my loss`.grad") == "1"
    assert said(d, "i my loss").startswith("node      my loss")


def test_display(line):
    text = said(run(line), "display w + 1", "display norm(b.grad)", "it 1")
    assert text.splitlines()[-2:] == ["  w + 1: 2.2", "  norm(b.grad): none"]
    assert "w + 1" not in said(run(line), "display w + 1", "undisplay w + 1", "it 1")
    assert said(run(line), "display w +").startswith("***")


def test_info(line):
    text = said(run(line), "j b.3", "i mul_1")
    assert "op        mul: w * x" in text
    assert "d/d(w) = x" in text
    assert re.search(r"^gradient +still to come$", said(run(line), "j b.1", "i mul_1"), re.MULTILINE)
    assert re.search(r"^value +still to come$", said(run(line), "i mul_1"), re.MULTILINE)


def test_lists_of_nodes(line):
    assert [row.split()[0] for row in said(run(line), "lt *_1 -t p*").splitlines()] == ["name", "pow_1"]
    assert [row.split()[0] for row in said(run(line), "phase u", "lt -s grad").splitlines()][1] == "w"
    assert said(run(line), "lt -f nan") == "no such node"
    assert said(run(line), "lt -s colour").startswith("*** no order is named 'colour'")


def test_trees(line):
    assert said(run(line), "phase b", "li add_1 1").splitlines()[1:] == [
        "  mul_1 = [-0, -0, 0, ...], gradient ...", "  b = 0, gradient ...",
    ]  # fmt: skip
    assert said(run(line), "lo w 2").splitlines() == [
        "w = 0, gradient ...", "  mul_1 = ..., gradient ...", "    add_1 = ..., gradient ...",
    ]  # fmt: skip
    assert said(run(line), "s 3", "li 1") == said(run(line), "s 3", "li mul_1 1")


# -- asking --------------------------------------------------------------------------------------


def test_why_blame_and_check(line):
    assert "they add up exactly" in said(run(line), "why w -paths -k 2")
    assert said(run(line), "j b.4", "why") == said(run(line), "j b.4", "why " + "mul_1")
    assert said(run(line), "why w.grad") == said(run(line), "why w")
    assert said(run(line), "blame nan") == "no nan was born here"
    assert said(run(line), "check") == "every rule agrees with finite differences"
    assert said(run(line), "why w -sideways").startswith("*** no way to take the sum")


def test_blame_goes_to_the_birth():
    w = Tensor([1.0, -1.0], name="w")
    with np.errstate(invalid="ignore"):
        d = gradviz.Debugger(np.log(w).sum())
    text = said(d, "blame")
    assert text.startswith("nan: born at 0.f.1")
    assert "> 0.f.1" in text


def test_diff(line):
    text = said(run(line), "diff 3 4")
    assert text.startswith("7 values differ, as computed, 3 | 4:\n* w ")
    assert "gradients differ, as sent back, 3 | 4:" in text
    assert text.endswith("* differs although nothing that it is made of does")
    assert said(run(line), "diff 3 3") == "no difference between 3 and 3"
    assert said(run(line), "it 3", "diff 3") == "no difference between 3 and here"
    assert "1 gradient differs, 3.b.1 | 3.b.0" in said(run(line), "diff 3.b.1 3.b.0")
    assert said(run(line), "diff").startswith("*** which two")


def test_whatif(line):
    text = said(run(line), "it 2", "whatif lr=0.01 for 3")
    assert text.startswith("what if lr = 0.01 from iteration 2 to 5:\n")
    assert said(run(line), "whatif w = b * 2").startswith("what if w = 0 in iteration 0:")
    assert said(run(line), "whatif").startswith("*** what shall be different?")
    assert said(run(line), "whatif w").startswith("*** 'w' gives no name a value")


def test_draw_says_the_file(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said(run(line), "j 3.b.2", "draw") == "wrote gradviz-3-b-2.svg"
    assert (tmp_path / "gradviz-3-b-2.svg").read_text("utf-8").startswith("<svg")
    assert said(run(line), "draw graph.txt") == "wrote graph.txt"
    assert said(run(line), f"draw {tmp_path}/nowhere/x.svg").startswith("*** there is no folder")


# -- the prompt itself ---------------------------------------------------------------------------


def test_help_names_every_command():
    text = said(article(), "help")
    assert [c.usage for c in all_commands() if f"  {c.usage}" not in text] == []


@pytest.mark.parametrize("command", all_commands(), ids=lambda command: command.name)
def test_help_of_each_command(command):
    for name in command.names:
        text = said(article(), f"h {name}")
        assert text.startswith(f"{command.usage}\n  {command.summary}\n")
        assert text.endswith(f"names: {', '.join(command.names)}")
        assert max(map(len, text.splitlines())) <= 110


def test_names_of_commands_are_used_once():
    names = [name for command in all_commands() for name in command.names]
    assert sorted(names) == sorted(set(names))


def test_abbreviations_of_pdb():
    expected = {
        "s": "step", "n": "next", "r": "return", "unt": "until", "c": "continue", "cont": "continue", "j": "jump",
        "b": "break", "cl": "clear", "tb": "tbreak", "l": "list", "ll": "longlist", "w": "where", "bt": "where",
        "u": "up", "d": "down", "p": "print", "pp": "pp", "a": "li", "h": "help", "q": "quit", "disp": "display",
        "cond": "condition", "rs": "rstep", "rc": "rcontinue", "rn": "rnext", "rf": "rfinish", "bl": "blame",
    }  # fmt: skip
    assert {word: command_named(word).name for word in expected} == expected
    with pytest.raises(UnknownNameError, match="could be"):
        command_named("un")


def test_what_is_no_command():
    assert said(article(), "blmae").startswith("*** 'blmae' is no command and no name here\n  did you mean blame?")
    assert said(article(), "xyzzy").endswith("h lists the commands")
    assert said(article(), "s", "a + b") == "5"  # although a is a command
    assert said(article(), "s", "b - 1") == "2"
    assert said(article(), "s", "norm(b) + 1") == "4"
    assert said(article(), "s", "(a, b)") == "(2, 3)"


def test_statements_are_refused_with_the_reason():
    for text in ("!w = 3", "! import os"):
        assert said(article(), text).startswith("*** no statements are run here: the debugger reads")


def test_aliases():
    assert said(article(), "c", "alias pg p norm(%1.grad)", "pg a") == "1.67814"
    assert said(article(), "alias two s ;; s", "two", "when") == "0.f.2"
    assert said(article(), "alias echo p (%*)", "echo 1, 2") == "(1, 2)"
    assert said(article(), "alias x p 1", "alias") == "x = p 1"
    assert said(article(), "alias x p 1", "unalias x", "alias") == "no aliases"
    assert said(article(), "unalias x").startswith("*** no alias is named 'x'")
    assert "***" in said(article(), "alias loop loop ;; loop", "loop")


def test_quit_leaves_what_follows(line):
    assert where(run(line), "q", "s") == "0.f.0"
    assert where(run(line), "s ;; q ;; s", "s") == "0.f.1"


def test_it_remembers_whether_a_command_failed(line):
    assert not session(run(line), "s", "p w")[0].failed
    assert session(run(line), "s", "p zzz", "s")[0].failed
    assert where(run(line), "s", "p zzz", "s") == "0.f.2"


def test_a_broken_command_does_not_end_the_session(line, monkeypatch):
    def broken(self, *args):
        raise TypeError("of all things")

    monkeypatch.setattr(gradviz.Debugger, "blame", broken)
    prompt, text = session(run(line), "blame", "s", "when")
    assert "*** internal error: TypeError: of all things" in text
    assert prompt.failed
    assert text.endswith("0.f.1\n")


MANGLED = (
    "",
    " ",
    "-k",
    "1.5",
    "x" * 300,
    "(((",
    "`",
    "w =",
    "a b c d",
    "\x1b[31m",
    "-1",
    "99999999999999999999",
    "if",
)


@pytest.mark.parametrize("command", [c for c in all_commands() if c.name != "quit"], ids=lambda c: c.name)
def test_no_argument_breaks_a_command(command, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for argument in MANGLED if command.name != "draw" else ("", "x.nothing", "nowhere/x.svg"):
        _, text = session(run(line), "j 1.b.3", f"{command.name} {argument}", "end")
        assert "internal error" not in text, (argument, text)
        assert "\x1b" not in text


# -- completion ----------------------------------------------------------------------------------


def completed(text, line, d=None):
    prompt = Prompt(d or gradviz.Debugger(article()), [], io.StringIO())
    return prompt.completions(text, line)


def test_completion():
    assert completed("wha", "wha") == ["whatif", "whatis"]
    assert completed("", "p ") == sorted(n + e for n in ("a", "b", *_ops()) for e in ("", ".grad"))
    assert completed("a", "p norm(a")[:2] == ["a", "a.grad"]
    assert "op:sin" in completed("op:", "b op:")
    assert completed("na", "b na") == ["nan"]
    assert completed("va", "blame va") == ["vanish"]
    assert completed("", "phase ") == ["backward", "forward", "update"]
    assert completed("unal", "help unal") == ["unalias"]
    assert completed("", "when ") == []
    assert completed("a", "nonsense a") == ["a", "a.grad", "add_1", "add_1.grad"]


def _ops():
    return [node.name for node in gradviz.frame(article()).graph if node.name not in {"a", "b"}]


def test_completion_offers_nothing_that_a_terminal_would_obey():
    d = gradviz.Debugger(Tensor(1.0, name="\x1b[31mred") * 2.0)
    names = completed("", "p ", d)
    assert names
    assert not any("\x1b" in name for name in names)


def test_completion_knows_aliases():
    assert completions(all_commands(), gradviz.frame(article()).graph, ["pgrad"], "pg", "pg") == ["pgrad"]


# -- hostile text --------------------------------------------------------------------------------


EVERYTHING = (
    "l",
    "ll",
    "w",
    "i",
    "p",
    "pp",
    "lt",
    "li",
    "lo",
    "u",
    "d",
    "why",
    "s",
    "phase b",
    "l",
    "w",
    "diff 0 0",
    "c",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_do_nothing(name):
    w = Tensor(2.0, name=name)
    y = w * w
    y.name = name + "!"
    prompt, text = session(y, *EVERYTHING, f"whatif `{name}` = 3" if name.strip() and "`" not in name else "p 1")
    seen = [c for c in text if c != "\n" and not c.isprintable()]
    assert seen == []
    assert not prompt.failed or "\n" in name or ";;" in name or "\r" in name, text


# -- screens -------------------------------------------------------------------------------------


class FakeTerminal(io.StringIO):
    def isatty(self):
        return True


def test_colours_only_at_a_terminal_that_wants_them(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def shown(stream):
        Screen(stream).say("\x1b[31mno", "error")
        return stream.getvalue()

    assert shown(FakeTerminal()) == "\x1b[31m\\u001B[31mno\x1b[0m\n"
    assert shown(io.StringIO()) == "\\u001B[31mno\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert shown(FakeTerminal()) == "\\u001B[31mno\n"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert shown(FakeTerminal()) == "\\u001B[31mno\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert shown(io.StringIO()).startswith("\x1b[31m")


def test_listings_fit_the_terminal(line, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("NO_COLOR", "1")
    out = FakeTerminal()
    Prompt(gradviz.Debugger(run(line)), ["j b.6", "ll", "lt"], out).run()
    rows = out.getvalue().partition("ll\n")[2].splitlines()
    assert max(map(len, rows[:-1])) == 50
    assert any(row.endswith("…") for row in rows)


# -- terminal, pipe, notebook --------------------------------------------------------------------

PROGRAM = """
import numpy as np, gradviz
from gradviz.debugger.prompt import Prompt
a, b = gradviz.Tensor(2.0, name="a"), gradviz.Tensor(3.0, name="b")
d = gradviz.Debugger(np.sin((a + b) * 2))
d.break_at("b")
Prompt(d).run()
print("left at", d.where)
"""


def test_at_a_terminal():
    with Terminal("-c", PROGRAM) as terminal:
        terminal.read("(gradviz 0.f.0) ")
        terminal.type("s\n")
        terminal.read("(gradviz 0.f.1) ")
        terminal.type("\n")
        terminal.read("(gradviz 0.f.2) ")
        terminal.type("whati\t\t")
        terminal.read("whatif")
        terminal.read("whatis")
        terminal.type("s a\n")
        terminal.read("float")
        terminal.type("p zzz\n")
        terminal.read("\x1b[31m***")
        terminal.type("\x1b[A\x1b[A\x1b[A\n")  # history: three lines up is Enter's step
        terminal.read("(gradviz 0.f.3) ")
        terminal.type("\x04")
        assert terminal.wait() == 0
    assert "left at 0.f.3" in terminal.text


def interrupted(terminal):
    """Press Ctrl-C until it is heard: readline misses one that comes while it gets ready."""
    for _ in range(20):
        terminal.process.send_signal(signal.SIGINT)
        with contextlib.suppress(TimeoutError):
            return terminal.read("--- interrupted; q leaves ---", seconds=1)
    raise TimeoutError(terminal.text)


def test_control_c_at_an_empty_prompt_asks_again():
    with Terminal("-c", PROGRAM) as terminal:
        terminal.read("(gradviz 0.f.0) ")
        interrupted(terminal)
        terminal.type("s\n")
        terminal.read("(gradviz 0.f.1) ")
        terminal.type("q\n")
        assert terminal.wait() == 0
    assert "left at 0.f.1" in terminal.text


LONG = """
import gradviz
from gradviz.debugger.prompt import Prompt
w = gradviz.Tensor(1.0, name="w")
frame = gradviz.frame(w * 2.0)
Prompt(gradviz.Debugger([frame] * 1_000_000)).run()
"""


def test_control_c_stops_a_long_run_where_it_is():
    with Terminal("-c", LONG) as terminal:
        terminal.read("(gradviz 0.f.0) ", seconds=60)
        terminal.type("c\n")
        terminal.read("(gradviz 0.f.0) c\r\n")
        time.sleep(1)
        interrupted(terminal)
        terminal.type("when\n")
        terminal.type("q\n")
        assert terminal.wait() == 0
    places = re.findall(r"\(gradviz (\d+)\.[fbu]\.\d\)", terminal.text)
    assert 0 < int(places[-1]) < 999_999


def test_in_a_pipe(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("s\n\np a\n"))
    prompt = Prompt(gradviz.Debugger(article())).run()
    assert str(prompt.debugger.where) == "0.f.2"
    assert capsys.readouterr().out.endswith("(gradviz 0.f.2) p a\n2\n")


@pytest.mark.parametrize("stdin", [None, "closed"])
def test_without_standard_input(monkeypatch, capsys, stdin):
    stream = io.StringIO() if stdin else None
    if stream:
        stream.close()
    monkeypatch.setattr(sys, "stdin", stream)
    Prompt(gradviz.Debugger(article())).run()
    assert capsys.readouterr().out.startswith("> 0.f.0")


def test_after_the_commands_of_a_file_a_person_is_asked(monkeypatch, capsys):
    typed = iter(["p a", "zzz"])

    def answer(question):
        found = next(typed, None)
        if found is None:
            raise EOFError
        return found

    monkeypatch.setattr(builtins, "input", answer)
    monkeypatch.setattr(sys, "stdin", FakeTerminal())
    prompt = Prompt(gradviz.Debugger(article()), ["s", "s"], then_ask=True).run()
    text = capsys.readouterr().out
    assert "(gradviz 0.f.0) s\n" in text
    assert "p a" not in text  # the terminal has shown what was typed
    assert str(prompt.debugger.where) == "0.f.2"
    assert not prompt.failed


def test_control_c_in_a_file_of_commands_ends(line, monkeypatch):
    def interrupted(self, until=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(gradviz.Debugger, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        session(run(line), "c", "s")


def test_in_a_notebook(line, monkeypatch, capsys):
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shown, questions, answers = [], [], iter(["s", "draw", "q"])

    def answer(question):
        questions.append(question)
        return next(answers)

    monkeypatch.setattr(shell, "kernel", object(), raising=False)  # as in a kernel of Jupyter
    monkeypatch.setattr(builtins, "input", answer)
    monkeypatch.setattr("IPython.display.display", shown.append)
    assert keyboard.is_notebook()
    try:
        Prompt(gradviz.Debugger(run(line))).run()
    finally:
        InteractiveShell.clear_instance()
    assert questions == ["(gradviz 0.f.0) ", "(gradviz 0.f.1) ", "(gradviz 0.f.1) "]
    assert "(gradviz" not in capsys.readouterr().out
    assert len(shown) == 1
    assert "<svg" in shown[0]._repr_mimebundle_()["image/svg+xml"]


def test_a_terminal_is_no_notebook():
    assert not keyboard.is_notebook()


# -- speed ---------------------------------------------------------------------------------------


def test_every_command_about_one_place_works_in_a_large_graph():
    x = Tensor([1.0, 2.0], name="w")
    for _ in range(5000):
        x = x * 1.0001 + 0.001
    prompt = Prompt(gradviz.Debugger(x.sum()), [], io.StringIO()).run()
    prompt.do("j b.9000 ;; rn ;; u ;; phase f ;; j f.9000")
    slow = {}
    for text in ("s", "rs", "l .", "u", "d", "i", "p", "w", "n", "rn", "j b.9000", "l .", "s", "rs", "why", "j f.9000"):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            prompt.do(text)
            times.append(time.perf_counter() - start)
        slow[text] = sorted(times)[2]
    print({text: f"{seconds * 1e3:.2f} ms" for text, seconds in slow.items()})
    assert str(prompt.debugger.where) == "0.f.9000"


def test_errors_of_expressions_are_errors_of_gradviz(line):
    for text in ("__import__('os')", "w.__class__", "[x for x in w]", "(lambda: 1)()", "open('x')", "w := 3"):
        prompt, out = session(run(line), f"p {text}")
        assert prompt.failed, text
        assert "internal error" not in out
    with pytest.raises(GradvizError):
        gradviz.Debugger(run(line)).evaluate("exec('1')")


def test_the_page_about_the_prompt_is_up_to_date():
    page = Path(__file__).parent.parent / "docs" / "debugger.py"
    done = subprocess.run([sys.executable, page, "--check"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_has_every_command_and_place():
    text = (Path(__file__).parent.parent / "docs" / "debugger.md").read_text("utf-8").replace("\\|", "|")
    assert [c.usage for c in all_commands() if f"| `{c.usage}` |" not in text] == []
    assert command_named("break").details in text


@pytest.mark.parametrize("name", ["a b", "w.grad", "`x`", "1", "-edges", "nan"])
def test_a_node_of_any_name_can_be_asked_about(name):
    w = Tensor(2.0, name=name)
    loss = w * w + 1.0
    quoted = name if "`" in name else f"`{name}`"
    for asked in {quoted, name} - {"-edges"}:
        assert said(loss, f"why {asked} -k 3").startswith(f"d/d({name}) = 4 ")
        assert said(loss, f"i {asked}").splitlines()[0].endswith(f"{name} (id 0)")
        assert said(loss, f"lo {asked} 1").splitlines()[1].strip().startswith("mul_1 = ")
        assert said(loss, "j f.1", f"d {asked}").startswith(f">> {name} ")


def test_rules_are_asked_once_at_least():
    assert "every rule is asked once at least" in said(Tensor(2.0, name="w") * 3.0, "check -r 0")


@pytest.mark.parametrize("level", ["scalars", "stats"])
def test_where_only_norms_were_recorded(level, tmp_path):
    x, y = np.linspace(-1, 1, 8), np.linspace(0, 1, 8)
    w = Tensor([0.0, 0.0], name="w")
    with gradviz.trace(tmp_path / "run", params={"w": w}, level=level) as log:
        for _ in range(6):
            w.zero_grad()
            loss = np.mean((w[0] * x + w[1] - y) ** 2)
            loss.backward()
            log.step(loss)
            w.data = w.data - 0.3 * w.grad
    run = gradviz.open_run(tmp_path / "run")
    d = gradviz.Debugger(run)
    norms = run["w"].grad_norm
    assert d.first(f"norm(w.grad) < {(norms[2] + norms[3]) / 2}").iteration == 3
    assert d.first("norm(w.grad) > 1e9") is None
    assert said(run, "first norm(w.grad) > 1e9").endswith("never holds, as far as the numbers were recorded")
    assert said(run, "last w").endswith("has not changed before here, as far as the numbers were recorded")
    assert "only what was recorded is known here; w says why" in session(run)[1]


@pytest.mark.parametrize(("text", "is_there"), [
    ("op:mul", True), ("op:nosuch", False), ("scope:enc.*", False), (":999999", False), ("other.py:3", False),
    ("mul_1", True), ("nan", True), ("norm(w.grad) > 1", True),
])  # fmt: skip
def test_a_breakpoint_where_nothing_is_says_so(text, is_there):
    found = said(Tensor(2.0, name="w") * 3.0 + 1.0, f"b {text}")
    assert found.startswith(f"breakpoint 1 at {text}")
    assert ("nothing in the graph of this iteration is there" in found) != is_there


@pytest.mark.parametrize("command", ["first", "last", "it", "j", "watch"])
def test_what_is_missing_is_asked_for(command):
    assert re.match(r"\*\*\* [a-z ]+\?\n  \w", said(Tensor(2.0, name="w") * 3.0, command))
