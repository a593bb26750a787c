"""What is true of a PyTorch result that is read after the fact, found without gradviz.

``watched(case)`` runs a program as ``left_behind`` does; between its forward and its backward pass a frame is taken of
every loss. Beside it stand the value that each tensor of the program had when a call returned it, every array that any
operation of PyTorch returned, and the gradient that the program's own backward pass brought to each autograd node.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import gradviz
from gradviz.sources.torch.after import walk_of
from tests.torch_programs import Case
from tests.torch_truth import array, is_transforming, left_behind, same

AccumulateGrad = torch._C._functions.AccumulateGrad


@dataclass
class Reading:
    """One frame and what it has to say."""

    frame: Any
    places: dict[Any, int]  # the node ids of autograd nodes with the number of the result, and of leaves by their ids
    returned: dict[Any, Any]  # values by the same
    computed: dict[Any, list[Any]]  # all arrays, by shape; what was written to also whole, by its size
    arrived: dict[Any, Any]  # gradients that the program's own backward brought
    leaves: dict[int, Any]

    def wrong_values(self) -> Iterator[str]:
        """Yield what is known and not true: of what the program saw, and of what PyTorch computed inside."""
        for key, place in self.places.items():
            value, node = self.frame.value(place), self.frame.graph.nodes[place]
            if value is None:
                continue
            if key in self.returned:
                if not same(value, self.returned[key]):
                    yield f"{node.name} ({node.op}, {node.attrs['origin']})"
            elif node.kind == "op":
                shaped = [*self.computed.get(node.shape, []), *self.computed.get(np.size(value), [])]
                if not any(same(np.ravel(value), np.ravel(other)) for other in shaped):
                    yield f"{node.name} ({node.op}, {node.attrs['origin']}) was never computed"
            elif key in self.leaves and not same(value, self.leaves[key]):
                yield node.name

    def wrong_gradients(self) -> Iterator[str]:
        """Yield the gradients that are not those of the program's own backward pass."""
        for key, place in self.places.items():
            grad, node = self.frame.grad(place), self.frame.graph.nodes[place]
            if grad is not None and key in self.arrived and not same(grad, self.arrived[key]):
                yield f"{node.name} ({node.op}): {grad} is not {self.arrived.get(key)}"

    def unknown_gradients(self) -> int:
        """Return how many gradients arrived that the frame has not."""
        return sum(
            grad is not None and key in self.places and self.frame.grad(self.places[key]) is None
            for key, grad in self.arrived.items()
        )

    def unknown_values(self) -> list[str]:
        """Return the ops whose value is not known."""
        several = {node.inputs[0] for node in self.frame.graph if node.op == "getitem" and "index" in node.attrs}
        return [
            node.op
            for node in self.frame.graph
            if node.kind == "op" and self.frame.value(node) is None and node.id not in several
        ]


@dataclass
class Watched:
    """All readings of one program, and what it left behind."""

    readings: list[Reading] = field(default_factory=list)
    left: dict[str, Any] = field(default_factory=dict)


class Returned(TorchFunctionMode):
    """Copies what user-level calls return, by autograd node."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[Any, Any] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call, and copy."""
        out = func(*args, **(kwargs or {}))
        if not is_transforming():
            with torch._C.DisableTorchFunction():
                for t in tree_leaves(out):
                    if isinstance(t, torch.Tensor) and t.grad_fn is not None:
                        self.values[t.grad_fn, t.output_nr] = array(t)
        return out


class Computed(TorchDispatchMode):
    """Copies everything that any operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.arrays: dict[Any, list[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call, and copy."""
        out = func(*args, **(kwargs or {}))
        for t in tree_leaves(out):
            if type(t) is torch.Tensor:
                self.arrays.setdefault(tuple(t.shape), []).append(array(t))
                if func._schema.is_mutable:
                    whole = t.new_empty(0).set_(t.untyped_storage())
                    self.arrays.setdefault(whole.numel(), []).append(array(whole))
        return out


def watched(case: Case, take: Callable[[Any], Any] = gradviz.frame) -> Watched:
    """Run a program, and read every loss of it before its backward pass."""
    found = Watched()
    returned, computed = Returned(), Computed()
    backward = case.backward

    @contextlib.contextmanager
    def watching() -> Iterator[None]:
        with returned, computed:
            yield

    def read_and_backward(loss: Any) -> Any:
        walk = walk_of(loss)
        leaves = {id(t): t for spot in walk.spots if (t := spot.tensor) is not None and t.grad_fn is None}
        before = [(t, t.grad) for t in leaves.values()]
        frame = take(loss)
        assert all(t.grad is grad for t, grad in before)
        values = {key: array(t) for key, t in leaves.items()}
        reading = Reading(frame, dict(walk.places), returned.values, computed.arrays, {}, values)
        handles = list(listening(loss, reading.arrived))
        result = backward(loss)
        for handle in handles:
            handle.remove()
        found.readings.append(reading)
        return result

    case.backward = read_and_backward
    found.left = left_behind(case, watching)
    return found


def listening(loss: Any, arrived: dict[Any, Any]) -> Iterator[Any]:
    """Yield hooks on every autograd node, which note what arrives first."""
    seen, ahead = set(), [loss.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = id(node.variable) if isinstance(node, AccumulateGrad) else None

        def note(grads: Any, node: Any = node, leaf: int | None = leaf) -> None:
            for nr, g in enumerate(grads):
                arrived.setdefault((node, nr) if leaf is None else leaf, array(g))

        yield node.register_prehook(note)
        ahead += [operand for operand, _ in node.next_functions]
