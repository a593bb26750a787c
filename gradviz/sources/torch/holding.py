"""The tensors of a graph that the program still holds, and the names by which it does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import torch

from gradviz.sources import naming
from gradviz.sources.torch.walking import Walk

__all__ = ["Held"]

ITEMS_LIMIT = 10_000  # how many items of a list or a dict are looked at
NOTHING, TENSOR, MODULE, MAPPING, SEQUENCE, OTHER = range(6)
SIMPLE = (ModuleType, type, FunctionType, BuiltinFunctionType, MethodType, str, bytes, int, float, complex, type(None))
OF_EVERY_MODULE = frozenset(vars(torch.nn.Module()))

Container = tuple[Any, str, int]


class Held:
    """What the callers' variables hold of a graph: ``names`` by what values are known by, and the ``tensors``.

    Names are found as `gradviz.sources.naming` says: variables first, then what lists, dicts, modules and objects in
    them contain, then what the lists and dicts among that do; the nearest caller wins.
    """

    def __init__(self, walk: Walk) -> None:
        self.names: dict[Any, str] = {}
        self.tensors: list[torch.Tensor] = []
        self._walk = walk
        self._seen: set[int] = set()
        for variables in naming.variables_held():
            self._look_through(variables)

    def _look_through(self, variables: Mapping[str, Any]) -> None:
        inner: list[Container] = []
        for value, name, kind in self._taken(variables.items(), _public):
            if id(value) not in self._seen:
                self._seen.add(id(value))
                inner += self._opened(value, name, kind)
        for value, name, kind in inner:
            if id(value) not in self._seen and kind in {MAPPING, SEQUENCE}:
                self._seen.add(id(value))
                self._opened(value, name, kind, form=f"{name}.%s")

    def _taken(self, pairs: Iterable[tuple[Any, Any]], label: Callable[[Any], str | None]) -> list[Container]:
        """Take the tensors out of pairs of a key and a value, and return what may contain others."""
        containers = []
        for key, value in pairs:
            kind = KINDS.get(type(value))
            if kind is None:
                kind = KINDS[type(value)] = _kind(type(value))
            name = label(key) if kind else None
            if name is None:
                continue
            if kind == TENSOR:
                self._take(value, name)
            else:
                containers.append((value, name, kind))
        return containers

    def _opened(self, value: Any, name: str, kind: int, form: str = "%s") -> list[Container]:
        """Take the tensors out of a container, and return what may contain others."""
        if kind == SEQUENCE:
            return self._taken(enumerate(value[:ITEMS_LIMIT]), lambda i: f"{name}[{i}]")
        if kind == MAPPING:
            items = list(value.items())[:ITEMS_LIMIT]
            return self._taken(items, lambda key: form % key if isinstance(key, str) else None)
        if kind == MODULE:
            self._open_module(value, name)
            return []
        found = getattr(value, "__dict__", None)
        items = list(found.items()) if isinstance(found, dict) else []
        return self._taken(items, lambda key: f"{name}.{key}" if _public(key) else None)

    def _open_module(self, module: Any, name: str) -> None:
        """Take the parameters of a module and those in it, by the names they have there, and what else they hold."""
        ahead = [(module, name)]
        while ahead:
            at, path = ahead.pop()
            held = vars(at)
            for key, p in held["_parameters"].items():
                if p is not None:
                    self._take(p, f"{path}.{key}")
            for key in held.keys() - OF_EVERY_MODULE:
                if isinstance(held[key], torch.Tensor):
                    self._take(held[key], f"{path}.{key}")
            for key, inner in reversed(held["_modules"].items()):
                if inner is not None and id(inner) not in self._seen:
                    self._seen.add(id(inner))
                    ahead.append((inner, f"{path}.{key}"))

    def _take(self, t: torch.Tensor, name: str) -> None:
        node = t.grad_fn
        key = id(t) if node is None else (node, t.output_nr)
        if key in self._walk.places:
            self.names.setdefault(key, name)
            self.tensors.append(t)


def _public(name: Any) -> str | None:
    return name if isinstance(name, str) and name[:1] != "_" else None


def _kind(cls: type) -> int:
    """Return what objects of a class are for somebody who looks for tensors."""
    for kind, classes in (
        (TENSOR, torch.Tensor),
        (MODULE, torch.nn.Module),
        (NOTHING, SIMPLE),
        (SEQUENCE, (list, tuple)),
        (MAPPING, Mapping),
    ):
        if issubclass(cls, classes):
            return kind
    return OTHER if "__dict__" in dir(cls) else NOTHING


KINDS: dict[type, int] = dict.fromkeys(SIMPLE, NOTHING)
