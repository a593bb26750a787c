"""What is true of the code that is running: its scope, whether it is recorded, and who watches.

The state lives in a context variable, so threads and coroutines each see their own.
``active`` counts the contexts that are open anywhere: while it is 0, and it nearly
always is, an operator pays one test for all of this.
"""

from __future__ import annotations

import functools
import gc
import inspect
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Extra(NamedTuple):
    """What few nodes have: a name given by hand, a scope, the place it is really made for."""

    name: str | None = None
    scope: tuple[str, ...] = ()
    site: tuple[Any, int] | None = None  # (code object, offset) to show instead of the recorded one
    was: tuple[Any, Any] | None = None  # value and gradient of a leaf before it was assigned


class Watcher(Protocol):
    """Somebody who is shown what is computed, and may stop it by raising."""

    def made(self, out: Any) -> None:
        """See a node that an op has just made, also one that is not going to be recorded."""

    def passed(self, root: Any, seed: Any, grads: Sequence[Any]) -> None:
        """See the gradients of the leaves after a backward pass from ``root`` that started with ``seed``."""


class Mode(NamedTuple):
    """What holds for the code that is running, and the contexts it follows from."""

    recording: bool = True
    extra: Extra | None = None
    watchers: tuple[Watcher, ...] = ()
    entries: tuple[Entry, ...] = ()


class Entry:
    """One entry of a context. When it is left, it is closed for everybody who still sees it."""

    __slots__ = ("context", "open")

    def __init__(self, context: Context) -> None:
        self.context = context
        self.open = True


current: ContextVar[Mode] = ContextVar("gradviz_mode", default=Mode())  # noqa: B039 - never changed
active = 0
_lock = threading.Lock()


def _new_lock() -> None:
    global _lock  # noqa: PLW0603 - a fork may have copied a lock that another thread held
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)


def mode() -> Mode:
    """Return what holds here.

    Contexts may be left in any order, and elsewhere than where they were entered: two
    generators that take turns, a task that outlives the block it was started in. So a context
    that was left is taken out of the middle, wherever it is met.
    """
    now = current.get()
    if all(entry.open for entry in now.entries):
        return now
    still = [entry for entry in now.entries if entry.open]
    now = Mode()
    for entry in still:
        now = _within(now, entry)
    current.set(now)
    return now


def _within(outer: Mode, entry: Entry) -> Mode:
    return entry.context.applied(outer)._replace(entries=(*outer.entries, entry))


def _count(amount: int) -> None:
    global active  # noqa: PLW0603 - the one test on the hot path
    with _lock:
        active += amount


class Context:
    """A context manager that is also a decorator and may be entered more than once."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    def applied(self, outer: Mode) -> Mode:
        """Return what holds inside."""
        raise NotImplementedError

    def __enter__(self) -> None:
        entry = Entry(self)
        self._entries.append(entry)
        current.set(_within(mode(), entry))
        _count(1)

    def __exit__(self, *exc: object) -> None:
        here = current.get().entries
        entry = next((e for e in reversed(self._entries) if e in here), self._entries[-1])
        self._entries.remove(entry)
        entry.open = False
        _count(-1)
        mode()

    def _copy(self) -> Context:
        return type(self)()

    def __call__(self, function: F) -> F:
        """Return ``function`` so that each call of it runs inside, also one that yields or awaits."""
        if inspect.isgeneratorfunction(function):
            return self._around_each_step(function)  # type: ignore[return-value]
        if inspect.iscoroutinefunction(function):
            return self._around_coroutine(function)  # type: ignore[return-value]

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._copy():
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]

    def _around_coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._copy():
                return await function(*args, **kwargs)

        return wrapped

    def _around_each_step(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Enter for each step of a generator and leave before its value is handed out."""

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            steps = function(*args, **kwargs)
            resume: Callable[[], Any] = functools.partial(next, steps)
            while True:
                try:
                    with self._copy():
                        item = resume()
                except StopIteration as end:
                    return end.value
                try:
                    resume = functools.partial(steps.send, (yield item))
                except GeneratorExit:
                    with self._copy():
                        steps.close()
                    raise
                except BaseException as error:
                    resume = functools.partial(steps.throw, error)

        return wrapped


