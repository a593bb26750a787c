"""What a Tensor is to Python and NumPy: attributes, numbers, copies, comparisons, text."""

import copy
import math
import operator
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import gradviz
from gradviz import Tensor, constant, tensor
from gradviz.errors import GradvizError, GradvizTypeError, GradvizValueError, ShapeError

FLOATS = st.floats(-100, 100, allow_subnormal=False)
OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv]


def test_attributes_of_a_leaf():
    w = Tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], name="w")
    assert (w.shape, w.ndim, w.size, len(w), w.dtype) == ((2, 3), 2, 6, 2, np.float64)
    assert (w.name, w.op, w.inputs, w.attrs, w.scope) == ("w", "param", (), {}, ())
    assert (w.is_leaf, w.requires_grad, w.grad) == (True, True, None)
    assert w.T.shape == (3, 2)
    w.name = "weights"
    assert w.name == "weights"
    assert Tensor(1.0, requires_grad=False).op == "input"
    assert constant(1.0).op == "const"
    assert constant(1.0, name="c").name == "c"


def test_attributes_of_a_result():
    w = Tensor([1.0, 2.0])
    y = np.sum(w * 3, axis=0)
    assert (y.op, y.attrs, y.is_leaf, y.requires_grad) == ("sum", {"axis": 0}, False, True)
    product = y.inputs[0]
    assert (product.op, product.inputs[0]) == ("mul", w)
    assert product.inputs[1].item() == 3.0
    assert [x.op for x in (5 - w).inputs] == ["const", "param"]
    assert [x.item() for x in (5 - Tensor(1.0)).inputs] == [5.0, 1.0]
    assert len((w * w).inputs) == 2
    y.attrs["axis"] = 7
    assert y.attrs == {"axis": 0}


def test_attributes_that_are_read_only():
    w = Tensor(1.0)
    for name in ("shape", "op", "inputs", "is_leaf", "source", "nonsense"):
        with pytest.raises(AttributeError):
            setattr(w, name, 1)


def test_numbers():
    t = Tensor(2.5)
    assert (float(t), int(t), bool(t), t.item(), round(float(t))) == (2.5, 2, True, 2.5, 2)
    assert not Tensor(0.0)
    assert math.sqrt(Tensor(4.0)) == 2.0
    assert Tensor([[3.0]]).item() == 3.0
    assert Tensor([1.0, 2.0]).tolist() == [1.0, 2.0]
    with pytest.raises(GradvizValueError, match="2 elements"):
        Tensor([1.0, 2.0]).item()
    with pytest.raises(GradvizError):
        float(Tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match="elements"):
        bool(Tensor([1.0, 2.0]))
    with pytest.raises(GradvizTypeError, match="not an integer"):
        [1, 2][Tensor(1.0)]
    with pytest.raises(GradvizTypeError, match="no len"):
        len(Tensor(1.0))
    with pytest.raises(GradvizTypeError, match="iterated"):
        list(Tensor(1.0))


def test_text():
    assert repr(Tensor(2.5)) == "Tensor(2.5)"
    assert repr(Tensor([1.0, 2.0], name="w")) == "Tensor([1., 2.], name='w')"
    assert "requires_grad=False" in repr(constant(1.0))
    assert f"{Tensor(2.0):.3f}" == "2.000"
    assert f"{Tensor(2.0)}" == "Tensor(2.0)"
    assert len(repr(Tensor(np.zeros(10**6)))) < 500
    assert repr(Tensor(1.0) * 2) == "Tensor(2.0)"
    assert type(Tensor(1.0) * 2).__name__ == type(constant(1.0)).__name__ == "Tensor"
    assert isinstance(Tensor(1.0) * 2, Tensor)


def test_identity_hash_and_comparisons_by_value():
    a, b = Tensor(1.0), Tensor(1.0)
    assert a == b
    assert hash(a) != hash(b)
    assert len({a, b, a}) == 2
    assert {a: "a", b: "b"}[a] == "a"
    assert a < 2 <= Tensor(2.0)
    assert bool(a != 2.0)
    found = Tensor([1.0, 5.0]) > 2
    assert found.dtype == bool
    assert np.array_equal(found, [False, True])
    assert np.array_equal(Tensor([2.0, 2.0]) > [1.0, 9.0], [True, False])
    assert max(Tensor(1.0), Tensor(3.0), Tensor(2.0)).item() == 3.0
    nan = Tensor(math.nan)
    assert bool(nan != nan)  # noqa: PLR0124


