"""What every comparison can be asked: whether there is a difference, the first one, all of it as text or as a page."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Divergence"]


class Divergence(ABC):
    """How two things of a kind differ (`RunDiff`, `FrameDiff`); it is true when they do.

    >>> import gradviz
    >>> a = gradviz.frame(gradviz.Tensor(2.0) * 3.0)
    >>> isinstance(gradviz.diff(a, a), Divergence), bool(gradviz.diff(a, a))
    (True, False)
    """

    __slots__ = ()

    @property
    @abstractmethod
    def same(self) -> bool:
        """Whether there is no difference."""

    @property
    @abstractmethod
    def first(self) -> Any:
        """The first difference, or None."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""

    @abstractmethod
    def _lines(self) -> Iterator[str]:
        """Yield it as lines of text."""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the comparison as one page of HTML that needs no network, and return the path."""
        from gradviz.views.comparison import save

        return save(self, Path(path))  # type: ignore[arg-type]

    def __bool__(self) -> bool:
        return not self.same

    def __str__(self) -> str:
        return "\n".join(self._lines())
