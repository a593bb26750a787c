"""The parameters of a trace: named, and readable at every step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Protocol

import numpy as np

from gradviz.errors import GradvizTypeError, GradvizValueError
from gradviz.tracing.statistics import norm

__all__ = ["Model", "Params", "given_params", "gradient_norm", "has_graph", "is_of", "look_at", "named", "readable"]

PLAIN = (int, float, str, bytes, tuple, list, dict, np.ndarray, np.generic)


class Model(Protocol):
    """Anything that knows its parameters by name, as a Module does."""

    def named_parameters(self) -> Iterable[tuple[str, Any]]:
        """Return the names and the parameters."""


Params = Mapping[str, Any] | Sequence[Any]


def named(params: Params | Model) -> Mapping[str, Any]:
    """Return the parameters by name; those of a list are named by themselves, or ``p0``, ``p1``, ...

    A model has names for its parameters, and pairs of name and parameter may be given as its
    ``named_parameters()`` returns them.

    >>> named([1.5, 2.5])
    {'p0': 1.5, 'p1': 2.5}
    >>> named([("w", 1.5), ("b", 2.5)])
    {'w': 1.5, 'b': 2.5}
    """
    given = _listed(params)
    if isinstance(given, Mapping):
        wrong = [name for name in given if not isinstance(name, str)]
        if wrong:
            raise GradvizTypeError(f"a parameter's name must be a str, not {wrong[0]!r}")
        return given
    pairs = [_pair(item, i) for i, item in enumerate(given)]
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise GradvizValueError(f"two parameters have one name: {names}", hint="pass a dict of names to parameters")
    return dict(pairs)


def _listed(params: Any) -> Mapping[str, Any] | Iterable[Any]:
    """Return what was given as a mapping or something to go through: a model, one tensor, a dict or a list."""
    if isinstance(params, Mapping):
        return params
    if callable(list_them := getattr(params, "named_parameters", None)):
        return dict(list_them())
    if hasattr(params, "data") and hasattr(params, "grad"):
        return [params]
    if isinstance(params, str) or not isinstance(params, Iterable):
        raise GradvizTypeError(f"params is a {type(params).__name__}", hint='give names to tensors: {"w": w}')
    return params


def _pair(item: Any, place: int) -> tuple[str, Any]:
    """Return a parameter of a list with its name."""
    if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
        return item
    return str(getattr(item, "name", None) or f"p{place}"), item


def readable(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters if none is a bare number or the like, which has no ``data`` and ``grad`` to read."""
    for name, tensor in params.items():
        if tensor is None or isinstance(tensor, PLAIN):
            raise GradvizTypeError(f"parameter {name[:80]!r} is a {type(tensor).__name__}", hint="give a Tensor")
    return params


def given_params(params: Params | Model | None, model: Any) -> Mapping[str, Any] | None:
    """Return the parameters by name that are given, or those of the model; None if they are to be found in the graph.

    >>> list(given_params([("w", {1})], None)), given_params(None, None)
    (['w'], None)
    """
    if params is None and is_of(model, "torch"):
        from gradviz.sources.torch.updates import trained

        return trained(model)
    given = model if params is None else params
    return None if given is None else readable(named(given))


def has_graph(loss: Any) -> bool:
    """Tell whether the loss is a Tensor of this package (of others, only the numbers are recorded)."""
    return any(base.__module__.startswith("gradviz.engine") for base in type(loss).__mro__)


def is_of(x: Any, package: str) -> bool:
    """Tell whether an object, or a class it is made after, comes from a package, without importing that.

    >>> is_of(1.5, "torch"), is_of(np.zeros(2), "numpy")
    (False, True)
    """
    return any(base.__module__.partition(".")[0] == package for base in type(x).__mro__)


def gradient_norm(params: Mapping[str, Any]) -> float:
    """Return the Euclidean norm of all gradients together.

    >>> from types import SimpleNamespace
    >>> gradient_norm({"a": SimpleNamespace(grad=3.0), "b": SimpleNamespace(grad=4.0)})
    5.0
    """
    plain: Callable[[Any], Any] = np.asarray
    if _are_of_torch(params):
        from gradviz.sources.torch.numbers import number as plain
    grads = (tensor.grad for tensor in params.values())
    return norm(np.array([norm(np.asarray(plain(grad))) for grad in grads if grad is not None]))


def look_at(params: Mapping[str, Any] | None) -> Callable[[Any], tuple[Any, Any]]:
    """Return what reads value and gradient of one of these parameters: those of PyTorch may lie on another device."""
    if _are_of_torch(params):
        from gradviz.sources.torch.numbers import number

        return lambda tensor: (number(tensor), number(tensor.grad))
    return attrgetter("data", "grad")


def _are_of_torch(params: Mapping[str, Any] | None) -> bool:
    return bool(params) and all(is_of(tensor, "torch") for tensor in (params or {}).values())
