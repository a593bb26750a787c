"""Recognising an update that is written out in the loop, ``w -= lr * w.grad``, from what it did, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np

from gradviz.graphs.plain import same_bits
from gradviz.tracing.updates import Say

__all__ = ["HandWritten", "probes_of", "rate_of", "rates_of", "sharpest"]

PROBES = 32  # elements a rate has to fit before all of them are looked at
DIGITS = 17  # with so many every float64 can be told from its neighbours
NEIGHBOURS = 8
SHARP = 256  # elements that tell a changed rate best
LOOKED_AT = 1 << 15  # elements among which those are looked for

Numbers = Mapping[str, tuple[Any, Any]]  # value and gradient by name


class HandWritten:
    """Compares the parameters after an update with what ``old - lr * grad`` gives, and says which rates it finds.

    The first time every element is compared. Once the rates are known, a few elements, at the checkpoints of every
    parameter and at the other steps of the largest, tell whether they still are, and to what they have changed: replay
    proves the rest. After a checkpoint, a rate of many digits that a few elements told is compared with all.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self._waiting: tuple[int, dict[str, tuple[Any, Any]]] | None = None
        self._rates: dict[str, float] = {}
        self._probes: dict[str, np.ndarray] = {}  # the elements that are looked at, of the largest parameter first
        self._is_sure = True  # all elements have told the rates, or they are short
        self._has_warned = False

    @property
    def watched(self) -> str | None:
        """The parameter that is looked at at every step, if one is."""
        return next(iter(self._probes), None)

    @property
    def expected(self) -> Iterable[str]:
        """The parameters whose values after the update are waited for."""
        return () if self._waiting is None else self._waiting[1]

    def begin(self, step: int, numbers: Numbers) -> None:
        """Keep what is needed of the values and gradients at a checkpoint, to be compared after the update."""
        self._probes = self._chosen(numbers) if self._is_sure else {}
        self.expect(step, numbers)

    def _chosen(self, numbers: Numbers) -> dict[str, np.ndarray]:
        """Choose the elements to look at, of every parameter whose rate is known."""
        known = [name for name in numbers if name in self._rates]
        by_size = sorted(known, key=lambda name: -np.size(numbers[name][0]))
        chosen = {name: probes_of(numbers[name][1]) for name in by_size}
        for name in by_size[:1]:
            chosen[name] = np.concatenate([chosen[name], sharpest(*numbers[name])])
        return chosen

    def expect(self, step: int, numbers: Numbers) -> None:
        """Keep what is needed of these values and gradients."""
        kept = {name: (self._part(name, value), self._part(name, grad)) for name, (value, grad) in numbers.items()}
        self._waiting = step, kept

    def _part(self, name: str, number: Any) -> Any:
        """Return a copy of an array, or of the elements looked at."""
        if not isinstance(number, np.ndarray):
            return number
        return number.reshape(-1)[self._probes[name]] if name in self._probes else number.copy()

    def forget(self) -> None:
        """Compare nothing: the rule of the updates is known."""
        self._waiting = None
        self._probes = {}

    def compare(self, values: Mapping[str, Any]) -> None:
        """Compare the values after the update with what was expected."""
        if self._waiting is None:
            return
        (step, before), self._waiting = self._waiting, None
        if before.keys() != values.keys():
            return
        if not self._probes:
            self._take(step, rates_of(before, values))
            self._is_sure = True
            self._probes = self._chosen(before)
            return
        after = {name: self._part(name, value) for name, value in values.items()}
        if not fits(self._rates, before, after):
            self._change(step, rates_of(before, after))

    def _take(self, step: int, rates: dict[str, float] | None) -> None:
        """Take note of rates that every element has told."""
        if rates is None:
            self._warn(step)
        elif rates != self._rates:
            self._rates = rates
            several = sorted(set(rates.values()))
            shown = "one learning rate" if len(several) == 1 else f"{len(several)} learning rates"
            text = f"the loop itself subtracts {shown} ({', '.join(map(repr, several[:8]))}) times the gradient"
            self._say(step, "update", text, {"rates": rates})

    def _change(self, step: int, found: dict[str, float] | None) -> None:
        """Take another rate if a few elements can tell it; if not, look at all of them after the next checkpoint."""
        is_one = len({*self._rates.values()}) == 1 and found is not None and len({*found.values()}) == 1
        if found and (is_one or found.keys() == self._rates.keys()):
            self._is_sure = all(map(is_short, found.values()))
            self._take(step, dict.fromkeys(self._rates, next(iter(found.values()))) | found)
        else:
            self._rates, self._probes = {}, {}

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


