"""Why a gradient is what it is: the terms it is the sum of, and the proof that they add up.

A gradient is a sum over the edges out of a node, over all paths to the result, over the samples of a batch,
or over the elements of what it was used in. Each sum is worked out by the ops' own rules (a rule is linear in
the gradient that comes in), then compared with the gradient that was recorded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from gradviz.debugger.pulling import Paths, norm, pulled, seed_of, sent
from gradviz.errors import GradvizValueError, UnknownNameError
from gradviz.escape import clean
from gradviz.graphs import Frame, Number
from gradviz.graphs.listing import number_text
from gradviz.graphs.plain import frozen_number
from gradviz.graphs.projections import unpacked

__all__ = ["WAYS", "Term", "Why", "why"]

SAMPLES = 2_000  # rows of a batch that are followed one by one
PRECISION = {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float32": 2.0**-23, "complex64": 2.0**-23}
ROUNDINGS = 1000  # how often rounding may have gone the same way between a gradient and the sum of its terms


@dataclass(frozen=True)
class Term:
    """One term of a gradient: its ``value``, what it is in words, and the ids of the nodes it goes through."""

    value: Any
    text: str
    nodes: tuple[int, ...] = ()
    index: tuple[int, ...] = ()  # of a sample or an element

    @property
    def size(self) -> float:
        """The Euclidean norm."""
        return norm(self.value)


@dataclass(frozen=True)
class Why:
    """A gradient as a sum: the largest ``terms``, what is left as ``rest``, and how far off the sum is.

    ``count`` is the number of terms there are in all. Indexing and iterating give the terms.
    """

    name: str
    by: str
    grad: Any
    terms: tuple[Term, ...]
    rest: Any
    count: int
    apart: float  # the largest difference between the gradient and the sum of all terms and the rest
    note: str = ""
    dtype: str = ""  # of the gradient, if its numbers do not tell

    @property
    def adds_up(self) -> bool:
        """Whether the terms and the rest sum to the gradient, but for rounding."""
        return self.apart <= _rounding(self.grad, [term.value for term in self.terms], self.dtype)

    def __len__(self) -> int:
        return len(self.terms)

    def __getitem__(self, index: int) -> Term:
        return self.terms[index]

    def __iter__(self) -> Iterator[Term]:
        return iter(self.terms)

    def __str__(self) -> str:
        terms = self.by if self.count != 1 else self.by.removesuffix("s")
        lines = [f"d/d({clean(self.name)}) = {number_text(self.grad)} is the sum over {_many(self.count)} {terms}:"]
        lines += [f"  {number_text(term.value):>12}  {term.text}" for term in self.terms]
        left = self.count - len(self.terms)
        if left > 0:
            lines.append(f"  {number_text(self.rest):>12}  the other {_many(left)}")
        verdict = "they add up" if self.adds_up else "THEY DO NOT ADD UP"
        lines.append(
            f"  {verdict}: the sum is {self.apart:.3g} from the gradient" if self.apart else f"  {verdict} exactly"
        )
        return "\n".join([*lines, *([f"  {self.note}"] if self.note else [])])


def why(frame: Frame, name: Any, by: str = "edges", k: int = 5) -> Why:
    """Return the gradient of a node as a sum over its ``edges``, ``paths``, ``samples`` or ``elements``.

    The ``k`` largest terms are given, the largest first. Raises GradvizValueError where there is no gradient,
    or where the sum cannot be taken that way.

    >>> import gradviz
    >>> a, b = gradviz.Tensor(2.0), gradviz.Tensor(3.0)
    >>> c = a * b + a
    >>> c.backward()
    >>> print(why(gradviz.frame(c), "a", by="paths"))
    d/d(a) = 4 is the sum over 2 paths:
                 3  a -> mul_1 -> c: b = 3
                 1  a -> c
      they add up exactly
    """
    if by not in WAYS:
        raise UnknownNameError.among("way to take the sum", by, WAYS)
    if not isinstance(k, int) or k < 0:
        raise GradvizValueError(f"k is {k!r}: it is the number of terms to show", hint="k=5")
    if frame.edges is None:
        raise GradvizValueError(
            "this frame does not know what its edges contribute",
            hint="take it from a Tensor, or from a run that recorded the numbers of the step (level='auto' or 'full')",
        )
    known = str(frame.meta.get("values", ""))
    if known.startswith("gone"):
        raise GradvizValueError(f"the values inside are {clean(known)}")
    node = frame.graph.index(name)
    if frame.grads[node] is None:
        raise GradvizValueError(f"no gradient has reached {clean(frame.graph.nodes[node].name)!r}", hint="blame cut")
    with np.errstate(all="ignore"):
        return WAYS[by](unpacked(frame), node, k)


# -- over the edges --------------------------------------------------------------------------------


def by_edges(frame: Frame, node: int, k: int) -> Why:
    """Take the sum over the edges out of the node."""
    terms = [
        Term(amount, _edge_text(frame, node, dst, arg), (node, dst))
        for dst in frame.graph.consumers(node)
        for arg, src in enumerate(frame.graph.nodes[dst].inputs)
        if src == node and frame.grads[dst] is not None
        for amount in [frame.edge_grad(node, dst, arg)]
        if amount is not None
    ]
    if node in frame.graph.outputs:
        terms.append(Term(_plain(seed_of(frame, node)), "the seed: this is the result itself", (node,)))
    total = _sum([term.value for term in terms], frame.grads[node])
    return _made(frame, node, "edges", terms, k, total, len(terms), _unknown(frame, node))


def _unknown(frame: Frame, node: int) -> str:
    """Say through which nodes a gradient may have come that nobody knows: what is inside of them was not recorded."""
    graph, names = frame.graph, []
    for dst in graph.consumers(node):
        parts = [i for i in graph.consumers(dst) if graph.nodes[i].op == "getitem"] if frame.values[dst] is None else []
        is_reached = any(frame.grads[i] is not None for i in (dst, *parts))
        if is_reached and frame.edge_grad(node, dst, graph.nodes[dst].inputs.index(node)) is None:
            names.append(_name(frame, dst))
    return f"what comes through {', '.join(names[:4])} is not known" if names else ""


def _edge_text(frame: Frame, src: int, dst: int, arg: int) -> str:
    """Return ``through c: d(c)/d(a) = b = 3, times d/d(c) = 1``."""
    name, local = _name(frame, dst), frame.local(src, dst, arg)
    formula, shown = clean(frame.graph.formula(dst, arg)), "" if local is None else number_text(local)
    slope = f" = {shown}" if shown else ""
    written = f" = {formula}" if formula and formula != shown else ""
    derivative = f"d({name})/d({_name(frame, src)}){written}{slope}, " if written or slope else ""
    return f"through {name}: {derivative}times d/d({name}) = {number_text(frame.grads[dst])}{_place(frame, dst)}"


# -- over the paths --------------------------------------------------------------------------------


def by_paths(frame: Frame, node: int, k: int) -> Why:
    """Take the sum over the paths from the node to the results: counted first, then the largest found first."""
    found = Paths(frame, node)
    terms = [Term(value, _path_text(frame, path), path) for value, path in found.largest(k)]
    return _made(frame, node, "paths", terms, k, found.everything(), found.total, found.note)


def _path_text(frame: Frame, path: tuple[int, ...]) -> str:
    """Return ``a -> c -> e: b * cos(c) = 3 * 0.96``; the middle of a long path is left out."""
    if len(path) == 1:
        return "the seed: this is the result itself"
    names = [_name(frame, i) for i in path]
    shown = names if len(names) <= 8 else [*names[:4], f"... {len(names) - 7} more ...", *names[-3:]]
    slopes = [_slope(frame, src, dst) for src, dst in pairwise(path)] if len(names) <= 8 else []
    factors = [slope for slope in slopes if slope and slope != "1"]
    product = f": {' * '.join(factors)}" if factors and len(factors) <= 6 and len(names) <= 8 else ""
    return f"{' -> '.join(shown)}{product}"


def _slope(frame: Frame, src: int, dst: int) -> str:
    """Return the formula and number of a derivative along an edge, if one number says it."""
    args = [arg for arg, given in enumerate(frame.graph.nodes[dst].inputs) if given == src]
    local = frame.local(src, dst, args[0])
    if len(args) != 1 or not isinstance(local, float):
        return ""
    formula = clean(frame.graph.formula(dst, args[0]))
    number = number_text(local)
    return number if not formula or formula == number else f"{formula} = {number}"


# -- over the samples of a batch, over elements ----------------------------------------------------


def by_samples(frame: Frame, node: int, k: int) -> Why:
    """Take the sum over the rows of the batch: each row's share of the gradient goes down alone."""
    batch = _batch(frame, node)
    rows = frame.graph.nodes[batch].shape[0]
    if rows > SAMPLES:
        raise GradvizValueError(
            f"{rows:,} samples: the limit is {SAMPLES:,}", hint="take a smaller batch, or by='elements'"
        )
    arrived: Any = frame.grads[batch]
    found = []
    for row in range(rows):
        share = np.zeros_like(arrived)
        share[row] = arrived[row]
        value = pulled(frame, {batch: share}, node)
        if value is not None:
            found.append(Term(value, f"sample {row}{_at_row(frame, batch, row)}", (node, batch), (row,)))
    note = f"taken apart at {_name(frame, batch)}, before the rows of the batch are put together"
    grad: Any = frame.grads[node]
    values = [term.value for term in found]
    total = _sum(values, grad)
    if _apart(grad, total) > _rounding(grad, values, frame.graph.nodes[node].dtype):
        beside = np.subtract(grad, total)
        note += f"; {number_text(_plain(beside))} comes by other ways"
        total = total + beside
    return _made(frame, node, "samples", found, k, total, len(found), note)


