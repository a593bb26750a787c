"""Repeated blocks: sibling scopes with the same graph inside, such as the layers of a network, put together."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass

from gradviz.graphs import Frame, Graph, Node

__all__ = ["Run", "common_name", "label_of", "scope_runs"]

LONGEST = 8  # siblings in what repeats: Linear, Norm, ReLU, Linear, Norm, ReLU, ... has three
SMALLEST = 2  # ops in a block that has a word for a name: norm1 and norm2 are not two rounds of one thing
DIGITS = re.compile(r"\d+$")
NUMBERED = re.compile(r"[_.]?\d+$|\[\d+\]$")

Scope = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """Equal sibling scopes in a row: the scopes and the nodes in each, in the same order."""

    scopes: tuple[Scope, ...]
    blocks: tuple[tuple[int, ...], ...]

    @property
    def label(self) -> str:
        """What the scopes are called together."""
        return label_of([scope[-1] for scope in self.scopes])


def scope_runs(frame: Frame, ids: Sequence[int], depth: int, fewest: int, keep: Collection[int] = ()) -> Iterator[Run]:
    """Yield runs of at least ``fewest`` equal blocks among the nodes ``ids``, outer blocks only.

    A block is a scope, longer than ``depth``, with a number at the end of its name; equal are those with the same ops,
    shapes, metadata and wiring inside, done alike (in the frame of a step). A block with a node to ``keep`` or a
    result of the graph in it stays as it is.

    >>> nodes = [Node(0, "x", "input", "input")]
    >>> nodes += [Node(i, f"layers.{i}", "sin", "op", (i - 1,), scope=("layers", f"{i}")) for i in range(1, 4)]
    >>> nodes.append(Node(4, "y", "sum", "op", (3,)))
    >>> found = list(scope_runs(Frame(Graph(tuple(nodes), (4,)), [None] * 5, [None] * 5), range(5), 0, 2))
    >>> [(run.label, run.blocks) for run in found]
    [('1 … 3', ((1,), (2,), (3,)))]
    """
    members = _members(frame.graph, ids, depth)
    fixed = {*keep, *frame.graph.outputs}
    done: set[Scope] = set()
    for parent, children in _families(members):
        if any(parent[:length] in done for length in range(1, len(parent) + 1)):
            continue
        for run in _runs([(child, _signature(frame, members[child], len(child), fixed)) for child in children], fewest):
            blocks = [members[child] for child in run]
            if _is_worth_it(frame.graph, run[0][-1], blocks[0]):
                done.update(run)
                yield Run(tuple(run), tuple(map(tuple, blocks)))


def _members(graph: Graph, ids: Sequence[int], depth: int) -> dict[Scope, list[int]]:
    """Return the nodes in every numbered scope, those of inner scopes too."""
    found: defaultdict[Scope, list[int]] = defaultdict(list)
    for id in ids:
        scope = graph.nodes[id].scope
        for length in range(depth + 1, len(scope) + 1):
            if DIGITS.search(scope[length - 1]):
                found[scope[:length]].append(id)
    return dict(found)


def _families(members: Collection[Scope]) -> Iterator[tuple[Scope, list[Scope]]]:
    """Yield siblings whose names differ in the number at the end, by number, with their parent; outer ones first."""
    families: defaultdict[tuple[Scope, str], list[Scope]] = defaultdict(list)
    for scope in members:
        families[scope[:-1], DIGITS.sub("", scope[-1])].append(scope)
    for (parent, _), children in sorted(families.items(), key=lambda item: len(item[0][0])):
        if len(children) > 1:
            yield parent, sorted(children, key=_number)


def _number(scope: Scope) -> int:
    found = DIGITS.search(scope[-1])
    return int(found[0]) if found else 0


def _signature(frame: Frame, ids: Sequence[int], depth: int, fixed: Collection[int]) -> Hashable:
    """Return what is equal for equal blocks: every node, and where its operands are, inside or in which order outside.

    ``depth`` is the length of the scope that the block is.
    """
    inside = {id: place for place, id in enumerate(ids)}
    outside: dict[int, int] = {}
    rows: list[Hashable] = []
    for id in ids:
        node = frame.graph.nodes[id]
        sources = tuple([inside.get(src, -1 - outside.setdefault(src, len(outside))) for src in node.inputs])
        is_fixed = id if id in fixed else None
        is_done = frame.values[id] is None
        rows.append((node.op, node.kind, node.shape, node.dtype, node.attrs, node.scope[depth:], sources))
        rows.append((is_fixed, is_done))
    return tuple(rows)


def _runs(children: Sequence[tuple[Scope, Hashable]], fewest: int) -> Iterator[list[Scope]]:
    """Yield the scopes that become one: A1 A2 A3, or of A1 B1 A2 B2 A3 B3 the As and the Bs."""
    signs = [signature for _, signature in children]
    at = 0
    while at < len(signs):
        period, times = max(
            ((period, _times(signs, at, period)) for period in range(1, LONGEST + 1)),
            key=lambda found: (found[0] * found[1] if found[1] >= fewest else 0, -found[0]),
        )
        if times < fewest:
            at += 1
            continue
        for first in range(at, at + period):
            yield [children[first + period * turn][0] for turn in range(times)]
        at += period * times


def _times(signs: Sequence[Hashable], at: int, period: int) -> int:
    """Return how often the ``period`` signatures from ``at`` on come in a row."""
    times = 1
    pattern = signs[at : at + period]
    while signs[at + times * period : at + (times + 1) * period] == pattern:
        times += 1
    return times if len(pattern) == period else 0


def _is_worth_it(graph: Graph, name: str, ids: Sequence[int]) -> bool:
    return DIGITS.sub("", name) == "" or sum(graph.nodes[id].kind == "op" for id in ids) >= SMALLEST


def label_of(names: Sequence[str]) -> str:
    """Return what several numbered names are called together.

    >>> label_of(["0", "1", "2"]), label_of(["1", "3", "5"]), label_of(["layer1", "layer2"])
    ('0 … 2', '1, 3 … 5', 'layer1 … 2')
    """
    numbers = [_number((name,)) for name in names]
    last = DIGITS.search(names[-1])
    end = last[0] if last else names[-1]
    is_plain = numbers[-1] - numbers[0] == len(numbers) - 1 or len(numbers) == 2
    return f"{names[0]} … {end}" if is_plain else f"{names[0]}, {numbers[1]} … {end}"


def common_name(nodes: Sequence[Node]) -> str:
    """Return the name without its number that all or most share, or the first and the last name.

    >>> common_name([Node(i, f"add_{i}", "add", "op") for i in (1, 2)])
    'add'
    """
    stems = Counter(NUMBERED.sub("", node.name) for node in nodes)
    stem, times = stems.most_common(1)[0]
    if stem and (times == len(nodes) or 3 * times > 2 * len(nodes)):
        return stem
    return f"{nodes[0].name} … {nodes[-1].name}"
