"""Folding: what is found, what stays true, and how folds are opened, in pictures and by a click."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradviz
from gradviz import Tensor, draw, scope
from gradviz.errors import GradvizValueError, UnknownNameError
from gradviz.graphs import EdgeTable, Frame, Graph, Node, Source
from gradviz.transforms import Folded, collapse, fold, images
from tests.browser import browser, opened  # noqa: F401
from tests.pages import Reader
from tests.pictures import article, samples
from tests.test_transforms import frames as random_frames
from tests.test_transforms import layers, names


def line_fit(count=100):
    w, b = Tensor(0.5, name="w"), Tensor(0.1, name="b")
    loss = 0.0
    for i in range(count):
        error = w * (i / count) + b - 2.0 * i
        loss = loss + error**2
    loss.backward()
    return gradviz.frame(loss)


def recurrence(count=1000):
    rng = np.random.default_rng(0)
    w = Tensor(rng.normal(size=(3, 3)) / 3, name="W")
    h = gradviz.constant(np.ones(3))
    for _ in range(count):
        h = np.tanh(w @ h + 0.5)
    loss = h.sum()
    loss.backward()
    return gradviz.frame(loss)


def epochs(count=6, inner=8):
    w = Tensor(0.5, name="w")
    for _ in range(count):
        total = 0.0
        for i in range(inner):
            total = total + (w * i - 2.0) * i
        w = w - 0.01 * total
    return gradviz.frame(w * 1.0)


def norm(x):
    centred = x - x.mean()
    return centred / np.sqrt((centred * centred).mean() + 1e-5)


def blocks(depth=12):
    rng = np.random.default_rng(0)
    x = gradviz.constant(rng.normal(size=(4, 8)))
    for _ in range(depth):
        up, down = Tensor(rng.normal(size=(8, 16))), Tensor(rng.normal(size=(16, 8)))
        x = x + np.tanh(norm(x) @ up) @ down
        x = x + norm(x)
    return gradviz.frame((x**2).sum())


def branching(count=40):
    w, total = Tensor(0.5, name="w"), 0.0
    for i in range(count):
        y = w * np.sin(3.0 * i)
        total = total + (y**2 if np.sin(3.0 * i) > 0.2 else np.exp(y))
    return gradviz.frame(total)


def bare(frame):
    """The same frame as a stranger would hand it in: no lines, no scopes, no names."""
    nodes = tuple(replace(node, source=None, scope=(), name=f"v{node.id}") for node in frame.graph)
    return Frame(Graph(nodes, frame.graph.outputs), frame.values, frame.grads, frame.edges)


def loops(frame):
    """The loops by the number of their rounds, outer ones first."""
    return [loop.count for loop in Folded(frame, 3).loops]


LOOPS = {
    "line_fit": (line_fit, [100], 12),
    "recurrence": (recurrence, [1000], 10),
    "epochs": (epochs, [6, 8], 17),
    "blocks": (blocks, [12], 32),
}


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("strange", [False, True], ids=["by lines", "by structure"])
def test_loops_are_found_by_lines_and_by_structure_alone(name, strange):
    make, counts, most = LOOPS[name]
    frame = bare(make()) if strange else make()
    assert loops(frame) == counts
    small = fold(frame)
    assert len(small.graph.check()) <= most


def test_rounds_that_branch_are_one_loop_with_the_counts_of_each_way():
    frame = branching()
    assert loops(frame) == [40]
    counts = {node.op: node.attrs.get("folded") for node in fold(frame).graph if node.op in {"pow", "exp", "mul"}}
    assert counts["pow"] + counts["exp"] == counts["mul"] == 40


def test_branches_side_by_side_are_drawn_once_with_one_edge():
    w = Tensor(0.5, name="w")
    frame = gradviz.frame(np.stack([np.sin(w * float(i)) ** 2 for i in range(40)]).sum())
    for small in (fold(frame), fold(bare(frame))):
        stack = next(node for node in small.graph if node.op == "stack")
        assert len(stack.inputs) == 1
        assert small.graph.nodes[stack.inputs[0]].attrs["folded"] == 40


def test_a_helper_that_is_called_twice_a_round_is_two_things():
    found = [node.attrs["folded"] for node in fold(blocks()).graph if node.op == "sqrt"]
    assert found == [12, 12]


def test_a_scope_around_a_cell_does_not_hide_the_loop():
    h, w = Tensor(0.1, name="h"), Tensor(0.9, name="w")
    for _ in range(50):
        with scope("cell"):
            h = np.tanh(w * h)
    small = fold(gradviz.frame(h.sum()))
    tanh = next(node for node in small.graph if node.op == "tanh")
    assert tanh.scope[0] == "cell"
    assert tanh.attrs["rounds"] == ((2, 50),)


def test_folds_in_numbered_blocks_are_nested():
    x = Tensor(0.1, name="x")
    for layer in range(6):
        with scope(f"layers.{layer}"):
            for _ in range(5):
                x = np.sin(np.cos(x))
    small = fold(gradviz.frame(x * 1.0))
    sine = next(node for node in small.graph if node.op == "sin")
    assert sine.attrs["folded"] == 30
    assert [count for _, count in sine.attrs["rounds"]] == [6, 5]


def test_wiring_counts_not_only_the_ops():
    rng = np.random.default_rng(0)
    nodes = [Node(i, f"x{i}", "input", "input") for i in range(9)]
    for i in range(9, 200):
        nodes.append(Node(i, f"v{i}", "add", "op", tuple(map(int, rng.choice(i, 2)))))  # noqa: PERF401
    whole = Frame(Graph(tuple(nodes), (199,)), [None] * 200, [None] * 200)
    assert len(fold(whole).graph) > 150


def test_what_flows_between_rounds_is_kept_with_its_gradients():
    whole = line_fit()
    small = fold(whole)
    add = next(node for node in small.graph if node.id in node.attrs.get("carried", ()))
    back = small.edges.carried_grad(add.id, add.id)
    assert back.shape == (98,)  # the last of 100 stands alone, the first takes from outside
    assert "added up" in draw(whole).dot
    assert "next round" in draw(recurrence(100)).dot


def test_a_gradient_that_reached_some_rounds_says_how_many():
    whole = blocks(5)
    grads = [None if node.id < len(whole.graph) // 2 else 1.0 for node in whole.graph]
    small = fold(Frame(whole.graph, whole.values, grads))
    partly = [node for node in small.graph if "reached" in node.attrs]
    assert partly
    assert all(0 < node.attrs["reached"] < node.attrs["folded"] for node in partly)
    assert f"in {partly[0].attrs['reached']} of 5" in draw(Frame(whole.graph, whole.values, grads), fold=True).svg


def test_closed_scopes_are_not_rounds_of_one_loop_because_one_line_called_them():
    line = Source("net.py", 3, 0, 9)
    nodes = [Node(0, "x", "input", "input")]
    for name in ("norm", "up", "down"):
        for op in ("sin", "cos"):
            i = len(nodes)
            nodes.append(Node(i, f"{op}{i}", op, "op", (i - 1,), source=line, scope=(name,)))
    whole = Frame(Graph(tuple(nodes), (6,)), [1.0] * 7, [1.0] * 7)
    assert names(draw(whole, fold=True, collapse=0).frame) == ["x", "norm", "up", "down"]


def test_layers_written_out_by_hand_are_found_by_their_structure():
    a = Tensor(1.0, name="a")
    l1 = np.tanh(a * 2.0 + 1.0)
    l2 = np.tanh(l1 * 2.0 + 1.0)
    l3 = np.tanh(l2 * 2.0 + 1.0)
    l4 = np.tanh(l3 * 2.0 + 1.0)
    frame = gradviz.frame(l4 * 3.0)
    assert loops(frame) == [4]
    first = frame.graph["l1"].source.line
    assert Folded(frame, 3).loops[0].name == f"test_folding.py:{first}-{first + 3}"


def test_helpers_and_odd_rounds_do_not_join_what_is_apart():
    x, w = Tensor(0.3, name="x"), Tensor(0.5, name="w")
    for _ in range(20):
        x = norm(x) + 1.0
    for _ in range(30):
        x = norm(x * 2.0) - 1.0
    assert loops(gradviz.frame(x)) == [20, 30]
    h = np.exp(w)
    for step in range(40):
        h = np.tanh(w * h) if 0 < step < 39 else np.sin(w * h)
    assert loops(gradviz.frame(h)) == [38]
    ragged = 0.0
    for i in range(30):
        for j in range(i % 4):
            ragged = ragged + w * j
        ragged = np.sin(ragged) + w
    assert loops(gradviz.frame(ragged)) == [30, 3]


# -- laws


@st.composite
def looping(draw_, deep=2):
    """A frame made by loops in loops with a random body."""
    body = draw_(st.lists(st.tuples(st.sampled_from(["add", "mul", "sin"]), st.integers(1, 4)), min_size=1, max_size=4))
    rounds = draw_(st.integers(1, 7))
    inner = draw_(st.integers(0, 4)) if deep else 0
    with_lines = draw_(st.booleans())
    nodes = [Node(0, "x", "input", "input"), Node(1, "w", "param", "param")]

    def add(op, back, line):
        last = len(nodes) - 1
        inputs = (last,) if op == "sin" else (last, max(0, last - back))
        source = Source("f.py", line, 0, 1) if with_lines else None
        nodes.append(Node(last + 1, f"{op}_{last}", op, "op", inputs, source=source))

    for _ in range(rounds):
        for _ in range(inner):
            add("sin", 1, 99)
        for line, (op, back) in enumerate(body):
            add(op, back, line)
    graph = Graph(tuple(nodes), (len(nodes) - 1,))
    grads = dict.fromkeys(graph.edges, 1.0)
    return Frame(graph, [float(node.id) for node in nodes], [1.0] * len(nodes), EdgeTable(grads, grads))


@given(st.one_of(looping(), random_frames()), st.one_of(st.none(), st.just(True)))
def test_folding_keeps_the_laws_of_graphs_and_every_node_and_edge(whole, unfold):
    small = fold(whole, 2, unfold=unfold)
    small.graph.check()
    places = images(whole, small)
    assert sorted(set(places)) == list(range(len(small.graph)))
    assert sum(node.attrs.get("folded", 1) for node in small.graph) == len(whole.graph)
    assert [places[i] for i in whole.graph.outputs] == list(small.graph.outputs)
    links = {(src, dst) for src, dst, _ in small.graph.edges}
    links |= {(src, node.id) for node in small.graph for src in node.attrs.get("carried", ())}
    assert {(places[src], places[dst]) for src, dst, _ in whole.graph.edges} == links
    again = fold(whole, 2, unfold=unfold)
    assert again.graph.fingerprint() == small.graph.fingerprint()


@given(looping())
def test_gradients_of_edges_add_up_to_the_same(whole):
    small = fold(whole, 2)
    total = sum(np.sum(small.edge_grad(*edge)) for edge in small.graph.edges)
    carried = getattr(small.edges, "carried", {})
    total += sum(np.sum(small.edges.carried_grad(*ends)) for ends in carried)
    assert total == len(whole.graph.edges)


@given(looping())
def test_an_opened_fold_shows_rounds_in_their_order(whole):
    small = fold(whole, 2, unfold=True)
    places = images(whole, small)
    assert all(places[src] < places[dst] for src, dst, _ in whole.graph.edges if places[src] != places[dst]) or any(
        "carried" in node.attrs for node in small.graph
    )


# -- opening


def test_an_opened_fold_shows_the_first_two_rounds_and_the_last():
    small = fold(line_fit(), unfold=True)
    small.graph.check()
    boxes = list(dict.fromkeys(node.scope[1] for node in small.graph if len(node.scope) > 1))
    assert boxes == ["round 1 of 100", "round 2 of 100", "rounds 3 … 99", "round 100 of 100"]
    counts = {node.attrs.get("folded") for node in small.graph}
    assert counts == {None, 97}


def test_few_rounds_are_all_shown():
    assert not any("folded" in node.attrs for node in fold(samples(4), unfold=True).graph)


def test_folds_are_opened_by_their_name_a_node_a_scope_or_all():
    frame = line_fit()
    name = Folded(frame, 3).loops[0].name
    assert re.fullmatch(r"test_folding\.py:\d+-\d+", name)
    whole = len(draw(frame).frame.graph)
    opened_ = len(draw(frame, unfold=name).frame.graph)
    assert opened_ > 2 * whole
    folded = next(node.name for node in fold(frame).graph if "folded" in node.attrs and node.kind == "op")
    for same in (True, [name], folded):
        assert len(draw(frame, unfold=same).frame.graph) == opened_
    inside = frame.graph.find(op="pow")[49].name
    shown = draw(frame, unfold=inside).frame.graph
    assert inside in shown
    assert len(draw(frame, unfold=frame.graph.index(inside)).frame.graph) == len(shown)
    network = layers([4] * 12, name="net")
    assert "net.5.lin" in draw(network, unfold="net.5.lin").frame.graph
    assert len(draw(network, unfold="net", fold=True).frame.graph) == len(
        draw(network, unfold=True, fold=True).frame.graph
    )


def test_a_name_that_opens_nothing_is_refused_with_a_suggestion():
    frame = line_fit()
    with pytest.raises(UnknownNameError, match=r"no fold is named 'test_folding\.py:1'\n  did you mean"):
        draw(frame, unfold="test_folding.py:1")
    with pytest.raises(UnknownNameError, match="'w' is in no fold"):
        draw(frame, unfold="w")
    with pytest.raises(UnknownNameError, match="nothing is folded"):
        draw(article(), unfold="a")
    with pytest.raises(GradvizValueError, match="unfold"):
        draw(frame, unfold=[2.5])


def test_a_nested_fold_is_opened_inside_its_round():
    frame = epochs()
    outer, inner = (loop.name for loop in Folded(frame, 3).loops)
    assert len(fold(frame, unfold=outer).graph) < len(fold(frame, unfold=[outer, inner]).graph)
    chosen = Folded(frame, 3).frame(opened=[(outer,), (outer, "round 2 of 6", inner)])
    chosen.graph.check()
    boxes = {node.scope[1] for node in chosen.graph if len(node.scope) > 3}
    assert boxes == {"round 2 of 6"}


def test_unfold_goes_with_collapse_focus_steps_and_highlight():
    network = layers([4] * 12)
    closed = draw(network, fold=True, collapse=1, unfold="layers.3.lin")
    assert {"layers.0", "layers.1", "layers.3", "layers.11"} <= set(names(closed.frame))
    near = draw(line_fit(), focus="w", unfold=True)
    assert "w" in near.frame.graph
    kept = draw(line_fit(), highlight=["pow_50"])
    assert kept.frame.graph.nodes[kept.options.highlight[0]].attrs["folded"] == 100
    steps = gradviz.steps(line_fit(30))
    assert len(draw(steps[20], unfold=True).frame.graph.check()) > 20
    assert len(draw(line_fit().graph, unfold=True).svg) > 1000
    assert collapse(fold(network), 0).graph.check()


# -- how it looks


def test_a_fold_is_a_stack_with_its_count_on_the_box():
    svg = draw(line_fit()).svg
    assert re.search(r">\s*×100\s+test_folding\.py:\d+-\d+<", svg)
    assert svg.count('data-fold="test_folding.py') > 5
    assert 'transform="translate(8 -8)"' in svg
    assert draw(article(), fold=True).svg.count("data-fold") == 0


def test_mermaid_shows_the_count_and_what_is_handed_on():
    from gradviz.views.mermaid import to_mermaid

    text = to_mermaid(draw(line_fit()))
    assert re.search(r"""subgraph s1\["×100 test#?_?.*folding""", text)
    assert re.search(r"""n(\d+) -\.->\|"added up"\| n\1\n""", text)


