"""The debugger inside a running program: breakpoint, debugging, debug, post_mortem."""

import asyncio
import bdb
import importlib.util
import io
import os
import re
import subprocess
import sys
import textwrap
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradviz
from gradviz import Tensor
from gradviz.debugger.callsites import _sites
from gradviz.debugger.newops import NewOp
from gradviz.debugger.session import Attached
from gradviz.engine import modes
from gradviz.errors import GradvizError, GradvizTypeError, GradvizValueError, StoppedError
from gradviz.graphs.plain import same_bits
from tests.terminals import Terminal


def quiet():
    return np.errstate(all="ignore")


@pytest.fixture(autouse=True)
def nothing_left_behind():
    Attached.again()
    _sites.clear()
    yield
    Attached.again()
    assert modes.active == 0
    assert modes.mode() == modes.Mode()


@pytest.fixture
def typed(monkeypatch):
    """Return what makes these lines the standard input."""
    return lambda *lines: monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def descend(steps=5, **options):
    """Go down a parabola with a breakpoint after each backward pass; return the losses."""
    w, losses = Tensor(3.0, name="w"), []
    for epoch in range(steps):
        loss = (w - 1.0) ** 2
        loss.backward()
        gradviz.breakpoint(loss, **options)
        w.data, w.grad = w.data - 0.25 * w.grad, None
        losses.append(float(loss.data))
        assert len(losses) == epoch + 1
    return losses


# -- breakpoint ------------------------------------------------------------------------------------


def test_it_stops_in_every_iteration_and_c_goes_on(typed, capsys):
    typed("p w, w.grad", "c", "p w, loss", "c", "c", "c", "p epoch", "c")
    assert descend() == [4.0, 1.0, 0.25, 0.0625, 0.015625]
    shown = capsys.readouterr().out
    assert [int(n) for n in re.findall(r"iteration (\d)", shown)] == [0, 1, 2, 3, 4]
    assert "(3, 4)" in shown
    assert "(2, 1)" in shown
    assert re.search(r"p epoch\n4\n", shown)


def test_earlier_iterations_are_reachable(typed, capsys):
    typed("c", "c", "c", "it -1", "p w, w.grad", "it 0", "p w, loss", "rs", "p w@3 - w@2", "c", "q")
    with pytest.raises(bdb.BdbQuit):
        descend()
    shown = capsys.readouterr().out
    assert "(1.5, 1)" in shown
    assert "(3, 4)" in shown
    assert "-0.25" in shown


def test_going_back_to_where_something_held(typed, capsys):
    typed("c", "c", "c", "c", "rc norm(w.grad) > 1.5", "p iteration, w.grad", "first loss < 1", "detach")
    descend()
    shown = capsys.readouterr().out
    assert "(1, 2)" in shown
    assert "2.f." in shown


def test_updates_are_events_between_the_iterations(typed, capsys):
    typed("c", "c", "it 0", "phase u", "p update, param", "detach")
    descend()
    assert "(-1, 3)" in capsys.readouterr().out


def test_a_condition_stops_only_where_it_held(typed, capsys):
    typed("p iteration, loss", "p limit", "q")
    limit = 0.5
    with pytest.raises(bdb.BdbQuit):
        descend_to(limit)
    shown = capsys.readouterr().out
    assert "(2, 0.25)" in shown
    assert "0.5" in shown


def descend_to(limit):
    w = Tensor(3.0, name="w")
    for _ in range(5):
        loss = (w - 1.0) ** 2
        loss.backward()
        gradviz.breakpoint(when="norm(loss) < limit")
        w.data, w.grad = w.data - 0.25 * w.grad, None


@pytest.mark.parametrize(
    ("when", "stops"),
    [
        ("norm(w.grad) > 1.5", [0, 1]),
        ("w < 1.5 and iteration < 4", [3]),
        ("abs(update) > 0.6", [1]),
        ("loss up 2", []),
        ("op:pow", [0, 1, 2, 3, 4]),
        ("op:log", []),
        ("w", [0, 1, 2, 3, 4]),
        ("nan", []),
        ("nothing_of_this_name", []),
        (lambda loss: loss.data == 1.0, [1]),
    ],
)
@pytest.mark.parametrize("keep", [0, 100])
def test_every_kind_of_condition(typed, capsys, when, stops, keep):
    typed(*["c"] * 5)
    if when == "abs(update) > 0.6" and keep == 0:
        stops = []  # the update before is only known if the iteration before is kept
    descend(when=when, keep=keep)
    assert [int(n) for n in re.findall(r"iteration (\d)", capsys.readouterr().out)] == stops


