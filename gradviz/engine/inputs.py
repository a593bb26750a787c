"""Reading the inputs and constants again from every graph of a structure: what the tracer asks at every step.

As in `gradviz.engine.recognition`, a function is written out for a small graph; a large one is walked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .leaves import Exposed
from .structure import value_used, walked, written_operands
from .tensor import Tensor

__all__ = ["Reader", "Use", "attribute", "input_reader"]

Reader = Callable[[Tensor], list[Any]]
Use = tuple[Tensor | None, int]  # the node that uses an operand, and its place among the operands as written

NODES_LIMIT = 200  # larger graphs are walked


def input_reader(root: Tensor, uses: Sequence[Use]) -> Reader:
    """Return a function that lists the operands at ``uses`` as they were used in any graph of this structure.

    They come as they lie in memory and never change later: a leaf that is written to gets another array,
    so an array that is the same object holds the same numbers. The user None means the root itself.

    >>> x = Tensor([1.0, 2.0], requires_grad=False)
    >>> def loss(scale): return (x * scale).sum()
    >>> first = loss(3.0)
    >>> read = input_reader(first, [(first.inputs[0], 0), (first.inputs[0], 1)])
    >>> read(loss(4.0))
    [array([1., 2.]), 4.0]
    """
    nodes = walked(root)
    if len(nodes) <= NODES_LIMIT:
        return _written_reader(root, nodes, uses)
    places = {node: i for i, node in enumerate(nodes)}  # keyed by identity, as tensors hash
    spots = [(None if user is None else places[user], position) for user, position in uses]

    def read(root: Tensor) -> list[Any]:
        found = walked(root)
        return [_operand(None if i is None else found[i], position, root) for i, position in spots]

    return read


def _operand(user: Tensor | None, position: int, root: Tensor) -> Any:
    """Return one operand as it was used."""
    x = root if user is None else written_operands(user)[position]
    return value_used(x, user) if isinstance(x, Tensor) else x


def _written_reader(root: Tensor, nodes: Sequence[Tensor], uses: Sequence[Use]) -> Reader:
    """Write out a function that fetches the operands, one after the other."""
    ways = _ways(nodes)
    lines: list[str] = []
    known = {root: "n0"}
    results = [_fetch(use, i, ways, known, lines) for i, use in enumerate(uses)]
    body = "\n ".join([*lines, f"return [{', '.join(results)}]"])
    names: dict[str, Any] = {"value_used": value_used, "Exposed": Exposed}
    exec(f"def read(n0):\n {body}", names)
    return names["read"]  # type: ignore[no-any-return]


def _ways(nodes: Sequence[Tensor]) -> dict[Tensor, tuple[Tensor, str]]:
    """Return from which node, and by which attribute, every node but the first is reached."""
    ways: dict[Tensor, tuple[Tensor, str]] = {}
    for node in nodes:
        for position, x in enumerate(written_operands(node)):
            if isinstance(x, Tensor):
                ways.setdefault(x, (node, attribute(node, position)))
    return ways


def attribute(node: Tensor, position: int) -> str:
    """Return where a node keeps the operand that was written at this position."""
    if node._a.__class__ is tuple:
        return f"_a[{position}]"
    return "_b" if node._b is not None and position != node._op.swapped else "_a"


def _reach(node: Tensor, ways: dict[Tensor, tuple[Tensor, str]], known: dict[Tensor, str], lines: list[str]) -> str:
    """Return the variable that holds a node, adding the lines that fetch it."""
    path = []
    while node not in known:
        path.append(node)
        node = ways[node][0]
    for below in reversed(path):
        above, attribute = ways[below]
        known[below] = f"n{len(known)}"
        lines.append(f"{known[below]} = {known[above]}.{attribute}")
    return known[path[0] if path else node]


def _fetch(use: Use, i: int, ways: dict[Tensor, tuple[Tensor, str]], known: dict[Tensor, str], lines: list[str]) -> str:
    """Return the expression for one operand; for a Tensor the lines that read its value are added."""
    user, position = use
    if user is None:
        return "value_used(n0, None)"
    x = written_operands(user)[position]
    if not isinstance(x, Tensor):
        return f"{_reach(user, ways, known, lines)}.{attribute(user, position)}"
    above, leaf = _reach(user, ways, known, lines), _reach(x, ways, known, lines)
    lines.append(f"v{i} = {leaf}._data")
    lines.append(f"if {leaf}._op.assigned or v{i}.__class__ is Exposed: v{i} = value_used({leaf}, {above})")
    return f"v{i}"
