"""Ops on whole arrays as a person writes them: sums, products of matrices, shapes, parts."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np

from ..ops.axes import axes_of, count
from .phrases import Phrase, Words

__all__ = ["array_phrase"]

KNOWN = {"axis", "keepdims", "axes", "axis1", "axis2", "index", "shape", "reduction"}


def array_phrase(words: Words) -> Phrase | None:
    """Return the phrase of an op on arrays, or None if there is none."""
    maker = MAKERS.get(words.op)
    return None if maker is None or words.attrs.keys() - KNOWN else maker(words)


# -- reductions ---------------------------------------------------------------------------------


def _options(words: Words) -> str:
    """Return the arguments of a reduction after its operand."""
    attrs = words.attrs
    parts = [f"axis={attrs['axis']!r}"] if attrs.get("axis") is not None else []
    return "".join(f", {part}" for part in (*parts, *(["keepdims=True"] if attrs.get("keepdims") else [])))


def _back(words: Words, text: str) -> str:
    """Return something of the shape of the result, given back the axes that were reduced."""
    axis = words.attrs.get("axis")
    if axis is None or words.attrs.get("keepdims") or not words.shapes[0]:
        return text
    axes = axes_of(axis, len(words.shapes[0]))
    return f"np.expand_dims({text}, {axes[0] if len(axes) == 1 else axes})"


def _count(words: Words) -> int:
    return count(np.empty(words.shapes[0]), words.attrs.get("axis"))


def _whole(words: Words, text: str) -> str:
    return f"np.full({words.shapes[0]}, {text})" if words.shape == () else f"np.broadcast_to({text}, {words.shapes[0]})"


def _sum(words: Words) -> Phrase:
    slope = _whole(words, _back(words, "{g}")) if words.shapes[0] else "{g}"
    return Phrase(f"np.sum({{a}}{_options(words)})", (slope,))


def _mean(words: Words) -> Phrase:
    share = f"{{g}} / {_count(words)}"
    slope = _whole(words, _back(words, share)) if words.shapes[0] else "{g}"
    return Phrase(f"np.mean({{a}}{_options(words)})", (slope,), (f"1/{_count(words)}",))


def _extreme(words: Words) -> Phrase:
    axis = words.attrs.get("axis")
    where = f"({{a}} == {_back(words, '{y}')})"
    ties = f"np.sum({where}, axis={axis!r}, keepdims=True)"
    return Phrase(f"np.{words.op}({{a}}{_options(words)})", (f"{_back(words, '{g}')} * {where} / {ties}",))


def _variance(words: Words) -> Phrase | None:
    if set(words.attrs) - {"axis", "keepdims"}:
        return None
    axis = words.attrs.get("axis")
    centre = f"({{a}} - np.mean({{a}}, axis={axis!r}, keepdims=True))"
    factor = f"2 / {_count(words)}" if words.op == "var" else f"1 / ({_count(words)} * {_back(words, '{y}')})"
    return Phrase(f"np.{words.op}({{a}}{_options(words)})", (f"{_back(words, '{g}')} * {factor} * {centre}",))


def _logsumexp(words: Words) -> Phrase:
    slope = f"{_back(words, '{g}')} * np.exp({{a}} - {_back(words, '{y}')})"
    return Phrase(f"np.log(np.sum(np.exp({{a}}){_options(words)}))", (slope,))


def _softmax(words: Words) -> Phrase:
    axis = words.attrs.get("axis", -1)
    total = f"np.sum(np.exp({{a}}), axis={axis!r}, keepdims=True)"
    if words.op == "softmax":
        slope = f"{{y}} * ({{g}} - np.sum({{g}} * {{y}}, axis={axis!r}, keepdims=True))"
        return Phrase(f"np.exp({{a}}) / {total}", (slope,))
    slope = f"{{g}} - np.exp({{y}}) * np.sum({{g}}, axis={axis!r}, keepdims=True)"
    return Phrase(f"{{a}} - np.log({total})", (slope,))


def _cumsum(words: Words) -> Phrase | None:
    axis = words.attrs.get("axis")
    if axis is None and len(words.shapes[0]) != 1:
        return None
    along = 0 if axis is None else axis
    return Phrase(
        f"np.cumsum({{a}}, axis={along})", (f"np.flip(np.cumsum(np.flip({{g}}, {along}), {along}), {along})",)
    )


# -- products -----------------------------------------------------------------------------------


def _matmul(words: Words) -> Phrase | None:
    dims = tuple(len(shape) for shape in words.shapes)
    slopes = {
        (2, 2): ("{g} @ {b}.T", "{a}.T @ {g}"),
        (2, 1): ("np.outer({g}, {b})", "{a}.T @ {g}"),
        (1, 2): ("{b} @ {g}", "np.outer({a}, {g})"),
        (1, 1): ("{g} * {b}", "{g} * {a}"),
    }.get((dims[0], dims[1]))
    if slopes is None and min(dims) > 1:
        shapes = words.shapes
        slopes = (
            _summed("{g} @ np.swapaxes({b}, -1, -2)", words.shape[:-2] + shapes[0][-2:], shapes[0]),
            _summed("np.swapaxes({a}, -1, -2) @ {g}", words.shape[:-2] + shapes[1][-2:], shapes[1]),
        )
    return None if slopes is None else Phrase("{a} @ {b}", slopes)


def _dot(words: Words) -> Phrase | None:
    return _matmul(words) if all(len(shape) in (1, 2) for shape in words.shapes) else None


def _outer(words: Words) -> Phrase | None:
    if any(len(shape) != 1 for shape in words.shapes):
        return None
    return Phrase("np.outer({a}, {b})", ("{g} @ {b}", "{a} @ {g}"))


def _summed(text: str, shape: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """Return a gradient summed over the axes along which an operand was broadcast."""
    extra = len(shape) - len(wanted)
    if shape == wanted:
        return text
    leading = tuple(range(extra))
    ones = tuple(i for i, n in enumerate(wanted) if n == 1 and shape[i + extra] != 1)
    if leading:
        text = f"np.sum({text}, axis={leading[0] if len(leading) == 1 else leading})"
    if ones:
        text = f"np.sum({text}, axis={ones[0] if len(ones) == 1 else ones}, keepdims=True)"
    return text


# -- shapes and parts ---------------------------------------------------------------------------


def _shaped(words: Words) -> Phrase:
    return Phrase(f"np.reshape({{a}}, {words.shape})", (f"np.reshape({{g}}, {words.shapes[0]})",))


def _transpose(words: Words) -> Phrase:
    if not words.shape:
        return Phrase("{a}", ("{g}",))
    axes = words.attrs.get("axes")
    if axes is None:
        return Phrase("{a}.T", ("{g}.T",))
    back = tuple(int(i) for i in np.argsort([a % len(words.shape) for a in axes]))
    return Phrase(f"np.transpose({{a}}, {tuple(axes)})", (f"np.transpose({{g}}, {back})",))


def _swapaxes(words: Words) -> Phrase:
    one, two = words.attrs["axis1"], words.attrs["axis2"]
    return Phrase(f"np.swapaxes({{a}}, {one}, {two})", (f"np.swapaxes({{g}}, {one}, {two})",))


def _broadcast(words: Words) -> Phrase:
    return Phrase(f"np.broadcast_to({{a}}, {words.shape})", (_summed("{g}", words.shape, words.shapes[0]),))


def _flip(words: Words) -> Phrase:
    axis = words.attrs.get("axis")
    return Phrase(f"np.flip({{a}}, {axis!r})", (f"np.flip({{g}}, {axis!r})",))


def _getitem(words: Words) -> Phrase | None:
    index = _index(words.attrs["index"])
    if index is None or not words.shapes[0]:
        return None
    is_plain = not isinstance(words.attrs["index"], tuple | slice)
    where = index if is_plain else f"np.s_[{index}]"
    return Phrase(f"{{a}}[{index}]", (f"scatter({{g}}, {words.shapes[0]}, {where})",))


def _index(index: Any) -> str | None:
    """Return an index as it is written between brackets."""
    parts = index if isinstance(index, tuple) else (index,)
    texts = [_part(part) for part in parts]
    if None in texts:
        return None
    return ", ".join(map(str, texts)) + ("," if isinstance(index, tuple) and len(parts) == 1 else "") or "()"


def _part(part: Any) -> str | None:
    if part is None or part is Ellipsis:
        return "None" if part is None else "..."
    if isinstance(part, slice):
        start, stop, step = ("" if x is None else x for x in (part.start, part.stop, part.step))
        return f"{start}:{stop}" + (f":{step}" if step != "" else "")
    if isinstance(part, np.ndarray) and part.size <= 100 and part.dtype.kind in "iub":
        return f"np.array({part.tolist()}, {part.dtype.name!r})" if not part.size else f"np.array({part.tolist()})"
    return str(int(part)) if isinstance(part, int | np.integer) and not isinstance(part, bool) else None


def _concatenate(words: Words) -> Phrase | None:
    axis = words.attrs.get("axis", 0)
    if axis is None:
        return None
    axis %= len(words.shape)
    ends = list(accumulate(shape[axis] for shape in words.shapes))
    starts = [0, *ends[:-1]]
    lead = ":, " * axis
    slopes = tuple(f"{{g}}[{lead}{start}:{end}]" for start, end in zip(starts, ends, strict=True))
    return Phrase(f"np.concatenate([{', '.join(words.args)}], axis={axis})", slopes)


def _stack(words: Words) -> Phrase:
    axis = words.attrs.get("axis", 0) % len(words.shape)
    slopes = tuple(f"{{g}}[{':, ' * axis}{i}]" for i in range(len(words.args)))
    return Phrase(f"np.stack([{', '.join(words.args)}], axis={axis})", slopes)


# -- losses -------------------------------------------------------------------------------------


def _mse(words: Words) -> Phrase | None:
    if words.attrs or words.shapes[0] != words.shapes[1]:
        return None
    n = max(1, count(np.empty(words.shapes[0]), None))
    slope = f"{{g}} * 2 * ({{a}} - {{b}}) / {n}"
    formula = f"2*({{0}} - {{1}})/{n}"
    return Phrase("np.mean(({a} - {b}) ** 2)", (slope, f"-{slope}"), (formula, f"-{formula}"))


def _mae(words: Words) -> Phrase | None:
    if words.attrs or words.shapes[0] != words.shapes[1]:
        return None
    n = max(1, count(np.empty(words.shapes[0]), None))
    slope = f"{{g}} * np.sign({{a}} - {{b}}) / {n}"
    formula = f"sign({{0}} - {{1}})/{n}"
    return Phrase("np.mean(np.abs({a} - {b}))", (slope, f"-{slope}"), (formula, f"-{formula}"))


def _cross_entropy(words: Words) -> Phrase | None:
    """Return the phrase for rows of scores and one class number for each."""
    logits, target = words.shapes
    usual = words.attrs.get("axis", -1) in (-1, 1) and words.attrs.get("reduction", "mean") == "mean"
    if not usual or len(logits) != 2 or target != logits[:1]:
        return None
    n, classes = logits
    total = "np.sum(np.exp({a}), axis=1"
    return Phrase(
        f"np.mean(np.log({total})) - {{a}}[np.arange({n}), {{b}}.astype(int)])",
        (f"{{g}} * (np.exp({{a}}) / {total}, keepdims=True) - np.eye({classes})[{{b}}.astype(int)]) / {n}", None),
    )


MAKERS: dict[str, Callable[[Words], Phrase | None]] = {
    "sum": _sum,
    "mean": _mean,
    "max": _extreme,
    "min": _extreme,
    "var": _variance,
    "std": _variance,
    "logsumexp": _logsumexp,
    "softmax": _softmax,
    "log_softmax": _softmax,
    "cumsum": _cumsum,
    "matmul": _matmul,
    "dot": _dot,
    "outer": _outer,
    "reshape": _shaped,
    "expand_dims": _shaped,
    "squeeze": _shaped,
    "transpose": _transpose,
    "swapaxes": _swapaxes,
    "broadcast_to": _broadcast,
    "flip": _flip,
    "getitem": _getitem,
    "concatenate": _concatenate,
    "stack": _stack,
    "mse": _mse,
    "mae": _mae,
    "cross_entropy": _cross_entropy,
}
