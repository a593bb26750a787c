"""The page of a graph that is too large for a picture in the page: on a canvas, in a real browser."""

import base64
import json
import re
import zlib

import numpy as np
import pytest

from gradviz import draw
from gradviz.graphs import Frame, Graph, Node, Source
from gradviz.views.large.data import page_data
from gradviz.views.large.page import fitting_depth, large_page
from gradviz.views.large.sheet import TONES, Sheet
from gradviz.views.page.packing import packed_lines, packed_whole
from tests.browser import browser, opened
from tests.test_large_pictures import blocks, chain

__all__ = ["browser"]

HOSTILE = '</script><img src=x onerror="alert(1)">'
SHOWN = "document.querySelector('#details').hidden ? '' : document.querySelector('#details').innerText"


def frame_of(count=700):
    """Return blocks of four nodes with a hostile scope, numbers, an array, a gradient that is not there, a NaN."""
    graph = blocks(count)
    last = len(graph)
    line = Source("/home/me/fit.py", 12, text="y = w * x", code="    y = w * x  # <b>")
    odd = Node(last, HOSTILE, "mul", "op", (last - 1, 1), shape=(3,), dtype="float64", scope=(HOSTILE,), source=line)
    graph = Graph((*graph.nodes, odd), (last,))
    values = [float(i) / 7 for i in range(last)]
    grads = [float(i % 5 - 2) for i in range(last)]
    values[9], grads[10], grads[11] = -0.0, None, float("nan")
    return Frame(graph, [*values, np.array([1.0, 2.0, 3.0])], [*grads, np.array([0.5, 0.0, 0.0])])


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return draw(frame_of(), fold=False).save(tmp_path_factory.mktemp("large") / "graph.html")


def undone(text, size=4):
    data = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(size, -1).T
    return np.cumsum(np.ascontiguousarray(data).view("<i4").ravel()).tolist()


def test_whole_numbers_and_lines_come_back():
    numbers = [5, -3, 2**31 - 1, 0, 0, 7]
    assert undone(packed_whole(np.array(numbers))) != numbers  # a step of more than 32 bits wraps, as in the browser
    assert np.array_equal(np.array(undone(packed_whole(np.array(numbers)))).astype("<i4"), numbers)
    assert zlib.decompress(base64.b64decode(packed_lines(["é", ""]))).decode() == "é\n"


def test_the_data_are_those_of_the_frame():
    frame = frame_of(3)
    data = page_data(Sheet(frame), 4)
    columns = {name: undone(text) for name, text in data["columns"].items()}
    starts = [0, *columns["inputs"]]
    for node in frame.graph.nodes:
        backs = columns["back"][starts[node.id] : starts[node.id + 1]]
        assert tuple(node.id - back for back in backs) == node.inputs
        assert data["ops"][columns["op"][node.id]] == node.op
    assert [TONES[tone] for tone in columns["tone"][:2]] == ["i", "p"]
    assert TONES[columns["tone"][11]] == "x"
    assert TONES[columns["tone"][-1]] == "o"
    assert data["sources"][columns["source"][-1]] == ["fit.py:12", "    y = w * x  # <b>"]


def test_the_page_is_one_file_that_is_read_without_scripts(file):
    text = file.read_text("utf-8")
    assert text.count("<script") == 2
    assert "alert(1)&quot;" not in re.sub(r"(?s)<script.*?</script>", "", text).replace("&quot;&gt;", "")
    assert not re.search(r'(src|href)="(?!#)', text)
    assert len(text) < 300_000
    assert json.loads(re.search(r'(?s)id="data">(.*?)</script>', text)[1])["count"] == 2802


def test_without_scripts_there_are_a_picture_and_tables(browser, file):
    with opened(browser, file, java_script_enabled=False) as page:
        assert page.locator("#still svg").is_visible()
        assert page.locator("#still svg rect").count() == 3  # x, and the two outermost scopes, closed
        assert not page.locator("#app").is_visible()
        page.locator("summary", has_text="By op").click()
        assert "tanh" in page.locator("#tables pre").first.inner_text()
        assert "fit.py:12" in page.locator("#tables").inner_html()


@pytest.fixture
def page(browser, file):
    with opened(browser, file) as found:
        found.wait_for_selector("html[data-ready]")
        yield found


def pixels(page):
    """Return how many pixels of the canvas are painted."""
    return page.evaluate("""() => {
        const c = document.querySelector('canvas');
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; }""")


def test_it_is_painted_and_what_stood_in_its_place_is_gone(page):
    page.wait_for_timeout(200)
    assert pixels(page) > 50_000
    assert not page.locator("#still").is_visible()
    assert page.locator("#bad").inner_text() == "1 not finite"


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (0, ["x", "kind\ninput", "value\n0", "gradient\n-2", "used by\nmul_0"]),
        (9, ["value\n-0", "net / block2 / cell"]),
        (10, ["gradient\nnone"]),
        (11, ["gradient\nNaN"]),
        (2801, [HOSTILE, "3 float64", "[1, 2, 3]", "[0.5, 0, 0]", "fit.py:12", "y = w * x # <b>"]),
    ],
)
def test_the_details_of_a_node(page, node, words):
    page.evaluate(f"location.hash = 'n{node}'")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    text = page.evaluate(SHOWN)
    assert all(word in text for word in words), text
    exact = frame_of().values[node]
    assert not isinstance(exact, float) or f"value\n{exact!r}".removesuffix(".0") in text


