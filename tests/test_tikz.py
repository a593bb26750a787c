"""TikZ pictures: structure, escaping, and that braces and environments close."""

import re

import pytest

from gradviz.debugger.events import steps
from gradviz.errors import GradvizValueError
from gradviz.graphs import Graph, Node
from gradviz.views import tikz
from gradviz.views.drawing import draw
from gradviz.views.tikz import tex, to_tikz
from tests.hostile import HOSTILE
from tests.pictures import article, chain, network

EVERYTHING = ("name", "shape", "value", "grad", "local", "source")
COMMANDS = re.compile(r"\\([A-Za-z@]+)")
NODE = re.compile(r"\\node\[[^\n]*?\] \(((?:n|op)\d+)\) at \(")
KNOWN = {  # everything that may stand in a picture; what a name brings along is not among it
    *("begin", "end", "node", "draw", "path", "fontsize", "selectfont", "sffamily", "color", "large", "bfseries"),
    *("gvname", "gvnote", "gvrow", "gvnone", "gvbad", "gvgrad", "gvcell", "gvletter", "gvhead", "hspace", "hfill"),
    *("extracolsep", "fill", "setlength", "tabcolsep", "ensuremath", "enspace", "definecolor", "pagecolor", "ldots"),
    *("textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar", "textquotedbl"),
    *(command.strip("\\") for command in tikz.MATHS.values() if command.startswith("\\")),
}


def body_of(text):
    return text[text.index("\\definecolor") :]


def bare(text):
    """Return TeX text without what is escaped."""
    return re.sub(r"\\[#$%&_{}\\]", "", text)


def assert_closed(text):
    """Check that every brace and environment of TeX text closes, in order."""
    depth = 0
    for char in bare(text):
        depth += (char == "{") - (char == "}")
        assert depth >= 0
    assert depth == 0
    open_now = []
    for kind, name in re.findall(r"\\(begin|end)\{([\w*]+)\}", text):
        if kind == "begin":
            open_now.append(name)
        else:
            assert open_now.pop() == name
    assert open_now == []


@pytest.mark.parametrize("frame", [article(), network(), article(backward=False), chain(HOSTILE)])
@pytest.mark.parametrize("style", ["cards", "boxes", "compact"])
def test_every_node_is_there_and_everything_closes(frame, style):
    text = to_tikz(draw(frame, style=style, fold=False, direction="TB", show=EVERYTHING))
    names = NODE.findall(text)
    assert sorted(name for name in names if name[0] == "n") == sorted(f"n{node.id}" for node in frame.graph)
    signs = sum(bool(node.inputs) for node in frame.graph) if style == "cards" else 0
    assert sum(name.startswith("op") for name in names) == signs
    assert text.count("\\draw[") == len(frame.graph.edges) + signs
    assert_closed(text)


@pytest.mark.parametrize("direction", ["LR", "TB"])
def test_hostile_names_bring_no_command_along(direction):
    text = body_of(to_tikz(draw(chain(HOSTILE), direction=direction, title="\\input{x} % $", fold=False)))
    assert set(COMMANDS.findall(bare(text))) <= KNOWN
    comments = re.findall(r"(?<!\\)(?:\\\\)*%", text)
    assert comments == []
    assert not re.search(r"(?<!\\)[$#^]", text)
    assert not re.search(r"(?<!\\)_", text)


def test_a_title_stays_in_its_comment():
    head = to_tikz(draw(article(), title="one\ntwo\x00\r\\end{document}")).splitlines()[:2]
    assert head == ["% one\\ntwo\\u0000\\r\\end{document}", r"\documentclass[tikz,border=4pt]{standalone}"]


def test_the_document_stands_alone():
    text = to_tikz(draw(article()))
    for part in (r"\usetikzlibrary{arrows.meta}", r"\begin{document}", r"\end{document}", r"\begin{tikzpicture}"):
        assert text.count(part) == 1
    used = set(re.findall(r"\bgv[0-9a-f]{6}\b", text))
    defined = set(re.findall(r"\\definecolor\{(gv[0-9a-f]{6})\}", text))
    assert used == defined
    assert text.isascii()


def test_values_gradients_and_their_absence():
    text = to_tikz(draw(network()))
    assert r"\gvrow[\gvnone]{grad}{-- no grad}" in text
    assert r"\gvrow{grad}{0}" in text
    assert r"\gvrow[\gvbad]{value}{! NaN}" in text
    assert re.search(r"\\gvrow\[\\gvgrad\{gv[0-9a-f]{6}\}\]\{grad\}\{-1\}", text)
    assert text.count(r"\gvcell") == 1 + 12 + 16 * 2 + 16 + 16  # what it means; x, W and its gradient, h, log_h


def test_arrows_end_where_the_layout_says():
    text = to_tikz(draw(article()))
    curves = re.findall(r"\\draw\[[^\n]*\] (.*);", text)
    number = r"-?\d+(?:\.\d+)?"
    point = rf"\({number},{number}\)"
    assert all(
        re.fullmatch(rf"{point}( \.\. controls {point} and {point} \.\. {point})+ -- {point}", c) for c in curves
    )


def test_print_dashes_and_dark_paints_the_page():
    assert "dashed" in to_tikz(draw(article(), theme="print"))
    assert r"\pagecolor[HTML]{12161B}" in to_tikz(draw(article(), theme="dark"))


def test_a_step_is_drawn_pale():
    text = to_tikz(draw(steps(article())[3]))
    assert "text=gvfaint" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a--b", "a-{}-b"),
        ("``x''", "`{}`x'{}'"),
        ("50% & #1", r"50\% \& \#1"),
        ("two  spaces", r"two \ spaces"),
        ("α ≤ 日", r"\ensuremath{\alpha} \ensuremath{\leq} \gvletter{日}{65E5}"),
        ("\u202e", r"\textbackslash{}u202E"),
        ("<b>", r"\textless{}b\textgreater{}"),
    ],
)
def test_text_for_tex(text, expected):
    assert tex(text) == expected


def test_pictures_beyond_tex_are_refused():
    with pytest.raises(GradvizValueError, match=r"(?s)14,000.*fold"):
        to_tikz(draw(chain(HOSTILE), show=EVERYTHING))
    nodes = tuple(Node(i, f"x{i}", "input", "input") for i in range(2001))
    with pytest.raises(GradvizValueError, match="too many for one picture"):
        to_tikz(draw(Graph(nodes), fold=False))


def test_the_same_picture_gives_the_same_text():
    assert to_tikz(draw(network())) == to_tikz(draw(network()))
