"""Writes docs/finding-faults.md: every planted fault, and how it is found at the prompt, by doing it.

python docs/finding_faults.py            write the page
python docs/finding_faults.py --check    compare it with what is committed; exit 1 on a difference

The columns of PyTorch and JAX are compared only where these are installed.
"""

import contextlib
import difflib
import inspect
import io
import re
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from gradviz import Debugger
from gradviz.debugger.prompt import Prompt

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "finding-faults.md"
sys.path.insert(0, str(ROOT / "examples"))

import planted_faults as planted  # noqa: E402 - it lies beside

HEADING = """\
# Finding faults

Written by `python docs/finding_faults.py`, which runs everything on this page; a test compares it.

Something is NaN, or nothing learns: where was that born? `blame` follows what is not finite, element by element, from
the loss or a gradient back to the op that made it, through `where` and through iterations, and says iteration, phase,
op, line, the numbers there and how the op is usually written safely. The other kinds of fault are a gradient that is
`cut`, `zero`, `vanish`es or `explode`s, and an op whose own rule is `wrong`.

```python
import numpy as np
from gradviz import Debugger, Tensor

x = Tensor([4.0, 0.0], name="x")
birth = Debugger(np.sum(np.sqrt(x))).blame()
assert (birth.kind, birth.op, birth.phase, birth.index) == ("inf", "sqrt", "backward", (1,))
print(birth)
```

[examples/planted_faults.py](../examples/planted_faults.py) plants eleven faults in small trainings, each of
which is written once and run by gradviz, by PyTorch {torch} in anomaly mode and by JAX {jax} with `jax_debug_nans`, op
by op. **exact**: the report names the guilty line, in the iteration it is guilty in (of gradviz also the op, the
phase and the kind of fault have to be right); **late**: it names another line, or a later iteration, or none;
**silent**: there is no report; **error**: there is one about something else.

(table)

## In tests

```python
import pytest
from gradviz import assert_finite, assert_grads, assert_reaches, assert_same, frame

w = Tensor([1.5, 2.0], name="w")
loss = np.sum(np.log(w) * w)
assert_finite(loss)  # the message is what blame says
assert_grads(loss)  # every op's rule beside finite differences: names the wrong op, and its line
assert_reaches("w", "loss", loss)  # a gradient can flow from the loss back to w: names the node that cuts
assert_same(frame(loss), frame(loss))  # bit for bit: names the first difference

with pytest.raises(AssertionError, match="is 0 everywhere"):
    assert_reaches("w", "loss", np.round(w).sum())
with pytest.raises(AssertionError, match="w is a constant"):
    assert_reaches("w", "loss", (w.detach() * Tensor(2.0)).sum(), params={{"w": w}})
```

They take a Tensor, a Frame, a Run or a Debugger. `pytest --gradviz-blame` adds to the report of every failing test what
`blame` says of the Tensors, Runs and Debuggers among the variables of the failing frame, and draws the graph with the
guilty node outlined into `.gradviz-blame` (`--gradviz-blame-dir`). Without the option the plugin does not even import
gradviz. For continuous integration see also `gradviz check RUN --fail-on nan,cut` in [Health rules](health.md).

## What cannot be named

- Where the values inside of an iteration are not known (runs recorded with `level="scalars"` or `"stats"`, steps that
  cannot be replayed), `blame` names the iteration and what shows the fault first, and says why no more.
- A constant does not know what it was computed from. What a detach cut off is found by the name of the parameter in the
  line, by its value, or as the nearest constant made by `detach()`, `.data` or the like.
- Infinities in a constant of nothing but zeros and infinities are taken for a mask, and the op that makes a NaN of
  them is blamed.
- Which elements an op on whole arrays has mixed is asked of its own rule; where an op cannot tell (one of your own that
  refuses other numbers), all elements that are not finite are followed.

## The planted faults
"""
VERSIONS = re.compile(r"(PyTorch|JAX) \d[\w.]*")
COMMANDS: dict[str, tuple[str, ...]] = {
    "log_of_a_negative": ("blame", "l", "p slope", "p slope@1", "p slope.grad@1"),
    "overflow_then_inf_over_inf": ("blame", "p max(scores)", "p share@0"),
    "zero_times_infinity": ("blame", "s", "s", "l"),
    "root_of_zero": ("blame", "why w"),
    "where_hides_an_overflow": ("blame", "p loss@0", "p w.grad@0"),
    "where_hides_a_log_of_zero": ("blame", "p loss@0", "p w.grad@0"),
    "twelve_sigmoids": ("blame", "p norm(w11.grad@0)", "p norm(first.grad@0)"),
    "dead_relu": ("blame", "p hidden", "p w.grad@0"),
    "detach_that_cuts": ("blame", "p v.grad@0", "p w.grad@0"),
    "wrong_rule": ("blame", "check"),
    "born_in_one_iteration": ("blame nan", "p loss@1", "p scale.grad@1", "p scale@2", "p loss@2"),
}


