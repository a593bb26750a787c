"""DOT as gradviz writes it, one element a line, read back: nodes with their boxes, edges, and the boxes of scopes."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gradviz.errors import LayoutError

__all__ = ["Box", "Sheet", "Wire", "lines_of", "read"]

LINE = re.compile(r"(?P<tail>\w+)(?::\w+)?(?: -> (?P<head>\w+)(?::\w+)?)?(?: \[(?P<attributes>.*)\])?")
ATTRIBUTE = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^\s"\]]+)')
ESCAPE = re.compile(r"\\(.)")
BREAKS = "nlr"
DEFAULTS = ("node", "edge")
Attributes = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Box:
    """A node: its attributes with those of all nodes, and the scopes around it."""

    name: str
    attributes: Attributes
    scope: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wire:
    """An edge."""

    tail: str
    head: str
    attributes: Attributes


@dataclass(slots=True)
class Sheet:
    """A whole picture."""

    attributes: Attributes = field(default_factory=dict)
    boxes: dict[str, Box] = field(default_factory=dict)
    wires: list[Wire] = field(default_factory=list)
    scopes: dict[tuple[str, ...], Attributes] = field(default_factory=dict)


def read(dot: str) -> Sheet:
    """Return what a text of DOT describes; raise `LayoutError` for one that gradviz has not written.

    >>> from gradviz.graphs import Graph, Node
    >>> from gradviz.views.dot import to_dot
    >>> sheet = read(to_dot(Graph((Node(0, "x", "input", "input"),))))
    >>> list(sheet.boxes), sheet.attributes["rankdir"]
    (['n0'], 'LR')
    """
    lines = dot.strip().splitlines()
    if not lines or lines[0] != "digraph {" or lines[-1] != "}":
        raise LayoutError("only pictures that gradviz has made are laid out by scope", hint='try engine="embedded"')
    return Reader().read(lines[1:-1])


class Reader:
    """Goes through the lines of one text."""

    def __init__(self) -> None:
        self.sheet = Sheet()
        self.scope: tuple[str, ...] = ()
        self.defaults: dict[str, dict[str, str]] = {name: {} for name in DEFAULTS}

    def read(self, lines: list[str]) -> Sheet:
        """Return the picture."""
        for line in map(str.strip, lines):
            if line.startswith("subgraph ") and line.endswith(" {"):
                self.scope = (*self.scope, line[len("subgraph ") : -2])
                self.sheet.scopes[self.scope] = {}
            elif line == "}":
                self.scope = self.scope[:-1]
            else:
                self.element(line)
        return self.sheet

    def element(self, line: str) -> None:
        """Read a node, an edge, or what holds for all of them."""
        found = LINE.fullmatch(line)
        if found is None:
            raise LayoutError(f"this is not DOT that gradviz has written: {line[:80]!r}")
        name, head = found["tail"], found["head"]
        attributes = {key: unquoted(value) for key, value in ATTRIBUTE.findall(found["attributes"] or "")}
        if head is not None:
            self.sheet.wires.append(Wire(name, head, self.defaults["edge"] | attributes))
        elif name == "graph" and self.scope:
            self.sheet.scopes[self.scope] = attributes
        elif name == "graph":
            self.sheet.attributes = attributes
        elif name in DEFAULTS:
            self.defaults[name] = attributes
        else:
            self.sheet.boxes[name] = Box(name, self.defaults["node"] | attributes, self.scope)


def unquoted(value: str) -> str:
    """Return the value of an attribute; escapes that are Graphviz's own stay."""
    return value[1:-1].replace(r"\"", '"') if value.startswith('"') else value


def lines_of(label: str) -> list[str]:
    r"""Return the lines of a label as they are shown.

    >>> lines_of(r"a &#60;\lb\\n\l"), lines_of("  x  ")
    (['a <', 'b\\n'], ['x'])
    """
    shown = ESCAPE.sub(lambda hit: "\n" if hit[1] in BREAKS else hit[1], label)
    return [html.unescape(line).strip() for line in shown.removesuffix("\n").split("\n")]
