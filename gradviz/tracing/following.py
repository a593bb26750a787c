"""Reading a run while it is being written: who writes, and what has been added."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradviz.errors import GradvizValueError, TraceError
from gradviz.tracing.segments import regular
from gradviz.tracing.store import INFO, LOCK

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    from gradviz.tracing.reading import Run

__all__ = ["Place", "added_rows", "is_live", "wait_for_run"]

SHORTEST_POLL = 0.001  # seconds


def is_live(folder: Path) -> bool:
    """Tell whether a process holds the lock of a run directory, that is, is writing there.

    The question takes the lock itself for some microseconds; a writer that wants it then tries again.

    >>> is_live(Path("no/such/run"))
    False
    """
    try:
        with regular(folder / LOCK) as descriptor:
            return not _unlocked(descriptor)
    except TraceError:
        return False


def _unlocked(descriptor: int) -> bool:
    """Tell whether nobody else holds this lock."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks: nobody can write there either
        return True
    return True


class Place:
    """A run directory, watched: whether its run is being written (``"live"``), ``"ended"``, or ``"gone"``.

    Gone is a run that was removed, or that another one is taking the place of: a writer locks the directory, says
    so in the lock file, and only then removes what was there and writes ``run.json``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._identity = self._found()

    @property
    def state(self) -> str:
        """What is the case now."""
        is_locked = is_live(self._folder)
        if self._identity is None or self._found() != self._identity:
            return "gone"
        if not is_locked:
            return "ended"
        return "gone" if self._locked_at() > self._identity[2] else "live"

    def _found(self) -> tuple[int, int, int] | None:
        """Return what tells this run from others: the file that says what it is, and when it was written."""
        try:
            found = (self._folder / INFO).lstat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns

    def _locked_at(self) -> int:
        try:
            return (self._folder / LOCK).lstat().st_mtime_ns
        except OSError:
            return 0


def wait_for_run(folder: Path, seconds: float) -> None:
    """Wait until there is a run in the directory, but not longer than this."""
    end = time.monotonic() + seconds
    while not (folder / INFO).is_file() and time.monotonic() < end:
        time.sleep(0.02)


def added_rows(run: Run, start: int, poll: float) -> Iterator[dict[str, Any]]:
    """Yield the rows from position ``start`` on, and then those being added, until the writer ends."""
    if not poll >= SHORTEST_POLL:
        raise GradvizValueError(f"poll={poll!r}", hint=f"give the seconds between two looks, at least {SHORTEST_POLL}")
    return _added_rows(run, start, poll)


def _added_rows(run: Run, start: int, poll: float) -> Iterator[dict[str, Any]]:
    done = start
    while True:
        was_live = run.is_live  # asked first: what was written before the writer ended is seen below
        run.refresh()
        now = run[:]
        yield from now[done:]
        done = max(done, len(now))
        if not was_live:
            return
        time.sleep(poll)
