"""Programs in PyTorch that a capture has to get right: small, deterministic, each with one thing that is hard.

``PROGRAMS`` has a function for each by its name; calling it makes a fresh `Case`. ``drive`` runs a case: as many
steps as it has, forward and backward and what comes between two steps.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

PROGRAMS: dict[str, Callable[[], Case]] = {}


@dataclass
class Case:
    """One program: ``step`` computes a loss, ``backward`` is asked of it, ``after`` comes between two steps."""

    step: Callable[[Any], Tensor]
    model: nn.Module | None = None
    inputs: dict[str, Tensor] = field(default_factory=dict)
    backward: Callable[[Tensor], Any] = Tensor.backward
    after: Callable[[], Any] = lambda: None
    steps: int = 1
    calls: Counter[str] = field(default_factory=Counter)  # what the program counted of itself
    given: dict[str, Tensor] = field(default_factory=dict)  # the gradients that backward returned, if any
    compiled: bool = False  # a compiler is at work, which may change the last bits


def drive(case: Case, watch: Callable[[], AbstractContextManager[Any]] = nullcontext) -> Iterator[Tensor]:
    """Run all the steps of a case, each forward pass under ``watch()``; yield each loss after its backward pass."""
    for _ in range(case.steps):
        with watch():
            loss = case.step(case.model)
        case.given = case.backward(loss) or {}
        yield loss
        case.after()


def program(make: Callable[[], Case]) -> Callable[[], Case]:
    """Register a program under the name of its function; it is made with the same random numbers every time."""

    def seeded() -> Case:
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of modules that PyTorch calls deprecated, or not yet finished
            return make()

    seeded.__name__ = make.__name__
    PROGRAMS[make.__name__] = seeded
    return seeded


def leaf(*shape: int, scale: float = 1.0, **how: Any) -> Tensor:
    """Return a random tensor that wants a gradient."""
    return (torch.randn(*shape, **how) * scale).requires_grad_()


# -- networks --------------------------------------------------------------------------------------


class MLP(nn.Module):
    """Linear layers with an activation between."""

    def __init__(self, width: int = 16, depth: int = 4, classes: int = 5) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.head(x)


def mlp_case(width: int = 16, batch: int = 8) -> Case:
    """Return the classifier at some width."""
    model = MLP(width)
    x, labels = torch.randn(batch, width), torch.arange(batch) % 5

    def step(model: nn.Module) -> Tensor:
        logits = model(x)
        return F.cross_entropy(logits, labels)

    return Case(step, model, {"x": x, "labels": labels})


@program
def mlp() -> Case:
    return mlp_case()


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a shortcut."""

    def __init__(self, cin: int, width: int, stride: int) -> None:
        super().__init__()
        cout = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(cin, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, cout, 1, bias=False), nn.BatchNorm2d(cout)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or cin != cout:
            self.downsample = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += identity
        return self.relu(y)


