"""The client's console: what is typed there are the commands of the prompt, and expressions."""

from __future__ import annotations

import io
from collections import deque

from gradviz.debugger.debugger import Debugger
from gradviz.debugger.prompt import Prompt
from gradviz.errors import GradvizError

__all__ = ["Console"]


class Handed(Prompt):
    """A prompt that is handed its lines; ``waiting`` are those of a text that are still to be read."""

    def __init__(self, debugger: Debugger) -> None:
        self.waiting: deque[str] = deque()
        self.written = io.StringIO()
        super().__init__(debugger, (), self.written)
        self.screen.has_colour = False

    def read(self, question: str) -> str | None:
        """Return the next line; the client has shown it already."""
        return self.waiting.popleft() if self.waiting else None


class Console:
    """A prompt that keeps its aliases and displays from one text typed to the next.

    >>> import gradviz
    >>> Console(Debugger(gradviz.Tensor(2.0) * 3.0)).do("when")
    '0.f.0'
    """

    def __init__(self, debugger: Debugger) -> None:
        self._prompt = Handed(debugger)

    @property
    def is_done(self) -> bool:
        """Whether a command has said to leave."""
        return self._prompt.is_done

    def is_command(self, text: str) -> bool:
        """Tell whether a text begins with a command, and is not an expression alone."""
        stripped = text.strip()
        word = stripped[:1] if stripped[:1] in {"?", "!"} else stripped.partition(" ")[0]
        if word in self._prompt.aliases or "\n" in stripped or ";;" in stripped:
            return True
        try:
            command = self._prompt.command(word, stripped)
        except GradvizError:
            return False
        return command.name != "print" or command.name.startswith(word)

    def do(self, text: str) -> str:
        """Carry out the commands of a text and return what they say."""
        prompt = self._prompt
        prompt.waiting.extend(text.split("\n"))
        while not prompt.is_done and (line := prompt.read("")) is not None:
            prompt.do(line)
        prompt.waiting.clear()
        said = prompt.written.getvalue()
        prompt.written.seek(0)
        prompt.written.truncate()
        return said.rstrip("\n")

    def completions(self, text: str, line: str) -> list[str]:
        """Return what the word ``text`` at the end of a line could become."""
        return self._prompt.completions(text, line)
