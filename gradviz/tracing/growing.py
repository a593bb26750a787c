"""An array that grows at its end while others look at it."""

from __future__ import annotations

import numpy as np

__all__ = ["Growing"]


class Growing:
    """Rows that are added in pieces; adding costs what is added, and arrays handed out before stay as they were.

    >>> numbers = Growing(np.zeros(0, np.int64))
    >>> numbers.add(np.arange(3))
    >>> before = numbers.array
    >>> numbers.add(np.arange(2))
    >>> before.tolist(), numbers.array.tolist()
    ([0, 1, 2], [0, 1, 2, 0, 1])
    """

    def __init__(self, start: np.ndarray) -> None:
        self._room = start
        self.array = start

    def __len__(self) -> int:
        return len(self.array)

    def add(self, more: np.ndarray) -> None:
        """Add rows at the end."""
        if not len(more):
            return
        have, need = len(self.array), len(self.array) + len(more)
        if need > len(self._room):
            room = np.empty((max(need, 2 * have), *self.array.shape[1:]), self.array.dtype)
            room[:have] = self.array
            self._room = room
        self._room[have:need] = more
        self.array = self._room[:need]
