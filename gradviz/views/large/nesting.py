"""Which scope holds what, as arrays: nodes and scopes are items, and an edge joins two items of one scope."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["Nesting"]

Ints = np.ndarray
Scope = tuple[str, ...]


class Nesting:
    """The tree of scopes of ``count`` nodes: items 0 to count - 1 are nodes, those after are scopes without the root.

    ``paths``, ``parents`` and ``depths`` are of scopes, the root first; ``starts`` says where the items of each
    scope begin among all items in order (``order``), and ``position`` where an item is in it.

    >>> found = Nesting([(), ("net",), ("net", "layer")])
    >>> found.paths, found.order.tolist(), found.starts.tolist()
    ([(), ('net',), ('net', 'layer')], [0, 3, 1, 4, 2], [0, 2, 4, 5])
    """

    def __init__(self, scopes: Sequence[Scope]) -> None:
        self.count = len(scopes)
        self.paths: list[Scope] = [()]
        self._parents = [-1]
        self._firsts = [0]
        self._numbers: dict[Scope, int] = {(): 0}
        own = np.array([self._number(scope, id) for id, scope in enumerate(scopes)], np.int64)
        self.parents = np.array(self._parents)
        self.depths = np.array([len(path) for path in self.paths])
        self.holder = np.concatenate([own, self.parents[1:]])  # the scope that holds each item
        time = np.concatenate([np.arange(self.count), np.array(self._firsts[1:], np.int64)])
        self.order = np.lexsort((time, self.holder))
        self.position = np.empty(len(self.order), np.int64)
        self.position[self.order] = np.arange(len(self.order))
        self.starts = np.searchsorted(self.holder[self.order], np.arange(len(self.paths) + 1))

    def _number(self, scope: Scope, id: int) -> int:
        found = self._numbers.get(scope)
        if found is not None:
            return found
        length = len(scope)
        while scope[:length] not in self._numbers:
            length -= 1
        outer = self._numbers[scope[:length]]
        for end in range(length + 1, len(scope) + 1):
            self._parents.append(outer)
            self._firsts.append(id)
            outer = self._numbers[scope[:end]] = len(self.paths)
            self.paths.append(scope[:end])
        return outer

    def item(self, scope: Ints) -> Ints:
        """Return the items that scopes are."""
        return scope + (self.count - 1)

    def lifted(self, src: Ints, dst: Ints) -> tuple[Ints, Ints]:
        """Return for every edge the two items that it joins in the innermost scope that holds both ends.

        >>> [found.tolist() for found in Nesting([("a",), ("a",), ("b",)]).lifted(np.array([0, 1]), np.array([1, 2]))]
        [[0, 3], [1, 4]]
        """
        one, other = src.copy(), dst.copy()
        apart = np.arange(len(src))
        while len(apart):
            left, right = self.holder[one[apart]], self.holder[other[apart]]
            differ = left != right
            apart, left, right = apart[differ], left[differ], right[differ]
            deeper = self.depths[left] - self.depths[right]
            one[apart[deeper >= 0]] = self.item(left[deeper >= 0])
            other[apart[deeper <= 0]] = self.item(right[deeper <= 0])
        return one, other

    def links(self, one: Ints, other: Ints) -> tuple[Ints, Ints]:
        """Return the different pairs of places, (links, 2), each counted in its scope, and where those of each begin.

        What leads back, through another scope, is left out; pairs are sorted by scope, second and first.
        """
        a, b = self.position[one], self.position[other]
        forward = a < b
        total = len(self.order) or 1
        pairs = np.unique(b[forward] * total + a[forward])
        a, b = pairs % total, pairs // total
        scope = self.holder[self.order[b]]
        begin = self.starts[scope]
        return np.stack([a - begin, b - begin], axis=1), np.searchsorted(scope, np.arange(len(self.paths) + 1))
