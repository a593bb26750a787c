"""Sixteen things the article's scalar class gets wrong, each beside gradviz's answer and the right one.

The answers of the article's class were measured once and are written here as data; gradviz's are computed
now, most of them by `gradviz.TensorValue`, which has the article's names. Exits with 1 if one is wrong.

python examples/article_gallery.py [--out DIR]
"""

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import gradviz
from gradviz import Tensor, TensorValue


@dataclass(frozen=True)
class Exhibit:
    """One defect: what was asked, what the article's class said, what is right, and how to ask gradviz."""

    title: str
    article: str
    right: Any
    ask: Callable[[], Any]


def reversed_subtraction() -> Any:
    x = TensorValue(2)
    y = 5 - x
    y.backward()
    return y.num, x.grad


def reversed_division() -> Any:
    x = TensorValue(2)
    y = 8 / x
    y.backward()
    return y.num, x.grad


def exponents() -> Any:
    x, y = TensorValue(2), TensorValue(3)
    (x**y).backward()
    two_to_the = TensorValue(3)
    (2**two_to_the).backward()
    return round(y.grad, 12), round(two_to_the.grad, 12)


def power_zero() -> Any:
    x = TensorValue(0)
    (x**0).backward()
    return x.grad


def not_a_number() -> Any:
    with np.errstate(invalid="ignore"):
        cube_root = TensorValue(-8.0) ** (1 / 3)
    return str(TensorValue(math.nan).relu().num), str(cube_root.num)


def intermediate_gradients() -> Any:
    x = TensorValue(3)
    square = x * x
    (square * 2).backward()
    return square.grad


def second_backward() -> Any:
    x = TensorValue(2)
    for _ in range(2):
        x.zero_grad()
        (2 * x**3).backward()
    return x.grad


def calls_in_backward(length: int) -> int:
    """Count the function calls that one backward pass over a chain makes."""
    x = TensorValue(1.0)
    y = x
    for _ in range(length):
        y = y * 1.001
    calls = 0

    def count(frame: Any, event: str, arg: Any) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        y.backward()
    finally:
        sys.setprofile(None)
    return calls


def linear_backward() -> Any:
    calls_in_backward(10)  # what happens only once is over now
    return calls_in_backward(8000) <= 8.1 * calls_in_backward(1000)


def doubling() -> Any:
    x = TensorValue(1.0)
    y = x
    for _ in range(1000):
        y = y + y
    y.backward()
    return x.grad == 2.0**1000


def long_sum() -> Any:
    x = TensorValue(1.0)
    total: Any = 0
    for _ in range(100_000):
        total = total + x
    total.backward()
    return x.grad


def as_written() -> Any:
    x, y = TensorValue(6.0), TensorValue(3.0)
    return [node.op for node in gradviz.graph((x - y) / y).nodes if node.kind == "op"]


class Sub(TensorValue):
    """A subclass, to be mixed with its base."""


def mixed_classes() -> Any:
    derived, base = Sub(2), TensorValue(3)
    (derived * base).backward()
    return derived.grad, base.grad


def arrays() -> Any:
    column, row = Tensor(np.ones((3, 1))), Tensor(np.ones((1, 4)))
    product = np.ones((3, 4)) * column * row
    product.relu().sum().backward()
    return type(product).__name__, column.grad.shape, row.grad.shape


def mathematics() -> Any:
    x = TensorValue(0.5)
    y = np.exp(x) + np.log(x) + np.tanh(x)
    y.backward()
    slope = math.exp(0.5) + 2 + 1 - math.tanh(0.5) ** 2
    return math.isclose(x.grad, slope, rel_tol=1e-15), bool(x < 1), float(x)


def changed_value() -> Any:
    x = TensorValue(3)
    y = x * x
    x.num = 100
    try:
        y.backward()
    except gradviz.errors.StaleValueError:
        return "refused"
    return x.grad


