"""Telling at once that a graph has the structure of the one before: what the tracer asks at every step.

`signature` walks a graph in a loop that suits every graph. A training loop builds the same graph again
and again, so for one that has come twice in a row a function is written out that fetches its nodes one by
one, with nothing to look up, and compares what tells them from others in one tuple: three times as quick.
It may only be stricter than the signature.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .leaves import Leaf, value_of
from .sites import OFFSET_MASK
from .structure import discrete, offset, signature
from .tensor import Tensor

__all__ = ["NODES_LIMIT", "Outline", "Structures", "written_test"]

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
    outline = Outline(root)
    return outline.function("test(n0)", "True", "False") if outline.is_small else _never


class Outline:
    """A structure as Python that fetches its nodes as ``n0``, ``n1``, ..., and a tuple that tells it from others.

    Only numbers and names of our own stand in that Python; all else is handed to it. A graph of another
    structure may make it stumble, over an attribute or an operand that is not there.
    """

    def __init__(self, root: Tensor) -> None:
        self.names = {root: "n0"}  # grows while it is walked; keyed by identity, as tensors hash
        self.known: dict[str, Any] = {"discrete": discrete}
        self._lines: list[str] = []
        self._checks: list[str] = []
        self._expected: list[Any] = []
        self.nodes = [root]
        for node in self.nodes:
            self._add(self.names[node], node)
            if not self.is_small:
                break

    @property
    def is_small(self) -> bool:
        """Whether the graph was written out to the end."""
        return len(self.nodes) <= NODES_LIMIT

    def fetch(self, name: str, expression: str) -> None:
        """Have a variable hold what an expression gives."""
        self._lines.append(f"{name} = {expression}")

    def demand(self, expression: str, value: Any) -> None:
        """Demand that an expression gives this very value, or one that is equal to it."""
        self._checks.append(expression)
        self._expected.append(value)

    def function(self, head: str, result: str, otherwise: str) -> Any:
        """Return a function that gives ``result`` for this structure, and ``otherwise`` for any other."""
        self.known["expected"] = tuple(self._expected)
        body = "\n  ".join([*self._lines, f"if ({', '.join(self._checks)},) == expected: return {result}"])
        stumbles = "AttributeError, KeyError, TypeError, ValueError"
        text = f"def {head}:\n other = {otherwise}\n try:\n  {body}\n except ({stumbles}): pass\n return other"
        exec(text, self.known)
        return self.known[head.partition("(")[0]]

    def demand_kind(self, where: str, value: Any, *, dtype: bool = False) -> None:
        """Demand a float, or an array of this shape."""
        if value.__class__ is float:
            self.demand(f"type({where})", float)
            return
        self.demand(f"{where}.shape", tuple(map(int, value.shape)))
        if dtype:
            self.demand(f"{where}.dtype", value.dtype)

    def add_leaf(self, n: str, leaf: Tensor) -> None:
        """Demand what is to be so of a leaf."""
        self.demand(f"{n}._op.name", leaf._op.name)
        self.demand_kind(f"{n}._data", value_of(leaf), dtype=True)

    def _add(self, n: str, node: Tensor) -> None:
        """Fetch the operands of one node, and demand what is to be so of it."""
        if node._op.__class__ is Leaf:
            self.add_leaf(n, node)
            return
        if offset(node):
            self.demand(f"{n}._key & {OFFSET_MASK}", offset(node))
        if node._a.__class__ is not tuple:
            self.demand(f"{n}._op", node._op)
            self._add_operand(f"{n}._a", node._a)
            self._add_operand(f"{n}._b", node._b)
            return
        self.known[f"op_{n}"] = node._op
        self._lines.append(f"if {n}._op is not op_{n}: return other")  # what its _a is, its op tells
        self.demand_kind(f"{n}._data", node._data)
        self.demand(f"{n}._b" if node._b is None else f"discrete({n}._b)", node._b and discrete(node._b))
        parts = [f"{n}_{i}" for i in range(len(node._a))]
        self._lines.append(f"[{', '.join(parts)}] = {n}._a")
        for part, x in zip(parts, node._a, strict=True):
            self._add_operand(part, x)

    def _add_operand(self, where: str, x: Any) -> None:
        """Fetch an operand, or demand that it is the node that was fetched before; numbers may be any."""
        if not isinstance(x, Tensor):
            return
        if x in self.names:
            self.demand(f"{where} is {self.names[x]}", True)
            return
        self.names[x] = where if where.isidentifier() else f"n{len(self.nodes)}"
        self.nodes.append(x)
        if self.names[x] != where:
            self.fetch(self.names[x], where)
