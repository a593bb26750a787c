"""Pictures laid out by scope without Graphviz: asked for, or because Graphviz took too long."""

import itertools
import warnings
import xml.etree.ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gradviz
from gradviz import Tensor, animate, draw
from gradviz.errors import GradvizWarning, LayoutError, LayoutTimeoutError
from gradviz.graphs import Frame, Graph, Node
from gradviz.style import STYLES
from gradviz.views import embedded
from gradviz.views.painting import box_of
from gradviz.views.scoped import render
from gradviz.views.scoped.reading import lines_of, read
from gradviz.views.svg import SHAPES, SVG, render_dot
from tests import strategies
from tests.test_large_pictures import blocks

HOSTILE = ["</g><script>", 'a"]; b -> c [label="x', "back\\slash \\n \\l", "{|}", "日本", "x\n}", "-> y"]


def fitted():
    """Return the loss of a small fit in scopes, differentiated, with a step that is folded."""
    w, b = Tensor(0.5, name="w"), Tensor(0.1, name="b")
    loss = Tensor(0.0, name="start")
    for x in range(4):
        with gradviz.scope("net"), gradviz.scope("layer"):
            y = (w * float(x) + b).tanh()
        loss = loss + (y - 1.0) ** 2
    loss.backward()
    return loss


def named(names):
    nodes = [Node(i, name, "input", "input", scope=(name, "in")) for i, name in enumerate(names)]
    nodes.append(Node(len(names), "out", "stack", "op", tuple(range(len(names))), symbol="[ ]"))
    return Frame(Graph(tuple(nodes), (len(names),)), [1.0] * len(nodes), [2.0] * len(nodes))


def groups(svg, kind):
    return [g for g in ET.fromstring(svg).iter(f"{SVG}g") if kind in g.get("class", "").split()]


@pytest.mark.parametrize(("style", "direction"), list(itertools.product(STYLES, ("LR", "TB"))))
def test_every_style_has_the_same_elements_as_by_graphviz(style, direction):
    loss = fitted()
    look = {"style": style, "direction": direction, "show": ("name", "value", "grad", "local"), "title": "Fit"}
    for fold in (True, False):
        ours, theirs = (draw(loss, engine=engine, fold=fold, **look).svg for engine in ("scope", "embedded"))
        for kind in ("gv-node", "gv-op", "gv-edge", "gv-scope", "gv-share"):
            assert len(groups(ours, kind)) == len(groups(theirs, kind)), kind
        said = [
            sorted(" ".join((text.text or "").split()) for text in ET.fromstring(svg).iter(f"{SVG}text"))
            for svg in (ours, theirs)
        ]
        assert said[0] == said[1]
        assert "laid out by scope" in ET.fromstring(ours).findtext(f"{SVG}desc")
        assert "laid out by scope" not in theirs
        assert ours == draw(loss, engine="scope", fold=fold, **look).svg


def outlines(dot):
    root = ET.fromstring(render(dot))
    for group in root.iter(f"{SVG}g"):
        if group.get("class", "").startswith("node"):
            box = box_of(next(part for part in group if part.tag.removeprefix(SVG) in SHAPES))
            yield box.left, box.top, box.right, box.bottom


@pytest.mark.parametrize("direction", ["LR", "TB"])
@pytest.mark.parametrize("style", STYLES)
def test_no_two_nodes_lie_on_each_other(style, direction):
    for x in (fitted(), blocks(20), named(HOSTILE)):
        boxes = list(outlines(draw(x, style=style, direction=direction, fold=False).dot))
        assert len(boxes) > 7
        for one, other in itertools.combinations(boxes, 2):
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart, (one, other)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(strategies.frames(), st.sampled_from(STYLES), st.sampled_from(["LR", "TB"]))
def test_whatever_can_be_drawn_can_be_laid_out_by_scope(frame, style, direction):
    svg = draw(frame, engine="scope", style=style, direction=direction, fold=False).svg
    assert len(groups(svg, "gv-node")) == len(frame.graph)


def test_a_chain_of_a_thousand_is_as_wide_as_a_page():
    nodes = [Node(0, "x", "input", "input")]
    nodes += [Node(i, f"sin_{i}", "sin", "op", (i - 1,)) for i in range(1, 1000)]
    root = ET.fromstring(draw(Graph(tuple(nodes), (999,)), fold=False, engine="scope").svg)
    assert 0.5 < float(root.get("width")) / float(root.get("height")) < 3


