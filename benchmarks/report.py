"""The tables: made once as text, printed by rich or written as Markdown."""

from __future__ import annotations

import math
import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.compiled import FASTER_THAN_MICROGRAD, Compiled, Replayed
from benchmarks.debugging import Cost
from benchmarks.harness import FLOOR, Row
from benchmarks.memory import TARGET, Footprint
from benchmarks.readback import Kill, Look
from benchmarks.scale import Size
from benchmarks.torch_capture import Watched
from benchmarks.traced import Overhead

OURS = ("gradviz", "gradviz, gc paused")
HEADING = """\
# Benchmarks

Written by `python -m benchmarks --write docs/benchmarks.md`. Read the ratios; absolute times wander from
minute to minute. The floor is the derivative written by hand: Python floats for scalars, NumPy for arrays.
Everybody's value and every gradient are compared with it before anything is timed. One thread, float64,
the cyclic collector on, and the array data want gradients too.

Compilers (jax's jit, tinygrad) are not here. Fused code beats hand-written NumPy on many small array
operations, after seconds of compiling; who records every value for people to look at cannot."""
SHORT = {"RecursionError": "recursion", "scalars only": "-", "not installed": "-"}


@dataclass(frozen=True)
class Table:
    """A titled table of text."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def speed(rows: Sequence[Row], names: Sequence[str]) -> Table:
    """Tabulate how many times longer than the hand-written floor everybody takes."""
    header = ["workload", "floor, an op", "target", *names]
    body = [
        [row.work.name, duration(row.per_op(FLOOR)), target(row), *(cell(row, name, FLOOR) for name in names)]
        for row in rows
    ]
    note = (
        "A step of training: graph recorded, gradients computed, graph released; medians of the ratios of "
        "interleaved rounds. Leaves are made before (gradviz copies arrays then), but where it says so. "
        "recursion: RecursionError; > 3 s: predicted to take longer, so not run."
    )
    return Table("Times the hand-written floor (1 is best)", header, body, note)


def advantage(rows: Sequence[Row], names: Sequence[str]) -> Table:
    """Tabulate how many times longer than gradviz its peers take."""
    peers = [name for name in names if name != "gradviz"]
    body = [[row.work.name, *(cell(row, name, "gradviz") for name in peers)] for row in rows]
    note = (
        "Wanted on graphs of scalars: micrograd >= 4 on the 100 tiny graphs and >= 15 on moons, "
        "PyTorch >= 10, autograd >= 30, MyGrad >= 15."
    )
    return Table("Times gradviz (above 1: gradviz is faster)", ["workload", *peers], body, note)


def growth(rows: Sequence[Row]) -> Table:
    """Tabulate what an op costs as the graph grows."""
    chain = [row for row in rows if row.work.series == "chain"]
    names = [name for name in (*OURS, FLOOR) if chain and name in chain[0].outcomes]
    body = [[f"{row.work.ops:,}", *(text for name in names for text in grown(row, chain[0], name))] for row in chain]
    header = ["ops", *(text for name in names for text in (f"{name}, an op", "to the first"))]
    return Table(
        "One op of a chain, by its length",
        header,
        body,
        "Wanted: at most 1.6 times from 1,000 to 1,000,000 ops.",
    )


def grown(row: Row, first: Row, name: str) -> tuple[str, str]:
    """Return the time of an op, and its ratio to the same in the first row."""
    return duration(row.per_op(name)), number(row.per_op(name) / first.per_op(name))


def footprint_table(found: Sequence[Footprint]) -> Table:
    """Tabulate the bytes a recorded node takes."""
    names = list(dict.fromkeys(print_.contestant for print_ in found))
    kinds = list(dict.fromkeys(print_.kind for print_ in found))
    by_key = {(print_.contestant, print_.kind): print_ for print_ in found}
    body = [[name, *(bytes_of(by_key.get((name, kind))) for kind in kinds)] for name in names]
    note = (
        f"A chain of 50,000 ops while its result is held. Wanted of gradviz: <= {TARGET} for scalars. "
        "512 bytes of an 8x8 node are its numbers."
    )
    return Table("Bytes a recorded node", ["library", *kinds], body, note)


def bytes_of(found: Footprint | None) -> str:
    """Return a cell of the memory table."""
    if found is None or math.isnan(found.recorded):
        return "-"
    return f"{found.recorded:,.0f}" + (" (RSS)" if found.method == "RSS" else "")


def overhead_table(found: Sequence[Overhead]) -> Table:
    """Tabulate what each way to log adds to a step, and what speed it keeps."""
    body = []
    for one in found:
        first = next(other for other in found if other.training == one.training)
        name = one.training.removeprefix("trace ") if one is first else ""
        body.append([name, one.sink, *overhead_cells(one)])
    note = (
        "Every step logged; processor time, beside an untraced block right before, medians of the rounds. The line: "
        "loss, two parameters, two gradients. The MLP 784-256-10 in float32: 1.6 MB of values and gradients; auto "
        "keeps their norms and checksums, and everything at every 50th step. `copied in memory` and `bytes in a file` "
        "are the least that keeping everything can cost; `untraced, once more` shows how far the figures wander. Not "
        "every peer writes as much: see their names."
    )
    header = ["training", "log", "a step", "added", "speed kept", "wanted"]
    return Table("Every step logged", header, body, note)


def overhead_cells(one: Overhead) -> list[str]:
    """Return the figures of one way to log."""
    wanted = "" if one.target is None else f"{'missed: ' if one.speed < one.target else ''}>= {one.target:g}"
    if one.status != "ok":
        return ["", "", one.status, wanted]
    return [duration(median(one.plain)), duration(one.added), number(one.speed), wanted]


def reading_table(found: Sequence[Look]) -> Table:
    """Tabulate how long it takes to read a log."""
    names = list(dict.fromkeys(name for look in found for name in look.seconds))
    body = []
    for look in found:
        took = look.took("gradviz")
        missed = "missed: " if took is not None and took > look.target else ""
        cells = [duration(seconds) if (seconds := look.took(name)) is not None else "-" for name in names]
        body.append([look.question, *cells, f"{missed}<= {duration(look.target)}"])
    note = "`gradviz`: of a run just opened, which has read no row yet. TensorBoard reads its whole file first."
    return Table("Reading a log", ["question", *names, "wanted"], body, note)


def kill_table(found: Sequence[Kill]) -> Table:
    """Tabulate what is left after a process was killed."""
    body = [[one.sink, str(one.kills), f"{one.acknowledged:,}", f"{one.readable:,}", one.note] for one in found]
    note = "The trace is read by plain `numpy.load`. A step counts once the log has returned. Wanted: none lost."
    return Table("After kill -9", ["log", "kills", "steps logged", "readable", ""], body, note)


def debugging_table(found: Iterable[Cost]) -> Table:
    """Tabulate what watching, moving and asking costs; a cost above its target is marked."""
    body = [[one.name, shown(one.found, one.unit), limit(one)] for one in found]
    return Table("The debugger", ["what", "median", "target"], body, "Without a unit: times the same step unwatched.")


def watching_table(found: Sequence[Watched]) -> Table:
    """Tabulate how many times longer a step of PyTorch takes when it is watched."""
    body = []
    for one in found:
        first = next(other for other in found if other.network == one.network)
        name = one.network.removeprefix("torch ") if one is first else ""
        seen = f"{one.seen[0]:,}, {one.seen[1]:,}" if one.seen else ""
        plain = duration(median(one.plain)) if one.plain else ""
        missed = "missed: " if one.target is not None and one.ratio > one.target else ""
        wanted = "" if one.target is None else f"{missed}<= {one.target:g}"
        body.append([name, one.way, plain, number(one.ratio) if one.plain else one.status, seen, wanted])
    note = (
        "Forward and backward pass of one batch in float32; processor time, beside plain steps right before, medians "
        "of the rounds. MLP: 4x(Linear 128 + ReLU) and a head, batch 64; ResNet-50 shape: batch 2 at 64x64. "
        "`plain, once more` shows how far the figures wander. Shown: how many values and gradients one look at a "
        "step has. torchview and torchlens run the model themselves, torchview besides the step."
    )
    return Table(
        "Watching a step of PyTorch", ["network", "how", "a plain step", "times", "shown", "wanted"], body, note
    )


def replay_table(found: Sequence[Replayed]) -> Table:
    """Tabulate compiled functions beside the floor, the engine and micrograd."""
    names = ["gradviz", "micrograd"]
    header = ["workload", "floor, an op", "compiled", "wanted", *names, "micrograd / compiled", "the first call"]
    body = []
    for one in found:
        others = [ratio_or_reason(one.times.get(name, "-")) for name in names]
        slow = one.times.get("micrograd")
        times = number(slow / one.ratio) if isinstance(slow, float) else others[1]
        missed = "missed: " if one.target is not None and one.ratio > one.target else ""
        wanted = "" if one.target is None else f"{missed}<= {one.target:g}"
        own = ratio_or_reason(one.times[Compiled.name])
        body.append([one.name, duration(one.floor), own, wanted, *others, times, duration(one.first)])
    note = (
        "Times the hand-written floor, value and every gradient; paired blocks of one run, medians of the ratios. "
        "The 100 tiny graphs are 100 calls, each with a tuple as argument, and a call costs 1 to 7 us before it "
        "computes. The first call records, writes, compiles and checks. Measured on a shared machine: single rows "
        "wander by some 5 %. "
        f"Wanted on moons: {FASTER_THAN_MICROGRAD:g} times micrograd."
    )
    return Table("Compiled replay", header, body, note)


def scale_tables(found: Sequence[Size]) -> Iterator[Table]:
    """Yield what graphs of every size take: drawn in every way, and what else gradviz does with them."""
    pictures = [one for one in found if one.table == "pictures"]
    note = (
        "From a graph to the text of an SVG (of the page: of an HTML file), in a process of its own: seconds, "
        "and the peak of memory of that process with the graph in it, or of the `dot` it calls if that is more. "
        "transformer: layers, attention, heads in scopes; scalar: a network of scalars on many samples, without "
        "scopes. `dot` draws plain boxes with names in clusters; torchviz and torchview draw PyTorch models with about "
        "as many nodes, by the same `dot`. gradviz draws every node with its value up to 2,000 nodes, above that as a "
        "small box with its name. Empty: a smaller one took too long."
    )
    if pictures:
        yield Table("Graphs of any size", *by_size(pictures, ("graph", "drawn by")), note)
    stages = [one for one in found if one.table == "stages"]
    if stages:
        yield Table(
            "What gradviz does with them",
            *by_size(stages, ("graph", "")),
            "The transformer, as above; the frame is that of a recorded chain of scalars.",
        )


def by_size(found: Sequence[Size], first: tuple[str, str]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a table with a column a size."""
    columns = sorted({one.nodes for one in found})
    cells = {(one.family, one.way, one.nodes): size_text(one) for one in found}
    names = list(dict.fromkeys((one.family, one.way) for one in found))
    body = [[*name, *(cells.get((*name, nodes), "") for nodes in columns)] for name in names]
    return [*first, *(f"{nodes:,} nodes" for nodes in columns)], body


