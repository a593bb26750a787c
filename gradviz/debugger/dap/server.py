"""The server: reads requests on one thread, so that a run can be paused, and answers them on another."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from queue import SimpleQueue

from gradviz.debugger.dap.protocol import Malformed, Request, Writer, read_messages
from gradviz.debugger.dap.requests import all_requests
from gradviz.debugger.dap.session import INTERRUPTING, Session
from gradviz.errors import GradvizError, UnknownNameError
from gradviz.escape import clean

__all__ = ["serve"]

Inbox = SimpleQueue[Request | Malformed | None]


def serve(
    read: Callable[[int], bytes], write: Callable[[bytes], object], run: str = "", *, show_tracebacks: bool = False
) -> None:
    """Answer a client until it says goodbye or is gone.

    ``read`` returns up to so many bytes, none at the end; ``write`` takes all it is given. ``run`` is the run
    directory for a client that names none. Nothing that comes in raises anything here.
    """
    session = Session(Writer(write), run)
    inbox: Inbox = SimpleQueue()
    threading.Thread(target=_listen, args=(read, inbox, session), daemon=True).start()
    try:
        for message in _received(inbox):
            if isinstance(message, Malformed):
                session.say(f"gradviz: not understood: {message.reason}\n", "stderr")
            else:
                _answer(session, message, show_tracebacks=show_tracebacks)
            if session.is_over:
                break
    except (BrokenPipeError, ConnectionError):  # the client is gone: nobody is left to be told
        session.is_over = True


def _received(inbox: Inbox) -> Iterator[Request | Malformed]:
    while (message := inbox.get()) is not None:
        yield message


def _listen(read: Callable[[int], bytes], inbox: Inbox, session: Session) -> None:
    """Put what comes in into the inbox; what should stop a run is made known at once."""
    try:
        for message in read_messages(read):
            if isinstance(message, Request) and message.command in INTERRUPTING:
                session.interruptions.add(1)
            inbox.put(message)
    except OSError as error:
        inbox.put(Malformed(f"reading failed: {error}"))
    finally:
        session.interruptions.add(1)
        inbox.put(None)


def _answer(session: Session, request: Request, *, show_tracebacks: bool) -> None:
    if request.command in INTERRUPTING:
        session.interruptions.add(-1)
    try:
        handler = all_requests().get(request.command)
        if handler is None:
            raise UnknownNameError(f"gradviz does not answer {clean(request.command, 80)!r}")
        body = handler(session, request.arguments)
    except GradvizError as error:
        session.writer.error(request, str(error), show=request.command in {"launch", "attach"})
        session.afterwards.clear()
        return
    except Exception as error:
        if isinstance(error, BrokenPipeError | ConnectionError):
            raise
        session.writer.error(request, _unexpected(error, show_tracebacks=show_tracebacks))
        session.afterwards.clear()
        return
    session.writer.response(request, body)
    _finish(session, show_tracebacks=show_tracebacks)


def _finish(session: Session, *, show_tracebacks: bool) -> None:
    """Do what follows an answer: moving, and telling where that has led."""
    while session.afterwards:
        work = session.afterwards.pop(0)
        try:
            work()
        except GradvizError as error:
            session.say(f"gradviz: {error}\n", "stderr")
            session.stopped("pause", f"Paused: {error.message}")
        except Exception as error:
            if isinstance(error, BrokenPipeError | ConnectionError):
                raise
            session.say(f"{_unexpected(error, show_tracebacks=show_tracebacks)}\n", "stderr")


def _unexpected(error: Exception, *, show_tracebacks: bool) -> str:
    if show_tracebacks:
        traceback.print_exception(error, file=sys.stderr)
    return f"gradviz: internal error: {type(error).__name__}: {str(error)[:400]}"
