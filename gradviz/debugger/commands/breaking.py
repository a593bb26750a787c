"""Commands about breakpoints: break, tbreak, clear, condition, ignore, commands, watch, last, first."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from gradviz.debugger.breaking import Breakpoint, listed
from gradviz.debugger.commands import Command
from gradviz.debugger.commands.moving import number
from gradviz.debugger.expressions import Expression
from gradviz.debugger.standing import is_replayed
from gradviz.debugger.telling import shown
from gradviz.errors import GradvizValueError

if TYPE_CHECKING:
    from gradviz.debugger.prompt import Prompt

__all__ = ["COMMANDS"]

PLACE = re.compile(r"(op|scope):.*|[^`]*:\d+", re.DOTALL)
ONLY_IF = re.compile(r"(.*?)(?:,|\s)\s*if\s+(.*)")


def set_one(prompt: Prompt, text: str, *, temporary: bool = False) -> None:
    """Set a breakpoint, or list them all."""
    if not text.strip():
        prompt.say(listed(list(prompt.debugger.breakpoints.values())))
        return
    found = ONLY_IF.fullmatch(text)
    where, only_if = (found[1], found[2]) if found else (text, None)
    made = prompt.debugger.break_at(where.strip(), only_if, temporary=temporary)
    prompt.say(str(made))
    events = prompt.debugger.cursor.steps.forward
    if PLACE.fullmatch(where.strip()) and not any(made.where.test(prompt.debugger, event) for event in events):
        prompt.say("  nothing in the graph of this iteration is there")


def clear(prompt: Prompt, text: str) -> None:
    """Delete breakpoints by number, or all."""
    for n in map(number, text.split()) if text.strip() else list(prompt.debugger.breakpoints):
        gone = prompt.debugger.breakpoint(n)
        prompt.debugger.clear(n)
        prompt.say(f"deleted {gone}")


def switch(prompt: Prompt, text: str, *, enabled: bool) -> None:
    """Switch breakpoints on or off, by number or all."""
    chosen = map(number, text.split()) if text.strip() else list(prompt.debugger.breakpoints)
    for n in chosen:
        prompt.debugger.breakpoint(n).is_enabled = enabled
        prompt.say(str(prompt.debugger.breakpoint(n)))


def split_number(prompt: Prompt, text: str, usage: str) -> tuple[Breakpoint, str]:
    """Return the breakpoint a command begins with, and the rest."""
    first, _, rest = text.strip().partition(" ")
    if not first:
        raise GradvizValueError("which breakpoint?", hint=usage)
    return prompt.debugger.breakpoint(number(first)), rest.strip()


def condition(prompt: Prompt, text: str) -> None:
    """Set or delete the condition of a breakpoint."""
    chosen, rest = split_number(prompt, text, "condition N EXPRESSION")
    chosen.only_if = Expression(rest) if rest else None
    prompt.say(str(chosen))


def ignore(prompt: Prompt, text: str) -> None:
    """Let a breakpoint pass a number of times."""
    chosen, rest = split_number(prompt, text, "ignore N COUNT")
    chosen.ignore = max(0, number(rest, 0))
    prompt.say(str(chosen))


def commands(prompt: Prompt, text: str) -> None:
    """Read the commands that a breakpoint runs, up to ``end``; ``silent`` as the first shows nothing else."""
    words = text.strip() or str(max(prompt.debugger.breakpoints, default=0))
    chosen, _ = split_number(prompt, words, "commands N")
    chosen.commands[:] = prompt.read_block()


def watch(prompt: Prompt, text: str) -> None:
    """Stop whenever an expression changes."""
    expression, _, by = text.partition(" by ")
    if not expression.strip():
        raise GradvizValueError("what shall be watched?", hint="watch w, watch loss by 0.1")
    prompt.say(str(prompt.debugger.watch(expression.strip(), amount(by))))


def amount(text: str) -> float:
    """Return the number after ``by``."""
    try:
        return float(text or 0.0)
    except ValueError:
        raise GradvizValueError(f"{text[:80]!r} is no number", hint="watch loss by 0.1") from None


def as_far_as_known(prompt: Prompt) -> str:
    """Return a reservation where the numbers inside of the iterations were not recorded."""
    return "" if is_replayed(prompt.debugger.full) else ", as far as the numbers were recorded"


def last(prompt: Prompt, text: str) -> None:
    """Show the last change of an expression."""
    if not text.strip():
        raise GradvizValueError("the last change of what?", hint="last w, last norm(w.grad)")
    change = prompt.debugger.last(text)
    if change is None:
        prompt.say(f"{text} has not changed before here{as_far_as_known(prompt)}")
        return
    prompt.say(f"{change.position}: {change.name} went from {shown(change.old)} to {shown(change.new)}")


def first(prompt: Prompt, text: str) -> None:
    """Go to where a condition held first."""
    if not text.strip():
        raise GradvizValueError("which condition?", hint="first isnan(loss), first norm(w.grad) > 10")
    found = prompt.debugger.first(text)
    if found is None:
        prompt.say(f"{text} never holds{as_far_as_known(prompt)}")
        return
    before = prompt.debugger.where
    prompt.debugger.seek(found)
    prompt.arrived(before)


WHERE = """\
WHERE is one of
  h1, enc.*.W             an event of a node, by name
  op:log, scope:enc.*     of an op, of a scope and all within it
  train.py:12, :12        of a line of the source
  17.b.3, b.3             at a position
  nan, inf                where such a number is born of others that are not
  zero:X.grad             of a number that is zero in every element
  over:float16            of a number that this dtype cannot hold
  structure               at the start of an iteration whose graph is another one
  loss up 5               when the loss has risen five times in a row
  norm(X.grad) > 10       of X, when this holds: any expression, see h p
  ratio(update/param)>.1  of a parameter, when this holds for its update"""
BLOCK = """\
The lines up to 'end' are run whenever the breakpoint (the last one set, or N) is hit. With 'silent'
as the first nothing else is shown; a command that moves is the last that is run."""
ROWS = (
    (("break", "b"), "b [WHERE [if EXPRESSION]]", "stop there; without WHERE list the breakpoints", set_one, "where",
     WHERE),
    (("tbreak",), "tbreak WHERE [if EXPRESSION]", "stop there once", partial(set_one, temporary=True), "where", WHERE),
    (("clear", "cl", "delete"), "cl [N ...]", "delete breakpoints, or all", clear, "", ""),
    (("disable",), "disable [N ...]", "switch breakpoints off", partial(switch, enabled=False), "", ""),
    (("enable",), "enable [N ...]", "switch breakpoints on", partial(switch, enabled=True), "", ""),
    (("ignore",), "ignore N COUNT", "let a breakpoint pass COUNT times", ignore, "", ""),
    (("condition",), "condition N [EXPRESSION]", "stop at it only if this holds", condition, "node", ""),
    (("commands",), "commands [N]", "run the lines up to 'end' when a breakpoint is hit", commands, "", BLOCK),
    (("watch",), "watch EXPRESSION [by AMOUNT]", "stop whenever it changes", watch, "node",
     "by AMOUNT lets smaller changes pass. c and rc run to the next change, forwards and backwards."),
    (("last",), "last EXPRESSION", "say where it changed last", last, "node", "The cursor stays where it is."),
    (("first",), "first CONDITION", "go to where it held first in the whole history", first, "node",
     "Where loss, scalars or norms were recorded, all iterations are compared at once."),
)  # fmt: skip
COMMANDS = tuple(
    Command(names, usage, summary, run, False, completes, "breakpoints", details)
    for names, usage, summary, run, completes, details in ROWS
)
