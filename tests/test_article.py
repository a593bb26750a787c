"""`TensorValue`: what a script written for the article's class relies on, and what that class got wrong."""

import copy
import math
import pickle
import random

import numpy as np
import pytest

import gradviz
from gradviz import Tensor, no_grad
from gradviz.engine.article import TensorValue
from gradviz.engine.checking import gradcheck
from gradviz.errors import GradvizError, GradvizValueError, StaleValueError


def fitted(bias, epochs=40):
    """Fit a line as the article does: new wrappers each epoch, one backward per sample."""
    rng = random.Random(3)
    xs = [i * 0.01 for i in range(-50, 50)]
    ys = [x + rng.uniform(0.01, 0.99) for x in xs]
    weight, rate, n = 0.1, 0.08, len(xs)
    path = []
    for _ in range(epochs):
        w, b = TensorValue(weight), TensorValue(bias)
        for x, y in zip(xs, ys, strict=True):
            loss = (y - ((w * x) + b)) ** 2
            loss.backward()
        path.append((w.grad / n, b.grad / n))
        weight = weight - rate * (w.grad / n)
        bias = bias - rate * (b.grad / n)
    return weight, bias, path, xs, ys


@pytest.mark.parametrize("bias", [1.0, 1])
def test_the_loop_of_the_article_gives_the_gradients_of_the_formula(bias):
    weight, bias_after, path, xs, ys = fitted(bias)
    x, y, w, b = np.array(xs), np.array(ys), 0.1, float(bias)
    for dw, db in path:
        error = w * x + b - y
        assert dw == pytest.approx(np.mean(2 * error * x), rel=1e-12)
        assert db == pytest.approx(np.mean(2 * error), rel=1e-12)
        w, b = w - 0.08 * dw, b - 0.08 * db
    assert (weight, bias_after) == (w, b)


def test_names_of_the_article():
    a, b = TensorValue(2), TensorValue(3)
    c = a * b
    assert (c.num, c.ops, c.left, c.right, c.leaf, c.grad) == (6, "*", a, b, False, 0.0)
    assert c.left is a
    assert c.right is b
    assert (a.num, a.ops, a.left, a.right, a.leaf, a.grad) == (2, None, None, None, True, 0.0)
    assert (a + b).ops == "+"
    assert (a**2).ops == "pow"
    assert (a**2).right == 2
    assert a.relu().ops == "rl"
    assert a.relu().right is None
    assert ((2 * a).left, (2 * a).right) == (a, 2)
    assert ((a + 1).left, (1 + a).left) == (a, a)
    assert ((5 - a).ops, (5 - a).left, (5 - a).right) == ("-", 5, a)
    assert (1 / a).ops == "/"
    assert repr(TensorValue(3)) == str(TensorValue(3)) == "TensorValue(3)"
    assert repr(TensorValue(0.25)) == "TensorValue(0.25)"
    assert type(c).__name__ == c.__class__.__name__ == "TensorValue"


@pytest.mark.parametrize(
    ("f", "at", "value", "slope"),
    [
        (lambda x: 5 - x, 2, 3, -1),
        (lambda x: 8 / x, 2, 4, -2),
        (lambda x: 1 / x, 2, 0.5, -0.25),
        (lambda x: 2**x, 3, 8, 8 * math.log(2)),
        (lambda x: x / 4, 2, 0.5, 0.25),
        (lambda x: x**0, 0, 1, 0),
        (lambda x: x**1, 0, 0, 1),
        (lambda x: x**-1, 2, 0.5, -0.25),
        (lambda x: x * x, 3, 9, 6),
        (lambda x: (x + 1) * (x + 1), 2, 9, 6),
        (lambda x: -x, 2, -2, -1),
        (lambda x: x - 5, 2, -3, 1),
        (lambda x: 3 + x, 2, 5, 1),
        (lambda x: x.relu(), 2, 2, 1),
        (lambda x: x.relu(), -2, 0, 0),
        (lambda x: x.relu(), 0, 0, 0),
        (abs, -2, 2, -1),
        (np.exp, 0, 1, 1),
        (np.tanh, 0, 0, 1),
    ],
)
def test_values_and_gradients(f, at, value, slope):
    x = TensorValue(at)
    y = f(x)
    assert isinstance(y, TensorValue)
    y.backward()
    assert y.num == value
    assert x.grad == pytest.approx(slope)


