"""Requests that move: continue, next, stepIn, stepOut, stepBack, reverseContinue, pause, goto, restartFrame."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gradviz.debugger.dap.arguments import Arguments
from gradviz.debugger.dap.frames import frames
from gradviz.debugger.debugger import Debugger
from gradviz.debugger.positions import Position
from gradviz.errors import UnknownNameError

if TYPE_CHECKING:
    from gradviz.debugger.dap.requests import Handler
    from gradviz.debugger.dap.session import Session

__all__ = ["CAPABILITIES", "REQUESTS"]

CAPABILITIES = {
    "supportsStepBack": True,
    "supportsSteppingGranularity": True,
    "supportsGotoTargetsRequest": True,
    "supportsRestartFrame": True,
}
EVENT, LINE = "instruction", "line"


def moves(by_line: Callable[[Debugger], object], by_event: Callable[[Debugger], object]) -> Handler:
    """Return the request that moves by lines, or by events where the client wants its smallest steps."""

    def handler(session: Session, given: Arguments) -> None:
        chosen = by_event if given.text("granularity") == EVENT else by_line
        session.require_run()
        session.then(lambda: session.move(chosen))

    return handler


def step_back(session: Session, given: Arguments) -> None:
    """Go back by one event; by a line if that is asked for, with the request or at launch."""
    wanted = given.text("granularity")
    by_lines = wanted == LINE or (session.steps_back_by_lines and wanted != EVENT)
    session.require_run()
    session.then(lambda: session.move(Debugger.next_back if by_lines else Debugger.back))


def go_on(session: Session, given: Arguments) -> dict[str, Any]:
    """Run to the next breakpoint."""
    session.require_run()
    session.then(lambda: session.go_on(1))
    return {"allThreadsContinued": True}


def go_back(session: Session, given: Arguments) -> None:
    """Run back to the breakpoint before."""
    session.require_run()
    session.then(lambda: session.go_on(-1))


def pause(session: Session, given: Arguments) -> None:
    """Stop a run; that has been done by the time this is answered."""
    if session.is_moving:
        session.then(lambda: session.stopped("pause", f"Paused at {session.debugger.where}"))


def goto_targets(session: Session, given: Arguments) -> dict[str, Any]:
    """List the events of a line in this iteration, those of the forward phase first."""
    source = given.within("source")
    line = session.client.our_line(given.number("line"))
    number = source.number("sourceReference")
    file = session.places.of_number(number) if number else session.places.find(source.text("path"))
    steps, where = session.debugger.cursor.steps, session.debugger.where
    first = len(session.targets)
    found = [step for step in steps if (s := step.node.source) is not None and (s.file, s.line) == (file, line)]
    session.targets += [Position(where.iteration, step.phase, step.number) for step in found]
    return {
        "targets": [
            {"id": first + i, "label": str(step)[:200], "line": given.number("line")} for i, step in enumerate(found)
        ]
    }


def goto(session: Session, given: Arguments) -> None:
    """Go to one of the events listed."""
    number = given.number("targetId", -1)
    if not 0 <= number < len(session.targets):
        raise UnknownNameError(f"there is no target {number}", hint="ask for gotoTargets where the debugger stands")
    _jump(session, session.targets[number], "goto")


def restart_frame(session: Session, given: Arguments) -> None:
    """Go to where a frame begins: the scope, the phase or the iteration."""
    known = frames(session.debugger, session.places)
    number = given.number("frameId", -1)
    if not 1 <= number <= len(known):
        raise UnknownNameError(f"there is no frame {number}")
    _jump(session, known[number - 1].begins(session.debugger), "restart")


def _jump(session: Session, to: Position, reason: str) -> None:
    def work() -> None:
        session.fault = ""
        session.debugger.seek(to)
        session.jumped(reason, f"Paused at {to}")

    session.then(work)


REQUESTS = {
    "continue": go_on,
    "reverseContinue": go_back,
    "next": moves(Debugger.next, Debugger.step),
    "stepIn": moves(Debugger.step, Debugger.step),
    "stepOut": moves(Debugger.finish, Debugger.finish),
    "stepBack": step_back,
    "pause": pause,
    "gotoTargets": goto_targets,
    "goto": goto,
    "restartFrame": restart_frame,
}
