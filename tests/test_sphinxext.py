"""Real sites, built by Sphinx, with pictures that gradviz makes while they are built."""

import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

pytest.importorskip("sphinx")
pytest.importorskip("myst_parser")

from sphinx.application import Sphinx
from sphinx.errors import ConfigError
from sphinx.util.docutils import docutils_namespace

from .hostile import HOSTILE

CONF = """\
extensions = ["gradviz.sphinxext", "myst_parser"]
html_theme = "basic"
html_copy_source = False
project = "site"
numfig = True
"""
FIRST = """\
First
=====

.. toctree::

   second
   third

See :numref:`sine`.

.. gradviz::
   :name: sine
   :caption: The *sine*.
   :include-source:
   :show: name, value grad local

   import numpy as np
   from gradviz import Tensor

   a, b = Tensor(2.0), Tensor(3.0)
   e = np.sin((a + b) * 2)
   e.backward()

.. gradviz:: scripts/line.py
   :object: loss
   :direction: TB
   :theme: dark
   :alt: A line
   :args: --points 5

.. gradviz:: scripts/line.py
   :step: backward 1
   :width: 60%
   :align: left

"""
SECOND = """\
# Second

```{gradviz}
:context:
:caption: A `product`.

from gradviz import Tensor
x = Tensor(3.0)
y = x * x
y.backward()
```

```{gradviz}
:context:
z = y + 1
z
```

```{gradviz}
:context: reset
:nofigs:
from gradviz import Tensor, descend
import tempfile
```

```{gradviz}
:context:
:step: 2
:style: boxes

done = descend(lambda w: (w - 3) ** 2, {"w": 0.0}, steps=4, trace=tempfile.mkdtemp() + "/run")
```
"""
THIRD = """\
Third
=====

.. gradviz::

   x = 1
   y = x / 0

.. gradviz::

   x = 1

.. gradviz::
   :style: pink

   x = 1

.. gradviz:: nowhere.py

.. gradviz::
   :focus: nobody

   from gradviz import Tensor
   t = Tensor(1.0) + 1
"""
LINE = """\
import sys
from pathlib import Path
import numpy as np
from gradviz import Tensor
from side import SLOPE

with Path("ran.txt").open("a") as file:
    file.write("x")
print("not for the builder to see")
count = int(sys.argv[2]) if len(sys.argv) > 1 else 3
w = Tensor(0.5)
loss = ((np.linspace(0, 1, count) * (w - SLOPE)) ** 2).mean()
loss.backward()
for leaf in [w]:
    pass
"""


