"""Requests about breakpoints: at lines, at nodes and conditions, where NaN or infinity is born; exceptionInfo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradviz.debugger.conditions import condition
from gradviz.debugger.dap.arguments import Arguments
from gradviz.debugger.dap.refining import AtLine, refined
from gradviz.errors import GradvizValueError, UnknownNameError
from gradviz.escape import clean

if TYPE_CHECKING:
    from gradviz.debugger.breaking import Breakpoint
    from gradviz.debugger.dap.session import Session

__all__ = ["CAPABILITIES", "REQUESTS"]

CAPABILITIES = {
    "supportsConditionalBreakpoints": True,
    "supportsHitConditionalBreakpoints": True,
    "supportsLogPoints": True,
    "supportsFunctionBreakpoints": True,
    "supportsBreakpointLocationsRequest": True,
    "supportsExceptionInfoRequest": True,
    "supportsExceptionFilterOptions": True,
    "exceptionBreakpointFilters": [
        {
            "filter": filter,
            "label": label,
            "description": f"Stop where {label} is born, in a value, a gradient or an update",
            "default": default,
            "supportsCondition": True,
            "conditionDescription": "an expression, such as iteration > 10",
        }
        for filter, label, default in (("nan", "NaN", True), ("inf", "Inf", False))
    ],
}
FAULTS = {"nan": "NaN", "inf": "Inf"}
MOST = 10_000  # breakpoints of one request


def set_breakpoints(session: Session, given: Arguments) -> dict[str, Any]:
    """Set the breakpoints of a source, in place of those set before."""
    source = given.within("source")
    file = _file(session, source)
    path = source.text("path") or source.text("name")
    group = f"line {file or path}"
    session.require_run()
    session.replace(group)
    wanted = given.objects("breakpoints")[:MOST]
    if not wanted and "lines" in given:
        raise GradvizValueError("lines alone are not understood", hint="send breakpoints")
    if file is None:
        unknown = {"verified": False, "message": _unknown(session, path)}
        return {"breakpoints": [dict(unknown) for _ in wanted]}
    return {"breakpoints": [_set_line(session, group, file, one) for one in wanted]}


def _file(session: Session, source: Arguments) -> str | None:
    number, path = source.number("sourceReference"), source.text("path")
    if number:
        return session.places.of_number(number)
    return session.places.find(path) if path else None


def _unknown(session: Session, path: str) -> str:
    near = [clean(file) for file in session.places.namesakes(path)[:3]] if path else []
    if near:
        return f"the run has recorded {' and '.join(near)}; sourceRoots say where that is"
    known = ", ".join(clean(file) for file in session.places.files[:5])
    return f"no op of the run was made in this file; there are {known}" if known else "no source line was recorded"


def _set_line(session: Session, group: str, file: str, wanted: Arguments) -> dict[str, Any]:
    line = session.client.our_line(wanted.number("line"))
    theirs = {"line": wanted.number("line")} if wanted.number("line") >= session.client.first_line else {}
    lines = session.places.lines(file)
    if line not in lines:
        near = sorted(sorted(lines, key=lambda known: abs(known - line))[:4])
        shown = ", ".join(str(session.client.line(known)) for known in near)
        return {"verified": False, "message": f"nothing was computed on this line; lines near are {shown}"} | theirs

    def make() -> Breakpoint:
        is_conditional = bool(wanted.text("condition"))
        place = AtLine(file, line, enters_only=not is_conditional)
        return refined(session, place.condition, wanted, place.goes_on if is_conditional else None)

    described = session.places.described(file, as_uri=session.client.uses_uris)
    return session.tried(group, "breakpoint", make) | theirs | {"source": described}


def set_function_breakpoints(session: Session, given: Arguments) -> dict[str, Any]:
    """Set breakpoints at what the prompt's ``b`` understands: a node, ``op:log``, ``norm(W.grad) > 10``."""
    session.require_run()
    session.replace("function")
    wanted = given.objects("breakpoints")[:MOST]
    return {"breakpoints": [_set_function(session, one) for one in wanted]}


def _set_function(session: Session, wanted: Arguments) -> dict[str, Any]:
    def make() -> Breakpoint:
        return refined(session, condition(wanted.text("name"), session.debugger), wanted)

    return session.tried("function", "function breakpoint", make)


def set_exception_breakpoints(session: Session, given: Arguments) -> dict[str, Any]:
    """Stop where NaN, or infinity, is born."""
    session.require_run()
    plain = [Arguments({"filterId": filter}) for filter in given.texts("filters")]
    wanted = [*plain, *given.objects("filterOptions")][:MOST]
    session.replace("exception")
    return {"breakpoints": [_set_exception(session, one) for one in wanted]}


def _set_exception(session: Session, wanted: Arguments) -> dict[str, Any]:
    kind = wanted.text("filterId")

    def make() -> Breakpoint:
        if kind not in FAULTS:
            raise UnknownNameError.among("filter", kind, FAULTS)
        return refined(session, condition(kind, session.debugger), wanted)

    return session.tried("exception", "exception", make, fault=kind)


def exception_info(session: Session, given: Arguments) -> dict[str, Any]:
    """Say what was born where the debugger stands, of which operands, and what usually helps."""
    kind, d = session.fault, session.debugger
    if not kind:
        raise GradvizValueError("nothing is born here", hint="the debugger does not stand at a NaN or infinity")
    birth = d.blame(kind)
    is_here = birth is not None and birth.position == d.where
    description = clean(birth.message if birth is not None and is_here else str(d.event), 400)
    report = str(birth) if is_here else f"{d.where}: {description}"
    details = {"message": description, "typeName": FAULTS[kind], "stackTrace": report}
    return {"exceptionId": FAULTS[kind], "description": description, "breakMode": "always", "details": details}


def breakpoint_locations(session: Session, given: Arguments) -> dict[str, Any]:
    """List the lines on which something was computed."""
    file = _file(session, given.within("source"))
    first = given.number("line")
    last = max(first, given.number("endLine", first))
    lines = [session.client.line(line) for line in session.places.lines(file)] if file else []
    return {"breakpoints": [{"line": line} for line in lines if first <= line <= last]}


REQUESTS = {
    "setBreakpoints": set_breakpoints,
    "setFunctionBreakpoints": set_function_breakpoints,
    "setExceptionBreakpoints": set_exception_breakpoints,
    "exceptionInfo": exception_info,
    "breakpointLocations": breakpoint_locations,
}
