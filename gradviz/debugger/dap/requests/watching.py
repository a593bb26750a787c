"""Requests about data breakpoints: stop when a value or a gradient changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradviz.debugger.dap.arguments import Arguments
from gradviz.debugger.dap.refining import refine
from gradviz.debugger.expressions import Expression
from gradviz.errors import GradvizError, UnknownNameError
from gradviz.escape import clean

if TYPE_CHECKING:
    from gradviz.debugger.breaking import Breakpoint
    from gradviz.debugger.dap.session import Session

__all__ = ["CAPABILITIES", "REQUESTS"]

CAPABILITIES = {"supportsDataBreakpoints": True}
WRITE = "write"
MOST = 1000


def data_breakpoint_info(session: Session, given: Arguments) -> dict[str, Any]:
    """Say whether the changes of a variable, or of an expression, can be waited for."""
    name, number = given.text("name"), given.number("variablesReference")
    text = session.references.expression(number, name) if number else name.strip()
    if not text:
        return {"dataId": None, "description": f"{clean(name)} is nothing that changes, or has no plain name"}
    try:
        session.debugger.evaluate(text)
    except GradvizError as error:
        return {"dataId": None, "description": error.message}
    return {"dataId": text, "description": text, "accessTypes": [WRITE], "canPersist": True}


def set_data_breakpoints(session: Session, given: Arguments) -> dict[str, Any]:
    """Set data breakpoints, in place of those set before."""
    session.require_run()
    session.replace("data")
    return {"breakpoints": [_set(session, one) for one in given.objects("breakpoints")[:MOST]]}


def _set(session: Session, wanted: Arguments) -> dict[str, Any]:
    def make() -> Breakpoint:
        if wanted.text("accessType", WRITE) != WRITE:
            raise UnknownNameError.among("kind of access", wanted.text("accessType"), [WRITE])
        Expression(wanted.text("dataId"))
        return refine(session, session.debugger.watch(wanted.text("dataId"), arriving=True), wanted)

    return session.tried("data", "data breakpoint", make)


REQUESTS = {"dataBreakpointInfo": data_breakpoint_info, "setDataBreakpoints": set_data_breakpoints}
