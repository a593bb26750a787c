"""Numbers of PyTorch's tensors: copied while a program runs, turned into NumPy's when somebody looks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

__all__ = [
    "ORDINARY",
    "address",
    "as_tensor",
    "copied",
    "dtype_name",
    "known_lengths",
    "number",
    "numbers",
    "plain",
    "shape_of",
    "unseen",
]

NUMPY_KNOWS = frozenset(
    (
        torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
        torch.bool, torch.complex64, torch.complex128,
    )
)  # fmt: skip

NAMES = {dtype: str(dtype)[6:] for dtype in (*NUMPY_KNOWS, torch.bfloat16)}
ORDINARY = frozenset((torch.Tensor, torch.nn.Parameter))
STRIDED = torch.strided
FUNCTION_MODES, DISPATCH_MODES = torch._C._len_torch_function_stack, torch._C._len_torch_dispatch_stack  # how many
VARIES = 0  # the length of a dimension that has none of its own


def dtype_name(t: torch.Tensor) -> str:
    """Return the name of a dtype as PyTorch has it.

    >>> dtype_name(torch.zeros(1, dtype=torch.bfloat16))
    'bfloat16'
    """
    return NAMES.get(t.dtype) or str(t.dtype)[6:]


def shape_of(t: Any) -> tuple[int, ...]:
    """Return the shape of a tensor; of a nested one 0 where its parts differ, as far as it tells.

    >>> shape_of(torch.zeros(2, 3)), shape_of(torch.nested.nested_tensor([[1.0], [1.0, 2.0]], layout=torch.jagged))
    ((2, 3), (2, 0))
    """
    try:
        shape = tuple(t.shape)
    except RuntimeError:  # a nested one of the older kind
        return (int(t.size(0)), *[VARIES] * (t.dim() - 1))
    return shape if type(t) in ORDINARY else known_lengths(shape)


def known_lengths(shape: Sequence[Any]) -> tuple[int, ...]:
    """Return a shape with 0 for what is no number.

    >>> known_lengths(torch.Size([2, 3]))
    (2, 3)
    """
    return tuple([n if type(n) is int else VARIES for n in shape])


def plain(t: torch.Tensor) -> torch.Tensor | None:
    """Return an ordinary tensor with the numbers that this process has of ``t``: its shard, its dense form.

    None for a tensor without numbers (a meta or fake tensor, one whose storage was freed or that stands for others,
    a nested one).
    """
    if hasattr(t, "fake_mode"):
        return None
    if type(t) in ORDINARY and t.layout is STRIDED and not t.is_nested:
        try:
            t.data_ptr()
        except RuntimeError:  # within torch.func it stands for many
            return None
    t = t.detach()
    if hasattr(t, "to_local"):  # a DTensor: the shard of this process
        t = t.to_local()
        t = t.wait() if hasattr(t, "wait") else t
    if t.is_nested or t.device.type == "meta":
        return None
    if t.is_quantized:
        return t.dequantize()
    if t.layout is not torch.strided:
        return t.to_dense()
    if type(t) not in ORDINARY:
        return None if t.numel() and not t.data_ptr() else t.as_subclass(torch.Tensor)
    return None if t.numel() and t.untyped_storage().nbytes() == 0 else t


@contextlib.contextmanager
def unseen() -> Iterator[None]:
    """Let no mode see what is done in a block: not those of the program, and no capture around this one."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch._C.DisableTorchFunction())
        if DISPATCH_MODES():
            stack.enter_context(torch._C._DisableTorchDispatch())
        yield


def address(t: torch.Tensor) -> int:
    """Return where the numbers of a tensor lie; 0 for one that has no storage."""
    try:
        with torch._C.DisableTorchFunction():
            return int(t.untyped_storage().data_ptr())
    except (RuntimeError, NotImplementedError):
        return 0


def has_numbers(t: torch.Tensor) -> bool:
    """Tell whether an ordinary tensor has memory; one within torch.func has none, and a nested one not of this kind."""
    try:
        return bool(t.data_ptr()) and not t.is_nested
    except RuntimeError:
        return False


def copied(t: torch.Tensor) -> torch.Tensor | None:
    """Return a copy that nothing changes later, on the device of ``t``; None for a tensor without numbers.

    >>> t = torch.ones(2, requires_grad=True)
    >>> copied(t), copied(torch.ones(2, device="meta")) is None
    (tensor([1., 1.]), True)
    """
    is_seen = FUNCTION_MODES() or DISPATCH_MODES()
    if not is_seen and type(t) in ORDINARY and t.layout is STRIDED and not t.is_quantized and not t.is_nested:
        try:
            if t.data_ptr():
                return (t.detach() if t.requires_grad else t).clone()
        except RuntimeError:  # within torch.func it stands for many
            return None
    with unseen() if is_seen else contextlib.nullcontext(), torch.no_grad():
        found = plain(t)
        return None if found is None else found.clone()


def number(t: torch.Tensor | None) -> Any:
    """Return a float or a NumPy array with the numbers of ``t``; what NumPy has no dtype for becomes float32.

    >>> number(torch.tensor([1.5], dtype=torch.bfloat16)), number(torch.tensor(2.0)), number(None)
    (array([1.5], dtype=float32), 2.0, None)
    """
    if t is None:
        return None
    with torch._C.DisableTorchFunction():  # somebody may be recording
        found = plain(t)
        if found is None:
            return None
        found = found.cpu().resolve_conj().resolve_neg()
        if found.dtype not in NUMPY_KNOWS:
            found = found.to(torch.complex64 if found.is_complex() else torch.float32)
        array = found.numpy()
    return float(array) if array.ndim == 0 and array.dtype.kind in "biuf" else array


def numbers(tensors: Iterable[torch.Tensor | None]) -> list[Any]:
    """Return the `number` of each, copied into memory that a frame takes as it is.

    >>> numbers([torch.tensor([1.0, 2.0]), None, torch.tensor(3.0)])
    [array([1., 2.], dtype=float32), None, 3.0]
    """
    with torch._C.DisableTorchFunction():
        return [None if t is None else _quickly(t) if type(t) in ORDINARY else number(t) for t in tensors]


def _quickly(t: torch.Tensor) -> Any:
    """Return the number of an ordinary tensor; those on the CPU without a detour."""
    if t.dtype in NUMPY_KNOWS and t.layout is STRIDED and t.data_ptr():
        try:
            array = (t.detach() if t.requires_grad else t).numpy()
        except (RuntimeError, TypeError):  # on another device, or it stands for its conjugate
            return number(t)
        if not array.ndim:
            return float(array) if array.dtype.kind in "biuf" else number(t)
        if array.ndim == 2 and array.T.flags.c_contiguous:  # a transposed weight: copied as it lies
            return np.ndarray(array.shape, array.dtype, array.T.tobytes(), strides=array.strides)
        return np.ndarray(array.shape, array.dtype, array.tobytes())
    return number(t)


def as_tensor(value: Any, dtype: str) -> torch.Tensor:
    """Return a new tensor on the CPU with the numbers of a frame, in the dtype that PyTorch had them in.

    >>> as_tensor(2.0, "bfloat16")
    tensor(2., dtype=torch.bfloat16)
    """
    return torch.tensor(value, dtype=getattr(torch, dtype, None))
