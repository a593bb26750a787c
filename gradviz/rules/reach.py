"""Parameters that the loss does not reach: no gradient, a gradient of 0, a path that is cut."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from gradviz.escape import clean
from gradviz.graphs import Frame, Graph, Node
from gradviz.rules.evidence import Evidence
from gradviz.rules.findings import Symptom
from gradviz.rules.registry import rule

__all__ = ["cut", "no_gradient", "severing", "zero_gradient"]

PARAMS_LIMIT = 200  # parameters whose path is looked for
PLACES_LIMIT = 50  # parameters of which the node is looked for where their gradient becomes 0
SEVERING = re.compile(
    r"\.(?:detach|item|astype|tolist|numpy)\(|\.data\b|\b(?:float|int|bool)\(|\b(?:np|numpy)\.(?:as)?array\("
)
MADE = re.compile(r"\b(?:constant|Tensor|tensor)\(")  # a constant that is meant as one
CANCELLED = "what comes from several sides adds up to 0"
ZERO = "0"  # the formula of a derivative that is 0 everywhere

CUT_ADVICE = (
    "Compute with the Tensor itself: no detach(), .data, .item(), astype(int) or no_grad() between parameter and loss;"
    " in place of a step (sign, round, a comparison, argmax) use a smooth one (tanh, sigmoid, softmax)."
)


@rule(
    "no-gradient",
    severity="error",
    summary="a parameter that no gradient ever reaches (it is None, which is not 0)",
    advice=f"Call loss.backward() before step(), and let the loss be computed from this very Tensor. {CUT_ADVICE}",
    because="the gradient is None in every step that was read",
)
def no_gradient(seen: Evidence) -> Iterator[Symptom]:
    """Find parameters without any gradient."""
    missing = [track for track in seen.tracks.values() if not track.reached.any()]
    if not missing or not len(seen):
        return
    first, last, numbers = seen.step(0), seen.step(-1), {"steps": len(seen)}
    if len(missing) == len(seen.tracks):
        if not seen.is_single:  # a frame may be taken before backward()
            message = "no parameter ever has a gradient: was backward() called before step()?"
            yield Symptom(message, step=first, last_step=last, numbers=numbers)
        return
    for track in missing:
        node = None if seen.graph is None else _parameter(seen.graph, track.name)
        why = "and it is not in the graph of the loss" if node is None else "though it is in the graph of the loss"
        message = f"no gradient ever reaches {clean(track.name, 80)}, {why}"
        yield Symptom(message, at=node or track.name, step=first, last_step=last, numbers=numbers)


@rule(
    "zero-gradient",
    severity="warning",
    summary="a parameter whose gradient is exactly 0 while others learn, and the node where it becomes 0",
    advice="Look at the node where it becomes 0: a dead ReLU, a saturated unit, a factor of 0, or a weight that started"
    " at 0. Start with other weights, or use an op that passes something on.",
    because="a gradient of exactly 0 in every element does not happen by chance; where all gradients are 0 together the"
    " descent has arrived",
)
def zero_gradient(seen: Evidence, *, share: float = 0.5) -> Iterator[Symptom]:
    """Find parameters whose gradient is 0 in at least this share of the steps, up to the end."""
    if not len(seen) or not seen.tracks:
        return
    some = {name: track for name, track in seen.tracks.items() if track.reached.any()}
    zero = {name: track.reached & (track.grad_norm == 0) for name, track in some.items()}
    idle = np.all([zero[name] | ~some[name].reached for name in some], axis=0) if some else np.ones(1, bool)
    placed = 0
    for name, track in some.items():
        alive = np.flatnonzero(track.reached & ~zero[name])
        since = int(alive[-1]) + 1 if len(alive) else 0
        count = int(zero[name][since:].sum())
        always = not len(alive)
        arrived = idle[since:].all() and (not always or float(seen.loss[0]) == 0.0)
        if not count or arrived or count < share * track.reached.sum():
            continue
        position = int(track.at[since])
        at, where = _place_of_zero(seen, name, position) if placed < PLACES_LIMIT else (name, "")
        placed += 1
        is_sum = where.endswith(CANCELLED)
        yield Symptom(
            f"the gradient of {clean(name, 80)} is exactly 0 in {'every step' if always else 'every step from here on'}"
            f"{where}",
            at=at, step=seen.step(position), last_step=seen.step(track.at[-1]), numbers={"steps": count},
            severity="note" if is_sum else "error" if always and not seen.is_single else "",
        )  # fmt: skip


def _place_of_zero(seen: Evidence, name: str, position: int) -> tuple[Node | str, str]:
    """Return the node in whose backward pass a gradient becomes 0, and say so."""
    near = min(seen.frames, key=lambda entry: (entry[0] < position, abs(entry[0] - position)), default=None)
    if near is None or name not in near[1].graph:
        return name, ""
    frame = near[1]
    node = frame.graph[name]
    for i in (node.id, *frame.graph.descendants(node)):
        if not _is_zero(frame.grads[i]):
            continue
        if _is_cancelled(frame, i):
            return frame.graph.nodes[i], f" at {clean(frame.graph.nodes[i].name, 80)}: {CANCELLED}"
        for user in frame.graph.consumers(i):
            grad = frame.grads[user]
            if grad is not None and np.any(grad):
                guilty = frame.graph.nodes[user]
                return guilty, f": it becomes 0 in {clean(guilty.name, 80)}"
    return node, ""


def _is_cancelled(frame: Frame, id: int) -> bool:
    """Tell whether a gradient of 0 is the sum of several that are not."""
    users = frame.graph.consumers(id)
    sent = (
        frame.edge_grad(id, user, arg)
        for user in users
        for arg, src in enumerate(frame.graph.nodes[user].inputs)
        if src == id and frame.grads[user] is not None
    )
    return len(users) > 1 and sum(grad is not None and bool(np.any(grad)) for grad in sent) > 1


def _is_zero(grad: float | np.ndarray | None) -> bool:
    return grad is not None and not np.any(grad)


# -- cut -----------------------------------------------------------------------------------------------


@rule(
    "cut",
    severity="error",
    summary="a parameter whose every path to the loss is severed, and the node that severs it",
    advice=CUT_ADVICE,
    because="the derivative of a step function is 0 wherever it has one, and what is detached, made an integer or"
    " computed without recording is a constant",
)
def cut(seen: Evidence) -> Iterator[Symptom]:
    """Find parameters that reach the loss only through ops without a derivative, or as a constant."""
    if not seen.frames:
        return
    position, frame = seen.frames[-1]
    first, last = seen.step(seen.frames[0][0]), seen.step(position)
    open_ways = _open_ways(frame.graph, frame.graph.outputs)
    for track in list(seen.tracks.values())[:PARAMS_LIMIT]:
        node = _parameter(frame.graph, track.name)
        if node is None:
            found = None if track.reached.any() else _constant_made_of(seen, track.name)
            if found is not None:
                at, said = found
                message = f"{clean(track.name, 80)} goes into the loss only as a constant: {said}"
                yield Symptom(message, at=at, step=first, last_step=last)
            continue
        if open_ways[node.id]:
            last_known = None if track.reached.any() else _dead_end(frame, node)
            if last_known is not None:
                message = (
                    f"no gradient passes {clean(last_known.name, 80)} on the way from {clean(track.name, 80)} to the"
                    " loss: it was computed without recording, or its result was taken for a constant"
                )
                yield Symptom(message, at=last_known, step=first, last_step=last)
            continue
        guilty = _guilty(frame.graph, node, open_ways)
        if guilty is not None:
            yield Symptom(
                f"every path from {clean(track.name, 80)} to the loss is cut: the derivative of {clean(guilty.op, 40)}"
                f" ({clean(guilty.name, 80)}) by it is 0 everywhere",
                at=guilty, step=first, last_step=last,
            )  # fmt: skip


def _parameter(graph: Graph, name: str) -> Node | None:
    """Return the parameter of that name; a constant may have been given its name."""
    return graph[name] if name in graph and graph[name].kind == "param" else None


def _passes(node: Node, arg: int) -> bool:
    """Whether a derivative passes through this argument of an op."""
    return not (arg < len(node.formulas) and node.formulas[arg] == ZERO)


def severing(graph: Graph, source: Node, target: Node) -> Node | None:
    """Return the op that severs every path from one node to another it leads to; None if a derivative can pass.

    >>> import gradviz, numpy as np
    >>> graph = gradviz.graph(np.round(gradviz.Tensor(1.5, name="w")) * 2)
    >>> severing(graph, graph["w"], graph.nodes[-1]).op
    'round'
    """
    open_ways = _open_ways(graph, (target.id,))
    return None if open_ways[source.id] else _guilty(graph, source, open_ways)


def _open_ways(graph: Graph, starts: Sequence[int]) -> list[bool]:
    """Return for every node whether a derivative can pass from the starts to it."""
    found = [False] * len(graph.nodes)
    for i in starts:
        found[i] = True
    for node in reversed(graph.nodes):
        if found[node.id]:
            for arg, src in enumerate(node.inputs):
                found[src] = found[src] or _passes(node, arg)
    return found


def _guilty(graph: Graph, param: Node, open_ways: list[bool]) -> Node | None:
    """Return the first op, from the parameter on, that a derivative reaches but does not pass."""
    for i in (param.id, *graph.descendants(param)):
        for user in graph.consumers(i):
            if open_ways[user] and not open_ways[i]:
                return graph.nodes[user]
    return None


def _dead_end(frame: Frame, param: Node) -> Node | None:
    """Return the last node from a parameter on without a gradient, though what was computed from it has one."""
    if "source" not in frame.meta or frame.meta.get("replay", "exact") != "exact":  # of our own ops the formulas tell
        return None
    for i in (param.id, *frame.graph.descendants(param)):
        users = frame.graph.consumers(i)
        if frame.grads[i] is None and any(frame.grads[user] is not None for user in users):
            return frame.graph.nodes[i]
    return None


def _constant_made_of(seen: Evidence, name: str) -> tuple[Node, str] | None:
    """Return the constant in the graph that a parameter, which is not in it, was turned into."""
    frame = seen.frames[-1][1]
    word = re.compile(rf"\b{re.escape(name.rpartition('.')[2])}\b")
    leaves = [node for node in frame.graph.nodes if node.kind in {"const", "input"}]
    named = [n for n in leaves if n.name == name or (n.source is not None and word.search(n.source.text))]
    for node in [*named, *leaves]:
        same = _copied(seen, name, node)
        if same or (node in named and node.kind == "const"):
            source = node.source
            text = f"{clean(source.text, 80)} at {clean(str(source), 80)}" if source else f"the node {clean(node.name)}"
            return node, f"{text} {'has its value' if same else 'is computed from it'} and keeps no way back"
    return _severed(frame.graph, leaves, name)


def _severed(graph: Graph, leaves: list[Node], name: str) -> tuple[Node, str] | None:
    """Return the constant that was taken out of the graph by detach(), .data or the like; the nearest by name."""
    words = [re.compile(rf"\b{re.escape(part)}\b") for part in re.split(r"[._]", name) if part]
    found = []
    for node in leaves:
        source = node.source or next((graph.nodes[user].source for user in graph.consumers(node.id)), None)
        is_made = node.source is not None and not MADE.search(node.source.text)
        if source is not None and node.kind == "const" and (is_made or SEVERING.search(source.text)):
            alike = sum(bool(word.search(source.code or source.text)) for word in words)
            found.append((-alike, node.id, node, source))
    if not found:
        return None
    *_, node, source = min(found, key=lambda entry: entry[:2])
    return node, f"{clean(source.text, 80)} at {clean(str(source), 80)} keeps no way back to what it was computed from"


def _copied(seen: Evidence, name: str, leaf: Node) -> bool:
    """Whether a leaf has the value of a parameter (or its value rounded, or its sign) wherever both are known."""
    told: set[bytes] = set()
    for position, frame in seen.frames:
        value = _value_at(seen, name, position)
        given = frame.value(leaf.name) if leaf.name in frame.graph else None
        if value is None or given is None:
            continue
        if not any(np.array_equal(made, given) for made in (value, np.trunc(value), np.rint(value), value > 0)):
            return False
        told.add(np.asarray(given).tobytes())
    return len(told) > 1 or (bool(told) and int(np.prod(leaf.shape)) > 1)


def _value_at(seen: Evidence, name: str, position: int) -> np.ndarray | None:
    """Return the recorded value of a parameter that is not in the graph."""
    column = seen.run[position : position + 1].column(name, "value")
    return None if np.ma.getmaskarray(column).any() else np.asarray(column)[0]
