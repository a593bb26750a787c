"""The client's console: what is typed there are the commands of the prompt, and expressions."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator

from gradviz.debugger.commands import command_named
from gradviz.debugger.debugger import Debugger
from gradviz.debugger.prompt import Prompt
from gradviz.errors import GradvizError

__all__ = ["Console"]


class Lines(Iterator[str]):
    """The lines of what was typed that are still to be read; more can come later."""

    def __init__(self) -> None:
        self.waiting: deque[str] = deque()

    def __next__(self) -> str:
        if not self.waiting:
            raise StopIteration
        return self.waiting.popleft()


class Console:
    """A prompt that keeps its aliases and displays from one text typed to the next.

    >>> import gradviz
    >>> Console(Debugger(gradviz.Tensor(2.0) * 3.0)).do("when")
    '0.f.0'
    """

    def __init__(self, debugger: Debugger) -> None:
        self._lines = Lines()
        self._out = io.StringIO()
        self._prompt = Prompt(debugger, self._lines, self._out)

    @property
    def is_done(self) -> bool:
        """Whether a command has said to leave."""
        return self._prompt.is_done

    def is_command(self, text: str) -> bool:
        """Tell whether a text begins with a command, and is not an expression alone."""
        stripped = text.lstrip()
        word = stripped[:1] if stripped[:1] in {"?", "!"} else stripped.partition(" ")[0]
        if word in self._prompt.aliases:
            return True
        try:
            return bool(command_named(word))
        except GradvizError:
            return "\n" in text or ";;" in text

    def do(self, text: str) -> str:
        """Carry out the commands of a text and return what they say."""
        self._lines.waiting.extend(text.split("\n"))
        said: list[str] = []
        while self._lines.waiting and not self._prompt.is_done:
            said.append(self._do_one(self._lines.waiting.popleft()))
        self._lines.waiting.clear()
        return "\n".join(filter(None, said))

    def _do_one(self, line: str) -> str:
        """Carry out one line; a prompt that nobody types at repeats it first, which the client has done already."""
        repeated = f"{self._prompt.text}{line.strip()}\n"
        self._out.seek(0)
        self._out.truncate()
        self._prompt.do(line)
        return self._out.getvalue().removeprefix(repeated).rstrip("\n")

    def completions(self, text: str, line: str) -> list[str]:
        """Return what the word ``text`` at the end of a line could become."""
        return self._prompt.completions(text, line)
