"""Are two graphs the same program, and if not, what differs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradviz.escape import clean
from gradviz.graphs.nodes import Node
from gradviz.graphs.plain import Plain

if TYPE_CHECKING:
    from gradviz.graphs import Graph

CHUNK = 4096  # nodes hashed at a time
LINES_SHOWN = 200
LINE_LIMIT = 400

_compact = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class GraphDiff:
    """What one graph has more, less or otherwise than another, by the names of the nodes.

    It is true when there is a difference; ``details`` says for each changed node what changed.

    >>> diff = GraphDiff(added=("z",), removed=(), changed=("y",), details=("y: op sin -> cos",))
    >>> print(diff)
    + z
    ~ y: op sin -> cos
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.details)

    def __str__(self) -> str:
        signed = (("-", self.removed), ("+", self.added), ("~", self.details))
        lines = [f"{sign} {clean(text, LINE_LIMIT)}" for sign, texts in signed for text in texts]
        rest = [f"... and {len(lines) - LINES_SHOWN} more"] if len(lines) > LINES_SHOWN else []
        return "\n".join(lines[:LINES_SHOWN] + rest) or "no difference"


def compare(old: Graph, new: Graph) -> GraphDiff:
    """Return what ``new`` has more, less or otherwise than ``old``."""
    before = {node.name: node for node in old.nodes}
    after = {node.name: node for node in new.nodes}
    changes = {name: "; ".join(_changes(old, before[name], new, after[name])) for name in before if name in after}
    details = [f"{name}: {text}" for name, text in changes.items() if text]
    old_results, new_results = _names(old, old.outputs), _names(new, new.outputs)
    if old_results != new_results:
        details.append(f"outputs: {', '.join(old_results)} -> {', '.join(new_results)}")
    return GraphDiff(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(name for name, text in changes.items() if text),
        details=tuple(details),
    )


def _changes(old: Graph, before: Node, new: Graph, after: Node) -> list[str]:
    found = [
        f"{name} {_text(getattr(before, name))} -> {_text(getattr(after, name))}"
        for name in ("op", "kind", "shape", "dtype", "scope", "attrs")
        if getattr(before, name) != getattr(after, name)
    ]
    inputs = _names(old, before.inputs), _names(new, after.inputs)
    if inputs[0] != inputs[1]:
        found.append(f"inputs {', '.join(inputs[0])} -> {', '.join(inputs[1])}")
    return found


def _names(graph: Graph, ids: tuple[int, ...]) -> list[str]:
    return [graph.nodes[i].name for i in ids]


def _text(value: object) -> str:
    return value if isinstance(value, str) else repr(value)


def fingerprint(graph: Graph) -> str:
    """Return the SHA-256 of everything structural, as 64 hexadecimal digits."""
    digest = hashlib.sha256(b"gradviz graph 1\n")
    for start in range(0, len(graph.nodes), CHUNK):
        rows = [_structure(node) for node in graph.nodes[start : start + CHUNK]]
        digest.update(_compact(rows)[1:-1].encode("ascii") + b"\n")
    digest.update(_compact(graph.outputs).encode("ascii"))
    return digest.hexdigest()


def _structure(node: Node) -> list[Any]:
    attrs = [[key, _tagged(node.attrs[key])] for key in sorted(node.attrs)] if node.attrs else []
    return [node.op, node.kind, node.inputs, node.shape, node.dtype, attrs, node.scope]


def _tagged(value: Plain) -> Any:
    if isinstance(value, tuple):
        return [_tagged(item) for item in value]
    return {"float": value.hex()} if isinstance(value, float) else value
