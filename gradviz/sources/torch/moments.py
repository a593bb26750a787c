"""One recorded step: its calls, the structure they have, and the frame they make."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Sequence
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import GradvizIndexError, GradvizValueError
from gradviz.graphs import Frame
from gradviz.sources.naming import held_names
from gradviz.sources.torch.calls import SLOT, Call
from gradviz.sources.torch.framing import Structure, frame_of, needed, structure_of
from gradviz.sources.torch.measuring import fetched
from gradviz.sources.torch.modules import argument_names

if TYPE_CHECKING:
    from gradviz.sources.torch.tape import Tape

__all__ = ["Kept", "Moment", "Structures"]

LOOKS = attrgetter("op", "kind", "inputs", "shape", "dtype", "scope", "site", "index", "name", "args", "kwargs")
PLAIN = (int, float, str, bool, type(None), type(SLOT))
OPERATION = Call("", "op")
NODE_BYTES = 500
STRUCTURES = 512  # that are remembered
LIMIT = 1 << 30  # bytes of steps that are kept


class Moment:
    """One step that was recorded: the calls its result was made of, in the order of the nodes of ``structure.graph``.

    ``number`` counts the steps of a capture from 0.
    """

    def __init__(self, number: int, structure: Structure, calls: Sequence[Call], *, has_values: bool) -> None:
        self.number = number
        self.structure = structure
        self.calls = [calls[place] for place in structure.places]
        self.has_values = has_values

    @cached_property
    def nbytes(self) -> int:
        """How much memory it takes, in bytes."""
        numbers = (t for call in self.calls for t in (call.value, call.grad) if t is not None)
        return NODE_BYTES * len(self.calls) + sum(int(t.numel() * t.element_size()) for t in numbers)

    @cached_property
    def _frame(self) -> Frame:
        everything = Structure(self.structure.graph, tuple(range(len(self.calls))))
        meta = {"source": "torch", "how": "recorded" if self.has_values else "only measured"}
        return frame_of(self.calls, everything, step=self.number, meta=meta)

    def frame(self, step: int | None = None) -> Frame:
        """Return the frame; ``step`` is its number if it is to be another one."""
        made = self._frame
        if step is None or step == self.number:
            return made
        return Frame(made.graph, made.values, made.grads, made.edges, step, made.meta)

    def stats(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what was measured of the values and of the gradients, a row of seven numbers for each node."""
        rows = fetched([*(call.stats for call in self.calls), *(call.grad_stats for call in self.calls)])
        return rows[: len(self.calls)], rows[len(self.calls) :]


class Kept:
    """The last steps of a capture: ``keep`` of them, or as many as fit into 1 GB.

    Raises GradvizValueError if that is none.
    """

    def __init__(self, keep: int | None) -> None:
        if keep is not None and keep < 1:
            raise GradvizValueError(f"keep={keep}", hint="give the number of steps to keep, or None: as memory allows")
        self.moments: list[Moment] = []
        self.count = 0  # of all steps there were
        self._keep = keep
        self._nbytes = 0

    def add(self, structure: Structure, calls: Sequence[Call], *, has_values: bool) -> None:
        """Keep one more step, and let go of old ones for it."""
        self.moments.append(Moment(self.count, structure, calls, has_values=has_values))
        self.count += 1
        if self._keep is not None:
            del self.moments[: -self._keep]
            return
        self._nbytes += self.moments[-1].nbytes
        while self._nbytes > LIMIT and len(self.moments) > 1:
            self._nbytes -= self.moments.pop(0).nbytes

    def moment(self, step: int) -> Moment:
        """Return a step by its number; negative numbers count from the last one."""
        number = step if step >= 0 else self.count + step
        found = next((moment for moment in self.moments if moment.number == number), None)
        if found is None:
            there = self.moments
            kept = f"kept are {there[0].number} to {there[-1].number}" if there else "nothing was recorded"
            hint = "keep more with gradviz.capture(model, keep=...)" if 0 <= number < self.count else ""
            raise GradvizIndexError(f"there is no step {step}: {kept}", hint=hint)
        return found


class Structures:
    """The structures that were met so far: steps that are alike have one graph, made once."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Structure] = {}
        self._last: tuple[Any, Structure] | None = None  # how the calls of the step before looked

    def of(self, tape: Tape, outputs: Sequence[int]) -> Structure:
        """Return the structure of what these outputs were made of.

        One that is new is named by the variables that hold its inputs at this moment.
        """
        looks = [*outputs, *map(LOOKS, tape.calls)]
        if self._last is not None and _equal(looks, self._last[0]):
            return self._last[1]
        found = self._found(tape, outputs)
        self._last = looks, found
        return found

    def _found(self, tape: Tape, outputs: Sequence[int]) -> Structure:
        places = needed(tape.calls, outputs)
        key = _key(tape.calls, places, outputs)
        found = self._known.get(key)
        if found is None:
            _name_by_variables(tape, places)
            made = structure_of(tape.calls, outputs)
            found = self._known[key] = made
            if len(self._known) > STRUCTURES:
                del self._known[next(iter(self._known))]
        if found.places != tuple(places):  # the same graph, but other calls lay between: they are left out
            found = Structure(found.graph, tuple(places))
        return found


def _equal(one: list[Any], other: list[Any]) -> bool:
    try:
        return one == other
    except (ValueError, TypeError):  # an argument that cannot be compared, such as an array
        return False


def _name_by_variables(tape: Tape, places: Sequence[int]) -> None:
    """Name what no model names by the variables of the program that hold it at this moment."""
    unnamed = {
        id(t): tape.calls[place]
        for place in places
        if not tape.calls[place].name and (t := tape.tensors[place]) is not None and tape.find(t) == place
    }
    found = held_names(set(unnamed)) if unnamed else {}
    for arguments in tape.arguments:
        for name, t in argument_names(*arguments):
            if tape.find(t) is not None and unnamed.get(id(t), OPERATION).kind != "op":
                found.setdefault(id(t), name)
    for key, name in found.items():
        unnamed[key].name = name


def _key(calls: Sequence[Call], places: Sequence[int], outputs: Sequence[int]) -> Hashable:
    """Return something that is equal for equal structures: what was called, where, on what."""
    ids = {place: i for i, place in enumerate(places)}
    found: list[Any] = [ids[place] for place in outputs]
    for place in places:
        call = calls[place]
        code, offset = call.site
        found += (call.op, call.kind, call.shape, call.dtype, call.scope, id(code), offset, call.index, call.name)
        found += [ids[i] for i in call.inputs]
        if call.kind == "op":
            found += (_plain(call.args), _plain(call.kwargs))
    return tuple(found)


def _plain(x: Any) -> Hashable:
    """Return arguments as something that can be compared."""
    if isinstance(x, PLAIN):
        return x
    if isinstance(x, tuple) and all(isinstance(item, PLAIN) for item in x):
        return x
    return repr(x) if sys.getsizeof(x) < 10_000 else type(x).__name__