def _batch(frame: Frame, node: int) -> int:
    """Return the last array with a row per sample that the gradient comes through: what a reduction took in."""
    candidates = list(_reduced(frame, node))
    if not candidates:
        raise GradvizValueError(
            f"no reduction over a batch lies between {_name(frame, node)!r} and the result",
            hint="by='paths' or by='elements'",
        )
    data = {n.shape[0] for n in frame.graph.nodes if n.kind in {"input", "const"} and n.shape}
    return next((i for i in candidates if frame.graph.nodes[i].shape[0] in data), candidates[0])


def _reduced(frame: Frame, node: int) -> Iterator[int]:
    """Yield the arrays whose first axis an op takes away, the last in the graph first."""
    below = set(frame.graph.descendants(node))
    for n in reversed(frame.graph.nodes):
        for i in n.inputs if n.id in below else ():
            shape = frame.graph.nodes[i].shape
            if i in below and frame.grads[i] is not None and shape[:1] > (1,) and n.shape[:1] != shape[:1]:
                yield i


def _at_row(frame: Frame, batch: int, row: int) -> str:
    value: Any = frame.values[batch]
    return "" if value is None else f": {_name(frame, batch)} = {number_text(_plain(value[row]))}"


def by_elements(frame: Frame, node: int, k: int) -> Why:
    """Take the sum over the elements of what the node was used in, one edge after the other."""
    terms: list[Term] = []
    count, total = 0, _zero(frame.grads[node])
    for dst in frame.graph.consumers(node):
        for arg, src in enumerate(frame.graph.nodes[dst].inputs):
            upstream: Any = frame.grads[dst]
            amount: Any = frame.edge_grad(src, dst, arg) if src == node and upstream is not None else None
            if amount is not None:
                count, total = count + np.size(upstream), total + amount
                terms += _elements(frame, node, dst, arg, k)
    if node in frame.graph.outputs:
        seed: Any = seed_of(frame, node)
        count, total = count + 1, total + seed
        terms.append(Term(_plain(seed), "the seed: this is the result itself", (node,)))
    return _made(frame, node, "elements", terms, k, total, count)


