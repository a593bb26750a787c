"""Graphs and frames as data: lookups, laws, fingerprints, JSON and differences."""

import contextlib
import copy
import json
import math
import pickle
import struct

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradviz.errors import GradvizTypeError, GraphError, UnknownNameError
from gradviz.escape import clean
from gradviz.graphs import EdgeTable, Frame, Graph, Node, Source
from gradviz.graphs.plain import FrozenMapping, frozen_number, plain_value, same_bits
from tests.strategies import arrays, frames, frames_with_edges, graphs, mappings, plain, texts

BIG = 50_000


def small():
    """x * x + b, in two scopes, from two lines."""
    return Graph(
        (
            Node(0, "x", "input", "input", source=Source("/home/me/line.py", 3)),
            Node(1, "b", "param", "param", scope=("encoder", "layer1")),
            Node(2, "square", "mul", "op", (0, 0), symbol="*", source=Source("/home/me/line.py", 12)),
            Node(3, "y", "add", "op", (2, 1), symbol="+", scope=("encoder",), formulas=("1", "1")),
        ),
        (3,),
    ).check()


def chain(size):
    """A chain of ``size`` nodes."""
    first = Node(0, "n0", "input", "input")
    return Graph((first, *(Node(i, f"n{i}", "neg", "op", (i - 1,)) for i in range(1, size))), (size - 1,))


def same_frames(first, second):
    """Tell whether two frames agree in everything, edges included."""
    pairs = [(f.edge_grad(*e), f.local(*e)) for f in (first, second) for e in first.graph.edges]
    half = len(pairs) // 2
    edges = zip(pairs[:half], pairs[half:], strict=True)
    return first == second and all(same_bits(a, c) and same_bits(b, d) for (a, b), (c, d) in edges)


# lookups


def test_nodes_are_found_by_name_id_and_node():
    graph = small()
    assert graph["y"] is graph.node(3) is graph.node("y") is graph.node(graph["y"]) is graph.node(np.int64(3))
    assert [node.name for node in graph] == ["x", "b", "square", "y"]
    assert len(graph) == 4
    assert "y" in graph
    assert graph["y"] in graph
    assert "z" not in graph


def test_an_unknown_name_suggests_a_close_one():
    with pytest.raises(UnknownNameError, match="did you mean square"):
        small()["sqaure"]
    with pytest.raises(KeyError, match="has 4 nodes"):
        small().node(4)
    with pytest.raises(UnknownNameError, match="-1"):
        small().node(-1)
    with pytest.raises(UnknownNameError, match="another graph"):
        small().node(Node(0, "x", "input", "input"))


@pytest.mark.parametrize("ref", [True, 1.0, None, ("x",)])
def test_other_references_are_refused(ref):
    with pytest.raises(GradvizTypeError, match="id, name or Node"):
        small().node(ref)
    with pytest.raises(GradvizTypeError, match="name"):
        small()[0]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({}, ["x", "b", "square", "y"]),
        ({"op": "mul"}, ["square"]),
        ({"op": "*d*"}, ["y"]),
        ({"kind": "op"}, ["square", "y"]),
        ({"name": "?"}, ["x", "b", "y"]),
        ({"scope": "encoder"}, ["b", "y"]),
        ({"scope": "encoder.layer*"}, ["b"]),
        ({"scope": "enc*", "kind": "op"}, ["y"]),
        ({"source": "line.py"}, ["x", "square"]),
        ({"source": "line.py:12"}, ["square"]),
        ({"source": "me/line.py:12"}, ["square"]),
        ({"source": "ne.py"}, []),
        ({"source": "line.py:1"}, []),
    ],
)
def test_find(asked, names):
    assert [node.name for node in small().find(**asked)] == names


def test_find_takes_a_name_with_glob_signs_literally_too():
    graph = Graph((Node(0, "w[0]", "param", "param"), Node(1, "w0", "param", "param")))
    assert [node.name for node in graph.find(name="w[0]")] == ["w[0]", "w0"]


def test_edges_keep_repeats_and_order():
    assert small().edges == ((0, 2, 0), (0, 2, 1), (2, 3, 0), (1, 3, 1))
    assert small().consumers("x") == (2,)


def test_formulas_are_filled_with_names_and_nothing_else():
    names = [Node(0, "{1}", "input", "input"), Node(1, "b", "input", "input")]
    node = Node(2, "c", "f", "op", (0, 1), formulas=("{1} / {0}", "{y} {0.__class__} {9}"))
    graph = Graph((*names, node))
    assert graph.formula("c", 0) == "b / {1}"
    assert graph.formula("c", 1) == "c {0.__class__} {9}"
    assert graph.formula("c", 2) == graph.formula("b", 0) == ""


