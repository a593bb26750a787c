"""The sweep over the op registry: every op, every sample, against finite differences.

Nothing here names an op: what is tried comes from the registry's own samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gradviz.engine.differences import plain_copy, step_at
from gradviz.engine.recording import apply, compute
from gradviz.engine.registry import OPS, Op, Sample
from gradviz.engine.tensor import Tensor, constant_of
from gradviz.engine.verdicts import compare


class Checks(NamedTuple):
    """How many single derivatives were compared."""

    samples: int = 0
    first: int = 0
    second: int = 0
    variants: int = 0
    kinks: int = 0

    def plus(self, other: Checks) -> Checks:
        return Checks(*(a + b for a, b in zip(self, other, strict=True)))


def own_ops() -> dict[str, Op]:
    """Return the ops that the package itself registers, not those of tests and docstrings."""
    return {name: op for name, op in OPS.items() if (op.forward.__module__ or "").startswith("gradviz.engine")}


def samples_of(op: Op) -> list[Sample]:
    assert op.samples is not None, f"{op.name} has no samples"
    made = list(op.samples(np.random.default_rng(7)))
    assert made, f"{op.name} has no samples"
    return made


def check_op(op: Op) -> Checks:
    """Compare all first derivatives of an op, and the second ones where it is smooth."""
    total = Checks()
    for number, sample in enumerate(samples_of(op)):
        trial = Trial(op, sample, np.random.default_rng(number))
        total = total.plus(Checks(samples=1, first=trial.first(), variants=trial.variants(), kinks=trial.kinks))
        if not trial.kinks and not trial.single:
            total = total.plus(Checks(second=trial.second()))
    return total


class Trial:
    """One op on one sample."""

    def __init__(self, op: Op, sample: Sample, rng: np.random.Generator) -> None:
        self.op, self.attrs = op, sample.attrs or {}
        self.given = [x if isinstance(x, float) else np.asarray(x) for x in sample.args]
        self.values = [plain_copy(x) for x in self.given]
        self.real = [i for i, v in enumerate(self.values) if np.asarray(v).dtype.kind == "f" and op.vjp(i)]
        self.single = any(np.asarray(x).dtype.itemsize < 8 for i, x in enumerate(self.given) if i in self.real)
        y = compute(op, self.values, self.attrs)
        self.g = rng.uniform(0.5, 1.5, np.shape(y)) * rng.choice([-1.0, 1.0], np.shape(y))
        self.along = [rng.normal(size=np.shape(v)) for v in self.values]
        self.kinks = 0

    def title(self) -> str:
        return f"{self.op.name} of {[np.shape(v) for v in self.values]} with {self.attrs}"

    def gradients(self, values: list[Any], *, recorded: bool = False) -> tuple[list[Tensor], Tensor]:
        tensors = [Tensor(v) if i in self.real else constant_of(v) for i, v in enumerate(values)]
        y = apply(self.op, tuple(tensors), self.attrs or None)
        y.backward(np.asarray(self.g, y.dtype), create_graph=recorded)
        return [tensors[i] for i in self.real], y

    def first(self) -> int:
        """Compare the gradient by every element of every operand; return how many there were."""
        tensors, _ = self.gradients(self.given)
        rtol = 2e-3 if self.single else 1e-6
        count = 0
        for i, t in zip(self.real, tensors, strict=True):
            if t.grad is not None:
                assert np.shape(t.grad) == t.shape, self.title()
                assert np.asarray(t.grad).dtype == t.dtype, self.title()
            found = np.zeros(t.shape) if t.grad is None else np.asarray(t.grad)
            count += self.compared(self.forward, i, found, rtol, f"operand {i}")
        return count

    def second(self) -> int:
        """Compare the derivatives of the gradient, recorded by ``create_graph``, in the same way."""
        tensors, _ = self.gradients(self.values, recorded=True)
        total: Any = sum(
            np.sum(t.grad * self.along[i]) for i, t in zip(self.real, tensors, strict=True) if t.grad is not None
        )
        for t in tensors:
            t.zero_grad()
        if isinstance(total, Tensor) and total.requires_grad:
            total.backward()
        count = 0
        for i, t in zip(self.real, tensors, strict=True):
            found = np.zeros(t.shape) if t.grad is None else np.asarray(t.grad)
            count += self.compared(self.slopes, i, found, 1e-5, f"second derivative, operand {i}")
        return count

    def variants(self) -> int:
        """Compare the gradients of float32 operands, and of operands laid out backwards, with those of plain ones."""
        expected = [plain_gradient(t) for t in self.gradients(self.values)[0]]
        count = 0
        for variant, tolerance in ((np.float32, 5e-3), (backwards, 1e-12)):
            values = [variant(v) if i in self.real else v for i, v in enumerate(self.values)]
            for t, right in zip(self.gradients(values)[0], expected, strict=True):
                found = plain_gradient(t)
                assert found.dtype == t.dtype, self.title()
                scale = float(np.max(np.abs(right), initial=1.0))
                assert np.allclose(found, right, rtol=tolerance, atol=tolerance * scale, equal_nan=True), self.title()
                count += found.size
        return count

    def forward(self, values: list[Any]) -> float:
        return float(np.sum(self.g * compute(self.op, values, self.attrs)))

    def slopes(self, values: list[Any]) -> float:
        tensors, _ = self.gradients(values)
        return float(
            sum(np.sum(t.grad * self.along[i]) for i, t in zip(self.real, tensors, strict=True) if t.grad is not None)
        )

    def compared(self, f: Callable[[list[Any]], float], i: int, found: np.ndarray, rtol: float, what: str) -> int:
        tolerance = 1e-7 + rtol * float(np.max(np.abs(found), initial=1.0))
        middle = f(self.values)
        for index in np.ndindex(found.shape):
            line = self.line(f, i, index)
            x = float(np.asarray(self.values[i])[index])
            with np.errstate(all="ignore"):
                around, ok, note = compare(float(found[index]), line, x, step_at(x), middle, tolerance)
            self.kinks += bool(note)
            assert ok, f"{self.title()}: {what}{list(index)} is {found[index]}, by differences {around}"
        return found.size

    def line(self, f: Callable[[list[Any]], float], i: int, index: tuple[int, ...]) -> Callable[[float], float]:
        def moved(t: float) -> float:
            values = list(self.values)
            values[i] = t
            if index:
                values[i] = self.values[i].copy()
                values[i][index] = t
            return f(values)

        return moved


def plain_gradient(t: Tensor) -> np.ndarray:
    if t.grad is None:
        return np.zeros(t.shape, t.dtype)
    return np.asarray(t.grad)


def backwards(value: Any) -> Any:
    """Return the same array in Fortran order, each axis running backwards in memory."""
    if not np.ndim(value):
        return value
    steps = (slice(None, None, -1),) * np.ndim(value)
    return np.asfortranarray(value[steps])[steps]
