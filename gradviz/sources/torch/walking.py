"""From a result backwards through its autograd nodes, without recursion: one call for everything it was made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

import torch

from gradviz.sources.torch.backward_nodes import Operand, Rule, rule_of
from gradviz.sources.torch.calls import SLOT, Call
from gradviz.sources.torch.numbers import dtype_name
from gradviz.sources.torch.saved import Kept, read, wrapped_number

__all__ = ["Spot", "Walk", "op_name"]

Key = Any  # of a value: (node, number of its result), or the id of a leaf
BACKWARD_NAME = re.compile(r"Backwards?\d*$")
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])")
ONE_BY_DEFAULT = frozenset(("alpha", "beta", "step", "input_scale"))
OFF_BY_DEFAULT = frozenset(("keepdim", "ceil_mode"))


class Spot(Call):
    """A call that was found after the fact.

    ``tensor`` has its value, if any tensor of the program has; ``key`` says whose value it is; ``rule`` is the name of
    the rule by which it can be called again; ``saved`` are the places of the operands that were kept for backward, and
    ``"y"`` for the result; ``number`` is what a node has kept as a number.
    """

    __slots__ = ("key", "number", "rule", "saved", "tensor")

    def __init__(self, op: str, kind: str = "op", inputs: Sequence[int] = (), **known: Any) -> None:
        super().__init__(op, kind, inputs, **known)
        self.key: Key = None
        self.tensor: Any = None
        self.number: Any = None
        self.rule = ""
        self.saved: tuple[int | str, ...] = ()


class Walk:
    """Everything that some results were made of: ``spots`` in order, the nodes behind them and what these have kept."""

    def __init__(self, roots: Sequence[torch.Tensor]) -> None:
        self.roots = roots
        self.spots: list[Spot] = []
        self.places: dict[Key, int] = {}
        self.edges: dict[Any, Sequence[tuple[Any, int]]] = {}
        self.kept: dict[Any, Kept] = {}
        self.accumulators: dict[int, Any] = {}  # of leaves, by their ids, the nodes at which their gradient arrives
        self._used: dict[Any, set[int]] = {}
        for node in self._ordered():
            self._enter(node)
        self.outputs = [self._root(t) for t in roots]
        self._match()

    @property
    def nodes(self) -> Sequence[Any]:
        """The autograd nodes of ops, in order."""
        return list(self.kept)

    def results(self, node: Any) -> Sequence[int]:
        """Return which results of a node are used."""
        return sorted(self._used[node])

    def key_of(self, t: torch.Tensor) -> Key:
        """Return what the value of a tensor is known by."""
        node = t.grad_fn
        return id(t) if node is None else (node, t.output_nr)

    # -- the nodes -----------------------------------------------------------------------------

    def _ordered(self) -> list[Any]:
        """Return the nodes of ops in the order they were made, or in any order in which operands come first."""
        starts = [t.grad_fn for t in self.roots if t.grad_fn is not None]
        for t in self.roots:
            if t.grad_fn is not None:
                self._used.setdefault(t.grad_fn, set()).add(t.output_nr)
        ahead = list(starts)
        while ahead:
            node = ahead.pop()
            if node in self.edges or isinstance(node, LEAF):
                continue
            self.edges[node] = node.next_functions
            for operand, nr in self.edges[node]:
                if operand is not None:
                    self._used.setdefault(operand, set()).add(nr)
                    ahead.append(operand)
        numbered = {node: node._sequence_nr() for node in self.edges}
        is_topological = all(
            operand is None or operand not in numbered or numbered[operand] < numbered[node]
            for node, edges in self.edges.items()
            for operand, _ in edges
        )
        return sorted(numbered, key=numbered.__getitem__) if is_topological else self._operands_first(starts)

    def _operands_first(self, starts: Sequence[Any]) -> list[Any]:
        found: dict[Any, None] = {}
        ahead = [(node, False) for node in reversed(starts)]
        while ahead:
            node, is_done = ahead.pop()
            if node in found or node not in self.edges:
                continue
            if is_done:
                found[node] = None
                continue
            ahead.append((node, True))
            ahead += [(operand, False) for operand, _ in reversed(self.edges[node]) if operand is not None]
        return list(found)

    # -- from nodes to calls -------------------------------------------------------------------

    def _add(self, key: Key, spot: Spot) -> int:
        spot.key = key
        self.spots.append(spot)
        self.places[key] = len(self.spots) - 1
        return len(self.spots) - 1

    def leaf(self, t: torch.Tensor) -> int:
        """Return the place of a leaf: a parameter if it requires a gradient, a number of an expression, an input."""
        if id(t) in self.places:
            return self.places[id(t)]
        number = wrapped_number(t)
        kind = "param" if t.requires_grad else "input" if number is None else "const"
        spot = Spot(kind, kind, shape=tuple(t.shape), dtype=dtype_name(t))
        spot.tensor = t
        return self._add(id(t), spot)

    def _constant(self, value: Any) -> int:
        """Return the place of a number that a node has kept, or of an operand that it has not (None)."""
        spot = Spot("const", "const", shape=(), dtype="float32")
        if value is not None:
            spot.number = value
            spot.tensor = torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None)
            spot.dtype = dtype_name(spot.tensor)
        return self._add((len(self.spots), "const"), spot)

    def _operand(self, edge: tuple[Any, int]) -> int:
        node, nr = edge
        if not isinstance(node, LEAF):
            return self.places[node, nr]
        leaf = node.variable
        self.accumulators[id(leaf)] = node
        return self.leaf(leaf)

    def _root(self, t: torch.Tensor) -> int:
        return self.leaf(t) if t.grad_fn is None else self.places[t.grad_fn, t.output_nr]

    def _enter(self, node: Any) -> None:
        """Add the call of one node, its leaves before it and its results behind it."""
        kept = self.kept[node] = read(node)
        rule = rule_of(node.name())
        results = node._input_metadata
        shape, dtype = _look(results, 0)
        spot = Spot(rule.op if rule else op_name(node.name()), shape=shape, dtype=dtype)
        if rule is None or not rule.takes(self.edges[node]):
            spot.inputs = [self._operand(edge) for edge in self.edges[node] if edge[0] is not None]
            spot.kwargs = kept.numbers()
        else:
            Filling(self, spot, rule, kept).fill(self.edges[node])
        used = self.results(node)
        if used == [0]:
            self._add((node, 0), spot)
            return
        place = self._add((node, "all"), spot)
        for nr in used:
            shape, dtype = _look(results, nr)
            part = Spot("getitem", inputs=[place], shape=shape, dtype=dtype)
            part.index = nr
            self._add((node, nr), part)

    # -- whose values were kept ----------------------------------------------------------------

    def _match(self) -> None:
        """Give every spot the tensor with its value that some node has kept."""
        for t in self.roots:
            self.has(t)
        for node, kept in self.kept.items():
            keys = {self.has(t) for t in _tensors(kept)}
            spot = self.spots[self.places.get((node, "all"), self.places.get((node, 0), -1))]
            if keys:
                places: list[int | str] = [i for i, src in enumerate(spot.inputs) if self.spots[src].key in keys]
                spot.saved = (*places, *(["y"] if any((node, nr) in keys for nr in self._used[node]) else []))

    def has(self, t: torch.Tensor) -> Key:
        """Note that a tensor has the value of a spot, and return what the value is known by."""
        key = self.key_of(t)
        place = self.places.get(key)
        if place is not None and self.spots[place].tensor is None:
            self.spots[place].tensor = t
        return key


class Filling:
    """Fills in one call by the rule of its node: operands, the function and what else it was given."""

    def __init__(self, walk: Walk, spot: Spot, rule: Rule, kept: Kept) -> None:
        self.walk = walk
        self.spot = spot
        self.rule = rule
        self.kept = kept
        self.inputs: list[int] = []
        self.hidden: dict[str, Any] = {}
        self.is_known = True  # whether nothing is missing that calling it again needs

    def fill(self, edges: Sequence[tuple[Any, int]]) -> None:
        """Set inputs, arguments, keywords and function of the call."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        left = iter(edges)
        for operand in self.rule.operands:
            found = self._filled(operand, left)
            if operand.is_hidden:
                self.hidden[operand.name] = found
            elif operand.is_keyword:
                kwargs[operand.name] = found
            else:
                args.append(found)
        self.spot.inputs = self.inputs
        self.spot.args = args
        self.spot.kwargs = kwargs | self._extras()
        if self.is_known:
            func: Callable[..., Any] = self.rule.func
            self.spot.func = partial(func, **self.hidden) if self.hidden else func
            self.spot.rule = self.kept.node.name()

    def _filled(self, operand: Operand, left: Iterator[tuple[Any, int]]) -> Any:
        tensor = self.kept.tensors.get(operand.name)
        if operand.is_list:
            return self._kept_list(tensor) if operand.is_saved else self._all_left(left)
        if operand.is_hidden:
            return tensor
        edge = NOTHING if operand.is_saved or operand.is_number else next(left)
        if edge[0] is not None:
            self.inputs.append(self.walk._operand(edge))
        elif isinstance(tensor, torch.Tensor):
            self.inputs.append(self.walk.leaf(tensor))
        elif operand.is_optional and self._is_absent(operand):
            return None
        else:
            self._constant(self.kept.number(operand.name) if operand.is_number else None)
        return SLOT

    def _all_left(self, left: Iterator[tuple[Any, int]]) -> list[Any]:
        """Fill in the operands of `cat`."""
        found = []
        for edge in left:
            if edge[0] is None:
                self._constant(None)
            else:
                self.inputs.append(self.walk._operand(edge))
            found.append(SLOT)
        return found

    def _kept_list(self, tensors: Any) -> list[Any]:
        """Fill in the index tensors of a selection, where None is a whole axis."""
        if tensors is None:
            self.is_known = False
            return []
        self.inputs += [self.walk.leaf(t) for t in tensors if t is not None]
        return [None if t is None else SLOT for t in tensors]

    def _constant(self, value: Any) -> None:
        self.inputs.append(self.walk._constant(value))
        self.is_known = self.is_known and value is not None

    def _is_absent(self, operand: Operand) -> bool:
        """Tell whether an operand was left out, and is not only unknown."""
        name = operand.evidence or operand.name
        if name in self.kept.tensors:
            return self.kept.tensors[name] is None
        return hasattr(self.kept.node, "_saved_" + name) and self.kept.number(name) in {None, (0,)}

    def _extras(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, given in self.rule.extras:
            if given == "@shape":
                found[name] = self.spot.shape
            elif given == "@plane":
                found[name] = self.spot.shape[-2:]
            elif given == "@dtype":
                if self.inputs and self.walk.spots[self.inputs[0]].dtype != self.spot.dtype:
                    found[name] = getattr(torch, self.spot.dtype)
            else:
                value = self.kept.number(given)
                is_default = (name in ONE_BY_DEFAULT and value == 1) or (name in OFF_BY_DEFAULT and not value)
                if not is_default:
                    found[name] = value
        return found


LEAF = torch._C._functions.AccumulateGrad
NOTHING: tuple[Any, int] = (None, 0)


@lru_cache(maxsize=4096)
def op_name(node: str) -> str:
    """Return the name of the op of an autograd node.

    >>> op_name("LogSoftmaxBackward0"), op_name("torch::autograd::CopySlices"), op_name("MyCubeBackward")
    ('log_softmax', 'copy_slices', 'my_cube')
    """
    name = BACKWARD_NAME.sub("", node.rpartition("::")[2])
    return CAMEL.sub("_", name).lower() or "op"


def _tensors(kept: Kept) -> Iterator[torch.Tensor]:
    for found in kept.tensors.values():
        for t in found if isinstance(found, tuple | list) else (found,):
            if isinstance(t, torch.Tensor):
                yield t


def _look(results: Sequence[Any], nr: int) -> tuple[tuple[int, ...], str]:
    """Return shape and dtype of a result, as the node knows them."""
    if nr >= len(results):
        return (), "float32"
    try:
        return tuple(results[nr].shape), str(results[nr].dtype)[6:]
    except RuntimeError:  # a nested tensor has no shape
        return (), str(results[nr].dtype)[6:]
