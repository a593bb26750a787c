"""``gradviz show``: what is in a run, as a table, as JSON or as CSV."""

from __future__ import annotations

import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradviz.errors import UsageError
from gradviz.escape import clean
from gradviz.style.wording import format_number, format_shape
from gradviz.verbs import Verb
from gradviz.verbs.output import console, say, write, write_json
from gradviz.verbs.ranks import has_ranks, show_ranks
from gradviz.verbs.sizes import plain, size_of

if TYPE_CHECKING:
    from rich.table import Table

    from gradviz.tracing.reading import Run

__all__ = ["VERB"]

ROWS_SHOWN = 40  # parameters in the table; all of them are in --json
DIGITS = 6


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run_path", metavar="RUN", help="a run directory, or one with rank-000, rank-001, ...")
    parser.add_argument(
        "--follow",
        action="store_true",
        help="watch a run while it is written, until it ends: a table on a terminal, a line per step in a pipe",
    )
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="the summary as JSON; with --follow a line per step")
    forms.add_argument("--csv", action="store_true", help="every iteration as CSV")


def run(given: Namespace) -> int:
    """Show; return 1 for a run that is damaged."""
    from gradviz.tracing.reading import open_run

    if given.follow:
        return _followed(given)
    if has_ranks(given.run_path):
        return show_ranks(given)
    opened = open_run(given.run_path)
    if given.csv:
        write(_csv(opened))
    elif given.json:
        write_json(_summary(opened))
    else:
        _print(_summary(opened))
    for note in opened.damage:
        say(f"gradviz: damaged: {note}")
    return 1 if opened.damage else 0


def _followed(given: Namespace) -> int:
    from gradviz.verbs.watching import watch

    if given.csv:
        raise UsageError("--csv and --follow exclude each other", hint="follow with --json, a line per step")
    return watch(given.run_path, as_json=given.json)


def _csv(opened: Run) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return opened.export(Path(folder) / "run.csv").read_bytes()


def _summary(opened: Run) -> dict[str, Any]:
    """Return what is worth knowing of a run as plain data; what is not a finite number is text or null."""
    return {
        "run": str(opened.path),
        "steps": len(opened),
        "first_step": int(opened.steps[0]) if len(opened) else None,
        "last_step": int(opened.steps[-1]) if len(opened) else None,
        "seconds": float(opened.times[-1] - opened.times[0]) if len(opened) else None,
        "loss": _loss(opened) if len(opened) else None,
        "parameters": _parameters(opened) if len(opened) else [],
        "graphs": [{"nodes": len(graph), "fingerprint": graph.fingerprint()} for graph in opened.graphs],
        "meta": opened.meta,
        "damage": opened.damage,
    }


def _loss(opened: Run) -> dict[str, Any]:
    loss = np.asarray(opened.loss, float)
    finite = np.isfinite(loss)
    best = int(np.argmin(np.where(finite, loss, np.inf)))
    return {
        "first": plain(loss[0]),
        "last": plain(loss[-1]),
        "min": plain(loss[best]) if finite.any() else None,
        "min_step": int(opened.steps[best]) if finite.any() else None,
        "not_finite": int((~finite).sum()),
    }


def _parameters(opened: Run) -> list[dict[str, Any]]:
    first, last = next(iter(opened[:1])), next(iter(opened[-1:]))
    shapes = {node.name: node.shape for graph in opened.graphs for node in graph.nodes if node.kind == "param"}
    return [_parameter(first, last, name, shapes.get(name)) for name in opened.names]


def _parameter(first: dict[str, Any], last: dict[str, Any], name: str, shape: tuple[int, ...] | None) -> dict[str, Any]:
    """Return value and gradient of a scalar in the first and last iteration; of an array the norms."""
    value = last.get(name)
    shape = shape if value is None else np.shape(value)
    return {
        "name": name,
        "shape": None if shape is None else list(shape),
        "what": "value" if value is not None and np.shape(value) == () else "norm",
        "first": _shown(size_of(first, name, "")),
        "last": _shown(size_of(last, name, "")),
        "first_grad": _shown(size_of(first, name, ".grad")),
        "last_grad": _shown(size_of(last, name, ".grad")),
    }


def _shown(size: float | None) -> float | str | None:
    return None if size is None else plain(size)


def _print(found: dict[str, Any]) -> None:
    from rich.text import Text

    out = console()
    out.print(Text(_headline(found)), soft_wrap=True)
    if found["loss"]:
        out.print(_loss_table(found["loss"]))
    if found["parameters"]:
        out.print(_parameter_table(found["parameters"]))
    hidden = len(found["parameters"]) - ROWS_SHOWN
    if hidden > 0:
        out.print(Text(f"... and {hidden} more parameters (--json has all)"))
    for key, value in found["meta"].items():
        out.print(Text(clean(f"{key} = {value}")), soft_wrap=True)


def _headline(found: dict[str, Any]) -> str:
    if not found["steps"]:
        return f"{clean(found['run'])}: no steps yet"
    graphs = ", ".join(f"{graph['nodes']} nodes" for graph in found["graphs"][:4])
    count = len(found["graphs"])
    drawn = f"; {count} graph{'s' if count > 1 else ''} of {graphs}" if count else ""
    span = f"{found['first_step']} to {found['last_step']}"
    return f"{clean(found['run'])}: {found['steps']} steps ({span}) in {found['seconds']:.3g} s{drawn}"


def _loss_table(loss: dict[str, Any]) -> Table:
    table = _table("", "first", "last", "min", "at step", "not finite")
    table.add_row(
        "loss", *map(_cell, (loss["first"], loss["last"], loss["min"])), str(loss["min_step"]), str(loss["not_finite"])
    )
    return table


def _parameter_table(parameters: list[dict[str, Any]]) -> Table:
    from rich.text import Text

    table = _table("parameter", "shape", "", "first", "last", "first gradient", "last gradient")
    for row in parameters[:ROWS_SHOWN]:
        shape = "?" if row["shape"] is None else format_shape(tuple(row["shape"])) or "scalar"
        numbers = (_cell(row[key]) for key in ("first", "last", "first_grad", "last_grad"))
        table.add_row(Text(clean(row["name"])), shape, row["what"], *numbers)
    return table


def _table(first: str, *others: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column(first)
    for heading in others:
        table.add_column(heading, justify="right")
    return table


def _cell(value: float | str | None) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else format_number(value, DIGITS)


VERB = Verb(
    name="show",
    summary="show what is in a run: steps, loss, parameters; --follow watches it grow",
    examples=(
        "gradviz show runs/line",
        "gradviz show runs/line --json | jq .loss.last",
        "gradviz show runs/line --csv > line.csv",
        "gradviz show runs/line --follow",
        "gradviz show runs/big             the processes of a run, a line each",
    ),
    arguments=arguments,
    run=run,
)
