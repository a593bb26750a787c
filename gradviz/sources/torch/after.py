"""After the fact: from a result of PyTorch alone to its graph, its values and the gradient of every node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from gradviz.errors import GradvizTypeError
from gradviz.graphs import Frame
from gradviz.sources import naming
from gradviz.sources.torch.framing import Structure, frame_of, structure_of
from gradviz.sources.torch.gradients import differentiate
from gradviz.sources.torch.replay import replay
from gradviz.sources.torch.saved import FREED
from gradviz.sources.torch.walking import Spot, Walk

__all__ = ["frame_after", "structure_after", "walk_of"]

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
    walk = walk_of(x)
    found = Found(walk)
    _work_out(walk, found)
    return walk, _structure(walk, found, params)


def frame_after(x: Any, params: Mapping[str, Any] | None) -> Frame:
    """Return the frame of a result; the program finds its graph, its ``.grad`` and its random numbers as they were."""
    walk = walk_of(x)
    found = Found(walk)
    values = _work_out(walk, found)
    if is_spent(walk):
        gradients = _gradients_left(walk)
    else:
        gradients = differentiate(walk, [*found.tensors, *(spot.tensor for spot in walk.spots if spot.tensor is not None)])
    made = _structure(walk, found, params)
    meta = {"source": "torch", "how": "after the fact", "values": values, "gradients": gradients}
    frame = frame_of(walk.spots, made, meta=meta)
    for spot in walk.spots:  # the frame must not keep the program's graph alive
        spot.key = spot.tensor = spot.value = spot.grad = None
    return frame


def is_spent(walk: Walk) -> bool:
    """Tell whether a backward pass has freed all that was kept."""
    keeping = [kept for kept in walk.kept.values() if kept.tensors or kept.troubles]
    return bool(keeping) and all(FREED in kept.troubles for kept in keeping)


def _work_out(walk: Walk, found: Found) -> str:
    """Give every spot the value that is known or can be worked out, and say how many are."""
    for t in found.tensors:
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


class Found:
    """The tensors of this graph that the callers hold in variables, and under which names."""

    def __init__(self, walk: Walk) -> None:
        self.names: dict[Any, str] = {}
        self.tensors: list[torch.Tensor] = []
        for variables in naming.held():
            for value, name in _tensors(variables):
                key = walk.key_of(value)
                if key in walk.places:
                    self.names.setdefault(key, name)
                    self.tensors.append(value)


def _tensors(variables: Iterator[tuple[Any, str]]) -> Iterator[tuple[torch.Tensor, str]]:
    """Yield the tensors among what variables hold, and those that modules have as attributes."""
    for value, name in variables:
        kind = type(value)
        if issubclass(kind, torch.Tensor):
            yield value, name
        elif issubclass(kind, torch.nn.Module):
            for path, module in value.named_modules():
                for attribute, inner in list(vars(module).items()):
                    if isinstance(inner, torch.Tensor):
                        yield inner, ".".join(filter(None, (name, path, attribute)))


def _structure(walk: Walk, found: Found, params: Mapping[str, Any] | None) -> Structure:
    given = {walk.key_of(t): str(name) for name, t in (params or {}).items() if isinstance(t, torch.Tensor)}
    for spot in walk.spots:
        spot.name = given.get(spot.key) or found.names.get(spot.key)
    paths = {
        walk.key_of(t): tuple(str(name).split(".")[:-1])
        for name, t in (params or {}).items()
        if isinstance(t, torch.nn.Parameter)
    }
    _scope(walk.spots, paths)
    return structure_of(walk.spots, walk.outputs)


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
