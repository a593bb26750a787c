"""Commands that read: list, where, print, info, and the lists of nodes."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.debugger.commands import Command
from gradviz.debugger.commands.moving import number
from gradviz.debugger.standing import NodeView
from gradviz.debugger.telling import described, drawn_array, listing, rows_of, shown, tree
from gradviz.errors import GradvizValueError, UnknownNameError

if TYPE_CHECKING:
    from gradviz.debugger.prompt import Prompt

__all__ = ["COMMANDS"]

NODES_LISTED = 60
SORTS = ("id", "name", "value", "grad")
OPTION = re.compile(r"-(\w)\s+(\S+)")


def around(prompt: Prompt, text: str) -> None:
    """List the events around the cursor."""
    prompt.say("\n".join(listing(prompt.debugger, number(text, 5))))


def whole(prompt: Prompt, text: str) -> None:
    """List every event of the phase."""
    prompt.say("\n".join(listing(prompt.debugger, None)))


def where(prompt: Prompt, text: str) -> None:
    """Show where we are: iteration, phase, scope and source, as a stack."""
    d = prompt.debugger
    iterations = d.timeline.iterations
    prompt.say(f"iteration {d.where.iteration} ({iterations[0]} to {iterations[-1]})")
    prompt.say(f"  {d.where.phase}, event {d.where.op} of {len(d.cursor.steps.fold.order(d.where.phase))}")
    for level, name in enumerate(d.event.node.scope):
        prompt.say(f"  {'  ' * level}in scope {name}")
    source = d.event.node.source
    if source is not None:
        prompt.say(f"  {source}{f' in {source.function}' if source.function else ''}")
    prompt.show()


def printed(prompt: Prompt, text: str) -> None:
    """Print what an expression comes to."""
    if not text:
        raise GradvizValueError("what shall be printed?", hint="p w.grad, p norm(W), p w@17 - w")
    prompt.say(shown(prompt.debugger.evaluate(text)))


def pretty(prompt: Prompt, text: str) -> None:
    """Print an array with its elements."""
    prompt.say("\n".join(drawn_array(prompt.debugger.evaluate(text))))


def kind(prompt: Prompt, text: str) -> None:
    """Print the type and shape of an expression."""
    found = prompt.debugger.evaluate(text)
    is_array = isinstance(found, np.ndarray)
    prompt.say(f"array of {found.dtype}, shape {found.shape}" if is_array else type(found).__name__)


def display(prompt: Prompt, text: str) -> None:
    """Show an expression at every stop."""
    if text and text not in prompt.displays:
        prompt.displays.append(text)
    for expression in prompt.displays:
        prompt.say(f"  {expression}: {prompt.worked_out(expression)}")


def undisplay(prompt: Prompt, text: str) -> None:
    """Show it no longer."""
    prompt.displays = [expression for expression in prompt.displays if text and expression != text]


def info(prompt: Prompt, text: str) -> None:
    """Say everything about one node, or list the breakpoints."""
    if text in {"b", "break", "breakpoints"}:
        prompt.say("\n".join(map(str, prompt.debugger.breakpoints.values())) or "no breakpoints")
        return
    name = text or prompt.debugger.event.node.name
    prompt.say("\n".join(described(prompt.debugger, prompt.debugger[name])))


def nodes(prompt: Prompt, text: str) -> None:
    """List nodes: by name, with -t their op, with -f nan|inf|zero|none what they hold, with -s sorted."""
    options = dict(OPTION.findall(text))
    pattern = OPTION.sub("", text).strip() or "*"
    chosen = [view for view in views(prompt) if fnmatchcase(view.node.name, pattern) and is_wanted(view, options)]
    chosen.sort(key=sort_key(options.get("s", "id")))
    if not chosen:
        prompt.say("no such node")
        return
    prompt.say("\n".join(rows_of(chosen[:NODES_LISTED])))
    if len(chosen) > NODES_LISTED:
        prompt.say(f"... and {len(chosen) - NODES_LISTED} more")


def views(prompt: Prompt) -> list[NodeView]:
    """Return every node as it is now."""
    frame = prompt.debugger.frame
    return [NodeView(node, frame.values[node.id], frame.grads[node.id]) for node in frame.graph]


def is_wanted(view: NodeView, options: dict[str, str]) -> bool:
    """Tell whether a node passes the filters."""
    if "t" in options and not fnmatchcase(view.node.op, options["t"]):
        return False
    return "f" not in options or holds(view, options["f"])


def holds(view: NodeView, what: str) -> bool:
    """Tell whether a node's value or gradient holds NaN, infinity or nothing but zeros."""
    known = [x for x in (view.value, view.grad) if x is not None]
    if what == "none":
        return view.grad is None
    if what == "zero":
        return any(not np.any(x) for x in known)
    tests = {"nan": np.isnan, "inf": np.isinf}
    if what not in tests:
        raise UnknownNameError.among("filter", what, [*tests, "zero", "none"])
    return any(bool(np.any(tests[what](x))) for x in known)


