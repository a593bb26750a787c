"""From a result backwards through its autograd nodes, without recursion: one call for everything it was made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any

import torch

from gradviz.sources.torch.backward_nodes import Operand, Rule, rule_of
from gradviz.sources.torch.calls import NO_SITE, SLOT, Call
from gradviz.sources.torch.numbers import NAMES, ORDINARY, dtype_name, known_lengths, shape_of
from gradviz.sources.torch.saved import Kept, read, wrapped_number

__all__ = ["Spot", "Walk", "op_name"]

Key = Any  # of a value: (node, number of its result), or the id of a leaf
BACKWARD_NAME = re.compile(r"Backwards?\d*$")
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])")
USUAL = {"alpha": 1, "beta": 1, "input_scale": 1, "keepdim": False, "ceil_mode": False}


class Spot(Call):
    """A call that was found after the fact.

    ``tensor`` has its value, if any tensor of the program has; ``key`` says whose value it is; ``rule`` is the name of
    the rule by which it can be called again; ``saved`` are the places of the operands that were kept for backward, and
    ``"y"`` for the result; ``number`` is what a node has kept as a number; ``is_plain`` says that all positional
    arguments are operands and no keyword is one.
    """

    __slots__ = ("is_plain", "key", "number", "rule", "saved", "tensor")

    def __init__(  # all by itself: there are many
        self, op: str, kind: str, inputs: Sequence[int], shape: tuple[int, ...], dtype: str
    ) -> None:
        self.op = op
        self.kind = kind
        self.inputs = inputs
        self.shape = shape
        self.dtype = dtype
        self.func = self.value = self.grad = self.name = self.index = None
        self.random = self.stats = self.grad_stats = None
        self.site = NO_SITE
        self.key: Key = None
        self.tensor: Any = None
        self.number: Any = None
        self.args = self.scope = ()
        self.kwargs = NO_KEYWORDS
        self.origin = self.rule = ""
        self.saved: tuple[int | str, ...] = ()
        self.is_plain = False


class Walk:
    """Everything that some results were made of: ``spots`` in order, the nodes behind them and what these have kept.

    ``wholes`` are the places of ops with several results, each with the places of those that are used.
    """

    def __init__(self, roots: Sequence[torch.Tensor]) -> None:
        self.roots = roots
        self.spots: list[Spot] = []
        self.places: dict[Key, int] = {}
        self.edges: dict[Any, Sequence[tuple[Any, int]]] = {}
        self.kept: dict[Any, Kept] = {}
        self.wholes: dict[int, list[int]] = {}
        self.accumulators: dict[int, Any] = {}  # of leaves, by their ids, the nodes at which their gradient arrives
        self._used: dict[Any, set[int]] = {}  # which results of a node are, if not only the first
        self._unmatched: list[torch.Tensor] = []
        for node in self._ordered():
            self._enter(node)
        self.outputs = [self._root(t) for t in roots]
        for t in (*self._unmatched, *roots):
            self.has(t)

    @property
    def nodes(self) -> Sequence[Any]:
        """The autograd nodes of ops, in order."""
        return list(self.kept)

    def key_of(self, t: torch.Tensor) -> Key:
        """Return what the value of a tensor is known by."""
        node = t.grad_fn
        return id(t) if node is None else (node, t.output_nr)

    # -- the nodes -----------------------------------------------------------------------------

    def _ordered(self) -> list[Any]:
        """Return the nodes of ops in the order they were made, or in any order in which operands come first."""
        starts = [t.grad_fn for t in self.roots if t.grad_fn is not None]
        edges, used = self.edges, self._used
        for t in self.roots:
            if t.grad_fn is not None:
                used.setdefault(t.grad_fn, set()).add(t.output_nr)
        numbered: dict[Any, int] = {}
        is_topological = True
        ahead = list(starts)
        while ahead:
            node = ahead.pop()
            if node in numbered:
                continue
            number = numbered[node] = node._sequence_nr()
            edges[node] = following = node.next_functions
            for operand, nr in following:
                if operand is None or operand.__class__ is LEAF:
                    continue
                if operand in used:
                    used[operand].add(nr)
                else:
                    used[operand] = {nr}
                    ahead.append(operand)
                if operand._sequence_nr() >= number:
                    is_topological = False
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
        place = self.places.get(id(t))
        if place is not None:
            return place
        kind = "param" if t.requires_grad else "input" if wrapped_number(t) is None else "const"
        spot = Spot(kind, kind, (), shape_of(t), dtype_name(t))
        spot.tensor = t
        return self._add(id(t), spot)

    def _constant(self, value: Any) -> int:
        """Return the place of a number that a node has kept, or of an operand that it has not (None)."""
        spot = Spot("const", "const", (), (), "float32")
        if value is not None:
            spot.number = value
            spot.tensor = torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None)
            spot.dtype = dtype_name(spot.tensor)
        return self._add((len(self.spots), "const"), spot)

    def _operand(self, edge: tuple[Any, int]) -> int:
        place = self.places.get(edge)
        if place is not None:
            return place
        node = edge[0]
        leaf = node.variable
        self.accumulators[id(leaf)] = node
        return self.leaf(leaf)

    def _root(self, t: torch.Tensor) -> int:
        return self.leaf(t) if t.grad_fn is None else self.places[t.grad_fn, t.output_nr]

    def _enter(self, node: Any) -> None:
        """Add the call of one node, its leaves before it and its results behind it."""
        kept = self.kept[node] = read(node)
        name, edges = node.name(), self.edges[node]
        rule = rule_of(name)
        results = node._input_metadata
        shape, dtype = _look(results, 0)
        if rule is None or not rule.takes(edges):
            spot = Spot(rule.op if rule else op_name(name), "op", (), shape, dtype)
            spot.inputs = [self._operand(edge) for edge in edges if edge[0] is not None]
            spot.kwargs = kept.numbers()
        else:
            spot = Spot(rule.op, "op", (), shape, dtype)
            if rule.is_simple and NOTHING not in edges:
                spot.inputs = [self._operand(edge) for edge in edges]
                spot.args = SLOTS[: len(edges)]
                spot.func, spot.rule, spot.is_plain = rule.func, name, True
            else:
                Filling(self, spot, rule, kept).fill(name, edges)
            if rule.extras:
                self._give_extras(spot, rule, kept)
        used = self._used[node]
        if len(used) == 1 and 0 in used:
            self._add((node, 0), spot)
        else:
            self._add_several(node, spot, results)
        if kept.tensors:
            self._match(node, spot, kept)

    def _add_several(self, node: Any, spot: Spot, results: Sequence[Any]) -> None:
        """Add a call with several results, and those of them that are used."""
        place = self._add((node, "all"), spot)
        parts = self.wholes[place] = []
        for nr in sorted(self._used[node]):
            shape, dtype = _look(results, nr)
            part = Spot("getitem", "op", [place], shape, dtype)
            part.index = nr
            parts.append(self._add((node, nr), part))

    def _give_extras(self, spot: Spot, rule: Rule, kept: Kept) -> None:
        """Add what a function was given beside its operands, as its node has kept it."""
        found = dict(spot.kwargs) if spot.kwargs else {}
        for name, given in rule.extras:
            if given[0] != "@":
                value = kept.number(given)
                if value is not None and not (name in USUAL and value == USUAL[name]):
                    found[name] = value
            elif given == "@shape":
                found[name] = spot.shape
            elif given == "@plane":
                found[name] = spot.shape[-2:]
            elif spot.inputs and self.spots[spot.inputs[0]].dtype != spot.dtype:
                found[name] = getattr(torch, spot.dtype)
        if found:
            spot.kwargs = found

    # -- whose values were kept ----------------------------------------------------------------

    def _match(self, node: Any, spot: Spot, kept: Kept) -> None:
        """Note whose values the tensors are that a node has kept."""
        places, spots = self.places, self.spots
        found = set()
        is_own = False
        for value in kept.tensors.values():
            for t in (value,) if value.__class__ in ORDINARY else _tensors_in(value):
                source = t.grad_fn
                place = places.get(id(t) if source is None else (source, t.output_nr))
                is_own = is_own or source is node
                if place is None:
                    self._unmatched.append(t)
                    continue
                found.add(place)
                if spots[place].tensor is None:
                    spots[place].tensor = t
        saved: list[int | str] = [i for i, src in enumerate(spot.inputs) if src in found] if found else []
        if is_own:
            saved.append("y")
        if saved:
            spot.saved = tuple(saved)

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

    def fill(self, node: str, edges: Sequence[tuple[Any, int]]) -> None:
        """Set inputs, arguments, keywords and function of the call."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        left = iter(edges[self.rule.skips :] if self.rule.skips else edges)
        for operand in self.rule.operands:
            edge = next(left) if operand.is_edge and not operand.is_list else NOTHING
            if edge[0] is not None:
                self.inputs.append(self.walk._operand(edge))
                found: Any = SLOT
            elif operand.is_hidden:
                self.hidden[operand.name] = self.kept.tensors.get(operand.name)
                continue
            else:
                found = self._filled(operand, left)
            if operand.is_keyword:
                kwargs[operand.name] = found
            else:
                args.append(found)
        spot = self.spot
        spot.inputs, spot.args = self.inputs, args
        spot.kwargs = kwargs
        if self.is_known:
            func: Callable[..., Any] = self.rule.func
            spot.func = partial(func, **self.hidden) if self.hidden else func
            spot.rule = node
            spot.is_plain = len(args) == len(self.inputs) and all(given is SLOT for given in args)

    def _filled(self, operand: Operand, left: Iterator[tuple[Any, int]]) -> Any:
        """Fill in what no edge leads to."""
        tensor = self.kept.tensors.get(operand.name)
        if operand.is_list:
            return self._kept_list(tensor) if operand.is_saved else self._all_left(left)
        if isinstance(tensor, torch.Tensor):
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


