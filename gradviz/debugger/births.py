"""Where a NaN or an infinity is born: the op, the phase, the element, and the operands there.

Values are followed in the order they are computed, gradients in the order they flow back. What holds a NaN because
an operand does has only passed it on; so has 0 times an infinity, whose birth is where the infinity comes from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradviz.debugger.positions import BACKWARD, FORWARD
from gradviz.graphs import Frame, Node, Number

__all__ = ["Origin", "origin"]


@dataclass(frozen=True)
class Origin:
    """Where something that is not finite comes from, within one iteration.

    ``index`` is the element of the node's value (in the backward phase of what is sent to argument ``arg``),
    ``operands`` the numbers there by name. ``through`` are the nodes it went through until it became what was
    looked for. ``is_masked``: the result does not show it, but a gradient does.
    """

    node: Node
    phase: str
    index: tuple[int, ...]
    operands: Mapping[str, float] = field(default_factory=dict)
    made: float = float("nan")
    arg: int | None = None
    through: tuple[int, ...] = ()
    is_masked: bool = False


def origin(frame: Frame, kind: str | None = None) -> Origin | None:
    """Return where the first NaN (``"nan"``) or infinity (``"inf"``) that does harm is born; None if none does.

    Harm is done where the result or the gradient of a parameter is not finite. Without a kind a NaN is looked for
    first.
    """
    for wanted in [kind] if kind else ["nan", "inf"]:
        test = np.isnan if wanted == "nan" else np.isinf
        with np.errstate(all="ignore"):
            found = _in_values(frame, test) or _in_gradients(frame, test)
        if found is not None:
            return found
    return None


def _has(x: Number | None, test: Any) -> bool:
    return x is not None and bool(np.any(test(x)))


def _bad(x: Any) -> Any:
    return ~np.isfinite(x)


def _in_values(frame: Frame, test: Any) -> Origin | None:
    """Follow what the results hold back to its birth."""
    start = next((i for i in frame.graph.outputs if _has(frame.values[i], test)), None)
    return None if start is None else _followed(frame, start, _first(frame.values[start], test))


def _first(x: Any, test: Any) -> tuple[int, ...]:
    """Return the first element that the test finds."""
    where = np.asarray(test(x))
    return tuple(int(i) for i in np.argwhere(where)[0]) if where.ndim else ()


def _followed(frame: Frame, start: int, index: tuple[int, ...]) -> Origin:
    """Go from a value that is not finite to the operand it came from, until the operands are finite."""
    id = start
    through: list[int] = []
    while True:
        node = frame.graph.nodes[id]
        further = next(_bad_operands(frame, node, index), None)
        if further is None:
            value: Any = frame.values[id]
            made = float(value[index] if np.shape(value) else value)
            return Origin(node, FORWARD, index, _operands(frame, node, index), made, through=tuple(through))
        through.append(id)
        id, index = further


def _bad_operands(frame: Frame, node: Node, index: tuple[int, ...]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield the operands that are not finite where they matter, each with an element: NaN before infinity."""
    found = []
    for src in dict.fromkeys(node.inputs):
        value = frame.values[src]
        if value is None:
            continue
        there = _aligned(np.shape(value), node.shape, index) if _is_elementwise(frame, node) else None
        if there is not None:
            at: Any = np.asarray(value)[there]
            if not np.isfinite(at):
                found.append((not np.isnan(at), src, there))
        elif _has(value, _bad):
            element = _first(value, np.isnan if _has(value, np.isnan) else _bad)
            found.append((not np.isnan(np.asarray(value)[element]), src, element))
    yield from ((src, there) for _, src, there in sorted(found, key=lambda entry: entry[0]))


def _is_elementwise(frame: Frame, node: Node) -> bool:
    """Tell whether every operand broadcasts to the result, so that elements belong together."""
    shapes = [frame.graph.nodes[i].shape for i in node.inputs if frame.values[i] is not None]
    try:
        return np.broadcast_shapes(*shapes) == node.shape
    except ValueError:
        return False


