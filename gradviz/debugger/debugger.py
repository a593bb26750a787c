"""`Debugger`: step through a computation, and through a training, forwards and backwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradviz.debugger.blame import Birth, blame
from gradviz.debugger.check import Mismatch, check
from gradviz.debugger.positions import FORWARD, Position
from gradviz.debugger.timeline import timeline
from gradviz.debugger.watching import Watching
from gradviz.debugger.whatif import WhatIf, assignments, what_if
from gradviz.debugger.why import Why, why
from gradviz.graphs import Frame
from gradviz.tracing.framediff import FrameDiff, compare_frames
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

    def diff(self, a: str | int | Position, b: str | int | Position | None = None) -> FrameDiff:
        """Return how two moments differ: iterations ``17``, or positions ``"17.b.3"``; the second is here by default.

        A number alone is an iteration with all its values and gradients. See `gradviz.diff`.
        """
        return compare_frames(self.moment(a), self.full if b is None and _is_whole(a) else self.moment(b))

    def moment(self, at: str | int | Position | None) -> Frame:
        """Return everything as it is at a position, or at the end of an iteration; by default here."""
        if at is None:
            return self.frame
        if _is_whole(at):
            return self.timeline.steps(int(str(at))).full
        place = at if isinstance(at, Position) else Position.parse(str(at), self.where.iteration)
        return self.timeline.steps(place.iteration).at(place.phase, place.op).frame

    def whatif(
        self, values: str | Mapping[str, Any] | None = None, /, *, count: int | None = None, **more: Any
    ) -> WhatIf:
        """Return what had happened with other values of nodes, or another ``lr``; the history stays as it is.

        ``d.whatif(w=2.0)`` computes this iteration again, ``d.whatif("lr = 0.01 for 50")`` goes on for 50 updates.
        An expression in a text has all values of this iteration, also before they are computed. See
        `gradviz.debugger.whatif`.
        """
        if isinstance(values, str):
            texts, told = assignments(values)
            values, count = self._after_forward(texts), told if count is None else count
        return what_if(self, {**(values or {}), **more}, count)

    def _after_forward(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Work expressions out with all the values that this iteration computes."""
        here = self.where
        try:
            self.seek(Position(here.iteration, FORWARD, len(self.graph) - 1))
            return {name: self.evaluate(text) for name, text in texts.items()}
        finally:
            self.cursor.position = here

    def draw(self, **options: Any) -> Drawing:
        """Return the picture of this moment, its event highlighted, what is still to come pale."""
        return draw(self.event, **options)

    def __repr__(self) -> str:
        count = len(self.timeline.iterations)
        return f"Debugger(at {self.where}, {count} iteration{'' if count == 1 else 's'}, {len(self.graph)} nodes)"


def _is_whole(at: object) -> bool:
    """Tell whether this is the number of an iteration."""
    return str(at).removeprefix("-").isdigit()
