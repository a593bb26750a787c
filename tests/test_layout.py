"""Graphs too large for Graphviz: places by scope, and the pictures made of them."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings

from gradviz import draw
from gradviz.graphs import Frame, Graph, Node
from gradviz.views.large import large_svg
from gradviz.views.layout import placed
from tests import strategies

SVG = "{http://www.w3.org/2000/svg}"


def blocks(count, name="block"):
    """Return a chain of equal blocks of four nodes, each in a scope in a scope."""
    nodes = [Node(0, "x", "input", "input")]
    for i in range(count):
        outer, inner, last = ("net", f"{name}{i}"), ("net", f"{name}{i}", "cell"), len(nodes) - 1
        nodes.append(Node(last + 1, f"w_{i}", "param", "param", scope=inner))
        nodes.append(Node(last + 2, f"mul_{i}", "mul", "op", (last, last + 1), scope=inner))
        nodes.append(Node(last + 3, f"tanh_{i}", "tanh", "op", (last + 2,), scope=inner))
        nodes.append(Node(last + 4, f"add_{i}", "add", "op", (last + 3, last), scope=outer))
    return Graph(tuple(nodes), (len(nodes) - 1,))


def overlap(one, other):
    return all(one[i] < other[i] + other[i + 2] and other[i] < one[i] + one[i + 2] for i in (0, 1))


@pytest.mark.parametrize("count", [1, 3, 40])
def test_no_two_boxes_overlap_and_each_lies_in_its_scope(count):
    graph = blocks(count)
    found = placed(graph, [(30.0, 14.0)] * len(graph))
    boxes = [(*corner, 30.0, 14.0) for corner in found.nodes]
    assert not any(overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i])
    for node, (x, y, width, height) in zip(graph.nodes, boxes, strict=True):
        for length in range(1, len(node.scope) + 1):
            left, top, across, down = found.scopes[node.scope[:length]]
            assert left <= x
            assert top <= y
            assert x + width <= left + across
            assert y + height <= top + down
    assert all(x + width <= found.size[0] and y + height <= found.size[1] for x, y, width, height in boxes)


def test_equal_scopes_are_laid_out_once():
    graph = blocks(5000)
    assert placed(graph, [(30.0, 14.0)] * len(graph)).plans <= 5


def test_operands_stand_before_results_where_nothing_is_wrapped():
    graph = blocks(2)
    found = placed(graph, [(30.0, 14.0)] * len(graph))
    assert all(found.nodes[src][0] < found.nodes[dst][0] for src, dst, _ in graph.edges)


@settings(max_examples=40, deadline=None)
@given(strategies.graphs())
def test_any_graph_has_places(graph):
    found = placed(graph, [(24.0, 14.0)] * len(graph))
    assert len(set(found.nodes)) == len(graph)


@pytest.mark.parametrize("count", [0, 1])
def test_tiny_graphs(count):
    graph = Graph(tuple(Node(i, f"x_{i}", "input", "input") for i in range(count)))
    assert len(placed(graph, [(24.0, 14.0)] * count).nodes) == count


def test_a_large_picture_is_whole_named_and_the_same_each_time():
    graph = blocks(1000, "<b>&")
    numbers = [float(i) for i in range(len(graph))]
    frame = Frame(graph, numbers, [*numbers[:-1], float("nan")])
    svg = draw(frame, fold=False).svg
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    assert "by scope" in root.findtext(f"{SVG}desc")
    assert len(root.findall(f"{SVG}rect")) == len(graph) + 2001
    assert root.findall(f"{SVG}text")[1].text == "<b>&0"
    assert "prefers-color-scheme:dark" in svg
    assert svg == draw(frame, fold=False).svg
    assert draw(frame, fold=False, theme="dark").svg != svg


def test_a_chain_without_scopes_is_wrapped_like_text():
    nodes = [Node(0, "x", "input", "input")]
    nodes += [Node(i, f"sin_{i}", "sin", "op", (i - 1,)) for i in range(1, 20_000)]
    root = ET.fromstring(large_svg(draw(Graph(tuple(nodes), (19_999,)), fold=False)))
    assert 0.5 < float(root.get("width")) / float(root.get("height")) < 4
