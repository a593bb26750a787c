"""Linear algebra and contractions: against PyTorch and NumPy, at singular matrices, with wrong shapes."""

import math

import numpy as np
import pytest
import torch

import gradviz
from gradviz import Tensor
from gradviz.errors import GradvizError, GradvizTypeError, GradvizValueError, LinearAlgebraError, ShapeError
from tests.beside_torch import beside_torch
from tests.slopes import agree

RNG = np.random.default_rng(11)
A = RNG.normal(size=(3, 3)) + 2 * np.eye(3)
STACK = RNG.normal(size=(4, 3, 3)) + 2 * np.eye(3)
HALF = RNG.normal(size=(2, 3, 3))
POSITIVE = HALF @ np.swapaxes(HALF, -1, -2) + np.eye(3)
V, M = RNG.normal(size=3), RNG.normal(size=(3, 2))


def apart(shape):
    """Return values that do not tie and are not near 0."""
    x = np.linspace(0.5, 2.0, math.prod(shape)).reshape(shape)
    return x * np.where(np.arange(x.size).reshape(shape) % 2, 1, -1)


# -- equations, inverses, determinants, factors -------------------------------------------------


@pytest.mark.parametrize(("a", "b"), [(A, V), (A, M), (STACK, RNG.normal(size=(4, 3, 2))), (STACK, M)])
def test_solve_is_pytorchs(a, b):
    beside_torch(np.linalg.solve, torch.linalg.solve, a, b, rtol=1e-9)


@pytest.mark.parametrize("x", [A, STACK, A[:1, :1]])
@pytest.mark.parametrize("name", ["inv", "det"])
def test_inverses_and_determinants_are_pytorchs(name, x):
    beside_torch(getattr(np.linalg, name), getattr(torch.linalg, name), x, rtol=1e-9)


@pytest.mark.parametrize("x", [A, STACK, -A])
def test_slogdet_is_pytorchs(x):
    beside_torch(lambda x: np.linalg.slogdet(x).logabsdet, lambda x: torch.linalg.slogdet(x).logabsdet, x, rtol=1e-9)
    assert np.array_equal(np.linalg.slogdet(Tensor(x)).sign, np.linalg.slogdet(x).sign)


def test_slogdet_is_one_node_with_an_item():
    sign, logarithm = np.linalg.slogdet(Tensor(A))
    assert isinstance(sign, float)
    assert (logarithm.op, logarithm.inputs[0].op) == ("getitem", "slogdet")


def test_cholesky_is_pytorchs():
    beside_torch(np.linalg.cholesky, torch.linalg.cholesky, POSITIVE, rtol=1e-9, second=False)
    beside_torch(np.linalg.cholesky, lambda x: torch.linalg.cholesky(0.5 * (x + x.mT)), POSITIVE, rtol=1e-9)


@pytest.mark.parametrize("shape", [(4, 2), (2, 4), (2, 4, 3)])
def test_pinv_is_pytorchs(shape):
    beside_torch(np.linalg.pinv, torch.linalg.pinv, RNG.normal(size=shape), rtol=1e-8)


@pytest.mark.parametrize("n", [-3, -1, 1, 2, 5, 8])
def test_matrix_power(n):
    agree(lambda x: np.linalg.matrix_power(x, n), 0.5 * A)
    assert np.array_equal(np.linalg.matrix_power(Tensor(A), 0).numpy(), np.eye(3))


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_the_gradient_of_a_determinant_is_right_at_a_singular_matrix(rank):
    x = Tensor(RNG.normal(size=(3, rank)) @ RNG.normal(size=(rank, 3)))
    np.linalg.det(x).backward()
    value = x.numpy()
    for i, j in np.ndindex(3, 3):
        minor = np.delete(np.delete(value, i, 0), j, 1)
        assert x.grad[i, j] == pytest.approx((-1) ** (i + j) * np.linalg.det(minor), abs=1e-12)


def test_a_singular_matrix_is_named():
    weights = Tensor(np.ones((2, 2)))
    for call in (lambda: np.linalg.inv(weights), lambda: np.linalg.solve(weights, [1.0, 2.0])):
        with pytest.raises(LinearAlgebraError, match=r"weights of shape \(2, 2\).*Singular") as caught:
            call()
        assert isinstance(caught.value, np.linalg.LinAlgError | GradvizError | ValueError)
        assert "pinv" in str(caught.value)
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.inv(weights)


