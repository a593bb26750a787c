"""Where two frames begin to differ: the first node on the way forward, and the first on the way back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gradviz.escape import clean
from gradviz.graphs import Frame, GraphDiff, Node
from gradviz.style.wording import display_name
from gradviz.tracing.divergence import Divergence
from gradviz.tracing.measuring import Difference, measured

__all__ = ["FrameDiff", "NodeDifference", "compare_frames", "graph_dict"]

SHOWN = 8  # lines of the structure's difference
SHOWN_LIMIT = 1000  # differences that to_dict lists


@dataclass(frozen=True, slots=True)
class NodeDifference:
    """A node whose value or gradient differs; ``born`` if that is so although nothing it was made from differs."""

    a: Node
    b: Node
    found: Difference
    born: bool

    def __str__(self) -> str:
        source = self.a.source
        place = f", {clean(source.file.rpartition('/')[2])}:{source.line}" if source else ""
        return f"{clean(display_name(self.a))} ({clean(self.a.op)}{place}): {self.found.told}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {"node": self.a.id, "op": self.a.op, "born": self.born, **self.found.to_dict()}


@dataclass(frozen=True, slots=True)
class FrameDiff(Divergence):
    """How two frames differ; it is true when they do.

    ``forward`` holds the nodes whose values differ, in the order of computation, and ``backward`` those whose
    gradients differ, in the order of backpropagation. Nodes are matched by their place where the structures are the
    same, otherwise by name. ``unknown`` counts numbers that only one of the two frames has because it could not be
    replayed.
    """

    steps: tuple[int | None, int | None]
    structure: GraphDiff
    forward: tuple[NodeDifference, ...] = ()
    backward: tuple[NodeDifference, ...] = ()
    unknown: int = 0
    frames: tuple[Frame, Frame] | None = field(default=None, repr=False, compare=False)

    @property
    def first(self) -> NodeDifference | None:
        """The first difference: forward, or else backward."""
        return next(iter((*self.forward, *self.backward)), None)

    @property
    def same(self) -> bool:
        """Whether structure and all numbers are the same, bit for bit."""
        return not (self.structure or self.forward or self.backward)

    def _lines(self) -> Iterator[str]:
        if self.same:
            yield "no difference" + (f" ({self.unknown} numbers are known in one only)" if self.unknown else "")
            return
        if self.structure:
            yield from structure_lines(self.structure)
        yield from _told("value", "forward", self.forward)
        yield from _told("gradient", "backward", self.backward)
        if self.unknown:
            yield f"{self.unknown} numbers are known in one only"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "same": self.same,
            "steps": list(self.steps),
            "structure": graph_dict(self.structure),
            "forward": [found.to_dict() for found in self.forward[:SHOWN_LIMIT]],
            "backward": [found.to_dict() for found in self.backward[:SHOWN_LIMIT]],
            "forward_count": len(self.forward),
            "backward_count": len(self.backward),
            "unknown": self.unknown,
        }


def graph_dict(found: GraphDiff) -> dict[str, Any]:
    """Return the difference of two graphs as JSON can hold it."""
    return {
        "same": not found,
        "added": list(found.added[:SHOWN_LIMIT]),
        "removed": list(found.removed[:SHOWN_LIMIT]),
        "changed": list(found.details[:SHOWN_LIMIT]),
    }


def structure_lines(found: GraphDiff) -> Iterator[str]:
    """Yield how two structures differ, the first few of it."""
    counts = (("added", found.added), ("removed", found.removed), ("changed", found.details))
    yield "the graphs differ: " + ", ".join(f"{len(names)} {what}" for what, names in counts if names)
    lines = str(found).splitlines()
    yield from (f"  {line}" for line in lines[:SHOWN])
    if len(lines) > SHOWN:
        yield f"  ... and {len(lines) - SHOWN} more"


def _told(what: str, way: str, found: tuple[NodeDifference, ...]) -> Iterator[str]:
    """Yield how many numbers differ, and which is the first."""
    if not found:
        return
    yield f"{len(found)} {what}{'s' if len(found) > 1 else ''} differ; the first {way} is {found[0]}"
    others = [other for other in found[1:] if other.born][: SHOWN - 1]
    for other in others:
        yield f"  so does, from nothing that differs, {other}"


def compare_frames(a: Frame, b: Frame) -> FrameDiff:
    """Return how two frames differ: structure, values forward, gradients backward."""
    same = a.graph is b.graph or a.graph.fingerprint() == b.graph.fingerprint()
    pairs = _pairs(a, b, same=same)
    forward, unknown = _differing("value", a, b, pairs)
    backward, more = _differing("gradient", a, b, list(reversed(pairs)))
    structure = GraphDiff() if same else a.graph.diff(b.graph)
    return FrameDiff((a.step, b.step), structure, forward, backward, unknown + more, (a, b))


def _pairs(a: Frame, b: Frame, *, same: bool) -> list[tuple[int, int]]:
    """Return the ids of the nodes that correspond to each other, in topological order of ``a``."""
    if same:
        return [(i, i) for i in range(len(a.graph))]
    places = {node.name: node.id for node in b.graph}
    return [(node.id, places[node.name]) for node in a.graph if node.name in places]


def _differing(
    what: str, a: Frame, b: Frame, pairs: Iterable[tuple[int, int]]
) -> tuple[tuple[NodeDifference, ...], int]:
    """Return the nodes whose numbers differ, and how many are not known in one of the frames."""
    numbers = (a.values, b.values) if what == "value" else (a.grads, b.grads)
    replayed = [frame.meta.get("replay", "exact") == "exact" for frame in (a, b)]
    found: list[NodeDifference] = []
    differing: set[int] = set()
    unknown = 0
    for i, j in pairs:
        one, other = numbers[0][i], numbers[1][j]
        if (one is None and not replayed[0]) or (other is None and not replayed[1]):
            unknown += (one is None) is not (other is None)
            continue
        difference = measured(one, other)
        if difference is not None:
            made_from = a.graph.nodes[i].inputs if what == "value" else a.graph.consumers(i)
            born = not any(source in differing for source in made_from)
            differing.add(i)
            named = difference.of(what, a.graph.nodes[i].name, a.step)
            found.append(NodeDifference(a.graph.nodes[i], b.graph.nodes[j], named, born))
    return tuple(found), unknown
