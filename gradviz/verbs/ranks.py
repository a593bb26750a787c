"""Runs of several processes on the command line: telling them from others, and showing them."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradviz.errors import UsageError
from gradviz.escape import clean
from gradviz.style.wording import format_number
from gradviz.verbs.output import console, say, write_json
from gradviz.verbs.sizes import plain

if TYPE_CHECKING:
    from gradviz.rules.ranks import Ending
    from gradviz.tracing.acrossranks import Ranks

__all__ = ["has_ranks", "show_ranks"]

ROWS_SHOWN = 64
DIGITS = 6


def has_ranks(path: str) -> bool:
    """Tell whether a folder is no run itself, but holds the runs of several processes: rank-000, rank-001, ...

    >>> has_ranks("no/such/run")
    False
    """
    folder = Path(path)
    if not folder.is_dir() or (folder / "run.json").is_file():
        return False
    return any(not found.parent.is_symlink() for found in folder.glob("rank-*/run.json"))


def show_ranks(given: Namespace) -> int:
    """Show the processes of a run, a line each; return 1 if one is damaged."""
    from gradviz.tracing.acrossranks import Ranks
    from gradviz.tracing.many import open_runs

    if given.csv:
        raise UsageError("--csv is of one process", hint=f"gradviz show {given.run_path}/rank-000 --csv")
    runs = open_runs(given.run_path)
    ranks = Ranks(given.run_path, runs.members)
    if given.json:
        write_json(_summary(ranks, runs.damage))
    else:
        _print(ranks)
    for note in runs.damage:
        say(f"gradviz: damaged: {note}")
    return 1 if runs.damage else 0


def _summary(ranks: Ranks, damage: list[str]) -> dict[str, Any]:
    return {
        "run": ranks.name,
        "world_size": ranks.world_size,
        "layout": ranks.layout,
        "absent": list(ranks.absent),
        "left_over": list(ranks.strangers),
        "ranks": [_rank(ranks, end) for end in ranks.endings],
        "parameters": list(ranks.names),
        "meta": ranks.runs[ranks.ranks[0]].meta,
        "damage": damage,
    }


def _rank(ranks: Ranks, end: Ending) -> dict[str, Any]:
    run = ranks.runs[end.rank]
    return {
        "rank": end.rank,
        "steps": end.steps,
        "last_step": end.last,
        "seconds": float(run.times[-1] - run.times[0]) if len(run) else None,
        "first_loss": plain(run.loss[0]) if len(run) else None,
        "last_loss": plain(run.loss[-1]) if len(run) else None,
        "end": end.how,
        "error": end.error or None,
    }


def _print(ranks: Ranks) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out = console()
    count = f"{len(ranks.ranks)} of {ranks.world_size} ranks" if ranks.absent else f"{len(ranks.ranks)} ranks"
    layout = f", {ranks.layout}" if ranks.layout else ""
    names = f"{len(ranks.names)} parameter{'s' * (len(ranks.names) != 1)}"
    out.print(Text(clean(f"{ranks.name}: {count}{layout}, {names}")), soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("rank", "steps", "last step", "seconds", "first loss", "last loss"):
        table.add_column(heading, justify="right")
    table.add_column("end")
    for end in ranks.endings[:ROWS_SHOWN]:
        row = _rank(ranks, end)
        numbers = (row[key] for key in ("steps", "last_step", "seconds", "first_loss", "last_loss"))
        table.add_row(str(end.rank), *map(_cell, numbers), Text(_END[end.how] + clean(end.error)))
    out.print(table)
    if len(ranks.endings) > ROWS_SHOWN:
        out.print(Text(f"... and {len(ranks.endings) - ROWS_SHOWN} more ranks (--json has all)"))
    for key, value in ranks.runs[ranks.ranks[0]].meta.items():
        out.print(Text(clean(f"{key} = {value}")), soft_wrap=True)


_END = {"live": "still running", "closed": "closed", "error": "ended by ", "cut": "stopped without a word"}


def _cell(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else format_number(value, DIGITS)
