"""Graphs of 100 to 1,000,000 nodes: how long it takes to draw them, and how much memory, beside Graphviz's own tools.

Each figure comes from a process of its own that is stopped after a minute; where a way takes too long or fails at one
size, larger ones are not tried. Memory is the peak of the process with the graph in it, or of the ``dot`` it calls.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import graphs
from gradviz.graphs import Frame

__all__ = ["STAGES", "Size", "sizes"]

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)
ALONE = 100_000  # nodes; above, only gradviz is tried
STAGE_SIZES = (10_000, 100_000, 1_000_000)
PATIENCE = 60.0  # seconds
STARTING = 30.0  # seconds to make the graph in
MOST_MEMORY = 8 << 30  # bytes
WIDTH = 16  # of the layers of the PyTorch models
NODES_A_BLOCK = {"torchviz": 14, "torchview": 4}  # about
FAMILIES = ("transformer", "scalar")
KILOBYTES = 1 << 10  # of a megabyte


@dataclass(frozen=True)
class Size:
    """What one way took with a graph of some size."""

    table: str  # pictures or stages
    family: str
    way: str
    nodes: int
    seconds: float = float("nan")
    megabytes: float = float("nan")
    status: str = "ok"


def by_scope(frame: Frame) -> int:
    """Draw every node, laid out by scope."""
    from gradviz import draw

    return len(draw(frame, fold=False, engine="scope", style="compact").svg)


def folded(frame: Frame) -> int:
    """Draw what repeats once."""
    from gradviz import draw

    return len(draw(frame, fold=True, style="compact").svg)


def page(frame: Frame) -> int:
    """Write the page of every node."""
    from gradviz import draw
    from gradviz.views.webpage import to_html

    return len(to_html(draw(frame, fold=False, engine="scope")))


def dot(frame: Frame) -> int:
    """Let Graphviz draw plain boxes with names, in clusters."""
    return rendered(plain_dot(frame))


def plain_dot(frame: Frame) -> str:
    """Return a graph as DOT, boxes with names in clusters."""
    lines = ["digraph {", "rankdir=LR; node [shape=box]"]
    clusters: dict[tuple[str, ...], list[str]] = {(): []}
    for node in frame.graph.nodes:
        for length in range(1, len(node.scope) + 1):
            clusters.setdefault(node.scope[:length], [])
        clusters[node.scope].append(f'n{node.id} [label="{node.name}"]')
    number = {scope: place for place, scope in enumerate(clusters)}
    for scope in sorted(clusters, key=len, reverse=True):
        if scope:
            inside = "\n".join(clusters[scope])
            clusters[scope[:-1]].append(f'subgraph cluster{number[scope]} {{ label="{scope[-1]}"\n{inside}\n}}')
    lines += clusters[()]
    lines += (f"n{src} -> n{node.id}" for node in frame.graph.nodes for src in node.inputs)
    return "\n".join([*lines, "}"])


def rendered(text: str) -> int:
    """Return the length of the SVG that ``dot`` makes; its memory is looked at while it runs."""
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as made:
        source.write(text.encode())
        source.seek(0)
        with subprocess.Popen(["dot", "-Tsvg"], stdin=source, stdout=made) as process:
            while process.poll() is None:
                PEAKS.append(peak(process.pid))
                time.sleep(0.002)
        if process.returncode:
            raise RuntimeError(f"dot ended with {process.returncode}")
        return made.seek(0, os.SEEK_END)


PEAKS: list[float] = []  # megabytes of the `dot` programs that have run


def peak(pid: int | str) -> float:
    """Return the most megabytes a process has had in memory; 0 where the system does not tell.

    ``ru_maxrss`` will not do: it starts with that of the process it was forked from.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(found[0].split()[1]) / KILOBYTES if found else 0.0


