"""Expressions that a person types: ``norm(W.grad) > 10``, worked out by walking their syntax; nothing is executed.

A name is a node's value where the debugger stands, ``X.grad`` its gradient, ``X@17`` what it was in iteration 17.
Operators, comparisons, indexing, the functions below and those of ``np`` that compute are all there is.
A name may have numbers between its dots, as in ``layers.0.weight`` and ``0.bias``; any other goes between backticks.

What is not there (yet) is None, and so is everything worked out from it; it makes no comparison true. Numbers
divide and overflow as those of NumPy do: ``1 / 0`` is inf.
"""

from __future__ import annotations

import ast
import contextlib
import keyword
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from gradviz.debugger.computing import KEYWORDS, OPERATORS, PLAIN_FUNCTIONS, computed, of_numpy, read_only
from gradviz.debugger.sizes import checked, refuse_large
from gradviz.errors import GradvizError, GradvizTypeError, GradvizValueError, UnknownNameError

__all__ = ["ATTRIBUTES", "Expression", "Names", "parse", "references"]

LONGEST = 2000  # characters
QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`([^`]+)`"""
NUMBERED = r"\d+(?:\.\d+)*\.(?![eEjJ]\d*(?![\w.]))[^\W\d]"  # 0.weight, and not 1.e5
UNUSUAL = re.compile(rf"{QUOTED}|(?<![\w.])(?:[^\W\d]|{NUMBERED})\w*(?:\.\w+)*", re.DOTALL)
MARK = "\u01c3"  # a letter that nobody types: an identifier that begins so is a name written in hexadecimal
DEEPEST = 50  # levels of syntax
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
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return Walker(names, self.text).value(self._tree)
        except (TypeError, ValueError, IndexError, ArithmeticError, MemoryError, RecursionError) as error:
            if isinstance(error, GradvizError):
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

    @property
    def iterations(self) -> tuple[int, ...]:
        """The iterations that it speaks of, as in ``w@17``."""
        operations = (node for node in ast.walk(self._tree) if isinstance(node, ast.BinOp))
        found = (whole(node.right) for node in operations if isinstance(node.op, ast.MatMult) and dotted(node.left))
        return tuple(at for at in found if at is not None)


def parse(text: str) -> ast.expr:
    """Return the syntax of an expression; raises GradvizError for what is none, or calls what is not to be called.

    >>> list(references(parse("layers.0.weight + `my loss`.grad - 0.5")))
    [('layers', '0', 'weight'), ('my loss', 'grad')]
    """
    if len(text) > LONGEST:
        raise GradvizValueError(f"an expression of {len(text)} characters: the limit is {LONGEST}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(UNUSUAL.sub(_spelt, text), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise GradvizValueError(f"{text[:200]!r} is no expression: {getattr(error, 'msg', error)}") from None
    if depth(tree) > DEEPEST:
        raise GradvizValueError(f"{text[:80]!r} is nested more than {DEEPEST} levels deep")
    for node in ast.walk(tree):
        if isinstance(node, ast.expr) and not hasattr(Walker, f"of_{type(node).__name__.lower()}"):
            raise GradvizValueError(
                f"{text[:200]!r}: a {type(node).__name__} cannot be used here",
                hint="operators, comparisons, indexing and functions such as norm(), max() and np.sum()",
            )
        if isinstance(node, ast.Call) and dotted(node.func) != ("ratio",):
            function_of(node)
    return tree


def _spelt(found: re.Match[str]) -> str:
    """Return a name as identifiers that Python's syntax takes; text in quotes as it is."""
    if found[1]:
        return _marked(found[1])
    if found[0][0] in "'\"":
        return found[0]
    first, *more = found[0].split(".")
    start = _marked(first) if first[0].isdigit() else _ascii(first)
    return ".".join([start, *(_marked(p) if p[0].isdigit() or keyword.iskeyword(p) else _ascii(p) for p in more)])


def _ascii(name: str) -> str:
    """Return a name as Python's parser leaves it alone: it takes some letters for others."""
    return name if unicodedata.normalize("NFKC", name) == name else _marked(name)


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
    level: list[ast.AST] = [tree]
    count = 0
    while level:
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        count += any(isinstance(node, ast.expr) for node in level)
    return count + isinstance(tree, ast.expr)


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
        children = [*node.args, *node.keywords] if isinstance(node, ast.Call) else list(ast.iter_child_nodes(node))
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
        found: Any = getattr(self, f"of_{type(node).__name__.lower()}")(node)
        return checked(found)

    def named(self, parts: list[str], iteration: int | None = None) -> Any:
        """Return what a dotted name means."""
        if parts[0] == "np" and not self.names.longest(parts):
            return checked(of_numpy(parts[1:]))
        known = self.names.longest(parts)
        if not known:
            raise UnknownNameError(f"nothing is named {'.'.join(parts)[:200]!r} here", hint="lt lists the nodes")
        name, rest = ".".join(parts[:known]), parts[known:]
        found = self.names.look_up(name, rest[0] if rest else "value", iteration)
        for attribute in rest[1:]:
            found = self.attribute(found, attribute)
        return checked(read_only(found))

    def attribute(self, found: Any, name: str) -> Any:
        """Return an attribute of a number."""
        if name not in {"shape", "dtype", "ndim", "size", "T"}:
            raise UnknownNameError.among("attribute", name, ATTRIBUTES)
        return getattr(np.asarray(found), name)

    def of_name(self, node: ast.Name) -> Any:
        """``x``."""
        return self.named([_name(node.id)])

    def of_constant(self, node: ast.Constant) -> Any:
        """Return a number or a text."""
        return node.value

    def of_unaryop(self, node: ast.UnaryOp) -> Any:
        """``-x``, ``not x``."""
        x = self.value(node.operand)
        if x is not None and isinstance(node.op, ast.Not):
            return not np.any(x)
        return None if x is None else OPERATORS[type(node.op)](x)

    def of_binop(self, node: ast.BinOp) -> Any:
        """``x + y``; ``x @ 17`` is the x of iteration 17."""
        at = whole(node.right)
        if isinstance(node.op, ast.MatMult) and at is not None and dotted(node.left):
            return self.value(node.left, iteration=at)
        left, right = self.value(node.left), self.value(node.right)
        if type(node.op) not in OPERATORS:
            raise GradvizValueError(f"{self.text[:200]!r}: this operator cannot be used here")
        return None if left is None or right is None else computed(OPERATORS[type(node.op)], left, right)

    def of_boolop(self, node: ast.BoolOp) -> Any:
        """``x and y``."""
        results = (bool(np.any(self.value(x))) for x in node.values)
        return all(results) if isinstance(node.op, ast.And) else any(results)

    def of_compare(self, node: ast.Compare) -> Any:
        """``0 < x < 1``; nothing holds for a number that is not there, except ``x is None``."""
        values = [self.value(x) for x in (node.left, *node.comparators)]
        refuse_large("a comparison", [x for x in values if isinstance(x, np.ndarray)], {})
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
        name, function = function_of(node)
        args = [self.value(x) for x in node.args]
        keywords = {str(k.arg): self.value(k.value) for k in node.keywords}
        if any(x is None for x in args):
            return None
        refuse_large(name, args, keywords)
        return function(*args, **keywords)

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


def function_of(node: ast.Call) -> tuple[str, Callable[..., Any]]:
    """Return the name and the function of a call; raises UnknownNameError for what is none that only computes."""
    parts = dotted(node.func)
    if parts is None:
        raise GradvizValueError("only a function is called, by its name", hint="norm(x), np.sum(x)")
    name = ".".join(parts)
    unknown = next((k.arg for k in node.keywords if k.arg not in KEYWORDS), "")
    if unknown != "":
        raise UnknownNameError.among(f"argument of {name[:80]}()", unknown or "**", KEYWORDS)
    function = of_numpy(list(parts[1:])) if parts[0] == "np" else PLAIN_FUNCTIONS.get(name)
    if not callable(function):
        raise UnknownNameError.among("function", name, [*PLAIN_FUNCTIONS, "ratio", "np.sum"])
    return parts[-1], function


def whole(node: ast.AST) -> int | None:
    """Return a whole number as it stands in an expression, or None."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = whole(node.operand)
        return None if inner is None else -inner
    return node.value if isinstance(node, ast.Constant) and type(node.value) is int else None
