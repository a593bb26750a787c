"""``gradviz debug``: the prompt on a recorded run, or on what a script has computed, or where it has failed."""

from __future__ import annotations

import bdb
import contextlib
import importlib.util
import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from gradviz.errors import GradvizError, GradvizValueError, UsageError
from gradviz.escape import clean
from gradviz.verbs import Verb
from gradviz.verbs.output import say
from gradviz.verbs.scripts import ScriptError, check_script, execute, find, what_failed

__all__ = ["VERB"]

FILE, LINE = "file", "line"


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "target",
        metavar="RUN|SCRIPT",
        help="a run directory, RUN:17 or RUN:17.b.3; or a Python script, SCRIPT:NAME for the object of that name",
    )
    parser.add_argument(
        "-x",
        "--commands",
        metavar="FILE",
        action="append",
        type=lambda text: (FILE, text),
        help="carry out the commands in a file",
    )
    parser.add_argument(
        "-c",
        "--command",
        metavar="COMMAND",
        action="append",
        dest="commands",
        type=lambda text: (LINE, text),
        help="carry out a command",
    )


def run(given: Namespace) -> int:
    """Open the prompt; return 1 if a command of a file or a pipe could not be carried out, or the script failed."""
    lines = list(_lines(given.commands)) if given.commands else None
    script, name = _script(given.target)
    if script is None:
        return _talk(_recorded(given.target), lines)
    return _of_script(script, name, given.rest, lines)


