"""Collections of numbers: dicts, lists and tuples, in one another, of numbers, arrays and Tensors.

A function of many parameters may take them in a dict or a list. Its gradient has the same form.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def members(tree: Any) -> list[Any]:
    """Return what a collection holds, from left to right; anything else is its own only member.

    >>> members({"w": 1.0, "layers": [2.0, (3.0,)]})
    [1.0, 2.0, 3.0]
    """
    if isinstance(tree, dict):
        return [member for item in tree.values() for member in members(item)]
    if isinstance(tree, list | tuple):
        return [member for item in tree for member in members(item)]
    return [tree]


def filled(tree: Any, values: Iterator[Any]) -> Any:
    """Return a collection of the form of ``tree`` with its members taken from ``values``.

    >>> filled({"w": 1.0, "layers": [2.0, (3.0,)]}, iter("abc"))
    {'w': 'a', 'layers': ['b', ('c',)]}
    """
    if isinstance(tree, dict):
        return {key: filled(item, values) for key, item in tree.items()}
    if isinstance(tree, list):
        return [filled(item, values) for item in tree]
    if isinstance(tree, tuple):
        items = [filled(item, values) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else tuple(items)
    return next(values)