def test_a_condition_places_the_cursor_at_its_event(typed, capsys):
    typed("when", "c")
    descend(when="norm(w.grad) > 3")
    assert "iteration 0" in (shown := capsys.readouterr().out)
    assert re.search(r"> 0\.b\.\d+ .*d/d\(w\)", shown)


def test_a_nan_in_one_iteration_stops_there(typed, capsys):
    typed("blame nan", "q")
    w = Tensor(2.0, name="w")

    def train():
        for _ in range(4):
            loss = np.log(w) ** 2
            loss.backward()
            gradviz.breakpoint(when="nan")
            w.data, w.grad = w.data - 1.5, None

    with quiet(), pytest.raises(bdb.BdbQuit):
        train()
    shown = capsys.readouterr().out
    assert "iteration 2" in shown
    assert "log(w)" in shown


def test_a_false_condition_is_an_error_at_once():
    for when in ("norm(", 3.0, "over:floaty(1) >"):
        with pytest.raises(GradvizError):
            descend(when=when)


def test_without_a_tensor_it_says_so():
    with pytest.raises(GradvizValueError, match="no variable holds a scalar"):
        gradviz.breakpoint()
    with pytest.raises(GradvizTypeError, match="takes a Tensor, not a float"):
        gradviz.breakpoint(3.0)


def test_the_largest_graph_among_the_variables_is_taken(typed, capsys):
    typed("lt", "c")
    w = Tensor(2.0, name="w")
    small = w * 2
    total = small * small + w
    other = w + 1
    w.data = 7.0  # as an update does
    gradviz.breakpoint()
    assert "total" in capsys.readouterr().out
    assert (float(total.data), float(other.data)) == (18.0, 3.0)


def test_a_parameter_that_was_updated_still_comes_before_all_that_used_it():
    w = Tensor(2.0, name="w")
    h = w * 2.0
    y = h * h + w
    w.data = 5.0
    made = gradviz.graph(y).check()
    assert [node.name for node in made][:1] == ["w"]
    assert gradviz.frame(y).value("w") == 2.0


def test_before_backward_it_stands_at_the_result(typed, capsys):
    typed("when", "why w", "c")
    w = Tensor(3.0, name="w")
    y = w * w
    gradviz.breakpoint(y)
    y.backward()
    shown = capsys.readouterr().out
    assert "0.f.1" in shown
    assert "= 6 is the sum" in shown
    assert w.grad == 6.0


def test_gradients_of_kept_iterations_are_those_of_then(typed, capsys):
    typed("c", "it 0", "p w.grad", "c")
    w = Tensor([1.0, 2.0], name="w")
    for _ in range(2):
        loss = np.sum(w * w)
        loss.backward()
        gradviz.breakpoint(loss)
        w.grad *= 100.0  # clipped, or worse, in place
        w.data -= 0.0
        w.zero_grad()
    assert "[2, 4]" in capsys.readouterr().out


def test_arrays_changed_in_place_are_kept_as_they_were(typed, capsys):
    typed("c", "c", "it 0", "p w, x", "p w@1", "c")
    w, x = Tensor([1.0, 2.0], name="w"), np.array([1.0, 1.0])
    for _ in range(3):
        loss = np.sum(w * x)
        loss.backward()
        w.data -= w.grad
        w.zero_grad()
        gradviz.breakpoint(loss)
        x = x + 1.0
    shown = capsys.readouterr().out
    assert "([1, 2], [1, 1])" in shown
    assert "[0, 1]" in shown


def test_no_more_is_kept_than_allowed(typed, capsys):
    typed(*["c"] * 4, "it 0", "it 3", "c")
    descend(keep=2)
    assert "there is no iteration 0" in capsys.readouterr().out
    w = Tensor(np.ones(10_000), name="w")
    for _ in range(20):
        loss = np.sum(w * w * w)
        loss.backward()
        gradviz.breakpoint(loss, when="loss < 0", memory=2_000_000)
        w.data, w.grad = w.data * 0.99, None
    site = next(reversed(_sites.values()))
    assert 2 <= len(site.timeline.iterations) < 10
    assert site.timeline.size <= 2_000_000


