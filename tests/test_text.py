"""Listings and trees: columns, numbers, what is missing, what is wrong, and hostile names."""

import re

import numpy as np
import pytest
from rich.cells import cell_len

from gradviz import Tensor
from gradviz.debugger.events import steps
from gradviz.graphs import Frame, Graph, Node, Source
from gradviz.views.drawing import draw
from gradviz.views.text import cell_text, listing, source_text, to_text, tree
from tests.golden import assert_gold
from tests.hostile import HOSTILE
from tests.pictures import article, chain, network, samples

C_SOURCE = ("article.py:3", "(a + b) * 2")
CODES = re.compile(r"\x1b\[[\d;]*m")


def row(text, name):
    return next(line for line in text.splitlines() if line.split()[:1] == [name])


def test_the_listing_is_as_it_was():
    assert_gold("article.txt", to_text(draw(article(), show=("name", "value", "grad", "local"), title="The article")))
    assert_gold("network.txt", to_text(draw(network())))


def test_every_value_stands_on_a_line_of_its_own():
    lines = listing(article()).splitlines()
    assert len(lines) == 1 + 7 + 1  # heads, all nodes but the constant 2, results
    assert re.split(" {2,}", row(listing(article()), "c")) == ["c", "= add × 2", "10", "0.8391", *C_SOURCE]
    assert lines[-1] == "-> f"


def test_columns_are_aligned_also_under_wide_letters():
    text = listing(chain(("x", "日本語", "long name")))
    places = {cell_len(line[: re.search(r"0\.5|value", line).start()]) for line in text.splitlines()[:-1]}
    assert len(places) == 1


def test_no_gradient_is_not_zero():
    text = listing(network())
    assert "–" in row(text, "M")
    assert row(text, "s").endswith(" 0")
    assert "–" not in row(text, "s")
    assert "all 0" in row(text, "h")


def test_nan_and_infinity_are_marked():
    text = listing(network())
    assert "! NaN" in row(text, "s")
    assert "! inf" in row(text, "t")
    assert "42 NaN" in row(text, "log_h")
    assert "!" not in row(text, "h")


def test_a_graph_without_numbers_lists_no_numbers():
    text = listing(article().graph)
    assert "–" not in text
    assert "not yet" not in text
    assert row(text, "c").split()[:5] == ["c", "=", "add", "×", "const_1"]


def test_a_value_still_to_come_is_said_to_be():
    first = steps(article())[0].frame
    assert "not yet" in row(listing(first), "f")
    assert "not yet" not in row(listing(first), "a")


def test_an_inline_constant_keeps_its_row_if_it_has_a_name_or_is_a_result():
    nodes = (Node(0, "const_1", "const", "const"), Node(1, "pi", "const", "const"), Node(2, "y", "add", "op", (0, 1)))
    frame = Frame(Graph(nodes, (2,)), [2.0, 3.0, 5.0], [None, None, 1.0])
    assert "= add(2, pi)" in listing(frame)
    assert row(listing(frame), "pi")
    alone = Frame(Graph(nodes[:1], (0,)), [2.0], [None])
    assert row(listing(alone), "const_1")


def test_colours_add_codes_and_nothing_else():
    for frame in (article(), network(), chain(HOSTILE)):
        coloured = listing(frame, color=True)
        assert CODES.sub("", coloured) == listing(frame)
        assert "\x1b" not in listing(frame)
    assert "\x1b[1;7;31m! NaN\x1b[0m" in listing(network(), color=True)


def test_hostile_names_stay_on_their_lines():
    names = dict.fromkeys(HOSTILE)
    for text in (listing(chain(HOSTILE)), tree(chain(HOSTILE)), to_text(draw(chain(HOSTILE), title="a\nb\x1b[2J"))):
        assert "\x1b" not in text
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029\ud800]", text)
    assert len(listing(chain(HOSTILE)).splitlines()) == len(names) + 2
    assert max(map(len, listing(chain(HOSTILE)).splitlines())) < 400


def test_no_folder_of_the_user_is_shown():
    assert "/home" not in listing(article())
    node = Node(0, "x", "input", "input", source=Source("C:\\secret\\line.py", 3, text="w * x"))
    assert source_text(node) == "line.py:3  w * x"


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (float("inf"), "! inf"),
        (np.zeros((0, 3)), "empty"),
        (np.zeros(9), "all 0"),
        (np.full(9, np.nan), "! nothing finite, 9 NaN"),
        (np.array([1.0, np.nan]), "! [1, NaN]"),
        (np.array([True] * 9), "all 1"),
        (np.array([1 + 2j]), "[1+2j]"),
    ],
)
def test_numbers_in_a_few_words(x, expected):
    assert cell_text(x) == expected


def test_a_folded_loop_says_how_often():
    text = to_text(draw(samples(100)))
    assert "×100" in text
    assert "folded" not in text
    assert text.splitlines()[0].startswith("503 values drawn as 9")


def test_local_adds_every_derivative_and_what_it_sends():
    text = to_text(draw(article(), show=("name", "value", "grad", "local")))
    assert "    ∂d/∂a = b = 3, gradient of a += 3" in text.splitlines()
    assert "∂c/∂2" not in text


def test_the_tree_opens_what_is_shared_once():
    lines = tree(article()).splitlines()
    assert lines[0] == "f = d - e  6.544  gradient 1"
    assert [line.strip(" │├└─") for line in lines].count("a (above)") == 1
    assert lines[-1].endswith("└─ b (above)")


def test_a_deep_graph_is_listed_without_recursion():
    count = 3000
    nodes = tuple(
        Node(i, f"x{i}", "sin", "op", (i - 1,)) if i else Node(0, "x0", "input", "input") for i in range(count)
    )
    frame = Frame(Graph(nodes, (count - 1,)), [0.5] * count, [None] * count)
    assert len(listing(frame).splitlines()) == count + 2
    assert len(tree(frame).splitlines()) == count


def test_a_tensor_is_listed_by_way_of_its_drawing(tmp_path):
    a = Tensor(2.0, name="a")
    b = a * a + 1
    b.backward()
    text = draw(b).save(tmp_path / "b.txt").read_text("utf-8")
    assert row(text, "a").split()[:4] == ["a", "param", "2", "4"]
    assert text.endswith("-> b\n")
