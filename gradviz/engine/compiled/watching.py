"""Watching a function once: what it computes, and which numbers it looks at on the way.

A compiled function must not go stale. So every place where plain numbers leave a Tensor, such as ``float(x)``,
``if x > 0`` or ``x.numpy()``, is a question that the program asks again. What has no such form (a gradient
taken inside, a parameter that is assigned, random numbers, the clock) is a reason not to compile.
"""

from __future__ import annotations

import random
import secrets
import sys
from collections.abc import Callable, Sequence
from types import CodeType, FrameType
from typing import Any

import numpy as np

from ...errors import GradvizError
from .. import modes
from ..leaves import next_key
from ..protocols import PLAIN_UFUNCS
from ..sites import where
from ..structure import written_operands
from ..tensor import Constant, Tensor, constant_of
from .tape import ALIAS, Asked, Hidden

__all__ = ["CannotCompileError", "Flags", "RaisedError", "Sighting", "watched_call"]

VOLATILE_MODULES = {"time", "random", "_random", "secrets"}
VOLATILE_FILES = {random.__file__, secrets.__file__}
VOLATILE_TYPES = (np.random.Generator, np.random.RandomState, np.random.BitGenerator)


class CannotCompileError(GradvizError):
    """Why a function is left to the engine."""


class RaisedError(CannotCompileError):
    """A function raised an error of its own while it was watched."""


class _StoppedError(BaseException):
    """Ends a call from within; no Exception, for the function may catch those."""


class Flags(Constant):
    """Booleans that a comparison of arrays gave while it was watched: they may be combined, and used as a condition."""

    __slots__ = ()

    def __invert__(self) -> Any:
        return np.logical_not(self)

    def __and__(self, other: Any) -> Any:
        return np.logical_and(self, other)

    def __or__(self, other: Any) -> Any:
        return np.logical_or(self, other)

    def __xor__(self, other: Any) -> Any:
        return np.logical_xor(self, other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__


Flags.__name__ = "Tensor"


class _Comparison:
    """The op of booleans: a NumPy function without a derivative."""

    def __init__(self, ufunc: np.ufunc) -> None:
        self.name = ufunc.__name__
        self.forward = ufunc
        self.scalar = None

    def vjp(self, arg: int) -> None:
        """Return no rule."""


class Sighting:
    """What was seen of one call."""

    def __init__(self) -> None:
        self.since = next_key()
        self.hidden: Hidden = {}
        self.asked: list[Asked] = []
        self.indices: dict[int, tuple[np.ndarray, Tensor]] = {}  # by id: what an index was, and the Tensor it came from
        self.codes: dict[CodeType, dict[str, Any]] = {}  # code that ran, with its globals
        self.result: Any = None

    # -- what the engine tells ------------------------------------------------------------------

    def made(self, out: Any) -> None:
        """See a node; keep how it was made if nobody else does."""
        if not modes.mode().recording:
            self.hidden[id(out)] = (out, out._op, written_operands(out), out._b if out._a.__class__ is tuple else None)

    def passed(self, root: Any, seed: Any, grads: Sequence[Any]) -> None:
        """See a backward pass: none is let begin."""

    def differentiated(self, what: Any) -> None:
        """See that a gradient is asked for."""
        self.refuse("it computes gradients itself; compile the function that is differentiated, or grad(f) as a whole")

    def refuse(self, reason: str) -> None:
        """Stop the call, before it does what could not be replayed: it is going to be made again by the engine."""
        raise _StoppedError(f"{reason} ({where()})")

    def assigned(self, leaf: Tensor) -> None:
        """See a leaf that gets another value."""
        self.refuse(f"it assigns {leaf.label}; leave updates outside")

    def detached(self, t: Tensor, out: Tensor) -> None:
        """See a constant that has the value of a tensor."""
        self.hidden[id(out)] = (out, ALIAS, (t,), None)

    def chosen_by(self, t: Tensor, op: str, numbers: np.ndarray) -> None:
        """See integers become metadata: an index is read at every call, the rest is a question."""
        if op == "getitem" and numbers.dtype.kind in "iu" and numbers.ndim:
            self.indices[id(numbers)] = (numbers, t)
        else:
            self.answered(modes.itself, (t,), numbers)

    def answered(self, question: Callable[..., Any], operands: tuple[Any, ...], answer: Any) -> Any:
        """See plain numbers leave a Tensor; return what the user gets."""
        if any(isinstance(x, list | tuple) for x in operands):
            self.refuse("it looks at numbers in a list of Tensors")
            return answer
        if question in PLAIN_UFUNCS and isinstance(answer, np.ndarray) and answer.ndim:
            return self._flags(question, operands, answer)
        kept = answer.copy() if isinstance(answer, np.ndarray) else answer
        self.asked.append(Asked(next_key(), question, operands, kept, where()))
        return answer

    def _flags(self, question: Any, operands: tuple[Any, ...], answer: Any) -> Tensor:
        """Return booleans as a Tensor that the program computes anew."""
        out = constant_of(answer)
        out.__class__ = Flags
        asked = [
            x if isinstance(x, Tensor) else constant_of(np.asarray(x) if np.ndim(x) else float(x)) for x in operands
        ]
        self.hidden[id(out)] = (out, _Comparison(question), asked, None)
        return out

    # -- what Python tells ----------------------------------------------------------------------

    def profile(self, frame: FrameType, event: str, arg: Any) -> None:
        """See a call: of Python, whose names are noted, or of C, where numbers may come from nowhere."""
        if event == "call":
            if frame.f_code.co_filename in VOLATILE_FILES:
                self.refuse(f"it calls {frame.f_code.co_qualname}, which gives other numbers every time")
            self.codes.setdefault(frame.f_code, frame.f_globals)
        elif event == "c_call":
            module = getattr(arg, "__module__", None)
            owner = getattr(arg, "__self__", None)
            if isinstance(owner, VOLATILE_TYPES) or module in VOLATILE_MODULES or _is_random(owner):
                name = getattr(arg, "__qualname__", arg)
                self.refuse(f"it calls {name}, which gives other numbers every time; pass them as an argument")


def _is_random(owner: Any) -> bool:
    module = getattr(type(owner), "__module__", "")
    return module.split(".")[0] in ("random", "_random") or module.startswith("numpy.random")


def watched_call(call: Callable[[], Any]) -> Sighting:
    """Call a function, recording, and return what was seen of it.

    Raises `CannotCompileError` where it does something that cannot be replayed.
    """
    seen = Sighting()
    before = sys.getprofile()
    if before is not None and not callable(before):  # one written in C, which could not be put back
        raise CannotCompileError("a profiler is running")
    with modes.unwatched(), modes.recorded(), modes.watched(seen):
        sys.setprofile(seen.profile)
        try:
            seen.result = call()
        except _StoppedError as error:
            raise CannotCompileError(str(error)) from None
        finally:
            sys.setprofile(before)
    return seen
