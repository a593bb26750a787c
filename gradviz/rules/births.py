"""NaN and infinity: the step, the node and the line where the first one is born."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradviz.escape import clean
from gradviz.graphs import Frame, Node
from gradviz.rules.evidence import Evidence
from gradviz.rules.findings import Symptom
from gradviz.rules.origins import BACKWARD, Origin, first_made, origin
from gradviz.rules.registry import rule
from gradviz.style.wording import format_number

__all__ = ["infinite", "not_a_number"]

Test = Callable[[Any], Any]

ADVICE = (
    "Keep the argument inside the domain: log(x + eps), sqrt(x + eps), a stable op such as log_softmax or"
    " bce_with_logits in place of log(softmax(x)), np.where around the argument and not around the result."
)
GROWTH = "If it grew until it overflowed, make the learning rate smaller or clip the gradient."


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
        found = origin(frame, "nan" if test is np.isnan else "inf")
        harmless = found is None
        found = found or first_made(frame, test)
        if found is None:
            continue
        born = _from_update(seen, position, _told(frame, found, test))
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
        told = _by_norms(seen, fault)
        if told is not None:
            yield Symptom(told[0], at=told[1], step=seen.step(fault.position), last_step=last)
            return
        what = "NaN" if test is np.isnan else "an infinity"
        message = f"{what} in {fault.place}; the values inside of that step are not known"
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


def _by_norms(seen: Evidence, fault: Fault) -> tuple[str, Node] | None:
    """Return in words, and as a node, what the norms of a step tell of a birth; None where those are not known."""
    known, frame = seen.norms(fault.position), seen.frame(fault.position)
    if known is None or frame is None:
        return None
    values, grads = ([size is not None and not np.isfinite(size) for size in sizes] for sizes in known)
    for node in frame.graph.nodes:
        if values[node.id] and not any(values[src] for src in node.inputs):
            return _born_by_norm(seen, node, fault.position), node
    for node in reversed(frame.graph.nodes):
        users = frame.graph.consumers(node.id)
        if grads[node.id] and not any(grads[user] for user in users):
            names = ", ".join(frame.graph.nodes[user].name for user in users)
            where = f", which comes from {clean(names, 80)}," if users else ""
            return f"the gradient of {clean(node.name, 80)}{where} holds the first NaN or infinity", node
    return None


def _born_by_norm(seen: Evidence, node: Node, position: int) -> str:
    """Say of the first node without a finite norm what it is."""
    if node.kind == "op":
        return f"a NaN or an infinity is born in {clean(node.name, 80)}: its norm is not finite, its operands' are"
    after = f": the update after step {seen.step(position - 1)} made it" if node.kind == "param" and position else ""
    return f"{clean(node.name, 80)} holds a NaN or an infinity{after}"


def _from_update(seen: Evidence, position: int, found: Birth) -> Birth:
    """Say of a parameter that the update before made it so."""
    before = seen.frame(position - 1) if position and found.is_held and found.node.kind == "param" else None
    if before is None or found.node.name not in before.graph:
        return found
    grad = before.grad(found.node.name)
    size = 0.0 if grad is None else float(np.abs(np.asarray(grad)).max(initial=0.0))
    message = f"{found.message}: the update after step {seen.step(position - 1)} made it"
    return replace(found, message=message, numbers={**found.numbers, "largest gradient before": size})


def _last_bad(seen: Evidence) -> int | None:
    """Return the last step at which something was not finite."""
    found = [int(np.flatnonzero(~np.isfinite(seen.loss))[-1])] if not np.isfinite(seen.loss).all() else []
    found += [int(track.at[np.flatnonzero(track.bad)[-1]]) for track in seen.tracks.values() if track.bad.any()]
    return seen.step(max(found)) if found else None


# -- in words ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Birth:
    """A birth, said in words and numbers."""

    node: Node
    is_held: bool  # by a leaf, from the start
    message: str
    numbers: Mapping[str, Any]


def _told(frame: Frame, found: Origin, test: Test) -> Birth:
    if found.node.kind != "op" and found.phase != BACKWARD:
        return _held(found, test)
    return _sent(frame, found, test) if found.phase == BACKWARD else _made(frame, found, test)


def _counted(found: Origin) -> dict[str, Any]:
    return {"elements": found.elements, "size": found.size}


def _share(found: Origin) -> str:
    return f": {found.elements} of {found.size} elements" if found.size > 1 else ""


def _held(found: Origin, test: Test) -> Birth:
    """Say of a leaf that it holds one."""
    holds = {"param": "the parameter", "input": "the input", "const": "the constant"}[found.node.kind]
    message = f"{holds} {clean(found.node.name, 80)} holds {_word(found, test)}{_share(found)}"
    return Birth(found.node, True, message, _counted(found))


def _made(frame: Frame, found: Origin, test: Test) -> Birth:
    """Say of an op that it makes one, and if the result does not show it, where it comes back."""
    what, name = _word(found, test), clean(found.node.name, 80)
    is_whole = any(name.startswith("largest |") for name in found.operands)
    values = ", ".join(f"{clean(key, 40)} is {format_number(x)}" for key, x in found.operands.items())
    there = " there" if found.size > 1 and not is_whole else ""
    hidden = "; the result does not show it, it comes back in the backward pass" if found.is_masked else ""
    message = f"{what} is born in {name}{_share(found)}" + (f"; {values}{there}" if values else "") + hidden
    return Birth(found.node, False, message, _counted(found) | {"at": found.index, **found.operands})


def _sent(frame: Frame, found: Origin, test: Test) -> Birth:
    """Say of an op that its rule sends one back, or of a node that its gradient comes to one."""
    what, name, numbers = _word(found, test), clean(found.node.name, 80), _counted(found)
    if found.arg is None:
        return Birth(found.node, False, f"the gradient of {name} holds {what}", numbers)
    to = frame.graph.nodes[found.node.inputs[found.arg]]
    at = found.operands.get(to.name)
    said = "" if at is None else f", where {clean(to.name, 40)} is {format_number(at)}"
    numbers |= {} if at is None else {"at": found.index, to.name: at}
    result = frame.values[frame.graph.outputs[-1]]
    forward = "; the loss itself is finite" if result is not None and np.isfinite(result).all() else ""
    message = f"{what} is born in the backward pass of {name}, d/d {clean(to.name, 80)}{said}{forward}"
    return Birth(found.node, False, message, numbers)


def _word(found: Origin, test: Test) -> str:
    """Return what is born: a NaN may come of an infinity."""
    is_nan = found.made != found.made
    return "NaN" if is_nan else "an infinity" if test is np.isinf else "an infinity, later NaN,"
