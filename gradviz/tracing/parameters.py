"""The parameters of a trace: named, and readable at every step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gradviz.errors import GradvizTypeError, GradvizValueError
from gradviz.tracing.statistics import norm

__all__ = ["Params", "gradient_norm", "has_graph", "named", "readable"]

Params = Mapping[str, Any] | Sequence[Any]


def named(params: Params) -> Mapping[str, Any]:
    """Return the parameters by name; those of a list are named by themselves, or ``p0``, ``p1``, ...

    >>> named([1.5, 2.5])
    {'p0': 1.5, 'p1': 2.5}
    """
    if isinstance(params, Mapping):
        wrong = [name for name in params if not isinstance(name, str)]
        if wrong:
            raise GradvizTypeError(f"a parameter's name must be a str, not {wrong[0]!r}")
        return params
    if not isinstance(params, Iterable):
        raise GradvizTypeError(f"params is a {type(params).__name__}", hint='give names to tensors: {"w": w}')
    names = [str(getattr(tensor, "name", None) or f"p{i}") for i, tensor in enumerate(params)]
    if len(set(names)) < len(names):
        raise GradvizValueError(f"two parameters have one name: {names}", hint="pass a dict of names to parameters")
    return dict(zip(names, params, strict=True))


def readable(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters if none is a bare number, which has no ``data`` and ``grad`` to read at every step."""
    for name, tensor in params.items():
        if isinstance(tensor, int | float | str | np.ndarray | np.generic):
            raise GradvizTypeError(f"parameter {name[:80]!r} is a {type(tensor).__name__}", hint="give a Tensor")
    return params


def has_graph(loss: Any) -> bool:
    """Tell whether the loss is a Tensor of this package (of others, only the numbers are recorded)."""
    return any(base.__module__.startswith("gradviz.engine") for base in type(loss).__mro__)


def gradient_norm(params: Mapping[str, Any]) -> float:
    """Return the Euclidean norm of all gradients together.

    >>> from types import SimpleNamespace
    >>> gradient_norm({"a": SimpleNamespace(grad=3.0), "b": SimpleNamespace(grad=4.0)})
    5.0
    """
    norms = [norm(np.asarray(tensor.grad)) for tensor in params.values() if tensor.grad is not None]
    return norm(np.array(norms))
