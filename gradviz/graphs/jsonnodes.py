"""Nodes out of rows of JSON that are plainly right, quickly; all others are looked at field by field elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gradviz.errors import GraphError
from gradviz.graphs.nodes import Node, Source

__all__ = ["QuickNodes"]

TOO_LARGE = 1 << 62
Texts = tuple[str, ...]


class QuickNodes:
    """Makes nodes; what many share (scopes, formulas, source lines) is checked once and kept once.

    ``allowed`` are the fields of a row, ``source_of`` makes a source line, or raises.
    """

    def __init__(self, allowed: Mapping[str, Any], source_of: Callable[[Any], Source]) -> None:
        self.allowed = allowed.keys() - {"attrs"}
        self.source_of = source_of
        self.texts: dict[Texts, Texts] = {}
        self.sources: dict[Any, Source] = {}

    def node(self, row: Any) -> Node | None:
        """Return the node of a row, or None where something about it may be wrong.

        >>> quick = QuickNodes({"id": 0, "name": 0, "op": 0, "kind": 0}, Source)
        >>> quick.node({"id": 0, "name": "x", "op": "input", "kind": "input"}).name
        'x'
        >>> quick.node({"id": True, "name": "x", "op": "input", "kind": "input"}) is None
        True
        """
        if type(row) is not dict or not row.keys() <= self.allowed:
            return None
        try:
            return self._node(row)
        except (
            KeyError,
            TypeError,
            GraphError,
        ):  # a field is missing or of the wrong kind; who looks closer says which
            return None

    def _node(self, row: dict[str, Any]) -> Node | None:
        id, get = row["id"], row.get
        inputs, shape = get("inputs", ()), get("shape", ())
        if not {type(inputs), type(shape)} <= {list, tuple}:
            return None
        scope, formulas = self._texts(get("scope", ())), self._texts(get("formulas", ()))
        words = row["name"], row["op"], row["kind"], get("dtype", ""), get("symbol", "")
        if scope is None or formulas is None or {*map(type, words)} != {str}:
            return None
        for number in (id, *inputs, *shape):
            if type(number) is not int or not 0 <= number < TOO_LARGE:
                return None
        source = self._source(row["source"]) if "source" in row else None
        name, op, kind, dtype, symbol = words
        return Node(
            id,
            name,
            op,
            kind,
            tuple(inputs),
            tuple(shape),
            dtype,
            scope=scope,
            source=source,
            symbol=symbol,
            formulas=formulas,
        )

    def _texts(self, found: Any) -> Texts | None:
        if type(found) is not list and type(found) is not tuple:
            return None
        key = tuple(found)
        known = self.texts.get(key)
        if known is None and {*map(type, key)} <= {str}:
            known = self.texts[key] = key
        return known

    def _source(self, row: Any) -> Source:
        if type(row) is not dict:
            raise TypeError
        key = tuple(row.items()), tuple(map(type, row.values()))  # 1 and True are equal, but not the same
        found = self.sources.get(key)
        if found is None:
            found = self.sources[key] = self.source_of(row)
        return found
