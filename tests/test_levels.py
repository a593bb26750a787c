"""What each level leaves on disk, read by plain NumPy."""

import numpy as np
import pytest

import gradviz
from gradviz.errors import GradvizTypeError, GradvizValueError
from gradviz.graphs.plain import same_bits
from gradviz.tracing.layout import digest
from gradviz.tracing.reading import open_run
from gradviz.tracing.recorder import trace
from gradviz.tracing.statistics import exponents, norm, statistics
from tests.params import Param
from tests.runfiles import events

RNG = np.random.default_rng(5)
LARGE = (100, 90)  # a row of one such value and its gradient takes more than 64 KB


def descend(path, shape=LARGE, steps=6, dtype="f8", **options):
    """Train one array and one number by hand; return their values and gradients at every step."""
    W = gradviz.Tensor(RNG.standard_normal(shape).astype(dtype), name="W")
    s = gradviz.Tensor(0.5, name="s")
    seen = []
    with trace(path, **{"params": {"W": W, "s": s}, **options}) as t:
        for _ in range(steps):
            W.zero_grad()
            s.zero_grad()
            loss = ((W * s) ** 2).sum()
            loss.backward()
            t.step(loss)
            seen.append((np.array(W.data), np.array(W.grad), s.data, s.grad))
            W.data -= 0.01 * W.grad
            s.data -= 0.0001 * s.grad
    return seen


@pytest.mark.parametrize("level", ["auto", "full", "stats", "scalars"])
def test_numbers_are_recorded_at_every_level(tmp_path, level):
    seen = descend(tmp_path / "run", level=level)
    rows = np.load(tmp_path / "run" / "seg-0000.npy")
    assert rows["s"].tolist() == [row[2] for row in seen]
    assert rows["s.grad"].tolist() == [row[3] for row in seen]
    assert open_run(tmp_path / "run").info["level"] == level


def test_full_is_everything(tmp_path):
    seen = descend(tmp_path / "run", level="full")
    rows = np.load(tmp_path / "run" / "seg-0000.npy")
    assert same_bits(rows["W"], np.array([row[0] for row in seen]))
    assert same_bits(rows["W.grad"], np.array([row[1] for row in seen]))
    assert not list((tmp_path / "run").glob("ckpt*"))


def test_statistics(tmp_path):
    seen = descend(tmp_path / "run", level="stats", dtype="f4")
    rows = np.load(tmp_path / "run" / "seg-0000.npy")
    assert rows.dtype.names[-4:] == ("W.stats", "W.grad.stats", "W.exponents", "W.grad.exponents")
    for row, (value, grad, _, _) in zip(rows, seen, strict=True):
        assert same_bits(np.array(row["W.stats"]), statistics(value)[0])
        assert same_bits(np.array(row["W.grad.stats"]), statistics(grad)[0])
        assert np.array_equal(row["W.exponents"], exponents(value))
        assert np.array_equal(row["W.grad.exponents"], exponents(grad))
    assert not list((tmp_path / "run").glob("ckpt*"))


def test_only_norms(tmp_path):
    seen = descend(tmp_path / "run", level="scalars")
    rows = np.load(tmp_path / "run" / "seg-0000.npy")
    assert rows.dtype.names == (
        "step", "time", "flags", "checksum", "loss", "W.norm", "W.grad.norm", "s", "s.grad",
    )  # fmt: skip
    assert rows["W.norm"].tolist() == [norm(row[0]) for row in seen]


def test_auto_keeps_everything_up_to_64_kilobytes(tmp_path):
    descend(tmp_path / "small", shape=(4000,))
    assert np.load(tmp_path / "small" / "seg-0000.npy")["W"].shape == (6, 4000)
    assert not events(tmp_path / "small", "level")
    descend(tmp_path / "large", shape=(4096,))
    assert "W" not in np.load(tmp_path / "large" / "seg-0000.npy").dtype.names
    (event,) = events(tmp_path / "large", "level")
    assert (event["step"], event["from"], event["to"]) == (0, "full", "checkpoint")
    assert "65552 bytes" in event["reason"]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_checkpoint_form_proves_what_it_leaves_out(tmp_path, dtype):
    seen = descend(tmp_path / "run", shape=(150, 150), dtype=dtype)
    rows = np.load(tmp_path / "run" / "seg-0000.npy")
    assert rows["W.digest"].tolist() == [digest(row[0]) for row in seen]
    assert rows["W.grad.digest"].tolist() == [digest(row[1]) for row in seen]
    assert rows["W.grad.norm"].tolist() == [norm(row[1]) for row in seen]
    assert rows.dtype["W.digest"] == np.uint32


def test_a_gradient_that_is_not_there_is_flagged_at_every_level(tmp_path):
    for level in ("auto", "full", "stats", "scalars"):
        W = Param(np.ones(LARGE), None)
        with trace(tmp_path / level, params={"W": W}, level=level) as t:
            t.step(1.0)
            W.grad = np.ones(LARGE)
            t.step(1.0)
        assert np.load(tmp_path / level / "seg-0000.npy")["flags"].tolist() in ([0, 1], [0, 3])
        assert open_run(tmp_path / level).damage == []


