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
from torch.nn.modules import module as torch_modules
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
_active: list[Capture] = []
_in_process: weakref.WeakSet[Capture] = weakref.WeakSet()
_function_apply = torch.autograd.Function.__dict__.get("apply")


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
        self._capture = capture
        self._stack = contextlib.ExitStack()

    def enter(self) -> None:
        """Put the hooks in place."""
        capture = self._capture

        def before(module: torch.nn.Module, args: Any) -> None:
            if capture.is_listening:
                _run_eagerly(self._stack)
                capture.entered(module)

        def after(module: torch.nn.Module, args: Any, out: Any) -> None:
            if capture.is_listening:
                capture.left()

        def steps(optimizer: Any, args: Any, kwargs: Any) -> None:
            if capture.is_listening:
                capture.optimizer_steps()

        for handle in (
            torch_modules.register_module_forward_pre_hook(before),
            torch_modules.register_module_forward_hook(after, always_call=True),
            torch_optimizers.register_optimizer_step_pre_hook(steps),
        ):
            self._stack.callback(handle.remove)
        _run_eagerly(self._stack)
        if not _active:
            torch.autograd.Function.apply = classmethod(_applied)
        _active.append(capture)
        _in_process.add(capture)
        self._stack.callback(_leave, capture)

    def leave(self) -> None:
        """Take everything away again."""
        self._stack.close()


def _leave(capture: Capture) -> None:
    _active.remove(capture)
    if not _active:
        if _function_apply is None:
            del torch.autograd.Function.apply
        else:
            torch.autograd.Function.apply = _function_apply


def _applied(cls: Any, *args: Any, **kwargs: Any) -> Any:
    """Stand in for autograd.Function.apply while something is recorded."""
    original = (
        super(torch.autograd.Function, cls).apply if _function_apply is None else _function_apply.__get__(None, cls)
    )
    capture = next((c for c in reversed(_active) if c.is_listening), None)
    if capture is None or torch._C._is_torch_function_all_disabled():
        return original(*args, **kwargs)
    return capture.function_applied(cls, args, kwargs, original)


def _run_eagerly(stack: contextlib.ExitStack) -> None:
    """Let compiled modules run as they are written, as long as the stack lasts; only if the compiler is loaded."""
    if "torch._dynamo" in sys.modules and not getattr(stack, "is_eager", False):
        stack.is_eager = True  # type: ignore[attr-defined]
        stack.enter_context(torch.compiler.set_stance("force_eager"))


def _after_fork() -> None:
    for capture in list(_in_process):
        capture.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
