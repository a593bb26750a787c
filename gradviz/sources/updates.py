"""What the tracer needs of optimizers: who changed the parameters, by which rule, and the same update once more.

This module sees the engine only, and no graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from gradviz.engine.optim import SGD, STEPPED, Adam, AdamW, Optimizer, RMSprop
from gradviz.engine.tensor import Tensor
from gradviz.errors import GradvizValueError

__all__ = ["KINDS", "STEPPED", "holding", "is_optimizer", "options_used", "pace", "state_of", "steps_made", "updated"]

KINDS: dict[str, type[Optimizer]] = {kind.__name__: kind for kind in (SGD, RMSprop, Adam, AdamW)}

Numbers = Mapping[str, Any]


def is_optimizer(given: Any) -> bool:
    """Tell whether this is an optimizer of the engine."""
    return isinstance(given, Optimizer)


def holding(params: Iterable[Any]) -> list[Optimizer]:
    """Return the optimizers that have made a step and hold one of these parameters, the oldest first."""
    ids = {id(p) for p in params}
    return [o for o in STEPPED.members() if any(id(p) in ids for p in o.params)]


def steps_made(optimizer: Optimizer) -> int:
    """Return how many steps an optimizer has made."""
    return optimizer._steps


def options_used(optimizer: Optimizer) -> dict[str, Any] | None:
    """Return the options that an optimizer's last step used, which may have been set anew since; None before it."""
    used = optimizer._used
    return None if used is None else dict(zip(optimizer.options, used, strict=True))


def pace(optimizer: Optimizer) -> tuple[int, Any]:
    """Return how many steps an optimizer has made, and something that is equal while its options are."""
    return optimizer._steps, optimizer._used


def state_of(optimizer: Optimizer, params: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the state that an optimizer has of these parameters, by name, as it lies in memory."""
    names = {id(p): name for name, p in params.items()}
    owned = zip(optimizer.params, optimizer._state, strict=True)
    return {names[id(p)]: state for p, state in owned if id(p) in names}


def updated(
    optimizer: str, options: Mapping[str, Any], state: Mapping[str, Numbers], values: Numbers, grads: Numbers
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the values and the state after one step of an optimizer, computed by the engine itself, bit for bit.

    Everything goes by the name of the parameter; a gradient of None leaves a parameter as it is. Raises
    GradvizValueError for an optimizer that the engine has not, or options that it does not take.

    >>> updated("SGD", {"lr": 0.5}, {}, {"w": 3.0}, {"w": 2.0})
    ({'w': 2.0}, {})
    """
    rule = _rule(optimizer, options)
    new_values, new_state = dict(values), {name: dict(one) for name, one in state.items()}
    for name, value in values.items():
        grad = grads.get(name)
        if grad is None:
            continue
        own = {key: _plain(number) for key, number in state.get(name, {}).items()}
        new_values[name] = _like(rule._updated(value, grad, own), value)
        if own:
            new_state[name] = own
    return new_values, new_state


def _rule(kind: str, options: Mapping[str, Any]) -> Optimizer:
    """Build an optimizer with these options."""
    made_by = KINDS.get(kind) if isinstance(kind, str) else None
    if made_by is None:
        raise GradvizValueError(f"no optimizer {str(kind)[:80]!r} is known here", hint=f"known are {', '.join(KINDS)}")
    rule = made_by([Tensor(0.0)])
    for name, value in options.items():
        if name not in made_by.options:
            raise GradvizValueError(f"{kind} has no option {str(name)[:80]!r}")
        setattr(rule, name, _option(kind, name, value))
    return rule


def _option(kind: str, name: str, value: Any) -> Any:
    """Return an option as the optimizer keeps it: a number, a truth value, or a pair of numbers."""
    if isinstance(value, list | tuple) and len(value) == 2:
        return tuple(_option(kind, name, part) for part in value)
    if not isinstance(value, bool | int | float):
        raise GradvizValueError(f"{kind} cannot have {name}={str(value)[:80]!r}")
    return value


def _plain(number: Any) -> Any:
    """Return a single number as Python's: the powers of a count are not those of a NumPy scalar to the last bit."""
    is_single = isinstance(number, np.ndarray | np.generic) and number.ndim == 0
    return number.item() if is_single and number.dtype in (np.float64, np.int64) else number


def _like(new: Any, before: Any) -> Any:
    """Return a new value as a leaf keeps it."""
    return float(new) if before.__class__ is float else np.asarray(new, dtype=before.dtype)
