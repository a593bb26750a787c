"""``python -m benchmarks``: measure, print the tables, and write them down where asked."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks import (
    arrays,
    compiled,
    debugging,
    memory,
    readback,
    report,
    scalar,
    scale,
    sinks,
    torch_capture,
    traced,
)
from benchmarks.compiled import Replayed
from benchmarks.contestants import CONTESTANTS, Contestant, installed, versions
from benchmarks.debugging import Cost
from benchmarks.harness import Effort, Row, Workload, measure
from benchmarks.memory import Footprint
from benchmarks.readback import Kill, Look
from benchmarks.scale import Size
from benchmarks.torch_capture import Watched
from benchmarks.traced import Overhead
from gradviz.files import write_atomically


class Logs(NamedTuple):
    """What was measured of traces and other logs, of the debugger, and of watching PyTorch."""

    overheads: Sequence[Overhead]
    looks: Sequence[Look]
    kills: Sequence[Kill]
    costs: Sequence[Cost]
    replays: Sequence[Replayed]
    watched: Sequence[Watched]
    sizes: Sequence[Size]


QUICK_PATIENCE = 5.0  # seconds for a picture of a large graph
QUICK = Effort(rounds=1, block=0.002, patience=0.5)
MEMORY = "memory"
DEBUG = "debug"


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for; 1 when somebody's gradient was wrong."""
    options = arguments(argv)
    progress = Console(stderr=True)
    contestants, missing = installed(options.against)
    for name in missing:
        progress.print(f"{name}: not installed", style="yellow")
    effort = QUICK if options.quick else Effort(rounds=options.rounds)
    rows = list(race(selected(options.only), contestants, effort, progress))
    prints = memory.footprints(contestants) if fnmatch(MEMORY, options.only) else []
    logs = Logs(
        list(traced.overheads(contestants, effort, options.only)),
        readback.looks(contestants, effort, options.only),
        readback.kills(contestants, effort, options.only),
        list(debugging.costs(effort)) if fnmatch(DEBUG, options.only) and ours(contestants) else [],
        list(compiled.replayed(contestants, effort, options.only)),
        list(torch_capture.watched(effort, options.only)) if ours(contestants) else [],
        list(scale.sizes(options.only, QUICK_PATIENCE if options.quick else scale.PATIENCE))
        if ours(contestants)
        else [],
    )

    names = [kind.name for kind in CONTESTANTS if not options.against or kind.name in options.against]
    tables = list(tabulated(rows, names, prints, logs))
    show(tables)
    if options.write:
        before = options.write.read_text("utf-8") if options.write.exists() else ""
        known = versions(contestants) | (sinks.versions() if logs.overheads else {})
        known |= torch_capture.versions() if logs.watched or logs.sizes else {}
        known |= scale.versions() if logs.sizes else {}
        write_atomically(options.write, report.markdown(tables, known, before))
    if options.json:
        write_atomically(options.json, measured(rows, prints, logs))
    return int(any(outcome.status.startswith("wrong") for row in rows for outcome in row.outcomes.values()))


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, small blocks, no long runs: rough figures")
    parser.add_argument("--only", metavar="GLOB", default="*", help="only rows whose name matches, e.g. 'chain*'")
    known = [kind.name for kind in CONTESTANTS]
    parser.add_argument(
        "--against",
        metavar="NAME",
        nargs="+",
        choices=known,
        default=(),
        help=f"only these: {', '.join(known)}",
    )
    parser.add_argument("--rounds", type=int, default=9, help="most rounds (9)")
    parser.add_argument(
        "--write", metavar="FILE", type=Path, help="write the tables as Markdown; those not measured now stay"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures as JSON")
    return parser.parse_args(argv)


def selected(pattern: str) -> Iterator[Workload]:
    """Yield the workloads whose name matches."""
    for module in (scalar, arrays):
        yield from (work for work in module.workloads() if fnmatch(work.name, pattern))


def race(
    works: Iterable[Workload], contestants: Sequence[Contestant], effort: Effort, progress: Console
) -> Iterator[Row]:
    """Measure the workloads one after the other; smaller ones of a series warn of larger ones."""
    smaller: dict[str, Row] = {}
    for work in works:
        progress.print(work.name, style="dim")
        row = measure(work, contestants, effort, smaller.get(work.series) if work.series else None)
        smaller[work.series] = row
        yield row


def ours(contestants: Sequence[Contestant]) -> bool:
    """Tell whether gradviz takes part."""
    return any(contestant.name == "gradviz" for contestant in contestants)


def tabulated(
    rows: Sequence[Row], names: Sequence[str], prints: Sequence[Footprint], logs: Logs
) -> Iterator[report.Table]:
    """Yield a table for everything that was measured."""
    if rows:
        yield report.speed(rows, names)
        if all("gradviz" in row.outcomes for row in rows):
            yield report.advantage(rows, names)
    if any(row.work.series == "chain" for row in rows):
        yield report.growth(rows)
    if prints:
        yield report.footprint_table(prints)
    if logs.overheads:
        yield report.overhead_table(logs.overheads)
    if logs.looks:
        yield report.reading_table(logs.looks)
    if logs.kills:
        yield report.kill_table(logs.kills)
    if logs.costs:
        yield report.debugging_table(logs.costs)
    if logs.replays:
        yield report.replay_table(logs.replays)
    if logs.watched:
        yield report.watching_table(logs.watched)
    yield from report.scale_tables(logs.sizes)


def measured(rows: Sequence[Row], prints: Sequence[Footprint], logs: Logs) -> str:
    """Return all figures as JSON."""
    speed = [outcome for row in rows for outcome in report.outcomes(row)]
    found = {"speed": speed, "memory": [asdict(p) for p in prints]}
    found |= {name: [asdict(one) for one in table] for name, table in logs._asdict().items()}
    return json.dumps(found, indent=1)


def show(tables: Sequence[report.Table]) -> None:
    """Print the tables, wide enough to read when nobody's terminal limits them."""
    console = Console() if Console().is_terminal else Console(width=170)
    for table in tables:
        console.print(drawn(table))
    console.print(report.machine(), highlight=False)


def drawn(table: report.Table) -> RichTable:
    """Return the table as rich draws it."""
    result = RichTable(title=table.title, caption=table.note, title_justify="left", caption_justify="left")
    for i, name in enumerate(table.header):
        result.add_column(name, justify="right" if i else "left", no_wrap=i == 0)
    for row in table.rows:
        result.add_row(*row)
    return result


if __name__ == "__main__":
    raise SystemExit(main())
