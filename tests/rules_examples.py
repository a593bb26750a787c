"""For every health rule a training that has the fault and one that has not, each written as a user would write it.

``EXAMPLES[rule]`` is (good, bad): functions that train, trace to a path and return nothing.
"""

import numpy as np

import gradviz
from gradviz import Tensor, nn, optim

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = X @ [1.0, -2.0, 3.0] + 0.5
LABELS = (X[:, :1] * X[:, 1:2] > 0).astype(float)
STEPS = 60
EXAMPLES = {}


def example(rule):
    """Register a function of (path, good) as the two examples of a rule."""

    def register(train):
        EXAMPLES[rule] = (lambda path: train(path, good=True)), (lambda path: train(path, good=False))
        return train

    return register


def data(array, name="x"):
    return Tensor(np.asarray(array, float), name=name, requires_grad=False)


def descend(path, params, loss, *, lr=0.05, steps=STEPS, held=None, level="auto"):
    """Train by plain gradient descent; ``held`` names the parameters that are updated (default: all)."""
    with gradviz.trace(path, params=params, level=level) as log:
        for _ in range(steps):
            for p in params.values():
                p.zero_grad()
            value = loss()
            value.backward()
            log.step(value)
            for name, p in params.items():
                if p.grad is not None and (held is None or name in held):
                    p.data = p.data - lr * p.grad


def train(path, model, optimizer, x=X, y=LABELS, loss=nn.bce_with_logits, steps=STEPS):
    """Train a network."""
    x, y = data(x), data(y, "y")
    with gradviz.trace(path, params=dict(model.named_parameters())) as log:
        for _ in range(steps):
            optimizer.zero_grad()
            value = loss(model(x), y)
            value.backward()
            log.step(value)
            optimizer.step()


def line(path, *, lr=0.05, x=X, start=0.0, **options):
    """Fit a plane."""
    w, b = Tensor(np.full(3, start), name="w"), Tensor(0.0, name="b")
    descend(path, {"w": w, "b": b}, lambda: np.mean((data(x) @ w + b - Y) ** 2), lr=lr, **options)


@example("nan")
def logarithm(path, *, good):
    w = Tensor(3.0, name="w")
    with np.errstate(all="ignore"):
        descend(path, {"w": w}, lambda: w - np.log(w) if good else np.log(w) + w, lr=0.5, steps=20)


@example("inf")
def root(path, *, good):
    w = Tensor([4.0, 1.0 if good else 0.0], name="w")
    with np.errstate(all="ignore"):
        descend(path, {"w": w}, lambda: np.sqrt(w).sum(), lr=0.01, steps=5)


@example("vanishing")
def deep_sigmoid(path, *, good):
    model = nn.MLP([3, *[8] * 10, 1], "relu" if good else "sigmoid", rng=3)
    for p in model.parameters() if good else ():
        p.data = np.asarray(p.data) * np.sqrt(6) if p.ndim == 2 else np.zeros(p.shape)  # He's rule
    train(path, model, optim.Adam(model.parameters(), lr=0.001))


@example("exploding")
def deep_large(path, *, good):
    model = nn.MLP([3, *[8] * 10, 1], "tanh" if good else "leaky_relu", rng=0)
    for p in model.parameters():
        p.data = np.asarray(p.data) * (1.7 if good else 12.0)
    train(path, model, optim.Adam(model.parameters(), lr=0.001))


@example("dead")
def bias_too_low(path, *, good):
    model = nn.MLP([3, 16, 1], "relu", rng=0)
    if not good:
        model.layers[0].bias.data = np.where(np.arange(16) < 12, -20.0, 0.0)
    train(path, model, optim.SGD(model.parameters(), lr=0.1))


@example("saturated")
def unscaled_into_tanh(path, *, good):
    model = nn.MLP([3, 16, 1], "tanh", rng=0)
    train(path, model, optim.SGD(model.parameters(), lr=0.1), x=X if good else 500 * X)


@example("no-gradient")
def unused(path, *, good):
    w, v = Tensor(np.ones(3), name="w"), Tensor(1.0, name="v")
    descend(path, {"w": w, "v": v}, lambda: np.mean((data(X) @ w + (v if good else 1.0) - Y) ** 2))


@example("zero-gradient")
def times_zero(path, *, good):
    w, v = Tensor(np.ones(3), name="w"), Tensor(1.0, name="v")
    gate = 1.0 if good else 0.0
    descend(path, {"w": w, "v": v}, lambda: np.mean((data(X) @ w * gate + v - Y) ** 2))


@example("cut")
def rounded(path, *, good):
    w, b = Tensor(np.ones(3), name="w"), Tensor(0.0, name="b")
    descend(path, {"w": w, "b": b}, lambda: np.mean((data(X) @ (w if good else np.round(w)) + b - Y) ** 2))


@example("not-decreasing")
def hardly_a_step(path, *, good):
    line(path, lr=0.05 if good else 1e-7, start=1.0)


@example("diverging")
def runs_away(path, *, good):
    line(path, lr=0.05 if good else 0.9)


@example("oscillating")
def there_and_back(path, *, good):
    w = Tensor(np.zeros(2), name="w")
    lr = 0.2 if good else 1.0  # the loss is (w - 3)**2: with 1.0 every step ends as high on the other side
    descend(path, {"w": w}, lambda: np.sum((w - 3) ** 2), lr=lr)


@example("large-step")
def beyond_two_over_curvature(path, *, good):
    w = Tensor([1.0, 1.0], name="w")
    curvatures = np.array([1.0, 8.0])  # stable below 2/8
    descend(path, {"w": w}, lambda: 0.5 * np.sum(curvatures * w * w), lr=0.2 if good else 0.3)


@example("update-ratio")
def giant_updates(path, *, good):
    model = nn.Linear(3, 1, rng=0)
    optimizer = optim.RMSprop(model.parameters(), lr=0.01 if good else 2.0)
    train(path, model, optimizer, y=Y[:, None], loss=nn.mae)


@example("zero-start")
def all_zero(path, *, good):
    model = nn.MLP([3, 8, 1], "tanh", rng=0)
    for p in () if good else model.parameters():
        p.data = np.zeros(p.shape)
    train(path, model, optim.SGD(model.parameters(), lr=0.1))


@example("symmetric")
def all_alike(path, *, good):
    model = nn.MLP([3, 8, 1], "tanh", rng=0)
    for p in () if good else model.parameters():
        p.data = np.full(p.shape, 0.1)
    train(path, model, optim.Adam(model.parameters(), lr=0.01))


@example("unchanged")
def forgotten(path, *, good):
    line(path, start=1.0, held=None if good else {"b"})


@example("scaling")
def kilometres_and_millimetres(path, *, good):
    line(path, x=X if good else X * [1.0, 1.0, 1e5], lr=0.05 if good else 1e-11)


@example("every-pair")
def column_and_vector(path, *, good):
    w, b = Tensor(np.zeros((3, 1)), name="w"), Tensor(0.0, name="b")
    target = Y[:, None] if good else Y
    descend(path, {"w": w, "b": b}, lambda: np.mean((data(X) @ w + b - target) ** 2))


@example("softmax-twice")
def probabilities_into_the_loss(path, *, good):
    model = nn.Linear(3, 2, rng=0)
    classes = (Y > 0).astype(int)
    params = dict(model.named_parameters())
    given = (lambda out: out) if good else gradviz.softmax
    descend(path, params, lambda: nn.cross_entropy(given(model(data(X))), classes), lr=0.5)
