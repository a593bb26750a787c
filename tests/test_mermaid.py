"""Mermaid text: what is in it, what is escaped, and where Mermaid would refuse."""

import html
import json
import re

import pytest

from gradviz.debugger.events import steps
from gradviz.errors import GradvizValueError
from gradviz.escape import clean
from gradviz.graphs import Frame, Graph, Node
from gradviz.views.drawing import draw
from gradviz.views.mermaid import line, to_mermaid
from tests.golden import assert_gold
from tests.hostile import HOSTILE
from tests.pictures import article, chain, network, samples

NODE = re.compile(r'^ *n(\d+)(?:\(\["|\["|\(")(.*)(?:"\]\)|"\]|"\)):::(\w+)$')
EDGE = re.compile(r'^ +n(\d+) (-->|-\.->)(?:\|"([^"]*)"\|)? n(\d+)$')
OTHER = re.compile(
    r"^(---|title: \".*\"|flowchart (LR|TB)| +accDescr: .*| +classDef \w+ [\w:,#. -]+| +class [ns\d,]+ \w+"
    r'| +subgraph s\d+\["[^"]*"\]| +end| +linkStyle [\d,]+ [\w:,#.-]+)$'
)


def read(text):
    """Return nodes {id: (label, class)} and edges of Mermaid text; every line has to be one we know."""
    nodes, edges = {}, []
    for part in text.splitlines():
        if found := NODE.match(part):
            assert '"' not in found[2]
            nodes[int(found[1])] = found[2], found[3]
        elif found := EDGE.match(part):
            edges.append((int(found[1]), int(found[4])))
        else:
            assert OTHER.match(part), part
    return nodes, edges


def decoded(label):
    """Return a label as Mermaid shows it: codes read, tags gone."""
    plain = re.sub(r"</?b>", "", label).replace("#8203;", "")
    return html.unescape(re.sub(r"#(\d+);", r"&#\1;", plain))


def test_the_text_is_as_it_was():
    assert_gold("article.mmd", to_mermaid(draw(article(), show=("name", "value", "grad", "local"))))
    assert_gold("network.mmd", to_mermaid(draw(network(), highlight="q", direction="TB")))


@pytest.mark.parametrize("frame", [article(), network(), article(backward=False), chain(HOSTILE)])
@pytest.mark.parametrize("style", ["cards", "boxes", "compact"])
def test_every_node_and_edge_is_there(frame, style):
    nodes, edges = read(to_mermaid(draw(frame, style=style, fold=False)))
    assert sorted(nodes) == list(range(len(frame.graph)))
    assert edges == [(src, dst) for src, dst, _ in frame.graph.edges]


def test_names_are_shown_letter_by_letter():
    frame = chain((*HOSTILE, "1. one", "- two", "+ three", "style a:b#c;", "end"))
    nodes, _ = read(to_mermaid(draw(frame, show="name", fold=False)))
    for node in frame.graph:
        name = clean(node.name if node.name.strip() else f'"{node.name}"', 60)
        assert decoded(nodes[node.id][0].split("</b>")[0]) == name


def test_values_gradients_and_their_absence():
    nodes, _ = read(to_mermaid(draw(network())))
    assert "grad 0" in nodes[5][0]
    assert "– no grad" in nodes[3][0]
    assert "! NaN" in nodes[5][0]
    assert nodes[5][1] == "bad"
    assert nodes[7][1] == "param"


def test_edges_carry_gradient_and_derivative():
    text = to_mermaid(draw(article(), show=("name", "value", "grad", "local")))
    assert '    n0 -->|"∂d/∂a = b = 3<br/>grad += 3"| n5' in text.splitlines()
    assert re.search(r"linkStyle 8 stroke:#[0-9a-f]{6},stroke-width", text)  # the negative one


def test_a_step_is_drawn_pale_and_picked():
    text = to_mermaid(draw(steps(article())[4]))
    nodes, _ = read(text)
    assert nodes[7][1] == "later"
    assert "    class n4 picked" in text
    assert "-.->" in text


def test_scopes_are_boxes_in_boxes():
    text = to_mermaid(draw(network()))
    assert text.count("subgraph") == text.count("    end\n") == 2
    assert text.index('["encoder"]') < text.index("<b>log#95;h") < text.index('["layer1"]') < text.index("<b>W</b>")


@pytest.mark.parametrize("title", HOSTILE)
def test_a_title_is_one_line_of_json(title):
    second = to_mermaid(draw(article(), title=title)).splitlines()[1]
    shown = json.loads(second.removeprefix("title: "))
    assert shown.translate(str.maketrans("‹›", "<>")) == clean(title or "Computation graph of f")


def test_what_mermaid_refuses_is_refused_with_a_hint():
    with pytest.raises(GradvizValueError, match=r"(?s)edges are too many.*fold=True"):
        to_mermaid(draw(samples(100), fold=False))
    nodes = tuple(
        Node(i, f"{i}" + "x" * 59, "sin", "op", (0,)) if i else Node(0, "x", "input", "input") for i in range(490)
    )
    with pytest.raises(GradvizValueError, match=r"(?s)characters are too many.*focus"):
        to_mermaid(draw(Frame(Graph(nodes, (1,)), [0.5] * 490, [None] * 490), fold=False))


def test_an_empty_graph_is_a_flowchart_too():
    assert read(to_mermaid(draw(Graph(())))) == ({}, [])


@pytest.mark.parametrize("text", ["1. x", "12) x", "- x", "+ x"])
def test_no_line_starts_a_list(text):
    assert not re.match(r"(\d+[.)]|[-+*]) ", line(text))
    assert decoded(line(text)) == text
