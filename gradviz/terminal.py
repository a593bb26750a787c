"""The terminal as rich sees it: colour only where it is wanted, a width that fits."""

from __future__ import annotations

import os
import sys
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["console", "is_live"]

PIPE_WIDTH = 160  # columns when nobody looks: tables are not squeezed into a terminal


def console(*, stderr: bool = False) -> Console:
    """Return a rich console on stdout or stderr; colour obeys NO_COLOR, FORCE_COLOR and TERM, empty meaning unset."""
    from rich.console import Console

    surroundings = {
        name: value for name, value in os.environ.items() if value or name not in {"NO_COLOR", "FORCE_COLOR"}
    }
    fits = _isatty(sys.stderr if stderr else sys.stdout) or "COLUMNS" in surroundings
    return Console(
        stderr=stderr,
        _environ=surroundings,
        width=None if fits else PIPE_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )


def is_live(stream: IO[str] | None) -> bool:
    """Tell whether what is written there can be written over: a terminal that is not a dumb one.

    >>> import io
    >>> is_live(io.StringIO())
    False
    """
    return _isatty(stream) and os.environ.get("TERM", "").lower() not in {"dumb", "unknown"}


def _isatty(stream: IO[str] | None) -> bool:
    """Tell whether it is a terminal; a stream that is missing or closed is none."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False
