"""The debugger inside the user's program: `debug`, `breakpoint`, `post_mortem`, and `debugging`.

Live is where the program is stopped, and the variables of its frame. What is stepped through is what it has recorded
until then: going back never runs anything again, and nothing that is typed changes the program.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from types import FrameType
from typing import Any

from gradviz.debugger.callsites import site_of
from gradviz.debugger.guarding import debugging
from gradviz.debugger.positions import Position
from gradviz.debugger.session import Attached, LiveDebugger
from gradviz.debugger.tensors import is_computed, is_tensor, is_torch, rank
from gradviz.debugger.timeline import timeline
from gradviz.debugger.variables import Variables, is_ours, user_frame
from gradviz.engine import modes
from gradviz.engine.trees import members
from gradviz.errors import GradvizTypeError, GradvizValueError, StoppedError

__all__ = ["breakpoint", "debug", "debugging", "post_mortem", "where_failed"]

MEMORY = 64_000_000  # bytes


def debug(x: Any, *args: Any, **kwargs: Any) -> LiveDebugger:
    """Open the prompt on a Tensor, a Frame, several Frames or a Run; return the `Debugger` when it is left.

    A function is called with the other arguments, and what it has computed is opened: what it returns, or else what
    ``backward()`` was called on last, or the last op. In expressions the caller's variables are known after
    the nodes. Commands come from the terminal, a notebook, or whatever is piped in, until its end.

    A tensor of PyTorch, or a function that computes with such, is opened as well, and what `gradviz.capture` has
    recorded. Raises GradvizTypeError for anything else.

    >>> import gradviz
    >>> w = gradviz.Tensor(3.0, name="w")
    >>> d = gradviz.debug(lambda: w * w)  # doctest: +SKIP
    > 0.f.0  forward 0: w = 3 (param)
    (gradviz 0.f.0)
    """
    from gradviz.debugger.talking import talk_of

    Attached.again()
    frame = user_frame()
    given = _computed(x, args, kwargs) if callable(x) and not is_tensor(x) else x
    with modes.unwatched():
        debugger = LiveDebugger(timeline(given), Variables.of(frame))
    talk_of(debugger)
    return debugger


def breakpoint(
    loss: Any = None,
    *,
    when: str | Callable[[Any], Any] | None = None,
    step: int | None = None,
    keep: int = 100,
    memory: int = MEMORY,
    params: Any = None,
) -> None:
    """Stop here and open the prompt: in this iteration of a loop, with the earlier ones that came by.

    ``loss`` is the Tensor whose graph is shown; left out, the scalar Tensor with the largest graph among the
    caller's local variables. ``it -1`` goes to the iteration before, ``rc norm(w.grad) > 1`` back to where that
    held. Iterations are counted from 0 as they pass this call, or numbered with ``step``; a number that is not
    above the last begins anew. The last ``keep`` (100) are kept, fewer if they hold more than ``memory`` bytes
    (64 MB) together, on each thread, for the last 16 such places; ``keep=0`` keeps none.

    Of a tensor of PyTorch the values inside are known where a `gradviz.capture` is on, or ``backward()`` has not been
    called yet.

    ``when`` is a condition (see `gradviz.debugger.conditions`), in the names of the graph and the variables here,
    or a function of the Tensor: the prompt opens only in iterations in which it held, at the event at which it
    did. ``params`` names parameters as in `gradviz.frame`.

    At the prompt ``c`` goes on to the next call, ``q`` ends the program (bdb.BdbQuit, as pdb does), and ``detach``
    goes on without further stops. Commands are read from standard input also where that is no terminal; at its end
    the program goes on without further prompts.

    Raises GradvizError where there is no such Tensor, and for a condition that means nothing.

    >>> import gradviz
    >>> w = gradviz.Tensor(3.0, name="w")
    >>> for step in range(3):
    ...     loss = (w - 1.0) ** 2
    ...     loss.backward()
    ...     gradviz.breakpoint(loss, when="norm(w.grad) > 10")
    ...     w.data, w.grad = w.data - 0.1 * w.grad, None
    """
    if not (Attached.now and Attached.is_heard):
        return
    frame = sys._getframe(1)
    site = site_of(frame)
    with modes.unseen():
        site.passed(frame, site.root(frame, loss), when, step, keep, memory, params)


def post_mortem(error: BaseException | None = None) -> LiveDebugger:
    """Open the prompt where a program failed: on the Tensors of the innermost frame that has any.

    ``error`` is the exception, left out the one being handled or the last that was not. The scalar with the largest
    graph is opened, else the newest Tensor; the variables of that frame are known in expressions. After
    `debugging` has raised, the prompt opens where the number was born.

    Raises GradvizValueError if there was no exception, or no frame of it has a Tensor.
    """
    from gradviz.debugger.talking import talk_of

    error = error or sys.exc_info()[1] or getattr(sys, "last_value", None)
    if error is None:
        raise GradvizValueError("there is no exception to look into", hint="call it in an except block, or give one")
    Attached.again()
    debugger = where_failed(error)
    talk_of(debugger, f"failed at {debugger.variables.place}\n{type(error).__name__}: {error}")
    return debugger


def where_failed(error: BaseException) -> LiveDebugger:
    """Return a debugger that stands where a program failed, as `post_mortem` opens it."""
    known = next((one.debugger for one in _causes(error) if isinstance(one, StoppedError)), None)
    return known if isinstance(known, LiveDebugger) else _of_frames(error)


# -- what to open ----------------------------------------------------------------------------------


class _Latest:
    """Remembers the last op and the last Tensor that ``backward()`` was called on."""

    root: Any = None
    op: Any = None

    def made(self, out: Any) -> None:
        self.op = out

    def passed(self, root: Any, seed: Any, grads: Sequence[Any]) -> None:
        self.root = root


def _computed(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a function and return what there is to see of it."""
    latest = _Latest()
    with modes.watched(latest), _captured() as capture:
        result = function(*args, **kwargs)
        found = _result(function, result, latest, capture)
        return timeline(found) if is_torch(found) else found


