"""One node for a whole compiled function: its value is there, its gradients come from the same code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import modes
from ..admit import admit
from ..cotangents import give
from ..functional import _recorded_pass
from ..leaves import next_key
from ..recording import _constant, finish
from ..sites import OFFSET_MASK, caller
from ..tensor import Constant, Result, Tensor, constant_of
from .arguments import placed
from .cases import Case
from .replays import Found
from .tape import value_now

__all__ = ["Replay", "returned"]


class Replay:
    """The op of a node that a compiled function made."""

    name = "compiled"
    symbol = "compiled"
    formulas = ()
    elementwise = False
    variadic = True
    samples = scalar = None
    reference = ""
    summary = "What a compiled function computes."
    __slots__ = ("_again", "_gradients", "_inputs", "_last", "case")

    def __init__(
        self, case: Case, inputs: list[Any], gradients: Sequence[Any] | None, again: Callable[..., Any]
    ) -> None:
        self.case = case
        self._inputs = inputs
        self._gradients = gradients  # for the gradient 1 of the result, until somebody takes them
        self._again = again
        self._last: tuple[Any, Any] = (None, None)

    @property
    def op(self) -> Replay:
        """The op itself, as a form has one."""
        return self

    def forward(self, *inputs: Any) -> Any:
        """Compute the value on other numbers."""
        return self.case.function("value")(*inputs)[0]

    def _all(self, g: Any, inputs: Sequence[Any]) -> list[Any]:
        """Return the gradient by every input for the gradient ``g`` of the result."""
        found: list[Any] = [None] * len(inputs)
        for i, c in zip(self.case.wanted, self.case.function("seeded")(*inputs, g)[1:], strict=True):
            found[i] = c
        return found

    def pull(self, node: Tensor, g: Any) -> None:
        """Send the gradient of the node on to its operands."""
        if g.__class__ is float and g == 1.0 and self._gradients is not None:
            wanted, gradients = self.case.wanted, self._gradients
            self._gradients = None
        else:
            everything = self._all(g, self._inputs)
            wanted, gradients = self.case.wanted, [everything[i] for i in self.case.wanted]
        operands = node._a
        for i, c in zip(wanted, gradients, strict=True):
            if c is not None and operands[i]._makes is not Constant:
                give(operands[i], c)

    def vjp(self, arg: int) -> Any:
        """Return the rule for operand ``arg``; on Tensors it is the engine's, which can be differentiated again."""
        if arg not in self.case.wanted:
            return None

        def rule(g: Any, y: Any, *operands: Any, **attrs: Any) -> Any:
            if isinstance(g, Tensor):
                if self._last[0] is not g:
                    result = self._again(operands)
                    self._last = g, _recorded_pass(result, g, list(operands))
                return self._last[1][arg]
            return self._all(g, operands)[arg]

        return rule


def returned(
    f: Callable[..., Any], found: Found, args: tuple[Any, ...], kwargs: dict[str, Any], recording: bool
) -> Any:
    """Return what a compiled function returns: numbers, or a Tensor if Tensors took part."""
    case, what, result, given, inputs = found
    value = result[0]
    sources = case.sources
    if case.gives_numbers and all(t is None for t in given.tensors):
        return value
    if value.__class__ is np.ndarray:
        value.setflags(write=False)
    if not (recording and case.wanted and case.root.wants):
        return constant_of(value)
    operands = tuple(_operand(s, given, inputs[i]) for i, s in enumerate(sources))

    def again(tensors: Sequence[Tensor]) -> Any:
        stands = [constant_of(admit(v)) for v in given.values]
        for s, t in zip(sources, tensors, strict=True):
            if s.__class__ is int:
                stands[s] = t
        new_args, new_kwargs = placed(args, kwargs, frozenset(), stands)
        return f(*new_args, **new_kwargs)

    out: Any = Result()
    out._data = value
    out._op = Replay(case, [value_now(t) for t in operands], result[1:] if what == "both" else None, again)
    out._a = operands
    out._b = None
    frame = caller()
    out._code = frame.f_code
    out._key = next_key() + (frame.f_lasti & OFFSET_MASK)
    out._grad = out._extra = None
    if modes.active:
        finish(out)
    return out


def _operand(source: Any, given: Any, value: Any) -> Tensor:
    """Return the Tensor an input came from; a number becomes a constant."""
    if source.__class__ is not int:
        return source  # type: ignore[no-any-return]
    t = given.tensors[source]
    return t if t is not None else _constant(admit(value), None)
