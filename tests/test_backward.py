"""The backward pass: sums, sizes, interruptions, threads and processes."""

import contextlib
import gc
import math
import os
import random
import signal
import sys
import threading
import time
import warnings
import weakref
from pathlib import Path

import numpy as np
import pytest

import gradviz
from gradviz import Tensor, constant, gc_paused, no_grad
from gradviz.errors import GradvizError, GradvizTypeError, NonScalarError, ShapeError, StaleValueError

# -- what is added up, kept and forgotten ------------------------------------------------------


def test_leaf_gradients_add_up_over_calls():
    w = Tensor(3.0)
    for count in range(1, 4):
        (w * w).backward()
        assert w.grad == 6.0 * count
    w.zero_grad()
    assert w.grad is None
    (w * 2).backward()
    assert w.grad == 2.0


def test_one_graph_twice():
    w, v = Tensor(3.0), Tensor([1.0, 2.0])
    hidden = w * v
    loss = (hidden * hidden).sum()
    loss.backward()
    first = (w.grad, v.grad.copy(), hidden.grad.copy())
    loss.backward()
    assert w.grad == 2 * first[0]
    assert np.array_equal(v.grad, 2 * first[1])
    assert np.array_equal(hidden.grad, first[2])  # intermediate gradients are those of the last call


def test_gradients_of_intermediate_values_are_kept():
    a, b = Tensor(2.0), Tensor(3.0)
    c = (a + b) * 2
    d = a * b
    e = np.sin(c)
    e.backward()
    assert e.grad == 1.0
    assert c.grad == math.cos(10.0)
    assert d.grad is None  # no gradient has reached it: that is not 0
    assert a.grad == 2 * math.cos(10.0)


def test_none_is_not_zero():
    a, b, c = Tensor(2.0), Tensor(3.0), Tensor(4.0)
    y = a * 0 + np.floor(b)
    y.backward()
    assert (a.grad, b.grad, c.grad) == (0.0, 0.0, None)


def test_a_gradient_set_by_hand_is_added_to():
    w = Tensor([1.0, 2.0])
    w.grad = np.array([10.0, 20.0])
    (w * w).sum().backward()
    assert np.array_equal(w.grad, [12.0, 24.0])
    w.grad = None
    (w * w).sum().backward()
    assert np.array_equal(w.grad, [2.0, 4.0])


def test_a_leaf_can_be_the_root():
    w = Tensor(3.0)
    w.backward()
    w.backward(2.0)
    assert w.grad == 3.0


def test_an_operand_that_occurs_twice_counts_twice():
    x = Tensor([1.0, 2.0])
    (x * x + x - x / x + x**2 + np.maximum(x, x)).sum().backward()
    assert np.allclose(x.grad, 2 * x.data + 1 + 2 * x.data + 1)
    m = Tensor(np.ones((2, 2)))
    (m @ m).sum().backward()
    assert np.array_equal(m.grad, np.full((2, 2), 4.0))


def test_a_shared_part_counts_each_time():
    x = Tensor(2.0)
    part = x * 3
    y = part * part + part + x
    y.backward()
    assert x.grad == 2 * 3 * 6 + 3 + 1


def test_an_array_that_needs_a_gradient_to_start_from():
    y = Tensor([1.0, 2.0], name="w") * 2
    with pytest.raises(NonScalarError, match=r"backward\(\) on mul of shape \(2,\)") as caught:
        y.backward()
    assert "sum()" in str(caught.value)
    assert __file__ in str(caught.value)
    with pytest.raises(ShapeError, match=r"shape \(3,\)"):
        y.backward(np.ones(3))
    y.backward([1, 2])
    assert np.array_equal(y.inputs[0].grad, [2.0, 4.0])
    Tensor(np.ones((1, 1))).backward()  # one element is a scalar


def test_nothing_to_differentiate():
    with pytest.raises(GradvizTypeError, match="depends on nothing that requires a gradient"):
        (constant(1.0) * 2).backward()
    with no_grad():
        y = Tensor(1.0) * 2
    with pytest.raises(GradvizTypeError):
        y.backward()
    with pytest.raises(GradvizTypeError):
        Tensor(1.0).detach().backward()


def test_gradients_stop_at_constants():
    w, x = Tensor(2.0), Tensor(3.0, requires_grad=False)
    y = w * x + w.detach() * 5
    y.backward()
    assert (w.grad, x.grad) == (3.0, None)


def test_requires_grad_switched():
    w = Tensor([1.0])
    assert w.requires_grad_(False) is w
    assert not (w * 2).requires_grad
    w.requires_grad_()
    (w * 2).sum().backward()
    assert np.array_equal(w.grad, [2.0])
    with pytest.raises(GradvizTypeError):
        (w * 2).requires_grad_(False)