def test_the_page_holds_pictures_of_opened_folds(tmp_path):
    text = draw(epochs()).save(tmp_path / "a.html").read_text("utf-8")
    reader = Reader(text)
    pictures = [attrs.get("data-open", "") for attrs in reader.of("figure")]
    outer, inner = (loop.name for loop in Folded(epochs(), 3).loops)
    assert pictures[:3] == ["", outer, f"{outer} / round 1 of 6 / {inner}"]
    numbers = [attrs["data-node"] for tag, attrs in reader.elements if tag == "g" and "data-node" in attrs]
    assert numbers == [str(i) for i in range(len(numbers))]
    assert len(reader.data()["nodes"]) == len(numbers)
    nodes = reader.data()["nodes"]
    assert all(0 <= other < len(nodes) for node in nodes for other in (*node["inputs"], *node["users"]))


def test_too_many_folds_for_one_page_are_counted():
    nodes = [Node(0, "x", "input", "input")]
    for loop in range(20):
        for _ in range(5):
            i = len(nodes)
            nodes.append(Node(i, f"a{i}", "sin", "op", (i - 1,), source=Source("f.py", loop, 0, 1)))
    frame = Frame(Graph(tuple(nodes), (len(nodes) - 1,)), [1.0] * len(nodes), [1.0] * len(nodes))
    from gradviz.views.webpage import to_html

    text = to_html(draw(frame, style="compact"))
    assert text.count("data-open=") == 2 * 12
    assert "8 folds have no picture here" in text


