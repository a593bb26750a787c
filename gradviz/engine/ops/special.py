"""Special functions that NumPy lacks: the error function."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .elementwise import elementwise
from .samples import unary

__all__ = [
    "erf",
]

CODY = "W. J. Cody, Rational Chebyshev approximations for the error function, Math. Comp. 23 (1969)"

# erf(x) = x·P(x²)/Q(x²) for |x| <= 0.46875; highest power first.
SMALL = (
    (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
# erfc(x) = exp(-x²)·P(x)/Q(x) for 0.46875 <= x <= 4.
MIDDLE = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1, 2.98635138197400131e2,
     8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
     3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3),
)  # fmt: skip
# erfc(x) = exp(-x²)/x·(1/sqrt(π) - P(x⁻²)/Q(x⁻²)/x²) for x > 4.
LARGE = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
     1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242, 1.87295284992346725, 5.27905102951428412e-1, 6.05183413124413191e-2,
     2.33520497626869185e-3),
)  # fmt: skip


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Any) -> Any:
    above, below = coefficients
    return np.polyval(above, x) / np.polyval(below, x)


def _erfc_middle(x: Any) -> Any:
    return np.exp(-x * x) * _ratio(MIDDLE, x)


def _erfc_large(x: Any) -> Any:
    inverse = 1.0 / (x * x)
    return np.exp(-x * x) / x * (1.0 / math.sqrt(math.pi) - inverse * _ratio(LARGE, inverse))


@elementwise(
    lambda g, y, x: g * (np.exp(-x * x) * (2.0 / math.sqrt(math.pi))), formulas=("2/sqrt(pi)*exp(-{0}²)",),
    samples=unary(-3, 3), scalar=math.erf, reference=CODY,
)  # fmt: skip
def erf(x: Any) -> Any:
    """Return the error function, to double precision (Cody 1969).

    >>> from gradviz import Tensor
    >>> from gradviz.engine.functions import erf
    >>> round(erf(Tensor(0.5)).item(), 12)
    0.520499877813
    """
    x = np.asarray(x)
    flat = x.astype(np.float64).ravel()
    size = np.abs(flat)
    out = np.sign(flat)  # 1 beyond 6, NaN for NaN
    small, middle = size <= 0.46875, (size > 0.46875) & (size <= 4.0)
    large = (size > 4.0) & (size < 6.0)
    out[small] = flat[small] * _ratio(SMALL, flat[small] ** 2)
    out[middle] *= 1.0 - _erfc_middle(size[middle])
    out[large] *= 1.0 - _erfc_large(size[large])
    return out.reshape(x.shape).astype(x.dtype if x.dtype.kind == "f" else np.float64)