@given(graphs(min_size=1))
def test_walks_agree_with_networkx(graph):
    other = nx.MultiDiGraph(list(graph.edges))
    other.add_nodes_from(range(len(graph)))
    for node in graph:
        assert graph.ancestors(node) == tuple(sorted(nx.ancestors(other, node.id)))
        assert graph.descendants(node.name) == tuple(sorted(nx.descendants(other, node.id)))
        assert graph.consumers(node.id) == tuple(sorted(other.successors(node.id)))


def test_a_long_chain_works_everywhere():
    graph = chain(BIG).check()
    assert len(graph.ancestors(f"n{BIG - 1}")) == len(graph.descendants("n0")) == BIG - 1
    frame = Frame(graph, [1.0] * BIG, [2.0] * BIG)
    assert Frame.from_json(frame.to_json()) == frame
    assert pickle.loads(pickle.dumps(graph)) == copy.deepcopy(graph) == graph
    assert len(graph.fingerprint()) == 64
    assert str(frame).count("\n") == 101  # the first and the last 50, what is left out, the result
    assert not graph.diff(chain(BIG))
    assert "150" not in repr(graph)
    with pytest.raises(UnknownNameError):
        graph["nobody"]


# laws


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([Node(1, "x", "input", "input")], "node 0 ('x'): its id is 1"),
        ([Node(0, "x", "input", "leaf")], "node 0 ('x'): its kind is 'leaf'"),
        ([Node(0, "x", "neg", "op", (0,))], "node 0 ('x'): input 0 does not come before"),
        ([Node(0, "x", "neg", "op", (-1,))], "input -1"),
        ([Node(0, "x", "input", "input"), Node(1, "y", "param", "param", (0,))], "node 1 ('y'): it is of kind"),
        ([Node(0, "x", "input", "input"), Node(1, "x", "neg", "op", (0,))], "node 1 ('x'): node 0 has the same"),
        ([Node(0, "x", "input", "input"), Node(1, "y", "neg", "op", (True,))], "input True"),
        ([Node(0, 5, "input", "input")], "its name is not text"),
    ],
)
def test_check_names_the_node_that_breaks_a_law(nodes, message):
    with pytest.raises(GraphError) as caught:
        Graph(tuple(nodes)).check()
    assert message in str(caught.value)


@pytest.mark.parametrize("outputs", [(1,), (-1,), ("x",), (True,)])
def test_check_wants_results_that_exist(outputs):
    with pytest.raises(GraphError, match="is no node"):
        Graph((Node(0, "x", "input", "input"),), outputs).check()


@given(graphs())
def test_random_graphs_are_lawful_and_hashable(graph):
    assert graph.check() is graph
    assert hash(graph) == hash(Graph(graph.nodes, graph.outputs))


# fingerprint and differences


@given(graphs())
def test_the_fingerprint_is_of_the_structure_only(graph):
    renamed = [
        Node(n.id, f"v{n.id}", n.op, n.kind, n.inputs, n.shape, n.dtype, dict(reversed(list(n.attrs.items()))), n.scope)
        for n in graph
    ]
    assert Graph(tuple(renamed), graph.outputs).fingerprint() == graph.fingerprint()


@pytest.mark.parametrize(
    "change",
    [{"op": "mul"}, {"inputs": (0, 0)}, {"shape": (1,)}, {"dtype": "float32"}, {"attrs": {"a": 1}}, {"scope": ("s",)}],
)
def test_the_fingerprint_sees_every_structural_change(change):
    first = Node(0, "x", "input", "input")
    fields = {"id": 1, "name": "y", "op": "neg", "kind": "op", "inputs": (0,)}
    graph, other = (Graph((first, Node(**fields | extra)), (1,)) for extra in ({}, change))
    assert graph.fingerprint() != other.fingerprint()
    assert graph.diff(other).changed == ("y",)
    assert graph.fingerprint() != Graph(graph.nodes, (0,)).fingerprint()


def test_the_fingerprint_tells_numbers_apart():
    values = [1, 1.0, True, "1", -0.0, 0.0, math.nan, math.inf, None, (1,)]
    prints = {Graph((Node(0, "x", "input", "input", attrs={"v": v}),)).fingerprint() for v in values}
    assert len(prints) == len(values)


def test_the_fingerprint_is_the_same_everywhere():
    assert small().fingerprint() == "58567c54b812a945172897689d01844a746abcacbc38721f6e54589e7c8630a4"


