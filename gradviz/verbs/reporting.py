"""``gradviz report``: the report of a run, one page of HTML that needs no network."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from gradviz.errors import UsageError
from gradviz.style import THEMES
from gradviz.verbs import Verb
from gradviz.verbs.output import say, write

__all__ = ["VERB"]


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run_path", metavar="RUN", help="a run directory")
    parser.add_argument(
        "-o", "--out", metavar="FILE", default="report.html", help="the page (report.html); - is stdout"
    )
    parser.add_argument("--title", metavar="TEXT", help="instead of the name of the run")
    parser.add_argument("--steps", type=int, metavar="N", help="show at most N steps, those where most changes")
    parser.add_argument("--direction", choices=("auto", "LR", "TB"), help="of the graph")
    parser.add_argument("--theme", choices=tuple(THEMES))
    parser.add_argument("--precision", type=int, metavar="N", help="significant digits on the cards")


def run(given: Namespace) -> int:
    """Write the report."""
    from gradviz.tracing.reading import open_run

    if given.out == "-" and sys.stdout.isatty():
        raise UsageError("a terminal cannot show a page", hint="gradviz report RUN -o report.html")
    opened = open_run(given.run_path)
    if given.out == "-":
        from gradviz.views.page import page_of

        write(page_of(opened, **_options(given)))
    else:
        say(f"wrote {opened.save(given.out, **_options(given))}")
    return 0


def _options(given: Namespace) -> dict[str, Any]:
    names = ("title", "steps", "direction", "theme", "precision")
    return {name: getattr(given, name) for name in names if getattr(given, name) is not None}


VERB = Verb(
    name="report",
    summary="write the report of a run: one page to go through every step",
    examples=(
        "gradviz report runs/line                          to report.html",
        "gradviz report runs/line -o line.html --title 'A line'",
        "gradviz report runs/line -o - | gzip > line.html.gz",
    ),
    arguments=arguments,
    run=run,
)
