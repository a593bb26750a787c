"""What the step before has computed, for results of it that this step goes on with: the fakes of a GAN, a state."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from gradviz.sources.torch.calls import Call

__all__ = ["Earlier", "by_sequence", "copied_call", "leaves_behind"]

LIMIT = 1_000_000  # autograd nodes gone through to find those of an earlier step

Mark = tuple[int, int]  # the sequence number of the autograd node that made a tensor, and which of its results it is


class Earlier:
    """The calls of a tape that is closed, by the tensors that are still alive; no tensor is kept alive.

    ``known`` has, by the id of a tensor, the tensor, its version and the place of its call.
    """

    def __init__(
        self,
        calls: Sequence[Call],
        tensors: Sequence[torch.Tensor | None],
        marks: Sequence[Mark | None],
        known: Mapping[int, tuple[torch.Tensor, int, int]],
    ) -> None:
        self.calls = calls
        self.marks = marks
        self._refs = [None if t is None else weakref.ref(t) for t in tensors]
        self._places = {key: (version, place) for key, (_, version, place) in known.items()}

    def place_of(self, t: torch.Tensor, version: int) -> int | None:
        """Return the place of a tensor among the calls, if it was not written to since."""
        known = self._places.get(id(t))
        return known[1] if known is not None and known[0] == version and self.tensor(known[1]) is t else None

    def tensor(self, place: int) -> torch.Tensor | None:
        """Return the tensor of a call, if it is still alive."""
        ref = self._refs[place]
        return None if ref is None else ref()


def by_sequence(made_by: Any) -> dict[int, Any]:
    """Return all autograd nodes that a result was made by, by their sequence numbers.

    >>> y = (torch.ones(2, requires_grad=True) * 2).exp()
    >>> len(by_sequence(y.grad_fn)) >= 2
    True
    """
    found: dict[int, Any] = {made_by._sequence_nr(): made_by}
    seen, waiting = {id(made_by)}, [made_by]
    while waiting and len(seen) < LIMIT:
        for fn, _ in waiting.pop().next_functions:
            if fn is not None and id(fn) not in seen:
                seen.add(id(fn))
                found[fn._sequence_nr()] = fn
                waiting.append(fn)
    return found


def leaves_behind(roots: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return the leaves that these results depend on, as far as gradients flow.

    >>> w = torch.ones(2, requires_grad=True)
    >>> leaves_behind([w * 2])[0] is w
    True
    """
    nodes = {id(fn): fn for t in roots if t.grad_fn is not None for fn in by_sequence(t.grad_fn).values()}
    following = (fn for node in nodes.values() for fn, _ in node.next_functions)
    found = {id(fn): fn.variable for fn in following if hasattr(fn, "variable")}
    return list(found.values())


def copied_call(call: Call, inputs: Sequence[int]) -> Call:
    """Return the same call for another tape, with no gradient yet."""
    made = copy.copy(call)
    made.inputs, made.grad, made.grad_stats = inputs, None, None
    return made
