"""A small convolutional network of PyTorch learns to read handwritten digits, and every step of it is recorded.

The data are scikit-learn's bundled digits: 1,797 images of 8 by 8 pixels. One step is captured and drawn; the training
has one line more than usual, `with gradviz.trace(...)`; the report shows all of it on one page.

python examples/torch_digits.py [--out DIR] [--epochs N]          (needs: pip install torch scikit-learn)
gradviz debug out/torch_digits/run          goes through its steps, forwards and backwards
"""

# ruff: noqa: D101, D102
import argparse
import sys
from pathlib import Path

import gradviz

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
    from torch.utils.data import DataLoader, TensorDataset
except ImportError:
    raise SystemExit("this example needs PyTorch: pip install torch") from None

try:
    from sklearn.datasets import load_digits
except ImportError:
    raise SystemExit("this example needs scikit-learn: pip install scikit-learn") from None

BATCH = 100


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.near = nn.Conv2d(1, 8, 3, padding=1)
        self.far = nn.Conv2d(8, 16, 3, padding=1)
        self.out = nn.Linear(16 * 2 * 2, 10)

    def forward(self, images):
        seen = F.max_pool2d(F.relu(self.near(images)), 2)
        seen = F.max_pool2d(F.relu(self.far(seen)), 2)
        return self.out(seen.flatten(1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out/torch_digits", help="where to write (default: out/torch_digits)")
    parser.add_argument("--epochs", type=int, default=12, help="how often to see all digits (default: 12)")
    given = parser.parse_args()
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)

    # 1,400 digits to learn from and 397 that the network never sees.
    torch.set_num_threads(1)  # so small a network is faster on one
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32)
    labels = torch.tensor(digits.target)
    batches = DataLoader(TensorDataset(images[:1400], labels[:1400]), BATCH, shuffle=True)
    unseen, answers = images[1400:], labels[1400:]
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    # One step before anything is learned: every value and gradient, with the modules and the lines they come from.
    with gradviz.capture(model) as cap:
        loss = F.cross_entropy(model(images[:BATCH]), labels[:BATCH])
        loss.backward()
    picture = gradviz.draw(cap.frame(), title="The first step", direction="TB")
    for name in ("step.svg", "step.png"):
        print("wrote", picture.save(out / name))

    # The training: what is computed, value and gradient of every node, and what the optimizer is set to.
    with gradviz.trace(out / "run", model=model, optimizer=optimizer) as log:
        for epoch in range(given.epochs):
            for x, y in batches:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                log.step(loss)
                optimizer.step()
            right = accuracy(model, unseen, answers)
            print(f"epoch {epoch:2}: loss {loss.item():.4f}, {right:.1%} of the unseen digits are read right")
            log.event("validation", "on the unseen digits", right=right)
    print("wrote", out / "run")

    run = gradviz.open_run(out / "run")
    print(f"{len(run)} steps; {run['far.weight'].grad_norm[0]:.3g} was the first gradient of far.weight")
    for finding in run.findings():
        print(f"- {finding}\n  try: {finding.advice}")
    print("wrote", run.save(out / "report.html", title="Digits"))
    return 0 if given.epochs < 12 or right > 0.85 else 1


def accuracy(model, images, labels):
    """Return the share of digits that are read right; nothing is recorded of it."""
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


if __name__ == "__main__":
    sys.exit(main())
