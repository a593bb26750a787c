"""From a tape to a program: the values forward, then the gradients backward, in the engine's own order."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..admit import settle
from ..cotangents import fit
from ..forms import power
from .expressions import expressed
from .formulas import Formula, formula_of, power_formula
from .program import FLOAT, Kind, Program
from .reductions import is_plain_reduction, reduced, spread
from .tape import ALIAS, OPERAND, Asked, Line, Tape

__all__ = ["Written", "answers_alike", "written"]


class Written:
    """A program, the names of its result and of the gradient of every input (None where none arrives)."""

    def __init__(self, tape: Tape, seeded: bool) -> None:
        self.program = Program()
        self.lines = tape.lines
        self.names: list[int] = []
        self.inputs = {position: self.program.input(_kind(tape.lines[position])) for _, position in tape.inputs}
        for position, line in enumerate(tape.lines):
            self.names.append(self._forward(position, line))
        self.value = self.names[tape.root]
        self.seed = self.program.input(_kind(tape.lines[tape.root])) if seeded else self.program.literal(1.0)
        self.grads: dict[int, int] = {}
        if tape.lines[tape.root].wants:
            self.grads[tape.root] = self.seed
            for position in range(tape.root, -1, -1):
                self._backward(position)
        self.gradients = [self._whole(position) for _, position in tape.inputs]

    # -- forward --------------------------------------------------------------------------------

    def _forward(self, position: int, line: Line) -> int:
        program = self.program
        if line.kind == "input":
            return self.inputs[position]
        if line.kind == "const":
            if line.dtype is None:
                return program.literal(line.data)
            return program.constant(line.data, _kind(line))
        args = tuple(self.names[a] for a in line.args)
        if line.kind == "ask":
            return self._ask(line.data)
        if line.op is ALIAS:
            return args[0]
        formula = self._formula(line)
        if formula is not None:
            text = formula.number if line.dtype is None and self._on_floats(line) else formula.array
            if text:
                return expressed(program, text, dict(zip("abc", args, strict=False)))
        if is_plain_reduction(line, self.lines[line.args[0]]):
            return reduced(program, line, args[0])
        if self._is_plain_product(line):
            return program.step("{} @ {}", args, _kind(line), fresh=True)
        return self._called(line, args)

    def _on_floats(self, line: Line) -> bool:
        return all(self.lines[a].dtype is None for a in line.args)

    def _formula(self, line: Line) -> Formula | None:
        """Return the formula of an op, if it holds for what the op met: floats, or arrays with axes."""
        kinds = [self.lines[a] for a in line.args]
        if any(x.dtype is not None and not x.shape for x in (*kinds, line)):
            return None
        if line.op.name == "pow":
            return self._power(line, kinds[0], kinds[1])
        if line.attrs:
            return None
        formula = formula_of(line.op.name)
        if formula is None or (line.dtype is not None and line.dtype.kind != "f"):
            return None
        return formula if line.dtype is not None or formula.number else None

    def _power(self, line: Line, base: Line, exponent: Line) -> Formula | None:
        """Return the formula of a power with one number as exponent, where the engine computes it by that."""
        if exponent.kind != "const" or exponent.dtype is not None:
            return None
        if base.dtype is not None:
            return power_formula(exponent.data, False) if line.path == "number" and base.dtype.kind == "f" else None
        return power_formula(exponent.data, True) if line.path == "number" or not line.wants else None

    def _is_plain_product(self, line: Line) -> bool:
        """Tell whether it is the product of two matrices of one dtype."""
        kinds = [self.lines[a] for a in line.args]
        return line.op.name == "matmul" and all(len(x.shape) == 2 and x.dtype == line.dtype for x in kinds)

    def _called(self, line: Line, args: tuple[int, ...]) -> int:
        """Return the name of an op's result as its registry entry computes it."""
        program, op = self.program, line.op
        attrs, more = self._metadata(line)
        places = ", ".join(["{}"] * len(args))
        on_floats = self._on_floats(line)
        if op.name == "pow" and line.dtype is None and line.path == "number":
            return program.step(f"{program.bind(power)}({places})", args, FLOAT)
        if op.scalar is not None and on_floats and line.dtype is None:
            return program.step(f"{program.bind(op.scalar)}({places}{attrs})", args, FLOAT)
        call = f"{program.bind(op.forward)}({places}{attrs})"
        return program.step(f"{program.bind(settle)}({call})", (*args, *more), _kind(line), keeps=True)

    def _metadata(self, line: Line) -> tuple[str, tuple[int, ...]]:
        """Return the metadata as arguments of a call, and the names that it reads."""
        if line.index is None:
            return f", **{self.program.bind(line.attrs)}" if line.attrs else "", ()
        index = (line.attrs or {})["index"]
        parts = index if isinstance(index, tuple) else (index,)
        texts = ["{}" if at is not None else self.program.bind(x) for at, x in zip(line.index, parts, strict=True)]
        text = f"({', '.join(texts)},)" if isinstance(index, tuple) else texts[0]
        return f", index={text}", tuple(self.names[at] for at in line.index if at is not None)

    def _ask(self, asked: Asked) -> int:
        """Write down a question: whoever gets another answer than the recording did has to record again."""
        program = self.program
        operands = ", ".join("{}" if x is OPERAND else program.bind(x) for x in asked.operands)
        args = tuple(self.names[a] for x, a in self._places(asked) if x is OPERAND)
        question, answer = program.bind(asked.question), program.bind(asked.answer)
        return program.step(
            f"not {program.bind(answers_alike)}({question}, ({operands},), {answer})", args, FLOAT, check=True
        )

    def _places(self, asked: Asked) -> list[tuple[Any, int]]:
        line = self.lines[len(self.names)]
        return list(zip(asked.operands, line.args, strict=True))

    # -- backward -------------------------------------------------------------------------------

    def _backward(self, position: int) -> None:
        line = self.lines[position]
        g = self.grads.get(position)
        if line.kind != "op" or g is None or line.op is ALIAS:
            return
        rules = self._rules(line)
        for arg, x in enumerate(line.args):
            if self.lines[x].wants:
                c = rules(arg, g, position)
                if c is not None:
                    self._give(x, c)

    def _rules(self, line: Line) -> Callable[[int, int, int], int | None]:
        formula = self._formula(line)
        if formula is not None:
            return self._by_formula(line, formula)
        if self._is_plain_product(line):
            return self._by_transposing
        if is_plain_reduction(line, self.lines[line.args[0]]):
            return self._by_spreading
        return self._by_rule

    def _by_formula(self, line: Line, formula: Formula) -> Callable[[int, int, int], int | None]:
        on_floats = line.dtype is None
        slopes = formula.pair_slopes if line.path == "pair" and formula.pair_slopes else formula.slopes
        if line.op.name == "relu":
            slopes = slopes[:1] if on_floats else slopes[1:]

        def rule(arg: int, g: int, position: int) -> int | None:
            if not slopes[arg]:
                return None
            text = slopes[arg].replace("{m}", "math" if on_floats else "np")
            names = {
                "g": g,
                "y": self.names[position],
                **dict(zip("abc", (self.names[a] for a in line.args), strict=False)),
            }
            return self._fitted(expressed(self.program, text, names), line, self.lines[line.args[arg]])

        return rule

    def _by_transposing(self, arg: int, g: int, position: int) -> int:
        line = self.lines[position]
        a, b = (self.names[x] for x in line.args)
        g = self._materialised(g, _kind(line))
        other = self.program.kinds[a if arg else b]
        turned = self.program.step("{}.T", (a if arg else b,), Kind(other.shape[::-1], other.dtype), keeps=True)
        pair = (turned, g) if arg else (g, turned)
        return self.program.step("{} @ {}", pair, _kind(self.lines[line.args[arg]]), fresh=True)

    def _by_spreading(self, arg: int, g: int, position: int) -> int:
        line = self.lines[position]
        if not self.program.kinds[g].is_float:
            g = self._materialised(g, _kind(line))
        return spread(self.program, line, g, self.lines[line.args[0]])

    def _by_rule(self, arg: int, g: int, position: int) -> int | None:
        """Call the registry's rule, and bring what it returns to the shape and dtype of its operand."""
        line, program = self.lines[position], self.program
        rule = line.op.vjp(arg)
        if rule is None:
            return None
        g = self._materialised(g, _kind(line))
        args = (g, self.names[position], *(self.names[a] for a in line.args))
        attrs, more = self._metadata(line)
        operand = self.lines[line.args[arg]]
        call = f"{program.bind(rule)}({', '.join(['{}'] * len(args))}{attrs})"
        if operand.dtype is None and line.dtype is None and self._on_floats(line):
            return program.step(f"float({call})", args, FLOAT)
        like = self.names[line.args[arg]]
        return program.step(f"{program.bind(fit)}({call}, {{}})", (*args, *more, like), _kind(operand), keeps=True)

    # -- gradients ------------------------------------------------------------------------------

    def _give(self, x: int, c: int) -> None:
        had = self.grads.get(x)
        if had is None:
            self.grads[x] = c
            return
        self.grads[x] = self.program.binary("+", had, c)

    def _fitted(self, c: int, line: Line, x: Line) -> int:
        """Bring a cotangent to the shape and dtype of its operand; one that is only smaller may stay so."""
        program = self.program
        kind = program.kinds[c]
        if x.shape == line.shape and kind.dtype == x.dtype:
            return c
        if x.dtype is None:
            whole = self._materialised(c, Kind(line.shape, line.dtype))
            return program.step("float(np.sum({}))", (whole,), FLOAT)
        if x.shape != line.shape:
            c = _unbroadcast(program, self._materialised(c, Kind(line.shape, kind.dtype or line.dtype)), x.shape)
        kind = program.kinds[c]
        if kind.dtype is not None and kind.dtype != x.dtype:
            c = program.step(f"{{}}.astype(np.{x.dtype.name})", (c,), Kind(kind.shape, x.dtype), fresh=True)
        return c

    def _materialised(self, c: int, kind: Kind) -> int:
        """Return a cotangent that was kept small with every element that it stands for."""
        have = self.program.kinds[c]
        if kind.dtype is None or (have.shape == kind.shape and have.dtype is not None):
            return c
        if have.dtype is None:
            return self.program.step(f"np.full({kind.shape}, {{}}, np.{kind.dtype.name})", (c,), kind, fresh=True)
        return self.program.step(f"np.broadcast_to({{}}, {kind.shape})", (c,), Kind(kind.shape, have.dtype), keeps=True)

    def _whole(self, position: int) -> int | None:
        c = self.grads.get(position)
        return None if c is None else self._materialised(c, _kind(self.lines[position]))


