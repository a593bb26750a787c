"""`descend`: the loop of gradient descent itself."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gradviz.errors import GradvizTypeError, GradvizValueError
from gradviz.tracing.columns import scalar_loss
from gradviz.tracing.parameters import Params, gradient_norm, named
from gradviz.tracing.progress import Progress
from gradviz.tracing.reading import Run, open_run
from gradviz.tracing.recorder import Trace, trace

__all__ = ["Descent", "descend"]

PLAIN = {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0}  # what this descent does without


@dataclass(frozen=True, eq=False)
class Descent:
    """What `descend` arrived at.

    ``params`` are the final values by name, ``loss`` the loss before every update, ``run`` the run that was
    written, if any. ``message`` says in words how it went; ``is_finite`` is False if the loss ever was NaN
    or infinite.
    """

    params: dict[str, float | np.ndarray]
    loss: np.ndarray
    run: Run | None
    message: str

    @property
    def is_finite(self) -> bool:
        """Whether every loss was a finite number."""
        return bool(np.isfinite(self.loss).all())

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_short(value)}" for name, value in list(self.params.items())[:8])
        return f"Descent({shown}; {self.message})"


def descend(
    f: Callable[..., Any],
    params: Params,
    *,
    lr: float | Callable[[int], float] = 0.01,
    steps: int = 100,
    trace: str | os.PathLike[str] | Trace | None = None,
    progress: bool = False,
    callback: Callable[[int, float, dict[str, Any]], object] | None = None,
) -> Descent:
    """Minimise ``f`` by gradient descent: ``new = old - lr * gradient``, ``steps`` times.

    ``f`` takes the parameters (a dict's by keyword, a list's by position) and returns the loss as a
    scalar Tensor. Numbers and arrays in ``params`` become Tensors; Tensors are changed in place.
    ``lr`` may be a function of the step. ``trace`` is a directory, or an open `trace`, to which every
    step is written. ``callback(step, loss, params)`` may return True to stop.

    A loss that is NaN or infinite does not stop the descent: the trace then shows where it came
    from; ``result.message`` says at which step it was first seen. A parameter that no gradient reaches
    is left as it is. Raises GradvizTypeError if ``f`` returns no Tensor.

    >>> import gradviz
    >>> result = descend(lambda w: (w - 3) ** 2, {"w": 0.0}, lr=0.25, steps=20)
    >>> round(result.params["w"], 4), result.loss[:3]
    (3.0, array([9.    , 2.25  , 0.5625]))
    """
    if steps < 0:
        raise GradvizValueError(f"steps={steps}: the number of steps cannot be negative")
    if not callable(f):
        raise GradvizTypeError(
            f"f is {str(f)[:80]!r}, which cannot be called", hint="give a function that returns the loss"
        )
    rate = lr if callable(lr) else _constant(lr)
    tensors = _tensors(f, params)
    by_name = isinstance(params, Mapping)
    losses: list[float] = []
    told: float | None = None
    with _opened(trace, tensors) as recorder, _shown(progress, steps) as shown:
        for step in range(steps):
            loss = f(**tensors) if by_name else f(*tensors.values())
            losses.append(_differentiated(loss, tensors))
            if recorder is not None:
                recorder.step(loss)
            if shown is not None:
                shown.update(step, losses[-1], partial(gradient_norm, tensors))
            now = _number_of(rate(step))
            if recorder is not None and now != told:
                recorder.updates_by("SGD", {"lr": now, **PLAIN})
                told = now
            _update(tensors, now)
            if callback is not None and callback(step, losses[-1], tensors) is True:
                break
    values = {name: _copied(tensor.data) for name, tensor in tensors.items()}
    run = open_run(recorder.path) if recorder is not None else None
    return Descent(values, np.array(losses), run, _message(losses, steps))


def _constant(lr: float) -> Callable[[int], float]:
    rate = _number_of(lr)
    if math.isnan(rate):
        raise GradvizValueError("lr is not a number (NaN)")
    return lambda step: rate


def _number_of(lr: Any) -> float:
    try:
        return float(lr)
    except (TypeError, ValueError):
        raise GradvizTypeError(
            f"lr={str(lr)[:80]!r} is not a number", hint="give a number, or a function of the step"
        ) from None


def _tensors(f: Callable[..., Any], params: Params) -> dict[str, Any]:
    """Return the parameters as Tensors by name; those of a list are named as the arguments of ``f`` are."""
    from gradviz.sources import own

    if isinstance(params, Mapping):
        given = named(params)
    else:
        names = _argument_names(f)
        same = len(names) >= len(params)
        given = dict(zip(names, params, strict=False)) if same else named(params)
    return {name: value if _is_tensor(value) else own.parameter(value, name) for name, value in given.items()}


def _argument_names(f: Callable[..., Any]) -> list[str]:
    try:
        arguments = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):  # a builtin has no signature
        return []
    return [a.name for a in arguments if a.kind in {a.POSITIONAL_ONLY, a.POSITIONAL_OR_KEYWORD}]


def _is_tensor(value: Any) -> bool:
    """Tell whether the value is something with data and a gradient (a Tensor that holds 0 is false itself)."""
    return hasattr(value, "data") and hasattr(value, "grad")


def _differentiated(loss: Any, tensors: Mapping[str, Any]) -> float:
    """Bring every parameter the gradient of this loss alone, and return the loss."""
    if not callable(getattr(loss, "backward", None)):
        raise GradvizTypeError(
            f"f returned {type(loss).__name__}, which has no gradient",
            hint="f must compute its result from its arguments, with operators and NumPy functions",
        )
    value = scalar_loss(loss)
    for tensor in tensors.values():
        tensor.grad = None
    loss.backward()
    return value


def _update(tensors: Mapping[str, Any], rate: float) -> None:
    for tensor in tensors.values():
        if tensor.grad is not None:
            tensor.data = tensor.data - rate * tensor.grad


def _opened(target: Any, tensors: Mapping[str, Any]) -> AbstractContextManager[Trace | None]:
    """Return the trace to write to; one that was handed in stays open."""
    if target is None or isinstance(target, Trace):
        return nullcontext(target)
    return trace(target, params=tensors)


def _shown(wanted: bool, steps: int) -> AbstractContextManager[Progress | None]:
    """Return the progress line, if one is wanted."""
    return Progress(steps) if wanted else nullcontext()


def _copied(value: Any) -> float | np.ndarray:
    return value.copy() if isinstance(value, np.ndarray) else float(value)


def _message(losses: list[float], steps: int) -> str:
    """Say in words how it went."""
    if not losses:
        return "no step was made"
    bad = next((step for step, loss in enumerate(losses) if not math.isfinite(loss)), None)
    if bad is not None:
        return f"the loss is {losses[bad]} from step {bad} on; a smaller lr usually helps"
    stopped = f", stopped by the callback after {len(losses)} steps" if len(losses) < steps else f" in {steps} steps"
    return f"loss {losses[0]:.6g} to {losses[-1]:.6g}{stopped}"


def _short(value: float | np.ndarray) -> str:
    return f"array {value.shape}" if isinstance(value, np.ndarray) else f"{value:.6g}"
