"""SVG: laid out by either engine, stopped in time, safe in a page, and cached as native code only when safe."""

import hashlib
import os
import re
import shlex
import stat
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from gradviz import Tensor, escape
from gradviz.errors import GradvizTypeError, LayoutError, LayoutTimeoutError
from gradviz.graphs import Frame, Graph, Node
from gradviz.style import DIRECTIONS, SHOW, STYLES, Options
from gradviz.style.colours import THEMES
from gradviz.views import compiled, embedded, system
from gradviz.views.drawing import Drawing, arranged, draw
from gradviz.views.svg import describe, render_dot
from tests.hostile import HOSTILE
from tests.pictures import article, chain, network, samples

SVG = "{http://www.w3.org/2000/svg}"


def heavy(count: int = 400) -> str:
    """A graph that keeps Graphviz busy for minutes."""
    edges = (f"{i} -> {(i * 7 + k * k + 1) % count};" for i in range(count) for k in range(8))
    return "digraph {" + " ".join(edges) + "}"


# -- engines


@pytest.mark.parametrize("engine", ["auto", "embedded", "system"])
def test_every_engine_draws(engine):
    root = ET.fromstring(render_dot("digraph { a -> b }", engine=engine))
    assert root.tag == f"{SVG}svg"


def test_the_embedded_layout_is_the_same_every_time():
    dot = draw(article()).dot
    assert len({hashlib.sha256(render_dot(dot).encode()).hexdigest() for _ in range(3)}) == 1


@pytest.mark.parametrize("engine", ["embedded", "system"])
def test_bad_dot_is_a_layout_error_with_the_words_of_graphviz(engine):
    with pytest.raises(LayoutError):
        render_dot("digraph { a -> ", engine=engine)


def test_a_failure_leaves_the_embedded_engine_usable():
    for _ in range(3):
        with pytest.raises(LayoutError, match="Failed to parse"):
            render_dot("nonsense")
        render_dot("digraph { a }")


def test_dot_text_has_to_be_text():
    with pytest.raises(GradvizTypeError, match="got bytes"):
        render_dot(b"digraph {}")


def test_the_embedded_layout_is_stopped_at_the_time_limit():
    started = time.monotonic()
    with pytest.raises(LayoutTimeoutError, match=r"longer than 0.2 s.*\n.*fold=True"):
        render_dot(heavy(), engine="embedded", timeout=0.2)
    assert time.monotonic() - started < 5  # it would take minutes
    render_dot("digraph { a }", engine="embedded")


def test_eight_threads_draw_at_once_and_one_that_is_stopped_disturbs_nobody():
    dots = [draw(samples(8 + number)).dot for number in range(8)]
    expected = [render_dot(dot) for dot in dots]
    found: list[object] = [None] * 9

    def work(number: int) -> None:
        try:
            found[number] = (
                [render_dot(dots[number]) for _ in range(3)] if number < 8 else render_dot(heavy(), timeout=0.1)
            )
        except LayoutTimeoutError as error:
            found[number] = error

    threads = [threading.Thread(target=work, args=(number,)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[:8] == [[svg] * 3 for svg in expected]
    assert isinstance(found[8], LayoutTimeoutError)


def test_two_thousand_nodes_are_laid_out_by_graphviz_and_one_more_by_scope():
    nodes = tuple(
        Node(i, f"v_{i}", "sin" if i else "input", "op" if i else "input", (i // 2,) if i else ()) for i in range(2001)
    )
    nodes = tuple(n if n.id != 1 else Node(1, "v_1", "sin", "op", (0,)) for n in nodes)
    whole = Frame(Graph(nodes, (2000,)).check(), [1.0] * 2001, [None] * 2001)
    assert draw(whole, fold=False).svg.count("<rect") == 2001
    almost = Frame(Graph(nodes[:2000], (1999,)), [1.0] * 2000, [None] * 2000)
    assert draw(almost, fold=False, style="compact").svg.count("data-node") == 2000


# -- the dot program


def fake_dot(folder, monkeypatch, script):
    program = folder / "bin" / "dot"
    program.parent.mkdir()
    (program.parent / "dot.py").write_text(script)
    line = shlex.join([sys.executable, str(program.parent / "dot.py")])
    program.write_text(f"#!/bin/sh\nexec {line}\n")  # a shebang cannot name a path with a space in it
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] == "Z"  # waiting to be reaped


def wait_until(condition) -> bool:
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_a_hanging_dot_is_ended_with_all_its_children(tmp_path, monkeypatch):
    note = tmp_path / "pids"
    fake_dot(
        tmp_path,
        monkeypatch,
        f"import os, subprocess, sys, time\n"
        f"child = subprocess.Popen([{sys.executable!r}, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(note)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        f"time.sleep(600)\n",
    )
    with pytest.raises(LayoutTimeoutError, match="dot took longer"):
        render_dot("digraph {}", engine="system", timeout=3)
    pids = [int(text) for text in note.read_text().split()]
    assert len(pids) == 2
    assert all(wait_until(lambda pid=pid: gone(pid)) for pid in pids)


def test_a_dot_that_closes_its_output_and_hangs_is_ended(tmp_path, monkeypatch):
    fake_dot(tmp_path, monkeypatch, "import os, time\nos.close(1)\ntime.sleep(600)\n")
    with pytest.raises(LayoutTimeoutError):
        render_dot("digraph {}", engine="system", timeout=0.5)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("print('<svg xmlns=\"http://www.w3.org/2000/svg\"><g>')", "no whole SVG"),
        ("pass", "no whole SVG"),
        ("print('<html/>')", "not SVG"),
        ("print('<!DOCTYPE a [<!ENTITY b \"c\">]><svg/>')", "entities"),
        ("import sys; sys.stderr.write('out of \\x1b[31mpaper'); sys.exit(3)", r"status 3: out of \\u001B\[31mpaper"),
        ("import os; os.kill(os.getpid(), 9)", "status -9"),
    ],
)
def test_a_lying_dot_leaves_the_older_figure_alone(tmp_path, monkeypatch, script, message):
    figure = tmp_path / "figure.svg"
    figure.write_text("the older figure")
    fake_dot(tmp_path, monkeypatch, script)
    with pytest.raises(LayoutError, match=message):
        draw(article(), engine="system").save(figure)
    assert figure.read_text() == "the older figure"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "figure.svg"]


