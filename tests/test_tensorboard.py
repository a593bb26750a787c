"""What TensorBoard reads back are the numbers of the run, with their steps and times."""

import math
import sys

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gradviz.errors import GradvizValueError, MissingExtraError, TraceError
from gradviz.tracing.fields import Field
from gradviz.tracing.reading import open_run
from gradviz.tracing.recorder import trace
from gradviz.tracing.statistics import exponents
from gradviz.tracing.tensorboard import _counted, _histogram, _tags
from tests.params import Param


def record(path, values, **options):
    w, W = Param(0.5), Param(None)
    with trace(path, params={"w": w, "W": W}, **options) as t:
        for i, value in enumerate(values):
            W.data, W.grad = value, None if i == 0 else -value
            w.grad = None if i == 0 else i / 7
            t.step(1 / (i + 1), step=10 * i)
    return open_run(path)


def read(folder):
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0})
    found.Reload()
    return found


def test_scalars_and_histograms_come_back(tmp_path):
    values = np.random.default_rng(0).standard_normal((20, 3, 5))
    run = record(tmp_path / "run", values)
    assert run.to_tensorboard(tmp_path / "board") == tmp_path / "board"
    board = read(tmp_path / "board")
    assert sorted(board.Tags()["scalars"]) == ["W.grad.norm", "W.norm", "loss", "w", "w.grad"]
    assert sorted(board.Tags()["histograms"]) == ["W", "W.grad"]
    loss = board.Scalars("loss")
    assert [event.step for event in loss] == run.steps.tolist()
    assert [event.wall_time for event in loss] == run.times.tolist()
    assert [event.value for event in loss] == run.loss.astype("f4").tolist()
    gradient = board.Scalars("w.grad")
    assert [event.step for event in gradient] == run.steps[1:].tolist()
    assert [event.value for event in gradient] == run["w"].grad[1:].astype("f4").tolist()
    norms = [event.value for event in board.Scalars("W.norm")]
    assert norms == np.linalg.norm(values, axis=(1, 2)).astype("f4").tolist()
    shown = board.Histograms("W")[7].histogram_value
    assert (shown.num, shown.min, shown.max) == (15, values[7].min(), values[7].max())
    assert sum(shown.bucket) == 15
    assert shown.sum == pytest.approx(values[7].sum())
    for limit, count in zip(shown.bucket_limit, np.cumsum(shown.bucket), strict=True):
        assert count in {(values[7] < limit).sum(), (values[7] <= limit).sum()}


def test_what_is_not_finite(tmp_path):
    odd = np.array([[np.nan, 1.0, np.inf]])
    run = record(tmp_path / "run", [odd, odd * np.nan, np.array([[1e300, -1e300, 0.0]])])
    board = read(run.to_tensorboard(tmp_path / "board"))
    first, second, third = (event.histogram_value for event in board.Histograms("W"))
    assert (first.num, first.min, first.max, sum(first.bucket)) == (1, 1, 1, 1)
    assert (second.num, sum(second.bucket)) == (0, 0)
    assert (third.num, third.min, third.max) == (3, -1e300, 1e300)
    assert math.isnan(board.Scalars("W.norm")[1].value)


def test_the_counts_by_power_of_two_are_bins():
    shown = _counted("W", exponents(np.array([1.0, 1.5, -3.0, 0.0]))).histo
    assert (shown.num, shown.min, shown.max) == (3, 1, 4)
    assert (list(shown.bucket_limit), list(shown.bucket)) == ([2.0, 4.0], [2.0, 1.0])
    nothing = _counted("W", exponents(np.zeros(3))).histo
    assert (nothing.num, list(nothing.bucket)) == (0, [0.0])
    widest = _counted("W", exponents(np.array([1e300, 1e-300]))).histo
    assert (widest.num, len(widest.bucket)) == (2, 256)


@pytest.mark.parametrize("values", [[5e-324, 1e-323, 1e-323], [-1.7e308, 0.0, 1.7e308]])
def test_the_narrowest_and_the_widest_histogram(values):
    shown = _histogram("W", np.array(values)).histo
    assert (shown.num, sum(shown.bucket)) == (3, 3)
    assert np.isfinite(shown.bucket_limit).all()


def test_tags_are_all_different():
    fields = [
        Field("W", "W", "value", "", np.dtype(float), (2,)),
        Field("W.norm", "W.norm", "value", "", np.dtype(float), ()),
        Field("loss", "loss", "value", "", np.dtype(float), ()),
        Field("W.stats", "W", "stats", ".stats", np.dtype(float), (7,)),
    ]
    tags = _tags(fields)
    assert tags[:3] == [["W", "W.norm"], ["W.norm_2"], ["loss_2"]]
    assert tags[3][0] == "W.stats.min"


def test_an_empty_run_is_an_empty_board(tmp_path):
    trace(tmp_path / "run", params={}).close()
    board = read(open_run(tmp_path / "run").to_tensorboard(tmp_path / "board"))
    assert board.Tags()["scalars"] == []


def test_nothing_is_left_of_a_failure(tmp_path, monkeypatch):
    run = record(tmp_path / "run", np.ones((2, 1, 1)))

    def broken(self, name, part):
        raise GradvizValueError("broken off")

    with monkeypatch.context() as patch:
        patch.setattr(type(run), "column", broken)
        with pytest.raises(GradvizValueError, match="broken off"):
            run.to_tensorboard(tmp_path / "board")
    assert list((tmp_path / "board").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(TraceError, match="cannot write event files"):
        run.to_tensorboard(tmp_path / "file")


def test_a_missing_package_is_named_with_its_command(tmp_path, monkeypatch):
    run = record(tmp_path / "run", np.ones((2, 1, 1)))
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.event_file_writer", None)
    with pytest.raises(MissingExtraError, match=r'needs tensorboard.*\n  pip install "gradviz\[tensorboard\]"'):
        run.to_tensorboard(tmp_path / "board")
    assert not (tmp_path / "board").exists()
