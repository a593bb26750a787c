"""Where the verbs write: data to stdout, messages to stderr, colour only where it is wanted."""

from __future__ import annotations

import json
import sys
from typing import Any

from gradviz.escape import for_terminal
from gradviz.terminal import console

__all__ = ["console", "say", "write", "write_json"]


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
