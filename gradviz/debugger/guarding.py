"""`debugging`: a block of the program in which every op and every backward pass is watched."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from gradviz.debugger.blame import Birth, blame
from gradviz.debugger.keyboard import is_person
from gradviz.debugger.newops import NewOp, Wanted, read
from gradviz.debugger.positions import FORWARD, Position
from gradviz.debugger.session import Attached, LiveDebugger
from gradviz.debugger.timeline import FrameTimeline
from gradviz.debugger.variables import Variables, user_frame
from gradviz.engine import modes
from gradviz.engine.elements import born
from gradviz.engine.finiteness import is_finite
from gradviz.engine.leaves import value_of
from gradviz.engine.structure import walked
from gradviz.engine.tensor import Tensor
from gradviz.errors import GradvizTypeError, GradvizValueError, StoppedError
from gradviz.escape import clean
from gradviz.sources import own
from gradviz.sources.pullback import with_gradients, without_gradients

__all__ = ["debugging"]

KINDS = ("nan", "inf")
STOPS = ("prompt", "raise")


class debugging(modes.watched):  # noqa: N801 - reads as a statement
    """Stop inside at the very op that makes a NaN or an infinity, or at the ``backward()`` that does.

    A context manager, and with brackets a decorator; blocks nest, each thread and each task has its own. At a
    terminal (or in a notebook) a stop opens the prompt in the program: the graph so far, the op as cursor, the
    user's variables in expressions; ``c`` lets the program go on, ``q`` ends it. Elsewhere, or with
    ``stop="raise"``, it raises `gradviz.errors.StoppedError` (a FloatingPointError) whose message says
    where the number was born, with the source line and the operands. ``stop="prompt"`` reads commands
    from any standard input; a function is called with the `Debugger`, and the program goes on.

    A program of PyTorch, if that is imported by then, is recorded as by `gradviz.capture` while the block lasts.

    An op is stopped at if it makes a NaN of operands that have none there, or an infinity of finite ones: leaves and
    constants, such as a mask of -inf, are no births. Gradients are looked at when a pass is over, at the leaves.

    ``break_on`` can also have ``"op:log"``, ``"scope:enc.*"``, ``"train.py:12"``, ``"over:float16"``, the name of
    a variable, a condition on one (``"norm(h) > 10"``), on gradients (``"norm(w.grad) > 10"``,
    ``"zero:w.grad"``), and functions of the event, which has ``node``, ``value`` and ``phase``. Everything that is
    about gradients, functions too, takes the frame of every backward pass, which is slow.

    >>> import gradviz, numpy as np
    >>> x = gradviz.Tensor([4.0, 0.0], name="x")
    >>> with np.errstate(divide="ignore"), debugging(stop="raise"):
    ...     y = np.log(x)
    Traceback (most recent call last):
        ...
    gradviz.errors.StoppedError: inf: born at 0.f.1 (forward), y = log(x) makes -inf at [1]...
    """

    def __init__(
        self, break_on: str | Iterable[Any] = KINDS, *, stop: str | Callable[[LiveDebugger], Any] | None = None
    ) -> None:
        if not (stop is None or stop in STOPS or callable(stop)):
            raise GradvizValueError(f"stop={str(stop)[:80]!r}", hint='"prompt", "raise" or a function of the Debugger')
        if callable(break_on):
            raise GradvizTypeError("break_on is a function", hint="@gradviz.debugging() as a decorator, or a list")
        self._given = break_on, stop
        wanted = [break_on] if isinstance(break_on, str) else list(break_on)
        guard = Guard(wanted, stop)
        super().__init__(guard)
        self._of_torch: list[Any] = []
        self._begin = partial(_guard_torch, guard)

    def __enter__(self) -> None:
        super().__enter__()
        self._of_torch.append(self._begin())

    def __exit__(self, *exc: object) -> None:
        capture = self._of_torch.pop()
        if capture is not None:
            capture.stop()
        super().__exit__(*exc)

    def _copy(self) -> debugging:
        return debugging(self._given[0], stop=self._given[1])


def _guard_torch(guard: Guard) -> Any:
    """Watch what PyTorch computes from here on, if it is imported."""
    if "torch" not in sys.modules:
        return None
    from gradviz.debugger.torchguard import TorchGuard

    return TorchGuard(guard).begin()


class Guard:
    """The watcher of one block."""

    def __init__(self, wanted: Iterable[Any], stop: Any) -> None:
        self._stop = stop
        self.kinds = [kind for kind in KINDS if kind in wanted]
        others: list[Wanted] = [read(one) for one in wanted if not (isinstance(one, str) and one in KINDS)]
        self.of_ops = [(one, one.op_test) for one in others if one.op_test is not None]
        self.of_gradients = [one for one in others if one.gradients is not None]
        self._stopped: set[int] = set()  # creation numbers of the ops that were stopped at
        self._count = 0

    # -- an op

    def made(self, out: Tensor) -> None:
        """See an op: quickly, if there is nothing to see."""
        if not is_finite(out._data) and Attached.now:
            kind = next((kind for kind in self.kinds if born(out, kind)), None)
            if kind is not None:
                self._at_op(out, kind, None)
        if self.of_ops and Attached.now:
            self._tested(out)

    def _tested(self, out: Tensor) -> None:
        event = NewOp(out, self._count)
        self._count += 1
        with modes.unwatched():
            hit = next((one for one, test in self.of_ops if test(event)), None)
        if hit is not None:
            self._at_op(out, None, hit)

    def _at_op(self, out: Tensor, kind: str | None, hit: Wanted | None) -> None:
        """Stop at an op that has just been computed."""
        self._stopped.add(out._key)
        with modes.unwatched():
            timeline = FrameTimeline([without_gradients(own.frame(out))])
            birth = None if kind is None else blame(timeline, kind)
            d = LiveDebugger(timeline, Variables.of(user_frame()))
        last = d.cursor.steps.forward[-1]
        self.halt(d, birth, Position(0, FORWARD, last.number), hit, kind)

    # -- a backward pass

    def passed(self, root: Tensor, seed: Any, grads: Iterable[Any]) -> None:
        """See the gradients of the leaves: quickly, if there is nothing to see."""
        if not Attached.now:
            return
        looks_bad = bool(self.kinds) and not all(is_finite(_plain(grad)) for grad in grads)
        if looks_bad or self.of_gradients:
            self._looked_into(root, seed)

    def _looked_into(self, root: Tensor, seed: Any) -> None:
        """Work the pass out again, all of its numbers, and stop where something is to be stopped for."""
        with modes.unwatched():
            timeline = FrameTimeline([with_gradients(own.frame(root), _plain(seed))])
            d = LiveDebugger(timeline, Variables.of(user_frame()))
        self.judge(d, lambda birth: self._is_known(root, birth))

    def judge(self, d: LiveDebugger, is_known: Callable[[Birth], bool]) -> None:
        """Stop where something is to be stopped for in an iteration, unless it is known already."""
        with modes.unwatched():
            births = (blame(d.timeline, kind) for kind in self.kinds)
            birth = next((one for one in births if one is not None and not is_known(one)), None)
            hit = None if birth is not None else self._hit(d)
        if birth is not None:
            self.halt(d, birth, birth.position, None, birth.kind)
        elif hit is not None:
            self.halt(d, None, d.where, hit, None)

    def _is_known(self, root: Tensor, birth: Birth) -> bool:
        """Tell whether the program was stopped at it when it was computed, and went on."""
        is_op = birth.phase == FORWARD and birth.node.kind == "op"
        return is_op and any(t._key in self._stopped for t in walked(root))

    def _hit(self, d: LiveDebugger) -> Wanted | None:
        tests = [(one, one.gradient_test(d)) for one in self.of_gradients]
        for step in d.cursor.steps.backward:
            d.cursor.position = Position(d.where.iteration, step.phase, step.number)
            for one, test in tests:
                if test is not None and test(d, step):
                    return one
        return None

    # -- stopping

    def halt(self, d: LiveDebugger, birth: Birth | None, at: Position, hit: Wanted | None, kind: str | None) -> None:
        """Stop where something happened: open the prompt, call a function, or raise."""
        d.birth = birth
        d.stand(at, "")
        reason = str(birth) if birth is not None else f"{hit.text if hit is not None else kind}: {_said(d.event)}"
        d.stand(at, reason)
        if callable(self._stop):
            with modes.unwatched():
                self._stop(d)
        elif self._stop == "prompt" or (self._stop is None and is_person()):
            if not Attached.is_heard:
                return
            from gradviz.debugger.talking import talk

            talk(d, f"stopped at {d.variables.place}\n{reason}")
        else:
            error = StoppedError(reason)
            error.debugger = d
            raise error


def _said(event: Any) -> str:
    """Return an event and its source line."""
    source = event.node.source
    there = "" if source is None else f"\n  {clean(str(source))}  {clean(source.code or source.text)}"
    return f"{clean(str(event), 400)}{there}"


def _plain(x: Any) -> Any:
    return value_of(x) if isinstance(x, Tensor) else x
