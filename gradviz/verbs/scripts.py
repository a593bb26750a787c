"""Running a user's script, and finding things in what it leaves behind."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from gradviz.errors import GradvizError, UnknownNameError, UsageError
from gradviz.escape import clean

__all__ = ["ScriptError", "as_main", "check_script", "execute", "find", "run_script", "split_target", "what_failed"]

FRAMES_SHOWN = 5
PACKAGE = Path(__file__).resolve().parent.parent


class ScriptError(GradvizError, RuntimeError):
    """A user's script failed; the message has the lines of its traceback that are the user's."""


def split_target(target: str) -> tuple[Path, str]:
    """Split ``script.py:name`` into the path and the name, or raise UsageError.

    >>> split_target("train.py:loss")[1]
    'loss'
    """
    path, colon, name = target.rpartition(":")
    if not colon or not path or not name or "/" in name or "\\" in name:
        raise UsageError(f"{clean(target)!r} is not script.py:name", hint="gradviz draw script.py:loss")
    return Path(path), name


def run_script(script: Path, argv: Sequence[str] = ()) -> dict[str, Any]:
    """Run a script as ``python script.py argv`` would, and return its variables.

    What it prints goes to stderr. Raises ScriptError where the script fails or exits with a
    status other than 0, UsageError where there is none.
    """
    check_script(script)
    module = ModuleType("__main__")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            execute(module, script, argv)
    except SystemExit as stop:
        if stop.code not in {None, 0}:
            raise ScriptError(f"{script} ended itself with status {clean(str(stop.code))}") from stop
    except Exception as error:
        hint = "the script failed before anything could be drawn"
        raise ScriptError(what_failed(script, error), hint=hint) from error
    return vars(module)


def check_script(script: Path) -> None:
    """Raise UsageError if this is no file."""
    if script.is_dir():
        raise UsageError(f"{clean(str(script))!r} is a folder", hint="give the path of a Python file")
    if not script.is_file():
        raise UsageError(f"there is no script {clean(str(script))!r}", hint="give the path of a Python file")


def execute(module: ModuleType, script: Path, argv: Sequence[str] = ()) -> None:
    """Run a script in a module as ``__main__``; whatever it raises goes on."""
    module.__file__ = str(script)
    code = compile(script.read_bytes(), str(script), "exec")
    with as_main(module, script, argv):
        exec(code, module.__dict__)


@contextlib.contextmanager
def as_main(module: ModuleType, script: Path, argv: Sequence[str]) -> Iterator[None]:
    """Let the module be ``__main__``, with its own arguments and its folder first on the path."""
    before = sys.modules["__main__"], sys.argv, sys.path[:]
    sys.modules["__main__"] = module
    sys.argv = [str(script), *argv]
    sys.path.insert(0, str(script.resolve().parent))
    try:
        yield
    finally:
        sys.modules["__main__"], sys.argv, sys.path[:] = before


def what_failed(script: Path, error: BaseException) -> str:
    """Return the part of a traceback that begins in the script."""
    told = traceback.TracebackException.from_exception(error, limit=None)
    own = [place for place in told.stack if not Path(place.filename).is_relative_to(PACKAGE)]
    shown = own if len(own) <= FRAMES_SHOWN else [*own[:2], *own[2 - FRAMES_SHOWN :]]
    first = f"{script} failed: {''.join(told.format_exception_only()).strip()}"
    return "\n".join([first, *(f"  {at.filename}:{at.lineno} in {at.name}: {at.line}" for at in shown)])


def _is_code(value: Any) -> bool:
    """Whether a variable holds a module, a class or a function: nothing to draw."""
    return isinstance(value, ModuleType | type) or callable(value)


def find(variables: Mapping[str, Any], name: str) -> Any:
    """Return the variable ``name``, or an attribute of one (``model.loss``), or raise UnknownNameError.

    >>> find({"x": 3 + 4j}, "x.imag")
    4.0
    """
    first, *attributes = name.split(".")
    if first not in variables:
        known = [key for key, value in variables.items() if not key.startswith("_") and not _is_code(value)]
        raise UnknownNameError.among("variable of the script", first, known)
    found = variables[first]
    for attribute in attributes:
        if not hasattr(found, attribute):
            raise UnknownNameError(f"{clean(first)!r} has no attribute {clean(attribute)!r}")
        found = getattr(found, attribute)
    return found
