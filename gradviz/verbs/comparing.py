"""``gradviz diff``: two runs, or two steps, and where they part."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradviz.errors import UsageError
from gradviz.escape import clean
from gradviz.verbs import Verb
from gradviz.verbs.output import say, write, write_json

if TYPE_CHECKING:
    from gradviz.tracing.comparing import RunDiff
    from gradviz.tracing.framediff import FrameDiff

__all__ = ["VERB"]


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    for name in ("a", "b"):
        parser.add_argument(name, metavar=name.upper(), help="a run directory, or RUN:17 for one step of it")
    parser.add_argument("--json", action="store_true", help="the comparison as JSON")
    parser.add_argument("-o", "--out", metavar="FILE", help="write it as a page, FILE.html; - is stdout")


def run(given: Namespace) -> int:
    """Compare; return 1 where the two differ."""
    from gradviz.tracing.comparing import diff

    if given.out not in {None, "-"} and Path(given.out).suffix.lower() not in {".html", ".htm"}:
        raise UsageError(f"the comparison is a page, not {clean(Path(given.out).suffix, 40)!r}", hint="-o diff.html")
    if given.json and given.out == "-":
        raise UsageError("stdout cannot be both JSON and a page", hint="--json -o diff.html")
    a, b = _subject(given.a), _subject(given.b)
    if type(a) is not type(b):
        raise UsageError("a run and a step cannot be compared", hint="gradviz diff RUN:17 OTHER:17")
    found: Any = diff(a, b)
    _deliver(found, given)
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
    ),
    arguments=arguments,
    run=run,
)
