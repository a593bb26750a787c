"""Write what is generated in pytorch.md anew: its session of commands and its table; and the pictures of PyTorch.

python docs/pytorch.py               write the page and the pictures (torchviz's, where it is installed)
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import resvg_py
import torch
from torch import nn

import gradviz
from gradviz.views.embedded import render

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests import test_torch_programs as programs  # noqa: E402 - it is no installed package

PAGE = ROOT / "docs" / "pytorch.md"
PICTURES = ROOT / "docs" / "pictures"
SCRIPT = re.compile(r"```py\n(# train\.py\n.*?)```", re.DOTALL)
SESSION = re.compile(r"(?<=```text\n)\$ gradviz run.*?(?=```)", re.DOTALL)
TABLE = re.compile(r"\| program \|.*?\n\n", re.DOTALL)
HEADER = ("program", "values", "gradients", "lines", "after the fact: gradients", "values known")
PROGRAMS = {
    "mlp": "MLP",
    "resnet50": "ResNet-50",
    "transformer": "transformer encoder, 12 layers",
    "lstm": "LSTM",
    "unet": "U-Net",
    "tied_weights": "tied weights",
    "wrong_backward": "custom Function with a wrong backward",
    "double_backward": "double backward",
    "in_place": "in place",
    "slice_assignment": "slice assignment",
    "autocast": "autocast",
    "checkpoint_not_reentrant": "checkpoint",
    "checkpoint_reentrant": "checkpoint, reentrant",
    "compiled_model": "compiled model",
    "complex_numbers": "complex numbers",
    "several_results": "ops of several results",
    "long_chain": "chain of 20,000 ops",
    "vmap": "vmap",
    "func_grad": "func.grad",
}
COST = re.compile(r"\| times a plain step \|.*?\n\n", re.DOTALL)
BENCHMARKS = ROOT / "docs" / "benchmarks.md"
MEASURED = re.compile(r"^## Watching a step of PyTorch\n\n.*?\n(\|.*?)\n\n", re.DOTALL | re.MULTILINE)
SLOW = ("resnet50", "long_chain")  # seconds each


def page() -> str:
    """Return the page with session and table as they are now."""
    text = PAGE.read_text("utf-8")
    script, written = SCRIPT.search(text), SESSION.search(text)
    if script is None or written is None:
        raise ValueError("pytorch.md has no script, or no session")
    text = text.replace(written[0], session(script[1], written[0]))
    text = COST.sub(lambda _: cost() + "\n", text, count=1)
    return TABLE.sub(lambda _: table() + "\n", text, count=1)


def session(script: str, written: str) -> str:
    """Return what the commands of a session print after a script was written; a wide line goes on in the next."""
    environment = {**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "train.py").write_text(script, "utf-8")
        for command in re.findall(r"^\$ gradviz (.*)$", written, re.MULTILINE):
            done = subprocess.run(
                f'"{sys.executable}" -m gradviz {command}', shell=True, cwd=folder, env=environment, encoding="utf-8",
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
            lines += [f"$ gradviz {command}", *(line.rstrip() for line in done.stdout.splitlines())]
    return "\n".join(line for line in lines if line) + "\n"


def cost() -> str:
    """Return what the benchmarks say of each way to watch a step, a column for each network."""
    measured = MEASURED.search(BENCHMARKS.read_text("utf-8"))
    if measured is None:
        raise ValueError("benchmarks.md has no measurements of PyTorch")
    times: dict[str, list[str]] = {}
    networks = []
    for line in measured[1].splitlines()[1:]:
        network, how, _, ratio, *_ = (cell.strip() for cell in line.strip("|").split("|"))
        networks += [network] if network else []
        if how.startswith("gradviz, "):
            times.setdefault(how.removeprefix("gradviz, "), []).append(ratio)
    lines = [["times a plain step", *networks], ["---", *(["---:"] * len(networks))]]
    lines += [[how, *ratios] for how, ratios in times.items()]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def table() -> str:
    """Return the table of programs: how much of each is right, of how much."""
    rule = "| --- |" + " ---: |" * (len(HEADER) - 1)
    rows = (row(name) for name in PROGRAMS)
    return "\n".join(["| " + " | ".join(HEADER) + " |", rule, *("| " + " | ".join(cells) + " |" for cells in rows), ""])


def row(name: str) -> tuple[str, ...]:
    """Return the cells of one program."""
    found = programs.named(name).comparison
    cells = [programs.ratio(counted) for counted in (found.values, found.grads, found.lines)]
    if name in programs.NOT_WALKED:
        return (PROGRAMS[name], *cells, "", "")
    walked = programs.after_the_fact(programs.PROGRAMS[name], gradviz.frame)
    return (PROGRAMS[name], *cells, programs.ratio(walked.grads), programs.ratio(walked.values))


# -- pictures ----------------------------------------------------------------------------------------


def torchvizs_example(make_dot: Callable[..., Any]) -> str:
    """Return the DOT source that make_dot writes of the network in torchviz's own examples."""
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("W0", nn.Linear(8, 16))
    model.add_module("tanh", nn.Tanh())
    model.add_module("W1", nn.Linear(16, 1))
    x = torch.randn(1, 8)
    y = model(x)
    made = make_dot(y.mean(), params=dict(model.named_parameters()), show_attrs=True, show_saved=True)
    return str(made.source)


def recorded() -> Any:
    """Return the picture of one step of a small network."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    x, target = torch.randn(8, 2), torch.randn(8, 1)
    with gradviz.capture(model) as cap:
        loss = nn.functional.mse_loss(model(x), target)
        loss.backward()
    return gradviz.draw(cap.frame(), style="boxes", theme="light")


def png(source: str, width: int) -> bytes:
    """Return DOT source as a PNG. Graphviz knows how wide Courier is, and knows no font called monospace."""
    svg = render(source.replace("fontname=monospace", "fontname=Courier"), timeout=60).decode()
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, width=width, background="white", dpi=96))


def pictures() -> Iterator[tuple[str, bytes]]:
    """Yield every picture with its name."""
    yield "torch-net.png", recorded().png(1.0)
    yield "gradviz-make-dot.png", png(torchvizs_example(gradviz.make_dot), 900)
    if importlib.util.find_spec("torchviz") is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it asks for versions in an old way
        theirs = torchvizs_example(importlib.import_module("torchviz").make_dot)
    yield "torchviz-make-dot.png", png(theirs, 800)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print("wrote docs/pytorch.md")
    for file, data in pictures():
        (PICTURES / file).write_bytes(data)
        print(f"wrote docs/pictures/{file}")
