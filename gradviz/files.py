"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gradviz.errors import MissingFolderError
from gradviz.escape import clean

__all__ = ["replacing", "write_atomically"]


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    r"""Give an empty temporary file in the folder of ``path``, and put it in its place at the end.

    The old file stays whole until then. Raises `MissingFolderError` where the folder is missing,
    otherwise what the operating system raises (``OSError``); after any error nothing is left behind.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "note.txt") as temporary:
    ...         _ = temporary.write_text("one\n")
    ...     [path.name for path in Path(folder).iterdir()]
    ['note.txt']
    """
    target = Path(path)
    if not target.parent.is_dir():
        missing = f"there is no folder {clean(str(target.parent))!r} to write {clean(target.name)!r} to"
        raise MissingFolderError(missing, hint="make it first")
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(_permissions(target))
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: str | os.PathLike[str], data: bytes | str) -> Path:
    r"""Write ``data`` to ``path`` by way of a temporary file in the same folder, and return the path.

    The old file stays whole until the new one is complete; text is written as UTF-8 with
    its newlines as they are. Raises `MissingFolderError` where the folder is missing, otherwise
    what the operating system raises (``OSError``), and leaves nothing behind when it does.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_atomically(Path(folder) / "note.txt", "one\n")
    ...     path.read_text()
    'one\n'
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)
    return Path(path)


def _permissions(target: Path) -> int:
    """Return the mode of the file to be replaced, or that of a new file of this user."""
    try:
        return target.stat().st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
