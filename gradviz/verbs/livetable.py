"""The table that ``gradviz show RUN --follow`` writes over and over: one picture of a run that grows."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.escape import clean
from gradviz.style.wording import format_number, format_shape
from gradviz.verbs.sizes import size_of

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from gradviz.verbs.watching import Watched

__all__ = ["picture", "sparkline"]

DIGITS = 6
CELLS = 40
RECENT = 400  # steps of the second curve
EVENTS, FOUND = 4, 4  # lines at most
QUIET = 3.0  # seconds without a step that are worth saying
WIDE_RANGE = 100.0  # positive numbers that differ by more are drawn by their logarithms
BLOCKS = "▁▂▃▄▅▆▇█"
BAD = "!"
ALARM = "bold red"
STYLES = {"error": ALARM, "warning": "yellow"}  # of findings


def picture(watched: Watched, width: int, height: int) -> Group:
    """Return the run as it is now, for a terminal of this size."""
    from rich.console import Group

    notes = [*_findings(watched), *_events(watched)]
    head = [_headline(watched), *_losses(watched)]
    room = max(1, height - len(head) - len(notes) - 4)
    table = [_parameters(watched, room)] if watched.run.names and watched.last else []
    return Group(*head, *table, *notes)


def _line(*parts: Any) -> Text:
    from rich.text import Text

    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _headline(watched: Watched) -> Text:
    """Say whether it lives, how far it is and how fast, and name it."""
    state, style = ("live", "bold green") if watched.is_live else ("ended", "bold")
    if watched.ending:
        state, style = watched.ending, ALARM
    count = len(watched.losses)
    words = [f"{count:,} step{'' if count == 1 else 's'}"]
    speed = watched.steps_per_second
    if speed:
        words.append(f"{format_number(speed, 3)} steps/s" if speed >= 1 else f"{format_number(1 / speed, 3)} s/step")
    quiet = time.time() - watched.last["time"] if watched.last else 0.0
    if watched.is_live and quiet > QUIET:
        words.append(f"no step for {quiet:.0f} s")
    return _line((state, style), "  ", "  ".join(words), "  ", (clean(str(watched.run.path)), "bold"))


def _losses(watched: Watched) -> list[Text]:
    """Show the loss now, the least one, and the curve of all and of the last steps."""
    loss = watched.loss
    if not len(loss):
        return [_line("no step yet")]
    finite = np.isfinite(loss)
    now = (f"loss {format_number(loss[-1], DIGITS)}", "bold" if finite[-1] else ALARM)
    words: list[Any] = [f"step {watched.last['step']}  ", now]
    if finite.any():
        best = int(np.argmin(np.where(finite, loss, np.inf)))
        words.append(f"  least {format_number(loss[best], DIGITS)} at step {watched.run.steps[best]}")
    if not finite.all():
        words.append((f"  not finite in {int((~finite).sum()):,} steps", ALARM))
    gradient = watched.gradient
    if gradient is not None:
        words.append((f"  gradient {format_number(gradient)}", "" if math.isfinite(gradient) else ALARM))
    lines = [_line(*words), _line(sparkline(loss), f" all {len(loss):,} steps")]
    if len(loss) > RECENT:
        lines.append(_line(sparkline(loss[-RECENT:]), f" last {RECENT}"))
    return lines


def sparkline(numbers: np.ndarray, cells: int = CELLS) -> str:
    """Return the course of the numbers in one line of at most ``cells`` characters.

    Each character is the mean of equally many numbers, between the least and the largest; ``!`` stands
    where one is not finite. Positive numbers that span a factor of 100 are compared by their logarithms.

    >>> sparkline(np.array([1.0, 2.0, 3.0, np.nan, 8.0]))
    '▁▂▃!█'
    >>> sparkline(np.array([1e-6, 1e-3, 1.0]))
    '▁▅█'
    """
    if not len(numbers):
        return ""
    finite = np.isfinite(numbers)
    scaled = np.where(finite, numbers, 0.0) / (np.abs(numbers[finite]).max(initial=0.0) or 1.0)
    pieces = np.array_split(np.where(finite, scaled, np.nan), min(cells, len(numbers)))
    means = np.array([piece.mean() for piece in pieces])
    known = means[np.isfinite(means)]
    if not len(known):
        return BAD * len(means)
    if known.min() > 0 and known.max() > WIDE_RANGE * known.min():
        means, known = np.log(means), np.log(known)
    spread = float(np.ptp(known)) or 1.0
    places = (means - known.min()) / spread * (len(BLOCKS) - 1)
    return "".join(BAD if math.isnan(place) else BLOCKS[round(place)] for place in places.tolist())


def _parameters(watched: Watched, room: int) -> Table:
    """Show value and gradient of the first parameters: a scalar as it is, an array by its norms."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("parameter", "shape", "", "value", "gradient"):
        table.add_column(heading, justify="right" if heading in {"value", "gradient"} else "left", no_wrap=True)
    names = watched.run.names
    shown = names if len(names) <= room else names[: room - 1]
    for name in shown:
        value, grad = size_of(watched.last, name, ""), size_of(watched.last, name, ".grad")
        recorded = watched.last.get(name)
        shape = "" if recorded is None else format_shape(np.shape(recorded)) or "scalar"
        what = "" if recorded is not None and np.ndim(recorded) == 0 else "norm"
        table.add_row(Text(clean(name, 60)), shape, what, _number(value), _number(grad))
    if len(shown) < len(names):
        table.add_row(Text(f"... {len(names) - len(shown)} more", style="dim"))
    return table


def _number(value: float | None) -> Text:
    if value is None:
        return _line(("none", "dim"))
    return _line((format_number(value), "" if math.isfinite(value) else ALARM))


def _findings(watched: Watched) -> list[Text]:
    """Name the most serious findings."""
    lines = [_line((clean(str(found), 400), STYLES.get(found.severity, ""))) for found in watched.findings[:FOUND]]
    left = len(watched.findings) - FOUND
    return [*lines, _line((f"... {left} more: gradviz check", "dim"))] if left > 0 else lines


def _events(watched: Watched) -> list[Text]:
    """Tell the last events."""
    return [
        _line((f"step {event.get('step')} ", "dim"), clean(str(event.get("text") or event.get("kind")), 400))
        for event in watched.run.events[-EVENTS:]
    ]
