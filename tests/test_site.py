"""The site of the documentation: everything public is on it, and nothing on it comes from elsewhere."""

import importlib
import os
import re
import sys
from pathlib import Path

import pytest

import gradviz
from gradviz.engine.registry import OPS

DOCS = Path(__file__).parent.parent / "docs"
BUILT = DOCS.parent / "out" / "docs"
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["'](?:https?:)?//|<link\b[^>]*\bhref=["'](?:https?:)?//[^>]*>"""
)
IMAGE = re.compile(r"<img\b[^>]*>")
NOT_FETCHED = re.compile(r"""\brel=["'](?:canonical|license|search|prev|next)["']""")


@pytest.fixture(scope="module")
def pages():
    """Import the extensions of the site."""
    pytest.importorskip("sphinx")
    sys.path.insert(0, str(DOCS / "_ext"))
    yield importlib.import_module
    sys.path.remove(str(DOCS / "_ext"))


def test_every_public_name_is_in_the_reference(pages):
    written = pages("referencepages").pages(DOCS)
    text = "\n".join(written.values())
    assert [
        name for name in gradviz.__all__ if not re.search(rf"^\.\. auto\w+:: \S*\b{name}$", text, re.MULTILINE)
    ] == []
    assert [
        kind
        for kind in ("doctor", "run", "check")
        if f"usage: gradviz {kind}" not in written["reference/command-line.md"]
    ] == []


def test_every_operation_has_a_picture_of_a_sample(pages, monkeypatch, tmp_path):
    gallery, drawn = pages("oppages"), {}
    monkeypatch.setattr(gallery, "draw_all", lambda folder, drawings: drawn.update(drawings))
    written = gallery.pages(tmp_path)
    ours = {name for name, op in OPS.items() if op.forward.__module__.startswith("gradviz.")}
    assert set(drawn) == ours
    text = "\n".join(written.values())
    assert [
        name for name in ours if f"](#op-{name.replace('_', '-')})" not in text or f"\n## {name}\n" not in text
    ] == []


def test_only_changed_pictures_are_drawn_anew(pages, tmp_path):
    gallery = pages("oppages")
    x = gradviz.Tensor(2.0, name="x")
    square = x * x
    gallery.draw_all(tmp_path, {"square": gradviz.draw(square)})
    os.utime(tmp_path / "square.svg", (1, 1))
    gallery.draw_all(tmp_path, {"square": gradviz.draw(square)})
    assert (tmp_path / "square.svg").stat().st_mtime == 1
    gallery.draw_all(tmp_path, {"square": gradviz.draw(x * x * x)})
    assert (tmp_path / "square.svg").stat().st_mtime > 1


def test_every_example_is_in_the_gallery(pages, monkeypatch, tmp_path):
    gallery = pages("examplepages")
    monkeypatch.setattr(gallery, "result", lambda path, place: "printed\n")
    written = gallery.pages(tmp_path)
    names = {path.stem for path in gallery.EXAMPLES.glob("*.py")}
    assert set(written) == {f"{gallery.FOLDER}/{name}.md" for name in {*names, "index"}}
    assert set(gallery.SHOWN) <= names
    assert "```sh\npython examples/three_ways.py" in written[f"{gallery.FOLDER}/three_ways.md"]


def test_an_example_that_fails_fails_the_build(pages, tmp_path):
    script = tmp_path / "broken.py"
    script.write_text('"""Broken."""\nraise ValueError("no")\n', encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"broken\.py failed"):
        pages("examplepages").result(script, tmp_path / "results")


def test_of_an_example_that_takes_long_only_the_source_is_shown(pages, monkeypatch, tmp_path):
    gallery = pages("examplepages")
    monkeypatch.setattr(gallery, "LIMIT", 0.2)
    script = tmp_path / "slow.py"
    script.write_text('"""Slow."""\nimport time\ntime.sleep(60)\n', encoding="utf-8")
    assert gallery.result(script, tmp_path / "results") is None
    assert "It is not run while this site is built." in gallery.page("slow", script, None, tmp_path)


def test_every_page_is_in_the_contents(pages):
    text = pages("sitepages").contents(DOCS)
    listed = text.split()
    assert [path.stem for path in DOCS.glob("*.md") if path.stem != "index" and path.stem not in listed] == []


def test_docstrings_are_turned_into_what_sphinx_reads(pages):
    lines = ["See `draw` and `x`, or ``y``.", "a * b | c, x_ too", "", ">>> a * b", "`x`", "", "`Tensor`"]
    pages("referencepages").as_rst(None, "function", "f", None, None, lines)
    assert lines[0] == "See :py:obj:`draw <gradviz.draw>` and ``x``, or ``y``."
    assert lines[1] == r"a \* b \| c, x\_ too"
    assert lines[3:5] == [">>> a * b", "`x`"]
    assert lines[6] == ":py:obj:`Tensor <gradviz.Tensor>`"


@pytest.fixture(scope="module")
def built():
    """Return every page of the site, where it has been built."""
    if not (BUILT / "index.html").is_file():
        pytest.skip("make docs has not been run here")
    return {page.relative_to(BUILT).as_posix(): page.read_text("utf-8") for page in BUILT.rglob("*.html")}


def test_no_page_of_the_site_fetches_anything(built):
    for name, text in built.items():
        found = [hit[0] for hit in FETCHED.finditer(text) if not NOT_FETCHED.search(hit[0])]
        assert found == [], name


def test_every_picture_and_link_of_the_site_has_words(built):
    for name, text in built.items():
        silent = [image for image in IMAGE.findall(text) if not re.search(r'\balt="[^"]', image)]
        assert silent == [], name
        assert '"></span></a>' not in re.sub(r"<nav.*?</nav>", "", text, flags=re.DOTALL), name


def test_no_page_of_the_site_names_a_machine(built):
    private = re.compile(r"/(?:home|root|tmp|work|Users)/\w")
    assert [name for name, text in built.items() if private.search(text)] == []
