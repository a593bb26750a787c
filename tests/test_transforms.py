"""Focus, collapse and fold: small, lawful, and with the right numbers."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradviz import draw
from gradviz.errors import UnknownNameError
from gradviz.graphs import EdgeTable, Frame, Graph, Node, Source
from gradviz.style import Options
from gradviz.transforms import collapse, focus, fold, fold_blocks, images
from gradviz.views.cards import cards
from tests.pictures import article, network, samples


def names(frame):
    return [node.name for node in frame.graph]


def test_focus_keeps_what_leads_there_and_what_follows():
    assert names(focus(article(), "e")) == ["a", "b", "add", "const_1", "c", "e", "f"]
    assert names(focus(article(), "e", 1)) == ["c", "e", "f"]
    assert names(focus(article(), 6, 0)) == ["e"]


def test_focus_keeps_numbers_and_edge_numbers_with_their_nodes():
    whole, part = article(), focus(article(), "d", 1)
    assert names(part) == ["a", "b", "d", "f"]
    assert part.value("d") == whole.value("d")
    assert part.edge_grad("a", "d") == whole.edge_grad("a", "d") == 3.0
    assert part.local("b", "d") == 2.0
    assert part.graph.formula("d", 0) == "b"


def test_a_formula_names_an_operand_that_is_cut_off():
    part = focus(article(), "a", 1)
    assert names(part) == ["a", "add", "d"]
    assert part.graph.formula("d", 0) == "b"


def test_focus_without_the_result_makes_the_ends_results():
    part = focus(article(), "a", 1)
    assert [part.graph.nodes[i].name for i in part.graph.outputs] == ["add", "d"]


def test_focus_on_an_unknown_name_suggests_a_known_one():
    with pytest.raises(UnknownNameError, match="did you mean add"):
        focus(article(), "adds")


def test_collapse_closes_scopes_at_the_depth_asked_for():
    assert "encoder" in names(collapse(network(), 0))
    inner = collapse(network(), 1)
    assert names(inner)[:3] == ["x", "layer1", "log_h"] or "layer1" in names(inner)
    assert inner.graph["layer1"].scope == ("encoder",)
    assert inner.graph["layer1"].op == "scope"
    assert collapse(network(), 2) == network()


def test_one_scope_is_opened_while_the_others_stay_closed():
    closed, opened = collapse(network(), 0), collapse(network(), 0, opened={("encoder",)})
    assert "encoder" in names(closed)
    assert "encoder" not in names(opened)
    assert opened.graph["layer1"].scope == ("encoder",)
    assert collapse(network(), 0, opened={("encoder",), ("encoder", "layer1")}).graph.fingerprint() == (
        collapse(network(), 1, opened=[("encoder", "layer1")]).graph.fingerprint()
    )


def test_a_closed_scope_shows_its_only_result():
    small = collapse(network(), 1)
    assert np.array_equal(small.value("layer1"), network().value("h"))
    assert small.graph["layer1"].attrs["inside"] == 3


def test_contributions_into_a_closed_scope_are_added_up():
    nodes = (
        Node(0, "x", "param", "param"),
        Node(1, "y", "mul", "op", (0, 0), scope=("net",)),
        Node(2, "z", "mul", "op", (1, 0), scope=("net",)),
    )
    edges = EdgeTable({(0, 1, 0): 1.0, (0, 1, 1): 2.0, (0, 2, 1): 4.0}, {})
    small = collapse(Frame(Graph(nodes, (2,)), [1.0] * 3, [7.0, 1.0, 1.0], edges), 0)
    assert names(small) == ["x", "net"]
    assert small.edge_grad("x", "net") == 7.0


def test_a_scope_that_is_left_and_entered_again_becomes_two():
    nodes = (
        Node(0, "x", "input", "input"),
        Node(1, "a", "sin", "op", (0,), scope=("net",)),
        Node(2, "outside", "cos", "op", (1,)),
        Node(3, "b", "add", "op", (1, 2), scope=("net",)),
    )
    small = collapse(Frame(Graph(nodes, (3,)), [None] * 4, [None] * 4), 0)
    small.graph.check()
    assert names(small) == ["x", "net", "outside", "net (2)"]


def test_a_scope_entered_late_from_elsewhere_stays_whole():
    nodes = (
        Node(0, "x", "input", "input"),
        Node(1, "early", "sin", "op", (0,), scope=("net",)),
        Node(2, "m", "cos", "op", (0,), scope=("memory",)),
        Node(3, "late", "add", "op", (1, 2), scope=("net",)),
    )
    small = collapse(Frame(Graph(nodes, (3,)), [None] * 4, [None] * 4), 0)
    assert names(small) == ["x", "memory", "net"]


def test_a_loop_over_samples_is_drawn_once():
    small = fold(samples(100))
    small.graph.check()
    assert names(small) == ["w", "b", "start", "x", "mul", "p", "e", "add", "loss"]
    assert small.graph["p"].attrs["folded"] == 100
    attrs = small.graph["add"].attrs
    assert (attrs["folded"], attrs["carried"], attrs["rounds"]) == (99, (small.graph["add"].id,), ((1, 100),))


def test_folded_numbers_are_those_of_all_rounds():
    whole, small = samples(100), fold(samples(100))
    assert np.array_equal(small.value("p"), [whole.value(f"p_{i}") for i in range(100)])
    assert small.value("loss") == whole.value("loss")
    assert small.graph["p"].shape == (100,)


def test_a_state_that_goes_round_the_loop_is_carried():
    small = fold(samples(50, rnn=True))
    small.graph.check()
    carried = {node.name: node.attrs["carried"] for node in small.graph if "carried" in node.attrs}
    assert small.graph["add"].id in {id for ids in carried.values() for id in ids}


def test_one_round_less_than_the_fewest_is_left_alone():
    whole = samples(3)
    assert fold(whole, fewest=9) is whole


def test_results_are_never_folded_away():
    source = Source("a.py", 1, 0, 5)
    nodes = [Node(0, "x", "input", "input"), *(Node(i, f"y_{i}", "sin", "op", (0,), source=source) for i in (1, 2, 3))]
    whole = Frame(Graph(tuple(nodes), (1, 2, 3)), [1.0] * 4, [None] * 4)
    assert fold(whole) is whole


def test_a_million_links_fold_into_one():
    source = Source("a.py", 1, 0, 5)
    count = 200_000
    nodes = [Node(0, "x", "input", "input")]
    nodes += [Node(i, f"x_{i}", "mul", "op", (i - 1,), source=source) for i in range(1, count)]
    small = fold(Frame(Graph(tuple(nodes), (count - 1,)), [1.0] * count, [None] * count))
    assert [node.attrs.get("folded") for node in small.graph] == [None, count - 2, None]


def test_images_follow_nodes_through_several_transforms():
    whole = article()
    part = collapse(focus(whole, "c"), 0)
    places = images(whole, part)
    assert [part.graph.nodes[place].name if place is not None else None for place in places] == [
        "a", "b", "add", "const_1", "c", None, "e", "f",
    ]  # fmt: skip


def layers(widths, name="layers"):
    """A network of layers, each of a parameter, a product and a sine, with a shortcut around it."""
    nodes = [Node(0, "x", "input", "input", shape=(widths[0],))]
    state = 0
    for layer, width in enumerate(widths):
        scope, i, shape = (name, str(layer)), len(nodes), (width,)
        nodes.append(Node(i, f"{name}.{layer}.lin.w", "param", "param", shape=shape, scope=(*scope, "lin")))
        nodes.append(Node(i + 1, f"{name}.{layer}.lin", "mul", "op", (state, i), shape, scope=(*scope, "lin")))
        nodes.append(Node(i + 2, f"sin_{layer}", "sin", "op", (i + 1,), shape, scope=scope))
        nodes.append(Node(i + 3, f"add_{layer}", "add", "op", (i + 2, state), shape, scope=scope))
        state = i + 3
    nodes.append(Node(len(nodes), "loss", "sum", "op", (state,)))
    graph = Graph(tuple(nodes), (len(nodes) - 1,)).check()
    values = [np.full(node.shape, float(node.id)) for node in nodes]
    return Frame(graph, values, values, EdgeTable(dict.fromkeys(graph.edges, 1.0), {}))


def test_equal_layers_are_drawn_once():
    whole = layers([4] * 12)
    small = fold_blocks(whole)
    small.graph.check()
    assert names(small) == ["x", "layers.0 … 11.lin.w", "layers.0 … 11.lin", "sin", "add", "loss"]
    lin, add = small.graph["layers.0 … 11.lin"], small.graph["add"]
    assert lin.scope == ("layers", "0 … 11", "lin")
    assert lin.shape == (12, 4)
    assert (lin.attrs["folded"], lin.attrs["carried"], lin.attrs["rounds"]) == (12, (add.id,), ((2, 12),))
    assert lin.attrs["fold"] == ("layers.0 … 11",)
    assert np.array_equal(small.value(lin), [whole.value(f"layers.{i}.lin") for i in range(12)])
    assert small.edge_grad("layers.0 … 11.lin", "sin").tolist() == [1.0] * 12


def test_only_equal_layers_in_a_row_are_one():
    found = fold_blocks(layers([4, 4, 4, 8, 8, 8, 8])).graph.find(op="sin")
    assert [node.attrs["folded"] for node in found] == [3, 4]
    whole = layers([4, 4])
    assert fold_blocks(whole) is whole
    assert len(fold_blocks(whole, 2).graph) == 6


def test_layers_that_take_turns_are_two():
    small = fold_blocks(layers([4, 8] * 4))
    small.graph.check()
    assert small.graph["layers.0, 2 … 6.lin"].attrs["folded"] == 4
    assert small.graph["layers.1, 3 … 7.lin"].attrs["folded"] == 4


def test_a_layer_to_keep_and_one_that_is_pending_stand_apart():
    whole = layers([4] * 9)
    kept = whole.graph["sin_2"].id
    assert "sin_2" in fold_blocks(whole, keep=[kept]).graph
    values = [None if node.id > whole.graph["add_4"].id else 1.0 for node in whole.graph]
    half = fold_blocks(Frame(whole.graph, values, [None] * len(values)))
    assert [node.attrs["folded"] for node in half.graph if node.op == "sin"] == [5, 4]


def test_names_with_a_word_are_blocks_only_if_there_is_something_in_them():
    nodes = [Node(0, "x", "input", "input")]
    nodes += [Node(i, f"norm{i}", "sin", "op", (i - 1,), scope=("net", f"norm{i}")) for i in range(1, 6)]
    whole = Frame(Graph((*nodes, Node(6, "y", "sum", "op", (5,))), (6,)), [None] * 7, [None] * 7)
    assert fold_blocks(whole) is whole


def test_a_closed_block_says_how_often_it_is_there_and_what_it_hands_on():
    small = collapse(fold_blocks(layers([4] * 12)), 1)
    small.graph.check()
    block = small.graph["layers.0 … 11"]
    assert block.scope == ("layers",)
    assert block.attrs == {"inside": 4, "folded": 12, "carried": (block.id,)}
    assert small.value(block).shape == (12, 4)
    opened = collapse(fold_blocks(layers([4] * 12)), 2)
    assert names(opened) == ["x", "lin", "sin", "add", "loss"]
    assert opened.graph["lin"].attrs["carried"] == (opened.graph["add"].id,)


def test_a_picture_of_equal_layers_is_closed_after_it_is_folded():
    picture = draw(layers([4] * 12), fold=True, collapse=1, style="compact")
    shown = re.sub("<[^>]*>", "", picture.svg)
    assert "layers.0 … 11" in shown
    assert "grad" in shown
    assert "×12" in shown
    assert len(picture.frame.graph) == 3


def test_a_name_is_shown_without_the_scopes_around_it():
    found = {card.title for card in cards(layers([4] * 3), Options())}
    assert {"w", "lin", "sin_0", "loss"} <= found
    assert {card.title for card in cards(collapse(layers([4] * 3), 1), Options())} >= {"layers.0", "layers.2"}


@st.composite
def frames(draw):
    """Random graphs with scopes and repeated source lines."""
    count = draw(st.integers(1, 25))
    nodes = []
    for i in range(count):
        inputs = tuple(draw(st.lists(st.integers(0, i - 1), max_size=3))) if i else ()
        scope = tuple(draw(st.lists(st.sampled_from("a01"), max_size=3)))
        source = draw(st.sampled_from([None, Source("f.py", 1, 0, 1), Source("f.py", 2, 0, 1)]))
        kind = "op" if inputs else draw(st.sampled_from(["input", "param", "const"]))
        op = "sum" if inputs else kind
        formulas = tuple(f"{{{k}}}" for k in range(len(inputs)))
        nodes.append(Node(i, f"v_{i}", op, kind, inputs, scope=scope, source=source, formulas=formulas))
    outputs = tuple(draw(st.lists(st.integers(0, count - 1), max_size=2, unique=True)))
    edges = dict.fromkeys(Graph(tuple(nodes)).edges, 1.0)
    return Frame(Graph(tuple(nodes), outputs), [float(i) for i in range(count)], [1.0] * count, EdgeTable(edges, edges))


@given(frames(), st.integers(0, 3))
def test_every_transform_keeps_the_laws_of_graphs(whole, depth):
    for small in (
        fold(whole, 2),
        collapse(whole, depth),
        focus(whole, len(whole.graph) // 2, depth),
        fold(collapse(whole, depth)),
        fold_blocks(whole, 2),
        collapse(fold(whole, 2), depth),
    ):
        small.graph.check()
        for src, dst, arg in small.graph.edges:
            small.edge_grad(src, dst, arg)
            small.local(src, dst, arg)
        places = images(whole, small)
        assert set(places) - {None} == set(range(len(small.graph)))


@given(frames(), st.integers(0, 2))
def test_collapse_loses_no_path(whole, depth):
    small = collapse(whole, depth)
    places = images(whole, small)
    links = {(src, dst) for src, dst, _ in small.graph.edges}
    for src, dst, _ in whole.graph.edges:
        assert places[src] == places[dst] or (places[src], places[dst]) in links


@given(frames())
def test_fold_loses_no_edge_but_marks_those_that_lead_back(whole):
    small = fold(whole, 2)
    places = images(whole, small)
    links = {(src, dst) for src, dst, _ in small.graph.edges}
    links |= {(src, node.id) for node in small.graph for src in node.attrs.get("carried", ())}
    assert {(places[src], places[dst]) for src, dst, _ in whole.graph.edges} == links
