"""A run as text: the few lines that sum it up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.escape import clean
from gradviz.tracing.layout import STATS

if TYPE_CHECKING:
    from gradviz.tracing.many import Member
    from gradviz.tracing.reading import Run

__all__ = ["comparison", "summary"]

SHOWN_LINES = 20
RUNS_SHOWN = 200
META_SHOWN = 8
TOLD = ("level", "inputs", "note")  # kinds of events that a summary repeats


def summary(run: Run, damage: list[str]) -> str:
    """Return what is in the run, as a few lines of text."""
    lines = [f"run       {run.path}", f"steps     {len(run)}{_span(run)}"]
    if len(run):
        best = int(np.argmin(np.where(np.isnan(run.loss), np.inf, run.loss)))
        lines.append(
            f"loss      {run.loss[0]:.6g} to {run.loss[-1]:.6g}, least {run.loss[best]:.6g} at step {run.steps[best]}"
        )
        wrong = np.flatnonzero(~np.isfinite(run.loss))
        if len(wrong):
            lines.append(f"          not finite in {len(wrong)} steps, first in step {run.steps[wrong[0]]}")
    lines += _labelled("graphs", [repr(graph) for graph in run.graphs])
    lines += _last_numbers(run)
    lines += _labelled(
        "events", [f"step {e.get('step')}: {e.get('text')}" for e in run.events if e.get("kind") in TOLD]
    )
    lines += _labelled("meta", [f"{key} = {value!r}" for key, value in run.meta.items()])
    lines += _labelled("damage", damage)
    return "\n".join(lines)


def _span(run: Run) -> str:
    """Return from where to where the steps go and how long they took."""
    if not len(run):
        return ""
    seconds = run.times[-1] - run.times[0]
    each = f", {seconds / (len(run) - 1) * 1e3:.3g} ms each" if len(run) > 1 else ""
    return f" ({run.steps[0]} to {run.steps[-1]}{each})"


def _last_numbers(run: Run) -> list[str]:
    """Return the parameters at the last step."""
    if not len(run):
        return _labelled("names", list(run.names))
    row = next(iter(run[-1:]))
    shown = {
        name: ", ".join(f"{word}{_shown(key, row[key])}" for key, word in _words(name) if key in row)
        for name in run.names
    }
    return _labelled("last", [f"{name} = {numbers}" for name, numbers in shown.items()])


def _labelled(label: str, texts: list[str]) -> list[str]:
    """Return one line per text, the first with the label, and say how many were left out."""
    left = len(texts) - SHOWN_LINES
    shown = [clean(text) for text in texts[:SHOWN_LINES]] + ([f"... and {left} more"] if left > 0 else [])
    return [f"{'' if i else label:9} {text}" for i, text in enumerate(shown)]


def _words(name: str) -> list[tuple[str, str]]:
    return [
        (name, ""),
        (f"{name}.norm", "norm "),
        (f"{name}.stats", ""),
        (f"{name}.grad", "gradient "),
        (f"{name}.grad.norm", "gradient norm "),
        (f"{name}.grad.stats", "gradient "),
    ]


def _shown(key: str, number: Any) -> str:
    """Return a number, a few words on an array, or recorded statistics."""
    if number is None or not key.endswith(".stats") or np.shape(number) != (len(STATS),):
        return _short(number)
    told = dict(zip(STATS, number.tolist(), strict=True))
    counts = [f"{told[what]:.0f} {what}" for what in ("zeros", "nans", "infs") if told[what]]
    span = f"from {told['min']:.4g} to {told['max']:.4g}"
    return ", ".join([f"{span}, mean {told['mean']:.4g}, norm {told['norm']:.6g}", *counts])


def _short(number: Any) -> str:
    """Return a number in a few characters, an array by its shape and range."""
    if number is None:
        return "none"
    if not isinstance(number, np.ndarray):
        return f"{number:.6g}"
    if not number.size:
        return f"array {number.shape}"
    return f"array {number.shape} from {number.min():.4g} to {number.max():.4g}"


def comparison(members: Sequence[Member], damage: Sequence[str]) -> str:
    """Return a line per run: its name, steps, first, last and least loss, and its meta."""
    keys = list(dict.fromkeys(key for member in members for key in member.opened.meta))[:META_SHOWN]
    rows = [["run", "steps", "first loss", "last loss", "least", *map(clean, keys)]]
    rows += [_compared(member, keys) for member in members[:RUNS_SHOWN]]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    left = len(members) - RUNS_SHOWN
    return "\n".join([*lines, *([f"... and {left} more"] if left > 0 else []), *_labelled("damage", list(damage))])


def _compared(member: Member, keys: Sequence[str]) -> list[str]:
    run = member.opened[:]
    finite = run.loss[~np.isnan(run.loss)]
    losses = [*run.loss[:1], *run.loss[-1:], *([finite.min()] if len(finite) else [])] if len(run) else []
    shown = [f"{loss:.6g}" for loss in losses]
    told = [clean(str(run.meta[key]), 24) if key in run.meta else "" for key in keys]
    return [clean(member.name, 60), str(len(run)), *shown, *[""] * (3 - len(shown)), *told]
