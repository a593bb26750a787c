"""From a program to a Python function: names given and given again, results written over dead operands."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .program import UFUNCS, Program, Step

__all__ = ["MISSED", "function_of", "source_of"]

MISSED: Any = type("Missed", (), {"__repr__": lambda self: "<another structure>"})()
DEEPEST = 12  # expressions inside an expression


def function_of(program: Program, outputs: Sequence[int | None], title: str) -> tuple[Callable[..., Any], str]:
    """Return the function of the inputs that returns a tuple of the outputs, and its source text.

    It returns MISSED where a check was answered otherwise than before.
    """
    source = source_of(program, outputs)
    names: dict[str, Any] = {
        **program.bound,
        **{name.replace(".", "_"): _found(name) for name in _numpy_names(source)},
        "MISSED": MISSED,
        "inf": math.inf,
        "nan": math.nan,
        "np": np,
        "math": math,
    }
    exec(compile(source, f"<gradviz: {title!a}>", "exec", dont_inherit=True), names)
    return names["run"], source


def _numpy_names(source: str) -> set[str]:
    return {name for name in QUICK if name.replace(".", "_") in source}


def _found(name: str) -> Any:
    value: Any = {"np": np, "math": math}[name.split(".", maxsplit=1)[0]]
    for part in name.split(".")[1:]:
        value = getattr(value, part)
    return value


# A global name is found sooner than an attribute.
QUICK = (
    *sorted(set(UFUNCS.values()), key=len, reverse=True),
    *("np.add.reduce", "np.where", "np.maximum", "np.minimum", "np.full", "np.logical_not", "np.less_equal"),
    *(
        f"math.{name}"
        for name in [
            "exp",
            "log",
            "sqrt",
            "sin",
            "cos",
            "tan",
            "tanh",
            "sinh",
            "cosh",
            "log1p",
            "expm1",
            "atan",
            "asin",
            "acos",
        ]
    ),
)


def _quick(template: str) -> str:
    for name in QUICK:
        if f"{name}(" in template:
            template = template.replace(f"{name}(", name.replace(".", "_") + "(")
    return template


def source_of(program: Program, outputs: Sequence[int | None]) -> str:
    """Return the source text of a function of the inputs that returns the outputs."""
    return _Writer(program, outputs).source()


class _Writer:
    """One pass over the steps that are needed."""

    def __init__(self, program: Program, outputs: Sequence[int | None]) -> None:
        self.program = program
        self.outputs = outputs
        wanted = [name for name in outputs if name is not None]
        self.order = program.needed(wanted)
        self.uses = Counter(wanted)
        self.results = set(wanted)
        self.kept: set[int] = set()  # what others may share memory with
        for name in self.order:
            step = program.steps[name]
            self.uses.update(step.args)
            if step.keeps:
                self.kept.update(step.args)
        self.names: dict[int, str] = {name: f"a{i}" for i, name in enumerate(program.inputs)}
        self.names |= {name: literal(value) for name, value in program.literals.items()}
        self.inlined: dict[int, tuple[str, int]] = {}
        self.reads: dict[int, tuple[int, ...]] = {}  # the names that an inlined expression reads
        self.free: list[str] = []
        self.count = 0
        self.quick: dict[str, str] = {}
        self.lines: list[str] = []

    def source(self) -> str:
        """Return the text."""
        program = self.program
        left = dict(self.uses)
        for name in self.order:
            step = program.steps[name]
            if not self._inline(name, step):
                texts, reads = self._operands(step)
                self._assign(name, step, texts, self._dead_after(reads, left))
        head = ", ".join(self.names[name] for name in program.inputs)
        body = "\n".join(self.lines)
        return f"def run({head}):\n{body}{chr(10) if body else ''}    return ({self._results()},)\n"

    def _inline(self, name: int, step: Step) -> bool:
        """Keep a float that is used once as an expression, to stand where it is used."""
        if step.kind.dtype is not None or step.check or self.uses[name] != 1 or name in self.results:
            return False
        if not step.args:
            return False
        depth = 1 + max((self.inlined[a][1] for a in step.args if a in self.inlined), default=0)
        if depth > DEEPEST or any(not self.program.kinds[a].is_float for a in step.args):
            return False
        texts, self.reads[name] = self._operands(step)
        text = self._filled(step.template, texts)
        self.inlined[name] = text if step.template.endswith("({})") else f"({text})", depth
        return True

    def _operands(self, step: Step) -> tuple[list[str], tuple[int, ...]]:
        """Return the texts of a step's operands, and the names that they read."""
        texts: list[str] = []
        reads: list[int] = []
        for a in step.args:
            if a in self.inlined:
                texts.append(self.inlined.pop(a)[0])
                reads.extend(self.reads.pop(a))
            else:
                texts.append(self.names[a])
                reads.append(a)
        return texts, tuple(reads)

    def _filled(self, template: str, texts: list[str]) -> str:
        quick = self.quick.get(template)
        if quick is None:
            quick = self.quick[template] = _quick(template)
        return quick.format(*texts)

    def _dead_after(self, reads: tuple[int, ...], left: dict[int, int]) -> set[int]:
        """Count down the uses of names; return those that are not used again."""
        dead = set()
        for a in reads:
            left[a] -= 1
            if not left[a] and a in self.program.steps and self.program.steps[a].args:
                dead.add(a)
        return dead

    def _assign(self, name: int, step: Step, texts: list[str], dead: set[int]) -> None:
        text = self._filled(step.template, texts)
        if step.check:
            self.lines.append(f"    if {text}: return MISSED")
            self._release(dead)
            return
        if not step.args:  # an object of the program has its name already
            self.names[name] = text
            return
        over = self._overwritten(step, dead)
        if over is not None:
            self.names[name] = self.names[over]
            ufunc = UFUNCS[step.template].replace(".", "_")
            self.lines.append(f"    {ufunc}({', '.join(texts)}, {self.names[over]})")
            self._release(dead - {over})
            return
        self._release(dead)
        if self.free:
            self.names[name] = self.free.pop()
        else:
            self.names[name] = f"t{self.count}"
            self.count += 1
        self.lines.append(f"    {self.names[name]} = {text}")

    def _release(self, dead: set[int]) -> None:
        for a in sorted(dead):
            self.free.append(self.names[a])

    def _overwritten(self, step: Step, dead: set[int]) -> int | None:
        """Return the operand that a step may write its result over."""
        if step.kind.dtype is None or not step.kind.shape or step.template not in UFUNCS:
            return None
        steps = self.program.steps
        for a in step.args:
            if (
                a in dead
                and a not in self.kept
                and a not in self.results
                and steps[a].fresh
                and steps[a].kind == step.kind
            ):
                return a
        return None

    def _results(self) -> str:
        """Return the text of the outputs: every array is one of its own."""
        seen: set[int] = set()
        texts = []
        for name in self.outputs:
            if name is None:
                texts.append("None")
                continue
            step = self.program.steps.get(name)
            own = step is not None and step.fresh and name not in seen and name not in self.kept
            text = self.names[name]
            own = own and bool(self.program.kinds[name].shape)  # else a scalar of NumPy, not an array
            texts.append(text if own or self.program.kinds[name].is_float else f"np.array({text})")
            seen.add(name)
        return ", ".join(texts)


def literal(value: float) -> str:
    """Return the text of a number, in brackets where a sign could be misread.

    >>> literal(-2.0), literal(0.5), literal(float("inf"))
    ('(-2.0)', '0.5', 'inf')
    """
    text = repr(value)
    return f"({text})" if text.startswith("-") else text
