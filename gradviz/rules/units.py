"""Dead and saturated units: activations that pass nothing on, whatever goes in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from gradviz.escape import clean
from gradviz.graphs import Frame, Graph, Node
from gradviz.rules.evidence import Evidence
from gradviz.rules.findings import Symptom
from gradviz.rules.opnames import is_relu, known_as
from gradviz.rules.registry import rule

__all__ = ["Layer", "dead", "saturated"]

CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"})
PASSING = frozenset({"add", "batch_norm", "dropout", "layer_norm", "max_pool2d", "mul", "standardize"})
SMOOTH = frozenset({"tanh", "sigmoid", "softmax"})


@dataclass
class Layer:
    """The units of one activation (or of all scalar ones of one source line) in the frames looked at."""

    node: Node
    masks: list[np.ndarray] = field(default_factory=list)  # per frame: which units
    positions: list[int] = field(default_factory=list)
    samples: int = 0  # in how many cases each unit was seen


def _unit_axis(graph: Graph, node: Node) -> int:
    """Return the axis along which the units lie: the channels of a convolution, else the last."""
    at = node
    while at.inputs and len(node.shape) > 2:
        at = graph.nodes[at.inputs[0]]
        if at.op in CONVOLUTIONS:
            return 1 if at.op != "conv2d" else len(node.shape) - 3
        if known_as(at.op) not in PASSING:
            break
    return len(node.shape) - 1


def _per_unit(graph: Graph, node: Node, mask: np.ndarray) -> np.ndarray:
    """Return the share of the cases in which a mask holds, for every unit."""
    if mask.ndim == 0:
        return np.array([float(mask)])
    axis = _unit_axis(graph, node)
    share: np.ndarray = np.moveaxis(mask, axis, -1).reshape(-1, mask.shape[axis]).mean(axis=0)
    return share


def _key(node: Node) -> tuple[object, ...]:
    """Return what tells layers apart: scalars made by one line in one scope are one layer."""
    return (node.name,) if node.shape else (node.op, node.scope, str(node.source))


# -- dead ------------------------------------------------------------------------------------------------


@rule(
    "dead",
    severity="warning",
    summary="ReLU units that are 0 for every sample: they pass no gradient and never come back",
    advice="Make the learning rate smaller, start biases at 0 and weights by He's rule, scale the inputs, or use"
    " leaky_relu, elu or gelu.",
    because="Lu et al. 2019, Dying ReLU and Initialization; the limit of half a layer is that of SageMaker"
    " Debugger's rule DeadRelu. A few dead units among many are common and only noted",
)
def dead(seen: Evidence, *, share: float = 0.5, samples: int = 8) -> Iterator[Symptom]:
    """Find units that were 0 for all samples of the later half of the frames."""
    for layer in _layers(seen).values():
        scalar = not layer.node.shape
        recent = layer.masks[len(layer.masks) // 2 :]
        if layer.samples < samples or len({mask.shape for mask in layer.masks}) > 1:
            continue
        now = np.all(recent, axis=0)
        if scalar:  # which of them are one unit is not known
            now = np.array([now.all()])
        count, units = int(now.sum()), now.size
        if count:
            since = _since(layer, now)
            name = clean(layer.node.name, 80)
            which = f"all {layer.masks[-1].size} units like {name}" if scalar else f"{count} of {units} units of {name}"
            are = "is" if which.startswith("1 of") else "are"
            start = " from the start" if since == layer.positions[0] == 0 else ""
            yield Symptom(
                f"{which} {are} 0 for every sample{start}",
                at=layer.node,
                step=seen.step(since),
                last_step=seen.step(layer.positions[-1]),
                numbers={"dead": count, "units": units, "which": np.flatnonzero(now)[:20].tolist()},
                severity="" if count >= share * units else "note",
            )


def _since(layer: Layer, now: np.ndarray) -> int:
    """Return the first position from which on all of these units are 0."""
    since = layer.positions[-1]
    for position, mask in zip(reversed(layer.positions), reversed(layer.masks), strict=True):
        if not mask[now].all():
            break
        since = position
    return since


def _layers(seen: Evidence) -> dict[tuple[object, ...], Layer]:
    """Return every ReLU layer with, per frame, which of its units are 0 for all samples."""
    layers: dict[tuple[object, ...], Layer] = {}
    for position, frame in seen.frames:
        groups: dict[tuple[object, ...], list[np.ndarray]] = {}
        for node in frame.graph.nodes:
            value = frame.values[node.id]
            if value is None or not _is_relu(frame, node) or not np.size(value):
                continue
            key = _key(node)
            layer = layers.setdefault(key, Layer(node))
            zeros = _per_unit(frame.graph, node, ~(np.asarray(value) != 0)) == 1.0
            groups.setdefault(key, []).append(zeros)
            layer.samples += np.size(value) // zeros.size
        for key, masks in groups.items():
            layers[key].positions.append(position)
            layers[key].masks.append(np.concatenate(masks))
    return layers


def _is_relu(frame: Frame, node: Node) -> bool:
    """Whether a node is a ReLU, also when it is written as maximum(x, 0)."""
    if node.op == "maximum":
        fixed = [frame.values[i] for i in node.inputs if frame.graph.nodes[i].kind == "const"]
        return any(value is not None and not np.any(value) for value in fixed)
    return is_relu(node)


# -- saturated -------------------------------------------------------------------------------------------


@rule(
    "saturated",
    severity="warning",
    summary="tanh, sigmoid or softmax units at their limits, where their derivative is nearly 0",
    advice="Scale the inputs to mean 0 and variance 1, start with smaller weights (Glorot), make the learning rate"
    " smaller, or use ReLU; after a softmax or sigmoid use cross_entropy or bce_with_logits on what goes into it.",
    because="LeCun et al. 1998, Efficient BackProp, section 4.4; Glorot and Bengio 2010 watch the same in sigmoid"
    " networks. Beyond 0.99 of the limit tanh keeps 2 % of its slope, sigmoid 4 %",
)
def saturated(seen: Evidence, *, share: float = 0.75, limit: float = 0.99) -> Iterator[Symptom]:
    """Find layers most of whose values are at the limit; the result of a network only at the start."""
    found: dict[str, list[tuple[int, float]]] = {}
    nodes: dict[str, Node] = {}
    for position, frame in seen.frames:
        hidden = _before_a_parameter(frame.graph)
        for node in frame.graph.nodes:
            value = frame.values[node.id]
            if known_as(node.op) not in SMOOTH or value is None or not np.size(value) or not node.shape:
                continue
            if hidden[node.id] or position == 0:
                nodes.setdefault(node.name, node)
                found.setdefault(node.name, []).append((position, _at_limit(node, np.asarray(value), limit)))
    for name, shares in found.items():
        high = [(position, part) for position, part in shares if part >= share]
        if high and 2 * len(high) >= len(shares):
            position, most = max(high, key=lambda entry: entry[1])
            yield Symptom(
                f"{most:.0%} of the values of {clean(name, 80)} are within {1 - limit:.2g} of the limits of"
                f" {nodes[name].op}",
                at=nodes[name],
                step=seen.step(high[0][0]),
                last_step=seen.step(high[-1][0]),
                numbers={"share": most, "at step": seen.step(position), "limit": limit},
            )


def _at_limit(node: Node, value: np.ndarray, limit: float) -> float:
    """Return the share of the values that are at a limit; of a softmax the share of the distributions."""
    op = known_as(node.op)
    if op == "softmax":
        axis = node.attrs.get("axis", node.attrs.get("dim", -1))
        value = value.max(axis=axis if isinstance(axis, int) else -1)
        return float(np.mean(value > limit))
    centred = 2.0 * value - 1.0 if op == "sigmoid" else value
    return float(np.mean(np.abs(centred) > (2 * limit - 1 if op == "sigmoid" else limit)))


def _before_a_parameter(graph: Graph) -> list[bool]:
    """Return for every node whether a parameter comes in after it: then it is no result of the network."""
    fed = [False] * len(graph.nodes)  # whether a parameter leads to it
    for node in graph.nodes:
        fed[node.id] = node.kind == "param" or any(fed[i] for i in node.inputs)
    found = [False] * len(graph.nodes)
    for node in reversed(graph.nodes):
        for arg in node.inputs:
            others = any(fed[i] and graph.nodes[i].kind == "param" for i in node.inputs if i != arg)
            found[arg] = found[arg] or found[node.id] or others
    return found
