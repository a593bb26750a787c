"""Activations: the functions between the layers of a network, stable for large arguments.

Definitions and names follow PyTorch's ``torch.nn.functional``. At a kink the derivative is that
of the flat side: 0 for ``relu`` at 0, and a cut-off element passes no gradient on, whatever
comes from above; NaN stays NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import GradvizValueError
from ..registry import primitive
from ..sites import where
from ..tensor import Tensor
from .elementwise import add, elementwise, multiply, positive
from .rules import masked, mixed, numbers, shape_of
from .samples import cases, unary
from .special import erf

__all__ = [
    "dropout",
    "elu",
    "gelu",
    "hardtanh",
    "layer_norm",
    "leaky_relu",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "standardize",
]

HALF_ROOT, SQUARE_ROOT = math.sqrt(0.5), math.sqrt(2 / math.pi)
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


# -- rectifiers -------------------------------------------------------------------------------


def _relu_slope(g: Any, y: Any, x: Any) -> Any:
    if x.__class__ is float:
        return 0.0 if x <= 0.0 else g
    return masked(g, np.logical_not(np.less_equal(x, 0.0)))


def _relu_float(x: float) -> float:
    return 0.0 if x <= 0.0 else x


@elementwise(_relu_slope, formulas=("[{0} > 0]",), samples=unary(), scalar=_relu_float)
def relu(x: Any) -> Any:
    """Return ``max(x, 0)``; the derivative at 0 is 0, NaN stays NaN.

    >>> from gradviz import Tensor
    >>> x = Tensor([-1.0, 0.0, 2.0])
    >>> x.relu().sum().backward()
    >>> x.grad
    array([0., 0., 1.])
    """
    return np.maximum(x, 0.0)


def _leaky_slope(g: Any, y: Any, x: Any, negative_slope: float = 0.01) -> Any:
    return np.where(np.less_equal(x, 0.0), g * negative_slope, g)


@elementwise(_leaky_slope, formulas=("[{0} > 0] + slope*[{0} <= 0]",), samples=unary())
def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """Return ``x`` where it is positive, ``negative_slope * x`` elsewhere."""
    return np.where(np.less_equal(x, 0.0), np.multiply(x, negative_slope), x)


def _elu_slope(g: Any, y: Any, x: Any, alpha: float = 1.0) -> Any:
    return np.where(np.less_equal(x, 0.0), g * (y + alpha), g)


@elementwise(
    _elu_slope, formulas=("[{0} > 0] + ({y} + alpha)*[{0} <= 0]",), samples=unary(),
    reference="Clevert, Unterthiner and Hochreiter (2015)",
)  # fmt: skip
def elu(x: Any, alpha: float = 1.0) -> Any:
    """Return ``x`` where it is positive, ``alpha * (exp(x) - 1)`` elsewhere (Clevert et al. 2015)."""
    return np.where(np.less_equal(x, 0.0), alpha * np.expm1(np.minimum(x, 0.0)), x)


def _selu_slope(g: Any, y: Any, x: Any) -> Any:
    return np.where(np.less_equal(x, 0.0), g * (y + SELU_SCALE * SELU_ALPHA), g * SELU_SCALE)


@elementwise(
    _selu_slope, formulas=("1.0507*[{0} > 0] + ({y} + 1.7581)*[{0} <= 0]",), samples=unary(),
    reference="Klambauer et al., Self-normalizing neural networks (2017)",
)  # fmt: skip
def selu(x: Any) -> Any:
    """Return ``1.0507 * elu(x, 1.6733)``, which keeps mean 0 and variance 1 (Klambauer et al. 2017)."""
    return SELU_SCALE * elu.op.forward(x, SELU_ALPHA)


def _inside(g: Any, y: Any, x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    return masked(g, np.logical_not(np.less_equal(x, min_val) | np.greater_equal(x, max_val)))


@elementwise(_inside, formulas=("[min < {0} < max]",), samples=unary())
def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """Return ``x`` limited to ``min_val`` and ``max_val``; the derivative at a limit is 0, as in PyTorch."""
    return np.clip(x, min_val, max_val)


def relu6(x: Any) -> Tensor:
    """Return ``x`` limited to 0 and 6."""
    return hardtanh(x, min_val=0.0, max_val=6.0)  # type: ignore[no-any-return]


# -- smooth -----------------------------------------------------------------------------------


def _sigmoid_float(x: float) -> float:
    if x >= 0.0:
        return 1.0 / (1.0 + math.exp(-x))
    z = math.exp(x)
    return z / (1.0 + z)


@elementwise(
    lambda g, y, x: g * (y * (1.0 - y)),
    formulas=("{y}*(1 - {y})",),
    samples=unary(),
    scalar=_sigmoid_float,
)
def sigmoid(x: Any) -> Any:
    """Return ``1 / (1 + exp(-x))``, without overflow.

    >>> from gradviz import Tensor
    >>> Tensor([-1000.0, 0.0, 1000.0]).sigmoid()
    Tensor([0. , 0.5, 1. ])
    """
    small = np.exp(-np.abs(x))
    return np.where(np.less(x, 0.0), small, 1.0) / (1.0 + small)


@elementwise(
    lambda g, y, x, beta=1.0: g * mixed(sigmoid, beta * x), formulas=("sigmoid(beta*{0})",), samples=unary(),
)  # fmt: skip
def softplus(x: Any, beta: float = 1.0) -> Any:
    """Return ``log(1 + exp(beta * x)) / beta``, a smooth ``relu``, without overflow."""
    z = np.multiply(x, beta)
    return (np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))) / beta


def _silu_slope(g: Any, y: Any, x: Any) -> Any:
    s = mixed(sigmoid, x)
    return g * (s + y * (1.0 - s))


@elementwise(_silu_slope, formulas=("sigmoid({0}) + {y}*(1 - sigmoid({0}))",), samples=unary())
def silu(x: Any) -> Any:
    """Return ``x * sigmoid(x)``, also known as swish."""
    return np.multiply(x, sigmoid.op.forward(x))


def _gelu_slope(g: Any, y: Any, x: Any, approximate: str = "none") -> Any:
    if approximate == "tanh":
        t = np.tanh(SQUARE_ROOT * (x + 0.044715 * x * x * x))
        return g * (0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * (SQUARE_ROOT * (1.0 + 0.134145 * x * x)))
    density = np.exp(-0.5 * x * x) * (0.5 * SQUARE_ROOT)
    return g * (0.5 * (1.0 + mixed(erf, HALF_ROOT * x)) + x * density)


@elementwise(
    _gelu_slope, formulas=("Φ({0}) + {0}*φ({0})",), reference="Hendrycks and Gimpel (2016)",
    samples=cases((((2, 3),), {}), (((),), {}), (((2, 3),), {"approximate": "tanh"})),
)  # fmt: skip
def gelu(x: Any, approximate: str = "none") -> Any:
    """Return ``x * Φ(x)``, with Φ the normal distribution (Hendrycks and Gimpel 2016).

    ``approximate="tanh"`` takes the tanh formula of the same paper instead of the error function.
    """
    if approximate == "tanh":
        return 0.5 * x * (1.0 + np.tanh(SQUARE_ROOT * (x + 0.044715 * x * x * x)))
    if approximate != "none":
        raise GradvizValueError(f"gelu: approximate is {approximate!r}", where=where(), hint='it is "none" or "tanh"')
    return 0.5 * x * (1.0 + erf.op.forward(HALF_ROOT * x))


def _mish_slope(g: Any, y: Any, x: Any) -> Any:
    t = np.tanh(mixed(softplus, x))
    return g * (t + x * (1.0 - t * t) * mixed(sigmoid, x))


@elementwise(
    _mish_slope,
    formulas=("{y}/{0} + {0}*(1 - ({y}/{0})²)*sigmoid({0})",),
    samples=unary(),
    reference="Misra (2019)",
)
def mish(x: Any) -> Any:
    """Return ``x * tanh(softplus(x))`` (Misra 2019)."""
    return np.multiply(x, np.tanh(softplus.op.forward(x)))


# -- over an axis -----------------------------------------------------------------------------

ALONG = cases(
    *((((3,),), {}), (((2, 3),), {}), (((2, 3),), {"axis": 0})),
    *((((2, 3, 2),), {"axis": 1}), (((2, 3),), {"axis": (0, 1)})),
    low=-3,
    high=3,
)


def _softmax_vjp(g: Any, y: Any, x: Any, axis: Any = -1) -> Any:
    return y * (g - np.sum(g * y, axis=axis, keepdims=True))


@primitive(_softmax_vjp, formulas=("{y}_i*([i = j] - {y}_j)",), samples=ALONG)
def softmax(x: Any, axis: Any = -1) -> Any:
    """Return ``exp(x)`` scaled to sum 1 along ``axis``, without overflow.

    >>> from gradviz import Tensor
    >>> from gradviz.engine.functions import softmax
    >>> softmax(Tensor([1000.0, 1000.0]))
    Tensor([0.5, 0.5])
    """
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


def _log_softmax_vjp(g: Any, y: Any, x: Any, axis: Any = -1) -> Any:
    return g - np.exp(y) * np.sum(g, axis=axis, keepdims=True)


@primitive(_log_softmax_vjp, formulas=("[i = j] - exp({y}_j)",), samples=ALONG)
def log_softmax(x: Any, axis: Any = -1) -> Any:
    """Return ``log(softmax(x))`` along ``axis``, without overflow."""
    shifted = x - np.max(x, axis=axis, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


def _standardize_vjp(g: Any, y: Any, x: Any, axis: Any = -1, eps: float = 1e-5) -> Any:
    def mean(z: Any) -> Any:
        return np.mean(z, axis=axis, keepdims=True)

    deviation = np.sqrt(mean(np.square(x - mean(x))) + eps)
    return np.divide(g - mean(g) - y * mean(g * y), deviation)


@primitive(
    _standardize_vjp, formulas=("([i = j] - 1/n - {y}_i*{y}_j/n)/deviation({0})",), samples=ALONG,
    reference="Ba, Kiros and Hinton, Layer normalization (2016)",
)  # fmt: skip
def standardize(x: Any, axis: Any = -1, eps: float = 1e-5) -> Any:
    """Return ``(x - mean) / sqrt(variance + eps)`` over ``axis``."""
    centred = x - np.mean(x, axis=axis, keepdims=True)
    return centred / np.sqrt(np.mean(np.square(centred), axis=axis, keepdims=True) + eps)


def layer_norm(x: Any, weight: Any = None, bias: Any = None, axis: Any = -1, eps: float = 1e-5) -> Tensor:
    """Normalise over ``axis``, then scale by ``weight`` and shift by ``bias`` (Ba, Kiros and Hinton 2016).

    >>> from gradviz import Tensor
    >>> layer_norm(Tensor([1.0, 3.0]), eps=0.0)
    Tensor([-1.,  1.])
    """
    out = standardize(x, axis=axis, eps=eps)
    if weight is not None:
        out = multiply(out, weight)
    return out if bias is None else add(out, bias)  # type: ignore[no-any-return]


# -- dropout ----------------------------------------------------------------------------------


def _dropout_vjp(g: Any, y: Any, x: Any, mask: Any, p: float = 0.5) -> Any:
    return g * (numbers(mask) * _scale(p))


def _scale(p: float) -> float:
    return 0.0 if p == 1.0 else 1.0 / (1.0 - p)


@primitive(
    _dropout_vjp, None, name="dropout", elementwise=True, formulas=("{1}/(1 - p)", "0"),
    samples=cases((((2, 3), (2, 3)), {"p": 0.25})),
    reference="Srivastava et al. (2014)",
)  # fmt: skip
def _dropped(x: Any, mask: Any, p: float = 0.5) -> Any:
    """Return ``x * mask / (1 - p)``."""
    return x * (mask * _scale(p))


def dropout(x: Any, p: float = 0.5, *, rng: np.random.Generator | int | None = None, training: bool = True) -> Tensor:
    """Set each element to 0 with probability ``p`` and scale the others by ``1 / (1 - p)``.

    ``rng`` is a NumPy generator or a seed. The mask is part of the graph, as a constant. With
    ``training=False`` the values pass unchanged. Raises `GradvizValueError` if ``p`` is not a
    probability.

    >>> from gradviz import Tensor
    >>> dropout(Tensor([1.0, 2.0, 3.0]), 0.5, rng=0)
    Tensor([2., 0., 0.])
    """
    if not 0.0 <= p <= 1.0:
        raise GradvizValueError(f"dropout: p is {p}", where=where(), hint="it is a probability, between 0 and 1")
    if not training:
        return positive(x)  # type: ignore[no-any-return]
    draws = np.random.default_rng(rng).random(shape_of(x))
    mask = np.asarray(draws >= p).astype(np.result_type(numbers(x)))
    return _dropped(x, mask, p=p)  # type: ignore[no-any-return]