def size_text(one: Size) -> str:
    """Return seconds and megabytes, or why there are none."""
    if one.status != "ok":
        return one.status
    return f"{number(one.seconds)} s, {one.megabytes:,.0f} MB"


def ratio_or_reason(found: float | str) -> str:
    """Return a ratio as text, or why there is none."""
    return number(found) if isinstance(found, float) else SHORT.get(found, found)


def shown(value: float, unit: str) -> str:
    """Return seconds as a duration, a ratio as it is."""
    return duration(value) if unit else number(value)


def limit(one: Cost) -> str:
    """Return what a cost may be at most, if anything was promised."""
    if one.target is None:
        return ""
    return f"{'missed: ' if one.found > one.target else ''}<= {shown(one.target, one.unit)}"


def target(row: Row) -> str:
    """Return the largest ratio allowed, marked when gradviz is above it."""
    if row.work.target is None:
        return ""
    missed = "gradviz" in row.outcomes and row.ratio("gradviz") > row.work.target
    return f"{'missed: ' if missed else ''}<= {row.work.target:g}"


def cell(row: Row, name: str, to: str) -> str:
    """Return a ratio, or why there is none."""
    outcome = row.outcomes.get(name)
    if outcome is None:
        return "not installed"
    return number(row.ratio(name, to)) if outcome.ok else SHORT.get(outcome.status, outcome.status)