def test_hostile_names_are_only_names():
    frame = named(HOSTILE)
    svg = draw(frame, engine="scope", fold=False).svg
    root = ET.fromstring(svg)
    assert not list(root.iter(f"{SVG}script"))
    assert len(groups(svg, "gv-edge")) == len(HOSTILE) + 1
    assert len(groups(svg, "gv-scope")) == 2 * len(HOSTILE)


@given(st.text(max_size=30))
def test_labels_come_back_from_dot(text):
    from gradviz import escape

    assert lines_of(escape.for_dot(text)) == [escape.clean(text).strip()]


def test_what_gradviz_has_not_written_is_refused():
    for dot in ("", "digraph { a -> b }", "graph {\n}", "digraph {\n<b>\n}", 'digraph {\na [label="\n}'):
        with pytest.raises(LayoutError):
            render_dot(dot, engine="scope")


def test_what_is_read_is_what_was_written():
    dot = draw(fitted(), fold=False).dot
    sheet = read(dot)
    assert (
        len(sheet.boxes)
        == sum(line.strip().startswith(("n", "op")) and "->" not in line for line in dot.splitlines()) - 1
    )
    assert len(sheet.wires) == dot.count(" -> ")
    assert {path[-1] for path in sheet.scopes} == {f"cluster{i}" for i in range(len(sheet.scopes))}


# -- the fallback


@pytest.fixture
def slow(monkeypatch):
    """A Graphviz that is stopped."""

    def stopped(dot, timeout):
        raise LayoutTimeoutError(f"Graphviz took longer than {timeout:g} s and was stopped", hint="fold=True")

    monkeypatch.setattr(embedded, "render", stopped)


@pytest.mark.usefixtures("slow")
def test_where_graphviz_takes_too_long_the_picture_is_laid_out_by_scope_and_says_so():
    with pytest.warns(GradvizWarning, match="longer than 7 s.*laid out by scope instead") as told:
        svg = draw(fitted(), timeout=7.0).svg
    assert told[0].filename == __file__
    assert "laid out by scope" in ET.fromstring(svg).findtext(f"{SVG}desc")
    with pytest.raises(LayoutTimeoutError):
        draw(fitted(), engine="embedded").svg


@pytest.mark.usefixtures("slow")
def test_other_dot_still_raises_what_graphviz_said():
    with pytest.raises(LayoutTimeoutError, match="stopped"):
        render_dot("digraph { a -> b }")


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf", ".tex", ".html"])
def test_every_format_falls_back(tmp_path, suffix):
    with pytest.warns(GradvizWarning, match="by scope"):
        assert draw(fitted()).save(tmp_path / f"fit{suffix}").stat().st_size > 1000


def test_asked_for_there_is_no_warning_and_no_graphviz(monkeypatch):
    monkeypatch.setattr(embedded, "render", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw(fitted(), engine="scope", style="circuit").svg


def test_without_any_graphviz_there_is_a_picture_all_the_same(tmp_path, monkeypatch):
    def missing(dot, timeout):
        raise ImportError("no module named wasmtime")

    monkeypatch.setattr(embedded, "render", missing)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.warns(GradvizWarning, match="dot.*laid out by scope instead"):
        assert len(groups(draw(fitted(), fold=False).svg, "gv-node")) > 10
    with pytest.raises(LayoutError, match="embedded Graphviz cannot be loaded"):
        draw(fitted(), engine="embedded").svg


def test_animations_and_steps_can_be_laid_out_by_scope(tmp_path):
    loss = fitted()
    animate(loss, tmp_path / "fit.svg", engine="scope")
    assert "@keyframes" in (tmp_path / "fit.svg").read_text("utf-8")
    found = gradviz.steps(loss).save(tmp_path / "steps.html", engine="scope").read_text("utf-8")
    assert found.count("<figure") == len(gradviz.steps(loss))


def test_the_command_line_knows_the_engine(tmp_path, capsys):
    from gradviz.__main__ import main

    script = tmp_path / "fit.py"
    script.write_text("from gradviz import Tensor\nloss = Tensor(2.0) * 3.0\nloss.backward()\n")
    assert main(["draw", f"{script}:loss", "-o", str(tmp_path / "fit.svg"), "--engine", "scope"]) == 0
    assert "laid out by scope" in (tmp_path / "fit.svg").read_text("utf-8")
    capsys.readouterr()
