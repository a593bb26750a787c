"""How far two numbers or arrays are apart: in bits, in ulps, relative to their size."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradviz.errors import GradvizValueError
from gradviz.escape import clean
from gradviz.graphs import Number
from gradviz.style.wording import format_number, format_shape

__all__ = ["Difference", "identical", "measured", "plain", "ulps_apart"]

FORMS = {
    "exact": "",
    "digest": "the checksums differ, the norms are ",
    "stats": "the statistics differ, the norms are ",
    "norm": "the norms are ",
}
MANY = 1_000_000  # ulps
DIGITS = 17  # that tell any two floats apart


@dataclass(frozen=True, slots=True)
class Difference:
    """Two numbers that are not the same, bit for bit; ``a`` or ``b`` is None where there was none.

    ``what`` is loss, value, gradient or input. Of arrays ``elements`` counts those that differ and ``at`` is the place
    of the largest difference; ``ulps`` (floating-point numbers in between, plus one) and ``relative``
    (``|a - b| / max(|a|, |b|)``) are the largest of any element, None where there is no such number. ``form`` says
    what was compared: exact numbers, or a digest, stats or norm where no more was recorded (then ``a`` and ``b`` are
    norms).
    """

    what: str
    name: str
    step: int | None
    a: Number | None
    b: Number | None
    ulps: int | None = None
    relative: float | None = None
    elements: int = 1
    at: tuple[int, ...] | None = None
    form: str = "exact"

    def of(self, what: str, name: str, step: int | None) -> Difference:
        """Return the same difference under another name."""
        return replace(self, what=what, name=name, step=step)

    @property
    def pair(self) -> tuple[Number | None, Number | None]:
        """The two numbers to show: of arrays the elements that are farthest apart."""
        if self.at is None:
            return self.a, self.b
        return np.asarray(self.a)[self.at].item(), np.asarray(self.b)[self.at].item()

    @property
    def sizes(self) -> str:
        """How large the difference is, in words; a million ulps and more are told by the relative size alone."""
        near = self.ulps is not None and self.ulps < MANY
        parts = [f"{self.ulps:,} ulp{'s' if self.ulps != 1 else ''}" if near else ""]
        parts.append(f"relative {self.relative:.2g}" if self.relative is not None else "")
        return ", ".join(filter(None, parts))

    @property
    def brief(self) -> str:
        """How the two differ, in a few words."""
        if self.sizes:
            return self.sizes
        if self.a is None or self.b is None:
            return "only in one" if self.a is not self.b else "not in both"
        if self.form in {"digest", "stats"}:
            return "by checksum" if self.form == "digest" else "in its statistics"
        return "not of one shape or dtype" if np.shape(self.a) != np.shape(self.b) else "not comparable"

    @property
    def count(self) -> str:
        """Of an array how many elements differ and which one most, in words."""
        if self.at is None:
            return ""
        return f"{self.elements:,} of {np.asarray(self.a).size:,} elements, most at [{', '.join(map(str, self.at))}]"

    @property
    def told(self) -> str:
        """What differs and by how much, without the name."""
        if self.a is None and self.b is None:
            return "recorded in one of the two only"
        pair = " | ".join(told_apart(*self.pair))
        size = f" ({self.sizes})" if self.sizes else ""
        return f"{FORMS[self.form]}{self.count}{': ' if self.count else ''}{pair}{size}"

    def __str__(self) -> str:
        return f"{clean(self.name)}: {self.told}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it; of arrays the elements that are farthest apart."""
        a, b = self.pair
        return {
            "what": self.what,
            "name": self.name,
            "step": self.step,
            "a": plain(a),
            "b": plain(b),
            "ulps": self.ulps,
            "relative": plain(self.relative),
            "elements": self.elements,
            "at": None if self.at is None else list(self.at),
            "form": self.form,
        }


def plain(number: Any) -> Any:
    """Return a number as JSON can hold it: NaN, infinities and complex numbers as text, arrays by shape.

    >>> plain(0.5), plain(float("nan")), plain(None), plain(np.ones((2, 3)))
    (0.5, 'nan', None, 'array 2×3')
    """
    if number is None or isinstance(number, bool | str):
        return number
    if np.ndim(number):
        return f"array {format_shape(np.shape(number))}"
    value = np.asarray(number)
    if value.dtype.kind in "biu":
        return int(value)
    single = value.item()
    return single if isinstance(single, float) and math.isfinite(single) else str(single)


