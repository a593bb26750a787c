"""Graphs of every shape, some thousand nodes: summed up, folded, drawn, written and read."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.graphs import FAMILIES, chain, star, tangle, transformer
from gradviz import draw
from gradviz.graphs import Frame
from gradviz.views.large.page import large_page
from gradviz.views.large.rounds import scopes_of
from gradviz.views.networkx import from_graphml, from_networkx, to_graphml, to_networkx

SVG = "{http://www.w3.org/2000/svg}"
COUNT = 3000
Make = Callable[[int], Frame]


@pytest.fixture(scope="module", params=FAMILIES.values(), ids=FAMILIES)
def frame(request: pytest.FixtureRequest) -> Frame:
    """A frame of each family."""
    return request.param(COUNT)


def test_every_node_is_drawn(frame: Frame) -> None:
    root = ET.fromstring(draw(frame, fold=False).svg)
    scopes = {scope[:length] for scope in scopes_of(frame) for length in range(1, len(scope) + 1)}
    assert len(root.findall(f"{SVG}rect")) == len(frame.graph) + len(scopes)
    assert len(root.findall(f"{SVG}path")) == len(frame.graph.edges)


def test_every_graph_has_a_page(frame: Frame) -> None:
    text = large_page(draw(frame, fold=False))
    assert f'"count":{len(frame.graph)},' in text
    assert len(text) < 100 * len(frame.graph)


def test_what_repeats_is_folded_and_drawn(frame: Frame) -> None:
    folded = draw(frame, fold=True)
    assert len(folded.frame.graph) <= len(frame.graph)
    assert len(ET.fromstring(folded.svg)) > 3


@pytest.mark.parametrize("name", ["transformer", "scalar", "recurrence"])
def test_programs_fold_to_what_fits_on_a_screen(name: str) -> None:
    assert len(draw(FAMILIES[name](COUNT), fold=True).frame.graph) < 60


def test_summaries_are_short(frame: Frame) -> None:
    for by in ("op", "scope", "line"):
        for text in (frame.summary(by), frame.graph.summary(by)):
            lines = text.splitlines()
            assert 3 <= len(lines) <= 43
            assert lines[-1].startswith(f"{len(frame.graph):,} nodes in ")


def test_every_format_gives_the_frame_back(frame: Frame) -> None:
    assert Frame.from_json(frame.to_json()) == frame
    assert from_networkx(to_networkx(frame)) == frame
    assert from_graphml(to_graphml(draw(frame, fold=False))) == frame


@pytest.mark.parametrize("make", [chain, star, tangle])
def test_no_shape_is_too_deep_or_too_wide(make: Make) -> None:
    frame = make(20_000)
    root = ET.fromstring(draw(frame, fold=False).svg)
    assert 0.2 < float(root.get("width", 0)) / float(root.get("height", 0)) < 5
    assert str(frame).count("\n") < 110
    assert frame.graph.fingerprint() == Frame.from_json(frame.to_json()).graph.fingerprint()


def test_the_same_graph_gives_the_same_bytes() -> None:
    pictures = [draw(transformer(2500), fold=False) for _ in range(2)]
    assert pictures[0].svg == pictures[1].svg
    assert large_page(pictures[0]) == large_page(pictures[1])