class ResNet(nn.Module):
    """A residual network of bottlenecks."""

    def __init__(self, blocks: tuple[int, ...] = (3, 4, 6, 3), width: int = 64, classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        cin, stages = width, []
        for i, count in enumerate(blocks):
            wide = width << i
            stage = [Bottleneck(cin if j == 0 else 4 * wide, wide, 2 if i and j == 0 else 1) for j in range(count)]
            stages.append(nn.Sequential(*stage))
            cin = 4 * wide
        self.layers = nn.ModuleList(stages)
        self.fc = nn.Linear(cin, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in self.layers:
            x = stage(x)
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.fc(x)


def resnet_case(blocks: tuple[int, ...], width: int, classes: int, side: int) -> Case:
    """Return the residual network at some size, on two images."""
    model = ResNet(blocks, width, classes)
    x, labels = torch.randn(2, 3, side, side), torch.tensor([1, 3])

    def step(model: nn.Module) -> Tensor:
        return F.cross_entropy(model(x), labels)

    return Case(step, model, {"x": x, "labels": labels})


@program
def resnet50() -> Case:
    return resnet_case((3, 4, 6, 3), 64, 1000, 64)


@program
def resnet_tiny() -> Case:
    return resnet_case((1, 2, 1, 1), 4, 10, 32)


class Encoder(nn.Module):
    """Token embedding, twelve layers of attention, a head."""

    def __init__(self, layers: int = 12, width: int = 16, words: int = 20) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width)
        layer = nn.TransformerEncoderLayer(width, 2, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, words)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        x = self.encoder(x)
        return self.head(x)


@program
def transformer() -> Case:
    model = Encoder()
    tokens = torch.randint(0, 20, (2, 7))

    def step(model: nn.Module) -> Tensor:
        logits = model(tokens)
        return F.cross_entropy(logits.flatten(0, 1), tokens.flatten())

    return Case(step, model, {"tokens": tokens})


class Reader(nn.Module):
    """An LSTM over a sequence, and a head on its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 6, num_layers=2, batch_first=True, dropout=0.2)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        states, (last, _) = self.lstm(x)
        return self.head(last[-1] + states.mean(1))


@program
def lstm() -> Case:
    model, x = Reader(), torch.randn(5, 7, 4)
    labels = torch.tensor([0, 1, 2, 0, 1])

    def step(model: nn.Module) -> Tensor:
        return F.cross_entropy(model(x), labels)

    return Case(step, model, {"x": x})


class UNet(nn.Module):
    """Down, down, up, up, with the way down laid beside the way up."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.bottom = nn.Conv2d(8, 8, 3, padding=1)
        self.up1 = nn.ConvTranspose2d(8, 4, 2, 2)
        self.merge1 = nn.Conv2d(12, 4, 3, padding=1)
        self.merge2 = nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = F.gelu(self.down1(x))
        second = F.silu(self.down2(F.max_pool2d(first, 2)))
        low = torch.tanh(self.bottom(F.avg_pool2d(second, 2)))
        up = torch.cat([self.up1(low), second], dim=1)
        up = F.leaky_relu(self.merge1(up))
        up = F.interpolate(up, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.merge2(torch.cat([up, first], dim=1))


@program
def unet() -> Case:
    model = UNet()
    x = torch.randn(2, 1, 8, 8)
    mask = (torch.randn(2, 1, 8, 8) > 0).float()

    def step(model: nn.Module) -> Tensor:
        return F.binary_cross_entropy_with_logits(model(x), mask)

    return Case(step, model, {"x": x, "mask": mask})


class Tied(nn.Module):
    """A decoder that is the encoder's own weight, under a second name."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 4)
        self.mix = nn.Linear(4, 4)
        self.decode = nn.Linear(4, 9, bias=False)
        self.decode.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.decode(torch.tanh(self.mix(self.embed(tokens))))


@program
def tied_weights() -> Case:
    model, tokens = Tied(), torch.tensor([1, 4, 8, 1])

    def step(model: nn.Module) -> Tensor:
        return F.cross_entropy(model(tokens), tokens)

    return Case(step, model, {"tokens": tokens})


# -- autograd.Function -----------------------------------------------------------------------------


class WrongCube(torch.autograd.Function):
    """x cubed, with a derivative that is off by a factor of two."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return g * 6 * x**2


class SinCos(torch.autograd.Function):
    """Two results and a third that has no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> tuple[Tensor, Tensor, Tensor]:
        s, c, sign = torch.sin(x * factor), torch.cos(x * factor), torch.sign(x)
        ctx.mark_non_differentiable(sign)
        ctx.save_for_backward(s, c)
        ctx.factor = factor
        return s, c, sign

    @staticmethod
    def backward(ctx: Any, gs: Tensor, gc: Tensor, _: Tensor) -> tuple[Tensor, None]:
        s, c = ctx.saved_tensors
        return (gs * c - gc * s) * ctx.factor, None


class Doubled(torch.autograd.Function):
    """Doubles its operand in place."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g * 2


@program
def wrong_backward() -> Case:
    x = leaf(5)

    def step(_: None) -> Tensor:
        y = WrongCube.apply(x * 2)
        return y.sum()

    return Case(step, None, {"x": x})


@program
def function_of_several_results() -> Case:
    x = leaf(4)

    def step(_: None) -> Tensor:
        s, c, sign = SinCos.apply(x, 3.0)
        return (s * c * sign).sum() + s.mean()

    return Case(step, None, {"x": x})


@program
def function_in_place() -> Case:
    x = leaf(4)

    def step(_: None) -> Tensor:
        y = x + 1
        z = Doubled.apply(y)
        return (y * z).sum()

    return Case(step, None, {"x": x})


# -- derivatives inside a step ---------------------------------------------------------------------


@program
def double_backward() -> Case:
    model, x = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)), leaf(4, 3)

    def step(model: nn.Module) -> Tensor:
        score = model(x).sum()
        (slope,) = torch.autograd.grad(score, x, create_graph=True)
        penalty = (slope.norm(2, dim=1) - 1).square().mean()
        return score + 10 * penalty

    return Case(step, model, {"x": x})


@program
def func_grad() -> Case:
    w, x = leaf(3), torch.randn(3)

    def energy(v: Tensor) -> Tensor:
        return (v * x).sin().sum()

    def step(_: None) -> Tensor:
        slope = torch.func.grad(energy)(w)
        return (slope * w).sum()

    return Case(step, None, {"w": w})


