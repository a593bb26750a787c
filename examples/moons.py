"""A small neural network learns to tell two moons apart, and everything it does is recorded.

The points are scikit-learn's two moons: two half circles that no straight line divides.

python examples/moons.py [--out DIR] [--steps N]          (needs: pip install scikit-learn)
"""

import argparse
import sys
from pathlib import Path

import numpy as np

import gradviz
from gradviz import Tensor, nn, optim

try:
    from sklearn.datasets import make_moons
except ImportError:
    raise SystemExit("this example needs scikit-learn: pip install scikit-learn") from None

try:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure
except ImportError:  # no picture of the decision boundary then
    Figure = None

WORTH_TELLING = (0, 1, 3, 10, 30, 100, 300)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out/moons", help="where to write (default: out/moons)")
    parser.add_argument("--steps", type=int, default=300, help="of the optimizer (default: 300)")
    given = parser.parse_args()
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)

    # 200 points to learn from and 200 that the network never sees.
    points, labels = make_moons(n_samples=400, noise=0.15, random_state=0)
    x = Tensor(points[:200], name="x", requires_grad=False)
    target = Tensor(labels[:200, None], name="target", requires_grad=False)
    unseen, answers = points[200:], labels[200:]

    # 2 inputs, two hidden layers of 16 units, and one output: above 0 means the lower moon.
    model = nn.MLP([2, 16, 16, 1], "tanh", rng=0)
    optimizer = optim.Adam(model.parameters(), lr=0.02, weight_decay=0.001)

    # Every step writes loss, parameters and gradients to out/run; the log outlives a crash.
    with gradviz.trace(out / "run", params=dict(model.named_parameters()), meta={"lr": 0.02}) as log:
        for step in range(given.steps + 1):
            optimizer.zero_grad()
            loss = nn.bce_with_logits(model(x), target)
            loss.backward()
            log.step(loss)
            if step in WORTH_TELLING:
                seen, new = accuracy(model, points[:200], labels[:200]), accuracy(model, unseen, answers)
                print(f"step {step:3}: loss {loss.item():.4f}, right: {seen:.1%} of the seen, {new:.1%} of the unseen")
            optimizer.step()
    print("wrote", out / "run")

    # The graph of the last loss: all of it, and with every layer closed into one box.
    print("wrote", gradviz.draw(loss, title="The last loss", direction="TB").save(out / "graph.svg"))
    layers = gradviz.draw(loss, collapse=0, title="The last loss, layer by layer")
    for name in ("layers.svg", "layers.png"):
        print("wrote", layers.save(out / name))
    plot(out / "boundary.png", model, points, labels, gradviz.open_run(out / "run").loss)
    return 0 if given.steps < 300 or accuracy(model, unseen, answers) > 0.95 else 1


def accuracy(model: nn.Module, points: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of points on the right side; nothing is recorded for it."""
    with gradviz.no_grad():
        scores = model(points).numpy()[:, 0]
    return float(np.mean((scores > 0) == labels))


def plot(path: Path, model: nn.Module, points: np.ndarray, labels: np.ndarray, losses: np.ndarray) -> None:
    if Figure is None:
        print(f'no {path}: pip install "gradviz[plot]"')
        return
    low, high = points.min(axis=0) - 0.4, points.max(axis=0) + 0.4
    across, up = np.meshgrid(np.linspace(low[0], high[0], 200), np.linspace(low[1], high[1], 200))
    with gradviz.no_grad():
        scores = model(np.column_stack([across.ravel(), up.ravel()])).numpy().reshape(across.shape)

    figure = Figure(figsize=(12, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    shades = LinearSegmentedColormap.from_list("border", ["#8ec1de", "#ffffff", "#f0b48a"])
    left.contourf(across, up, 1 / (1 + np.exp(-scores)), levels=np.linspace(0, 1, 21), cmap=shades)
    left.contour(across, up, scores, levels=[0], colors="#1b2430", linewidths=1.5)
    for label, marker, colour in ((0, "o", "#0072b2"), (1, "s", "#d55e00")):
        chosen = points[labels == label]
        left.scatter(*chosen.T, s=16, marker=marker, color=colour, edgecolor="white", linewidth=0.4)
    left.set(title="The two moons and the border between them", aspect="equal")
    right.plot(losses, color="#0072b2")
    right.set(title="The loss", xlabel="step", ylabel="binary cross-entropy", yscale="log")
    right.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    print("wrote", path)


if __name__ == "__main__":
    sys.exit(main())
