"""Commands that read: list, where, up, down, print, info, and the lists of nodes."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.debugger.breaking import listed
from gradviz.debugger.commands import Command, node_named
from gradviz.debugger.commands.moving import number
from gradviz.debugger.expressions import Expression
from gradviz.debugger.positions import BACKWARD, FORWARD
from gradviz.debugger.standing import NodeView, is_replayed
from gradviz.debugger.telling import described, drawn_array, event_line, listing, rows_of, shown, tree
from gradviz.errors import UnknownNameError
from gradviz.escape import clean
from gradviz.graphs import Graph, Node
from gradviz.graphs.listing import LINES_LIMIT

if TYPE_CHECKING:
    from gradviz.debugger.prompt import Prompt

__all__ = ["COMMANDS"]

AROUND = 5  # events before and after the cursor
NODES_LISTED = 60
SORTS = ("id", "name", "value", "grad")
OPTION = re.compile(r"-(\w)\s+(\S+)")


def around(prompt: Prompt, text: str) -> None:
    """List the events around the cursor, around another one, from one to another, or further on."""
    d, words = prompt.debugger, text.replace(",", " ").split()
    here = event_of(prompt, prompt.node)
    if words and words != ["."]:
        start, end = number(words[0]), number(words[1]) if len(words) > 1 else None
        first, last = (start, end) if end is not None else (start - AROUND, start + AROUND)
    elif not words and prompt.listed is not None and prompt.listed[0] == d.where:
        first, last = prompt.listed[1] + 1, prompt.listed[1] + 1 + 2 * AROUND
    else:
        first, last = here - AROUND, here + AROUND
    say_listing(prompt, first, last)


def whole(prompt: Prompt, text: str) -> None:
    """List every event of the phase; of more than 1,000 those around the cursor."""
    count = len(prompt.debugger.cursor.steps.fold.order(prompt.debugger.where.phase))
    if count <= LINES_LIMIT:
        say_listing(prompt, 0, count)
        return
    here = event_of(prompt, prompt.node)
    say_listing(prompt, here - LINES_LIMIT // 2, here + LINES_LIMIT // 2)
    prompt.say(f"of {count:,} events; l 0 {count - 1} lists all")


def say_listing(prompt: Prompt, first: int, last: int) -> None:
    """Say some events, the current one in bold, and remember how far it went."""
    d = prompt.debugger
    for line in listing(d, first, last, prompt.node):
        prompt.say(line, "now" if line.startswith("->") else "", fit=True)
    prompt.listed = d.where, last


def event_of(prompt: Prompt, node: Node) -> int:
    """Return the number of a node's event in this phase; the current event's if it has none."""
    d, fold = prompt.debugger, prompt.debugger.cursor.steps.fold
    places = {FORWARD: node.id, BACKWARD: fold.rank.get(node.id)}
    place = places.get(d.where.phase)
    return d.where.op if place is None else place


def where(prompt: Prompt, text: str) -> None:
    """Show where we are: iteration, phase, scopes and source, the innermost last, as pdb does."""
    d = prompt.debugger
    iterations, order = d.timeline.iterations, d.cursor.steps.fold.order(d.where.phase)
    among = f" of {iterations[0]} to {iterations[-1]}" if len(iterations) > 1 else ""
    prompt.say(f"iteration {d.where.iteration}{among}, {d.where.phase}, event {d.where.op} of 0 to {len(order) - 1}")
    source, scope = d.event.node.source, d.event.node.scope
    if source is not None and source.function:
        prompt.say(f"  in function {clean(source.function)}")
    if scope:
        prompt.say(f"  in scope {clean('.'.join(scope))}")
    if not is_replayed(d.full):
        prompt.say(f"  only what was recorded is known: {clean(str(d.full.meta['replay']))}")
    prompt.show()
    if prompt.node is not d.event.node:
        prompt.say(f">> {event_line(d, prompt.node)}  (looked at)")


def look(towards: str) -> Callable[[Prompt, str], None]:
    """Return the command that looks at a user, or at an input, of the node looked at; the cursor stays."""

    def run(prompt: Prompt, text: str) -> None:
        graph = prompt.debugger.graph
        word = node_named(graph, text)
        wanted = graph.node(word) if word and word in graph else None
        node = prompt.node
        if word and wanted is None and not word.isdigit():
            raise UnknownNameError.among(
                f"{towards} of {node.name!r}", word, [n.name for n in near(graph, node, towards)]
            )
        for _ in range(1 if wanted else number(word)):
            node = neighbour(graph, node, towards, wanted)
        prompt.look_at(node)
        prompt.say(f">> {event_line(prompt.debugger, node)}", "now")
        if node.source is not None:
            prompt.say(f"  {clean(str(node.source))}  {clean(node.source.code or node.source.text)}".rstrip(), "faint")
        others = [clean(n.name, 40) for n in near(graph, node, towards)]
        prompt.say(f"  {towards}s: {', '.join(others[:8])}{', ...' if len(others) > 8 else ''}" if others else
                   f"  it has no {towards}s", "faint")  # fmt: skip

    return run


def near(graph: Graph, node: Node, towards: str) -> list[Node]:
    """Return the users or the inputs of a node, each once."""
    ids = graph.consumers(node.id) if towards == "user" else dict.fromkeys(node.inputs)
    return [graph.nodes[i] for i in ids]


def neighbour(graph: Graph, node: Node, towards: str, wanted: Node | None) -> Node:
    """Return the first user or input, or the one that is wanted; raises UnknownNameError if there is none."""
    found = near(graph, node, towards)
    if not found:
        kind = "the result" if towards == "user" else "a leaf"
        raise UnknownNameError(f"{clean(node.name)!r} is {kind}: it has no {towards}s")
    if wanted is None:
        return found[0]
    if wanted not in found:
        raise UnknownNameError.among(f"{towards} of {node.name!r}", wanted.name, [n.name for n in found])
    return wanted


def printed(prompt: Prompt, text: str) -> None:
    """Print what an expression comes to."""
    prompt.say(shown(prompt.debugger.evaluate(text)) if text else event_line(prompt.debugger, prompt.node))


def pretty(prompt: Prompt, text: str) -> None:
    """Print an array with its elements."""
    d = prompt.debugger
    prompt.say("\n".join(drawn_array(d.evaluate(text) if text else d[prompt.node.name].value)))


def kind(prompt: Prompt, text: str) -> None:
    """Print the type and shape of an expression."""
    d = prompt.debugger
    found: Any = d.evaluate(text) if text else d[prompt.node.name].value
    is_array = isinstance(found, np.ndarray)
    plain = "nothing is there yet" if found is None else type(found).__name__
    prompt.say(f"array of {found.dtype}, shape {found.shape}" if is_array else plain)


def display(prompt: Prompt, text: str) -> None:
    """Show an expression at every stop."""
    if text:
        Expression(text)
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
        prompt.say(listed(list(prompt.debugger.breakpoints.values())))
        return
    name = node_named(prompt.debugger.graph, text) if text else prompt.node.name
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
    prompt.say("\n".join(rows_of(prompt.debugger, chosen[:NODES_LISTED])), fit=True)
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


def branches(*, upward: bool) -> Callable[[Prompt, str], None]:
    """Return the command that shows the inputs, or the users, of a node as a tree."""

    def run(prompt: Prompt, text: str) -> None:
        graph = prompt.debugger.graph
        name, _, depth = text.strip().rpartition(" ")
        if not depth.isdigit() or (not name and depth in graph):
            name, depth = text, ""
        name = node_named(graph, name)
        node = graph.node(name) if name else prompt.node
        prompt.say("\n".join(tree(prompt.debugger, node, upward=upward, depth=number(depth, 3))), fit=True)

    return run


EXPRESSIONS = """\
Nodes go by their names: w is the value as it is here (none if it is still to come), w.grad the
gradient, w.shape; w@17 is what it was in iteration 17. Other words are loss, iteration, phase, op,
and in the update phase update and param. There are operators, comparisons, indexing, norm() sum()
mean() max() min() abs() std() any() all() isnan() isinf() ratio(x / y), and what computes of np.
An unusual name goes between backticks: p `my loss`.grad"""
LOOKING = """\
The cursor stays where it is. Until the debugger moves, p, pp, whatis, i, li, lo, l and why are
about the node looked at when they are given no name. u N goes on N times; u NAME and d NAME
choose where there are several."""
LISTING = """\
-> is the event that has just happened, >> the node that is looked at. Again, or with Enter, it
goes on from there; l . is around the cursor again, l 40 around event 40, l 40, 60 from 40 to 60."""
ROWS = (
    (("list", "l"), "l [. | N | FIRST, LAST]", "list the events around the cursor, with their source lines",
     around, "", LISTING),
    (("longlist", "ll"), "ll", "list every event of the phase, of many those around", whole, "", ""),
    (("where", "w", "bt"), "w", "show iteration, phase, scopes and source line", where, "", ""),
    (("up", "u"), "u [N | NODE]", "look at what uses this node, towards the result", look("user"), "node", LOOKING),
    (("down", "d"), "d [N | NODE]", "look at what this node is made of, towards the leaves", look("input"), "node",
     LOOKING),
    (("print", "p"), "p [EXPRESSION]", "print a number: w, w.grad, norm(W.grad), w@17 - w", printed, "node",
     EXPRESSIONS),
    (("pp", "pt"), "pp [EXPRESSION]", "print an array with its elements: pp W[0, :3]", pretty, "node", EXPRESSIONS),
    (("whatis",), "whatis [EXPRESSION]", "print type and shape", kind, "node", EXPRESSIONS),
    (("display",), "display [EXPRESSION]", "show it at every stop, or list what is shown", display, "node", ""),
    (("undisplay",), "undisplay [EXPRESSION]", "show it (or anything) no longer", undisplay, "node", ""),
    (("info", "i"), "i [NODE | b]", "say everything about a node, or list the breakpoints", info, "node", ""),
    (("lt", "nodes"), "lt [GLOB] [-t OP] [-f nan|inf|zero|none] [-s name|value|grad]", "list nodes", nodes, "node",
     "-t keeps one op (a glob), -f those that hold NaN, infinity, only zeros, or no gradient; -s sorts."),
    (("li", "inputs", "args", "a"), "li [NODE] [DEPTH]", "what a node was computed from", branches(upward=False),
     "node", ""),
    (("lo", "outputs"), "lo [NODE] [DEPTH]", "what was computed from a node", branches(upward=True), "node", ""),
)  # fmt: skip
COMMANDS = tuple(
    Command(names, usage, summary, run, names[0] in {"list", "up", "down"}, completes, "reading", details)
    for names, usage, summary, run, completes, details in ROWS
)