def text() -> str:
    """Return the page."""
    judged: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="planted-") as folder, contextlib.chdir(ROOT):
        parts = [part for fault in planted.FAULTS for part in section(fault, Path(folder), judged)]
    table = "\n".join(planted.table(judged))
    heading = HEADING.format(torch=version("torch"), jax=version("jax")).replace("(table)", table)
    return f"{heading}\n{chr(10).join(parts)}"


def version(package: str) -> str:
    """Return the version of a package without its build, or that it is not there."""
    try:
        return metadata.version(package).partition("+")[0]
    except metadata.PackageNotFoundError:
        return "(not installed)"


def section(fault: planted.Fault, folder: Path, judged: dict[str, str]) -> Iterator[str]:
    """Yield the lines about one fault: the program and the transcript."""
    debugger = Debugger(planted.record(fault, folder / fault.program.__name__))
    judged[fault.name] = planted.judged(fault, debugger.blame())
    yield f"### {fault.name.capitalize()}\n"
    yield f"```py\n{inspect.getsource(fault.program).rstrip()}\n```\n"
    yield f"```text\n{transcript(debugger, COMMANDS[fault.program.__name__])}\n```\n"


def transcript(debugger: Debugger, commands: tuple[str, ...]) -> str:
    """Return what a person sees who types these commands."""
    out = io.StringIO()
    Prompt(debugger, commands, out).run()
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip().splitlines())


def differences() -> list[str]:
    """Return the lines in which the page is not as it should be."""
    kept, made = PAGE.read_text("utf-8").splitlines(), text().splitlines()
    pairs = [comparable(line, other) for line, other in zip(kept, made, strict=False)]
    old = [one for one, _ in pairs] + kept[len(pairs) :]
    new = [other for _, other in pairs] + made[len(pairs) :]
    return list(difflib.unified_diff(old, new, "committed", "now", lineterm="", n=0))


def comparable(kept: str, made: str) -> tuple[str, str]:
    """Return two lines, without the columns of a library that is not installed here."""
    if VERSIONS.search(kept):
        return VERSIONS.sub(r"\1", kept), re.sub(r"(PyTorch|JAX) (?:\d[\w.]*|\(not installed\))", r"\1", made)
    cells, others = kept.split(" | "), made.split(" | ")
    if "not installed" not in made or len(cells) != len(others):
        return kept, made
    known = [i for i, cell in enumerate(others) if "not installed" not in cell]
    return " | ".join(cells[i] for i in known), " | ".join(others[i] for i in known)


def main() -> int:
    """Write or compare, as the command line says."""
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text(), "utf-8")
        print("wrote docs/finding-faults.md")
        return 0
    trouble = differences()
    print(
        "\n".join([*trouble, "python docs/finding_faults.py writes it anew"]) if trouble else "the page is up to date"
    )
    return 1 if trouble else 0


if __name__ == "__main__":
    raise SystemExit(main())
