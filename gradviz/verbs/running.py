"""``gradviz run``: a PyTorch program as it is, with every training step recorded."""

from __future__ import annotations

import argparse
import importlib.util
from argparse import ArgumentParser, Namespace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from gradviz.errors import MissingExtraError
from gradviz.escape import clean
from gradviz.verbs import Verb
from gradviz.verbs.output import say
from gradviz.verbs.scripts import check_script, execute, what_failed

if TYPE_CHECKING:
    from gradviz.tracing.program import Program

__all__ = ["VERB"]

LEVELS = ("auto", "full", "stats", "scalars")


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "-o", "--out", metavar="RUN", help="where to write the run (runs/NAME for NAME.py); an older one is renamed"
    )
    parser.add_argument("--level", choices=LEVELS, default="auto", help="what is kept of every step (auto)")
    parser.add_argument(
        "--checkpoint", type=int, default=50, metavar="N", help="everything is kept at every Nth step (50)"
    )
    parser.add_argument("script", metavar="SCRIPT", help="a Python program that trains with PyTorch")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="what the program is to be given")


def run(given: Namespace) -> int:
    """Run the program; return its own exit status, 1 if it failed."""
    from gradviz.tracing.program import Program

    script = Path(given.script)
    check_script(script)
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError.of("PyTorch", "torch")
    path = Path(given.out) if given.out else Path("runs") / script.stem
    program = Program(path, level=given.level, checkpoint=given.checkpoint, meta={"script": script.name})
    status = _executed(program, script, [*given.arguments, *given.rest])
    say(_told(program, script))
    return status


def _executed(program: Program, script: Path, argv: list[str]) -> int:
    """Run the script while the program is recorded, and return its exit status."""
    try:
        with program:
            execute(ModuleType("__main__"), script, argv)
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        say(clean(str(stop.code)))
        return 1
    except Exception as error:  # whatever a program may raise
        say(what_failed(script, error))
        return 1
    return 0


def _told(program: Program, script: Path) -> str:
    """Say what there is now, and what to do with it."""
    trace = program.trace
    if program.trouble is not None:
        steps = 0 if trace is None else len(trace)
        return f"gradviz: recording ended after {steps} steps, the program went on: {clean(str(program.trouble))}"
    if trace is None:
        return f"gradviz: {clean(str(script))} called no backward(): nothing was recorded"
    shown = clean(str(trace.path))
    return f"gradviz: {len(trace)} steps in {shown}: look at them with gradviz report {shown}, or gradviz debug {shown}"


VERB = Verb(
    name="run",
    summary="run a PyTorch program and record every training step, without a change to it",
    examples=(
        "gradviz run train.py --epochs 3",
        "gradviz run -o runs/first --level full train.py",
        "torchrun --nproc_per_node 2 -m gradviz run train.py",
    ),
    arguments=arguments,
    run=run,
    runs_scripts=True,
)
