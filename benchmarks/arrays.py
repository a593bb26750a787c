"""Graphs of arrays, small (8x8: what recording costs) and large (what keeping every value costs).

All data want gradients, so that nobody skips a product. A floor keeps each intermediate value that
backward needs, and adds into arrays made once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Result, Workload

Array = NDArray[np.float64]
DEPTH = 100  # multiply-adds
CELLS = 50
BLOCKS = 5
EPS = 1e-5


def workloads() -> Iterator[Workload]:
    """Yield the array workloads, small ones first."""
    yield Workload("8x8 elementwise, 201 ops", 201, fma_start, fma_loss, fma_floor, arrays=True, target=1.9)
    yield Workload("8x8 tanh(x @ W + b), 151 ops", 151, cell_start, cell_loss, cell_floor, arrays=True, target=1.5)
    yield Workload(
        "64x128 layer norm + softmax, 62 ops", 62, norm_start, norm_loss, norm_floor, arrays=True, target=1.4
    )
    yield Workload("MLP 784-256-10, batch 128", 13, mlp_start, mlp_loss, mlp_floor, arrays=True, target=1.06)
    yield Workload(
        "matmul 1024, 3 products", 4, products_start, products_loss, products_floor, arrays=True, target=1.07
    )
    yield Workload("1e6 elements, chain of 16 ops", 16, wide_start, wide_loss, wide_floor, arrays=True, target=1.15)


def draw(*shapes: tuple[int, ...], low: float = -1.0, high: float = 1.0) -> list[Array]:
    """Return arrays of the shapes, drawn evenly between the bounds, the same ones every time."""
    rng = np.random.default_rng(0)
    return [rng.uniform(low, high, shape) for shape in shapes]


# h = h * a + b, again and again.


def fma_start() -> list[Array]:
    return draw((8, 8), (8, 8), (8, 8))


def fma_loss(lib: Any, leaves: Sequence[Any], _: None) -> Any:
    h, a, b = leaves
    for _level in range(DEPTH):
        h = h * a
        h = h + b
    return lib.sum(h)


def fma_floor(leaves: Sequence[Array], _: Sequence[None]) -> Result:
    h, a, b = leaves
    kept = []
    for _level in range(DEPTH):
        kept.append(h)
        h = h * a
        h = h + b
    value = np.add.reduce(h, axis=None)
    dh, da, db = np.ones_like(h), np.zeros_like(a), np.zeros_like(b)
    for h in reversed(kept):
        db += dh
        da += dh * h
        dh = dh * a
    return value, [dh, da, db]


# h = tanh(h @ W + b), again and again.


def cell_start() -> list[Array]:
    return draw((8, 8), (8, 8), (8,))


def cell_loss(lib: Any, leaves: Sequence[Any], _: None) -> Any:
    h, w, b = leaves
    for _level in range(CELLS):
        h = lib.tanh(h @ w + b)
    return lib.sum(h)


def cell_floor(leaves: Sequence[Array], _: Sequence[None]) -> Result:
    h, w, b = leaves
    kept = [h]
    for _level in range(CELLS):
        h = np.tanh(h @ w + b)
        kept.append(h)
    value = np.add.reduce(h, axis=None)
    dh, dw, db = np.ones_like(h), np.zeros_like(w), np.zeros_like(b)
    for i in range(CELLS, 0, -1):
        h = kept[i]
        dz = dh * (1.0 - h * h)
        db += np.add.reduce(dz, axis=0)
        dw += kept[i - 1].T @ dz
        dh = dz @ w.T
    return value, [dh, dw, db]


# Layer norm and softmax from primitives, five times over.


def norm_start() -> list[Array]:
    return draw((64, 128), (128,), (128,), (64, 128))


def norm_loss(lib: Any, leaves: Sequence[Any], _: None) -> Any:
    h, scale, shift, target = leaves
    for _block in range(BLOCKS):
        d = h - lib.mean(h, axis=1, keepdims=True)
        deviation = lib.sqrt(lib.mean(d * d, axis=1, keepdims=True) + EPS)
        e = lib.exp(d / deviation * scale + shift)
        h = e / lib.sum(e, axis=1, keepdims=True)
    return lib.sum(h * target)


def norm_floor(leaves: Sequence[Array], _: Sequence[None]) -> Result:
    h, scale, shift, target = leaves
    kept = []
    for _block in range(BLOCKS):
        d = h - np.add.reduce(h, axis=1, keepdims=True) * (1.0 / 128)
        deviation = np.sqrt(np.add.reduce(d * d, axis=1, keepdims=True) * (1.0 / 128) + EPS)
        unit = d / deviation
        e = np.exp(unit * scale + shift)
        s = np.add.reduce(e, axis=1, keepdims=True)
        h = e / s
        kept.append((d, deviation, unit, e, s, h))
    value = np.add.reduce(h * target, axis=None)
    dh, dscale, dshift = target, np.zeros_like(scale), np.zeros_like(shift)
    for d, deviation, unit, e, s, out in reversed(kept):
        de = (dh - np.add.reduce(dh * out, axis=1, keepdims=True)) / s
        dz = de * e
        dshift += np.add.reduce(dz, axis=0)
        dscale += np.add.reduce(dz * unit, axis=0)
        dunit = dz * scale
        ddeviation = -np.add.reduce(dunit * unit, axis=1, keepdims=True) / deviation
        dd = dunit / deviation + d * (ddeviation / deviation * (1.0 / 128))
        dh = dd - np.add.reduce(dd, axis=1, keepdims=True) * (1.0 / 128)
    return value, [dh, dscale, dshift, h]


# A classifier of 784 pixels, softmax cross-entropy.


def mlp_start() -> list[Array]:
    x, w1, b1, w2, b2 = draw((128, 784), (784, 256), (256,), (256, 10), (10,))
    labels = np.eye(10)[np.arange(128) % 10]
    return [x, w1 * 0.05, b1 * 0.05, w2 * 0.1, b2 * 0.1, labels]


def mlp_loss(lib: Any, leaves: Sequence[Any], _: None) -> Any:
    x, w1, b1, w2, b2, labels = leaves
    hidden = lib.relu(x @ w1 + b1)
    scores = hidden @ w2 + b2
    partition = lib.log(lib.sum(lib.exp(scores), axis=1))
    return lib.sum(partition - lib.sum(scores * labels, axis=1)) * (1.0 / 128)


def mlp_floor(leaves: Sequence[Array], _: Sequence[None]) -> Result:
    x, w1, b1, w2, b2, labels = leaves
    hidden = np.maximum(x @ w1 + b1, 0.0)
    scores = hidden @ w2 + b2
    e = np.exp(scores)
    s = np.add.reduce(e, axis=1, keepdims=True)
    value = np.add.reduce(np.log(s)[:, 0] - np.add.reduce(scores * labels, axis=1)) * (1.0 / 128)
    dscores = (e / s - labels) * (1.0 / 128)
    dhidden = dscores @ w2.T
    dz = dhidden * (hidden > 0.0)
    grads = [dz @ w1.T, x.T @ dz, np.add.reduce(dz, axis=0)]
    grads += [hidden.T @ dscores, np.add.reduce(dscores, axis=0), scores * (-1.0 / 128)]
    return value, grads


# Three products of large matrices.


def products_start() -> list[Array]:
    return [m / 16.0 for m in draw(*[(1024, 1024)] * 4)]


def products_loss(lib: Any, leaves: Sequence[Any], _: None) -> Any:
    a, b, c, d = leaves
    return lib.sum(a @ b @ c @ d)


def products_floor(leaves: Sequence[Array], _: Sequence[None]) -> Result:
    a, b, c, d = leaves
    ab = a @ b
    abc = ab @ c
    out = abc @ d
    value = np.add.reduce(out, axis=None)
    dout = np.ones_like(out)
    dabc, dd = dout @ d.T, abc.T @ dout
    dab, dc = dabc @ c.T, ab.T @ dabc
    return value, [dab @ b.T, a.T @ dab, dc, dd]


# A million numbers at a time: memory, not arithmetic.


def wide_start() -> list[Array]:
    return draw((1_000_000,), (1_000_000,), (1_000_000,), low=0.1, high=0.6)


def wide_loss(lib: Any, leaves: Sequence[Any], _: None) -> Any:
    h, a, b = leaves
    for _level in range(5):
        h = h * a
        h = h + b
        h = h * h
    return lib.sum(h)


def wide_floor(leaves: Sequence[Array], _: Sequence[None]) -> Result:
    h, a, b = leaves
    kept = []
    for _level in range(5):
        shifted = h * a
        shifted = shifted + b
        kept.append((h, shifted))
        h = shifted * shifted
    value = np.add.reduce(h, axis=None)
    dh, da, db = np.ones_like(h), np.zeros_like(a), np.zeros_like(b)
    for h, shifted in reversed(kept):
        dshifted = 2.0 * shifted * dh
        db += dshifted
        da += dshifted * h
        dh = dshifted * a
    return value, [dh, da, db]
