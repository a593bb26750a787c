"""networkx and GraphML: exact there and back, well formed whatever the names are."""

import contextlib
import json
from types import SimpleNamespace
from xml.etree import ElementTree

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradviz.errors import GradvizTypeError, GraphError
from gradviz.graphs import EdgeTable, Frame, Graph, Node
from gradviz.graphs.plain import same_bits
from gradviz.views.networkx import from_graphml, from_networkx, to_graphml, to_networkx
from tests.hostile import HOSTILE
from tests.strategies import frames, frames_with_edges, graphs, texts

PLAIN = (type(None), bool, int, float, str)


def square():
    """The frame of y = x * x + b with an array in it."""
    graph = Graph(
        (
            Node(0, "x", "input", "input"),
            Node(1, "b", "param", "param", shape=(2,), attrs={"tag": ("a", 1)}, scope=("enc",)),
            Node(2, "y", "mul", "op", (0, 0), formulas=("{1}", "{0}")),
            Node(3, "z", "add", "op", (2, 1)),
        ),
        (3,),
    )
    table = EdgeTable({(0, 2, 0): 3.0, (0, 2, 1): 3.0}, {(0, 2, 0): 3.0, (0, 2, 1): 3.0})
    return Frame(graph, [3.0, np.array([1.0, 2.0]), 9.0, None], [6.0, None, 1.0, None], table, 4, {"lr": 0.1})


def shown(frame):
    """Anything with a frame, as a drawing is."""
    return SimpleNamespace(frame=frame)


def is_plain(value):
    """Tell whether a value is numbers, text and containers of them only."""
    if isinstance(value, dict):
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return type(value) in PLAIN


def same_edges(first, second):
    """Tell whether two frames agree on the numbers of every edge."""
    return all(
        same_bits(first.edge_grad(*edge), second.edge_grad(*edge))
        and same_bits(first.local(*edge), second.local(*edge))
        for edge in first.graph.edges
    )


def test_a_square_keeps_its_two_edges():
    g = to_networkx(square())
    assert type(g) is nx.MultiDiGraph
    assert list(g.nodes) == [0, 1, 2, 3]
    assert list(g.edges(keys=True)) == [(0, 2, 0), (0, 2, 1), (1, 3, 1), (2, 3, 0)]
    assert g.edges[0, 2, 1]["grad"] == 3.0


def test_attributes_are_those_people_ask_for():
    g = to_networkx(square())
    assert g.nodes[0]["name"] == "x"
    assert (g.nodes[0]["value"], g.nodes[0]["grad"], g.nodes[1]["grad"]) == (3.0, 6.0, None)
    assert (g.nodes[1]["value"], g.nodes[1]["value_dtype"], g.nodes[1]["value_shape"]) == ([1, 2], "float64", (2,))
    assert g.nodes[1]["attrs"] == {"tag": ("a", 1)}
    assert g.graph == {
        "format": 1,
        "kind": "frame",
        "outputs": (3,),
        "step": 4,
        "meta": {"lr": 0.1},
    }


@given(frames_with_edges() | frames())
def test_frames_come_back_bit_for_bit(frame):
    g = to_networkx(frame)
    assert is_plain(g.graph)
    assert all(is_plain(data) for _, data in g.nodes(data=True))
    assert all(is_plain(data) for *_, data in g.edges(keys=True, data=True))
    again = from_networkx(g)
    assert again == frame
    assert same_edges(again, frame)


@given(graphs())
def test_graphs_come_back(graph):
    assert from_networkx(to_networkx(graph)) == graph


@given(graphs())
def test_networkx_own_json_comes_back_too(graph):
    frame = square() if not len(graph) else Frame(graph, [-0.0] * len(graph), [np.arange(6).reshape(2, 3)] * len(graph))
    text = json.dumps(nx.node_link_data(to_networkx(frame), edges="edges"))
    assert from_networkx(nx.node_link_graph(json.loads(text), edges="edges")) == frame


def test_what_shows_a_frame_is_taken():
    assert from_networkx(to_networkx(shown(square()))) == square()


def changed(edit):
    """The networkx graph of the square after an edit."""
    g = to_networkx(square())
    edit(g)
    return g


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda g: g.remove_node(1), "node 1 is missing"),
        (lambda g: g.add_node("four"), "node 'four' is no id"),
        (lambda g: g.add_node(4), "node 4: 'name' is missing"),
        (lambda g: g.remove_edge(0, 2, 0), "node 2: its arguments are [1]"),
        (lambda g: g.add_edge(0, 3, 1), "edge 1 -> 3 does not fit"),
        (lambda g: g.add_edge(0, 3, "x"), "edge 0 -> 3 does not fit"),
        (lambda g: g.add_edge(3, 0, 0), "node 0 ('x')"),
        (lambda g: g.nodes[2].update(name="x"), "node 2 ('x'): node 0 has the same name"),
        (lambda g: g.nodes[0].update(scope=None), "node 0: scope cannot be None"),
        (lambda g: g.nodes[0].update(formulas=("a", 1)), "node 0: formulas cannot be"),
        (lambda g: g.edges[0, 2, 0].update(local=True), "edge 0 -> 2: local: bool is no number"),
        (lambda g: g.nodes[0].update(colour="red"), "node 0: 'colour' is no field of it"),
        (lambda g: g.nodes[0].update(value="high"), "node 0: value: 'high' is no number"),
        (lambda g: g.nodes[1].update(value=[1, [2]]), "node 1: value is no array"),
        (lambda g: g.nodes[1].update(value_dtype="O"), "node 1: value has the dtype 'O'"),
        (lambda g: g.nodes[1].update(value_shape=(3,)), "node 1: value is no array"),
        (lambda g: g.edges[0, 2, 0].update(grad="big"), "edge 0 -> 2: grad: 'big' is no number"),
        (lambda g: g.graph.clear(), "graph: 'format' is missing"),
        (lambda g: g.graph.update(format=9), "gradviz graph of format 1"),
        (lambda g: g.graph.update(meta=3), "graph: meta cannot be 3"),
        (lambda g: g.graph.update(outputs=(7,)), "output 7 is no node"),
    ],
)
def test_a_graph_that_no_longer_fits_is_refused_by_name(edit, message):
    with pytest.raises(GraphError) as caught:
        from_networkx(changed(edit))
    assert message in str(caught.value)


