"""`compile`: the same numbers as the engine, without recording again; recorded again where anything has changed."""

import gc
import logging
import math
import random
import sys
import threading
import types
import warnings
import weakref

import numpy as np
import pytest

import gradviz
from gradviz import Tensor, compile, grad, value_and_grad
from gradviz.engine import modes
from gradviz.engine.leaves import next_key
from gradviz.engine.registry import OPS, recording_function
from gradviz.errors import GradvizTypeError, GradvizWarning, NonScalarError
from tests.hostile import HOSTILE


class Counter:
    """Count the nodes that are made."""

    def __init__(self):
        self.count = 0

    def made(self, out):
        self.count += 1

    def passed(self, root, seed, grads):
        pass


def same(a, b):
    """Tell whether two results are the same to the last bit, with their form."""
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)
    return type(a) is type(b) and (a == b or (math.isnan(a) and math.isnan(b)))


def agree(f, argnum, *calls, recordings=1):
    """Check that compiled and engine agree on all calls, and how often the function was recorded."""
    fast = value_and_grad(compile(f), argnum)
    for args in calls:
        assert same(fast(*args), value_and_grad(f, argnum)(*args))
    assert fast.recordings == recordings
    return fast


# -- what it returns ----------------------------------------------------------------------------


def line(w, b, x, y):
    return ((w * x + b - y) ** 2).mean()


def test_numbers_in_numbers_out():
    fast = compile(lambda w, x: (w * x - 1.0) ** 2)
    assert fast(2.0, 3.0) == 25.0
    assert type(fast(2.0, 3.0)) is float
    assert value_and_grad(fast)(2.0, 3.0) == (25.0, 30.0)
    assert grad(fast, (1, 0))(2.0, 3.0) == (20.0, 30.0)


def test_composes_in_either_order():
    one, other = value_and_grad(compile(line), (0, 1)), compile(value_and_grad(line, (0, 1)))
    data = 0.5, 0.1, np.arange(4.0), np.arange(4.0) * 2
    assert same(one(*data), other(*data))
    assert same(compile(grad(line))(*data), grad(line)(*data))
    assert compile(one) is one


def test_tensors_in_a_tensor_out_whose_backward_runs_the_code():
    fast = compile(line)
    x, y = np.arange(4.0), np.arange(4.0) * 2
    for _ in range(3):
        w, b = Tensor(0.5), Tensor(0.1)
        v, c = Tensor(0.5), Tensor(0.1)
        loss, expected = fast(w, b, x, y), line(v, c, x, y)
        loss.backward()
        expected.backward()
        assert loss.data == expected.data
        assert (w.grad, b.grad) == (v.grad, c.grad)
    assert fast.recordings == 1
    assert loss.op == "compiled"


def test_part_of_a_larger_graph():
    fast = compile(lambda w, x: (w * x).sum())
    w, x = Tensor([1.0, 2.0]), np.array([3.0, 4.0])
    y = fast(w * 2.0, x) * 3.0
    y.backward()
    assert w.grad.tolist() == [18.0, 24.0]
    y.backward()
    assert w.grad.tolist() == [36.0, 48.0]


def test_array_results_pull_back_any_gradient():
    fast = compile(lambda w: w * w[::-1])
    w, v = Tensor([1.0, 2.0, 5.0]), Tensor([1.0, 2.0, 5.0])
    for seed in ([1.0, 0.0, 2.0], [0.5, 3.0, -1.0]):
        fast(w).backward(np.array(seed))
        (v * v[::-1]).backward(np.array(seed))
    assert same(w.grad, v.grad)


def test_higher_derivatives_are_those_of_the_engine():
    fast = compile(lambda x: x**3)
    assert grad(grad(fast))(2.0) == 12.0
    x = Tensor(2.0)
    fast(x).backward(create_graph=True)
    slope, x.grad = x.grad, None
    slope.backward()
    assert x.grad == 12.0


def test_mutating_an_array_afterwards_changes_no_gradient():
    fast = compile(lambda w, x: (w * x * x).sum())
    x, w = np.array([1.0, 2.0]), Tensor([1.0, 1.0])
    y = fast(w, x) * 2.0
    x[:] = 100.0
    y.backward()
    assert w.grad.tolist() == [2.0, 8.0]