@program
def vmap() -> Case:
    w, x = leaf(3, 3), torch.randn(5, 3)

    def step(_: None) -> Tensor:
        y = torch.func.vmap(lambda row: torch.tanh(w @ row))(x)
        return y.square().mean()

    return Case(step, None, {"w": w})


@program
def functional_call() -> Case:
    model, x = nn.Linear(3, 2), torch.randn(4, 3)

    def step(model: nn.Module) -> Tensor:
        doubled = {name: 2 * p for name, p in model.named_parameters()}
        return torch.func.functional_call(model, doubled, (x,)).square().sum()

    return Case(step, model, {"x": x})


@program
def straight_through() -> Case:
    x = leaf(6)

    def step(_: None) -> Tensor:
        soft = torch.sigmoid(x)
        hard = soft + (soft.round() - soft).detach()
        return (hard * torch.arange(6.0)).sum()

    return Case(step, None, {"x": x})


# -- tensors that change ---------------------------------------------------------------------------


@program
def in_place() -> Case:
    x, b = leaf(3, 4), leaf(4)

    def step(_: None) -> Tensor:
        y = x * 2
        y += b
        y.mul_(1.5).add_(1)
        y = F.relu(y, inplace=True)
        z = y * y
        y.data.mul_(1)
        z.clamp_(max=3.0)
        return z.sum()

    return Case(step, None, {"x": x, "b": b})


@program
def slice_assignment() -> Case:
    x, b = leaf(3, 4), leaf(3)

    def step(_: None) -> Tensor:
        y = torch.zeros(3, 4)
        y[:, 0] = b
        y[1:, 2:] = x[1:, 2:] * 2
        y[y > 1] = 0.5
        y[0, 1] = 7
        return (y * x).sum()

    return Case(step, None, {"x": x, "b": b})


@program
def views_written_through() -> Case:
    x = leaf(4, 4)

    def step(_: None) -> Tensor:
        y = x.sin()
        top, diagonal = y[:2], y.diagonal()
        top.mul_(2)
        before = diagonal * 1
        y.view(-1)[3:5] += 1
        diagonal.copy_(torch.ones(4) * x[0])
        return (y * y).sum() + top.exp().sum() + before.sum()

    return Case(step, None, {"x": x})


@program
def unfolded_views() -> Case:
    x = leaf(6)

    def step(_: None) -> Tensor:
        windows = (x * 1).unfold(0, 3, 1)
        wide = x.as_strided((3, 2), (2, 1)).expand(2, 3, 2)
        return windows.prod(1).sum() + wide.transpose(0, 1).reshape(-1).square().sum()

    return Case(step, None, {"x": x})


@program
def written_to_out() -> Case:
    x = torch.randn(3)
    w = leaf(3)

    def step(_: None) -> Tensor:
        buffer = torch.zeros(3)
        torch.add(x, 1, out=buffer)
        y = w * buffer
        return y.sum()

    return Case(step, None, {"x": x, "w": w})


@program
def through_numpy() -> Case:
    w = leaf(3)

    def step(_: None) -> Tensor:
        scale = torch.from_numpy(np.sqrt(np.abs(w.detach().numpy())) + 1)
        y = w * scale
        return y.sum() * 2 if y.sum().item() > 0 else y.square().sum()

    return Case(step, None, {"w": w})


# -- precision, memory, compilers ------------------------------------------------------------------


@program
def autocast() -> Case:
    case = mlp_case()
    forward = case.step

    def step(model: nn.Module) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return forward(model)

    case.step = step
    return case


@program
def mixed_dtypes() -> Case:
    x, h = leaf(4, dtype=torch.float64), leaf(4, dtype=torch.float16)

    def step(_: None) -> Tensor:
        y = x * h + torch.arange(4)
        z = y.to(torch.bfloat16) * h.bfloat16()
        return z.float().sum() + y.sum().float()

    return Case(step, None, {"x": x, "h": h})


class Block(nn.Module):
    """A block that counts how often it is entered, with random numbers in it."""

    def __init__(self, calls: Counter[str]) -> None:
        super().__init__()
        self.linear, self.calls = nn.Linear(4, 4), calls

    def forward(self, x: Tensor) -> Tensor:
        self.calls["block"] += 1
        return F.dropout(torch.tanh(self.linear(x)), 0.3)


def checkpoint_case(run: Callable[[nn.Module, Tensor], Tensor]) -> Case:
    """Return a program of two blocks whose activations are computed again."""
    calls: Counter[str] = Counter()
    model = nn.Sequential(Block(calls), Block(calls))
    x = leaf(3, 4)

    def step(model: nn.Module) -> Tensor:
        return run(model, x).square().sum()

    return Case(step, model, {"x": x}, calls=calls)


