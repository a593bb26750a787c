"""Exports of large graphs: nothing quadratic, no tree of a whole document, and bounded text where people read."""

import gc
import re
from xml.etree import ElementTree

import graphviz
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gradviz import Tensor, frame
from gradviz.cli import main
from gradviz.graphs import EdgeTable, Frame, Graph, Node
from gradviz.style import wording
from gradviz.views import graphml
from gradviz.views.dotlines import edge_line, node_line
from gradviz.views.drawing import draw
from gradviz.views.graphml import from_graphml, to_graphml
from gradviz.views.text import to_text
from tests.hostile import HOSTILE
from tests.test_prompt import said

INPUTS = 600
LOOPS = 1500


class Counted(int):
    """A number that counts how often it is compared."""

    compared = 0

    def __eq__(self, other):
        Counted.compared += 1
        return int(self) == other

    __hash__ = int.__hash__


def wide(number=int):
    """Return the frame of one op of many inputs."""
    leaves = [Node(i, f"x{i}", "input", "input") for i in range(INPUTS)]
    formulas = tuple(f"{{{i}}} + {{y}}" for i in range(INPUTS))
    top = Node(INPUTS, "y", "stack", "op", tuple(map(number, range(INPUTS))), formulas=formulas)
    edges = EdgeTable({(i, INPUTS, i): 0.5 for i in range(INPUTS)}, {(i, INPUTS, i): 2.0 for i in range(INPUTS)})
    return Frame(Graph((*leaves, top), (INPUTS,)), [1.0] * (INPUTS + 1), [1.0] * (INPUTS + 1), edges)


def loop():
    x = y = Tensor(1.0, name="x")
    for _ in range(LOOPS):
        y = y * x
    return y


# -- nothing quadratic -----------------------------------------------------------------------------


def test_an_op_of_many_inputs_is_written_without_looking_at_all_of_them_for_each(monkeypatch):
    calls = []
    known = wording.display_name
    monkeypatch.setattr(wording, "display_name", lambda node: calls.append(node.id) or known(node))
    shown = draw(wide(), fold=False, show=("name", "value", "grad", "local"))
    assert f"∂y/∂x{INPUTS - 1} = x{INPUTS - 1} + y = 2" in shown.dot
    assert f"∂y/∂x{INPUTS - 1} = x{INPUTS - 1} + y = 2" in to_text(shown)
    assert INPUTS <= len(calls) < 50 * INPUTS


def test_an_edge_is_found_at_its_argument():
    made = wide(Counted)
    Counted.compared = 0
    assert [made.edge_grad(i, INPUTS, i) for i in range(INPUTS)] == [0.5] * INPUTS
    assert Counted.compared <= 4 * INPUTS
    with pytest.raises(Exception, match="no edge leads"):
        made.edge_grad(3, INPUTS, 4)


def test_formulas_name_the_inputs_they_mention():
    x, y = Node(0, "x", "input", "input"), Node(1, "y", "input", "input")
    templates = ("{0}*{1}/{y}+{01}+{2}+{99999999999999999999}", "{١}")
    graph = Graph((x, y, Node(2, "z", "op", "op", (0, 1), formulas=templates)))
    assert graph.formula("z", 0) == "x*y/z+{01}+{2}+{99999999999999999999}"
    assert graph.formula("z", 1) == "{١}"


# -- lines of DOT ----------------------------------------------------------------------------------


@given(st.lists(st.text() | st.sampled_from(HOSTILE), min_size=3, max_size=3))
@example(["node", "Edge", "-.5"])
@example(["9", "<b x>", '"a b"'])
@example(["", " ", "a b\\\\"])
@example(["label", "x y\n", "<a b>\n"])
def test_lines_of_dot_are_those_of_the_graphviz_package(texts):
    texts = [text + "." if re.search(r"(?<!\\)(?:\\\\)*\\$", text) else text for text in texts]  # of those it warns
    label, color, tooltip = texts
    expected = graphviz.Digraph()
    expected.node("n0", label, color=color, tooltip=tooltip)
    expected.edge("n0", "op1", color=color, tooltip=tooltip)
    expected.edge("n0", "op1", label, color=color)
    expected.edge("n0", "op1", label)
    expected.edge("n0", "op1")
    assert expected.body == [
        node_line("n0", label, {"tooltip": tooltip, "color": color}),
        edge_line("n0", "op1", {"tooltip": tooltip, "color": color}),
        edge_line("n0", "op1", {"color": color, "label": label}),
        edge_line("n0", "op1", {"label": label}),
        edge_line("n0", "op1", {}),
    ]


