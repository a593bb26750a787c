"""Plots of a run with matplotlib (extra ``plot``): each kind is one function that returns the Axes.

``ax=`` draws into Axes of yours. Nothing is shown and no setting of matplotlib is changed. Without
``ax`` the figure is new: one of pyplot's where that would show it, in a window by ``plt.show()`` or below
the cell of a notebook, otherwise one that nobody else knows of.
"""

from __future__ import annotations

import inspect
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradviz.errors import GradvizError, GradvizTypeError, GradvizValueError, UnknownNameError, suggestion
from gradviz.escape import clean
from gradviz.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gradviz.tracing.reading import Run

__all__ = ["KINDS", "SUFFIXES", "Kind", "plot", "render", "save"]

SUFFIXES = (".svg", ".png", ".pdf")
METADATA = {".svg": {"Date": None}, ".pdf": {"CreationDate": None, "ModDate": None}, ".png": {}}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of plot: its name, what it shows, and the module that has the function of that name."""

    name: str
    summary: str
    module: str

    @property
    def function(self) -> Callable[..., Axes]:
        """The function that draws it."""
        found: Callable[..., Axes] = getattr(import_module(f"gradviz.views.plot.{self.module}"), self.name)
        return found

    @property
    def options(self) -> tuple[str, ...]:
        """The names of what can be chosen."""
        return tuple(inspect.signature(self.function).parameters)[1:]


KINDS = {
    kind.name: kind
    for kind in (
        Kind("loss", "the loss of every step", "curves"),
        Kind("parameters", "the way of every parameter; of large arrays their norms", "curves"),
        Kind("gradients", "the norm of every gradient, by parameter or by layer", "curves"),
        Kind("updates", "how far each step moves a parameter, relative to its size", "curves"),
        Kind("path", "the way down over the loss surface, in one or two dimensions", "descent"),
        Kind("heatmap", "steps by layers, coloured by gradient norm", "heat"),
        Kind("fit", "data, and the prediction before and after", "fitted"),
    )
}


def plot(run: Run, kind: str = "loss", **options: Any) -> Axes:
    """Plot a run and return the matplotlib Axes; ``kind`` is one of `KINDS`, ``options`` are its own.

    Raises UnknownNameError for a kind and GradvizTypeError for an option that is not there, suggesting
    the nearest, and MissingExtraError without matplotlib.

    >>> plot(None, "los")
    Traceback (most recent call last):
        ...
    gradviz.errors.UnknownNameError: no kind of plot is named 'los'
      did you mean loss?
    """
    if kind not in KINDS:
        raise UnknownNameError.among("kind of plot", kind, KINDS)
    known = KINDS[kind].options
    for option in options:
        if option not in known:
            raise GradvizTypeError(f"plot {kind!r} has no option {option[:80]!r}", hint=suggestion(option, known))
    return KINDS[kind].function(run[:], **options)  # as it is now, should it still be written


def save(ax: Axes, path: str | os.PathLike[str], *, dpi: float = 150.0) -> Path:
    """Write the figure of these Axes to ``path`` (``.svg .png .pdf``) and return the path.

    The same picture gives the same bytes with the same matplotlib: no clock, no random ids.
    Raises GradvizValueError for another suffix, MissingFolderError where there is no such folder.
    """
    target = Path(path)
    return write_atomically(target, render(ax, target.suffix.lower(), dpi=dpi))


def render(ax: Axes, suffix: str = ".svg", *, dpi: float = 150.0) -> bytes:
    """Return the figure of these Axes as the bytes of a file; ``dpi`` is of PNG only."""
    import warnings

    from matplotlib import rc_context

    if suffix not in SUFFIXES:
        wrong = f"no plot format has the suffix {suffix[:40]!r}" if suffix else "the file's name has no suffix"
        raise GradvizValueError(wrong, hint=f"allowed: {' '.join(SUFFIXES)}")
    figure: Any = ax.figure.canvas.figure  # of Axes in a part of a figure, the whole
    data = io.BytesIO()
    with rc_context({"svg.hashsalt": "gradviz"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # a box is drawn in its place
        try:
            figure.savefig(data, format=suffix[1:], dpi=dpi, metadata=METADATA[suffix])
        except (ValueError, OverflowError) as error:
            raise _undrawable(error) from error
    return data.getvalue()


def _undrawable(error: Exception) -> GradvizError:
    first = clean((str(error) or type(error).__name__).splitlines()[0])
    return GradvizValueError(f"matplotlib cannot draw this: {first}", hint="plot a part of the run: run[:100]")
