"""Vanishing and exploding gradients: how many decades are lost or won on the way back, and in which ops."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from gradviz.escape import clean
from gradviz.graphs import Frame, Node, Number
from gradviz.rules.evidence import Evidence
from gradviz.rules.findings import Symptom
from gradviz.rules.histories import Track
from gradviz.rules.opnames import known_as
from gradviz.rules.registry import rule
from gradviz.style.wording import format_number

__all__ = ["ACTIVATIONS", "Path", "exploding", "paths", "vanishing"]

ACTIVATIONS = frozenset(
    {
        "celu", "elu", "gelu", "hardswish", "hardtanh", "leaky_relu", "log_softmax", "logsigmoid", "mish", "prelu",
        "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softplus", "softsign", "tanh",
    }
)  # fmt: skip
REARRANGING = frozenset(
    {
        "astype", "broadcast_to", "concatenate", "copy", "expand_dims", "flip", "getitem", "moveaxis", "pos",
        "repeat", "reshape", "roll", "squeeze", "stack", "swapaxes", "tile", "transpose",
    }
)  # fmt: skip
PATHS_LIMIT = 100  # parameters followed in one frame
SHOWN = 3  # kinds of ops named
LOOP = 3  # uses of a parameter by the same op that make a recurrent network


@dataclass(frozen=True, slots=True)
class Path:
    """The way of a gradient from the last layer (``end``) back to where a parameter is used first (``start``).

    ``decades`` is log10 of its root mean square at the start over that at the end: negative if it shrank.
    """

    param: Node
    start: Node
    end: Node
    decades: float
    start_size: float
    end_size: float
    by_op: dict[str, tuple[int, float]]  # how often an op occurs, and the decades it accounts for


def paths(frame: Frame) -> list[Path]:
    """Return the path of every parameter that has one: others use no op twice, or have no gradient.

    The start is compared with the last place where another parameter comes in, or this one does again if it is
    used over and over as in a recurrent network, so the loss and its scale
    (a mean over samples, an error that is small) have no part in it. A chain of activations without
    parameters is followed to the last but one.
    """
    sizes = [_rms(grad) for grad in frame.grads]
    params = [node for node in frame.graph.nodes if node.kind == "param"]
    every = max(1, len(params) // PATHS_LIMIT)
    users = {node.id: _user(frame, node, sizes) for node in params}
    layers = {user for user in users.values() if user is not None}
    layers.update(*(_again(frame, node, users[node.id], sizes) for node in params))
    found = (_path(frame, node, users[node.id], layers, sizes) for node in params[::every])
    return [path for path in found if path is not None]


def _rms(grad: Number | None) -> float:
    if grad is None:
        return math.nan
    if isinstance(grad, float):
        return abs(grad)
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.mean(np.square(np.abs(grad))))) if grad.size else math.nan


def _user(frame: Frame, node: Node, sizes: list[float]) -> int | None:
    """Return the first op that computes with a parameter and has a gradient."""
    graph = frame.graph
    at: int | None = node.id
    while at is not None and (at == node.id or known_as(graph.nodes[at].op) in REARRANGING):
        at = next((user for user in graph.consumers(at) if not math.isnan(sizes[user])), None)
    return at


def _again(frame: Frame, node: Node, first: int | None, sizes: list[float]) -> list[int]:
    """Return the ops that compute with a parameter as the first one does, if there are so many that it is a loop."""
    users = [user for user in frame.graph.consumers(node.id) if not math.isnan(sizes[user])] if first else []
    alike = [user for user in users if first and frame.graph.nodes[user].op == frame.graph.nodes[first].op]
    return alike if len(alike) >= LOOP else []


def _path(frame: Frame, param: Node, start: int | None, layers: set[int], sizes: list[float]) -> Path | None:
    """Follow the largest gradient from the start towards the loss."""
    if start is None:
        return None
    way = [start]
    while users := [user for user in frame.graph.consumers(way[-1]) if not math.isnan(sizes[user])]:
        way.append(max(users, key=lambda user: (sizes[user], -user)))
    end = _end(frame, way, layers)
    inside = way[: way.index(end) + 1] if end is not None else []
    if len(inside) < 2 or not sizes[inside[-1]] > 0:
        return None
    least = next((sizes[i] for i in inside if sizes[i] > 0), 0.0)  # an underflow to 0 has shrunk at least to there
    nodes = frame.graph.nodes
    decades = math.log10(least) - math.log10(sizes[inside[-1]])
    return Path(
        param, nodes[start], nodes[inside[-1]], decades, sizes[start], sizes[inside[-1]], _by_op(frame, inside, sizes)
    )


def _end(frame: Frame, way: list[int], layers: set[int]) -> int | None:
    later = [i for i in way[1:] if i in layers]
    if later:
        return later[-1]
    chain = [i for i in way if known_as(frame.graph.nodes[i].op) in ACTIVATIONS]
    return chain[-2] if len(chain) > 2 else None


def _by_op(frame: Frame, inside: list[int], sizes: list[float]) -> dict[str, tuple[int, float]]:
    """Return how often each kind of op lies on the path, and the decades its backward pass accounts for."""
    often: Counter[str] = Counter()
    decades: Counter[str] = Counter()
    for before, after in pairwise(inside):
        op = frame.graph.nodes[after].op
        often[op] += 1
        if sizes[before] > 0 and sizes[after] > 0:
            decades[op] += math.log10(sizes[before]) - math.log10(sizes[after])  # type: ignore[assignment]
    return {op: (often[op], float(decades[op])) for op in often}


# -- the rules -----------------------------------------------------------------------------------------


@rule(
    "vanishing",
    severity="warning",
    summary="a gradient that shrinks by decades on its way back to the early layers",
    advice="Use ReLU or a residual connection in place of sigmoid or tanh, start the weights by Glorot's or He's"
    " rule, normalise between the layers (layer_norm), or make the network less deep.",
    because="Glorot and Bengio 2010: at a good start the gradient has about the same variance in every layer;"
    " Pascanu et al. 2013. Four decades leave the early layers 1/10,000 of the gradient of the last",
)
def vanishing(seen: Evidence, *, decades: float = 4.0) -> Iterator[Symptom]:
    """Find the path on which most is lost."""
    yield from _judged(seen, -1, decades)


@rule(
    "exploding",
    severity="warning",
    summary="a gradient that grows by decades on its way back, or from one step to the next",
    advice="Clip the norm of the gradient, start with smaller weights (Glorot, He), normalise between the layers,"
    " or make the learning rate smaller.",
    because="Pascanu et al. 2013: on a cliff of the loss the gradient is suddenly larger by orders of magnitude,"
    " and they clip it; Glorot and Bengio 2010 for the growth from layer to layer",
)
def exploding(seen: Evidence, *, decades: float = 4.0, jump: float = 3.0) -> Iterator[Symptom]:
    """Find the path on which most is won, and a step whose gradient is beyond anything before."""
    yield from _judged(seen, 1, decades)
    yield from _jumped(seen, jump)


def _judged(seen: Evidence, sign: int, decades: float) -> Iterator[Symptom]:
    """Yield the worst path, if it is beyond the limit in a quarter of the frames."""
    worst: list[tuple[int, Path]] = []
    judged = 0
    for position, frame in seen.frames:
        found = [path for path in paths(frame) if math.isfinite(path.decades)]
        judged += bool(found)
        beyond = [path for path in found if sign * path.decades >= decades]
        if beyond:
            worst.append((position, max(beyond, key=lambda path: (sign * path.decades, path.param.name))))
    if worst and 4 * len(worst) >= judged:
        position, path = max(worst, key=lambda entry: sign * entry[1].decades)
        yield _symptom(seen, path, position, [at for at, _ in worst])
    elif not judged:
        yield from _by_parameters(seen, sign, decades)


def _symptom(seen: Evidence, path: Path, position: int, at: list[int]) -> Symptom:
    word = "shrinks" if path.decades < 0 else "grows"
    signed = math.copysign(1, path.decades)
    ops = sorted(path.by_op.items(), key=lambda item: (-signed * item[1][1], item[0]))[:SHOWN]
    through = ", ".join(f"{often} x {op} {lost:+.1f}" for op, (often, lost) in ops)
    message = (
        f"the gradient {word} by {abs(path.decades):.1f} decades from {clean(path.end.name, 80)} back to"
        f" {clean(path.start.name, 80)}, where {clean(path.param.name, 80)} comes in: {through}"
    )
    numbers: dict[str, Any] = {
        "decades": path.decades,
        "at step": seen.step(position),
        "gradient at the start (rms)": path.start_size,
        "gradient at the end (rms)": path.end_size,
        "ops": {op: {"times": often, "decades": lost} for op, (often, lost) in path.by_op.items()},
    }
    return Symptom(message, at=path.start, step=seen.step(min(at)), last_step=seen.step(max(at)), numbers=numbers)


def _by_parameters(seen: Evidence, sign: int, decades: float) -> Iterator[Symptom]:
    """Compare the gradients of the parameters themselves, where nothing of the inside of a step is known."""
    tracks = [track for track in seen.tracks.values() if track.reached.any()]
    levels = {track.name: _level(seen, track) for track in tracks}
    known = {name: level for name, level in levels.items() if math.isfinite(level)}
    if len(known) < 3:
        return
    first, last = next(iter(known)), next(reversed(known))
    apart = known[first] - known[last]
    if sign * apart >= decades:
        word = "smaller" if apart < 0 else "larger"
        yield Symptom(
            f"the gradient of {clean(first, 80)} is {abs(apart):.1f} decades {word} than that of {clean(last, 80)}",
            at=first, step=seen.step(0), last_step=seen.step(-1), numbers={"decades": apart, "parameters": len(known)},
        )  # fmt: skip


def _level(seen: Evidence, track: Track) -> float:
    """Return log10 of the usual root mean square of a gradient's elements."""
    shape = seen.graph[track.name].shape if seen.graph and track.name in seen.graph else ()
    size = track.size or int(np.prod(shape))
    usual = np.median(track.grad_norm[track.reached]) / math.sqrt(max(size, 1))
    return math.log10(usual) if usual > 0 and math.isfinite(usual) else math.nan


