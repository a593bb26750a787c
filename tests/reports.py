"""Runs to write reports of."""

import random

import numpy as np

import gradviz
from gradviz import Tensor

EVIL = '</script><img src=x onerror="alert(1)"> & <b>'
BORN = 21  # the step at which the logarithm of a negative number is taken


def train(path, steps=30):
    """Record a small training with scopes, a loop, an array, a note, and a NaN towards its end."""
    w, b = Tensor(1.0, name="w"), Tensor(0.2, name="b")
    table = Tensor(np.linspace(-1, 1, 200).reshape(20, 10), name="table")
    evil = Tensor(0.5, name=EVIL)
    x = Tensor(np.linspace(0, 1, 20), name="x", requires_grad=False)
    params = {"w": w, "b": b, "table": table, EVIL: evil}
    with gradviz.trace(path, params=params, meta={"about": EVIL}) as log:
        for step in range(steps):
            loss = objective(x, w, b, table, evil)
            with np.errstate(all="ignore"):
                loss.backward()
                log.step(loss)
                if step == 10:
                    log.note(f"half way {EVIL}")
                update(params.values(), w)
    return gradviz.open_run(path)


def objective(x, w, b, table, evil):
    """Compute the loss."""
    with gradviz.scope("net"):
        with gradviz.scope("mix"):
            h = np.tanh(x @ table)
        out = (h * w).sum() * evil
    total = b * 0.5
    for i in range(5):
        e = out + b * float(i)
        total = total + e * e
    with gradviz.scope("penalty"), np.errstate(all="ignore"):
        return total * 0.01 - np.log(w + 0.02) * 0.1


def update(params, w):
    """Go down the slope, and let ``w`` fall steadily."""
    fallen = w.data - 0.05
    for param in params:
        grad = param.grad
        param.data = param.data - 0.01 * np.where(np.isfinite(grad), grad, 0.0)
        param.zero_grad()
    w.data = fallen


def chain(path, nodes, steps):
    """Record a long chain of scalars without any loop or scope in it, and of which nothing is like the rest."""
    chance = random.Random(0)
    lines = [
        f"h{i + 1} = np.{chance.choice(('sin', 'cos'))}(h{i}) * 0.9 + h{max(0, i - chance.randrange(9))} * 0.1"
        for i in range(nodes // 6)
    ]
    code = compile("\n".join(lines), "chain.py", "exec")
    x = Tensor(0.3, name="x")
    with gradviz.trace(path, params={"x": x}) as log:
        for step in range(steps):
            x.data = 0.3 + 0.2 * float(np.sin(step / 50)) + 0.001 * step
            scope = {"np": np, "h0": x}
            exec(code, scope)
            loss = scope[f"h{nodes // 6}"]
            loss.backward()
            log.step(loss)
            x.zero_grad()
    return gradviz.open_run(path)


def changing(path, steps=40):
    """Record a run whose graph is another one at many steps."""
    a = Tensor(0.9, name="a")
    with gradviz.trace(path, params={"a": a}) as log:
        for step in range(steps):
            y = a * 1.0
            for _ in range((1, 1, 2, 3, 1, 5, 6, 7, 8, 9)[step % 10]):
                y = np.sin(y) * a
            loss = (y - 0.2) ** 2
            loss.backward()
            log.step(loss)
            a.data = a.data - 0.1 * a.grad
            a.zero_grad()
    return gradviz.open_run(path)


def plain(path):
    """Record a run whose losses are plain numbers."""
    w = Tensor(np.zeros(3), name="w")
    with gradviz.trace(path, params={"w": w}) as log:
        for _ in range(20):
            w.data = w.data - 0.1 * (w.data - 1)
            log.step(float(((w.data - 1) ** 2).sum()))
    return gradviz.open_run(path)
