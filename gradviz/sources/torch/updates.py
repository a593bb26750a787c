"""What the tracer needs of PyTorch's optimizers: of what kind they are and with which settings they step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from gradviz.sources.torch.modules import WRAPPERS

__all__ = ["TorchOptimizer", "trained"]

MECHANICS = frozenset(
    ("capturable", "differentiable", "foreach", "fused", "decoupled_weight_decay", "initial_lr", "params")
)
TOLD = frozenset(("lr",))  # whatever its value


def trained(model: Any) -> dict[str, Any]:
    """Return the parameters of a model that are to change, by their paths in it.

    >>> list(trained(torch.nn.Linear(2, 3)))
    ['weight', 'bias']
    """
    pairs = ((name.split("."), p) for name, p in model.named_parameters() if p.requires_grad)
    return {".".join(part for part in path if part not in WRAPPERS): p for path, p in pairs}


class TorchOptimizer:
    """Tells of an optimizer of PyTorch what is to be known of one of ours.

    >>> w = torch.zeros(2, requires_grad=True)
    >>> TorchOptimizer(torch.optim.SGD([w], lr=0.5, momentum=0.9)).state_dict()["options"]
    {'lr': 0.5, 'momentum': 0.9}
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self._seen: Any = None
        self._options: dict[str, Any] = {}

    @property
    def kind(self) -> str:
        """The name of its class."""
        return type(self.optimizer).__name__

    @property
    def options(self) -> dict[str, Any]:
        """Its settings of this moment; where groups of parameters differ, ``lr`` is the largest, ``groups`` has all."""
        seen = [list(group.items()) for group in self.optimizer.param_groups]
        marks = [[(name, value) for name, value in items if name != "params"] for items in seen]
        if marks != self._seen or any(isinstance(value, torch.Tensor) for items in marks for _, value in items):
            self._seen = marks
            self._options = joined([plain_options(dict(items)) for items in marks])
        return self._options

    def state_dict(self) -> Mapping[str, Any]:
        """Return kind and settings; the state stays where it is, for nothing is computed again from it."""
        return {"kind": self.kind, "options": self.options, "state": []}

    def before_step(self, call: Callable[[], None]) -> Callable[[], None]:
        """Have something called before every step, until what is returned is called."""
        handle = self.optimizer.register_step_pre_hook(lambda *_: call())
        return handle.remove  # type: ignore[no-any-return]


def plain_options(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a group of parameters as plain numbers, without those that change nothing.

    >>> plain_options({"lr": torch.tensor(0.5), "betas": (0.9, 0.999), "weight_decay": 0, "fused": None})
    {'lr': 0.5, 'betas': [0.9, 0.999]}
    """
    found = {name: plain(value) for name, value in group.items() if name not in MECHANICS}
    return {name: value for name, value in found.items() if name in TOLD or value not in (None, False, 0, [])}


def plain(value: Any) -> Any:
    """Return a setting as JSON can hold it; None for what it cannot."""
    if isinstance(value, torch.Tensor):
        return float(value) if value.numel() == 1 else None
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value if isinstance(value, bool | int | float | str) else None


def joined(groups: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the settings of all groups as one.

    >>> joined([{"lr": 0.1, "momentum": 0.9}, {"lr": 0.01, "momentum": 0.9}])
    {'lr': 0.1, 'momentum': 0.9, 'groups': [{'lr': 0.1}, {'lr': 0.01}]}
    """
    if len(groups) == 1:
        return groups[0]
    names = dict.fromkeys(name for group in groups for name in group)
    shared = {name for name in names if all(group.get(name) == groups[0].get(name) for group in groups)}
    rates = [group["lr"] for group in groups if isinstance(group.get("lr"), int | float)]
    found = {name: groups[0][name] for name in names if name in shared}
    if len(shared) == len(names):
        return found
    most = {"lr": max(rates)} if rates else {}
    return {**most, **found, "groups": [{k: v for k, v in group.items() if k not in shared} for group in groups]}