def test_no_gradients_under_no_grad():
    w = Tensor(2.0)
    fast = compile(lambda x: w * x)
    assert fast(3.0).requires_grad
    with gradviz.no_grad():
        assert not fast(3.0).requires_grad
        assert fast(3.0).data == 6.0


def test_results_are_the_callers_own():
    fast = value_and_grad(compile(lambda a, b: (a + b).sum()), (0, 1))
    a, b = np.zeros(3), np.zeros(3)
    _, (da, db) = fast(a, b)
    da += 5.0
    assert db.tolist() == [1.0] * 3
    assert a.tolist() == [0.0] * 3
    assert fast(a, b)[1][0].tolist() == [1.0] * 3
    out = compile(lambda x: x)(a)
    out += 1.0
    assert a.tolist() == [0.0] * 3


def test_collections_keep_their_form():
    def f(p, x):
        return p["w"] * x + p["layers"][0] * 2.0 + p["layers"][1][0]

    agree(f, 0, ({"w": 1.0, "layers": [2.0, (3.0,)]}, 4.0), ({"w": 2, "layers": [2, (3.5,)]}, 5.0))


def test_unused_arguments_have_gradient_zero():
    agree(lambda a, b, c: a * 2.0, (0, 1, 2), (1.0, 2.0, np.ones(3)))


def test_a_result_that_depends_on_nothing():
    agree(lambda a: 3.0, 0, (1.0,))


def test_methods_and_callable_objects():
    class Model:
        def __init__(self):
            self.scale = 2.0

        @compile
        def scaled(self, x):
            return x * self.scale

    one, other = Model(), Model()
    other.scale = 3.0
    assert (one.scaled(2.0), other.scaled(2.0), one.scaled(5.0)) == (4.0, 6.0, 10.0)
    one.scale = 7.0
    assert one.scaled(2.0) == 14.0


# -- the same numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(name for name, op in OPS.items() if op.samples is not None))
def test_every_op_gives_what_the_engine_gives(name):
    op = OPS[name]
    function = recording_function(op)
    for sample in op.samples(np.random.default_rng(0)):
        args = [float(a) if np.ndim(a) == 0 and np.asarray(a).dtype == np.float64 else a for a in sample.args]
        by = tuple(i for i, a in enumerate(args) if np.asarray(a).dtype.kind == "f")

        def f(*xs, sample=sample):
            y = function(list(xs), **sample.attrs) if op.variadic else function(*xs, **sample.attrs)
            return (y * y * 0.5).sum() if y.shape else y * 1.5

        fast = value_and_grad(compile(f), by)
        expected = value_and_grad(f, by)(*args)
        for _ in range(2):
            value, grads = fast(*args)
            for a, b in zip((expected[0], *expected[1]), (value, *grads), strict=True):
                np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-300)
                assert np.asarray(a).dtype == np.asarray(b).dtype
        assert fast.recordings == 1


UNARY = [np.sin, np.tanh, np.exp, np.square, np.negative, lambda x: x.relu(), lambda x: x.sigmoid(), lambda x: x**3]
BINARY = [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / (b * b + 1.0)]
SHAPES = [(), (3,), (2, 3), (2, 1), (1, 3)]


def random_program(seed):
    """Return a random function of three arguments, and arguments for it."""
    rng = random.Random(seed)
    shapes = [rng.choice(SHAPES) for _ in range(3)] if seed % 2 else [()] * 3
    moves = [(rng.random(), rng.randrange(8), rng.randrange(4), rng.random(), rng.random()) for _ in range(12)]
    reduced = rng.choice(
        [lambda x: x.sum(), lambda x: x.mean(), lambda x: (x.sum(axis=-1) ** 2).sum() if x.ndim else x]
    )

    def f(*xs):
        values = list(xs)
        for p, unary, binary, i, j in moves:
            a, b = values[int(i * len(values))], values[int(j * len(values))]
            values.append(UNARY[unary](np.tanh(a)) if p < 0.4 else BINARY[binary](a, b))
            if p > 0.9:
                values.append(values[-1] * 0.5 + 1.0 - 2.0 / (3.0 + values[-1] ** 2))
        return reduced(values[-1] + values[-2] * values[-3])

    draw = np.random.default_rng(seed)
    return f, [[float(draw.normal()) if not shape else draw.normal(size=shape) for shape in shapes] for _ in range(2)]