def test_both_sides_of_a_power_have_a_gradient():
    x, y = TensorValue(2), TensorValue(3)
    (x**y).backward()
    assert x.grad == 12
    assert y.grad == pytest.approx(8 * math.log(2))
    with np.errstate(invalid="ignore"):
        assert math.isnan((TensorValue(-8) ** (1 / 3)).num)


def test_nan_is_not_swallowed():
    x = TensorValue(math.nan)
    y = x.relu()
    assert math.isnan(y.num)


def test_a_subexpression_used_again_and_again():
    x = TensorValue(1)
    y = x
    for _ in range(60):
        y = y + y
    y.backward()
    assert x.grad == 2.0**60


def test_long_chains_and_long_sums():
    x = TensorValue(1.0)
    y = x
    for _ in range(20_000):
        y = y * 1 + 0
    y.backward()
    assert x.grad == 1.0
    terms = [TensorValue(i) for i in range(1000)]
    total = sum(terms)
    total.backward()
    assert total.num == 499_500
    assert {t.grad for t in terms} == {1.0}


def test_gradients_add_up_over_backward_calls_and_are_kept_inside():
    w = TensorValue(3)
    hidden = w * w
    loss = hidden * 4
    loss.backward()
    loss.backward()
    assert w.grad == 48
    assert hidden.grad == 4
    assert loss.grad == 1
    loss.flush_gradient()
    assert (hidden.grad, loss.grad, w.grad) == (0.0, 0.0, 48)
    w.grad = 0
    assert w.grad == 0
    loss.backward()
    assert w.grad == 24
    w.zero_grad()
    assert w.grad == 0.0


def test_flush_of_a_deep_graph():
    x = TensorValue(1)
    y = x
    for _ in range(5000):
        y = y + y * 0
    y.backward()
    y.flush_gradient()
    assert y.grad == 0.0
    assert x.grad == 1.0


def test_the_gradient_sent_on_by_hand():
    w = TensorValue(3)
    loss = w * w
    loss.grad = 2
    loss.calculate_gradient_backward()
    assert w.grad == 12


def test_whole_numbers_stay_whole():
    a, b = TensorValue(7), TensorValue(-2)
    for found, right in [
        (a + b, 5), (a - b, 9), (a * b, -14), (a**3, 343), (-a, -7), (3 + a, 10), (3 - a, -4), (2 * a, 14), (2**a, 128),
        (a % 4, 3), (abs(b), 2), (b.relu(), 0), (sum([a, b]), 5),
    ]:  # fmt: skip
        assert isinstance(found.num, int), found
        assert found.num == right
    for found in (a / b, a * 1.0, a**-1, a**b, a + 0.5, 1 / a, TensorValue(1.0) * a, a * TensorValue(1.0)):
        assert isinstance(found.num, float), found
    assert isinstance((TensorValue(3) ** 40).num, float)
    assert isinstance(TensorValue(np.int64(3)).num, int)
    assert isinstance(TensorValue(True).num, int)
    assert np.array_equal((TensorValue(np.array([1, 2])) / 2).num, [0.5, 1.0])


def test_num_can_be_assigned_until_it_has_been_used():
    w = TensorValue(3)
    w.num = 2.5
    assert repr(w) == "TensorValue(2.5)"
    w.num = 4
    assert repr(w * 2) == "TensorValue(8)"
    loss = w * w
    w.num = 100
    with pytest.raises(StaleValueError):
        loss.backward()
    assert w.grad == 0.0
    with pytest.raises(GradvizError):
        loss.num = 3
    w.num -= 1
    assert w.num == 99