def written(tape: Tape, *, seeded: bool = False) -> Written:
    """Return the program of a tape; where ``seeded``, its last argument is the gradient to start from."""
    return Written(tape, seeded)


def _kind(line: Line) -> Kind:
    return Kind(line.shape, line.dtype)


def _unbroadcast(program: Program, c: int, shape: tuple[int, ...]) -> int:
    """Sum over the axes along which a value of ``shape`` was broadcast, as the engine does."""
    inner = program.negated(c)
    if inner is not None:  # a smaller array to change the sign of
        return program.negative(_unbroadcast(program, inner, shape))
    have = program.kinds[c]
    extra = len(have.shape) - len(shape)
    if have.shape[extra:] == shape:
        axes = tuple(range(extra))
        return program.step(f"np.add.reduce({{}}, axis={axes})", (c,), Kind(shape, have.dtype), fresh=True)
    axes = (*range(extra), *(i + extra for i, n in enumerate(shape) if n == 1 and have.shape[i + extra] != 1))
    text = f"np.add.reduce({{}}, axis={axes}, keepdims=True)" + (f".reshape({shape})" if extra else "")
    return program.step(text, (c,), Kind(shape, have.dtype), fresh=True)


def answers_alike(question: Callable[..., Any], operands: tuple[Any, ...], answer: Any) -> bool:
    """Tell whether a question has the answer that it had before; NaN is like NaN.

    >>> answers_alike(bool, (2.0,), True)
    True
    """
    now = question(*operands)
    if now.__class__ is not answer.__class__:
        return False
    if isinstance(now, np.ndarray):
        return now.dtype == answer.dtype and np.array_equal(now, answer, equal_nan=now.dtype.kind in "fc")
    if isinstance(now, tuple):
        return len(now) == len(answer) and all(np.array_equal(a, b) for a, b in zip(now, answer, strict=True))
    return bool(now == answer) or (now.__class__ is float and math.isnan(now) and math.isnan(answer))
