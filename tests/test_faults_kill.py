"""kill -9 at a hundred random moments: no step that was acknowledged is ever lost."""

import os

import numpy as np
import pytest

from gradviz.errors import TraceError
from gradviz.tracing.reading import open_run
from tests.kinds import KINDS, differences, place, truth, written
from tests.processes import run_python

TIMES = 100
SEED = os.environ.get("GRADVIZ_SEED", "1")


def plain_rows(path):
    """Return how many rows `numpy.load` finds in all segments, with the losses of each."""
    segments = [np.load(file, mmap_mode="r") for file in sorted(path.glob("seg-*.npy"))]
    return np.concatenate([rows["step"] for rows in segments]), np.concatenate([rows["loss"] for rows in segments])


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_acknowledged_is_lost(tmp_path, kind):
    print(f"GRADVIZ_SEED={SEED}")
    killed = run_python("-m", "tests.killing", kind, tmp_path, SEED, str(TIMES), env=dict(os.environ))
    assert killed.returncode == 0, killed.stderr.decode()
    counts = [int(line) for line in killed.stdout.split()]
    assert len(counts) == TIMES
    assert sum(map(bool, counts)) >= TIMES * 3 // 4
    expected = truth(kind, max(counts) + 1)
    for i, acknowledged in enumerate(counts):
        path = place(kind, tmp_path / f"run{i}")
        if acknowledged or (path / "seg-0000.npy").exists():
            check(kind, path, acknowledged, expected)
        else:
            check_unborn(path)


def check(kind, path, acknowledged, expected):
    """Compare what the killed writer left with what it had recorded."""
    steps, losses = plain_rows(path)
    assert acknowledged <= len(steps) <= acknowledged + 1
    assert sorted(steps) == list(range(len(steps)))
    assert all(losses[i] == expected[step]["loss"] for i, step in enumerate(steps))
    run = open_run(path)
    assert run.damage == torn_lines(path)
    assert np.array_equal(run.steps, np.arange(len(steps)))
    assert not any(differences(expected[row["step"]], row) for row in run)
    notes = [event["text"] for event in run.events if event["kind"] == "note"]
    assert kind != "noted" or notes[: acknowledged // 2] == [f"step {i}" for i in range(1, acknowledged, 2)]
    if kind in {"checkpoints", "batches", "line", "dynamic"}:  # a step with a graph can be computed again
        steps = {0, acknowledged // 2, acknowledged - 2} & set(range(acknowledged))
        assert all(run.frame(step).meta["replay"] == "exact" for step in steps)


def torn_lines(path):
    """Return what is to be said of a last line without an end: the system may tear one where a page of 4 KB ends."""
    lines = {file.name: file.read_bytes().split(b"\n") for file in path.glob("*.jsonl")}
    return [f"{name}: line {len(parts)} is damaged" for name, parts in sorted(lines.items()) if parts[-1]]


def check_unborn(path):
    """Nothing was recorded, and that is said; the directory can be used again."""
    if (path / "run.json").exists():
        assert len(open_run(path)) == 0
    else:
        with pytest.raises(TraceError, match="there is no run"):
            open_run(path)
    written("small", path, 3)
    assert len(open_run(path)) == 3
