"""Runs behind an fsspec URL: their files are copied into a temporary folder, then read as any others.

Only files with the names that a trace writes are fetched, and not more bytes than stated here, whatever the
other side says of their sizes. The copy is of that moment: it suits runs that are finished.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path, PosixPath, WindowsPath
from typing import Any

from gradviz.errors import GradvizError, MissingExtraError, TraceError

__all__ = ["RANK_NAME", "Fetched", "fetch", "is_url", "local_folder", "remote_runs"]

RANK_NAME = re.compile(r"rank-\d{1,6}")
RUN_FILES = re.compile(
    r"run\.json|graphs\.jsonl|events\.jsonl|index\.npy|ckpt(-\d{4,6})?\.npy|(seg|leaves)-\d{4,6}\.npy"
)
RUN_LIMIT = 4 << 30  # bytes of one run
FILES_LIMIT = 200_000  # files of one run
CHUNK = 1 << 20  # bytes copied at once


class Fetched(WindowsPath if sys.platform == "win32" else PosixPath):  # type: ignore[misc]
    """A temporary folder that is removed when nobody holds it any more."""

    @classmethod
    def new(cls) -> Fetched:
        """Make an empty folder."""
        name = tempfile.mkdtemp(prefix="gradviz-run-")
        folder = cls(name)
        weakref.finalize(folder, shutil.rmtree, name, ignore_errors=True)
        return folder


def is_url(path: str | os.PathLike[str]) -> bool:
    """Tell whether fsspec is to find the path.

    >>> is_url("s3://bucket/runs/*"), is_url("zip://*::runs.zip"), is_url("C:/runs"), is_url(Path("runs"))
    (True, True, False, False)
    """
    return isinstance(path, str) and "://" in path


def local_folder(path: str | os.PathLike[str]) -> Path:
    """Return the folder to read: the path itself, or for a URL a copy of the run behind it."""
    if isinstance(path, Path):
        return path
    if not isinstance(path, str) or not is_url(path):
        return Path(path)
    with _named(path):
        system, folder = _opened(path)
        if not system.isfile(_join(folder, "run.json")):
            raise TraceError(f"there is no run in {path}", hint="a run is a directory written by gradviz.trace")
    return fetch(system, folder, path)


def remote_runs(url: str) -> tuple[Any, list[tuple[str, str | None]]]:
    """Return the file system of a URL with * in it, and the runs it matches: (folder, rank's folder or None).

    A folder that is no run stands for those in it, unless the URL has a pattern.
    """
    with _named(url):
        system, path = _opened(url)
        matched = sorted(system.glob(path)) if "*" in path or "?" in path or "[" in path else [path.rstrip("/")]
        runs = [run for folder in matched for run in _runs_in(system, folder)]
        if not runs and len(matched) == 1:
            runs = [run for folder in _folders(system, matched[0]) for run in _runs_in(system, folder)]
    return system, runs


def _runs_in(system: Any, folder: str) -> list[tuple[str, str | None]]:
    """Return the run in a folder, or those of its ranks."""
    if system.isfile(_join(folder, "run.json")):
        return [(folder, None)]
    ranks = [name for name in map(_last, _folders(system, folder)) if RANK_NAME.fullmatch(name)]
    return [(folder, rank) for rank in ranks if system.isfile(_join(folder, rank, "run.json"))]


def _folders(system: Any, folder: str) -> list[str]:
    if not system.isdir(folder):
        return []
    return sorted(entry["name"].rstrip("/") for entry in system.ls(folder, detail=True) if entry["type"] == "directory")


def fetch(system: Any, folder: str, url: str) -> Fetched:
    """Copy the files of one run into a temporary folder, which is removed with the path returned.

    Raises TraceError if they cannot be read, or are more than 4 GiB.
    """
    copy = Fetched.new()
    room = RUN_LIMIT
    with _named(url):
        names = [_last(entry["name"]) for entry in system.ls(folder, detail=True) if entry["type"] == "file"]
        wanted = sorted(filter(RUN_FILES.fullmatch, names))
        if len(wanted) > FILES_LIMIT:
            raise TraceError(f"{url} has {len(wanted)} files: the limit is {FILES_LIMIT}")
        for name in wanted:
            room -= _copied(system, _join(folder, name), copy / name, room, url)
    return copy


def _copied(system: Any, source: str, target: Path, room: int, url: str) -> int:
    """Copy one file and return its size."""
    size = 0
    with system.open(source, "rb") as file, target.open("wb") as local:
        while data := file.read(CHUNK):
            size += len(data)
            if size > room:
                raise TraceError(f"{url} has more than {RUN_LIMIT >> 30} GiB", hint="copy it and open the copy")
            local.write(data)
    return size


def _opened(url: str) -> tuple[Any, str]:
    """Return the file system and the path in it."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtraError.of("fsspec", "query") from error
    system, path = url_to_fs(url)
    return system, path


@contextlib.contextmanager
def _named(url: str) -> Iterator[None]:
    """Turn what a file system raises, which may be anything, into an error that names the URL."""
    try:
        yield
    except GradvizError:
        raise
    except ImportError as error:  # fsspec says which package is missing
        raise MissingExtraError(f"{url} needs a package: {error}") from error
    except Exception as error:
        raise TraceError(f"cannot read {url}: {type(error).__name__}: {str(error)[:500]}") from error


def _join(*parts: str) -> str:
    return "/".join(part for part in parts if part)


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
