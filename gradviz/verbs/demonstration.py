"""``gradviz demo``: a line fitted to real data, with everything there is to see of it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from gradviz.verbs import Verb
from gradviz.verbs.output import say, write

__all__ = ["VERB"]


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--out", default="out/demo", metavar="DIR", help="where to write (default: out/demo)")
    parser.add_argument("--steps", type=int, default=60, metavar="N", help="iterations (default: 60)")


def run(given: Namespace) -> int:
    """Fit, write, and tell what came out."""
    from gradviz.demo import BOILING, PRESSURE, demonstrate, least_squares, mean_squared_error

    made, files = demonstrate(given.out, steps=given.steps)
    for path in files:
        say(f"wrote {path}")
    lines = [
        ("before", 0.0, 0.0),
        ("after", made.slope, made.intercept),
        ("least squares", *least_squares(BOILING, PRESSURE)),
    ]
    table = [f"{name:13} {mean_squared_error(a, b):10.6f} {a:10.6f} {b:10.5f}" for name, a, b in lines]
    heading = f"{'':13} {'loss':>10} {'slope':>10} {'intercept':>10}"
    write("\n".join([heading, *table, f"look at {files[-1]}"]) + "\n")
    return 0


VERB = Verb(
    name="demo",
    summary="fit a line to real data and write its graph, its log and a page to look at",
    examples=("gradviz demo", "gradviz demo --out out/demo"),
    arguments=arguments,
    run=run,
)
