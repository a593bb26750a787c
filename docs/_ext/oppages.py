"""The gallery of operations: a page for each family of the registry, with a picture of every op at work.

The operands are the first sample that an op has for its own tests. A picture is laid out anew only when its
DOT text, or the code that draws, has changed.
"""

import ast
import hashlib
import inspect
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import gradviz
from gradviz import Tensor
from gradviz.engine import ops
from gradviz.engine.registry import FUNCTIONS, OPS, Op, recording_function
from gradviz.style import format_array, format_number

FOLDER = "gallery/operations"
OPERANDS = ("x", "y", "z")
HEADING = """\
# Operations

{count} operations, each with the numbers of a sample: the value and the gradient of everything in it, and the
derivative on each edge as a formula and as a number. *x*, *y* and *z* are the operands, **r** is the result, **g** the
gradient that arrives, here 1 for every element; `[condition]` is 1 where it holds and 0 elsewhere.
The same as one table: [operations](/operations.md).

| family | operations |
| --- | --- |
"""
PICTURES = "pictures"
MOST = 12  # numbers that are written out
CODE = ("views", "style", "transforms", "graphs")


def pages(folder: Path) -> dict[str, str]:
    """Return the text of every page by its name, and write the pictures they show."""
    rng = np.random.default_rng(0)
    made = {name: picture(op, rng) for name, op in sorted(ours().items())}
    draw_all(folder / FOLDER / "pictures", {name: drawing for name, (drawing, *_) in made.items()})
    rows, written = [], {}
    for family, names in families().items():
        title, summary = heading(family)
        links = ", ".join(f"[`{name}`](#op-{name.replace('_', '-')})" for name in names)
        texts = [entry(OPS[name], *made[name][1:]) for name in names]
        written[f"{FOLDER}/{family}.md"] = "\n".join([f"# {title}", "", summary, "", links, "", *texts])
        rows.append(f"| [{title}]({family}.md) | {', '.join(f'`{name}`' for name in names)} |\n")
    sheet = "".join(f"\n## {heading(family)[0]}\n\n{cards(each)}\n" for family, each in families().items())
    index = HEADING.format(count=len(made)) + "".join(rows) + sheet
    hidden = "\n".join(["", "```{toctree}", ":hidden:", "", *families(), "```", ""])
    return {f"{FOLDER}/index.md": index + hidden, **written}


def ours() -> dict[str, Op]:
    """Return the ops that gradviz itself has registered."""
    return {name: op for name, op in OPS.items() if op.forward.__module__.startswith("gradviz.")}


def families() -> dict[str, list[str]]:
    """Return the names of ops by the file that defines them.

    >>> "sin" in families()["transcendental"]
    True
    """
    found = defaultdict(list)
    for name, op in ours().items():
        found[op.forward.__module__.rpartition(".")[2]].append(name)
    return {family: sorted(found[family]) for family in sorted(found)}


def cards(some: list[str]) -> str:
    """Return ops beside each other, each with its picture."""
    parts = ["::::{container} operations"]
    for name in some:
        anchor = f"#op-{name.replace('_', '-')}"
        parts += [f":::{{container}} operation\n[![{name} at work]({PICTURES}/{name}.svg)]({anchor})", ""]
        parts += [f"[{name}]({anchor})\n:::"]
    return "\n".join([*parts, "::::"])


def heading(family: str) -> tuple[str, str]:
    """Return the title and the first sentence of a family, as its file says."""
    text = ast.get_docstring(ast.parse((Path(ops.__file__).parent / f"{family}.py").read_text("utf-8"))) or ""
    return family.capitalize().replace("_", " "), text.split("\n\n", 1)[0].replace("``", "`")


def picture(op: Op, rng: np.random.Generator) -> tuple[gradviz.Drawing, list[tuple[str, Tensor]], str]:
    """Return the drawing of an op at work on a sample, its operands by name, and the call as one writes it."""
    args, attrs = sample(op, rng)
    operands = [(name, Tensor(np.array(x, copy=True), name=name)) for name, x in zip(names(args), args, strict=True)]
    function = recording_function(op)
    tensors = [tensor for _, tensor in operands]
    result = function(tensors, **attrs) if op.variadic else function(*tensors, **attrs)
    result.backward(np.ones(result.shape))
    alt = f"{op.name} of {' and '.join(name for name, _ in operands)}, with values, gradients and derivatives"
    parameters = dict(operands) | {"r": result}
    shown = ("name", "shape", "value", "grad", "local")
    return (
        gradviz.draw(result, show=shown, params=parameters, alt=alt, precision=4),
        operands,
        call(op, operands, attrs),
    )