def test_a_click_or_enter_opens_a_fold_and_the_trail_leads_back(browser, tmp_path):  # noqa: F811
    file = draw(epochs(), title="Epochs").save(tmp_path / "a.html")
    with opened(browser, file) as page:
        assert page.locator("figure:visible").count() == 1
        assert page.locator("nav:visible").count() == 0
        stack = page.locator(".gv-node.opens:visible")
        assert stack.first.get_attribute("aria-expanded") == "false"
        stack.first.click()
        assert page.locator("figure:visible figcaption").text_content().endswith(", opened")
        assert page.locator("figure:visible").get_by_text("round 2 of 6").count() >= 1
        stack.first.focus()
        page.keyboard.press("Enter")
        trail = page.locator(".trail button").all_text_contents()
        assert trail[0] == "Whole picture"
        assert len(trail) == 4
        single = page.locator("figure:visible .gv-node:not(.opens)").first
        single.click()
        assert page.locator("#details").is_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Whole picture").click()
        assert page.locator(".trail").is_hidden()
        page.locator(".table:visible tr[data-node]").nth(3).click()
        assert page.locator("#details").is_visible()


def test_without_scripts_every_picture_can_be_read(browser, tmp_path):  # noqa: F811
    file = draw(line_fit(20), title="Fit").save(tmp_path / "a.html")
    with opened(browser, file, java_script_enabled=False) as page:
        assert page.locator("figure:visible").count() == 2
        assert page.locator(".table:visible").count() == 2
