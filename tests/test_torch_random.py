"""Random programs in gradviz and in PyTorch: the same values and the same gradients.

A program starts from random leaves and applies ops chosen at random to anything computed so
far, so subexpressions are shared. Gradients are compared for every leaf and every intermediate
value, relative to the largest gradient of the program (PyTorch splits ties of amax and amin
evenly, as gradviz does).
"""

import numpy as np
import pytest

import gradviz
from gradviz import Tensor, constant

torch = pytest.importorskip("torch")

SHAPES = [(), (3,), (2, 3), (4, 1), (2, 1, 3), (3, 3), (1,), (5,), (2, 4)]
SMOOTH_UNARY = [
    (np.sin, torch.sin),
    (np.cos, torch.cos),
    (np.tanh, torch.tanh),
    (gradviz.sigmoid, torch.sigmoid),
    (gradviz.softplus, torch.nn.functional.softplus),
    (np.arctan, torch.arctan),
    (np.square, torch.square),
    (lambda x: np.exp(-x * x), lambda x: torch.exp(-x * x)),
    (lambda x: np.sqrt(x * x + 1), lambda x: torch.sqrt(x * x + 1)),
    (lambda x: np.log1p(x * x), lambda x: torch.log1p(x * x)),
    (lambda x: -x, lambda x: -x),
    (lambda x: x**3, lambda x: x**3),
    (lambda x: 2.0 - x / 3, lambda x: 2.0 - x / 3),
    (lambda x: 1 / (x * x + 1), lambda x: 1 / (x * x + 1)),
    (np.expm1, torch.expm1),
    (np.sinh, torch.sinh),
    (np.arcsinh, torch.asinh),
]
KINKED_UNARY = [
    (gradviz.relu, torch.relu),
    (np.abs, torch.abs),
    (lambda x: np.clip(x, -0.5, 0.5), lambda x: torch.clamp(x, -0.5, 0.5)),
    (gradviz.leaky_relu, torch.nn.functional.leaky_relu),
    (np.sort, lambda x: torch.sort(x).values if x.ndim else x),
]
SMOOTH_BINARY = [
    (lambda a, b: a + b, lambda a, b: a + b),
    (lambda a, b: a - b, lambda a, b: a - b),
    (lambda a, b: a * b, lambda a, b: a * b),
    (lambda a, b: a / (b * b + 1), lambda a, b: a / (b * b + 1)),
    (np.hypot, torch.hypot),
    (np.logaddexp, torch.logaddexp),
    (lambda a, b: (a * a + 1) ** np.tanh(b), lambda a, b: (a * a + 1) ** torch.tanh(b)),
]
KINKED_BINARY = [
    (np.maximum, torch.maximum),
    (np.minimum, torch.minimum),
    (lambda a, b: np.where(a > b, a, 2 * b), lambda a, b: torch.where(a > b, a, 2 * b)),
]


