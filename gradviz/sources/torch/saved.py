"""What an autograd node has kept for its backward pass, read without running anything of the program again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any

import torch

__all__ = ["CHANGED", "FREED", "PACKED", "RERUN", "Kept", "NumberOf", "read", "signed", "wrapped_number"]

FREED = "freed"  # a backward pass without retain_graph has been there
CHANGED = "changed"  # it was written to after it was kept
PACKED = "packed"  # hooks hold something else instead, which only they can turn back
RERUN = "rerun"  # ... by running a checkpointed block of the program again
CHECKPOINT = "torch.utils.checkpoint"
SIGN_BIT = 1 << 63

PLAIN = frozenset((float, bool, str, type(None)))
NO_TROUBLE: AbstractSet[str] = frozenset()

NumberOf = float | complex


class Kept:
    """The tensors that a node has kept, by name, and what is wrong with those that cannot be read."""

    __slots__ = ("node", "tensors", "troubles")

    def __init__(self, node: Any) -> None:
        self.node = node
        self.tensors: dict[str, Any] = {}  # a tensor, a list of tensors and None, or None
        self.troubles: AbstractSet[str] = NO_TROUBLE

    def add_trouble(self, trouble: str) -> None:
        """Note why something cannot be read."""
        self.troubles = self.troubles | {trouble}

    @property
    def is_blocked(self) -> bool:
        """Tell whether the backward of this node cannot run, or must not."""
        return not self.troubles.isdisjoint((FREED, CHANGED, RERUN))

    def number(self, name: str) -> Any:
        """Return something else that the node has kept: an axis, an exponent; None if there is nothing."""
        try:
            value = getattr(self.node, "_saved_" + name, None)
        except RuntimeError:
            return None
        return value if type(value) in PLAIN else signed(value)

    def numbers(self) -> Mapping[str, Any]:
        """Return everything that is kept and no tensor."""
        kind: type = type(self.node)
        names = [name for name, is_tensor in _fields(kind) if not is_tensor and "_sym_" not in name]
        found = {name: self.number(name) for name in names}
        return {name: value for name, value in found.items() if value is not None}


def read(node: Any) -> Kept:
    """Return what a node has kept.

    >>> x = torch.ones(2, requires_grad=True)
    >>> sorted(read((x * x).grad_fn).tensors)
    ['other', 'self']
    """
    kept = Kept(node)
    fields, is_rerun = _reading(node.__class__)
    tensors = kept.tensors
    for name, raw_name, full_name in fields:
        try:
            raw = getattr(node, raw_name)
            if raw.__class__ is tuple or _is_packed(raw):
                _read_several(kept, name, raw if raw.__class__ is tuple else (raw,), full_name)
            else:
                tensors[name] = getattr(node, full_name)
        except RuntimeError as error:
            kept.add_trouble(CHANGED if "inplace operation" in str(error) else FREED)
    if is_rerun:
        kept.add_trouble(RERUN)
    return kept


def _read_several(kept: Kept, name: str, holders: Sequence[Any], full_name: str) -> None:
    """Read what is kept in several parts, or by hooks, unless reading would call them."""
    packed = [holder.data for holder in holders if holder is not None and _is_packed(holder)]
    if not packed:
        kept.tensors[name] = getattr(kept.node, full_name)
        return
    is_checkpoint = any(type(data).__module__.startswith(CHECKPOINT) for data in packed)
    kept.add_trouble(RERUN if is_checkpoint else PACKED)


def _is_packed(holder: Any) -> bool:
    """Tell whether hooks hold a tensor; what was kept without them is the tensor itself."""
    if HAS_HOOK:
        return holder.unpack_hook is not None
    data = holder.data  # an older PyTorch
    return data is not None and not isinstance(data, torch.Tensor)


def signed(value: Any) -> Any:
    """Return numbers as they were given: PyTorch shows a negative axis without its sign.

    >>> signed((2**64 - 1, 0))
    (-1, 0)
    """
    if type(value) is int:
        return value - 2 * SIGN_BIT if value >= SIGN_BIT else value
    if isinstance(value, tuple | list):
        return tuple([signed(item) for item in value])
    return value


def wrapped_number(t: torch.Tensor) -> NumberOf | None:
    """Return the number that stood in an expression, if that is what this tensor is.

    >>> x = torch.ones(2, requires_grad=True)
    >>> wrapped_number((x * 3).grad_fn._saved_other), wrapped_number(torch.tensor(3))
    (3, None)
    """
    narrow = None if t.dim() or t.requires_grad else _NARROW.get(t.dtype)
    if narrow is None:
        return None
    is_wrapped = torch.result_type(narrow, t) == narrow.dtype
    number: NumberOf = t.item()
    return number if is_wrapped else None


HAS_HOOK = hasattr(torch._C._autograd.SavedTensor, "unpack_hook")
_NARROW = {
    torch.float64: torch.zeros((), dtype=torch.float32),
    torch.int64: torch.zeros((), dtype=torch.int32),
    torch.complex128: torch.zeros((), dtype=torch.complex64),
}


@lru_cache(maxsize=4096)
def _fields(kind: type) -> tuple[tuple[str, bool], ...]:
    """Return the names of what nodes of this kind keep, each with whether it is a tensor."""
    known = dir(kind)
    return tuple((name[7:], "_raw" + name in known) for name in known if name.startswith("_saved_"))


@lru_cache(maxsize=4096)
def _reading(kind: Any) -> tuple[tuple[tuple[str, str, str], ...], bool]:
    """Return what tensors nodes of this kind keep and where, and whether their backward runs the program again.

    Of each tensor: its name, and the names of the attributes that have it packed and as it is.
    """
    is_rerun = kind.__name__ == "CheckpointFunctionBackward" or CHECKPOINT in kind.__module__
    if hasattr(kind, "_raw_saved_tensors"):  # an autograd.Function
        return (("tensors", "_raw_saved_tensors", "saved_tensors"),), is_rerun
    names = [name for name, is_tensor in _fields(kind) if is_tensor]
    return tuple([(name, f"_raw_saved_{name}", f"_saved_{name}") for name in names]), is_rerun
