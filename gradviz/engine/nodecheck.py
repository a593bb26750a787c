"""The rule of every node's op, beside finite differences of what the op computes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from . import backward as passes
from .differences import PRECISION, STEP, plain_copy, step_at
from .functional import _plain_pass
from .leaves import next_key, value_of
from .recording import compute
from .tensor import Result, Tensor, operands
from .verdicts import Row, compare


def check_nodes(root: Tensor, rng: np.random.Generator, rtol: float, atol: float) -> Iterator[Row]:
    """Yield a `Row` for every operand that wants a gradient, of every node below ``root``, oldest first."""
    for node in reversed(passes.reachable(root)):
        if not node.is_leaf:
            for arg, x in enumerate(operands(node)):
                if x.requires_grad:
                    yield check_operand(node, arg, rng, rtol, atol)


def check_operand(node: Tensor, arg: int, rng: np.random.Generator, rtol: float, atol: float) -> Row:
    """Compare ``<g, rule>`` along a random direction; for scalars plainly the derivative."""
    values = [value_of(x) for x in operands(node)]
    x, y = values[arg], value_of(node)
    cotangent: Any = 1.0 if y.__class__ is float else rng.normal(size=y.shape).astype(y.dtype)
    along = _Along(node, values, arg, cotangent, rng)
    at = node.source
    row = {
        "kind": "node", "name": node.op, "arg": arg, "shape": np.shape(x),
        "file": at.file if at else "", "line": at.line if at else 0, "text": at.text if at else "",
    }  # fmt: skip
    try:
        with np.errstate(all="ignore"):
            found = along.derivative(_pulled(node, arg, cotangent))
    except Exception as error:
        return Row(**row, ok=False, note=f"the rule raised {type(error).__name__}: {str(error).splitlines()[0]}")
    if max(_precision(v) for v in (y, x)) > PRECISION:
        rtol, atol = max(rtol, 1e-3), max(atol, 1e-4)
    with np.errstate(all="ignore"):
        around, ok, note = compare(found, along, along.start, along.step, along(along.start), atol + rtol * along.size)
    return Row(
        **row, autograd=found, numerical=around.central, ok=ok, note=note, difference=abs(found - around.central)
    )


class _Along:
    """What a node computes, weighted and summed, along one line of one operand."""

    def __init__(self, node: Tensor, values: list[Any], arg: int, cotangent: Any, rng: np.random.Generator) -> None:
        op = node._op
        self.op = getattr(op, "op", op)
        self.attrs = node.attrs
        self.values = [plain_copy(v) for v in values]
        self.arg, self.cotangent = arg, np.asarray(cotangent, np.float64)
        x = self.values[arg]
        if x.__class__ is float:
            self.start, self.step, self.direction = x, step_at(x), None
        else:
            size = np.where(x == 0, 1.0, np.minimum(np.abs(x), 1e150))
            self.start, self.step, self.direction = 0.0, STEP, rng.normal(size=x.shape) * size
        self.size = 1.0

    def __call__(self, t: float) -> float:
        values = list(self.values)
        values[self.arg] = t if self.direction is None else values[self.arg] + t * self.direction
        return float(np.sum(self.cotangent * compute(self.op, values, self.attrs)))

    def derivative(self, c: Any) -> float:
        """Return the derivative along the line that the cotangent ``c`` of the operand stands for."""
        products = c if self.direction is None else c * self.direction
        self.size = float(np.sum(np.abs(products)))
        return float(np.sum(products))


def _pulled(node: Tensor, arg: int, cotangent: Any) -> Any:
    """Return what the backward pass itself sends to one operand of a node standing alone."""
    leaves: list[Tensor] = []

    def alone(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        leaf = Tensor(value_of(x)) if x.requires_grad else x
        leaves.append(leaf)
        return leaf

    copy = Result()
    copy._op, copy._data, copy._code, copy._extra, copy._grad = node._op, node._data, node._code, None, None
    if node._a.__class__ is tuple:
        copy._a, copy._b = tuple(alone(x) for x in node._a), node._b
    else:
        copy._a, copy._b = alone(node._a), alone(node._b)
    copy._key = next_key()
    position = arg if len(leaves) > 1 else 0
    found = _plain_pass(copy, cotangent, [leaves[position]], outer=False)
    assert found is not None
    return 0.0 if found[0] is None else found[0]


def _precision(value: Any) -> float:
    dtype = np.asarray(value).dtype
    return float(np.finfo(dtype).eps) if dtype.kind == "f" else PRECISION