LEAF = torch._C._functions.AccumulateGrad
NOTHING: tuple[Any, int] = (None, 0)
NO_KEYWORDS: Mapping[str, Any] = MappingProxyType({})
SLOTS = (SLOT,) * 99


@lru_cache(maxsize=4096)
def op_name(node: str) -> str:
    """Return the name of the op of an autograd node.

    >>> op_name("LogSoftmaxBackward0"), op_name("torch::autograd::CopySlices"), op_name("MyCubeBackward")
    ('log_softmax', 'copy_slices', 'my_cube')
    """
    name = BACKWARD_NAME.sub("", node.rpartition("::")[2])
    return CAMEL.sub("_", name).lower() or "op"


def _tensors_in(found: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in what was kept as a list, or a tensor of another class."""
    if found is not None:
        for t in found if isinstance(found, tuple | list) else (found,):
            if isinstance(t, torch.Tensor):
                yield t


def _look(results: Sequence[Any], nr: int) -> tuple[tuple[int, ...], str]:
    """Return shape and dtype of a result, as the node knows them."""
    if nr >= len(results):
        return (), "float32"
    result = results[nr]
    dtype = result.dtype
    try:
        shape = tuple(result.shape)
        for n in shape:
            if n.__class__ is not int:
                shape = known_lengths(shape)
                break
        return shape, NAMES.get(dtype) or str(dtype)[6:]
    except RuntimeError:  # a nested tensor has no shape
        return (), str(dtype)[6:]
