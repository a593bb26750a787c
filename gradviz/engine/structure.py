"""The structure behind a Tensor, walked quickly: what the tracer asks at every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .leaves import Exposed, Leaf, identical, value_of
from .sites import OFFSET_MASK
from .tensor import Tensor

DISCRETE = frozenset({bool, int, str, type(None)})


def written_operands(t: Tensor | None) -> Sequence[Any]:
    """Return the operands in the order they were written, numbers as they are."""
    if t is None or t._op.__class__ is Leaf:
        return ()
    if t._a.__class__ is tuple:
        operands: Sequence[Any] = t._a
        return operands
    if t._b is None:
        return (t._a,)
    return (t._b, t._a) if t._op.swapped else (t._a, t._b)


def signature(root: Any) -> int | None:
    """Return a number that is the same, in this process, for graphs of the same structure; None without a graph."""
    if not isinstance(root, Tensor):
        return None
    found = [root]
    positions = {root: 0}  # keyed by identity, as tensors hash
    trail: list[Any] = []
    for node in found:
        op = node._op
        if op.__class__ is Leaf:
            value = value_of(node)
            trail += (op.name, value.__class__ is float or (value.shape, value.dtype))  # not whether it was assigned
            continue
        a = node._a
        trail += (op, offset(node) if a.__class__ is tuple else node._key & OFFSET_MASK)
        if a.__class__ is tuple:
            trail += (node._data.__class__ is float or node._data.shape, discrete(node._b), len(a))
        for x in a if a.__class__ is tuple else (a, node._b):
            if isinstance(x, Tensor):
                known = positions.setdefault(x, len(found))
                if known == len(found):
                    found.append(x)
                else:
                    trail.append(known)
    return hash(tuple(trail))


def offset(node: Tensor) -> int:
    """Return the instruction that made a node; 0 for indexing, which Python moves once it has run a few times."""
    return 0 if node._op.name == "getitem" else node._key & OFFSET_MASK


def discrete(attrs: Mapping[str, Any] | None) -> tuple[Any, ...]:
    """Return the metadata that makes another structure, such as an axis: no index, and no number to be tuned."""
    if not attrs:
        return ()
    return tuple((key, attrs[key]) for key in sorted(attrs) if key != "index" and _is_discrete(attrs[key]))


def _is_discrete(value: Any) -> bool:
    if value.__class__ is tuple:
        return all(item.__class__ in DISCRETE for item in value)
    return value.__class__ in DISCRETE


def numbers(t: Tensor) -> tuple[Any, Any]:
    """Return the value and the gradient of a Tensor as they lie in memory, not copied: look, do not touch."""
    value, grad = t._data, t._grad
    if value.__class__ is Exposed:
        value = value.array
    return value, value_of(grad) if isinstance(grad, Tensor) else grad


def leaves(root: Tensor) -> list[Tensor]:
    """Return the parameters in the graph of ``root``, in an order that depends on the structure only."""
    return [t for t in walked(root) if t._op.__class__ is Leaf and t.requires_grad]


def walked(root: Tensor) -> list[Tensor]:
    """Return ``root`` and every tensor it was made of, in an order that depends on the structure only."""
    found = [root]
    seen = {id(root)}
    for node in found:
        for x in written_operands(node):
            if isinstance(x, Tensor) and id(x) not in seen:
                seen.add(id(x))
                found.append(x)
    return found


def value_before(x: Tensor, consumer: Tensor | None) -> tuple[Any, Any] | None:
    """Return the value and gradient a leaf had when ``consumer`` used it, if it got another value since."""
    if x._op.__class__ is not Leaf or consumer is None:
        return None
    if x._op.assigned and x._key > consumer._key and x._extra is not None:
        return x._extra.was
    if x._data.__class__ is Exposed and not identical(x._data.array, x._data.before):
        return x._data.before, x._grad
    return None


def value_used(leaf: Tensor, consumer: Tensor | None) -> Any:
    """Return the value of a leaf when ``consumer`` used it, as an array that nobody will write to."""
    value = leaf._data
    if leaf._op.assigned and consumer is not None and leaf._key > consumer._key and leaf._extra is not None:
        value = leaf._extra.was[0] if leaf._extra.was is not None else value
    return value.before if value.__class__ is Exposed else value
