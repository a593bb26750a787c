"""What may enter a graph, and arrays that are changed afterwards: right or refused, never silently wrong."""

import contextlib
import decimal
import fractions

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gradviz import Tensor, constant, tensor
from gradviz.errors import GradvizError, GradvizTypeError, ShapeError, StaleValueError

# -- the door ---------------------------------------------------------------------------------

REFUSED = {
    "complex": 1 + 2j,
    "complex array": np.array([1j]),
    "object array": np.array([object()]),
    "array of numbers as objects": np.array([1.0, 2.0], dtype=object),
    "string": "3",
    "string array": np.array(["1", "2"]),
    "bytes": b"1",
    "dates": np.array(["2024-01-01"], dtype="datetime64[D]"),
    "records": np.zeros(2, dtype=[("a", float)]),
    "nothing": None,
    "ragged list": [[1.0], [2.0, 3.0]],
    "dict": {"a": 1.0},
    "set": {1.0},
    "huge integer": 10**400,
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_what_is_no_real_number_is_refused_by_name(value):
    line = "test_admission.py:"
    for make in (lambda: Tensor(value, name="w"), lambda: constant(value, name="w"), lambda: Tensor(1.0) + value):
        with pytest.raises(GradvizTypeError) as caught:
            make()
        assert isinstance(caught.value, TypeError)
        assert line in str(caught.value)
    with pytest.raises(GradvizTypeError, match="'w'"):
        Tensor(value, name="w")


@pytest.mark.parametrize("value", [np.array([1, 2]), np.array([True]), np.arange(3, dtype=np.uint8)])
def test_integers_cannot_have_a_gradient_but_can_take_part(value):
    with pytest.raises(GradvizTypeError, match=f"dtype {value.dtype} cannot require a gradient"):
        Tensor(value)
    labels = Tensor(value, requires_grad=False)
    assert labels.dtype == value.dtype
    w = Tensor(np.ones(value.shape))
    (w * labels).sum().backward()
    assert np.array_equal(w.grad, value.astype(float))


def test_kinds_of_numbers():
    assert Tensor(3).data == 3.0
    assert isinstance(Tensor(3).data, float)
    assert isinstance(Tensor(True).data, float)
    assert isinstance(Tensor(np.float64(3)).data, float)
    assert isinstance(Tensor(np.array(3.0)).data, float)
    assert tensor([1, 2]).dtype == np.float64
    assert tensor([[1, 2], [3, 4]]).shape == (2, 2)
    assert Tensor(np.float32(3)).dtype == np.float32
    assert Tensor(np.ones(2, np.float16)).dtype == np.float16
    assert Tensor(np.ones(2, np.longdouble)).dtype == np.longdouble
    assert Tensor(np.ones(2, ">f8")).dtype == np.dtype("f8")
    assert Tensor(np.ones((0, 3))).shape == (0, 3)
    assert Tensor(Tensor([1.0, 2.0])).is_leaf


def test_numbers_of_other_kinds_are_numbers_or_refused():
    for value in (fractions.Fraction(1, 2), decimal.Decimal("0.5")):
        try:
            w = Tensor(value)
        except GradvizTypeError:
            continue
        assert w.item() == 0.5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.0, 5e-324, 1.7e308])
def test_special_values_stay_as_they_are(value):
    for kept in (Tensor(value).data, Tensor([value]).data[0], (Tensor(value) + -0.0).data):
        assert np.array(kept).tobytes() == np.array(value).tobytes()


def test_special_values_in_gradients():
    x = Tensor([0.0, np.inf, np.nan, 1.0])
    with np.errstate(all="ignore"):
        (x * np.array([np.inf, 0.0, 1.0, 2.0])).sum().backward()
    assert np.array_equal(x.grad, [np.inf, 0.0, 1.0, 2.0])
    y = Tensor(0.0)
    (y * np.inf).backward()
    assert y.grad == np.inf


