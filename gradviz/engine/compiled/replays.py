"""Replays: which program fits a call; a new one is recorded where none does."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...errors import warn
from .. import modes
from ..admit import admit
from ..tensor import Constant, Tensor, constant_of
from .arguments import Arguments, placed, taken_apart
from .cases import Case, checked_case
from .randomness import before_calling
from .surroundings import surroundings_of
from .tape import value_now
from .text import MISSED
from .watching import CannotCompileError, RaisedError, Sighting, watched_call

__all__ = ["Doubt", "Found", "Replays"]

CASES = 8  # structures kept for arguments of one kind
KINDS = 64  # kinds of arguments kept
RECORDINGS = 32  # of one kind of arguments: then recording costs more than replaying saves
Choose = Callable[[Case], str]


class Found(NamedTuple):
    """The case that fits a call, which of its functions was run, and on what."""

    case: Case
    what: str
    result: tuple[Any, ...]
    given: Arguments
    inputs: Sequence[Any]


class Doubt(NamedTuple):
    """A function raised while it was watched: if the engine can compute it, the reason holds for these arguments."""

    reason: str
    known: Any


class _Known:
    """The cases for one kind of arguments, the latest used first."""

    def __init__(self) -> None:
        self.cases: list[Case] = []
        self.recordings = 0
        self.refusal = ""


class Replays:
    """The programs of one function, for gradients by the arguments ``chosen`` or by Tensors."""

    def __init__(self, f: Callable[..., Any], chosen: tuple[int, ...] | None, title: str, what: str = "") -> None:
        self.f = f
        self.what = what
        self.chosen = chosen
        self.title = title
        self.recordings = 0
        self.latest: Case | None = None  # the one that was found last
        self._known: OrderedDict[Any, _Known] = OrderedDict()
        self._lock = threading.RLock()
        self._told: set[str] = set()
        self._numbers_of: dict[int, frozenset[int]] = {}

    def found(self, args: tuple[Any, ...], kwargs: dict[str, Any], choose: Choose) -> Found | Doubt | None:
        """Return the case that fits and the result of the function ``choose`` names; the rest is left to the engine."""
        try:
            given = taken_apart(args, kwargs, self._numbers(args))
            if self.chosen is not None and given.chosen is not None:
                _refuse_tensors(given)
            known = self._known.get(given.key)
        except (CannotCompileError, TypeError) as error:
            self.refuse(str(error))
            return None
        if known is None:
            known = self._another(given.key)
        if known is None or known.refusal:
            return None
        for case in known.cases:
            if case.around.hold():
                inputs = case.inputs(given.values)
                what = choose(case)
                try:
                    result = case.function(what)(*inputs)
                except Exception:
                    return None
                if result is not MISSED:
                    self.latest = case
                    if case is not known.cases[0]:
                        known.cases = [case, *(c for c in known.cases if c is not case)]
                    return Found(case, what, result, given, inputs)
        return self._recorded(known, given, args, kwargs, choose)

    def _numbers(self, args: tuple[Any, ...]) -> frozenset[int]:
        """Return the numbers of the chosen arguments, counted from the first."""
        count = len(args)
        known = self._numbers_of.get(count)
        if known is None:
            known = self._numbers_of[count] = frozenset(n % count for n in self.chosen or () if -count <= n < count)
        return known

    def _another(self, key: Any) -> _Known | None:
        with self._lock:
            known = self._known.get(key)
            if known is None:
                if len(self._known) >= KINDS:
                    self._known.popitem(last=False)
                known = self._known[key] = _Known()
            return known

    # -- recording ------------------------------------------------------------------------------

    def _recorded(
        self, known: _Known, given: Arguments, args: tuple[Any, ...], kwargs: dict[str, Any], choose: Choose
    ) -> Found | Doubt | None:
        """Record the function on these arguments, and run its program."""
        before = known.cases
        with self._lock:
            if known.cases is not before:  # another thread has recorded meanwhile
                return self.found(args, kwargs, choose)
            if known.recordings >= RECORDINGS or self.recordings >= 4 * RECORDINGS + KINDS:
                self.refuse(_changing(known), known)
                return None
            try:
                with modes.gc_paused():
                    case = self._case(given, args, kwargs)
            except RaisedError as error:
                return Doubt(error.message, known)
            except CannotCompileError as error:
                self.refuse(error.message, known)
                return None
            known.recordings += 1
            self.recordings += 1
            known.cases = [case, *known.cases[: CASES - 1]]
            self.latest = case
        inputs = case.inputs(given.values)
        what = choose(case)
        result = case.function(what)(*inputs)
        return None if result is MISSED else Found(case, what, result, given, inputs)

    def _case(self, given: Arguments, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Case:
        wanted = None if self.chosen is None else self.marks(args, given)
        stands = self._stands(given, wanted)
        f = self.f
        new_args, new_kwargs = placed(args, kwargs, self._numbers(args), stands)
        before = before_calling(f, given.others)
        try:
            seen = watched_call(lambda: f(*new_args, **new_kwargs))
        except CannotCompileError:
            before.put_back()
            raise
        except Exception as error:  # the engine, called with the arguments themselves, says it again or works
            before.put_back()
            text = str(error).splitlines()[0] if str(error) else ""
            raise RaisedError(f"with Tensors as arguments it raises {type(error).__name__}: {text}") from None
        if before.put_back():
            raise CannotCompileError("it draws random numbers; draw them outside and pass them as an argument")
        if before.around.numbers_changed():
            raise CannotCompileError("it changes numbers outside of it: a variable, an attribute, an array")
        result = _result(seen)
        around = surroundings_of(f, seen.codes, given.others)
        around.let_go_of_what_changed(before.around)
        return checked_case(seen, result, stands, wanted, around, self.title, self._checked_as(result))

    def refuse(self, reason: str, known: _Known | None = None) -> None:
        """Say, once, why the engine does it; ``known`` arguments are not tried again."""
        if known is not None:
            known.refusal = reason
            known.cases = []
        if reason not in self._told:
            self._told.add(reason)
            warn(f"compile({self.title}) leaves it to the engine: {reason}")

    def _checked_as(self, result: Tensor) -> str:
        """Return which function of a new case is to be checked: with gradients, wherever there are any."""
        if self.chosen is not None:
            if result.size != 1:
                raise CannotCompileError(f"it returns shape {result.shape}, and a gradient needs a scalar")
            return self.what
        if not result.requires_grad:
            return "value"
        return "both" if value_now(result).__class__ is float else "seeded"

    def marks(self, args: tuple[Any, ...], given: Arguments) -> list[bool]:
        """Tell of each value whether the gradient by it is wanted."""
        if given.chosen is not None:
            return given.chosen  # type: ignore[no-any-return]
        numbers = self._numbers(args)
        return [i in numbers for i in range(len(args))]

    def _stands(self, given: Arguments, wanted: list[bool] | None) -> list[Tensor]:
        """Return a leaf for every value among the arguments."""
        stands = []
        for i, (value, t) in enumerate(zip(given.values, given.tensors, strict=True)):
            wants = wanted[i] if wanted is not None else t is not None and t._makes is not Constant
            stands.append(Tensor(value) if wants else constant_of(admit(value)))
        return stands


def _refuse_tensors(given: Arguments) -> None:
    """Refuse Tensors that require a gradient where gradients are to be numbers."""
    if any(t is not None and t._makes is not Constant for t in given.tensors) and modes.mode().recording:
        raise CannotCompileError(
            "an argument is a Tensor that requires a gradient, so the gradient has to be one too; "
            "pass numbers (w.data), or call it under no_grad()"
        )


def _changing(known: _Known) -> str:
    """Say why a function was recorded again and again."""
    if not known.recordings:
        return "it met too many kinds of arguments; numbers that change are to be floats, not ints"
    places = sorted({line.data.where for case in known.cases for line in case.asked})
    why = f": it looks at numbers ({', '.join(places[:3])})" if places else ""
    return f"it had to be recorded {known.recordings} times{why}; pass what changes as an argument"


def _result(seen: Sighting) -> Tensor:
    """Return the result of what was watched, as a Tensor."""
    given = seen.result
    if isinstance(given, Tensor):
        return given
    if given.__class__ in (float, int) or isinstance(given, np.ndarray | np.generic):
        return constant_of(admit(given, what="result"))
    raise CannotCompileError(f"it returns a {type(given).__name__}, not one number, array or Tensor")
