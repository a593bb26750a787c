"""Where in a model a program is: the path of the module that runs, and the names of its parameters and buffers."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

__all__ = ["Modules", "argument_names"]

Path = tuple[str, ...]
VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
WRAPPERS = frozenset(("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"))  # names nobody gave


def argument_names(kind: type, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors that a module was called with, and what its forward calls them.

    >>> list(argument_names(torch.nn.Linear, (torch.zeros(1),), {}))
    [('input', tensor([0.]))]
    """
    forward: Any = getattr(kind, "forward", None)
    try:
        names = [p.name for p in inspect.signature(forward).parameters.values() if p.kind not in VARIABLE][1:]
    except (ValueError, TypeError):
        return
    for name, value in (*zip(names, args, strict=False), *kwargs.items()):
        if isinstance(value, torch.Tensor):
            yield name, value


class Modules:
    """The modules that are running, the innermost last, by their paths in the model.

    Without a model, the first module with parameters that is called is taken for it; others are named by their class.
    """

    def __init__(self, model: torch.nn.Module | None) -> None:
        self.running: list[Path] = [()]
        self._paths: dict[int, tuple[torch.nn.Module, Path]] = {}
        self._leaves: dict[int, tuple[torch.Tensor, str, Path]] = {}
        self._inner: list[torch.nn.Module | None] = [None]
        self._has_model = False
        if model is not None:
            self._take(model, ())

    def enter(self, module: torch.nn.Module) -> None:
        """Take note that a module begins to run."""
        self.running.append(self._path(module))
        self._inner.append(module)

    def leave(self) -> None:
        """Take note that the innermost module has ended."""
        if len(self.running) > 1:
            self.running.pop()
            self._inner.pop()

    def unwind(self) -> None:
        """Take note that no module is running."""
        del self.running[1:], self._inner[1:]

    def named(self, t: torch.Tensor) -> tuple[str | None, Path]:
        """Return the name and the scope of a parameter or buffer; no name and no scope for another tensor."""
        known = self._leaves.get(id(t))
        if known is not None and known[0] is t:
            return known[1], known[2]
        inner = self._inner[-1]
        if inner is not None:
            for key, held in (*inner._parameters.items(), *inner._buffers.items()):
                if held is t:  # one that was put in place while the module runs
                    return ".".join((*self.running[-1], key)), self.running[-1]
        return None, ()

    def parameters(self) -> dict[str, torch.Tensor]:
        """Return the parameters of the model that are to change, by name."""
        return {name: t for t, name, _ in self._leaves.values() if t.requires_grad}

    def _path(self, module: torch.nn.Module) -> Path:
        known = self._paths.get(id(module))
        if known is not None and known[0] is module:
            return known[1]
        outer = self._inner[-1]
        if outer is not None:
            name = next((name for name, held in outer._modules.items() if held is module), type(module).__name__)
            path = self.running[-1] if name in WRAPPERS else (*self.running[-1], name)
        elif self._has_model or next(module.parameters(), None) is None:
            path = (type(module).__name__,)
        else:
            path = ()
        self._take(module, path)
        return path

    def _take(self, model: torch.nn.Module, path: Path) -> None:
        """Learn the names of a module and everything in it; what is known already keeps its name."""
        self._has_model = self._has_model or (path == () and next(model.parameters(), None) is not None)
        for name, module in model.named_modules():
            own = (*path, *(part for part in name.split(".") if part and part not in WRAPPERS))
            self._paths.setdefault(id(module), (module, own))
            for key, held in (*module._parameters.items(), *module._buffers.items()):
                if held is not None:
                    self._leaves.setdefault(id(held), (held, ".".join((*own, key)), own))
