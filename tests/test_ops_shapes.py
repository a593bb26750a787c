"""Shapes, joining, splitting and padding: NumPy's own calls on Tensors, dtypes, and what wrong calls say."""

import numpy as np
import pytest

import gradviz
from gradviz import Tensor
from gradviz.errors import GradvizTypeError, GradvizValueError, ShapeError
from tests.slopes import agree, gradients, numbers

SHAPES = [
    *(
        lambda x: np.reshape(x, (4, 6)),
        lambda x: np.reshape(x, -1),
        lambda x: x.reshape(2, -1),
        lambda x: x.reshape(-1),
    ),
    *(lambda x: x.reshape((3, 8)), lambda x: np.reshape(x, shape=[6, 4]), np.ravel, lambda x: x.ravel()),
    *(lambda x: x.flatten(), lambda x: np.expand_dims(x, 1), lambda x: np.expand_dims(x, (0, -1))),
    *(lambda x: np.squeeze(x[:1]), lambda x: np.squeeze(x[:, :1], axis=1), lambda x: x[:1].squeeze(0)),
    *(lambda x: np.broadcast_to(x, (2, 2, 3, 4)), lambda x: np.broadcast_to(x[:, :1], (2, 5, 4))),
    *(np.atleast_1d, lambda x: np.atleast_2d(x[0, 0]), lambda x: np.atleast_3d(x[0], x[0, 0], x)),
    *(np.transpose, lambda x: x.T, lambda x: x.transpose(1, 0, 2), lambda x: np.transpose(x, (2, 0, 1))),
    *(lambda x: x.transpose((-1, 0, 1)), lambda x: x.transpose(), lambda x: np.transpose(x, axes=[0, 2, 1])),
    *(lambda x: np.swapaxes(x, 0, -1), lambda x: x.swapaxes(1, 2), lambda x: np.moveaxis(x, 0, -1)),
    *(lambda x: np.moveaxis(x, (0, 1), (-1, 0)), lambda x: np.moveaxis(x, [2], [0]), np.flip),
    *(lambda x: np.flip(x, 1), lambda x: np.flip(x, (0, 2)), np.fliplr, np.flipud, np.rot90),
    *(
        lambda x: np.rot90(x, 3, (1, 2)),
        lambda x: np.rot90(x, k=-2),
        lambda x: np.roll(x, 5),
        lambda x: np.roll(x, -1, 0),
    ),
    *(lambda x: np.roll(x, (1, 2), axis=(0, 2)), lambda x: np.roll(x, (1, 1), axis=1), lambda x: np.roll(x, 3, (0, 1))),
    *(
        lambda x: np.tile(x, 2),
        lambda x: np.tile(x, (2, 1, 3)),
        lambda x: np.tile(x, (2, 1, 1, 2)),
        lambda x: np.tile(x, 0),
    ),
    *(lambda x: np.repeat(x, 2), lambda x: x.repeat(3, axis=1), lambda x: np.repeat(x, [2, 0, 1], axis=1)),
    *(lambda x: np.repeat(x, [3], axis=-1), lambda x: np.diag(x[0]), lambda x: np.diag(x[0, 0], -1)),
    *(lambda x: np.diag(x[0], k=1), np.diagonal, lambda x: np.diagonal(x, 1, 1, 2), lambda x: x.diagonal(-1, 2, 0)),
    *(np.trace, lambda x: np.trace(x, offset=1, axis1=1, axis2=2), lambda x: x.trace(), np.tril, np.triu),
    *(lambda x: np.tril(x, -1), lambda x: np.triu(x, k=1), np.copy, lambda x: x.copy()),
]
JOINS = [
    *(
        lambda a, b: np.concatenate([a, b]),
        lambda a, b: np.concatenate((a, b), 1),
        lambda a, b: np.concatenate([a, a], -1),
    ),
    *(lambda a, b: np.concatenate([a, b], axis=None), lambda a, b: np.concatenate([a, np.ones((2, 3)), b], axis=0)),
    *(lambda a, b: np.concatenate(a), lambda a, b: np.stack([a, b]), lambda a, b: np.stack((a, b), -1)),
    *(lambda a, b: np.stack([a[0, 0], 2.0, b[1, 1]]), lambda a, b: np.stack([a, np.zeros((3, 3)), b], axis=1)),
    *(lambda a, b: np.vstack([a, b]), lambda a, b: np.vstack([a[0], b]), lambda a, b: np.hstack([a, b])),
    *(lambda a, b: np.hstack([a[0], b[0], 1.0]), lambda a, b: np.dstack([a, b]), lambda a, b: np.dstack([a[0], b[0]])),
    *(lambda a, b: np.column_stack([a[0], b, a]), np.append, lambda a, b: np.append(a, [[1, 2, 3]], 0)),
    *(
        lambda a, b: np.append(a, 7.0),
        lambda a, b: np.meshgrid(a[0], b[0]),
        lambda a, b: np.meshgrid(a[0], b[:, 0], a[1]),
    ),
    *(lambda a, b: np.meshgrid(a[0], b[:2, 0], indexing="ij"), lambda a, b: np.meshgrid(a[0], b[0], sparse=True)),
    *(
        lambda a, b: np.broadcast_arrays(a[0], b[:, :1], a),
        lambda a, b: np.split(a, 3),
        lambda a, b: np.split(a, [1, 2], 1),
    ),
    *(lambda a, b: np.split(a, [2, 9]), lambda a, b: np.array_split(a, 2), lambda a, b: np.array_split(b, 4, axis=1)),
    *(
        lambda a, b: np.hsplit(a, 3),
        lambda a, b: np.hsplit(a[0], 3),
        lambda a, b: np.vsplit(b, [1]),
        lambda a, b: np.unstack(a),
    ),
    *(lambda a, b: np.unstack(a, axis=1),),
]
PADS = [
    *(lambda x: np.pad(x, 1), lambda x: np.pad(x, (1, 2)), lambda x: np.pad(x, ((0, 1), (2, 0)), "constant")),
    *(lambda x: np.pad(x, ((1,), (2,))), lambda x: np.pad(x, 1, mode="constant", constant_values=3.0)),
    *(lambda x: np.pad(x, 1, constant_values=((1, 2), (3, 4))), lambda x: np.pad(x, 0)),
    *(lambda x: np.pad(x, (2, 3), "edge"), lambda x: np.pad(x, ((5, 0), (0, 7)), "reflect")),
    *(lambda x: np.pad(x, 4, mode="symmetric"), lambda x: np.pad(x, (7, 1), mode="wrap")),
]