def checkpointed(model: nn.Module, x: Tensor, *, use_reentrant: bool) -> Tensor:
    for block in model:
        x = checkpoint(block, x, use_reentrant=use_reentrant)
    return x


@program
def checkpoint_not_reentrant() -> Case:
    return checkpoint_case(lambda model, x: checkpointed(model, x, use_reentrant=False))


@program
def checkpoint_reentrant() -> Case:
    return checkpoint_case(lambda model, x: checkpointed(model, x, use_reentrant=True))


@program
def checkpoint_of_a_sequence() -> Case:
    return checkpoint_case(lambda model, x: checkpoint_sequential(model, 2, x * 1, use_reentrant=False))


@program
def compiled_model() -> Case:
    case = mlp_case()
    torch.compiler.reset()
    case.model, case.compiled = torch.compile(case.model, backend="eager"), True
    return case


@program
def compiled_function() -> Case:
    x = leaf(4)
    torch.compiler.reset()

    def curve(x: Tensor) -> Tensor:
        y = torch.sin(x)
        return (y * y).sum()

    compiled = torch.compile(curve)

    def step(_: None) -> Tensor:
        return compiled(x) * 2

    return Case(step, None, {"x": x}, compiled=True)


class Scripted(nn.Module):
    """A model whose middle is TorchScript."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.middle = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.Tanh()))
        self.last = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h = self.middle(h)
        return self.last(h)


@program
def scripted() -> Case:
    model, x = Scripted(), torch.randn(2, 3)
    for _ in range(3):  # until TorchScript has finished optimising, which changes the last bits
        model(x).sum().backward()
    model.zero_grad()

    def step(model: nn.Module) -> Tensor:
        return model(x).square().sum()

    return Case(step, model, {"x": x})


# -- kinds of operations ---------------------------------------------------------------------------


@program
def complex_numbers() -> Case:
    x, w = leaf(8), leaf(5, dtype=torch.complex64)

    def step(_: None) -> Tensor:
        spectrum = torch.fft.rfft(x) * w
        z = torch.view_as_real(spectrum.conj().resolve_conj()).sum() + spectrum.abs().sum()
        back = torch.fft.irfft(spectrum, n=8)
        return z + (back * x).sum() + torch.complex(x, x * 2).angle().sum()

    return Case(step, None, {"x": x, "w": w})


@program
def several_results() -> Case:
    x = leaf(4, 6)

    def step(_: None) -> Tensor:
        values, _ = x.max(dim=1)
        a, b = torch.split(x, 3, dim=1)
        first, *_, last = x.unbind(0)
        top = torch.topk(x, 2, dim=0)
        left, right = x.chunk(2)
        lowest = torch.aminmax(x)
        ordered, _ = x.sort(dim=1)
        total = values.sum() + (a * b).sum() + (first * last).sum() + top.values.prod()
        return (
            total + (left - right).sum() + lowest.min * lowest.max + ordered[:, 1].sum() + torch.var_mean(x, 0)[1].sum()
        )

    return Case(step, None, {"x": x})


@program
def decompositions() -> Case:
    x = leaf(4, 4, dtype=torch.float64)

    def step(_: None) -> Tensor:
        s = torch.linalg.svd(x)[1]
        values, vectors = torch.linalg.eigh(x @ x.T + torch.eye(4))
        q, r = torch.linalg.qr(x)
        sign, logdet = torch.linalg.slogdet(x)
        solved = torch.linalg.solve(x, torch.ones(4, dtype=torch.float64))
        return s.sum() + values.log().sum() + vectors.abs().sum() + (q @ r).sum() + sign * logdet + solved.sum()

    return Case(step, None, {"x": x})


@program
def long_chain() -> Case:
    x = leaf(2)

    def step(_: None) -> Tensor:
        y = x
        for _ in range(10_000):
            y = y * 0.999
            y = y + 0.001
        return y.sum()

    return Case(step, None, {"x": x})


@program
def selected_elements() -> Case:
    x = leaf(3, 4)
    mask, index = torch.tensor([[True, False, True, True]] * 3), torch.tensor([[0, 1], [2, 2], [3, 0]])

    def step(_: None) -> Tensor:
        y = torch.where(mask, x, torch.zeros(()))
        y = y + x.masked_fill(mask, 2.0) + x.masked_fill(~mask, float("-inf")).softmax(1)
        picked = x.gather(1, index).sum() + x[torch.tensor([0, 2, 0])].sum() + x[mask].sum() + x[..., None, 1].sum()
        spread = torch.zeros(3, 4).scatter_add(1, index, x[:, :2]) + x.index_add(0, torch.tensor([1]), x[:1])
        return y.sum() + picked + spread.square().sum() + x.index_select(1, torch.tensor([3])).sum()

    return Case(step, None, {"x": x})


@program
def einsums() -> Case:
    a, b = leaf(2, 3, 4), leaf(2, 4, 5)

    def step(_: None) -> Tensor:
        c = torch.einsum("bij,bjk->bik", a, b)
        d = torch.tensordot(a, b[0], dims=1) + torch.baddbmm(c, a, b)
        return d.sum() + torch.einsum("bij,bij->", a, a) + torch.kron(a[0], b[1][:2, :2]).sum()

    return Case(step, None, {"a": a, "b": b})


@program
def numbers_on_the_left() -> Case:
    x = leaf(3)

    def step(_: None) -> Tensor:
        y = 2 - x.abs()
        z = 1 / (y * y + 1)
        return (2**z).sum() + (3 * z).sum() - (5.0 + z).sum() + (z.detach() // 0.1).sum() + (z % 0.3).sum()

    return Case(step, None, {"x": x})


@program
def not_numbers() -> Case:
    x = torch.tensor([-1.0, 0.0, 4.0], requires_grad=True)

    def step(_: None) -> Tensor:
        y = x.log()
        z = torch.where(x > 0, y, 0 * x)
        return z.sum() + (x / 0).sum() + x.sqrt().sum()

    return Case(step, None, {"x": x})


@program
def whole_numbers_and_truths() -> Case:
    x, big = leaf(4), torch.tensor([2**40, -3])

    def step(_: None) -> Tensor:
        order = x.argsort()
        onehot = F.one_hot(order, 4)
        return (
            (onehot * x).sum() + (x > 0).sum() * x.mean() + (big // 2**38).sum() * x[0] + (onehot.bool() & True).sum()
        )

    return Case(step, None, {"x": x})


@program
def nothing_in_it() -> Case:
    x = leaf(0, 3)
    y = leaf(2, 3)

    def step(_: None) -> Tensor:
        z = torch.cat([x, y]) * 2
        return z.sum() + x.sum()

    return Case(step, None, {"x": x, "y": y})


# -- modules ---------------------------------------------------------------------------------------


def module_case(model: nn.Module, *inputs: Tensor, **more: Any) -> Case:
    """Return a program that squares what a model makes of its inputs."""

    def step(model: nn.Module) -> Tensor:
        y = model(*inputs)
        return y.square().sum()

    return Case(step, model, {f"x{i}": x for i, x in enumerate(inputs)}, **more)


@program
def dropouts() -> Case:
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.AlphaDropout(0.2), nn.Linear(8, 2), nn.RReLU())
    return module_case(model, torch.randn(3, 4))


@program
def random_inside() -> Case:
    mean, spread = leaf(3), leaf(3)

    def step(_: None) -> Tensor:
        noise = torch.randn_like(mean)
        y = mean + spread.exp() * noise
        sampled = mean * torch.normal(mean.detach(), 2.0)
        return y.square().sum() + (sampled * torch.rand(3)).sum() + torch.bernoulli(torch.sigmoid(y)).sum()

    return Case(step, None, {"mean": mean, "spread": spread})


@program
def embedding_with_padding() -> Case:
    model = nn.Embedding(6, 3, padding_idx=0)
    return module_case(model, torch.tensor([[0, 2], [5, 0]]))


@program
def embedding_renormalised() -> Case:
    model = nn.Embedding(6, 3, max_norm=1.0)
    return module_case(model, torch.tensor([1, 2, 1]))


@program
def sparse_gradients() -> Case:
    model = nn.Embedding(6, 3, sparse=True)
    return module_case(model, torch.tensor([1, 2, 1]))


@program
def batch_norm() -> Case:
    model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.GroupNorm(1, 3), nn.LayerNorm(6))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return module_case(model, torch.randn(4, 2, 8), steps=3, after=optimizer.step)


@program
def weight_norm() -> Case:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    nn.utils.parametrizations.weight_norm(model[0])
    nn.utils.parametrizations.spectral_norm(model[1])
    return module_case(model, torch.randn(5, 3))


class Skew(nn.Module):
    """A parametrization of our own."""

    def forward(self, x: Tensor) -> Tensor:
        return x.triu(1) - x.triu(1).mT


@program
def parametrized() -> Case:
    model = nn.Linear(3, 3)
    nn.utils.parametrize.register_parametrization(model, "weight", Skew())
    return module_case(model, torch.randn(2, 3))


class Twice(nn.Module):
    """One layer, used twice, and one that is known by two names."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.act = nn.Tanh()
        self.again = self.act

    def forward(self, x: Tensor) -> Tensor:
        return self.again(self.layer(self.act(self.layer(x))))


