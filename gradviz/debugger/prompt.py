"""The prompt: pdb's habits for a computation graph; in a terminal, in a pipe, in a notebook, from a file.

Commands come from a person or from a file of commands that the person named, never from a trace.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from gradviz.debugger.commands import Command, all_commands, command_named
from gradviz.debugger.debugger import Debugger
from gradviz.debugger.positions import Position
from gradviz.debugger.telling import shown
from gradviz.errors import GradvizError
from gradviz.escape import clean, for_terminal

__all__ = ["Prompt"]

SHOWN = 400  # characters of one event
ALIASES_DEEP = 10


class Prompt:
    """Reads commands and carries them out on a debugger.

    ``lines`` are the commands, ``None`` meaning standard input; output goes to ``out``. Where nobody types,
    every command is written before its output, so that the whole can be read afterwards.
    """

    def __init__(self, debugger: Debugger, lines: Iterable[str] | None = None, out: TextIO | None = None) -> None:
        self.debugger = debugger
        self.out = out or sys.stdout
        self.displays: list[str] = []
        self.aliases: dict[str, str] = {}
        self.is_done = False
        self.failed = False  # whether a command of a file or a pipe could not be carried out
        self._is_typed = lines is None and _is_terminal(sys.stdin)
        self._lines: Iterator[str] = iter(lines) if lines is not None else self._typed()
        self._repeated = ""

    # -- the loop

    def run(self) -> Prompt:
        """Show where we are, then read commands until one says stop or they end."""
        self.show()
        with _completion(self) if self._is_typed else _nothing():
            while not self.is_done:
                try:
                    line = next(self._lines, None)
                    if line is None:
                        break
                    self.do(line)
                except KeyboardInterrupt:
                    self.say("interrupted; q leaves")
        return self

    def do(self, line: str) -> None:
        """Carry out one line: commands separated by ``;;``; an empty one repeats the last where that makes sense."""
        if not self._is_typed:
            self.say(f"{self.text}{line.strip()}")
        for part in line.split(";;"):
            self._do_one(part.strip())

    def _do_one(self, text: str, depth: int = 0) -> None:
        text = text or self._repeated
        if not text or text.startswith("#"):
            return
        word, rest = _split(text)
        if word in self.aliases and depth < ALIASES_DEEP:
            self._do_one(_filled(self.aliases[word], rest), depth + 1)
            return
        try:
            command = self.command(word, text)
            self._repeated = text if command.repeats else ""
            command.run(self, text if command.name == "print" and word not in command.names else rest)
        except GradvizError as error:
            self.failed = True
            self.say("*** " + str(error).replace("\n", "\n   "))

    def command(self, word: str, text: str) -> Command:
        """Return the command of a word; what is no command but a name of a node is printed, as pdb does."""
        try:
            return command_named(word)
        except GradvizError:
            if word.split(".", maxsplit=1)[0].split("[", maxsplit=1)[0] in self.debugger.graph or text[:1] in "(-":
                return command_named("print")
            raise

    def read_block(self) -> list[str]:
        """Read lines up to ``end``."""
        found: list[str] = []
        for line in self._lines:
            if line.strip() == "end":
                break
            found.append(line.strip())
        return found

    # -- what is said

    @property
    def text(self) -> str:
        """The prompt itself."""
        return f"(gradviz {self.debugger.where}) "

    def say(self, text: str) -> None:
        """Write lines, made safe for a terminal."""
        for line in text.split("\n"):
            print(for_terminal(line), file=self.out)

    def show(self) -> None:
        """Show the event the debugger stands on, its source line, and what is to be displayed."""
        d = self.debugger
        self.say(f"> {d.where}  {clean(str(d.event), SHOWN)}")
        source = d.event.node.source
        if source is not None:
            self.say(f"  {clean(str(source))}  {clean(source.code or source.text)}")
        for expression in self.displays:
            self.say(f"  {expression}: {self.worked_out(expression)}")

    def arrived(self, before: Position) -> None:
        """Show where a command has led: an end, a breakpoint with its commands, or simply another event."""
        d = self.debugger
        if d.where == before:
            self.say(f"--- {'end' if d.at_end else 'start' if d.at_start else 'nothing further'} of the history ---")
        hit = d.stop.breakpoint if d.stop and d.stop.position == d.where else None
        if hit is None or hit.commands[:1] != ["silent"]:
            if hit is not None:
                self.say(f"stopped: {hit}")
            self.show()
        for line in hit.commands if hit else ():
            if line != "silent":
                self._do_one(line)

    def worked_out(self, expression: str) -> str:
        """Return what an expression comes to as text; an error is said, not raised."""
        try:
            return shown(self.debugger.evaluate(expression))
        except GradvizError as error:
            return f"*** {error.message}"

    # -- what is typed

    def _typed(self) -> Iterator[str]:
        """Yield lines of standard input; in a notebook, `input` asks for them."""
        while True:
            try:
                yield input(self.text) if self._is_typed or not _is_pipe(sys.stdin) else _line(sys.stdin)
            except EOFError:
                return

    def completions(self, text: str, line: str) -> list[str]:
        """Return what a word could become."""
        word, _, rest = line.lstrip().partition(" ")
        if not rest and not line.endswith(" "):
            return sorted({name for c in all_commands() for name in c.names if name.startswith(text)})
        try:
            wanted = command_named(word).completes
        except GradvizError:
            wanted = "node"
        if wanted == "command":
            return sorted(c.name for c in all_commands() if c.name.startswith(text))
        if wanted != "node":
            return []
        names = (node.name for node in self.debugger.graph)
        return sorted({end for name in names for end in (name, f"{name}.grad") if end.startswith(text)})


def _split(text: str) -> tuple[str, str]:
    """Split a line into its command and the rest; ``?`` and ``!`` need no space after them."""
    if text[:1] in "?!":
        return text[0], text[1:].strip()
    word, _, rest = text.partition(" ")
    return word, rest.strip()


def _filled(alias: str, rest: str) -> str:
    """Put what was typed into an alias: ``%1``, ``%2``, ... and ``%*``."""
    words = rest.split()
    for i, word in enumerate(words, 1):
        alias = alias.replace(f"%{i}", word)
    if "%*" in alias:
        return alias.replace("%*", rest)
    return alias


def _line(stream: TextIO) -> str:
    line = stream.readline()
    if not line:
        raise EOFError
    return line.rstrip("\n")


def _is_terminal(stream: Any) -> bool:
    return bool(getattr(stream, "isatty", lambda: False)())


def _is_pipe(stream: Any) -> bool:
    """Tell a pipe or file from the standard input of a notebook, where `input` asks the person."""
    return hasattr(stream, "fileno") and "ipykernel" not in sys.modules


class _nothing:  # noqa: N801
    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, *error: object) -> None:
        """Do nothing."""


class _completion:  # noqa: N801
    """Completes names with Tab while the prompt is open, and gives readline back as it was."""

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt

    def __enter__(self) -> None:
        try:
            import readline
        except ImportError:  # no readline on this system: no completion
            return
        self._before = readline.get_completer(), readline.get_completer_delims()
        readline.set_completer(self._complete)
        readline.set_completer_delims(" \t\n()=<>+-*/,@")
        readline.parse_and_bind("tab: complete")

    def _complete(self, text: str, state: int) -> str | None:
        import readline

        found = self._prompt.completions(text, readline.get_line_buffer())
        return found[state] if state < len(found) else None

    def __exit__(self, *error: object) -> None:
        if "readline" in sys.modules and hasattr(self, "_before"):
            import readline

            readline.set_completer(self._before[0])
            readline.set_completer_delims(self._before[1])