def test_steps_may_be_numbered_and_begin_anew(typed, capsys):
    w = Tensor(3.0, name="w")
    typed("c", "c", "c", "it -10", "p w", "c")
    for _ in range(2):
        for epoch in (10, 20):
            loss = (w - 1.0) ** 2
            gradviz.breakpoint(loss, step=epoch)
    shown = capsys.readouterr().out
    assert [int(n) for n in re.findall(r"iteration (\d+)", shown)] == [10, 20, 10, 20]


def test_breakpoints_and_displays_stay_for_the_next_stop(typed, capsys):
    typed("b op:sub", "display w", "c", "rc", "c", "c", "detach")
    descend()
    shown = capsys.readouterr().out
    assert re.search("stopped: .*op:sub", shown)
    assert "w: 2" in shown


def test_c_goes_to_a_breakpoint_that_lies_ahead_first(typed, capsys):
    typed("c", "it 0", "phase f", "b op:pow", "c", "when", "c", "when", "detach")
    descend()
    assert re.findall(r"\n(\d\.[fb]\.\d)\n", capsys.readouterr().out)[0].startswith("0.f.")


def test_the_end_of_the_input_lets_the_program_go_on(typed, capsys):
    typed("p w")
    assert len(descend()) == 5
    shown = capsys.readouterr().out
    assert shown.count("iteration") == 1
    assert "without further stops" in shown


