"""The page: structure, policy, data, hostile text, and the page of steps."""

import base64
import hashlib
import math
import re
from pathlib import Path

import pytest

from gradviz.debugger.events import steps
from gradviz.errors import GradvizValueError
from gradviz.escape import clean
from gradviz.graphs import Frame, Graph, Node
from gradviz.style import THEMES, Options
from gradviz.views import slides as slides_module
from gradviz.views import webpage
from gradviz.views.drawing import draw
from gradviz.views.slides import slides
from gradviz.views.webpage import to_html
from tests.hostile import HOSTILE
from tests.pages import RAW, Reader
from tests.pictures import article, chain, network, samples


@pytest.fixture(scope="module")
def page():
    return Reader(to_html(draw(article(), show=("name", "value", "grad", "local"), title="The article")))


def policy_of(reader):
    return next(attrs["content"] for attrs in reader.of("meta") if "http-equiv" in attrs)


@pytest.mark.parametrize(
    "frame", [article(), network(), chain(HOSTILE), article(backward=False), Frame(Graph(()), [], [])]
)
@pytest.mark.parametrize("theme", ["auto", "dark", "print"])
def test_the_policy_names_every_style_and_script_and_nothing_else(frame, theme):
    reader = Reader(to_html(draw(frame, theme=theme)))
    rules = dict(rule.split(" ", 1) for rule in policy_of(reader).split("; "))
    assert {name: rules[name] for name in ("default-src", "base-uri", "form-action")} == dict.fromkeys(
        ("default-src", "base-uri", "form-action"), "'none'"
    )
    for kind in ("script", "style"):
        wanted = {
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for tag, attrs, text in reader.raw
            if tag == kind and "type" not in attrs
        }
        assert set(rules[f"{kind}-src"].split()) == wanted
    assert set(rules) == {"default-src", "base-uri", "form-action", "script-src", "style-src"}
    assert reader.elements.index(("meta", {"charset": "utf-8"})) < 4
    policy_place = next(i for i, (tag, attrs) in enumerate(reader.elements) if "http-equiv" in attrs)
    assert all(tag not in RAW for tag, _ in reader.elements[:policy_place])


@pytest.mark.parametrize("frame", [article(), network(), chain(HOSTILE)])
def test_the_page_refers_to_nothing_outside(frame):
    reader = Reader(to_html(draw(frame, title="<script src=//x>")))
    for tag, attrs in reader.elements:
        assert tag not in {"a", "img", "image", "link", "iframe", "object", "embed", "base", "use", "form"}
        for name, value in attrs.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in {"href", "src", "xlink:href", "style", "srcdoc", "action"}, (tag, name)
            assert "javascript:" not in (value or "") or name in {"aria-label", "title"}
    assert "http" not in re.sub(r'xmlns="[^"]*"|http-equiv', "", to_html(draw(article())))


def test_only_the_script_of_the_package_runs():
    reader = Reader(to_html(draw(chain(HOSTILE))))
    assert [(tag, attrs) for tag, attrs in reader.elements if tag == "script"] == [
        ("script", {"type": "application/json", "id": "data"}),
        ("script", {}),
    ]
    script = (Path(webpage.__file__).parent / "webpage.js").read_text("utf-8")
    assert reader.raw[-1][2] == script
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|new Function|fetch|XMLHttp", script)
    assert len(script.splitlines()) <= 125


def test_hostile_names_are_text_and_their_data_is_exact():
    frame = chain(HOSTILE)
    reader = Reader(to_html(draw(frame, fold=False)))
    data = reader.data()
    assert [node["name"] for node in data["nodes"]] == [node.name for node in frame.graph]
    heads = [text for tag, text in reader.texts if tag == "th"][6:]
    shown = (node.name if node.name.strip() else f'"{node.name}"' for node in frame.graph)
    assert heads == [clean(name, 80) for name in shown]
    for node in data["nodes"]:
        for text in (node["title"], *(part for row in node["rows"] for part in row)):
            assert len(text) <= 2000
            assert clean(text, None) == text
    whole = to_html(draw(frame, fold=False))
    whole.encode()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029\ud800-\udfff\ufffe\uffff]", whole)


def test_the_page_can_be_read_without_scripts(page):
    texts = [text for _, text in page.texts]
    assert "The article" in texts
    assert "8 values, 5 operations, f 6.544" in texts
    rows = [attrs["data-node"] for attrs in page.of("tr") if "data-node" in attrs]
    assert rows == [str(i) for i in range(8)]
    assert len(page.of("svg")) == 1
    assert [attrs.get("scope") for attrs in page.of("th")] == ["col"] * 6 + ["row"] * 8
    assert {"add × 2", "0.8391", "np.sin(c)"} <= set(texts)
    assert page.of("html") == [{"lang": "en", "data-theme": "auto"}]
    assert not [attrs for tag, attrs in page.elements if "hidden" in attrs]


