"""Where the prompt writes: text made safe, and at a terminal with colours and no wider than it is."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TextIO

from gradviz.escape import for_terminal
from gradviz.terminal import is_live

__all__ = ["INKS", "Screen"]

INKS = {"now": "1", "faint": "2", "error": "31", "stop": "33"}  # SGR: bold, dim, red, yellow
ELLIPSIS = "…"
NARROWEST = 20


class Screen:
    r"""Writes lines to a stream. Colours are only for a terminal, and not if NO_COLOR is set.

    >>> import io, contextlib
    >>> with contextlib.redirect_stdout(io.StringIO()) as out:
    ...     Screen().say("an escape \x1b[31m is shown", "error")
    >>> print(out.getvalue(), end="")
    an escape \u001B[31m is shown
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out
        stream = out or sys.stdout
        self.has_colour = bool(os.environ.get("FORCE_COLOR") or is_live(stream)) and not os.environ.get("NO_COLOR")
        self._is_terminal = is_live(stream)

    @property
    def width(self) -> int | None:
        """How many characters fit on a line; None where nobody looks, or there is no end to it."""
        return max(NARROWEST, shutil.get_terminal_size().columns) if self._is_terminal else None

    def say(self, text: str, ink: str = "", *, fit: bool = False) -> None:
        """Write lines; with ``fit`` those that are too long for the terminal end in an ellipsis."""
        for line in text.split("\n"):
            shown = for_terminal(line)
            if fit and self.width is not None and len(shown) > self.width:
                shown = shown[: self.width - 1] + ELLIPSIS
            print(f"\x1b[{INKS[ink]}m{shown}\x1b[0m" if ink and self.has_colour else shown, file=self._out)
        (self._out or sys.stdout).flush()
