"""Linear algebra: matrix products, equations, inverses, determinants, factors, norms.

Reverse rules follow Giles, "Collected matrix derivative results for forward and reverse mode
algorithmic differentiation" (2008), and are checked against PyTorch and finite differences.
All of them take stacks of matrices, as NumPy does.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...errors import LinearAlgebraError
from ..registry import Sample, implements, primitive
from ..sites import where
from ..tensor import Tensor, constant
from .indexing import getitem
from .rules import numbers
from .samples import Samples, cases

__all__ = [
    "cholesky",
    "det",
    "inv",
    "matmul",
    "matrix_power",
    "pinv",
    "slogdet",
    "solve",
]

GILES = "Giles, Collected matrix derivative results (2008)"
MURRAY = "Murray, Differentiation of the Cholesky decomposition (2016)"
GOLUB = "Golub and Pereyra, The differentiation of pseudo-inverses (1973)"


def transposed(x: Any) -> Any:
    """Return matrices, or a stack of them, transposed."""
    return np.swapaxes(x, -1, -2)


# -- products ---------------------------------------------------------------------------------


def _matmul_left(g: Any, out: Any, x: Any, y: Any) -> Any:
    if np.ndim(y) == 1:
        return np.expand_dims(g, -1) * y if np.ndim(x) > 1 else g * y
    if np.ndim(x) == 1:
        return np.sum(np.expand_dims(g, -2) * y, axis=(*range(np.ndim(y) - 2), -1))
    return np.matmul(g, transposed(y))


def _matmul_right(g: Any, out: Any, x: Any, y: Any) -> Any:
    if np.ndim(x) == 1:
        return np.expand_dims(x, -1) * np.expand_dims(g, -2) if np.ndim(y) > 1 else g * x
    if np.ndim(y) == 1:
        return np.sum(np.expand_dims(g, -1) * x, axis=tuple(range(np.ndim(x) - 1)))
    return np.matmul(transposed(x), g)


@primitive(
    _matmul_left, _matmul_right, symbol="@", formulas=("{1}ᵀ", "{0}ᵀ"), implements=(np.matmul,),
    samples=cases(
        (((2, 3), (3, 4)), {}), (((3,), (3,)), {}), (((3,), (3, 2)), {}), (((2, 3), (3,)), {}),
        (((5, 2, 3), (3, 4)), {}), (((5, 2, 3), (5, 3, 4)), {}), (((2, 3), (5, 3, 4)), {}), (((3,), (5, 3, 2)), {}),
        (((5, 2, 3), (3,)), {}), (((4, 1, 2, 3), (5, 3, 2)), {}), (((0, 3), (3, 2)), {}),
    ),
)  # fmt: skip
def matmul(x: Any, y: Any) -> Any:
    """Return the matrix product ``x @ y``, over stacks of matrices too.

    >>> from gradviz import Tensor
    >>> (Tensor([[1.0, 2.0]]) @ Tensor([[3.0], [4.0]])).item()
    11.0
    """
    return np.matmul(x, y)


@implements(np.linalg.matrix_power)
def matrix_power(x: Any, n: int) -> Tensor:
    """Return the ``n``-th power of a square matrix, by repeated products; ``n`` may be negative."""
    from .elementwise import positive

    if n == 0:
        return constant(np.linalg.matrix_power(numbers(x), 0))
    base = inv(x) if n < 0 else positive(x)
    out = None
    for i, bit in enumerate(reversed(f"{abs(n):b}")):
        base = matmul(base, base) if i else base
        if bit == "1":
            out = base if out is None else matmul(out, base)
    return out  # type: ignore[return-value]


# -- equations and inverses -------------------------------------------------------------------


def well_conditioned(*shapes: tuple[tuple[int, ...], ...]) -> Samples:
    """Make samples whose first operand is a well-conditioned matrix, neither symmetric nor normal."""

    def samples(rng: np.random.Generator) -> Any:
        for first, *others in shapes:
            matrix = rng.uniform(-1, 1, first) + 2.0 * np.eye(first[-1])
            yield Sample((matrix, *(rng.uniform(-2, 2, shape) for shape in others)))

    return samples


def _solve_right(g: Any, y: Any, a: Any, b: Any) -> Any:
    if np.ndim(b) == 1:
        return np.linalg.solve(transposed(a), np.expand_dims(g, -1))[..., 0]
    return np.linalg.solve(transposed(a), g)


def _solve_left(g: Any, y: Any, a: Any, b: Any) -> Any:
    back = _solve_right(g, y, a, b)
    if np.ndim(b) == 1:
        return -np.expand_dims(back, -1) * np.expand_dims(y, -2)
    return -np.matmul(back, transposed(y))


@primitive(
    _solve_left, _solve_right, formulas=("-{0}⁻ᵀ·g·{y}ᵀ", "{0}⁻ᵀ"), implements=(np.linalg.solve,), reference=GILES,
    samples=well_conditioned(
        ((3, 3), (3,)), ((3, 3), (3, 2)), ((4, 3, 3), (4, 3, 2)), ((3, 3), (4, 3, 2)), ((4, 3, 3), (3, 2)),
        ((2, 3, 3), (3,)), ((1, 1), (1,)),
    ),
)  # fmt: skip
def solve(a: Any, b: Any) -> Any:
    """Return the ``x`` with ``a @ x = b``; a ``b`` of one axis is a vector, as in NumPy 2.

    Raises `LinearAlgebraError` for a singular matrix.

    >>> import numpy as np
    >>> from gradviz import Tensor
    >>> np.linalg.solve(Tensor([[2.0, 0.0], [0.0, 4.0]]), [2.0, 2.0])
    Tensor([1. , 0.5])
    """
    return np.linalg.solve(a, b)


@primitive(
    lambda g, y, x: -np.matmul(np.matmul(transposed(y), g), transposed(y)), formulas=("-{y}ᵀ·g·{y}ᵀ",),
    implements=(np.linalg.inv,), samples=well_conditioned(((3, 3),), ((2, 3, 3),), ((1, 1),)), reference=GILES,
)  # fmt: skip
def inv(x: Any) -> Any:
    """Return the inverse of a square matrix; raises `LinearAlgebraError` for a singular one."""
    return np.linalg.inv(x)


def _pinv_vjp(g: Any, y: Any, x: Any, rcond: float | None = None) -> Any:
    rows, columns = np.shape(x)[-2:]
    yt, gt = transposed(y), transposed(g)
    left = np.matmul(np.matmul(np.eye(rows) - np.matmul(x, y), gt), np.matmul(y, yt))
    right = np.matmul(np.matmul(np.matmul(yt, y), gt), np.eye(columns) - np.matmul(y, x))
    return left + right - np.matmul(np.matmul(yt, g), yt)


@primitive(
    _pinv_vjp, formulas=("-{y}ᵀ·g·{y}ᵀ + ...",), samples=cases((((4, 2),), {}), (((2, 4),), {}), (((3, 4, 2),), {})),
    implements=(np.linalg.pinv,), reference=GOLUB,
)  # fmt: skip
def pinv(x: Any, rcond: float | None = None) -> Any:
    """Return the Moore-Penrose pseudo-inverse; the derivative holds where the rank does not change."""
    return np.linalg.pinv(x) if rcond is None else np.linalg.pinv(x, rcond)


# -- determinants -----------------------------------------------------------------------------


def cofactors(x: np.ndarray) -> Any:
    """Return the cofactor matrix, by singular values, so that a singular ``x`` has one too.

    For x = U·S·Vᵀ it is det(U)·det(V)·U·cof(S)·Vᵀ, and cof(S) holds the products of all other
    singular values.
    """
    u, s, vt = np.linalg.svd(x)
    n = s.shape[-1]
    others = np.prod(np.where(np.eye(n, dtype=bool), 1.0, s[..., None, :]), axis=-1).astype(x.dtype)
    orientation = np.sign(np.linalg.det(u)) * np.sign(np.linalg.det(vt))
    return np.matmul(u * (others * orientation[..., None])[..., None, :], vt)


def _last_axes(g: Any) -> Any:
    """Give one number for each matrix the axes to multiply that matrix."""
    return np.expand_dims(g, (-1, -2)) if np.ndim(g) else g


def _det_vjp(g: Any, y: Any, x: Any) -> Any:
    if isinstance(g, Tensor):  # recorded: its own derivative has to exist
        return _last_axes(g * y) * transposed(np.linalg.inv(x))
    return _last_axes(g) * cofactors(np.asarray(x))


@primitive(
    _det_vjp, formulas=("{y}·{0}⁻ᵀ",), implements=(np.linalg.det,), reference=GILES,
    samples=well_conditioned(((3, 3),), ((2, 3, 3),), ((1, 1),)),
)  # fmt: skip
def det(x: Any) -> Any:
    """Return the determinant.

    The gradient is right for singular matrices as well. Only its own derivative
    (``create_graph=True``) needs an invertible matrix and raises `LinearAlgebraError` otherwise.

    >>> import numpy as np
    >>> from gradviz import Tensor
    >>> x = Tensor([[1.0, 2.0], [2.0, 4.0]])
    >>> np.linalg.det(x).backward()
    >>> x.grad.round(12)
    array([[ 4., -2.],
           [-2.,  1.]])
    """
    return np.linalg.det(x)


class SlogdetResult(NamedTuple):
    """What `slogdet` returns: the sign as plain numbers, the logarithm as a Tensor."""

    sign: Any
    logabsdet: Tensor


def _slogdet_vjp(g: Any, y: Any, x: Any) -> Any:
    if np.any(np.equal(numbers(y)[0], 0)):
        raise LinearAlgebraError(
            "slogdet: log|det| of a singular matrix is -inf and has no derivative",
            hint="use det, or add a small multiple of the identity",
            where=where(),
        )
    return _last_axes(g[1]) * transposed(np.linalg.inv(x))


@primitive(
    _slogdet_vjp, name="slogdet", formulas=("{0}⁻ᵀ",), reference=GILES,
    samples=well_conditioned(((3, 3),), ((2, 3, 3),), ((1, 1),)),
)  # fmt: skip
def _slogdet(x: Any) -> Any:
    """Return the sign and the logarithm of the absolute determinant, stacked."""
    return np.stack(np.linalg.slogdet(x))


@implements(np.linalg.slogdet)
def slogdet(x: Any) -> SlogdetResult:
    """Return the sign of the determinant and the logarithm of its absolute value.

    The sign is plain numbers, for it has no derivative; the logarithm is a Tensor. One node
    computes both, the logarithm is an item of it. ``backward()`` raises `LinearAlgebraError` for
    a singular matrix.

    >>> from gradviz import Tensor
    >>> slogdet(Tensor([[2.0, 0.0], [0.0, 0.5]])).logabsdet.item()
    0.0
    """
    both = _slogdet(x)
    sign = numbers(both)[0]
    return SlogdetResult(float(sign) if np.ndim(sign) == 0 else np.array(sign), getitem(both, index=1))


# -- factors ----------------------------------------------------------------------------------


def _cholesky_vjp(g: Any, y: Any, x: Any) -> Any:
    half = np.tri(np.shape(x)[-1]) - 0.5 * np.eye(np.shape(x)[-1])  # the lower triangle, its diagonal halved
    inverse = np.linalg.inv(y)
    inner = np.matmul(transposed(y), g) * half
    out = np.matmul(np.matmul(transposed(inverse), inner), inverse)
    return 0.5 * (out + transposed(out))


def _definite(rng: np.random.Generator) -> Any:
    for shape in ((3, 3), (2, 3, 3), (1, 1)):
        half = rng.uniform(-1, 1, shape)
        yield Sample((half @ np.swapaxes(half, -1, -2) + np.eye(shape[-1]),))


@primitive(
    _cholesky_vjp, formulas=("{y}⁻ᵀ·Φ({y}ᵀ·g)·{y}⁻¹",), implements=(np.linalg.cholesky,), samples=_definite,
    reference=MURRAY,
)  # fmt: skip
def cholesky(x: Any) -> Any:
    """Return the lower triangular ``L`` with ``L @ L.T = x``, for a symmetric positive definite ``x``.

    The symmetric part of ``x`` is what is factored (NumPy reads its lower triangle only), so the
    gradient is symmetric, as in PyTorch. Raises `LinearAlgebraError` if it is not positive definite.
    """
    return np.linalg.cholesky(0.5 * (x + np.swapaxes(x, -1, -2)))
