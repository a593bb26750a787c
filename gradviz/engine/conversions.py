"""A Tensor as plain numbers: conversions, printing, iteration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import GradvizTypeError, GradvizValueError
from . import modes
from .leaves import value_of
from .sites import where

if TYPE_CHECKING:
    from .tensor import Tensor


def _number(value: Any) -> float:
    return float(value) if value.__class__ is float else float(value.item())


def _whole(value: Any) -> int:
    return int(_number(value))


def _truth(value: Any) -> bool:
    return bool(_number(value))


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
        self._demand_one("item()")
        return self._look(_number)  # type: ignore[no-any-return]

    def _look(self, question: Callable[[Any], Any]) -> Any:
        """Answer a question about the numbers: the one door through which they leave."""
        value = value_of(self)
        return modes.told("answered", question, (self,), question(value)) if modes.active else question(value)

    def _demand_one(self, who: str) -> None:
        if self.size != 1:
            raise GradvizValueError(
                f"{self.label} has {self.size} elements: {who} needs one", where=where(), hint="use .numpy()"
            )

    def numpy(self) -> np.ndarray:
        """Return a copy of the value as an array."""
        return np.array(self._look(modes.itself))

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
        return np.array(self._look(modes.itself), dtype=dtype)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        self._demand_one("int()")
        return self._look(_whole)  # type: ignore[no-any-return]

    def __index__(self) -> int:
        raise GradvizTypeError(f"{self.label} is not an integer: it cannot be used as an index", where=where())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise GradvizValueError(
                f"{self.label} has {self.size} elements: neither true nor false",
                where=where(),
                hint="use np.any(...) or np.all(...)",
            )
        return self._look(_truth)  # type: ignore[no-any-return]

    def __len__(self) -> int:
        if not self.shape:
            raise GradvizTypeError(f"{self.label} is a scalar: it has no len()", where=where())
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise GradvizTypeError(f"{self.label} is a scalar: it cannot be iterated over", where=where())
        return (self[i] for i in range(self.shape[0]))

    def __format__(self, spec: str) -> str:
        if not spec:
            return repr(self)
        self._demand_one("a format")
        return format(_number(value_of(self)), spec)

    def __repr__(self) -> str:
        value = value_of(self)
        text = repr(value) if value.__class__ is float else np.array2string(value, separator=", ", prefix="Tensor(")
        named = f", name={self.name!r}" if self.name else ""
        grad = "" if self.requires_grad else ", requires_grad=False"
        return f"Tensor({text}{named}{grad})"
