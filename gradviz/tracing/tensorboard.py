"""A run as TensorBoard event files, written by TensorBoard's own writer.

Scalars are ``loss`` and every number and norm under the labels of the other exports; arrays become
histograms. TensorBoard keeps scalars as 32-bit floats: what is to be exact belongs into the other formats.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import MissingExtraError
from gradviz.tracing.columns import norm
from gradviz.tracing.fields import Field, element_labels, fields_of, pieces, unique
from gradviz.tracing.store import trouble

if TYPE_CHECKING:
    from gradviz.tracing.reading import Run

__all__ = ["to_tensorboard"]

BINS = 30  # of the histogram of an array
LOWEST = -128  # the power of two of the first of the counts by exponent


def to_tensorboard(run: Run, folder: Path) -> Path:
    """Write one event file into ``folder``, which is made if it is missing, and return the folder.

    Every event has the step and the time of the iteration. A gradient that was not there has no event, and
    elements that are not finite are in no histogram. Raises MissingExtraError without the package
    ``tensorboard``, and TraceError if nothing can be written.
    """
    writer = _writer()
    with trouble(f"cannot write event files to {folder}", folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".events.") as temporary:
            events = writer(temporary)
            try:
                for event in _events(run[:]):
                    events.add_event(event)
            finally:
                events.close()
            for file in Path(temporary).iterdir():
                file.replace(folder / file.name)
    return folder


def _writer() -> Callable[[str], Any]:
    """Return the class of TensorBoard that writes an event file."""
    try:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as error:
        raise MissingExtraError.of("tensorboard", "tensorboard") from error
    writer: Callable[[str], Any] = EventFileWriter
    return writer


def _events(run: Run) -> Iterator[Any]:
    """Yield one event per iteration, with all its scalars and histograms."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    fields = fields_of(run)
    tags = _tags(fields)
    for part, columns in pieces(run, fields):
        for i, (step, time, loss) in enumerate(zip(part.steps, part.times, part.loss, strict=True)):
            summary = Summary(value=[_scalar("loss", loss)])
            for field, own, column in zip(fields, tags, columns, strict=True):
                if column.present[i]:
                    summary.value.extend(_values(field, own, column.values[i]))
            yield Event(wall_time=float(time), step=int(step), summary=summary)


def _values(field: Field, tags: list[str], value: np.ndarray) -> list[Any]:
    """Return what TensorBoard is told of one field at one step."""
    if field.part.endswith("digest"):
        return []  # a checksum, of which there is no curve
    if field.is_scalar:
        return [_scalar(tags[0], value)]
    if field.part.endswith("stats"):
        return list(map(_scalar, tags, value))
    if field.part.endswith("exponents"):
        return [_counted(tags[0], value)]
    return [_histogram(tags[0], _real(field, value)), _scalar(tags[1], norm(value))]


def _tags(fields: list[Field]) -> list[list[str]]:
    """Return the tags of every field, all different."""
    wanted = [_wanted_tags(field) for field in fields]
    tags = iter(unique((tag for tags in wanted for tag in tags), ["loss"]))
    return [[next(tags) for _ in own] for own in wanted]


def _wanted_tags(field: Field) -> list[str]:
    if field.part.endswith("stats"):
        return element_labels(field)
    is_array = not field.is_scalar and not field.part.endswith("exponents")
    return [field.label, f"{field.label}.norm"] if is_array else [field.label]


def _real(field: Field, value: np.ndarray) -> np.ndarray:
    """Return the finite elements as float64, of complex ones the absolute values."""
    real = np.hypot(value[..., 0], value[..., 1]) if field.is_complex else value
    finite: np.ndarray = real[np.isfinite(real)].astype(float)
    return finite


def _scalar(tag: str, number: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary.Value(tag=tag, simple_value=float(number))


def _histogram(tag: str, finite: np.ndarray) -> Any:
    """Count the elements in bins of equal width."""
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    edges = np.array([low, high]) if low == high else 2 * np.linspace(low / 2, high / 2, BINS + 1)
    counts = np.array([finite.size]) if low == high else np.histogram(finite, edges)[0]
    with np.errstate(over="ignore", under="ignore"):
        sums = {"sum": float(finite.sum()), "sum_squares": float(np.square(finite).sum())}
    return _bins(tag, low, edges[1:], counts, max=high, **sums)


def _counted(tag: str, counts: np.ndarray) -> Any:
    """Show the counts by power of two, from the first that is not 0 to the last; their sums are not known."""
    filled = np.flatnonzero(counts)
    first, last = (int(filled[0]), int(filled[-1])) if len(filled) else (0, 0)
    powers = np.ldexp(1.0, np.arange(first, last + 2) + LOWEST)
    return _bins(tag, float(powers[0]), powers[1:], counts[first : last + 1], max=float(powers[-1]))


def _bins(tag: str, low: float, limits: np.ndarray, counts: np.ndarray, **known: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary

    histogram = HistogramProto(
        min=low, num=float(counts.sum()), bucket_limit=limits.tolist(), bucket=counts.tolist(), **known
    )
    return Summary.Value(tag=tag, histo=histogram)
