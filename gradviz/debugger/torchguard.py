"""`debugging` in a program of PyTorch: its ops and its backward passes, seen by a capture."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from gradviz.debugger.blame import Birth, blame
from gradviz.debugger.newops import Event, Wanted
from gradviz.debugger.positions import FORWARD, Position
from gradviz.debugger.session import Attached, LiveDebugger
from gradviz.debugger.timeline import FrameTimeline
from gradviz.debugger.variables import Variables, user_frame
from gradviz.sources.torch.guarding import Guarded, born, is_finite, source_of
from gradviz.sources.torch.numbers import number

if TYPE_CHECKING:
    from gradviz.debugger.guarding import Guard

__all__ = ["TorchGuard"]


class TorchGuard:
    """Stops for what a `Guard` is to stop for, in what PyTorch computes."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._capture = Guarded(self.seen, self.passed)
        self._stopped: list[Any] = []  # the calls that were stopped at in this step
        self._step = 0
        self._count = 0

    def begin(self) -> Guarded:
        """Begin to watch, until the capture that is returned is stopped."""
        self._capture.start()
        return self._capture

    # -- an op

    def seen(self, place: int) -> None:
        """See an op: quickly, if there is nothing to see."""
        if not Attached.now:
            return
        calls = self._capture.calls
        if self._guard.kinds and not is_finite(calls[place].value):
            kind = next((kind for kind in self._guard.kinds if born(calls, place, kind)), None)
            if kind is not None:
                self._at_op(place, kind, None)
        if self._guard.of_ops and Attached.now:
            event = NewCall(self._capture, place, self._count)
            self._count += 1
            hit = next((one for one, test in self._guard.of_ops if test(event)), None)
            if hit is not None:
                self._at_op(place, None, hit)

    def _at_op(self, place: int, kind: str | None, hit: Wanted | None) -> None:
        """Stop at an op that has just been computed."""
        if self._step != self._capture.number:
            self._step, self._stopped = self._capture.number, []
        self._stopped.append(self._capture.calls[place])
        timeline = FrameTimeline([self._capture.frame_so_far(place)[0]])
        birth = None if kind is None else blame(timeline, kind)
        d = LiveDebugger(timeline, Variables.of(user_frame()))
        last = d.cursor.steps.forward[-1]
        self._guard.halt(d, birth, Position(d.where.iteration, FORWARD, last.number), hit, kind)

    # -- a backward pass

    def passed(self) -> None:
        """See the gradients of the parameters: quickly, if there is nothing to see."""
        guard = self._guard
        if not Attached.now or not (guard.kinds or guard.of_gradients):
            return
        params = (call for call in self._capture.calls if call.kind == "param")
        if not guard.of_gradients and all(is_finite(call.grad) for call in params):
            return
        frame, structure = self._capture.frame_so_far()
        calls = [self._capture.calls[place] for place in structure.places]

        def is_known(birth: Birth) -> bool:
            return birth.phase == FORWARD and any(calls[birth.node.id] is call for call in self._stopped)

        guard.judge(LiveDebugger(FrameTimeline([frame]), Variables.of(user_frame())), is_known)


class NewCall(Event):
    """An op of PyTorch that was just computed."""

    def __init__(self, capture: Guarded, place: int, number: int) -> None:
        super().__init__(number)
        self._capture, self._place = capture, place
        self._call = self.tensor = capture.calls[place]
        self.op, self.scope = self._call.op, self._call.scope

    @cached_property
    def value(self) -> Any:
        """What it computed."""
        return number(self._call.value)

    @cached_property
    def source(self) -> Any:
        """The line that made it."""
        return source_of(self._call)

    @cached_property
    def node(self) -> Any:
        """Its node in the graph so far."""
        graph = self._capture.frame_so_far(self._place)[0].graph
        return graph.nodes[graph.outputs[0]]

    def operands(self) -> list[Any]:
        """Return the values it was computed from."""
        values = [self._capture.calls[i].value for i in self._call.inputs]
        return [number(value) for value in values if value is not None]
