"""``gradviz animate``: a loss of a script, or a run, in motion."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from gradviz.errors import UsageError
from gradviz.style import DIRECTIONS, STYLES, THEMES
from gradviz.verbs import Verb
from gradviz.verbs.drawing import names_of
from gradviz.verbs.output import say
from gradviz.verbs.scripts import find, run_script, split_target

__all__ = ["VERB"]

OWN = ("seconds", "fps", "frames", "style", "theme", "direction", "focus", "hops", "collapse", "precision", "title")


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("target", metavar="SCRIPT:NAME|RUN", help="a script and the name of a loss, or a run directory")
    parser.add_argument(
        "-o", "--out", metavar="FILE", required=True, help="the animation: .svg .gif .webp .html, as a strip .png .pdf"
    )
    parser.add_argument("--seconds", type=float, metavar="N", help="how long it takes once")
    parser.add_argument("--once", action="store_true", help="stop at the end")
    parser.add_argument("--fps", type=float, metavar="N", help="frames a second of .gif and .webp (default: 12)")
    parser.add_argument("--frames", type=int, metavar="N", help="iterations of a run, at most (default: 40)")
    parser.add_argument("--scale", type=float, default=1.0, metavar="N", help="pixels a unit of .gif and .webp")
    parser.add_argument("--strip", type=int, metavar="N", help="write N moments beside each other: .svg .png .pdf")
    parser.add_argument("--show", metavar="A,B", help="what is in the picture, as of gradviz draw")
    parser.add_argument("--style", choices=STYLES)
    parser.add_argument("--theme", choices=tuple(THEMES))
    parser.add_argument("--direction", choices=DIRECTIONS)
    parser.add_argument("--focus", metavar="NAME", help="only what leads to this node or comes from it")
    parser.add_argument("--hops", type=int, metavar="N", help="with --focus: not further than N steps away")
    parser.add_argument("--collapse", type=int, metavar="DEPTH", help="close the scopes below this depth")
    parser.add_argument("--precision", type=int, metavar="N", help="significant digits")
    parser.add_argument("--title", metavar="TEXT")


def run(given: Namespace) -> int:
    """Animate."""
    from gradviz.views.motion.animation import animate, checked

    checked(Path(given.out).suffix.lower())
    options = {name: getattr(given, name) for name in OWN if getattr(given, name) is not None}
    if given.show is not None:
        options["show"] = tuple(word.strip() for word in given.show.split(",") if word.strip())
    found, params = _found(given)
    made = animate(found, params=params, loop=not given.once, **options)
    if given.strip is not None:
        say(f"wrote {made.strip(given.strip).save(given.out)}")
    else:
        say(f"wrote {made.save(given.out, scale=given.scale)}")
    return 0


def _found(given: Namespace) -> tuple[Any, dict[str, Any] | None]:
    """Return what to animate: a run directory, or the object of that name of a script that is run."""
    if Path(given.target).is_dir():
        if given.rest:
            raise UsageError("a run takes no arguments", hint="what stands after -- is for scripts")
        return given.target, None
    script, name = split_target(given.target)
    variables = run_script(script, given.rest)
    return find(variables, name), names_of(variables)


VERB = Verb(
    name="animate",
    summary="show values going forward and gradients flowing back, or a run, in motion",
    examples=(
        "gradviz animate script.py:loss -o backprop.svg       one SVG that moves by CSS alone",
        "gradviz animate script.py:loss -o backprop.gif --style circuit --seconds 10",
        "gradviz animate script.py:loss -o strip.pdf --strip 6",
        "gradviz animate runs/line -o descent.svg --frames 30",
    ),
    arguments=arguments,
    run=run,
    runs_scripts=True,
)
