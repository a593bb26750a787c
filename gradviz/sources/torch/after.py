"""After the fact: from a result of PyTorch alone to its graph, its values and the gradient of every node."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

import torch

from gradviz.collecting import uncollected
from gradviz.errors import GradvizTypeError
from gradviz.graphs import Frame
from gradviz.sources.torch.edges import CallNumbers
from gradviz.sources.torch.framing import Structure, needed, structure_of
from gradviz.sources.torch.gradients import differentiate
from gradviz.sources.torch.holding import Held
from gradviz.sources.torch.numbers import numbers
from gradviz.sources.torch.replay import replay
from gradviz.sources.torch.saved import FREED
from gradviz.sources.torch.walking import Spot, Walk

__all__ = ["frame_after", "position_after", "structure_after", "walk_of"]

LATELY_LIMIT = 8  # structures that are remembered: a training loop makes the same one in every step
LATELY_SIZE = 5000  # ... of at most so many nodes
LOOKS = attrgetter(
    "op", "kind", "inputs", "shape", "dtype", "name", "scope", "origin", "saved", "index", "rule", "args"
)
_LATELY: list[tuple[list[Any], Structure]] = []

SPENT = "gone, but of leaves and of the result: backward() has freed them; call this before it, give it "
SPENT += "retain_graph=True, or record with gradviz.capture"


def walk_of(x: Any) -> Walk:
    """Return everything that a tensor, or several, were made of."""
    roots = tuple(x) if isinstance(x, tuple | list) else (x,)
    for t in roots:
        if not isinstance(t, torch.Tensor):
            raise GradvizTypeError(f"a tensor of PyTorch is needed, not {type(t).__name__}")
        if torch._C._functorch.is_functorch_wrapped_tensor(t):
            raise GradvizTypeError(
                "inside torch.func (vmap, grad) a tensor stands for many and has no graph of its own",
                hint="read the result outside of it, or record with gradviz.capture",
            )
    return Walk(roots)


def structure_after(x: Any, params: Mapping[str, Any] | None) -> tuple[Walk, Structure]:
    """Return the graph of a result as its frame has it, without a backward pass."""
    with _quietly():
        walk = walk_of(x)
        held = Held(walk)
        _work_out(walk, held)
        return walk, _structure(walk, held, params)


def frame_after(x: Any, params: Mapping[str, Any] | None) -> Frame:
    """Return the frame of a result; the program finds its graph, its ``.grad`` and its random numbers as they were."""
    with _quietly():
        return _frame(x, params)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Let no mode of the program see what is done here, and look for no garbage among the many objects it makes."""
    with uncollected(), torch._C.DisableTorchFunction():
        yield


def _frame(x: Any, params: Mapping[str, Any] | None) -> Frame:
    walk = walk_of(x)
    held = Held(walk)
    values = _work_out(walk, held)
    gradients = _gradients_left(walk) if is_spent(walk) else differentiate(walk, held.tensors)
    made = _structure(walk, held, params)
    meta = {"source": "torch", "how": "after the fact", "values": values, "gradients": gradients}
    kept = [walk.spots[place] for place in made.places]
    grads = numbers(_taken(kept, "grad"))
    numbers_of_values = numbers(_taken(kept, "value"))
    for spot in walk.spots:  # the frame must not keep the program's graph alive
        spot.key = spot.tensor = None
    edges = CallNumbers(made.graph, kept, numbers_of_values, grads)
    return Frame(made.graph, numbers_of_values, grads, edges, None, meta)


def _taken(spots: Iterable[Spot], name: str) -> Iterator[Any]:
    """Yield the values or gradients of spots and let each go: the memory of one serves for the copy of the next."""
    for spot in spots:
        t = getattr(spot, name)
        setattr(spot, name, None)
        yield t
        del t


def position_after(x: Any, t: torch.Tensor) -> int | None:
    """Return the id of the node that a tensor is in the graph of a result."""
    with _quietly():
        walk = walk_of(x)
        place = walk.places.get(walk.key_of(t))
        return None if place is None else needed(walk.spots, walk.outputs).index(place)


def is_spent(walk: Walk) -> bool:
    """Tell whether a backward pass has freed all that was kept."""
    keeping = [kept for kept in walk.kept.values() if kept.tensors or kept.troubles]
    return bool(keeping) and all(FREED in kept.troubles for kept in keeping)


def _work_out(walk: Walk, held: Held) -> str:
    """Give every spot the value that is known or can be worked out, and say how many are."""
    for t in held.tensors:
        if t._version == 0:
            walk.has(t)
    rejected = replay(walk)
    if is_spent(walk):
        return SPENT
    counts = Counter(spot.origin for spot in walk.spots if spot.kind == "op")
    said = ", ".join(f"{counts[origin]} {origin}" for origin in ("saved", "replayed", "unknown") if counts[origin])
    if rejected:
        said += "; not used, for they did not reproduce what was saved: " + ", ".join(sorted(rejected))
    return said or "saved"


def _gradients_left(walk: Walk) -> str:
    """Give leaves the ``.grad`` they have."""
    for spot in walk.spots:
        if spot.kind == "param" and spot.tensor is not None:
            spot.grad = spot.tensor.grad
    return ".grad of the parameters"


def _structure(walk: Walk, held: Held, params: Mapping[str, Any] | None) -> Structure:
    """Name everything and return the graph; that of an equal structure, if there was one lately."""
    given: dict[Any, str] = {}
    paths: dict[Any, tuple[str, ...]] = {}
    for name, t in (params or {}).items():
        if isinstance(t, torch.Tensor):
            key = walk.key_of(t)
            given[key] = str(name)
            if isinstance(t, torch.nn.Parameter):
                paths[key] = _path(str(name))
    names = {**held.names, **given}
    for spot in walk.spots:
        spot.name = names.get(spot.key)
    if paths:
        _scope(walk.spots, {walk.places[key]: path for key, path in paths.items() if key in walk.places})
    if len(walk.spots) > LATELY_SIZE:
        return structure_of(walk.spots, walk.outputs)
    form = _form(walk)
    for known, made in _LATELY:
        if known == form:
            return made
    made = structure_of(walk.spots, walk.outputs)
    _LATELY.insert(0, (form, made))
    del _LATELY[LATELY_LIMIT:]
    return made


@lru_cache(maxsize=4096)
def _path(name: str) -> tuple[str, ...]:
    """Return the modules that a parameter lies in."""
    return tuple(name.split(".")[:-1])


def _form(walk: Walk) -> list[Any]:
    """Return something that is equal for walks of equal graphs only."""
    keywords = [repr(spot.kwargs) if spot.kwargs else "" for spot in walk.spots]
    return [*walk.outputs, *map(LOOKS, walk.spots), *keywords]


def _scope(spots: Sequence[Spot], owned: dict[int, tuple[str, ...]]) -> None:
    """Give parameters the scope of their module, and that to an op all of whose parameters lie there and nowhere else.

    What is used more than once says nothing: its module may have been called twice, or share it with another.
    ``owned`` are the places of parameters with the module whose they are; their views are added.
    """
    uses = [0] * len(spots)
    for spot in spots:
        for src in spot.inputs:
            uses[src] += 1
    for i, spot in enumerate(spots):
        if i in owned:
            spot.scope = owned[i]
        elif spot.inputs:
            found = [src for src in spot.inputs if src in owned]
            if found and all(uses[src] == 1 and owned[src] == owned[found[0]] for src in found):
                spot.scope = owned[found[0]]
                if len(found) == len(spot.inputs):
                    owned[i] = spot.scope
