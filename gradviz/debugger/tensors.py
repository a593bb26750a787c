"""What the debugger asks of a tensor in the user's program, be it of this package or of PyTorch."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gradviz.engine.leaves import value_of
from gradviz.engine.structure import walked
from gradviz.engine.tensor import Tensor

__all__ = [
    "Shown",
    "grad_of",
    "is_computed",
    "is_tensor",
    "is_torch",
    "library",
    "named_params",
    "number_of",
    "plain_value",
    "rank",
]

LARGEST = 100_000  # autograd nodes counted


class Shown(NamedTuple):
    """The numbers of a node that no tensor of the program stands for any more."""

    value: Any
    grad: Any
    op: str


def is_torch(x: Any) -> bool:
    """Tell whether this is a tensor of PyTorch, which is not imported for it.

    >>> is_torch(1.0)
    False
    """
    torch = sys.modules.get("torch")
    kind = getattr(torch, "Tensor", None)
    return kind is not None and isinstance(x, kind)


def library() -> str:
    """Return the folder that PyTorch lies in; "" if it is not imported."""
    file = getattr(sys.modules.get("torch"), "__file__", None)
    return str(file).removesuffix("__init__.py") if file else ""


def is_tensor(x: Any) -> bool:
    """Tell whether this is a Tensor, or one of PyTorch."""
    return isinstance(x, Tensor) or is_torch(x)


def is_computed(x: Any) -> bool:
    """Tell whether a tensor is the result of an op that was recorded."""
    return x.grad_fn is not None if is_torch(x) else not x.is_leaf


def number_of(x: Any) -> Any:
    """Return the value of a tensor as a float or an array; anything else as it is.

    >>> number_of(Tensor(2.0)), number_of("lr")
    (2.0, 'lr')
    """
    if isinstance(x, Shown):
        return x.value
    if is_torch(x):
        from gradviz.sources.torch.numbers import number

        return number(x)
    return value_of(x) if isinstance(x, Tensor) else x


def grad_of(x: Any) -> Any:
    """Return the gradient of a tensor as a number; None if it has none."""
    if isinstance(x, Shown):
        return x.grad
    if is_torch(x):
        return number_of(x.grad) if x.is_leaf or x.retains_grad else None
    return value_of(x.grad) if isinstance(x.grad, Tensor) else x.grad


def rank(x: Any) -> tuple[int, int]:
    """Return how large the graph of a tensor is, and a number that grows with every op: what to sort tensors by."""
    if not is_torch(x):
        return len(walked(x)), x._key
    return _size(x.grad_fn), -1 if x.grad_fn is None else int(x.grad_fn._sequence_nr())


def _size(root: Any) -> int:
    """Return how many autograd nodes lie below one."""
    seen, waiting = {root}, [] if root is None else [root]
    while waiting and len(seen) < LARGEST:
        for node, _ in waiting.pop().next_functions:
            if node is not None and node not in seen:
                seen.add(node)
                waiting.append(node)
    return len(seen)


def named_params(params: Any) -> Mapping[str, Any]:
    """Return parameters by name: of a mapping, or of a model of PyTorch.

    >>> named_params({"w": 1.0})
    {'w': 1.0}
    """
    if hasattr(params, "named_parameters"):
        return dict(params.named_parameters())
    return {str(name): x for name, x in (params or {}).items()}


def plain_value(x: Any) -> Any:
    """Return the numbers of a parameter in double precision; a single one as a float."""
    value = np.array(number_of(getattr(x, "data", x) if not is_torch(x) else x), float)
    return value.item() if value.shape == () else value
