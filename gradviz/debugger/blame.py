"""Who is to blame: the iteration, the op and the source line where a fault was born, with the numbers there.

Faults are ``nan`` and ``inf`` (followed to their birth by `gradviz.rules.origins`, through the iterations if need be),
``wrong`` (an op whose rule is not its derivative), and ``cut``, ``zero``, ``vanish``, ``explode``, which the health
rules find.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from gradviz.debugger.births import Birth
from gradviz.debugger.faults import RULES, judged, wrong
from gradviz.debugger.positions import BACKWARD, FORWARD, UPDATE, Position
from gradviz.debugger.rewrites import advice
from gradviz.debugger.timeline import RunTimeline, Timeline
from gradviz.errors import UnknownNameError
from gradviz.graphs import Frame, Node
from gradviz.graphs.listing import expression_text, number_text
from gradviz.rules.origins import Origin, origin

__all__ = ["KINDS", "Birth", "blame", "not_finite"]

KINDS = ("nan", "inf", *RULES, "wrong")
LOOKED_INTO = 20  # iterations of a run whose numbers are not finite
SMALLER = "a smaller lr, or clip the gradient"
RECORD_MORE = 'trace(..., level="full") records what is needed to look inside'


def blame(timeline: Timeline, kind: str | None = None) -> Birth | None:
    """Return where a fault was born; None if there is none of that kind, or without a kind none at all.

    Without a kind the first NaN or infinity in the order of events comes first, then the other kinds in the order of
    ``KINDS``; of the rules only those of ops of one's own are checked then, which is quicker.
    Raises UnknownNameError for a kind that is not known.

    >>> import gradviz, numpy as np
    >>> from gradviz.debugger.timeline import timeline
    >>> x = gradviz.Tensor([4.0, 0.0], name="x")
    >>> found = blame(timeline(np.sum(np.sqrt(x))))
    >>> found.kind, found.node.op, found.phase, found.index
    ('inf', 'sqrt', 'backward', (1,))
    """
    if kind is not None and kind not in KINDS:
        raise UnknownNameError.among("kind of fault", kind, KINDS)
    if kind is None:
        others = (birth for wanted in RULES for birth in judged(timeline, wanted))
        return not_finite(timeline) or next(others, None) or next(wrong(timeline, registered_only=True), None)
    if kind in {"nan", "inf"}:
        return not_finite(timeline, kind)
    return next(wrong(timeline) if kind == "wrong" else judged(timeline, kind), None)


def not_finite(timeline: Timeline, kind: str | None = None) -> Birth | None:
    """Return where the first NaN, infinity, or either of them, that does harm was born; None if all is finite."""
    births = (_traced(timeline, iteration, kind) for iteration in _suspects(timeline, kind))
    return next((birth for birth in births if birth is not None), None)


# -- where it shows --------------------------------------------------------------------------------


def _suspects(timeline: Timeline, kind: str | None) -> Iterator[int]:
    """Yield the iterations worth looking into: of a run those whose row shows such a number."""
    if not isinstance(timeline, RunTimeline):
        yield from timeline.iterations
        return
    run = timeline.run
    if not len(run):
        return
    test: Any = np.isnan if kind == "nan" else _bad  # the norm of an array with NaN and infinities is NaN
    columns = [run.loss, *(column for name in run.names for column in _norms(run[name]))]
    shown = np.any([np.ma.filled(np.ma.asarray(test(column)), False) for column in columns], axis=0)
    yield from islice((int(step) for step in run.steps[np.flatnonzero(shown)]), LOOKED_INTO)


def _bad(x: Any) -> Any:
    return ~np.isfinite(x)


def _norms(history: Any) -> tuple[Any, Any]:
    with np.errstate(all="ignore"):
        return history.norm, history.grad_norm


# -- where it comes from ---------------------------------------------------------------------------


def _traced(timeline: Timeline, iteration: int, kind: str | None) -> Birth | None:
    """Follow what an iteration shows to its birth: in this iteration, or in the one that made a parameter so."""
    frame = timeline.steps(iteration).full
    found = origin(frame, kind)
    label = kind or _harm(frame, found)
    while found is not None:
        before = _before(timeline, iteration, found)
        if before is None:
            return _told(timeline, iteration, found, label)
        earlier = timeline.steps(before).full
        if not _was_bad(earlier, found.node.name):
            return _updated(timeline, before, iteration, found, label)
        iteration, frame, found = before, earlier, origin(earlier)
    return _unexplained(timeline, iteration, frame, label, kind)


def _harm(frame: Frame, found: Origin | None) -> str:
    """Return what a birth did harm as: an infinity may have become NaN."""
    if found is None or found.made != found.made:
        return "nan"
    params = [node.id for node in frame.graph if node.kind == "param"]
    numbers = [*(frame.values[i] for i in (*frame.graph.outputs, *params)), *(frame.grads[i] for i in params)]
    nans, infs = (any(x is not None and np.any(test(x)) for x in numbers) for test in (np.isnan, np.isinf))
    if not (nans and infs):
        return "nan" if nans else "inf"
    later = origin(frame, "nan")
    return "nan" if later is not None and (later.node, later.phase) == (found.node, found.phase) else "inf"


def _before(timeline: Timeline, iteration: int, found: Origin) -> int | None:
    """Return the iteration before, if what is not finite is a parameter that it had as well."""
    place = list(timeline.iterations).index(iteration)
    if found.node.kind != "param" or found.phase != FORWARD or not place:
        return None
    before = timeline.iterations[place - 1]
    return before if found.node.name in timeline.steps(before).full.graph else None


def _was_bad(frame: Frame, name: str) -> bool:
    """Tell whether a parameter, or its gradient, was not finite."""
    return any(x is not None and bool(np.any(_bad(x))) for x in (frame.value(name), frame.grad(name)))


def _told(timeline: Timeline, iteration: int, found: Origin, kind: str) -> Birth:
    steps = timeline.steps(iteration)
    frame = steps.full
    op = steps.fold.rank[found.node.id] if found.phase == BACKWARD else found.node.id
    return Birth(
        kind,
        found.node,
        Position(iteration, found.phase, op),
        _message(frame, found),
        found.index,
        found.operands,
        found.made,
        tuple(frame.graph.nodes[i].name for i in found.through),
        found.is_masked,
        advice(frame, found),
    )


def _message(frame: Frame, found: Origin) -> str:
    node, at = found.node, f"[{', '.join(map(str, found.index))}]" if found.index else ""
    made = number_text(found.made) if isinstance(found.made, float) else str(found.made)
    if found.phase == BACKWARD:
        if found.arg is None:
            return f"d/d({node.name}){at} is {made}: {_of_sum(frame, found)}"
        to = frame.graph.nodes[node.inputs[found.arg]].name
        return f"{node.name} = {expression_text(frame.graph, node)} sends {made} to {to}{at}"
    if node.kind != "op":
        return f"{node.name}{at} is {made} to begin with"
    masked = "; masked in the value, back in the gradient" if found.is_masked else ""
    return f"{node.name} = {expression_text(frame.graph, node)} makes {made}{f' at {at}' if at else ''}{masked}"


def _of_sum(frame: Frame, found: Origin) -> str:
    """Say where a gradient comes from that no op sent as it is."""
    node, graph = found.node, frame.graph
    if node.id in graph.outputs:
        return "backward() started from it"
    amounts = [frame.edge_grad(node.id, user, arg) for user in graph.consumers(node.id)
               for arg, src in enumerate(graph.nodes[user].inputs) if src == node.id]  # fmt: skip
    with np.errstate(all="ignore"):
        total = sum(np.asarray(amount)[found.index] for amount in amounts if amount is not None)
    if np.isfinite(total):
        return f"what arrives is {number_text(float(total))}, the rest is from an earlier backward()"
    return "what arrives is finite, the sum is not"


def _updated(timeline: Timeline, before: int, iteration: int, found: Origin, kind: str) -> Birth | None:
    """Say of a parameter that was in order, and its gradient too, that the update made it so."""
    steps = timeline.steps(before)
    node = steps.full.graph[found.node.name]
    if node.id not in steps.fold.updated:
        return _told(timeline, iteration, found, kind)
    numbers = {node.name: steps.full.values[node.id], f"d/d({node.name})": steps.full.grads[node.id]}
    operands = {
        name: np.asarray(x)[found.index if np.ndim(x) else ()].item() for name, x in numbers.items() if x is not None
    }
    far = f" of iteration {before}, or one after it that was not recorded," if iteration > before + 1 else ""
    message = f"the update{far} makes {node.name} {number_text(float(found.made))} of finite numbers"
    where = Position(before, UPDATE, steps.fold.updated.index(node.id))
    return Birth(kind, node, where, message, found.index, operands, found.made, advice=SMALLER)


# -- what was not recorded -------------------------------------------------------------------------


def _unexplained(timeline: Timeline, iteration: int, frame: Frame, label: str, kind: str | None) -> Birth | None:
    """Return what is known of an iteration whose values inside are not."""
    is_whole = all(node.kind != "op" or frame.values[node.id] is not None for node in frame.graph)
    if is_whole and (kind == "inf" or not isinstance(timeline, RunTimeline)):
        return None
    shown = _shown(timeline, iteration, frame)
    if shown is None:
        return None
    node, phase, what = shown
    steps = timeline.steps(iteration)
    is_ranked = phase == BACKWARD and node.id in steps.fold.rank
    where = (
        Position(iteration, BACKWARD, steps.fold.rank[node.id]) if is_ranked else Position(iteration, FORWARD, node.id)
    )
    why = frame.meta.get("replay", "the values inside are not known")
    return Birth(label, node, where, f"{what} is the first that shows it; {why}", advice=RECORD_MORE)


def _shown(timeline: Timeline, iteration: int, frame: Frame) -> tuple[Node, str, str] | None:
    """Return what shows it first: a parameter, the result, or a gradient; the node, the phase, and what to call it."""
    graph = frame.graph
    result = graph.nodes[graph.outputs[-1]]
    names: list[tuple[str, Any, Any]]
    if isinstance(timeline, RunTimeline):
        row = timeline.run.between(iteration, iteration)
        columns = [(name, *_norms(row[name])) for name in row.names]
        names = [(name, np.ma.filled(value, 0.0), np.ma.filled(grad, 0.0)) for name, value, grad in columns]
        loss: Any = row.loss[0]
    else:
        names = [(node.name, frame.values[node.id], frame.grads[node.id]) for node in graph if node.kind == "param"]
        loss = frame.values[result.id]
    nodes = {name: graph[name] if name in graph else result for name, *_ in names}  # noqa: SIM401 - it has no get
    found = [(nodes[name], FORWARD, name) for name, value, _ in names if _is_bad(value)]
    found += [(result, FORWARD, result.name)] if _is_bad(loss) else []
    found += [(nodes[name], BACKWARD, f"d/d({name})") for name, _, grad in names if _is_bad(grad)]
    return next(iter(found), None)


def _is_bad(x: Any) -> bool:
    return x is not None and bool(np.any(_bad(x)))