@pytest.mark.parametrize("seed", range(60))
def test_random_programs(seed):
    f, calls = random_program(seed)
    fast = value_and_grad(compile(f), (0, 1, 2))
    for args in calls:
        value, grads = value_and_grad(f, (0, 1, 2))(*args)
        found, found_grads = fast(*args)
        np.testing.assert_allclose(found, value, rtol=1e-13)
        for a, b in zip(grads, found_grads, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-10, atol=1e-12 * (1.0 + np.max(np.abs(a))))
            assert type(a) is type(b)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0.0, -0.0, -3.0, 1e300])
@pytest.mark.parametrize(
    "f",
    [
        *(np.log, np.sqrt, np.exp, np.sin, lambda x: x.relu(), lambda x: x * 0.0),
        *(lambda x: 1.0 / x, lambda x: x**-2, lambda x: x**0.5, lambda x: x**400),
    ],
)
def test_numbers_out_of_the_domain(f, bad):
    with np.errstate(all="ignore"):
        fast = value_and_grad(compile(f))
        fast(0.7)
        assert same(fast(bad), value_and_grad(f)(bad))
        several = np.array([0.5, bad])
        g = lambda x: f(x).sum()
        assert same(value_and_grad(compile(g))(several), value_and_grad(g)(several))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
def test_empty_arrays(shape):
    agree(lambda x: (x * 2.0 + 1.0).sum() + x.sum(axis=0).sum(), 0, (np.zeros(shape),))


def test_dtypes():
    x = np.arange(4, dtype=np.float32)
    agree(lambda w, x: (w * x).sum(), 0, (np.ones(4, np.float32), x), (np.ones(4), x), recordings=2)
    agree(lambda w, k: (w * k).sum(), 0, (np.ones(4), np.arange(4)), (np.ones(4), np.arange(4) > 1), recordings=2)
    agree(lambda w: w * 2.0, 0, (np.float64(1.5),), (3,))


def test_a_chain_of_20000_steps():
    def f(x, a):
        for _ in range(10_000):
            x = x * a + 0.001
        return x

    agree(f, (0, 1), (0.5, 0.999), (0.25, 0.998))


def test_large_arrays_are_written_over_but_never_the_callers():
    def f(x, y):
        z = np.tanh(x * y) * y - x
        return (np.exp(z * 0.1) / (z * z + 1.0)).mean() + (x * x).sum() * 1e-3

    x, y = np.linspace(-1.0, 1.0, 3000), np.linspace(0.0, 1.0, 3000)
    before = x.copy(), y.copy()
    agree(f, (0, 1), (x, y), (x, y), (y, x))
    assert same((x, y), before)


# -- recorded once, and again -------------------------------------------------------------------


def test_the_second_call_records_nothing():
    calls = []

    def f(w, x):
        calls.append(1)
        return (np.tanh(w * x) ** 2).sum()

    fast = value_and_grad(compile(f))
    fast(np.ones(3), np.arange(3.0))
    before = next_key()
    fast(np.ones(3), np.arange(3.0) + 1.0)
    assert len(calls) == 1
    assert fast.recordings == 1
    assert next_key() - before == 1 << 24


def test_shapes_and_kinds_of_arguments():
    f = lambda x: (x * x).sum() if np.ndim(x) else x * x
    agree(f, 0, (np.ones(3),), (np.ones(4),), (np.ones(3),), (2.0,), (np.ones((2, 2)),), (3.0,), recordings=4)


