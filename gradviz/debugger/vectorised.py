"""A condition compared with recorded columns: all iterations at once instead of one after the other."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np

from gradviz.debugger.expressions import Expression, Walker, dotted, parse
from gradviz.debugger.timeline import Timeline
from gradviz.errors import GradvizError

__all__ = ["held_in"]

ELEMENTWISE = ("abs", "isfinite", "isinf", "isnan")


def held_in(timeline: Timeline, expression: Expression) -> np.ndarray | None:
    """Return for every iteration whether a condition may hold; None where the columns recorded cannot tell.

    Of an iteration without one of the numbers more may be said to hold than does.

    >>> from gradviz.debugger.timeline import timeline
    >>> import gradviz
    >>> held_in(timeline(gradviz.Tensor(2.0) * 3.0), Expression("loss > 1")) is None
    True
    """
    try:
        with np.errstate(all="ignore"):
            held = ColumnWalker(Columns(timeline), expression.text).value(parse(expression.text))
    except (NotAColumnError, GradvizError, TypeError, ValueError):
        return None
    found = np.asarray(held)
    return found.astype(bool) if found.shape == (len(timeline.iterations),) else None


class NotAColumnError(Exception):
    """Something is asked for that was not recorded as one number per iteration."""


class Columns:
    """Names that mean whole columns."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def longest(self, parts: list[str]) -> int:
        """Return how many of the dotted parts name a column."""
        counts = range(len(parts), 0, -1)
        known = (n for n in counts if self._timeline.has_column(".".join(parts[:n])))
        return next(known, 1 if self._is_number(parts[0]) else 0)

    def _is_number(self, name: str) -> bool:
        """Tell whether the number of the iteration is meant."""
        return name == "iteration" and not self._timeline.knows(name)

    def look_up(self, name: str, attribute: str, iteration: int | None) -> Any:
        """Return one number of every iteration, in double precision as always; NaN where there was none."""
        if self._is_number(name) and iteration is None:
            return np.array(self._timeline.iterations)
        column = self._timeline.column(name, attribute) if iteration is None else None
        if column is None or column.ndim != 1:
            raise NotAColumnError(name)
        return np.ma.filled(np.ma.asarray(column, float), np.nan)


class ColumnWalker(Walker):
    """Works an expression out for all iterations; what would mix them is refused."""

    def of_call(self, node: ast.Call) -> Any:
        """Take ``norm(X.grad)`` from the column of norms; elementwise functions are as always."""
        parts = dotted(node.func) or ("",)
        if parts == ("norm",) and len(node.args) == 1 and (inner := dotted(node.args[0])):
            known = self.names.longest(list(inner))
            name, part = ".".join(inner[:known]), "grad_norm" if inner[known:] == ("grad",) else "norm"
            if known and inner[known:] in {(), ("grad",), ("value",)}:
                return self.names.look_up(name, part, None)
        is_elementwise = parts[-1] in ELEMENTWISE or (
            parts[0] == "np" and isinstance(getattr(np, parts[-1], None), np.ufunc)
        )
        if not is_elementwise:
            raise NotAColumnError(parts[-1])
        return super().of_call(node)

    def of_boolop(self, node: ast.BoolOp) -> Any:
        """Combine what holds in each iteration."""
        combine = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        return combine.reduce([np.asarray(self.value(x)) for x in node.values])

    def of_unaryop(self, node: ast.UnaryOp) -> Any:
        """Negate what holds in each iteration."""
        if isinstance(node.op, ast.Not):
            return np.logical_not(self.value(node.operand))
        return super().of_unaryop(node)

    def of_compare(self, node: ast.Compare) -> Any:
        """Compare in each iteration; what asks for identity or membership is refused."""
        if any(isinstance(op, ast.Is | ast.IsNot | ast.In | ast.NotIn) for op in node.ops):
            raise NotAColumnError(self.text)
        return super().of_compare(node)

    def of_ifexp(self, node: ast.IfExp) -> Any:
        """Refuse: each iteration may go another way."""
        raise NotAColumnError(self.text)

    def of_subscript(self, node: ast.Subscript) -> Any:
        """Refuse: the index would choose iterations."""
        raise NotAColumnError(self.text)
