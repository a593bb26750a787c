"""Recording: compute an op and keep it as a node; explain it where it fails."""

from __future__ import annotations

import re
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import GradvizError, GradvizIndexError, GradvizTypeError, LinearAlgebraError, ShapeError
from . import modes
from .admit import admit, settle
from .leaves import CONST, Exposed, next_key, settle_leaf, value_of
from .metadata import shortened
from .sites import OFFSET_MASK, caller, variable_of, where
from .tensor import Constant, Result, Tensor

if TYPE_CHECKING:
    from .registry import Op


def apply(
    op: Op, operands: tuple[Any, ...], attrs: dict[str, Any] | None = None, given: tuple[Any, ...] = ()
) -> Tensor:
    """Compute an op and record it as a node; ``given`` are the operands as the user wrote them.

    Raises `ShapeError` or `GradvizTypeError`, naming the operands, where NumPy would raise.
    """
    values = []
    made: Any = Constant
    for x in operands:
        kind = x.__class__
        if kind is Result or kind is Tensor:
            made = Result if made is Constant else made
        elif isinstance(x, Tensor):
            if x._makes is not Constant:
                made = x._makes
        else:
            return apply(op, _admitted(op, operands), attrs, operands)
        value = x._data
        values.append(value if value.__class__ is not Exposed else settle_leaf(x))
    out = made()
    out._data = compute(op, values, attrs or {}, given or operands)
    out._op = op
    out._a = operands
    out._b = attrs
    frame = caller()
    out._code = frame.f_code
    out._key = next_key() + (frame.f_lasti & OFFSET_MASK)
    out._grad = out._extra = None
    if modes.active:
        finish(out)
    return out  # type: ignore[no-any-return]


def _admitted(op: Op, operands: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """Make constants of the numbers and arrays among the operands."""
    return tuple(
        x if isinstance(x, Tensor) else _constant(admit(_without_tensors(x, op), what=f"operand of {op.name}"), x)
        for x in operands
    )


def _without_tensors(x: Any, op: Op) -> Any:
    """Refuse a list of Tensors, whose gradients would be lost."""
    if isinstance(x, list | tuple) and any(isinstance(item, Tensor) for item in x):
        raise GradvizTypeError(
            f"{op.name} got a {type(x).__name__} that holds Tensors", where=where(), hint="join them with np.stack(...)"
        )
    return x


def _constant(value: Any, given: Any) -> Tensor:
    """Make a constant of an operand; it remembers which array it copied, so that it can be named after it."""
    out: Tensor = Constant()
    out._data = value
    out._op = CONST
    out._b = weakref.ref(given) if isinstance(given, np.ndarray) else None
    out._a = out._grad = out._extra = out._code = None
    out._key = next_key()
    return out


def finish(out: Tensor) -> None:
    """Apply the open contexts to a new node: its scope, who watches, or no recording at all."""
    now = modes.mode()
    out._extra = now.extra
    for watcher in now.watchers:
        watcher.made(out)
    if not now.recording:
        out.__class__ = Constant
        out._op = CONST
        out._a = out._b = None


def compute(op: Op, values: Sequence[Any], attrs: dict[str, Any], operands: Sequence[Any] = ()) -> Any:
    """Run an op's forward function on plain values."""
    if op.scalar is None or not all(v.__class__ is float for v in values):
        return _in_numpy(op, values, attrs, operands)
    try:
        return op.scalar(*values, **attrs)
    except (ValueError, OverflowError, ZeroDivisionError):
        # outside the domain NumPy gives the NaN or Inf (and the warning) people expect
        return _in_numpy(op, values, attrs, operands)


def _in_numpy(op: Op, values: Sequence[Any], attrs: dict[str, Any], operands: Sequence[Any]) -> Any:
    try:
        return settle(op.forward(*values, **attrs))
    except GradvizError:
        raise
    except (ValueError, TypeError, IndexError) as error:
        raise _explained(op, operands or values, attrs, error) from error


def _explained(op: Op, operands: Sequence[Any], attrs: dict[str, Any], error: Exception) -> GradvizError:
    """Turn NumPy's error into one that names the operands, their shapes and the user's line."""
    frame = caller()
    shown = ", ".join(
        (*(_described(x, frame) for x in operands[:6]), *(f"{key}={shortened(value)}" for key, value in attrs.items()))
    )
    at = where(frame)
    message = f"{op.name}({shown}): {_in_words(error)}"
    if isinstance(error, TypeError):
        return GradvizTypeError(message, where=at)
    if isinstance(error, IndexError) and not isinstance(error, ValueError):
        return GradvizIndexError(message, where=at)
    if isinstance(error, np.linalg.LinAlgError) and "dimension" not in str(error):
        return LinearAlgebraError(message, where=at, hint=_remedy(str(error)))
    hint = "lengths must be equal, or 1, axis by axis from the last" if "broadcast" in str(error) else ""
    return ShapeError(message, where=at, hint=hint)


def _in_words(error: Exception) -> str:
    """Return the first line of NumPy's message, without the jargon of generalised ufuncs."""
    text = (str(error).splitlines() or [type(error).__name__])[0].strip()
    lengths = re.search(r"gufunc signature .*\(size (\d+) is different from (\d+)\)", text)
    return f"the inner lengths {lengths[2]} and {lengths[1]} differ" if lengths else text


def _remedy(message: str) -> str:
    """Say what to do about a LinAlgError."""
    if "positive definite" in message:
        return "add a small multiple of the identity; every eigenvalue must be above 0"
    return "use pinv, or add a small multiple of the identity" if "ingular" in message else ""


def _described(x: Any, frame: Any) -> str:
    name = (x.name if isinstance(x, Tensor) else None) or variable_of(x, frame) or ""
    shape = np.shape(value_of(x) if isinstance(x, Tensor) else x)
    return f"{name} of shape {shape}".strip()
