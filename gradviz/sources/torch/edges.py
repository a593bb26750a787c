"""What each edge of a graph of PyTorch calls contributes: the call is made again, and its own backward asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from gradviz.errors import GraphError
from gradviz.graphs import Graph
from gradviz.sources.torch.calls import Call, filled, flattened
from gradviz.sources.torch.looks import is_elementwise
from gradviz.sources.torch.numbers import as_tensor, number

__all__ = ["CallNumbers"]


class CallNumbers:
    """Edge numbers of one frame, worked out when asked for; see `gradviz.graphs.EdgeNumbers`.

    The gradient that an op sends to an operand is what PyTorch itself sends when the op is called again with the
    values of the frame, on the CPU. That leaves the program and its random numbers alone.
    """

    __slots__ = ("_calls", "_grads", "_graph", "_parts", "_uses", "_values")

    def __init__(self, graph: Graph, calls: Sequence[Call], values: Sequence[Any], grads: Sequence[Any]) -> None:
        self._graph = graph
        self._calls = calls
        self._values = values
        self._grads = grads
        self._uses: list[int] | None = None
        self._parts: dict[int, dict[int, int]] | None = None

    @property
    def calls(self) -> Sequence[Call]:
        """The call of every node."""
        return self._calls

    def grad(self, src: int, dst: int, arg: int) -> Any:
        """Return what this edge contributed to the gradient of ``src``; None if nothing flows or it is not known."""
        if self._grads[src] is None:
            return None
        if self._number_of_uses(src) == 1 and src not in self._graph.outputs:
            return self._grads[src]
        if self._grads[dst] is None and not self.results(dst):
            return None
        return self.sent(dst, arg, self._grads[dst])

    def local(self, src: int, dst: int, arg: int) -> Any:
        """Return d(dst)/d(src) by this argument, if both are scalars or the op is elementwise; None for a constant."""
        y = self._values[dst]
        if self._graph.nodes[src].kind == "const" or y is None:
            return None
        are_scalars = np.shape(y) == () and np.shape(self._values[src]) == ()
        if not are_scalars and not self.is_elementwise(dst):
            return None
        slope = self._pulled(dst, arg, np.ones(np.shape(y)) if np.shape(y) else 1.0, is_local=True)
        return None if slope is None else np.broadcast_to(slope, np.shape(y)) if np.shape(y) else slope

    def sent(self, dst: int, arg: int, g: Any) -> Any:
        """Return what ``dst`` sends to this argument when its own gradient is ``g``; None if that is not known."""
        return self._pulled(dst, arg, g, is_local=False)

    def is_elementwise(self, dst: int) -> bool:
        """Tell whether each element of the result depends on one element of each operand."""
        return is_elementwise(self._calls[dst].op)

    def is_registered(self, dst: int) -> bool:
        """Tell whether the rule of a node is the user's own: that of an autograd.Function."""
        return isinstance(getattr(self._calls[dst].func, "__self__", None), type(torch.autograd.Function))

    def having(self, grads: Sequence[Any]) -> CallNumbers:
        """Return the numbers of the same graph with other gradients."""
        return CallNumbers(self._graph, self._calls, self._values, grads)

    def called(self, dst: int, operands: Sequence[Any]) -> list[Any]:
        """Call the op of a node again with other operands and return its results: one, or several of a multi-result op.

        Raises GraphError if the op cannot be called again here, for whatever reason PyTorch gives.
        """
        call = self._calls[dst]
        if call.func is None:
            raise GraphError(
                f"{self._graph.nodes[dst].name!r} cannot be computed again: {call.op} is only known by name"
            )
        given = iter([t.clone() for t in operands])
        args, kwargs = filled(tuple(call.args), given), filled(dict(call.kwargs), iter(given))
        try:
            with _undisturbed(call.random):
                out = call.func(*args, **kwargs)
        except Exception as error:  # a function may refuse in any way
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise GraphError(f"{self._graph.nodes[dst].name!r} cannot be computed again: {reason}") from error
        results = flattened(out)
        return results or [args[0]]  # __setitem__ returns nothing, and changes its first operand

    def operands(self, dst: int, wanted: Sequence[int] = ()) -> list[Any]:
        """Return the operands of a node as tensors; those at the places ``wanted`` require a gradient."""
        found = []
        for place, src in enumerate(self._graph.nodes[dst].inputs):
            if self._values[src] is None:
                raise GraphError(f"the value of {self._graph.nodes[src].name!r} is not known")
            t = as_tensor(self._values[src], self._graph.nodes[src].dtype)
            can = t.is_floating_point() or t.is_complex()
            found.append(t.requires_grad_() if place in wanted and can else t)
        return found

    def results(self, dst: int) -> Mapping[int, int]:
        """Return the nodes that are results of this one, by their index."""
        if self._parts is None:
            self._parts = {}
            for node, call in zip(self._graph.nodes, self._calls, strict=True):
                if call.index is not None:
                    self._parts.setdefault(node.inputs[0], {})[call.index] = node.id
        return self._parts.get(dst, {})

    # -- working them out ----------------------------------------------------------------------

    def _pulled(self, dst: int, arg: int, g: Any, *, is_local: bool) -> Any:
        try:
            with torch.enable_grad():
                operands = self.operands(dst, [arg])
                if not operands[arg].requires_grad:
                    return None
                results = self.called(dst, operands)
            seeds = self._seeds(dst, results, g)
            pairs = [(y, seed) for y, seed in zip(results, seeds, strict=True) if seed is not None and y.requires_grad]
            if not pairs:
                return None
            ys, gs = zip(*pairs, strict=True)
            (found,) = torch.autograd.grad(ys, [operands[arg]], gs, allow_unused=True)
        except (GraphError, RuntimeError):
            return None
        if found is not None and is_local and found.shape != results[0].shape:
            return None  # an operand that was broadcast: the sum is not the derivative
        return number(found)

    def _seeds(self, dst: int, results: Sequence[Any], g: Any) -> list[Any]:
        """Return the gradient of every result."""
        if g is not None and len(results) == 1:
            return [_like(g, results[0])]
        taken = self.results(dst)
        found: list[Any] = [None] * len(results)
        for index, node in taken.items():
            if index < len(found) and self._grads[node] is not None:
                found[index] = _like(self._grads[node], results[index])
        if g is not None and not taken:
            found[0] = _like(g, results[0])
        return found

    def _number_of_uses(self, src: int) -> int:
        if self._uses is None:
            self._uses = [0] * len(self._graph)
            for used, _, _ in self._graph.edges:
                self._uses[used] += 1
        return self._uses[src]


def _like(g: Any, y: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(np.array(g)).to(y.dtype).expand(y.shape)


@contextlib.contextmanager
def _undisturbed(random: Any) -> Iterator[None]:
    """Call something without changing the random numbers of the program; with those it had then, if they are known."""
    with torch.random.fork_rng(devices=[]), torch._C.DisableTorchFunction():
        if random is not None:
            torch.set_rng_state(random)
        yield
