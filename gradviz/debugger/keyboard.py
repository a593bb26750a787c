"""Where the prompt's commands come from: a person at a terminal or in a notebook, or a pipe."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

__all__ = ["ask", "completing", "is_notebook", "is_person"]

DELIMITERS = " \t\n()=<>+*/,@`"
Completer = Callable[[str, str], list[str]]  # the word and the line so far


def is_notebook() -> bool:
    """Tell whether this runs in a kernel of Jupyter, where `input` asks the person in the notebook."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return hasattr(get_ipython(), "kernel") if get_ipython is not None else False


def is_person() -> bool:
    """Tell whether somebody can be asked: at a terminal, or in a notebook."""
    try:
        return is_notebook() or bool(sys.stdin.isatty())
    except (AttributeError, ValueError):  # there is no standard input, or it is closed
        return False


def ask(question: str) -> str | None:
    """Return the next line of standard input, asking a person for it; None at the end, and where there is none."""
    try:
        if is_person():
            return input(question)
        line = sys.stdin.readline()
    except (EOFError, AttributeError, OSError, ValueError):  # the end; no stdin, one that refuses, a closed one
        return None
    return line.rstrip("\n") if line else None


@contextlib.contextmanager
def completing(completer: Completer) -> Iterator[None]:
    """Complete words with Tab while this is open, and give readline back as it was."""
    try:
        import readline
    except ImportError:  # not on this system: no completion, no history
        yield
        return
    before = readline.get_completer(), readline.get_completer_delims()
    found: list[str] = []

    def complete(text: str, state: int) -> str | None:
        if state == 0:
            found[:] = completer(text, readline.get_line_buffer())
        return found[state] if state < len(found) else None

    readline.set_completer(complete)
    readline.set_completer_delims(DELIMITERS)
    is_editline = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if is_editline else "tab: complete")
    try:
        yield
    finally:
        readline.set_completer(before[0])
        readline.set_completer_delims(before[1])