def told_apart(a: Number | None, b: Number | None) -> tuple[str, str]:
    """Return two numbers in as few digits as it takes to tell them apart.

    >>> told_apart(0.5, 0.25), told_apart(1.0, 1.0000000000000002), told_apart(None, 0.0)
    (('0.5', '0.25'), ('1', '1.0000000000000002'), ('none', '0'))
    """
    for digits in range(4, DIGITS + 1) if not identical(a, b) else (6,):
        first, second = _shown(a, digits), _shown(b, digits)
        if first != second:
            break
    return first, second


def _shown(number: Number | None, digits: int) -> str:
    if number is None:
        return "none"
    if np.ndim(number):
        return f"array {format_shape(np.shape(number))} {np.asarray(number).dtype}"
    return format_number(number, digits)


def identical(a: Any, b: Any) -> bool:
    """Tell whether two numbers are the same bit for bit: NaN is NaN, and -0.0 is not 0.0.

    Of single numbers the value counts and not the dtype.

    >>> identical(np.float32(0.5), 0.5), identical(float("nan"), float("nan")), identical(None, 0.0)
    (True, True, False)
    """
    if a is None or b is None:
        return a is b
    one, other = np.asarray(a), np.asarray(b)
    if one.shape == other.shape == () and one.dtype != other.dtype:
        one, other = one.astype(complex), other.astype(complex)
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def measured(a: Any, b: Any) -> Difference | None:
    """Return how two numbers or arrays differ, None if they are the same bit for bit.

    >>> found = measured(np.array([1.0, 2.0]), np.array([1.0, 2.0000000000000004]))
    >>> found.ulps, found.elements, found.at
    (1, 1, (1,))
    """
    if identical(a, b):
        return None
    plain_difference = Difference("value", "", None, a, b)
    if a is None or b is None or np.shape(a) != np.shape(b):
        return plain_difference
    first, second = _flat(a), _flat(b)
    ulps, comparable = ulps_apart(first, second)
    relative = _relative(first, second)
    worst = int(np.argmax(np.where(comparable, relative, np.inf)))
    if comparable.all():
        worst = int(np.argmax(ulps))
    width = len(first) // max(np.size(a), 1)  # 2 for complex numbers
    differing = (ulps != 0) | ~comparable
    return replace(
        plain_difference,
        ulps=int(ulps[worst]) if comparable[worst] else None,
        relative=float(relative[worst]) if math.isfinite(relative[worst]) else None,
        elements=int(np.any(differing.reshape(-1, width), axis=1).sum()),
        at=tuple(int(i) for i in np.unravel_index(worst // width, np.shape(a))) if np.ndim(a) else None,
    )


def _flat(number: Any) -> np.ndarray:
    """Return the real numbers that make up a number or array, in one row, as floats."""
    array = np.asarray(number)
    if array.dtype.kind == "c":
        array = np.stack([array.real, array.imag], axis=-1)
    return array.reshape(-1) if array.dtype.kind == "f" else array.reshape(-1).astype(float)


def ulps_apart(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many steps from one float to the next lie between two, and where that has a meaning.

    It has none where one of them is NaN and the other is not. Both are float arrays of one length; of
    different precision they are compared in the higher one.

    >>> ulps_apart(np.array([1.0, -0.0]), np.array([1.0, 5e-324]))
    (array([0, 2], dtype=uint64), array([ True,  True]))
    """
    dtype = np.result_type(a, b)
    if dtype.itemsize not in {2, 4, 8}:
        raise GradvizValueError(f"floats of {dtype.itemsize} bytes have no ulps here")
    one, other = _ordinals(a.astype(dtype)), _ordinals(b.astype(dtype))
    nans = np.isnan(a) != np.isnan(b)
    return np.maximum(one, other) - np.minimum(one, other), ~nans


def _ordinals(numbers: np.ndarray) -> np.ndarray:
    """Return the place of every float among all of them, from the least to the greatest."""
    unsigned = np.dtype(f"u{numbers.dtype.itemsize}")
    sign = unsigned.type(1 << (8 * unsigned.itemsize - 1))
    bits = np.ascontiguousarray(numbers).view(unsigned)
    return np.where(bits & sign, ~bits, bits | sign).astype(np.uint64)


def _relative(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return ``|a - b| / max(|a|, |b|)``: 0 where both are the same, NaN where one of them is NaN."""
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(a), np.abs(b))
        found = np.where(size == 0, 0.0, np.abs(a / size - b / size))
    return np.where(np.isnan(a) & np.isnan(b), 0.0, found)
