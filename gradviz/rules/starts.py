"""How the parameters begin, and what goes in: zeros, equal units, badly scaled inputs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradviz.escape import clean
from gradviz.graphs import Frame, Graph, Node, Number
from gradviz.rules.evidence import Evidence
from gradviz.rules.findings import Symptom
from gradviz.rules.opnames import known_as
from gradviz.rules.registry import rule
from gradviz.style.wording import format_number

__all__ = ["scaling", "symmetric", "zero_start"]

PRODUCTS = frozenset(
    {
        "bilinear", "conv1d", "conv2d", "conv3d", "dot", "einsum", "inner", "linear", "matmul", "mul", "outer",
        "tensordot", "vdot",
    }
)  # fmt: skip
START_ADVICE = (
    "Draw the weights at random, by Glorot's rule for tanh and sigmoid or He's for ReLU; biases may start at 0."
)


@rule(
    "zero-start",
    severity="error",
    summary="weights that all start at 0 and get a gradient of 0: they cannot leave",
    advice=START_ADVICE,
    because="Goodfellow, Bengio and Courville 2016, section 8.4. A single layer may start at 0 (its gradient is not 0),"
    " and so may the last",
)
def zero_start(seen: Evidence) -> Iterator[Symptom]:
    """Find matrices that are 0 and whose gradient is 0 at the first step."""
    frame = seen.first
    if frame is None:
        return
    for node in _weights(frame):
        value, grad = frame.values[node.id], frame.grads[node.id]
        if value is not None and grad is not None and not np.any(value) and not np.any(grad):
            yield Symptom(
                f"{clean(node.name, 80)} starts at 0 in all of its {np.size(value)} elements, and so does its gradient",
                at=node, step=seen.step(0), numbers={"elements": int(np.size(value))},
            )  # fmt: skip


@rule(
    "symmetric",
    severity="error",
    summary="units that start alike and get the same gradient: they stay alike for ever",
    advice=START_ADVICE,
    because="Goodfellow, Bengio and Courville 2016, section 8.4: units with the same inputs and the same start must be"
    " told apart by chance, for no update of a deterministic training does it",
)
def symmetric(seen: Evidence) -> Iterator[Symptom]:
    """Find matrices with rows or columns that are equal, and have equal gradients, at the first and the last step."""
    if not seen.frames:
        return
    first, last = seen.frames[0][1], seen.frames[-1][1]
    for node in _weights(first):
        if node.name not in last.graph:
            continue
        for axis, word in ((-1, "columns"), (0, "rows")):
            alike = _alike(first.values[node.id], first.grads[node.id], axis)
            still = _alike(last.value(node.name), last.grad(node.name), axis)
            if alike > 1 and still > 1 and _hidden(first.graph, node):
                count = node.shape[axis]
                yield Symptom(
                    f"{alike} of {count} {word} of {clean(node.name, 80)} start alike and get the same gradient, so"
                    f" they are one unit{'' if seen.is_single else f'; at the end {still} are alike'}",
                    at=node, step=seen.step(0), last_step=seen.step(seen.frames[-1][0]),
                    numbers={"alike": alike, "of": count, "at the end": still},
                )  # fmt: skip
                break


def _weights(frame: Frame) -> list[Node]:
    """Return the parameters that are matrices of two or more rows or columns."""
    matrices = (node for node in frame.graph.nodes if node.kind == "param" and len(node.shape) >= 2)
    return [node for node in matrices if max(node.shape[0], node.shape[-1]) > 1]


def _alike(value: Number | None, grad: Number | None, axis: int) -> int:
    """Return how many slices along an axis are equal to another, in value and in a gradient that is not 0."""
    if value is None or grad is None or np.shape(value) != np.shape(grad) or np.shape(value)[axis] < 2:
        return 0
    both = [np.moveaxis(np.asarray(x), axis, 0).reshape(np.shape(value)[axis], -1) for x in (value, grad)]
    moved = both[1].any(axis=1)
    rows = np.hstack(both)[moved]
    if len(rows) < 2 or rows.shape[1] < 2 or not np.isfinite(rows).all():
        return 0
    _, counts = np.unique(_rounded(rows), axis=0, return_counts=True)
    return int(counts[counts > 1].sum())


def _rounded(rows: np.ndarray) -> np.ndarray:
    """Leave out the last bits: equal units may be summed in another order."""
    scale = np.abs(rows).max(axis=0, initial=0.0)
    found: np.ndarray = np.round(rows / np.where(scale > 0, scale, 1.0), 10)
    return found + 0.0  # -0.0 is 0.0


def _hidden(graph: Graph, node: Node) -> bool:
    """Whether another weight comes before or after it, so that its units are hidden ones."""
    after = set(graph.descendants(node))
    for other in graph.nodes:
        if other.kind == "param" and other.id != node.id and len(other.shape) >= 2:
            users = graph.consumers(other.id)
            mine = graph.consumers(node.id)
            if any(user in after and user not in mine for user in users):
                return True
            later = set(graph.descendants(other.id))
            if any(user in later and user not in users for user in mine):
                return True
    return False


# -- inputs ----------------------------------------------------------------------------------------------


@rule(
    "scaling",
    severity="warning",
    summary="inputs whose columns differ in scale by orders of magnitude, or lie far from 0",
    advice="Standardise every column: x = (x - x.mean(axis=0)) / x.std(axis=0), with the numbers of the training set.",
    because="LeCun et al. 1998, Efficient BackProp, section 4.3: columns of mean 0 and equal variance; otherwise the"
    " curvatures differ by the square of the ratio, and the largest decides the learning rate",
)
def scaling(seen: Evidence, *, ratio: float = 1e3, offset: float = 10.0) -> Iterator[Symptom]:
    """Look at the inputs that a parameter is multiplied with, at the first step."""
    if seen.first is None:
        return
    for node in _features(seen.first.graph):
        columns = _columns(seen.first.values[node.id])
        if columns is None:
            continue
        with np.errstate(all="ignore"):
            spread, mean = columns.std(axis=0), columns.mean(axis=0)
            reach = np.ptp(columns, axis=0)
        varying = spread > 1e-12 * np.abs(columns).max(axis=0)
        if not varying.any() or not np.isfinite(reach).all():
            continue
        yield from _badly_scaled(seen, node, reach, varying, ratio)
        yield from _off_centre(seen, node, mean, spread, varying, offset)


def _badly_scaled(
    seen: Evidence, node: Node, reach: np.ndarray, varying: np.ndarray, ratio: float
) -> Iterator[Symptom]:
    large, small = int(np.argmax(np.where(varying, reach, -np.inf))), int(np.argmin(np.where(varying, reach, np.inf)))
    apart = float(reach[large] / reach[small])
    if apart > ratio:
        yield Symptom(
            f"the columns of {clean(node.name, 80)} differ in scale by a factor of {format_number(apart, 2)}: column"
            f" {large} spans {format_number(reach[large])}, column {small} only {format_number(reach[small])}",
            at=node, step=seen.step(0),
            numbers={"ratio": apart, "largest column": large, "smallest column": small},
        )  # fmt: skip


def _off_centre(
    seen: Evidence, node: Node, mean: np.ndarray, spread: np.ndarray, varying: np.ndarray, offset: float
) -> Iterator[Symptom]:
    far = np.where(varying, np.abs(mean) / np.where(varying, spread, 1.0), 0.0)
    worst = int(far.argmax())
    count = int((far > offset).sum())
    if count:
        which = f"column {worst} of {clean(node.name, 80)}" if len(far) > 1 else clean(node.name, 80)
        yield Symptom(
            f"{which} lies far from 0: mean {format_number(mean[worst])}, standard deviation"
            f" {format_number(spread[worst])}" + (f" ({count} of {len(far)} columns)" if len(far) > 1 else ""),
            at=node, step=seen.step(0),
            numbers={"mean": float(mean[worst]), "standard deviation": float(spread[worst]), "columns": count},
        )  # fmt: skip


def _features(graph: Graph) -> list[Node]:
    """Return the inputs and constant arrays that are multiplied with a parameter itself."""
    found: dict[int, Node] = {}
    for node in graph.nodes:
        if known_as(node.op) in PRODUCTS and any(graph.nodes[_origin(graph, i)].kind == "param" for i in node.inputs):
            leaves = (graph.nodes[i] for i in node.inputs)
            found |= {leaf.id: leaf for leaf in leaves if leaf.kind in {"input", "const"} and leaf.shape}
    return list(found.values())


def _origin(graph: Graph, at: int) -> int:
    """Return what a transposed or reshaped node was."""
    while known_as(graph.nodes[at].op) in {"transpose", "reshape", "swapaxes", "expand_dims", "getitem"}:
        at = graph.nodes[at].inputs[0]
    return at


def _columns(value: Number | None) -> np.ndarray | None:
    """Return an input as (samples, columns); None if it holds too few samples, or no numbers."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf" or not 1 <= value.ndim <= 2:
        return None
    if len(value) < 8 or not value.size:
        return None
    return value.reshape(len(value), -1).astype(float)
