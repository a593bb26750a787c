"""`Progress`: one line that says how a training goes, while it goes."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import sys
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from gradviz.style.wording import format_number
from gradviz.terminal import console, is_live

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Moment", "Progress"]

LIVE_PAUSE = 0.1  # seconds between two pictures on a terminal
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between two lines in a file; it doubles
SPEED_OVER = 20  # pictures over which the speed is averaged
BAR_WIDTH = 20
NARROW = 72  # columns of a terminal on which there is no room for a bar
DIGITS = 6


@dataclass(frozen=True, slots=True)
class Moment:
    """What the line says: ``count`` steps were made, ``total`` are planned (None: nobody knows).

    >>> str(Moment(count=3, total=10, step=2, loss=0.25, gradient=1.5, speed=20.0, seconds=0.15))
    '3/10  loss 0.25  gradient 1.5  20 steps/s  0:00:00 left'
    >>> str(Moment(count=3, total=None, step=2, loss=float("nan"), bad_since=1))
    'step 2  loss NaN (since 1)  0:00:00'
    """

    count: int
    total: int | None
    step: int
    loss: float
    gradient: float | None = None
    speed: float | None = None
    seconds: float = 0.0
    bad_since: int | None = None
    is_last: bool = False

    @property
    def position(self) -> str:
        """How far it has come."""
        return f"step {self.step}" if self.total is None else f"{self.count}/{self.total}"

    @property
    def verdict(self) -> str:
        """The loss, and since when it has been no finite number."""
        if self.bad_since is None:
            note = ""
        else:
            note = (
                f" (not finite at step {self.bad_since})" if math.isfinite(self.loss) else f" (since {self.bad_since})"
            )
        return f"loss {format_number(self.loss, DIGITS)}{note}"

    @property
    def rest(self) -> str:
        """Gradient norm, speed and time."""
        gradient = [] if self.gradient is None else [f"gradient {format_number(self.gradient, 3)}"]
        return "  ".join([*gradient, *_pace(self.speed), self._time()])

    def _time(self) -> str:
        """Return the time that is left where that is known, otherwise the time that has passed."""
        if self.total is None or self.is_last or not self.speed or self.count >= self.total:
            return _clock(self.seconds)
        return f"{_clock((self.total - self.count) / self.speed)} left"

    def __str__(self) -> str:
        return "  ".join((self.position, self.verdict, self.rest))


class Progress:
    """Shows step, loss, gradient norm and speed of a training on stderr.

    On a terminal it is one line that is written over, at most ten times a second; in a notebook what rich makes of
    that; in a pipe or a log a line now and then: after 1, 2, 4, ... and then every 30 seconds. ``total`` is the
    number of steps if it is known. Nothing is shown before the first step. A stream that can no
    longer be written to ends the display and never the training, and the child of a fork shows nothing.

    >>> with Progress(2) as progress:
    ...     progress.update(0, 0.5, 1.0)
    ...     progress.update(1, 0.25, lambda: 0.5)
    """

    def __init__(self, total: int | None = None) -> None:
        self._total = total
        self._count = 0
        self._due = 0.0
        self._last: tuple[int, float] = (0, math.nan)
        self._gradient: tuple[int, float | None] = (0, None)
        self._bad_since: int | None = None
        self._began = perf_counter()
        self._shown: deque[tuple[float, int]] = deque(maxlen=SPEED_OVER)
        self._screen: _Screen | None = None
        self._is_open = True

    def update(self, step: int, loss: float, gradient: float | Callable[[], float] | None = None) -> None:
        """Take note of a step; ``gradient`` may be a function, which is called only when the line is written."""
        self._count += 1
        self._last = step, loss
        turns_bad = self._bad_since is None and not -math.inf < loss < math.inf
        if turns_bad or perf_counter() >= self._due or self._count == self._total:
            self._show(gradient)

    def _show(self, gradient: float | Callable[[], float] | None, *, is_last: bool = False) -> None:
        """Write the line."""
        if not self._is_open:
            return
        self._gradient = self._count, gradient() if callable(gradient) else gradient
        try:
            if self._screen is None:
                self._begin()
            screen: Any = self._screen
            screen.show(self._moment(is_last=is_last))
            self._due = perf_counter() + screen.pause()
        except (OSError, ValueError):  # the terminal was closed, or the pipe
            self._is_open = False

    def _begin(self) -> None:
        """Choose how to show; a line that nobody closes is given up in order at the end of the program."""
        self._screen = _LiveLine() if _is_screen() else _Log()
        weakref.finalize(self, self._screen.stop)

    def _moment(self, *, is_last: bool) -> Moment:
        """Gather what the line says."""
        step, loss = self._last
        if self._bad_since is None and not math.isfinite(loss):
            self._bad_since = step
        now = perf_counter()
        self._shown.append((now, self._count))
        start, before = self._shown[0]
        counted, gradient = self._gradient
        return Moment(
            self._count,
            self._total,
            step,
            loss,
            gradient if counted == self._count else None,
            (self._count - before) / (now - start) if now > start and self._count > before else None,
            now - self._began,
            self._bad_since,
            is_last,
        )

    def close(self) -> None:
        """Write the line a last time and leave it; a second call does nothing."""
        if self._is_open and self._screen is not None:
            counted, gradient = self._gradient
            self._show(gradient if counted == self._count else None, is_last=True)
            with contextlib.suppress(OSError, ValueError):
                self._screen.stop()
        self._is_open = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Screen:
    """Where moments are shown, by the process that made it."""

    def __init__(self) -> None:
        self._process = os.getpid()

    def show(self, moment: Moment) -> None:
        """Write a moment, unless this is the child of a fork."""
        if os.getpid() == self._process:
            self._write(moment)

    def stop(self) -> None:
        """Leave the last line as it is."""
        if os.getpid() == self._process:
            self._end()

    def pause(self) -> float:
        """Return the seconds until the next moment is worth showing."""
        raise NotImplementedError

    def _write(self, moment: Moment) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        """Clean up."""


class _Log(_Screen):
    """Writes line after line, ever more rarely."""

    def __init__(self) -> None:
        super().__init__()
        self._pause = FIRST_PAUSE / 2
        self._written = 0

    def pause(self) -> float:
        """Return the seconds until the next line: twice as many each time."""
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return self._pause

    def _write(self, moment: Moment) -> None:
        if moment.count > self._written and sys.stderr is not None:
            print(moment, file=sys.stderr, flush=True)
            self._written = moment.count


class _LiveLine(_Screen):
    """Writes over one line of a terminal, or of a notebook's output; what others print appears above it."""

    def __init__(self) -> None:
        from rich.live import Live

        super().__init__()
        self._live = Live(
            console=console(stderr=True),
            auto_refresh=False,  # no thread: it costs the training nothing, and a fork is harmless
            redirect_stdout=is_live(sys.stdout),  # what goes into a file or a pipe stays there
            vertical_overflow="crop",
        )
        self._live.start()

    def pause(self) -> float:
        """Return the seconds until the next picture."""
        return LIVE_PAUSE

    def _write(self, moment: Moment) -> None:
        self._live.update(_picture(moment, self._live.console.width), refresh=True)

    def _end(self) -> None:
        self._live.stop()