def _elements(frame: Frame, src: int, dst: int, arg: int, k: int) -> Iterator[Term]:
    """Yield the largest shares that single elements of an edge bring."""
    upstream, local = np.asarray(frame.grads[dst]), frame.local(src, dst, arg)
    weights = np.abs(upstream * local) if local is not None else np.abs(upstream)
    order = np.argsort(-np.where(np.isfinite(weights), weights, np.inf), axis=None, kind="stable")
    for flat in order[:k].tolist():
        index = tuple(int(i) for i in np.unravel_index(flat, upstream.shape))
        share = np.zeros_like(upstream)
        share[index] = upstream[index]
        value = sent(frame, dst, arg, _plain(share))
        slope = "" if local is None else f"{number_text(_plain(np.broadcast_to(local, upstream.shape)[index]))} * "
        place = f"[{', '.join(map(str, index))}]" if index else ""
        yield Term(
            value, f"{_name(frame, dst)}{place}: {slope}{number_text(_plain(upstream[index]))}", (src, dst), index
        )


# -- sums ------------------------------------------------------------------------------------------


def _made(
    frame: Frame, node: int, by: str, terms: Sequence[Term], k: int, total: Any, count: int, note: str = ""
) -> Why:
    """Put the largest terms first; ``total`` is the sum of all ``count`` terms, which the gradient is compared with."""
    grad: Any = frame.grads[node]
    total = _zero(grad) if total is None else total
    ranked = sorted(terms, key=lambda term: -math.inf if math.isnan(term.size) else -term.size)
    shown = tuple(ranked[:k])
    rest = total - _sum([term.value for term in shown], grad) if count > len(shown) else _zero(grad)
    apart = _apart(grad, total)
    dtype = frame.graph.nodes[node].dtype
    found = Why(_name(frame, node), by, grad, shown, _plain(rest), count, apart, note, dtype)
    if found.adds_up or frame.graph.nodes[node].kind == "op" or (note and by == "edges"):
        return found
    return replace(found, note="; ".join(filter(None, (note, "a gradient that was there before stays in the sum"))))