@pytest.mark.parametrize("number", range(len(SHAPES)))
def test_a_shape_is_what_numpy_says(number):
    agree(SHAPES[number], numbers(2, 3, 4))


@pytest.mark.parametrize("number", range(len(JOINS)))
def test_joining_and_splitting_is_what_numpy_says(number):
    agree(JOINS[number], numbers(3, 3), numbers(3, 3, seed=5))


@pytest.mark.parametrize("number", range(len(PADS)))
def test_padding_is_what_numpy_says(number):
    agree(PADS[number], numbers(3, 4))


@pytest.mark.parametrize("f", [np.ravel, np.atleast_2d, lambda x: np.tile(x, 3), lambda x: np.broadcast_to(x, (2, 3))])
def test_scalars_have_a_shape_too(f):
    agree(f, np.float64(1.5))


def test_results_of_split_are_nodes_of_their_own():
    parts = np.split(Tensor(np.arange(4.0)), 2)
    assert isinstance(parts, list)
    assert [p.op for p in parts] == ["getitem", "getitem"]


def test_a_repeated_operand_gets_both_gradients():
    x = Tensor([1.0, 2.0])
    (np.concatenate([x, x, x]) * [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).sum().backward()
    np.testing.assert_array_equal(x.grad, [9.0, 12.0])


def test_an_operand_of_another_dtype_gets_its_own_back():
    x, y = Tensor(np.ones(2, np.float32)), Tensor(np.ones(2))
    joined = np.concatenate([x, y])
    joined.sum().backward()
    assert joined.dtype == np.float64
    assert (x.grad.dtype, y.grad.dtype) == (np.float32, np.float64)


def test_shapes_of_empty_arrays():
    x = Tensor(np.zeros((0, 3)))
    y = np.concatenate([x, np.ones((1, 3))])
    y.sum().backward()
    assert x.grad.shape == (0, 3)
    assert np.transpose(x).shape == (3, 0)
    assert np.pad(x, 1).shape == (2, 5)


def test_the_recorded_shape_is_not_the_users_list():
    shape = [2, 2]
    x = Tensor(np.arange(4.0))
    y = x.reshape(shape)
    shape[:] = [4, 1]
    y.sum().backward()
    assert y.attrs == {"shape": [2, 2]}


def test_second_derivatives_pass_through_moves():
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    y = np.sum(np.pad(np.concatenate([x.T, np.flip(x)]), 1, mode="edge") ** 3)
    y.backward(create_graph=True)
    g = x.grad
    x.zero_grad()
    g.sum().backward()
    copies = gradients(lambda t: np.sum(np.pad(np.concatenate([t.T, np.flip(t)]), 1, mode="edge")), x.data)[0]
    np.testing.assert_allclose(x.grad, 6 * x.data * copies)


# -- dtypes -------------------------------------------------------------------------------------


def test_astype_carries_the_gradient_between_floating_dtypes():
    x = Tensor(np.array([1.5, 2.5]))
    y = x.astype(np.float32) * 2
    y.sum().backward()
    assert y.dtype == np.float32
    assert x.grad.dtype == np.float64
    np.testing.assert_array_equal(x.grad, [2, 2])
    assert np.astype(x, "float16").dtype == np.float16


def test_astype_to_integers_is_a_constant():
    x = Tensor([1.5, 2.5])
    assert not x.astype(int).requires_grad
    assert x.astype(bool).data.tolist() == [True, True]


@pytest.mark.parametrize("dtype", [complex, object, "U3", "no such dtype"])
def test_astype_to_what_has_no_gradient_is_refused(dtype):
    with pytest.raises(GradvizTypeError, match="astype"):
        Tensor([1.0]).astype(dtype)


def test_copy_is_a_node_that_passes_the_gradient_on():
    x = Tensor([1.0, 2.0])
    y = x.copy()
    y.sum().backward()
    assert y.op == "copy"
    np.testing.assert_array_equal(x.grad, [1, 1])


# -- wrong calls --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: t.reshape(4), ShapeError, r"reshape\(t of shape \(2, 3\), shape=4\): cannot reshape"),
        (lambda t: np.reshape(t, 6, order="F"), GradvizTypeError, "takes no order"),
        (lambda t: np.squeeze(t, 0), ShapeError, "squeeze"),
        (lambda t: np.transpose(t, (0, 0)), ShapeError, "repeated axis"),
        (lambda t: np.expand_dims(t, 5), ShapeError, "axis 5 is out of bounds"),
        (lambda t: np.broadcast_to(t, (3, 2)), ShapeError, r"broadcast_to\(t of shape \(2, 3\)"),
        (lambda t: np.concatenate([t, np.ones(3)]), ShapeError, r"concatenate\(t of shape \(2, 3\), of shape \(3,\)\)"),
        (lambda t: np.stack([t, t.T]), ShapeError, "same shape"),
        (lambda t: np.stack([t, [t[0], t[1]]]), GradvizTypeError, "list that holds Tensors"),
        (lambda t: np.split(t, 4), ShapeError, "length 2 of axis 0 does not divide into 4 equal parts"),
        (lambda t: np.array_split(t, 0), GradvizValueError, "at least 1"),
        (lambda t: np.pad(t, 1, "mean"), GradvizValueError, "use one of constant, edge, reflect, symmetric, wrap"),
        (lambda t: np.pad(t, 1, "edge", stat_length=1), GradvizTypeError, "takes no stat_length"),
        (lambda t: np.pad(t, -1), ShapeError, "negative"),
        (lambda t: np.meshgrid(t[0], indexing="yx"), GradvizValueError, "neither"),
        (lambda t: np.tile(t, -1), ShapeError, "tile"),
        (lambda t: np.repeat(t, [1, 2, 3], axis=0), ShapeError, "repeat"),
        (gradviz.reshape, GradvizTypeError, "reshape"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call(Tensor(np.ones((2, 3)), name="t"))
