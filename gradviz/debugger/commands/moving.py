"""Commands that move: step, next, return, until, continue, jump, and the same backwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gradviz.debugger.commands import Command
from gradviz.errors import GradvizValueError

if TYPE_CHECKING:
    from gradviz.debugger.prompt import Prompt

__all__ = ["COMMANDS"]

Run = Callable[["Prompt", str], None]


def number(text: str, otherwise: int = 1) -> int:
    """Return the number that was typed after a command."""
    if not text.strip():
        return otherwise
    try:
        return int(text)
    except ValueError:
        raise GradvizValueError(f"{text[:80]!r} is not a whole number") from None


def moves(move: Callable[[Prompt, str], object]) -> Run:
    """Return a command that moves and then shows where it has arrived."""

    def run(prompt: Prompt, text: str) -> None:
        before, prompt.debugger.stop = prompt.debugger.where, None
        move(prompt, text)
        prompt.arrived(before)

    return run


def until(prompt: Prompt, text: str) -> object:
    """Go on until something, or without it to the next event of another line, as pdb does."""
    return prompt.debugger.run(text) if text else prompt.debugger.next()


def phase(prompt: Prompt, text: str) -> object:
    """Go to the beginning of a phase."""
    return prompt.debugger.phase(text.strip() or prompt.debugger.where.phase)


def iteration(prompt: Prompt, text: str) -> object:
    """Go to another iteration."""
    word = text.strip()
    if not word:
        raise GradvizValueError("to which iteration?", hint="it 17, it +1, it -1")
    relative = word[:1] in {"+", "-"} and number(word) is not None
    return prompt.debugger.it(word if relative else number(word))


def when(prompt: Prompt, text: str) -> None:
    """Print the position."""
    prompt.say(str(prompt.debugger.where))


def jump(prompt: Prompt, text: str) -> object:
    """Go to a position."""
    if not text.strip():
        raise GradvizValueError("where to?", hint="j 17.b.3, j b.3, j 17")
    return prompt.debugger.seek(text.strip())


POSITION = """\
A position is iteration, phase (f forward, b backward, u update) and number of the event: 17.b.3.
b.3 is of this iteration, 17.b the first event of a phase, 17 that of an iteration."""
UNTIL = "WHERE is what h break says. Without it, go on to another source line."
NEXT = "A line, or a module, however many events it has, counts as one."
BACK = "What happened is undone exactly: position, values and gradients are what they were."
ITERATION = "The phase and the number of the event stay what they are, where that iteration has them."
ROWS: tuple[tuple[tuple[str, ...], str, str, Run, bool, str, str], ...] = (
    (("step", "s"), "s [N]", "go on by one event, or N",
     moves(lambda p, t: p.debugger.step(number(t))), True, "", ""),
    (("next", "n"), "n", "go on to the next source line or module",
     moves(lambda p, t: p.debugger.next()), True, "", NEXT),
    (("return", "r", "finish"), "r", "go on until the scope, or else the phase, is left",
     moves(lambda p, t: p.debugger.finish()), True, "", ""),
    (("until", "unt"), "unt [WHERE]", "go on until a node, line, position or condition",
     moves(until), True, "where", UNTIL),
    (("continue", "c", "cont"), "c", "go on until a breakpoint, else to the end",
     moves(lambda p, t: p.debugger.run()), True, "", "Ctrl-C stops where it is just then."),
    (("rstep", "rs"), "rs [N]", "go back by one event, or N",
     moves(lambda p, t: p.debugger.back(number(t))), True, "", BACK),
    (("rnext", "rn"), "rn", "go back to the previous source line or module",
     moves(lambda p, t: p.debugger.next_back()), True, "", NEXT),
    (("rfinish", "rf"), "rf", "go back to before the scope, or else the phase",
     moves(lambda p, t: p.debugger.finish_back()), True, "", ""),
    (("rcontinue", "rc"), "rc [WHERE]", "go back until a breakpoint or WHERE, else to the start",
     moves(lambda p, t: p.debugger.run_back(t or None)), True, "where", "WHERE is what h break says."),
    (("jump", "j", "seek"), "j POSITION", "go to a position such as 17.b.3, b.3 or 17",
     moves(jump), False, "", POSITION),
    (("it", "iteration"), "it K | +K | -K", "go to the same place of another iteration",
     moves(iteration), True, "", ITERATION),
    (("phase",), "phase f|b|u", "go to the beginning of a phase",
     moves(phase), False, "phase", ""),
    (("when",), "when", "print the position", when, False, "", POSITION),
)  # fmt: skip
COMMANDS = tuple(
    Command(names, usage, summary, run, repeats, completes, "moving", details)
    for names, usage, summary, run, repeats, completes, details in ROWS
)