@program
def called_twice() -> Case:
    return module_case(Twice(), torch.randn(2, 3))


@program
def lazy_modules() -> Case:
    model = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyBatchNorm1d(), nn.LazyLinear(1))
    model(torch.randn(3, 5))
    return module_case(model, torch.randn(3, 5))


class Lists(nn.Module):
    """Parameters and modules in lists and dictionaries, a buffer, and a parameter nobody uses."""

    def __init__(self) -> None:
        super().__init__()
        self.scales = nn.ParameterList([torch.ones(3) * i for i in (1, 2)])
        self.named = nn.ParameterDict({"shift": torch.zeros(3)})
        self.heads = nn.ModuleDict({"a": nn.Linear(3, 1), "b": nn.Linear(3, 1)})
        self.unused = nn.Parameter(torch.ones(2))
        self.register_buffer("offset", torch.arange(3.0))

    def forward(self, x: Tensor) -> Tensor:
        for scale in self.scales:
            x = x * scale + self.named["shift"] + self.offset
        return sum(head(x) for head in self.heads.values())


@program
def parameters_in_lists() -> Case:
    return module_case(Lists(), torch.randn(2, 3))


class Attention(nn.Module):
    """Attention that returns its weights too."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y, weights = self.attention(x, x, x, need_weights=True)
        return y * weights.mean()


@program
def attention_weights() -> Case:
    return module_case(Attention(), torch.randn(2, 3, 4))


@program
def scaled_attention() -> Case:
    q, k, v = leaf(1, 2, 5, 4), leaf(1, 2, 5, 4), leaf(1, 2, 5, 4)

    def step(_: None) -> Tensor:
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return y.square().sum()

    return Case(step, None, {"q": q, "k": k, "v": v})


@program
def decoder_with_masks() -> Case:
    model = nn.Transformer(8, 2, 1, 1, 16, dropout=0.0, batch_first=True)
    mask = nn.Transformer.generate_square_subsequent_mask(4)
    x, y = torch.randn(2, 3, 8), torch.randn(2, 4, 8)

    def step(model: nn.Module) -> Tensor:
        return (model(x, y, tgt_mask=mask) * y).sum()

    return Case(step, model, {"x": x, "y": y})


@program
def ignored_labels() -> Case:
    model, x = nn.Linear(4, 3), torch.randn(5, 4)
    labels = torch.tensor([0, -100, 2, -100, 1])

    def step(model: nn.Module) -> Tensor:
        return F.cross_entropy(model(x), labels, ignore_index=-100, label_smoothing=0.1)

    return Case(step, model, {"x": x})


@program
def unrolled_cells() -> Case:
    model = nn.ModuleDict({"cell": nn.GRUCell(2, 3), "head": nn.Linear(3, 1)})
    x = torch.randn(30, 4, 2)

    def step(model: nn.Module) -> Tensor:
        h = torch.zeros(4, 3)
        for now in x:
            h = model["cell"](now, h)
        return model["head"](h).square().mean()

    return Case(step, model, {"x": x})


class Packed(nn.Module):
    """A GRU over sequences of different lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(2, 3, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 3]))
        y, _ = nn.utils.rnn.pad_packed_sequence(self.gru(packed)[0])
        return y


