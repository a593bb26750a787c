"""The prompt inside a program, and how it is left: the program goes on, or ends."""

from __future__ import annotations

import bdb
import threading
from typing import Any

from gradviz.debugger.commands import Command
from gradviz.debugger.keyboard import is_person
from gradviz.debugger.prompt import Prompt
from gradviz.debugger.session import Attached, LiveDebugger
from gradviz.engine import modes

__all__ = ["LivePrompt", "talk", "talk_of"]

_talking = threading.RLock()  # two threads do not ask at once


def _go_on(prompt: Any, text: str) -> None:
    """Go on to a breakpoint that lies ahead in what is kept, else let the program go on."""
    d, before = prompt.debugger, prompt.debugger.where
    if d.breakpoints and not d.at_end:
        d.run()
        if d.stop is not None and d.stop.breakpoint is not None:
            prompt.arrived(before)
            return
    prompt.leave("continue")


def _quit(prompt: Any, text: str) -> None:
    prompt.leave("quit")


def _detach(prompt: Any, text: str) -> None:
    prompt.leave("detach")


class LivePrompt(Prompt):
    """The prompt where leaving it is about the program: ``c`` lets it go on, ``q`` ends it.

    ``outcome`` is how it was left: ``"continue"``, ``"quit"``, ``"detach"``, or ``"end"`` at the end of the input.
    """

    own = (
        Command(("continue", "c", "cont"), "c", "let the program go on", _go_on, group="program"),
        Command(("quit", "q", "exit", "EOF"), "q", "end the program", _quit, group="program"),
        Command(("detach",), "detach", "let the program go on, without further stops", _detach, group="program"),
    )
    outcome = "end"

    def leave(self, outcome: str) -> None:
        """Stop asking."""
        self.outcome, self.is_done = outcome, True


def talk(debugger: LiveDebugger, heading: str, before: LivePrompt | None = None) -> LivePrompt:
    """Open a prompt in the program, with what an earlier one at the same place was told to display.

    At the end of the commands a person ends the program; where there is none, it goes on without further prompts.
    Raises bdb.BdbQuit to end the program.
    """
    with _talking, modes.unwatched():
        prompt = LivePrompt(debugger)
        if before is not None:
            prompt.displays, prompt.aliases = before.displays, before.aliases
        prompt.say(heading, "stop")
        prompt.run()
    if prompt.outcome == "quit" or (prompt.outcome == "end" and is_person()):
        raise bdb.BdbQuit
    if prompt.outcome != "continue":
        Attached.now, Attached.is_heard = prompt.outcome != "detach", prompt.outcome != "end"
        prompt.say("--- the program goes on, without further stops ---", "stop")
    return prompt


def talk_of(debugger: LiveDebugger, heading: str = "") -> None:
    """Open a prompt on something that nothing goes on after: every way to leave it just leaves."""
    with _talking, modes.unwatched():
        prompt = Prompt(debugger)
        if heading:
            prompt.say(heading, "stop")
        prompt.run()
