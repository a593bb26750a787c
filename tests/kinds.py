"""Trainings of every kind that a trace can hold, each with what it recorded, for the tests of faults.

A kind is a function that returns the parameters, the options of `trace`, and a loop: a generator that gives the trace
one step after the other, and yields what was recorded. Run on `Nothing` it yields the truth without a file.
"""

from itertools import count, islice

import numpy as np

import gradviz
from gradviz.graphs.plain import same_bits
from gradviz.tracing.columns import norm
from gradviz.tracing.recorder import trace
from tests.params import Param


class Nothing:
    """A trace that records nothing."""

    def step(self, loss):
        pass


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


KINDS = {"small": small, "large": large, "line": line, "dynamic": dynamic, "norms": norms}


def truth(kind, steps):
    """Return what the first steps of a kind record."""
    _, _, loop = KINDS[kind]()
    return list(islice(loop(Nothing()), steps))


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


def differences(row, found):
    """Return where a row that was read differs from the truth; a number that was not found (None) is no difference."""
    known = {key: number for key, number in found.items() if number is not None and key not in {"step", "time"}}
    return [key for key, number in known.items() if key not in row or not _same(row[key], number)]


def _same(one, other):
    if one is None:
        return False
    return same_bits(np.asarray(one), np.asarray(other))
