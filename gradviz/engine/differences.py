"""Finite differences: derivatives from nothing but values.

The step is chosen for each number: the cube root of the machine precision times its size is
where the error of the central difference (h² times the third derivative over 6) and that of
rounding (the precision times the value over h) balance; see Nocedal and Wright, "Numerical
Optimization", section 8.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..errors import NonScalarError
from .leaves import value_of
from .modes import no_grad
from .sites import where
from .tensor import Tensor, constant_of
from .trees import filled, members

PRECISION = float(np.finfo(np.float64).eps)
STEP = PRECISION ** (1 / 3)


class Slope(NamedTuple):
    """A derivative estimated from values: central, from the left, from the right."""

    central: float
    left: float
    right: float
    noise: float  # how much rounding alone may have changed it

    @property
    def jump(self) -> float:
        """How far the slopes of the two sides are apart."""
        return abs(self.right - self.left)


def step_at(x: float, eps: float | None = None) -> float:
    """Return the step for a difference at ``x``, a power of two: it must not leave the side of 0 that x is on."""
    size = abs(x)
    h = (STEP if eps is None else eps) * max(size, 1.0)
    if size > 1e-9:
        h = min(h, size * 1e-3)
    return float(2.0 ** np.round(np.log2(h)))


def slope(f: Callable[[float], float], x: float, h: float, middle: float) -> Slope:
    """Estimate the derivative of ``f`` at ``x``, where its value is ``middle``, with step ``h``.

    Where ``f`` is finite on one side only, the central estimate is that of this side.
    """
    high, low = f(x + h), f(x - h)
    up, down = (x + h) - x, x - (x - h)
    with np.errstate(all="ignore"):
        left, right = (middle - low) / down, (high - middle) / up
        central = (high - low) / (up + down)
    if not np.isfinite(central):
        central = right if np.isfinite(right) else left
    sizes = [abs(v) for v in (high, low, middle) if np.isfinite(v)]
    return Slope(central, left, right, 4 * PRECISION * max(sizes, default=0.0) / h)


def numerical_grad(f: Callable[..., Any], x: Any, eps: float | None = None) -> Any:
    """Return the gradient of a scalar function by central differences, of the form and shape of ``x``.

    ``x`` is a number, an array, a Tensor, or a dict, list or tuple of such; ``f`` is called with
    what it is given: numbers stay numbers, arrays float64 arrays, Tensors Tensors. The step is
    ``eps`` (6e-6 by default) times the size of each element, or times 1 for the small ones.

    >>> round(numerical_grad(lambda x: x**3, 2.0), 6)
    12.0
    >>> numerical_grad(lambda x: (x * x).sum(), np.array([1.0, 2.0])).round(6)
    array([2., 4.])
    """
    as_tensor = [isinstance(member, Tensor) for member in members(x)]
    values = [_floating(plain_copy(member)) for member in members(x)]

    def at(values: list[Any]) -> float:
        inputs = (constant_of(v) if t else v for v, t in zip(values, as_tensor, strict=True))
        return scalar(f(filled(x, inputs)), f)

    gradients = []
    for position, value in enumerate(values):
        gradient = np.zeros(np.shape(value))
        for index, one, line in lines(at, values, position):
            gradient[index] = slope(line, one, step_at(one, eps), line(one)).central
        gradients.append(gradient if np.ndim(value) else float(gradient))
    return filled(x, iter(gradients))


def plain_copy(x: Any) -> Any:
    """Return a value to calculate with: a float, or a float64 array of its own (integers stay integers)."""
    value = value_of(x) if isinstance(x, Tensor) else x
    array = np.array(value)
    if array.dtype.kind == "f" or not isinstance(value, np.ndarray):
        array = array.astype(np.float64)
    return float(array) if not array.ndim and array.dtype.kind == "f" else array


def _floating(value: Any) -> Any:
    """Return integers as floats: a step between whole numbers is none."""
    return value if value.__class__ is float else value.astype(np.float64)


def scalar(y: Any, f: Callable[..., Any]) -> float:
    """Return the result of a function as a float."""
    y = value_of(y) if isinstance(y, Tensor) else y
    if np.size(y) != 1:
        raise NonScalarError(
            f"numerical_grad needs a function with a scalar result, but {getattr(f, '__name__', f)} returned shape "
            f"{np.shape(y)}",
            where=where(),
            hint="reduce it, as in .sum()",
        )
    return float(y) if np.ndim(y) == 0 else float(np.reshape(y, ()))


def lines(
    at: Callable[[list[Any]], float], values: list[Any], position: int
) -> Iterator[tuple[Any, float, Callable[[float], float]]]:
    """Yield for each element of one value its index, its number, and the function along it alone."""
    value = values[position]
    for index in np.ndindex(np.shape(value)):
        yield index, float(value[index] if index else value), _along(at, values, position, index)


def _along(
    at: Callable[[list[Any]], float], values: list[Any], position: int, index: tuple[int, ...]
) -> Callable[[float], float]:
    def line(t: float) -> float:
        moved = list(values)
        if np.ndim(values[position]):
            moved[position] = values[position].copy()
            moved[position][index] = t
        else:
            moved[position] = t
        with no_grad(), np.errstate(all="ignore"):
            return at(moved)

    return line
