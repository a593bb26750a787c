"""Numbers as a client unfolds them: nodes, arrays page by page, the shares of a gradient.

What stands behind a reference is a `Container`; what a client never unfolds is never worked out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from gradviz.errors import UnknownNameError
from gradviz.escape import clean
from gradviz.graphs.listing import number_text

__all__ = ["AT_ONCE", "Child", "Container", "Elements", "Listed", "References", "element_text", "page", "typed"]

AT_ONCE = 1000  # children in one answer; more come in groups, or by page


@dataclass(frozen=True, slots=True)
class Child:
    """One line of the tree: a name, its value as text, what is behind it, and the expression that means it."""

    name: str
    text: str
    type: str = ""
    inside: Container | None = None
    expression: str = ""
    kind: str = "data"


class Container(Protocol):
    """Children in order. ``is_counted``: their number is known before they are worked out."""

    is_indexed: bool
    is_counted: bool

    def __len__(self) -> int: ...

    def children(self, start: int, stop: int) -> list[Child]:
        """Return the children from ``start`` up to ``stop``."""


class Listed:
    """A few children that are worked out when they are first looked at."""

    is_indexed = False
    is_counted = False

    def __init__(self, make: Callable[[], Sequence[Child]]) -> None:
        self._make = make

    @cached_property
    def _children(self) -> list[Child]:
        return list(self._make())

    def __len__(self) -> int:
        return len(self._children)

    def children(self, start: int, stop: int) -> list[Child]:
        """Return some of them."""
        return self._children[start:stop]


class Elements:
    """The rows of an array, or the elements of a vector.

    >>> [(child.name, child.text, child.expression) for child in Elements(np.ones((2, 2)), "W").children(1, 2)]
    [('[1]', '[1, 1]', 'W[1]')]
    """

    is_indexed = True
    is_counted = True

    def __init__(self, array: np.ndarray, expression: str = "", index: tuple[int, ...] = ()) -> None:
        self._array = array
        self._expression = expression
        self._index = index

    def __len__(self) -> int:
        return len(self._array)

    def children(self, start: int, stop: int) -> list[Child]:
        """Return some of them."""
        return [self._child(i) for i in range(start, min(stop, len(self._array)))]

    def _child(self, i: int) -> Child:
        part, index = self._array[i], (*self._index, i)
        expression = f"{self._expression}[{', '.join(map(str, index))}]" if self._expression else ""
        if np.ndim(part):
            return Child(f"[{i}]", number_text(part), typed(part), Elements(part, self._expression, index), expression)
        return Child(f"[{i}]", element_text(part), str(self._array.dtype), None, expression)


class Group:
    """A stretch of a container that is too long to be shown at once."""

    is_indexed = True
    is_counted = True

    def __init__(self, whole: Container, start: int, stop: int) -> None:
        self._whole = whole
        self._start = start
        self._stop = stop

    def __len__(self) -> int:
        return self._stop - self._start

    def children(self, start: int, stop: int) -> list[Child]:
        """Return some of them."""
        return self._whole.children(self._start + start, min(self._start + stop, self._stop))


class References:
    """The containers a client has been shown, by the numbers it knows them by."""

    def __init__(self) -> None:
        self._last = 0
        self._containers: dict[int, Container] = {}
        self._expressions: dict[tuple[int, str], str] = {}

    def add(self, container: Container) -> int:
        """Return the number of a container; none is given twice."""
        self._last += 1
        self._containers[self._last] = container
        return self._last

    def __getitem__(self, number: int) -> Container:
        if number not in self._containers:
            raise UnknownNameError(f"there are no variables with the reference {number} any more")
        return self._containers[number]

    def remember(self, number: int, child: Child) -> None:
        """Remember what means a child that has been shown."""
        self._expressions[number, clean(child.name)] = child.expression

    def expression(self, number: int, name: str) -> str:
        """Return what means a child of a container; empty if nothing does."""
        return self._expressions.get((number, name), "")

    def clear(self) -> None:
        """Forget them all; their numbers are not given again."""
        self._containers.clear()
        self._expressions.clear()


def page(container: Container, start: int, count: int) -> list[Child]:
    """Return ``count`` children from ``start`` (0: all), those of a long container in groups.

    >>> [child.name for child in page(Elements(np.zeros(2500)), 0, 0)][-1], len(page(Elements(np.zeros(2500)), 0, 100))
    ('[2400 to 2499]', 100)
    """
    size = len(container)
    start = max(0, min(start, size))
    stop = min(size, start + count) if count > 0 else size
    if stop - start <= AT_ONCE:
        return container.children(start, stop)
    length = 100
    while (stop - start) / length > AT_ONCE:
        length *= 10
    starts = range(start, stop, length)
    groups = [(first, min(first + length, stop)) for first in starts]
    return [
        Child(f"[{a} to {b - 1}]", f"{b - a} of {size}", "", Group(container, a, b), kind="virtual") for a, b in groups
    ]


def element_text(x: Any) -> str:
    """Return one element with all its digits.

    >>> element_text(np.float64(0.1)), element_text(float("nan"))
    ('0.1', 'nan')
    """
    item = x.item() if isinstance(x, np.generic) else x
    return clean(repr(item), 400)


def typed(x: Any) -> str:
    """Return dtype and shape of a number.

    >>> typed(np.zeros((2, 3)))
    'float64[2,3]'
    """
    if not isinstance(x, np.ndarray | np.generic):
        return type(x).__name__
    return f"{x.dtype}[{','.join(map(str, x.shape))}]" if x.shape else str(x.dtype)