def _lines(commands: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield the commands that were given, those of files line by line."""
    for kind, text in commands:
        if kind == LINE:
            yield text
            continue
        try:
            content = Path(text).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text in UTF-8"
            raise UsageError(f"the commands in {clean(text)!r} cannot be read: {why}") from error
        yield from (line for line in content.splitlines() if line.strip())


def _script(target: str) -> tuple[Path | None, str]:
    """Return the script that is meant and the name in it, or None if it is a run."""
    path, _, name = target.rpartition(":")
    if path.endswith(".py"):
        return Path(path), name
    return (Path(target), "") if target.endswith(".py") and not Path(target).is_dir() else (None, "")


def _recorded(target: str) -> Any:
    """Return a debugger of the run, at the position that stands after a colon."""
    from gradviz.debugger.debugger import Debugger
    from gradviz.debugger.positions import Position
    from gradviz.tracing.reading import open_run

    path, _, place = target.rpartition(":")
    if path and Path(path).is_dir() and not Path(target).is_dir():
        debugger = Debugger(open_run(path))
        debugger.seek(Position.parse(place))
        return debugger
    return Debugger(open_run(target))


def _talk(debugger: Any, lines: Sequence[str] | None, heading: str = "") -> int:
    """Open the prompt, at a terminal also after the commands that were given; return the exit status."""
    from gradviz.debugger.keyboard import is_person
    from gradviz.debugger.prompt import Prompt

    prompt = Prompt(debugger, lines, then_ask=lines is not None and is_person())
    if heading:
        prompt.say(heading, "stop")
    prompt.run()
    return 1 if prompt.failed else 0


# -- scripts ---------------------------------------------------------------------------------------


class Last:
    """Remembers the last Tensor that ``backward()`` was called on, wherever in the script it was."""

    root: Any = None

    def made(self, out: Any) -> None:
        """Take no note of ops."""

    def passed(self, root: Any, seed: Any, grads: Sequence[Any]) -> None:
        """Take note of a backward pass."""
        self.root = root


def _of_script(script: Path, name: str, argv: Sequence[str], lines: Sequence[str] | None) -> int:
    """Run a script, then open what it has computed, or the place where it failed."""
    from gradviz.engine import modes

    check_script(script)
    module, last = ModuleType("__main__"), Last()
    with _captured(script) as capture:
        try:
            with modes.watched(last):
                execute(module, script, argv)
        except bdb.BdbQuit:  # the user has left a prompt within the script
            return 0
        except SystemExit as stop:
            if stop.code not in {None, 0}:
                say(f"{script} ended itself with status {clean(str(stop.code))}")
        except Exception as error:
            _talk(_failed(script, error), lines, what_failed(script, error))
            return 1
        debugger = _opened(script, name, vars(module), last.root, capture)
    return _talk(debugger, lines, _steps_kept(debugger))


def _captured(script: Path) -> Any:
    """Return a context that records what PyTorch computes, if the script speaks of it."""
    speaks = re.search(rb"\btorch\b", script.read_bytes()) and importlib.util.find_spec("torch")
    if not speaks and "torch" not in sys.modules:
        return contextlib.nullcontext()
    from gradviz.sources.torch.recorder import Capture

    return Capture()


def _steps_kept(debugger: Any) -> str:
    """Say how many iterations there are, if there are several."""
    kept = debugger.timeline.iterations
    return f"iterations {kept[0]} to {kept[-1]} are here: this is the last, 'it {kept[0]}' goes to the first" * (
        len(kept) > 1
    )


def _failed(script: Path, error: Exception) -> Any:
    """Return a debugger of the Tensors where the script failed."""
    from gradviz.debugger.live import where_failed

    with contextlib.suppress(GradvizValueError):
        return where_failed(error)
    raise ScriptError(what_failed(script, error), hint="there is no Tensor to look at where it failed") from error


def _opened(script: Path, name: str, variables: Mapping[str, Any], last: Any, capture: Any) -> Any:
    """Return a debugger of the object that is meant, which knows the script's variables in expressions."""
    from gradviz.debugger.positions import Position
    from gradviz.debugger.session import LiveDebugger
    from gradviz.debugger.timeline import timeline
    from gradviz.debugger.variables import Variables

    if not name and last is None and capture is not None and len(capture):
        history = timeline(capture.frames)
    else:
        found = find(variables, name) if name else _main_result(variables, last)
        history = timeline(_with_names(found, variables))
    debugger = LiveDebugger(history, Variables(dict(variables), {}, str(script)))
    debugger.seek(Position(history.iterations[-1], debugger.where.phase, 0))
    return debugger


def _main_result(variables: Mapping[str, Any], last: Any) -> Any:
    """Return the scalar Tensor with the largest graph in a variable, else what ``backward()`` was called on last."""
    from gradviz.debugger.variables import largest

    try:
        return largest(variables)[1]
    except GradvizError:
        if last is not None:
            return last
    raise GradvizValueError(
        "the script has computed no scalar Tensor",
        hint="gradviz debug script.py:name, gradviz.breakpoint() within it, or gradviz debug RUN of what it recorded",
    )


def _with_names(found: Any, variables: Mapping[str, Any]) -> Any:
    """Return the frame of a tensor, its nodes named after the script's variables; anything else as it is."""
    from gradviz import sources
    from gradviz.debugger.framing import whole_frame
    from gradviz.debugger.tensors import is_torch, named_params
    from gradviz.engine.tensor import Tensor
    from gradviz.sources.pullback import with_gradients
    from gradviz.verbs.drawing import names_of

    if is_torch(found):
        models = [x for x in variables.values() if hasattr(x, "named_parameters") and not isinstance(x, type)]
        tensors = {name: x for name, x in variables.items() if is_torch(x)}
        return whole_frame(found, {**tensors, **(named_params(models[0]) if len(models) == 1 else {})})
    if not isinstance(found, Tensor):
        return found
    return with_gradients(sources.frame(found, params=names_of(variables)))


VERB = Verb(
    name="debug",
    summary="step through a run, or a script's computation, forwards and backwards",
    examples=(
        "gradviz debug runs/line                    the prompt at the first iteration; h lists its commands",
        "gradviz debug runs/line:17.b.3             at a position",
        "gradviz debug train.py -- --epochs 3       run a script, then look at its largest scalar",
        "gradviz debug train.py:loss                ... at the object of that name",
        "gradviz debug torch_script.py              every step of a PyTorch script that 1 GB can hold, at the last",
        "gradviz debug runs/line -c blame -c 'why w -paths'",
        "gradviz debug runs/line -x commands.txt    at a terminal the prompt opens after them",
    ),
    arguments=arguments,
    run=run,
    runs_scripts=True,
)
