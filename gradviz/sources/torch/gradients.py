"""The gradient of every node by one backward pass beside the program's own, which finds everything as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.autograd.graph import GradientEdge

from gradviz.sources.torch.saved import CHANGED, FREED, RERUN, Kept
from gradviz.sources.torch.walking import Walk

__all__ = ["are_scalars", "differentiate"]

REASONS = {
    RERUN: "behind a checkpoint, whose block would have to run again; record with gradviz.capture",
    FREED: "behind nodes that a backward() has freed; use retain_graph=True",
    CHANGED: "behind nodes whose operands were changed in place",
}


def are_scalars(roots: Iterable[torch.Tensor]) -> bool:
    """Tell whether a backward pass can begin at these results.

    >>> are_scalars([torch.zeros(1)]), are_scalars([torch.zeros(2)])
    (True, False)
    """
    return all(t.numel() == 1 and t.is_floating_point() for t in roots)


def differentiate(walk: Walk, holders: Iterable[torch.Tensor]) -> str:
    """Give every spot its gradient and say of which it is known.

    The ``.grad`` of ``holders`` has to stay, as that of all tensors of the graph has.

    Nothing of a checkpointed block is run again: what lies behind it gets none.
    """
    roots = [t for t in walk.roots if t.requires_grad]
    if not roots:
        return "none: nothing requires a gradient"
    if not are_scalars(roots):
        sizes = ", ".join(str(list(t.shape)) for t in roots if t.numel() != 1)
        return f"none: the result is no real scalar{sizes and ', its shape is ' + sizes}"
    if not walk.kept:
        for t in roots:
            walk.spots[walk.places[id(t)]].grad = torch.ones_like(t, requires_grad=False)
        return "of every node"
    blocked = {node for node, kept in walk.kept.items() if kept.troubles and kept.is_blocked}
    trouble = ""
    with _undisturbed(walk, holders):
        try:
            left_out = _pull(walk, roots, blocked)
        except Exception as error:  # code of the program may raise anything
            trouble = (str(error).splitlines() or [type(error).__name__])[0][:100]
            custom = {node for node in walk.kept if hasattr(node, "_raw_saved_tensors")}
            try:
                left_out = _pull(walk, roots, blocked | custom)
            except Exception:
                return f"none: {trouble}"
    return "of every node" if not left_out else f"of all but {left_out} nodes, {trouble or _reason(walk.kept.values())}"


def _reason(found: Iterable[Kept]) -> str:
    troubles = set().union(*(kept.troubles for kept in found))
    return "; ".join(text for trouble, text in REASONS.items() if trouble in troubles)


def _pull(walk: Walk, roots: list[torch.Tensor], blocked: set[Any]) -> int:
    """Pull back from the results to every spot that no blocked node lies before; return how many are left out."""
    behind = _behind(walk, blocked)
    edges, taken, left_out = [], [], 0
    for spot in walk.spots:
        key = spot.key
        node, nr = key if key.__class__ is tuple else (walk.accumulators.get(key), 0)
        if node is None or nr.__class__ is str:
            continue
        if node in behind:
            left_out += 1
            continue
        edges.append(GradientEdge(node, nr))
        taken.append(spot)
    grads = torch.autograd.grad(roots, edges, retain_graph=True, allow_unused=True)
    for spot, grad in zip(taken, grads, strict=True):
        spot.grad = grad
    return left_out


def _behind(walk: Walk, blocked: set[Any]) -> set[Any]:
    """Return the nodes whose gradient needs the backward of a blocked one."""
    if not blocked:
        return set()
    found: set[Any] = set()
    for node in reversed(walk.nodes):
        if node in found or node in blocked:
            found.update(operand for operand, _ in walk.edges[node] if operand is not None)
    return found


@contextlib.contextmanager
def _undisturbed(walk: Walk, holders: Iterable[torch.Tensor]) -> Iterator[None]:
    """Leave the random generators and every ``.grad`` as they were, those that ``retain_grad`` fills too."""
    tensors = (spot.tensor for spot in walk.spots if spot.tensor is not None)
    retaining = {id(t): t for t in (*holders, *walk.roots, *tensors) if t.retains_grad}
    before = [(t, t.grad) for t in retaining.values()]
    state = torch.get_rng_state()
    has_custom = any(hasattr(node, "_raw_saved_tensors") for node in walk.kept)
    devices = torch.cuda.get_rng_state_all() if has_custom and torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        if not torch.equal(state, torch.get_rng_state()):
            torch.set_rng_state(state)
        if devices is not None:
            torch.cuda.set_rng_state_all(devices)
        for t, grad in before:
            if t.grad is not grad:
                t.grad = grad