@program
def packed_sequences() -> Case:
    return module_case(Packed(), torch.randn(5, 2, 2))


@program
def ctc() -> Case:
    model, x = nn.Linear(3, 4), torch.randn(6, 2, 3)
    labels = torch.tensor([[1, 2], [3, 3]])

    def step(model: nn.Module) -> Tensor:
        scores = model(x).log_softmax(2)
        return F.ctc_loss(scores, labels, torch.tensor([6, 6]), torch.tensor([2, 1]))

    return Case(step, model, {"x": x})


# -- parts without gradients, hooks ----------------------------------------------------------------


@program
def frozen() -> Case:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    model[0].requires_grad_(False)
    model[4].bias.requires_grad_(False)
    return module_case(model, torch.randn(2, 3))


@program
def without_gradients() -> Case:
    x = leaf(4)

    def step(_: None) -> Tensor:
        with torch.no_grad():
            centre = x.mean() * 2
            with torch.enable_grad():
                inner = x * 3
        with torch.inference_mode():
            seen = (x * 5).max().item()
        return ((x - centre) * inner).sum() * seen + x.detach().exp().sum()

    return Case(step, None, {"x": x})


@program
def users_hooks() -> Case:
    model, x = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1)), leaf(2, 3)
    calls: Counter[str] = Counter()

    def louder(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        calls["forward"] += 1
        return out * 2

    def counted(module: nn.Module, given: Any, got: Any) -> None:
        calls["backward"] += 1

    model[0].register_forward_hook(louder)
    model[2].register_full_backward_hook(counted)
    model[2].weight.register_hook(lambda g: g * 10)
    model[0].weight.register_post_accumulate_grad_hook(lambda p: p.grad.mul_(3).numel() and None)

    def step(model: nn.Module) -> Tensor:
        h = model(x)
        y = h * 3
        y.register_hook(lambda g: g * 0.5)
        y.retain_grad()
        return (y * y).sum()

    return Case(step, model, {"x": x}, calls=calls)


# -- losses, loops ---------------------------------------------------------------------------------


@program
def backward_twice() -> Case:
    case = mlp_case()

    def backward(loss: Tensor) -> None:
        loss.backward(retain_graph=True)
        loss.backward()

    case.backward = backward
    return case


@program
def accumulation() -> Case:
    case = mlp_case()
    case.steps = 3
    return case


@program
def training_loop() -> Case:
    case = mlp_case()
    optimizer = torch.optim.AdamW(case.model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)

    def after() -> None:
        nn.utils.clip_grad_norm_(case.model.parameters(), 0.1)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()

    case.after, case.steps = after, 4
    return case


@program
def other_structure_each_step() -> Case:
    case = mlp_case()
    forward = case.step

    def step(model: nn.Module) -> Tensor:
        case.calls["step"] += 1
        loss = forward(model)
        return loss * 2 if case.calls["step"] % 2 else loss.exp()

    case.step, case.steps = step, 4
    case.after = case.model.zero_grad
    return case


@program
def loss_of_many_numbers() -> Case:
    x = leaf(3)

    def step(_: None) -> Tensor:
        return torch.tanh(x) * 2

    return Case(step, None, {"x": x}, backward=lambda y: y.backward(torch.tensor([1.0, 2.0, 3.0])))


@program
def gradient_of_some() -> Case:
    model, x = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1)), torch.randn(2, 3)

    def step(model: nn.Module) -> Tensor:
        return model(x).sum()

    return Case(step, model, {"x": x}, backward=lambda loss: loss.backward(inputs=[model[2].weight]))


