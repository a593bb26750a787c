"""The operators of `Tensor`, made from one template.

``a + b`` is where scalar programs spend their time, and a helper call costs as much as the
rest of recording. So each operator method is written out in full, once, as a template, and
compiled for each operator at import. What the template does not expect goes to `apply`.
"""

from __future__ import annotations

import linecache
import re
import textwrap
from collections.abc import Callable
from sys import _getframe
from typing import Any

import numpy as np

from . import forms, modes
from .leaves import next_key
from .ops.elementwise import absolute, add, divide, multiply, negative, positive, remainder, subtract
from .ops.elementwise import power as pow_
from .ops.indexing import getitem
from .ops.linalg import matmul
from .ops.rounding import floor_divide
from .recording import finish
from .registry import OPS
from .sites import ENGINE
from .tensor import Constant, Result, Tensor

# What every branch ends with: the operands, where it was made, and the open contexts.
RECORD = """\
out._a = self
out._b = other
frame = _getframe(1)
out._code = frame.f_code
out._key = next_key() + frame.f_lasti
out._grad = out._extra = None
if modes.active:
    finish(out)
return out"""

# Two operands of a kind: two floats, or two arrays. Their form is ALIKE or, for arrays, ARRAYS.
PAIR = """\
if x.__class__ is float and y.__class__ is float:
    out = Result()
    out._data = {floats}
    out._op = ALIKE
    {record}
if x.__class__ is ndarray and y.__class__ is ndarray:
    out = Result()
    try:
        data = out._data = ufunc(x, y)
    except ValueError:
        return slow(self, other)
    if data.__class__ is not ndarray:
        return slow(self, other)
    out._op = ARRAYS
    {record}
return slow(self, other)"""
TENSORS = PAIR.replace("ARRAYS", "ALIKE if x.shape == y.shape and x.dtype is y.dtype else BROADCAST")
CONSTANTS = PAIR.replace("ARRAYS", "CONSTANT").replace("ALIKE", "CONSTANT")

BINARY = """
def __{name}__(self, other):
    x = self._data
    kind = other.__class__
    if kind is Result or kind is Tensor:
        y = other._data
        {tensors}
    if kind is Constant:
        y = other._data
        {constants}
    if kind is not float:
        if kind is not int and kind is not float64:
            return slow(self, other)
        try:
            other = float(other)
        except OverflowError:
            return slow(self, other)
    if x.__class__ is float:
        out = Result()
        out._data = {number}
        out._op = NUMBER
        {record}
    if x.__class__ is ndarray and x.ndim:
        out = Result()
        out._data = ufunc(x, other)
        out._op = NUMBER
        {record}
    return slow(self, other)


def __r{name}__(self, other):
    x = self._data
    kind = other.__class__
    if kind is not float:
        if kind is not int and kind is not float64:
            return slow(other, self)
        try:
            other = float(other)
        except OverflowError:
            return slow(other, self)
    if x.__class__ is float:
        out = Result()
        out._data = {swapped}
        out._op = SWAPPED
        {record}
    if x.__class__ is ndarray and x.ndim:
        out = Result()
        out._data = ufunc(other, x)
        out._op = SWAPPED
        {record}
    return slow(other, self)
"""

# A constant on the left: the form keeps the Tensor first, so the record is made with the two exchanged.
OF_CONSTANT = """
def __{name}__(self, other):
    kind = other.__class__
    if kind is Result or kind is Tensor:
        x = self._data
        y = other._data
        {exchanged}
    return slow(self, other)
"""
EXCHANGED = CONSTANTS.replace("{record}", "self, other = other, self\n    {record}")

# What a placeholder on a line of its own stands for, from the outside in.
PARTS = {"tensors": TENSORS, "constants": CONSTANTS, "exchanged": EXCHANGED, "record": RECORD}

POWER = """
def __pow__(self, other):
    x = self._data
    if other.__class__ is int:
        try:
            other = float(other)
        except OverflowError:
            return slow(self, other)
    if other.__class__ is float and x.__class__ is float:
        out = Result()
        out._data = power(x, other)
        out._op = NUMBER
        {record}
    if other.__class__ is float and x.__class__ is ndarray and x.ndim:
        out = Result()
        out._data = x**other
        out._op = NUMBER
        {record}
    return slow(self, other)
"""

NEGATIVE = """
def __neg__(self):
    x = self._data
    if x.__class__ is float or x.__class__ is ndarray and x.ndim:
        other = None
        out = Result()
        out._data = -x
        out._op = NEG
        {record}
    return slow(self)
"""

MATRIX = """
def __matmul__(self, other):
    x = self._data
    if other.__class__ is Result or other.__class__ is Tensor:
        y = other._data
        if x.__class__ is ndarray and y.__class__ is ndarray and x.ndim == 2 == y.ndim and x.dtype is y.dtype:
            out = Result()
            try:
                out._data = x @ y
            except ValueError:
                return slow(self, other)
            out._op = MATMUL
            {record}
    return slow(self, other)
"""