@pytest.mark.parametrize("at", ["left", "right", "both"])
def test_a_leaf_frozen_after_it_was_used(at):
    a, b = Tensor(2.0), Tensor(3.0)
    y = a * b
    if at in {"left", "both"}:
        a.requires_grad_(False)
    if at in {"right", "both"}:
        b.requires_grad_(False)
    y.backward()
    assert a.grad == (None if at in {"left", "both"} else 3.0)
    assert b.grad == (None if at in {"right", "both"} else 2.0)


# -- dtypes and shapes ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_gradient_has_the_dtype_and_shape_of_its_value(dtype):
    w = Tensor(np.ones((3, 1), dtype))
    x = np.linspace(0, 1, 4)  # float64 data
    y = ((w * x - 1) ** 2).mean()
    y.backward()
    assert w.grad.dtype == dtype
    assert w.grad.shape == (3, 1)
    s = Tensor(dtype(2))
    (s * x).sum().backward()
    assert np.asarray(s.grad).dtype == dtype
    assert np.shape(s.grad) == ()


@pytest.mark.parametrize(
    ("one", "two"), [((), (3,)), ((3, 1), (1, 4)), ((1,), (2, 2)), ((2, 1, 3), (4, 1)), ((0, 3), (3,)), ((1, 1), ())]
)
def test_broadcast_operands(one, two):
    a, b = Tensor(np.full(one, 2.0)), Tensor(np.full(two, 3.0))
    (a * b).sum().backward()
    count = math.prod(np.broadcast_shapes(one, two))
    assert np.array_equal(a.grad, np.full(one, 3.0 * count / max(math.prod(one), 1)))
    assert np.array_equal(b.grad, np.full(two, 2.0 * count / max(math.prod(two), 1)))


# -- derivatives of derivatives ---------------------------------------------------------------


def test_create_graph():
    x = Tensor(2.0)
    (x**3).backward(create_graph=True)
    slope = x.grad
    assert isinstance(slope, Tensor)
    assert slope.item() == 12.0
    x.zero_grad()
    slope.backward(create_graph=True)
    assert x.grad.item() == 12.0
    second = x.grad
    x.zero_grad()
    second.backward()
    assert x.grad == 6.0


def test_a_gradient_penalty():
    w, x = Tensor([1.0, -2.0]), Tensor([0.5, 3.0])
    y = np.tanh(w * x).sum()
    y.backward(create_graph=True)
    penalty = (x.grad * x.grad).sum()
    w.zero_grad()
    penalty.backward()
    inner = 1 - np.tanh(w.data * x.data) ** 2
    expected = 2 * (w.data * inner) * (inner + w.data * -2 * np.tanh(w.data * x.data) * inner * x.data)
    assert np.allclose(w.grad, expected)


def test_recorded_gradients_add_up_too():
    x = Tensor(2.0)
    (x * x).backward()
    (x * x).backward(create_graph=True)
    assert x.grad.item() == 8.0
    (x * x).backward()
    assert float(x.grad) == 12.0


# -- large graphs ------------------------------------------------------------------------------


def test_a_chain_of_a_million_links():
    with gc_paused():
        w = Tensor(1.0)
        y = w
        for _ in range(500_000):
            y = y * 1.0000001 + 1e-9
        y.backward()
        assert w.grad == pytest.approx(1.0000001**500_000)
        del y


def test_a_chain_of_functions_and_arrays():
    w = Tensor([0.1, 0.2])
    y = w
    for _ in range(20_000):
        y = np.sin(y) + w
    y.sum().backward()
    assert np.all(np.isfinite(w.grad))


def test_a_diamond_of_a_thousand_levels():
    x = Tensor(1.0)
    y = x
    for _ in range(1000):
        y = y + y
    y.backward()
    assert x.grad == 2.0**1000


def test_a_sum_of_a_hundred_thousand_leaves():
    leaves = [Tensor(1.0) for _ in range(100_000)]
    sum(leaves).backward()
    assert all(leaf.grad == 1.0 for leaf in leaves)


def test_nothing_recurses():
    w = Tensor(0.5)
    limit = sys.getrecursionlimit()
    y = w
    depth = len(list(_frames()))
    sys.setrecursionlimit(depth + 60)
    try:
        for _ in range(3000):
            y = np.tanh(y) * 1.01 + w
        y.backward()
        y.backward(create_graph=True)
        w.zero_grad()
        del y
    finally:
        sys.setrecursionlimit(limit)


def _frames():
    frame = sys._getframe(1)
    while frame:
        yield frame
        frame = frame.f_back


def test_the_recursion_limit_is_left_alone():
    for path in Path(gradviz.__file__).parent.rglob("*.py"):
        assert "setrecursionlimit" not in path.read_text(encoding="utf-8"), path


