"""`diff`: two runs, frames or graphs compared bit for bit, and where they part."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import GradvizTypeError
from gradviz.escape import clean
from gradviz.graphs import Frame, Graph, GraphDiff
from gradviz.style.wording import format_number
from gradviz.tracing.divergence import Divergence
from gradviz.tracing.framediff import FrameDiff, compare_frames, graph_dict, structure_lines
from gradviz.tracing.lockstep import Side, common_steps, first_difference, least_form
from gradviz.tracing.measuring import Difference, measured, plain

if TYPE_CHECKING:
    from gradviz.tracing.reading import Run

__all__ = ["ParameterDiff", "RunDiff", "diff", "since"]

SHOWN = 20  # parameters, or facts about the runs, in the text
ORDER = {"value": 0, "input": 0, "loss": 1, "gradient": 2}  # what comes first within one step
LESS = {"digest": "checksums", "stats": "statistics", "norm": "norms", None: "nothing"}  # than the numbers
SURROUNDINGS = ("level", "seed", "rank", "world_size", "machine", "system", "byteorder", "checkpoint", "budget")


@dataclass(frozen=True, slots=True)
class ParameterDiff:
    """One parameter, or an input that changes, of two runs.

    ``value`` and ``gradient`` are the first differences, None if there is none; ``first`` and ``last`` are its
    values in the first and last step that both have, a pair each: numbers, or norms of arrays. ``form`` is what was
    compared of its values where least was recorded: ``exact``, ``digest``, ``stats``, ``norm``; None if nothing.
    """

    name: str
    value: Difference | None
    gradient: Difference | None
    first: tuple[float | None, float | None]
    last: tuple[float | None, float | None]
    is_norm: bool = False
    form: str | None = "exact"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "name": self.name,
            "value": self.value and self.value.to_dict(),
            "gradient": self.gradient and self.gradient.to_dict(),
            "norms": self.is_norm,
            "form": self.form,
            "first": [plain(number) for number in self.first],
            "last": [plain(number) for number in self.last],
        }


@dataclass(frozen=True, slots=True)
class RunDiff(Divergence):
    """How two runs differ; it is true when they do.

    Steps, names, structures and numbers count, bit for bit; what was noted of the runs (``facts``: meta data, versions,
    seed) is told but does not count. ``first`` is the first number that differs, ``frames`` compares every node
    of that step.
    """

    paths: tuple[str, str]
    lengths: tuple[int, int]
    common: int
    only: tuple[tuple[int, ...], tuple[int, ...]]
    names: tuple[tuple[str, ...], tuple[str, ...]]
    facts: tuple[tuple[str, Any, Any], ...]
    structure: GraphDiff
    structure_step: int | None
    loss: Difference | None
    parameters: tuple[ParameterDiff, ...]
    frames: FrameDiff | None
    final_steps: tuple[int | None, int | None]
    final_loss: tuple[float | None, float | None]
    damage: tuple[int, int] = (0, 0)
    runs: tuple[Run, Run] | None = field(default=None, repr=False, compare=False)

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The first difference of every number, in the order in which they happened."""
        found = [self.loss, *chain.from_iterable((one.value, one.gradient) for one in self.parameters)]
        return tuple(sorted(filter(None, found), key=lambda one: (one.step, ORDER[one.what])))

    @property
    def first(self) -> Difference | None:
        """The first number that differs: of one step a parameter comes before the loss, and that before a gradient."""
        return next(iter(self.differences), None)

    @property
    def step(self) -> int | None:
        """The step in which the runs part, in numbers or in structure."""
        steps = [self.structure_step, self.first.step if self.first else None]
        return min((step for step in steps if step is not None), default=None)

    @property
    def same(self) -> bool:
        """Whether steps, names, structures and all numbers are the same, bit for bit."""
        return self.step is None and not any((*self.only, *self.names))

    @property
    def extent(self) -> str:
        """How far equality was seen: bit for bit, or in what less was recorded of some parameters."""
        less = [one.form for one in self.parameters if one.form != "exact"]
        if not less:
            return "bit for bit"
        kinds = [words for form, words in LESS.items() if form in less]
        return f"in all that both recorded: of {len(less)} of {len(self.parameters)} parameters {' or '.join(kinds)}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "same": self.same,
            "runs": list(self.paths),
            "steps": list(self.lengths),
            "common_steps": self.common,
            "only": [list(steps[:1000]) for steps in self.only],
            "names": [list(names) for names in self.names],
            "facts": [{"name": name, "a": a, "b": b} for name, a, b in self.facts],
            "structure": {"step": self.structure_step, **graph_dict(self.structure)},
            "step": self.step,
            "first": self.first and self.first.to_dict(),
            "loss": self.loss and self.loss.to_dict(),
            "parameters": [one.to_dict() for one in self.parameters],
            "nodes": None if self.frames is None else self.frames.to_dict(),
            "final_steps": list(self.final_steps),
            "final_loss": [plain(loss) for loss in self.final_loss],
            "damage": list(self.damage),
        }

    def _lines(self) -> Iterator[str]:
        a, b = map(clean, self.paths)
        yield f"{a} and {b} {'differ' if self else 'are the same'}: {self._headline()}"
        yield from _labelled("steps", self._step_lines())
        yield from _labelled("names", self._name_lines())
        yield from _labelled("about", [f"{clean(name)}: {_fact(x)} | {_fact(y)}" for name, x, y in self.facts])
        yield from _labelled("graph", self._graph_lines())
        yield from _labelled("numbers", [since(one) for one in self.differences])
        if self.frames:
            yield from _labelled("nodes", [f"in step {self.step}:", *str(self.frames).splitlines()])
        if any(loss is not None for loss in self.final_loss):
            yield from _labelled("end", [self._end()])
        if any(self.damage):
            yield from _labelled("damage", [f"{self.damage[0]} | {self.damage[1]} notes: see run.damage"])

    def _headline(self) -> str:
        if self.same:
            return f"{self.common} steps, {self.extent}"
        if self.step is not None:
            what = f", by {self.first.what} of {clean(self.first.name)}" if self.first else ", by their graphs"
            if self.first is not None and self.first.what == "loss":
                what = ", by the loss"
            return f"they part in step {self.step}{what}"
        return "all that both have is the same" if self.common else "they have no step in common"

    def _step_lines(self) -> list[str]:
        lines = [f"{self.lengths[0]} | {self.lengths[1]}, {self.common} in both"]
        for path, steps in zip(self.paths, self.only, strict=True):
            if steps:
                lines.append(f"only in {clean(path)}: {len(steps)}, from {steps[0]} to {steps[-1]}")
        return lines

    def _name_lines(self) -> list[str]:
        both = zip(self.paths, self.names, strict=True)
        return [f"only in {clean(path)}: {clean(', '.join(names[:SHOWN]))}" for path, names in both if names]

    def _graph_lines(self) -> list[str]:
        if self.structure_step is None:
            return []
        return [f"in step {self.structure_step} {line}" if not i else line for i, line in enumerate(self._structure())]

    def _structure(self) -> list[str]:
        return list(structure_lines(self.structure)) if self.structure else ["one run has no graph"]

    def _end(self) -> str:
        pairs = zip(self.final_loss, self.final_steps, strict=True)
        return "loss " + " | ".join("none" if x is None else f"{format_number(x, 6)} (step {k})" for x, k in pairs)