def _captured() -> Any:
    """Return a context that records what PyTorch computes, if it is imported."""
    if "torch" not in sys.modules:
        return nullcontext()
    from gradviz.sources.torch.recorder import Capture

    return Capture()


def _result(function: Callable[..., Any], result: Any, latest: _Latest, capture: Any) -> Any:
    """Return what a function has returned, or what it has computed."""
    if result is None and latest.op is None and capture is not None and len(capture):
        return capture.frames
    if not isinstance(result, dict | list | tuple):
        found = result if result is not None else latest.root if latest.root is not None else latest.op
        if found is not None:
            return found
    tensors = [x for x in members(result) if is_tensor(x)] if result is not None else []
    if not tensors:
        name = getattr(function, "__name__", "the function")
        raise GradvizTypeError(f"{name} returned no Tensor and computed with none", hint="debug(f, *args)")
    return _most(tensors)


def _most(tensors: Sequence[Any]) -> Any:
    """Return the scalar with the largest graph, else the newest tensor."""
    made = [t for t in tensors if is_computed(t)] or list(tensors)
    scalars = [t for t in made if math.prod(t.shape) == 1]
    return max(scalars, key=rank) if scalars else max(made, key=lambda t: rank(t)[1])


def _of_frames(error: BaseException) -> LiveDebugger:
    for frame, line in reversed(list(_frames(error))):
        tensors = [value for value in frame.f_locals.values() if is_tensor(value)]
        if tensors:
            with modes.unwatched():
                debugger = LiveDebugger(timeline(_most(tensors)), Variables.of(frame, line))
            last = debugger.cursor.steps.forward[-1]
            debugger.stand(Position(0, last.phase, last.number), type(error).__name__)
            return debugger
    raise GradvizValueError(
        f"no frame of this {type(error).__name__} has a variable that holds a Tensor", hint="pdb.post_mortem() may help"
    )


def _causes(error: BaseException) -> list[BaseException]:
    """Return an exception, the one that it was raised from, and so on."""
    found = [error]
    for one in found:
        if one.__cause__ is not None and one.__cause__ not in found:
            found.append(one.__cause__)
    return found


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """Yield the user's frames of a traceback with their lines, the outermost first; before them those of its causes."""
    for one in reversed(_causes(error)):
        at = one.__traceback__
        while at is not None:
            if not is_ours(at.tb_frame):
                yield at.tb_frame, at.tb_lineno
            at = at.tb_next
