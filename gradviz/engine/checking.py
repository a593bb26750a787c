"""`gradcheck`: three ways to one gradient, beside each other.

The gradient of a function by automatic differentiation, by finite differences and by hand, for
every input; and for every node of its graph the rule of its op beside finite differences of
what the op computes, so that a wrong rule is found by name and line.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import GradientError, GradvizTypeError, GradvizValueError, ShapeError, UnknownNameError
from .differences import lines, plain_copy, step_at
from .functional import grad
from .leaves import value_of
from .modes import no_grad
from .nodecheck import check_nodes
from .sites import where
from .tensor import Tensor, constant_of
from .verdicts import Row, agree, compare, table


@dataclass(frozen=True, slots=True)
class GradcheckReport:
    """What `gradcheck` found: ``ok``, a `Row` per input and per node, and a table as text."""

    name: str
    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        """Whether everything agrees."""
        return all(row.ok for row in self.rows)

    @property
    def wrong(self) -> tuple[Row, ...]:
        """The rows that do not agree."""
        return tuple(row for row in self.rows if not row.ok)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        return "\n".join([self._summary(), "", *table(self.rows)])

    __repr__ = __str__

    def _summary(self) -> str:
        inputs = [row for row in self.rows if row.kind == "input"]
        nodes = len(self.rows) - len(inputs)
        counts = f"{len(inputs)} input{'s' * (len(inputs) != 1)}, {nodes} operand{'s' * (nodes != 1)} of nodes"
        if self.ok:
            return f"gradcheck of {self.name}: all agree ({counts})"
        return "\n".join(
            [f"gradcheck of {self.name}: {len(self.wrong)} WRONG ({counts})", *(row.complaint() for row in self.wrong)]
        )

    def raise_if_wrong(self) -> None:
        """Raise `GradientError` with the whole table if anything does not agree."""
        if not self.ok:
            raise GradientError(str(self), where=where())


def gradcheck(
    f: Callable[..., Any],
    inputs: Any,
    *,
    formula: Callable[..., Any] | Mapping[str, Callable[..., Any]] | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    eps: float | None = None,
) -> GradcheckReport:
    """Compare the gradient of ``f`` with finite differences and, if given, with a formula found by hand.

    ``inputs`` is one number, array or Tensor, a list or tuple of such (``f(*inputs)``) or a dict
    (``f(**inputs)``). An array result is weighted with fixed random numbers and summed.
    ``formula`` takes what ``f`` takes and returns its gradient (for several inputs a sequence or
    a dict), or is a dict of one such function for each input. Two gradients agree if they differ
    by no more than ``atol + rtol`` times the largest element of either, plus what rounding can do
    to a finite difference. At a kink, where the slopes of the two sides differ, any slope between
    them is right. Everything is computed in float64 and no ``grad`` is touched.

    Raises `GradvizValueError` if ``f`` gives two values for the same inputs.

    >>> report = gradcheck(lambda x, y: x * y, {"x": 2.0, "y": 3.0}, formula=lambda x, y: (y, x))
    >>> report.ok, [row.by_hand for row in report.rows[:2]]
    (True, [3.0, 2.0])
    """
    check = _Check(f, inputs, rtol, atol, eps)
    rows = [*check.inputs(_by_hand(formula, check)), *check.nodes()]
    return GradcheckReport(check.name, tuple(rows))


class _Check:
    """The function under test, its inputs by name, and what it gives for them."""

    def __init__(self, f: Callable[..., Any], inputs: Any, rtol: float, atol: float, eps: float | None) -> None:
        self.f = f
        self.name = getattr(f, "__name__", type(f).__name__)
        self.rtol, self.atol, self.eps = rtol, atol, eps
        self.keywords = isinstance(inputs, Mapping)
        given = inputs if isinstance(inputs, Mapping | list | tuple) else [inputs]
        self.values = [plain_copy(x) for x in (given.values() if isinstance(given, Mapping) else given)]
        if not any(np.asarray(value).dtype.kind == "f" for value in self.values):
            raise GradvizTypeError(
                f"gradcheck of {self.name} got nothing to differentiate by",
                where=where(),
                hint="give a number or a floating-point array; an array of integers counts as labels or indices",
            )
        self.names = list(map(str, given)) if isinstance(given, Mapping) else _names(f, given)
        self.rng = np.random.default_rng(0)
        with np.errstate(all="ignore"):
            self.result = self.call([Tensor(v, requires_grad=_real(v)) for v in self.values])
        shape = np.shape(value_of(self.result) if isinstance(self.result, Tensor) else self.result)
        self.weights: Any = self.rng.uniform(0.5, 1.5, shape) * self.rng.choice([-1.0, 1.0], shape) if shape else None

    def call(self, values: Sequence[Any]) -> Any:
        """Call ``f`` with one value for each input."""
        if self.keywords:
            return self.f(**dict(zip(self.names, values, strict=True)))
        return self.f(*values)

    def total(self, values: Sequence[Any]) -> Any:
        """Return the weighted sum of what ``f`` returns."""
        y = self.call(values)
        return y if self.weights is None else (y * self.weights).sum()

    def at(self, values: Sequence[Any]) -> float:
        """Return the weighted sum as a float, computed on constants."""
        y = self.total([constant_of(v) for v in values])
        return float(value_of(y) if isinstance(y, Tensor) else y)

    def autograd(self) -> tuple[list[Any], str]:
        """Return the gradient by every input, and the error that stopped it, if one did."""
        wanted = [i for i, v in enumerate(self.values) if _real(v)]

        def total(chosen: list[Any]) -> Any:
            values = list(self.values)
            for i, x in zip(wanted, chosen, strict=True):
                values[i] = x
            return self.total(values)

        # without recording outside, the tensors that f closes over do not matter
        with no_grad(), np.errstate(all="ignore"):
            try:
                found = grad(total)([self.values[i] for i in wanted])
            except Exception as error:
                return [None] * len(self.values), f"autograd raised {type(error).__name__}: {_first_line(error)}"
        by_number = dict(zip(wanted, found, strict=True))
        return [by_number.get(i) for i in range(len(self.values))], ""

    def inputs(self, by_hand: list[Any]) -> Iterator[Row]:
        """Yield the comparison for every input that is not of integers."""
        with no_grad():
            middle, again = self.at(self.values), self.at(self.values)
        if not agree(middle, again, 0.0):
            raise GradvizValueError(
                f"{self.name} gave {middle} and then {again} for the same inputs",
                where=where(),
                hint="fix the seed of its random numbers",
            )
        found, error = self.autograd()
        for position, value in enumerate(self.values):
            if _real(value):
                yield self._input(position, found[position], by_hand[position], middle, error)

    def _input(self, position: int, found: Any, by_hand: Any, middle: float, error: str) -> Row:
        value = self.values[position]
        numerical = np.zeros(np.shape(value))
        right, notes = np.ones(np.shape(value), bool), []
        tolerance = self.atol + self.rtol * _largest(found, by_hand)
        for index, x, line in lines(self.at, self.values, position):
            h = step_at(x, self.eps)
            here = np.nan if found is None else float(np.asarray(found)[index])
            around, ok, note = compare(here, line, x, h, middle, max(tolerance, self.rtol * abs(here)))
            numerical[index], right[index] = around.central, ok and found is not None
            if by_hand is not None and not note:
                hand = float(np.asarray(by_hand)[index])
                right[index] &= agree(hand, around.central, tolerance + around.noise) or agree(hand, here, tolerance)
            notes += [note] if note else []
        return _row(self.names[position], value, found, numerical, by_hand, right, error or "; ".join(notes[:1]))

    def nodes(self) -> Iterator[Row]:
        """Yield the comparison for every operand of every node."""
        if isinstance(self.result, Tensor) and self.result.requires_grad:
            yield from check_nodes(self.result, self.rng, self.rtol, self.atol)


def _row(name: str, value: Any, found: Any, numerical: np.ndarray, by_hand: Any, right: np.ndarray, note: str) -> Row:
    apart = np.zeros(numerical.shape)
    with np.errstate(all="ignore"):
        for way in (found, by_hand):
            if way is not None:
                apart = np.maximum(apart, np.where(way == numerical, 0.0, np.abs(way - numerical)))
    index = _worst(apart, right)
    scalar = not np.ndim(value)
    return Row(
        kind="input", name=name, shape=np.shape(value), autograd=found, by_hand=by_hand, index=index, note=note,
        numerical=float(numerical) if scalar else numerical, ok=bool(np.all(right)),
        difference=float(apart[index]) if apart.size else 0.0,
    )  # fmt: skip


def _worst(apart: np.ndarray, right: np.ndarray) -> tuple[int, ...]:
    """Return the index of the element to show: of the wrong ones, if there are any, the farthest off."""
    if not apart.ndim or not apart.size:
        return ()
    doubt = np.where(right & ~np.all(right), -1.0, np.nan_to_num(apart, nan=np.inf))
    return tuple(map(int, np.unravel_index(np.argmax(doubt), doubt.shape)))


def _names(f: Callable[..., Any], given: Sequence[Any]) -> list[str]:
    """Return the names of the inputs: of the Tensors, else of the parameters of ``f``, else by number."""
    positional = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    try:
        parameters = [p.name for p in inspect.signature(f).parameters.values() if p.kind in positional]
    except (TypeError, ValueError):
        parameters = []
    own = [x.name if isinstance(x, Tensor) else None for x in given]
    return [name or (parameters[i] if i < len(parameters) else f"input {i}") for i, name in enumerate(own)]


def _by_hand(formula: Any, check: _Check) -> list[Any]:
    """Return what the formula gives for each input, None where it says nothing."""
    if formula is None:
        return [None] * len(check.names)
    if isinstance(formula, Mapping):
        unknown = [str(name) for name in formula if name not in check.names]
        if unknown:
            raise UnknownNameError.among("input", unknown[0], check.names)
        given: Any = {name: _called(one, check) for name, one in formula.items()}
    else:
        given = _called(formula, check)
    if not isinstance(given, Mapping):
        given = dict(zip(check.names, given if len(check.names) > 1 else [given], strict=True))
    pairs = zip(check.names, check.values, strict=True)
    return [None if given.get(name) is None else _fitting(given[name], name, value) for name, value in pairs]


def _called(formula: Callable[..., Any], check: _Check) -> Any:
    values = [v if v.__class__ is float else v.copy() for v in check.values]
    return formula(**dict(zip(check.names, values, strict=True))) if check.keywords else formula(*values)


def _fitting(gradient: Any, name: str, value: Any) -> Any:
    plain = np.asarray(value_of(gradient) if isinstance(gradient, Tensor) else gradient, np.float64)
    if plain.shape != np.shape(value):
        raise ShapeError(
            f"the formula for {name} gives shape {plain.shape}, but {name} has shape {np.shape(value)}", where=where()
        )
    return plain if plain.ndim else float(plain)


def _real(value: Any) -> bool:
    return value.__class__ is float or value.dtype.kind == "f"


def _largest(*gradients: Any) -> float:
    known = [np.abs(np.asarray(g, np.float64)) for g in gradients if g is not None and np.size(g)]
    return max((float(np.max(g[np.isfinite(g)], initial=0.0)) for g in known), default=0.0)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