def since(found: Difference) -> str:
    """Return what differs, from which step on, and how."""
    what = "loss" if found.what == "loss" else f"{found.what} of {clean(found.name, 80)}"
    return f"{what} from step {found.step} on: {found.told}"


def _labelled(label: str, lines: list[str]) -> Iterator[str]:
    """Yield lines with a label before the first, and say how many were left out."""
    left = len(lines) - SHOWN
    for i, line in enumerate([*lines[:SHOWN], *([f"... and {left} more"] if left > 0 else [])]):
        yield f"{'' if i else label:8} {line}"


def _fact(value: Any) -> str:
    return "none" if value is None else clean(str(value), 60)


# -- comparing -------------------------------------------------------------------------------------


def diff(a: Any, b: Any) -> RunDiff | FrameDiff | GraphDiff:
    """Compare two runs (or their paths), two frames (or Tensors) or two graphs, bit for bit.

    The result is true when there is a difference, prints as a few lines, and has ``to_dict()``. NaN is
    equal to itself, and 0.0 is not -0.0. Of runs it tells the first step in which anything differs, of frames the first
    node, forward and backward. Where less was recorded than the numbers, checksums, statistics or norms
    are compared. Raises GradvizTypeError for two things of different kinds.

    >>> import gradviz
    >>> w = gradviz.Tensor(2.0, name="w")
    >>> before = gradviz.frame(w * 3)
    >>> w.data = 2.5
    >>> print(diff(before, gradviz.frame(w * 3)))
    2 values differ; the first forward is w (param...): 2 | 2.5 (relative 0.2)
    >>> bool(diff(before, before))
    False
    """
    one, other = _subject(a), _subject(b)
    if isinstance(one, Graph) and isinstance(other, Graph):
        return one.diff(other)
    if isinstance(one, Frame) and isinstance(other, Frame):
        return compare_frames(one, other)
    if hasattr(one, "pieces") and hasattr(other, "pieces"):
        return compare_runs(one, other)
    raise GradvizTypeError(
        f"a {type(one).__name__} and a {type(other).__name__} cannot be compared",
        hint="give two runs, two frames (run.frame(17)) or two graphs",
    )


def _subject(x: Any) -> Any:
    """Return the run behind a path and the frame of a Tensor."""
    from gradviz import sources
    from gradviz.tracing.reading import Run, open_run

    if isinstance(x, Run | Frame | Graph):
        return x
    return open_run(x) if isinstance(x, str | os.PathLike) else sources.frame(x)