def _compile(template: str, title: str, names: dict[str, Any], **text: str) -> dict[str, Any]:
    """Compile a template with its own globals; tracebacks and coverage find its text in linecache."""
    for part, lines in PARTS.items():
        template = re.sub(rf"^( *)\{{{part}\}}$", _indented(lines), template, flags=re.MULTILINE)
    source = template.format(**text)
    file = f"{ENGINE}/operators.py: {title}"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    scope: dict[str, Any] = {
        "Constant": Constant,
        "Result": Result,
        "Tensor": Tensor,
        "_getframe": _getframe,
        "finish": finish,
        "float64": np.float64,
        "modes": modes,
        "ndarray": np.ndarray,
        "next_key": next_key,
        **names,
    }
    exec(compile(source, file, "exec"), scope)
    return scope


def _indented(lines: str) -> Callable[[re.Match[str]], str]:
    return lambda found: textwrap.indent(lines, found[1])


# The four operators with every quick path: name, function, ufunc, how floats do it.
FOUR: tuple[tuple[str, Callable[..., Any], Any, str], ...] = (
    ("add", add, np.add, "{} + {}"),
    ("sub", subtract, np.subtract, "{} - {}"),
    ("mul", multiply, np.multiply, "{} * {}"),
    ("truediv", divide, np.divide, "quotient({}, {})"),
)


def _binary(name: str, ours: Callable[..., Any], ufunc: Any, floats: str, also: dict[str, Any]) -> dict[str, Any]:
    op = name.removeprefix("true")
    names = {
        "ALIKE": forms.ALIKE[op],
        "BROADCAST": forms.BROADCAST[op],
        "CONSTANT": forms.CONSTANT[op],
        "NUMBER": forms.NUMBER[op],
        "SWAPPED": forms.SWAPPED[op],
        "quotient": forms.quotient,
        "slow": ours,
        "ufunc": ufunc,
        **also,
    }
    return _compile(
        BINARY,
        f"__{name}__",
        names,
        name=name,
        floats=floats.format("x", "y"),
        number=floats.format("x", "other"),
        swapped=floats.format("other", "x"),
    )


def _of_constant(name: str, ours: Callable[..., Any], ufunc: Any, floats: str) -> Callable[..., Any]:
    """Compile the method of a Constant on the left of a Tensor."""
    form = forms.CONSTANT_LEFT[name.removeprefix("true")]
    names = {"CONSTANT": form, "quotient": forms.quotient, "slow": ours, "ufunc": ufunc}
    made = _compile(OF_CONSTANT, f"Constant.__{name}__", names, name=name, floats=floats.format("x", "y"))
    method: Callable[..., Any] = made[f"__{name}__"]
    return method


def quick_methods(**also: Any) -> dict[str, Callable[..., Any]]:
    """Compile the operator methods that have a quick path, by their name without underscores.

    ``also`` replaces names in the templates: ``Result``, the class of what they make, and
    ``Tensor``, the other class of operand that they expect.
    """
    made: dict[str, Any] = {}
    for row in FOUR:
        made |= _binary(*row, also)
    made |= {
        **_compile(POWER, "__pow__", {"NUMBER": forms.POW_NUMBER, "power": forms.power, "slow": pow_, **also}),
        **_compile(NEGATIVE, "__neg__", {"NEG": forms.NEG, "slow": negative, **also}),
        **_compile(MATRIX, "__matmul__", {"MATMUL": forms.MATMUL, "slow": matmul, **also}),
    }
    return {
        name.strip("_"): method for name, method in made.items() if name.startswith("__") and name != "__builtins__"
    }


def _method(ours: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tensor, *other: Any) -> Any:
        return ours(self, *other)

    return method


def _reflected(ours: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tensor, other: Any) -> Any:
        return ours(other, self)

    return method


# What the methods do where they have no quick path, and for constants always.
SLOW: dict[str, Callable[..., Any]] = {
    "add": _method(add),
    "sub": _method(subtract),
    "mul": _method(multiply),
    "truediv": _method(divide),
    "radd": _reflected(add),
    "rsub": _reflected(subtract),
    "rmul": _reflected(multiply),
    "rtruediv": _reflected(divide),
    "mod": _method(remainder),
    "rmod": _reflected(remainder),
    "floordiv": _method(floor_divide),
    "rfloordiv": _reflected(floor_divide),
    "pow": _method(pow_),
    "rpow": _reflected(pow_),
    "matmul": _method(matmul),
    "rmatmul": _reflected(matmul),
    "neg": _method(negative),
    "pos": _method(positive),
    "abs": _method(absolute),
    "getitem": lambda self, index: getitem(self, index=index),
}


def install() -> None:
    """Make the operator methods and tell each form its op."""
    for name, method in SLOW.items():
        setattr(Constant, f"__{name}__", method)
        setattr(Tensor, f"__{name}__", method)
    for name, method in quick_methods().items():
        method.__qualname__ = f"Tensor.__{name}__"
        setattr(Tensor, f"__{name}__", method)
    for row in FOUR:
        setattr(Constant, f"__{row[0]}__", _of_constant(*row))
    for form in forms.FORMS:
        form.op = OPS[form.name]


__all__ = ["install", "quick_methods"]