def test_other_arguments_are_part_of_the_structure():
    def f(x, n, *, scale, kind):
        for _ in range(n):
            x = x * scale
        return x if kind == "a" else -x

    fast = compile(f)
    for n in (1, 3, 1):
        for kind in "ab":
            assert fast(2.0, n, scale=3.0, kind=kind) == f(2.0, n, scale=3.0, kind=kind)
    assert fast.recordings == 4
    assert fast(2.0, True, scale=1.0, kind="a") == 2.0


def test_control_flow_on_values():
    def f(x, y):
        if x > y:
            return x * 2.0
        while x < 5.0:
            x = x * 2.0
        return x + y

    calls = [(3.0, 1.0), (1.0, 2.0), (4.0, 2.0), (0.5, 2.0), (1.5, 2.0), (5.0, 0.0), (1.0, 9.0), (4.0, 6.0)]
    fast = agree(f, (0, 1), *calls, *calls, recordings=5)
    assert "MISSED" in fast.source


@pytest.mark.parametrize(
    "look",
    [
        *(float, int, bool, lambda x: x.item(), lambda x: float(x.numpy()), lambda x: x.tolist()),
        *(lambda x: float(x.data), lambda x: float(x.detach().data), lambda x: math.floor(float(x))),
    ],
)
def test_numbers_that_leave_a_tensor_are_asked_again(look):
    agree(lambda x: x * look(x), 0, (1.5,), (2.25,), (1.5,), (0.0,), recordings=2 if look is bool else 3)


def test_arrays_that_leave_a_tensor():
    agree(
        lambda x: x[np.argmax(x)] * 2.0,
        0,
        (np.array([1.0, 3.0]),),
        (np.array([2.0, 5.0]),),
        (np.array([7.0, 5.0]),),
        recordings=2,
    )
    agree(lambda x: (x * x.numpy()).sum(), 0, (np.array([1.0, 3.0]),), (np.array([1.0, 4.0]),), recordings=2)


def test_integers_that_index_are_read_at_every_call():
    table, rng = np.arange(12.0).reshape(4, 3), np.random.default_rng(0)
    calls = [(table, rng.integers(0, 4, 5)) for _ in range(40)]
    agree(lambda w, i: (w[i] ** 2).sum(), 0, *calls)
    agree(lambda w, i: (w[i, 1] ** 3).sum() + (w[1:, None, :][:, 0, :2] ** 2).sum(), 0, *calls)
    agree(lambda w, i: (w[:, i] ** 2).sum(), 0, *((table, i % 3) for _, i in calls))
    masks = [(table, rng.random(4) < 0.5) for _ in range(3)]
    agree(lambda w, m: (w[m] ** 2).sum(), 0, *masks, recordings=3)


def test_masks_are_computed_anew():
    f = lambda x: np.where((x > 0.0) & ~(x > 2.0), x, 0.1 * x).sum()
    agree(f, 0, *((np.random.default_rng(i).normal(size=9),) for i in range(5)))


def test_detached_values_are_computed_anew():
    def f(x):
        with gradviz.no_grad():
            scale = x * 2.0
        return x * scale + x.detach()

    agree(f, 0, (1.0,), (2.0,), (-3.0,))


def test_format_and_print_ask_nothing(capsys):
    def f(x):
        print(f"{x:.1f}", x)
        return x * 2.0

    agree(f, 0, (1.0,), (2.0,))
    assert capsys.readouterr().out.count("Tensor") == 3  # one of the compiled, two of the engine


SCALE = 2.0
TABLE = np.array([1.0, 2.0])
CONFIG = {"rates": [1.0, 2.0], "mode": "a"}


def helper(x):
    return x * SCALE


def test_globals_that_change(monkeypatch):
    fast = compile(lambda x: helper(x) + TABLE[0] + CONFIG["rates"][0])
    here = globals()
    assert fast(1.0) == 4.0
    monkeypatch.setitem(here, "SCALE", 5.0)
    assert fast(1.0) == 7.0
    CONFIG["rates"][0] = 10.0
    assert fast(1.0) == 16.0
    TABLE[0] = 100.0
    assert fast(1.0) == 115.0
    monkeypatch.setitem(here, "helper", lambda x: x)
    assert fast(1.0) == 111.0
    TABLE[0], CONFIG["rates"][0] = 1.0, 1.0
    assert fast(1.0) == 3.0


