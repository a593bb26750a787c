"""Graphs of single numbers: what recording costs when the arithmetic costs nothing.

A floor does each op as one Python statement forward and its derivative backward, keeps in a list
the values backward needs, and no others.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from benchmarks.harness import Result, Workload

SIZES = (1_000, 10_000, 100_000, 1_000_000)


def workloads() -> Iterator[Workload]:
    """Yield every scalar workload, the smaller ones of a series first."""
    points = line_points(100)
    yield Workload("line fit, 100 graphs of 4 ops", 400, line_start, line_loss, line_floor, points)
    yield Workload("line fit, an epoch in one graph", 500, line_start, epoch_loss, epoch_floor, (points,))
    for ops in SIZES:
        target = {1_000: 10.0, 100_000: 15.0}.get(ops)
        yield Workload(
            f"chain of {ops:,}",
            ops,
            chain_start,
            chain_loss,
            chain_floor,
            (ops,),
            series="chain",
            target=target,
        )
    for size in (1_000, 100_000):
        yield Workload(
            f"sum of {size:,} leaves, made and added",
            size - 1,
            sum_start(size),
            sum_loss,
            sum_floor,
            series="sum",
            fresh=True,
        )
    for levels in (30, 1_000):
        yield Workload(
            f"diamond of {levels:,} levels",
            3 * levels,
            diamond_start,
            diamond_loss,
            diamond_floor,
            (levels,),
            "diamond",
        )
    yield Workload(
        "moons MLP 2-16-16-1, one step",
        moons_ops(),
        moons_start,
        moons_loss,
        moons_floor,
        (moons_points(100),),
    )


# A line fitted to points, as the article does it.


def line_points(count: int) -> list[tuple[float, float]]:
    rng = random.Random(0)
    xs = [rng.uniform(-1.0, 1.0) for _ in range(count)]
    return [(x, 2.0 * x + 1.0 + rng.gauss(0.0, 0.2)) for x in xs]


def line_start() -> list[float]:
    return [0.5, 0.1]


def line_loss(lib: Any, leaves: Sequence[Any], point: tuple[float, float]) -> Any:
    w, b = leaves
    x, y = point
    return (y - (w * x + b)) ** 2


def line_floor(leaves: Sequence[float], points: Sequence[tuple[float, float]]) -> Result:
    w, b = leaves
    total = dw = db = 0.0
    for x, y in points:
        error = y - (w * x + b)
        total += error * error
        slope = -2.0 * error
        dw += slope * x
        db += slope
    return total, [dw, db]


def epoch_loss(lib: Any, leaves: Sequence[Any], points: Sequence[tuple[float, float]]) -> Any:
    w, b = leaves
    total = 0.0
    for x, y in points:
        total = total + (y - (w * x + b)) ** 2
    return total


def epoch_floor(leaves: Sequence[float], items: Sequence[Sequence[tuple[float, float]]]) -> Result:
    (points,) = items
    w, b = leaves
    total = dw = db = 0.0
    errors = []
    for x, y in points:
        error = y - (w * x + b)
        errors.append(error)
        total = total + error * error
    for (x, _), error in zip(reversed(points), reversed(errors), strict=True):
        slope = -2.0 * error
        dw += slope * x
        db += slope
    return total, [dw, db]


# One number multiplied and shifted again and again.


def chain_start() -> list[float]:
    return [0.5, 0.999, 0.001]


def chain_loss(lib: Any, leaves: Sequence[Any], ops: int) -> Any:
    x, a, b = leaves
    for _ in range(ops // 2):
        x = x * a
        x = x + b
    return x


def chain_floor(leaves: Sequence[float], items: Sequence[int]) -> Result:
    (ops,) = items
    x, a, b = leaves
    kept = []
    for _ in range(ops // 2):
        kept.append(x)
        x = x * a
        x = x + b
    dx, da, db = 1.0, 0.0, 0.0
    for value in reversed(kept):
        db += dx
        da += dx * value
        dx *= a
    return x, [dx, da, db]


# Many leaves, one result.


def sum_start(size: int) -> Any:
    return lambda: [1.0 / (1 + i) for i in range(size)]


def sum_loss(lib: Any, leaves: Sequence[Any], _: None) -> Any:
    total = leaves[0]
    for leaf in leaves[1:]:
        total = total + leaf
    return total


def sum_floor(leaves: Sequence[float], _: Sequence[None]) -> Result:
    total = leaves[0]
    for leaf in leaves[1:]:
        total = total + leaf
    grads = []
    grad = 1.0
    for _leaf in leaves:
        grads.append(grad)  # noqa: PERF401 - one statement an op, as everywhere in the floors
    return total, grads


# Two ways at every level: 2 ** levels paths.


def diamond_start() -> list[float]:
    return [1.0, 0.6, 0.4]


def diamond_loss(lib: Any, leaves: Sequence[Any], levels: int) -> Any:
    x, a, b = leaves
    for _ in range(levels):
        left = x * a
        right = x * b
        x = left + right
    return x


def diamond_floor(leaves: Sequence[float], items: Sequence[int]) -> Result:
    (levels,) = items
    x, a, b = leaves
    kept = []
    for _ in range(levels):
        kept.append(x)
        left = x * a
        right = x * b
        x = left + right
    dx, da, db = 1.0, 0.0, 0.0
    for value in reversed(kept):
        db += dx * value
        da += dx * value
        dx = dx * a + dx * b
    return x, [dx, da, db]


# micrograd's demo: a small network on two moons, hinge loss and weight decay, one number at a time.

LAYERS = (2, 16, 16, 1)
DECAY = 1e-4


def moons_points(count: int) -> tuple[list[tuple[float, float]], list[float]]:
    rng = random.Random(1)
    points, labels = [], []
    for i in range(count):
        angle = math.pi * rng.random()
        upper = i % 2
        x = math.cos(angle) if upper else 1.0 - math.cos(angle)
        y = math.sin(angle) if upper else 0.5 - math.sin(angle)
        points.append((x + rng.gauss(0.0, 0.1), y + rng.gauss(0.0, 0.1)))
        labels.append(2.0 * upper - 1.0)
    return points, labels


def moons_start() -> list[float]:
    rng = random.Random(2)
    return [rng.uniform(-1.0, 1.0) for _ in range(sum((n + 1) * m for n, m in pairwise(LAYERS)))]


def moons_ops(count: int = 100) -> int:
    neurons = sum((2 * n + 1) * m for n, m in pairwise(LAYERS)) - LAYERS[-1]
    return count * (neurons + 3) + count + 2 * len(moons_start()) + 1


def network(leaves: Sequence[Any]) -> list[list[tuple[Sequence[Any], Any]]]:
    """Cut the flat parameters into layers of neurons, each its weights and its bias."""
    layers, at = [], 0
    for inputs, outputs in pairwise(LAYERS):
        starts = range(at, at + (inputs + 1) * outputs, inputs + 1)
        layers.append([(leaves[i : i + inputs], leaves[i + inputs]) for i in starts])
        at += (inputs + 1) * outputs
    return layers


def moons_loss(lib: Any, leaves: Sequence[Any], data: tuple[list[tuple[float, float]], list[float]]) -> Any:
    layers = network(leaves)
    losses = []
    for point, label in zip(*data, strict=True):
        score = moons_score(lib, layers, [lib.constant(x) for x in point])
        losses.append(lib.relu(1.0 + score * -label))
    loss = total(losses) * (1.0 / len(losses))
    return loss + total([p * p for p in leaves]) * DECAY


def moons_score(lib: Any, layers: list[list[tuple[Sequence[Any], Any]]], values: list[Any]) -> Any:
    for depth, layer in enumerate(layers, start=1):
        outputs = []
        for weights, bias in layer:
            activation = bias
            for weight, value in zip(weights, values, strict=True):
                activation = activation + weight * value
            outputs.append(activation if depth == len(layers) else lib.relu(activation))
        values = outputs
    return values[0]


def total(terms: Sequence[Any]) -> Any:
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result


def moons_floor(leaves: Sequence[float], items: Sequence[Any]) -> Result:
    (data,) = items
    layers = network(leaves)
    grads = [[([0.0] * len(weights), [0.0]) for weights, _ in layer] for layer in layers]
    share = 1.0 / len(data[0])
    loss = 0.0
    for point, label in zip(*data, strict=True):
        kept = moons_forward(layers, point)
        margin = 1.0 - kept[-1][0] * label
        if margin > 0.0:
            loss += margin
            moons_backward(layers, grads, kept, -label * share)
    flat = [g for layer in grads for weights, bias in layer for g in (*weights, *bias)]
    decay = sum(p * p for p in leaves)
    return loss * share + decay * DECAY, [g + 2.0 * DECAY * p for g, p in zip(flat, leaves, strict=True)]


def moons_forward(layers: list[list[tuple[Sequence[float], float]]], point: Sequence[float]) -> list[list[float]]:
    """Return the values of every layer, the point itself first."""
    kept = [list(point)]
    for depth, layer in enumerate(layers, start=1):
        values = kept[-1]
        outputs = []
        for weights, bias in layer:
            activation = bias
            for weight, value in zip(weights, values, strict=True):
                activation += weight * value
            outputs.append(activation if depth == len(layers) or activation > 0.0 else 0.0)
        kept.append(outputs)
    return kept


def moons_backward(layers: Any, grads: Any, kept: list[list[float]], slope: float) -> None:
    """Add the gradients one point contributes to those of the weights and biases."""
    slopes = [slope]
    for depth in range(len(layers) - 1, -1, -1):
        values = kept[depth]
        below = [0.0] * len(values)
        for (weights, _), (into, bias), out, d in zip(
            layers[depth], grads[depth], kept[depth + 1], slopes, strict=True
        ):
            if out > 0.0 or depth == len(layers) - 1:
                bias[0] += d
                for i, value in enumerate(values):
                    into[i] += d * value
                    below[i] += d * weights[i]
        slopes = below