def compare_runs(a: Run, b: Run) -> RunDiff:
    """Return how two runs differ."""
    a, b = a[:], b[:]  # as they are now, should they still be written
    sides = Side(a), Side(b)
    at = common_steps(a, b)
    structure, structure_step = _structures(*sides, at)
    parameters = tuple(_parameter(*sides, at, name) for name in sides[0].names if name in sides[1].names)
    found = RunDiff(
        paths=(str(a.path), str(b.path)),
        lengths=(len(a), len(b)),
        common=len(at[0]),
        only=(_missing(a, b), _missing(b, a)),
        names=(_unshared(*sides), _unshared(*reversed(sides))),
        facts=tuple(_facts(a, b)),
        structure=structure,
        structure_step=structure_step,
        loss=_loss(a, b, at),
        parameters=parameters,
        frames=None,
        final_steps=(_last(a.steps), _last(b.steps)),
        final_loss=(_last(a.loss), _last(b.loss)),
        damage=(len(a.damage), len(b.damage)),
        runs=(a, b),
    )
    return _with_frames(found, a, b)


def _with_frames(found: RunDiff, a: Run, b: Run) -> RunDiff:
    if found.step is None:
        return found
    return replace(found, frames=compare_frames(a.frame(found.step), b.frame(found.step)))


def _missing(a: Run, b: Run) -> tuple[int, ...]:
    return tuple(np.setdiff1d(a.steps, b.steps).tolist())


def _unshared(a: Side, b: Side) -> tuple[str, ...]:
    return tuple(name for name in a.names if name not in b.names)


def _last(numbers: np.ndarray) -> Any:
    return numbers[-1].item() if len(numbers) else None


def _structures(a: Side, b: Side, at: tuple[np.ndarray, np.ndarray]) -> tuple[GraphDiff, int | None]:
    """Return how the graphs differ in the first common step in which they do."""
    pairs = np.stack([a.segments[at[0]], b.segments[at[1]]], axis=1)
    _, places = np.unique(pairs, axis=0, return_index=True)
    for place in np.sort(places).tolist():
        one, other = a.parts[int(pairs[place, 0])].graph, b.parts[int(pairs[place, 1])].graph
        if (one is None) is not (other is None):
            return GraphDiff(), int(a.run.steps[at[0][place]])
        if one is not None and other is not None and one.fingerprint() != other.fingerprint():
            return one.diff(other), int(a.run.steps[at[0][place]])
    return GraphDiff(), None


def _loss(a: Run, b: Run, at: tuple[np.ndarray, np.ndarray]) -> Difference | None:
    one, other = a.loss[at[0]], b.loss[at[1]]
    differing = np.flatnonzero(one.view(np.uint64) != other.view(np.uint64))
    if not len(differing):
        return None
    found = measured(one[differing[0]].item(), other[differing[0]].item())
    return found and found.of("loss", "loss", int(a.steps[at[0][differing[0]]]))


def _parameter(a: Side, b: Side, at: tuple[np.ndarray, np.ndarray], name: str) -> ParameterDiff:
    found = {what: first_difference(a, b, at, name, what) for what in ("value", "gradient", "input")}
    value = found["value"] or found["input"]
    ends = slice(None, 1), slice(-1, None)
    first, last = ((a.size(at[0][end], name), b.size(at[1][end], name)) for end in ends)
    return ParameterDiff(
        name,
        value[1] if value else None,
        found["gradient"][1] if found["gradient"] else None,
        (first[0].number, first[1].number),
        (last[0].number, last[1].number),
        is_norm=any(size.is_norm for size in (*first, *last)),
        form=least_form(a, b, at, name),
    )


def _facts(a: Run, b: Run) -> Iterator[tuple[str, Any, Any]]:
    """Yield what is known of the runs beside their numbers, as far as it differs."""
    one, other = _told(a), _told(b)
    for name in dict.fromkeys((*one, *other)):
        if one.get(name) != other.get(name):
            yield name, one.get(name), other.get(name)


def _told(run: Run) -> dict[str, Any]:
    info = {name: run.info.get(name) for name in SURROUNDINGS}
    optimizer = next((event for event in run.events if event.get("kind") == "optimizer"), {})
    used = {key: optimizer.get(key) for key in ("optimizer", "options") if key in optimizer}
    return {
        **_flat("meta", run.meta),
        **_flat("", info),
        **_flat("", used),
        **_flat("versions", run.info.get("versions")),
    }


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    """Return nested data as one level of names with dots.

    >>> _flat("meta", {"data": {"n": 3}, "lr": 0.1})
    {'meta.data.n': 3, 'meta.lr': 0.1}
    """
    if not isinstance(value, Mapping):
        return {prefix: value} if value is not None else {}
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= _flat(f"{prefix}.{key}" if prefix else str(key), item)
    return found