def call(op: Op, operands: list[tuple[str, Tensor]], attrs: dict[str, Any]) -> str:
    """Return the call of an op as one writes it."""
    given = ", ".join(name for name, _ in operands)
    more = [f"{key}={value!r}" for key, value in attrs.items()]
    return cell(f"r = {op.name}({', '.join([f'[{given}]' if op.variadic else given, *more])})")


def sample(op: Op, rng: np.random.Generator) -> tuple[list[Any], dict[str, Any]]:
    """Return the first sample of an op whose operands are not empty."""
    for args, attrs in op.samples(rng) if op.samples else ():
        parts = list(args[0]) if op.variadic and len(args) == 1 and isinstance(args[0], list | tuple) else list(args)
        if all(np.size(part) for part in parts):
            return parts, dict(attrs)
    raise LookupError(f"{op.name} has no sample that is not empty")


def names(args: list[Any]) -> list[str]:
    """Return a name for each operand."""
    return [OPERANDS[i] if len(args) <= len(OPERANDS) else f"x{i}" for i in range(len(args))]


def draw_all(folder: Path, drawings: dict[str, gradviz.Drawing]) -> None:
    """Write the pictures, those that have changed."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "drawn.json"
    before = json.loads(kept.read_text("utf-8")) if kept.is_file() else {}
    code = hashlib.sha256(b"".join(source() for source in sources())).hexdigest()
    now = {name: hashlib.sha256((code + drawing.dot).encode()).hexdigest() for name, drawing in drawings.items()}
    for name, drawing in drawings.items():
        if before.get(name) != now[name] or not (folder / f"{name}.svg").is_file():
            drawing.save(folder / f"{name}.svg")
    kept.write_text(json.dumps(now), encoding="utf-8")


def sources() -> list[Callable[[], bytes]]:
    """Return how to read each file that decides what a picture looks like."""
    package = Path(gradviz.__file__).parent
    return [path.read_bytes for room in CODE for path in sorted((package / room).rglob("*.py"))]


def entry(op: Op, operands: list[tuple[str, Tensor]], written: str) -> str:
    """Return what a page says of one op."""
    theirs = sorted({f"np.{f.__name__}" for f, ours in FUNCTIONS.items() if getattr(ours, "op", None) is op})
    named = [f"gradviz.{op.name}"] * (op.name in gradviz.__all__) + theirs
    also = f" As a function: {', '.join(f'`{name}`' for name in named)}." if named else ""
    lines = [f"(op-{op.name.replace('_', '-')})=", f"## {op.name}", "", words(op) + also, "", f"`{written}`", ""]
    lines += [f"```{{image}} pictures/{op.name}.svg", f":alt: {op.name} at work on a sample", "```", ""]
    lines += ["| operand | its derivative | at | gradient |", "| --- | --- | --- | --- |"]
    lines += [row(op, place, name, tensor) for place, (name, tensor) in enumerate(operands)]
    return "\n".join([*lines, ""])


def words(op: Op) -> str:
    """Return the whole docstring of an op that is no doctest, as Markdown."""
    text = (inspect.getdoc(op.forward) or op.summary).split(">>>", 1)[0].strip()
    first = text.removeprefix("Return ")
    return (first[:1].upper() + first[1:] if first[:1].isalpha() else first).replace("``", "`").replace("|", r"\|")


def row(op: Op, place: int, name: str, tensor: Tensor) -> str:
    """Return the line of one operand: its formula, its value and the gradient that it gets."""
    formulas = [formula.format(*OPERANDS, y="r") for formula in op.formulas]
    formula = formulas[min(place, len(formulas) - 1)] if formulas else ""
    grad = "none flows" if tensor.grad is None else f"`{number(tensor.grad)}`"
    return f"| {name} | {f'`{cell(formula)}`' if formula else ''} | `{number(tensor.data)}` | {grad} |"


def number(value: Any) -> str:
    """Return a number, an array of few numbers, or the range of many."""
    array = np.asarray(value)
    if array.ndim and array.size > MOST:
        shape = "×".join(map(str, array.shape))
        return f"{shape}: {format_number(float(array.min()))} … {format_number(float(array.max()))}"
    return cell(format_array(array)) if array.ndim else format_number(float(array))


def cell(text: str) -> str:
    """Return text for a cell of a table."""
    return text.replace("|", r"\|").replace("`", "'").replace("\n", " ")
