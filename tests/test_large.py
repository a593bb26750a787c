"""Graphs of many nodes: what is built, said and written of them."""

from __future__ import annotations

import pytest

import gradviz
from gradviz.graphs import Frame, Graph

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


def test_json_gives_the_frame_back(large: Frame) -> None:
    assert Frame.from_json(large.to_json()) == large
