"""Two networks of PyTorch on one screen each: one training step of a ResNet-50 and of a transformer of twelve layers.

Equal blocks in a row are drawn once, with the ranges of their values and gradients; modules are closed. With torchviz
installed, its picture of the same step stands beside it, made as high.

python examples/torch_pictures.py [--out DIR]          (needs: pip install torch matplotlib)
"""

# ruff: noqa: D101, D102
import argparse
import io
import sys
import warnings
from pathlib import Path

import gradviz
from gradviz import transforms
from gradviz.views.embedded import render

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:
    raise SystemExit("this example needs PyTorch: pip install torch") from None

try:
    import resvg_py
    from matplotlib.figure import Figure
    from matplotlib.image import imread
except ImportError:
    raise SystemExit("this example needs matplotlib: pip install matplotlib") from None

try:
    import torchviz
except ImportError:  # our own picture stands alone then
    torchviz = None

SCALE = 1.5  # pixels a unit
DPI = 100


class Bottleneck(nn.Module):
    def __init__(self, channels, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU()
        self.downsample = nn.Identity()
        if stride > 1 or channels != 4 * width:
            shortcut = nn.Conv2d(channels, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(4 * width))

    def forward(self, x):
        h = self.relu(self.bn1(self.conv1(x)))
        h = self.relu(self.bn2(self.conv2(h)))
        return self.relu(self.bn3(self.conv3(h)) + self.downsample(x))


class ResNet50(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = self.stage(64, 64, 3, 1)
        self.layer2 = self.stage(256, 128, 4, 2)
        self.layer3 = self.stage(512, 256, 6, 2)
        self.layer4 = self.stage(1024, 512, 3, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2048, classes)

    @staticmethod
    def stage(channels, width, count, stride):
        first = Bottleneck(channels, width, stride)
        return nn.Sequential(first, *(Bottleneck(4 * width, width, 1) for _ in range(count - 1)))

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        batch, length, width = x.shape
        split = batch, length, self.heads, width // self.heads
        query = self.query(x).view(split).transpose(1, 2)
        key = self.key(x).view(split).transpose(1, 2)
        value = self.value(x).view(split).transpose(1, 2)
        weights = (query @ key.transpose(-2, -1) / split[-1] ** 0.5).softmax(-1)
        return self.out((weights @ value).transpose(1, 2).reshape(batch, length, width))


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    def __init__(self, words=1000, width=128, heads=4, depth=12, length=16, classes=5):
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.position = nn.Parameter(torch.randn(length, width) * 0.02)
        self.layers = nn.ModuleList([Layer(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, words):
        x = self.embed(words) + self.position
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x).mean(1))


def step(model, inputs, labels):
    """Take one training step while it is recorded; return its frame."""
    with gradviz.capture(model) as cap:
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
    return cap.frame()


def picture(frame, opened):
    """Fold equal blocks, close every module but those in ``opened``, and draw what is left as PNG."""
    small = transforms.collapse(transforms.fold(frame, fewest=2), 0, opened=opened)
    return gradviz.draw(small, style="compact", direction="TB", theme="light").png(SCALE)


def picture_by_torchviz(model, inputs, labels, height):
    """Draw the same step with torchviz, ``height`` pixels high."""
    loss = F.cross_entropy(model(inputs), labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torchviz asks for versions in an old way
        dot = torchviz.make_dot(loss, params=dict(model.named_parameters()))
    svg = render(dot.source, timeout=60).decode()
    return resvg_py.svg_to_bytes(svg_string=svg, height=height, background="white", dpi=96)


def beside(pictures, file):
    """Put pictures beside each other, each pixel of them one of the file, with a line of text above each."""
    images = [(text, imread(io.BytesIO(png))) for text, png in pictures]
    gap, top = 40, 60
    width = sum(max(image.shape[1], 9 * len(text)) + gap for text, image in images) + gap
    height = max(image.shape[0] for _, image in images) + top + gap
    figure = Figure((width / DPI, height / DPI), dpi=DPI)
    left = gap
    for text, image in images:
        figure.text(left / width, 1 - top / 2 / height, text, fontsize=10, va="center", color="#444")
        figure.figimage(image, left, height - top - image.shape[0])
        left += max(image.shape[1], 9 * len(text)) + gap
    figure.savefig(file, dpi=DPI, pil_kwargs={"optimize": True})
    print(f"wrote {file}")


def both(model, inputs, labels, opened, file):
    """Write the picture of one step, beside torchviz's."""
    frame = step(model, inputs, labels)
    ours = picture(frame, opened)
    pictures = [(f"gradviz: {len(frame.graph)} values, every block in a row once", ours)]
    if torchviz is not None:
        height = imread(io.BytesIO(ours)).shape[0]
        pictures.append(("torchviz: the same step", picture_by_torchviz(model, inputs, labels, height)))
    beside(pictures, file)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out/torch_pictures", help="where to write (default: out/torch_pictures)")
    out = Path(parser.parse_args().out)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)

    images, kinds = torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 2, 3])
    stages = {(f"layer{number}",) for number in range(1, 5)}
    both(ResNet50(), images, kinds, stages, out / "torch-resnet50.png")

    words, kinds = torch.randint(0, 1000, (8, 16)), torch.randint(0, 5, (8,))
    both(Transformer(), words, kinds, {("layers",), ("layers", "0 … 11")}, out / "torch-transformer.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