def test_closures_and_attributes_that_change():
    rate, data, box = 2.0, np.arange(3.0), types.SimpleNamespace(inner=types.SimpleNamespace(bias=1.0))

    def f(x):
        return (x * data).sum() * rate + box.inner.bias

    fast = compile(f)
    check = lambda: same(fast(np.ones(3)), float(f(np.ones(3))))
    assert check()
    assert check()
    rate = 3.0
    assert check()
    data[1] = -4.0
    assert check()
    data = data * 2
    assert check()
    box.inner.bias = 7.0
    assert check()
    box.inner = types.SimpleNamespace(bias=9.0)
    assert check()
    assert fast.recordings == 6


def test_a_default_and_a_strided_array_that_change():
    base = np.arange(6.0)

    def f(x, table=base[::2]):
        return (x * table[1]).sum()

    fast = compile(f)
    assert fast(1.0) == 2.0
    base[2] = 5.0
    assert fast(1.0) == 5.0


def test_parameters_are_read_at_every_call():
    w = Tensor([1.0, 2.0])
    fast = compile(lambda x: (w * x).sum())
    for step in range(4):
        w.zero_grad()
        loss = fast(np.array([1.0, step]))
        loss.backward()
        assert loss.data == float((w.numpy() * [1.0, step]).sum())
        assert w.grad.tolist() == [1.0, step]
        if step % 2:
            w.data = w.data - 0.1 * w.grad
        else:
            w.data[0] += 1.0
    assert fast.recordings == 1


def test_a_module_and_an_optimizer():
    def trained(compiled):
        model = _network()
        loss = lambda x, y: ((model(x) - y) ** 2).mean()
        step = compile(loss) if compiled else loss
        optimizer = gradviz.optim.Adam(model.parameters(), lr=0.05)
        draw = np.random.default_rng(0)
        for _ in range(10):
            x = draw.normal(size=(8, 2))
            optimizer.zero_grad()
            step(x, x[:, :1] * x[:, 1:]).backward()
            optimizer.step()
        return [p.numpy() for p in model.parameters()]

    assert same(trained(True), trained(False))


def _network():
    draw = np.random.default_rng(1)
    model = gradviz.nn.Sequential(gradviz.nn.Linear(2, 8), gradviz.nn.Tanh(), gradviz.nn.Linear(8, 1))
    for p in model.parameters():
        p.data = draw.normal(size=p.shape)
    return model


def test_a_parameter_that_is_replaced_or_frozen():
    box = types.SimpleNamespace(w=Tensor(2.0))
    fast = compile(lambda x: box.w * x)
    assert fast(3.0).data == 6.0
    box.w = Tensor(5.0)
    y = fast(3.0)
    y.backward()
    assert y.data == 15.0
    assert box.w.grad == 3.0


def test_descend_takes_a_compiled_function():
    x = np.linspace(0.0, 1.0, 20)
    y = 2.0 * x + 1.0
    loss = lambda w, b: ((w * x + b - y) ** 2).mean()
    start = {"w": 0.0, "b": 0.0}
    assert same(
        gradviz.descend(compile(loss), start, lr=0.5, steps=30).loss,
        gradviz.descend(loss, start, lr=0.5, steps=30).loss,
    )