def number(value: float) -> str:
    """Return three significant digits.

    >>> [number(x) for x in (1.234, 12.34, 1234.5, float("nan"))]
    ['1.23', '12.3', '1,234', '-']
    """
    if math.isnan(value):
        return "-"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """Return seconds in the unit that suits them.

    >>> [duration(x) for x in (4.2e-8, 3.1e-6, 0.012)]
    ['42 ns', '3.10 us', '12.0 ms']
    """
    if math.isnan(seconds):
        return "-"
    if abs(seconds) < 1e-6:
        return f"{seconds * 1e9:.0f} ns"
    return f"{number(seconds * 1e6)} us" if seconds < 1e-3 else f"{number(seconds * 1e3)} ms"


def machine() -> str:
    """Describe the machine without naming it.

    >>> "Python" in machine()
    True
    """
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, {python}"


def processor() -> str:
    """Return the processor's model."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown processor"


def markdown(tables: Iterable[Table], versions: Mapping[str, str], before: str = "") -> str:
    """Return the page for the documentation; tables of the page ``before`` that were not measured again are kept."""
    known = {**versions_of(before), **versions}
    machine_line = f"{machine()}; {', '.join(f'{name} {which}' for name, which in known.items())}."
    parts = sections(before) | {table.title: section(table) for table in tables}
    return "\n\n".join([HEADING, machine_line, *parts.values()]) + "\n"


def versions_of(page: str) -> dict[str, str]:
    r"""Return the versions that a page names above its tables.

    >>> versions_of("# All\n\nA machine, 2 cores; numpy 2.4.6, dot 2.43.0.\n\n## One\n")
    {'numpy': '2.4.6', 'dot': '2.43.0'}
    """
    head = page.partition("\n## ")[0].strip().rpartition("\n")[2]
    found = re.fullmatch(r"[^;]+; (.+)\.", head)
    return dict(item.rsplit(" ", 1) for item in found[1].split(", ")) if found else {}


def section(table: Table) -> str:
    """Return one table as Markdown."""
    lines = [table.header, ["---"] * len(table.header), *table.rows]
    text = f"## {table.title}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{text}\n\n{table.note}" if table.note else text


def sections(page: str) -> dict[str, str]:
    r"""Return the tables of a page by their titles.

    >>> sections("# All\n\n## One\n\n| a |\n\n## Two\n\n| b |\n")
    {'One': '## One\n\n| a |', 'Two': '## Two\n\n| b |'}
    """
    found = re.split(r"^(?=## )", page, flags=re.MULTILINE)[1:]
    return {part[3:].partition("\n")[0]: part.strip() for part in found}


def outcomes(row: Row) -> list[dict[str, object]]:
    """Return what was measured on one workload, for JSON."""
    return [
        {
            "workload": row.work.name,
            "ops": row.work.ops,
            "contestant": name,
            "status": outcome.status,
            "seconds": median(outcome.seconds) if outcome.ok else None,
            "to_floor": row.ratio(name) if outcome.ok else None,
            "rounds": len(outcome.seconds),
        }
        for name, outcome in row.outcomes.items()
    ]