def test_search_goes_to_a_node_and_links_and_arrows_go_on(page):
    page.keyboard.press("/")
    page.keyboard.type("tanh_500")
    page.wait_for_selector("#found button")
    assert page.locator("#found [role=status]").inner_text() == "1 node"
    page.keyboard.press("Enter")
    assert page.locator("#details h2").inner_text() == "tanh_500"
    page.wait_for_timeout(150)  # what was typed is listed a little later, but not after Enter
    assert page.locator("#found button").count() == 0
    page.locator("#details .link", has_text="mul_500").click()
    assert page.locator("#details h2").inner_text() == "mul_500"
    page.locator("canvas").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#details h2").inner_text() == "tanh_500"
    page.keyboard.press("ArrowDown")
    assert page.locator("#details h2").inner_text() == "add_500"
    page.keyboard.press("Escape")
    assert page.evaluate(SHOWN) == ""


def test_search_finds_ops_scopes_and_lines_and_says_when_it_finds_nothing(page):
    for words, count in (
        ("tanh", "700 nodes, the first 60"),
        ("fit.py:12", "1 node"),
        ("cell", "2,100 nodes, the first 60"),
    ):
        page.locator("#wanted").fill(words)
        page.locator("#found [role=status]", has_text=re.compile(f"^{count}$")).wait_for()
    page.locator("#wanted").fill("nowhere")
    page.locator("#found", has_text=re.compile("^nothing of that name$")).wait_for()


def test_scopes_close_and_open_and_what_is_looked_for_is_opened(page):
    page.wait_for_timeout(200)
    before = page.screenshot()
    page.locator("#depth").select_option("2")
    page.wait_for_timeout(300)
    assert page.screenshot() != before
    page.locator("#wanted").fill("tanh_3")
    page.locator("#wanted").press("Enter")
    page.locator("#details .link", has_text="net / block3 / cell").click()
    assert "inside\n3 nodes" in page.evaluate(SHOWN)
    page.locator("#toggle").click()
    assert page.locator("#toggle").inner_text() == "Open"
    page.locator("canvas").focus()
    page.keyboard.press("Enter")
    assert page.locator("#toggle").inner_text() == "Close"


def test_a_click_shows_what_is_under_the_pointer_and_a_drag_does_not(page):
    page.locator("#wanted").fill("mul_300")
    page.locator("#wanted").press("Enter")
    page.keyboard.press("Escape")
    page.locator("canvas").focus()
    page.keyboard.press("Escape")
    box = page.locator("canvas").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.click(*middle)
    assert page.locator("#details h2").inner_text() == "mul_300"
    page.keyboard.press("Escape")
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 90, middle[1] + 40, steps=4)
    page.mouse.up()
    assert page.evaluate(SHOWN) == ""
    page.mouse.click(middle[0] + 90, middle[1] + 40)
    assert page.locator("#details h2").inner_text() == "mul_300"


def test_zoom_changes_the_picture_and_fit_brings_it_back(page):
    page.wait_for_timeout(300)
    whole = page.screenshot()
    page.mouse.move(700, 400)
    page.mouse.wheel(0, -500)
    page.wait_for_timeout(400)
    assert page.screenshot() != whole
    page.keyboard.press("0")
    page.mouse.move(5, 5)
    page.wait_for_timeout(400)
    assert page.screenshot() == whole


def test_dark_and_narrow(browser, file):
    with opened(browser, file, size=(390, 800), theme="dark") as page:
        page.wait_for_selector("html[data-ready]")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_notebook_shows_the_page_in_a_frame_and_no_huge_picture(browser, tmp_path):
    drawing = draw(frame_of(), fold=False)
    assert list(drawing._repr_mimebundle_()) == ["text/plain"]
    cell = tmp_path / "cell.html"
    cell.write_text(f"<!doctype html><title>cell</title>{drawing._repr_html_()}", "utf-8")
    with opened(browser, cell) as page:
        inside = page.frame_locator("iframe")
        inside.locator("canvas").wait_for()
        inside.locator("#wanted").fill("tanh_30")
        inside.locator("#wanted").press("Enter")
        assert inside.locator("#details h2").inner_text() == "tanh_30"


def test_how_deep_the_picture_without_scripts_goes():
    assert fitting_depth(frame_of(100)) == 3
    assert fitting_depth(frame_of(250)) == 2
    assert fitting_depth(frame_of()) == 1
    assert fitting_depth(Frame(chain(1000), [None] * 1000, [None] * 1000)) == 0


@pytest.mark.parametrize("count", [0, 1])
def test_tiny_graphs_have_a_page_too(count):
    graph = Graph(tuple(Node(i, f"x_{i}", "input", "input") for i in range(count)))
    assert "<canvas" in large_page(draw(graph, fold=False))
