"""Formulas taken apart: a text of `formulas` becomes steps of a program, one for each operation."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from .program import FLOAT, Kind, Program, broadcast

__all__ = ["expressed"]

SIGNS: dict[type, str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
BOOLEAN = {"np.logical_not", "np.less_equal"}


@cache
def _parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def expressed(program: Program, text: str, names: Mapping[str, int]) -> int:
    """Return the name of the value of a formula; ``names`` says what its letters stand for.

    >>> program = Program()
    >>> x = program.input(FLOAT)
    >>> y = expressed(program, "1.0 - a * a", {"a": x})
    >>> [step.template for step in program.steps.values()]
    ['{} * {}', '{} - {}']
    """
    return _value(program, _parsed(text), names)


def _value(program: Program, node: ast.expr, names: Mapping[str, int]) -> int:
    """Return the name of the value of one node: a formula is a few levels deep."""
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.Constant):
        return program.literal(float(node.value))  # type: ignore[arg-type]
    if isinstance(node, ast.UnaryOp):
        inner = _value(program, node.operand, names)
        return program.negative(inner)
    if isinstance(node, ast.BinOp) and type(node.op) in SIGNS:
        a, b = _value(program, node.left, names), _value(program, node.right, names)
        return program.binary(SIGNS[type(node.op)], a, b)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        a, b = _value(program, node.left, names), _value(program, node.right, names)
        return program.step("{} ** {}", (a, b), program.kinds[a], fresh=True)
    if isinstance(node, ast.IfExp) and isinstance(node.test, ast.Compare):
        parts = (node.body, node.test.left, node.test.comparators[0], node.orelse)
        return program.step(
            "{} if {} <= {} else {}", tuple(_value(program, part, names) for part in parts), FLOAT, fresh=True
        )
    assert isinstance(node, ast.Call)
    function = ast.unparse(node.func)
    args = tuple(_value(program, arg, names) for arg in node.args)
    kind = _kind(function, [program.kinds[a] for a in args])
    return program.step(f"{function}({', '.join(['{}'] * len(args))})", args, kind, fresh=True)


def _kind(function: str, kinds: list[Kind]) -> Kind:
    found = broadcast(*(kinds[1:] if function == "np.where" else kinds))
    if function == "np.where":
        shape = np.broadcast_shapes(kinds[0].shape, found.shape)
        dtype: Any = np.dtype(np.float64) if found.dtype is None else found.dtype
        return Kind(shape, dtype)
    return Kind(found.shape, np.dtype(bool)) if function in BOOLEAN else found
