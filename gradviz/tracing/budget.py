"""A limit to what tracing may cost: its share of the time is measured, and the level lowered while it is too large."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from gradviz.errors import GradvizTypeError, GradvizValueError

__all__ = ["Budget", "checked_budget"]

STEPS = 16  # between two judgements, at the least
SECONDS = 0.1

Clock = Callable[[], float]


class Budget:
    """Adds up the time spent in recording and judges it now and then.

    >>> times = iter([0.0, 0.5, 1.0])
    >>> budget = Budget(0.1, clock=lambda: next(times))
    >>> budget.begin(), budget.end(), budget.share
    (None, None, 1.0)
    """

    def __init__(self, limit: float, clock: Clock | None = None) -> None:
        self.limit = limit
        self._clock = clock or perf_counter
        self._since: float | None = None
        self.again()

    def again(self) -> None:
        """Begin to measure anew, with the next step."""
        self._since = None
        self._spent = 0.0
        self._steps = 0
        self._began = self._ended = 0.0

    def begin(self) -> None:
        """Take the time before a step is recorded."""
        self._began = self._clock()
        if self._since is None:
            self._since = self._began

    def end(self) -> None:
        """Take the time after it."""
        self._ended = self._clock()
        self._spent += self._ended - self._began
        self._steps += 1

    @property
    def share(self) -> float:
        """The part of the time since measuring began that was spent in recording."""
        passed = self._ended - (self._since or 0.0)
        return self._spent / passed if passed > 0 else 0.0

    def is_exceeded(self) -> bool:
        """Tell whether recording has taken too much, once there is enough to judge by; then measure anew."""
        passed = self._ended - (self._since or 0.0)
        return self._steps >= STEPS and passed >= SECONDS and self._judged()

    def _judged(self) -> bool:
        is_exceeded = self.share > self.limit
        self.cost = self.share
        self.again()
        return is_exceeded


def checked_budget(budget: Any) -> float | None:
    """Return the budget, a share of the time between 0 and 1."""
    if budget is None:
        return None
    if isinstance(budget, bool) or not isinstance(budget, int | float):
        raise GradvizTypeError(f"budget={str(budget)[:80]!r} is no number", hint="0.05 is five percent of the time")
    if not 0.0 < budget < 1.0:
        raise GradvizValueError(f"budget={budget} is no share of the time", hint="0.05 is five percent of the time")
    return float(budget)
