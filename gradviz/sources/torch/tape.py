"""What was computed since the last step: calls in order, and which of them made the tensors that are alive."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from types import CodeType
from typing import Any

import torch

from gradviz.graphs import Graph
from gradviz.sources.torch.calls import Call, with_slots_in_args
from gradviz.sources.torch.earlier import Earlier, Mark, by_sequence, copied_call
from gradviz.sources.torch.framing import needed
from gradviz.sources.torch.kinds import DISPATCH_MODES, FILLING, is_traced
from gradviz.sources.torch.measuring import Unchanged, measured
from gradviz.sources.torch.numbers import address, copied, dtype_name, shape_of

__all__ = ["Tape", "has_tensors", "is_leaf", "sinks", "version"]

UNSEEN_LIMIT = 100_000  # autograd nodes looked at to find what an unseen result was made of
BACKWARD_NAME = re.compile(r"Backward\d*$")
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

Site = tuple[CodeType | None, int]
Scope = tuple[str, ...]
Named = Callable[[torch.Tensor], tuple[str | None, Scope]]  # what a model calls a leaf, and where it belongs


class Tape:
    """The calls of one step.

    A tensor is known by its identity and its version: what was written to since it was recorded is another value.
    Values and gradients are copied, or only measured if ``unchanged`` is given. ``earlier`` is what the step before
    has left.
    """

    def __init__(self, named: Named, unchanged: Unchanged | None, earlier: Earlier | None = None) -> None:
        self.calls: list[Call] = []
        self.tensors: list[torch.Tensor | None] = []  # of each call its tensor, while the step lasts
        self.arguments: list[tuple[type, Sequence[Any], Mapping[str, Any]]] = []  # of the models that were called
        self.needs_grad = False  # whether anything that was computed here requires a gradient
        self.unseen_site: Site = (None, 0)  # where something was called last whose inside is not recorded
        self.is_passing = False  # whether a backward pass runs
        self.is_muted = False  # whether gradients that pass by belong to something else
        self.earlier = earlier
        self._named = named
        self._marks: list[Mark | None] = []  # of each call the autograd node that made its tensor
        self.keeps_values = unchanged is None
        self._unchanged = unchanged
        self._known: dict[int, tuple[torch.Tensor, int, int]] = {}  # tensor, version, place by id
        self._begun: dict[int, Call] = {}  # autograd.Functions that were called unseen, by their sequence number
        self._writers: dict[int, int] = {}  # the last call that wrote into a storage, by its address
        self._cut_off: set[int] = set()  # results of the step before that were taken for leaves, by their ids
        self._handles: list[Any] = []
        self._taken: set[int] = set()  # leaves whose gradients were taken while the backward pass runs, by their ids

    # -- operands ------------------------------------------------------------------------------

    def place_of(self, t: torch.Tensor, *, is_cut: bool = False) -> int:
        """Return the place of the call that made a tensor, entering it as a leaf if none has.

        Where no gradient goes back (``is_cut``), what the step before has computed is a leaf too.
        """
        known = self._known.get(id(t))
        if known is None or known[0] is not t or (self._cut_off and not is_cut and id(t) in self._cut_off):
            return self._entered(t, is_cut=is_cut)
        if known[1] == version(t):
            return known[2]
        return self._rewritten(t, known[2])

    def find(self, t: torch.Tensor) -> int | None:
        """Return the place of a tensor if it is on the tape as it is now."""
        known = self._known.get(id(t))
        return known[2] if known is not None and known[0] is t and known[1] == version(t) else None

    def forget(self, t: torch.Tensor) -> None:
        """Take a tensor for another leaf when it is met next."""
        self._known.pop(id(t), None)

    def forget_leaves(self, place: int) -> None:
        """Take the leaves at an address for others when they are met next: somebody may write there unseen."""
        for key, (t, _, _) in list(self._known.items()):
            if is_leaf(t) and address(t) == place:
                del self._known[key]

    def _entered(self, t: torch.Tensor, *, is_cut: bool = False) -> int:
        """Enter a tensor that nothing on the tape has made."""
        if id(t) in self._cut_off:
            self._cut_off.discard(id(t))
            self.forget(t)
        made_by = maker(t)
        if made_by is not None:
            place = None if self.earlier is None else self.earlier.place_of(t, version(t))
            if place is not None and is_cut:
                self._cut_off.add(id(t))
                return self._add(Call("input", "input"), t, None)
            if place is not None:
                return self._continued(t, place, made_by)
            begun = self._begun.get(made_by._sequence_nr()) if hasattr(type(made_by), "_forward_cls") else None
            if begun is not None:
                return self._of_function(begun, t, made_by)
            call = Call(op_of(made_by), inputs=self._sources(made_by), site=self.unseen_site)
            return self._add(call, t, made_by)
        name, scope = self._named(t)
        kind = "param" if t.requires_grad else "input"
        return self._add(Call(kind, kind, name=name, scope=scope), t, None)

    def _continued(self, t: torch.Tensor, last: int, made_by: Any) -> int:
        """Enter a result of the step before, and everything that it was made of there."""
        earlier: Any = self.earlier
        nodes, where = by_sequence(made_by), dict[int, int]()
        for place in needed(earlier.calls, [last]):
            call, tensor, mark = earlier.calls[place], earlier.tensor(place), earlier.marks[place]
            known = None if tensor is None else self.find(tensor)
            if known is None:
                known = len(self.calls)
                again = copied_call(call, [where[i] for i in call.inputs])
                self._append(again, tensor, mark)
                if tensor is not None:
                    self._known[id(tensor)] = tensor, version(tensor), known
                if mark is not None and mark[0] in nodes:
                    self._hear(again, nodes[mark[0]], mark[1])
            where[place] = known
        return where[last]

    def begin(self, args: Sequence[Any], scope: Scope, site: Site) -> None:
        """Take note of what an autograd.Function is called with; its result is known by the sequence number."""
        operands: list[torch.Tensor] = []
        slots = with_slots_in_args(args, operands)
        inputs = [self.place_of(t) for t in operands]
        self._begun[torch.autograd._get_sequence_nr()] = Call("", inputs=inputs, args=slots, scope=scope, site=site)

    def _of_function(self, call: Call, t: torch.Tensor, made_by: Any) -> int:
        """Enter a result of an autograd.Function that was seen when it began."""
        cls = type(made_by)._forward_cls
        call.op, call.func = cls.__name__, cls.apply
        count = len(getattr(made_by, "_input_metadata", ()))
        if count < 2:
            return self._add(call, t, made_by)
        if call not in self.calls:
            call.dtype, call.shape = "", (count,)
            self._append(call, None, None)
        part = Call("getitem", inputs=(self.calls.index(call),), scope=call.scope, site=call.site)
        part.index = t.output_nr
        return self._add(part, t, made_by)

    def _rewritten(self, t: torch.Tensor, place: int) -> int:
        """Enter a tensor that was written to, through a view of it or by something that was not seen."""
        if is_leaf(t):
            self.forget(t)
            if t.requires_grad:
                return self._entered(t)
        writer = self._writers.get(address(t))
        inputs = (place,) if writer is None or writer == place else (place, writer)
        return self._add(Call("update", inputs=inputs, site=self.calls[inputs[-1]].site), t, maker(t))

    def _sources(self, made_by: Any) -> tuple[int, ...]:
        """Return the places that an unseen result was made of, found in its autograd graph."""
        known = {(id(fn), t.output_nr): place for t, _, place in self._known.values() if (fn := maker(t)) is not None}
        found: dict[int, None] = {}
        seen, waiting = {id(made_by)}, [made_by]
        while waiting and len(seen) < UNSEEN_LIMIT:
            for fn, nr in waiting.pop().next_functions:
                if fn is None:
                    continue
                if (id(fn), nr) in known:
                    found[known[id(fn), nr]] = None
                elif hasattr(fn, "variable"):
                    found[self.place_of(fn.variable)] = None
                elif id(fn) not in seen:
                    seen.add(id(fn))
                    waiting.append(fn)
        return tuple(sorted(found))

    # -- results -------------------------------------------------------------------------------

    def add_results(self, call: Call, out: Any, changed: Sequence[torch.Tensor]) -> None:
        """Enter what a call has returned and what it has written to."""
        updated = [
            t for t in changed if is_leaf(t) and (t.requires_grad or call.op in FILLING)
        ]  # another value of the leaf
        for t in updated:
            self.forget(t)
        if any(out is t for t in updated) or (out is None and updated):
            return
        if isinstance(out, torch.Tensor):
            self._add(call, out, maker(out))
        elif isinstance(out, tuple | list):
            self._add_several(call, out)
        elif changed:
            self._add(call, changed[0], maker(changed[0]))
        place = len(self.calls) - 1
        for t in changed:
            self._writers[address(t)] = place

    def _add_several(self, call: Call, out: Sequence[Any]) -> None:
        """Enter a call with several results, and each of them that is a tensor."""
        place = len(self.calls)
        self._append(call, None, None)
        call.dtype, call.shape = "", (len(out),)
        for index, t in enumerate(flat(out)):
            part = Call("getitem", inputs=(place,), scope=call.scope, site=call.site)
            part.index = index
            self._add(part, t, maker(t))

    def _add(self, call: Call, t: torch.Tensor, made_by: Any) -> int:
        """Enter a call with one result: what it has computed, and a hook for its gradient."""
        place = len(self.calls)
        call.shape, call.dtype = shape_of(t), dtype_name(t)
        if self._unchanged is None:
            call.value = copied(t)
        else:
            call.stats = self._unchanged.measured(t, version(t)) if call.kind == "param" else measured(t)
        self._append(call, t, None if made_by is None else (made_by._sequence_nr(), t.output_nr))
        self._known[id(t)] = t, version(t), place
        if made_by is not None:
            self._hear(call, made_by, t.output_nr)
        return place

    def _append(self, call: Call, t: torch.Tensor | None, mark: Mark | None) -> None:
        self.calls.append(call)
        self.tensors.append(t)
        self._marks.append(mark)

    def _hear(self, call: Call, made_by: Any, index: int) -> None:
        """Keep the gradient that will arrive at one of the results of an autograd node."""
        self.needs_grad = True
        self._handles.append(made_by.register_prehook(partial(self._pass, call, index)))

    # -- gradients -----------------------------------------------------------------------------

    def _pass(self, call: Call, index: int, grads: Sequence[torch.Tensor | None]) -> None:
        """Keep the gradient that arrives at the result of a call."""
        g = grads[index]
        if g is None or self.is_muted or (DISPATCH_MODES() and is_traced()):
            return
        if not self.keeps_values:
            call.grad_stats = measured(g)
        elif call.grad is None:
            call.grad = copied(g)
        else:
            call.grad = call.grad + g.detach()

    def collect(self, some: AbstractSet[int] | None = None) -> None:
        """Take the gradients of the leaves as a backward pass has left them, of ``some`` while it still runs."""
        for call, t in zip(self.calls, self.tensors, strict=True):
            if call.kind != "param" or t is None or id(t) in self._taken or (some is not None and id(t) not in some):
                continue
            if t.grad is not None:
                self.set_grad(call, t.grad)
        self._taken = set() if some is None else self._taken | some

    def parameters(self, graph: Graph, places: Sequence[int]) -> dict[str, torch.Tensor]:
        """Return the parameters of a graph, whose nodes are these calls, by name."""
        pairs = ((node, self.tensors[place]) for node, place in zip(graph.nodes, places, strict=True))
        return {node.name: t for node, t in pairs if node.kind == "param" and t is not None}

    def set_grad(self, call: Call, g: torch.Tensor) -> None:
        """Keep the gradient of a leaf."""
        if self.keeps_values:
            call.grad = copied(g)
        else:
            call.grad_stats = measured(g)

    def close(self) -> Earlier:
        """Leave nothing behind, no hook and no tensor of the program; return what the next step may go on with."""
        left = Earlier(self.calls, self.tensors, self._marks, self._known)
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._known.clear()
        self._writers.clear()
        self._begun.clear()
        self.tensors = []
        self.arguments = []
        self.earlier = None
        return left


def sinks(calls: Sequence[Call]) -> list[int]:
    """Return the places of results that nothing else was computed from.

    >>> sinks([Call("a", "input"), Call("neg", inputs=(0,)), Call("exp", inputs=(1,))])
    [2]
    """
    used = {place for call in calls for place in call.inputs}
    return [place for place, call in enumerate(calls) if call.kind == "op" and place not in used]


def maker(t: torch.Tensor) -> Any:
    """Return the autograd node that made a tensor; None for a leaf, and for a view that PyTorch forbids to ask."""
    try:
        return t.grad_fn
    except RuntimeError:  # made without gradients, of something that was written to since
        return None


def is_leaf(t: torch.Tensor) -> bool:
    """Tell whether nothing has made a tensor, as far as autograd is concerned."""
    try:
        return bool(t.is_leaf)
    except RuntimeError:  # as in `maker`
        return True


def version(t: torch.Tensor) -> int:
    """Return how often a tensor was written to; always 0 for one of inference mode, which does not count."""
    try:
        return t._version  # type: ignore[no-any-return]
    except RuntimeError:
        return 0


def has_tensors(out: Any) -> bool:
    """Tell whether a call has returned a tensor, or several results with one among them."""
    if isinstance(out, tuple | list):
        return any(isinstance(item, torch.Tensor | tuple | list) and has_tensors(item) for item in out)
    return isinstance(out, torch.Tensor)


def flat(out: Sequence[Any]) -> Iterator[torch.Tensor]:
    """Yield the tensors among several results, those of inner tuples too."""
    waiting = list(reversed(out))
    while waiting:
        item = waiting.pop()
        if isinstance(item, torch.Tensor):
            yield item
        elif isinstance(item, tuple | list):
            waiting.extend(reversed(item))


def op_of(made_by: Any) -> str:
    """Return the name of an op that was only seen by its autograd node.

    >>> op_of(torch.ones(2, requires_grad=True).sigmoid().log_softmax(0).grad_fn)
    'log_softmax'
    """
    name = BACKWARD_NAME.sub("", str(made_by.name()))
    return CAMEL.sub("_", name).lower() if "::" not in name else name.rpartition("::")[2]
