"""`compile`: a recorded graph replayed as straight-line Python, value and gradient."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from ...errors import GradvizTypeError
from .. import modes
from ..functional import grad, value_and_grad
from ..sites import where
from ..trees import filled
from .cases import Case
from .node import returned
from .replays import Doubt, Found, Replays
from .text import MISSED

__all__ = ["Compiled", "compile"]

NOBODY = modes.Mode()
FLOATS = {float}


def compile(f: Callable[..., Any]) -> Compiled:
    """Return ``f`` compiled: it is recorded once, and from then on straight-line code is run in its place.

    The compiled function is called like ``f`` and returns what ``f`` returns. Called with Tensors, or closing
    over Tensors as a module's parameters, it returns a Tensor whose ``backward()`` takes the gradients
    that the code has computed. Called with numbers and arrays it returns numbers. For gradients by
    numbers compose it with `grad` and `value_and_grad`, in either order:
    ``value_and_grad(compile(f))`` and ``compile(value_and_grad(f))`` are the same function.

    The code is good for one structure. It is checked against the engine when it is made: equal, but for the
    sign of a zero and the last bit of a sine or cosine of single numbers. ``f`` is recorded again when the
    shapes or dtypes of arguments change, when ``if``, ``float()`` or ``.item()`` get another answer from a Tensor
    than before, or when globals, closures and attributes that ``f`` reads have changed. Arguments that are no floats,
    arrays or Tensors (an ``int``, a ``str``) are part of the structure. What cannot be replayed, random
    numbers above all, is left to the engine, with a `GradvizWarning` that says why.

    What ``f`` prints, and other things it does besides computing, is done only while it is recorded.

    >>> import gradviz
    >>> def loss(w, x): return (w * x - 1.0) ** 2
    >>> fast = gradviz.compile(loss)
    >>> fast(2.0, 3.0)
    25.0
    >>> gradviz.value_and_grad(fast)(2.0, 3.0)
    (25.0, 30.0)
    >>> w = gradviz.Tensor(2.0)
    >>> fast(w, 3.0).backward()
    >>> w.grad
    30.0
    """
    if isinstance(f, Compiled):
        return f
    made = getattr(f, "differentiated", None)
    if made is not None:
        inner, argnum, what = made
        return compile(inner).gradient_function(argnum, what)
    if not callable(f):
        raise GradvizTypeError(f"compile needs a function, not a {type(f).__name__}", where=where())
    return Compiled(f)


class Compiled:
    """A function that is replayed; `compile` makes it.

    ``source`` is the text of the code that ran last, ``recordings`` how often the function was recorded.
    """

    def __init__(self, f: Callable[..., Any], chosen: Any = None, what: str = "") -> None:
        functools.update_wrapper(self, f, updated=())
        self._f = f
        self._what = what
        self._chosen = chosen
        self._several = isinstance(chosen, tuple)
        self._argnums: tuple[int, ...] = chosen if self._several else (chosen,)
        self._is_rising = bool(what) and all(0 <= a < b for a, b in pairwise((*self._argnums, math.inf)))
        name = str(getattr(f, "__name__", type(f).__name__))[:60]
        title = name if name.isprintable() else ascii(name)
        self._replays = Replays(f, self._argnums if what else None, title, what)
        self._made: dict[Any, Compiled] = {}
        self._quick: dict[int, Case] = {}  # by the number of floats

    @property
    def source(self) -> str:
        """The text of the code that ran last; "" before the first call."""
        case = self._replays.latest
        return case.source if case is not None else ""

    @property
    def recordings(self) -> int:
        """How often the function was recorded."""
        return self._replays.recordings

    def __repr__(self) -> str:
        return f"<compiled {self._replays.title}, recorded {self.recordings} times>"

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Return the method of an object, if a method was compiled."""
        return self if instance is None else functools.partial(self, instance)

    def gradient_function(self, argnum: int | tuple[int, ...], what: str) -> Compiled:
        """Return the compiled gradient of the function, or its value and gradient."""
        key = (argnum, what)
        if key not in self._made:
            self._made[key] = Compiled(self._f, argnum, what)
        return self._made[key]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute what the function computes."""
        return self._gradients(args, kwargs) if self._what else self._value(args, kwargs)

    def _value(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        now = modes.mode() if modes.active else NOBODY
        if now.watchers:  # a debugger wants to see every node, another `compile` has to
            return self._f(*args, **kwargs)
        recording = now.recording
        found = self._replays.found(args, kwargs, _with_gradients if recording else _value_alone)
        if not isinstance(found, Found):
            return self._by_engine(self._f, found, args, kwargs)
        return returned(self._f, found, args, kwargs, recording)

    def _gradients(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not kwargs and not modes.active and set(map(type, args)) == FLOATS:
            result = self._of_floats(args)
            if result is not MISSED:
                return result
        found: Found | Doubt | None = None
        if not (modes.active and modes.mode().watchers):
            found = self._replays.found(args, kwargs, self._asked)
        if not isinstance(found, Found):
            engine = value_and_grad if self._what == "both" else grad
            return self._by_engine(engine(self._f, self._chosen), found, args, kwargs)
        return self._arranged(found, args)

    def _of_floats(self, args: tuple[Any, ...]) -> Any:
        """Return what the case that was used last for so many floats gives, or MISSED: the shortest way there is."""
        case = self._quick.get(len(args))
        if case is None or not case.around.hold():
            return MISSED
        try:
            result = case.function(self._what)(*case.pick(args))
        except Exception:
            return MISSED
        if result is MISSED:
            return MISSED
        if self._what == "both":
            return result[0], result[1:] if self._several else result[1]
        return result if self._several else result[0]

    def _by_engine(
        self, f: Callable[..., Any], doubt: Doubt | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call a function itself; if it does what it could not do while it was watched, do not watch it again."""
        result = f(*args, **kwargs)
        if doubt is not None:
            self._replays.refuse(doubt.reason, doubt.known)
        return result

    def _arranged(self, found: Found, args: tuple[Any, ...]) -> Any:
        """Return the value and the gradient, or the gradient alone, in the form of the arguments."""
        case, _, result, given, _ = found
        is_both = self._what == "both"
        gradients = result[1:] if is_both else result
        if not case.is_whole:
            gradients = self._filled_up(found, gradients, args)
        if given.chosen is None and self._is_rising and case.is_whole and case.pick is not None:
            self._quick[len(args)] = case
        gradient = gradients if given.chosen is None and self._is_rising else self._in_form(gradients, args)
        if not self._several:
            (gradient,) = gradient
        return (result[0], gradient) if is_both else gradient

    def _filled_up(self, found: Found, gradients: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return a gradient for every number that was chosen: 0 where none arrives."""
        case, given = found.case, found.given
        at = {case.sources[i]: c for i, c in zip(case.wanted, gradients, strict=True)}
        marks = self._replays.marks(args, given)
        pairs = enumerate(zip(given.values, marks, strict=True))
        return tuple(_gradient(at.get(i), x) for i, (x, chosen) in pairs if chosen)

    def _in_form(self, gradients: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return one gradient for each argument number, in the form of that argument."""
        supply = iter(gradients)
        numbers = [n % len(args) for n in self._argnums]
        forms = {n: filled(args[n], supply) for n in sorted(set(numbers))}
        return tuple(forms[n] for n in numbers)

    def _asked(self, case: Case) -> str:
        return self._what


def _with_gradients(case: Case) -> str:
    """Choose the function for a call whose result may be differentiated."""
    return "both" if case.wanted and case.root.wants and case.root.dtype is None else "value"


def _value_alone(case: Case) -> str:
    return "value"


def _gradient(found: Any, x: Any) -> Any:
    """Return a gradient as the engine gives it: 0 where nothing arrives."""
    if found is not None:
        return found
    return 0.0 if x.__class__ is float else np.zeros_like(x)
