"""The ``dot`` program of the machine, treated as a child that may hang, lie or die."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import IO

from gradviz import escape
from gradviz.errors import LayoutError, LayoutTimeoutError

__all__ = ["render"]

LARGEST = 256 * 1024 * 1024
INSTALL = (
    'install Graphviz (apt install graphviz, brew install graphviz, winget install graphviz) or use engine="embedded"'
)
SMALLER = "draw less of it with fold=True, collapse=1 or focus=name, or read it as text (.txt)"


def render(dot: str, timeout: float) -> bytes:
    """Return what ``dot -Tsvg`` makes of ``dot``.

    Raises `LayoutError` where there is no ``dot``, when it fails and when it writes more
    than 256 MiB, and `LayoutTimeoutError` after ``timeout`` seconds; then its whole process
    group has been ended.
    """
    program = shutil.which("dot")
    if program is None:
        raise LayoutError("no program named dot is on the PATH", hint=INSTALL)
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as complaints:
        source.write(dot.encode())
        source.seek(0)
        with _child(program, source, complaints) as child:
            svg = _output(child, timeout)
        complaints.seek(0)
        said = escape.clean(complaints.read(2000).decode(errors="replace").strip())
    if child.returncode != 0:
        raise LayoutError(f"dot failed with exit status {child.returncode}{said and ': ' + said}", hint=INSTALL)
    return svg


@contextlib.contextmanager
def _child(program: str, source: IO[bytes], complaints: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``dot`` in a process group of its own, which does not outlive the block."""
    child = subprocess.Popen(
        [program, "-Tsvg"], stdin=source, stdout=subprocess.PIPE, stderr=complaints, start_new_session=True
    )
    try:
        yield child
    finally:
        _end(child)


def _output(child: subprocess.Popen[bytes], timeout: float) -> bytes:
    """Read the child's output in a thread, so that a child that never ends cannot hold us."""
    deadline = time.monotonic() + timeout
    chunks: list[bytes] = []
    reader = threading.Thread(target=_read, args=(child.stdout, chunks), daemon=True)
    reader.start()
    reader.join(timeout)
    try:
        if reader.is_alive():
            raise subprocess.TimeoutExpired(child.args, timeout)
        if sum(map(len, chunks)) > LARGEST:
            raise LayoutError(f"dot wrote more than {LARGEST:,} bytes and was stopped", hint=SMALLER)
        child.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise LayoutTimeoutError(f"dot took longer than {timeout:g} s and was stopped", hint=SMALLER) from None
    finally:
        _end(child)
        reader.join(1.0)
        if child.stdout is not None and not reader.is_alive():
            child.stdout.close()
    return b"".join(chunks)


def _read(stream: IO[bytes], chunks: list[bytes]) -> None:
    size = 0
    with contextlib.suppress(ValueError, OSError):  # the stream was closed when the child was ended
        while size <= LARGEST and (chunk := stream.read(65_536)):
            chunks.append(chunk)
            size += len(chunk)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child's process group, if it still runs, and reap it."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL) if hasattr(os, "killpg") else child.kill()
        child.wait()
