"""Small networks: modules that hold parameters, layers, and the usual activations and losses.

Enough to watch a network learn; large ones come from PyTorch. Parameters are named after the
attributes that hold them (``layers.0.weight``), and what a module computes lies in a scope of
the same name, so pictures can fold it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from ..errors import GradvizTypeError, GradvizValueError, suggestion
from .modules import Module
from .ops import activations as act
from .ops.activations import dropout, layer_norm
from .ops.elementwise import add
from .ops.linalg import matmul
from .ops.losses import (
    bce_with_logits,
    binary_cross_entropy,
    cross_entropy,
    hinge,
    huber,
    mae,
    mse,
    nll,
)
from .ops.transcendental import tanh
from .sites import where
from .tensor import Tensor

Rng = np.random.Generator | int | None


def _positive(name: str, value: Any) -> int:
    if not isinstance(value, int | np.integer) or value < 1:
        raise GradvizValueError(f"{name} is {value!r}", where=where(), hint="it is a whole number above 0")
    return int(value)


# -- layers -----------------------------------------------------------------------------------


class Linear(Module):
    """``x @ weight + bias``, with a weight of shape (inputs, outputs).

    Weight and bias begin uniformly between ±1/sqrt(inputs), PyTorch's default (He et al. 2015 with
    a = sqrt(5)). ``rng`` is a NumPy generator or a seed.

    >>> layer = Linear(2, 3, rng=0)
    >>> layer([[1.0, 2.0]]).shape
    (1, 3)
    """

    def __init__(
        self, inputs: int, outputs: int, bias: bool = True, *, rng: Rng = None, dtype: Any = np.float64
    ) -> None:
        inputs, outputs = _positive("inputs", inputs), _positive("outputs", outputs)
        generator = np.random.default_rng(rng)
        bound = 1.0 / math.sqrt(inputs)
        self.weight = Tensor(generator.uniform(-bound, bound, (inputs, outputs)).astype(dtype))
        self.bias = Tensor(generator.uniform(-bound, bound, outputs).astype(dtype)) if bias else None

    def forward(self, x: Any) -> Tensor:
        """Return ``x @ weight + bias``."""
        out = matmul(x, self.weight)
        return out if self.bias is None else add(out, self.bias)  # type: ignore[no-any-return]

    def _title(self) -> str:
        inputs, outputs = self.weight.shape
        return f"Linear({inputs}, {outputs}{'' if self.bias is not None else ', bias=False'})"


class LayerNorm(Module):
    """Normalise the last axis, then scale and shift it by learned numbers (see `layer_norm`)."""

    def __init__(self, size: int, eps: float = 1e-5) -> None:
        self.weight = Tensor(np.ones(_positive("size", size)))
        self.bias = Tensor(np.zeros(size))
        self.eps = eps

    def forward(self, x: Any) -> Tensor:
        """Return the normalised ``x``."""
        return layer_norm(x, self.weight, self.bias, eps=self.eps)


class Dropout(Module):
    """Set elements to 0 with probability ``p`` while training (see `dropout`)."""

    def __init__(self, p: float = 0.5, *, rng: Rng = None) -> None:
        self.p = p
        self._rng = np.random.default_rng(rng)

    def forward(self, x: Any) -> Tensor:
        """Return ``x`` with some elements set to 0, or as it is outside of training."""
        return dropout(x, self.p, rng=self._rng, training=self.training)

    def _title(self) -> str:
        return f"Dropout({self.p})"


class Sequential(Module):
    """Modules, or plain functions, one after the other.

    >>> net = Sequential(Linear(2, 3, rng=0), Tanh(), Linear(3, 1, rng=1))
    >>> [name for name, _ in net.named_parameters()]
    ['layers.0.weight', 'layers.0.bias', 'layers.2.weight', 'layers.2.bias']
    """

    def __init__(self, *layers: Callable[[Any], Any]) -> None:
        for i, layer in enumerate(layers):
            if not callable(layer):
                raise GradvizTypeError(
                    f"layer {i} is a {type(layer).__name__}: it cannot be called",
                    where=where(),
                    hint="give modules or functions, one argument each",
                )
        self.layers = list(layers)

    def forward(self, x: Any) -> Any:
        """Return what the last layer makes of it."""
        for layer in self.layers:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> Callable[[Any], Any]:
        return self.layers[index]


class MLP(Sequential):
    """A multilayer perceptron: linear layers with an activation between them.

    ``sizes`` are the numbers of inputs, hidden units and outputs; ``activation`` is the name of one
    (``"tanh"``, ``"relu"``, ...) or a function. Nothing follows the last layer.

    >>> net = MLP([2, 16, 1], "relu", rng=0)
    >>> net([[0.5, -0.5]]).shape, sum(p.size for p in net.parameters())
    ((1, 1), 65)
    """

    def __init__(
        self, sizes: Iterable[int], activation: str | Callable[[Any], Any] = "tanh", *, rng: Rng = None
    ) -> None:
        if not isinstance(sizes, Iterable):
            raise GradvizTypeError(f"sizes is {sizes!r}", where=where(), hint="give one list: MLP([2, 16, 1])")
        sizes = list(sizes)
        if len(sizes) < 2:
            raise GradvizValueError(f"sizes is {sizes}", where=where(), hint="give inputs, hidden units, outputs")
        generator = np.random.default_rng(rng)
        layers: list[Callable[[Any], Any]] = []
        for inputs, outputs in itertools.pairwise(sizes):
            if layers:
                layers.append(_activation(activation))
            layers.append(Linear(inputs, outputs, rng=generator))
        super().__init__(*layers)


# -- activations ------------------------------------------------------------------------------


class Activation(Module):
    """A function as a module; keyword arguments are passed on to it."""

    function: ClassVar[Callable[..., Any]]

    def __init__(self, **options: Any) -> None:
        self.options = options

    def forward(self, x: Any) -> Tensor:
        """Return the function of ``x``."""
        return type(self).function(x, **self.options)  # type: ignore[no-any-return]

    def _title(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.options.items())})"


class ReLU(Activation):
    """`relu` as a module."""

    function = staticmethod(act.relu)


class LeakyReLU(Activation):
    """`leaky_relu` as a module."""

    function = staticmethod(act.leaky_relu)


class ELU(Activation):
    """`elu` as a module."""

    function = staticmethod(act.elu)


class Sigmoid(Activation):
    """`sigmoid` as a module."""

    function = staticmethod(act.sigmoid)


class Tanh(Activation):
    """`tanh` as a module."""

    function = staticmethod(tanh)


class Softplus(Activation):
    """`softplus` as a module."""

    function = staticmethod(act.softplus)


class SiLU(Activation):
    """`silu` as a module."""

    function = staticmethod(act.silu)


class GELU(Activation):
    """`gelu` as a module."""

    function = staticmethod(act.gelu)


class Softmax(Activation):
    """`softmax` as a module."""

    function = staticmethod(act.softmax)


class LogSoftmax(Activation):
    """`log_softmax` as a module."""

    function = staticmethod(act.log_softmax)


ACTIVATIONS: dict[str, type[Activation]] = {
    kind.__name__.lower(): kind
    for kind in (ReLU, LeakyReLU, ELU, Sigmoid, Tanh, Softplus, SiLU, GELU, Softmax, LogSoftmax)
}


def _activation(wanted: str | Callable[[Any], Any]) -> Callable[[Any], Any]:
    if not isinstance(wanted, str):
        return wanted
    kind = ACTIVATIONS.get(wanted.lower().replace("_", ""))
    if kind is None:
        raise GradvizValueError(
            f"there is no activation {wanted!r}", where=where(), hint=suggestion(wanted, ACTIVATIONS)
        )
    return kind()


__all__ = [
    "ELU",
    "GELU",
    "MLP",
    "Activation",
    "Dropout",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "Module",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "bce_with_logits",
    "binary_cross_entropy",
    "cross_entropy",
    "hinge",
    "huber",
    "mae",
    "mse",
    "nll",
]
