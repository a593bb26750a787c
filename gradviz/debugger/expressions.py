"""Expressions that a person types: ``norm(W.grad) > 10``, worked out by walking their syntax; nothing is executed.

A name is a node's value where the debugger stands, ``X.grad`` its gradient, ``X@17`` what it was in iteration 17.
Operators, comparisons, indexing, the functions below and those of ``np`` that compute are all there is.
A name may have numbers between its dots, as in ``layers.0.weight``; any other name goes between backticks.
"""

from __future__ import annotations

import ast
import contextlib
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from gradviz.errors import GradvizTypeError, GradvizValueError, UnknownNameError

__all__ = ["ATTRIBUTES", "Expression", "Names", "parse", "references"]

LONGEST = 2000  # characters
UNUSUAL = re.compile(r"""'[^']*'|"[^"]*"|`([^`]+)`|(?<![\w.])[^\W\d]\w*(?:\.\w+)+""")
MARK = "\u01c3"  # a letter that nobody types: an identifier that begins so is a name written in hexadecimal
DEEPEST = 50  # levels of syntax
LARGEST_POWER = 10_000  # of whole numbers, which have no bounds of their own
OPERATORS: Mapping[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.MatMult: operator.matmul,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Invert: operator.invert,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
PLAIN_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "all": np.all,
    "any": np.any,
    "float": float,
    "int": int,
    "isfinite": np.isfinite,
    "isinf": np.isinf,
    "isnan": np.isnan,
    "len": len,
    "max": np.max,
    "mean": np.mean,
    "min": np.min,
    "norm": lambda x: float(np.linalg.norm(np.asarray(x, float))),
    "round": np.round,
    "shape": np.shape,
    "std": np.std,
    "sum": np.sum,
}
# fmt: off
OF_NUMPY = frozenset((
    "abs", "all", "allclose", "any", "argmax", "argmin", "argsort", "arange", "array", "array_equal", "asarray",
    "average", "clip", "concatenate", "count_nonzero", "cumsum", "diag", "diff", "dot", "einsum", "histogram", "inf",
    "inner", "linspace", "max", "mean", "median", "min", "nan", "nanmax", "nanmean", "nanmin", "nansum", "ndim",
    "newaxis", "nonzero", "ones", "outer", "percentile", "pi", "prod", "quantile", "ravel", "reshape", "round",
    "shape", "size", "sort", "squeeze", "stack", "std", "sum", "trace", "transpose", "unique", "var", "vdot", "where",
    "zeros",
))
# fmt: on
ATTRIBUTES = ("grad", "value", "shape", "dtype", "ndim", "size", "T", "op", "kind", "scope")


class Names(Protocol):
    """What names mean where the debugger stands."""

    def longest(self, parts: list[str]) -> int:
        """Return how many of the dotted parts name something known; 0 if none do."""

    def look_up(self, name: str, attribute: str, iteration: int | None) -> Any:
        """Return ``value``, ``grad``, ... of what the name means, in another iteration if one is given."""


class Expression:
    """An expression that has been read; calling it with the names works it out.

    >>> class Two:
    ...     def longest(self, parts): return 1
    ...     def look_up(self, name, attribute, iteration): return 2.0
    >>> Expression("abs(-w) + 1")(Two())
    3.0
    """

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self._tree = parse(self.text)

    def __call__(self, names: Names) -> Any:
        """Return what it comes to; raises GradvizError for anything that cannot be worked out."""
        try:
            with np.errstate(all="ignore"):
                return Walker(names, self.text).value(self._tree)
        except (TypeError, ValueError, IndexError, ArithmeticError, MemoryError) as error:
            if isinstance(error, GradvizTypeError | GradvizValueError):
                raise
            raise GradvizValueError(f"{self.text[:200]!r}: {error}") from error

    def holds(self, names: Names) -> bool:
        """Tell whether it is true; what compares with a number that is not there yet is not."""
        found = self(names)
        return bool(np.any(found)) if found is not None else False

    @property
    def names(self) -> tuple[tuple[str, ...], ...]:
        """The dotted names that occur in it."""
        return tuple(dict.fromkeys(references(self._tree)))