@given(graphs())
def test_a_graph_does_not_differ_from_itself(graph):
    assert not graph.diff(Graph(graph.nodes, graph.outputs))
    assert str(graph.diff(graph)) == "no difference"


def test_diff_reads_well():
    nodes = (
        Node(0, "x", "input", "input", shape=(2,)),
        Node(1, "new\n", "const", "const"),
        Node(2, "y", "sub", "op", (0, 1)),
    )
    diff = small().diff(Graph(nodes, (0,)))
    assert (diff.added, diff.removed, diff.changed) == (("new\n",), ("b", "square"), ("x", "y"))
    assert str(diff).splitlines() == [
        "- b",
        "- square",
        "+ new\\n",
        "~ x: shape () -> (2,)",
        "~ y: op add -> sub; scope ('encoder',) -> (); inputs square, b -> x, new\\n",
        "~ outputs: y -> x",
    ]
    assert diff


# normal form


class Foreign:
    """An object of another kind."""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, (2.5, {"k": [True]})], (1, (2.5, (("k", (True,)),)))),
        (np.float32(0.5), 0.5),
        (np.array(3), 3),
        (np.array([1, 2]), "array((2,), int64)"),
        (slice(1, None, 2), ("slice", 1, None, 2)),
        (..., "..."),
        (np.dtype("float32"), "float32"),
        (float, "float"),
        (np.sin, "sin"),
        (small, "small"),
        (1 + 2j, "(1+2j)"),
        (b"abc", "bytes(3)"),
        ({3, 1, 2}, (1, 2, 3)),
        (Foreign(), "Foreign"),
        (1 << 5000, "int(5001 bits)"),
    ],
)
def test_normal_form(value, expected):
    assert plain_value(value) == expected


def test_normal_form_cuts_what_is_nested_without_end():
    loop = []
    loop.append(loop)
    assert str(plain_value(loop)).count("(") == 16


@given(plain, mappings)
def test_normal_form_is_stable_and_compares_equal(value, mapping):
    assert plain_value(plain_value(value)) == plain_value(value)
    assert FrozenMapping(mapping) == FrozenMapping(FrozenMapping(mapping))
    assert hash(FrozenMapping(mapping)) == hash(FrozenMapping(mapping))


def test_attributes_cannot_be_changed():
    axis = [0]
    node = Node(0, "x", "sum", "op", attrs={"axis": axis})
    axis.append(1)
    assert node.attrs["axis"] == (0,)
    with pytest.raises(TypeError):
        node.attrs["axis"] = 1


# frames


