"""Telling at once that a graph has the structure of the one before: what the tracer asks at every step.

`signature` walks a graph in a loop that suits every graph. A training loop builds the same graph again
and again, so for one that has come twice in a row a function is written out that compares it, node by
node, with nothing to look up: three times as quick. It may only be stricter than the signature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .leaves import Leaf, value_of
from .sites import OFFSET_MASK
from .structure import signature
from .tensor import Tensor

Test = Callable[[Any], bool]

NODES_LIMIT = 200  # of larger graphs the walk is a small part of the step
TESTS_LIMIT = 64  # structures remembered


class Structures:
    """Gives graphs of the same structure the same number, as `signature` does, but remembers the last one.

    >>> structures, x = Structures(), Tensor(2.0)
    >>> len({structures(x * 3.0) for _ in range(4)}), structures(x * 3.0) == structures(x + x)
    (1, False)
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._is_last: Test = _never
        self._tests: dict[int, Test] = {}

    def __call__(self, root: Any) -> int | None:
        """Return the number of this structure; None without a graph."""
        if self._is_last(root):
            return self._last
        found = signature(root)
        if found is None:
            return None
        if found == self._last and found not in self._tests and len(self._tests) < TESTS_LIMIT:
            self._tests[found] = written_test(root)
        self._last, self._is_last = found, self._tests.get(found, _never)
        return found


def _never(root: Any) -> bool:
    """Recognise nothing."""
    return False


def written_test(root: Tensor) -> Test:
    """Return a function that tells whether another graph has the structure of this one."""
    known: dict[str, Any] = {"value_of": value_of}
    places = {root: 0}  # grows while it is walked, in the order of `signature`
    lines: list[str] = []
    for node in (nodes := [root]):
        lines += _node_lines(f"n{places[node]}", node, known)
        for where, x in _operands(f"n{places[node]}", node):
            if not isinstance(x, Tensor):
                known[f"class{len(known)}"] = x.__class__
                lines.append(f"{where}.__class__ is not class{len(known) - 1}")
            elif x in places:
                lines.append(f"{where} is not n{places[x]}")
            else:
                places[x] = len(nodes)
                nodes.append(x)
                lines.append(f"(n{places[x]} := {where}) is None")
        if len(nodes) > NODES_LIMIT:
            return _never
    body = "\n".join(f"  if {line}: return False" for line in lines)
    exec(f"def test(n0):\n try:\n{body}\n  return True\n except AttributeError:\n  return False", known)
    return known["test"]  # type: ignore[no-any-return]


def _node_lines(n: str, node: Tensor, known: dict[str, Any]) -> Iterator[str]:
    """Yield what must not be so of one node, in Python; only numbers and our own names stand in it."""
    if node._op.__class__ is Leaf:
        yield f"{n}._op.name != {node._op.name!r}"
        yield _other_value(n, value_of(node), f"value_of({n})")
        return
    known[f"op_{n}"] = node._op
    yield f"{n}._op is not op_{n} or {n}._key & {OFFSET_MASK} != {node._key & OFFSET_MASK}"
    if node._a.__class__ is tuple:
        yield f"{n}._a.__class__ is not tuple or len({n}._a) != {len(node._a)}"
        yield _other_value(n, node._data, f"{n}._data")


def _other_value(n: str, value: Any, where: str) -> str:
    """Return the question whether a value is no float, or not of this shape."""
    if value.__class__ is float:
        return f"{n}._data.__class__ is not float"
    return f"{where}.shape != {tuple(map(int, value.shape))!r}"


def _operands(n: str, node: Tensor) -> list[tuple[str, Any]]:
    """Return where each operand of a node is found, and the operand."""
    if node._op.__class__ is Leaf:
        return []
    if node._a.__class__ is tuple:
        return [(f"{n}._a[{i}]", x) for i, x in enumerate(node._a)]
    return [(f"{n}._a", node._a), (f"{n}._b", node._b)]