def fits(rates: Mapping[str, float], before: Numbers, after: Mapping[str, Any]) -> bool:
    """Tell whether these rates explain what happened to the parameters."""
    with np.errstate(all="ignore"):
        return all(
            same_bits(old, after[name])
            if grad is None
            else name in rates and same_bits(_moved(old, rates[name], grad), after[name])
            for name, (old, grad) in before.items()
        )


def is_short(rate: float) -> bool:
    """Tell whether a rate has so few digits that somebody will have written it.

    >>> is_short(0.0025), is_short(1 / 3)
    (True, False)
    """
    return float(f"{rate:.8g}") == rate


def rates_of(before: Numbers, after: Mapping[str, Any]) -> dict[str, float] | None:
    """Return the learning rate of every parameter that a gradient has reached; None if there is none for one of them.

    >>> rates_of({"w": (3.0, 2.0), "b": (1.0, None)}, {"w": 3.0 - 0.1 * 2.0, "b": 1.0})
    {'w': 0.1}
    """
    rates: dict[str, float] = {}
    # many elements tell the rate, one or two leave a choice: they take that of the others if they can
    for name in sorted(before, key=lambda name: -np.size(before[name][0])):
        old, grad = before[name]
        if grad is None:
            if not same_bits(old, after[name]):
                return None
            continue
        rate = rate_of(old, grad, after[name], dict.fromkeys(rates.values()))
        if rate is None:
            return None
        rates[name] = rate
    return _as_one({name: rates[name] for name in before if name in rates}, before, after)


def _as_one(rates: dict[str, float], before: Numbers, after: Mapping[str, Any]) -> dict[str, float]:
    """Return one rate for all if one of those found explains them all: a float32 leaves a choice."""
    several = dict.fromkeys(rates.values())
    one = (dict.fromkeys(rates, rate) for rate in several if len(several) > 1)
    return next((same for same in one if fits(same, before, after)), rates)


def rate_of(old: Any, grad: Any, new: Any, known: Iterable[float] = ()) -> float | None:
    """Return a learning rate with ``new == old - lr * grad`` to the last bit, or None.

    Every element bounds the rate, for it was rounded; candidates are the ``known`` ones, then the shortest decimals
    within the bounds of all elements together, and what is in their middle.

    >>> rate_of(np.array([1.0, 2.0]), np.array([0.3, -7.0]), np.array([1.0, 2.0]) - 0.05 * np.array([0.3, -7.0]))
    0.05
    """
    if np.shape(old) != np.shape(new) or np.shape(old) != np.shape(grad):
        return None
    probes = probes_of(grad)
    o, g, n = (np.asarray(x).reshape(-1)[probes] for x in (old, grad, new))
    with np.errstate(all="ignore"):
        for rate in chain(known, _candidates(old, grad, new)):
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


def sharpest(value: Any, grad: Any) -> np.ndarray:
    """Return where an update is large beside the value, so that little of it is lost to rounding.

    >>> sharpest(np.array([1.0, 0.001, 5.0]), np.array([2.0, 1.0, 0.0])).tolist()
    [1, 0]
    """
    if not isinstance(value, np.ndarray) or not isinstance(grad, np.ndarray) or value.shape != grad.shape:
        return np.zeros(0, np.int64)
    stride = -(-value.size // LOOKED_AT) or 1
    old, slope = (np.abs(x.reshape(-1)[::stride]).astype(float) for x in (value, grad))
    with np.errstate(all="ignore"):
        shares = np.where(np.isfinite(old) & np.isfinite(slope) & (slope > 0), old / slope, np.inf)
    best = np.argpartition(shares, min(SHARP, shares.size - 1))[:SHARP] if shares.size else np.zeros(0, np.int64)
    return np.sort(best[shares[best] < np.inf])[::-1] * stride


def _candidates(old: Any, grad: Any, new: Any) -> Iterator[float]:
    """Yield learning rates that all elements allow, the simplest first."""
    old, grad, new = (np.asarray(x).reshape(-1) for x in (old, grad, new))
    moving = np.isfinite(grad) & (grad != 0) & np.isfinite(old) & np.isfinite(new)
    if not moving.any():
        yield 0.0  # without a gradient every rate is as good
        return
    old, grad, new = old[moving], grad[moving], new[moving]
    rounded = np.spacing(np.abs(new)).astype(float) + np.spacing(np.abs(old - new)).astype(float)
    quotients = (old.astype(float) - new.astype(float)) / grad.astype(float)
    # product and difference are rounded by up to a half, and the quotient is rounded as well
    errors = np.abs(0.51 * rounded / grad.astype(float)) + 4 * np.spacing(np.abs(quotients))
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
