"""Everything a page knows of a large graph, in columns, small enough to stand in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from gradviz import escape
from gradviz.graphs import Number
from gradviz.style import wording
from gradviz.views.cards import file_name
from gradviz.views.large.sheet import HEIGHT, Sheet
from gradviz.views.page.packing import packed_lines, packed_numbers, packed_whole
from gradviz.views.text import cell_text

__all__ = ["page_data"]

NONE, FLOAT, ARRAY = range(3)  # what a value or a gradient is
CODE_LIMIT = 200


def page_data(sheet: Sheet, precision: int) -> dict[str, Any]:
    """Return the data of a page.

    >>> from gradviz.graphs import Frame, Graph, Node
    >>> frame = Frame(Graph((Node(0, "x", "input", "input"),)), [1.0], [None])
    >>> found = page_data(Sheet(frame), 4)
    >>> found["ops"], found["height"], sorted(found["scopes"])
    (['input'], 14.0, ['boxes', 'names', 'parents'])
    """
    nodes = sheet.nodes
    corners = sheet.placement.corners
    ops, op = numbered(node.op for node in nodes)
    types, of_type = numbered((node.shape, node.dtype, node.kind) for node in nodes)
    sources, source = numbered(node.source for node in nodes)
    counts = np.bincount(sheet.dst, minlength=len(nodes))
    columns = {
        "left": corners[:, 0],
        "top": corners[:, 1],
        "width": sheet.widths,
        "tone": sheet.tones,
        "op": op,
        "type": of_type,
        "source": source,
        "scope": sheet.placement.nesting.holder[: len(nodes)],
        "inputs": np.cumsum(counts),
        "back": sheet.dst - sheet.src,
        "stub": sheet.stubs,
    }
    names = [escape.clean(wording.display_name(node)) for node in nodes]
    labels = ["" if label == name else label for label, name in zip(sheet.labels, names, strict=True)]
    return {
        "count": len(nodes),
        "height": HEIGHT,
        "size": list(sheet.placement.size),
        "columns": {name: packed_whole(np.rint(column)) for name, column in columns.items()},
        "names": packed_lines(names),
        "labels": packed_lines(labels),
        "ops": [escape.clean(text) for text in ops],
        "types": [[escape.clean(text) for text in type_text(found)] for found in types],
        "sources": [source_text(found) for found in sources],
        "scopes": scopes_data(sheet),
        "routes": routes_data(sheet),
        "values": numbers_data(sheet.frame.values, precision),
        "grads": numbers_data(sheet.frame.grads, precision),
    }


def numbered(keys: Iterable[Any]) -> tuple[list[Any], np.ndarray]:
    """Return what there is, in the order of the first of each, and for every key which it is.

    >>> numbered("abba")
    (['a', 'b'], array([0, 1, 1, 0]))
    """
    known: dict[Any, int] = {}
    found = np.array([known.setdefault(key, len(known)) for key in keys], np.int64)
    return list(known), found


def type_text(found: tuple[tuple[int, ...], str, str]) -> tuple[str, str]:
    """Return shape and dtype as text, and the kind."""
    shape, dtype, kind = found
    return " ".join(filter(None, (wording.format_shape(shape), dtype))), kind


def source_text(source: Any) -> list[str]:
    """Return where a line is and what it says; nothing for none."""
    if source is None:
        return []
    inside = f" in {source.function}" if source.function else ""
    place = escape.clean(f"{file_name(source.file)}:{source.line}{inside}")
    return [place, escape.clean(source.code or source.text or "", CODE_LIMIT)]


def scopes_data(sheet: Sheet) -> dict[str, str]:
    """Return the scopes, the root first: names, parents, and boxes as left, top, width and height."""
    placement = sheet.placement
    names = ["", *(escape.clean(path[-1], 60) for path in placement.nesting.paths[1:])]
    return {
        "names": packed_lines(names),
        "parents": packed_whole(placement.nesting.parents),
        "boxes": packed_whole(np.rint(placement.boxes.T.ravel())),
    }


def routes_data(sheet: Sheet) -> dict[str, str]:
    """Return the edges that are not one curve, and the points between their ends."""
    routes = sheet.placement.routes
    columns = {"edges": routes.edges, "starts": routes.starts, "x": routes.points[:, 0], "y": routes.points[:, 1]}
    return {name: packed_whole(np.rint(column.astype(float))) for name, column in columns.items()}


def numbers_data(numbers: Sequence[Number | None], precision: int) -> dict[str, str]:
    """Return numbers: what each is, those that are one number exactly, and the arrays in words."""
    kinds = np.array([NONE if x is None else FLOAT if type(x) is float else ARRAY for x in numbers], np.int64)
    floats = np.array([x if type(x) is float else 0.0 for x in numbers], np.float64)
    return {
        "kinds": packed_whole(kinds),
        "floats": packed_numbers(floats[None, :]) if len(numbers) else "",
        "arrays": packed_lines(array_texts(numbers, precision)),
    }


def array_texts(numbers: Sequence[Number | None], precision: int) -> Iterator[str]:
    """Yield the arrays in words."""
    for x in numbers:
        if isinstance(x, np.ndarray):
            yield escape.clean(cell_text(x, precision))
