"""Writes docs/operations.md: every op of the registry with its derivatives.

python docs/operations.py
"""

from pathlib import Path

from gradviz.engine.registry import FUNCTIONS, OPS, Op

PAGE = Path(__file__).with_name("operations.md")
HEADING = """\
# Operations

Written by `python docs/operations.py` from the registry, so it is complete. *x*, *y* and *z* are the operands, **r**
is the result, **g** the gradient that arrives; `[condition]` is 1 where it holds and 0 elsewhere. Where a derivative
is not a number per element, as for a matrix product, the column gives the rule in short.

| name | drawn as | NumPy functions | derivative by each operand | what it is |
| --- | --- | --- | --- | --- |
"""
OPERANDS = ("x", "y", "z")


def text() -> str:
    """Return the page.

    >>> text().count("| `sin` |")
    1
    """
    ours = [op for op in OPS.values() if op.forward.__module__.startswith("gradviz.")]
    return HEADING + "".join(map(row, sorted(ours, key=lambda op: op.name)))


def row(op: Op) -> str:
    """Return the line of one op."""
    theirs = sorted({f"np.{f.__name__}" for f, ours in FUNCTIONS.items() if getattr(ours, "op", None) is op})
    derivatives = [formula.format(*OPERANDS, y="r") for formula in op.formulas]
    cells = [f"`{op.name}`", code(op.symbol), *(", ".join(map(code, words)) for words in (theirs, derivatives))]
    return "| " + " | ".join([*cells, escaped(op.summary.removeprefix("Return "))]) + " |\n"


def code(words: str) -> str:
    """Return words as code in a cell of a table."""
    return f"`{escaped(words)}`"


def escaped(words: str) -> str:
    """Return words for a cell of a table."""
    return words.replace("``", "`").replace("|", r"\|")


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
    print("wrote docs/operations.md")
