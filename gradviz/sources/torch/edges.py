"""What each edge of a graph of PyTorch calls contributes: the call is made again, and its own backward asked."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from gradviz.errors import GraphError
from gradviz.graphs import Graph
from gradviz.graphs.projections import is_projection, projections
from gradviz.sources.torch.calls import Call, filled, flattened
from gradviz.sources.torch.checking import checked
from gradviz.sources.torch.looks import is_elementwise
from gradviz.sources.torch.numbers import as_tensor, number

__all__ = ["CallNumbers", "is_elementwise_op"]

# ops that go element by element and that the engine has no entry for
ELEMENTWISE = frozenset(
    (
        "addcdiv", "addcmul", "alpha_dropout", "celu", "copysign", "digamma", "dropout", "erf", "erfc", "erfinv",
        "feature_alpha_dropout", "fmod", "frac", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "i0", "ldexp",
        "lerp", "lgamma", "logaddexp2", "logit", "masked_fill", "mvlgamma", "nan_to_num", "nextafter", "polygamma",
        "relu6", "rrelu", "sinc", "softshrink", "softsign", "special_entr", "sgn", "tanhshrink", "threshold", "trunc",
        "float_power", "xlogy", "elu", "gelu", "leaky_relu", "mish", "selu", "silu", "softplus", "logsigmoid",
        "hardtanh_", "half", "bfloat16", "type", "detach",
    )
)  # fmt: skip
HALVES = frozenset(("bfloat16", "float16"))


class CallNumbers:
    """Edge numbers of one frame, worked out when asked for; see `gradviz.graphs.nodes.RuleEdges`.

    The gradient that an op sends to an operand is what PyTorch itself sends when the op is called again with the
    values of the frame, on the CPU. That leaves the program and its random numbers alone.
    """

    __slots__ = ("_calls", "_grads", "_graph", "_last", "_learns", "_parts", "_uses", "_values")

    def __init__(self, graph: Graph, calls: Sequence[Call], values: Sequence[Any], grads: Sequence[Any]) -> None:
        self._graph = graph
        self._calls = calls
        self._values = values
        self._grads = grads
        self._uses: list[int] | None = None
        self._learns: list[bool] | None = None
        self._parts: Mapping[int, Mapping[int, int]] | None = None
        self._last: tuple[int, Any, Mapping[int, Any]] | None = None  # what the op asked last sends

    @property
    def calls(self) -> Sequence[Call]:
        """The call of every node."""
        return self._calls

    def grad(self, src: int, dst: int, arg: int) -> Any:
        """Return what this edge contributed to the gradient of ``src``; None if nothing flows or it is not known."""
        if self._grads[src] is None:
            return None
        is_whole = self._number_of_uses(src) == 1 and src not in self._graph.outputs
        if is_whole and self._graph.nodes[src].kind == "op":
            return self._grads[src]
        if self._grads[dst] is None and all(self._grads[i] is None for i in self._results(dst).values()):
            return None
        found = self.sent(dst, arg, self._grads[dst])
        return self._grads[src] if found is None and is_whole else found  # a leaf may have had a gradient before

    def local(self, src: int, dst: int, arg: int) -> Any:
        """Return d(dst)/d(src) by this argument, if both are scalars or the op is elementwise; None for a constant."""
        y = self._values[dst]
        if self._graph.nodes[src].kind == "const" or y is None:
            return None
        if np.shape(y) == () and np.shape(self._values[src]) == ():
            return self._pulled(dst, [arg], 1.0).get(arg)
        if not self.is_elementwise(dst):
            return None
        slope = self._pulled(dst, [arg], np.ones(np.shape(y)), spread=np.shape(y)).get(arg)
        return slope if slope is not None and slope.shape == np.shape(y) else None

    def sent(self, dst: int, arg: int, g: Any) -> Any:
        """Return what ``dst`` sends to this argument when its own gradient is ``g``; None if that is not known.

        Of an op with several results, whose gradients are read off the frame, ``g`` is None.
        """
        if self._last is None or self._last[0] != dst or self._last[1] is not g or arg not in self._last[2]:
            wanted = [i for i, src in enumerate(self._graph.nodes[dst].inputs) if i == arg or self._flows(src)]
            found = self._pulled(dst, wanted, g)
            if not found and len(wanted) > 1:  # one that is not asked for may be why
                found = self._pulled(dst, [arg], g)
            self._last = dst, g, {arg: None, **found}
        return self._last[2][arg]

    def is_elementwise(self, dst: int) -> bool:
        """Tell whether each element of the result depends on one element of each operand."""
        return is_elementwise_op(self._calls[dst].op)

    def is_registered(self, dst: int) -> bool:
        """Tell whether the rule of a node is the user's own: that of an autograd.Function."""
        func = self._calls[dst].func
        func = func.func if isinstance(func, _Result) else func
        return isinstance(getattr(func, "__self__", None), type(torch.autograd.Function))

    def having(self, grads: Sequence[Any]) -> CallNumbers:
        """Return the numbers of the same graph with other gradients, which are read when they are asked for."""
        return CallNumbers(self._graph, self._calls, self._values, grads)

    def of_results(self, graph: Graph) -> CallNumbers:
        """Return the numbers of the graph that `gradviz.graphs.projections.unpacked` has made of this one."""
        calls = list(self._calls)
        for whole, results in self._all_results().items():
            for index, i in results.items():
                calls[i] = _alone(self._calls[whole], self._calls[i], index)
        return CallNumbers(graph, calls, self._values, self._grads)

    def needed(self, dst: int, arg: int, mask: Any) -> Any:
        """Return which elements of an operand the elements of the result in ``mask`` are computed from.

        The op is asked at ordinary numbers in place of the real ones, so that neither a zero nor an infinity hides
        anything. None where that cannot be told.
        """
        found: Any = None
        for is_even in (True, False):
            reached = self._pulled(dst, [arg], np.asarray(mask, float), change=partial(_ordinary, is_even)).get(arg)
            if reached is not None:
                there = np.isnan(reached) | (np.asarray(reached) != 0)
                found = there if found is None else found | there
        return found

    def checked(
        self, dst: int, wanted: Sequence[int], rng: np.random.Generator, rtol: float, atol: float
    ) -> list[tuple[int, Any]]:
        """Return the arguments of ``wanted`` that have a derivative, each with a row: backward beside differences.

        Raises GraphError if the op cannot be called again.
        """
        with _undisturbed(None):
            return checked(lambda operands: self.called(dst, operands), self.operands(dst), wanted, rng, (rtol, atol))

    def again(self, graph: Graph, values: Mapping[int, Any]) -> tuple[list[Any], CallNumbers]:
        """Return the value of every node, computed once more with other values of some of them, and its edges.

        ``graph`` is that of the frame; the nodes with other values may have lost their inputs in it.

        Raises GraphError if something on the way cannot be computed again.
        """
        numbers, changed = list(self._values), set(values)
        found = CallNumbers(graph, self._calls, numbers, [None] * len(graph))
        for node in graph.nodes:
            if node.id in values:
                numbers[node.id] = values[node.id]
            elif node.kind == "op" and not changed.isdisjoint(node.inputs):
                changed.add(node.id)
                if not is_projection(graph, node):
                    results = found.called(node.id, found.operands(node.id))
                    places = self._results(node.id) or {0: node.id}
                    for index, i in places.items():
                        numbers[i] = number(results[index].detach())
        return numbers, found

    def called(self, dst: int, operands: Sequence[Any]) -> list[Any]:
        """Call the op of a node again with other operands and return its results: one, or several of a multi-result op.

        Raises GraphError if the op cannot be called again here, for whatever reason PyTorch gives.
        """
        call, node = self._calls[dst], self._graph.nodes[dst]
        if call.func is None:
            raise GraphError(f"{node.name!r} cannot be computed again: {call.op} is only known by name")
        try:
            return _called_as_it_was(call, operands, node.dtype)
        except Exception as error:  # a function may refuse in any way
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise GraphError(f"{node.name!r} cannot be computed again: {reason}") from error

    def operands(self, dst: int, wanted: Sequence[int] = ()) -> list[Any]:
        """Return the operands of a node as tensors; those at the places ``wanted`` require a gradient."""
        found = []
        for place, src in enumerate(self._graph.nodes[dst].inputs):
            if self._values[src] is None:
                raise GraphError(f"the value of {self._graph.nodes[src].name!r} is not known")
            t = _laid_like(self._calls[src].value, as_tensor(self._values[src], self._graph.nodes[src].dtype))
            can = t.is_floating_point() or t.is_complex()
            found.append(t.requires_grad_() if place in wanted and can else t)
        return found

    # -- working them out ----------------------------------------------------------------------

    def _pulled(
        self,
        dst: int,
        wanted: Sequence[int],
        g: Any,
        *,
        spread: Sequence[int] | None = None,
        change: Callable[[Any], Any] = lambda t: t,
    ) -> dict[int, Any]:
        """Return what is sent to these places, by place; of a constant None, and nothing where it is not known.

        With ``spread`` the operands have that shape first, ``change`` makes others of them.
        """
        try:
            with torch.inference_mode(False), torch.enable_grad(), _undisturbed(None):
                operands = [change(t) for t in self.operands(dst)]
                if spread is not None:
                    operands = [t.expand(spread).clone() for t in operands]
                asked = [i for i in wanted if operands[i].is_floating_point() or operands[i].is_complex()]
                for i in asked:
                    operands[i].requires_grad_()
                results = self.called(dst, operands)
                seeds = self._seeds(dst, results, g)
                pairs = [(y, s) for y, s in zip(results, seeds, strict=True) if s is not None and y.requires_grad]
                if not asked or not pairs:
                    return dict.fromkeys(wanted)
                ys, gs = zip(*pairs, strict=True)
                found = torch.autograd.grad(ys, [operands[i] for i in asked], gs, allow_unused=True)
        except Exception:  # a backward of one's own may fail in any way
            return {}
        return {**dict.fromkeys(wanted), **{i: number(x) for i, x in zip(asked, found, strict=True)}}

    def _seeds(self, dst: int, results: Sequence[Any], g: Any) -> list[Any]:
        """Return the gradient of every result."""
        if g is not None and len(results) == 1:
            return [_like(g, results[0])]
        taken = self._results(dst)
        found: list[Any] = [None] * len(results)
        for index, node in taken.items():
            if index < len(found) and self._grads[node] is not None:
                found[index] = _like(self._grads[node], results[index])
        if g is not None and not taken:
            found[0] = _like(g, results[0])
        return found

    def _flows(self, src: int) -> bool:
        """Tell whether a gradient goes there: it has one, or a parameter leads to it."""
        if self._learns is None:
            self._learns = []
            for node in self._graph.nodes:
                self._learns.append(node.kind == "param" or any(self._learns[i] for i in node.inputs))
        return self._learns[src] or self._grads[src] is not None

    def _all_results(self) -> Mapping[int, Mapping[int, int]]:
        """Return the nodes that are results of an op with several, by its id and their index."""
        if self._parts is None:
            known = projections(self._graph).items()
            self._parts = {whole: {self._index(i): i for i in results} for whole, results in known}
        return self._parts

    def _results(self, dst: int) -> Mapping[int, int]:
        return self._all_results().get(dst, {})

    def _index(self, i: int) -> int:
        index = self._calls[i].index
        return int(self._graph.nodes[i].attrs["index"]) if index is None else index

    def _number_of_uses(self, src: int) -> int:
        if self._uses is None:
            self._uses = [0] * len(self._graph)
            for used, _, _ in self._graph.edges:
                self._uses[used] += 1
        return self._uses[src]


