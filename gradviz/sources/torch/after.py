"""After the fact: from a result of PyTorch alone to its graph, its values and the gradient of every node."""

from __future__ import annotations

import contextlib
import gc
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from gradviz.errors import GradvizTypeError
from gradviz.graphs import Frame
from gradviz.sources.torch.framing import Structure, frame_of, needed, structure_of
from gradviz.sources.torch.gradients import differentiate
from gradviz.sources.torch.holding import Held
from gradviz.sources.torch.replay import replay
from gradviz.sources.torch.saved import FREED
from gradviz.sources.torch.walking import Spot, Walk

__all__ = ["frame_after", "position_after", "structure_after", "walk_of"]

LATELY_LIMIT = 8  # structures that are remembered: a training loop makes the same one in every step
LATELY_SIZE = 5000  # ... of at most so many nodes
_LATELY: dict[Any, Structure] = {}

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
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        with torch._C.DisableTorchFunction():
            yield
    finally:
        if was_enabled:
            gc.enable()


def _frame(x: Any, params: Mapping[str, Any] | None) -> Frame:
    walk = walk_of(x)
    held = Held(walk)
    values = _work_out(walk, held)
    if is_spent(walk):
        gradients = _gradients_left(walk)
    else:
        gradients = differentiate(
            walk, [*held.tensors, *(spot.tensor for spot in walk.spots if spot.tensor is not None)]
        )
    made = _structure(walk, held, params)
    meta = {"source": "torch", "how": "after the fact", "values": values, "gradients": gradients}
    frame = frame_of(walk.spots, made, meta=meta)
    for spot in walk.spots:  # the frame must not keep the program's graph alive
        spot.key = spot.tensor = spot.value = spot.grad = None
    return frame


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
                paths[key] = tuple(str(name).split(".")[:-1])
    for spot in walk.spots:
        spot.name = given.get(spot.key) or held.names.get(spot.key)
    if paths:
        _scope(walk.spots, paths)
    if len(walk.spots) > LATELY_SIZE:
        return structure_of(walk.spots, walk.outputs)
    key = _form(walk)
    if key not in _LATELY:
        while len(_LATELY) >= LATELY_LIMIT:
            _LATELY.pop(next(iter(_LATELY)), None)
        _LATELY[key] = structure_of(walk.spots, walk.outputs)
    return _LATELY[key]


def _form(walk: Walk) -> Any:
    """Return something that is equal for walks of equal graphs only."""
    spots = [
        (
            spot.op, spot.kind, *spot.inputs, spot.shape, spot.dtype, spot.name, spot.scope, spot.origin, spot.saved,
            spot.index, spot.rule, repr(spot.kwargs) if spot.kwargs else "", len(spot.args),
        )
        for spot in walk.spots
    ]  # fmt: skip
    return tuple(spots), tuple(walk.outputs)


def _scope(spots: Sequence[Spot], paths: Mapping[Any, tuple[str, ...]]) -> None:
    """Give parameters the scope of their module, and that to an op all of whose parameters lie there and nowhere else.

    What is used more than once says nothing: its module may have been called twice, or share it with another.
    """
    uses = Counter(src for spot in spots for src in spot.inputs)
    owned: dict[int, tuple[str, ...]] = {}  # parameters and their views, with the module whose they are
    for i, spot in enumerate(spots):
        if spot.key in paths:
            spot.scope = owned[i] = paths[spot.key]
            continue
        scopes = {owned[src] for src in spot.inputs if src in owned}
        if len(scopes) != 1 or any(uses[src] > 1 for src in spot.inputs if src in owned):
            continue
        (spot.scope,) = scopes
        if all(src in owned for src in spot.inputs):
            owned[i] = spot.scope
