"""Questions about a graph: what leads where, what matches, is it lawful. Loops only, linear time."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from gradviz.errors import GraphError
from gradviz.graphs.nodes import KINDS, Edge, Node, Source

if TYPE_CHECKING:
    from gradviz.graphs import Graph

Test = Callable[[Node], bool]
PLACE = re.compile(r"\{(\d+|y)\}")  # in a formula: an input by its number, or the result


def ancestors(graph: Graph, start: int) -> tuple[int, ...]:
    """Return the ids ``start`` was computed from, ascending."""
    marked = bytearray(start + 1)
    marked[start] = 1
    for i in range(start, -1, -1):
        if marked[i]:
            for src in graph.nodes[i].inputs:
                marked[src] = 1
    return tuple(i for i in range(start) if marked[i])


def descendants(graph: Graph, start: int) -> tuple[int, ...]:
    """Return the ids computed from ``start``, ascending."""
    marked = bytearray(len(graph.nodes))
    marked[start] = 1
    for i in range(start + 1, len(graph.nodes)):
        for src in graph.nodes[i].inputs:
            if marked[src]:
                marked[i] = 1
                break
    return tuple(i for i in range(start + 1, len(marked)) if marked[i])


def consumers_of_all(graph: Graph) -> tuple[tuple[int, ...], ...]:
    """Return for every id the ids that take it, ascending, once per argument."""
    found: list[list[int]] = [[] for _ in graph.nodes]
    for src, dst, _ in graph.edges:
        found[src].append(dst)
    return tuple(map(tuple, found))


def the_edge(graph: Graph, src: int, dst: int, arg: int | None) -> Edge:
    """Return the one edge from ``src`` to ``dst`` (through ``arg``), or raise GraphError."""
    inputs = graph.nodes[dst].inputs
    if type(arg) is int and 0 <= arg < len(inputs) and inputs[arg] == src:
        return src, dst, arg
    args = [i for i, given in enumerate(inputs) if given == src and arg in {None, i}]
    if len(args) == 1:
        return src, dst, args[0]
    found = "several edges lead" if args else "no edge leads"
    through = "" if arg is None else f" through argument {arg}"
    raise GraphError(
        f"{found} from {graph.nodes[src].name[:200]!r} to {graph.nodes[dst].name[:200]!r}{through}",
        hint="edges are (src, dst, arg) in graph.edges",
    )


def formula(graph: Graph, node: Node, arg: int) -> str:
    """Fill the formula template of one argument with the names of the graph."""
    if not 0 <= arg < min(len(node.formulas), len(node.inputs)):
        return ""
    template = node.formulas[arg]
    names = {str(i): graph.nodes[node.inputs[i]].name for i in places_in(template, len(node.inputs))} | {"y": node.name}
    return PLACE.sub(lambda hit: names.get(hit[1], hit[0]), template)


def places_in(template: str, count: int) -> set[int]:
    """Return which of ``count`` inputs a formula mentions: of thousands it is one or two.

    >>> places_in("{0} * {y} + {7}", 2)
    {0}
    """
    mentioned = (text for text in PLACE.findall(template) if text != "y" and len(text) < 10)
    return {place for place in map(int, mentioned) if place < count}


def matcher(
    *,
    op: str | None = None,
    scope: str | None = None,
    source: str | None = None,
    kind: str | None = None,
    name: str | None = None,
) -> Test:
    """Return the test for nodes that match everything asked for."""
    tests: list[Test] = []
    if op is not None:
        matches_op = _glob(op)
        tests.append(lambda node: matches_op(node.op))
    if name is not None:
        matches_name = _glob(name)
        tests.append(lambda node: matches_name(node.name))
    if scope is not None:
        matches_scope = _glob(scope)
        tests.append(lambda node: _in_scope(node.scope, matches_scope))
    if source is not None:
        matches_source = _source_test(source)
        tests.append(lambda node: node.source is not None and matches_source(node.source))
    if kind is not None:
        tests.append(lambda node: node.kind == kind)
    return lambda node: all(test(node) for test in tests)


def _glob(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(fnmatch.translate(pattern))
    return lambda text: text == pattern or compiled.match(text) is not None


def _in_scope(scope: tuple[str, ...], matches: Callable[[str], bool]) -> bool:
    return any(matches(".".join(scope[:depth])) for depth in range(len(scope), 0, -1))


def _source_test(wanted: str) -> Callable[[Source], bool]:
    file, _, line = wanted.rpartition(":")
    if not (file and line.isdecimal()):
        file, line = wanted, ""

    def matches(source: Source) -> bool:
        path = source.file.replace("\\", "/")
        tail = file.replace("\\", "/")
        right_file = path == tail or path.endswith("/" + tail)
        return right_file and (not line or source.line == int(line))

    return matches


def check(graph: Graph) -> None:
    """Raise GraphError, naming the node, if the graph breaks a law."""
    seen: dict[str, int] = {}
    for position, node in enumerate(graph.nodes):
        problem = _broken_law(position, node, seen)
        if problem:
            message, hint = problem
            raise GraphError(f"node {position} ({str(node.name)[:200]!r}): {message}", hint=hint)
        seen[node.name] = position
    for result in graph.outputs:
        if type(result) is not int or not 0 <= result < len(graph.nodes):
            raise GraphError(f"output {result!r} is no node", hint=f"ids are 0 to {len(graph.nodes) - 1}")


def _broken_law(position: int, node: Node, seen: dict[str, int]) -> tuple[str, str] | None:
    if type(node.id) is not int or node.id != position:
        return f"its id is {node.id!r}", "ids are positions: 0, 1, 2, ..."
    if node.kind not in KINDS:
        return f"its kind is {node.kind!r}", f"kinds are {', '.join(KINDS)}"
    if node.inputs and node.kind != "op":
        return f"it is of kind {node.kind!r} and has inputs", "only nodes of kind 'op' are computed"
    for src in node.inputs:
        if type(src) is not int or not 0 <= src < position:
            hint = "a graph lists every node after the nodes it is computed from"
            return f"input {src!r} does not come before it", hint
    name: object = node.name
    if not isinstance(name, str):
        return "its name is not text", "give it a str"
    if name in seen:
        return f"node {seen[name]} has the same name", "names are unique within a graph"
    return None