def blocks(name: str, count: int) -> tuple[Any, Any]:
    """Return a PyTorch model with about so many nodes in its graph, and an input."""
    nn, torch = import_module("torch.nn"), import_module("torch")

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

        def forward(self, x: Any) -> Any:
            return x + self.b(torch.tanh(self.a(x)))

    made = [Block() for _ in range(max(1, count // NODES_A_BLOCK[name]))]
    return nn.Sequential(*made), torch.ones(1, WIDTH)


def torchviz(model: Any) -> int:
    """Draw a loss with torchviz."""
    module, batch = model
    made = import_module("torchviz").make_dot(module(batch).sum(), params=dict(module.named_parameters()))
    return rendered(made.source)


def torchview(model: Any) -> int:
    """Draw a model with torchview."""
    module, batch = model
    made = import_module("torchview").draw_graph(module, input_data=batch, expand_nested=True, depth=3)
    return rendered(made.visual_graph.source)


WAYS: dict[str, Callable[[Any], int]] = {
    "gradviz, every node": by_scope,
    "gradviz, folded": folded,
    "gradviz, page": page,
    "dot": dot,
    "torchviz": torchviz,
    "torchview": torchview,
}
OURS = tuple(name for name in WAYS if name.startswith("gradviz"))
STAGES: dict[str, Callable[[Any], Any]] = {
    "a frame of it": lambda result: import_module("gradviz").frame(result),
    "summarised": Frame.summary,
    "as SVG": by_scope,
    "as a page": page,
    "folded and drawn": folded,
    "as JSON": Frame.to_json,
    "from JSON": Frame.from_json,
}


def sizes(pattern: str, patience: float = PATIENCE) -> Iterator[Size]:
    """Yield the figures of both tables: names that match are ``scale pictures`` and ``scale stages``."""
    if fnmatch("scale pictures", pattern):
        for family in FAMILIES:
            for way in WAYS:
                if family == FAMILIES[0] or not is_torch(way):
                    yield from grown("pictures", family, way, SIZES, patience)
    if fnmatch("scale stages", pattern):
        for stage in STAGES:
            yield from grown("stages", FAMILIES[0], stage, STAGE_SIZES, patience)


def is_torch(way: str) -> bool:
    """Tell whether a way draws PyTorch models."""
    return way in NODES_A_BLOCK


def grown(table: str, family: str, way: str, wanted: tuple[int, ...], patience: float) -> Iterator[Size]:
    """Yield the figures of one way, from small to large, until one takes too long."""
    for nodes in wanted:
        if nodes > ALONE and table == "pictures" and way not in OURS:
            return
        found = size(table, family, way, nodes, patience)
        yield found
        if found.status != "ok":
            return


def size(table: str, family: str, way: str, nodes: int, patience: float) -> Size:
    """Return what one way takes, measured in a process of its own."""
    if (way == "dot" or is_torch(way)) and not shutil.which("dot"):
        return Size(table, family, way, nodes, status="no dot")
    if is_torch(way) and not (find_spec(way) and find_spec("torch")):
        return Size(table, family, way, nodes, status="not installed")
    command = [sys.executable, "-m", "benchmarks.scale", table, family, way, str(nodes)]
    done = limited(command, patience + STARTING)
    if done is None:
        return Size(table, family, way, nodes, status=f"> {patience:g} s")
    code, out, errors = done
    if code:
        return Size(table, family, way, nodes, status=reason(errors))
    seconds, megabytes = json.loads(out.splitlines()[-1])
    status = "ok" if seconds <= patience else f"> {patience:g} s"
    return Size(table, family, way, nodes, seconds, megabytes, status)


def limited(command: list[str], seconds: float) -> tuple[int, str, str] | None:
    """Run a command and return its status and what it wrote; None where it was stopped, with all it had started."""
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
        start_new_session=True,
    ) as process:
        try:
            out, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return None
    return process.returncode, out, errors


def reason(said: str) -> str:
    r"""Return the name of the error a process ended with.

    >>> reason("Traceback ...\nRecursionError: maximum recursion depth exceeded")
    'RecursionError'
    """
    lines = said.strip().splitlines() or ["killed"]
    return lines[-1].partition(":")[0][-40:]


def versions() -> dict[str, str]:
    """Return the version of ``dot``, if there is one."""
    if not shutil.which("dot"):
        return {}
    said = subprocess.run(["dot", "-V"], capture_output=True, text=True, check=True).stderr
    return {"dot": said.split("version ")[-1].split(" ")[0].strip()}


def main(table: str, family: str, way: str, count: str) -> None:
    """Measure one thing and print seconds and megabytes."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))  # also of the `dot` that is called
    made = given(way, family, int(count))
    (WAYS if table == "pictures" else STAGES)[way](
        given(way, "chain", 3)
    )  # what a first use loads is not of this graph
    PEAKS.clear()
    started = time.perf_counter()
    (WAYS if table == "pictures" else STAGES)[way](made)
    seconds = time.perf_counter() - started
    print(json.dumps([seconds, max([peak("self"), *PEAKS])]))


def given(way: str, family: str, count: int) -> Any:
    """Return what a way is given: a model of PyTorch, a Tensor, a text, or a frame."""
    if is_torch(way):
        return blocks(way, count)
    if way == "a frame of it":
        return recorded(count)
    frame = graphs.FAMILIES[family](count)
    return frame.to_json() if way == "from JSON" else frame


def recorded(count: int) -> Any:
    """Return the result of so many operations on scalars, differentiated."""
    gradviz = import_module("gradviz")
    x = gradviz.Tensor(1.0)
    with gradviz.gc_paused():
        for _ in range(count // 2):
            x = (x * x).sin()
        x.backward()
    return x


if __name__ == "__main__":
    main(*sys.argv[1:])
