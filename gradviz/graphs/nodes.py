"""The records a graph is made of: a node, where it came from, and the numbers of an edge.

`gradviz.graphs` is where to import them from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from gradviz.graphs.plain import FrozenMapping, Number

Edge = tuple[int, int, int]  # (src, dst, arg)

KINDS = ("input", "param", "const", "op")
EMPTY = FrozenMapping()


@dataclass(frozen=True, slots=True)
class Source:
    """The expression that made a node: where it stands and its text as it was when it ran.

    >>> print(Source("line.py", 3, text="(w * x)"))
    line.py:3
    """

    file: str
    line: int
    column: int | None = None
    end_column: int | None = None
    function: str = ""
    text: str = ""  # the exact expression, e.g. "(w * x)"
    code: str = ""  # the whole source line, stripped

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Node:
    """One value of the graph: a parameter, an input, a constant or the result of an op.

    ``attrs`` is brought to the normal form of `gradviz.graphs.plain` and cannot be changed.

    >>> Node(2, "c", "sum", "op", (0,), attrs={"axis": [0, 1]}).attrs["axis"]
    (0, 1)
    """

    id: int
    name: str
    op: str
    kind: str  # "input" | "param" | "const" | "op"
    inputs: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    dtype: str = "float64"
    attrs: Mapping[str, Any] = EMPTY
    scope: tuple[str, ...] = ()
    source: Source | None = None
    symbol: str = ""  # what is drawn for the op: "+", "@", "sin"
    formulas: tuple[str, ...] = ()  # derivative by each input: "{1}" for d(x0*x1)/dx0

    def __post_init__(self) -> None:
        if type(self.attrs) is not FrozenMapping:
            object.__setattr__(self, "attrs", FrozenMapping(self.attrs) if self.attrs else EMPTY)
        if {type(self.inputs), type(self.shape), type(self.scope), type(self.formulas)} != {tuple}:
            for name in ("inputs", "shape", "scope", "formulas"):
                object.__setattr__(self, name, tuple(getattr(self, name)))


class EdgeNumbers(Protocol):
    """Numbers that belong to an edge, worked out on demand."""

    def grad(self, src: int, dst: int, arg: int) -> Number | None:
        """Return what this edge contributed to the gradient of ``src``."""

    def local(self, src: int, dst: int, arg: int) -> Number | None:
        """Return the local derivative d(dst)/d(src) through argument ``arg``, elementwise ops only."""


@runtime_checkable
class RuleEdges(EdgeNumbers, Protocol):
    """Numbers of edges that the rules of the ops work out: they can be asked what would be with other gradients."""

    def sent(self, dst: int, arg: int, g: Any) -> Any:
        """Return what ``dst`` sends to this argument when its own gradient is ``g``; None if nothing flows there.

        An op with several results has no gradient itself: ``g`` is None then, and those of its results count.
        """

    def is_elementwise(self, dst: int) -> bool:
        """Tell whether each element of the result depends on one element of each operand."""

    def is_registered(self, dst: int) -> bool:
        """Tell whether the rule of a node is the user's own."""

    def needed(self, dst: int, arg: int, mask: Any) -> Any:
        """Return which elements of an operand those of the result in ``mask`` are computed from; None if unknown."""

    def having(self, grads: Sequence[Any]) -> RuleEdges:
        """Return the numbers of the same graph with other gradients, which are read when they are asked for."""


@dataclass(frozen=True, slots=True)
class EdgeTable:
    """Edge numbers that are already known, kept by ``(src, dst, arg)``.

    >>> EdgeTable({(0, 1, 0): 6.0}, {}).grad(0, 1, 0)
    6.0
    """

    grads: Mapping[Edge, Number | None]
    locals: Mapping[Edge, Number | None]

    def grad(self, src: int, dst: int, arg: int) -> Number | None:
        """Return what this edge contributed to the gradient of ``src``."""
        return self.grads.get((src, dst, arg))

    def local(self, src: int, dst: int, arg: int) -> Number | None:
        """Return the local derivative d(dst)/d(src) through argument ``arg``."""
        return self.locals.get((src, dst, arg))


Ref = int | str | Node