class Program:
    """A random program, run in both libraries as it is made."""

    def __init__(self, seed: int, *, smooth: bool = False, steps: int = 14) -> None:
        self.rng = np.random.default_rng(seed)
        self.smooth = smooth
        self.leaves = [self.leaf() for _ in range(self.rng.integers(2, 5))]
        self.pool = list(self.leaves)
        for _ in range(steps):
            self.pool.append(self.bounded(self.step()))
        self.loss = self.total()

    def leaf(self):
        data = self.rng.normal(size=SHAPES[self.rng.integers(len(SHAPES))])
        return Tensor(data), torch.tensor(data, dtype=torch.float64, requires_grad=True)

    def pick(self, *, axes: int = 0):
        found = [pair for pair in self.pool if pair[0].ndim >= axes]
        return found[self.rng.integers(len(found))] if found else self.outer(axes)

    def outer(self, axes):
        """Return something with enough axes."""
        ours, theirs = self.pool[-1]
        shape = (1,) * (axes - ours.ndim) + ours.shape
        return np.reshape(ours, shape), theirs.reshape(shape)

    def step(self):
        kinds = [
            self.unary,
            self.binary,
            self.binary,
            self.reduction,
            self.indexing,
            self.matmul,
            self.moving,
            self.softmax,
        ]
        return kinds[self.rng.integers(len(kinds))]()

    def one_of(self, smooth, kinked):
        table = smooth if self.smooth else smooth + kinked
        return table[self.rng.integers(len(table))]

    def unary(self):
        ours, theirs = self.one_of(SMOOTH_UNARY, KINKED_UNARY)
        x, y = self.pick()
        return (ours(x), theirs(y)) if x.ndim or ours is not np.sort else (x * 1, y * 1)

    def binary(self):
        (a, ta), (b, tb) = self.pick(), self.pick()
        try:
            np.broadcast_shapes(a.shape, b.shape)
        except ValueError:
            b, tb = b.sum(), tb.sum()
        ours, theirs = self.one_of(SMOOTH_BINARY, KINKED_BINARY)
        return ours(a, b), theirs(ta, tb)

    def reduction(self):
        x, y = self.pick(axes=1)
        axis, keep = int(self.rng.integers(x.ndim)), bool(self.rng.integers(2))
        table = [
            (np.sum(x, axis=axis, keepdims=keep), y.sum(axis, keepdim=keep)),
            (np.mean(x, axis=axis, keepdims=keep), y.mean(axis, keepdim=keep)),
            (np.prod(x, axis=axis, keepdims=keep), y.prod(axis, keepdim=keep)),
            (np.var(x, axis=axis, keepdims=keep), y.var(axis, correction=0, keepdim=keep)),
            (gradviz.logsumexp(x, axis=axis, keepdims=keep), y.logsumexp(axis, keepdim=keep)),
            (np.cumsum(x, axis=axis), y.cumsum(axis)),
            (x.sum(), y.sum()),
        ]
        kinked = [
            (np.max(x, axis=axis, keepdims=keep), y.amax(axis, keepdim=keep)),
            (np.min(x, axis=axis, keepdims=keep), y.amin(axis, keepdim=keep)),
        ]
        return self.one_of(table, kinked)

    def indexing(self):
        x, y = self.pick(axes=1)
        length = x.shape[0]
        many = self.rng.integers(-length, length, 4)
        mask = np.arange(length) % 2 == 0
        index = [0, -1, slice(None, None, 2), many, (Ellipsis, None), mask, (many, Ellipsis), slice(0, 1)][
            self.rng.integers(8)
        ]
        at = index
        if isinstance(index, np.ndarray):
            at = torch.from_numpy(index)
        elif isinstance(index, tuple) and index[0] is many:
            at = (torch.from_numpy(many), Ellipsis)
        return x[index], y[at]

    def matmul(self):
        (a, ta), (b, tb) = self.pick(axes=1), self.pick(axes=1)
        if a.shape[-1] == b.shape[0] and b.ndim <= 2:
            return a @ b, ta @ tb
        if a.ndim >= 2:
            return a @ np.swapaxes(a, -1, -2), ta @ ta.transpose(-1, -2)
        return np.outer(a, b.reshape(-1)), torch.outer(ta, tb.reshape(-1))

    def moving(self):
        x, y = self.pick(axes=1)
        choice = self.rng.integers(6)
        if choice == 0:
            return x.reshape(-1), y.reshape(-1)
        if choice == 1:
            return np.swapaxes(x, 0, -1), y.transpose(0, -1)
        if choice == 2:
            return np.concatenate([x, x * 2], axis=0), torch.cat([y, y * 2], 0)
        if choice == 3:
            return np.stack([x, np.sin(x)], axis=-1), torch.stack([y, torch.sin(y)], -1)
        if choice == 4:
            return np.flip(x, 0), torch.flip(y, (0,))
        return np.roll(x, 1, axis=0), torch.roll(y, 1, 0)

    def softmax(self):
        x, y = self.pick(axes=1)
        if self.rng.integers(2):
            return gradviz.softmax(x, axis=-1), torch.softmax(y, -1)
        return gradviz.log_softmax(x, axis=0), torch.log_softmax(y, 0)

    def bounded(self, pair):
        """Keep numbers and arrays small, so that rounding stays comparable."""
        ours, theirs = pair
        if ours.size > 60:
            ours, theirs = ours.reshape(-1)[:7], theirs.reshape(-1)[:7]
        if ours.size and np.max(np.abs(ours.numpy())) > 8:
            return np.tanh(ours * 0.1), torch.tanh(theirs * 0.1)
        return ours, theirs

    def total(self):
        """Return a weighted sum over the last results and every leaf."""
        loss, theirs = Tensor(0.0) * 0, torch.zeros((), dtype=torch.float64)
        for ours, other in [*self.pool[-4:], *self.leaves]:
            weights = self.rng.normal(size=ours.shape)
            loss = loss + (ours * constant(weights)).sum()
            theirs = theirs + (other * torch.tensor(weights)).sum()
        return loss, theirs


def same(found, expected, scale, what):
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    assert found.shape == expected.shape, what
    assert np.array_equal(np.isnan(found), np.isnan(expected)), what  # hypot at (0, 0) has none in either
    worst = np.nanmax(np.abs(found - expected), initial=0.0)
    assert worst <= 1e-10 * scale, f"{what}: off by {worst} at a scale of {scale}"


@pytest.mark.parametrize("block", range(20))
def test_random_programs_have_the_gradients_of_pytorch(block):
    for seed in range(block * 20, block * 20 + 20):
        program = Program(seed)
        loss, theirs = program.loss
        same(loss.item(), theirs.item(), max(1.0, abs(theirs.item())), f"value of program {seed}")
        inner = [t for _, t in program.pool if t.requires_grad]
        for t in inner:
            t.retain_grad()
        loss.backward()
        theirs.backward()
        gradients = [(x.grad, t.grad) for x, t in program.pool]
        scale = max([1.0, *(float(t.abs().max()) for _, t in gradients if t is not None and t.numel())])
        for number, (ours, other) in enumerate(gradients):
            if other is None:
                assert ours is None or not np.any(ours), f"program {seed}, value {number}"
            elif ours is None:
                assert not np.any(other.numpy()), f"program {seed}, value {number}"
            else:
                same(ours, other.numpy(), scale, f"program {seed}, gradient {number}")


@pytest.mark.parametrize("block", range(10))
def test_second_derivatives_are_those_of_pytorch(block):
    for seed in range(1000 + block * 6, 1000 + block * 6 + 6):
        program = Program(seed, smooth=True, steps=8)
        loss, theirs = program.loss
        loss.backward(create_graph=True)
        first = torch.autograd.grad(theirs, [t for _, t in program.leaves], create_graph=True, allow_unused=True)
        squares = sum((x.grad * x.grad).sum() for x, _ in program.leaves)
        others = sum((g * g).sum() for g in first)
        for x, t in program.leaves:
            x.zero_grad()
            t.grad = None
        squares.backward()
        others.backward()
        scale = max([1.0, *(float(t.grad.abs().max()) for _, t in program.leaves if t.grad is not None)])
        for x, t in program.leaves:
            expected = np.zeros(x.shape) if t.grad is None else t.grad.numpy()
            same(np.zeros(x.shape) if x.grad is None else x.grad, expected, scale, f"program {seed}")
