"""Motion: what is seen at which moment, still where motion is unwanted, frames, strips, the command line."""

import io
import re
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import gradviz
from gradviz import Tensor, animate
from gradviz.cli import main
from gradviz.errors import GradvizTypeError, GradvizValueError, MissingExtraError
from gradviz.graphs import Frame, Graph, Node
from gradviz.style import STYLES
from tests.browser import browser, opened  # noqa: F401
from tests.hostile import HOSTILE

SVG = "{http://www.w3.org/2000/svg}"
SEEK = "time => document.getAnimations().forEach(one => { one.pause(); one.currentTime = 1000 * time })"
SEEN = """() => [...document.querySelectorAll('svg text')]
    .filter(one => getComputedStyle(one).visibility === 'visible').map(one => one.textContent)"""
DOTS = """() => [...document.querySelectorAll('.gv-flow')].filter(one => getComputedStyle(one).visibility === 'visible')
    .map(one => parseFloat(getComputedStyle(one).strokeDashoffset))"""


def article():
    a, b = Tensor(2.0, name="a"), Tensor(3.0, name="b")
    c = (a + b) * 2
    return np.sin(c)


@pytest.fixture(scope="module")
def animation():
    return animate(article())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("motion") / "line"
    x = np.arange(4.0)
    gradviz.descend(
        lambda w, b: ((w * x + b - 3 * x) ** 2).mean(), {"w": 0.0, "b": 0.0}, lr=0.05, steps=30, trace=folder
    )
    return folder


def start_of(animation, number):
    return sum(moment.seconds for moment in animation.moments.shown[:number])


def middle_of(animation, number):
    return start_of(animation, number) + animation.moments.shown[number].seconds / 2


def test_the_moments_of_the_article(animation):
    shown = animation.moments.shown
    assert [moment.phase for moment in shown] == ["given", *["forward"] * 6, *["backward"] * 6, "done"]
    assert shown[0].lines == ("a = 2, b = 3",)
    assert shown[3].lines == ("c = add_1 * 2 = 10",)
    assert shown[-2].lines == (
        "grad a += ∂add_1/∂a × grad add_1 = 1 × -1.678 = -1.678",
        "grad b += ∂add_1/∂b × grad add_1 = 1 × -1.678 = -1.678",
    )
    assert [len(moment.flows) for moment in shown] == [0, 2, 0, 2, 0, 1, 0, 1, 0, 1, 0, 2, 0, 0]
    assert shown[2].frame.value("add_1") == 5.0
    assert shown[1].frame.value("add_1") is None
    assert shown[-3].frame.grad("a") is None
    assert shown[-2].frame.grad("a") == pytest.approx(2 * np.cos(10))


def test_a_browser_shows_what_has_happened_so_far(browser, animation, tmp_path):  # noqa: F811
    file = animation.save(tmp_path / "motion.svg")
    with opened(browser, file) as page:
        seen = {}
        for number in (0, 1, 2, 5, 8, 13):
            page.evaluate(SEEK, middle_of(animation, number))
            seen[number] = page.evaluate(SEEN)
        assert ("5" in seen[0], "5" in seen[1], "5" in seen[2]) == (False, False, True)
        assert ("10" in seen[2], "10" in seen[5]) == (False, True)
        assert any(text.endswith("= sin(c) = -0.544") for text in seen[5])
        assert ("-0.8391" in seen[5], "-0.8391" in seen[8]) == (False, True)
        assert seen[13].count("-1.678") == 3
        assert "done" in seen[13]
        assert "done" not in seen[8]


def test_a_dot_moves_along_the_edge_and_back(browser, animation, tmp_path):  # noqa: F811
    file = animation.save(tmp_path / "motion.svg")
    with opened(browser, file) as page:
        offsets = []
        for number, part in ((1, 0.1), (1, 0.9), (2, 0.5), (7, 0.1), (7, 0.9)):
            page.evaluate(SEEK, start_of(animation, number) + part * animation.moments.shown[number].seconds)
            offsets.append(page.evaluate(DOTS))
        assert [len(found) for found in offsets] == [2, 2, 0, 1, 1]
        assert 0 > offsets[0][0] > -20
        assert -80 > offsets[1][0] > -100
        assert -80 > offsets[3][0] > -100
        assert 0 > offsets[4][0] > -20


