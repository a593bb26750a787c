"""The backward of a PyTorch call beside finite differences of what the call computes, in double precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from gradviz.engine.differences import PRECISION, STEP, step_at
from gradviz.engine.verdicts import Row, compare

__all__ = ["checked"]

Function = Callable[[Sequence[Any]], list[Any]]
COARSE = 2.0**-8  # the step where a result has single precision at best
LOOSE = 2e-2


def checked(
    function: Function,
    operands: Sequence[Any],
    wanted: Sequence[int],
    rng: np.random.Generator,
    tolerances: tuple[float, float],
) -> list[tuple[int, Row]]:
    """Return a `Row` for each of the ``wanted`` operands that has a derivative.

    ``function`` takes the operands and returns the results; it is asked in double precision if it takes that.
    ``tolerances`` are relative and absolute.

    >>> x = torch.tensor([0.5, 2.0])
    >>> [(arg, row)] = checked(lambda t: [t[0].sin()], [x], [0], np.random.default_rng(0), (1e-6, 1e-8))
    >>> arg, row.ok
    (0, True)
    """
    with torch.inference_mode(False), torch.enable_grad():
        given = [_double(t) for t in operands]
        try:
            results = function(given)
        except Exception:  # a function of one's own may take single precision only
            given = [t.detach().clone() for t in operands]
            results = function(given)
        asked = [arg for arg in wanted if _is_real(given[arg])]
        ways = [_Along(function, given, arg, results, rng) for arg in asked]
        return [(way.arg, way.row(*tolerances)) for way in ways]


class _Along:
    """What a call computes, weighted and summed, along one line of one operand."""

    def __init__(
        self, function: Function, given: Sequence[Any], arg: int, results: Sequence[Any], rng: np.random.Generator
    ) -> None:
        self.function, self.given, self.arg = function, given, arg
        self.seeds = [_normal(y, rng) if _is_real(y) else None for y in results]
        if [y.shape for y in results] == [()] and _is_real(results[0]):
            self.seeds = [torch.ones((), dtype=results[0].dtype)]
        x = given[arg]
        self.is_number = x.shape == () and not x.is_complex()
        self.start = float(x) if self.is_number else 0.0
        size = torch.where(x == 0, torch.ones_like(x.abs()), x.abs().clamp(max=_half(x)))
        self.direction = torch.ones_like(x) if self.is_number else _normal(x, rng) * size
        self.is_coarse = any(torch.finfo(y.dtype).eps > 2 * PRECISION for y in (x, *results) if _is_real(y))
        self.step = COARSE if self.is_coarse else step_at(self.start) if self.is_number else STEP

    def __call__(self, t: float) -> float:
        given = list(self.given)
        given[self.arg] = given[self.arg] + (t - self.start) * self.direction
        if self.is_number:
            given[self.arg] = torch.full_like(self.given[self.arg], t)
        with torch.no_grad():
            return sum(_product(s, y) for s, y in zip(self.seeds, self.function(given), strict=True) if s is not None)

    def row(self, rtol: float, atol: float) -> Row:
        """Return the comparison."""
        row: dict[str, Any] = {"kind": "node", "name": "", "arg": self.arg, "shape": tuple(self.given[self.arg].shape)}
        try:
            found, size = self._by_backward()
        except Exception as error:  # a backward of one's own may fail in any way
            return Row(**row, ok=False, note=f"the rule raised {type(error).__name__}: {_first_line(error)}")
        rtol, atol = (max(rtol, LOOSE), max(atol, LOOSE)) if self.is_coarse else (rtol, atol)
        with np.errstate(all="ignore"):
            around, ok, note = compare(found, self, self.start, self.step, self(self.start), atol + rtol * size)
        apart = abs(found - around.central)
        return Row(**row, autograd=found, numerical=around.central, ok=ok, note=note, difference=apart)

    def _by_backward(self) -> tuple[float, float]:
        """Return the derivative along the line as backward has it, and the size of the sum that it is."""
        given = [t.detach().clone() for t in self.given]
        given[self.arg].requires_grad_()
        results = self.function(given)
        pairs = [(y, s) for y, s in zip(results, self.seeds, strict=True) if s is not None and y.requires_grad]
        if not pairs:
            return 0.0, 0.0
        ys, seeds = zip(*pairs, strict=True)
        (c,) = torch.autograd.grad(ys, [given[self.arg]], seeds, allow_unused=True)
        if c is None:
            return 0.0, 0.0
        if c.shape != self.direction.shape:
            raise ValueError(f"a gradient of shape {tuple(c.shape)} for an operand of {tuple(self.direction.shape)}")
        return _product(self.direction, c), float((c.conj() * self.direction).abs().sum())


def _double(t: Any) -> Any:
    """Return a copy in double precision; what is no real or complex number stays as it is."""
    kind = torch.complex128 if t.is_complex() else torch.float64 if t.is_floating_point() else t.dtype
    return t.detach().to(kind, copy=True)


def _half(x: Any) -> float:
    """Return a size that can be multiplied with another one: half of the exponents there are."""
    return float(torch.finfo(x.dtype).max ** 0.5)


def _is_real(t: Any) -> bool:
    return bool(t.is_floating_point() or t.is_complex())


def _normal(like: Any, rng: np.random.Generator) -> Any:
    numbers = rng.normal(size=like.shape)
    numbers = numbers + 1j * rng.normal(size=like.shape) if like.is_complex() else numbers
    return torch.as_tensor(np.array(numbers)).to(device=like.device, dtype=like.dtype)


def _product(one: Any, other: Any) -> float:
    return float((one.conj() * other.detach()).real.sum())


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:200]
