"""The compiled Graphviz, kept in the user's cache folder so that only the first start is slow.

Loading a compiled module runs its native code, so a file counts only if this user alone
could have written it and its checksum is right; anything else is as good as no file.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import stat
import sys
from pathlib import Path

from gradviz.files import write_atomically

__all__ = ["cache_folder", "load", "store"]

MAGIC = b"gradviz compiled module 1\n"
DIGEST = hashlib.sha256().digest_size
LARGEST = 64 * 1024 * 1024
NOT_FOLLOWED = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


def cache_folder() -> Path | None:
    """Return the folder for compiled modules, or None where this user has no private one.

    It is ``gradviz`` in ``$XDG_CACHE_HOME`` or the system's own place for caches, made with
    mode 0700 if need be. A folder of another user, a link, or one that others may enter is
    not used.

    >>> folder = cache_folder()
    >>> folder is None or folder.name
    'gradviz'
    """
    try:
        folder = _caches() / "gradviz"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder if _is_private(folder.lstat()) else None
    except (OSError, RuntimeError):  # read-only disk, no home folder
        return None


def _caches() -> Path:
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    if Path(chosen).is_absolute():
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path.home() / ".cache"


def _is_private(status: os.stat_result) -> bool:
    return stat.S_ISDIR(status.st_mode) and _is_ours(status) and not _others_may(status, 0o077)


def _is_ours(status: os.stat_result) -> bool:
    return sys.platform == "win32" or status.st_uid == os.geteuid()


def _others_may(status: os.stat_result, bits: int) -> bool:
    return sys.platform != "win32" and bool(status.st_mode & bits)


def _file(wasm: bytes) -> Path | None:
    folder = cache_folder()
    if folder is None:
        return None
    key = hashlib.sha256(importlib.metadata.version("wasmtime").encode() + b"\0" + wasm)
    return folder / f"graphviz-{key.hexdigest()[:32]}.cwasm"


def load(wasm: bytes) -> bytes | None:
    """Return what `store` kept for the module ``wasm``, or None if there is nothing to trust."""
    path = _file(wasm)
    if path is None:
        return None
    try:
        content = _read_own_file(path)
    except OSError:
        return None
    digest = content[len(MAGIC) : len(MAGIC) + DIGEST]
    compiled = content[len(MAGIC) + DIGEST :]
    whole = content.startswith(MAGIC) and hashlib.sha256(compiled).digest() == digest
    return compiled if whole else None


def _read_own_file(path: Path) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | NOT_FOLLOWED), "rb") as file:
        status = os.fstat(file.fileno())
        safe = stat.S_ISREG(status.st_mode) and _is_ours(status) and not _others_may(status, 0o022)
        return file.read() if safe and status.st_size <= LARGEST else b""


def store(wasm: bytes, compiled: bytes) -> None:
    """Keep ``compiled`` for the module ``wasm``; where that is not possible, do nothing."""
    path = _file(wasm)
    if path is None:
        return
    with contextlib.suppress(OSError):  # a full or read-only disk only makes the next start slower
        path.unlink(missing_ok=True)
        write_atomically(path, MAGIC + hashlib.sha256(compiled).digest() + compiled)
        path.chmod(0o600)
