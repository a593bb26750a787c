"""Choosing a part of a run: by the numbers of steps, and by the names of parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import numpy as np

from gradviz.errors import GradvizTypeError, UnknownNameError, suggestion

__all__ = ["between", "check_slice", "is_pattern", "matching"]

GLOB = re.compile(r"[*?\[]")


def is_pattern(name: str) -> bool:
    """Tell whether a name has characters that stand for others."""
    return GLOB.search(name) is not None


def matching(patterns: Iterable[str], names: Sequence[str]) -> list[str]:
    """Return the names that match any of the patterns; raises UnknownNameError for a pattern that matches none.

    A bracket may also stand for itself: names such as ``layers[0].w`` are usual.

    >>> matching(["enc.*", "p[0].?"], ["enc.w", "enc.b", "dec.w", "p[0].w"])
    ['enc.w', 'enc.b', 'p[0].w']
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise GradvizTypeError(f"a pattern is a text, not a {type(pattern).__name__}", hint='run.select("enc.*")')
        literal = pattern.replace("[", "[[]")
        matched = [name for name in names if fnmatchcase(name, pattern) or fnmatchcase(name, literal)]
        if not matched:
            near = suggestion(GLOB.sub("", pattern), names)
            raise UnknownNameError(f"no parameter matches {pattern[:200]!r}", hint=near)
        found |= dict.fromkeys(matched)
    return list(found)


def between(steps: np.ndarray, first: int | None, last: int | None) -> np.ndarray:
    """Return of every step whether its number lies between ``first`` and ``last``, both included."""
    inside = np.ones(len(steps), bool)
    for end, is_inside in ((first, np.greater_equal), (last, np.less_equal)):
        if end is not None and not isinstance(end, int | np.integer):
            raise GradvizTypeError(f"a step is a whole number, not {str(end)[:80]!r}", hint="run.between(10, 20)")
        inside &= True if end is None else is_inside(steps, end)
    return inside


def check_slice(key: slice) -> None:
    """Refuse bounds that are no positions."""
    wrong = next((b for b in (key.start, key.stop, key.step) if b is not None and not hasattr(b, "__index__")), None)
    if wrong is not None or key.step == 0:
        shown = f"{str(wrong)[:80]!r}" if wrong is not None else "a step of 0"
        raise GradvizTypeError(
            f"a run cannot be cut at {shown}",
            hint='run[10:20] takes positions, run.between(10, 20) numbers of steps, run[:, "w*"] names',
        )