def test_arrays_of_any_kind_can_be_measured(tmp_path):
    odd = {
        "complex": np.full((50, 50), 3 + 4j),
        "ints": np.arange(2500),
        "bools": np.ones((50, 50), bool),
        "half": np.ones((50, 50), "f2"),
        "big": np.ones((50, 50), ">f8"),
        "view": np.ones((100, 50))[::2],
        "none": np.zeros((0, 3)),
        "single": np.array(1.5, "f4"),
    }
    for level in ("auto", "stats", "scalars"):
        with trace(tmp_path / level, params={k: Param(v) for k, v in odd.items()}, level=level) as t:
            t.step(1.0)
            t.step(1.0)
        assert open_run(tmp_path / level).damage == []
    assert np.load(tmp_path / "auto" / "ckpt.npy")["complex"][0, 0, 0] == 3 + 4j
    assert np.load(tmp_path / "auto" / "seg-0000.npy")["single"].dtype == np.float32
    assert np.load(tmp_path / "scalars" / "seg-0000.npy")["complex.norm"][0] == 250.0


def test_a_thousand_structures_in_one_run(tmp_path):
    w = gradviz.Tensor(0.5, name="w")
    with trace(tmp_path / "run", params={"w": w}) as t:
        for number in [*range(1000), 3, 999, 500]:
            w.zero_grad()
            loss = w * 1.0
            for bit in range(10):
                loss = loss + w if number >> bit & 1 else loss * w
            loss.backward()
            t.step(loss)
            w.data = w.data - 1e-6
    path = tmp_path / "run"
    assert len(list(path.glob("seg-*.npy"))) == 1000
    index = np.load(path / "index.npy")
    assert index["segment"].tolist() == [*range(1000), 3, 999, 500]
    assert index["step"].tolist() == list(range(1003))
    assert len(events(path, "structure")) == 1000
    assert len({event["fingerprint"] for event in events(path, "structure")}) == 1000
    assert np.load(path / "seg-0999.npy")["step"].tolist() == [999, 1001]


# -- events and run.json -----------------------------------------------------------------------


def test_every_event_is_one_sealed_line(tmp_path):
    from gradviz.tracing.store import unsealed

    with trace(tmp_path / "run", params={"w": Param(1.0, 2.0)}) as t:
        t.note("before the first step")
        t.step(0.5)
        t.note("a remark\nof two lines \N{SNOWMAN}", lr=0.1, sizes=(1, 2), worst=float("nan"))
        t.event("validation", "loss on the rest", step=0, loss=0.25)
        t.step(0.25)
    text = (tmp_path / "run" / "events.jsonl").read_text()
    assert all(unsealed(line) for line in text.splitlines())
    before, structure, note, validation, end = events(tmp_path / "run")
    assert (before["step"], before["kind"]) == (None, "note")
    assert (structure["kind"], structure["segment"]) == ("structure", 0)
    assert (note["step"], note["lr"], note["sizes"], note["worst"]) == (0, 0.1, [1, 2], "nan")
    assert note["text"].endswith("\N{SNOWMAN}")
    assert (validation["kind"], validation["step"], validation["loss"]) == ("validation", 0, 0.25)
    assert (end["kind"], end["step"], end["steps"], end["error"]) == ("end", 1, 2, None)


def test_events_that_cannot_be(tmp_path):
    with trace(tmp_path / "run", params={}) as t:
        with pytest.raises(GradvizValueError, match="written by the trace itself"):
            t.event("end", "not yet")
        with pytest.raises(GradvizTypeError, match="the text of an event is a int"):
            t.note(3)
        with pytest.raises(GradvizValueError, match="cannot have a 'time' of its own"):
            t.note("now", time=3)
        with pytest.raises(GradvizTypeError, match="object, which cannot be written"):
            t.note("odd", what=object())
        with pytest.raises(GradvizValueError, match="1 to 64 characters"):
            t.event("", "nothing")
    assert [event["kind"] for event in events(tmp_path / "run")] == ["end"]


def test_an_exception_that_ends_the_run_is_named(tmp_path):
    with pytest.raises(ZeroDivisionError), trace(tmp_path / "run", params={}) as t:  # noqa: PT012
        t.step(1.0)
        raise ZeroDivisionError
    (end,) = events(tmp_path / "run", "end")
    assert (end["error"], end["steps"]) == ("ZeroDivisionError", 1)


def test_run_json_holds_the_settings(tmp_path):
    trace(tmp_path / "run", params={}, meta={"seed": 7}, checkpoint=20, budget=0.05).close()
    info = open_run(tmp_path / "run").info
    assert {key: info[key] for key in ("seed", "rank", "world_size", "checkpoint", "budget")} == {
        "seed": 7, "rank": 0, "world_size": 1, "checkpoint": 20, "budget": 0.05,
    }  # fmt: skip


def test_settings_are_checked_before_anything_is_written(tmp_path):
    wrong = [
        ({"checkpoint": 0}, "checkpoint=0"),
        ({"checkpoint": 1.5}, "no whole number"),
        ({"budget": 1.5}, "no share of the time"),
        ({"budget": "5%"}, "no number"),
        ({"on_error": "ignore"}, "raise, warn"),
        ({"optimizer": object()}, "no state_dict"),
        ({"rank": 4, "world_size": 4}, "rank 4 of 4"),
        ({"rank": 1, "world_size": 0}, "rank 1 of 0"),
        ({"rank": "first"}, "no whole number"),
    ]
    for options, message in wrong:
        with pytest.raises((GradvizTypeError, GradvizValueError), match=message):
            trace(tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
