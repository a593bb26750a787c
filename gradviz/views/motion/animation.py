"""`animate`: a computation, or a run, in motion."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from gradviz import escape
from gradviz.errors import GradvizError, GradvizTypeError, GradvizValueError
from gradviz.files import write_atomically
from gradviz.graphs import Frame, Graph
from gradviz.style import Options
from gradviz.views.cards import largest_gradient
from gradviz.views.drawing import Drawing, draw
from gradviz.views.motion.film import Film
from gradviz.views.motion.iterations import iterations
from gradviz.views.motion.moments import Moments, backpropagation
from gradviz.views.motion.strip import Strip, chosen

__all__ = ["SUFFIXES", "Animation", "animate"]

SUFFIXES = (".svg", ".gif", ".webp", ".html", ".png", ".pdf")
SHOW = ("name", "value", "grad")
WIDE = 1000.0  # points; a wider picture may be better from top to bottom
LONGEST = 45.0  # seconds, where no length was asked for
MOST_ITERATIONS = 200
NARROWER = 0.75


@dataclass(frozen=True, slots=True)
class Playing:
    """How an animation is played, and the direction that was asked for."""

    loop: bool
    fps: float
    seconds: float | None
    direction: str | None


class Animation:
    """A computation in motion: values forward, gradients back; or a run, iteration by iteration.

    ``svg`` is one SVG text that moves by CSS; ``save(path)`` writes .svg, .gif, .webp, .html, and (as a strip)
    .png and .pdf; ``strip(n)`` gives some moments beside each other; ``moments`` say what happens when.
    """

    def __init__(self, moments: Moments, options: Options, largest: float, playing: Playing) -> None:
        self.moments = moments
        self.options = options
        self.loop = playing.loop
        self.fps = playing.fps
        self._direction = playing.direction
        self._largest = largest

    @cached_property
    def film(self) -> Film:
        """The layout and every element of it; where no direction was asked for, from top to bottom what is too wide."""
        across = Film(self.moments, self.options, self._largest)
        if self._direction is not None or across.stage.size[0] <= WIDE:
            return across
        down = Film(self.moments, replace(self.options, direction="TB"), self._largest)
        return down if down.stage.size[0] < across.stage.size[0] * NARROWER else across

    @property
    def seconds(self) -> float:
        """How long it takes once."""
        return sum(moment.seconds for moment in self.moments)

    @cached_property
    def svg(self) -> str:
        """The animation as SVG text; still, at its end, for readers who want less motion and in print."""
        from gradviz.views.motion.moving import moving_svg

        return moving_svg(self.film, loop=self.loop)

    def in_theme(self, theme: str) -> Animation:
        """Return the same animation in the colours of another theme."""
        found = copy(self)
        found.options = replace(self.options, theme=theme)
        for made in ("film", "svg"):
            vars(found).pop(made, None)
        return found

    def strip(self, n: int = 4, *, columns: int | None = None) -> Strip:
        """Return ``n`` moments beside and below each other, as many in a row as a page has room for."""
        return Strip(self.film, chosen(self.film, n), _whole("columns", columns, 24) if columns else None)

    def save(self, path: str | os.PathLike[str], *, scale: float = 1.0) -> Path:
        """Write the animation and return the path; the suffix says how.

        .svg moves by CSS, .gif and .webp hold frames (``scale`` pixels a unit of the SVG; they need the extra
        ``motion``), .html is a page with the SVG, and .png and .pdf hold a strip of four moments. Raises
        `GradvizValueError` for another suffix and for more frames than a file can sensibly hold.
        """
        target = Path(path)
        suffix = target.suffix.lower()
        checked(suffix)
        return write_atomically(target, self._made(suffix, _positive("scale", scale)))

    def _made(self, suffix: str, scale: float) -> str | bytes:
        from gradviz.views.motion.reels import reel

        makers: Mapping[str, Callable[[], str | bytes]] = {
            ".svg": lambda: self.svg,
            ".html": self._page,
            ".png": lambda: self.strip().png(2 * scale),
            ".pdf": lambda: self.strip().pdf(),
        }
        if suffix in makers:
            return makers[suffix]()
        return reel(self.film, suffix, loop=self.loop, fps=self.fps, scale=scale)

    def _page(self) -> str:
        from gradviz.views.document import document

        theme = self.options.theme
        body = f"<main>{self.svg}</main>"
        title = self.options.title or self.moments.told
        return document(title=title, styles=[PAGE_STYLE], body=body, data={}, script="", theme=theme)

    def __repr__(self) -> str:
        return f"<{self.moments.told}, {self.seconds:.3g} s>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Return what a notebook shows: SVG, or why there is none. Never raises."""
        try:
            return {"image/svg+xml": self.svg, "text/plain": repr(self)}
        except GradvizError as error:
            return {"text/plain": escape.for_terminal(f"{self!r} (not drawn: {error.message}: {error.hint})")}

    def _repr_html_(self) -> str:
        """Return the animation for a page, as light or dark as that is. Never raises."""
        from gradviz.views.inline import preformatted, themed

        shown = self._repr_mimebundle_()
        return themed(shown["image/svg+xml"]) if "image/svg+xml" in shown else preformatted(shown["text/plain"])


PAGE_STYLE = "body{margin:2rem auto;max-width:64rem;padding:0 1rem}svg{display:block;margin:auto}"


def checked(suffix: str) -> None:
    """Raise `GradvizValueError` for a suffix that no animation has."""
    if suffix not in SUFFIXES:
        wrong = f"no animation has the suffix {suffix[:40]!r}" if suffix else "the file's name has no suffix"
        raise GradvizValueError(wrong, hint=f"allowed: {' '.join(SUFFIXES)}")


