"""Every error gradviz raises.

GradvizError
├── GradvizTypeError        (TypeError)     a value of the wrong kind
├── GradvizValueError       (ValueError)    a value out of range
│   ├── ShapeError                          shapes that do not fit together
│   ├── LinearAlgebraError  (LinAlgError)   a singular matrix, one that is not positive definite
│   ├── GraphError                          a graph that breaks its own laws
│   └── NonScalarError                      backward() without a gradient on an array
├── GradvizIndexError       (IndexError)    an index outside of an array
├── GradientError           (AssertionError)  a gradient that is wrong, or an assertion about a graph
├── StaleValueError         (RuntimeError)  a leaf was changed after it was used
├── StoppedError            (FloatingPointError)  what `debugging` was to stop for has happened
├── UnknownNameError        (KeyError)      no node, option or column of that name
├── MissingExtraError       (ImportError)   an optional dependency is not installed
├── MissingFolderError      (FileNotFoundError)  the folder to write to is not there
├── LayoutError             (RuntimeError)  Graphviz failed
│   └── LayoutTimeoutError  (TimeoutError)  Graphviz took too long and was stopped
├── TraceError              (OSError)       a run directory that cannot be written or read
│   └── TraceBusyError      (BlockingIOError)  another process writes there
└── UsageError              (ValueError)    the command line was wrong

Each error is also the built-in a caller would expect, says what was wrong in its first
line and, where there is something to do, says it in a second line (``hint``).
"""

from __future__ import annotations

import difflib
import functools
import os
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np

OURS = (f"{Path(__file__).parent}{os.sep}", functools.__file__)  # through the latter cached properties are read


class GradvizError(Exception):
    """Base of every error gradviz raises.

    >>> raise GradvizError("the cup is empty", hint="fill it")
    Traceback (most recent call last):
        ...
    gradviz.errors.GradvizError: the cup is empty
      fill it
    """

    def __init__(self, message: str, *, hint: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where

    def __str__(self) -> str:
        lines = [self.message]
        if self.where:
            lines.append(f"  at {self.where}")
        if self.hint:
            lines.append(f"  {self.hint}")
        return "\n".join(lines)


class GradvizWarning(UserWarning):
    """Something works, but not as well as was asked for: the message says why."""


def warn(message: str) -> None:
    """Give a `GradvizWarning` at the line of the program that called into this package.

    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as found:
    ...     warnings.simplefilter("always")
    ...     warn("slower than it could be")
    >>> found[0].category.__name__
    'GradvizWarning'
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_code.co_filename.startswith(OURS) and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, GradvizWarning, stacklevel=level)


class GradvizTypeError(GradvizError, TypeError):
    """A value of the wrong kind."""


class GradvizValueError(GradvizError, ValueError):
    """A value of the right kind that is out of range."""


class ShapeError(GradvizValueError):
    """Shapes that do not fit together."""


class LinearAlgebraError(GradvizValueError, np.linalg.LinAlgError):
    """A matrix that is singular, not positive definite, or otherwise without what was asked for."""


class GraphError(GradvizValueError):
    """A graph that breaks its own laws (order, single assignment, dangling ids)."""


class NonScalarError(GradvizValueError):
    """``backward()`` was called on an array without saying which gradient to start from."""


class GradvizIndexError(GradvizError, IndexError):
    """An index outside of an array, or one that is no index at all."""


class GradientError(GradvizError, AssertionError):
    """A gradient that finite differences contradict, that is not finite, or that does not arrive."""


class StaleValueError(GradvizError, RuntimeError):
    """A leaf was changed after an operation had used it, so its gradient would be wrong."""


class StoppedError(GradvizError, FloatingPointError):
    """What `gradviz.debugging` was to stop for has happened, and there is nobody to open a prompt for.

    ``debugger`` stands where it happened; its ``birth`` says where a NaN or an infinity was born.
    """

    debugger: object = None


class UnknownNameError(GradvizError, KeyError):
    """There is nothing of that name.

    >>> str(UnknownNameError.among("node", "wieght", ["weight", "bias"])).splitlines()
    ["no node is named 'wieght'", '  did you mean weight?']
    """

    @classmethod
    def among(cls, what: str, name: object, known: Iterable[str]) -> UnknownNameError:
        """Build the error for ``name``, suggesting the closest of the ``known`` names."""
        return cls(f"no {what} is named {str(name)[:200]!r}", hint=suggestion(str(name), known))


class MissingExtraError(GradvizError, ImportError):
    """An optional dependency is not installed.

    >>> str(MissingExtraError.of("matplotlib", "plot")).splitlines()[1]
    '  pip install "gradviz[plot]"'
    """

    @classmethod
    def of(cls, package: str, extra: str) -> MissingExtraError:
        """Build the error for ``package``, which the extra ``extra`` installs."""
        return cls(f"this needs {package}, which is not installed", hint=f'pip install "gradviz[{extra}]"')


class MissingFolderError(GradvizError, FileNotFoundError):
    """The folder that a file should be written to does not exist."""


class LayoutError(GradvizError, RuntimeError):
    """Graphviz could not lay the graph out."""


class LayoutTimeoutError(LayoutError, TimeoutError):
    """Graphviz took longer than the time limit and was stopped."""


class TraceError(GradvizError, OSError):
    """A run directory cannot be written or read."""


class TraceBusyError(TraceError, BlockingIOError):
    """Another process is writing to this run directory."""


class UsageError(GradvizError, ValueError):
    """The command line was wrong."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean ...?`` with the closest known names, or the start of the list.

    >>> suggestion("tanhh", ["tanh", "sin"]), suggestion("W", ["w", "b"])
    ('did you mean tanh?', 'did you mean w?')
    """
    names = list(known)
    close = [known for known in names if known.lower() == name.lower()] or difflib.get_close_matches(name, names, n=3)
    if close:
        return f"did you mean {' or '.join(close)}?"
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"known: {shown}" if names else ""
