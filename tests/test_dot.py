"""DOT text: gold files, determinism, hostile names, every combination of options."""

import itertools
import os
import re
import subprocess

import graphviz
import pytest

from gradviz import escape
from gradviz.errors import UnknownNameError
from gradviz.graphs import Graph, Node
from gradviz.style import DIRECTIONS, SHOW, STYLES, THEMES, Options
from gradviz.transforms import fold
from gradviz.views.dot import make_dot, to_dot
from tests.golden import assert_gold
from tests.hostile import HOSTILE
from tests.pictures import article, chain, network, samples
from tests.processes import run_python

GOLD = {
    "article.dot": (article, Options()),
    "article_local.dot": (article, Options(show=("name", "value", "grad", "local"))),
    "article_boxes.dot": (article, Options(style="boxes", direction="TB", show=SHOW, title="The article's graph")),
    "article_compact.dot": (article, Options(style="compact", theme="dark")),
    "article_print.dot": (article, Options(theme="print", highlight=("c",), pending=(6, 7))),
    "article_circuit.dot": (article, Options(style="circuit", show=("name", "value", "grad", "local"))),
    "article_paper.dot": (article, Options(style="paper", direction="TB")),
    "article_forward.dot": (lambda: article(backward=False), Options()),
    "network.dot": (network, Options(show=("name", "shape", "value", "grad", "stats"))),
    "samples_folded.dot": (lambda: fold(samples(100)), Options()),
    "hostile.dot": (lambda: chain(HOSTILE), Options(show=("name", "value", "local", "source"))),
}


@pytest.mark.parametrize("name", GOLD)
def test_gold(name):
    make, options = GOLD[name]
    assert_gold(name, to_dot(make(), options))


def test_make_dot_gold():
    assert_gold("make_dot.dot", make_dot(network(), show_attrs=True, show_saved=True).source)


PROGRAM = """
import sys
from gradviz.style import Options
from gradviz.views.dot import to_dot
from tests.pictures import article, network, samples
from gradviz.transforms import fold, collapse
for frame in (article(), network(), fold(samples(70)), collapse(network(), 0)):
    sys.stdout.buffer.write(to_dot(frame, Options(show=("name", "value", "grad", "local"))).encode())
"""