def test_who_wants_less_motion_sees_the_end(browser, animation, tmp_path):  # noqa: F811
    file = animation.save(tmp_path / "motion.svg")
    with opened(browser, file, reduced_motion="reduce") as page:
        assert page.evaluate("document.getAnimations().length") == 0
        seen = page.evaluate(SEEN)
        assert page.evaluate(DOTS) == []
    assert "done" in seen
    assert seen.count("-1.678") == 3
    assert not any(text.startswith(("forward", "backward", "given")) for text in seen)


def test_it_moves_in_an_image_light_and_dark(browser, animation, tmp_path):  # noqa: F811
    animation.save(tmp_path / "motion.svg")
    page_file = tmp_path / "page.html"
    page_file.write_text('<!doctype html><body style="margin:0"><img src="motion.svg">', "utf-8")
    pictures = {}
    for theme in ("light", "dark"):
        with opened(browser, page_file, theme=theme) as page:
            page.wait_for_function("document.images[0].complete")
            pictures[theme] = page.locator("img").screenshot()
            page.wait_for_timeout(1800)
            pictures[theme, "later"] = page.locator("img").screenshot()
    assert len(set(pictures.values())) == 4


@pytest.mark.parametrize("style", STYLES)
def test_every_style_is_one_well_formed_document(style):
    svg = animate(article(), style=style).svg
    root = ET.fromstring(svg)
    id = root.get("id")
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{id}-title {id}-desc"
    assert "Animation of 3 operations forward, then 3 backward" in root.findtext(f"{SVG}desc")
    assert not re.search(r"<script|href|url\(|<animate", svg)
    style_text = root.findtext(f"{SVG}style")
    names = re.findall(r"@keyframes ([\w-]+)", style_text)
    assert names
    assert all(name.startswith(f"{id}-") for name in names)
    assert set(re.findall(r"animation-name:([\w-]+)", style_text)) <= set(names)
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    assert "prefers-reduced-motion:reduce" in style_text
    assert len(svg) < 80_000


def test_the_same_animation_is_the_same_text(animation):
    again = animate(article())
    assert again.svg == animation.svg
    assert animate(article(), theme="dark").film.id != animation.film.id


def test_once_and_for_so_many_seconds():
    made = animate(article(), seconds=5, loop=False)
    assert made.seconds == pytest.approx(5)
    assert "5s step-end 1}" in made.svg
    assert "infinite" not in made.svg


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(name):
    x, y = Node(0, name, "input", "input"), Node(1, name, "sin", "op", (0,), symbol=name[:8])
    made = animate(Frame(Graph((x, y), (1,)), [0.5, 0.4], [0.9, 1.0]), title=name)
    root = ET.fromstring(made.svg)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg", "g", "title", "desc", "style", "text", "tspan", "rect", "path", "polygon", "ellipse", "line", "polyline"
    }  # fmt: skip
    ET.fromstring(made.strip(2).svg)


def test_what_else_can_be_animated():
    e = article()
    frame = gradviz.frame(e)
    for x in (e, gradviz.steps(e), gradviz.steps(e)[3], gradviz.draw(gradviz.steps(e).full)):
        assert len(animate(x).moments) == 14
    assert [moment.phase for moment in animate(frame.graph).moments][-2:] == ["forward", "done"]
    assert "not yet" not in animate(frame.graph).svg
    assert len(animate(Graph(())).svg) > 100
    single = Frame(Graph((Node(0, "x", "input", "input"),), (0,)), [float("nan")], [float("inf")])
    assert "x = NaN" in animate(single).svg
    x = Tensor(3.0, name="x")
    assert len(animate(x * x).film.movers) == 4  # both edges, there and back


def test_a_large_graph_is_folded_taken_in_parts_or_refused():
    x = Tensor(1.0, name="x")
    total = x
    for number in range(100):
        total = total * 1.01 + float(number)
    folded = animate(total)
    assert len(folded.moments.full.graph) < 30
    whole = animate(total, fold=False, focus="x", hops=90)
    assert len(whole.moments) <= 2 + 4 * 40
    assert {len(moment.highlight) for moment in whole.moments if moment.flows} == {3}
    with pytest.raises(GradvizValueError, match="too many for one animation"):
        animate(total, fold=False)


