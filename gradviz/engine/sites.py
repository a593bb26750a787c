"""Where a node was made: found at once, decoded only when somebody looks.

Recording stores a code object and an instruction offset. Everything a person wants to read
(file, line, columns, the very expression, the variable it was assigned to) is worked out from
those two later. The text of a source file is remembered when it is first looked at, together
with a check that it is still the text that ran.
"""

from __future__ import annotations

import dis
import itertools
import linecache
import operator
import sys
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType
from typing import NamedTuple

import numpy as np

ENGINE = str(Path(__file__).resolve().parent)
NUMPY = str(Path(np.__file__).parent / "_")[:-1]
# the creation number of a node stands above these bits of its key, the instruction offset below
OFFSET_BITS = 24
OFFSET_MASK = (1 << OFFSET_BITS) - 1
STARTED = time.time() - 0.05  # a file system may be a tick behind


class Place(NamedTuple):
    """A decoded site."""

    file: str
    line: int
    column: int | None
    end_column: int | None
    function: str
    text: str
    code: str


def caller() -> FrameType:
    """Return the innermost frame outside the engine."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(ENGINE) and frame.f_back is not None:
        frame = frame.f_back
    return frame


def where(frame: FrameType | None = None) -> str:
    """Return ``file:line`` of the user's code that is running, for an error message."""
    frame = frame or caller()
    while frame.f_code.co_filename.startswith(NUMPY) and frame.f_back is not None:
        frame = frame.f_back  # NumPy's own functions, as np.sum of a list
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


class _Same:
    """A code object as a key: equal code objects of two files are two keys."""

    __slots__ = ("code",)

    def __init__(self, code: CodeType) -> None:
        self.code = code

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.code is other.code

    def __hash__(self) -> int:
        return id(self.code)


def place(code: CodeType, offset: int) -> Place:
    """Decode a code object and an instruction offset."""
    return _place(_Same(code), offset)


@lru_cache(maxsize=65536)
def _place(same: _Same, offset: int) -> Place:
    code = same.code
    lines = _lines(same)
    line, end_line, column, end_column = _position(code, offset, lines)
    return Place(
        file=code.co_filename,
        line=line,
        column=column,
        end_column=end_column if end_line == line else None,
        function=code.co_qualname,
        text=_expression(lines, line, end_line, column, end_column),
        code=lines[line - 1].strip() if line <= len(lines) else "",
    )


def _position(code: CodeType, offset: int, lines: tuple[str, ...]) -> tuple[int, int, int | None, int | None]:
    """Return (line, end line, column, end column) of one instruction, columns in characters."""
    found = next(itertools.islice(code.co_positions(), offset // 2, None), (None, None, None, None))
    line = found[0] or code.co_firstlineno
    end_line = found[1] or line
    return line, end_line, _characters(lines, line, found[2]), _characters(lines, end_line, found[3])


def _characters(lines: tuple[str, ...], line: int | None, column: int | None) -> int | None:
    """Turn a column counted in UTF-8 bytes into one counted in characters."""
    if column is None or line is None or line > len(lines):
        return column
    return len(lines[line - 1].encode()[:column].decode(errors="replace"))


@lru_cache(maxsize=4096)
def _lines(same: _Same) -> tuple[str, ...]:
    """Return the lines of the file a code object came from, read once, when it is first asked for.

    A file that was changed since the program started may not be what ran: it is compiled, and
    its lines are only taken if the code object is in it.
    """
    file = same.code.co_filename
    linecache.checkcache(file)
    lines = linecache.getlines(file)
    if _changed(file) and not _compiles_to("".join(lines), same.code):
        return ()
    return tuple(line.rstrip("\n") for line in lines)


def _changed(file: str) -> bool:
    """Tell whether a file was written after this module was imported."""
    try:
        return Path(file).stat().st_mtime >= STARTED
    except (OSError, ValueError):
        return False


def _compiles_to(text: str, code: CodeType) -> bool:
    """Tell whether a source text holds what a code object was compiled from."""
    try:
        found = [compile(text, code.co_filename, "exec", dont_inherit=True)]
    except (SyntaxError, ValueError):
        return False
    for one in found:
        if one == code and all(map(operator.eq, one.co_positions(), code.co_positions())):
            return True
        found += [constant for constant in one.co_consts if isinstance(constant, CodeType)]
    return False


_read: set[int] = set()  # ids of code objects that `_lines` holds, or has held


def unread(code: CodeType | None) -> bool:
    """Tell whether the source of ``code`` has not been read yet."""
    return code is not None and id(code) not in _read


def read_sources(codes: Iterable[CodeType | None]) -> None:
    """Read the sources of code objects now, so that a later edit of a file does not change what is shown."""
    for code in {id(code): code for code in codes if code is not None}.values():
        _read.add(id(code))
        _lines(_Same(code))


def _expression(lines: tuple[str, ...], line: int, end_line: int, column: int | None, end_column: int | None) -> str:
    if column is None or end_column is None or end_line > len(lines) or line < 1:
        return ""
    if line == end_line:
        return lines[line - 1][column:end_column]
    inner = [lines[line - 1][column:], *lines[line : end_line - 1]]
    return " ".join(
        [*(part.strip().removesuffix("\\").rstrip() for part in inner), lines[end_line - 1][:end_column].strip()]
    )


def assigned_name(code: CodeType, offset: int) -> str | None:
    """Return the variable or attribute that the result of an instruction was stored in, if any.

    >>> def f(x):
    ...     y = x * 2
    ...     return y
    >>> [assigned_name(f.__code__, i.offset) for i in dis.get_instructions(f) if i.opname == "BINARY_OP"]
    ['y']
    """
    following = _after(code, offset)
    first = next(following, None)
    if first is None:
        return None
    if first.opname == "COPY":  # a = b = expression
        first = next(following, first)
    if first.opname in {"STORE_FAST", "STORE_NAME", "STORE_GLOBAL", "STORE_DEREF"}:
        return str(first.argval)
    if first.opname.startswith("LOAD_"):  # self.total = expression
        second = next(following, None)
        if second is not None and second.opname == "STORE_ATTR":
            return f"{first.argval}.{second.argval}"
    return None


def _after(code: CodeType, offset: int) -> Iterator[dis.Instruction]:
    """Yield the instructions after ``offset``, without the interpreter's inline caches."""
    skipped = {"CACHE", "EXTENDED_ARG"}
    return (i for i in _instructions(_Same(code)) if i.offset > offset and i.opname not in skipped)


@lru_cache(maxsize=4096)
def _instructions(same: _Same) -> tuple[dis.Instruction, ...]:
    return tuple(dis.get_instructions(same.code))


def variable_of(value: object, frame: FrameType) -> str | None:
    """Return the name of the variable of ``frame`` that holds ``value``, if one does."""
    for name, held in frame.f_locals.items():
        if held is value and not name.startswith("_"):
            return name
    return None
