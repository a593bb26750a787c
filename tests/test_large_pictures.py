"""Graphs too large for Graphviz: places by scope, and the pictures made of them."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradviz import draw
from gradviz.graphs import Frame, Graph, Node, Source
from gradviz.style import wording
from gradviz.transforms.hashing import edge_arrays
from gradviz.views.large.columns import Spacing, arranged
from gradviz.views.large.placing import placed
from gradviz.views.large.rounds import scopes_of
from gradviz.views.large.sheet import Sheet, levels, text_widths
from gradviz.views.large.svg import large_svg
from gradviz.views.painting import text_width
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


def chain(count):
    """Return a chain of ops without scopes."""
    nodes = [Node(0, "x", "input", "input")]
    nodes += [Node(i, f"sin_{i}", "sin", "op", (i - 1,)) for i in range(1, count)]
    return Graph(tuple(nodes), (count - 1,))


def places(graph, width=30.0):
    src, dst, _ = edge_arrays(graph)
    return placed([node.scope for node in graph.nodes], src, dst, np.full((len(graph), 2), [width, 14.0]))


def overlap(one, other):
    return all(one[i] < other[i] + other[i + 2] and other[i] < one[i] + one[i + 2] for i in (0, 1))


@pytest.mark.parametrize("count", [1, 3, 40])
def test_no_two_boxes_overlap_and_each_lies_in_its_scope(count):
    graph = blocks(count)
    found = places(graph)
    scopes = dict(zip(found.nesting.paths, found.boxes.tolist(), strict=True))
    boxes = [(*corner, 30.0, 14.0) for corner in found.corners.tolist()]
    assert not any(overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i])
    for node, (x, y, width, height) in zip(graph.nodes, boxes, strict=True):
        for length in range(len(node.scope) + 1):
            left, top, across, down = scopes[node.scope[:length]]
            assert left <= x
            assert top <= y
            assert x + width <= left + across
            assert y + height <= top + down


def test_equal_scopes_are_laid_out_once():
    assert places(blocks(5000)).plans <= 5


def test_operands_stand_before_results_where_nothing_is_wrapped():
    graph = blocks(2)
    found = places(graph)
    assert all(found.corners[src, 0] < found.corners[dst, 0] for src, dst, _ in graph.edges)


def test_an_edge_to_another_row_turns_between_the_rows():
    found = places(chain(200))
    assert 3 < len(found.routes.edges) < 30
    assert np.diff(found.routes.starts).tolist() == [4] * len(found.routes.edges)
    along = found.routes.points[1::4, 1]
    assert (found.corners[found.routes.edges, 1] + 14 < along).all()
    assert (along < found.corners[found.routes.edges + 1, 1]).all()
    lies_on = (found.corners[:, 1, None] < along) & (found.corners[:, 1, None] + 14 > along)
    assert not lies_on.any()


def test_a_long_edge_is_led_past_the_boxes_between_its_ends():
    nodes = [Node(0, "x", "input", "input")]
    nodes += [Node(i, f"sin_{i}", "sin", "op", (i - 1,)) for i in range(1, 6)]
    nodes.append(Node(6, "sum", "add", "op", (5, 0)))
    found = places(Graph(tuple(nodes), (6,)))
    (edge,) = found.routes.edges.tolist()
    assert Graph(tuple(nodes)).edges[edge] == (0, 6, 1)
    heights = found.routes.points[:, 1]
    assert len(heights) == 10
    for node in range(1, 6):
        top = found.corners[node, 1]
        assert all(y < top or y > top + 14 for y in heights[2 * node - 2 : 2 * node])


@settings(max_examples=40, deadline=None)
@given(strategies.graphs())
def test_any_graph_has_places(graph):
    assert len(set(map(tuple, places(graph).corners.tolist()))) == len(graph)


@pytest.mark.parametrize("count", [0, 1])
def test_tiny_graphs(count):
    assert len(places(Graph(tuple(Node(i, f"x_{i}", "input", "input") for i in range(count)))).corners) == count


def test_scopes_may_lie_as_deep_in_each_other_as_they_like():
    deep = Node(0, "x", "input", "input", scope=tuple(f"s{i}" for i in range(3000)))
    found = places(Graph((deep, Node(1, "y", "sin", "op", (0,)))))
    assert len(found.nesting.paths) == 3001
    assert found.corners[0, 0] > 3000


def test_columns_are_sorted_so_that_lines_do_not_cross():
    links = [[3, 4], [2, 5], [1, 6], [0, 7]]
    plan = arranged(np.full((8, 2), 10.0), np.array(links), Spacing())
    heights = plan.corners[:, 1]
    pairs = sorted(links, key=lambda link: heights[link[0]])
    assert sorted(heights[b] for _, b in pairs) == [heights[b] for _, b in pairs]


def test_levels_are_those_of_other_pictures():
    sizes = [-10.0, 10.0, 5.0, 4.9, 1.0, -0.99, 0.1, 0.099, 1e-30, 0.0, float("inf"), float("nan")]
    assert levels(np.array(sizes)).tolist() == [wording.level(size, 10.0) for size in sizes]


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_texts_are_as_wide_as_other_pictures_take_them(name):
    assert text_widths([name, "x"], 8.0)[0] == pytest.approx(text_width(name, 8.0))


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
    root = ET.fromstring(large_svg(draw(chain(20_000), fold=False)))
    assert 0.5 < float(root.get("width")) / float(root.get("height")) < 4


def loop(rounds):
    """Return the sum of (w * x_i - 1) ** 2 over rounds, every op by the line that made it, without scopes."""
    nodes = [Node(0, "w", "param", "param"), Node(1, "one", "const", "const")]

    def add(op, line, *inputs, kind="op"):
        nodes.append(Node(len(nodes), f"{op}_{len(nodes)}", op, kind, inputs, source=Source("fit.py", line)))
        return len(nodes) - 1

    total = add("zero", 3, kind="const")
    for _ in range(rounds):
        product = add("mul", 5, 0, add("x", 4, kind="input"))
        total = add("add", 7, total, add("square", 6, add("sub", 6, product, 1)))
    return Frame(Graph(tuple(nodes), (total,)).check(), [1.0] * len(nodes), [1.0] * len(nodes))


def test_a_program_without_scopes_gets_the_rounds_of_its_loops():
    frame = loop(500)
    found = scopes_of(frame)
    assert found[0] == ()
    rounds = {scope for scope in found if scope}
    assert len(rounds) == 500
    assert ("×500 fit.py:5-7", "round 17") in rounds
    src, dst, _ = edge_arrays(frame.graph)
    assert placed(found, src, dst, np.full((len(found), 2), [48.0, 14.0])).plans < 8


def test_rounds_of_one_node_are_no_boxes():
    graph = chain(100)
    assert set(scopes_of(Frame(graph, [None] * 100, [None] * 100))) == {()}


def test_long_lines_of_what_is_used_everywhere_are_short_pieces_and_the_picture_says_so():
    frame = loop(500)
    sheet = Sheet(frame)
    assert 800 < sheet.stubs.sum() <= 1000
    assert set(sheet.src[sheet.stubs].tolist()) == {0, 1}
    root = ET.fromstring(draw(frame, fold=False).svg)
    paths = [path.get("d") for path in root.iter(f"{SVG}path")]
    assert len(paths) == len(sheet.src)
    assert sum(re.fullmatch(r"M-?\d+,\d+H\d+", path) is not None for path in paths) == sheet.stubs.sum()
    assert "used more than 12 times" in root.findtext(f"{SVG}desc")
    few = Sheet(loop(5))
    assert not few.stubs.any()