def is_elementwise_op(op: str) -> bool:
    """Tell whether each element of the result depends on one element of each operand.

    >>> is_elementwise_op("mul_"), is_elementwise_op("gelu"), is_elementwise_op("softmax")
    (True, True, False)
    """
    return is_elementwise(op) or op.removesuffix("_") in ELEMENTWISE


class _Result:
    """A function with several results, of which one is wanted."""

    __slots__ = ("func", "index")

    def __init__(self, func: Callable[..., Any], index: int) -> None:
        self.func = func
        self.index = index

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return flattened(self.func(*args, **kwargs))[self.index]


def _alone(whole: Call, result: Call, index: int) -> Call:
    """Return the call of an op with several results, for one of them."""
    func = None if whole.func is None else _Result(whole.func, index)
    made = Call(whole.op, "op", whole.inputs, func=func, args=whole.args, kwargs=whole.kwargs, value=result.value)
    made.shape, made.dtype, made.random = result.shape, result.dtype, whole.random
    return made


def _laid_like(recorded: Any, t: torch.Tensor) -> torch.Tensor:
    """Return ``t`` with its elements in memory in the order they were recorded in, which random numbers follow."""
    if not isinstance(recorded, torch.Tensor) or recorded.layout is not torch.strided or recorded.is_contiguous():
        return t
    return torch.empty_strided(t.shape, recorded.stride(), dtype=t.dtype).copy_(t)


