"""Small recorded runs of every form, for the tests of what reads them."""

import numpy as np

import gradviz
from gradviz import Tensor

KINDS = ("full", "checkpoints", "minibatch", "structures", "gaps")
STEPS = 24


def recorded(kind, path, steps=STEPS):
    """Record a training of this form, and return where."""
    rng = np.random.default_rng(3)
    wide = 96 if kind == "checkpoints" else 3
    w = Tensor(rng.normal(size=(wide, wide)) / wide, name="w")
    b = Tensor(0.3, name="b")
    x = rng.normal(size=(5, wide))
    optimizer = gradviz.optim.Adam([w, b], lr=0.01) if kind == "checkpoints" else gradviz.optim.SGD([w, b], lr=0.05)
    options = {"checkpoint": 7} if kind == "checkpoints" else {}
    with gradviz.trace(path, params={"w": w, "b": b}, **options) as t:
        for k in range(steps):
            batch = rng.normal(size=(5, wide)) if kind == "minibatch" else x
            optimizer.zero_grad()
            error = np.tanh(batch @ w) * b - 0.5
            if kind == "structures" and k % 5 == 3:
                error = np.sin(error)
            loss = np.mean(error * error)
            loss.backward()
            t.step(loss, step=3 * k + 2 if kind == "gaps" else None)
            optimizer.step()
    return path