def _aligned(shape: tuple[int, ...], whole: tuple[int, ...], index: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the element of an operand that belongs to an element of the result."""
    tail = index[len(index) - len(shape) :] if shape else ()
    if len(tail) != len(shape):
        return None
    return tuple(0 if length == 1 else i for i, length in zip(tail, shape, strict=True))


def _operands(frame: Frame, node: Node, index: tuple[int, ...]) -> dict[str, float]:
    """Return the operands at an element; of an op on whole arrays the largest size of each."""
    found: dict[str, float] = {}
    elementwise = _is_elementwise(frame, node)
    for src in dict.fromkeys(node.inputs):
        value = frame.values[src]
        if value is None or not np.size(value):
            continue
        there = _aligned(np.shape(value), node.shape, index) if elementwise else None
        name = frame.graph.nodes[src].name
        if there is not None:
            found[name] = float(np.real(np.asarray(value)[there]))
        else:
            found[f"largest |{name}|"] = float(np.max(np.abs(value)))
    return found


# -- gradients -------------------------------------------------------------------------------------


def _in_gradients(frame: Frame, test: Any) -> Origin | None:
    """Find the op whose rule makes it of finite numbers, and follow it if a parameter's gradient shows it."""
    params = [node.id for node in frame.graph.nodes if node.kind == "param"]
    if not any(_has(frame.grads[i], test) for i in params):
        return None
    for id in range(len(frame.graph) - 1, -1, -1):
        grad = frame.grads[id]
        if grad is None or _has(grad, _bad):
            continue
        node = frame.graph.nodes[id]
        for arg, src in enumerate(node.inputs):
            amount = None if frame.grads[src] is None else frame.edge_grad(src, id, arg)
            if _has(amount, test):
                return _born_backward(frame, node, arg, amount, test)
    return _summed(frame, test)


def _born_backward(frame: Frame, node: Node, arg: int, amount: Any, test: Any) -> Origin:
    """Return the birth in a rule; or, where the value itself was not finite there, the birth of that."""
    src = node.inputs[arg]
    index = _first(amount, test)
    operands = _at_element(frame, node, src, index)
    elementwise = _is_elementwise(frame, node) and frame.graph.nodes[src].shape == node.shape
    value: Any = frame.values[node.id]
    if elementwise and value is not None and not np.isfinite(np.asarray(value)[index]):
        born = _followed(frame, node.id, index)
        masked = all(not _has(frame.values[i], _bad) for i in frame.graph.outputs)
        return Origin(born.node, FORWARD, born.index, born.operands, born.made, None, (*born.through, node.id), masked)
    made = float(np.asarray(amount)[index])
    return Origin(node, BACKWARD, index, operands, made, arg)


def _at_element(frame: Frame, node: Node, src: int, index: tuple[int, ...]) -> dict[str, float]:
    """Return the operand, the local derivative and the gradient that came in, at an element."""
    found = {}
    for name, x in (
        (frame.graph.nodes[src].name, frame.values[src]),
        (f"d({node.name})/d({frame.graph.nodes[src].name})", frame.local(src, node.id, node.inputs.index(src))),
        (f"d/d({node.name})", frame.grads[node.id]),
    ):
        if x is not None and np.shape(x) in {frame.graph.nodes[src].shape, ()}:
            found[name] = float(np.real(np.asarray(x)[index if np.shape(x) else ()]))
    return found


def _summed(frame: Frame, test: Any) -> Origin | None:
    """Return the node whose finite shares make a sum that is not finite."""
    for id in range(len(frame.graph) - 1, -1, -1):
        if _has(frame.grads[id], test):
            node = frame.graph.nodes[id]
            index = _first(frame.grads[id], test)
            grad: Any = frame.grads[id]
            return Origin(node, BACKWARD, index, {}, float(grad[index] if np.shape(grad) else grad))
    return None
