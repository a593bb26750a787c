"""Recognising an update that is written out in the loop, ``w -= lr * w.grad``, from what it did, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from gradviz.graphs.plain import same_bits
from gradviz.tracing.updates import Say

__all__ = ["HandWritten", "probes_of", "rate_of", "rates_of"]

PROBES = 32  # elements a rate has to fit before all of them are looked at
DIGITS = 17  # with so many every float64 can be told from its neighbours
NEIGHBOURS = 8

Numbers = Mapping[str, tuple[Any, Any]]  # value and gradient by name


class HandWritten:
    """Compares the parameters after an update with what ``old - lr * grad`` gives, and says which rates it finds."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._waiting: tuple[int, dict[str, tuple[Any, Any]]] | None = None
        self._rates: dict[str, float] | None = None
        self._probes: dict[str, np.ndarray] | None = None  # the elements that are looked at; None: all of them
        self._has_warned = False

    def expect(self, step: int, numbers: Numbers) -> None:
        """Keep the values and gradients of this step, to be compared after its update.

        Once a rate is known, a few elements tell whether it is still the same: replay proves every element.
        """
        self._probes = None if self._rates is None else {name: probes_of(pair[1]) for name, pair in numbers.items()}
        self._waiting = (
            step,
            {name: (self._part(name, value), self._part(name, grad)) for name, (value, grad) in numbers.items()},
        )

    def _part(self, name: str, number: Any) -> Any:
        """Return a copy of an array, or of the elements looked at."""
        if not isinstance(number, np.ndarray):
            return number
        return number.copy() if self._probes is None else number.reshape(-1)[self._probes[name]]

    def forget(self) -> None:
        """Compare nothing: the rule of the updates is known."""
        self._waiting = None

    @property
    def is_waiting(self) -> bool:
        """Whether there is an update to compare."""
        return self._waiting is not None

    def compare(self, values: Mapping[str, Any]) -> None:
        """Compare the values after the update with what was expected."""
        if self._waiting is None:
            return
        (step, before), self._waiting = self._waiting, None
        if before.keys() != values.keys():
            return
        after = values if self._probes is None else {name: self._part(name, value) for name, value in values.items()}
        rates = rates_of(before, after, self._rates)
        if rates is None:
            self._warn(step)
        elif rates != self._rates:
            self._rates = rates
            several = sorted(set(rates.values()))
            shown = "one learning rate" if len(several) == 1 else f"{len(several)} learning rates"
            text = f"the loop itself subtracts {shown} ({', '.join(map(repr, several[:8]))}) times the gradient"
            self._say(step, "update", text, {"rates": rates})

    def _warn(self, step: int) -> None:
        """Say once that there is no replay between checkpoints."""
        if not self._has_warned:
            self._has_warned = True
            text = (
                "the update after this step is not new = old - lr * gradient, nor that of a known optimizer, so steps"
                " between checkpoints cannot be computed again: give trace(optimizer=...) what makes the updates,"
                ' or trace with level="full"'
            )
            self._say(step, "update", text, {"rates": {}})


def rates_of(
    before: Numbers, after: Mapping[str, Any], known: Mapping[str, float] | None = None
) -> dict[str, float] | None:
    """Return the learning rate of every parameter that a gradient has reached; None if there is none for one of them.

    ``known`` are the rates there were; each is tried before any other is looked for.

    >>> rates_of({"w": (3.0, 2.0), "b": (1.0, None)}, {"w": 3.0 - 0.1 * 2.0, "b": 1.0})
    {'w': 0.1}
    """
    known = known or {}
    rates: dict[str, float] = {}
    # many elements tell the rate, one or two leave a choice: they take that of the others if they can
    for name in sorted(before, key=lambda name: -np.size(before[name][0])):
        old, grad = before[name]
        if grad is None:
            if not same_bits(old, after[name]):
                return None
            continue
        tried = [known[name]] if name in known else []
        rate = rate_of(old, grad, after[name], dict.fromkeys([*tried, *rates.values(), *known.values()]))
        if rate is None:
            return None
        rates[name] = rate
    return {name: rates[name] for name in before if name in rates}


def rate_of(old: Any, grad: Any, new: Any, known: Iterable[float] = ()) -> float | None:
    """Return a learning rate with ``new == old - lr * grad`` to the last bit, or None.

    Every element bounds the rate, for it was rounded; candidates are the ``known`` ones, then the shortest decimals
    within the bounds of some elements together, and what is in their middle.

    >>> rate_of(np.array([1.0, 2.0]), np.array([0.3, -7.0]), np.array([1.0, 2.0]) - 0.05 * np.array([0.3, -7.0]))
    0.05
    """
    if np.shape(old) != np.shape(new) or np.shape(old) != np.shape(grad):
        return None
    probes = probes_of(grad)
    o, g, n = (np.asarray(x).reshape(-1)[probes] for x in (old, grad, new))
    with np.errstate(all="ignore"):
        for rate in (*known, *_candidates(o, g, n)):
            if same_bits(o - rate * g, n) and same_bits(_moved(old, rate, grad), new):
                return rate
    return None


def _moved(old: Any, rate: float, grad: Any) -> Any:
    new = old - rate * grad
    return new if new.__class__ is float else np.asarray(new)


def probes_of(grad: Any) -> np.ndarray:
    """Return where to look: first at the largest finite gradient, then at elements all over.

    >>> probes_of(np.array([1.0, -5.0, 2.0])), probes_of(None)
    (array([1, 0, 1, 2]), array([], dtype=int64))
    """
    sizes = np.abs(np.asarray(0.0 if grad is None else grad).reshape(-1))
    if grad is None or not sizes.size:
        return np.zeros(0, np.int64)
    largest = int(sizes.argmax())
    if not np.isfinite(sizes[largest]):
        largest = int(np.where(np.isfinite(sizes), sizes, 0).argmax())
    return np.concatenate([[largest], np.arange(0, sizes.size, max(1, sizes.size // PROBES))])


def _candidates(old: np.ndarray, grad: np.ndarray, new: np.ndarray) -> Iterator[float]:
    """Yield learning rates that all these elements allow, the simplest first."""
    moving = np.isfinite(grad) & (grad != 0) & np.isfinite(old) & np.isfinite(new)
    if not moving.any():
        yield 0.0  # without a gradient every rate is as good
        return
    old, grad, new = old[moving], grad[moving], new[moving]
    rounded = np.spacing(np.abs(new)).astype(float) + np.spacing(np.abs(old - new)).astype(float)
    quotients = (old.astype(float) - new.astype(float)) / grad.astype(float)
    errors = np.abs(rounded / grad.astype(float))  # twice as much as it can be
    low, high = float((quotients - errors).max()), float((quotients + errors).min())
    middle = low + (high - low) / 2
    if not low <= middle <= high:
        return
    for digits in range(1, DIGITS + 1):
        rate = float(f"{middle:.{digits}g}")
        if low <= rate <= high:
            yield rate
    below = above = middle
    for _ in range(NEIGHBOURS):
        below, above = math.nextafter(below, -math.inf), math.nextafter(above, math.inf)
        yield from (below, above)
