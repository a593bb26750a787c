"""Whether an event brings a NaN or an infinity into the world, or only passes one on."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.debugger.events import Contribution, Step
from gradviz.debugger.positions import BACKWARD, FORWARD, UPDATE
from gradviz.graphs import Number
from gradviz.graphs.projections import operands

if TYPE_CHECKING:
    from gradviz.debugger.standing import Standing

__all__ = ["is_born", "numbers_of"]

Test = Callable[[Any], Any]


def numbers_of(event: Step) -> list[Number]:
    """Return the numbers that an event brings into the world: a value, or the shares of a gradient."""
    if event.phase != BACKWARD:
        return [] if event.value is None else [event.value]
    sent = [part.amount for part in event.contributions if part.amount is not None]
    return [*sent, *([event.grad] if event.is_seed and event.grad is not None else [])]


def is_born(d: Standing, event: Step, test: Test) -> bool:
    """Tell whether an event makes such a number of numbers that are not such.

    A gradient is made of the shares that arrive, a share of the gradient that is passed on and the values of op and
    operands, a new value of the old one and the gradient. A parameter that an update has made so was born there.

    >>> import gradviz
    >>> from gradviz.debugger.debugger import Debugger
    >>> x = gradviz.Tensor(1e200, name="x")
    >>> d = Debugger(x * x * x * x)
    >>> [step.node.name for step in d if is_born(d, step, np.isinf)]
    ['mul_1']
    """
    tests = {FORWARD: _in_value, BACKWARD: _in_gradients, UPDATE: _in_update}
    return tests[event.phase](d, event, test)


def _has(x: Number | None, test: Test) -> bool:
    return x is not None and bool(np.any(test(x)))


def _is_not_finite(x: Any) -> Any:
    return ~np.isfinite(x)


def _in_value(d: Standing, event: Step, test: Test) -> bool:
    if not _has(event.value, test):
        return False
    if event.node.kind == "param":
        return not _has(_left_before(d, event.node.name), test)
    values = d.full.values
    return not any(_has(values[i], test) for i in operands(event.graph, event.node))


def _left_before(d: Standing, name: str) -> Number | None:
    """Return what the update of the iteration before has made of a parameter; None where that is not known."""
    iterations = d.timeline.iterations
    place = bisect_left(iterations, d.where.iteration)
    if not place:
        return None
    steps = d.timeline.steps(iterations[place - 1])
    graph = steps.full.graph
    return steps.fold.after.get(graph[name].id) if name in graph else None


def _in_update(d: Standing, event: Step, test: Test) -> bool:
    given = (d.full.values[event.node.id], event.grad)
    return _has(event.value, test) and not any(_has(x, test) for x in given)


def _in_gradients(d: Standing, event: Step, test: Test) -> bool:
    if _has(event.grad, test):
        return not any(_has(part.amount, test) for part in _arrived(d, event))
    full, node = d.full, event.node
    if not any(_has(full.grads[i], _is_not_finite) for i in node.inputs):
        return False  # a share that is not finite would show in the sum
    results = d.cursor.steps.fold.results.get(node.id, ())
    if any(_has(full.values[i], test) or _has(full.grads[i], test) for i in results):
        return False
    if any(_has(full.values[i], test) for i in (node.id, *node.inputs)):
        return False
    return any(_has(part.amount, test) for part in event.contributions)


def _arrived(d: Standing, event: Step) -> Iterator[Contribution]:
    """Yield the shares that the gradient of a node is the sum of."""
    steps = d.cursor.steps
    for i in steps.fold.consumers[event.node.id]:
        yield from (part for part in steps.sent_by(event.graph.nodes[i]) if part.src == event.node.id)
