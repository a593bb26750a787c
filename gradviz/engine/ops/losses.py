"""Losses: how far a prediction is from its target, stable for large arguments.

Definitions and names follow PyTorch. ``reduction`` is ``"mean"`` (the default), ``"sum"`` or
``"none"``. A prediction and its target need one shape: broadcasting (n, 1) against (n,) would
quietly compare every prediction with every target.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import GradvizValueError, ShapeError
from ..registry import Sample, primitive
from ..sites import where
from .activations import log_softmax, sigmoid, softmax
from .rules import masked, mixed, numbers
from .samples import Samples, draw

__all__ = [
    "bce_with_logits",
    "binary_cross_entropy",
    "cross_entropy",
    "hinge",
    "huber",
    "mae",
    "mse",
    "nll",
]

REDUCTIONS = ("mean", "sum", "none")
LEAST = math.exp(-100)  # the logarithm of a probability goes no lower


# -- shared -----------------------------------------------------------------------------------


def _same_shape(loss: str, prediction: Any, target: Any) -> None:
    if np.shape(target) not in {np.shape(prediction), ()}:
        raise ShapeError(
            f"{loss}: the prediction has shape {np.shape(prediction)}, the target {np.shape(target)}",
            where=where(),
            hint="reshape one of them: broadcasting would compare every pair",
        )


def _reduced(loss: str, each: Any, reduction: str) -> Any:
    """Return the losses of all elements as ``reduction`` says."""
    if reduction == "mean":
        return np.mean(each)
    if reduction == "sum":
        return np.sum(each)
    if reduction == "none":
        return each
    raise GradvizValueError(
        f"{loss}: reduction is {reduction!r}", where=where(), hint="it is one of " + ", ".join(map(repr, REDUCTIONS))
    )


def _share(g: Any, count: int, reduction: str) -> Any:
    """Return the cotangent of each of ``count`` losses, given that of the reduced loss."""
    return g / count if reduction == "mean" else g


def _pairs(low: float, high: float, low2: float, high2: float, **attrs: Any) -> Samples:
    """Make samples of a prediction and a target, each with every reduction."""

    def samples(rng: np.random.Generator) -> Any:
        for shape in ((), (3,), (2, 3)):
            for reduction in REDUCTIONS:
                yield Sample(
                    (draw(rng, shape, low, high), draw(rng, shape, low2, high2)), {"reduction": reduction, **attrs}
                )
        yield Sample((draw(rng, (2, 3), low, high), draw(rng, (), low2, high2)), attrs)

    return samples


# -- regression -------------------------------------------------------------------------------


def _mse_slope(g: Any, y: Any, p: Any, t: Any, reduction: str = "mean") -> Any:
    return _share(g, np.size(p), reduction) * (2.0 * (p - t))


@primitive(
    _mse_slope, lambda g, y, p, t, reduction="mean": -_mse_slope(g, y, p, t, reduction),
    formulas=("2*({0} - {1})/n", "-2*({0} - {1})/n"), samples=_pairs(-2, 2, -2, 2),
)  # fmt: skip
def mse(prediction: Any, target: Any, reduction: str = "mean") -> Any:
    """Return the mean of ``(prediction - target)**2``, or their sum, or each of them.

    Raises `ShapeError` if the shapes differ (a scalar target is compared with everything).

    >>> from gradviz import Tensor
    >>> p = Tensor([1.0, 3.0])
    >>> loss = mse(p, [1.0, 1.0])
    >>> loss.backward()
    >>> loss, p.grad
    (Tensor(2.0), array([0., 2.]))
    """
    _same_shape("mse", prediction, target)
    return _reduced("mse", np.square(np.subtract(prediction, target)), reduction)


def _mae_slope(g: Any, y: Any, p: Any, t: Any, reduction: str = "mean") -> Any:
    return _share(g, np.size(p), reduction) * np.sign(np.subtract(numbers(p), numbers(t)))


@primitive(
    _mae_slope, lambda g, y, p, t, reduction="mean": -_mae_slope(g, y, p, t, reduction),
    formulas=("sign({0} - {1})/n", "-sign({0} - {1})/n"), samples=_pairs(-2, -0.5, 0.5, 2),
)  # fmt: skip
def mae(prediction: Any, target: Any, reduction: str = "mean") -> Any:
    """Return the mean of ``|prediction - target|`` (the L1 loss); its derivative at 0 is 0."""
    _same_shape("mae", prediction, target)
    return _reduced("mae", np.abs(np.subtract(prediction, target)), reduction)


def _huber_slope(g: Any, y: Any, p: Any, t: Any, delta: float = 1.0, reduction: str = "mean") -> Any:
    residual = p - t
    far = np.abs(numbers(residual)) > delta
    slope = np.where(far, delta * np.sign(numbers(residual)), residual)
    return _share(g, np.size(p), reduction) * slope


@primitive(
    _huber_slope, lambda g, y, p, t, delta=1.0, reduction="mean": -_huber_slope(g, y, p, t, delta, reduction),
    formulas=("clip({0} - {1}, ±delta)/n", "-clip({0} - {1}, ±delta)/n"), samples=_pairs(-2, 2, -2, 2, delta=0.75),
    reference="Huber (1964)",
)  # fmt: skip
def huber(prediction: Any, target: Any, delta: float = 1.0, reduction: str = "mean") -> Any:
    """Return ``r**2 / 2`` for residuals up to ``delta``, ``delta * (|r| - delta/2)`` beyond (Huber 1964).

    Raises `GradvizValueError` if ``delta`` is not positive.
    """
    _same_shape("huber", prediction, target)
    if not delta > 0:
        raise GradvizValueError(f"huber: delta is {delta}", where=where(), hint="it must be above 0")
    size = np.abs(np.subtract(prediction, target))
    near = np.minimum(size, delta)
    return _reduced("huber", near * (size - 0.5 * near), reduction)


def _hinge_slope(g: Any, y: Any, s: Any, t: Any, reduction: str = "mean") -> Any:
    return -_inside_margin(g, s, t, reduction) * t


def _inside_margin(g: Any, s: Any, t: Any, reduction: str) -> Any:
    kept = np.less(np.multiply(numbers(t), numbers(s)), 1.0)
    return masked(_share(g, np.size(s), reduction), kept)


@primitive(
    _hinge_slope, lambda g, y, s, t, reduction="mean": -_inside_margin(g, s, t, reduction) * s,
    formulas=("-{1}*[{1}*{0} < 1]/n", "-{0}*[{1}*{0} < 1]/n"), samples=_pairs(-0.4, 2, 0.1, 2),
)  # fmt: skip
def hinge(score: Any, target: Any, reduction: str = "mean") -> Any:
    """Return the mean of ``max(0, 1 - target * score)`` for targets 1 and -1, as for a support vector machine."""
    _same_shape("hinge", score, target)
    return _reduced("hinge", np.maximum(0.0, 1.0 - np.multiply(target, score)), reduction)


# -- two classes ------------------------------------------------------------------------------


def _bce_slope(g: Any, y: Any, p: Any, t: Any, reduction: str = "mean") -> Any:
    spread = np.maximum(p * (1.0 - p), 1e-12)
    return _share(g, np.size(p), reduction) * np.divide(p - t, spread)


def _bce_target(g: Any, y: Any, p: Any, t: Any, reduction: str = "mean") -> Any:
    odds = np.log(np.maximum(1.0 - p, LEAST)) - np.log(np.maximum(p, LEAST))
    return _share(g, np.size(p), reduction) * odds


@primitive(
    _bce_slope, _bce_target, formulas=("({0} - {1})/({0}*(1 - {0}))/n", "log((1 - {0})/{0})/n"),
    samples=_pairs(0.2, 0.8, 0.1, 0.9),
)  # fmt: skip
def binary_cross_entropy(probability: Any, target: Any, reduction: str = "mean") -> Any:
    """Return the mean of ``-t*log(p) - (1-t)*log(1-p)``; a logarithm is at least -100, as in PyTorch.

    Raises `GradvizValueError` for probabilities outside of 0 to 1. `bce_with_logits` is more precise.
    """
    _same_shape("binary_cross_entropy", probability, target)
    if np.any((np.asarray(probability) < 0) | (np.asarray(probability) > 1)):
        raise GradvizValueError(
            f"binary_cross_entropy: probabilities reach from {np.min(probability)} to {np.max(probability)}",
            where=where(),
            hint="they lie between 0 and 1; for logits use bce_with_logits",
        )
    with np.errstate(divide="ignore"):
        yes, no = (np.maximum(np.log(p), -100.0) for p in (probability, np.subtract(1.0, probability)))
    return _reduced("binary_cross_entropy", -(target * yes + np.subtract(1.0, target) * no), reduction)


def _logit_slope(g: Any, y: Any, x: Any, t: Any, reduction: str = "mean") -> Any:
    return _share(g, np.size(x), reduction) * (mixed(sigmoid, x) - t)


@primitive(
    _logit_slope, lambda g, y, x, t, reduction="mean": -_share(g, np.size(x), reduction) * x,
    formulas=("(sigmoid({0}) - {1})/n", "-{0}/n"), samples=_pairs(-3, 3, 0.1, 0.9),
)  # fmt: skip
def bce_with_logits(logits: Any, target: Any, reduction: str = "mean") -> Any:
    """Return the binary cross-entropy of ``sigmoid(logits)``, exact for logits of any size.

    >>> from gradviz import Tensor
    >>> bce_with_logits(Tensor([1000.0, -1000.0]), [0.0, 0.0])
    Tensor(500.0)
    """
    _same_shape("bce_with_logits", logits, target)
    each = np.maximum(logits, 0.0) - np.multiply(logits, target) + np.log1p(np.exp(-np.abs(logits)))
    return _reduced("bce_with_logits", each, reduction)


# -- several classes --------------------------------------------------------------------------


def _classes(loss: str, scores: Any, labels: Any, axis: int) -> np.ndarray:
    """Return labels as indices along ``axis`` of the scores, with that axis; refuse what is no class."""
    shape, labels = np.shape(scores), np.asarray(labels)
    if not -len(shape) <= axis < len(shape):
        raise GradvizValueError(f"{loss}: scores of shape {shape} have no axis {axis}", where=where())
    classes = shape[axis]
    expected = tuple(n for i, n in enumerate(shape) if i != axis % len(shape))
    if labels.shape != expected:
        raise ShapeError(
            f"{loss}: scores of shape {shape} with classes along axis {axis}, labels of shape {labels.shape}",
            where=where(),
            hint=f"give class numbers of shape {expected}",
        )
    wrong = np.logical_not((labels >= 0) & (labels < classes) & (labels == np.floor(labels)))
    if np.any(wrong):
        raise GradvizValueError(
            f"{loss}: label {labels[wrong].ravel()[0]} among {classes} classes",
            where=where(),
            hint=f"labels are whole numbers from 0 to {classes - 1}",
        )
    return np.expand_dims(labels.astype(np.int64), axis)


def _one_hot(index: np.ndarray, like: Any, axis: int) -> np.ndarray:
    out = np.zeros(np.shape(like), np.result_type(numbers(like)))
    np.put_along_axis(out, index, 1.0, axis)
    return out


def _back(g: Any, scores: Any, axis: int, reduction: str) -> Any:
    """Return the cotangent of each loss with the axis of the classes put back."""
    count = np.size(scores) // max(np.shape(scores)[axis], 1)
    g = _share(g, count, reduction)
    return np.expand_dims(g, axis) if np.ndim(g) else g


def _entropy_slope(g: Any, y: Any, x: Any, t: Any, axis: int = -1, reduction: str = "mean") -> Any:
    g, guess = _back(g, x, axis, reduction), mixed(softmax, x, axis=axis)
    if np.ndim(t) == np.ndim(x):
        return g * (guess * np.sum(t, axis=axis, keepdims=True) - t)
    return g * (guess - _one_hot(_classes("cross_entropy", numbers(x), numbers(t), axis), x, axis))


def _entropy_target(g: Any, y: Any, x: Any, t: Any, axis: int = -1, reduction: str = "mean") -> Any:
    if np.ndim(t) != np.ndim(x):
        return np.zeros(np.shape(t))  # class numbers
    return -_back(g, x, axis, reduction) * mixed(log_softmax, x, axis=axis)


def _class_samples(rng: np.random.Generator) -> Any:
    for shape, axis in (((4,), -1), ((2, 3), -1), ((3, 2), 0), ((2, 3, 2), 1)):
        rest = tuple(n for i, n in enumerate(shape) if i != axis % len(shape))
        for reduction in REDUCTIONS:
            labels = np.asarray(rng.integers(0, shape[axis], rest))
            yield Sample((draw(rng, shape, -2, 2), labels), {"axis": axis, "reduction": reduction})


def _entropy_samples(rng: np.random.Generator) -> Any:
    yield from _class_samples(rng)
    for axis in (0, -1):
        yield Sample((draw(rng, (2, 3), -2, 2), draw(rng, (2, 3), 0.1, 1)), {"axis": axis})


@primitive(
    _entropy_slope, _entropy_target, formulas=("(softmax({0}) - onehot({1}))/n", "-log_softmax({0})/n"),
    samples=_entropy_samples,
)  # fmt: skip
def cross_entropy(logits: Any, target: Any, axis: int = -1, reduction: str = "mean") -> Any:
    """Return the cross-entropy of ``softmax(logits)`` along ``axis`` to the target, for logits of any size.

    ``target`` holds class numbers (the shape of the logits without ``axis``) or probabilities (the
    same shape). PyTorch has the classes along axis 1; here they lie along the last axis unless
    ``axis`` says otherwise. Raises `ShapeError` or `GradvizValueError` for labels that do not fit.

    >>> from gradviz import Tensor
    >>> logits = Tensor([[1000.0, 0.0], [0.0, 0.0]])
    >>> loss = cross_entropy(logits, [1, 0])
    >>> loss.backward()
    >>> round(loss.item(), 6), logits.grad
    (500.346574, array([[ 0.5 , -0.5 ],
           [-0.25,  0.25]]))
    """
    if np.ndim(target) == np.ndim(logits) and np.shape(target) == np.shape(logits):
        each = -np.sum(np.multiply(target, log_softmax.op.forward(logits, axis)), axis=axis)
    else:
        index = _classes("cross_entropy", logits, target, axis)
        each = -np.squeeze(np.take_along_axis(log_softmax.op.forward(logits, axis), index, axis), axis)
    return _reduced("cross_entropy", each, reduction)


def _nll_slope(g: Any, y: Any, x: Any, t: Any, axis: int = -1, reduction: str = "mean") -> Any:
    return -_back(g, x, axis, reduction) * _one_hot(_classes("nll", numbers(x), numbers(t), axis), x, axis)


@primitive(_nll_slope, None, formulas=("-onehot({1})/n", "0"), samples=_class_samples)
def nll(log_probabilities: Any, labels: Any, axis: int = -1, reduction: str = "mean") -> Any:
    """Return the mean of ``-log p`` of the right classes, given ``log_softmax`` and class numbers."""
    index = _classes("nll", log_probabilities, labels, axis)
    each = -np.squeeze(np.take_along_axis(np.asarray(log_probabilities), index, axis), axis)
    return _reduced("nll", each, reduction)
