"""``gradviz dap``: the debugger for editors, as a server of the Debug Adapter Protocol over stdin and stdout."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from contextlib import redirect_stdout

from gradviz.errors import UsageError
from gradviz.verbs import Verb

__all__ = ["VERB"]


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "run_path", metavar="RUN", nargs="?", default="", help="a run directory, for an editor that names none"
    )


def run(given: Namespace) -> int:
    """Answer the editor until it takes its leave."""
    from gradviz.debugger.dap.server import serve

    if sys.stdin is None or sys.stdout is None or sys.stdin.isatty():
        raise UsageError("an editor has to start this", hint="at a terminal: gradviz debug RUN; see docs/editors.md")
    input, output = sys.stdin.fileno(), sys.stdout.buffer

    def write(data: bytes) -> None:
        output.write(data)
        output.flush()

    with redirect_stdout(sys.stderr):  # what anything prints must not come between the messages
        serve(lambda size: os.read(input, size), write, given.run_path, show_tracebacks=given.debug)
    return 0


VERB = Verb(
    name="dap",
    summary="step through a run in an editor: the Debug Adapter Protocol over stdin and stdout",
    examples=(
        "gradviz dap             the run is what the editor's configuration names",
        "gradviz dap runs/line   the run, unless the editor names one",
    ),
    arguments=arguments,
    run=run,
)