@pytest.mark.parametrize("other", [nx.DiGraph(), nx.MultiGraph(), {}, None])
def test_other_graphs_are_refused(other):
    with pytest.raises(GradvizTypeError, match="MultiDiGraph"):
        from_networkx(other)


# GraphML


@given(frames_with_edges() | frames())
def test_graphml_comes_back_bit_for_bit(frame):
    text = to_graphml(shown(frame))
    ElementTree.fromstring(text)
    again = from_graphml(text)
    assert again == frame
    assert same_edges(again, frame)


def test_networkx_reads_our_graphml():
    g = nx.parse_graphml(to_graphml(shown(square())), force_multigraph=True)
    assert list(g.nodes) == ["n0", "n1", "n2", "n3"]
    assert (g.nodes["n0"]["name"], g.nodes["n0"]["value"], g.nodes["n2"]["grad"]) == ("x", 3.0, 1.0)
    assert g.number_of_edges("n0", "n2") == 2
    assert sorted(data["formula"] for *_, data in g.edges(data=True) if "formula" in data) == ["x", "x"]


def test_graphml_comes_back_through_networkx():
    g = nx.parse_graphml(to_graphml(shown(square())), force_multigraph=True)
    assert from_graphml("".join(nx.generate_graphml(g))) == square()


def test_infinities_are_written_as_xml_schema_writes_them():
    frame = Frame(Graph((Node(0, "x", "input", "input"),)), [float("inf")], [float("nan")])
    text = to_graphml(shown(frame))
    assert '<data key="n_value">INF</data><data key="n_grad">NaN</data>' in text
    assert nx.parse_graphml(text).nodes["n0"]["value"] == float("inf")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(name):
    frame = Frame(Graph((Node(0, name, name, "input", scope=(name,), attrs={name: name}),)), [1.0], [None])
    text = to_graphml(shown(frame))
    root = ElementTree.fromstring(text.encode("utf-8"))
    assert len(root.findall(".//{*}node/{*}data")) <= 9
    assert from_graphml(text) == frame


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<graphml", "<!DOCTYPE graphml [<!ENTITY a 'b'>]><graphml", "declares a document type"),
        ("<graphml", "<!doctype x><graphml", "declares a document type"),
        ("</graphml>", "", "this is not GraphML"),
        ('"n0"', '"x"', "node 'x' is no id"),
        ('"n0"', '"n7"', "node 0 is missing"),
        ('"n1"', '"n0"', "node 0 occurs twice"),
        ('attr.name="exact"', 'attr.name="other"', "has no 'exact' data"),
        ('<data key="e_arg">1</data>', '<data key="e_arg">0</data>', "occurs twice"),
        ('<data key="e_arg">1</data>', '<data key="e_arg">-</data>', "its argument is '-'"),
        ('"format":1', '"format":2', "gradviz graph of format 1"),
        ('"value":9.0', '"value":"nine"', "node 2: value: 'nine' is no number"),
        ('"name":"x"', '"name":3', "node 0: name cannot be 3"),
        ("[3.0,3.0]", "[3.0]", "is not a pair of numbers"),
    ],
)
def test_bad_graphml_is_refused_by_name(old, new, message):
    text = to_graphml(shown(square()))
    assert old in text
    with pytest.raises(GraphError) as caught:
        from_graphml(text.replace(old, new))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "<x/>", "<graphml/>", "<graph/>", "\x00", "<a>" * 10_000, '<?xml version="1.0" encoding="x"?><a/>']
)
def test_other_text_is_refused(text):
    with pytest.raises(GraphError):
        from_graphml(text)
    with pytest.raises(GradvizTypeError, match="str, not bytes"):
        from_graphml(text.encode())


@given(frames(), st.data())
def test_damaged_graphml_raises_our_errors_or_reads(frame, data):
    text = to_graphml(shown(frame))
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(len(text), start + 4)))
    filling = data.draw(st.sampled_from(["", "<", "&", '"', "0", "<!DOCTYPE x>"]) | texts)
    with contextlib.suppress(GraphError):
        assert isinstance(from_graphml(text[:start] + filling + text[stop:]), Frame)