def test_a_flood_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(system, "LARGEST", 1_000_000)
    fake_dot(tmp_path, monkeypatch, "import sys\nwhile True: sys.stdout.write('x' * 65536)\n")
    with pytest.raises(LayoutError, match="more than 1,000,000 bytes"):
        render_dot("digraph {}", engine="system")


def test_a_missing_dot_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LayoutError, match=r"no program named dot.*\n.*apt install graphviz"):
        render_dot("digraph {}", engine="system")


def test_auto_takes_the_system_dot_where_the_embedded_one_cannot_be_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "wasmtime", None)
    monkeypatch.setattr(embedded, "POOL", embedded.Pool())
    assert "<svg" in render_dot("digraph { a }")
    with pytest.raises(LayoutError, match=r"cannot be loaded.*\n.*pip install"):
        render_dot("digraph { a }", engine="embedded")


# -- the compiled module on disk


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gradviz"


WASM = b"\0asm not really"


def test_what_was_stored_is_loaded_and_private(cache):
    compiled.store(WASM, b"code")
    assert compiled.load(WASM) == b"code"
    assert compiled.load(b"other") is None
    (file,) = cache.iterdir()
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_damaged_file_is_not_loaded_and_is_replaced(cache, damage):
    compiled.store(WASM, b"code")
    (file,) = cache.iterdir()
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"X" if damage is None else damage)
    assert compiled.load(WASM) is None
    compiled.store(WASM, b"code")
    assert compiled.load(WASM) == b"code"


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o777, 0o701])
def test_a_folder_that_others_may_enter_is_not_used(cache, mode):
    compiled.store(WASM, b"code")
    cache.chmod(mode)
    assert compiled.cache_folder() is None
    assert compiled.load(WASM) is None
    compiled.store(WASM, b"other")
    cache.chmod(0o700)
    assert compiled.load(WASM) == b"code"


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_not_loaded(cache, mode):
    compiled.store(WASM, b"code")
    next(cache.iterdir()).chmod(mode)
    assert compiled.load(WASM) is None


def test_files_and_folders_of_another_user_are_not_used(cache, monkeypatch):
    compiled.store(WASM, b"code")
    monkeypatch.setattr(os, "geteuid", lambda: 123_456)
    assert compiled.cache_folder() is None
    assert compiled.load(WASM) is None


def test_links_are_not_followed(cache, tmp_path):
    compiled.store(WASM, b"code")
    (file,) = cache.iterdir()
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert compiled.load(WASM) is None
    cache.rename(tmp_path / "folder")
    cache.symlink_to(tmp_path / "folder")
    assert compiled.cache_folder() is None


def test_no_place_for_a_cache_is_no_problem(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    compiled.store(WASM, b"code")
    assert compiled.load(WASM) is None


DRAWS = "from gradviz.views.svg import render_dot; print(len(render_dot('digraph { a -> b }')))"


def drawn_in_a_new_process(folder) -> str:
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", DRAWS], env=environment, capture_output=True, check=True
    )
    assert done.stderr == b""
    return done.stdout.decode()


def test_a_foreign_module_with_a_right_checksum_is_rebuilt(cache, tmp_path):
    expected = drawn_in_a_new_process(tmp_path / "cache")
    (file,) = cache.iterdir()
    good = file.read_bytes()
    foreign = b"\x7fELF of another engine"
    file.write_bytes(compiled.MAGIC + hashlib.sha256(foreign).digest() + foreign)
    assert drawn_in_a_new_process(tmp_path / "cache") == expected
    assert file.read_bytes()[: len(compiled.MAGIC)] == compiled.MAGIC
    assert len(file.read_bytes()) == len(good)
    assert drawn_in_a_new_process(tmp_path / "cache") == expected


# -- the picture


