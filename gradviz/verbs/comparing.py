"""``gradviz diff``: two runs, or two steps, and where they part."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradviz.errors import UsageError
from gradviz.escape import clean
from gradviz.verbs import Verb
from gradviz.verbs.output import say, write, write_json
from gradviz.verbs.ranks import has_ranks

if TYPE_CHECKING:
    from gradviz.tracing.comparing import RunDiff
    from gradviz.tracing.framediff import FrameDiff

__all__ = ["VERB"]


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("a", metavar="A", help="a run directory, or RUN:17 for one step of it")
    parser.add_argument("b", metavar="B", nargs="?", help="the same; without it the ranks of A are compared")
    parser.add_argument("--by", choices=["rank"], help="of a run of several processes: compare them with each other")
    parser.add_argument("--json", action="store_true", help="the comparison as JSON")
    parser.add_argument("-o", "--out", metavar="FILE", help="write it as a page, FILE.html; - is stdout")


def run(given: Namespace) -> int:
    """Compare; return 1 where the two differ."""
    from gradviz.tracing.comparing import diff

    if given.out not in {None, "-"} and Path(given.out).suffix.lower() not in {".html", ".htm"}:
        raise UsageError(f"the comparison is a page, not {clean(Path(given.out).suffix, 40)!r}", hint="-o diff.html")
    if given.json and given.out == "-":
        raise UsageError("stdout cannot be both JSON and a page", hint="--json -o diff.html")
    if given.b is None or given.by:
        return _by_rank(given)
    a, b = _subject(given.a), _subject(given.b)
    if type(a) is not type(b):
        raise UsageError("a run and a step cannot be compared", hint="gradviz diff RUN:17 OTHER:17")
    found: Any = diff(a, b)
    _deliver(found, given)
    return 1 if found else 0


def _by_rank(given: Namespace) -> int:
    """Compare the ranks of a run; return 1 where they differ."""
    from gradviz.tracing.many import open_runs

    if given.b is not None:
        raise UsageError("--by rank compares the ranks of one run", hint="gradviz diff A/rank-000 B/rank-000")
    if given.out is not None:
        raise UsageError(
            "a page shows two runs", hint=f"gradviz diff {given.a}/rank-000 {given.a}/rank-001 -o diff.html"
        )
    if not has_ranks(given.a):
        raise UsageError(f"{clean(given.a)} holds no ranks, so there is nothing to compare it with",
                         hint="gradviz diff RUN OTHER")  # fmt: skip
    found = open_runs(given.a).by_rank()
    if given.json:
        write_json(found.to_dict())
    else:
        write(f"{found}\n")
    return 1 if found else 0


def _subject(text: str) -> Any:
    """Return the run, or the frame of one step, that an argument names."""
    from gradviz.tracing.reading import open_run

    path, colon, step = text.rpartition(":")
    if Path(text).is_dir() or not colon or not step.lstrip("-").isdecimal():
        return open_run(text)
    return open_run(path).frame(int(step))


def _deliver(found: RunDiff | FrameDiff, given: Namespace) -> None:
    """Write the page and the text, or the JSON."""
    from gradviz.views.comparison import page, save

    labels = given.a, given.b
    if given.out == "-":
        write(page(found, labels))
        return
    if given.out is not None:
        say(f"wrote {save(found, Path(given.out), labels)}")
    if given.json:
        write_json(found.to_dict())
    else:
        write(f"{found}\n")


VERB = Verb(
    name="diff",
    summary="compare two runs, or two steps, bit for bit: the first step and node that differ",
    examples=(
        "gradviz diff runs/a runs/b",
        "gradviz diff runs/a runs/b -o diff.html           curves, parameters and the graph on one page",
        "gradviz diff runs/a:17 runs/a:18                  two iterations",
        "gradviz diff runs/a runs/b --json | jq .step",
        "gradviz diff runs/big --by rank                   the processes of one run",
    ),
    arguments=arguments,
    run=run,
)
