"""What it costs to watch a step of PyTorch: gradviz in its ways, beside torchviz, torchview and torchlens.

A step is the forward and the backward pass of one batch. Every block of a way is measured right after a block of
plain steps that it is compared with; before, its gradients are compared with the plain ones.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from fnmatch import fnmatch
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from types import MappingProxyType
from typing import Any

from benchmarks.harness import Effort, FrozenHeap

WARM_UP = 2  # steps before the clock runs
LONGER = 5  # times the usual block: a step of the small network varies


class Network:
    """A model with one batch."""

    name: str

    def __init__(self) -> None:
        self.torch = import_module("torch")
        self.torch.set_num_threads(1)
        self.torch.manual_seed(0)
        self.model, self.batch, self.labels = self.made(import_module("tests.torch_programs"))

    def made(self, programs: Any) -> tuple[Any, Any, Any]:
        """Return the model, its input and the labels."""
        raise NotImplementedError

    def loss(self) -> Any:
        """Run the forward pass."""
        return self.loss_of(self.batch, self.labels)

    def loss_of(self, batch: Any, labels: Any) -> Any:
        """Run the forward pass on some batch."""
        return self.torch.nn.functional.cross_entropy(self.model(batch), labels)

    def forget(self) -> None:
        """Drop the gradients."""
        self.model.zero_grad(set_to_none=True)

    def gradients(self) -> list[Any]:
        """Return a copy of the gradients of the parameters."""
        return [p.grad.clone() for p in self.model.parameters()]


class SmallMLP(Network):
    """The worst case: a step of a millisecond, all overhead."""

    name = "torch MLP"

    def made(self, programs: Any) -> tuple[Any, Any, Any]:
        """Return four layers of 128 and a head, 64 rows."""
        return programs.MLP(128, 4, 10), self.torch.randn(64, 128), self.torch.arange(64) % 10


class ResNet50(Network):
    """Twenty-five million parameters, two images of 64x64."""

    name = "torch ResNet-50 shape"

    def made(self, programs: Any) -> tuple[Any, Any, Any]:
        """Return the network with random weights."""
        return programs.ResNet(), self.torch.randn(2, 3, 64, 64), self.torch.tensor([1, 3])


NETWORKS: tuple[type[Network], ...] = (SmallMLP, ResNet50)


class Way:
    """One way to watch: what is open while steps are made, and how a step is made."""

    name = "plain, once more"
    package = "torch"
    targets: Mapping[str, float] = MappingProxyType({})

    def __init__(self, network: Network) -> None:
        self.network = network
        self.gradviz = import_module("gradviz")
        self.seen: tuple[int, int] | None = None  # how many values and gradients a look at one step shows

    def opened(self) -> AbstractContextManager[Any]:
        """Return what is open while steps are made."""
        return nullcontext()

    def step(self) -> None:
        """Make one step, watched."""
        self.network.loss().backward()

    def look(self) -> None:
        """Count what is to be seen of the last step."""

    def close(self) -> None:
        """Leave nothing behind."""

    def counted(self, values: Sequence[Any], grads: Sequence[Any]) -> None:
        """Take note of what was seen."""
        self.seen = sum(x is not None for x in values), sum(x is not None for x in grads)


class AfterTheFact(Way):
    """A Frame of the loss, made before its backward pass."""

    name = "gradviz, after the fact"
    package = "gradviz"
    targets = MappingProxyType({SmallMLP.name: 2.5, ResNet50.name: 2.5})

    def step(self) -> None:
        """Make one step with a look at its graph."""
        loss = self.network.loss()
        frame = self.gradviz.frame(loss, params=self.network.model)
        self.counted(frame.values, frame.grads)
        loss.backward()


class Recorded(Way):
    """Every value and gradient copied."""

    name = "gradviz, recorded"
    package = "gradviz"
    targets = MappingProxyType({SmallMLP.name: 2.2, ResNet50.name: 1.35})
    level = "full"

    def opened(self) -> AbstractContextManager[Any]:
        """Return a capture that keeps one step."""
        self.capture = self.gradviz.capture(self.network.model, keep=1, level=self.level)
        return self.capture

    def look(self) -> None:
        """Count the numbers of the last step."""
        frame = self.capture.frame()
        self.counted(frame.values, frame.grads)


class RecordedAndRead(Recorded):
    """Every value and gradient copied, and made a Frame at every step."""

    name = "gradviz, recorded, a Frame each step"
    targets = Way.targets

    def step(self) -> None:
        """Make one step and look at it."""
        super().step()
        self.capture.frame()


class Summaries(Recorded):
    """Seven numbers of every value and gradient."""

    name = "gradviz, summaries only"
    targets = MappingProxyType({ResNet50.name: 1.25})
    level = "stats"

    def look(self) -> None:
        """Count the rows that were measured."""
        values, grads = self.capture.moment().stats()
        self.seen = tuple(int((rows[:, 3] == rows[:, 3]).sum()) for rows in (values, grads))  # type: ignore[assignment]


class Torchviz(Way):
    """The graph of autograd nodes as DOT, without numbers."""

    name = "torchviz"
    package = "torchviz"

    def step(self) -> None:
        """Make one step with a drawing of its graph."""
        loss = self.network.loss()
        import_module("torchviz").make_dot(loss, params=dict(self.network.model.named_parameters()))
        self.seen = 0, 0
        loss.backward()


class Torchview(Way):
    """The modules and operations as DOT, by a forward pass of its own: it cannot watch that of the program."""

    name = "torchview"
    package = "torchview"

    def step(self) -> None:
        """Draw the model and make one step."""
        draw = import_module("torchview").draw_graph
        draw(self.network.model, input_data=self.network.batch, device="cpu", mode="train")
        self.seen = 0, 0
        self.network.loss().backward()


class Torchlens(Way):
    """Every value and gradient, by running the model itself."""

    name = "torchlens"
    package = "torchlens"

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        outer = self.network

        class WithLoss(network.torch.nn.Module):  # type: ignore[misc, name-defined]
            """The model and its loss, as one model."""

            def __init__(self) -> None:
                super().__init__()
                self.model = outer.model

            def forward(self, batch: Any, labels: Any) -> Any:
                """Return the loss."""
                return outer.loss_of(batch, labels)

        self.model = WithLoss()
        self.lens = import_module("torchlens")
        self.options = import_module("torchlens.options").CaptureOptions(save_grads=True, backward_ready=True)

    def step(self) -> None:
        """Trace the model and its backward pass."""
        self.trace = self.lens.trace(self.model, [self.network.batch, self.network.labels], capture=self.options)
        self.trace.log_backward(self.trace[self.trace.output_layers[0]].out)

    def look(self) -> None:
        """Count the layers that have numbers."""
        self.counted([layer.out for layer in self.trace], [layer.grad for layer in self.trace])

    def close(self) -> None:
        """Take its wrappers off PyTorch's functions, which would slow down everybody else."""
        self.trace = None
        import_module("torchlens.backends.torch.wrappers").unwrap_torch()