def test_every_row_of_the_table_has_its_card_in_the_picture(page):
    nodes = [attrs["data-node"] for tag, attrs in page.elements if tag == "g" and "data-node" in attrs]
    assert nodes == [str(i) for i in range(8)]
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_the_details_tell_how_a_gradient_came_about(page):
    a, c = page.data()["nodes"][0], page.data()["nodes"][4]
    assert a["users"] == [2, 5]
    assert c["inputs"] == [2, 3]
    assert ["through d", "∂d/∂a = b = 3, gradient += 3"] in a["rows"]
    assert ["to add", "∂c/∂add = 2, gradient += 1.678"] in c["rows"]
    assert ["source", "article.py:3 in f"] in c["rows"]
    value = next(row for row in page.data()["nodes"][7]["rows"] if row[0] == "value")
    assert float(value[1]) == article().value("f")


def test_nan_infinity_zero_and_nothing_are_told_apart():
    reader = Reader(to_html(draw(network())))
    rows = {node["name"]: {row[0]: row[1:] for row in node["rows"] if row[0]} for node in reader.data()["nodes"]}
    assert rows["s"]["value"] == ["NaN", "bad"]
    assert rows["t"]["value"] == ["inf", "bad"]
    assert rows["s"]["gradient"] == ["0", "mono"]
    assert rows["M"]["gradient"] == ["none: nothing has reached it", "none"]
    assert rows["q"]["value"] == ["[NaN, -inf, 1]", "bad"]
    assert "42 NaN" in rows["log_h"]["value"][0]
    cells = [attrs["class"] for attrs in reader.of("td") if "class" in attrs]
    assert "number bad" in cells
    assert "number none" in cells


def test_data_survives_json_with_numbers_as_text():
    nodes = (Node(0, "x", "input", "input"),)
    reader = Reader(to_html(draw(Frame(Graph(nodes, (0,)), [math.nan], [math.inf]))))
    assert ["value", "NaN", "bad"] in reader.data()["nodes"][0]["rows"]


@pytest.mark.parametrize("theme", list(THEMES))
def test_the_page_has_the_colours_of_its_theme(theme):
    text = to_html(draw(article(), theme=theme))
    assert f"--paper:{THEMES[theme].paper}" in text
    assert ("prefers-color-scheme:dark){:root{" in text) == (theme == "auto")
    scheme = {"auto": "light dark", "dark": "dark"}.get(theme, "light")
    assert f'<meta name="color-scheme" content="{scheme}">' in text


def test_the_same_picture_gives_the_same_page_without_any_folder_in_it():
    assert to_html(draw(network())) == to_html(draw(network()))
    assert "/home" not in to_html(draw(article(), show=("name", "source")))


def test_the_page_is_small(tmp_path):
    saved = draw(article()).save(tmp_path / "a.html")
    assert len(saved.read_bytes()) < 40_000
    assert len(to_html(draw(samples(100)))) < 150_000


# -- steps


def test_the_steps_stand_still_while_numbers_arrive():
    found = steps(article())
    reader = Reader(slides(found, Options(show=("name", "value", "grad", "local"))))
    assert len(reader.of("figure")) == len(reader.of("svg")) == len(found)
    assert [attrs["aria-label"] for attrs in reader.of("figure")] == [clean(str(step), 2000) for step in found]
    text = slides(found)
    places = []
    for svg in re.findall(r"<svg.*?</svg>", text, re.S):
        cards = re.findall(r'data-node="\d+">\s*<title>[^<]*</title>\s*<rect ([^>]*?) rx', svg)
        places.append([re.sub(r' (fill|stroke|stroke-\w+)="[^"]*"', "", card) for card in cards])
    assert len(places[0]) == 8
    assert all(place == places[0] for place in places)


def test_a_step_shows_what_has_come_and_not_what_is_to_come():
    found = steps(article())
    pictures = slides_module.Stage(found, Options(show=("name", "value", "grad", "local"))).pictures()
    first, last = pictures[0][1], pictures[-1][1]
    assert first.count("not yet") == 6  # all but a, and the constant, which is always known
    assert "grad +=" not in first
    assert last.count("grad +=") == 4
    assert "not yet" not in last
    assert first.count("stroke-dasharray") > last.count("stroke-dasharray") == 0
    assert first.count("gv-highlighted") == last.count("gv-highlighted") == 1


def test_the_last_step_has_the_colours_of_the_whole_picture():
    last = slides_module.Stage(steps(article()), Options()).pictures()[-1][1]
    whole = draw(article()).svg
    strokes = re.compile(r'<path [^>]*stroke="(#[0-9a-f]{6})"')
    assert sorted(strokes.findall(last)) == sorted(strokes.findall(whole))


def test_steps_are_saved_as_a_page_and_only_so(tmp_path):
    found = steps(chain(HOSTILE[:12]))
    saved = found.save(tmp_path / "steps.html", theme="dark")
    reader = Reader(saved.read_text("utf-8"))
    assert len(reader.of("figure")) == len(found)
    with pytest.raises(GradvizValueError, match="saved as a page"):
        found.save(tmp_path / "steps.pdf")
    with pytest.raises(GradvizValueError, match="no theme"):
        found.save(tmp_path / "steps.html", theme="pink")
    assert [path.name for path in tmp_path.iterdir()] == ["steps.html"]


def test_too_many_steps_are_refused_with_a_hint():
    with pytest.raises(GradvizValueError, match=r"(?s)too many for one page.*draw\(steps"):
        slides(steps(samples(30)))
