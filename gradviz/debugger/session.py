"""The prompt inside a program that is running, or has just failed: what it goes by, and how it is left."""

from __future__ import annotations

import bdb
import sys
import threading
from collections.abc import Iterator
from typing import Any

from gradviz.debugger.blame import Birth
from gradviz.debugger.breaking import Stop
from gradviz.debugger.commands import Command
from gradviz.debugger.debugger import Debugger
from gradviz.debugger.positions import Position
from gradviz.debugger.prompt import Prompt
from gradviz.debugger.timeline import Timeline
from gradviz.debugger.variables import LiveNames, Variables
from gradviz.debugger.watching import Watching
from gradviz.engine import modes

__all__ = ["Attached", "LiveDebugger", "LivePrompt", "is_interactive", "talk", "talk_of"]

_talking = threading.RLock()  # two threads do not ask at once


class Attached:
    """Whether the program stops at all: ``detach`` at a prompt switches it off, `gradviz.debug` on again."""

    now = True


class LiveDebugger(Debugger):
    """A `Debugger` inside the user's program: in expressions it knows the user's variables as well.

    ``birth`` says where the NaN or the infinity was born that it has stopped for, if it was one.
    """

    def __init__(self, timeline: Timeline, variables: Variables) -> None:
        Watching.__init__(self, timeline)
        self.birth: Birth | None = None
        self.meet(variables)

    def meet(self, variables: Variables) -> None:
        """Use the variables of this moment from now on."""
        self.variables = variables
        self.names = LiveNames(self, variables)

    def stand(self, position: Position, reason: str) -> None:
        """Go to where something happened, and say why."""
        self.cursor.position = position
        self.stop = Stop(position, reason)


class LivePrompt(Prompt):
    """The prompt where leaving it is about the program: ``c`` lets it go on, ``q`` ends it.

    ``outcome`` is how it was left: ``"continue"``, ``"quit"``, ``"detach"``, or ``"end"`` at the end of the input.
    """

    def __init__(self, debugger: Debugger, lines: Iterator[str] | None = None) -> None:
        super().__init__(debugger, lines)
        self.outcome = "end"

    def command(self, word: str, text: str) -> Command:
        """Return the command of a word: those that leave are this prompt's own."""
        own = next((command for command in LEAVING if word in command.names), None)
        return own or super().command(word, text)


def talk(debugger: LiveDebugger, heading: str, before: LivePrompt | None = None) -> LivePrompt:
    """Open a prompt in the program, with what an earlier one at the same place was told to display.

    Raises bdb.BdbQuit if the user ends the program.
    """
    with _talking, modes.unwatched():
        prompt = LivePrompt(debugger, None if is_interactive() else _piped())
        if before is not None:
            prompt.displays, prompt.aliases = before.displays, before.aliases
        prompt.say(heading)
        prompt.run()
    if prompt.outcome == "quit" or (prompt.outcome == "end" and is_interactive()):
        raise bdb.BdbQuit
    if prompt.outcome != "continue":
        Attached.now = False
        prompt.say("--- the program goes on, without further stops ---")
    return prompt


def talk_of(debugger: LiveDebugger, heading: str = "") -> None:
    """Open the prompt on something that nothing goes on after: every way to leave it just leaves."""
    with _talking, modes.unwatched():
        prompt = Prompt(debugger, None if is_interactive() else _piped())
        if heading:
            prompt.say(heading)
        prompt.run()


def is_interactive() -> bool:
    """Tell whether a person can be asked: at a terminal, or in a notebook."""
    try:
        return "ipykernel" in sys.modules or bool(sys.stdin.isatty())
    except (AttributeError, ValueError):  # there is no standard input, or it is closed
        return False


def _piped() -> Iterator[str]:
    """Yield the lines of a standard input that is no terminal; one that cannot be read has none."""
    while True:
        try:
            line = sys.stdin.readline()
        except (AttributeError, OSError, ValueError):  # none, closed, or pytest's, which refuses
            return
        if not line:
            return
        yield line.rstrip("\n")


# -- leaving ---------------------------------------------------------------------------------------


def _go_on(prompt: Any, text: str) -> None:
    """Go on to a breakpoint that lies ahead in what is kept, else let the program go on."""
    d, before = prompt.debugger, prompt.debugger.where
    if d.breakpoints and not d.at_end:
        d.run()
        if d.stop is not None and d.stop.breakpoint is not None:
            prompt.arrived(before)
            return
    _leave(prompt, "continue")


def _quit(prompt: Any, text: str) -> None:
    _leave(prompt, "quit")


def _detach(prompt: Any, text: str) -> None:
    _leave(prompt, "detach")


def _leave(prompt: LivePrompt, outcome: str) -> None:
    prompt.outcome, prompt.is_done = outcome, True


LEAVING = (
    Command(("continue", "c", "cont"), "c", "let the program go on", _go_on, group="program"),
    Command(("quit", "q", "exit", "EOF"), "q", "end the program", _quit, group="program"),
    Command(("detach",), "detach", "let the program go on, without further stops", _detach, group="program"),
)
