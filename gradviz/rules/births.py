"""NaN and infinity: the step, the node and the line where the first one is born."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradviz.escape import clean
from gradviz.graphs import Frame, Node, Number
from gradviz.rules.evidence import Evidence
from gradviz.rules.findings import Symptom
from gradviz.rules.registry import rule
from gradviz.style.wording import format_number

__all__ = ["Birth", "birth", "infinite", "not_a_number"]

LARGEST = "largest"
Test = Callable[[Any], Any]

ADVICE = (
    "Keep the argument inside the domain: log(x + eps), sqrt(x + eps), a stable op such as log_softmax or"
    " bce_with_logits in place of log(softmax(x)), np.where around the argument and not around the result."
)
GROWTH = "If it grew until it overflowed, make the learning rate smaller or clip the gradient."


@dataclass(frozen=True, slots=True)
class Birth:
    """The node a fault is born in: going forward, or in the backward pass of its op."""

    node: Node
    backward: bool
    message: str
    numbers: dict[str, Any]


def birth(frame: Frame, test: Test) -> Birth | None:
    """Return where the first number that ``test`` finds is made from numbers without any, forward then backward."""
    with np.errstate(all="ignore"):
        return _forward(frame, test) or _backward(frame, test)


def _has(number: Number | None, test: Test) -> bool:
    if isinstance(number, float):
        return not math.isfinite(number) and bool(test(number))
    return number is not None and bool(np.any(test(number)))


def _forward(frame: Frame, test: Test) -> Birth | None:
    """Find the first node in topological order whose inputs are in order and whose value is not."""
    reject = np.isnan if test is np.isnan else _not_finite
    for node in frame.graph.nodes:
        value = frame.values[node.id]
        if not _has(value, test) or value is None:
            continue
        inputs = [frame.values[i] for i in node.inputs]
        if node.inputs and (any(x is None for x in inputs) or any(_has(x, reject) for x in inputs)):
            continue
        return _born_forward(frame, node, np.asarray(test(value)), test)
    return None


def _not_finite(x: Any) -> Any:
    return ~np.isfinite(x)


def _born_forward(frame: Frame, node: Node, where: np.ndarray, test: Test) -> Birth:
    what, name = _word(test), clean(node.name, 80)
    count, size = int(where.sum()), where.size
    numbers: dict[str, Any] = {"elements": count, "size": size}
    share = f": {count} of {size} elements" if size > 1 else ""
    if node.kind != "op":
        holds = {"param": "the parameter", "input": "the input", "const": "the constant"}[node.kind]
        return Birth(node, False, f"{holds} {name} holds {what}{share}", numbers)
    index = tuple(int(i) for i in np.argwhere(where)[0]) if size else ()
    operands = _operands(frame, node, index)
    numbers |= {"at": index, **operands}
    there = " there" if size > 1 and not any(name.startswith(LARGEST) for name in operands) else ""
    values = ", ".join(f"{clean(name, 40)} is {format_number(number)}" for name, number in operands.items())
    return Birth(node, False, f"{what} is born in {name}{share}" + (f"; {values}{there}" if values else ""), numbers)


def _operands(frame: Frame, node: Node, index: tuple[int, ...]) -> dict[str, float]:
    """Return the operands at an element of the result; of an op over whole arrays, the largest size of each."""
    found: dict[str, float] = {}
    for src in dict.fromkeys(node.inputs):
        value, name = frame.values[src], frame.graph.nodes[src].name
        if value is None or np.asarray(value).dtype.kind == "c" or not np.size(value):
            continue
        try:
            found[name] = float(np.broadcast_to(value, node.shape)[index])
        except ValueError:
            found[f"{LARGEST} |{name}|"] = float(np.abs(np.asarray(value, float)).max())
    return found


def _backward(frame: Frame, test: Test) -> Birth | None:
    """Find the first node, going back from the result, whose gradient is out of order while those after it are not."""
    for node in reversed(frame.graph.nodes):
        grad = frame.grads[node.id]
        if not _has(grad, test):
            continue
        users = frame.graph.consumers(node.id)
        grads = [frame.grads[user] for user in users]
        if not any(_has(g, _not_finite) for g in grads if g is not None):
            return _born_backward(frame, node, users, test)
    return None


def _born_backward(frame: Frame, node: Node, users: tuple[int, ...], test: Test) -> Birth:
    what, where = _word(test), np.asarray(test(frame.grads[node.id]))
    numbers: dict[str, Any] = {"elements": int(where.sum()), "size": where.size}
    guilty = next((user for user in users if _sends(frame, node.id, user, test)), None)
    if guilty is None:
        return Birth(node, True, f"the gradient of {clean(node.name, 80)} holds {what}", numbers)
    op = frame.graph.nodes[guilty]
    index = tuple(int(i) for i in np.argwhere(where)[0])
    value = frame.values[node.id]
    said = ""
    if value is not None and np.shape(value) == where.shape and np.asarray(value).dtype.kind != "c":
        at = float(np.asarray(value)[index])
        numbers |= {"at": index, node.name: at}
        said = f", where {clean(node.name, 40)} is {format_number(at)}"
    forward = "" if _has(frame.values[frame.graph.outputs[-1]], _not_finite) else "; the loss itself is finite"
    message = f"{what} is born in the backward pass of {clean(op.name, 80)}, d/d {clean(node.name, 80)}{said}{forward}"
    return Birth(op, True, message, numbers)


def _sends(frame: Frame, src: int, dst: int, test: Test) -> bool:
    """Whether an op sends such a number back to this argument."""
    args = [arg for arg, given in enumerate(frame.graph.nodes[dst].inputs) if given == src]
    return any(_has(frame.edge_grad(src, dst, arg), test) for arg in args) if frame.edges is not None else False


def _word(test: Test) -> str:
    return "NaN" if test is np.isnan else "an infinity"


# -- the rules -----------------------------------------------------------------------------------------


@rule(
    "nan",
    severity="error",
    summary="a NaN in a value, a gradient or the loss, and where it was born",
    advice=ADVICE,
    because="IEEE 754: a NaN spreads to everything computed from it, and to all parameters with the next update",
)
def not_a_number(seen: Evidence) -> Iterator[Symptom]:
    """Find the birth of the first NaN."""
    yield from _first(seen, np.isnan)


@rule(
    "inf",
    severity="error",
    summary="an infinity in a value, a gradient or the loss, and where it was born",
    advice=f"{ADVICE} {GROWTH}",
    because="IEEE 754: 0 * inf and inf - inf are NaN, so an infinity is most often a NaN one op or one step later",
)
def infinite(seen: Evidence) -> Iterator[Symptom]:
    """Find the birth of the first infinity."""
    yield from _first(seen, np.isinf)


def _first(seen: Evidence, test: Test) -> Iterator[Symptom]:
    """Yield the first birth among the frames, or what is known without one."""
    fault, last = _fault(seen, test), _last_bad(seen)
    extra = seen.frame(fault.position) if fault else None
    frames = seen.frames if fault is None or extra is None else [*seen.frames, (fault.position, extra)]
    for position, frame in frames:
        found = birth(frame, test)
        if found is None:
            continue
        harmless = seen.first_bad is None or position < seen.first_bad
        if harmless and found.node.kind != "op":
            continue  # a constant infinity that reaches nothing is meant, as in a mask
        born = _from_update(seen, position, found) if found.node.kind == "param" and not found.backward else found
        yield Symptom(
            born.message + ("; it reaches neither the loss nor a gradient" if harmless else ""),
            at=born.node,
            step=seen.step(position),
            last_step=None if harmless else last,
            numbers=born.numbers,
            severity="note" if harmless else "",
        )
        return
    if fault is not None:
        message = f"{_word(test)} in {fault.place}; the values inside of that step are not known"
        yield Symptom(message, at=fault.at, step=seen.step(fault.position), last_step=last)


@dataclass(frozen=True, slots=True)
class Fault:
    """A NaN or infinity that is in the rows of a run."""

    position: int
    place: str
    at: Node | str | None


def _fault(seen: Evidence, test: Test) -> Fault | None:
    """Return the first one in the loss, a parameter or a gradient."""
    found: list[Fault] = []
    for position in np.flatnonzero(test(seen.loss))[:1].tolist():
        graph = seen.graph
        result = graph.nodes[graph.outputs[0]] if graph is not None and graph.outputs else None
        found.append(Fault(position, "the loss", result))
    for track in seen.tracks.values():
        for place, sizes in (("value", track.norm), ("gradient", np.where(track.reached, track.grad_norm, 0.0))):
            bad = track.at[track.bad & test(sizes)][:1].tolist()
            found += [Fault(position, f"the {place} of {clean(track.name, 80)}", track.name) for position in bad]
    return min(found, key=lambda fault: fault.position, default=None)


def _from_update(seen: Evidence, position: int, found: Birth) -> Birth:
    """Say of a parameter that the update before made it so."""
    before = seen.frame(position - 1) if position else None
    if before is None or found.node.name not in before.graph:
        return found
    grad = before.grad(found.node.name)
    size = 0.0 if grad is None else float(np.abs(np.asarray(grad)).max(initial=0.0))
    message = f"{found.message}: the update after step {seen.step(position - 1)} made it"
    return Birth(found.node, False, message, found.numbers | {"largest gradient before": size})


def _last_bad(seen: Evidence) -> int | None:
    """Return the last step at which something was not finite."""
    found = [int(np.flatnonzero(~np.isfinite(seen.loss))[-1])] if not np.isfinite(seen.loss).all() else []
    found += [int(track.at[np.flatnonzero(track.bad)[-1]]) for track in seen.tracks.values() if track.bad.any()]
    return seen.step(max(found)) if found else None
