"""Writing a run directory: one writer at a time, rows that are whole at every moment.

=================== ====================================================================================
``run.json``        versions, threads, the names recorded, the user's ``meta``
``graphs.jsonl``    one line per segment: its columns, its graph and their fingerprint
``seg-NNNN.npy``    the rows of segment ``NNNN`` (see `gradviz.tracing.layout`)
``leaves-NNNN.npy`` the inputs and constants at the first step of that segment, for replay
``index.npy``       ``(step, segment, row)`` in order, once more than one segment has occurred
``ckpt.npy``        rows of all parameters, and of the optimizer's state, at every so manieth step; one of another
                    layout (say, with the state that the optimizer has from its first step on) is ``ckpt-0001.npy``
``events.jsonl``    what happened beside the numbers, one line each
``writer.lock``     locked while somebody writes; holds the process id
=================== ====================================================================================

Two structures never share a segment. A structure whose inputs begin to change goes on in a new segment, whose line
says ``"continues": M``: its graph and its first leaves are those of segment ``M``. A line ``{"checkpoints": N, ...}``
lists the columns of the N-th checkpoint file.

The JSON files carry a CRC-32 of themselves as ``checksum``. A row is stored first and counted after, by
overwriting 16 characters of the ``.npy`` header, so `numpy.load` sees every completed row at every moment,
also after the process was killed. Nothing is lost by a killed process; a machine that loses power may lose
what the operating system had not yet written.
"""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
import re
import stat
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from io import FileIO
from itertools import count
from pathlib import Path
from typing import Any

from gradviz.errors import GradvizValueError, TraceBusyError, TraceError
from gradviz.files import write_atomically
from gradviz.tracing.layout import COUNT_AT, COUNT_END
from gradviz.tracing.seals import sealed, unsealed

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["EXIST", "FilePool", "RowFile", "RunDirectory", "SingleRow", "sealed", "trouble", "unsealed"]

FORMAT = "gradviz-trace"
VERSION = 1
EXIST = ("number", "overwrite", "error")
OWN_FILES = re.compile(r"run\.json|(graphs|events)\.jsonl|(index|ckpt)\.npy|(seg|leaves|ckpt)-\d{4,6}\.npy")
DRAFTS = re.compile(
    rf"\.(run\.json\.\w{{8}}|{OWN_FILES.pattern})"
)  # what a process killed while creating a file leaves
INFO = "run.json"
LOCK = "writer.lock"
PAGE = 1 << 12  # bytes: giving back a part of one costs nothing
LARGEST_CHUNK = 1 << 22  # bytes by which a file of small rows grows; at first it doubles
SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)  # follow no planted link
LOCK_PAUSES = (0.001, 0.003, 0.01, 0.03)  # seconds between attempts
PARTS_LIMIT = 512  # buffers in one writev; every system takes 1024


class FilePool:
    """Keeps the number of open files small: a thousand structures in one run need no thousand of them."""

    def __init__(self, limit: int = 32) -> None:
        self._limit = limit
        self._open: dict[RowFile, None] = {}

    def opened(self, file: RowFile) -> None:
        """Note that a file is open, and close the one opened longest ago if there are too many."""
        self._open.pop(file, None)
        self._open[file] = None
        if len(self._open) > self._limit:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.close()

    def close(self) -> None:
        """Close what is open, also a file whose maker was interrupted."""
        while self._open:
            self._open.popitem()[0].close()