def test_iteration_gives_tensors_with_gradients():
    w = Tensor([1.0, 2.0, 3.0])
    first, *rest = w
    (first * 10 + sum(rest)).backward()
    assert np.array_equal(w.grad, [10.0, 1.0, 1.0])
    rows = list(Tensor(np.eye(2)))
    assert [row.shape for row in rows] == [(2,), (2,)]
    assert list(Tensor(np.zeros((0, 2)))) == []
    assert list(zip(w, "abc", strict=True))[2][1] == "c"


@pytest.mark.parametrize("twin_of", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies_are_independent_leaves(twin_of):
    w = Tensor(np.array([1.0, 2.0], np.float32), name="w")
    w.grad = np.ones(2, np.float32)
    twin = twin_of(w)
    assert (twin.name, twin.dtype, twin.is_leaf, twin.requires_grad) == ("w", np.float32, True, True)
    twin.data[0] = 50.0
    assert np.array_equal(w.numpy(), [1.0, 2.0])
    (twin * 2).sum().backward()
    assert np.array_equal(w.grad, [1.0, 1.0])
    assert not twin_of(constant(1.0)).requires_grad
    assert twin_of(Tensor(2.0) * 3).item() == 6.0


def test_deepcopy_of_a_model_and_of_a_long_graph():
    w = Tensor(1.0)
    model = {"w": w, "again": w, "layers": [Tensor([1.0])]}
    twin = copy.deepcopy(model)
    assert twin["w"] is twin["again"]
    y = w
    for _ in range(5000):
        y = y + 1
    assert copy.deepcopy(y).item() == 5001.0
    assert pickle.loads(pickle.dumps(y)).item() == 5001.0


def test_detach_shares_no_gradient():
    w = Tensor([1.0, 2.0], name="w")
    d = w.detach()
    assert not d.requires_grad
    (w * d).sum().backward()
    assert np.array_equal(w.grad, [1.0, 2.0])


def test_no_silent_drop_to_an_array():
    w = Tensor([1.0, 2.0])
    for make in (
        lambda: np.asarray(w),
        lambda: np.array([w, w]),
        lambda: np.array([Tensor(1.0)]),
        lambda: np.asarray(w * 2),
    ):
        with pytest.raises((TypeError, ValueError)):
            make()
    out = np.zeros(2)
    with pytest.raises(TypeError):
        np.add(w, 1, out=out)
    with pytest.raises(TypeError):
        out += w
    with pytest.raises((TypeError, ValueError)):
        out[:] = w
    assert np.array_equal(out, [0.0, 0.0])
    assert isinstance(np.float64(2.0) * w, Tensor)
    assert isinstance(np.float64(2.0) * Tensor(3.0), Tensor)
    assert isinstance(np.ones(2) + w, Tensor)
    assert isinstance(np.ones((2, 2)) @ w, Tensor)
    assert isinstance(np.int64(2) - Tensor(3.0), Tensor)
    assert isinstance(np.float32(2) ** w, Tensor)


def test_questions_without_a_gradient():
    w = Tensor([3.0, np.nan, 1.0])
    assert np.array_equal(np.isnan(w), [False, True, False])
    assert np.argmin(Tensor([3.0, 1.0])) == 1
    assert Tensor([3.0, 1.0]).argmax() == 0
    assert np.shape(w) == (3,)
    assert np.allclose(Tensor([1.0]), [1.0])
    assert np.zeros_like(w).shape == (3,)


def test_operands_that_are_no_numbers():
    with pytest.raises(TypeError):
        Tensor(1.0) + object()
    with pytest.raises(TypeError):
        Tensor(1.0) * "a"
    with pytest.raises(TypeError):
        None - Tensor(1.0)
    with pytest.raises(ShapeError):
        [1.0] @ Tensor(1.0)


def test_augmented_assignment_makes_a_new_node():
    w = Tensor([1.0, 2.0])
    y = w
    y *= 3
    y += w
    assert y is not w
    y.sum().backward()
    assert np.array_equal(w.grad, [4.0, 4.0])
    assert np.array_equal(w.numpy(), [1.0, 2.0])


@pytest.mark.parametrize("op", OPERATORS)
@given(x=FLOATS, y=FLOATS)
def test_scalar_operators_compute_what_numpy_computes(op, x, y):
    with np.errstate(all="ignore"):
        expected = op(np.float64(x), np.float64(y))
        for found in (op(Tensor(x), Tensor(y)), op(Tensor(x), y), op(x, Tensor(y)), op(constant(x), Tensor(y))):
            assert np.array_equal(found.data, expected, equal_nan=True)


@given(x=st.floats(-50, 50), y=st.floats(-5, 5))
def test_powers_compute_what_numpy_computes(x, y):
    with np.errstate(all="ignore"):
        expected = np.power(np.float64(x), np.float64(y))
        for found in (Tensor(x) ** y, x ** Tensor(y), Tensor(x) ** Tensor(y), Tensor([x]) ** y):
            assert np.allclose(found.numpy(), expected, rtol=1e-14, atol=0, equal_nan=True)


SHAPES = hnp.mutually_broadcastable_shapes(num_shapes=2, min_dims=1, max_dims=3, max_side=3, min_side=0)


@pytest.mark.parametrize("op", OPERATORS)
@given(shapes=SHAPES, kinds=st.tuples(*[st.sampled_from([np.float32, np.float64])] * 2), seed=st.integers(0, 99))
def test_array_operators_compute_what_numpy_computes(op, shapes, kinds, seed):
    rng = np.random.default_rng(seed)
    x, y = (rng.uniform(0.5, 2.0, shape).astype(kind) for shape, kind in zip(shapes.input_shapes, kinds, strict=True))
    expected = op(x, y)
    for found in (op(Tensor(x), Tensor(y)), op(Tensor(x), y), op(x, Tensor(y)), op(Tensor(x), constant(y))):
        assert found.shape == np.shape(expected)
        assert found.dtype == np.asarray(expected).dtype
        assert np.array_equal(found.numpy(), expected)
    found.sum().backward()
    assert np.shape(found.inputs[0].grad) == x.shape


def test_scalars_mix_with_float32_as_numbers_do():
    w = Tensor(np.ones(2, np.float32))
    assert (w * 2).dtype == (2.0 * w).dtype == (w / 3).dtype == (w**2).dtype == np.float32
    assert (w + np.float32(1)).dtype == np.float32
    s = Tensor(2.0)  # a scalar is a number: it widens nothing, as in PyTorch
    y = s * w
    assert y.dtype == np.float32
    y.sum().backward()
    assert (s.grad, w.grad.dtype) == (2.0, np.float32)


def test_division_by_zero_and_overflow_warn_and_go_on():
    for make in (lambda: Tensor(1.0) / 0, lambda: 1 / Tensor(0.0), lambda: Tensor(1.0) / Tensor(0.0)):
        with np.errstate(divide="ignore"):
            assert make().item() == math.inf
        with pytest.warns(RuntimeWarning):
            make()
    with np.errstate(over="ignore"):
        assert (Tensor(1e200) ** 2).item() == math.inf
        assert np.exp(Tensor(1000.0)).item() == math.inf
    with np.errstate(invalid="ignore"):
        assert math.isnan(np.log(Tensor(-1.0)).item())
    x = Tensor(0.0)
    with np.errstate(divide="ignore"):
        (1 / x).backward()
    assert x.grad == -math.inf


def test_choices_where_libraries_disagree():
    x = Tensor([2.0, 2.0, 1.0])
    x.max().backward()
    assert np.array_equal(x.grad, [0.5, 0.5, 0.0])
    a, b = Tensor(1.0), Tensor(1.0)
    np.maximum(a, b).backward()
    assert (a.grad, b.grad) == (0.5, 0.5)
    z = Tensor(0.0)
    (z**0 + gradviz.relu(z) + abs(z)).backward()
    assert z.grad == 0.0
    p = Tensor([0.0, 2.0, 3.0])
    p.prod().backward()
    assert np.array_equal(p.grad, [6.0, 0.0, 0.0])
    n = Tensor([math.nan, 1.0])
    gradviz.relu(n).sum().backward()
    assert math.isnan(gradviz.relu(n).data[0])


def test_shapes_that_do_not_fit():
    with pytest.raises(ShapeError):
        Tensor(np.ones(2)) + Tensor(np.ones(3))
    with pytest.raises(ShapeError):
        Tensor(np.ones((2, 3))).reshape(4)
    with pytest.raises((ShapeError, GradvizError)):
        Tensor(np.ones(3))[5]
    assert issubclass(ShapeError, ValueError)


def test_tensor_is_the_name_pytorch_users_know():
    assert tensor([1, 2], name="w").name == "w"
    assert not tensor(1.0, requires_grad=False).requires_grad
