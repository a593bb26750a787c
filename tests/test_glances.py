"""One glance reads what the slow ways read one by one, or nothing."""

import itertools
import math

import numpy as np
import pytest

import gradviz
from gradviz import Tensor
from gradviz.engine.recognition import NODES_LIMIT
from gradviz.engine.structure import numbers, signature
from gradviz.sources import own

W, B = Tensor(0.5, name="w"), Tensor(0.25, name="b")
PARAMS = {"w": W, "b": B}
X = np.linspace(-1.0, 1.0, 5)
INPUT = Tensor(np.ones(5), requires_grad=False, name="x")


def backward(loss):
    W.grad = B.grad = None
    loss.backward()
    return loss


def sample(x, y):
    return (y - (W * x + B)) ** 2


def fit(x, y):
    return gradviz.mean((X * y - (W * (X + x) + B)) ** 2)


def shared(x, y):
    product = W * x
    return product * product + B * y


def constant(x, y):
    return gradviz.sum(INPUT * W + B) * x - y


def branches(x, y):
    return W * x + B if y > 0 else B + W * x


PROGRAMS = (sample, fit, shared, constant, branches)


def taken(root, varying=lambda node: False, params=PARAMS):
    """Return a glance, and how to read the same slowly."""
    graph = own.graph(root)
    ids, read = own.leaf_reader(root, graph)
    values = dict(zip(ids, read(root), strict=True))
    moving = [i for i in ids if varying(values[i])]
    fixed = {i: value for i, value in values.items() if i not in moving}
    glance = own.glance(root, graph, params, fixed, moving)

    def slowly(loss):
        if signature(loss) != signature(root):
            return None
        now = dict(zip(ids, read(loss), strict=True))
        if any(np.asarray(now[i]).tobytes() != np.asarray(value).tobytes() for i, value in fixed.items()):
            return None
        return (loss.data, *(n for t in params.values() for n in numbers(t)), *(now[i] for i in moving))

    return glance, slowly


def same(a, b):
    return a is b if a is None or b is None else np.array(a).tobytes() == np.array(b).tobytes()


@pytest.mark.parametrize("varying", [lambda value: False, lambda value: type(value) is float])
@pytest.mark.parametrize("build", PROGRAMS)
def test_a_glance_gives_what_the_slow_way_gives_for_every_other_graph(build, varying):
    glance, slowly = taken(backward(build(1.0, 2.0)), varying)
    seen = 0
    for other, x, y in itertools.product(PROGRAMS, (1.0, 0.0, -0.0, math.nan, 2), (2.0, -1.0, 3)):
        loss = backward(other(x, y))
        assert same(glance(loss, PARAMS), slowly(loss))
        seen += glance(loss, PARAMS) is not None
    assert seen


def test_zeros_of_both_signs_and_nan_are_told_apart():
    for first, second in itertools.product([0.0, -0.0, math.nan, 1.0], repeat=2):
        glance, slowly = taken(backward(W * first + B))
        assert glance(backward(W * second + B), PARAMS) is None
        loss = backward(W * second + B)
        assert same(glance(loss, PARAMS), slowly(loss))


def test_an_array_that_was_changed_in_place_is_seen():
    held = X.copy()

    def loss():
        return backward(gradviz.sum(held * W) + B)

    glance, _ = taken(loss())
    again = [loss() for _ in range(3)]
    assert glance(again[-1], PARAMS) is not None
    held[2] += 1.0
    assert glance(loss(), PARAMS) is None


def test_an_input_that_gets_another_value_is_seen():
    x = Tensor(np.ones(5), requires_grad=False, name="x")

    def loss():
        return backward(gradviz.sum(x * W) + B)

    glance, _ = taken(loss())
    assert glance(loss(), PARAMS) is not None
    after = loss()
    x.data = np.full(5, 2.0)
    assert glance(after, PARAMS) is None
    assert glance(loss(), PARAMS) is None
    assert taken(loss())[0] is None


def test_parameters_are_read_by_name_and_may_be_replaced():
    other = {"w": Tensor(3.0), "b": Tensor(4.0)}

    def loss():
        found = other["w"] * 2.0 + other["b"]
        found.backward()
        return found

    first = loss()
    glance, _ = taken(first, params=other)
    assert glance(first, other) == (10.0, 3.0, 2.0, 4.0, 1.0)
    other["b"] = Tensor(5.0)
    assert glance(loss(), other) == (11.0, 3.0, 4.0, 5.0, 1.0)
    assert glance(first, {"w": other["w"]}) is None
    assert glance(first, {**other, "c": B}) is None
    assert glance(first, {"w": other["w"], "other": B}) is None
    assert glance(first, {"w": other["w"], "b": Tensor(np.ones(2))}) is None
    assert glance(first, {"w": other["w"], "b": 1.0}) is None
    other["w"].grad = None
    assert glance(first, other) is None


@pytest.mark.parametrize("thing", [None, 1.0, "loss", np.ones(2), W, Tensor(np.ones(2)), INPUT])
def test_what_has_no_such_graph_is_not_recognised(thing):
    glance, _ = taken(backward(sample(1.0, 2.0)))
    assert glance(thing, PARAMS) is None


def test_arrays_and_large_graphs_get_no_glance():
    v = Tensor(np.ones(3), name="v")
    loss = gradviz.sum(v * 2.0)
    loss.backward()
    assert taken(loss, params={"v": v})[0] is None
    total = W * B
    for _ in range(NODES_LIMIT):
        total = total * W
    assert taken(backward(total))[0] is None
    assert taken(sample(1.0, 2.0), params={"w": Tensor(2.0)})[0] is None
    assert taken(backward(gradviz.sum(np.ones(100_000) * W) + B))[0] is None


def test_a_number_that_varies_must_stay_a_number():
    glance, _ = taken(backward(gradviz.sum(W * 2.0 + B)), lambda value: type(value) is float)
    assert glance(backward(gradviz.sum(W * np.ones(1) + B)), PARAMS) is None
