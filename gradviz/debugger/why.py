"""Why a gradient is what it is: the terms it is the sum of, and the proof that they add up.

A gradient is a sum over the edges out of a node, over all paths to the result, over the samples of a batch,
or over the elements of what it was used in. Each sum is worked out by the ops' own rules (a rule is linear in
the gradient that comes in), then compared with the gradient that was recorded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from gradviz.debugger.pulling import Paths, norm, pulled, sent
from gradviz.errors import GradvizValueError, UnknownNameError
from gradviz.escape import clean
from gradviz.graphs import Frame, Number
from gradviz.graphs.listing import number_text

__all__ = ["WAYS", "Term", "Why", "why"]

SAMPLES = 2_000  # rows of a batch that are followed one by one
CLOSE = 1e-9  # relative: what rounding may leave between a gradient and the sum of its terms


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

    @property
    def adds_up(self) -> bool:
        """Whether the terms and the rest sum to the gradient, but for rounding."""
        return self.apart <= CLOSE * max(1.0, *(term.size for term in self.terms), norm(self.grad)) or not _finite(
            self.grad
        )

    def __len__(self) -> int:
        return len(self.terms)

    def __getitem__(self, index: int) -> Term:
        return self.terms[index]

    def __iter__(self) -> Iterator[Term]:
        return iter(self.terms)

    def __str__(self) -> str:
        lines = [f"d/d({clean(self.name)}) = {number_text(self.grad)} is the sum over {self.count:,} {self.by}:"]
        lines += [f"  {number_text(term.value):>12}  {term.text}" for term in self.terms]
        left = self.count - len(self.terms)
        if left > 0:
            lines.append(f"  {number_text(self.rest):>12}  the other {left:,}")
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
    if frame.edges is None:
        raise GradvizValueError(
            "this frame does not know what its edges contribute", hint="take it from a Tensor or a run"
        )
    node = frame.graph.index(name)
    if frame.grads[node] is None:
        raise GradvizValueError(f"no gradient has reached {clean(frame.graph.nodes[node].name)!r}", hint="blame cut")
    with np.errstate(all="ignore"):
        return WAYS[by](frame, node, k)


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
    return _made(frame, node, "edges", terms, k)


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
    return _made(frame, node, "paths", terms, k, total=found.total, note=found.note)


def _path_text(frame: Frame, path: tuple[int, ...]) -> str:
    """Return ``a -> c -> e: b * cos(c) = 3 * 0.96``; the middle of a long path is left out."""
    names = [_name(frame, i) for i in path]
    shown = names if len(names) <= 8 else [*names[:4], f"... {len(names) - 7} more ...", *names[-3:]]
    slopes = [_slope(frame, src, dst) for src, dst in pairwise(path)]
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
        value = pulled(frame, batch, node, share)
        if value is not None:
            found.append(Term(value, f"sample {row}{_at_row(frame, batch, row)}", (node, batch), (row,)))
    note = f"taken apart at {_name(frame, batch)}, before the rows of the batch are put together"
    return _made(frame, node, "samples", found, k, note=note, is_partial=True)


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
    total = 0
    for dst in frame.graph.consumers(node):
        for arg, src in enumerate(frame.graph.nodes[dst].inputs):
            upstream: Any = frame.grads[dst]
            if src == node and upstream is not None:
                total += np.size(upstream)
                terms += _elements(frame, node, dst, arg, k)
    return _made(frame, node, "elements", terms, k, total=total)


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
    frame: Frame,
    node: int,
    by: str,
    terms: Sequence[Term],
    k: int,
    *,
    total: int | None = None,
    note: str = "",
    is_partial: bool = False,
) -> Why:
    """Put the largest terms first, and compare the sum of all with the gradient."""
    grad: Any = frame.grads[node]
    ranked = sorted(terms, key=lambda term: -term.size if math.isfinite(term.size) else -math.inf)
    shown = tuple(ranked[:k])
    seed = node in frame.graph.outputs
    if seed:
        shown, terms = (Term(grad, "the seed: this is the result itself", (node,)),), []
    size = (1 if seed else len(terms)) if total is None or seed else total
    everything = _sum([term.value for term in (shown if seed else terms)], grad)
    known_all = len(terms) == size or seed
    rest = np.subtract(grad, _sum([term.value for term in shown], grad)) if size > len(shown) else _zero(grad)
    apart = _apart(grad, everything) if known_all else 0.0
    if is_partial and not seed and apart > CLOSE * max(1.0, norm(grad)):
        note += f"; {number_text(_plain(np.subtract(grad, everything)))} comes by other ways"
        apart = 0.0
    return Why(_name(frame, node), by, grad, shown, _plain(rest), size, apart, note)


def _sum(values: Sequence[Any], like: Any) -> Any:
    total = _zero(like)
    for value in values:
        total = total + value
    return total


def _zero(like: Any) -> Any:
    return np.zeros_like(like) if isinstance(like, np.ndarray) else 0.0


def _apart(grad: Any, total: Any) -> float:
    difference = np.abs(np.subtract(grad, total))
    return (
        float(np.max(difference, initial=0.0))
        if np.all(np.isfinite(difference))
        else (0.0 if _same(grad, total) else math.inf)
    )


def _same(grad: Any, total: Any) -> bool:
    return bool(np.array_equal(np.isfinite(grad), np.isfinite(total)))


def _finite(x: Any) -> bool:
    return bool(np.all(np.isfinite(x)))


def _plain(x: Any) -> Number:
    return float(x) if np.shape(x) == () else np.asarray(x)


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
