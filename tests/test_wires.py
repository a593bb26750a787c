"""The styles circuit and paper: what stands where, that nothing lies on anything else, and the TeX of it."""

import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

import gradviz
from gradviz import Tensor, draw, nn, style
from gradviz.debugger.events import steps
from gradviz.graphs import EdgeTable, Frame, Graph, Node
from gradviz.style import SHOW, Options
from gradviz.views.drawing import arranged
from gradviz.views.looks import LOOKS
from gradviz.views.slides import Stage
from gradviz.views.tikz import to_tikz
from gradviz.views.wires.labels import Labels
from gradviz.views.wires.plans import PLANS, runs
from tests.boxes import SVG, collisions, parts_of
from tests.hostile import HOSTILE
from tests.pictures import article, chain, network, samples
from tests.test_tikz import NODE, assert_closed, bare, body_of

WIRES = ("circuit", "paper")
NUMBERS = ("name", "value", "grad")


def neuron() -> Frame:
    """The neuron of the lectures: f = 1 / (1 + exp(-(w0 x0 + w1 x1 + w2)))."""
    w0, x0, w1, x1, w2 = (
        Tensor(number, name=name)
        for name, number in (("w0", 2.0), ("x0", -1.0), ("w1", -3.0), ("x1", -2.0), ("w2", -3.0))
    )
    f = 1 / (1 + np.exp(-(w0 * x0 + w1 * x1 + w2)))
    f.backward()
    return gradviz.frame(f)


def perceptron() -> Frame:
    """Two layers on arrays, each in its scope."""
    model = nn.MLP([2, 16, 1], "tanh", rng=0)
    x = Tensor(np.linspace(-1.0, 1.0, 40).reshape(20, 2), requires_grad=False)
    loss = nn.mse(model(x), Tensor(np.zeros((20, 1)), requires_grad=False))
    loss.backward()
    return gradviz.frame(loss)


def two_ends() -> Frame:
    """A square and a sum, both of them results, from one input that is used three times."""
    nodes = (
        Node(0, "x_1", "input", "input"),
        Node(1, "square", "mul", "op", (0, 0), symbol="*", formulas=("{1}", "{0}"), scope=("inner",)),
        Node(2, "total", "add", "op", (1, 0), symbol="+", formulas=("1", "1")),
    )
    sent = {(0, 1, 0): 6.0, (0, 1, 1): 6.0, (1, 2, 0): 1.0, (0, 2, 1): 1.0}
    local = {(0, 1, 0): 3.0, (0, 1, 1): 3.0, (1, 2, 0): 1.0, (0, 2, 1): 1.0}
    return Frame(Graph(nodes, (1, 2)).check(), [3.0, 9.0, 12.0], [13.0, 2.0, 1.0], EdgeTable(sent, local))


LONG = chain(("x", "layer.with.a.very.long.name.indeed.1", "another_long_name_of_a_value", "y_2"))
FRAMES = {
    "article": article(),
    "forward": article(backward=False),
    "neuron": neuron(),
    "arrays": network(),
    "samples": samples(),
    "recurrence": samples(rnn=True),
    "layers": perceptron(),
    "long": LONG,
    "two ends": two_ends(),
}


def texts(frame, look, **options):
    """Return every text of a picture, by the group it stands in (its class and node)."""
    root = ET.fromstring(draw(frame, style=look, **options).svg)
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


def test_every_style_has_a_look_and_every_look_a_style():
    assert tuple(LOOKS) == style.STYLES
    assert set(PLANS) == set(WIRES)


@pytest.mark.parametrize("look", WIRES)
@pytest.mark.parametrize("direction", ["LR", "TB"])
@pytest.mark.parametrize("name", FRAMES)
def test_nothing_lies_on_anything_else(name, direction, look):
    for show in (NUMBERS, ("name", "value", "grad", "local"), SHOW, ()):
        assert collisions(draw(FRAMES[name], style=look, direction=direction, show=show).svg) == []


def test_the_check_for_collisions_finds_them():
    svg = draw(article(), style="circuit").svg
    assert collisions(re.sub(r'font-size="10.5"', 'font-size="21"', svg))


def test_values_are_above_the_wire_and_gradients_below():
    found, _, _ = parts_of(draw(neuron(), style="circuit").svg)
    groups = {}
    for text in found:
        groups.setdefault(text.group, []).append(text)
    (last,) = (group for group in groups.values() if any(text.what == "f = 0.7311" for text in group))
    value, grad = sorted(last, key=lambda text: text.box[1])
    assert (value.what, grad.what) == ("f = 0.7311", "1")
    assert value.box[3] < grad.box[1]