def test_the_constructor_of_the_article():
    a, b = TensorValue(2.0), TensorValue(3.0)
    c = TensorValue(6.0, ops="*", left=a, right=b)
    assert (c.ops, c.left, c.right, c.leaf) == ("*", a, b, False)
    c.backward()
    assert (a.grad, b.grad) == (3.0, 2.0)
    d = TensorValue(2.0, "rl", a)
    d.backward()
    assert a.grad == 4.0
    with pytest.raises(GradvizValueError, match="no operation"):
        TensorValue(1, ops="?", left=a, right=b)


def test_it_mixes_with_tensors_and_subclasses():
    class Sub(TensorValue):
        pass

    s, v, t = Sub(2), TensorValue(3.0), Tensor(4.0)
    y = s * v * t
    y.backward()
    assert isinstance(y, TensorValue)
    assert isinstance(t * v, TensorValue)
    assert (s.grad, v.grad, t.grad) == (12.0, 8.0, 6.0)


def test_arrays_work_too():
    x = TensorValue(np.array([[1.0], [2.0], [3.0]]))
    y = TensorValue(np.ones((1, 4)))
    (x * y).sum().backward()
    assert x.grad.shape == (3, 1)
    assert np.array_equal(x.grad, np.full((3, 1), 4.0))
    z = np.array([1.0, -1.0]) * TensorValue(np.array([2.0, 3.0]))
    assert np.array_equal(z.relu().num, [2.0, 0.0])
    assert repr(TensorValue(np.array([1.0, 2.0]))) == "TensorValue([1. 2.])"


def test_copies_are_leaves_of_their_own():
    w = TensorValue(3)
    w.name = "w"
    for twin in (copy.copy(w), copy.deepcopy(w), pickle.loads(pickle.dumps(w))):
        assert (repr(twin), twin.name, twin.leaf) == ("TensorValue(3)", "w", True)
        assert twin is not w
    assert repr(copy.deepcopy(w * 1.5)) == "TensorValue(4.5)"


def test_it_is_a_tensor_for_everything_else():
    a, b = TensorValue(2.0), TensorValue(3.0)
    with gradviz.scope("line"):
        c = (a + b) * 2
    assert c.scope == ("line",)
    assert c.source.text == "(a + b) * 2"
    assert [x.op for x in c.inputs] == ["add", "const"]
    names = [node.name for node in gradviz.graph(np.sin(c)).nodes]
    assert {"a", "b", "c"} <= set(names)
    assert gradcheck(lambda x, y: (5 - x) / y, [a, b]).ok
    with no_grad():
        assert not (a * b).requires_grad
    assert float(a) == 2.0
    assert f"{a:.2f}" == "2.00"
    assert sorted([TensorValue(2), TensorValue(1)], key=float)[0].num == 1


STEPS = [
    lambda a, b, n: a + b,
    lambda a, b, n: a - b,
    lambda a, b, n: a * b,
    lambda a, b, n: n - a,
    lambda a, b, n: a * n,
    lambda a, b, n: a.relu() - b,
    lambda a, b, n: a / 4,
    lambda a, b, n: np.tanh(a) ** 2,
    lambda a, b, n: n / (a * a + 1),
]


def test_random_programs_give_the_gradients_of_tensor():
    rng = random.Random(0)
    for _ in range(100):
        numbers = [rng.choice([rng.uniform(-2, 2), rng.randint(-3, 3)]) for _ in range(3)]
        pairs = [(TensorValue(n), Tensor(float(n))) for n in numbers]
        for _ in range(12):
            (a, p), (b, q) = rng.choice(pairs), rng.choice(pairs)
            n, step = rng.choice([2, 3, 0.5]), rng.choice(STEPS)
            pairs.append((step(a, b, n), step(p, q, n)))
        loss, other = sum(a for a, _ in pairs), sum(p for _, p in pairs)
        loss.backward()
        other.backward()
        for a, p in pairs:
            assert float(a) == p.item()
            assert a.grad == (0.0 if p.grad is None else p.grad)
