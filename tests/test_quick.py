"""The quick way writes what the long way writes, and gives way to it whenever something is not as before."""

import numpy as np
import pytest

import gradviz
from gradviz import Tensor, trace
from gradviz.tracing import quick, streams
from gradviz.tracing.reading import open_run

X = np.linspace(-1.0, 1.0, 8)


def line(t, w, b, given):
    for _ in range(30):
        loss = gradviz.mean((2.0 * X + 1.0 - (w * X + b)) ** 2)
        yield loss, 0.1


def samples(t, w, b, given):
    for k in range(30):
        yield (2.0 * X[k % 8] + 1.0 - (w * X[k % 8] + b)) ** 2, 0.1


def late_change(t, w, b, given):
    x, target = X.copy(), 3.0
    for k in range(30):
        x[3] += k in (12, 13, 20)
        target += k > 24
        yield gradviz.mean((target - (w * x + b)) ** 2), 0.1


def turns(t, w, b, given):
    for k in range(30):
        yield (w * 2.0 + b, w * w * b, w * 2.0 + b)[k % 7 % 3], 0.01


def replaced(t, w, b, given):
    for k in range(30):
        if k == 15 and given is not None:
            given["b"] = b = Tensor(7.0, name="b")
        yield w * 2.0 + b * 3.0, 0.01


def without_gradient(t, w, b, given):
    for k in range(30):
        yield (w * 2.0 + b if k % 10 < 7 else w * 2.0), 0.01


def two_losses(t, w, b, given):
    for _ in range(30):
        yield w * 2.0 + b, 0.01
        t.step(5.0) if given is not None else None


PROGRAMS = (line, samples, late_change, turns, replaced, without_gradient, two_losses)


def written(program, path, *, found=False, **options):
    w, b = Tensor(0.5, name="w"), Tensor(0.25, name="b")
    given = None if found else {"w": w, "b": b}
    with trace(path, params=given, **options) as t:
        for loss, rate in program(t, w, b, given):
            for p in {"w": w, "b": b, **(given or {})}.values():
                p.zero_grad()
            loss.backward()
            t.step(loss)
            for p in {"w": w, "b": b, **(given or {})}.values():
                if p.grad is not None:
                    p.data -= rate * p.grad
    return t


def contents(path):
    """Return all rows as bytes, without the time and the checksum that covers it."""
    found = {}
    for file in sorted(path.glob("*.npy")):
        rows = np.load(file)
        for name in ("time", "checksum") if file.name != "index.npy" else ():
            rows[name] = 0
        found[file.name] = rows.tobytes()
    return found | {"graphs": (path / "graphs.jsonl").read_bytes()}


@pytest.mark.parametrize("options", [{}, {"level": "scalars"}, {"found": True}], ids=str)
@pytest.mark.parametrize("program", PROGRAMS)
def test_the_quick_way_writes_what_the_long_way_writes(program, options, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(streams, "quick_way", lambda *given: made.append(quick.quick_way(*given)) or made[-1])
    written(program, tmp_path / "quick", **options)
    assert any(made)
    monkeypatch.setattr(streams, "QUICK_LIMIT", 0)
    written(program, tmp_path / "long", **options)
    assert contents(tmp_path / "quick") == contents(tmp_path / "long")
    run = open_run(tmp_path / "quick")
    assert run.damage == []
    assert len(run) >= 30


def test_most_rows_go_the_quick_way(tmp_path, monkeypatch):
    asked = []
    slowly = streams.Streams.write
    monkeypatch.setattr(streams.Streams, "write", lambda *given: asked.append(1) or slowly(*given))
    written(line, tmp_path / "line")
    assert len(asked) == 3
    asked.clear()
    written(samples, tmp_path / "samples")
    assert len(asked) == 4


def test_a_closed_trace_refuses_the_quick_way_too(tmp_path):
    w = Tensor(1.0)
    with trace(tmp_path / "run", params={"w": w}) as t:
        for _ in range(5):
            loss = w * 2.0
            w.zero_grad()
            loss.backward()
            t.step(loss)
    with pytest.raises(gradviz.errors.TraceError, match="closed"):
        t.step(loss)


def test_a_budget_that_is_exceeded_ends_the_quick_way(tmp_path):
    w = Tensor(1.0)
    with trace(tmp_path / "run", params={"w": w}) as t:
        for k in range(20):
            if k == 10:
                assert t._streams.lower() is not None
            loss = w * 2.0
            w.zero_grad()
            loss.backward()
            t.step(loss)
            w.data -= 0.1
    assert len(sorted((tmp_path / "run").glob("seg-*.npy"))) >= 1
    assert len(open_run(tmp_path / "run")) == 20


def test_only_so_many_structures_get_a_quick_way(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "QUICK_LIMIT", 2)
    w = Tensor(1.1)
    with trace(tmp_path / "run", params={"w": w}) as t:
        for length in (1, 2, 3, 4):
            for _ in range(5):
                loss = w * 1.0
                for _ in range(length):
                    loss = loss * w
                w.zero_grad()
                loss.backward()
                t.step(loss)
        assert t._streams._quick_ways == 2
    assert len(open_run(tmp_path / "run")) == 20