def test_the_neuron_of_the_lectures_has_its_numbers():
    shown = texts(neuron(), "circuit", precision=2)
    for pair in (("w0", "−0.2"), ("x0", "0.39"), ("w1", "−0.39"), ("x1", "−0.59"), ("w2", "0.2")):
        assert shown[shown.index(pair[0]) : shown.index(pair[0]) + 3][2] == pair[1]
    assert [text for text in shown if text in "+−×÷exp" and not text.isdigit()] == [*"××++−", "exp", "+", "÷"]


def test_a_value_used_twice_has_its_sum_once_and_a_share_on_each_branch():
    shown = texts(article(), "circuit", show=NUMBERS)
    a = shown.index("a")
    assert shown[a : a + 3] == ["a", "2", "4.678"]
    assert {"1.678", "3"} <= set(shown)  # through c and through d


def test_no_gradient_is_not_a_gradient_of_zero():
    nodes = (Node(0, "x", "input", "input"), Node(1, "z", "param", "param"), Node(2, "y", "mul", "op", (0, 1)))
    shown = texts(Frame(Graph(nodes, (2,)), [1.0, 2.0, 2.0], [None, 0.0, 1.0]), "circuit")
    assert shown[shown.index("x") + 2] == "no grad"
    assert shown[shown.index("z") + 2] == "0"
    assert "no grad" not in texts(article(backward=False), "circuit")  # nobody has one: nothing to tell apart


def test_a_result_that_kept_no_gradient_is_not_one_that_none_reached():
    nodes = (Node(0, "w", "param", "param"), Node(1, "h", "sin", "op", (0,)), Node(2, "y", "sin", "op", (1,)))
    frame = Frame(Graph(nodes, (2,)), [1.0, 0.8, 0.7], [0.4, None, 1.0])  # as torch leaves it after backward()
    assert "no grad" not in texts(frame, "circuit")
    assert "stroke-dasharray" not in draw(frame, style="circuit").svg


def test_gradients_differ_from_values_without_colour_too():
    root = ET.fromstring(draw(neuron(), style="circuit", theme="print").svg)
    looks = {"".join(text.itertext()): text.attrib for text in root.iter(f"{SVG}text")}
    assert looks["−0.5898"]["font-style"] == "italic"
    assert "font-style" not in looks["−2"]


def test_paper_uses_no_colour_at_all():
    svg = draw(article(), style="paper", theme="print", show=(*NUMBERS, "local")).svg
    for colour in set(re.findall(r"#([0-9a-f]{6})\b", svg.split("</style>")[1])):
        assert len({colour[:2], colour[2:4], colour[4:]}) == 1


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("w_1", [("w", False), ("1", True)]),
        ("W12", [("W", False), ("12", True)]),
        ("theta_0", [("θ", False), ("0", True)]),
        ("_", [("_", False)]),
        ("a_b_c", [("a_b_c", False)]),
        ("", [("", False)]),
    ],
)
def test_names_as_mathematics(name, parts):
    assert list(runs(name)) == parts


def test_an_index_stands_below_its_letter():
    root = ET.fromstring(draw(neuron(), style="paper").svg)
    name = next(text for text in root.iter(f"{SVG}text") if "".join(text.itertext()) == "w0")
    letter, index = name
    assert letter.get("font-style") == "italic"
    assert float(index.get("dy")) > 0
    assert float(index.get("font-size")) < float(name.get("font-size"))


@pytest.mark.parametrize("look", WIRES)
def test_a_small_graph_fits_a_column_of_a_journal(look):
    width = float(ET.fromstring(draw(article(), style=look, direction="TB").svg).get("viewBox").split()[2])
    assert width < 238  # 84 mm
    sizes = {float(size) for size in re.findall(r'font-size="([\d.]+)"', draw(article(), style=look).svg)}
    assert min(sizes) >= 6


@pytest.mark.parametrize("look", WIRES)
def test_folded_gates_say_how_many_they_are_and_what_comes_from_before(look):
    shown = texts(samples(), look)
    assert shown.count("×100") >= 3
    assert any(text.startswith("previous ") for text in shown)


def test_what_has_one_name_comes_from_before_once():
    nodes = tuple(Node(i, f"sin_{i}", "sin", "op", (i - 1,), symbol="sin") for i in range(1, 4))
    first = Node(0, "x", "input", "input")
    nodes = (first, replace(nodes[0], attrs={"folded": 3, "carried": (2, 3)}), *nodes[1:])
    assert texts(Graph(nodes, (3,)), "circuit", fold=False).count("previous sin") == 1


@pytest.mark.parametrize("look", WIRES)
def test_closed_scopes_are_boxes_with_their_name(look):
    shown = texts(perceptron(), look, collapse=0)
    assert "layers.0" in shown
    assert any(re.fullmatch(r"\d+ nodes", text) for text in shown)


