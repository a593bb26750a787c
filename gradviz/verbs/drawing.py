"""``gradviz draw``: run a script and draw one of its objects."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from gradviz.errors import UsageError
from gradviz.escape import clean
from gradviz.style import DIRECTIONS, ENGINES, SHOW, STYLES, THEMES
from gradviz.verbs import Verb
from gradviz.verbs.output import say, write
from gradviz.verbs.scripts import find, run_script, split_target
from gradviz.views.drawing import SUFFIX, Drawing, draw
from gradviz.views.text import to_text

__all__ = ["VERB", "names_of"]

BINARY = {".png", ".pdf"}


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "target",
        metavar="SCRIPT:NAME",
        help="a Python script and the name of the object to draw; after -- its arguments",
    )
    parser.add_argument("-o", "--out", metavar="FILE", help="the picture; its suffix is the format; - is stdout")
    parser.add_argument("--format", metavar="FORMAT", help=f"for stdout: {' '.join(s[1:] for s in SUFFIX)}")
    parser.add_argument("--show", metavar="A,B", help=f"what is in the picture: {','.join(SHOW)}")
    parser.add_argument("--style", choices=STYLES)
    parser.add_argument("--theme", choices=tuple(THEMES))
    parser.add_argument("--direction", choices=DIRECTIONS)
    parser.add_argument("--focus", metavar="NAME", help="draw only what leads to this node or comes from it")
    parser.add_argument("--hops", type=int, metavar="N", help="with --focus: not further than N steps away")
    parser.add_argument("--collapse", type=int, metavar="DEPTH", help="close the scopes below this depth")
    parser.add_argument("--fold", choices=("auto", "yes", "no"), help="draw repeated structure once")
    parser.add_argument(
        "--unfold",
        metavar="NAME",
        nargs="?",
        const=True,
        action="append",
        help="open a fold, a node's or a scope's (may be given again); without a name all",
    )
    parser.add_argument("--precision", type=int, metavar="N", help="significant digits")
    parser.add_argument("--engine", choices=ENGINES, help="which Graphviz lays it out; scope: none")
    parser.add_argument("--title", metavar="TEXT")


def run(given: Namespace) -> int:
    """Draw."""
    script, name = split_target(given.target)
    suffix = _suffix(given)
    variables = run_script(script, given.rest)
    picture = draw(_drawable(find(variables, name)), params=names_of(variables), **_options(given))
    _deliver(picture, suffix, given.out)
    return 0


def _suffix(given: Namespace) -> str:
    """Return the format asked for as a suffix, before anything is run."""
    named = given.out not in {None, "-"}
    if named and given.format:
        raise UsageError("--format is for stdout", hint="the suffix of the file is its format")
    default = ".svg" if given.out == "-" else ".txt"
    suffix = Path(given.out).suffix.lower() if named else f".{given.format}" if given.format else default
    if suffix not in SUFFIX:
        out = clean(str(given.out))
        wrong = f"no picture format is called {suffix[1:40]!r}" if suffix else f"{out!r} has no suffix"
        raise UsageError(wrong, hint=f"known: {' '.join(SUFFIX)}")
    if suffix in BINARY and not named and sys.stdout.isatty():
        raise UsageError(f"a terminal cannot show {suffix[1:]}", hint=f"gradviz draw ... -o picture{suffix}")
    return suffix


def _drawable(found: Any) -> Any:
    """Return what a drawing was made of; everything else as it is."""
    return (found.origin or found.frame) if isinstance(found, Drawing) else found


def names_of(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the script's arrays and unnamed tensors by the variables that hold them."""
    import numpy as np

    from gradviz.engine.tensor import Tensor

    return {
        name: value
        for name, value in variables.items()
        if not name.startswith("_")
        and (isinstance(value, np.ndarray) or (isinstance(value, Tensor) and value.name is None))
    }


def _options(given: Namespace) -> dict[str, Any]:
    """Return the options that were given, by the names `draw` has for them."""
    names = ("style", "theme", "direction", "focus", "hops", "collapse", "precision", "engine", "title")
    options = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
    if given.fold is not None:
        options["fold"] = {"yes": True, "no": False}.get(given.fold, given.fold)
    if given.unfold is not None:
        options["unfold"] = True if True in given.unfold else given.unfold
    if given.show is not None:
        options["show"] = tuple(word.strip() for word in given.show.split(",") if word.strip())
    return options


def _deliver(picture: Drawing, suffix: str, out: str | None) -> None:
    if out not in {None, "-"}:
        say(f"wrote {picture.save(str(out))}")
        return
    data = to_text(picture, whole=False) if out is None and suffix == ".txt" else resolve_name(SUFFIX[suffix])(picture)
    write(data + "\n" if isinstance(data, str) and not data.endswith("\n") else data)


VERB = Verb(
    name="draw",
    summary="run a script and draw the object of that name",
    examples=(
        "gradviz draw script.py:loss                       the graph as text, of a large one the ends",
        "gradviz draw script.py:loss -o loss.svg           as a picture (.svg .png .pdf .html .dot ...)",
        "gradviz draw script.py:loss -o - --format dot     to stdout",
        "gradviz draw script.py:loss --show name,local -- --epochs 3",
    ),
    arguments=arguments,
    run=run,
    runs_scripts=True,
)