def test_the_same_frame_gives_the_same_bytes_in_every_process():
    runs = set()
    for seed, locale in (("0", "C"), ("1", "C.UTF-8"), ("4242", "tr_TR.UTF-8")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": locale, "TZ": "Asia/Tokyo"}
        done = run_python("-c", PROGRAM, env=environment)
        assert done.returncode == 0, done.stderr.decode()
        runs.add(done.stdout)
    assert len(runs) == 1
    assert runs.pop().startswith(b"digraph")


COMBINATIONS = list(itertools.product(STYLES, THEMES, DIRECTIONS))


@pytest.mark.parametrize(("style", "theme", "direction"), COMBINATIONS)
def test_system_graphviz_reads_every_combination(style, theme, direction, tmp_path):
    shows = [(), *((word,) for word in SHOW), SHOW]
    sources = [
        to_dot(frame, Options(style=style, theme=theme, direction=direction, show=show))
        for show in shows
        for frame in (article(), network())
    ]
    files = [tmp_path / f"{number}.dot" for number in range(len(sources))]
    for file, source in zip(files, sources, strict=True):
        file.write_text(source, "utf-8")
    done = subprocess.run(["dot", "-Tcanon", *files], capture_output=True, check=True)
    assert done.stderr == b""
    assert done.stdout.count(b"digraph") == len(sources)


def statements(source):
    return [line.strip() for line in source.splitlines()[1:-1]]


@pytest.mark.parametrize("style", STYLES)
def test_hostile_names_stay_inside_their_labels(style):
    frame = chain(HOSTILE)
    source = to_dot(frame, Options(style=style, show=SHOW))
    heads = {re.split(r" \[", line)[0] for line in statements(source)}
    end = r"(n|op|e\d+_\d+_|p\d+_)\d+(:[nesw])?"  # a branch (e) or what is carried over (p) has two or three numbers
    plain = re.compile(rf'{end}( -> {end})?|graph|node|edge|subgraph "?cluster\d+"? ?\{{|\}}')
    assert all(plain.fullmatch(head) for head in heads), heads
    assert sum(head.startswith("n") and head[1:].isdecimal() for head in heads) == len(frame.graph)


def test_no_html_label_and_no_link_is_ever_written():
    source = to_dot(chain(HOSTILE), Options(show=SHOW))
    assert "label=<" not in source
    assert not re.search(r"\b(URL|href|image|shapefile|target)=", source)


def test_one_element_a_line_and_attributes_sorted():
    for line in statements(to_dot(article(), Options())):
        names = re.findall(r'(?:(?<= )|(?<=\[))(\w+)=(?=["\w.#-])', re.sub(r'"(?:[^"\\]|\\.)*"', '""', line))
        rest = names[1:] if names[:1] == ["label"] else names
        assert rest == sorted(rest), line


def test_no_folder_of_the_user_is_written():
    assert "somebody" not in to_dot(article(), Options(show=SHOW))


def test_no_gradient_differs_from_zero():
    frame = network()
    cards = {line.split(" ")[0]: line for line in statements(to_dot(frame, Options())) if re.match(r"n\d+ \[", line)}
    assert "– no grad" in cards["n0"]
    assert "grad all 0" in cards["n2"]
    assert "grad 0" in cards["n5"]


def test_nan_and_infinities_stand_out_by_a_sign_and_not_by_colour_alone():
    source = to_dot(network(), Options())
    assert "! NaN" in source
    assert "! inf" in source
    assert "! 45 NaN" in source or re.search(r"! \d+ NaN", source)
    assert 'class="gv-result gv-bad"' in source


def test_large_arrays_show_range_and_mean_and_small_ones_digits():
    source = to_dot(network(), Options())
    assert re.search(r"value -[\d.]+ … [\d.]+", source)
    assert "mean " in source
    assert "[-3, 1e-9]" in source


def test_local_derivatives_stand_on_their_edges():
    source = to_dot(article(), Options(show=("name", "value", "grad", "local")))
    edge = next(line for line in statements(source) if line.startswith("n0 -> op5"))
    assert "∂d/∂a = b = 3" in edge
    assert "grad += 3" in edge


def test_width_and_colour_follow_the_gradient_of_the_edge():
    lines = {line.split(" [")[0]: line for line in statements(to_dot(article(), Options()))}
    assert 'color="#0072b2"' not in lines["n5 -> op7"]
    positive, negative = (re.search(r'color="(\S+)"', lines[edge])[1] for edge in ("n5 -> op7", "n6 -> op7"))
    assert positive != negative
    assert "penwidth" not in lines["n3 -> op4"]


def test_squares_keep_both_edges():
    assert to_dot(network(), Options()).count("n5 -> op6") == 2


def test_a_graph_without_numbers_shows_none():
    source = to_dot(article().graph, Options())
    assert "grad" not in source.replace("gradient", "")
    assert "value" not in re.sub(r'tooltip="[^"]*"', "", source)


def test_an_empty_graph_is_still_a_graph():
    assert to_dot(Graph(()), Options()).splitlines()[0] == "digraph {"


def test_highlighting_an_unknown_name_suggests_a_known_one():
    with pytest.raises(UnknownNameError, match="did you mean add"):
        to_dot(article(), Options(highlight="ad"))


def test_scopes_are_nested_boxes():
    source = to_dot(network(), Options())
    assert source.index("encoder") < source.index("layer1") < source.index("n2 [")
    assert len(re.findall(r"subgraph \"?cluster\d", source)) == 2


def test_labels_are_cut_at_the_limit():
    node = Node(0, "x" * 65_536, "input", "input", scope=("s" * 65_536,))
    source = to_dot(Graph((node,)), Options(show=SHOW, title="t" * 65_536))
    assert max(len(text) for text in re.findall(r'"([^"]*)"', source)) <= escape.LIMIT + 1


def test_make_dot_has_the_signature_and_the_type_of_torchviz():
    picture = make_dot(article(), {"ignored": None}, show_attrs=True, show_saved=False, max_attr_chars=50)
    assert isinstance(picture, graphviz.Digraph)
    assert picture.graph_attr["rankdir"] == "TB"
    assert "value 2" in picture.source
    assert "grad 4.678" in picture.source


def test_make_dot_shows_attributes_cut_to_the_length_asked_for():
    assert "axis: (0, 1)" in make_dot(network(), show_attrs=True).source
    assert "axis: (0,…" in make_dot(network(), show_attrs=True, max_attr_chars=4).source
    assert "axis" not in make_dot(network()).source


def test_make_dot_marks_the_operands_that_backward_needs():
    lines = {line.split(" [")[0]: line for line in statements(make_dot(article(), show_saved=True).source)}
    assert "arrowtail=dot" in lines["n0 -> n5"]
    assert "arrowtail=dot" in lines["n4 -> n6"]
    assert "arrowtail" not in lines["n0 -> n2"]
    assert "arrowtail" not in make_dot(article()).source