@program
def two_losses() -> Case:
    body, heads = nn.Linear(3, 4), nn.ModuleList([nn.Linear(4, 1), nn.Linear(4, 1)])
    model = nn.ModuleDict({"body": body, "heads": heads})
    x = torch.randn(2, 3)

    def step(model: nn.Module) -> Tensor:
        h = torch.tanh(model["body"](x))
        first, second = (head(h).square().sum() for head in model["heads"])
        return torch.stack([first, second * 3]).sum()

    return Case(step, model, {"x": x})


@program
def adversaries() -> Case:
    """Two losses in turn, as of a GAN: the second goes back through what the first step has computed."""
    model = nn.ModuleDict(
        {"maker": nn.Linear(2, 3), "judge": nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))}
    )
    noise, real, made = torch.randn(4, 2), torch.randn(4, 3), []
    optimizers = {name: torch.optim.SGD(part.parameters(), lr=0.1) for name, part in model.items()}

    def step(model: nn.Module) -> Tensor:
        if not made:
            made.append(model["maker"](noise))
            return (model["judge"](real) - model["judge"](made[0].detach())).mean()
        return model["judge"](made.pop()).mean()

    def after() -> None:
        optimizers["judge" if made else "maker"].step()
        model.zero_grad()

    return Case(step, model, {"noise": noise}, after=after, steps=4)


@program
def carried_state() -> Case:
    """A state that is carried over with its graph: each backward pass goes through all the steps before."""
    cell, x = nn.RNNCell(2, 3), torch.randn(4, 2)
    states = [torch.zeros(4, 3)]

    def step(cell: nn.Module) -> Tensor:
        states.append(cell(x, states[-1]))
        return states[-1].square().sum()

    return Case(step, cell, {"x": x}, backward=lambda loss: loss.backward(retain_graph=True), steps=3)


@program
def updates_by_hand() -> Case:
    model, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), torch.randn(5, 3)
    grads = []

    def step(model: nn.Module) -> Tensor:
        return model(x).square().mean()

    def backward(loss: Tensor) -> dict[str, Tensor]:
        grads[:] = torch.autograd.grad(loss, list(model.parameters()))
        return dict(zip(dict(model.named_parameters()), grads, strict=True))

    def after() -> None:
        with torch.no_grad():
            for p, g in zip(model.parameters(), grads, strict=True):
                p.sub_(0.1 * g)

    return Case(step, model, {"x": x}, backward=backward, after=after, steps=3)


@program
def several_roots() -> Case:
    model, x = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 1)]), torch.randn(2, 3)
    other = []

    def step(model: nn.Module) -> Tensor:
        h = torch.tanh(model[0](x))
        other[:] = [h.square().sum()]
        return model[1](h).sum()

    return Case(step, model, {"x": x}, backward=lambda loss: torch.autograd.backward([loss, other[0]]))


