"""Graphs of many nodes: what is built, said and written of them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import gradviz
from gradviz.errors import GradvizValueError, GraphError
from gradviz.graphs import Frame, Graph, Node, Source

OPS = 20_000


@pytest.fixture(scope="module")
def large() -> Frame:
    """Return the frame of a chain of 20,000 multiplications and additions."""
    x = gradviz.Tensor(1.0, name="x")
    y = x
    for _ in range(OPS // 2):
        y = y * 0.5 + x
    y.backward()
    return gradviz.frame(y)


def test_every_op_is_in_the_graph(large: Frame) -> None:
    assert sum(node.kind == "op" for node in large.graph.nodes) == OPS
    assert large.graph.check() is large.graph
    assert large.value(large.graph.outputs[0]) == pytest.approx(2.0)
    assert large.grad("x") == pytest.approx(2.0)


def test_text_is_bounded_and_says_what_is_missing(large: Frame) -> None:
    for thing in (large, large.graph):
        lines = str(thing).splitlines()
        assert len(lines) == 102
        assert lines[50] == f"... {len(large.graph) - 100:,} more ..."
        assert lines[-1].startswith("-> ")
        assert lines[-2].startswith(large.graph.nodes[-1].name)
    assert len(repr(large)) < 200
    assert f"{len(large.graph.edges)} edges" in repr(large.graph)


def test_a_thousand_nodes_are_listed_in_full(large: Frame) -> None:
    assert len(str(Graph(large.graph.nodes[:1000])).splitlines()) == 1001


def test_a_summary_has_a_row_for_each_op_and_line(large: Frame) -> None:
    lines = large.summary().splitlines()
    assert lines[0].split()[:2] == ["op", "nodes"]
    assert {line.split()[0] for line in lines[1:3]} <= {"add", "mul", "const"}
    assert lines[-1].startswith(f"{len(large.graph):,} nodes in ")
    assert "test_large.py" in large.summary("line")
    assert "(none)" in large.summary("scope")
    with pytest.raises(GradvizValueError, match="not by 'size'"):
        large.summary("size")


def test_a_summary_counts_what_is_not_finite_and_is_bounded() -> None:
    nan = Graph(tuple(Node(i, f"x{i}", f"op{i}", "input") for i in range(100)))
    lines = Frame(nan, [float("nan"), *[np.ones(2)] * 99], [None] * 100).summary().splitlines()
    assert lines[1].split() == ["op0", "1", "none", "none", "none", "1"]
    assert lines[-2:] == ["... 60 more ...", "100 nodes in 100 groups"]
    assert Frame(Graph(()), [], []).summary().endswith("0 nodes in 0 groups")


def test_signalling_nans_warn_nobody() -> None:
    raw = np.frombuffer(np.full(3000, 0x7FA00000, "<u4").tobytes(), "<f4")
    frame = Frame(
        Graph(tuple(Node(i, f"x{i}", "input", "input", shape=(3000,)) for i in range(3))), [raw] * 3, [raw] * 3
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "18,000" in frame.summary()
        assert "NaN" in gradviz.draw(frame, engine="scope").svg
        assert "nan" in str(frame)


def test_json_gives_the_frame_back(large: Frame) -> None:
    assert Frame.from_json(large.to_json()) == large


def test_a_graph_without_numbers_is_summed_up_by_size() -> None:
    nodes = (Node(0, "w", "param", "param", shape=(20, 30)), Node(1, "x", "input", "input", scope=("net",)))
    lines = Graph(nodes).summary().splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["op", "nodes", "elements"],
        ["param", "1", "600"],
        ["input", "1", "1"],
    ]
    assert "net" in Graph(nodes).summary("scope")


def test_what_many_nodes_share_is_one_object_again_after_json(large: Frame) -> None:
    again = Frame.from_json(large.to_json())
    for name in ("source", "formulas", "scope"):
        kept = [getattr(node, name) for node in again.graph]
        assert len({id(one) for one in kept}) == len(set(kept)) < 10


def test_rows_that_only_look_right_are_still_refused() -> None:
    good = Graph((Node(0, "x", "input", "input", source=Source("a.py", 1)), Node(1, "y", "sin", "op", (0,)))).to_json()
    for right, wrong in (
        ('"line":1', '"line":true'),
        ('"id":1', '"id":true'),
        ('"inputs":[0]', '"inputs":[false]'),
        ('"inputs":[0]', '"inputs":{"0":0}'),
        ('"inputs":[0]', '"inputs":"0"'),
        ('"name":"y"', '"name":["y"]'),
        ('"file":"a.py"', '"file":["a.py"]'),
        ('"op":"sin"', '"op":"sin","scope":[["a"]]'),
        ('"op":"sin"', '"op":"sin","shape":[1.0]'),
        ('"op":"sin"', '"op":"sin","extra":1'),
    ):
        assert right in good
        after = ',{"id":2,"name":"z","op":"input","kind":"input","source":{"file":"a.py","line":1}}'
        both = good.replace("\n]}", f"{after}\n]}}")  # of this source line one is known already
        for text in (good, both):
            with pytest.raises(GraphError, match=r"cannot be|is no field|not an object"):
                Graph.from_json(wrong.join(text.rsplit(right, 1)))
