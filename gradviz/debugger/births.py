"""A fault that has been traced: the iteration, the op and the line it was born in, and the numbers there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gradviz.debugger.positions import Position
from gradviz.escape import clean
from gradviz.graphs import Node, Source
from gradviz.graphs.listing import number_text

__all__ = ["Birth"]

NAMED = 6  # nodes named of those a fault went through


@dataclass(frozen=True)
class Birth:
    """Where a fault was born.

    ``position`` is the event, ``index`` the element of the node's value (in the backward phase of what it sends),
    ``operands`` the numbers there by name, ``made`` what came out, ``through`` the names of the nodes it went through.
    ``kind`` is the harm it did: an infinity may be a NaN later. ``is_masked``: the value of the result does not show
    it, the gradient does. ``advice`` is the usual safe rewrite.
    """

    kind: str
    node: Node
    position: Position
    message: str
    index: tuple[int, ...] = ()
    operands: Mapping[str, Any] = field(default_factory=dict)
    made: Any = None
    through: tuple[str, ...] = ()
    is_masked: bool = False
    advice: str = ""

    @property
    def iteration(self) -> int:
        """The iteration it was born in."""
        return self.position.iteration

    @property
    def phase(self) -> str:
        """The phase it was born in."""
        return self.position.phase

    @property
    def op(self) -> str:
        """The op that made it; of a leaf its kind."""
        return self.node.op

    @property
    def source(self) -> Source | None:
        """The line that made the node."""
        return self.node.source

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; NaN and infinities stay numbers."""
        source = self.source
        return {
            "kind": self.kind,
            "position": str(self.position),
            "iteration": self.iteration,
            "phase": self.phase,
            "node": self.node.name,
            "op": self.op,
            "file": source.file if source else None,
            "line": source.line if source else None,
            "message": self.message,
            "index": list(self.index),
            "operands": dict(self.operands),
            "made": self.made,
            "through": list(self.through),
            "is_masked": self.is_masked,
            "advice": self.advice,
        }

    def __str__(self) -> str:
        lines = [f"{self.kind}: born at {self.position} ({self.phase}), {clean(self.message)}"]
        if self.source is not None:
            lines.append(f"  {clean(str(self.source))}  {clean(self.source.code or self.source.text)}")
        if self.operands:
            lines.append("  there: " + ", ".join(f"{clean(k)} = {_text(v)}" for k, v in self.operands.items()))
        if self.through:
            shown = [clean(name) for name in self.through[:NAMED]]
            more = len(self.through) - len(shown)
            lines.append(f"  and on through {', '.join(shown)}{f' and {more} more' if more else ''}")
        return "\n".join([*lines, *([f"  usually helps: {self.advice}"] if self.advice else [])])


def _text(number: Any) -> str:
    return number_text(number) if isinstance(number, float) else str(number)
