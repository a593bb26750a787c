"""A Tensor as plain numbers: conversions, printing, iteration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import GradvizTypeError, GradvizValueError
from .leaves import value_of
from .sites import where

if TYPE_CHECKING:
    from .tensor import Tensor


class Conversions:
    """What turns a Tensor into Python and NumPy numbers."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def label(self) -> str: ...  # noqa: D102

        @property
        def name(self) -> str | None: ...  # noqa: D102

        @property
        def requires_grad(self) -> bool: ...  # noqa: D102

        @property
        def shape(self) -> tuple[int, ...]: ...  # noqa: D102

        @property
        def size(self) -> int: ...  # noqa: D102

        def __getitem__(self, index: Any) -> Tensor: ...

    def item(self) -> float:
        """Return the only element as a Python number; raises `GradvizValueError` if there are more."""
        if self.size != 1:
            raise GradvizValueError(
                f"{self.label} has {self.size} elements: item() needs one", where=where(), hint="use .numpy()"
            )
        value = value_of(self)
        return float(value) if value.__class__ is float else float(value.item())

    def numpy(self) -> np.ndarray:
        """Return a copy of the value as an array."""
        return np.array(value_of(self))

    def tolist(self) -> Any:
        """Return the value as (nested lists of) Python numbers."""
        return self.numpy().tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.requires_grad:
            raise GradvizTypeError(
                f"{self.label} would lose its gradient as a plain array",
                where=where(),
                hint="join Tensors with np.stack([...]); where no gradient is wanted, use .numpy()",
            )
        return np.array(value_of(self), dtype=dtype)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        raise GradvizTypeError(f"{self.label} is not an integer: it cannot be used as an index", where=where())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise GradvizValueError(
                f"{self.label} has {self.size} elements: neither true nor false",
                where=where(),
                hint="use np.any(...) or np.all(...)",
            )
        return bool(self.item())

    def __len__(self) -> int:
        if not self.shape:
            raise GradvizTypeError(f"{self.label} is a scalar: it has no len()", where=where())
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise GradvizTypeError(f"{self.label} is a scalar: it cannot be iterated over", where=where())
        return (self[i] for i in range(self.shape[0]))

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __repr__(self) -> str:
        value = value_of(self)
        text = repr(value) if value.__class__ is float else np.array2string(value, separator=", ", prefix="Tensor(")
        named = f", name={self.name!r}" if self.name else ""
        grad = "" if self.requires_grad else ", requires_grad=False"
        return f"Tensor({text}{named}{grad})"
