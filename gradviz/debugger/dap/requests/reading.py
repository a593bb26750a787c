"""Requests that read numbers: variables, evaluate, completions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gradviz.debugger.dap.arguments import Arguments
from gradviz.debugger.dap.contents import result
from gradviz.debugger.dap.variables import Child, page
from gradviz.errors import GradvizValueError
from gradviz.escape import clean

if TYPE_CHECKING:
    from gradviz.debugger.dap.session import Session

__all__ = ["CAPABILITIES", "REQUESTS"]

CAPABILITIES = {
    "supportsEvaluateForHovers": True,
    "supportsCompletionsRequest": True,
    "supportsClipboardContext": True,
    "completionTriggerCharacters": [".", "("],
}
LONGEST = 4000  # characters of one value
WORD = re.compile(r"[\w.:*]*\Z")


def variables(session: Session, given: Arguments) -> dict[str, Any]:
    """Return what is behind a reference, or a page of it."""
    number = given.number("variablesReference")
    container = session.references[number]
    wanted = given.text("filter")
    if wanted and container.is_indexed != (wanted == "indexed"):
        return {"variables": []}
    children = page(container, given.number("start"), given.number("count"))
    for child in children:
        session.references.remember(number, child)
    return {"variables": [_described(session, child) for child in children]}


def _described(session: Session, child: Child) -> dict[str, Any]:
    whole = {"name": clean(child.name), "value": clean(child.text, LONGEST), "presentationHint": {"kind": child.kind}}
    whole |= {"type": child.type} if child.type else {}
    whole |= {"evaluateName": child.expression} if child.expression else {}
    return whole | session.referred(child.inside)


def evaluate(session: Session, given: Arguments) -> dict[str, Any]:
    """Work out an expression; in the console, carry out a command."""
    text = given.text("expression")
    if not text.strip():
        raise GradvizValueError("there is nothing to work out", hint="w, w.grad, norm(W), w@17 - w")
    if given.text("context") == "repl" and session.console.is_command(text):
        return _commanded(session, text)
    child = result(session.debugger, text, with_gradient=given.text("context") == "hover")
    typed = {"type": child.type} if child.type else {}
    return {"result": clean(child.text, LONGEST)} | typed | session.referred(child.inside)


def _commanded(session: Session, text: str) -> dict[str, Any]:
    """Carry out a command of the prompt; the client is told if that has moved the debugger."""
    before = session.debugger.where
    said = session.console.do(text)
    if session.console.is_done:
        session.then(session.end)
    elif session.debugger.where != before:
        session.fault = ""
        session.then(lambda: session.jumped("goto", f"Paused at {session.debugger.where}"))
    return {"result": said, "variablesReference": 0}


def completions(session: Session, given: Arguments) -> dict[str, Any]:
    """Return what the word before the caret could become."""
    lines = given.text("text").split("\n")
    line = lines[max(0, min(session.client.our_line(given.number("line", session.client.first_line)), len(lines)) - 1)]
    caret = max(0, given.number("column", session.client.first_column) - session.client.first_column)
    before = line[:caret]
    found = WORD.search(before)
    word = found[0] if found else ""
    start = len(before) - len(word) + session.client.first_column
    return {
        "targets": [
            {"label": label, "start": start, "length": len(word), "type": "variable"}
            for label in session.console.completions(word, before)
            if clean(label, None) == label
        ]
    }


REQUESTS = {"variables": variables, "evaluate": evaluate, "completions": completions}
