"""`Module`: something with parameters that can be called.

Parameters are found in attributes and named after them; a call opens a scope of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..errors import GradvizTypeError, UnknownNameError
from .modes import mode, scope
from .sites import where
from .tensor import Tensor

# Whether a module is being called: the outermost one names everything below it.
_inside: ContextVar[bool] = ContextVar("gradviz_inside_module", default=False)


class Module:
    """Something with parameters that can be called: write ``forward`` and assign Tensors and Modules.

    Parameters and modules are found in the attributes, also inside lists, tuples and dicts,
    except in attributes whose name begins with an underscore.

    >>> from gradviz import Tensor
    >>> class Line(Module):
    ...     def __init__(self):
    ...         self.slope = Tensor(2.0)
    ...     def forward(self, x):
    ...         return self.slope * x
    >>> line = Line()
    >>> line(3.0), line.named_parameters()
    (Tensor(6.0), [('slope', Tensor(2.0, name='slope'))])
    """

    training: bool = True
    _label: str | None = None  # the attribute of the module above that holds this one

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the result; a module writes its own."""
        raise GradvizTypeError(
            f"{type(self).__name__} has no forward", where=where(), hint="define forward(self, x) in the class"
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return ``forward(...)``, inside a scope named after the attribute that holds this module."""
        if _inside.get():
            if self._label is None:
                return self.forward(*args, **kwargs)
            with scope(self._label):
                self._place_parameters()
                return self.forward(*args, **kwargs)
        self.named_parameters()
        token = _inside.set(True)
        try:
            return self.forward(*args, **kwargs)
        finally:
            _inside.reset(token)

    def _place_parameters(self) -> None:
        """Let the parameters this module holds itself stand in its scope, where they have none yet."""
        now = mode().extra
        for _, p in _held(self):
            if now is not None and isinstance(p, Tensor) and not p.scope:
                p._extra = (p._extra or now)._replace(scope=now.scope)

    def named_modules(self) -> list[tuple[str, Module]]:
        """Return this module and all below it, each once, by their paths; its own is ``""``."""
        found: list[tuple[str, Module]] = []
        seen = set()
        waiting: list[tuple[str, Module]] = [("", self)]
        while waiting:
            path, module = waiting.pop()
            if id(module) not in seen:
                seen.add(id(module))
                found.append((path, module))
                below = [(_join(path, label), m) for label, m in _held(module) if isinstance(m, Module)]
                waiting.extend(reversed(below))
        return found

    def named_parameters(self) -> list[tuple[str, Tensor]]:
        """Return the parameters by their paths, each once, and give them these names.

        A name given by hand stays.
        """
        found: dict[int, tuple[str, Tensor]] = {}
        for path, module in self.named_modules():
            for label, held in _held(module):
                if isinstance(held, Module):
                    held._label = label
                elif id(held) not in found:
                    name = _join(path, label)
                    _rename(held, name)
                    found[id(held)] = (name, held)
        return list(found.values())

    def parameters(self) -> list[Tensor]:
        """Return the parameters, each once."""
        return [p for _, p in self.named_parameters()]

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for p in self.parameters():
            p.zero_grad()

    def train(self, mode: bool = True) -> Module:
        """Switch this module and all below it to training (dropout works) or evaluation."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Switch this module and all below it to evaluation."""
        return self.train(mode=False)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return a copy of every parameter's value, by path."""
        return {name: p.numpy() for name, p in self.named_parameters()}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Set every parameter from what `state_dict` returned.

        Raises `UnknownNameError` if the names differ and `ShapeError` if a shape does.
        """
        mine = dict(self.named_parameters())
        for name in saved:
            if name not in mine:
                raise UnknownNameError.among("parameter", name, mine)
        missing = [name for name in mine if name not in saved]
        if missing:
            raise UnknownNameError(f"the saved state lacks {', '.join(missing[:8])}", where=where())
        for name, p in mine.items():
            p.data = saved[name]

    def __repr__(self) -> str:
        modules = self.named_modules()
        count = sum(p.size for p in self.parameters())
        lines = [f"{self._title()}, {count} parameters"]
        return "\n".join(lines + [f"  {path}: {module._title()}" for path, module in modules[1:]])

    def _title(self) -> str:
        return type(self).__name__


def _join(path: str, label: str) -> str:
    return f"{path}.{label}" if path else label


def _rename(p: Tensor, name: str) -> None:
    """Name a parameter by its path, unless a person named it: paths grow at the front only."""
    if p.name is None or (p.name != name and name.endswith(f".{p.name}")):
        p.name = name


def _held(module: Module) -> list[tuple[str, Any]]:
    """Return the parameters and modules that a module's attributes hold, by label."""
    found = []
    waiting = [(name, value) for name, value in reversed(vars(module).items()) if not name.startswith("_")]
    seen = set()
    while waiting:
        label, value = waiting.pop()
        if isinstance(value, Module) or (isinstance(value, Tensor) and value.is_leaf and value.requires_grad):
            found.append((label, value))
        elif isinstance(value, list | tuple | dict) and id(value) not in seen:
            seen.add(id(value))
            items = value.items() if isinstance(value, dict) else enumerate(value)
            waiting.extend(reversed([(f"{label}.{key}", item) for key, item in items]))
    return found
