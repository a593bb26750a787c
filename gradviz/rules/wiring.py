"""What the structure alone shows not to be what was meant: every pair compared, probabilities taken twice."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from gradviz.escape import clean
from gradviz.graphs import Graph, Node
from gradviz.rules.evidence import Evidence
from gradviz.rules.findings import Symptom
from gradviz.rules.opnames import known_as
from gradviz.rules.registry import rule
from gradviz.style.wording import format_shape

__all__ = ["every_pair", "softmax_twice"]

COMPARING = frozenset(
    ("sub", "rsub", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "huber", "squared_difference")
)
MOVING = frozenset(
    ("reshape", "transpose", "moveaxis", "squeeze", "expand_dims", "ravel", "copy", "astype", "getitem", "broadcast_to")
)
TAKES = {  # what a loss makes probabilities of by itself, and what it expects
    "cross_entropy": ("softmax", "what goes into the softmax"),
    "log_softmax": ("softmax", "what goes into the softmax"),
    "nll_loss": ("softmax", "log-probabilities, as log_softmax gives them"),
    "bce_with_logits": ("sigmoid", "what goes into the sigmoid"),
    "binary_cross_entropy_with_logits": ("sigmoid", "what goes into the sigmoid"),
}


@rule(
    "every-pair",
    severity="error",
    summary="predictions of shape (N, 1) compared with targets of shape (N,): broadcasting compares every pair",
    advice="Give both the same shape: y.reshape(-1, 1), or prediction.squeeze(1).",
    because="NumPy's broadcasting makes (N, N) of the two; the least of such a loss is the mean of the targets for"
    " every sample. Pairs that are meant are written as (N, 1) and (1, N), and those are left alone",
)
def every_pair(seen: Evidence) -> Iterator[Symptom]:
    """Find differences of a column that depends on parameters and a vector, as long, that does not."""
    graph = seen.graph
    if graph is None:
        return
    suspects = [node for node in graph.nodes if known_as(node.op) in COMPARING and len(node.inputs) >= 2]
    learned = _learned(graph) if suspects else []
    for node in suspects:
        a, b = (graph.nodes[id] for id in node.inputs[:2])
        if learned[a.id] == learned[b.id] or not (_is_spread(a.shape, b.shape) or _is_spread(b.shape, a.shape)):
            continue
        made, given = (a, b) if learned[a.id] else (b, a)
        yield Symptom(
            f"{clean(node.op, 40)} compares {_named(made)} with {_named(given)}: not"
            f" {max(made.shape):,} differences but {max(made.shape) ** 2:,}, one of every pair",
            at=node, **_span(seen), numbers={"meant": max(made.shape), "computed": max(made.shape) ** 2},
        )  # fmt: skip


def _span(seen: Evidence) -> dict[str, Any]:
    """Return the steps that were seen: a structure is the same in all of them."""
    return {"step": seen.step(0), "last_step": seen.step(-1)} if len(seen) else {}


def _learned(graph: Graph) -> list[bool]:
    """Return for every node whether it depends on a parameter."""
    found: list[bool] = []
    for node in graph.nodes:
        found.append(node.kind == "param" or any(found[id] for id in node.inputs))
    return found


def _is_spread(column: tuple[int, ...], vector: tuple[int, ...]) -> bool:
    """Tell whether a column and a vector of the same length become a square.

    >>> _is_spread((5, 1), (5,)), _is_spread((5, 1), (1, 5)), _is_spread((1, 1), (1,))
    (True, False, False)
    """
    return len(column) == 2 and column[1] == 1 and vector == column[:1] and column[0] > 1


def _named(node: Node) -> str:
    return f"{clean(node.name, 60)} of shape {format_shape(node.shape)}"


@rule(
    "softmax-twice",
    severity="warning",
    summary="probabilities handed to a loss that takes logits, so that softmax or sigmoid is applied twice",
    advice="Leave out the softmax (or sigmoid) before the loss, and apply it only where probabilities are shown;"
    " nll_loss takes log_softmax.",
    because="probabilities lie between 0 and 1, so a second softmax of K of them is at most e / (e + K - 1): the loss"
    " cannot come near 0, and the gradient is small",
)
def softmax_twice(seen: Evidence) -> Iterator[Symptom]:
    """Find losses whose first operand, but for its shape, is what they compute themselves."""
    graph = seen.graph
    for node in graph.nodes if graph is not None else ():
        makes, expected = TAKES.get(known_as(node.op), ("", ""))
        if graph is None or not makes or not node.inputs:
            continue
        given = _before_moving(graph, graph.nodes[node.inputs[0]])
        if known_as(given.op) == makes:
            yield Symptom(
                f"{clean(node.op, 40)} is handed {clean(given.name, 60)}, the result of {clean(given.op, 40)}:"
                f" it takes {expected}",
                at=node, **_span(seen), numbers=_bounds(known_as(node.op), given),
            )  # fmt: skip


def _bounds(loss: str, given: Node) -> dict[str, float]:
    """Return how many classes there are, and the least loss that probabilities taken twice allow.

    >>> _bounds("cross_entropy", Node(1, "p", "softmax", "op", (0,), (5, 10)))
    {'classes': 10, 'least loss': 1.461...}
    """
    axis = given.attrs.get("axis", given.attrs.get("dim", -1))
    if known_as(given.op) == "sigmoid" or not given.shape:
        return {"classes": 2, "least loss": math.log1p(math.exp(-1.0))}
    count = given.shape[axis] if isinstance(axis, int) and -len(given.shape) <= axis < len(given.shape) else 0
    if loss == "nll_loss" or not count:
        return {"classes": count}
    return {"classes": count, "least loss": math.log1p((count - 1) / math.e)}


def _before_moving(graph: Graph, node: Node) -> Node:
    """Return what an array was before it got another shape or type."""
    while known_as(node.op) in MOVING and node.inputs:
        node = graph.nodes[node.inputs[0]]
    return node
