"""Gradients of functions: `grad`, `value_and_grad`, `jacobian`, `hessian`.

They call a function with fresh tensors in place of the chosen arguments and bring back the
gradient, leaving nothing behind: no ``grad`` of any tensor the function uses is touched.

Numbers go in, numbers come out. The result is a Tensor only where it depends on a tensor
outside that requires a gradient, an argument or one the function closes over. So the
functions nest, and a gradient can be part of a loss.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np

from ..errors import GradvizTypeError, GradvizValueError, NonScalarError
from . import backward as passes
from . import modes
from .admit import admit
from .cotangents import PENDING, alone
from .leaves import value_of
from .ops.elementwise import positive
from .sites import where
from .tensor import Tensor, constant_of, operands
from .trees import filled, members


def grad(f: Callable[..., Any], argnum: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """Return the function that computes the gradient of ``f`` by argument ``argnum``.

    ``f`` takes Tensors and returns a scalar. The argument may be a number, an array, a Tensor,
    or a dict, list or tuple of such; the gradient has its form and shape. With a tuple of
    argument numbers it is a tuple. Where ``f`` does not depend on an argument it is 0.

    Raises `NonScalarError` if ``f`` returns an array: see `jacobian`.

    >>> slope = grad(lambda x: x**3)
    >>> slope(2.0), grad(slope)(2.0)
    (12.0, 12.0)
    >>> grad(lambda p: p["w"] * 3 + p["b"])({"w": 1.0, "b": 2.0})
    {'w': 3.0, 'b': 1.0}
    """
    compiled = getattr(f, "gradient_function", None)
    if compiled is not None:
        return compiled(argnum, "gradient")  # type: ignore[no-any-return]
    both = value_and_grad(f, argnum)

    @functools.wraps(f)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    gradient.differentiated = (f, argnum, "gradient")  # type: ignore[attr-defined]
    return gradient


def value_and_grad(f: Callable[..., Any], argnum: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """Return the function that computes ``f`` and its gradient together, as a pair (see `grad`).

    >>> value_and_grad(lambda w, x: (w * x) ** 2)(2.0, 3.0)
    (36.0, 36.0)
    """
    compiled = getattr(f, "gradient_function", None)
    if compiled is not None:
        return compiled(argnum, "both")  # type: ignore[no-any-return]

    @functools.wraps(f)
    def both(*args: Any, **kwargs: Any) -> Any:
        call = _Call(f, args, kwargs, argnum)
        y = call.result
        if y.size != 1:
            raise NonScalarError(
                f"the gradient of {call.name} needs a scalar result, but it returned shape {y.shape}",
                where=where(),
                hint="reduce it, as in .sum(), or use jacobian",
            )
        seed = 1.0 if y._data.__class__ is float else np.ones(y.shape, y.dtype)
        gradients = call.gradients(seed)
        return call.value(), call.arranged(gradients)

    both.differentiated = (f, argnum, "both")  # type: ignore[attr-defined]  # for `compile`
    return both


def jacobian(f: Callable[..., Any], argnum: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """Return the function that computes every derivative of every element of ``f``'s result.

    Its shape is the shape of the result followed by that of the argument. One backward pass is
    made for each element of the result.

    >>> import numpy as np
    >>> jacobian(lambda x: x * x)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """

    @functools.wraps(f)
    def derivatives(*args: Any, **kwargs: Any) -> Any:
        call = _Call(f, args, kwargs, argnum)
        rows = [call.gradients(seed) for seed in _basis(call.result)]
        shape = call.result.shape
        columns = [_stacked([row[i] for row in rows], shape, x) for i, x in enumerate(call.variables)]
        return call.arranged(columns)

    return derivatives


def hessian(f: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """Return the function that computes the second derivatives of a scalar function by one argument.

    For an argument of shape s the result has shape s + s.

    >>> import numpy as np
    >>> hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    """
    return jacobian(grad(f, argnum), argnum)


class _Call:
    """One call of a function on fresh variables."""

    def __init__(
        self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], argnum: int | tuple[int, ...]
    ) -> None:
        if modes.active:
            modes.told("differentiated", f)
        self.name = getattr(f, "__name__", repr(f))
        self.outer = modes.mode().recording
        self.single = not isinstance(argnum, tuple)
        chosen = argnum if isinstance(argnum, tuple) else (argnum,)
        self.trees = [self._argument(args, number) for number in chosen]
        with nullcontext() if self.outer else modes.recorded():
            self.variables = [self._variable(x) for x in members(self.trees)]
            supply = iter(self.variables)
            fresh = {number % len(args): filled(tree, supply) for number, tree in zip(chosen, self.trees, strict=True)}
            given = f(*(fresh.get(i, x) for i, x in enumerate(args)), **kwargs)
        self.result = self._checked(given)
        self.recorded = False

    def _argument(self, args: tuple[Any, ...], number: int) -> Any:
        if not -len(args) <= number < len(args):
            raise GradvizValueError(
                f"argnum {number} of {self.name}, which was called with {len(args)} positional arguments",
                where=where(),
            )
        return args[number]

    def _variable(self, x: Any) -> Tensor:
        """Return a leaf of the value, or a copy that remembers the Tensor that it is of."""
        if isinstance(x, Tensor) and x.requires_grad and self.outer:
            return positive(x)  # type: ignore[no-any-return]
        return Tensor(x)

    def _checked(self, given: Any) -> Tensor:
        if isinstance(given, Tensor):
            return given
        if given is None or isinstance(given, dict | str):
            raise GradvizTypeError(
                f"{self.name} returned {type(given).__name__}, which has no gradient",
                where=where(),
                hint="return one number or array",
            )
        if isinstance(given, list | tuple) and any(isinstance(x, Tensor) for x in members(given)):
            raise GradvizTypeError(
                f"{self.name} returned a {type(given).__name__} of Tensors, not one array",
                where=where(),
                hint="return np.stack([...]); for a hessian, pass one array instead of a list of numbers",
            )
        return constant_of(admit(given, what=f"result of {self.name}"))

    def value(self) -> Any:
        """Return the result of the call: a Tensor if tensors outside have a part in it."""
        if self.recorded:
            return self.result
        value = value_of(self.result)
        return value if value.__class__ is float else np.array(value)

    def gradients(self, seed: Any) -> list[Any]:
        """Return the gradient by every variable, starting from ``seed``."""
        found: list[Any] | None = [None] * len(self.variables)
        if self.result.requires_grad:
            found = None if self.recorded else _plain_pass(self.result, seed, self.variables, self.outer)
        if found is None:
            self.recorded = True
            with modes.unseen():
                found = _recorded_pass(self.result, seed, self.variables)
        if modes.active:
            passes.show(self.result, seed, found)
        return [_nothing(x) if g is None else g for g, x in zip(found, self.variables, strict=True)]

    def arranged(self, values: Iterable[Any]) -> Any:
        """Return one value for each variable in the form of the arguments."""
        supply = iter(values)
        forms = tuple(filled(tree, supply) for tree in self.trees)
        return forms[0] if self.single else forms


def _nothing(x: Tensor) -> Any:
    value = value_of(x)
    return 0.0 if value.__class__ is float else np.zeros_like(value)


def _plain_pass(y: Tensor, seed: Any, wanted: list[Tensor], outer: bool) -> list[Any] | None:
    """Compute gradients as numbers and put back what was there before.

    Returns None if ``y`` depends on a tensor outside that requires a gradient, unless nobody
    outside is recording.
    """
    marks = passes.Marks()
    own = {id(x) for x in wanted}
    with passes._lock:
        try:
            passes.prepare(y, marks)
            if outer and not own.issuperset(map(id, marks.leaves)):
                return None
            y._grad = seed
            passes.walk(marks.order)
            return [_taken(x) for x in wanted]
        finally:
            passes.put_back(marks)
            passes.hand_back(marks)


def _taken(x: Tensor) -> Any:
    """Return a gradient to hand out: an array of its own."""
    if x._grad is None or x._grad is PENDING:
        return None
    if x._grad.__class__ is float or alone(x):
        return x._grad
    return np.array(x._grad)


def _recorded_pass(y: Tensor, seed: Any, wanted: list[Tensor]) -> list[Any]:
    """Compute gradients as Tensors, along the paths to ``wanted`` only, and write none into any node."""
    own = {id(x) for x in wanted}
    order = passes.reachable(y)
    leading = set(own)
    for node in reversed(order):
        if any(id(x) in leading for x in operands(node)):
            leading.add(id(node))
    grads: dict[int, Tensor] = {id(y): constant_of(seed)}
    for node in order:
        g = grads.get(id(node))
        if g is not None and id(node) in leading and id(node) not in own:
            passes._recorded_pull(node, g, grads)
    return [grads.get(id(x)) for x in wanted]


def _basis(y: Tensor) -> Iterator[Any]:
    """Yield for each element of ``y`` the cotangent that selects it."""
    if y._data.__class__ is float:
        yield 1.0
        return
    for position in range(y.size):
        seed = np.zeros(y.size, y.dtype)
        seed[position] = 1
        yield seed.reshape(y.shape)


def _stacked(rows: list[Any], shape: tuple[int, ...], x: Tensor) -> Any:
    """Arrange the gradients of the elements of a result of ``shape`` by ``x`` into one array."""
    if any(isinstance(row, Tensor) for row in rows):
        return np.reshape(np.stack(rows), shape + x.shape) if shape else rows[0]
    if not shape and rows[0].__class__ is float:
        return rows[0]
    return np.array(rows, dtype=x.dtype).reshape(shape + x.shape)
