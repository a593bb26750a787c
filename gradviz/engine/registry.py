"""The op registry: one entry says everything about an op.

An entry is made by `primitive`, wrapped around the plain NumPy function that computes the op.
The gradient tests, the docs table and the gallery iterate over `OPS`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from sys import _getframe
from typing import Any, NamedTuple

import numpy as np

from ..errors import (
    GradvizTypeError,
    GradvizValueError,
    suggestion,
)
from . import modes
from .cotangents import pull
from .forms import Form, unary_pull
from .leaves import next_key
from .metadata import plain
from .recording import apply, compute, finish
from .sites import ENGINE, caller, where
from .tensor import Result, Tensor

Vjp = Callable[..., Any]


class Sample(NamedTuple):
    """One set of arguments to try an op on: operands and metadata."""

    args: tuple[Any, ...]
    attrs: dict[str, Any] = {}  # noqa: RUF012 - never changed


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """An operation: how to compute it, how to differentiate it, how to show it.

    ``vjps`` holds one function per operand, ``vjp(g, y, *operands, **attrs)``, returning the
    cotangent of that operand given the cotangent ``g`` of the result ``y`` (None where no
    gradient flows). A single ``variadic`` rule takes the operand's position first.
    ``formulas`` holds the derivative by each operand for people: ``{0}``, ``{1}`` stand for the
    operands and ``{y}`` for the result.
    """

    name: str
    forward: Callable[..., Any]
    vjps: tuple[Vjp | None, ...]
    symbol: str = ""
    formulas: tuple[str, ...] = ()
    samples: Callable[[np.random.Generator], Iterable[Sample]] | None = None
    elementwise: bool = False  # each element of the result depends on one element of each operand
    variadic: bool = False
    scalar: Callable[..., float] | None = None  # the same on Python floats
    summary: str = ""
    reference: str = ""  # where the formula comes from

    def vjp(self, arg: int) -> Vjp | None:
        """Return the rule for operand ``arg``."""
        if self.variadic:
            return functools.partial(self.vjps[0], arg) if self.vjps[0] else None
        return self.vjps[arg]

    def pull(self, node: Tensor, g: Any) -> None:
        """Send the cotangent ``g`` of ``node`` on to its operands."""
        pull(self, node, g)


OPS: dict[str, Op] = {}
FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {}  # NumPy function -> ours


def primitive(
    *vjps: Vjp | None,
    symbol: str = "",
    formulas: Sequence[str] = (),
    samples: Callable[[np.random.Generator], Iterable[Sample]] | None = None,
    implements: Iterable[Callable[..., Any]] = (),
    elementwise: bool = False,
    variadic: bool = False,
    scalar: Callable[..., float] | None = None,
    name: str | None = None,
    reference: str = "",
) -> Callable[[Callable[..., Any]], Any]:
    """Register the decorated NumPy function as an op and return the function that records it.

    The first parameters, as many as there are ``vjps``, are operands; the others are metadata.
    ``implements`` names the NumPy functions that call it when they meet a Tensor;
    ``elementwise`` ops broadcast their operands and have a local derivative per element.
    """

    def decorate(forward: Callable[..., Any]) -> Any:
        op = Op(
            name=name or forward.__name__.strip("_"),
            forward=forward,
            vjps=vjps,
            symbol=symbol or name or forward.__name__.strip("_"),
            formulas=tuple(formulas),
            samples=samples,
            elementwise=elementwise,
            variadic=variadic,
            scalar=scalar,
            summary=(inspect.getdoc(forward) or "").split("\n", 1)[0],
            reference=reference,
        )
        if op.name in OPS:
            raise GradvizValueError(f"an op named {op.name!r} is registered already", hint="choose another name")
        OPS[op.name] = op
        function = recording_function(op)
        for theirs in implements:
            FUNCTIONS[theirs] = function
        return function

    return decorate


def implements(*theirs: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Let the decorated function, composed of ops, answer for NumPy functions that meet a Tensor."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for one in theirs:
            FUNCTIONS[one] = function
        return function

    return decorate


def register_op(
    *vjps: Vjp | None, name: str | None = None, symbol: str = "", formulas: Sequence[str] = ()
) -> Callable[[Callable[..., Any]], Any]:
    """Make an op of your own: decorate the NumPy function that computes it, give one vjp per operand.

    A vjp takes ``(g, y, *operands, **attrs)`` and returns the operand's cotangent; write it in
    NumPy functions so that it also works on Tensors, for higher derivatives. Check it with
    `gradcheck`. Parameters after the operands are metadata.

    >>> import gradviz, numpy as np
    >>> @gradviz.register_op(lambda g, y, x: g * 3 * x**2, formulas=["3·{0}²"])
    ... def doc_cube(x):
    ...     return x**3
    >>> w = gradviz.Tensor(2.0)
    >>> doc_cube(w).backward()
    >>> w.grad
    12.0
    """
    if not vjps:
        raise GradvizTypeError("register_op needs one vjp for each operand", hint="@register_op(lambda g, y, x: ...)")
    rules = [None if vjp is None else _guarded(vjp) for vjp in vjps]
    register = primitive(*rules, name=name, symbol=symbol, formulas=formulas)

    def decorate(forward: Callable[..., Any]) -> Any:
        if not callable(forward):
            raise GradvizTypeError(
                f"register_op has no function to register, but a {type(forward).__name__}",
                where=where(),
                hint="give a vjp for each operand first: @register_op(lambda g, y, x: ...), then the function",
            )
        return register(_guarded(forward))

    return decorate


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keep a function of the user from changing what it is given, or later what it has returned."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        for x in args:
            if x.__class__ is np.ndarray:
                x.setflags(write=False)
        result = function(*args, **kwargs)
        return np.array(result) if isinstance(result, np.ndarray) else result

    return guarded


def recording_function(op: Op) -> Callable[..., Any]:
    """Return the public function of an op: it takes what ``op.forward`` takes, and records."""
    if op.variadic:
        return _variadic_function(op)
    count = len(op.vjps)
    parameters = _parameters(op.forward, count)
    if op.elementwise and count == 1 and not parameters.attrs:
        return _unary_function(op)

    @functools.wraps(op.forward)
    def function(*args: Any, **kwargs: Any) -> Tensor:
        if len(args) == count:
            if not kwargs:
                return apply(op, args, None)
            if kwargs.keys() <= parameters.attrs:
                return apply(op, args, _kept(op, parameters, kwargs))
        operands, attrs = _bind(op, parameters, args, kwargs)
        return apply(op, operands, attrs)

    function.op = op  # type: ignore[attr-defined]
    return function


def _unary_function(op: Op) -> Callable[..., Any]:
    """Return the public function of an elementwise op of one operand, quick for plain Tensors."""
    form = Form(op.name, unary_pull(op.vjps[0]))
    form.op = op

    @functools.wraps(op.forward)
    def function(x: Any) -> Tensor:
        if x.__class__ is not Result and x.__class__ is not Tensor:
            return apply(op, (x,), None)
        value = x._data
        if value.__class__ is float:
            data = compute(op, (value,), {}, (x,))
        elif value.__class__ is np.ndarray and value.ndim:
            data = op.forward(value)
        else:
            return apply(op, (x,), None)
        out: Tensor = Result()
        out._data = data
        out._op = form
        out._a = x
        out._b = out._grad = out._extra = None
        frame = _getframe(1)
        if frame.f_code.co_filename.startswith(ENGINE):
            frame = caller()
        out._code = frame.f_code
        out._key = next_key() + frame.f_lasti
        if modes.active:
            finish(out)
        return out

    function.op = op  # type: ignore[attr-defined]
    return function


def _variadic_function(op: Op) -> Callable[..., Any]:
    """Return the public function of an op on a sequence of operands: ``stack([a, b], axis=0)``."""
    parameters = _parameters(op.forward, 1)._replace(operands=())

    @functools.wraps(op.forward)
    def function(arrays: Iterable[Any], *args: Any, **kwargs: Any) -> Tensor:
        _, attrs = _bind(op, parameters, args, kwargs)
        return apply(op, tuple(arrays), attrs)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    _, *attributes = inspect.signature(op.forward).parameters.values()
    shown = [inspect.Parameter("arrays", kind), *(a.replace(kind=kind) for a in attributes)]
    function.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    function.op = op  # type: ignore[attr-defined]
    return function


class Parameters(NamedTuple):
    """The parameters of an op's forward function."""

    operands: tuple[str, ...]
    attrs: frozenset[str]
    defaults: dict[str, Any]  # of the attrs, in order