def test_threads():
    fast = value_and_grad(compile(lambda w, x: np.tanh(w * x).sum()))
    wrong = []

    def work(n):
        for i in range(30):
            w, x = np.full(n, 0.1 * i), np.arange(float(n))
            if not same(fast(w, x), value_and_grad(lambda w, x: np.tanh(w * x).sum())(w, x)):
                wrong.append((n, i))

    threads = [threading.Thread(target=work, args=(n,)) for n in (3, 3, 4, 5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert fast.recordings == 3


def test_nothing_is_kept_alive_that_a_call_made():
    fast = compile(lambda w, x: (np.tanh(w * x) * x).sum())
    fast(Tensor(np.ones(3)), np.ones(3))
    w = Tensor(np.ones(3))
    y = fast(w, np.ones(3))
    alive = weakref.ref(w.data)
    del y, w
    gc.collect()
    assert alive() is None


def test_compiled_inside_compiled():
    inner = compile(lambda x: x * x)
    agree(lambda x: inner(x) + inner(x + 1.0), 0, (2.0,), (3.0,))


# -- left to the engine -------------------------------------------------------------------------


def left_to_the_engine(f, *args, match, call=compile):
    fast = call(f)
    with pytest.warns(GradvizWarning, match=match):
        result = fast(*args)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fast(*args)
    return result


def test_random_numbers():
    rng = np.random.default_rng(0)
    twin = np.random.default_rng(0)
    assert left_to_the_engine(lambda x: x * rng.normal(), 2.0, match="draws random numbers") == 2.0 * twin.normal()
    left_to_the_engine(lambda x: x * random.random(), 2.0, match="random")
    left_to_the_engine(lambda x: x * float(np.random.rand()), 2.0, match="rand")  # noqa: NPY002
    left_to_the_engine(lambda x: gradviz.dropout(x, 0.5).sum(), np.ones(3), match="other numbers")


def test_iterators_and_clocks():
    import time

    numbers = iter(range(100))
    assert left_to_the_engine(lambda x: x * next(numbers), 2.0, match="range_iterator") >= 0.0
    left_to_the_engine(lambda x: x * time.time(), 2.0, match="time")


def test_numbers_that_it_changes():
    box, table, items = types.SimpleNamespace(last=0.0), np.zeros(2), [0.0]

    def noted(x):
        box.last = x * 2.0
        return box.last + 1.0

    def summed(x):
        table[0] += 1.0
        return x * table[0]

    def listed(x):
        items[0] = items[0] + 1.0
        return x * items[0]

    for f in (noted, summed, listed):
        left_to_the_engine(f, 2.0, match="changes numbers outside of it")
    assert (table[0], items[0]) == (3.0, 3.0)  # watched, and twice by the engine


def test_counters_and_logs_count_recordings():
    log, count = [], 0

    def f(x):
        nonlocal count
        count += 1
        log.append("called")
        return x * 2.0

    fast = compile(f)
    assert [fast(1.0), fast(2.0), fast(np.ones(2)).tolist(), fast(3.0)] == [2.0, 4.0, [2.0, 2.0], 6.0]
    assert count == len(log) == fast.recordings == 2


def test_logging_is_no_reason():
    log = logging.getLogger("gradviz.test")

    def f(x):
        log.debug("computing")
        return x * 2.0

    assert compile(f)(2.0) == 4.0
    assert compile(lambda x: (print(end="", file=sys.stdout), x * 3.0)[1])(2.0) == 6.0


def test_a_training_step_is_done_once():
    w = Tensor(1.0)

    def step(x):
        w.zero_grad()
        loss = (w * x) ** 2
        loss.backward()
        w.data = w.data - 0.1 * w.grad
        return loss

    fast = compile(step)
    with pytest.warns(GradvizWarning, match="computes gradients itself"):
        fast(1.0)
    assert w.data == 0.8
    fast(1.0)
    assert math.isclose(w.data, 0.64)


def test_results_that_are_no_number():
    assert left_to_the_engine(lambda x: (x, x * 2.0), 2.0, match="returns a tuple") == (2.0, 4.0)


def test_an_array_where_a_scalar_is_needed():
    fast = value_and_grad(compile(lambda x: x * 2.0))
    with pytest.warns(GradvizWarning, match="needs a scalar"), pytest.raises(NonScalarError):
        fast(np.ones(2))


def test_the_functions_own_errors_are_its_own():
    def f(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        compile(f)(2.0)
    with pytest.raises(GradvizTypeError, match="needs a function"):
        compile(3.0)


def test_what_works_on_arrays_only():
    left_to_the_engine(lambda x: float(np.linalg.cond(x)), np.eye(2), match="with Tensors as arguments")


def test_a_look_that_is_another_every_time():
    fast = compile(lambda x: x * float(x))
    with pytest.warns(GradvizWarning, match="recorded 32 times: it looks at numbers"):
        assert [fast(float(i)) for i in range(40)] == [float(i * i) for i in range(40)]


def test_tensors_for_numbers_are_told():
    f = value_and_grad(compile(lambda w: w * w))
    with pytest.warns(GradvizWarning, match="pass numbers"):
        _value, slope = f(Tensor(3.0))
    assert isinstance(slope, Tensor)
    assert slope.data == 6.0


def test_a_debugger_sees_every_node():
    fast = compile(lambda x: x * 2.0 + 1.0)
    w = Tensor(1.0)
    fast(w)
    counter = Counter()
    with modes.watched(counter):
        fast(w)
    assert counter.count == 2


def test_the_text_is_shown():
    fast = value_and_grad(compile(lambda w, x: (w * x) ** 2))
    assert fast.source == ""
    assert "recorded 0 times" in repr(fast)
    fast(1.0, 2.0)
    assert fast.source.startswith("def run(a0, a1):")
    assert "recorded 1 times" in repr(fast)


def test_an_error_is_raised_when_it_is_due_and_forgotten():
    def f(x):
        if x < 0.0:
            raise ValueError("negative")
        return x * 2.0

    fast = compile(f)
    for _ in range(3):
        assert fast(1.0) == 2.0
        with pytest.raises(ValueError, match="negative"):
            fast(-1.0)
    assert fast.recordings == 1


def test_a_parameter_that_is_frozen_and_thawed():
    w, v = Tensor(2.0), Tensor(3.0)
    fast = compile(lambda x: w * v * x)
    fast(1.0).backward()
    assert (w.grad, v.grad) == (3.0, 2.0)
    w.requires_grad_(False)
    w.grad = v.grad = None
    fast(1.0).backward()
    assert (w.grad, v.grad) == (None, 2.0)
    w.requires_grad_(True)
    fast(1.0).backward()
    assert w.grad == 3.0


def test_a_gradient_that_is_read():
    w = Tensor(2.0)
    w.grad = 1.0
    left_to_the_engine(lambda x: x * w.grad, 2.0, match="reads a gradient")


def test_a_profiler_goes_on():
    import cProfile

    profile = cProfile.Profile()
    profile.enable()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = compile(lambda x: x * 2.0)(3.0)
    profile.disable()
    assert result == 6.0


def test_many_tensors():
    params = [Tensor(float(i)) for i in range(300)]
    fast = compile(lambda ps: sum(p * p for p in ps))
    for _ in range(2):
        for p in params:
            p.zero_grad()
        fast(params).backward()
        assert [p.grad for p in params] == [2.0 * i for i in range(300)]
    assert fast.recordings == 1


def test_a_module_itself():
    model = _network()
    fast = compile(model)
    x = np.ones((3, 2))
    assert same(fast(x).data, model(x).data)
    assert fast.recordings == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_of_functions(name):
    def f(x):
        return x * 2.0

    f.__name__ = name
    fast = value_and_grad(compile(f))
    assert fast(1.0) == (2.0, 2.0)
    assert repr(fast).isprintable()
    gone = lambda x: None
    gone.__name__ = name
    with pytest.warns(GradvizWarning, match="returns a NoneType") as told:
        compile(gone)(1.0)
    assert str(told[0].message).isprintable()


def test_the_source_is_that_of_the_code_that_ran():
    fast = compile(lambda x: x * 2.0 if np.ndim(x) else x * 3.0)
    fast(1.0)
    fast(np.ones(2))
    assert "2.0" in fast.source
    fast(1.0)
    assert "3.0" in fast.source


def test_numbers_of_a_tensor_give_numbers():
    w = Tensor(2.0)
    fast = compile(lambda x: x * float(w))
    assert type(fast(3.0)) is float
    w.data = 5.0
    assert (fast(3.0), fast.recordings) == (15.0, 2)


def test_what_is_too_large(monkeypatch):
    monkeypatch.setattr("gradviz.engine.compiled.cases.LINES_LIMIT", 50)
    result = left_to_the_engine(lambda x: sum(x * float(i) for i in range(60)), 2.0, match="steps, more than 50")
    assert result == 3540.0