@program
def validation_between() -> Case:
    case = mlp_case()
    x, optimizer = torch.randn(3, 16), torch.optim.SGD(case.model.parameters(), lr=0.1, momentum=0.9)

    def after() -> None:
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            case.calls["right"] += int((case.model.eval()(x).argmax(1) == 0).sum())
        case.model.train()

    case.after, case.steps = after, 3
    return case


@program
def clamped_weights() -> Case:
    case = mlp_case()
    forward = case.step

    def step(model: nn.Module) -> Tensor:
        with torch.no_grad():
            for p in model.parameters():
                p.clamp_(-0.1, 0.1)
        model.head.bias.data.zero_()
        return forward(model)

    case.step, case.steps = step, 2
    return case


@program
def third_derivative() -> Case:
    x = leaf(3)

    def step(_: None) -> Tensor:
        y = (x**4).sum()
        (first,) = torch.autograd.grad(y, x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
        return (second * x).sum()

    return Case(step, None, {"x": x})


@program
def keywords_and_lists() -> Case:
    a, b = leaf(2, 3), leaf(2, 3)

    def step(_: None) -> Tensor:
        y = torch.add(input=a, other=b, alpha=2)
        z = torch.where(condition=a > 0, input=y, other=b)
        both = torch.stack(tensors=[y, z], dim=0)
        wide = torch.block_diag(a, b, y)
        first, second = torch._foreach_mul([y, z], [b, a])
        return (
            torch.einsum("nij,ij->", [both, a])
            + wide.sum()
            + torch.meshgrid(a[0], b[0], indexing="ij")[0].prod()
            + (first - second).sum()
        )

    return Case(step, None, {"a": a, "b": b})


@program
def sparse_matrices() -> Case:
    values, x = leaf(3), leaf(3, 2)
    index = torch.tensor([[0, 1, 2], [2, 0, 1]])

    def step(_: None) -> Tensor:
        matrix = torch.sparse_coo_tensor(index, values, (3, 3))
        y = torch.sparse.mm(matrix, x)
        return y.square().sum() + matrix.to_dense().sum()

    return Case(step, None, {"values": values, "x": x})


class Counting(TorchFunctionMode):
    """A mode of the user, who counts calls."""

    def __init__(self, calls: Counter[str]) -> None:
        super().__init__()
        self.calls = calls

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls[getattr(func, "__name__", "")] += 1
        return func(*args, **(kwargs or {}))


@program
def users_mode() -> Case:
    x, calls = leaf(3), Counter()

    def step(_: None) -> Tensor:
        y = x * 2
        with Counting(calls):
            z = y.exp() + y
        return z.sum()

    return Case(step, None, {"x": x}, calls=calls)


# -- control flow of Python ------------------------------------------------------------------------


@program
def generators() -> Case:
    model, x = nn.ModuleList([nn.Linear(3, 3) for _ in range(3)]), torch.randn(2, 3)

    def pipeline(h: Tensor) -> Iterator[Tensor]:
        for layer in model:
            h = torch.tanh(layer(h))
            yield h

    def step(_: nn.Module) -> Tensor:
        total = torch.zeros(())
        for h in pipeline(x):
            total = total + h.sum()
        return total

    return Case(step, model, {"x": x})


@program
def other_thread() -> Case:
    model, x = nn.Sequential(nn.Linear(3, 3), nn.Tanh()), torch.randn(2, 3)

    def step(model: nn.Module) -> Tensor:
        found = []
        h = model(x)
        worker = threading.Thread(target=lambda: found.append(h.sin()))
        worker.start()
        worker.join()
        return found[0].sum()

    return Case(step, model, {"x": x})


@program
def coroutines() -> Case:
    x = leaf(3)

    async def power(n: int) -> Tensor:
        y = x
        for _ in range(n):
            await asyncio.sleep(0)
            y = y * x
        return y

    async def both() -> list[Tensor]:
        return await asyncio.gather(power(1), power(2))

    def step(_: None) -> Tensor:
        square, cube = asyncio.run(both())
        return (square + cube).sum()

    return Case(step, None, {"x": x})


@program
def errors_that_are_caught() -> Case:
    x = leaf(3)

    def step(_: None) -> Tensor:
        y = x * 2
        with contextlib.suppress(RuntimeError):
            y = y @ torch.ones(7)
        with contextlib.suppress(RuntimeError):
            y = torch.nn.Linear(2, 2)(y)
        return y.exp().sum()

    return Case(step, None, {"x": x})


class Metres(Tensor):
    """A subclass of a user."""


@program
def subclass() -> Case:
    x = leaf(3)

    def step(_: None) -> Tensor:
        length = x.as_subclass(Metres) * 2
        area = length * length
        return area.sum().as_subclass(Tensor)

    return Case(step, None, {"x": x})
