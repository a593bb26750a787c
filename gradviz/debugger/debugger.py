"""`Debugger`: step through a computation, and through a training, forwards and backwards."""

from __future__ import annotations

from typing import Any

from gradviz.debugger.breaking import Breaking
from gradviz.debugger.expressions import Expression
from gradviz.debugger.moving import Cursor
from gradviz.debugger.naming import NodeNames
from gradviz.debugger.timeline import timeline
from gradviz.debugger.watching import Watching
from gradviz.graphs import Frame, Graph, Number

__all__ = ["Debugger", "NodeView"]


class Debugger(Breaking, Watching):
    """Step through a Tensor's computation, a Frame, or the iterations of a Run, forwards and backwards.

    Every verb of the prompt is a method here and returns an object. The cursor stands on an event that
    has just happened: ``d.where`` is its `Position`, ``d.event`` the event, ``d.frame`` everything as it
    is at that moment, ``d["w"]`` one node of it.

    >>> import gradviz
    >>> a, b = gradviz.Tensor(2.0), gradviz.Tensor(3.0)
    >>> c = a * b
    >>> d = Debugger(c + a)
    >>> str(d.step(2)), d["c"].value, d["c"].grad
    ('0.f.2', 6.0, None)
    >>> str(d.phase("b")), d["c"].grad, str(d.back(2))
    ('0.b.0', 1.0, '0.f.2')
    """

    def __init__(self, x: Any, *, params: Any = None) -> None:
        self.cursor = Cursor(timeline(x, params=params))
        self.breakpoints = {}
        self.stop = None
        self.names = NodeNames(self)

    @property
    def timeline(self) -> Any:
        """The history that is stepped through."""
        return self.cursor.timeline

    @property
    def graph(self) -> Graph:
        """The graph of this iteration."""
        return self.cursor.steps.full.graph

    @property
    def frame(self) -> Frame:
        """The graph with every number as it is at this moment: None for those still to come."""
        return self.event.frame

    @property
    def full(self) -> Frame:
        """The whole iteration: the frame after its last backward event."""
        return self.cursor.steps.full

    def evaluate(self, text: str) -> Any:
        """Return what an expression comes to where the debugger stands: ``norm(W.grad)``, ``w@17 - w``."""
        return Expression(text)(self.names)

    def __getitem__(self, name: str) -> NodeView:
        """Return a node by name as it is at this moment; raises UnknownNameError with what is near."""
        return NodeView(self, self.graph.index(name))

    def __repr__(self) -> str:
        count = len(self.timeline.iterations)
        return f"Debugger(at {self.where}, {count} iteration{'' if count == 1 else 's'}, {len(self.graph)} nodes)"


class NodeView:
    """One node as it is where the cursor stands."""

    def __init__(self, debugger: Debugger, id: int) -> None:
        self.node = debugger.graph.nodes[id]
        event, fold = debugger.event, debugger.cursor.steps.fold
        self.value: Number | None = fold.value(event.phase, event.node.id, id)
        self.grad: Number | None = fold.grad(event.phase, event.node.id, id)

    def __repr__(self) -> str:
        return f"{self.node.name} = {self.value}, gradient {self.grad}"
