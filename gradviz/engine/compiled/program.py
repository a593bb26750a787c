"""A straight-line program: every name assigned once, common steps shared, unneeded ones left out.

A step is a template with a place for each operand, such as ``{} * {}``: its text comes from this package
alone. Names are numbers here; `text` gives them short ones, again and again, as values die.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["FLOAT", "Kind", "Program", "Step", "broadcast"]


class Kind(NamedTuple):
    """What a name holds: a Python float where ``dtype`` is None, else an array."""

    shape: tuple[int, ...] = ()
    dtype: Any = None

    @property
    def is_float(self) -> bool:
        """Whether it is a Python float."""
        return self.dtype is None


FLOAT = Kind()


class Step(NamedTuple):
    """One assignment."""

    template: str
    args: tuple[int, ...]
    kind: Kind
    fresh: bool  # an array of its own, which a later step may overwrite
    keeps: bool  # the result may share memory with its operands
    check: bool = False  # no value, but a question: the program gives up where it is answered otherwise


UNARY = (
    *("exp", "log", "sqrt", "sin", "cos", "tanh", "tan", "sinh", "cosh"),
    *("log1p", "expm1", "absolute", "square"),
)
# What can write its result over an operand that nobody needs any more.
UFUNCS = {
    "{} + {}": "np.add",
    "{} - {}": "np.subtract",
    "{} * {}": "np.multiply",
    "{} / {}": "np.divide",
    "-{}": "np.negative",
    **{f"np.{name}({{}})": f"np.{name}" for name in UNARY},
}
PLAIN_FOLDS: dict[str, Callable[..., float]] = {
    "{} + {}": lambda a, b: a + b,
    "{} - {}": lambda a, b: a - b,
    "{} * {}": lambda a, b: a * b,
    "{} / {}": lambda a, b: a / b if b else math.nan,
    "-{}": lambda a: -a,
}


def broadcast(*kinds: Kind) -> Kind:
    """Return what an elementwise function makes of operands of these kinds.

    >>> import numpy as np
    >>> broadcast(FLOAT, Kind((3,), np.dtype("float32")))
    Kind(shape=(3,), dtype=dtype('float32'))
    """
    if all(kind.dtype is None for kind in kinds):
        return FLOAT
    first = kinds[0]
    if first.dtype is not None and first.dtype.kind == "f" and all(k.dtype is None or k == first for k in kinds):
        return first
    dtype = np.result_type(*(0.0 if kind.dtype is None else kind.dtype for kind in kinds))
    return Kind(np.broadcast_shapes(*(kind.shape for kind in kinds)), dtype)


class Program:
    """Steps, the literals and inputs they start from, and the objects that their text names."""

    def __init__(self) -> None:
        self.kinds: list[Kind] = []
        self.literals: dict[int, float] = {}
        self.inputs: list[int] = []
        self.steps: dict[int, Step] = {}
        self.bound: dict[str, Any] = {}
        self._literal_names: dict[tuple[str, float], int] = {}
        self._made: dict[tuple[str, tuple[int, ...]], int] = {}
        self._bound_names: dict[int, str] = {}

    def _name(self, kind: Kind) -> int:
        self.kinds.append(kind)
        return len(self.kinds) - 1

    def input(self, kind: Kind) -> int:
        """Return the name of another argument."""
        name = self._name(kind)
        self.inputs.append(name)
        return name

    def literal(self, value: float) -> int:
        """Return the name of a number."""
        key = (value.hex(), value)  # -0.0 is another number than 0.0
        if key not in self._literal_names:
            self._literal_names[key] = name = self._name(FLOAT)
            self.literals[name] = value
        return self._literal_names[key]

    def constant(self, value: Any, kind: Kind) -> int:
        """Return the name of an array, or another object, that belongs to the program."""
        return self.step(self.bind(value), (), kind)

    def bind(self, value: Any) -> str:
        """Return the text that stands for an object."""
        known = self._bound_names.get(id(value))
        if known is None:
            known = self._bound_names[id(value)] = f"k{len(self.bound)}"
            self.bound[known] = value
        return known

    def step(
        self,
        template: str,
        args: tuple[int, ...],
        kind: Kind,
        *,
        fresh: bool = False,
        keeps: bool = False,
        check: bool = False,
    ) -> int:
        """Return the name of what a step makes: an old one, if the same step was made before."""
        if kind.dtype is None and not check:
            folded = self._folded(template, args)
            if folded is not None:
                return folded
        key = (template, args)
        name = self._made.get(key)
        if name is None:
            name = self._made[key] = self._name(kind)
            self.steps[name] = Step(template, args, kind, fresh, keeps, check)
        return name

    def _folded(self, template: str, args: tuple[int, ...]) -> int | None:
        """Return the result of a step on floats that needs no computing, bit by bit the same."""
        literals = self.literals
        if template == "{} * {}":
            a, b = args
            if literals.get(a) == 1.0:
                return b
            if literals.get(b) == 1.0:
                return a
        fold = PLAIN_FOLDS.get(template)
        if fold is not None and all(a in literals for a in args):
            value = fold(*(literals[a] for a in args))
            return self.literal(value) if math.isfinite(value) else None
        return None

    def binary(self, sign: str, a: int, b: int) -> int:
        """Return the name of ``a sign b``, elementwise."""
        if sign == "*" and self.kinds[a].dtype is None and self.literals.get(a) == 1.0:
            return b if self.kinds[b].dtype is None or self.kinds[b].dtype.kind == "f" else self._binary(sign, a, b)
        return self._without_signs(sign, a, b)

    def _without_signs(self, sign: str, a: int, b: int) -> int:
        """Take the signs out of the operands: ``x + -y`` is ``x - y`` to the last bit, and one pass less."""
        x, y = self.negated(a), self.negated(b)
        if x is None and y is None:
            return self._binary(sign, a, b)
        if sign in "*/":
            made = self.binary(sign, a if x is None else x, b if y is None else y)
            return self.negative(made) if (x is None) != (y is None) else made
        if y is not None:
            return self.binary("-" if sign == "+" else "+", a, y)
        return self.binary("-", b, x) if sign == "+" and x is not None else self._binary(sign, a, b)

    def negated(self, a: int) -> int | None:
        """Return what a name is the negative of, if it is an array that was made so."""
        step = self.steps.get(a)
        return step.args[0] if step is not None and step.template == "-{}" and step.kind.dtype is not None else None

    def _binary(self, sign: str, a: int, b: int) -> int:
        kind = broadcast(self.kinds[a], self.kinds[b])
        return self.step(f"{{}} {sign} {{}}", (a, b), kind, fresh=True)

    def negative(self, a: int) -> int:
        """Return the name of ``-a``."""
        inner = self.negated(a)
        if inner is not None:
            return inner
        return self.step("-{}", (a,), self.kinds[a], fresh=True)

    def needed(self, outputs: Sequence[int]) -> list[int]:
        """Return the steps that the outputs and the checks come from, in order."""
        steps = self.steps
        wanted = set(outputs)
        found = []
        for name in reversed(steps):
            step = steps[name]
            if name in wanted or step.check:
                wanted.update(step.args)
                found.append(name)
        found.reverse()
        return found