def _parameters(forward: Callable[..., Any], count: int) -> Parameters:
    """Read a signature whose first ``count`` parameters are operands."""
    given = inspect.signature(forward).parameters
    names = list(given)
    attrs = {name: given[name].default for name in names[count:]}
    return Parameters(tuple(names[:count]), frozenset(attrs), attrs)


def _bind(
    op: Op, parameters: Parameters, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any] | None]:
    """Sort arguments into operands and metadata; a default that was written out is not kept."""
    names = (*parameters.operands, *parameters.defaults)
    if len(args) > len(names):
        raise GradvizTypeError(f"{op.name} takes at most {len(names)} arguments, got {len(args)}")
    given = dict(zip(names, args, strict=False))
    for key, value in kwargs.items():
        if key not in names:
            raise GradvizTypeError(f"{op.name} has no argument {key!r}", hint=suggestion(key, names))
        if key in given:
            raise GradvizTypeError(f"{op.name} got two values for {key!r}")
        given[key] = value
    missing = [n for n in parameters.operands if n not in given]
    if missing:
        raise GradvizTypeError(f"{op.name} needs the argument {missing[0]!r}")
    operands = tuple(given.pop(n) for n in parameters.operands)
    return operands, _kept(op, parameters, given)


def _kept(op: Op, parameters: Parameters, given: dict[str, Any]) -> dict[str, Any] | None:
    defaults = parameters.defaults
    return {k: plain(v, op.name, k) for k, v in given.items() if v is not defaults[k]} or None
