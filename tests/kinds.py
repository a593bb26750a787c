"""Trainings of every kind that a trace can hold, each with what it recorded, for the tests of faults.

A kind is a function that returns the parameters, the options of `trace`, and a loop: a generator that gives the trace
one step after the other, and yields what of it is known beforehand.
"""

import tempfile
from itertools import count, islice
from pathlib import Path

import numpy as np

import gradviz
from gradviz.graphs.plain import same_bits
from gradviz.tracing.columns import norm
from gradviz.tracing.reading import open_run
from gradviz.tracing.recorder import trace
from tests.params import Param


def small():
    """Scalars of a program that is not ours."""
    w, b = Param(0.0), Param(1.0)

    def loop(t):
        for i in count():
            w.data, w.grad, b.data, b.grad = i / 3, -i / 7, 1.0 - i, None if i % 5 == 3 else 0.5 * i
            t.step(1 / (i + 1))
            yield {"loss": 1 / (i + 1), "w": w.data, "w.grad": w.grad, "b": b.data, "b.grad": b.grad}

    return {"w": w, "b": b}, {}, loop


def large():
    """Rows longer than a block."""
    W = Param(np.zeros(1200), np.zeros(1200, "f4"))

    def loop(t):
        for i in count():
            W.data = np.arange(1200.0) + i
            W.grad = (np.arange(1200) * 3 - i).astype("f4")
            t.step(float(i))
            yield {"loss": float(i), "W": W.data, "W.grad": W.grad}

    return {"W": W}, {}, loop


def line():
    """A fitted line with its graph, which every step can be computed from again."""
    w, b = gradviz.Tensor(0.5), gradviz.Tensor(-1.0)
    x = np.linspace(0.0, 1.0, 4)
    y = 3 * x + 1

    def loop(t):
        while True:
            w.zero_grad()
            b.zero_grad()
            loss = ((w * x + b - y) ** 2).sum() / 4
            loss.backward()
            t.step(loss)
            yield {"loss": loss.item(), "w": w.data, "w.grad": w.grad, "b": b.data, "b.grad": b.grad}
            w.data = w.data - 0.1 * w.grad
            b.data = b.data - 0.1 * b.grad

    return {"w": w, "b": b}, {}, loop


def dynamic():
    """A graph that is another one at every step: several segments, and the index."""
    w = gradviz.Tensor(1.5)

    def loop(t):
        for i in count():
            w.zero_grad()
            loss = w * 1.0
            for _ in range((i * i) % 5):
                loss = loss * w
            loss.backward()
            t.step(loss)
            yield {"loss": loss.item(), "w": w.data, "w.grad": w.grad}
            w.data = 1.0 + (i % 97) / 100

    return {"w": w}, {}, loop


def norms():
    """Of every array the norm."""
    params, _, loop = large()

    def normed(t):
        for row in loop(t):
            value, grad = (norm(row[key]) for key in ("W", "W.grad"))
            yield {"loss": row["loss"], "W.norm": value, "W.grad.norm": grad}

    return params, {"level": "scalars"}, normed


def stats():
    """Of every array seven statistics and a histogram."""
    params, _, loop = large()

    def measured(t):
        for row in loop(t):
            yield {"loss": row["loss"]}

    return params, {"level": "stats"}, measured


def checkpoints():
    """Parameters so large that they are kept at every third step only, with an optimizer that has a state."""
    W, b = gradviz.Tensor(np.linspace(-1.0, 1.0, 9000).reshape(90, 100)), gradviz.Tensor(0.5)
    optimizer = gradviz.optim.Adam([W, b], lr=0.01)
    x = np.linspace(-1.0, 1.0, 180).reshape(2, 90)

    def loop(t):
        while True:
            optimizer.zero_grad()
            loss = ((x @ W + b) ** 2).mean()
            loss.backward()
            t.step(loss)
            yield {"loss": loss.item(), "b": b.data, "b.grad": b.grad, "W.norm": norm(W.data)}
            optimizer.step()

    return {"W": W, "b": b}, {"checkpoint": 3}, loop


def batches():
    """A fitted line whose inputs are other ones at every step."""
    w = gradviz.Tensor(0.5)

    def loop(t):
        for i in count():
            w.zero_grad()
            loss = ((w * np.arange(i, i + 3.0) - 1.0) ** 2).mean()
            loss.backward()
            t.step(loss)
            yield {"loss": loss.item(), "w": w.data, "w.grad": w.grad}
            w.data = w.data - 1e-9 * w.grad

    return {"w": w}, {}, loop


def noted():
    """Scalars with remarks, of one of several processes."""
    params, _, loop = small()

    def telling(t):
        for i, row in enumerate(loop(t)):
            if i % 2:
                t.note(f"step {i}", value=i / 3)
            yield row

    return params, {"rank": 1, "world_size": 2}, telling


KINDS = {
    kind.__name__: kind for kind in (small, large, line, dynamic, norms, stats, checkpoints, batches, noted)
}  # fmt: skip


def truth(kind, steps):
    """Return what a run of a kind says of its first steps, as long as nothing happens to it."""
    with tempfile.TemporaryDirectory() as folder:
        known = written(kind, Path(folder) / "run", steps)
        run = open_run(place(kind, Path(folder) / "run"))
        found = list(run)
        assert run.damage == []
    assert [row["step"] for row in found] == list(range(steps))
    assert all(_same(row[key], number) for row, said in zip(found, known, strict=True) for key, number in said.items())
    return found


def place(kind, path):
    """Return where a run of a kind lies that is written to ``path``."""
    _, options, _ = KINDS[kind]()
    return path / f"rank-{options['rank']:03d}" if "rank" in options else path


def written(kind, path, steps, after=list, **options):
    """Write a run of some steps (None: for ever), call ``after`` on each, and return what it recorded."""
    params, own_options, loop = KINDS[kind]()
    with trace(path, params=params, **{**own_options, **options}) as t:
        rows = []
        for row in islice(loop(t), steps):
            after(row)
            if steps is not None:
                rows.append(row)
    return rows


def differences(row, found, *, all_known=True):
    """Return where a row that was read differs from the truth; a number that was not found (None) is no difference.

    Unless ``all_known``, the truth says less than the row.
    """
    there = {key: number for key, number in found.items() if number is not None and key not in {"step", "time"}}
    compared = there if all_known else {key: number for key, number in there.items() if key in row}
    return [key for key, number in compared.items() if key not in row or not _same(row[key], number)]


def _same(one, other):
    if one is None or other is None:
        return one is other
    return same_bits(np.asarray(one), np.asarray(other))