def test_a_run_changes_its_numbers_and_its_curve_grows(run):
    made = animate(run, frames=10)
    assert len(made.moments) == 10
    assert "Animation of 10 of 30 iterations" in made.svg
    assert [moment.count for moment in made.moments][:2] == ["0", "3"]
    assert made.moments.shown[-1].count == "29"
    lines = [layer for layer in made.film.layers if layer.element.tag == "line"]
    assert sorted(len(layer.moments) for layer in lines) == list(range(1, 10))
    again = animate(gradviz.open_run(run), frames=10, style="circuit")
    assert len(again.moments) == 10


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_frames_of_a_film(suffix, tmp_path):
    from PIL import Image

    made = animate(article(), fps=5, seconds=6)
    file = made.save(tmp_path / f"motion{suffix}", scale=0.5)
    with Image.open(file) as image:
        assert image.n_frames == 8 + 2 * 6
        assert image.info["loop"] == 0
        assert image.size == tuple(int(side * 4 / 3 * 0.5 + 0.999) for side in made.film.size)
        times = []
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            times.append(image.info["duration"])
    assert sum(times) == pytest.approx(6000, abs=200)
    assert file.read_bytes() == made.save(tmp_path / f"again{suffix}", scale=0.5).read_bytes()


def test_no_frames_without_pillow(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"gradviz\[motion\]"):
        animate(article(), tmp_path / "motion.gif")


def test_a_strip_shows_moments_under_their_captions(animation, tmp_path):
    strip = animation.strip(4)
    root = ET.fromstring(strip.svg)
    panels = [element for element in root.iter(f"{SVG}g") if element.get("class") == "gv-panel"]
    texts = [[text.text for text in panel.findall(f"{SVG}text")] for panel in panels]
    assert [lines[0] for lines in texts] == ["1  given", "2  forward 2 of 3", "3  backward 2 of 3", "4  done"]
    assert texts[1][1] == "c = add_1 * 2 = 10"
    assert "animation" not in root.findtext(f"{SVG}style")
    assert strip.save(tmp_path / "strip.pdf").read_bytes()[:5] == b"%PDF-"
    assert animation.save(tmp_path / "strip.png").read_bytes()[1:4] == b"PNG"
    narrow = animate(article(), direction="TB").strip(6)
    assert "grad a += 1 × -1.678 = -1.678" in narrow.svg  # there is no room for the letters
    assert narrow.columns == 2
    assert animate(article(), direction="TB").strip(6, columns=3).columns == 3


def test_a_notebook_shows_it(animation):
    assert animation._repr_html_().startswith('<div class="gradviz-box"')
    assert set(animation._repr_mimebundle_()) == {"image/svg+xml", "text/plain"}
    assert repr(animation) == "<Animation of 3 operations forward, then 3 backward, 13.3 s>"


def test_what_is_refused(animation, tmp_path):
    with pytest.raises(GradvizValueError, match="no animation has the suffix"):
        animate(article(), tmp_path / "motion.bmp")
    with pytest.raises(GradvizValueError, match="fps"):
        animate(article(), fps=0)
    with pytest.raises(GradvizValueError, match="seconds"):
        animate(article(), seconds=float("nan"))
    with pytest.raises(GradvizTypeError, match="loop"):
        animate(article(), loop="yes")
    with pytest.raises(GradvizValueError, match="n=0"):
        animation.strip(0)
    with pytest.raises(GradvizValueError, match="style"):
        animate(article(), style="oil")
    with pytest.raises(GradvizValueError, match="too many"):
        animation.save(tmp_path / "motion.gif", scale=10)


def test_the_command_line(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text("from gradviz import Tensor\nx = Tensor(3.0)\nloss = x * x\n", "utf-8")
    assert main(["animate", "script.py:loss", "-o", "loss.svg", "--seconds", "4", "--once"]) == 0
    assert "@keyframes" in (tmp_path / "loss.svg").read_text("utf-8")
    assert main(["animate", str(run), "-o", "run.svg", "--frames", "5"]) == 0
    assert main(["animate", "script.py:loss", "-o", "strip.png", "--strip", "3"]) == 0
    assert main(["animate", "script.py:loss", "-o", "loss.mp4"]) == 2
    assert "allowed: .svg" in capsys.readouterr().err


def test_a_page_holds_it(browser, animation, tmp_path):  # noqa: F811
    with opened(browser, animation.save(tmp_path / "motion.html")) as page:
        page.evaluate(SEEK, middle_of(animation, 2))
        assert "forward 1 of 3" in page.evaluate(SEEN)


def test_pictures_without_css_show_the_end(animation):
    from PIL import Image

    from gradviz.views.motion.reels import Still
    from gradviz.views.raster import to_png

    still = to_png(Still(animation.svg, animation.options), 0.5)
    with Image.open(io.BytesIO(still)) as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(100_000)}
    assert (163, 50, 123) not in colours  # nothing is highlighted any more
    assert (0, 114, 178) in colours  # and gradients are there
