"""Where a NaN or an infinity is born: the op, the phase, the elements, and the operands there.

Values are followed from the result back to where they were made, gradients from the parameters up to the op that sent
them, element by element. What is not finite because an operand is not has only passed it on; so has 0 times an
infinity, whose birth is where the infinity comes from. A gradient may be poisoned by a value that the result does
not show (``where`` chose the other branch): then the birth is the birth of that value. Of several births the first in
the order of events counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradviz.graphs import Frame, Node
from gradviz.rules.elements import Mask, Numbers, first_element

__all__ = ["BACKWARD", "FORWARD", "Origin", "first_made", "origin"]

FORWARD, BACKWARD = "forward", "backward"
THERE: Mask = np.ones((), bool)
Test = Callable[[Any], Any]


@dataclass(frozen=True)
class Origin:
    """Where something that is not finite comes from, within one iteration.

    ``index`` is the first element of the node's value (in the backward phase of what is sent to argument ``arg``, or,
    without one, of the sum of what arrives), ``elements`` how many there are of ``size``, ``operands`` the numbers
    there by name, ``made`` what came out. ``through`` are the nodes it went through until it was noticed.
    ``is_masked``: the result does not show it, but a gradient does.
    """

    node: Node
    phase: str
    index: tuple[int, ...]
    operands: Mapping[str, Any] = field(default_factory=dict)
    made: Any = float("nan")
    arg: int | None = None
    through: tuple[int, ...] = ()
    is_masked: bool = False
    elements: int = 1
    size: int = 1


def origin(frame: Frame, kind: str | None = None) -> Origin | None:
    """Return where the first NaN (``"nan"``), infinity (``"inf"``) or either that does harm is born; None if none does.

    Harm is done where the result, a parameter or the gradient of one is not finite. Infinities that are there on
    purpose, constants that hold nothing but zeros and infinities (a mask before a softmax), are not born; the
    op that makes a NaN of them is where that is born. None as well if the values on the way are not known.

    >>> import gradviz, numpy as np
    >>> x = gradviz.Tensor([4.0, 0.0], name="x")
    >>> loss = np.sum(np.sqrt(x))
    >>> with np.errstate(divide="ignore"):
    ...     loss.backward()
    >>> found = origin(gradviz.frame(loss))
    >>> found.node.op, found.phase, found.index, found.operands["x"]
    ('sqrt', 'backward', (1,), 0.0)
    """
    tests: dict[str | None, Test] = {"nan": np.isnan, "inf": np.isinf, None: _bad}
    with np.errstate(all="ignore"):
        return _Search(Numbers(frame), tests[kind]).first()


def first_made(frame: Frame, test: Test) -> Origin | None:
    """Return the first op, harmful or not, that makes such a number of finite operands.

    >>> import gradviz, numpy as np
    >>> x = gradviz.Tensor([4.0, 0.0], name="x")
    >>> with np.errstate(divide="ignore"):
    ...     first_made(gradviz.frame(np.exp(-1 / x)), np.isinf).node.op
    'div'
    """
    numbers = Numbers(frame)
    with np.errstate(all="ignore"):
        for node in frame.graph.nodes:
            known = all(frame.values[src] is not None for src in node.inputs)
            if node.kind == "op" and known and not any(map(numbers.is_bad, node.inputs)) and numbers.is_bad(node.id):
                mask = numbers.mask(node.id, test)
                if mask.any():
                    return _born(numbers, node, mask, ())
    return None


def _bad(x: Any) -> Any:
    return ~np.isfinite(x)


def _born(numbers: Numbers, node: Node, mask: Mask, through: tuple[int, ...], *, is_masked: bool = False) -> Origin:
    """Return a birth in the value of a node."""
    value = np.asarray(numbers.frame.values[node.id])
    index = first_element(mask & np.isnan(value) if (mask & np.isnan(value)).any() else mask)
    operands = dict(numbers.operands(node, index))
    made = value[index].item()
    return Origin(
        node, FORWARD, index, operands, made, None, through, is_masked, int(np.count_nonzero(mask)), mask.size
    )


class _Search:
    """One search: what was followed, from where, and what was found to be born."""

    def __init__(self, numbers: Numbers, test: Test) -> None:
        self.numbers = numbers
        self.frame = numbers.frame
        self.nodes = numbers.frame.graph.nodes
        self.test = test
        self.reached_from: dict[int, int | None] = {}  # a value, and who was computed from it
        self.sent_from: dict[int, int | None] = {}  # a gradient, and whose it became
        self.meant = numbers.meant()

    def first(self) -> Origin | None:
        """Return the first birth in the order of events."""
        outputs = {i: self.numbers.mask(i, self.test) for i in self.frame.graph.outputs}
        params = [node.id for node in self.nodes if node.kind == "param"]
        shown = self._values(outputs | {i: self.numbers.mask(i, self.test) for i in params})
        if shown and not any(self.numbers.is_bad(i) and i not in self.meant for i in range(min(shown))):
            return self._forward(min(shown), shown[min(shown)], is_masked=False)
        poisons, rules = self._gradients({i: self.numbers.grad_mask(i, self.test) for i in params})
        hidden = self._values(poisons)
        found = min([*shown, *hidden], default=None)
        if found is not None:
            is_masked = found not in shown and not any(map(self.numbers.is_bad, self.frame.graph.outputs))
            return self._forward(found, {**hidden, **shown}[found], is_masked=is_masked)
        return self._backward(*max(rules, key=lambda rule: rule[0])) if rules else None

    # -- values ------------------------------------------------------------------------------------

    def _values(self, starts: Mapping[int, Mask]) -> dict[int, Mask]:
        """Follow values from there back, and return what was born, by node, with the elements."""
        waiting = {i: mask for i, mask in starts.items() if mask.any()}
        for i in waiting:
            self.reached_from.setdefault(i, None)
        born: dict[int, Mask] = {}
        for id in range(max(waiting, default=-1), -1, -1):
            mask = waiting.pop(id, None)
            if mask is None:
                continue
            further = self._operands(id, mask)
            for src, there in further.items():
                waiting[src] = waiting[src] | there if src in waiting else there
                self.reached_from.setdefault(src, id)
            if not further and self._is_known(id):
                born[id] = mask
        return born

    def _operands(self, id: int, mask: Mask) -> dict[int, Mask]:
        """Return the operands that these elements of a value come from: of a NaN those that are NaN, if there are."""
        if self._is_of_single_numbers(id):
            return self._single_operands(id)
        found: dict[int, Mask] = {}
        value = np.asarray(self.frame.values[id])
        bad = [arg for arg, src in enumerate(self.nodes[id].inputs) if self._counts(src, id)]
        needed = {arg: self.numbers.needed(id, arg, mask) & self.numbers.mask(self._src(id, arg), _bad) for arg in bad}
        nans = {arg: there & self.numbers.mask(self._src(id, arg), np.isnan) for arg, there in needed.items()}
        if np.isnan(value[mask]).any() and any(there.any() for there in nans.values()):
            rest = mask & ~np.isnan(value)
            needed = {arg: there | self._alike(id, arg, rest) for arg, there in nans.items()}
        for arg, there in needed.items():
            if there.any():
                src = self._src(id, arg)
                found[src] = found[src] | there if src in found else there
        return found

    def _is_of_single_numbers(self, id: int) -> bool:
        values = self.frame.values
        return self.nodes[id].op != "where" and all(isinstance(values[i], float) for i in (id, *self.nodes[id].inputs))

    def _single_operands(self, id: int) -> dict[int, Mask]:
        """Return the same where everything is a single number, and no element has to be found."""
        values: Any = self.frame.values
        bad = [src for src in self.nodes[id].inputs if self._counts(src, id)]
        nans = [src for src in bad if math.isnan(values[src])] if math.isnan(values[id]) else []
        return dict.fromkeys(nans or bad, THERE)

    def _alike(self, id: int, arg: int, mask: Mask) -> Mask:
        """Return the elements of an operand that infinite elements of a value come from."""
        src = self._src(id, arg)
        return self.numbers.needed(id, arg, mask) & self.numbers.mask(src, np.isinf)

    def _src(self, id: int, arg: int) -> int:
        return self.nodes[id].inputs[arg]

    def _counts(self, src: int, id: int) -> bool:
        """Tell whether an operand is not finite, and not so on purpose (unless all is on purpose)."""
        return self.numbers.is_bad(src) and (src not in self.meant or id in self.meant)

    def _is_known(self, id: int) -> bool:
        return all(self.frame.values[src] is not None for src in self.nodes[id].inputs)

    def _forward(self, id: int, mask: Mask, *, is_masked: bool) -> Origin:
        return _born(self.numbers, self.nodes[id], mask, tuple(_chain(self.reached_from, id)), is_masked=is_masked)

    # -- gradients ---------------------------------------------------------------------------------

    def _gradients(self, starts: Mapping[int, Mask]) -> tuple[dict[int, Mask], list[tuple[int, int | None, int, Mask]]]:
        """Follow gradients from there up to the result.

        Returns the values that poisoned one, by node, with the elements; and the births in rules: (the op, the
        argument, the node it was sent to, the elements), or, of a sum that overflows, (the node, None, the node, ...).
        """
        waiting = {i: mask for i, mask in starts.items() if mask.any()}
        self.sent_from |= dict.fromkeys(waiting)
        poisons: dict[int, Mask] = {}
        rules: list[tuple[int, int | None, int, Mask]] = []
        for id in range(min(waiting, default=len(self.nodes)), len(self.nodes)):
            mask = waiting.pop(id, None)
            if mask is None:
                continue
            senders = list(self._senders(id, mask))
            if not senders and self._is_traceable(id):
                rules.append((id, None, id, mask))
            for user, arg, there in senders:
                above = self._above(user, arg, there)
                if above is not None:
                    waiting[user] = waiting[user] | above if user in waiting else above
                    self.sent_from.setdefault(user, id)
                if above is None or self._is_guilty(user, arg, there):
                    blamed = self._poisons(user, arg, there)
                    for i, elements in blamed.items():
                        poisons[i] = poisons[i] | elements if i in poisons else elements
                        self.reached_from.setdefault(i, None if i == user else user)
                    if not blamed:
                        rules.append((user, arg, id, there))
        return poisons, rules

    def _senders(self, id: int, mask: Mask) -> Iterator[tuple[int, int, Mask]]:
        """Yield the ops that sent what is not finite to these elements, by which argument: NaN before infinities."""
        found = list(self._amounts(id))
        nans = [(user, arg, mask & np.isnan(amount)) for user, arg, amount in found]
        grad = np.asarray(self.frame.grads[id])
        if np.isnan(grad[mask]).any() and any(there.any() for _, _, there in nans):
            rest = mask & ~np.isnan(grad)
            kept = [(user, arg, there | (rest & _bad(amount)))
                    for (user, arg, there), (_, _, amount) in zip(nans, found, strict=True)]  # fmt: skip
        else:
            kept = [(user, arg, mask & _bad(amount)) for user, arg, amount in found]
        yield from (entry for entry in kept if entry[2].any())

    def _amounts(self, id: int) -> Iterator[tuple[int, int, Any]]:
        """Yield what every user of a node sends to it; of a frame without edges, the sum for those that may have."""
        users = [user for user in self.frame.graph.consumers(id) if self.frame.grads[user] is not None]
        if self.frame.edges is None:
            worse = [user for user in users if self.numbers.grad_mask(user, _bad).any()]
            yield from ((user, self.nodes[user].inputs.index(id), np.asarray(self.frame.grads[id]))
                        for user in worse or users)  # fmt: skip
            return
        for user in users:
            for arg, src in enumerate(self.nodes[user].inputs):
                amount = self.frame.edge_grad(id, user, arg) if src == id and self._is_told(user) else None
                if amount is not None:
                    yield user, arg, np.asarray(amount)

    def _is_told(self, id: int) -> bool:
        """Tell whether the edges of an op can be asked: those of the engine need every number of it."""
        return self.numbers.is_patient or self._is_computed(id)

    def _is_computed(self, id: int) -> bool:
        return self.frame.values[id] is not None and self._is_known(id)

    def _above(self, user: int, arg: int, there: Mask) -> Mask | None:
        """Return the elements of the sender's own gradient that are not finite and reach there; None if none do."""
        bad = self.numbers.grad_mask(user, _bad)
        reached: Mask = bad & self.numbers.influenced(user, arg, there) if bad.any() else bad
        return reached if reached.any() else None

    def _is_guilty(self, user: int, arg: int, there: Mask) -> bool:
        """Tell whether a rule would send such a number even if every gradient that came in were finite."""
        sent = self.numbers.sent_if_finite(user, arg)
        return sent is not None and bool(_bad(sent)[there].any())

    def _poisons(self, user: int, arg: int, there: Mask) -> dict[int, Mask]:
        """Return the values that make a rule send what is not finite: of the op itself or of its operands."""
        reached = self.numbers.influenced(user, arg, there)
        found: dict[int, Mask] = {}
        own = self.numbers.mask(user, _bad) & reached
        if own.any() and user not in self.meant:
            return {user: own}
        for other, src in enumerate(self.nodes[user].inputs):
            if self.numbers.is_bad(src) and src not in self.meant:
                elements = self.numbers.needed(user, other, reached) & self.numbers.mask(src, _bad)
                if elements.any():
                    found[src] = found[src] | elements if src in found else elements
        return found

    def _is_traceable(self, id: int) -> bool:
        """Tell whether it is known what every user of a node sends to it."""
        users = self.frame.graph.consumers(id)
        return self.frame.edges is not None and all(map(self._is_computed, users))

    def _backward(self, user: int, arg: int | None, src: int, mask: Mask) -> Origin:
        """Return a birth in the rule of an op, or in the sum of what arrives at a node."""
        node, frame = self.nodes[user], self.frame
        sent = None if arg is None else frame.edge_grad(src, user, arg)
        amount = np.asarray(frame.grads[src] if sent is None else sent)
        index = first_element(mask & np.isnan(amount) if (mask & np.isnan(amount)).any() else mask)
        operands = {} if arg is None else dict(self._there(node, src, arg, index))
        chain = tuple(_chain(self.sent_from, src))
        through = chain if arg is None else (src, *chain)
        size, count = mask.size, int(np.count_nonzero(mask))
        return Origin(node, BACKWARD, index, operands, amount[index].item(), arg, through, False, count, size)

    def _there(self, node: Node, src: int, arg: int, index: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
        """Yield the operand, the local derivative and the gradient that came in, at an element."""
        frame, to, value = self.frame, self.nodes[src], self.frame.values[src]
        local = frame.local(src, node.id, arg)
        for name, x in (
            (to.name, frame.values[src]),
            (f"d({node.name})/d({to.name})", local),
            (f"d/d({node.name})", frame.grads[node.id]),
        ):
            if x is not None and np.shape(x) in {() if value is None else np.shape(value), ()}:
                yield name, np.asarray(x)[index if np.shape(x) else ()].item()


def _chain(towards: Mapping[int, int | None], id: int) -> Iterator[int]:
    """Yield the nodes something went through, from its birth on."""
    at = towards.get(id)
    while at is not None:
        yield at
        at = towards.get(at)
