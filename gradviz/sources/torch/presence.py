"""Being present in a PyTorch program: the hooks that tell a capture what happens, and where in the program that is.

Nothing stays behind: what `Presence.enter` puts in place, `Presence.leave` takes away.
"""

from __future__ import annotations

import contextlib
import inspect
import operator
import os
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import optimizer as torch_optimizers

from gradviz.sources.torch.kinds import HIDDEN, TORCH

if TYPE_CHECKING:
    from gradviz.sources.torch.recorder import Capture

__all__ = ["Presence", "generator_frame", "remove_mode", "site", "swapped"]

PACKAGE = str(Path(__file__).resolve().parents[2]) + "/"
GENERATORS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
DRIVERS = ("contextlib.py", "_pytest")  # who runs a generator as a context: its body is the caller's code
USER, LIBRARY, LEFT_OUT = range(3)
REVERSED: dict[str, Callable[[Any, Any], Any]] = {
    "__rsub__": operator.sub, "__rdiv__": operator.truediv, "__rtruediv__": operator.truediv, "__rpow__": operator.pow,
    "__rmatmul__": operator.matmul, "__radd__": operator.add, "__rmul__": operator.mul,
    "__rfloordiv__": operator.floordiv, "__rmod__": operator.mod,
}  # fmt: skip

_files: dict[str, int] = {}
_active: list[Presence] = []
_stances: list[contextlib.ExitStack] = []  # at most one: how the compiler stood before the first capture that is on
_in_process: weakref.WeakSet[Capture] = weakref.WeakSet()
_apply = torch.autograd.Function.__dict__["apply"]
_call = torch.nn.Module.__call__
_compile = torch.compile
_unwrap = torch._functorch.utils.unwrap_dead_wrappers


def site(frame: FrameType | None) -> tuple[tuple[CodeType | None, int], bool]:
    """Return the place in the user's program that a call comes from, and whether it is no part of a model.

    A call that comes straight from PyTorch's optimizers and the like is none.
    """
    is_first = True
    while frame is not None:
        code = frame.f_code
        kind = _files.get(code.co_filename)
        if kind is None:
            kind = _files[code.co_filename] = _kind_of_file(code.co_filename)
        if kind == USER:
            return (code, frame.f_lasti), False
        if kind == LEFT_OUT and is_first:
            return (None, 0), True
        is_first = False
        frame = frame.f_back
    return (None, 0), False


def _kind_of_file(name: str) -> int:
    if name.startswith(HIDDEN):
        return LEFT_OUT
    return LIBRARY if name.startswith((TORCH, PACKAGE, "<frozen")) else USER


def swapped(func: Any) -> Callable[[Any, Any], Any]:
    """Return the function that takes the operands of a reflected operator in the order in which they are written."""
    return REVERSED.get(func.__name__, lambda first, second: func(second, first))


def generator_frame(frame: FrameType | None) -> FrameType | None:
    """Return the frame of the generator or coroutine that a block is begun in, or None if it is an ordinary function.

    While such a frame is suspended, what others compute is not its own. The generator of a context manager is no
    such thing: it is suspended while the body runs.
    """
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    while frame is not None and frame.f_code.co_flags & GENERATORS:
        driver = frame.f_back
        if driver is None or not any(name in driver.f_code.co_filename for name in DRIVERS):
            return frame
        while driver is not None and any(name in driver.f_code.co_filename for name in DRIVERS):
            driver = driver.f_back
        frame = driver
    return None


def remove_mode(mode: Any) -> None:
    """Take a mode off PyTorch's stack, wherever it lies."""
    above = []
    while torch._C._len_torch_function_stack():
        top = torch.overrides._pop_mode()
        if top is mode:
            break
        above.append(top)
    for other in reversed(above):
        torch.overrides._push_mode(other)


class Presence:
    """Everything that one capture has put into PyTorch besides its mode."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self._stack = contextlib.ExitStack()

    def enter(self) -> None:
        """Put the hooks in place."""
        capture = self.capture

        def steps(optimizer: Any, args: Any, kwargs: Any) -> None:
            capture.optimizer_steps(optimizer)

        self._stack.callback(torch_optimizers.register_optimizer_step_pre_hook(steps).remove)
        if not _active:
            torch.autograd.Function.apply = classmethod(_applied)
            torch.nn.Module.__call__ = _called
            torch.compile = _compiled
            torch._functorch.utils.unwrap_dead_wrappers = _begun
        _active.append(self)
        _in_process.add(capture)
        _run_eagerly()

    def leave(self) -> None:
        """Take everything away again."""
        _active.remove(self)
        if not _active:
            torch.autograd.Function.apply = _apply
            torch.nn.Module.__call__ = _call
            torch.compile = _compile
            torch._functorch.utils.unwrap_dead_wrappers = _unwrap
            while _stances:
                _stances.pop().close()
        self._stack.close()


def _run_eagerly() -> None:
    """Let what is compiled run as it is written, as long as anybody watches; only if the compiler is loaded."""
    if "torch._dynamo" in sys.modules and not _stances:
        _stances.append(contextlib.ExitStack())
        _stances[0].enter_context(torch.compiler.set_stance("force_eager"))


def _listening() -> list[Capture]:
    """Return the captures that what happens now is for, the innermost last."""
    return [present.capture for present in _active if present.capture.is_listening]


def _applied(cls: Any, *args: Any, **kwargs: Any) -> Any:
    """Stand in for autograd.Function.apply while something is recorded."""
    apply = _apply.__get__(None, cls)
    for capture in () if torch._C._is_torch_function_all_disabled() else _listening():
        apply = _seen_by(capture, cls, apply)
    return apply(*args, **kwargs)


def _seen_by(capture: Capture, cls: Any, apply: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: capture.function_applied(cls, args, kwargs, apply)


def _begun(args: Any) -> Any:
    """Stand in for what autograd.Function.apply calls first: of one bound before, no more is seen."""
    found = () if torch._C._is_torch_function_all_disabled() else _listening()
    for capture in found:
        capture.function_begun(args, sys._getframe(1))
    return _unwrap(args)


def is_running(frame: FrameType) -> bool:
    """Tell whether a function has not returned yet; of one that has, the variables are let go."""
    try:
        frame.clear()
    except RuntimeError:
        return True
    return False


def _called(module: Any, *args: Any, **kwargs: Any) -> Any:
    """Stand in for Module.__call__ while something is recorded."""
    found = _listening()
    for capture in found:
        capture.entered(module, args, kwargs)
    try:
        out = _call(module, *args, **kwargs)
        if found and isinstance(module, torch.jit.ScriptModule):
            for capture in found:
                capture.scripted(module, args, kwargs, out)
        return out
    finally:
        for capture in found:
            capture.left()


def _compiled(*args: Any, **kwargs: Any) -> Any:
    """Stand in for torch.compile while something is recorded: what it makes runs as it is written."""
    made = _compile(*args, **kwargs)
    if _active:
        _run_eagerly()
    return made


def _after_fork() -> None:
    for capture in list(_in_process):
        capture.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
