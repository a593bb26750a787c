"""The graph and its numbers as plain frozen data: structure once, numbers per step.

A `Graph` is a tuple of `Node` records in topological order. A `Frame` is a graph with the
values and gradients of one moment. Nothing here knows how a graph is recorded or drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

Number = float | np.ndarray


@dataclass(frozen=True, slots=True)
class Source:
    """The expression that made a node: where it stands and its text as it was when it ran."""

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
    """One value of the graph: a parameter, an input, a constant or the result of an op."""

    id: int
    name: str
    op: str
    kind: str  # "input" | "param" | "const" | "op"
    inputs: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    dtype: str = "float64"
    attrs: Mapping[str, Any] = field(default_factory=dict)
    scope: tuple[str, ...] = ()
    source: Source | None = None
    symbol: str = ""  # what is drawn for the op: "+", "@", "sin"
    formulas: tuple[str, ...] = ()  # derivative by each input: "{1}" for d(x0*x1)/dx0


class EdgeNumbers(Protocol):
    """Numbers that belong to an edge, worked out on demand."""

    def grad(self, src: int, dst: int, arg: int) -> Number | None:
        """Return what this edge contributed to the gradient of ``src``."""

    def local(self, src: int, dst: int, arg: int) -> Number | None:
        """Return the local derivative d(dst)/d(src) through argument ``arg``, elementwise ops only."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A computation graph."""

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Frame:
    """One graph with the numbers of one moment."""

    graph: Graph
    values: Sequence[Number | None]
    grads: Sequence[Number | None]
    edges: EdgeNumbers | None = None
    step: int | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