class RowFile:
    """A ``.npy`` file that rows are appended to.

    Small rows are stored through a memory map of a file that grows by whole chunks, whose space is
    claimed beforehand: a full disk is an error at that moment and never a bus error later. Large
    rows are appended by one ``writev``. An interrupted or failed append leaves the rows before it.
    """

    def __init__(
        self, path: Path, header: bytes, itemsize: int, *, is_large: bool = False, pool: FilePool | None = None
    ) -> None:
        self.path = path
        self._pool = pool or FilePool()
        self.count = 0
        self.start = len(header)
        self._itemsize = itemsize
        self._is_large = is_large
        self.store: mmap.mmap | None = None
        self.room = 0
        with trouble(f"cannot create {path.name}", path), _all_or_nothing(path):
            self._file = _new_file(path, [header])
            try:
                self._open_map()
            except BaseException:
                self._file.close()
                raise

    def append(self, row: bytes) -> None:
        """Store one small row, then count it."""
        self.reserve()
        start = self._end
        store: Any = self.store
        store[start : start + self._itemsize] = row
        store[COUNT_AT:COUNT_END] = b"%16d" % (self.count + 1)
        self.count += 1

    def append_parts(self, parts: Sequence[Any]) -> None:
        """Append one large row, given as C-contiguous buffers, then count it."""
        if self.store is None:
            self._reopen()
        with trouble(f"cannot write row {self.count}", self.path, f"the {self.count} rows before it are intact"):
            _write_all(self._file.fileno(), parts, self._end)
        store: Any = self.store
        store[COUNT_AT:COUNT_END] = b"%16d" % (self.count + 1)
        self.count += 1

    @property
    def _end(self) -> int:
        """Where the next row begins."""
        return self.start + self.count * self._itemsize

    def reserve(self) -> None:
        """Claim the room for one more small row, so that appending it cannot fail for want of it."""
        end = self._end + self._itemsize
        if end > self.room:
            self.grow(end)

    def grow(self, end: int) -> None:
        """Claim more room on the disk and map it."""
        if self.store is None:
            self._reopen()
            if end <= self.room:
                return
        size = os.fstat(self._file.fileno()).st_size
        wanted = max(end, size + min(size, LARGEST_CHUNK))
        more = -(-wanted // PAGE) * PAGE - size
        with trouble(f"cannot write row {self.count}", self.path, f"the {self.count} rows before it are intact"):
            _claim(self._file.fileno(), size, more)
            self._open_map()

    def _open_map(self) -> None:
        """Map the header, and for small rows the rest of the file."""
        size = self.start if self._is_large else os.fstat(self._file.fileno()).st_size
        self.store = mmap.mmap(self._file.fileno(), size)
        self.room = size
        self._pool.opened(self)

    def _reopen(self) -> None:
        with trouble(f"cannot reopen {self.path.name}", self.path):
            self._file = _opened(self.path, os.O_RDWR)
            self._open_map()

    def close(self) -> None:
        """Give the unused room back and let the file go; the next append opens it again."""
        if self.store is None:
            return
        self.store.close()
        self.store = None
        self.room = 0
        with self._file:
            self._file.truncate(self._end)

    @contextlib.contextmanager
    def or_nothing(self) -> Iterator[None]:
        """Remove the file if what is done meanwhile fails."""
        try:
            yield
        except BaseException:
            self.close()
            self.path.unlink(missing_ok=True)
            raise

    def abandon(self) -> None:
        """Let the file go without touching it (in a forked child)."""
        self.store = None
        self._file.close()


class SingleRow:
    """A ``.npy`` file of one row, which is whole from its first moment on."""

    def __init__(self, path: Path, header: bytes) -> None:
        self.path = path
        self.count = 0
        self._header = header[:COUNT_AT] + b"%16d" % 1 + header[COUNT_END:]

    def append(self, row: bytes) -> None:
        """Write the row."""
        self.append_parts([row])

    def append_parts(self, parts: Sequence[Any]) -> None:
        """Write the row, given as C-contiguous buffers."""
        with trouble(f"cannot write {self.path.name}", self.path), _all_or_nothing(self.path):
            _new_file(self.path, [self._header, *parts]).close()
        self.count = 1


class RunDirectory:
    """A run directory that this process, and no other, writes to."""

    def __init__(self, path: str | os.PathLike[str], *, exist: str = "number") -> None:
        if exist not in EXIST:
            raise GradvizValueError(f"exist={exist!r}", hint=f"choose one of {', '.join(EXIST)}")
        self.path = Path(path)
        with trouble(f"cannot make the run directory {self.path}", self.path):
            self._lock = _claimed(self.path, exist)

    def write_info(self, info: Mapping[str, Any]) -> None:
        """Write ``run.json``."""
        text = json.dumps(sealed({"format": FORMAT, "version": VERSION, **info}), indent=1)
        with trouble("cannot write run.json", self.path):
            write_atomically(self.path / INFO, text + "\n")

    def append_line(self, name: str, record: Mapping[str, Any]) -> None:
        """Append one sealed line to ``graphs.jsonl`` or ``events.jsonl``, or none."""
        line = json.dumps(sealed(record)) + "\n"
        path = self.path / name
        with trouble(f"cannot write {name}", path), _opened(path, os.O_RDWR | os.O_CREAT) as file:
            end = file.seek(0, os.SEEK_END)
            try:
                _write_all(file.fileno(), [line.encode()], end)
            except BaseException:
                file.truncate(end)
                raise

    def close(self) -> None:
        """Let another process write here."""
        self._lock.close()


@contextlib.contextmanager
def trouble(what: str, path: Path, hint: str = "") -> Iterator[None]:
    """Turn an error of the operating system into a TraceError that says what was being done."""
    try:
        yield
    except TraceError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raised = TraceError(f"{what}: {reason}", hint=hint, where=str(path))
        raised.errno = error.errno
        raise raised from error


def _claimed(path: Path, exist: str) -> FileIO:
    """Make the directory ours and return its locked lock file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir()
        return _locked(path)
    if path.is_symlink() or not path.is_dir():
        raise TraceError(f"{path} is not a directory", hint="a run is written to a directory of its own")
    found = {entry.name for entry in path.iterdir()} - {LOCK}
    drafts = set(filter(DRAFTS.fullmatch, found))
    names = found - drafts
    if names and not _is_run(path):
        shown = ", ".join(sorted(names)[:3])
        raise TraceError(f"{path} holds files that are no run ({shown})", hint="choose a new or empty directory")
    if names and exist == "error":
        raise TraceError(f"{path} already holds a run", hint='pass exist="number" or exist="overwrite"')
    lock = _locked(path)
    if names and exist == "number":
        return _moved_aside(path, lock)
    for name in sorted(
        drafts.union(filter(OWN_FILES.fullmatch, names)), key=INFO.__eq__
    ):  # what names it a run is last
        (path / name).unlink()
    return lock


def _moved_aside(path: Path, lock: FileIO) -> FileIO:
    """Rename the older run to ``NAME.1``, ``NAME.2``, ... and begin anew under its name."""
    older = next(name for i in count(1) if not os.path.lexists(name := path.with_name(f"{path.name}.{i}")))
    path.rename(older)
    path.mkdir()
    fresh = _locked(path)
    lock.close()
    return fresh


def _is_run(path: Path) -> bool:
    """Tell whether the directory was written by this program."""
    info = path / INFO
    if not info.exists() or not stat.S_ISREG(info.lstat().st_mode):
        return False
    with info.open("rb") as file:
        return f'"{FORMAT}"'.encode() in file.read(200)


def _locked(path: Path) -> FileIO:
    """Open and lock the lock file, or say who has it."""
    file = _opened(path / LOCK, os.O_RDWR | os.O_CREAT)
    try:
        _lock(file.fileno())
    except OSError as error:
        with file:
            raise _busy(path, file) from error
    if not os.path.samestat(os.fstat(file.fileno()), os.lstat(path / LOCK)):
        with file:  # somebody has moved the directory aside meanwhile, and begun another
            raise _busy(path, file)
    file.truncate(0)
    file.write(f"{os.getpid()}\n".encode())
    return file


def _busy(path: Path, file: FileIO) -> TraceBusyError:
    owner = re.sub(rb"\D", b"", file.read(20)).decode() or "unknown"
    return TraceBusyError(f"process {owner} is writing to {path}", hint="wait for it, or trace to another directory")


def _opened(path: Path, flags: int) -> FileIO:
    """Open a file for reading and writing, unbuffered, and never through a link."""
    return FileIO(os.open(path, flags | SAFELY, 0o666), "r+")


def _new_file(path: Path, content: Sequence[Any]) -> FileIO:
    """Create a file that has this content from its first moment on: a killed process leaves all of it or none."""
    draft = path.with_name(f".{path.name}")
    with _all_or_nothing(draft), _opened(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL) as file:
        _write_all(file.fileno(), content, 0)
    draft.rename(path)
    return _opened(path, os.O_RDWR)


@contextlib.contextmanager
def _all_or_nothing(path: Path) -> Iterator[None]:
    """Remove the file that is being made if that fails; one that was there before is an error and stays."""
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _lock(descriptor: int) -> None:
    """Lock a file for this process, or raise; who only asks whether a run is live has it for microseconds."""
    for pause in LOCK_PAUSES:
        try:
            return _lock_at_once(descriptor)
        except OSError:
            time.sleep(pause)
    return _lock_at_once(descriptor)


def _lock_at_once(descriptor: int) -> None:
    if sys.platform == "win32":
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _claim(descriptor: int, start: int, length: int) -> None:
    """Lengthen a file by zeros for which there is room on the disk."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, start, length)
        return
    _write_all(descriptor, [bytes(length)], start)


def _write_all(descriptor: int, parts: Sequence[Any], start: int) -> None:
    """Write the buffers one after the other, in one call if the system takes them all."""
    waiting = [memoryview(part).cast("B") for part in parts if memoryview(part).nbytes]
    while waiting:
        written = _write_some(descriptor, waiting[:PARTS_LIMIT], start)
        start += written
        while waiting and written >= len(waiting[0]):
            written -= len(waiting.pop(0))
        if written:
            waiting[0] = waiting[0][written:]


def _write_some(descriptor: int, parts: Sequence[memoryview], start: int) -> int:
    if hasattr(os, "pwritev"):
        return os.pwritev(descriptor, parts, start)
    os.lseek(descriptor, start, os.SEEK_SET)
    return os.write(descriptor, b"".join(parts))
