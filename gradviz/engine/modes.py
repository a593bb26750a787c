"""What is true of the code that is running: its scope, and whether it is recorded.

The state lives in context variables, so threads, coroutines and generators each see their
own. ``active`` counts the contexts that are open anywhere: while it is 0, and it nearly
always is, an operator pays one test for all of this.
"""

from __future__ import annotations

import functools
import gc
import threading
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, NamedTuple, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Extra(NamedTuple):
    """What few nodes have: a name given by hand, a scope, the place it is really made for."""

    name: str | None = None
    scope: tuple[str, ...] = ()
    site: tuple[Any, int] | None = None  # (code object, offset) to show instead of the recorded one
    was: tuple[Any, Any] | None = None  # value and gradient of a leaf before it was assigned


recording: ContextVar[bool] = ContextVar("gradviz_recording", default=True)
ambient: ContextVar[Extra | None] = ContextVar("gradviz_scope", default=None)
active = 0
_lock = threading.Lock()


def _enter(amount: int) -> None:
    global active  # noqa: PLW0603 - the one test on the hot path
    with _lock:
        active += amount


class _Context:
    """A context manager that is also a decorator and may be entered more than once."""

    def __init__(self) -> None:
        self._tokens: list[Token[Any]] = []

    def _set(self) -> Token[Any]:
        raise NotImplementedError

    def __enter__(self) -> None:
        self._tokens.append(self._set())
        _enter(1)

    def __exit__(self, *exc: object) -> None:
        token = self._tokens.pop()
        token.var.reset(token)
        _enter(-1)

    def _copy(self) -> _Context:
        raise NotImplementedError

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._copy():
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]


class no_grad(_Context):  # noqa: N801 - the name PyTorch users know
    """Record nothing inside: results are plain constants.

    Works as a context manager and as a decorator.

    >>> import gradviz
    >>> w = gradviz.Tensor(2.0)
    >>> with gradviz.no_grad():
    ...     y = w * 3
    >>> y.requires_grad, y.is_leaf
    (False, True)
    """

    def _set(self) -> Token[Any]:
        return recording.set(False)

    def _copy(self) -> no_grad:
        return no_grad()


class scope(_Context):  # noqa: N801 - reads as a statement
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

    def _set(self) -> Token[Any]:
        outer = ambient.get()
        path = outer.scope if outer else ()
        return ambient.set(Extra(scope=(*path, self.name)))

    def _copy(self) -> scope:
        return scope(self.name)


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
