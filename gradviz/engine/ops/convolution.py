"""Convolution and pooling, on signals (N, C, L) and images (N, C, H, W), as PyTorch defines them.

`unfold` cuts the input into windows and `fold` adds windows back; each is the other's
derivative. A convolution is one product of windows and weights, and its derivatives are made
of the two, so derivatives of any order exist.

Where libraries disagree: of equal elements in a window, ``max_pool`` gives the whole gradient to
the first, as PyTorch does; ``avg_pool`` counts padding as zeros, as PyTorch does by default.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import GradvizTypeError, GradvizValueError, ShapeError
from ..registry import Sample, primitive
from ..sites import where
from ..tensor import Tensor
from .elementwise import add
from .indexing import scatter
from .rules import mixed, numbers, shape_of
from .shapes import reshape

__all__ = [
    "avg_pool1d",
    "avg_pool2d",
    "conv1d",
    "conv2d",
    "max_pool1d",
    "max_pool2d",
]

Sizes = int | tuple[int, ...]
AXES = {1: "(N, C, L)", 2: "(N, C, H, W)"}


# -- windows ----------------------------------------------------------------------------------


def _sizes(op: str, name: str, value: Any, n: int, least: int) -> tuple[int, ...]:
    """Return one number per axis, given one for all or one each."""
    several = tuple(value) if isinstance(value, tuple | list) else (value,) * n
    if not all(isinstance(v, int | np.integer) for v in several):
        raise GradvizTypeError(f"{op}: {name} is {value!r}", where=where(), hint=f"give an int, or {n}")
    if len(several) != n or min(several) < least:
        raise GradvizValueError(
            f"{op}: {name} is {value!r}", where=where(), hint=f"give an int, or {n}, of at least {least}"
        )
    return tuple(int(v) for v in several)


def _padded(x: np.ndarray, padding: tuple[int, ...], value: float = 0.0) -> np.ndarray:
    widths = ((0, 0), (0, 0), *((p, p) for p in padding))
    return np.pad(x, widths, constant_values=value) if any(padding) else x


def _steps(shape: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[int, ...]:
    """Return how many windows fit along each axis."""
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(shape[2:], kernel, stride, padding, dilation, strict=True)
    )


def _windows(x: Any, kernel: Any, stride: Any, dilation: Any) -> Any:
    """Return a view of every window: shape (N, C, steps..., kernel...)."""
    n = len(kernel)
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    view = np.lib.stride_tricks.sliding_window_view(x, reach, axis=tuple(range(2, 2 + n)))
    steps = (slice(None, None, step) for step in (*stride, *dilation))
    return view[(slice(None), slice(None), *steps)]


def _fold_vjp(g: Any, y: Any, windows: Any, shape: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    kernel = np.shape(windows)[len(shape) :]
    return mixed(unfold, g, kernel=kernel, stride=stride, padding=padding, dilation=dilation)


def _unfold_vjp(g: Any, y: Any, x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    return mixed(fold, g, shape=np.shape(x), stride=stride, padding=padding, dilation=dilation)


LAYOUTS = (
    ((2, 3, 7), {"kernel": (3,), "stride": (2,), "padding": (1,), "dilation": (1,)}),
    ((1, 2, 5, 6), {"kernel": (2, 3), "stride": (1, 2), "padding": (0, 1), "dilation": (2, 1)}),
)


def _unfold_samples(rng: np.random.Generator) -> Any:
    for shape, layout in LAYOUTS:
        yield Sample((rng.normal(size=shape),), layout)


def _fold_samples(rng: np.random.Generator) -> Any:
    for shape, layout in LAYOUTS:
        windows = unfold.op.forward(np.zeros(shape), **layout).shape
        rest = {key: value for key, value in layout.items() if key != "kernel"}
        yield Sample((rng.normal(size=windows),), {"shape": shape, **rest})


@primitive(_unfold_vjp, symbol="windows", formulas=("1",), samples=_unfold_samples)
def unfold(x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """Return every window of ``kernel`` elements: shape (N, C, steps..., kernel...)."""
    return _windows(_padded(x, padding), kernel, stride, dilation)


@primitive(_fold_vjp, symbol="fold", formulas=("1",), samples=_fold_samples)
def fold(windows: Any, shape: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """Add windows up where `unfold` took them from an array of ``shape``."""
    n = len(shape) - 2
    steps, kernel = np.shape(windows)[2 : 2 + n], np.shape(windows)[2 + n :]
    out = np.zeros((*shape[:2], *(m + 2 * p for m, p in zip(shape[2:], padding, strict=True))), np.result_type(windows))
    for place in itertools.product(*map(range, kernel)):
        area = tuple(
            slice(i * d, i * d + s * count, s) for i, d, s, count in zip(place, dilation, stride, steps, strict=True)
        )
        out[(slice(None), slice(None), *area)] += windows[(..., *place)]
    return out[(slice(None), slice(None), *(slice(p, p + m) for m, p in zip(shape[2:], padding, strict=True)))]


# -- convolution ------------------------------------------------------------------------------


def _conv_input(g: Any, y: Any, x: Any, w: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    windows = np.tensordot(g, w, axes=((1,), (0,)))  # (N, steps..., C, kernel...)
    n = len(stride)
    windows = np.transpose(windows, (0, n + 1, *range(1, n + 1), *range(n + 2, 2 * n + 2)))
    return mixed(fold, windows, shape=np.shape(x), stride=stride, padding=padding, dilation=dilation)


def _conv_weight(g: Any, y: Any, x: Any, w: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    windows = mixed(unfold, x, kernel=np.shape(w)[2:], stride=stride, padding=padding, dilation=dilation)
    kept = (0, *range(2, 2 + len(stride)))
    return np.tensordot(g, windows, axes=(kept, kept))


def _convolve(x: Any, w: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    n = len(stride)
    windows = _windows(_padded(x, padding), np.shape(w)[2:], stride, dilation)
    out = np.tensordot(windows, w, axes=((1, *range(2 + n, 2 + 2 * n)), tuple(range(1, 2 + n))))
    return np.ascontiguousarray(np.moveaxis(out, -1, 1))


def _conv_samples(n: int) -> Callable[[np.random.Generator], Any]:
    def samples(rng: np.random.Generator) -> Any:
        for stride, padding, dilation in ((1, 0, 1), (2, 1, 1), (1, 2, 2)):
            layout = {"stride": (stride,) * n, "padding": (padding,) * n, "dilation": (dilation,) * n}
            yield Sample((rng.normal(size=(2, 2) + (5,) * n), rng.normal(size=(3, 2) + (2,) * n)), layout)

    return samples


def _conv_op(n: int) -> Any:
    def forward(x: Any, w: Any, stride: Any, padding: Any, dilation: Any) -> Any:
        return _convolve(x, w, stride, padding, dilation)

    forward.__doc__ = f"Return the cross-correlation of {AXES[n]} with weights, and its strides."
    return primitive(
        _conv_input, _conv_weight, name=f"conv{n}d", symbol="conv", formulas=("fold(g·{1})", "g·windows({0})"),
        samples=_conv_samples(n),
    )(forward)  # fmt: skip


CONV = {1: _conv_op(1), 2: _conv_op(2)}


def _conv(n: int, x: Any, weight: Any, bias: Any, stride: Sizes, padding: Sizes, dilation: Sizes) -> Tensor:
    op = f"conv{n}d"
    layout = {
        "stride": _sizes(op, "stride", stride, n, 1),
        "padding": _sizes(op, "padding", padding, n, 0),
        "dilation": _sizes(op, "dilation", dilation, n, 1),
    }
    have, want = shape_of(x), shape_of(weight)
    if len(have) != n + 2 or len(want) != n + 2 or have[1] != want[1]:
        raise ShapeError(
            f"{op}: x has shape {have}, the weight {want}",
            where=where(),
            hint=f"x is {AXES[n]}, the weight {AXES[n].replace('N', 'outputs')} with as many channels C",
        )
    _check_fits(op, have, want[2:], layout)
    out = CONV[n](x, weight, **layout)
    if bias is None:
        return out  # type: ignore[no-any-return]
    if shape_of(bias) != want[:1]:
        raise ShapeError(f"{op}: the bias has shape {shape_of(bias)}, the weight {want[0]} outputs", where=where())
    return add(out, reshape(bias, shape=(want[0],) + (1,) * n))  # type: ignore[no-any-return]


def _check_fits(op: str, shape: Any, kernel: Any, layout: dict[str, Any]) -> None:
    if min(_steps(shape, kernel, layout["stride"], layout["padding"], layout["dilation"])) < 1:
        raise ShapeError(
            f"{op}: a window of {tuple(kernel)} does not fit into {AXES[len(kernel)]} = {tuple(shape)}",
            where=where(),
            hint="take a smaller window, or more padding",
        )


def conv1d(x: Any, weight: Any, bias: Any = None, stride: Sizes = 1, padding: Sizes = 0, dilation: Sizes = 1) -> Tensor:
    """Return the cross-correlation of signals (N, C, L) with weights (outputs, C, length).

    >>> from gradviz import Tensor
    >>> conv1d(Tensor([[[1.0, 2.0, 4.0]]]), [[[-1.0, 1.0]]])
    Tensor([[[1., 2.]]])
    """
    return _conv(1, x, weight, bias, stride, padding, dilation)


def conv2d(x: Any, weight: Any, bias: Any = None, stride: Sizes = 1, padding: Sizes = 0, dilation: Sizes = 1) -> Tensor:
    """Return the cross-correlation of images (N, C, H, W) with weights (outputs, C, height, width).

    ``stride``, ``padding`` (zeros on every side) and ``dilation`` are one int or a pair. Raises
    `ShapeError` if channels differ or a window does not fit.

    >>> import numpy as np
    >>> from gradviz import Tensor
    >>> conv2d(Tensor(np.ones((1, 1, 3, 3))), np.ones((1, 1, 2, 2)), padding=1).shape
    (1, 1, 4, 4)
    """
    return _conv(2, x, weight, bias, stride, padding, dilation)


# -- pooling ----------------------------------------------------------------------------------


def _winners(x: np.ndarray, kernel: Any, stride: Any, padding: Any) -> tuple[Any, ...]:
    """Return the index of the first largest element of every window, as one array for each axis of ``x``."""
    n = len(kernel)
    windows = _windows(_padded(x, padding, -math.inf), kernel, stride, (1,) * n)
    best = np.argmax(windows.reshape(*windows.shape[: n + 2], -1), axis=-1)
    inside = np.unravel_index(best, kernel)
    grid = np.ogrid[tuple(slice(0, m) for m in best.shape)]
    places = (np.clip(grid[2 + i] * stride[i] - padding[i] + inside[i], 0, x.shape[2 + i] - 1) for i in range(n))
    return (grid[0], grid[1], *places)


def _max_pool_vjp(g: Any, y: Any, x: Any, kernel: Any, stride: Any, padding: Any) -> Any:
    index = _winners(numbers(x), kernel, stride, padding)
    return mixed(scatter, g, shape=np.shape(x), index=index)


def _avg_pool_vjp(g: Any, y: Any, x: Any, kernel: Any, stride: Any, padding: Any) -> Any:
    n, size = len(kernel), math.prod(kernel)
    spread = np.expand_dims(g / size, tuple(range(n + 2, 2 * n + 2)))
    windows = np.broadcast_to(spread, (*np.shape(g), *kernel))
    return mixed(fold, windows, shape=np.shape(x), stride=stride, padding=padding, dilation=(1,) * n)


def _max_pool(x: Any, kernel: Any, stride: Any, padding: Any) -> Any:
    return np.asarray(x)[_winners(x, kernel, stride, padding)]


def _avg_pool(x: Any, kernel: Any, stride: Any, padding: Any) -> Any:
    n = len(kernel)
    windows = _windows(_padded(x, padding), kernel, stride, (1,) * n)
    return np.mean(windows, axis=tuple(range(n + 2, 2 * n + 2)))


def _pool_ops(kind: str, function: Any, vjp: Any, formula: str, doc: str) -> dict[int, Any]:
    return {n: _pool_op(f"{kind}_pool{n}d", n, function, vjp, formula, doc) for n in AXES}


def _pool_op(name: str, n: int, function: Any, vjp: Any, formula: str, doc: str) -> Any:
    def forward(x: Any, kernel: Any, stride: Any, padding: Any) -> Any:
        return function(x, kernel, stride, padding)

    def samples(rng: np.random.Generator) -> Any:
        for kernel, stride, padding in ((2, 2, 0), (3, 1, 1), (2, 3, 0)):
            layout = {"kernel": (kernel,) * n, "stride": (stride,) * n, "padding": (padding,) * n}
            yield Sample((rng.normal(size=(2, 2) + (5,) * n),), layout)

    forward.__doc__ = doc
    return primitive(vjp, name=name, symbol=name[:3], formulas=(formula,), samples=samples)(forward)


MAX_POOL = _pool_ops("max", _max_pool, _max_pool_vjp, "[{0} = {y}]", "Return the largest of each window.")
AVG_POOL = _pool_ops("avg", _avg_pool, _avg_pool_vjp, "1/window", "Return the mean of each window.")


def _pool(ops: dict[int, Any], n: int, x: Any, kernel: Sizes, stride: Sizes | None, padding: Sizes) -> Tensor:
    name = ops[n].op.name
    kernel = _sizes(name, "kernel", kernel, n, 1)
    layout = {
        "kernel": kernel,
        "stride": kernel if stride is None else _sizes(name, "stride", stride, n, 1),
        "padding": _sizes(name, "padding", padding, n, 0),
    }
    shape = shape_of(x)
    if len(shape) != n + 2:
        raise ShapeError(f"{name}: x has shape {shape}", where=where(), hint=f"it is {AXES[n]}")
    if any(2 * p > k for p, k in zip(layout["padding"], kernel, strict=True)):
        raise GradvizValueError(f"{name}: padding {padding} is more than half of the window {kernel}", where=where())
    _check_fits(name, shape, kernel, {**layout, "dilation": (1,) * n})
    return ops[n](x, **layout)  # type: ignore[no-any-return]


def max_pool1d(x: Any, kernel: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> Tensor:
    """Return the largest element of each window of signals (N, C, L); see `max_pool2d`."""
    return _pool(MAX_POOL, 1, x, kernel, stride, padding)


def max_pool2d(x: Any, kernel: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> Tensor:
    """Return the largest element of each window of images (N, C, H, W).

    ``stride`` is the size of the window unless given. Of equal elements the first gets the
    gradient; padding never wins; NaN wins.

    >>> from gradviz import Tensor
    >>> max_pool2d(Tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), 2)
    Tensor([[[[4.]]]])
    """
    return _pool(MAX_POOL, 2, x, kernel, stride, padding)


def avg_pool1d(x: Any, kernel: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> Tensor:
    """Return the mean of each window of signals (N, C, L); see `avg_pool2d`."""
    return _pool(AVG_POOL, 1, x, kernel, stride, padding)


def avg_pool2d(x: Any, kernel: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> Tensor:
    """Return the mean of each window of images (N, C, H, W); padding counts as zeros.

    >>> from gradviz import Tensor
    >>> avg_pool2d(Tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), 2)
    Tensor([[[[2.5]]]])
    """
    return _pool(AVG_POOL, 2, x, kernel, stride, padding)