@given(hnp.arrays(st.sampled_from([np.float16, np.float32, np.float64]), hnp.array_shapes(max_dims=4, min_side=0)))
def test_values_are_kept_bit_for_bit_in_any_layout(array):
    for view in (array, array[::-1], array.T, np.asfortranarray(array)):
        t = Tensor(view)
        assert t.shape == view.shape
        assert t.dtype == view.dtype
        assert t.numpy().tobytes() == np.ascontiguousarray(view).tobytes()


# -- arrays handed in and changed afterwards ---------------------------------------------------


def handed_in():
    """Return an array and ways to change it from outside, through views and bases."""
    base = np.zeros((4, 3))
    base[1:3] = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    view = base[1:3]
    return view, {
        "element": lambda: view.__setitem__((0, 0), 50.0),
        "whole": lambda: view.fill(50.0),
        "base": lambda: base.fill(50.0),
        "another view": lambda: base[::-1].__setitem__(slice(None), 50.0),
        "transpose": lambda: view.T.__setitem__(slice(None), 50.0),
        "flat": lambda: view.flat.__setitem__(0, 50.0),
        "memory": lambda: memoryview(base).cast("B").cast("d").__setitem__(3, 50.0),
        "in place": lambda: np.multiply(view, 7.0, out=view),
        "sorted": lambda: base[:, ::-1].sort(axis=0),
    }


@pytest.mark.parametrize("way", handed_in()[1])
@pytest.mark.parametrize("role", ["leaf", "constant", "operand", "reflected operand", "in a function", "index"])
def test_a_change_between_forward_and_backward_does_not_change_the_gradient(way, role):
    x, ways = handed_in()
    right = np.array(x)
    w = Tensor(np.ones((2, 3)))
    if role == "leaf":
        w = Tensor(x)
        y, expected = w * w, 2 * right
    elif role == "constant":
        y, expected = w * constant(x), right
    elif role == "operand":
        y, expected = w * x, right
    elif role == "reflected operand":
        y, expected = x * w, right
    elif role == "in a function":
        y, expected = np.multiply(x, w) + np.where(x > 2, w, 0), right + (right > 2)
    else:
        w = Tensor(np.arange(10.0))
        y, expected = w[x.astype(int)], np.bincount(right.astype(int).ravel(), minlength=10).astype(float)
    ways[way]()
    y.sum().backward()
    assert np.array_equal(w.grad, expected)


def test_an_index_array_changed_afterwards():
    w, index, mask = Tensor(np.arange(4.0)), np.array([0, 0, 1]), np.array([True, False, True, False])
    y = w[index].sum() + w[mask].sum() * 10
    index[:] = 3
    mask[:] = False
    y.backward()
    assert np.array_equal(w.grad, [12.0, 1.0, 10.0, 0.0])


def test_metadata_changed_afterwards():
    w, condition, low = Tensor(np.array([1.0, 2.0])), np.array([True, False]), np.array([0.0, 5.0])
    y = np.where(condition, w, 0).sum() + np.clip(w, low, None).sum()
    condition[:] = False
    low[:] = 100
    y.backward()
    assert np.array_equal(w.grad, [2.0, 0.0])


# -- a leaf's own data -------------------------------------------------------------------------

CHANGES = {
    "element": lambda w: w.data.__setitem__(0, 5.0),
    "in place": lambda w: np.add(w.data, 1.0, out=w.data),
    "fill": lambda w: w.data.fill(3.0),
    "view": lambda w: w.data[::-1].__setitem__(0, 9.0),
    "setter": lambda w: setattr(w, "data", np.array([7.0, 8.0])),
    "setter by number": lambda w: setattr(w, "data", [7, 8]),
    "augmented": lambda w: setattr(w, "data", w.data - 0.5),
}


@pytest.mark.parametrize("way", CHANGES)
def test_a_leaf_changed_between_forward_and_backward(way):
    """PyTorch returns the gradient at the new value here without a word; we refuse."""
    w = Tensor([1.0, 2.0])
    loss = (w * w).sum()
    CHANGES[way](w)
    changed = w.numpy()
    with pytest.raises(StaleValueError, match="was assigned after"):
        loss.backward()
    assert w.grad is None
    fresh = (w * w).sum()
    fresh.backward()
    assert np.array_equal(w.grad, 2 * changed)