class no_grad(Context):  # noqa: N801 - the name PyTorch users know
    """Record nothing inside: results are plain constants.

    Works as a context manager and as a decorator, with or without brackets.

    >>> import gradviz
    >>> w = gradviz.Tensor(2.0)
    >>> with gradviz.no_grad():
    ...     y = w * 3
    >>> y.requires_grad, y.is_leaf
    (False, True)
    """

    def __new__(cls, function: Any = None) -> Any:
        """Return a context, or the function that a decorator without brackets is put on, to run inside."""
        return super().__new__(cls) if function is None else cls()(function)

    def applied(self, outer: Mode) -> Mode:
        """Return what holds inside."""
        return outer._replace(recording=False)


class recorded(Context):  # noqa: N801 - reads as a statement
    """Record inside, even within `no_grad`."""

    def applied(self, outer: Mode) -> Mode:
        """Return what holds inside."""
        return outer._replace(recording=True)


class scope(Context):  # noqa: N801 - reads as a statement
    """Give every node made inside a place in the hierarchy: ``encoder/layer1``.

    Works as a context manager and as a decorator; scopes nest.

    >>> import gradviz
    >>> w = gradviz.Tensor(2.0)
    >>> with gradviz.scope("encoder"), gradviz.scope("layer1"):
    ...     y = w * 3
    >>> y.scope
    ('encoder', 'layer1')
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = str(name)

    def applied(self, outer: Mode) -> Mode:
        """Return what holds inside."""
        path = outer.extra.scope if outer.extra else ()
        return outer._replace(extra=Extra(scope=(*path, self.name)))

    def _copy(self) -> scope:
        return scope(self.name)


class watched(Context):  # noqa: N801 - reads as a statement
    """Show every node made inside, and every backward pass, to a `Watcher` as well."""

    def __init__(self, watcher: Watcher) -> None:
        super().__init__()
        self.watcher = watcher

    def applied(self, outer: Mode) -> Mode:
        """Return what holds inside."""
        return outer._replace(watchers=(*outer.watchers, self.watcher))

    def _copy(self) -> watched:
        return watched(self.watcher)


class unwatched(Context):  # noqa: N801 - reads as a statement
    """Show nothing made inside to anybody: it is computed to look at what was watched."""

    def applied(self, outer: Mode) -> Mode:
        """Return what holds inside."""
        return outer._replace(watchers=())


def unseen() -> AbstractContextManager[None]:
    """Return a context for ops that are the work of one backward pass: who watches is shown what comes of them."""
    return unwatched() if active and mode().watchers else nullcontext()


def told(event: str, *what: Any) -> Any:
    """Tell those who watch of more than nodes: numbers that leave a Tensor, a copy without history, an assignment.

    Return the last of ``what``, or what a watcher puts in its place.
    """
    answer = what[-1]
    for watcher in mode().watchers:
        hear = getattr(watcher, event, None)
        if hear is not None:
            found = hear(*what[:-1], answer)
            answer = answer if found is None else found
    return answer


def itself(x: Any) -> Any:
    """Return the value: the question that is asked where numbers leave a Tensor as they are."""
    return x


class gc_paused:  # noqa: N801 - reads as a statement
    """Pause Python's cyclic garbage collector while very large graphs are built.

    A graph has no reference cycles, so reference counting alone frees it; the collector only
    costs time, up to half of it at a million nodes. Nests, and leaves a collector that was
    already off alone.

    >>> import gradviz
    >>> with gradviz.gc_paused():
    ...     y = gradviz.Tensor(1.0) + 1
    """

    _depth = 0
    _was_enabled = False

    def __enter__(self) -> None:
        with _lock:
            if gc_paused._depth == 0:
                gc_paused._was_enabled = gc.isenabled()
                gc.disable()
            gc_paused._depth += 1

    def __exit__(self, *exc: object) -> None:
        with _lock:
            gc_paused._depth -= 1
            if gc_paused._depth == 0 and gc_paused._was_enabled:
                gc.enable()