def three_ways() -> Any:
    """Tell whether the article's line fit, with one loss and one seed, ends at the same loss in two ways."""
    x = np.arange(-0.5, 0.5, 0.01)
    y = x + np.random.default_rng(0).normal(0, 0.2, x.shape)

    def loss(w: Any, b: Any) -> Any:
        return ((y - (w * x + b)) ** 2).mean()

    auto = gradviz.descend(loss, {"w": 0.1, "b": 1.0}, lr=0.08, steps=300)
    w, b = 0.1, 1.0
    for _ in range(300):
        error = y - (w * x + b)
        w, b = w - 0.08 * (-2 * x * error).mean(), b - 0.08 * (-2 * error).mean()
    return math.isclose(float(loss(**auto.params)), loss(w, b), rel_tol=1e-12)


LN2 = math.log(2)
EXHIBITS = [
    Exhibit("5 - x at 2: value, slope", "-3, +1", (3, -1.0), reversed_subtraction),
    Exhibit("8 / x at 2: value, slope", "0.25, 0.125", (4, -2.0), reversed_division),
    Exhibit("d(x**y)/dy at 2, 3; d(2**x)/dx at 3", "6; TypeError", (round(8 * LN2, 12),) * 2, exponents),
    Exhibit("d(x**0)/dx at 0", "ZeroDivisionError", 0.0, power_zero),
    Exhibit("relu(NaN); (-8)**(1/3)", "0; a complex number", ("nan", "nan"), not_a_number),
    Exhibit("gradient of x*x inside 2*(x*x)", "0: wiped by backward()", 2.0, intermediate_gradients),
    Exhibit("d(2*x**3)/dx at 2, twice", "24, then 48: nothing resets a leaf", 24.0, second_backward),
    Exhibit("backward is linear in a chain", "52 ms for 800 ops, 2.9 for 200", True, linear_backward),
    Exhibit("x = x + x, 1000 times: exact gradient", "16 levels 195 ms, x2.1 a level", True, doubling),
    Exhibit("sum of 100,000 terms: gradient", "RecursionError at 1,000", 100_000.0, long_sum),
    Exhibit("the ops of (x - y) / y", "*, +, pow, *", ["sub", "div"], as_written),
    Exhibit("subclass * base, 2 * 3: gradients", "3, 0", (3.0, 2.0), mixed_classes),
    Exhibit(
        "arrays (3,1) * (1,4): gradients' shapes",
        "(1,4) for (3,1); relu raises",
        ("Tensor", (3, 1), (1, 4)),
        arrays,
    ),
    Exhibit("exp, log, tanh; x < 1; float(x)", "TypeError", (True, True, 0.5), mathematics),
    Exhibit("x*x at 3, x.num = 100 before backward", "200; right is 6, or no answer", "refused", changed_value),
    Exhibit("one loss by equations and autograd", "a mean here, a sum there, other noise", True, three_ways),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="out/article_gallery", help="where to write (default: out/article_gallery)")
    out = Path(parser.parse_args().out)
    out.mkdir(parents=True, exist_ok=True)

    table = Table(title="The article's class, and gradviz")
    for heading in ("", "question", "the article's class", "gradviz", "right", ""):
        table.add_column(heading)
    answers = []
    for number, exhibit in enumerate(EXHIBITS, 1):
        ours = exhibit.ask()
        good = ours == exhibit.right
        texts = {"question": exhibit.title, "article": exhibit.article, "gradviz": show(ours)}
        answers.append({"number": number, **texts, "right": show(exhibit.right), "good": good})
        table.add_row(str(number), *texts.values(), show(exhibit.right), "ok" if good else "WRONG")
    Console(width=140).print(table)

    file = out / "gallery.json"
    file.write_text(json.dumps(answers, indent=1), encoding="utf-8")
    print("wrote", file)
    wrong = [answer["number"] for answer in answers if not answer["good"]]
    print(f"wrong: {wrong}" if wrong else f"all {len(answers)} answers of gradviz are right")
    return 1 if wrong else 0


def show(answer: Any) -> str:
    if isinstance(answer, tuple | list):
        return ", ".join(str(part) if isinstance(part, tuple) else show(part) for part in answer)
    return f"{answer:.12g}" if isinstance(answer, float) else str(answer)


if __name__ == "__main__":
    sys.exit(main())
