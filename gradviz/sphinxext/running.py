"""Running the code of a directive: in a namespace, from its folder, with what it says kept apart."""

from __future__ import annotations

import ast
import contextlib
import io
import linecache
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from gradviz.errors import GradvizError
from gradviz.escape import for_terminal
from gradviz.verbs.scripts import as_main, what_failed

__all__ = ["Code", "CodeError", "Session", "within"]

KEEP = "_gradviz_keep"  # the function that takes the value of the last expression
CALL = compile("_gradviz_got = _gradviz_call()", "<picture>", "exec")


class CodeError(GradvizError, RuntimeError):
    """Code in the documentation failed: which, and at which of its lines from 1, if that is known."""

    def __init__(self, message: str, code: Code, line: int | None = None) -> None:
        super().__init__("\n".join(map(for_terminal, message.splitlines())))
        self.code = code
        self.line = line


@dataclass(frozen=True, slots=True)
class Code:
    """What a directive runs: its text, the file it is said to be, its arguments, and what code in a page is called."""

    text: str
    path: Path  # of the script, or of the page that holds the code
    args: tuple[str, ...] = ()
    title: str = ""

    def name(self, number: int) -> str:
        """Return what tracebacks call it; ``number`` counts the pieces of code of that title in one session."""
        return str(self.path) if not self.title else f"<{self.title} {number}>" if number > 1 else f"<{self.title}>"


@dataclass
class Session:
    """A namespace, the pieces of code that are to be run in it, and what they have said.

    ``last`` holds the value of the last expression, if the code ends in one, and ``before`` is a
    digest of everything that has been put into it.
    """

    waiting: list[Code] = field(default_factory=list)
    module: ModuleType = field(default_factory=lambda: ModuleType("__main__"))
    tree: ast.Module = field(default_factory=lambda: ast.Module([], []))
    last: list[Any] = field(default_factory=list)
    said: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    before: str = ""

    @property
    def names(self) -> dict[str, Any]:
        """The variables."""
        return vars(self.module)

    def run(self) -> None:
        """Run what waits; raises `CodeError` for whatever goes wrong in it."""
        while self.waiting:
            self._run(self.waiting.pop(0))

    def _run(self, code: Code) -> None:
        self.counts[code.title] += 1
        name, heard = code.name(self.counts[code.title]), io.StringIO()
        if code.title:  # where names of variables and lines of source are looked up
            linecache.cache[name] = (len(code.text), None, code.text.splitlines(keepends=True), name)
        self.last.clear()
        self.names.update({"__file__": str(code.path), KEEP: self.last.append})
        try:
            self.tree = ast.parse(code.text, name)
            compiled = compile(_keeping_the_last(self.tree), name, "exec", dont_inherit=True)
            with _aside(heard), as_main(self.module, code.path, code.args), contextlib.chdir(code.path.parent):
                exec(compiled, self.names)
        except SystemExit as stop:
            if stop.code not in {None, 0}:
                raise CodeError(f"the code ended itself with status {stop.code}", code) from stop
        except SyntaxError as error:
            shown = f"{error.filename}:{error.lineno}: SyntaxError: {error.msg}: {(error.text or '').strip()}"
            raise CodeError(shown, code, error.lineno if error.filename == name else None) from error
        except Exception as error:
            raise CodeError(what_failed(Path(name), error), code, _line_of(error, name)) from error
        finally:
            self.said += heard.getvalue()


def _keeping_the_last(tree: ast.Module) -> ast.Module:
    """Return the code with its last expression handed to `KEEP`: an assignment would give a tensor its name."""
    if not tree.body or not isinstance(tree.body[-1], ast.Expr):
        return tree
    last = tree.body[-1]
    kept = ast.copy_location(ast.Expr(ast.Call(ast.Name(KEEP, ast.Load()), [last.value], [])), last)
    return ast.fix_missing_locations(ast.Module([*tree.body[:-1], kept], tree.type_ignores))


@contextlib.contextmanager
def _aside(heard: io.StringIO) -> Iterator[None]:
    """Keep apart what is printed and warned of."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(heard),
        contextlib.redirect_stderr(heard),
    ):
        warnings.simplefilter("default")
        warnings.showwarning = lambda message, kind, file, line, *_: print(
            f"{file}:{line}: {kind.__name__}: {message}", file=sys.stdout
        )
        yield


def _line_of(error: BaseException, name: str) -> int | None:
    """Return the last line of the code that had a part in an error."""
    found, at = None, error.__traceback__
    while at is not None:
        if at.tb_frame.f_code.co_filename == name:
            found = at.tb_lineno
        at = at.tb_next
    return found


def within(names: dict[str, Any], function: Callable[[], Any]) -> Any:
    """Call a function from among these variables, where it can see by which names things are held.

    >>> within({"x": 1}, lambda: 2)
    2
    """
    names["_gradviz_call"] = function
    try:
        exec(CALL, names)
        return names.pop("_gradviz_got")
    finally:
        del names["_gradviz_call"]
