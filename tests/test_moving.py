"""Moving: lines, scopes, phases and iterations, both ways; breakpoints; runs that grow, have gaps, or are damaged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradviz
from gradviz.debugger.debugger import Debugger
from gradviz.debugger.positions import Position
from gradviz.errors import GradvizIndexError, GradvizTypeError, GradvizValueError, UnknownNameError
from gradviz.graphs import Frame, Graph, Node, Source
from tests.runs import recorded

SCOPES = [(), ("enc",), ("enc", "l1"), ("dec",)]


def program(lines):
    """Return the frame of a program: of every op its scope and its line, None for one without a line."""
    nodes = [Node(0, "x", "input", "input")]
    for i, (scope, line) in enumerate(lines, 1):
        source = None if line is None else Source("a.py", line)
        nodes.append(Node(i, f"n{i}", "neg", "op", (i - 1,), scope=scope, source=source))
    size = len(nodes)
    return Frame(Graph(tuple(nodes), (size - 1,)).check(), [1.0] * size, [None] + [1.0] * (size - 1))


def walked(move, times):
    return [str(move()) for _ in range(times)]


def test_lines_and_scopes_both_ways():
    enc, inner = ("enc",), ("enc", "l1")
    d = Debugger(program([((), 1), ((), 1), (enc, 7), (inner, 9), (inner, 9), (enc, 7), (enc, 8), ((), 2), ((), 2)]))
    assert walked(d.next, 4) == ["0.f.1", "0.f.8", "0.b.0", "0.b.7"]
    assert walked(d.next_back, 4) == ["0.b.0", "0.f.8", "0.f.1", "0.f.0"]
    d.seek("f.3")
    assert walked(d.next, 2) == ["0.f.7", "0.f.8"]
    d.seek("f.7")
    assert str(d.next_back()) == "0.f.3"
    d.seek("f.4")
    assert str(d.finish()) == "0.f.6"
    assert str(d.finish()) == "0.f.8"
    assert str(d.finish()) == "0.b.0"
    d.seek("f.5")
    assert str(d.finish_back()) == "0.f.3"
    assert str(d.finish_back()) == "0.f.2"
    assert str(d.finish_back()) == "0.f.0"


def test_numbers_in_an_expression_are_no_lines_of_their_own():
    line = Source("a.py", 3)
    nodes = (
        Node(0, "x", "param", "param", source=Source("a.py", 1)),
        Node(1, "two", "const", "const"),
        Node(2, "y", "mul", "op", (0, 1), source=line),
        Node(3, "one", "const", "const"),
        Node(4, "z", "add", "op", (2, 3), source=line),
        Node(5, "e", "neg", "op", (4,), source=Source("a.py", 4)),
    )
    d = Debugger(Frame(Graph(nodes, (5,)), [1.0] * 6, [None] * 6))
    assert walked(d.next, 3) == ["0.f.2", "0.f.5", "0.f.5"]
    assert walked(d.next_back, 3) == ["0.f.2", "0.f.0", "0.f.0"]


@given(st.lists(st.tuples(st.sampled_from(SCOPES), st.none() | st.integers(1, 3)), min_size=1, max_size=14))
def test_next_back_undoes_next_within_a_scope(lines):
    frame = program(lines)
    d = Debugger(frame)
    for start in range(2 * len(frame.graph) - 1):
        d.seek("f.0")
        d.step(start)
        before, scope, source = d.where, d.event.node.scope, d.event.node.source
        there = d.next()
        if there[:2] != before[:2] or d.event.node.scope != scope or there == before or d.at_end:
            continue
        back = d.next_back()
        assert (d.event.node.scope, str(d.event.node.source)) == (scope, str(source))
        assert back <= before
        assert d.next() == there


@given(st.lists(st.tuples(st.sampled_from(SCOPES), st.none() | st.integers(1, 3)), min_size=1, max_size=14))
def test_every_move_ends_and_goes_its_way(lines):
    d = Debugger(program(lines))
    for move, back in ((d.next, d.next_back), (d.finish, d.finish_back)):
        while not d.at_end:
            before = d.where
            assert move() > before
        assert move() == d.where
        while not d.at_start:
            before = d.where
            assert back() < before
        assert back() == d.where


def test_seek_says_what_is_wrong():
    d = Debugger(program([((), 1)]))
    for wrong, error in [
        ("zz", GradvizValueError), ("3.b.1", UnknownNameError), ("b.99", GradvizIndexError), ("u.0", GradvizIndexError),
        (17, GradvizTypeError), (Position(0, "sideways", 0), GradvizValueError), ("9" * 5000, GradvizValueError),
        ("f.-1", GradvizValueError), ("", GradvizValueError), ("\u0661.b.1", GradvizValueError),
    ]:  # fmt: skip
        with pytest.raises(error):
            d.seek(wrong)
    with pytest.raises(GradvizIndexError):
        d.seek(op=-1)
    with pytest.raises(GradvizValueError):
        d.phase("later")
    assert str(d.where) == "0.f.0"
    assert str(d.seek(phase="b", op=0)) == "0.b.0"
    assert str(d.seek(op=0)) == "0.b.0"


def test_iterations(tmp_path):
    d = Debugger(gradviz.open_run(recorded("gaps", tmp_path / "run")))
    assert [str(d.seek("5.b.1")), str(d.it("+3")), str(d.it(" -6 ")), str(d.it(71)), str(d.it("71"))] == [
        "5.b.1", "8.b.1", "2.b.1", "71.b.1", "71.b.1",
    ]  # fmt: skip
    d.seek("5.u.0")
    assert str(d.it(71)) == "71.f.0"
    for wrong in ("+1", 3, "-100", 10**20):
        with pytest.raises(UnknownNameError, match="there is no iteration"):
            d.it(wrong)
    for wrong in ("x", "", None, "+"):
        with pytest.raises(GradvizValueError, match="is no iteration"):
            d.it(wrong)


def test_breakpoints_are_counted_ignored_switched_off_and_used_up():
    d = Debugger([program([((), 1)])] * 5)
    always, once, off = d.break_at("n1"), d.break_at("op:neg", temporary=True), d.break_at("n1")
    off.is_enabled, always.ignore = False, 2
    assert str(d.run()) == "0.f.1"
    assert (d.stop.breakpoint, always.ignore, list(d.breakpoints)) == (once, 1, [1, 3])
    assert str(d.run()) == "1.f.1"
    assert (always.hits, always.ignore, off.hits) == (3, 0, 0)
    assert str(always) == "breakpoint 1 at n1, hit 3 times"
    assert str(d.run(until="2.f.0")) == "1.b.0"
    assert str(d.run(until="2.f.0")) == "2.f.0"
    assert (d.stop.reason, d.stop.breakpoint, d.stop.is_end) == ("until 2.f.0", None, False)
    d.clear()
    assert str(d.run()) == "4.b.0"
    assert (d.stop.reason, d.stop.is_end) == ("the end of the history", True)
    assert str(d.run_back(lambda event: event.node.name == "x")) == "4.f.0"
    assert str(d.run_back()) == "0.f.0"
    assert d.stop.reason == "the start of the history"
    assert d.break_at("x").number == 1
    with pytest.raises(UnknownNameError):
        d.clear(7)


def test_all_temporary_breakpoints_that_are_hit_are_used_up():
    d = Debugger(program([((), 1)]))
    d.break_at("n1")
    d.break_at("n1", temporary=True)
    d.run()
    assert list(d.breakpoints) == [1]