def sort_key(by: str) -> Callable[[NodeView], Any]:
    """Return the key to sort nodes by; the largest number comes first."""
    keys: dict[str, Callable[[NodeView], Any]] = {
        "id": lambda view: view.node.id,
        "name": lambda view: view.node.name,
        "value": lambda view: -size(view.value),
        "grad": lambda view: -size(view.grad),
    }
    if by not in keys:
        raise UnknownNameError.among("order", by, SORTS)
    return keys[by]


def size(number: object) -> float:
    """Return the norm; what is not there is smaller than everything."""
    if number is None:
        return -1.0
    found = float(np.linalg.norm(np.asarray(number, float).ravel()))
    return found if np.isfinite(found) else float("inf")


def tensor(prompt: Prompt, text: str) -> None:
    """Print a node's array, or a part of it: pt W[0, :3]."""
    name = text or prompt.debugger.event.node.name
    prompt.say("\n".join(drawn_array(prompt.debugger.evaluate(name) if text else prompt.debugger[name].value)))


def branches(upward: bool) -> Callable[[Prompt, str], None]:
    """Return the command that shows the inputs, or the users, of a node as a tree."""

    def run(prompt: Prompt, text: str) -> None:
        name, _, depth = text.partition(" ")
        node = prompt.debugger.graph.node(name or prompt.debugger.event.node.name)
        prompt.say("\n".join(tree(prompt.debugger.frame, node.id, upward=upward, depth=number(depth, 3))))

    return run


ROWS = (
    (("list", "l"), "l [N]", "list the events around the cursor, with their source lines", around, ""),
    (("longlist", "ll"), "ll", "list every event of the phase", whole, ""),
    (("where", "w", "bt"), "w", "show iteration, phase, scope and source", where, ""),
    (("print", "p"), "p EXPRESSION", "print a number: w, w.grad, norm(W.grad), w@17 - w", printed, "node"),
    (("pp",), "pp EXPRESSION", "print an array with its elements", pretty, "node"),
    (("whatis",), "whatis EXPRESSION", "print type and shape", kind, "node"),
    (("display",), "display [EXPRESSION]", "show it at every stop", display, "node"),
    (("undisplay",), "undisplay [EXPRESSION]", "show it (or anything) no longer", undisplay, "node"),
    (("info", "i"), "info [NODE]", "say everything about a node", info, "node"),
    (("lt", "nodes"), "lt [GLOB] [-t OP] [-f nan|inf|zero|none] [-s name|value|grad]", "list nodes", nodes, "node"),
    (("pt",), "pt [NODE[SLICES]]", "print the array of a node", tensor, "node"),
    (("li",), "li [NODE] [DEPTH]", "what a node was computed from", branches(False), "node"),
    (("lo",), "lo [NODE] [DEPTH]", "what was computed from a node", branches(True), "node"),
)
COMMANDS = tuple(
    Command(names, usage, summary, run, False, completes, "reading") for names, usage, summary, run, completes in ROWS
)
