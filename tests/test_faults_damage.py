"""Damaged files: cut at every byte, bits flipped anywhere, rows doubled; never a wrong number, never silence."""

import os
import random

import numpy as np
import pytest

from gradviz.errors import TraceError
from gradviz.graphs.plain import same_bits
from gradviz.tracing.layout import COUNT_AT, COUNT_END
from gradviz.tracing.reading import open_run
from tests.kinds import KINDS, differences, place, truth, written

STEPS = 4
THOROUGH = bool(os.environ.get("GRADVIZ_THOROUGH"))  # cut the files of every kind at every byte; takes minutes
PLACES = 40  # otherwise, of kinds other than the first
FLIPS = 600 if THOROUGH else 30  # of every file
SEED = os.environ.get("GRADVIZ_SEED", "1")
META = {"note": "naïve", "lr": 0.1}


class Said:
    """Everything that a run says of itself; raises TraceError if it can say nothing."""

    def __init__(self, path):
        run = open_run(path)
        self.rows = list(run)
        self.steps = run.steps.tolist()
        self.losses = run.loss.tolist()
        self.meta = run.meta
        self.names = run.names
        self.events = [event for event in run.events if event["kind"] != "structure"]
        self.graphs = [graph.fingerprint() for graph in run.graphs]
        self.frames = {step: _frame(run, step) for step in self.steps}
        self.damage = run.damage
        self.text = (run.summary(), repr(run))


def _frame(run, step):
    frame = run.frame(step)
    return {"exact": frame.meta["replay"] == "exact", "numbers": [*frame.values, *frame.grads]}


def wrong(said, whole, truth):
    """Return what a damaged run says that is not so."""
    found = [f"row {row['step']}: {bad}" for row in said.rows if (bad := _differences(row, truth))]
    if not set(said.steps) <= set(whole.steps) or sorted(set(said.steps)) != said.steps:
        found.append(f"steps {said.steps}")
    if said.meta not in ({}, whole.meta) or not set(said.names) <= set(whole.names):
        found.append(f"meta {said.meta}, names {said.names}")
    if not set(said.graphs) <= set(whole.graphs) or any(event not in whole.events for event in said.events):
        found.append("graphs or events")
    return found + [f"frame {step}" for step in said.steps if not _agree(said.frames[step], whole.frames[step])]


def _differences(row, truth):
    return differences(truth[row["step"]], row) if row["step"] < len(truth) else ["step"]


def _agree(one, other):
    """Whether every number of a frame that is there is the right one (a graph that was lost has fewer)."""
    if len(one["numbers"]) != len(other["numbers"]):
        return not one["exact"]
    return all(a is None or same_bits(a, b) for a, b in zip(one["numbers"], other["numbers"], strict=True))


def is_less(said, whole):
    """Whether anything is missing."""
    if any(getattr(said, name) != getattr(whole, name) for name in ("steps", "meta", "names", "graphs")):
        return True
    if said.events != whole.events:  # without the last ones it looks like the run of a killed process: it has no end
        return said.events != whole.events[: len(said.events)]
    pairs = zip(said.rows, whole.rows, strict=True)
    lost = any(row.get(key) is None for row, full in pairs for key in full if full[key] is not None)
    return lost or any(frame["exact"] != whole.frames[step]["exact"] for step, frame in said.frames.items())


def check(path, whole, truth, what):
    """Read a damaged run; what it says is true, and what is missing it names."""
    try:
        said = Said(path)
    except TraceError:
        return
    assert not wrong(said, whole, truth), what
    assert said.damage or not is_less(said, whole), what


def files_of(path):
    return sorted(file for file in path.iterdir() if file.name != "writer.lock")


@pytest.fixture(params=KINDS)
def intact(request, tmp_path):
    """A run of every kind, where it lies, what it says, and what is true."""
    kind, path = request.param, place(request.param, tmp_path / "run")
    truth_ = truth(kind, STEPS)
    written(kind, tmp_path / "run", STEPS, meta=META)
    whole = Said(path)
    assert not wrong(whole, whole, truth_)
    assert whole.damage == []
    return kind, path, whole, truth_


def test_cut_at_every_byte(intact):
    kind, path, whole, truth_ = intact
    for file in files_of(path):
        content = file.read_bytes()
        stride = 1 if kind == "small" or THOROUGH else -(-len(content) // PLACES)
        for length in range(0, len(content), stride):
            file.write_bytes(content[:length])
            check(path, whole, truth_, f"{file.name} cut at {length}")
        file.write_bytes(content)


def test_bits_flipped_anywhere(intact):
    _, path, whole, truth_ = intact
    random_ = random.Random(SEED)
    for file in files_of(path):
        content = file.read_bytes()
        for place_ in [*random_.choices(range(len(content)), k=FLIPS), *range(0, min(len(content), 160), 9)]:
            damaged = bytearray(content)
            damaged[place_] ^= 1 << random_.randrange(8)
            file.write_bytes(damaged)
            check(path, whole, truth_, f"{file.name} flipped at {place_}")
        file.write_bytes(content)


def test_files_that_are_gone(intact):
    _, path, whole, truth_ = intact
    for file in files_of(path):
        content = file.read_bytes()
        file.unlink()
        if file.name == "run.json":
            with pytest.raises(TraceError, match="there is no run"):
                open_run(path)
        elif file.name.startswith("ckpt"):  # no number is lost, only steps cannot be computed again, which they say
            assert not wrong(Said(path), whole, truth_)
        else:
            said = Said(path)
            assert not wrong(said, whole, truth_), file.name
            assert any(file.name in note or "events.jsonl" in note for note in said.damage), (file.name, said.damage)
        file.write_bytes(content)
    assert Said(path).damage == []


def test_a_doubled_row(intact):
    """A row that stands there twice, counted: every number is true, and that there are too many is said."""
    _, path, _, truth_ = intact
    file = path / "seg-0000.npy"
    rows = np.load(file)
    content = file.read_bytes()
    doubled = bytearray(content + content[-rows.itemsize :])
    doubled[COUNT_AT:COUNT_END] = b"%16d" % (len(rows) + 1)
    file.write_bytes(doubled)
    run = open_run(path)
    assert not any(_differences(row, truth_) for row in run)
    assert run.damage


def test_exchanged_segments(tmp_path):
    written("dynamic", tmp_path / "run", STEPS)
    one, other = tmp_path / "run" / "seg-0000.npy", tmp_path / "run" / "seg-0001.npy"
    contents = one.read_bytes(), other.read_bytes()
    one.write_bytes(contents[1])
    other.write_bytes(contents[0])
    run, truth_ = open_run(tmp_path / "run"), truth("dynamic", STEPS)
    assert not any(_differences(row, truth_) for row in run)
    assert all(run.frame(step).meta["replay"] != "exact" for step in (0, 1))
    assert any("other steps than the index says" in note for note in run.damage)


def test_random_bytes_as_files(intact):
    _, path, whole, truth_ = intact
    random_ = random.Random(SEED)
    for file in files_of(path):
        content = file.read_bytes()
        for length in (0, 1, 7, 100, 5000):
            file.write_bytes(random_.randbytes(length))
            check(path, whole, truth_, f"{file.name} of {length} random bytes")
        file.write_bytes(content)
