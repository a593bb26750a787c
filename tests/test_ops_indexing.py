"""Indexing and selecting: every kind of index, repeats, masks, branches not taken, limits, order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import gradviz
from gradviz import Tensor, constant
from gradviz.errors import GradvizIndexError, GradvizTypeError, GradvizValueError
from tests.slopes import agree, gradients, numbers

MASK = np.array([[True, False, True, False], [False] * 4, [True] * 4])
INDICES = [
    *(
        0,
        -1,
        np.int64(2),
        np.array(1),
        (1, 2),
        (-1, -1),
        slice(None),
        slice(1, None),
        slice(None, None, -1),
        slice(3, 0, -2),
    ),
    *(
        (slice(None), 1),
        (slice(0, 2), slice(None, None, 2)),
        Ellipsis,
        (Ellipsis, 1),
        None,
        (None, 1),
        (slice(None), None, 0),
    ),
    *(
        [0, 0, 2],
        [-1, 0],
        [],
        [[0, 1], [2, 2]],
        range(2),
        np.array([2, 0, 2]),
        np.array([], np.int64),
        ([0, 1], [3, 3]),
    ),
    *(
        ([2, 2, 2], slice(1, 3)),
        (slice(None), [0, 0, 3]),
        (None, [1, 1], Ellipsis),
        ([[0], [2]], [1, 1, 2]),
        (1, [0, 0]),
    ),
    *(
        MASK,
        MASK.tolist(),
        MASK[:, 0],
        (slice(None), MASK[0]),
        (MASK[:, 0], [1, 2]),
        np.zeros((3, 4), bool),
        True,
        False,
    ),
    *(np.ix_([0, 2], [1, 1]), (slice(2, 2), 0), ()),
]


@pytest.mark.parametrize("number", range(len(INDICES)))
def test_an_index_is_what_numpy_says(number):
    agree(lambda x: x[INDICES[number]], numbers(3, 4))


@given(st.data())
def test_any_index_adds_up_where_it_repeats(data):
    x = np.arange(24.0).reshape(2, 3, 4)
    basic = hnp.basic_indices(x.shape, allow_newaxis=True)
    index = data.draw(st.one_of(basic, hnp.integer_array_indices(x.shape), hnp.arrays(bool, x.shape)))
    (g,) = gradients(lambda t: t[index], x)
    expected = np.zeros_like(x)
    np.add.at(expected, index, 1.0)
    np.testing.assert_array_equal(g, expected)


def test_the_index_is_kept_as_it_was():
    rows, mask = np.array([0, 0]), np.array([True, False, False])
    nested = ([0, 1], rows)
    x = Tensor(numbers(3, 3))
    y = x[rows].sum() + x[mask].sum() + x[nested].sum()
    rows[:], mask[:] = 2, True
    nested[0][:] = [2, 2]
    y.backward()
    expected = np.zeros((3, 3))
    expected[0] = 3
    expected[0, 0] += 1
    expected[1, 0] += 1
    np.testing.assert_array_equal(x.grad, expected)


def test_recorded_indices_cannot_be_written_to():
    y = Tensor(numbers(3, 3))[np.array([0, 1]), [1, 1]]
    assert not any(part.flags.writeable for part in y.attrs["index"])


def test_integer_tensors_are_indices():
    x, i = Tensor([1.0, 2.0, 3.0]), constant(np.array([2, 0]))
    np.testing.assert_array_equal(x[i].data, [3, 1])
    np.testing.assert_array_equal(x[constant(np.array(1)) :].data, [2, 3])
    np.testing.assert_array_equal(x[constant(np.array([True, False, True]))].data, [1, 3])
    np.testing.assert_array_equal(np.take(x, i).data, [3, 1])


def test_iterating_gives_rows_with_gradients():
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    first, second = x
    (first * 2 + second * 3).sum().backward()
    np.testing.assert_array_equal(x.grad, [[2, 2], [3, 3]])


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (5, GradvizIndexError, r"getitem\(t of shape \(2, 3\), index=5\): index 5 is out of bounds"),
        (([0, 1], [0, 7]), GradvizIndexError, r"index=\(\[0, 1\], \[0, 7\]\)\): index 7 is out of bounds for axis 1"),
        ((0, 0, 0), GradvizIndexError, "too many indices"),
        (0.5, GradvizIndexError, "index=0.5"),
        ("row", GradvizIndexError, "index='row'"),
        (np.array([True]), GradvizIndexError, "boolean index did not match"),
        (Tensor([0.0, 1.0], name="i"), GradvizTypeError, "index cannot be 'i', a Tensor of float64"),
        (([0, 1], Tensor(1.0)), GradvizTypeError, "a Tensor of float64"),
    ],
)
def test_a_wrong_index_says_tensor_index_and_shape(index, error, message):
    t = Tensor(np.ones((2, 3)), name="t")
    with pytest.raises(error, match=message) as caught:
        t[index]
    assert __file__ in caught.value.where


def test_an_index_error_is_the_built_in_one():
    assert issubclass(GradvizIndexError, IndexError)
    with pytest.raises(IndexError):
        Tensor(1.0)[0]


def test_elements_cannot_be_assigned():
    t = Tensor([1.0, 2.0], name="t")
    with pytest.raises(GradvizTypeError, match=r"'t' cannot be changed in place[\s\S]*np.where"):
        t[0] = 5.0
    with pytest.raises(GradvizTypeError):
        t[0] += 5.0
    np.testing.assert_array_equal(t.data, [1, 2])


def test_the_second_derivative_passes_through_an_index():
    x = Tensor([1.0, 2.0, 3.0])
    (x[[0, 0, 2]] ** 3).sum().backward(create_graph=True)
    g = x.grad
    x.zero_grad()
    g.sum().backward()
    np.testing.assert_allclose(x.grad, [12, 0, 18])


# -- functions that index -----------------------------------------------------------------------

ORDER = np.array([[3, 0, 0, 1], [2, 2, 2, 2], [0, 1, 2, 3]])
CALLS = [
    *(lambda x: np.take(x, [5, 0, 5]), lambda x: x.take([1, 1], 1), lambda x: np.take(x, [[0, 2], [1, 1]], axis=0)),
    *(
        lambda x: np.take(x, 3),
        lambda x: np.take(x, [-1, 13], mode="wrap"),
        lambda x: np.take(x, [-4, 99], 1, mode="clip"),
    ),
    *(
        lambda x: np.take(x, []),
        lambda x: np.take_along_axis(x, ORDER, 1),
        lambda x: np.take_along_axis(x, ORDER[2:] % 3, axis=0),
    ),
    *(
        lambda x: np.take_along_axis(x, np.array([3, 3, 0]), None),
        lambda x: np.compress([True, False, True], x, axis=0),
    ),
    *(lambda x: np.compress([0, 1, 1], x), lambda x: np.extract(MASK, x), np.sort, lambda x: np.sort(x, 0)),
    *(
        lambda x: np.sort(x, axis=None),
        lambda x: np.sort(x, kind="stable"),
        lambda x: np.sort(x, axis=0, kind="heapsort"),
    ),
    *(lambda x: np.partition(x, 1), lambda x: np.partition(x, (0, 2), axis=0), lambda x: np.partition(x, 5, axis=None)),
    *(lambda x: np.where(MASK, x, 0.0), lambda x: np.where(MASK[:, :1], 1.0, x), lambda x: np.where(x > 0, x, x * x)),
    *(lambda x: np.where(MASK[0], x, x[:, :1]), lambda x: np.where(True, x, x[0]), lambda x: np.where(1, x[0, 0], 2.0)),
    *(lambda x: np.select([x > 2, x > 0], [x, x**2]), lambda x: np.select([MASK], [x], default=x[0])),
    *(
        lambda x: np.choose(ORDER[:, :1] % 3, [x, -x, x * x]),
        lambda x: np.clip(x, -1, 2),
        lambda x: np.clip(x, min=0.5),
    ),
    *(
        lambda x: x.clip(-1, 1),
        lambda x: x.clip(max=0),
        lambda x: np.clip(x, None, 1.0),
        lambda x: np.clip(x, max=x[0] + 0.1),
    ),
    *(
        lambda x: np.clip(x, np.array([[-1], [0.2], [1]]), 2),
        lambda x: np.clip(x[0], x[1], 9.0),
        lambda x: np.clip(x, 2, 1),
    ),
    *(np.nan_to_num, lambda x: np.nan_to_num(x, nan=3.0)),
]


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_a_call_is_what_numpy_says(number):
    agree(CALLS[number], numbers(3, 4))


def test_where_alone_gives_plain_indices():
    t = Tensor([0.0, 1.0, 2.0])
    (found,) = np.where(t > 0.5)
    np.testing.assert_array_equal(found, [1, 2])
    np.testing.assert_array_equal(np.where(t)[0], [1, 2])


def test_where_stops_what_comes_from_above_at_the_branch_not_taken():
    x, y = Tensor([1.0, 2.0]), Tensor([3.0, 4.0])
    np.where(np.array([True, False]), x, y).backward(grad=np.array([np.nan, np.inf]))
    np.testing.assert_array_equal(x.grad, [np.nan, 0])
    np.testing.assert_array_equal(y.grad, [0, np.inf])


def test_a_steep_branch_that_was_not_taken_still_makes_nan():
    x = Tensor([0.0, 4.0])
    with np.errstate(all="ignore"):
        np.where(x > 0, np.sqrt(x), 0.0).sum().backward()
    np.testing.assert_array_equal(x.grad, [np.nan, 0.25])  # 0 · Inf, as in PyTorch
    x.zero_grad()
    np.where(x > 0, np.sqrt(np.where(x > 0, x, 1.0)), 0.0).sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 0.25])


def test_where_takes_a_tensor_as_condition_and_keeps_float32():
    c, x = Tensor([1.0, 0.0]), Tensor(np.ones(2, np.float32))
    y = np.where(c, x, 0.0)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == np.float32
    assert c.grad is None


def test_sorting_equal_elements_keeps_their_order():
    (g,) = gradients(np.sort, [2.0, 1.0, 2.0, 1.0], weights=[1, 2, 3, 4])
    np.testing.assert_array_equal(g, [3, 1, 4, 2])
    (g,) = gradients(np.sort, [np.nan, 1.0], weights=[10, 20])
    np.testing.assert_array_equal(g, [20, 10])


def test_clip_lets_the_limits_through_and_nan_too():
    (g,) = gradients(lambda x: np.clip(x, 0, 1), [-1.0, 0.0, 0.5, 1.0, 2.0, np.nan])
    np.testing.assert_array_equal(g, [0, 1, 1, 1, 0, 1])


def test_a_limit_that_is_a_tensor_gets_the_gradient_of_what_it_cut():
    x, low = Tensor([0.0, 5.0, 2.0]), Tensor([1.0, 1.0, 1.0])
    gradviz.clip(x, low, 4.0).sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 0, 1])
    np.testing.assert_array_equal(low.grad, [1, 0, 0])


def test_nan_to_num_passes_no_gradient_where_it_replaced():
    x = [1.0, np.nan, np.inf, -np.inf]
    y = np.nan_to_num(Tensor(x), nan=7.0, posinf=8.0, neginf=9.0)
    np.testing.assert_array_equal(y.data, [1, 7, 8, 9])
    np.testing.assert_array_equal(gradients(np.nan_to_num, x)[0], [1, 0, 0, 0])


def test_plain_answers():
    t = Tensor([3.0, 0.0, 1.0])
    assert t.argsort().tolist() == np.argsort(t).tolist() == [1, 2, 0]
    assert t.any()
    assert not t.all()
    assert t.nonzero()[0].tolist() == [0, 2]
    assert (t.argmax(), t.argmin()) == (0, 1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: np.take(t, 9), GradvizIndexError, "index 9 is out of bounds"),
        (lambda t: np.take(t, 1, mode="bounce"), GradvizValueError, 'use "raise", "wrap" or "clip"'),
        (lambda t: np.take_along_axis(t, np.array([0]), 0), GradvizValueError, "indices of 1 dimensions"),
        (lambda t: np.where(t > 0, t), GradvizTypeError, "one or three"),
        (lambda t: np.select([t > 0], [t, t]), GradvizValueError, "1 conditions for 2 choices"),
        (lambda t: np.choose(np.array([3, 0, 0]), [t, t]), GradvizValueError, "not among the 2 choices"),
        (lambda t: np.nan_to_num(t, copy=False), GradvizTypeError, "takes no copy"),
        (lambda t: np.sort(t, order="x"), GradvizTypeError, "takes no order"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call(Tensor(np.ones((2, 3)), name="t"))
