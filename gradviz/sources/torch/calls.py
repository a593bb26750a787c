"""One node model for everything that is read from PyTorch: a leaf, or a call of a function with what it was given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import CodeType
from typing import Any

__all__ = ["SLOT", "Call", "filled", "flattened", "tensor_types", "with_slots", "with_slots_in_args"]


class _Slot:
    """Stands in the arguments of a call for the next of its operands."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "SLOT"


SLOT = _Slot()
PLAIN = frozenset((int, float, bool, str, type(None)))
NO_SITE: tuple[CodeType | None, int] = (None, 0)


class Call:
    """One node to be: a leaf, or the call of a function and its result.

    ``func(*args, **kwargs)`` with its operands in place of the slots computes the value again (None: it cannot be
    called again); ``random`` is the state of the random generators before the call, if that matters. ``inputs`` are
    positions in the list of calls, in the order of the slots. A call with several results has none itself: each is a
    call of ``getitem`` whose ``index`` says which. ``value`` and ``grad`` are detached copies, None where not known;
    ``origin`` says how a value read after the fact is known.
    """

    __slots__ = (
        "args",
        "dtype",
        "func",
        "grad",
        "grad_stats",
        "index",
        "inputs",
        "kind",
        "kwargs",
        "name",
        "op",
        "origin",
        "random",
        "scope",
        "shape",
        "site",
        "stats",
        "value",
    )

    def __init__(
        self,
        op: str,
        kind: str = "op",
        inputs: Sequence[int] = (),
        *,
        func: Callable[..., Any] | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        value: Any = None,
        shape: tuple[int, ...] = (),
        dtype: str = "float32",
        name: str | None = None,
        scope: tuple[str, ...] = (),
        site: tuple[CodeType | None, int] = NO_SITE,
    ) -> None:
        self.op = op
        self.kind = kind  # "input" | "param" | "const" | "op"
        self.inputs = inputs
        self.func = func
        self.args = args
        self.kwargs = kwargs or {}
        self.value = value
        self.grad: Any = None
        self.shape = shape
        self.dtype = dtype  # of PyTorch, such as "bfloat16"
        self.name = name  # what it is called, if something says so
        self.scope = scope
        self.site = site  # the code object and the offset of the call in the user's program
        self.index: int | None = None
        self.random: Any = None
        self.stats: Any = None  # what was measured of value and gradient where no copies are kept
        self.grad_stats: Any = None
        self.origin = ""

    def __repr__(self) -> str:
        return f"Call({self.op!r}, {self.kind!r}, {list(self.inputs)}, {self.dtype}{list(self.shape)})"


@lru_cache(maxsize=1)
def tensor_types() -> Any:
    """Return the type of tensors: PyTorch is imported when this is first asked."""
    import torch

    return torch.Tensor


def with_slots_in_args(args: Sequence[Any], found: list[Any]) -> tuple[Any, ...]:
    """Return what `with_slots` does of positional arguments, most of which are tensors or plain numbers."""
    tensor = tensor_types()
    slots: list[Any] = []
    for x in args:
        if isinstance(x, tensor):
            found.append(x)
            slots.append(SLOT)
        else:
            slots.append(x if x.__class__ in PLAIN else with_slots(x, found))
    return tuple(slots)


def with_slots(x: Any, found: list[Any]) -> Any:
    """Return arguments with a slot in place of every tensor; the tensors are added to ``found`` in order.

    >>> import torch
    >>> found = []
    >>> with_slots(([torch.zeros(2), 3], {"dim": 0}), found), len(found)
    (([SLOT, 3], {'dim': 0}), 1)
    """
    if isinstance(x, tensor_types()):
        found.append(x)
        return SLOT
    if type(x) in {tuple, list}:
        return type(x)([with_slots(item, found) for item in x])
    if type(x) is dict:
        return {key: with_slots(item, found) for key, item in x.items()}
    return x


def filled(x: Any, operands: Any) -> Any:
    """Return arguments with the next of the ``operands`` (an iterator) in place of every slot.

    >>> filled(([SLOT, 3], {"other": SLOT}), iter("ab"))
    (['a', 3], {'other': 'b'})
    """
    if x is SLOT:
        return next(operands)
    if type(x) in {tuple, list}:
        return type(x)([filled(item, operands) for item in x])
    if type(x) is dict:
        return {key: filled(item, operands) for key, item in x.items()}
    return x


def flattened(out: Any) -> list[Any]:
    """Return the tensors among the results of a call, in order.

    >>> import torch
    >>> len(flattened((torch.zeros(1), [torch.zeros(2), None])))
    2
    """
    found: list[Any] = []
    with_slots(list(out) if isinstance(out, tuple | list) else out, found)
    return found
