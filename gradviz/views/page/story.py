"""What happened in a run: its curves, findings and events, and which steps of it are shown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import GradvizValueError
from gradviz.escape import clean
from gradviz.graphs import Graph
from gradviz.rules import Finding
from gradviz.style import wording
from gradviz.views.cards import file_name
from gradviz.views.page.packing import packed_numbers, rounded
from gradviz.views.page.thinning import chosen
from gradviz.views.page.tracks import DIGITS, Known, weight

if TYPE_CHECKING:
    from gradviz.tracing.history import History
    from gradviz.tracing.reading import Run

__all__ = ["Story"]

NUMBERS = 700_000  # numbers of all nodes at all steps; a number takes about 5 bytes of the page
ELEMENTS = 200_000_000  # of all values and gradients together, for a report within seconds
STEPS = 1000  # shown at most
FEWEST = 20  # shown at least, however large the graph
CURVES = 60  # parameters that are drawn
POINTS = 4000  # of the loss
FINDINGS = 200
EVENTS = 500
TEXT = 1000  # characters of one message
QUIET = ("optimizer", "update", "end")  # events that mark no step


@dataclass(frozen=True, slots=True)
class Curve:
    """A parameter through time: its value if it is a number, else the norm; and the same of its gradient."""

    name: str
    shape: tuple[int, ...]
    value: np.ndarray
    grad: np.ndarray


class Story:
    """Reads a run once; ``limit`` is how many steps are shown at most."""

    def __init__(self, run: Run, limit: int | None = None) -> None:
        self.run = run[:]  # as it is now, while somebody may be writing on
        self.steps = np.asarray(run.steps)
        self.loss = np.asarray(run.loss, np.float64)
        self.limit = limit

    @cached_property
    def curves(self) -> list[Curve]:
        """The parameters through all steps."""
        shapes = {node.name: node.shape for graph in self.run.graphs for node in graph if node.kind != "op"}
        return [_curve(name, self.run[name], shapes.get(name)) for name in self.run.names[:CURVES]]

    @cached_property
    def findings(self) -> list[Finding]:
        """What the health rules say."""
        return self.run.findings()[:FINDINGS]

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        """What else happened."""
        return list(self.run.events)[:EVENTS]

    @cached_property
    def last_of_step(self) -> np.ndarray:
        """The position of every step, in the order of the steps: of one done twice the later."""
        _, first = np.unique(self.steps[::-1], return_index=True)
        positions: np.ndarray = len(self.steps) - 1 - first
        return positions

    @cached_property
    def kept(self) -> np.ndarray:
        """The positions that are shown."""
        positions = self.last_of_step
        curves = [self.loss, *(part for curve in self.curves for part in (curve.value, curve.grad))]
        wanted = [int(np.searchsorted(self.steps[positions], step)) for step in self._marked_steps()]
        limit = min(STEPS, self.limit or self._limit())
        kept: np.ndarray = positions[chosen(len(positions), limit, [curve[positions] for curve in curves], wanted)]
        return kept

    def _limit(self) -> int:
        heaviest = max((weight(graph) for graph in self.run.graphs), default=1.0)
        elements = max((2 * sum(math.prod(node.shape) for node in graph) for graph in self.run.graphs), default=1)
        return max(FEWEST, min(int(NUMBERS / max(heaviest, 1.0)), ELEMENTS // max(elements, 1)))

    def _marked_steps(self) -> Iterator[int]:
        for finding in self.findings:
            if finding.step is not None:
                yield finding.step
        broken = np.flatnonzero(~np.isfinite(self.loss))
        if broken.size:
            yield from self.steps[[max(0, broken[0] - 1), broken[0]]].tolist()
        for event in self.events:
            if event.get("step") is not None and event.get("kind") not in QUIET:
                yield event["step"]
        whole = self.run.whole_positions()
        if whole is not None and len(whole) < len(self.steps):  # of the others only norms are known
            yield from self.steps[whole].tolist()

    def structures(self) -> list[Graph | None]:
        """Return the graph of every step that is shown; None where the loss had none."""
        return [self.run[int(position) : int(position) + 1].graph for position in self.kept]

    def known(self, names: Iterable[str]) -> dict[tuple[str, str], Known]:
        """Return what was recorded of arrays whose elements were not."""
        recorded = {*self.run.names, *self.run.nodes}
        there = [name for name in names if name in recorded]
        return {(name, kind): _known(self.run[name], kind) for name in there for kind in ("value", "grad")}

    # -- as data

    def data(self) -> dict[str, Any]:
        """Return what the page needs of all this."""
        kept = self.kept
        shown, points = self._loss_points()
        return {
            "steps": self.steps[kept].tolist(),
            "total": len(self.steps),
            "times": [round(float(time), 3) for time in np.asarray(self.run.times)[kept] - self.run.times[:1].sum()],
            "loss": {"steps": self.steps[shown].tolist(), "values": packed_numbers(rounded(points[None], DIGITS))},
            "losses": packed_numbers(rounded(self.loss[kept][None], DIGITS)),
            "curves": [
                {"name": curve.name, "title": clean(curve.name, 60), "shape": list(curve.shape)}
                for curve in self.curves
            ],
            "histories": packed_numbers(self._histories(kept)),
            "left_out": max(0, len(self.run.names) - CURVES),
            "findings": [self._finding(finding) for finding in self.findings],
            "events": [self._event(event) for event in self.events if event.get("kind") != "end"],
        }

    def _histories(self, kept: np.ndarray) -> np.ndarray:
        rows = [np.ma.filled(part[kept], np.nan) for curve in self.curves for part in (curve.value, curve.grad)]
        return rounded(np.array(rows, np.float64).reshape(len(rows), len(kept)), DIGITS)

    def _loss_points(self) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and losses to draw: all, or of many the lowest and highest of every stretch."""
        positions = self.last_of_step
        if len(positions) > POINTS:
            stretches = np.array_split(positions, POINTS // 3)
            found = {
                self.steps[position]: position for part in stretches for position in _extremes(part, self.loss[part])
            }
            found |= {self.steps[position]: position for position in self.kept.tolist()}
            positions = np.array([found[step] for step in sorted(found)])
        return positions, self.loss[positions]

    @property
    def about(self) -> str:
        """The run in one line."""
        count = len(self.steps)
        if not count:
            return "no steps yet"
        first, last = (wording.format_number(loss) for loss in (self.loss[0], self.loss[-1]))
        parts = [f"{count:,} step{'' if count == 1 else 's'}", f"loss {first} → {last}"]
        parts += [f"{len(self.findings):,} finding{'' if len(self.findings) == 1 else 's'}"]
        if self.run.is_live:
            parts.append("still being written")
        if len(self.kept) < count:
            parts.append(f"{len(self.kept):,} of {count:,} steps are shown, those where most changes")
        return ", ".join(parts)

    def place_of(self, step: int | None) -> int:
        """Return which of the steps shown is the step, or the last before it; -1 for none."""
        if step is None or not len(self.kept):
            return -1
        return max(0, int(np.searchsorted(self.steps[self.kept], step, side="right")) - 1)

    def _finding(self, finding: Finding) -> dict[str, Any]:
        source = finding.source
        return {
            "rule": clean(finding.rule, 60),
            "severity": finding.severity,
            "message": clean(finding.message, TEXT),
            "advice": clean(finding.advice, TEXT),
            "node": finding.node,
            "title": clean(finding.node or "", 60),
            "step": finding.step,
            "last": finding.last_step,
            "place": self.place_of(finding.step),
            "source": f"{clean(file_name(source.file), 60)}:{source.line}" if source else "",
            "code": clean(source.text or source.code, 120) if source else "",
            "numbers": [[clean(str(key), 40), _number_text(value)] for key, value in list(finding.numbers.items())[:8]],
        }

    def _event(self, event: dict[str, Any]) -> dict[str, Any]:
        step = event.get("step")
        step = step if isinstance(step, int) else None
        return {
            "kind": clean(str(event.get("kind", "")), 60),
            "text": clean(str(event.get("text", "")), TEXT),
            "step": step,
            "place": self.place_of(step),
            "marked": step is not None and step not in self.steps[:1] and event.get("kind") not in QUIET,
        }


def _extremes(positions: np.ndarray, losses: np.ndarray) -> list[int]:
    """Return where the loss is lowest, highest, and not finite for the first time."""
    finite = np.isfinite(losses)
    found = np.flatnonzero(~finite)[:1].tolist()
    if finite.any():
        found += [np.argmin(np.where(finite, losses, np.inf)), np.argmax(np.where(finite, losses, -np.inf))]
    return [int(positions[place]) for place in found]


def _curve(name: str, history: History, shape: tuple[int, ...] | None) -> Curve:
    """Read a parameter; without a graph its shape is not known, but a number is one and an array has a norm."""
    if shape:
        return Curve(name, shape, _floats(history.norm), _floats(history.grad_norm))
    try:
        value = history.value
    except GradvizValueError:  # only the norm was recorded
        return Curve(name, (1,), _floats(history.norm), _floats(history.grad_norm))
    if value.ndim > 1:
        return Curve(name, value.shape[1:], _floats(history.norm), _floats(history.grad_norm))
    return Curve(name, (), _floats(value), _floats(history.grad))


def _known(history: History, kind: str) -> Known:
    """Return norms, sums and histograms, as far as they were recorded."""
    norm, stats, exponents = (
        (history.norm, history.stats, history.exponents)
        if kind == "value"
        else (history.grad_norm, history.grad_stats, history.grad_exponents)
    )
    return Known(
        _floats(norm), _table(stats), None if np.ma.getmaskarray(exponents).all() else np.ma.filled(exponents, 0)
    )


def _table(stats: np.ndarray) -> np.ndarray:
    """Return the sums as rows of numbers, NaN where there are none."""
    return np.stack([_floats(stats[name]) for name in ("min", "max", "mean", "norm", "zeros", "nans", "infs")], axis=-1)


def _floats(numbers: np.ndarray) -> np.ndarray:
    """Return numbers as float64, NaN where there is none; a complex one by its size."""
    real = np.abs(numbers) if numbers.dtype.kind == "c" else numbers
    return np.ma.filled(np.ma.asarray(real).astype(np.float64), np.nan)


def _number_text(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return wording.format_number(value)
    return clean(str(value), 120)
