"""The command line: ``gradviz VERB ...``; the verbs themselves are in `gradviz.verbs`.

Data goes to stdout and messages to stderr. The exit status is 0 when all is well, 1 when
something was found and 2 for a wrong command line or a failure. Nobody sees a traceback who has
not asked for it with ``--debug``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import traceback
from collections.abc import Sequence

from gradviz.errors import GradvizError
from gradviz.verbs import Verb, all_verbs
from gradviz.verbs.output import say

__all__ = ["main"]

FINE, FINDINGS, TROUBLE, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status.

    >>> main(["doctor", "--nonsense"])
    2
    """
    _never_fail_to_print()
    verbs = all_verbs()
    parser = _parser(verbs)
    line, rest = _split(sys.argv[1:] if argv is None else argv, verbs)
    try:
        arguments = parser.parse_args(line, argparse.Namespace(rest=rest))
        return _run(arguments) if hasattr(arguments, "run") else _show_help(parser)
    except SystemExit as stop:  # argparse has said why
        return stop.code if isinstance(stop.code, int) else TROUBLE


def _split(line: Sequence[str], verbs: Sequence[Verb]) -> tuple[list[str], list[str]]:
    """Split off what stands after ``--``, where it is meant for a user's script."""
    named = next((word for word in line if not word.startswith("-")), "")
    if "--" not in line or not any(verb.name == named and verb.runs_scripts for verb in verbs):
        return list(line), []
    cut = list(line).index("--")
    return list(line[:cut]), list(line[cut + 1 :])


def _run(arguments: argparse.Namespace) -> int:
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        return _reader_left()
    except KeyboardInterrupt:
        say("gradviz: interrupted")
        return INTERRUPTED
    except Exception as error:
        if arguments.debug:
            traceback.print_exception(error)
        else:
            say(_explained(error))
        return TROUBLE


def _explained(error: Exception) -> str:
    """Say in a few lines what went wrong."""
    if isinstance(error, GradvizError):
        return f"gradviz: error: {error}"
    if isinstance(error, OSError):
        name = f": {error.filename}" if error.filename else ""
        return f"gradviz: error: {error.strerror or error}{name}"
    return f"gradviz: internal error: {type(error).__name__}: {error}\n  run it again with --debug to see where"


def _reader_left() -> int:
    """Stop quietly: the program that read our output, such as head, has all it wants."""
    with contextlib.suppress(OSError, ValueError, io.UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FINE


def _never_fail_to_print() -> None:
    """Write characters that the terminal does not know as escapes rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _show_help(parser: argparse.ArgumentParser) -> int:
    parser.print_help(sys.stderr)
    return TROUBLE


def _parser(verbs: Sequence[Verb]) -> argparse.ArgumentParser:
    from gradviz import __version__

    parser = argparse.ArgumentParser(
        prog="gradviz",
        description=_examples(
            "gradviz demo",
            "gradviz draw examples/article_graph.py:e -o e.svg",
            "gradviz show runs/line",
            lead="See and debug a computation graph while it learns.",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gradviz {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    choices = parser.add_subparsers(title="verbs", metavar="VERB")
    for verb in verbs:
        _add_verb(choices, verb)
    return parser


def _add_verb(choices: argparse._SubParsersAction[argparse.ArgumentParser], verb: Verb) -> None:
    parser = choices.add_parser(
        verb.name,
        help=verb.summary,
        description=_examples(*verb.examples, lead=verb.summary[:1].upper() + verb.summary[1:] + "."),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.arguments(parser)
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
    )
    parser.set_defaults(run=verb.run)


def _examples(*lines: str, lead: str) -> str:
    return "\n".join([lead, "", "examples:", *(f"  {line}" for line in lines)])