@pytest.mark.parametrize("way", CHANGES)
def test_a_view_kept_from_before_the_forward_pass(way):
    w = Tensor([1.0, 2.0])
    alias = w.data
    loss = (w * w).sum()
    try:
        alias[0] = 50.0
    except ValueError:
        pass
    else:
        with pytest.raises(StaleValueError):
            loss.backward()
        return
    loss.backward()
    assert np.array_equal(w.grad, [2.0, 4.0])


def test_a_view_of_a_view_kept_from_before():
    w = Tensor(np.ones((2, 2)))
    alias = w.data.T[0]
    loss = (w * w).sum()
    with contextlib.suppress(ValueError):
        alias[:] = 50.0
    with contextlib.suppress(StaleValueError):
        loss.backward()
        assert np.array_equal(w.grad, np.full((2, 2), 2.0))


def test_training_in_place_works():
    w, b = Tensor([1.0, 2.0]), Tensor(0.5)
    for _ in range(3):
        loss = ((w * 2 + b) ** 2).sum()
        loss.backward()
        before, grad = w.numpy(), w.grad.copy()
        w.data -= 0.1 * w.grad
        b.data -= 0.1 * b.grad
        assert np.allclose(w.numpy(), before - 0.1 * grad)
        w.zero_grad()
        b.zero_grad()
    w.data[:] = 0
    assert (w * 1).sum().item() == 0


def test_a_scalar_leaf_changed_between_forward_and_backward():
    w = Tensor(3.0)
    loss = w * w
    w.data = 100.0
    with pytest.raises(StaleValueError):
        loss.backward()
    w2 = Tensor(3.0)
    loss = w2 + w2 * 2
    w2.data += 1
    with pytest.raises(StaleValueError):
        loss.backward()


def test_a_constant_changed_between_forward_and_backward():
    w, x = Tensor([1.0, 2.0]), constant([3.0, 4.0])
    loss = (w * x).sum()
    x.data[0] = 50.0
    try:
        loss.backward()
    except StaleValueError:
        assert w.grad is None
    else:
        assert np.array_equal(w.grad, [3.0, 4.0])


def test_assigning_the_same_value_again_is_still_a_change_or_harmless():
    w = Tensor([1.0, 2.0])
    loss = (w * w).sum()
    _ = w.data  # looking at it changes nothing
    loss.backward()
    assert np.array_equal(w.grad, [2.0, 4.0])


def test_results_are_read_only():
    w = Tensor([1.0, 2.0])
    y = np.exp(w)
    with pytest.raises(ValueError, match="read-only"):
        y.data[0] = 5.0
    with pytest.raises(GradvizTypeError, match="only a leaf's data can be assigned"):
        y.data = np.ones(2)
    y.sum().backward()
    with pytest.raises(ValueError, match="read-only"):
        y.grad[0] = 5.0
    assert np.allclose(w.grad, np.exp([1.0, 2.0]))


def test_what_is_handed_out_is_a_copy():
    w = Tensor([1.0, 2.0])
    y = w * w
    y.numpy()[0] = 50.0
    np.asarray(y.detach())[0] = 50.0
    np.array(w.detach())[0] = 50.0
    y.tolist()[0] = 50.0
    y.sum().backward()
    assert np.array_equal(w.grad, [2.0, 4.0])
    w.grad[0] = 100.0  # a leaf's gradient is the user's own
    assert np.array_equal(w.grad, [100.0, 4.0])
    assert np.array_equal(y.grad, [1.0, 1.0])


def test_leaf_gradients_do_not_share_memory():
    a, b = Tensor([1.0, 2.0]), Tensor([3.0, 4.0])
    seed = np.ones(2)
    y = a + b
    y.backward(seed)
    a.grad[0] = 100.0
    assert np.array_equal(b.grad, [1.0, 1.0])
    assert np.array_equal(seed, [1.0, 1.0])
    assert np.array_equal(y.grad, [1.0, 1.0])
    a.grad *= 0
    y.backward(seed)
    assert np.array_equal(a.grad, [1.0, 1.0])
    assert np.array_equal(b.grad, [2.0, 2.0])