def animate(
    x: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    seconds: float | None = None,
    loop: bool = True,
    fps: float = 12.0,
    frames: int = 40,
    show: Any = None,
    direction: str | None = None,
    params: Mapping[str, Any] | None = None,
    **options: Any,
) -> Animation:
    """Return a computation in motion, and write it to ``path`` if one is given.

    ``x`` is a loss (a Tensor, a torch.Tensor, a Frame, steps, or what else `draw` takes): values arrive forward,
    operation by operation, then gradients flow back, edge by edge. A Graph without numbers only goes forward. Of a
    run (or the path of one) the picture stays and its numbers change, at no more than ``frames`` iterations from
    first to last, above the curve of its loss.

    ``seconds`` is how long it takes once (default: by the number of steps, at most 45), ``loop`` whether it starts
    again, ``fps`` the frames a second of GIF and WebP. ``show``, ``direction``, ``params`` and ``options`` are those
    of `draw` (default: names, values, gradients, and of scalars the derivative on every edge; from left to right, or
    from top to bottom where that would be too wide). A phase of more than 40 operations takes several at a time.
    Raises `GradvizValueError` naming a bad option, and for more than 20,000 nodes at all moments together.

    >>> from gradviz.graphs import EdgeTable, Frame, Graph, Node
    >>> x, y = Node(0, "x", "param", "param"), Node(1, "y", "neg", "op", (0,), symbol="-")
    >>> frame = Frame(Graph((x, y), (1,)), [3.0, -3.0], [-1.0, 1.0], EdgeTable({(0, 1, 0): -1.0}, {(0, 1, 0): -1.0}))
    >>> animation = animate(frame)
    >>> animation, animation.svg.count("<script")
    (<Animation of 1 operation forward, then 1 backward, 7.3 s>, 0)
    """
    from gradviz.sources import node_of

    if path is not None:
        checked(Path(path).suffix.lower())
    length = None if seconds is None else _positive("seconds", seconds, 3600.0)
    playing = Playing(_flag("loop", loop), _positive("fps", fps, 60.0), length, direction)
    options |= {"direction": direction or "LR"}
    run = _run(x)
    if run is not None:
        made = _of_run(run, _whole("frames", frames, MOST_ITERATIONS), {"show": show or SHOW, **options}, playing)
    else:
        focus = node_of(x, options.pop("focus", None))
        drawing = draw(_source(x, params), show=show or SHOW, focus=focus, **options)
        made = _of_loss(drawing, playing, show=show)
    if path is not None:
        made.save(path)
    return made


def _of_loss(drawing: Drawing, playing: Playing, *, show: Any) -> Animation:
    frame, options = drawing.frame, drawing.options
    if show is None and all(value is None or isinstance(value, float) for value in frame.values):
        options = replace(options, show=(*options.show, "local"))
    largest = largest_gradient(frame)
    return Animation(lasting(backpropagation(frame, options, largest), playing.seconds), options, largest, playing)


def _of_run(run: Any, frames: int, options: Mapping[str, Any], playing: Playing) -> Animation:
    asked = replace(draw(run, **options).options, highlight=(), pending=())
    moments = lasting(iterations(run, asked, frames), playing.seconds)
    largest = max((largest_gradient(moment.frame) for moment in moments), default=0.0)
    return Animation(moments, asked, largest, playing)


def lasting(moments: Moments, seconds: float | None) -> Moments:
    """Return moments that take so many seconds together; without a number at most 45."""
    now = sum(moment.seconds for moment in moments)
    factor = (min(now, LONGEST) if seconds is None else seconds) / now
    return replace(moments, shown=[replace(moment, seconds=moment.seconds * factor) for moment in moments])


def _run(x: Any) -> Any:
    """Return the run that is meant: a Run, the run of a descent, the path of one; else None."""
    from gradviz.tracing.descent import Descent
    from gradviz.tracing.reading import Run, open_run

    if isinstance(x, str | os.PathLike):
        return open_run(x)
    found = x.run if isinstance(x, Descent) else x
    if found is None and x is not None:
        raise GradvizTypeError("this descent was not traced", hint='descend(..., trace="runs/line")')
    return found if isinstance(found, Run) else None


def _source(x: Any, params: Any) -> Any:
    """Return the frame or graph to animate, with the gradients that a loss has or would have."""
    from gradviz.debugger.events import Step, Steps
    from gradviz.debugger.framing import whole_frame

    if isinstance(x, Steps):
        return x.full
    if isinstance(x, Step):
        return x._steps.full
    if isinstance(x, Drawing):
        return x.origin or x.frame
    shown = x if isinstance(x, Frame | Graph) else getattr(x, "frame", None)
    shown = shown(-1) if callable(shown) else shown  # of a capture: its last step
    return shown if isinstance(shown, Frame | Graph) else whole_frame(x, params)


def _positive(name: str, value: Any, most: float = 16.0) -> float:
    found = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    if not 0 < found <= most:
        raise GradvizValueError(f"{name}={str(value)[:80]} is out of range", hint=f"more than 0, at most {most:g}")
    return found


def _whole(name: str, value: Any, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or not 1 <= int(value) <= most:
        raise GradvizValueError(f"{name}={str(value)[:80]} is out of range", hint=f"allowed: 1 to {most}")
    return int(value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise GradvizTypeError(f"{name}={str(value)[:80]} is neither True nor False")
    return value
