"""What happens beside the numbers, one line each in ``events.jsonl``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from gradviz.errors import GradvizTypeError, GradvizValueError
from gradviz.tracing.information import plain_meta
from gradviz.tracing.store import RunDirectory

__all__ = ["EVENTS", "OWN_KINDS", "Events", "checked_kind", "plain_event"]

EVENTS = "events.jsonl"
HEAD = ("step", "time", "kind", "text")
OWN_KINDS = ("structure", "level", "optimizer", "update", "inputs", "missed", "end")
KIND_LENGTH = 64


class Events:
    """Writes the events of one run.

    Every line holds the ``step`` it belongs to (None before the first), the ``time`` in seconds since 1970, the
    ``kind``, a sentence for people as ``text``, then whatever belongs to that kind, and a checksum.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self.waiting: list[dict[str, Any]] = []  # those that follow the row that is being written

    def say(self, step: int | None, kind: str, text: str, data: Mapping[str, Any]) -> None:
        """Take note of an event that is to be written after the row."""
        head = {"step": step, "time": time.time(), "kind": kind, "text": text}
        self.waiting.append({**head, **plain_event(data)})

    def write(self) -> None:
        """Write the events that wait, one after the other, each wholly or not at all."""
        while self.waiting:
            self._directory.append_line(EVENTS, self.waiting[0])
            del self.waiting[0]


def plain_event(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what belongs to an event as JSON can hold it; raises GradvizValueError if a name is taken.

    >>> plain_event({"lr": 0.5, "worst": float("inf")})
    {'lr': 0.5, 'worst': 'inf'}
    """
    taken = [name for name in data if name in (*HEAD, "checksum")]
    if taken:
        raise GradvizValueError(f"an event cannot have a {taken[0]!r} of its own", hint="give it another name")
    plain: dict[str, Any] = plain_meta(data, "event")
    return plain


def checked_kind(kind: Any, text: Any) -> None:
    """Refuse what cannot be a user's event."""
    for name, value in (("kind", kind), ("text", text)):
        if not isinstance(value, str):
            raise GradvizTypeError(f"the {name} of an event is a {type(value).__name__}", hint="give a text")
    if not 0 < len(kind) <= KIND_LENGTH:
        raise GradvizValueError(f"an event of kind {kind[:80]!r}", hint=f"a kind has 1 to {KIND_LENGTH} characters")
    if kind in OWN_KINDS:
        raise GradvizValueError(
            f"events of kind {kind!r} are written by the trace itself", hint='choose another kind, such as "note"'
        )