def _is_screen() -> bool:
    """Tell whether a line can be written over: on a terminal, and in a notebook that has widgets."""
    if "ipykernel" not in sys.modules:
        return is_live(sys.stderr)
    return importlib.util.find_spec("ipywidgets") is not None and console(stderr=True).is_jupyter


def _picture(moment: Moment, width: int) -> RenderableType:
    """Return the line with its bar, and a loss that is no finite number in alarm."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(moment.verdict, "bold red reverse" if moment.bad_since is not None else "bold")
    line.append("  " + moment.rest)
    if moment.total is None or width < NARROW:
        return Text.assemble(moment.position, "  ", line, no_wrap=True, overflow="ellipsis")
    grid = Table.grid(padding=(0, 2, 0, 0))
    bar = ProgressBar(total=max(moment.total, 1), completed=moment.count, width=BAR_WIDTH)
    grid.add_row(Text(moment.position, no_wrap=True), bar, line)
    return grid


def _pace(speed: float | None) -> list[str]:
    """Return the speed in the unit that gives a number above one.

    >>> _pace(120.0), _pace(0.25), _pace(None)
    (['120 steps/s'], ['4 s/step'], [])
    """
    if not speed:
        return []
    return [f"{format_number(speed, 3)} steps/s" if speed >= 1 else f"{format_number(1 / speed, 3)} s/step"]


def _clock(seconds: float) -> str:
    """Return a duration.

    >>> _clock(3725.4)
    '1:02:05'
    """
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
