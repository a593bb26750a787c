r"""The wire of the Debug Adapter Protocol: messages of JSON, each after a header that gives its length.

What comes in is believed in nothing: lengths are limited, and what is no message is told apart as `Malformed`,
after which reading goes on.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gradviz.debugger.dap.arguments import Arguments

__all__ = ["BODY_LIMIT", "HEADER_LIMIT", "Malformed", "Request", "Writer", "read_messages"]

HEADER_LIMIT = 8 * 2**10
BODY_LIMIT = 16 * 2**20
CHUNK = 2**16
END = b"\r\n\r\n"
START = b"Content-Length:"
LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,18})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Request:
    """What the client asks for."""

    seq: int
    command: str
    arguments: Arguments


@dataclass(frozen=True, slots=True)
class Malformed:
    """Something that came in and is no message: what is wrong with it."""

    reason: str


class Incoming:
    """Bytes as they come, as many at a time as are asked for. ``read`` gives some of them, none at the end."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._buffer = bytearray()

    def more(self) -> bool:
        """Wait for more bytes; False at the end."""
        data = self._read(CHUNK)
        self._buffer += data
        return bool(data)

    def take(self, count: int) -> bytes | None:
        """Return exactly so many bytes; None if the stream ends before."""
        while len(self._buffer) < count:
            if not self.more():
                return None
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def skip(self, count: int) -> None:
        """Throw so many bytes away, however many they are."""
        while count > len(self._buffer):
            count -= len(self._buffer)
            self._buffer.clear()
            if not self.more():
                return
        del self._buffer[:count]

    def header(self) -> bytes | Malformed | None:
        """Return the lines before a body; None at the end of the stream."""
        searched = 0
        while (place := self._buffer.find(END, searched)) < 0:
            if len(self._buffer) > HEADER_LIMIT:
                return self._resynchronised()
            searched = max(0, len(self._buffer) - len(END))
            if not self.more():
                return None
        found = self.take(place + len(END))
        return Malformed("a header is too long") if place > HEADER_LIMIT else found

    def _resynchronised(self) -> Malformed:
        """Throw away what cannot be the beginning of a header."""
        place = self._buffer.find(START, 1)
        self.skip(place if place > 0 else len(self._buffer) - len(START))
        return Malformed("there is no header where one should be")


def read_messages(read: Callable[[int], bytes]) -> Iterator[Request | Malformed]:
    r"""Yield what comes in until the stream ends.

    >>> import io
    >>> body = b'{"seq": 1, "type": "request", "command": "threads"}'
    >>> stream = io.BytesIO(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    >>> [message.command for message in read_messages(stream.read)]
    ['threads']
    """
    incoming = Incoming(read)
    while (header := incoming.header()) is not None:
        if isinstance(header, Malformed):
            yield header
            continue
        body = _body(incoming, header)
        if body is None:
            return
        message = body if isinstance(body, Malformed) else _message(body)
        if message is not None:
            yield message


def _body(incoming: Incoming, header: bytes) -> bytes | Malformed | None:
    found = LENGTH.findall(header)
    if len(found) != 1:
        return Malformed("a header does not say once how long its message is")
    length = int(found[0])
    if length > BODY_LIMIT:
        incoming.skip(length)
        return Malformed(f"a message of {length} bytes: the limit is {BODY_LIMIT}")
    return incoming.take(length)


def _message(body: bytes) -> Request | Malformed | None:
    """Return the request in a body; None for a message that needs no answer."""
    try:
        found = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        return Malformed(f"a message is no JSON: {str(error)[:200]}")
    if not isinstance(found, dict):
        return Malformed("a message is no JSON object")
    if found.get("type") in {"response", "event"}:
        return None
    seq, command, arguments = found.get("seq"), found.get("command"), found.get("arguments")
    if found.get("type") != "request" or type(seq) is not int or not isinstance(command, str):
        return Malformed("a message is no request with a number and a command")
    if not isinstance(arguments, dict | None):
        return Malformed(f"the arguments of {command[:80]!r} are no JSON object")
    return Request(seq, command, Arguments(arguments or {}))


class Writer:
    """Numbers messages and writes them; ``write`` takes all the bytes it is given."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._seq = 0
        self._lock = threading.Lock()

    def event(self, name: str, body: dict[str, Any] | None = None) -> None:
        """Tell the client that something has happened."""
        self._send({"type": "event", "event": name}, body)

    def response(self, request: Request, body: dict[str, Any] | None = None) -> None:
        """Answer a request."""
        self._send(_answer(request, success=True), body)

    def error(self, request: Request, message: str, *, show: bool = False) -> None:
        """Answer that a request cannot be fulfilled; with ``show`` the client should put that before its user."""
        error = {"id": 1, "format": message.replace("{", "(").replace("}", ")"), "showUser": show}
        self._send(_answer(request, success=False) | {"message": message}, {"error": error})

    def _send(self, message: dict[str, Any], body: dict[str, Any] | None) -> None:
        with self._lock:
            self._seq += 1
            whole = {"seq": self._seq, **message} | ({} if body is None else {"body": body})
            data = json.dumps(whole, allow_nan=False, separators=(",", ":")).encode("ascii")
            self._write(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))


def _answer(request: Request, *, success: bool) -> dict[str, Any]:
    return {"type": "response", "request_seq": request.seq, "command": request.command, "success": success}