# -- GraphML piece by piece ------------------------------------------------------------------------


def elements_alive():
    return sum(type(thing) is ElementTree.Element for thing in gc.get_objects())  # isinstance asks lazy modules


def test_the_tree_of_a_graphml_text_is_never_in_memory(monkeypatch):
    made = frame(loop())
    text = to_graphml(draw(made, fold=False))
    assert text.count("<data") > 20_000
    alive = []
    close = graphml.Document.close_member

    def watched(document, element):
        close(document, element)
        if str(element.get("id")).endswith("99"):
            alive.append(elements_alive())

    monkeypatch.setattr(graphml.Document, "close_member", watched)
    assert from_graphml(text) == made
    assert len(alive) == 15
    assert max(alive) < 4000  # what one piece of the text holds


@pytest.mark.parametrize("piece", [7, 100, 1 << 20])
def test_pieces_of_any_length_give_the_same_frame(monkeypatch, piece):
    monkeypatch.setattr(graphml, "CHUNK", piece)
    made = wide()
    again = from_graphml(to_graphml(draw(made, fold=False)).replace("x1<", "日本<"))
    assert again == made
    assert again.edge_grad(5, INPUTS) == 0.5


def test_keys_may_stand_after_the_graph_and_comments_anywhere():
    text = to_graphml(draw(wide(), fold=False))
    keys = "".join(re.findall(r"<key [^>]*>\n", text))
    moved = re.sub(r"<key [^>]*>\n", "", text).replace("</graph>\n", f"</graph><!-- c -->\n{keys}")
    inside = moved.replace('<node id="n3">', '<node id="n3"><!-- c --><graph><node id="n0"/></graph>')
    assert from_graphml(moved) == from_graphml(inside) == wide()


# -- text for people -------------------------------------------------------------------------------

SCRIPT = f"""\
from gradviz import Tensor
x = y = Tensor(1.0)
for _ in range({LOOPS}):
    y = y * x
"""


def test_draw_shows_the_ends_of_a_long_listing_and_writes_all_of_it(tmp_path, monkeypatch, capsysbinary):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "long.py").write_text(SCRIPT)
    line = ["draw", "long.py:y", "--fold", "no"]
    assert main(line) == 0
    shown = capsysbinary.readouterr().out.decode().splitlines()
    assert len(shown) == 1 + 1 + 50 + 1 + 50 + 1
    assert shown[52] == f"... {LOOPS + 1 - 100:,} more ..."
    assert main([*line, "-o", "-", "--format", "txt"]) == 0
    whole = capsysbinary.readouterr().out.decode().splitlines()
    assert main([*line, "-o", "long.txt"]) == 0
    assert (tmp_path / "long.txt").read_text().splitlines() == whole
    assert len(whole) == LOOPS + 4
    assert [line.split()[0] for line in (*shown[2:52], *shown[53:])] == [
        line.split()[0] for line in (*whole[2:52], *whole[-51:])
    ]


def test_a_listing_is_bounded_by_its_own_lines():
    picture = draw(frame(np.sin(loop()) + 2.0), fold=False)
    assert to_text(picture, whole=False).count("\n") == 104
    few = draw(frame(Tensor(1.0, name="x") * 2.0), fold=False)
    assert to_text(few, whole=False) == to_text(few)


def test_the_debugger_lists_what_is_around_in_a_long_phase():
    y = loop()
    y.backward()
    rows = said(y, "j f.1200", "ll").splitlines()
    assert len(rows) == 802
    assert rows[500].startswith("-> 1200 ")
    assert rows[-1] == f"of {LOOPS + 1:,} events; l 0 {LOOPS} lists all"
    assert len(said(y, "j f.1200", f"l 0 {LOOPS}").splitlines()) == LOOPS + 1
