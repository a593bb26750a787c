"""The stack of a moment: the event, the scopes around it, the phase, the iteration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gradviz.debugger.dap.places import Places
from gradviz.debugger.debugger import Debugger
from gradviz.debugger.events import Step
from gradviz.debugger.positions import BACKWARD, FORWARD, UPDATE, Position
from gradviz.escape import clean
from gradviz.graphs import Source
from gradviz.graphs.listing import expression_text, number_text

__all__ = ["Frame", "frames"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One line of the stack; ``depth`` is how much of the event's scope it stands for, None where it is no scope."""

    title: str
    begins: Callable[[Debugger], Position]
    source: Source | None = None
    depth: int | None = None


def frames(d: Debugger, places: Places) -> list[Frame]:
    """Return the stack, the innermost first."""
    event, where = d.event, d.where
    scope = event.node.scope
    inside = f" in {clean(event.node.source.function)}" if event.node.source and event.node.source.function else ""
    top = Frame(f"{where} {title(event)}{inside}", lambda d: d.where, event.node.source)
    scopes = [Frame(f"scope {clean('.'.join(scope[:n]))}", _scope_start(n), depth=n) for n in range(len(scope), 0, -1)]
    return [top, *scopes, _phase(d), _iteration(d)]


def title(event: Step) -> str:
    """Return an event in a few words."""
    name = clean(event.node.name, 60)
    if event.phase == BACKWARD:
        return f"d/d({name})"
    if event.phase == UPDATE:
        return f"update of {name}"
    return name if event.node.kind != "op" else f"{name} = {clean(expression_text(event.graph, event.node), 80)}"


def _phase(d: Debugger) -> Frame:
    where = d.where
    count = len(d.cursor.steps.fold.order(where.phase))
    start = Position(where.iteration, where.phase, 0)
    return Frame(f"{where.phase}, event {where.op} of {count}", lambda _: start)


def _iteration(d: Debugger) -> Frame:
    where, known = d.where, d.timeline.iterations
    loss = number_text(float(d.losses([where.iteration])[0]))
    start = Position(where.iteration, FORWARD, 0)
    return Frame(f"iteration {where.iteration} of {known[0]} to {known[-1]}, loss {loss}", lambda _: start)


def _scope_start(depth: int) -> Callable[[Debugger], Position]:
    """Return how to find the first event of the scope the debugger is in."""

    def find(d: Debugger) -> Position:
        steps, index, scope = d.cursor.steps, d.event.index, d.event.node.scope[:depth]
        while index and _is_within(steps[index - 1], scope, d.where.phase):
            index -= 1
        return d.cursor.place(index)

    return find


def _is_within(event: Step, scope: tuple[str, ...], phase: str) -> bool:
    return event.phase == phase and event.node.scope[: len(scope)] == scope
