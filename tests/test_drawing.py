"""draw(), Drawing and notebooks."""

import itertools
import os
import re
import stat
from types import SimpleNamespace

import pytest

import gradviz
from gradviz.errors import GradvizValueError, LayoutError, UnknownNameError
from gradviz.files import write_atomically
from gradviz.graphs import Frame, Graph, Node
from gradviz.style import Options
from gradviz.views.drawing import SUFFIX, Drawing, draw
from tests.pictures import article, network, samples


def test_frames_graphs_steps_and_runs_can_be_drawn():
    frame = article()
    assert draw(frame).frame is frame
    assert draw(frame.graph).frame.values == (None,) * 8
    step = SimpleNamespace(frame=frame, highlight=(4,), pending=(5, 6, 7))
    assert draw(step).options.highlight == (4,)
    assert draw(step, highlight="a").options.highlight == (0, 4)
    assert draw(step).options.pending == (5, 6, 7)


class Recorded:
    """What a recorded run looks like from here."""

    def __len__(self):
        return 3

    def frame(self, step):
        assert step == -1
        return article()


def test_of_a_run_the_last_frame_is_drawn():
    assert draw(Recorded()).frame == article()


def test_names_are_looked_up_when_the_drawing_is_made():
    with pytest.raises(UnknownNameError, match="did you mean add"):
        draw(article(), highlight="ad")
    with pytest.raises(UnknownNameError):
        draw(article(), focus="nowhere")


def test_highlights_follow_their_nodes_into_folds():
    drawing = draw(samples(100), highlight=["p_17", "loss"])
    assert [drawing.frame.graph.nodes[i].name for i in drawing.options.highlight] == ["p", "loss"]


def test_a_fold_is_pale_only_when_all_of_it_is_pending():
    step = SimpleNamespace(frame=samples(100), highlight=(), pending=tuple(range(300, 503)))
    drawing = draw(step)
    assert [drawing.frame.graph.nodes[i].name for i in drawing.options.pending] == ["loss"]


def test_fold_auto_leaves_small_graphs_alone_and_true_folds_them():
    assert len(draw(samples(8)).frame.graph) == 43
    assert len(draw(samples(8), fold=True).frame.graph) == 9
    assert len(draw(samples(100)).frame.graph) == 9
    assert len(draw(samples(100), fold=False).frame.graph) == 503


def test_a_hundred_samples_make_a_small_picture():
    drawing = draw(samples(100))
    assert drawing.svg.count("data-node") == 9
    assert "×100" in drawing.svg
    assert repr(drawing) == "<Drawing of 503 values drawn as 9, loss 173.1>"
    assert drawing.origin == samples(100)


def test_save_writes_by_suffix(tmp_path):
    drawing = draw(article())
    assert drawing.save(tmp_path / "a.dot").read_text() == drawing.dot
    assert drawing.save(str(tmp_path / "a.SVG")).read_text() == drawing.svg
    assert Frame.from_json(drawing.save(tmp_path / "a.json").read_text()) == article()


def test_an_unknown_suffix_lists_the_known_ones_and_writes_nothing(tmp_path):
    with pytest.raises(GradvizValueError, match=r"'\.gif'.*\n.*\.svg \.png \.pdf"):
        draw(article()).save(tmp_path / "a.gif")
    assert list(tmp_path.iterdir()) == []


def test_every_suffix_names_a_module_and_a_function():
    assert all(place.startswith("gradviz.views.") and place.count(":") == 1 for place in SUFFIX.values())


def test_drawing_twice_gives_the_same_bytes():
    assert draw(network()).svg == draw(network()).svg


@pytest.mark.parametrize(
    ("include", "exclude"), list(itertools.product([None, ["text/plain"]], [None, ["image/svg+xml"]]))
)
def test_notebooks_get_what_they_ask_for(include, exclude):
    bundle = draw(article())._repr_mimebundle_(include=include, exclude=exclude)
    assert "text/plain" in bundle
    assert ("image/svg+xml" in bundle) is (include is None and exclude is None)


def test_a_page_gets_the_svg():
    drawing = draw(article())
    html = drawing._repr_html_()
    assert html.startswith('<div class="gradviz-box" id="gv-')
    assert re.sub("<style>.*?</style>", "", drawing.svg).strip() in re.sub("<style>.*?</style>", "", html)


def test_a_display_that_cannot_be_drawn_falls_back_to_text_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    drawing = draw(article(), engine="system")
    bundle = drawing._repr_mimebundle_()
    assert list(bundle) == ["text/plain"]
    assert "(not drawn: no program named dot" in bundle["text/plain"]
    assert drawing._repr_html_().startswith("<pre ")


def test_a_display_survives_any_error():
    class Broken(Drawing):
        @property
        def svg(self):
            raise RuntimeError("<b>\x1b[31m")

    html = Broken(article(), Options())._repr_html_()
    assert "&lt;b&gt;" in html
    assert "\x1b" not in html


def test_the_repr_says_what_is_in_it():
    assert repr(draw(article(), alt="anything")) == "<Drawing of 8 values, 5 operations, f 6.544>"
    assert repr(draw(Graph(()))) == "<Drawing of 0 values, 0 operations>"


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    target = tmp_path / "file"
    write_atomically(target, "old")
    target.chmod(0o640)

    def refuse(self, target):
        raise OSError("no")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", refuse)
        with pytest.raises(OSError, match="no"):
            write_atomically(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
    write_atomically(target, b"new")
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_new_file_gets_the_usual_permissions(tmp_path):
    mask = os.umask(0o027)
    try:
        written = write_atomically(tmp_path / "file", "x")
    finally:
        os.umask(mask)
    assert stat.S_IMODE(written.stat().st_mode) == 0o640


def test_a_missing_folder_is_reported_as_such(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*missing' to write 'a.svg' to"):
        draw(article()).save(tmp_path / "missing" / "a.svg")


def test_a_failed_layout_is_an_error_when_a_file_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LayoutError):
        draw(article(), engine="system").save(tmp_path / "a.svg")


def test_another_package_adds_a_format_by_an_entry_point(monkeypatch, tmp_path):
    class Point:
        def load(self):
            return lambda drawing: f"{len(drawing.frame.graph)} nodes"

    points = {("gradviz.views", ".count"): [Point()]}
    monkeypatch.setattr("gradviz.views.drawing.entry_points", lambda group, name: points.get((group, name), []))
    picture = draw(Graph((Node(0, "x", "input", "input"),)))
    assert picture.save(tmp_path / "x.count").read_text() == "1 nodes"
    with pytest.raises(GradvizValueError, match=r"suffix .\.bmp"):
        picture.save(tmp_path / "x.bmp")


def test_highlight_and_focus_take_tensors():
    w, b = gradviz.Tensor(2.0), gradviz.Tensor(3.0)
    y = w * b
    z = y + b
    assert draw(z, highlight=[b, "y"]).options.highlight == draw(z, highlight=["b", "y"]).options.highlight
    assert draw(z, highlight=w).options.highlight == (0,)
    assert draw(z, focus=y, hops=1).dot == draw(z, focus="y", hops=1).dot
    with pytest.raises(GradvizValueError, match="is not in the graph of"):
        draw(y, highlight=[z])