# -- memory -------------------------------------------------------------------------------------


def build(w):
    hidden = np.tanh(w @ w + 1) * w
    loss = (hidden * hidden).sum() + hidden.mean()
    loss.backward()
    return loss, weakref.ref(hidden.data)


def test_a_graph_is_freed_at_once():
    w = Tensor(np.eye(3))
    loss, array = build(w)
    gc.collect()
    gc.disable()
    try:
        assert array() is not None
        del loss
        assert array() is None
        before = len(gc.get_objects())
        for _ in range(20):
            build(w)
            w.zero_grad()
        assert len(gc.get_objects()) <= before + 5
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_scalar_graphs_and_second_derivatives_leave_no_cycles():
    gc.collect()
    gc.disable()
    try:
        x = Tensor(2.0)
        y = x
        for _ in range(100):
            y = y * x - 1
        y.backward()
        (x * x).backward(create_graph=True)
        x.zero_grad()
        del x, y
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_errors_keep_no_graph_alive():
    def mistaken():
        hidden = Tensor(np.eye(3)) * 2
        with contextlib.suppress(ShapeError):
            hidden + np.ones(7)
        return weakref.ref(hidden.data)

    assert mistaken()() is None


# -- interruptions --------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError, SystemExit])
def test_an_error_in_the_middle_leaves_every_gradient_as_it_was(own_op, error):
    stop = True

    def rule(g, y, x):
        if stop:
            raise error("stopped")
        return g * 2

    @own_op(rule)
    def doubling(x):
        return x * 2

    a, b, c = Tensor(2.0), Tensor([1.0, 2.0]), Tensor(5.0)
    c.grad = 7.0
    early = a * 3
    loss = (doubling(early * b) * c).sum() * a
    early.backward()
    before = (a.grad, b.grad, c.grad, early.grad)
    with pytest.raises(error):
        loss.backward()
    assert (a.grad, b.grad, c.grad, early.grad) == before
    assert loss.grad is None
    stop = False
    a.zero_grad()
    loss.backward()
    assert a.grad == pytest.approx(5 * 2 * 3 * 3 * 2 * 2.0)
    assert c.grad == 7.0 + 2 * 6 * 3 * 2
    assert np.array_equal(b.grad, [120.0, 120.0])


def test_an_error_in_a_recorded_pass(own_op):
    @own_op(lambda g, y, x: g.nothing)
    def broken(x):
        return x * 1

    a = Tensor(2.0)
    y = broken(a * a) + a
    with pytest.raises(AttributeError):
        y.backward(create_graph=True)
    assert a.grad is None
    assert y.grad is None


def network():
    rng = random.Random(1)
    leaves = [Tensor(rng.uniform(0.5, 1.0)) for _ in range(30)]
    y = leaves[0]
    for i in range(3000):
        y = y * 0.99 + leaves[i % 30] * leaves[(i * 7) % 30]
    return leaves, y