def picture(frame=None, **options) -> ET.Element:
    return ET.fromstring(draw(frame if frame is not None else article(), **options).svg)


def visible(root: ET.Element) -> list[str]:
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


def test_the_picture_says_what_it_shows():
    root = picture()
    assert root.get("role") == "img"
    title, desc = root[0], root[1]
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert title.text == "Computation graph of f"
    assert desc.text == "8 values, 5 operations, f 6.544"


def test_title_and_alt_can_be_given():
    root = picture(title="My <graph>", alt="A & B")
    assert (root[0].text, root[1].text) == ("My <graph>", "A & B")
    assert "My <graph>" in visible(root)


def test_faults_are_in_the_description():
    assert describe(network(), Options()).endswith("NaN or infinity in log_h, s, t and others")


def test_the_picture_fits_its_place():
    root = picture()
    width = float(root.get("viewBox").split()[2])
    assert float(root.get("width")) == pytest.approx(width * 4 / 3, abs=0.1)
    assert "max-width:100%" in root[2].text
    assert "pt" not in root.get("width") + root.get("height")


def test_every_id_and_rule_is_under_the_root():
    root = picture()
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    assert all(name.startswith(root.get("id")) for name in ids)
    flat = root[2].text.replace("@media (prefers-color-scheme:dark){", "")
    assert all(rule.strip().startswith(f"#{root.get('id')}") for rule in re.findall(r"[^{}]+(?=\{)", flat))


def test_two_pictures_have_different_ids_and_one_picture_the_same():
    roots = [picture(), picture(theme="dark"), picture(network()), picture()]
    ids = [root.get("id") for root in roots]
    assert ids[0] == ids[3]
    assert len(set(ids)) == 3


def test_there_are_no_links_scripts_comments_or_foreign_namespaces():
    svg = draw(chain(HOSTILE), show=SHOW).svg
    root = ET.fromstring(svg)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg", "title", "desc", "style", "g", "path", "polygon", "polyline", "ellipse", "rect", "line", "text", "tspan",
    }  # fmt: skip
    assert not any(name.startswith("on") or "href" in name for element in root.iter() for name in element.attrib)
    assert "<!--" not in svg
    assert "xlink" not in svg


def test_hostile_names_are_shown_exactly():
    shown = visible(picture(chain(HOSTILE), fold=False))
    names = [name if name.strip() else f'"{name}"' for name in HOSTILE]
    for name in names:
        assert escape.clean(name, 60) in shown


def test_dark_rules_exist_for_auto_only():
    assert "prefers-color-scheme" in picture()[2].text
    for theme in ("light", "dark", "print"):
        assert "prefers-color-scheme" not in picture(theme=theme)[2].text


def test_every_colour_of_the_automatic_theme_has_a_dark_one():
    root = picture(network(), highlight=["x"], show=SHOW)
    used = {element.get(name) for element in root.iter() for name in ("fill", "stroke")} - {None, "none"}
    assert used <= set(THEMES["light"].colours())
    for colour in used:
        assert f'"{colour}"]' in root[2].text


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_look_draws_every_node_once(style, theme, direction):
    for show in ((), ("name",), SHOW):
        options = Options(style=style, theme=theme, direction=direction, show=show, highlight="t", pending=(8,))
        root = ET.fromstring(Drawing(network(), options).svg)
        assert [int(element.get("data-node")) for element in root.iter() if element.get("data-node")] == list(range(10))


def test_nan_is_bold_and_no_gradient_is_italic():
    root = picture(network())
    looks = {text.text: text.attrib for text in root.iter(f"{SVG}text")}
    assert looks["! NaN"]["font-weight"] == "bold"
    assert looks["– no grad"]["font-style"] == "italic"
    assert "font-style" not in looks["0"]


def test_heat_strips_are_rows_of_cells():
    root = picture(network())
    card = next(element for element in root.iter() if element.get("data-node") == "2")
    assert len(card.findall(f"{SVG}rect")) > 16


def test_pending_nodes_are_pale_and_dashed():
    root = ET.fromstring(arranged(article(), Options(pending=("e", "f"))).svg)
    outlines = {
        element.get("data-node"): element.find(f"{SVG}rect") for element in root.iter() if element.get("data-node")
    }
    assert outlines["6"].get("stroke-dasharray")
    assert not outlines["5"].get("stroke-dasharray")


def test_the_system_engine_gives_the_same_cards():
    assert visible(picture(engine="system")) == visible(picture(engine="embedded"))


def test_an_empty_graph_is_drawn():
    assert picture(Graph(()))[1].text == "0 values, 0 operations"


def test_a_large_tangled_graph_does_not_crash_graphviz():
    wires = [Tensor(float(number), name=f"x{number}") for number in range(60)]
    for _ in range(3):
        wires = [wires[i] * wires[(i * 7 + 3) % 60] + wires[(i * 13 + 5) % 60] for i in range(60)]
    total = wires[0]
    for wire in wires[1:]:
        total = total + wire
    picture = draw(total, show=("name",), fold=False)
    assert len(picture.frame.graph) == 479
    assert picture.svg.count('class="gv-edge"') > 800
