"""no_grad and scope: contexts, decorators, threads, coroutines and generators."""

import asyncio
import contextlib
import contextvars
import gc
import threading

import numpy as np
import pytest

from gradviz import Tensor, gc_paused, no_grad, scope
from gradviz.engine import modes


@pytest.fixture(autouse=True)
def nothing_left_behind():
    yield
    assert modes.active == 0
    assert modes.mode() == modes.Mode()


def test_no_grad_records_nothing():
    w = Tensor([1.0, 2.0])
    with no_grad():
        for y in (w * 2, w + w, np.sin(w), w.sum(), w[0], -w, w**2, 1 / w, w @ w, np.maximum(w, 0)):
            assert not y.requires_grad
            assert y.is_leaf
            assert y.inputs == ()
        inner = Tensor(1.0)
        assert inner.requires_grad
    assert (w * 2).requires_grad
    assert (inner * 2).requires_grad


def test_no_grad_ends_when_an_error_passes():
    w = Tensor(1.0)
    with pytest.raises(ZeroDivisionError), no_grad():
        1 / 0
    assert (w * 2).requires_grad


def test_contexts_nest_and_can_be_entered_again():
    w = Tensor(1.0)
    quiet = no_grad()
    with quiet:
        with quiet:
            assert not (w * 2).requires_grad
        assert not (w * 2).requires_grad
    assert (w * 2).requires_grad
    enc = scope("enc")
    with enc, scope("layer"), enc:
        assert (w * 2).scope == ("enc", "layer", "enc")
    assert (w * 2).scope == ()


def test_scopes_of_leaves_and_results():
    with scope("encoder"):
        w = Tensor(1.0, name="w")
        with scope("layer1"):
            y = np.tanh(w) * w
    assert (w.scope, w.name) == (("encoder",), "w")
    assert y.scope == ("encoder", "layer1")
    assert y.inputs[0].scope == ("encoder", "layer1")


def test_decorators():
    w = Tensor(1.0)

    @scope("head")
    def head(x, depth=2):
        """Say it."""
        return head(x, depth - 1) if depth else x * 2

    @no_grad()
    def quiet(x):
        return x * 2

    assert head(w).scope == ("head", "head", "head")
    assert head.__doc__ == "Say it."
    assert head(w).scope == ("head", "head", "head")
    assert not quiet(w).requires_grad


def test_one_thread_does_not_switch_off_another():
    w = Tensor(2.0)
    inside, go_on = threading.Event(), threading.Event()
    seen = []

    def quiet():
        with no_grad(), scope("quiet"):
            inside.set()
            go_on.wait(5)
            seen.append((w * 3).requires_grad)

    thread = threading.Thread(target=quiet)
    thread.start()
    assert inside.wait(5)
    y = w * 3
    assert y.requires_grad
    assert y.scope == ()
    go_on.set()
    thread.join(5)
    assert seen == [False]


def test_a_thread_starts_fresh():
    seen = []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append((Tensor(1.0) * 2).requires_grad))
        thread.start()
        thread.join(5)
    assert seen == [True]


def test_tasks_have_their_own_modes():
    w = Tensor(2.0)

    async def quiet(name):
        with no_grad(), scope(name):
            await asyncio.sleep(0)
            y = w * 2
            await asyncio.sleep(0)
            assert not (w * 2).requires_grad
            return y.requires_grad, y.scope

    async def loud(name):
        with scope(name):
            await asyncio.sleep(0)
            y = w * 2
            await asyncio.sleep(0)
            return y.requires_grad, y.scope

    async def all_of_them():
        return await asyncio.gather(*(quiet(f"q{i}") if i % 2 else loud(f"l{i}") for i in range(20)))

    found = asyncio.run(all_of_them())
    assert found == [(False, (f"q{i}",)) if i % 2 else (True, (f"l{i}",)) for i in range(20)]


def test_what_was_left_is_left_for_everybody():
    """A task may outlive the block it was started in: it does not go on in a mode that has ended."""
    w = Tensor(2.0)
    with scope("outer"), no_grad():
        context = contextvars.copy_context()
        assert context.run(lambda: (w * 2).scope) == ("outer",)
        assert not context.run(lambda: (w * 2).requires_grad)
    with scope("another"):
        assert context.run(lambda: (w * 2).scope) == ()
        assert context.run(lambda: (w * 2).requires_grad)


def turns(context):
    with context:
        yield
        yield


def test_a_suspended_generator_left_behind_does_not_raise():
    w = Tensor(2.0)
    running = turns(scope("batches"))
    next(running)
    running.close()
    assert (w * 2).scope == ()
    running = turns(no_grad())
    next(running)
    del running
    gc.collect()
    assert (w * 2).requires_grad


def test_generators_that_take_turns():
    w = Tensor(2.0)
    one, two = turns(scope("one")), turns(no_grad())
    next(one)
    next(two)
    assert not (w * 2).requires_grad
    one.close()  # the first entered is the first left
    assert (w * 2).scope == ()
    assert not (w * 2).requires_grad
    two.close()
    with scope("after"):
        assert (w * 2).requires_grad
        assert (w * 2).scope == ("after",)


def test_a_generator_started_elsewhere_can_be_closed_here():
    running = turns(no_grad())
    contextvars.copy_context().run(next, running)
    assert (Tensor(1.0) * 2).requires_grad
    running.close()
    assert (Tensor(1.0) * 2).requires_grad


def test_one_context_object_in_several_threads():
    w, quiet = Tensor(2.0), no_grad()
    barrier = threading.Barrier(4)
    seen = []

    def work():
        for _ in range(50):
            barrier.wait(5)
            with quiet:
                inside = (w * 2).requires_grad
            seen.append((inside, (w * 2).requires_grad))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert seen == [(False, True)] * 200


def test_a_contextmanager_made_of_contexts():
    @contextlib.contextmanager
    def evaluation():
        with scope("evaluation"), no_grad():
            yield

    w = Tensor(2.0)
    with evaluation():
        assert not (w * 2).requires_grad
    with contextlib.ExitStack() as stack:
        stack.enter_context(scope("held"))
        assert (w * 2).scope == ("held",)
    assert (w * 2).requires_grad


def test_gc_paused():
    assert gc.isenabled()
    with gc_paused():
        assert not gc.isenabled()
        with gc_paused():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with gc_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
