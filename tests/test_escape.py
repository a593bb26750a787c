"""The text layer: what goes in comes out of a real parser unchanged."""

import html.parser
import json
import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterable

import graphviz
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradviz import escape
from gradviz.errors import GradvizTypeError, GradvizValueError
from gradviz.views.svg import render_dot
from tests.hostile import HOSTILE

ANY_TEXT = st.text(st.characters(codec=None), max_size=300)


def graphviz_text(svg: str) -> list[str]:
    root = ET.fromstring(svg)
    return [(element.text or "").replace("\xa0", " ") for element in root.iter("{http://www.w3.org/2000/svg}text")]


def label_source(names: list[str]) -> str:
    dot = graphviz.Digraph(node_attr={"shape": "Mrecord"})
    for number, name in enumerate(names):
        dot.node(f"n{number}", escape.for_dot(name) + "|x", tooltip=escape.for_dot(name))
    return dot.source


def field_texts(names: Iterable[str]) -> list[str]:
    """What the two fields of every node show; Graphviz shows an empty field as a space."""
    return [text for name in names for text in (escape.clean(name) or " ", "x")]


class Collector(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.data = ""
        self.attribute = ""

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.attribute = attrs[0][1] if attrs else ""

    def handle_data(self, data: str) -> None:
        self.data += data


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_becomes_one_short_visible_line(name):
    shown = escape.clean(name)
    assert len(shown) <= escape.LIMIT
    assert all(char.isprintable() for char in shown)
    assert escape.clean(shown) == shown


@given(ANY_TEXT)
def test_clean_text_is_stable_short_and_encodable(text):
    shown = escape.clean(text)
    assert len(shown) <= escape.LIMIT
    assert escape.clean(shown) == shown
    shown.encode()
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ufffe\uffff]", shown)


@given(ANY_TEXT)
def test_without_a_limit_nothing_is_cut(text):
    shown = escape.clean(text, limit=None)
    assert len(shown) >= len(text)


@given(ANY_TEXT)
def test_xml_gives_the_text_back_from_content_and_attribute(text):
    quoted = escape.for_xml(text)
    element = ET.fromstring(f'<a b="{quoted}">{quoted}</a>')
    assert (element.text or "") == escape.clean(text) == element.get("b")


@given(ANY_TEXT)
def test_html_gives_the_text_back_and_makes_no_tag(text):
    quoted = escape.for_html(text)
    reader = Collector()
    reader.feed(f'<p title="{quoted}">{quoted}</p>')
    reader.close()
    assert reader.tags == ["p"]
    assert reader.data == escape.clean(text) == (reader.attribute or "")


@given(
    st.recursive(ANY_TEXT | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner))
)
def test_json_in_a_script_gives_the_data_back_exactly(data):
    quoted = escape.for_json_script(data)
    assert json.loads(quoted) == data
    assert not set("<>&\u2028\u2029") & set(quoted)


@given(ANY_TEXT)
def test_a_terminal_gets_no_control_characters(text):
    assert all(char >= " " and char != "\x7f" for char in escape.for_terminal(text))


@given(ANY_TEXT)
def test_mermaid_entities_stand_for_the_cleaned_text(text):
    quoted = escape.for_mermaid(text)
    assert not set('"<>`') & set(quoted)
    assert re.sub(r"#(\d+);", lambda match: chr(int(match[1])), quoted) == escape.clean(text)


@given(ANY_TEXT)
def test_tex_specials_are_all_escaped(text):
    bare = re.sub(r"\\text[a-z]+\{\}|\\[#$%&_{}]", "", escape.for_tex(text))
    assert not set("\\#$%&_{}^~<>|") & set(bare)


@settings(max_examples=40, deadline=None)
@given(st.lists(ANY_TEXT, min_size=1, max_size=12))
def test_embedded_graphviz_shows_the_cleaned_text(names):
    assert graphviz_text(render_dot(label_source(names))) == field_texts(names)


@pytest.mark.parametrize("engine", ["embedded", "system"])
def test_both_graphviz_engines_show_hostile_names_exactly(engine):
    svg = render_dot(label_source(list(HOSTILE)), engine=engine)
    assert graphviz_text(svg) == field_texts(HOSTILE)


def test_system_graphviz_accepts_a_label_of_the_full_length():
    source = label_source(["\\" * 300, '"' * 300, "&" * 300, "\u202e" * 300])
    done = subprocess.run(["dot", "-Tsvg"], input=source.encode(), capture_output=True, check=True)
    assert b"Error" not in done.stderr
    ET.fromstring(done.stdout)


def test_clean_refuses_what_is_not_text():
    with pytest.raises(GradvizTypeError, match="got int"):
        escape.clean(3)


def test_json_refuses_nan_with_a_hint():
    with pytest.raises(GradvizValueError, match="as text"):
        escape.for_json_script([float("nan")])