def test_no_standard_input_at_all(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", None)
    assert len(descend()) == 5
    assert capsys.readouterr().out.count("iteration") == 1


def test_another_structure_in_between(typed, capsys):
    typed("c", "c", "it 1", "p h", "it 0", "p h", "detach")
    w = Tensor(2.0, name="w")
    for k in range(4):
        h = w * 3.0 if k % 2 else np.tanh(w)
        loss = h * h
        loss.backward()
        gradviz.breakpoint(loss)
    shown = capsys.readouterr().out
    assert re.search(r"p h\n6\n", shown)
    assert re.search(r"p h\n0\.96402\d*\n", shown)


def test_nothing_a_person_types_runs_code(typed, capsys):
    class Trap:
        @property
        def value(self):
            raise AssertionError("a property was run")

        def __call__(self):
            raise AssertionError("it was called")

    trap = Trap()
    trap.inner = 5.0
    typed("p trap.value", "p trap()", "p trap.inner + 1", "p __import__('os')", "p trap.__class__", "c")
    w = Tensor(2.0, name="w")
    loss = w * w
    gradviz.breakpoint(loss)
    shown = capsys.readouterr().out
    assert re.search(r"p trap.inner \+ 1\n6\n", shown)
    assert shown.count("***") >= 3


def test_each_thread_has_iterations_of_its_own():
    losses = {}

    def run(name, start):
        w = Tensor(start, name="w")
        for _ in range(4):
            loss = w * w
            gradviz.breakpoint(loss, when=lambda loss: losses.setdefault(name, []).append(float(loss.data)))
            w.data = w.data + 1.0

    threads = [threading.Thread(target=run, args=pair) for pair in (("a", 1.0), ("b", 10.0))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert losses == {"a": [1.0, 4.0, 9.0, 16.0], "b": [100.0, 121.0, 144.0, 169.0]}
    kept = sorted(tuple(site.timeline.column("loss", "value")) for site in _sites.values())
    assert kept == [(1.0, 4.0, 9.0, 16.0), (100.0, 121.0, 144.0, 169.0)] or len(kept) == 1


def test_passing_leaves_nothing(typed):
    w = Tensor(3.0, name="w")
    loss = (w - 1.0) ** 2

    def passing():
        gradviz.breakpoint(loss, when="loss > 100", keep=0)

    for _ in range(200):
        passing()
    assert w.grad is None


# -- debugging -------------------------------------------------------------------------------------


def line_of(text):
    """Return file and line of a text in this file."""
    lines = Path(__file__).read_text("utf-8").splitlines()
    number = next(i for i, line in enumerate(lines, 1) if line.endswith(text))
    return f"test_live_debugger.py:{number}"


def test_it_stops_at_the_op_that_makes_it():
    x = Tensor([1.0, -1.0], name="x")

    def compute():
        h = x * 2.0
        y = np.log(h)  # here it is born
        return y * 3.0

    with quiet(), pytest.raises(StoppedError) as caught, gradviz.debugging(stop="raise"):
        compute()
    message = str(caught.value)
    assert message.startswith("nan: born at")
    assert "y = log(h) makes nan at [1]" in message
    assert line_of("# here it is born") in message.replace("tests/", "")
    assert "h = -2" in message
    assert isinstance(caught.value, GradvizError | FloatingPointError)
    assert isinstance(caught.value, FloatingPointError)
    d = caught.value.debugger
    assert (d.event.node.name, d.birth.kind, d.birth.index) == ("y", "nan", (1,))
    assert d.at_end


@pytest.mark.parametrize(
    ("compute", "kind"),
    [
        (lambda x: np.exp(x * 1e6), "inf"),
        (lambda x: 1.0 / (x - x), "inf"),
        (lambda x: np.sqrt(x - 10.0), "nan"),
        (lambda x: np.sum(x * 1e308), "inf"),
        (lambda x: (x * 1e200) @ (x * 1e200), "inf"),
        (lambda x: x.astype(np.float16) * 60000 if hasattr(x, "astype") else x / 0.0, "inf"),
    ],
)
def test_every_birth_forward(compute, kind):
    x = Tensor([1.0, 2.0, 3.0], name="x")
    with quiet(), pytest.raises(StoppedError, match=f"^{kind}: born at"), gradviz.debugging(stop="raise"):
        compute(x)


def test_single_numbers_too():
    x = Tensor(-1.0, name="x")
    with quiet(), pytest.raises(StoppedError, match="nan: born"), gradviz.debugging(stop="raise"):
        np.log(x)


def test_infinities_that_are_meant_do_not_stop():
    scores = Tensor([1.0, 2.0, 3.0], name="scores")
    mask = np.array([0.0, 0.0, -np.inf])
    with gradviz.debugging(stop="raise"):
        shifted = scores + mask
        weights = np.exp(shifted - np.max(shifted))
        loss = np.sum(weights / np.sum(weights))
        chosen = np.where(np.array([True, False, True]), scores, -np.inf)
        np.max(chosen)
        loss.backward()
        Tensor(np.inf) * 2.0
    with quiet(), pytest.raises(StoppedError, match="nan: born"), gradviz.debugging(stop="raise"):
        shifted - shifted


def test_a_nan_beside_one_that_was_there_is_still_a_birth():
    x = Tensor([np.nan, -1.0], name="x")
    with quiet(), gradviz.debugging(stop="raise"):
        y = x * 2.0
        with pytest.raises(StoppedError, match=r"nan: born"):
            np.log(y)


def test_only_the_kinds_that_were_asked_for():
    x = Tensor([1.0, 0.0], name="x")
    with quiet(), gradviz.debugging("nan", stop="raise"):
        y = np.log(x)
        with pytest.raises(StoppedError, match="nan: born"):
            y - y
    with quiet(), gradviz.debugging(["inf"], stop="raise"):
        np.log(-1.0 - x)


def test_it_stops_at_the_backward_that_makes_it():
    x = Tensor([4.0, 0.0], name="x")

    def compute():
        y = np.sqrt(x)  # its derivative is infinite at 0
        np.sum(y).backward()

    with quiet(), pytest.raises(StoppedError) as caught, gradviz.debugging(stop="raise"):
        compute()
    message = str(caught.value)
    assert "(backward)" in message
    assert "sqrt" in message
    assert line_of("# its derivative is infinite at 0") in message.replace("tests/", "")
    assert caught.value.debugger.event.phase == "backward"
    assert np.isinf(x.grad[1])


def test_gradients_by_functions_are_watched_too():
    with quiet(), pytest.raises(StoppedError, match="sqrt"), gradviz.debugging(stop="raise"):
        gradviz.grad(np.sqrt)(0.0)
    x = Tensor(0.0, name="x")
    with quiet(), pytest.raises(StoppedError, match="sqrt"), gradviz.debugging(stop="raise"):
        np.sqrt(x).backward(create_graph=True)
    with gradviz.debugging(stop="raise"):
        assert gradviz.grad(gradviz.grad(lambda x: x**3))(2.0) == 12.0


def test_gradients_of_an_earlier_pass_are_not_blamed_on_this_one():
    x = Tensor([4.0, 1.0], name="x")
    x.grad = np.array([np.inf, 0.0])
    with gradviz.debugging(stop="raise"):
        np.sum(np.sqrt(x)).backward()
    assert np.isinf(x.grad[0])


def test_backward_from_a_given_gradient():
    x = Tensor([1.0, 2.0], name="x")
    with quiet(), pytest.raises(StoppedError, match="inf: born"), gradviz.debugging(stop="raise"):
        (x * 1e200).backward(np.array([1e200, 1.0]))
    x.zero_grad()
    with gradviz.debugging(stop="raise"):
        (x * 2.0).backward(np.array([1.0, 3.0]))
    assert x.grad.tolist() == [2.0, 6.0]


def test_a_nan_in_the_data_is_told_at_backward():
    x = np.array([1.0, np.nan])
    w = Tensor([1.0, 1.0], name="w")
    with pytest.raises(StoppedError, match="to begin with"), gradviz.debugging(stop="raise"):
        np.sum(w * x).backward()


def test_a_function_is_called_and_the_program_goes_on():
    seen = []
    x = Tensor([1.0, 0.0], name="x")
    with quiet(), gradviz.debugging(stop=seen.append):
        loss = np.sum(np.log(x))
        loss.backward()
    assert [d.birth.node.op for d in seen] == ["log"]
    assert seen[0].evaluate("x").tolist() == [1.0, 0.0]
    assert seen[0].where.phase == "forward"


@pytest.mark.parametrize(
    ("wanted", "ops"),
    [
        ("op:tanh", ["tanh"]),
        ("op:ta*", ["tanh"]),
        ("scope:enc", ["mul", "tanh"]),
        ("h", ["tanh"]),
        ("enc.h", ["tanh"]),
        ("norm(h) > 0.1", ["tanh"]),
        ("norm(h) > bound", []),
        ("over:float16", ["mul"]),
        ("zero:z", ["sub"]),
        ("norm(x.grad) > 1", ["add"]),
        ("zero:x.grad", []),
        ("x.grad", ["x"]),
        (lambda event: event.node.op == "sub", ["sub"]),
    ],
)
def test_what_else_can_be_stopped_for(wanted, ops):
    x, bound, seen = Tensor([0.5, 1.0], name="x"), 100.0, []
    with gradviz.debugging([wanted], stop=lambda d: seen.append(d.event)):
        with gradviz.scope("enc"):
            h = np.tanh(x * 1.0)
        z = h - h
        big = x * 400.0 * 400.0
        np.sum(z + h + big * 1e-5).backward()
    found = [event.node.op if event.node.kind == "op" else event.node.name for event in seen]
    if wanted in {"norm(x.grad) > 1", "x.grad"}:
        assert [event.phase for event in seen] == ["backward"]
    elif callable(wanted):
        assert found[0] == "sub"
    else:
        assert found == ops
    assert bound == 100.0


def test_what_is_about_iterations_is_refused():
    for wanted in ("loss up 5", "structure", "17.b.3", "ratio(update / param) > 0.1", "", 3, "over:int"):
        with pytest.raises(GradvizError):
            gradviz.debugging([wanted])
    with pytest.raises(GradvizValueError, match="stop="):
        gradviz.debugging(stop="never")
    with pytest.raises(GradvizTypeError, match="as a decorator"):
        gradviz.debugging(lambda: None)


def test_lines_are_stopped_at():
    x, seen = Tensor(0.5, name="x"), []
    with gradviz.debugging([line_of("# this very line")], stop=seen.append):
        y = np.tanh(x)  # this very line
        np.exp(y)
    assert [d.event.node.op for d in seen] == ["tanh"]


def test_it_nests():
    outer, inner = [], []
    x = Tensor([1.0, 0.0], name="x")
    with quiet(), gradviz.debugging("inf", stop=outer.append):
        with gradviz.debugging("op:exp", stop=inner.append):
            np.log(x)
            np.exp(x)
        np.exp(x)
    assert ([d.event.node.op for d in outer], [d.event.node.op for d in inner]) == (["log"], ["exp"])


def test_it_decorates_functions_generators_and_coroutines():
    def bad():
        return np.log(Tensor(0.0))

    @gradviz.debugging(stop="raise")
    def plain():
        return bad()

    @gradviz.debugging(stop="raise")
    def steps():
        yield 1
        yield bad()

    @gradviz.debugging(stop="raise")
    async def task():
        await asyncio.sleep(0)
        return bad()

    with quiet():
        with pytest.raises(StoppedError):
            plain()
        going = steps()
        assert next(going) == 1
        bad()  # outside of the generator nobody watches
        with pytest.raises(StoppedError):
            next(going)
        with pytest.raises(StoppedError):
            asyncio.run(task())
        bad()


def test_threads_and_tasks_have_their_own():
    x, errors = Tensor(0.0), []

    def other():
        with quiet():
            np.log(x)

    async def watched():
        with gradviz.debugging(stop="raise"):
            await asyncio.sleep(0.01)
            np.log(x)

    async def unwatched():
        await asyncio.sleep(0.005)
        return np.log(x)

    async def both():
        return await asyncio.gather(watched(), unwatched(), return_exceptions=True)

    with quiet(), gradviz.debugging(stop=errors.append):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert errors == []
    with quiet():
        first, second = asyncio.run(both())
    assert isinstance(first, StoppedError)
    assert isinstance(second, Tensor)


def test_nothing_is_left_behind_after_an_error():
    x = Tensor(0.0)
    with quiet():
        for _ in range(3):
            with pytest.raises(StoppedError), gradviz.debugging(stop="raise"):
                np.log(x)
            with pytest.raises(KeyError), gradviz.debugging(stop="raise"):
                raise KeyError("mine")
        np.log(x)
    assert modes.active == 0


def test_warnings_are_as_always():
    x = Tensor([1.0, 0.0])

    def warned(context):
        with warnings.catch_warnings(record=True) as caught, context:
            warnings.simplefilter("always")
            np.sum(np.sqrt(np.log(x) * 0.0)).backward()
            np.sum(Tensor(np.full(10_000, 1e200)) * 1.0)
        return [str(one.message) for one in caught]

    assert warned(gradviz.debugging(stop=lambda d: None)) == warned(gradviz.gc_paused()) != []


def test_inside_no_grad_it_watches_too():
    x = Tensor(0.0, name="x")
    with quiet(), pytest.raises(StoppedError), gradviz.debugging(stop="raise"), gradviz.no_grad():
        np.log(x)


def test_looking_around_does_not_stop_again():
    seen = []

    def look(d):
        seen.append(d.birth)
        d.check()
        d.blame()
        np.log(Tensor(0.0))

    with quiet(), gradviz.debugging(stop=look):
        np.log(Tensor(0.0, name="x"))
    assert len(seen) == 1


def test_the_prompt_opens_at_the_birth(typed, capsys):
    typed("p x, scale", "blame", "c", "q")
    x, scale = Tensor([1.0, 0.0], name="x"), 7.0
    with quiet(), gradviz.debugging(stop="prompt"):
        np.log(x)
        with pytest.raises(bdb.BdbQuit):
            np.log(x * scale)
    shown = capsys.readouterr().out
    assert "stopped at test_live_debugger.py" in shown
    assert "in test_the_prompt_opens_at_the_birth" in shown
    assert "stopped at" in shown
    assert "([1, 0], 7)" in shown


def test_after_detach_nothing_stops(typed):
    typed("detach")
    with quiet(), gradviz.debugging(stop="prompt"):
        for _ in range(3):
            np.log(Tensor(0.0))


# -- what is seen live is what is stepped through --------------------------------------------------

UNARY = {
    "tanh": np.tanh,
    "exp": lambda x: np.exp(x * 0.1),
    "square": lambda x: x * x,
    "neg": lambda x: -x,
    "log": np.log,
    "first": lambda x: x + x[:1] if np.ndim(x.data) else x,
    "total": lambda x: x + np.sum(x),
}
BINARY = {"add": lambda a, b: a + b, "mul": lambda a, b: a * b, "div": lambda a, b: a / b, "sub": lambda a, b: a - b}


@st.composite
def programs(draw):
    """Draw a list of instructions: an operation and the values it takes, by number."""
    count = draw(st.integers(1, 12))
    made = []
    for i in range(2, 2 + count):
        if draw(st.booleans()):
            made.append((draw(st.sampled_from(sorted(UNARY))), draw(st.integers(0, i - 1)), None))
        else:
            made.append(
                (draw(st.sampled_from(sorted(BINARY))), draw(st.integers(0, i - 1)), draw(st.integers(0, i - 1)))
            )
    return draw(st.sampled_from([(), (3,)])), made


def carried_out(shape, made):
    values = [
        Tensor(np.full(shape, 0.5) if shape else 0.5, name="a"),
        Tensor(np.full(shape, 2.0) if shape else 2.0, name="b"),
    ]
    for name, first, second in made:
        values.append(UNARY[name](values[first]) if second is None else BINARY[name](values[first], values[second]))
    result = values[0]
    for value in values[1:]:
        result = result + value
    return np.sum(result) if shape else result


@settings(deadline=None, max_examples=60)
@given(programs())
def test_events_seen_live_are_the_forward_events_of_the_debugger(program):
    seen = []

    def see(event):
        if isinstance(event, NewOp):
            seen.append(event)

    with quiet(), gradviz.debugging([see], stop="raise"):
        result = carried_out(*program)
        stepped = [step for step in gradviz.Debugger(result).cursor.steps.forward if step.node.kind == "op"]
    assert len(seen) == len(stepped)
    for live, step in zip(seen, stepped, strict=True):
        assert live.node.op == step.node.op
        assert live.node.source == step.node.source
        assert (live.node.shape, live.node.dtype, live.node.scope) == (
            step.node.shape,
            step.node.dtype,
            step.node.scope,
        )
        assert live.phase == step.phase
        assert same_bits(live.value, step.value)


# -- debug and post_mortem -------------------------------------------------------------------------


def test_debug_opens_a_tensor_and_returns_the_debugger(typed, capsys):
    typed("s", "p w, mine", "q")
    w, mine = Tensor(3.0, name="w"), 11.0
    d = gradviz.debug(w * w)
    assert isinstance(d, gradviz.Debugger)
    assert str(d.where) == "0.f.1"
    assert f"(3, {mine:g})" in capsys.readouterr().out


def test_debug_runs_a_function(typed):
    def model(x, scale=1.0):
        w = Tensor(2.0, name="w")
        return {"out": [x, (w * x - scale) ** 2]}

    def trained():
        w = Tensor(2.0, name="w")
        loss = (w - 1.0) ** 2
        loss.backward()
        w.data, w.grad = 0.0, None
        w * 2.0

    def nothing():
        return None

    typed()
    assert gradviz.debug(model, 3.0, scale=5.0).full.values[-1] == 1.0
    assert gradviz.debug(trained).graph["loss"].op == "pow"
    assert gradviz.debug(lambda: gradviz.frame(Tensor(1.0) * 2.0)).full.values[-1] == 2.0
    with pytest.raises(GradvizTypeError, match="computed with none"):
        gradviz.debug(nothing)
    with pytest.raises(GradvizTypeError):
        gradviz.debug(3.0)


def test_debug_attaches_again(typed, capsys):
    typed("detach")
    descend(2)
    typed()
    gradviz.debug(Tensor(1.0) * 2.0)
    typed("c", "c")
    capsys.readouterr()
    descend(2)
    assert capsys.readouterr().out.count("iteration") == 2


def test_post_mortem_opens_the_innermost_frame_with_tensors(typed, capsys):
    def deepest(n):
        return 1 / n

    def layer(x):
        hidden = np.tanh(x * 3.0)
        size = 0
        return hidden * deepest(size)

    def model():
        w = Tensor(2.0, name="w")
        return layer(w)

    typed("p hidden, size, w", "p x.grad", "q")
    try:
        model()
    except ZeroDivisionError:
        d = gradviz.post_mortem()
    shown = capsys.readouterr().out
    assert "ZeroDivisionError: division by zero" in shown
    assert "in layer" in shown
    assert d.event.node.name == "hidden"
    assert "0.999988" in shown


def test_post_mortem_of_a_stop_stands_at_the_birth(typed, capsys):
    typed("q")
    with quiet(), pytest.raises(StoppedError) as caught, gradviz.debugging(stop="raise"):
        np.log(Tensor(0.0, name="x"))
    d = gradviz.post_mortem(caught.value)
    assert d is caught.value.debugger
    assert d.birth.node.op == "log"


def test_post_mortem_looks_into_causes(typed, capsys):
    def step():
        hidden = Tensor(2.0, name="w") * 3.0
        return {}["missing"], hidden

    typed("p hidden", "q")
    try:
        try:
            step()
        except KeyError as error:
            raise RuntimeError("the script failed") from error
    except RuntimeError as error:
        d = gradviz.post_mortem(error)
    assert "in step" in capsys.readouterr().out
    assert d.event.node.name == "hidden"


def test_post_mortem_of_nothing():
    with pytest.raises(GradvizValueError, match="no exception"):
        gradviz.post_mortem()
    with pytest.raises(GradvizValueError, match="no frame of this KeyError"):
        gradviz.post_mortem(KeyError("x"))


# -- real programs ---------------------------------------------------------------------------------

TRAINING = """
import sys
import numpy as np
import gradviz
from gradviz import Tensor

def train(rate=0.25):
    w = Tensor(3.0, name="w")
    for epoch in range(4):
        loss = (w - 1.0) ** 2
        loss.backward()
        gradviz.breakpoint()
        w.data, w.grad = w.data - rate * w.grad, None
    return loss

print("done", float(train().data))
"""

BIRTH = """
import numpy as np
import gradviz

def layer(x):
    h = np.exp(x)
    return h / h.sum()

with np.errstate(all="ignore"), gradviz.debugging():
    w = gradviz.Tensor([1.0, 800.0], name="w")
    y = layer(w * 1.0)
    print("went on", y.data)
"""


def script(folder, text, name="train.py"):
    path = folder / name
    path.write_text(textwrap.dedent(text), "utf-8")
    return path


def test_at_a_terminal(tmp_path):
    with Terminal(script(tmp_path, TRAINING)) as terminal:
        terminal.read("(gradviz 0.b.")
        terminal.type("c\n")
        terminal.read("(gradviz 1.b.")
        terminal.type("it -1\n")
        terminal.read("(gradviz 0.b.")
        terminal.type("p w, rate, epoch\n")
        terminal.read("(3, 0.25, 1)")
        terminal.type("detach\n")
        assert terminal.wait() == 0
    assert "done 0.0625" in terminal.text


def test_pythons_own_breakpoint_can_open_it(tmp_path):
    path = script(tmp_path, TRAINING.replace("gradviz.breakpoint()", "breakpoint()"))
    done = subprocess.run(
        [sys.executable, path], input="c\np epoch, w\nq\n", capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONBREAKPOINT": "gradviz.breakpoint"},
    )  # fmt: skip
    assert "(1, 2)" in done.stdout
    assert "bdb.BdbQuit" in done.stderr


def test_quitting_at_a_terminal_ends_the_program(tmp_path):
    with Terminal(script(tmp_path, TRAINING)) as terminal:
        terminal.read("(gradviz 0.b.")
        terminal.type("q\n")
        assert terminal.wait() == 1
    assert "BdbQuit" in terminal.text
    assert "done 0" not in terminal.text
    with Terminal(script(tmp_path, TRAINING)) as terminal:
        terminal.read("(gradviz 0.b.")
        terminal.type("\x04")
        assert terminal.wait() == 1


def test_a_birth_opens_the_prompt_at_a_terminal(tmp_path):
    with Terminal(script(tmp_path, BIRTH)) as terminal:
        terminal.read("(gradviz 0.f.")
        assert "stopped at train.py:6 in layer" in terminal.text
        assert "inf: born at" in terminal.text
        terminal.type("p x\n")
        terminal.read("[1, 800]")
        terminal.type("c\n")
        terminal.read("nan: born at")
        terminal.type("c\n")
        assert terminal.wait() == 0
    assert "went on" in terminal.text


def piped(path, commands=""):
    return subprocess.run(
        [sys.executable, path], input=commands, capture_output=True, text=True, timeout=60, check=False
    )


def test_in_a_pipe(tmp_path):
    done = piped(script(tmp_path, TRAINING), "c\np w.grad\nc\n")
    assert done.returncode == 0, done.stderr
    assert "(gradviz 1.b." in done.stdout
    assert "done 0.0625" in done.stdout
    failed = piped(script(tmp_path, TRAINING), "q\n")
    assert failed.returncode == 1
    assert "bdb.BdbQuit" in failed.stderr


def test_without_a_terminal_a_birth_is_an_error(tmp_path):
    done = piped(script(tmp_path, BIRTH))
    assert done.returncode == 1
    assert "StoppedError: inf: born at" in done.stderr
    assert "train.py:6" in done.stderr


def test_the_transcript_in_the_docs_is_what_is_shown():
    path = Path(gradviz.__file__).parent.parent / "docs" / "live.py"
    spec = importlib.util.spec_from_file_location("live_page", path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert made.page() == made.PAGE.read_text("utf-8")


def test_under_pytest_with_its_output_captured(tmp_path):
    script(tmp_path, "import numpy as np\nimport gradviz\n" + textwrap.dedent("""
        def test_it():
            w = gradviz.Tensor(3.0, name="w")
            for _ in range(3):
                loss = w * w
                gradviz.breakpoint()
            with np.errstate(all="ignore"):
                try:
                    with gradviz.debugging():
                        np.log(w - 3.0)
                except FloatingPointError as error:
                    assert "log" in str(error)
                else:
                    raise AssertionError
    """), "test_inner.py")  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_inner.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
