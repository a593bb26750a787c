"""``gradviz plot``: one plot of a run, as a file."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradviz.errors import UsageError
from gradviz.escape import clean
from gradviz.verbs import Verb
from gradviz.verbs.output import say, write

if TYPE_CHECKING:
    from gradviz.views.plot import Kind

__all__ = ["VERB"]

OWN = ("by", "of", "scale", "elements", "points", "x", "y", "prediction", "title")


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run_paths", metavar="RUN", nargs="*", help="a run directory; of --kind loss, one or several")
    parser.add_argument("--list", action="store_true", help="list the kinds of plots and their options")
    parser.add_argument("--kind", default="loss", metavar="KIND", help="what to plot (default: loss)")
    parser.add_argument("-o", "--out", metavar="FILE", help="the picture: .svg .png .pdf; - is stdout, as SVG")
    parser.add_argument("--by", choices=("parameter", "layer"), help="what a line or row stands for")
    parser.add_argument(
        "--of", metavar="A[;B]", help='path: one or two of the parameters, "w;b" or "W[0,1];b"; heatmap: grad_norm, ...'
    )
    parser.add_argument("--scale", metavar="SCALE", help="of the y axis: auto, linear, log, symlog")
    parser.add_argument("--elements", type=int, metavar="N", help="parameters: draw arrays up to this size by element")
    parser.add_argument("--points", type=int, metavar="N", help="path: points of the surface on each axis")
    for name in ("x", "y", "prediction"):
        parser.add_argument(f"--{name}", metavar="NODE", help=f"fit: the node that holds {name}")
    parser.add_argument("--title", metavar="TEXT")
    parser.add_argument("--dpi", type=float, default=150.0, metavar="N", help="pixels an inch of a PNG (default: 150)")


def run(given: Namespace) -> int:
    """Plot, or list what can be plotted."""
    if given.list:
        _list()
        return 0
    if not given.run_paths:
        raise UsageError("there is no run to plot", hint="gradviz plot RUN --kind loss -o loss.svg")
    if len(given.run_paths) > 1 and given.kind != "loss":
        raise UsageError(f"{clean(given.kind, 40)!r} is of one run", hint="of several runs there is --kind loss")
    _plot(given)
    return 0


def _list() -> None:
    from gradviz.views.plot import KINDS

    width = max(map(len, KINDS))
    for kind in KINDS.values():
        write(f"{kind.name:{width}}  {kind.summary}\n")
        write(f"{'':{width}}  {_flags(kind)}\n")


def _flags(kind: Kind) -> str:
    """Return the flags that a kind of plot has."""
    return " ".join(f"--{name}" for name in OWN if name in kind.options)


def _plot(given: Namespace) -> None:
    from gradviz.tracing.reading import open_run
    from gradviz.views.plot import plot, render, save

    suffix = _suffix(given)
    first, *others = [open_run(path) for path in given.run_paths]
    several = {"runs": others} if others else {}
    ax = plot(first, given.kind, **_options(given), **several)
    if given.out == "-":
        write(render(ax, suffix, dpi=given.dpi))
    else:
        say(f"wrote {save(ax, given.out, dpi=given.dpi)}")


def _suffix(given: Namespace) -> str:
    """Return the format asked for, before anything is read."""
    from gradviz.views.plot import SUFFIXES

    if given.out is None:
        raise UsageError("where should the plot go?", hint=f"gradviz plot ... -o {clean(given.kind, 40)}.svg")
    if given.out == "-":
        if sys.stdout.isatty():
            raise UsageError("a terminal cannot show a plot", hint=f"gradviz plot ... -o {clean(given.kind, 40)}.svg")
        return ".svg"
    suffix = Path(given.out).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"no plot format has the suffix {suffix[:40]!r}", hint=f"known: {' '.join(SUFFIXES)}")
    if not 1 <= given.dpi <= 2400:
        raise UsageError(f"--dpi {given.dpi:g} is out of range", hint="allowed: 1 to 2400")
    return suffix


def _options(given: Namespace) -> dict[str, Any]:
    """Return the options that were given, by the names `plot` has for them."""
    options = {name: getattr(given, name) for name in OWN if getattr(given, name) is not None}
    if given.kind == "path" and "of" in options:
        options["of"] = tuple(name.strip() for name in options["of"].split(";") if name.strip())
    return options


VERB = Verb(
    name="plot",
    summary="plot a run with matplotlib: loss, parameters, gradients, the path over the loss, ...",
    examples=(
        "gradviz plot runs/line -o loss.svg",
        "gradviz plot runs/lr-* -o losses.svg              the loss of several runs",
        "gradviz plot runs/line --kind path -o path.png",
        'gradviz plot runs/net --kind path --of "W[0,1];b[0]" -o path.pdf',
        "gradviz plot --list",
    ),
    arguments=arguments,
    run=run,
)
