"""A run as text: the table of its numbers, and the few lines that sum it up."""

from __future__ import annotations

import csv
import io
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import GradvizValueError
from gradviz.escape import clean
from gradviz.files import write_atomically
from gradviz.tracing.store import trouble

if TYPE_CHECKING:
    from gradviz.tracing.reading import Run

__all__ = ["summary", "write_csv"]

CELL_LIMIT = 20_000_000  # numbers in a CSV file
SHOWN_LINES = 20


def write_csv(run: Run, path: Path) -> Path:
    """Write the run as CSV, one column per number."""
    headings = _headings(run)
    width = sum(prod(shape) for shape in headings.values())
    if width * len(run) > CELL_LIMIT:
        raise GradvizValueError(
            f"{len(run)} steps of {width} numbers: a CSV file takes {CELL_LIMIT}",
            hint="export a part of the run, run[:100], or read the .npy files with NumPy",
        )
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    labels = [label for key, shape in headings.items() for label in _labels(key, shape)]
    table.writerow(["step", "time", "loss", *labels])
    for row in run:
        numbers = [cell for key, shape in headings.items() for cell in _cells(row.get(key), shape)]
        table.writerow([row["step"], row["time"], row["loss"], *numbers])
    with trouble(f"cannot write {path.name}", path):
        return write_atomically(path, text.getvalue())


def _headings(run: Run) -> dict[str, tuple[int, ...]]:
    """Return the shape of every recorded key, those of one parameter together."""
    shapes: dict[str, tuple[int, ...]] = {}
    for part in run.structures:
        for key, column in part.labels:
            if shapes.setdefault(key, column.shape) != column.shape:
                raise GradvizValueError(
                    f"the shape of {key!r} changes during the run: {shapes[key]}, {column.shape}",
                    hint="export a part of the run, run[:100]",
                )
    return shapes


def _labels(key: str, shape: tuple[int, ...]) -> list[str]:
    """Return a label per element.

    >>> _labels("W.grad", (1, 2))
    ['W[0,0].grad', 'W[0,1].grad']
    """
    if not shape:
        return [key]
    for suffix in (".grad.norm", ".norm", ".grad", ""):
        if key.endswith(suffix):
            break
    name = key.removesuffix(suffix)
    places = product(*map(range, shape))
    return [f"{name}[{','.join(map(str, place))}]{suffix}" for place in places]


def _cells(number: Any, shape: tuple[int, ...]) -> list[Any]:
    """Return the cells of one number or array; what was not there is empty."""
    if number is None:
        return [""] * prod(shape)
    return number.ravel().tolist() if isinstance(number, np.ndarray) else [number]


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
        name: ", ".join(f"{word}{_short(row[key])}" for key, word in _words(name) if key in row) for name in run.names
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
        (f"{name}.grad", "gradient "),
        (f"{name}.grad.norm", "gradient norm "),
    ]


def _short(number: Any) -> str:
    """Return a number in a few characters, an array by its shape and range."""
    if number is None:
        return "none"
    if not isinstance(number, np.ndarray):
        return f"{number:.6g}"
    if not number.size:
        return f"array {number.shape}"
    return f"array {number.shape} from {number.min():.4g} to {number.max():.4g}"
