"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from gradviz.errors import MissingFolderError
from gradviz.escape import clean

__all__ = ["write_atomically"]


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
    target = Path(path)
    if not target.parent.is_dir():
        missing = f"there is no folder {clean(str(target.parent))!r} to write {clean(target.name)!r} to"
        raise MissingFolderError(missing, hint="make it first")
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
        Path(temporary).chmod(_permissions(target))
        Path(temporary).replace(target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    return target


def _permissions(target: Path) -> int:
    """Return the mode of the file to be replaced, or that of a new file of this user."""
    try:
        return target.stat().st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