WAYS: tuple[type[Way], ...] = (
    AfterTheFact,
    Recorded,
    RecordedAndRead,
    Summaries,
    Way,
    Torchviz,
    Torchview,
    Torchlens,
)


@dataclass
class Watched:
    """One way to watch one network: seconds of a step in every round, plain and watched."""

    network: str
    way: str
    target: float | None
    plain: list[float] = field(default_factory=list)
    watched: list[float] = field(default_factory=list)
    status: str = "ok"
    seen: tuple[int, int] | None = None

    @property
    def ratio(self) -> float:
        """How many times longer a watched step takes."""
        return median(b / a for a, b in zip(self.plain, self.watched, strict=True)) if self.plain else math.nan


def watched(effort: Effort, pattern: str = "*", networks: Sequence[type[Network]] = NETWORKS) -> Iterator[Watched]:
    """Measure every way to watch the networks whose name matches."""
    for kind in networks:
        if fnmatch(kind.name, pattern):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the peers
                yield from raced(kind(), effort)


def raced(network: Network, effort: Effort) -> list[Watched]:
    """Measure the ways to watch one network in alternating blocks."""
    ways, racing = [kind for kind in WAYS if is_installed(kind)], []
    found = {kind: Watched(network.name, kind.name, kind.targets.get(network.name)) for kind in WAYS}
    block(Way(network), WARM_UP)
    plain = block(Way(network), WARM_UP)
    network.forget()
    network.loss().backward()
    expected = network.gradients()
    for kind, one in found.items():
        one.status = checked(kind, network, expected, one) if kind in ways else "not installed"
        if one.status == "ok":
            seconds = block(kind(network), 1)
            racing.append((kind, effort.rounds_for(seconds), steps_in(effort, seconds)))
    for turn in range(max((rounds for _, rounds, _ in racing), default=0)):
        shift = turn % len(racing)
        for kind, rounds, steps in racing[shift:] + racing[:shift]:
            if turn < rounds:
                found[kind].plain.append(block(Way(network), steps_in(effort, plain)))
                found[kind].watched.append(block(kind(network), steps))
    return list(found.values())


def steps_in(effort: Effort, seconds: float) -> int:
    """Return how many steps of so many seconds fill a block."""
    return max(1, math.ceil(LONGER * effort.block / seconds))


def checked(kind: type[Way], network: Network, expected: Sequence[Any], one: Watched) -> str:
    """Make a step in one way, count what it shows, and compare the gradients it leaves; "ok" if they are right."""
    way = kind(network)
    network.forget()
    try:
        with way.opened():
            way.step()
        way.look()
    except Exception as error:  # whatever a library fails with belongs in the table
        return type(error).__name__
    finally:
        way.close()
    one.seen = way.seen
    same: Callable[[Any, Any], bool] = network.torch.allclose
    is_right = all(same(p, q) for p, q in zip(network.gradients(), expected, strict=True))
    return "ok" if is_right else "wrong gradients"


def is_installed(kind: type[Way]) -> bool:
    """Tell whether a way can be gone here."""
    try:
        return bool(version(kind.package))
    except PackageNotFoundError:
        return False


def block(way: Way, steps: int) -> float:
    """Return the seconds a step takes in this way, the release of its graph included."""
    try:
        with way.opened():
            for _ in range(WARM_UP):
                one_step(way)
            with FrozenHeap():
                start = time.process_time()
                for _ in range(steps):
                    one_step(way)
                return (time.process_time() - start) / steps
    finally:
        way.close()


def one_step(way: Way) -> None:
    """Make one step from no gradients."""
    way.network.forget()
    way.step()


def versions() -> dict[str, str]:
    """Return the versions of what watches PyTorch here."""
    return {kind.package: version(kind.package) for kind in WAYS if is_installed(kind)}
