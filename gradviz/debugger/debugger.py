"""`Debugger`: step through a computation, and through a training, forwards and backwards."""

from __future__ import annotations

from typing import Any

from gradviz.debugger.blame import Birth, blame
from gradviz.debugger.check import Mismatch, check
from gradviz.debugger.timeline import timeline
from gradviz.debugger.watching import Watching
from gradviz.debugger.why import Why, why
from gradviz.views.drawing import Drawing, draw

__all__ = ["Debugger"]


class Debugger(Watching):
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
        super().__init__(timeline(x, params=params))

    def why(self, name: Any = None, by: str = "edges", k: int = 5) -> Why:
        """Return a gradient as a sum over its edges, paths, samples or elements; see `gradviz.debugger.why`."""
        return why(self.full, self.event.node.name if name is None else name, by, k)

    def blame(self, kind: str | None = None) -> Birth | None:
        """Return where a fault was born: the first of all kinds, or of one; see `gradviz.debugger.blame`."""
        return blame(self.timeline, kind)

    def check(self, name: Any = None, *, repeats: int = 1) -> list[Mismatch]:
        """Return every op whose rule differs from finite differences, or only that of one node."""
        return check(self.full, name, repeats=repeats)

    def draw(self, **options: Any) -> Drawing:
        """Return the picture of this moment, its event highlighted, what is still to come pale."""
        return draw(self.event, **options)

    def __repr__(self) -> str:
        count = len(self.timeline.iterations)
        return f"Debugger(at {self.where}, {count} iteration{'' if count == 1 else 's'}, {len(self.graph)} nodes)"
