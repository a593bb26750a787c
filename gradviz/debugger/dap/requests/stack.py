"""Requests about the stack and its sources: threads, stackTrace, scopes, source, loadedSources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradviz.debugger.dap.arguments import Arguments
from gradviz.debugger.dap.contents import NodeList, event_children, iteration_children, node_children
from gradviz.debugger.dap.frames import Frame, frames
from gradviz.debugger.dap.session import THREAD
from gradviz.debugger.dap.variables import Container, Listed
from gradviz.errors import UnknownNameError

if TYPE_CHECKING:
    from gradviz.debugger.dap.session import Session
    from gradviz.debugger.debugger import Debugger

__all__ = ["CAPABILITIES", "REQUESTS"]

CAPABILITIES = {"supportsDelayedStackTraceLoading": True, "supportsLoadedSourcesRequest": True}


def threads(session: Session, given: Arguments) -> dict[str, Any]:
    """Name the only thread."""
    return {"threads": [{"id": THREAD, "name": "training"}]}


def stack_trace(session: Session, given: Arguments) -> dict[str, Any]:
    """Return the stack, or a part of it."""
    known = frames(session.debugger, session.places)
    first, count = max(0, given.number("startFrame")), given.number("levels")
    last = first + count if count > 0 else len(known)
    shown = [_described(session, i, frame) for i, frame in enumerate(known, 1)]
    return {"stackFrames": shown[first:last], "totalFrames": len(known)}


def _described(session: Session, number: int, frame: Frame) -> dict[str, Any]:
    whole = {"id": number, "name": frame.title, "line": 0, "column": 0, "canRestart": number > 1}
    if frame.source is None:
        return whole if number == 1 else whole | {"presentationHint": "subtle"}
    client, source = session.client, frame.source
    place = {"line": client.line(source.line), "column": client.column(source.column)}
    if source.end_column is not None:
        place |= {"endLine": place["line"], "endColumn": client.column(source.end_column)}
    return whole | place | {"source": session.places.described(source.file, as_uri=client.uses_uris)}


def scopes(session: Session, given: Arguments) -> dict[str, Any]:
    """Return what there is to unfold in a frame: in the first everything about the event."""
    d = session.debugger
    known = frames(d, session.places)
    number = given.number("frameId", 1)
    if not 1 <= number <= len(known):
        raise UnknownNameError(f"there is no frame {number}")
    frame = known[number - 1]
    if frame.depth is not None:
        return {"scopes": [_scope(session, "Nodes of the scope", NodeList(d, _ids_of(d, frame.depth)))]}
    params = NodeList(d, [node.id for node in d.graph.nodes if node.kind == "param"])
    found = [
        _scope(session, "Event", Listed(lambda: event_children(d)), "locals"),
        _scope(session, "Node", Listed(lambda: node_children(d, d.event.node))),
        _scope(session, "Parameters", params),
        _scope(session, "All nodes", NodeList(d, range(len(d.graph))), expensive=True),
        _scope(session, "Iteration", Listed(lambda: iteration_children(d))),
    ]
    return {"scopes": found if number == 1 else found[2:]}


def _scope(
    session: Session, name: str, container: Container, hint: str = "", *, expensive: bool = False
) -> dict[str, Any]:
    hints = {"presentationHint": hint} if hint else {}
    return {"name": name, "expensive": expensive} | session.referred(container) | hints


def _ids_of(d: Debugger, depth: int) -> list[int]:
    scope = d.event.node.scope[:depth]
    return [node.id for node in d.graph.nodes if node.scope[:depth] == scope]


def source(session: Session, given: Arguments) -> dict[str, Any]:
    """Return the recorded lines of a source; no file is opened."""
    number = given.number("sourceReference") or given.within("source").number("sourceReference")
    path = given.within("source").text("path")
    file = session.places.of_number(number) if number else session.places.find(path) if path else None
    if file is None:
        raise UnknownNameError("no line of this source was recorded")
    return {"content": session.places.content(file), "mimeType": "text/x-python"}


def loaded_sources(session: Session, given: Arguments) -> dict[str, Any]:
    """List the sources of which lines were recorded."""
    places, uris = session.places, session.client.uses_uris
    return {"sources": [places.described(file, as_uri=uris) for file in places.files]}


REQUESTS = {
    "threads": threads,
    "stackTrace": stack_trace,
    "scopes": scopes,
    "source": source,
    "loadedSources": loaded_sources,
}