def test_ctrl_c_at_any_moment_gives_all_gradients_or_none():
    leaves, loss = network()
    loss.backward()
    whole = [leaf.grad for leaf in leaves]
    started = time.perf_counter()
    (loss * 1).backward(0.0)
    duration = time.perf_counter() - started
    rng = random.Random(2)

    def stop(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    gc.disable()  # what is raised in a callback of the collector is lost
    try:
        for _ in range(60):
            old = [leaf.grad for leaf in leaves]
            try:
                signal.setitimer(signal.ITIMER_REAL, max(rng.uniform(0.02, 1.1) * duration, 1e-5))
                loss.backward()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                pass
            new = [leaf.grad for leaf in leaves]
            added = [n - o for n, o in zip(new, old, strict=True)]
            assert new == old or np.allclose(added, whole, rtol=1e-9), "some gradients and not others"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    for leaf in leaves:
        leaf.zero_grad()
    loss.backward()
    assert [leaf.grad for leaf in leaves] == whole


class Interruption:
    """Raise KeyboardInterrupt before the n-th instruction of the backward pass, its lock being held."""

    def __init__(self, after):
        self.left = after

    def __enter__(self):
        self.before = sys.gettrace()
        sys.settrace(self.entered)

    def __exit__(self, *error):
        sys.settrace(self.before)

    def entered(self, frame, event, argument):
        file = Path(frame.f_code.co_filename).name
        if file not in {"backward.py", "cotangents.py", "forms.py"} or frame.f_code.co_name == "backward":
            return None
        frame.f_trace_opcodes = True
        return self.traced

    def traced(self, frame, event, argument):
        if event == "opcode":
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        return self.traced


@pytest.mark.parametrize("create_graph", [False, True])
def test_an_interrupt_before_every_single_instruction(create_graph):
    a, b, c = Tensor(2.0), Tensor([1.0, 2.0]), Tensor([[3.0], [4.0]])
    hidden = np.tanh(a * b) + c
    loss = (hidden * hidden * a).sum() / 2 + a**2
    nodes = [loss, hidden, a, b, c]
    loss.backward(create_graph=create_graph)
    whole = [plain(t.grad) for t in (a, b, c)]
    outcomes = set()
    for instruction in range(0, 100_000, 7 if create_graph else 1):
        loss.zero_grad()
        hidden.zero_grad()
        a.grad, b.grad, c.grad = 1.0, None, np.ones((2, 1))
        before = [t.grad for t in nodes]
        try:
            with Interruption(instruction):
                loss.backward(create_graph=create_graph)
        except KeyboardInterrupt:
            after = [t.grad for t in nodes]
            untouched = all(x is y for x, y in zip(before, after, strict=True))
            started = zip(after[2:], [1.0, 0.0, np.ones((2, 1))], whole, strict=True)
            complete = all(x is not None and np.allclose(plain(x) - y, z) for x, y, z in started)
            assert untouched or (complete and not any(x is None for x in after)), f"torn at instruction {instruction}"
            outcomes.add(untouched)
        else:
            break
    assert True in outcomes
    assert instruction > 500


def plain(gradient):
    return gradient.numpy() if isinstance(gradient, Tensor) else np.array(gradient)


def test_a_stale_leaf_leaves_gradients_as_they_were():
    w, v = Tensor([1.0, 2.0]), Tensor(2.0)
    loss = (w * w * v).sum()
    loss.backward()
    before = (w.grad.copy(), v.grad)
    w.data[0] = 5.0
    with pytest.raises(StaleValueError):
        loss.backward()
    assert np.array_equal(w.grad, before[0])
    assert v.grad == before[1]


# -- threads and processes -----------------------------------------------------------------------


def test_threads_that_share_leaves():
    w, v = Tensor(2.0), Tensor(np.ones(5))
    rounds, barrier, errors = 100, threading.Barrier(5), []

    def work(k):
        try:
            barrier.wait(5)
            for _ in range(rounds):
                loss = (v * w * k).sum() + np.tanh(w * 0) * 3
                loss.backward()
                if loss.grad != 1.0:
                    errors.append(loss.grad)
        except Exception as error:
            errors.append(error)

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    finally:
        sys.setswitchinterval(switch)
    assert errors == []
    assert w.grad == rounds * 5 * 15
    assert np.array_equal(v.grad, np.full(5, rounds * 2.0 * 15))


def test_threads_that_share_one_graph():
    w = Tensor(2.0)
    shared = np.tanh(w) * w
    expected = 2.0 / np.cosh(2.0) ** 2 + np.tanh(2.0)
    errors = []

    def work():
        try:
            for _ in range(50):
                (shared * 1.0).backward()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert w.grad == pytest.approx(200 * expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_in_the_middle_of_a_graph():
    w, v = Tensor(3.0), Tensor([1.0, 2.0])
    half = np.sin(w * v)
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, about threads
        child = os.fork()
    if child == 0:
        status = 1
        try:
            (half * 2).sum().backward()
            os.write(write, repr((w.grad, v.grad.tolist())).encode())
            status = 0
        finally:
            os._exit(status)
    (half * 2).sum().backward()
    os.close(write)
    _, status = os.waitpid(child, 0)
    with os.fdopen(read) as pipe:
        assert pipe.read() == repr((w.grad, v.grad.tolist()))
    assert status == 0
    assert w.grad == pytest.approx(2 * np.sum(np.cos(3 * np.array([1.0, 2.0])) * [1.0, 2.0]))


def test_fork_while_another_thread_is_in_backward():
    _, loss = network()
    done = threading.Event()

    def work():
        while not done.is_set():
            loss.backward()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(5):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if child == 0:
                signal.alarm(10)  # a lock that stays closed would hang for ever
                w = Tensor(2.0)
                (w * w).backward()
                os._exit(0 if w.grad == 4.0 else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        done.set()
        thread.join(30)


# -- rules that fail ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "error", "says"),
    [
        (lambda g: g, TypeError, "takes 1 positional argument"),
        (lambda g, y, x: g * np.ones(7), ValueError, "could not be broadcast"),
        (lambda g, y, x: g[9], GradvizError, "out of bounds"),
    ],
)
def test_a_rule_that_raises_is_named_with_its_line(own_op, rule, error, says):
    double = own_op(rule, name="doubled_for_a_test")(lambda x: x * 2)
    w = Tensor(np.ones(3))
    with pytest.raises(GradvizError, match=f"the rule of .* for operand 0 raised .*{says}") as caught:
        double(w).sum().backward()
    assert isinstance(caught.value, error)
    assert "test_backward.py" in str(caught.value)
    assert w.grad is None
