"""A case: the program of one structure, checked against the engine before it is used."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from ..functional import _plain_pass
from ..tensor import Constant, Tensor
from .surroundings import Surroundings
from .tape import Tape, taped, value_now
from .text import MISSED, function_of
from .watching import CannotCompileError, Sighting
from .writing import Written, written

__all__ = ["LINES_LIMIT", "Case", "checked_case"]

LINES_LIMIT = 500_000  # of a tape; Python takes some 6 KB and 40 us a line to compile the program
ROUNDING = 1e-12  # relative to the largest element: `math` and NumPy may differ in the last bit of a cosine


class Case:
    """One structure: its functions, and where their arguments come from.

    ``sources`` holds for every argument the number of a value among the call's arguments, or a Tensor that
    the function closes over; ``wanted`` the positions whose gradient is asked for.
    """

    def __init__(self, tape: Tape, sources: list[Any], wanted: list[int], around: Surroundings, title: str) -> None:
        self.sources = sources
        self.wanted = wanted
        self.around = around
        self.title = title
        self.source = ""
        self.is_whole = False  # every gradient that was asked for is among the results
        self.is_final = False  # no other function than the first is going to be asked for
        self.root = tape.lines[tape.root]
        self.closes_over_none = all(s.__class__ is int for s in sources)
        used = _used(tape)
        places = [position for _, position in tape.inputs]
        self.gives_numbers = all(s.__class__ is int or p not in used for s, p in zip(sources, places, strict=True))
        self.pick: Any = itemgetter(*sources) if self.closes_over_none and len(sources) > 1 else None
        self.asked = [line for line in tape.lines if line.kind == "ask"]
        self._tape = tape
        self._plain: Written | None = written(tape)
        self._functions: dict[str, Callable[..., Any]] = {}

    def inputs(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the arguments of the functions for a call with these values."""
        if self.pick is not None:
            return self.pick(values)  # type: ignore[no-any-return]
        return [values[s] if s.__class__ is int else value_now(s) for s in self.sources]

    def reaches(self, wanted: list[int]) -> bool:
        """Tell whether a gradient arrives at every one of these inputs."""
        return self._plain is not None and all(self._plain.gradients[i] is not None for i in wanted)

    def function(self, what: str) -> Callable[..., Any]:
        """Return the function for the "value", the "gradient", "both", or both "seeded" by its last argument."""
        known = self._functions.get(what)
        return known if known is not None else self._written(what)

    def _written(self, what: str) -> Callable[..., Any]:
        made = self._plain if what != "seeded" else None
        made = made or written(self._tape, seeded=what == "seeded")
        gradients = [made.gradients[i] for i in self.wanted]
        outputs = [made.value] if what == "value" else gradients if what == "gradient" else [made.value, *gradients]
        function, source = function_of(made.program, outputs, self.title)
        self._functions[what] = function
        if self.is_final:
            self._plain = None
            self._tape = Tape([], 0, [], [])
        self.source = source
        return function


def _used(tape: Tape) -> set[int]:
    """Return the lines that the result is computed from; those that are only asked about are none of them."""
    used = {tape.root}
    waiting = [tape.root]
    for position in waiting:  # grows while it is walked
        for x in (*tape.lines[position].args, *(i for i in tape.lines[position].index or () if i is not None)):
            if x not in used:
                used.add(x)
                waiting.append(x)
    return used


def checked_case(seen: Sighting, result: Tensor, stands: Sequence[Tensor], chosen: Sequence[bool] | None,
                 around: Surroundings, title: str, what: str) -> Case:  # fmt: skip
    """Write the program of what was seen, run it once, and compare it with the engine.

    ``stands`` stood for the values of the arguments; with ``chosen`` the gradients by these are wanted, else
    those by every Tensor that requires one. Raises `CannotCompileError` if they differ.
    """
    tape = taped(result, seen.since, seen.hidden, seen.asked, stands, seen.indices)
    if len(tape.lines) > LINES_LIMIT:
        raise CannotCompileError(f"it has {len(tape.lines):,} steps, more than {LINES_LIMIT:,}")
    places = {id(t): i for i, t in enumerate(stands)}
    sources = [places.get(id(t), t) for t, _ in tape.inputs]
    tensors = [t for t, _ in tape.inputs]
    if chosen is not None and any(t.requires_grad and id(t) not in places for t in tensors):
        raise CannotCompileError("it closes over Tensors that require a gradient, so its gradient has to be a Tensor")
    tape.inputs[:] = [(None, position) for _, position in tape.inputs]  # type: ignore[misc]
    tape.tensors = []
    if chosen is None:
        wanted = [i for i, t in enumerate(tensors) if t._makes is not Constant]
    else:
        used = {s: i for i, s in enumerate(sources) if s.__class__ is int and chosen[s]}
        wanted = [used[s] for s in sorted(used)]
    around.tensors = [(s, s._makes) for s in sources if isinstance(s, Tensor)]
    case = Case(tape, sources, wanted, around, title)
    case.is_whole = chosen is not None and len(wanted) == sum(chosen) and case.reaches(wanted)
    case.is_final = chosen is not None
    case_check(case, result, [value_now(t) for t in tensors], [tensors[i] for i in wanted], what)
    return case


def case_check(case: Case, result: Tensor, inputs: list[Any], wanted: list[Tensor], what: str) -> None:
    """Compare the value and the gradients with those of the engine."""
    value = value_now(result)
    is_scalar = what != "seeded"
    seed = 1.0 if value.__class__ is float else np.ones(value.shape, value.dtype) if is_scalar else _waves(value)
    expected = [None] * len(wanted)
    if result.requires_grad and what != "value":
        expected = _plain_pass(result, seed, wanted, False) or expected
    found = case.function(what)(*inputs, *([] if is_scalar else [seed]))
    if found is MISSED:
        raise CannotCompileError("it asks about numbers that differ between two runs on the same arguments")
    both = {"value": [value], "gradient": expected}.get(what, [value, *expected])
    pairs = zip(both, found, strict=True)
    if not all(_agree(a, b) for a, b in pairs):
        raise CannotCompileError("the program's numbers differ from the engine's")


def _waves(value: np.ndarray) -> Any:
    """Return a gradient to start the check from, with no two elements alike."""
    return np.cos(np.arange(value.size, dtype=value.dtype)).reshape(value.shape)


def _agree(a: Any, b: Any) -> bool:
    """Tell whether two results are the same but for rounding, and of one kind."""
    if a is None or b is None:
        return a is b
    if a.__class__ is float and b.__class__ is float:
        return a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= ROUNDING * abs(a)
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if np.array_equal(a, b, equal_nan=True):
        return True
    finite = np.isfinite(a)
    size = float(np.max(np.abs(a[finite]), initial=0.0))
    same = np.array_equal(a[~finite], b[~finite], equal_nan=True)
    rounding = max(ROUNDING, 8 * float(np.finfo(a.dtype).eps)) if a.dtype.itemsize < 8 else ROUNDING
    return same and bool(np.all(np.abs(a[finite] - b[finite]) <= rounding * size))
