"""`open_runs`: many runs, or the ranks of one, as one sequence and one table."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from gradviz.errors import GradvizError, GradvizIndexError, GradvizTypeError, TraceError, UnknownNameError
from gradviz.escape import clean
from gradviz.tracing.fetching import RANK_NAME, fetch, is_url, remote_runs
from gradviz.tracing.fields import unique
from gradviz.tracing.opening import NO_MORE_FILES
from gradviz.tracing.reading import Run, open_run

if TYPE_CHECKING:
    from gradviz.rules import Finding
    from gradviz.tracing.rankdiff import RanksDiff

__all__ = ["Member", "Runs", "open_runs"]

PATTERN = re.compile(r"[*?\[]")
NUMBER = re.compile(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)")
HINT = "a run is a directory written by gradviz.trace"


@dataclass(frozen=True, slots=True)
class Member:
    """One run among many: ``run`` is the name of its directory, ``name`` has the rank as well."""

    name: str
    run: str
    rank: int
    opened: Run


@dataclass(frozen=True, slots=True)
class _Found:
    """Where a run lies: the parts of its path, the folder of its rank if it has one, and how to open it."""

    parts: tuple[str, ...]
    rank: str | None
    path: Path | None = None
    system: Any = None
    folder: str = ""

    def open(self) -> Run:
        """Open it, from here or from afar."""
        return open_run(self.path or fetch(self.system, self.folder, self.folder))


def open_runs(patterns: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Runs:
    """Open many runs at once: ``open_runs("runs/*")``.

    ``patterns`` is a path, a pattern with ``*``, ``?`` or ``[...]``, an fsspec URL (``s3://...``,
    ``zip://*::runs.zip``), or several of these. A directory that is no run stands for the runs in it, and
    one with ``rank-000``, ``rank-001``, ... for a run per rank. A run that cannot be read does not stop the
    others: ``runs.damage`` names it. Raises TraceError if no run can be opened.

    >>> open_runs("no/such/runs/*")
    Traceback (most recent call last):
        ...
    gradviz.errors.TraceError: there is no run in no/such/runs/*
      a run is a directory written by gradviz.trace
    """
    given = [patterns] if isinstance(patterns, str | os.PathLike) else list(patterns)
    found: list[_Found] = []
    notes: list[str] = []
    for pattern in given:
        try:
            found += _matching(pattern, notes)
        except TraceError as error:
            notes.append(error.message)
    members = _opened(found, notes)
    if not members:
        raise TraceError("; ".join(notes[:3]) or "no run was given", hint=HINT)
    return Runs(members, notes)


def _matching(pattern: str | os.PathLike[str], notes: list[str]) -> list[_Found]:
    """Return the runs that one pattern matches, in natural order."""
    if not isinstance(pattern, str | os.PathLike):
        raise GradvizTypeError(f"a pattern is a text or a path, not {type(pattern).__name__}")
    is_remote = isinstance(pattern, str) and is_url(pattern)
    found = list(_remote(os.fspath(pattern)) if is_remote else _local(os.fspath(pattern), notes))
    if not found:
        raise TraceError(f"there is no run in {pattern}", hint=HINT)
    return sorted(found, key=lambda one: [_natural(part) for part in (*one.parts, one.rank or "")])


def _remote(url: str) -> Iterator[_Found]:
    system, runs = remote_runs(url)
    for folder, rank in runs:
        parts = tuple(part for part in folder.split("/") if part) or (_stem(url),)
        yield _Found(parts, rank, system=system, folder=f"{folder}/{rank}" if rank else folder)


def _stem(url: str) -> str:
    """Return a name for a run at the root of an archive.

    >>> _stem("zip://::s3://bucket/run.zip")
    'run'
    """
    return re.split(r"[/:]", url)[-1].partition(".")[0] or "run"


def _local(pattern: str, notes: list[str]) -> Iterator[_Found]:
    path = Path(pattern)
    if path.is_dir():
        own = _runs_in(path, notes)
        yield from own or (run for folder in _entries(path, notes) for run in _runs_in(folder, notes))
    elif PATTERN.search(pattern):
        for matched in glob.glob(pattern, recursive=True):  # noqa: PTH207 - Path.glob takes no absolute pattern
            yield from _runs_in(Path(matched), notes)


def _runs_in(folder: Path, notes: list[str]) -> list[_Found]:
    """Return the run in a folder, or those of its ranks; a folder that cannot be looked into is named."""
    parts = Path(os.path.abspath(folder)).parts  # noqa: PTH100 - links stay as they are
    try:
        if (folder / "run.json").is_file():
            is_rank = RANK_NAME.fullmatch(parts[-1]) is not None
            return [_Found(parts[:-1] if is_rank else parts, parts[-1] if is_rank else None, folder)]
        ranks = filter(_is_rank, _entries(folder, notes)) if folder.is_dir() else []
        return [_Found(parts, rank.name, rank) for rank in ranks]
    except OSError as error:
        notes.append(f"{folder.name}: cannot be looked into: {error.strerror}")
        return []


def _entries(folder: Path, notes: list[str]) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        notes.append(f"{folder.name}: cannot be listed: {error.strerror}")
        return []


def _is_rank(folder: Path) -> bool:
    """Tell whether this is the run of a rank, and no link to somewhere else."""
    return bool(RANK_NAME.fullmatch(folder.name)) and not folder.is_symlink() and (folder / "run.json").is_file()


def _natural(text: str) -> tuple[list[tuple[int, float | str]], str]:
    """Return a key that sorts by the numbers in a text: ``lr-1e-3``, ``lr-0.02``, ``lr-10``."""
    parts = ((NUMBER.fullmatch(part), part) for part in NUMBER.split(text) if part)
    return [(0, float(part)) if number else (1, part) for number, part in parts], text


def _opened(found: list[_Found], notes: list[str]) -> list[Member]:
    """Open each once, and name those that cannot be read."""
    once = list({(one.parts, one.rank, one.path is None): one for one in found}.values())
    names = _names({one.parts: None for one in once})
    names = dict(zip(names, unique(names.values()), strict=True))
    members: list[Member] = []
    for one in once:
        run = names[one.parts]
        name = f"{run}/{one.rank}" if one.rank else run
        try:
            opened = one.open()
        except GradvizError as error:
            _refuse_if_full(error, len(members))
            notes.append(f"{name}: {error.message}")
        else:
            members.append(Member(name, run, _rank(one, opened), opened))
    return members


def _refuse_if_full(error: GradvizError, opened: int) -> None:
    """Raise if it is not the run that is at fault, but the count of open files."""
    if getattr(error, "errno", None) in NO_MORE_FILES:
        raise TraceError(
            f"after {opened} runs the system gives this process no more open files",
            hint="open fewer at once, or raise the limit: ulimit -n",
        ) from error


def _rank(one: _Found, opened: Run) -> int:
    return int(one.rank.rpartition("-")[2]) if one.rank else opened.rank


def _names(paths: Collection[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Return the shortest ends of the paths that are all different.

    >>> list(_names([("a", "x"), ("b", "x"), ("b", "y")]).values())
    ['a/x', 'b/x', 'y']
    """
    waiting = list(paths)
    names: dict[tuple[str, ...], str] = {}
    for length in range(1, max(map(len, waiting), default=0) + 1):
        ends = ["/".join(path[-length:]) for path in waiting]
        often = Counter(ends)
        names |= {p: end for p, end in zip(waiting, ends, strict=True) if often[end] == 1 or length >= len(p)}
        waiting = [path for path in waiting if path not in names]
    return {path: names[path] for path in paths}


class Runs(Sequence[Run]):
    """Runs beside each other; see `open_runs`.

    ``runs[0]`` and ``runs["lr-0.1"]`` are one `Run`, ``runs["lr-*"]`` and ``runs[2:5]`` some of them,
    ``runs.query(sql)`` asks about all, and ``runs.findings()`` judges them.
    """

    def __init__(self, members: Sequence[Member], notes: Sequence[str] = ()) -> None:
        self.members = tuple(members)
        self._notes = list(notes)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the runs: their directories, as far as needed to tell them apart, and the ranks."""
        return tuple(member.name for member in self.members)

    @property
    def damage(self) -> list[str]:
        """Everything that is wrong, in words that begin with the run's name. This reads all files."""
        return [*self._notes, *(f"{m.name}: {note}" for m in self.members for note in m.opened.damage)]

    def to_pandas(self) -> Any:
        """Return one DataFrame with a row for every iteration of every run (extra ``query``).

        Its columns are ``run, rank, step, time, loss``, the keys of the runs' ``meta``, every scalar parameter
        and gradient (``w``, ``w.grad``), and the norms of arrays (``W.norm``, ``W.grad.norm``).
        """
        from gradviz.tracing.warehouse import long_table

        return long_table(self.members)

    def query(self, sql: str) -> Any:
        """Answer an SQL question with DuckDB, as a DataFrame (extra ``query``).

        The table ``runs`` is that of `to_pandas`, ``meta`` has one row per run. A number that was not
        recorded is NULL. The SQL cannot read or write any file. Raises GradvizValueError if DuckDB
        does not understand it.
        """
        from gradviz.tracing.warehouse import ask, tables_of

        return ask(tables_of(self.members), sql)

    def findings(self, rules: Iterable[str] | Mapping[str, Mapping[str, Any]] | None = None) -> list[Finding]:
        """Judge every run by the health rules, and the ranks of one against each other; the most serious comes first.

        ``finding.run`` and ``finding.ranks`` say which it is about; what is so on several ranks is said once. ``rules``
        names those to ask, or maps them to thresholds.
        """
        from gradviz.tracing.judging import findings_of

        return findings_of(self.members, rules)

    def by_rank(self) -> RanksDiff:
        """Compare the ranks of a run with each other: parameters, gradients and structure, bit for bit.

        The result is true when they differ, prints as a few lines, and has ``to_dict()``. Raises TraceError if these
        are not the ranks of one run, or if there is only one.
        """
        from gradviz.tracing.acrossranks import Ranks
        from gradviz.tracing.rankdiff import compare_ranks

        runs = {member.run for member in self.members}
        if len(runs) != 1 or self.members[0].name == self.members[0].run:
            raise TraceError(
                "these are not the ranks of one run", hint="open the folder that holds rank-000, rank-001, ..."
            )
        ranks = Ranks(self.members[0].run, self.members)
        if len(ranks.ranks) < 2:
            raise TraceError(
                f"of {self.members[0].run} there is rank {ranks.ranks[0]} only: nothing to compare it with"
            )
        return compare_ranks(ranks)

    def summary(self) -> str:
        """Return a line of text for every run: steps, first, last and least loss, and its ``meta``."""
        from gradviz.tracing.table import comparison

        return comparison(self.members, self._notes)

    def __len__(self) -> int:
        return len(self.members)

    @overload
    def __getitem__(self, key: int) -> Run: ...
    @overload
    def __getitem__(self, key: slice) -> Runs: ...
    @overload
    def __getitem__(self, key: str) -> Any: ...
    def __getitem__(self, key: int | slice | str) -> Any:
        if isinstance(key, slice):
            return Runs(self.members[key], self._notes)
        if isinstance(key, str):
            return self._named(key)
        if not -len(self) <= key < len(self):
            raise GradvizIndexError(f"there is no run {key}: there are {len(self)}")
        return self.members[key].opened

    def _named(self, name: str) -> Run | Runs:
        for member in self.members:
            if member.name == name:
                return member.opened
        some = [m for m in self.members if fnmatchcase(m.name, name)]
        if not some:
            raise UnknownNameError.among("run", name, self.names)
        return Runs(some, self._notes)

    def __repr__(self) -> str:
        shown = ", ".join(clean(name) for name in self.names[:8]) + (", ..." if len(self) > 8 else "")
        wrong = f", {len(self._notes)} not read" if self._notes else ""
        return f"Runs({len(self)} runs{wrong}: {shown})"