def _sum(values: Sequence[Any], like: Any) -> Any:
    total = _zero(like)
    for value in values:
        total = total + value
    return total


def _zero(like: Any) -> Any:
    return np.zeros_like(like) if isinstance(like, np.ndarray) else 0.0


def _apart(grad: Any, total: Any) -> float:
    """Return the largest difference where both are finite; infinity if they are not in the same places."""
    if np.shape(grad) != np.shape(total):
        return math.inf
    finite = np.isfinite(grad)
    if not np.array_equal(finite, np.isfinite(total)):
        return math.inf
    return float(np.max(np.abs(np.subtract(grad, total)), initial=0.0, where=finite))


def _rounding(grad: Any, terms: Sequence[Any], name: str) -> float:
    """Return how far off the sum of some terms of a dtype may be for no other reason than rounding."""
    dtype: Any = np.asarray(grad).dtype
    eps = float(np.finfo(dtype if dtype.kind in "fc" else float).eps)
    eps = max(eps, PRECISION.get(name, 0.0))
    sizes = [norm(np.nan_to_num(x, posinf=0.0, neginf=0.0)) for x in (grad, *terms)]
    return min(0.1, ROUNDINGS * eps) * max(sizes)


def _plain(x: Any) -> Number:
    found = frozen_number(x)
    return math.nan if found is None else found


def _many(count: int) -> str:
    """Return a number of terms; of a huge one how many digits it has.

    >>> _many(1234567), _many(2**1000)
    ('1,234,567', 'about 10^301')
    """
    return f"{count:,}" if count < 10**15 else f"about 10^{int(math.log10(2) * count.bit_length())}"


def _name(frame: Frame, id: int) -> str:
    return clean(frame.graph.nodes[id].name)


def _place(frame: Frame, id: int) -> str:
    source = frame.graph.nodes[id].source
    return f"  ({clean(str(source))})" if source else ""


WAYS: Mapping[str, Callable[[Frame, int, int], Why]] = {
    "edges": by_edges,
    "paths": by_paths,
    "samples": by_samples,
    "elements": by_elements,
}