def test_numbers_are_copies_nobody_can_write_to():
    mine = np.arange(3.0)
    frame = Frame(Graph((Node(0, "x", "input", "input"),)), [mine], [mine[::-1]])
    mine[0] = 7
    assert frame.value("x").tolist() == [0, 1, 2]
    assert frame.grad("x").tolist() == [2, 1, 0]
    with pytest.raises(ValueError, match="read-only"):
        frame.value("x")[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        frame.value("x").flags.writeable = True
    assert Frame(frame.graph, frame.values, frame.grads).value("x") is frame.value("x")


@pytest.mark.parametrize("value", [np.float64(2), np.float32(2), np.array(2), np.int8(2), 2, np.array(2.0, ">f8")])
def test_scalars_become_floats(value):
    assert type(frozen_number(value)) is float
    assert frozen_number(value) == 2.0


@pytest.mark.parametrize("value", ["2", object(), np.array(["a"]), np.array([object()]), 10**400])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(GradvizTypeError):
        frozen_number(value)


def test_odd_arrays_keep_their_numbers():
    assert frozen_number(np.array([1.5], ">f4")).dtype == np.dtype("f4")
    assert frozen_number(np.longdouble([1.5])).dtype == np.dtype("f8")
    assert frozen_number(np.array(1 + 2j)).item() == 1 + 2j
    assert frozen_number(np.zeros((0, 3))).shape == (0, 3)


def test_a_frame_has_a_number_or_none_for_every_node():
    with pytest.raises(GraphError, match="4 nodes needs as many values, not 1"):
        Frame(small(), [1.0], [None])


def test_lookups_take_ids_names_and_nodes():
    graph = small()
    table = EdgeTable({(0, 2, 0): np.float64(3)}, {(0, 2, 0): 2.0})
    frame = Frame(graph, [1.0, 2.0, 3.0, 4.0], [None, 0.0, 1.0, 1.0], table)
    assert frame.value("y") == frame.value(3) == frame.value(graph["y"]) == 4.0
    assert frame.grad("x") is None
    assert frame.grad("b") == 0.0
    assert type(frame.edge_grad("x", "square", 0)) is float
    assert frame.edge_grad("square", "y") is None
    assert frame.local(0, 2, 0) == 2.0
    assert Frame(graph, frame.values, frame.grads).edge_grad("x", "square", 1) is None
    with pytest.raises(GraphError, match="several edges lead from 'x' to 'square'"):
        frame.edge_grad("x", "square")
    with pytest.raises(GraphError, match="no edge leads from 'x' to 'y' through argument 0"):
        frame.local("x", "y", 0)


def test_equality_is_bit_for_bit():
    graph = Graph((Node(0, "x", "input", "input"),))
    assert Frame(graph, [math.nan], [None]) == Frame(graph, [math.nan], [None])
    assert Frame(graph, [0.0], [None]) != Frame(graph, [-0.0], [None])
    assert Frame(graph, [0.0], [None]) != Frame(graph, [0.0], [0.0])
    assert Frame(graph, [np.zeros(2)], [None]) != Frame(graph, [np.zeros(2, "f4")], [None])
    assert Frame(graph, [0.0], [None], step=1) != Frame(graph, [0.0], [None], step=2)
    assert Frame(graph, [0.0], [None]) != 0
    assert hash(Frame(graph, [0.0], [None])) == hash(Frame(graph, [0.0], [None]))


@given(frames())
def test_frames_survive_pickle_and_copy(frame):
    assert pickle.loads(pickle.dumps(frame)) == copy.copy(frame) == copy.deepcopy(frame) == frame


# listings


def test_listing_of_a_graph_and_a_frame():
    graph = small()
    assert str(graph).splitlines() == [
        "x: input        float64  line.py:3",
        "b: param        float64",
        "square = x * x  float64  line.py:12",
        "y = square + b  float64",
        "-> y",
    ]
    frame = Frame(graph, [2.0, 0.5, 4.0, 4.5], [4.0, None, 1.0, 1.0], step=7)
    assert str(frame).splitlines()[:3] == [
        "step 7",
        "x: input        float64  = 2    grad 4     line.py:3",
        "b: param        float64  = 0.5  grad none",
    ]
    assert repr(graph) == "Graph(4 nodes, 4 edges, outputs: y)"
    assert repr(frame) == "Frame(step 7, 4 nodes, 4 edges, outputs: y, 3 gradients)"


def test_listing_shows_options_and_signs():
    graph = Graph(
        (
            Node(0, "x", "input", "input", shape=(2, 5)),
            Node(1, "s", "sum", "op", (0,), attrs={"axis": (0,), "where": "a\nb"}, symbol="Σ"),
            Node(2, "n", "neg", "op", (1,), symbol="-"),
        )
    )
    frame = Frame(graph, [np.arange(10.0).reshape(2, 5), np.array([True, False]), np.array([1j])], [None] * 3)
    assert str(frame).splitlines() == [
        "x: input                           float64[2,5]  = [0, 1, 2, 3, 4, 5, ...]  grad none",
        "s = sum(x, axis=(0,), where=a\\nb)  float64       = [1, 0]                   grad none",
        "n = -s                             float64       = [0+1j]                   grad none",
        "-> nothing",
    ]


@given(frames())
def test_a_listing_is_one_clean_line_a_node(frame):
    lines = str(frame).split("\n")
    assert len(lines) == len(frame.graph) + 1 + (frame.step is not None)
    assert all(clean(line, None) == line for line in lines)
    assert "\n" not in repr(frame)


# JSON


@given(graphs())
def test_graphs_survive_json(graph):
    text = graph.to_json()
    assert Graph.from_json(text) == graph
    assert Graph.from_json(text).to_json() == text
    assert text.isascii()


@given(frames_with_edges() | frames())
def test_frames_survive_json_bit_for_bit(frame):
    assert same_frames(Frame.from_json(frame.to_json()), frame)


@pytest.mark.parametrize(
    "bits", [0, 1 << 63, 1, 0x7FF0 << 48, 0xFFF0 << 48, 0x7FF8 << 48, 0xFFF8 << 48, (0x7FF8 << 48) + 5]
)
def test_special_floats_survive_json(bits):
    number = struct.unpack(">d", struct.pack(">Q", bits))[0]
    frame = Frame(Graph((Node(0, "x", "input", "input"),)), [number], [np.array([number])])
    assert Frame.from_json(frame.to_json()) == frame


@given(arrays())
def test_arrays_survive_json(array):
    frame = Frame(Graph((Node(0, "x", "input", "input"),)), [array], [None])
    again = Frame.from_json(frame.to_json()).value("x")
    assert same_bits(again, frozen_number(array))
    assert not again.flags.writeable


def test_json_is_for_people_too():
    lines = small().to_json().splitlines()
    assert lines[0] == '{"format":1,"kind":"graph","outputs":[3],"nodes":['
    assert lines[2] == (
        '{"id":1,"name":"b","op":"param","kind":"param","dtype":"float64","scope":["encoder","layer1"]},'
    )
    assert json.loads(small().to_json())["format"] == 1


def edited(**changes):
    """The JSON of a small frame with some of its first node's or its own fields changed."""
    frame = Frame(small(), [1.0] * 4, [None] * 4)
    data = json.loads(frame.to_json())
    for key, value in changes.items():
        target = data if key in data else data["nodes"][0]
        target[key] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "this version reads format 1"),
        ({"format": True}, "this version reads format 1"),
        ({"kind": "graph"}, "not a gradviz frame: its kind is 'graph'"),
        ({"values": [1.0]}, "values: there are 1 of them for 4 nodes"),
        ({"values": ["one"] * 4}, "values 0: 'one' is no number"),
        ({"values": [[1.0]] * 4}, "values 0: list is no number"),
        ({"values": [True] * 4}, "values 0: bool is no number"),
        ({"grads": [{"dtype": "<f8", "shape": [1], "data": "AA=="}] * 4}, "1 bytes are not an array"),
        ({"grads": [{"dtype": "<f8", "shape": [1], "data": "!"}] * 4}, "are not base64"),
        ({"grads": [{"dtype": "O", "shape": [1], "data": ""}] * 4}, "'O' is no dtype of a frame"),
        ({"grads": [{"dtype": "<f8", "shape": [-1], "data": ""}] * 4}, "the shape of the array"),
        ({"grads": [{"dtype": "<f8", "shape": [0, 1 << 61], "data": ""}] * 4}, "is too big"),
        ({"grads": [{"dtype": "<f8"}] * 4}, "fields dtype, shape and data"),
        ({"edges": []}, "edges: there are 0 of them for 4 edges"),
        ({"edges": [1, 2, 3, 4]}, "is not a pair of numbers"),
        ({"step": 1.5}, "frame: step cannot be 1.5"),
        ({"meta": {"k": {"float": "1"}}}, "meta holds this dict"),
        ({"meta": {"k": {"a": 1}}}, "meta holds this dict"),
        ({"nodes": {}}, "nodes cannot be this dict"),
        ({"nodes": [1]}, "node 0: 1 is not an object"),
        ({"nodes": [{"id": 0}]}, "node 0: 'name' is missing"),
        ({"outputs": [9]}, "output 9 is no node"),
        ({"id": 1}, "node 0 ('x'): its id is 1"),
        ({"surprise": 1}, "node 0: 'surprise' is no field of it"),
        ({"shape": [1.5]}, "node 0: shape cannot be this list"),
        ({"inputs": [0]}, "node 0 ('x')"),
        ({"op": 3}, "node 0: op cannot be 3"),
        ({"scope": None}, "node 0: scope cannot be None"),
        ({"formulas": None}, "node 0: formulas cannot be None"),
        ({"values": [1.0, 2.0, 3, False]}, "values 3: bool is no number"),
        ({"edges": [[1.0, None], [None, "1"], [1, 1], [1, 1]]}, "'1' is no number"),
        ({"source": {"file": "x"}}, "node 0: source: 'line' is missing"),
        ({"attrs": {"k": 1 << 5000}}, "node 0: attrs holds this int"),
    ],
)
def test_bad_json_is_refused_by_name(changes, message):
    with pytest.raises(GraphError) as caught:
        Frame.from_json(edited(**changes))
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", "[", "null", "[]", "1", '{"format": NaN}', "[" * 100_000, "{}", '{"a":' * 99_999])
def test_other_text_is_refused(text):
    with pytest.raises(GraphError):
        Graph.from_json(text)
    with pytest.raises(GraphError):
        Frame.from_json(text)


def test_bytes_are_refused():
    with pytest.raises(GradvizTypeError, match="must be str, not bytes"):
        Graph.from_json(b"{}")


@given(frames_with_edges(), st.data())
def test_damaged_json_raises_our_errors_or_reads(frame, data):
    text = frame.to_json()
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(len(text), start + 4)))
    filling = data.draw(st.sampled_from(["", "0", '"', "[", "}", "null", "-1", "1e999", ",", '"x"']) | texts)
    with contextlib.suppress(GraphError):
        assert isinstance(Frame.from_json(text[:start] + filling + text[stop:]), Frame)