@pytest.mark.parametrize("look", WIRES)
def test_pending_highlighted_and_bad_parts_are_marked(look):
    drawing = arranged(article(), Options(style=look, pending=("e", "f"), highlight=("d",)))
    classes = [group.get("class", "") for group in ET.fromstring(drawing.svg).iter(f"{SVG}g")]
    assert sum("gv-pending" in found for found in classes) >= 2
    assert sum("gv-highlighted" in found for found in classes) >= 1
    bold = [
        "".join(text.itertext())
        for text in ET.fromstring(draw(network(), style=look).svg).iter(f"{SVG}text")
        if text.get("font-weight") == "bold"
    ]
    assert "! NaN" in [text.split(" = ")[-1] for text in bold]


@pytest.mark.parametrize("look", WIRES)
def test_numbers_arrive_on_the_wires_step_by_step(look):
    stage = Stage(steps(article()), Options(style=look))
    pictures = [ET.fromstring(svg) for _, svg in stage.pictures()]
    assert len({root.get("viewBox") for root in pictures}) == 1
    counts = [len(list(root.iter(f"{SVG}text"))) for root in pictures]
    assert counts[0] < counts[-1]
    assert collisions(stage.pictures()[-1][1]) == []


@pytest.mark.parametrize(
    "frame", [Frame(Graph(()), [], []), Frame(Graph((Node(0, " ", "input", "input"),)), [1.0], [None])]
)
@pytest.mark.parametrize("look", WIRES)
def test_nothing_and_next_to_nothing_are_drawn(frame, look):
    assert draw(frame, style=look).svg.startswith("<svg")
    assert to_tikz(draw(frame, style=look)).endswith("\\end{document}\n")


def test_an_infinite_share_is_an_alarm():
    nodes = (Node(0, "x", "input", "input"), Node(1, "y", "mul", "op", (0, 0), symbol="*"))
    frame = Frame(Graph(nodes, (1,)), [1.0, 1.0], [np.inf, 1.0], EdgeTable({(0, 1, 0): np.inf, (0, 1, 1): 1.0}, {}))
    options = Options(style="circuit")
    joint = Labels(frame, options, PLANS["circuit"]).joint(0, 1, 0, np.inf, pending=False)
    assert [(line.text, line.tone) for line in joint.below] == [("! inf", "bad")]


# -- TeX


@pytest.mark.parametrize("frame", [article(), network(), article(backward=False), samples(), chain(HOSTILE)])
@pytest.mark.parametrize("look", WIRES)
def test_every_node_has_a_name_in_the_tex(frame, look):
    drawing = draw(frame, style=look, direction="TB", show=("name", "shape", "value", "grad"))
    text = to_tikz(drawing)
    names = NODE.findall(text)
    shown = drawing.frame.graph
    assert sorted(name for name in names if name[0] == "n") == sorted(f"n{node.id}" for node in shown)
    gates = sum(node.kind == "op" for node in shown) if look == "circuit" else 0
    assert sum(name.startswith("op") for name in names) == gates
    assert_closed(text)


@pytest.mark.parametrize("look", WIRES)
def test_hostile_names_bring_no_command_into_the_tex(look):
    plain = body_of(to_tikz(draw(chain(("a", "b", *"cdefghijklmnopqrstuvwxyz")), style=look, fold=False)))
    text = body_of(to_tikz(draw(chain(HOSTILE), style=look, title="\\input{x} % $", fold=False, show=NUMBERS)))
    used, usual = (set(re.findall(r"\\([A-Za-z@]+)", bare(found))) for found in (text, plain))
    assert not used & {"input", "write", "def", "catcode", "immediate"} - usual
    assert re.findall(r"(?<!\\)(?:\\\\)*%", text) == []
    assert not re.search(r"(?<!\\)[$#^_]", text)


@pytest.mark.parametrize("look", WIRES)
def test_the_looks_of_the_tex_stand_at_its_top(look):
    text = to_tikz(draw(article(), style=look))
    top, body = text.split("rounded corners=4bp}]")
    used = set(re.findall(r"\bgv [a-z ]+", body.replace("gv on wire,", "gv on wire ,")))
    assert {look.strip() for look in used} <= {found.strip() for found in re.findall(r"(gv [a-z ]+)/\.style", text)}
    assert "line width" not in body
    assert "gvvalue" in top


def has_tex() -> bool:
    """Tell whether this machine has a TeX that knows the class of our pictures."""
    if not (shutil.which("pdflatex") and shutil.which("kpsewhich")):
        return False
    return bool(subprocess.run(["kpsewhich", "standalone.cls"], capture_output=True, check=False).stdout)


@pytest.mark.skipif(not has_tex(), reason="no pdflatex with the class standalone (texlive-latex-extra)")
@pytest.mark.parametrize("look", WIRES)
def test_tex_takes_it(look, tmp_path):
    show = ("name", "shape", "value", "grad", "local", "stats")
    for name, frame in (("arrays", network()), ("hostile", chain(HOSTILE))):
        picture = draw(frame, style=look, fold=False, show=show if name == "arrays" else NUMBERS, direction="TB")
        picture.save(tmp_path / f"{name}.tex")
        run = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace")