class Site:
    """A folder of pages, and how to build it."""

    def __init__(self, folder, **pages):
        self.source, self.out, self.folder = folder / "source", folder / "out", folder
        (self.source / "scripts").mkdir(parents=True)
        self.write("conf.py", CONF)
        self.write("scripts/line.py", LINE)
        self.write("scripts/side.py", "SLOPE = 2.0\n")
        for name, text in pages.items():
            self.write(name.replace("_", "."), text)

    def write(self, name, text):
        (self.source / name).write_text(text, encoding="utf-8")

    def build(self, builder="html", out=None, **confs):
        """Build, and return what there was to complain about."""
        sys.modules.pop("side", None)
        told = self.folder / "warnings.txt"
        with told.open("w+", encoding="utf-8") as stream, docutils_namespace():
            app = Sphinx(self.source, self.source, out or self.out, self.folder / "trees", builder, confs, None, stream)
            app.build()
            stream.seek(0)
            return re.sub(r"\x1b\[\d*(;\d+)*m", "", stream.read())

    def html(self, page):
        return (self.out / f"{page}.html").read_text("utf-8")

    def images(self):
        return {path.name for path in (self.out / "_images").glob("*")}

    def runs(self):
        """Build without complaints, and return how often the script has run by now."""
        assert self.build() == ""
        return len((self.source / "scripts/ran.txt").read_text())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site that has been built once."""
    found = Site(tmp_path_factory.mktemp("site"), index_rst=FIRST, second_md=SECOND, third_rst=THIRD)
    found.complaints = found.build()
    return found


def pictures(html):
    """Return the images of a page: source, alternative text and classes."""
    found = []
    for tag in re.findall(r"<img[^>]*>", html):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        found.append((attributes["src"], unescape(attributes["alt"]), attributes["class"].split(), tag))
    return found


def test_each_picture_is_there_light_and_dark(site):
    found = pictures(site.html("index"))
    light, dark, single, *_ = found
    assert {"gradviz-light", "only-light"} < set(light[2])
    assert {"gradviz-dark", "only-dark"} < set(dark[2])
    assert dark[0] == light[0].replace(".svg", "-dark.svg")
    assert "only-light" not in single[2]
    assert "only-dark" not in single[2]
    for src, *_ in found:
        assert (site.out / src).read_text("utf-8").startswith("<svg")
    assert "#ffffff" in (site.out / light[0]).read_text("utf-8")
    assert "gradviz-pictures.css" in site.html("index")
    assert ".gradviz-dark { display: none" in (site.out / "_static/gradviz-pictures.css").read_text("utf-8")


def test_the_text_for_a_picture_comes_from_the_graph(site):
    texts = [alt for _, alt, *_ in pictures(site.html("index"))]
    assert texts[0] == texts[1] == "Computation graph of e: 6 values, 3 operations, e -0.544"
    assert texts[2] == "A line"
    assert texts[3].startswith("backward 1: ")


def test_caption_number_source_and_width(site):
    html = site.html("index")
    assert '<figure class="gradviz align-default" id="sine">' in html
    assert "The <em>sine</em>." in html
    assert re.search(r'See <a[^>]*href="#sine"><span[^>]*>Fig. \d</span>', html)
    assert html.index("highlight-python") < html.index('id="sine"')
    assert html.count("highlight-python") == 1
    assert 'style="width: 60%;"' in html
    assert 'class="gradviz align-left"' in html
    assert "not for the builder" not in html + site.complaints


def test_myst_and_code_that_goes_on(site):
    texts = [alt for _, alt, *_ in pictures(site.html("second"))][::2]
    assert texts[0] == "Computation graph of y: 2 values, 1 operation, y 9"
    assert texts[1] == "Computation graph of z: 4 values, 2 operations, z 10"
    assert len(texts) == 3
    assert "1 operation" not in texts[2]
    assert "A <code" in site.html("second")


def test_what_is_wrong_is_said_where_it_is_and_the_page_is_built(site):
    lines = site.complaints.splitlines()
    told = {int(hit[1]): line for line in lines if (hit := re.search(r"third\.rst:(\d+): (WARNING|ERROR)", line))}
    where = {at + 1: line for at, line in enumerate(THIRD.splitlines())}
    assert [where[at] for at in told] == [
        "   y = x / 0", ".. gradviz::", ".. gradviz::", ".. gradviz:: nowhere.py", ".. gradviz::"
    ]  # fmt: skip
    assert "ZeroDivisionError: division by zero" in site.complaints
    assert "<code>:2 in <module>: y = x / 0" in site.complaints
    assert "nothing that can be drawn" in site.complaints
    assert '"pink" unknown; choose from "cards"' in site.complaints
    assert "nobody" in site.complaints
    assert {line.split(":")[0] for line in lines if "WARNING" in line or "ERROR" in line} == {
        str(site.source / "third.rst")
    }
    assert site.html("third").count("(no picture)") == 3


@pytest.mark.parametrize("builder", ["latex", "text", "epub"])
def test_other_builders(site, builder, tmp_path):
    site.build(builder, tmp_path, epub_copyright="x", version="1", epub_show_urls="no")
    made = {path.suffix for path in tmp_path.rglob("gradviz-*") if "css" not in path.suffix}
    assert made == {"latex": {".pdf"}, "text": set(), "epub": {".svg"}}[builder]
    assert not list(tmp_path.rglob("*-dark.*"))
    if builder == "latex":
        tex = (tmp_path / "site.tex").read_text("utf-8")
        assert re.search(r"\\sphinxincludegraphics.*\{\{gradviz-\w+\}\.pdf\}", tex)
        assert next(tmp_path.glob("gradviz-*.pdf")).read_bytes().startswith(b"%PDF-")
    if builder == "text":
        text = (tmp_path / "index.txt").read_text("utf-8")
        assert "Computation graph of e: 6 values" in " ".join(text.split())


def test_only_what_has_changed_is_run_again(tmp_path, monkeypatch):
    page = "Page\n====\n\n.. gradviz:: scripts/line.py\n\n.. gradviz:: scripts/line.py\n   :style: boxes\n"
    site = Site(tmp_path, index_rst=page)
    assert site.runs() == 2
    first = site.images()
    assert len(first) == 4
    assert site.runs() == 2
    site.write("index.rst", page.replace("boxes", "compact") + "\nMore.\n")
    assert site.runs() == 3
    assert len(site.images()) == 4
    assert len(site.images() & first) == 2
    site.write("scripts/side.py", "SLOPE = 2.25\n")
    assert site.runs() == 5
    site.write("scripts/line.py", LINE + "\nloss = loss * 2\n")
    assert site.runs() == 7
    next((site.folder / "trees/gradviz").glob("*-dark.svg")).unlink()
    assert site.runs() == 8
    with monkeypatch.context() as patch:
        patch.setattr("gradviz.sphinxext.storing.package_state", lambda: "another gradviz")
        assert site.runs() == 10
    assert site.runs() == 12
    others = site.out / "_images/gradviz-logo.svg"
    others.write_text("<svg/>")
    site.write("index.rst", "Page\n====\n")
    assert site.build() == ""
    assert site.images() == {others.name}
    assert list((site.folder / "trees/gradviz").glob("*")) == []


def test_settings_of_the_site(tmp_path):
    page = (
        "Page\n====\n\n.. gradviz:: line.py\n\n.. gradviz::\n   :include-source: no\n\n   x = Tensor(1.0)\n   x * 2\n"
    )
    site = Site(tmp_path, index_rst=page)
    settings = {
        "gradviz_base": "scripts",
        "gradviz_preamble": "from gradviz import Tensor",
        "gradviz_include_source": True,
        "gradviz_defaults": {"theme": "light"},
    }
    assert site.build(**settings) == ""
    assert site.html("index").count("highlight-python") == 1
    assert [alt for _, alt, *_ in pictures(site.html("index"))][1].startswith("Computation graph of mul")


def test_a_picture_in_motion(tmp_path):
    code = "   from gradviz import Tensor, animate\n   x = Tensor(2.0)\n   y = x * x\n   y.backward()\n"
    page = f"Page\n====\n\n.. gradviz::\n   :animate: 5\n\n{code}\n.. gradviz::\n\n{code}   animate(y, loop=False)\n"
    site = Site(tmp_path, index_rst=page)
    assert site.build() == ""
    found = pictures(site.html("index"))
    assert len(found) == 4
    for src, alt, *_ in found:
        assert "@keyframes" in (site.out / src).read_text("utf-8")
        assert "Animation of 1 operation forward, then 1 backward" in alt
    assert site.build("latex", tmp_path / "latex") == ""
    assert len(list((tmp_path / "latex").glob("gradviz-*.pdf"))) == 2


def test_hostile_names_stay_text(tmp_path):
    (tmp_path / "a").mkdir()
    code = "".join(f"t = t + Tensor(1.0, name={name!r})\n   " for name in HOSTILE)
    page = f"Page\n====\n\n.. gradviz::\n   :fold: no\n\n   from gradviz import Tensor\n   t = 1.0\n   {code}"
    site = Site(tmp_path / "a", index_rst=page + "t = Tensor(2.0, name='<script>alert(1)</script>\"') * 2\n")
    assert site.build() == ""
    html = site.html("index")
    assert "<script>alert" not in html
    assert len(pictures(html)) == 2


def test_pages_are_read_and_written_in_parallel(tmp_path):
    page = "Page\n====\n\n.. gradviz::\n\n   from gradviz import Tensor\n   x = Tensor({}.0)\n   y = x * 2\n"
    names = [f"page{i}" for i in range(8)]
    site = Site(tmp_path, index_rst="Index\n=====\n\n.. toctree::\n\n   " + "\n   ".join(names) + "\n")
    for i, name in enumerate(names):
        site.write(f"{name}.rst", page.format(i % 4))
    command = [sys.executable, "-W", "error", "-m", "sphinx", "-W", "-q", "-j2", "-b", "html"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(
        [*command, "-d", site.folder / "trees", site.source, site.out],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
    assert len(site.images()) == 8
    assert len(pictures(site.html("page7"))) == 2


def test_what_fails_before_the_code_is_not_said_of_its_lines(tmp_path):
    page = "Page\n====\n\n.. gradviz::\n\n   from gradviz import Tensor\n   Tensor(1.0)\n"
    site = Site(tmp_path, index_rst=page)
    complaints = site.build(gradviz_preamble="a = 1\nraise ValueError('\\x1b[31m no')")
    assert "index.rst:4: WARNING: gradviz: <preamble> failed: ValueError: \\u001B[31m no" in complaints
    assert "<preamble>:2 in <module>" in complaints
    with pytest.raises(ConfigError, match="'colour' is no option"):
        site.build(gradviz_defaults={"colour": "red"})


@pytest.mark.parametrize("options", ["", ":style: boxes\n:caption: A\n\n"])
def test_the_line_of_a_mistake_in_markdown(tmp_path, options):
    page = f"# Page\n\n```{{gradviz}}\n{options}a = 1\nb = = 2\n```\n\n```{{gradviz}}\n{options}a = 1\na.b\n```\n"
    site = Site(tmp_path, index_md=page)
    complaints = site.build()
    lines = page.splitlines()
    for text, said in (("b = = 2", "<code>:2: SyntaxError: invalid syntax: b = = 2"), ("a.b", "AttributeError")):
        told = rf"index\.md:{lines.index(text) + 1}: WARNING: gradviz: .*{re.escape(said)}"
        assert re.search(told, complaints), complaints


def test_a_mistake_of_ours_does_not_stop_the_site(tmp_path, monkeypatch):
    monkeypatch.setattr("gradviz.sphinxext.picking.draw", lambda *_, **__: 1 / 0)
    page = "Page\n====\n\n.. gradviz::\n   :unfold: a, b\n\n   from gradviz import Tensor\n   Tensor(1.0)\n"
    site = Site(tmp_path, index_rst=page)
    assert "gradviz: ZeroDivisionError: division by zero" in site.build()
    assert "(no picture) ZeroDivisionError" in site.html("index")