def _called_as_it_was(call: Call, operands: Sequence[Any], dtype: str) -> list[Any]:
    """Call a function with other operands; under autocast if only that gives a result of this half precision."""
    if dtype not in HALVES:
        return _called(call, operands)
    try:
        found = _called(call, operands)
    except RuntimeError:  # operands of two precisions
        return _called(call, operands, getattr(torch, dtype))
    is_other = len(found) == 1 and found[0].dtype == torch.float32
    return _called(call, operands, getattr(torch, dtype)) if is_other else found


def _called(call: Call, operands: Sequence[Any], under: Any = None) -> list[Any]:
    """Call a function with other operands, under autocast to a dtype if one is given."""
    given = iter([t.clone() for t in operands])
    args, kwargs = filled((tuple(call.args), dict(call.kwargs)), given)
    autocast: Any = torch.autocast("cpu", dtype=under or torch.bfloat16, enabled=under is not None)
    with _undisturbed(call.random), autocast:
        assert call.func is not None
        out = call.func(*args, **kwargs)
    return flattened(out) or [args[0]]  # __setitem__ returns nothing, and changes its first operand


def _ordinary(is_even: bool, t: Any) -> Any:
    """Return numbers that no op minds, all the same or all different; indices and conditions stay what they are."""
    if not t.is_floating_point():
        return t
    numbers = torch.ones(t.shape) if is_even else torch.linspace(1.0, 2.0, t.numel()).reshape(t.shape)
    return numbers.to(t.dtype)


def _like(g: Any, y: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(np.array(g)).to(device=y.device, dtype=y.dtype).expand(y.shape)


@contextlib.contextmanager
def _undisturbed(random: Any) -> Iterator[None]:
    """Call something without changing the random numbers of the program; with those it had then, if they are known."""
    with torch.random.fork_rng(devices=[]), torch._C.DisableTorchFunction(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of was seen when the program ran
        if random is not None:
            torch.set_rng_state(random)
        yield
