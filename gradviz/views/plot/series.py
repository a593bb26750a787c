"""The numbers of a run as lines to plot: values, norms, and how far each step moved a parameter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import GradvizValueError, UnknownNameError
from gradviz.tracing.sampling import sampled_moves
from gradviz.tracing.statistics import norm
from gradviz.views.plot.canvas import Line, Masked

if TYPE_CHECKING:
    from gradviz.tracing.reading import Run

__all__ = ["QUANTITIES", "layers", "masked", "norms", "nothing", "parameter_lines", "quantity_lines", "update_ratio"]

QUANTITIES = {
    "grad_norm": "norm of the gradient",
    "norm": "norm of the value",
    "update": "norm of the step / norm of the value",
}
BLOCK_BYTES = 1 << 26  # of values read at once


def masked(numbers: Any) -> Masked:
    """Return numbers as a masked array of floats; of complex ones the absolute value."""
    array = np.ma.asarray(numbers)
    return np.ma.asarray(np.ma.abs(array) if array.dtype.kind == "c" else array).astype(float)


def nothing(count: int) -> Masked:
    """Return so many numbers that are not there."""
    return np.ma.array(np.full(count, np.nan), mask=np.ones(count, bool))


def parameter_lines(run: Run, names: Sequence[str], elements: int) -> Iterator[Line]:
    """Yield the values of scalars and small arrays, a line per element, and the norms of other arrays."""
    for name in names:
        shape = shape_of(run, name)
        values = None if shape is None or prod(shape) > elements else complete(run, name)
        if values is None:
            yield Line(f"‖{name}‖", norms(run, name, "norm"))
            continue
        for place in np.ndindex(values.shape[1:]):
            index = f"[{','.join(map(str, place))}]" if place else ""
            yield Line(name + index, values[(slice(None), *place)])


def shape_of(run: Run, name: str) -> tuple[int, ...] | None:
    """Return the shape of a parameter, or None if only its norm is known or its shape changes."""
    shapes = set()
    for part in run.structures:
        column = part.rows.columns.get((name, "value"))
        if column is not None:
            shapes.add(column.shape)
    return shapes.pop() if len(shapes) == 1 else None


def complete(run: Run, name: str) -> Masked | None:
    """Return all values of a parameter, or None if they were not recorded wherever its norm was."""
    try:
        values = masked(run[name].value)
        missing = np.ma.getmaskarray(values).reshape(len(run), -1).any(axis=1)
        return values if (missing == np.ma.getmaskarray(norms(run, name, "norm"))).all() else None
    except GradvizValueError:
        return None


def norms(run: Run, name: str, kind: str) -> Masked:
    """Return the norm of a parameter (``norm``) or of its gradient (``grad_norm``) at every step."""
    try:
        return masked(getattr(run[name], kind))
    except GradvizValueError:  # its shape changes during the run
        key = name if kind == "norm" else f"{name}.grad"
        return _collected(row.get(f"{key}.norm", row.get(key)) for row in run)


def _collected(numbers: Iterable[Any]) -> Masked:
    """Return the norms of what was there in each step."""
    found = [None if number is None else norm(np.asarray(number)) for number in numbers]
    return np.ma.array([np.nan if n is None else n for n in found], mask=[n is None for n in found], dtype=float)


def update_ratio(run: Run, name: str, moved: Masked | None = None) -> Masked:
    """Return ``‖w[k+1] - w[k]‖ / ‖w[k]‖`` of every step; ``moved`` is the numerator, if it is known.

    It is masked at the last step, where a row is missing in between, where ``w`` is 0, and where only
    norms were recorded: then it is known at scalars alone.
    """
    lengths = norms(run, name, "norm")
    moved = _moved(run, name) if moved is None else moved
    if moved is None:
        return nothing(len(run))
    moved[:-1] = np.ma.array(moved[:-1], mask=np.ma.getmaskarray(moved[:-1]) | _gaps(run.steps))
    with np.errstate(all="ignore"):
        return np.ma.array(moved.filled(np.nan) / lengths.filled(np.nan), mask=_either(moved, lengths))


def _either(moved: Masked, lengths: Masked) -> np.ndarray:
    return np.asarray(np.ma.getmaskarray(moved) | np.ma.getmaskarray(lengths) | (lengths.filled(0.0) == 0))


def _gaps(steps: np.ndarray) -> np.ndarray:
    """Tell after which rows one or more are missing."""
    apart = np.diff(steps)
    usual = int(apart[apart > 0].min()) if (apart > 0).any() else 1
    return np.asarray(apart != usual)


def _moved(run: Run, name: str) -> Masked | None:
    """Return how far each step moved a parameter, reading its values block by block."""
    shape = shape_of(run, name)
    if shape is None:
        return None
    block = max(2, BLOCK_BYTES // max(8 * prod(shape), 1))
    moved = nothing(len(run))
    for start in range(0, max(len(run) - 1, 0), block - 1):
        try:
            values = np.ma.asarray(run[start : start + block][name].value)
        except GradvizValueError:
            return None
        flat = values.reshape(len(values), -1)
        there: np.ndarray = ~np.asarray(np.ma.getmaskarray(flat).any(axis=1))
        data = np.ma.getdata(flat).astype(complex if flat.dtype.kind == "c" else float)
        with np.errstate(all="ignore"):
            steps = [norm(step) for step in np.diff(data, axis=0)]
        moved[start : start + len(steps)] = np.ma.array(steps, mask=~(there[1:] & there[:-1]))
    return moved


def layers(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the names by layer: what stands before the last dot.

    >>> layers(["enc.W", "enc.b", "scale"])
    {'enc': ['enc.W', 'enc.b'], 'scale': ['scale']}
    """
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(name.rpartition(".")[0] or name, []).append(name)
    return found


def quantity_lines(run: Run, of: str, by: str) -> list[Line]:
    """Return one quantity of every parameter or layer as lines; a layer's norm is over all it holds."""
    if of not in QUANTITIES:
        raise UnknownNameError.among("quantity", of, QUANTITIES)
    if by not in {"parameter", "layer"}:
        raise GradvizValueError(f"by={str(by)[:80]!r}", hint="allowed: parameter, layer")
    moves = sampled_moves(run) if of == "update" else {}
    groups = layers(run.names) if by == "layer" else {name: [name] for name in run.names}
    return [Line(label, _together(run, names, of, moves)) for label, names in groups.items()]


def _together(run: Run, names: Sequence[str], of: str, moves: Mapping[str, Masked]) -> Masked:
    if of == "update":
        parts = [update_ratio(run, name, moves.get(name)) for name in names]
        return parts[0] if len(parts) == 1 else np.ma.max(np.ma.stack(parts), axis=0)
    parts = [norms(run, name, of) for name in names]
    return parts[0] if len(parts) == 1 else _root_of_squares(parts)


def _root_of_squares(parts: Sequence[Masked]) -> Masked:
    stacked = np.ma.stack(parts)
    with np.errstate(all="ignore"):
        largest = np.ma.max(np.ma.abs(stacked), axis=0)
        sizes = largest.filled(np.nan)
        scale = np.where((sizes > 0) & np.isfinite(sizes), sizes, 1.0)
        return scale * np.ma.sqrt(np.ma.sum((stacked / scale) ** 2, axis=0))
