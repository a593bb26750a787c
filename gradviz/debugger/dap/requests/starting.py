"""Requests that begin and end a session: initialize, launch, attach, configurationDone, disconnect, terminate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradviz.debugger.dap.arguments import Arguments
from gradviz.debugger.dap.session import Client
from gradviz.errors import GradvizValueError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from gradviz.debugger.dap.session import Session

__all__ = ["CAPABILITIES", "REQUESTS"]

CAPABILITIES = {"supportsConfigurationDoneRequest": True, "supportsTerminateRequest": True}
RUN_NAMES = ("run", "program")
SOURCES = ("files", "recorded")
STEPS_BACK = ("event", "line")


def initialize(session: Session, given: Arguments) -> dict[str, Any]:
    """Say what there is to be asked for."""
    from gradviz.debugger.dap.requests import all_capabilities

    session.client = Client(given)
    return all_capabilities()


def launch(session: Session, given: Arguments) -> None:
    """Open the run that is named, or that the server was started with."""
    if session.is_open:
        raise UsageError("there is a run already", hint="one session is about one run")
    named = next((given.text(name) for name in RUN_NAMES if given.text(name)), "")
    _configure(session, given)
    path = str(Path(given.text("cwd")) / named) if named else session.run
    if not path:
        raise UsageError("which run?", hint='"run": "runs/line", a directory written by gradviz.trace')
    session.open(path)
    _place(session, given)
    session.then(lambda: session.writer.event("initialized"))


def _configure(session: Session, given: Arguments) -> None:
    session.stops_on_entry = given.flag("stopOnEntry", otherwise=True)
    session.steps_back_by_lines = _one_of(given, "stepBack", STEPS_BACK) == "line"


def _place(session: Session, given: Arguments) -> None:
    if _one_of(given, "sources", SOURCES) == "files":
        session.places.look_in([*given.texts("sourceRoots"), given.text("cwd", ".")])
    if given.text("position"):
        session.debugger.seek(given.text("position"))


def _one_of(given: Arguments, name: str, known: tuple[str, ...]) -> str:
    found = given.text(name, known[0])
    if found not in known:
        raise UnknownNameError.among(f"value of {name}", found, known)
    return found


def configuration_done(session: Session, given: Arguments) -> None:
    """Begin: stop at the first event, or go on until something is to be stopped for."""
    where = session.debugger.where
    if session.stops_on_entry:
        session.then(lambda: session.stopped("entry", f"Paused at {where}"))
    else:
        session.then(lambda: session.go_on(1))


def terminate(session: Session, given: Arguments) -> None:
    """Say that the debugged is at its end; the client then takes its leave."""
    session.then(session.end)


def disconnect(session: Session, given: Arguments) -> None:
    """Take leave."""

    def leave() -> None:
        session.is_over = True

    session.then(leave)


def refuse_change(session: Session, given: Arguments) -> None:
    """Refuse: what was recorded is not changed."""
    raise GradvizValueError("a recorded number cannot be changed", hint="what has happened can only be looked at")


REQUESTS = {
    "initialize": initialize,
    "launch": launch,
    "attach": launch,
    "configurationDone": configuration_done,
    "terminate": terminate,
    "disconnect": disconnect,
    "setVariable": refuse_change,
    "setExpression": refuse_change,
}