def test_the_seed_changed_afterwards():
    w, seed = Tensor([1.0, 2.0]), np.ones(2)
    w.backward(seed)
    seed[:] = 9
    assert np.array_equal(w.grad, [1.0, 1.0])


def test_assigned_data_must_fit():
    w = Tensor(np.ones((2, 3), np.float32))
    with pytest.raises(ShapeError, match=r"\(3,\).*\(2, 3\)"):
        w.data = np.ones(3)
    w.data = np.zeros((2, 3))
    assert w.dtype == np.float32
    with pytest.raises(GradvizError):
        w.data = "hello"
    with pytest.raises(ShapeError):
        w.grad = np.ones(3)
    with pytest.raises(GradvizTypeError):
        w.grad = np.ones((2, 3)) * 1j


def test_item_assignment_is_refused_with_a_word():
    w = Tensor([1.0, 2.0])
    with pytest.raises(TypeError):
        w[0] = 5.0
    with pytest.raises(TypeError):
        (w * 2)[0] = 5.0


# -- ops of the user's own ------------------------------------------------------------------------


def test_masked_arrays_are_refused():
    masked = np.ma.array([1.0, 2.0], mask=[False, True])
    for make in (lambda: Tensor(masked), lambda: Tensor([1.0, 2.0]) * masked):
        with pytest.raises(GradvizTypeError, match="mask"):
            make()


@pytest.mark.parametrize("result", [1j, "text", None, np.array([1j, 2j]), np.array(["a"]), object()])
def test_an_op_that_gives_no_real_numbers_is_named(own_op, result):
    @own_op(lambda g, y, x: g)
    def odd_op(x):
        return result

    w = Tensor([1.0, 2.0], name="w")
    with pytest.raises(GradvizTypeError, match=r"odd_op\(w of shape \(2,\)\).*real numbers"):
        odd_op(w)


def test_an_op_cannot_write_to_its_operands(own_op):
    @own_op(lambda g, y, x: g)
    def greedy(x):
        x *= 2
        return x

    with pytest.raises(GradvizError, match="read-only"):
        greedy(Tensor([1.0, 2.0]))


def test_an_op_that_returns_its_operand_shares_nothing_that_changes(own_op):
    @own_op(lambda g, y, x: g)
    def same(x):
        return x

    w = Tensor([1.0, 2.0])
    y = same(w)
    w.data[0] = 9.0
    assert np.array_equal(y.numpy(), [1.0, 2.0])


def test_a_rule_cannot_change_gradients_that_others_share(own_op):
    @own_op(lambda g, y, x: np.multiply(g, 2, out=g))
    def greedy_rule(x):
        return x * 2

    a = Tensor([1.0, 2.0])
    h = a * 1.0
    y = greedy_rule(h) + h
    with pytest.raises(ValueError, match="read-only"):
        y.sum().backward()
    assert a.grad is None


def test_buffers_that_an_op_uses_again(own_op):
    forward, backward = np.zeros(2), np.zeros(2)

    @own_op(lambda g, y, x: np.multiply(g, x, out=backward))
    def half_square(x):
        return np.multiply(x, x / 2, out=forward)

    a, b = Tensor([1.0, 2.0]), Tensor([3.0, 4.0])
    y, z = half_square(a), half_square(b)
    assert np.array_equal(y.numpy(), [0.5, 2.0])
    (y + z).sum().backward()
    assert np.array_equal(a.grad, [1.0, 2.0])
    assert np.array_equal(b.grad, [3.0, 4.0])


@pytest.mark.parametrize("wrong", [np.ones(3), "text", 1j, np.array([1j, 2j])])
def test_a_rule_that_gives_nonsense_is_named(own_op, wrong):
    @own_op(lambda g, y, x: wrong)
    def odd_rule(x):
        return x * 2

    w = Tensor([1.0, 2.0])
    y = odd_rule(w).sum()
    with pytest.raises(ShapeError, match=r"the rule of odd_rule for operand 0 gave .*shape \(2,\)") as caught:
        y.backward()
    assert __file__ in str(caught.value)
    assert w.grad is None
