"""The prompt: pdb's habits for a computation graph; in a terminal, in a pipe, in a notebook, from a file.

Commands come from a person or from a file of commands that the person named, never from a trace.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import NamedTuple, TextIO

from gradviz.debugger.breaking import Breakpoint
from gradviz.debugger.commands import Command, all_commands, command_named
from gradviz.debugger.completing import completions
from gradviz.debugger.debugger import Debugger
from gradviz.debugger.expressions import Expression
from gradviz.debugger.keyboard import ask, completing, is_person
from gradviz.debugger.positions import Position
from gradviz.debugger.screen import Screen
from gradviz.debugger.standing import is_replayed
from gradviz.debugger.telling import brief, shown
from gradviz.errors import GradvizError
from gradviz.escape import clean
from gradviz.graphs import Node

__all__ = ["Prompt"]

SHOWN = 400  # characters of one event
ALIASES_DEEP = 10
OPERATORS = frozenset("+-*/%@<>=&|")  # b * 2 is an expression, although b is a command


class Waiting(NamedTuple):
    """A command that is to be carried out, and where it comes from."""

    text: str
    depth: int = 0  # how many aliases it came out of
    is_of_stop: bool = False  # one of the commands of a breakpoint: a later stop replaces it


class Prompt:
    """Reads commands and carries them out on a debugger.

    ``lines`` are the commands; without them, or after them with ``then_ask``, they come from standard input. Output
    goes to ``out``. Where nobody types, every command is written before its output, so that the whole can be read
    afterwards, and ``failed`` tells whether one of them could not be carried out.
    """

    own: tuple[Command, ...] = ()  # commands of this prompt only, in place of others of their names

    def __init__(
        self,
        debugger: Debugger,
        lines: Iterable[str] | None = None,
        out: TextIO | None = None,
        *,
        then_ask: bool = False,
    ) -> None:
        self.debugger = debugger
        self.screen = Screen(out)
        self.displays: list[str] = []
        self.aliases: dict[str, str] = {}
        self.is_done = False
        self.failed = False
        self.listed: tuple[Position, int] | None = None  # what `list` has shown last, and how far
        self._looked_at: Node | None = None
        self._given: Iterator[str] | None = None if lines is None else iter(lines)
        self._asks = lines is None or then_ask
        self._queue: deque[Waiting] = deque()
        self._repeated = ""

    # -- the loop

    def run(self) -> Prompt:
        """Show where we are, then read commands until one says stop or they end."""
        self.show()
        if not is_replayed(self.debugger.full):
            self.say("  only what was recorded is known here; w says why", "faint")
        with completing(self.completions) if self._asks and is_person() else nullcontext():
            while not self.is_done:
                before = self.debugger.where
                try:
                    line = self.read(self.text)
                    if line is None:
                        break
                    self.do(line)
                except KeyboardInterrupt:
                    self._interrupted(before)
        return self

    def read(self, question: str) -> str | None:
        """Return the next line; None if there is none. What a person does not type is written."""
        given = next(self._given, None) if self._given is not None else None
        if given is None:
            self._given = None
            line = ask(question) if self._asks else None
            if line is None and self._is_typed:
                self.say("")  # the person's Ctrl-D has left the line unfinished
        else:
            line = given
        if line is not None and not self._is_typed:
            self.say(f"{question}{line.strip()}")
        return line

    @property
    def _is_typed(self) -> bool:
        """Whether a person types the commands now."""
        return self._given is None and self._asks and is_person()

    def do(self, line: str) -> None:
        """Carry out one line: commands separated by ``;;``; an empty one repeats the last where that makes sense."""
        first = line.split(maxsplit=1)[:1]
        parts = [line] if first == ["alias"] else line.split(";;")
        self._queue.extend(Waiting(part.strip()) for part in ([self._repeated] if not first else parts))
        while self._queue and not self.is_done:
            self._do_one(self._queue.popleft())

    def _do_one(self, waiting: Waiting) -> None:
        text = waiting.text
        if not text or text.startswith("#"):
            return
        word, rest = _split(text)
        if word in self.aliases and waiting.depth < ALIASES_DEEP:
            meant = _filled(self.aliases[word], rest).split(";;")
            self._first(Waiting(part.strip(), waiting.depth + 1, waiting.is_of_stop) for part in meant)
            return
        try:
            is_sum = bool(rest) and rest[0] in OPERATORS and word in self.debugger.graph and self._is_expression(text)
            command = self.command("print" if is_sum else word, text)
            self._repeated = text if command.repeats else ""
            command.run(self, text if is_sum or (command.name == "print" and word not in command.names) else rest)
        except GradvizError as error:
            self._refuse(str(error))
        except OSError as error:
            self._refuse(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        except Exception as error:  # one command that fails must not end the session
            self._refuse(f"internal error: {type(error).__name__}: {error}")

    def _refuse(self, why: str) -> None:
        """Say why a command could not be carried out."""
        self.failed = self.failed or not self._is_typed
        self.say(f"*** {why}", "error")

    def _first(self, waiting: Iterable[Waiting]) -> None:
        """Let these come before what is waiting already."""
        self._queue.extendleft(reversed(list(waiting)))

    def _interrupted(self, before: Position) -> None:
        """Go back to asking after Ctrl-C; where nobody can be asked, end."""
        self._queue.clear()
        self._given = None
        if not self._is_typed:
            raise KeyboardInterrupt
        self.say("\n--- interrupted; q leaves ---", "stop")
        if self.debugger.where != before:
            self.show()

    def command(self, word: str, text: str) -> Command:
        """Return the command of a word; what is no command but an expression of known names is printed, as in pdb."""
        try:
            return command_named(word, self.commands)
        except GradvizError:
            if self._is_expression(text):
                return command_named("print")
            raise

    @property
    def commands(self) -> tuple[Command, ...]:
        """Every command of this prompt."""
        taken = {name for command in self.own for name in command.names}
        return (*self.own, *(command for command in all_commands() if taken.isdisjoint(command.names)))

    def _is_expression(self, text: str) -> bool:
        try:
            names = Expression(text).names
        except GradvizError:
            return False
        return all(map(self.debugger.names.longest, map(list, names)))

    def read_block(self) -> list[str]:
        """Read lines up to ``end``."""
        found: list[str] = []
        while (line := self.read("(com) ")) is not None and line.strip() != "end":
            found.append(line.strip())
        return found

    # -- what is looked at

    @property
    def node(self) -> Node:
        """The node that is looked at: that of the event, unless ``up`` or ``down`` have led to another one."""
        return self._looked_at or self.debugger.event.node

    def look_at(self, node: Node) -> None:
        """Look at another node, until the debugger moves."""
        self._looked_at, self.listed = node, None

    # -- what is said

    @property
    def text(self) -> str:
        """The prompt itself."""
        return f"(gradviz {self.debugger.where}) "

    def say(self, text: str, ink: str = "", *, fit: bool = False) -> None:
        """Write lines, made safe for a terminal; with ``fit`` no longer than it is wide."""
        self.screen.say(text, ink, fit=fit)

    def show(self) -> None:
        """Show the event the debugger stands on, its source line, and what is to be displayed."""
        d = self.debugger
        self.say(f"> {d.where}  {clean(d.event.told(brief), SHOWN)}", "now")
        source = d.event.node.source
        if source is not None:
            self.say(f"  {clean(str(source))}  {clean(source.code or source.text)}".rstrip(), "faint")
        for expression in self.displays:
            self.say(f"  {clean(expression)}: {self.worked_out(expression)}")

    def arrived(self, before: Position) -> None:
        """Show where a command has led: an end, a breakpoint with its commands, or simply another event."""
        self._looked_at = self.listed = None
        while self._queue and self._queue[0].is_of_stop:
            self._queue.popleft()
        d = self.debugger
        stop = d.stop if d.stop and d.stop.position == d.where else None
        hit = stop.breakpoint if stop else None
        if hit is None or hit.commands[:1] != ["silent"]:
            self._say_why(hit, is_stuck=d.where == before, is_end=bool(stop and stop.is_end))
            self.show()
        self._first(Waiting(line, 0, True) for line in (hit.commands if hit else ()) if line != "silent")

    def _say_why(self, hit: Breakpoint | None, *, is_stuck: bool, is_end: bool) -> None:
        """Say why a command stops here, if that is not plain."""
        d = self.debugger
        if hit is not None:
            self.say(f"stopped: {hit}", "stop")
        elif is_stuck or is_end:
            end = "end" if d.at_end else "start" if d.at_start else ""
            self.say(f"--- {end} of the history ---" if end else "--- here already ---", "stop")

    def worked_out(self, expression: str) -> str:
        """Return what an expression comes to as text; an error is said, not raised."""
        try:
            return shown(self.debugger.evaluate(expression))
        except GradvizError as error:
            return f"*** {error.message}"

    def completions(self, text: str, line: str) -> list[str]:
        """Return what a word could become."""
        return completions(self.commands, self.debugger.graph, self.aliases, text, line)


def _split(text: str) -> tuple[str, str]:
    """Split a line into its command and the rest; ``?`` and ``!`` need no space after them."""
    if text[:1] in "?!":
        return text[0], text[1:].strip()
    word, _, rest = text.partition(" ")
    return word, rest.strip()


def _filled(alias: str, rest: str) -> str:
    """Put what was typed into an alias: ``%1``, ``%2``, ... and ``%*``.

    >>> _filled("p norm(%1.grad) > %2", "w 3")
    'p norm(w.grad) > 3'
    """
    words = rest.split()
    for i, word in reversed(list(enumerate(words, 1))):
        alias = alias.replace(f"%{i}", word)
    return alias.replace("%*", rest)
