"""What an autograd node has kept for its backward pass, read without running anything of the program again."""

from __future__ import annotations

from collections.abc import Mapping
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

NumberOf = float | complex


class Kept:
    """The tensors that a node has kept, by name, and what is wrong with those that cannot be read."""

    __slots__ = ("node", "tensors", "troubles")

    def __init__(self, node: Any) -> None:
        self.node = node
        self.tensors: dict[str, Any] = {}  # a tensor, a list of tensors and None, or None
        self.troubles: set[str] = set()

    @property
    def is_blocked(self) -> bool:
        """Tell whether the backward of this node cannot run, or must not."""
        return not self.troubles.isdisjoint((FREED, CHANGED, RERUN))

    def number(self, name: str) -> Any:
        """Return something else that the node has kept: an axis, an exponent; None if there is nothing."""
        try:
            return signed(getattr(self.node, "_saved_" + name, None))
        except RuntimeError:
            return None

    def numbers(self) -> Mapping[str, Any]:
        """Return everything that is kept and no tensor."""
        names = [name for name, is_tensor in _fields(type(self.node)) if not is_tensor and "_sym_" not in name]
        found = {name: self.number(name) for name in names}
        return {name: value for name, value in found.items() if value is not None}


def read(node: Any) -> Kept:
    """Return what a node has kept.

    >>> x = torch.ones(2, requires_grad=True)
    >>> sorted(read((x * x).grad_fn).tensors)
    ['other', 'self']
    """
    kept = Kept(node)
    if hasattr(node, "_raw_saved_tensors"):  # an autograd.Function
        _read(kept, "tensors", "_raw_saved_tensors", "saved_tensors")
        if type(node).__module__.startswith(CHECKPOINT) or type(node).__name__ == "CheckpointFunctionBackward":
            kept.troubles.add(RERUN)
        return kept
    for name, is_tensor in _fields(type(node)):
        if is_tensor:
            _read(kept, name, "_raw_saved_" + name, "_saved_" + name)
    return kept


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
    narrow = _NARROW.get(t.dtype)
    if narrow is None or t.dim() or t.requires_grad:
        return None
    is_wrapped = torch.result_type(narrow, t) == narrow.dtype
    number: NumberOf = t.item()
    return number if is_wrapped else None


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


def _read(kept: Kept, name: str, raw_name: str, full_name: str) -> None:
    """Read one thing that is kept, unless reading would call hooks."""
    try:
        raw = getattr(kept.node, raw_name)
        holders = raw if isinstance(raw, tuple | list) else (raw,)
        packed = [holder.data for holder in holders if holder is not None and _is_packed(holder)]
        if packed:
            is_checkpoint = any(type(data).__module__.startswith(CHECKPOINT) for data in packed)
            kept.troubles.add(RERUN if is_checkpoint else PACKED)
            return
        kept.tensors[name] = getattr(kept.node, full_name)
    except RuntimeError as error:
        kept.troubles.add(CHANGED if "inplace operation" in str(error) else FREED)


def _is_packed(holder: Any) -> bool:
    if hasattr(holder, "unpack_hook"):
        return holder.unpack_hook is not None
    data = holder.data  # before PyTorch 2.10
    return data is not None and not isinstance(data, torch.Tensor)
