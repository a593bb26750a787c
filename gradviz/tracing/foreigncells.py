"""Numbers of PyTorch's tensors in the form in which a row keeps them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradviz.sources.torch.norms import norms, viewed
from gradviz.sources.torch.numbers import number
from gradviz.tracing.layout import STATS
from gradviz.tracing.statistics import quiet_norm, statistics

__all__ = ["differentiated", "norms_of", "of_form", "plain_loss", "result_of", "single", "stats_of"]

MEAN, NORM, NANS = (STATS.index(name) for name in ("mean", "norm", "nans"))


def plain_loss(loss: Any) -> Any:
    """Return the loss as a number or an array, whatever it was handed over as."""
    return number(loss.detach()) if hasattr(loss, "grad_fn") else loss


def result_of(moment: Any) -> int:
    """Return the node whose value is the loss of a step: of one scaled for half precision what it was before."""
    graph = moment.structure.graph
    at: int = graph.outputs[0]
    is_scaled = graph.nodes[at].op == "mul" and moment.calls[at].func is None and len(graph.nodes[at].inputs) == 1
    return graph.nodes[at].inputs[0] if is_scaled else at


def differentiated(value: Any, grad: Any) -> float:
    """Return the one number that was differentiated, given the result that ``backward`` was called of.

    Of several numbers that is their sum, each times the gradient it was given; NaN if nothing is known of them.

    >>> differentiated(3.0, 1.0), differentiated(np.array([1.0, 2.0]), np.array([1.0, 10.0]))
    (3.0, 21.0)
    """
    if value is None:
        return math.nan
    if np.size(value) != 1:
        with np.errstate(all="ignore"):
            value = np.sum(value if grad is None else np.conj(grad) * value)
    return float(np.asarray(np.real(value)).reshape(()))


def norms_of(tensors: Sequence[Any]) -> list[float | None]:
    """Return norms, here as `History` computes them of whole rows: a value that stays the same has the same norm."""
    if any(t is not None and t.device.type != "cpu" for t in tensors):
        return norms(tensors)
    numbers = map(viewed, tensors)
    return [quiet_norm(x) if isinstance(x, np.ndarray) else x for x in numbers]


def stats_of(numbers: Any) -> Any:
    """Return seven numbers of an array; a single number as it is.

    >>> stats_of(2.5), stats_of(np.array([3.0, -4.0])).tolist()
    (2.5, [-4.0, 3.0, -0.5, 5.0, 0.0, 0.0, 0.0])
    """
    return statistics(numbers)[0] if isinstance(numbers, np.ndarray) else numbers


def of_form(row: np.ndarray, call: Any, form: str) -> Any:
    """Return what was measured of a node as a row has it; None if nothing was."""
    if np.isnan(row[NANS]):
        return None
    if call.shape == ():
        return single(row)
    return row if form == "stats" else float(row[NORM])


def single(row: np.ndarray) -> float:
    """Return a single number that was measured as an array of one.

    >>> single(np.array([-2.0, -2.0, -2.0, 2.0, 0.0, 0.0, 0.0]))
    -2.0
    """
    return math.nan if row[NANS] else float(row[MEAN if math.isfinite(row[NORM]) else NORM])
