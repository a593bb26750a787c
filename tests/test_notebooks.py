"""What notebooks show: through IPython's own display, and in a browser."""

import re
from html import unescape

import numpy as np
import pytest

import gradviz
from gradviz import Finding, Frame, Graph, Node, Tensor
from gradviz.graphs import GraphDiff
from gradviz.style import THEMES
from gradviz.views.inline import DARK, LIGHT, themed

from .browser import browser  # noqa: F401
from .hostile import HOSTILE


def loss():
    x = Tensor([1.0, 2.0], name="x", requires_grad=False)
    w = Tensor(0.5, name="w")
    found = ((x * w - 1.0) ** 2).mean()
    found.backward()
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short descent."""
    folder = tmp_path_factory.mktemp("runs") / "line"
    x = np.linspace(0.0, 1.0, 4)
    return gradviz.descend(lambda w: ((x * w - 2 * x) ** 2).mean(), {"w": 0.0}, steps=5, trace=folder)


@pytest.fixture
def shown():
    """The formats a notebook asks an object for."""
    formatters = pytest.importorskip("IPython.core.formatters")
    formatter = formatters.DisplayFormatter()
    return lambda x: formatter.format(x)[0]


def test_graphs_frames_and_steps_are_pictures(shown):
    frame = gradviz.frame(loss())
    for x in (frame, frame.graph, gradviz.steps(frame)[3], gradviz.draw(frame)):
        bundle = shown(x)
        assert "<svg" in bundle["text/html"]
        assert bundle["text/plain"]
        assert "<script" not in bundle["text/html"]


def test_steps_are_a_slider_in_a_frame_that_reaches_nothing(shown):
    html = shown(gradviz.steps(loss()))["text/html"]
    assert html.startswith("<iframe ")
    assert 'sandbox="allow-scripts"' in html
    page = unescape(re.search(r'srcdoc="([^"]*)"', html)[1])
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert page.count("<figure") == len(gradviz.steps(loss()))
    assert shown(gradviz.steps(loss()))["text/plain"].startswith("Steps(")


def test_runs_are_reports(shown, run):
    assert shown(run.run)["text/html"].startswith("<iframe ")
    bundle = shown(run)
    assert bundle["text/html"].startswith("<pre ")
    assert bundle["text/html"].count("<iframe") == 1
    assert bundle["text/plain"].startswith("Descent(")


def test_many_runs_are_a_line_each(shown, run):
    html = shown(gradviz.open_runs(run.run.path.parent / "*"))["text/html"]
    assert "line" in html
    assert "5" in html


def test_checks_findings_and_differences(shown):
    frame = gradviz.frame(loss())
    assert "all agree" in shown(gradviz.gradcheck(lambda x: x * x, 2.0))["text/html"]
    found = Finding("dead", "warning", "all 8 <b> are 0", node="relu", step=4, advice="Look & see")
    html = shown(found)["text/html"]
    assert "all 8 &lt;b&gt; are 0" in html
    assert "Look &amp; see" in html
    difference = frame.graph.diff(gradviz.graph(Tensor(1.0) * 2))
    assert isinstance(difference, GraphDiff)
    assert shown(difference)["text/html"].startswith("<pre ")


def test_what_is_too_large_is_said_in_words(shown):
    t = Tensor(1.0)
    for i in range(900):
        t = t.sin() if i % 7 else t.exp() * i
    frame = gradviz.frame(t)
    html = shown(gradviz.steps(frame))["text/html"]
    assert "iframe" not in html
    assert ".save(&#39;steps.html&#39;)" in html
    assert len(html) < 2_000_000
    nodes = [Node(0, "x", "input", "input"), *(Node(i, f"n{i}", "sin", "op", (i - 1,)) for i in range(1, 20_002))]
    html = shown(Graph(tuple(nodes)))["text/html"]
    assert "20,002 nodes" in html
    assert len(html) < 1000


def test_a_display_never_raises(shown, monkeypatch):
    frame = gradviz.frame(loss())

    def broken(*_, **__):
        raise RuntimeError("<i>\x1b[31m no")

    monkeypatch.setattr("gradviz.views.drawing.draw", broken)
    html = shown(frame)["text/html"]
    assert "(not drawn: RuntimeError: &lt;i&gt;" in html
    assert "\x1b" not in html
    assert shown(Frame(Graph(()), [], []))["text/html"].startswith("<pre ")
    assert shown(gradviz.steps(Frame(Graph(()), [], [])))["text/html"]


def test_hostile_names_stay_text(shown):
    t = 1.0
    for name in HOSTILE:
        t = t + Tensor(1.0, name=name)
    for x in (gradviz.frame(t), gradviz.steps(t)):
        html = shown(x)["text/html"]
        assert "<script>alert" not in html
        assert html.count("<iframe") <= 1


def test_a_captured_step_is_shown_like_its_frame(shown):
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(2, 1)
    with gradviz.capture(model) as captured:
        model(torch.ones(3, 2)).sum().backward()
    assert "<svg" in shown(captured)["text/html"]


def test_a_picture_is_dark_where_the_notebook_is():
    html = themed(gradviz.draw(loss()).svg)
    assert html.count("@media (prefers-color-scheme:dark)") == 2
    assert all(mark in html for mark in (*DARK, *LIGHT))
    fixed = themed(gradviz.draw(loss(), theme="light").svg)
    assert "prefers-color-scheme" not in fixed


NIGHT = "rgb({}, {}, {})".format(*bytes.fromhex(THEMES["dark"].paper[1:]))
PAGES = [
    ("data-jp-theme-light='true'", "dark", "rgb(255, 255, 255)"),
    ("data-jp-theme-light='false'", "light", NIGHT),
    ("data-vscode-theme-kind='vscode-dark'", "light", NIGHT),
    ("", "dark", NIGHT),
    ("", "light", "rgb(255, 255, 255)"),
]


def opened(browser, tmp_path, html, attributes="", scheme="light"):  # noqa: F811
    file = tmp_path / "notebook.html"
    file.write_text(f"<!doctype html><meta charset=utf-8><body {attributes}>{html}", encoding="utf-8")
    page = browser.new_page(color_scheme=scheme)
    page.trouble = []
    page.on("console", lambda message: page.trouble.append(message.text))
    page.on("pageerror", lambda error: page.trouble.append(str(error)))
    page.goto(file.as_uri())
    return page


def test_the_ground_of_a_picture_suits_it(browser, tmp_path):  # noqa: F811
    html = gradviz.draw(loss())._repr_html_()
    for attributes, scheme, ground in PAGES:
        page = opened(browser, tmp_path, html, attributes, scheme)
        look = "(e) => [getComputedStyle(e).backgroundColor, getComputedStyle(e.querySelector('.gv-node text')).fill]"
        background, ink = page.locator(".gradviz-box").evaluate(look)
        assert background == ground, (attributes, scheme)
        assert (sum(map(int, re.findall(r"\d+", ink))) > 382) is (ground != "rgb(255, 255, 255)")
        assert page.trouble == []
        page.close()


def test_the_slider_moves_and_the_numbers_change(browser, tmp_path, run):  # noqa: F811
    html = gradviz.steps(loss())._repr_html_() + run.run._repr_html_()
    page = opened(browser, tmp_path, html)
    steps, report = page.frame_locator("iframe >> nth=0"), page.frame_locator("iframe >> nth=1")
    before = steps.locator("figure:visible figcaption").inner_text()
    steps.locator("input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    after = steps.locator("figure:visible figcaption").inner_text()
    assert before != after
    assert before.startswith("forward 0: ")
    assert after.startswith("forward 1: ")
    report.locator("input[type=range]").first.focus()
    page.keyboard.press("Home")
    assert "step 0" in report.locator("body").inner_text()
    assert page.trouble == []
    page.close()
