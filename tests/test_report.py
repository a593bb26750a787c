"""The report: one page that needs no network and runs no script but its own, its numbers those of the run."""

import base64
import hashlib
import re
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest

import gradviz
from gradviz import Tensor
from gradviz.cli import main
from gradviz.errors import GradvizValueError, MissingFolderError
from gradviz.views.page import page_of
from gradviz.views.page.packing import packed_bytes, packed_numbers, rounded
from gradviz.views.page.thinning import chosen
from gradviz.views.page.views import first_shown, views
from gradviz.views.page.writer import SCRIPTS, script
from tests.hostile import HOSTILE
from tests.pages import Reader
from tests.reports import BORN, EVIL, chain, changing, plain, train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def text(run):
    return page_of(run)


@pytest.fixture(scope="module")
def page(text):
    return Reader(text)


def unpacked(text, steps):
    """Undo `packed_numbers` as the page does."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(8, -1)
    words = np.ascontiguousarray(planes.T).view("<u8").reshape(-1, steps).copy()
    np.bitwise_xor.accumulate(words, axis=1, out=words)
    return words.view(np.float64)


def column(scene, node, kind, steps):
    """Return the numbers of a scalar node at every step."""
    _, _, start, *_ = scene["numbers"]["tracks"][node]
    return unpacked(scene["numbers"]["numbers"], steps)[start + (kind == "grad")]


# -- the page as a whole


def test_the_policy_names_every_style_and_script_and_nothing_else(page):
    policy = next(attrs["content"] for tag, attrs in page.elements if tag == "meta" and "http-equiv" in attrs)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert set(rules) == {"default-src", "base-uri", "form-action", "script-src", "style-src"}
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for kind in ("script", "style"):
        wanted = {
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for tag, attrs, text in page.raw
            if tag == kind and "type" not in attrs
        }
        assert set(rules[f"{kind}-src"].split()) == wanted
    places = [i for i, (tag, attrs) in enumerate(page.elements) if "http-equiv" in attrs or tag in {"style", "script"}]
    assert "http-equiv" in page.elements[places[0]][1]


def test_the_page_refers_to_nothing_outside(page, text):
    for tag, attrs in page.elements:
        assert tag not in {"a", "img", "image", "link", "iframe", "object", "embed", "base", "use", "form"}
        for name in attrs:
            assert not name.startswith("on"), (tag, name)
            assert name not in {"href", "src", "xlink:href", "style", "srcdoc", "action"}, (tag, name)
    known = {"http://www.w3.org/2000/svg"}
    assert set(re.findall(r"https?://[^\s\"')]+", text)) <= known


def test_only_the_scripts_of_the_package_run(page):
    scripts = [(attrs, text) for tag, attrs, text in page.raw if tag == "script"]
    assert [attrs for attrs, _ in scripts] == [{"type": "application/json", "id": "data"}, {}]
    assert scripts[1][1] == script()
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|fetch\(|XMLHttp|\.style\.cssText",
        script(),
    )


def test_the_scripts_are_files_that_can_be_read():
    from gradviz.views.page.writer import FOLDER

    for name in SCRIPTS:
        lines = FOLDER.joinpath("js", name).read_text("utf-8").splitlines()
        assert len(lines) <= 400, name
        assert lines[0].startswith("// "), name
    assert sorted(found.name for found in FOLDER.joinpath("js").iterdir()) == sorted(SCRIPTS)


def test_hostile_text_is_text(page, text):
    assert "<img" not in text
    assert [node["name"] for node in page.data()["scenes"][0]["nodes"] if "img" in node["name"]] == [EVIL]
    assert any(EVIL in event["text"] for event in page.data()["events"])
    assert ["about", EVIL] in page.data()["meta"]
    text.encode()


def test_hostile_names_make_a_page(tmp_path):
    names = [name for name in HOSTILE if name]
    params = {name: Tensor(float(i), name=name) for i, name in enumerate(names)}
    with gradviz.trace(tmp_path / "run", params=params) as log:
        for _ in range(3):
            with gradviz.scope(EVIL):
                loss = sum(param * param for param in params.values())
            loss.backward()
            log.step(loss)
    found = page_of(gradviz.open_run(tmp_path / "run"), title=EVIL)
    found.encode()
    reader = Reader(found)
    assert "<img" not in found
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029\ud800-\udfff\ufffe\uffff]", found)
    for node in reader.data()["scenes"][0]["nodes"]:
        assert len(node["title"]) <= 200


def test_it_can_be_read_without_scripts(page):
    texts = {text for _, text in page.texts}
    assert {"The last step", "Loss", "Findings", "Parameters", "table"} <= texts
    assert any("NaN is born in" in text for text in texts)
    assert sum(tag == "svg" for tag, _ in page.elements) == 2
    hidden = [attrs.get("id") for tag, attrs in page.elements if "hidden" in attrs]
    assert "app" in hidden
    assert "still" not in hidden


def test_the_same_run_gives_the_same_bytes(run, text):
    assert page_of(gradviz.open_run(run.path)) == text


def test_another_process_writes_the_same_bytes(run, text, tmp_path):
    code = "import sys, gradviz; gradviz.open_run(sys.argv[1]).save(sys.argv[2])"
    target = tmp_path / "report.html"
    subprocess.run([sys.executable, "-c", code, str(run.path), str(target)], check=True, env=None)
    assert target.read_text("utf-8") == text


# -- what it says


def test_every_number_is_that_of_the_run(run, page):
    data = page.data()
    scene = data["scenes"][0]
    assert data["steps"] == run.steps.tolist()
    for position, step in enumerate(data["steps"]):
        frame = run.frame(step)
        for node in frame.graph:
            form, *_ = scene["numbers"]["tracks"][node.id]
            if form != "scalar":
                continue
            for kind, number in (("value", frame.values[node.id]), ("grad", frame.grads[node.id])):
                shown = column(scene, node.id, kind, len(data["steps"]))[position]
                assert np.isnan(shown) if number is None else np.isclose(shown, number, rtol=1e-7, equal_nan=True)


def test_the_array_has_its_sums_and_its_picture(run, page):
    scene = page.data()["scenes"][0]
    node = run.graph.index("table")
    form, shape, start, cells, rows, columns, members = scene["numbers"]["tracks"][node]
    assert (form, shape, rows, columns, members) == ("summary", [20, 10], 16, 10, [node])
    steps = len(page.data()["steps"])
    low, high, mean, norm, zeros, nans, infs, _ = unpacked(scene["numbers"]["numbers"], steps)[start : start + 8, 3]
    value = run.frame(3).value("table")
    assert np.allclose(
        [low, high, mean, norm], [value.min(), value.max(), value.mean(), np.linalg.norm(value)], rtol=1e-4
    )
    assert (zeros, nans, infs) == (0, 0, 0)
    assert [track for track, *_ in scene["numbers"]["exponents"]].count(node) == 2
    assert cells > 0


def test_findings_know_their_step_and_node(page):
    found = [finding for finding in page.data()["findings"] if finding["rule"] == "nan"]
    assert found
    assert found[0]["step"] == BORN
    assert page.data()["steps"][found[0]["place"]] == BORN
    assert found[0]["node"] in {node["name"] for node in page.data()["scenes"][0]["nodes"]}


def test_every_view_has_a_place_for_every_node(page):
    scene = page.data()["scenes"][0]
    assert len(scene["views"]) > 3
    for view in scene["views"]:
        assert len(view["places"]) == len(scene["nodes"])
        used = {place for place in view["places"] if place is not None}
        assert used == set(range(len(view["nodes"])))
        for card in view["nodes"]:
            x, y, width, height = card["box"]
            assert 0 <= x <= x + width <= view["width"] + 1
            assert 0 <= y <= y + height <= view["height"] + 1
    assert {tuple(map(tuple, view["opened"])) for view in scene["views"]} >= {
        (),
        (("net",),),
        (("net",), ("net", "mix")),
    }


def test_a_folded_card_has_the_numbers_of_all_rounds(run, page):
    scene = page.data()["scenes"][0]
    folded = next(view for view in scene["views"] if view["folded"])
    card = next(card for card in folded["nodes"] if card["count"] == 5 and not card["opens"])
    form, shape, start, _, _, _, members = scene["numbers"]["tracks"][card["track"]]
    assert (form, shape, len(members)) == ("full", [5], 5)
    steps = len(page.data()["steps"])
    shown = unpacked(scene["numbers"]["numbers"], steps)[start : start + 5, 4]
    assert np.allclose(shown, [run.frame(4).values[member] for member in members], rtol=1e-6)


def test_an_edge_carries_what_it_adds_to_the_gradient(run, page):
    scene = page.data()["scenes"][0]
    steps = len(page.data()["steps"])
    numbers = unpacked(scene["numbers"]["numbers"], steps)
    frame = run.frame(5)
    assert scene["edges"]
    for edge, place in scene["edges"].items():
        grad = frame.edge_grad(*map(int, edge.split(",")))
        if isinstance(grad, float):
            assert np.isclose(numbers[scene["numbers"]["columns"] + place, 5], grad, rtol=1e-3)


# -- long, large, changing, plain


def test_a_thousand_nodes_at_a_thousand_steps_fit(tmp_path):
    opened = chain(tmp_path / "run", 1200, 1000)
    assert len(opened.graph) >= 1000
    saved = opened.save(tmp_path / "report.html")
    assert saved.stat().st_size < 10_000_000
    data = Reader(saved.read_text("utf-8")).data()
    assert len(opened) == data["total"] == 1000
    assert 100 < len(data["steps"]) < 1000
    assert {data["steps"][0], data["steps"][-1]} == {0, 999}
    shown = f"{len(data['steps'])} of 1,000 steps are shown, those where most changes"
    assert shown in saved.read_text("utf-8")
    assert max(len(view["nodes"]) for view in data["scenes"][0]["views"]) >= 1000
    assert len(data["scenes"][0]["views"][data["scenes"][0]["shown"]]["nodes"]) <= 60


def test_of_a_graph_too_large_for_a_page_a_part_is_shown(tmp_path):
    opened = chain(tmp_path / "run", 6000, 2)
    scene = Reader(page_of(opened)).data()["scenes"][0]
    assert scene["whole"] == len(opened.graph) > 4000
    assert 1 < len(scene["nodes"]) <= 60
    assert scene["nodes"][scene["outputs"][0]]["name"] == opened.graph.nodes[opened.graph.outputs[0]].name
    assert len(scene["numbers"]["tracks"]) == len(scene["nodes"])


def test_steps_can_be_fewer(run):
    data = Reader(page_of(run, steps=7)).data()
    assert len(data["steps"]) == 7
    assert {0, BORN, 29} <= set(data["steps"])


def test_the_most_frequent_structures_are_drawn(tmp_path):
    data = Reader(page_of(changing(tmp_path / "run"))).data()
    assert data["structures"] == 8
    assert len(data["scenes"]) == 4
    assert -1 in data["scene"]
    assert max(map(len, (scene["places"] for scene in data["scenes"]))) == 12
    assert data["scene"].count(-1) == 40 - sum(len(scene["places"]) for scene in data["scenes"])


def test_plain_losses_are_shown_too(tmp_path):
    data = Reader(page_of(plain(tmp_path / "run"))).data()
    assert len(data["scenes"]) == 1
    assert any("had no graph" in note for note in data["notes"])
    assert [curve["name"] for curve in data["curves"]] == ["w"]


def test_a_run_without_steps_makes_a_page(tmp_path):
    with gradviz.trace(tmp_path / "run", params={"w": Tensor(1.0)}):
        pass
    assert "no steps yet" in page_of(gradviz.open_run(tmp_path / "run"))


@pytest.mark.parametrize("level", ["scalars", "stats"])
def test_what_was_summed_up_is_shown(tmp_path, level):
    w = Tensor(np.ones((9, 9)), name="w")
    with gradviz.trace(tmp_path / "run", params={"w": w}, level=level) as log:
        for step in range(5):
            loss = (w * w).sum()
            loss.backward()
            log.step(loss)
            w.data = w.data * (1.0 - 0.1 * step)
            w.zero_grad()
    data = Reader(page_of(gradviz.open_run(tmp_path / "run"))).data()
    track = data["scenes"][0]["numbers"]["tracks"][0]
    assert track[0] == "summary"
    norm = unpacked(data["scenes"][0]["numbers"]["numbers"], 5)[track[2] + 3]
    assert np.allclose(norm, gradviz.open_run(tmp_path / "run")["w"].norm, rtol=1e-4)
    assert bool(data["scenes"][0]["numbers"]["exponents"]) == (level == "stats")


def test_steps_out_of_order_come_in_order_and_the_later_counts(tmp_path):
    w = Tensor(1.0, name="w")
    with gradviz.trace(tmp_path / "run", params={"w": w}) as log:
        for number in (5, 6, 2, 3, 6):
            loss = w * w
            loss.backward()
            log.step(loss, step=number)
            w.data = w.data + 1.0
            w.zero_grad()
    data = Reader(page_of(gradviz.open_run(tmp_path / "run"))).data()
    assert data["steps"] == data["loss"]["steps"] == [2, 3, 5, 6]
    assert unpacked(data["losses"], 4)[0].tolist() == [9.0, 16.0, 1.0, 25.0]


def test_the_loss_of_a_long_run_is_drawn_by_its_extremes(tmp_path):
    w = Tensor(1.0, name="w")
    losses = np.sin(np.arange(9000))
    losses[4321], losses[7000] = 50.0, np.nan
    with gradviz.trace(tmp_path / "run", params={"w": w}) as log:
        for loss in losses.tolist():
            log.step(loss)
    data = Reader(page_of(gradviz.open_run(tmp_path / "run"), steps=50)).data()
    shown = data["loss"]["steps"]
    assert 2000 < len(shown) < 5000
    assert shown == sorted(shown)
    assert {4321, 7000} <= set(shown)
    assert {0, 8999, 7000} <= set(data["steps"])


def test_a_run_that_is_being_written_is_shown_as_it_is(tmp_path):
    w = Tensor(1.0, name="w")
    with gradviz.trace(tmp_path / "run", params={"w": w}) as log:
        for loss in (3.0, 2.0):
            log.step(loss)
        found = page_of(gradviz.open_run(tmp_path / "run", follow=True))
        assert "2 steps, loss 3 → 2" in found
        assert "still being written" in found
    assert "still being written" not in page_of(gradviz.open_run(tmp_path / "run"))


def test_more_digits_get_more_room(run):
    widths = []
    for digits in (3, 9):
        scene = Reader(page_of(run, precision=digits, steps=2)).data()["scenes"][0]
        widths.append(next(card["box"][2] for card in scene["views"][0]["nodes"] if card["title"] == "b"))
    assert widths[1] > widths[0] + 20


# -- options and the command line


def test_a_part_without_steps_has_a_page_of_its_events(run, tmp_path):
    assert "<h1" in run[:0].save(tmp_path / "none.html").read_text()


def test_options_are_checked(run, tmp_path):
    for wrong in ({"colour": 1}, {"direction": "up"}, {"steps": 1}, {"steps": "many"}, {"theme": "pink"}):
        with pytest.raises(GradvizValueError):
            run.save(tmp_path / "report.html", **wrong)
    with pytest.raises(MissingFolderError):
        run.save(tmp_path / "nowhere" / "report.html")
    with pytest.raises(GradvizValueError, match=r"a report is a page, not 'report\.pdf'"):
        run.save(tmp_path / "report.pdf")
    assert list(tmp_path.iterdir()) == []


def test_the_verb_writes_the_page(run, text, tmp_path, capfdbinary):
    target = tmp_path / "out.html"
    assert main(["report", str(run.path), "-o", str(target)]) == 0
    assert target.read_text("utf-8") == text
    assert capfdbinary.readouterr().out == b""
    assert main(["report", str(run.path), "-o", "-", "--title", "Mine", "--theme", "dark", "--steps", "5"]) == 0
    out = capfdbinary.readouterr().out.decode()
    assert "<h1>Mine</h1>" in out
    assert 'data-theme="dark"' in out
    assert main(["report", str(tmp_path)]) == 2


# -- the parts


def test_rounding_keeps_the_range_and_what_is_not_finite():
    numbers = np.array([1 / 3, -1e300, 5e-324, np.nan, np.inf, -np.inf, 0.0, -0.0, 1.7976931348623157e308])
    found = rounded(numbers, 24)
    assert np.allclose(found[:2], numbers[:2], rtol=1e-7)
    assert np.array_equal(np.signbit(found[6:8]), [False, True])
    assert np.isnan(found[3])
    assert found[4:6].tolist() == [np.inf, -np.inf]
    assert np.isfinite(found[8])


def test_packing_can_be_undone():
    numbers = np.random.default_rng(0).normal(size=(5, 7))
    numbers[2, 3] = np.nan
    assert np.array_equal(unpacked(packed_numbers(numbers), 7), numbers, equal_nan=True)
    cells = np.random.default_rng(0).integers(-128, 128, (4, 9)).astype(np.int8)
    raw = np.frombuffer(zlib.decompress(base64.b64decode(packed_bytes(cells))), np.uint8).reshape(4, 9)
    assert np.array_equal(np.cumsum(raw, axis=1, dtype=np.uint8).view(np.int8), cells)
    assert struct.calcsize("d") == 8


def test_the_steps_kept_are_those_where_most_changes():
    loss = np.concatenate([np.linspace(10, 1, 50), np.ones(950)])
    kept = chosen(1000, 40, [loss], [700])
    assert len(kept) == 40
    assert {0, 700, 999} <= set(kept.tolist())
    assert np.sum(kept < 50) > 20
    broken = loss.copy()
    broken[600:] = np.nan
    assert {599, 600} & set(chosen(1000, 40, [broken]).tolist())
    assert chosen(10, 40, [loss[:10]]).tolist() == list(range(10))


def test_views_are_few_and_one_can_be_read(tmp_path):
    graph = chain(tmp_path / "run", 600, 2).graph
    found = views(graph)
    assert any(view.part for view in found)
    assert len(found[first_shown(found)].frame.graph) <= 60
    assert any(len(view.frame.graph) == len(graph) for view in found)
