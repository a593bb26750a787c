"""Sample arguments for the ops: what the gradient tests, the docs table and the gallery iterate over.

A maker returns a function of a random generator that yields `Sample` records. Values keep away
from points where the derivative does not exist, except where a sample is meant to sit on one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ..registry import Sample

Samples = Callable[[np.random.Generator], Iterable[Sample]]
SHAPES: tuple[tuple[int, ...], ...] = ((), (1,), (3,), (2, 3), (2, 1, 3), (0,))
PAIRS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    *(((), ()), ((3,), (3,)), ((2, 3), (2, 3))),
    *(
        ((), (3,)),
        ((2, 3), ()),
        ((2, 3), (3,)),
        ((3, 1), (1, 4)),
        ((2, 1, 3), (4, 1)),
        ((1,), (2, 2)),
        ((0, 3), (3,)),
    ),
)


def draw(rng: np.random.Generator, shape: tuple[int, ...], low: float, high: float, dtype: Any = np.float64) -> Any:
    """Return uniform values of ``shape`` at least a tenth of the range away from 0, as a float if it is ()."""
    x = rng.uniform(low, high, shape)
    x = np.where(np.abs(x) < 0.1 * (high - low) / 2, np.sign(x + 1e-9) * 0.1 * (high - low) + x, x)
    x = np.clip(x, low, high).astype(dtype)
    return float(x) if shape == () and dtype == np.float64 else x


def unary(low: float = -2.0, high: float = 2.0) -> Samples:
    """Make samples of one operand between ``low`` and ``high``, over shapes and dtypes."""

    def samples(rng: np.random.Generator) -> Iterator[Sample]:
        for shape in SHAPES:
            yield Sample((draw(rng, shape, low, high),))
        yield Sample((draw(rng, (2, 3), low, high, np.float32),))

    return samples


def binary(low: float = -2.0, high: float = 2.0, low2: float | None = None, high2: float | None = None) -> Samples:
    """Make samples of two operands over pairs of shapes that broadcast, and of mixed dtypes."""

    def samples(rng: np.random.Generator) -> Iterator[Sample]:
        second = (low if low2 is None else low2, high if high2 is None else high2)
        for one, two in PAIRS:
            yield Sample((draw(rng, one, low, high), draw(rng, two, *second)))
        yield Sample((draw(rng, (2, 3), low, high, np.float32), draw(rng, (3,), *second)))

    return samples


def cases(*made: tuple[tuple[tuple[int, ...], ...], dict[str, Any]], low: float = -2.0, high: float = 2.0) -> Samples:
    """Make samples from a list of (shapes of the operands, metadata)."""

    def samples(rng: np.random.Generator) -> Iterator[Sample]:
        for shapes, attrs in made:
            yield Sample(tuple(draw(rng, shape, low, high) for shape in shapes), attrs)

    return samples
