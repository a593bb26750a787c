"""Where the verbs write: data to stdout, messages to stderr, colour only where it is wanted."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from gradviz.escape import for_terminal

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["console", "say", "write", "write_json"]

PIPE_WIDTH = 160  # columns when nobody looks: tables are not squeezed into a terminal


def say(message: str) -> None:
    """Write a message for people to stderr, each of its lines made safe for a terminal."""
    for line in message.split("\n"):
        print(for_terminal(line), file=sys.stderr)


def write(data: bytes | str) -> None:
    """Write data to stdout as it is, text as UTF-8 whatever the locale says."""
    raw = data.encode() if isinstance(data, str) else data
    sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:  # replaced by something that takes text only
        sys.stdout.write(raw.decode())
        return
    buffer.write(raw)
    buffer.flush()


def write_json(data: Any) -> None:
    """Write data as one indented JSON document."""
    write(json.dumps(data, indent=2, allow_nan=False) + "\n")


def console() -> Console:
    """Return a rich console on stdout; colour obeys NO_COLOR, FORCE_COLOR and TERM, empty meaning unset."""
    from rich.console import Console

    surroundings = {
        name: value for name, value in os.environ.items() if value or name not in {"NO_COLOR", "FORCE_COLOR"}
    }
    width = None if sys.stdout.isatty() or "COLUMNS" in surroundings else PIPE_WIDTH
    return Console(_environ=surroundings, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)
