"""The demo: the right line, a whole run, and files that can be read."""

import csv
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest

from gradviz.cli import main
from gradviz.demo import BOILING, PRESSURE, demonstrate, fit, least_squares, mean_squared_error
from gradviz.tracing.reading import open_run
from gradviz.views.charts import Series, chart, ticks

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Reads a page and notes what is not closed and what it would fetch."""

    def __init__(self, text):
        super().__init__()
        self.open, self.fetched, self.ids, self.text = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.fetched += [value for name, value in attrs if name in {"src", "href"} and tag != "a"]
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_startendtag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "deep" / "out"
    made, files = demonstrate(folder)
    return folder, made, files


def test_the_data_are_forbess():
    assert len(BOILING) == len(PRESSURE) == 17
    slope, intercept = least_squares(BOILING, PRESSURE)
    # S. Weisberg, Applied Linear Regression, gives 0.5229 and -81.0637 for these data
    assert round(slope, 4) == 0.5229
    assert round(intercept, 4) == -81.0637
    np.testing.assert_allclose(np.polyfit(BOILING, PRESSURE, 1), [slope, intercept], rtol=1e-9)


def test_the_descent_arrives_at_least_squares(shown):
    _, made, _ = shown
    slope, intercept = least_squares(BOILING, PRESSURE)
    assert abs(made.slope - slope) < 1e-6
    assert abs(made.intercept - intercept) < 1e-3
    assert mean_squared_error(made.slope, made.intercept) - mean_squared_error(slope, intercept) < 1e-8


def test_every_iteration_is_recorded_right(shown):
    _, made, _ = shown
    run = made.run
    assert len(run) == 60
    assert run.damage == []
    x = (np.array(BOILING) - np.mean(BOILING)) / np.std(BOILING)
    w, b = run["w"].value[:, None], run["b"].value[:, None]
    error = w * x + b - np.array(PRESSURE)
    np.testing.assert_allclose(run.loss, (error**2).mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(run["w"].grad, (2 * error * x).mean(axis=1), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(run["b"].grad, (2 * error).mean(axis=1), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.diff(run["w"].value), -0.1 * run["w"].grad[:-1], rtol=1e-12, atol=1e-15)
    assert made.first.grad("w") == run["w"].grad[0]
    assert made.last.value("loss") == run.loss[-1]


def test_the_files_are_whole(shown):
    folder, made, files = shown
    names = {path.relative_to(folder).as_posix() for path in files}
    assert names == {"run", "graph.svg", "graph.png", "graph-last.svg", "log.csv", "index.html"}
    for name in ("graph.svg", "graph-last.svg"):
        text = "".join(ET.parse(folder / name).getroot().itertext())
        assert all(word in text for word in ("w", "b", "error", "loss"))
    assert (folder / "graph.png").read_bytes().startswith(b"\x89PNG")
    with (folder / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == made.run.loss.tolist()


def test_the_page_is_whole_and_fetches_nothing(shown):
    folder = shown[0]
    text = (folder / "index.html").read_text("utf-8")
    page = Page(text)
    assert page.open == []
    assert [where for where in page.fetched if not where.startswith(("#", "data:"))] == []
    assert len(page.ids) == len(set(page.ids))
    assert "<script" not in text
    assert len(re.findall("<th scope=row>", text)) == 60 + 3
    said = " ".join(page.text)
    assert "0.0478319" in said
    assert "-81.0637" in said
    assert "Forbes" in said
    assert str(folder) not in text


def test_the_verb_tells_before_after_and_least_squares(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")  # no Graphviz binary
    assert main(["demo", "--out", "x"]) == 0
    out, err = capsys.readouterr()
    assert "wrote x/index.html" in err
    before, after, best = out.splitlines()[1:4]
    assert before.split() == ["before", "636.529212", "0.000000", "0.00000"]
    assert after.split()[:3] == ["after", "0.047832", "0.522892"]
    assert best.split() == ["least", "squares", "0.047832", "0.522892", "-81.06373"]


def test_a_second_demo_keeps_the_first_run(tmp_path):
    for steps in (3, 2):
        demonstrate(tmp_path, steps=steps)
    assert len(open_run(tmp_path / "run")) == 2
    assert len(open_run(tmp_path / "run.1")) == 3


def test_no_steps_are_refused(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "x"), "--steps", "0"]) == 2
    assert "steps=0" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_the_fit_depends_on_nothing_but_its_arguments(tmp_path):
    one, two = (fit(tmp_path / name, steps=5) for name in ("one", "two"))
    assert one.run.loss.tolist() == two.run.loss.tolist()
    assert one.slope == two.slope


# -- its charts ------------------------------------------------------------------------------


def test_a_chart_leaves_out_what_cannot_be_shown():
    points = [Series("y", [0, 1, 2, 3], [1.0, float("nan"), -1.0, 100.0])]
    text = chart(points, title="T", x_label="x", y_label="y", log=True)
    root = ET.fromstring(text)
    lines = [element.get("points").split() for element in root.iter("{http://www.w3.org/2000/svg}polyline")]
    assert len(lines[0]) == 2
    with pytest.raises(ValueError, match="no point"):
        chart([Series("y", [0], [float("inf")])], title="T", x_label="x", y_label="y")


def test_a_chart_of_one_point_and_hostile_text():
    text = chart([Series("<script>", [1], [1], dots=True)], title="a & b", x_label="]]>", y_label="\x00")
    assert "<script" not in text
    assert "a & b" in ET.fromstring(text).find("{http://www.w3.org/2000/svg}title").text


@pytest.mark.parametrize("low", [-3.2e5, -1.0, 0.0, 1e-9])
@pytest.mark.parametrize("size", [1e-7, 0.3, 1.0, 47.0, 1e6])
def test_ticks_are_few_round_and_inside(low, size):
    found = ticks(low, low + size)
    assert 1 <= len(found) <= 8
    assert all(low <= tick * (1 + 1e-9) and tick <= (low + size) * (1 + 1e-9) + 1e-9 for tick in found) or low < 0


def test_labels_of_a_chart_do_not_overlap():
    same = [Series(f"is {role}", [0, 1], [0, 0], role) for role in ("data", "before", "after", "other")]
    root = ET.fromstring(chart(same, title="T", x_label="x", y_label="y"))
    labels = [e for e in root.iter("{http://www.w3.org/2000/svg}text") if e.get("class") == "label"]
    heights = sorted(float(label.get("y")) for label in labels)
    assert len(heights) == 4
    assert min(np.diff(heights)) >= 15 - 0.11