def test_a_matrix_that_is_not_positive_definite_is_named():
    covariance = Tensor([[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(LinearAlgebraError, match=r"covariance of shape .*positive definite"):
        np.linalg.cholesky(covariance)


def test_wrong_shapes_are_named():
    flat, wide = Tensor([1.0, 2.0]), Tensor(np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"inv\(wide of shape \(2, 3\)\)"):
        np.linalg.inv(wide)
    with pytest.raises(ShapeError, match=r"det\(flat of shape \(2,\)\)"):
        np.linalg.det(flat)
    with pytest.raises(ShapeError, match=r"matmul\(wide of shape \(2, 3\), flat of shape \(2,\)\)"):
        np.matmul(wide, flat)


def test_the_logarithm_of_a_zero_determinant_has_no_derivative():
    x = Tensor(np.ones((2, 2)))
    logarithm = np.linalg.slogdet(x).logabsdet
    assert logarithm.item() == -math.inf
    with pytest.raises(LinearAlgebraError, match="no derivative"):
        logarithm.backward()
    assert x.grad is None


# -- norms --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ord", [None, 2, 1, 3, 1.5, 0.5, -1, math.inf, -math.inf])
def test_vector_norms_are_pytorchs(ord):
    theirs = 2 if ord is None else ord
    beside_torch(lambda x: np.linalg.norm(x, ord), lambda x: torch.linalg.vector_norm(x, theirs), apart((4,)))
    beside_torch(
        lambda x: np.linalg.norm(x, ord, axis=1), lambda x: torch.linalg.vector_norm(x, theirs, dim=1), apart((3, 4))
    )


@pytest.mark.parametrize("ord", ["fro", 1, -1, math.inf, -math.inf])
@pytest.mark.parametrize("keepdims", [False, True])
def test_matrix_norms_are_pytorchs(ord, keepdims):
    beside_torch(
        lambda x: np.linalg.norm(x, ord, axis=(0, 2), keepdims=keepdims),
        lambda x: torch.linalg.matrix_norm(x, ord, dim=(0, 2), keepdim=keepdims),
        apart((3, 2, 4)),
    )
    agree(lambda x: np.linalg.norm(x, ord), apart((3, 2)))
    agree(lambda x: np.linalg.matrix_norm(x, ord=ord), apart((3, 2)))


def test_norms_of_everything():
    agree(np.linalg.norm, apart((2, 3, 2)))
    agree(lambda x: np.linalg.vector_norm(x, ord=3), apart((2, 3)))
    agree(lambda x: np.linalg.norm(x, keepdims=True), apart((2, 3)))


@pytest.mark.parametrize("ord", [2, 1, 3, 1.5, math.inf, -math.inf])
def test_the_gradient_of_a_norm_at_zero_is_zero(ord):
    beside_torch(
        lambda x: np.linalg.norm(x, ord), lambda x: torch.linalg.vector_norm(x, ord), np.zeros(3), second=False
    )


def test_elements_that_tie_for_the_largest_share_the_gradient():
    x = [2.0, -2.0, 1.0]
    beside_torch(lambda x: np.linalg.norm(x, np.inf), lambda x: torch.linalg.vector_norm(x, math.inf), x, second=False)


def test_the_number_of_elements_that_are_not_zero_has_derivative_zero():
    x = Tensor([0.0, 3.0, -1.0])
    y = np.linalg.norm(x, 0)
    y.backward()
    assert (y.item(), x.grad.tolist()) == (2.0, [0.0, 0.0, 0.0])


def test_norms_without_a_rule_say_so():
    for ord in (2, "nuc"):
        with pytest.raises(GradvizValueError, match=f"ord={ord!r} of a matrix"):
            np.linalg.norm(Tensor(A), ord)
    with pytest.raises(GradvizValueError, match="axis="):
        np.linalg.norm(Tensor(STACK), 1)


# -- contractions -------------------------------------------------------------------------------

EINSUMS = [
    *(("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk", (2, 3), (3, 4)), ("ba", (2, 3)), ("ii", (3, 3)), ("ii->i", (3, 3))),
    *(("iij->j", (3, 3, 2)), ("iij,jk->ik", (3, 3, 2), (2, 4)), ("ij->", (2, 3)), ("i,j->ij", (2,), (3,))),
    *(("...ij,...jk->...ik", (2, 2, 3), (3, 4)), ("...i,i", (2, 3), (3,)), ("i...->...", (2, 3, 2))),
    *(("bij,bjk,kl->bil", (2, 2, 3), (2, 3, 2), (2, 4)), ("ij,ij->i", (1, 3), (2, 3)), (" i j -> j i ", (2, 3))),
    *((",i->i", (), (3,)), ("iiii->i", (2, 2, 2, 2)), ("iji->j", (2, 3, 2)), ("ab...,b...", (2, 3, 4), (3, 1))),
    *(("i,i,i->", (3,), (3,), (3,)), ("...,...", (2, 3), (3,)), ("Ab,bA->A", (2, 3), (3, 2))),
]


@pytest.mark.parametrize(("subscripts", "shapes"), [(s, shapes) for s, *shapes in EINSUMS])
def test_einsum_is_numpys(subscripts, shapes):
    agree(lambda *xs: np.einsum(subscripts, *xs), *(RNG.normal(size=shape) for shape in shapes))


def test_einsum_takes_lists_of_axes_and_paths():
    x, y = RNG.normal(size=(2, 3)), RNG.normal(size=(3, 4))
    agree(lambda x, y: np.einsum(x, [0, 1], y, [1, 2], [0, 2]), x, y)
    agree(lambda x, y: np.einsum(x, [0, 1], y, [1, 2]), x, y)
    agree(lambda x: np.einsum(x, [..., 1], [1, ...]), x)
    agree(lambda x, y: np.einsum("ij,jk->ik", x, y, optimize=True), x, y)


def test_einsum_twice_differentiated_is_pytorchs():
    beside_torch(
        lambda *t: np.einsum("iij,jk,k->i", *t),
        lambda *t: torch.einsum("iij,jk,k->i", *t),
        *(RNG.normal(size=s) for s in ((3, 3, 2), (2, 4), (4,))),
    )


def test_einsum_explains_what_does_not_fit():
    x, y = Tensor(np.ones((2, 3))), Tensor(np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"einsum\(x of shape \(2, 3\), y of shape \(2, 3\)"):
        np.einsum("ij,jk", x, y)
    with pytest.raises(GradvizTypeError, match="no operands"):
        gradviz.einsum("ij")


@pytest.mark.parametrize(
    "shapes", [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 2)), ((), (2, 3)), ((2, 2, 3), (4, 3, 2))]
)
def test_dot_is_numpys(shapes):
    agree(np.dot, *(RNG.normal(size=s) for s in shapes))


@pytest.mark.parametrize("axes", [0, 1, 2, ((1, 2), (0, 1)), ((2, 1), (1, 0)), (1, 0), ((-1,), (1,))])
def test_tensordot_is_numpys(axes):
    other = {0: (2,), 1: (4, 2)}.get(axes if isinstance(axes, int) else -1, (3, 4, 2))
    agree(lambda x, y: np.tensordot(x, y, axes), RNG.normal(size=(2, 3, 4)), RNG.normal(size=other))


def test_other_products_are_numpys():
    x, y = RNG.normal(size=(4, 3)), RNG.normal(size=3)
    agree(np.inner, x, y)
    agree(np.inner, x, RNG.normal(size=(2, 5, 3)))
    agree(np.outer, x, y)
    agree(np.vdot, y, RNG.normal(size=3))
    agree(np.vecdot, x, y)
    assert np.allclose(gradviz.vecdot(Tensor(x), x, axis=0).data, np.vecdot(x, x, axis=0), rtol=1e-14)
    agree(np.kron, x, y)
    agree(np.kron, y, RNG.normal(size=(2, 2, 2)))
    agree(np.cross, x, y)
    agree(lambda x, y: np.cross(x, y, axis=0), x.T, -(x.T[:, ::-1] ** 2))


def test_cross_wants_three_elements():
    with pytest.raises(GradvizValueError, match="3 elements"):
        np.cross(Tensor([1.0, 2.0]), [1.0, 2.0])


def test_float32_stays_float32():
    x = Tensor(A.astype(np.float32))
    for y in (np.linalg.inv(x), np.linalg.det(x), np.linalg.norm(x), np.einsum("ii->i", x), np.linalg.slogdet(x)[1]):
        assert y.dtype == np.float32
        y.sum().backward()
        assert x.grad.dtype == np.float32