def _jumped(seen: Evidence, jump: float) -> Iterator[Symptom]:
    """Yield the largest jump of the gradient of all parameters together beyond everything before it."""
    tracks = [track for track in seen.tracks.values() if track.reached.any()]
    if not tracks:
        return
    norms = np.array([np.where(t.reached & np.isfinite(t.grad_norm), t.grad_norm, 0.0) for t in tracks])
    whole = norms.max(axis=0)
    before = np.maximum.accumulate(whole)[:-1]
    with np.errstate(all="ignore"):
        ratios = np.where(before > 0, whole[1:] / before, 0.0)
    if not len(ratios) or ratios.max() < 10.0**jump:
        return
    at = int(ratios.argmax()) + 1
    track, decades = tracks[int(norms[:, at].argmax())], math.log10(ratios.max())
    size, earlier = float(whole[at]), float(before[at - 1])
    node = seen.graph[track.name] if seen.graph is not None and track.name in seen.graph else track.name
    yield Symptom(
        f"the gradient of {clean(track.name, 80)} jumps to {format_number(size)}, {decades:.1f} decades above the"
        f" largest of all before, {format_number(earlier)}",
        at=node, step=seen.step(track.at[at]),
        numbers={"decades": decades, "gradient": size, "largest before": earlier},
    )  # fmt: skip