def parse(text: str) -> ast.expr:
    """Return the syntax of an expression; raises GradvizValueError for what is none.

    >>> list(references(parse("layers.0.weight + `my loss`.grad - 0.5")))
    [('layers', '0', 'weight'), ('my loss', 'grad')]
    """
    if len(text) > LONGEST:
        raise GradvizValueError(f"an expression of {len(text)} characters: the limit is {LONGEST}")
    try:
        tree = ast.parse(UNUSUAL.sub(_spelt, text), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise GradvizValueError(f"{text[:200]!r} is no expression: {getattr(error, 'msg', error)}") from None
    if depth(tree) > DEEPEST:
        raise GradvizValueError(f"{text[:80]!r} is nested more than {DEEPEST} levels deep")
    return tree


def _spelt(found: re.Match[str]) -> str:
    """Return a name as identifiers that Python's syntax takes; text in quotes as it is."""
    if found[1]:
        return _marked(found[1])
    if found[0][0] in "'\"":
        return found[0]
    return ".".join(_marked(part) if part[0].isdigit() else part for part in found[0].split("."))


def _marked(name: str) -> str:
    return MARK + name.encode("utf-8", "surrogatepass").hex()


def _name(identifier: str) -> str:
    """Return the name that an identifier stands for."""
    if not identifier.startswith(MARK):
        return identifier
    with contextlib.suppress(ValueError):
        return bytes.fromhex(identifier[len(MARK) :]).decode("utf-8", "surrogatepass")
    return identifier


def depth(tree: ast.AST) -> int:
    """Return how many levels of syntax there are.

    >>> depth(parse("1"))
    1
    """
    level, count = [tree], 0
    while level:
        level = [child for node in level for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
        count += 1
    return count


def references(tree: ast.AST) -> Iterator[tuple[str, ...]]:
    """Yield the dotted names in an expression, functions left out.

    >>> list(references(parse("norm(enc.W.grad) > b")))
    [('enc', 'W', 'grad'), ('b',)]
    """
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        parts = dotted(node)
        if parts is not None:
            yield parts
            continue
        children = [*node.args] if isinstance(node, ast.Call) else list(ast.iter_child_nodes(node))
        waiting += reversed(children)


def dotted(node: ast.AST) -> tuple[str, ...] | None:
    """Return ``a.b.c`` as its parts; None for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(_name(node.attr))
        node = node.value
    return (_name(node.id), *reversed(parts)) if isinstance(node, ast.Name) else None


class Walker:
    """Works an expression out; every kind of syntax has a method, and what has none is refused."""

    def __init__(self, names: Names, text: str) -> None:
        self.names = names
        self.text = text

    def value(self, node: ast.AST, iteration: int | None = None) -> Any:
        """Return what a piece of syntax comes to."""
        parts = dotted(node)
        if parts is not None:
            return self.named(list(parts), iteration)
        method = getattr(self, f"of_{type(node).__name__.lower()}", None)
        if method is None:
            raise GradvizValueError(
                f"{self.text[:200]!r}: a {type(node).__name__} cannot be used here",
                hint="operators, comparisons, indexing and functions such as norm(), max() and np.sum()",
            )
        return method(node)

    def named(self, parts: list[str], iteration: int | None) -> Any:
        """Return what a dotted name means."""
        if parts[0] == "np" and not self.names.longest(parts):
            return of_numpy(parts[1:])
        known = self.names.longest(parts)
        if not known:
            raise UnknownNameError(f"nothing is named {'.'.join(parts)[:200]!r} here", hint="lt lists the nodes")
        name, rest = ".".join(parts[:known]), parts[known:]
        found = self.names.look_up(name, rest[0] if rest else "value", iteration)
        for attribute in rest[1:]:
            found = self.attribute(found, attribute)
        return found

    def attribute(self, found: Any, name: str) -> Any:
        """Return an attribute of a number."""
        if name not in {"shape", "dtype", "ndim", "size", "T"}:
            raise UnknownNameError.among("attribute", name, ATTRIBUTES)
        return getattr(np.asarray(found), name)

    def of_constant(self, node: ast.Constant) -> Any:
        """Return a number or a text."""
        return node.value

    def of_unaryop(self, node: ast.UnaryOp) -> Any:
        """``-x``, ``not x``."""
        x = self.value(node.operand)
        return None if x is None and not isinstance(node.op, ast.Not) else OPERATORS[type(node.op)](x)

    def of_binop(self, node: ast.BinOp) -> Any:
        """``x + y``; ``x @ 17`` is the x of iteration 17."""
        at = whole(node.right)
        if isinstance(node.op, ast.MatMult) and at is not None and dotted(node.left):
            return self.value(node.left, iteration=at)
        left, right = self.value(node.left), self.value(node.right)
        if type(node.op) not in OPERATORS:
            raise GradvizValueError(f"{self.text[:200]!r}: this operator cannot be used here")
        if isinstance(node.op, ast.Pow) and isinstance(left, int) and isinstance(right, int) and right > LARGEST_POWER:
            raise GradvizValueError(f"{self.text[:200]!r}: the power {right} is too large")
        return None if left is None or right is None else OPERATORS[type(node.op)](left, right)

    def of_boolop(self, node: ast.BoolOp) -> Any:
        """``x and y``."""
        results = (bool(np.any(self.value(x))) for x in node.values)
        return all(results) if isinstance(node.op, ast.And) else any(results)

    def of_compare(self, node: ast.Compare) -> Any:
        """``0 < x < 1``; nothing holds for a number that is not there, except ``x is None``."""
        values = [self.value(x) for x in (node.left, *node.comparators)]
        held: Any = True
        for op, left, right in zip(node.ops, values, values[1:], strict=False):
            if isinstance(op, ast.Is | ast.IsNot):
                held = held & OPERATORS[type(op)](left, right)
            elif isinstance(op, ast.In | ast.NotIn):
                held = held & ((left in right) is isinstance(op, ast.In))
            else:
                held = held & (left is not None and right is not None and OPERATORS[type(op)](left, right))
        return held

    def of_ifexp(self, node: ast.IfExp) -> Any:
        """``x if y else z``."""
        return self.value(node.body if np.any(self.value(node.test)) else node.orelse)

    def of_tuple(self, node: ast.Tuple) -> Any:
        """``x, y``."""
        return tuple(map(self.value, node.elts))

    def of_list(self, node: ast.List) -> Any:
        """``[x, y]``."""
        return list(map(self.value, node.elts))

    def of_slice(self, node: ast.Slice) -> Any:
        """``1:3`` in brackets."""
        return slice(*(None if x is None else self.value(x) for x in (node.lower, node.upper, node.step)))

    def of_subscript(self, node: ast.Subscript) -> Any:
        """``x[0, 1:3]``."""
        found = self.value(node.value)
        return None if found is None else np.asarray(found)[self.value(node.slice)]

    def of_attribute(self, node: ast.Attribute) -> Any:
        """``(x + y).shape``."""
        return self.attribute(self.value(node.value), node.attr)

    def of_call(self, node: ast.Call) -> Any:
        """``norm(x)``, ``np.sum(x, axis=0)``, ``ratio(update / param)``."""
        parts = dotted(node.func) or ("",)
        if parts == ("ratio",):
            return self.ratio(node)
        function = of_numpy(list(parts[1:])) if parts[0] == "np" else PLAIN_FUNCTIONS.get(".".join(parts))
        if not callable(function):
            raise UnknownNameError.among("function", ".".join(parts), [*PLAIN_FUNCTIONS, "ratio", "np.sum"])
        args = [self.value(x) for x in node.args]
        if any(x is None for x in args):
            return None
        return function(*args, **{k.arg: self.value(k.value) for k in node.keywords if k.arg})

    def ratio(self, node: ast.Call) -> Any:
        """``ratio(x / y)`` or ``ratio(x, y)``: the quotient of the norms."""
        args: list[ast.expr] = list(node.args)
        if len(args) == 1 and isinstance(args[0], ast.BinOp) and isinstance(args[0].op, ast.Div):
            args = [args[0].left, args[0].right]
        if len(args) != 2:
            raise GradvizTypeError("ratio takes a quotient", hint="ratio(update / param) > 0.1")
        above, below = map(self.value, args)
        if above is None or below is None:
            return None
        return np.float64(PLAIN_FUNCTIONS["norm"](above)) / np.float64(PLAIN_FUNCTIONS["norm"](below))


def whole(node: ast.AST) -> int | None:
    """Return a whole number as it stands in an expression, or None."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = whole(node.operand)
        return None if inner is None else -inner
    return node.value if isinstance(node, ast.Constant) and type(node.value) is int else None


def of_numpy(parts: list[str]) -> Any:
    """Return a function or constant of NumPy that only computes."""
    name = ".".join(parts)
    found = getattr(np, name, None) if len(parts) == 1 else None
    if parts == ["linalg", "norm"]:
        return np.linalg.norm
    if not isinstance(found, np.ufunc) and name not in OF_NUMPY:
        raise UnknownNameError(
            f"np.{name[:80]} cannot be used in an expression", hint="np has what computes: np.sum, np.exp"
        )
    return found
